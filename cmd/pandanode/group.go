package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

const namingHelp = `
A GROUP is named by its full ID, by 16 or more of its first characters, or by its name,
as long as only one group fits. Case does not matter.`

func (a *app) groupCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Create, find, join and look at groups",
		Long:  "Create, find, join and look at groups.\n" + namingHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.createCmd(), a.listCmd(), a.showCmd(), a.renameCmd(), a.describeCmd(), a.tagCmd(), a.setCmd(), a.muteCmd(), a.pinCmd(), a.findCmd(), a.joinCmd(), a.membersCmd(), a.leaveCmd(), a.forgetCmd(), a.removeCmd(),
		a.inviteCmd(), a.invitesCmd(), a.revokeInviteCmd(), a.requestsCmd(), a.approveCmd(), a.denyCmd(), a.roleCmd(),
		a.mailboxCmd(), a.logCmd(), a.groupStatusCmd(), a.healCmd(), a.rebootCmd())
	return cmd
}

func (a *app) createCmd() *cobra.Command {
	r := api.CreateGroupRequest{}
	policy := ""
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Found a group",
		Long: `Found a group, with this user as its owner. A group is public unless --private is given: its
name, description and rounded number of members are published for everyone to find. A
private group is in no search and in no DHT record. Its members find each other by a secret
that only they and invite links hold, and that changes with each removal. Whether a group is
private cannot be changed later.

A name has one line of up to 64 bytes, with each word in one alphabet. A description has up
to 1024 bytes, and there are up to 8 tags of up to 32 bytes each.

Policies: open (any member lets in users who ask), request (an admin approves), invite
(users need an invite that an admin signed; the default of private groups).`,
		Example: "  pandanode group create \"tea house\" --description \"Leaves and kettles\" --policy open\n  pandanode group create board --policy invite",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if r.Private && policy == "" {
				policy = string(api.PolicyInvite)
			}
			r.Name, r.Policy = args[0], api.Policy(cmp.Or(policy, string(api.PolicyOpen)))
			if !slices.Contains(api.Policies, r.Policy) {
				return api.Errorf(api.CodeInvalid, "--policy must be open, request or invite, not %q", policy)
			}
			if strings.TrimSpace(r.Name) == "" {
				return api.Errorf(api.CodeInvalid, "a group needs a name").WithHint("pandanode group create NAME")
			}
			g, err := c.CreateGroup(ctx, r)
			if err != nil {
				return err
			}
			return a.show(g, func() {
				a.note("founded %q", clean(g.Name))
				all, err := c.Groups(ctx, api.Empty{})
				if err == nil && slices.ContainsFunc(all.Groups, func(o api.Group) bool { return o.Name == g.Name && o.ID != g.ID }) {
					a.note("you have another group of this name: from now on, commands want the ID of the one that you mean")
				}
				fmt.Fprintln(a.out, g.ID)
			})
		}),
	}
	cmd.Flags().StringVar(&r.Description, "description", "", "what the group is about")
	cmd.Flags().StringSliceVar(&r.Tags, "tag", nil, "word to find it by; may be repeated")
	cmd.Flags().StringVar(&policy, "policy", "", "how people get in: open, request or invite (default open; invite with --private)")
	cmd.Flags().BoolVar(&r.Private, "private", false, "do not publish it")
	return cmd
}

func (a *app) listCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List this node's groups",
		Long: `List this node's groups, pinned ones and then the most recently active first. STATE is a summary: messages of
others that are unread ("pandanode tail" and "read" mark them as read), messages that wait to go out, what a join waits for, or
that this device has left or was removed. KNOWN-AS-OF is when this device last had all that
another member, or a mailbox, knew of the group. "group show" shows everything.`,
		Args: cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			g, err := c.Groups(ctx, api.Empty{})
			if err != nil {
				return err
			}
			slices.SortStableFunc(g.Groups, func(x, y api.Group) int {
				if x.Pinned != y.Pinned {
					return map[bool]int{true: -1, false: 1}[x.Pinned]
				}
				return y.Active.Compare(x.Active)
			})
			return a.printGroups(g.Groups)
		}),
	}
}

func (a *app) printGroups(groups []api.Group) error {
	names := api.NamesOf()
	for _, g := range groups {
		names.Add(api.Candidate{ID: g.ID, Name: g.Name})
	}
	return list(a, groups, "GROUP NAME STATE ROLE MEMBERS ACTIVE KNOWN-AS-OF", func(g api.Group) []string {
		return []string{api.Short(g.ID), doubted(names, g.ID, g.Name), brief(g), g.Role, fmt.Sprint(g.Members), when(g.Active), cmp.Or(when(g.KnownAsOf), "-")}
	})
}

// maxUnread is how many unread messages a node counts.
const maxUnread = 1000

// unread says how many messages are unread in a group, and how many of them mention this user;
// empty: none.
func unread(g api.Group) string {
	more := ""
	if g.Unread >= maxUnread {
		more = "+"
	}
	switch {
	case g.Unread == 0:
		return ""
	case g.Mentions > 0:
		return fmt.Sprintf("%d%s unread, %s", g.Unread, more, english.Plural(g.Mentions, "mention", ""))
	}
	return fmt.Sprintf("%d%s unread", g.Unread, more)
}

// brief describes a group's state in a word or two.
func brief(g api.Group) string {
	var words []string
	switch {
	case g.State == api.StateOut && g.Left:
		words = append(words, "left")
	case g.State == api.StateOut:
		words = append(words, "removed")
	case g.Leaving:
		words = append(words, "leaving")
	case g.State == api.StateJoining:
		stage, why, _ := strings.Cut(g.Missing, ":")
		switch {
		case strings.HasPrefix(strings.TrimSpace(why), "denied"):
			stage = "refused"
		case stage == string(api.StageWaiting):
			stage = "waiting"
		}
		words = append(words, cmp.Or(stage, string(g.State)))
	case g.State != api.StateMember:
		words = append(words, string(g.State))
	case g.Outbox > 0:
		words = append(words, fmt.Sprintf("%d to send", g.Outbox))
	case g.Gaps > 0:
		words = append(words, fmt.Sprintf("%d to come", g.Gaps))
	}
	if n := unread(g); n != "" {
		words = append(words, n)
	}
	if g.Muted {
		words = append(words, "muted")
	}
	return cmp.Or(strings.Join(words, ", "), string(g.State))
}

func state(g api.Group) string {
	s := string(g.State)
	if g.Leaving {
		s += ", leaving"
	}
	if g.Missing != "" {
		s += fmt.Sprintf(" (%s)", g.Missing)
	}
	return s
}

// known says as of when a group is known.
func known(g api.Group) string {
	switch {
	case !g.KnownAsOf.IsZero():
		return fmt.Sprintf("as of %s, when this device had all that another member, or a mailbox, knew", when(g.KnownAsOf))
	case g.State == api.StateMember && g.Members > 1:
		return "no exchange with another member is on record"
	}
	return ""
}

func (a *app) showCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show GROUP",
		Short: "Show one group",
		Long:  "Show one group: its profile, its MLS epoch, and the messages that are missing or wait.\n" + namingHelp,
		Args:  cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			g, err := c.Group(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(g, func() {
				found := "public, not in the DHT yet"
				if g.Published {
					found = "public, in the DHT"
				}
				if g.Private {
					found = "private"
				}
				var settings []string
				for _, key := range slices.Sorted(maps.Keys(g.Settings)) {
					settings = append(settings, key+" "+g.Settings[key])
				}
				a.facts("id", g.ID, "name", g.Name, "description", g.Description, "tags", strings.Join(g.Tags, ", "),
					"policy", string(g.Policy), "settings", strings.Join(settings, ", "), "found by", found, "created", when(g.Created), "state", state(g), "known", known(g), "role", g.Role,
					"members", fmt.Sprint(g.Members), "epoch", fmt.Sprintf("%d (%s)", g.Epoch, api.Short(g.EpochID)),
					"topic peers", fmt.Sprint(g.TopicPeers), "mailboxes", fmt.Sprint(g.Mailboxes), "cursor", fmt.Sprint(g.Cursor),
					"owed", fmt.Sprintf("%d to publish, %d to read, %d waiting", g.Outbox, g.Gaps, g.Parked))
			})
		}),
	}
}

func (a *app) findCmd() *cobra.Command {
	var r api.FindRequest
	var after moment
	timeout := 10 * time.Second
	cmd := &cobra.Command{
		Use:   "find [NAME]",
		Short: "Look for public groups by name, tag, size or age",
		Long: `Search for public groups in the DHT and on the local network: by the words of their names in
any order, by a tag, by their published number of members (rounded), and by the time of
their founding. Without any of these, every public group fits. Words must match whole, but
without case and accents. A star stands for any letters: 'te*' finds words that begin with
te, '*house*' words that contain house. SOURCE says which sources knew the group. With
--json each result is printed as it comes, without votes, and a group that two sources know
comes twice.
All signatures of the results were checked. They prove who speaks, not that it is true: anybody
may found a group of any name, and say when it was founded and how many members it has.

The groups come in the order of VOTES. Each network whose peers tell of groups has one vote,
and shares it among all that it tells of. Many votes are hard to make up, a size is not.

While no peer is connected, the search waits for one, until --timeout is over. The exit code
is 4 if nothing was found, and 8 if there was nobody to ask.`,
		Example: "  pandanode group find tea\n  pandanode group find 'te*' --tag leaves --min-members 3 --created-after 30d\n  pandanode group find tea --json | jq -r .id",
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r.Name, r.Timeout, r.After, r.Ranked = strings.Join(args, " "), api.Duration(timeout), time.Time(after), !a.json
			found := map[string]*result{}
			var order []*result
			err := c.Find(ctx, r, func(f api.Found) error {
				if a.json {
					found[f.ID] = nil
					return a.line(f)
				}
				if old := found[f.ID]; old != nil {
					old.add(f)
					return nil
				}
				found[f.ID] = &result{Found: f, sources: []string{string(f.Source)}}
				for _, source := range f.Sources {
					found[f.ID].add(api.Found{Source: source})
				}
				order = append(order, found[f.ID])
				return nil
			})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return notFound(r, nil)
			}
			if a.json {
				return nil
			}
			names := api.NamesOf()
			for _, f := range order {
				names.Add(api.Candidate{ID: f.ID, Name: f.Name})
			}
			return list(a, order, "NAME VOTES SAYS-MEMBERS POLICY SAYS-FOUNDED SOURCE ID", func(f *result) []string {
				name := doubted(names, f.ID, f.Name)
				if !f.Verified {
					name += " (unverified)"
				}
				return []string{name, fmt.Sprintf("%.2g", f.Votes), fmt.Sprint(f.Members), string(f.Policy), f.Created.Local().Format(time.DateOnly), strings.Join(f.sources, ","), f.ID}
			})
		}),
	}
	cmd.Flags().StringVar(&r.Tag, "tag", "", "only groups with this tag")
	cmd.Flags().Uint64Var(&r.MinMembers, "min-members", 0, "only groups with as many members")
	cmd.Flags().Uint64Var(&r.MaxMembers, "max-members", 0, "only groups with no more members; 0: any number")
	cmd.Flags().Var(&after, "created-after", "only groups founded since then: a date such as 2026-01-31, or an age such as 30d")
	cmd.Flags().IntVar(&r.Limit, "limit", 20, "stop after this many groups")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to look")
	return cmd
}

// moment is a flag for a point in time: a date, a time of RFC 3339, or a duration before
// now.
type moment time.Time

func (m *moment) String() string {
	if t := time.Time(*m); !t.IsZero() {
		return t.Format(time.RFC3339)
	}
	return ""
}

func (m *moment) Set(s string) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*m = moment(t)
			return nil
		}
	}
	var ago lifetime
	if err := ago.Set(s); err != nil || ago == 0 {
		return fmt.Errorf("%q is neither a date such as 2026-01-31 nor an age such as 12h or 30d", s)
	}
	*m = moment(time.Now().Add(-time.Duration(ago)))
	return nil
}

func (m *moment) Type() string { return "date" }

func notFound(r api.FindRequest, others []api.Candidate) error {
	what := "no group was found"
	if r.Name != "" {
		what = fmt.Sprintf("no group %q was found", r.Name)
	}
	e := api.Errorf(api.CodeNotFound, "%s", what)
	if hint := api.DidYouMean(r.Name, others); hint != "" {
		return e.WithHint("%s", hint)
	}
	if beginsID(r.Name) {
		return e.WithHint("a group that is not here is joined by its full ID, which pandanode group show says on a member's device")
	}
	if r.Name != "" && !strings.Contains(r.Name, "*") {
		return e.WithHint("pandanode group find %s finds parts of words; a new group takes a moment to be found", word("*"+r.Name+"*"))
	}
	return e.WithHint("pandanode status shows whether this node is online; a new group takes a moment to be found")
}

// beginsID says whether a name is rather the beginning of an ID: no word has digits in it.
func beginsID(name string) bool {
	const letters, digits = "abcdefghijklmnopqrstuvwxyz", "234567"
	return len(name) >= api.MinPrefix && strings.ContainsAny(name, digits) && strings.Trim(strings.ToLower(name), letters+digits) == ""
}

// result is a group, with all sources that knew it.
type result struct {
	api.Found
	sources []string
}

func (r *result) add(f api.Found) {
	if s := string(f.Source); !slices.Contains(r.sources, s) {
		r.sources = append(r.sources, s)
	}
	if f.Verified && !r.Verified {
		r.Found = f
	}
}

func (a *app) joinCmd() *cobra.Command {
	var (
		wait    bool
		until   = string(api.StageSynced)
		timeout time.Duration
		file    string
	)
	cmd := &cobra.Command{
		Use:   "join GROUP | join - | join --link-file FILE",
		Short: "Ask to be let into a group",
		Long: `Ask to be let into a group. Name it by its full ID, or by its name, which is then searched
for as with "group find", for --timeout or else 10 seconds. If several groups have the name,
the one with twice as many votes as any other is meant; if there is none, the exit code is 2.
An ID from a member is safer: a name proves nothing. The node keeps asking until a
member answers, also after a restart.

"-" reads an invite link from stdin, --link-file reads it from a file. A join by link needs
no search. A link is a secret, so it cannot be an argument.

With --wait the stages are shown on stderr as they are reached: looking-up, contacting,
waiting-for-member (a member has the request; with the policy request an admin has to
approve it), welcomed, synced. If --timeout is over first, the exit code is 7 and the node
keeps asking. If the group refuses, the exit code is 5, and "pandanode why GROUP join" tells
more. A refusal by a device of an owner or admin ends the join; after another member's
refusal the node asks others. "group leave" or "group forget" ends a join too.

An invite to a group that this node is in already is kept until the node knows whether it is
still a member. If it was removed and has not heard of it, it comes back by the invite. If
it was not, the invite is not used.`,
		Example: "  pandanode group join \"tea house\" --wait --timeout 1m\n  pandanode group join - --wait < link\n  pandanode group join --link-file link --wait",
		Args:    cobra.RangeArgs(0, 1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if !slices.Contains(api.Stages, api.Stage(until)) {
				return api.Errorf(api.CodeInvalid, "--until must be looking-up, contacting, waiting-for-member, welcomed or synced, not %q", until)
			}
			r := api.JoinRequest{}
			if wait {
				r.Until = api.Stage(until)
			}
			waits, cancel := waiting(ctx, timeout)
			defer cancel()
			var err error
			switch {
			case (file == "") == (len(args) == 0):
				return api.Errorf(api.CodeInvalid, "name a group, or give an invite link: one of the two").WithHint("pandanode group join --help")
			case file == "" && strings.HasPrefix(strings.ToLower(args[0]), linkPrefix):
				return linkAsArgument()
			case file != "":
			case args[0] == "-":
				file = "-"
			}
			if file != "" {
				if r.Link, err = a.readLink(file); err != nil {
					return err
				}
				return a.join(waits, c, r, timeout)
			}
			if r.Group, err = a.lookUp(ctx, c, args[0], timeout); err != nil {
				return err
			}
			return a.join(waits, c, r, timeout)
		}),
	}
	cmd.Flags().StringVar(&file, "link-file", "", "file with an invite link; -: stdin")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the group is synced, or for what --until says")
	cmd.Flags().StringVar(&until, "until", until, "the stage that --wait waits for")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to look and wait; 0: for ever")
	return cmd
}

// idLength is how long the text of a group's ID is.
const idLength = 56

// lookUp returns the ID of the group that a name stands for: one of this node's groups, or
// else one that a search finds. The search takes as long as it is given; 0: the usual time
// of a search.
func (a *app) lookUp(ctx context.Context, c *api.Client, name string, timeout time.Duration) (string, error) {
	if len(name) == idLength && !strings.Contains(name, " ") {
		return name, nil
	}
	g, err := c.Group(ctx, api.GroupRequest{Group: name})
	if err == nil {
		return g.ID, nil
	}
	if api.CodeOf(err) != api.CodeNotFound {
		return "", err
	}
	a.note("looking for %q", clean(name))
	var found, others []api.Candidate
	var votes []float64
	err = c.Find(ctx, api.FindRequest{Name: name, Timeout: api.Duration(timeout), Ranked: true}, func(f api.Found) error {
		cand := api.Candidate{ID: f.ID, Name: f.Name}
		switch {
		case !f.Verified:
		case !api.SameName(f.Name, name):
			others = append(others, cand)
		case !slices.Contains(found, cand):
			found, votes = append(found, cand), append(votes, f.Votes)
		}
		return nil
	})
	if err != nil && len(found) == 0 {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", notFound(api.FindRequest{Name: name}, others)
	case 1:
		return found[0].ID, nil
	}
	if votes[0] > 0 && votes[0] >= 2*votes[1] {
		a.note("%d groups have the name %q; this one is told of by peers in the most networks: %s", len(found), clean(name), found[0].ID)
		return found[0].ID, nil
	}
	e := api.Errorf(api.CodeAmbiguous, "%d groups have the name %q, and no one of them is told of by clearly more peers: anybody may use any name", len(found), name).
		WithHint("ask a member for the ID, then: pandanode group join %s, or another of these IDs", found[0].ID)
	e.Candidates = found
	return "", e
}

func (a *app) join(ctx context.Context, c *api.Client, r api.JoinRequest, timeout time.Duration) error {
	last := api.JoinUpdate{Group: r.Group}
	err := c.Join(ctx, r, func(u api.JoinUpdate) error {
		last = u
		if a.json {
			return a.line(u)
		}
		detail := ""
		if u.Detail != "" {
			detail = ": " + clean(u.Detail)
		}
		a.note("%s%s", u.Stage, detail)
		return nil
	})
	if api.CodeOf(err) == api.CodeTimeout && last.Stage != "" {
		why := ""
		if last.Detail != "" {
			why = ": " + last.Detail
		}
		return api.Errorf(api.CodeTimeout, "still %s after %v%s; the node keeps trying", last.Stage, timeout, why).
			WithHint("pandanode why %s join", api.Short(last.Group))
	}
	if err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintln(a.out, last.Group)
	}
	return nil
}

// namesOf has the names of a group's members, and of people who are known from elsewhere.
func namesOf(all api.Members) *api.Names {
	names := api.NamesOf(all.Known...)
	for _, m := range all.Members {
		names.Add(api.Candidate{ID: m.User, Name: m.Name, Verified: m.Verified})
	}
	return names
}

func (a *app) membersCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "members GROUP",
		Short: "List who is in a group",
		Long:  "List who is in a group, with role and devices.\n" + namingHelp,
		Args:  cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			m, err := c.Members(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			names := namesOf(m)
			return list(a, m.Members, "USER NAME ROLE DEVICES SINCE", func(m api.Member) []string {
				name := doubted(names, m.User, m.Name)
				if m.Self {
					name += " (you)"
				}
				if m.OwnName != "" {
					name += ", calls itself " + m.OwnName
				}
				if m.About != "" {
					name += ", " + clean(m.About)
				}
				if len(m.New) > 0 {
					name += ", has a new device"
				}
				if m.Blocked {
					name += ", blocked"
				}
				return []string{api.Short(m.User), name, m.Role, fmt.Sprint(len(m.Devices)), when(m.Since)}
			})
		}),
	}
}

func (a *app) leaveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "leave GROUP",
		Short: "Leave a group",
		Long: `Leave a group, with all devices of this user. The messages that were read stay on this
device. Messages that nobody else has yet are handed over first: the node stays in the group
until a member has them. Until then "group join" cancels the leave. A join that waits, or
was refused, is ended.
` + namingHelp,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			left, err := c.Leave(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(left, func() {
				switch {
				case left.Ended:
					fmt.Fprintf(a.out, "not in %s, and not asking to be let in any more\n", called(left.GroupName, left.Group))
				case !left.Waits:
					fmt.Fprintf(a.out, "left %s\n", called(left.GroupName, left.Group))
				default:
					fmt.Fprintln(a.out, "leaving as soon as a member who stays has what you wrote; keep the node running until then")
				}
			})
		}),
	}
}

func (a *app) forgetCmd() *cobra.Command {
	discard := false
	cmd := &cobra.Command{
		Use:   "forget GROUP",
		Short: "Remove a group that this node is out of",
		Long: `Remove a group from this node, for ever: its messages, its members, its log. The node must
be out of the group, or waiting to get in; a join that waits is ended. Leave a group first
if you are in it. Other members keep their copies, and so do your other devices.

If this would lose messages of yours that nobody else is known to have, nothing is removed
without --discard-unsent.
` + namingHelp,
		Example: "  pandanode group forget \"tea house\"",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			f, err := c.Forget(ctx, api.ForgetRequest{Group: args[0], DiscardUnsent: discard})
			if err != nil {
				return err
			}
			return a.show(f, func() {
				a.note("forgotten, with %s on this device", english.Plural(f.Messages, "message that was", "messages that were"))
				if f.Unsent > 0 {
					a.note("%d of them were yours, and nobody else is known to have them", f.Unsent)
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&discard, "discard-unsent", false, "remove it even if messages of yours are lost that nobody else is known to have")
	return cmd
}

func (a *app) removeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove GROUP USER",
		Short: "Take a user out of a group",
		Long: `Take a user, with all devices, out of a group. The user cannot read messages that are sent
afterwards, but keeps those from before. USER is a full ID, its first characters (16 or
more), or a name that only one member has; "group members" lists them.
` + namingHelp,
		Args: cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			did, err := c.Remove(ctx, api.RemoveRequest{Group: args[0], User: args[1]})
			if err != nil {
				return err
			}
			return a.changed(did)
		}),
	}
}

// called names a group or user in a sentence.
func called(name, id string) string {
	if name == "" {
		return api.Short(id)
	}
	return fmt.Sprintf("%q", clean(name))
}

// changed prints what a command has changed in a group.
func (a *app) changed(did api.Change) error {
	return a.show(did, func() {
		group := called(did.GroupName, did.Group)
		who := clean(api.Called(did.User, did.UserName, did.Verified, did.Doubt))
		text := string(did.Did) // a newer node's
		switch did.Did {
		case api.DeedAdded:
			text = fmt.Sprintf("let %s into %s as %s", who, group, article(did.Role))
		case api.DeedRemoved:
			text = fmt.Sprintf("removed %s from %s", who, group)
		case api.DeedDenied:
			text = fmt.Sprintf("turned down %s, who asked to be let into %s", who, group)
		case api.DeedRole:
			text = fmt.Sprintf("%s is %s of %s now", who, article(did.Role), group)
			if did.Was != "" {
				text += ", and was " + article(did.Was)
			}
		case api.DeedInviteRevoked:
			text = fmt.Sprintf("took back invite %s: its link lets nobody into %s any more", api.Short(did.Invite), group)
		}
		fmt.Fprintln(a.out, text)
	})
}

// setProfile changes a group's profile and prints the new one.
func (a *app) setProfile(ctx context.Context, c *api.Client, r api.ProfileRequest, now func(api.Group) string) error {
	g, err := c.SetProfile(ctx, r)
	if err != nil {
		return err
	}
	return a.show(g, func() { fmt.Fprintln(a.out, now(g)) })
}

func (a *app) renameCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rename GROUP NAME",
		Short: "Give a group another name",
		Long: `Give a group another name, for everybody. Only owners and admins may do so. A name has one
line of up to 64 bytes, and each of its words is in one alphabet.
` + namingHelp,
		Example: "  pandanode group rename tea \"tea house\"",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			old, err := c.Group(ctx, api.GroupRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.setProfile(ctx, c, api.ProfileRequest{Group: old.ID, Name: &args[1]}, func(g api.Group) string {
				return fmt.Sprintf("%s is called %s now", called(old.Name, old.ID), called(g.Name, g.ID))
			})
		}),
	}
}

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "describe GROUP TEXT",
		Short: "Say what a group is about",
		Long: `Set the description of a group, for everybody; "" removes it. Only owners and admins may do
so. A description has up to 1024 bytes.
` + namingHelp,
		Example: "  pandanode group describe tea \"Leaves and kettles\"",
		Args:    cobra.MinimumNArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			text := strings.Join(args[1:], " ")
			return a.setProfile(ctx, c, api.ProfileRequest{Group: args[0], Description: &text}, func(g api.Group) string {
				if g.Description == "" {
					return called(g.Name, g.ID) + " has no description now"
				}
				return fmt.Sprintf("%s is described now: %s", called(g.Name, g.ID), clean(g.Description))
			})
		}),
	}
}

func (a *app) setCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "set GROUP KEY VALUE",
		Short: "Change a setting of a group",
		Long: `Change a setting of a group, which every member follows. Only owners and admins may do so. With
the VALUE "" the setting is as if it had never been set. "group show" has the settings.

A KEY that this program does not know is kept for programs that do. It knows:

  expiry    how long messages stay that are sent from now on, such as 30d or 12h
  files.max the largest file that may be sent to the group, such as 50MiB, up to 4GiB
  history   what newcomers are shown of messages from before they came in: none, all, or a number
            for the last so many. Messages stay hidden from them that were written while it was
            none, as it is at first, and those that were deleted or have expired
` + namingHelp,
		Example: "  pandanode group set tea expiry 30d\n  pandanode group set tea expiry \"\"\n  pandanode group set tea files.max 50MiB\n  pandanode group set tea history 100",
		Args:    cobra.ExactArgs(3),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			g, err := c.Set(ctx, api.SettingRequest{Group: args[0], Key: args[1], Value: args[2]})
			if err != nil {
				return err
			}
			return a.show(g, func() {
				if args[2] == "" {
					fmt.Fprintf(a.out, "%s has no setting %s now\n", called(g.Name, g.ID), clean(args[1]))
				} else {
					fmt.Fprintf(a.out, "%s has the setting %s %s now\n", called(g.Name, g.ID), clean(args[1]), clean(args[2]))
					if !slices.Contains(api.Settings, args[1]) {
						a.note("this program does not know the setting %s and does not follow it: %s", clean(args[1]), a.atHome("pandanode group set --help"))
					}
				}
			})
		}),
	}
}

func (a *app) tagCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tag GROUP [TAG...]",
		Short: "Say by which words a group is found",
		Long: `Replace the tags of a group: words by which it is found, beside those of its name. Without a
TAG it has none. Only owners and admins may do so. There are up to 8 tags of up to 32 bytes
each.
` + namingHelp,
		Example: "  pandanode group tag tea leaves kettles",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			tags := args[1:]
			return a.setProfile(ctx, c, api.ProfileRequest{Group: args[0], Tags: &tags}, func(g api.Group) string {
				if len(g.Tags) == 0 {
					return called(g.Name, g.ID) + " has no tags now"
				}
				return fmt.Sprintf("%s has the tags %s now", called(g.Name, g.ID), clean(strings.Join(g.Tags, ", ")))
			})
		}),
	}
}
