package sim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Hostile people at the door of a group: those that ask to come in, those that answer them,
// and insiders that bring in a puppet, or keys that are none.
var doorVerbs = map[string]*verb{
	"puppet": {
		usage: "puppet NODE WHOM ROLE [known=TIME] [removes=X]: it lets in WHOM, which asked, and gives it a role, dated to what was known at TIME; WHOM is hostile then, and removes X or opens the group",
		opts:  []string{"known", "removes"}, check: checkPuppet, do: doPuppet,
	},
	"rubbish": {usage: "rubbish NODE WHOM…: a transport key that takes the place of all others, and one more wrap of the one in use, that they cannot open", check: nodesAt(2, 64), do: doRubbish},
	"knock":   {usage: "knock NODE WHOM [n=COUNT]: requests to join that are wrong in every way, some of them with WHOM's certificate", opts: []string{"n"}, check: withCount(nodesAt(2, 2)), do: doKnock},
	"misserve": {
		usage: "misserve NODE WHOM [with=fork|rubbish|renew]: WHOM, which asks to join, gets a Welcome to an epoch that nobody else knows, with a made-up transport key; or one of noise; or is told to ask anew",
		opts:  []string{"with"}, check: checkMisserve, do: doMisserve,
	},
}

func checkPuppet(sc *Scenario, a Action) error {
	if len(a.Args) != 3 || roles[a.Args[2]] == 0 {
		return errors.New("two nodes and a role")
	}
	if known, ok := a.opt("known"); ok {
		if _, err := duration(known); err != nil {
			return err
		}
	}
	if x, ok := a.opt("removes"); ok && sc.node(x) < 0 {
		return fmt.Errorf("there is no node %q", x)
	}
	a.Args = a.Args[:2]
	return nodesAt(2, 2)(sc, a)
}

// addition is an operation that lets in a device that asked to join.
func (s *seat) addition(name string) (*wire.Op, error) {
	o := s.w().nodeOf(name).seats[s.g.index]
	if o == nil || len(o.request.KeyPackage) == 0 {
		return nil, fmt.Errorf("%s did not ask to join", name)
	}
	cert := o.request.Cert
	return &wire.Op{Type: wire.OpAdd, Cert: &cert, KeyPackage: o.request.KeyPackage, Role: wire.RoleMember, Why: wire.WhyRole}, nil
}

// doPuppet writes three entries, each with those before it in its past.
func doPuppet(w *core, a Action) error {
	p, err := w.puppetOf(a)
	if err != nil {
		return err
	}
	g, n, x := p.s.g, p.s.n, w.nodeOf(a.Args[1])
	at := w.now
	if text, ok := a.opt("known"); ok {
		since, _ := duration(text)
		at = epochZero.Add(since)
	}
	then := g.knownAt(at)
	add, err := p.s.addition(a.Args[1])
	if err != nil {
		return err
	}
	last := &wire.Op{Type: wire.OpProfile}
	if name, ok := a.opt("removes"); ok {
		user := w.nodeOf(name).dev.User
		last = &wire.Op{Type: wire.OpRemove, User: &user}
	} else {
		item := wire.ProfileItem{V: wire.Version, Field: wire.FieldPolicy, HLC: 1, Policy: wire.PolicyOpen, Signer: x.user.Public()}
		signed := x.user.Sign(wire.DomainProfile, g.genesis.ID, wire.Marshal(&item))
		last.Profile = &signed
	}
	raws := map[wire.EntryHash][]byte{}
	for _, e := range then.entries {
		raws[e.hash] = e.raw
	}
	user, incarnation := x.dev.User, n.chance.Uint64()
	var entries [][]byte
	var made []wire.EntryHash
	for i, op := range []*wire.Op{add, {Type: wire.OpRole, User: &user, Role: roles[a.Args[2]]}, last} {
		author := n
		if i == 2 {
			author = x
			incarnation = then.firstLog(x.dev.ID)
		}
		raw, e := author.first(g, then, incarnation, at, wire.KindOp, op)
		if i == 1 { // the second of its log
			e.Seq, e.Prev, e.Deps = 2, made[0], nil
			signed := author.log.Sign(wire.DomainEntry, g.genesis.ID, e.Encode())
			raw = signed.Encode()
		}
		made, entries = append(made, wire.EntryHashOf(e.Group, e.Encode())), append(entries, raw)
		raws[made[i]] = raw
		then = readDag(g.genesis, g.engine(), raws)
	}
	if g.mayNotAnyMore(n, add) {
		w.changesNothing(g, fmt.Sprintf("%s, who may not any more, changed the group with %q", n.name, a), entries...)
		for _, h := range made {
			w.hist.void[h] = true
		}
	}
	w.hist.mark(w, n, "puppet", a.Args[1])
	if s := x.seats[g.index]; s.puppet == nil {
		x.hostile, s.puppet = true, &puppet{s: s, mine: map[wire.EntryHash]bool{}}
	}
	p.deliver(nil, entries...)
	return nil
}

// mayNotAnyMore says that no honest member holds that a node may do something. Else somebody
// may hold it to be permitted, as in a partition.
func (g *cgroup) mayNotAnyMore(n *cnode, op *wire.Op) bool {
	return !slices.ContainsFunc(g.seats, func(s *seat) bool {
		return !s.n.hostile && s.isIn() && slices.ContainsFunc(s.m.Members(), func(m group.Member) bool { return m.User == n.dev.User && enough(m.Role, op) })
	})
}

// changesNothing compares what all entries of the group say, with and without some more.
func (w *core) changesNothing(g *cgroup, otherwise string, entries ...[]byte) {
	now := g.knownAt(w.now)
	now.pairs = g.evidence()
	before, err := w.rosterOf(g, now)
	if err != nil {
		return
	}
	raws := map[wire.EntryHash][]byte{}
	for _, x := range now.entries {
		raws[x.hash] = x.raw
	}
	for _, raw := range entries {
		if signed, err := wire.DecodeSigned(raw, wire.MaxEntry+128); err == nil {
			raws[wire.EntryHashOf(g.genesis.ID, signed.Payload)] = raw
		}
	}
	then := readDag(g.genesis, g.engine(), raws)
	then.pairs = now.pairs
	if after, err := w.rosterOf(g, then); err == nil && before != after {
		g.beyond = append(g.beyond, otherwise)
	}
}

func doRubbish(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		_, _ = p.s.n.chance.Read(b)
		return b
	}
	var wraps []wire.Wrap
	for _, whom := range a.Args[1:] {
		wraps = append(wraps, wire.Wrap{Device: w.nodeOf(whom).dev.ID, Sealed: noise(80)})
	}
	slices.SortFunc(wraps, func(a, b wire.Wrap) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	wraps = slices.CompactFunc(wraps, func(a, b wire.Wrap) bool { return a.Device == b.Device })
	tkey := &wire.TKey{ID: wire.KeyIDOf(p.s.g.genesis.ID, noise(32)), Wraps: wraps}
	current, ok := p.s.m.Transport().Key()
	if ok {
		tkey.Supersedes = []wire.KeyID{current}
	}
	raw, e := p.craft(d, wire.KindTKey, tkey)
	p.advance(e)
	entries := [][]byte{raw}
	for _, wrap := range wraps {
		if ok {
			raw, e := p.craft(d, wire.KindTKeyWrap, &wire.TKeyWrap{ID: current, Wrap: wrap})
			p.advance(e)
			entries = append(entries, raw)
		}
	}
	w.hist.mark(w, p.s.n, "rubbish", "")
	p.deliver(nil, entries...)
	return nil
}

// freshRequest is a request to join by a device that keeps none of its keys.
func (w *core) freshRequest(g *cgroup, n *cnode) (wire.JoinRequest, error) {
	mls := g.engine()
	signer, public, err := mls.NewSigner(n.chance)
	if err != nil {
		return wire.JoinRequest{}, err
	}
	kp, err := mls.NewKeyPackage(n.chance, n.clock(), signer, identity.NewCredential(n.dev, n.log, g.genesis.ID, g.suite, public, [32]byte{9}))
	return wire.JoinRequest{V: wire.Version, Group: g.genesis.ID, Cert: n.dev.Raw, KeyPackage: kp.Public}, err
}

func doKnock(w *core, a Action) error {
	g, n, victim := w.groupOf(a), w.nodeOf(a.Args[0]), w.nodeOf(a.Args[1])
	if n == victim {
		return errors.New("it cannot ask in its own name")
	}
	w.hist.mark(w, n, "knock", a.Args[1])
	for range a.count() {
		right, err := w.freshRequest(g, n)
		if err != nil {
			return err
		}
		key, err := identity.NewKey(n.chance)
		if err != nil {
			return err
		}
		invite := wire.Invite{V: wire.Version, Key: [32]byte(key.Public()), Role: wire.RoleMember, Created: 1, Signer: n.user.Public()}
		signed := n.user.Sign(wire.DomainInvite, g.genesis.ID, invite.Encode())
		claim := wire.Claim{V: wire.Version, Invite: wire.InviteIDOf(g.genesis.ID, signed.Payload), Device: n.dev.ID, KeyPackage: sha256.Sum256(right.KeyPackage)}
		claimed := key.Sign(wire.DomainJoin, g.genesis.ID, claim.Encode())
		stolen, err := w.freshRequest(g, victim) // its owner never made it, but it shows its certificate
		if err != nil {
			return err
		}
		for how, wrong := range []func(*wire.JoinRequest){
			func(r *wire.JoinRequest) { r.KeyPackage = []byte("noise") },
			func(r *wire.JoinRequest) {
				r.KeyPackage = bytes.Clone(r.KeyPackage)
				r.KeyPackage[len(r.KeyPackage)-1] ^= 1
			},
			func(r *wire.JoinRequest) { r.Cert = victim.dev.Raw },               // of another device than the KeyPackage
			func(r *wire.JoinRequest) { r.KeyPackage = stolen.KeyPackage },      // of another device than the certificate
			func(r *wire.JoinRequest) { r.Invite, r.Claim = &signed, &claimed }, // by somebody who may give out none
			func(r *wire.JoinRequest) { r.Group[0] ^= 1 },
		} {
			r := right
			wrong(&r)
			for _, o := range g.seats {
				if o.n == n || o.n.hostile || !o.isIn() || !w.net.connected(n, o.n) || how == 4 && o.has(n) { // who is in may ask again
					continue
				}
				if _, err := o.step(group.JoinAsked{Request: r}); err == nil {
					g.beyond = append(g.beyond, fmt.Sprintf("%s took a request of %s that is wrong in way %d", o.n.name, n.name, how))
				}
			}
		}
	}
	return nil
}

func checkMisserve(sc *Scenario, a Action) error {
	if how, ok := a.opt("with"); ok && !slices.Contains([]string{"fork", "rubbish", "renew"}, how) {
		return errors.New("with=" + how)
	}
	return nodesAt(2, 2)(sc, a)
}

func doMisserve(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	o, err := w.seatOf(a, a.Args[1])
	if err != nil {
		return err
	}
	if !o.joining || o.m == nil || !w.net.connected(o.n, p.s.n) {
		return fmt.Errorf("%s does not ask to join, or cannot", a.Args[1])
	}
	at, err := p.at(d, "")
	if err != nil {
		return err
	}
	in := group.JoinAnswered{KeyPackage: o.request.KeyPackage, Epoch: at.id}
	switch how, _ := a.opt("with"); how {
	case "renew":
		in = group.JoinAnswered{KeyPackage: o.request.KeyPackage, Renew: true}
	case "rubbish":
		in.Welcome, in.Tree = make([]byte, 500), make([]byte, 500)
		_, _ = p.s.n.chance.Read(in.Welcome)
		_, _ = p.s.n.chance.Read(in.Tree)
	default:
		secrets := wire.Marshal(&wire.JoinSecrets{Root: at.root, TransportKeys: [][]byte{bytes.Repeat([]byte{1}, 32)}})
		c, tree, err := p.commitWith(at, engine.Change{Adds: [][]byte{o.request.KeyPackage}, JoinSecrets: secrets})
		if err != nil {
			return err
		}
		in.Epoch, in.Welcome, in.Tree = c.Child, c.Welcome, tree
	}
	w.hist.mark(w, o.n, "misserved", "by "+p.s.n.name)
	if in.Renew {
		o.joining = false // its machine asks anew, or goes on
	}
	if _, err := o.step(in); err != nil && in.Renew {
		o.joining = true
	}
	if o.m != nil {
		o.moved(o.m.Status().Position, w.now)
	}
	return nil
}
