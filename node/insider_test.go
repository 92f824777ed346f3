package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// crafts signs the first entry of a fresh incarnation of a node's device, with a past and a
// date of its choice.
func (w *world) crafts(n *Node, id wire.GroupID, incarnation, hlc uint64, kind wire.Kind, body any, deps ...wire.EntryHash) []byte {
	e := &wire.Entry{
		V: wire.Version, Group: id, Device: n.Device().ID, Incarnation: incarnation, Seq: 1,
		Kind: kind, HLC: hlc, Deps: deps, Body: wire.Marshal(body),
	}
	s := n.me.log.Sign(wire.DomainEntry, id, e.Encode())
	return s.Encode()
}

// headOf is the last entry of a node's own log that a node has, with its date.
func (w *world) headOf(at, of *Node, id wire.GroupID) (hash wire.EntryHash, hlc uint64) {
	w.Helper()
	err := at.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
		for _, mark := range m.Marks() {
			if mark.Log.Device == of.Device().ID {
				hash = mark.Hash
			}
		}
		raws, _, err := m.EntriesAfter(at.Device().ID, nil, wire.EntryHash{}, 64<<20)
		for _, raw := range raws {
			s, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
			if err != nil {
				return err
			}
			if e, err := wire.DecodeEntry(s.Payload); err == nil && wire.EntryHashOf(id, s.Payload) == hash {
				hlc = e.HLC
			}
		}
		return err
	})
	if err != nil || hlc == 0 {
		w.Fatalf("no entry of %s: %v", of.Device().Cert.Name, err)
	}
	return hash, hlc
}

// gives opens an exchange from a hostile node with a member and gives it entries, whatever the
// hostile node's own machine thinks of them. It returns once they were taken or refused.
func (w *world) gives(from, to *Node, id wire.GroupID, raws [][]byte) {
	w.Helper()
	ctx := w.within(10 * time.Minute)
	s, err := from.host.NewStream(ctx, to.host.ID(), wire.ProtocolSync)
	if err != nil {
		w.Fatal(err)
	}
	f := newFrames(s)
	defer f.abandon()
	hello := newHello(id)
	var theirs wire.SyncHello
	if err := errors.Join(f.write(hello), f.read(&theirs)); err != nil {
		w.Fatal(err)
	}
	ends := proofEnds{hello, theirs, []byte(from.host.ID()), []byte(to.host.ID())}
	proof, err := prove(ctx, from.groups.get(id), wire.KeyID{}, roleOpener, ends)
	if err != nil {
		w.Fatal(err)
	}
	var answer wire.SyncProof
	if err := errors.Join(f.write(proof), f.read(&answer), f.write(wire.SyncMessage{Vector: &wire.SyncVector{}})); err != nil {
		w.Fatal(err)
	}
	var told error
	for some := range slices.Chunk(raws, 64) {
		if told = f.write(wire.SyncMessage{Entries: some}); told != nil {
			break // the victim ended it
		}
	}
	if told == nil {
		told = errors.Join(f.write(wire.SyncMessage{Done: &wire.SyncDone{}}), f.write(wire.SyncMessage{Want: &wire.SyncWant{}}))
	}
	for wants := false; told == nil && !wants; {
		var msg wire.SyncMessage
		if told = f.read(&msg); told == nil {
			wants = msg.Done != nil && msg.Done.Wants > 0
		}
	}
	w.Logf("%d entries given by %s: %v", len(raws), from.Device().Cert.Name, told)
}

// members lists who a node says is in, with their roles.
func (w *world) membersOf(n *Node, id wire.GroupID) (out []string) {
	w.Helper()
	all, err := n.Members(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range all {
		out = append(out, fmt.Sprint(m.User, " ", m.Role))
	}
	slices.Sort(out)
	return out
}

// The states in which the admin of before is.
const (
	insiderAdmin   = "still an admin"
	insiderDemoted = "demoted"
	insiderRemoved = "removed"
	insiderLeft    = "left"
)

// pastOf founds a group of four nodes, of which the second was an admin and is now something,
// and gives what it could name of the time when it was.
func (w *world) pastOf(now string) (nodes []*Node, id wire.GroupID, past []wire.EntryHash, hlc uint64) {
	w.Helper()
	for i := range 4 {
		nodes = append(nodes, w.open(i, 0))
	}
	a, b := nodes[0], nodes[1]
	id = w.create(a, "tea")
	for _, n := range nodes[1:] {
		w.join(n, id)
	}
	step := func(in group.Input) {
		w.Helper()
		if err := a.step(w.within(time.Minute), id, in); err != nil {
			w.Fatal(err)
		}
	}
	step(group.SetRole{User: b.Device().User, Role: wire.RoleAdmin})
	w.send(a, id, "before")
	for _, n := range nodes {
		w.shows(n, id, 5*time.Minute, "before")
	}
	look := func() {
		own, _ := w.headOf(b, b, id)
		hash, at := w.headOf(b, a, id)
		past, hlc = []wire.EntryHash{own, hash}, at
		slices.SortFunc(past, func(x, y wire.EntryHash) int { return bytes.Compare(x[:], y[:]) })
	}
	look()
	time.Sleep(10 * time.Minute) // virtual
	switch now {
	case insiderDemoted, insiderRemoved:
		step(group.SetRole{User: b.Device().User, Role: wire.RoleReadOnly})
	case insiderLeft:
		if _, err := b.leave(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "out", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
	}
	if now == insiderRemoved {
		step(group.RemoveUser{User: b.Device().User})
	}
	w.send(a, id, "after")
	for _, n := range []*Node{a, nodes[2], nodes[3]} {
		w.shows(n, id, 5*time.Minute, "before", "after")
	}
	time.Sleep(time.Minute)
	if now == insiderAdmin {
		look() // an operation beside other entries of its own device would not count
	}
	return nodes, id, past, hlc
}

// TestInsiderOfThePast has an admin of before write operations and messages into its past, and
// give them to the members over real streams: of whole nodes none takes them for its right. By
// the same entries somebody who still is an admin has it.
func TestInsiderOfThePast(t *testing.T) {
	t.Parallel()
	for _, now := range []string{insiderAdmin, insiderDemoted, insiderRemoved, insiderLeft} {
		t.Run(now, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				nodes, id, past, hlc := w.pastOf(now)
				a, b, c, d := nodes[0], nodes[1], nodes[2], nodes[3]
				before := w.membersOf(a, id)
				user := func(n *Node) *wire.UserID { u := n.Device().User; return &u }
				ops := []*wire.Op{
					{Type: wire.OpRemove, User: user(c)},
					{Type: wire.OpRemove, User: user(a)},
					{Type: wire.OpRole, User: user(b), Role: wire.RoleOwner},
					{Type: wire.OpRole, User: user(d), Role: wire.RoleReadOnly},
				}
				if now == insiderAdmin {
					ops = ops[:1]
				}
				for i, op := range ops {
					raw := w.crafts(b, id, uint64(1000+i), hlc+1, wire.KindOp, op, past...)
					for _, to := range []*Node{a, d} {
						w.gives(b, to, id, [][]byte{raw})
					}
				}
				speech := w.crafts(b, id, 2000, hlc+1, wire.KindRecord, &wire.Record{Commitment: wire.Hash{1}}, past...)
				w.gives(b, a, id, [][]byte{speech})
				time.Sleep(10 * time.Minute) // virtual
				if now == insiderAdmin {
					before = slices.DeleteFunc(before, func(m string) bool { return strings.HasPrefix(m, user(c).String()) })
				}
				for _, n := range []*Node{a, d} {
					if got := w.membersOf(n, id); !slices.Equal(got, before) {
						t.Errorf("%s says %q, want %q", n.Device().Cert.Name, got, before)
					}
				}
				if now == insiderAdmin {
					return
				}
				w.send(c, id, "still here")
				w.send(d, id, "and I")
				for _, n := range []*Node{a, c, d} {
					w.shows(n, id, 5*time.Minute, "before", "after", "still here", "and I")
				}
			})
		})
	}
}

// entriesOf are the entries of a group that a node has.
func (w *world) entriesOf(n *Node, id wire.GroupID) map[wire.EntryHash]bool {
	w.Helper()
	out := map[wire.EntryHash]bool{}
	if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
		entries, _, err := m.EntriesAfter(wire.DeviceID{}, nil, wire.EntryHash{}, 1<<20)
		for _, raw := range entries {
			s, err := wire.DecodeSigned(raw, wire.MaxEntry)
			if err != nil {
				return err
			}
			out[wire.EntryHashOf(id, s.Payload)] = true
		}
		return err
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

// TestInsiderLetsNobodyIn has an admin who left an invite-only group let in a spy that really
// asks, by an operation in its past. The spy is no member to anybody and reads nothing.
func TestInsiderLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for _, now := range []string{insiderAdmin, insiderLeft} {
		t.Run(now, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				nodes, id, past, hlc := w.pastOf(now)
				a, b, c, d := nodes[0], nodes[1], nodes[2], nodes[3]
				item := wire.ProfileItem{V: wire.Version, Field: wire.FieldPolicy, HLC: 1, Policy: wire.PolicyInvite, Signer: a.me.user.Public()}
				if err := a.step(w.within(time.Minute), id, group.SetProfile{Item: a.me.user.Sign(wire.DomainProfile, id, item.Encode())}); err != nil {
					w.Fatal(err)
				}
				time.Sleep(time.Minute) // virtual
				before := w.membersOf(a, id)
				spy := w.open(4, 0)
				if err := spy.Join(w.within(time.Minute), id); err != nil {
					w.Fatal(err)
				}
				w.eventually(spy, 5*time.Minute, "asking", func() bool { g := spy.groups.get(id); return g != nil && g.joiner.wanted() != nil })
				r := spy.groups.get(id).joiner.wanted().Request
				add := w.crafts(b, id, 1000, hlc+1, wire.KindOp, &wire.Op{
					Type: wire.OpAdd, Cert: &r.Cert, Role: wire.RoleMember, KeyPackage: r.KeyPackage, Why: wire.WhyRole,
				}, past...)
				for _, to := range []*Node{a, d} {
					w.gives(b, to, id, [][]byte{add})
				}
				time.Sleep(10 * time.Minute) // virtual
				secret := w.send(c, id, "among us")
				for _, n := range []*Node{a, c, d} {
					w.shows(n, id, 5*time.Minute, "before", "after", "among us")
				}
				time.Sleep(10 * time.Minute) // virtual
				st, err := spy.GroupStatus(w.Context(), id)
				if err != nil {
					w.Fatal(err)
				}
				if now == insiderAdmin { // by the same operation somebody who is an admin lets it in
					if st.State != group.StateMember {
						t.Errorf("the guest of an admin is %v", st.State)
					}
					return
				}
				// It is told that it is out by what its friend knew, and the first word of each member
				// that followed on that.
				friends := w.entriesOf(b, id)
				told := w.entriesOf(spy, id)
				maps.DeleteFunc(told, func(h wire.EntryHash, _ bool) bool { return friends[h] })
				if st.State == group.StateMember || len(told) > 3 || told[secret] {
					t.Errorf("the spy is %v, and has %d entries that its friend has not", st.State, len(told))
				}
				for _, n := range []*Node{a, c, d} {
					if got := w.membersOf(n, id); !slices.Equal(got, before) {
						t.Errorf("%s says %q, want %q", n.Device().Cert.Name, got, before)
					}
				}
				w.shows(spy, id, time.Second)
			})
		})
	}
}

// TestInsiderFloods has a member and one who was removed give thousands of valid entries, each
// the first of an incarnation: the others' vectors hardly grow, they go on talking, and
// somebody new comes in.
func TestInsiderFloods(t *testing.T) {
	t.Parallel()
	for _, now := range []string{insiderDemoted, insiderRemoved} {
		t.Run(now, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				nodes, id, past, hlc := w.pastOf(now)
				a, b, c, d := nodes[0], nodes[1], nodes[2], nodes[3]
				var raws [][]byte
				for i := range 2000 {
					raws = append(raws, w.crafts(b, id, uint64(1000+i), hlc+1+uint64(i), wire.KindRecord, &wire.Record{Commitment: wire.Hash{byte(i), byte(i >> 8), 1}}, past...)) //nolint:gosec // few
				}
				marks := func(n *Node) (of int) {
					if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
						for _, mark := range m.Marks() {
							if mark.Log.Device == b.Device().ID {
								of++
							}
						}
						return nil
					}); err != nil {
						t.Error(err)
					}
					return of
				}
				before := marks(a)
				for _, to := range []*Node{a, c} {
					w.gives(b, to, id, raws)
				}
				w.send(c, id, "still here")
				for _, n := range []*Node{a, c, d} {
					w.shows(n, id, 5*time.Minute, "before", "after", "still here")
				}
				time.Sleep(10 * time.Minute) // virtual
				for _, n := range []*Node{a, c, d} {
					if got := marks(n); got > before+16 {
						t.Errorf("%s tells %d logs of who floods, %d before", n.Device().Cert.Name, got, before)
					}
				}
				e := w.open(4, 0)
				w.join(e, id)
				w.send(e, id, "new here")
				for _, n := range []*Node{a, c, d} {
					w.shows(n, id, 5*time.Minute, "before", "after", "still here", "new here")
				}
			})
		})
	}
}
