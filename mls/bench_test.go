package mls

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/dh/x25519"
)

// benchGroup is a group of n: member 0 added the others. If warm, every parent node
// is filled; that is done with secrets known to nobody but the tree.
func benchGroup(b *testing.B, n int, warm bool) (alice, bob *client, welcome *CommitResult) {
	b.Helper()
	alice, bob = newClient(b, 1, "alice"), newClient(b, 1, "bob")
	alice.create("bench")
	proposals := []Proposal{Add{bob.kp}}
	clients := []*client{alice, bob}
	for i := 2; i < n; i++ {
		c := newClient(b, 1, fmt.Sprint("member ", i))
		clients = append(clients, c)
		proposals = append(proposals, Add{c.kp})
	}
	welcome = alice.commit(CommitConfig{Proposals: proposals})
	alice.move(welcome)
	bob.join(welcome)
	if !warm {
		return alice, bob, welcome
	}
	// Fill the tree from every second leaf on, bottom up, by real commits.
	for i := n - 1; i >= 1; i -= 2 {
		c := clients[i]
		if c != bob {
			// The member's state is bob's with its own leaf key: enough to commit.
			e := *bob.e
			e.own, e.keys = LeafIndex(i), pathKeys{LeafIndex(i).node(): c.secrets.leafKey}
			c.e = &e
		}
		out := c.commit(CommitConfig{})
		alice.process(out.Commit)
		if c == bob {
			bob.move(out)
		} else {
			bob.process(out.Commit)
		}
	}
	return alice, bob, welcome
}

func BenchmarkFloor(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	message := make([]byte, 256)
	sig := ed25519.Sign(key, message)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			ed25519.Sign(key, message)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(key.Public().(ed25519.PublicKey), message, sig)
		}
	})
	b.Run("x25519", func(b *testing.B) {
		var sk, pk, out x25519.Key
		sk[0] = 9
		x25519.KeyGen(&pk, &sk)
		for b.Loop() {
			x25519.Shared(&out, &sk, &pk)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	alice, _, _ := benchGroup(b, 10, false)
	message := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := alice.r.Seal(alice.rand, alice.signer, nil, message, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	alice, bob, _ := benchGroup(b, 10, false)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m := alice.seal("0123456789012345678901234567890123456789012345678901234567890123456789")
		b.StartTimer()
		if _, _, err := bob.r.Open(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, n := range []int{100, 1000} {
		for _, warm := range []bool{true, false} {
			alice, bob, welcome := benchGroup(b, n, warm)
			name := fmt.Sprintf("n=%d/fresh", n)
			if warm {
				name = fmt.Sprintf("n=%d/warm", n)
			}
			b.Run("commit/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					alice.commit(CommitConfig{})
				}
			})
			b.Run("process/"+name, func(b *testing.B) {
				out := alice.commit(CommitConfig{})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); err != nil {
						b.Fatal(err)
					}
				}
			})
			if !warm {
				b.Run("join/"+name, func(b *testing.B) {
					bob.t = b
					for b.Loop() {
						bob.join(welcome)
					}
				})
			}
		}
	}
}
