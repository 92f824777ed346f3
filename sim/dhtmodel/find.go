package dhtmodel

import (
	"cmp"
	"slices"
	"time"

	"github.com/pandanode/pandanode/discovery"
)

// Found is what finds of one kind came to.
type Found struct {
	Kind     string  `json:"kind"`
	Finds    int     `json:"finds"`
	Share    float64 `json:"share"`    // that found what they looked for
	Groups   float64 `json:"groups"`   // found by one, on average
	Hops     float64 `json:"hops"`     // until the first answer with something
	Requests float64 `json:"requests"` // of one find, all its walks together
	Bytes    float64 `json:"bytes"`
	First    float64 `json:"first"`  // seconds until the first answer with something, the median
	Median   float64 `json:"median"` // seconds until it ended
	P95      float64 `json:"p95"`
}

// Kinds of finds.
const (
	FindID      = "by ID"
	FindName    = "by its whole name"
	FindWord    = "any, by one word"
	FindPublic  = "any public group"
	FindMailbox = "any mailbox"
)

type tally struct {
	finds, found             int
	groups                   int
	hops, hopped, asked, got int
	took, first              []time.Duration
}

func (t *tally) report(kind string) Found {
	n := float64(max(1, t.finds))
	at := func(all []time.Duration, p float64) float64 {
		if len(all) == 0 {
			return 0
		}
		slices.Sort(all)
		return all[int(p*float64(len(all)-1))].Seconds()
	}
	return Found{
		Kind: kind, Finds: t.finds, Share: float64(t.found) / n, Groups: float64(t.groups) / n, Hops: float64(t.hops) / float64(max(1, t.hopped)),
		Requests: float64(t.asked) / n, Bytes: float64(t.got) / n, First: at(t.first, 0.5), Median: at(t.took, 0.5), P95: at(t.took, 0.95),
	}
}

// one is a find under way.
type one struct {
	peers  []int32
	took   time.Duration // of its longest walk
	first  time.Duration // until the first answer with something; 0: none
	before time.Duration // of walks that came before the one under way
	hops   int
	asked  int
	bytes  int
}

// lookup walks for the providers of a key, until it has as many as one find takes.
func (w *world) lookup(n int32, key uint64, f *one) {
	if slices.Contains(w.victims, key) {
		// The nearest to the key are all hostile: each walk ends among them.
		walk := w.walk(n, key, nil)
		f.asked, f.bytes, f.took = f.asked+walk.asked+bucketSize, f.bytes+walk.bytes, max(f.took, walk.took)
		return
	}
	var list []int32
	had := len(f.peers)
	walk := w.walk(n, key, func(d int32) (int, bool, bool) {
		at := &w.devices[d]
		if at.hostile || at.store == nil {
			return 0, false, false
		}
		list = at.store.providers(&w.rng, key, w.now, list[:0])
		for _, p := range list {
			if !slices.Contains(f.peers[had:], p) && len(f.peers)-had < given {
				f.peers = append(f.peers, p)
			}
		}
		return len(list) * w.cfg.PeerBytes, len(list) > 0, len(f.peers)-had >= given
	})
	f.asked, f.bytes, f.took = f.asked+walk.asked, f.bytes+walk.bytes, max(f.took, walk.took)
	if len(f.peers) > had && (f.first == 0 || f.before+walk.first < f.first) {
		f.first = f.before + walk.first
	}
	if len(f.peers) > had && (f.hops == 0 || walk.hops < f.hops) {
		f.hops = walk.hops
	}
}

// groupsOf are the groups that the providers found tell of, and that fit.
func (w *world) groupsOf(f *one, fits func(g *group) bool) map[int32]bool {
	out := map[int32]bool{}
	for _, p := range f.peers {
		if !w.devices[p].online || w.devices[p].hostile {
			continue
		}
		for _, m := range w.devices[p].groups {
			if fits(&w.groups[m.group]) {
				out[m.group] = true
			}
		}
	}
	return out
}

func (t *tally) note(f *one, ok bool, groups int) {
	t.finds++
	t.groups += groups
	t.asked += f.asked
	t.got += f.bytes
	t.took = append(t.took, f.took)
	if ok {
		t.found++
	}
	if f.first > 0 {
		t.first = append(t.first, f.first)
	}
	if f.hops > 0 {
		t.hops, t.hopped = t.hops+f.hops, t.hopped+1
	}
}

// searches plays one find of each kind, each by a device drawn anew, for groups of which a
// member is online.
func (w *world) searches(into map[string]*tally) {
	asker := func() int32 {
		for {
			if n := int32(w.rng.n(len(w.devices))); w.devices[n].online && !w.devices[n].hostile { //nolint:gosec // devices are numbered so
				return n
			}
		}
	}
	var target int32 = -1
	for range 1000 {
		g := int32(w.rng.n(len(w.groups))) //nolint:gosec // groups are numbered so
		if w.groups[g].ever && w.present(g) {
			target = g
			break
		}
	}
	if target < 0 {
		return
	}
	g := &w.groups[target]
	v := g.words[w.rng.n(len(g.words))]
	if w.cfg.Eclipse {
		// Of a group its record, its members and one word; of all public groups and all
		// mailboxes the whole key, which is one shard, or one shard of eight.
		w.victims = []uint64{hash(keyRecord, g.id), hash(keyMembers, g.id), hash(keyWord, uint64(v))} //nolint:gosec // not negative
		for _, kind := range []uint64{keyPublic, keyMailbox} {
			w.victims = append(w.victims, shard(kind, discovery.Shard{}), shard(kind, discovery.Shard{Depth: 3}))
		}
	}

	n := asker()
	byID := &one{}
	record := false
	walk := w.walk(n, hash(keyRecord, g.id), func(d int32) (int, bool, bool) {
		at := &w.devices[d]
		if at.hostile || at.store == nil || slices.Contains(w.victims, hash(keyRecord, g.id)) {
			return 0, false, false
		}
		_, ok := at.store.values[hash(keyRecord, g.id)]
		record = record || ok
		if ok {
			return bytesRecord, true, false
		}
		return 0, false, false
	})
	byID.asked, byID.bytes, byID.took, byID.hops, byID.first = walk.asked, walk.bytes, walk.took, walk.hops, walk.first
	w.lookup(n, hash(keyMembers, g.id), byID)
	there := false
	for _, p := range byID.peers {
		there = there || w.devices[p].online
	}
	into[FindID].note(byID, record && there, 1)

	n = asker()
	byName := &one{}
	for _, v := range g.words {
		w.lookup(n, hash(keyWord, uint64(v)), byName) //nolint:gosec // not negative
	}
	if w.cfg.Spread {
		for _, key := range pairsOf(g.words) {
			w.lookup(n, key, byName)
		}
	}
	same := w.groupsOf(byName, func(o *group) bool {
		return !slices.ContainsFunc(g.words, func(v int) bool { return !slices.Contains(o.words, v) })
	})
	into[FindName].note(byName, same[target], len(same))

	n = asker()
	byWord := &one{}
	w.lookup(n, hash(keyWord, uint64(v)), byWord) //nolint:gosec // not negative
	some := w.groupsOf(byWord, func(o *group) bool { return slices.Contains(o.words, v) })
	into[FindWord].note(byWord, len(some) > 0, len(some))

	n = asker()
	public := &one{}
	w.spreadLookup(n, keyPublic, 1, public)
	all := w.groupsOf(public, func(*group) bool { return true })
	into[FindPublic].note(public, len(all) > 0, len(all))

	n = asker()
	box := &one{}
	w.spreadLookup(n, keyMailbox, fewOffer, box)
	boxes := 0
	for _, p := range box.peers {
		if w.devices[p].online {
			boxes++
		}
	}
	into[FindMailbox].note(box, boxes > 0, boxes)
}

// spreadLookup asks the shards of a key until there are enough.
func (w *world) spreadLookup(n int32, kind uint64, oneOf float64, f *one) {
	shards := []discovery.Shard{{}}
	if w.cfg.Spread {
		shards = discovery.Shards(w.depth(n, oneOf), uint16(w.rng.n(1<<16))) //nolint:gosec // sixteen bits
	}
	for _, s := range shards {
		f.took = 0
		w.lookup(n, shard(kind, s), f)
		f.before += f.took
		if len(f.peers) >= given/4 {
			break
		}
	}
	f.took = f.before
}

// present says whether an honest member of a group is online.
func (w *world) present(g int32) bool {
	return slices.ContainsFunc(w.groups[g].members, func(d int32) bool { return w.devices[d].online && !w.devices[d].hostile })
}

// heaviest returns the mean, the 99th of a hundred, and the largest.
func spreadOf[T cmp.Ordered](all []T) (p99, most T) {
	slices.Sort(all)
	if len(all) == 0 {
		return p99, most
	}
	return all[int(0.99*float64(len(all)-1))], all[len(all)-1]
}
