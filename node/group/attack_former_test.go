package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// An owner whom another owner removed raises a puppet, dated back, and the puppet removes
// the remover. The puppet is a stranger, or a member who plays along.
func TestRemovedOwnerRaisesPuppets(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1511, wire.PolicyInvite)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleOwner})
	d := w.device("dora")
	w.joinBy(d, a.mustInvite(nil))
	w.run(time.Minute)
	longAgo := []*dag.Item{b.m.rosters.now.User(b.dev.User).RoleBy, a.additionOf(c), a.additionOf(d)}
	for _, x := range []*device{a, b, c, d} {
		x.send("hello")
	}
	w.run(time.Hour)
	rightBefore := append(b.heads(), longAgo...)
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	members := []*device{a, c, d}
	for range 2 {
		for _, x := range members {
			x.send("since then")
		}
		w.run(time.Hour)
	}
	w.sayWhere(members...)
	var all [][]byte
	var spies []*device
	for _, named := range [][]*dag.Item{longAgo, rightBefore} {
		boss, crown := w.spy("boss")
		crown.Role = wire.RoleOwner
		spies = append(spies, boss)
		for _, puppet := range []*device{boss, c} {
			p, q := b.fresh(), puppet.fresh()
			if puppet == boss {
				p.op(crown, named...)
			} else {
				p.op(makes(c, wire.RoleOwner), named...)
			}
			q.writeAt(p.hlc+1, wire.KindOp, removes(a), p.prev)
			q.op(makes(d, wire.RoleReadOnly))
			p.op(removes(a))
			raws := naming(d, p, q)
			changesNothing(t, puppet.name, 1, members, raws)
			all = append(all, raws...)
		}
	}
	changesNothing(t, "all together", 50, members, all)
	b.online = false
	besiege(t, "all together", w, members, all, spies...)
}

// says seals a message under an epoch that the author holds, as its program could.
func (p *pen) says(text string, epoch wire.EpochID, named ...*dag.Item) (seal []byte, id wire.MessageID) {
	p.d.w.t.Helper()
	o := wire.Opened{Body: wire.Marshal(&wire.Content{MediaType: "text/plain", Data: []byte(text)})}
	id = p.write(wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, named...)
	e, err := p.d.m.epochs.whole(epoch)
	if err != nil || e == nil {
		p.d.w.t.Fatalf("%s does not hold the epoch: %v", p.d.name, err)
	}
	pm, _, err := e.Seal(p.d.w.rand, p.d.m.own.Signer, id[:], wire.Marshal(&o))
	if err != nil {
		p.d.w.t.Fatal(err)
	}
	return wire.Marshal(&wire.Seal{Message: id, Epoch: epoch, Sealer: p.d.dev.ID, PrivateMessage: pm}), id
}

// A user who may only read since, one who left, a device that its user revoked, and one that a
// user adds, dated back, go on speaking in fresh incarnations. Nobody shows what they say, and
// nobody asks for it.
func TestFormerSpeakersAreNotHeard(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1512, wire.PolicyInvite)
	phone := w.another(b, "phone")
	w.join(phone)
	silent := c.reserve("silent")
	d := w.device("dora")
	w.joinBy(d, a.mustInvite(nil))
	longAgo := []*dag.Item{a.additionOf(c), a.additionOf(phone), a.additionOf(d)}
	since := a.additionOf(silent)
	for _, x := range []*device{a, b, c, d, phone} {
		x.send("hello")
	}
	w.run(time.Minute)
	w.agree(a, b, c, d, phone)
	rightBefore := append(c.heads(), longAgo...)
	old := phone.m.own.Position
	left := d.aside(1) // with the keys that it should destroy
	d.must(Leave{})
	b.must(RevokeDevice{Device: phone.dev.ID})
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	w.run(time.Minute)
	a.send("since then")
	b.send("since then")
	w.run(time.Hour)
	members := []*device{a, b, c}
	w.agree(members...)

	var all, seals [][]byte
	for _, named := range [][]*dag.Item{longAgo, rightBefore} {
		var raws [][]byte
		p, q, l := c.fresh(), phone.fresh(), left.fresh()
		for _, r := range []struct {
			p     *pen
			epoch wire.EpochID
		}{{p, c.m.own.Position}, {q, old}, {l, old}} {
			seal, _ := r.p.says("still here", r.epoch, named...)
			seals = append(seals, seal)
		}
		s := silent.fresh()
		s.write(wire.KindRecord, &wire.Record{}, append(slices.Clone(named), since)...)
		// A further device of the user, that speaks in its first log.
		further := w.another(c, "further")
		w.devices = w.devices[:len(w.devices)-1]
		add := c.fresh()
		by := add.op(&wire.Op{Type: wire.OpDeviceAdd, Cert: &further.dev.Raw, KeyPackage: further.keyPackage(w.group, w.now)}, named...)
		f := further.first(by)
		f.writeAt(add.hlc+1, wire.KindRecord, &wire.Record{}, by)
		raws = naming(b, p, q, l, s, add, f)
		all = append(all, raws...)
	}
	n := 0
	was := a.m.Status()
	inOrders(t, "speaking", 50, []*device{a, b, c}, all, func(x *device) {
		if x.name == "carl" {
			return // its own
		}
		if got := x.m.Status(); got.Gaps > 0 || got.Entries != was.Entries+len(all) {
			t.Errorf("%s asks for %d messages, has taken %d of %d entries", x.name, got.Gaps, got.Entries-was.Entries, len(all))
		}
		for _, s := range seals {
			_, _ = x.step(Seals{Seals: [][]byte{s}})
		}
		if got := x.texts(); slices.Contains(got, "still here") {
			t.Errorf("%s shows %q", x.name, got)
		}
		n++
	})
	if n == 0 {
		t.Fatal("nobody was asked")
	}
}

// A member serves an invite that was revoked, dated back: in another incarnation, and by a
// device that never wrote.
func TestRevokedInviteServedInThePast(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1513, wire.PolicyInvite)
	l := b.mustInvite(nil)
	tablet := c.reserve("tablet")
	given := c.heads()
	c.send("hello")
	w.run(time.Minute)
	a.must(RevokeInvite{Invite: l.id})
	w.run(time.Minute)
	members := []*device{a, b, c}
	for _, x := range members {
		x.send("since then")
	}
	w.run(time.Hour)
	w.agree(members...)
	var pens []*pen
	var spies []*device
	for n, at := range []struct {
		pen   *pen
		named []*dag.Item
	}{
		{c.fresh(), given},
		{c.fresh(), []*dag.Item{a.additionOf(c)}},
		{tablet.first(a.additionOf(tablet).Hash), given},
		{tablet.fresh(), []*dag.Item{a.additionOf(tablet)}},
	} {
		guest, serve := w.spy(fmt.Sprint("guest", n))
		claim := guest.claims(w, l, serve.KeyPackage)
		serve.Why, serve.Invite, serve.Claim = wire.WhyInvite, &l.invite, &claim
		at.pen.op(serve, append(slices.Clone(at.named), a.additionOf(c))...)
		pens, spies = append(pens, at.pen), append(spies, guest)
	}
	all := naming(b, pens...)
	changesNothing(t, "a revoked invite", 50, members, all)
	besiege(t, "a revoked invite", w, members, all, spies...)
}

// A user who was removed, one who left, and a revoked device give the group a transport key,
// bring in a device and vote, all dated back. The others send under no key that it knows. Of
// a member they take the key, but not the device: its first log knows better.
func TestFormerDevicesGiveNoKeys(t *testing.T) {
	t.Parallel()
	for n, end := range []string{"removed", "left", "revoked", "still in"} {
		w, a, b, c := closed(t, 1514+uint64(n), wire.PolicyInvite) //nolint:gosec // small
		phone := w.another(c, "phone")
		w.join(phone)
		w.run(time.Minute)
		longAgo := []*dag.Item{a.additionOf(c), a.additionOf(phone)}
		for _, x := range []*device{a, b, c, phone} {
			x.send("hello")
		}
		w.run(time.Minute)
		w.agree(a, b, c, phone)
		rightBefore := append(a.heads(), longAgo...)
		who, members := phone, []*device{a, b}
		switch end {
		case "removed":
			a.must(RemoveUser{User: c.dev.User})
			who = c
		case "left":
			c.must(Leave{})
			who = c
		case "revoked":
			c.must(RevokeDevice{Device: phone.dev.ID})
			members = append(members, c)
		default:
			members = append(members, c, phone)
		}
		w.run(30 * time.Minute)
		for range 2 {
			for _, x := range members {
				x.send("since then")
			}
			w.run(time.Hour)
		}
		w.agree(members...)
		for _, named := range [][]*dag.Item{longAgo, rightBefore} {
			now, _ := a.m.Transport().Key()
			key, id := w.lowKey(now)
			gift := &wire.TKey{ID: id, Supersedes: slices.SortedFunc(maps.Keys(a.m.keys.keys), func(x, y wire.KeyID) int { return bytes.Compare(x[:], y[:]) })}
			for _, x := range members {
				wrapped, err := wrap(w.rand, w.group, id, key, x.dev.ID, x.wrapKey())
				if err != nil {
					t.Fatal(err)
				}
				gift.Wraps = append(gift.Wraps, wrapped)
			}
			slices.SortFunc(gift.Wraps, func(x, y wire.Wrap) int { return bytes.Compare(x.Device[:], y.Device[:]) })
			thief, op := w.adds(c, "thief")
			p, q, v := who.fresh(), who.fresh(), who.fresh()
			p.write(wire.KindTKey, gift, named...)
			q.op(op, named...)
			v.write(wire.KindVote, &wire.Vote{Position: a.epochBefore(named...)}, named...)
			all := naming(b, p, q, v)
			for _, x := range members {
				was := x.m.Status().Entries
				_, err := x.step(Entries{Entries: all})
				if got := x.m.Status().Entries - was; got < len(all) {
					t.Errorf("%s: %s took %d of %d entries: %v", end, x.name, got, len(all), err)
				}
			}
			w.run(10 * time.Minute)
			for _, x := range members {
				got, _ := x.m.Transport().Key()
				if given, in := got == id, x.m.rosters.now.Has(thief.dev.ID); given != (end == "still in") || in {
					t.Errorf("%s: %s sends under the key that was given: %v; the further device is in: %v", end, x.name, given, in)
				}
			}
			if end != "still in" {
				w.agree(members...)
			}
		}
	}
}
