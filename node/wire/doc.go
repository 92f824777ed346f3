// Package wire holds the encoding of everything that pandanode puts on the
// network or into a log: entries, seals, envelopes, stream frames and the
// public record of a group, with their limits and domain strings.
//
// Objects are CBOR in the core deterministic encoding of RFC 8949, Section 4.2.1, as maps
// with integer keys. Decoding is strict: an encoding that is not the deterministic one, an
// unknown field, a duplicate key or a trailing byte is refused, so that what was accepted
// re-encodes to the same bytes. Signatures and hashes are always over the exact bytes that
// arrived, never over a re-encoding. docs/WIRE.md states the format and its golden bytes.
//
// The package does not verify signatures of people (node/identity does), decide
// anything (node/group does) or do I/O.
package wire
