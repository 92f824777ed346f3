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
	refuses  func(text string) error // what can never be sent; nil: nothing
	served   func()                  // after all messages were given
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

func (n *node) ID(context.Context, api.Empty) (api.ID, error) {
	return api.ID{User: "me"}, n.call(func() {})
}

func (n *node) Group(_ context.Context, r api.GroupRequest) (api.Group, error) {
	if r.Group != "tea" {
		return api.Group{}, api.Errorf(api.CodeNotFound, "no such group")
	}
	return api.Group{ID: "tea", State: api.StateMember}, n.call(func() {})
}

func (n *node) Send(_ context.Context, r api.SendRequest) (out api.Sent, err error) {
	if n.refuses != nil {
		if err := n.refuses(r.Text); err != nil {
			return out, err
		}
	}
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
	half := (len(n.messages) + 1) / 2 // that was there before
	for i, m := range n.messages {
		if m.Cursor <= n.cursor || !r.Follow && i >= half {
			continue
		}
		if err := emit(api.Happening{Cursor: m.Cursor, Message: &m, Live: i >= half}); err != nil {
			return err
		}
	}
	if !r.Follow {
		return nil
	}
	n.served()
	return api.Errorf(api.CodeUnavailable, "killed")
}

// Each message of another user is answered once, wherever the node is killed: before or after
// each call that it serves.
func TestAnswersOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		for kill := 0; kill == 0 || kill <= 2*calls+1; kill++ {
			after := kill%2 == 1
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			n := &node{sent: map[string]string{}, served: cancel}
			n.fails = func(call int, a bool) bool { return call == kill/2 && a == after }
			n.refuses = func(text string) error {
				if text == "re 7" {
					return api.Errorf(api.CodeNotFound, "its message is gone")
				}
				return nil
			}
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
			}, Refused: func(context.Context, api.Message, error) {}}
			err := b.Run(ctx)
			cancel()
			if kill == 0 {
				calls = n.calls
			}
			if !errors.Is(err, context.Canceled) || len(n.sent) != 8 || len(n.twice) > 0 || n.cursor != 12 {
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

// An answer that can never be sent stops nothing: the messages behind it are answered, and it
// does not come again.
func TestRefusedAnswers(t *testing.T) {
	t.Parallel()
	for _, code := range []api.Code{api.CodeInvalid, api.CodeConflict, api.CodeNotFound} {
		ctx, cancel := context.WithCancel(t.Context())
		n := &node{sent: map[string]string{}, served: cancel, messages: []api.Message{
			{ID: "m", Cursor: 1, User: "ben", Text: "poison"}, {ID: "n", Cursor: 2, User: "ben", Text: "fine"}, {ID: "o", Cursor: 3, User: "ben", Text: "poison"},
		}}
		n.refuses = func(text string) error {
			if text == "poison" {
				return api.Errorf(code, "it cannot be sent")
			}
			return nil
		}
		var refused []string
		b := bot.Bot{
			Node: n, Group: "tea", Name: "b", Answer: func(_ context.Context, m api.Message) (string, error) { return m.Text, nil },
			Refused: func(_ context.Context, m api.Message, err error) {
				refused = append(refused, m.ID+" "+string(api.CodeOf(err)))
			},
		}
		if err := b.Run(ctx); !errors.Is(err, context.Canceled) || len(n.sent) != 1 || n.cursor != 3 {
			t.Errorf("%s: %v, sent %v, cursor %d", code, err, n.sent, n.cursor)
		}
		if want := []string{"m " + string(code), "o " + string(code)}; !slices.Equal(refused, want) {
			t.Errorf("%s: told of %q", code, refused)
		}
	}
}

// A bot that lacks a field does nothing.
func TestIncompleteBot(t *testing.T) {
	t.Parallel()
	answer := func(context.Context, api.Message) (string, error) { return "", nil }
	n := &node{served: func() {}}
	for _, b := range []bot.Bot{
		{}, {Group: "tea", Name: "b", Answer: answer}, {Node: n, Name: "b", Answer: answer}, {Node: n, Group: "tea", Answer: answer}, {Node: n, Group: "tea", Name: "b"},
	} {
		if err := b.Run(t.Context()); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

// The backlog is acknowledged at its end, though nothing comes after it.
func TestBacklogIsAcknowledged(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	n := &node{sent: map[string]string{}, messages: []api.Message{{ID: "m", Cursor: 1, User: "ben"}, {ID: "n", Cursor: 2, User: "me"}}}
	n.served = cancel
	n.messages = append(n.messages, n.messages[1], n.messages[1]) // none of which is live, or of another
	b := bot.Bot{Node: n, Group: "tea", Name: "b", Answer: func(context.Context, api.Message) (string, error) { return "x", nil }}
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) || n.cursor != 2 {
		t.Errorf("%v, cursor %d", err, n.cursor)
	}
}

// A node that was closed for good ends the bot: it never comes back.
func TestClosedForGood(t *testing.T) {
	t.Parallel()
	n := &node{served: func() {}, messages: []api.Message{{ID: "m", Cursor: 1, User: "ben"}}}
	n.refuses = func(string) error {
		e := api.Errorf(api.CodeUnavailable, "closed")
		e.Retryable = false
		return e
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	b := bot.Bot{Node: n, Group: "tea", Name: "b", Answer: func(context.Context, api.Message) (string, error) { return "x", nil }}
	if err := b.Run(ctx); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
