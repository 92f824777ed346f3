package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// three makes a world of three members who know each other.
func three(t *testing.T, seed uint64) (*world, *device, *device, *device) {
	w := newWorld(t, seed)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(30 * time.Second)
	w.agree(a, b, c)
	return w, a, b, c
}

func sortedTexts(d *device) []string {
	out := d.texts()
	slices.Sort(out)
	return out
}

func TestThreeMembersTalk(t *testing.T) {
	w, a, b, c := three(t, 1)
	a.send("one")
	w.run(time.Second)
	b.send("two")
	w.run(time.Second)
	c.send("three")
	w.run(5 * time.Second)
	want := []string{"one", "two", "three"}
	for _, d := range w.devices {
		if got := d.texts(); !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", d.name, got, want)
		}
	}
	w.agree(a, b, c)
}
