package crdt

import "bytes"

// LWW is a last-writer-wins register: the write with the highest (At, Tie) wins. The zero value has not been written
// to and loses against every write.
//
// Tie is a hash over all that makes up the write (a record's hash, say). Then equal (At,
// Tie) means equal Value, and the winner does not depend on the order of the merges. To win
// a tie on purpose, a writer has to search for a high hash.
type LWW[V any] struct {
	Value V
	At    HLC
	Tie   [32]byte
}

// Compare orders writes by At, then by Tie as a big-endian number.
func (r LWW[V]) Compare(o LWW[V]) int {
	if c := r.At.Compare(o.At); c != 0 {
		return c
	}
	return bytes.Compare(r.Tie[:], o.Tie[:])
}

// Merge returns the winner of the two. Neither operand changes.
func (r LWW[V]) Merge(o LWW[V]) LWW[V] {
	if r.Compare(o) < 0 {
		return o
	}
	return r
}
