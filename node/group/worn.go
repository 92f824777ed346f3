package group

import (
	"errors"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A sender's ratchet can run away from a device that was not there: it follows for
// mls.MaxForward generations, and the seals between may be of messages that it has and
// does not ask for. Or it has skipped more keys than it keeps. Then no seal under this
// epoch helps it, and what is new from that sender it cannot read either. All ratchets
// begin anew with the next epoch, so it makes one, by renewing its keys.

// wornAfter is how long no seal of a sealer has opened when its ratchet is taken for worn
// out. While this device catches up there are always some that do.
const wornAfter = 3 * time.Minute

// wornEvery is how often it renews its keys for that at the most: a hostile sealer can
// make it believe so.
const wornEvery = time.Hour

// worn is whose seals do not open. It is not durable.
type worn struct {
	since   map[wire.DeviceID]time.Time // by sealer, as the seals' labels say
	renewed time.Time                   // when the keys were last renewed for it
}

// noteWorn notes that a seal of a message owed to this device, under the epoch that it is
// at, did not open for want of the key.
func (m *Machine) noteWorn(now time.Time, s rawSeal, err error) {
	if s.Epoch != m.own.Position || !m.mail.gaps[s.Message] || !errors.Is(err, ErrUsed) && !errors.Is(err, ErrIncomplete) {
		return
	}
	if !m.roster.has(s.Sealer) {
		return // anybody can make up labels
	}
	m.mail.triedInVain(now, s.Message)
	if m.worn.since[s.Sealer].IsZero() {
		m.worn.since[s.Sealer] = now
	}
}

// wornOut says whether it is time to renew the keys, and when it will be.
func (m *Machine) wornOut(now time.Time) bool {
	if len(m.mail.gaps) == 0 {
		clear(m.worn.since) // somebody else has filled them
	}
	m.timers.stop(timerRatchet)
	for _, since := range m.worn.since {
		// Not all whom it befalls at once: one new epoch helps everybody.
		m.timers.sooner(timerRatchet, since.Add(wornAfter+m.rank()*rankStep))
	}
	if again := m.worn.renewed.Add(wornEvery); m.timers.running(timerRatchet) && m.timers.at(timerRatchet).Before(again) {
		m.timers.set(timerRatchet, again)
	}
	return m.timers.due(now, timerRatchet)
}
