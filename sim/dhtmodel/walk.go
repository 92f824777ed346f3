package dhtmodel

import (
	"slices"
	"time"
)

// Times of requests. Latencies are drawn evenly; a peer that is gone costs its dial.
const (
	fastest  = 20 * time.Millisecond
	slowest  = 300 * time.Millisecond
	rounds   = 3 // of a first request: two to connect, one to ask
	deadDial = 5 * time.Second
)

// Bytes of messages, without QUIC and without the connections that they need. A peer in an
// answer takes Config.PeerBytes.
const (
	bytesRequest = 50
	bytesRecord  = 1200
	bytesPeer    = 90 // if Config does not say: an ID and four addresses
)

// state of a peer in a walk, as in kad-dht's qpeerset.
type state uint8

const (
	heard state = iota
	waiting
	queried
	unreachable
)

type candidate struct {
	distance uint64
	dev      int32
	state    state
	hop      uint8
}

// walk is one walk of kad-dht: runLookupWithFollowup.
type walk struct {
	near   []int32 // the k nearest that did not fail before its end; a few may be gone
	asked  int     // requests, those to peers that are gone included
	late   int     // of those, to the k nearest after its end
	failed int
	hops   int // of the first answer that had something; else of the farthest way
	took   time.Duration
	first  time.Duration // until the first answer that had something
	bytes  int           // in and out of the walker
}

type outstanding struct {
	at  time.Duration
	dev int32
}

// walker has the room that walks need, for one at a time.
type walker struct {
	all   []candidate
	open  []outstanding
	stamp []uint32
	round uint32
	peers []int32
	lies  []int32
}

// giving takes the answer of a peer: how many bytes it has beside the nearer peers, whether it
// has something, and whether that is enough.
type giving func(d int32) (bytes int, some, enough bool)

// walking is a walk under way.
type walking struct {
	walk

	w       *world
	from    int32
	target  uint64
	give    giving // nil: only nearer peers are asked for
	now     time.Duration
	found   bool // somebody had something
	stopped bool
}

// walk goes from a device to the nearest of a target.
func (w *world) walk(from int32, target uint64, give giving) walk {
	k, self := &w.walker, &w.devices[from]
	k.round++
	k.all, k.open, k.lies = k.all[:0], k.open[:0], nil
	k.stamp[from] = k.round
	for _, d := range self.table.nearest(self.id, target, k.peers[:0]) {
		k.hear(w, target, d, 1)
	}
	k.all = k.all[:min(len(k.all), bucketSize)]
	g := walking{w: w, from: from, target: target, give: give}
	for !g.stopped && !k.ended() {
		g.ask(k)
		if len(k.open) == 0 {
			break
		}
		g.next(k)
	}
	for n := 0; n < len(k.all) && len(g.near) < bucketSize; n++ {
		if k.all[n].state != unreachable {
			g.near = append(g.near, k.all[n].dev)
		}
	}
	if !g.stopped {
		g.askNearest(k)
	}
	g.took = g.now
	if give == nil {
		w.measure(from, target, g.near)
	}
	return g.walk
}

// ask sends requests to the nearest that were heard of, up to alpha at once.
func (g *walking) ask(k *walker) {
	for n := range k.all {
		if len(k.open) == alpha {
			return
		}
		if k.all[n].state != heard {
			continue
		}
		k.all[n].state = waiting
		took := deadDial
		if g.w.devices[k.all[n].dev].online {
			took = g.w.latency()
		}
		k.open = append(k.open, outstanding{g.now + took, k.all[n].dev})
		g.asked++
	}
}

// next takes the request that ends first.
func (g *walking) next(k *walker) {
	first := 0
	for n := range k.open {
		if k.open[n].at < k.open[first].at {
			first = n
		}
	}
	o := k.open[first]
	k.open[first] = k.open[len(k.open)-1]
	k.open = k.open[:len(k.open)-1]
	g.now = o.at
	c := k.of(g.w, g.target, o.dev)
	if !g.w.devices[o.dev].online {
		k.all[c].state = unreachable
		g.failed++
		g.w.forget(g.from, o.dev)
		return
	}
	k.all[c].state = queried
	hop := k.all[c].hop
	if !g.found {
		g.hops = max(g.hops, int(hop))
	}
	peers := k.answer(g.w, o.dev, g.target)
	g.answered(o.dev, hop, len(peers), g.now)
	for _, p := range peers {
		k.hear(g.w, g.target, p, hop+1)
	}
}

// answered charges an answer with so many peers, and takes what else it has.
func (g *walking) answered(d int32, hop uint8, peers int, at time.Duration) {
	extra := peers * g.w.cfg.PeerBytes
	if g.give != nil {
		more, some, enough := g.give(d)
		extra += more
		if some && !g.found {
			g.found, g.hops, g.first = true, int(hop), at
		}
		g.stopped = g.stopped || enough
	}
	g.w.devices[d].asked++
	g.w.devices[d].sent += extra
	g.bytes += bytesRequest + extra
}

// askNearest asks those of the k nearest that have not answered. The peers that they name
// come too late for this walk.
func (g *walking) askNearest(k *walker) {
	var last time.Duration
	for _, d := range g.near {
		c := k.all[k.of(g.w, g.target, d)]
		if c.state == queried {
			continue
		}
		g.asked, g.late = g.asked+1, g.late+1
		if !g.w.devices[d].online {
			g.failed++
			last = max(last, deadDial)
			continue
		}
		last = max(last, g.w.latency())
		if g.answered(d, c.hop, bucketSize, g.now+last); g.stopped {
			break
		}
	}
	g.now += last
}

func (w *world) latency() time.Duration {
	if w.even {
		return fastest
	}
	return rounds * (fastest + time.Duration(w.rng.unit()*float64(slowest-fastest)))
}

// hear puts a peer in its place, if it was not heard of before.
func (k *walker) hear(w *world, target uint64, d int32, hop uint8) {
	if k.stamp[d] == k.round {
		return
	}
	k.stamp[d] = k.round
	dist := w.devices[d].id ^ target
	at := k.place(dist)
	k.all = slices.Insert(k.all, at, candidate{dist, d, heard, hop})
}

func (k *walker) place(dist uint64) int {
	low, high := 0, len(k.all)
	for low < high {
		if mid := (low + high) / 2; k.all[mid].distance < dist {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

func (k *walker) of(w *world, target uint64, d int32) int { return k.place(w.devices[d].id ^ target) }

// ended says whether the nearest that may be reached have all answered.
func (k *walker) ended() bool {
	good := 0
	for n := range k.all {
		switch k.all[n].state {
		case unreachable:
			continue
		case queried:
			if good++; good == beta {
				return true
			}
		default:
			return false
		}
	}
	return true
}

// answer is the peers that one names. A hostile one names its like, nearest to the target.
func (k *walker) answer(w *world, d int32, target uint64) []int32 {
	if w.devices[d].hostile {
		if k.lies == nil {
			k.lies = w.liars.nearest(w.devices, target, bucketSize)
		}
		return k.lies
	}
	k.peers = w.devices[d].table.nearest(w.devices[d].id, target, k.peers[:0])
	if len(k.peers) > bucketSize {
		return closest(w.devices, target, k.peers, bucketSize)
	}
	return k.peers
}
