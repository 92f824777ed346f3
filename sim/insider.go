package sim

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Hostile insiders of the past: they were members once, or still are. Their back-dated
// entries are made in backdate.go.
var insiderVerbs = map[string]*verb{
	"ghost":   {usage: "ghost NODE via=X: it is out and keeps its keys, and X carries its entries", opts: []string{"via"}, check: checkGhost, do: doGhost},
	"sleeper": {usage: "sleeper NODE: it reads, and writes nothing", check: nodesAt(1, 1), do: doHostile},
	"reserve": {usage: "reserve NODE DEVICE: another device of its user comes in and never writes", check: checkReserve, do: doReserve},
	"flood": {
		usage: "flood NODE incarnations|evidence [n=COUNT]: entries in so many fresh logs, or pairs of entries with one number", opts: []string{"n"},
		check: checkFlood, do: doFlood,
	},
	"abandon": {usage: "abandon NODE: a reboot that it does not carry out", check: nodesAt(1, 1), do: doAbandon},
	"perish":  {usage: "perish NODE: its disk dies, and with it all that it had; restore brings its backup", check: nodesAt(1, 1), do: doPerish},
}

func checkGhost(sc *Scenario, a Action) error {
	if via, _ := a.opt("via"); sc.node(via) < 0 {
		return errors.New("via=X is missing")
	}
	return nodesAt(1, 1)(sc, a)
}

func checkReserve(sc *Scenario, a Action) error {
	if err := nodesAt(2, 2)(sc, a); err != nil {
		return err
	}
	if a.Args[0] == a.Args[1] || sc.Nodes[sc.node(a.Args[0])].User != sc.Nodes[sc.node(a.Args[1])].User {
		return errors.New("they are not two devices of one user")
	}
	return nil
}

func checkFlood(sc *Scenario, a Action) error {
	if len(a.Args) != 2 || a.Args[1] != "incarnations" && a.Args[1] != "evidence" {
		return errors.New("a node and incarnations or evidence")
	}
	a.Args = a.Args[:1]
	return withCount(nodesAt(1, 1))(sc, a)
}

func doGhost(w *core, a Action) error {
	if err := doHostile(w, a); err != nil {
		return err
	}
	via, _ := a.opt("via")
	p, err := w.puppetOf(a)
	if err == nil {
		p.via = w.nodeOf(via)
	}
	return err
}

func doReserve(w *core, a Action) error {
	n := w.nodeOf(a.Args[1])
	s := w.sit(n, w.groupOf(a))
	if s.m == nil && n.up && s.bad == nil {
		if err := s.open(); err != nil {
			s.broke(err)
			return err
		}
	}
	n.reserve = true
	_, err := s.step(group.Join{})
	w.hist.mark(w, n, "reserve", "")
	return err
}

func doFlood(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	rng := rand.New(p.s.n.chance) //nolint:gosec // a simulation
	var entries [][]byte
	for range a.count() {
		incarnation := rng.Uint64()
		for i := range 2 {
			position := p.s.position
			if i == 1 {
				binary.BigEndian.PutUint64(position[:], rng.Uint64())
			}
			raw, _ := p.s.n.first(p.s.g, d, incarnation, w.now, wire.KindVote, &wire.Vote{Position: position})
			entries = append(entries, raw)
			if a.Args[1] == "incarnations" {
				break
			}
		}
	}
	w.hist.mark(w, p.s.n, "flood", strconv.Itoa(len(entries)))
	p.deliver(nil, entries...)
	return nil
}

func doAbandon(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	raw, e := p.craft(d, wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: p.s.nobodysRoot(p.s.n)})
	p.advance(e)
	p.deliver(nil, raw)
	return nil
}

func doPerish(w *core, a Action) error {
	n := w.nodeOf(a.Args[0])
	n.die("its disk died")
	n.lost = true
	for _, s := range n.eachSeat() {
		s.disk, s.events, s.position = newDisk(), nil, wire.EpochID{}
		s.recall()
		for _, x := range w.hist.sent {
			if x.Seat == s {
				x.Void = true
			}
		}
	}
	return nil
}
