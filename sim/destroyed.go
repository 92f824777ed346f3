package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/group"
)

// What is destroyed is destroyed by a clock, and clocks are wrong. The judge here knows the
// true time: nothing goes before the shortest time for which it has to be kept (docs/
// ARCHITECTURE.md, What is kept), counted from when the device left an epoch, or wrote a
// row. What another's clock has ever borne out is allowed for, since nobody can know better,
// and as much as clocks may be apart; and so is the time in which the device did not run: what
// it notes before others bear its clock out is noted as of when it went down.

const (
	thinAfter   = time.Hour           // all message keys of an epoch that the device left
	sealsFor    = 90 * 24 * time.Hour // of others, from when they were sent
	rejoinsFor  = 90 * 24 * time.Hour // keys that prove that one was in an epoch
	retainedFor = 7 * 24 * time.Hour  // what late commits need, where a group says nothing else
)

// borneOut is how far the clock of any other device was ever ahead.
func (n *cnode) borneOut() (most time.Duration) {
	for _, o := range n.w.nodes {
		if o != n {
			most = max(most, o.furthest)
		}
	}
	return most
}

// leftAt is when a device was last at an epoch; ok: it is not there. One that it left in the
// Step that brought it there lies on the way: nothing is sealed there.
func (s *seat) leftAt(epoch string) (at time.Time, ok bool) {
	for i := len(s.moves) - 1; i >= 0; i-- {
		if to := s.moves[i].To; fmt.Sprintf("%x", to[:]) == epoch && !s.moves[i].At.Equal(at) {
			return at, !at.IsZero()
		}
		at = s.moves[i].At
	}
	return time.Time{}, true // it was never its position
}

// judgeDestroyed notes what a Ready destroys, before it does, and what of it too early.
func (s *seat) judgeDestroyed(r group.Ready) {
	put, epochs := map[string]bool{}, len(s.disk.under("held/"))
	deletes := false
	for _, w := range r.Writes {
		deletes = deletes || w.Value == nil
		if row, id, _ := cutKey(w.Key); row == "erased" && w.Value != nil {
			put["plain/"+id], put["seal/"+id] = true, true // see contents
		}
		if w.Value != nil && (strings.HasPrefix(w.Key, "held/") || strings.HasPrefix(w.Key, "thin/")) {
			if put[w.Key] = true; s.disk.rows[w.Key] == nil && strings.HasPrefix(w.Key, "held/") {
				epochs++
			}
		}
	}
	if !deletes && len(r.Drop) == 0 {
		return
	}
	now := s.w().now.Add(s.n.borneOut() + s.n.down)
	early := func(what string, since time.Time, least time.Duration) {
		s.destroyed++
		if age := now.Sub(since); age < least-clock.Slack {
			s.early = append(s.early, fmt.Sprintf("%s destroyed %s at %s, after %s, its clock %s off", s.n.name, what, span(s.w().now.Sub(epochZero)), span(age.Round(time.Second)), span(s.n.skew)))
		}
	}
	retention := s.g.decl.Retention
	if retention == 0 {
		retention = retainedFor
	}
	for _, w := range r.Writes {
		row := s.disk.rows[w.Key]
		if w.Value != nil || row == nil {
			continue
		}
		kind, id, _ := cutKey(w.Key)
		switch kind {
		case "epoch", "thin":
			since, away := s.leftAt(id)
			if made := row.vault.made; kind == "epoch" && since.Before(made) {
				since = made
			} else if since.IsZero() {
				since = made.Add(-keysFor) // it was thinned so much later, at the most
			}
			switch thinned := put["thin/"+id]; {
			case kind == "epoch" && thinned && away:
				early("the message keys of an epoch", since, min(thinAfter, retention))
			case epochs > maxEpochs && away, !away && epochs > len(s.disk.under("held/")):
				s.destroyed++ // there are too many, or a Welcome led to none that there is
			case !away:
				early("the keys of the epoch that it is at", now, retention)
			default:
				early("the keys of an epoch", since, retention)
			}
		case "kp":
			early("the secrets of a KeyPackage", row.at, secretsFor)
		case "rejoinkey":
			early("a key to rejoin", row.at, rejoinsFor)
		case "seal":
			message, _, _ := strings.Cut(id, "/")
			if put["seal/"+message] {
				continue // it was erased
			}
			if a := s.w().hist.byHex[message]; a != nil && !a.Void {
				early("what it carries for others", a.At, sealsFor)
			}
		case "plain", "shown", "entry":
			if put[w.Key] {
				continue // it was erased
			}
			s.destroyed++
			s.early = append(s.early, fmt.Sprintf("%s destroyed a row of a message or an entry at %s", s.n.name, span(s.w().now.Sub(epochZero))))
		}
	}
}

// cutKey parts the kind of a row from the rest of its key.
func cutKey(key string) (kind, rest string, ok bool) { return strings.Cut(key, "/") }
