package mls

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// Commits that a committer must not make: RFC 9420, Section 12.2 and 12.4.
func TestRefusedCommits(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave, other := newClient(t, 1, "dave"), newClient(t, 2, "other")
	twin := newClient(t, 1, "dave")
	expired := newClient(t, 1, "expired")
	expired.kp, expired.secrets, _ = NewKeyPackage(expired.rand, KeyPackageConfig{
		Suite: 1, Credential: BasicCredential(nil), Signer: expired.signer, NotAfter: testNow.Add(-time.Second),
	})
	ownUpdate, _, err := alice.e.ProposeUpdate(alice.rand, alice.signer, nil, nil)
	must(t, err)
	before := alice.e.MarshalSecret()
	for _, c := range []struct {
		name string
		cfg  CommitConfig
		want error
	}{
		{"remove of oneself", CommitConfig{Proposals: []Proposal{Remove{alice.e.OwnLeaf()}}}, ErrInvalid},
		{"remove of a blank leaf", CommitConfig{Proposals: []Proposal{Remove{3}}}, ErrInvalid},
		{"remove outside the tree", CommitConfig{Proposals: []Proposal{Remove{1 << 31}}}, ErrInvalid},
		{"two removes", CommitConfig{Proposals: []Proposal{Remove{1}, Remove{1}}}, ErrInvalid},
		{"member added again", CommitConfig{Proposals: []Proposal{Add{bob.kp}}}, ErrInvalid},
		{"twice the same client", CommitConfig{Proposals: []Proposal{Add{dave.kp}, Add{dave.kp}}}, ErrInvalid},
		{"same signature key", CommitConfig{Proposals: []Proposal{Add{dave.kp}, Add{twin.kp}}}, ErrInvalid},
		{"another suite", CommitConfig{Proposals: []Proposal{Add{other.kp}}}, ErrInvalid},
		{"expired", CommitConfig{Proposals: []Proposal{Add{expired.kp}}}, ErrLifetime},
		{"own update", CommitConfig{References: [][]byte{ownUpdate}}, ErrInvalid},
		{"empty without path", CommitConfig{NoPath: true}, ErrUsage},
		{"remove without path", CommitConfig{NoPath: true, Proposals: []Proposal{Remove{1}}}, ErrUsage},
		{"external init", CommitConfig{Proposals: []Proposal{ExternalInit{}}}, ErrInvalid},
		{"empty proposal", CommitConfig{Proposals: []Proposal{Add{}}}, ErrUsage},
		{"private without ratchets", CommitConfig{Wire: WirePrivate}, ErrUsage},
		{"private with another's", CommitConfig{Wire: WirePrivate, Ratchets: bob.r}, ErrUsage},
		{"missing PSK", CommitConfig{Proposals: []Proposal{PreSharedKey{PreSharedKeyID{Type: PSKExternal, Nonce: make([]byte, 32)}}}}, ErrMissingPSK},
		{"unsupported extension", CommitConfig{Proposals: []Proposal{GroupContextExtensions{[]Extension{{Type: 0xff77}}}}}, ErrInvalid},
	} {
		c.cfg.Signer, c.cfg.Validator, c.cfg.Now = alice.signer, AcceptAnyCredential, testNow
		if _, err := alice.e.Commit(alice.rand, c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: bob.signer, Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
		t.Errorf("another's signature key: %v", err)
	}
	if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer}); !errors.Is(err, ErrUsage) {
		t.Errorf("no validator: %v", err)
	}
	if _, err := alice.e.Commit(bytes.NewReader(nil), CommitConfig{Signer: alice.signer, Validator: AcceptAnyCredential}); !errors.Is(err, io.EOF) {
		t.Errorf("no randomness: %v", err)
	}
	equal(t, "snapshot after refusals", alice.e.MarshalSecret(), before)
	_ = carol
}

var errStranger = errors.New("stranger")

// The validator is asked wherever a leaf comes in: RFC 9420, Section 7.3.
func TestValidator(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	dave := newClient(t, 1, "dave")
	refuse := func(name string) CredentialValidator {
		return func(c Credential, _ []byte) error {
			if string(c.Identity) == name {
				return errStranger
			}
			return nil
		}
	}
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrCredential) || !errors.Is(err, errStranger) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, Now: testNow, Validator: refuse("dave"), Proposals: []Proposal{Add{dave.kp}}})
	check("commit of an Add", err)
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}}})
	_, err = bob.e.Process(out.Commit, ProcessConfig{Validator: refuse("dave")})
	check("Add", err)
	_, err = bob.e.Process(out.Commit, ProcessConfig{Validator: refuse("alice")})
	check("path leaf", err)
	_, err = Join(out.Welcome, JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, RatchetTree: out.RatchetTree, Validator: refuse("carol")})
	check("join", err)
	check("KeyPackage", dave.kp.Validate(testNow, refuse("dave")))
	if err := dave.kp.Validate(testNow.Add(2*time.Hour), AcceptAnyCredential); !errors.Is(err, ErrLifetime) {
		t.Errorf("expired KeyPackage: %v", err)
	}
	update, _, err := bob.e.ProposeUpdate(bob.rand, bob.signer, nil, nil)
	must(t, err)
	_, err = alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, Validator: refuse("bob"), References: [][]byte{update}})
	check("Update", err)
	if _, err := Join(out.Welcome, JoinConfig{KeyPackage: bob.kp, Secrets: bob.secrets, Validator: AcceptAnyCredential}); !errors.Is(err, ErrNotForUs) {
		t.Errorf("another's Welcome: %v", err)
	}
}

func TestInspectCommit(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	update, _, err := bob.e.ProposeUpdate(bob.rand, bob.signer, nil, nil)
	must(t, err)
	out := alice.commit(CommitConfig{
		Proposals: []Proposal{Add{dave.kp}, Remove{carol.e.OwnLeaf()}}, References: [][]byte{update}, AuthenticatedData: []byte("why"),
	})
	info, err := InspectCommit(out.Commit)
	must(t, err)
	if info.Epoch != 1 || info.Sender != 0 || string(info.GroupID) != "trio" || string(info.AuthenticatedData) != "why" ||
		len(info.Proposals) != 2 || len(info.References) != 1 || info.PathLeaf == nil {
		t.Errorf("%+v", info)
	}
	equal(t, "KeyPackage", info.Proposals[0].(Add).KeyPackage.Bytes(), dave.kp.Bytes())
	equal(t, "confirmation tag", info.ConfirmationTag, out.Epoch.ConfirmationTag())
	if _, err := InspectCommit(alice.seal("x")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a PrivateMessage: %v", err)
	}
}

// PSKs by value, from an application and from an earlier epoch: RFC 9420, Section 8.4.
func TestPreSharedKeys(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	old := alice.e.ResumptionPSK()
	keys := func(id PreSharedKeyID) ([]byte, bool) {
		if id.Type == PSKResumption {
			return old, id.Epoch == 1
		}
		return []byte("shared"), string(id.ID) == "known"
	}
	nonce := bytes.Repeat([]byte{1}, 32)
	proposals := []Proposal{
		PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("known"), Nonce: nonce}},
		PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("trio"), Epoch: 1, Nonce: nonce}},
		Add{dave.kp},
	}
	out := alice.commit(CommitConfig{Proposals: proposals, PSKs: keys, NoPath: true, InlineTree: true})
	if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); !errors.Is(err, ErrMissingPSK) {
		t.Errorf("without the PSK: %v", err)
	}
	wrong := func(PreSharedKeyID) ([]byte, bool) { return []byte("wrong"), true }
	if _, err := bob.e.Process(out.Commit, ProcessConfig{PSKs: wrong, Validator: AcceptAnyCredential}); !errors.Is(err, ErrInvalid) {
		t.Errorf("with another PSK: %v", err)
	}
	p, err := bob.e.Process(out.Commit, ProcessConfig{PSKs: keys, Validator: AcceptAnyCredential})
	must(t, err)
	equal(t, "epoch_authenticator", p.Epoch.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
	cfg := JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, Validator: AcceptAnyCredential}
	if _, err := Join(out.Welcome, cfg); !errors.Is(err, ErrMissingPSK) {
		t.Errorf("join without the PSK: %v", err)
	}
	cfg.PSKs = wrong
	if _, err := Join(out.Welcome, cfg); !errors.Is(err, ErrDecrypt) {
		t.Errorf("join with another PSK: %v", err)
	}
	cfg.PSKs = keys
	j, err := Join(out.Welcome, cfg)
	must(t, err)
	equal(t, "epoch_authenticator", j.Epoch.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
	_ = carol
}

// The GroupContext's extensions can change, for members who support them.
func TestGroupContextExtensions(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	out := alice.commit(CommitConfig{Proposals: []Proposal{GroupContextExtensions{[]Extension{
		{Type: ExtensionRequiredCapabilities, Data: encode(func(w *writer) {
			encodeU16s(w, []ExtensionType{})
			encodeU16s(w, []ProposalType{})
			encodeU16s(w, []CredentialType{CredentialBasic})
		})},
	}}}})
	alice.move(out)
	bob.process(out.Commit)
	carol.process(out.Commit)
	agree(t, alice, bob, carol)
	if got := bob.e.Extensions(); len(got) != 1 || got[0].Type != ExtensionRequiredCapabilities {
		t.Errorf("extensions %v", got)
	}
	// A client that lacks what is required cannot come in: RFC 9420, Section 7.3.
	dave := newClient(t, 1, "dave")
	caps := DefaultCapabilities()
	caps.Credentials = []CredentialType{CredentialX509}
	var err error
	dave.kp, dave.secrets, err = NewKeyPackage(dave.rand, KeyPackageConfig{
		Suite: 1, Credential: Credential{Type: CredentialX509, Certificates: [][]byte{[]byte("der")}}, Signer: dave.signer, Capabilities: &caps,
	})
	must(t, err)
	if _, err := alice.e.Commit(alice.rand, CommitConfig{
		Now:    testNow,
		Signer: alice.signer, Validator: AcceptAnyCredential, Proposals: []Proposal{Add{dave.kp}},
	}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Add of a client that lacks a required credential type: %v", err)
	}
}

// External commits, also of a member that lost its state: RFC 9420, Section 12.4.3.2.
func TestExternalJoin(t *testing.T) {
	for _, s := range allSuites {
		alice, bob, carol := trio(t, s.id)
		dave := newClient(t, s.id, "dave")
		join := func(c *client, resync *LeafIndex) *CommitResult {
			pub, err := alice.e.ExternalPubExtension()
			must(t, err)
			info, err := alice.e.GroupInfo(alice.signer, []Extension{pub}, true)
			must(t, err)
			out, err := JoinExternal(c.rand, info, ExternalConfig{
				Signer: c.signer, Credential: BasicCredential([]byte(c.name)), Resync: resync, Validator: AcceptAnyCredential,
			})
			must(t, err)
			return out
		}
		out := join(dave, nil)
		for _, c := range []*client{alice, bob, carol} {
			if p := c.process(out.Commit); !p.External || p.Committer != 3 {
				t.Errorf("%+v", p)
			}
		}
		dave.move(out)
		agree(t, alice, bob, carol, dave)
		talk(t, alice, bob, carol, dave)

		leaf := bob.e.OwnLeaf()
		out = join(bob, &leaf)
		if p := bob.process(out.Commit); !p.Removed {
			t.Error("the old self was not removed")
		}
		for _, c := range []*client{alice, carol, dave} {
			c.process(out.Commit)
		}
		bob.move(out)
		agree(t, alice, bob, carol, dave)
		talk(t, alice, bob, carol, dave)
		if _, err := JoinExternal(dave.rand, out.Commit, ExternalConfig{
			Signer: dave.signer, Credential: BasicCredential(nil), Validator: AcceptAnyCredential,
		}); !errors.Is(err, ErrMalformed) {
			t.Errorf("join from a commit: %v", err)
		}
	}
}
