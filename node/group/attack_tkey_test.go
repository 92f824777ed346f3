package group

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// lowKey makes a transport key that is preferred to one that is in use.
func (w *world) lowKey(than wire.KeyID) ([]byte, wire.KeyID) {
	for {
		key := make([]byte, wire.TransportKeyLen)
		_, _ = w.rand.Read(key)
		if id := wire.KeyIDOf(w.group, key); bytes.Compare(id[:], than[:]) < 0 {
			return key, id
		}
	}
}

// tkeyWithRubbish has carl bring a transport key that all prefer, and give its victims a
// wrap as spoil makes it of a good one.
func tkeyWithRubbish(t *testing.T, w *world, c *device, to []*device, victims []*device, spoil func(wire.KeyID, *wire.Wrap)) wire.KeyID {
	t.Helper()
	old, _ := c.m.Transport().Key()
	key, id := w.lowKey(old)
	tkey := &wire.TKey{ID: id}
	for _, x := range to {
		one, err := wrap(w.rand, w.group, id, key, x.dev.ID, x.wrapKey())
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(victims, x) {
			spoil(id, &one)
		}
		tkey.Wraps = append(tkey.Wraps, one)
	}
	slices.SortFunc(tkey.Wraps, func(a, b wire.Wrap) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	raw := c.forge(wire.KindTKey, tkey, c.m.logs.Frontier(c.m.own.log, 16), c.next(to[0]))
	for _, x := range to {
		x.must(Entries{Entries: [][]byte{raw}})
		if (x.key(id) != nil) == slices.Contains(victims, x) {
			t.Fatalf("%s holds the key: %v", x.name, x.key(id) != nil)
		}
	}
	return id
}

func flipLast(_ wire.KeyID, w *wire.Wrap) { w.Sealed[len(w.Sealed)-1] ^= 1 }

// A member brings a transport key with a wrap that its victim cannot open, or one that opens to
// another key than the logs name. The victim notices and says so, and anybody gives it the key.
func TestRubbishWrapIsRepaired(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world, *device) func(wire.KeyID, *wire.Wrap){
		"rubbish": func(*world, *device) func(wire.KeyID, *wire.Wrap) { return flipLast },
		"another key": func(w *world, d *device) func(wire.KeyID, *wire.Wrap) {
			return func(id wire.KeyID, out *wire.Wrap) {
				*out = must(wrap(w.rand, w.group, id, make([]byte, wire.TransportKeyLen), d.dev.ID, d.wrapKey()))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b, c := three(t, 790)
			d := w.device("dora")
			w.join(d)
			w.run(time.Minute)
			id := tkeyWithRubbish(t, w, c, []*device{a, b, d}, []*device{d}, spoil(w, d))
			c.online = false
			w.run(5 * time.Minute)
			for _, x := range []*device{a, b, d} {
				if now, _ := x.m.Transport().Key(); now != id {
					t.Errorf("%s sends under %v, not under %v", x.name, now, id)
				}
			}
			if !slices.ContainsFunc(d.errs, func(err error) bool { return bytes.Contains([]byte(err.Error()), []byte("transport key")) }) {
				t.Errorf("dora was not told: %v", d.errs)
			}
			w.gossip = false
			b.send("to all")
			if err := d.stepErr(Envelope{Bytes: b.last}); err != nil {
				t.Errorf("what ben sends dora cannot open: %v", err)
			}
			entries := a.count(rowEntry)
			w.run(24 * time.Hour)
			if n := a.count(rowEntry); n > entries+20 { // votes
				t.Errorf("%d entries in a quiet day", n-entries)
			}
		})
	}
}

// stepErr is step without its outcome.
func (d *device) stepErr(in Input) error { _, err := d.step(in); return err }

// A hostile member repairs too. It answers first, and each time with rubbish.
func TestRubbishRepairsHoldUpNobody(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 791)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	id := tkeyWithRubbish(t, w, c, []*device{a, b, d}, []*device{d}, flipLast)
	c.online = false
	answered := 0
	for range 1200 {
		w.run(500 * time.Millisecond)
		// carl is told of all that there is, and answers each complaint at once.
		last := a.m.logs.Keys[len(a.m.logs.Keys)-1]
		if last.Wrap == nil || last.Log.Device != d.dev.ID || answered > 20 {
			continue
		}
		answered++
		rubbish := &wire.TKeyWrap{ID: id, Wrap: wire.Wrap{Device: d.dev.ID, Sealed: make([]byte, 80)}}
		raw := c.forge(wire.KindTKeyWrap, rubbish, []wire.EntryHash{last.Hash}, c.next(a))
		for _, x := range []*device{a, b, d} {
			x.must(Entries{Entries: [][]byte{raw}})
		}
	}
	if answered == 0 {
		t.Error("dora never complained")
	}
	if now, _ := d.m.Transport().Key(); now != id {
		t.Errorf("dora sends under %v, the others under %v, after %d answers", now, id, answered)
	}
	if answered > 3 {
		t.Errorf("dora complained %d times", answered)
	}
}

// A device complains for ever of a key that it can open, also by dates that lie ever further ahead. Each
// member answers it once, and then leaves it be.
func TestComplaintsForEverAreAnsweredSeldom(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 9 * time.Minute, 40 * 24 * time.Hour} {
		w, a, b, c := three(t, 792)
		key, _ := a.m.Transport().Key()
		c.online = false
		before := len(a.m.logs.Keys)
		complaints := 0
		for range 100 {
			date := func(e *wire.Entry) {
				c.next(a)(e)
				e.HLC = max(e.HLC, uint64(crdt.HLCFromTime(w.now.Add(ahead*time.Duration(complaints)))))
			}
			raw := c.forge(wire.KindTKeyWrap, &wire.TKeyWrap{ID: key, Wrap: wire.Wrap{Device: c.dev.ID, Sealed: key[:]}}, a.m.logs.Frontier(c.m.own.log, 16), date)
			complaints++
			for _, x := range []*device{a, b} {
				x.must(Entries{Entries: [][]byte{raw}})
			}
			w.run(5 * time.Minute)
		}
		if n := len(a.m.logs.Keys) - before - complaints; n == 0 || n > 2 {
			t.Errorf("ahead %v: %d answers to %d complaints in %d minutes", ahead, n, complaints, 5*complaints)
		}
	}
}

// A device that lacks the key and meets the others in mailboxes alone comes to read what
// they write: its complaint, and then the answer to it, lie in the box that it reads.
func TestRubbishWrapIsRepairedByMailboxAlone(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 793)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	id := tkeyWithRubbish(t, w, c, []*device{a, b, d}, []*device{d}, flipLast)
	c.online, w.gossip = false, false
	w.cut = func(_, _ *device) bool { return true }
	box := map[string]bool{} // what lies in some box
	visit := func(x *device) {
		owing, err := x.m.Mail().Owing(x.clock())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range owing {
			var hashes []wire.EntryHash
			for _, e := range o.Entries {
				hashes = append(hashes, e.Hash)
			}
			envelopes, _, err := x.m.Mail().EnvelopesWith(o.Key, hashes, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range envelopes {
				box[string(e)] = true
			}
		}
		for range 2 {
			for e := range box {
				h := must(wire.ParseEnvelopeHeader([]byte(e)))
				if x.key(h.Key) != nil { // it reads the boxes that it has keys for
					_, _ = x.step(Envelope{Bytes: []byte(e)})
				}
			}
		}
	}
	for i := range 12 {
		a.send(fmt.Sprint("from anna ", i))
		for _, x := range []*device{a, b, d} {
			visit(x)
			w.run(10 * time.Minute)
		}
	}
	d.send("from dora")
	for _, x := range []*device{d, a, b, d} {
		visit(x)
	}
	if now, _ := d.m.Transport().Key(); now != id {
		t.Errorf("dora sends under %v, the others under %v", now, id)
	}
	if n := len(d.texts()); n != 13 {
		t.Errorf("dora shows %d messages", n)
	}
	if n := len(a.texts()); n != 13 {
		t.Errorf("anna shows %d messages", n)
	}
}

// A member that serves a join gives the newcomer a transport key that it made up: beside the
// group's, or instead of it.
func TestMadeUpKeyInAWelcome(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprint("alone ", alone), func(t *testing.T) {
			w, a, b, c := three(t, 794)
			given, _ := a.m.Transport().Key()
			key, id := w.lowKey(given)
			held := bytes.Clone(c.key(given))
			hostile := c.m.keys.of(id)
			hostile.by = c.m.logs.Head(c.m.own.log)
			c.m.keys.keys[id], c.m.keys.sends.id = key, nil
			if alone {
				c.m.keys.of(given).idle, c.m.keys.of(given).by = true, nil
			}
			a.online, b.online = false, false
			d := w.device("dora")
			w.join(d)
			w.run(10 * time.Second)
			if d.key(id) == nil || alone == (d.key(given) != nil) {
				t.Fatalf("dora holds the made-up key: %v, the group's: %v", d.key(id) != nil, d.key(given) != nil)
			}
			delete(c.m.keys.keys, id)
			delete(c.m.keys.known, id)
			c.m.keys.keys[given] = held
			c.m.keys.recount()
			for _, x := range []*device{a, b} {
				x.online = true
				w.sync(x, c)
				w.sync(x, d)
			}
			c.online = false
			w.run(5 * time.Minute)
			if now, _ := d.m.Transport().Key(); now != given {
				t.Errorf("dora sends under %v, the others under %v", now, given)
			}
			for _, wraps := range a.m.logs.Keys {
				if wraps.Wrap != nil && wraps.Wrap.ID == id && wraps.Log.Device != c.dev.ID {
					t.Error("the made-up key is handed on")
				}
			}
			w.gossip = false
			d.send("to all")
			if err := a.stepErr(Envelope{Bytes: d.last}); err != nil {
				t.Errorf("what dora sends anna cannot open: %v", err)
			}
			d.open()
			w.gossip = true
			w.run(48 * time.Hour)
			if d.key(id) != nil {
				t.Error("dora keeps the made-up key")
			}
			w.agree(a, b, d)
		})
	}
}

// A device that is taken out while it waits to complain of a transport key has nothing to do any
// more: it would ask to be woken at once, over and over.
func TestWhoIsOutComplainsOfNothing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 797)
	id := tkeyWithRubbish(t, w, c, []*device{a, b}, []*device{b}, flipLast)
	w.run(time.Second)
	if b.key(id) != nil || !b.m.timers.running(timerComplain) {
		t.Fatal("ben does not wait to complain of a key")
	}
	a.must(RemoveUser{User: b.dev.User})
	w.run(2 * time.Second)
	w.sync(a, b)
	if s := b.m.Status().State; s != StateOut {
		t.Fatalf("ben is %v", s)
	}
	w.now = w.now.Add(time.Hour)
	for range 3 { // at the first something may be due
		b.must(Tick{})
	}
	if at := b.m.NextWake(); !at.IsZero() && !at.After(w.now) {
		t.Errorf("ben asks to be woken at %v, at %v", at, w.now)
	}
}
