package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) chatCmd() *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:   "chat [GROUP]",
		Short: "Read and write in a group",
		Long: `Read and write in a group; without a GROUP in the one where something happened last. On a
terminal the chat has all of it: the groups, the messages, and a line to write on. F1 shows
the keys, Ctrl-C ends it. Messages that were in view are marked as read.

A line that begins with "/" is a command: "/reply last Yes", "/react last ` + "\u2764" + `",
"/edit mine TEXT", "/delete mine", "/send --file PATH", "/why last", "/members", "/invite",
"/groups", "/chat GROUP" for another group; "/help" lists them, "/quit" ends the chat. A message
that begins with "/" is written with two: "//".

While the node is away, messages wait and are sent when it is back. One that cannot be sent
is shown again. A node that is locked asks for its passphrase.

--plain writes line by line, for screen readers and pipes; so does a terminal that is dumb. It
shows what is unread, at least the last 20 lines, and goes on with new ones; each line that
you type is sent.
` + namingHelp,
		Example: "  pandanode chat tea --plain",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			whole := !plain && a.wholeTerminal()
			if whole && len(args) == 0 {
				return a.fullChat(ctx, c, "") // it says itself that there is no group, or no node
			}
			g, err := chatGroup(ctx, c, args)
			if err != nil {
				return err
			}
			if whole {
				return a.fullChat(ctx, c, g.ID)
			}
			return a.plainChat(ctx, c, g)
		}),
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "line by line, for screen readers and pipes")
	return cmd
}

// chatGroup is the group that was named, or the one where something happened last.
func chatGroup(ctx context.Context, c *api.Client, args []string) (api.Group, error) {
	if len(args) == 1 {
		return c.Group(ctx, api.GroupRequest{Group: args[0]})
	}
	all, err := c.Groups(ctx, api.Empty{})
	if err != nil {
		return api.Group{}, err
	}
	if len(all.Groups) == 0 {
		return api.Group{}, api.Errorf(api.CodeNotFound, "this node has no groups").WithHint("pandanode group find, or pandanode group create NAME")
	}
	return slices.MaxFunc(all.Groups, func(x, y api.Group) int { return x.Active.Compare(y.Active) }), nil
}

// Words of a chat that are no commands of the command line.
const (
	slashQuit = "quit"
	slashHelp = "help"
	slashChat = "chat" // with a group: go there
)

// slashTalk and slashNode are the commands that a chat has: none that waits for ever, asks
// for a secret, or ends or replaces the node. All commands of "group" are among them.
var (
	slashTalk = []string{"reply", "edit", "delete", "react", "show", "why", "search", "people", "verify", "unverify", "petname", "block", "unblock", "send"}
	slashNode = []string{"status", "doctor", "id", "name", "peers", "version", "group"}
)

// slashing is a line of a chat that begins with a slash.
type slashing struct {
	word string   // quit, help, chat; empty: a command
	rest string   // behind that word
	args []string // of a command
	says bool     // it says something about a message, which the chat shows itself
}

// slashed reads such a line: as a command of the command line, about the group with this ID
// where it is about one.
func (a *app) slashed(line, group string) (slashing, error) {
	name, rest := cutWord(strings.TrimPrefix(line, "/"))
	switch name {
	case slashQuit, slashHelp, slashChat:
		return slashing{word: name, rest: rest}, nil
	case "groups":
		name, rest = "group", "list "+rest
	}
	unknown := func() (slashing, error) {
		return slashing{}, api.Errorf(api.CodeInvalid, "there is no command /%s here; /help lists them", name).
			WithHint("a message that begins with \"/\" is written with two: /%s", line)
	}
	root := (&app{}).root()
	cmd := child(root, name)
	switch {
	case cmd != nil && !slices.Contains(slashTalk, name) && !slices.Contains(slashNode, name):
		return unknown()
	case cmd == nil:
		if cmd = child(child(root, "group"), name); cmd == nil {
			return unknown()
		}
	}
	for cmd.HasSubCommands() {
		word, more := cutWord(rest)
		next := child(cmd, word)
		if next == nil {
			break // the command says so
		}
		cmd, rest = next, more
	}
	args := strings.Fields(cmd.CommandPath())[1:]
	words, whole := placesOf(cmd)
	for strings.HasPrefix(rest, "--") && whole { // else they may stand anywhere
		flag, more := cutWord(rest)
		args, rest = append(args, flag), more
		if f := cmd.Flags().Lookup(flag[2:]); f != nil && f.NoOptDefVal == "" { // its value is the next word
			value, more := cutQuoted(rest)
			if f.Name == "file" {
				value = a.ofHome(value)
			}
			args, rest = append(args, value), more
		}
	}
	if whole {
		args = append(args, "--") // a text may begin with a dash
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "GROUP") && cmd.Name() != "join" { // which is about a group of others
		args, words = append(args, group), words[1:]
	}
	if !whole {
		args = append(args, quotedWords(rest)...)
	} else {
		for range len(words) - 1 {
			var word string
			if word, rest = cutWord(rest); word != "" {
				args = append(args, word)
			}
		}
		if rest != "" {
			args = append(args, rest)
		}
	}
	return slashing{args: args, says: cmd.Parent() == root && slices.Contains([]string{"send", "reply", "edit", "delete", "react"}, cmd.Name())}, nil
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name && !c.Hidden {
			return c
		}
	}
	return nil
}

// placesOf are the words of a command's usage for its arguments, of the form that names a
// group if there is one, and whether the last argument is a text to the end of the line.
func placesOf(cmd *cobra.Command) (words []string, whole bool) {
	forms := strings.Split(cmd.Use, " | ")
	form := forms[0]
	for _, f := range forms {
		if !strings.Contains(form, " GROUP") && strings.Contains(f, " GROUP") {
			form = f
		}
	}
	if words = strings.Fields(form)[1:]; len(words) == 0 {
		return nil, false
	}
	return words, slices.Contains([]string{"TEXT", "TEXT...", "WORDS...", "NAME", "NEW"}, words[len(words)-1])
}

// cutWord cuts the first word off a text.
func cutWord(text string) (word, rest string) {
	text = strings.TrimSpace(text)
	if at := strings.IndexAny(text, " \t\n"); at >= 0 {
		return text[:at], strings.TrimSpace(text[at:])
	}
	return text, ""
}

// cutQuoted cuts the first word off a text, which may be in double quotes.
func cutQuoted(text string) (word, rest string) {
	text = strings.TrimSpace(text)
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		word, rest, _ = strings.Cut(quoted, `"`)
		return word, strings.TrimSpace(rest)
	}
	return cutWord(text)
}

// ofHome gives a path that begins with "~/", the home of this user, in full.
func (a *app) ofHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && a.getenv("HOME") != "" {
		return filepath.Join(a.getenv("HOME"), rest)
	}
	return path
}

// quotedWords are the words of a text, where double quotes hold several together.
func quotedWords(text string) (words []string) {
	var b strings.Builder
	quoted, begun := false, false
	for _, r := range text {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case !quoted && (r == ' ' || r == '\t' || r == '\n'):
			if begun {
				words = append(words, b.String())
			}
			b.Reset()
			begun = false
		default:
			b.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, b.String())
	}
	return words
}

// slashTime is how long a command of a chat may take: nobody can write meanwhile.
const slashTime = 30 * time.Second

// slash carries out a command of a chat, and gives what it prints. It reads no input: that is
// the chat's. An error is in the notes.
func (a *app) slash(ctx context.Context, s slashing) (out, diag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, slashTime)
	defer cancel()
	var to, notes bytes.Buffer
	args := s.args
	if a.home != "" {
		args = append([]string{"--home", a.home}, args...)
	}
	if a.json {
		args = append([]string{"--json"}, args...)
	}
	one := &app{program: a.program, in: strings.NewReader(""), out: &to, err: &notes, environ: a.environ}
	if err = one.attempt(ctx, args); err != nil {
		one.complain(one.helping(err))
	} else if s.says && !a.json {
		to.Reset() // an ID; the chat shows what was said
	}
	return to.String(), notes.String(), err
}

// slashes lists the commands of a chat.
func slashes() []string {
	root := (&app{}).root()
	rows := [][]string{
		{"/chat GROUP", "go to another group"},
		{"/groups", "list the groups"},
		{"/help", "show this"},
		{"/quit", "end the chat"},
		{"/send --file PATH [TEXT]", "send a file; Tab completes its path"},
	}
	add := func(cmd *cobra.Command) {
		words, _ := placesOf(cmd)
		if len(words) > 0 && words[0] == "GROUP" && cmd.Name() != "join" {
			words = words[1:]
		}
		rows = append(rows, []string{strings.Join(append([]string{"/" + cmd.Name()}, words...), " "), cmd.Short})
	}
	for _, name := range slices.Concat(slashTalk[:len(slashTalk)-1], slashNode[:len(slashNode)-1]) {
		add(child(root, name))
	}
	for _, cmd := range child(root, "group").Commands() {
		if child(root, cmd.Name()) == nil && cmd.Name() != "list" && !cmd.Hidden && cmd.Name() != "help" {
			add(cmd)
		}
	}
	return columns(rows)
}

// unsent says what a chat could not send, so that it can be copied.
func unsent(text string) string { return fmt.Sprintf("not sent: %s", clean(text)) }
