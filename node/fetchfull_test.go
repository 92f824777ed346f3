package node

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A disk that fills in the middle of a fetch says so, to whoever fetches and for the file;
// what is there stays, also over a restart, messages come as before, and the file comes once
// there is room, without a word and nothing twice. So on a disk that is made up, on one in
// memory where that may be mounted, and where the store has no room for its rows.
func TestFetchOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, disk := range []string{"made up", "mounted", "the store's"} {
		t.Run(disk, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				a, b := w.open(0), w.open(1, 0)
				id := w.create(a, "tea")
				w.join(b, id)
				large := someBytes(40, 24<<20)
				f := w.upload(a, "large.bin", large)
				w.sendFile(a, id, "", f)
				w.state(b, f.ID, "known", func(api.File) bool { return true })
				var isFull atomic.Bool
				full, restarts := isFull.Store, false
				switch disk {
				case "mounted":
					dir := filepath.Join(w.home(1), "files")
					if err := os.MkdirAll(dir, 0o700); err != nil {
						t.Fatal(err)
					}
					resize, err := smallDisk(w.T, dir)
					if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) {
						t.Logf("no disk can be mounted, so that the one that is made up has to do: %v", err)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					restarts = true
					full = func(yes bool) {
						if isFull.Swap(yes) != yes {
							resize(map[bool]string{true: "9m", false: "400m"}[yes])
						}
					}
				case "made up":
					b.files.mu.Lock()
					write, room := b.files.write, b.files.room
					b.files.write = func(f *os.File, p []byte, off int64) (int, error) {
						if isFull.Load() {
							n, err := write(f, p[:len(p)/2], off)
							return n, errors.Join(err, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
						}
						return write(f, p, off)
					}
					b.files.room = func(dir string, need int64) error {
						if isFull.Load() {
							return fmt.Errorf("%w: none in %s", storage.ErrNoSpace, dir)
						}
						return room(dir, need)
					}
					b.files.mu.Unlock()
				case "the store's":
					b.files.mu.Lock()
					apply := b.files.apply
					b.files.apply = func(batch storage.Batch) error {
						if isFull.Load() {
							return storage.ErrNoSpace
						}
						return apply(batch)
					}
					b.files.mu.Unlock()
				}
				seen := ""
				err := b.API().FetchFile(w.within(5*time.Minute), api.FetchFileRequest{File: f.ID}, func(now api.File) error {
					if now.Have >= 1<<20 {
						full(true)
					}
					if seen = now.Why; seen != "" {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) || !strings.Contains(seen, "space") {
					t.Fatalf("who fetches it is told %q: %v", seen, err)
				}
				stuck, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
				if err != nil || stuck.State != api.FilePartly || stuck.Have < 1<<20 || !stuck.Wanted || stuck.Why != seen {
					t.Errorf("of the file is told %+v, %v", stuck, err)
				}
				if why, err := b.API().Why(w.within(time.Minute), api.WhyRequest{Group: id.String(), Subject: f.ID}); err != nil || !strings.Contains(strings.Join(why.Facts, "\n"), "space") {
					t.Errorf("why: %+v, %v", why, err)
				}
				if _, err := (fileRoutes{routes{b}}).OpenFile(w.Context(), f.ID); api.CodeOf(err) != api.CodeConflict {
					t.Errorf("it is shown in part: %v", err)
				}
				w.send(a, id, "meanwhile")
				w.eventually(b, time.Minute, "a message", func() bool {
					return strings.Contains(strings.Join(w.texts(b, id), "\n"), "meanwhile")
				})
				time.Sleep(10 * time.Minute) // virtual: tries while it is full
				still, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
				if err != nil || still.Have < stuck.Have || still.Fetched > stuck.Have+1<<20 {
					t.Errorf("after ten minutes %+v, %v, before %+v", still, err, stuck)
				}
				fetched := still.Fetched
				if restarts {
					w.close(1)
					b = w.open(1, 0)
					again, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
					if err != nil || again.Have < stuck.Have-1<<20 || !again.Wanted {
						t.Errorf("after a restart %+v, %v, before %+v", again, err, still)
					}
				} else {
					fetched = 0 // counted on
				}
				full(false)
				w.state(b, f.ID, "here", here)
				if got := w.content(b, f.ID); !bytes.Equal(got, large) {
					t.Errorf("%d bytes came", len(got))
				}
				done, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
				if fetched += done.Fetched; err != nil || fetched > done.Sealed+1<<20 || done.Why != "" {
					t.Errorf("%d bytes were fetched of %d: %+v, %v", fetched, done.Sealed, done, err)
				}
				b.files.mu.Lock()
				defer b.files.mu.Unlock()
				if blobs := w.blobs(1); len(blobs) != 1 || blobs[0] != b.files.all[wire.Hash(parseFile(t, f.ID))].row.Path {
					t.Errorf("on the disk are %q", blobs)
				}
			})
		})
	}
}

// A disk that fills while a file is sealed is said with a code, and leaves nothing: neither in
// the folder nor in what is counted.
func TestUploadOnAFullDisk(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		written := 0
		write := a.files.write
		a.files.write = func(f *os.File, p []byte, off int64) (int, error) {
			if written += len(p); written > 1<<20 {
				n, err := write(f, p[:len(p)/2], off)
				return n, errors.Join(err, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
			}
			return write(f, p, off)
		}
		up := func() error {
			_, err := fileRoutes{routes{a}}.Upload(w.Context(), api.UploadRequest{Name: "large.bin"}, 3<<20, bytes.NewReader(someBytes(1, 3<<20)))
			return err
		}
		if err := up(); api.CodeOf(err) != api.CodeLimited || !errors.Is(err, storage.ErrNoSpace) || written < 1<<20 {
			t.Errorf("after %d bytes: %s, %v", written, api.CodeOf(err), err)
		}
		a.files.mu.Lock()
		sealing := a.files.sealing
		a.files.mu.Unlock()
		if left := w.blobs(0); len(left) > 0 || sealing != 0 {
			t.Errorf("%q are left, and %d bytes are kept for nobody", left, sealing)
		}
		written = -1 << 30
		if err := up(); err != nil {
			t.Errorf("with room: %v", err)
		}
	})
}

// Metadata of a picture that is sent stays here, unless it is to be kept.
func TestPictureArrivesWithoutMetadata(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		const secret = "where it was taken"
		var img bytes.Buffer
		if err := jpeg.Encode(&img, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
			t.Fatal(err)
		}
		body := "Exif\x00\x00II\x2a\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00" + secret
		with := slices.Concat(img.Bytes()[:2], []byte{0xff, 0xe1, 0, byte(len(body) + 2)}, []byte(body), img.Bytes()[2:])
		for _, keep := range []bool{false, true} {
			f, err := fileRoutes{routes{a}}.Upload(w.Context(), api.UploadRequest{Name: "panda.jpg", KeepMetadata: keep}, int64(len(with)), bytes.NewReader(with))
			if err != nil {
				t.Fatal(err)
			}
			w.sendFile(a, id, "", f)
			w.state(b, f.ID, "here", here)
			got := w.content(b, f.ID)
			if _, err := jpeg.Decode(bytes.NewReader(got)); err != nil || bytes.Contains(got, []byte(secret)) != keep || keep && !bytes.Equal(got, with) {
				t.Errorf("kept %v: %d bytes of %d, %v", keep, len(got), len(with), err)
			}
		}
	})
}
