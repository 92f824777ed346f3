//go:build e2e && linux

package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// allocated returns the bytes of disk that are used below dir.
func allocated(t *testing.T, dir string) (sum int64) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that was just replaced
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

// TestSoak lets three nodes talk while a fourth comes and goes and one of the three is
// killed again and again: two minutes, or as long as PANDANODE_SOAK says. The resources of
// the two that stay must level off (see grows), and every message must be everywhere, once.
func TestSoak(t *testing.T) {
	long := 2 * time.Minute
	if s := os.Getenv("PANDANODE_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < long {
			t.Fatalf("PANDANODE_SOAK=%q", s)
		}
		long = d
	}
	const members, guest, killed, every = 3, 3, 2, time.Second
	c := newCluster(t, 4, long+5*time.Minute)
	g := c.group("soak", members)
	// Every message is kept, on the disk and in the index of the group's history, and so is each
	// visit of the guest: 0.75 KiB of the heap a message, both together.
	const history = 1 << 10
	figures := []string{"goroutines", "open_files", "heap bytes beside the history", "disk bytes a message"}
	all := map[string]*series{}
	var sent []string
	joined, kills, joins := false, 0, 0
	begun := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for round := 1; time.Since(begun) < long; round++ {
		for i := range members {
			text := fmt.Sprintf("round %d, node %d", round, i)
			if _, err := c.api[i].Send(c.ctx, api.SendRequest{Group: g, Text: text}); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, text)
		}
		switch {
		case round%10 == 5 && !joined:
			c.join(guest, g)
			joined = true
			joins++
		case round%10 == 0 && joined:
			if _, err := c.api[guest].Leave(c.ctx, api.GroupRequest{Group: g}); err != nil {
				t.Fatal(err)
			}
			joined = false
		case round%15 == 7:
			if err := c.procs[killed].kill(); err != nil {
				t.Fatal(err)
			}
			c.start(killed)
			kills++
		}
		for i := range killed {
			st, err := c.api[i].Status(c.ctx, api.StatusRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range figures {
				v := st.Extra[f]
				switch {
				case strings.HasPrefix(f, "disk"):
					v = allocated(t, filepath.Join(c.procs[i].home, "store")) / int64(len(sent))
				case strings.HasPrefix(f, "heap"):
					v = st.Extra["heap_live_bytes"] - history*int64(len(sent))
				}
				key := fmt.Sprint(f, " of node ", i)
				if all[key] == nil {
					all[key] = new(series)
				}
				all[key].add(time.Since(begun), v)
			}
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			t.Fatal(c.ctx.Err())
		}
	}
	t.Logf("%d messages, %d kills, %d visits of a guest in %v", len(sent), kills, joins, time.Since(begun).Round(time.Second))
	if kills < 3 || joins < 3 {
		t.Error("too little happened")
	}
	for i := range members {
		got := map[string]int{}
		c.tail(i, g, len(sent), func(m api.Message) { got[m.Text]++ })
		for _, text := range sent {
			if got[text] != 1 {
				t.Errorf("node %d shows %q %d times", i, text, got[text])
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tfirst third\tsecond\tlast\t% in 10 min, last third\t±\t")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		s := all[key]
		slope, doubt := s.slope()
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%+.2f\t%.2f\t\n", key, s.third(0), s.third(1), s.third(2), slope, doubt)
		most := 1.1
		if strings.HasPrefix(key, "heap") || strings.HasPrefix(key, "disk") {
			most = 1.5
		}
		judged := long
		if strings.HasPrefix(key, "open_files") {
			judged = 0 // by its thirds: a store that grows has one file more now and then
		}
		if why := s.grows(most, judged); why != "" {
			t.Errorf("%s grows: %s", key, why)
		}
	}
	_ = w.Flush()
	t.Logf("what the nodes that stay use\n%s", out.String())
}
