package main

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/pandanode/pandanode/cmd/pandanode/screen"
	"github.com/pandanode/pandanode/node/api"
)

// fullChat shows the chat on the whole terminal, with this group first; empty: the one where
// something happened last. Afterwards it says what was not sent, so that it can be copied.
func (a *app) fullChat(ctx context.Context, c *api.Client, group string) error {
	t := screen.Terminal{In: a.in, Out: a.out, Environ: a.environ}
	texts, err := screen.Run(ctx, t, a.screenHost(c), c, group)
	for _, text := range texts {
		a.note("%s", unsent(text))
	}
	if len(texts) > 0 && err == nil {
		err = api.Errorf(api.CodeUnavailable, "the node does not answer: %d messages were not sent", len(texts))
	}
	return err
}

// wholeTerminal says whether the chat can have the whole terminal.
func (a *app) wholeTerminal() bool {
	return isTerminal(a.in) && isTerminal(a.out) && a.getenv("TERM") != "dumb" && !a.json
}

func (a *app) screenHost(c *api.Client) screen.Host {
	h := screen.Host{
		Deed: deedBy, Check: checkText, QR: qrBlocks, Slash: a.slashOnScreen, Now: time.Now,
		Save: func(ctx context.Context, file string) (string, error) {
			var last api.File
			err := c.FetchFile(ctx, api.FetchFileRequest{File: file}, func(f api.File) error {
				last = f
				return nil
			})
			if err != nil {
				return "", err
			}
			path, err := a.write(ctx, c, last, "")
			if err != nil {
				return "", err
			}
			return filepath.Abs(path)
		},
		Commands: slashes(),
		Home:     a.getenv("HOME"),
		Editor:   strings.Fields(cmp.Or(a.getenv("VISUAL"), a.getenv("EDITOR"), "vi")),
	}
	for _, l := range h.Commands {
		word, _, _ := strings.Cut(l, " ")
		h.Words = append(h.Words, word)
	}
	return h
}

// slashOnScreen carries out a line that begins with a slash.
func (a *app) slashOnScreen(ctx context.Context, line, group string) screen.Answer {
	s, err := a.slashed(line, group)
	if err != nil {
		return screen.Answer{Err: err}
	}
	switch s.word {
	case slashQuit:
		return screen.Answer{Quit: true}
	case slashHelp:
		return screen.Answer{Help: true}
	case slashChat:
		c, err := a.client()
		if err != nil {
			return screen.Answer{Err: err}
		}
		defer c.Close()
		g, err := c.Group(ctx, api.GroupRequest{Group: s.rest})
		return screen.Answer{Go: g.ID, Err: err}
	}
	out, diag, err := a.slash(ctx, s)
	return answerOf(out, diag, err)
}

// answerOf is what a command has printed, as a screen shows it: an invite link, or an address
// of the node, also as a QR code.
func answerOf(out, diag string, err error) screen.Answer {
	answer := screen.Answer{Err: err}
	var lines []string
	for l := range strings.Lines(diag + out) {
		l = strings.TrimRight(l, "\n")
		switch {
		case strings.HasPrefix(l, linkPrefix):
			answer.Link = l
		case strings.ContainsAny(l, "█▀▄"): // a QR code of --qr, which is drawn anew
			continue
		}
		lines = append(lines, l)
	}
	if answer.Text = strings.Join(lines, "\n"); err == nil && blank(answer.Text) {
		answer.Text = ""
	}
	return answer
}

// qrBlocks draws a QR code without colours, of its dark modules or of its light ones.
func qrBlocks(text string, inverted bool) ([]string, error) {
	lines, err := qrLines(text, !inverted)
	for i := range lines {
		lines[i] = strings.TrimSuffix(strings.TrimPrefix(lines[i], "\x1b[30;107m"), "\x1b[0m")
	}
	return lines, err
}
