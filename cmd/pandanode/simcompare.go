package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/sim"
)

func (a *app) simCompareCmd() *cobra.Command {
	var (
		f            simFlags
		seeds, sizes string
		with         []string
		jobs         = 1
	)
	cmd := &cobra.Command{
		Use:   "compare [SCENARIO|FILE...]",
		Short: "Play worlds under two or more settings with the same seeds, and compare",
		Long: `Play worlds under two or more settings, each with the same seeds, and print what differs: the
median, the least and the most of each figure, its difference seed by seed, and whether that
may be luck. The settings are those of --with, or several files; a single setting is compared
with the scenario as it is. Without a scenario, random worlds are played.

--with takes KEY=VALUE, of lines at the head of a scenario or of the flags that draw a random
world; a list of values makes a setting for each:

  ` + strings.Join(sim.HeadKeys(), ", ") + `
  random worlds: ` + strings.Join(sim.DrawnKeys(), ", ") + `

choice is a fork choice: ours, ` + strings.Join(sim.Choices()[:3], ", ") + ` or another one of
docs/FORKCHOICE.md. With sizes, such as --nodes 10,20,50, the table says how each figure
grows with the number of devices. CPU and heap are measured if one world is played at a time.

The exit code is 30 if a world of any setting fails.`,
		Example: `  pandanode sim compare 9 --with retention=1h,7d
  pandanode sim compare 1 --with "loss=0.2 sync=30s" --seeds 1..20 --html loss.html
  pandanode sim compare 3 --with choice=ours,longest-chain -j 2
  pandanode sim compare before.sim after.sim
  pandanode sim compare --kind day --nodes 10,20,50,100 --seeds 1..3`,
	}
	f.registerWorld(cmd)
	cmd.Flags().StringVar(&sizes, "nodes", "", "random worlds: devices, or several numbers of them as N,N,… (default: 4 to 12)")
	cmd.Flags().StringArrayVar(&with, "with", nil, "a setting, as KEY=VALUE or \"KEY=VALUE KEY=VALUE\"; several are compared")
	cmd.Flags().StringVar(&seeds, "seeds", "1..12", "from one to another, as A..B")
	cmd.Flags().IntVarP(&jobs, "jobs", "j", jobs, "worlds at once")
	cmd.Flags().StringVar(&f.html, "html", "", "write the comparison as one self-contained page to this file")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		setups, err := f.setups(args, with, sizes)
		if err != nil {
			return err
		}
		c := sim.Compare{Setups: setups, Jobs: jobs, Progress: a.note}
		if c.From, c.To, err = seedRange(seeds); err != nil {
			return err
		}
		for _, s := range setups { // before an hour is spent
			if _, err := s.World(c.From); err != nil {
				return api.Errorf(api.CodeInvalid, "%s: %v", s.Name, err)
			}
		}
		got, err := c.Run(ctx)
		if err != nil {
			return err
		}
		if err := a.writePage(f.html, got); err != nil {
			return err
		}
		if err := a.show(got, func() { a.printComparison(got) }); err != nil {
			return err
		}
		if failed, first := got.Failed(); failed > 0 {
			return &violated{fmt.Sprintf("%d of %d worlds fail; the first again with: %s", failed, len(got.Seeds)*len(got.Settings), first.Again)}
		}
		return nil
	})
	return cmd
}

// setups makes the settings: of each file, or of random worlds, all that --with and --nodes
// say.
func (f *simFlags) setups(args, with []string, sizes string) (out []sim.Setup, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var all []sim.Setting
	for _, text := range with {
		some, err := sim.ParseSettings(text)
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "--with: %v", err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		all = []sim.Setting{nil}
	}
	if sizes != "" {
		if len(args) > 0 {
			return nil, api.Errorf(api.CodeInvalid, "--nodes is for random worlds")
		}
		some, err := sim.ParseSettings("nodes=" + sizes)
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "--nodes: %v", err)
		}
		var each []sim.Setting
		for _, s := range all {
			for _, size := range some {
				each = append(each, append(append(sim.Setting{}, s...), size...))
			}
		}
		all = each
	}
	base := []sim.Setup{{Name: "random worlds", Spec: f.spec}}
	if len(args) > 0 {
		base = nil
	}
	for _, name := range args {
		sc, err := readScenario(name)
		if err != nil {
			return nil, err
		}
		x := sim.Setup{Name: strings.TrimSuffix(filepath.Base(name), ".sim"), File: sc, Path: name}
		base = append(base, x)
	}
	if len(base)*len(all) == 1 && all[0] != nil {
		all = append([]sim.Setting{nil}, all...)
	}
	for _, b := range base {
		for _, s := range all {
			x := b
			x.Set = append(append(sim.Setting{}, b.Set...), s...)
			switch {
			case len(s) == 0 && len(base) == 1:
				x.Name = "as it is"
			case len(base) == 1:
				x.Name = s.String()
			default:
				x.Name = strings.TrimSpace(x.Name + " " + s.String())
			}
			out = append(out, x)
		}
	}
	if len(out) < 2 {
		return nil, api.Errorf(api.CodeInvalid, "there is nothing to compare with").WithHint("pandanode sim compare 9 --with retention=1h,7d")
	}
	if len(out) > 26 {
		return nil, api.Errorf(api.CodeInvalid, "%d settings are too many: 26 at most", len(out))
	}
	return out, nil
}

// letter names a setting in a table.
func letter(i int) string { return string(rune('A' + i)) }

func (a *app) printComparison(c *sim.Comparison) {
	if c.Growth != nil {
		a.printGrowth(c)
	} else {
		a.printSettings(c)
		for i := range c.Settings[1:] {
			a.printDifferences(c, i)
		}
	}
	if same := c.Same(); len(same) > 0 {
		a.paragraph("The same in every world: " + strings.Join(same, ", ") + ".")
	}
	if c.Growth == nil {
		a.paragraph(c.Luck())
	}
	for i, s := range c.Settings {
		if s.Failed > 0 {
			fmt.Fprintf(a.out, "%s %s: %d of %d worlds, the first by %s\n", a.paint(a.out, red, "fails"), letter(i), s.Failed, len(c.Seeds), clean(s.Failure))
		}
	}
}

func (a *app) printSettings(c *sim.Comparison) {
	for i, s := range c.Settings {
		fmt.Fprintf(a.out, "%s  %s\n", a.paint(a.out, bold, letter(i)), clean(s.Name))
	}
	n := len(c.Seeds)
	fmt.Fprintf(a.out, "%s, seeds %d to %d\n", clean(c.Title), c.Seeds[0], c.Seeds[n-1])
}

// wide fills a cell up to a width; right puts the text at its end.
func wide(text string, width int, right bool) string {
	pad := strings.Repeat(" ", max(0, width-uniseg.StringWidth(text)))
	if right {
		return pad + text
	}
	return text + pad
}

// printDifferences prints what differs between the first setting and another one, each
// figure in two lines: medians, and below them the least and the most.
func (a *app) printDifferences(c *sim.Comparison, i int) {
	const first, cell = 19, 14
	other := letter(i + 1)
	row := func(title, x, y, diff, words string) string {
		return strings.TrimRight(wide(title, first, false)+wide(x, cell, true)+wide(y, cell, true)+wide(diff, cell, true)+"  "+words, " ")
	}
	fmt.Fprintf(a.out, "\n%s\n", a.paint(a.out, bold, row("MEDIAN (LEAST–MOST)", "A", other, other+" − A", "BY SEED")))
	n := 0
	for _, m := range c.Measures {
		d := m.Differences[i]
		if d.Verdict == sim.VerdictSame {
			continue
		}
		n++
		x, y := m.Settings[0], m.Settings[i+1]
		fmt.Fprintln(a.out, row(m.Title, m.Text(x.Median), m.Text(y.Median), signed(m, d.Median), d.Seeds()))
		verdict := wide(d.Verdict, 0, false)
		if d.Verdict == sim.VerdictNotLuck {
			verdict = a.paint(a.out, bold, verdict)
		}
		fmt.Fprintln(a.out, a.paint(a.out, dim, row("", between(m, x.Min, x.Max), between(m, y.Min, y.Max), "", ""))+
			strings.Repeat(" ", max(2, first+3*cell+2-uniseg.StringWidth(row("", between(m, x.Min, x.Max), between(m, y.Min, y.Max), "", ""))))+verdict)
	}
	if n == 0 {
		fmt.Fprintln(a.out, "nothing differs in any seed")
	}
}

func signed(m sim.Measured, v float64) string {
	switch {
	case v > 0:
		return "+" + m.Text(v)
	case v < 0:
		return "−" + m.Text(-v)
	}
	return m.Text(v)
}

// between gives a range, with its unit once.
func between(m sim.Measured, from, to float64) string {
	x, y := m.Text(from), m.Text(to)
	if x == y {
		return x
	}
	number, unit, _ := strings.Cut(x, " ")
	if _, u, _ := strings.Cut(y, " "); u == unit {
		x = number
	}
	return strings.ReplaceAll(x+"–"+y, " ", "")
}

// printGrowth prints the medians at each size, and how they grow.
func (a *app) printGrowth(c *sim.Comparison) {
	n := len(c.Seeds)
	fmt.Fprintf(a.out, "%s: medians of %d seeds, from %d to %d\n\n", clean(c.Title), n, c.Seeds[0], c.Seeds[n-1])
	rows := [][]string{{"DEVICES"}}
	for _, d := range c.Growth.Devices {
		rows[0] = append(rows[0], fmt.Sprint(d))
	}
	rows[0] = append(rows[0], "GROWS AS")
	for _, m := range c.Differing() {
		cells := []string{m.Title}
		for _, s := range m.Settings {
			cells = append(cells, m.Text(s.Median))
		}
		law := ""
		if l, ok := c.Growth.Law(m.Key); ok {
			law = fmt.Sprintf("n^%.2f", l.Exponent)
			if len(m.Settings) > 2 {
				law += fmt.Sprintf(", last n^%.2f", l.Last)
			}
		}
		rows = append(rows, append(cells, law))
	}
	for i, l := range columns(rows) {
		if i == 0 {
			l = a.paint(a.out, bold, l)
		}
		fmt.Fprintln(a.out, l)
	}
	a.paragraph("n^2 means: twice the devices, four times as much. The exponent is that of a line through all sizes; the last, between the two largest.")
}

// paragraph prints a text of up to 80 columns, behind an empty line.
func (a *app) paragraph(text string) {
	line := ""
	fmt.Fprintln(a.out)
	for w := range strings.FieldsSeq(text) {
		if line != "" && uniseg.StringWidth(line)+1+uniseg.StringWidth(w) > 80 {
			fmt.Fprintln(a.out, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + w)
	}
	fmt.Fprintln(a.out, line)
}
