package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Protocol IDs of libp2p streams.
const (
	ProtocolSync = "/panda/sync/1" // catch-up between members
	ProtocolJoin = "/panda/join/1" // a joiner asks a member
	ProtocolFind = "/panda/find/1" // anyone asks a provider which groups it knows
	ProtocolDHT  = "/panda"        // prefix of the DHT's protocol ID
)

// GroupInfo extension that carries JoinSecrets inside a Welcome; from the
// private-use range of RFC 9420, Section 17.3. Such a GroupInfo is never published.
const ExtensionJoinSecrets uint16 = 0xF0DA

// JoinSecrets is what a joiner needs besides the MLS state.
type JoinSecrets struct {
	Generation    uint64   `cbor:"1,keyasint"`
	TransportKeys [][]byte `cbor:"2,keyasint"` // 32 bytes each, the one to use first
}

// DecodeJoinSecrets reads the extension's data.
func DecodeJoinSecrets(b []byte) (*JoinSecrets, error) {
	j := new(JoinSecrets)
	if err := Unmarshal(b, j); err != nil {
		return nil, err
	}
	if len(j.TransportKeys) == 0 || len(j.TransportKeys) > 16 {
		return nil, fmt.Errorf("%w: %d transport keys", ErrMalformed, len(j.TransportKeys))
	}
	for _, k := range j.TransportKeys {
		if len(k) != 32 {
			return nil, fmt.Errorf("%w: transport key of %d bytes", ErrMalformed, len(k))
		}
	}
	return j, nil
}

// A frame on a stream is a u32 big-endian length and that many bytes of CBOR.

// WriteFrame writes the encoding of v as one frame.
func WriteFrame(w io.Writer, v any) error {
	b := Marshal(v)
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, at most %d", ErrTooLarge, len(b), MaxFrame)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)) //nolint:gosec // bounded by MaxFrame
	return err
}

// ReadFrame reads one frame into v. A claimed length costs nothing until the
// bytes have arrived. The end of the stream before a frame is io.EOF.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, at most %d", ErrTooLarge, n, MaxFrame)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(b) < int(n) {
		return fmt.Errorf("%w: frame cut short: %w", ErrMalformed, errors.Join(io.ErrUnexpectedEOF))
	}
	return Unmarshal(b, v)
}

// SyncHello opens a sync stream, in both directions: which group, and a nonce.
// A node that does not have the group answers just the same.
type SyncHello struct {
	V     uint64   `cbor:"1,keyasint"`
	Topic Hash     `cbor:"2,keyasint"` // HashOf(DomainTopic, group)
	Nonce [32]byte `cbor:"3,keyasint"`
}

// SyncProof shows, after both hellos, that its sender may have the group's log.
// MAC = HMAC-SHA-256(transport key, "panda/sync/1" ‖ 0 ‖ group ‖ role ‖ opener's
// nonce ‖ answerer's nonce ‖ opener's peer ID ‖ answerer's peer ID), where role is
// 1 from the opener and 2 from the answerer and each peer ID is preceded by its
// length as u64. The answerer sends its proof only after it has checked the opener's.
type SyncProof struct {
	Cert Signed   `cbor:"1,keyasint"` // DeviceCert whose peer ID is the stream's remote
	Key  KeyID    `cbor:"2,keyasint"`
	MAC  [32]byte `cbor:"3,keyasint"`
}

// SyncMessage is what follows the proofs; exactly one field is set. Each side
// sends its Vector first, then whatever the other lacks, then Done. Wants may
// come at any time and are answered before Done is.
type SyncMessage struct {
	Vector  *SyncVector `cbor:"1,keyasint,omitempty"`
	Entries [][]byte    `cbor:"2,keyasint,omitempty"` // encoded Signed, causal order
	Want    *SyncWant   `cbor:"3,keyasint,omitempty"`
	Seals   [][]byte    `cbor:"4,keyasint,omitempty"`
	Tree    *SyncTree   `cbor:"5,keyasint,omitempty"`
	Done    *SyncDone   `cbor:"6,keyasint,omitempty"`
}

// SyncVector is a version vector, ascending by log.
type SyncVector struct {
	Marks []Mark `cbor:"1,keyasint"`
}

// SyncWant asks for seals of messages and for ratchet trees.
type SyncWant struct {
	Messages []MessageID `cbor:"1,keyasint"`
	Trees    []EpochID   `cbor:"2,keyasint"`
}

// SyncTree is a part of a ratchet tree (the ratchet_tree extension's data).
type SyncTree struct {
	Epoch EpochID `cbor:"1,keyasint"`
	Total uint64  `cbor:"2,keyasint"` // bytes, at most MaxTree
	At    uint64  `cbor:"3,keyasint"` // offset of Part
	Part  []byte  `cbor:"4,keyasint"`
}

// SyncDone ends a side's answer to the other's vector (Wants 0) or to its n-th Want.
type SyncDone struct {
	Wants uint64 `cbor:"1,keyasint"`
}

// JoinRequest asks a member to be added. The KeyPackage's credential says who asks.
type JoinRequest struct {
	V          uint64  `cbor:"1,keyasint"`
	Group      GroupID `cbor:"2,keyasint"`
	Cert       Signed  `cbor:"3,keyasint"` // DeviceCert; its peer ID is the stream's remote
	KeyPackage []byte  `cbor:"4,keyasint"`
	Invite     *Signed `cbor:"5,keyasint,omitempty"`
}

func (j *JoinRequest) version() uint64 { return j.V }

// DecodeJoinRequest reads a request.
func DecodeJoinRequest(b []byte) (*JoinRequest, error) {
	j := new(JoinRequest)
	return j, decodeVersioned(b, MaxKeyPackage+4*MaxDeviceCert, j)
}

// JoinStage says how far a request has come.
type JoinStage uint64

// Stages that a member reports.
const (
	JoinWaiting  JoinStage = 1 // accepted; the commit is being made, or waits for an admin
	JoinWelcomed JoinStage = 2 // Welcome is there; the tree follows in SyncTree frames
	JoinDenied   JoinStage = 3 // Reason says why
)

// JoinReply answers a request; several may follow each other, until Welcomed or Denied.
type JoinReply struct {
	Stage   JoinStage `cbor:"1,keyasint"`
	Reason  string    `cbor:"2,keyasint,omitempty"`
	Welcome []byte    `cbor:"3,keyasint,omitempty"`
	Epoch   EpochID   `cbor:"4,keyasint,omitempty"`
	Genesis *Signed   `cbor:"5,keyasint,omitempty"`
}

// FindRequest asks a provider which of its public groups fit.
type FindRequest struct {
	V     uint64 `cbor:"1,keyasint"`
	Name  string `cbor:"2,keyasint"` // words that the name must contain, normalised by the answerer
	Limit uint64 `cbor:"3,keyasint"`
}

// FindReply is one group of an answer, as PublicInfo bytes; the stream's end ends the answer.
type FindReply struct {
	PublicInfo []byte `cbor:"1,keyasint"`
}
