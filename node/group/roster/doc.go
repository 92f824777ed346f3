// Package roster says who is in a group, with which role, from the operations in its logs
// alone: the rules of version 1 of the wire. Each operation is judged in the causal past
// that its author named; removal is strong and voids what its target did concurrently.
// A [Roster] never changes once it is resolved.
//
// Package authority has the rules of version 2, which close what these leave open.
package roster
