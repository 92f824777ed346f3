package content

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/wire"
)

// Major types of RFC 8949, Section 3.1.
const (
	majorUint   = 0
	majorNeg    = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

// Simple values, with their major type.
const (
	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
)

// reader reads one item after another and keeps the first error: whatever is not in the
// core deterministic encoding (RFC 8949, Section 4.2.1) is one.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", wire.ErrMalformed, fmt.Sprintf(format, args...))
		r.rest = nil
	}
}

func (r *reader) tooLarge(what string, is, most uint64) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s has %d bytes, and at most %d are allowed", wire.ErrTooLarge, what, is, most)
		r.rest = nil
	}
}

// take gives the next n bytes.
func (r *reader) take(what string, n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("%s ends too early", what)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// head reads the head of an item: its major type, the five bits after it, and its number.
func (r *reader) head(what string) (major, info byte, n uint64) {
	first := r.take(what, 1)
	if r.err != nil {
		return 0, 0, 0
	}
	major, info = first[0]>>5, first[0]&31
	if info < 24 {
		return major, info, uint64(info)
	}
	if info > 27 {
		r.fail("%s is of no length that is known at its start", what)
		return 0, 0, 0
	}
	b := r.take(what, 1<<(info-24))
	if r.err != nil {
		return 0, 0, 0
	}
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	least := map[byte]uint64{24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}[info]
	if major != majorSimple && n < least {
		r.fail("%s has a number that is written longer than it has to be", what)
	}
	return major, info, n
}

// number reads the head of an item of one major type.
func (r *reader) number(what string, want byte) uint64 {
	major, _, n := r.head(what)
	if r.err == nil && major != want {
		kinds := [...]string{"a number", "a negative number", "a byte string", "a text", "an array", "a map", "a tag", "a simple value"}
		r.fail("%s is %s, and it has to be %s", what, kinds[major], kinds[want])
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) uint(what string, most uint64) uint64 {
	n := r.number(what, majorUint)
	if n > most {
		r.fail("%s is %d, and it may be %d at most", what, n, most)
		return 0
	}
	return n
}

func (r *reader) bytes(what string, most int) []byte {
	n := r.number(what, majorBytes)
	if n > uint64(most) {
		r.tooLarge(what, n, uint64(most))
		return nil
	}
	return bytes.Clone(r.take(what, n))
}

func (r *reader) text(what string, most int) string {
	n := r.number(what, majorText)
	if n > uint64(most) {
		r.tooLarge(what, n, uint64(most))
		return ""
	}
	s := string(r.take(what, n))
	if !utf8.ValidString(s) {
		r.fail("%s is not UTF-8", what)
	}
	return s
}

// array reads the head of an array, and gives how many items are in it.
func (r *reader) array(what string, least, most uint64) int {
	n := r.number(what, majorArray)
	if r.err == nil && (n < least || n > most) {
		if least == most {
			r.fail("%s has %d items, and it has to have %d", what, n, least)
		} else {
			r.fail("%s has %d items, and it has to have %d to %d", what, n, least, most)
		}
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// simple reads one byte if it is the one wanted.
func (r *reader) simple(want byte) bool {
	if len(r.rest) == 0 || r.rest[0] != want {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *reader) bool(what string) bool {
	if r.simple(cborTrue) {
		return true
	}
	if !r.simple(cborFalse) {
		r.fail("%s is neither true nor false", what)
	}
	return false
}

// item reads one item of any kind, and gives its bytes.
func (r *reader) item(what string, depth int) []byte {
	before := r.rest
	if depth > maxNesting {
		r.fail("%s has more than %d items in one another", what, maxNesting)
		return nil
	}
	major, info, n := r.head(what)
	switch major {
	case majorBytes:
		r.take(what, n)
	case majorText:
		if !utf8.Valid(r.take(what, n)) {
			r.fail("%s has a text that is not UTF-8", what)
		}
	case majorArray:
		for ; n > 0 && r.err == nil; n-- {
			r.item(what, depth+1)
		}
	case majorMap:
		var last []byte
		for ; n > 0 && r.err == nil; n-- {
			key := r.item(what, depth+1)
			if r.err == nil && last != nil && bytes.Compare(last, key) >= 0 {
				r.fail("%s has keys that are not in their order", what)
			}
			last = key
			r.item(what, depth+1)
		}
	case majorTag:
		r.item(what, depth+1)
	case majorSimple:
		if !shortest(info, n) {
			r.fail("%s has a number that is written longer than it has to be, or a value that there is not", what)
		}
	}
	if r.err != nil {
		return nil
	}
	return before[:len(before)-len(r.rest)]
}

// shortest says whether an item of major type 7 is one that exists, and written as short
// as its value allows. Of the values that are no numbers there is one.
func shortest(info byte, n uint64) bool {
	switch info {
	case 24:
		return n >= 32
	case 25:
		return n&0x7c00 != 0x7c00 || n&0x3ff == 0 || n == 0x7e00
	case 26:
		f := math.Float32frombits(uint32(n))
		return f == f && !half(f)
	case 27:
		f := math.Float64frombits(n)
		return f == f && float64(float32(f)) != f
	}
	return true
}

// half says whether a float of 16 bits has the value.
func half(f float32) bool {
	bits := math.Float32bits(f)
	exponent, fraction := int(bits>>23&0xff)-127, bits&(1<<23-1)
	switch {
	case exponent == -127:
		return fraction == 0
	case exponent == 128:
		return true
	case exponent >= -14 && exponent <= 15:
		return fraction&(1<<13-1) == 0
	case exponent >= -24 && exponent < -14:
		return fraction&(1<<(-1-exponent)-1) == 0
	}
	return false
}

// appendHead appends the head of an item.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendBytes(b, v []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(v))), v...)
}

func appendText(b []byte, v string) []byte {
	return append(appendHead(b, majorText, uint64(len(v))), v...)
}
