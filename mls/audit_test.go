package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/ed448"
)

// badKeys are HPKE public keys of the right length that nothing can be sealed to: RFC
// 9180, Section 7.1.4.
func badKeys(t *testing.T, s *suite) [][]byte {
	t.Helper()
	size := s.kem.publicSize()
	fill := func(first byte, rest byte) []byte {
		b := bytes.Repeat([]byte{rest}, size)
		b[0] = first
		return b
	}
	list := [][]byte{fill(0, 0), fill(1, 0)}
	switch s.kem {
	case kemX25519:
		high := fill(0xed, 0xff) // the prime, with the bit that is masked; and without
		low := clone(high)
		low[31] = 0x7f
		less, more := clone(low), clone(low)
		less[0], more[0] = 0xec, 0xee
		list = append(list, high, low, less, more)
		for _, order8 := range []string{
			"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
			"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		} {
			b, err := hex.DecodeString(order8)
			must(t, err)
			high := clone(b)
			high[31] |= 0x80
			list = append(list, b, high)
		}
	case kemX448:
		prime := fill(0xff, 0xff)
		prime[28] = 0xfe
		less := clone(prime)
		less[0] = 0xfe
		list = append(list, prime, less)
	case kemXWing{}:
		list = [][]byte{fill(0xff, 0xff)} // coefficients of ML-KEM that are not reduced
	default:
		compressed := clone(fill(4, 0))
		compressed[0] = 2
		list = append(list, fill(4, 0), compressed, fill(4, 7)) // not points of the curve
	}
	return list
}

// A key that nobody can seal to would keep everybody else from committing: it is refused
// where it comes in, in KeyPackages, leaves, paths and trees. RFC 9180, Section 7.1.4.
func TestUnusablePublicKeys(t *testing.T) {
	for _, s := range append(slices.Clone(suites[:]), hybrid) {
		ikm := bytes.Repeat([]byte{1}, s.kem.encapSize())
		for k, bad := range badKeys(t, s) {
			if _, _, err := s.kem.encap(ikm, bad); err == nil {
				t.Errorf("suite %d: key %d can be sealed to", s.id, k)
			}
			if err := s.kem.checkPublic(bad); !errors.Is(err, ErrInvalid) {
				t.Errorf("suite %d: key %d: %v", s.id, k, err)
			}
		}
		c := newClient(t, s.id, "x")
		for _, good := range [][]byte{c.kp.InitKey, c.kp.Leaf.EncryptionKey} {
			must(t, s.kem.checkPublic(good))
		}
		if err := s.kem.checkPublic(c.kp.InitKey[1:]); !errors.Is(err, ErrInvalid) {
			t.Errorf("suite %d: a short key: %v", s.id, err)
		}
	}
	m := newMatrix(t)
	bad := make([]byte, 32)
	for name, kp := range map[string]*KeyPackage{
		"encryption_key": m.keyPackage(m.dave, func(l *LeafNode) { l.EncryptionKey = bad }, nil),
		"init_key":       m.keyPackage(m.dave, nil, func(kp *KeyPackage) { kp.InitKey = bad }),
	} {
		_, err := ParseKeyPackage(kp.Bytes())
		m.is(err, ErrInvalid)
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{kp}), name)
	}
	m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(0, func(_ nodeIndex, n *node) {
		if n.parent != nil {
			p := *n.parent
			p.encryptionKey = bad
			n.parent = &p
		}
	})), "encryption_key")
	path := m.alice.e.tree.edit()
	steps, err := path.mergePath(0, &updatePath{leaf: m.alice.e.tree.leaf(0), nodes: []updatePathNode{{encryptionKey: bad}, {encryptionKey: bad}}})
	if !errors.Is(err, ErrInvalid) || steps != nil {
		t.Errorf("path: %v", err)
	}
}

// A tree has at most maxLeaves leaves, whatever is blank in it: RFC 9420, Section
// 12.4.3.3, gives no bound, so this is the engine's.
func TestTreeBound(t *testing.T) {
	for n, want := range map[int]string{2*maxLeaves - 1: "blank node", 2 * maxLeaves: "more than"} {
		_, err := readRatchetTree(suites[0], encode(func(w *writer) { w.vec(make([]byte, n)) }))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d blank nodes: %v", n, err)
		}
	}
}

// PSKLabel counts in 16 bits: RFC 9420, Section 8.4.
func TestPSKCount(t *testing.T) {
	ids := make([]PreSharedKeyID, 1<<16)
	if _, err := suites[0].pskSecret(ids, func(PreSharedKeyID) ([]byte, bool) { return nil, true }); !errors.Is(err, ErrInvalid) {
		t.Errorf("%d PSKs: %v", len(ids), err)
	}
}

// The bound on keys of skipped generations holds within one change too, in which a
// commit names many private proposals: RFC 9420, Section 9.2.
func TestSkippedBoundInOneChange(t *testing.T) {
	_, bob, _ := trio(t, 1)
	id := ratchetID{0, handshakeRatchet}
	var c change
	generation := uint32(0)
	for range 3 {
		generation += MaxForward
		_, err := bob.r.tree.take(id, generation, &c)
		must(t, err)
		generation++
	}
	bob.r.tree.apply(&c)
	if n := len(bob.r.tree.last[id]); n != MaxSkipped || n != len(bob.r.tree.skipped) {
		t.Errorf("%d keys of skipped generations are kept, want %d", n, MaxSkipped)
	}
	if first, want := bob.r.tree.last[id][0], generation-1-MaxSkipped; first != want {
		t.Errorf("the oldest key is of generation %d, want %d", first, want)
	}
	if _, err := bob.r.tree.take(id, 0, &change{}); !errors.Is(err, ErrKeyUsed) {
		t.Errorf("a dropped key: %v", err)
	}
}

// The secrets that a change derived are wiped, whether the change is made or given up. A
// change that is given up leaves the tree's secrets alone.
func TestChangesAreWiped(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	zero := func(what string, list ...[]byte) {
		t.Helper()
		for _, b := range list {
			if len(b) == 0 || !bytes.Equal(b, make([]byte, len(b))) {
				t.Errorf("%s: a secret is still there", what)
			}
		}
	}
	id := ratchetID{alice.e.own, applicationRatchet}
	before := bob.state()
	var given change
	key, err := bob.r.tree.take(id, 3, &given)
	must(t, err)
	derived := [][]byte{key.bytes(), given.chains[id].secret.bytes()}
	for _, k := range given.skipped {
		derived = append(derived, k.bytes())
	}
	for _, s := range given.nodes {
		derived = append(derived, s.bytes())
	}
	given.abandon()
	zero("given up", derived...)
	equal(t, "state", bob.state(), before)

	var made change
	key, err = bob.r.tree.take(id, 3, &made)
	must(t, err)
	used := key.bytes()
	bob.r.tree.apply(&made)
	zero("made", used)

	// A key that was kept is the tree's until the change is made.
	before = bob.state()
	var late change
	key, err = bob.r.tree.take(id, 1, &late)
	must(t, err)
	kept := key.bytes()
	late.abandon()
	equal(t, "state", bob.state(), before)
	late = change{}
	_, err = bob.r.tree.take(id, 1, &late)
	must(t, err)
	bob.r.tree.apply(&late)
	zero("late", kept)
}

// Wipe destroys the expanded key too, whatever the scheme.
func TestSignatureKeysAreWiped(t *testing.T) {
	for _, s := range suites {
		k, err := NewSignatureKey(s.id, newStream("wipe"))
		must(t, err)
		var words []big.Word
		var octets []byte
		switch key := k.key().(type) {
		case ed25519.PrivateKey:
			octets = key
		case ed448.PrivateKey:
			octets = key
		case *ecdsa.PrivateKey:
			words = key.D.Bits() //nolint:staticcheck // as in Wipe
		}
		if len(octets)+len(words) < 4 {
			t.Fatalf("suite %d: %d octets, %d words", s.id, len(octets), len(words))
		}
		k.Wipe()
		k.Wipe() // does nothing
		for _, w := range words {
			octets = append(octets, byte(min(w, 255)))
		}
		if !bytes.Equal(octets, make([]byte, len(octets))) {
			t.Errorf("suite %d: the key is still there", s.id)
		}
	}
}

// A message causes no more work than its length warrants, even if a KeyPackage, or a tree
// with its required_capabilities, has lists of types as long as a message can be.
func TestLongLists(t *testing.T) {
	m := newMatrix(t)
	types := make([]ExtensionType, 0, 1<<16)
	var list []Extension
	for k := 6; k < 1<<16; k++ {
		types = append(types, ExtensionType(k))
		list = append(list, Extension{Type: ExtensionType(k)})
	}
	slices.Reverse(types) // what is looked for is at the end
	var caps Capabilities
	within := func(what string, f func()) {
		t.Helper()
		begun := time.Now()
		f()
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: %v", what, took)
		}
	}
	kp := m.keyPackage(m.dave, func(l *LeafNode) {
		caps = l.Capabilities
		for range 6 {
			caps.Extensions = append(caps.Extensions, types[:1<<15]...)
		}
		caps.Extensions = append(caps.Extensions, types...)
		l.Capabilities, l.Extensions = caps, list
	}, nil)
	b := kp.Bytes()
	if len(b) > 1<<20 {
		t.Fatalf("%d octets", len(b))
	}
	within("KeyPackage", func() {
		_, err := ParseKeyPackage(b)
		must(t, err)
	})
	required := Extension{ExtensionRequiredCapabilities, encode(func(w *writer) {
		encodeU16s(w, slices.Repeat(types, 3))
		encodeU16s(w, []ProposalType{})
		encodeU16s(w, []CredentialType{})
	})}
	within("required_capabilities", func() {
		for range 20 {
			must(t, kp.Leaf.checkSupports([]Extension{required}))
		}
	})
	within("GroupContext", func() { must(t, checkExtensions(list)) })
}
