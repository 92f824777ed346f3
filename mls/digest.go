package mls

import (
	"crypto/sha256"
	"crypto/sha512"
)

// digest is a hash function of the SHA-2 family with HMAC (RFC 2104) and HKDF (RFC
// 5869) over it. The inputs of MLS are short, so everything is done on the stack in
// one shot: the generic crypto/hmac spends most of its time on allocating states.
type digest struct {
	size, block int
}

var (
	sha2x256 = &digest{sha256.Size, sha256.BlockSize}
	sha2x384 = &digest{sha512.Size384, sha512.BlockSize}
	sha2x512 = &digest{sha512.Size, sha512.BlockSize}
)

// onStack is how many bytes of input to a hash are put together without allocating.
const onStack = 640

// appendSum appends the hash of b to dst, which may overlap with b.
func (d *digest) appendSum(dst, b []byte) []byte {
	switch d.size {
	case sha256.Size:
		h := sha256.Sum256(b)
		return append(dst, h[:]...)
	case sha512.Size384:
		h := sha512.Sum384(b)
		return append(dst, h[:]...)
	default:
		h := sha512.Sum512(b)
		return append(dst, h[:]...)
	}
}

func (d *digest) sum(b []byte) []byte { return d.appendSum(make([]byte, 0, d.size), b) }

// sum2 is the hash of a ‖ b.
func (d *digest) sum2(a, b []byte) []byte {
	var buf [onStack]byte
	in := append(append(buf[:0], a...), b...)
	return d.sum(in)
}

// appendHMAC appends HMAC(key, a ‖ b ‖ c) to dst, which may be one of them.
func (d *digest) appendHMAC(dst, key, a, b, c []byte) []byte {
	var buf [onStack]byte
	var pad [sha512.BlockSize]byte
	defer clear(pad[:])
	if len(key) > d.block {
		d.appendSum(pad[:0], key)
	} else {
		copy(pad[:], key)
	}
	in := buf[:0]
	for _, k := range pad[:d.block] {
		in = append(in, k^0x36)
	}
	in = append(append(append(in, a...), b...), c...)
	var inner [sha512.Size]byte
	d.appendSum(inner[:0], in)
	clear(in)
	out := buf[:0]
	for _, k := range pad[:d.block] {
		out = append(out, k^0x5c)
	}
	out = append(out, inner[:d.size]...)
	dst = d.appendSum(dst, out)
	clear(out)
	return dst
}

// hmac is HMAC(key, data).
func (d *digest) hmac(key, data []byte) []byte {
	return d.appendHMAC(make([]byte, 0, d.size), key, data, nil, nil)
}

// expand is HKDF-Expand of RFC 5869, Section 2.3. length is at most 255 blocks;
// callers bound it.
func (d *digest) expand(prk, info []byte, length int) []byte {
	return d.appendExpand(make([]byte, 0, (length+d.size-1)/d.size*d.size), prk, info, length)
}

// appendExpand appends the output of expand to dst.
func (d *digest) appendExpand(dst, prk, info []byte, length int) []byte {
	var block []byte
	for i := byte(1); ; i++ {
		counter := [1]byte{i}
		if length <= d.size {
			var last [sha512.Size]byte
			dst = append(dst, d.appendHMAC(last[:0], prk, block, info, counter[:])[:length]...)
			clear(last[:])
			return dst
		}
		dst = d.appendHMAC(dst, prk, block, info, counter[:])
		block = dst[len(dst)-d.size:]
		length -= d.size
	}
}
