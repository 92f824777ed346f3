package storage

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// dirty is how many KiB of mapped files below dir wait to be written, by the names of the
// files (proc_pid_smaps(5)).
func dirty(t *testing.T, dir string) map[string]int {
	t.Helper()
	f := must(os.Open("/proc/self/smaps"))(t)
	defer f.Close()
	out := make(map[string]int)
	name := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case strings.Contains(f[0], "-"): // addresses
			if name = ""; len(f) > 5 && strings.HasPrefix(f[5], dir) {
				name = filepath.Base(f[5])
				out[name] += 0
			}
		case name != "" && (f[0] == "Private_Dirty:" || f[0] == "Shared_Dirty:"):
			out[name] += must(strconv.Atoi(f[1]))(t)
		}
	}
	check(t, lines.Err())
	return out
}

// onDisk gives a directory of a file system that has a disk to write to.
func onDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var fs syscall.Statfs_t
	check(t, syscall.Statfs(dir, &fs))
	if fs.Type == 0x01021994 { // tmpfs, whose pages stay dirty
		dir = must(os.MkdirTemp(".", "ondisk"))(t)
		t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
		dir = must(filepath.Abs(dir))(t)
	}
	return dir
}

// When Apply returns, nothing of the transaction waits to be written, also while Badger goes
// on to other logs and makes tables of the old ones.
func TestApplyLeavesNothingUnwritten(t *testing.T) {
	dir, o := onDisk(t), testOptions()
	o.MaxBatch = 1 // small tables
	s := must(Create(dir, o))(t)
	if !s.syncs {
		t.Fatal("Badger syncs")
	}
	logs := make(map[string]bool)
	look := func() {
		t.Helper()
		for name, kib := range dirty(t, dir) {
			switch filepath.Ext(name) {
			case ".mem":
				logs[name] = true
				if kib > 0 {
					t.Errorf("%d KiB of %s are not written", kib, name)
				}
			case ".vlog":
				if used := must(usesValueLog(filepath.Join(dir, "db")))(t); used {
					t.Errorf("%s is used", name)
				}
			}
		}
	}
	value := strings.Repeat("v", int(o.maxStored())-200)
	for i := range 40 {
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("key ", i), value)}}))
		look()
		if t.Failed() {
			break
		}
	}
	if len(logs) < 3 && !t.Failed() {
		t.Errorf("%d logs", len(logs))
	}
	wantErr(t, s.Apply(Batch{Writes: []Write{put("long", value+strings.Repeat("v", 200))}}), ErrTooLarge)
	check(t, s.Close())
}

// A store whose values are in part in the value log is synced by Badger, and keeps them.
func TestSyncsByBadger(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	o.valueLog = true
	s := must(Create(dir, o))(t)
	value := strings.Repeat("v", int(o.maxStored())-200)
	check(t, s.Apply(Batch{Writes: []Write{put("long", value)}}))
	check(t, s.Close())
	s = must(Open(dir, testOptions()))(t)
	if s.syncs {
		t.Error("the store syncs")
	}
	if got := must(s.Get([]byte("long")))(t); string(got) != value {
		t.Errorf("%d bytes", len(got))
	}
	check(t, s.Apply(Batch{Writes: []Write{put("other", "v")}}))
	check(t, s.Verify(t.Context()))
	check(t, s.Close())
}
