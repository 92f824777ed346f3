package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// knock asks for a box by hand: an error is how the mailbox answered.
func (w *world) knock(n, office *Node, box wire.BoxID, prove func(payload []byte) *wire.MailProof) error {
	w.Helper()
	if err := n.host.Connect(w.within(time.Minute), peer.AddrInfo{ID: office.host.ID(), Addrs: office.host.Addrs()}); err != nil {
		w.Fatal(err)
	}
	s, err := openStream(w.within(time.Minute), n.host, office.host.ID(), wire.ProtocolMail)
	if err != nil {
		w.Fatal(err)
	}
	f := newFrames(s)
	defer f.close()
	var challenge wire.MailChallenge
	if err := errors.Join(f.write(wire.MailHello{V: wire.Version, Box: box}), f.read(&challenge)); err != nil {
		w.Fatal(err)
	}
	payload := wire.MailProofPayload(box, challenge.Nonce, []byte(n.host.ID()), []byte(office.host.ID()))
	if err := f.write(prove(payload)); err != nil {
		w.Fatal(err)
	}
	_ = f.write(wire.MailRequest{List: &wire.MailList{}}) // it may have hung up
	var reply wire.MailReply
	return f.read(&reply)
}

// TestMailboxStrangers shows a mailbox proofs that fit another stream, another peer or
// another box; only the one that fits is taken.
func TestMailboxStrangers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		n := w.open(1, 0)
		public, secret, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			w.Fatal(err)
		}
		_, other, _ := ed25519.GenerateKey(rand.Reader)
		box := wire.BoxID(public)
		sign := func(k ed25519.PrivateKey, payload []byte) *wire.MailProof {
			return &wire.MailProof{Signature: ed25519.Sign(k, wire.SigningInput(wire.DomainMailbox, wire.GroupID{}, payload))}
		}
		var before *wire.MailProof
		if err := w.knock(n, office, box, func(payload []byte) *wire.MailProof {
			before = sign(secret, payload)
			return before
		}); err != nil {
			w.Fatalf("whoever holds the key: %v", err)
		}
		nonce := [32]byte{1}
		for name, prove := range map[string]func([]byte) *wire.MailProof{
			"another key": func(p []byte) *wire.MailProof { return sign(other, p) },
			"replayed":    func([]byte) *wire.MailProof { return before },
			"another peer": func(p []byte) *wire.MailProof {
				copy(nonce[:], p[32:])
				return sign(secret, wire.MailProofPayload(box, nonce, []byte(office.host.ID()), []byte(office.host.ID())))
			},
			"another mailbox": func(p []byte) *wire.MailProof {
				copy(nonce[:], p[32:])
				return sign(secret, wire.MailProofPayload(box, nonce, []byte(n.host.ID()), []byte(n.host.ID())))
			},
			"false voucher": func(p []byte) *wire.MailProof {
				proof := sign(secret, p)
				proof.Voucher = &wire.MailVoucher{Box: wire.BoxID(other.Public().(ed25519.PublicKey)), Signature: proof.Signature}
				return proof
			},
		} {
			if err := w.knock(n, office, box, prove); !errors.Is(err, io.EOF) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if got := counted(office.metrics.MailRefused); got != 5 {
			w.Errorf("%d refused", got)
		}
		// A listing opens no box, and a node that is no mailbox serves none.
		if st, _ := office.mailbox.status(); st.Boxes != 0 || st.Bytes != 0 {
			w.Errorf("%+v", st)
		}
		if _, err := openStream(w.within(time.Minute), office.host, n.host.ID(), wire.ProtocolMail); err == nil {
			w.Error("a node that is no mailbox took a stream")
		}
	})
}

// lie has a mailbox answer what lies makes of its honest answers; nil hangs up.
func lie(office *Node, lies func(*wire.MailRequest, *wire.MailReply) *wire.MailReply) {
	office.host.SetStreamHandler(wire.ProtocolMail, func(s network.Stream) {
		office.life.start(func(context.Context) {
			f := newFrames(s)
			defer f.abandon()
			var hello wire.MailHello
			var proof wire.MailProof
			if errors.Join(f.read(&hello), f.write(wire.MailChallenge{}), f.read(&proof)) != nil {
				return
			}
			for {
				var r wire.MailRequest
				if f.read(&r) != nil {
					return
				}
				reply, _, err := office.mailbox.answer(time.Now(), &mailCaller{peer: s.Conn().RemotePeer(), box: hello.Box}, &r)
				if err != nil {
					return
				}
				if reply = lies(&r, reply); reply == nil || f.write(reply) != nil {
					return
				}
			}
		})
	})
}

// TestMailboxLies has mailboxes that drop, garble, replay, forget and hang up: nothing
// breaks, nobody is kept busy, and members have it all when they meet.
func TestMailboxLies(t *testing.T) {
	t.Parallel()
	garbage := make([]byte, 32+256+16)
	_, _ = rand.Read(garbage)
	for name, l := range map[string]struct {
		lies    func(*wire.MailRequest, *wire.MailReply) *wire.MailReply
		arrives bool // by the mailbox alone
	}{
		"drops": {func(r *wire.MailRequest, _ *wire.MailReply) *wire.MailReply {
			return &wire.MailReply{Life: 1, Taken: uint64(len(r.Put))}
		}, false},
		"garbles": {func(_ *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			for i := range reply.Items {
				reply.Items[i].Boxed = garbage
			}
			return reply
		}, false},
		"replays": {func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if r.List != nil && r.List.After > 0 && len(reply.Heads) == 0 {
				reply.Heads = []wire.MailHead{{At: 1}}
			}
			return reply
		}, true},
		"never ends": {func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if r.List != nil {
				reply.Heads = []wire.MailHead{{At: 1 << 63}}
			}
			return reply
		}, false},
		"changes lives": {func(_ *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			reply.Life = uint64(time.Now().UnixNano()) //nolint:gosec // after 1970
			return reply
		}, false},
		"hangs up when it has taken": {func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if r.Put != nil {
				return nil
			}
			return reply
		}, true},
		"gives what nobody asked for": {func(_ *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			for i := range reply.Items {
				reply.Items[i].At += 1 << 40
			}
			return reply
		}, false},
		"takes more than there was": {func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if r.Put != nil {
				reply.Taken = wire.MaxMailPut
			}
			return reply
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				office := w.postOffice(0, MailboxConfig{})
				a, b := w.open(1, 0), w.open(2, 0)
				id := w.create(a, "lies")
				w.join(b, id)
				w.assign(a, id, 0)
				w.uses(b, id)
				w.delivered(b, id)
				w.close(2)
				lie(office, l.lies)
				w.send(a, id, "one")
				time.Sleep(10 * time.Minute) // virtual
				w.send(a, id, "two")
				time.Sleep(10 * time.Minute) // virtual
				w.close(1)
				b = w.open(2, 0)
				time.Sleep(20 * time.Minute) // virtual
				if got := w.texts(b, id); len(got) != map[bool]int{true: 2}[l.arrives] {
					w.Errorf("by the mailbox came %q", got)
				}
				if served := counted(office.metrics.MailServed); served > 200 {
					w.Errorf("%d envelopes were fetched", served)
				}
				w.send(b, id, "three")
				a = w.open(1, 0, 2)
				for _, n := range []*Node{a, b} {
					w.shows(n, id, 10*time.Minute, "one", "two", "three")
					w.once(n, id)
				}
			})
		})
	}
}

// TestMailboxVain has a member put much that builds on what nobody has: at each news the
// others fetch a part of it again, and get to all of it when what it needs comes.
func TestMailboxVain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "in vain")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.net.Cut(1, 2)
		w.net.Cut(1, 3)
		w.net.Cut(2, 3)
		w.net.Cut(0, 3)
		want := []string{"the first"}
		w.send(c, id, "the first")
		first := w.postsOf(c, id)
		for i := range 180 {
			want = append(want, fmt.Sprint(i, strings.Repeat("x", 60<<10)))
			w.send(c, id, want[i+1])
		}
		later := w.postsOf(c, id)[len(first):]
		box := w.boxesOf(c, id, office)[0].ID
		put := func(posts []pendingPut) {
			for _, p := range posts {
				e, err := c.store.Get(c.groups.get(id).mail.keys.pending(p))
				if err != nil {
					w.Fatal(err)
				}
				if reply, _, err := office.mailbox.answer(time.Now(), &mailCaller{peer: c.host.ID(), box: box}, &wire.MailRequest{Put: [][]byte{wire.Boxed(e)}}); err != nil || reply.Code != wire.MailDone {
					w.Fatal(reply, err)
				}
			}
		}
		put(later)
		time.Sleep(10 * time.Minute) // virtual: all is read
		want = append(want, "news")
		w.send(a, id, "news")
		w.delivered(a, id)
		all := uint64(0)
		for range 5 {
			before := counted(b.metrics.MailGot)
			time.Sleep(mailEvery * 5 / 8) // virtual: one visit at most
			got := counted(b.metrics.MailGot) - before
			if all += got; got > 150 {
				w.Errorf("%d envelopes were fetched in one visit", got)
			}
		}
		if all < 181 {
			w.Errorf("%d envelopes were fetched at one news", all)
		}
		put(first)
		w.shows(b, id, time.Hour, want...)
	})
}

// postsOf is what waits at a node to be put.
func (w *world) postsOf(n *Node, id wire.GroupID) []pendingPut {
	w.Helper()
	all, err := n.groups.get(id).mail.pending()
	if err != nil {
		w.Fatal(err)
	}
	return all
}
