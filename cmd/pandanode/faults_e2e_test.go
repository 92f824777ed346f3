//go:build e2e && linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Faults of disks, on real stores, through the real command line. `make e2e` runs
// them; they need root, to mount small file systems.

// rounds returns a small number, or the one in an environment variable of `make long`.
func rounds(t *testing.T, name string, small int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return small
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < small {
		t.Fatalf("%s=%q", name, s)
	}
	return n
}

// mounted makes a file system in memory; the second function makes it (not) writable.
func mounted(t *testing.T, size string) (dir string, writable func(bool)) {
	t.Helper()
	dir = filepath.Join(shortDir(t), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir, func(yes bool) {
		t.Helper()
		flags := uintptr(syscall.MS_REMOUNT)
		if !yes {
			flags |= syscall.MS_RDONLY
		}
		if err := syscall.Mount("none", dir, "tmpfs", flags, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

// lone is one real node, driven through its command line.
type lone struct {
	*testing.T
	*process
	group string
	acked []string // texts, in order
}

func newLone(t *testing.T, home, keyFile string) *lone {
	t.Helper()
	binary, err := exec.LookPath("pandanode")
	if err != nil {
		t.Fatal(err)
	}
	l := &lone{T: t, process: &process{name: "node", home: home, binary: binary}}
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	l.must("init", "--name", "node", "--key-file", keyFile, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--mdns=false")
	t.Cleanup(func() { _ = l.kill() })
	return l
}

func (l *lone) must(args ...string) []byte {
	l.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.Fatalf("%v\n%s", err, l.logTail())
	}
	return out
}

// try is cli within a minute.
func (l *lone) try(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	return l.cli(ctx, "", args...)
}

// up starts the node and waits until it is ready or its process has ended; then the
// error holds its exit code.
func (l *lone) up() error {
	l.Helper()
	if err := os.Truncate(l.logFile(), 0); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EROFS) {
		l.Fatal(err)
	}
	if err := l.start(); err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	ready := make(chan error, 1)
	go func() {
		_, err := l.cli(ctx, "", "status", "--wait", "ready", "--timeout", "50s")
		ready <- err
	}()
	select {
	case err := <-ready:
		return err
	case <-l.done:
		cancel()
		<-ready
		code := l.cmd.ProcessState.ExitCode()
		l.cmd = nil
		return &exit{"pandanode run", code, l.logTail()}
	}
}

func (l *lone) found() {
	l.Helper()
	var g api.Group
	groups, err := decode[api.Group](l.must("group", "create", "disk"))
	if err == nil && len(groups) == 1 {
		g = groups[0]
	}
	if l.group = g.ID; l.group == "" {
		l.Fatalf("no group: %v", err)
	}
}

// say sends one text and remembers it if it was taken.
func (l *lone) say(text string) error {
	l.Helper()
	_, err := l.try("send", l.group, text)
	if err == nil {
		l.acked = append(l.acked, text)
	}
	return err
}

// shows checks that the node shows every acknowledged text, once and in order. Texts that
// were tried and not acknowledged may be there, once.
func (l *lone) shows() error {
	l.Helper()
	out, err := l.try("tail", l.group)
	if err != nil {
		return err
	}
	messages, err := decode[api.Message](out)
	if err != nil {
		return err
	}
	messages = slices.DeleteFunc(messages, func(m api.Message) bool { return m.Kind != api.EventMessage })
	seen := map[string]int{}
	next := 0
	for _, m := range messages {
		seen[m.Text]++
		if next < len(l.acked) && m.Text == l.acked[next] {
			next++
		}
		if seen[m.Text] > 1 {
			return fmt.Errorf("%w: %.40q is shown %d times", errWrong, m.Text, seen[m.Text])
		}
	}
	if next != len(l.acked) {
		return fmt.Errorf("%w: %.40q was acknowledged and is not shown in its place; %d of %d are", errWrong, l.acked[next], next, len(l.acked))
	}
	return nil
}

var errWrong = errors.New("WRONG")

// fill writes zeros until only so many bytes are free, and gives the file's name.
func fill(t *testing.T, dir string, leave uint64) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 64<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if st.Bavail*uint64(st.Bsize) <= leave { //nolint:unconvert // differs by platform
			return name
		}
		if _, err := f.Write(zeros); errors.Is(err, syscall.ENOSPC) {
			return name
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull fills the disk of a running node, slowly with its own messages and at once
// by others. A message that does not fit is refused, with a code of its own. The node
// lives, shows every message that it acknowledged, goes on when there is room, and loses
// nothing if it is killed or stopped in between.
func TestDiskFull(t *testing.T) {
	dir, _ := mounted(t, "600m")
	l := newLone(t, filepath.Join(dir, "home"), filepath.Join(shortDir(t), "key"))
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.found()
	for i := range 5 {
		if err := l.say(fmt.Sprint("before ", i)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string) {
		t.Helper()
		err := l.say(what)
		if exitOf(err) != api.ExitLimited || !strings.Contains(err.Error(), "space") {
			t.Errorf("%s: %v; want exit code %d and a word about space", what, unexpected(err), api.ExitLimited)
		}
		select {
		case <-l.done:
			t.Fatalf("the node died of a full disk:\n%s", l.logTail())
		default:
		}
		if err := l.shows(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	// By others, to the last byte.
	filler := fill(t, dir, 0)
	for i := range 10 {
		refused(fmt.Sprint("full ", i))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := l.say("room again"); err != nil {
		t.Errorf("after space was freed: %v", err)
	}

	// By its own messages, from little more free space than the reserve.
	filler = fill(t, dir, 190<<20)
	big := strings.Repeat("x", 60<<10)
	taken := 0
	for {
		if err := l.say(fmt.Sprintf("big %d %s", taken, big)); err != nil {
			if exitOf(err) != api.ExitLimited {
				t.Fatal(err)
			}
			break
		}
		if taken++; taken > 2000 {
			t.Fatal("the disk is never full")
		}
	}
	t.Logf("%d messages of 60 KiB until the disk was full", taken)
	fill(t, dir, 0)
	refused("and one more")

	roomAgain := func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := l.up(); err != nil {
			t.Fatal(err)
		}
		if err := l.shows(); err != nil {
			t.Error(err)
		}
	}

	// A kill, and a start, while it is full.
	if err := l.kill(); err != nil {
		t.Fatal(err)
	}
	err := l.up()
	if exitOf(err) != api.ExitLimited || !strings.Contains(err.Error(), "space") {
		t.Errorf("starting on a full disk: %v; want exit code %d and a word about space", unexpected(err), api.ExitLimited)
	}
	roomAgain()
	if err := l.say("the end"); err != nil {
		t.Error(err)
	}
	if err := l.shows(); err != nil {
		t.Error(err)
	}

	// A stop in order while it is full, and much is in memory.
	for i := range 20 {
		if err := l.say(fmt.Sprintf("late %d %s", i, big)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, dir, 0)
	if err := l.stop(20 * time.Second); err != nil {
		t.Errorf("stopping on a full disk: %v", err)
	}
	roomAgain()
}

// TestLittleSpace: a node starts where little space is left, after a stop and after a kill,
// and shows its messages. It takes no message, and goes on by itself when there is room.
func TestLittleSpace(t *testing.T) {
	dir, _ := mounted(t, "600m")
	l := newLone(t, filepath.Join(dir, "home"), filepath.Join(shortDir(t), "key"))
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.found()
	for round, end := range []func() error{func() error { return l.stop(20 * time.Second) }, l.kill, l.kill} {
		for i := range 5 {
			if err := l.say(fmt.Sprint("round ", round, " message ", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		filler := fill(t, dir, []uint64{150 << 20, 60 << 20, 3 << 20}[round])
		if err := l.up(); err != nil {
			t.Fatalf("round %d: starting with little space: %v", round, err)
		}
		if err := l.shows(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := l.say("no room"); exitOf(err) != api.ExitLimited || !strings.Contains(err.Error(), "space") {
			t.Errorf("round %d: sending: %v; want exit code %d and a word about space", round, unexpected(err), api.ExitLimited)
		}
		if round == 1 { // in order, and again
			if err := l.stop(20 * time.Second); err != nil {
				t.Errorf("stopping: %v", err)
			}
			if err := l.up(); err != nil {
				t.Fatalf("starting once more: %v", err)
			}
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := l.say(fmt.Sprint("room again ", round)); err != nil {
			t.Errorf("round %d: after space was freed: %v", round, err)
		}
		if err := l.shows(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// TestReadOnly: a node whose home cannot be written says so and changes nothing.
func TestReadOnly(t *testing.T) {
	dir, writable := mounted(t, "400m")
	l := newLone(t, filepath.Join(dir, "home"), filepath.Join(shortDir(t), "key"))
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.found()
	if err := l.say("hello"); err != nil {
		t.Fatal(err)
	}
	if err := l.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	writable(false)
	out, err := l.try("run") // not start: its log is in the home
	if exitOf(err) != api.ExitNotPermitted || !strings.Contains(err.Error(), "read-only") || !strings.Contains(err.Error(), "hint") {
		t.Errorf("running on a read-only disk: %v %s; want exit code %d and a hint", unexpected(err), out, api.ExitNotPermitted)
	}
	writable(true)
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	if err := l.shows(); err != nil {
		t.Error(err)
	}
}

// TestFlippedBits flips one bit at random places of a stopped and of a killed store. The
// node does not start, or it starts and shows everything, or it says that its store is
// corrupt: never a wrong text, and never fewer texts without an error.
func TestFlippedBits(t *testing.T) {
	dir := shortDir(t)
	l := newLone(t, filepath.Join(dir, "home"), filepath.Join(dir, "key"))
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	l.found()
	send := func(n int) {
		t.Helper()
		for range n {
			if err := l.say(fmt.Sprint("message ", len(l.acked))); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(60)
	store := filepath.Join(l.home, "store")
	images := []string{filepath.Join(dir, "stopped"), filepath.Join(dir, "killed")}
	keep := func(image string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--sparse=always", store, image).CombinedOutput(); err != nil { //nolint:gosec // our own paths
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := l.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	known := len(l.acked)
	keep(images[0])
	if err := l.up(); err != nil {
		t.Fatal(err)
	}
	send(30)
	if err := l.kill(); err != nil {
		t.Fatal(err)
	}
	keep(images[1])
	all := l.acked

	count := rounds(t, "PANDANODE_FLIPS", 50)
	rng := rand.New(rand.NewPCG(uint64(count), 5)) //nolint:gosec // a test repeats
	tally := map[string]int{}
	for n := range count {
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
		image := images[n%2]
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--sparse=always", image, store).CombinedOutput(); err != nil { //nolint:gosec // our own paths
			t.Fatalf("%v: %s", err, out)
		}
		l.acked = all
		if n%2 == 0 {
			l.acked = all[:known]
		}
		place := flipIn(t, rng, store)
		outcome := l.afterFlip(place)
		tally[outcome]++
		_ = l.kill()
	}
	t.Logf("%d flips: %v", count, tally)
	if tally["corrupt at the start"]+tally["corrupt when read"] < count/5 {
		t.Errorf("%v: too few flips hit anything", tally)
	}
}

// afterFlip runs the node and returns how it reacted to the damage.
func (l *lone) afterFlip(place string) string {
	l.Helper()
	if err := l.up(); err != nil { // the process ended, or waiting for it to be ready did
		if code := exitOf(err); code != api.ExitStore {
			l.Errorf("%s: the node ended with code %d, want %d: %v", place, code, api.ExitStore, err)
			return "another error"
		}
		return "corrupt at the start"
	}
	err := l.shows()
	switch {
	case err == nil:
		return "harmless"
	case errors.Is(err, errWrong):
		l.Errorf("%s: %v\n%s", place, err, l.logTail())
		return "WRONG"
	case exitOf(err) == api.ExitStore:
		return "corrupt when read"
	case exitOf(err) == api.ExitNoNode && strings.Contains(l.logTail(), "corrupt"):
		return "corrupt when read" // the node went down over it
	}
	l.Errorf("%s: %v\n%s", place, err, l.logTail())
	return "another error"
}

// flipIn flips a bit in a file below dir, at a byte that is not in a hole.
func flipIn(t *testing.T, rng *rand.Rand, dir string) string {
	t.Helper()
	var names []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		name := names[rng.IntN(len(names))]
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		for range 200 {
			if end == 0 {
				break
			}
			at := rng.Int64N(end)
			if end > 1<<20 {
				at = rng.Int64N(256 << 10) // in the part of a new log that is written
			}
			if _, err := f.ReadAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			if b[0] == 0 {
				continue
			}
			b[0] ^= 1 << rng.IntN(8)
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("byte %d of %s", at, filepath.Base(name))
		}
	}
	t.Fatal("nothing to flip")
	return ""
}
