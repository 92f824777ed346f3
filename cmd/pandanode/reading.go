package main

import (
	"context"
	"math"
	"strings"

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
				t.names = namesOf(m)
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

func (a *app) muteCmd() *cobra.Command {
	return a.localCmd("mute", "Say that a group is not to disturb", "what it mentions you in still does", func(r *api.LocalRequest, on bool) { r.Muted = &on })
}

func (a *app) pinCmd() *cobra.Command {
	return a.localCmd("pin", "Have a group come first in lists", "it comes first in lists", func(r *api.LocalRequest, on bool) { r.Pinned = &on })
}

// localCmd makes a command that sets something for this device alone, or takes it back.
func (a *app) localCmd(name, short, what string, set func(r *api.LocalRequest, on bool)) *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use:   name + " GROUP",
		Short: short,
		Long:  short + ": " + what + ". It stays on this device, and nobody is told. With --off it is taken back.\n" + namingHelp,
		Args:  cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r := api.LocalRequest{Group: args[0]}
			set(&r, !off)
			l, err := c.SetLocal(ctx, r)
			if err != nil {
				return err
			}
			return a.show(l, func() {})
		}),
	}
	cmd.Flags().BoolVar(&off, "off", false, "take it back")
	return cmd
}

func (a *app) searchCmd() *cobra.Command {
	var last lineCount
	cmd := &cobra.Command{
		Use:   "search WORDS | search GROUP WORDS...",
		Short: "Look for words in messages",
		Long: `Look for words in the messages of a group, or of all groups, as the messages are now; the newest
come first, group by group. Case and accents do not matter. A message has to have all the
words, each at least as the beginning of one of its own. Words in double quotes are found
whole, and in that order. What was deleted or has expired is not found.

It shows the newest 20 of a group; -n N shows N, -n 0 all.
` + namingHelp,
		Example: "  pandanode search kettle\n  pandanode search tea green tin\n  pandanode search tea '\"two tins\"' -n 0",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			var groups []string
			words := args
			if len(args) > 1 {
				groups, words = args[:1], args[1:]
			}
			from, err := a.tailedGroups(ctx, c, groups)
			if err != nil {
				return err
			}
			me, err := c.ID(ctx, api.Empty{})
			if err != nil {
				return err
			}
			limit := lastLines
			if last.given {
				limit = last.n
			}
			found := 0
			for _, g := range from {
				if m, err := c.Members(ctx, api.GroupRequest{Group: g.id}); err == nil {
					g.names = namesOf(m)
				}
				g.ids, g.picked = true, true
				n, err := a.searchIn(ctx, c, g, strings.Join(words, " "), limit, me.User, len(groups) == 0)
				if err != nil {
					return err
				}
				found += n
			}
			if found == 0 {
				return api.Errorf(api.CodeNotFound, "no message has these words")
			}
			return nil
		}),
	}
	cmd.Flags().VarP(&last, "lines", "n", "show this many of a group (default 20); 0: all")
	return cmd
}

// searchIn prints the messages of a group that have the words, and gives their number.
func (a *app) searchIn(ctx context.Context, c *api.Client, g *tailed, words string, limit int, me string, named bool) (found int, err error) {
	r := api.SearchRequest{Group: g.id, Words: words, Limit: limit}
	if limit == 0 {
		r.Limit = math.MaxInt32
	}
	err = c.Search(ctx, r, func(m api.Message) error {
		found++
		return a.printHappening(happened{g, api.Happening{Cursor: m.Cursor, Message: &m}}, me, named)
	})
	return found, err
}
