package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

const messageHelp = `
A MESSAGE is named by its ID, as "send" prints it and "tail --ids" shows it, or by 16 or more
of its first characters. "last" is the newest message that was shown, "mine" your newest own.
` + namingHelp

// sayingCmds are the commands that say something about a message, or show one.
func (a *app) sayingCmds() []*cobra.Command {
	return []*cobra.Command{a.replyCmd(), a.editCmd(), a.deleteCmd(), a.reactCmd(), a.showMessageCmd()}
}

// said prints what a node says of a message that it accepted.
func (a *app) accepted(sent api.Sent) error {
	return a.show(sent, func() { fmt.Fprintln(a.out, sent.ID) })
}

func (a *app) replyCmd() *cobra.Command {
	var thread, markdown bool
	cmd := &cobra.Command{
		Use:   "reply GROUP MESSAGE TEXT... | reply GROUP MESSAGE -",
		Short: "Answer a message",
		Long: `Answer a message; "-" reads the text from stdin. The answer carries no quote: each reader is
shown the message as it is there. With --thread the answer goes into the thread that begins
with the message. The ID is printed once the answer is durable, as that of "send" is.
` + messageHelp,
		Example: "  pandanode reply tea last \"Two tins\"\n  pandanode reply tea rdvbok2b6yzqq3ne -",
		Args:    cobra.MinimumNArgs(3),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			text, err := a.text(args[2:])
			if err != nil {
				return err
			}
			r := api.SendRequest{Group: args[0], Text: text, ReplyTo: args[1], Markdown: markdown, Mention: true}
			if thread {
				r.Thread = args[1]
			}
			sent, err := c.Send(ctx, r)
			if err != nil {
				return err
			}
			return a.accepted(sent)
		}),
	}
	cmd.SetFlagErrorFunc(a.dashed)
	cmd.Flags().BoolVar(&thread, "thread", false, "answer in the thread that begins with the message")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "the text is Markdown")
	return cmd
}

func (a *app) editCmd() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "edit GROUP MESSAGE TEXT... | edit GROUP MESSAGE -",
		Short: "Write one of your messages anew",
		Long: `Write one of your messages anew; "-" reads the text from stdin. Readers see that it was edited,
and "show" has its versions. There is no time limit. The ID of the edit is printed.
` + messageHelp,
		Example: "  pandanode edit tea mine \"The kettle is off\"",
		Args:    cobra.MinimumNArgs(3),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			text, err := a.text(args[2:])
			if err != nil {
				return err
			}
			sent, err := c.Edit(ctx, api.EditRequest{Group: args[0], Message: args[1], Text: text, Markdown: markdown})
			if err != nil {
				return err
			}
			return a.accepted(sent)
		}),
	}
	cmd.SetFlagErrorFunc(a.dashed)
	cmd.Flags().BoolVar(&markdown, "markdown", false, "the text is Markdown")
	return cmd
}

func (a *app) deleteCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "delete GROUP MESSAGE",
		Short: "Take a message away",
		Long: `Take away one of your messages; an owner or admin also takes away those of others, of its own
role or below. Every node of the group is asked to do so, and no node shows the message any
more. Somebody who has read it may have kept it, and so does a backup from before. The ID of
the deletion is printed.
` + messageHelp,
		Example: "  pandanode delete tea mine",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			sent, err := c.Delete(ctx, api.MessageRequest{Group: args[0], Message: args[1]})
			if err != nil {
				return err
			}
			return a.accepted(sent)
		}),
	}
}

func (a *app) reactCmd() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "react GROUP MESSAGE REACTION",
		Short: "React to a message with an emoji",
		Long: `React to a message with one emoji, or any other single character. With --remove the reaction
is taken back. You can react to a message 8 times. The ID of the reaction is printed.
` + messageHelp,
		Example: "  pandanode react tea last \u2764\n  pandanode react tea last \u2764 --remove",
		Args:    cobra.ExactArgs(3),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			r := api.ReactionRequest{Group: args[0], Message: args[1], Text: args[2]}
			does := c.React
			if remove {
				does = c.Unreact
			}
			sent, err := does(ctx, r)
			if err != nil {
				return err
			}
			return a.accepted(sent)
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the reaction back")
	return cmd
}

func (a *app) showMessageCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show GROUP MESSAGE",
		Short: "Show one message: its versions, and who reacted",
		Long: `Show one message with all that is known of it: its versions if it was edited, who reacted, and
its ID in the format of draft-ietf-mimi-content.
` + messageHelp,
		Example: "  pandanode show tea last\n  pandanode show tea rdvbok2b6yzqq3ne --json",
		Args:    cobra.ExactArgs(2),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			m, err := c.Message(ctx, api.MessageRequest{Group: args[0], Message: args[1]})
			if err != nil {
				return err
			}
			var members api.Members
			if !a.json { // of a group that is left nobody has a name
				members, _ = c.Members(ctx, api.GroupRequest{Group: m.Group})
			}
			return a.show(m, func() { a.whole(m, members) })
		}),
	}
}

// whole prints all of a message.
func (a *app) whole(m api.Message, members api.Members) {
	names, called := namesOf(members), map[string]string{}
	for _, o := range members.Members {
		called[o.User] = o.Name
	}
	const stamp = "2006-01-02 15:04:05"
	fmt.Fprintf(a.out, "message %s\nsent    %s\n", m.ID, m.Sent.Local().Format(stamp))
	if !m.Expires.IsZero() {
		fmt.Fprintf(a.out, "until   %s\n", m.Expires.Local().Format(stamp))
	}
	if m.MimiID != "" {
		fmt.Fprintf(a.out, "mimi    %s\n", m.MimiID)
	}
	if m.Thread != "" {
		fmt.Fprintf(a.out, "thread  %s\n", m.Thread)
	}
	if m.Replies > 0 {
		fmt.Fprintf(a.out, "answers %d\n", m.Replies)
	}
	reactions := m.Reactions
	m.Reactions = nil // in more words below
	fmt.Fprintln(a.out, a.said(m, names))
	for _, r := range reactions {
		var who []string
		for _, u := range r.Users {
			who = append(who, clean(person(names, u, called[u])))
		}
		fmt.Fprintf(a.out, "    %s by %s\n", clean(r.Text), strings.Join(who, ", "))
	}
	for _, v := range m.Versions {
		fmt.Fprintf(a.out, "    %s %s\n", a.paint(a.out, dim, v.Sent.Local().Format(stamp)), indented(v.Text))
	}
}

// indented gives a text as it stands under a line.
func indented(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n    ")
}

// body is the text of a message, or says that there is none, and why.
func (a *app) body(m api.Message, names *api.Names) string {
	by := func(name, id string) string { return clean(person(names, id, name)) }
	switch {
	case m.Fault != "":
		return a.paint(a.out, dim, "(cannot be shown: "+clean(m.Fault)+")")
	case m.Deleted != nil && m.Deleted.By == m.User:
		return a.paint(a.out, dim, "(deleted by its author)")
	case m.Deleted != nil:
		return a.paint(a.out, dim, "(deleted by "+by(m.Deleted.Name, m.Deleted.By)+")")
	case m.Expired:
		return a.paint(a.out, dim, "(expired)")
	case m.Data != nil:
		return fmt.Sprintf("(%d bytes of %s)", len(m.Data), clean(m.MediaType))
	}
	text := m.Text
	if m.Spans != nil {
		text = api.MarkedText(m.Spans)
	}
	text = indented(text)
	if len(m.Files) > 0 {
		text = strings.TrimPrefix(text+"\n    "+a.filesOf(m), "\n    ")
	}
	if m.Edited {
		text += a.paint(a.out, dim, " (edited)")
	}
	if r := m.ReplyTo; r != nil {
		to := "a message that is not here"
		if r.User != "" {
			to = by(r.Name, r.User)
			if r.Excerpt != "" {
				to += ": " + clean(r.Excerpt)
			}
		}
		text += "\n    " + a.paint(a.out, dim, "in answer to "+to)
	}
	if len(m.Reactions) > 0 {
		var all []string
		for _, r := range m.Reactions {
			all = append(all, fmt.Sprintf("%s %d", clean(r.Text), r.Count))
		}
		text += "\n    " + strings.Join(all, "  ")
	}
	return text
}

// changed says in a line what somebody did to a message, for the user me.
func changed(m api.Message, me string, names *api.Names) string {
	who := person(names, m.Change.By, m.Change.Name)
	if m.Change.By == me {
		who = "you"
	}
	whose := "a message of " + person(names, m.User, m.Name)
	switch m.User {
	case me:
		whose = "your message"
	case m.Change.By:
		whose = "a message of its own"
	}
	text := excerptOf(m.Text)
	if m.Spans != nil {
		text = excerptOf(api.MarkedText(m.Spans))
	}
	switch {
	case m.Change.What == "edit" && m.Edited:
		return fmt.Sprintf("%s edited %s: %s", who, whose, text)
	case m.Change.What == "delete" && m.Deleted != nil:
		return fmt.Sprintf("%s deleted %s", who, whose)
	case m.Change.What == "reaction":
		with := ""
		for _, r := range slices.Backward(m.Reactions) {
			if slices.Contains(r.Users, m.Change.By) {
				with = " with " + r.Text
				break
			}
		}
		return fmt.Sprintf("%s reacted to %s%s: %s", who, whose, with, text)
	}
	return ""
}

func excerptOf(text string) string {
	const most = 60
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > most {
		return string(line[:most]) + "\u2026"
	}
	return string(line)
}
