// Command dhtbench says what the DHT costs and finds with many thousand nodes:
//
//	dhtbench run FILE [-nodes N] [-hours N] [-at-once N] [-only N,N]
//	dhtbench draw FILE DIR
//	dhtbench real [-hosts N]
//
// Run plays the worlds of docs/SCALE.md in the model and writes what they came to. Draw
// prints that as tables, and draws its curves. Real compares the model with real hosts over
// simulated QUIC.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/sim/dhtmodel"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dhtbench:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: dhtbench run FILE, dhtbench draw FILE DIR, dhtbench real")

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	set := flag.NewFlagSet(args[0], flag.ExitOnError)
	nodes := set.Int("nodes", 10000, "nodes online at a time")
	hours := set.Int("hours", 48, "virtual hours of a world")
	atOnce := set.Int("at-once", 1, "worlds at once")
	only := set.String("only", "", "numbers of worlds to play, from 1, with commas; the others stay as the file has them")
	hosts := set.Int("hosts", 100, "real hosts")
	names := 0
	switch args[0] {
	case "run":
		names = 1
	case "draw":
		names = 2
	case "real":
	default:
		return errUsage
	}
	if len(args) < 1+names {
		return errUsage
	}
	if err := set.Parse(args[1+names:]); err != nil {
		return err
	}
	switch args[0] {
	case "run":
		return play(args[1], *nodes, *hours, *atOnce, *only, out)
	case "draw":
		return draw(args[1], args[2], out)
	}
	return compare(*hosts, out)
}

// row is a world and what it came to.
type row struct {
	Nodes   int             `json:"nodes"`
	Groups  int             `json:"groups"`
	Hostile float64         `json:"hostile"`
	Eclipse bool            `json:"eclipse"`
	Spread  bool            `json:"spread"`
	Report  dhtmodel.Report `json:"report"`
}

// hot is a key alone, before and after.
type hot struct {
	Before dhtmodel.Hot `json:"before"`
	After  dhtmodel.Hot `json:"after"`
}

type results struct {
	Rows []row `json:"rows"`
	Hot  []hot `json:"hot"`
}

// seed makes a run repeat.
const seed = 1

// worlds are those that docs/SCALE.md tells of. Those with many groups play half as long.
func worlds(nodes int) (out []row) {
	few, many := nodes/10, nodes
	out = append(out, row{Nodes: nodes, Groups: many, Spread: true}, row{Nodes: nodes, Groups: many})
	for _, n := range []int{nodes / 100, nodes / 30, nodes / 10, nodes / 3} {
		out = append(out, row{Nodes: n, Groups: max(10, n/10), Spread: true})
	}
	for _, r := range []row{{}, {Hostile: 0.2}, {Hostile: 0.2, Eclipse: true}} {
		r.Nodes, r.Groups = nodes, few
		before := r
		r.Spread = true
		out = append(out, r, before)
	}
	return out
}

// play runs the worlds, and writes the results each time one has ended.
func play(file string, nodes, hours, atOnce int, only string, out io.Writer) error {
	all := worlds(nodes)
	chosen := make(map[int]bool)
	for _, text := range strings.FieldsFunc(only, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > len(all)+1 {
			return fmt.Errorf("no world has the number %q: there are %d, and the hot keys after them", text, len(all))
		}
		chosen[n-1] = true
	}
	var res results
	if only != "" {
		var err error
		if res, err = load(file); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var errs []error
	turns := make(chan struct{}, max(1, atOnce))
	var playing sync.WaitGroup
	for n, r := range all {
		if only != "" && !chosen[n] {
			continue
		}
		turns <- struct{}{}
		playing.Go(func() {
			defer func() { <-turns }()
			hours := hours
			if r.Groups == r.Nodes {
				hours /= 2
			}
			began := time.Now()
			r.Report = dhtmodel.Run(dhtmodel.Config{
				Seed: seed, Nodes: r.Nodes, Groups: r.Groups, Hours: hours, Churn: dhtmodel.IPFS, Clients: dhtmodel.HenningsenNAT,
				Hostile: r.Hostile, Eclipse: r.Eclipse, Spread: r.Spread, Finds: 2000,
			})
			_, _ = fmt.Fprintf(out, "%6d nodes, %6d groups, %2.0f %% hostile, spread %v, eclipsed %v: %d requests in %v\n",
				r.Nodes, r.Groups, 100*r.Hostile, r.Spread, r.Eclipse, r.Report.Requests, time.Since(began).Round(time.Second))
			mu.Lock()
			defer mu.Unlock()
			res.Rows = slices.DeleteFunc(res.Rows, r.same)
			res.Rows = append(res.Rows, r)
			errs = append(errs, save(file, res))
		})
	}
	playing.Wait()
	if only == "" || chosen[len(all)] {
		res.Hot = nil
		for _, n := range []int{100, 1000, 4000, 40000} {
			res.Hot = append(res.Hot, hot{dhtmodel.RunHot(seed, n, false), dhtmodel.RunHot(seed, n, true)})
		}
	}
	slices.SortFunc(res.Rows, func(a, b row) int { return cmp.Compare(place(all, a), place(all, b)) })
	return errors.Join(append(errs, save(file, res))...)
}

// same says whether two rows are of one world.
func (r row) same(o row) bool {
	return r.Nodes == o.Nodes && r.Groups == o.Groups && r.Hostile == o.Hostile && r.Eclipse == o.Eclipse && r.Spread == o.Spread
}

func place(all []row, r row) int { return slices.IndexFunc(all, r.same) }

func save(file string, res results) error {
	b, err := json.MarshalIndent(res, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644) //nolint:gosec // figures for everybody
}

func load(file string) (res results, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return res, err
	}
	return res, json.Unmarshal(b, &res)
}
