package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) cursorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cursor",
		Short: "List, move and remove the cursors of programs",
		Long: `A program reads a group under the name of a cursor, which says up to where it has done with
what happened there. The node keeps it, so what was not acknowledged comes again after a crash
of the program, or of the node: each line at least once.

  pandanode tail GROUP --json --follow --ack NAME | while read -r line; do
    handle "$line" && pandanode cursor ack GROUP NAME "$(jq .cursor <<<"$line")"
  done
`,
	}
	list := &cobra.Command{
		Use: "list GROUP", Short: "List the cursors of a group", Args: cobra.ExactArgs(1),
		Example: "  pandanode cursor list tea",
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			all, err := c.Cursors(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(all, func() {
				for _, one := range all.Cursors {
					fmt.Fprintf(a.out, "%s  %d of %d\n", one.Name, one.Cursor, all.Newest)
				}
			})
		}),
	}
	ack := &cobra.Command{
		Use: "ack GROUP NAME CURSOR", Short: "Say that everything up to a cursor is done", Args: cobra.ExactArgs(3),
		Long: `Say that everything up to a cursor is done. A cursor never goes back: one that is further
already stays. A name that is new begins there, so 0 is before the first line.
`,
		Example: "  pandanode cursor ack tea bot 17",
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			to, err := strconv.ParseUint(args[2], 10, 64)
			if err != nil {
				return api.Errorf(api.CodeInvalid, "%q is no cursor: give the number that a line of tail has", args[2])
			}
			return a.showCursor(c.Acknowledge(ctx, api.AcknowledgeRequest{Group: args[0], Name: args[1], Cursor: to}))
		}),
	}
	remove := &cobra.Command{
		Use: "rm GROUP NAME", Short: "Remove a cursor", Args: cobra.ExactArgs(2),
		Example: "  pandanode cursor rm tea bot",
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			return a.showCursor(c.RemoveCursor(ctx, api.CursorRequest{Group: args[0], Name: args[1]}))
		}),
	}
	cmd.AddCommand(list, ack, remove)
	return cmd
}

func (a *app) showCursor(c api.DurableCursor, err error) error {
	if err != nil {
		return err
	}
	return a.show(c, func() { fmt.Fprintf(a.out, "%s  %d\n", c.Name, c.Cursor) })
}
