package group

import (
	"errors"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A sender's ratchet can run away from a device that was not there: it follows for
// mls.MaxForward generations, and the seals between may be of messages that it has and
// does not ask for. Or it has skipped more keys than it keeps. Then no seal under this
// epoch helps it, and what is new from that sender it cannot read either. All ratchets
// begin anew with the next epoch, so it makes one, by renewing its keys.

// outOfReachAfter is how long no seal of a sealer has opened when its ratchet is taken to
// be out of reach. While this device catches up there are always some that do.
const outOfReachAfter = 3 * time.Minute

// renewAgainAfter is how often it renews its keys for that at the most: a hostile sealer
// can make it believe so.
const renewAgainAfter = time.Hour

// ratchets are those of senders whose seals do not open. They are not durable.
type ratchets struct {
	since   map[wire.DeviceID]time.Time // by sealer, as the seals' labels say
	renewed time.Time                   // when the keys were last renewed for it
}

func newRatchets() ratchets { return ratchets{since: map[wire.DeviceID]time.Time{}} }

// note notes that a seal did not open for want of its key.
func (r *ratchets) note(now time.Time, sealer wire.DeviceID) {
	if r.since[sealer].IsZero() {
		r.since[sealer] = now
	}
}

// inReach notes that a seal of a sealer did open.
func (r *ratchets) inReach(sealer wire.DeviceID) { delete(r.since, sealer) }

// restart notes that all ratchets begin anew, or that what did not open is here.
func (r *ratchets) restart() { clear(r.since) }

// noteOutOfReach notes that a seal of a message owed to this device, under the epoch that
// it is at, did not open for want of the key.
func (m *messages) noteOutOfReach(now time.Time, s rawSeal, err error) {
	if s.Epoch != m.own.Position || !m.gaps[s.Message] || !errors.Is(err, verdict.ErrUsed) && !errors.Is(err, verdict.ErrIncomplete) {
		return
	}
	if !m.rosters.now.Has(s.Sealer) {
		return // anybody can make up labels
	}
	m.tried.inVain(now, s.Message)
	m.ratchets.note(now, s.Sealer)
}

// ratchetOutOfReach says whether it is time to renew the keys because of that, and sets the
// timer for when it will be. rank is this device's, as Machine.rank has it.
func (m *messages) ratchetOutOfReach(now time.Time, rank func() time.Duration) bool {
	if len(m.gaps) == 0 {
		m.ratchets.restart() // somebody else has filled them
	}
	m.timers.stop(timerRatchet)
	for _, since := range m.ratchets.since {
		// Not all devices that it befalls do so at once: one new epoch helps everybody.
		m.timers.sooner(timerRatchet, since.Add(outOfReachAfter+rank()*rankStep))
	}
	if again := m.ratchets.renewed.Add(renewAgainAfter); m.timers.running(timerRatchet) && m.timers.at(timerRatchet).Before(again) {
		m.timers.set(timerRatchet, again)
	}
	return m.timers.due(now, timerRatchet)
}
