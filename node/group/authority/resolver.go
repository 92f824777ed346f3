package authority

import (
	"bytes"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// Genesis holds the roster with which a group begins.
type Genesis struct {
	ID      wire.GroupID
	Founder wire.UserID
	Device  wire.DeviceID // the founder's first
	Policy  wire.Policy
}

// Resolver resolves rosters of a growing history. Its rosters are functions of the set of
// entries alone, not of the order in which they came.
type Resolver struct {
	genesis Genesis
	history History
	logs    []Log // of the history, as they were when they came

	authors  []wire.UserID // of logs
	byUser   map[wire.UserID][]int
	byDevice map[wire.DeviceID][]int
	several  []int   // logs of devices that have several
	ops      []*Op   // permitted ones, in order
	ofLog    [][]*Op // the same by log, ascending
	writers  []int   // logs that hold some
	byHash   map[wire.EntryHash]*Op
	prio     map[wire.UserID]priority
	begins   map[wire.LogID]bool // logs that may be the first of their devices

	founded    *Roster // without operations
	current    *Roster // nil: resolve it again
	recounted  bool    // not all operations count, or did at some time
	heads      []*Op   // operations that are in no other's past
	views      map[string]view
	milestones []milestone // oldest first
	keys       []string    // of them, oldest first
	weight     int
	scratch    int // how often a set was resolved from scratch
}

// New gives a resolver of a history, which holds no operations yet.
func New(g Genesis, h History) *Resolver {
	return &Resolver{
		genesis: g, history: h, byUser: map[wire.UserID][]int{}, byDevice: map[wire.DeviceID][]int{},
		byHash: map[wire.EntryHash]*Op{}, prio: map[wire.UserID]priority{}, views: map[string]view{},
		begins: map[wire.LogID]bool{{Device: g.Device, Incarnation: wire.FoundersIncarnation(g.ID)}: true},
	}
}

// priority is a hash of a user: an order among users that none of them chooses for the
// occasion.
type priority wire.Hash

func (p priority) less(q priority) bool { return bytes.Compare(p[:], q[:]) < 0 }

func (r *Resolver) priority(u wire.UserID) priority {
	p, ok := r.prio[u]
	if !ok {
		p = priority(wire.HashOf(wire.DomainPrio, r.genesis.ID[:], u[:]))
		r.prio[u] = p
	}
	return p
}

func (r *Resolver) byPriority(a, b *Op) int {
	p, q := r.priority(a.User), r.priority(b.User)
	if c := bytes.Compare(p[:], q[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

// all returns, for each log of the history, the last sequence number that counts.
func (r *Resolver) all() []uint64 {
	out := make([]uint64, len(r.logs))
	for i := range out {
		out[i] = r.history.Log(i).Len
	}
	return out
}

// before returns, for each log, the last sequence number in the past of an entry, without
// the entry.
func (r *Resolver) before(e Ref) []uint64 {
	out := make([]uint64, len(r.logs))
	for i := range out {
		out[i] = r.history.Seen(e, i)
	}
	out[e.Log]--
	return out
}

// resolution is the state of resolving one set of entries: those of the history up to a
// place in each log.
type resolution struct {
	*Resolver
	base  *Roster // of a milestone, on top of which it resolves what came since; nil: from scratch
	upTo  []uint64
	first *witnesses // the result of the first pass; nil during it

	losses    *lossIndex            // that stand
	authority map[wire.UserID][]*Op // grants and losses that stand, by whom they are about
	stand     map[*Op]bool          // the same, all
	issued    map[wire.InviteID]*Op // operations that gave out invites
	restsOf   map[*Op][]*Op
	took      []taken
	rivalsOf  map[*Op][]Ref // of each operation that is not its author's word, see rivals

	asked map[Ref]bool
}

// Founded returns the roster of the group before anything happened in it.
func (r *Resolver) Founded() *Roster {
	if r.founded == nil {
		r.founded = founded(r.genesis)
	}
	return r.founded
}

// resolve finds the roster of a set of entries.
//
// It decides the losses in two passes. Some conflicts depend on what users knew, and a user
// who was taken out is no witness of that. So the first pass decides without witnesses, and
// the users that it takes out are no witnesses in the second.
func (r *Resolver) resolve(upTo []uint64) *Roster {
	s := &resolution{Resolver: r, upTo: upTo, restsOf: map[*Op][]*Op{}, issued: map[wire.InviteID]*Op{}, asked: map[Ref]bool{}}
	ops := slices.DeleteFunc(slices.Clone(r.ops), func(x *Op) bool { return x.Seq > upTo[x.Log] })
	for _, x := range ops {
		if x.Type == wire.OpInvite && s.issued[x.Invite.ID] == nil {
			s.issued[x.Invite.ID] = x
		}
	}
	s.first = s.firstPass(ops)
	consistent := make([]*Op, 0, len(ops))
	s.rivalsOf = map[*Op][]Ref{}
	for _, x := range ops {
		if rivals := s.rivals(x.Ref); len(rivals) > 0 {
			s.rivalsOf[x] = rivals
		} else {
			consistent = append(consistent, x)
		}
	}
	var kept []*Op
	for {
		live := slices.DeleteFunc(slices.Clone(consistent), func(x *Op) bool { return slices.Contains(kept, x) })
		to := s.carryOut(slices.DeleteFunc(slices.Clone(ops), func(x *Op) bool { return slices.Contains(kept, x) }), s.standing(live))
		back := s.lastOwner(to)
		if back == nil {
			for x := range s.rivalsOf {
				to.void = to.void.with(x.Hash, Void{Op: x})
			}
			to.kept = kept
			to.asked = s.lastAsked()
			to.disputed = s.disputed(live)
			return to
		}
		kept = append(kept, back)
	}
}

// firstPass finds who can be a witness.
func (s *resolution) firstPass(ops []*Op) *witnesses {
	w := &witnesses{
		losses: newLossIndex(), adds: map[wire.UserID][]*Op{}, stays: make([][]stretch, len(s.upTo)),
		primary: map[int]bool{}, admitted: map[wire.DeviceID][]*Op{},
	}
	stand := s.standing(ops)
	for _, q := range stand {
		if (q.loss() || q.closes()) && len(s.hitting(s.losses, q)) == 0 {
			w.losses.add(q)
		}
	}
	for _, y := range ops {
		if y.Type == wire.OpAdd {
			w.adds[y.Target] = append(w.adds[y.Target], y)
		}
		if y.Type == wire.OpAdd || y.Type == wire.OpDeviceAdd {
			w.admitted[y.Subject] = append(w.admitted[y.Subject], y)
			w.admissions = append(w.admissions, y)
		}
	}
	return w
}

// ask notes that the answer of witnesses between entries mattered.
func (s *resolution) ask(refs ...Ref) {
	for _, e := range refs {
		s.asked[e] = true
	}
}

// disputed returns what the verdicts on a set depend on beyond the pasts of the operations:
// the losses and grants that others are concurrent to, and the entries between which
// witnesses were asked.
func (s *resolution) disputed(ops []*Op) (out []Ref) {
	ops = slices.DeleteFunc(slices.Clone(ops), func(x *Op) bool { return !x.loss() && !x.grants() })
	disputed := make([]bool, len(ops))
	var last []*Op // of those before, the ones that no other one knows
	for i, x := range ops {
		disputed[i] = slices.ContainsFunc(last, func(y *Op) bool { return !s.knows(x.Ref, y.Ref) })
		last = append(slices.DeleteFunc(last, func(y *Op) bool { return s.knows(x.Ref, y.Ref) }), x)
	}
	var first []*Op // of those behind, the ones that know no other one
	for i, x := range slices.Backward(ops) {
		disputed[i] = disputed[i] || slices.ContainsFunc(first, func(y *Op) bool { return !s.knows(y.Ref, x.Ref) })
		first = append(slices.DeleteFunc(first, func(y *Op) bool { return s.knows(y.Ref, x.Ref) }), x)
	}
	for i, x := range ops {
		if disputed[i] {
			out = append(out, x.Ref)
		}
	}
	for e := range s.asked {
		out = append(out, e)
	}
	return out
}

// lastAsked returns those of them that are in no other's past. An entry that has all these
// in its past cannot change an answer.
func (s *resolution) lastAsked() (out []Ref) {
	for e := range s.asked {
		if !slices.ContainsFunc(out, func(f Ref) bool { return s.knows(f, e) }) {
			out = append(slices.DeleteFunc(out, func(f Ref) bool { return s.knows(e, f) }), e)
		}
	}
	return out
}
