package wire

import (
	"fmt"
	"strings"
)

// BlobRoot names a blob, a sealed file: the BLAKE3 root of its bytes.
type BlobRoot Hash

func (r BlobRoot) String() string { return idText(DomainHashText, Hash(r)) }

// ParseBlobRoot reads the text form of a blob's name.
func ParseBlobRoot(s string) (BlobRoot, error) {
	h, err := parseIDText(DomainHashText, "file ID", s)
	return BlobRoot(h), err
}

const blobURL = "panda-blob:"

// URL is how a message names a blob.
func (r BlobRoot) URL() string { return blobURL + r.String() }

// ParseBlobURL reads that; false: it is no such name.
func ParseBlobURL(s string) (BlobRoot, bool) {
	text, ok := strings.CutPrefix(s, blobURL)
	r, err := ParseBlobRoot(text)
	return r, ok && err == nil && r.String() == text
}

// BlobAsk is a request for blobs; exactly one field is set. A BlobAnswer follows each, or,
// to a Get, several.
type BlobAsk struct {
	Have []BlobRoot `cbor:"1,keyasint,omitempty"` // which groups of them the other end has
	Get  *BlobGet   `cbor:"2,keyasint,omitempty"`
}

func (a *BlobAsk) validate() error {
	switch {
	case (len(a.Have) > 0) == (a.Get != nil):
		return fmt.Errorf("%w: request for blobs without exactly one field", ErrMalformed)
	case len(a.Have) > MaxBlobRoots:
		return fmt.Errorf("%w: %d blobs", ErrTooLarge, len(a.Have))
	case a.Get != nil:
		return a.Get.validate()
	}
	return nil
}

// BlobGet asks for some groups of a blob, which follow each other.
type BlobGet struct {
	Root   BlobRoot `cbor:"1,keyasint"`
	From   uint64   `cbor:"2,keyasint"` // the number of the first
	Groups uint64   `cbor:"3,keyasint"`
}

func (g *BlobGet) validate() error {
	if g.Groups == 0 || g.Groups > MaxBlobGroups || g.From >= MaxBlobBits*8 {
		return fmt.Errorf("%w: %d groups of a blob from %d", ErrTooLarge, g.Groups, g.From)
	}
	return nil
}

// BlobAnswer answers a BlobAsk; exactly one field is set. A Get is answered by parts of a
// slice of Bao, in their order, or by No.
type BlobAnswer struct {
	Have []BlobHeld `cbor:"1,keyasint,omitempty"` // in the order of the roots
	Part []byte     `cbor:"2,keyasint,omitempty"`
	No   *BlobNo    `cbor:"3,keyasint,omitempty"`
}

func (a *BlobAnswer) validate() error {
	set := 0
	for _, has := range []bool{len(a.Have) > 0, len(a.Part) > 0, a.No != nil} {
		if has {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: answer about blobs with %d fields, not one", ErrMalformed, set)
	case len(a.Have) > MaxBlobRoots || len(a.Part) > MaxBlobPart:
		return fmt.Errorf("%w: answer about blobs", ErrTooLarge)
	}
	for _, h := range a.Have {
		if len(h.Bits) > MaxBlobBits {
			return fmt.Errorf("%w: groups of a blob", ErrTooLarge)
		}
	}
	return nil
}

// BlobHeld says what of a blob somebody has.
type BlobHeld struct {
	Length uint64 `cbor:"1,keyasint"` // of the blob; 0: nothing of it
	Bits   []byte `cbor:"2,keyasint"` // a bit for each group, the lowest first
}

// BlobNo says that a Get is not answered.
type BlobNo struct {
	Wait uint64 `cbor:"1,keyasint"` // ask again after so many milliseconds; 0: the groups are not here
}
