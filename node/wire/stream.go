package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Protocol IDs of libp2p streams.
const (
	ProtocolSync = "/panda/sync/2"    // catch-up between members
	ProtocolJoin = "/panda/join/2"    // a joiner asks a member
	ProtocolFind = "/panda/find/2"    // anyone asks a provider which groups it knows
	ProtocolMail = "/panda/mailbox/2" // a member and a mailbox
	ProtocolTwin = "/panda/twin/2"    // anyone asks a peer that is connected twice whether it runs twice
	ProtocolHand = "/panda/hand/2"    // a member hands another one a small envelope
	ProtocolBlob = "/panda/blob/1"    // a member asks another one for files
	ProtocolDHT  = "/panda"           // prefix of the DHT's protocol ID

	ProtocolMailBlob = "/panda/mailblob/1" // a member and a mailbox, about files
)

// Protocols lists the protocols of streams that are this project's own, without the DHT's.
var Protocols = []string{ProtocolSync, ProtocolJoin, ProtocolFind, ProtocolMail, ProtocolMailBlob, ProtocolTwin, ProtocolHand, ProtocolBlob}

// ExtensionJoinSecrets is the GroupInfo extension that carries JoinSecrets inside a Welcome; from the
// private-use range of RFC 9420, Section 17.3. Such a GroupInfo is never published.
const ExtensionJoinSecrets uint16 = 0xF0DA

// JoinSecrets is what a joiner needs besides the MLS state. It prints as a placeholder.
type JoinSecrets struct {
	Root          EpochID  `cbor:"1,keyasint"` // that the epoch's keys descend from: see EpochIDOf
	TransportKeys [][]byte `cbor:"2,keyasint"` // 32 bytes each, the one to use first
}

// DecodeJoinSecrets reads the extension's data.
func DecodeJoinSecrets(b []byte) (*JoinSecrets, error) {
	return decode[JoinSecrets](b, MaxJoinSecrets)
}

func (j *JoinSecrets) validate() error {
	if len(j.TransportKeys) == 0 || len(j.TransportKeys) > MaxHandedKeys {
		return fmt.Errorf("%w: %d transport keys", ErrMalformed, len(j.TransportKeys))
	}
	for _, k := range j.TransportKeys {
		if err := checkTransportKey(k); err != nil {
			return err
		}
	}
	return nil
}

const secretPlaceholder = "[join secrets]"

// Format, LogValue and MarshalText keep the keys out of logs.
func (JoinSecrets) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, secretPlaceholder) }
func (JoinSecrets) LogValue() slog.Value         { return slog.StringValue(secretPlaceholder) }
func (JoinSecrets) MarshalText() ([]byte, error) { return []byte(secretPlaceholder), nil }

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

// ReadFrame reads one frame into v, under the rules of Unmarshal. A claimed
// length costs nothing until the bytes have arrived. The end of the stream before
// a frame is io.EOF, within one ErrMalformed; other errors are the reader's.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: frame cut short: %w", ErrMalformed, err)
		}
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
		return fmt.Errorf("%w: frame cut short: %w", ErrMalformed, io.ErrUnexpectedEOF)
	}
	return Unmarshal(b, v)
}

// SyncHello opens a sync stream, in both directions: it names the group and has a nonce. A
// node that does not have the group answers in the same way.
type SyncHello struct {
	V     uint64   `cbor:"1,keyasint"`
	Topic Hash     `cbor:"2,keyasint"` // HashOf(DomainTopic, group)
	Nonce [32]byte `cbor:"3,keyasint"`
	Now   uint64   `cbor:"4,keyasint"` // by its sender's clock: milliseconds since 1970
}

func (h *SyncHello) version() uint64 { return h.V }

// SyncProof shows, after both hellos, that its sender may have the group's log.
// MAC = HMAC-SHA-256(transport key, "panda/sync/1" ‖ 0 ‖ group ‖ role ‖ opener's
// nonce ‖ answerer's nonce ‖ opener's peer ID ‖ answerer's peer ID), where role is
// 1 from the opener and 2 from the answerer and each peer ID is preceded by its
// length as u64. The answerer sends its proof only after it has checked the opener's.
type SyncProof struct {
	Cert Signed   `cbor:"1,keyasint"` // DeviceCert whose peer ID is the stream's remote
	Key  KeyID    `cbor:"2,keyasint"`
	MAC  [32]byte `cbor:"3,keyasint"`
	Told Hash     `cbor:"4,keyasint"` // hash of the marks that its sender is about to tell; zeros: it tells none
}

func (p *SyncProof) validate() error { return p.Cert.validate() }

// SyncMessage is a frame after the proofs; exactly one field is set. Each side sends its
// Vector first, then the entries that the other lacks, then Done. Wants may come at any
// time and are answered before Done is.
type SyncMessage struct {
	Vector  *SyncVector `cbor:"1,keyasint,omitempty"`
	Entries [][]byte    `cbor:"2,keyasint,omitempty"` // encoded Signed, causal order
	Want    *SyncWant   `cbor:"3,keyasint,omitempty"`
	Seals   [][]byte    `cbor:"4,keyasint,omitempty"`
	Tree    *SyncTree   `cbor:"5,keyasint,omitempty"`
	Done    *SyncDone   `cbor:"6,keyasint,omitempty"`
	Earlier []Earlier   `cbor:"7,keyasint,omitempty"`
}

func (m *SyncMessage) validate() error {
	set := 0
	for _, has := range []bool{m.Vector != nil, len(m.Entries) > 0, m.Want != nil, len(m.Seals) > 0, m.Tree != nil, m.Done != nil, len(m.Earlier) > 0} {
		if has {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: sync message with %d fields, not one", ErrMalformed, set)
	case m.Vector != nil:
		return m.Vector.validate()
	case m.Want != nil:
		return m.Want.validate()
	case m.Tree != nil:
		return m.Tree.validate()
	}
	for _, e := range m.Earlier {
		if err := e.validate(); err != nil {
			return err
		}
	}
	return nil
}

// Earlier is a message from before its receiver came in, as its RECORD commits to it.
type Earlier struct {
	Message MessageID `cbor:"1,keyasint"`
	Opened  []byte    `cbor:"2,keyasint"` // encoded Opened
}

func (e *Earlier) validate() error {
	if len(e.Opened) == 0 || len(e.Opened) > MaxOpened {
		return fmt.Errorf("%w: earlier message of %d bytes, 1 to %d", ErrTooLarge, len(e.Opened), MaxOpened)
	}
	return nil
}

// SyncVector is a version vector, ascending by log, with the records in it that its sender
// cannot read (the oldest of them, if there are too many).
type SyncVector struct {
	Marks  Marks       `cbor:"1,keyasint"`
	Lacks  []MessageID `cbor:"2,keyasint,omitempty"` // ascending
	Rejoin *Signed     `cbor:"3,keyasint,omitempty"` // Rejoin: it asks to be added again

	Receipts []Signed `cbor:"4,keyasint,omitempty"` // Receipt: how far it has read the logs of the device at the other end
	Floods   []Flood  `cbor:"5,keyasint,omitempty"` // ascending by device
	More     uint64   `cbor:"6,keyasint,omitempty"` // 1: another vector follows, whose logs come after these
	Same     uint64   `cbor:"7,keyasint,omitempty"` // 1: Marks, which are left out, are those whose hash both proofs told
}

// Flood names entries of one device that lie beside each other, none in the past of another:
// more than a device that goes by the rules ever writes.
type Flood struct {
	Device  DeviceID    `cbor:"1,keyasint"`
	Entries []EntryHash `cbor:"2,keyasint"` // FloodSize of them, ascending
}

func (f *Flood) validate() error {
	if len(f.Entries) != FloodSize || !ascending(f.Entries, compareHashes) {
		return fmt.Errorf("%w: flood of %d entries", ErrMalformed, len(f.Entries))
	}
	return nil
}

func (v *SyncVector) validate() error {
	switch {
	case len(v.Floods) > MaxFloods:
		return fmt.Errorf("%w: version vector with %d floods, at most %d", ErrTooLarge, len(v.Floods), MaxFloods)
	case v.Same > 1 || v.Same == 1 && (v.More != 0 || len(v.Marks) > 0):
		return fmt.Errorf("%w: version vector that is the same, and has marks", ErrMalformed)
	case v.More > 1 || !ascending(v.Floods, func(a, b Flood) int { return bytes.Compare(a.Device[:], b.Device[:]) }):
		return fmt.Errorf("%w: version vector", ErrMalformed)
	case len(v.Lacks) > MaxGaps:
		return fmt.Errorf("%w: version vector that lacks %d records, at most %d", ErrTooLarge, len(v.Lacks), MaxGaps)
	case !ascending(v.Lacks, compareHashes):
		return fmt.Errorf("%w: version vector: what it lacks is not ascending", ErrMalformed)
	case len(v.Receipts) > MaxReceipts:
		return fmt.Errorf("%w: version vector with %d receipts, at most %d", ErrTooLarge, len(v.Receipts), MaxReceipts)
	case v.Rejoin != nil:
		if err := v.Rejoin.validate(); err != nil {
			return fmt.Errorf("version vector: rejoin: %w", err)
		}
	}
	for _, f := range v.Floods {
		if err := f.validate(); err != nil {
			return fmt.Errorf("version vector: %w", err)
		}
	}
	for _, r := range v.Receipts {
		if err := r.validate(); err != nil {
			return fmt.Errorf("version vector: receipt: %w", err)
		}
	}
	return checkMarks("version vector", v.Marks)
}

// Handed is an envelope for one member alone, such as a receipt for its author, which need
// not burden the others. The receiver ends the stream.
type Handed struct {
	Envelope []byte `cbor:"1,keyasint"`
}

func (h *Handed) validate() error {
	if len(h.Envelope) == 0 || len(h.Envelope) > MaxHanded {
		return fmt.Errorf("%w: handed envelope of %d bytes, 1 to %d", ErrTooLarge, len(h.Envelope), MaxHanded)
	}
	return nil
}

// SyncWant asks for seals of messages, for ratchet trees, and for messages from before its
// sender came in, which are not sealed for it.
type SyncWant struct {
	Messages []MessageID `cbor:"1,keyasint"`
	Trees    []EpochID   `cbor:"2,keyasint"`
	Earlier  []MessageID `cbor:"3,keyasint,omitempty"`
}

func (w *SyncWant) validate() error {
	if len(w.Messages) > MaxWants || len(w.Trees) > MaxWantTrees || len(w.Earlier) > MaxWants {
		return fmt.Errorf("%w: want of %d messages, %d trees and %d earlier messages, at most %d, %d and %d",
			ErrTooLarge, len(w.Messages), len(w.Trees), len(w.Earlier), MaxWants, MaxWantTrees, MaxWants)
	}
	return nil
}

// SyncTree is a part of a ratchet tree (the ratchet_tree extension's data).
type SyncTree struct {
	Epoch EpochID `cbor:"1,keyasint"`
	Total uint64  `cbor:"2,keyasint"` // bytes, at most MaxTree
	At    uint64  `cbor:"3,keyasint"` // offset of Part
	Part  []byte  `cbor:"4,keyasint"`
}

func (t *SyncTree) validate() error {
	switch {
	case t.Total > MaxTree:
		return fmt.Errorf("%w: ratchet tree of %d bytes, at most %d", ErrTooLarge, t.Total, MaxTree)
	case len(t.Part) == 0, t.At > t.Total, uint64(len(t.Part)) > t.Total-t.At:
		return fmt.Errorf("%w: ratchet tree of %d bytes: part of %d at %d", ErrMalformed, t.Total, len(t.Part), t.At)
	}
	return nil
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
	Claim      *Signed `cbor:"6,keyasint,omitempty"` // with an invite, and only then
	Rejoin     *Signed `cbor:"7,keyasint,omitempty"` // Rejoin for this KeyPackage, of a device that was added and whose Welcome is gone
}

func (j *JoinRequest) version() uint64 { return j.V }

// DecodeJoinRequest reads a request.
func DecodeJoinRequest(b []byte) (*JoinRequest, error) {
	return decode[JoinRequest](b, 2*MaxKeyPackage+4*MaxDeviceCert)
}

func (j *JoinRequest) validate() error {
	if len(j.KeyPackage) == 0 || len(j.KeyPackage) > MaxKeyPackage {
		return fmt.Errorf("%w: join request: KeyPackage of %d bytes", ErrMalformed, len(j.KeyPackage))
	}
	if (j.Invite != nil) != (j.Claim != nil) {
		return fmt.Errorf("%w: join request: an invite comes with a claim to it, and a claim with its invite", ErrMalformed)
	}
	for _, s := range []*Signed{j.Invite, j.Claim} {
		if s != nil {
			if err := s.validate(); err != nil {
				return err
			}
		}
	}
	return j.Cert.validate()
}

// JoinStage says how far a request has come.
type JoinStage uint64

// Stages that a member reports.
const (
	JoinWaiting  JoinStage = 1 // accepted; the commit is being made, or waits for an admin
	JoinWelcomed JoinStage = 2 // Welcome is there; the tree follows in SyncTree frames
	JoinDenied   JoinStage = 3 // Reason says why
	JoinRenew    JoinStage = 4 // the device was added and its Welcome is gone: ask with a fresh KeyPackage and a Rejoin
)

// JoinReply answers a request; several may follow each other, until Welcomed or Denied.
type JoinReply struct {
	Stage   JoinStage `cbor:"1,keyasint"`
	Reason  string    `cbor:"2,keyasint,omitempty"`
	Welcome []byte    `cbor:"3,keyasint,omitempty"`
	Epoch   EpochID   `cbor:"4,keyasint,omitzero"`
	Genesis *Signed   `cbor:"5,keyasint,omitempty"`
	Final   uint64    `cbor:"6,keyasint,omitempty"` // of a denial: 1 if other members will say the same; absent: another may do better
}

func (j *JoinReply) validate() error {
	switch {
	case j.Stage < JoinWaiting || j.Stage > JoinRenew:
		return fmt.Errorf("%w: join reply: stage %d", ErrMalformed, j.Stage)
	case (j.Stage == JoinWelcomed) != (len(j.Welcome) > 0):
		return fmt.Errorf("%w: join reply: stage %d with a Welcome of %d bytes", ErrMalformed, j.Stage, len(j.Welcome))
	case j.Final > 1 || j.Final == 1 && j.Stage != JoinDenied:
		return fmt.Errorf("%w: join reply: stage %d, final %d", ErrMalformed, j.Stage, j.Final)
	case !isText(j.Reason, MaxReason, false):
		return fmt.Errorf("%w: join reply: reason of %d bytes", ErrMalformed, len(j.Reason))
	case j.Genesis != nil:
		return j.Genesis.validate()
	}
	return nil
}

// FindRequest asks a provider which of its public groups fit.
type FindRequest struct {
	V          uint64 `cbor:"1,keyasint"`
	Name       string `cbor:"2,keyasint"` // words that the name must contain, normalised by the answerer; a star stands for any letters
	Limit      uint64 `cbor:"3,keyasint"` // groups, from 1 to MaxFindLimit
	Tag        string `cbor:"4,keyasint,omitempty"`
	MinMembers uint64 `cbor:"5,keyasint,omitempty"`
	MaxMembers uint64 `cbor:"6,keyasint,omitempty"` // 0: any number
	After      uint64 `cbor:"7,keyasint,omitempty"` // milliseconds since 1970: the genesis is not older
}

func (f *FindRequest) version() uint64 { return f.V }

func (f *FindRequest) validate() error {
	if !isText(f.Name, MaxQuery, false) || !isText(f.Tag, MaxQuery, false) || f.Limit == 0 || f.Limit > MaxFindLimit {
		return fmt.Errorf("%w: search for %d bytes, at most %d groups", ErrMalformed, len(f.Name), f.Limit)
	}
	return nil
}

// FindReply is one group of an answer, as PublicInfo bytes; the stream's end ends the answer.
type FindReply struct {
	PublicInfo []byte `cbor:"1,keyasint"`
}

func (f *FindReply) validate() error {
	if len(f.PublicInfo) == 0 || len(f.PublicInfo) > MaxPublicInfo {
		return fmt.Errorf("%w: search result of %d bytes", ErrMalformed, len(f.PublicInfo))
	}
	return nil
}
