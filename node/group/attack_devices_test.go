package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of the devices of one user.
const (
	devicesAtOnce = 10
	devicesIn     = 64 // since it came in
)

// adds makes the operation by which a user adds a device of its own.
func (w *world) adds(of *device, name string) (*device, *wire.Op) {
	x := w.another(of, name)
	w.devices = w.devices[:len(w.devices)-1]
	return x, &wire.Op{Type: wire.OpDeviceAdd, Cert: &x.dev.Raw, KeyPackage: x.keyPackage(w.group, w.now)}
}

// A user has at most ten devices at once, and is told so. Once one is revoked, there is room.
func TestTenDevicesAtOnce(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1541)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	w.run(time.Minute)
	p := c.fresh()
	named := []*dag.Item{c.m.logs.Head(c.m.own.log)}
	var first *device
	for i := range devicesAtOnce - 1 {
		x, op := w.adds(c, fmt.Sprint("device", i))
		p.op(op, named...)
		named = nil
		if i == 0 {
			first = x
		}
	}
	members := []*device{a, b, c}
	for _, x := range members {
		x.must(Entries{Entries: p.raws})
	}
	w.run(time.Minute)
	if n := len(c.m.rosters.now.User(c.dev.User).Devices); n != devicesAtOnce {
		t.Fatalf("carl has %d devices", n)
	}
	again := p.op(&wire.Op{Type: wire.OpDeviceAdd, Cert: &first.dev.Raw, KeyPackage: first.keyPackage(w.group, w.now)})
	for _, x := range members {
		x.must(Entries{Entries: p.raws})
		if !x.m.logs.Items.At(again).Facts.Has(dag.IsPermitted) {
			t.Errorf("%s: one of the ten is not added again", x.name)
		}
	}
	next := w.another(c, "next")
	r := next.asks(nil)
	next.online = false
	refusal{"one more", JoinAsked{Request: r}, verdict.ErrFull, verdict.Ignore}.check(t, c)
	if _, err := c.step(JoinAsked{Request: r}); err == nil || !strings.Contains(err.Error(), "at most 10 devices") || !strings.Contains(err.Error(), "revoke one") {
		t.Errorf("it is told %v", err)
	}
	c.must(RevokeDevice{Device: first.dev.ID})
	c.must(JoinAsked{Request: r})
	if !c.m.rosters.now.Has(next.dev.ID) {
		t.Error("there is no room")
	}
}

// A member adds and revokes devices without end, one after the other: those beyond the
// sixty-fourth do not count.
func TestDevicePairsEnd(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1542)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	w.run(time.Minute)
	p := c.fresh()
	named := []*dag.Item{c.m.logs.Head(c.m.own.log)}
	var all []*device
	for i := range devicesIn + 4 {
		x, op := w.adds(c, fmt.Sprint("device", i))
		p.op(op, named...)
		named = nil
		p.op(&wire.Op{Type: wire.OpDeviceRevoke, Device: &x.dev.ID})
		all = append(all, x)
	}
	for _, x := range []*device{a, b, c} {
		x.must(Entries{Entries: p.raws})
		n := 0
		for _, d := range all {
			if x.m.rosters.now.Revoked(d.dev.ID) != nil {
				n++
			}
		}
		if n != devicesIn-1 { // beside that with which it came
			t.Errorf("%s: %d devices were let in", x.name, n)
		}
	}
	next := w.another(c, "next")
	r := next.asks(nil)
	next.online = false
	refusal{"one more", JoinAsked{Request: r}, verdict.ErrFull, verdict.Ignore}.check(t, c)
}

// A member adds devices in many logs at once, each of which knows of few others. No more
// count than if it had added them one after the other.
func TestDevicesAddedSideBySide(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1543)
	named := c.m.logs.Head(c.m.own.log)
	var pens []*pen
	for i := range 4 {
		p := c.fresh()
		for j := range devicesAtOnce - 1 {
			_, op := w.adds(c, fmt.Sprint("device", i, j))
			if j == 0 {
				p.op(op, named)
			} else {
				p.op(op)
			}
		}
		pens = append(pens, p)
	}
	all := naming(b, pens...)
	c.online = false
	inOrders(t, "side by side", 50, []*device{a, b}, all, func(x *device) {
		if n := len(x.m.rosters.now.User(c.dev.User).Devices); n > devicesAtOnce {
			t.Errorf("%s: carl has %d devices", x.name, n)
		}
	})
}

// devicePairs writes a log in which c adds a device and revokes it, so many times, after what a
// has written.
func (w *world) devicePairs(a, c *device, pairs int) *pen {
	p := c.fresh()
	deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	p.hlc = uint64(a.m.logs.Clock.Last())
	for i := range pairs {
		x, op := w.adds(c, fmt.Sprint("device", i))
		p.writeAt(p.hlc+1, wire.KindOp, op, deps...)
		p.op(&wire.Op{Type: wire.OpDeviceRevoke, Device: &x.dev.ID})
		deps = nil
	}
	return p
}

// A read-only member adds a device and revokes it, 640 times. For the others that is one more
// operation each, and no roster of the past: neither when it comes nor when they start. The same
// holds of some pairs beside an operation of somebody else.
func TestDevicePairsAreCheap(t *testing.T) {
	t.Parallel()
	const most = 8
	for _, beside := range []bool{false, true} {
		pairs := 640
		if beside {
			pairs = 25
		}
		w, a, _, c := three(t, 1543)
		a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
		w.run(time.Minute)
		c.online, w.gossip = false, false
		p := w.devicePairs(a, c, pairs)
		if beside {
			a.mustInvite(nil)
		}
		before := a.m.rosters.Resolves()
		for _, raw := range p.raws {
			_, _ = a.m.Step(w.now, Entries{Entries: [][]byte{raw}})
			a.keep()
		}
		if n := a.m.rosters.Resolves() - before; n > most || a.m.logs.Items.At(p.prev) == nil {
			t.Errorf("%d pairs, beside: %t: they caused %d resolves, at most %d", pairs, beside, n, most)
		}
		a.open()
		if n := a.m.rosters.Resolves(); n > most || a.m.logs.Items.At(p.prev) == nil {
			t.Errorf("%d pairs, beside: %t: a start with them caused %d resolves, at most %d", pairs, beside, n, most)
		}
	}
}
