package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// backup gives the rows that go into one.
func (d *device) backup() memRows {
	out := memRows{}
	for key, v := range d.rows {
		if InBackup(key) {
			out[key] = bytes.Clone(v)
		}
	}
	return out
}

// restore lets a device begin anew with what a backup holds, as its owner does.
func (d *device) restore(rows memRows) {
	d.rows = rows
	d.inc++
	d.open()
}

// A device votes with a date ahead of its clock, since another member's clock is fast, and is
// restored from a backup of before a moment later. Its request to be added again is older than
// that vote; it is added all the same.
func TestRestoredAfterAVoteAhead(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 86)
	saved := b.backup()
	c.skew = 8 * time.Minute
	c.send("from a fast clock")
	w.run(time.Minute)
	a.renewKeys()
	for range 120 {
		if v := b.m.logs.Votes[b.dev.ID]; v != nil && v.HLC.Ahead(w.now) > 3*time.Minute && b.m.tree.PositionOf(v) == b.m.tree.Nodes[b.m.own.Position] {
			break
		}
		c.send("on")
		w.run(time.Minute)
	}
	if v := b.m.logs.Votes[b.dev.ID]; v == nil || v.HLC.Ahead(w.now) < 3*time.Minute {
		t.Fatalf("its last vote: %v", v)
	}
	b.restore(saved)
	w.run(20 * time.Minute)
	w.agree(a, b, c)
	c.send("hello again")
	w.run(time.Minute)
	if got := b.texts(); !slices.Contains(got, "hello again") || !slices.Contains(got, "from a fast clock") {
		t.Errorf("it shows %q", got)
	}
}

// A member whose store went back to a backup is added again by the others, and ends
// with all messages once: those it had, those it sent after the backup, and others'.
func TestRestoredFromBackup(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 81)
	a.send("a 1")
	b.send("b 1")
	w.run(time.Minute)
	saved := b.backup()
	a.send("a 2")
	b.send("b 2")
	w.run(time.Minute)
	b.online = false
	c.send("c 1")
	w.run(time.Minute)
	log, epoch, n := b.m.own.log, b.m.own.Position, len(saved)

	b.restore(saved)
	b.online = true
	if n == 0 || b.heldEpochs() != 0 || b.m.own.log == log || b.m.own.log.Device != log.Device {
		t.Fatalf("%d rows, %d epochs held, log %v", n, b.heldEpochs(), b.m.own.log)
	}
	if got := b.texts(); !slices.Equal(got, []string{"a 1", "b 1"}) && !slices.Equal(got, []string{"b 1", "a 1"}) {
		t.Fatalf("before anybody is reached: %v", got)
	}
	b.send("b 3") // accepted before the device is in again
	w.run(3 * time.Minute)
	if b.m.own.Position == epoch || b.m.Status().State != StateMember || b.request() != nil {
		t.Fatalf("not back in: %+v", b.m.Status())
	}
	b.send("b 4")
	w.run(time.Minute)
	w.agree(a, b, c)
	for _, d := range []*device{a, b, c} {
		got := d.texts()
		slices.Sort(got)
		if !slices.Equal(got, []string{"a 1", "a 2", "b 1", "b 2", "b 3", "b 4", "c 1"}) {
			t.Errorf("%s shows %v", d.name, got)
		}
	}
	if n := b.m.Status().Outbox + b.m.Status().Gaps; n != 0 {
		t.Errorf("%d in outbox and gaps", n)
	}
	for it := range b.records() { // what was sealed before is not sealed again
		if it.Log == log && len(it.Sealed) > 1 {
			t.Errorf("message %v was sealed again", it.Hash)
		}
	}
}

// The only device of a group makes new keys after a while; a device that was removed
// after the backup learns it.
func TestRestoredAloneOrRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 82)
	a := w.device("anna")
	w.found(a, wire.PolicyOpen)
	a.send("one")
	saved := a.backup()
	a.send("lost with the disk")
	a.restore(saved)
	a.send("two")
	if n := a.m.Status().Outbox; n == 0 {
		t.Error("it seals without keys")
	}
	w.run(time.Minute)
	if n := a.m.tree.Nodes[a.m.own.Position]; a.m.Status().Outbox != 0 || n.Generation != 1 || a.m.Status().State != StateMember {
		t.Fatalf("%+v", a.m.Status())
	}
	b := w.device("ben")
	w.join(b)
	a.send("three")
	w.run(time.Minute)
	if got := b.texts(); !slices.Equal(got, []string{"three"}) {
		t.Errorf("ben shows %v", got)
	}

	saved = b.backup()
	b.online = false
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	b.restore(saved)
	b.online = true
	w.sync(a, b)
	w.run(time.Minute)
	if st := b.m.Status(); st.State != StateOut || b.request() != nil {
		t.Errorf("the removed device: %+v", st)
	}
}

// No backup holds keys that open messages.
func TestBackupHoldsNoKeys(t *testing.T) {
	t.Parallel()
	_, a, b, _ := three(t, 83)
	kinds := map[string]bool{}
	for _, d := range []*device{a, b} {
		for key := range d.rows {
			kinds[key[:max(0, bytes.IndexByte([]byte(key), '/')+1)]] = true
		}
	}
	for _, kind := range []string{rowEpoch, rowKeys, rowHeld, rowKeyPkg, rowPage} {
		if !kinds[kind] || InBackup(kind+"00") {
			t.Errorf("%s: there %v, in a backup %v", kind, kinds[kind], InBackup(kind+"00"))
		}
	}
	if InBackup(rowThin+"00") || InBackup(rowJoin) || InBackup(rowRejoining) || InBackup("new/00") {
		t.Error("a backup holds keys, or what refers to them")
	}
}

// The owner's two devices revoke each other, which leaves a member alone in a group that
// it may not give new keys. Restored without any, it says so and stays usable.
func TestRestoredAloneAndNoAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 89)
	a, other, b := w.device("anna"), w.device("anna's other"), w.device("ben")
	other.user = a.user
	var err error
	if other.dev, err = identity.Certify(a.user, wire.DeviceCert{LogKey: other.log.Public(), Peer: []byte("p"), Name: other.name, Issued: uint64(w.now.Unix())}); err != nil {
		t.Fatal(err)
	}
	w.found(a, wire.PolicyOpen)
	w.join(other)
	w.join(b)
	w.run(time.Minute)
	w.agree(a, other, b)
	b.send("kept")
	w.run(time.Minute)
	w.cut = func(_, _ *device) bool { return true }
	a.must(RevokeDevice{Device: other.dev.ID})
	other.must(RevokeDevice{Device: a.dev.ID})
	w.cut = nil
	for _, d := range []*device{a, other} {
		entries, _, err := d.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		b.must(Entries{Entries: entries})
	}
	w.run(time.Minute)
	if n := b.m.rosters.now.NumDevices(); n != 1 || b.m.rosters.now.User(b.dev.User).Role != wire.RoleMember {
		t.Fatalf("%d devices are left", n)
	}
	a.online, other.online = false, false
	b.restore(b.backup())
	w.run(3 * time.Hour)
	if b.m.tx.broken != nil {
		t.Errorf("the machine refuses everything: %v", b.m.tx.broken)
	}
	b.must(Tick{})
	if got := b.texts(); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("it shows %v", got)
	}
}
