//go:build e2e && linux

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/bits"
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

// senders is a group of real processes of which the first sends files.
type senders struct {
	*cluster
	group string
	plain []byte
}

func newSenders(t *testing.T, n, size int) *senders {
	t.Helper()
	c := &senders{cluster: newCluster(t, n, 5*time.Minute), plain: make([]byte, size)}
	c.group = c.cluster.group("tea", n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(c.plain)
	return c
}

// send sends the file, and returns once all others know of it.
func (c *senders) send(name string) api.File {
	c.Helper()
	f, err := c.api[0].Upload(c.ctx, api.UploadRequest{Name: name}, int64(len(c.plain)), bytes.NewReader(c.plain))
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: c.group, Files: []string{f.ID}}); err != nil {
		c.Fatal(err)
	}
	for i := 1; i < len(c.procs); i++ {
		c.until(time.Minute, "the message comes", func() bool {
			_, err := c.api[i].File(c.ctx, api.FileRequest{File: f.ID})
			return err == nil
		})
	}
	return f
}

// fetch waits until a node has a part of a file, and gives how much it has. The rest goes on to
// come.
func (c *senders) fetch(i int, f api.File, part float64) (have int64) {
	c.Helper()
	enough := errors.New("enough")
	err := c.api[i].FetchFile(c.ctx, api.FetchFileRequest{File: f.ID}, func(now api.File) error {
		if have = now.Have; part < 1 && float64(have) >= part*float64(now.Sealed) {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		now, _ := c.api[i].File(c.ctx, api.FileRequest{File: f.ID})
		c.Fatalf("%v: %+v", err, now)
	}
	return have
}

// check fails unless a node has the file as it was.
func (c *senders) check(i int, f api.File) {
	c.Helper()
	r, err := c.api[i].ReadFile(c.ctx, f.ID)
	if err != nil {
		c.Fatal(err)
	}
	defer r.Close()
	sum := sha256.New()
	if n, err := io.Copy(sum, r); err != nil || n != int64(len(c.plain)) || [32]byte(sum.Sum(nil)) != sha256.Sum256(c.plain) {
		c.Errorf("node %d has %d bytes, %v", i, n, err)
	}
}

// served is how many bytes of files a process has given.
func (c *senders) served(i int) int64 {
	c.Helper()
	st, err := c.api[i].Status(c.ctx, api.StatusRequest{})
	if err != nil {
		c.Fatal(err)
	}
	return st.Extra["file_bytes_out"]
}

// rest has a node fetch nothing that the first sends, or fetch again.
func (c *senders) rest(i int, is bool) {
	c.Helper()
	if _, err := c.api[i].SetPerson(c.ctx, api.SetPersonRequest{User: c.procs[0].user, Blocked: &is}); err != nil {
		c.Fatal(err)
	}
}

// A file of 50 MiB between three real processes: both receivers have parts, the sender's disk
// flips a bit, and a receiver is killed twice. It comes as it was, and no more than 1 MiB of it
// twice, with what was under way when a process was killed; and it is not much slower than the
// same bytes over a plain stream.
func TestFileOf50MiB(t *testing.T) {
	c := newSenders(t, 3, 50<<20)
	begun := time.Now()
	_ = sha256.Sum256(c.plain)
	hashing := time.Since(begun)

	// The one who sends it is undisturbed: how fast is it?
	quick := c.send("quick.bin")
	begun = time.Now()
	c.fetch(1, quick, 1)
	took := time.Since(begun)
	c.check(1, quick)
	bare := plainStream(t, c.plain)
	t.Logf("50 MiB: SHA-256 %v, a plain stream %v, a file %v: %.1f times the stream, %.1f times SHA-256",
		hashing.Round(time.Millisecond), bare.Round(time.Millisecond), took.Round(time.Millisecond), took.Seconds()/bare.Seconds(), took.Seconds()/hashing.Seconds())

	// A node that is killed cannot be asked what it fetched, so those count who serve: node 1
	// rests while node 2 fetches, and node 2 is whole while node 1 fetches the rest.
	f := c.send("large.bin")
	c.kill(2)
	before := c.served(0)
	c.fetch(1, f, 0.5)
	c.kill(1)
	toOne := c.served(0) - before
	c.kill(0)
	flipBlob(t, c.procs[0].home, c.procs[1].home, f.Sealed)
	c.start(1)
	c.rest(1, true)
	c.start(0)
	c.start(2)
	c.fetch(2, f, 0.2)
	c.kill(2)
	c.start(2)
	c.fetch(2, f, 0.7)
	c.kill(2)
	c.start(2)
	c.fetch(2, f, 1)
	c.check(2, f)
	logged, err := os.ReadFile(c.procs[2].logFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("node 2 was given wrong bytes %d times", bytes.Count(logged, []byte("served other bytes")))
	first, second := c.served(0), c.served(1)
	if now := c.served(0) + c.served(2) - first; second < 1<<20 || now > 64<<10 {
		t.Errorf("a part served %d bytes, and %d came to who rests", second, now)
	}
	c.rest(1, false)
	c.fetch(1, f, 1)
	c.check(1, f)
	toOne += c.served(0) - first + c.served(2)
	for _, of := range []struct {
		node   string
		kills  int
		served int64
	}{{"node 1", 1, toOne}, {"node 2", 2, first + second}} {
		twice := of.served - f.Sealed - proofs(f.Sealed)
		t.Logf("%d bytes were served for %s, which was killed %d times: a file of %d and its proofs, and %d more", of.served, of.node, of.kills, f.Sealed, twice)
		if of.served < f.Sealed || twice > 1<<20 {
			t.Errorf("%d bytes too much were served for %s, and 1 MiB is the most", twice, of.node)
		}
	}
}

// Two members have parts of a file, neither all of it, and its sender is away: what the two have
// comes from both at once, and the rest once the sender is back, nothing of it twice.
func TestFileOfTwoPartialHolders(t *testing.T) {
	c := newSenders(t, 4, 64<<20)
	f := c.send("large.bin")
	c.kill(3)
	c.kill(2)
	a := c.fetch(1, f, 0.2)
	c.kill(1)
	c.kill(0)
	c.start(1)
	c.rest(1, true)
	c.start(0)
	c.start(2)
	c.until(time.Minute, "node 2 can fetch from both", func() bool {
		st, err := c.api[2].Status(c.ctx, api.StatusRequest{})
		return err == nil && st.Peers == 2
	})
	b := c.fetch(2, f, 0.2)
	c.kill(2)
	c.kill(0)
	c.kill(1)
	most := max(a, b)
	if most > f.Sealed*3/4 {
		t.Fatalf("one of them has too much for this test: %d and %d bytes of %d", a, b, f.Sealed)
	}
	for _, i := range []int{2, 3} { // they were up for too short a time to remember another member
		c.procs[i].seeds = c.procs[1].addr
	}
	c.start(2) // alone, until it rests
	c.rest(2, true)
	c.start(1)
	c.start(3)
	have := c.fetch(3, f, float64(most)/float64(f.Sealed))
	first, second := c.served(1), c.served(2)
	t.Logf("of %d bytes, node 3 had %d before the sender was back: one member had served %d, the other %d", f.Sealed, have, first, second)
	if first < 1<<20 || second < 1<<20 {
		t.Error("not from both")
	}
	c.start(0)
	c.fetch(3, f, 1)
	c.check(3, f)
	served := c.served(0) + c.served(1) + c.served(2)
	twice := served - f.Sealed - proofs(f.Sealed)
	t.Logf("%d bytes were served for it in all, %d more than the file and its proofs", served, twice)
	if twice > 1<<20 {
		t.Error("1 MiB is the most")
	}
}

// proofs is how many bytes of its tree go with a blob of a length that is asked for in two groups
// of 64 KiB at a time: those from the root down, for each time.
func proofs(length int64) int64 {
	groups := length/(64<<10) + 1
	return groups / 2 * (8 + 64*int64(bits.Len64(uint64(groups))))
}

// A file of 50 MiB from one real process to another that are never online together: by a
// mailbox, that is killed while it takes the file and while it gives it, and the receiver twice.
// It comes as it was, and no more than 1 MiB of it twice, neither of what is put nor of what is
// fetched.
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
	if most := f.Sealed + proofs(f.Sealed) + 1<<20; put < f.Sealed || put > most {
		t.Errorf("%d bytes were put, and %d are the most", put, most)
	}
	c.kill(sender)

	// The receiver, with the mailbox alone: it is killed twice in the middle, then the mailbox is.
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
	var fetched int64
	for _, part := range []float64{0.2, 0.4} {
		if err := until(part); !errors.Is(err, enough) {
			t.Fatal(err)
		}
		c.kill(receiver)
		fetched = counted(office, "file_bytes_out") - before
		c.start(receiver)
	}
	if err := until(0.7); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	c.kill(office)
	c.start(office)
	if err := until(1); err != nil {
		now, _ := c.api[receiver].File(c.ctx, api.FileRequest{File: f.ID})
		t.Fatalf("%v: %+v", err, now)
	}
	fetched += counted(receiver, "file_bytes_in")
	t.Logf("%d bytes were fetched of %d, %+d, in %v, in which the receiver was killed twice, and the mailbox", fetched, f.Sealed, fetched-f.Sealed, time.Since(begun).Round(time.Millisecond))
	if most := f.Sealed + proofs(f.Sealed) + 1<<20; fetched < f.Sealed || fetched > most {
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

// flipBlob flips a bit of the newest file of a length that a home has, in a group that another
// home has, too, which has a part of it.
func flipBlob(t *testing.T, home, other string, length int64) {
	t.Helper()
	part, empty := newestBlob(t, other, length), make([]byte, 64<<10)
	group, at := make([]byte, 64<<10), int64(0)
	for ; bytes.Equal(group, empty); at += 64 << 10 {
		if _, err := part.ReadAt(group, at); err != nil {
			t.Fatal(err)
		}
	}
	b := newestBlob(t, home, length)
	at -= 64<<10 - 17
	one := []byte{group[17] ^ 1}
	if _, err := b.WriteAt(one, at); err != nil {
		t.Fatal(err)
	}
}

// newestBlob opens the newest file of a length that a home has.
func newestBlob(t *testing.T, home string, length int64) *os.File {
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
	t.Cleanup(func() { _ = b.Close() })
	return b
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
