package group

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Messages of several logs that wait to be shown after a restart are shown in one order.
func TestOrderAfterRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 73)
	a := w.device("a")
	w.found(a, wire.PolicyOpen)
	b := w.device("b")
	all := []*device{w.device("c"), w.device("d"), w.device("e"), w.device("f")}
	w.join(b)
	for _, d := range all {
		w.join(d)
	}
	w.run(time.Minute)
	b.online = false
	var ids []wire.MessageID
	for _, d := range all {
		ids = append(ids, d.send("from "+d.name))
		w.run(time.Second)
	}
	var entries [][]byte
	entries, _, err := a.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	b.must(Entries{Entries: entries})
	b.m.tx.most = 0 // what is opened is shown in the next turn
	b.must(Seals{Seals: must(a.m.SealsFor(b.dev.ID, ids))})
	if b.defers() < 2 {
		t.Fatalf("%d logs wait", b.defers())
	}
	rows := maps.Clone(b.rows)
	orders := map[string]int{}
	for range 20 {
		b.rows, b.shown = maps.Clone(rows), nil
		b.open()
		orders[fmt.Sprint(b.shown)]++
	}
	if len(orders) != 1 {
		t.Errorf("of one state 20 restarts show messages in %d orders", len(orders))
	}
}

// A device on its way over votes and seals nothing under an epoch on the way, also if a
// vote comes in meanwhile.
func TestPassesEpochs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 74)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return (x == b) != (y == b) }
	b.renewKeys()
	id := b.send("from the other side")
	for i := range 200 {
		a.renewKeys()
		if i == 150 {
			c.renewKeys() // both: a fork on the way
			w.run(30 * time.Second)
		}
		w.run(time.Second)
	}
	b.m.tx.most = 64 << 10
	b.takeAll(a, 16<<10)
	before := len(b.record(id).Sealed)
	for range 100 {
		w.now = w.now.Add(time.Second)
		b.must(Tick{})
		if b.m.fork.settling.rolling {
			break
		}
	}
	if !b.m.fork.settling.rolling {
		t.Fatal("b does not roll")
	}
	it, err := c.m.append(w.now, wire.KindVote, &wire.Vote{Position: c.m.own.Position})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := c.m.tx.get(itemKey(it))
	b.must(Entries{Entries: [][]byte{raw}})
	if len(b.record(id).Sealed) > before && b.m.own.Position != b.m.fork.chosen.at.ID {
		t.Errorf("b, at epoch %d on its way to %d, has sealed, and voted for %v", b.m.tree.Nodes[b.m.own.Position].Number, b.m.fork.chosen.at.Number, b.m.tree.PositionOf(b.m.logs.Votes[b.dev.ID]).Number)
	}
}

// A member that labels its seals as another member's keeps nobody from renewing its keys.
func TestWrongLabelHidesNoWornRatchet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 75)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	a.outrun()
	b.renewedForReach(w.now.Add(24 * time.Hour)) // b is hostile, and does not renew
	epoch := c.m.Status().Epoch
	a.send("out of reach")
	w.run(10 * time.Second)
	if c.outOfReach() == 0 {
		t.Fatal("nothing is worn out")
	}
	w.cut = func(x, y *device) bool { return x == b || y == b }
	for i := range 30 {
		b.send(fmt.Sprint(i))
		u, err := b.opened(b.last)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.step(Entries{Entries: u.Entries})
		for _, raw := range u.Seals {
			s, err := wire.DecodeSeal(raw)
			if err != nil {
				t.Fatal(err)
			}
			s.Sealer = a.dev.ID
			_, _ = c.step(Seals{Seals: [][]byte{wire.Marshal(s)}})
		}
		w.run(time.Minute)
	}
	if c.m.Status().Epoch == epoch && c.m.Status().Gaps > 0 {
		t.Errorf("after half an hour c still lacks %d messages, and has not renewed its keys", c.m.Status().Gaps)
	}
}

// Packs that a restart makes anew fit into transactions that inputs share.
func TestPacksFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 76)
	a := w.device("a")
	w.found(a, wire.PolicyOpen)
	messages := 20000
	if testing.Short() { // the race detector
		messages = 4000
	}
	for i := range messages {
		a.send(fmt.Sprint(i))
	}
	maps.DeleteFunc(a.rows, func(key string, _ []byte) bool { return strings.HasPrefix(key, rowPack) }) // a backup has none
	a.open()
	for range 64 { // as node/loop.go puts inputs together
		_, _ = a.m.Step(w.now, Envelope{Bytes: []byte{1}})
	}
	size := 0
	r, _ := a.m.Ready()
	for _, wr := range r.Writes {
		size += len(wr.Key) + len(wr.Value) + rowOverhead
	}
	if size > 2*maxTurn {
		t.Errorf("%d bytes of packs at once, of %d messages", size, count(a.records()))
	}
}
