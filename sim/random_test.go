package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// knownBadSeeds are random worlds that fail today, with the violated invariants.
var knownBadSeeds = map[uint64][]string{}

// TestRandomWorlds runs eight worlds, or as many as PANDANODE_SIM_SEEDS says; with new digests
// eighty. Each has at least one fork, one removal, one crash and 50 records.
func TestRandomWorlds(t *testing.T) {
	seeds := uint64(8)
	if *updateDigests {
		seeds = 80
	}
	if s := os.Getenv("PANDANODE_SIM_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			t.Fatalf("PANDANODE_SIM_SEEDS=%q", s)
		}
		seeds = n
	}
	var mu sync.Mutex
	total := map[string]int{}
	var records Records
	worlds := 0
	work := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range work {
				r, err := randomWorld(t, seed)
				mu.Lock()
				if err != nil {
					t.Error(err)
				}
				if r != nil {
					worlds++
					for k, n := range r.Counts {
						total[k] += n
					}
					records.add(r.Records)
				}
				mu.Unlock()
			}
		})
	}
	for seed := range seeds {
		work <- seed + 1
	}
	close(work)
	wg.Wait()
	t.Logf("%d worlds: records %+v, %v", worlds, records, total)
	if worlds != int(seeds) { //nolint:gosec // checked above
		t.Errorf("%d worlds ran, of %d", worlds, seeds)
	}
}

func randomWorld(t *testing.T, seed uint64) (*Report, error) {
	sc, err := Generate(Spec{Seed: seed, Faults: FaultsSome})
	if err != nil {
		return nil, err
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	if seed <= 80 {
		checkDigest(t, fmt.Sprintf("random-%03d", seed), r)
	}
	if got, want := fmt.Sprint(r.failures()), fmt.Sprint(knownBadSeeds[seed]); got != want {
		return r, fmt.Errorf("seed %d violates %s, known are %s: %s\nreplay with: %s", seed, got, want, r.First(), r.Replay)
	}
	if r.Counts["forks"] < 1 || r.Counts["removals"] < 1 || r.Counts["crashes"] < 1 || r.Records.Sent < 50 {
		return r, fmt.Errorf("seed %d covers too little: %v", seed, r.Counts)
	}
	return r, nil
}

// TestManyGroups: devices in several groups at once, whose logs and exchanges do not
// mix.
func TestManyGroups(t *testing.T) {
	sc, err := Generate(Spec{Seed: 3, Nodes: 6, Groups: 4, Duration: time.Hour, Faults: FaultsSome})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Devices) < 20 || r.Records.Held == 0 {
		t.Errorf("%d devices, records %+v, violates %v: %s", len(r.Devices), r.Records, r.failures(), r.First())
	}
}
