package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// TestStrangerSeesNoGroup runs the opener's half by hand against a member and
// against a node without the group: both show a hello and then the end, whatever
// proof the stranger brings.
func TestStrangerSeesNoGroup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		member := w.open(0)
		nobody, stranger := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(member, "members only")
		for _, n := range []*Node{member, nobody} {
			if err := stranger.host.Connect(w.within(time.Minute), w.net.AddrInfo(map[*Node]int{member: 0, nobody: 1}[n])); err != nil {
				w.Fatal(err)
			}
		}
		own := stranger.me.device.Raw
		stolen := member.me.device.Raw // the certificate of a member, over another peer's stream
		garbled := own
		garbled.Signature = bytes.Repeat([]byte{1}, 64)
		for name, cert := range map[string]wire.Signed{"own": own, "stolen": stolen, "garbled": garbled} {
			for _, n := range []*Node{member, nobody} {
				s, err := stranger.host.NewStream(w.within(time.Minute), n.host.ID(), wire.ProtocolSync)
				if err != nil {
					w.Fatal(err)
				}
				f := newFrames(s)
				hello := newHello(id)
				if err := f.write(hello); err != nil {
					w.Fatal(err)
				}
				var answer wire.SyncHello
				if err := f.read(&answer); err != nil {
					w.Fatalf("%s: %v", name, err)
				}
				if answer.Topic != hello.Topic || answer.Nonce == hello.Nonce || answer.Nonce == [32]byte{} {
					w.Fatalf("%s: hello %+v", name, answer)
				}
				proof := wire.SyncProof{Cert: cert}
				_, _ = rand.Read(proof.MAC[:])
				if err := f.write(proof); err != nil {
					w.Fatal(err)
				}
				if rest, err := io.ReadAll(s); err != nil || len(rest) != 0 {
					w.Fatalf("%s, %s: %d bytes, %v", name, n.Device().Cert.Name, len(rest), err)
				}
				_ = s.Close()
			}
		}

		// The member's verdict.
		g := member.groups.get(id)
		peerID := stranger.host.ID()
		ends := proofEnds{newHello(id), newHello(id), []byte(peerID), []byte(member.host.ID())}
		for want, cert := range map[error]wire.Signed{errNotMember: own, identity.ErrForged: stolen} {
			if _, err := verify(w.Context(), g, wire.SyncProof{Cert: cert}, roleOpener, ends, peerID); !errors.Is(err, want) {
				w.Fatalf("got %v, wants %v", err, want)
			}
		}
	})
}

// A removed member comes back with a device of a user that nobody knows, and the
// transport key of before, as a member of another branch would: it learns nothing.
func TestRemovedMemberUnderAnotherName(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, c, other := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea")
		w.join(c, id)
		w.send(a, id, "before")
		w.shows(c, id, time.Minute, "before")
		var old wire.KeyID
		look := func(n *Node, f func(m *group.Machine)) {
			w.Helper()
			if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error { f(m); return nil }); err != nil {
				w.Fatal(err)
			}
		}
		look(c, func(m *group.Machine) { old, _ = m.Transport().Key() })
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(a, time.Minute, "a new transport key", func() (is bool) {
			look(a, func(m *group.Machine) { key, _ := m.Transport().Key(); is = key != old })
			return is
		})
		w.send(a, id, "after")

		if err := other.host.Connect(w.within(time.Minute), w.net.AddrInfo(0)); err != nil {
			w.Fatal(err)
		}
		s, err := other.host.NewStream(w.within(time.Minute), a.host.ID(), wire.ProtocolSync)
		if err != nil {
			w.Fatal(err)
		}
		f := newFrames(s)
		hello := newHello(id)
		var answer wire.SyncHello
		if err := errors.Join(f.write(hello), f.read(&answer)); err != nil {
			w.Fatal(err)
		}
		proof := wire.SyncProof{Cert: other.me.device.Raw, Key: old}
		look(c, func(m *group.Machine) {
			proof.MAC, _ = m.Transport().MAC(old, roleOpener, hello, answer, []byte(other.host.ID()), []byte(a.host.ID()))
		})
		var theirs wire.SyncProof
		if err := errors.Join(f.write(proof), f.read(&theirs), f.write(wire.SyncMessage{Vector: &wire.SyncVector{}})); err != nil {
			w.Fatal(err)
		}
		if theirs.Told != (wire.Hash{}) {
			w.Errorf("its proof tells of the marks: %v", theirs.Told)
		}
		for {
			var msg wire.SyncMessage
			if err := f.read(&msg); err != nil {
				w.Fatal(err)
			}
			if msg.Vector != nil && len(msg.Vector.Marks) > 0 || len(msg.Entries) > 0 {
				w.Errorf("it learns %+v and gets %d entries", msg.Vector, len(msg.Entries))
			}
			if msg.Done != nil {
				break
			}
		}
		f.abandon()
	})
}

// Ben lets dora in while anna, out of his reach, removes carl. Dora knows the key of
// before alone, and meets anna, who does not know dora: what dora sends lets it in.
func TestStrangerWhoWasLetIn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		w.send(a, id, "one")
		w.shows(b, id, time.Minute, "one")
		gone := c.Device().User
		w.close(2)
		w.close(1)
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: gone}); err != nil {
			w.Fatal(err)
		}
		w.send(a, id, "two")
		w.close(0)
		w.open(1)
		d := w.open(3, 1, 0)
		w.join(d, id)
		w.close(1)
		a = w.open(0, 3)
		w.send(d, id, "from dora")
		w.shows(a, id, 5*time.Minute, "one", "two", "from dora")
		w.send(a, id, "three")
		w.eventually(d, 5*time.Minute, "dora shows what is new", func() bool { return slices.Contains(w.texts(d, id), "three") })
	})
}

// TestTreeReader refuses parts that are out of place.
func TestTreeReader(t *testing.T) {
	tree := bytes.Repeat([]byte("tree"), treePart/2)
	var parts []wire.SyncTree
	if err := writeTree(wire.EpochID{1}, tree, func(p *wire.SyncTree) error { parts = append(parts, *p); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(parts) != 2 {
		t.Fatalf("%d parts", len(parts))
	}
	var r treeReader
	for i := range parts {
		done, err := r.add(&parts[i])
		if err != nil || done != (i == 1) {
			t.Fatalf("part %d: %v, %v", i, done, err)
		}
	}
	if !bytes.Equal(r.bytes, tree) {
		t.Fatal("another tree")
	}
	for name, change := range map[string]func(*wire.SyncTree){
		"gap":   func(p *wire.SyncTree) { p.At++ },
		"again": func(p *wire.SyncTree) { p.At-- },
		"epoch": func(p *wire.SyncTree) { p.Epoch[0]++ },
		"total": func(p *wire.SyncTree) { p.Total++ },
	} {
		var r treeReader
		second := parts[1]
		change(&second)
		if _, err := r.add(&parts[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := r.add(&second); !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
