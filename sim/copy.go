package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// A device that runs twice: its home was copied, or a backup of it was restored beside
// the original. Both have its keys and its place in the groups, and none can call the
// other, since they are one peer.

const (
	meet  = time.Second // until a peer that is connected to both tells them, as node/twin.go does
	again = time.Minute
)

var copyVerbs = map[string]*verb{
	"copy": {
		usage: "copy NODE FROM [of=home|backup]: NODE, which has no home yet, runs with a copy of FROM's, beside it",
		opts:  []string{"of"}, check: checkCopy, do: doCopy,
	},
}

func checkCopy(sc *Scenario, a Action) error {
	if of, ok := a.opt("of"); ok && of != "home" && of != "backup" {
		return errors.New("of=" + of)
	}
	if len(a.Args) == 2 && a.Args[0] == a.Args[1] {
		return errors.New("a copy of itself")
	}
	return nodesAt(2, 2)(sc, a)
}

func doCopy(w *core, a Action) error {
	n, from := w.nodeOf(a.Args[0]), w.nodeOf(a.Args[1])
	if len(n.seats) > 0 {
		return errors.New("it has a home of its own")
	}
	of, _ := a.opt("of")
	rows := map[int]*disk{}
	for _, s := range from.eachSeat() {
		rows[s.g.index] = s.disk
	}
	inc := from.inc
	if of == "backup" {
		// Who restores a backup says so, and gets a log of its own.
		if rows = from.backups[""]; rows == nil {
			return errors.New("there is no backup")
		}
		inc = n.chance.Uint64()
	}
	n.user, n.log, n.dev, n.inc, n.last = from.user, from.log, from.dev, inc, from.time()
	n.boot()
	for _, i := range sortedKeys(rows) {
		old := from.seats[i]
		if old.position == (wire.EpochID{}) {
			continue // it only asks to join
		}
		if inc == from.inc {
			w.hist.copied[ownKey{group: old.g.genesis.ID, device: n.dev.ID, incarnation: old.log().Incarnation}] = true
		}
		s := w.sit(n, old.g)
		s.disk, s.moves = rows[i].clone(), slices.Clone(old.moves)
		if inc != from.inc {
			s.disk = rows[i].backedUp()
		}
		s.recall()
		s.spy.inherit(old.spy)
		if !n.up {
			continue
		}
		if err := s.open(); err != nil {
			s.broke(err)
		}
	}
	w.hist.mark(w, n, "copy", "of "+from.name)
	w.net.changed()
	w.after(meet, func() { w.introduce(n, from) })
	return nil
}

// inherit takes over what another spy knows of epochs: the keys were copied with the home.
func (p *spy) inherit(o *spy) {
	p.signer = slices.Clone(o.signer)
	for _, key := range slices.Sorted(maps.Keys(o.epochs)) {
		e := *o.epochs[key]
		e.spy = p
		p.epochs[key] = &e
	}
	p.order = slices.Clone(o.order)
}

// twins says whether two nodes are one device.
func twins(a, b *cnode) bool { return a != b && a.dev == b.dev }

// between gives a node that both are connected to.
func (n *network) between(a, b *cnode) *cnode {
	for _, o := range n.w.nodes {
		if n.connected(a, o) && n.connected(o, b) {
			return o
		}
	}
	return nil
}

// introduce tells the two of each other, now and again, while a peer is connected to both.
func (w *core) introduce(a, b *cnode) {
	if w.net.between(a, b) != nil {
		for _, n := range []*cnode{a, b} {
			for _, s := range n.eachSeat() {
				_, _ = s.step(group.TwinSeen{})
			}
		}
	}
	w.after(again, func() { w.introduce(a, b) })
}
