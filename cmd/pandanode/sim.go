package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/sim"
)

// exitViolated is the exit code of a simulation in which an invariant does not hold.
const exitViolated = 30

// violated is the error of such a simulation.
type violated struct{ what string }

func (v *violated) Error() string { return v.what }

// simCode returns exitViolated for a simulation with a violation, else the given code.
func simCode(err error, code int) int {
	if _, ok := errors.AsType[*violated](err); ok {
		return exitViolated
	}
	return code
}

func (a *app) simCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate groups of many devices, and check that nothing is lost",
		Long: `Run worlds of group machines in virtual time: partitions, crashes, hostile members. A world
repeats to the last bit from its scenario and its seed. After each run the invariants of
docs/SCENARIOS.md are checked: the exit code is 0 if all of them hold, 30 if one does not.`,
	}
	for _, c := range []*cobra.Command{a.simRunCmd(), a.simReplayCmd(), a.simShrinkCmd(), a.simSweepCmd(), a.simCompareCmd(), a.simListCmd(), a.simBubbleCmd()} {
		c.PreRun = func(*cobra.Command, []string) { sim.Roomy() }
		cmd.AddCommand(c)
	}
	return cmd
}

// simFlags say which world to run.
type simFlags struct {
	spec   sim.Spec
	faults string
	html   string
	with   []string
	replay string // the command that runs the same again
}

func (f *simFlags) register(cmd *cobra.Command) {
	f.registerWorld(cmd)
	cmd.Flags().IntVar(&f.spec.Nodes, "nodes", 0, "random world: devices (default: 4 to 12)")
	cmd.Flags().Uint64Var(&f.spec.Seed, "seed", 1, "source of all chance; replaces a scenario's own seed")
}

// registerWorld adds the flags that say how a world is drawn, but for its seed and size.
func (f *simFlags) registerWorld(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.spec.Groups, "groups", 0, "random world: groups (default: 1)")
	cmd.Flags().DurationVar(&f.spec.Duration, "duration", 0, "random world: virtual time, from 1h (default: 1h to 4h)")
	cmd.Flags().StringVar(&f.faults, "faults", "some", "random world: none, some or many")
	cmd.Flags().StringVar(&f.spec.Kind, "kind", sim.KindChurn, "random world: "+strings.Join(sim.Kinds, ", "))
}

// registerWith adds the flag that changes the head of a scenario.
func (f *simFlags) registerWith(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.with, "with", nil, "change a line at the scenario's head: \"KEY=VALUE …\", as of sim compare")
}

// check looks at the flags, and reads that of the faults.
func (f *simFlags) check() (err error) {
	if f.spec.Faults, err = sim.ParseFaults(f.faults); err != nil {
		return api.Errorf(api.CodeInvalid, "--faults: %v", err)
	}
	if !slices.Contains(sim.Kinds, f.spec.Kind) {
		return api.Errorf(api.CodeInvalid, "--kind must be one of %s, not %q", strings.Join(sim.Kinds, ", "), f.spec.Kind)
	}
	return nil
}

// load returns the scenario that the arguments name, or draws one.
func (f *simFlags) load(cmd *cobra.Command, args []string) (sc *sim.Scenario, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(f.with) > 0 {
		return f.loadWith(cmd, args)
	}
	if len(args) == 0 {
		if sc, err = sim.Generate(f.spec); err != nil {
			return nil, api.Errorf(api.CodeInvalid, "%v", err)
		}
		f.replay = f.spec.Command()
		return sc, nil
	}
	if sc, err = readScenario(args[0]); err != nil {
		return nil, err
	}
	f.replay = "pandanode sim run " + args[0]
	if cmd.Flags().Changed("seed") {
		sc.Seed = f.spec.Seed
		f.replay += fmt.Sprint(" --seed ", sc.Seed)
	}
	return sc, nil
}

// loadWith is load with settings.
func (f *simFlags) loadWith(cmd *cobra.Command, args []string) (*sim.Scenario, error) {
	all, err := sim.ParseSettings(strings.Join(f.with, " "))
	if err != nil || len(all) != 1 {
		return nil, api.Errorf(api.CodeInvalid, "--with is one value for each key: %v", cmp.Or(err, sim.ErrScenario))
	}
	s := sim.Setup{Spec: f.spec, Set: all[0]}
	seed := f.spec.Seed
	if len(args) > 0 {
		if s.File, err = readScenario(args[0]); err != nil {
			return nil, err
		}
		if s.Path = args[0]; !cmd.Flags().Changed("seed") {
			seed = s.File.Seed
		}
	}
	sc, err := s.World(seed)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%v", err)
	}
	f.replay = sc.Again()
	return sc, nil
}

// readScenario reads a file, or one of those that come with the program.
func readScenario(name string) (*sim.Scenario, error) {
	if !strings.ContainsAny(name, "./\\") {
		if sc, err := sim.Load(name); err == nil {
			return sc, nil
		}
	}
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.CodeNotFound, "there is no scenario and no file %q", name).WithHint("pandanode sim list")
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sc, err := sim.Parse(name, file)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%v", err)
	}
	return sc, nil
}

func (a *app) simRunCmd() *cobra.Command {
	var (
		f    simFlags
		keep bool
	)
	backend := backendCore
	cmd := &cobra.Command{
		Use:   "run [SCENARIO|FILE]",
		Short: "Run a scenario, or a random world",
		Long: `Run a scenario, or a random world, and check the invariants.

With --backend net the scenario's nodes are whole nodes, with DHT, GossipSub and a store on
disk, over simulated QUIC in virtual time: for 20 to 100 nodes and days of virtual time. A
seed repeats the scenario, not each packet.

With --backend host the nodes are processes of this program, each in a network namespace of
its own, cut off with iptables, in real time: for a few nodes and minutes. It needs Linux,
root, iproute2 and iptables, and leaves nothing behind.`,
		Example: `  pandanode sim run 1 --html three-way.html
  pandanode sim run --nodes 12 --duration 4h --faults many --seed 7`,
		Args: cobra.MaximumNArgs(1),
	}
	f.register(cmd)
	f.registerWith(cmd)
	cmd.Flags().StringVar(&f.html, "html", "", "write the report as one self-contained page to this file")
	cmd.Flags().StringVar(&backend, "backend", backend, "core: group machines; net: whole nodes in virtual time; host: real processes")
	cmd.Flags().BoolVar(&keep, "keep", false, "net and host: keep the homes of the nodes, with their logs")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		if err := checkBackend(backend); err != nil {
			return err
		}
		sc, err := f.load(cmd, args)
		if err != nil {
			return err
		}
		switch backend {
		case backendHost:
			return a.simHost(ctx, sc, keep, f.html)
		case backendNet:
			return a.simNet(ctx, sc, keep, f.html)
		}
		r, err := a.simulate(ctx, sc)
		if err != nil {
			return err
		}
		r.Replay = f.replay
		return a.simReport(r, f.html)
	})
	return cmd
}

func (a *app) simulate(ctx context.Context, sc *sim.Scenario) (*sim.Report, error) {
	start := time.Now()
	r, err := sim.Run(ctx, sc, sim.Options{Progress: a.note})
	if err == nil {
		a.note("%s took %s", sc.Name, time.Since(start).Round(time.Millisecond))
	}
	return r, err
}

// simReport prints a report and returns the error for the exit code.
func (a *app) simReport(r *sim.Report, page string) error {
	if err := a.writePage(page, r); err != nil {
		return err
	}
	if err := a.show(r, func() { a.printReport(r) }); err != nil {
		return err
	}
	if r.OK() {
		return nil
	}
	return &violated{fmt.Sprintf("%d violations and %d unmet expectations; again with: %s", len(r.Violations), len(r.Unexpected), r.Replay)}
}

func writeFile(name string, write func(io.Writer) error) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return write(file)
}

func (a *app) printReport(r *sim.Report) {
	a.facts(
		"scenario", r.Scenario+": "+r.Title, "seed", fmt.Sprint(r.Seed), "digest", r.Digest,
		"records", r.Records.String(),
		"epochs", fmt.Sprintf("%d, %d forks, %d switches, %d commits", r.Counts["epochs"], r.Counts["forks"], r.Counts["switches"], r.Counts["commits"]),
		"devices", fmt.Sprintf("%d live members of %d, %d crashes, %d removals", r.Counts["live"], len(r.Devices), r.Counts["crashes"], r.Counts["removals"]),
		"again", r.Replay,
	)
	shown := map[string]int{}
	for _, v := range r.Violations {
		if shown[v.Name]++; shown[v.Name] <= 5 {
			fmt.Fprintf(a.out, "%s %s\n", a.paint(a.out, red, "violated"), clean(v.String()))
		}
	}
	for _, u := range r.Unexpected {
		fmt.Fprintf(a.out, "%s %s\n", a.paint(a.out, red, "unexpected"), clean(u))
	}
	if r.OK() {
		fmt.Fprintln(a.out, sim.Verdict(r.Judged))
	}
}

func (a *app) simReplayCmd() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "replay [SCENARIO|FILE]",
		Short: "Run a world twice and compare the digests",
		Args:  cobra.MaximumNArgs(1),
	}
	f.register(cmd)
	f.registerWith(cmd)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		sc, err := f.load(cmd, args)
		if err != nil {
			return err
		}
		first, err := a.simulate(ctx, sc)
		if err != nil {
			return err
		}
		second, err := a.simulate(ctx, sc)
		if err != nil {
			return err
		}
		if first.Digest != second.Digest {
			return api.Errorf(api.CodeVerification, "two runs of %s differ: %s and %s", sc.Name, first.Digest, second.Digest)
		}
		first.Replay = f.replay
		return a.simReport(first, "")
	})
	return cmd
}

func (a *app) simShrinkCmd() *cobra.Command {
	var f simFlags
	tries := 400
	cmd := &cobra.Command{
		Use:   "shrink [SCENARIO|FILE]",
		Short: "Reduce a failing scenario to the few actions that make it fail",
		Long: `Reduce a failing scenario to the few actions that make it fail, and print it. Write it to a
file to run it. The exit code is 30 if it fails, 0 if there is nothing to reduce.`,
		Args: cobra.MaximumNArgs(1),
	}
	f.register(cmd)
	f.registerWith(cmd)
	cmd.Flags().IntVar(&tries, "tries", tries, "runs at most")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		sc, err := f.load(cmd, args)
		if err != nil {
			return err
		}
		small, r, err := sim.Shrink(ctx, sc, tries, sim.Options{Progress: a.note})
		if err != nil {
			return err
		}
		if small == nil {
			r.Replay = f.replay
			a.note("every invariant holds; there is nothing to reduce")
			return a.simReport(r, "")
		}
		if a.json {
			r.Replay = f.replay + " (before it was reduced)"
			return a.simReport(r, "")
		}
		fmt.Fprint(a.out, small)
		return &violated{fmt.Sprintf("%d actions of %d are left: %s", len(small.Actions), len(sc.Actions), r.First())}
	})
	return cmd
}

type simScenario struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Nodes   int    `json:"nodes"`
	Actions int    `json:"actions"`
	Virtual string `json:"virtual"`
}

func (a *app) simListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the scenarios that come with the program",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			var all []simScenario
			for _, name := range sim.Names() {
				sc, err := sim.Load(name)
				if err != nil {
					return err
				}
				all = append(all, simScenario{Name: name, Title: sc.Title, Nodes: len(sc.Nodes), Actions: len(sc.Actions), Virtual: sc.Run.String()})
			}
			slices.SortFunc(all, func(x, y simScenario) int { return strings.Compare(x.Name, y.Name) })
			return list(a, all, "SCENARIO NODES ACTIONS VIRTUAL TITLE", func(s simScenario) []string {
				return []string{s.Name, fmt.Sprint(s.Nodes), fmt.Sprint(s.Actions), s.Virtual, s.Title}
			})
		}),
	}
}
