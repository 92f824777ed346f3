package mls

import (
	"encoding/binary"
	"fmt"
)

// The presentation language of RFC 9420, Section 2.1: big-endian integers and
// vectors with a variable-size length (RFC 9000 without the 8-byte form, minimal
// encodings only).

// maxVector is the longest vector that the length header can express.
const maxVector = 1<<30 - 1

// reader takes values off the front of a byte slice. The first error sticks and
// every later read gives zero values, so a decoder checks once, at its end. Slices
// it hands out alias the input: top-level decoders copy the input once.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// length reads a vector's length header.
func (r *reader) length() int {
	first := r.u8()
	size := 1 << (first >> 6)
	if size == 8 {
		r.fail("vector length with prefix 3")
		return 0
	}
	n := int(first & 0x3f)
	for _, b := range r.take(size - 1) {
		n = n<<8 | int(b)
	}
	if r.err == nil && size > lengthSize(n) {
		r.fail("vector length %d is not minimal", n)
		return 0
	}
	return n
}

// vec reads opaque<V>.
func (r *reader) vec() []byte {
	n := r.length()
	if r.err != nil {
		return nil
	}
	return r.take(n)
}

// list reads a vector of structs by calling item until its bytes are used up.
func (r *reader) list(item func(*reader)) {
	sub := reader{b: r.vec(), err: r.err}
	for len(sub.b) > 0 {
		item(&sub)
	}
	r.adopt(&sub)
}

func (r *reader) adopt(sub *reader) {
	if sub.err != nil && r.err == nil {
		r.err, r.b = sub.err, nil
	}
}

// optional reads the presence octet of optional<T>.
func (r *reader) optional() bool {
	switch v := r.u8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.fail("presence octet %d", v)
		return false
	}
}

// since gives the bytes read between before (an earlier value of r.b) and now.
func (r *reader) since(before []byte) []byte {
	if r.err != nil {
		return nil
	}
	n := len(before) - len(r.b)
	return before[:n:n]
}

// done ends a decoder: it gives the first error, or one for trailing bytes.
func (r *reader) done(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d trailing bytes", len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}

// writer appends values.
type writer struct{ b []byte }

func (w *writer) raw(b []byte)  { w.b = append(w.b, b...) }
func (w *writer) u8(v uint8)    { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)  { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)  { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)  { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) vec(b []byte)  { w.b = appendVec(w.b, b) }
func (w *writer) length(n int)  { w.b = appendLength(w.b, n) }
func (w *writer) text(s string) { w.b = append(appendLength(w.b, len(s)), s...) }

func (w *writer) optional(present bool) {
	if present {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

// list writes a vector whose contents fill appends.
func (w *writer) list(fill func()) {
	start := len(w.b)
	fill()
	n := len(w.b) - start
	size := lengthSize(n)
	w.b = append(w.b, make([]byte, size)...)
	copy(w.b[start+size:], w.b[start:start+n])
	putLength(w.b[start:start+size], n)
}

// appendVec and appendLength are for buffers on the stack: what a writer's methods
// touch escapes.

func appendVec(dst, b []byte) []byte { return append(appendLength(dst, len(b)), b...) }

func appendLength(dst []byte, n int) []byte {
	switch lengthSize(n) {
	case 1:
		return append(dst, byte(n))
	case 2:
		return binary.BigEndian.AppendUint16(dst, 1<<14|uint16(n))
	default:
		return binary.BigEndian.AppendUint32(dst, 2<<30|uint32(n))
	}
}

func lengthSize(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	case n <= maxVector:
		return 4
	default:
		// Nothing that this package encodes can come near: inputs are bounded where
		// they enter.
		panic("mls: vector longer than 2^30-1 bytes")
	}
}

func putLength(b []byte, n int) {
	switch len(b) {
	case 1:
		b[0] = byte(n)
	case 2:
		binary.BigEndian.PutUint16(b, 1<<14|uint16(n))
	case 4:
		binary.BigEndian.PutUint32(b, 2<<30|uint32(n))
	}
}

// encodeSecret is encode for content that is secret: as long as most bytes hold it, no copy
// of it is left where the writer grew.
func encodeSecret(most int, fill func(*writer)) []byte {
	w := writer{b: make([]byte, 0, most)}
	fill(&w)
	out := clone(w.b)
	clear(w.b)
	return out
}

// encode runs fill on a fresh writer.
func encode(fill func(*writer)) []byte {
	w := writer{b: make([]byte, 0, 128)}
	fill(&w)
	return w.b
}
