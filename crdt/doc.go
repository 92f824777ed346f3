// Package crdt holds the four small replicated types that the rest of pandanode is built on:
//
//   - [HLC] and [Clock], a hybrid logical clock: wall-clock milliseconds that never fall behind their causes;
//   - [Vector], a version vector over hash-linked logs: how far each log is held, and which history that is;
//   - [LWW], a last-writer-wins register;
//   - [ORSet], an observed-remove set: an addition survives every removal that had not seen it.
//
// The merges of LWW and ORSet are joins of a semilattice: commutative, associative, idempotent, and a merge never
// goes below either side. So is that of Vector as long as every log has one history; where a log has forked,
// [Vector.Merge] reports it and takes neither side's word. The tests check each law and compare each type with an
// oracle that is too simple to be wrong.
//
// Everything here is a value in memory. The package reads no clock and no randomness, does no I/O, starts no
// goroutine, encodes nothing and checks no signature; nor does it bound what is put into it. Whoever merges what a
// peer sent first verifies it, refuses timestamps that are too far ahead ([HLC.Ahead]) and bounds its size. No type
// is safe for concurrent use.
package crdt
