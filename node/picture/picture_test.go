package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"runtime"
	"testing"
)

const secret = "at home in the Alps"

// half is a picture that is red on its left and blue on its right.
func half(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{R: 0xff, A: 0xff}
			if x >= w/2 {
				c = color.RGBA{B: 0xff, A: 0xff}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func segment(mark byte, body string) []byte {
	return append([]byte{0xff, mark, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
}

// exif says how a picture is turned, little-endian, beside something else.
func exif(turned byte) string {
	return exifHead + "II\x2a\x00\x08\x00\x00\x00\x02\x00" + "\x0f\x01\x02\x00\x13\x00\x00\x00\x26\x00\x00\x00" +
		"\x12\x01\x03\x00\x01\x00\x00\x00" + string(turned) + "\x00\x00\x00" + "\x00\x00\x00\x00" + secret
}

func inJPEG(t testing.TB, turned byte) []byte {
	b := asJPEG(t, half(64, 32))
	out := bytes.Clone(b[:2])
	for _, s := range [][]byte{
		segment(markAPP0+1, exif(turned)), segment(markAPP0+1, "http://ns.adobe.com/xap/1.0/\x00"+secret), segment(markAPP0+13, "Photoshop 3.0\x00"+secret),
		segment(markAPP0+2, "MPF\x00"+secret), segment(markCOM, secret), segment(markAPP0+2, "ICC_PROFILE\x00\x01\x01colours"), segment(markAPP0+11, secret),
	} {
		out = append(out, s...)
	}
	return append(append(out, b[2:]...), secret...)
}

func chunk(name, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func inPNG(t testing.TB) []byte {
	b := asPNG(t, half(64, 32))
	const first = 8 + 12 + 13
	out := bytes.Clone(b[:first])
	for _, c := range []string{"eXIf", "tEXt", "iTXt", "zTXt", "tIME", "prVt"} {
		out = append(out, chunk(c, secret)...)
	}
	return append(append(out, b[first:]...), secret...)
}

func riff(name, body string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	return append(b, make([]byte, len(body)%2)...)
}

func inWebP() []byte {
	body := []byte("WEBP")
	for _, c := range [][]byte{
		riff("VP8X", "\x2c\x00\x00\x00\x3f\x00\x00\x1f\x00\x00"), riff("ICCP", "colours"), riff("VP8L", "pixels, which nobody looks at"),
		riff("EXIF", secret), riff("XMP ", secret+"."), riff("MINE", secret),
	} {
		body = append(body, c...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), append(body, secret...)...)
}

// oneColour is a lossless WebP of one colour: each of the five codes of its pixels has one
// symbol, which takes no bit (WebP Lossless Bitstream Specification, sections 3 and 6.2).
func oneColour(w, h int, r, g, b byte) []byte {
	var bits []byte
	put := func(v, n int) {
		for i := range n {
			bits = append(bits, byte(v>>i&1))
		}
	}
	put(0x2f, 8)
	put(w-1, 14)
	put(h-1, 14)
	put(0, 1+3)   // no alpha, version 0
	put(0, 1+1+1) // no transform, no cache, one group of codes
	for _, symbol := range []byte{g, r, b, 0xff} {
		put(0b101, 3) // simple, of one symbol, in eight bits
		put(int(symbol), 8)
	}
	put(0b001, 3) // of distances: one symbol, in one bit
	put(0, 1)
	data := make([]byte, (len(bits)+7)/8)
	for i, bit := range bits {
		data[i/8] |= bit << (i % 8)
	}
	body := append([]byte("WEBP"), riff("VP8L", string(data))...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// Of where and by whom a picture was taken nothing is left, and it looks as before.
func TestStrip(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{"jpeg": inJPEG(t, 1), "turned": inJPEG(t, 6), "png": inPNG(t), "webp": inWebP()} {
		if !bytes.Contains(b, []byte(secret)) {
			t.Fatalf("%s: there is nothing to take out", name)
		}
		out, err := Strip(b)
		if err != nil || bytes.Contains(out, []byte("Alps")) || KindOf(out) != KindOf(b) {
			t.Errorf("%s: %q, %v", name, out, err)
			continue
		}
		if again, err := Strip(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%s: it changes once more, %v", name, err)
		}
		if name == "webp" {
			if out[20] != 0x20 || !bytes.Contains(out, []byte("colours")) || int(binary.LittleEndian.Uint32(out[4:]))+8 != len(out) {
				t.Errorf("webp: %q", out)
			}
			continue
		}
		before, _, err := image.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := image.Decode(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		for y := range 32 {
			for x := range 64 {
				if before.At(x, y) != after.At(x, y) {
					t.Fatalf("%s: it looks different", name)
				}
			}
		}
		if name != "png" && !bytes.Contains(out, []byte("colours")) {
			t.Errorf("%s: its colours are lost", name)
		}
		if want := map[string]byte{"turned": 6}[name]; want > 0 && turnOf(out) != want {
			t.Errorf("%s: it is turned %d", name, turnOf(out))
		}
	}
	if out, err := Strip([]byte("no picture")); err != nil || string(out) != "no picture" {
		t.Errorf("%q, %v", out, err)
	}
}

// Something that begins as a picture and is none is refused, however it ends: nothing goes out
// unstripped.
func TestStripRefuses(t *testing.T) {
	t.Parallel()
	refused := 0
	for _, b := range [][]byte{inJPEG(t, 6), inPNG(t), inWebP()} {
		whole, err := Strip(b)
		if err != nil {
			t.Fatal(err)
		}
		for n := 12; n < len(whole); n++ {
			out, err := Strip(whole[:n])
			if err == nil || !errors.Is(err, ErrUnreadable) || out != nil {
				t.Fatalf("%s: %d of %d bytes are taken: %v", KindOf(b), n, len(whole), err)
			}
			refused++
		}
	}
	if refused < 500 {
		t.Errorf("%d refused", refused)
	}
}

// A preview is small, and the right way up.
func TestPreview(t *testing.T) {
	t.Parallel()
	var moving bytes.Buffer
	if err := gif.Encode(&moving, half(1000, 500), nil); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"jpeg": asJPEG(t, half(1000, 500)), "png": asPNG(t, half(1000, 500)), "gif": moving.Bytes()} {
		out := Preview(b, 12<<10)
		img, err := jpeg.Decode(bytes.NewReader(out))
		if err != nil || len(out) > 12<<10 || img.Bounds().Dx() != 320 || img.Bounds().Dy() != 160 {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
	for turn, red := range map[byte]image.Point{1: {0, 16}, 2: {63, 16}, 3: {63, 16}, 4: {0, 16}, 5: {16, 0}, 6: {16, 0}, 7: {16, 63}, 8: {16, 63}} {
		img, err := jpeg.Decode(bytes.NewReader(Preview(inJPEG(t, turn), 12<<10)))
		if err != nil {
			t.Fatal(err)
		}
		if r, _, b, _ := img.At(red.X, red.Y).RGBA(); r < 0xc000 || b > 0x4000 {
			t.Errorf("turned %d: red is not where it should be", turn)
		}
	}
	if out := Preview(asJPEG(t, half(1000, 500)), 1500); out == nil || len(out) > 1500 {
		t.Errorf("a preview of %d bytes", len(out))
	}
	out := Preview(oneColour(640, 320, 0xe0, 0x10, 0x20), 12<<10)
	if small, err := jpeg.Decode(bytes.NewReader(out)); err != nil {
		t.Errorf("a WebP: %v", err)
	} else if r, _, b, _ := small.At(9, 9).RGBA(); small.Bounds() != image.Rect(0, 0, 320, 160) || r < 0xc000 || b > 0x4000 {
		t.Errorf("a WebP: %v, red %x, blue %x", small.Bounds(), r, b)
	}
	for name, b := range map[string][]byte{"nothing": nil, "a text": []byte("no picture"), "a WebP without a picture": inWebP(), "half a picture": inPNG(t)[:200]} {
		if Preview(b, 12<<10) != nil {
			t.Errorf("%s has a preview", name)
		}
	}
}

// A picture that says that it is huge is not unpacked. It runs alone, since it looks at memory.
func TestBomb(t *testing.T) {
	bomb := asPNG(t, half(2, 2))
	binary.BigEndian.PutUint32(bomb[16:], 20_000)
	binary.BigEndian.PutUint32(bomb[20:], 20_000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	if cfg, err := png.DecodeConfig(bytes.NewReader(bomb)); err != nil || cfg.Width != 20_000 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, b := range [][]byte{bomb, oneColour(16_384, 16_384, 1, 2, 3), oneColour(6_000, 6_000, 1, 2, 3)} {
		if Preview(b, 12<<10) != nil {
			t.Error("it has a preview")
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 10<<20 {
		t.Errorf("%d bytes were taken", after.TotalAlloc-before.TotalAlloc)
	}
}

func FuzzStrip(f *testing.F) {
	for _, b := range [][]byte{inJPEG(f, 6), inPNG(f), inWebP()} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Strip(b)
		if err != nil {
			return
		}
		if again, err := Strip(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("it changes once more: %v", err)
		}
	})
}
