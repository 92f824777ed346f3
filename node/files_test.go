package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// someBytes are as good as random, and the same for the same seed.
func someBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// upload stages a file on a node.
func (w *world) upload(n *Node, name string, b []byte) api.File {
	w.Helper()
	f, err := fileRoutes{routes{n}}.Upload(w.Context(), api.UploadRequest{Name: name}, int64(len(b)), bytes.NewReader(b))
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// sendFile sends a file with a text, and gives its message.
func (w *world) sendFile(n *Node, id wire.GroupID, text string, files ...api.File) wire.MessageID {
	w.Helper()
	r := api.SendRequest{Group: id.String(), Text: text}
	for _, f := range files {
		r.Files = append(r.Files, f.ID)
	}
	sent, err := n.API().Send(w.within(time.Minute), r)
	if err != nil {
		w.Fatal(err)
	}
	message, err := wire.ParseEntryHash(sent.ID)
	if err != nil {
		w.Fatal(err)
	}
	return message
}

// state waits until a file is like that on a node.
func (w *world) state(n *Node, id, what string, is func(api.File) bool) {
	w.Helper()
	var f api.File
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Minute)
	defer cancel()
	for {
		changed := n.files.changed.wait()
		var err error
		if f, err = n.API().File(ctx, api.FileRequest{File: id}); err == nil && is(f) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // virtual: why it does not come changes alone
		case <-ctx.Done():
			w.Fatalf("not %s: %+v, %v", what, f, err)
		}
	}
}

func here(f api.File) bool { return f.State == api.FileHere && !f.Wanted }

// fetch fetches a file, and gives what is in it.
func (w *world) fetch(n *Node, id string) []byte {
	w.Helper()
	if err := n.API().FetchFile(w.within(10*time.Minute), api.FetchFileRequest{File: id}, func(api.File) error { return nil }); err != nil {
		f, _ := n.API().File(w.Context(), api.FileRequest{File: id})
		w.Fatalf("%v: %+v", err, f)
	}
	return w.content(n, id)
}

func (w *world) content(n *Node, id string) []byte {
	w.Helper()
	c, err := fileRoutes{routes{n}}.OpenFile(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// blobs lists the files below a home's folder of files.
func (w *world) blobs(i int) (names []string) {
	w.Helper()
	found, err := os.ReadDir(filepath.Join(w.home(i), "files"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	for _, d := range found {
		names = append(names, d.Name())
	}
	return names
}

// An edit changes the words beside files, and the files stay. Words in Markdown are spans there, too.
func TestEditKeepsFiles(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		f := w.upload(a, "list.txt", someBytes(1, 1000))
		message := w.sendFile(a, id, "that list", f)
		w.state(b, f.ID, "here", here)
		if _, err := a.API().Edit(w.Context(), api.EditRequest{Group: id.String(), Message: message.String(), Text: "the **list**", Markdown: true}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, time.Minute, "the edit", func() bool {
				m, err := n.API().Message(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()})
				if err != nil || !m.Edited {
					return false
				}
				if len(m.Files) != 1 || m.Files[0].ID != f.ID || m.Text != "the **list**" || len(m.Spans) == 0 {
					t.Errorf("after the edit: %+v", m)
				}
				return true
			})
			if len(w.content(n, f.ID)) != 1000 {
				t.Error("the file has gone")
			}
		}
	})
}

// A file of text that is sent without a text is a file, not an empty text.
func TestTextFileAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		for _, name := range []string{"list.txt", "page.html", "plan.pdf"} {
			f := w.upload(a, name, []byte("tea, milk"))
			message := w.sendFile(a, id, "", f)
			m, err := a.API().Message(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()})
			if err != nil || len(m.Files) != 1 || m.Files[0].Name != name || m.Text != "" || m.MediaType != "text/plain" {
				t.Errorf("%s (%s): %+v, %v", name, f.MediaType, m, err)
			}
		}
	})
}

// Small files come by themselves, large ones when they are asked for, and both are what was
// sent. Then the message is deleted, and nothing of the files is left at either.
func TestFilesComeAndGo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		small, large := someBytes(1, 300_000), someBytes(2, 3<<20)
		fs, fl := w.upload(a, "small.bin", small), w.upload(a, "large.bin", large)
		if fs.State != api.FileHere || !fs.Own || fs.Size != 300_000 {
			t.Errorf("uploaded: %+v", fs)
		}
		message := w.sendFile(a, id, "two files", fs, fl)
		w.state(b, fs.ID, "here by itself", here)
		if got := w.content(b, fs.ID); !bytes.Equal(got, small) {
			t.Errorf("%d bytes came of the small file", len(got))
		}
		if f, err := b.API().File(w.Context(), api.FileRequest{File: "large.bin"}); err != nil || f.State != api.FileAway || f.Wanted {
			t.Errorf("the large file: %+v, %v", f, err)
		}
		if _, err := (fileRoutes{routes{b}}).OpenFile(w.Context(), fl.ID); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("a file that is not here was opened: %v", err)
		}
		if got := w.fetch(b, "large.bin"); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came of the large file", len(got))
		}
		m, err := b.API().Message(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()})
		if err != nil || m.Text != "two files" || len(m.Files) != 2 || m.Files[1].Name != "large.bin" || m.Files[1].State != api.FileHere {
			t.Errorf("%+v, %v", m, err)
		}
		if f, err := a.API().File(w.Context(), api.FileRequest{File: fl.ID, Holders: true}); err != nil || len(f.Holders) != 1 || f.Holders[0].Have != f.Sealed || f.Holders[0].Name != "device 1" {
			t.Errorf("who holds it: %+v, %v", f, err)
		}
		var told []string
		for _, e := range b.feed.after(0) {
			if e.Event.Kind == eventFile {
				told = append(told, e.Event.Detail)
			}
		}
		if !slices.Equal(told, []string{fs.ID + " here", fl.ID + " here"}) {
			t.Errorf("who watches is told %q", told)
		}

		// The same files in another message: deleting the first keeps them.
		again := w.sendFile(b, id, "", fs)
		w.eventually(a, time.Minute, "the second message", func() bool {
			f, err := a.API().File(w.Context(), api.FileRequest{File: fs.ID})
			return err == nil && len(f.Messages) == 2
		})
		keys := keysOfFiles(a, b)
		if len(keys) != 4 || keyRows(t, a, keys) == 0 {
			t.Fatalf("%d keys, in %d rows", len(keys), keyRows(t, a, keys))
		}
		if _, err := a.API().Delete(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()}); err != nil {
			t.Fatal(err)
		}
		for i, n := range []*Node{a, b} {
			w.eventually(n, time.Minute, "the large file is gone", func() bool {
				_, err := n.API().File(w.Context(), api.FileRequest{File: fl.ID})
				return api.CodeOf(err) == api.CodeNotFound
			})
			if len(w.blobs(i)) != 1 || !bytes.Equal(w.content(n, fs.ID), small) {
				t.Errorf("node %d has %q", i, w.blobs(i))
			}
		}
		if _, err := b.API().Delete(w.Context(), api.MessageRequest{Group: id.String(), Message: again.String()}); err != nil {
			t.Fatal(err)
		}
		for i, n := range []*Node{a, b} {
			w.eventually(n, time.Minute, "the small file is gone", w.noFiles(n))
			w.nothingOfFiles(i, n, keys)
		}
	})
}

// The file of a message that expires goes with it: neither its bytes nor its key is left at
// its sender or at a member.
func TestFileOfWhatExpires(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		f := w.upload(a, "short.bin", someBytes(1, 300_000))
		if _, err := a.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "for an hour", Expire: "1h", Files: []string{f.ID}}); err != nil {
			t.Fatal(err)
		}
		w.state(b, f.ID, "here by itself", here)
		keys := keysOfFiles(a)
		for i, n := range []*Node{a, b} {
			if len(keys) != 1 || len(w.blobs(i)) != 1 || keyRows(t, n, keys) == 0 {
				t.Errorf("node %d has %q before, and the key in %d rows", i, w.blobs(i), keyRows(t, n, keys))
			}
		}
		for i, n := range []*Node{a, b} {
			w.eventually(n, 2*time.Hour, "the file is gone", func() bool {
				time.AfterFunc(time.Minute, n.changed.wake)
				return w.noFiles(n)()
			})
			w.nothingOfFiles(i, n, keys)
		}
	})
}

// keysOfFiles are the keys of the files of nodes.
func keysOfFiles(nodes ...*Node) (keys [][]byte) {
	for _, n := range nodes {
		n.files.mu.Lock()
		for _, f := range n.files.all {
			keys = append(keys, bytes.Clone(f.row.Key))
		}
		n.files.mu.Unlock()
	}
	return keys
}

// noFiles says whether a node lists none.
func (w *world) noFiles(n *Node) func() bool {
	return func() bool {
		list, err := n.API().Files(w.Context(), api.FilesRequest{})
		return err == nil && len(list.Files) == 0 && list.Taken == 0
	}
}

// nothingOfFiles says if a node has bytes of files, or one of their keys.
func (w *world) nothingOfFiles(i int, n *Node, keys [][]byte) {
	w.Helper()
	if names := w.blobs(i); len(names) > 0 {
		w.Errorf("node %d still has %q", i, names)
	}
	if rows := keyRows(w.T, n, keys); rows > 0 {
		w.Errorf("node %d still has a key in %d rows", i, rows)
	}
}

// keyRows counts the rows of a store, unsealed, that hold one of the keys.
func keyRows(t *testing.T, n *Node, keys [][]byte) (rows int) {
	t.Helper()
	if err := n.store.Scan(nil, func(key, value []byte) error {
		for _, k := range keys {
			if bytes.Contains(value, k) {
				rows++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// A fetch that a crash interrupts goes on where it was, over several crashes, and a holder of
// a part serves that. Groups on the disk that were not noted are found by their hashes.
func TestFetchGoesOn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		large := someBytes(3, 8<<20)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		fetched := int64(0)
		for _, part := range []int64{1 << 20, 4 << 20} {
			w.state(b, f.ID, "known", func(api.File) bool { return true })
			ctx, cancel := context.WithCancel(w.Context())
			err := b.API().FetchFile(ctx, api.FetchFileRequest{File: f.ID}, func(now api.File) error {
				if now.Have >= part {
					return errEnough
				}
				return nil
			})
			cancel()
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			// As after kill -9: what is noted is older than what is on the disk.
			b.files.mu.Lock()
			noted, err := b.store.Get([]byte(keyFileBits + string(parseFile(t, f.ID))))
			b.files.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			fetched += w.fetchedOf(1, f.ID)
			b = w.open(1, 0)
			if err := b.change(f.ID, noted); err != nil {
				t.Fatal(err)
			}
			now, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
			if err != nil || !now.Wanted {
				t.Fatalf("%+v, %v", now, err)
			}
		}
		// c gets from b alone what b has while a is away.
		w.state(b, f.ID, "here", here)
		now, err := b.API().File(w.Context(), api.FileRequest{File: f.ID})
		if err != nil {
			t.Fatal(err)
		}
		last := now.Fetched
		if fetched += last; fetched < now.Sealed || fetched > now.Sealed+1<<20 || last > now.Sealed-4<<20 {
			t.Errorf("%d bytes were fetched of %d in three runs, %d in the last", fetched, now.Sealed, last)
		}
		w.close(0)
		if got := w.fetch(c, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came from the one who has all of it", len(got))
		}
	})
}

// fetchedOf closes a node, and gives how many bytes of a file it fetched in that run.
func (w *world) fetchedOf(i int, text string) int64 {
	w.Helper()
	t := w.nodes[i].files
	w.close(i)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[wire.Hash(parseFile(w.T, text))].fetched
}

func parseFile(t *testing.T, text string) []byte {
	t.Helper()
	id, err := wire.ParseEntryHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return id[:]
}

// change has a node note other groups of a file than it has, as if it had crashed.
func (n *Node) change(text string, noted blob.Bits) error {
	id, err := wire.ParseEntryHash(text)
	if err != nil {
		return err
	}
	n.files.mu.Lock()
	defer n.files.mu.Unlock()
	f := n.files.all[wire.Hash(id)]
	if f.busy > 0 {
		return nil // it goes on already
	}
	f.checked = false
	return n.files.put(f, f.row, noted)
}

// A member who has wrong bytes is found at the first wrong group, passed over, and asked last;
// parts from those who have parts come together.
func TestWrongHolder(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c, d := w.open(0), w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "tea")
		for _, n := range []*Node{b, c, d} {
			w.join(n, id)
		}
		large := someBytes(4, 4<<20)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		for _, n := range []*Node{b, c} {
			w.state(n, f.ID, "known", func(api.File) bool { return true })
			w.fetch(n, f.ID)
		}
		w.state(d, f.ID, "known", func(api.File) bool { return true })
		groups := blob.Groups(f.Sealed)
		// b has a wrong bit in each group of a third; a and c have a half each.
		w.spoil(1, b, f.ID, func(i int) (flip, lose bool) { return i%3 == 0, false })
		w.spoil(0, a, f.ID, func(i int) (flip, lose bool) { return false, i < groups/2 })
		w.spoil(2, c, f.ID, func(i int) (flip, lose bool) { return false, i >= groups/2 })
		if got := w.fetch(d, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came", len(got))
		}
		now, err := d.API().File(w.Context(), api.FileRequest{File: f.ID})
		if err != nil || now.Fetched != now.Sealed {
			t.Errorf("%d bytes were taken of %d: %v", now.Fetched, now.Sealed, err)
		}
		d.files.mu.Lock()
		bad := d.files.all[wire.Hash(parseFile(t, f.ID))].bad
		d.files.mu.Unlock()
		if len(bad) != 1 || bad[string(b.host.ID())] != 1 {
			t.Errorf("%v are to blame", bad)
		}

		// Asked again, b is asked last, and so for nothing: the others have it all.
		if _, err := d.API().RemoveFile(w.Context(), api.RemoveFileRequest{File: f.ID}); err != nil {
			t.Fatal(err)
		}
		served := func(n *Node) int64 { return n.metrics.counters()["file_bytes_out"] }
		byA, byB, byC := served(a), served(b), served(c)
		if got := w.fetch(d, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came again", len(got))
		}
		if byA, byB, byC = served(a)-byA, served(b)-byB, served(c)-byC; byB != 0 || byA < 1<<20 || byC < 1<<20 {
			t.Errorf("the one who served wrong bytes served %d more, the others %d and %d", byB, byA, byC)
		}

		// When b alone is left, all but its wrong groups come.
		if _, err := d.API().RemoveFile(w.Context(), api.RemoveFileRequest{File: f.ID}); err != nil {
			t.Fatal(err)
		}
		w.close(0)
		w.close(2)
		if err := d.files.want(wire.Hash(parseFile(t, f.ID))); err != nil {
			t.Fatal(err)
		}
		w.state(d, f.ID, "stuck, and why", func(now api.File) bool {
			return now.State == api.FilePartly && now.Have > now.Sealed/2 && strings.Contains(now.Why, b.host.ID().String())
		})
	})
}

// spoil has the blob of a node lose groups, or have wrong bits in them.
func (w *world) spoil(i int, n *Node, text string, how func(group int) (flip, lose bool)) {
	w.Helper()
	n.files.mu.Lock()
	defer n.files.mu.Unlock()
	f := n.files.all[wire.Hash(parseFile(w.T, text))]
	path := filepath.Join(w.home(i), "files", f.row.Path)
	b, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	bits := blob.NewBits(f.length)
	for g := range blob.Groups(f.length) {
		flip, lose := how(g)
		if flip {
			b[g*blob.GroupSize+17] ^= 1
		}
		if !lose {
			bits.Set(g)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.Fatal(err)
	}
	f.bits = bits
}

// A file that the disk has changed is not shown in part: what is wrong is fetched again.
func TestDamagedOnDisk(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		large := someBytes(5, 500_000)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		w.state(b, f.ID, "here", here)
		before, _ := b.API().File(w.Context(), api.FileRequest{File: f.ID})
		w.spoil(1, b, f.ID, func(i int) (flip, lose bool) { return i == 2, false })
		c, err := fileRoutes{routes{b}}.OpenFile(w.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err == nil || !bytes.Equal(got, large[:len(got)]) {
			t.Errorf("of a damaged file %d bytes are read, %v", len(got), err)
		}
		c.Close()
		if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came", len(got))
		}
		if now, _ := b.API().File(w.Context(), api.FileRequest{File: f.ID}); now.Fetched-before.Fetched > blob.GroupSize {
			t.Errorf("%d bytes came again", now.Fetched-before.Fetched)
		}
	})
}

// Only current members are served, and only what messages of their group name.
func TestFilesAreForMembers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id, other := w.create(a, "tea"), w.create(a, "coffee")
		w.join(b, id)
		w.join(c, id)
		w.join(c, other)
		f := w.upload(a, "secret.bin", someBytes(6, 200_000))
		w.sendFile(a, other, "", f)
		g := w.upload(a, "tea.bin", someBytes(7, 200_000))
		w.sendFile(a, id, "", g)
		w.state(b, g.ID, "here", here)
		w.state(c, f.ID, "here", here)
		roots := func(n *Node, text string) wire.BlobRoot {
			n.files.mu.Lock()
			defer n.files.mu.Unlock()
			return n.files.all[wire.Hash(parseFile(t, text))].row.Root
		}
		secret, tea := roots(a, f.ID), roots(a, g.ID)
		asks := func(n *Node, in wire.GroupID, root wire.BlobRoot, length int64) (int, error) {
			s, err := n.groups.get(in).openBlobs(w.within(time.Minute), a.host.ID())
			if err != nil {
				return 0, err
			}
			defer s.drop()
			bits, err := s.have([]wire.BlobRoot{root}, []int64{length})
			if err != nil {
				return 0, err
			}
			return bits[0].Count(), nil
		}
		if n, err := asks(b, id, tea, g.Sealed); err != nil || n != blob.Groups(g.Sealed) {
			t.Errorf("a member: %d, %v", n, err)
		}
		// b learned the root of a file of another group: it is of no use in this one.
		if n, err := asks(b, id, secret, f.Sealed); err != nil || n != 0 {
			t.Errorf("a file of another group: %d, %v", n, err)
		}
		s, err := b.groups.get(id).openBlobs(w.within(time.Minute), a.host.ID())
		if err != nil {
			t.Fatal(err)
		}
		var wait waitError
		if _, err := s.get(blob.Blob{Root: secret, Length: f.Sealed}, 0, 1, func(int) {}); !errors.As(err, &wait) || wait != 0 {
			t.Errorf("a file of another group is served: %v", err)
		}
		s.drop()
		// An open stream serves nobody who was taken out meanwhile.
		open, err := b.groups.get(id).openBlobs(w.within(time.Minute), a.host.ID())
		if err != nil {
			t.Fatal(err)
		}
		defer open.drop()
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: b.Device().User}); err != nil {
			t.Fatal(err)
		}
		if _, err := open.have([]wire.BlobRoot{tea}, []int64{g.Sealed}); err == nil {
			t.Error("somebody who was taken out is served on an open stream")
		}
		if _, err := asks(b, id, tea, g.Sealed); err == nil {
			t.Error("somebody who was taken out is served")
		}
	})
}

// A message that lies about a file costs a member a group at most, and says so; the true
// message of the same blob is not in its way.
func TestFileThatLies(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		plain := someBytes(8, 300_000)
		f := w.upload(a, "true.bin", plain)
		files, err := a.files.toSend([]string{f.ID})
		if err != nil {
			t.Fatal(err)
		}
		lie := func(change func(*content.File)) string {
			t.Helper()
			l := files[0]
			l.Name = "lie.bin"
			change(&l)
			c, err := container(content.Message{Part: content.WithFiles(nil, []content.File{l})})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Send(w.Context(), id, c); err != nil {
				t.Fatal(err)
			}
			return l.ID().String()
		}
		size := lie(func(l *content.File) { l.Size = 200_000 })
		larger := lie(func(l *content.File) { l.Size = 900_000 })
		key := lie(func(l *content.File) { l.Key[0] ^= 1 })
		hash := lie(func(l *content.File) { l.Hash[0] ^= 1 })
		w.sendFile(a, id, "", f)
		w.state(b, f.ID, "here", here)
		if !bytes.Equal(w.content(b, f.ID), plain) {
			t.Error("the true file did not come")
		}
		for _, id := range []string{size, larger} {
			w.state(b, id, "away", func(f api.File) bool { return f.State == api.FileAway && f.Wanted && f.Why != "" })
		}
		// Nobody has those; what comes of the blob by another message is another file.
		for _, id := range []string{key, hash} {
			f, err := b.API().File(w.Context(), api.FileRequest{File: id})
			if err != nil || f.State == api.FileHere {
				t.Errorf("%+v, %v", f, err)
			}
		}
		w.state(b, key, "faulty", func(f api.File) bool { return f.State == api.FileFaulty && strings.Contains(f.Why, "key") })
		w.state(b, hash, "faulty", func(f api.File) bool { return f.State == api.FileFaulty && strings.Contains(f.Why, "two different") })
		if _, err := (fileRoutes{routes{b}}).OpenFile(w.Context(), key); api.CodeOf(err) != api.CodeVerification {
			t.Errorf("a file that lies is opened: %v", err)
		}
	})
}

// stuck is read once somebody says so.
type stuck struct {
	io.Reader
	asked, rest chan struct{}
}

func (s stuck) Read(p []byte) (int, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-s.rest
	return s.Reader.Read(p)
}

// Files that are uploaded side by side share the quota, while they are and afterwards, and one
// whose upload ends early gives its room back.
func TestUploadsSideBySide(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.with = func(_ int, cfg *Config) { cfg.Files = FilesConfig{Quota: 450_000, Max: 300_000} }
		a := w.open(0)
		const size = 280_000
		bytesOf := someBytes(1, size)
		slow := stuck{bytes.NewReader(bytesOf[size/2:]), make(chan struct{}, 1), make(chan struct{})}
		end := make(chan error, 1)
		go func() {
			_, err := a.files.stage(w.Context(), newFile{Name: "slow.bin", Size: size}, io.MultiReader(bytes.NewReader(bytesOf[:size/2]), slow))
			end <- err
		}()
		<-slow.asked
		other := func(n int) error {
			_, err := a.files.stage(w.Context(), newFile{Name: "other.bin", Size: 200_000}, bytes.NewReader(someBytes(2, n)))
			return err
		}
		if err := other(200_000); !errors.Is(err, errQuota) {
			t.Errorf("beside another that takes the room: %v", err)
		}
		close(slow.rest)
		if err := <-end; err != nil {
			t.Error(err)
		}
		if err := other(200_000); !errors.Is(err, errQuota) {
			t.Errorf("after another that took the room: %v", err)
		}
		if _, err := a.files.stage(w.Context(), newFile{Name: "short.bin", Size: 100}, bytes.NewReader(nil)); !errors.Is(err, ErrInvalid) {
			t.Errorf("a file that is shorter than said: %v", err)
		}
		if a.files.sealing != 0 {
			t.Errorf("%d bytes are kept for nobody", a.files.sealing)
		}
	})
}

// The quota takes others' files, the least recently used first, never own or pinned ones, and
// says when it is reached.
func TestFileQuota(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.with = func(i int, cfg *Config) {
			if i == 1 {
				cfg.Files = FilesConfig{Quota: 700_000, Max: 250_000}
			}
		}
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		var ids []string
		for i := range 3 {
			f := w.upload(a, fmt.Sprint(i, ".bin"), someBytes(byte(10+i), 200_000))
			w.sendFile(a, id, "", f)
			w.state(b, f.ID, "here", here)
			ids = append(ids, f.ID)
			time.Sleep(time.Minute) // virtual
		}
		if _, err := b.API().PinFile(w.Context(), api.PinFileRequest{File: ids[1], Pinned: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // virtual
		w.content(b, ids[0])        // used after the third
		own := w.upload(b, "own.bin", someBytes(20, 200_000))
		w.sendFile(b, id, "", own)
		states := func() (out []api.FileState) {
			for _, id := range append(slices.Clone(ids), own.ID) {
				f, err := b.API().File(w.Context(), api.FileRequest{File: id})
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, f.State)
			}
			return out
		}
		if got := states(); !slices.Equal(got, []api.FileState{api.FileHere, api.FileHere, api.FileAway, api.FileHere}) {
			t.Errorf("%v", got)
		}
		second := w.upload(b, "own2.bin", someBytes(21, 200_000))
		if got := states(); !slices.Equal(got, []api.FileState{api.FileAway, api.FileHere, api.FileAway, api.FileHere}) {
			t.Errorf("%v", got)
		}
		w.sendFile(b, id, "", second)
		up := func(name string, n int) error {
			_, err := fileRoutes{routes{b}}.Upload(w.Context(), api.UploadRequest{Name: name}, int64(n), bytes.NewReader(someBytes(22, n)))
			return err
		}
		if err := up("own3.bin", 200_000); api.CodeOf(err) != api.CodeLimited || !strings.Contains(err.Error(), "files.quota") {
			t.Errorf("beyond the quota: %v", err)
		}
		if err := up("large.bin", 250_001); api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), "files.max") {
			t.Errorf("beyond the size: %v", err)
		}
		for _, name := range []string{"a/b", "..", "", "a\u202eb"} {
			if err := up(name, 1); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("named %q: %v", name, err)
			}
		}
		if n := len(w.blobs(1)); n != 3 {
			t.Errorf("%d blobs", n)
		}
		// Wanted and no room: it says so, and comes once there is some.
		if err := b.files.want(wire.Hash(parseFile(t, ids[0]))); err != nil {
			t.Fatal(err)
		}
		w.state(b, ids[0], "waiting for room", func(f api.File) bool { return strings.Contains(f.Why, "files.quota") })
		if _, err := b.API().RemoveFile(w.Context(), api.RemoveFileRequest{File: own.ID}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("an own file that one other has is removed: %v", err)
		}
		if _, err := b.API().RemoveFile(w.Context(), api.RemoveFileRequest{File: own.ID, Force: true}); err != nil {
			t.Fatal(err)
		}
		w.state(b, ids[0], "here", here)
	})
}

// Files that were uploaded and not sent are gone after a restart, and so is a blob that a
// crash left; those that were sent stay, and what is missing on the disk comes again.
func TestFilesAfterRestart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		plain := someBytes(30, 100_000)
		f := w.upload(a, "sent.bin", plain)
		w.upload(a, "unsent.bin", plain)
		w.sendFile(a, id, "", f)
		w.state(b, f.ID, "here", here)
		if len(w.blobs(0)) != 2 {
			t.Fatal("there is nothing to lose")
		}
		w.close(0)
		left := filepath.Join(w.home(0), "files", "left")
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		a = w.open(0)
		if len(w.blobs(0)) != 1 || !bytes.Equal(w.content(a, f.ID), plain) {
			t.Errorf("%q are left", w.blobs(0))
		}
		w.close(0)
		for _, name := range w.blobs(0) {
			if err := os.Remove(filepath.Join(w.home(0), "files", name)); err != nil {
				t.Fatal(err)
			}
		}
		a = w.open(0)
		if got, err := a.API().File(w.Context(), api.FileRequest{File: f.ID}); err != nil || got.State != api.FileAway || got.Own {
			t.Errorf("%+v, %v", got, err)
		}
		if got := w.fetch(a, f.ID); !bytes.Equal(got, plain) {
			t.Errorf("%d bytes came", len(got))
		}
	})
}

// The file of a message that somebody else deleted is hidden at once, though it is kept until
// the deletion erases it; another message that names it shows it again.
func TestHiddenFile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		f := w.upload(b, "list.txt", someBytes(1, 1000))
		message := w.sendFile(b, id, "that list", f)
		w.state(a, f.ID, "here", here)
		if _, err := a.API().Delete(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, time.Minute, "the file is hidden", func() bool {
				_, err := n.API().File(w.Context(), api.FileRequest{File: f.ID})
				return api.CodeOf(err) == api.CodeNotFound
			})
			if _, err := (fileRoutes{routes{n}}).OpenFile(w.Context(), f.ID); api.CodeOf(err) != api.CodeNotFound {
				t.Errorf("it opens: %v", err)
			}
			if err := n.API().FetchFile(w.Context(), api.FetchFileRequest{File: f.ID}, func(api.File) error { return nil }); api.CodeOf(err) != api.CodeNotFound {
				t.Errorf("it is fetched: %v", err)
			}
			if list, err := n.API().Files(w.Context(), api.FilesRequest{}); err != nil || len(list.Files) != 0 || list.Taken == 0 {
				t.Errorf("it is listed: %+v (%v)", list, err)
			}
		}
		w.sendFile(b, id, "that list again", f)
		w.eventually(a, time.Minute, "it is shown again", func() bool {
			_, err := a.API().File(w.Context(), api.FileRequest{File: f.ID})
			return err == nil
		})
	})
}
