package endpoint

import "errors"

// vector takes a variable-length vector (RFC 9420, Section 2.1.2) off b.
func vector(b []byte) (v, rest []byte, err error) {
	short := errors.New("a vector is cut short")
	if len(b) == 0 {
		return nil, nil, short
	}
	size := 1 << (b[0] >> 6)
	if size > 4 || len(b) < size {
		return nil, nil, short
	}
	n := int(b[0] & 0x3f)
	for _, x := range b[1:size] {
		n = n<<8 | int(x)
	}
	if len(b)-size < n {
		return nil, nil, short
	}
	return b[size : size+n], b[size+n:], nil
}

// asVector puts the length before b.
func asVector(b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append([]byte{0x40 | byte(n>>8), byte(n)}, b...)
	default:
		return append([]byte{0x80 | byte(n>>24), byte(n >> 16), byte(n >> 8), byte(n)}, b...)
	}
}
