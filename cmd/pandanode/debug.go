package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// debugCmd is for tests and the curious: it is not shown in the help.
func (a *app) debugCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Look underneath", Hidden: true}
	cmd.AddCommand(&cobra.Command{
		Use:   "envelope GROUP MESSAGE",
		Short: "Print the envelope of a message, in base64",
		Args:  cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			e, err := c.MessageEnvelope(ctx, api.MessageEnvelopeRequest{Group: args[0], Message: args[1]})
			if err != nil {
				return err
			}
			return a.show(e, func() { fmt.Fprintln(a.out, base64.StdEncoding.EncodeToString(e.Envelope)) })
		}),
	}, &cobra.Command{
		Use:   "hand GROUP",
		Short: "Hand an envelope (base64, on stdin) to a group as if it had come from the network",
		Long: `Hand an envelope (base64, on stdin) to a group as if it had come from the network, and say
what became of it. A refusal is exit code 10.`,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			text, err := io.ReadAll(a.in)
			if err != nil {
				return fmt.Errorf("reading stdin: %w", err)
			}
			envelope, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				return api.Errorf(api.CodeInvalid, "stdin: %v", err)
			}
			r, err := c.Envelope(ctx, api.EnvelopeRequest{Group: args[0], Envelope: envelope})
			if err != nil {
				return err
			}
			if err := a.show(r, func() {
				a.facts("verdict", string(r.Verdict), "refusal", string(r.Refusal), "detail", r.Detail, "messages", strings.Join(r.Messages, " "), "new", fmt.Sprint(r.New))
			}); err != nil {
				return err
			}
			if r.Refusal != "" {
				return api.Errorf(api.CodeVerification, "the envelope was refused: %s: %s", r.Refusal, r.Detail)
			}
			return nil
		}),
	}, &cobra.Command{
		Use:   "events [GROUP]",
		Short: "Follow the events of the node, or of one group from its first",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			emit := func(e api.Event) error { return a.line(e) }
			var err error
			if len(args) == 1 {
				err = c.GroupEvents(ctx, api.GroupEventsRequest{Group: args[0]}, emit)
			} else {
				err = c.Events(ctx, api.EventsRequest{}, emit)
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				err = nil // ^C is how following ends
			}
			return err
		}),
	})
	return cmd
}
