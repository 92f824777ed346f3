package mls

import (
	"bytes"
	"errors"
	"testing"
)

// reinit ends the group of three in favour of "next" with another ciphersuite.
func reinit(t *testing.T, to CipherSuite, byReference bool) (alice, bob, carol *client) {
	t.Helper()
	alice, bob, carol = trio(t, 1)
	p := ReInit{GroupID: []byte("next"), Version: MLS10, Suite: to, Extensions: []Extension{
		{Type: ExtensionRequiredCapabilities, Data: []byte{0, 0, 0}},
	}}
	var out *CommitResult
	if byReference {
		m, _, err := bob.e.Propose(nil, p, ProposeConfig{Signer: bob.signer})
		must(t, err)
		out = alice.commit(CommitConfig{References: [][]byte{m}})
		bob.process(out.Commit, m)
		if r := carol.process(out.Commit, m); !r.Ended {
			t.Fatal("the group did not end")
		}
	} else {
		out = alice.commit(CommitConfig{Proposals: []Proposal{p}, NoPath: true})
		bob.process(out.Commit)
		carol.process(out.Commit)
	}
	alice.move(out)
	agree(t, alice, bob, carol)
	return alice, bob, carol
}

// next gives the client keys and a KeyPackage for the new group.
func (c *client) next(id CipherSuite) *client {
	n := newClient(c.t, id, c.name+" next")
	n.name = c.name
	n.fresh()
	return n
}

// ReInit: RFC 9420, Sections 11.2 and 12.1.5.
func TestReInit(t *testing.T) {
	for _, byReference := range []bool{false, true} {
		alice, bob, carol := reinit(t, 3, byReference)
		// The group is at its end, also after a restart.
		restored, err := ParseEpoch(bob.e.MarshalSecret())
		must(t, err)
		if r, ok := restored.ReInit(); !ok || string(r.GroupID) != "next" {
			t.Errorf("ReInit %+v after a restart", r)
		}
		for _, e := range []*Epoch{alice.e, restored} {
			if _, err := e.Commit(alice.rand, CommitConfig{Signer: alice.signer, Validator: AcceptAnyCredential}); !errors.Is(err, ErrEnded) {
				t.Errorf("commit: %v", err)
			}
			if _, err := e.ProposeRemove(alice.signer, 1, nil); !errors.Is(err, ErrEnded) {
				t.Errorf("proposal: %v", err)
			}
		}
		if _, _, err := alice.r.Seal(alice.rand, alice.signer, nil, nil, 0); !errors.Is(err, ErrEnded) {
			t.Errorf("seal: %v", err)
		}
		a, b, c := alice.next(3), bob.next(3), carol.next(3)
		cfg := SuccessorConfig{
			Credential: BasicCredential([]byte("alice")), Signer: a.signer, Members: []*KeyPackage{b.kp, c.kp}, Now: testNow, Validator: AcceptAnyCredential,
		}
		out, err := alice.e.Continue(a.rand, cfg)
		must(t, err)
		a.move(out)
		join := func(n, old *client) error {
			cfg := JoinConfig{KeyPackage: n.kp, Secrets: n.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential}
			if old != nil {
				cfg.Parent = old.e
			}
			j, err := Join(out.Welcome, cfg)
			if err == nil {
				n.e, n.r = j.Epoch, j.Ratchets
			}
			return err
		}
		must(t, join(b, bob))
		must(t, join(c, carol))
		agree(t, a, b, c)
		talk(t, a, b, c)
		if string(a.e.GroupID()) != "next" || a.e.Number() != 1 || a.e.Suite() != 3 {
			t.Errorf("continued as %v of suite %d", a.e, a.e.Suite())
		}
		// Nobody joins without the old group, nor from another epoch of it.
		if err := join(b, nil); !errors.Is(err, ErrMissingPSK) {
			t.Errorf("join without the parent: %v", err)
		}
		if err := join(b, a); !errors.Is(err, ErrWrongGroup) {
			t.Errorf("join from another group: %v", err)
		}
		_, otherBob, _ := trio(t, 1)
		if err := join(b, otherBob); !errors.Is(err, ErrWrongEpoch) {
			t.Errorf("join from an earlier epoch: %v", err)
		}
		// The new group has the members of the old one: Section 11.2.
		cfg.Members = cfg.Members[:1]
		if _, err := alice.e.Continue(a.rand, cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("continue without carol: %v", err)
		}
		stranger := newClient(t, 3, "stranger")
		cfg.Members = []*KeyPackage{b.kp, stranger.kp}
		if _, err := alice.e.Continue(a.rand, cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("continue with a stranger: %v", err)
		}
		cfg.GroupID = []byte("other")
		if _, err := alice.e.Continue(a.rand, cfg); !errors.Is(err, ErrUsage) {
			t.Errorf("continue under another name: %v", err)
		}
	}
}

// A ReInit is alone in its commit: RFC 9420, Section 12.2.
func TestReInitAlone(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	p := ReInit{GroupID: []byte("next"), Version: MLS10, Suite: 1}
	for _, list := range [][]Proposal{
		{p, Remove{carol.e.OwnLeaf()}},
		{Remove{carol.e.OwnLeaf()}, p},
		{p, p},
		{ReInit{GroupID: []byte("next"), Suite: 1}},
		{ReInit{Version: MLS10, Suite: 1, Extensions: []Extension{{Type: 9}, {Type: 9}}}},
	} {
		if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, Validator: AcceptAnyCredential, Proposals: list}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", list, err)
		}
	}
	if _, err := bob.e.Continue(bob.rand, SuccessorConfig{Signer: bob.signer, Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
		t.Errorf("continue without a ReInit: %v", err)
	}
}

// Branching: RFC 9420, Section 11.3.
func TestBranch(t *testing.T) {
	for _, s := range allSuites {
		alice, bob, carol := trio(t, s.id)
		b := bob.next(s.id)
		cfg := SuccessorConfig{
			GroupID: []byte("branch"), Credential: BasicCredential([]byte("alice")), Signer: alice.signer,
			Members: []*KeyPackage{b.kp}, Now: testNow, InlineTree: true, Validator: AcceptAnyCredential,
		}
		out, err := alice.e.Branch(alice.rand, cfg)
		must(t, err)
		cfgJoin := JoinConfig{KeyPackage: b.kp, Secrets: b.secrets, Parent: bob.e, Validator: AcceptAnyCredential}
		j, err := Join(out.Welcome, cfgJoin)
		must(t, err)
		a := &client{t: t, name: "alice", rand: alice.rand, signer: alice.signer}
		a.move(out)
		b.e, b.r = j.Epoch, j.Ratchets
		agree(t, a, b)
		talk(t, a, b)
		// Both groups live on.
		talk(t, alice, bob, carol)

		// The parent in another epoch has another PSK.
		commit := carol.commit(CommitConfig{})
		bob.process(commit.Commit)
		cfgJoin.Parent = bob.e
		if _, err := Join(out.Welcome, cfgJoin); !errors.Is(err, ErrWrongEpoch) {
			t.Errorf("join from a later epoch: %v", err)
		}
		dave := newClient(t, s.id, "dave")
		cfg.Members = []*KeyPackage{b.kp, dave.kp}
		if _, err := alice.e.Branch(alice.rand, cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("branch with a stranger: %v", err)
		}
		// The application may know better who is who.
		cfg.SameClient = func(old, new *LeafNode) bool {
			return EqualCredentials(old, new) || string(new.Credential.Identity) == "dave" && string(old.Credential.Identity) == "carol"
		}
		_, err = alice.e.Branch(alice.rand, cfg)
		must(t, err)
	}
}

// A parent given where there is none, and the PSK of a branch where it may not be: RFC
// 9420, Sections 8.6 and 12.1.4.
func TestBranchPSKs(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	dave := newClient(t, 1, "dave")
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}}, InlineTree: true})
	if _, err := Join(out.Welcome, JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, Parent: bob.e, Validator: AcceptAnyCredential}); !errors.Is(err, ErrInvalid) {
		t.Errorf("parent of a group that has none: %v", err)
	}
	nonce := bytes.Repeat([]byte{1}, 32)
	for _, usage := range []ResumptionUsage{ResumptionBranch, ResumptionReInit} {
		id := PreSharedKeyID{Type: PSKResumption, Usage: usage, GroupID: []byte("trio"), Epoch: 1, Nonce: nonce}
		if _, err := alice.e.Commit(alice.rand, CommitConfig{
			Signer: alice.signer, Validator: AcceptAnyCredential, Proposals: []Proposal{PreSharedKey{id}},
			PSKs: func(PreSharedKeyID) ([]byte, bool) { return nonce, true },
		}); !errors.Is(err, ErrInvalid) {
			t.Errorf("usage %d: %v", usage, err)
		}
		two := groupSecrets{joiner: nonce, psks: []PreSharedKeyID{id, {Type: PSKResumption, Usage: ResumptionBranch, Nonce: nonce}}}
		if _, err := two.checkOrigin(alice.e); !errors.Is(err, ErrInvalid) {
			t.Errorf("two origins: %v", err)
		}
	}
}
