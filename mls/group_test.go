package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"
)

var testNow = time.Unix(1_700_000_000, 0)

// client is a member or somebody who wants to be one.
type client struct {
	t       testing.TB
	name    string
	rand    io.Reader
	suite   CipherSuite
	signer  *SignatureKey
	kp      *KeyPackage
	secrets *KeyPackageSecrets
	e       *Epoch
	r       *Ratchets
}

func newClient(t testing.TB, id CipherSuite, name string) *client {
	t.Helper()
	c := &client{t: t, name: name, suite: id, rand: newStream(name)}
	var err error
	c.signer, err = NewSignatureKey(id, c.rand)
	must(t, err)
	c.fresh()
	return c
}

// fresh gives the client a new KeyPackage.
func (c *client) fresh() {
	var err error
	c.kp, c.secrets, err = NewKeyPackage(c.rand, KeyPackageConfig{
		Suite: c.suite, Credential: BasicCredential([]byte(c.name)), Signer: c.signer,
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour),
	})
	must(c.t, err)
}

func (c *client) create(groupID string) {
	c.t.Helper()
	var err error
	c.e, c.r, err = Create(c.rand, GroupConfig{
		Suite: c.suite, GroupID: []byte(groupID), Credential: BasicCredential([]byte(c.name)),
		Signer: c.signer, Validator: AcceptAnyCredential,
	})
	must(c.t, err)
}

func (c *client) commit(cfg CommitConfig) *CommitResult {
	c.t.Helper()
	cfg.Signer, cfg.Validator, cfg.Now = c.signer, AcceptAnyCredential, testNow
	out, err := c.e.Commit(c.rand, cfg)
	must(c.t, err)
	return out
}

// anyClient is a SameClient for tests of what else a new leaf has to be.
func anyClient(_, _ *LeafNode) bool { return true }

func (c *client) move(out *CommitResult) { c.e, c.r = out.Epoch, out.Ratchets }

func (c *client) join(out *CommitResult) {
	c.t.Helper()
	j, err := Join(out.Welcome, JoinConfig{KeyPackage: c.kp, Secrets: c.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential})
	must(c.t, err)
	c.e, c.r = j.Epoch, j.Ratchets
}

func (c *client) process(commit []byte, references ...[]byte) *Processed {
	c.t.Helper()
	p, err := c.e.Process(commit, ProcessConfig{References: references, Ratchets: c.r, Validator: AcceptAnyCredential})
	must(c.t, err)
	if !p.Removed {
		c.e, c.r = p.Epoch, p.Ratchets
	}
	return p
}

func (c *client) seal(text string) []byte {
	c.t.Helper()
	m, d, err := c.r.Seal(c.rand, c.signer, []byte("aad"), []byte(text), 3)
	must(c.t, err)
	if len(d) == 0 {
		c.t.Fatal("a seal without a delta")
	}
	return m
}

func (c *client) opens(m []byte, from *client, text string) {
	c.t.Helper()
	o, d, err := c.r.Open(m)
	must(c.t, err)
	if string(o.Plaintext) != text || o.Sender != from.e.OwnLeaf() || string(o.AuthenticatedData) != "aad" || len(d) == 0 {
		c.t.Fatalf("%s opened %q from %d", c.name, o.Plaintext, o.Sender)
	}
}

// agree verifies that all are in one epoch, by everything they can compare.
func agree(t testing.TB, clients ...*client) {
	t.Helper()
	for _, c := range clients[1:] {
		a, b := clients[0].e, c.e
		equal(t, "GroupContext", b.GroupContext(), a.GroupContext())
		equal(t, "epoch_authenticator", b.EpochAuthenticator(), a.EpochAuthenticator())
		equal(t, "interim transcript hash", b.InterimTranscriptHash(), a.InterimTranscriptHash())
		equal(t, "tree", b.RatchetTree(), a.RatchetTree())
		x, err := a.Export("label", []byte("context"), 32)
		must(t, err)
		y, err := b.Export("label", []byte("context"), 32)
		must(t, err)
		equal(t, "exporter", y, x)
	}
}

// talk has everybody say something to everybody.
func talk(t testing.TB, clients ...*client) {
	t.Helper()
	for _, from := range clients {
		text := "hello from " + from.name
		m := from.seal(text)
		for _, to := range clients {
			if to != from {
				to.opens(m, from, text)
			}
		}
	}
}

// trio is a group of three whose tree has been filled by updates.
func trio(t testing.TB, id CipherSuite) (alice, bob, carol *client) {
	t.Helper()
	alice, bob, carol = newClient(t, id, "alice"), newClient(t, id, "bob"), newClient(t, id, "carol")
	alice.create("trio")
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{bob.kp}, Add{carol.kp}}})
	alice.move(out)
	bob.join(out)
	carol.join(out)
	return alice, bob, carol
}

func TestConversation(t *testing.T) {
	for _, s := range allSuites {
		t.Run(fmt.Sprintf("suite%d", s.id), func(t *testing.T) { conversation(t, s.id) })
	}
}

func conversation(t *testing.T, id CipherSuite) {
	alice, bob, carol := newClient(t, id, "alice"), newClient(t, id, "bob"), newClient(t, id, "carol")
	alice.create("group")

	private := []Extension{{Type: 0xff01, Data: []byte("for joiners")}}
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{bob.kp}}, InlineTree: true, GroupInfoExtensions: private})
	j, err := Join(out.Welcome, JoinConfig{KeyPackage: bob.kp, Secrets: bob.secrets, Validator: AcceptAnyCredential})
	must(t, err)
	if data, _ := FindExtension(j.Extensions, 0xff01); string(data) != "for joiners" || len(j.Extensions) != 1 || j.Signer != 0 {
		t.Fatalf("GroupInfo extensions %v of %d", j.Extensions, j.Signer)
	}
	bob.e, bob.r = j.Epoch, j.Ratchets
	alice.move(out)
	agree(t, alice, bob)
	talk(t, alice, bob)

	// Carol comes in by a commit of Bob's without a path; the tree travels apart.
	out = bob.commit(CommitConfig{Proposals: []Proposal{Add{carol.kp}}, NoPath: true})
	if _, err := Join(out.Welcome, JoinConfig{KeyPackage: carol.kp, Secrets: carol.secrets, Validator: AcceptAnyCredential}); !errors.Is(err, ErrMissingTree) {
		t.Fatalf("join without a tree: %v", err)
	}
	carol.join(out)
	alice.process(out.Commit)
	bob.move(out)
	agree(t, alice, bob, carol)
	talk(t, alice, bob, carol)

	// Updates: by commit, and by a proposal that another commits.
	out = carol.commit(CommitConfig{})
	alice.process(out.Commit)
	bob.process(out.Commit)
	carol.move(out)
	agree(t, alice, bob, carol)
	proposal, pending, err := bob.e.ProposeUpdate(bob.rand, bob.signer, nil, []byte("why"))
	must(t, err)
	bob.e = pending
	restored, err := ParseEpoch(bob.e.MarshalSecret())
	must(t, err)
	bob.e = restored
	out = alice.commit(CommitConfig{References: [][]byte{proposal}})
	if _, err := carol.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); !errors.Is(err, ErrMissingProposal) {
		t.Fatalf("commit without its proposal: %v", err)
	}
	carol.process(out.Commit, proposal)
	if p := bob.process(out.Commit, proposal); p.Committer != 0 || len(p.Proposals) != 1 || p.Proposals[0].Sender != bob.e.OwnLeaf() {
		t.Fatalf("processed %+v", p)
	}
	alice.move(out)
	agree(t, alice, bob, carol)
	talk(t, alice, bob, carol)

	// A private commit uses keys of the secret tree on both sides.
	out = alice.commit(CommitConfig{Wire: WirePrivate, Ratchets: alice.r, Padding: 100})
	if len(out.Delta) == 0 {
		t.Fatal("private commit without a delta")
	}
	if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
		t.Fatalf("private commit without Ratchets: %v", err)
	}
	if p := bob.process(out.Commit); len(p.Delta) == 0 {
		t.Fatal("private commit processed without a delta")
	}
	carol.process(out.Commit)
	alice.move(out)
	agree(t, alice, bob, carol)

	// Carol is removed; she learns of it and reads no more.
	out = alice.commit(CommitConfig{Proposals: []Proposal{Remove{carol.e.OwnLeaf()}}})
	if p := carol.process(out.Commit); !p.Removed || p.Epoch != nil || p.Ratchets != nil {
		t.Fatalf("removed member: %+v", p)
	}
	bob.process(out.Commit)
	alice.move(out)
	agree(t, alice, bob)
	m := alice.seal("without carol")
	bob.opens(m, alice, "without carol")
	if _, _, err := carol.r.Open(m); !errors.Is(err, ErrWrongEpoch) {
		t.Fatalf("removed member opens: %v", err)
	}
	late := carol.seal("I am still here")
	if _, _, err := bob.r.Open(late); !errors.Is(err, ErrWrongEpoch) {
		t.Fatalf("message of a removed member: %v", err)
	}

	// She comes back, in a commit that also removes Bob and adds him again.
	carol.fresh()
	bob.fresh()
	out = alice.commit(CommitConfig{Proposals: []Proposal{Remove{bob.e.OwnLeaf()}, Add{bob.kp}, Add{carol.kp}}})
	bob.join(out)
	carol.join(out)
	alice.move(out)
	agree(t, alice, bob, carol)
	talk(t, alice, bob, carol)
}

// Two commits on one Epoch: everybody can derive both children, in any order.
func TestForks(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	a, b := alice.commit(CommitConfig{}), bob.commit(CommitConfig{})
	process := func(c *client, commit []byte) *client {
		p, err := c.e.Process(commit, ProcessConfig{Validator: AcceptAnyCredential})
		must(t, err)
		return &client{t: t, name: c.name, rand: c.rand, signer: c.signer, e: p.Epoch, r: p.Ratchets}
	}
	before := carol.e.MarshalSecret()
	carolA, carolB := process(carol, a.Commit), process(carol, b.Commit)
	bobA, aliceB := process(bob, a.Commit), process(alice, b.Commit)
	aliceA := &client{t: t, name: "alice", rand: alice.rand, signer: alice.signer, e: a.Epoch, r: a.Ratchets}
	bobB := &client{t: t, name: "bob", rand: bob.rand, signer: bob.signer, e: b.Epoch, r: b.Ratchets}
	agree(t, aliceA, bobA, carolA)
	agree(t, aliceB, bobB, carolB)
	talk(t, aliceA, bobA, carolA)
	talk(t, aliceB, bobB, carolB)
	equal(t, "the parent's snapshot", carol.e.MarshalSecret(), before)
	if bytes.Equal(carolA.e.EpochAuthenticator(), carolB.e.EpochAuthenticator()) {
		t.Error("the branches are one epoch")
	}
	// A node without state computes from the log the same values that members have.
	got, err := NextInterimTranscriptHash(1, carol.e.InterimTranscriptHash(), a.Commit)
	must(t, err)
	equal(t, "NextInterimTranscriptHash", got, carolA.e.InterimTranscriptHash())
	// Wiping one branch and the parent leaves the other.
	carolA.e.Wipe()
	carol.e.Wipe()
	out := carolB.commit(CommitConfig{})
	p, err := bobB.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
	must(t, err)
	equal(t, "grandchild", p.Epoch.EpochAuthenticator(), out.Epoch.EpochAuthenticator())
}

// Replay, order and the bounds of RFC 9420, Sections 9.2 and 15.3.
func TestMessageOrder(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	var sent [][]byte
	for i := range 6 {
		sent = append(sent, alice.seal(fmt.Sprint(i)))
	}
	for _, i := range []int{3, 0, 5, 1, 4, 2} {
		bob.opens(sent[i], alice, fmt.Sprint(i))
		before := bob.r.Rows()
		if _, _, err := bob.r.Open(sent[i]); !errors.Is(err, ErrKeyUsed) {
			t.Fatalf("replay of %d: %v", i, err)
		}
		sameRows(t, bob.r.Rows(), before)
	}
	if _, _, err := alice.r.Open(sent[0]); !errors.Is(err, ErrOwnMessage) {
		t.Fatalf("own message: %v", err)
	}
	if n := len(bob.r.tree.skipped); n != 0 {
		t.Fatalf("%d skipped keys left", n)
	}
	// Bounds: too far ahead is refused and costs nothing; old skipped keys go.
	for range MaxForward + 1 {
		sent = append(sent, alice.seal("x"))
	}
	last := alice.seal("last")
	if _, _, err := bob.r.Open(last); !errors.Is(err, ErrTooFarAhead) {
		t.Fatalf("%d ahead: %v", MaxForward+1, err)
	}
	bob.opens(sent[len(sent)-1], alice, "x") // MaxForward keys skipped
	bob.opens(last, alice, "last")
	far := alice.seal("skipped")
	bob.opens(alice.seal("y"), alice, "y") // one more: the oldest goes
	if n := len(bob.r.tree.skipped); n != MaxSkipped {
		t.Fatalf("%d skipped keys, want %d", n, MaxSkipped)
	}
	if _, _, err := bob.r.Open(sent[6]); !errors.Is(err, ErrKeyUsed) {
		t.Fatalf("oldest skipped key: %v", err)
	}
	bob.opens(sent[7], alice, "x")
	bob.opens(far, alice, "skipped")
}

func sameRows(t testing.TB, got, want []Row) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b Row) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) }) {
		t.Fatalf("ratchet rows differ: %d and %d", len(got), len(want))
	}
}

// A store that applies deltas holds what Rows gives, and Ratchets restored from it go on.
func TestDeltas(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	store := map[string][]byte{}
	put := func(rows []Row) {
		for _, r := range rows {
			if r.Value == nil {
				if _, ok := store[string(r.Key)]; !ok {
					t.Fatalf("delta deletes row %x that is not there", r.Key)
				}
				delete(store, string(r.Key))
			} else {
				store[string(r.Key)] = r.Value
			}
		}
	}
	put(bob.r.Rows())
	var sent [][]byte
	for i := range 8 {
		sent = append(sent, alice.seal(fmt.Sprint(i)), carol.seal(fmt.Sprint(i)))
	}
	for _, i := range []int{9, 2, 3, 15, 0, 14, 1} {
		_, d, err := bob.r.Open(sent[i])
		must(t, err)
		put(d)
		_, d, err = bob.r.Seal(bob.rand, bob.signer, nil, []byte("x"), 0)
		must(t, err)
		put(d)
		var rows []Row
		for k, v := range store {
			rows = append(rows, Row{[]byte(k), v})
		}
		restored, err := NewRatchets(bob.e, rows)
		must(t, err)
		sameRows(t, restored.Rows(), bob.r.Rows())
		bob.r = restored
	}
	for _, i := range []int{9, 2, 3, 15, 0, 14, 1} {
		if _, _, err := bob.r.Open(sent[i]); !errors.Is(err, ErrKeyUsed) {
			t.Fatalf("replay of %d after a restart: %v", i, err)
		}
	}
	for _, rows := range [][]Row{
		{{Key: nil}},
		{{Key: []byte("x")}},
		{{Key: []byte("n\x00\x00\x00\x00"), Value: []byte("short")}},
		{{Key: []byte("r\x00\x00\x00\xff\x00"), Value: make([]byte, 36)}},
		append(bob.r.Rows(), bob.r.Rows()[0]),
	} {
		if _, err := NewRatchets(bob.e, rows); !errors.Is(err, ErrCorrupt) {
			t.Errorf("rows %x: %v", rows[0].Key, err)
		}
	}
}

// A larger group in which everybody commits, joins late, leaves and comes back.
func TestManyMembers(t *testing.T) {
	clients := []*client{newClient(t, 1, "member 0")}
	clients[0].create("many")
	gone := map[int]bool{}
	live := func() (out []*client) {
		for i, c := range clients {
			if !gone[i] {
				out = append(out, c)
			}
		}
		return out
	}
	commit := func(from *client, cfg CommitConfig, join ...*client) {
		out := from.commit(cfg)
		for _, c := range live() {
			if c != from && !slices.Contains(join, c) {
				c.process(out.Commit)
			}
		}
		for _, c := range join {
			c.join(out)
		}
		from.move(out)
		agree(t, live()...)
		must(t, from.e.tree.checkStructure())
		must(t, from.e.tree.checkParentHashes())
	}
	for i := 1; i < 11; i++ {
		c := newClient(t, 1, fmt.Sprint("member ", i))
		clients = append(clients, c)
		commit(clients[i/2], CommitConfig{Proposals: []Proposal{Add{c.kp}}, NoPath: i%3 == 0}, c)
	}
	for i := range clients {
		commit(clients[i], CommitConfig{})
	}
	for _, i := range []int{10, 9, 8, 2, 5} {
		leaf := clients[i].e.OwnLeaf()
		gone[i] = true
		commit(clients[i/4], CommitConfig{Proposals: []Proposal{Remove{leaf}}})
	}
	if got := clients[0].e.tree.leaves; got != 8 {
		t.Errorf("tree of %d leaves after removals, want 8", got)
	}
	back := clients[5]
	back.fresh()
	delete(gone, 5)
	commit(clients[7], CommitConfig{Proposals: []Proposal{Add{back.kp}}}, back)
	if back.e.OwnLeaf() != 2 || clients[0].e.MemberCount() != 7 {
		t.Errorf("came back at leaf %d, %d members", back.e.OwnLeaf(), clients[0].e.MemberCount())
	}
	talk(t, live()...)
}

// The same seeds give the same bytes, whatever runs in parallel.
func TestDeterminism(t *testing.T) {
	run := func() [][]byte {
		alice, bob, carol := trio(t, 1)
		out := bob.commit(CommitConfig{Proposals: []Proposal{Remove{carol.e.OwnLeaf()}}})
		alice.process(out.Commit)
		return [][]byte{out.Commit, out.Epoch.MarshalSecret(), alice.e.MarshalSecret(), alice.seal("x")}
	}
	a, b := run(), run()
	for i := range a {
		equal(t, fmt.Sprint("output ", i), a[i], b[i])
	}
}

// Randomness is drawn in the order of the nodes before the sealing, which runs on all
// processors: how many there are changes no byte (EdDSA suites).
func TestDeterminismInParallel(t *testing.T) {
	for _, id := range []CipherSuite{1, 3, 4, 6, hybrid.id} {
		var want [][]byte
		for _, processors := range []int{1, 2, 8} {
			before := runtime.GOMAXPROCS(processors)
			alice := newClient(t, id, "alice")
			alice.create("parallel")
			var add []Proposal
			for i := range 20 {
				add = append(add, Add{newClient(t, id, fmt.Sprint("member ", i)).kp})
			}
			added := alice.commit(CommitConfig{Proposals: add})
			alice.move(added)
			update := alice.commit(CommitConfig{})
			runtime.GOMAXPROCS(before)
			got := [][]byte{added.Commit, added.Welcome, update.Commit, update.Epoch.MarshalSecret()}
			if want == nil {
				want = got
			}
			for k := range want {
				equal(t, fmt.Sprintf("suite %#04x, %d processors, output %d", uint16(id), processors, k), got[k], want[k])
			}
		}
	}
}

// A store that went back gives message keys again. No nonce comes again with them: the reuse
// guard is drawn for each message (RFC 9420, Section 6.3.1).
func TestRowsOfBefore(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	rows := bob.r.Rows()
	guards := map[[4]byte]bool{}
	for range 64 {
		again, err := NewRatchets(bob.e, rows)
		must(t, err)
		m, _, err := again.Seal(bob.rand, bob.signer, nil, []byte("said again"), 0)
		must(t, err)
		p, err := alice.r.readMessage(m)
		must(t, err)
		sd, err := alice.e.suite().openSenderData(p, alice.e.secrets.senderData)
		must(t, err)
		if sd.generation != 0 {
			t.Fatalf("generation %d", sd.generation)
		}
		guards[sd.guard] = true
	}
	if len(guards) != 64 {
		t.Errorf("64 messages under one key have %d nonces", len(guards))
	}
}
