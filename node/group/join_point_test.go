package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Two members let the same device in without knowing of each other. It learns first of
// the addition that came later and knew more: what lies between is owed to it once it
// learns of the other, and shown without a restart.
func TestFloorMovesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 914)
	a, b, d := w.device("anna"), w.device("ben"), w.device("dora")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	w.agree(a, b)
	w.cut = func(x, y *device) bool { return true }
	d.open()
	d.must(Join{})
	r := *d.request()
	a.must(JoinAsked{Request: r})
	w.run(time.Second)
	b.send("between")
	w.run(time.Second)
	w.cut = func(x, y *device) bool { return x == a || y == a }
	w.run(time.Minute)
	if s := d.m.Status(); s.State != StateMember || len(d.texts()) != 0 {
		t.Fatalf("%+v, %v", s, d.texts())
	}
	w.cut = nil
	w.sync(a, b)
	w.sync(b, d)
	w.run(5 * time.Minute)
	w.agree(a, b, d)
	floor := d.m.rosters.now.Device(d.dev.ID).By
	if floor.Log != a.m.own.log {
		t.Fatal("the other addition counts")
	}
	live := d.texts()
	d.open()
	w.run(time.Minute)
	if !slices.Contains(d.texts(), "between") {
		t.Fatalf("after a restart: %v", d.texts())
	}
	if !slices.Contains(live, "between") {
		t.Errorf("before a restart it shows %v", live)
	}
}

// A record that its author could not write is passed over for good: a log that begins
// with one is not gone through again for each that follows.
func TestUnspeakableRecordIsPassedOver(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 912)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	w.run(time.Minute)
	o := wire.Opened{Body: wire.Marshal(&wire.Content{MediaType: "text/plain", Data: []byte("not allowed")})}
	raw, hash := forged(c, wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
	b.must(Entries{Entries: [][]byte{raw}})
	it := b.m.logs.Items.At(hash)
	for range 3 {
		raw, hash = forged(c, wire.KindRecord, &wire.Record{}, nil, c.next(b))
		b.must(Entries{Entries: [][]byte{raw}})
	}
	last := b.m.logs.Items.At(hash)
	if at := b.m.messages.delivered[int(it.List)]; at != last.Seq {
		t.Errorf("of %d entries %d are done with", last.Seq, at)
	}
}

// Ben adds dora without knowing carl's record; dora syncs with anna, who holds
// both: the record comes first, for it is older.
func TestRecordSyncedBeforeOwnAddition(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 401)
	d := w.device("dora")
	w.cut = func(x, y *device) bool { return (x == b || x == d) != (y == b || y == d) }
	c.send("early")
	w.run(time.Second)
	d.open()
	d.must(Join{})
	for d.request() != nil {
		w.run(10 * time.Millisecond)
	}
	b.online = false
	entries, _, err := b.m.EntriesAfter(a.dev.ID, a.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	a.must(Entries{Entries: entries})
	w.cut = nil
	for range 3 {
		w.syncSomebody(d)
		w.run(time.Minute)
	}
	if !d.m.messages.readable(c.m.logs.Head(c.m.own.log).Hash) {
		for it := range d.records() {
			t.Logf("record %v plain %v gap %v", it.Hash, it.Facts.Has(dag.IsPlain), d.lacks(it.Hash))
		}
	}
	if got := d.texts(); !slices.Contains(got, "early") {
		t.Errorf("dora is owed the record, can read it, and shows %q", got)
	}
}
