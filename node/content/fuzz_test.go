package content

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// plain is an independent decoder of the same encoding, without our rules.
var plain, _ = cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 32, UTF8: cbor.UTF8RejectInvalid,
}.DecMode()

// checkDecode checks that a container which is accepted encodes to the same bytes, and that
// another decoder takes it, too.
func checkDecode(t *testing.T, b []byte) {
	t.Helper()
	m, err := Decode(b)
	if err != nil {
		if m != nil {
			t.Fatalf("a container beside the error %v", err)
		}
		return
	}
	if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%x was accepted and is encoded as %x (%v)", b, again, err)
	}
	if err := plain.Wellformed(b); err != nil {
		t.Fatalf("%x was accepted and is not well-formed: %v", b, err)
	}
	m.Part.Words()
	m.Part.Mentions()
	m.reaction()
	m.Part.Profile()
}

func FuzzDecode(f *testing.F) {
	for name := range examples {
		f.Add(example(f, name))
	}
	f.Add(example(f, "implied-original"))
	b, err := whole().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(checkDecode)
}

// FuzzFold folds sets that the input describes, forwards, backwards and twice over.
func FuzzFold(f *testing.F) {
	f.Add([]byte("a few messages, and words about them"))
	f.Fuzz(func(t *testing.T, script []byte) {
		set := scripted(script)
		want := Fold(set, judge, foldedAt)
		for i, j := 0, len(set)-1; i < j; i, j = i+1, j-1 {
			set[i], set[j] = set[j], set[i]
		}
		if got := Fold(append(set, set...), judge, foldedAt); !reflect.DeepEqual(got, want) {
			t.Fatalf("backwards, twice:\n%s\nwant\n%s", drawn(got), drawn(want))
		}
	})
}
