package storage

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// files is every regular file below dir.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var paths []string
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// copyDir copies what a kill at this moment would leave: the files as the kernel has them, holes as holes.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	// Badger flushes behind our back: a copy is of one moment if no file came or went
	// meanwhile.
	for before := files(t, from); ; {
		var gone error
		for _, path := range before {
			rel := must(filepath.Rel(from, path))(t)
			dst := filepath.Join(to, rel)
			check(t, os.MkdirAll(filepath.Dir(dst), 0o700))
			if err := copyFile(path, dst); !errors.Is(err, fs.ErrNotExist) {
				check(t, err)
			} else {
				gone = err
			}
		}
		after := files(t, from)
		if gone == nil && slices.Equal(before, after) {
			return
		}
		check(t, os.RemoveAll(to))
		before = after
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < info.Size(); at += int64(len(buf)) {
		n, err := in.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		if string(buf[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
	}
	return out.Truncate(info.Size())
}

// At every boundary inside Create, Apply and Close the directory is copied as a kill would leave it. Each copy opens, and
// holds the state before the call or the state after it; a vault is in keys exactly if it has records.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	type image struct{ point, dir string }
	var images []image
	dir := t.TempDir()
	at := func(point string) {
		to := t.TempDir()
		copyDir(t, dir, to)
		images = append(images, image{point, to})
	}
	v, w := VaultID{1}, VaultID{2}
	state := map[string]string{}
	var vaults []VaultID
	points := make(map[string]int)
	// step runs one call and examines the images that it left.
	step := func(name string, call func() error, change func(map[string]string), after ...VaultID) {
		t.Helper()
		images = nil
		check(t, call())
		next := maps.Clone(state)
		change(next)
		for _, img := range images {
			points[img.point]++
			for range 2 { // and once more, after what Open repaired
				s, err := Open(img.dir, testOptions())
				if name == "create" && errors.Is(err, ErrNotInitialised) {
					s, err = Create(img.dir, testOptions())
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, img.point, err)
				}
				got, inKeys := content(t, s), slices.Collect(maps.Keys(s.ring.vaults))
				slices.SortFunc(inKeys, func(a, b VaultID) int { return int(a[0]) - int(b[0]) })
				switch {
				case maps.Equal(got, state) && slices.Equal(inKeys, vaults):
				case maps.Equal(got, next) && slices.Equal(inKeys, after):
				default:
					t.Fatalf("%s, %s: content %q with vaults %v", name, img.point, got, inKeys)
				}
				if img.point == "after the transaction" && !maps.Equal(got, next) {
					t.Fatalf("%s: a synced transaction is lost", name)
				}
				check(t, s.Apply(Batch{Writes: []Write{put("later", "x", v)}}))
				check(t, s.Apply(Batch{Writes: []Write{{Key: []byte("later")}}}))
				check(t, s.forgetEmptyVaults())
				check(t, s.Close())
			}
		}
		state, vaults = next, after
	}

	var s *Store
	none := func(map[string]string) {}
	step("create", func() (err error) { s, err = create(dir, testOptions(), at); return err }, none)
	step("first", func() error { return s.Apply(Batch{Writes: []Write{put("a", "1")}}) },
		func(m map[string]string) { m["a"] = "1" })
	step("vault begins", func() error { return s.Apply(Batch{Writes: []Write{put("b", "2", v), put("a", "3")}}) },
		func(m map[string]string) { m["a"], m["b"] = "3", "2" }, v)
	step("vault goes on", func() error { return s.Apply(Batch{Writes: []Write{put("c", "4", v)}}) },
		func(m map[string]string) { m["c"] = "4" }, v)
	step("one begins, one ends", func() error {
		return s.Apply(Batch{Writes: []Write{put("d", "5", w), put("e", "6")}, Drop: []VaultID{v}})
	}, func(m map[string]string) {
		delete(m, "b")
		delete(m, "c")
		m["d"], m["e"] = "5", "6"
	}, w)
	step("ends anew", func() error { return s.Apply(Batch{Drop: []VaultID{w}}) },
		func(m map[string]string) { delete(m, "d") })
	step("no vault", func() error { return s.Apply(Batch{Writes: []Write{put("f", "7")}}) },
		func(m map[string]string) { m["f"] = "7" })
	step("close", func() error { return s.Close() }, none)

	want := map[string]int{
		"create: marked": 1, "create: database written": 1, "create: keys written": 1,
		"keys: before the temporary file": 6, "keys: before the rename": 6, "keys: after the rename": 6,
		"before the transaction": 6, "before its sync": 6, "after the transaction": 6,
	}
	if !maps.Equal(points, want) {
		t.Fatalf("crash points %v, want %v", points, want)
	}
}

// A log that a crash left is replayed also by a program with a smaller MaxBatch, and by one with a larger.
func TestCrashThenOtherMaxBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions()
	o.MaxBatch = 4 << 20
	s := must(Create(dir, o))(t)
	value := strings.Repeat("v", 300<<10)
	for i := range 50 {
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint(i), value)}}))
	}
	for _, o.MaxBatch = range []int{1, 1 << 20, 16 << 20} {
		image := t.TempDir()
		copyDir(t, dir, image)
		s := must(Open(image, o))(t)
		if got := content(t, s); len(got) != 50 {
			t.Fatalf("MaxBatch %d: %d records", o.MaxBatch, len(got))
		}
		check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
		check(t, s.Close())
	}
	check(t, s.Close())
}

// child is the other process of the tests below.
func child(mode, dir string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(3)
	}
	s, err := Open(dir, testOptions())
	if err != nil {
		fail(err)
	}
	switch mode {
	case "write":
		writeForEver(s, fail)
	case "read":
		if err := s.Verify(context.Background()); err != nil {
			fmt.Println("verify", err)
		} else {
			fmt.Println("verified")
		}
		err := s.Scan(nil, func(k, v []byte) error {
			fmt.Printf("record %x %x\n", k, v)
			return nil
		})
		if err != nil {
			fmt.Println("scan", err)
		}
		fmt.Println("closed", s.Close() == nil)
	}
}

// writeForEver applies batches from several goroutines and prints the number of each one when it is acknowledged.
func writeForEver(s *Store, fail func(error)) {
	var next atomic.Int64
	var out sync.Mutex
	stat, err := s.Stat()
	if err != nil {
		fail(err)
	}
	next.Store(int64(stat.Transactions) << 20) // above all numbers of earlier rounds
	for range 4 {
		go func() {
			for {
				n := next.Add(1)
				id := VaultID{1, byte(n / 16), byte(n / 4096)}
				b := Batch{Writes: []Write{put(fmt.Sprintf("n/%d", n), fmt.Sprint("value ", n)), put(fmt.Sprintf("twin/%d", n), fmt.Sprint("value ", n)), put(fmt.Sprintf("vault/%d", n), fmt.Sprint("value ", n), id)}}
				if n%16 == 0 {
					b.Drop = []VaultID{{1, byte((n - 64) / 16), byte((n - 64) / 4096)}}
				}
				if err := s.Apply(b); err != nil {
					fail(err)
				}
				out.Lock()
				fmt.Println("ack", n)
				out.Unlock()
			}
		}()
	}
	select {}
}

func startChild(t *testing.T, mode, dir string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(must(os.Executable())(t))
	cmd.Env = append(os.Environ(), "STORAGE_TEST_CHILD="+mode, "STORAGE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out := must(cmd.StdoutPipe())(t)
	check(t, cmd.Start())
	return cmd, out
}

// A process that applies as fast as it can is killed, again and again. All that it had
// acknowledged is there, whole.
func TestKill(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Close())
	rng := rand.New(rand.NewPCG(1, 2))
	acknowledged := make(map[string]bool)
	const rounds = 15
	for round := range rounds {
		cmd, out := startChild(t, "write", dir)
		kill := 20 + rng.IntN(200)
		got := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n, ok := strings.CutPrefix(lines.Text(), "ack ")
			if !ok {
				t.Fatalf("child: %s", lines.Text())
			}
			acknowledged[n] = true
			if got++; got == kill {
				check(t, cmd.Process.Kill()) // and read the rest of its output
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 || got < kill {
			t.Fatalf("round %d: the child ended by itself: %v after %d", round, err, got)
		}
		s, err := Open(dir, testOptions())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		all := content(t, s)
		for n := range acknowledged {
			if want := "value " + n; all["n/"+n] != want {
				t.Fatalf("round %d: acknowledged %s is lost", round, n)
			}
		}
		for k, value := range all {
			if class, n, _ := strings.Cut(k, "/"); value != "value "+n || class != "vault" && all["n/"+n] != all["twin/"+n] {
				t.Fatalf("round %d: %s = %q, a half batch", round, k, value)
			}
		}
		check(t, s.Close())
	}
	if len(acknowledged) < 20*rounds {
		t.Fatalf("only %d batches acknowledged", len(acknowledged))
	}
	t.Logf("%d acknowledged batches in %d rounds", len(acknowledged), rounds)
}

// One flipped bit, anywhere: the other process ends by itself, shows no value that was not written, and either reports an
// error or holds everything.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), testOptions()
	o.valueLog = true
	s := must(Create(dir, o))(t)
	want := make(map[string]string)
	for i := range 3000 { // enough for tables on the disk beside the log
		k, value := fmt.Sprintf("key %06d", i), strings.Repeat(fmt.Sprint("value ", i, " "), 30)
		b := Batch{Writes: []Write{put(k, value)}}
		if i%5 == 0 {
			b.Writes[0].Vault = VaultID{1, byte(i % 3)}
		}
		for j := range 10 {
			k := fmt.Sprintf("%s.%d", k, j)
			b.Writes = append(b.Writes, put(k, value))
			want[k] = value
		}
		want[k] = value
		if i%100 != 0 {
			// many batches, few syncs
			b.Writes = b.Writes[:1+i%3]
			for j := i % 3; j < 10; j++ {
				delete(want, fmt.Sprintf("%s.%d", k, j))
			}
		}
		check(t, s.Apply(b))
	}
	large := strings.Repeat("large ", 120_000) // beyond Badger's threshold: goes to its value log
	check(t, s.Apply(Batch{Writes: []Write{put("large", large)}}))
	want["large"] = large
	crashed := t.TempDir() // has a log to replay
	copyDir(t, dir, crashed)
	check(t, s.Close())

	rng := rand.New(rand.NewPCG(3, 4))
	counts := make(map[string]int)
	flips := 0
	kinds := make(map[string]bool)
	for _, origin := range []string{dir, crashed} {
		for _, path := range files(t, origin) {
			rel := must(filepath.Rel(origin, path))(t)
			content := must(os.ReadFile(path))(t)
			end := len(content)
			for end > 0 && content[end-1] == 0 {
				end-- // mapped files are mostly zeros at the end
			}
			n := 3
			kinds[filepath.Ext(rel)] = true
			if filepath.Ext(rel) == ".sst" || rel == keysName {
				n = 6
			}
			for i := range min(n, end) {
				at := rng.IntN(end)
				if i == n-1 {
					at = max(0, end-1-rng.IntN(min(end, 24))) // footers and headers are where lengths are
				} else if i == 0 {
					at = rng.IntN(min(end, 24))
				}
				flips++
				name := fmt.Sprintf("%s at %d", rel, at)
				broken := t.TempDir()
				copyDir(t, origin, broken)
				b := slices.Clone(content)
				b[at] ^= 1 << rng.IntN(8)
				check(t, os.WriteFile(filepath.Join(broken, rel), b, 0o600))
				outcome := examine(t, name, broken, want)
				counts[outcome]++
				check(t, os.RemoveAll(broken))
			}
		}
	}
	t.Logf("%d flips: %v", flips, counts)
	if !kinds[".sst"] || !kinds[".mem"] || !kinds[".vlog"] {
		t.Fatalf("no flips in tables, log or value log: %v", kinds)
	}
	if flips < 50 || counts["error at open"] == 0 || counts["intact"] == 0 {
		t.Fatalf("%d flips: %v", flips, counts)
	}
}

func examine(t *testing.T, name, dir string, want map[string]string) (outcome string) {
	t.Helper()
	cmd, out := startChild(t, "read", dir)
	deadline := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	got := make(map[string]string)
	reader := bufio.NewScanner(out)
	reader.Buffer(nil, 8<<20)
	for reader.Scan() {
		word, rest, _ := strings.Cut(reader.Text(), " ")
		switch word {
		case "error":
			outcome = "error at open"
			known := false
			for _, e := range []error{ErrCorrupt, ErrForeign, ErrSchemaNewer} {
				known = known || strings.Contains(rest, e.Error())
			}
			if !known {
				t.Errorf("%s: %s", name, rest)
			}
		case "verify", "scan":
			outcome = "error at verify"
			if !strings.Contains(rest, ErrCorrupt.Error()) {
				t.Errorf("%s: %s", name, rest)
			}
		case "verified":
			outcome = "intact"
		case "record":
			k, v, _ := strings.Cut(rest, " ")
			got[unhex(t, k)] = unhex(t, v)
		}
	}
	check(t, reader.Err())
	if err := cmd.Wait(); err != nil && outcome != "error at open" || outcome == "" {
		t.Errorf("%s: the process died: %v", name, err)
		return "death"
	}
	for k, v := range got {
		if want[k] != v {
			t.Errorf("%s: a wrong value for %q", name, k)
		}
	}
	if outcome == "intact" && !maps.Equal(got, want) {
		t.Errorf("%s: verified with %d of %d records", name, len(got), len(want))
	}
	return outcome
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	return string(must(hex.DecodeString(s))(t))
}

// A kill while Badger writes a table leaves a file that the manifest does not
// name: empty, or half of one. The store opens and has everything.
func TestOpensOverAnUnfinishedTable(t *testing.T) {
	for _, left := range [][]byte{nil, []byte("half a table")} {
		dir, s := newStore(t)
		check(t, s.Apply(Batch{Writes: []Write{put("k", "v")}}))
		check(t, s.Close())
		check(t, os.WriteFile(filepath.Join(dir, "db", "000099.sst"), left, 0o600))
		s, err := Open(dir, testOptions())
		check(t, err)
		if got := content(t, s); got["k"] != "v" {
			t.Errorf("with %d bytes of a table: %v", len(left), got)
		}
		check(t, s.Close())
	}
}
