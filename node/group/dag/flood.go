package dag

import (
	"bytes"
	"math"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// A device writes one log, and begins another when its store went back: the new one names
// what the set holds of the older ones. So few of its entries lie beside each other, none in
// the past of another. A device with more of them than MaxBeside floods the group with logs,
// and so does one with more forked logs than MaxForked. From then on its entries count only
// if a log without evidence has them in its past, as those of a forked log do, and a vector
// has one mark for it. The entries that show it lie beside each other for ever, so that
// whoever is shown them agrees.

// Bounds of what one device may write beside itself.
const (
	MaxBeside = 16
	MaxForked = 4
)

// FloodMark is the incarnation of the mark by which a vector says that a device floods. No
// log has it.
const FloodMark = math.MaxUint64

// beside notes that an item is in the set, among the last of its device that lie beside each
// other, and finds a flood.
func (l *Logs) beside(it *Item) {
	d := it.Log.Device
	l.tops[d] = append(slices.DeleteFunc(l.tops[d], func(o *Item) bool { return l.InPast(o, it) }), it)
	if tops := l.tops[d]; len(tops) > MaxBeside && l.Floods[d] == nil {
		f := &wire.Flood{Device: d}
		for _, top := range tops[:MaxBeside+1] {
			f.Entries = append(f.Entries, top.Hash)
		}
		slices.SortFunc(f.Entries, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
		l.found = append(l.found, f)
	}
}

// Found gives the floods that came to light since it was last called.
func (l *Logs) Found() []*wire.Flood {
	found := l.found
	l.found = nil
	return found
}

// Shows says whether the entries of a flood are in the set and show it.
func (l *Logs) Shows(f *wire.Flood) bool {
	if len(f.Entries) <= MaxBeside {
		return false
	}
	items := make([]*Item, len(f.Entries))
	for i, h := range f.Entries {
		if items[i] = l.Items.At(h); items[i] == nil || items[i].Log.Device != f.Device {
			return false
		}
	}
	for i, a := range items {
		for _, b := range items[i+1:] {
			if l.InPast(a, b) || l.InPast(b, a) {
				return false
			}
		}
	}
	return true
}

// RecordFlood takes a flood into account. The caller then has to derive again all that
// depends on which entries count.
func (l *Logs) RecordFlood(f *wire.Flood) {
	l.Floods[f.Device] = f
	l.Covered = nil
	l.Recounted()
	for _, s := range l.Parking.Entries {
		if s.Entry.Device == f.Device && !l.Needed(s.Hash, s.Entry) {
			l.Parking.drop(s)
			l.Quarantine.put(s)
		}
	}
}

// accused says whether entries of a log count only if others name them.
func (l *Logs) accused(id wire.LogID) bool {
	return l.Evidence[id] != nil || l.Floods[id.Device] != nil
}

// proofs gives the entries that show the floods which a holder of these marks does not know
// of, and their pasts: it needs them to see the same.
func (l *Logs) proofs(marks []wire.Mark) (v Vector) {
	known := map[wire.DeviceID]bool{}
	for _, m := range marks {
		known[m.Log.Device] = known[m.Log.Device] || m.Log.Incarnation == FloodMark
	}
	for d, f := range l.Floods {
		if known[d] {
			continue
		}
		for _, h := range f.Entries {
			if shows := l.Items.At(h); shows != nil {
				v = v.Join(shows)
			}
		}
	}
	return v
}

// forked counts the logs of a device that there is evidence against.
func (l *Logs) forked(d wire.DeviceID) (n int) {
	for id := range l.Evidence {
		if id.Device == d {
			n++
		}
	}
	return n
}

// soundTops gives the last entries of a device's logs without evidence that lie in the past
// of no other such log of it.
func (l *Logs) soundTops(d wire.DeviceID) (tops []*Item) {
	var heads []*Item
	for _, i := range l.of[d] {
		if list := l.Lists[i]; l.Evidence[list.ID] == nil {
			heads = append(heads, list.Head())
		}
	}
	slices.SortFunc(heads, func(a, b *Item) int { return b.Compare(a) }) // no past holds a later one
	for _, it := range heads {
		if !slices.ContainsFunc(tops, func(top *Item) bool { return l.InPast(it, top) }) {
			tops = append(tops, it)
		}
	}
	return tops
}
