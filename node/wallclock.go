package node

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// wallClock judges the wall clock of this machine: see package clock. All dates, all timers
// of machines and all that is destroyed when it is old go by it.
type wallClock struct {
	begun time.Time // with the monotonic clock
	awake time.Duration
	boot  func() (time.Duration, bool) // time since the machine started, asleep or not; false: not to be had

	mu    sync.Mutex
	judge *clock.Clock
}

// newWallClock goes on from the estimate of an earlier run; zero: there was none.
func newWallClock(last clock.Time) *wallClock {
	w := &wallClock{begun: time.Now(), boot: sinceBoot}
	at, ok := w.boot()
	w.awake = at
	w.judge = clock.New(w.reading(), last, !ok)
	return w
}

func (w *wallClock) reading() clock.Reading {
	now := time.Now()
	run := now.Sub(w.begun)
	// The monotonic clock stands still while the machine sleeps.
	if boot, ok := w.boot(); ok {
		if slept := boot - w.awake - run; slept > time.Second {
			run += slept
		}
	}
	return clock.Reading{Wall: now.Round(0), Run: run}
}

func (w *wallClock) at() clock.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.judge.At(w.reading())
}

func (w *wallClock) hear(user wire.UserID, theirs time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judge.Hear(w.reading(), string(user[:]), theirs)
}

// compare notes what the clock of a member says that has just proved to be one. Others
// have no voice: there can be as many of them as somebody likes.
func (w *wallClock) compare(ctx context.Context, g *groupSession, proof wire.SyncProof, theirs wire.SyncHello, met time.Time) {
	d, err := identity.VerifyDevice(proof.Cert)
	if err != nil {
		return
	}
	member := false
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		member = m.Standing(d.ID) == group.Current
		return nil
	}); err == nil && member {
		w.hear(d.User, time.UnixMilli(int64(min(theirs.Now, math.MaxInt64>>1))).Add(time.Since(met))) //nolint:gosec // bounded
	}
}

// now returns the node's estimate of the time.
func (w *wallClock) now() time.Time { return w.at().Now }

// kept is the time by which things are destroyed, and by which it is noted since when.
func (w *wallClock) kept() time.Time { return w.at().Kept }

// ends is the time by which is over what has a date of its own.
func (w *wallClock) ends() time.Time { return w.at().Ends }

const keyClock = "n/clock" // clockRow

// clockRow is what an earlier run took for the time when it looked last, in milliseconds since
// 1970: see clock.Time.
type clockRow struct {
	Kept uint64 `cbor:"1,keyasint"`
	Ends uint64 `cbor:"2,keyasint,omitempty"` // 0: an earlier program wrote the row
}

func loadClock(s *storage.Store) (*wallClock, error) {
	var row clockRow
	ok, err := getRow(s, keyClock, &row)
	if err != nil {
		return nil, fmt.Errorf("restoring the clock: %w", err)
	}
	if !ok {
		return newWallClock(clock.Time{}), nil
	}
	last := clock.Time{Kept: time.UnixMilli(int64(row.Kept))} //nolint:gosec // written by this node
	if row.Ends != 0 {
		last.Ends = time.UnixMilli(int64(row.Ends)) //nolint:gosec // the same
	}
	return newWallClock(last), nil
}

// keep makes the times durable by which things are destroyed, and end.
func (w *wallClock) keep(put func(key string, v any) error) error {
	at := w.at()
	return put(keyClock, &clockRow{Kept: milliseconds(at.Kept), Ends: milliseconds(at.Ends)})
}

// keepEvery is how often that is done.
const keepEvery = time.Hour

// run keeps the time until ctx ends.
func (w *wallClock) run(ctx context.Context, put func(key string, v any) error, log *slog.Logger) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		if err := w.keep(put); err != nil {
			log.Warn("the clock is not kept", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// off says how far this clock is off others', or nothing if it is not.
func off(t clock.Time) string {
	if t.Peers == 0 || t.Ahead.Abs() <= clockSlack {
		return ""
	}
	way := "ahead of"
	if t.Ahead < 0 {
		way = "behind"
	}
	peers := fmt.Sprintf("%d peers", t.Peers)
	if t.Peers == 1 {
		peers = "1 peer"
	}
	return fmt.Sprintf("this clock is %s %s %s", spell(t.Ahead.Abs()), way, peers)
}

// spell gives the two largest units of a duration, as in "2 h 3 min".
func spell(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"y", 365 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		out := fmt.Sprintf("%d %s", d/u.size, u.name)
		if i+1 < len(units) && d%u.size >= units[i+1].size {
			out += fmt.Sprintf(" %d %s", d%u.size/units[i+1].size, units[i+1].name)
		}
		return out
	}
	return "0 s"
}

// clockText is that as a line of the status.
func clockText(t clock.Time) string {
	if f, found := clockFinding(t); found {
		return f.Detail
	}
	return ""
}

// clockFinding compares this clock with others' clocks; false: there is no finding.
func clockFinding(t clock.Time) (api.Finding, bool) {
	const check = "clock"
	what := off(t)
	switch {
	case t.Wrong && what == "":
		return api.Finding{
			Check: check, Health: api.HealthWarn, Detail: "this clock has jumped: until others confirm it, messages are dated as if it had not, and nothing is destroyed for its age",
			Hint: "compare this machine's clock with a time server",
		}, true
	case what == "":
		return api.Finding{}, false
	case !t.Sure:
		what += ": nothing is destroyed for its age until they agree"
	}
	return api.Finding{Check: check, Health: api.HealthWarn, Detail: what, Hint: "compare this machine's clock with a time server"}, true
}
