package mls

import (
	"crypto/sha256"
	"encoding/binary"
)

// stream is a repeatable source of bytes for tests.
type stream struct {
	seed    [32]byte
	counter uint64
	left    []byte
}

func newStream(name string) *stream { return &stream{seed: sha256.Sum256([]byte(name))} }

func (s *stream) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(s.left) == 0 {
			block := sha256.Sum256(binary.BigEndian.AppendUint64(s.seed[:], s.counter))
			s.counter++
			s.left = block[:]
		}
		k := copy(p[n:], s.left)
		s.left = s.left[k:]
		n += k
	}
	return len(p), nil
}
