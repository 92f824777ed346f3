package engine

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/wire"
)

// TestLongLeaves: neither a commit nor the tree of a Welcome brings a leaf that is longer than a
// KeyPackage may be, else the pages of a tree in which devices have such leaves would be longer
// than a row.
func TestLongLeaves(t *testing.T) {
	t.Parallel()
	e, chance, now := MLS(1), rand.NewChaCha8([32]byte{1}), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	anna, _, err := e.NewSigner(chance)
	ben, _, err2 := e.NewSigner(chance)
	epoch, err3 := e.Create(chance, now, []byte("group"), anna, []byte("anna"))
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	at := epoch.(*MLSEpoch) //nolint:forcetypeassert // of this engine
	signer, err := mls.ParseSignatureKey(at.suite, anna)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		extension int
		want      error
	}{{wire.MaxKeyPackage - 1<<10, nil}, {wire.MaxKeyPackage, wire.ErrTooLarge}} {
		const private = 0xF123 // RFC 9420, Section 17.3
		capabilities := mls.DefaultCapabilities(private)
		kp, err := e.NewKeyPackage(chance, now, ben, []byte("ben"))
		if err != nil {
			t.Fatal(err)
		}
		added, err := mls.ParseKeyPackage(kp.Public)
		if err != nil {
			t.Fatal(err)
		}
		made, err := at.Epoch.Commit(chance, mls.CommitConfig{
			Signer: signer, Now: now, Validator: mls.AcceptAnyCredential, Proposals: []mls.Proposal{mls.Add{KeyPackage: added}},
			Leaf: &mls.LeafUpdate{Capabilities: &capabilities, Extensions: []mls.Extension{{Type: private, Data: make([]byte, c.extension)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.InspectCommit(made.Commit); !errors.Is(err, c.want) {
			t.Errorf("a commit with an extension of %d bytes: %v", c.extension, err)
		}
		if _, _, err := e.Join(made.Welcome, made.RatchetTree, kp, func(_, _ []byte) error { return nil }); !errors.Is(err, c.want) {
			t.Errorf("a tree with an extension of %d bytes: %v", c.extension, err)
		}
	}
}
