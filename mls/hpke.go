package mls

import (
	"crypto/ecdh"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/math/fp25519"
	"github.com/cloudflare/circl/math/fp448"
)

// HPKE, RFC 9180, base mode, single shot: what MLS needs and no context that
// outlives a call.

// kem is a key encapsulation mechanism. Randomness comes in as ikm, so that the
// caller decides the order in which it is drawn.
type kem interface {
	id() uint16
	seedSize() int  // of the ikm of a key pair
	encapSize() int // of the ikm of an encapsulation
	privateSize() int
	publicSize() int
	// checkPublic refuses a public key that nothing can be sealed to: RFC 9180, Section
	// 7.1.4. A member's would keep all others from committing.
	checkPublic(public []byte) error
	// deriveKeyPair is DeriveKeyPair of RFC 9180, Section 7.1.3.
	deriveKeyPair(ikm []byte) (private secret, public []byte, err error)
	public(private []byte) ([]byte, error)
	encap(ikm, public []byte) (shared secret, enc []byte, err error)
	decap(private secret, public, enc []byte) (shared secret, err error)
}

// group is a Diffie-Hellman group as DHKEM (RFC 9180, Section 4.1) uses it.
type group interface {
	// keyFrom gives the private key for the labeled output dkp_prk, expanding with expand.
	keyFrom(expand func(label string, info []byte, n int) []byte) ([]byte, error)
	public(private []byte) ([]byte, error)
	valid(public []byte) bool // of a key of the right length
	exchange(private, public []byte) ([]byte, error)
}

type dhkem struct {
	kemID    uint16
	hash     *digest
	nsecret  int
	nsk, npk int
	group    group
}

var (
	kemP256   = &dhkem{0x0010, sha2x256, 32, 32, 65, nist{ecdh.P256(), 32, 0xff}}
	kemP384   = &dhkem{0x0011, sha2x384, 48, 48, 97, nist{ecdh.P384(), 48, 0xff}}
	kemP521   = &dhkem{0x0012, sha2x512, 64, 66, 133, nist{ecdh.P521(), 66, 0x01}}
	kemX25519 = &dhkem{0x0020, sha2x256, 32, 32, 32, groupX25519{}}
	kemX448   = &dhkem{0x0021, sha2x512, 64, 56, 56, groupX448{}}
)

func (k *dhkem) id() uint16       { return k.kemID }
func (k *dhkem) seedSize() int    { return k.nsk }
func (k *dhkem) encapSize() int   { return k.nsk }
func (k *dhkem) privateSize() int { return k.nsk }
func (k *dhkem) publicSize() int  { return k.npk }

func (k *dhkem) suiteID() []byte { return []byte{'K', 'E', 'M', byte(k.kemID >> 8), byte(k.kemID)} }

func (k *dhkem) deriveKeyPair(ikm []byte) (secret, []byte, error) {
	id := k.suiteID()
	prk := labeledExtract(k.hash, id, nil, "dkp_prk", ikm)
	private, err := k.group.keyFrom(func(label string, info []byte, n int) []byte {
		return labeledExpand(k.hash, id, prk, label, info, n)
	})
	clear(prk)
	if err != nil {
		return secret{}, nil, err
	}
	public, err := k.group.public(private)
	return newSecret(private), public, err
}

func (k *dhkem) public(private []byte) ([]byte, error) {
	if len(private) != k.nsk {
		return nil, fmt.Errorf("%w: HPKE private key of %d bytes", ErrMalformed, len(private))
	}
	return k.group.public(private)
}

func (k *dhkem) checkPublic(public []byte) error {
	if len(public) != k.npk {
		return fmt.Errorf("%w: HPKE public key of %d bytes", ErrInvalid, len(public))
	}
	if !k.group.valid(public) {
		return fmt.Errorf("%w: HPKE public key that nothing can be sealed to", ErrInvalid)
	}
	return nil
}

func (k *dhkem) encap(ikm, public []byte) (secret, []byte, error) {
	if len(public) != k.npk {
		return secret{}, nil, fmt.Errorf("%w: HPKE public key of %d bytes", ErrMalformed, len(public))
	}
	eph, enc, err := k.deriveKeyPair(ikm)
	if err != nil {
		return secret{}, nil, err
	}
	defer eph.wipe()
	dh, err := k.group.exchange(eph.bytes(), public)
	if err != nil {
		return secret{}, nil, err
	}
	return k.extractAndExpand(dh, enc, public), enc, nil
}

func (k *dhkem) decap(private secret, public, enc []byte) (secret, error) {
	if len(enc) != k.npk {
		return secret{}, fmt.Errorf("%w: encapsulated key of %d bytes", ErrMalformed, len(enc))
	}
	if len(private.bytes()) != k.nsk {
		return secret{}, fmt.Errorf("%w: HPKE private key of %d bytes", ErrMalformed, len(private.bytes()))
	}
	dh, err := k.group.exchange(private.bytes(), enc)
	if err != nil {
		return secret{}, err
	}
	return k.extractAndExpand(dh, enc, public), nil
}

func (k *dhkem) extractAndExpand(dh, enc, public []byte) secret {
	id := k.suiteID()
	prk := labeledExtract(k.hash, id, nil, "eae_prk", dh)
	context := append(append(make([]byte, 0, len(enc)+len(public)), enc...), public...)
	out := labeledExpand(k.hash, id, prk, "shared_secret", context, k.nsecret)
	clear(dh)
	clear(prk)
	return newSecret(out)
}

// labeledExtract and labeledExpand are RFC 9180, Section 4.
func labeledExtract(d *digest, suiteID, salt []byte, label string, ikm []byte) []byte {
	var buf [64]byte
	b := append(append(append(buf[:0], hpkeVersion...), suiteID...), label...)
	return d.appendHMAC(make([]byte, 0, d.size), salt, b, ikm, nil)
}

func labeledExpand(d *digest, suiteID, prk []byte, label string, info []byte, n int) []byte {
	var buf [320]byte
	b := append(buf[:0], byte(n>>8), byte(n))
	b = append(append(append(append(b, hpkeVersion...), suiteID...), label...), info...)
	return d.expand(prk, b, n)
}

const hpkeVersion = "HPKE-v1"

type groupX25519 struct{}

func (groupX25519) keyFrom(expand func(string, []byte, int) []byte) ([]byte, error) {
	return expand("sk", nil, x25519.Size), nil
}

func (groupX25519) public(private []byte) ([]byte, error) {
	var sk, pk x25519.Key
	copy(sk[:], private)
	x25519.KeyGen(&pk, &sk)
	clear(sk[:])
	return pk[:], nil
}

func (groupX25519) valid(public []byte) bool {
	var u fp25519.Elt
	copy(u[:], public)
	u[fp25519.Size-1] &= 0x7f // RFC 7748, Section 5
	fp25519.Modp(&u)
	return !slices.Contains(lowOrderX25519[:], u)
}

// lowOrderX25519 are the u-coordinates that every private key takes to zero.
var lowOrderX25519 = [...]fp25519.Elt{
	{},
	{1},
	{
		0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
	},
	{
		0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
	},
	{
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
}

func (groupX25519) exchange(private, public []byte) ([]byte, error) {
	var sk, pk, out x25519.Key
	copy(sk[:], private)
	copy(pk[:], public)
	ok := x25519.Shared(&out, &sk, &pk)
	clear(sk[:])
	if !ok {
		return nil, fmt.Errorf("%w: X25519 public key of low order", ErrInvalid)
	}
	return out[:], nil
}

type groupX448 struct{}

func (groupX448) keyFrom(expand func(string, []byte, int) []byte) ([]byte, error) {
	return expand("sk", nil, x448.Size), nil
}

func (groupX448) public(private []byte) ([]byte, error) {
	var sk, pk x448.Key
	copy(sk[:], private)
	x448.KeyGen(&pk, &sk)
	clear(sk[:])
	return pk[:], nil
}

func (groupX448) valid(public []byte) bool {
	var u, minusOne fp448.Elt
	copy(u[:], public)
	fp448.Modp(&u)
	one := fp448.Elt{1}
	fp448.Neg(&minusOne, &one)
	fp448.Modp(&minusOne)
	return u != fp448.Elt{} && u != one && u != minusOne
}

func (groupX448) exchange(private, public []byte) ([]byte, error) {
	var sk, pk, out x448.Key
	copy(sk[:], private)
	copy(pk[:], public)
	ok := x448.Shared(&out, &sk, &pk)
	clear(sk[:])
	if !ok {
		return nil, fmt.Errorf("%w: X448 public key of low order", ErrInvalid)
	}
	return out[:], nil
}

type nist struct {
	curve ecdh.Curve
	size  int
	mask  byte // of the first octet of a candidate
}

func (g nist) keyFrom(expand func(string, []byte, int) []byte) ([]byte, error) {
	for counter := range 256 {
		candidate := expand("candidate", []byte{byte(counter)}, g.size)
		candidate[0] &= g.mask
		if _, err := g.curve.NewPrivateKey(candidate); err == nil {
			return candidate, nil
		}
	}
	return nil, fmt.Errorf("%w: DeriveKeyPair found no scalar", ErrInvalid)
}

func (g nist) public(private []byte) ([]byte, error) {
	k, err := g.curve.NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: private key: %w", ErrMalformed, err)
	}
	return k.PublicKey().Bytes(), nil
}

func (g nist) valid(public []byte) bool {
	_, err := g.curve.NewPublicKey(public)
	return err == nil
}

func (g nist) exchange(private, public []byte) ([]byte, error) {
	sk, err := g.curve.NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: private key: %w", ErrMalformed, err)
	}
	pk, err := g.curve.NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %w", ErrInvalid, err)
	}
	return sk.ECDH(pk)
}

// hpkeCiphertext is HPKECiphertext of RFC 9420, Section 7.6.
type hpkeCiphertext struct{ kemOutput, ciphertext []byte }

func (c hpkeCiphertext) encode(w *writer) {
	w.vec(c.kemOutput)
	w.vec(c.ciphertext)
}

func readHPKECiphertext(r *reader) hpkeCiphertext {
	return hpkeCiphertext{kemOutput: r.vec(), ciphertext: r.vec()}
}

func (s *suite) hpkeID() []byte {
	k := s.kem.id()
	return []byte{
		'H', 'P', 'K', 'E', byte(k >> 8), byte(k), byte(s.kdf >> 8), byte(s.kdf),
		byte(s.aead.id >> 8), byte(s.aead.id),
	}
}

// hpkeInfo is what the key schedule of RFC 9180, Section 5.1, in base mode, takes
// from the info string: it is the same for all recipients of one commit.
type hpkeInfo struct {
	id      []byte
	context []byte
}

func (s *suite) hpkeInfo(info []byte) hpkeInfo {
	id := s.hpkeID()
	context := make([]byte, 1, 1+2*s.hash.size)
	context = append(context, labeledExtract(s.hash, id, nil, "psk_id_hash", nil)...)
	context = append(context, labeledExtract(s.hash, id, nil, "info_hash", info)...)
	return hpkeInfo{id, context}
}

// labelInfo is the info of EncryptWithLabel, RFC 9420, Section 5.1.3.
func (s *suite) labelInfo(label string, context []byte) hpkeInfo {
	return s.hpkeInfo(signContent(label, context))
}

// hpkeKey is the rest of the key schedule, less the exporter.
func (s *suite) hpkeKey(shared secret, i hpkeInfo) (key, nonce []byte) {
	prk := labeledExtract(s.hash, i.id, shared.bytes(), "secret", nil)
	key = labeledExpand(s.hash, i.id, prk, "key", i.context, s.aead.nk)
	nonce = labeledExpand(s.hash, i.id, prk, "base_nonce", i.context, s.aead.nn)
	clear(prk)
	return key, nonce
}

// hpkeSeal is SealBase of RFC 9180, Section 6.1; ikm is the randomness of the
// encapsulation, encapSize bytes.
func (s *suite) hpkeSeal(ikm, public []byte, info hpkeInfo, aad, plaintext []byte) (hpkeCiphertext, error) {
	shared, enc, err := s.kem.encap(ikm, public)
	if err != nil {
		return hpkeCiphertext{}, err
	}
	defer shared.wipe()
	key, nonce := s.hpkeKey(shared, info)
	ct, err := s.sealKeyed(key, nonce, aad, plaintext)
	clear(key)
	return hpkeCiphertext{kemOutput: enc, ciphertext: ct}, err
}

func (s *suite) hpkeOpen(private secret, public []byte, info hpkeInfo, aad []byte, c hpkeCiphertext) ([]byte, error) {
	shared, err := s.kem.decap(private, public, c.kemOutput)
	if err != nil {
		return nil, err
	}
	defer shared.wipe()
	key, nonce := s.hpkeKey(shared, info)
	defer clear(key)
	return s.openKeyed(key, nonce, aad, c.ciphertext)
}

// HPKESeal is SealBase of RFC 9180, Section 6.1, with the KEM, KDF and AEAD of a cipher
// suite: it encrypts to a public key, with 32 bytes or more of rand. enc is the encapsulated
// key. ErrInvalid: nothing can be sealed to the public key.
func (c CipherSuite) HPKESeal(rand io.Reader, public, info, aad, plaintext []byte) (enc, ciphertext []byte, err error) {
	s, err := c.lookup()
	if err != nil {
		return nil, nil, err
	}
	ikm, err := draw(rand, s.kem.encapSize())
	if err != nil {
		return nil, nil, err
	}
	defer clear(ikm)
	sealed, err := s.hpkeSeal(ikm, public, s.hpkeInfo(info), aad, plaintext)
	return sealed.kemOutput, sealed.ciphertext, err
}

// HPKEOpen is OpenBase of RFC 9180, Section 6.1: it decrypts what HPKESeal made.
func (c CipherSuite) HPKEOpen(private, enc, info, aad, ciphertext []byte) ([]byte, error) {
	s, err := c.lookup()
	if err != nil {
		return nil, err
	}
	public, err := s.kem.public(private)
	if err != nil {
		return nil, err
	}
	sk := newSecret(slices.Clone(private))
	defer sk.wipe()
	return s.hpkeOpen(sk, public, s.hpkeInfo(info), aad, hpkeCiphertext{kemOutput: enc, ciphertext: ciphertext})
}

// hpkeExport is the exporter of RFC 9180, Section 5.3, for a context that was set up
// from shared.
func (s *suite) hpkeExport(shared secret, info, context []byte, length int) secret {
	i := s.hpkeInfo(info)
	prk := labeledExtract(s.hash, i.id, shared.bytes(), "secret", nil)
	exporter := labeledExpand(s.hash, i.id, prk, "exp", i.context, s.nh)
	defer clear(exporter)
	clear(prk)
	return newSecret(labeledExpand(s.hash, i.id, exporter, "sec", context, length))
}

// encryptWithLabel is RFC 9420, Section 5.1.3.
func (s *suite) encryptWithLabel(ikm, public []byte, label string, context, plaintext []byte) (hpkeCiphertext, error) {
	return s.hpkeSeal(ikm, public, s.labelInfo(label, context), nil, plaintext)
}

func (s *suite) decryptWithLabel(private secret, public []byte, label string, context []byte, c hpkeCiphertext) ([]byte, error) {
	return s.hpkeOpen(private, public, s.labelInfo(label, context), nil, c)
}

// drawKeyPair draws a key pair and wipes what it was drawn from.
func (s *suite) drawKeyPair(rand io.Reader) (private secret, public []byte, err error) {
	ikm, err := draw(rand, s.kem.seedSize())
	if err != nil {
		return secret{}, nil, err
	}
	defer clear(ikm)
	return s.kem.deriveKeyPair(ikm)
}

// draw reads n bytes of randomness.
func draw(rand io.Reader, n int) ([]byte, error) {
	if rand == nil {
		return nil, fmt.Errorf("%w: no randomness given", ErrUsage)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("mls: draw randomness: %w", err)
	}
	return b, nil
}
