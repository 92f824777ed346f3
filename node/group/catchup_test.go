package group

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// longGroup is the logs of a group with many entries, and what each weighs on a stream.
type longGroup struct {
	entries []*wire.Entry
	hashes  []wire.EntryHash
	size    map[wire.EntryHash]int
	number  map[wire.EntryHash]int
}

// newLongGroup makes n RECORDs by devices that speak in turn, each of which names
// what was said last, encoded and signed (but for the signature's bytes) as they travel.
func newLongGroup(n, devices int) *longGroup {
	return newGroupOf(n, func(i int) int { return (i*7 + i/devices) % devices })
}

// newGroupOf is newLongGroup, where the device of each entry is given.
func newGroupOf(n int, deviceOf func(i int) int) *longGroup {
	g := &longGroup{size: map[wire.EntryHash]int{}, number: map[wire.EntryHash]int{}}
	heads := map[int]int{} // device → place in entries, from 1
	signature := make([]byte, 64)
	for i := range n {
		d := deviceOf(i)
		e := &wire.Entry{
			V: wire.Version, Group: wire.GroupID{1}, Device: dagtest.TestDevice(d), Incarnation: 1 << 60, Seq: 1, Kind: wire.KindRecord,
			HLC: uint64(crdt.HLCFromTime(time.Unix(100*86400, 0))) + uint64(i+1)<<16, Body: wire.Marshal(&wire.Record{Commitment: sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))}),
		}
		if at := heads[d]; at > 0 {
			e.Seq, e.Prev = g.entries[at-1].Seq+1, g.hashes[at-1]
		}
		if i > 0 && g.entries[i-1].Device != e.Device {
			e.Deps = []wire.EntryHash{g.hashes[i-1]}
		}
		signed := wire.Signed{Payload: e.Encode(), Signature: signature}
		hash := wire.EntryHashOf(e.Group, signed.Payload)
		g.entries, g.hashes = append(g.entries, e), append(g.hashes, hash)
		g.size[hash], g.number[hash] = len(signed.Encode()), i
		heads[d] = i + 1
	}
	return g
}

// without puts all entries but some into a set.
func (g *longGroup) without(t testing.TB, left func(i int) bool) *dag.Logs {
	t.Helper()
	l := dag.NewLogs(&identity.Device{ID: dagtest.TestDevice(0), User: dagtest.TestUser(0)})
	for i, e := range g.entries {
		if left != nil && left(i) {
			continue
		}
		if gone := l.Missing(e); len(gone) > 0 {
			t.Fatalf("entry %d lacks %d others", i, len(gone))
		}
		l.Add(&dag.Item{Author: l.Author(e.Log(), wire.UserID{}), Body: dag.Unsealed, Hash: g.hashes[i], Seq: e.Seq, HLC: crdt.HLC(e.HLC)}, e)
	}
	return l
}

// To catch up costs the version vector, which does not grow with the entries, and
// exactly the bytes of what is missing: k of 100,000.
func TestCatchUpIsProportional(t *testing.T) {
	t.Parallel()
	const entries, devices = 100_000, 32
	g := newLongGroup(entries, devices)
	full := g.without(t, nil)
	if full.Count != entries {
		t.Fatalf("%d entries", full.Count)
	}
	everybody := func(*dag.Item) bool { return true }
	vectors := []int{}
	costs := map[int]int{}
	for _, k := range []int{10, 100, 1000} {
		behind := g.without(t, func(i int) bool { return i >= entries-k })
		marks := behind.Marks()
		vector := wire.SyncVector{Marks: marks}
		vectors = append(vectors, len(wire.Marshal(&vector)))
		want := entries - k
		for it := range full.After(marks, nil, everybody) {
			if i := g.number[it.Hash]; i != want {
				t.Fatalf("k = %d: entry %d comes where %d is wanted", k, i, want)
			}
			want++
			costs[k] += g.size[it.Hash]
		}
		if want != entries {
			t.Fatalf("k = %d: %d entries came", k, want-entries+k)
		}
		// The other way nothing travels, although the one who is behind does not know
		// the entries that the marks name.
		for it := range behind.After(full.Marks(), nil, everybody) {
			t.Fatalf("k = %d: entry %d goes the other way", k, g.number[it.Hash])
		}
		if most := k * 320; costs[k] > most {
			t.Errorf("k = %d: %d bytes, at most %d", k, costs[k], most)
		}
		t.Logf("k = %d of %d: %d bytes of entries, vector %d bytes", k, entries, costs[k], vectors[len(vectors)-1])
	}
	for _, k := range []int{100, 1000} {
		if ratio := float64(costs[k]) / float64(costs[k/10]); ratio < 9.8 || ratio > 10.2 {
			t.Errorf("k = %d costs %.2f times as much as a tenth of it", k, ratio)
		}
	}
	if slices.Max(vectors) > devices*128 || slices.Max(vectors)-slices.Min(vectors) > devices*8 {
		t.Errorf("vectors of %v bytes for %d logs", vectors, devices)
	}

	// A device that is behind and wrote meanwhile: it lacks k entries of the others, and
	// they lack 5 of it.
	for _, k := range []int{10, 100, 1000} {
		from := entries - k
		mine := dagtest.TestDevice(3)
		other := g.without(t, func(i int) bool { return i >= from })
		alone := 0
		for ; alone < 5; alone++ {
			head := other.Head(wire.LogID{Device: mine, Incarnation: 1 << 60})
			if alone > 0 {
				head = other.Head(wire.LogID{Device: mine, Incarnation: 7})
			}
			e := &wire.Entry{Device: mine, Incarnation: 7, Seq: uint64(alone + 1), Kind: wire.KindRecord, HLC: uint64(head.HLC) + 1}
			hash := wire.EntryHash(sha256.Sum256([]byte{byte(alone), 9}))
			it := &dag.Item{Author: &dag.Author{Log: e.Log()}, Body: dag.Unsealed, Hash: hash, Seq: e.Seq, HLC: crdt.HLC(e.HLC)}
			if alone == 0 {
				e.Deps = []wire.EntryHash{head.Hash}
			} else {
				e.Prev = head.Hash
			}
			other.Add(it, e)
		}
		came, bytes, back := 0, 0, 0
		for it := range full.After(other.Marks(), nil, everybody) {
			came++
			bytes += g.size[it.Hash]
		}
		for range other.After(full.Marks(), nil, everybody) {
			back++
		}
		if came != k || bytes != costs[k] || back != alone {
			t.Errorf("k = %d: %d entries of %d bytes came, and %d went back", k, came, bytes, back)
		}
	}
}

// The member that is asked for an entry's past may lack it too. So a device keeps asking
// while an entry is parked, after growing pauses, and stops when none is.
func TestAsksOnForPast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 41)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	w.agree(a, b, c)

	// Gossip loses one message of a for everybody, c hears the next, and for half a
	// minute its streams lead to b, who lacks both.
	w.cut = func(x, y *device) bool { return x == a || y == a }
	a.send("lost on the way")
	a.send("the next")
	if _, err := c.step(Envelope{Bytes: a.last}); !errors.Is(err, verdict.ErrIncomplete) {
		t.Fatalf("the entry without its past: %v", err)
	}
	w.run(30 * time.Second)
	if parked := c.m.Status().Parked; parked != 1 {
		t.Fatalf("%d entries are parked, want the one without its past", parked)
	}
	w.cut = nil
	w.run(time.Minute)
	if parked := c.m.Status().Parked; parked != 0 {
		t.Errorf("%d entries are still parked", parked)
	}
	w.agree(a, c)
	if wait := c.m.timers.at(timerPast); !wait.IsZero() {
		t.Errorf("it goes on asking at %v, with nothing parked", wait)
	}
}

// BenchmarkMemory shows what the set keeps in memory for a message, in bytes: of all
// devices of a group that talk, and of two after many guests came and went.
func BenchmarkMemory(b *testing.B) {
	const entries = 20_000
	for _, devices := range []int{3, 30, 100} {
		b.Run(fmt.Sprintf("%d devices", devices), func(b *testing.B) {
			measureMemory(b, newLongGroup(entries, devices))
		})
	}
	b.Run("2 of 150 devices", func(b *testing.B) {
		measureMemory(b, newGroupOf(entries, func(i int) int {
			if i < 150 {
				return i
			}
			return i % 2
		}))
	})
}

func measureMemory(b *testing.B, g *longGroup) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := g.without(b, nil)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(g.entries)), "B/message")
		runtime.KeepAlive(l)
	}
	runtime.KeepAlive(g)
}
