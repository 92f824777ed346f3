package node

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// noRows are those of a device that begins.
type noRows struct{}

func (noRows) Get(string) ([]byte, error)                    { return nil, nil }
func (noRows) Scan(string, func(string, []byte) error) error { return nil }

// absentees lets as many devices into a group of n's that nobody hears of again.
func (w *world) absentees(n *Node, id wire.GroupID, count int) {
	w.Helper()
	g := n.groups.get(id)
	for i := range count {
		user, err1 := identity.NewKey(rand.Reader)
		log, err2 := identity.NewKey(rand.Reader)
		if err1 != nil || err2 != nil {
			w.Fatal(err1, err2)
		}
		now := time.Now()
		d, err := identity.Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: make([]byte, 38), Name: fmt.Sprint("away ", i), Issued: uint64(now.Unix())}) //nolint:gosec // after 1970
		if err != nil {
			w.Fatal(err)
		}
		m, err := group.New(group.Config{
			Genesis: g.genesis, Device: d, LogKey: log, Incarnation: 1, Engine: engine.MLS(g.genesis.Suite), Rand: rand.Reader, Rows: noRows{},
		}, now)
		if err == nil {
			_, err = m.Step(now, group.Join{})
		}
		if err != nil {
			w.Fatal(err)
		}
		r, _ := m.Ready()
		for _, o := range r.Messages {
			if ask, ok := o.(group.RequestJoin); ok {
				if _, err := g.loop.step(w.Context(), group.JoinAsked{Request: ask.Request}); err != nil {
					w.Fatal(err)
				}
			}
		}
	}
}

// TestHeldInALargeGroup: in a group of more than 32 devices too the author knows within two
// seconds that somebody reads what it sent. Those who had it from others than the author say
// so in turns, so that their number comes in batches. Those who are away have a turn
// nevertheless, so that a few who run are enough to see it.
func TestHeldInALargeGroup(t *testing.T) {
	t.Parallel()
	const members, live = 41, 12
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "town hall")
		w.absentees(a, id, members-live)
		for i := 1; i < live; i++ {
			w.join(w.open(i, 0), id)
		}
		time.Sleep(time.Minute) // virtual
		begun := time.Now()
		sent, took := w.held(a, id, time.Minute)
		if sent.State != api.DeliveryHeld || took > 2*time.Second {
			t.Errorf("%+v after %v", sent, took)
		}
		g := a.groups.get(id)
		const turn = 5 * time.Second // of eight devices
		var at []time.Duration       // the count rose
		count := func() int {
			m, err := g.message(w.Context(), message(w, sent.ID))
			if err != nil || m.Readers != members-1 {
				t.Fatalf("of %d readers, want %d: %v", m.Readers, members-1, err)
			}
			return m.HeldBy
		}
		exchanges := func() int64 { return a.metrics.counters()["catchups_ok"] }
		for last, before := 0, exchanges(); last < live-1 && time.Since(begun) < time.Minute; time.Sleep(100 * time.Millisecond) { // virtual
			now := exchanges()
			if n := count(); n != last {
				if last = n; now == before { // an exchange brings receipts too, at any time
					at = append(at, time.Since(begun))
				}
			}
			before = now
		}
		t.Logf("the count rose at %v", at)
		if n := count(); n != live-1 || time.Since(begun) > (members/8+1)*turn {
			t.Errorf("after %v %d of %d who run have said that they hold it", time.Since(begun), n, live-1)
		}
		for _, d := range at {
			if d%turn > 2500*time.Millisecond { // one that does not get there is sent again 2 s later
				t.Errorf("the count rose after %v: not in a batch", d)
			}
		}
	})
}
