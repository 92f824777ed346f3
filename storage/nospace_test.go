package storage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenWithoutRoom: a store on a disk that is nearly full is read, whether it was closed
// or its process was killed, and nothing on the disk changes by that; it takes writes when
// there is room again, also while somebody reads.
func TestOpenWithoutRoom(t *testing.T) {
	origin, s := newStore(t)
	const size = 60
	for i := range size {
		var in VaultID
		if i%3 == 0 {
			in = VaultID{byte(1 + i%2)}
		}
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprintf("k%02d", i), fmt.Sprint("value ", i), in)}}))
	}
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, origin, killed)
	check(t, s.Close())
	twice := filepath.Join(t.TempDir(), "twice") // killed, opened, killed: two logs
	copyDir(t, killed, twice)
	s = must(Open(twice, testOptions()))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("k00", "value 0")}}))
	copyDir(t, twice, killed+"2")
	check(t, s.Close())

	full := testOptions()
	full.keep = 1 << 62
	for name, dir := range map[string]string{"closed": origin, "killed": killed, "killed twice": killed + "2"} {
		content := func() map[string]string {
			out := make(map[string]string)
			for _, path := range files(t, filepath.Join(dir, "db")) {
				out[path] = string(must(os.ReadFile(path))(t))
			}
			return out
		}
		before := content()
		s := must(Open(dir, full))(t)
		read := func() {
			t.Helper()
			for i := range size {
				if v := must(s.Get([]byte(fmt.Sprintf("k%02d", i))))(t); string(v) != fmt.Sprint("value ", i) {
					t.Fatalf("%s: record %d is %q", name, i, v)
				}
			}
			check(t, s.Verify(t.Context()))
		}
		read()
		wantErr(t, s.Apply(Batch{Writes: []Write{put("new", "1")}}), ErrNoSpace)
		wantErr(t, s.Compact(), ErrNoSpace)
		check(t, s.Close())
		after := content()
		for path, b := range before {
			if after[path] != b {
				t.Errorf("%s: %s has changed", name, filepath.Base(path))
			}
		}
		if len(after) != len(before) || len(before) == 0 {
			t.Errorf("%s: %d files, and %d before", name, len(after), len(before))
		}

		// Room again, while somebody reads.
		s = must(Open(dir, full))(t)
		seen := 0
		check(t, s.Scan([]byte("k"), func(_, _ []byte) error {
			if seen++; seen == size/2 {
				s.keep = 1
				return s.Apply(Batch{Writes: []Write{put("new", "1", VaultID{9})}, Drop: []VaultID{{8}}})
			}
			return nil
		}))
		if seen != size {
			t.Errorf("%s: a reader saw %d of %d records", name, seen, size)
		}
		read()
		check(t, s.Apply(Batch{Writes: []Write{put("newer", "2")}}))
		check(t, s.Close())
		s = must(Open(dir, testOptions()))(t)
		read()
		for key, want := range map[string]string{"new": "1", "newer": "2"} {
			if v := must(s.Get([]byte(key)))(t); string(v) != want {
				t.Errorf("%s: %s is %q", name, key, v)
			}
		}
		check(t, s.Close())
	}
}

// TestTornLogIsCutAlike: whatever a crash leaves of a log, a store that is opened for
// reading only sees the same records as Badger when it opens the log for writing.
func TestTornLogIsCutAlike(t *testing.T) {
	dir, s := newStore(t)
	for i := range 20 {
		check(t, s.Apply(Batch{Writes: []Write{put("a", fmt.Sprint(i)), put(fmt.Sprint("b", i), "x")}}))
	}
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, filepath.Join(dir, "db"), killed)
	check(t, s.Close())
	logs := must(filepath.Glob(filepath.Join(killed, "*.mem")))(t)
	if len(logs) != 1 {
		t.Fatalf("%d logs", len(logs))
	}
	whole := must(os.ReadFile(logs[0]))(t)
	end := logEnd(whole)
	heads := make(map[string]bool)
	for n, at := range []int{end, end - 1, end - 30, end - 31, end / 2, end/2 + 1, end / 3, end * 2 / 3} {
		torn := append(bytes.Clone(whole[:at]), make([]byte, len(whole)-at)...)
		if n%2 == 1 {
			torn[at] = 0x40 // and rubbish
		}
		var head [2][]byte
		for i, reading := range []bool{true, false} { // on the same files: the first changes nothing
			check(t, os.WriteFile(logs[0], torn, 0o600))
			at := filepath.Join(t.TempDir(), "db")
			copyDir(t, killed, at)
			db := must(openBadger(at, testOptions(), reading, true))(t)
			txn := db.NewTransaction(false)
			head[i] = must(get(txn, keyHead))(t)
			txn.Discard()
			check(t, closeBadger(db))
		}
		if !bytes.Equal(head[0], head[1]) {
			t.Errorf("torn at byte %d of %d: it is another transaction for who reads", at, end)
		}
		heads[string(head[0])] = true
	}
	if len(heads) < 4 {
		t.Errorf("%d states were met", len(heads))
	}
	if n := logEnd(nil); n != logHeader {
		t.Errorf("the end of nothing is %d", n)
	}
}
