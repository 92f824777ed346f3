package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"
)

var update = flag.Bool("update", false, "seal testdata/golden.blob anew")

// memory is where the blobs of tests lie.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

var testKey = Key{1, 2, 3}

func sealed(t testing.TB, n int) (Blob, *memory, []byte) {
	t.Helper()
	m, plain := &memory{}, content(n)
	s, err := Seal(m, bytes.NewReader(plain), int64(n), testKey)
	if err != nil {
		t.Fatal(err)
	}
	b := Blob{F: m, Root: s.Root, Length: Length(int64(n))}
	if got := blake3.Sum256(m.b[:b.Length]); got != s.Root {
		t.Fatalf("%d bytes: the root is %x, BLAKE3 says %x", n, s.Root, got)
	}
	if got := sha256.Sum256(m.b[:b.Length]); got != s.Hash {
		t.Fatalf("%d bytes: the hash is wrong", n)
	}
	if int64(len(m.b)) != Room(b.Length) {
		t.Fatalf("%d bytes take %d, and were to take %d", n, len(m.b), Room(b.Length))
	}
	return b, m, plain
}

var sizes = []int{0, 1, 2, 100, 65535, 65536, 65537, 3 << 16, 300_000, 1 << 20, 2_500_000}

// Sealed files open again, and each slice is what Bao makes of the same bytes.
func TestSealOpenSlice(t *testing.T) {
	t.Parallel()
	for _, n := range sizes {
		b, m, plain := sealed(t, n)
		r, err := Open(m, int64(n), testKey)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
		}
		if !b.Check().Whole(b.Length) || !bytes.Equal(b.Check(), All(b.Length)) {
			t.Errorf("%d bytes: a whole blob is not", n)
		}
		if _, err := Open(m, int64(n), Key{9}); !errors.Is(err, ErrSealed) {
			t.Errorf("another key: %v", err)
		}
		groups := Groups(b.Length)
		outboard, _ := bao.EncodeBuf(m.b[:b.Length], logGroup, true)
		for from := range groups {
			for _, count := range []int{1, min(5, groups-from), groups - from} {
				var got, want bytes.Buffer
				if err := b.Slice(&got, from, count); err != nil {
					t.Fatal(err)
				}
				start, end := int64(from)*GroupSize, min(b.Length, int64(from+count)*GroupSize)
				if err := bao.ExtractSlice(&want, bytes.NewReader(m.b[start:end]), bytes.NewReader(outboard), logGroup, uint64(start), uint64(end-start)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Fatalf("%d bytes, groups %d and %d more: not the slice of Bao", n, from, count-1)
				}
				part := &memory{}
				have := NewBits(b.Length)
				o := Blob{F: part, Root: b.Root, Length: b.Length}
				if err := o.Take(&got, from, count, have.Set); err != nil || have.Count() != count {
					t.Fatalf("%d bytes, groups %d and %d more: %d taken, %v", n, from, count-1, have.Count(), err)
				}
				// A part of a blob is enough to pass it on, and to find it again.
				var again bytes.Buffer
				if err := o.Slice(&again, from, count); err != nil || !bytes.Equal(again.Bytes(), want.Bytes()) {
					t.Fatalf("%d bytes, groups %d and %d more: not passed on as they came, %v", n, from, count-1, err)
				}
				if found := o.Check(); !bytes.Equal(found, have) {
					t.Fatalf("%d bytes, groups %d and %d more: found again %x, not %x", n, from, count-1, found, have)
				}
			}
		}
	}
}

// All groups before a wrong bit of a slice are taken, and none from it on.
func TestWrongBytes(t *testing.T) {
	t.Parallel()
	b, _, _ := sealed(t, 300_000)
	groups := Groups(b.Length)
	var slice bytes.Buffer
	if err := b.Slice(&slice, 0, groups); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		at := random.IntN(slice.Len())
		bad := bytes.Clone(slice.Bytes())
		bad[at] ^= 1 << random.IntN(8)
		m, have := &memory{}, NewBits(b.Length)
		o := Blob{F: m, Root: b.Root, Length: b.Length}
		in := bytes.NewReader(bad)
		err := o.Take(in, 0, groups, have.Set)
		if !errors.Is(err, ErrWrong) && !errors.Is(err, ErrSize) {
			t.Fatalf("a wrong bit at %d: %v", at, err)
		}
		read := len(bad) - in.Len()
		if read > at+GroupSize {
			t.Errorf("a wrong bit at %d was found after %d bytes", at, read)
		}
		if !bytes.Equal(o.Check(), have) {
			t.Errorf("a wrong bit at %d: %x taken, %x are right", at, have, o.Check())
		}
	}
	for cut := range 40 {
		short := slice.Bytes()[:cut*slice.Len()/40]
		o := Blob{F: &memory{}, Root: b.Root, Length: b.Length}
		if err := o.Take(bytes.NewReader(short), 0, groups, func(int) {}); err == nil {
			t.Errorf("a slice of %d bytes was taken as whole", len(short))
		}
	}
}

// A blob of which the length is not what was said is refused before anything is kept.
func TestLengthLies(t *testing.T) {
	t.Parallel()
	b, _, _ := sealed(t, 300_000)
	for _, size := range []int64{0, 1, 200_000, 600_000, MaxSize} {
		var slice bytes.Buffer
		if err := b.Slice(&slice, 0, 1); err != nil {
			t.Fatal(err)
		}
		m := &memory{}
		lie := Blob{F: m, Root: b.Root, Length: Length(size)}
		if err := lie.Take(&slice, 0, 1, func(int) { t.Error("a group was taken") }); !errors.Is(err, ErrSize) || len(m.b) > 0 {
			t.Errorf("%d bytes: %v, %d kept", size, err, len(m.b))
		}
	}
	for _, size := range []int64{299_999, 300_001, MaxSize + 1, -1} {
		if _, err := Seal(&memory{}, bytes.NewReader(content(300_000)), size, testKey); !errors.Is(err, ErrSize) {
			t.Errorf("sealed as %d bytes: %v", size, err)
		}
	}
}

func TestPadded(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int64{0: 0, 1: 1, 9: 10, 1000: 1024, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15, MaxSize: MaxSize} {
		if got := Padded(size); got != want {
			t.Errorf("%d bytes are padded to %d, not %d", size, got, want)
		}
	}
	last := int64(0)
	for size := int64(1); size < MaxSize; size += size/7 + 1 {
		p := Padded(size)
		if p < size || p < last || p-size > size*12/100+1 || Padded(p) != p {
			t.Fatalf("%d bytes are padded to %d", size, p)
		}
		last = p
	}
}

func TestBits(t *testing.T) {
	t.Parallel()
	length := Length(10 << 16)
	for _, b := range []Bits{nil, make(Bits, 1), make(Bits, 3), {0xff, 0xff}, {0, 0x10}} {
		if b.Fits(length) == (len(b) == 2 && b[1] < 0x08) {
			continue
		}
		t.Errorf("%x fits: %v", b, b.Fits(length))
	}
	if b := All(length); !b.Fits(length) || b.Count() != Groups(length) || b.Has(Groups(length)) || b.Has(1<<20) {
		t.Errorf("%x", b)
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	k := Key(bytes.Repeat([]byte{0xab}, 32))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != placeholder {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if b, err := k.MarshalText(); err != nil || string(b) != placeholder || k.LogValue().String() != placeholder {
		t.Errorf("%s, %v", b, err)
	}
}

// A blob that an earlier program sealed opens for ever, under the name that it had.
func TestGolden(t *testing.T) {
	t.Parallel()
	const file = "testdata/golden.blob"
	if *update {
		_, m, _ := sealed(t, 100)
		if err := os.WriteFile(file, m.b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(bytes.NewReader(b), 100, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content(100)) {
		t.Errorf("it holds %x, %v", got, err)
	}
	const root = "bb862830af7891726c4d2217ecdcf4b41352b78959d82ebd112ec93b3c3849f8"
	if got := blake3.Sum256(b); hex.EncodeToString(got[:]) != root {
		t.Errorf("its root is %x, not %s", got, root)
	}
}

// Of any bytes only those are taken that the root names.
func FuzzTake(f *testing.F) {
	b, m, _ := sealed(f, 200_000)
	for from := range Groups(b.Length) {
		var slice bytes.Buffer
		if err := b.Slice(&slice, from, 1); err != nil {
			f.Fatal(err)
		}
		f.Add(slice.Bytes(), byte(from), byte(1))
	}
	f.Fuzz(func(t *testing.T, slice []byte, from, groups byte) {
		if !b.Has(int(from), int(groups)) {
			return
		}
		o := Blob{F: &memory{}, Root: b.Root, Length: b.Length}
		_ = o.Take(bytes.NewReader(slice), int(from), int(groups), func(g int) {
			start, end := int64(g)*GroupSize, min(b.Length, int64(g+1)*GroupSize)
			got := make([]byte, end-start)
			if _, err := o.F.ReadAt(got, start); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, m.b[start:end]) {
				t.Errorf("group %d is not what the root names", g)
			}
		})
	})
}

func BenchmarkSeal(b *testing.B) {
	plain := content(50 << 20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := Seal(&memory{make([]byte, 60<<20)}, bytes.NewReader(plain), int64(len(plain)), testKey); err != nil {
			b.Fatal(err)
		}
	}
}
