// Package engine is what a group machine needs of MLS, as an interface, and MLS (package
// mls) behind it.
//
// An [Epoch] is an immutable state with the message keys that its one owner uses up: Commit
// and Process give another Epoch or an error, never a change. So a fork is two calls on one
// value. A [ThinEpoch] is what is left of an epoch that opens no message any more and still
// follows late commits. Secrets pass as bytes that the engine made; the store seals them.
package engine
