package mls

import (
	"fmt"
	"testing"
)

// warmGroup gives a group of n members in which every parent node is filled, as after
// many commits: each node belongs to the last leaf below it, whose path it was on. That
// takes one key pair per node, where real commits would take a path each. A member's
// client comes from the function it gives.
func warmGroup(t testing.TB, n int) (member func(i LeafIndex) *client) {
	t.Helper()
	s := suites[0]
	rand := newStream("warm")
	tr := newTree(s)
	clients := make([]*client, n)
	leafKeys := make([]secret, n)
	groupID := []byte("warm")
	for i := range clients {
		c := &client{t: t, name: fmt.Sprint("member ", i), rand: newStream(fmt.Sprint(i)), suite: 1}
		var err error
		c.signer, err = NewSignatureKey(1, rand)
		must(t, err)
		var leaf *LeafNode
		leaf, leafKeys[i], err = newKeyPackageLeaf(rand, s, KeyPackageConfig{Suite: 1, Credential: BasicCredential([]byte(c.name)), Signer: c.signer})
		must(t, err)
		_, err = tr.add(leaf)
		must(t, err)
		clients[i] = c
	}
	keys := pathKeys{}
	seed := make([]byte, 32)
	var fill func(n *node, x nodeIndex, above []byte, chained bool)
	fill = func(n *node, x nodeIndex, above []byte, chained bool) {
		switch {
		case x.isLeaf():
			if chained {
				l := *n.leaf.decode()
				l.Source, l.ParentHash, l.NotBefore, l.NotAfter = LeafFromCommit, above, 0, 0
				signed, err := l.signed(s, clients[x.leaf()].signer, groupID, x.leaf())
				must(t, err)
				n.leaf = pack(signed)
			}
		case n.right.members == 0:
			fill(n.left, x.left(), above, chained)
		default:
			fill(n.left, x.left(), seed, n.left.members > 1)
			_, _ = rand.Read(seed)
			private, public, err := s.kem.deriveKeyPair(seed)
			must(t, err)
			keys[x] = private
			n.parent = &parentNode{encryptionKey: public, parentHash: clone(above)}
			fill(n.right, x.right(), s.parentHash(n.parent, n.left.treeHash(s, x.left())), true)
		}
	}
	fill(tr.root, tr.rootIndex(), nil, true)
	ctx := &groupContext{suite: s, groupID: groupID, epoch: 7, treeHash: tr.freeze()}
	must(t, tr.reindex(nil))
	return func(i LeafIndex) *client {
		c := clients[i]
		own := pathKeys{i.node(): leafKeys[i].clone()}
		for x := i.node(); x != tr.rootIndex(); {
			x = x.parent()
			if k, ok := keys[x]; ok {
				own[x] = k.clone()
			}
		}
		c.e = &Epoch{ctx: ctx, context: ctx.bytes(), tree: tr, own: i, keys: own}
		epochSecret := newSecret(make([]byte, 32))
		var encryption secret
		c.e.secrets, encryption = s.expandEpoch(epochSecret)
		c.e.confirmationTag = s.mac(c.e.secrets.confirmation, ctx.confirmedTranscript)
		c.e.interim = s.interimTranscript(ctx.confirmedTranscript, c.e.confirmationTag)
		c.r = newRatchets(c.e, encryption)
		return c
	}
}

// freshGroup gives a group in which member 0 added the other n-1 at once, with the
// Welcome that member 1 joined by.
func freshGroup(t testing.TB, n int) (alice, bob *client, welcome *CommitResult) {
	t.Helper()
	alice, bob = newClient(t, 1, "alice"), newClient(t, 1, "bob")
	alice.create("fresh")
	proposals := []Proposal{Add{bob.kp}}
	for i := 2; i < n; i++ {
		proposals = append(proposals, Add{newClient(t, 1, fmt.Sprint("member ", i)).kp})
	}
	welcome = alice.commit(CommitConfig{Proposals: proposals})
	alice.move(welcome)
	bob.join(welcome)
	return alice, bob, welcome
}

// The warm group of the benchmarks is a real one: every node is filled, everything that a
// joiner verifies holds, and its members understand each other.
func TestWarmGroup(t *testing.T) {
	for _, n := range []int{2, 5, 64, 100} {
		member := warmGroup(t, n)
		alice, bob, carol := member(0), member(1), member(LeafIndex(n-1))
		must(t, alice.e.tree.checkJoined(alice.e.ctx, AcceptAnyCredential))
		alice.e.tree.root.each(alice.e.tree.rootIndex(), func(x nodeIndex, n *node) {
			if !x.isLeaf() && n.right.members > 0 && n.parent == nil {
				t.Errorf("node %d is blank", x)
			}
		})
		out := alice.commit(CommitConfig{})
		members := []*client{alice, bob}
		if n > 2 {
			members = append(members, carol)
		}
		for _, c := range members[1:] {
			c.process(out.Commit)
		}
		alice.move(out)
		agree(t, members...)
		talk(t, members...)
	}
}

// A commit changes its path in a warm tree, and so only the path is checked and stored: the
// number of nodes grows with log n.
func TestCommitTouchesItsPath(t *testing.T) {
	for _, n := range []int{64, 1024} {
		member := warmGroup(t, n)
		alice, bob := member(0), member(LeafIndex(n-1))
		before := bob.e.tree
		out := alice.commit(CommitConfig{})
		bob.process(out.Commit)
		visited := 0
		bob.e.tree.differences(before, func(nodeIndex, *node, *node) { visited++ })
		if height := bob.e.tree.rootIndex().level(); visited != height+1 {
			t.Errorf("%d members: %d nodes changed, want %d", n, visited, height+1)
		}
		if x := bob.e.tree.index; len(x.added)+len(x.gone) > 4*visited {
			t.Errorf("%d members: index differs in %d places", n, len(x.added)+len(x.gone))
		}
	}
}
