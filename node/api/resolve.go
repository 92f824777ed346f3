package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// MinPrefix is the number of characters of an ID, at the least, that can stand for it. An
// attacker finds an ID with given first characters by making keys: 16 of them take 2^80
// tries, 10 took 2^50. Short shows as many.
const MinPrefix = 16

// minGuess is from how many characters on a text that is no name is taken for an ID that
// was cut too short.
const minGuess = 4

// maxQuery is how long a text may be that names something, in bytes: more than any name is.
const maxQuery = 1024

// Short returns the beginning of an ID, as it is shown where an ID in full has no room.
func Short(id string) string { return id[:min(len(id), MinPrefix)] }

// Candidate is something that a query can name.
type Candidate struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Verified bool   `json:"verified,omitempty"` // a user whom people of this node verified
}

// Resolve finds what a query names among the candidates: the one with that full ID,
// else the only one that has it as its name (but for case and spaces) or, from MinPrefix
// characters on, as a prefix of its ID. It is ambiguous where another name looks like the
// query (see [Alike]), or a name like the beginning of somebody else's ID: nobody can take
// over a name or a short ID. Kind ("group", "user") is for the errors, which have
// CodeNotFound, with a hint at names that are close, CodeInvalid for an ID that was cut too
// short, or CodeAmbiguous.
func Resolve(kind, query string, candidates []Candidate) (string, error) {
	if len(query) > maxQuery {
		return "", Errorf(CodeInvalid, "a %s has no name of %d bytes: at most %d can name it", kind, len(query), maxQuery)
	}
	for _, c := range candidates {
		if c.ID == query {
			return c.ID, nil
		}
	}
	short := strings.ToLower(query)
	looksLike := alike(query)
	var fits, others []Candidate
	named := false
	has := func(all []Candidate, id string) bool {
		return slices.ContainsFunc(all, func(c Candidate) bool { return c.ID == id })
	}
	for _, c := range candidates {
		switch {
		case has(fits, c.ID): // by another of its names
		case c.Name == query || SameName(c.Name, query):
			fits, named = append(fits, c), true
		case len(query) >= MinPrefix && strings.HasPrefix(c.ID, short):
			fits = append(fits, c)
		case looksLike(c.Name):
			others = append(others, c)
		}
	}
	if named {
		for _, c := range others {
			if !has(fits, c.ID) {
				fits = append(fits, c)
			}
		}
	}
	switch len(fits) {
	case 0:
		if len(query) >= minGuess && len(query) < MinPrefix && slices.ContainsFunc(candidates, func(c Candidate) bool { return strings.HasPrefix(c.ID, short) }) {
			return "", Errorf(CodeInvalid, "%q is too short to stand for the ID of a %s: others can make an ID that begins so", query, kind).
				WithHint("give its full name, or %d or more characters of its ID", MinPrefix)
		}
		e := Errorf(CodeNotFound, "there is no %s %q here", kind, query)
		if hint := DidYouMean(query, candidates); hint != "" {
			e = e.WithHint("%s", hint)
		}
		return "", e
	case 1:
		return fits[0].ID, nil
	}
	why := ""
	if named {
		why = ", by names that are or look the same"
	}
	e := Errorf(CodeAmbiguous, "%q fits %d %ss%s", query, len(fits), kind, why).
		WithHint("name it by its ID, or %d or more characters of that", MinPrefix)
	e.Candidates = fits
	return "", e
}

// SameName says whether two names are equal but for case, spaces and the composition of
// letters. A name without visible letters equals no other.
func SameName(a, b string) bool {
	a = folded(a)
	return a != "" && a == folded(b)
}

func folded(s string) string {
	return norm.NFKC.String(strings.ToLower(norm.NFKC.String(strings.Join(strings.Fields(s), " "))))
}

// bare is a folded name without accents.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(folded(s)))
}

// Bounds of suggestions.
const (
	maxSuggestions = 3
	maxSuggestable = 64 // runes: comparing takes the product of two lengths
)

// DidYouMean gives a hint that names the candidates whose names are closest to a query;
// empty if none is close.
func DidYouMean(query string, candidates []Candidate) string {
	type near struct {
		name string
		far  int
	}
	looksLike := alike(query)
	want := []rune(bare(query))
	var found []near
	for _, c := range candidates {
		if looksLike(c.Name) && bare(c.Name) != bare(query) {
			return fmt.Sprintf("the name of %s only looks like it, and has other letters; if you mean that, name it by this ID", c.ID)
		}
		have := []rune(bare(c.Name))
		if len(want) == 0 || len(have) == 0 || len(want) > maxSuggestable || len(have) > maxSuggestable {
			continue
		}
		far := distance(want, have)
		if len(want) >= 3 && strings.Contains(string(have), string(want)) {
			far = min(far, 1)
		}
		if far <= max(1, len(want)/3) && !slices.ContainsFunc(found, func(n near) bool { return n.name == c.Name }) {
			found = append(found, near{c.Name, far})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.far, b.far) })
	var names []string
	for _, n := range found[:min(len(found), maxSuggestions)] {
		names = append(names, fmt.Sprintf("%q", n.name))
	}
	switch last := len(names) - 1; last {
	case -1:
		return ""
	case 0:
		return "did you mean " + names[0] + "?"
	default:
		return "did you mean " + strings.Join(names[:last], ", ") + " or " + names[last] + "?"
	}
}

// distance is how many letters have to be changed, inserted, removed, or swapped with the
// next one, to turn a into b.
func distance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
