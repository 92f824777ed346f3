package sim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A back-dated entry is the first of a fresh log, and names what was known at a time of its
// author's choice.
var backdateVerb = map[string]*verb{
	"backdate": {
		usage: "backdate NODE KIND… known=TIME [device=D] [incarnation=new|first] [to=NODE] [hlc=max]: an entry as the first of a fresh log, after what was known at TIME; KIND is " + strings.Join(slices.Sorted(maps.Keys(backdated)), ", "),
		opts:  []string{"known", "device", "incarnation", "to", "hlc"}, check: checkBackdate, do: doBackdate,
	},
}

// word checks one word of an action.
type word func(*Scenario, string) error

func nodeWord(sc *Scenario, s string) error {
	if sc.node(s) < 0 {
		return fmt.Errorf("there is no node %q", s)
	}
	return nil
}

func roleWord(_ *Scenario, s string) error {
	if roles[s] == 0 {
		return fmt.Errorf("there is no role %q", s)
	}
	return nil
}

func nameWord(_ *Scenario, s string) error {
	if !isName(s) {
		return fmt.Errorf("%q is no name", s)
	}
	return nil
}

func policyWord(_ *Scenario, s string) error {
	_, err := wire.ParsePolicy(s)
	return err
}

func settingWord(_ *Scenario, s string) error { return wire.CheckSetting(s, "") }

// backdated are the kinds of what is back-dated, with the words that follow.
var backdated = map[string][]word{
	"add": {nodeWord}, "serve": {nodeWord}, "device": {nodeWord}, "ask": {nodeWord}, "deny": {nodeWord},
	"remove": {nodeWord}, "role": {nodeWord, roleWord}, "leave": nil, "revoke": {nodeWord},
	"policy": {policyWord}, "name": {nameWord}, "mailboxes": {nodeWord}, "setting": {settingWord, nameWord},
	"invite": {nameWord}, "uninvite": {nameWord}, "reboot": nil,
	"send": nil, "edit": {nameWord}, "delete": {nameWord},
}

func checkBackdate(sc *Scenario, a Action) error {
	if len(a.Args) < 2 || sc.node(a.Args[0]) < 0 {
		return errors.New("a node and a kind of entry")
	}
	words, ok := backdated[a.Args[1]]
	if !ok || len(a.Args) != 2+len(words) {
		return fmt.Errorf("%q is no kind of entry, or lacks something", a.Args[1])
	}
	for i, check := range words {
		if err := check(sc, a.Args[2+i]); err != nil {
			return err
		}
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
	return nil
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
	op, err := w.operationOf(a, s, n, at)
	if op != nil || err != nil {
		return wire.KindOp, op, err
	}
	junk := make([]byte, 64)
	_, _ = n.chance.Read(junk)
	return wire.KindRecord, &wire.Record{Commitment: wire.HashOf(wire.DomainPrio, junk)}, nil
}

// operationOf makes a back-dated operation; nil: it is a message.
func (w *core) operationOf(a Action, s *seat, n *cnode, at time.Time) (*wire.Op, error) {
	hlc := uint64(crdt.HLCFromTime(at))
	if h, _ := a.opt("hlc"); h == "max" {
		hlc = 1<<64 - 1
	}
	var whom *cnode
	if len(a.Args) > 2 && w.sc.node(a.Args[2]) >= 0 {
		whom = w.nodeOf(a.Args[2])
	}
	switch a.Args[1] {
	case "remove":
		return &wire.Op{Type: wire.OpRemove, User: &whom.dev.User}, nil
	case "role":
		return &wire.Op{Type: wire.OpRole, User: &whom.dev.User, Role: roles[a.Args[3]]}, nil
	case "leave":
		return &wire.Op{Type: wire.OpLeave}, nil
	case "revoke":
		return &wire.Op{Type: wire.OpDeviceRevoke, Device: &whom.dev.ID}, nil
	case "deny":
		return &wire.Op{Type: wire.OpDeny, User: &whom.dev.User}, nil
	case "add", "serve", "device", "ask":
		return s.letsIn(a.Args[1], a.Args[2])
	case "invite":
		return s.gives(a.Args[2], n, at)
	case "uninvite":
		l, ok := s.g.links[a.Args[2]]
		if !ok {
			return nil, fmt.Errorf("invite %s was not given out", a.Args[2])
		}
		return &wire.Op{Type: wire.OpRevoke, Revokes: &l.id}, nil
	case "setting":
		return &wire.Op{Type: wire.OpSetting, Setting: &wire.Setting{Key: a.Args[2], Value: a.Args[3], HLC: hlc}}, nil
	case "policy":
		p, err := wire.ParsePolicy(a.Args[2])
		return s.says(n, &wire.ProfileItem{Field: wire.FieldPolicy, HLC: hlc, Policy: p}), err
	case "name":
		return s.says(n, &wire.ProfileItem{Field: wire.FieldName, HLC: hlc, Text: a.Args[2]}), nil
	case "mailboxes":
		box := wire.LinkPeer{Peer: whom.dev.ID[:], Addrs: [][]byte{{4, 127, 0, 0, 1}}}
		return s.says(n, &wire.ProfileItem{Field: wire.FieldMailboxes, HLC: hlc, Mailboxes: []wire.LinkPeer{box}}), nil
	case "reboot":
		return &wire.Op{Type: wire.OpReboot, Reboot: s.nobodysRoot(n)}, nil
	}
	return nil, nil //nolint:nilnil // no operation is no error
}

// letsIn makes an operation about a device that asked to join.
func (s *seat) letsIn(kind, name string) (*wire.Op, error) {
	op, err := s.addition(name)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "serve":
		r := s.w().nodeOf(name).seats[s.g.index].request
		if r.Invite == nil {
			return nil, fmt.Errorf("%s asked without an invite", name)
		}
		op.Why, op.Invite, op.Claim = wire.WhyInvite, r.Invite, r.Claim
	case "device":
		op = &wire.Op{Type: wire.OpDeviceAdd, Cert: op.Cert, KeyPackage: op.KeyPackage}
	case "ask":
		op = &wire.Op{Type: wire.OpRequest, Cert: op.Cert, KeyPackage: op.KeyPackage}
	}
	return op, nil
}

// gives makes an invite, which a join may name.
func (s *seat) gives(name string, n *cnode, at time.Time) (*wire.Op, error) {
	key, err := identity.NewKey(n.chance)
	if err != nil {
		return nil, err
	}
	i := wire.Invite{V: wire.Version, Key: [32]byte(key.Public()), Role: wire.RoleMember, Created: uint64(at.UnixMilli()), Signer: n.user.Public()} //nolint:gosec // after 1970
	signed := n.user.Sign(wire.DomainInvite, s.g.genesis.ID, i.Encode())
	s.g.gave(name, link{signed, key, wire.InviteIDOf(s.g.genesis.ID, signed.Payload)})
	return &wire.Op{Type: wire.OpInvite, Invite: &signed}, nil
}

// says makes a change of the group's profile.
func (s *seat) says(n *cnode, item *wire.ProfileItem) *wire.Op {
	item.V, item.Signer = wire.Version, n.user.Public()
	signed := n.user.Sign(wire.DomainProfile, s.g.genesis.ID, item.Encode())
	return &wire.Op{Type: wire.OpProfile, Profile: &signed}
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
	case wire.OpRemove, wire.OpProfile, wire.OpSetting, wire.OpReboot, wire.OpInvite, wire.OpRevoke, wire.OpDeny:
		return role <= wire.RoleAdmin
	case wire.OpRequest:
		return role <= wire.RoleMember
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

// rosterOf says which roster, profile, settings, requests and invites that let somebody in a fresh
// machine has that gets all entries in order.
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
	door := fmt.Sprintln(m.Journal().Settings())
	for _, x := range m.Invites(w.now) {
		if x.Void == nil {
			door += fmt.Sprintln(x)
		}
	}
	for _, x := range m.Requests(w.now) {
		door += fmt.Sprintln(x)
	}
	return fmt.Sprintf("%s %x %s", rosterKey(members), wire.Marshal(m.Profile()), door), nil
}
