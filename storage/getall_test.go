package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// GetAll gives what as many calls of Get give: of few keys and of many, next to each other
// and far apart, of records that were replaced, deleted, dropped, or that do not open.
func TestGetAllGivesWhatGetGives(t *testing.T) {
	t.Parallel()
	_, s := newStore(t)
	r := rand.New(rand.NewPCG(1, 2))
	key := func(i int) string { return fmt.Sprintf("row/%04d", i) }
	const rows = 2000
	for at := 0; at < rows; at += 100 {
		b := Batch{Writes: []Write{put(fmt.Sprint("before", at), "x"), put(fmt.Sprint("sbehind", at), "x")}}
		for i := at; i < at+100; i++ {
			w := put(key(i), fmt.Sprint("value ", i))
			if i%17 == 0 {
				w.Vault = VaultID{1}
			}
			b.Writes = append(b.Writes, w)
		}
		check(t, s.Apply(b))
	}
	check(t, s.Compact()) // some lie in a table
	var b Batch
	for i := range rows {
		switch {
		case i%5 == 0:
			b.Writes = append(b.Writes, Write{Key: []byte(key(i))})
		case i%17 == 1:
			b.Writes = append(b.Writes, put(key(i), fmt.Sprint("another ", i)))
		}
	}
	check(t, s.Apply(b))
	check(t, s.Apply(Batch{Drop: []VaultID{{1}}}))
	found := 0
	for range 200 {
		var keys [][]byte
		first, step := r.IntN(rows), 1+r.IntN(1+r.IntN(100))
		for i := first; i < rows+50 && len(keys) < 1+first%300; i += 1 + r.IntN(step) {
			keys = append(keys, []byte(key(i)))
			if r.IntN(20) == 0 {
				keys = append(keys, []byte(key(i))) // twice
			}
		}
		want := map[int]string{}
		for i, k := range keys {
			switch v, err := s.Get(k); {
			case err == nil:
				want[i] = string(v)
			case !errors.Is(err, ErrNotFound):
				t.Fatal(err)
			}
		}
		last := -1
		check(t, s.GetAll(keys, func(i int, value []byte) error {
			if i <= last || want[i] != string(value) || value == nil {
				t.Fatalf("after %d came %d, %q: %q, want %q", last, i, keys[i], value, want[i])
			}
			last = i
			delete(want, i)
			return nil
		}))
		if len(want) > 0 {
			t.Fatalf("left out: %v", want)
		}
		found += len(keys)
	}
	if found < 1000 {
		t.Fatalf("only %d keys were looked for", found)
	}
	check(t, s.GetAll(nil, func(int, []byte) error { t.Error("of no keys there is one"); return nil }))
	stop := errors.New("enough")
	calls := 0
	if err := s.GetAll([][]byte{[]byte(key(2)), []byte(key(3))}, func(int, []byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	stored := slices.Clone(must(s.stored(recordKey([]byte(key(2)))))(t))
	stored[len(stored)-1] ^= 1
	check(t, s.db.Load().Update(func(txn *badger.Txn) error { return txn.Set(recordKey([]byte(key(2))), stored) }))
	if err := s.GetAll([][]byte{[]byte(key(2))}, func(int, []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a record that does not open: %v", err)
	}
	check(t, s.Close())
	if err := s.GetAll([][]byte{[]byte(key(3))}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("of a store that is closed: %v", err)
	}
}
