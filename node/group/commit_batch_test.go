package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// More devices are to be added than one commit holds: a member lets in a crowd at once,
// or a branch with many new members has lost. Several commits do it, and nothing else
// that a commit has to do waits for ever.
func TestMoreAddsThanACommitHolds(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 790)
	c.online = false
	deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	var raws [][]byte
	follows := c.next(a)
	var last wire.EntryHash
	for i := range 430 {
		secret, public, _ := engine.MLS(1).NewSigner(w.rand)
		_, op := puppet(t, w, fmt.Sprintf("puppet of a long name, as long as may be, number %4d", i), secret, public, w.now)
		raw, hash := forged(c, wire.KindOp, op, nil, func(e *wire.Entry) {
			follows(e)
			e.HLC += uint64(i)
			if i == 0 {
				e.Deps = deps
			} else {
				e.Seq, e.Prev = e.Seq+uint64(i), last
			}
		})
		raws, last = append(raws, raw), hash
	}
	for _, d := range []*device{a, b} {
		d.must(Entries{Entries: raws})
	}
	a.must(RemoveUser{User: c.dev.User})
	id := a.send("after")
	w.run(time.Minute)
	if got := b.texts(); !slices.Contains(got, "after") {
		t.Errorf("ben shows %q", got)
	}
	m, _, err := a.m.Journal().Message(id)
	if err != nil || m.Delivery == DeliveryQueued {
		t.Errorf("%v, %v; %v", m.Delivery, err, a.errs[max(0, len(a.errs)-1):])
	}
	w.agree(a, b)
}
