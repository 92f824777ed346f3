package dhtmodel

// Trial is a small network that can be built of real hosts, too: servers that all know
// each other as far as their tables allow, of which half announce a key each, and then the
// other half is gone. Each that is left looks for the key of the next.
type Trial struct {
	Table   float64 // peers in a routing table, on average
	Walk    float64 // requests of a walk to announce, without those after its end
	Holders float64 // servers that hold a record, on average
	Most    float64 // records at the fullest server
	Found   float64 // share of the keys found when half are gone
	Find    float64 // requests of such a find, without those after its end
	Failed  float64 // share of them to servers that are gone
	Bytes   float64 // of the protocol, in and out of all, for each announcement
}

// RunTrial plays it with so many servers.
func RunTrial(seed uint64, servers, peerBytes int) (t Trial) {
	w := newWorld(Config{Seed: seed, Nodes: servers, Groups: 1, Churn: Never, PeerBytes: peerBytes})
	w.even = true // as in the simulated network
	for n := range w.devices {
		w.fill(int32(n)) //nolint:gosec // few
		for _, b := range w.devices[n].table {
			t.Table += float64(len(b)) / float64(servers)
		}
	}
	half := servers / 2
	key := func(n int) uint64 { return hash(uint64(n), 77) } //nolint:gosec // few
	for n := range half {
		before := w.report.bytes
		walk := w.walk(int32(n), key(n), nil)                    //nolint:gosec // few
		w.provide(int32(n), key(n), false)                       //nolint:gosec // few
		t.Bytes += 2 * (w.report.bytes - before) / float64(half) // out of one is into another
		t.Walk += float64(walk.asked-walk.late) / float64(half)
	}
	for n := range w.devices {
		t.Most = max(t.Most, float64(len(w.devices[n].store.all)))
		for k := range half {
			t.Holders += float64(w.devices[n].store.count(key(k))) / float64(half)
		}
	}
	for n := half; n < servers; n++ {
		w.devices[n].online = false
	}
	asked, failed := 0, 0
	for n := range half {
		f := &one{}
		key := key((n + 1) % half)
		walk := w.walk(int32(n), key, func(d int32) (int, bool, bool) { //nolint:gosec // few
			list := w.devices[d].store.providers(&w.rng, key, w.now, nil)
			f.peers = append(f.peers, list...)
			return 0, len(list) > 0, false
		})
		asked += walk.asked - walk.late
		failed += walk.failed
		if len(f.peers) > 0 {
			t.Found += 1 / float64(half)
		}
	}
	t.Find = float64(asked) / float64(half)
	t.Failed = float64(failed) / float64(max(1, asked))
	return t
}
