package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Hostile insiders of the past: they were members once, or still are, and write entries that
// name what was known at a time of their choice.
var insiderVerbs = map[string]*verb{
	"backdate": {
		usage: "backdate NODE KIND… known=TIME [device=D] [incarnation=new|first] [to=NODE] [hlc=max]: an entry as the first of a fresh log, after what was known at TIME; KIND is add WHOM, remove WHOM, role WHOM ROLE, leave, revoke DEVICE, policy POLICY, invite NAME, serve WHOM, reboot, send, or edit NAME or delete NAME of a message",
		opts:  []string{"known", "device", "incarnation", "to", "hlc"}, check: checkBackdate, do: doBackdate,
	},
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

// expectVerb is an expectation at a time.
var expectVerb = map[string]*verb{
	"expect": {usage: "expect members NODE… | out NODE… | role NODE ROLE: at this time, as every member that runs shows it", check: checkExpect, do: doExpect},
}

func checkExpect(sc *Scenario, a Action) error {
	if len(a.Args) == 0 {
		return errors.New("expect what?")
	}
	nodes := a
	switch nodes.Args = a.Args[1:]; {
	case a.Args[0] == "members" || a.Args[0] == "out":
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

var kindsOfEntries = map[string]int{"add": 1, "remove": 1, "role": 2, "leave": 0, "revoke": 1, "policy": 1, "reboot": 0, "send": 0, "invite": 1, "serve": 1, "edit": 1, "delete": 1}

func checkBackdate(sc *Scenario, a Action) error {
	if len(a.Args) < 2 || sc.node(a.Args[0]) < 0 {
		return errors.New("a node and a kind of entry")
	}
	more, ok := kindsOfEntries[a.Args[1]]
	if !ok || len(a.Args) != 2+more {
		return fmt.Errorf("%q is no kind of entry, or lacks something", a.Args[1])
	}
	known, ok := a.opt("known")
	if _, err := duration(known); !ok || err != nil {
		return errors.New("known=TIME is missing")
	}
	for _, o := range []string{"device", "to"} {
		if n, ok := a.opt(o); ok && sc.node(n) < 0 {
			return fmt.Errorf("there is no node %q", n)
		}
	}
	if i, ok := a.opt("incarnation"); ok && i != "new" && i != "first" {
		return fmt.Errorf("incarnation=%s", i)
	}
	if h, ok := a.opt("hlc"); ok && h != "max" {
		return fmt.Errorf("hlc=%s", h)
	}
	if a.Args[1] == "policy" {
		_, err := wire.ParsePolicy(a.Args[2])
		return err
	}
	if slices.Contains([]string{"invite", "edit", "delete"}, a.Args[1]) {
		if !isName(a.Args[2]) {
			return fmt.Errorf("%q is no name", a.Args[2])
		}
		return nil
	}
	if more > 0 && sc.node(a.Args[2]) < 0 {
		return fmt.Errorf("there is no node %q", a.Args[2])
	}
	if more > 1 && roles[a.Args[3]] == 0 {
		return fmt.Errorf("there is no role %q", a.Args[3])
	}
	return nil
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

// knownAt holds what was in the group at a time: anybody may still have it.
func (g *cgroup) knownAt(at time.Time) *dag {
	raws := map[wire.EntryHash][]byte{}
	for _, s := range g.seats {
		for _, k := range s.disk.under("entry/") {
			row := s.disk.rows[k]
			if row.at.After(at) || row.vault.dropped {
				continue
			}
			if signed, err := wire.DecodeSigned(row.value, wire.MaxEntry+128); err == nil {
				raws[wire.EntryHashOf(g.genesis.ID, signed.Payload)] = row.value
			}
		}
	}
	return readDag(g.genesis, g.engine(), raws)
}

// heads are the entries that no other names.
func (d *dag) heads() (out []wire.EntryHash) {
	covered := map[wire.EntryHash]bool{}
	for _, x := range d.entries {
		covered[x.entry.Prev] = true
		for _, dep := range x.entry.Deps {
			covered[dep] = true
		}
	}
	for _, x := range d.entries {
		if !covered[x.hash] {
			out = append(out, x.hash)
		}
	}
	slices.SortFunc(out, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// first signs an entry as the first of a log of a device, after what a dag holds.
func (n *cnode) first(g *cgroup, d *dag, incarnation uint64, at time.Time, kind wire.Kind, body any) ([]byte, *wire.Entry) {
	e := &wire.Entry{
		V: wire.Version, Group: g.genesis.ID, Device: n.dev.ID, Incarnation: incarnation, Seq: 1, Kind: kind,
		HLC: uint64(crdt.HLCFromTime(at)), Deps: d.heads(), Body: wire.Marshal(body),
	}
	for _, x := range d.entries {
		e.HLC = max(e.HLC, x.entry.HLC+1)
	}
	signed := n.log.Sign(wire.DomainEntry, e.Group, e.Encode())
	return signed.Encode(), e
}

// bodyOf makes what a back-dated entry says.
func (w *core) bodyOf(a Action, s *seat, n *cnode, at time.Time) (wire.Kind, any, error) {
	hlc := uint64(crdt.HLCFromTime(at))
	user := func() *wire.UserID { u := w.nodeOf(a.Args[2]).dev.User; return &u }
	switch a.Args[1] {
	case "remove":
		return wire.KindOp, &wire.Op{Type: wire.OpRemove, User: user()}, nil
	case "role":
		return wire.KindOp, &wire.Op{Type: wire.OpRole, User: user(), Role: roles[a.Args[3]]}, nil
	case "leave":
		return wire.KindOp, &wire.Op{Type: wire.OpLeave}, nil
	case "revoke":
		d := w.nodeOf(a.Args[2]).dev.ID
		return wire.KindOp, &wire.Op{Type: wire.OpDeviceRevoke, Device: &d}, nil
	case "add":
		op, err := s.addition(a.Args[2])
		return wire.KindOp, op, err
	case "serve":
		op, err := s.addition(a.Args[2])
		if err != nil {
			return 0, nil, err
		}
		r := w.nodeOf(a.Args[2]).seats[s.g.index].request
		if r.Invite == nil {
			return 0, nil, fmt.Errorf("%s asked without an invite", a.Args[2])
		}
		op.Why, op.Invite, op.Claim = wire.WhyInvite, r.Invite, r.Claim
		return wire.KindOp, op, nil
	case "invite":
		key, err := identity.NewKey(n.chance)
		if err != nil {
			return 0, nil, err
		}
		i := wire.Invite{V: wire.Version, Key: [32]byte(key.Public()), Role: wire.RoleMember, Created: uint64(at.UnixMilli()), Signer: n.user.Public()} //nolint:gosec // after 1970
		signed := n.user.Sign(wire.DomainInvite, s.g.genesis.ID, i.Encode())
		s.g.gave(a.Args[2], link{signed, key, wire.InviteIDOf(s.g.genesis.ID, signed.Payload)})
		return wire.KindOp, &wire.Op{Type: wire.OpInvite, Invite: &signed}, nil
	case "policy":
		p, err := wire.ParsePolicy(a.Args[2])
		if err != nil {
			return 0, nil, err
		}
		if h, _ := a.opt("hlc"); h == "max" {
			hlc = 1<<64 - 1
		}
		item := wire.ProfileItem{V: wire.Version, Field: wire.FieldPolicy, HLC: hlc, Policy: p, Signer: n.user.Public()}
		signed := n.user.Sign(wire.DomainProfile, s.g.genesis.ID, wire.Marshal(&item))
		return wire.KindOp, &wire.Op{Type: wire.OpProfile, Profile: &signed}, nil
	case "reboot":
		return wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: s.nobodysRoot(n)}, nil
	}
	junk := make([]byte, 64)
	_, _ = n.chance.Read(junk)
	return wire.KindRecord, &wire.Record{Commitment: wire.HashOf(wire.DomainPrio, junk)}, nil
}

// nobodysRoot is a root of epochs of which nobody has keys.
func (s *seat) nobodysRoot(n *cnode) *wire.Reboot {
	r := &wire.Reboot{From: s.position, Generation: 1, Interim: make([]byte, 32)}
	_, _ = n.chance.Read(r.MLSGroup[:])
	_, _ = n.chance.Read(r.Interim)
	r.Root = wire.RebootEpochID(s.g.genesis.ID, n.dev.ID, r)
	return r
}

func doBackdate(w *core, a Action) error {
	p, err := w.puppetOf(a)
	if err != nil {
		return err
	}
	n := p.s.n
	if d, ok := a.opt("device"); ok {
		if n = w.nodeOf(d); n.dev.User != p.s.n.dev.User {
			return fmt.Errorf("%s is no device of its user", d)
		}
	}
	text, _ := a.opt("known")
	since, _ := duration(text)
	at := epochZero.Add(since)
	then := p.s.g.knownAt(at)
	incarnation := n.chance.Uint64()
	if i, _ := a.opt("incarnation"); i == "first" {
		incarnation = then.firstLog(n.dev.ID)
	}
	to := map[*cnode]bool(nil)
	if name, ok := a.opt("to"); ok {
		to = map[*cnode]bool{w.nodeOf(name): true}
	}
	if a.Args[1] == "edit" || a.Args[1] == "delete" {
		entry, seal, err := p.forged(a, n, then, incarnation, at)
		if err != nil {
			return err
		}
		w.hist.mark(w, n, "backdate", a.Args[1])
		p.give(to, group.Entries{Entries: [][]byte{entry}}, group.Seals{Seals: [][]byte{seal}})
		return nil
	}
	kind, body, err := w.bodyOf(a, p.s, n, at)
	if err != nil {
		return err
	}
	raw, e := n.first(p.s.g, then, incarnation, at, kind, body)
	if op, ok := body.(*wire.Op); ok {
		w.judgeBeyond(p.s.g, n, a, op, e, raw)
	}
	w.hist.mark(w, n, "backdate", a.Args[1])
	p.deliver(to, raw)
	return nil
}

// enough says whether a role permits an operation.
func enough(role wire.Role, op *wire.Op) bool {
	switch op.Type {
	case wire.OpRole:
		return role == wire.RoleOwner
	case wire.OpAdd:
		return role <= wire.RoleAdmin || op.Why == wire.WhyInvite && role <= wire.RoleMember
	case wire.OpRemove, wire.OpProfile, wire.OpReboot, wire.OpInvite:
		return role <= wire.RoleAdmin
	default:
		return true
	}
}

// judgeBeyond checks that an operation of somebody who may do that as no honest member has
// it any more changes nothing.
func (w *core) judgeBeyond(g *cgroup, n *cnode, a Action, op *wire.Op, e *wire.Entry, raw []byte) {
	if !g.mayNotAnyMore(n, op) {
		return
	}
	w.hist.void[wire.EntryHashOf(e.Group, e.Encode())] = true
	w.changesNothing(g, fmt.Sprintf("%s, who may not any more, changed the group with %q", n.name, a), raw)
}

// rosterOf says which roster and profile a fresh machine has that gets all entries in order.
func (w *core) rosterOf(g *cgroup, d *dag) (string, error) {
	m, take, err := w.fresh(g, 1, "roster")
	if err != nil {
		return "", err
	}
	for _, raw := range d.raw() {
		take(raw)
	}
	for _, pair := range d.pairs {
		take(pair[0])
		take(pair[1])
	}
	var members []memberView
	for _, x := range m.Members() {
		members = append(members, memberView{User: x.User, Role: x.Role, Devices: x.Devices})
	}
	return fmt.Sprintf("%s %x", rosterKey(members), wire.Marshal(m.Profile())), nil
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
