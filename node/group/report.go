package group

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// maxBranches is how many branches a Report has, the newest first.
const maxBranches = 16

// Report is all that the machine knows of a group's state, for people who look for a fault.
type Report struct {
	Status
	Policy    wire.Policy
	Branches  []Branch
	Devices   []DeviceReport // of the roster
	Gate      bool           // nobody seals: somebody who is out is in the tree
	Adds      int            // devices that the next commit adds
	Removes   int            // leaves that it removes
	HealAt    time.Time      // when this device makes that commit, if nobody else does; zero: it need not
	SettleAt  time.Time      // when a fork is judged; zero: none is new
	Rejoining bool           // this device asks to be added again
	Waiting   int            // seals here under epochs whose keys are not
	Lacking   int            // entries that others name and that are not here
	Requests  int            // that wait for an admin
	Suggest   []Suggestion   // whom to think of removing
	Unsealed  []wire.MessageID
	Missing   []wire.MessageID // records owed to this device that it cannot read
	SendKey   wire.KeyID       // of envelopes
	Keys      int              // transport keys held
}

// Branch is one line of epochs from a fork, or from the first root, to its newest.
type Branch struct {
	Tip    wire.EpochID
	Number uint64 // MLS epoch number of the tip
	From   wire.EpochID
	Length int         // epochs since From
	By     wire.UserID // who made the first of them
	Chosen bool
	Here   bool // this device stands on it
	Held   bool // the tip's keys are here
	Reason string
	Voters []wire.UserID // with a device whose newest vote lies on it
}

// DeviceReport says how far a device is, as far as this one knows.
type DeviceReport struct {
	Device  wire.DeviceID
	User    wire.UserID
	Name    string
	Own     bool
	Last    time.Time // of its newest entry here, by its clock; zero: it wrote none
	Vote    wire.EpochID
	VotedAt time.Time
	Number  uint64 // MLS epoch number that it voted for
	Chosen  bool   // that vote lies on the chosen chain
	Refused int    // epochs its vote calls invalid
	Unheld  int    // epochs its vote calls unobtainable
	Heard   bool   // it has said how far it is since this node started
	Lacks   int    // entries that are here and that it was not known to have; 0 unless Heard
	Gaps    int    // messages that it said it cannot read
	Rejoins bool   // it asks to be added again
	InTree  bool
}

// Report tells the state of the group.
func (m *Machine) Report(now time.Time) Report {
	r := Report{
		Status: m.Status(), Policy: m.rosters.now.Policy(), Branches: m.branches(), Devices: m.deviceReports(),
		SettleAt: m.timers.at(timerSettle), Rejoining: m.joining.rejoin != nil, Waiting: m.messages.waiting.count, Lacking: len(m.logs.Parking.Waiting),
		Unsealed: slices.Clone(m.messages.outbox), Missing: m.messages.lacks(), Keys: len(m.keys.keys),
	}
	r.SendKey, _ = m.keys.current()
	r.Suggest = suggestions(m.logs, m.tree, m.rosters.now, now)
	for _, a := range m.rosters.now.Requests() {
		if a.Open(m.next(now)) {
			r.Requests++
		}
	}
	if n, e := m.position(); n != nil {
		d := m.compareTree(now, e)
		r.Gate, r.Adds, r.Removes = d.gate, len(d.adds), len(d.removes)
		if !d.empty() {
			r.HealAt = m.timers.at(timerHeal)
		}
	}
	return r
}

// branches lists the tips of the tree of epochs, the chosen one first, then the newest.
func (m *Machine) branches() []Branch {
	chosen, here := m.fork.chosen.at, m.tree.Nodes[m.own.Position]
	var out []Branch
	for _, tip := range m.tree.Nodes {
		if len(tip.Children) > 0 || tip == m.tree.Root {
			continue
		}
		b := Branch{
			Tip: tip.ID, Number: tip.Number, Chosen: tip == chosen, Here: here != nil && here.Contains(tip) && only(here, tip), Held: m.epochs.has(tip.ID),
		}
		first := tip
		for b.Length = 1; first.Parent != m.tree.Root && len(first.Parent.Children) == 1; first = first.Parent {
			b.Length++
		}
		b.From = first.Parent.ID
		if by := first.By(); by != nil {
			b.By = by.User
		}
		switch {
		case tip.Void || first.Void:
			b.Reason = "its author had taken another side, or made too many commits"
		case m.fork.refused.has(tip.ID) || m.fork.refused.has(first.ID):
			b.Reason = "found invalid here"
		}
		for u := range m.rosters.now.Users() {
			if slices.ContainsFunc(u.Devices, func(d wire.DeviceID) bool { return first.Contains(m.tree.PositionOf(m.logs.Votes[d])) }) {
				b.Voters = append(b.Voters, u.ID)
			}
		}
		out = append(out, b)
	}
	chosenFirst := func(b Branch) int {
		if b.Chosen {
			return 0
		}
		return 1
	}
	slices.SortFunc(out, func(a, b Branch) int {
		return cmp.Or(chosenFirst(a)-chosenFirst(b), cmp.Compare(b.Number, a.Number), bytes.Compare(a.Tip[:], b.Tip[:]))
	})
	return out[:min(len(out), maxBranches)]
}

// only says whether no fork lies between a node and a tip under it.
func only(n, tip *epochs.Node) bool {
	for ; tip != n; tip = tip.Parent {
		if len(tip.Parent.Children) > 1 {
			return false
		}
	}
	return true
}

func (m *Machine) deviceReports() []DeviceReport {
	in := m.epochs.inTree(m.own.Position)
	marks := m.logs.Marks()
	last := map[wire.DeviceID]time.Time{}
	for _, list := range m.logs.Lists {
		if at := list.Head().Dated().Time(); at.After(last[list.ID.Device]) {
			last[list.ID.Device] = at
		}
	}
	chosen := m.fork.chosen.at
	out := make([]DeviceReport, 0, m.rosters.now.NumDevices())
	for _, id := range m.rosters.now.DeviceIDs() {
		d := m.rosters.now.Device(id).Device
		r := DeviceReport{Device: id, User: d.User, Name: d.Cert.Name, Own: id == m.own.log.Device, Last: last[id], InTree: in[id]}
		if n := m.tree.PositionOf(m.logs.Votes[id]); n != nil {
			it := m.logs.Votes[id]
			r.Vote, r.VotedAt, r.Number, r.Chosen = n.ID, it.Dated().Time(), n.Number, n.Contains(chosen)
			if it.Vote != nil {
				r.Refused, r.Unheld = len(it.Vote.Refused), len(it.Vote.Unheld)
			}
		}
		if p := m.peers.of[id]; p != nil && len(p.marks) > 0 {
			r.Heard, r.Gaps, r.Rejoins = true, len(m.messages.reseal.planned[id]), p.rejoin != nil
			for _, k := range marks {
				if k.Log.Device != id && p.marks[k.Log] < k.Seq {
					r.Lacks += int(k.Seq - p.marks[k.Log]) //nolint:gosec // entries in memory
				}
			}
		}
		out = append(out, r)
	}
	return out
}
