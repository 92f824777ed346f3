package main

import (
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// The command explains space that it could not free, and says nothing if all of it was
// freed.
func TestCompactedSaysWhy(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		before, after, live int64
		want                string
	}{
		{100 * mib, 20 * mib, 15 * mib, ""},
		{20 * mib, 20 * mib, 18 * mib, "nearly all that is on the disk is live"},
		{20 * mib, 20 * mib, 1 * mib, "19 MiB beyond what is live stay on the disk"},
		{20 * mib, 19 * mib, 1 * mib, "18 MiB beyond what is live stay on the disk"},
		{20 * mib, 21 * mib, 30 * mib, "nearly all that is on the disk is live"},
	} {
		got := compacted(api.Compacted{Before: api.StoreUsage{Disk: c.before}, After: api.StoreUsage{Disk: c.after, Live: c.live}})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
