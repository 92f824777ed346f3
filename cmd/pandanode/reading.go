package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) readCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "read GROUP [MESSAGE]",
		Short: "Show what is unread in a group, and mark it as read",
		Long: `Show what is unread in a group, and mark it as read. With a MESSAGE nothing is shown, and the
group is marked as read up to that one. A mark stays on this device and never goes back. What
comes late is unread, wherever its place among the others is; edits and reactions make
nothing unread.
` + messageHelp,
		Example: "  pandanode read tea\n  pandanode read tea last",
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if len(args) == 2 {
				return a.markRead(ctx, c, api.ReadRequest{Group: args[0], Message: args[1]})
			}
			g, err := c.Group(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			me, err := c.ID(ctx, api.Empty{})
			if err != nil {
				return err
			}
			t := &tailed{id: g.ID, name: g.Name, names: api.NamesOf()}
			if m, err := c.Members(ctx, api.GroupRequest{Group: g.ID}); err == nil { // a group that is still joined has none to tell of
				t.names = namesOf(m.Members)
			}
			if err := c.Timeline(ctx, api.TimelineRequest{Group: g.ID, Since: g.Read}, func(h api.Happening) error {
				if err := a.printHappening(happened{t, h}, me.User, false); err != nil {
					return err
				}
				t.cursor = h.Cursor // what was not printed stays unread
				return nil
			}); err != nil || t.cursor == 0 {
				return err
			}
			if a.json {
				_, err := c.Read(ctx, api.ReadRequest{Group: g.ID, Cursor: t.cursor})
				return err
			}
			return a.markRead(ctx, c, api.ReadRequest{Group: g.ID, Cursor: t.cursor})
		}),
	}
}

// markRead moves a read mark, and says what is still unread.
func (a *app) markRead(ctx context.Context, c *api.Client, r api.ReadRequest) error {
	mark, err := c.Read(ctx, r)
	if err != nil {
		return err
	}
	return a.show(mark, func() {
		if n := unread(api.Group{Unread: mark.Unread, Mentions: mark.Mentions}); n != "" {
			a.note("%s", n)
		}
	})
}
