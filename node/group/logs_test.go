package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// graph is a set of entries without signatures, and what each names.
type graph struct {
	rand    *rand.Rand
	entries []*wire.Entry
	hashes  []wire.EntryHash
	users   map[wire.DeviceID]wire.UserID
	bodies  map[wire.EntryHash]*body
}

func newGraph(seed uint64) *graph {
	return &graph{rand: rand.New(rand.NewPCG(seed, 1)), users: map[wire.DeviceID]wire.UserID{}, bodies: map[wire.EntryHash]*body{}}
}

func testDevice(n int) wire.DeviceID {
	return wire.DeviceID(sha256.Sum256([]byte{'d', byte(n), byte(n >> 8)}))
}

func testUser(n int) wire.UserID {
	return wire.UserID(sha256.Sum256([]byte{'u', byte(n), byte(n >> 8)}))
}

// grow adds an entry of a log that follows the log's newest one and names others.
func (g *graph) grow(log wire.LogID, deps []wire.EntryHash, body *body) wire.EntryHash {
	e := &wire.Entry{Device: log.Device, Incarnation: log.Incarnation, Seq: 1, Kind: wire.KindRecord, HLC: 1, Body: wire.Marshal(&wire.Record{})}
	if body.op != nil {
		e.Kind = wire.KindOp
	}
	for i, o := range g.entries {
		if o.Log() == log && o.Seq >= e.Seq {
			e.Seq, e.Prev, e.HLC = o.Seq+1, g.hashes[i], max(e.HLC, o.HLC+1)
		}
		if slices.Contains(deps, g.hashes[i]) {
			e.HLC = max(e.HLC, o.HLC+1)
		}
	}
	e.HLC += g.rand.Uint64N(5)
	e.Deps = slices.Clone(deps)
	slices.SortFunc(e.Deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	hash := wire.EntryHash(sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(len(g.entries)))))
	g.entries, g.hashes = append(g.entries, e), append(g.hashes, hash)
	g.bodies[hash] = body
	return hash
}

// random grows n entries over some logs.
func (g *graph) random(n, logs int) {
	for range n {
		log := wire.LogID{Device: testDevice(g.rand.IntN(logs)), Incarnation: uint64(g.rand.IntN(2))}
		var deps []wire.EntryHash
		for range min(g.rand.IntN(4), len(g.hashes)) {
			if h := g.hashes[g.rand.IntN(len(g.hashes))]; !slices.Contains(deps, h) {
				deps = append(deps, h)
			}
		}
		g.grow(log, deps, new(body))
	}
}

// insert puts the entries into a fresh set, in a random causal order.
func (g *graph) insert(t *testing.T, order *rand.Rand, judge func(*logs, *item)) *logs {
	t.Helper()
	l := newLogs(&identity.Device{ID: testDevice(0), User: testUser(0)})
	left := order.Perm(len(g.entries))
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(i int) bool { return len(l.missing(g.entries[i])) == 0 })
		if i < 0 {
			t.Fatal("no entry can be added")
		}
		at := left[i]
		left = slices.Delete(left, i, i+1)
		e, it := g.entries[at], g.item(l, at)
		if judge != nil {
			judge(l, it)
		}
		l.add(it, e)
	}
	return l
}

// item makes an entry into an item of a set that holds what it builds on.
func (g *graph) item(l *logs, i int) *item {
	e := g.entries[i]
	said := *g.bodies[g.hashes[i]]
	said.kind = e.Kind
	return l.fillPast(&item{
		author: &author{log: e.Log(), user: g.users[e.Device]}, body: &said, hash: g.hashes[i], seq: e.Seq, hlc: crdt.HLC(e.HLC), list: -1,
	}, e)
}

// past is the oracle: everything reachable over prev and deps, e itself included.
func (g *graph) past(h wire.EntryHash, into map[wire.EntryHash]bool) map[wire.EntryHash]bool {
	if into[h] {
		return into
	}
	into[h] = true
	e := g.entries[slices.Index(g.hashes, h)]
	if e.Seq > 1 {
		g.past(e.Prev, into)
	}
	for _, d := range e.Deps {
		g.past(d, into)
	}
	return into
}

// Causal pasts, frontiers and vectors against reachability, in any order of arrival.
func TestLogsAgainstReachability(t *testing.T) {
	pairs, lists := 0, 0
	for seed := range uint64(40) {
		g := newGraph(seed)
		g.random(60, 5)
		l := g.insert(t, g.rand, nil)
		if l.count != len(g.entries) || len(l.parking.entries) != 0 {
			t.Fatalf("%d entries, want %d", l.count, len(g.entries))
		}
		pasts := map[wire.EntryHash]map[wire.EntryHash]bool{}
		named := map[wire.EntryHash]bool{}
		for i, h := range g.hashes {
			pasts[h] = g.past(h, map[wire.EntryHash]bool{})
			named[g.entries[i].Prev] = true
			for _, d := range g.entries[i].Deps {
				named[d] = true
			}
		}
		for _, a := range g.hashes {
			for _, b := range g.hashes {
				pairs++
				if got := l.inPast(l.items.at(a), l.items.at(b)); got != pasts[b][a] {
					t.Fatalf("seed %d: inPast is %v, reachability %v", seed, got, pasts[b][a])
				}
			}
			if got := l.heads[a] != nil; got == named[a] {
				t.Fatalf("seed %d: head %v, named %v", seed, got, named[a])
			}
		}

		// A holder of any causally closed part gets just the rest, causes first.
		for _, h := range g.hashes {
			part := newGraph(0)
			for i, o := range g.hashes {
				if pasts[h][o] {
					part.entries, part.hashes = append(part.entries, g.entries[i]), append(part.hashes, o)
					part.bodies[o] = g.bodies[o]
				}
			}
			holder := part.insert(t, g.rand, nil)
			if holder.behind(l.marks()) != (len(part.hashes) < len(g.hashes)) || l.behind(holder.marks()) {
				t.Fatalf("seed %d: behind is wrong", seed)
			}
			got := slices.Collect(l.after(holder.marks(), nil, func(*item) bool { return true }))
			if len(got)+len(part.hashes) != len(g.hashes) {
				t.Fatalf("seed %d: after gives %d entries to a holder of %d of %d", seed, len(got), len(part.hashes), len(g.hashes))
			}
			for _, it := range got {
				i := slices.Index(g.hashes, it.hash)
				e := g.entries[i]
				if holder.items.at(it.hash) != nil || len(holder.missing(e)) > 0 {
					t.Fatalf("seed %d: after gives an entry that is there, or before its causes", seed)
				}
				holder.add(g.item(holder, i), e)
			}
			if !slices.Equal(holder.marks(), l.marks()) {
				t.Fatalf("seed %d: the vectors differ in the end", seed)
			}
			lists++
		}
	}
	if pairs < 100_000 || lists < 2000 {
		t.Errorf("%d pairs and %d lists", pairs, lists)
	}
}

// What comes before its causes waits within limits, and comes in when they are there.
func TestParkedEntriesComeInOnce(t *testing.T) {
	for seed := range uint64(20) {
		g := newGraph(100 + seed)
		g.random(80, 4)
		l := newLogs(&identity.Device{ID: testDevice(0)})
		in := 0
		var take func(i int)
		take = func(i int) {
			e := g.entries[i]
			s := &signedEntry{entry: e, hash: g.hashes[i]}
			if gone := l.missing(e); len(gone) > 0 {
				l.parking.park(s, gone)
				return
			}
			l.add(&item{author: &author{log: e.Log()}, body: unsealed, hash: s.hash, seq: e.Seq, hlc: crdt.HLC(e.HLC)}, e)
			in++
			for _, w := range l.parking.unpark(s.hash) {
				take(slices.Index(g.hashes, w.hash))
			}
		}
		for _, i := range g.rand.Perm(len(g.entries)) {
			take(i)
		}
		if in != len(g.entries) || len(l.parking.entries)+len(l.parking.waiting)+len(l.parking.quota) != 0 {
			t.Fatalf("seed %d: %d of %d came in; %d parked, %d waited for, %d quotas", seed, in, len(g.entries), len(l.parking.entries), len(l.parking.waiting), len(l.parking.quota))
		}
	}
	// What came last takes the place of the oldest, of the same device or of the one
	// with the most bytes.
	l := newLogs(&identity.Device{ID: testDevice(1)})
	l.devices[testDevice(2)] = &identity.Device{ID: testDevice(2)}
	park := func(device, n, size int) *signedEntry {
		s := &signedEntry{raw: make([]byte, size), hash: wire.EntryHash{byte(n), byte(n >> 8), byte(device)}}
		s.entry = &wire.Entry{Device: testDevice(device), Seq: uint64(n), Deps: []wire.EntryHash{{9, byte(n)}}}
		l.parking.park(s, l.missing(s.entry))
		return s
	}
	first := park(2, 0, 100)
	for n := range 3 * maxParked {
		park(1, n, 1)
		park(3+n%50, n, 1) // not known: they share one place
	}
	if len(l.parking.entries) != 2*maxParked+1 || l.parking.entries[first.hash] == nil || len(l.parking.queues[testDevice(1)]) > 3*maxParked {
		t.Errorf("%d are parked, %d in a queue", len(l.parking.entries), len(l.parking.queues[testDevice(1)]))
	}
	for n := range 100 {
		park(1, 10000+n, maxParkedBytes/10)
	}
	last := park(1, 20000, 1)
	if l.parking.bytes > maxParkedBytes || l.parking.entries[first.hash] == nil || l.parking.entries[last.hash] == nil {
		t.Errorf("%d bytes are parked", l.parking.bytes)
	}
	for _, s := range l.parking.entries {
		l.parking.drop(s)
	}
	if len(l.parking.entries)+len(l.parking.waiting)+len(l.parking.quota)+len(l.parking.sizes)+len(l.parking.queues)+len(l.first)+l.parking.bytes != 0 {
		t.Error("something is left of what was dropped")
	}
}
