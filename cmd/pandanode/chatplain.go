package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// plainChat is a chat line by line.
type plainChat struct {
	*app
	c  *api.Client
	me string

	run   string // this run of the program: the keys of what it sends begin with it
	typed bool   // the input is a terminal, which shows what is typed

	mu   sync.Mutex // of the output and of what follows
	at   *tailed
	sent map[string]bool    // messages of this chat that the terminal shows already
	kept []keptLine         // that wait for the node
	halt context.CancelFunc // of the stream of what comes, so that the node is tried again
	keys int                // of lines that were sent, or are kept
}

// keptLine is a line that waits for the node, which may have it: by its key it is one message.
type keptLine struct{ text, key string }

// plainChat shows a group and sends what is read, until the input or ctx ends.
func (a *app) plainChat(ctx context.Context, c *api.Client, g api.Group) error {
	me, err := c.ID(ctx, api.Empty{})
	if err != nil {
		return err
	}
	p := &plainChat{app: a, c: c, me: me.User, run: rand.Text(), typed: isTerminal(a.in), sent: map[string]bool{}}
	lines, read := make(chan string), make(chan error, 1)
	ended := make(chan struct{})
	defer close(ended)
	go func() { read <- linesOf(a.in, lines, ended) }() // a read of a terminal cannot be broken off: it ends with the program

	var first error // of what was read from a pipe: the exit code tells of it
	for {
		next, err := p.in(ctx, g, lines, read, &first)
		if err != nil || next.ID == "" {
			return err
		}
		g = next
	}
}

// in is the chat in one group. It gives the group to go to next, if any.
func (p *plainChat) in(ctx context.Context, g api.Group, lines <-chan string, read chan error, first *error) (next api.Group, err error) {
	if err := p.open(ctx, g); err != nil {
		return next, err
	}
	watch, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() { failed <- p.watch(watch) }()
	halt := func() error {
		stop()
		return <-failed
	}
	for {
		select {
		case err := <-failed:
			stop()
			return next, p.leave(cmp.Or(err, context.Cause(ctx)))
		case line := <-lines:
			to, quit, err := p.typedLine(ctx, line)
			if err != nil && *first == nil && !p.typed {
				*first = err
			}
			if to.ID == "" && !quit {
				continue
			}
			if err := halt(); err != nil {
				return next, err
			}
			if quit {
				return next, p.leave(ofLine(*first))
			}
			return to, nil
		case err := <-read:
			_ = halt() // the last look at the group says it, too
			if err != nil {
				return next, p.leave(err)
			}
			if err := p.back(ctx); err != nil {
				return next, p.leave(err)
			}
			return next, p.leave(ofLine(*first))
		}
	}
}

// ofLine is the error of a chat in which this error was said of a line.
func ofLine(err error) error {
	if err == nil {
		return nil
	}
	return api.Errorf(api.CodeOf(err), "not all lines were sent or carried out; the first error was: %s", api.AsError(err).Message)
}

// leave ends the chat with err, and says what was not sent.
func (p *plainChat) leave(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.kept {
		p.note("%s", unsent(l.text))
	}
	if len(p.kept) > 0 && err == nil {
		err = api.Errorf(api.CodeUnavailable, "the node does not answer: lines were not sent")
	}
	return err
}

// open shows what is unread in a group, or its last lines if they are more.
func (p *plainChat) open(ctx context.Context, g api.Group) error {
	t := &tailed{id: g.ID, name: g.Name, names: api.NamesOf(), past: g.Cursor}
	if m, err := p.c.Members(ctx, api.GroupRequest{Group: g.ID}); err == nil { // a group that is still joined has none to tell of
		t.names = namesOf(m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = t
	p.note("%s: /help lists the commands", clean(g.Name))
	var past []api.Happening
	collect := func(h api.Happening) error { past = append(past, h); return nil }
	if err := p.c.Timeline(ctx, api.TimelineRequest{Group: g.ID, Last: lastLines}, collect); err != nil {
		return err
	}
	if len(past) > 0 && past[0].More && past[0].Cursor > g.Read && g.Unread > 0 { // what is marked as read was shown
		past = nil
		if err := p.c.Timeline(ctx, api.TimelineRequest{Group: g.ID, Since: g.Read}, collect); err != nil {
			return err
		}
	}
	marked := g.Unread == 0
	for _, h := range past {
		if m := h.Message; !marked && m != nil && !m.Own && h.Cursor > g.Read {
			p.note("unread from here:")
			marked = true
		}
		if err := p.print(h); err != nil {
			return err
		}
	}
	p.mark(ctx)
	return nil
}

// print shows one item; p.mu is held.
func (p *plainChat) print(h api.Happening) error {
	p.at.cursor = max(p.at.cursor, h.Cursor)
	if m := h.Message; m != nil && m.Change == nil && m.Own {
		if p.sent[m.ID] {
			delete(p.sent, m.ID)
			return nil
		}
	}
	return p.printHappening(happened{p.at, h}, p.me, false)
}

// mark marks as read what was shown. A message that is not marked is only counted again.
func (p *plainChat) mark(ctx context.Context) {
	if p.at.cursor > 0 {
		_, _ = p.c.Read(ctx, api.ReadRequest{Group: p.at.id, Cursor: p.at.cursor})
	}
}

// show shows a new item.
func (p *plainChat) show(ctx context.Context) func(api.Happening) error {
	return func(h api.Happening) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.print(h); err != nil {
			return err
		}
		p.mark(ctx)
		return nil
	}
}

// catchUp shows what is there and was not shown yet.
func (p *plainChat) catchUp(ctx context.Context) error {
	return p.c.Timeline(ctx, api.TimelineRequest{Group: p.at.id, Since: p.at.cursor}, p.show(ctx))
}

// Bounds of the time between two tries to reach a node that is away.
const (
	firstTry = 100 * time.Millisecond
	lastTry  = 3 * time.Second
)

// watch shows what comes, until ctx ends. While the node is away it keeps trying.
func (p *plainChat) watch(ctx context.Context) error {
	away, wait := false, firstTry
	for {
		var err error
		if away {
			if err = p.back(ctx); err == nil {
				away, wait = false, firstTry
				p.mu.Lock()
				p.note("the node is back")
				p.mu.Unlock()
			}
		}
		follow, halt := context.WithCancel(ctx)
		if !away {
			p.mu.Lock()
			p.halt = halt
			p.mu.Unlock()
			err = p.c.Timeline(follow, api.TimelineRequest{Group: p.at.id, Since: p.at.cursor, Follow: true}, p.show(ctx))
		}
		halted := follow.Err() != nil
		halt()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was ended
		case halted:
			err = api.Errorf(api.CodeUnavailable, "an answer was lost")
		case err == nil: // as when it stops
			err = api.Errorf(api.CodeUnavailable, "it ended the stream")
		case !unanswered(err):
			return err
		}
		if !away {
			away = true
			p.mu.Lock()
			p.note("the node is away: lines wait until it is back (%s)", clean(api.AsError(err).Message))
			p.mu.Unlock()
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, lastTry)
		case <-ctx.Done():
			return nil
		}
	}
}

// back sends what waited while the node was away, and shows what came.
func (p *plainChat) back(ctx context.Context) error {
	if err := p.sendKept(ctx); err != nil {
		return err
	}
	return p.catchUp(ctx)
}

func (p *plainChat) sendKept(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.kept) > 0 {
		if err := p.send(ctx, p.kept[0]); err != nil {
			if unanswered(err) {
				return err
			}
			p.complain(p.helping(err))
			p.note("%s", unsent(p.kept[0].text))
		}
		p.kept = p.kept[1:]
	}
	return nil
}

// unanswered says whether an error leaves open what became of a message: it is sent again.
func unanswered(err error) bool {
	code := api.CodeOf(err)
	return code == api.CodeUnavailable || code == api.CodeLocked
}

// send sends a message; p.mu is held, so that the message is not shown before it is known.
func (p *plainChat) send(ctx context.Context, l keptLine) error {
	sent, err := p.c.Send(ctx, api.SendRequest{Group: p.at.id, Text: l.text, Key: l.key})
	if err == nil && p.typed {
		p.sent[sent.ID] = true
	}
	return err
}

// typedLine does what a line says. An error was said already.
func (p *plainChat) typedLine(ctx context.Context, line string) (to api.Group, quit bool, err error) {
	text, isText := strings.CutPrefix(line, "//")
	switch {
	case isText:
		line = "/" + text
	case strings.HasPrefix(line, "/"):
		return p.slashLine(ctx, line)
	case blank(line):
		return to, false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys++
	l := keptLine{line, fmt.Sprintf("chat/%s/%d", p.run, p.keys)}
	if err = checkText(line); err == nil {
		if len(p.kept) > 0 { // in their order
			p.kept = append(p.kept, l)
			return to, false, nil
		}
		err = p.send(ctx, l)
	}
	switch {
	case err == nil:
	case unanswered(err) && ctx.Err() == nil:
		p.kept = append(p.kept, l)
		p.note("kept until the node is back: %s", clean(line))
		if p.halt != nil {
			p.halt()
		}
		return to, false, nil
	default:
		p.complain(p.helping(err))
		p.note("%s", unsent(line))
	}
	return to, false, err
}

func (p *plainChat) slashLine(ctx context.Context, line string) (to api.Group, quit bool, err error) {
	s, err := p.slashed(line, p.at.id)
	if err == nil && s.word == slashChat {
		p.mu.Lock()
		waits := len(p.kept) > 0
		p.mu.Unlock()
		if waits {
			err = api.Errorf(api.CodeUnavailable, "lines still wait for the node")
		}
	}
	if err == nil && s.word == slashChat {
		to, err = p.c.Group(ctx, api.GroupRequest{Group: s.rest})
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.complain(p.helping(err))
		return to, false, err
	}
	switch s.word {
	case slashChat:
		return to, false, nil
	case slashQuit:
		return to, true, nil
	case slashHelp:
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, l := range slashes() {
			p.note("%s", l)
		}
		return to, false, nil
	}
	out, diag, err := p.slash(ctx, s)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, wrong := io.WriteString(p.out, out)
	_, _ = io.WriteString(p.err, diag)
	return to, false, cmp.Or(err, wrong)
}

// linesOf gives the lines of an input until it, or what takes them, ends. Of a line that is
// too long to be sent it gives as much as shows that.
func linesOf(in io.Reader, lines chan<- string, ended <-chan struct{}) error {
	r := bufio.NewReader(in)
	for {
		var line []byte
		for {
			part, err := r.ReadSlice('\n')
			line = append(line, part[:min(len(part), maxText+2-len(line))]...)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("reading stdin: %w", err)
			}
			if text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"); text != "" || err == nil {
				select {
				case lines <- text:
				case <-ended:
					return nil
				}
			}
			if err != nil {
				return nil //nolint:nilerr // the end
			}
			break
		}
	}
}
