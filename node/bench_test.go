package node

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// BenchmarkAtRest prints what it costs to make an epoch of 1,000 members durable, in a
// store that syncs, and to load one, and fails where a bar is missed:
//
//	go test ./node -run '^$' -bench '^BenchmarkAtRest$' -benchtime 1x
//
// The save is timed by the wall clock, with its wait for the disk, the load by the
// process clock; medians of several runs.
func BenchmarkAtRest(b *testing.B) {
	const members, runs = 1000, 25
	for range b.N {
		dir := b.TempDir()
		s, err := storage.Create(filepath.Join(dir, "store"), storage.Options{KeyFile: filepath.Join(dir, "key")})
		if err != nil {
			b.Fatal(err)
		}
		r := rows{store: s, prefix: groupPrefix(wire.GroupID{1})}
		mlsEngine := engine.MLS(suite)
		first, signer := crowd(b, mlsEngine, members)
		var saves, loads []time.Duration
		last, _ := save(b, r, first, nil)
		for range runs {
			c, err := last.Commit(rand.Reader, engine.Change{Now: time.Now(), Signer: signer, Check: anyCredential})
			if err != nil {
				b.Fatal(err)
			}
			var took time.Duration
			last, took = save(b, r, c.Epoch, last)
			saves = append(saves, took)
		}
		for range runs {
			begun := processClock(b)
			e := load(b, mlsEngine, r)
			loads = append(loads, processClock(b)-begun)
			if string(e.Authenticator()) != string(last.Authenticator()) || len(e.Leaves()) != members {
				b.Fatal("another epoch was loaded")
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "at 1,000 members\tcost\tbar\t")
		for _, row := range []struct {
			what string
			all  []time.Duration
			bar  time.Duration
		}{{"save of an epoch, synced", saves, 10 * time.Millisecond}, {"load of an epoch", loads, 5 * time.Millisecond}} {
			slices.Sort(row.all)
			median, verdict := row.all[len(row.all)/2], "holds"
			if median > row.bar {
				verdict = "MISSED"
				b.Errorf("%s: %v, at most %v", row.what, median, row.bar)
			}
			fmt.Fprintf(out, "%s\t%v\t≤ %v %s\t\n", row.what, median.Round(10*time.Microsecond), row.bar, verdict)
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

func processClock(b testing.TB) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func anyCredential(_, _ []byte) error { return nil }

// crowd gives an epoch with so many members, and the signature key of the first.
func crowd(b *testing.B, mlsEngine engine.Engine, members int) (engine.Epoch, []byte) {
	b.Helper()
	var e engine.Epoch
	var founder []byte
	var adds [][]byte
	now := time.Now()
	for i := range members {
		user, err1 := identity.NewKey(rand.Reader)
		log, err2 := identity.NewKey(rand.Reader)
		signer, public, err3 := mlsEngine.NewSigner(rand.Reader)
		if err1 != nil || err2 != nil || err3 != nil {
			b.Fatal(err1, err2, err3)
		}
		d, err := identity.Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: make([]byte, 38), Name: fmt.Sprint("device ", i), Issued: uint64(now.Unix())}) //nolint:gosec // after 1970
		if err != nil {
			b.Fatal(err)
		}
		credential := identity.NewCredential(d, log, wire.GroupID{1}, suite, public, [32]byte{1})
		if i == 0 {
			founder = signer
			if e, err = mlsEngine.Create(rand.Reader, now, make([]byte, 32), signer, credential); err != nil {
				b.Fatal(err)
			}
			continue
		}
		kp, err := mlsEngine.NewKeyPackage(rand.Reader, now, signer, credential)
		if err != nil {
			b.Fatal(err)
		}
		adds = append(adds, kp.Public)
	}
	c, err := e.Commit(rand.Reader, engine.Change{Now: now, Signer: founder, Adds: adds, Check: anyCredential})
	if err != nil {
		b.Fatal(err)
	}
	return c.Epoch, founder
}

// save makes an epoch durable as the machine does: what since does not have of its
// tree, its head and its keys, in a vault of its own that takes the place of the last.
func save(b *testing.B, r rows, e, since engine.Epoch) (engine.Epoch, time.Duration) {
	b.Helper()
	begun := time.Now()
	vault := group.Vault{1, byte(e.Number())}
	head, pages := e.Snapshot(since)
	ready := group.Ready{Writes: []group.Write{{Key: "epoch", Value: head, Vault: vault}}}
	for _, p := range pages {
		ready.Writes = append(ready.Writes, group.Write{Key: "page/" + hex.EncodeToString(p.Key), Value: p.Value})
	}
	for _, k := range e.Keys() {
		ready.Writes = append(ready.Writes, group.Write{Key: "keys/" + hex.EncodeToString(k.Key), Value: k.Value, Vault: vault})
	}
	if err := r.store.Apply(r.batch(ready)); err != nil {
		b.Fatal(err)
	}
	return e, time.Since(begun)
}

func load(b *testing.B, mlsEngine engine.Engine, r rows) engine.Epoch {
	b.Helper()
	head, err := r.Get("epoch")
	if err != nil {
		b.Fatal(err)
	}
	var keys []engine.KeyRow
	if err := r.Scan("keys/", func(key string, value []byte) error {
		k, err := hex.DecodeString(key[len("keys/"):])
		keys = append(keys, engine.KeyRow{Key: k, Value: value})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	e, err := mlsEngine.Load(head, func(key []byte) ([]byte, error) { return r.Get("page/" + hex.EncodeToString(key)) }, keys)
	if err != nil {
		b.Fatal(err)
	}
	return e
}
