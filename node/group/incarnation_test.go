package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Two nodes that run as one device take its leaf from each other: each time a device waits
// longer before it asks to be added again, and an hour after the last sign of a twin it does
// as others do. A request of its own lives shorter, since others go by the newest one.
func TestTwinsDoNotHurry(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	tw := &twins{started: now}
	if got := tw.lockedOut(now); got != rejoinWait {
		t.Fatalf("without a twin it waits %v, want %v", got, rejoinWait)
	}
	if got := tw.rejoinFor(now, false); got < 1<<50 {
		t.Errorf("without a twin its request lives %v", got)
	}
	if got := tw.rejoinFor(now, true); got != rejoinRenew {
		t.Errorf("after its store went back its request lives %v, want %v", got, rejoinRenew)
	}
	tw.seen = now
	want := rejoinWait
	for i := range 40 {
		want = min(want*2, twinLockout)
		if got := tw.lockedOut(now); got != want {
			t.Fatalf("lockout %d: it waits %v, want %v", i+1, got, want)
		}
	}
	if got := tw.rejoinFor(now, false); got != twinLockout {
		t.Errorf("with a twin its request lives %v, want %v", got, twinLockout)
	}
	if got := tw.lockedOut(now.Add(twinRecent + 1)); got != rejoinWait {
		t.Errorf("an hour later it waits %v, want %v", got, rejoinWait)
	}
	again := now.Add(2 * twinRecent)
	if tw.seen = again; tw.lockedOut(again) != 2*rejoinWait {
		t.Error("the next twin makes it wait as long as the last one did in the end")
	}
	tw.seen = now
	if got := tw.rejoinFor(now.Add(3*twinRecent), false); got != rejoinRenew {
		t.Errorf("hours later its request lives %v, want %v", got, rejoinRenew)
	}
}

// An incarnation that the store's owner gives begins a new log, once: what the device found
// out by itself since stays until the owner gives another one.
func TestIncarnationIsTakenOnce(t *testing.T) {
	t.Parallel()
	o := &ownState{tx: newTx(wire.GroupID{}, memRows{})}
	o.incarnate(7, false)
	if o.Incarnation != 7 || o.Renew || !o.changed {
		t.Fatalf("a new store: incarnation %d, renews %v, saved %v", o.Incarnation, o.Renew, o.changed)
	}
	o.Incarnation, o.changed = 99, false // others held entries that it did not know
	if o.incarnate(7, true); o.Incarnation != 99 || o.changed {
		t.Errorf("a restart: incarnation %d, saved %v", o.Incarnation, o.changed)
	}
	if o.incarnate(8, true); o.Incarnation != 8 || !o.Renew || !o.changed {
		t.Errorf("another one is given: incarnation %d, renews %v, saved %v", o.Incarnation, o.Renew, o.changed)
	}
	if o.restored(time.Now(), wire.DeviceID{}); len(o.tx.ready.Events) != 0 {
		t.Error("a device that never was a member is told to be restored")
	}
}
