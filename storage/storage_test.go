package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("STORAGE_TEST_CHILD"); mode != "" {
		child(mode, os.Getenv("STORAGE_TEST_DIR"))
		return
	}
	goleak.VerifyTestMain(m)
}

var cheap = KDF{MemoryKiB: 64, Passes: 1, Lanes: 1}

func pass(p string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(p), nil }
}

func testOptions() Options {
	return Options{Passphrase: pass("correct horse"), KDF: cheap, MaxBatch: 1 << 20}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func put(key, value string, id ...VaultID) Write {
	w := Write{Key: []byte(key), Value: []byte(value)}
	if len(id) > 0 {
		w.Vault = id[0]
	}
	return w
}

func newStore(t testing.TB) (string, *Store) {
	dir := t.TempDir()
	s := must(Create(dir, testOptions()))(t)
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

// content verifies the store and reads all of it.
func content(t testing.TB, s *Store) map[string]string {
	t.Helper()
	check(t, s.Verify(t.Context()))
	all := make(map[string]string)
	last := ""
	check(t, s.Scan(nil, func(k, v []byte) error {
		if string(k) <= last {
			t.Fatalf("key %q after %q", k, last)
		}
		last = string(k)
		all[last] = string(v)
		if got, err := s.Get(k); err != nil || !bytes.Equal(got, v) {
			t.Fatalf("Get(%q) = %q, %v; Scan found %q", k, got, err, v)
		}
		return nil
	}))
	if stat := must(s.Stat())(t); stat.Records != uint64(len(all)) {
		t.Fatalf("%d records counted, %d found", stat.Records, len(all))
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	dir, s := newStore(t)
	v := VaultID{1}
	check(t, s.ApplyAll([]Batch{
		{Writes: []Write{put("a", "1"), put("b", ""), put("c", "3", v), put("d", "4"), put("d", "5")}},
		{Writes: []Write{put("e", "6", v), {Key: []byte("a")}, {Key: []byte("never there")}}},
	}))
	check(t, s.Apply(Batch{Writes: []Write{put("c", "7"), put("d", "8", v), put("\xff\x00", "bin")}}))
	want := map[string]string{"b": "", "c": "7", "d": "8", "e": "6", "\xff\x00": "bin"}
	for range 3 {
		if got := content(t, s); !maps.Equal(got, want) {
			t.Fatalf("content %q, want %q", got, want)
		}
		check(t, s.Close())
		wantErr(t, s.Close(), ErrClosed)
		s = must(Open(dir, testOptions()))(t)
	}
	check(t, s.Compact())
	_, err := s.Get([]byte("a"))
	wantErr(t, err, ErrNotFound)

	var keys []string
	check(t, s.ScanKeys([]byte("d"), func(k []byte) error { keys = append(keys, string(k)); return nil }))
	check(t, s.ScanFrom(nil, []byte("d\x00"), func(k, _ []byte) error { keys = append(keys, string(k)); return nil }))
	if want := []string{"d", "e", "\xff\x00"}; !slices.Equal(keys, want) {
		t.Fatalf("keys %q, want %q", keys, want)
	}
	stop := errors.New("enough")
	wantErr(t, s.Scan(nil, func(_, _ []byte) error { return stop }), stop)
	check(t, s.Close())
	_, err = s.Get([]byte("b"))
	for _, err := range []error{err, s.Apply(Batch{}), s.Scan(nil, nil), s.Verify(t.Context()), s.Compact()} {
		wantErr(t, err, ErrClosed)
	}
	_, err = s.Stat()
	wantErr(t, err, ErrClosed)
}

func TestScanIsASnapshotAndMayWrite(t *testing.T) {
	_, s := newStore(t)
	v := VaultID{1}
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1"), put("b", "2"), put("c", "3", v)}}))
	got := make(map[string]string)
	check(t, s.Scan(nil, func(k, value []byte) error {
		got[string(k)] = string(value)
		return s.Apply(Batch{Writes: []Write{put("b", "later"), put("z", "new")}, Drop: []VaultID{v}})
	}))
	// c was in a vault that the first call of fn dropped; the rest is as it was.
	if want := map[string]string{"a": "1", "b": "2"}; !maps.Equal(got, want) {
		t.Fatalf("scan saw %q, want %q", got, want)
	}
	if got, want := content(t, s), map[string]string{"a": "1", "b": "later", "z": "new"}; !maps.Equal(got, want) {
		t.Fatalf("content %q, want %q", got, want)
	}
}

func TestTooLargeAndInvalidApplyNothing(t *testing.T) {
	_, s := newStore(t)
	v := VaultID{9}
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1", v)}}))
	before := must(s.Stat())(t)
	big := strings.Repeat("x", 300<<10)
	many := make([]Write, 20000)
	for i := range many {
		many[i] = put(fmt.Sprint(i), "")
	}
	for name, c := range map[string]struct {
		batch Batch
		want  error
	}{
		"bytes":      {Batch{Writes: []Write{put("b", big), put("c", big), put("d", big), put("e", big, VaultID{7})}}, ErrTooLarge},
		"count":      {Batch{Writes: many}, ErrTooLarge},
		"one value":  {Batch{Writes: []Write{put("b", strings.Repeat("x", 8<<20))}}, ErrTooLarge},
		"empty key":  {Batch{Writes: []Write{put("b", "2"), put("", "x")}}, ErrInvalid},
		"long key":   {Batch{Writes: []Write{put("b", "2"), put(strings.Repeat("k", MaxKey+1), "x")}}, ErrInvalid},
		"zero vault": {Batch{Writes: []Write{put("b", "2")}, Drop: []VaultID{{}}}, ErrInvalid},
		"vault use":  {Batch{Writes: []Write{put("b", "2", v)}, Drop: []VaultID{v}}, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			wantErr(t, s.Apply(c.batch), c.want)
			if after := must(s.Stat())(t); after != before {
				t.Fatalf("%+v, before %+v", after, before)
			}
			if got, want := content(t, s), map[string]string{"a": "1"}; !maps.Equal(got, want) {
				t.Fatalf("content %q", got)
			}
		})
	}
	check(t, s.Apply(Batch{Writes: []Write{put(strings.Repeat("k", MaxKey), big)}}))
}

func TestConcurrentApplyShares(t *testing.T) {
	t.Parallel()
	_, s := newStore(t)
	const writers, each = 32, 40
	var wg sync.WaitGroup
	errs := make(chan error, writers*each)
	for w := range writers {
		wg.Go(func() {
			id := VaultID{1, byte(w % 3)}
			for i := range each {
				b := Batch{Writes: []Write{put(fmt.Sprintf("%d/%d", w, i), fmt.Sprint(i))}}
				switch i % 10 {
				case 3:
					b.Writes[0].Vault = id
				case 7: // meets writers of the same vault in one group
					b.Drop = []VaultID{id}
				case 9: // far too large: fails alone
					b.Writes = append(b.Writes, put("big", strings.Repeat("x", 8<<20)))
				}
				err := s.Apply(b)
				if i%10 == 9 {
					if !errors.Is(err, ErrTooLarge) {
						errs <- fmt.Errorf("too large: %w", err)
					}
				} else if err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	all := content(t, s)
	for w := range writers {
		for i := range each {
			if _, there := all[fmt.Sprintf("%d/%d", w, i)]; i%10 != 9 && i%10 != 3 && !there || i%10 == 9 && there {
				t.Fatalf("%d/%d: present %v", w, i, there)
			}
		}
	}
	if n := must(s.Stat())(t).Transactions; n >= writers*each {
		t.Errorf("%d transactions: none was shared", n)
	}
}

func TestDistinctErrors(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
	o := testOptions()

	_, err := Open(dir, o)
	wantErr(t, err, ErrInUse)
	_, err = Create(dir, o)
	wantErr(t, err, ErrInUse)
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("%v does not name the process", err)
	}
	check(t, s.Close())

	_, err = Create(dir, o)
	wantErr(t, err, ErrExists)
	for _, empty := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nothing")} {
		_, err = Open(empty, o)
		wantErr(t, err, ErrNotInitialised)
		if entries, _ := os.ReadDir(empty); len(entries) > 0 {
			t.Errorf("Open left %v", entries)
		}
		_, err = Create(empty, Options{})
		wantErr(t, err, ErrLocked)
	}
	_, err = Open(dir, Options{})
	wantErr(t, err, ErrLocked)
	_, err = Open(dir, Options{KeyFile: filepath.Join(dir, "no such file")})
	wantErr(t, err, ErrLocked)
	cancelled := errors.New("cancelled")
	_, err = Open(dir, Options{Passphrase: func() ([]byte, error) { return nil, cancelled }})
	wantErr(t, err, ErrLocked)
	wantErr(t, err, cancelled)
	_, err = Open(dir, Options{Passphrase: pass("correct hors")})
	wantErr(t, err, ErrWrongPassphrase)

	// keys of one store, database of another
	other, s2 := newStore(t)
	check(t, s2.Close())
	mixed := t.TempDir()
	copyDir(t, dir, mixed)
	check(t, os.WriteFile(filepath.Join(mixed, keysName), must(os.ReadFile(filepath.Join(other, keysName)))(t), 0o600))
	_, err = Open(mixed, o)
	wantErr(t, err, ErrForeign)

	for name, want := range map[string]error{keysName: ErrCorrupt, "db": ErrCorrupt, "db/MANIFEST": ErrCorrupt} {
		broken := t.TempDir()
		copyDir(t, dir, broken)
		check(t, os.RemoveAll(filepath.Join(broken, name)))
		_, err = Open(broken, o)
		wantErr(t, err, want)
	}
	if info := must(os.Stat(filepath.Join(dir, keysName)))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("mode of keys: %v", info.Mode())
	}
	s = must(Open(dir, o))(t)
	if got := content(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Fatalf("content %q", got)
	}
	check(t, s.Close())
}

// resum is keys with one header byte changed and the checksum computed anew.
func resum(t *testing.T, dir string, at int, b byte) {
	path := filepath.Join(dir, keysName)
	file := must(os.ReadFile(path))(t)
	file[at] = b
	check(t, os.WriteFile(path, checksummed(file[:len(file)-32]), 0o600))
}

func TestKeysHeaderIsNotBelieved(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Close())
	salt := must(os.ReadFile(filepath.Join(dir, keysName)))(t)[30] // one byte of it, drawn at random
	for _, c := range []struct {
		name string
		at   int
		b    byte
		want error
	}{
		{"newer schema", 15, schema + 1, ErrSchemaNewer},
		{"newer layout", 8, keysVersion + 1, ErrSchemaNewer},
		{"layout 0", 8, 0, ErrCorrupt},
		{"schema 0", 15, 0, ErrCorrupt},
		{"magic", 0, 'P', ErrCorrupt},
		{"unknown kind", 9, 9, ErrCorrupt},
		{"reserved", 10, 1, ErrCorrupt},
		{"gigabytes", 16, 0x7f, ErrCorrupt},
		{"passes", 20, 1, ErrCorrupt},
		{"lanes", 24, 1, ErrCorrupt},
		{"salt", 30, ^salt, ErrWrongPassphrase},
		{"fewer passes", 23, 2, ErrWrongPassphrase},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := t.TempDir()
			copyDir(t, dir, other)
			resum(t, other, c.at, c.b)
			_, err := Open(other, testOptions())
			wantErr(t, err, c.want)
		})
	}
}

// No file makes readKeys panic or allocate as much as it claims. Its errors are classified,
// and a file that it accepts encodes to the same bytes.
func FuzzReadKeys(f *testing.F) {
	dir, s := newStore(f)
	check(f, s.Apply(Batch{Writes: []Write{put("a", "1", VaultID{1})}}))
	check(f, s.Close())
	good := must(os.ReadFile(filepath.Join(dir, keysName)))(f)
	body := good[:len(good)-32]
	f.Add(body)
	for _, n := range []int{0, 8, 60, 90, len(body) - 1} {
		f.Add(body[:n])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= keysHeaderSize && (binary.BigEndian.Uint32(b[16:]) > 1<<10 || binary.BigEndian.Uint32(b[20:]) > 1) {
			b = bytes.Clone(b)
			copy(b[16:], body[16:28]) // no minutes of Argon2id here
		}
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, keysName), checksummed(bytes.Clone(b)), 0o600))
		l, r, err := readKeys(dir, Options{Passphrase: pass("correct horse"), KeyFile: filepath.Join(dir, keysName)})
		if err != nil && bytes.Equal(b, body) {
			t.Fatalf("the file itself: %v", err)
		}
		if err == nil { // another process's seed: its passphrase is the same
			again := l.encode(r)
			if len(again) != len(b)+32 || !bytes.Equal(again[:keysHeaderSize], b[:keysHeaderSize]) {
				t.Fatal("accepted, but encodes otherwise")
			}
			return
		}
		for _, known := range []error{ErrCorrupt, ErrWrongPassphrase, ErrSchemaNewer, ErrLocked} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("unclassified: %v", err)
	})
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	o := Options{KeyFile: filepath.Join(dir, "key"), MaxBatch: 1 << 20}
	s := must(Create(filepath.Join(dir, "store"), o))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
	check(t, s.Close())
	if info := must(os.Stat(o.KeyFile))(t); info.Size() != 32 || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %d bytes, mode %v", info.Size(), info.Mode())
	}
	_, err := Open(filepath.Join(dir, "store"), Options{Passphrase: pass("x")})
	wantErr(t, err, ErrLocked)
	for _, wrong := range [][]byte{make([]byte, 32), make([]byte, 31), nil} {
		path := filepath.Join(t.TempDir(), "key")
		check(t, os.WriteFile(path, wrong, 0o600))
		_, err = Open(filepath.Join(dir, "store"), Options{KeyFile: path})
		wantErr(t, err, ErrWrongPassphrase)
	}
	s = must(Open(filepath.Join(dir, "store"), o))(t)
	if got := content(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Fatalf("content %q", got)
	}
	check(t, s.Close())
}

func TestRealArgon2id(t *testing.T) {
	t.Parallel()
	if DefaultKDF != (KDF{MemoryKiB: 65536, Passes: 3, Lanes: 4}) {
		t.Fatalf("DefaultKDF = %+v", DefaultKDF)
	}
	dir := t.TempDir()
	o := Options{Passphrase: pass("real"), MaxBatch: 1 << 20}
	s := must(Create(dir, o))(t)
	if s.lock.kdf != DefaultKDF {
		t.Fatalf("created with %+v", s.lock.kdf)
	}
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1", VaultID{1})}}))
	check(t, s.Close())
	_, err := Open(dir, Options{Passphrase: pass("unreal")})
	wantErr(t, err, ErrWrongPassphrase)
	s = must(Open(dir, o))(t)
	if got := content(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Fatalf("content %q", got)
	}
	check(t, s.Close())
	for _, k := range []KDF{{1 << 30, 1, 1}, {64, 99, 1}, {64, 1, 99}, {1, 1, 1}} {
		if _, err := Create(t.TempDir(), Options{Passphrase: pass("x"), KDF: k}); err == nil {
			t.Errorf("%+v was accepted", k)
		}
	}
}

// With the passphrase, today's keys and every Badger file that ever was, a dropped vault's records do not open.
func TestDroppedVaultStaysUnreadable(t *testing.T) {
	t.Parallel()
	dir, s := newStore(t)
	v, w := VaultID{1}, VaultID{2}
	check(t, s.Apply(Batch{Writes: []Write{put("secret", "old", v), put("other", "kept", w), put("plain", "x")}}))
	past := t.TempDir()
	copyDir(t, dir, past)

	check(t, s.Apply(Batch{Drop: []VaultID{v, {77}}}))
	if got, want := content(t, s), map[string]string{"other": "kept", "plain": "x"}; !maps.Equal(got, want) {
		t.Fatalf("content %q, want %q", got, want)
	}
	if n := must(s.Stat())(t).Vaults; n != 1 {
		t.Fatalf("%d vaults", n)
	}
	// The same name again is another vault.
	check(t, s.Apply(Batch{Writes: []Write{put("again", "new", v)}}))
	today := must(os.ReadFile(filepath.Join(dir, keysName)))(t)
	check(t, s.Close())

	// In the past, with the keys of then, the record opens: the test would notice.
	control := t.TempDir()
	copyDir(t, past, control)
	c := must(Open(control, testOptions()))(t)
	if got, err := c.Get([]byte("secret")); err != nil || string(got) != "old" {
		t.Fatalf("control: %q, %v", got, err)
	}
	check(t, c.Close())

	// Today's keys with the files of then: Open refuses, because keys has seen later transactions.
	check(t, os.WriteFile(filepath.Join(past, keysName), today, 0o600))
	_, err := Open(past, testOptions())
	wantErr(t, err, ErrCorrupt)

	// A reader that goes around Open finds no key that opens the record.
	l, ring, err := readKeys(past, testOptions())
	check(t, err)
	defer l.kek.wipe()
	db := must(openBadger(filepath.Join(past, "db"), testOptions(), false, true))(t)
	defer db.Close()
	tried := 0
	check(t, db.View(func(txn *badger.Txn) error {
		stored, err := get(txn, recordKey([]byte("secret")))
		if err != nil {
			return err
		}
		if id, n, _ := vaultOf(stored); id != v {
			t.Fatal("not the record")
		} else {
			ad := associated(stored[:n], recordKey([]byte("secret")))
			for _, key := range append(slices.Collect(maps.Values(ring.vaults)), newVault(ring.data), newVault(l.kek)) {
				tried++
				if _, err := key.sealer.open(stored[n:], ad); err == nil {
					t.Fatal("the record of a dropped vault opened")
				}
			}
		}
		return nil
	}))
	if tried != 4 {
		t.Fatalf("%d keys tried", tried)
	}
}

// Verify finds what someone with the disk but without the keys can do to single records.
func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	v := VaultID{1}
	raw := func(s *Store, key string) []byte {
		b, err := s.stored(recordKey([]byte(key)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var old []byte
	for name, tamper := range map[string]func(*Store, *badger.Txn) error{
		"removed": func(_ *Store, t *badger.Txn) error { return t.Delete(recordKey([]byte("b"))) },
		"several removed": func(_ *Store, t *badger.Txn) error {
			return errors.Join(t.Delete(recordKey([]byte("b"))), t.Delete(recordKey([]byte("c"))), t.Delete(indexKey(v, []byte("c"))))
		},
		"earlier version": func(_ *Store, t *badger.Txn) error { return t.Set(recordKey([]byte("a")), old) },
		"swapped": func(s *Store, t *badger.Txn) error {
			return errors.Join(t.Set(recordKey([]byte("a")), raw(s, "b")), t.Set(recordKey([]byte("b")), raw(s, "a")))
		},
		"copied":        func(s *Store, t *badger.Txn) error { return t.Set(recordKey([]byte("x")), raw(s, "a")) },
		"invented":      func(_ *Store, t *badger.Txn) error { return t.Set(recordKey([]byte("x")), []byte("anything")) },
		"index removed": func(_ *Store, t *badger.Txn) error { return t.Delete(indexKey(v, []byte("c"))) },
		"index added":   func(_ *Store, t *badger.Txn) error { return t.Set(indexKey(v, []byte("a")), nil) },
		"unknown key":   func(_ *Store, t *badger.Txn) error { return t.Set([]byte{9}, nil) },
		"empty value":   func(_ *Store, t *badger.Txn) error { return t.Set(recordKey([]byte("a")), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			_, s := newStore(t)
			check(t, s.Apply(Batch{Writes: []Write{put("a", "1"), put("b", "2"), put("c", "3", v)}}))
			old = raw(s, "a")
			check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
			content(t, s)
			check(t, s.db.Load().Update(func(txn *badger.Txn) error { return tamper(s, txn) }))
			wantErr(t, s.Verify(t.Context()), ErrCorrupt)
			for k, want := range map[string]string{"a": "1", "b": "2", "c": "3", "x": ""} {
				if got, err := s.Get([]byte(k)); err == nil && string(got) != want {
					t.Errorf("Get(%s) = %q", k, got)
				} else if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotFound) {
					t.Errorf("Get(%s): %v", k, err)
				}
			}
		})
	}
}

func TestRollbackBehindTheAnchorIsFound(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
	check(t, s.Close())
	past := t.TempDir()
	copyDir(t, filepath.Join(dir, "db"), past)
	s = must(Open(dir, testOptions()))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "2")}}))
	check(t, s.Close())
	check(t, os.RemoveAll(filepath.Join(dir, "db")))
	copyDir(t, past, filepath.Join(dir, "db"))
	_, err := Open(dir, testOptions())
	wantErr(t, err, ErrCorrupt)
}

// XAES-256-GCM against the vectors of C2SP, https://c2sp.org/XAES-256-GCM.
func TestXAES(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	for _, c := range []struct {
		key      byte
		ad, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		key := secret{b: [32]byte(bytes.Repeat([]byte{c.key}, 32))}
		s := newSealer(&key)
		box := s.aead(nonce[:12]).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(c.ad))
		if got := fmt.Sprintf("%x", box); got != c.want {
			t.Errorf("key %d: %s, want %s", c.key, got, c.want)
		}
		if got, err := s.open(append(bytes.Clone(nonce), box...), []byte(c.ad)); err != nil || string(got) != "XAES-256-GCM" {
			t.Errorf("open: %q, %v", got, err)
		}
	}
	s := newSealer(newSecret())
	for n := range nonceSize + tagSize {
		if _, err := s.open(make([]byte, n), nil); err == nil {
			t.Fatalf("%d bytes opened", n)
		}
	}
}

func TestNoncesAreUnique(t *testing.T) {
	_, s := newStore(t)
	for range 20 {
		b := Batch{}
		for i := range 500 {
			b.Writes = append(b.Writes, put(fmt.Sprint(i), "the same"))
		}
		check(t, s.Apply(b))
	}
	seen := make(map[string]bool)
	total := 0
	check(t, s.db.Load().View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true, Prefix: []byte{classRecord}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			stored := must(it.Item().ValueCopy(nil))(t)
			seen[string(stored[2:][:nonceSize])] = true
			total++
		}
		return nil
	}))
	if total < 10000 || len(seen) != total {
		t.Fatalf("%d nonces in %d values", len(seen), total)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	_, s := newStore(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1", VaultID{1})}}))
	var out bytes.Buffer
	text, jsonl := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	values := []any{s, s.lock, s.ring, s.ring.vaults[VaultID{1}], s.ring.data, s.lock.kek, s.sums, s.data, *s.data, *s.sums, *s.lock, *s.ring}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text.Info("x", "v", v)
		jsonl.Info("x", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	secrets := []*secret{s.ring.data, s.lock.kek, s.sums, s.ring.vaults[VaultID{1}].key}
	for _, k := range secrets {
		part := k.b[4:12]
		for _, form := range []string{
			string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part),
			strings.Trim(fmt.Sprint(part), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
			new(big.Int).SetBytes(part).String(),
		} {
			if bytes.Contains(out.Bytes(), []byte(form)) {
				t.Errorf("a secret was printed as %q", form)
			}
		}
	}
	if !bytes.Contains(out.Bytes(), []byte("[secret]")) || !bytes.Contains(out.Bytes(), []byte("storage.Store(")) {
		t.Error("no placeholder was printed")
	}
	check(t, s.Close())
	for i, k := range secrets {
		if k.b != [32]byte{} {
			t.Errorf("secret %d survived Close", i)
		}
	}
}

func TestValuesAndVaultKeysAreNotOnDisk(t *testing.T) {
	dir, s := newStore(t)
	marker := make([]byte, 32)
	_, _ = rand.Read(marker)
	check(t, s.Apply(Batch{Writes: []Write{{Key: []byte("visible key"), Value: marker}, {Key: []byte("v"), Value: marker, Vault: VaultID{1}}}}))
	hidden := [][]byte{marker, bytes.Clone(s.ring.data.b[:]), bytes.Clone(s.ring.vaults[VaultID{1}].key.b[:])}
	check(t, s.Close())
	found := false
	for _, path := range files(t, dir) {
		b := must(os.ReadFile(path))(t)
		found = found || bytes.Contains(b, []byte("visible key"))
		for i, h := range hidden {
			if bytes.Contains(b, h) {
				t.Errorf("secret %d is in %s", i, path)
			}
		}
	}
	if !found {
		t.Error("the test does not see what is on the disk")
	}
}

func BenchmarkApply(b *testing.B) {
	value := make([]byte, 300)
	key := func(n int) []byte { return binary.BigEndian.AppendUint64([]byte("r"), uint64(n)) }
	b.Run("single", func(b *testing.B) {
		_, s := newStore(b)
		n := 0
		for b.Loop() {
			n++
			check(b, s.Apply(Batch{Writes: []Write{{Key: key(n), Value: value}}}))
		}
	})
	for _, callers := range []int{16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			_, s := newStore(b)
			next := make(chan int)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for n := range next {
						if err := s.Apply(Batch{Writes: []Write{{Key: key(n), Value: value}}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for n := range b.N {
				next <- n
			}
			close(next)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	b.Run("batch=100", func(b *testing.B) {
		_, s := newStore(b)
		n := 0
		for b.Loop() {
			var batch Batch
			for range 100 {
				n++
				batch.Writes = append(batch.Writes, Write{Key: key(n), Value: value})
			}
			check(b, s.Apply(batch))
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	})
}

// TestPathWithBrackets: the files of a store are found whatever characters its path has.
func TestPathWithBrackets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my [old] store*")
	o := testOptions()
	o.MaxBatch = 1 << 20
	s := must(Create(dir, o))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("k", "v")}}))
	killed := filepath.Join(t.TempDir(), "[killed")
	copyDir(t, dir, killed)
	check(t, s.Close())
	logs := must(filesOf(filepath.Join(killed, "db"), ".mem"))(t)
	if len(logs) != 1 || largestTable(logs) < 1<<20 {
		t.Fatalf("the log that a crash has left: %q", logs)
	}
	full := testOptions()
	full.keep = 1 << 62
	for _, o := range []Options{full, testOptions()} { // for reading only, and with smaller tables
		s = must(Open(killed, o))(t)
		if v := must(s.Get([]byte("k")))(t); string(v) != "v" {
			t.Errorf("%q", v)
		}
		check(t, s.Close())
	}
}
