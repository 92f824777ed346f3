package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// dag holds all entries of a group that any running honest device holds, read without the
// machine's own code. It is the deliberately dumb oracle of the invariants.
type dag struct {
	entries []*dagEntry // in causal order
	by      map[wire.EntryHash]*dagEntry
	users   map[wire.DeviceID]wire.UserID
	epochs  map[wire.EpochID]*dagEpoch
	roots   []*dagEpoch
	records int
	opList  []*dagEntry
	founder wire.UserID
	group   wire.GroupID
	pairs   [][2][]byte             // evidence that logs fork, encoded Signeds: it is of the set as the entries are
	closed  bool                    // who is not asked for is not let in: the policy is no open one, and never was
	void    map[wire.EntryHash]bool // made by who had no right any more: they count for nothing
}

type dagEntry struct {
	hash   wire.EntryHash
	entry  *wire.Entry
	raw    []byte // encoded Signed
	index  int
	past   []uint64 // bit set of indexes, without itself
	op     *wire.Op
	target wire.DeviceID // of an addition
	commit *wire.Commit
	info   *engine.CommitInfo
	vote   *wire.Vote
	record *wire.Record
}

// dagEpoch is a node of the tree of epochs, by structure alone.
type dagEpoch struct {
	id       wire.EpochID
	number   uint64
	root     wire.EpochID // that its keys descend from
	parent   *dagEpoch    // nil: a root
	children []*dagEpoch
	interim  []byte
	by       *dagEntry
}

// inPast says whether a lies in the causal past of b.
func (d *dag) inPast(a, b *dagEntry) bool {
	return a.index/64 < len(b.past) && b.past[a.index/64]&(1<<(a.index%64)) != 0
}

// firstLog is the incarnation of a device's first log, by the first addition of it.
func (d *dag) firstLog(device wire.DeviceID) uint64 {
	for _, e := range d.opList {
		if e.target == device && (e.op.Type == wire.OpAdd || e.op.Type == wire.OpDeviceAdd) {
			return wire.FirstIncarnation(e.hash)
		}
	}
	return wire.FoundersIncarnation(d.group)
}

func (d *dag) user(e *dagEntry) wire.UserID { return d.users[e.entry.Device] }

// under says whether e lies under root, or is it.
func (e *dagEpoch) under(root *dagEpoch) bool {
	for ; e != nil; e = e.parent {
		if e == root {
			return true
		}
	}
	return false
}

// readDag reads entries, encoded Signeds from anywhere, in any order.
func readDag(genesis *identity.Genesis, mlsEngine engine.Engine, raws map[wire.EntryHash][]byte) *dag {
	d := &dag{by: map[wire.EntryHash]*dagEntry{}, users: map[wire.DeviceID]wire.UserID{genesis.Device.ID: genesis.Device.User}, epochs: map[wire.EpochID]*dagEpoch{}, founder: genesis.Device.User, group: genesis.ID}
	for hash, raw := range raws {
		signed, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
		if err != nil {
			continue
		}
		e, err := wire.DecodeEntry(signed.Payload)
		if err != nil {
			continue
		}
		d.by[hash] = &dagEntry{hash: hash, entry: e, raw: raw}
		d.entries = append(d.entries, d.by[hash])
	}
	d.entries = inOrder(d.entries, d.by)
	for i, e := range d.entries {
		e.index = i
		e.past = make([]uint64, i/64+1)
		for _, dep := range append(slices.Clone(e.entry.Deps), e.entry.Prev) {
			p := d.by[dep]
			if p == nil || p.index >= i {
				continue
			}
			for w, bits := range p.past {
				e.past[w] |= bits
			}
			e.past[p.index/64] |= 1 << (p.index % 64)
		}
		d.read(e, mlsEngine)
	}
	return d
}

// inOrder sorts entries so that each comes after those that it builds on, whatever its
// date. Of the entries that may come next, the one with the earliest date does.
func inOrder(entries []*dagEntry, by map[wire.EntryHash]*dagEntry) []*dagEntry {
	lacks := map[*dagEntry]int{}
	then := map[wire.EntryHash][]*dagEntry{}
	var next []*dagEntry
	for _, e := range entries {
		named := append(slices.Clone(e.entry.Deps), e.entry.Prev)
		slices.SortFunc(named, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
		for _, h := range slices.Compact(named) {
			if by[h] != nil {
				lacks[e]++
				then[h] = append(then[h], e)
			}
		}
		if lacks[e] == 0 {
			next = append(next, e)
		}
	}
	first := func(a, b *dagEntry) int {
		return cmp.Or(cmp.Compare(a.entry.HLC, b.entry.HLC), bytes.Compare(a.hash[:], b.hash[:]))
	}
	slices.SortFunc(next, first)
	out := make([]*dagEntry, 0, len(entries))
	for len(next) > 0 {
		e := next[0]
		next = next[1:]
		out = append(out, e)
		for _, o := range then[e.hash] {
			if lacks[o]--; lacks[o] == 0 {
				at, _ := slices.BinarySearchFunc(next, o, first)
				next = slices.Insert(next, at, o)
			}
		}
	}
	return out
}

func (d *dag) read(e *dagEntry, mlsEngine engine.Engine) {
	switch e.entry.Kind {
	case wire.KindOp:
		e.op, _ = wire.DecodeOp(e.entry.Body)
		if e.op == nil {
			return
		}
		d.opList = append(d.opList, e)
		if e.op.Cert != nil {
			if dev, err := identity.VerifyDevice(*e.op.Cert); err == nil {
				e.target = dev.ID
				d.users[dev.ID] = dev.User
			}
		}
		if r := e.op.Reboot; r != nil && d.epochs[r.Root] == nil {
			n := &dagEpoch{id: r.Root, root: r.Root, interim: r.Interim, by: e}
			d.epochs[r.Root] = n
			if p := d.epochs[r.From]; p != nil {
				n.parent = p
				p.children = append(p.children, n)
			} else {
				d.roots = append(d.roots, n)
			}
		}
	case wire.KindCommit:
		e.commit, _ = wire.DecodeCommit(e.entry.Body)
		if e.commit == nil {
			return
		}
		if info, err := mlsEngine.InspectCommit(e.commit.Commit); err == nil {
			e.info = &info
		}
		p := d.epochs[e.commit.Parent]
		if p == nil || d.epochs[e.commit.Child] != nil {
			return
		}
		interim, err := mlsEngine.NextInterim(p.interim, e.commit.Commit)
		if err != nil {
			return
		}
		n := &dagEpoch{id: e.commit.Child, root: p.root, number: p.number + 1, parent: p, interim: interim, by: e}
		d.epochs[n.id] = n
		p.children = append(p.children, n)
	case wire.KindVote:
		e.vote, _ = wire.DecodeVote(e.entry.Body)
	case wire.KindRecord:
		d.records++
		e.record, _ = wire.DecodeRecord(e.entry.Body)
	default:
	}
}

// forks counts the epochs with more than one child.
func (d *dag) forks() (n int) {
	for _, e := range d.epochs {
		if len(e.children) > 1 {
			n++
		}
	}
	return n
}

// branches returns for how many children of one fork, at most, a device has keys somewhere
// in the subtree, by the rows that say which epochs it holds.
func (d *dag) branches(held []string) (most int) {
	under := map[*dagEpoch]int{}
	has := map[*dagEpoch]bool{}
	names := map[string]*dagEpoch{}
	for id, e := range d.epochs {
		names[fmt.Sprintf("held/%x", id[:])] = e
	}
	for _, key := range held {
		for e := names[key]; e != nil && !has[e]; e = e.parent {
			has[e] = true
			under[e.parent]++
		}
	}
	for e, n := range under {
		if e != nil {
			most = max(most, n)
		}
	}
	return most
}

// forkedLogs counts the logs with two entries of one sequence number.
func (d *dag) forkedLogs() int {
	type place struct {
		log wire.LogID
		seq uint64
	}
	seen, forked := map[place]bool{}, map[wire.LogID]bool{}
	for _, e := range d.entries {
		p := place{e.entry.Log(), e.entry.Seq}
		if seen[p] {
			forked[p.log] = true
		}
		seen[p] = true
	}
	return len(forked)
}

// ops lists the operations of these types.
func (d *dag) ops(types ...wire.OpType) (out []*dagEntry) {
	for _, e := range d.opList {
		if !d.void[e.hash] && slices.Contains(types, e.op.Type) {
			out = append(out, e)
		}
	}
	return out
}

// takenOut lists, by user, the operations that take the user out of the group, except those
// whose authors were themselves taken out concurrently.
func (d *dag) takenOut(user wire.UserID) (out []*dagEntry) {
	return d.ends(user, d.twoVoices)
}

// nobody is the void of ends by which no operation is.
func nobody(*dagEntry) bool { return false }

// ends is takenOut, but for what void says of operations.
func (d *dag) ends(user wire.UserID, void func(*dagEntry) bool) (out []*dagEntry) {
	all := slices.DeleteFunc(d.ops(wire.OpRemove, wire.OpLeave), func(e *dagEntry) bool {
		return e.op.Type == wire.OpRemove && !d.everHad(d.user(e), wire.RoleAdmin, e) || void(e)
	})
	of := func(e *dagEntry) wire.UserID {
		if e.op.Type == wire.OpLeave {
			return d.user(e)
		}
		return *e.op.User
	}
	for _, e := range all {
		if of(e) != user {
			continue
		}
		void := slices.ContainsFunc(all, func(o *dagEntry) bool {
			mutual := d.user(o) == user // equals both go
			return o != e && e.op.Type == wire.OpRemove && of(o) == d.user(e) && !mutual && !d.inPast(o, e) && !d.inPast(e, o)
		})
		if !void {
			out = append(out, e)
		}
	}
	return out
}

// everHad says whether a user had a role or a stronger one before an entry, and had not lost
// it again, as far as the past of the entry tells.
func (d *dag) everHad(user wire.UserID, role wire.Role, e *dagEntry) bool {
	if user == d.founder && !slices.ContainsFunc(d.opList, func(x *dagEntry) bool {
		return x.op.Type == wire.OpRole && *x.op.User == user && x.op.Role > role && d.inPast(x, e) && x != e
	}) {
		return true
	}
	return slices.ContainsFunc(d.opList, func(g *dagEntry) bool {
		if d.void[g.hash] || g.op.Role == 0 || g.op.Role > role || !d.inPast(g, e) {
			return false
		}
		gives := g.op.Type == wire.OpAdd && d.users[g.target] == user ||
			g.op.Type == wire.OpRole && *g.op.User == user && d.everHad(d.user(g), wire.RoleOwner, g) // owners alone give roles
		return gives && !slices.ContainsFunc(d.opList, func(x *dagEntry) bool {
			return x.op.Type == wire.OpRole && *x.op.User == user && x.op.Role > role && d.inPast(g, x) && d.inPast(x, e) && x != e
		})
	})
}

// twoVoices says whether a device wrote an operation in another log than its first, beside
// something else that it wrote: whether that counts depends on who knew which of them.
func (d *dag) twoVoices(e *dagEntry) bool {
	return e.entry.Incarnation != d.firstLog(e.entry.Device) && slices.ContainsFunc(d.entries, func(o *dagEntry) bool {
		return o != e && o.entry.Device == e.entry.Device && !d.inPast(o, e) && !d.inPast(e, o)
	})
}

// mayAdd says whether an addition can be one that was permitted; in doubt it says yes.
func (d *dag) mayAdd(a *dagEntry) bool {
	switch a.op.Why {
	case wire.WhyRole:
		return d.everHad(d.user(a), wire.RoleAdmin, a)
	case wire.WhyOpen:
		return !d.closed
	case wire.WhyInvite:
		signer, ok := a.signer()
		return ok && slices.ContainsFunc(d.entries, func(e *dagEntry) bool {
			return (e == a || d.inPast(e, a)) && d.everHad(signer, wire.RoleAdmin, e)
		})
	}
	return true
}

// someEnd says whether anybody was taken out by somebody who could.
func (d *dag) someEnd() bool {
	return slices.ContainsFunc(d.ops(wire.OpRemove, wire.OpLeave, wire.OpDeviceRevoke, wire.OpRole), func(e *dagEntry) bool {
		return e.op.Type == wire.OpLeave || e.op.Type == wire.OpDeviceRevoke || d.everHad(d.user(e), wire.RoleAdmin, e)
	})
}

// owed says whether a record must reach a device. In doubt it says no. The device must be in the
// roster; the record must be in the past of none of its additions; and of each operation that
// ever took its author or its author's device out, or made it read-only beside the record, that
// must have known the record, or another member must have had it before it knew of that.
func (d *dag) owed(r *dagEntry, device wire.DeviceID) bool {
	if !d.mayWrite(r) {
		return false
	}
	if d.before(r, device) {
		return false
	}
	for _, out := range append(d.takenOut(d.user(r)), d.ends(d.user(r), nobody)...) {
		if !d.inPast(r, out) {
			back := slices.ContainsFunc(d.ops(wire.OpAdd), func(a *dagEntry) bool {
				return d.users[a.target] == d.user(r) && d.inPast(out, a) && d.inPast(a, r)
			})
			if !back && !d.had(r, out) {
				return false
			}
		}
	}
	for _, rev := range d.ops(wire.OpDeviceRevoke) {
		if *rev.op.Device == r.entry.Device && !d.inPast(r, rev) && !d.had(r, rev) {
			return false
		}
	}
	for _, mute := range d.ops(wire.OpRole) {
		if mute.op.Role == wire.RoleReadOnly && *mute.op.User == d.user(r) && !d.inPast(mute, r) && !d.inPast(r, mute) && !d.had(r, mute) {
			return false
		}
	}
	return true
}

// against lists what speaks against an addition beside it, but for removals of its author: changes
// of the role of its author, what takes the right to give out its invite from who signed that, and
// what closes the way in that it cites (AUTHORITY.md, rule 4).
func (d *dag) against(add *dagEntry) (out []*dagEntry) {
	signer, invited := add.signer()
	for _, r := range d.ops(wire.OpRole, wire.OpRemove, wire.OpLeave, wire.OpRevoke, wire.OpProfile) {
		var hits bool
		switch r.op.Type {
		case wire.OpRemove:
			hits = invited && *r.op.User == signer
		case wire.OpLeave:
			hits = invited && d.user(r) == signer
		case wire.OpRole:
			hits = *r.op.User == d.user(add) || invited && *r.op.User == signer
		case wire.OpRevoke:
			hits = add.op.Invite != nil && *r.op.Revokes == wire.InviteIDOf(d.group, add.op.Invite.Payload)
		default:
			hits = add.op.Why == wire.WhyOpen && r.setsPolicy()
		}
		if hits && !d.inPast(r, add) && !d.inPast(add, r) {
			out = append(out, r)
		}
	}
	return out
}

// twin says whether an entry knows that the device of another one ran twice then: it wrote
// beside that in another log (AUTHORITY.md, rule 1).
func (d *dag) twin(of, known *dagEntry) bool {
	return slices.ContainsFunc(d.entries, func(e *dagEntry) bool {
		return e.entry.Device == of.entry.Device && e.entry.Log() != of.entry.Log() && d.inPast(e, known) && !d.inPast(e, of) && !d.inPast(of, e)
	})
}

// byTwin says whether an entry knows that an addition was made by a device that ran twice then, or
// by one that came in by such an addition.
func (d *dag) byTwin(add, known *dagEntry) bool {
	return d.twin(add, known) || slices.ContainsFunc(d.ops(wire.OpAdd, wire.OpDeviceAdd), func(host *dagEntry) bool {
		return host.target == add.entry.Device && d.inPast(host, add) && d.byTwin(host, known)
	})
}

// signer is who signed the invite that an addition cites.
func (e *dagEntry) signer() (user wire.UserID, ok bool) {
	if e.op.Invite == nil {
		return user, false
	}
	i, err := wire.DecodeInvite(e.op.Invite.Payload)
	if err != nil {
		return user, false
	}
	return wire.UserIDOf(i.Signer), true
}

// had says whether an entry shows that another member had a record without a loss beside it: one
// who was a member as the record knows, and stayed one until it wrote the entry.
func (d *dag) had(r, loss *dagEntry) bool {
	return slices.ContainsFunc(d.entries, func(e *dagEntry) bool {
		if d.user(e) == d.user(r) || !d.inPast(r, e) || d.inPast(loss, e) {
			return false
		}
		member := d.user(e) == d.founder || slices.ContainsFunc(d.ops(wire.OpAdd), func(add *dagEntry) bool {
			return d.users[add.target] == d.user(e) && d.inPast(add, r) && d.stands(add)
		})
		return member && !slices.ContainsFunc(d.ends(d.user(e), nobody), func(out *dagEntry) bool {
			return !d.inPast(out, r) && !d.inPast(e, out)
		})
	})
}

// before says whether a record was written before a device was added, or added again.
func (d *dag) before(r *dagEntry, device wire.DeviceID) bool {
	return slices.ContainsFunc(d.ops(wire.OpAdd, wire.OpDeviceAdd), func(add *dagEntry) bool {
		return add.target == device && (d.inPast(r, add) || d.user(r) == d.user(add) && r.entry.Device == add.entry.Device && r.entry.Seq < add.entry.Seq)
	})
}

// stands says whether an addition certainly counts: it was not made by somebody who was taken out
// concurrently, nor by an invite that was revoked concurrently.
func (d *dag) stands(add *dagEntry) bool {
	beside := func(e *dagEntry) bool { return !d.inPast(e, add) && !d.inPast(add, e) }
	return !slices.ContainsFunc(d.against(add), func(r *dagEntry) bool { return r.op.Type == wire.OpRevoke }) &&
		!slices.ContainsFunc(d.takenOut(d.user(add)), beside)
}

// mayWrite says whether the addition of a record's author stands.
func (d *dag) mayWrite(r *dagEntry) bool {
	brought, stands := false, false
	for _, add := range d.ops(wire.OpAdd, wire.OpDeviceAdd) {
		if add.target != r.entry.Device || !d.inPast(add, r) {
			continue
		}
		brought, stands = true, stands || d.stands(add)
	}
	return !brought || stands
}

// raw returns all entries as they arrived, in causal order.
func (d *dag) raw() [][]byte {
	out := make([][]byte, len(d.entries))
	for i, e := range d.entries {
		out[i] = e.raw
	}
	return out
}

// setsPolicy says whether anybody ever said who may come in.
func (d *dag) setsPolicy() bool {
	return slices.ContainsFunc(d.ops(wire.OpProfile), (*dagEntry).setsPolicy)
}

func (e *dagEntry) setsPolicy() bool {
	item, err := wire.DecodeProfileItem(e.op.Profile.Payload)
	return err != nil || item.Field == wire.FieldPolicy
}
