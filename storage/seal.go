package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// A store seals many millions of records under one data key, also after it was restored, copied or crashed. Random
// 96-bit nonces would bound that to 2^32 and leave a chance of 2^-32 that two are equal, which with GCM gives the
// authentication key away; a counter would have to survive every crash and every restored copy. XAES-256-GCM
// (C2SP, https://c2sp.org/XAES-256-GCM) derives a key per record from a random 192-bit nonce with two AES calls: 2^80
// records for the same chance, nothing to remember, and still AES-256-GCM underneath.
const (
	nonceSize = 24
	tagSize   = 16
)

// opaque keeps a type that embeds it from being printed. A type that points to a secret
// needs it as well: for a wrong verb, fmt follows pointers in unexported fields without
// calling their methods.
type opaque struct{}

// Format prints a placeholder, whatever the verb.
func (opaque) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// LogValue is the same placeholder.
func (opaque) LogValue() slog.Value { return slog.StringValue("[secret]") }

// secret is 32 bytes that are never printed.
type secret struct {
	opaque
	b [32]byte
}

func newSecret() *secret {
	s := new(secret)
	_, _ = rand.Read(s.b[:]) // never fails: it crashes the program rather than return
	return s
}

func (s *secret) wipe() { clear(s.b[:]) }

// sealer is XAES-256-GCM under one key.
type sealer struct {
	opaque
	block cipher.Block
	k1    [aes.BlockSize]byte // the CMAC subkey of NIST SP 800-38B
}

func newSealer(key *secret) *sealer {
	s := &sealer{block: mustAES(key)}
	s.block.Encrypt(s.k1[:], s.k1[:])
	var carry byte
	for i := len(s.k1) - 1; i >= 0; i-- {
		s.k1[i], carry = s.k1[i]<<1|carry, s.k1[i]>>7
	}
	s.k1[len(s.k1)-1] ^= carry * 0b10000111
	return s
}

func mustAES(key *secret) cipher.Block {
	block, err := aes.NewCipher(key.b[:])
	if err != nil {
		panic("storage: " + err.Error()) // only for a key of another length
	}
	return block
}

// aead returns AES-256-GCM under the key that the first half of a nonce derives.
func (s *sealer) aead(half []byte) cipher.AEAD {
	var key secret
	defer key.wipe()
	for i := range 2 {
		b := key.b[i*aes.BlockSize:][:aes.BlockSize]
		copy(b, []byte{0, byte(i + 1), 'X', 0})
		copy(b[4:], half)
		subtle.XORBytes(b, b, s.k1[:])
		s.block.Encrypt(b, b)
	}
	aead, err := cipher.NewGCM(mustAES(&key))
	if err != nil {
		panic("storage: " + err.Error()) // only for another block size
	}
	return aead
}

// seal appends nonce, ciphertext and tag to dst.
func (s *sealer) seal(dst, plaintext, ad []byte) []byte {
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	return s.aead(nonce[:12]).Seal(append(dst, nonce[:]...), nonce[12:], plaintext, ad)
}

var errOpen = errors.New("does not authenticate")

// open returns the plaintext of what seal appended, in a new slice that is never nil
// without an error.
func (s *sealer) open(sealed, ad []byte) ([]byte, error) {
	if len(sealed) < nonceSize+tagSize {
		return nil, errOpen
	}
	nonce, box := sealed[:nonceSize], sealed[nonceSize:]
	plaintext, err := s.aead(nonce[:12]).Open(make([]byte, 0, len(box)-tagSize), nonce[12:], box, ad)
	if err != nil {
		return nil, errOpen
	}
	return plaintext, nil
}
