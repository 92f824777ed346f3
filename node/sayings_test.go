package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// Two nodes answer, edit, react and delete over the API; bad requests change nothing.
func TestSayings(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		sa, sb, group := a.API(), b.API(), id.String()
		ctx := w.within(10 * time.Minute)
		must := func(s api.Sent, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return s.ID
		}
		get := func(s api.API, message string) api.Message {
			t.Helper()
			m, err := s.Message(ctx, api.MessageRequest{Group: group, Message: message})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		until := func(n *Node, s api.API, message, what string, is func(api.Message) bool) {
			t.Helper()
			w.eventually(n, time.Minute, what, func() bool {
				m, err := s.Message(ctx, api.MessageRequest{Group: group, Message: message})
				return err == nil && is(m)
			})
		}
		first := must(sa.Send(ctx, api.SendRequest{Group: group, Text: "tea?"}))
		until(b, sb, first, "the message", func(m api.Message) bool {
			return m.Text == "tea?" && m.MediaType == "text/plain" && len(m.MimiID) == 64
		})
		answer := must(sb.Send(ctx, api.SendRequest{Group: group, Text: "[yes](" + content.UserURI(a.me.device.User) + ")", ReplyTo: "last", Thread: first, Markdown: true}))
		until(a, sa, answer, "the answer", func(m api.Message) bool {
			return m.ReplyTo != nil && m.ReplyTo.ID == first && m.ReplyTo.Excerpt == "tea?" && m.Thread == first && m.MentionsMe && m.MediaType == "text/markdown"
		})
		if m := get(sb, answer); m.MentionsMe || !m.Own {
			t.Errorf("%+v", m)
		}
		must(sb.React(ctx, api.ReactionRequest{Group: group, Message: first, Text: "\u2764"}))
		must(sa.Edit(ctx, api.EditRequest{Group: group, Message: first, Text: "tea, or coffee?"}))
		until(b, sb, first, "the edit", func(m api.Message) bool {
			return m.Text == "tea, or coffee?" && m.Edited && len(m.Versions) == 2 && m.Versions[0].Text == "tea?" && m.Replies == 2
		})
		until(a, sa, first, "the reaction", func(m api.Message) bool {
			return len(m.Reactions) == 1 && m.Reactions[0].Count == 1 && !m.Reactions[0].Mine
		})
		if m := get(sb, first); !m.Reactions[0].Mine || m.MimiID != get(sa, first).MimiID {
			t.Errorf("%+v", m)
		}
		for name, c := range map[string]struct {
			call func() (api.Sent, error)
			code api.Code
		}{
			"edit of another's": {func() (api.Sent, error) {
				return sb.Edit(ctx, api.EditRequest{Group: group, Message: first, Text: "x"})
			}, api.CodeNotPermitted},
			"delete of another's": {func() (api.Sent, error) { return sb.Delete(ctx, api.MessageRequest{Group: group, Message: first}) }, api.CodeNotPermitted},
			"the same reaction": {func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: group, Message: first, Text: "\u2764"})
			}, api.CodeConflict},
			"a long reaction": {func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: group, Message: first, Text: "ok"})
			}, api.CodeInvalid},
			"no such reaction": {func() (api.Sent, error) {
				return sa.Unreact(ctx, api.ReactionRequest{Group: group, Message: first, Text: "\u2764"})
			}, api.CodeNotFound},
			"a blank edit": {func() (api.Sent, error) {
				return sa.Edit(ctx, api.EditRequest{Group: group, Message: first, Text: " "})
			}, api.CodeInvalid},
			"too much Markdown": {func() (api.Sent, error) {
				return sa.Send(ctx, api.SendRequest{Group: group, Text: strings.Repeat("x", content.MaxText+1), Markdown: true})
			}, api.CodeInvalid},
			"an answer to no message": {func() (api.Sent, error) {
				return sa.Send(ctx, api.SendRequest{Group: group, Text: "x", ReplyTo: "nothing"})
			}, api.CodeNotFound},
			"an unknown message": {func() (api.Sent, error) {
				return sa.Edit(ctx, api.EditRequest{Group: group, Message: wire.MessageID{1}.String(), Text: "x"})
			}, api.CodeNotFound},
		} {
			if _, err := c.call(); api.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
		}
		must(sb.Unreact(ctx, api.ReactionRequest{Group: group, Message: first, Text: "\u2764"}))
		until(a, sa, first, "no reaction", func(m api.Message) bool { return len(m.Reactions) == 0 })
		must(sa.Delete(ctx, api.MessageRequest{Group: group, Message: answer})) // as the owner
		until(b, sb, answer, "the deletion", func(m api.Message) bool {
			return m.Deleted != nil && m.Text == "" && m.Deleted.By == a.me.device.User.String()
		})
		for name, call := range map[string]func() (api.Sent, error){
			"edit": func() (api.Sent, error) {
				return sb.Edit(ctx, api.EditRequest{Group: group, Message: answer, Text: "x"})
			},
			"react": func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: group, Message: answer, Text: "x"})
			},
		} {
			if _, err := call(); api.CodeOf(err) != api.CodeConflict {
				t.Errorf("%s of a deleted message: %v", name, err)
			}
		}

		// A text that is too long for a container goes as it is, and what malformed
		// containers say is named.
		long := must(sa.Send(ctx, api.SendRequest{Group: group, Text: strings.Repeat("x", wire.MaxBody)}))
		bad, err := a.Send(ctx, id, wire.Content{MediaType: content.MediaType, Data: []byte("no container")})
		if err != nil {
			t.Fatal(err)
		}
		last := must(sa.Send(ctx, api.SendRequest{Group: group, Text: "last"}))
		until(b, sb, last, "the last message", func(m api.Message) bool { return m.Text == "last" })
		if m := get(sb, long); len(m.Text) != wire.MaxBody {
			t.Errorf("of a long message came %d bytes", len(m.Text))
		}
		if m := get(sb, bad.String()); m.Text != "" || m.Data != nil || !strings.Contains(m.Fault, "malformed") {
			t.Errorf("a malformed container is shown as %+v", m)
		}
		if why, err := sb.Why(ctx, api.WhyRequest{Group: group, Subject: bad.String()}); err != nil || !strings.Contains(strings.Join(why.Facts, "\n"), "cannot be shown: malformed") {
			t.Errorf("why: %+v, %v", why, err)
		}
		var kinds []string
		if err := sb.Timeline(ctx, api.TimelineRequest{Group: group, Follow: true}, func(h api.Happening) error {
			if h.Message != nil && h.Message.Change != nil {
				kinds = append(kinds, h.Message.Change.What)
			} else if h.Message != nil {
				kinds = append(kinds, string(h.Message.Kind))
			}
			if h.Message != nil && h.Message.ID == last {
				return errEnough
			}
			return nil
		}); err == nil {
			t.Error("the timeline ended")
		}
		if slices.Sort(kinds); strings.Join(kinds, " ") != "delete delete edit message message message message message reaction" {
			t.Errorf("who follows is told of %q", kinds)
		}
	})
}
