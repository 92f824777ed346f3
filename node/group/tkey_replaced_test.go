package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// keyOfNobody has a member bring a transport key that all prefer and nobody gets.
func keyOfNobody(w *world, c *device, to []*device) wire.KeyID {
	w.t.Helper()
	old, _ := to[0].m.Transport().Key()
	_, id := w.lowKey(old)
	tkey := &wire.TKey{ID: id}
	for _, x := range to {
		tkey.Wraps = append(tkey.Wraps, wire.Wrap{Device: x.dev.ID, Sealed: make([]byte, 80)})
	}
	slices.SortFunc(tkey.Wraps, func(a, b wire.Wrap) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	raw := c.forge(wire.KindTKey, tkey, to[0].m.logs.Frontier(c.m.own.log, 16), c.next(to[0]))
	for _, x := range to {
		x.must(Entries{Entries: [][]byte{raw}})
	}
	return id
}

// A member brings a transport key that nobody gets, not even itself. The others say that they
// lack it, and once three users do, or all the others, one of them replaces it: then nobody
// complains any more.
func TestKeyThatNobodyHoldsIsReplaced(t *testing.T) {
	t.Parallel()
	for _, users := range []int{3, 5} {
		w, a, b, c := three(t, 795)
		members := []*device{a, b}
		for i := range users - 3 {
			d := w.device([]string{"dora", "emil"}[i])
			w.join(d)
			members = append(members, d)
		}
		w.run(time.Minute)
		c.online = false
		id := keyOfNobody(w, c, members)
		w.run(2 * time.Hour)
		now, _ := a.m.Transport().Key()
		for _, x := range members {
			if k, _ := x.m.Transport().Key(); k != now || k == id {
				t.Errorf("%d users: %s sends under %v, anna under %v, of nobody is %v", users, x.name, k, now, id)
			}
			if !x.m.keys.of(id).superseded {
				t.Errorf("%d users: for %s the key that nobody holds is not replaced", users, x.name)
			}
		}
		before := len(a.m.logs.Keys)
		w.run(24 * time.Hour)
		if n := len(a.m.logs.Keys) - before; n > 0 {
			t.Errorf("%d users: %d entries about keys in a quiet day after it", users, n)
		}
		a.send("to all")
		w.run(time.Minute)
		w.agree(members...)
	}
}

// A member brings such keys without end. Each other device replaces one an hour at most, and
// what people say still reaches all.
func TestKeysOfNobodyWithoutEnd(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 796)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	c.online = false
	members := []*device{a, b, d}
	rotations := func() (n int) {
		for _, it := range a.m.logs.Keys {
			if it.TKey != nil && it.Log.Device != c.dev.ID {
				n++
			}
		}
		return n
	}
	before := rotations()
	const hours = 6
	for range hours * 12 {
		keyOfNobody(w, c, members)
		w.run(5 * time.Minute)
	}
	if n := rotations() - before; n == 0 || n > len(members)*(hours+1) {
		t.Errorf("%d keys were replaced in %d hours", n, hours)
	}
	a.send("to all")
	w.run(time.Minute)
	for _, x := range members[1:] {
		if got := x.texts(); len(got) == 0 || got[len(got)-1] != "to all" {
			t.Errorf("%s shows %v", x.name, got)
		}
	}
}

// Complaints about a key that its members hold replace nothing, however many complain.
func TestComplaintsAboutAGoodKeyReplaceNothing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 797)
	hostile := []*device{c}
	for _, name := range []string{"dora", "emil", "finn"} {
		d := w.device(name)
		w.join(d)
		hostile = append(hostile, d)
	}
	w.run(time.Minute)
	key, _ := a.m.Transport().Key()
	for _, x := range hostile {
		x.online = false
		raw := x.forge(wire.KindTKeyWrap, &wire.TKeyWrap{ID: key, Wrap: wire.Wrap{Device: x.dev.ID, Sealed: key[:]}}, a.m.logs.Frontier(x.m.own.log, 16), x.next(a))
		for _, y := range []*device{a, b} {
			y.must(Entries{Entries: [][]byte{raw}})
		}
	}
	w.run(12 * time.Hour)
	for _, x := range []*device{a, b} {
		if now, _ := x.m.Transport().Key(); now != key {
			t.Errorf("%s sends under another key", x.name)
		}
	}
}
