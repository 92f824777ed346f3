package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// The audit of a group is its operations, which every member has alike
// (group.Machine.History), and its incidents, which are this device's own: evidence, a
// store that went back, what was refused. Incidents are among the group's events. An input
// that this node refused whole changes nothing in the group, so that it is no
// event: it is tallied here, by reason, in one row that a flood does not grow.

// security is the events that the log tells at a level of their own.
var security = map[group.EventKind]slog.Level{
	group.EventAdded: slog.LevelInfo, group.EventRemoved: slog.LevelInfo, group.EventLeft: slog.LevelInfo, group.EventRole: slog.LevelInfo,
	group.EventRevoked: slog.LevelInfo, group.EventReboot: slog.LevelInfo, group.EventDenied: slog.LevelInfo, group.EventJoined: slog.LevelInfo,
	group.EventCancelled: slog.LevelWarn, group.EventOut: slog.LevelWarn, group.EventEvidence: slog.LevelWarn,
	group.EventIncarnation: slog.LevelWarn, group.EventTwin: slog.LevelWarn, group.EventRefused: slog.LevelWarn,
}

// logEvent logs an event of the group.
func (g *groupSession) logEvent(e group.Event) {
	level, ok := security[e.Kind]
	if !ok {
		g.log.Debug("event", "cursor", e.Cursor, "kind", e.Kind, "detail", e.Detail)
		return
	}
	attrs := []slog.Attr{slog.Uint64("cursor", e.Cursor), slog.String("kind", string(e.Kind))}
	for _, a := range [][2]string{
		{"user", textUnlessZero(e.User)},
		{"device", textUnlessZero(e.Device)},
		{"by", textUnlessZero(e.By)},
		{"epoch", textUnlessZero(e.Epoch)},
		{"message", textUnlessZero(e.Message)},
		{"detail", e.Detail},
	} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	g.log.LogAttrs(context.Background(), level, "security", attrs...)
}

// incidents are the events that no operation of the group tells of.
var incidents = []group.EventKind{group.EventEvidence, group.EventIncarnation, group.EventTwin, group.EventRefused, group.EventCancelled, group.EventOut}

// maxIncidents is how many incidentsOf gives, the newest.
const maxIncidents = 1000

// incidentsOf lists a group's newest incidents, oldest first.
func incidentsOf(ctx context.Context, t *groupTable, id wire.GroupID) (out []group.Event, err error) {
	for after := uint64(0); ; {
		events, err := eventsAfter(ctx, t, id, after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			after = e.Cursor
			if slices.Contains(incidents, e.Kind) {
				out = append(out, e)
			}
		}
		out = out[max(0, len(out)-maxIncidents):]
		if len(events) < page {
			return out, nil
		}
	}
}

// refusedCount is how often something was refused for a reason.
type refusedCount struct {
	Source string `cbor:"1,keyasint"` // gossip, sync or join
	Reason string `cbor:"2,keyasint"`
	Count  uint64 `cbor:"3,keyasint"`
	First  uint64 `cbor:"4,keyasint"` // milliseconds since 1970
	Last   uint64 `cbor:"5,keyasint"`
	From   string `cbor:"6,keyasint"` // whom the last came from: a peer, or a device
	Detail string `cbor:"7,keyasint"` // why the last one was refused
}

// refusedRow is the tally of a group in the store.
type refusedRow struct {
	All []refusedCount `cbor:"1,keyasint"` // by source and reason
}

// Bounds of a tally. Refusals between a write and a crash are not counted.
const (
	tallyEvery = time.Minute
	maxDetail  = 256 // bytes
)

// usual are refusals that honest members cause every day: the missing entries are asked
// for.
var usual = []api.Refusal{api.RefusalIncomplete, api.RefusalNoEpoch, api.RefusalUnknownKey, api.RefusalUsed}

// tally counts what a group refused.
type tally struct {
	g    *groupSession
	kick chan struct{} // holds one

	mu    sync.Mutex
	all   map[[2]string]*refusedCount // by source and reason
	fresh map[[2]string]uint64        // since the last write
}

func newTally(g *groupSession) *tally {
	return &tally{g: g, kick: make(chan struct{}, 1), all: make(map[[2]string]*refusedCount), fresh: make(map[[2]string]uint64)}
}

func (t *tally) key() string { return keyRefused + string(t.g.id[:]) }

// load takes up the counts of before.
func (t *tally) load() error {
	b, err := t.g.n.store.Get([]byte(t.key()))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	var row refusedRow
	if err == nil {
		err = wire.Unmarshal(b, &row)
	}
	if err != nil {
		return fmt.Errorf("restoring what was refused: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range row.All {
		t.all[[2]string{r.Source, r.Reason}] = &r
	}
	return nil
}

// refused counts input of others that the group refused; nil is none.
func (g *groupSession) refused(source, from string, err error) {
	if err == nil {
		return
	}
	reason := refusal(err)
	g.n.metrics.Refusals.WithLabelValues(source, string(reason)).Inc()
	if slices.Contains(usual, reason) || undecided(err) {
		return
	}
	t, now, k := g.tally, uint64(time.Now().UnixMilli()), [2]string{source, string(reason)} //nolint:gosec // after 1970
	t.mu.Lock()
	r := t.all[k]
	if r == nil {
		r = &refusedCount{Source: source, Reason: string(reason), First: now}
		t.all[k] = r
	}
	r.Count++
	r.Last, r.From, r.Detail = now, from, brief(err.Error())
	t.fresh[k]++
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// brief is the beginning of a text that others may have made long.
func brief(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "\uFFFD")
}

// list gives the tally by source and reason.
func (t *tally) list() []refusedCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]refusedCount, 0, len(t.all))
	for _, r := range t.all {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b refusedCount) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// run writes the tally down and logs what is new in it, at most once in tallyEvery.
func (t *tally) run(ctx context.Context) {
	for {
		select {
		case <-t.kick:
			t.write()
		case <-ctx.Done():
			t.write()
			return
		}
		pause := time.NewTimer(tallyEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

func (t *tally) write() {
	all := t.list()
	t.mu.Lock()
	fresh := t.fresh
	t.fresh = make(map[[2]string]uint64)
	t.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	for _, r := range all {
		if n := fresh[[2]string{r.Source, r.Reason}]; n > 0 {
			t.g.log.Warn("security", "kind", "refusals", "source", r.Source, "reason", r.Reason, "count", n, "from", r.From, "detail", r.Detail)
		}
	}
	if err := t.g.n.put(t.key(), &refusedRow{All: all}); err != nil {
		t.g.log.Warn("what was refused is not written down", "err", err)
	}
}
