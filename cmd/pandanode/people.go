package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

const personHelp = `
A USER is anybody whom a group of this node knows, and is named by its ID, by 16 or more of its
first characters, or by a name that only one has.
`

// peopleCmds are the commands about other users: all that they keep stays on this device.
func (a *app) peopleCmds() []*cobra.Command {
	return []*cobra.Command{a.peopleCmd(), a.verifyCmd(), a.unverifyCmd(), a.petnameCmd(), a.blockCmd(true), a.blockCmd(false)}
}

func (a *app) peopleCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "people",
		Short: "List whom you have verified, named or blocked",
		Long: `List the users whom you have verified, whom you call by a petname, or whom you have blocked. It
stays on this device and in its backups: nobody is told.
`,
		Args: cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			all, err := c.People(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return list(a, all.People, "USER NAME OWN-NAME STATE", func(p api.Person) []string {
				return []string{api.Short(p.User), markedPerson(p), p.OwnName, personState(p)}
			})
		}),
	}
}

func markedPerson(p api.Person) string {
	name := p.Name
	if p.Verified {
		name = api.Mark + " " + name
	}
	if p.Doubt != "" {
		name += " (" + p.Doubt + ")"
	}
	return name
}

func personState(p api.Person) string {
	var all []string
	if p.Verified {
		all = append(all, "verified "+when(p.When))
	}
	if len(p.New) > 0 {
		all = append(all, "with a new device since then")
	}
	if p.Blocked {
		all = append(all, "blocked")
	}
	return strings.Join(all, ", ")
}

func (a *app) verifyCmd() *cobra.Command {
	var code bool
	var confirm string
	cmd := &cobra.Command{
		Use:   "verify USER",
		Short: "See that a user is who you think, and mark it as verified",
		Long: `Show what you and a user compare to see that nobody is between you: 60 digits, to be read side
by side, and six words, for a call where you know the voice. Both are the same on both sides.
--qr also draws a code for the other side to scan.

When they are the same, --confirm takes what the other side shows, and marks the user as
verified: the digits, the words, or the text of the scanned code ("-" reads it from stdin).
If it is not what this device shows, the exit code is 10, and nobody is marked.

A user who was verified has a ` + api.Mark + ` wherever its name is shown. It is the user that is verified, with
all its devices. A device that it gets later is said by "status" and "group members"; verify
again, and it counts as seen. Whoever else has the name, or one that looks like it, is shown
as NOT the one you verified.
` + personHelp,
		Example: "  pandanode verify ben --qr\n  pandanode verify ben --confirm \"hedge piano ...\"\n  pandanode verify ben --confirm - < scanned",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if !a.flags.Changed("confirm") {
				p, err := c.Person(ctx, api.PersonRequest{User: args[0]})
				if err != nil {
					return err
				}
				if err := a.show(p, func() { a.toCompare(p) }); err != nil || !code {
					return err
				}
				return a.showQR(p.Code)
			}
			if confirm == "-" {
				b, err := io.ReadAll(io.LimitReader(a.stdin(), maxText))
				if err != nil {
					return fmt.Errorf("reading stdin: %w", err)
				}
				confirm = string(b)
			}
			if blank(confirm) {
				return api.Errorf(api.CodeInvalid, "--confirm: the words, the digits or the text of the code are needed, as the other side shows them")
			}
			p, err := c.Verify(ctx, api.VerifyRequest{User: args[0], Shown: confirm})
			if err != nil {
				return err
			}
			return a.show(p, func() { fmt.Fprintf(a.out, "%s is verified\n", clean(markedPerson(p))) })
		}),
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "what the other side shows: digits, words or the text of the code; - reads it from stdin")
	cmd.Flags().BoolVar(&code, "qr", false, "also draw the code for the other side to scan, on stderr")
	return cmd
}

// toCompare prints what two people compare.
func (a *app) toCompare(p api.Person) {
	groups := strings.Fields(p.Digits)
	rows := make([]string, 0, 3)
	for i := 0; i+4 <= len(groups); i += 4 {
		rows = append(rows, strings.Join(groups[i:i+4], " "))
	}
	state := personState(p)
	if state == "" {
		state = "not verified"
	}
	pairs := []string{"user", p.User, "name", markedPerson(p)}
	if p.Petname != "" {
		pairs = append(pairs, "own name", p.OwnName)
	}
	pairs = append(append(pairs, "state", state), column("new devices", p.New)...)
	pairs = append(append(pairs, column("digits", rows)...), "words", p.Words)
	a.facts(pairs...)
	if !p.Verified || len(p.New) > 0 {
		a.note("if the other side shows the same: %s", a.atHome("pandanode verify "+api.Short(p.User)+" --confirm \"the words it shows\""))
	}
}

func (a *app) unverifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "unverify USER",
		Short: "Take back that a user was verified",
		Long:  "Take back that a user was verified. Its name has no mark any more.\n" + personHelp,
		Args:  cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			p, err := c.Unverify(ctx, api.PersonRequest{User: args[0]})
			if err != nil {
				return err
			}
			return a.show(p, func() { fmt.Fprintf(a.out, "%s is not verified any more\n", clean(markedPerson(p))) })
		}),
	}
}

func (a *app) petnameCmd() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "petname USER NAME | petname USER --remove",
		Short: "Call a user by a name of your own",
		Long: `Call a user by a name of your own, in place of the one that it gives itself, wherever it is
shown on this device. The name never travels: nobody else is told. Both names find the user.
` + personHelp,
		Example: "  pandanode petname ben \"Ben from work\"\n  pandanode petname \"Ben from work\" --remove",
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			name := ""
			switch {
			case remove == (len(args) == 2):
				return api.Errorf(api.CodeInvalid, "give a name, or --remove")
			case !remove && args[1] == "":
				return api.Errorf(api.CodeInvalid, "the petname is empty").WithHint("pandanode petname USER --remove takes one away")
			case !remove:
				name = args[1]
			}
			p, err := c.SetPerson(ctx, api.SetPersonRequest{User: args[0], Petname: &name})
			if err != nil {
				return err
			}
			return a.show(p, func() {
				fmt.Fprintf(a.out, "%s is called %s here\n", api.Short(p.User), clean(markedPerson(p)))
			})
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "show the name again that it gives itself")
	return cmd
}

func (a *app) blockCmd(block bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "block USER",
		Short: "Hide what a user writes",
		Long: `Hide what a user writes, in all groups: its messages, reactions and files are not shown, not
counted as unread, not found and not fetched. The user is not told, and stays in the group;
others see all as before, and this node goes on to pass on what the group owes them. "unblock"
shows everything again.
` + personHelp,
		Args: cobra.ExactArgs(1),
	}
	if !block {
		cmd.Use, cmd.Short = "unblock USER", "Show again what a user writes"
		cmd.Long = "Show again what a user wrote and writes, with what came meanwhile.\n" + personHelp
	}
	cmd.RunE = a.asks(func(ctx context.Context, c *api.Client, args []string) error {
		p, err := c.SetPerson(ctx, api.SetPersonRequest{User: args[0], Blocked: &block})
		if err != nil {
			return err
		}
		return a.show(p, func() {
			what := "is blocked: what it writes is hidden here"
			if !block {
				what = "is not blocked: what it wrote is shown again"
			}
			fmt.Fprintf(a.out, "%s %s\n", clean(markedPerson(p)), what)
		})
	})
	return cmd
}
