package group

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// The queries change nothing and may be called whenever no Step runs.

// Status is the machine's state for people.
func (m *Machine) Status() Status {
	s := Status{
		Group: m.group, Position: m.own.Position, Members: len(m.rosters.now.Users), Entries: m.logs.Count,
		Gaps: len(m.messages.gaps), Outbox: len(m.messages.outbox), Parked: len(m.logs.Parking.Entries), Head: m.choose().ID, Leaving: m.own.Leaving,
		Intents: len(m.joining.intents), Was: m.own.Joined || m.own.Out || m.logs.Head(m.log) != nil,
	}
	for _, f := range slices.Sorted(maps.Keys(m.rosters.now.Profile)) {
		s.Profile = append(s.Profile, *m.rosters.now.Profile[f].Profile)
	}
	n := m.tree.Nodes[m.own.Position]
	switch {
	case m.joining.request != nil && (m.own.Position == (wire.EpochID{}) || m.own.Out || n != nil):
		s.State = StateJoining
	case m.own.Position == (wire.EpochID{}):
		s.State = StateNew
	case n == nil:
		s.State = StateSyncing
	case !m.rosters.now.Has(m.log.Device):
		s.State = StateOut
		gone := m.rosters.now.Gone[m.cfg.Device.User]
		s.Left = gone != nil && gone.Op.Type == wire.OpLeave
	case n.ID != s.Head:
		s.State = StateSyncing
	default:
		s.State = StateMember
	}
	if e, err := m.epochs.whole(m.own.Position); err == nil && e != nil {
		s.Epoch, s.Authenticator, s.TreeHash = e.Number(), e.Authenticator(), e.TreeHash()
	}
	return s
}

// Tips is how many ends the tree of epochs has: one, unless members committed
// concurrently at some time.
func (m *Machine) Tips() int { return m.tree.Tips }

// Parked returns how many entries wait here for others that they build on.
func (m *Machine) Parked() int { return len(m.logs.Parking.Entries) }

// Profile lists the registers of the profile as their authors signed them,
// ascending by field, for the group's public record.
func (m *Machine) Profile() []wire.Signed {
	var out []wire.Signed
	for _, f := range slices.Sorted(maps.Keys(m.rosters.now.Profile)) {
		out = append(out, *m.rosters.now.Profile[f].Op.Profile)
	}
	return out
}

// Members lists the roster, by role and then by ID.
func (m *Machine) Members() []Member {
	in := m.epochs.inTree(m.own.Position)
	out := make([]Member, 0, len(m.rosters.now.Users))
	for id, u := range m.rosters.now.Users {
		member := Member{User: id, Role: u.Role, InTree: len(u.Devices) > 0, Since: time.UnixMilli(int64(m.cfg.Genesis.Created))} //nolint:gosec // a date
		if u.Since != nil {
			member.Since = u.Since.Dated().Time()
		}
		for i, d := range u.Devices {
			cert := m.rosters.now.Devices[d].Device.Cert
			if i == 0 {
				member.Name = cert.Name
			}
			member.Devices = append(member.Devices, d)
			member.Peers = append(member.Peers, cert.Peer)
			member.InTree = member.InTree && in[d]
		}
		out = append(out, member)
	}
	slices.SortFunc(out, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), bytes.Compare(a.User[:], b.User[:]))
	})
	return out
}

// Standing says how a device may take part in a sync. A stranger whose
// wire.SyncProof holds the transport key is a member of another branch.
func (m *Machine) Standing(d wire.DeviceID) Standing {
	switch {
	case m.rosters.now.Has(d):
		return Current
	case m.logs.Devices[d] != nil:
		return Removed
	}
	return Stranger
}

// Vouches says whether to hold a transport key shows a stranger to be a member of
// another branch: nobody who was taken out has it, and could come with another device.
func (m *Machine) Vouches(key wire.KeyID) bool {
	return m.keys.has(key) && m.keys.clean(m.keys.of(key))
}

// Messages lists the messages that were shown after a cursor, in that order.
func (m *Machine) Messages(after uint64, limit int) ([]Message, error) {
	return m.messages.list(after, limit)
}

// Message gives one message that was shown.
func (m *Machine) Message(id wire.MessageID) (Message, bool, error) { return m.messages.get(id) }

// Events lists events after a cursor.
func (m *Machine) Events(after uint64, limit int) ([]Event, error) {
	return m.tx.eventsAfter(after, limit, func(EventKind) bool { return true })
}

// Happened lists the events of the group that people see, after a cursor: messages, and the
// events for which shows is true, at most limit; 0: all.
func (m *Machine) Happened(after uint64, limit int, shows func(EventKind) bool) ([]Event, error) {
	return m.tx.eventsAfter(after, limit, withMessages(shows))
}

// LastHappened lists the newest that Happened would list, at most n. more says that
// there are others before. It looks at no more than the newest events; 0: at all.
func (m *Machine) LastHappened(n int, newest uint64, shows func(EventKind) bool) (out []Event, more bool, err error) {
	return m.tx.lastEvents(n, newest, withMessages(shows))
}

func withMessages(shows func(EventKind) bool) func(EventKind) bool {
	return func(k EventKind) bool { return k == EventMessage || shows(k) }
}

// Unseen counts the messages of others that were shown after a cursor, up to most.
func (m *Machine) Unseen(after uint64, most int) (int, error) {
	return m.messages.unseen(after, most, m.cfg.Device.User)
}

// VectorFor is Vector for one device: with what this one has read of its logs.
func (m *Machine) VectorFor(d wire.DeviceID) wire.SyncVector {
	v := m.Vector()
	v.Receipts = m.receipts.receiptsFor(d)
	return v
}

// Vector returns this device's statement about itself for an exchange with another device.
func (m *Machine) Vector() wire.SyncVector {
	lacks := m.messages.lacks()
	lacks = lacks[:min(len(lacks), wire.MaxGaps)]
	slices.SortFunc(lacks, func(a, b wire.MessageID) int { return bytes.Compare(a[:], b[:]) })
	v := wire.SyncVector{Marks: m.Marks(), Lacks: lacks}
	if m.stranded() {
		v.Rejoin = m.joining.rejoin
	}
	return v
}

// Marks is this device's version vector, ascending by log.
func (m *Machine) Marks() []wire.Mark { return m.logs.Marks() }

// EntriesAfter gives the entries that a device with this vector lacks and may have,
// in causal order, encoded Signeds, at most most bytes of them (at least one). next
// is not zero if there are others, to be asked for with it as from; at first from is
// zero, and evidence comes before the entries. A removed device gets its removal and
// what lies before it; one whose addition was voided gets what voided it, so that it
// knows and asks again. A stranger whose wire.SyncProof holds the transport key is a
// member of another branch and gets everything.
func (m *Machine) EntriesAfter(device wire.DeviceID, marks []wire.Mark, from wire.EntryHash, most int) (entries [][]byte, next wire.EntryHash, err error) {
	may := func(*dag.Item) bool { return true }
	if m.Standing(device) == Removed {
		ends := endsOf(m.rosters, m.logs.Devices[device])
		may = func(it *dag.Item) bool {
			return slices.ContainsFunc(ends, func(end *dag.Item) bool { return m.logs.InPast(it, end) })
		}
	}
	place := m.logs.Items.At(from)
	if place == nil {
		for _, e := range m.logs.AccusedBeyond(marks) {
			entries = append(entries, e.Pair[:]...)
		}
	}
	size := 0
	var last wire.EntryHash
	for it := range m.logs.After(marks, place, may) {
		b, err := m.tx.get(itemKey(it))
		if err != nil {
			return nil, next, err
		}
		if b == nil {
			return nil, next, fmt.Errorf("%w: entry %v is gone", verdict.ErrCorrupt, it.Hash)
		}
		if size += len(b); size > most && last != (wire.EntryHash{}) {
			return entries, last, nil
		}
		entries, last = append(entries, b), it.Hash
	}
	return entries, next, nil
}

// endsOf lists the operations that ended a device's membership: what took it out, or,
// if nothing did, what may have voided its addition, which is concurrent with it.
func endsOf(rosters *rosters, device *identity.Device) []*dag.Item {
	r := rosters.now
	if end := cmp.Or(r.Gone[device.User], r.Revoked[device.ID]); end != nil {
		return []*dag.Item{end}
	}
	var ends []*dag.Item
	for _, add := range rosters.logs.Ops {
		if add.Target == nil || add.Target.Device.ID != device.ID {
			continue
		}
		for _, out := range r.Gone {
			if rosters.Concurrent(out, add) {
				ends = append(ends, out)
			}
		}
	}
	return ends
}

// Wants lists the requests of this device to others: messages owed to it without plaintext,
// oldest first, and trees. Seals that came before and that it has no keys for it asks for
// again after a while, longer each time.
func (m *Machine) Wants() wire.SyncWant {
	return wire.SyncWant{
		Messages: m.messages.wants(m.now),
		Trees:    slices.SortedFunc(maps.Keys(m.joining.trees), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }),
	}
}

// SealsFor gives the seals at hand of messages that the device may read. One that
// it has no use for it ignores.
func (m *Machine) SealsFor(device wire.DeviceID, messages []wire.MessageID) ([][]byte, error) {
	var out [][]byte
	for _, id := range messages {
		if m.Standing(device) == Removed || m.Standing(device) == Current && !m.messages.mayRead(device, m.messages.record(id)) {
			continue
		}
		seals, err := m.messages.kept.of(id)
		if err != nil {
			return nil, err
		}
		out = append(out, seals...)
	}
	return out, nil
}

// TreeOf gives the ratchet tree of an epoch at hand, or nil.
func (m *Machine) TreeOf(id wire.EpochID) ([]byte, error) {
	e, err := m.epochs.parent(id)
	if e == nil || err != nil {
		return nil, err
	}
	return e.Tree(), nil
}

// SyncMAC is the MAC of wire.SyncProof under one of this device's transport
// keys; false if it does not hold that key.
func (m *Machine) SyncMAC(key wire.KeyID, role byte, opener, answerer wire.SyncHello, openerPeer, answererPeer []byte) ([32]byte, bool) {
	return m.keys.syncMAC(key, role, opener, answerer, openerPeer, answererPeer)
}

// TransportKey is the ID of the key that this device sends under. False: it holds none.
func (m *Machine) TransportKey() (wire.KeyID, bool) { return m.keys.current() }

// Topics lists the topics that this device must listen on, the one it publishes on first.
// None, if this device is out.
func (m *Machine) Topics() []string { return m.keys.topics() }

// Tagged says whether envelopes with a tag are this group's, as far as its keys are here.
func (m *Machine) Tagged(tag [8]byte) bool { return m.keys.tagged(tag) }

// Meets lists the secrets under which the members of a private group announce
// themselves. None, if the group is public or this device is out.
func (m *Machine) Meets() []wire.MeetSecret { return m.keys.meets() }
