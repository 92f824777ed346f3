package dhtmodel

import (
	"time"

	"github.com/pandanode/pandanode/discovery"
)

// publish brings a group's record and announcements to the DHT, as Publisher.once does.
func (w *world) publish(n, which int32) {
	d := &w.devices[n]
	m := &d.groups[which]
	g := &w.groups[m.group]
	key := hash(keyRecord, g.id)

	// Three walks to one key: to read, to put, to read again. One is played.
	walk := w.walk(n, key, nil)
	before := 0
	for _, p := range walk.near {
		at := &w.devices[p]
		if !at.online || at.hostile {
			continue
		}
		at.asked += 3
		at.sent += 2 * bytesRecord
		if _, ok := at.store.values[key]; ok {
			before++
		} else {
			g.holders++
		}
		at.store.values[key] = w.now
	}
	w.spend(3, walk, 3*len(walk.near)*bytesRecord)
	g.ever = true

	w.provide(n, hash(keyMembers, g.id), false)
	if w.cfg.Spread {
		if w.now-d.public >= m.pause/2 { // another group has just done it
			d.public = w.now
			w.provide(n, shard(keyPublic, discovery.Shards(w.depth(n, 1), uint16(hash(d.id)))[0]), false) //nolint:gosec // the last bits of a hash
		}
	} else {
		w.provide(n, shard(keyPublic, discovery.Shard{}), false)
	}
	for _, key := range g.keys(w.cfg.Spread) {
		w.provide(n, key, w.cfg.Spread)
	}

	if m.pause == 0 || before == 0 {
		m.pause = firstPause
	} else {
		m.pause = min(2*m.pause, republish)
	}
	next := m.pause + time.Duration((w.rng.unit()-0.5)*0.2*float64(m.pause))
	w.events.push(event{w.now + next, eventPublish, n, which, d.session})
}

// keys are those that the members of a group announce for its words and tag.
func (g *group) keys(pairs bool) []uint64 {
	var out []uint64
	for _, v := range g.words {
		out = append(out, hash(keyWord, uint64(v))) //nolint:gosec // not negative
	}
	if pairs {
		out = append(out, pairsOf(g.words)...)
	}
	if g.tag > 0 {
		out = append(out, hash(keyTag, uint64(g.tag))) //nolint:gosec // not negative
	}
	return out
}

func pairsOf(words []int) []uint64 {
	var out []uint64
	for i, a := range words {
		for _, b := range words[i+1:] {
			out = append(out, hash(keyPair, uint64(min(a, b)), uint64(max(a, b)))) //nolint:gosec // not negative
		}
	}
	return out
}

// provide announces a device under a key. A shy one first asks a few of the nearest who is
// there already.
func (w *world) provide(n int32, key uint64, shy bool) {
	walk := w.walk(n, key, nil)
	w.spend(1, walk, 0)
	if shy {
		var answers [][]int32
		extra := 0
		for range min(5, len(walk.near)) {
			at := &w.devices[walk.near[w.rng.n(len(walk.near))]]
			if !at.online || at.hostile {
				continue
			}
			list := at.store.providers(&w.rng, key, w.now, nil)
			at.asked++
			at.sent += len(list) * w.cfg.PeerBytes
			extra += bytesRequest + (len(list)+bucketSize)*w.cfg.PeerBytes
			answers = append(answers, list)
		}
		w.report.bytes += float64(extra)
		w.report.Requests += len(answers)
		if !w.rng.chance(discovery.ShareOfCrowd(discovery.Crowd(answers, given))) {
			w.report.Held++
			return
		}
	}
	w.report.Announced++
	for _, p := range walk.near {
		at := &w.devices[p]
		if !at.online {
			continue
		}
		at.asked++
		if at.hostile {
			continue
		}
		if at.store.add(&w.rng, key, n, w.devices[n].net, w.now) {
			w.report.Displaced++
		}
	}
	w.report.Requests += len(walk.near)
	w.report.bytes += float64(len(walk.near) * (bytesRequest + w.cfg.PeerBytes))
}

// spend charges so many walks like this one, and bytes beside.
func (w *world) spend(walks int, one walk, extra int) {
	w.report.Walks += walks
	w.report.Requests += walks * one.asked
	w.report.failed += walks * one.failed
	w.report.walked += one.asked
	w.report.played++
	w.report.walkBytes += float64(one.bytes)
	w.report.bytes += float64(walks*one.bytes + extra)
}

// offer announces a mailbox.
func (w *world) offer(n int32) {
	s := discovery.Shard{}
	if w.cfg.Spread {
		s = discovery.Shards(w.depth(n, fewOffer), uint16(hash(w.devices[n].id)))[0] //nolint:gosec // the last bits of a hash
	}
	w.provide(n, shard(keyMailbox, s), false)
	w.events.push(event{w.now + mailboxEvery, eventMailbox, n, 0, w.devices[n].session})
}
