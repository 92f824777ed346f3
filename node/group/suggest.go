package group

import (
	"time"

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
// silent none is suggested if all are: then nobody has written for so long.
func (m *Machine) suggestions() []Suggestion {
	invalid := map[*node]bool{}
	for _, stands := range m.tree.stood {
		for _, s := range stands {
			for _, id := range s.refused {
				if n := m.tree.nodes[id]; n != nil && m.roster.has(s.by.log.Device) && m.logs.counts(s.by) {
					invalid[n] = true
				}
			}
		}
	}
	refused := map[wire.UserID]int{}
	for n := range invalid {
		if by := n.by(); by != nil {
			refused[by.user]++
		}
	}
	heard := m.logs.heard(m.now)
	c := choice{roster: m.roster, newest: heard}
	now := c.now().Time()
	var out []Suggestion
	for _, user := range sortedUsers(m.roster.users) {
		s := Suggestion{User: user}
		last := heard[user].Time()
		if since := m.roster.users[user].since; since != nil && since.when(m.now).After(last) {
			last = since.when(m.now) // it may never have written
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
