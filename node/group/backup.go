package group

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A backup holds the entries and messages of this device, and no key that opens messages
// which it has not read: no epoch, and no secret of a KeyPackage, with which the logged
// Welcome and commits lead to every epoch since. So it is no way around forward secrecy,
// and a device that was restored asks to be added again.

// inBackup are the kinds of rows that a backup holds. Rows that refer to missing keys are
// left out too.
var inBackup = []string{
	rowOwn, rowEntry, rowEvidence, rowFlood, rowTransKey, rowSigner, rowWrapKey, rowPlain, rowSeal, rowSalt, rowAbout, rowGone, rowDoomed, rowExpiring, rowEarlier, rowShown, rowIndex, rowEvent, rowRejoin,
}

// InBackup says whether a row goes into a backup.
func InBackup(key string) bool {
	kind := key
	if at := strings.IndexByte(key, '/'); at >= 0 {
		kind = key[:at+1]
	}
	return slices.Contains(inBackup, kind)
}

// restored notes that the keys of the position are not here, as after the restoration of a
// backup.
func (o *ownState) restored(now time.Time, device wire.DeviceID) {
	if !o.Joined {
		return
	}
	o.Joined = false
	o.save()
	o.tx.emit(now, Event{
		Kind: EventIncarnation, Device: device,
		Detail: "restored from a backup, which holds no keys of epochs: this device asks to be added again",
	})
}

// askForKeys gets this device back in after its keys are lost: it asks a member, or,
// if it is the only device of the group, begins anew with keys of its own. Before
// that it waits a little, since others may have come in after the backup was made.
func (m *Machine) askForKeys(now time.Time) {
	keyless := !m.own.Joined && !m.own.Out && m.tree.Nodes[m.own.Position] != nil && !m.epochs.has(m.own.Position)
	switch {
	case !keyless:
		m.timers.stop(timerLone)
		return
	case !m.rosters.now.Has(m.own.log.Device): // it was taken out meanwhile
		m.joining.removed()
		m.own.Out = true
		m.own.save()
		m.tx.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
		return
	}
	if m.rosters.now.NumDevices() > 1 {
		m.timers.stop(timerLone)
		if j := m.joining; j.request == nil {
			r, err := j.requestAgain(now)
			if err != nil {
				m.tx.fail(err)
				return
			}
			j.setRequest(r)
			j.carry()
		}
		return
	}
	if !m.timers.running(timerLone) {
		m.timers.set(timerLone, now.Add(rejoinWait))
	}
	if m.timers.due(now, timerLone) {
		err := Reboot{}.act(m, now, &Outcome{})
		if errors.Is(err, verdict.ErrNotPermitted) {
			m.timers.set(timerLone, now.Add(time.Hour)) // the owner's devices are all revoked; it may get another
			return
		}
		m.tx.fail(err)
	}
}
