package authority

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// worldsOf reads worlds from testdata, and checks how many there are.
func worldsOf(t testing.TB, file string, least int) []*world {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	out := readWorlds(t, string(text))
	if len(out) < least {
		t.Fatalf("%s has %d worlds, wants %d", file, len(out), least)
	}
	return out
}

// verdict describes a world in the same words as the model.
func (w *world) verdict(p *player) map[string]string {
	names := map[wire.UserID]string{}
	devices := map[wire.DeviceID]string{}
	for _, n := range w.names {
		names[id[wire.UserID](n)], devices[id[wire.DeviceID](n)] = n, n
	}
	to := p.r.Roster()
	list := func(out []string) string {
		slices.SortFunc(out, func(a, b string) int {
			a, _, _ = strings.Cut(a, ":")
			b, _, _ = strings.Cut(b, ":")
			i, _ := strconv.Atoi(a)
			j, _ := strconv.Atoi(b)
			return cmp.Or(i-j, strings.Compare(a, b))
		})
		return strings.Join(out, ",")
	}
	got := map[string]string{}
	var users, devs, permitted, void, kept, adopted, owed []string
	for u := range to.Users {
		users = append(users, fmt.Sprintf("%s:%d", names[u.ID], u.Role-1))
	}
	for d := range to.Devices {
		devs = append(devs, devices[d.ID])
	}
	for i, e := range w.m.order {
		n := strconv.Itoa(i)
		op := p.ops[e]
		if e.record && p.r.Owed(to, p.r.At(e.ref), e.ref) {
			owed = append(owed, n)
		}
		if op == nil || !op.Permitted() {
			continue
		}
		permitted = append(permitted, n)
		if to.void.has(op.Hash) && !slices.Contains(to.additions.at(op.Target), op) {
			void = append(void, n)
		}
		if slices.Contains(to.Kept(), op) {
			kept = append(kept, n)
		}
		if to.Adopted(op) {
			adopted = append(adopted, n)
		}
	}
	got["users"], got["devices"], got["permitted"], got["void"] = list(users), list(devs), list(permitted), list(void)
	got["kept"], got["adopted"], got["owed"] = list(kept), list(adopted), list(owed)
	got["policy"] = fmt.Sprint(uint64(p.r.policy(to)))
	return got
}

func checkWorlds(t *testing.T, worlds []*world) {
	t.Helper()
	bad := 0
	for _, w := range worlds {
		p := play(w.m)
		for _, e := range w.m.order {
			p.next(e)
		}
		got := w.verdict(p)
		for _, k := range verdicts {
			if got[k] != w.want[k] {
				if bad++; bad < 20 {
					t.Errorf("%s: %s\n   got %s\n  want %s", w.name, k, got[k], w.want[k])
				}
				break
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d worlds differ", bad, len(worlds))
	}
}

// The named attacks and scenarios, with the model's verdict.
func TestNamedCases(t *testing.T) {
	t.Parallel()
	checkWorlds(t, worldsOf(t, "testdata/cases.txt.gz", 23))
}

var worldsFile = flag.String("worlds", "testdata/worlds.txt.gz", "the worlds of TestRandomWorlds")

// Random worlds of honest partitions and of attacks, with the model's verdict.
func TestRandomWorlds(t *testing.T) {
	t.Parallel()
	checkWorlds(t, worldsOf(t, *worldsFile, 2700))
}

// Verdicts are kept from start to start. So a change of the rules that changes one needs another
// number.
func TestRules(t *testing.T) {
	t.Parallel()
	h := sha256.New()
	for _, w := range worldsOf(t, "testdata/worlds.txt.gz", 2700) {
		p := play(w.m)
		for _, e := range w.m.order {
			p.next(e)
			if op := p.ops[e]; op != nil {
				fmt.Fprintln(h, op.Verdict())
			}
		}
	}
	const of = "1 23781381b3c0a632"
	if got := fmt.Sprintf("%d %x", Rules, h.Sum(nil)[:8]); got != of {
		t.Errorf("%s, and not %s: if the rules changed, and not the worlds alone, Rules has to be another number", got, of)
	}
}
