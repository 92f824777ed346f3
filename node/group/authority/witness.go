package authority

import (
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// electors selects the users who are asked what they knew.
type electors func(wire.UserID) bool

// witnesses says, for the second pass of a resolution, whose entries are witnesses.
type witnesses struct {
	losses   *lossIndex              // standing in the first pass, and not hit by another of them
	sound    map[wire.UserID]bool    // users with an addition that nothing there speaks against
	adds     map[wire.UserID][]*Op   // the permitted additions of each user
	stays    [][]stretch             // by log, the entries that are witnesses; nil: not asked yet
	primary  map[int]bool            // logs that are the first of their devices
	admitted map[wire.DeviceID][]*Op // the permitted additions of each device
	well     map[wire.DeviceID]bool  // nil: not asked yet

	admissions []*Op // all permitted additions, in order

	independent map[wire.UserID]bool // of the loss of, see independentOf
	of          *Op
}

// better compares two concurrent entries by what others knew: it counts the electors with a
// witness that has a and not b in its past, and subtracts those with a witness that has b
// and not a. Users with both kinds count on neither side.
func (s *resolution) better(a, b *Op, who electors) int { return s.count(a.Ref, b.Ref, b.User, who) }

// count does the same for any two entries, without asking the user whose entries they are.
func (s *resolution) count(a, b Ref, but wire.UserID, who electors) (n int) {
	s.ask(a, b)
	if s.base != nil {
		return 0 // it is resolved from scratch
	}
	for u, logs := range s.byUser {
		if u == but || !who(u) || !s.soundUser(u) {
			continue
		}
		if s.testifies(logs, a, b) {
			n++
		}
		if s.testifies(logs, b, a) {
			n--
		}
	}
	return n
}

// testifies says whether the logs of a user have a witness with a, and without b, in its
// past.
func (s *resolution) testifies(logs []int, a, b Ref) bool {
	for _, log := range logs {
		for _, stay := range s.staysOf(log) {
			from := max(stay.from, s.firstWith(log, a, stay.to))
			if from > stay.to {
				continue
			}
			if to := min(stay.to, s.firstWith(log, b, stay.to)-1); s.hasWord(log, from, to) {
				return true
			}
		}
	}
	return false
}

// stretch is a part of a log: the first entry and the last.
type stretch struct{ from, to uint64 }

// staysOf returns the entries of a log that are witnesses: an entry that is not in the past
// of its author's own removal is none, unless the author came in again after that removal
// and knew so.
func (s *resolution) staysOf(log int) []stretch {
	w := s.first
	if w.stays[log] != nil {
		return w.stays[log]
	}
	l := s.logs[log]
	var ended []*Op
	for _, lists := range w.losses.lists(l.User, l.Device) {
		for _, list := range lists {
			for _, q := range list.ops {
				if q.ends(l.User, l.Device) {
					ended = append(ended, q)
				}
			}
		}
	}
	stay := func(from uint64, over func(q *Op) bool) {
		to := s.upTo[log]
		for _, q := range ended {
			if !over(q) {
				to = min(to, s.history.Seen(q.Ref, log))
			}
		}
		w.stays[log] = append(w.stays[log], stretch{from, to})
	}
	stay(1, func(*Op) bool { return false })
	for _, y := range w.admitted[l.Device] {
		over := func(q *Op) bool { return s.knows(y.Ref, q.Ref) }
		if slices.ContainsFunc(ended, over) && s.admits(y) {
			stay(s.firstWith(log, y.Ref, s.upTo[log]), over)
		}
	}
	return w.stays[log]
}

// hasWord says whether a stretch of a log holds an entry that is its device's word: any of
// its first log, and of another one that lies beside nothing of the first. A device could
// else say one thing and, back-dated, its opposite.
func (s *resolution) hasWord(log int, from, to uint64) bool {
	from = max(from, s.logs[log].From+1)
	if from > to || !s.wellAdmitted(s.logs[log].Device) {
		return false
	}
	if s.isPrimary(log) {
		return true
	}
	for seq := from; seq <= to; {
		next, ok := s.beside(log, seq, to)
		if !ok {
			return true
		}
		seq = next
	}
	return false
}

// beside says whether an entry is concurrent to something of its device's first log, and
// which entry of its own log is the next that may not be.
func (s *resolution) beside(log int, seq, to uint64) (next uint64, ok bool) {
	at := Ref{log, seq}
	for _, first := range s.byDevice[s.logs[log].Device] {
		if first == log || !s.isPrimary(first) {
			continue
		}
		known := max(s.history.Seen(at, first), s.logs[first].From)
		if known < s.upTo[first] && !s.knows(Ref{first, known + 1}, at) {
			// Only an entry that knows more of the first log can be without one beside it.
			return s.firstWith(log, Ref{first, known + 1}, to), true
		}
	}
	return 0, false
}

// wellAdmitted says whether a device has an addition that nothing speaks against and that
// was its author's word too. Without this a member adds a device by an operation of an old
// past, and that device says what the member's own log denies.
func (s *resolution) wellAdmitted(d wire.DeviceID) bool {
	w := s.first
	if w.well == nil {
		w.well = map[wire.DeviceID]bool{s.genesis.Device: true}
		// The addition that admitted an addition's author comes before it in the order.
		for _, y := range w.admissions {
			if !w.well[y.Subject] && s.admits(y) {
				w.well[y.Subject] = true
			}
		}
	}
	return w.well[d]
}

// admits says whether nothing speaks against the addition of a device, which was its
// author's word.
func (s *resolution) admits(y *Op) bool {
	return s.wellAdmitted(y.Device) && !s.spokenAgainst(y) && s.hasWord(y.Log, y.Seq, y.Seq)
}

// isPrimary says whether a log is the first of its device: its incarnation is that of an
// addition of the device which nothing speaks against, or of any if all are spoken against.
// A device has one such log for each time that it was added; after a restore it draws
// another incarnation.
func (s *resolution) isPrimary(log int) bool {
	w := s.first
	if known, ok := w.primary[log]; ok {
		return known
	}
	l := s.logs[log]
	founders := l.Device == s.genesis.Device
	good := founders || slices.ContainsFunc(w.admitted[l.Device], func(y *Op) bool { return !s.spokenAgainst(y) })
	is := founders && l.Incarnation == wire.FoundersIncarnation(s.genesis.ID) ||
		slices.ContainsFunc(w.admitted[l.Device], func(y *Op) bool {
			return l.Incarnation == wire.FirstIncarnation(y.Hash) && !(good && s.spokenAgainst(y))
		})
	w.primary[log] = is
	return is
}

// soundUser says whether a user has an addition, by somebody who has one too, that no other
// user's loss of the first pass speaks against. Without this rule a user who is out, or
// never was in, could bring in any number of witnesses by void additions.
func (s *resolution) soundUser(u wire.UserID) bool {
	w := s.first
	if w.sound == nil {
		w.sound = s.reach(func(y *Op) bool { return !s.spokenAgainst(y) })
	}
	return w.sound[u]
}

// reach gives the users to whom additions lead from the founder.
func (s *resolution) reach(use func(*Op) bool) map[wire.UserID]bool {
	in := map[wire.UserID]bool{s.genesis.Founder: true}
	by := map[wire.UserID][]*Op{}
	for _, ops := range s.first.adds {
		for _, y := range ops {
			by[y.User] = append(by[y.User], y)
		}
	}
	for todo := []wire.UserID{s.genesis.Founder}; len(todo) > 0; {
		u := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, y := range by[u] {
			if !in[y.Target] && use(y) {
				in[y.Target] = true
				todo = append(todo, y.Target)
			}
		}
	}
	return in
}

// spokenAgainst says whether a loss of the first pass, by a user other than the addition's
// author, takes out the author, the newcomer, or the signer of the invite, or closes the way
// in.
func (s *resolution) spokenAgainst(y *Op) bool {
	ix := s.first.losses
	for _, lists := range ix.lists(y.User, y.Device) {
		for _, l := range lists {
			if slices.ContainsFunc(s.concurrentIn(l.ops, l.log, y.Ref), func(q *Op) bool { return q.User != y.User && q.takes(y) }) {
				return true
			}
		}
	}
	if y.Type != wire.OpAdd {
		return false
	}
	for _, l := range ix.byUser[y.Target] {
		if slices.ContainsFunc(s.concurrentIn(l.ops, l.log, y.Ref), func(q *Op) bool { return q.Type == wire.OpRemove }) {
			return true
		}
	}
	return slices.ContainsFunc(s.shutting(ix, y), func(q *Op) bool { return q.User != y.User }) ||
		slices.ContainsFunc(s.againstSigner(ix, y), func(q *Op) bool { return q.User != y.Invite.Signer })
}

// bystanders are asked of two operations that take out each other: users, but the two,
// whose addition both have in their pasts.
func (s *resolution) bystanders(a, b *Op) electors {
	return func(u wire.UserID) bool {
		return u != a.User && u != b.User && s.addedIn(u, func(y *Op) bool { return s.knows(a.Ref, y.Ref) && s.knows(b.Ref, y.Ref) })
	}
}

func (s *resolution) addedIn(u wire.UserID, in func(*Op) bool) bool {
	return u == s.genesis.Founder || slices.ContainsFunc(s.first.adds[u], in)
}

// independentOf returns the users whose membership does not rest on operations that the
// author of a loss made beside it.
func (s *resolution) independentOf(q *Op) electors {
	w := s.first
	if w.of != q {
		w.of = q
		w.independent = s.reach(func(y *Op) bool { return y.User != q.User || !s.concurrent(y.Ref, q.Ref) })
	}
	in := w.independent
	return func(u wire.UserID) bool { return in[u] }
}

func (s *resolution) everybody() electors { return func(wire.UserID) bool { return true } }

// consistent says whether an entry is its device's word, see rivals.
func (s *resolution) consistent(x Ref) bool { return len(s.rivals(x)) == 0 }

// rivals gives the entries by which one outside its device's first log is not that device's
// word: of each other branch of the device's history the first that it does not know, if that
// does not know it, and is better known to the users that it knew. Otherwise somebody who plays
// back its own past would be judged by the rights that it had there.
func (s *resolution) rivals(x Ref) (out []Ref) {
	l := s.logs[x.Log]
	logs := s.byDevice[l.Device]
	if s.first == nil || len(logs) < 2 || s.isPrimary(x.Log) {
		return nil
	}
	for _, log := range logs {
		// Of the entries that it does not know, the first one is known to the most users.
		f := Ref{log, max(s.history.Seen(x, log), s.logs[log].From) + 1}
		if log == x.Log || f.Seq > s.upTo[log] || s.knows(f, x) {
			continue
		}
		known := func(u wire.UserID) bool {
			return s.addedIn(u, func(y *Op) bool { return y.Ref != x && s.knows(x, y.Ref) })
		}
		if s.count(f, x, l.User, known) > 0 {
			out = append(out, f)
		}
	}
	return out
}
