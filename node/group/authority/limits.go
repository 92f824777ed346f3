package authority

import (
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of the logs that one device can begin. Beyond them its logs count only as far as
// others name them.
const (
	MaxUnnamed = 16 // logs whose first entries no other log of the device names
	MaxForked  = 4  // logs in which the device signed two entries with one sequence number
)

// Excessive says whether a device wrote so many logs that they count only as far as logs
// of devices without evidence have them in their pasts. A new incarnation names the older
// ones once they are in the set, so that a device that is restored again and again is not
// mistaken for one that floods.
//
// It is a function of the set of entries that the history holds, whether they count or not.
func (r *Resolver) Excessive(d wire.DeviceID) bool {
	r.grow()
	logs := r.byDevice[d]
	forked := map[wire.LogID]bool{}
	for _, i := range logs {
		if r.logs[i].From > 0 || r.secondFirst(logs, i) {
			forked[r.logs[i].LogID] = true
		}
	}
	if len(forked) > MaxForked {
		return true
	}
	var unnamed []wire.LogID
	for _, i := range logs {
		if r.logs[i].From == 0 && !r.namedByAnother(logs, i) && !slices.Contains(unnamed, r.logs[i].LogID) {
			unnamed = append(unnamed, r.logs[i].LogID)
		}
	}
	return len(unnamed) > MaxUnnamed
}

// secondFirst says whether a log is a branch that shares nothing with an earlier one.
func (r *Resolver) secondFirst(logs []int, i int) bool {
	return slices.ContainsFunc(logs, func(j int) bool { return j < i && r.logs[j].LogID == r.logs[i].LogID })
}

// namedByAnother says whether the first entry of a log lies in the past of another log of
// its device, as far as that is here.
func (r *Resolver) namedByAnother(logs []int, i int) bool {
	first := Ref{i, 1}
	return slices.ContainsFunc(logs, func(j int) bool {
		l := r.history.Log(j)
		return l.LogID != r.logs[i].LogID && l.Len > l.From && r.knows(Ref{j, l.Len}, first)
	})
}
