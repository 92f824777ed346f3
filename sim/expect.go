package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// expectVerb is an expectation at a time.
var expectVerb = map[string]*verb{
	"expect": {usage: "expect members NODE… | out NODE… | held NODE… | role NODE ROLE: at this time; members and roles as every member that runs shows them", check: checkExpect, do: doExpect},
}

func checkExpect(sc *Scenario, a Action) error {
	if len(a.Args) == 0 {
		return errors.New("expect what?")
	}
	nodes := a
	switch nodes.Args = a.Args[1:]; {
	case slices.Contains([]string{"members", "out", "held"}, a.Args[0]):
	case a.Args[0] == "role" && len(a.Args) == 3 && roles[a.Args[2]] != 0:
		nodes.Args = a.Args[1:2]
	default:
		return fmt.Errorf("%q is no expectation", a.Args[0])
	}
	return nodesAt(1, 64)(sc, nodes)
}

// doExpect notes what is not as it should be: it ends with the report's unmet expectations.
func doExpect(w *core, a Action) error {
	g := w.groupOf(a)
	miss := func(n *cnode, got any) {
		w.hist.missed = append(w.hist.missed, fmt.Sprintf("%v: by %s it is %v", a, n.name, got))
	}
	if a.Args[0] == "held" {
		o := w.observe(g, w.now)
		lacks := o.deliveries().lacks
		for _, name := range a.Args[1:] {
			switch {
			case !slices.ContainsFunc(o.live(), func(d *deviceView) bool { return d.Name == name }):
				miss(w.nodeOf(name), "no member that the others reach")
			case lacks[name] > 0:
				miss(w.nodeOf(name), fmt.Sprintf("not so of %d", lacks[name]))
			}
		}
		return nil
	}
	if a.Args[0] == "out" {
		for _, name := range a.Args[1:] {
			n := w.nodeOf(name)
			if s := n.seats[g.index]; s == nil || s.m == nil || s.m.Status().State != group.StateOut {
				miss(n, "not so")
			}
		}
		return nil
	}
	for _, s := range g.seats {
		if s.n.hostile || !s.isIn() {
			continue
		}
		var names []string
		role := wire.Role(0)
		for _, m := range s.m.Members() {
			if m.User == w.nodeOf(a.Args[1]).dev.User {
				role = m.Role
			}
			for _, o := range w.nodes {
				if slices.Contains(m.Devices, o.dev.ID) {
					names = append(names, o.name)
				}
			}
		}
		slices.Sort(names)
		switch {
		case a.Args[0] == "role" && role != roles[a.Args[2]]:
			miss(s.n, role)
		case a.Args[0] == "members" && !slices.Equal(names, slices.Sorted(slices.Values(a.Args[1:]))):
			miss(s.n, names)
		}
	}
	return nil
}
