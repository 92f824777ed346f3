package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Judged says how much an invariant had to judge in a run.
type Judged struct {
	Invariant int    `json:"invariant"`
	Name      string `json:"name"`
	Of        string `json:"of"` // of what
	Subjects  int    `json:"subjects"`
}

// invariantNumbered is one of Invariants.
func invariantNumbered(n int) Invariant {
	return Invariants[slices.IndexFunc(Invariants, func(i Invariant) bool { return i.Number == n })]
}

// judgedOf adds subjects of an invariant to a report's list.
func judgedOf(all []Judged, inv Invariant, subjects int) []Judged {
	for i := range all {
		if all[i].Invariant == inv.Number {
			all[i].Subjects += subjects
			return all
		}
	}
	all = append(all, Judged{inv.Number, inv.Name, inv.Of, subjects})
	slices.SortFunc(all, func(a, b Judged) int { return cmp.Compare(a.Invariant, b.Invariant) })
	return all
}

// Verdict says in a sentence which invariants hold, and which were not judged, since the run
// had nothing of their kind or its backend cannot see it. The run has no violations.
func Verdict(all []Judged) string {
	held, idle := 0, []string(nil)
	for _, inv := range Invariants {
		i := slices.IndexFunc(all, func(j Judged) bool { return j.Invariant == inv.Number && j.Subjects > 0 })
		if i < 0 {
			idle = append(idle, inv.Name)
			continue
		}
		held++
	}
	if len(idle) == 0 {
		return fmt.Sprintf("All %d invariants hold.", held)
	}
	return fmt.Sprintf("%d of %d invariants hold. Not judged: %s.", held, len(Invariants), strings.Join(idle, ", "))
}

// The subjects of the invariants follow.

func honestDevices(o *observation) (n int) {
	for _, d := range o.Devices {
		if !d.Hostile {
			n++
		}
	}
	return n
}

func liveMembers(o *observation) int { return len(o.live()) }

func orders(o *observation) (n int) {
	for range o.Orders {
		for _, d := range o.live() {
			if d.Status.Entries == len(o.Dag.entries) {
				n++
			}
		}
	}
	return n
}

func ends(o *observation) int {
	return len(o.Dag.ops(wire.OpRemove, wire.OpLeave, wire.OpDeviceRevoke))
}

func secretsKept(o *observation) (n int) {
	for _, d := range o.Devices {
		n += len(d.Secrets)
	}
	return n
}

func chosenCommits(o *observation) (n int) {
	for e := o.Head; e != nil; e = e.parent {
		if e.by != nil && e.by.info != nil && e.by.commit != nil {
			n++
		}
	}
	return n
}

func votesBesideHostile(o *observation) (n int) {
	if !o.Hostile || o.Head == nil || len(o.live()) == 0 {
		return 0
	}
	for _, e := range o.Dag.entries {
		if e.vote != nil || e.commit != nil {
			n++
		}
	}
	return n
}

func destroyedSecrets(o *observation) (n int) {
	for _, d := range o.Devices {
		if !d.Hostile {
			n += d.Destroyed
		}
	}
	return n
}

// outsiders counts the devices that are not in, may have been, and reach a member who can
// tell them.
func outsiders(o *observation) (n int) {
	for _, d := range o.Devices {
		if d.Running && !d.Live && d.Reached && d.Status.State != group.StateNew && d.Status.State != group.StateJoining {
			n++
		}
	}
	return n
}

func letIn(o *observation) int {
	live := o.live()
	if len(live) == 0 {
		return 0
	}
	return len(live[0].Members) - 1 + len(o.Beyond)
}

func pictures(o *observation) (n int) {
	for _, d := range o.Devices {
		if d.Hostile {
			continue
		}
		if n += len(d.Erasures); d.Live {
			n += len(d.Pictures)
		}
	}
	return n
}
