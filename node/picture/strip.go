// Package picture takes out of pictures what says where and by whom they were taken, and
// makes small previews of them. It works on bytes alone.
package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// ErrUnreadable says that a picture is not what it begins as.
var ErrUnreadable = errors.New("the picture cannot be read")

// Kinds of pictures whose metadata is known, by media type.
const (
	JPEG = "image/jpeg"
	PNG  = "image/png"
	WebP = "image/webp"
)

// KindOf says by its first bytes which kind of picture something is; empty: none of these.
func KindOf(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return JPEG
	case bytes.HasPrefix(b, []byte(pngHead)):
		return PNG
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		return WebP
	}
	return ""
}

// Strip gives a picture without its metadata: EXIF, XMP, IPTC, comments, and whatever follows
// its end. Of EXIF stays how the picture is turned, and of the rest what its colours are. The
// picture itself is not changed. Anything but a picture of a known kind comes back as it is.
// Errors: ErrUnreadable.
func Strip(b []byte) (out []byte, err error) {
	switch KindOf(b) {
	case JPEG:
		out, err = stripJPEG(b)
	case PNG:
		out, err = stripPNG(b)
	case WebP:
		out, err = stripWebP(b)
	default:
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return out, nil
}

var errShort = errors.New("it is cut short")

// Markers of JPEG (ITU-T T.81, Table B.1).
const (
	markTEM  = 0x01
	markRST0 = 0xd0
	markRST7 = 0xd7
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
	markAPP0 = 0xe0
	markAPPF = 0xef
	markCOM  = 0xfe
)

// stripJPEG keeps the segments that say how a picture looks.
func stripJPEG(b []byte) ([]byte, error) {
	out := append(make([]byte, 0, len(b)), 0xff, markSOI)
	turned := byte(0)
	for at := 2; ; {
		if at >= len(b) || b[at] != 0xff {
			return nil, errShort
		}
		for at < len(b) && b[at] == 0xff { // fill bytes
			at++
		}
		if at >= len(b) {
			return nil, errShort
		}
		mark := b[at]
		at++
		switch {
		case mark == markEOI:
			return append(out, 0xff, markEOI), nil
		case mark == markTEM || mark >= markRST0 && mark <= markRST7:
			out = append(out, 0xff, mark)
			continue
		case mark == 0 || mark == markSOI:
			return nil, errors.New("it has a marker that cannot be there")
		}
		if at+2 > len(b) {
			return nil, errShort
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n < 2 || at+n > len(b) {
			return nil, errShort
		}
		body := b[at+2 : at+n]
		at += n
		if mark == markAPP0+1 && turned == 0 {
			if turned = orientation(body); turned > 1 {
				out = append(out, turnedSegment(turned)...)
			}
		}
		if keepsSegment(mark, body) {
			out = append(append(out, 0xff, mark, byte(n>>8), byte(n)), body...)
		}
		if mark == markSOS {
			end := scanEnd(b, at)
			if end < 0 {
				return nil, errShort
			}
			out = append(out, b[at:end]...)
			at = end
		}
	}
}

// keepsSegment says whether a segment changes how a picture looks.
func keepsSegment(mark byte, body []byte) bool {
	switch mark {
	case markAPP0:
		return bytes.HasPrefix(body, []byte("JFIF\x00")) && len(body) == 14 // without the preview that may be in it
	case markAPP0 + 2:
		return bytes.HasPrefix(body, []byte("ICC_PROFILE\x00"))
	case markAPP0 + 14:
		return bytes.HasPrefix(body, []byte("Adobe"))
	case markCOM:
		return false
	}
	return mark < markAPP0 || mark > markAPPF && mark < 0xf0 // without the other APPn, and JPGn
}

// scanEnd is where the marker is that follows the data of a scan; -1: there is none.
func scanEnd(b []byte, at int) int {
	for ; at+1 < len(b); at++ {
		if b[at] == 0xff && b[at+1] != 0 && b[at+1] != 0xff && (b[at+1] < markRST0 || b[at+1] > markRST7) {
			return at
		}
	}
	return -1
}

const (
	exifHead       = "Exif\x00\x00"
	tagOrientation = 0x0112
)

// orientation reads how a picture is turned out of EXIF: 1 to 8; 0: it does not say.
func orientation(segment []byte) byte {
	tiff, ok := bytes.CutPrefix(segment, []byte(exifHead))
	if !ok || len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(tiff[:2]) == "MM" {
		order = binary.BigEndian
	}
	at := order.Uint32(tiff[4:])
	if uint64(at)+2 > uint64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for n := int(order.Uint16(tiff[at:])); n > 0 && len(entries) >= 12; n-- {
		if order.Uint16(entries) == tagOrientation {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return byte(v)
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// turnedSegment is an APP1 segment that says how a picture is turned, and nothing else.
func turnedSegment(turned byte) []byte {
	body := append([]byte(exifHead), "MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"...)
	body = append(body, turned, 0, 0, 0, 0, 0, 0)
	return append([]byte{0xff, markAPP0 + 1, 0, byte(len(body) + 2)}, body...)
}

const pngHead = "\x89PNG\r\n\x1a\n"

// keptChunks are those of PNG (third edition, Section 11) that say how a picture looks.
var keptChunks = map[string]bool{
	"IHDR": true, "PLTE": true, "IDAT": true, "IEND": true, "tRNS": true, "cHRM": true, "gAMA": true, "iCCP": true, "sBIT": true, "sRGB": true, "cICP": true,
	"bKGD": true, "pHYs": true, "acTL": true, "fcTL": true, "fdAT": true,
}

func stripPNG(b []byte) ([]byte, error) {
	out := append(make([]byte, 0, len(b)), pngHead...)
	for at := len(pngHead); ; {
		if len(b)-at < 12 {
			return nil, errShort
		}
		n := uint64(binary.BigEndian.Uint32(b[at:]))
		if n > uint64(len(b)-at-12) {
			return nil, errShort
		}
		chunk := b[at : at+12+int(n)] //nolint:gosec // it fits
		name := string(chunk[4:8])
		if crc32.ChecksumIEEE(chunk[4:8+n]) != binary.BigEndian.Uint32(chunk[8+n:]) {
			return nil, errors.New("a checksum is wrong")
		}
		if keptChunks[name] {
			out = append(out, chunk...)
		}
		if name == "IEND" {
			return out, nil
		}
		at += len(chunk)
	}
}

// keptWebP are the chunks of WebP (RFC 9649, Section 2.7) that say how a picture looks.
var keptWebP = []string{"VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF", "ICCP"}

// Flags of VP8X: that there is EXIF, that there is XMP.
const webPMetadata = 1<<3 | 1<<2

func stripWebP(b []byte) ([]byte, error) {
	end := uint64(binary.LittleEndian.Uint32(b[4:])) + 8
	if end > uint64(len(b)) || end < 12 {
		return nil, errShort
	}
	b = b[:end]
	out := append(make([]byte, 0, len(b)), b[:12]...)
	for at := 12; at < len(b); {
		if len(b)-at < 8 {
			return nil, errShort
		}
		n := uint64(binary.LittleEndian.Uint32(b[at+4:]))
		whole := 8 + n + n%2
		if whole > uint64(len(b)-at) {
			return nil, errShort
		}
		chunk := b[at : at+int(whole)] //nolint:gosec // it fits
		at += len(chunk)
		if !slices.Contains(keptWebP, string(chunk[:4])) {
			continue
		}
		begin := len(out)
		out = append(out, chunk...)
		if string(chunk[:4]) == "VP8X" && n > 0 {
			out[begin+8] &^= webPMetadata
		}
	}
	if len(out) == 12 {
		return nil, errors.New("there is no picture in it")
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8)) //nolint:gosec // shorter than before
	return out, nil
}
