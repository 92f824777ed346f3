package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// The fork choice looks at a set that has been quiet for settleQuiet, with a
// little jitter, or for which it has waited settleAtMost.
const (
	settleQuiet  = 2 * time.Second
	settleAtMost = 15 * time.Second
)

// settling is the wait until a fork is judged: timerSettle says when it is over.
type settling struct {
	timers  *timers
	since   time.Time    // first disturbance that is not yet judged; zero: there is none
	awaited wire.EpochID // the choice, while a fork is left alone; zero: none is
	calm    time.Time    // timerSettle before what disturbed it in this turn; zero: that stays
	rolling bool         // more commits of the target's chain are to be processed: the position is a passing one
	stirred bool         // in this turn, by what may have been written before the fork was known
}

// disturbed notes that something came in that may turn the choice: the fork is judged when
// it gets quiet. written is the date of a commit or vote, zero of anything else. The author
// of an entry that was written after this device knew of the fork may have judged the fork,
// so such an entry prolongs the wait only if it turns the choice.
func (s *settling) disturbed(now, written time.Time, jitter time.Duration) {
	if written.IsZero() || s.since.IsZero() || !written.After(s.since) {
		s.stirred, s.calm = true, time.Time{}
	} else if !s.stirred && s.calm.IsZero() {
		s.calm = s.timers.at(timerSettle)
	}
	if s.since.IsZero() {
		s.since = now
	}
	s.timers.set(timerSettle, earliest(now.Add(settleQuiet+jitter), s.since.Add(settleAtMost)))
}

// look begins a look at the choice, which is now target, if there is one. A wait that was
// prolonged for nothing ends when it would have ended.
func (s *settling) look(target *epochs.Node, t *epochs.Tree) {
	calm, awaited := s.calm, t.Nodes[s.awaited]
	s.stirred, s.calm, s.awaited = false, time.Time{}, wire.EpochID{}
	if target != nil && !calm.IsZero() && awaited != nil && awaited.Contains(target) {
		s.timers.set(timerSettle, calm)
	}
}

// waits says whether the fork is not to be judged yet.
func (s *settling) waits(now time.Time) bool { return now.Before(s.timers.at(timerSettle)) }

// over ends the wait: the fork is judged.
func (s *settling) over() {
	s.timers.stop(timerSettle)
	s.since = time.Time{}
}

// meanwhile does something without which the wait goes on as before.
func (s *settling) meanwhile(do func() bool) bool {
	since, at := s.since, s.timers.at(timerSettle)
	done := do()
	s.since = since
	s.timers.set(timerSettle, at)
	return done
}

// drawBelow draws a duration below most.
func drawBelow(rand io.Reader, most time.Duration) (time.Duration, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, fmt.Errorf("drawing a jitter: %w", err)
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(most)), nil //nolint:gosec // positive
}

// fork is where this device stands towards the branches that there are.
type fork struct {
	chosen   chosen
	settling settling
	refused  *refusals
}

// chosen is the epoch that the fork choice picked, with its input.
type chosen struct {
	at      *epochs.Node
	changes int
	roster  *roster.Roster
}
