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
