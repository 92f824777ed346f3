package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A member can write entries that cost all others much: an entry that names an odd past has
// the roster of that past resolved anew, and each log that a device begins makes every causal
// past longer. So those of one device are let in only so fast. The others wait, unless
// another user's entry names them: then honest people may have built on it.
//
// Waiting changes when an entry comes in, and no verdict: the set in the end is the same. It
// is in quarantine meanwhile. An exchange brings it again, too.
const (
	meterTime = time.Hour
	meterRate = 16 // resolves that a device's entries may cause in that time
	meterOld  = 10 * time.Minute
	meterFrom = 256 // operations of a group below which a resolve costs nothing to speak of

	// A device that is restored begins a log.
	freeLogs = 64             // that a device begins, at any speed
	logEvery = 12 * time.Hour // and each after those

	// A user that is out writes nothing more that others need, but for what they name.
	freeOut = 512 << 10 // bytes of a user, at any speed
	outADay = 256 << 10 // and in each day
)

// meter counts what the entries of each device cost. It is not durable.
type meter struct {
	logs    *dag.Logs
	rosters *rosters
	timers  *timers
	own     wire.DeviceID

	of      map[wire.DeviceID]*metered
	out     map[wire.UserID]outflow
	culprit wire.DeviceID // the first device whose operation lacked old ones since the roster was resolved
}

type metered struct {
	resolves []time.Time // the last meterRate that its entries caused
	began    time.Time   // when it last began a log beyond freeLogs
}

// outflow is what the devices of a user wrote that are out: so many bytes are still to be
// made up for by then.
type outflow struct {
	bytes int
	at    time.Time
}

func (o outflow) now(now time.Time) int {
	return max(0, o.bytes-int(int64(now.Sub(o.at)/time.Second)*outADay/(24*60*60)))
}

func (m *meter) isOut(it *dag.Item) bool {
	return m.rosters.now != nil && !m.rosters.now.Has(it.Log.Device)
}

// waits says why an entry, whose past is here, is not let in yet; nil: it is.
func (m *meter) waits(now time.Time, it *dag.Item, size int) error {
	of := m.of[it.Log.Device]
	switch {
	case it.Log.Device == m.own:
		return nil
	case m.isOut(it) && m.out[it.User].now(now)+size > freeOut:
		return fmt.Errorf("%v of device %v: %w: it is out, and wrote more than others need", it.Kind, it.Log.Device, verdict.ErrFull)
	case of == nil:
		return nil
	case m.beginsLog(it) && !of.began.IsZero() && now.Sub(of.began) < logEvery:
		return fmt.Errorf("log of device %v: %w: it began more than %d", it.Log.Device, verdict.ErrFull, freeLogs)
	case of.inDebt(now) && m.lacksOld(now, it):
		return fmt.Errorf("%v of device %v: %w: its entries cost others too much", it.Kind, it.Log.Device, verdict.ErrFull)
	}
	return nil
}

func (m *meter) beginsLog(it *dag.Item) bool {
	return it.Seq == 1 && m.logs.Head(it.Log) == nil && m.logs.NumLogs(it.Log.Device) >= freeLogs
}

func (of *metered) inDebt(now time.Time) bool {
	return len(of.resolves) == meterRate && now.Sub(of.resolves[0]) < meterTime
}

// lacksOld says whether an entry does not have an operation in its past that a device which
// reaches others has known for long.
func (m *meter) lacksOld(now time.Time, it *dag.Item) bool {
	knows := true
	for _, head := range m.logs.Heads {
		if knows = m.logs.InPast(head, it); !knows {
			break
		}
	}
	if knows { // all that there is, as most do
		return false
	}
	known := make([]bool, len(m.logs.Lists)) // by log: its newest old operation, and so all before that
	for _, op := range slices.Backward(m.logs.Ops) {
		switch {
		case known[op.List] || now.Sub(op.When(now)) <= meterOld:
		case !m.logs.InPast(op, it):
			return true
		default:
			known[op.List] = true
		}
	}
	return false
}

// comes takes an entry right before it is let in.
func (m *meter) comes(now time.Time, it *dag.Item, size int) {
	if m.isOut(it) {
		m.out[it.User] = outflow{m.out[it.User].now(now) + size, now}
	}
	if m.beginsLog(it) {
		m.at(it.Log.Device).began = now
	}
	if it.Op != nil && m.culprit == (wire.DeviceID{}) && len(m.logs.Ops) >= meterFrom && m.lacksOld(now, it) {
		m.culprit = it.Log.Device
	}
}

// charge counts what was resolved as caused by the entries of a device.
func (m *meter) charge(now time.Time, d wire.DeviceID, resolves int) {
	if len(m.logs.Ops) < meterFrom || d == m.own || d == (wire.DeviceID{}) {
		return
	}
	for range min(resolves, meterRate) {
		of := m.at(d)
		if of.resolves = append(of.resolves, now); len(of.resolves) > meterRate {
			of.resolves = of.resolves[1:]
		}
	}
}

func (m *meter) at(d wire.DeviceID) *metered {
	if m.of[d] == nil {
		m.of[d] = &metered{}
	}
	return m.of[d]
}

// holds has an entry wait, and wakes the machine when it may come in.
func (m *meter) holds(now time.Time, s *dag.SignedEntry) {
	m.logs.Quarantine.Hold(s)
	if !m.timers.running(timerMeter) {
		m.timers.set(timerMeter, now.Add(meterWait))
	}
}

// meterWait is how often this device looks whether what waits may come in.
const meterWait = 10 * time.Minute
