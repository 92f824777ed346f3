package node

import (
	"encoding/binary"
	"errors"
	"slices"
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
			f, theirs := w.exchanges(b, a, id, c.told)
			if err := f.write(wire.SyncMessage{Vector: &c.vector}); err != nil {
				w.Fatal(c.name, err)
			}
			if theirs.Told != told {
				w.Errorf("%s: its proof tells %v, and its marks have %v", c.name, theirs.Told, told)
			}
			var msg wire.SyncMessage
			err := f.read(&msg)
			if err == nil && (msg.Vector == nil || len(msg.Vector.Marks) != c.marks || (msg.Vector.Same == 1) != (c.marks == 0)) {
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

// TestVectorInPartsOverAStream: a member that knows of more logs than one frame has marks of says
// so in parts. The other end sends nothing of what any of the parts names.
func TestVectorInPartsOverAStream(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "many logs")
		w.join(b, id)
		w.send(a, id, "one")
		w.shows(b, id, time.Minute, "one")
		w.send(b, id, "two")
		w.shows(a, id, time.Minute, "one", "two")
		time.Sleep(10 * time.Minute) // virtual: both hold the same
		var known []wire.Mark
		if err := a.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
			known = slices.Clone(m.Marks())
			return nil
		}); err != nil || len(known) < 2 {
			w.Fatal(known, err)
		}
		for name, c := range map[string]struct {
			known []wire.Mark
			at    byte // where the device IDs of the other logs begin
			lacks bool
		}{"all, in the first part": {known, 0xff, false}, "all, in the last part": {known, 0, false}, "nothing": {nil, 0, true}} {
			vector := wire.SyncVector{Marks: slices.Clone(c.known)}
			for i := range uint32(wire.MaxMarks + 1000) {
				device := wire.DeviceID{c.at}
				binary.BigEndian.PutUint32(device[1:], i)
				vector.Marks = append(vector.Marks, wire.Mark{Log: wire.LogID{Device: device}, Seq: 1, Hash: wire.EntryHash{1}})
			}
			slices.SortFunc(vector.Marks, func(a, b wire.Mark) int { return a.Log.Compare(b.Log) })
			f, _ := w.exchanges(b, a, id, wire.Hash{})
			parts := 0
			for part := range vector.Parts() {
				if err := f.write(wire.SyncMessage{Vector: part}); err != nil {
					w.Fatal(name, err)
				}
				parts++
			}
			entries := 0
			var msg wire.SyncMessage
			for msg.Done == nil {
				msg = wire.SyncMessage{}
				if err := f.read(&msg); err != nil {
					w.Fatal(name, err)
				}
				entries += len(msg.Entries)
			}
			if parts != 2 || (entries > 0) != c.lacks {
				w.Errorf("it knows %s: in %d parts, and it is sent %d entries", name, parts, entries)
			}
			f.abandon()
		}
	})
}

// exchanges opens an exchange from a member with another, up to the proofs: the one's tells a hash
// of marks, and the other's is given.
func (w *world) exchanges(from, to *Node, id wire.GroupID, told wire.Hash) (f *frames, theirs wire.SyncProof) {
	w.Helper()
	s, err := from.host.NewStream(network.WithNoDial(w.within(time.Minute), ""), to.host.ID(), wire.ProtocolSync)
	if err != nil {
		w.Fatal(err)
	}
	f = newFrames(s)
	hello := newHello(id)
	var answer wire.SyncHello
	if err := errors.Join(f.write(hello), f.read(&answer)); err != nil {
		w.Fatal(err)
	}
	ends := proofEnds{hello, answer, []byte(from.host.ID()), []byte(to.host.ID())}
	proof, err := prove(w.Context(), from.groups.get(id), wire.KeyID{}, roleOpener, ends)
	if err != nil {
		w.Fatal(err)
	}
	proof.Told = told
	if err := errors.Join(f.write(proof), f.read(&theirs)); err != nil {
		w.Fatal(err)
	}
	return f, theirs
}
