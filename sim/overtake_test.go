package sim

import (
	"testing"
	"time"
)

// TestOvertaking: bursts whose envelopes pass each other inside their receivers are read by
// all, and nobody asks anybody for anything.
func TestOvertaking(t *testing.T) {
	r := playText(t, "burst", `# Bursts whose envelopes pass each other
nodes n1..n6
group g founder=n1
link latency=20ms jitter=0s overtake=0.9
sync every=1d
run 30m
expect lost = 0
0s join n2 n3 n4 n5 n6
every 20ms from 10m to 10m2s send n1
every 30ms from 10m to 10m2s send n2
`)
	if !r.OK() || r.Records.Owed == 0 || r.Records.Owed != r.Records.Held {
		t.Errorf("%+v: %v, %v", r.Records, r.Violations, r.Unexpected)
	}
	if n := r.world.hist.overtaken; n < r.Records.Sent {
		t.Errorf("%d envelopes were passed, of %d messages to five readers each", n, r.Records.Sent)
	}
	for _, x := range r.world.groups[0].exchanges {
		if x.At > 9*time.Minute && x.At < 11*time.Minute && x.News+x.Opened > 0 {
			t.Errorf("%s and %s exchanged %d entries and %d seals at %v", x.A, x.B, x.News, x.Opened, x.At)
		}
	}
}
