// Package signature checks Ed25519 signatures, and may remember the good ones.
//
// A simulator runs many devices in one process, and each checks what all others sign: one
// signature is checked once a device. To check is a pure function, so that remembering its
// answers changes nothing but the time. A node checks each signature once and remembers none.
package signature

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// remembered are the signatures that were good, or nil where none are kept.
var remembered atomic.Pointer[memory]

// Remember keeps up to n good signatures of this process from now on, at about 100 bytes each.
// It is meant for processes with many devices. Bad signatures are checked each time.
func Remember(n int) {
	remembered.CompareAndSwap(nil, &memory{max: n, good: make(map[digest]struct{})})
}

// Verify says whether signature is one by public over message (RFC 8032, crypto/ed25519).
// A key of another size than 32 bytes has none.
func Verify(public, message, signature []byte) bool {
	if len(public) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize {
		return false
	}
	m := remembered.Load()
	if m == nil {
		return ed25519.Verify(public, message, signature)
	}
	d := digestOf(public, message, signature)
	if m.has(d) {
		return true
	}
	if !ed25519.Verify(public, message, signature) {
		return false
	}
	m.add(d)
	return true
}

// A digest names a key, a message and a signature. Its parts have fixed sizes but for the
// message, which comes last.
type digest [sha512.Size256]byte

func digestOf(public, message, signature []byte) digest {
	b := make([]byte, 0, ed25519.PublicKeySize+ed25519.SignatureSize+8+len(message))
	b = append(b, public...)
	b = append(b, signature...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(message)))
	return sha512.Sum512_256(append(b, message...))
}

type memory struct {
	max  int
	mu   sync.RWMutex
	good map[digest]struct{}
}

func (m *memory) has(d digest) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.good[d]
	return ok
}

// add keeps d. A memory that is full is emptied first.
func (m *memory) add(d digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.good) >= m.max {
		clear(m.good)
	}
	m.good[d] = struct{}{}
}
