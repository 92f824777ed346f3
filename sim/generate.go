package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Faults says how many faults a random world has.
type Faults int

// Levels of faults.
const (
	FaultsNone Faults = iota // links are perfect
	FaultsSome               // lossy links, partitions, churn, crashes, removals
	FaultsMany               // more of them
)

// ParseFaults is the inverse of String.
func ParseFaults(s string) (Faults, error) {
	for _, f := range []Faults{FaultsNone, FaultsSome, FaultsMany} {
		if f.String() == s {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%w: faults are none, some or many, not %q", ErrScenario, s)
}

func (f Faults) String() string { return [...]string{"none", "some", "many"}[f] }

// Spec bounds a random world. Fields with zero values are drawn too.
type Spec struct {
	Seed     uint64
	Nodes    int           // 4 to 12
	Groups   int           // 1
	Duration time.Duration // 1 to 4 h, the last 20 minutes are quiet
	Faults   Faults        // some
	Kind     string        // churn
}

// kind names the generator.
func (s Spec) kind() string { return cmp.Or(s.Kind, KindChurn) }

// KindChurn are worlds of lossy links, partitions, crashes and clocks, with a removal in
// each cut.
const KindChurn = "churn"

// Kinds lists the kinds of random worlds.
var Kinds = []string{KindChurn, KindPeople, KindInsider, KindPast, KindDay}

// Command is the command that draws and runs this world again.
func (s Spec) Command() string {
	b := strings.Builder{}
	b.WriteString("pandanode sim run")
	if s.kind() != KindChurn {
		fmt.Fprintf(&b, " --kind %s", s.Kind)
	}
	if s.Nodes != 0 {
		fmt.Fprintf(&b, " --nodes %d", s.Nodes)
	}
	if s.Groups != 0 {
		fmt.Fprintf(&b, " --groups %d", s.Groups)
	}
	if s.Duration != 0 {
		fmt.Fprintf(&b, " --duration %s", span(s.Duration))
	}
	if s.Faults != FaultsSome {
		fmt.Fprintf(&b, " --faults %v", s.Faults)
	}
	fmt.Fprintf(&b, " --seed %d", s.Seed)
	return b.String()
}

const tail = 40 * time.Minute // quiet at the end of a random world

// Generate draws a scenario: Every device joins, sends, is cut off, and may crash or be
// removed. Every world with faults has at least one fork, one removal, one crash and 50
// records, each in its first group.
func Generate(spec Spec) (*Scenario, error) {
	if spec.kind() != KindChurn {
		var text string
		if spec.Kind != KindDay {
			text = generatePeople(spec)
		} else if day, err := generateDay(spec); err == nil {
			text = day
		} else {
			return nil, err
		}
		sc, err := ParseBytes(fmt.Sprint(spec.Kind, "-", spec.Seed), []byte(text))
		if err != nil {
			return nil, fmt.Errorf("a generated scenario is wrong: %w", err)
		}
		sc.again = spec.Command()
		return sc, nil
	}
	g := &generator{r: rand.New(stream(spec.Seed, "generate")), spec: spec} //nolint:gosec // a simulation
	if spec.Nodes == 0 {
		g.spec.Nodes = 4 + g.r.IntN(9)
	}
	if spec.Groups == 0 {
		g.spec.Groups = 1
	}
	if spec.Duration == 0 {
		g.spec.Duration = time.Hour + time.Duration(g.r.IntN(180))*time.Minute
	}
	if g.spec.Nodes < 4 || g.spec.Nodes > 1000 || g.spec.Groups < 1 || g.spec.Duration < time.Hour {
		return nil, fmt.Errorf("%w: a random world has from 4 to 1000 nodes, a group, and lasts an hour or longer", ErrScenario)
	}
	g.write()
	sc, err := ParseBytes(fmt.Sprint("random-", spec.Seed), []byte(g.b.String()))
	if err != nil {
		return nil, fmt.Errorf("a generated scenario is wrong: %w", err)
	}
	sc.again = spec.Command()
	return sc, nil
}

type generator struct {
	r     *rand.Rand
	spec  Spec
	b     strings.Builder
	in    []string // members, as far as the generator knows
	later []string // those that join during the partition
	gone  map[string]bool
	cut   [2]time.Duration // the first partition; other faults spare n1 and n2 during it
}

func (g *generator) between(from, to time.Duration) time.Duration {
	return from + time.Duration(g.r.Int64N(int64((to-from)/time.Second)+1))*time.Second
}

func (g *generator) do(at time.Duration, format string, args ...any) {
	fmt.Fprintf(&g.b, "%s %s\n", span(at), fmt.Sprintf(format, args...))
}

func (g *generator) pick(from []string) string { return from[g.r.IntN(len(from))] }

// write draws the whole text.
func (g *generator) write() {
	end := g.spec.Duration - tail
	retention := ""
	if g.r.IntN(2) == 0 {
		retention = " retention=" + span(time.Duration(5+g.r.IntN(20))*time.Minute)
	}
	fmt.Fprintf(&g.b, "# Random world %d\n# %d nodes, %d groups, faults: %v%s\nseed %d\n", g.spec.Seed, g.spec.Nodes, g.spec.Groups, g.spec.Faults, retention, g.spec.Seed)
	fmt.Fprintf(&g.b, "nodes n1..n%d\n", g.spec.Nodes)
	for i := range g.spec.Groups {
		fmt.Fprintf(&g.b, "group g%d founder=n%d policy=%v%s\n", i+1, i%g.spec.Nodes+1, wire.PolicyOpen, retention)
	}
	if g.spec.Faults > FaultsNone {
		// From a stream of its own: one more draw from the common stream would change every
		// world.
		overtake := rand.New(stream(g.spec.Seed, "overtake")).IntN(10) //nolint:gosec // a simulation
		fmt.Fprintf(&g.b, "link latency=%s jitter=%s loss=%.2f duplicate=%.2f reorder=%.2f overtake=0.%d\n", span(time.Duration(5+g.r.IntN(100))*time.Millisecond),
			span(time.Duration(1+g.r.IntN(200))*time.Millisecond), float64(g.r.IntN(10))/100, float64(g.r.IntN(5))/100, float64(g.r.IntN(10))/100, overtake)
	}
	fmt.Fprintf(&g.b, "run %s\n", span(g.spec.Duration))

	var names []string
	for i := range g.spec.Nodes {
		names = append(names, fmt.Sprint("n", i+1))
	}
	late := 2
	if g.spec.Faults == FaultsNone {
		late = 0
	}
	g.in, g.later, g.gone = slices.Clone(names[:len(names)-late]), names[len(names)-late:], map[string]bool{}
	for i, n := range g.in[1:] {
		g.do(time.Duration(i)*time.Second, "join %s", n)
	}
	for i := 1; i < g.spec.Groups; i++ {
		f := i % g.spec.Nodes
		for _, n := range slices.Concat(names[:f], names[f+1:]) {
			g.do(g.between(0, time.Minute), "in=g%d join %s", i+1, n)
		}
	}
	start := 2 * time.Minute
	if len(g.in) > 2 {
		g.do(start, "role n1 n2 admin")
	}
	// Messages all along, at least 50, by devices that cannot be removed.
	for range 60 + g.r.IntN(60) {
		g.do(g.between(start, end), "send %s", g.pick(g.in))
	}
	for range 50 {
		g.do(g.between(start, end), "send n1")
	}
	newTalk(g.spec.Seed, g.do).converse(8, start, end, g.in, []string{"n1", "n2"}, nil)
	for i := 1; i < g.spec.Groups; i++ {
		for range 20 {
			g.do(g.between(start, end), "in=g%d send %s", i+1, g.pick(names))
		}
	}
	if g.spec.Faults == FaultsNone {
		return
	}
	g.partitions(start, end)
	g.churn(start, end)
	g.do(end, "heal")
	g.do(end, "online %s", strings.Join(names, " "))
	g.do(end+time.Second, "restart %s", strings.Join(names, " "))
	g.do(end+time.Minute, "send n1")
}

// partitions cut the world, and let both sides of the first cut change the group.
func (g *generator) partitions(start, end time.Duration) {
	all := append(slices.Clone(g.in), g.later...)
	cuts := int(g.spec.Faults) + g.r.IntN(2)
	each := (end - start) / time.Duration(cuts)
	for i := range cuts {
		from := start + time.Duration(i)*each + g.between(time.Minute, each/4+time.Minute)
		to := min(from+g.between(2*time.Minute, each/2+2*time.Minute), end)
		g.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		k := 2 + g.r.IntN(2)
		parts := make([][]string, k)
		for j, n := range all {
			switch {
			case n == "n1", i == 0 && n == g.later[0]:
				parts[0] = append(parts[0], n)
			case n == "n2", i == 0 && n == g.later[1]:
				parts[1] = append(parts[1], n)
			default:
				parts[j%k] = append(parts[j%k], n)
			}
		}
		var text []string
		for _, p := range parts {
			if len(p) > 0 {
				text = append(text, strings.Join(p, " "))
			}
		}
		g.do(from, "partition %s", strings.Join(text, " | "))
		if i == 0 {
			g.cut = [2]time.Duration{from - 10*time.Minute, to}
			// Both sides add somebody, which makes a fork.
			g.do(from+10*time.Second, "join %s", g.later[0])
			g.do(from+10*time.Second, "join %s", g.later[1])
		}
		if victims := slices.DeleteFunc(slices.Clone(g.in), func(n string) bool { return n == "n1" || n == "n2" || g.gone[n] }); len(victims) > 1 || i == 0 {
			if len(victims) == 0 {
				victims = []string{"n2"} // of four, two are in
			}
			v := g.pick(victims)
			g.gone[v] = true
			by := 1 + g.r.IntN(2)
			if v == "n2" {
				by = 1
			}
			g.do(from+g.between(30*time.Second, time.Minute), "remove n%d %s", by, v)
		}
		g.do(to, "heal")
	}
}

// spare says whether a fault that begins at a time would disturb the fork for which the
// first partition exists.
func (g *generator) spare(n string, at time.Duration) bool {
	return (n == "n1" || n == "n2") && at+20*time.Minute > g.cut[0] && at < g.cut[1]
}

// churn takes devices away and brings them back, crashes them, and sets clocks.
func (g *generator) churn(start, end time.Duration) {
	for range 2 * int(g.spec.Faults) {
		n := g.pick(g.in)
		from := g.between(start, end-2*time.Minute)
		if to := from + g.between(10*time.Second, 20*time.Minute); !g.spare(n, from) {
			g.do(from, "offline %s", n)
			g.do(min(to, end), "online %s", n)
		}
	}
	g.do(g.between(g.cut[1], end), "crash n1 restart=%s", span(g.between(time.Second, 5*time.Minute)))
	for range 3 * int(g.spec.Faults) {
		n, at := g.pick(g.in), g.between(start, end)
		if !g.spare(n, at) {
			g.do(at, "crash %s at=%s nth=%d restart=%s", n, g.pick(boundaries), 1+g.r.IntN(5), span(g.between(time.Second, 10*time.Minute)))
		}
	}
	for range g.r.IntN(3) {
		n, from := g.pick(g.in[1:]), g.between(start, end)
		g.do(from, "clock %s %s", n, []string{"5m", "-8m", "1h", "-26h", "8760h", "-8760h", "438000h", "-438000h"}[g.r.IntN(8)])
		g.do(end, "clock %s 0s", n)
	}
	if g.r.IntN(3) == 0 && len(g.in) > 4 {
		g.do(g.between(g.cut[1], end), "leave %s", g.pick(g.in[2:]))
	}
}
