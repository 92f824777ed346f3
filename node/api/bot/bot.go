// Package bot answers messages of a group: each exactly once, whenever the bot or its node is
// killed. It is built on two things that every program can use by itself: a durable cursor
// (api.DurableCursor), by which a message comes again until it was dealt with, and the key of
// a request to send (api.SendRequest.Key), by which an answer that is sent again is sent once.
package bot

import (
	"context"
	"errors"
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
	// whose answer was not sent when the bot was killed, so what else it does has to bear that.
	// An error ends Run, and the message comes again at the next Run.
	Answer func(ctx context.Context, m api.Message) (string, error)
}

// Pauses after the node went away. Between them Run tries again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// acknowledgeEvery is how many messages are acknowledged together. Those between come again
// after a crash, and their answers are not sent again.
const acknowledgeEvery = 64

// Run answers the messages of others that come from its first start on, until ctx ends. While
// the node is away it waits. An error of Answer ends it, and so does one of the node that does
// not go away by itself, such as that the group is not here.
func (b *Bot) Run(ctx context.Context) error {
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
	if code := api.CodeOf(err); code == api.CodeUnavailable || code == api.CodeTimeout || code == api.CodeLocked {
		return errors.Join(errAway, err)
	}
	return err
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
	acknowledge := func(cursor uint64) error {
		_, err := b.Node.Acknowledge(ctx, api.AcknowledgeRequest{Group: g.ID, Name: b.Name, Cursor: cursor})
		return away(err)
	}
	var failed error // of Answer, which is not the stream's
	waits := 0
	err = b.Node.Timeline(ctx, api.TimelineRequest{Group: g.ID, As: b.Name, Follow: true}, func(h api.Happening) error {
		if h.Message == nil || h.Message.Change != nil || h.Message.User == me.User || h.Message.Deleted != nil || h.Message.Expired {
			return nil // the next message acknowledges it, too
		}
		text, err := b.Answer(ctx, *h.Message)
		if err != nil {
			failed = err
			return err
		}
		if text != "" {
			if _, err := b.Node.Send(ctx, api.SendRequest{Group: g.ID, Text: text, ReplyTo: h.Message.ID, Key: b.Name + "/" + h.Message.ID}); err != nil {
				return away(err)
			}
		}
		if waits++; waits < acknowledgeEvery && !h.Live {
			return nil
		}
		waits = 0
		return acknowledge(h.Cursor)
	})
	if failed != nil {
		return failed
	}
	return away(err)
}
