package wire

import "fmt"

// MailBlobAsk is a request to a mailbox about blobs; exactly one field is set. With Have or
// Get it is encoded as a BlobAsk, and answered as one. A Put is answered by Taken; if that is
// MailDone, a slice of Bao follows in Parts, and another Taken says that its groups are kept.
type MailBlobAsk struct {
	Have []BlobRoot   `cbor:"1,keyasint,omitempty"` // which groups of them the box has
	Get  *BlobGet     `cbor:"2,keyasint,omitempty"`
	Put  *MailBlobPut `cbor:"3,keyasint,omitempty"`
	Part []byte       `cbor:"4,keyasint,omitempty"` // of the slice that the Put before announced
}

func (a *MailBlobAsk) validate() error {
	set := 0
	for _, has := range []bool{len(a.Have) > 0, a.Get != nil, a.Put != nil, len(a.Part) > 0} {
		if has {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: request to a mailbox about blobs with %d fields, not one", ErrMalformed, set)
	case len(a.Have) > MaxBlobRoots || len(a.Part) > MaxBlobPart:
		return fmt.Errorf("%w: request to a mailbox about blobs", ErrTooLarge)
	case a.Get != nil:
		return a.Get.validate()
	case a.Put != nil:
		return a.Put.validate()
	}
	return nil
}

// MailBlobPut announces some groups of a blob, which follow each other.
type MailBlobPut struct {
	Root   BlobRoot `cbor:"1,keyasint"`
	Length uint64   `cbor:"2,keyasint"` // of the blob
	From   uint64   `cbor:"3,keyasint"` // the number of the first group
	Groups uint64   `cbor:"4,keyasint"`
}

func (p *MailBlobPut) validate() error {
	get := BlobGet{p.Root, p.From, p.Groups}
	return get.validate()
}

// MailBlobAnswer answers a MailBlobAsk; exactly one field is set. Without Taken it is encoded
// as a BlobAnswer.
type MailBlobAnswer struct {
	Have  []BlobHeld     `cbor:"1,keyasint,omitempty"`
	Part  []byte         `cbor:"2,keyasint,omitempty"`
	No    *BlobNo        `cbor:"3,keyasint,omitempty"`
	Taken *MailBlobTaken `cbor:"4,keyasint,omitempty"`
}

func (a *MailBlobAnswer) validate() error {
	blob := BlobAnswer{a.Have, a.Part, a.No}
	if a.Taken == nil {
		return blob.validate()
	}
	if len(a.Have) > 0 || len(a.Part) > 0 || a.No != nil {
		return fmt.Errorf("%w: answer of a mailbox about blobs with several fields", ErrMalformed)
	}
	if a.Taken.Code > MailLarge {
		return fmt.Errorf("%w: answer of a mailbox about blobs: code %d", ErrMalformed, a.Taken.Code)
	}
	return nil
}

// MailLarge says of a blob alone that it is larger than the mailbox keeps any.
const MailLarge MailCode = 3

// MailBlobTaken says whether a mailbox takes groups of a blob, and then that it has them.
type MailBlobTaken struct {
	Code MailCode `cbor:"1,keyasint"`
	Most uint64   `cbor:"2,keyasint"` // bytes of blobs that it keeps at most for whoever opened the box
}
