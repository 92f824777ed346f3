package dag_test

import (
	"slices"
	"testing"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Causal pasts, frontiers and vectors against reachability, in any order of arrival.
func TestLogsAgainstReachability(t *testing.T) {
	pairs, lists := 0, 0
	for seed := range uint64(40) {
		g := dagtest.NewGraph(seed)
		g.Random(60, 5)
		l := g.Insert(t, g.Rand, nil)
		if l.Count != len(g.Entries) || len(l.Parking.Entries) != 0 {
			t.Fatalf("%d entries, want %d", l.Count, len(g.Entries))
		}
		pasts := map[wire.EntryHash]map[wire.EntryHash]bool{}
		named := map[wire.EntryHash]bool{}
		for i, h := range g.Hashes {
			pasts[h] = g.Past(h, map[wire.EntryHash]bool{})
			named[g.Entries[i].Prev] = true
			for _, d := range g.Entries[i].Deps {
				named[d] = true
			}
		}
		for _, a := range g.Hashes {
			for _, b := range g.Hashes {
				pairs++
				if got := l.InPast(l.Items.At(a), l.Items.At(b)); got != pasts[b][a] {
					t.Fatalf("seed %d: inPast is %v, reachability %v", seed, got, pasts[b][a])
				}
			}
			if got := l.Heads[a] != nil; got == named[a] {
				t.Fatalf("seed %d: head %v, named %v", seed, got, named[a])
			}
		}

		// A holder of any causally closed part gets just the rest, causes first.
		for _, h := range g.Hashes {
			part := dagtest.NewGraph(0)
			for i, o := range g.Hashes {
				if pasts[h][o] {
					part.Entries, part.Hashes = append(part.Entries, g.Entries[i]), append(part.Hashes, o)
					part.Bodies[o] = g.Bodies[o]
				}
			}
			holder := part.Insert(t, g.Rand, nil)
			if holder.Behind(l.Marks()) != (len(part.Hashes) < len(g.Hashes)) || l.Behind(holder.Marks()) {
				t.Fatalf("seed %d: behind is wrong", seed)
			}
			got := slices.Collect(l.After(holder.Marks(), nil, func(*dag.Item) bool { return true }))
			if len(got)+len(part.Hashes) != len(g.Hashes) {
				t.Fatalf("seed %d: after gives %d entries to a holder of %d of %d", seed, len(got), len(part.Hashes), len(g.Hashes))
			}
			for _, it := range got {
				i := slices.Index(g.Hashes, it.Hash)
				e := g.Entries[i]
				if holder.Items.At(it.Hash) != nil || len(holder.Missing(e)) > 0 {
					t.Fatalf("seed %d: after gives an entry that is there, or before its causes", seed)
				}
				holder.Add(g.Item(holder, i), e)
			}
			if !slices.Equal(holder.Marks(), l.Marks()) {
				t.Fatalf("seed %d: the vectors differ in the end", seed)
			}
			lists++
		}
	}
	if pairs < 100_000 || lists < 2000 {
		t.Errorf("%d pairs and %d lists", pairs, lists)
	}
}

// An entry that arrives before its causes is parked within limits, and comes in when they
// are there.
func TestParkedEntriesComeInOnce(t *testing.T) {
	for seed := range uint64(20) {
		g := dagtest.NewGraph(100 + seed)
		g.Random(80, 4)
		l := dag.NewLogs(&identity.Device{ID: dagtest.TestDevice(0)})
		in := 0
		var take func(i int)
		take = func(i int) {
			e := g.Entries[i]
			s := &dag.SignedEntry{Entry: e, Hash: g.Hashes[i]}
			if gone := l.Missing(e); len(gone) > 0 {
				l.Parking.Park(s, gone)
				return
			}
			l.Add(&dag.Item{Author: &dag.Author{Log: e.Log()}, Body: dag.Unsealed, Hash: s.Hash, Seq: e.Seq, HLC: crdt.HLC(e.HLC)}, e)
			in++
			for _, w := range l.Parking.Unpark(s.Hash) {
				take(slices.Index(g.Hashes, w.Hash))
			}
		}
		for _, i := range g.Rand.Perm(len(g.Entries)) {
			take(i)
		}
		if in != len(g.Entries) || len(l.Parking.Entries)+len(l.Parking.Waiting)+len(l.Parking.Quota) != 0 {
			t.Fatalf("seed %d: %d of %d came in; %d parked, %d waited for, %d quotas", seed, in, len(g.Entries), len(l.Parking.Entries), len(l.Parking.Waiting), len(l.Parking.Quota))
		}
	}
}
