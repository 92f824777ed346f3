// Package bot answers messages of a group: each exactly once, whenever the bot or its node is
// killed. It is built on two things that every program can use by itself: a durable cursor
// (api.DurableCursor), by which a message comes again until it was dealt with, and the key of
// a request to send (api.SendRequest.Key), by which an answer that is sent again is sent once.
package bot

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Node is what a bot needs of a node: an api.Client is one.
type Node interface {
	ID(context.Context, api.Empty) (api.ID, error)
	Group(context.Context, api.GroupRequest) (api.Group, error)
	Timeline(ctx context.Context, r api.TimelineRequest, emit func(api.Happening) error) error
	Send(context.Context, api.SendRequest) (api.Sent, error)
	Acknowledge(context.Context, api.AcknowledgeRequest) (api.DurableCursor, error)
}

// Bot is one bot in one group.
type Bot struct {
	Node  Node
	Group string
	// Name is that of its cursor, and a part of the keys of its answers: two bots of one name
	// in one group take each other's messages away. See api.CursorRequest for what it may be.
	Name string
	// Answer gives the answer to a message; empty: none. It may be called again for a message
	// that was not acknowledged when the bot was killed, so what else it does has to bear that.
	// An error ends Run, and the message comes again at the next Run.
	Answer func(ctx context.Context, m api.Message) (string, error)
	// Refused is told of an answer that can never be sent: it is blank, longer than 64 KiB or no
	// UTF-8, the message is gone, or another answer to it was sent before the bot was killed. The
	// bot goes on, and the message does not come again. Nil: it is logged by log/slog.
	Refused func(ctx context.Context, m api.Message, err error)
}

// Pauses after the node went away. Between them Run tries again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// acknowledgeEvery is how many messages of a backlog are acknowledged together. Those between
// come again after a crash, and their answers are not sent again.
const acknowledgeEvery = 64

// Run answers the messages of others that come from its first start on, until ctx ends. While
// the node is away it waits. An error of Answer ends it, and so does one of the node that does
// not go away by itself: the group is not here, the bot may not write in it, a node of this
// process was closed. api.CodeInvalid: the bot lacks a field.
func (b *Bot) Run(ctx context.Context) error {
	if err := b.check(); err != nil {
		return err
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := b.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, errAway):
			return err
		case time.Since(began) > lastPause:
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errAway says that the node is away or locked, and may come back.
var errAway = errors.New("the node is away")

func away(err error) error {
	if err == nil {
		return nil
	}
	switch e := api.AsError(err); e.Code {
	case api.CodeUnavailable: // for good, if a node of this process was closed
		if !e.Retryable {
			return err
		}
	case api.CodeTimeout, api.CodeLocked:
	default:
		return err
	}
	return errors.Join(errAway, err)
}

// check refuses a bot that could not run.
func (b *Bot) check() error {
	for _, field := range []struct {
		name  string
		empty bool
	}{{"Node", b.Node == nil}, {"Group", b.Group == ""}, {"Name", b.Name == ""}, {"Answer", b.Answer == nil}} {
		if field.empty {
			return api.Errorf(api.CodeInvalid, "a bot needs a %s", field.name)
		}
	}
	return nil
}

func (b *Bot) run(ctx context.Context) error {
	me, err := b.Node.ID(ctx, api.Empty{})
	if err != nil {
		return away(err)
	}
	g, err := b.Node.Group(ctx, api.GroupRequest{Group: b.Group})
	if err != nil {
		return away(err)
	}
	t := &turn{Bot: b, me: me.User, group: g.ID, together: acknowledgeEvery}
	if err := t.read(ctx, false); err != nil {
		return err
	}
	if err := t.acknowledge(ctx); err != nil { // no other message may come for a long time
		return err
	}
	t.together = 1
	return t.read(ctx, true)
}

// turn is a bot as long as its node is there.
type turn struct {
	*Bot
	me, group string
	cursor    uint64 // up to which all is dealt with
	told      uint64 // that the node was told of
	waits     int    // messages between
	together  int    // that are acknowledged together
}

// read deals with what is there, or with what comes.
func (t *turn) read(ctx context.Context, follow bool) error {
	var failed error // of Answer, which is not the stream's
	err := t.Node.Timeline(ctx, api.TimelineRequest{Group: t.group, As: t.Name, Follow: follow}, func(h api.Happening) error {
		if h.Message != nil && h.Message.Change == nil && h.Message.User != t.me && h.Message.Deleted == nil && !h.Message.Expired {
			text, err := t.Answer(ctx, *h.Message)
			if err != nil {
				failed = err
				return err
			}
			if err := t.send(ctx, *h.Message, text); err != nil {
				return err
			}
			t.waits++
		}
		if t.cursor = h.Cursor; t.waits < t.together {
			return nil // the next one acknowledges it, too
		}
		return t.acknowledge(ctx)
	})
	if failed != nil {
		return failed
	}
	return away(err)
}

func (t *turn) acknowledge(ctx context.Context) error {
	if t.cursor == t.told {
		return nil
	}
	_, err := t.Node.Acknowledge(ctx, api.AcknowledgeRequest{Group: t.group, Name: t.Name, Cursor: t.cursor})
	if err == nil {
		t.told, t.waits = t.cursor, 0
	}
	return away(err)
}

// send sends an answer, if there is one. An answer that can never be sent is refused, so that
// nobody stops the bot with a message whose answer is one.
func (t *turn) send(ctx context.Context, m api.Message, text string) error {
	if text == "" {
		return nil
	}
	_, err := t.Node.Send(ctx, api.SendRequest{Group: t.group, Text: text, ReplyTo: m.ID, Key: t.Name + "/" + m.ID})
	if err == nil {
		return nil
	}
	hopeless, lost := t.hopeless(ctx, err)
	if err := away(lost); errors.Is(err, errAway) {
		return err
	}
	if !hopeless {
		return away(err)
	}
	if t.Refused == nil {
		slog.WarnContext(ctx, "the answer of a bot cannot be sent", "bot", t.Name, "group", t.group, "message", m.ID, "err", err)
	} else {
		t.Refused(ctx, m, err)
	}
	return nil
}

// hopeless says whether an error is of the answer alone: of its text, of a message that is gone,
// or since another answer has its key. lost says why that cannot be known.
func (t *turn) hopeless(ctx context.Context, err error) (is bool, lost error) {
	code := api.CodeOf(err)
	if code == api.CodeNotFound || code == api.CodeConflict {
		g, lost := t.Node.Group(ctx, api.GroupRequest{Group: t.group})
		return lost == nil && (g.State == api.StateMember || g.State == api.StateSyncing) && !g.Leaving, lost
	}
	return code == api.CodeInvalid, nil
}
