package wire

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// Seal is a message's salt and body under one epoch. It is keyed by message,
// epoch and sealer, and authenticated by MLS alone.
type Seal struct {
	Message        MessageID `cbor:"1,keyasint"` // also the authenticated_data of the PrivateMessage
	Epoch          EpochID   `cbor:"2,keyasint"`
	Sealer         DeviceID  `cbor:"3,keyasint"`
	PrivateMessage []byte    `cbor:"4,keyasint"` // MLSMessage
}

// DecodeSeal reads a seal.
func DecodeSeal(b []byte) (*Seal, error) {
	return decode[Seal](b, MaxSeal)
}

func (s *Seal) validate() error {
	if len(s.PrivateMessage) == 0 {
		return fmt.Errorf("%w: seal without a PrivateMessage", ErrMalformed)
	}
	return nil
}

// Opened is the plaintext of a seal.
type Opened struct {
	Salt [32]byte `cbor:"1,keyasint"`
	Body []byte   `cbor:"2,keyasint"` // encoded Content
}

// Commitment is SHA-256(salt ‖ body).
func (o *Opened) Commitment() Hash {
	h := sha256.New()
	h.Write(o.Salt[:])
	h.Write(o.Body)
	return Hash(h.Sum(nil))
}

// Fits says whether the commitment was made over o.
func (o *Opened) Fits(commitment Hash) bool {
	c := o.Commitment()
	return subtle.ConstantTimeCompare(c[:], commitment[:]) == 1
}

// DecodeOpened reads the plaintext of a seal.
func DecodeOpened(b []byte) (*Opened, error) {
	return decode[Opened](b, MaxOpened)
}

// Content is what a message says.
type Content struct {
	MediaType string `cbor:"1,keyasint"` // "text/plain" for text in UTF-8
	Data      []byte `cbor:"2,keyasint"`
}

// DecodeContent reads the body of a message.
func DecodeContent(b []byte) (*Content, error) {
	return decode[Content](b, MaxOpened)
}

func (c *Content) validate() error {
	if len(c.Data) > MaxBody {
		return fmt.Errorf("%w: message of %d bytes, at most %d", ErrTooLarge, len(c.Data), MaxBody)
	}
	return CheckMediaType(c.MediaType)
}

// CheckMediaType says why a media type cannot be that of a message.
func CheckMediaType(s string) error {
	if !isText(s, MaxMediaType, false) {
		return fmt.Errorf("%w: media type of %d bytes: at most %d, without control characters", ErrMalformed, len(s), MaxMediaType)
	}
	return nil
}

// Bundle is what an envelope carries.
type Bundle struct {
	Entries [][]byte `cbor:"1,keyasint"` // encoded Signed, payload Entry
	Seals   [][]byte `cbor:"2,keyasint"` // encoded Seal
	Beacons [][]byte `cbor:"3,keyasint"` // encoded Signed, payload Beacon

	Receipts [][]byte `cbor:"4,keyasint,omitempty"` // encoded Signed, payload Receipt
}

// DecodeBundle reads the plaintext of an envelope.
func DecodeBundle(b []byte) (*Bundle, error) {
	return decode[Bundle](b, MaxEnvelope)
}

// Mark says how far a log is known: it has the hash of the entry with this seq. That hash
// fixes the causal past of the entry, so equal marks mean equal logs. A mark with seq 0 and
// no hash says that the log's device signed two entries with one sequence number. The
// entries of such a log that count are those in the pasts of the other marks.
type Mark struct {
	Log  LogID     `cbor:"1,keyasint"`
	Seq  uint64    `cbor:"2,keyasint"` // a log of which nothing is known has no mark
	Hash EntryHash `cbor:"3,keyasint"`
}

// Beacon is a replaceable register per device, signed by its log key and kept
// out of the log. The newest HLC wins.
type Beacon struct {
	V            uint64      `cbor:"1,keyasint"`
	Log          LogID       `cbor:"2,keyasint"`
	HLC          uint64      `cbor:"3,keyasint"`
	Vector       Marks       `cbor:"4,keyasint"`           // ascending by log
	Gaps         []MessageID `cbor:"5,keyasint"`           // records whose plaintext is missing, ascending
	TransportKey []byte      `cbor:"6,keyasint"`           // HPKE public key for TKEYs
	Rescue       []byte      `cbor:"7,keyasint"`           // KeyPackage for a re-add nobody asked for; empty if there is none
	Rejoin       *Signed     `cbor:"8,keyasint,omitempty"` // Rejoin
	Position     EpochID     `cbor:"9,keyasint"`
	Check        Hash        `cbor:"10,keyasint"` // HMAC under the epoch_authenticator at Position
	// Reads says how far the device's user has read. A later program decides what is in it:
	// this one writes none, and passes on what others wrote.
	Reads []byte `cbor:"11,keyasint,omitempty"`
}

// Rejoin asks to be added again on the chosen branch. It is signed by the
// device's log key apart from the Beacon, so that the COMMIT which answers it can
// cite it.
type Rejoin struct {
	V          uint64   `cbor:"1,keyasint"`
	Device     DeviceID `cbor:"2,keyasint"`
	HLC        uint64   `cbor:"3,keyasint"`
	KeyPackage []byte   `cbor:"4,keyasint"`
	Known      EpochID  `cbor:"5,keyasint"` // newest epoch that the device held and that is on the chosen chain
	MAC        []byte   `cbor:"6,keyasint"` // under a key exported from Known; empty if none is held
}

// Receipt says how far a device has read another's log: up to the entry of the mark, it has
// the plaintext of every message that it may read. Of one reader the highest count wins. It
// is signed by the reader's log key and kept out of the log.
type Receipt struct {
	V     uint64 `cbor:"1,keyasint"`
	Log   LogID  `cbor:"2,keyasint"` // of the reader
	Count uint64 `cbor:"3,keyasint"` // rises in one incarnation of the reader
	Read  Mark   `cbor:"4,keyasint"`
}

func (r *Receipt) version() uint64 { return r.V }

// Encode gives the payload that the log key signs.
func (r *Receipt) Encode() []byte { return Marshal(r) }

// DecodeReceipt reads a receipt's payload.
func DecodeReceipt(b []byte) (*Receipt, error) { return decode[Receipt](b, MaxReceipt) }

func (r *Receipt) validate() error {
	switch {
	case r.Read.Seq == 0 || r.Read.Hash == EntryHash{}:
		return fmt.Errorf("%w: receipt for no entry", ErrMalformed)
	case r.Read.Log.Device == r.Log.Device:
		return fmt.Errorf("%w: receipt of a device to itself", ErrMalformed)
	}
	return nil
}

func (r *Rejoin) version() uint64 { return r.V }

// Encode gives the payload that the log key signs.
func (r *Rejoin) Encode() []byte { return Marshal(r) }

// DecodeRejoin reads a rejoin's payload.
func DecodeRejoin(b []byte) (*Rejoin, error) { return decode[Rejoin](b, MaxKeyPackage+256) }

func (r *Rejoin) validate() error {
	switch {
	case len(r.KeyPackage) == 0 || len(r.KeyPackage) > MaxKeyPackage:
		return fmt.Errorf("%w: rejoin with a KeyPackage of %d bytes", ErrMalformed, len(r.KeyPackage))
	case len(r.MAC) != 0 && len(r.MAC) != 32:
		return fmt.Errorf("%w: rejoin with a MAC of %d bytes", ErrMalformed, len(r.MAC))
	}
	return nil
}

func (b *Beacon) version() uint64 { return b.V }

// Encode gives the payload that the log key signs.
func (b *Beacon) Encode() []byte { return Marshal(b) }

// DecodeBeacon reads a beacon's payload.
func DecodeBeacon(b []byte) (*Beacon, error) {
	return decode[Beacon](b, MaxEnvelope)
}

func (b *Beacon) validate() error {
	switch {
	case len(b.Gaps) > MaxGaps:
		return fmt.Errorf("%w: beacon with %d gaps, at most %d", ErrTooLarge, len(b.Gaps), MaxGaps)
	case !ascending(b.Gaps, compareHashes):
		return fmt.Errorf("%w: beacon: gaps are not ascending", ErrMalformed)
	case len(b.TransportKey) > MaxHPKEKey || len(b.Rescue) > MaxKeyPackage:
		return fmt.Errorf("%w: beacon: key of %d bytes, rescue of %d", ErrTooLarge, len(b.TransportKey), len(b.Rescue))
	case len(b.Reads) > MaxReads:
		return fmt.Errorf("%w: beacon with read marks of %d bytes, at most %d", ErrTooLarge, len(b.Reads), MaxReads)
	case b.Rejoin != nil:
		if err := b.Rejoin.validate(); err != nil {
			return fmt.Errorf("beacon: rejoin: %w", err)
		}
	}
	return checkMarks("beacon", b.Vector)
}
