package group

import (
	"maps"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/group/dag"
)

// A start comes to the roster, and the verdicts, that a member had that took the entries one by
// one: with what was found out before, without, and when all is resolved from scratch. The
// entries are those of an honest group, and some of an admin who dates removals back.
func TestStartIsAResolve(t *testing.T) {
	t.Parallel()
	w, x, c := longHistory(t, 1801, 240)
	hostile := c.admins[3]
	for i := range dag.MaxBeside / 2 {
		p := hostile.fresh()
		p.op(removes(c.members[i]), x.m.logs.Ops[60+9*i])
		x.takes(p.raws[0])
	}
	x.must(Tick{})
	if len(x.m.logs.Ops) < 248 || x.m.rosters.now.Size() < 30 {
		t.Fatalf("%d operations, %d members", len(x.m.logs.Ops), x.m.rosters.now.Size())
	}
	verdicts := func(y *device) string {
		var b strings.Builder
		for _, it := range y.m.logs.Ops {
			b.Write(encodeVerdict(y.m.rosters.Verdict(it)))
		}
		return b.String() + y.m.conclusions()
	}
	want := verdicts(x)
	x.m.rosters.Recount()
	x.must(Tick{})
	if verdicts(x) != want {
		t.Error("another roster from scratch")
	}
	y := *x
	y.rows = maps.Clone(x.rows)
	w.devices = nil // nobody writes
	y.open()
	if verdicts(&y) != want {
		t.Error("another roster after a start")
	}
	if n := y.m.rosters.Resolves(); n > 1 {
		t.Errorf("a start caused %d resolves", n)
	}
	y.rows = maps.Clone(x.rows)
	kept := 0
	for key := range y.rows {
		if strings.HasPrefix(key, rowJudged) {
			kept++
			delete(y.rows, key)
		}
	}
	if kept < len(x.m.logs.Ops) {
		t.Errorf("what was found out of %d entries is kept, of %d operations", kept, len(x.m.logs.Ops))
	}
	y.open()
	if verdicts(&y) != want {
		t.Error("another roster after a start that knows nothing of before")
	}
	again := 0
	for key := range y.rows {
		if strings.HasPrefix(key, rowJudged) {
			again++
		}
	}
	if again != kept {
		t.Errorf("it wrote down what it found out of %d entries, of %d", again, kept)
	}
	// Rows of other rules, and rubbish, are found out again.
	for key, v := range y.rows {
		if strings.HasPrefix(key, rowJudged) {
			v[0]++
		}
	}
	y.open()
	if verdicts(&y) != want {
		t.Error("another roster with verdicts by other rules")
	}
	if _, ok := decodeVerdict(append(encodeVerdict(x.m.rosters.Verdict(x.m.logs.Ops[9])), 0)); ok {
		t.Error("a row with rubbish behind it is taken")
	}
}
