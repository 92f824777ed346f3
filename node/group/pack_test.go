package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// count is how many a sequence gives.
func count[T any](all iter.Seq[T]) (n int) {
	for range all {
		n++
	}
	return n
}

// state is all of the set and of the mail that a restart has to bring back.
func (m *Machine) state() string {
	var b strings.Builder
	all := slices.SortedFunc(m.logs.Items.All(), (*dag.Item).Compare)
	for _, it := range all {
		fmt.Fprintf(&b, "%x %x %d %d %d %d %d %x %v %d %v", it.Hash[:], it.Log.Device[:], it.Log.Incarnation, it.Seq, it.Kind, it.HLC, it.Dated(), it.User[:], dag.Vector(nil).Join(it), it.List, it.Facts.Has(dag.IsSecond))
		if it.Kind == wire.KindRecord {
			fmt.Fprintf(&b, " plain %v told %v seals %d sealed %v", it.Facts.Has(dag.IsPlain), it.Facts.Has(dag.IsDelivered), it.Seals, slices.SortedFunc(slices.Values(it.Sealed), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, m.logs.Marks(), m.logs.Frontier(m.own.log, wire.MaxDeps), m.logs.Count, count(m.messages.all()), len(m.messages.gaps.of), m.messages.outbox, m.fork.chosen.at.ID, m.tx.cursor)
	return b.String()
}

// without gives rows without packs.
func without(rows memRows) memRows {
	out := maps.Clone(rows)
	maps.DeleteFunc(out, func(key string, _ []byte) bool { return strings.HasPrefix(key, rowPack) })
	return out
}

// restarted is the state after a restart without packs.
func (d *device) restarted() string {
	whole := maps.Clone(d.rows)
	d.rows = without(d.rows)
	d.open()
	state := d.m.state()
	d.rows = whole
	return state
}

// packedGroup is a group in which two members have written enough for several packs.
func packedGroup(t *testing.T) (*world, *device, *device) {
	t.Helper()
	w := newWorld(t, 84)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	for i := range 2*packSize + 200 {
		a.send(fmt.Sprint("a ", i))
		if i%2 == 0 {
			w.run(10 * time.Millisecond)
			b.send(fmt.Sprint("b ", i))
		}
		if i == packSize {
			a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
		}
	}
	w.run(time.Minute)
	for _, d := range []*device{a, b} {
		if n := d.count(rowPack); n < 3 {
			t.Fatalf("%s has %d packs", d.name, n)
		}
	}
	return w, a, b
}

// A restart with packs gives what one without them gives, and goes on.
func TestPacksChangeNothing(t *testing.T) {
	t.Parallel()
	w, a, b := packedGroup(t)
	for _, d := range []*device{a, b} {
		want := d.restarted()
		if n := len(d.m.packs.waiting); n >= packSize {
			t.Errorf("%s: %d entries wait to be packed", d.name, n)
		}
		d.open()
		if d.m.state() != want {
			t.Errorf("%s differs with and without packs", d.name)
		}
		if n := len(d.m.packs.waiting) + packSize*d.count(rowPack); n != count(d.records()) {
			t.Errorf("%s: %d of %d records are packed, or wait to be", d.name, n, count(d.records()))
		}
	}
	b.send("and on")
	w.run(time.Minute)
	w.agree(a, b)
	if got := a.texts(); got[len(got)-1] != "and on" {
		t.Error("it does not go on")
	}
}

// Packs that make no sense are thrown away, and made again; an entry that a pack
// holds and the store does not is damage.
func TestUnsoundPacks(t *testing.T) {
	t.Parallel()
	w, a, _ := packedGroup(t)
	want := a.restarted()
	whole := maps.Clone(a.rows)
	first, second := rowPack+num(0), rowPack+num(1)
	for name, spoil := range map[string]func(memRows){
		"cut":         func(r memRows) { r[first] = r[first][:len(r[first])-1] },
		"empty":       func(r memRows) { r[first] = nil },
		"of later":    func(r memRows) { r[first] = append([]byte{packVersion + 1}, r[first][1:]...) },
		"twice":       func(r memRows) { r[first] = r[second] },
		"one is gone": func(r memRows) { delete(r, first) },
	} {
		a.rows = maps.Clone(whole)
		spoil(a.rows)
		a.open()
		if got := a.m.state(); got != want {
			t.Errorf("%s: another state", name)
		}
		if n := a.count(rowPack); n != 3 || len(a.rows[first]) < packSize*64 {
			t.Errorf("%s: %d packs after", name, n)
		}
	}
	a.rows = maps.Clone(whole)
	entry := ""
	for it := range a.records() {
		if entry = itemKey(it); it.Seq < 100 {
			break
		}
	}
	delete(a.rows, entry)
	if _, err := New(Config{
		Genesis: w.genesis, Device: a.dev, LogKey: a.log, Incarnation: a.inc, Engine: engine.MLS(1), Rand: w.rand, Rows: a.rows,
	}, w.now); !errors.Is(err, verdict.ErrCorrupt) {
		t.Errorf("an entry is gone: %v", err)
	}

	// Every cut of a pack is noticed.
	p := whole[first]
	if all, err := decodePack(p); err != nil || len(all) != packSize || !bytes.Equal(encodePack(all), p) {
		t.Fatalf("%d entries, %v, or they encode otherwise", len(all), err)
	}
	for n := 0; n < len(p); n += 101 {
		if all, err := decodePack(p[:n]); err == nil && len(all) == packSize {
			t.Fatalf("a pack of %d bytes, cut to %d, has everything", len(p), n)
		}
	}
}

// A message with a file that is in a pack is deleted: neither its text, nor its salts, nor the
// file's key is in a pack, or in any other row, before a restart and after it.
func TestPacksHoldNothingErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 85)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	key := sha256.Sum256([]byte("the key of a file"))
	zebra := content.Part{Cardinality: content.CardinalityMulti, Semantics: content.ProcessAll, Parts: []content.Part{
		content.Text(content.Plain, "a zebra"),
		{Disposition: content.DispositionAttachment, Cardinality: content.CardinalityExternal, ContentType: "image/gif", External: content.External{URL: "panda-blob:x", Key: key[:]}},
	}}
	var id wire.MessageID
	for i := range packSize + 100 {
		if i == packSize/2 {
			id = a.say(content.Message{Part: zebra})
		}
		a.send(fmt.Sprint("a ", i))
		if i%50 == 0 {
			w.run(time.Second)
		}
	}
	w.run(time.Minute)
	salts := append(a.salts(id), key[:])
	said, err := readOpened(a.rows[rowPlain+hexed(id[:])])
	if err != nil {
		t.Fatal(err)
	}
	salts = append(salts, said.said.Message.Salt[:])
	devices := []*device{a, b}
	for _, d := range devices {
		in := 0
		for key, v := range d.rows {
			if strings.HasPrefix(key, rowPack) && bytes.Contains(v, id[:]) {
				in++
			}
		}
		if left := d.leftOf("zebra", salts); in != 1 || len(left) == 0 {
			t.Fatalf("%s: it is in %d of %d packs, and in the rows %q", d.name, in, d.count(rowPack), left)
		}
	}
	a.say(takesAway(id))
	w.run(time.Minute)
	for range 2 {
		for _, d := range devices {
			if left := d.leftOf("zebra", salts, id); len(left) > 0 || d.count(rowPack) == 0 {
				t.Errorf("%s: with %d packs there is left of it: %q", d.name, d.count(rowPack), left)
			}
			if got := d.looks(id); got != "(deleted)" {
				t.Errorf("%s sees %q", d.name, got)
			}
			d.open()
		}
	}
}

// Once a log has forked, packs are not believed: what they say of it may be the
// second entry with its number.
func TestPacksEndWithAFork(t *testing.T) {
	t.Parallel()
	w, a, b := packedGroup(t)
	old := maps.Clone(b.rows)
	b.send("one")
	w.run(time.Minute)
	b.rows = old
	b.open()
	b.online = false
	b.send("another with its number")
	b.online = true
	w.sync(a, b)
	w.run(5 * time.Minute)
	if len(a.m.logs.Evidence) == 0 {
		t.Fatal("the log has not forked")
	}
	want := a.restarted()
	a.open()
	if got := a.m.state(); got != want {
		t.Error("another state")
	}
	a.open()
	if n := a.count(rowPack); n != 0 || len(a.m.packs.waiting) != 0 {
		t.Errorf("%d packs", n)
	}
	if got := a.m.state(); got != want {
		t.Error("another state after two restarts")
	}
}
