package dhtmodel

import (
	"math"
	"reflect"
	"testing"
	"time"
)

// small is a world of a few seconds.
func small() Config {
	return Config{Seed: 1, Nodes: 300, Groups: 60, Hours: 6, Churn: IPFS, Clients: HenningsenNAT, Finds: 60}
}

func (r *Report) found(t *testing.T, kind string) Found {
	t.Helper()
	for _, f := range r.Finds {
		if f.Kind == kind && f.Finds > 0 {
			return f
		}
	}
	t.Fatalf("nobody looked for a group %s", kind)
	return Found{}
}

// A run repeats to the last bit, and another seed is another world.
func TestRunRepeats(t *testing.T) {
	cfg := small()
	cfg.Hours, cfg.Spread, cfg.Hostile = 3, true, 0.2
	first := Run(cfg)
	if again := Run(cfg); !reflect.DeepEqual(first, again) {
		t.Error("the same seed gives another report")
	}
	cfg.Seed++
	if other := Run(cfg); other.Requests == first.Requests {
		t.Error("another seed gives the same world")
	}
}

// Nearly every find comes to its end in a small network with churn, with hostile servers, and
// with and without spread keys; records are not lost.
func TestFinds(t *testing.T) {
	for _, cfg := range []Config{{}, {Spread: true}, {Spread: true, Hostile: 0.2}} {
		c := small()
		c.Spread, c.Hostile = cfg.Spread, cfg.Hostile
		r := Run(c)
		for _, f := range r.Finds {
			if f.Share < 0.95 || f.Finds < 50 {
				t.Errorf("spread %v, hostile %v: %.2f of %d finds %s", c.Spread, c.Hostile, f.Share, f.Finds, f.Kind)
			}
		}
		if r.Lost > 0.01 {
			t.Errorf("spread %v, hostile %v: %.3f of the records are lost", c.Spread, c.Hostile, r.Lost)
		}
		if share := float64(r.Devices) * c.Churn.online() / float64(c.Nodes); math.Abs(share-1) > 0.01 {
			t.Errorf("%d devices for %d nodes", r.Devices, c.Nodes)
		}
	}
}

// Where all servers are hostile, nothing is found.
func TestAllHostile(t *testing.T) {
	cfg := small()
	cfg.Hours, cfg.Hostile, cfg.Groups = 2, 1, 200
	r := Run(cfg)
	if f := r.found(t, FindID); f.Share != 0 {
		t.Errorf("%.2f of the groups are found by ID", f.Share)
	}
}

// IDs made near a key silence that key. A group is still found by its other keys, and a
// public group in other shards.
func TestEclipse(t *testing.T) {
	cfg := small()
	cfg.Spread, cfg.Eclipse = true, true
	r := Run(cfg)
	if f := r.found(t, FindID); f.Share != 0 {
		t.Errorf("%.2f are found by ID", f.Share)
	}
	if f := r.found(t, FindWord); f.Share != 0 {
		t.Errorf("%.2f are found by the word", f.Share)
	}
	if f := r.found(t, FindName); f.Share < 0.6 || f.Share > 0.95 { // one name of five is one word
		t.Errorf("%.2f are found by name", f.Share)
	}
}

// The churn is that of its source: half of the sessions end within two hours, 80 % within
// eight.
func TestChurn(t *testing.T) {
	r := rng(1)
	var two, eight int
	const n = 20000
	for range n {
		s := IPFS.draw(&r, IPFS.Session)
		if s <= 2*time.Hour {
			two++
		}
		if s <= 8*time.Hour {
			eight++
		}
	}
	if math.Abs(float64(two)/n-0.5) > 0.02 || math.Abs(float64(eight)/n-0.8) > 0.02 {
		t.Errorf("%d of %d sessions end within 2 h, %d within 8 h", two, n, eight)
	}
}

// The walk's candidates hold the nearest that a table knows, and a ring finds the nearest.
func TestNearest(t *testing.T) {
	w := newWorld(Config{Seed: 5, Nodes: 500, Groups: 1, Churn: Never})
	for n := range 50 {
		d, target := &w.devices[n], w.rng.next()
		var all []int32
		for _, b := range d.table {
			all = append(all, b...)
		}
		want := closest(w.devices, target, all, bucketSize)
		got := closest(w.devices, target, d.table.nearest(d.id, target, nil), bucketSize)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("a table names %v, nearest are %v", got, want)
		}
		everybody := make([]int32, len(w.devices))
		for k := range everybody {
			everybody[k] = int32(k) //nolint:gosec // few
		}
		want = closest(w.devices, target, everybody, bucketSize)
		if got := w.servers.nearest(w.devices, target, bucketSize); !reflect.DeepEqual(got, want) {
			t.Fatalf("a ring finds %v, nearest are %v", got, want)
		}
		near := w.walk(int32(n), target, nil).near //nolint:gosec // few
		hits := 0
		for _, p := range near {
			for _, o := range want {
				if p == o {
					hits++
				}
			}
		}
		if hits < bucketSize-2 {
			t.Errorf("a walk comes to %d of the %d nearest", hits, bucketSize)
		}
	}
}

// A hot key displaces all others of the servers nearest to it, and does not where a server
// bounds what it keeps of one key. A store never holds more than its bound.
func TestHotKey(t *testing.T) {
	for _, spread := range []bool{false, true} {
		s := newStore(0)
		if spread {
			s.ofKey = maxOfKey
		}
		r := rng(1)
		for k := range 500 {
			s.add(&r, uint64(1000+k), 1, uint32(k), 0) //nolint:gosec // few
		}
		for n := range int32(4 * maxProvided) {
			s.add(&r, 1, n, uint32(n), time.Duration(n)) //nolint:gosec // few
		}
		others := 0
		for k := range 500 {
			others += s.count(uint64(1000 + k)) //nolint:gosec // few
		}
		if spread && (others != 500 || s.count(1) != maxOfKey) || !spread && (others > 250 || len(s.all) != maxProvided) {
			t.Errorf("spread %v: %d records of the hot key, %d of the others, %d in all", spread, s.count(1), others, len(s.all))
		}
		if got := s.providers(&r, 1, 0, nil); len(got) != given {
			t.Errorf("%d providers in an answer", len(got))
		}
		if got := s.providers(&r, 1, 10*recordAge, nil); len(got) != 0 {
			t.Errorf("%d providers that expired", len(got))
		}
	}
	before, after := RunHot(1, 2000, false), RunHot(1, 2000, true)
	if after.Records > before.Records || after.Writes > before.Writes/2 || after.Records < 500 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// One network that floods a full store displaces its own records.
func TestFloodOfOneNetwork(t *testing.T) {
	s, r := newStore(0), rng(1)
	for k := range 1000 {
		s.add(&r, uint64(1000+k), int32(k), uint32(k), 0) //nolint:gosec // few
	}
	for n := range int32(3 * maxProvided) {
		s.add(&r, uint64(n), 5000+n, 1<<30, 0) //nolint:gosec // few
	}
	kept := 0
	for _, e := range s.all {
		if e.net != 1<<30 {
			kept++
		}
	}
	if kept != 1000 || len(s.all) != maxProvided {
		t.Errorf("%d of 1,000 records of other networks are left, %d in all", kept, len(s.all))
	}
}

// A small network of which half is gone keeps what it holds.
func TestTrial(t *testing.T) {
	got := RunTrial(1, 60, bytesPeer)
	if got.Found < 0.99 || got.Holders < 19.5 || got.Holders > 20.01 || got.Table < 40 || got.Walk < 8 || got.Find < got.Walk {
		t.Errorf("%+v", got)
	}
}
