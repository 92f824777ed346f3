package group

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of what others can make this device keep.
const (
	maxParked          = 256 // entries waiting for others, per device that wrote them; all that are not known share one place
	maxParkedBytes     = 16 << 20
	maxQuarantineBytes = 16 << 20 // of entries that nobody needs
	maxLogs            = 64       // logs (incarnations) per device that nobody else needs
)

// logs is the set of entries, linked by hash, grown in causal order only. It knows
// nothing of rosters or epochs. A log is one list, or, if its device signed two
// entries with one sequence number, one for each branch (equivocation.go).
type logs struct {
	index map[wire.LogID][]int // positions in lists, in order of arrival
	lists []*logList
	items *index
	heads map[wire.EntryHash]*item // the frontier: entries that no other names

	devices map[wire.DeviceID]*identity.Device // everyone ever added, whatever became of it
	adders  map[wire.DeviceID][]*item          // the operations that did
	founder wire.DeviceID                      // whom none need add

	ops     []*item                 // in causal order
	commits []*item                 // in order of arrival
	keys    []*item                 // TKEYs and TKEY-WRAPs, in order of arrival
	votes   map[wire.DeviceID]*item // the newest VOTE or COMMIT
	words   map[wire.DeviceID]*item // the newest VOTE
	count   int

	evidence map[wire.LogID]*evidence
	covered  vector // what logs without evidence have in their pasts; nil: find it again
	scratch  vector // for fillPast
	grew     bool   // covered took in something of a log with evidence
	changes  int    // rises with whatever the fork choice may look at

	parking    parking
	quarantine quarantine // of logs with evidence, or too many: nobody else references them
	first      numbers
}

type logList struct {
	id    wire.LogID
	from  uint64  // seq up to which it is the same as another branch
	items []*item // seq is from + index + 1
}

func (b *logList) head() *item { return b.items[len(b.items)-1] }

// at gives the entry with a seq, if it is on this branch and not before it.
func (b *logList) at(seq uint64) *item {
	if seq <= b.from || seq > b.from+uint64(len(b.items)) {
		return nil
	}
	return b.items[seq-b.from-1]
}

func newLogs(founder *identity.Device) *logs {
	l := &logs{
		index: map[wire.LogID][]int{}, items: newIndex(0), heads: map[wire.EntryHash]*item{},
		devices: map[wire.DeviceID]*identity.Device{founder.ID: founder},
		adders:  map[wire.DeviceID][]*item{}, founder: founder.ID,
		votes: map[wire.DeviceID]*item{}, words: map[wire.DeviceID]*item{},
		evidence: map[wire.LogID]*evidence{},
	}
	l.first = numbers{}
	l.parking = newParking(func(d wire.DeviceID) bool { return l.devices[d] != nil }, l.missing, l.first)
	l.quarantine = newQuarantine(l.first)
	return l
}

// head is the newest entry of a log, or nil; of several branches, the first one's.
func (l *logs) head(id wire.LogID) *item {
	branches := l.index[id]
	if len(branches) == 0 {
		return nil
	}
	return l.lists[branches[0]].head()
}

// inPast says whether a lies in the causal past of b, or is b. Both are in the
// set, or b is about to be.
func (l *logs) inPast(a, b *item) bool { return b.seen(int(a.list)) >= a.seq }

// missing names what e builds on and the set does not hold.
func (l *logs) missing(e *wire.Entry) []wire.EntryHash {
	var out []wire.EntryHash
	if e.Seq > 1 && l.items.at(e.Prev) == nil {
		out = append(out, e.Prev)
	}
	for _, d := range e.Deps {
		if l.items.at(d) == nil {
			out = append(out, d)
		}
	}
	return out
}

// check verifies an entry whose prev and deps are in the set, and gives the item
// that add takes. The set does not change.
func (l *logs) check(s *signedEntry, group wire.GroupID, engine Engine) (*item, error) {
	e := s.entry
	d := l.devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("%v entry: %w: device %v", e.Kind, ErrNotMember, e.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.signed); err != nil {
		return nil, fmt.Errorf("%v of device %v: %w: %w", e.Kind, e.Device, ErrForged, err)
	}
	it := l.item(s, d)
	if it.hlc >= endOfTime {
		return nil, fmt.Errorf("%v of device %v: %w: %v", e.Kind, e.Device, ErrFuture, it.hlc.Time())
	}
	prev := l.items.at(e.Prev) // nil at seq 1
	switch {
	case prev == nil:
	case prev.log != it.log || prev.seq+1 != e.Seq:
		return nil, fmt.Errorf("entry %d of device %v: %w: prev is not the entry before it", e.Seq, e.Device, ErrForged)
	case !mayFollow(it.hlc, prev.hlc):
		return nil, fmt.Errorf("%v of device %v: %w: its time does not rise", e.Kind, e.Device, ErrForged)
	}
	for _, dep := range e.Deps {
		if !mayFollow(it.hlc, l.items.at(dep).hlc) {
			return nil, fmt.Errorf("%v of device %v: %w: it is dated before what it builds on", e.Kind, e.Device, ErrForged)
		}
	}
	if it = l.fillPast(it, e); !l.introduced(it) {
		return nil, fmt.Errorf("%v entry: %w: device %v, as far as it knew", e.Kind, ErrNotMember, e.Device)
	}
	return it, it.readBody(group, e, engine)
}

// mayFollow says whether an entry with this date may build on one at that place in the
// order. Dates rise along the way, but for those of a device that does not believe the
// date of what it builds on, and gives its own.
func mayFollow(date, place crdt.HLC) bool { return date > place || place.Ahead(date.Time()) > maxAhead }

// newestOf is the last place in the order of what e builds on.
func (l *logs) newestOf(e *wire.Entry) (last crdt.HLC) {
	for _, h := range append([]wire.EntryHash{e.Prev}, e.Deps...) {
		if it := l.items.at(h); it != nil {
			last = max(last, it.hlc)
		}
	}
	return last
}

// introduced says whether an entry has in its past what adds its device, so that
// whoever needs the entry gets that too: else it may lie in a log that counts for nothing.
func (l *logs) introduced(it *item) bool {
	adders := l.adders[it.log.Device]
	return it.seq > 1 || it.log.Device == l.founder || slices.ContainsFunc(adders, func(op *item) bool { return l.inPast(op, it) })
}

func (l *logs) item(s *signedEntry, d *identity.Device) *item {
	e := s.entry
	it := &item{
		author: l.author(e.Log(), d.User), body: unsealed, hash: s.hash, seq: e.Seq, hlc: crdt.HLC(e.HLC), list: -1,
	}
	if e.Kind != wire.KindRecord {
		it.body = &body{kind: e.Kind}
	}
	if s.second {
		it.note(isSecond)
	}
	return it
}

// author gives what all entries of a log share.
func (l *logs) author(log wire.LogID, user wire.UserID) *author {
	if head := l.head(log); head != nil {
		return head.author
	}
	return &author{log: log, user: user}
}

// fill gives an item its causal past and its body.
func (l *logs) fill(it *item, e *wire.Entry, group wire.GroupID, engine Engine) (*item, error) {
	it = l.fillPast(it, e)
	return it, it.readBody(group, e, engine)
}

// fillPast gives an item its causal past, and its place in the order: where its date puts
// it, but above all that it builds on, so that (hlc, hash) is a causal order whatever
// dates people's clocks gave out.
func (l *logs) fillPast(it *item, e *wire.Entry) *item {
	v := l.scratch[:0]
	var newest *item // of what it names: the likeliest to have nearly the same past
	join := func(named *item) {
		v = v.join(named)
		it.hlc = max(it.hlc, named.hlc+1)
		if newest == nil || newest.compare(named) < 0 {
			newest = named
		}
	}
	if e.Seq > 1 {
		join(l.items.at(e.Prev))
	}
	for _, dep := range e.Deps {
		join(l.items.at(dep))
	}
	if l.scratch = v; newest != nil {
		it.past = pastOf(v, int(it.list), newest.past)
	}
	return it
}

func (l *logs) logsOf(d wire.DeviceID) (n int) {
	for id := range l.index {
		if id.Device == d {
			n++
		}
	}
	return n
}

// add puts a checked item into the set.
func (l *logs) add(it *item, e *wire.Entry) {
	it.list = int32(l.branch(it, e)) //nolint:gosec // there is not the memory for so many
	l.fillPast(it, e)                // again, without the branch that is now its own
	l.lists[it.list].items = append(l.lists[it.list].items, it)
	l.extendCover(it)
	l.items.add(it)
	delete(l.heads, e.Prev)
	for _, d := range e.Deps {
		delete(l.heads, d)
	}
	l.heads[it.hash] = it
	l.count++
	if it.kind != wire.KindRecord {
		l.changes++
	}
	switch it.kind {
	case wire.KindOp:
		at, _ := slices.BinarySearchFunc(l.ops, it, (*item).compare)
		l.ops = slices.Insert(l.ops, at, it)
		if it.target != nil {
			id := it.target.device.ID
			l.devices[id] = it.target.device
			l.adders[id] = append(l.adders[id], it)
		}
	case wire.KindCommit:
		l.commits = append(l.commits, it)
		l.takeVote(it)
	case wire.KindVote:
		l.takeVote(it)
	case wire.KindTKey, wire.KindTKeyWrap:
		l.keys = append(l.keys, it)
	case wire.KindRecord:
	}
}

// takeVote keeps the newest VOTE and the newest VOTE or COMMIT of each device.
func (l *logs) takeVote(it *item) {
	if old := l.votes[it.log.Device]; old == nil || old.compare(it) < 0 {
		l.votes[it.log.Device] = it
	}
	if old := l.words[it.log.Device]; it.vote != nil && (old == nil || old.compare(it) < 0) {
		l.words[it.log.Device] = it
	}
}

// branch gives the list that a new item continues, or a new one.
func (l *logs) branch(it *item, e *wire.Entry) int {
	for _, i := range l.index[it.log] {
		if head := l.lists[i].head(); head.seq+1 == it.seq && head.hash == e.Prev {
			return i
		}
	}
	i := len(l.lists)
	l.index[it.log] = append(l.index[it.log], i)
	l.lists = append(l.lists, &logList{id: it.log, from: it.seq - 1})
	return i
}

// frontier is what a new entry of this log names in deps: the heads of the other
// logs that the log's own past does not cover, newest first up to most of them, and
// those of its own device before others'.
// What counts only if somebody names it nobody names but its own device: that is
// how it gets what it wrote before its store went back into the set again.
func (l *logs) frontier(own wire.LogID, most int) []wire.EntryHash {
	var heads []*item
	for _, h := range l.heads {
		if h.log != own && (h.log.Device == own.Device || l.counts(h)) {
			heads = append(heads, h)
		}
	}
	others := func(h *item) int {
		if h.log.Device == own.Device {
			return 0
		}
		return 1
	}
	slices.SortFunc(heads, func(a, b *item) int { return cmp.Or(others(a)-others(b), b.compare(a)) })
	if len(heads) > most {
		heads = heads[:most]
	}
	deps := make([]wire.EntryHash, len(heads))
	for i, h := range heads {
		deps[i] = h.hash
	}
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	return deps
}

// marks is the version vector, ascending by log. What counts of a log with
// evidence lies in the pasts of other marks; its own only says that there is evidence.
func (l *logs) marks() []wire.Mark {
	logs := maps.Clone(l.evidence)
	for id := range l.index {
		logs[id] = nil
	}
	out := make([]wire.Mark, 0, len(logs))
	for _, id := range slices.SortedFunc(maps.Keys(logs), wire.LogID.Compare) {
		if l.evidence[id] != nil {
			if l.matters(id.Device) {
				out = append(out, wire.Mark{Log: id})
			}
			continue
		}
		h := l.head(id)
		out = append(out, wire.Mark{Log: id, Seq: h.seq, Hash: h.hash})
	}
	return out
}

// after gives what a holder of these marks lacks, in causal order, from behind a
// place in that order; nil: from the beginning.
func (l *logs) after(marks []wire.Mark, place *item, may func(*item) bool) iter.Seq[*item] {
	var have vector
	for _, m := range marks {
		switch it := l.items.at(m.Hash); {
		case it != nil:
			have = have.join(it)
		case len(l.index[m.Log]) == 1 && l.evidence[m.Log] == nil && l.head(m.Log).seq < m.Seq:
			have = have.join(l.head(m.Log)) // it is further there, so it has what is here
		}
	}
	// Each branch is in the order already: they are merged.
	var rest mergeHeap
	for i, list := range l.lists {
		from := max(have.seq(i), list.from)
		items := list.items[min(from-list.from, uint64(len(list.items))):]
		if place != nil {
			at, found := slices.BinarySearchFunc(items, place, (*item).compare)
			if found {
				at++
			}
			items = items[at:]
		}
		if len(items) > 0 {
			rest = append(rest, items)
		}
	}
	return func(yield func(*item) bool) {
		heap.Init(&rest)
		for len(rest) > 0 {
			it := rest[0][0]
			if rest[0] = rest[0][1:]; len(rest[0]) == 0 {
				heap.Pop(&rest)
			} else {
				heap.Fix(&rest, 0)
			}
			if may(it) && l.counts(it) && !yield(it) {
				return
			}
		}
	}
}

// matters says whether evidence against a device says anything to others: if what added
// it does not count, they need not know it, and it writes nothing that counts.
func (l *logs) matters(d wire.DeviceID) bool {
	return d == l.founder || slices.ContainsFunc(l.adders[d], l.counts)
}

// accusedBeyond lists the evidence that a holder of these marks lacks.
func (l *logs) accusedBeyond(marks []wire.Mark) (out []*evidence) {
	for _, id := range slices.SortedFunc(maps.Keys(l.evidence), wire.LogID.Compare) {
		if l.matters(id.Device) && !slices.ContainsFunc(marks, func(m wire.Mark) bool { return m.Seq == 0 && m.Log == id }) {
			out = append(out, l.evidence[id])
		}
	}
	return out
}

// mergeHeap merges lists of items, each in order and none empty.
type mergeHeap [][]*item

func (h mergeHeap) Len() int           { return len(h) }
func (h mergeHeap) Less(i, j int) bool { return h[i][0].compare(h[j][0]) < 0 }
func (h mergeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *mergeHeap) Push(x any) { *h = append(*h, x.([]*item)) } //nolint:forcetypeassert // its own

// Pop is for package heap.
func (h *mergeHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// behind says whether a holder of these marks has something that is not here.
func (l *logs) behind(marks []wire.Mark) bool {
	return slices.ContainsFunc(marks, func(m wire.Mark) bool {
		switch {
		case l.evidence[m.Log] != nil:
			return false // what counts of it other marks tell
		case m.Seq == 0:
			return true
		}
		return l.items.at(m.Hash) == nil && l.parking.entries[m.Hash] == nil
	})
}

// checkLoaded is check for an entry that this device made or verified before.
func (l *logs) checkLoaded(s *signedEntry, group wire.GroupID, engine Engine) (*item, error) {
	e := s.entry
	if gone := l.missing(e); len(gone) > 0 {
		return nil, fmt.Errorf("%w: entry %v lacks %v", ErrIncomplete, s.hash, gone[0])
	}
	d := l.devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("%w: device %v", ErrNotMember, e.Device)
	}
	return l.fill(l.item(s, d), e, group, engine)
}
