package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// castVote says where this device is, when that is due.
func (m *Machine) castVote(now time.Time) {
	if !m.timers.due(now, timerVote) || m.fork.settling.rolling {
		return
	}
	m.timers.stop(timerVote)
	n, _ := m.position()
	if n == nil {
		return
	}
	refused, unheld := epochIDs(m.own.Refused), epochIDs(m.own.Unheld)
	if last := m.logs.Votes[m.own.log.Device]; last != nil && last.Log == m.own.log {
		same := last.Commit != nil && last.Commit.Child == n.ID && len(refused)+len(unheld) == 0 ||
			last.Vote != nil && last.Vote.Position == n.ID && slices.Equal(last.Vote.Refused, refused) && slices.Equal(last.Vote.Unheld, unheld)
		if again := last.Since(now).Add(voteAtLeast); same && now.Before(again) {
			m.timers.set(timerVote, again)
			return
		}
	}
	_, err := m.append(now, wire.KindVote, &wire.Vote{Position: n.ID, Refused: refused, Unheld: unheld})
	m.tx.fail(err)
	m.timers.set(timerVote, now.Add(voteAtLeast))
}

// sayWhere writes a vote that says nothing new of the epochs, but shows what this device
// knew when it wrote it.
func sayWhere(m *Machine, now time.Time) {
	vote := &wire.Vote{Position: m.own.Position, Refused: epochIDs(m.own.Refused), Unheld: epochIDs(m.own.Unheld)}
	_, err := m.append(now, wire.KindVote, vote)
	m.tx.fail(err)
}

func epochIDs(list [][]byte) []wire.EpochID {
	out := make([]wire.EpochID, len(list))
	for i, id := range list {
		out[i] = wire.EpochID(id)
	}
	return out
}

// unheldAfter is how long a chosen branch must stay out of reach to be named so.
const unheldAfter = 14 * 24 * time.Hour

// nameUnheld names, in this device's vote, a branch that nobody has brought it to
// for unheldAfter: perhaps only devices that are gone hold it. Once more than half
// of the live users say so, the votes of users who are not live count nothing there.
func (m *Machine) nameUnheld(now time.Time) {
	m.timers.stop(timerUnheld)
	var missed wire.EpochID
	if at := m.choose(now); m.stranded(at) {
		if m.epochs.isThin(at.ID) {
			missed = at.ID // what is left of it does not let this device in
		}
		// Down from where the chain leaves this device's own: the keys of the fork
		// point itself may be gone too.
		position := m.tree.Nodes[m.own.Position]
		for n := at; n != nil && !m.epochs.has(n.ID) && !n.Contains(position); n = n.Parent {
			missed = n.ID
		}
	}
	if missed != m.own.Missed.Epoch {
		m.own.Missed = missedRow{Epoch: missed, Since: uint64(now.UnixMilli())} //nolint:gosec // after 1970
		m.own.save()
	}
	// An epoch that is held now was not out of reach for ever.
	before := len(m.own.Unheld)
	m.own.Unheld = slices.DeleteFunc(m.own.Unheld, func(id []byte) bool { return m.epochs.isWhole(wire.EpochID(id)) })
	if missed != (wire.EpochID{}) && !slices.ContainsFunc(m.own.Unheld, func(id []byte) bool { return bytes.Equal(id, missed[:]) }) {
		at := time.UnixMilli(int64(m.own.Missed.Since)).Add(unheldAfter) //nolint:gosec // written by this machine
		if now.Before(at) {
			m.timers.set(timerUnheld, at)
		} else if len(m.own.Unheld) < wire.MaxRefused {
			m.own.Unheld = append(m.own.Unheld, slices.Clone(missed[:]))
			slices.SortFunc(m.own.Unheld, bytes.Compare)
			before = -1
		}
	}
	if len(m.own.Unheld) != before {
		m.own.save()
		m.timers.set(timerVote, now)
	}
}
