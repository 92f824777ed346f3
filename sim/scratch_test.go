package sim

import (
	"os"
	"testing"
	"time"
)

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
