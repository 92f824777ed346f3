package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// apart has two members of a group that uses a mailbox, and closes the second.
func (w *world) apart(cfg MailboxConfig) (office, a *Node, id wire.GroupID) {
	w.Helper()
	office = w.postOffice(0, cfg)
	a, b := w.open(1, 0), w.open(2, 0)
	id = w.create(a, "apart")
	w.join(b, id)
	w.assign(a, id, 0)
	w.uses(b, id)
	w.delivered(b, id)
	w.close(2)
	w.gone(a, b)
	return office, a, id
}

// refuses waits until a mailbox has refused a file, and gives why.
func (w *world) refuses(n *Node, f api.File, office *Node) (why string) {
	w.Helper()
	w.eventually(n, 10*time.Minute, "the mailbox refuses", func() bool {
		time.AfterFunc(time.Second, n.changed.wake)
		why = w.mailed(n, f.ID, office).Why
		return why != ""
	})
	return why
}

// charge begins to put so much of a file into a box for a caller, as far as the mailbox takes it.
func (x *mailFiles) charged(c *mailCaller, f blob.Blob) (wire.MailCode, error) {
	file, need, code, err := x.begin(time.Now(), c, f, 0, blob.Groups(f.Length))
	if err != nil || code != wire.MailDone {
		return code, err
	}
	x.m.mu.Lock()
	x.changed(file, func() { file.bits, file.coming = blob.All(f.Length), file.coming-need })
	x.m.mu.Unlock()
	return code, nil
}

// A mailbox that is open to all is filled with files by one peer, and then by many of one
// network. Peers of other networks have room all the same, which those who have most make.
func TestMailboxFilesMakeRoom(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{FileQuota: 8 << 20, FileShare: 2 << 20}
		office := w.postOffice(0, cfg)
		x, number := office.mailbox.files, 0
		put := func(network, opener string, groups int) wire.MailCode {
			time.Sleep(time.Second) // virtual
			number++
			code, err := x.charged(&mailCaller{peer: peer.ID(opener), network: network, box: wire.BoxID([]byte(fmt.Sprintf("%-32s", opener)))},
				blob.Blob{Root: wire.BlobRoot{byte(number), byte(number >> 8)}, Length: int64(groups) * blob.GroupSize})
			if err != nil {
				t.Fatal(err)
			}
			if st, _ := office.mailbox.status(); st.FileBytes > cfg.FileQuota || st.Files != w.inFolder(0) {
				t.Fatalf("%+v, %d on the disk", st, w.inFolder(0))
			}
			return code
		}
		has := func(opener string) int {
			if in := x.boxes[wire.BoxID([]byte(fmt.Sprintf("%-32s", opener)))]; in != nil {
				return len(in.files)
			}
			return 0
		}
		for range 20 {
			put("bad", "hostile", 8)
		}
		if st, _ := office.mailbox.status(); st.FileBytes > cfg.FileShare || st.FileBytes < cfg.FileShare/2 {
			t.Errorf("one opener has %+v", st)
		}
		for i := range 100 {
			put("bad", fmt.Sprint("hostile ", i), 8)
		}
		if st, _ := office.mailbox.status(); st.FileBytes < cfg.FileQuota*9/10 {
			t.Fatalf("it is not full: %+v", st)
		}
		for range 3 {
			if code := put("anna's", "anna", 8); code != wire.MailDone {
				t.Errorf("anna, who has less: code %d", code)
			}
		}
		for i := range 100 {
			put("bad", fmt.Sprint("hostile ", i), 8)
		}
		if n := has("anna"); n != 3 {
			t.Errorf("%d of 3 files are left", n)
		}
		if code := put("bad", "hostile 1", 32); code != wire.MailLarge {
			t.Errorf("more than a share: code %d", code)
		}
		before, _ := office.mailbox.status()
		w.close(0)
		office = w.postOffice(0, cfg)
		if after, _ := office.mailbox.status(); after.Files != before.Files || after.Boxes != before.Boxes {
			t.Errorf("%+v after a restart, before %+v", after, before)
		}
	})
}

// A mailbox whose quota is reached says so to the sender, who says so to people and keeps the
// file: the other gets it from the sender, and from the mailbox once that has room.
func TestMailboxFileQuotaReached(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office, a, id := w.apart(MailboxConfig{FileQuota: 8 << 20, FileShare: 3 << 20})
		large := someBytes(1, 5<<20)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		why := w.refuses(a, f, office)
		if !strings.Contains(why, "too large for it: it keeps at most 3.0 MiB") {
			t.Errorf("it says %q", why)
		}
		e, err := a.API().Why(w.within(time.Minute), api.WhyRequest{Group: id.String(), Subject: f.ID})
		text := strings.Join(append(e.Facts, e.Next...), "\n")
		for _, want := range []string{"all of it is on this device", "the mailbox " + office.host.ID().String() + " has nothing of it: the file is too large for it", "it is put into the mailbox again in 1"} {
			if err != nil || !strings.Contains(text, want) {
				t.Errorf("%q is not in:\n%s\n%v", want, text, err)
			}
		}
		small := w.upload(a, "small.bin", someBytes(2, 2<<20))
		sent, err := a.API().Send(w.within(time.Minute), api.SendRequest{Group: id.String(), Files: []string{small.ID}})
		if err != nil || !strings.Contains(sent.Note, "small.bin is on its way to the mailbox") || !strings.Contains(sent.Note, "which has not taken another one: the file is too large") {
			t.Errorf("the note: %q, %v", sent.Note, err)
		}
		w.kept(a, small, office)
		third := w.upload(a, "third.bin", someBytes(3, 2<<20))
		message := w.sendFile(a, id, "", third)
		if why := w.refuses(a, third, office); !strings.Contains(why, "it has no room for the file: it keeps at most 3.0 MiB") {
			t.Errorf("it says %q", why)
		}
		later, err := a.API().Delivery(w.within(time.Minute), api.DeliveryRequest{Group: id.String(), Message: message.String()})
		if err != nil || !strings.Contains(later.Note, "has not taken the file third.bin: it has no room") {
			t.Errorf("the note: %q, %v", later.Note, err)
		}
		all, err := a.API().Mailboxes(w.within(time.Minute), api.MailboxesRequest{Group: id.String()})
		if err != nil || all.Mailboxes[0].FilesWaiting != 2 || all.Mailboxes[0].FileError == "" || all.Mailboxes[0].Waiting != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		if _, err := a.API().Mailboxes(w.within(time.Minute), api.MailboxesRequest{Group: id.String(), Wait: "taken", Timeout: api.Duration(time.Second)}); api.CodeOf(err) != api.CodeTimeout || !strings.Contains(err.Error(), "2 files are not at") {
			t.Errorf("%v", err)
		}
		// The mailbox is given more room, and then has all.
		w.close(0)
		office = w.postOffice(0, MailboxConfig{FileQuota: 32 << 20, FileShare: 16 << 20})
		w.kept(a, f, office)
		w.kept(a, third, office)
		w.close(1)
		b := w.open(2, 0)
		w.state(b, f.ID, "known", func(api.File) bool { return true })
		if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
			t.Errorf("%d bytes came", len(got))
		}
	})
}

// A mailbox that has wrong bytes is found at the first wrong group, passed over, and named; all
// else of it is taken, and the rest comes from the sender once that is there.
func TestMailboxServesWrongBytes(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office, a, id := w.apart(MailboxConfig{})
		large := someBytes(4, 4<<20)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		w.kept(a, f, office)
		w.close(1)
		names, err := os.ReadDir(filepath.Join(w.home(0), "mailfiles"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		path := filepath.Join(w.home(0), "mailfiles", names[0].Name())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range []int{20, 41} {
			b[g*blob.GroupSize+1] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := w.open(2, 0)
		w.state(n, f.ID, "known", func(api.File) bool { return true })
		if err := n.files.want(wire.Hash(parseFile(t, f.ID))); err != nil {
			t.Fatal(err)
		}
		w.state(n, f.ID, "stuck, and why", func(now api.File) bool {
			return now.State == api.FilePartly && now.Have == now.Sealed-2*blob.GroupSize && strings.Contains(now.Why, office.host.ID().String()+" served other bytes")
		})
		e, err := n.API().Why(w.within(time.Minute), api.WhyRequest{Group: id.String(), Subject: f.ID})
		if text := strings.Join(e.Facts, "\n"); err != nil || !strings.Contains(text, "peer "+office.host.ID().String()+" served other bytes") {
			t.Errorf("%s, %v", text, err)
		}
		w.open(1, 0)
		w.state(n, f.ID, "here", here)
		now, err := n.API().File(w.Context(), api.FileRequest{File: f.ID})
		if err != nil || now.Fetched != now.Sealed || !bytes.Equal(w.content(n, f.ID), large) {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// lieAbout has a mailbox answer about files as answers says, once a peer has shown its proof.
func lieAbout(office *Node, answers func(*wire.MailBlobAsk) *wire.MailBlobAnswer) {
	office.host.SetStreamHandler(wire.ProtocolMailBlob, func(s network.Stream) {
		office.life.start(func(context.Context) {
			f := newFrames(s)
			defer f.abandon()
			if _, err := office.mailbox.admit(f); err != nil {
				return
			}
			for parts := uint64(0); ; {
				var ask wire.MailBlobAsk
				if f.read(&ask) != nil {
					return
				}
				if len(ask.Part) > 0 { // one for each group
					if parts--; parts == 0 && f.write(wire.MailBlobAnswer{Taken: new(wire.MailBlobTaken)}) != nil {
						return
					}
					continue
				}
				if ask.Put != nil {
					parts = ask.Put.Groups
				}
				if answer := answers(&ask); answer == nil || f.write(answer) != nil {
					return
				}
			}
		})
	})
}

// Mailboxes that say that they have what they have not, take what they do not keep, answer
// rubbish, or hang up keep nobody busy: the sender says so where it can know it, the receiver
// says what is missing, and all comes when they meet.
func TestMailboxLiesAboutFiles(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]struct {
		answers func(f api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer
		sender  string // says that; empty: all is well, as far as it can know
		reader  string
	}{
		"says that it has all": {func(f api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer {
			return func(ask *wire.MailBlobAsk) *wire.MailBlobAnswer {
				if len(ask.Have) > 0 {
					return &wire.MailBlobAnswer{Have: []wire.BlobHeld{{Length: uint64(f.Sealed), Bits: blob.All(f.Sealed)}}}
				}
				return &wire.MailBlobAnswer{No: new(wire.BlobNo)}
			}
		}, "", "has not all of it"},
		"gives rubbish": {func(f api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer {
			return func(ask *wire.MailBlobAsk) *wire.MailBlobAnswer {
				if len(ask.Have) > 0 {
					return &wire.MailBlobAnswer{Have: []wire.BlobHeld{{Length: uint64(f.Sealed), Bits: blob.All(f.Sealed)}}}
				}
				return &wire.MailBlobAnswer{Part: make([]byte, wire.MaxBlobPart)}
			}
		}, "", "served other bytes"},
		"keeps nothing": {func(api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer {
			return func(ask *wire.MailBlobAsk) *wire.MailBlobAnswer {
				switch {
				case len(ask.Have) > 0:
					return &wire.MailBlobAnswer{Have: []wire.BlobHeld{{Bits: []byte{}}}}
				case ask.Put == nil:
					return &wire.MailBlobAnswer{No: new(wire.BlobNo)}
				}
				return &wire.MailBlobAnswer{Taken: new(wire.MailBlobTaken)}
			}
		}, "it said that it took all of it", "has not all of it"},
		"hangs up": {func(api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer {
			return func(*wire.MailBlobAsk) *wire.MailBlobAnswer { return nil }
		}, "does not answer properly", "does not answer properly"},
		"is closed": {func(api.File) func(*wire.MailBlobAsk) *wire.MailBlobAnswer {
			return func(ask *wire.MailBlobAsk) *wire.MailBlobAnswer {
				if ask.Put != nil {
					return &wire.MailBlobAnswer{Taken: &wire.MailBlobTaken{Code: wire.MailClosed, Most: 1 << 63}}
				}
				return &wire.MailBlobAnswer{Have: []wire.BlobHeld{{Bits: []byte{}}}}
			}
		}, "opens boxes only for peers that it lists", "has not all of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				office, a, id := w.apart(MailboxConfig{})
				large := someBytes(5, 2<<20)
				f := w.upload(a, "large.bin", large)
				var asked atomic.Int64
				answers := lie.answers(f)
				lieAbout(office, func(ask *wire.MailBlobAsk) *wire.MailBlobAnswer { asked.Add(1); return answers(ask) })
				w.sendFile(a, id, "", f)
				if lie.sender != "" {
					if why := w.refuses(a, f, office); !strings.Contains(why, lie.sender) {
						t.Errorf("the sender says %q", why)
					}
				} else {
					w.kept(a, f, office)
				}
				w.delivered(a, id)
				before := asked.Load()
				time.Sleep(20 * time.Minute) // virtual
				if n := asked.Load() - before; n > 100 {
					t.Errorf("it was asked %d times in 20 minutes", n)
				}
				w.close(1)
				b := w.open(2, 0)
				w.state(b, f.ID, "known", func(api.File) bool { return true })
				if err := b.files.want(wire.Hash(parseFile(t, f.ID))); err != nil {
					t.Fatal(err)
				}
				w.state(b, f.ID, "stuck", func(now api.File) bool { return now.Have == 0 && strings.Contains(now.Why, lie.reader) })
				before = asked.Load()
				time.Sleep(20 * time.Minute) // virtual
				if n := asked.Load() - before; n > 200 {
					t.Errorf("it was asked %d times in 20 minutes by who wants it", n)
				}
				w.open(1, 0, 2)
				w.state(b, f.ID, "here", here)
				if !bytes.Equal(w.content(b, f.ID), large) {
					t.Error("other bytes came")
				}
			})
		})
	}
}

// A mailbox whose disk fills in the middle of a file says that it is full, keeps what it has,
// and takes the rest once there is room; the same where its store has no room for rows.
func TestMailboxFileOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, disk := range []string{"the disk's", "the store's", "what is left free of it"} {
		t.Run(disk, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				office, a, id := w.apart(MailboxConfig{})
				var isFull atomic.Bool
				x := office.mailbox.files
				written := int64(0)
				switch disk {
				case "what is left free of it":
					x.room = func(dir string, need int64) error {
						if isFull.Load() {
							return storage.ErrNoSpace
						}
						return storage.Room(dir, need)
					}
				case "the disk's":
					x.write = func(f *os.File, p []byte, off int64) (int, error) {
						if written += int64(len(p)); written > 5<<20 && isFull.Load() {
							n, err := f.WriteAt(p[:len(p)/2], off)
							return n, errors.Join(err, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
						}
						return f.WriteAt(p, off)
					}
				case "the store's":
					x.apply = func(b storage.Batch) error {
						if isFull.Load() {
							return storage.ErrNoSpace
						}
						return office.apply(b)
					}
				}
				isFull.Store(true)
				large := someBytes(6, 12<<20)
				f := w.upload(a, "large.bin", large)
				w.sendFile(a, id, "", f)
				if why := w.refuses(a, f, office); !strings.Contains(why, "it has no room for the file") {
					t.Errorf("it says %q", why)
				}
				h := w.mailed(a, f.ID, office)
				if disk == "the disk's" && (h.Have < 3<<20 || h.Have > 6<<20) {
					t.Errorf("of it there is %+v", h)
				}
				if st, _ := office.mailbox.status(); st.FileBytes > h.Have+mailFileOverhead+200*mailTreeNode {
					t.Errorf("%+v is charged for %d bytes", st, h.Have)
				}
				w.send(a, id, "meanwhile")
				w.envelopesTaken(a, id)
				isFull.Store(false)
				w.eventually(a, time.Hour, "the mailbox has the file", func() bool {
					time.AfterFunc(time.Minute, a.changed.wake)
					h := w.mailed(a, f.ID, office)
					return h.Have == f.Sealed && h.Why == ""
				})
				w.close(1)
				b := w.open(2, 0)
				w.state(b, f.ID, "known", func(api.File) bool { return true })
				if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
					t.Errorf("%d bytes came", len(got))
				}
			})
		})
	}
}

// envelopesTaken waits until a node's envelopes are in the mailbox, whatever its files are.
func (w *world) envelopesTaken(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, time.Hour, "the envelopes are in the mailbox", func() bool {
		all, err := n.groups.get(id).mailboxes(w.Context())
		return err == nil && len(all) == 1 && all[0].Waiting == 0 && all[0].Err == nil
	})
}

// Where a mailbox opens boxes for one member only, others put files into its boxes, and after a
// removal into the box that follows, which the removed one cannot read.
func TestMailboxFilesAfterARemoval(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Allow: []peer.ID{w.net.PeerID(1)}})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "by appointment")
		w.join(b, id)
		w.join(c, id)
		if err := a.step(w.within(time.Minute), id, group.SetRole{User: b.Device().User, Role: wire.RoleAdmin}); err != nil {
			w.Fatal(err)
		}
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(1)
		w.gone(b, a)
		old := w.report(b, id).SendKey
		before := w.upload(b, "before.bin", someBytes(7, 2<<20))
		w.sendFile(b, id, "", before)
		w.kept(b, before, office)
		if err := b.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "another transport key", func() bool { return w.report(b, id).SendKey != old })
		after := w.upload(b, "after.bin", someBytes(8, 2<<20))
		w.sendFile(b, id, "", after)
		w.kept(b, after, office)
		if len(office.mailbox.files.boxes) != 2 {
			t.Errorf("files are in %d boxes", len(office.mailbox.files.boxes))
		}
		mail := groupMail{c.groups.get(id), wire.LinkPeer{Peer: []byte(office.host.ID())}}
		boxes, err := mail.boxes(w.Context())
		if err != nil || len(boxes) == 0 {
			t.Fatal(boxes, err)
		}
		for _, box := range boxes {
			s, err := mail.open(w.within(time.Minute), box, nil)
			if err != nil {
				t.Fatal(err)
			}
			root := func(f api.File) wire.BlobRoot {
				b.files.mu.Lock()
				defer b.files.mu.Unlock()
				return b.files.all[wire.Hash(parseFile(t, f.ID))].row.Root
			}
			have, err := s.have([]wire.BlobRoot{root(before), root(after)}, []int64{before.Sealed, after.Sealed})
			if err != nil || have[1].Count() != 0 {
				t.Errorf("a removed member sees %d groups of what came after, %v", have[1].Count(), err)
			}
			s.drop()
		}
		w.close(2)
		w.close(3)
		a = w.open(1, 0)
		for _, f := range []api.File{before, after} {
			w.state(a, f.ID, "known", func(api.File) bool { return true })
			if got := w.fetch(a, f.ID); len(got) != 2<<20 {
				t.Errorf("%d bytes came", len(got))
			}
		}
	})
}

// A member whose message is deleted takes its file from the members, and nothing opens what a
// mailbox still has of it, until that is too old.
func TestMailboxKeepsDeletedFilesForATime(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office, a, id := w.apart(MailboxConfig{Lifetime: 2 * time.Hour})
		f := w.upload(a, "large.bin", someBytes(9, 2<<20))
		message := w.sendFile(a, id, "", f)
		w.kept(a, f, office)
		key := w.keyOf(a, f.ID)
		if _, err := a.API().Delete(w.Context(), api.MessageRequest{Group: id.String(), Message: message.String()}); err != nil {
			t.Fatal(err)
		}
		w.delivered(a, id)
		if len(w.blobs(1)) != 0 || keyRows(t, a, [][]byte{key}) != 0 {
			t.Error("the sender still has it")
		}
		w.close(1)
		b := w.open(2, 0)
		time.Sleep(10 * time.Minute) // virtual
		if list, err := b.API().Files(w.Context(), api.FilesRequest{}); err != nil || len(list.Files) != 0 || keyRows(t, b, [][]byte{key}) != 0 {
			t.Errorf("who was away has %+v, %v", list, err)
		}
		if st, _ := office.mailbox.status(); st.Files != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(4 * time.Hour) // virtual
		if st, _ := office.mailbox.status(); st.Files != 0 || w.inFolder(0) != 0 {
			t.Errorf("%+v, when it is too old", st)
		}
	})
}
