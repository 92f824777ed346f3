package authority

import (
	"container/heap"
	"slices"
	"sort"

	"github.com/pandanode/pandanode/node/wire"
)

// lossIndex finds losses by the user or device that they hit. The losses of one log are
// kept in order: those in the past of an entry are a prefix, those with the entry in their
// past are a suffix, and the concurrent ones lie between. So a search costs two binary
// searches for each log, and no comparison of pairs.
type lossIndex struct {
	byUser   map[wire.UserID][]lossesOfLog
	byDevice map[wire.DeviceID][]lossesOfLog
	byLog    map[int][]*Op

	// Operations that close a way into the group, which the above do not hold.
	byInvite map[wire.InviteID][]lossesOfLog
	doors    []lossesOfLog
}

type lossesOfLog struct {
	log int
	ops []*Op // ascending
}

func newLossIndex() *lossIndex {
	return &lossIndex{byUser: map[wire.UserID][]lossesOfLog{}, byDevice: map[wire.DeviceID][]lossesOfLog{}, byLog: map[int][]*Op{}, byInvite: map[wire.InviteID][]lossesOfLog{}}
}

func (ix *lossIndex) add(q *Op) {
	switch {
	case q.Type == wire.OpRevoke:
		ix.byInvite[q.Revokes] = insertLoss(ix.byInvite[q.Revokes], q)
		return
	case q.closes():
		ix.doors = insertLoss(ix.doors, q)
		return
	}
	ix.byLog[q.Log] = insertSeq(ix.byLog[q.Log], q)
	if u, ok := q.whom(); ok {
		ix.byUser[u] = insertLoss(ix.byUser[u], q)
	} else {
		ix.byDevice[q.Subject] = insertLoss(ix.byDevice[q.Subject], q)
	}
}

func insertLoss(lists []lossesOfLog, q *Op) []lossesOfLog {
	i := slices.IndexFunc(lists, func(l lossesOfLog) bool { return l.log == q.Log })
	if i < 0 {
		return append(lists, lossesOfLog{q.Log, []*Op{q}})
	}
	lists[i].ops = insertSeq(lists[i].ops, q)
	return lists
}

// insertSeq puts an operation into a list of its log.
func insertSeq(ops []*Op, q *Op) []*Op {
	if n := len(ops); n == 0 || ops[n-1].Seq < q.Seq {
		return append(ops, q)
	}
	i := sort.Search(len(ops), func(i int) bool { return ops[i].Seq >= q.Seq })
	return slices.Insert(ops, i, q)
}

// ways gives, for each log, what may close the way by which a clerk's addition lets somebody
// in: what closes it by itself, and what takes from the signer of an invite.
func (ix *lossIndex) ways(x *Op) [2][]lossesOfLog {
	switch {
	case !x.clerk():
		return [2][]lossesOfLog{}
	case x.Why == wire.WhyInvite:
		return [2][]lossesOfLog{ix.byInvite[x.Invite.ID], ix.byUser[x.Invite.Signer]}
	}
	return [2][]lossesOfLog{ix.doors}
}

// lists gives, for each log, the losses that are about a user or a device.
func (ix *lossIndex) lists(user wire.UserID, device wire.DeviceID) [2][]lossesOfLog {
	return [2][]lossesOfLog{ix.byUser[user], ix.byDevice[device]}
}

// concurrentIn returns the operations of an ascending list of one log that are concurrent
// to an entry.
func (r *Resolver) concurrentIn(ops []*Op, log int, x Ref) []*Op {
	if log == x.Log {
		return nil
	}
	known := r.history.Seen(x, log)
	from := sort.Search(len(ops), func(i int) bool { return ops[i].Seq > known })
	n := sort.Search(len(ops)-from, func(i int) bool { return r.knows(ops[from+i].Ref, x) })
	return ops[from : from+n]
}

// hits says whether a loss takes from a concurrent operation's author what the operation
// needs. A user's own leave or revocation does not take back an operation that others knew
// to come first. Otherwise a stolen phone could undo all that its owner ever did, by a
// leave whose past is that of the day on which the group was founded.
func (s *resolution) hits(q, x *Op) bool {
	if !q.takes(x) || !s.concurrent(q.Ref, x.Ref) {
		return false
	}
	if q.User != x.User || s.first == nil {
		return true
	}
	n := s.better(q, x, s.independentOf(q))
	return n > 0 || n == 0 && s.better(q, x, s.everybody()) >= 0
}

// hitting returns, for each log, the first loss of an index that hits an operation.
func (s *resolution) hitting(ix *lossIndex, x *Op) (out []*Op) {
	for _, lists := range ix.lists(x.User, x.Device) {
		for _, l := range lists {
			for _, q := range s.concurrentIn(l.ops, l.log, x.Ref) {
				if s.hits(q, x) {
					out = append(out, q)
					break
				}
			}
		}
	}
	return out
}

// undermining returns, for each log, the first losses of an index that hit an operation or
// what its authority rests on.
func (s *resolution) undermining(ix *lossIndex, x *Op) []*Op {
	out := s.hitting(ix, x)
	for _, g := range s.rests(x) {
		out = append(out, s.hitting(ix, g)...)
	}
	return out
}

// under says whether a loss hits what an operation's authority rests on.
func (s *resolution) under(q, x *Op) bool {
	return slices.ContainsFunc(s.rests(x), func(g *Op) bool { return s.hits(q, g) })
}

// voids says whether a loss, if it stands, makes another loss or grant void. If each takes
// out the other's author, the higher role stays. Of equal roles the one stays that the
// others knew to be first; if they knew of none, both losses stand and both authors go. A
// loss does not void another one that takes away what it rests on: nobody escapes its own
// removal through a puppet.
//
// An operation that closes a concurrent addition's way in keeps it from giving authority.
func (s *resolution) voids(q, x *Op) bool {
	switch {
	case q.closes():
		return q.shuts(x) && s.concurrent(q.Ref, x.Ref)
	case q.takesFromSigner(x) && s.concurrent(q.Ref, x.Ref):
		return true
	case !s.hits(q, x):
		return s.under(q, x)
	case !x.loss():
		return true
	case !s.hits(x, q):
		return !s.under(x, q)
	case q.role != x.role && q.User != x.User:
		return q.role < x.role
	}
	return s.first != nil && s.better(q, x, s.bystanders(q, x)) > 0
}

// rank is the order in which it is decided whether losses and grants stand: first those
// that users take from themselves, then those of owners, and so on. A grant by an invite
// waits for what admins do, since an admin can close the invite, and what rests on such a
// grant waits with it.
func (s *resolution) rank(x *Op) wire.Role {
	byInvite := func(g *Op) bool { return g.clerk() && g.grants() }
	switch {
	case x.own():
		return 0
	case byInvite(x) || x.role == wire.RoleOwner && slices.ContainsFunc(s.rests(x), byInvite):
		return wire.RoleAdmin
	}
	return x.role
}

// standing decides which losses and grants stand, and what closes a way in, and returns them
// in order.
func (s *resolution) standing(ops []*Op) []*Op {
	var ranks [int(out) + 1][]*Op
	for _, x := range ops {
		if x.loss() || x.grants() || x.closes() {
			k := s.rank(x)
			ranks[k] = append(ranks[k], x)
		}
	}
	s.losses, s.authority = newLossIndex(), map[wire.UserID][]*Op{}
	var stand []*Op
	for _, nodes := range ranks {
		s.decide(nodes, func(x *Op) {
			if s.stands(x, ops) {
				stand = append(stand, x)
				s.noteStanding(x)
			}
		})
	}
	slices.SortFunc(stand, (*Op).compare)
	return stand
}

func (s *resolution) noteStanding(x *Op) {
	if x.loss() || x.closes() {
		s.losses.add(x)
	}
	if u, ok := x.whom(); ok {
		list := s.about(u)
		if _, own := s.authority[u]; !own {
			list = slices.Clip(list)
		}
		at, _ := slices.BinarySearchFunc(list, x, (*Op).compare)
		s.authority[u] = slices.Insert(list, at, x)
	}
}

// about gives the grants and losses about a user that stand, in order.
func (s *resolution) about(u wire.UserID) []*Op {
	list, known := s.authority[u]
	if !known && s.base != nil {
		return s.base.authority.at(u)
	}
	return list
}

// stands says whether a loss or grant stands, once all that may void it are decided.
func (s *resolution) stands(x *Op, ops []*Op) bool {
	for _, g := range append([]*Op{x}, s.rests(x)...) {
		for _, lists := range s.losses.lists(g.User, g.Device) {
			for _, l := range lists {
				if slices.ContainsFunc(s.concurrentIn(l.ops, l.log, g.Ref), func(q *Op) bool { return q != x && s.voids(q, x) }) {
					return false
				}
			}
		}
	}
	for _, lists := range s.losses.ways(x) {
		for _, l := range lists {
			if slices.ContainsFunc(s.concurrentIn(l.ops, l.log, x.Ref), func(q *Op) bool { return s.voids(q, x) }) {
				return false
			}
		}
	}
	switch {
	case x.Type == wire.OpLeave && x.alone && slices.ContainsFunc(ops, func(y *Op) bool { return s.concurrent(x.Ref, y.Ref) }):
		return false // it was not alone
	case !s.rooted(x):
		return false
	case x.role == wire.RoleAdmin && !x.own() && (x.Type == wire.OpRemove || x.Type == wire.OpDeviceRevoke):
		return !s.madeOwner(x)
	}
	return true
}

// madeOwner says whether the target of an admin's removal was made an owner concurrently:
// an admin cannot remove an owner by not knowing of the promotion.
func (s *resolution) madeOwner(x *Op) bool {
	victim := x.victim
	if x.Type == wire.OpRemove {
		victim = x.Target
	}
	return slices.ContainsFunc(s.about(victim), func(p *Op) bool {
		return p.grants() && p.Role == wire.RoleOwner && s.concurrent(p.Ref, x.Ref)
	})
}

// decide calls take for the losses and grants of one rank one after the other, each once no
// undecided one may void it or is one that it rests on. Among those that are ready, and
// among those that void each other in a circle, the author with the lowest hash comes
// first. That order depends on nothing that an author can choose for one operation.
func (s *resolution) decide(nodes []*Op, take func(*Op)) {
	slices.SortFunc(nodes, func(a, b *Op) int { return s.byPriority(a, b) })
	w := &waits{s: s, at: make(map[*Op]int, len(nodes)), open: make([]bool, len(nodes)), waiting: make([][]int, len(nodes)), losses: newLossIndex()}
	for i, x := range nodes {
		w.at[x], w.open[i] = i, true
		if x.loss() || x.closes() {
			w.losses.add(x)
		}
	}
	w.iters = make([]*obstacles, len(nodes))
	for i, x := range nodes {
		w.iters[i] = w.obstacles(x)
		w.advance(i)
	}
	circle := 0 // losses before this are decided
	for range nodes {
		var i int
		if w.ready.Len() > 0 {
			i = heap.Pop(&w.ready).(int) //nolint:forcetypeassert // it holds nothing else
		} else {
			for circle < len(nodes) && !(w.open[circle] && nodes[circle].loss()) {
				circle++
			}
			if i = circle; i == len(nodes) {
				i = slices.Index(w.open, true)
			}
		}
		w.open[i] = false
		take(nodes[i])
		woken := w.waiting[i]
		w.waiting[i] = nil
		for _, j := range woken {
			if w.open[j] {
				w.advance(j)
			}
		}
	}
}

// waits holds the undecided losses and grants of one rank, and which one each of them waits
// for. Each waits for one at a time, so that no pairs are kept.
type waits struct {
	s       *resolution
	losses  *lossIndex
	at      map[*Op]int
	open    []bool
	waiting [][]int // for each, those that wait for it
	iters   []*obstacles
	ready   indexHeap
}

// obstacles iterates over the operations that may void an operation or that it rests on.
type obstacles struct {
	x      *Op
	lists  [][]*Op // of losses; of them those that void it count
	rests  []*Op
	i, pos int
}

func (w *waits) obstacles(x *Op) *obstacles {
	o := &obstacles{x: x, rests: w.s.rests(x)}
	for _, g := range append([]*Op{x}, o.rests...) {
		for _, lists := range w.losses.lists(g.User, g.Device) {
			for _, l := range lists {
				if ops := w.s.concurrentIn(l.ops, l.log, g.Ref); len(ops) > 0 {
					o.lists = append(o.lists, ops)
				}
			}
		}
	}
	for _, lists := range w.losses.ways(x) {
		for _, l := range lists {
			if ops := w.s.concurrentIn(l.ops, l.log, x.Ref); len(ops) > 0 {
				o.lists = append(o.lists, ops)
			}
		}
	}
	return o
}

// advance finds the next operation that an operation waits for, or marks it ready.
func (w *waits) advance(i int) {
	o := w.iters[i]
	for ; o.i < len(o.lists); o.i, o.pos = o.i+1, 0 {
		for list := o.lists[o.i]; o.pos < len(list); o.pos++ {
			q := list[o.pos]
			if j := w.at[q]; q != o.x && w.open[j] && w.s.voids(q, o.x) {
				w.waiting[j] = append(w.waiting[j], i)
				return
			}
		}
	}
	for _, g := range o.rests {
		if j, ok := w.at[g]; ok && g != o.x && w.open[j] {
			w.waiting[j] = append(w.waiting[j], i)
			return
		}
	}
	heap.Push(&w.ready, i)
}

// indexHeap gives the lowest first.
type indexHeap []int

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(int)) } //nolint:forcetypeassert // see decide
func (h *indexHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
