package group

import (
	"github.com/pandanode/pandanode/node/group/dag"
)

// owing says which messages have to be judged again: whether they are owed to this device
// can change.
type owing struct {
	logs *dag.Logs

	stale     bool               // the roster changed: all of them
	unheard   map[*dag.Item]bool // they would be owed if others had them before what speaks against them
	earlier   *earlier           // what is owed to nobody, and given all the same
	witnessed bool               // an entry came that may show that others had: those
}

func newOwing(logs *dag.Logs) owing {
	return owing{logs: logs, stale: true, unheard: map[*dag.Item]bool{}}
}

// rosterChanged notes that other messages may be owed to this device.
func (o *owing) rosterChanged() { o.stale = true }

// heard takes an entry that came into the set. It may show that its author had a message
// before it knew of what speaks against that: then the message is owed, and no roster
// changes. The first entry of a log that has the message in its past shows it, or none does.
func (o *owing) heard(it *dag.Item) {
	if o.witnessed {
		return
	}
	list := o.logs.Lists[it.List]
	for record := range o.unheard {
		before := it.Seq-1 > list.From && o.logs.InPast(record, list.At(it.Seq-1))
		if !before && o.logs.InPast(record, it) {
			o.witnessed = true
			return
		}
	}
}
