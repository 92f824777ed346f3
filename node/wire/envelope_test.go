package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func keyAtHand(KeyID) []byte { return sampleKey }

// sealRaw seals any plaintext, padded with zeros to a length that the header's
// check lets pass.
func sealRaw(t testing.TB, inner []byte) []byte {
	t.Helper()
	b := bytes.Clone(fixedEnvelope(t)[:envelopeHeader])
	aead, err := envelopeAEAD(sampleGroup, sampleKey, b[envelopeSaltAt:])
	if err != nil {
		t.Fatal(err)
	}
	padded := make([]byte, padme(len(inner)))
	copy(padded, inner)
	return aead.Seal(b, make([]byte, 12), padded, b)
}

func TestEnvelopeOpens(t *testing.T) {
	b := fixedEnvelope(t)
	h, err := ParseEnvelopeHeader(b)
	if err != nil || h.Tag != sampleGroup.TopicTag() || h.Key != KeyIDOf(sampleGroup, sampleKey) || !bytes.Equal(h.Salt[:], fill(0x80, 32)) {
		t.Errorf("header %x, %v", h, err)
	}
	u, err := OpenEnvelope(sampleGroup, func(id KeyID) []byte {
		if id != h.Key {
			t.Errorf("asked for key %x", id)
		}
		return sampleKey
	}, b)
	if err != nil || !bytes.Equal(Marshal(u), Marshal(sampleBundle)) {
		t.Errorf("%x, %v", u, err)
	}
	for _, part := range append(u.Entries, u.Seals...) {
		if bytes.Contains(b, part[len(part)/2:]) {
			t.Error("the envelope shows what is in it")
		}
	}
}

func TestEnvelopeRefused(t *testing.T) {
	b := fixedEnvelope(t)
	for n := range b {
		want := ErrMalformed
		if padded := n - envelopeHeader - gcmTag; padded > 0 && padme(padded) == padded {
			want = ErrNotAuthentic // a length that an envelope may have
		}
		if _, err := OpenEnvelope(sampleGroup, keyAtHand, b[:n]); !errors.Is(err, want) {
			t.Fatalf("its first %d bytes: %v", n, err)
		}
	}
	if _, err := OpenEnvelope(sampleGroup, keyAtHand, append(bytes.Clone(b), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("trailing byte: %v", err)
	}
	for i := range 8 * len(b) {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		want := ErrNotAuthentic
		switch at := i / 8; {
		case at < 1:
			want = ErrVersion
		case at < 9:
			want = ErrMalformed // another group's tag
		}
		if _, err := OpenEnvelope(sampleGroup, keyAtHand, flipped); !errors.Is(err, want) {
			t.Errorf("bit %d flipped: %v, want %v", i, err, want)
		}
	}
	tests := []struct {
		what  string
		group GroupID
		key   []byte
		want  error
	}{
		{"another group", GroupID{1}, sampleKey, ErrMalformed},
		{"unknown key", sampleGroup, nil, ErrUnknownKey},
		{"empty key", sampleGroup, []byte{}, ErrMalformed},
		{"short key", sampleGroup, sampleKey[:31], ErrMalformed},
		{"wiped key", sampleGroup, make([]byte, 32), ErrMalformed},
		{"another key", sampleGroup, fill(0x21, 32), ErrNotAuthentic},
	}
	for _, test := range tests {
		if _, err := OpenEnvelope(test.group, func(KeyID) []byte { return test.key }, b); !errors.Is(err, test.want) {
			t.Errorf("open with %s: %v, want %v", test.what, err, test.want)
		}
	}
	for _, key := range [][]byte{nil, {}, sampleKey[:31], make([]byte, 32)} {
		if _, err := SealEnvelope(bytes.NewReader(fill(0, 32)), sampleGroup, key, sampleBundle); !errors.Is(err, ErrMalformed) {
			t.Errorf("seal under %x: %v", key, err)
		}
	}
	if _, err := SealEnvelope(bytes.NewReader(fill(0, 31)), sampleGroup, sampleKey, sampleBundle); err == nil {
		t.Error("sealed with half a salt")
	}
}

// An insider, who has the key, can break the inner form too.
func TestEnvelopeInside(t *testing.T) {
	plain := Marshal(sampleBundle)
	framed := func(n int, rest ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(n)), plain...), rest...)
	}
	for what, inner := range map[string][]byte{
		"length beyond the end":   framed(1 << 20),
		"length beyond int32":     {0xff, 0xff, 0xff, 0xff},
		"padding that is not 0":   framed(len(plain), 1),
		"shorter than it says":    framed(len(plain) - 1),
		"padding of a longer one": append(framed(len(plain)), make([]byte, 300)...),
		"no bundle":               {},
	} {
		if _, err := OpenEnvelope(sampleGroup, keyAtHand, sealRaw(t, inner)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := OpenEnvelope(sampleGroup, keyAtHand, sealRaw(t, framed(len(plain)))); err != nil {
		t.Errorf("the test's own envelope: %v", err)
	}
}

func TestLargestEnvelope(t *testing.T) {
	const largest = 516096 - 4 // the last Padmé length below MaxEnvelope
	over := len(Marshal(&Bundle{Entries: [][]byte{make([]byte, 500000)}})) - 500000
	for n, fits := range map[int]bool{largest - over: true, largest - over + 1: false, MaxEntry + 128: true} {
		u := &Bundle{Entries: [][]byte{make([]byte, n)}}
		b, err := SealEnvelope(bytes.NewReader(fill(0, 32)), sampleGroup, sampleKey, u)
		if !fits {
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("entry of %d bytes: %v", n, err)
			}
			continue
		}
		if err != nil || len(b) > MaxEnvelope {
			t.Errorf("entry of %d bytes: envelope of %d, %v", n, len(b), err)
			continue
		}
		if got, err := OpenEnvelope(sampleGroup, keyAtHand, b); err != nil || len(got.Entries[0]) != n {
			t.Errorf("entry of %d bytes: %v", n, err)
		}
	}
	if _, err := ParseEnvelopeHeader(append([]byte{1}, make([]byte, MaxEnvelope)...)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond MaxEnvelope: %v", err)
	}
}

// The paper gives Padmé in floating point: E = ⌊log₂ L⌋, S = ⌊log₂ E⌋ + 1, the last
// E − S bits are zero.
func TestPadme(t *testing.T) {
	lengths := make(map[int]bool)
	for n := 1; n <= MaxEnvelope; n++ {
		got := padme(n)
		lengths[got] = true
		want := 256
		if n > 256 {
			e := math.Floor(math.Log2(float64(n)))
			last := 1 << int(e-math.Floor(math.Log2(e))-1)
			want = (n + last - 1) / last * last
		}
		if got != want {
			t.Fatalf("padme(%d) = %d, want %d", n, got, want)
		}
		if n > 256 && float64(got-n) > 0.12*float64(n) || padme(got) != got {
			t.Fatalf("padme(%d) = %d costs too much or is padded again", n, got)
		}
	}
	if len(lengths) > 230 {
		t.Errorf("%d different lengths", len(lengths))
	}
}

// A boxed envelope is what is left without version, tag and key ID, and gives the
// envelope back.
func TestBoxed(t *testing.T) {
	e := fixedEnvelope(t)
	tag, key := sampleGroup.TopicTag(), KeyIDOf(sampleGroup, sampleKey)
	boxed := Boxed(e)
	if bytes.Contains(boxed, tag[:]) || bytes.Contains(boxed, key[:]) {
		t.Error("it tells of its group")
	}
	if !bytes.Equal(Unboxed(tag, key, boxed), e) {
		t.Error("it does not give the envelope back")
	}
	if err := CheckBoxed(boxed); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, boxed[1:], append(boxed[:len(boxed):len(boxed)], 0), make([]byte, MaxEnvelope)} {
		if err := CheckBoxed(bad); err == nil {
			t.Errorf("%d bytes are no boxed envelope", len(bad))
		}
	}
	if got := Boxed([]byte("short")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
