package mls

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// pageStore holds pages as a database would.
type pageStore map[string][]byte

func (s pageStore) put(t testing.TB, rows []Row) (octets int) {
	t.Helper()
	for _, r := range rows {
		if old, ok := s[string(r.Key)]; ok && !bytes.Equal(old, r.Value) {
			t.Fatalf("page %x has two contents", r.Key)
		}
		s[string(r.Key)] = r.Value
		octets += len(r.Key) + len(r.Value)
	}
	return octets
}

var errNoPage = errors.New("no such page")

func (s pageStore) get(key []byte) ([]byte, error) {
	b, ok := s[string(key)]
	if !ok {
		return nil, errNoPage
	}
	return b, nil
}

// A store that holds heads and pages gives every epoch back, whatever the tree went
// through, and sweeping what is not marked loses nothing.
func TestSnapshotPages(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 17, 40, 150} {
		alice := newClient(t, 1, "alice")
		alice.create("pages")
		store := pageStore{}
		head, pages := alice.e.Snapshot(nil)
		store.put(t, pages)
		epochs, heads := []*Epoch{alice.e}, [][]byte{head}
		step := func(cfg CommitConfig) {
			out := alice.commit(cfg)
			head, pages := out.Epoch.Snapshot(alice.e)
			for _, p := range pages {
				if _, ok := store[string(p.Key)]; ok {
					t.Fatalf("page %x was written before, in the epoch just left", p.Key)
				}
			}
			store.put(t, pages)
			epochs, heads = append(epochs, out.Epoch), append(heads, head)
			alice.move(out)
		}
		var add []Proposal
		for i := 1; i < n; i++ {
			add = append(add, Add{newClient(t, 1, fmt.Sprint("member ", i)).kp})
		}
		step(CommitConfig{Proposals: add})
		step(CommitConfig{})
		if n > 2 {
			step(CommitConfig{Proposals: []Proposal{Remove{LeafIndex(n / 2)}, Remove{LeafIndex(n - 1)}}})
			step(CommitConfig{Proposals: []Proposal{Add{newClient(t, 1, "late").kp}}, NoPath: true})
		}
		check := func(what string) {
			t.Helper()
			for i, e := range epochs {
				got, err := LoadEpoch(heads[i], store.get)
				must(t, err)
				equal(t, fmt.Sprintf("%s: epoch %d of %d members", what, i, n), got.MarshalSecret(), e.MarshalSecret())
				again, pages := got.Snapshot(e)
				equal(t, "head", again, heads[i])
				if len(pages) != 0 {
					t.Errorf("%s: %d pages differ from those of the same epoch", what, len(pages))
				}
			}
		}
		check("all")
		// Keep the last two only.
		epochs, heads = epochs[len(epochs)-2:], heads[len(heads)-2:]
		marked, stored := map[string]struct{}{}, map[string]struct{}{}
		for i, e := range epochs {
			e.MarkPages(marked)
			must(t, MarkStoredPages(heads[i], store.get, stored))
		}
		if len(marked) != len(stored) {
			t.Errorf("%d pages marked in memory, %d in the store", len(marked), len(stored))
		}
		for k := range store {
			if _, ok := marked[k]; !ok {
				delete(store, k)
			}
		}
		if len(store) != len(marked) {
			t.Errorf("%d pages left, %d marked", len(store), len(marked))
		}
		check("after a sweep")
	}
}

// Stored parts that are not ours: every bit flip and every missing page is found.
func TestHostilePages(t *testing.T) {
	alice := newClient(t, 1, "alice")
	alice.create("pages")
	var add []Proposal
	for i := 1; i < 20; i++ {
		add = append(add, Add{newClient(t, 1, fmt.Sprint("member ", i)).kp})
	}
	alice.move(alice.commit(CommitConfig{Proposals: add}))
	store := pageStore{}
	head, pages := alice.e.Snapshot(nil)
	store.put(t, pages)
	if len(pages) != 3 {
		t.Fatalf("%d pages, want one above two", len(pages))
	}
	tries := 0
	for _, p := range pages {
		for i := 0; i < len(p.Value); i++ {
			for _, b := range [][]byte{p.Value[:i], append(clone(p.Value[:i]), append([]byte{p.Value[i] ^ 1<<(i%8)}, p.Value[i+1:]...)...)} {
				store[string(p.Key)] = b
				if _, err := LoadEpoch(head, store.get); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, errNoPage) {
					t.Fatalf("page changed at %d: %v", i, err)
				}
				_ = MarkStoredPages(head, store.get, map[string]struct{}{})
				tries++
			}
		}
		store[string(p.Key)] = append(clone(p.Value), 0)
		if _, err := LoadEpoch(head, store.get); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("trailing octet: %v", err)
		}
		delete(store, string(p.Key))
		if _, err := LoadEpoch(head, store.get); !errors.Is(err, errNoPage) {
			t.Fatalf("missing page: %v", err)
		}
		if err := MarkStoredPages(head, store.get, map[string]struct{}{}); !errors.Is(err, errNoPage) {
			t.Fatalf("marking a missing page: %v", err)
		}
		store[string(p.Key)] = p.Value
	}
	for i := range head {
		if _, err := LoadEpoch(head[:i], store.get); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("first %d octets of the head: %v", i, err)
		}
		b := clone(head)
		b[i] ^= 1 << (i % 8)
		if e, err := LoadEpoch(b, store.get); err == nil {
			if again, _ := e.Snapshot(nil); !bytes.Equal(again, b) {
				t.Fatalf("octet %d of the head: accepted, and it encodes differently", i)
			}
		}
		tries++
	}
	if tries < 5000 {
		t.Errorf("%d tries", tries)
	}
	_, err := LoadEpoch(head, store.get)
	must(t, err)
}

// A thin epoch follows every child commit, and holds nothing that opens a message.
func TestThin(t *testing.T) {
	for _, s := range allSuites {
		alice, bob, carol := trio(t, s.id)
		dave := newClient(t, s.id, "dave")
		thin, err := bob.e.Thin()
		must(t, err)
		b := thin.MarshalSecret()
		thin, err = ParseThinEpoch(b)
		must(t, err)
		equal(t, "snapshot", thin.MarshalSecret(), b)
		store := pageStore{}
		head, pages := thin.Snapshot(nil)
		store.put(t, pages)
		thin, err = LoadThinEpoch(head, store.get)
		must(t, err)
		equal(t, "loaded from pages", thin.MarshalSecret(), b)

		full := bob.e.MarshalSecret()
		gone := 0
		for _, k := range bob.e.secrets.heavy() {
			if bytes.Contains(b, k.bytes()) || bytes.Contains(head, k.bytes()) {
				t.Error("a secret that opens messages is in the thin epoch")
			}
			if !bytes.Contains(full, k.bytes()) {
				t.Error("the search finds nothing")
			}
			gone++
		}
		for _, r := range bob.r.Rows() {
			if bytes.Contains(b, r.Value) {
				t.Error("a message key is in the thin epoch")
			}
		}
		if gone != 4 {
			t.Errorf("%d secrets gone", gone)
		}
		// Not even with the message keys of the whole epoch at hand.
		if r, err := NewRatchets(thin.e, bob.r.Rows()); err == nil {
			if _, _, err := r.Open(alice.seal("x")); err == nil {
				t.Error("a thin epoch opens a message")
			}
		}
		if _, err := ParseEpoch(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a thin epoch as a whole one: %v", err)
		}
		if _, err := ParseThinEpoch(full); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a whole epoch as a thin one: %v", err)
		}
		if _, err := thin.Process(nil, ProcessConfig{Ratchets: bob.r}); !errors.Is(err, ErrUsage) {
			t.Errorf("thin with Ratchets: %v", err)
		}
		if _, err := thin.e.Export("x", nil, 32); !errors.Is(err, ErrUsage) {
			t.Errorf("thin exports: %v", err)
		}

		// Every kind of commit: update, membership, PSK from an earlier epoch, external.
		update := alice.commit(CommitConfig{})
		changes := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}, Remove{carol.e.OwnLeaf()}}})
		psk := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: thin.GroupID(), Epoch: thin.Number(), Nonce: make([]byte, s.nh)}
		keys := func(PreSharedKeyID) ([]byte, bool) { return thin.ResumptionPSK(), true }
		resumed := alice.commit(CommitConfig{Proposals: []Proposal{PreSharedKey{psk}}, PSKs: keys})
		pub, err := alice.e.ExternalPubExtension()
		must(t, err)
		info, err := alice.e.GroupInfo(alice.signer, []Extension{pub}, true)
		must(t, err)
		external, err := JoinExternal(dave.rand, info, ExternalConfig{
			Signer: dave.signer, Credential: BasicCredential([]byte("dave")), Validator: AcceptAnyCredential,
		})
		must(t, err)
		bob.e.Wipe() // as a store does once the thin form is written
		bob.r.Wipe()
		for k, out := range []*CommitResult{update, changes, resumed, external} {
			p, err := thin.Process(out.Commit, ProcessConfig{PSKs: keys, Validator: AcceptAnyCredential})
			must(t, err)
			equal(t, fmt.Sprint("child ", k), p.Epoch.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
			if p.Epoch.thin {
				t.Error("the child of a thin epoch is thin")
			}
		}
		if !strings.Contains(fmt.Sprint(thin), "thin mls.Epoch") || thin.Suite() != s.id || thin.OwnLeaf() != 1 || len(thin.TreeHash()) != s.nh {
			t.Errorf("%v", thin)
		}
		thin.Wipe()
		if _, err := thin.Process(update.Commit, ProcessConfig{Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
			t.Errorf("a wiped thin epoch: %v", err)
		}
	}
}

// Wiping an epoch harms neither its parent, nor its children, nor what was derived from
// it in other ways, although they share their trees.
func TestWipeIsAlone(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	_, pending, err := bob.e.ProposeUpdate(bob.rand, bob.signer, nil, nil)
	must(t, err)
	thin, err := bob.e.Thin()
	must(t, err)
	out := alice.commit(CommitConfig{Proposals: []Proposal{Remove{carol.e.OwnLeaf()}}})
	p, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
	must(t, err)
	own, err := bob.e.Commit(bob.rand, CommitConfig{Signer: bob.signer, Now: testNow, Validator: AcceptAnyCredential, NoPath: true, Proposals: []Proposal{
		Add{newClient(t, 1, "dave").kp},
	}})
	must(t, err)
	kept := []*Epoch{pending, thin.e, p.Epoch, own.Epoch}
	var before [][]byte
	for _, e := range kept {
		before = append(before, e.MarshalSecret())
	}
	parent := bob.e.MarshalSecret()
	p2, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
	must(t, err)
	p2.Epoch.Wipe()
	equal(t, "the parent", bob.e.MarshalSecret(), parent)
	bob.e.Wipe()
	for i, e := range kept {
		equal(t, fmt.Sprint("relative ", i), e.MarshalSecret(), before[i])
	}
	if bytes.Equal(bob.e.MarshalSecret(), parent) {
		t.Error("nothing was wiped")
	}
}
