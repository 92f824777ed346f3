package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// testKey is the key whose seed is 32 times b.
func testKey(t testing.TB, b byte) *Key {
	t.Helper()
	k, err := KeyFromSeed(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testDevice(t testing.TB, user, log *Key) *Device {
	t.Helper()
	d, err := Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: []byte("peer"), Name: "laptop", Issued: 1000, Expires: 2000})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var testGroup = wire.GroupID{1, 2, 3}

func TestDeviceCertificate(t *testing.T) {
	user, log := testKey(t, 1), testKey(t, 2)
	d := testDevice(t, user, log)
	if d.User != wire.UserIDOf(user.Public()) || d.ID != wire.DeviceIDOf(user.Public(), log.Public()) || d.Cert.V != wire.Version {
		t.Errorf("certified %+v", d)
	}
	// Every bit of payload and signature counts.
	flips := 0
	for _, part := range []func(*wire.Signed) []byte{func(s *wire.Signed) []byte { return s.Payload }, func(s *wire.Signed) []byte { return s.Signature }} {
		for i := range 8 * len(part(&d.Raw)) {
			s := wire.Signed{Payload: bytes.Clone(d.Raw.Payload), Signature: bytes.Clone(d.Raw.Signature)}
			part(&s)[i/8] ^= 1 << (i % 8)
			if got, err := VerifyDevice(s); err == nil || got != nil {
				t.Errorf("accepted with bit %d flipped", i)
			}
			flips++
		}
	}
	if flips < 1000 {
		t.Errorf("only %d flips", flips)
	}
	for what, edit := range map[string]func(*wire.DeviceCert){
		"user":    func(c *wire.DeviceCert) { c.User = testKey(t, 3).Public() },
		"log key": func(c *wire.DeviceCert) { c.LogKey = testKey(t, 3).Public() },
		"peer":    func(c *wire.DeviceCert) { c.Peer = []byte("other") },
		"name":    func(c *wire.DeviceCert) { c.Name = "other" },
		"issued":  func(c *wire.DeviceCert) { c.Issued++ },
		"expires": func(c *wire.DeviceCert) { c.Expires = 0 },
	} {
		c := d.Cert
		edit(&c)
		if _, err := VerifyDevice(wire.Signed{Payload: c.Encode(), Signature: d.Raw.Signature}); !errors.Is(err, ErrForged) {
			t.Errorf("forged %s: %v", what, err)
		}
	}
	for what, s := range map[string]wire.Signed{
		"another domain": user.Sign(wire.DomainGenesis, wire.GroupID{}, d.Raw.Payload),
		"a group":        user.Sign(wire.DomainDeviceCert, testGroup, d.Raw.Payload),
		"the log key":    log.Sign(wire.DomainDeviceCert, wire.GroupID{}, d.Raw.Payload),
		"nobody":         {Payload: d.Raw.Payload},
	} {
		if _, err := VerifyDevice(s); !errors.Is(err, ErrForged) {
			t.Errorf("signed in %s: %v", what, err)
		}
	}
	if _, err := Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: []byte("peer"), Name: "\x1b[2J"}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("certified a name that clears the screen: %v", err)
	}
}

// A certificate over somebody else's log key names another device.
func TestForeignLogKey(t *testing.T) {
	log := testKey(t, 2)
	if testDevice(t, testKey(t, 1), log).ID == testDevice(t, testKey(t, 3), log).ID {
		t.Error("two users have one device")
	}
}

func TestExpiry(t *testing.T) {
	user, log := testKey(t, 1), testKey(t, 2)
	d := testDevice(t, user, log)
	tests := []struct {
		expires uint64
		now     int64
		expired bool
	}{
		{2000, 1999, false},
		{2000, 2000, true},
		{2000, 1 << 40, true},
		{2000, -5, false},
		{0, 1 << 40, false},
		{1<<63 - 1, 1 << 40, false},
		{1 << 63, 1 << 40, false},
		{1<<64 - 1, 1 << 40, false},
	}
	for _, test := range tests {
		d.Cert.Expires = test.expires
		if err := d.CheckExpiry(time.Unix(test.now, 0)); errors.Is(err, ErrExpired) != test.expired {
			t.Errorf("expiry %d at %d: %v", test.expires, test.now, err)
		}
	}
}

func TestCredential(t *testing.T) {
	user, log, other := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	d := testDevice(t, user, log)
	leaf := testKey(t, 9).Public()
	credential := NewCredential(d, log, testGroup, 1, leaf, [32]byte{7})
	got, err := VerifyCredential(testGroup, 1, credential, leaf)
	if err != nil || got.ID != d.ID || got.User != d.User {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := VerifyCredential(wire.GroupID{9}, 1, credential, leaf); !errors.Is(err, ErrForged) {
		t.Errorf("another group: %v", err)
	}
	if _, err := VerifyCredential(testGroup, 2, credential, leaf); !errors.Is(err, ErrForged) {
		t.Errorf("another suite: %v", err)
	}
	if _, err := VerifyCredential(testGroup, 1, credential, other.Public()); !errors.Is(err, ErrForged) {
		t.Errorf("another leaf key: %v", err)
	}
	accepted := 0
	for i := range 8 * len(credential) {
		flipped := bytes.Clone(credential)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := VerifyCredential(testGroup, 1, flipped, leaf); err == nil {
			accepted++
		}
	}
	if accepted != 0 || len(credential) < 300 {
		t.Errorf("%d of %d flipped bits were accepted", accepted, 8*len(credential))
	}
	foreign := testDevice(t, other, log) // the same log key under another user
	mixed := func(cert wire.Signed, b wire.LeafBinding, by *Key) []byte {
		return (&wire.Credential{V: wire.Version, Cert: cert, Binding: by.Sign(wire.DomainLeaf, testGroup, b.Encode())}).Encode()
	}
	binding := wire.LeafBinding{V: wire.Version, Device: d.ID, Suite: 1, LeafKey: leaf}
	for what, c := range map[string][]byte{
		"the binding of another user's device": mixed(foreign.Raw, binding, log),
		"a binding by the user key":            mixed(d.Raw, binding, user),
		"a binding by a stranger":              mixed(d.Raw, binding, other),
		"a certificate by a stranger":          mixed(other.Sign(wire.DomainDeviceCert, wire.GroupID{}, d.Raw.Payload), binding, log),
	} {
		if _, err := VerifyCredential(testGroup, 1, c, leaf); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := VerifyCredential(testGroup, 1, nil, leaf); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("no credential: %v", err)
	}
}

func TestGenesis(t *testing.T) {
	user, log, other := testKey(t, 1), testKey(t, 2), testKey(t, 3)
	d := testDevice(t, user, log)
	now := time.UnixMilli(1767225600123)
	s, id, err := NewGenesis(bytes.NewReader(bytes.Repeat([]byte{7}, 32)), now, user, d, Founding{Suite: 1, Policy: wire.PolicyRequest})
	if err != nil {
		t.Fatal(err)
	}
	g, err := VerifyGenesis(s)
	if err != nil || g.ID != id || id != wire.GroupIDOf(s.Payload) || g.Device.ID != d.ID || g.Created != 1767225600123 || g.Policy != wire.PolicyRequest || g.Salt != [32]byte(bytes.Repeat([]byte{7}, 32)) {
		t.Errorf("%+v, %v", g, err)
	}
	for what, edit := range map[string]func(*wire.Genesis){
		"salt":    func(g *wire.Genesis) { g.Salt[0]++ },
		"suite":   func(g *wire.Genesis) { g.Suite++ },
		"time":    func(g *wire.Genesis) { g.Created++ },
		"policy":  func(g *wire.Genesis) { g.Policy = wire.PolicyOpen },
		"founder": func(g *wire.Genesis) { g.Founder = other.Public() },
		"device":  func(g *wire.Genesis) { g.Cert = testDevice(t, user, other).Raw },
	} {
		c := g.Genesis
		edit(&c)
		if _, err := VerifyGenesis(wire.Signed{Payload: c.Encode(), Signature: s.Signature}); !errors.Is(err, ErrForged) {
			t.Errorf("forged %s: %v", what, err)
		}
	}
	if _, _, err := NewGenesis(bytes.NewReader(make([]byte, 32)), now, other, d, Founding{Suite: 1, Policy: wire.PolicyOpen}); !errors.Is(err, ErrForged) {
		t.Errorf("founded with another user's device: %v", err)
	}
	if _, _, err := NewGenesis(bytes.NewReader(make([]byte, 32)), now, user, d, Founding{Suite: 1}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("founded without a policy: %v", err)
	}
	if _, _, err := NewGenesis(bytes.NewReader(nil), now, user, d, Founding{Suite: 1, Policy: wire.PolicyOpen}); err == nil {
		t.Error("founded without randomness")
	}
}

// small encodes the points of small order, in every encoding that crypto/ed25519 reads.
func small(t *testing.T) [][]byte {
	t.Helper()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	var all [][]byte
	for _, words := range smallOrder {
		y := new(big.Int)
		for i := 3; i >= 0; i-- {
			y.Lsh(y, 64).Or(y, new(big.Int).SetUint64(words[i]))
		}
		for y.BitLen() <= 255 {
			b := make([]byte, 32)
			for i, c := range y.Bytes() {
				b[(y.BitLen()+7)/8-1-i] = c
			}
			minus := bytes.Clone(b)
			minus[31] |= 0x80
			all = append(all, b, minus)
			y = new(big.Int).Add(y, p)
		}
	}
	return all
}

// Under a public key of small order a signature that nobody made fits: with S = 0
// and R = −[h]A, one of eight points, every eighth payload or so. crypto/ed25519
// accepts that; Verify must not.
func TestSmallOrderKeys(t *testing.T) {
	points := small(t)
	keys, fooled := 0, 0
	for _, public := range points {
		keys++
		found := false
		for n := range 64 {
			payload := []byte{byte(n)}
			for _, r := range points {
				s := wire.Signed{Payload: payload, Signature: append(bytes.Clone(r), make([]byte, 32)...)}
				if !ed25519.Verify(public, wire.SigningInput(wire.DomainEntry, testGroup, payload), s.Signature) {
					continue
				}
				found = true
				if err := Verify(public, wire.DomainEntry, testGroup, s); !errors.Is(err, ErrForged) {
					t.Errorf("key %x: accepted a signature that nobody made", public)
				}
			}
		}
		if found {
			fooled++
		}
	}
	if keys != 14 || fooled != keys {
		t.Errorf("%d keys, of which %d fool crypto/ed25519: the test does not test", keys, fooled)
	}
}

func TestVerify(t *testing.T) {
	k := testKey(t, 1)
	s := k.Sign(wire.DomainEntry, testGroup, []byte("payload"))
	if err := Verify(k.Public(), wire.DomainEntry, testGroup, s); err != nil {
		t.Fatal(err)
	}
	// S + L is another signature over the same payload: refused, so that a third
	// party cannot make a second one (RFC 8032, Section 8.4).
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	le := bytes.Clone(s.Signature[32:])
	for i, j := 0, 31; i < j; i, j = i+1, j-1 {
		le[i], le[j] = le[j], le[i]
	}
	sum := new(big.Int).Add(new(big.Int).SetBytes(le), l).FillBytes(make([]byte, 32))
	malleable := bytes.Clone(s.Signature[:32])
	for i := 31; i >= 0; i-- {
		malleable = append(malleable, sum[i])
	}
	for what, bad := range map[string]wire.Signed{
		"S + L":         {Payload: s.Payload, Signature: malleable},
		"short":         {Payload: s.Payload, Signature: s.Signature[:63]},
		"long":          {Payload: s.Payload, Signature: append(bytes.Clone(s.Signature), 0)},
		"none":          {Payload: s.Payload},
		"other payload": {Payload: []byte("payloae"), Signature: s.Signature},
	} {
		if err := Verify(k.Public(), wire.DomainEntry, testGroup, bad); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []int{0, 31, 33, 64} {
		if err := Verify(make([]byte, n), wire.DomainEntry, testGroup, s); !errors.Is(err, ErrForged) {
			t.Errorf("public key of %d bytes: %v", n, err)
		}
	}
	for b := 0xed; b <= 0xff; b++ { // y from p to 2^255 - 1: second encodings
		public := bytes.Repeat([]byte{0xff}, 32)
		public[0] = byte(b)
		if public[31] = 0x7f; validPublic(public) {
			t.Errorf("%x passes as a public key", public)
		}
	}
	for i := range 50 {
		if !validPublic(testKey(t, byte(i)).Public()) {
			t.Errorf("key %d is refused", i)
		}
	}
}

func TestKey(t *testing.T) {
	k, err := NewKey(bytes.NewReader(bytes.Repeat([]byte{5}, 32)))
	if err != nil || !bytes.Equal(k.Public(), testKey(t, 5).Public()) || !bytes.Equal(k.SecretSeed(), bytes.Repeat([]byte{5}, 32)) {
		t.Errorf("a key drawn from fives: %x, %v", k.Public(), err)
	}
	// RFC 8032, Section 7.1, test 1.
	seed, _ := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	k1, err := KeyFromSeed(seed)
	if err != nil || hex.EncodeToString(k1.Public()) != "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" {
		t.Errorf("public key %x, %v", k1.Public(), err)
	}
	if _, err := NewKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a key from 31 bytes")
	}
	if _, err := KeyFromSeed(make([]byte, 33)); err == nil {
		t.Error("a key from a seed of 33 bytes")
	}
	public, secret := k.Public(), *k.secret
	k.Wipe()
	k.Wipe()
	if *secret != [64]byte{} || k.SecretSeed() != nil || !bytes.Equal(k.Public(), public) {
		t.Error("a wiped key still holds its secret, or lost its public key")
	}
	if err := Verify(public, wire.DomainEntry, testGroup, k.Sign(wire.DomainEntry, testGroup, []byte("x"))); !errors.Is(err, ErrForged) {
		t.Errorf("a wiped key signs: %v", err)
	}
}

// TestWipeWhileSigning wipes a key that others sign with: what they get holds, or is empty. It
// is for the race detector.
func TestWipeWhileSigning(t *testing.T) {
	t.Parallel()
	k, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				s := k.Sign(wire.DomainEntry, testGroup, []byte("x"))
				if s.Signature != nil && Verify(k.Public(), wire.DomainEntry, testGroup, s) != nil {
					t.Error("half a key signs")
				}
				_ = k.SecretSeed()
			}
		})
	}
	k.Wipe()
	all.Wait()
}

func TestKeyDoesNotPrint(t *testing.T) {
	seed := []byte("a seed of thirty-two bytes, yes.")
	k, err := KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	//nolint:govet // the copy is the point: a Key must not print as a value either
	holder := struct {
		Exported Key
		hidden   Key
		pointer  *Key
		list     []Key
	}{*k, *k, k, []Key{*k}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d", "%t", "%p"} {
		for _, v := range []any{k, *k, []*Key{k}, map[string]*Key{"k": k}, holder, &holder, holder.hidden, holder.list, holder.pointer} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k, "v", *k, "h", &holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k, "v", *k, "h", &holder, "a", []any{k})
	b, err := json.Marshal([]any{k, *k, holder})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	out.Write(wire.Marshal(struct {
		K *Key `cbor:"1,keyasint"`
	}{k}))
	if strings.Count(out.String(), placeholder) < 50 {
		t.Errorf("too few placeholders in %s", out.String())
	}
	decimal := strings.Trim(fmt.Sprint(seed[:6]), "[]")
	for _, form := range []string{
		string(seed[:6]), hex.EncodeToString(seed[:6]), strings.ToUpper(hex.EncodeToString(seed[:6])), decimal,
		strings.ReplaceAll(decimal, " ", ","), strings.ReplaceAll(decimal, " ", ", "), "0x61, 0x20, 0x73", base64.StdEncoding.EncodeToString(seed[:6]),
	} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q shows the seed", form)
		}
	}
}
