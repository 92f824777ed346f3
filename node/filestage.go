package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/picture"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// maxPicture is the largest picture whose metadata is taken out: it is read as a whole.
const maxPicture = 64 << 20

// newFile is a file that somebody wants to send.
type newFile struct {
	Name         string
	Type         string // its media type; empty: as its first bytes say
	Size         int64
	KeepMetadata bool
}

// stage seals a file, for a message that names it later. Until then nothing of it is durable.
// Errors: ErrInvalid; errQuota; storage.ErrNoSpace; picture.ErrUnreadable.
func (t *fileTable) stage(ctx context.Context, n newFile, src io.Reader) (content.File, error) {
	out := content.File{Name: n.Name, Size: n.Size}
	if err := content.CheckFileName(n.Name); err != nil {
		return out, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n.Size < 0 || n.Size > t.cfg.Max {
		return out, fmt.Errorf("%w: the file has %d bytes, and at most %d are sent (files.max)", ErrInvalid, n.Size, t.cfg.Max)
	}
	in := bufio.NewReaderSize(&reading{ctx: ctx, r: src}, readAtOnce)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return out, fmt.Errorf("reading the file: %w", err)
	}
	kind := picture.KindOf(head)
	if out.Type = n.Type; out.Type == "" {
		out.Type = http.DetectContentType(head)
	}
	if kind != "" {
		out.Type = kind // whatever its name is: readers see it as a picture
	}
	if strings.ContainsFunc(out.Type, func(r rune) bool { return r <= ' ' && r != ' ' || r > '~' }) || len(out.Type) > content.MaxContentType {
		return out, fmt.Errorf("%w: %q is no media type", ErrInvalid, out.Type)
	}
	src = in
	if kind != "" && (!n.KeepMetadata || n.Size <= maxPicture) {
		if n.Size > maxPicture {
			return out, fmt.Errorf("%w: the picture has more than %d bytes: it is sent only with its metadata kept", ErrInvalid, maxPicture)
		}
		b, err := io.ReadAll(io.LimitReader(in, n.Size+1))
		if err != nil {
			return out, fmt.Errorf("reading the file: %w", err)
		}
		if int64(len(b)) != n.Size {
			return out, fmt.Errorf("%w: %w", ErrInvalid, blob.ErrSize)
		}
		if !n.KeepMetadata {
			if b, err = picture.Strip(b); err != nil {
				return out, fmt.Errorf("%w: it cannot be taken out where and by whom it was made: %w", ErrInvalid, err)
			}
		}
		out.Size, out.Preview, src = int64(len(b)), picture.Preview(b, content.MaxPreview), bytes.NewReader(b)
	}
	return out, t.seal(&out, src)
}

// seal writes the blob of a file to the disk.
func (t *fileTable) seal(out *content.File, src io.Reader) (err error) {
	need := blob.Room(blob.Length(out.Size))
	t.mu.Lock()
	if err = t.makeRoom(need); err == nil {
		t.sealing += need
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		t.mu.Lock()
		t.sealing -= need
		t.mu.Unlock()
	}()
	_, _ = rand.Read(out.Key[:])
	f, name, err := t.create()
	if err != nil {
		return diskError(err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			t.discard(name)
			err = diskError(err)
		}
	}()
	sealed, err := blob.Seal(diskFile{f, t.write}, src, out.Size, out.Key)
	if errors.Is(err, blob.ErrSize) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), syncFolder(t.dir)); err != nil {
		return err
	}
	out.Root, out.Hash = sealed.Root, sealed.Hash
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.staged { // those that nobody sent
		if t.now().Sub(s.at) > stagedFor {
			delete(t.staged, id)
			t.discard(s.path)
		}
	}
	t.staged[out.ID()] = &stagedFile{*out, name, t.now()}
	t.sealing -= need
	need = 0 // it is counted among the staged ones
	return nil
}

// readAtOnce is how much of a file is read at once.
const readAtOnce = 64 << 10

// errReader says that a reader ended the goroutine that it ran in.
var errReader = errors.New("the content could not be read to its end")

// reading ends with its context, though a Read of r may block for ever. Until then nobody reads
// r but when somebody reads this.
type reading struct {
	ctx context.Context //nolint:containedctx // for one call
	r   io.Reader
	buf []byte // that r reads into, which does so on after the context has ended
}

func (r *reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.buf == nil {
		r.buf = make([]byte, readAtOnce)
	}
	type read struct {
		n     int
		err   error
		panic any
	}
	buf, done := r.buf[:min(len(p), len(r.buf))], make(chan read, 1)
	go func() {
		got := read{err: errReader}
		defer func() {
			got.panic = recover()
			done <- got
		}()
		got.n, got.err = r.r.Read(buf)
	}()
	select {
	case got := <-done:
		if got.panic != nil {
			panic(got.panic) // to the caller, whose reader it is
		}
		return copy(p, buf[:got.n]), got.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// diskError names a full disk as the store does.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, storage.ErrNoSpace) {
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return err
}

// syncFolder makes the names in a folder durable, where the system can.
func syncFolder(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // Windows, and file systems that cannot
	}
	return errors.Join(err, d.Close())
}

// toSend gives the files that a message is to name: staged ones, and those that are here.
func (t *fileTable) toSend(ids []string) (out []content.File, err error) {
	if len(ids) > content.MaxExternal {
		return nil, fmt.Errorf("%w: %d files, and at most %d go with a message", ErrInvalid, len(ids), content.MaxExternal)
	}
	for _, text := range ids {
		id, err := wire.ParseEntryHash(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is no ID of a file: %w", ErrInvalid, text, err)
		}
		f, ok := t.sendable(wire.Hash(id))
		if !ok {
			return nil, fmt.Errorf("%w: %s", errNoFile, text)
		}
		out = append(out, f)
		if i := slices.IndexFunc(out, func(o content.File) bool { return o.Root == out[len(out)-1].Root }); i < len(out)-1 {
			return nil, fmt.Errorf("%w: the file %q is there twice", ErrInvalid, out[i].Name)
		}
	}
	fitPreviews(out)
	return out, nil
}

// sendable gives a file that is staged, which then waits for its message anew, or is here.
func (t *fileTable) sendable(id wire.Hash) (content.File, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.staged[id]; s != nil {
		s.at = t.now()
		return s.file, true
	}
	if f := t.all[id]; f != nil {
		return f.file(), true
	}
	return content.File{}, false
}

// Bounds of all previews of a message, so that it stays one: bytes, and files with one.
const (
	maxPreviews     = 36 << 10
	maxPreviewFiles = 7
)

// fitPreviews drops the previews that do not fit into a message, from the last one.
func fitPreviews(files []content.File) {
	size, with := 0, 0
	for i := range files {
		if n := len(files[i].Preview); n > 0 {
			if with == maxPreviewFiles || size+n > maxPreviews {
				files[i].Preview = nil
				continue
			}
			size, with = size+n, with+1
		}
	}
}

// openedFile is a file that is read.
type openedFile struct {
	*io.SectionReader
	file  content.File
	close func()
}

// open opens a file that is whole here. Errors: errNoFile; errAway.
func (t *fileTable) open(id wire.Hash) (*openedFile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.all[id]
	if f == nil {
		return nil, errNoFile
	}
	if f.row.Fault != "" {
		return nil, fmt.Errorf("%w: %s", blob.ErrSealed, f.row.Fault)
	}
	if !f.whole() {
		return nil, errAway
	}
	disk, err := os.Open(t.path(f.row.Path))
	if err != nil {
		return nil, fmt.Errorf("opening the file: %w", err)
	}
	out := &openedFile{file: f.file()}
	out.SectionReader, err = blob.Open(disk, out.file.Size, blob.Key(out.file.Key))
	if err != nil {
		t.damaged(f)
		return nil, errors.Join(err, disk.Close())
	}
	out.SectionReader = io.NewSectionReader(watched{out.SectionReader, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.damaged(f)
	}}, 0, out.file.Size)
	if now := uint64(t.now().UnixMilli()); now > f.row.Used+usedStep { //nolint:gosec // after 1970
		row := f.row
		row.Used = now
		_ = t.put(f, row, f.bits) // only the order in which files are given up suffers
	}
	f.busy++
	out.close = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		f.busy--
		_ = disk.Close()
	}
	return out, nil
}

// watched tells of a read that fails.
type watched struct {
	io.ReaderAt
	failed func()
}

func (w watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed()
	}
	return n, err
}

// damaged has a file looked at that the disk has changed: what is still right stays, and the
// rest comes again. The caller holds mu.
func (t *fileTable) damaged(f *fileOf) {
	if t.all[f.id] != f {
		return
	}
	f.checked, f.again = false, time.Time{}
	row := f.row
	row.Want = true
	_ = t.put(f, row, f.bits) // the next one who reads it comes here again
	t.changed.wake()
}

// usedStep is how exactly it is known when a file was last used, in milliseconds.
const usedStep = uint64(time.Minute / time.Millisecond)

var errAway = errors.New("the file is not here, or not all of it")
