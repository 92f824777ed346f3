package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// mixedSeed is where the seeds of TestMixedWorlds begin: each commit tries others.
func mixedSeed(t *testing.T) uint64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return 1 // no repository, so no commit to move with
	}
	h := sha256.Sum256([]byte(strings.TrimSpace(string(out))))
	return 1 + uint64(binary.BigEndian.Uint32(h[:])>>8)
}

// mixedKinds are the kinds of TestMixedWorlds, and how many worlds in twenty are of each: a
// world of people takes as long as six of churn, one of the past as long as nine.
var mixedKinds = []struct {
	kind  string
	share uint64
}{{KindPeople, 3}, {KindInsider, 3}, {KindPast, 2}, {KindChurn, 12}}

// TestMixedWorlds plays random worlds of these kinds, one of each or as many as
// PANDANODE_SIM_MIXED says, with seeds that move with the commit. In `make worlds` they are a
// hundred. Those with people in them have ten forks each, taken together.
func TestMixedWorlds(t *testing.T) {
	t.Parallel()
	worlds := uint64(len(mixedKinds))
	if s := os.Getenv("PANDANODE_SIM_MIXED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			t.Fatalf("PANDANODE_SIM_MIXED=%q", s)
		}
		worlds = n
	}
	var (
		mu    sync.Mutex
		lines []Swept
		wg    sync.WaitGroup
	)
	first := mixedSeed(t)
	left := worlds
	for _, k := range mixedKinds {
		many := min(max(1, worlds*k.share/20), left)
		if k.kind == KindChurn {
			many = left
		}
		if left -= many; many == 0 {
			continue
		}
		s := Sweep{Spec: Spec{Kind: k.kind, Faults: FaultsSome}, From: first, To: first + many - 1, Jobs: max(1, runtime.GOMAXPROCS(0)/2)}
		wg.Go(func() {
			left, err := s.Run(context.WithoutCancel(t.Context()), nil, func(x Swept) error {
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, x)
				return nil
			})
			if err != nil || left > 0 {
				t.Errorf("%s: %d worlds are left: %v", k.kind, left, err)
			}
		})
	}
	wg.Wait()
	sum := SumSwept(lines)
	forks, ran := map[string]int{}, map[string]int{}
	for _, x := range lines {
		forks[x.Kind] += x.Counts["forks"]
		ran[x.Kind]++
	}
	for _, k := range []string{KindPeople, KindInsider, KindPast} {
		if ran[k] > 0 && forks[k] < 10*ran[k] {
			t.Errorf("%d worlds of kind %s have %d forks", ran[k], k, forks[k])
		}
	}
	if c := *cmp.Or(sum.Records.Content, &ContentRecords{}); ran[KindPeople]+ran[KindInsider]+ran[KindPast] >= 20 { // few worlds may have none of some
		for what, n := range map[string]int{
			"edits": c.Edits, "deletions": c.Deletes, "reactions": c.Reactions, "answers": c.Answers, "threads": c.Threads, "mentions": c.Mentions, "profiles": c.Profiles,
			"expired messages": c.Expired, "erased copies": c.Erased, "files": c.Files, "whole copies of files": c.FilesHeld,
		} {
			if n == 0 {
				t.Errorf("the worlds have no %s", what)
			}
		}
	}
	t.Logf("%d worlds: %+v, %v, verbs %v, refused %v", sum.Worlds, sum.Records, sum.Counts, sum.Verbs, sum.Refused)
	if sum.Worlds != int(worlds) { //nolint:gosec // few
		t.Errorf("%d worlds ran, of %d", sum.Worlds, worlds)
	}
	for _, f := range sum.Failures {
		t.Errorf("%d worlds fail so: %s; replay with: %s", f.Worlds, f.Failure, f.Again)
	}
}

// TestPeople: a world of people has at least ten forks, and in a few of them everything
// happens that the generator knows.
func TestPeople(t *testing.T) {
	t.Parallel()
	verbs := map[string]int{}
	for seed := range uint64(60) {
		for _, kind := range []string{KindPeople, KindInsider, KindPast} {
			sc, err := Generate(Spec{Seed: seed + 1, Kind: kind, Faults: FaultsSome})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range sc.Actions {
				verbs[a.Verb]++
			}
		}
	}
	for _, v := range []string{
		"join", "send", "remove", "role", "leave", "invite", "approve", "revoke", "reboot", "backup", "restore", "copy", "partition", "heal", "cut", "mend",
		"offline", "online", "crash", "restart", "clock", "gossip", "hostile", "late", "garbage", "replay", "broken", "claim", "bully", "backdate", "flood", "abandon",
		"puppet", "rubbish", "knock", "misserve", "edit", "delete", "react", "unreact", "set", "mailbox", "profile", "reserve", "ghost", "perish", "deny", "uninvite",
	} {
		if verbs[v] == 0 {
			t.Errorf("nobody does %s: %v", v, verbs)
		}
	}
	sc, err := Generate(Spec{Seed: 1, Kind: KindPeople, Faults: FaultsSome})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Counts["forks"] < 10 || len(r.Refused) > len(sc.Actions)/10 {
		t.Errorf("%d forks, refused %d of %d: %v", r.Counts["forks"], len(r.Refused), len(sc.Actions), r.First())
	}
}
