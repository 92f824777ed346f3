// Package mls is an engine for the Messaging Layer Security protocol, RFC 9420.
//
// It does what the RFC defines: KeyPackages, the ratchet tree and TreeKEM, the key
// schedule, the secret tree, message framing, every proposal, commits, Welcomes,
// external commits and senders, groups that continue others, and the exporter, in the
// seven ciphersuites of the RFC and, where it is asked for, a hybrid post-quantum one
// ([XWing_CHACHA20POLY1305_SHA256_Ed25519]). It keeps no files, opens no sockets, reads
// no clock and has no randomness of its own: time and an [io.Reader] are arguments, so
// that a run with the same inputs gives the same bytes (with EdDSA suites; ECDSA is
// deterministic too). It decides nothing about who a credential stands for
// ([CredentialValidator] and [SameClient] are the caller's), which of two concurrent
// commits wins, or how messages travel.
//
// # State
//
// The state of a member is in two parts, because members of a group without a
// server commit concurrently, and because a key must never be used twice.
//
//   - An [Epoch] is immutable. [Epoch.Commit] and [Epoch.Process] give a new
//     Epoch and leave the old one as it was, so a fork is two calls on one
//     value. The ratchet tree is persistent: a child shares all but the nodes on
//     the changed paths. An Epoch is safe for concurrent use.
//   - [Ratchets] are the message keys of one epoch. They have one owner and are
//     never copied: using a key destroys it, and every change comes back as a
//     [Delta] of rows, to be stored before its result is used.
//
// After an error neither has changed. A program that follows one line of epochs can use a
// [Group], which has both parts behind one lock.
//
// # Storing
//
// [Epoch.MarshalSecret] gives an epoch in one piece. [Epoch.Snapshot] gives it as a head
// and pages of the public tree, which are named by their content and shared by epochs:
// the next epoch writes its head and the pages on the changed paths.
// [Epoch.MarkPages] finds the pages that are garbage. [Ratchets.Rows] and every Delta
// are rows of their own, so that a store can delete exactly the key that was used. Heads
// and rows are secret and meant to be sealed; the example of Snapshot is a whole store.
// A [ThinEpoch] follows later commits, and opens no message of its own epoch.
//
// # Cost
//
// With n members, a commit or its processing in a tree whose nodes are filled costs a
// number of key operations that grows with log n; no step looks at all members. These
// operations do look at all of them: joining, which verifies every signature; a commit in a
// tree with blank nodes, which seals to each of their members; a change of the
// GroupContext's extensions; and encoding the tree for a Welcome. Signatures and sealing
// run on all processors. BenchmarkTable prints the figures.
package mls
