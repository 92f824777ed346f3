package wire

import (
	"bytes"
	"testing"
)

func TestEntryRoundTrip(t *testing.T) {
	e := &Entry{V: 1, Seq: 1, Kind: KindRecord, HLC: 5, Body: Marshal(&Record{}), Deps: []EntryHash{}}
	b := e.Encode()
	got, err := DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode(), b) {
		t.Fatal("re-encoding differs")
	}
	u := &Bundle{Entries: [][]byte{b}}
	key := bytes.Repeat([]byte{7}, 32)
	env, err := SealEnvelope(bytes.NewReader(make([]byte, 32)), GroupID{1}, key, u)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenEnvelope(GroupID{1}, func(KeyID) []byte { return key }, env); err != nil {
		t.Fatal(err)
	}
	t.Logf("%x", b)
}
