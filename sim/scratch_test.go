package sim

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group"
)

func TestRandScratch(t *testing.T) {
	n := uint64(20)
	if s := os.Getenv("SEEDS"); s != "" {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	from := uint64(1)
	if s := os.Getenv("FROM"); s != "" {
		from, _ = strconv.ParseUint(s, 10, 64)
	}
	for seed := from; seed < from+n; seed++ {
		sc, err := Generate(Spec{Seed: seed, Faults: FaultsSome, Engine: os.Getenv("ENGINE")})
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("TRAFFIC") != "" {
			debugSync = func(from, to *seat, n int, err error) {
				st, _ := from.status()
				st2, _ := to.status()
				t.Logf("%v %s(%s)→%s(%s) %d entries: %.300v", from.w().now.Sub(epochZero), from.n.name, st.State, to.n.name, st2.State, n, err)
			}
		}
		start := time.Now()
		r, err := Run(sc, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		r2, _ := Run(sc, Options{})
		t.Logf("%d %v nodes %d %+v %v %s %v", seed, time.Since(start).Round(time.Millisecond)/2, len(sc.Nodes), r.Records, r.Counts, r.Digest[:8], r.Digest == r2.Digest)
		if os.Getenv("TRAFFIC") != "" {
			for _, x := range r.world.hist.exchanges {
				if x.total()-x.Vectors > 2000 {
					t.Logf("%+v", *x)
				}
			}
		}
		by := map[string]int{}
		for _, v := range r.Violations {
			if by[v.Name]++; by[v.Name] <= 2 {
				t.Log("   ", v)
			}
		}
	}
}

func TestScratch(t *testing.T) {
	names := Names()
	if n := os.Getenv("SIM"); n != "" {
		names = []string{n}
	}
	for _, n := range names {
		sc, err := Load(n)
		if err != nil {
			t.Error(err)
			continue
		}
		start := time.Now()
		r, err := Run(sc, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%s %v %+v %v %s", n, time.Since(start).Round(time.Millisecond), r.Records, r.Counts, r.Digest[:8])
		if os.Getenv("DUMP") != "" {
			for _, d := range r.obs[0].Devices {
				t.Logf("%s live %v run %v %+v secrets %v", d.Name, d.Live, d.Running, d.Status, d.Secrets)
				s := r.world.nodes[r.world.sc.node(d.Name)].seats[0]
				for _, k := range s.disk.under("held/") {
					t.Logf("    %s pos %x %x %v made %v", k[:20], d.Status.Position[:4], s.disk.rows[k].value, s.disk.rows[k].at.Sub(epochZero), s.disk.rows["epoch/"+k[5:]].at.Sub(epochZero))
				}
				for _, e := range s.events {
					if e.Kind != group.EventMessage {
						t.Log("   ", e.Kind, e.Detail, time.UnixMilli(int64(e.At)).Sub(epochZero))
					}
				}
			}
		}
		for _, v := range r.Violations {
			t.Log("   ", v)
		}
		for _, v := range r.Unexpected {
			t.Log("    unexpected", v)
		}
		for _, v := range r.Refused {
			t.Log("    refused", v)
		}
	}
}
