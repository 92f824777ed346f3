package sim

import (
	"slices"
	"testing"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// TestDoorReach: what hostile people do at the door gets to the others, and takes effect
// where they may do it.
func TestDoorReach(t *testing.T) {
	t.Parallel()
	play := func(text string) *Report {
		t.Helper()
		r := playText(t, "door", "# Door\nseed 5\nnodes anna ben mallory spy\ngroup tea founder=anna policy=request\nrun 2h\n0s join ben mallory\n1m approve anna ben mallory\n"+text)
		if len(r.Refused) > 0 || !r.OK() {
			t.Errorf("%s: refused %v, %v", text, r.Refused, r.First())
		}
		return r
	}
	by := func(r *Report, name string, kind wire.Kind) (out []*dagEntry) {
		for _, e := range r.obs[0].Dag.entries {
			if e.entry.Device == r.world.nodeOf(name).dev.ID && e.entry.Kind == kind {
				out = append(out, e)
			}
		}
		return out
	}

	r := play("3m role anna mallory owner\n4m join spy\n5m hostile mallory\n6m puppet mallory spy admin removes=ben\n")
	if got, want := r.world.stayed(r.world.groups[0]), "anna owner, mallory owner, spy admin; request"; got != want {
		t.Errorf("after an owner's puppet there are %s; want %s", got, want)
	}
	// No admin makes an owner: what a puppet of that kind removes was never permitted.
	r = play("3m role anna mallory admin\n4m join spy\n5m approve anna spy\n6m hostile mallory\n7m puppet mallory spy owner known=3m30s removes=ben\n")
	if got, want := r.world.stayed(r.world.groups[0]), "anna owner, ben member, mallory admin, spy member; request"; got != want {
		t.Errorf("after an admin's puppet there are %s; want %s", got, want)
	}
	// Nobody can add a hostile member to the tree of a reboot, which gives nobody a KeyPackage.
	play("3m role anna ben admin\n30m offline mallory\n35m reboot ben\n40m hostile mallory\n41m online mallory\n")
	r = play("4m join spy\n5m hostile mallory\n6m misserve mallory spy\n10m approve anna spy\n")
	astray := slices.ContainsFunc(r.world.nodeOf("spy").seats[0].moves, func(m move) bool { return r.obs[0].Dag.epochs[m.To] == nil })
	if !astray {
		t.Error("the joiner was nowhere else than in the group's epochs")
	}
	r = play("5m hostile mallory\n6m rubbish mallory anna ben\n7m send ben\n")
	anna := r.world.nodeOf("anna").seats[0].m
	key, ok := anna.Transport().Key()
	made := false
	for _, e := range by(r, "mallory", wire.KindTKey) {
		k, err := wire.DecodeTKey(e.entry.Body)
		made = made || err == nil && len(k.Wraps) == 2
		if err != nil || k.ID == key {
			t.Errorf("anna sends under the key that mallory made up: %v", err)
		}
	}
	if !made || !ok {
		t.Errorf("mallory made up a key: %v; anna has one: %v", made, ok)
	}
	if n := len(by(r, "mallory", wire.KindTKeyWrap)); n != 2 {
		t.Errorf("of mallory are %d wraps", n)
	}
	r = play("2m role anna mallory admin\n5m hostile mallory\n6m backdate mallory invite old known=4m30s\n7m join spy invite=old\n9m backdate mallory serve spy known=4m30s\n")
	if got, want := r.world.stayed(r.world.groups[0]), "anna owner, ben member, mallory admin, spy member; request"; got != want {
		t.Errorf("after an admin's invite there are %s; want %s", got, want)
	}
	r = play("5m knock spy ben\n")
	w := r.world
	right, err := w.freshRequest(w.groups[0], w.nodeOf("spy"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.nodeOf("anna").seats[0].step(group.JoinAsked{Request: right}); err != nil {
		t.Errorf("the request that the wrong ones are made of is not taken: %v", err)
	}
}
