package node

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// TestVectorsThatAreTheSame opens an exchange as a member does, and tells a hash of marks.
// Where it is that of the other end, whose set is the same, no marks come back. A peer
// that says its vector is the same, and told another hash, breaks the protocol.
func TestVectorsThatAreTheSame(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "the same")
		w.join(b, id)
		w.send(a, id, "one")
		w.shows(b, id, time.Minute, "one")
		hash := func(n *Node) (h wire.Hash, marks int) {
			w.Helper()
			if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
				h, marks = m.MarksHash(), len(m.Marks())
				return nil
			}); err != nil {
				w.Fatal(err)
			}
			return h, marks
		}
		w.eventually(b, time.Minute, "both hold the same", func() bool {
			of, _ := hash(a)
			is, _ := hash(b)
			return of == is
		})
		told, marks := hash(a)
		for _, c := range []struct {
			name   string
			told   wire.Hash
			vector wire.SyncVector
			marks  int  // that come back
			breaks bool // the other end hangs up
		}{
			{"the same", told, wire.SyncVector{Same: 1}, 0, false},
			{"the same, and told whole", told, wire.SyncVector{}, 0, false},
			{"another set", wire.Hash{1}, wire.SyncVector{}, marks, false},
			{"nothing", wire.Hash{}, wire.SyncVector{}, marks, false},
			{"another set, said to be the same", wire.Hash{1}, wire.SyncVector{Same: 1}, marks, true},
			{"nothing, said to be the same", wire.Hash{}, wire.SyncVector{Same: 1}, marks, true},
		} {
			s, err := b.host.NewStream(network.WithNoDial(w.within(time.Minute), ""), a.host.ID(), wire.ProtocolSync)
			if err != nil {
				w.Fatal(err)
			}
			f := newFrames(s)
			hello := newHello(id)
			var answer wire.SyncHello
			if err := errors.Join(f.write(hello), f.read(&answer)); err != nil {
				w.Fatal(err)
			}
			ends := proofEnds{hello, answer, []byte(b.host.ID()), []byte(a.host.ID())}
			proof, err := prove(w.Context(), b.groups.get(id), wire.KeyID{}, roleOpener, ends)
			if err != nil {
				w.Fatal(err)
			}
			proof.Told = c.told
			var theirs wire.SyncProof
			if err := errors.Join(f.write(proof), f.read(&theirs), f.write(wire.SyncMessage{Vector: &c.vector})); err != nil {
				w.Fatal(c.name, err)
			}
			if theirs.Told != told {
				w.Errorf("%s: its proof tells %v, and its marks have %v", c.name, theirs.Told, told)
			}
			var msg wire.SyncMessage
			if err = f.read(&msg); err == nil && (msg.Vector == nil || len(msg.Vector.Marks) != c.marks || (msg.Vector.Same == 1) != (c.marks == 0)) {
				w.Errorf("%s: it tells %+v, not %d marks", c.name, msg.Vector, c.marks)
			}
			for err == nil && msg.Done == nil {
				msg = wire.SyncMessage{}
				err = f.read(&msg)
			}
			if c.breaks != (err != nil) {
				w.Errorf("%s: %v", c.name, err)
			}
			f.abandon()
		}
	})
}
