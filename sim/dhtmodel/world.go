package dhtmodel

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/pandanode/pandanode/discovery"
)

// Config of a world. Nodes, Groups and Hours are needed.
type Config struct {
	Seed    uint64
	Nodes   int // online at a time, on average
	Groups  int
	Hours   int
	Churn   Churn
	Clients float64 // share of devices behind a NAT: they use the DHT and do not serve it
	Hostile float64 // share of servers that keep nothing and name only their like
	Eclipse bool    // one key of each find has k hostile IDs that are nearer than all others
	Spread  bool    // hot keys are spread as in package discovery; else as before
	Finds   int     // of each kind, in the last half

	PeerBytes int // of a peer in an answer; 0: one with four addresses
}

// HenningsenNAT is the share of IPFS nodes behind a NAT (Henningsen et al. 2020, Mapping the
// Interplanetary Filesystem, arXiv:2002.07747: at least 52.19 %).
const HenningsenNAT = 0.5219

// How a node publishes, as in discovery/publish.go.
const (
	firstPause   = 15 * time.Minute
	republish    = 6 * time.Hour
	mailboxEvery = 12 * time.Hour
	refreshEvery = 10 * time.Minute
	estimates    = 9
	maxOfKey     = 4 << 10
	fewOffer     = 8 // as in discovery/spread.go
)

// Shares of devices and groups that are assumed.
const (
	mailboxShare = 0.05
	vocabulary   = 5000
	tags         = 200
	taggedShare  = 0.3
)

type device struct {
	id      uint64
	net     uint32
	server  bool
	hostile bool
	always  bool
	online  bool
	mailbox bool
	session uint32
	table   table
	store   *store
	groups  []membership
	sizes   [estimates]float64 // of the network, as its walks say
	sized   int
	public  time.Duration // when it last announced that it has a public group
	asked   int           // requests that came
	sent    int           // bytes that it answered with
}

type membership struct {
	group int32
	pause time.Duration
}

type group struct {
	id      uint64
	members []int32
	words   []int
	tag     int // 0: none
	holders int // online servers that have its record
	ever    bool
}

type world struct {
	cfg     Config
	rng     rng
	now     time.Duration
	devices []device
	groups  []group
	byValue map[uint64]int32 // key of a record → group
	servers ring
	liars   ring
	zipf    []float64
	walker  walker
	events  queue
	report  Report
	refresh int      // walks of refreshes
	victims []uint64 // keys that are eclipsed
	even    bool     // all requests take the same time
}

// Kinds of keys.
const (
	keyMembers uint64 = iota + 1
	keyPublic
	keyWord
	keyTag
	keyPair
	keyMailbox
	keyRecord
)

func newWorld(cfg Config) *world {
	if cfg.PeerBytes == 0 {
		cfg.PeerBytes = bytesPeer
	}
	w := &world{cfg: cfg, rng: rng(cfg.Seed), byValue: map[uint64]int32{}}
	population := int(float64(cfg.Nodes) / cfg.Churn.online())
	w.devices = make([]device, population)
	w.walker.stamp = make([]uint32, population)
	w.walker.peers = make([]int32, 0, 2*bucketSize*buckets)
	for n := range w.devices {
		d := &w.devices[n]
		d.id = w.rng.next()
		d.net = uint32(w.rng.n(1 << 22)) //nolint:gosec // small
		d.always = w.rng.chance(cfg.Churn.Always)
		d.server = !w.rng.chance(cfg.Clients)
		d.hostile = d.server && w.rng.chance(cfg.Hostile)
		d.mailbox = d.server && w.rng.chance(mailboxShare)
		d.public = -time.Hour
		if d.server {
			w.servers = append(w.servers, int32(n)) //nolint:gosec // devices are numbered so
		}
		if d.hostile {
			w.liars = append(w.liars, int32(n)) //nolint:gosec // the same
		}
	}
	byID := func(a, b int32) int { return compare(w.devices[a].id, w.devices[b].id) }
	slices.SortFunc(w.servers, byID)
	slices.SortFunc(w.liars, byID)
	w.found()
	for n := range w.devices {
		d := &w.devices[n]
		if d.always || w.rng.chance(cfg.Churn.sometimes()) {
			d.online = true
		}
	}
	for n := range w.devices {
		if w.devices[n].online {
			w.arrive(int32(n), time.Duration(w.rng.unit()*float64(time.Hour))) //nolint:gosec // devices are numbered so
		} else {
			w.events.push(event{cfg.Churn.draw(&w.rng, cfg.Churn.Pause), eventArrive, int32(n), 0, 0}) //nolint:gosec // the same
		}
	}
	return w
}

// found makes the groups. Words of names follow Zipf's law; sizes a power law with a mean of
// about five.
func (w *world) found() {
	w.zipf = make([]float64, vocabulary)
	sum := 0.0
	for n := range w.zipf {
		sum += 1 / float64(n+3)
		w.zipf[n] = sum
	}
	word := func() int {
		n, _ := slices.BinarySearch(w.zipf, w.rng.unit()*sum)
		return n
	}
	w.groups = make([]group, w.cfg.Groups)
	for n := range w.groups {
		g := &w.groups[n]
		g.id = w.rng.next()
		w.byValue[hash(keyRecord, g.id)] = int32(n) //nolint:gosec // groups are numbered so
		for range []int{1, 1, 2, 2, 2, 2, 2, 3, 3, 3}[w.rng.n(10)] {
			if v := word(); !slices.Contains(g.words, v) {
				g.words = append(g.words, v)
			}
		}
		if w.rng.chance(taggedShare) {
			g.tag = 1 + w.rng.n(tags)
		}
		size := min(1000, len(w.devices), int(2/math.Pow(1-w.rng.unit(), 1/1.6)))
		for range size {
			d := int32(w.rng.n(len(w.devices))) //nolint:gosec // devices are numbered so
			if !slices.Contains(g.members, d) {
				g.members = append(g.members, d)
				w.devices[d].groups = append(w.devices[d].groups, membership{int32(n), 0}) //nolint:gosec // the same
			}
		}
	}
}

// arrive begins a session: the table is filled, as a bootstrap and a walk for oneself do,
// the nearest learn of the newcomer, and its groups are published soon.
func (w *world) arrive(n int32, soon time.Duration) {
	d := &w.devices[n]
	d.online = true
	d.session++
	if d.server {
		limit := 0
		if w.cfg.Spread {
			limit = maxOfKey
		}
		d.store = newStore(limit)
	}
	w.fill(n)
	if d.server {
		for _, p := range w.servers.nearest(w.devices, d.id, bucketSize) {
			if p != n {
				w.learn(p, n)
			}
		}
	}
	w.events.push(event{w.now + time.Duration(w.rng.unit()*float64(refreshEvery)), eventRefresh, n, 0, d.session})
	if !d.always {
		w.events.push(event{w.now + w.cfg.Churn.draw(&w.rng, w.cfg.Churn.Session), eventLeave, n, 0, d.session})
	}
	if d.hostile {
		return
	}
	for i := range d.groups {
		d.groups[i].pause = 0
		w.events.push(event{w.now + soon + time.Duration(w.rng.unit()*float64(time.Minute)), eventPublish, n, int32(i), d.session}) //nolint:gosec // few
	}
	if d.mailbox {
		w.events.push(event{w.now + soon, eventMailbox, n, 0, d.session})
	}
}

func (w *world) leave(n int32) {
	d := &w.devices[n]
	d.online = false
	if d.server && d.store != nil {
		for key := range d.store.values {
			w.groups[w.byValue[key]].holders--
		}
		d.store = nil
	}
	d.table = table{}
	w.events.push(event{w.now + w.cfg.Churn.draw(&w.rng, w.cfg.Churn.Pause), eventArrive, n, 0, d.session})
}

// learn puts a server into a device's table if there is room.
func (w *world) learn(at, who int32) {
	d := &w.devices[at]
	if !d.online {
		return
	}
	b := prefix(d.id, w.devices[who].id)
	if len(d.table[b]) < bucketSize && !slices.Contains(d.table[b], who) {
		d.table[b] = append(d.table[b], who)
	}
}

func (w *world) forget(at, who int32) {
	d := &w.devices[at]
	d.table.drop(prefix(d.id, w.devices[who].id), who)
}

// fill draws servers for the buckets that have room, as the walks of a refresh find them.
func (w *world) fill(n int32) {
	d := &w.devices[n]
	for b := range buckets {
		var part ring
		if len(d.table[b]) == bucketSize {
			continue
		}
		if b < buckets-1 {
			part = w.servers.within(w.devices, d.id^1<<(63-b), b+1)
		} else {
			part = w.servers.within(w.devices, d.id, b)
		}
		room := bucketSize - len(d.table[b])
		if room > 0 && len(part) <= 4*bucketSize {
			for _, p := range part {
				if len(d.table[b]) < bucketSize && p != n && w.devices[p].online && !slices.Contains(d.table[b], p) {
					d.table[b] = append(d.table[b], p)
				}
			}
		} else if room > 0 {
			for range 8 * room {
				p := part[w.rng.n(len(part))]
				if w.devices[p].online && p != n && !slices.Contains(d.table[b], p) {
					if d.table[b] = append(d.table[b], p); len(d.table[b]) == bucketSize {
						break
					}
				}
			}
		}
		if len(part) == 0 && b > bits.Len(uint(len(w.servers))) { //nolint:gosec // a length
			return
		}
	}
}

// renew is a refresh: each peer that is gone is met by one of its walks with the chance
// alpha/k, which is what kad-dht assumes of a refresh.
func (w *world) renew(n int32) {
	d := &w.devices[n]
	w.refresh++ // the walk for itself
	for b := range d.table {
		if len(d.table[b]) == 0 {
			continue
		}
		w.refresh++
		d.table[b] = slices.DeleteFunc(d.table[b], func(p int32) bool {
			return !w.devices[p].online && w.rng.chance(float64(alpha)/bucketSize)
		})
	}
	w.fill(n)
	w.events.push(event{w.now + refreshEvery, eventRefresh, n, 0, d.session})
}

// measure notes what a walk says of the size of the network.
func (w *world) measure(n int32, target uint64, near []int32) {
	d := &w.devices[n]
	var distances [bucketSize]uint64
	for i, p := range near {
		distances[i] = w.devices[p].id ^ target
	}
	d.sizes[d.sized%estimates] = discovery.NetworkSize(distances[:len(near)])
	d.sized++
}

// depth is the depth of shards, by the middle one of what the last walks said, or else by the
// device's own neighbours, if one device of so many announces itself.
func (w *world) depth(n int32, oneOf float64) int {
	d := &w.devices[n]
	if d.sized == 0 {
		w.measure(n, d.id, closest(w.devices, d.id, d.table.nearest(d.id, d.id, nil), bucketSize))
		d.sized = 0
		return discovery.Depth(d.sizes[0] / oneOf)
	}
	all := slices.Clone(d.sizes[:min(d.sized, estimates)])
	slices.Sort(all)
	return discovery.Depth(all[len(all)/2] / oneOf)
}

// shard is the key of a shard.
func shard(kind uint64, s discovery.Shard) uint64 {
	return hash(kind, uint64(s.Depth), uint64(s.Bits))
}
