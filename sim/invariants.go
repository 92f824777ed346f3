package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Invariant is one property that must hold after every run. Number 0 is that no machine
// breaks or panics.
type Invariant struct {
	Number int
	Name   string
	Text   string
	Of     string // what it is judged of, in the plural
	check  func(*observation) []string
	// of counts what there was to judge. Where it is 0, that nothing was found says nothing.
	of func(*observation) int
}

// Invariants lists all of them.
var Invariants = []Invariant{
	{0, "sound", "no machine breaks, and none panics", "honest devices", sound, honestDevices},
	{1, "agreement", "all live members agree on EpochID, epoch_authenticator, exporter and roster", "live members", agreement, liveMembers},
	{2, "tree", "the tree equals the roster", "live members", treeIsRoster, liveMembers},
	{3, "order", "the fork choice does not depend on the order of arrival", "members with all entries, each order", orderFree, orders},
	{4, "delivery", "every record is held in plaintext by its live audience, shown once, in its author's order", "copies owed", delivery, func(o *observation) int { return o.deliveries().Owed }},
	{5, "empty", "outboxes, parked entries, gaps and rejoins end empty", "live members", endsEmpty, liveMembers},
	{6, "gate", "no seal opens for anyone whose removal or revocation its sealer knew", "seals", gate, func(o *observation) int { return o.Sealed }},
	{7, "return", "nobody returns without a later addition", "removals and leavings", noReturn, ends},
	{8, "additions", "every effective addition can send and read", "members who sent at the end", additionsWork, func(o *observation) int { return len(o.Probed) }},
	{9, "bounds", "state is bounded: 64 epochs, 4 branches, 256 parked a device, 4 MiB a transaction, 1 MiB a row", "honest devices", bounds, honestDevices},
	{10, "windows", "no secret outlives its window", "kinds of secrets, each device", windows, secretsKept},
	{11, "sequence", "no device signs two entries with one (incarnation, seq)", "entries", noReuse, func(o *observation) int { return len(o.Dag.entries) }},
	{12, "rest", "switches are bounded, and heals do not loop", "live members", comesToRest, liveMembers},
	{13, "justified", "every change of the tree is justified", "commits of the chosen history", justified, chosenCommits},
	{14, "insider", "one insider never rolls back history that a majority voted for", "votes beside a hostile member", noRollback, votesBesideHostile},
	{15, "traffic", "catch-up traffic is proportional to what was missing", "exchanges", proportional, func(o *observation) int { return len(o.Traffic) }},
	{16, "clocks", "no key and no message is destroyed before its time, whatever a clock says", "secrets destroyed", keptInTime, destroyedSecrets},
	{17, "told", "who says that it is a member is one, or is told", "devices that are out and reach a member", membersAreTold, outsiders},
	{18, "rights", "nobody acts beyond a right that it has", "members whom somebody let in", withinRights, letIn},
	{19, "content", "all show one picture, and what was deleted or expired does not come back", "pictures and erasures", contents, pictures},
	{20, "files", "who can read a message gets its file, as long as a member who has it is connected", "files of messages that live members can read", filesCome, filesWanted},
}

func (o *observation) live() (out []*deviceView) {
	for _, d := range o.Devices {
		if d.Live {
			out = append(out, d)
		}
	}
	return out
}

func sound(o *observation) (bad []string) {
	for _, d := range o.Devices {
		if d.Broken != nil && !d.Hostile {
			bad = append(bad, fmt.Sprintf("%s: %v", d.Name, d.Broken))
		}
	}
	return bad
}

func agreement(o *observation) (bad []string) {
	live := o.live()
	if len(live) == 0 {
		return []string{"nobody is a live member"}
	}
	a := live[0]
	for _, d := range live {
		switch {
		case d.Status.State != group.StateMember:
			bad = append(bad, fmt.Sprintf("%s is %q, at epoch %d", d.Name, d.Status.State, d.Status.Epoch))
		case d.Status.Position != a.Status.Position:
			bad = append(bad, fmt.Sprintf("%s is at epoch %d %.8v, %s at %d %.8v", d.Name, d.Status.Epoch, d.Status.Position, a.Name, a.Status.Epoch, a.Status.Position))
		case !bytes.Equal(d.Status.Authenticator, a.Status.Authenticator) || !bytes.Equal(d.Exporter, a.Exporter) || len(d.Exporter) == 0:
			bad = append(bad, fmt.Sprintf("%s and %s are in one epoch with different secrets", d.Name, a.Name))
		}
		if rosterKey(d.Members) != rosterKey(a.Members) {
			bad = append(bad, fmt.Sprintf("%s has a roster of %d users, %s another of %d", d.Name, len(d.Members), a.Name, len(a.Members)))
		}
	}
	return bad
}

// treeIsRoster lets a hostile member be out of the tree: after a reboot nobody can add a device
// that keeps its KeyPackages to itself.
func treeIsRoster(o *observation) (bad []string) {
	hostile := map[wire.DeviceID]bool{}
	for _, d := range o.Devices {
		hostile[d.Device] = hostile[d.Device] || d.Hostile // a copy of its home has its ID
	}
	for _, d := range o.live() {
		var roster []wire.DeviceID
		for _, m := range d.Members {
			roster = append(roster, m.Devices...)
		}
		roster = slices.DeleteFunc(roster, func(x wire.DeviceID) bool { return hostile[x] && !slices.Contains(d.Leaves, x) })
		slices.SortFunc(roster, func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) })
		if !slices.Equal(roster, d.Leaves) {
			bad = append(bad, fmt.Sprintf("%s: the tree has %d devices, the roster %d", d.Name, len(d.Leaves), len(roster)))
		}
	}
	return bad
}

func orderFree(o *observation) (bad []string) {
	for _, x := range o.Orders {
		for _, d := range o.live() {
			if d.Status.Head != x.Head && d.Status.Entries == len(o.Dag.entries) {
				bad = append(bad, fmt.Sprintf("%s chose %.8v; a machine that got all entries in order %d chooses %.8v", d.Name, d.Status.Head, x.Seed, x.Head))
			}
		}
	}
	return bad
}

// tally counts records and readers for the report's table.
type tally struct {
	Records

	bad   []string
	lacks map[string]int // of a live device: messages that are owed to it and not held
}

func (o *observation) deliveries() tally {
	t := tally{lacks: map[string]int{}}
	shown := map[string]map[wire.MessageID]int{}
	running := map[string]bool{}
	heldBy, taken, has := map[wire.MessageID]int{}, o.taken(), map[string]map[wire.MessageID]bool{}
	for _, d := range o.Devices {
		shown[d.Name] = map[wire.MessageID]int{}
		running[d.Name] = d.Running
		for _, id := range d.Shown {
			shown[d.Name][id]++
		}
		if has[d.Name] = d.has(); d.Live {
			for id := range has[d.Name] {
				heldBy[id]++
			}
		}
	}
	sent := o.sent()
	for _, a := range o.Sent {
		if a.Probe || a.Unsure {
			continue
		}
		t.Sent++
		author := a.Seat.n.name
		r := o.Dag.by[a.ID]
		if r == nil {
			if running[author] && !a.Void {
				t.Lost++
				t.bad = append(t.bad, fmt.Sprintf("%s that %s sent at %s is nowhere", a.what(), author, span(a.At.Sub(epochZero))))
			}
			continue
		}
		if a.Void || heldBy[a.ID] == 0 || taken[a.ID] {
			continue // only a device that is gone for good holds it; or nobody shall
		}
		for _, d := range o.live() {
			if !o.Dag.owed(r, d.Device) || o.moot(a, d.Device, sent) {
				continue
			}
			t.Owed++
			if has[d.Name][a.ID] {
				t.Held++
				continue
			}
			t.Lost++
			t.lacks[d.Name]++
			t.bad = append(t.bad, fmt.Sprintf("%s lacks %s that %s sent at %s (seq %d)", d.Name, a.what(), author, span(a.At.Sub(epochZero)), r.entry.Seq))
		}
	}
	for _, d := range o.Devices {
		if d.Hostile {
			continue
		}
		for _, id := range d.Shown {
			if n := shown[d.Name][id]; n > 1 {
				t.Twice++
				t.bad = append(t.bad, fmt.Sprintf("%s shows %.8v %d times", d.Name, id, n))
				shown[d.Name][id] = 1
			}
		}
		seen := map[wire.MessageID]bool{}
		for _, id := range d.Notified {
			if seen[id] {
				t.Twice++
				t.bad = append(t.bad, fmt.Sprintf("%s was told of %.8v twice", d.Name, id))
			}
			seen[id] = true
		}
		last := map[wire.LogID]*dagEntry{}
		for _, id := range d.Shown {
			r := o.Dag.by[id]
			if r == nil || o.Dag.before(r, d.Device) {
				continue // of two additions it may know the later one first; then it also shows the messages between
			}
			log := r.entry.Log()
			if after := last[log]; after != nil && r.entry.Seq < after.entry.Seq && o.Dag.inPast(r, after) { // of a log that forks there is no one order
				t.bad = append(t.bad, fmt.Sprintf("%s shows seq %d after seq %d of one author", d.Name, r.entry.Seq, after.entry.Seq))
			}
			last[log] = r
		}
		if !d.Cursors {
			t.bad = append(t.bad, fmt.Sprintf("%s: the cursors of its events have a gap", d.Name))
		}
	}
	return t
}

// has are the messages that a device was told of.
func (v *deviceView) has() map[wire.MessageID]bool {
	out := make(map[wire.MessageID]bool, len(v.Told)+len(v.Shown))
	maps.Copy(out, v.Told)
	for _, id := range v.Shown {
		out[id] = true
	}
	return out
}

func delivery(o *observation) []string { return o.deliveries().bad }

// goneFor counts the messages that are owed to a device and that no live member holds.
func (o *observation) goneFor(d *deviceView) (n int) {
	held := map[wire.MessageID]bool{}
	for _, l := range o.live() {
		maps.Copy(held, l.has())
	}
	for _, a := range o.Sent {
		if r := o.Dag.by[a.ID]; r != nil && !held[a.ID] && o.Dag.owed(r, d.Device) {
			n++
		}
	}
	return n
}

func endsEmpty(o *observation) (bad []string) {
	for _, d := range o.live() {
		s := d.Status
		if o.Hostile {
			s.Parked, s.Gaps = 0, 0 // a hostile member may withhold seals and the past of its entries
		}
		s.Parked -= min(s.Parked, o.Gone) // what they build on died with its author's disk
		if s.Gaps > 0 {
			s.Gaps -= min(s.Gaps, o.goneFor(d))
		}
		if s.Gaps+s.Outbox+s.Parked > 0 {
			bad = append(bad, fmt.Sprintf("%s ends with %d gaps, %d in the outbox, %d parked", d.Name, s.Gaps, s.Outbox, s.Parked))
		}
	}
	return bad
}

func gate(o *observation) (bad []string) {
	for _, s := range o.Seals {
		bad = append(bad, fmt.Sprintf("%s sealed at %s under a tree with %v, who were out as it knew; the keys are with %v", s.Sealer, span(s.At), s.Outsiders, s.Openers))
	}
	return bad
}

func noReturn(o *observation) (bad []string) {
	live := o.live()
	if len(live) == 0 {
		return nil
	}
	for _, m := range live[0].Members {
		owners := 0
		for _, x := range live[0].Members {
			if x.Role == wire.RoleOwner {
				owners++
			}
		}
		for _, out := range o.Dag.takenOut(m.User) {
			by := o.Dag.user(out)
			stays := slices.ContainsFunc(live[0].Members, func(x memberView) bool { return x.User == by })
			again := slices.ContainsFunc(o.Dag.ops(wire.OpAdd), func(a *dagEntry) bool {
				return o.Dag.users[a.target] == m.User && o.Dag.inPast(out, a)
			})
			if again || !stays && out.op.Type == wire.OpRemove || m.Role == wire.RoleOwner && owners == 1 {
				continue // added again; or void, since its author was taken out; or the last owner, who stays
			}
			if o.Dag.everHad(m.User, wire.RoleOwner, out) && out.op.Type == wire.OpRemove && !o.Dag.everHad(by, wire.RoleOwner, out) {
				continue // no admin removes an owner
			}
			bad = append(bad, fmt.Sprintf("user %.8v is a member although a %v of it stands, and no addition follows", m.User, out.op.Type))
		}
	}
	return bad
}

func additionsWork(o *observation) (bad []string) {
	live := o.live()
	sent := map[string]bool{}
	for id, author := range o.Probed {
		sent[author] = true
		for _, d := range live {
			if !slices.Contains(d.Shown, id) {
				bad = append(bad, fmt.Sprintf("%s cannot read what %s sent at the end", d.Name, author))
			}
		}
	}
	if len(o.Probed) > 0 {
		for _, d := range live {
			if !sent[d.Name] && d.mayWrite() {
				bad = append(bad, d.Name+" could not send at the end")
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func bounds(o *observation) (bad []string) {
	for _, d := range o.Devices {
		if d.Hostile {
			continue
		}
		if d.PeakEpochs > maxEpochs {
			bad = append(bad, fmt.Sprintf("%s kept the keys of %d epochs", d.Name, d.PeakEpochs))
		}
		if d.Branches > maxBranches {
			bad = append(bad, fmt.Sprintf("%s has keys of %d branches of one fork", d.Name, d.Branches))
		}
		if d.PeakParked > maxParked*max(1, len(o.Devices)) {
			bad = append(bad, fmt.Sprintf("%s parked %d entries", d.Name, d.PeakParked))
		}
		if d.PeakTurn > maxTurn {
			bad = append(bad, fmt.Sprintf("%s wrote %d bytes in one transaction, which a store refuses", d.Name, d.PeakTurn))
		}
		if d.PeakRow > maxRow {
			bad = append(bad, fmt.Sprintf("%s wrote a row of %d bytes, which a store refuses", d.Name, d.PeakRow))
		}
	}
	return bad
}

func windows(o *observation) (bad []string) {
	for _, d := range o.Devices {
		for _, s := range d.Secrets {
			most := secretsFor
			if s.What == "kp" && d.Status.State == group.StateJoining {
				continue // somebody may add it yet
			}
			if s.What == "epoch" || s.What == "keys" {
				most = keysFor
			}
			if s.Age > most+grace {
				bad = append(bad, fmt.Sprintf("%s still has %s after %s", d.Name, s.What, span(s.Age.Round(time.Minute))))
			}
		}
	}
	return bad
}

// keptInTime: what is destroyed has reached its age by the true time, or by what another's
// clock has borne out.
func keptInTime(o *observation) (bad []string) {
	for _, d := range o.Devices {
		if !d.Hostile {
			bad = append(bad, d.Early[:min(len(d.Early), 20)]...)
		}
	}
	return bad
}

// membersAreTold checks that nobody goes on as a member of a group that it is not in: it
// would send into the void. A device that reaches no member cannot know.
func membersAreTold(o *observation) (bad []string) {
	for _, d := range o.Devices {
		if d.Running && !d.Live && d.Reached && (d.Status.State == group.StateMember || d.Status.State == group.StateSyncing) && len(o.live()) > 0 {
			bad = append(bad, fmt.Sprintf("%s says that it is %q, and is not in the roster of the members", d.Name, d.Status.State))
		}
	}
	return bad
}

// withinRights checks what certainly needs a right: each member and each role was given by
// somebody who could, and who was let in is out only by somebody who could remove it. And
// operations that came from who had no right change nothing.
func withinRights(o *observation) (bad []string) {
	bad = slices.Clone(o.Beyond)
	live := o.live()
	if len(live) == 0 {
		return bad
	}
	founder := o.Dag.founder
	in := map[wire.UserID]bool{}
	for _, m := range live[0].Members {
		if in[m.User] = true; m.User == founder {
			continue
		}
		adds := o.Dag.ops(wire.OpAdd)
		if !slices.ContainsFunc(adds, func(a *dagEntry) bool { return o.Dag.users[a.target] == m.User && o.Dag.mayAdd(a) }) {
			bad = append(bad, fmt.Sprintf("user %.8v is a member, and nobody who could let it in did", m.User))
		}
		given := slices.ContainsFunc(adds, func(a *dagEntry) bool {
			return o.Dag.users[a.target] == m.User && o.Dag.mayAdd(a) && a.op.Role <= m.Role
		}) ||
			slices.ContainsFunc(o.Dag.ops(wire.OpRole), func(r *dagEntry) bool {
				return *r.op.User == m.User && r.op.Role <= m.Role && o.Dag.everHad(o.Dag.user(r), wire.RoleOwner, r)
			})
		if m.Role <= wire.RoleAdmin && !given {
			bad = append(bad, fmt.Sprintf("user %.8v is %v, and no owner made it that", m.User, m.Role))
		}
	}
	if o.Dag.someEnd() {
		return bad // an end may take others along, whose additions rested on it
	}
	for _, a := range o.Dag.ops(wire.OpAdd) {
		if u := o.Dag.users[a.target]; !in[u] && a.op.Why != wire.WhyInvite && o.Dag.mayAdd(a) {
			bad = append(bad, fmt.Sprintf("user %.8v is out, and nobody who could remove it did", u))
		}
	}
	return bad
}

func noReuse(o *observation) []string { return slices.Clone(o.Twice) }

// comesToRest checks that a world that is left alone for a while is still, and that no
// device changed sides more often than it had reason to.
func comesToRest(o *observation) (bad []string) {
	for _, d := range o.Devices {
		if d.Spins > 0 && !d.Hostile {
			bad = append(bad, fmt.Sprintf("%s wanted to be woken at once over and over, %d times", d.Name, d.Spins))
		}
		if d.Insisted > 0 && !d.Hostile {
			bad = append(bad, fmt.Sprintf("%s asked for a sync more than 900 times within an hour, %d times more", d.Name, d.Insisted))
		}
		if !d.Live {
			continue
		}
		if d.LateMoves > 0 {
			bad = append(bad, fmt.Sprintf("%s moved %d times in the last %s, in which nothing was done to the world", d.Name, d.LateMoves, span(o.Rest)))
		}
		if most := 4 + 4*o.Forks; d.Switches > most {
			bad = append(bad, fmt.Sprintf("%s switched %d times over %d forks", d.Name, d.Switches, o.Forks))
		}
	}
	return bad
}

func justified(o *observation) []string { return slices.Clone(o.Justify) }

// noRollback checks that an epoch is in the chosen history if more than half of the
// members' newest votes lay under it for an hour, by the clocks of the voters. Worlds
// without a hostile member may change their choice, so nothing is checked there.
func noRollback(o *observation) (bad []string) {
	if !o.Hostile || o.Head == nil || len(o.live()) == 0 {
		return nil
	}
	electorate := map[wire.UserID]bool{}
	for _, m := range o.live()[0].Members {
		electorate[m.User] = true
	}
	votes := map[wire.UserID]*dagEpoch{}
	since := map[*dagEpoch]uint64{}
	lost := map[*dagEpoch]bool{}
	unheld := map[wire.UserID][]wire.EpochID{} // by their newest votes
	settle := func(hlc uint64) {
		for _, e := range o.Dag.inOrder() {
			n := 0
			for u := range electorate {
				if votes[u].under(e) {
					n++
				}
			}
			switch {
			case 2*n <= len(electorate):
				delete(since, e)
			case since[e] == 0:
				since[e] = hlc
			case millis(hlc)-millis(since[e]) > uint64(time.Hour.Milliseconds()) && !o.Head.under(e): //nolint:gosec // positive
				lost[e] = true
			}
		}
	}
	for _, e := range o.Dag.entries {
		var at *dagEpoch
		switch {
		case e.vote != nil:
			at = o.Dag.epochs[e.vote.Position]
			unheld[o.Dag.user(e)] = e.vote.Unheld
		case e.commit != nil:
			at = o.Dag.epochs[e.commit.Child]
			delete(unheld, o.Dag.user(e))
		default:
			continue
		}
		settle(e.entry.HLC)
		votes[o.Dag.user(e)] = at
	}
	for e := range lost {
		if o.givenUp(e, electorate, unheld) {
			continue
		}
		bad = append(bad, fmt.Sprintf("epoch %d %.8v, which more than half voted for, is not in the chosen history", e.number, e.id))
	}
	slices.Sort(bad)
	return bad
}

// givenUp says whether more than half of the live users named an epoch, or one above it, as
// unheld: then the votes of users who are gone hold nobody there (docs/ARCHITECTURE.md,
// Fork choice).
func (o *observation) givenUp(e *dagEpoch, electorate map[wire.UserID]bool, unheld map[wire.UserID][]wire.EpochID) bool {
	live, named := map[wire.UserID]bool{}, 0
	for _, d := range o.Devices {
		if !electorate[d.User] || live[d.User] || !d.Live && !d.Hostile {
			continue
		}
		live[d.User] = true
		if slices.ContainsFunc(unheld[d.User], func(id wire.EpochID) bool { return o.Dag.epochs[id] != nil && e.under(o.Dag.epochs[id]) }) {
			named++
		}
	}
	return 2*named > len(live)
}

func millis(hlc uint64) uint64 { return hlc >> 16 }

// inOrder lists the epochs in the order of their commits.
func (d *dag) inOrder() []*dagEpoch {
	out := make([]*dagEpoch, 0, len(d.epochs))
	for _, e := range d.epochs {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *dagEpoch) int { return a.by.index - b.by.index })
	return out
}

// proportional checks that, beyond the version vectors, the exchanges of two devices cost
// at most some times the bytes that they brought, and that no single one costs much for
// nothing.
func proportional(o *observation) (bad []string) {
	cost, useful, n := 0, 0, 0
	for _, x := range o.Traffic {
		c, u := x.total()-x.Vectors, x.News+x.SealNews+x.Trees
		cost, useful, n = cost+c, useful+u, n+1
		if c > 64<<10+10*u {
			bad = append(bad, fmt.Sprintf("%s and %s exchanged %d bytes at %s for %d bytes of news", x.A, x.B, c, span(x.At), u))
		}
	}
	if cost > 512*n+3*useful {
		bad = append(bad, fmt.Sprintf("%d exchanges cost %d bytes for %d bytes of news", n, cost, useful))
	}
	return bad
}
