package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// When members suggest that somebody be removed.
const (
	silentFor   = 90 * 24 * time.Hour
	manyRefused = 3 // commits of one user that only some could process
)

// Suggestion names a user whom the admins should think of removing, and why. It follows
// from the entries alone, so that every member makes the same and none is signed.
type Suggestion struct {
	User    wire.UserID
	Silent  time.Time // of its newest entry, if that is so long ago; keys that it may need are kept for it
	Refused int       // epochs of its making that members found invalid, if they are many
}

// suggestions lists whom to think of removing, ascending by user. Of the users who are
// silent none is suggested if all are: then nobody has written for so long. at is the time
// by the clock.
func suggestions(logs *dag.Logs, tree *epochs.Tree, roster *roster.Roster, at time.Time) []Suggestion {
	invalid := map[*epochs.Node]bool{}
	for _, stands := range tree.Stood {
		for _, s := range stands {
			for _, id := range s.Refused {
				if n := tree.Nodes[id]; n != nil && roster.Has(s.By.Log.Device) && logs.Counts(s.By) {
					invalid[n] = true
				}
			}
		}
	}
	refused := map[wire.UserID]int{}
	for n := range invalid {
		if by := n.By(); by != nil {
			refused[by.User]++
		}
	}
	heard := logs.Heard(at)
	c := epochs.Choice{Roster: roster, Newest: heard}
	now := c.Now().Time()
	var out []Suggestion
	for u := range roster.Users() {
		user := u.ID
		s := Suggestion{User: user}
		last := heard[user].Time()
		if since := u.Since; since != nil && since.When(at).After(last) {
			last = since.When(at) // it may never have written
		}
		if now.Sub(last) >= silentFor {
			s.Silent = last
		}
		if refused[user] >= manyRefused {
			s.Refused = refused[user]
		}
		if !s.Silent.IsZero() || s.Refused > 0 {
			out = append(out, s)
		}
	}
	return out
}
