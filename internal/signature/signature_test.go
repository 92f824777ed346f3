package signature

import (
	"bytes"
	"crypto/ed25519"
	"testing"
)

// TestVerify checks that what is remembered answers as crypto/ed25519 does, for a good
// signature and for each part of it changed, the first time and the second.
func TestVerify(t *testing.T) {
	secret := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	public, message := []byte(secret[32:]), []byte("said")
	good := ed25519.Sign(secret, message)
	cases := []struct {
		name                       string
		public, message, signature []byte
		want                       bool
	}{
		{"good", public, message, good, true},
		{"another key", other[32:], message, good, false},
		{"another message", public, []byte("sait"), good, false},
		{"a longer message", public, []byte("said "), good, false},
		{"no message", public, nil, good, false},
		{"another signature", public, message, ed25519.Sign(other, message), false},
		{"half a signature", public, message, good[:32], false},
		{"half a key", public[:16], message, good, false},
		{"neither", nil, nil, nil, false},
	}
	for _, remember := range []*memory{nil, {max: 1, good: map[digest]struct{}{}}, {max: 100, good: map[digest]struct{}{}}} {
		remembered.Store(remember)
		for range 2 {
			for _, c := range cases {
				if got := Verify(c.public, c.message, c.signature); got != c.want {
					t.Errorf("%s with %v: %v, want %v", c.name, remember, got, c.want)
				}
			}
		}
		if remember != nil && len(remember.good) != 1 {
			t.Errorf("%d signatures are remembered, want the good one", len(remember.good))
		}
	}
	remembered.Store(nil)
}

// TestRoom checks that a memory does not outgrow its bound.
func TestRoom(t *testing.T) {
	m := &memory{max: 10, good: make(map[digest]struct{})}
	for i := range 1000 {
		m.add(digest{byte(i), byte(i >> 8)})
		if len(m.good) > 10 || !m.has(digest{byte(i), byte(i >> 8)}) {
			t.Fatalf("after %d: %d are kept", i, len(m.good))
		}
	}
}
