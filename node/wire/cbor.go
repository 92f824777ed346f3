package wire

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Limits that hold for every CBOR object, whatever its type. The library
// compares claimed lengths with what is left before it allocates.
const (
	maxArrayElements = 1 << 17
	maxMapPairs      = 64
	maxNesting       = 8
)

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  maxArrayElements,
		MaxMapPairs:       maxMapPairs,
		MaxNestedLevels:   maxNesting,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options of this file that contradict each other
	}
	return v
}

// Marshal gives the deterministic encoding of v, a struct of this package or one
// with integer keys in the same manner.
func Marshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %T cannot be encoded: %v", v, err)) // a type error of the program, never of its input
	}
	return b
}

// Unmarshal decodes b into v, strictly: it returns ErrMalformed unless b is
// exactly the deterministic encoding of what v then holds.
func Unmarshal(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	if !bytes.Equal(b, again) {
		return fmt.Errorf("%w: %T: not the deterministic encoding", ErrMalformed, v)
	}
	return nil
}

// decodeVersioned is Unmarshal for objects that begin with a version in key 1:
// another version is ErrVersion, and the rest is then not looked at.
func decodeVersioned(b []byte, max int, v interface{ version() uint64 }) error {
	if len(b) > max {
		return fmt.Errorf("%w: %T of %d bytes, at most %d", ErrTooLarge, v, len(b), max)
	}
	var peek struct {
		V uint64 `cbor:"1,keyasint"`
	}
	if err := peekMode.Unmarshal(b, &peek); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	if peek.V != Version {
		return fmt.Errorf("%w: %T version %d, this program knows %d", ErrVersion, v, peek.V, Version)
	}
	return Unmarshal(b, v)
}

// peekMode reads the version of an object whose other fields may be unknown.
var peekMode = must(cbor.DecOptions{
	DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	IndefLength:      cbor.IndefLengthForbidden,
	MaxArrayElements: maxArrayElements,
	MaxMapPairs:      maxMapPairs,
	MaxNestedLevels:  maxNesting,
}.DecMode())
