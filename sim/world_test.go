package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/wire"
)

// TestChurn lets five members talk while a seeded hand cuts and heals links, loses
// packets and restarts nodes, and then waits for the invariants.
func TestChurn(t *testing.T) {
	const members, steps = 5, 60
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{Dir: t.TempDir(), Network: simhost.Config{Seed: seed}}
				if os.Getenv("PANDANODE_TEST_LOG") != "" {
					cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
				}
				w := New(cfg)
				defer func() {
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}()
				ctx := t.Context()
				start := func(i int) {
					if _, err := w.Start(ctx, i, 0, 1); err != nil {
						t.Fatal(err)
					}
				}
				for i := range members {
					start(i)
				}
				id, err := w.Node(0).CreateGroup(ctx, node.CreateGroup{Name: "churn", Policy: wire.PolicyOpen})
				if err != nil {
					t.Fatal(err)
				}
				within := func(d time.Duration, f func(context.Context) error) {
					t.Helper()
					ctx, cancel := context.WithTimeout(ctx, d)
					defer cancel()
					if err := f(ctx); err != nil {
						t.Fatal(err)
					}
				}
				for i := 1; i < members; i++ {
					within(10*time.Minute, func(ctx context.Context) error { return w.Join(ctx, i, id) })
				}
				within(10*time.Minute, func(ctx context.Context) error { return w.Settle(ctx, id) })

				rng := rand.New(rand.NewPCG(seed, 1))
				did := make(map[string]int)
				for step := range steps {
					i, j := rng.IntN(members), rng.IntN(members)
					switch what := rng.IntN(10); {
					case what < 6:
						did["sends"]++
						within(time.Minute, func(ctx context.Context) error { return w.Send(ctx, i, id, fmt.Sprint("step ", step)) })
					case what == 6 && i != j:
						did["cuts"]++
						w.Net().Cut(i, j)
					case what == 7:
						did["partitions"]++
						w.Net().Partition([]int{i}, without(members, i))
					case what == 8:
						did["heals"]++
						w.Net().HealAll()
						w.Net().SetLoss(float64(rng.IntN(3)) / 100)
					case what == 9:
						did["restarts"]++
						if err := w.Stop(i); err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Duration(rng.IntN(120)) * time.Second) // virtual
						start(i)
					}
					time.Sleep(time.Duration(rng.IntN(60)) * time.Second) // virtual
				}
				w.Net().HealAll()
				w.Net().SetLoss(0)
				healed := time.Now()
				within(time.Hour, func(ctx context.Context) error { return w.Settle(ctx, id) })
				t.Logf("%v; settled %v after the last fault", did, time.Since(healed))
				if did["sends"] < steps/3 || did["restarts"] == 0 || did["heals"] == 0 {
					t.Fatalf("%v: the test does not test", did)
				}
			})
		})
	}
}

func without(n, i int) (out []int) {
	for j := range n {
		if j != i {
			out = append(out, j)
		}
	}
	return out
}

// TestCheckSees shows that the invariants can fail: a message that one node does
// not have yet, and a member that is not in the tree yet.
func TestCheckSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Dir: t.TempDir()})
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for i := range 2 {
			if _, err := w.Start(ctx, i, 0); err != nil {
				t.Fatal(err)
			}
		}
		id, err := w.Node(0).CreateGroup(ctx, node.CreateGroup{Name: "check", Policy: wire.PolicyOpen})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Join(ctx, 1, id); err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(ctx, id); err != nil {
			t.Fatal(err)
		}
		w.Net().Cut(0, 1)
		if err := w.Send(ctx, 0, id, "far away"); err != nil {
			t.Fatal(err)
		}
		err = w.Check(ctx, id)
		if err == nil || !strings.Contains(err.Error(), `node 1: "far away" of node 0 is missing`) {
			t.Fatalf("Check says %v", err)
		}
		w.Net().HealAll()
		if err := w.Settle(ctx, id); err != nil {
			t.Fatal(err)
		}
		w.sent[id] = append(w.sent[id], w.sent[id][0])
		w.sent[id][0].ID[0]++
		if err := w.Check(ctx, id); err == nil {
			t.Fatal("Check does not miss a message that is missing")
		}
	})
}
