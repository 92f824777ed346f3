package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/sim"
)

// bubbleCmd is the command by which this program runs itself in virtual time.
const bubbleCmd = "bubble"

// simNet runs a scenario on whole nodes in virtual time. It does so in a child, because a
// process enters virtual time as a whole.
func (a *app) simNet(ctx context.Context, sc *sim.Scenario, keep bool, page string) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	a.note("%s", sc.Title)
	cmd := exec.CommandContext(ctx, binary, "sim", bubbleCmd, sc.Name, fmt.Sprint("--keep=", keep), "--html="+page) //nolint:gosec // this program
	cmd.Stdin = bytes.NewReader([]byte(sc.String()))
	cmd.Stderr = a.err
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("virtual time: %w", err)
	}
	var r sim.RealReport
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("virtual time: %w", err)
	}
	return a.simWhole(&r, sc)
}

func (a *app) simBubbleCmd() *cobra.Command {
	var keep bool
	var page string
	cmd := &cobra.Command{
		Use:    bubbleCmd + " NAME",
		Short:  "Run the scenario on stdin on whole nodes in virtual time",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the homes of the nodes")
	cmd.Flags().StringVar(&page, "html", "", "write the report as one self-contained page to this file")
	cmd.RunE = does(func(_ context.Context, args []string) error {
		text, err := io.ReadAll(a.in)
		if err != nil {
			return err
		}
		sc, err := sim.ParseBytes(args[0], text)
		if err != nil {
			return err
		}
		var r *sim.RealReport
		var failed error
		err = sim.InBubble(func() {
			// Nothing from outside may reach virtual time: to end this, kill the process.
			r, failed = sim.RunNet(context.Background(), sc, sim.RealOptions{Keep: keep, Page: page != "", Progress: a.note})
		})
		if err := errors.Join(failed, err); err != nil {
			return err
		}
		if err := a.writePage(page, r); err != nil {
			return err
		}
		return a.line(r)
	})
	return cmd
}
