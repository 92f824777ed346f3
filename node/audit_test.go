package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// lockedBuffer takes a log from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAudit: what a hostile member does is told, counted by reason, in the log, and still
// known after a restart; a flood of it is one row.
func TestAudit(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		log := new(lockedBuffer)
		w.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "court")
		w.join(b, id)
		w.send(b, id, "innocent")
		w.shows(a, id, time.Minute, "innocent")

		// Ben's device signs another entry with the number of its last one.
		var last *wire.Entry
		if err := b.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
			entries, _, err := m.EntriesAfter(a.me.device.ID, nil, wire.EntryHash{}, 1<<20)
			for _, raw := range entries {
				s, err := wire.DecodeSigned(raw, wire.MaxEntry)
				if err != nil {
					return err
				}
				e, err := wire.DecodeEntry(s.Payload)
				if err != nil {
					return err
				}
				if e.Device == b.me.device.ID {
					last = e
				}
			}
			return err
		}); err != nil || last == nil {
			t.Fatal(last, err)
		}
		last.HLC++
		forged := b.me.log.Sign(wire.DomainEntry, id, last.Encode())
		x := &exchange{g: a.groups.get(id), device: b.me.device.ID}
		if _, err := x.take(w.Context(), group.Entries{Entries: [][]byte{forged.Encode()}}); err != nil {
			t.Fatal(err) // evidence is no reason to end an exchange
		}
		const flood = 500
		for range flood {
			if _, err := x.take(w.Context(), group.Entries{Entries: [][]byte{{0xff}}}); err == nil {
				t.Fatal("rubbish was taken")
			}
		}
		topic, err := b.groups.get(id).topics.get(id.Topic())
		if err == nil {
			err = topic.publish(w.Context(), []byte("rubbish"))
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // virtual: it has come
		check := func(n *Node) {
			t.Helper()
			seen, err := n.API().Incidents(w.Context(), api.GroupRequest{Group: id.String()})
			if err != nil {
				t.Fatal(err)
			}
			if len(seen.Incidents) != 1 || seen.Incidents[0].Kind != api.EventEvidence || seen.Incidents[0].Device != b.me.device.ID.String() {
				t.Errorf("incidents: %+v", seen.Incidents)
			}
			var got []string
			for _, r := range seen.Refusals {
				got = append(got, fmt.Sprint(r.Source, " ", r.Reason, " ", r.Count))
				if r.First.IsZero() || r.Last.Before(r.First) || r.Detail == "" || r.From == "" {
					t.Errorf("%+v", r)
				}
			}
			for _, want := range []string{"gossip unknown-version 1", "sync equivocation 1", fmt.Sprint("sync malformed ", flood)} {
				if !slices.Contains(got, want) || len(got) > 5 {
					t.Errorf("refused: %s, without %s", strings.Join(got, ", "), want)
				}
			}
		}
		check(a)
		w.close(0)
		a = w.open(0)
		check(a)
		if err := a.step(w.Context(), id, group.RemoveUser{User: b.me.device.User}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"level=WARN msg=security node=0 subsystem=group group=" + api.Short(id.String()) + " cursor=", "kind=evidence", "device=" + b.me.device.ID.String(),
			"level=WARN msg=security node=0 subsystem=group group=" + api.Short(id.String()) + " kind=refusals source=sync reason=malformed count=", "kind=member-added", "kind=member-removed", "by=" + a.me.device.User.String(),
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log is without %q:\n%s", want, log)
			}
		}
		if n := strings.Count(log.String(), "reason=malformed"); n > 6 {
			t.Errorf("a flood of %d made %d lines in the log", flood, n)
		}
		if strings.Contains(log.String(), "innocent") {
			t.Error("the log tells a message")
		}
	})
}
