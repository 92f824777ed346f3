// Package mls is an engine for the Messaging Layer Security protocol, RFC 9420.
//
// It does what the RFC defines and no more: KeyPackages, the ratchet tree and
// TreeKEM, the key schedule, the secret tree, message framing, proposals,
// commits, Welcomes and the exporter. It keeps no files, opens no sockets, reads
// no clock and has no randomness of its own: time and an [io.Reader] are
// arguments, so that a run with the same inputs gives the same bytes. It decides
// nothing about who a credential stands for ([CredentialValidator] is the
// caller's), which of two concurrent commits wins, or how messages travel.
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
// After an error neither has changed. [Epoch.MarshalSecret] and [Ratchets.Rows]
// give what has to be stored; both hold secrets and are meant to be sealed. A
// later "thin" form of an Epoch, which can process child commits but cannot open
// messages of its own epoch, is a matter of leaving secrets out of that snapshot.
package mls
