package dag

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds on the entries that others can make this device keep.
const (
	MaxParked          = 256 // entries waiting for others, per device that wrote them; all that are not known share one place
	maxParkedBytes     = 16 << 20
	maxQuarantineBytes = 16 << 20 // of entries that nobody needs
	maxHeldBytes       = 8 << 20  // of those that one device wrote, and that are kept for a time
)

// Logs is the set of entries, linked by hash, grown in causal order only. It knows
// nothing of rosters or epochs. A log is one list, or, if its device signed two
// entries with one sequence number, one for each branch (equivocation.go).
type Logs struct {
	Index map[wire.LogID][]int // positions in lists, in order of arrival
	Lists []*LogList
	of    map[wire.DeviceID][]int // positions in lists of the branches of a device
	Items *index
	Heads map[wire.EntryHash]*Item // the frontier: entries that no other names

	Devices map[wire.DeviceID]*identity.Device // every device that was ever added
	Adders  map[wire.DeviceID][]*Item          // the operations that did
	founder wire.DeviceID                      // whom none need add

	Ops     []*Item                 // in causal order
	Commits []*Item                 // in order of arrival
	Keys    []*Item                 // TKEYs and TKEY-WRAPs, in order of arrival
	Votes   map[wire.DeviceID]*Item // the newest VOTE or COMMIT
	Words   map[wire.DeviceID]*Item // the newest VOTE
	Count   int
	Clock   crdt.Clock // the newest date in the set, and of what this device dated since

	Evidence map[wire.LogID]*Evidence
	Floods   map[wire.DeviceID]*wire.Flood
	tops     map[wire.DeviceID][]*Item // entries of a device that lie in the past of no other of its own
	found    []*wire.Flood             // see Found
	told     told
	Covered  Vector // the entries in the pasts of logs without evidence; nil: find them again
	scratch  Vector // for fillPast
	Grew     bool   // covered took in something of a log with evidence
	Changes  int    // rises with every change of the fork choice's input

	Parking    parking
	Quarantine quarantine // of logs with evidence, or too many: nobody else references them
	first      numbers
}

// LogList is one branch of a log: all of it, unless the log has forked.
type LogList struct {
	ID    wire.LogID
	From  uint64  // seq up to which it is the same as another branch
	Base  *Item   // the last entry of that; nil: it begins the log
	Items []*Item // seq is from + index + 1
}

func (b *LogList) Head() *Item { return b.Items[len(b.Items)-1] }

// At gives the entry with a seq, if it is on this branch and not before it.
func (b *LogList) At(seq uint64) *Item {
	if seq <= b.From || seq > b.From+uint64(len(b.Items)) {
		return nil
	}
	return b.Items[seq-b.From-1]
}

// Before yields what a branch goes on from, newest first: entries that other branches of its log
// go on from, too. A log has branches if its device runs twice.
func (l *Logs) Before(b *LogList) iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for at := b.Base; at != nil; {
			list := l.Lists[at.List]
			for seq := at.Seq; seq > list.From; seq-- {
				if !yield(list.At(seq)) {
					return
				}
			}
			at = list.Base
		}
	}
}

// Since gives the entries of the branch that have an item of the set in their pasts.
func (b *LogList) Since(it *Item) []*Item {
	i := sort.Search(len(b.Items), func(i int) bool { return b.Items[i].Seen(int(it.List)) >= it.Seq })
	return b.Items[i:]
}

// NewLogs makes the set of a group that nobody has written in. The founder's device needs
// no operation that adds it.
func NewLogs(founder *identity.Device) *Logs {
	l := &Logs{
		of: map[wire.DeviceID][]int{}, Index: map[wire.LogID][]int{}, Items: newIndex(0), Heads: map[wire.EntryHash]*Item{},
		Devices: map[wire.DeviceID]*identity.Device{founder.ID: founder},
		Adders:  map[wire.DeviceID][]*Item{}, founder: founder.ID,
		Votes: map[wire.DeviceID]*Item{}, Words: map[wire.DeviceID]*Item{},
		Evidence: map[wire.LogID]*Evidence{}, Floods: map[wire.DeviceID]*wire.Flood{}, tops: map[wire.DeviceID][]*Item{},
	}
	l.first = numbers{}
	l.Parking = newParking(func(d wire.DeviceID) bool { return l.Devices[d] != nil }, l.Missing, l.first)
	l.Quarantine = newQuarantine(l.first)
	return l
}

// Reserve makes room for about so many items in a set that has none yet.
func (l *Logs) Reserve(about int) { l.Items = newIndex(about) }

// Head is the newest entry of a log, or nil; of several branches, the first one's.
func (l *Logs) Head(id wire.LogID) *Item {
	branches := l.Index[id]
	if len(branches) == 0 {
		return nil
	}
	return l.Lists[branches[0]].Head()
}

// NumLogs is how many branches of logs of a device there are.
func (l *Logs) NumLogs(d wire.DeviceID) int { return len(l.of[d]) }

// InPast says whether a lies in the causal past of b, or is b. Both are in the
// set, or b is about to be.
func (l *Logs) InPast(a, b *Item) bool { return b.Seen(int(a.List)) >= a.Seq }

// Missing names the entries that e builds on and the set does not hold.
func (l *Logs) Missing(e *wire.Entry) []wire.EntryHash {
	var out []wire.EntryHash
	if e.Seq > 1 && l.Items.At(e.Prev) == nil {
		out = append(out, e.Prev)
	}
	for _, d := range e.Deps {
		if l.Items.At(d) == nil {
			out = append(out, d)
		}
	}
	return out
}

// Check verifies an entry whose prev and deps are in the set, and gives the item
// that add takes. The set does not change.
func (l *Logs) Check(s *SignedEntry, group wire.GroupID, engine engine.Engine) (*Item, error) {
	e := s.Entry
	d := l.Devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("%v entry: %w: device %v", e.Kind, verdict.ErrNotMember, e.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.Signed); err != nil {
		return nil, fmt.Errorf("%v of device %v: %w: %w", e.Kind, e.Device, verdict.ErrForged, err)
	}
	it := l.Item(s, d)
	if e.Incarnation == FloodMark {
		return nil, fmt.Errorf("%v of device %v: %w: no log has that incarnation", e.Kind, e.Device, verdict.ErrForged)
	}
	if it.HLC >= EndOfTime {
		return nil, fmt.Errorf("%v of device %v: %w: %v", e.Kind, e.Device, verdict.ErrFuture, it.HLC.Time())
	}
	prev := l.Items.At(e.Prev) // nil at seq 1
	switch {
	case prev == nil:
	case prev.Log != it.Log || prev.Seq+1 != e.Seq:
		return nil, fmt.Errorf("entry %d of device %v: %w: prev is not the entry before it", e.Seq, e.Device, verdict.ErrForged)
	case !mayFollow(it.HLC, prev.HLC):
		return nil, fmt.Errorf("%v of device %v: %w: its time does not rise", e.Kind, e.Device, verdict.ErrForged)
	}
	for _, dep := range e.Deps {
		if !mayFollow(it.HLC, l.Items.At(dep).HLC) {
			return nil, fmt.Errorf("%v of device %v: %w: it is dated before what it builds on", e.Kind, e.Device, verdict.ErrForged)
		}
	}
	if it = l.FillPast(it, e); !l.introduced(it) {
		return nil, fmt.Errorf("%v entry: %w: device %v, as far as it knew", e.Kind, verdict.ErrNotMember, e.Device)
	}
	return it, it.readBody(group, e, engine, false)
}

// mayFollow says whether an entry with this date may build on one at that place in the
// order. Dates rise along the way, but for those of a device that does not believe the
// date of what it builds on, and gives its own.
func mayFollow(date, place crdt.HLC) bool { return date > place || place.Ahead(date.Time()) > MaxAhead }

// Places lists the places, in the order, of the entries that e builds on.
func (l *Logs) Places(e *wire.Entry) (places []crdt.HLC) {
	for _, h := range append([]wire.EntryHash{e.Prev}, e.Deps...) {
		if it := l.Items.At(h); it != nil {
			places = append(places, it.HLC)
		}
	}
	return places
}

// introduced says whether an entry has the addition of its device in its past, so that a
// device that needs the entry gets the addition too. Otherwise the addition may lie in a
// log that does not count.
func (l *Logs) introduced(it *Item) bool {
	adders := l.Adders[it.Log.Device]
	return it.Seq > 1 || it.Log.Device == l.founder || slices.ContainsFunc(adders, func(op *Item) bool { return l.InPast(op, it) })
}

func (l *Logs) Item(s *SignedEntry, d *identity.Device) *Item {
	e := s.Entry
	it := &Item{
		Author: l.Author(e.Log(), d.User), Body: Unsealed, Hash: s.Hash, Seq: e.Seq, HLC: crdt.HLC(e.HLC), List: -1,
	}
	if e.Kind != wire.KindRecord {
		it.Body = &Body{Kind: e.Kind}
	}
	if s.Second {
		it.Note(IsSecond)
	}
	return it
}

// Author returns the part that all entries of a log share.
func (l *Logs) Author(log wire.LogID, user wire.UserID) *Author {
	if head := l.Head(log); head != nil {
		return head.Author
	}
	return &Author{Log: log, User: user}
}

// Fill gives an item its causal past and its body.
func (l *Logs) Fill(it *Item, e *wire.Entry, group wire.GroupID, engine engine.Engine) (*Item, error) {
	it = l.FillPast(it, e)
	return it, it.readBody(group, e, engine, false)
}

// FillPast gives an item its causal past, and its place in the order: where its date puts
// it, but above all that it builds on, so that (hlc, hash) is a causal order whatever
// dates people's clocks gave out.
func (l *Logs) FillPast(it *Item, e *wire.Entry) *Item {
	v := l.scratch[:0]
	var newest *Item // of what it names: the likeliest to have nearly the same past
	join := func(named *Item) {
		v = v.Join(named)
		it.HLC = max(it.HLC, named.HLC+1)
		if newest == nil || newest.Compare(named) < 0 {
			newest = named
		}
	}
	if e.Seq > 1 {
		join(l.Items.At(e.Prev))
	}
	for _, dep := range e.Deps {
		join(l.Items.At(dep))
	}
	if l.scratch = v; newest != nil {
		it.past = pastOf(v, int(it.List), newest.past)
	}
	return it
}

// Add puts a checked item into the set.
func (l *Logs) Add(it *Item, e *wire.Entry) {
	it.List = int32(l.branch(it, e)) //nolint:gosec // there is not the memory for so many
	l.FillPast(it, e)                // again, without the branch that is now its own
	l.Lists[it.List].Items = append(l.Lists[it.List].Items, it)
	l.extendCover(it)
	l.beside(it)
	l.Items.add(it)
	delete(l.Heads, e.Prev)
	for _, d := range e.Deps {
		delete(l.Heads, d)
	}
	l.Heads[it.Hash] = it
	l.Clock.Observe(it.HLC)
	l.Count++
	if it.Kind != wire.KindRecord {
		l.Changes++
	}
	switch it.Kind {
	case wire.KindOp:
		at, _ := slices.BinarySearchFunc(l.Ops, it, (*Item).Compare)
		l.Ops = slices.Insert(l.Ops, at, it)
	case wire.KindCommit:
		l.Commits = append(l.Commits, it)
		l.takeVote(it)
	case wire.KindVote:
		l.takeVote(it)
	case wire.KindTKey, wire.KindTKeyWrap:
		l.Keys = append(l.Keys, it)
	case wire.KindRecord:
	}
}

// Introduce has an addition that its author could make bring its device to the set: entries
// of it are taken from now on.
func (l *Logs) Introduce(add *Item) {
	id := add.Target.Device.ID
	// It is known by the certificate that it came in with last, in the order of entries and
	// not of their arrival.
	if !slices.ContainsFunc(l.Adders[id], func(o *Item) bool { return o.Compare(add) > 0 }) {
		l.Devices[id] = add.Target.Device
	}
	l.Adders[id] = append(l.Adders[id], add)
}

// takeVote keeps the newest VOTE and the newest VOTE or COMMIT of each device.
func (l *Logs) takeVote(it *Item) {
	if old := l.Votes[it.Log.Device]; old == nil || old.Compare(it) < 0 {
		l.Votes[it.Log.Device] = it
	}
	if old := l.Words[it.Log.Device]; it.Vote != nil && (old == nil || old.Compare(it) < 0) {
		l.Words[it.Log.Device] = it
	}
}

// branch gives the list that a new item continues, or a new one.
func (l *Logs) branch(it *Item, e *wire.Entry) int {
	for _, i := range l.Index[it.Log] {
		if head := l.Lists[i].Head(); head.Seq+1 == it.Seq && head.Hash == e.Prev {
			return i
		}
	}
	i := len(l.Lists)
	l.Index[it.Log] = append(l.Index[it.Log], i)
	l.of[it.Log.Device] = append(l.of[it.Log.Device], i)
	l.Lists = append(l.Lists, &LogList{ID: it.Log, From: it.Seq - 1, Base: l.Items.At(e.Prev)})
	return i
}

// Frontier is what a new entry of this log names in deps: the heads of the other logs that
// the log's own past does not cover, newest first up to most of them, and those of its own
// device before others'. Entries of a forked log count only once another log names them.
// Honest devices name only their own: that is how a restored device republishes what it
// wrote before the rollback.
func (l *Logs) Frontier(own wire.LogID, most int) []wire.EntryHash {
	var heads, silent []*Item // silent: what they build on counts, and they do not
	for _, h := range l.Heads {
		switch {
		case h.Log == own:
		case h.Log.Device == own.Device || l.Counts(h):
			heads = append(heads, h)
		default:
			silent = append(silent, h)
		}
	}
	if mine := l.Head(own); mine != nil {
		heads = append(heads, l.under(silent, append(slices.Clone(heads), mine))...)
	} else {
		heads = append(heads, l.under(silent, heads)...)
	}
	others := func(h *Item) int {
		if h.Log.Device == own.Device {
			return 0
		}
		return 1
	}
	slices.SortFunc(heads, func(a, b *Item) int { return cmp.Or(others(a)-others(b), b.Compare(a)) })
	if len(heads) > most {
		heads = heads[:most]
	}
	deps := make([]wire.EntryHash, len(heads))
	for i, h := range heads {
		deps[i] = h.Hash
	}
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	return deps
}

// WouldShow says whether the next entry of a log, which names most others, has an item of the
// set in its past: whether writing one tells others that this device knows of that.
func (l *Logs) WouldShow(own wire.LogID, most int, it *Item) bool {
	if head := l.Head(own); head != nil && l.InPast(it, head) {
		return true
	}
	return slices.ContainsFunc(l.Frontier(own, most), func(h wire.EntryHash) bool { return l.InPast(it, l.Items.At(h)) })
}

// under gives the last entries that count in the pasts of some that do not, where no other
// head has them in its past: nothing else names them.
func (l *Logs) under(silent, heads []*Item) (out []*Item) {
	if len(silent) == 0 {
		return nil
	}
	var covered, below Vector
	for _, h := range heads {
		covered = covered.Join(h)
	}
	for _, h := range silent {
		below = below.Join(h)
	}
	for i, list := range l.Lists {
		if it := list.At(min(below.seq(i), l.CountsUpTo(i))); it != nil && !covered.Has(it) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *Item) int { return b.Compare(a) }) // no past holds a later one
	return slices.DeleteFunc(out, func(it *Item) bool {
		known := covered.Has(it)
		covered = covered.Join(it)
		return known
	})
}

// Covers calls a function with each log of its device that a mark covers, and up to which
// sequence number: its own, and those whose entries lie in the past of its entry.
func (l *Logs) Covers(m wire.Mark, each func(wire.LogID, uint64)) {
	each(m.Log, m.Seq)
	if it := l.Items.At(m.Hash); it != nil && len(l.of[m.Log.Device]) > 1 {
		for _, i := range l.of[m.Log.Device] {
			each(l.Lists[i].ID, it.Seen(i))
		}
	}
}

// KnownTo says whether the last entry of a log has an item of the set in its past: of any log
// but those of some users.
func (l *Logs) KnownTo(it *Item, not ...wire.UserID) bool {
	return slices.ContainsFunc(l.Lists, func(list *LogList) bool {
		head := list.Head()
		return !slices.Contains(not, head.User) && l.InPast(it, head)
	})
}

// HeardOf gives the first entry, in the order, of another user's log without evidence that
// has an entry in its past; nil: there is none.
func (l *Logs) HeardOf(it *Item) (first *Item) {
	for _, list := range l.Lists {
		if l.accused(list.ID) || list.Items[0].User == it.User {
			continue
		}
		if knows := list.Since(it); len(knows) > 0 && (first == nil || knows[0].Compare(first) < 0) {
			first = knows[0]
		}
	}
	return first
}

// Outdated says whether a device has written since it told these marks from a log: there, or
// in a log that followed on that. A device has all that it wrote before. Of one that floods,
// or whose log has forked, nobody can tell.
func (l *Logs) Outdated(from wire.LogID, marks []wire.Mark) bool {
	if len(l.Index[from]) != 1 || l.accused(from) {
		return false
	}
	head := l.Head(from)
	have := l.Known(slices.DeleteFunc(slices.Clone(marks), func(m wire.Mark) bool { return m.Log.Device != from.Device }))
	return slices.ContainsFunc(l.tops[from.Device], func(top *Item) bool {
		return l.InPast(head, top) && !have.Has(top) && !l.accused(top.Log)
	})
}

// Known gives which entries of the set a holder of these marks has, as far as they show it.
func (l *Logs) Known(marks []wire.Mark) (have Vector) {
	joined := map[*base]bool{} // many pasts share one
	for _, m := range marks {
		switch it := l.Items.At(m.Hash); {
		case it != nil:
			have = have.joinBut(it, joined)
		case len(l.Index[m.Log]) == 1 && !l.accused(m.Log) && l.Head(m.Log).Seq < m.Seq:
			have = have.Join(l.Head(m.Log)) // it is further there, so it has these entries
		}
	}
	return have
}

// After returns the entries that a holder of these marks lacks, in causal order, from
// behind a place in that order; nil: from the beginning.
func (l *Logs) After(marks []wire.Mark, place *Item, may func(*Item) bool) iter.Seq[*Item] {
	if l.marked(marks) {
		return func(func(*Item) bool) {}
	}
	have, proofs := l.Known(marks), l.proofs(marks)
	// Each branch is in the order already: they are merged.
	var rest mergeHeap
	for i, list := range l.Lists {
		from := max(have.seq(i), list.From)
		items := list.Items[min(from-list.From, uint64(len(list.Items))):]
		if place != nil {
			at, found := slices.BinarySearchFunc(items, place, (*Item).Compare)
			if found {
				at++
			}
			items = items[at:]
		}
		if len(items) > 0 {
			rest = append(rest, items)
		}
	}
	return func(yield func(*Item) bool) {
		heap.Init(&rest)
		for len(rest) > 0 {
			it := rest[0][0]
			if rest[0] = rest[0][1:]; len(rest[0]) == 0 {
				heap.Pop(&rest)
			} else {
				heap.Fix(&rest, 0)
			}
			if may(it) && (l.Counts(it) || proofs.Has(it)) && !yield(it) {
				return
			}
		}
	}
}

// marked says whether a holder of these marks has all that counts: the last entries of each
// device's logs without evidence are marked, and so are all floods.
func (l *Logs) marked(marks []wire.Mark) bool {
	has, floods := make(map[wire.EntryHash]bool, len(marks)), map[wire.DeviceID]bool{}
	for _, m := range marks {
		if m.Log.Incarnation == FloodMark {
			floods[m.Log.Device] = true
		} else {
			has[m.Hash] = true
		}
	}
	for d, tops := range l.tops {
		switch {
		case l.Floods[d] != nil:
			if !floods[d] {
				return false
			}
			continue
		case l.forked(d) > 0:
			tops = l.soundTops(d)
		}
		if slices.ContainsFunc(tops, func(it *Item) bool { return !has[it.Hash] }) {
			return false
		}
	}
	return true
}

// matters says whether evidence against a device says anything to others: if what added
// it does not count, they need not know it, and it writes nothing that counts.
func (l *Logs) matters(d wire.DeviceID) bool {
	return d == l.founder || slices.ContainsFunc(l.Adders[d], l.Counts)
}

// AccusedBeyond lists the evidence that a holder of these marks lacks: of a device with too
// many forked logs as much as shows that.
func (l *Logs) AccusedBeyond(marks []wire.Mark) (out []*Evidence) {
	marked := map[wire.LogID]bool{}
	for _, m := range marks {
		marked[m.Log] = marked[m.Log] || m.Seq == 0
	}
	of := map[wire.DeviceID]int{}
	for _, id := range slices.SortedFunc(maps.Keys(l.Evidence), wire.LogID.Compare) {
		known := marked[id] || marked[wire.LogID{Device: id.Device, Incarnation: FloodMark}]
		if l.matters(id.Device) && !known && of[id.Device] <= MaxForked {
			of[id.Device]++
			out = append(out, l.Evidence[id])
		}
	}
	return out
}

// mergeHeap merges lists of items, each in order and none empty.
type mergeHeap [][]*Item

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return h[i][0].Compare(h[j][0]) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *mergeHeap) Push(x any) { *h = append(*h, x.([]*Item)) } //nolint:forcetypeassert // its own

// Pop is for package heap.
func (h *mergeHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// Behind says whether a holder of these marks has something that is not here.
func (l *Logs) Behind(marks []wire.Mark) bool {
	return slices.ContainsFunc(marks, func(m wire.Mark) bool {
		switch {
		case m.Log.Incarnation == FloodMark:
			return l.Floods[m.Log.Device] == nil
		case l.accused(m.Log):
			return false // other marks cover its entries that count
		case m.Seq == 0:
			return true
		}
		return l.Items.At(m.Hash) == nil && l.Parking.Entries[m.Hash] == nil
	})
}

// CheckLoaded is check for an entry that this device made or verified before.
func (l *Logs) CheckLoaded(s *SignedEntry, group wire.GroupID, engine engine.Engine) (*Item, error) {
	e := s.Entry
	if gone := l.Missing(e); len(gone) > 0 {
		return nil, fmt.Errorf("%w: entry %v lacks %v", verdict.ErrIncomplete, s.Hash, gone[0])
	}
	d := l.Devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("%w: device %v", verdict.ErrNotMember, e.Device)
	}
	it := l.FillPast(l.Item(s, d), e)
	return it, it.readBody(group, e, engine, true)
}

// Issued says whether the operation that gave an invite out is here, with its past.
func (l *Logs) Issued(id wire.InviteID) bool {
	return slices.ContainsFunc(l.Ops, func(op *Item) bool {
		return op.Op.Type == wire.OpInvite && op.Invited != nil && op.Invited.ID == id
	})
}

func (l *Logs) NameOf(d wire.DeviceID) string {
	if k := l.Devices[d]; k != nil {
		return k.Cert.Name
	}
	return "an unknown device"
}
