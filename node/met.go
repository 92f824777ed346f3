package node

import "time"

// A device knows of a group what it knew when it last exchanged with a member, and what
// has come since. Nobody can know that this is all: others may have written elsewhere. So
// what people see of a group has the time of that exchange with it.

// metRow is when this device last had all that a member knew of a group.
type metRow struct {
	At uint64 `cbor:"1,keyasint"` // milliseconds
}

// met is that, and when it was last written down.
type met struct {
	at      time.Time // when the exchange began; zero: there was none, as far as is kept
	written time.Time
}

// metEvery is how often it is written down: after a restart it may be older by so much.
const metEvery = time.Minute

func (s *scheduler) load() error {
	var row metRow
	found, err := getRow(s.g.n.store, keyMet+string(s.g.id[:]), &row)
	if err == nil && found {
		s.met.at = time.UnixMilli(int64(row.At)) //nolint:gosec // this device's clock
	}
	return err
}

// meets notes that an exchange which began then has brought all that a member knew.
func (s *scheduler) meets(began time.Time) {
	s.mu.Lock()
	m := &s.met
	m.at = began
	write := m.written.IsZero() || began.Sub(m.written).Abs() >= metEvery
	if write {
		m.written = began
	}
	s.mu.Unlock()
	if g := s.g; write && g.n.groups.get(g.id) == g {
		if err := g.n.put(keyMet+string(g.id[:]), &metRow{At: milliseconds(began)}); err != nil {
			g.log.Debug("when a member was met is not written down", "err", err)
		}
	}
}

// knownAsOf is when all that a member, or a mailbox of the group, knew of it was here.
func (g *groupSession) knownAsOf() time.Time {
	g.scheduler.mu.Lock()
	at := g.scheduler.met.at
	g.scheduler.mu.Unlock()
	if read := g.mail.lastRead(); read.After(at) {
		at = read
	}
	return at.Round(0)
}

// unmet says of a group that is in contact with nobody how old the news of it is.
func (g *groupSession) unmet() string {
	at, opened := g.knownAsOf(), g.n.opened
	switch {
	case at.IsZero():
		return "no member was met since this node started at " + moment(opened)
	case at.Before(opened):
		return "no member was met since this node started at " + moment(opened) + "; the group is known as of " + moment(at)
	}
	return "no member is connected that was caught up with; the group is known as of " + moment(at)
}

// moment gives a time for people.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
