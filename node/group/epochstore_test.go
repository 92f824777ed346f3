package group

import (
	"bytes"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// The keys of an epoch that a device left shrink with time: whole, thin, gone.
// Pages of trees, seals and secrets of KeyPackages go too (docs/ARCHITECTURE.md, What is kept).
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 90)
	a, b := w.device("anna"), w.device("ben")
	b.disk = &disk{dropped: map[Vault]bool{}}
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	old := b.m.own.Position
	var welcomed [][]byte // secrets of KeyPackages
	for _, kp := range b.m.leaf.packages {
		welcomed = append(welcomed, bytes.Clone(kp.Secret))
	}
	if len(welcomed) == 0 || !b.disk.holds(welcomed[0]) {
		t.Fatalf("%d KeyPackages, not on disk", len(welcomed))
	}
	b.send("one")
	w.run(time.Minute)
	a.must(Reboot{})
	w.sync(a, b)
	w.run(2 * time.Minute)
	w.agree(a, b)
	if b.m.own.Position == old {
		t.Fatal("ben is where he was")
	}
	e, err := b.m.epochs.whole(old)
	if e == nil || err != nil {
		t.Fatalf("an epoch just left: %v, %v", e, err)
	}
	if n := b.count(rowKeyPkg); n == 0 {
		t.Fatal("no KeyPackage")
	}

	w.run(fullAtMost + time.Hour)
	if e, err := b.m.epochs.whole(old); e != nil || err != nil {
		t.Errorf("message keys after two days: %v, %v", e, err)
	}
	if p, err := b.m.epochs.parent(old); p == nil || err != nil || b.count(rowEpoch+hexed(old[:]))+b.count(rowKeys+hexed(old[:])) != 0 {
		t.Errorf("after two days: %v, %v, %d rows", p, err, b.count(rowEpoch+hexed(old[:])))
	}
	b.open() // the thin one is loaded from its rows
	if p, err := b.m.epochs.parent(old); p == nil || err != nil || len(p.Leaves()) != 2 {
		t.Errorf("a thin epoch after a restart: %v, %v", p, err)
	}

	pages := b.count(rowPage)
	w.run(defaultRetention)
	if b.m.epochs.has(old) || b.count(rowThin) != 0 {
		t.Errorf("%d thin epochs after nine days", b.count(rowThin))
	}
	if got := b.count(rowPage); got >= pages || got == 0 {
		t.Errorf("%d pages, before %d", got, pages)
	}
	if n := b.count(rowKeyPkg); n != 0 {
		t.Errorf("%d KeyPackages after nine days", n)
	}
	for _, secret := range welcomed {
		if b.disk.holds(secret) {
			t.Error("after nine days a copy of an old disk opens the Welcome")
		}
	}
	if a.count(rowSeal) == 0 {
		t.Error("no seals")
	}
	w.run(sealsFor)
	if n := a.count(rowSeal); n != 0 {
		t.Errorf("%d seals of ben's message after ninety days", n)
	}
	w.agree(a, b)
	a.send("two")
	w.run(time.Minute)
	w.agree(a, b)
}

// A commit on an epoch of which only the thin part is left is followed all the same.
func TestLateCommitOnAThinEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 91)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	fork := a.m.own.Position
	held := true
	w.cut = func(x, y *device) bool { return held && (x == a) != (y == a) }
	d, e := w.device("dora"), w.device("emil")
	d.online, e.online = true, true
	w.cut = func(x, y *device) bool {
		side := func(z *device) bool { return z == a || z == d }
		return held && side(x) != side(y)
	}
	w.join(d) // at anna
	w.join(e) // at ben or carl
	w.run(3 * 24 * time.Hour)
	if whole, err := a.m.epochs.whole(fork); whole != nil || err != nil || !a.m.epochs.has(fork) {
		t.Fatalf("anna holds %v of the epoch at the fork, %v", a.m.epochs.held[fork], err)
	}
	held = false
	w.sync(a, b)
	w.run(5 * time.Minute)
	w.agree(a, b, c, d, e)
	rejoined := 0
	for _, it := range a.m.logs.Commits {
		rejoined += len(it.Commit.Rejoins)
	}
	// Nobody had to be added again to a branch that it could derive.
	for _, x := range []*device{a, b, c} {
		if x.m.leaf.packages != nil && x.count("rejoining") != 0 {
			t.Errorf("%s still asks to be added again", x.name)
		}
	}
	if rejoined > 2 { // dora and emil know one branch only
		t.Errorf("%d were added again, two know one branch only", rejoined)
	}
}

// The keys that show that a device held an epoch go after 90 days.
func TestRejoinKeysGo(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 96)
	old := a.m.own.Position
	if a.count(rowRejoin+hexed(old[:])) != 1 {
		t.Fatal("there is no key for the epoch that it is at")
	}
	a.must(Reboot{})
	w.run(rejoinKeyFor - 24*time.Hour)
	b.send("still here")
	w.run(time.Hour)
	if a.count(rowRejoin+hexed(old[:])) != 1 {
		t.Error("the key of an old epoch went early")
	}
	w.run(3 * 24 * time.Hour)
	if a.count(rowRejoin+hexed(old[:])) != 0 {
		t.Error("the key of an old epoch is there after 92 days")
	}
}
