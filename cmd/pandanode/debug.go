package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// debugCmd is for tests and the curious. The help does not show it.
func (a *app) debugCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Look underneath", Hidden: true}
	cmd.AddCommand(a.decodeCmd(), a.encodeCmd())
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
		Long: `Hand an envelope (base64, on stdin) to a group as if it had come from the network, and print
the verdict. The exit code is 10 if it was refused.`,
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
		Use:   "entries GROUP",
		Short: "Print the genesis of a group, and its entries in causal order, in base64",
		Long: `Print the genesis of a group and its entries in causal order, as they were signed, one a
line in base64. All members share these. "debug decode" shows one of them as JSON.`,
		Example: "  pandanode debug entries tea | tail -1 | pandanode debug decode",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			return c.Entries(ctx, api.GroupRequest{Group: args[0]}, func(e api.Entry) error {
				if a.json {
					return a.line(e)
				}
				_, err := fmt.Fprintln(a.out, base64.StdEncoding.EncodeToString(append(e.Genesis, e.Entry...)))
				return err
			})
		}),
	}, a.eventsCmd())
	return cmd
}

func (a *app) eventsCmd() *cobra.Command {
	var past bool
	cmd := &cobra.Command{
		Use:   "events [GROUP]",
		Short: "Follow the events of the node, or of one group from its first",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			emit := func(e api.Event) error { return a.line(e) }
			var err error
			switch {
			case len(args) == 1:
				r := api.GroupEventsRequest{Group: args[0]}
				if past {
					g, err := c.Group(ctx, api.GroupRequest{Group: args[0]})
					if err != nil || g.Cursor == 0 {
						return err
					}
					r.Until = g.Cursor
				}
				err = c.GroupEvents(ctx, r, emit)
			case past:
				return api.Errorf(api.CodeInvalid, "--past: the events of the node are not kept; name a group")
			default:
				err = c.Events(ctx, api.EventsRequest{}, emit)
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				err = nil // ^C is how following ends
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&past, "past", false, "with a group: end after the newest event")
	return cmd
}

func (a *app) decodeCmd() *cobra.Command {
	var inHex bool
	cmd := &cobra.Command{
		Use:   "decode [TYPE]",
		Short: "Show an object of the wire (base64, on stdin) as JSON",
		Long: `Show an object of the wire (base64, on stdin) as JSON, with the objects inside of it. TYPE
can be left out if only one fits. Secrets are shown: those of invite links and of Welcomes.
"debug encode" makes the same bytes of the JSON again; fields that begin with "#" only
explain. It needs no node.`,
		Example: "  pandanode debug envelope tea rdvbok2b6yzqq3ne | pandanode debug decode",
		Args:    cobra.MaximumNArgs(1),
		RunE: does(func(_ context.Context, args []string) error {
			text, err := io.ReadAll(a.in)
			if err != nil {
				return fmt.Errorf("reading stdin: %w", err)
			}
			decode := base64.StdEncoding.DecodeString
			if inHex {
				decode = hex.DecodeString
			}
			b, err := decode(strings.Join(strings.Fields(string(text)), ""))
			if err != nil {
				return api.Errorf(api.CodeInvalid, "stdin: %v", err)
			}
			shown, err := showObject(strings.Join(args, ""), b)
			if err != nil {
				return explain(err)
			}
			var lines bytes.Buffer
			if err := json.Indent(&lines, shown, "", "  "); err != nil {
				return err
			}
			return a.show(json.RawMessage(shown), func() { fmt.Fprintln(a.out, lines.String()) })
		}),
	}
	cmd.Flags().BoolVar(&inHex, "hex", false, "stdin is in hex")
	return cmd
}

// showObject gives one object of the wire as JSON, secrets included; name is its type, or
// empty where only one fits.
func showObject(name string, b []byte) ([]byte, error) {
	if name == "" {
		names := wire.Recognise(b)
		switch len(names) {
		case 0:
			return nil, fmt.Errorf("%w: %d bytes are no object that this program knows; name its type to hear why: %s", wire.ErrMalformed, len(b), strings.Join(wire.Types(), ", "))
		case 1:
			name = names[0]
		default:
			e := api.Errorf(api.CodeAmbiguous, "the bytes can be of %d types: name one", len(names))
			for _, n := range names {
				e.Candidates = append(e.Candidates, api.Candidate{ID: n})
			}
			return nil, e
		}
	}
	return wire.ToJSON(name, b)
}

func (a *app) encodeCmd() *cobra.Command {
	var inHex bool
	cmd := &cobra.Command{
		Use:   "encode",
		Short: "Make the bytes of an object of the wire (JSON of \"debug decode\", on stdin)",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			text, err := io.ReadAll(a.in)
			if err != nil {
				return fmt.Errorf("reading stdin: %w", err)
			}
			b, err := wire.FromJSON(text)
			if err != nil {
				return explain(err)
			}
			out := base64.StdEncoding.EncodeToString(b)
			if inHex {
				out = hex.EncodeToString(b)
			}
			return a.show(struct {
				Bytes string `json:"bytes"`
			}{out}, func() { fmt.Fprintln(a.out, out) })
		}),
	}
	cmd.Flags().BoolVar(&inHex, "hex", false, "print hex in place of base64")
	return cmd
}
