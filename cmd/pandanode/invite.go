package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// linkPrefix is the beginning of every invite link (docs/WIRE.md).
const linkPrefix = "pandanode:invite/"

// maxLink is more than any link has, in bytes.
const maxLink = 32 << 10

// lifetime is a flag for a length of time: a Go duration, a number of days, or never.
type lifetime time.Duration

func (l *lifetime) String() string {
	switch d := time.Duration(*l); {
	case d == 0:
		return "never"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	default:
		return d.String()
	}
}

func (l *lifetime) Set(s string) error {
	if s == "never" {
		*l = 0
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			*l = lifetime(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither a time such as 30m, 12h or 7d, nor never", s)
	}
	*l = lifetime(d)
	return nil
}

func (l *lifetime) Type() string { return "time" }

func (a *app) inviteCmd() *cobra.Command {
	var r api.CreateInviteRequest
	var code bool
	expires := lifetime(7 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "invite GROUP",
		Short: "Give out an invite link",
		Long: `Give out an invite, and print its link. Only owners and admins may do so, and nobody can
give a role above their own.

The link is a secret: anybody who has it can join with it, as often and as long as the
invite allows, so pass it on as you would a password. It is shown once and not kept. Neither
you nor an admin needs to be online: any member who may write lets the bearer in. The
group's log shows that there is an invite and who came by it, but nobody can join with that.
Members that reach each other count the uses together. In two halves of a cut network each
half can let in the last one: with --uses 1, pass the link on to one person alone, and see
with "group members" who came.

The link of a public group has at most 300 bytes, so that --qr fits on a terminal. Whoever
joins by it finds the group's record by the network, or at you while your node runs. With
--whole the link holds all, and is long, as that of a private group always is.`,
		Example: "  pandanode group invite tea > link\n  pandanode group invite tea --expires 12h --uses 1 --role read-only\n" +
			"  pandanode group invite tea --uses 1 --qr",
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r.Group, r.Expires = args[0], api.Duration(expires)
			if err := checkRole(r.Role); err != nil {
				return err
			}
			i, err := c.CreateInvite(ctx, r)
			if err != nil {
				return err
			}
			if code {
				if err := a.showQR(i.Link); err != nil {
					return err
				}
			}
			return a.show(i, func() {
				if r.Uses > 0 {
					a.note("members who are cut off from each other can each let in the last one")
				}
				a.note("invite %s lets in %s: whoever has this link is one of them", api.Short(i.ID), terms(i))
				a.note("take it back with: %s", a.atHome(fmt.Sprintf("pandanode group revoke-invite %s %s", word(args[0]), api.Short(i.ID))))
				fmt.Fprintln(a.out, i.Link)
			})
		}),
	}
	cmd.Flags().BoolVar(&r.Whole, "whole", false, "have the link hold all that a joiner needs; it is long then")
	cmd.Flags().BoolVar(&code, "qr", false, "also draw the link as a QR code, on stderr")
	cmd.Flags().Var(&expires, "expires", "how long it is valid: a time such as 30m, 12h or 7d, or never")
	cmd.Flags().Uint64Var(&r.Uses, "uses", 0, "how many users it lets in; 0: any number")
	cmd.Flags().StringVar(&r.Role, "role", "member", "role of the users it lets in: owner, admin, member or read-only")
	return cmd
}

var roles = []string{"owner", "admin", "member", "read-only"}

func checkRole(role string) error {
	if !slices.Contains(roles, role) {
		return api.Errorf(api.CodeInvalid, "the role must be owner, admin, member or read-only, not %q", role)
	}
	return nil
}

// terms describes for how many users and for how long an invite is valid.
func terms(i api.Invite) string {
	often, long := "any number of people", "without an end"
	switch {
	case i.Uses == 1:
		often = "one person"
	case i.Uses > 1:
		often = fmt.Sprintf("%d people", i.Uses)
	}
	if !i.Expires.IsZero() {
		long = "until " + when(i.Expires)
	}
	return fmt.Sprintf("%s as %s, %s", often, i.Role, long)
}

// word quotes an argument that a shell would split or expand.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (a *app) invitesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "invites GROUP",
		Short: "List the invites of a group",
		Long: `List the invites in the group's log, with the number of their uses. Their links are secrets
that no node keeps.
` + namingHelp,
		Example: "  pandanode group invites tea\n  pandanode group invites tea --json | jq -r 'select(.valid).id'",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			all, err := c.Invites(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			names, err := a.members(ctx, c, args[0])
			if err != nil {
				return err
			}
			return list(a, all.Invites, "INVITE BY ROLE USED EXPIRES STATE", func(i api.Invite) []string {
				used, state := fmt.Sprint(i.Used), "valid"
				if i.Uses > 0 {
					used = fmt.Sprintf("%d of %d", i.Used, i.Uses)
				}
				if !i.Valid {
					state = i.Void
				}
				expires := "never"
				if !i.Expires.IsZero() {
					expires = when(i.Expires)
				}
				return []string{api.Short(i.ID), label(names, i.By, i.ByName), i.Role, used, expires, state}
			})
		}),
	}
}

func (a *app) revokeInviteCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke-invite GROUP INVITE",
		Short: "Take an invite back",
		Long: `Take an invite back: its link lets nobody in any more. Users who came by it stay. Members
that have not heard of this yet, because the network is cut, may still let somebody in.
INVITE is an ID as "group invites" lists them, or its first characters (16 or more).
` + namingHelp,
		Example: "  pandanode group revoke-invite tea c7x2mq5wlcb4gd3a",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			did, err := c.RevokeInvite(ctx, api.InviteRequest{Group: args[0], Invite: args[1]})
			if err != nil {
				return err
			}
			return a.changed(did)
		}),
	}
}

// members returns the names in a group, for a table; JSON has none.
func (a *app) members(ctx context.Context, c *api.Client, group string) (*api.Names, error) {
	if a.json {
		return api.NamesOf(), nil
	}
	m, err := c.Members(ctx, api.GroupRequest{Group: group})
	return namesOf(m), err
}

func (a *app) requestsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "requests GROUP",
		Short: "List who asks to be let in",
		Long: `List the users who ask to be let into a group with the policy request. Any member that is
asked writes the request into the group's log. STATE is waiting, denied, or lapsed (nobody
answered within two weeks). Anybody can use any name: compare the USER with the one that
"pandanode id" shows there.
` + namingHelp,
		Example: "  pandanode group requests tea",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			all, err := c.Requests(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			names, err := a.members(ctx, c, args[0])
			if err != nil {
				return err
			}
			for _, r := range all.Requests {
				names.Add(api.Candidate{ID: r.User, Name: r.Name})
			}
			return list(a, all.Requests, "USER NAME ASKED STATE", func(r api.Request) []string {
				state := string(r.State)
				if r.Removed {
					state += ", was removed before"
				}
				return []string{api.Short(r.User), doubted(names, r.User, r.Name), when(r.Asked), state}
			})
		}),
	}
}

const askerHelp = `USER is a full ID, its first characters (16 or more), or a name that only one request has;
"group requests" lists them.
`

func (a *app) approveCmd() *cobra.Command {
	role := "member"
	cmd := &cobra.Command{
		Use:     "approve GROUP USER",
		Short:   "Let in a user who asks",
		Long:    "Let in a user who asks, even one who was denied before. Only owners and admins may do so.\n\n" + askerHelp + namingHelp,
		Example: "  pandanode group approve tea ben\n  pandanode group approve tea m3tpfkwmsd --role read-only",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if err := checkRole(role); err != nil {
				return err
			}
			did, err := c.Approve(ctx, api.ApproveRequest{Group: args[0], User: args[1], Role: role})
			if err != nil {
				return err
			}
			return a.changed(did)
		}),
	}
	cmd.Flags().StringVar(&role, "role", role, "what the user may do: owner, admin, member or read-only")
	return cmd
}

func (a *app) denyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "deny GROUP USER",
		Short: "Turn down a user who asks",
		Long: `Turn down a user who asks. The user is told so, and cannot ask again for a week. Only owners
and admins may do so.

` + askerHelp + namingHelp,
		Example: "  pandanode group deny tea m3tpfkwmsd",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			did, err := c.Deny(ctx, api.UserRequest{Group: args[0], User: args[1]})
			if err != nil {
				return err
			}
			return a.changed(did)
		}),
	}
}

func (a *app) roleCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "role GROUP USER owner|admin|member|read-only",
		Short: "Change what a member may do",
		Long: `Change the role of a member. Only owners may do so, and a group keeps its last owner.

  owner      all of it
  admin      invite, approve, deny, remove members, change the profile
  member     write, and let in those who may come in
  read-only  read

USER is a full ID, its first characters (16 or more), or a name that only one member has.
` + namingHelp,
		Example: "  pandanode group role tea ben admin",
		Args:    cobra.ExactArgs(3),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if err := checkRole(args[2]); err != nil {
				return err
			}
			did, err := c.SetRole(ctx, api.RoleRequest{Group: args[0], User: args[1], Role: args[2]})
			if err != nil {
				return err
			}
			return a.changed(did)
		}),
	}
}

// readLink reads the invite link from a file, or from stdin for "-".
func (a *app) readLink(file string) (string, error) {
	in := a.stdin()
	if file != "-" {
		f, err := os.Open(filepath.Clean(file))
		if err != nil {
			return "", api.Errorf(api.CodeInvalid, "reading the invite link: %v", err)
		}
		defer f.Close()
		in = f
	} else if isTerminal(a.in) {
		a.note("Paste the invite link and press Enter:")
		line, err := bufio.NewReader(in).ReadString('\n')
		if api.CodeOf(err) == api.CodeInterrupted {
			return "", err
		}
		if err != nil && line == "" {
			return "", api.Errorf(api.CodeInvalid, "no invite link was given")
		}
		return strings.TrimSpace(line), nil
	}
	b, err := io.ReadAll(io.LimitReader(in, maxLink))
	if api.CodeOf(err) == api.CodeInterrupted {
		return "", err
	}
	if err != nil {
		return "", api.Errorf(api.CodeInvalid, "reading the invite link: %v", err)
	}
	link := strings.TrimSpace(string(b))
	if link == "" {
		return "", api.Errorf(api.CodeInvalid, "the input has no invite link")
	}
	return link, nil
}

// linkAsArgument says why a link is not taken from the command line.
func linkAsArgument() error {
	return api.Errorf(api.CodeInvalid, "an invite link is a secret, and arguments can be seen by other users of this machine and stay in the shell's history").
		WithHint("pandanode group join - reads the link from stdin, and --link-file FILE from a file")
}
