package group

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// setTo has a device change a field of the profile, dated by its clock alone or, as a node
// does, after what holds.
func (d *device) setTo(item wire.ProfileItem, byClock bool) (Outcome, error) {
	item.HLC = uint64(crdt.HLCFromTime(d.clock()))
	if by := d.m.rosters.now.Profile(item.Field); by != nil && !byClock {
		item.HLC = max(item.HLC, by.Profile.HLC+1)
	}
	return d.step(SetProfile{Item: *d.sets(item).Profile})
}

// An admin dates the policy, the name and the mailboxes to the end of time, in many logs.
// The next change by another admin wins, also once the author is gone.
func TestProfileOfTheEndOfTime(t *testing.T) {
	t.Parallel()
	const end = uint64(dag.EndOfTime) - 1
	for _, gone := range []bool{false, true} {
		w, a, b, c := closed(t, 1531, wire.PolicyInvite)
		members := []*device{a, b, c}
		var pens []*pen
		for i := range uint64(5) {
			p := b.fresh()
			for j, item := range []wire.ProfileItem{
				{Field: wire.FieldPolicy, Policy: wire.PolicyOpen},
				{Field: wire.FieldName, Text: fmt.Sprint("mine", i)},
				{Field: wire.FieldMailboxes, Mailboxes: []wire.LinkPeer{{Peer: []byte("mine")}}},
			} {
				item.HLC = end - 40 + 4*i + uint64(j) //nolint:gosec // small
				p.writeAt(item.HLC, wire.KindOp, b.sets(item), hashesOf(b.heads()...)...)
			}
			pens = append(pens, p)
		}
		last := b.fresh()
		last.writeAt(end, wire.KindOp, b.sets(wire.ProfileItem{Field: wire.FieldPolicy, HLC: end, Policy: wire.PolicyOpen}), hashesOf(b.heads()...)...)
		all := naming(c, append(pens, last)...)
		all = all[:len(all)-1] // nothing comes after the end of time
		inOrders(t, "at the end of time", 50, members, all, func(x *device) {
			r := x.m.rosters.now
			if r.Policy() != wire.PolicyOpen || r.Profile(wire.FieldPolicy).HLC != dag.EndOfTime-1 || r.Profile(wire.FieldName).Profile.Text != "mine4" {
				t.Errorf("%s shows\n%s", x.name, x.standing())
			}
		})
		for _, x := range members {
			x.must(Entries{Entries: all})
		}
		if a.m.rosters.now.Policy() != wire.PolicyOpen || a.m.rosters.now.Profile(wire.FieldName).User != b.dev.User {
			t.Fatalf("what an admin sets does not count:\n%s", a.standing())
		}
		if gone {
			a.must(RemoveUser{User: b.dev.User})
			members = []*device{a, c}
		}
		w.run(10 * time.Minute)
		for _, item := range []wire.ProfileItem{
			{Field: wire.FieldPolicy, Policy: wire.PolicyInvite},
			{Field: wire.FieldName, Text: "ours"},
			{Field: wire.FieldMailboxes, Mailboxes: []wire.LinkPeer{{Peer: []byte("ours")}}},
		} {
			if _, err := a.setTo(item, gone); err != nil {
				t.Errorf("author gone %v: %v: %v", gone, item.Field, err)
			}
		}
		w.run(10 * time.Minute)
		w.agree(members...)
		for _, x := range members {
			r := x.m.rosters.now
			if r.Policy() != wire.PolicyInvite || r.Profile(wire.FieldName).Profile.Text != "ours" || string(r.Profile(wire.FieldMailboxes).Profile.Mailboxes[0].Peer) != "ours" {
				t.Errorf("author gone %v: %s shows\n%s", gone, x.name, x.standing())
			}
		}
		stranger := w.device("stranger")
		w.join(stranger)
		w.run(time.Minute)
		if stranger.m.Status().State == StateMember {
			t.Error("a stranger is in")
		}
	}
}

// An item of the profile, or a setting, above its entry's place counts for nobody, and whoever
// sets one is told so.
func TestProfileAboveItsEntry(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1532, wire.PolicyInvite)
	members := []*device{a, b, c}
	var pens []*pen
	for _, hlc := range []uint64{math.MaxUint64, uint64(dag.EndOfTime), uint64(crdt.HLCFromTime(w.now.Add(time.Hour)))} {
		p := b.fresh()
		p.op(b.sets(wire.ProfileItem{Field: wire.FieldPolicy, HLC: hlc, Policy: wire.PolicyOpen}), b.heads()...)
		p.op(&wire.Op{Type: wire.OpSetting, Setting: &wire.Setting{Key: "expiry", Value: "1d", HLC: hlc}})
		pens = append(pens, p)
	}
	changesNothing(t, "above its entry", 50, members, naming(c, pens...))
	for _, hlc := range []uint64{math.MaxUint64, uint64(crdt.HLCFromTime(w.now.Add(time.Hour)))} {
		refusal{"above its entry", SetProfile{Item: *a.sets(wire.ProfileItem{Field: wire.FieldName, HLC: hlc, Text: "ours"}).Profile}, verdict.ErrFuture, verdict.Ignore}.check(t, a)
	}
}
