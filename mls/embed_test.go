package mls

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// options gives a client the Options of a Group.
func (c *client) options(past int) Options {
	return Options{Rand: c.rand, Signer: c.signer, Validator: AcceptAnyCredential, Past: past}
}

func (c *client) joinGroup(o Options, out *Committed) *Group {
	c.t.Helper()
	g, _, err := JoinGroup(o, out.Welcome, JoinConfig{KeyPackage: c.kp, Secrets: c.secrets, RatchetTree: out.RatchetTree})
	must(c.t, err)
	return g
}

// trioGroups is a group of three behind the façade.
func trioGroups(t *testing.T, change func(*Options)) (clients []*client, groups []*Group) {
	t.Helper()
	for _, name := range []string{"alice", "bob", "carol"} {
		clients = append(clients, newClient(t, 1, name))
	}
	options := func(c *client) Options {
		o := c.options(2)
		if change != nil {
			change(&o)
		}
		return o
	}
	alice, err := CreateGroup(options(clients[0]), GroupConfig{Suite: 1, GroupID: []byte("g"), Credential: BasicCredential([]byte("alice"))})
	must(t, err)
	out, err := alice.Add(testNow, clients[1].kp, clients[2].kp)
	must(t, err)
	must(t, alice.Merge())
	groups = []*Group{alice, clients[1].joinGroup(options(clients[1]), out), clients[2].joinGroup(options(clients[2]), out)}
	return clients, groups
}

func sameEpoch(t *testing.T, groups ...*Group) {
	t.Helper()
	for _, g := range groups[1:] {
		a, err := groups[0].Export("x", nil, 32)
		must(t, err)
		b, err := g.Export("x", nil, 32)
		must(t, err)
		equal(t, "exporter", b, a)
	}
}

func TestGroupConversation(t *testing.T) {
	for _, wire := range []WireFormat{WirePublic, WirePrivate} {
		clients, groups := trioGroups(t, func(o *Options) { o.Handshake = wire })
		alice, bob, carol := groups[0], groups[1], groups[2]
		dave := newClient(t, 1, "dave")
		everywhere := func(from *Group, message []byte) {
			t.Helper()
			for _, g := range groups {
				if g != from {
					_, err := g.Receive(message)
					must(t, err)
				}
			}
		}
		// Proposals of three kinds wait; alice's own Update stays out of her commit.
		for _, c := range []struct {
			from    *Group
			propose func() ([]byte, error)
		}{
			{bob, func() ([]byte, error) { return bob.Propose(testNow, Add{dave.kp}, nil) }},
			{carol, func() ([]byte, error) { return carol.ProposeUpdate(nil, nil) }},
			{alice, func() ([]byte, error) { return alice.ProposeUpdate(nil, nil) }},
			{bob, func() ([]byte, error) { return bob.Propose(testNow, Remove{2}, nil) }}, // conflicts with carol's Update
		} {
			m, err := c.propose()
			must(t, err)
			everywhere(c.from, m)
			if _, err := c.from.Receive(m); !errors.Is(err, ErrKeyUsed) {
				t.Errorf("a proposal twice: %v", err)
			}
		}
		late, err := alice.Protect([]byte("aad"), []byte("late"), 0)
		must(t, err)
		out, err := alice.Commit(CommitOptions{Now: testNow})
		must(t, err)
		if len(out.Added) != 1 {
			t.Fatalf("added %v", out.Added)
		}
		for _, g := range []*Group{bob, carol} {
			r, err := g.Receive(out.Commit)
			must(t, err)
			if r.Commit == nil || len(r.Commit.Proposals) != 2 || r.Commit.Epoch != nil {
				t.Fatalf("%+v", r.Commit)
			}
		}
		r, err := alice.Receive(out.Commit) // comes back to her
		must(t, err)
		if !r.Merged {
			t.Error("own commit not merged")
		}
		groups = append(groups, dave.joinGroup(dave.options(0), out))
		sameEpoch(t, groups...)
		if n := len(bob.Members()); n != 4 || bob.Number() != 2 || string(bob.Members()[3].Node.Credential.Identity) != "dave" {
			t.Errorf("%d members in epoch %d", n, bob.Number())
		}
		// A message of the last epoch still opens, once.
		o, err := bob.Unprotect(late)
		must(t, err)
		equal(t, "late message", o.Plaintext, []byte("late"))
		if _, err := bob.Unprotect(late); !errors.Is(err, ErrKeyUsed) {
			t.Errorf("late message twice: %v", err)
		}
		for range 3 { // of which two are kept
			out, err := carol.Commit(CommitOptions{})
			must(t, err)
			must(t, carol.Merge())
			for _, g := range groups {
				if g != carol {
					_, err := g.Receive(out.Commit)
					must(t, err)
				}
			}
		}
		if _, err := carol.Unprotect(late); !errors.Is(err, ErrWrongEpoch) {
			t.Errorf("message of an epoch that is not kept: %v", err)
		}
		// Batches.
		list, err := alice.ProtectAll([]byte("aad"), [][]byte{[]byte("0"), []byte("1"), []byte("2")}, 7)
		must(t, err)
		opened, errs := bob.UnprotectAll([][]byte{list[2], list[0], list[0], list[1]})
		for i, want := range []string{"2", "0", "", "1"} {
			if want == "" {
				if !errors.Is(errs[i], ErrKeyUsed) {
					t.Errorf("message %d: %v", i, errs[i])
				}
				continue
			}
			must(t, errs[i])
			equal(t, "plaintext", opened[i].Plaintext, []byte(want))
		}
		// A commit that loses is discarded.
		mine, err := alice.Commit(CommitOptions{})
		must(t, err)
		theirs, err := bob.Commit(CommitOptions{Proposals: []Proposal{Remove{2}}})
		must(t, err)
		alice.Discard()
		if err := alice.Merge(); !errors.Is(err, ErrUsage) {
			t.Errorf("merge of a discarded commit: %v", err)
		}
		everywhere(bob, theirs.Commit)
		must(t, bob.Merge())
		sameEpoch(t, alice, bob, groups[3])
		if _, err := bob.Receive(mine.Commit); !errors.Is(err, ErrWrongEpoch) {
			t.Errorf("the commit that lost: %v", err)
		}
		// Carol was removed and learns that from every call that needs a member.
		for _, err := range []error{
			func() error { _, err := carol.Protect(nil, nil, 0); return err }(),
			func() error { _, err := carol.Commit(CommitOptions{}); return err }(),
			func() error { _, err := carol.Propose(testNow, Remove{0}, nil); return err }(),
			func() error { _, err := carol.ProposeUpdate(nil, nil); return err }(),
			func() error { _, err := carol.Receive(mine.Commit); return err }(),
		} {
			if !errors.Is(err, ErrRemoved) {
				t.Errorf("removed: %v", err)
			}
		}
		// She comes back by an external commit.
		e := alice.Epoch()
		pub, err := e.ExternalPubExtension()
		must(t, err)
		info, err := e.GroupInfo(clients[0].signer, []Extension{pub}, true)
		must(t, err)
		back, commit, err := JoinGroupExternal(clients[2].options(0), info, ExternalConfig{Credential: BasicCredential([]byte("carol"))})
		must(t, err)
		for _, g := range []*Group{alice, bob, groups[3]} {
			r, err := g.Receive(commit)
			must(t, err)
			if !r.Commit.External {
				t.Error("not an external commit")
			}
		}
		sameEpoch(t, alice, bob, back)
		secretBytes := clone(e.secrets.exporter.bytes())
		if s := fmt.Sprintf("%v %+v", alice, alice); strings.Contains(s, string(secretBytes)) || !strings.Contains(s, "mls.Group(") {
			t.Errorf("prints %q", s)
		}
		alice.Wipe()
		if _, err := alice.Export("x", nil, 1); !errors.Is(err, ErrUsage) {
			t.Errorf("a wiped group: %v", err)
		}
		if e.secrets.exporter.empty() {
			t.Error("the copy was wiped with the group")
		}
	}
}

// The rows that Store was given are enough to go on after a restart, and nothing is used
// before it was stored.
func TestGroupStore(t *testing.T) {
	var epoch []byte
	rows := map[string][]byte{}
	fail := false
	_, groups := trioGroups(t, func(o *Options) {
		o.Store = func(e *Epoch, d Delta) error {
			if fail {
				return errNoPage
			}
			if e.OwnLeaf() == 1 {
				epoch = e.MarshalSecret()
				for _, r := range d {
					rows[string(r.Key)] = r.Value
					if r.Value == nil {
						delete(rows, string(r.Key))
					}
				}
			}
			return nil
		}
	})
	alice, bob := groups[0], groups[1]
	m, err := alice.ProtectAll(nil, [][]byte{[]byte("one"), []byte("two")}, 0)
	must(t, err)
	_, err = bob.Receive(m[0])
	must(t, err)
	restart := func() *Group {
		e, err := ParseEpoch(epoch)
		must(t, err)
		var list []Row
		for k, v := range rows {
			list = append(list, Row{[]byte(k), v})
		}
		r, err := NewRatchets(e, list)
		must(t, err)
		g, err := OpenGroup(bob.options, e, r)
		must(t, err)
		return g
	}
	again := restart()
	if _, err := again.Receive(m[0]); !errors.Is(err, ErrKeyUsed) {
		t.Errorf("replay after a restart: %v", err)
	}
	r, err := again.Receive(m[1])
	must(t, err)
	equal(t, "after a restart", r.Opened.Plaintext, []byte("two"))
	// The key of an own Update is stored, so that a commit which takes it can be followed.
	update, err := again.ProposeUpdate(nil, nil)
	must(t, err)
	_, err = alice.Receive(update)
	must(t, err)
	out, err := alice.Commit(CommitOptions{})
	must(t, err)
	again = restart()
	_, err = again.Receive(update)
	must(t, err)
	_, err = again.Receive(out.Commit)
	must(t, err)
	must(t, alice.Merge())
	sameEpoch(t, alice, again)
	fail = true
	if _, err := alice.Protect(nil, []byte("x"), 0); !errors.Is(err, errNoPage) {
		t.Errorf("a store that fails: %v", err)
	}
	for _, o := range []Options{{}, {Rand: newStream("x")}, {Rand: newStream("x"), Signer: alice.options.Signer, Validator: AcceptAnyCredential, Past: -1}} {
		if _, err := OpenGroup(o, alice.epoch, alice.ratchets); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := OpenGroup(alice.options, alice.epoch, bob.ratchets); !errors.Is(err, ErrUsage) {
		t.Errorf("another's Ratchets: %v", err)
	}
}

// Everything at once, from many goroutines: run with -race. Every message that was
// protected is opened by both others, whatever epoch it fell into.
func TestGroupConcurrent(t *testing.T) {
	_, groups := trioGroups(t, func(o *Options) { o.Past = 100 })
	alice := groups[0]
	const senders, each = 4, 12
	messages := make(chan []byte, senders*each)
	commits := make(chan []byte, each)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for k := range each {
				m, err := alice.Protect(nil, fmt.Appendf(nil, "%d %d", i, k), 0)
				if err != nil {
					t.Error(err)
				}
				messages <- m
				if len(alice.Members()) != 3 || alice.Epoch().Number() == 0 {
					t.Error("members")
				}
				_, _ = alice.Export("x", nil, 16)
			}
		})
	}
	wg.Go(func() {
		for range each {
			out, err := alice.Commit(CommitOptions{Now: time.Time{}})
			if err != nil {
				t.Error(err)
				return
			}
			if err := alice.Merge(); err != nil {
				t.Error(err)
			}
			commits <- out.Commit
		}
	})
	wg.Wait()
	close(messages)
	close(commits)
	for c := range commits {
		for _, g := range groups[1:] {
			_, err := g.Receive(c)
			must(t, err)
		}
	}
	sameEpoch(t, groups...)
	seen := map[string]int{}
	var mu sync.Mutex
	for m := range messages {
		for _, g := range groups[1:] {
			wg.Go(func() {
				r, err := g.Receive(m)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[string(r.Opened.Plaintext)]++
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d messages of %d", len(seen), senders*each)
	}
	for m, n := range seen {
		if n != 2 {
			t.Errorf("%q was opened %d times", m, n)
		}
	}
}
