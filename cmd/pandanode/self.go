package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// Here are the commands that show who this device and its user are, and change it.

func (a *app) idCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "id",
		Short: "Show who this node is",
		Long: `Show the IDs of this node: the user (the same on all devices of a person), the device, and
the libp2p peer ID.`,
		Example: "  pandanode id --json | jq -r .user",
		Args:    cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			id, err := c.ID(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return a.show(id, func() { a.facts("name", id.Name, "user", id.User, "device", id.Device, "peer", id.Peer) })
		}),
	}
}

func (a *app) nameCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "name NEW",
		Short: "Give this device another name",
		Long: `Give this device another name: one line of up to 64 bytes. A group knows a device by the
certificate with which it came in. So groups that are founded or joined from now on show the
new name, and earlier groups keep showing the old one.`,
		Example: "  pandanode name \"Anna's phone\"",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			groups, err := c.Groups(ctx, api.Empty{})
			if err != nil {
				return err
			}
			id, err := c.Rename(ctx, api.RenameRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(id, func() {
				fmt.Fprintf(a.out, "this device is called %q now, in groups that it founds or joins from now on\n", clean(id.Name))
				if n := len(groups.Groups); n > 0 {
					a.note("in the groups that are here already (%d) it keeps the name that it had when it came in", n)
				}
			})
		}),
	}
}

func (a *app) profileCmd() *cobra.Command {
	var name, about string
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Say who you are in all your groups, or show it",
		Long: `Show what you say of yourself, or with --name and --about change it: a name of up to 64 bytes,
which all members of your groups see in place of the name of your device, and a text about you
of up to 256 bytes. --name "" is the name of your device again. Groups that you join later get
it, too, and those who come in after you with the next message that you send. A petname that
somebody gives you stands before it, and anybody may use any name: see "verify".`,
		Example: "  pandanode profile --name \"Anna Kettle\" --about \"Tea, mostly green\"\n  pandanode profile",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
		var r api.UserProfileRequest
		if cmd.Flags().Changed("name") {
			r.Name = &name
		}
		if cmd.Flags().Changed("about") {
			r.About = &about
		}
		var p api.UserProfile
		var err error
		if r == (api.UserProfileRequest{}) {
			p, err = c.Profile(ctx, api.Empty{})
		} else {
			p, err = c.PutProfile(ctx, r)
		}
		if err != nil {
			return err
		}
		return a.show(p, func() {
			if p.Name == "" {
				fmt.Fprintln(a.out, "you have no profile: your groups show the name of your device")
				return
			}
			a.facts("name", p.Name, "about", p.About)
		})
	})
	cmd.Flags().StringVar(&name, "name", "", "the name that your groups show; \"\": that of the device")
	cmd.Flags().StringVar(&about, "about", "", "a text about you; \"\": none")
	return cmd
}
