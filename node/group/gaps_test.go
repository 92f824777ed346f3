package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// gapOf makes a RECORD of a user that nobody can read.
func gapOf(user byte, n int) *dag.Item {
	hash := wire.HashOf(wire.DomainPrio, []byte{user}, []byte{byte(n), byte(n >> 8), byte(n >> 16)})
	return &dag.Item{Author: &dag.Author{User: wire.UserID{user}}, Body: dag.Unsealed, Hash: wire.EntryHash(hash), HLC: crdt.HLC(n + 1)}
}

// A member writes any number of RECORDs without seals. A device tells of some of them, and asks
// for some, and the messages of others that it lacks are told of and asked for too.
func TestGapsOfAFlood(t *testing.T) {
	t.Parallel()
	g := newGaps()
	for n := range 20_000 {
		g.add(gapOf(1, n))
	}
	var others []wire.MessageID
	for n := range 40 {
		it := gapOf(byte(2+n%4), 30_000+n) // younger than all of the flood
		g.add(it)
		others = append(others, it.Hash)
	}
	never := func(wire.MessageID) bool { return false }
	for name, got := range map[string][]wire.MessageID{
		"a vector": g.told(wire.MaxGaps), "a beacon": g.told(maxGapsTold), "a request": g.wanted(time.Unix(1, 0), never),
	} {
		for _, id := range others {
			if !slices.Contains(got, id) {
				t.Fatalf("%s leaves out another's message", name)
			}
		}
		most := 256
		if name == "a request" {
			most = askedOf
		}
		if flood := len(got) - len(others); flood > most || flood < 64 {
			t.Errorf("%s has %d messages of the flood", name, flood)
		}
	}
	if !slices.IsSortedFunc(g.told(maxGapsTold), func(a, b wire.MessageID) int { return bytes.Compare(a[:], b[:]) }) {
		t.Error("what is told is not in order")
	}
	// Of many authors each has its turn.
	for user := range byte(200) {
		for n := range 3 {
			g.add(gapOf(20+user, 40_000+n))
		}
	}
	told := g.told(maxGapsTold)
	if len(told) != maxGapsTold {
		t.Errorf("a beacon tells of %d, wants %d", len(told), maxGapsTold)
	}
	for user := range byte(200) {
		if !slices.Contains(told, gapOf(20+user, 40_000).Hash) {
			t.Fatalf("a beacon leaves out user %d", user)
		}
	}
	for _, id := range g.all() {
		g.remove(id)
	}
	if len(g.of)+len(g.by) != 0 {
		t.Errorf("%d and %d are left", len(g.of), len(g.by))
	}
}

// A device that was away for a year lacks 60,000 messages of one author, of which nobody has
// the older half: it gets all others, and asks for as many as an exchange answers at once.
func TestGapsAfterAYear(t *testing.T) {
	t.Parallel()
	g := newGaps()
	there := map[wire.MessageID]bool{}
	for n := range 60_000 {
		it := gapOf(1, n)
		g.add(it)
		there[it.Hash] = n >= 30_000
	}
	now := time.Unix(1_700_000_000, 0)
	exchanges := 0
	for ; len(g.of) > 30_000 && exchanges < 1000; exchanges++ {
		asked := map[wire.MessageID]bool{}
		for more := true; more; {
			more = false
			for _, id := range g.wanted(now, func(wire.MessageID) bool { return false }) {
				if asked[id] {
					continue
				}
				asked[id] = true
				if more = true; there[id] {
					g.remove(id)
				}
			}
		}
		now = now.Add(time.Hour + turnOfGaps) // as a device that hears nothing new
	}
	if exchanges > 100 {
		t.Errorf("it took %d exchanges, and %d messages that others have are missing", exchanges, len(g.of)-30_000)
	}
}

// A device that tells of as many gaps of an author as it may can lack others of that author,
// and of nobody else. A name that is not known here may be anybody's.
func TestUntoldGaps(t *testing.T) {
	t.Parallel()
	author := map[wire.MessageID]wire.UserID{}
	ids := func(user byte, n int) (out []wire.MessageID) {
		for i := range n {
			it := gapOf(user, i)
			author[it.Hash] = it.User
			out = append(out, it.Hash)
		}
		return out
	}
	known := func(id wire.MessageID) *wire.UserID {
		if u, ok := author[id]; ok {
			return &u
		}
		return nil
	}
	mine, others := wire.UserID{1}, wire.UserID{2}
	flood := ids(1, toldOf(wire.MaxGaps))
	for _, c := range []struct {
		name         string
		told         []wire.MessageID
		most         int
		mine, others bool
	}{
		{"few", flood[:10], wire.MaxGaps, false, false},
		{"as many as of one author", flood, wire.MaxGaps, true, false},
		{"some that are not known", append(flood[1:len(flood):len(flood)], gapOf(9, 1).Hash), wire.MaxGaps, true, false},
		{"as many as in all", flood, len(flood), true, true},
	} {
		more := untold(c.told, c.most, known)
		if more(mine) != c.mine || more(others) != c.others {
			t.Errorf("%s: %v and %v, wants %v and %v", c.name, more(mine), more(others), c.mine, c.others)
		}
	}
}
