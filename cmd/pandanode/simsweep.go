package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/sim"
)

func (a *app) simSweepCmd() *cobra.Command {
	var (
		f                  simFlags
		seeds, out, junit  string
		jobs, shrink       = 1, 3
		tries              = 200
		budget             time.Duration
		from, to           uint64
		before, all, lines []sim.Swept
	)
	cmd := &cobra.Command{
		Use:   "sweep [FILE...]",
		Short: "Run many random worlds, and sum what happened in them",
		Long: `Run the random worlds of a range of seeds, and print one table: totals, and how often each
verb was carried out. With --out each world is a line of JSON in a file; a sweep that is run
again with that file goes on where it ended. The first failure of each way is shrunk, and its
scenario is in its line.

With files, nothing is run: the table sums their lines, each world once.

The exit code is 30 if a world fails, that of a timeout if the budget was spent before the
last world, and 0 if all worlds were run and hold.`,
		Example: `  pandanode sim sweep --kind people --seeds 1..2500 -j 2 --budget 40m --out one.jsonl
  pandanode sim sweep one.jsonl two.jsonl`,
	}
	f.register(cmd)
	cmd.Flags().StringVar(&seeds, "seeds", "1..100", "from one to another, as A..B")
	cmd.Flags().IntVarP(&jobs, "jobs", "j", jobs, "worlds at once")
	cmd.Flags().DurationVar(&budget, "budget", 0, "begin no world after so long (default: no end)")
	cmd.Flags().StringVar(&out, "out", "", "append a line of JSON for each world to this file, and go on from what is in it")
	cmd.Flags().StringVar(&junit, "junit", "", "write a JUnit report to this file")
	cmd.Flags().IntVar(&shrink, "shrink", shrink, "shrink the first failure of so many ways to fail")
	cmd.Flags().IntVar(&tries, "tries", tries, "runs at most for each that is shrunk")
	_ = cmd.Flags().MarkHidden("seed")
	cmd.RunE = does(func(ctx context.Context, args []string) (err error) {
		if cmd.Flags().Changed("seed") {
			return api.Errorf(api.CodeInvalid, "a sweep has --seeds A..B, not --seed")
		}
		if len(args) > 0 {
			for _, name := range args {
				if lines, err = readSwept(name, false); err != nil {
					return err
				}
				all = append(all, lines...)
			}
			return a.sweepReport(all, junit, 0)
		}
		if _, err := f.load(cmd, nil); err != nil { // checks what is common to all worlds
			return err
		}
		if from, to, err = seedRange(seeds); err != nil {
			return err
		}
		var file io.WriteCloser
		if out != "" {
			if before, err = readSwept(out, true); err != nil {
				return err
			}
			if file, err = os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil { //nolint:gosec // no secret
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
		}
		s := sim.Sweep{Spec: f.spec, From: from, To: to, Jobs: jobs, Budget: budget, Shrink: shrink, Tries: tries}
		all = before
		left, err := s.Run(ctx, before, func(x sim.Swept) error {
			all = append(all, x)
			if way := x.Failure + x.Error; way != "" {
				a.note("%s fails: %s", x.Again, way)
			} else if len(all)%20 == 0 {
				a.note("%d worlds", len(all))
			}
			if file == nil {
				return nil
			}
			return lineTo(file, x)
		})
		if err != nil {
			return err
		}
		return a.sweepReport(all, junit, left)
	})
	return cmd
}

// seedRange reads A..B.
func seedRange(s string) (from, to uint64, err error) {
	first, last, ok := strings.Cut(s, "..")
	from, err1 := strconv.ParseUint(first, 10, 32)
	to, err2 := strconv.ParseUint(last, 10, 32)
	if !ok || err1 != nil || err2 != nil || from > to || from == 0 {
		return 0, 0, api.Errorf(api.CodeInvalid, "--seeds is A..B, with A from 1 and not above B, not %q", s)
	}
	return from, to, nil
}

// readSwept reads the file of a sweep. A line that was cut off when a sweep was stopped goes.
func readSwept(name string, mend bool) ([]sim.Swept, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && mend {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines, err := sim.ReadSwept(bytes.NewReader(b))
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%s: %v", filepath.Base(name), err)
	}
	if end := bytes.LastIndexByte(b, '\n') + 1; mend && end < len(b) {
		err = os.Truncate(name, int64(end))
	}
	return lines, err
}

func (a *app) sweepReport(all []sim.Swept, junit string, left int) error {
	if junit != "" {
		if err := writeFile(junit, func(w io.Writer) error { return sim.WriteJUnit(w, all) }); err != nil {
			return err
		}
	}
	t := sim.SumSwept(all)
	if err := a.show(t, func() { a.printSweep(t) }); err != nil {
		return err
	}
	switch {
	case t.Failed+t.Errors > 0:
		return &violated{fmt.Sprintf("%d of %d worlds fail; the first again with: %s", t.Failed+t.Errors, t.Worlds, t.Failures[0].Again)}
	case left > 0:
		return api.Errorf(api.CodeTimeout, "the budget is spent, and %d worlds are left", left).WithHint("the same command with --out goes on where it ended")
	}
	return nil
}

func (a *app) printSweep(t sim.SweepTable) {
	pairs := func(m map[string]int) string {
		var out []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out = append(out, fmt.Sprintf("%d %s", m[k], k))
		}
		return strings.Join(out, ", ")
	}
	a.facts(
		"worlds", fmt.Sprintf("%d: %s", t.Worlds, pairs(t.Kinds)),
		"hold", fmt.Sprint(t.Worlds-t.Failed-t.Errors), "fail", fmt.Sprint(t.Failed), "not played", fmt.Sprint(t.Errors),
		"records", t.Records.String(),
		"counts", pairs(t.Counts), "verbs", pairs(t.Verbs), "refused", pairs(t.Refused),
		"time", fmt.Sprintf("%.0f h virtual, %.0f s real", t.Virtual/3600, t.Seconds),
	)
	for _, x := range t.Failures {
		fmt.Fprintf(a.out, "%s %d worlds, the first with %s: %s\n", a.paint(a.out, red, "fails"), x.Worlds, x.Again, clean(x.Failure))
		if x.Shrunk != "" {
			fmt.Fprintln(a.out, x.Shrunk)
		}
	}
}
