package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// BenchmarkCrowd grows a group to 5,000 members, 500 at a time, of which one runs: a newcomer
// joins, somebody is removed and somebody leaves. It prints how a path grows meanwhile.
//
//	go test ./node/group -run '^$' -bench '^BenchmarkCrowd$' -benchtime 1x
func BenchmarkCrowd(b *testing.B) {
	const members, each = 5000, 500
	for range b.N {
		t := &testing.T{}
		w := newWorld(t, 1700)
		a, author := w.device("anna"), w.device("author")
		w.found(a, wire.PolicyOpen)
		w.join(author)
		w.run(time.Minute)
		running := []*device{a}
		author.online = false
		var last wire.EntryHash
		seq := uint64(0)
		start := clock()
		for n := 2; n < members; n += each {
			d := w.device(fmt.Sprint("running ", n))
			w.join(d)
			if d.m.Status().State != StateMember {
				b.Fatal(n, d.m.Status().State, d.errs)
			}
			running = append(running, d)
			var raws [][]byte
			head := a.m.logs.Head(author.m.own.log)
			if last == (wire.EntryHash{}) && head != nil {
				last, seq = head.Hash, head.Seq
			}
			for i := range each {
				secret, public, _ := engine.MLS(1).NewSigner(w.rand)
				_, op := puppet(t, w, fmt.Sprint("puppet ", n+i), secret, public, w.now)
				raw, hash := forged(author, wire.KindOp, op, nil, func(e *wire.Entry) {
					e.Incarnation, e.Seq, e.Prev = author.m.own.log.Incarnation, seq+1, last
					e.HLC = max(e.HLC, uint64(a.m.logs.Clock.Last())+1) + uint64(i)
					if i == 0 {
						e.Deps = []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
					}
				})
				raws, last, seq = append(raws, raw), hash, seq+1
			}
			for _, x := range running {
				x.must(Entries{Entries: raws})
			}
			w.run(4 * time.Hour)
			_, e := a.m.position()
			nodes, path := e.PathSize(nil)
			fmt.Println(n, "tree", len(e.Leaves()), "roster", a.m.rosters.now.Size(), "epoch", a.m.Status().Epoch, "path", nodes, path, "errs", len(a.errs), clock()-start)
		}
		step := func(what string, do func()) {
			before := a.position()
			at := clock()
			do()
			took := clock() - at
			w.run(time.Hour) // for whoever leaves, a device acts whose rank comes: of the few that run
			n := a.position()
			raw, _ := a.m.tx.get(itemKey(n.By()))
			_, e := a.m.position()
			fmt.Println(what, took.Round(time.Millisecond), "COMMIT", len(raw), "path", n.Info().Path, "moved", n != before, "tree", len(e.Leaves()), "roster", a.m.rosters.now.Size())
		}
		step("added to", func() { w.join(w.device("last")) })
		u := slices.DeleteFunc(a.m.Members(), func(m Member) bool {
			return m.Role != wire.RoleMember || slices.ContainsFunc(running, func(d *device) bool { return d.dev.User == m.User })
		})[7]
		step("removed from", func() { a.must(RemoveUser{User: u.User}) })
		step("left", func() { running[3].must(Leave{}) })
		w.agree(append(running[:3:3], running[4:]...)...)
		if t.Failed() {
			b.Error("they do not agree")
		}
	}
}
