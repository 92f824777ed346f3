package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) mailboxCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mailbox",
		Short: "Choose the mailboxes of a group",
		Long: `Choose the mailboxes of a group. A mailbox is a node that runs with --mailbox: it keeps the
group's envelopes for members who are never online together, and can open none of them.
An owner or admin says which ones the group uses, at most 4; every member learns it, and
nobody else. Whoever comes to know a mailbox gets by it what was written since, and some of
what was written before, as far as the mailbox's quota and lifetime go. Getting into a group
still takes a member who is online.
` + namingHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.mailboxListCmd(), a.mailboxAddCmd(), a.mailboxRemoveCmd(), a.mailboxFindCmd())
	return cmd
}

func (a *app) mailboxListCmd() *cobra.Command {
	var (
		wait    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "list GROUP",
		Short: "List the mailboxes of a group",
		Long: `List the mailboxes of a group: when the mailbox last answered this node, how many of its
envelopes the mailbox has not taken, and what went wrong if anything did. With --wait it answers when each
mailbox has been reached and has taken all, so that this node can go; when --timeout is over
first, the exit code is 7.
` + namingHelp,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r := api.MailboxesRequest{Group: args[0], Timeout: api.Duration(timeout)}
			if wait {
				r.Wait = "taken"
			}
			m, err := c.Mailboxes(ctx, r)
			if err != nil {
				return err
			}
			return list(a, m.Mailboxes, "PEER REACHED WAITING STATE", func(m api.GroupMailbox) []string {
				reached, state := when(m.Reached), m.Error
				if m.Reached.IsZero() {
					reached = "never"
				}
				if state == "" {
					state = m.Health
				}
				return []string{m.Peer, reached, fmt.Sprint(m.Waiting), state}
			})
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until each mailbox has taken all")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: for ever")
	return cmd
}

func (a *app) mailboxAddCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "add GROUP PEER-or-ADDRESS",
		Short: "Have a group use a mailbox",
		Long: `Have a group use a mailbox, named by its peer ID or by an address that ends in one, such as
"pandanode status" shows there; "group mailbox find" looks for some. It is asked at once, and
what it does not answer is told; the group uses it all the same.
` + namingHelp,
		Example: "  pandanode group mailbox add \"tea house\" /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW...",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			m, err := c.AddMailbox(ctx, api.AddMailboxRequest{Group: args[0], Mailbox: args[1]})
			if err != nil {
				return err
			}
			return a.show(m, func() {
				fmt.Fprintf(a.out, "the group uses the mailbox %s from now on\n", m.Peer)
				if m.Warning != "" {
					a.note("warning: %s", m.Warning)
				}
			})
		}),
	}
}

func (a *app) mailboxRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove GROUP PEER",
		Short: "Have a group use a mailbox no more",
		Long: `Have a group use a mailbox no more. What it keeps stays there until it is too old. "group mailbox
list" shows its peer ID.
` + namingHelp,
		Args: cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if _, err := c.RemoveMailbox(ctx, api.MailboxRequest{Group: args[0], Peer: args[1]}); err != nil {
				return err
			}
			return a.show(api.AddedMailbox{Peer: args[1]}, func() { fmt.Fprintf(a.out, "the group uses the mailbox %s no more\n", args[1]) })
		}),
	}
}

func (a *app) mailboxFindCmd() *cobra.Command {
	var r api.FindMailboxesRequest
	timeout := 10 * time.Second
	cmd := &cobra.Command{
		Use:   "find",
		Short: "Look for mailboxes in the DHT",
		Long: `Look for nodes that say in the DHT that they are mailboxes. Each may have an operator who
opens boxes only for some: "group mailbox list" shows whether one takes what it is given.
Nothing found is exit code 4.`,
		Args: cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			var found []api.FoundMailbox
			r.Timeout = api.Duration(timeout)
			err := c.FindMailboxes(ctx, r, func(m api.FoundMailbox) error {
				found = append(found, m)
				if a.json {
					return a.line(m)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return api.Errorf(api.CodeNotFound, "no mailbox was found").WithHint("pandanode run --mailbox makes a node one")
			}
			if a.json {
				return nil
			}
			return list(a, found, "PEER ADDRESS", func(m api.FoundMailbox) []string { return []string{m.Peer, strings.Join(m.Addrs, ", ")} })
		}),
	}
	cmd.Flags().IntVar(&r.Limit, "limit", 20, "stop after so many")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to look")
	return cmd
}
