package group

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of what others can make this device keep.
const (
	maxParked        = 256 // entries waiting for others, per device that wrote them
	maxParkedDevices = 64
	maxParkedBytes   = 16 << 20
	maxLogs          = 64 // logs (incarnations) per device
)

// logs is the set of entries: one list per log, linked by hash, grown in causal
// order only. It knows nothing of rosters or epochs.
type logs struct {
	index map[wire.LogID]int // position in lists
	lists []*logList
	items map[wire.EntryHash]*item
	heads map[wire.EntryHash]*item // the frontier: entries that no other names

	devices map[wire.DeviceID]*identity.Device // everyone ever added, whatever became of it

	ops     []*item // in causal order
	commits []*item // in order of arrival
	votes   map[wire.DeviceID]*item
	newest  map[wire.UserID]crdt.HLC
	count   int

	parked  map[wire.EntryHash]*signedEntry
	waiting map[wire.EntryHash][]wire.EntryHash // what is missing → who waits for it
	quota   map[wire.DeviceID]int
	bytes   int // of all that is parked
}

type logList struct {
	id    wire.LogID
	items []*item // seq is index + 1
}

func newLogs(founder *identity.Device) *logs {
	return &logs{
		index: map[wire.LogID]int{}, items: map[wire.EntryHash]*item{}, heads: map[wire.EntryHash]*item{},
		devices: map[wire.DeviceID]*identity.Device{founder.ID: founder},
		votes:   map[wire.DeviceID]*item{}, newest: map[wire.UserID]crdt.HLC{},
		parked: map[wire.EntryHash]*signedEntry{}, waiting: map[wire.EntryHash][]wire.EntryHash{}, quota: map[wire.DeviceID]int{},
	}
}

// head is the newest entry of a log, or nil.
func (l *logs) head(id wire.LogID) *item {
	i, ok := l.index[id]
	if !ok {
		return nil
	}
	list := l.lists[i].items
	return list[len(list)-1]
}

// inPast says whether a lies in the causal past of b, or is b.
func (l *logs) inPast(a, b *item) bool { return b.past.seq(l.index[a.log]) >= a.seq }

// missing names what e builds on and the set does not hold.
func (l *logs) missing(e *wire.Entry) []wire.EntryHash {
	var out []wire.EntryHash
	if e.Seq > 1 && l.items[e.Prev] == nil {
		out = append(out, e.Prev)
	}
	for _, d := range e.Deps {
		if l.items[d] == nil {
			out = append(out, d)
		}
	}
	return out
}

// check verifies an entry whose prev and deps are in the set, and gives the item
// that add takes. The set does not change.
func (l *logs) check(now time.Time, s *signedEntry, group wire.GroupID, engine Engine) (*item, error) {
	e := s.entry
	d := l.devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("%v entry: %w: device %v", e.Kind, ErrNotMember, e.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.signed); err != nil {
		return nil, fmt.Errorf("%v of device %v: %w: %w", e.Kind, e.Device, ErrForged, err)
	}
	it := l.item(s, d)
	if it.hlc.Ahead(now) > maxAhead {
		return nil, fmt.Errorf("%v of device %v: %w: %v", e.Kind, e.Device, ErrFuture, it.hlc.Time())
	}
	head := l.head(it.log)
	switch {
	case head == nil && e.Seq == 1:
		if l.logsOf(e.Device) >= maxLogs {
			return nil, fmt.Errorf("log of device %v: %w: %d incarnations", e.Device, ErrFull, maxLogs)
		}
	case head != nil && e.Seq == head.seq+1 && e.Prev == head.hash:
	case head != nil && e.Seq <= head.seq:
		return nil, fmt.Errorf("entry %d of device %v: %w", e.Seq, e.Device, ErrEquivocation)
	default:
		return nil, fmt.Errorf("entry %d of device %v: %w: prev is not the entry before it", e.Seq, e.Device, ErrForged)
	}
	if head != nil && it.hlc <= head.hlc {
		return nil, fmt.Errorf("%v of device %v: %w: its time does not rise", e.Kind, e.Device, ErrForged)
	}
	for _, dep := range e.Deps {
		if it.hlc <= l.items[dep].hlc {
			return nil, fmt.Errorf("%v of device %v: %w: it is dated before what it builds on", e.Kind, e.Device, ErrForged)
		}
	}
	return l.fill(it, e, group, engine)
}

func (l *logs) item(s *signedEntry, d *identity.Device) *item {
	e := s.entry
	return &item{hash: s.hash, log: e.Log(), seq: e.Seq, kind: e.Kind, hlc: crdt.HLC(e.HLC), user: d.User}
}

// fill gives an item its causal past and its body.
func (l *logs) fill(it *item, e *wire.Entry, group wire.GroupID, engine Engine) (*item, error) {
	if head := l.head(it.log); head != nil {
		it.past = append(it.past, head.past...)
	}
	for _, dep := range e.Deps {
		it.past = it.past.join(l.items[dep].past)
	}
	return it, it.readBody(group, e, engine)
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
	i, ok := l.index[it.log]
	if !ok {
		i = len(l.lists)
		l.index[it.log] = i
		l.lists = append(l.lists, &logList{id: it.log})
	}
	it.past = it.past.with(i, it.seq)
	l.lists[i].items = append(l.lists[i].items, it)
	l.items[it.hash] = it
	delete(l.heads, e.Prev)
	for _, d := range e.Deps {
		delete(l.heads, d)
	}
	l.heads[it.hash] = it
	l.count++
	l.newest[it.user] = max(l.newest[it.user], it.hlc)
	switch it.kind {
	case wire.KindOp:
		at, _ := slices.BinarySearchFunc(l.ops, it, (*item).compare)
		l.ops = slices.Insert(l.ops, at, it)
		if it.target != nil {
			l.devices[it.target.device.ID] = it.target.device
		}
	case wire.KindCommit:
		l.commits = append(l.commits, it)
		l.takeVote(it)
	case wire.KindVote:
		l.takeVote(it)
	case wire.KindRecord, wire.KindTKey, wire.KindTKeyWrap:
	}
}

// takeVote keeps the newest VOTE or own COMMIT of each device.
func (l *logs) takeVote(it *item) {
	if old := l.votes[it.log.Device]; old == nil || old.compare(it) < 0 {
		l.votes[it.log.Device] = it
	}
}

// frontier is what a new entry of this log names in deps: the heads of the other
// logs that the log's own past does not cover, newest first up to most of them.
func (l *logs) frontier(own wire.LogID, most int) []wire.EntryHash {
	var heads []*item
	for _, h := range l.heads {
		if h.log != own {
			heads = append(heads, h)
		}
	}
	slices.SortFunc(heads, func(a, b *item) int { return b.compare(a) })
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

// park keeps an entry that came before what it builds on. It is not durable: a
// sync brings it again.
func (l *logs) park(s *signedEntry, missing []wire.EntryHash) error {
	if l.parked[s.hash] != nil {
		return nil
	}
	dev := s.entry.Device
	if l.bytes+len(s.raw) > maxParkedBytes || l.quota[dev] >= maxParked || l.quota[dev] == 0 && len(l.quota) >= maxParkedDevices {
		return fmt.Errorf("entries of device %v: %w", dev, ErrFull)
	}
	l.parked[s.hash] = s
	l.bytes += len(s.raw)
	l.quota[dev]++
	for _, h := range missing {
		l.waiting[h] = append(l.waiting[h], s.hash)
	}
	return nil
}

// unpark takes out those that waited for h and now lack nothing.
func (l *logs) unpark(h wire.EntryHash) []*signedEntry {
	var out []*signedEntry
	for _, w := range l.waiting[h] {
		if s := l.parked[w]; s != nil && len(l.missing(s.entry)) == 0 {
			delete(l.parked, w)
			l.bytes -= len(s.raw)
			if l.quota[s.entry.Device]--; l.quota[s.entry.Device] == 0 {
				delete(l.quota, s.entry.Device)
			}
			out = append(out, s)
		}
	}
	delete(l.waiting, h)
	return out
}

// marks is the version vector, ascending by log.
func (l *logs) marks() []wire.Mark {
	out := make([]wire.Mark, 0, len(l.lists))
	for _, id := range slices.SortedFunc(maps.Keys(l.index), wire.LogID.Compare) {
		h := l.head(id)
		out = append(out, wire.Mark{Log: id, Seq: h.seq, Hash: h.hash})
	}
	return out
}

// after lists what a holder of these marks lacks, in causal order.
func (l *logs) after(marks []wire.Mark, may func(*item) bool) []*item {
	have := make(map[wire.LogID]uint64, len(marks))
	for _, m := range marks {
		have[m.Log] = m.Seq
	}
	var out []*item
	for _, list := range l.lists {
		for _, it := range list.items[min(have[list.id], uint64(len(list.items))):] {
			if may(it) {
				out = append(out, it)
			}
		}
	}
	slices.SortFunc(out, (*item).compare)
	return out
}

// behind says whether marks hold an entry that the set does not.
func (l *logs) behind(marks []wire.Mark) bool {
	for _, m := range marks {
		if h := l.head(m.Log); h == nil || h.seq < m.Seq {
			return true
		}
	}
	return false
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
