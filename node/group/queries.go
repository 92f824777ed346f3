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
	"github.com/pandanode/pandanode/node/wire"
)

// The queries change nothing and may be called whenever no Step runs.

// Status is the machine's state for people.
func (m *Machine) Status() Status {
	s := Status{
		Group: m.own.group, Position: m.own.Position, Members: m.rosters.now.Size(), Entries: m.logs.Count,
		Gaps: len(m.messages.gaps.of), Outbox: len(m.messages.outbox), Parked: len(m.logs.Parking.Entries), Head: m.fork.chosen.at.ID, Leaving: m.own.Leaving,
		Intents: len(m.joining.intents), Was: m.own.Joined || m.own.Out || m.logs.Head(m.own.log) != nil,
	}
	for op := range m.rosters.now.Profiles() {
		s.Profile = append(s.Profile, *op.Profile)
	}
	n := m.tree.Nodes[m.own.Position]
	switch {
	case m.joining.request != nil && (m.own.Position == (wire.EpochID{}) || m.own.Out || n != nil):
		s.State = StateJoining
	case m.own.Position == (wire.EpochID{}):
		s.State = StateNew
	case n == nil:
		s.State = StateSyncing
	case !m.rosters.now.Has(m.own.log.Device):
		s.State = StateOut
		gone := m.rosters.now.Gone(m.cfg.Device.User)
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
	for op := range m.rosters.now.Profiles() {
		out = append(out, *op.Op.Profile)
	}
	return out
}

// Members lists the roster, by role and then by ID.
func (m *Machine) Members() []Member {
	in := m.epochs.inTree(m.own.Position)
	out := make([]Member, 0, m.rosters.now.Size())
	for u := range m.rosters.now.Users() {
		member := Member{User: u.ID, Role: u.Role, InTree: len(u.Devices) > 0, Since: time.UnixMilli(int64(m.cfg.Genesis.Created))} //nolint:gosec // a date
		if u.Since != nil {
			member.Since = u.Since.Dated().Time()
		}
		for i, d := range u.Devices {
			cert := m.rosters.now.Device(d).Device.Cert
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

// VectorFor is this device's statement about itself for an exchange with another device, and
// what it has read of that one's logs.
func (m *Machine) VectorFor(d wire.DeviceID) wire.SyncVector {
	v := wire.SyncVector{
		Marks: m.Marks(), Lacks: m.messages.gaps.told(wire.MaxGaps), Floods: m.evidence.floods(),
		Receipts: m.messages.receipts.receiptsFor(d),
	}
	if m.stranded(m.fork.chosen.at) {
		v.Rejoin = m.joining.rejoin
	}
	return v
}

// Marks is this device's version vector, ascending by log. It is shared: nobody changes it.
func (m *Machine) Marks() wire.Marks { return m.logs.Marks() }

// MarksHash is the hash of Marks.
func (m *Machine) MarksHash() wire.Hash { return m.logs.MarksHash() }

// EntriesAfter gives the entries that a device with this vector lacks and may have,
// in causal order, encoded Signeds, at most most bytes of them (at least one). next
// is not zero if there are others, to be asked for with it as from; at first from is
// zero, and evidence comes before the entries. A device that is out gets what it
// needs to know that (see roster.For), so that it says so, or asks again. A stranger whose wire.SyncProof holds the transport key is a
// member of another branch and gets everything.
func (m *Machine) EntriesAfter(device wire.DeviceID, marks []wire.Mark, from wire.EntryHash, most int) (entries [][]byte, next wire.EntryHash, err error) {
	if m.logs.Told(marks) {
		return nil, next, nil // the set has not grown since this device told them
	}
	may := func(*dag.Item) bool { return true }
	if m.Standing(device) == Removed {
		may = m.rosters.now.For(m.logs.Devices[device], m.logs.Known(marks))
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

// Wants lists the requests of this device to others: messages owed to it without plaintext,
// oldest first, and trees. Seals that came before and that it has no keys for it asks for
// again after a while, longer each time.
func (m *Machine) Wants(now time.Time) wire.SyncWant {
	return wire.SyncWant{
		Messages: m.messages.wants(now),
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
