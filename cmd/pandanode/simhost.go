package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/sim"
)

// Backends of `sim run`.
const (
	backendCore = "core"
	backendNet  = "net"
	backendHost = "host"
)

// simHost runs a scenario on real processes of this program.
func (a *app) simHost(ctx context.Context, sc *sim.Scenario, keep bool, page string) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	a.note("%s", sc.Title)
	r, err := sim.RunHost(ctx, sc, sim.RealOptions{Binary: binary, Keep: keep, Page: page != "", Progress: a.note})
	if err != nil {
		return err
	}
	if err := a.writePage(page, r); err != nil {
		return err
	}
	return a.simWhole(r, sc)
}

// writePage writes the page of a run, if there is to be one.
func (a *app) writePage(page string, r interface{ WriteHTML(io.Writer) error }) error {
	if page == "" {
		return nil
	}
	a.note("the report is in %s", page)
	return writeFile(page, r.WriteHTML)
}

// simWhole prints the report of a run on whole nodes and returns the error for the exit
// code.
func (a *app) simWhole(r *sim.RealReport, sc *sim.Scenario) error {
	if err := a.show(r, func() { a.printRealReport(r) }); err != nil {
		return err
	}
	if !r.OK() {
		return &violated{fmt.Sprintf("%d violations and %d unmet expectations on whole nodes; again with: pandanode sim run %s --backend %s --keep", len(r.Violations), len(r.Unexpected), sc.Name, r.Backend)}
	}
	return nil
}

func (a *app) printRealReport(r *sim.RealReport) {
	fmt.Fprintln(a.out)
	_ = list(a, r.Nodes, "NODE GROUP STATE EPOCH AUTHENTICATOR MEMBERS STARTS SENT OWED HELD TWICE LOST", func(n sim.RealNode) []string {
		return []string{
			n.Name, n.Group, n.State, fmt.Sprint(n.Epoch), api.Short(n.Authenticator), fmt.Sprint(n.Members), fmt.Sprint(n.Starts),
			fmt.Sprint(n.Sent), fmt.Sprint(n.Owed), fmt.Sprint(n.Held), fmt.Sprint(n.Twice), fmt.Sprint(n.Lost),
		}
	})
	fmt.Fprintf(a.out, "\n%d messages sent, owed to %d readers, held by %d, shown twice %d, lost %d\n", r.Records.Sent, r.Records.Owed, r.Records.Held, r.Records.Twice, r.Records.Lost)
	if r.Converged >= 0 {
		fmt.Fprintf(a.out, "%.1f s from the heal to convergence, %.0f s in all\n", r.Converged, r.Seconds)
	} else {
		fmt.Fprintf(a.out, "no convergence, %.0f s in all\n", r.Seconds)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(a.out, "%s %s\n", a.paint(a.out, red, "VIOLATED"), clean(strings.ReplaceAll(v.String(), "\n", "; ")))
	}
	for _, u := range r.Unexpected {
		fmt.Fprintf(a.out, "%s %s\n", a.paint(a.out, red, "UNEXPECTED"), clean(u))
	}
	if r.OK() {
		fmt.Fprintln(a.out, sim.Verdict(r.Judged))
	}
	if r.Homes != "" {
		a.note("kept %s", r.Homes)
	}
}

func checkBackend(name string) error {
	if name != backendCore && name != backendNet && name != backendHost {
		return api.Errorf(api.CodeInvalid, "--backend must be core, net or host, not %q", name)
	}
	return nil
}
