package node

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/wire"
)

// mailed is what a mailbox has of a file, as a node tells.
func (w *world) mailed(n *Node, file string, office *Node) (h api.FileHolder) {
	w.Helper()
	f, err := n.API().File(w.within(time.Minute), api.FileRequest{File: file, Holders: true})
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range f.Holders {
		if h.Peer == office.host.ID().String() {
			return h
		}
	}
	return h
}

// kept waits until a mailbox has all of a file.
func (w *world) kept(n *Node, f api.File, office *Node) {
	w.Helper()
	var h api.FileHolder
	defer func() {
		if w.Failed() {
			w.Logf("%+v", h)
		}
	}()
	w.eventually(n, 10*time.Minute, "the mailbox has the file", func() bool {
		time.AfterFunc(time.Second, n.changed.wake)
		h = w.mailed(n, f.ID, office)
		return h.Mailbox && h.Have == f.Sealed && h.Why == ""
	})
}

// A file gets from one member to another who are never online together, by a mailbox, which
// learns neither its key nor its name. While all are connected it is not given to the mailbox.
func TestFileThroughAMailbox(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "never together")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		together := w.upload(a, "together.bin", someBytes(1, 100_000))
		w.sendFile(a, id, "", together)
		w.state(b, together.ID, "here", here)
		time.Sleep(10 * time.Minute) // virtual
		if st, _ := office.mailbox.status(); st.Files != 0 {
			t.Errorf("nobody is away, and the mailbox has %d files", st.Files)
		}
		w.close(2)
		w.gone(a, b)
		large := someBytes(2, 9<<20)
		f := w.upload(a, "large.bin", large)
		sent, err := a.API().Send(w.within(time.Minute), api.SendRequest{Group: id.String(), Text: "for later", Files: []string{f.ID}})
		if err != nil || !strings.Contains(sent.Note, "large.bin is on its way to the mailbox "+office.host.ID().String()) {
			t.Errorf("the note says %q, %v", sent.Note, err)
		}
		all, err := a.API().Mailboxes(w.within(10*time.Minute), api.MailboxesRequest{Group: id.String(), Wait: "taken"})
		if err != nil || len(all.Mailboxes) != 1 || all.Mailboxes[0].FilesWaiting != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		if h := w.mailed(a, f.ID, office); !h.Mailbox || h.Have != f.Sealed || h.Why != "" {
			t.Errorf("once all is taken: %+v", h)
		}
		w.kept(a, f, office)
		e, err := a.API().Why(w.within(time.Minute), api.WhyRequest{Group: id.String(), Subject: f.ID})
		if text := strings.Join(e.Facts, "\n"); err != nil || !strings.Contains(text, "the mailbox "+office.host.ID().String()+" has all of it") {
			t.Errorf("%s, %v", text, err)
		}
		key := w.keyOf(a, f.ID)
		if st, _ := office.mailbox.status(); st.Files != 2 || st.FileBytes < f.Sealed+together.Sealed || keyRows(t, office, [][]byte{key, []byte("large.bin")}) != 0 {
			t.Errorf("the mailbox keeps %+v", st)
		}
		w.close(1)
		time.Sleep(time.Hour) // virtual
		b = w.open(2, 0)
		w.state(b, f.ID, "known", func(api.File) bool { return true })
		if h := w.mailed(b, f.ID, office); h.Have != f.Sealed {
			t.Errorf("who wants it hears %+v", h)
		}
		if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came", len(got))
		}
		if now, err := b.API().File(w.Context(), api.FileRequest{File: f.ID}); err != nil || now.Fetched != now.Sealed {
			t.Errorf("%d bytes were fetched of %d: %v", now.Fetched, now.Sealed, err)
		}
	})
}

// gone waits until a node has noticed that another one is not there any more.
func (w *world) gone(n, other *Node) {
	w.Helper()
	w.eventually(n, 10*time.Minute, "it has gone", func() bool { return !n.isConnected(other.host.ID()) })
}

func (w *world) keyOf(n *Node, file string) []byte {
	w.Helper()
	n.files.mu.Lock()
	defer n.files.mu.Unlock()
	return bytes.Clone(n.files.all[wire.Hash(parseFile(w.T, file))].row.Key)
}

// handed is a sealed file, in memory.
type handed struct {
	blob.Blob
	disk *memFile
}

// memFile is a file in memory.
type memFile struct{ b []byte }

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	if n := copy(p, m.b[min(off, int64(len(m.b))):]); n < len(p) {
		return n, io.EOF
	}
	return len(p), nil
}

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

// sealed seals a file of so many bytes.
func sealed(t *testing.T, seed byte, n int) handed {
	t.Helper()
	m := new(memFile)
	s, err := blob.Seal(m, bytes.NewReader(someBytes(seed, n)), int64(n), blob.Key{seed})
	if err != nil {
		t.Fatal(err)
	}
	return handed{blob.Blob{F: m, Root: s.Root, Length: blob.Length(int64(n))}, m}
}

// keyOfBox is the key of a box of the test's own.
func keyOfBox(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// hand opens a stream about the files in a box by hand.
func (w *world) hand(n, office *Node, key ed25519.PrivateKey) *blobStream {
	w.Helper()
	if err := n.host.Connect(w.within(time.Minute), peer.AddrInfo{ID: office.host.ID(), Addrs: office.host.Addrs()}); err != nil {
		w.Fatal(err)
	}
	stream, err := openStream(w.within(10*time.Minute), n.host, office.host.ID(), wire.ProtocolMailBlob)
	if err != nil {
		w.Fatal(err)
	}
	s := &blobStream{newFrames(stream), func() bool { return true }, time.Now()}
	w.Cleanup(s.drop)
	box := wire.BoxID(key.Public().(ed25519.PublicKey))
	var challenge wire.MailChallenge
	if err := errors.Join(s.write(wire.MailHello{V: wire.Version, Box: box}), s.read(&challenge)); err != nil {
		w.Fatal(err)
	}
	payload := wire.MailProofPayload(box, challenge.Nonce, []byte(n.host.ID()), []byte(office.host.ID()))
	if err := s.write(&wire.MailProof{Signature: ed25519.Sign(key, wire.SigningInput(wire.DomainMailbox, wire.GroupID{}, payload))}); err != nil {
		w.Fatal(err)
	}
	return s
}

// putAll puts a file from a group on, some at a time, and says how many of its groups went.
func (s *blobStream) putAll(f handed, from, some int) (put int, err error) {
	for i := from; i < blob.Groups(f.Length); i += some {
		n := min(some, blob.Groups(f.Length)-i)
		if err := s.put(f.Blob, i, n); err != nil {
			return put, err
		}
		put += n
	}
	return put, nil
}

// refused says whether a mailbox refused for that reason.
func refused(err error, code wire.MailCode) bool {
	r, is := errors.AsType[mailRefusal](err)
	return is && r.code == code
}

// heldAt is how many groups of a file a box has.
func (w *world) heldAt(s *blobStream, f handed) int {
	w.Helper()
	bits, err := s.have([]wire.BlobRoot{f.Root}, []int64{f.Length})
	if err != nil {
		w.Fatal(err)
	}
	return bits[0].Count()
}

// inFolder counts the files that a mailbox has on its disk.
func (w *world) inFolder(i int) int {
	w.Helper()
	found, err := os.ReadDir(filepath.Join(w.home(i), "mailfiles"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	return len(found)
}

// A mailbox keeps of files what its quotas allow, for its lifetime, also over restarts; one that
// does not get on goes after a day.
func TestMailboxFileLimits(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{FileQuota: 8 << 20, FileShare: 2 << 20, Lifetime: 5 * 24 * time.Hour}
		office, n := w.postOffice(0, cfg), w.open(1, 0)
		s := w.hand(n, office, keyOfBox(1))
		if _, err := s.putAll(sealed(t, 1, 3<<20), 0, 4); !refused(err, wire.MailLarge) || !strings.Contains(err.Error(), "2.0 MiB") {
			t.Errorf("a file above the share: %v", err)
		}
		first, second, third := sealed(t, 2, 1<<20), sealed(t, 3, 1_100_000), sealed(t, 4, 200_000)
		if put, err := s.putAll(first, 0, 5); err != nil || put != blob.Groups(first.Length) {
			t.Errorf("the first: %d, %v", put, err)
		}
		if put, err := s.putAll(second, 0, 4); !refused(err, wire.MailFull) || put != 0 {
			t.Errorf("one too many: %d, %v", put, err)
		}
		other := w.hand(n, office, keyOfBox(2))
		if _, err := other.putAll(second, 0, 4); !refused(err, wire.MailFull) {
			t.Errorf("in another box of the same opener: %v", err)
		}
		if err := s.put(third.Blob, 0, 2); err != nil {
			t.Error(err)
		}
		before, _ := office.mailbox.status()
		if before.Files != 2 || w.inFolder(0) != 2 || before.Boxes != 1 {
			t.Errorf("%+v, and %d on the disk", before, w.inFolder(0))
		}
		if _, err := s.putAll(first, 0, 16); err != nil {
			t.Error(err)
		}
		if after, _ := office.mailbox.status(); after != before {
			t.Errorf("the same again: %+v, before %+v", after, before)
		}
		w.close(0)
		if err := os.WriteFile(filepath.Join(w.home(0), "mailfiles", "left"), []byte("by a crash"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.gone(n, office)
		office = w.postOffice(0, cfg)
		s = w.hand(n, office, keyOfBox(1))
		if a, b := w.heldAt(s, first), w.heldAt(s, third); a != blob.Groups(first.Length) || b != 2 {
			t.Errorf("after a restart %d and %d groups are there", a, b)
		}
		if after, _ := office.mailbox.status(); after != before || w.inFolder(0) != 2 {
			t.Errorf("%+v after a restart, before %+v; %d on the disk", after, before, w.inFolder(0))
		}
		began := office.clock.kept()
		sweep := func(after time.Duration, files int) {
			t.Helper()
			if err := errors.Join(office.mailbox.sweep(began.Add(after)), office.mailbox.files.sweep(began.Add(after))); err != nil {
				t.Fatal(err)
			}
			if st, _ := office.mailbox.status(); st.Files != files || w.inFolder(0) != files || (st.FileBytes > 0) != (files > 0) {
				t.Errorf("after %v: %+v, %d on the disk", after, st, w.inFolder(0))
			}
		}
		sweep(23*time.Hour, 2)
		sweep(25*time.Hour, 1)
		sweep(4*24*time.Hour, 1)
		sweep(5*24*time.Hour+time.Hour, 0)
		sweep(11*24*time.Hour, 0)
		if st, _ := office.mailbox.status(); st.Boxes != 0 || st.Bytes != 0 {
			t.Errorf("at the end: %+v", st)
		}
		w.close(0)
		cfg.FileQuota = -1
		office = w.postOffice(0, cfg)
		if office.mailbox.files != nil || w.inFolder(0) != 0 {
			t.Errorf("a mailbox that keeps no files has %d", w.inFolder(0))
		}
	})
}

// A peer that puts wrong bytes, lies about a length, puts the same again, or is cut off, costs a
// mailbox no more than is there, and hinders nobody who puts the true file.
func TestMailboxFilePutters(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{FileQuota: 64 << 20, FileShare: 16 << 20}
		office, n := w.postOffice(0, cfg), w.open(1, 0)
		f := sealed(t, 1, 4<<20)
		wrong := handed{f.Blob, &memFile{bytes.Clone(f.disk.b)}}
		wrong.disk.b[5*blob.GroupSize+99] ^= 1
		wrong.F = wrong.disk
		s := w.hand(n, office, keyOfBox(1))
		if err := s.put(wrong.Blob, 5, 3); err == nil {
			t.Error("wrong bytes were taken")
		}
		if st, _ := office.mailbox.status(); st.Files != 0 || st.FileBytes != 0 || w.inFolder(0) != 0 {
			t.Errorf("of wrong bytes %+v is there", st)
		}
		s = w.hand(n, office, keyOfBox(1))
		if err := s.put(wrong.Blob, 3, 4); err == nil {
			t.Error("wrong bytes were taken")
		}
		s = w.hand(n, office, keyOfBox(1))
		if held := w.heldAt(s, f); held != 2 {
			t.Errorf("%d groups before the wrong one are there", held)
		}

		// A length that is another one: what fits it is another file. A huge one is none at all.
		lie := handed{f.Blob, &memFile{slices.Insert(bytes.Clone(f.disk.b), int(f.Length), 0)}}
		lie.F, lie.Length = lie.disk, f.Length+1
		if err := s.put(lie.Blob, 0, 4); err != nil {
			t.Errorf("groups that fit both lengths: %v", err)
		}
		if err := s.put(lie.Blob, 64, 1); err == nil {
			t.Error("the last group fits another length")
		}
		s = w.hand(n, office, keyOfBox(1))
		lie.Length = blob.Length(blob.MaxSize)
		if err := s.put(lie.Blob, 0, 1); !refused(err, wire.MailLarge) {
			t.Errorf("4 GiB: %v", err)
		}
		lie.Length++
		if err := s.put(lie.Blob, 0, 1); err == nil || refused(err, wire.MailLarge) {
			t.Errorf("more than any file has: %v", err)
		}
		s = w.hand(n, office, keyOfBox(1))
		if err := s.write(wire.MailBlobAsk{Part: []byte("of nothing")}); err != nil {
			t.Fatal(err)
		}
		if err := s.taken(); err == nil {
			t.Error("a part of nothing was taken")
		}

		// It is cut off in the middle of a slice, and goes on.
		s = w.hand(n, office, keyOfBox(1))
		if err := s.write(wire.MailBlobAsk{Put: &wire.MailBlobPut{Root: f.Root, Length: uint64(f.Length), From: 16, Groups: 16}}); err != nil {
			t.Fatal(err)
		}
		if err := s.taken(); err != nil {
			t.Fatal(err)
		}
		parts := 0
		cut := &partWriterTo{write: func(part []byte) error {
			if parts++; parts == 9 {
				return errEnough
			}
			return s.write(wire.MailBlobAsk{Part: part})
		}}
		if err := f.Slice(cut, 16, 16); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		s.drop()
		time.Sleep(time.Minute) // virtual
		s = w.hand(n, office, keyOfBox(1))
		held := w.heldAt(s, f)
		if held < 8 || held > 11 {
			t.Errorf("%d groups are there of a slice that was cut off", held)
		}
		if _, err := s.putAll(f, 0, 16); err != nil {
			t.Error(err)
		}
		got := sealed(t, 2, 4<<20)
		got.disk.b = make([]byte, len(f.disk.b))
		got.Root, got.Length = f.Root, f.Length
		for i := 0; i < blob.Groups(f.Length); i += 16 {
			if _, err := s.get(got.Blob, i, min(16, blob.Groups(f.Length)-i), func(int) {}); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got.disk.b, f.disk.b) {
			t.Error("other bytes came back")
		}
		if st, _ := office.mailbox.status(); st.Files != 2 || st.FileBytes > 4<<20+5<<16+3*mailFileOverhead {
			t.Errorf("in the end %+v", st)
		}
		// Another key shows nothing of it, nor does a root that is not there.
		s = w.hand(n, office, keyOfBox(9))
		if held := w.heldAt(s, f); held != 0 {
			t.Errorf("another box has %d groups", held)
		}
		if _, err := s.get(got.Blob, 0, 1, func(int) {}); !errors.As(err, new(waitError)) {
			t.Errorf("another box gives %v", err)
		}
		if st, _ := office.mailbox.status(); st.Boxes != 1 {
			t.Errorf("asking opened a box: %+v", st)
		}
		if err := w.knockAt(n, office, wire.ProtocolMailBlob); err == nil {
			t.Error("a proof by another key was taken")
		}
	})
}

// knockAt shows a mailbox a proof by another key than the box's, and gives how it answered.
func (w *world) knockAt(n, office *Node, protocol string) error {
	w.Helper()
	stream, err := openStream(w.within(time.Minute), n.host, office.host.ID(), protocol)
	if err != nil {
		w.Fatal(err)
	}
	s := &blobStream{newFrames(stream), func() bool { return true }, time.Now()}
	defer s.drop()
	var challenge wire.MailChallenge
	if err := errors.Join(s.write(wire.MailHello{V: wire.Version, Box: wire.BoxID{7}}), s.read(&challenge), s.write(wire.MailProof{Signature: make([]byte, 64)})); err != nil {
		w.Fatal(err)
	}
	_, err = s.have([]wire.BlobRoot{{}}, []int64{1000})
	return err
}

// Nothing that a mailbox was given before it was killed is put again, whatever it had noted.
func TestMailboxFileSurvivesAKill(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office, n := w.postOffice(0, MailboxConfig{}), w.open(1, 0)
		f := sealed(t, 1, 12<<20)
		s := w.hand(n, office, keyOfBox(1))
		for i := 0; i < 160; i += 16 { // of which the first 8 MiB are noted
			if err := s.put(f.Blob, i, 16); err != nil {
				t.Fatal(err)
			}
		}
		noted := wire.Marshal(&office.mailbox.files.file(wire.BoxID(keyOfBox(1).Public().(ed25519.PublicKey)), mailFileName{f.Root, f.Length}).row)
		w.close(0)
		w.gone(n, office)
		office = w.postOffice(0, MailboxConfig{})
		x := office.mailbox.files
		file := x.file(wire.BoxID(keyOfBox(1).Public().(ed25519.PublicKey)), mailFileName{f.Root, f.Length})
		if !bytes.Equal(wire.Marshal(&file.row), noted) || file.bits.Count() != 128 {
			t.Errorf("%d groups were noted", file.bits.Count())
		}
		s = w.hand(n, office, keyOfBox(1))
		if held := w.heldAt(s, f); held != 160 {
			t.Errorf("%d groups are there of 160", held)
		}
		if put, err := s.putAll(f, 160, 16); err != nil || put != 33 {
			t.Errorf("%d, %v", put, err)
		}
		w.close(0)
		w.gone(n, office)
		office = w.postOffice(0, MailboxConfig{})
		s = w.hand(n, office, keyOfBox(1))
		if held := w.heldAt(s, f); held != 193 {
			t.Errorf("%d groups are there of 193", held)
		}
		if st, _ := office.mailbox.status(); st.Files != 1 || st.FileBytes != mailFileOverhead+f.Length+193*mailTreeNode {
			t.Errorf("%+v", st)
		}
	})
}
