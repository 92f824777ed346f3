// Package blob seals files, and checks what others send of them.
//
// A file is padded, so that its length says little, and sealed as a file of age
// (age-encryption.org/v1), whose key is wrapped by the file's own: a random Key that only the
// message holds which names the file. A sealed file is a blob. Its name is the BLAKE3 root of
// its bytes, and its tree has a leaf for each group of 64 KiB (Bao), so that each group of
// any holder is checked as it comes, whoever has the others.
//
// The package keeps nothing: a blob lies in what its caller gives, first its bytes, then its
// tree. It draws no key; age draws two values of its own for each file, so that sealing the
// same file twice gives two blobs.
package blob

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
	"lukechampine.com/blake3/bao"
	"lukechampine.com/blake3/guts"

	"github.com/pandanode/pandanode/node/wire"
)

// Sizes, in bytes.
const (
	GroupSize = 64 << 10 // a leaf of the tree: what is checked, asked for and kept alone
	MaxSize   = 4 << 30  // a file

	logGroup   = 6 // of Bao: a group has 2^6 chunks of 1 KiB
	parentSize = 64
	headSize   = 8 // of an encoding of Bao: the length
)

var (
	// ErrWrong says that bytes are not those that the root names.
	ErrWrong = errors.New("the bytes are not those of the file")
	// ErrSize says that a file is not as long as was said.
	ErrSize = errors.New("the file is not as long as was said")
	// ErrSealed says that a blob does not open: it is damaged, or the key is another one's.
	ErrSealed = errors.New("the file cannot be opened: it is damaged, or its key is another one's")
)

// Key opens one file. It prints as a placeholder.
type Key [32]byte

const placeholder = "[file key]"

// Format, LogValue and MarshalText keep the key out of logs.
func (Key) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, placeholder) }
func (Key) LogValue() slog.Value         { return slog.StringValue(placeholder) }
func (Key) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// Padded is how long a file is made before it is sealed (Padmé): at most 12 % longer, so that
// of the logarithm of its length only some bits show.
func Padded(size int64) int64 {
	if size < 2 {
		return size
	}
	e := bits.Len64(uint64(size)) - 1 //nolint:gosec // positive
	mask := int64(1)<<(e-bits.Len(uint(e))) - 1
	return (size + mask) &^ mask
}

// sealHead is the length of age's header with one stanza of ours, and of the nonce after it.
const sealHead = 128 + 16

// Length is how long the blob of a file of a size is. The size is from 0 to MaxSize.
func Length(size int64) int64 {
	padded := Padded(size)
	return sealHead + padded + chacha20poly1305.Overhead*max(1, (padded+GroupSize-1)/GroupSize)
}

// Groups is how many groups a blob of a length has.
func Groups(length int64) int { return int((length + GroupSize - 1) / GroupSize) }

// Room is how many bytes a blob of a length takes with its tree.
func Room(length int64) int64 { return length + parentSize*int64(Groups(length)-1) }

// wrap is the recipient and the identity of one file.
type wrap Key

const stanza = "panda-file"

var noNonce [chacha20poly1305.NonceSize]byte

// Wrap seals age's own key under the file's. A file's key wraps one key only.
func (w wrap) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	aead, err := chacha20poly1305.New(w[:])
	if err != nil {
		return nil, err
	}
	body := aead.Seal(nil, noNonce[:], fileKey, []byte(wire.DomainFile)) //nolint:gosec // see Wrap: one key, one message
	return []*age.Stanza{{Type: stanza, Body: body}}, nil
}

// Unwrap is the inverse of Wrap.
func (w wrap) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanza || len(stanzas[0].Args) > 0 {
		return nil, age.ErrIncorrectIdentity
	}
	aead, err := chacha20poly1305.New(w[:])
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, noNonce[:], stanzas[0].Body, []byte(wire.DomainFile))
}

// Sealed names a blob.
type Sealed struct {
	Root wire.BlobRoot
	Hash [32]byte // SHA-256
}

// Seal seals a file of a size into dst, its tree behind it. Errors: ErrSize; those of src and
// dst.
func Seal(dst io.WriterAt, src io.Reader, size int64, key Key) (out Sealed, err error) {
	if size < 0 || size > MaxSize {
		return out, fmt.Errorf("%w: %d bytes, and at most %d are possible", ErrSize, size, int64(MaxSize))
	}
	exact := &exactly{r: src, left: size}
	padding := io.LimitReader(zeros{}, Padded(size)-size)
	sealed, err := age.EncryptReader(io.MultiReader(exact, padding), wrap(key))
	if err != nil {
		return out, err
	}
	length, sum := Length(size), sha256.New()
	all := io.TeeReader(sealed, io.MultiWriter(sum, io.NewOffsetWriter(dst, 0)))
	// The length that opens Bao's encoding is not kept: it would lie in front of the tree.
	root, err := bao.Encode(behind{dst, length - headSize, length}, all, length, logGroup, true)
	if err == nil {
		_, err = io.ReadFull(sealed, make([]byte, 1))
		if err == nil || !errors.Is(err, io.EOF) {
			return out, fmt.Errorf("%w: the sealed file is longer: %w", ErrSize, err)
		}
		err = nil
	}
	if err != nil {
		return out, err
	}
	out.Root = root
	sum.Sum(out.Hash[:0])
	return out, nil
}

// behind writes behind a blob, and drops what would lie before its end.
type behind struct {
	w        io.WriterAt
	off, end int64
}

func (b behind) WriteAt(p []byte, off int64) (int, error) {
	if off += b.off; off < b.end {
		return len(p), nil
	}
	return b.w.WriteAt(p, off)
}

// exactly reads a number of bytes, and fails where there are fewer or more.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		var one [1]byte
		switch n, err := io.ReadFull(e.r, one[:]); {
		case n > 0:
			return 0, fmt.Errorf("%w: it is longer", ErrSize)
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		default:
			return 0, err
		}
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) {
		if err = nil; e.left > 0 {
			err = fmt.Errorf("%w: %d bytes are missing", ErrSize, e.left)
		}
	}
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Open gives a file of a size, whose blob is whole. Errors: ErrSealed, of reads too.
func Open(f io.ReaderAt, size int64, key Key) (*io.SectionReader, error) {
	plain, padded, err := age.DecryptReaderAt(f, Length(size), wrap(key))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if padded != Padded(size) {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrSealed, padded)
	}
	return io.NewSectionReader(plain, 0, size), nil
}

// Blob is a blob, whole or in parts, in what its caller gives: bytes, then tree.
type Blob struct {
	F interface {
		io.ReaderAt
		io.WriterAt
	}
	Root   wire.BlobRoot
	Length int64
}

// cv is a chaining value of BLAKE3.
type cv = [8]uint32

func toCV(b []byte) (c cv) {
	for i := range c {
		c[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return c
}

// node is the node of the tree over p, which begins with the chunk of that number.
func node(p []byte, chunk uint64) guts.Node {
	const most = guts.MaxSIMD * guts.ChunkSize
	if len(p) <= most {
		var buf [most]byte
		return guts.CompressBuffer(&buf, copy(buf[:], p), &guts.IV, chunk, 0)
	}
	mid := 1 << (bits.Len(uint(len(p)-1)) - 1)
	l, r := guts.ChainingValue(node(p[:mid], chunk)), guts.ChainingValue(node(p[mid:], chunk+uint64(mid/guts.ChunkSize)))
	return guts.ParentNode(l, r, &guts.IV, 0)
}

// walker goes through the part of a tree that is above some groups, in the order of a slice
// of Bao. It is given what a parent and a group hold, and checks nothing by itself.
type walker struct {
	from, to int64 // bytes
	parent   func(at int64, c cv, flags uint32) (l, r cv, err error)
	group    func(at, n int64, c cv, flags uint32) error
}

// walk goes through the subtree over n bytes from pos, whose own tree begins at.
func (w walker) walk(pos, n, at int64, c cv, flags uint32) error {
	switch {
	case pos >= w.to || pos+n <= w.from:
		return nil
	case n <= GroupSize:
		return w.group(pos, n, c, flags)
	}
	l, r, err := w.parent(at, c, flags)
	if err != nil {
		return err
	}
	mid := int64(1) << (bits.Len64(uint64(n-1)) - 1) //nolint:gosec // positive
	if err := w.walk(pos, mid, at+parentSize, l, 0); err != nil {
		return err
	}
	return w.walk(pos+mid, n-mid, at+parentSize*(mid/GroupSize), r, 0)
}

func (b Blob) walk(w walker, from, groups int) error {
	w.from, w.to = int64(from)*GroupSize, int64(from+groups)*GroupSize
	return w.walk(0, b.Length, b.Length, toCV(b.Root[:]), guts.FlagRoot)
}

// Has says whether a blob has these groups at all, be they here or not.
func (b Blob) Has(from, groups int) bool {
	return from >= 0 && groups > 0 && from < Groups(b.Length) && groups <= Groups(b.Length)-from
}

// checkParent and checkGroup compare what a node holds with the value that its parent has for it.
func checkParent(p []byte, c cv, flags uint32) (l, r cv, err error) {
	l, r = toCV(p), toCV(p[parentSize/2:])
	if guts.ChainingValue(guts.ParentNode(l, r, &guts.IV, flags)) != c {
		err = ErrWrong
	}
	return l, r, err
}

func checkGroup(p []byte, at int64, c cv, flags uint32) error {
	n := node(p, uint64(at/guts.ChunkSize)) //nolint:gosec // positive
	n.Flags |= flags
	if guts.ChainingValue(n) != c {
		return ErrWrong
	}
	return nil
}

// Slice writes groups with what of the tree is above them: a slice of Bao. It checks nothing,
// and the groups have to be here.
func (b Blob) Slice(w io.Writer, from, groups int) error {
	buf := make([]byte, GroupSize)
	copied := func(at, n int64) error {
		if _, err := b.F.ReadAt(buf[:n], at); err != nil {
			return err
		}
		_, err := w.Write(buf[:n])
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(b.Length))); err != nil { //nolint:gosec // positive
		return err
	}
	return b.walk(walker{
		parent: func(at int64, _ cv, _ uint32) (l, r cv, err error) { return l, r, copied(at, parentSize) },
		group:  func(at, n int64, _ cv, _ uint32) error { return copied(at, n) },
	}, from, groups)
}

// SliceSize is how many bytes Slice writes.
func (b Blob) SliceSize(from, groups int) int64 {
	size := int64(headSize)
	_ = b.walk(walker{ // which reads nothing, and so gives no error
		parent: func(int64, cv, uint32) (l, r cv, err error) { size += parentSize; return l, r, nil },
		group:  func(_, n int64, _ cv, _ uint32) error { size += n; return nil },
	}, from, groups)
	return size
}

// Take reads a slice, and keeps each group as soon as it has proven right; got is told its
// number. It reads no more than a parent or a group beyond what is wrong. Errors: ErrWrong;
// ErrSize if the slice is one of a blob of another length; those of r and of what the blob
// lies in.
func (b Blob) Take(r io.Reader, from, groups int, got func(group int)) error {
	buf := make([]byte, GroupSize)
	read := func(n int64) ([]byte, error) {
		_, err := io.ReadFull(r, buf[:n])
		return buf[:n], err
	}
	head, err := read(headSize)
	if err != nil {
		return err
	}
	if length := binary.LittleEndian.Uint64(head); length != uint64(b.Length) { //nolint:gosec // positive
		return fmt.Errorf("%w: %d bytes sealed, not %d", ErrSize, length, b.Length)
	}
	return b.walk(walker{
		parent: func(at int64, c cv, flags uint32) (l, r cv, err error) {
			p, err := read(parentSize)
			if err == nil {
				l, r, err = checkParent(p, c, flags)
			}
			if err == nil {
				_, err = b.F.WriteAt(p, at)
			}
			return l, r, err
		},
		group: func(at, n int64, c cv, flags uint32) error {
			p, err := read(n)
			if err == nil {
				err = checkGroup(p, at, c, flags)
			}
			if err == nil {
				_, err = b.F.WriteAt(p, at)
			}
			if err == nil {
				got(int(at / GroupSize))
			}
			return err
		},
	}, from, groups)
}

// Check finds the groups that are here and right, whatever was noted of them: after a crash,
// or where the disk is not trusted.
func (b Blob) Check() Bits {
	have := NewBits(b.Length)
	buf := make([]byte, GroupSize)
	w := walker{
		from: 0, to: b.Length,
		parent: func(at int64, c cv, flags uint32) (l, r cv, err error) {
			if _, err := b.F.ReadAt(buf[:parentSize], at); err != nil {
				return l, r, ErrWrong // what is above it is here, or it would not be asked for
			}
			return checkParent(buf, c, flags)
		},
		group: func(at, n int64, c cv, flags uint32) error {
			if _, err := b.F.ReadAt(buf[:n], at); err == nil && checkGroup(buf[:n], at, c, flags) == nil {
				have.Set(int(at / GroupSize))
			}
			return nil
		},
	}
	w.through(0, b.Length, b.Length, toCV(b.Root[:]), guts.FlagRoot)
	return have
}

// through is walk that passes over what is below a wrong parent, and goes on.
func (w walker) through(pos, n, at int64, c cv, flags uint32) {
	if n <= GroupSize {
		_ = w.group(pos, n, c, flags) // it gives none
		return
	}
	l, r, err := w.parent(at, c, flags)
	if err != nil {
		return
	}
	mid := int64(1) << (bits.Len64(uint64(n-1)) - 1) //nolint:gosec // positive
	w.through(pos, mid, at+parentSize, l, 0)
	w.through(pos+mid, n-mid, at+parentSize*(mid/GroupSize), r, 0)
}

// Bits says which groups of a blob are somewhere, a bit each, the lowest first.
type Bits []byte

// NewBits gives those of nothing.
func NewBits(length int64) Bits { return make(Bits, (Groups(length)+7)/8) }

// All gives those of a whole blob.
func All(length int64) Bits {
	b := NewBits(length)
	for i := range Groups(length) {
		b.Set(i)
	}
	return b
}

// Fits says whether they can be those of a blob of a length.
func (b Bits) Fits(length int64) bool {
	n := Groups(length)
	return len(b) == (n+7)/8 && (n%8 == 0 || b[len(b)-1]>>(n%8) == 0)
}

// Has says whether a group is there.
func (b Bits) Has(group int) bool { return group/8 < len(b) && b[group/8]>>(group%8)&1 == 1 }

// Set notes that a group is there.
func (b Bits) Set(group int) { b[group/8] |= 1 << (group % 8) }

// Count is how many groups are there.
func (b Bits) Count() (n int) {
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}

// Whole says whether all groups of a blob of a length are there.
func (b Bits) Whole(length int64) bool { return b.Count() == Groups(length) }
