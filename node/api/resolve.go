package api

import (
	"slices"
	"strings"
)

// MinPrefix is how many characters of an ID are needed to name what it is of.
const MinPrefix = 6

// Candidate is something that can be named.
type Candidate struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Resolve finds what a query names among the candidates: the one with that full ID,
// else the only one that has it as its name or, from MinPrefix characters on, as a
// prefix of its ID. A name that looks like the beginning of somebody else's ID is
// ambiguous, so that nobody can take over a short ID. Kind ("group", "user") is for the errors, which have
// CodeNotFound or CodeAmbiguous.
func Resolve(kind, query string, candidates []Candidate) (string, error) {
	for _, c := range candidates {
		if c.ID == query {
			return c.ID, nil
		}
	}
	fits := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool {
		return c.Name != query && (len(query) < MinPrefix || !strings.HasPrefix(c.ID, strings.ToLower(query)))
	})
	switch len(fits) {
	case 0:
		return "", Errorf(CodeNotFound, "there is no %s %q here", kind, query)
	case 1:
		return fits[0].ID, nil
	}
	e := Errorf(CodeAmbiguous, "%q fits %d %ss", query, len(fits), kind).WithHint("name it by more of its ID")
	e.Candidates = fits
	return "", e
}
