// Package crdt holds the two small replicated types that the rest of pandanode is built on:
//
//   - [HLC] and [Clock], a hybrid logical clock: wall-clock milliseconds that never fall
//     behind their causes;
//   - [LWW], a last-writer-wins register.
//
// The merge of LWW is the join of a semilattice: commutative, associative, idempotent, and
// a merge never goes below either side. The tests check each law.
//
// Everything here is a value in memory. The package reads no clock and no randomness, does
// no I/O, starts no goroutine, encodes nothing and checks no signature; nor does it bound
// the size of a value. A caller that merges what a peer sent verifies it first, and refuses
// timestamps that are too far ahead ([HLC.Ahead]). No type is safe for concurrent use.
package crdt
