package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pandanode/pandanode/node/api"
)

// maxText is how long a message may be, in bytes.
const maxText = 64 << 10

const sendHelp = `Send a message of up to 64 KiB (65536 bytes); "-" reads it from stdin. Its ID is printed
once it is written and synced to the disk. From then on it is not lost, even if nobody is
connected or the power fails.

"@ben" mentions the member called ben, where no other name could be taken for it.

Its state is queued (durable here), published (sealed and given to the network) or held
(another device has said that it can read it; the count of such devices is shown). With
--wait the command ends when that state is reached. If --timeout is over first, the ID is
printed, the exit code is 7, and the message stays queued.

With --stdin every line of stdin is a message. Lines that are available at the same time are
written together, which is much faster than one command for each. The IDs are printed in the
order of the lines, each once its message is durable. Blank lines are skipped.

--file sends a file, with or without a text; it may be given up to 16 times. Members fetch it
from those who have it, a small one at once. EXIF, XMP, comments and the like, which tell
where and by whom a picture was taken, are taken out of JPEG, PNG and WebP first, unless
--keep-metadata is given; other formats go as they are.

--expire says how long the message stays, such as 30m, 12h or 7d; then every node erases it,
read or not. That may be sooner than the group's setting "expiry" says, not later. Who has read
it may have kept it.

--key names the message, so that the command can be repeated after a crash, a timeout or a lost
answer: with the same key and text it gives the same message, which is sent once. Another text
with that key is refused (exit code 9). A key is of this device and group, and counts for 30
days.

Write text that begins with "-" after "--": pandanode send tea -- -5
` + namingHelp

func (a *app) sendCmd() *cobra.Command {
	var (
		wait    string
		timeout time.Duration
		lines   bool
		files   []string
		key     string
		expire  string

		markdown, keepMetadata bool
	)
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use:     "send GROUP TEXT... | send GROUP - | send GROUP --stdin | send GROUP --file PATH",
		Short:   "Send a message",
		Long:    sendHelp,
		Example: "  pandanode send tea \"The kettle is on\"\n  git log -1 | pandanode send builds -\n  pandanode send tea --file panda.jpg \"Look who came\"\n  seq 1000 | pandanode send tea --stdin",
		Args: func(cmd *cobra.Command, args []string) error {
			if lines {
				return cobra.ExactArgs(1)(cmd, args)
			}
			if len(files) > 0 {
				return cobra.MinimumNArgs(1)(cmd, args)
			}
			return cobra.MinimumNArgs(2)(cmd, args)
		},
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if wait != "" && !slices.Contains(api.Deliveries, api.Delivery(wait)) {
				return api.Errorf(api.CodeInvalid, "--wait must be queued, published or held, not %q", wait)
			}
			if lines {
				if len(files) > 0 {
					return api.Errorf(api.CodeInvalid, "--stdin sends no files")
				}
				if key != "" {
					return api.Errorf(api.CodeInvalid, "--key is for one message; --stdin sends many")
				}
				if wait != "" {
					return api.Errorf(api.CodeInvalid, "--stdin does not wait: send the last message with --wait")
				}
				return a.sendLines(ctx, c, args[0], expire)
			}
			if cmd.Flags().Changed("key") && key == "" {
				return api.Errorf(api.CodeInvalid, "--key must not be empty")
			}
			text, err := a.textBeside(args[1:])
			if err != nil {
				return err
			}
			ids, err := a.upload(ctx, c, args[0], files, keepMetadata)
			if err != nil {
				return err
			}
			// Sent first, and waited for then: how ever the wait ends, the message has an ID to tell.
			sent, err := c.Send(ctx, api.SendRequest{Group: args[0], Text: text, Markdown: markdown, Mention: true, Files: ids, Key: key, Expire: expire})
			if err != nil {
				return err
			}
			var stopped error
			current, asked := true, time.Now()
			if !reached(sent.State, wait) {
				sent, current, stopped = waitFor(ctx, c, sent, api.Delivery(wait), timeout)
			}
			if err := a.show(sent, func() {
				if sent.State == api.DeliveryHeld {
					a.note("held by %d of %d devices", sent.HeldBy, sent.Readers)
				} else {
					a.note("%s", sent.State)
				}
				if sent.Note != "" {
					a.note("%s", sent.Note)
				}
				if sent.Again {
					a.note("it was sent before with this key, and not again")
				}
				fmt.Fprintln(a.out, sent.ID)
			}); err != nil {
				return err
			}
			if reached(sent.State, wait) {
				return nil
			}
			return &told{missed(ctx, sent, current, stopped, time.Since(asked), timeout).WithHint("pandanode why %s %s", word(args[0]), sent.ID)}
		}),
	}
	cmd.SetFlagErrorFunc(a.dashed)
	cmd.Flags().StringVar(&wait, "wait", "", "wait for a state: queued, published or held")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: for ever")
	cmd.Flags().StringArrayVar(&files, "file", nil, "send this file; may be repeated")
	cmd.Flags().BoolVar(&keepMetadata, "keep-metadata", false, "leave in pictures where and by whom they were taken")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "the text is Markdown")
	cmd.Flags().StringVar(&expire, "expire", "", "how long it stays, such as 12h or 7d; as the group says if not given")
	cmd.Flags().StringVar(&key, "key", "", "send it once, however often the command is repeated with this key")
	cmd.Flags().BoolVar(&lines, "stdin", false, "send every line of stdin as a message")
	return cmd
}

// reached says whether a message is as far as was asked for.
func reached(state api.Delivery, wait string) bool {
	return slices.Index(api.Deliveries, state) >= slices.Index(api.Deliveries, api.Delivery(wait))
}

// waitFor waits until a sent message is as far as that. Also where the wait was broken off
// it gives the last state that the node told, and whether that is the state now.
func waitFor(ctx context.Context, c *api.Client, sent api.Sent, level api.Delivery, timeout time.Duration) (last api.Sent, current bool, err error) {
	r := api.DeliveryRequest{Group: sent.Group, Message: sent.ID, Wait: level, Timeout: api.Duration(timeout)}
	now, stopped := c.Delivery(ctx, r)
	if stopped == nil {
		return now, true, nil
	}
	const moment = time.Second // a person who has pressed Ctrl-C does not wait for long
	once, cancel := context.WithTimeout(context.WithoutCancel(ctx), moment)
	defer cancel()
	r.Wait = ""
	if now, err := c.Delivery(once, r); err == nil {
		return now, true, stopped
	}
	return sent, false, stopped
}

// missed says that a message is not as far as was asked for, why the wait is over, and
// what is known of the message: its state, or, if the node does not answer, its last one.
func missed(ctx context.Context, sent api.Sent, current bool, stopped error, waited, timeout time.Duration) *api.Error {
	state := "it is " + string(sent.State)
	if !current {
		state = fmt.Sprintf("it was %s when last known", sent.State)
	}
	message := fmt.Sprintf("message %s is written down here and not lost; %s", api.Short(sent.ID), state)
	switch {
	case ctx.Err() != nil:
		return api.Errorf(api.CodeInterrupted, "%s: %s", api.AsError(brokenOff(ctx, context.Canceled)).Message, message)
	case stopped != nil:
		return api.Errorf(api.CodeOf(stopped), "the node no longer answers: %s", message)
	case timeout == 0 || waited < timeout: // it answers before its time when it ends
		return api.Errorf(api.CodeUnavailable, "the node stops: %s, and goes on when the node runs again", message)
	}
	return api.Errorf(api.CodeTimeout, "still %s after %v: message %s is not lost and goes out once it can", sent.State, timeout, api.Short(sent.ID))
}

// dashed explains a flag that a command with a text does not have: it may be the text.
func (a *app) dashed(cmd *cobra.Command, err error) error {
	text := ""
	switch e := err.(type) { //nolint:errorlint // as pflag gives it, unwrapped
	case *pflag.NotExistError:
		if text = "--" + e.GetSpecifiedName(); e.GetSpecifiedShortnames() != "" {
			text = "-" + e.GetSpecifiedShortnames()
		}
	default:
		return err
	}
	named := []string{cmd.CommandPath()}
	for i, what := range strings.Fields(cmd.Use)[1:] {
		if what == "TEXT..." {
			break
		}
		if args := cmd.Flags().Args(); i < len(args) {
			what = word(args[i])
		}
		named = append(named, what)
	}
	typed := []string{word(text)}
	if at := slices.IndexFunc(a.args, func(s string) bool { return strings.HasPrefix(s, text) }); at >= 0 {
		typed = nil
		for _, s := range a.args[at:] {
			typed = append(typed, word(s))
		}
	}
	return &failure{api.Errorf(api.CodeInvalid, "%s has no flag %s; write text that begins with \"-\" after \"--\"", cmd.Name(), text).
		WithHint("%s -- %s", strings.Join(named, " "), strings.Join(typed, " "))}
}

// Bounds of the lines that are sent together: no more than the node takes at once.
const (
	maxLines     = 256
	maxLineBytes = 128 << 10 // in JSON, where a byte may take six
)

// sendLines sends every line of stdin, and together those that are there already.
func (a *app) sendLines(ctx context.Context, c *api.Client, group, expire string) error {
	in := bufio.NewReaderSize(a.stdin(), 2*maxText)
	var texts []string
	size := 0
	flush := func() error {
		if len(texts) == 0 {
			return nil
		}
		sent, err := c.Send(ctx, api.SendRequest{Group: group, Texts: texts, Expire: expire})
		if err != nil {
			return err
		}
		for _, id := range sent.IDs {
			if err := a.show(api.Sent{ID: id, Group: sent.Group, State: sent.State}, func() { fmt.Fprintln(a.out, id) }); err != nil {
				return err
			}
		}
		texts, size = nil, 0
		return nil
	}
	for n := 1; ; n++ {
		stopped := func(err error) error {
			if sent := flush(); sent != nil {
				return sent
			}
			return api.Errorf(api.CodeOf(err), "line %d of stdin: %v; the lines before it are sent, and it and those after it are not", n, err)
		}
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return stopped(checkText(string(line)))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(flush(), fmt.Errorf("reading stdin: %w", err))
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		if !blank(text) {
			if err := checkText(text); err != nil {
				return stopped(err)
			}
			if len(texts) == maxLines || size+len(text) > maxLineBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			texts, size = append(texts, text), size+len(text)
		}
		if err != nil {
			return flush()
		}
		if in.Buffered() == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// textBeside is text where there may be none, since files go with it.
func (a *app) textBeside(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	return a.text(args)
}

// text returns the message in the arguments, or on stdin.
func (a *app) text(args []string) (string, error) {
	text := strings.Join(args, " ")
	if len(args) == 1 && args[0] == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin(), maxText+2))
		if err != nil {
			return "", fmt.Errorf("reading stdin: %w", err)
		}
		text = strings.TrimSuffix(string(b), "\n")
	}
	return text, checkText(text)
}

func checkText(text string) error {
	switch {
	case len(text) > maxText:
		return api.Errorf(api.CodeInvalid, "the message has more than %d bytes (64 KiB), which is the limit", maxText)
	case text == "":
		return api.Errorf(api.CodeInvalid, "the message is empty")
	case !utf8.ValidString(text):
		return api.Errorf(api.CodeInvalid, "the message is not UTF-8")
	case blank(text):
		return api.Errorf(api.CodeInvalid, "the message is blank: it has no visible characters")
	}
	return nil
}

// blank says whether there is nothing but spaces in a text. The node refuses other text
// that cannot be seen.
func blank(text string) bool { return strings.TrimSpace(text) == "" }
