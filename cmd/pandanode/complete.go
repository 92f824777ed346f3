package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// completer gives what may stand at the place of an argument, as cobra has it: a word, and
// behind a tab what it means.
type completer func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// first completes the first argument, and nothing else.
func first(c completer) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, begun)
	}
}

// completionTime is how long a node may take to answer while somebody waits for a
// completion.
const completionTime = 500 * time.Millisecond

// live completes by an answer of the running node. Without one it completes nothing and is
// silent.
func (a *app) live(ask func(ctx context.Context, c *api.Client, args []string) []string) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		a.flags = cmd.Flags()
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		return ask(ctx, c, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// candidate is a name that can be typed, and what it means; a name that is not unique, or that
// controls a terminal, is its ID.
func candidate(names map[string]int, id, name, means string) string {
	if name == "" || names[name] > 1 || clean(name) != name {
		return api.Short(id) + "\t" + clean(name+" "+means)
	}
	return name + "\t" + clean(means)
}

// groupNames are the groups of the node.
func groupNames(ctx context.Context, c *api.Client, _ []string) (out []string) {
	all, err := c.Groups(ctx, api.Empty{})
	if err != nil {
		return nil
	}
	names := map[string]int{}
	for _, g := range all.Groups {
		names[g.Name]++
	}
	for _, g := range all.Groups {
		out = append(out, candidate(names, g.ID, g.Name, "group"))
	}
	return out
}

// memberNames are the members of the group that is the first argument.
func memberNames(ctx context.Context, c *api.Client, args []string) (out []string) {
	all, err := c.Members(ctx, api.GroupRequest{Group: args[0]})
	if err != nil {
		return nil
	}
	names := map[string]int{}
	for _, m := range all.Members {
		names[m.Name]++
	}
	for _, m := range all.Members {
		out = append(out, candidate(names, m.User, m.Name, m.Role))
	}
	return out
}

// personNames are the members of all groups.
func personNames(ctx context.Context, c *api.Client, _ []string) (out []string) {
	all, err := c.Groups(ctx, api.Empty{})
	if err != nil {
		return nil
	}
	people, names := map[string]api.Member{}, map[string]int{}
	for _, g := range all.Groups {
		some, err := c.Members(ctx, api.GroupRequest{Group: g.ID})
		if err != nil {
			continue // of a group that is still joined
		}
		for _, m := range some.Members {
			if _, known := people[m.User]; !known && !m.Self {
				people[m.User] = m
				names[m.Name]++
			}
		}
	}
	for _, m := range people {
		out = append(out, candidate(names, m.User, m.Name, "user "+api.Short(m.User)))
	}
	slices.Sort(out)
	return out
}

// requestNames are the users who ask to be let into the group that is the first argument.
func requestNames(ctx context.Context, c *api.Client, args []string) (out []string) {
	all, err := c.Requests(ctx, api.GroupRequest{Group: args[0]})
	if err != nil {
		return nil
	}
	names := map[string]int{}
	for _, r := range all.Requests {
		names[r.Name]++
	}
	for _, r := range all.Requests {
		out = append(out, candidate(names, r.User, r.Name, "asks to be let in"))
	}
	return out
}

// inviteIDs are the invites of the group that is the first argument.
func inviteIDs(ctx context.Context, c *api.Client, args []string) (out []string) {
	all, err := c.Invites(ctx, api.GroupRequest{Group: args[0]})
	if err != nil {
		return nil
	}
	for _, i := range all.Invites {
		if i.Valid {
			out = append(out, api.Short(i.ID)+"\t"+clean("by "+i.ByName))
		}
	}
	return out
}

// recent is how many messages are offered.
const recent = 20

// messageIDs are the newest messages of the group that is the first argument.
func messageIDs(ctx context.Context, c *api.Client, args []string) (out []string) {
	_ = c.Timeline(ctx, api.TimelineRequest{Group: args[0], Last: recent}, func(h api.Happening) error { // what came is offered
		if m := h.Message; m != nil {
			text, _, _ := strings.Cut(m.Text, "\n")
			out = append(out, api.Short(m.ID)+"\t"+clean(m.Name+": "+cutTo(text, maxMeaning)))
		}
		return nil
	})
	slices.Reverse(out)
	return slices.CompactFunc(out, func(x, y string) bool { return x == y })
}

// maxMeaning is how much of a message is shown beside its ID, in characters.
const maxMeaning = 40

func cutTo(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// completes gives each command the completion of its arguments, by the words of its usage:
// GROUP is a group of this node, and USER, REQUEST or INVITE are of that group.
func (a *app) completes(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		a.completes(c)
		if c.ValidArgsFunction == nil && c.Runnable() {
			c.ValidArgsFunction = a.completion(c)
		}
	}
}

// completion completes by the words of a command's usage; nil: nothing there can be
// completed.
func (a *app) completion(cmd *cobra.Command) completer {
	usage, _, _ := strings.Cut(cmd.Use, " | ")
	words := strings.Fields(usage)[1:]
	if len(words) == 0 || cmd.Name() == "join" { // which is about groups of others
		return nil
	}
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if words[0] == "USER" && len(args) == 0 { // of any group
			return a.live(personNames)(cmd, args, begun)
		}
		at := min(len(args), len(words)-1)
		word := words[at]
		if at < len(args) && !strings.Contains(word, "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ask := map[string]func(context.Context, *api.Client, []string) []string{
			"GROUP": groupNames, "USER": memberNames, "INVITE": inviteIDs, "MESSAGE": messageIDs,
		}[strings.Trim(word, "[].")]
		asksIn := cmd.Name() == "approve" || cmd.Name() == "deny"
		switch choices := strings.Split(word, "|"); {
		case ask != nil && word == "USER" && asksIn:
			return a.live(requestNames)(cmd, args, begun)
		case ask != nil:
			return a.live(ask)(cmd, args, begun)
		case word == "FILE" && cmd.Parent() != nil && cmd.Parent().Name() == "file":
			return a.live(fileNames)(cmd, args, begun)
		case word == "MESSAGE|FILE|join":
			return a.live(func(ctx context.Context, c *api.Client, args []string) []string {
				return slices.Concat(messageIDs(ctx, c, args), fileNames(ctx, c, args), choices[2:])
			})(cmd, args, begun)
		case strings.Contains(word, "FILE"):
			return nil, cobra.ShellCompDirectiveDefault
		case len(choices) > 1:
			return choices, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
