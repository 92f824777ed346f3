//go:build e2e && linux

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
)

// A file of 50 MiB between three real processes: both receivers have parts, the sender's disk
// flips a bit, and a receiver is killed twice. It comes as it was, nothing of it twice but
// for what was under way when a process was killed; and it is not much slower than the same
// bytes over a plain stream.
func TestFileOf50MiB(t *testing.T) {
	c := newCluster(t, 3, 5*time.Minute)
	group := c.group("tea", 3)
	plain := make([]byte, 50<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(plain)
	begun := time.Now()
	want := sha256.Sum256(plain)
	hashing := time.Since(begun)

	send := func(name string) api.File {
		t.Helper()
		f, err := c.api[0].Upload(c.ctx, api.UploadRequest{Name: name}, int64(len(plain)), bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: group, Files: []string{f.ID}}); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{1, 2} {
			for {
				if _, err := c.api[i].File(c.ctx, api.FileRequest{File: f.ID}); err == nil {
					break
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-c.ctx.Done():
					t.Fatal("the message does not come")
				}
			}
		}
		return f
	}
	enough := errors.New("enough")
	fetch := func(i int, f api.File, part float64) {
		t.Helper()
		err := c.api[i].FetchFile(c.ctx, api.FetchFileRequest{File: f.ID}, func(now api.File) error {
			if part < 1 && float64(now.Have) >= part*float64(now.Sealed) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			now, _ := c.api[i].File(c.ctx, api.FileRequest{File: f.ID})
			t.Fatalf("%v: %+v", err, now)
		}
	}
	check := func(i int, f api.File) {
		t.Helper()
		r, err := c.api[i].ReadFile(c.ctx, f.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		sum := sha256.New()
		if n, err := io.Copy(sum, r); err != nil || n != int64(len(plain)) || [32]byte(sum.Sum(nil)) != want {
			t.Errorf("node %d has %d bytes, %v", i, n, err)
		}
	}
	out := func(i int) int64 {
		t.Helper()
		st, err := c.api[i].Status(c.ctx, api.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Extra["file_bytes_out"]
	}
	kill := func(i int) {
		t.Helper()
		if err := c.procs[i].kill(); err != nil {
			t.Fatal(err)
		}
	}

	// The one who sends it is undisturbed: how fast is it?
	quick := send("quick.bin")
	begun = time.Now()
	fetch(1, quick, 1)
	took := time.Since(begun)
	check(1, quick)
	bare := plainStream(t, plain)
	t.Logf("50 MiB: SHA-256 %v, a plain stream %v, a file %v: %.1f times the stream, %.1f times SHA-256",
		hashing.Round(time.Millisecond), bare.Round(time.Millisecond), took.Round(time.Millisecond), took.Seconds()/bare.Seconds(), took.Seconds()/hashing.Seconds())

	before := out(0)
	f := send("large.bin")
	kill(2)
	fetch(1, f, 0.5)
	kill(1)
	flipBlob(t, c.procs[0].home, f.Sealed, 5<<16+17)
	c.start(2)
	fetch(2, f, 0.2)
	kill(2)
	c.start(1)
	c.start(2)
	fetch(2, f, 0.7)
	kill(2)
	c.start(2)
	fetch(2, f, 1)
	fetch(1, f, 1)
	check(1, f)
	check(2, f)
	// Bytes that left the one that was never killed, and the one that lived to the end: two files,
	// less what node 2 gave, and 1 MiB for each kill and for frames and proofs.
	served := out(0) - before + out(1)
	most := 2*f.Sealed + 3<<20 + f.Sealed/50
	t.Logf("%d bytes were served for two receivers of %d: %+d", served, f.Sealed, served-2*f.Sealed)
	if served > most {
		t.Errorf("%d bytes were served, and %d are the most", served, most)
	}
}

// A file of 50 MiB from one real process to another that are never online together: by a
// mailbox, that is killed while it takes the file and while it gives it, as the receiver is. It
// comes as it was, and nothing of it goes twice but for 1 MiB at each kill.
func TestFileOf50MiBByAMailbox(t *testing.T) {
	const office, sender, receiver = 0, 1, 2
	c := newCluster(t, 3, 5*time.Minute)
	c.kill(office)
	if _, err := c.procs[office].cli(c.ctx, "", "config", "set", "mailbox", "true"); err != nil {
		t.Fatal(err)
	}
	c.start(office)
	g, err := c.api[sender].CreateGroup(c.ctx, api.CreateGroupRequest{Name: "never together", Policy: api.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	c.join(receiver, g.ID)
	if _, err := c.api[sender].AddMailbox(c.ctx, api.AddMailboxRequest{Group: g.ID, Mailbox: c.procs[office].addr}); err != nil {
		t.Fatal(err)
	}
	c.until(time.Minute, "the receiver uses the mailbox", func() bool {
		all, err := c.api[receiver].Mailboxes(c.ctx, api.MailboxesRequest{Group: g.ID})
		return err == nil && len(all.Mailboxes) == 1 && all.Mailboxes[0].Health == "ok" && all.Mailboxes[0].Waiting == 0
	})
	c.kill(receiver)
	counted := func(i int, what string) int64 {
		t.Helper()
		st, err := c.api[i].Status(c.ctx, api.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Extra[what]
	}
	keeps := func() int64 {
		st, err := c.api[office].Status(c.ctx, api.StatusRequest{})
		if err != nil {
			return 0
		}
		return st.Mailbox.FileBytes
	}

	// The sender, with the mailbox alone, which is killed in the middle.
	c.until(time.Minute, "the sender is alone with the mailbox", func() bool {
		st, err := c.api[sender].Status(c.ctx, api.StatusRequest{})
		return err == nil && st.Peers == 1
	})
	plain := make([]byte, 50<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(plain)
	f, err := c.api[sender].Upload(c.ctx, api.UploadRequest{Name: "large.bin"}, int64(len(plain)), bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	sent, err := c.api[sender].Send(c.ctx, api.SendRequest{Group: g.ID, Files: []string{f.ID}})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("who sends it is told: %s", sent.Note); !strings.Contains(sent.Note, "the file large.bin is on its way to the mailbox") {
		t.Error("that is not where the file is")
	}
	begun := time.Now()
	c.until(time.Minute, "a third is in the mailbox", func() bool { return keeps() > f.Sealed/3 })
	c.kill(office)
	c.start(office)
	if _, err := c.api[sender].Mailboxes(c.ctx, api.MailboxesRequest{Group: g.ID, Wait: "taken", Timeout: api.Duration(2 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	put := counted(sender, "file_bytes_out")
	t.Logf("%d bytes were put of %d, %+d, in %v, in which the mailbox was killed", put, f.Sealed, put-f.Sealed, time.Since(begun).Round(time.Millisecond))
	if most := f.Sealed + 1<<20 + f.Sealed/50; put > most {
		t.Errorf("%d bytes were put, and %d are the most", put, most)
	}
	c.kill(sender)

	// The receiver, with the mailbox alone: first it is killed in the middle, then the mailbox.
	c.start(receiver)
	c.until(time.Minute, "the message is there", func() bool {
		_, err := c.api[receiver].File(c.ctx, api.FileRequest{File: f.ID})
		return err == nil
	})
	before, begun := counted(office, "file_bytes_out"), time.Now()
	enough := errors.New("enough")
	until := func(part float64) error {
		return c.api[receiver].FetchFile(c.ctx, api.FetchFileRequest{File: f.ID}, func(now api.File) error {
			if part < 1 && float64(now.Have) >= part*float64(now.Sealed) {
				return enough
			}
			return nil
		})
	}
	if err := until(0.3); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	c.kill(receiver)
	fetched := counted(office, "file_bytes_out") - before
	c.start(receiver)
	if err := until(0.6); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	c.kill(office)
	c.start(office)
	if err := until(1); err != nil {
		now, _ := c.api[receiver].File(c.ctx, api.FileRequest{File: f.ID})
		t.Fatalf("%v: %+v", err, now)
	}
	fetched += counted(receiver, "file_bytes_in")
	t.Logf("%d bytes were fetched of %d, %+d, in %v, in which the receiver and the mailbox were killed", fetched, f.Sealed, fetched-f.Sealed, time.Since(begun).Round(time.Millisecond))
	if most := f.Sealed + 2<<20 + f.Sealed/50; fetched > most {
		t.Errorf("%d bytes were fetched, and %d are the most", fetched, most)
	}
	r, err := c.api[receiver].ReadFile(c.ctx, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
}

// kill ends a node as kill -9 does.
func (c *cluster) kill(i int) {
	c.Helper()
	if err := c.procs[i].kill(); err != nil {
		c.Fatal(err)
	}
}

// flipBlob flips a bit of the newest blob of that length in a home.
func flipBlob(t *testing.T, home string, length, at int64) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(home, "files", "*"))
	if err != nil {
		t.Fatal(err)
	}
	newest, when := "", time.Time{}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Size() >= length && info.ModTime().After(when) {
			newest, when = path, info.ModTime()
		}
	}
	b, err := os.OpenFile(newest, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	one := make([]byte, 1)
	if _, err := b.ReadAt(one, at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 1
	if _, err := b.WriteAt(one, at); err != nil {
		t.Fatal(err)
	}
}

// plainStream is how long bytes take from one host to another, both in this process, over
// QUIC on loopback.
func plainStream(t *testing.T, b []byte) time.Duration {
	t.Helper()
	hosts := make([]host.Host, 2)
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics(), libp2p.DisableRelay())
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		hosts[i] = h
	}
	hosts[0].SetStreamHandler("/bytes", func(s network.Stream) {
		_, _ = s.Write(b)
		_ = s.Close()
	})
	if err := hosts[1].Connect(t.Context(), peer.AddrInfo{ID: hosts[0].ID(), Addrs: hosts[0].Addrs()}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s, err := hosts[1].NewStream(t.Context(), hosts[0].ID(), "/bytes")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s); err != nil || n != int64(len(b)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return time.Since(begun)
}
