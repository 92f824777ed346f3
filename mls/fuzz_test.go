package mls

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The fuzz targets: one per wire type, one per stored form, and two for a member. Their
// seeds are the files in testdata/fuzz; `go test` runs them as ordinary tests, and
// -regenerate writes them anew. All targets are listed by
//
//	go test ./mls -list '^Fuzz'

// fuzzWire: what is accepted encodes to the same bytes.
func fuzzWire(f *testing.F, name string) {
	kind := -1
	for k, typ := range wireTypes {
		if typ.name == name {
			kind = k
		}
	}
	if kind < 0 {
		f.Fatalf("no wire type %s", name)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _ = decodeWire(t, kind, b) })
}

func FuzzCredential(f *testing.F)           { fuzzWire(f, "Credential") }
func FuzzCapabilities(f *testing.F)         { fuzzWire(f, "Capabilities") }
func FuzzExtensions(f *testing.F)           { fuzzWire(f, "Extensions") }
func FuzzLeafNode(f *testing.F)             { fuzzWire(f, "LeafNode") }
func FuzzKeyPackage(f *testing.F)           { fuzzWire(f, "KeyPackage") }
func FuzzPreSharedKeyID(f *testing.F)       { fuzzWire(f, "PreSharedKeyID") }
func FuzzProposal(f *testing.F)             { fuzzWire(f, "Proposal") }
func FuzzUpdatePath(f *testing.F)           { fuzzWire(f, "UpdatePath") }
func FuzzCommit(f *testing.F)               { fuzzWire(f, "Commit") }
func FuzzParentNode(f *testing.F)           { fuzzWire(f, "ParentNode") }
func FuzzGroupContext(f *testing.F)         { fuzzWire(f, "GroupContext") }
func FuzzGroupInfo(f *testing.F)            { fuzzWire(f, "GroupInfo") }
func FuzzGroupSecrets(f *testing.F)         { fuzzWire(f, "GroupSecrets") }
func FuzzWelcome(f *testing.F)              { fuzzWire(f, "Welcome") }
func FuzzPublicMessage(f *testing.F)        { fuzzWire(f, "PublicMessage") }
func FuzzPrivateMessage(f *testing.F)       { fuzzWire(f, "PrivateMessage") }
func FuzzExternalSenders(f *testing.F)      { fuzzWire(f, "ExternalSenders") }
func FuzzRequiredCapabilities(f *testing.F) { fuzzWire(f, "RequiredCapabilities") }
func FuzzRatchetTree(f *testing.F)          { fuzzWire(f, "RatchetTree") }

// FuzzStored: what a store gives back is one of ours, or it is refused; what is accepted
// encodes to the same bytes. The first octet chooses the form.
func FuzzStored(f *testing.F) {
	_, bob, _ := trio(f, 1)
	store := pageStore{}
	_, pages := bob.e.Snapshot(nil)
	store.put(f, pages)
	head, _ := bob.e.Snapshot(nil)
	f.Fuzz(func(t *testing.T, form byte, b []byte) {
		again := b
		var err error
		switch form % 6 {
		case 0:
			var e *Epoch
			if e, err = ParseEpoch(b); err == nil {
				again = e.MarshalSecret()
			}
		case 1:
			var e *ThinEpoch
			if e, err = ParseThinEpoch(b); err == nil {
				again = e.MarshalSecret()
			}
		case 2:
			var e *Epoch
			if e, err = LoadEpoch(b, store.get); err == nil {
				again, _ = e.Snapshot(nil)
			}
		case 3:
			one := func([]byte) ([]byte, error) { return b, nil }
			var e *Epoch
			if e, err = LoadEpoch(head, one); err == nil {
				_, pages := e.Snapshot(nil)
				again = pages[0].Value
			}
			_ = MarkStoredPages(head, one, map[string]struct{}{})
		case 4:
			var k *KeyPackageSecrets
			if k, err = ParseKeyPackageSecrets(b); err == nil {
				again = k.MarshalSecret()
			}
		case 5:
			if len(b) > 1 {
				at := 1 + int(b[0])%(len(b)-1)
				_, _ = NewRatchets(bob.e, []Row{{Key: b[1:at], Value: b[at:]}})
			}
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("form %d: accepted, and it encodes differently", form%6)
		}
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
		_, err = bob.e.Commit(newStream("fuzz"), CommitConfig{Signer: bob.signer, Now: testNow, References: [][]byte{b}, Validator: AcceptAnyCredential})
		check("commit by reference", err)
		_, err = Join(b, JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, RatchetTree: b, Validator: AcceptAnyCredential})
		check("join", err)
		_, err = JoinExternal(newStream("fuzz"), b, ExternalConfig{Signer: dave.signer, Credential: BasicCredential(nil), RatchetTree: b, Validator: AcceptAnyCredential})
		check("external join", err)
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
		if !bytes.Equal(bob.e.MarshalSecret(), snapshot) {
			t.Fatal("the Epoch has changed")
		}
	})
}

// FuzzScript: a member is handed real messages, some of them changed, in any order. Each
// four octets of the script are a message, a place and what to flip there.
func FuzzScript(f *testing.F) {
	messages, bob := scriptMessages(f)
	snapshot, rows := bob.e.MarshalSecret(), bob.r.Rows()
	f.Fuzz(func(t *testing.T, script []byte) {
		e, err := ParseEpoch(snapshot)
		must(t, err)
		r, err := NewRatchets(e, rows)
		must(t, err)
		g, err := OpenGroup(Options{Rand: newStream("script"), Signer: bob.signer, Validator: AcceptAnyCredential, Past: 1}, e, r)
		must(t, err)
		state := func() []byte { return (&client{e: g.epoch, r: g.ratchets}).state() }
		before := state()
		for range 16 {
			if len(script) < 4 {
				return
			}
			m := clone(messages[int(script[0])%len(messages)])
			m[(int(script[1])<<8|int(script[2]))%len(m)] ^= script[3]
			script = script[4:]
			past := len(g.past)
			if _, err := g.Receive(m); err != nil {
				if !isRefusal(err) {
					t.Fatalf("not a sentinel: %v", err)
				}
				if !bytes.Equal(state(), before) || len(g.past) != past {
					t.Fatal("state has changed")
				}
			}
			before = state()
		}
	})
}

// scriptMessages are messages that bob takes, in an order in which he takes them all.
func scriptMessages(t testing.TB) (messages [][]byte, bob *client) {
	alice, bob, carol := trio(t, 1)
	private := ProposeConfig{Signer: alice.signer, Wire: WirePrivate, Ratchets: alice.r}
	remove, _, err := alice.e.Propose(alice.rand, Remove{carol.e.OwnLeaf()}, private)
	must(t, err)
	update, _, err := carol.e.ProposeUpdate(carol.rand, carol.signer, nil, nil)
	must(t, err)
	out := alice.commit(CommitConfig{References: [][]byte{remove}, Ratchets: alice.r, Wire: WirePrivate, Proposals: []Proposal{Add{newClient(t, 1, "dave").kp}}})
	messages = append(messages, alice.seal("one"), carol.seal("two"), update, remove, out.Commit)
	alice.move(out)
	messages = append(messages, alice.seal("three"), alice.commit(CommitConfig{Proposals: []Proposal{Remove{bob.e.OwnLeaf()}}}).Commit)
	return messages, bob
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
	pub, err := alice.e.ExternalPubExtension()
	must(t, err)
	info, err := alice.e.GroupInfo(alice.signer, []Extension{pub}, true)
	must(t, err)
	return [][]byte{
		commit.Commit, commit.Welcome, application, private.Commit, proposal,
		dave.kp.Message(), bob.e.RatchetTree(), info,
	}
}

// fuzzSeeds gives the file of every seed.
func fuzzSeeds(t testing.TB) map[string][]byte {
	seeds := map[string][]byte{}
	put := func(target string, k int, args string) {
		seeds[filepath.Join(target, fmt.Sprintf("%02d", k))] = []byte("go test fuzz v1\n" + args)
	}
	samples := wireSamples(t)
	for _, typ := range wireTypes {
		put("Fuzz"+typ.name, 0, fmt.Sprintf("[]byte(%q)\n", samples[typ.name]))
		put("Fuzz"+typ.name, 1, "[]byte(\"\\xbf\\xff\\xff\\xff\")\n") // a claim of a gigabyte
	}
	for k, b := range fuzzGroupSeeds(t) {
		put("FuzzGroup", k, fmt.Sprintf("[]byte(%q)\n", b))
	}
	messages, bob := scriptMessages(t)
	var inOrder, flipped []byte
	for k := range messages {
		inOrder = append(inOrder, byte(k), 0, 0, 0)
		flipped = append(flipped, byte(k), 0, 40, 1, byte(k), 0, 0, 0)
	}
	put("FuzzScript", 0, fmt.Sprintf("[]byte(%q)\n", inOrder))
	put("FuzzScript", 1, fmt.Sprintf("[]byte(%q)\n", flipped))
	thin, err := bob.e.Thin()
	must(t, err)
	head, pages := bob.e.Snapshot(nil)
	row := bob.r.Rows()[0]
	for k, b := range [][]byte{
		bob.e.MarshalSecret(), thin.MarshalSecret(), head, pages[0].Value, bob.secrets.MarshalSecret(),
		append([]byte{byte(len(row.Key))}, append(row.Key, row.Value...)...),
	} {
		put("FuzzStored", k, fmt.Sprintf("byte('\\x%02x')\n[]byte(%q)\n", k, b))
	}
	return seeds
}

func TestFuzzSeeds(t *testing.T) {
	want := fuzzSeeds(t)
	if n := 2*len(wireTypes) + 8 + 2 + 6; len(want) != n || len(wireTypes) != 19 {
		t.Fatalf("%d seeds for %d wire types, want %d", len(want), len(wireTypes), n)
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
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", "*", "*"))
	must(t, err)
	if len(files) < len(want) {
		t.Errorf("%d files of seeds", len(files))
	}
}

// The seeds of FuzzScript do what they say: in order, every message is taken.
func TestScript(t *testing.T) {
	messages, bob := scriptMessages(t)
	g, err := OpenGroup(bob.options(1), bob.e, bob.r)
	must(t, err)
	for k, m := range messages {
		if _, err := g.Receive(m); err != nil {
			t.Fatalf("message %d: %v", k, err)
		}
	}
	if !g.removed {
		t.Error("bob is still a member")
	}
}
