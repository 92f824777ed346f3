package mls

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The seeds of the fuzz targets are the files in testdata/fuzz. `go test` runs them
// as ordinary tests; -regenerate writes them anew.

const (
	wireSeeds  = 17 // one per wire type
	groupSeeds = 8
)

// FuzzWire: what is accepted encodes to the same bytes.
func FuzzWire(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		_ = decodeWire(t, int(kind)%len(wireTypes), b)
	})
}

// FuzzGroup: whatever arrives, nothing panics, and after a refusal a member's state is
// what it was.
func FuzzGroup(f *testing.F) {
	_, bob, _ := trio(f, 1)
	dave := newClient(f, 1, "dave")
	snapshot, rows := bob.e.MarshalSecret(), bob.r.Rows()
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewRatchets(bob.e, rows)
		must(t, err)
		state := func() []byte { return (&client{e: bob.e, r: r}).state() }
		before := state()
		check := func(what string, err error) {
			t.Helper()
			if err == nil {
				return
			}
			if !isRefusal(err) {
				t.Fatalf("%s: not a sentinel: %v", what, err)
			}
			if !bytes.Equal(state(), before) {
				t.Fatalf("%s: state has changed", what)
			}
		}
		_, err = bob.e.Process(b, ProcessConfig{References: [][]byte{b}, Validator: AcceptAnyCredential})
		check("process", err)
		_, err = bob.e.Commit(newStream("fuzz"), CommitConfig{Signer: bob.signer, References: [][]byte{b}, Validator: AcceptAnyCredential})
		check("commit by reference", err)
		_, err = Join(b, JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, RatchetTree: b, Validator: AcceptAnyCredential})
		check("join", err)
		_, err = ParseKeyPackage(b)
		check("KeyPackage", err)
		_, err = InspectCommit(b)
		check("inspect", err)
		_, _, err = r.Open(b)
		check("open", err)
		if err == nil {
			before = state()
		}
		_, err = bob.e.Process(b, ProcessConfig{References: [][]byte{b}, Ratchets: r, Validator: AcceptAnyCredential})
		check("process with ratchets", err)
		if e, err := ParseEpoch(b); err == nil && !bytes.Equal(e.MarshalSecret(), b) {
			t.Fatal("snapshot accepted, and it encodes differently")
		}
		if !bytes.Equal(bob.e.MarshalSecret(), snapshot) {
			t.Fatal("the Epoch has changed")
		}
	})
}

// fuzzGroupSeeds are messages that reach deep: each is accepted by somebody.
func fuzzGroupSeeds(t testing.TB) [][]byte {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	commit := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}, Remove{carol.e.OwnLeaf()}}, InlineTree: true})
	application := alice.seal("hello")
	private := alice.commit(CommitConfig{Wire: WirePrivate, Ratchets: alice.r})
	proposal, err := carol.e.ProposeRemove(carol.signer, alice.e.OwnLeaf(), nil)
	must(t, err)
	return [][]byte{
		commit.Commit, commit.Welcome, application, private.Commit, proposal,
		dave.kp.Message(), bob.e.RatchetTree(), bob.e.MarshalSecret(),
	}
}

func TestFuzzSeeds(t *testing.T) {
	want := map[string][]byte{}
	samples := wireSamples(t)
	for k, typ := range wireTypes {
		name := filepath.Join("FuzzWire", fmt.Sprintf("%02d-%s", k, typ.name))
		want[name] = fmt.Appendf(nil, "go test fuzz v1\nbyte('\\x%02x')\n[]byte(%q)\n", k, samples[typ.name])
	}
	for k, b := range fuzzGroupSeeds(t) {
		want[filepath.Join("FuzzGroup", fmt.Sprintf("%02d", k))] = fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b)
	}
	if len(want) != wireSeeds+groupSeeds {
		t.Fatalf("%d seeds", len(want))
	}
	for name, b := range want {
		path := filepath.Join("testdata", "fuzz", name)
		if *regenerate {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, b, 0o644))
		}
		got, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(got, b) {
			t.Errorf("%s is not what this engine makes: run with -regenerate and explain why", path)
		}
	}
}
