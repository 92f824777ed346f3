package wire

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"slices"
)

// A mailbox keeps envelopes in boxes. A box is named by an Ed25519 public key that is
// derived from a group's transport key. Holders of the transport key can write and read,
// and the mailbox can check that without learning more than the name. A new transport key
// means another box.

// BoxID names a box at one mailbox: the box's public key.
type BoxID [32]byte

// BoxSeed is the seed of a box's Ed25519 key: HKDF-SHA-256(transport key, no salt,
// "panda/box/1" ‖ 0 ‖ group ‖ the mailbox's peer ID). With the peer ID in it, two
// mailboxes cannot tell that they keep boxes of one group.
func BoxSeed(group GroupID, transportKey, mailbox []byte) ([]byte, error) {
	if err := checkTransportKey(transportKey); err != nil {
		return nil, err
	}
	seed, err := hkdf.Key(sha256.New, transportKey, nil, string(DomainBox)+"\x00"+string(group[:])+string(mailbox), 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a box's key: %w", err)
	}
	return seed, nil
}

// boxedFrom is where a boxed envelope begins. The bytes before it (version, tag and key ID)
// are the same in all envelopes of a box, and would tell the mailbox which public group
// they belong to.
const boxedFrom = envelopeSaltAt

// Boxed returns an envelope as a mailbox gets it, without the header that tells its group.
func Boxed(envelope []byte) []byte { return envelope[min(boxedFrom, len(envelope)):] }

// Unboxed restores the envelope, with this topic tag and the ID of its transport key.
func Unboxed(tag [8]byte, key KeyID, boxed []byte) []byte {
	return slices.Concat([]byte{Version}, tag[:], key[:], boxed)
}

// CheckBoxed says whether bytes can be a boxed envelope. A mailbox cannot check more.
func CheckBoxed(b []byte) error {
	_, err := ParseEnvelopeHeader(Unboxed([8]byte{}, KeyID{}, b))
	return err
}

// MailHello opens a stream to a mailbox and names the box.
type MailHello struct {
	V   uint64 `cbor:"1,keyasint"`
	Box BoxID  `cbor:"2,keyasint"`
}

func (h *MailHello) version() uint64 { return h.V }

// MailChallenge is the mailbox's answer, the same whether it has the box or not.
type MailChallenge struct {
	Nonce [32]byte `cbor:"1,keyasint"`
}

// MailProof shows that its sender holds the box's key. A voucher is another box of the same
// mailbox whose key the sender holds too: the mailbox may open a box on the account of the
// peer that opened that one. Both sign MailProofPayload.
type MailProof struct {
	Signature []byte       `cbor:"1,keyasint"`
	Voucher   *MailVoucher `cbor:"2,keyasint,omitempty"`
}

// MailVoucher is another box and its key's signature.
type MailVoucher struct {
	Box       BoxID  `cbor:"1,keyasint"`
	Signature []byte `cbor:"2,keyasint"`
}

func (p *MailProof) validate() error {
	if len(p.Signature) != 64 || p.Voucher != nil && len(p.Voucher.Signature) != 64 {
		return fmt.Errorf("%w: proof for a box", ErrMalformed)
	}
	return nil
}

// MailProofPayload is what proofs sign in the domain "panda/mailbox/1", of no group:
// box ‖ nonce ‖ opener's peer ID ‖ mailbox's peer ID, each peer ID preceded by its
// length as u64. It fits one stream of one peer to one mailbox alone.
func MailProofPayload(box BoxID, nonce [32]byte, opener, mailbox []byte) []byte {
	b := slices.Concat(box[:], nonce[:])
	b = append(append(b, U64(uint64(len(opener)))...), opener...)
	return append(append(b, U64(uint64(len(mailbox)))...), mailbox...)
}

// MailRequest follows the proof; exactly one field is set, and each is answered by
// one MailReply before the next.
type MailRequest struct {
	Put   [][]byte  `cbor:"1,keyasint,omitempty"` // boxed envelopes
	List  *MailList `cbor:"2,keyasint,omitempty"`
	Fetch []uint64  `cbor:"3,keyasint,omitempty"` // cursors, ascending
}

// MailList asks what the box holds after a cursor.
type MailList struct {
	After uint64 `cbor:"1,keyasint"`
}

func (r *MailRequest) validate() error {
	set := 0
	for _, has := range []bool{len(r.Put) > 0, r.List != nil, len(r.Fetch) > 0} {
		if has {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: request to a mailbox with %d fields, not one", ErrMalformed, set)
	case len(r.Put) > MaxMailPut || len(r.Fetch) > MaxMailFetch:
		return fmt.Errorf("%w: request to a mailbox: %d envelopes put, %d fetched", ErrTooLarge, len(r.Put), len(r.Fetch))
	case !ascending(r.Fetch, compareCursors):
		return fmt.Errorf("%w: request to a mailbox: cursors are not ascending", ErrMalformed)
	}
	return nil
}

// MailCode says why a mailbox did not carry out a request in full.
type MailCode uint64

// Codes of a mailbox.
const (
	MailDone   MailCode = 0
	MailFull   MailCode = 1 // no more room in the box or the mailbox: come again later
	MailClosed MailCode = 2 // it opens no box for this peer; a voucher may help
)

// MailReply answers a request. Life is drawn when the box is opened, zero if there
// is none; cursors of another life mean nothing.
type MailReply struct {
	Code  MailCode   `cbor:"1,keyasint"`
	Life  uint64     `cbor:"2,keyasint"`
	Taken uint64     `cbor:"3,keyasint,omitempty"` // of a Put: how many, from the first, are durable
	Heads []MailHead `cbor:"4,keyasint,omitempty"` // of a List: ascending; none: that is all
	Items []MailItem `cbor:"5,keyasint,omitempty"` // of a Fetch: ascending; as many as fit; none: they are gone
}

// MailHead names the envelope at a cursor of a box by the SHA-256 of the boxed envelope.
type MailHead struct {
	At   uint64 `cbor:"1,keyasint"`
	Hash Hash   `cbor:"2,keyasint"`
}

// MailItem is a boxed envelope with its cursor.
type MailItem struct {
	At    uint64 `cbor:"1,keyasint"`
	Boxed []byte `cbor:"2,keyasint"`
}

func (r *MailReply) validate() error {
	switch {
	case r.Code > MailClosed:
		return fmt.Errorf("%w: reply of a mailbox: code %d", ErrMalformed, r.Code)
	case r.Taken > MaxMailPut || len(r.Heads) > MaxMailHeads || len(r.Items) > MaxMailFetch:
		return fmt.Errorf("%w: reply of a mailbox: %d taken, %d listed, %d fetched", ErrTooLarge, r.Taken, len(r.Heads), len(r.Items))
	case !ascending(r.Heads, func(a, b MailHead) int { return compareCursors(a.At, b.At) }),
		!ascending(r.Items, func(a, b MailItem) int { return compareCursors(a.At, b.At) }):
		return fmt.Errorf("%w: reply of a mailbox: cursors are not ascending", ErrMalformed)
	}
	return nil
}
