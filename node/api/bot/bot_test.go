package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/bot"
)

// node is the part of a node that a bot sees. It fails when it is told to, before it has done
// what is asked or after, as a node does that is killed.
type node struct {
	messages []api.Message
	cursor   uint64
	sent     map[string]string // by key
	twice    []string
	calls    int
	fails    func(call int, after bool) bool
	served   func() // after all messages were given
}

func (n *node) call(do func()) error {
	n.calls++
	if n.fails != nil && n.fails(n.calls, false) {
		return api.Errorf(api.CodeUnavailable, "killed")
	}
	if do(); n.fails != nil && n.fails(n.calls, true) {
		return api.Errorf(api.CodeUnavailable, "killed")
	}
	return nil
}

func (n *node) ID(context.Context, api.Empty) (api.ID, error) { return api.ID{User: "me"}, nil }

func (n *node) Group(_ context.Context, r api.GroupRequest) (api.Group, error) {
	if r.Group != "tea" {
		return api.Group{}, api.Errorf(api.CodeNotFound, "no such group")
	}
	return api.Group{ID: "tea"}, nil
}

func (n *node) Send(_ context.Context, r api.SendRequest) (out api.Sent, err error) {
	return out, n.call(func() {
		if before, ok := n.sent[r.Key]; ok && before != r.Text {
			n.twice = append(n.twice, r.Key)
		}
		n.sent[r.Key] = r.Text
	})
}

func (n *node) Acknowledge(_ context.Context, r api.AcknowledgeRequest) (out api.DurableCursor, err error) {
	return out, n.call(func() { n.cursor = max(n.cursor, r.Cursor) })
}

func (n *node) Timeline(_ context.Context, r api.TimelineRequest, emit func(api.Happening) error) error {
	for i, m := range n.messages {
		if m.Cursor <= n.cursor {
			continue
		}
		if err := emit(api.Happening{Cursor: m.Cursor, Message: &m, Live: i >= len(n.messages)/2}); err != nil {
			return err
		}
	}
	n.served()
	return api.Errorf(api.CodeUnavailable, "killed")
}

// Each message of another user is answered once, wherever the node is killed: before or after
// each call that it serves.
func TestAnswersOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for kill := range 40 {
			after := kill%2 == 1
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			n := &node{sent: map[string]string{}, served: cancel}
			n.fails = func(call int, a bool) bool { return call == kill/2 && a == after }
			for i := range 12 {
				m := api.Message{ID: fmt.Sprint("m", i), Cursor: uint64(i + 1), User: "ben", Text: fmt.Sprint(i)}
				switch i {
				case 3:
					m.User = "me"
				case 4:
					m.Deleted = &api.Deleted{}
				case 5:
					m.Change = &api.Changed{}
				}
				n.messages = append(n.messages, m)
			}
			b := bot.Bot{Node: n, Group: "tea", Name: "b", Answer: func(_ context.Context, m api.Message) (string, error) {
				return "re " + m.Text, nil
			}}
			err := b.Run(ctx)
			cancel()
			if !errors.Is(err, context.Canceled) || len(n.sent) != 9 || len(n.twice) > 0 || n.cursor != 12 {
				t.Errorf("killed at call %d, %v: %v, %d answers, cursor %d, %q", kill/2, after, err, len(n.sent), n.cursor, n.twice)
			}
		}
	})
}

// An error that does not go away ends the bot, and the message of a failed answer comes again.
func TestErrorsEnd(t *testing.T) {
	t.Parallel()
	n := &node{sent: map[string]string{}, served: func() {}, messages: []api.Message{{ID: "m", Cursor: 1, User: "ben"}, {ID: "n", Cursor: 2, User: "ben"}}}
	broken := errors.New("broken")
	var asked []string
	b := bot.Bot{Node: n, Group: "tea", Name: "b", Answer: func(_ context.Context, m api.Message) (string, error) {
		asked = append(asked, m.ID)
		if len(asked) == 2 {
			return "", broken
		}
		return "x", nil
	}}
	if err := b.Run(t.Context()); !errors.Is(err, broken) || len(n.sent) != 1 {
		t.Errorf("%v, %v", err, n.sent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n.served = cancel
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) || !slices.Contains(asked[2:], "n") {
		t.Errorf("%v, asked %v", err, asked)
	}
	b.Group = "coffee"
	if err := b.Run(t.Context()); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("a group that is not here: %v", err)
	}
}
