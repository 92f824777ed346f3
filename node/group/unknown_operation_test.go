package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// An operation of a later program comes in, dated before others. The kept rosters of
// entries' pasts are found by the operations in those pasts, so this one is not mistaken
// for another.
func TestOperationOfALaterProgram(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 918)
	w.cut = func(_, _ *device) bool { return true }
	base := a.m.logs.Head(a.m.own.log).Hash
	inc, at := w.rand.Uint64(), uint64(a.m.logs.Clock.Last())+1
	later, one := forged(c, wire.KindOp, &struct {
		Type uint64 `cbor:"1,keyasint"`
	}{1000}, []wire.EntryHash{base}, func(e *wire.Entry) { e.Incarnation, e.HLC = inc, at })
	said, id := forged(c, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.Incarnation, e.Seq, e.Prev, e.HLC = inc, 2, one, at+1 })
	w.now = w.now.Add(time.Second)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	demoted := a.m.logs.Ops[len(a.m.logs.Ops)-1]
	knows, _ := forged(b, wire.KindRecord, &wire.Record{}, []wire.EntryHash{demoted.Hash}, func(e *wire.Entry) { e.HLC = uint64(a.m.logs.Clock.Last()) + 1 })
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	a.must(Entries{Entries: [][]byte{knows}})
	a.must(Entries{Entries: [][]byte{later}})
	a.must(Entries{Entries: [][]byte{said}})
	for range 2 {
		if !a.m.messages.maySpeak(a.m.logs.Items.At(id)) {
			t.Error("what carl wrote before he could know of his new role does not count")
		}
		a.open()
	}
}
