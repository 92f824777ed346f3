package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// postOffice opens node i as a mailbox.
func (w *world) postOffice(i int, cfg MailboxConfig, bootstrap ...int) *Node {
	w.Helper()
	w.set[i] = func(c *Config) { c.Mailbox = &cfg }
	return w.open(i, bootstrap...)
}

// assign has a group use a mailbox, and waits until the node that says so has been there.
func (w *world) assign(n *Node, id wire.GroupID, box int) {
	w.Helper()
	if err := n.AddMailbox(w.within(time.Minute), id, w.net.AddrInfo(box)); err != nil {
		w.Fatal(err)
	}
	w.delivered(n, id)
}

// delivered waits until a node has put all that waits.
func (w *world) delivered(n *Node, id wire.GroupID) {
	w.Helper()
	var all []GroupMailbox
	defer func() {
		if w.Failed() {
			w.Logf("%s: %+v", n.Device().Cert.Name, all)
		}
	}()
	w.eventually(n, 20*time.Minute, "all is in the mailbox", func() bool {
		var err error
		if all, err = n.Mailboxes(w.Context(), id); err != nil {
			w.Fatal(err)
		}
		return len(all) > 0 && !slices.ContainsFunc(all, func(m GroupMailbox) bool { return m.Waiting > 0 || m.Reached.IsZero() || m.Err != nil })
	})
}

// uses waits until a node knows that the group has a mailbox.
func (w *world) uses(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, 5*time.Minute, "knows of the mailbox", func() bool {
		all, err := n.Mailboxes(w.Context(), id)
		return err == nil && len(all) == 1
	})
}

// wipe has mailbox i lose its store, and waits until a member has told it again.
func (w *world) wipe(i int, member *Node, id wire.GroupID) {
	w.Helper()
	w.close(i)
	if err := os.RemoveAll(w.home(i)); err != nil {
		w.Fatal(err)
	}
	office := w.postOffice(i, MailboxConfig{})
	w.eventually(member, 2*time.Hour, "it is told again", func() bool {
		time.AfterFunc(time.Second, member.changed.wake)
		st, _ := office.Mailbox()
		return st.Envelopes > 0
	})
	w.delivered(member, id)
}

// report is all that a node's machine tells.
func (w *world) report(n *Node, id wire.GroupID) group.Report {
	w.Helper()
	r, err := n.Report(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// TestMailbox has two members talk who are never online together: by a mailbox, which
// is no member, and which nobody outside the group learns of.
func TestMailbox(t *testing.T) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "never together")
		w.join(b, id)
		w.send(a, id, "together")
		w.shows(b, id, time.Minute, "together")
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		if err := b.AddMailbox(w.Context(), id, w.net.AddrInfo(1)); !errors.Is(err, group.ErrNotPermitted) {
			w.Fatalf("a member chose a mailbox: %v", err)
		}
		if err := a.AddMailbox(w.Context(), id, w.net.AddrInfo(0)); !errors.Is(err, ErrExists) {
			w.Fatalf("a mailbox was added twice: %v", err)
		}
		w.eventually(a, 10*time.Minute, "the mailbox is found in the DHT", func() bool {
			found, err := a.FindMailboxes(w.within(time.Minute))
			if err != nil {
				w.Fatal(err)
			}
			for p := range found {
				if p.ID == office.host.ID() {
					return true
				}
			}
			time.AfterFunc(time.Second, a.changed.wake)
			return false
		})
		w.eventually(a, 5*time.Minute, "published", func() bool {
			st, ok := a.publisher.Status(id)
			time.AfterFunc(time.Second, a.changed.wake)
			return ok && st.State == discovery.Published
		})
		if record := a.known.Get(id).Bytes(); !bytes.Contains(record, []byte("never together")) || bytes.Contains(record, []byte(office.host.ID())) {
			w.Fatalf("the public record tells of the mailbox: %x", record)
		}
		w.close(2)
		all := []string{"together"}
		for i := range 3 {
			text := fmt.Sprintf("a %d", i)
			w.send(a, id, text)
			all = append(all, text)
			w.delivered(a, id)
			w.close(1)
			b = w.open(2, 0)
			w.shows(b, id, 10*time.Minute, all...)
			text = fmt.Sprintf("b %d", i)
			w.send(b, id, text)
			all = append(all, text)
			w.delivered(b, id)
			w.close(2)
			time.Sleep(time.Hour) // virtual
			a = w.open(1, 0)
			w.shows(a, id, 10*time.Minute, all...)
		}
		w.once(a, id)
		st, ok := office.Mailbox()
		if !ok || st.Boxes != 1 || st.Envelopes < 6 || st.Bytes <= 0 || len(office.Groups()) != 0 {
			w.Fatalf("%+v, in the groups %v", st, office.Groups())
		}
		// What it keeps does not tell of which public group it is.
		tag, kept := id.TopicTag(), 0
		if err := office.store.Scan([]byte(keyBoxMail), func(_, value []byte) error {
			if kept++; bytes.Contains(value, tag[:]) {
				w.Errorf("an envelope shows its topic")
			}
			return nil
		}); err != nil || kept != st.Envelopes {
			w.Fatalf("%d of %d are kept, %v", kept, st.Envelopes, err)
		}
		if n := counted(office.metrics.MailTaken); n != uint64(st.Envelopes) {
			w.Fatalf("%d taken, %d kept", n, st.Envelopes)
		}

		// Both online: gossip brings it, and nothing is fetched.
		b = w.open(2, 0, 1)
		if err := b.Wait(w.within(10*time.Minute), LevelSynced); err != nil {
			w.Fatal(err)
		}
		time.Sleep(5 * time.Minute) // virtual: the first visits
		served := counted(office.metrics.MailServed)
		for range 5 {
			all = append(all, "at once")
			w.send(a, id, "at once")
		}
		w.shows(b, id, time.Minute, all...)
		w.delivered(a, id)
		time.Sleep(10 * time.Minute) // virtual
		if now := counted(office.metrics.MailServed); now != served {
			w.Fatalf("%d envelopes were fetched that gossip had brought", now-served)
		}
	})
}

// TestMailboxCrash kills a sender at each boundary of the Readies that a message makes
// necessary. Whatever it had accepted gets to the other by the mailbox alone.
func TestMailboxCrash(t *testing.T) {
	inWorld(t, func(w *world) {
		var f fuse
		w.crash[1] = f.pass
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "crashes")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		crashes := 0
		var acknowledged []string
		for _, at := range boundaries {
			for nth := 1; nth <= 2; nth++ {
				text := fmt.Sprintf("%s %d", at, nth)
				blown := f.light(at, nth)
				sent := make(chan error, 1)
				go func() {
					_, err := a.Send(context.Background(), id, wire.Content{MediaType: "text/plain", Data: []byte(text)})
					sent <- err
				}()
				select {
				case <-blown:
					crashes++
				case <-time.After(time.Minute): // virtual: fewer Readies than that
				}
				w.close(1)
				f.out()
				if err := <-sent; err == nil {
					acknowledged = append(acknowledged, text)
				}
				a = w.open(1, 0)
			}
		}
		if crashes < len(boundaries) || len(acknowledged) == 0 {
			w.Fatalf("%d crashes, %d acknowledged: the test does not test", crashes, len(acknowledged))
		}
		w.delivered(a, id)
		want := w.texts(a, id)
		for _, text := range acknowledged {
			if !contains(want, text) {
				w.Errorf("%q was acknowledged and is lost", text)
			}
		}
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		w.once(b, id)
		w.Logf("%d crashes, %d messages, %d acknowledged", crashes, len(want), len(acknowledged))
	})
}

// boxesOf are a node's boxes of a group at a mailbox.
func (w *world) boxesOf(n *Node, id wire.GroupID, mailbox *Node) (out []group.Box) {
	w.Helper()
	if err := n.hosting(id).loop.look(w.Context(), func(m *group.Machine) error {
		out = m.Boxes([]byte(mailbox.host.ID()))
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

// TestMailboxRotation removes two members, one after the other, while another is away:
// it comes back to a mailbox alone, reads the old box, finds the key to the next there,
// and so on. The removed can neither read nor write that. It makes no difference if the
// mailbox has lost its store in between.
func TestMailboxRotation(t *testing.T) {
	t.Run("kept", func(t *testing.T) { testMailboxRotation(t, false) })
	t.Run("lost", func(t *testing.T) { testMailboxRotation(t, true) })
}

func testMailboxRotation(t *testing.T, lost bool) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b, c, d := w.open(1, 0), w.open(2, 0), w.open(3, 0), w.open(4, 0)
		id := w.create(a, "rotations")
		for _, n := range []*Node{b, c, d} {
			w.join(n, id)
		}
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c, d} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		keys := map[wire.KeyID]bool{w.report(a, id).SendKey: true}
		for i, gone := range []*Node{c, d} {
			if err := a.Remove(w.within(time.Minute), id, gone.Device().User); err != nil {
				w.Fatal(err)
			}
			w.eventually(a, 5*time.Minute, "another transport key", func() bool {
				st, err := a.GroupStatus(w.Context(), id)
				return err == nil && st.Members == 3-i && st.State == group.StateMember && !keys[w.report(a, id).SendKey]
			})
			keys[w.report(a, id).SendKey] = true
			w.send(a, id, fmt.Sprint("after removal ", i))
			w.delivered(a, id)
		}
		newest := w.boxesOf(a, id, office)
		box := newest[len(newest)-1]
		if len(newest) != 3 || len(keys) != 3 {
			w.Fatalf("%d boxes, %d keys: the test does not test", len(newest), len(keys))
		}
		w.eventually(c, 10*time.Minute, "out", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		for _, gone := range []*Node{c, d} {
			held := w.boxesOf(gone, id, office)
			if len(held) == 0 || slices.ContainsFunc(held, func(o group.Box) bool { return o.ID == box.ID }) {
				w.Fatalf("a removed member holds %v, the members use %v", held, box)
			}
			// It knows the box's name all the same, and proves with what it has.
			var proof wire.MailProof
			if err := w.knock(gone, office, box.ID, func(payload []byte) *wire.MailProof {
				_ = gone.hosting(id).loop.look(w.Context(), func(m *group.Machine) error {
					proof.Signature, _ = m.ProveBox(held[0].Key, []byte(office.host.ID()), payload)
					return nil
				})
				return &proof
			}); !errors.Is(err, io.EOF) {
				w.Fatalf("a removed member at the new box: %v", err)
			}
		}
		if lost {
			w.close(3)
			w.close(4)
			w.wipe(0, a, id)
		}
		want, st := w.texts(a, id), w.report(a, id)
		for _, i := range []int{1, 3, 4} {
			w.close(i)
		}
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		if got := w.report(b, id); got.SendKey != st.SendKey {
			w.Fatalf("it sends under %x, the others under %x", got.SendKey, st.SendKey)
		}
		w.send(b, id, "I am back")
		w.delivered(b, id)
		w.close(2)
		a = w.open(1, 0)
		w.shows(a, id, 10*time.Minute, append(want, "I am back")...)
	})
}

// knock asks for a box by hand: an error is how the mailbox answered.
func (w *world) knock(n, office *Node, box wire.BoxID, prove func(payload []byte) *wire.MailProof) error {
	w.Helper()
	if err := n.host.Connect(w.within(time.Minute), peer.AddrInfo{ID: office.host.ID(), Addrs: office.host.Addrs()}); err != nil {
		w.Fatal(err)
	}
	s, err := n.openStream(w.within(time.Minute), office.host.ID(), wire.ProtocolMail)
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
		if st, _ := office.Mailbox(); st.Boxes != 0 || st.Bytes != 0 {
			w.Errorf("%+v", st)
		}
		if _, err := office.openStream(w.within(time.Minute), n.host.ID(), wire.ProtocolMail); err == nil {
			w.Error("a node that is no mailbox took a stream")
		}
	})
}

// envelopeOf is some boxed envelope of about a size, for a mailbox to keep.
func envelopeOf(t *testing.T, size int) []byte {
	t.Helper()
	key := make([]byte, wire.TransportKeyLen)
	_, _ = rand.Read(key)
	e, err := wire.SealEnvelope(rand.Reader, wire.GroupID{1}, key, &wire.Bundle{Seals: [][]byte{make([]byte, size)}})
	if err != nil {
		t.Fatal(err)
	}
	return wire.Boxed(e)
}

// TestMailboxLimits fills boxes and a mailbox, lets what is in them get old, and
// restarts in between: the counts are those of what is there.
func TestMailboxLimits(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{Quota: 100 << 10, BoxQuota: 40 << 10, Lifetime: time.Hour}
		office := w.postOffice(0, cfg)
		now := time.Now()
		at := func(box byte, opener string) *mailCaller {
			return &mailCaller{peer: peer.ID(opener), box: wire.BoxID{box}}
		}
		put := func(c *mailCaller, e ...[]byte) *wire.MailReply {
			reply, _, err := office.mailbox.answer(now, c, &wire.MailRequest{Put: e})
			if err != nil {
				w.Fatal(err)
			}
			if st, _ := office.Mailbox(); st.Bytes > cfg.Quota {
				w.Fatalf("%+v", st)
			}
			return reply
		}
		var some [][]byte
		for range 8 {
			some = append(some, envelopeOf(t, 8<<10))
		}
		first := put(at(1, "a"), some...)
		if first.Code != wire.MailFull || first.Taken != 4 || first.Life == 0 {
			w.Fatalf("a box of 40 KiB: %+v", first)
		}
		if r := put(at(1, "b"), some[:4]...); r.Code != wire.MailDone || r.Taken != 4 || r.Life != first.Life {
			w.Fatalf("again the same: %+v", r)
		}
		if r := put(at(2, "a"), some...); r.Taken != 4 {
			w.Fatalf("another box: %+v", r)
		}
		if r := put(at(3, "a"), some...); r.Code != wire.MailFull || r.Taken >= 4 {
			w.Fatalf("a third box, in a mailbox of 100 KiB: %+v", r)
		}
		if _, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{Put: [][]byte{[]byte("no envelope")}}); !errors.Is(err, errProtocol) {
			w.Fatalf("no envelope: %v", err)
		}
		before, _ := office.Mailbox()
		w.close(0)
		office = w.postOffice(0, cfg)
		if after, _ := office.Mailbox(); after != before {
			w.Fatalf("before the restart %+v, after it %+v", before, after)
		}
		list, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{List: &wire.MailList{After: 1}})
		if err != nil || len(list.Heads) != 3 || list.Heads[0].At != 2 {
			w.Fatalf("%+v, %v", list, err)
		}
		got, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{Fetch: []uint64{2, 4, 9}})
		if err != nil || len(got.Items) != 2 || !bytes.Equal(got.Items[0].Boxed, some[1]) || !bytes.Equal(got.Items[1].Boxed, some[3]) {
			w.Fatalf("%v, %v", got, err)
		}
		// Half of a box gets old, then all of everything.
		if err := office.mailbox.sweep(now.Add(59 * time.Minute)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.Mailbox(); st != before {
			w.Fatalf("%+v went too early", st)
		}
		now = now.Add(30 * time.Minute)
		small := envelopeOf(t, 100)
		if r := put(at(1, "a"), small); r.Taken != 1 {
			w.Fatalf("%+v", r)
		}
		if err := office.mailbox.sweep(now.Add(31 * time.Minute)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.Mailbox(); st.Boxes != 3 || st.Envelopes != 1 || st.Bytes != int64(len(small))+4*mailOverhead {
			w.Fatalf("%+v", st)
		}
		if r := put(at(1, "a"), some[0]); r.Taken != 1 || r.Life != first.Life {
			w.Fatalf("%+v", r)
		}
		if err := office.mailbox.sweep(now.Add(2 * time.Hour)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.Mailbox(); st.Boxes != 1 || st.Envelopes != 0 || st.Bytes != mailOverhead {
			w.Fatalf("%+v", st)
		}
		if err := office.mailbox.sweep(now.Add(2*time.Hour + time.Second)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.Mailbox(); st.Boxes != 0 || st.Envelopes != 0 || st.Bytes != 0 {
			w.Fatalf("%+v", st)
		}
		if r := put(at(1, "a"), some[0]); r.Taken != 1 || r.Life == first.Life {
			w.Fatalf("a box anew: %+v", r)
		}
		// One peer opens so many boxes, and another still may.
		for i := range maxBoxesOf {
			put(at(byte(100+i), "greedy"), envelopeOf(t, 10))
		}
		if r := put(at(99, "greedy"), small); r.Code != wire.MailFull || r.Taken != 0 {
			w.Fatalf("a box too many: %+v", r)
		}
		if r := put(at(99, "modest"), small); r.Code != wire.MailDone {
			w.Fatalf("%+v", r)
		}
	})
}

// TestMailboxFull has a mailbox run out of room: what it does not take waits, and goes
// there when there is room again.
func TestMailboxFull(t *testing.T) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{BoxQuota: 1 << 20, Lifetime: 2 * time.Hour})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "much to say")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		for i := range 40 {
			w.send(a, id, fmt.Sprint("message ", i, strings.Repeat(" and so on", 6000)))
		}
		w.eventually(a, 10*time.Minute, "it is full", func() bool {
			all, err := a.Mailboxes(w.Context(), id)
			return err == nil && errors.Is(all[0].Err, errMailFull) && all[0].Waiting > 0
		})
		if st, _ := office.Mailbox(); st.Bytes > 1<<20+mailOverhead {
			w.Fatalf("%+v", st)
		}
		b = w.open(2, 0, 1) // they meet, before what is there goes
		w.shows(b, id, 10*time.Minute, w.texts(a, id)...)
		time.Sleep(8 * time.Hour) // virtual: it fills and empties some times
		w.delivered(a, id)
		w.once(b, id)
	})
}

// TestMailboxAllow has a mailbox open boxes for one peer alone: the other members of
// its group use them, and open the next after a removal while that one is away; a
// stranger opens none.
func TestMailboxAllow(t *testing.T) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Allow: []peer.ID{w.net.PeerID(1)}})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "by appointment")
		w.join(b, id)
		w.join(c, id)
		if err := a.SetRole(w.within(time.Minute), id, b.Device().User, wire.RoleAdmin); err != nil {
			w.Fatal(err)
		}
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(1)
		old := w.report(b, id).SendKey
		if err := b.Remove(w.within(time.Minute), id, c.Device().User); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "another transport key", func() bool { return w.report(b, id).SendKey != old })
		w.send(b, id, "without him")
		w.delivered(b, id)
		if st, _ := office.Mailbox(); st.Boxes != 2 {
			w.Fatalf("%+v", st)
		}
		foreign := w.create(c, "nobody asked")
		w.assign(c, foreign, 0) // there is nothing to put yet
		w.send(c, foreign, "hello?")
		w.eventually(c, 10*time.Minute, "refused", func() bool {
			all, err := c.Mailboxes(w.Context(), foreign)
			return err == nil && errors.Is(all[0].Err, errMailClosed) && all[0].Waiting > 0
		})
		w.close(2)
		a = w.open(1, 0)
		w.shows(a, id, 10*time.Minute, "without him")
	})
}

// TestMailboxBacklog has what was written before its author knew of the mailbox, what
// a mailbox has lost, and what was too much to wait, get there all the same.
func TestMailboxBacklog(t *testing.T) {
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "late")
		w.join(b, id)
		w.join(c, id)
		w.net.Partition([]int{3}, []int{0, 1, 2})
		w.send(c, id, "alone")
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		w.net.HealAll()
		w.uses(c, id)
		w.delivered(c, id)
		w.close(3)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "alone")
		w.close(2)

		// The mailbox loses its store.
		a = w.open(1, 0)
		w.send(a, id, "kept twice")
		w.delivered(a, id)
		w.wipe(0, a, id)

		// It is away while more is written than may wait.
		w.close(0)
		x := a.hosting(id).mailer
		x.mu.Lock()
		x.maxPosts = 4
		x.mu.Unlock()
		want := []string{"alone", "kept twice"}
		for i := range 12 {
			want = append(want, fmt.Sprint("much ", i))
			w.send(a, id, want[len(want)-1])
		}
		time.Sleep(2 * time.Hour) // virtual
		if all, err := a.hosting(id).mailer.posted(); err != nil || len(all) > 4 {
			w.Fatalf("%d wait, %v", len(all), err)
		}
		w.postOffice(0, MailboxConfig{}, 1)
		time.Sleep(10 * time.Minute) // virtual
		w.delivered(a, id)
		for i := range 12 { // more than may wait for one visit
			want = append(want, fmt.Sprint("at once ", i))
			w.send(a, id, want[len(want)-1])
		}
		time.Sleep(2 * time.Hour) // virtual
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		w.once(b, id)
	})
}

// TestMailboxOutOfOrder brings a message to the mailbox before the one that it builds
// upon, and restarts the reader in between: what it could not use yet it reads again.
func TestMailboxOutOfOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "out of order")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		w.net.Cut(0, 1) // a does not get to the mailbox, c does
		w.net.Cut(1, 2)
		w.send(a, id, "first")
		w.shows(c, id, 10*time.Minute, "first")
		w.send(c, id, "second")
		w.delivered(c, id)
		w.close(3)
		b = w.open(2, 0)
		w.eventually(b, 10*time.Minute, "it waits for the first", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.Parked > 0
		})
		time.Sleep(10 * time.Minute) // virtual: it has read to the end
		if got := w.texts(b, id); len(got) != 0 {
			w.Fatalf("it shows %q", got)
		}
		w.close(2)
		w.net.HealAll()
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "first", "second")
	})
}

// TestTwoMailboxes has a group use two, of which one takes streams and says nothing:
// what is published gets to the other at once, however often, and to that one when it
// is itself again, however much is published meanwhile.
func TestTwoMailboxes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		hangs := w.postOffice(2, MailboxConfig{}, 0)
		a, b := w.open(1, 0), w.open(3, 0)
		id := w.create(a, "two")
		w.join(b, id)
		w.assign(a, id, 0)
		w.assign(a, id, 2)
		w.close(3)
		hangs.host.SetStreamHandler(wire.ProtocolMail, func(s network.Stream) {
			hangs.life.start(func(ctx context.Context) {
				<-ctx.Done()
				_ = s.Reset()
			})
		})
		waiting := func(i int) int {
			all, err := a.Mailboxes(w.Context(), id)
			if err != nil || len(all) != 2 {
				w.Fatal(all, err)
			}
			return all[i].Waiting
		}
		time.Sleep(10 * time.Minute) // virtual: it is noticed
		late := 0
		for range 100 {
			w.send(a, id, "on and on")
			time.Sleep(2 * time.Second) // virtual
			if waiting(0) > 0 {
				late++
			}
		}
		if late > 20 || waiting(1) < 100 {
			w.Fatalf("%d of 100 were late at the one, %d wait for the other", late, waiting(1))
		}
		hangs.serveStreams()
		for range 300 {
			w.send(a, id, "on and on")
			time.Sleep(2 * time.Second) // virtual
			if waiting(1) <= 1 {
				return
			}
		}
		w.Fatalf("%d wait for the one that is itself again", waiting(1))
	})
}

// TestMailboxLeave leaves a group whose other member is away: the mailbox keeps the
// last word too.
func TestMailboxLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "farewell")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(1)
		if waits, err := b.Leave(w.within(time.Minute), id); err != nil || waits {
			w.Fatalf("waits %v, %v", waits, err)
		}
		w.eventually(b, 10*time.Minute, "all is in the mailbox", func() bool {
			all, err := b.hosting(id).mailer.posted()
			return err == nil && len(all) == 0
		})
		w.close(2)
		a = w.open(1, 0)
		w.eventually(a, 10*time.Minute, "alone", func() bool {
			st, err := a.GroupStatus(w.Context(), id)
			return err == nil && st.Members == 1
		})
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
		}, false},
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

// counted reads a counter.
func counted(c prometheus.Counter) uint64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return uint64(m.GetCounter().GetValue())
}
