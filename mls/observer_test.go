package mls

import (
	"bytes"
	"errors"
	"testing"
)

// observed gives a GroupInfo of the member's epoch, as somebody outside reads it.
func (c *client) observed() *Observer {
	c.t.Helper()
	info, err := c.e.GroupInfo(c.signer, nil, true)
	must(c.t, err)
	o, err := Observe(info)
	must(c.t, err)
	return o
}

// External senders: RFC 9420, Sections 12.1.8 and 12.1.8.1.
func TestExternalSender(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	server, other, dave := newClient(t, 1, "server"), newClient(t, 1, "other"), newClient(t, 1, "dave")
	allow := ExternalSendersExtension(
		ExternalSender{other.signer.PublicKey(), BasicCredential([]byte("other"))},
		ExternalSender{server.signer.PublicKey(), BasicCredential([]byte("server"))},
	)
	out := alice.commit(CommitConfig{Proposals: []Proposal{GroupContextExtensions{[]Extension{allow}}}})
	refuse := func(c Credential, _ []byte) error {
		if string(c.Identity) == "server" {
			return errStranger
		}
		return nil
	}
	// The validator is asked about external senders: Section 5.3.1.
	if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: refuse}); !errors.Is(err, ErrCredential) {
		t.Errorf("external sender refused: %v", err)
	}
	alice.move(out)
	bob.process(out.Commit)
	carol.process(out.Commit)

	o := alice.observed()
	must(t, o.Verify(nil, AcceptAnyCredential))
	var leaf LeafIndex
	members := 0
	for i, l := range o.Members() {
		members++
		if string(l.Credential.Identity) == "carol" {
			leaf = i
		}
	}
	if members != 3 || o.Number() != alice.e.Number() || !bytes.Equal(o.GroupID(), alice.e.GroupID()) || len(o.ContextExtensions()) != 1 || o.Suite() != 1 {
		t.Fatalf("observer sees %d members of epoch %d", members, o.Number())
	}
	propose := func(p Proposal) []byte {
		m, err := o.ProposeAs(testNow, server.signer, 1, p, []byte("why"))
		must(t, err)
		return m
	}
	references := [][]byte{propose(Add{dave.kp}), propose(Remove{leaf})}
	hostile(t, references[1], alice.state, func(b []byte) error {
		_, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, References: [][]byte{b}, Validator: AcceptAnyCredential})
		return err
	})
	out = bob.commit(CommitConfig{References: references})
	p := alice.process(out.Commit, references...)
	if len(p.Proposals) != 2 || p.Proposals[0].ByMember || p.Proposals[0].Sender != 1 {
		t.Errorf("%+v", p.Proposals)
	}
	if p := carol.process(out.Commit, references...); !p.Removed {
		t.Error("carol was not removed")
	}
	bob.move(out)
	dave.join(out)
	agree(t, alice, bob, dave)
	talk(t, alice, bob, dave)

	// Proposals that an external sender may not send: Section 12.1.8.
	o = alice.observed()
	for _, p := range []Proposal{nil, Update{}, ExternalInit{}, Add{}} {
		if _, err := o.ProposeAs(testNow, server.signer, 1, p, nil); !errors.Is(err, ErrUsage) {
			t.Errorf("%T: %v", p, err)
		}
	}
	if _, err := o.ProposeAs(testNow, server.signer, 0, Remove{0}, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("as another sender: %v", err)
	}
	if _, err := o.ProposeAs(testNow, server.signer, 2, Remove{0}, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("as an unknown sender: %v", err)
	}
	s := suites[0]
	forge := func(from sender, signer *SignatureKey, p Proposal) error {
		a := &authContent{wire: WirePublic, groupID: alice.e.ctx.groupID, epoch: alice.e.ctx.epoch, sender: from, typ: contentProposal, proposal: p}
		must(t, a.sign(s, signer, nil))
		_, err := alice.e.Commit(alice.rand, CommitConfig{
			Signer: alice.signer, Validator: AcceptAnyCredential, References: [][]byte{a.publicMessage(s, secret{}, nil)},
		})
		return err
	}
	carol.fresh()
	for _, c := range []struct {
		name   string
		from   sender
		signer *SignatureKey
		p      Proposal
	}{
		{"Update", sender{senderExternal, 1}, server.signer, Update{bob.e.tree.leaf(1)}},
		{"ExternalInit", sender{senderExternal, 1}, server.signer, ExternalInit{}},
		{"another's signature", sender{senderExternal, 0}, server.signer, Remove{1}},
		{"unknown sender", sender{senderExternal, 9}, server.signer, Remove{1}},
		{"new member removes", sender{typ: senderNewMemberProposal}, carol.signer, Remove{1}},
		{"new member adds another", sender{typ: senderNewMemberProposal}, server.signer, Add{carol.kp}},
	} {
		if err := forge(c.from, c.signer, c.p); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A new member asks to be added: RFC 9420, Section 12.1.8.
func TestNewMemberProposal(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	o := bob.observed()
	m, err := o.ProposeSelf(testNow, dave.signer, dave.kp, nil)
	must(t, err)
	out := alice.commit(CommitConfig{References: [][]byte{m}})
	bob.process(out.Commit, m)
	carol.process(out.Commit, m)
	alice.move(out)
	dave.join(out)
	agree(t, alice, bob, carol, dave)
	if _, err := o.ProposeSelf(testNow, bob.signer, dave.kp, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("another's KeyPackage: %v", err)
	}
	if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, References: [][]byte{m}, Validator: AcceptAnyCredential}); !errors.Is(err, ErrWrongEpoch) {
		t.Errorf("replay in the next epoch: %v", err)
	}
}

// PSKs in an external commit, and whom it may remove: RFC 9420, Section 12.4.3.2.
func TestExternalCommitLists(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	keys := func(id PreSharedKeyID) ([]byte, bool) { return []byte("shared"), string(id.ID) == "known" }
	pub, err := alice.e.ExternalPubExtension()
	must(t, err)
	info, err := alice.e.GroupInfo(alice.signer, []Extension{pub}, true)
	must(t, err)
	cfg := ExternalConfig{
		Signer: dave.signer, Credential: BasicCredential([]byte("dave")), Validator: AcceptAnyCredential, PSKs: keys,
		PreSharedKeys: []PreSharedKeyID{{Type: PSKExternal, ID: []byte("known"), Nonce: bytes.Repeat([]byte{3}, 32)}},
	}
	out, err := JoinExternal(dave.rand, info, cfg)
	must(t, err)
	if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); !errors.Is(err, ErrMissingPSK) {
		t.Errorf("without the PSK: %v", err)
	}
	for _, c := range []*client{alice, bob, carol} {
		p, err := c.e.Process(out.Commit, ProcessConfig{PSKs: keys, Validator: AcceptAnyCredential})
		must(t, err)
		equal(t, "epoch_authenticator", p.Epoch.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
	}
	// Dave is not carol.
	victim := carol.e.OwnLeaf()
	cfg.Resync = &victim
	if _, err := JoinExternal(dave.rand, info, cfg); !errors.Is(err, ErrInvalid) {
		t.Errorf("removing another: %v", err)
	}
	cfg.SameClient = func(_, _ *LeafNode) bool { return true }
	out, err = JoinExternal(dave.rand, info, cfg)
	must(t, err)
	if _, err := bob.e.Process(out.Commit, ProcessConfig{PSKs: keys, Validator: AcceptAnyCredential}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an external commit that removes another: %v", err)
	}
	_, err = bob.e.Process(out.Commit, ProcessConfig{PSKs: keys, Validator: AcceptAnyCredential, SameClient: cfg.SameClient})
	must(t, err)
}

// Proposals in PrivateMessages use the handshake ratchet: RFC 9420, Section 9.1.
func TestPrivateProposals(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	private := func(c *client) ProposeConfig {
		return ProposeConfig{Signer: c.signer, Wire: WirePrivate, Ratchets: c.r, Padding: 64, AuthenticatedData: []byte("x")}
	}
	remove, d, err := bob.e.Propose(bob.rand, Remove{carol.e.OwnLeaf()}, private(bob))
	must(t, err)
	if len(d) == 0 {
		t.Fatal("a private proposal without a delta")
	}
	update, next, d, err := bob.e.ProposeLeaf(bob.rand, nil, private(bob))
	must(t, err)
	if len(d) == 0 {
		t.Fatal("a private Update without a delta")
	}
	bob.e = next
	if _, _, err := bob.e.Propose(bob.rand, Remove{0}, ProposeConfig{Signer: bob.signer, Wire: WirePrivate}); !errors.Is(err, ErrUsage) {
		t.Errorf("without Ratchets: %v", err)
	}
	before := alice.state()
	if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, References: [][]byte{remove, update}, Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
		t.Errorf("commit without Ratchets: %v", err)
	}
	equal(t, "state", alice.state(), before)
	out := alice.commit(CommitConfig{References: [][]byte{remove, update}, Ratchets: alice.r, Wire: WirePrivate})
	if p := carol.process(out.Commit, remove, update); !p.Removed {
		t.Error("carol was not removed")
	}
	// Bob cannot decrypt what he sent himself; his Ratchets know it, after a restart too.
	rows := bob.r.Rows()
	bob.r, err = NewRatchets(bob.e, rows)
	must(t, err)
	sameRows(t, bob.r.Rows(), rows)
	bob.process(out.Commit, remove, update)
	alice.move(out)
	agree(t, alice, bob)
	talk(t, alice, bob)
}
