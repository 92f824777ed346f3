// Package dagtest grows sets of entries without signatures, for tests.
package dagtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Graph is a set of entries without signatures, and what each names.
type Graph struct {
	Rand    *rand.Rand
	Entries []*wire.Entry
	Hashes  []wire.EntryHash
	Users   map[wire.DeviceID]wire.UserID
	Bodies  map[wire.EntryHash]*dag.Body
}

// NewGraph makes an empty graph; all that it draws follows from the seed.
func NewGraph(seed uint64) *Graph {
	draw := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test repeats
	return &Graph{Rand: draw, Users: map[wire.DeviceID]wire.UserID{}, Bodies: map[wire.EntryHash]*dag.Body{}}
}

// TestDevice is the nth device.
func TestDevice(n int) wire.DeviceID {
	return wire.DeviceID(sha256.Sum256([]byte{'d', byte(n), byte(n >> 8)}))
}

// TestUser is the nth user.
func TestUser(n int) wire.UserID {
	return wire.UserID(sha256.Sum256([]byte{'u', byte(n), byte(n >> 8)}))
}

// Grow adds an entry of a log that follows the log's newest one and names others.
func (g *Graph) Grow(log wire.LogID, deps []wire.EntryHash, body *dag.Body) wire.EntryHash {
	e := &wire.Entry{Device: log.Device, Incarnation: log.Incarnation, Seq: 1, Kind: wire.KindRecord, HLC: 1, Body: wire.Marshal(&wire.Record{})}
	if body.Op != nil {
		e.Kind = wire.KindOp
	}
	for i, o := range g.Entries {
		if o.Log() == log && o.Seq >= e.Seq {
			e.Seq, e.Prev, e.HLC = o.Seq+1, g.Hashes[i], max(e.HLC, o.HLC+1)
		}
		if slices.Contains(deps, g.Hashes[i]) {
			e.HLC = max(e.HLC, o.HLC+1)
		}
	}
	e.HLC += g.Rand.Uint64N(5)
	e.Deps = slices.Clone(deps)
	slices.SortFunc(e.Deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	hash := wire.EntryHash(sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(len(g.Entries)))))
	g.Entries, g.Hashes = append(g.Entries, e), append(g.Hashes, hash)
	g.Bodies[hash] = body
	return hash
}

// Random grows n entries over some logs.
func (g *Graph) Random(n, logs int) {
	for range n {
		log := wire.LogID{Device: TestDevice(g.Rand.IntN(logs)), Incarnation: uint64(g.Rand.IntN(2))}
		var deps []wire.EntryHash
		for range min(g.Rand.IntN(4), len(g.Hashes)) {
			if h := g.Hashes[g.Rand.IntN(len(g.Hashes))]; !slices.Contains(deps, h) {
				deps = append(deps, h)
			}
		}
		g.Grow(log, deps, new(dag.Body))
	}
}

// Insert puts the entries into a fresh set, in a random causal order.
func (g *Graph) Insert(t *testing.T, order *rand.Rand, came func(*dag.Logs, *dag.Item)) *dag.Logs {
	t.Helper()
	l := dag.NewLogs(&identity.Device{ID: TestDevice(0), User: TestUser(0)})
	left := order.Perm(len(g.Entries))
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(i int) bool { return len(l.Missing(g.Entries[i])) == 0 })
		if i < 0 {
			t.Fatal("no entry can be added")
		}
		at := left[i]
		left = slices.Delete(left, i, i+1)
		e, it := g.Entries[at], g.Item(l, at)
		l.Add(it, e)
		if came != nil {
			came(l, it)
		}
	}
	return l
}

// Item makes an entry into an item of a set that holds what it builds on.
func (g *Graph) Item(l *dag.Logs, i int) *dag.Item {
	e := g.Entries[i]
	said := *g.Bodies[g.Hashes[i]]
	said.Kind = e.Kind
	return l.FillPast(&dag.Item{
		Author: &dag.Author{Log: e.Log(), User: g.Users[e.Device]}, Body: &said, Hash: g.Hashes[i], Seq: e.Seq, HLC: crdt.HLC(e.HLC), List: -1,
	}, e)
}

// Past is the oracle: everything reachable over prev and deps, e itself included.
func (g *Graph) Past(h wire.EntryHash, into map[wire.EntryHash]bool) map[wire.EntryHash]bool {
	if into[h] {
		return into
	}
	into[h] = true
	e := g.Entries[slices.Index(g.Hashes, h)]
	if e.Seq > 1 {
		g.Past(e.Prev, into)
	}
	for _, d := range e.Deps {
		g.Past(d, into)
	}
	return into
}

// Fork adds an entry that follows any entry of a log but its newest one.
func (g *Graph) Fork(log wire.LogID, deps []wire.EntryHash) {
	var at []int
	for i, e := range g.Entries {
		if e.Log() == log {
			at = append(at, i)
		}
	}
	if len(at) < 2 {
		return
	}
	h := g.Grow(log, deps, new(dag.Body))
	i := slices.Index(g.Hashes, h)
	prev := g.Entries[at[g.Rand.IntN(len(at)-1)]]
	g.Entries[i].Seq, g.Entries[i].Prev = prev.Seq+1, g.Hashes[slices.Index(g.Entries, prev)]
}
