package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) logCmd() *cobra.Command {
	var incidents bool
	cmd := &cobra.Command{
		Use:   "log GROUP",
		Short: "Show who changed what in a group",
		Long: `Show the operations of a group, oldest first: who did what, when by the author's clock, and
the hash that names the operation. Every member has the same list. An operation that does
not count says why: its author was not allowed to do it, or was removed at the same time.

With --incidents it shows events that only this device saw: evidence that a device signed
two entries with one number, entries and commits of members that were refused, removals that
do not stand, this device's own removal, a store that went back in time; and, by reason, how
often it refused input of others.
` + namingHelp,
		Example: "  pandanode group log tea\n  pandanode group log tea --incidents\n  pandanode group log tea --json | jq -r 'select(.kind == \"remove\") | .hash'",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if incidents {
				return a.showIncidents(ctx, c, args[0])
			}
			log, err := c.Log(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return list(a, log.Operations, "WHEN WHO WHAT HASH", func(o api.Operation) []string {
				what := deed(o)
				if o.Void != "" {
					what += fmt.Sprintf(" (does not count: %s)", o.Void)
				}
				return []string{when(o.At), o.Name + "/" + api.Short(o.User), what, api.Short(o.Hash)}
			})
		}),
	}
	cmd.Flags().BoolVar(&incidents, "incidents", false, "show what this device alone saw: evidence, refusals")
	return cmd
}

func (a *app) showIncidents(ctx context.Context, c *api.Client, group string) error {
	seen, err := c.Incidents(ctx, api.GroupRequest{Group: group})
	if err != nil {
		return err
	}
	if len(seen.Incidents) > 0 || len(seen.Refusals) == 0 {
		if err := list(a, seen.Incidents, "WHEN WHAT USER DEVICE BY DETAIL", func(e api.Event) []string {
			return []string{when(e.At), string(e.Kind), api.Short(e.User), api.Short(e.Device), api.Short(e.By), e.Detail}
		}); err != nil {
			return err
		}
	}
	if len(seen.Refusals) == 0 {
		return nil
	}
	if len(seen.Incidents) > 0 && !a.json {
		fmt.Fprintln(a.out)
	}
	return list(a, seen.Refusals, "REFUSED TIMES FROM LAST BY DETAIL", func(r api.Refused) []string {
		return []string{string(r.Reason), fmt.Sprint(r.Count), r.Source, when(r.Last), r.From, r.Detail}
	})
}

// deed describes an operation.
func deed(o api.Operation) string {
	whom := o.Called
	if o.Subject != "" {
		whom += "/" + api.Short(o.Subject)
	}
	switch o.Kind {
	case "add":
		by := map[string]string{"invite": ", by invite " + api.Short(o.Invite), "open": ", through the open door"}[o.Why]
		return fmt.Sprintf("let in %s as %s%s", whom, o.Role, by)
	case "remove":
		return "removed " + whom
	case "leave":
		return "left"
	case "role":
		return fmt.Sprintf("made %s %s", whom, o.Role)
	case "profile":
		return "set the " + o.Detail
	case "setting":
		return "set the setting " + o.Detail
	case "device.add":
		return fmt.Sprintf("added the device %s/%s", o.Called, api.Short(o.About))
	case "device.revoke":
		return fmt.Sprintf("revoked the device %s/%s", o.Called, api.Short(o.About))
	case "reboot":
		return "made the keys"
	case "invite":
		return "gave out invite " + api.Short(o.Invite)
	case "invite.revoke":
		return "took back invite " + api.Short(o.Invite)
	case "request":
		return "was asked by " + whom
	case "deny":
		return "turned down " + whom
	}
	return o.Kind
}

func (a *app) groupStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status GROUP",
		Short: "Show the state of a group in full",
		Long: `Show all that this device knows of a group's state: its epoch and pending work, the branches
where members changed the keys at the same time and the votes for each, and how far every
device is.

Two members whose epoch authenticators are equal are in one epoch with the same members and
keys: compare them over another channel to be sure.
` + namingHelp,
		Example: "  pandanode group status tea\n  pandanode group status tea --json | jq .epoch_authenticator",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			s, err := c.GroupStatus(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.line(s)
			}
			return a.printGroupStatus(s)
		}),
	}
}

func (a *app) printGroupStatus(s api.GroupStatus) error {
	due := "nothing"
	if s.Adds+s.Removes > 0 {
		due = fmt.Sprintf("a commit that adds %s and removes %d", english.Plural(s.Adds, "device", ""), s.Removes)
		if !s.HealAt.IsZero() {
			due += ", by this device at " + when(s.HealAt) + " if nobody else makes it"
		}
	}
	if !s.SettleAt.IsZero() {
		due += "; a fork is judged at " + when(s.SettleAt)
	}
	gate := ""
	if s.Gate {
		gate = "closed: somebody who was removed is in the tree of keys, so nobody seals"
	}
	rejoin := ""
	if s.Rejoining {
		rejoin = "this device has asked to be added again"
	}
	asks := ""
	if s.Requests > 0 {
		asks = fmt.Sprintf("%d wait for an admin: pandanode group requests", s.Requests)
	}
	a.facts("group", fmt.Sprintf("%s (%s)", s.Name, api.Short(s.ID)), "state", state(s.Group), "role", s.Role, "policy", string(s.Policy),
		"members", fmt.Sprintf("%d with %d devices", s.Members, len(s.Devices)), "epoch", fmt.Sprintf("%d (%s)", s.Epoch, api.Short(s.EpochID)),
		"authenticator", s.Authenticator, "due", due, "gate", gate, "rejoin", rejoin, "requests", asks,
		"to send", english.Plural(len(s.Unsealed), "own message", "")+" not sealed yet",
		"to read", fmt.Sprintf("%s, %s for keys", english.Plural(len(s.Unread), "message", ""), english.Plural(s.Waiting, "seal waits", "seals wait")),
		"parked", fmt.Sprintf("%s, for %d not here", english.Plural(s.Parked, "entry", ""), s.Lacking),
		"log", english.Plural(s.Entries, "entry", ""), "transport key", fmt.Sprintf("%s, one of %d", s.SendKey, s.Keys))
	names := map[string]string{}
	for _, d := range s.Devices {
		if old, ok := names[d.User]; !ok || d.Name < old {
			names[d.User] = d.Name
		}
	}
	view := api.NamesOf()
	for user, name := range names {
		view.Add(api.Candidate{ID: user, Name: name})
	}
	for _, x := range s.Suggest {
		why := fmt.Sprintf("%s of its making %s invalid to members", english.Plural(x.Broken, "epoch", ""), english.PluralWord(x.Broken, "was", "were"))
		if !x.Silent.IsZero() {
			why = "nothing was heard of it since " + when(x.Silent) + ", and keys are kept until it comes back"
		}
		fmt.Fprintf(a.out, "think of removing %s/%s: %s (%s)\n", names[x.User], api.Short(x.User), why, a.atHome(fmt.Sprintf("pandanode group remove %s %s", api.Short(s.ID), api.Short(x.User))))
	}
	fmt.Fprintln(a.out)
	if err := list(a, s.Branches, "BRANCH EPOCH SINCE LENGTH VOTES STATE", func(b api.Branch) []string {
		var voters, states []string
		for _, v := range b.Voters {
			voters = append(voters, label(view, v, names[v]))
		}
		for _, x := range []struct {
			is   bool
			what string
		}{{b.Chosen, "chosen"}, {b.Here, "here"}, {!b.Held, "its keys are not here"}, {b.Reason != "", b.Reason}} {
			if x.is {
				states = append(states, x.what)
			}
		}
		return []string{api.Short(b.Tip), fmt.Sprint(b.Epoch), api.Short(b.From), fmt.Sprint(b.Length), strings.Join(voters, ", "), strings.Join(states, ", ")}
	}); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return list(a, s.Devices, "DEVICE NAME LAST-ENTRY VOTE-EPOCH LACKS STATE", func(d api.GroupDevice) []string {
		lacks, name := "?", d.Name
		if d.Heard {
			lacks = fmt.Sprintf("%s, %s", english.Plural(d.Lacks, "entry", ""), english.Plural(d.Gaps, "message", ""))
		}
		if d.Self {
			lacks, name = "0 entries, "+english.Plural(len(s.Unread), "message", ""), name+" (this)"
		}
		vote := fmt.Sprint(d.Epoch)
		if d.Vote == "" {
			vote = ""
		} else if !d.Chosen {
			vote += " on another branch"
		}
		var states []string
		for _, x := range []struct {
			is   bool
			what string
		}{{!d.InTree, "not in the tree of keys yet"}, {d.Rejoins, "asks to be added again"}, {d.Refused > 0, "refuses " + english.Plural(d.Refused, "epoch", "")}, {d.Unheld > 0, "cannot get " + english.Plural(d.Unheld, "epoch", "")}} {
			if x.is {
				states = append(states, x.what)
			}
		}
		return []string{api.Short(d.Device), name, when(d.Last), vote, lacks, strings.Join(states, ", ")}
	})
}

func (a *app) rebootCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reboot GROUP",
		Short: "Give a group fresh keys, when nobody can go on with the old ones",
		Long: `Give the group fresh MLS keys. Members, roles and messages stay; the other devices ask to be
added to the new keys, and are, by themselves. This is a last resort for owners and admins,
if "group status" shows that the members cannot get to one epoch: groups heal from every
foreseen fault without it.
` + namingHelp,
		Example: "  pandanode group reboot tea",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r, err := c.Reboot(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(r, func() {
				fmt.Fprintln(a.out, "the group has fresh keys; the other devices are added to them as they come")
			})
		}),
	}
}

func (a *app) healCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "heal GROUP",
		Short: "Do at once what a group would do by itself",
		Long: `Sync with every connected member, and do at once what this device would do later by itself:
commit pending changes of the members, seal messages again that others cannot read, ask for
messages that are missing here. Groups heal without this command; it saves waiting. It
prints what it did, or why there was nothing to do. If no member is connected the exit code
is 8.
` + namingHelp,
		Example: "  pandanode group heal tea",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			h, err := c.Heal(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if err := a.show(h, func() {
				switch {
				case len(h.Synced)+len(h.Failed) == 0:
					fmt.Fprintln(a.out, "no sync: no member is connected")
				default:
					fmt.Fprintf(a.out, "synced with %s: %s new\n", english.Plural(len(h.Synced), "member", ""), english.Plural(h.Found, "entry is", "entries are"))
				}
				for _, p := range slices.Sorted(maps.Keys(h.Failed)) {
					fmt.Fprintf(a.out, "no sync with %s: %s\n", clean(p), clean(h.Failed[p]))
				}
				for _, did := range h.Did {
					fmt.Fprintln(a.out, clean(did))
				}
			}); err != nil {
				return err
			}
			if h.Alone {
				return api.Errorf(api.CodeNoPeers, "no member of the group is connected, so there was nobody to ask").WithHint("pandanode doctor")
			}
			return nil
		}),
	}
}

func (a *app) whyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "why GROUP MESSAGE|FILE|join",
		Short: "Explain a message, a file or a join that is stuck",
		Long: `Explain why a message was not read, sent or delivered yet, why a file is not here, or why a join
is stuck: what this node knows, what happens next, and what helps.

MESSAGE is an ID as "send" prints it and "tail --ids" shows it, or its first characters (16 or
more). "last" is the newest message that was shown, "mine" your newest own.

FILE is an ID as "file list" prints it, its first characters, or the name of a file of the group.
It says what the file is, which of the connected members have how much of it, what is missing
here, and what is tried next. "why FILE" explains a file of any group.
` + namingHelp,
		Example: "  pandanode why tea join\n  pandanode why tea rdvbok2b6yzqq3ne\n  pandanode why holiday.mp4",
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if len(args) == 1 {
				f, err := c.File(ctx, api.FileRequest{File: args[0]})
				if err != nil {
					return err
				}
				if len(f.Messages) == 0 {
					return api.Errorf(api.CodeNotFound, "no message names the file yet: %s", args[0])
				}
				args = []string{f.Messages[0].Group, f.ID}
			}
			e, err := c.Why(ctx, api.WhyRequest{Group: args[0], Subject: args[1]})
			if err != nil {
				return err
			}
			return a.show(e, func() {
				what := string(e.Kind)
				if e.Kind != api.WhyJoin {
					what += " " + api.Short(e.Subject)
				}
				fmt.Fprintf(a.out, "%s: %s\n", what, a.paint(a.out, bold, clean(e.State)))
				for _, f := range e.Facts {
					fmt.Fprintf(a.out, "  %s\n", clean(f))
				}
				for _, n := range e.Next {
					fmt.Fprintf(a.out, "  next: %s\n", clean(a.atHome(n)))
				}
			})
		}),
	}
}
