package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Somebody who is no member answers a joiner by a Welcome into a group of its own. The
// invite was claimed for one KeyPackage: its secrets stay until the logs bear a Welcome out.
func TestFalseWelcomeSpendsNoKeyPackage(t *testing.T) {
	t.Parallel()
	w, a, b, _ := closed(t, 915, wire.PolicyInvite)
	d := w.device("dora")
	d.online = false
	l := a.mustInvite(nil)
	kp := d.asks(&l).KeyPackage
	x := w.device("mallory")
	w.devices = w.devices[:len(w.devices)-1]
	secret, public, err := engine.MLS(1).NewSigner(w.rand)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.MLS(1).Create(w.rand, w.now, []byte("mine"), secret, identity.NewCredential(x.dev, x.log, w.group, 1, public, [32]byte{7}))
	if err != nil {
		t.Fatal(err)
	}
	js := wire.Marshal(&wire.JoinSecrets{TransportKeys: [][]byte{slices.Repeat([]byte{5}, 32)}})
	c, err := e.Commit(w.rand, engine.Change{Now: w.now, Signer: secret, Adds: [][]byte{kp}, JoinSecrets: js, Check: d.m.epochs.checkCredential})
	if err != nil {
		t.Fatal(err)
	}
	d.must(JoinAnswered{KeyPackage: kp, Epoch: wire.EpochIDOf(w.group, wire.EpochID{}, 1, c.Epoch.Interim()), Welcome: c.Welcome, Tree: c.Epoch.Tree()})
	w.run(initKeysFor + 24*time.Hour)
	d.online = true
	w.carryJoin(d, *d.request())
	w.run(3 * time.Hour)
	w.agree(a, b, d)
	if d.keyPackages() == 0 {
		t.Fatal("its KeyPackage is gone at once")
	}
	w.run(initKeysFor + 24*time.Hour)
	if n := d.keyPackages(); n != 0 {
		t.Errorf("it holds the secrets of %d KeyPackages", n)
	}
}

// A joiner with an invite was added, and hears of it when the secrets of its KeyPackage
// are past their time. It asks to be added again.
func TestWelcomeAfterTheKeyPackage(t *testing.T) {
	t.Parallel()
	w, a, b, _ := closed(t, 916, wire.PolicyInvite)
	d := w.device("dora")
	d.online = false
	l := a.mustInvite(nil)
	r := d.asks(&l)
	a.must(JoinAsked{Request: r})
	w.run(engine.KeyPackageLifetime + 24*time.Hour)
	if d.keyPackages() != 0 || d.request() == nil || d.request().Claim == nil {
		t.Fatal("its KeyPackage is not past its time")
	}
	if _, err := d.step(JoinAnswered{Epoch: wire.EpochID{1}, Welcome: []byte{1}}); !isErr(err, verdict.ErrState) || isErr(err, verdict.ErrCorrupt) {
		t.Errorf("a Welcome that nothing can open: %v", err)
	}
	d.online = true
	w.carryJoin(d, *d.request())
	w.run(3 * time.Hour)
	w.agree(a, b, d)
}

// An outsider answers a join request with a group of its own making.
func TestFalseWelcomeDoesNotStrandAJoiner(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 452)
	_ = b
	d := w.device("dora")
	d.online = false
	d.open()
	d.must(Join{})
	x := w.device("mallory")
	w.devices = w.devices[:len(w.devices)-1]
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	cred := identity.NewCredential(x.dev, x.log, w.group, 1, public, [32]byte{7})
	e, err := engine.MLS(1).Create(w.rand, w.now, []byte("mine"), secret, cred)
	if err != nil {
		t.Fatal(err)
	}
	js := wire.Marshal(&wire.JoinSecrets{TransportKeys: [][]byte{slices.Repeat([]byte{5}, 32)}})
	cm, err := e.Commit(w.rand, engine.Change{Now: w.now, Signer: secret, Adds: [][]byte{d.request().KeyPackage}, JoinSecrets: js, Check: d.m.epochs.checkCredential})
	if err != nil {
		t.Fatal(err)
	}
	id := wire.EpochIDOf(w.group, wire.EpochID{}, 1, cm.Epoch.Interim())
	_, err = d.step(JoinAnswered{Epoch: id, Welcome: cm.Welcome, Tree: cm.Epoch.Tree()})
	t.Logf("false Welcome: %v, state %v", err, d.m.Status().State)
	d.online = true
	if d.request() != nil {
		w.carryJoin(d, *d.request())
	}
	w.syncSomebody(a)
	w.run(5 * time.Minute)
	if s := d.m.Status(); s.State != StateMember {
		t.Errorf("dora is %q and no longer asks (request %v)", s.State, d.request() != nil)
	}
}
