package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) mailboxCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mailbox",
		Short: "Choose the mailboxes of a group",
		Long: `Choose the mailboxes of a group. A mailbox is a node that runs with --mailbox: it keeps the
group's envelopes, and its sealed files, for members who are never online together, and can
open none of them. An owner or admin chooses which mailboxes the group uses, at most 4.
Members learn of the choice, and nobody else. A device that learns of a mailbox gets from it
the messages that are written from then on, and earlier ones as far as the mailbox's quota and
lifetime allow. Joining a group still takes a member who is online.
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
		Long: `List the mailboxes of a group: when each last answered this node, how many envelopes and files
of this node it has not taken, and its last error. With --wait the command ends once each
mailbox was reached and has taken all envelopes, and the files that members who are away may
want, so that this node can stop. If --timeout is over first, the exit code is 7.
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
				if m.FilesWaiting > 0 {
					state += fmt.Sprintf("; %s %s%s", english.Plural(m.FilesWaiting, "file", ""), english.PluralWord(m.FilesWaiting, "waits", "wait"), because(m.FileError))
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
		Short: "Make a group use a mailbox",
		Long: `Make a group use a mailbox. Name it by its peer ID, or by an address that ends in one, as
"pandanode status" on the mailbox shows it; "group mailbox find" searches for mailboxes. The
node tries the mailbox at once and warns if it does not answer or opens no box; the group
uses it all the same.
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
		Short: "Make a group stop using a mailbox",
		Long: `Make a group stop using a mailbox. The envelopes in the mailbox stay there until they are
too old. "group mailbox list" shows the peer ID.
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
		Long: `Search the DHT for nodes that are mailboxes. The operator of a mailbox may open boxes only
for some peers: "group mailbox list" shows whether a mailbox takes envelopes. The exit code
is 4 if nothing was found.`,
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
	cmd.Flags().IntVar(&r.Limit, "limit", 20, "stop after this many")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to look")
	return cmd
}
