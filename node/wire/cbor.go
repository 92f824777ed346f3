package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Limits that hold for every CBOR object, whatever its type. The library
// compares claimed lengths with what is left before it allocates.
const (
	maxArrayElements = 1 << 14 // above every list of this package; bounds what one byte an element can allocate
	maxMapPairs      = 64
	maxNesting       = 8
)

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.UserBufferEncMode())
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

// Objects may say more about themselves than their Go types do.
type (
	// versioned objects begin with a version in key 1.
	versioned interface{ version() uint64 }
	// validated objects have rules that the object alone shows to be kept:
	// lengths, orders, ranges, fields that exclude each other.
	validated interface{ validate() error }
)

// Unmarshal decodes b into v, a pointer, and is the one place where an object's rules are
// enforced. It replaces all that v held before. Errors: ErrVersion if v begins with a
// version and b announces another, and the rest is then not looked at; ErrMalformed unless
// b is exactly the deterministic encoding of what v then holds; ErrMalformed or ErrTooLarge
// if that breaks a rule of its type.
func Unmarshal(b []byte, v any) error {
	// Most objects say at once that they are of this version; whether the rest of them
	// is in order shows below.
	known := len(b) > 2 && b[0]>>5 == 5 && b[1] == 1 && b[2] == Version
	if _, ok := v.(versioned); ok && !known {
		switch first, err := peek(b); {
		case err != nil:
			return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
		case first == 0:
			return fmt.Errorf("%w: %T without a version", ErrMalformed, v)
		case first != Version:
			return fmt.Errorf("%T: %w", v, otherVersion(first))
		}
	}
	reflect.ValueOf(v).Elem().SetZero()
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	if err := deterministic(b, v); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	if o, ok := v.(validated); ok {
		return o.validate()
	}
	return nil
}

// scratch holds buffers for deterministic, empty and with zeros behind.
var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxScratch bounds the bytes that a buffer in scratch keeps.
const maxScratch = 64 << 10

// deterministic returns an error unless b is the encoding of v.
func deterministic(b []byte, v any) error {
	again, _ := scratch.Get().(*bytes.Buffer)
	defer func() {
		clear(again.Bytes()) // it may be somebody's message
		if again.Reset(); again.Cap() <= maxScratch {
			scratch.Put(again)
		}
	}()
	if err := encMode.MarshalToBuffer(v, again); err != nil {
		return err
	}
	if !bytes.Equal(b, again.Bytes()) {
		return errors.New("not the deterministic encoding")
	}
	return nil
}

// decode is Unmarshal for an object of at most max bytes.
func decode[T any](b []byte, max int) (*T, error) {
	v := new(T)
	if len(b) > max {
		return nil, fmt.Errorf("%w: %T of %d bytes, at most %d", ErrTooLarge, *v, len(b), max)
	}
	if err := Unmarshal(b, v); err != nil {
		return nil, err
	}
	return v, nil
}

// peek reads the number in key 1 of an object whose other fields may be unknown;
// 0 if there is none.
func peek(b []byte) (uint64, error) {
	var first struct {
		N uint64 `cbor:"1,keyasint"`
	}
	err := peekMode.Unmarshal(b, &first)
	return first.N, err
}

var peekMode = must(cbor.DecOptions{
	DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	IndefLength:      cbor.IndefLengthForbidden,
	MaxArrayElements: maxArrayElements,
	MaxMapPairs:      maxMapPairs,
	MaxNestedLevels:  maxNesting,
}.DecMode())
