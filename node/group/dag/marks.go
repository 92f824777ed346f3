package dag

import (
	"cmp"
	"math"
	"slices"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// told is the version vector of a set as it was when somebody last asked for it. Many ask
// between two changes: each exchange does, and a set may have a thousand logs.
type told struct {
	of    asOf
	marks wire.Marks
	hash  wire.Hash // zeros: nobody asked for it
}

// asOf tells one state of a set from another, as far as its version vector goes.
type asOf struct{ count, changes int }

// Marks is the version vector, ascending by log: of each device the last entries that lie
// in the past of no other of its own. The entries of a log with evidence that count lie in
// the pasts of other marks; the log's own mark only says that there is evidence, and one
// mark says that a device floods. Nobody may change it: it is shared.
func (l *Logs) Marks() wire.Marks {
	if now := (asOf{l.Count, l.Changes}); l.told.marks == nil || now != l.told.of {
		l.told = told{of: now, marks: slices.Clip(l.findMarks())}
	}
	return l.told.marks
}

// MarksHash is the hash of the version vector.
func (l *Logs) MarksHash() wire.Hash {
	if marks := l.Marks(); l.told.hash == (wire.Hash{}) {
		l.told.hash = marks.Hash()
	}
	return l.told.hash
}

// Told says whether marks are the version vector that Marks gives now, and not a copy of it.
func (l *Logs) Told(marks []wire.Mark) bool {
	now := l.Marks()
	return len(marks) > 0 && len(marks) == len(now) && &marks[0] == &now[0]
}

func (l *Logs) findMarks() wire.Marks {
	out := make([]wire.Mark, 0, len(l.tops))
	for id := range l.Evidence {
		if l.Floods[id.Device] == nil && l.matters(id.Device) {
			out = append(out, wire.Mark{Log: id})
		}
	}
	for d, tops := range l.tops {
		if l.Floods[d] != nil {
			if l.matters(d) {
				out = append(out, wire.Mark{Log: wire.LogID{Device: d, Incarnation: FloodMark}})
			}
			continue
		}
		if l.forked(d) > 0 {
			tops = l.soundTops(d)
		}
		for _, it := range tops {
			out = append(out, wire.Mark{Log: it.Log, Seq: it.Seq, Hash: it.Hash})
		}
	}
	slices.SortFunc(out, func(a, b wire.Mark) int { return a.Log.Compare(b.Log) })
	return out
}

// Newest leaves the marks of so many logs at most, those of a device and else those with the
// newest entries, ascending by log.
func (l *Logs) Newest(marks wire.Marks, most int, of wire.DeviceID) wire.Marks {
	if len(marks) <= most {
		return marks
	}
	at := func(m wire.Mark) crdt.HLC {
		if m.Log.Device == of {
			return math.MaxUint64
		}
		if it := l.Items.At(m.Hash); it != nil {
			return it.HLC
		}
		return 0
	}
	marks = slices.Clone(marks)
	slices.SortStableFunc(marks, func(a, b wire.Mark) int { return cmp.Compare(at(b), at(a)) })
	marks = marks[:most]
	slices.SortFunc(marks, func(a, b wire.Mark) int { return a.Log.Compare(b.Log) })
	return marks
}
