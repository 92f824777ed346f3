// Package content holds what a message says: the container of draft-ietf-mimi-content-08, a
// strict decoder and an encoder for it, and the folding of messages into what people see.
//
// A container is an array of seven, in CBOR (RFC 8949). Decoding is strict: an encoding that
// is not the core deterministic one (Section 4.2.1) and whatever breaks a limit of this
// package are refused, so that what was accepted re-encodes to the same bytes. Extensions
// that this program does not know are kept and ignored.
//
// One thing differs from the draft: the fields that name messages hold our MessageIDs, which
// are unique by construction. DraftID computes the draft's own.
//
// Folding is a function of the set of messages: their order of arrival does not matter.
package content
