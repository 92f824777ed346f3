package group

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// pen writes what a hostile program could: a log of a device, with pasts of its choice.
type pen struct {
	d    *device
	inc  uint64
	seq  uint64
	prev wire.EntryHash
	hlc  uint64
	raws [][]byte
}

// fresh gives a pen for an incarnation of a device that nobody has heard of.
func (d *device) fresh() *pen { return &pen{d: d, inc: d.w.rand.Uint64()} }

// first gives a pen for the first log of a device that never wrote.
func (d *device) first(addition wire.EntryHash) *pen {
	return &pen{d: d, inc: wire.FirstIncarnation(addition)}
}

// write appends an entry, dated right after what it names.
func (p *pen) write(kind wire.Kind, body any, named ...*dag.Item) wire.EntryHash {
	for _, it := range named {
		p.hlc = max(p.hlc, uint64(it.HLC))
	}
	return p.writeAt(p.hlc+1, kind, body, hashesOf(named...)...)
}

// writeAt appends an entry with a date.
func (p *pen) writeAt(hlc uint64, kind wire.Kind, body any, deps ...wire.EntryHash) wire.EntryHash {
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	raw, hash := forged(p.d, kind, body, slices.Compact(deps), func(e *wire.Entry) {
		e.Incarnation, e.Seq, e.Prev, e.HLC = p.inc, p.seq+1, p.prev, hlc
	})
	p.seq, p.prev, p.hlc, p.raws = p.seq+1, hash, hlc, append(p.raws, raw)
	return hash
}

// op appends an operation.
func (p *pen) op(op *wire.Op, named ...*dag.Item) wire.EntryHash {
	return p.write(wire.KindOp, op, named...)
}

func hashesOf(items ...*dag.Item) (out []wire.EntryHash) {
	for _, it := range items {
		out = append(out, it.Hash)
	}
	return out
}

// additionOf is the operation that brought a device in.
func (d *device) additionOf(o *device) *dag.Item {
	d.w.t.Helper()
	in := d.m.rosters.now.Device(o.dev.ID)
	if in == nil || in.By == nil {
		d.w.t.Fatalf("%s does not know who added %s", d.name, o.name)
	}
	return in.By
}

// heads are the newest entries that a device knows of.
func (d *device) heads() []*dag.Item { return slices.Collect(maps.Values(d.m.logs.Heads)) }

func (d *device) sets(item wire.ProfileItem) *wire.Op {
	item.V, item.Signer = wire.Version, d.user.Public()
	s := d.user.Sign(wire.DomainProfile, d.w.group, item.Encode())
	return &wire.Op{Type: wire.OpProfile, Profile: &s}
}

// spy makes a user that a hostile member lets in.
func (w *world) spy(name string) (*device, *wire.Op) {
	s := w.device(name)
	w.devices = w.devices[:len(w.devices)-1]
	return s, &wire.Op{Type: wire.OpAdd, Cert: &s.dev.Raw, Role: wire.RoleMember, KeyPackage: s.keyPackage(w.group, w.now), Why: wire.WhyRole}
}

func removes(d *device) *wire.Op { return &wire.Op{Type: wire.OpRemove, User: &d.dev.User} }

func makes(d *device, role wire.Role) *wire.Op {
	return &wire.Op{Type: wire.OpRole, User: &d.dev.User, Role: role}
}

// another gives a further device of a user, that is not in the group.
func (w *world) another(of *device, name string) *device {
	w.t.Helper()
	x := w.device(name)
	x.user = of.user
	var err error
	if x.dev, err = identity.Certify(of.user, wire.DeviceCert{
		LogKey: x.log.Public(), Peer: []byte("peer of " + name), Name: name, Issued: uint64(w.now.Unix()), //nolint:gosec // after 1970
	}); err != nil {
		w.t.Fatal(err)
	}
	return x
}

// reserve lets a further device of a user in that is never switched on.
func (d *device) reserve(name string) *device {
	d.w.t.Helper()
	x := d.w.another(d, name)
	d.must(JoinAsked{Request: x.asks(nil)})
	x.online = false
	d.w.run(time.Minute)
	return x
}

// sayWhere has members write an entry each that knows all that was said.
func (w *world) sayWhere(members ...*device) {
	w.t.Helper()
	for _, x := range members {
		sayWhere(x.m, w.now)
		x.must(Tick{})
	}
	w.run(time.Minute)
	w.agree(members...)
}

// aside gives a copy of a device in a world of its own, with nobody to talk to.
func (d *device) aside(seed uint64) *device {
	x := *d
	x.rows = maps.Clone(d.rows)
	x.w = newWorld(d.w.t, seed)
	x.w.now, x.w.genesis, x.w.group = d.w.now, d.w.genesis, d.w.group
	x.open()
	return &x
}

// standing is what a device shows of the group: who is in, as what, the profile and the
// settings.
func (d *device) standing() string {
	var b strings.Builder
	for _, m := range d.m.Members() {
		fmt.Fprintf(&b, "%s %v %d devices\n", m.Name, m.Role, len(m.Devices))
	}
	fmt.Fprintln(&b, "policy", d.m.rosters.now.Policy())
	for p := range d.m.rosters.now.Profiles() {
		fmt.Fprintln(&b, profileDetail(p.Profile))
	}
	for _, s := range d.m.Journal().Settings() {
		fmt.Fprintf(&b, "%s %q\n", s.Key, s.Value)
	}
	return b.String()
}

// epochBefore is an epoch that lies in the past of entries.
func (d *device) epochBefore(named ...*dag.Item) wire.EpochID {
	d.w.t.Helper()
	var first *epochs.Node
	for _, n := range d.m.tree.Nodes {
		known := n.Parent != nil && slices.ContainsFunc(named, func(it *dag.Item) bool { return d.m.logs.InPast(n.By(), it) })
		if known && (first == nil || n.By().Compare(first.By()) < 0) {
			first = n
		}
	}
	if first == nil {
		d.w.t.Fatal("there is none")
	}
	return first.ID
}

// naming adds an entry of a member that has the newest entries of others in its past, so
// that all members take those.
func naming(by *device, pens ...*pen) (raws [][]byte) {
	p := by.fresh()
	p.hlc = uint64(crdt.HLCFromTime(by.w.now))
	deps := []wire.EntryHash{by.m.logs.Head(by.m.own.log).Hash}
	for _, o := range pens {
		raws, p.hlc, deps = append(raws, o.raws...), max(p.hlc, o.hlc), append(deps, o.prev)
	}
	p.writeAt(p.hlc+1, wire.KindVote, &wire.Vote{Position: by.m.own.Position}, deps...)
	return append(raws, p.raws...)
}

// inOrders shows entries to copies of the members, in random orders: all come to one
// conclusion. Each copy is looked at.
func inOrders(t *testing.T, what string, orders uint64, members []*device, raws [][]byte, look func(x *device)) {
	t.Helper()
	want := ""
	for n := range orders {
		r := rand.New(rand.NewPCG(n, uint64(len(raws))))
		x := members[n%uint64(len(members))].aside(n)
		for _, i := range r.Perm(len(raws)) {
			_, _ = x.step(Entries{Entries: [][]byte{raws[i]}})
		}
		if n%5 == 2 {
			x.open()
		}
		got := x.m.conclusions()
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("%s: in order %d %s concludes\n%s\nothers\n%s", what, n, x.name, got, want)
		}
		if look != nil {
			look(x)
		}
	}
}

// changesNothing fails if entries change who is in, as what, the profile or the settings,
// for any member in any order.
func changesNothing(t *testing.T, what string, orders uint64, members []*device, raws [][]byte) {
	t.Helper()
	was, before := members[0].m.Status(), members[0].standing()
	inOrders(t, what, orders, members, raws, func(x *device) {
		if got := x.standing(); got != before {
			t.Errorf("%s: %s shows\n%sand not\n%s", what, x.name, got, before)
		}
		if got := x.m.Status(); got.Gaps != was.Gaps || got.Entries != was.Entries+len(raws) {
			t.Errorf("%s: %s lacks %d messages, has taken %d of %d entries", what, x.name, got.Gaps, got.Entries-was.Entries, len(raws))
		}
	})
}

// besiege has members take the entries, each in an order of its own, and go on with their
// lives: nothing changes, and the spies stay outside with the invites that they have.
func besiege(t *testing.T, what string, w *world, members []*device, raws [][]byte, spies ...*device) {
	t.Helper()
	before := members[0].standing()
	for n, x := range members {
		for _, i := range rand.New(rand.NewPCG(uint64(n), 5)).Perm(len(raws)) { //nolint:gosec // a count
			_, _ = x.step(Entries{Entries: [][]byte{raws[i]}})
		}
	}
	w.run(time.Minute)
	for _, x := range members {
		x.send("we, of " + x.name)
	}
	w.run(2 * time.Minute)
	w.agree(members...)
	for _, x := range members {
		if got := x.standing(); got != before {
			t.Errorf("%s: %s shows\n%sand not\n%s", what, x.name, got, before)
		}
		in := x.m.epochs.inTree(x.m.own.Position)
		for _, s := range spies {
			if in[s.dev.ID] {
				t.Errorf("%s: %s has keys, by the tree of %s", what, s.name, x.name)
			}
		}
		for _, y := range members {
			if !slices.Contains(x.texts(), "we, of "+y.name) {
				t.Errorf("%s: %s shows %q", what, x.name, x.texts())
			}
		}
	}
}

// An admin who left, was removed by the owner or by an equal, or may only read or write
// since, writes the first entries of a fresh incarnation, or of a device of its own that
// never wrote, with a past of long ago or of right before.
func TestFormerAdminsChangeNothing(t *testing.T) {
	t.Parallel()
	for n, end := range []struct {
		name string
		by   func(a, b, e *device)
	}{
		{"left", func(_, b, _ *device) { b.must(Leave{}) }},
		{"removed by the owner", func(a, b, _ *device) { a.must(RemoveUser{User: b.dev.User}) }},
		{"removed by an equal", func(_, b, e *device) { e.must(RemoveUser{User: b.dev.User}) }},
		{"read-only", func(a, b, _ *device) { a.must(SetRole{User: b.dev.User, Role: wire.RoleReadOnly}) }},
		{"a member", func(a, b, _ *device) { a.must(SetRole{User: b.dev.User, Role: wire.RoleMember}) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			w, a, b, c := closed(t, 1501+uint64(n), wire.PolicyInvite) //nolint:gosec // small
			e := w.device("emil")
			w.joinBy(e, a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin }))
			tablet := b.reserve("tablet")
			old := a.additionOf(b)
			longAgo := []*dag.Item{old, a.additionOf(c), a.additionOf(e)}
			at := a.additionOf(tablet)
			for _, x := range []*device{a, b, c, e} {
				x.send("hello")
			}
			w.run(24 * time.Hour)
			rightBefore := b.heads()
			end.by(a, b, e)
			w.run(30 * time.Minute)
			w.run(100 * 24 * time.Hour)
			members := []*device{a, c, e}
			for _, x := range members {
				x.send("since then")
			}
			w.run(time.Minute)
			w.sayWhere(members...)
			b.online = false

			var all [][]byte
			var spies []*device
			var links []link
			for _, past := range []struct {
				name  string
				named []*dag.Item
			}{{"long ago", longAgo}, {"right before", append(slices.Clone(rightBefore), old)}} {
				for _, log := range []struct {
					name  string
					pen   func() *pen
					named []*dag.Item
				}{
					{"a fresh incarnation", b.fresh, past.named},
					{"a silent device", func() *pen { return tablet.first(at.Hash) }, append(slices.Clone(past.named), at)},
					{"a fresh incarnation of a silent device", tablet.fresh, append(slices.Clone(past.named), at)},
				} {
					what := fmt.Sprintf("%s, %s", past.name, log.name)
					spy, add := w.spy("spy")
					boss, crown := w.spy("boss")
					crown.Role = wire.RoleAdmin
					guest, serve := w.spy("guest")
					l := b.signInvite(nil)
					claim := guest.claims(w, l, serve.KeyPackage)
					serve.Why, serve.Invite, serve.Claim = wire.WhyInvite, &l.invite, &claim
					spies, links = append(spies, spy, boss, guest), append(links, l)

					p := log.pen()
					p.op(add, log.named...)
					p.op(crown)
					p.op(removes(c))
					p.op(removes(e))
					p.op(&wire.Op{Type: wire.OpDeviceRevoke, Device: &c.dev.ID})
					p.op(b.sets(wire.ProfileItem{Field: wire.FieldPolicy, HLC: p.hlc + 1, Policy: wire.PolicyOpen}))
					p.op(b.sets(wire.ProfileItem{Field: wire.FieldName, HLC: p.hlc + 1, Text: "mine"}))
					p.op(&wire.Op{Type: wire.OpInvite, Invite: &l.invite})
					p.op(serve)
					r := &wire.Reboot{From: a.epochBefore(log.named...), Generation: 1, Interim: []byte{1}}
					r.Root = wire.RebootEpochID(w.group, p.d.dev.ID, r)
					p.op(&wire.Op{Type: wire.OpReboot, Reboot: r})
					// Those it let in go on.
					q := &pen{d: boss, inc: w.rand.Uint64(), hlc: p.hlc}
					q.writeAt(p.hlc+1, wire.KindOp, removes(c), p.prev)
					q.op(boss.sets(wire.ProfileItem{Field: wire.FieldName, HLC: q.hlc, Text: "theirs"}))
					raws := naming(c, p, q)
					changesNothing(t, what, 1, members, raws)
					if log.name != "a silent device" || past.name == "long ago" { // else a second log with that name
						all = append(all, raws...)
					}
				}
			}
			changesNothing(t, "all together", 50, members, all)
			besiege(t, "all together", w, members, all, spies...)

			// Members serve no invite that it signs now, or gave out in the past.
			before := a.standing()
			for i, l := range []link{links[0], links[len(links)-1], b.signInvite(nil)} {
				spy := w.device(fmt.Sprint("spy", i))
				w.joinBy(spy, l)
				w.run(time.Minute)
				if got := spy.m.Status().State; got != StateJoining && got != StateNew {
					t.Errorf("a spy with an invite is %v", got)
				}
				spy.online = false
			}
			if got := a.standing(); got != before {
				t.Errorf("spies with invites lead to\n%s", got)
			}
		})
	}
}

// claims signs a claim to an invite, with a KeyPackage.
func (d *device) claims(w *world, l link, keyPackage []byte) wire.Signed {
	c := wire.Claim{V: wire.Version, Invite: l.id, Device: d.dev.ID, KeyPackage: sha256.Sum256(keyPackage)}
	return l.key.Sign(wire.DomainJoin, w.group, c.Encode())
}
