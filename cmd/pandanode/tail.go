package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// lastLines is the number of lines that tail shows by default.
const lastLines = 20

func (a *app) tailCmd() *cobra.Command {
	var t tailing
	cmd := &cobra.Command{
		Use:   "tail [GROUP...]",
		Short: "Show messages, and members who came or left, and wait for new ones",
		Long: `Show the messages of a group in the order in which this device got them, and events: members
who came, left or got another role, and changes of the group's profile. With several groups,
or with none named (all groups of this node), each line names its group.

It shows the last 20 lines; -n N shows the last N, --all everything. With --json everything
is printed unless -n is given: a message has the kind "message"; other events have kinds
such as "member-added", "member-removed", "member-left", "role" or "profile".

With --follow it goes on with new lines. With --count it begins with the first message and
stops after that many messages; if --timeout is over first, the exit code is 7. Each line
has a cursor (in --json): --since takes the cursor of the last line that you have.

Messages from before this device came in, which other members gave it by the group's setting
"history", stand between two lines that say so; with --json they have "earlier".

A message is shown as it is now: edited, with its reactions, or deleted. With --follow a line
tells of each edit, delete and reaction that comes (kind "message-changed").

--ack NAME, for programs, shows with --json what was not acknowledged by the cursor of that
name, which outlives program and node: a line comes again until "pandanode cursor ack GROUP
NAME CURSOR" has said that everything up to it is done. A new name begins with what comes from
then on; "cursor ack GROUP NAME 0" makes one that begins with the first line. With --follow,
"live" is true of a line that came after the command began.
` + namingHelp,
		Example: "  pandanode tail tea --follow\n  pandanode tail tea -n 5\n  pandanode tail\n  pandanode tail tea --since 17 --count 1 --timeout 30s --json",
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			switch {
			case t.ack != "" && !a.json:
				return api.Errorf(api.CodeInvalid, "--ack is for programs: give --json, too")
			case t.ack != "" && (t.last.given || t.all || t.since > 0):
				return api.Errorf(api.CodeInvalid, "--ack says where to begin: leave out -n, --all and --since")
			}
			if t.count < 0 {
				return api.Errorf(api.CodeInvalid, "--count must be 0 or more, not %d", t.count)
			}
			return a.tail(ctx, c, t, args)
		}),
	}
	cmd.Flags().BoolVarP(&t.follow, "follow", "f", false, "go on with new lines")
	cmd.Flags().VarP(&t.last, "lines", "n", "show this many of the last lines (default 20)")
	cmd.Flags().BoolVar(&t.all, "all", false, "show everything, from the first line")
	cmd.Flags().Uint64Var(&t.since, "since", 0, "start after this cursor")
	cmd.Flags().BoolVar(&t.ids, "ids", false, "show the beginning of each message's ID")
	cmd.Flags().StringVar(&t.ack, "ack", "", "with --json: show what the cursor of this name has not acknowledged")
	cmd.Flags().IntVar(&t.count, "count", 0, "wait for this many messages, then stop; 0: no limit")
	cmd.Flags().DurationVar(&t.timeout, "timeout", 0, "how long to wait; 0: for ever")
	cmd.MarkFlagsMutuallyExclusive("lines", "all")
	cmd.MarkFlagsMutuallyExclusive("lines", "since")
	cmd.MarkFlagsMutuallyExclusive("all", "since")
	return cmd
}

// tailing holds the flags of tail.
type tailing struct {
	follow  bool
	last    lineCount
	all     bool
	since   uint64
	ids     bool
	ack     string
	count   int
	timeout time.Duration
}

// lineCount is a flag for a number of lines that may be left out.
type lineCount struct {
	given bool
	n     int
}

func (l *lineCount) String() string { return "" }

func (l *lineCount) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errors.New("the number of lines must be 0 or more")
	}
	*l = lineCount{true, n}
	return nil
}

func (l *lineCount) Type() string { return "number" }

// limit returns with how many lines to begin; negative: all.
func (t *tailing) limit(json bool) int {
	switch {
	case t.last.given:
		return t.last.n
	case t.all || t.since > 0 || t.count > 0 || json:
		return -1
	}
	return lastLines
}

var errEnough = errors.New("enough")

// tailed is a group that tail shows.
type tailed struct {
	id, name string
	cursor   uint64 // of the last item that was shown
	first    uint64 // of the first one; 0: none was
	title    string // in a line; with the ID where another group's name looks the same
	names    *api.Names
	ids      bool   // lines show the IDs of messages
	past     uint64 // changes up to here were shown in the messages themselves
	earlier  bool   // the last message was from before this device came in
	picked   bool   // messages are shown out of their order
}

// happened is an item of a timeline, with its group.
type happened struct {
	*tailed
	api.Happening
}

func (a *app) tail(ctx context.Context, c *api.Client, t tailing, args []string) error {
	groups, err := a.tailedGroups(ctx, c, args)
	if err != nil {
		return err
	}
	named := len(args) != 1
	if named && t.since > 0 {
		return api.Errorf(api.CodeInvalid, "--since takes a cursor of one group: name that group alone")
	}
	waits, cancel := waiting(ctx, t.timeout)
	defer cancel()
	var mu sync.Mutex
	shown := 0
	me, err := c.ID(ctx, api.Empty{})
	if err != nil {
		return err
	}
	show := func(h happened) error {
		mu.Lock()
		defer mu.Unlock()
		if err := a.printHappening(h, me.User, named); err != nil {
			return err
		}
		if h.first == 0 {
			h.first = h.Cursor
		}
		if h.cursor = h.Cursor; h.Message != nil && h.Message.Change == nil {
			if shown++; shown == t.count {
				return errEnough
			}
		}
		return nil
	}
	for _, g := range groups {
		g.ids = t.ids
	}
	if !a.json {
		for _, g := range groups {
			if m, err := c.Members(ctx, api.GroupRequest{Group: g.id}); err == nil { // a group that is still joined has none to tell of
				g.names = namesOf(m)
			}
		}
	}
	if t.ack != "" {
		err = follow(waits, c, groups, api.TimelineRequest{As: t.ack, Follow: t.follow || t.count > 0}, show)
	} else {
		err = a.tailPast(waits, c, t, groups, named, show)
	}
	if err == nil && t.ack == "" && (t.follow || t.count > 0) {
		for _, g := range groups {
			if one, err := c.Group(ctx, api.GroupRequest{Group: g.id}); err == nil && !a.json {
				g.past = one.Cursor
			}
		}
		err = follow(waits, c, groups, api.TimelineRequest{Follow: true}, show)
	}
	if !a.json {
		for _, g := range groups {
			if g.readsOn(context.WithoutCancel(ctx), c, me.User) { // a message that is not marked as seen is only counted again
				_, _ = c.MarkSeen(context.WithoutCancel(ctx), api.SeenRequest{Group: g.id, Cursor: g.cursor})
			}
		}
	}
	switch {
	case errors.Is(err, errEnough):
		return nil
	case api.CodeOf(err) == api.CodeTimeout && t.count == 0:
		return nil // following ends when the given time is over
	case api.CodeOf(err) == api.CodeTimeout:
		return api.Errorf(api.CodeTimeout, "%d of %d messages after %v", shown, t.count, t.timeout)
	}
	return err
}

// readsOn says whether no unread message lies before the items that were shown: the read mark
// would go over it.
func (g *tailed) readsOn(ctx context.Context, c *api.Client, me string) bool {
	one, err := c.Group(ctx, api.GroupRequest{Group: g.id})
	if err != nil || g.first == 0 {
		return false
	}
	for mark := one.Read; mark+1 < g.first; {
		some, err := c.Messages(ctx, api.MessagesRequest{Group: g.id, Since: mark, Limit: 64})
		if err != nil {
			return false
		}
		if len(some.Messages) == 0 {
			return true
		}
		for _, m := range some.Messages {
			if mark = m.Cursor; mark < g.first && m.User != me && !m.Earlier && m.Deleted == nil && !m.Expired {
				return false
			}
		}
	}
	return true
}

// tailedGroups returns the named groups, or all groups of this node if none was named.
func (a *app) tailedGroups(ctx context.Context, c *api.Client, args []string) ([]*tailed, error) {
	var out []*tailed
	var all api.Groups
	if len(args) != 1 { // each line names its group
		var err error
		if all, err = c.Groups(ctx, api.Empty{}); err != nil {
			return nil, err
		}
	}
	names := api.NamesOf()
	for _, g := range all.Groups {
		names.Add(api.Candidate{ID: g.ID, Name: g.Name})
	}
	add := func(g api.Group) {
		if !slices.ContainsFunc(out, func(o *tailed) bool { return o.id == g.ID }) {
			out = append(out, &tailed{id: g.ID, name: g.Name, title: label(names, g.ID, g.Name), names: api.NamesOf()})
		}
	}
	if len(args) == 0 {
		for _, g := range all.Groups {
			add(g)
		}
		if len(out) == 0 {
			return nil, api.Errorf(api.CodeNotFound, "this node has no groups").WithHint("pandanode group find, or pandanode group create NAME")
		}
		return out, nil
	}
	for _, name := range args {
		g, err := c.Group(ctx, api.GroupRequest{Group: name})
		if err != nil {
			return nil, err
		}
		add(g)
	}
	return out, nil
}

// tailPast shows the items that are there already.
func (a *app) tailPast(ctx context.Context, c *api.Client, t tailing, groups []*tailed, named bool, show func(happened) error) error {
	limit := t.limit(a.json)
	if limit == 0 {
		for _, g := range groups { // items after the newest one of now
			one, err := c.Group(ctx, api.GroupRequest{Group: g.id})
			if err != nil {
				return err
			}
			g.cursor = one.Cursor
		}
		return nil
	}
	var past []happened
	more := false
	for _, g := range groups {
		r := api.TimelineRequest{Group: g.id, Since: t.since, Last: max(limit, 0)}
		g.cursor = t.since
		if err := c.Timeline(ctx, r, func(h api.Happening) error {
			if more = more || h.More; !named {
				return show(happened{g, h}) // each as it comes: there may be many
			}
			past = append(past, happened{g, h})
			return nil
		}); err != nil {
			return err
		}
	}
	slices.SortStableFunc(past, func(x, y happened) int { return x.At.Compare(y.At) })
	if limit > 0 && len(past) > limit {
		past, more = past[len(past)-limit:], true
	}
	for _, h := range past {
		if err := show(h); err != nil {
			return err
		}
	}
	if more && !t.last.given {
		which := ""
		if !named {
			which = " " + word(groups[0].name)
			if groups[0].name == "" || groups[0].name[0] == '-' { // which would be a flag
				which = " " + api.Short(groups[0].id)
			}
		}
		a.note("these are the last %d lines; everything: %s", limit, a.atHome("pandanode tail"+which+" --all"))
	}
	return nil
}

// follow shows items of all groups at once, until one of the streams fails, or all have ended.
func follow(ctx context.Context, c *api.Client, groups []*tailed, r api.TimelineRequest, show func(happened) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() {
			r := r
			r.Group, r.Since = g.id, g.cursor
			if err := c.Timeline(ctx, r, func(h api.Happening) error { return show(happened{g, h}) }); err != nil || r.Follow {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// meet takes the names in an item into the view, such as those of people who come.
func (h happened) meet() {
	if m := h.Message; m != nil {
		h.names.Add(api.Candidate{ID: m.User, Name: m.Name, Verified: m.Verified})
	}
	if e := h.Event; e != nil {
		h.names.Add(api.Candidate{ID: e.User, Name: e.UserName})
		h.names.Add(api.Candidate{ID: e.By, Name: e.ByName})
	}
}

// person names somebody by name and ID, and says where the name could be taken for another.
func person(names *api.Names, id, name string) string {
	return api.Called(id, name, names.Verified(id), names.Doubt(api.Candidate{ID: id, Name: name}))
}

// printHappening prints one line of a timeline, for the user me; named: with its group.
func (a *app) printHappening(h happened, me string, named bool) error {
	if a.json {
		switch {
		case h.Message != nil:
			h.Message.GroupName = h.name
			if h.Live {
				return a.line(struct {
					*api.Message
					Live bool `json:"live"`
				}{h.Message, true})
			}
			return a.line(h.Message)
		case h.Event != nil:
			h.Event.GroupName = h.name
			if h.Live {
				return a.line(struct {
					*api.Event
					Live bool `json:"live"`
				}{h.Event, true})
			}
			return a.line(h.Event)
		}
		return nil
	}
	h.meet()
	var what string
	at := h.At
	switch {
	case h.Message != nil && h.Message.Change != nil:
		if h.Cursor <= h.past {
			return nil
		}
		line := changed(*h.Message, me, h.names)
		if line == "" {
			return nil
		}
		what = a.paint(a.out, dim, "* "+clean(line))
	case h.Message != nil:
		at = h.Message.Sent
		what = a.said(*h.Message, h.names)
		if err := a.printBorder(h, named); err != nil {
			return err
		}
	case h.Event != nil && h.Event.Kind == api.EventChanged:
		return nil // of a message that is not here
	case h.Event != nil:
		what = a.paint(a.out, dim, "* "+clean(deedOf(*h.Event, me, h.names)))
	default:
		return nil
	}
	group := ""
	if h.ids && h.Message != nil {
		group = a.paint(a.out, dim, api.Short(h.Message.ID)) + " "
	}
	if named {
		group += a.inGroup(h)
	}
	_, err := fmt.Fprintf(a.out, "%s %s%s\n", a.paint(a.out, dim, at.Local().Format("2006-01-02 15:04:05")), group, what)
	return err
}

// said formats a message with its author.
func (a *app) said(m api.Message, names *api.Names) string {
	who := clean(person(names, m.User, m.Name))
	if m.Own {
		who = "you"
	}
	return a.paint(a.out, bold, who+":") + " " + a.body(m, names)
}

// deedOf describes an event of a timeline in words, for the user me.
func deedOf(e api.Event, me string, names *api.Names) string {
	return deedBy(e, func(name, id string) string {
		switch id {
		case "":
			return "somebody"
		case me:
			return "you"
		}
		return person(names, id, name)
	})
}

// deedBy describes an event, with what somebody is called by name and ID.
func deedBy(e api.Event, called func(name, id string) string) string {
	if tell := deeds[e.Kind]; tell != nil {
		return tell(e, called(e.UserName, e.User), called(e.ByName, e.By))
	}
	return string(e.Kind)
}

// deeds says how each kind of event is described: whom it is about, and who did it.
var deeds = map[api.EventKind]func(e api.Event, who, by string) string{
	api.EventMemberAdded:   func(_ api.Event, who, by string) string { return fmt.Sprintf("%s joined, let in by %s", who, by) },
	api.EventMemberRemoved: func(_ api.Event, who, by string) string { return fmt.Sprintf("%s removed %s", by, who) },
	api.EventMemberLeft:    func(_ api.Event, who, _ string) string { return who + " left" },
	api.EventJoined: func(e api.Event, _, _ string) string {
		if e.Detail == "founded" {
			return "you founded the group"
		}
		return "you joined"
	},
	api.EventOut: func(api.Event, string, string) string { return "you are out of the group" },
	api.EventRole: func(e api.Event, who, by string) string {
		if e.By == "" {
			return fmt.Sprintf("the role of %s is %s now", who, e.Detail)
		}
		return fmt.Sprintf("%s made %s %s", by, who, article(e.Detail))
	},
	api.EventProfile:       func(e api.Event, _, by string) string { return by + " " + profiled(e.Detail) },
	api.EventSetting:       func(e api.Event, _, by string) string { return by + " set the setting " + e.Detail },
	api.EventJoinRequested: func(_ api.Event, who, _ string) string { return who + " asks to be let in" },
	api.EventJoinDenied:    func(_ api.Event, who, by string) string { return fmt.Sprintf("%s turned down %s", by, who) },
	api.EventDeviceRevoked: func(e api.Event, who, by string) string {
		return fmt.Sprintf("%s took out the device %s of %s", by, api.Short(e.Device), who)
	},
	api.EventReboot: func(_ api.Event, _, by string) string { return by + " gave the group fresh keys" },
	api.EventRemovalCancelled: func(_ api.Event, who, by string) string {
		return fmt.Sprintf("the removal of %s does not hold, since %s was removed at the same time", who, by)
	},
}

// profiled describes a change of a group's profile, from the detail of an event.
func profiled(detail string) string {
	field, value, _ := strings.Cut(detail, " ")
	if text, err := strconv.Unquote(value); err == nil {
		value = strconv.Quote(clean(text))
	}
	switch {
	case field == "name":
		return "named the group " + value
	case field == "description" && value == `""`:
		return "took the description away"
	case field == "description":
		return "described the group: " + value
	case field == "tags" && value == "":
		return "took the tags away"
	case field == "tags":
		return "tagged the group: " + value
	case field == "policy":
		return "set the policy " + value
	case field == "mailboxes":
		return "changed the mailboxes"
	}
	return "changed the profile"
}

// article gives a role as it stands in a sentence.
func article(role string) string {
	switch role {
	case "owner", "admin":
		return "an " + role
	case "read-only":
		return "a read-only member"
	}
	return "a " + role
}

func (a *app) inGroup(h happened) string {
	return a.paint(a.out, dim, "["+clean(h.title)+"]") + " "
}

// printBorder prints a line before a message where those from before this device came in
// begin or end.
func (a *app) printBorder(h happened, named bool) error {
	if h.picked || h.earlier == h.Message.Earlier {
		return nil
	}
	text := "--- since you came in ---"
	if h.earlier = h.Message.Earlier; h.earlier {
		text = "--- earlier messages, given by members ---"
	}
	if text = a.paint(a.out, dim, text); named {
		text = a.inGroup(h) + text
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}
