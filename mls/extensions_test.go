package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// A last-resort KeyPackage adds its client to more than one group: RFC 9420, Section 16.8.
func TestLastResort(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	dave := newClient(t, 1, "dave")
	if dave.kp.LastResort() {
		t.Error("an ordinary KeyPackage is a last resort")
	}
	var err error
	dave.kp, dave.secrets, err = NewKeyPackage(dave.rand, KeyPackageConfig{
		Suite: 1, Credential: BasicCredential([]byte("dave")), Signer: dave.signer, LastResort: true,
	})
	must(t, err)
	kp, err := ParseKeyPackage(dave.kp.Message())
	must(t, err)
	if !kp.LastResort() || !slices.Contains(kp.Leaf.Capabilities.Extensions, ExtensionLastResort) {
		t.Error("last_resort is lost")
	}
	for _, c := range []*client{alice, bob} {
		out := c.commit(CommitConfig{Proposals: []Proposal{Add{kp}}})
		dave.join(out)
		equal(t, "epoch_authenticator", dave.e.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
	}
}

// Values that nobody knows are passed over: RFC 9420, Section 13.5.
func TestGrease(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	rand := newStream("grease")
	places := map[[2]int]bool{}
	for range 40 {
		plain := DefaultCapabilities()
		caps, err := plain.Grease(rand)
		must(t, err)
		if len(plain.CipherSuites) != 7 || len(caps.CipherSuites) != 8 || len(caps.Extensions) != 1 || len(caps.Proposals) != 1 || len(caps.Credentials) != 3 {
			t.Fatalf("%+v", caps)
		}
		for k, s := range caps.CipherSuites {
			if s > 7 {
				if s&0x0f0f != 0x0a0a || s>>12 != s>>4&15 || s>>12 == 15 {
					t.Fatalf("%#x is no GREASE value", s)
				}
				places[[2]int{k, int(s >> 12)}] = true
			}
		}
	}
	if len(places) < 20 {
		t.Errorf("%d values and places in 40 draws", len(places))
	}
	dave := newClient(t, 1, "dave")
	caps, err := DefaultCapabilities(0x3a3a).Grease(rand)
	must(t, err)
	grease := []Extension{{Type: 0x3a3a, Data: []byte("anything")}}
	dave.kp, dave.secrets, err = NewKeyPackage(dave.rand, KeyPackageConfig{
		Suite: 1, Credential: BasicCredential([]byte("dave")), Signer: dave.signer, Capabilities: &caps,
		Extensions: grease, LeafExtensions: grease,
	})
	must(t, err)
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}}, GroupInfoExtensions: []Extension{{Type: 0x5a5a}}})
	bob.process(out.Commit)
	carol.process(out.Commit)
	alice.move(out)
	dave.join(out)
	agree(t, alice, bob, carol, dave)
	talk(t, alice, bob, carol, dave)
}

// required_capabilities bind who is in and who comes in: RFC 9420, Sections 7.3, 11.1 and 12.1.7.
func TestRequiredCapabilities(t *testing.T) {
	required := func(x []ExtensionType, p []ProposalType, c []CredentialType) []Extension {
		return []Extension{{Type: ExtensionRequiredCapabilities, Data: encode(func(w *writer) {
			encodeU16s(w, x)
			encodeU16s(w, p)
			encodeU16s(w, c)
		})}}
	}
	alice, bob, _ := trio(t, 1)
	for _, list := range [][]Extension{
		required([]ExtensionType{0xff01}, nil, nil), required(nil, []ProposalType{0xff01}, nil), required(nil, nil, []CredentialType{0xff01}),
		{{Type: ExtensionRequiredCapabilities, Data: []byte{1}}},
		{{Type: ExtensionExternalSenders, Data: []byte{9}}},
		append(required(nil, nil, nil), required(nil, nil, nil)...),
	} {
		_, err := alice.e.Commit(alice.rand, CommitConfig{
			Signer: alice.signer, Validator: AcceptAnyCredential, Proposals: []Proposal{GroupContextExtensions{list}},
		})
		if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", list, err)
		}
	}
	// The RFC's default types may be required although no capabilities list them: Section
	// 7.2.
	out := alice.commit(CommitConfig{Proposals: []Proposal{GroupContextExtensions{
		required([]ExtensionType{ExtensionApplicationID, ExtensionExternalSenders}, []ProposalType{ProposalReInit}, []CredentialType{CredentialX509}),
	}}})
	bob.process(out.Commit)
	alice.move(out)
	agree(t, alice, bob)
	caps := DefaultCapabilities()
	caps.Credentials = []CredentialType{CredentialBasic}
	// A member cannot lose what is required, and the group is what it was.
	before := bob.state()
	if _, err := bob.e.Commit(bob.rand, CommitConfig{Signer: bob.signer, Validator: AcceptAnyCredential, Leaf: &LeafUpdate{Capabilities: &caps}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("leaf without a required credential type: %v", err)
	}
	equal(t, "state", bob.state(), before)
}

// Every credential type in use is supported by everybody: RFC 9420, Section 7.3.
func TestCredentialTypesInUse(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	caps := DefaultCapabilities()
	caps.Credentials = []CredentialType{CredentialBasic}
	only := bob.commit(CommitConfig{Leaf: &LeafUpdate{Capabilities: &caps}})
	alice.process(only.Commit)
	carol.process(only.Commit)
	bob.move(only)
	x509 := Credential{Type: CredentialX509, Certificates: [][]byte{[]byte("der")}}
	if _, err := alice.e.Commit(alice.rand, CommitConfig{
		Signer: alice.signer, Validator: AcceptAnyCredential, SameClient: anyClient, Leaf: &LeafUpdate{Credential: &x509},
	}); !errors.Is(err, ErrInvalid) {
		t.Errorf("x509 beside a member that has basic only: %v", err)
	}
	// Once that member is gone, it may be.
	out := carol.commit(CommitConfig{Proposals: []Proposal{Remove{bob.e.OwnLeaf()}}, Leaf: &LeafUpdate{Credential: &x509}, SameClient: anyClient})
	p, err := alice.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential, SameClient: anyClient})
	must(t, err)
	alice.e, alice.r = p.Epoch, p.Ratchets
	carol.move(out)
	agree(t, alice, carol)
}

// The index of keys says what a look at every node says, whatever the tree went through.
func TestKeyIndex(t *testing.T) {
	clients := []*client{newClient(t, 1, "member 0")}
	clients[0].create("index")
	for i := range 60 {
		c := clients[0]
		var list []Proposal
		for k := range i % 4 {
			list = append(list, Add{newClient(t, 1, string(rune('a'+i))+string(rune('a'+k))).kp})
		}
		if n := c.e.MemberCount(); i%5 == 4 && n > 3 {
			for l := range c.e.Members() {
				if l != c.e.OwnLeaf() && int(l)%3 == i%3 {
					list = append(list, Remove{l})
				}
			}
		}
		c.move(c.commit(CommitConfig{Proposals: list}))
		must(t, c.e.tree.checkUnique())
		again := *c.e.tree
		must(t, again.reindex(nil))
		have, dup := merge(c.e.tree.index.base, c.e.tree.index.gone, c.e.tree.index.added)
		want, dup2 := merge(again.index.base, again.index.gone, again.index.added)
		if !slices.Equal(have, want) || dup || dup2 || c.e.tree.index.census != again.index.census {
			t.Fatalf("step %d: %d fingerprints, want %d", i, len(have), len(want))
		}
	}
	// Long lists of changes take the other way through; both find duplicates.
	base := make([]uint64, 2000)
	for i := range base {
		base[i] = uint64(i) * 3
	}
	x := &keyIndex{base: base}
	many := make([]uint64, 0, maxDifferences+1)
	for i := range maxDifferences + 1 {
		many = append(many, uint64(3*i+1))
	}
	for _, c := range []struct {
		left, came []uint64
		dup        bool
	}{
		{nil, []uint64{1}, false},
		{nil, []uint64{3}, true},
		{[]uint64{3}, []uint64{3}, false},
		{nil, []uint64{1, 1}, true},
		{nil, slices.Clone(many), false},
		{nil, append(slices.Clone(many), 6), true},
		{[]uint64{6}, append(slices.Clone(many), 6), false},
		{nil, append(slices.Clone(many), 1), true},
	} {
		next, dup := x.change(c.left, c.came)
		if dup != c.dup {
			t.Errorf("%d left, %d came: duplicate %v", len(c.left), len(c.came), dup)
		}
		if all, _ := merge(next.base, next.gone, next.added); !dup && len(all) != len(base)-len(c.left)+len(c.came) {
			t.Errorf("%d left, %d came: %d", len(c.left), len(c.came), len(all))
		}
	}
}

// A client with certificates and an application_id joins; the validator decides on the
// certificates, and members see both: RFC 9420, Sections 5.3 and 5.3.3.
func TestCertificatesAndApplicationID(t *testing.T) {
	alice, _, _ := trio(t, 1)
	dave := newClient(t, 1, "dave")
	id := Extension{ExtensionApplicationID, encode(func(w *writer) { w.text("device 7") })}
	certificates := Credential{Type: CredentialX509, Certificates: [][]byte{[]byte("leaf"), []byte("ca")}}
	var err error
	dave.kp, dave.secrets, err = NewKeyPackage(dave.rand, KeyPackageConfig{
		Suite: 1, Credential: certificates, Signer: dave.signer, LeafExtensions: []Extension{id},
	})
	must(t, err)
	asked := 0
	validator := func(c Credential, key []byte) error {
		if c.Type != CredentialX509 {
			return nil
		}
		asked++
		if len(c.Certificates) != 2 || string(c.Certificates[1]) != "ca" || !bytes.Equal(key, dave.signer.PublicKey()) {
			return errStranger
		}
		return nil
	}
	out, err := alice.e.Commit(alice.rand, CommitConfig{Signer: alice.signer, Now: testNow, Proposals: []Proposal{Add{dave.kp}}, Validator: validator})
	must(t, err)
	if asked != 1 {
		t.Errorf("the validator was asked %d times", asked)
	}
	alice.move(out)
	dave.join(out)
	agree(t, alice, dave)
	talk(t, alice, dave)
	leaf, ok := alice.e.Member(dave.e.OwnLeaf())
	if !ok || leaf.Credential.Type != CredentialX509 || len(leaf.Credential.Certificates) != 2 {
		t.Errorf("credential %+v", leaf)
	}
	if data, ok := FindExtension(leaf.Extensions, ExtensionApplicationID); !ok || !bytes.Equal(data, id.Data) {
		t.Errorf("application_id %x", data)
	}
	if _, err := dave.e.Process(alice.commit(CommitConfig{}).Commit, ProcessConfig{Validator: func(Credential, []byte) error { return errStranger }}); !errors.Is(err, ErrCredential) {
		t.Errorf("a refusal: %v", err)
	}
}
