package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Two members commit on one epoch without seeing each other. Everybody is told of the
// fork once, when its second side comes in, and one of the two that it moved over.
func TestForkIsTold(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 31)
	tell := func(x *device, kind EventKind) (out []Event) {
		events, err := x.m.Journal().Events(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
		return out
	}
	parent := a.m.Status().Position
	w.cut = func(x, y *device) bool { return true }
	for _, x := range []*device{a, b} {
		x.m.timers.set(timerUpdate, w.now)
		x.must(Tick{})
		epochs := tell(x, EventEpoch)
		if last := epochs[len(epochs)-1]; last.Device != x.dev.ID || last.By != x.dev.User {
			t.Errorf("%s made an epoch and is told that %v did", x.name, last.By)
		}
	}
	w.cut = nil
	w.sync(a, b)
	w.sync(b, c)
	w.run(2 * time.Minute)
	w.agree(a, b, c)
	other := map[*device][]*device{a: {b}, b: {a}, c: {a, b}}
	for x, others := range other {
		forks := tell(x, EventFork)
		if len(forks) != 1 || forks[0].Epoch != parent {
			t.Fatalf("%s is told of %d forks: %+v", x.name, len(forks), forks)
		}
		by := false
		for _, o := range others {
			by = by || forks[0].By == o.dev.User && forks[0].Device == o.dev.ID
		}
		if !by {
			t.Errorf("%s is told that the other side is %v's", x.name, forks[0].By)
		}
	}
	if n := len(tell(a, EventSwitch)) + len(tell(b, EventSwitch)); n != 1 {
		t.Errorf("%d of the two moved over", n)
	}
}

// A device that is revoked and fresh keys of the group are told to everybody.
func TestRevocationAndRebootAreTold(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 32)
	a.must(RevokeDevice{Device: c.dev.ID})
	w.run(time.Minute)
	a.must(Reboot{})
	w.run(2 * time.Minute)
	d := w.device("dora")
	w.join(d)
	w.run(2 * time.Minute)
	for x, want := range map[*device]int{a: 1, b: 1, d: 0} { // dora came later
		events, err := x.m.Journal().Events(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		revoked, reboots := 0, 0
		for _, e := range events {
			switch {
			case e.Kind == EventRevoked && e.Device == c.dev.ID && e.User == c.dev.User && e.By == a.dev.User:
				revoked++
			case e.Kind == EventReboot && e.Device == a.dev.ID && e.By == a.dev.User && e.Epoch != (wire.EpochID{}):
				reboots++
			case e.Kind == EventRevoked || e.Kind == EventReboot:
				t.Errorf("%s is told %+v", x.name, e)
			}
		}
		if revoked != want || reboots != want {
			t.Errorf("%s is told of %d revocations and %d reboots", x.name, revoked, reboots)
		}
	}
}
