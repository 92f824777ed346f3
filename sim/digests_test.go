package sim

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The code of the group machine is being moved while its behaviour stays:
// testdata/digests.txt holds the digests of every scenario and of eighty random worlds
// from before. A line is the name of a world, the digest of all that is durable and
// notified in it, and that digest without the texts of errors.
const digestsFile = "testdata/digests.txt"

var updateDigests = flag.Bool("update-digests", false, "write "+digestsFile+" anew, from what this run plays")

var digests struct {
	sync.Mutex
	want   map[string]string
	played map[string]string
}

// checkDigest compares a run with the line of digests.txt that has its name.
func checkDigest(t *testing.T, name string, r *Report) {
	t.Helper()
	digests.Lock()
	defer digests.Unlock()
	if digests.want == nil {
		digests.want, digests.played = map[string]string{}, map[string]string{}
		text, err := os.ReadFile(digestsFile)
		if err != nil && !*updateDigests {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			world, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			digests.want[world] = rest
		}
	}
	wordless := r.world.digest(false)
	got := fmt.Sprintf("%s %x", r.Digest, wordless)
	digests.played[name] = got
	want, ok := digests.want[name]
	switch {
	case *updateDigests:
	case !ok:
		t.Errorf("%s: %s has no digest of it", name, digestsFile)
	case got == want:
	case strings.HasSuffix(want, fmt.Sprintf(" %x", wordless)):
		t.Errorf("%s: went as before, but for what an event says", name)
	default:
		t.Errorf("%s: did not go as before: digest %s, before %s", name, got, want)
	}
}

// writeDigests writes the digests of this run, with -update-digests.
func writeDigests() error {
	if !*updateDigests || digests.played == nil {
		return nil
	}
	all := digests.want
	for name, d := range digests.played {
		all[name] = d
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintln(&out, name, all[name])
	}
	return os.WriteFile(digestsFile, out.Bytes(), 0o644) //nolint:gosec // no secret
}
