package storage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// Check names each record that does not open and each that its vault misses, and says how many others are missing.
func TestCheckReportsEach(t *testing.T) {
	_, s := newStore(t)
	v := VaultID{1}
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1"), put("b", "2"), put("c", "3", v), put("d", "4"), put("e", "5")}}))
	report := func() (n uint64, out []string) {
		n, err := s.Check(t.Context(), func(p Problem) { out = append(out, string(p.Key)+": "+p.What) })
		check(t, err)
		slices.Sort(out)
		return n, out
	}
	if n, got := report(); n != 5 || len(got) != 0 {
		t.Fatalf("%d records, %q", n, got)
	}
	check(t, s.db.Load().Update(func(txn *badger.Txn) error {
		check(t, txn.Set(recordKey([]byte("a")), []byte("anything at all")))
		check(t, txn.Set(recordKey([]byte("b")), []byte{schema, inData, 1}))
		check(t, txn.Delete(recordKey([]byte("c"))))
		return txn.Delete(recordKey([]byte("d")))
	}))
	n, got := report()
	want := []string{
		": 2 records are missing",
		"a: record of class 0x61: malformed",
		"b: record of class 0x62: does not authenticate",
		"c: missing: its vault names it",
	}
	if n != 3 || !slices.Equal(got, want) {
		t.Errorf("%d records, %q", n, got)
	}
	wantErr(t, s.Verify(t.Context()), ErrCorrupt)
}

func TestUsageExportAndCompact(t *testing.T) {
	t.Parallel()
	dir, s := newStore(t)
	large := strings.Repeat("x", 300<<10) // goes to the value log
	for i := range 40 {
		check(t, s.Apply(Batch{Writes: []Write{put("big/"+string(rune('a'+i%26)), large), put("small/x", "1"), put("vault/x", "2", VaultID{1})}}))
	}
	kind := func(key []byte) string { k, _, _ := strings.Cut(string(key), "/"); return k }
	u := must(s.Usage(t.Context(), kind))(t)
	if u.Records != 28 || u.Vaults != 1 || len(u.Kinds) != 3 || u.Kinds[0].Kind != "big" || u.Kinds[0].Records != 26 || u.Kinds[0].Bytes < 26*300<<10 {
		t.Errorf("%+v", u)
	}
	if u.Live < u.Kinds[0].Bytes || u.Disk < u.Live {
		t.Errorf("%d bytes live, %d on the disk", u.Live, u.Disk)
	}
	for _, named := range []string{"", "vault"} {
		got := make(map[string]string)
		check(t, s.Export(func(k []byte) bool { return kind(k) == named }, func(k, v []byte) error { got[kind(k)] += string(v[:1]); return nil }))
		want := map[string]string{"big": strings.Repeat("x", 26), "small": "1"}
		if named != "" {
			want[named] = "2"
		}
		if !maps.Equal(got, want) {
			t.Errorf("exported %q, want %q", got, want)
		}
	}

	check(t, s.Close())

	// Enough of it to have been compacted into levels once, and then deleted.
	o := testOptions()
	o.MaxBatch = 1
	s = must(Open(dir, o))(t)
	for i := range 300 {
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("many/", i), large[:100<<10])}}))
	}
	for i := range 300 {
		check(t, s.Apply(Batch{Writes: []Write{{Key: fmt.Append(nil, "many/", i)}}}))
	}
	check(t, s.Close())
	s = must(Open(dir, o))(t)
	before := must(s.Usage(t.Context(), kind))(t)
	check(t, s.Compact())
	after := must(s.Usage(t.Context(), kind))(t)
	if after.Disk > before.Disk/2 || after.Live != before.Live || after.Records != 28 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	t.Logf("%d KiB before, %d KiB after, %d KiB live", before.Disk>>10, after.Disk>>10, after.Live>>10)
	check(t, s.Verify(t.Context()))
	check(t, s.Close())
}
