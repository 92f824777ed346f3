package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Two nodes answer, edit, react and delete over the API; bad requests change nothing.
func TestSayings(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		sa, sb, tea := a.API(), b.API(), id.String()
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
			m, err := s.Message(ctx, api.MessageRequest{Group: tea, Message: message})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		until := func(n *Node, s api.API, message, what string, is func(api.Message) bool) {
			t.Helper()
			w.eventually(n, time.Minute, what, func() bool {
				m, err := s.Message(ctx, api.MessageRequest{Group: tea, Message: message})
				return err == nil && is(m)
			})
		}
		first := must(sa.Send(ctx, api.SendRequest{Group: tea, Text: "tea?"}))
		until(b, sb, first, "the message", func(m api.Message) bool {
			return m.Text == "tea?" && m.MediaType == "text/plain" && len(m.MimiID) == 64
		})
		answer := must(sb.Send(ctx, api.SendRequest{Group: tea, Text: "[yes](" + content.UserURI(a.me.device.User) + ")", ReplyTo: "last", Thread: first, Markdown: true}))
		until(a, sa, answer, "the answer", func(m api.Message) bool {
			return m.ReplyTo != nil && m.ReplyTo.ID == first && m.ReplyTo.Excerpt == "tea?" && m.Thread == first && m.MentionsMe && m.MediaType == "text/markdown"
		})
		if m := get(sb, answer); m.MentionsMe || !m.Own {
			t.Errorf("%+v", m)
		}
		must(sb.React(ctx, api.ReactionRequest{Group: tea, Message: first, Text: "\u2764"}))
		must(sa.Edit(ctx, api.EditRequest{Group: tea, Message: first, Text: "tea, or coffee?"}))
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
				return sb.Edit(ctx, api.EditRequest{Group: tea, Message: first, Text: "x"})
			}, api.CodeNotPermitted},
			"delete of another's": {func() (api.Sent, error) { return sb.Delete(ctx, api.MessageRequest{Group: tea, Message: first}) }, api.CodeNotPermitted},
			"the same reaction": {func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: tea, Message: first, Text: "\u2764"})
			}, api.CodeConflict},
			"a long reaction": {func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: tea, Message: first, Text: "ok"})
			}, api.CodeInvalid},
			"no such reaction": {func() (api.Sent, error) {
				return sa.Unreact(ctx, api.ReactionRequest{Group: tea, Message: first, Text: "\u2764"})
			}, api.CodeNotFound},
			"a blank edit": {func() (api.Sent, error) {
				return sa.Edit(ctx, api.EditRequest{Group: tea, Message: first, Text: " "})
			}, api.CodeInvalid},
			"too much Markdown": {func() (api.Sent, error) {
				return sa.Send(ctx, api.SendRequest{Group: tea, Text: strings.Repeat("x", content.MaxText+1), Markdown: true})
			}, api.CodeInvalid},
			"an answer to no message": {func() (api.Sent, error) {
				return sa.Send(ctx, api.SendRequest{Group: tea, Text: "x", ReplyTo: "nothing"})
			}, api.CodeNotFound},
			"an unknown message": {func() (api.Sent, error) {
				return sa.Edit(ctx, api.EditRequest{Group: tea, Message: wire.MessageID{1}.String(), Text: "x"})
			}, api.CodeNotFound},
		} {
			if _, err := c.call(); api.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
		}
		must(sb.Unreact(ctx, api.ReactionRequest{Group: tea, Message: first, Text: "\u2764"}))
		until(a, sa, first, "no reaction", func(m api.Message) bool { return len(m.Reactions) == 0 })
		must(sa.Delete(ctx, api.MessageRequest{Group: tea, Message: answer})) // as the owner
		until(b, sb, answer, "the deletion", func(m api.Message) bool {
			return m.Deleted != nil && m.Text == "" && m.Deleted.By == a.me.device.User.String()
		})
		for name, call := range map[string]func() (api.Sent, error){
			"edit": func() (api.Sent, error) {
				return sb.Edit(ctx, api.EditRequest{Group: tea, Message: answer, Text: "x"})
			},
			"react": func() (api.Sent, error) {
				return sb.React(ctx, api.ReactionRequest{Group: tea, Message: answer, Text: "x"})
			},
		} {
			if _, err := call(); api.CodeOf(err) != api.CodeConflict {
				t.Errorf("%s of a deleted message: %v", name, err)
			}
		}

		// A text that is too long for a container goes as it is, and what malformed
		// containers say is named.
		long := must(sa.Send(ctx, api.SendRequest{Group: tea, Text: strings.Repeat("x", wire.MaxBody)}))
		bad, err := a.Send(ctx, id, wire.Content{MediaType: content.MediaType, Data: []byte("no container")})
		if err != nil {
			t.Fatal(err)
		}
		last := must(sa.Send(ctx, api.SendRequest{Group: tea, Text: "last"}))
		until(b, sb, last, "the last message", func(m api.Message) bool { return m.Text == "last" })
		if m := get(sb, long); len(m.Text) != wire.MaxBody {
			t.Errorf("of a long message came %d bytes", len(m.Text))
		}
		if m := get(sb, bad.String()); m.Text != "" || m.Data != nil || !strings.Contains(m.Fault, "malformed") {
			t.Errorf("a malformed container is shown as %+v", m)
		}
		for _, n := range []*Node{a, b} { // at its author's, too
			if st, err := n.API().Status(ctx, api.StatusRequest{}); err != nil || st.Extra["messages_malformed"] != 1 {
				t.Errorf("%d malformed messages are counted, and one came: %v", st.Extra["messages_malformed"], err)
			}
		}
		if why, err := sb.Why(ctx, api.WhyRequest{Group: tea, Subject: bad.String()}); err != nil || !strings.Contains(strings.Join(why.Facts, "\n"), "cannot be shown: malformed") {
			t.Errorf("why: %+v, %v", why, err)
		}
		for _, word := range []string{"last", "mine"} {
			if why, err := sa.Why(ctx, api.WhyRequest{Group: tea, Subject: word}); err != nil || why.Subject != last {
				t.Errorf("why %s: %+v, %v", word, why, err)
			}
		}
		var kinds []string
		if err := sb.Timeline(ctx, api.TimelineRequest{Group: tea, Follow: true}, func(h api.Happening) error {
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

// Of a message that was deleted neither node has anything in any row, nor in a backup; a
// while later the store has given up earlier versions of the rows.
func TestDeletionErases(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		ctx := w.within(time.Hour)
		said := func(text string) wire.MessageID {
			t.Helper()
			sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: text})
			if err != nil {
				t.Fatal(err)
			}
			message, err := wire.ParseEntryHash(sent.ID)
			if err != nil {
				t.Fatal(err)
			}
			return message
		}
		zebra := said("a zebra")
		said("a gnu")
		if _, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "an answer", ReplyTo: zebra.String()}); err != nil {
			t.Fatal(err)
		}
		left := func(n *Node, word string) (keys []string) {
			t.Helper()
			if err := n.store.Scan(nil, func(key, value []byte) error {
				if strings.Contains(string(value), word) {
					keys = append(keys, string(key))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return keys
		}
		purges := func(n *Node) bool {
			return unpurged(n.store)
		}
		// shown is all that people and programs are given of the group, as it travels.
		shown := func(n *Node) map[string]string {
			t.Helper()
			page, err1 := n.API().Messages(ctx, api.MessagesRequest{Group: id.String()})
			before, err2 := n.API().Messages(ctx, api.MessagesRequest{Group: id.String(), Before: 1 << 40, Limit: 100})
			var line []api.Happening
			err3 := n.API().Timeline(ctx, api.TimelineRequest{Group: id.String()}, func(h api.Happening) error {
				line = append(line, h)
				return nil
			})
			out := map[string]string{}
			for way, what := range map[string]any{"messages": page, "messages before": before, "the timeline": line} {
				text, err := json.Marshal(what)
				if out[way] = string(text); errors.Join(err, err1, err2, err3) != nil || !strings.Contains(out[way], "a gnu") || !strings.Contains(out[way], "an answer") {
					t.Fatalf("%s: %s, %v", way, text, errors.Join(err, err1, err2, err3))
				}
			}
			return out
		}
		w.shows(b, id, time.Minute, "a zebra", "a gnu", "an answer")
		for _, n := range []*Node{a, b} {
			for way, text := range shown(n) {
				if strings.Count(text, "a zebra") < 2 { // itself, and in the answer
					t.Errorf("%s: %s", way, text)
				}
			}
			if len(left(n, "a zebra")) == 0 || purges(n) {
				t.Fatal("there is nothing to erase, or something is erased already")
			}
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: id.String(), Message: zebra.String()}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, time.Minute, "it is erased", func() bool { return len(left(n, "a zebra")) == 0 })
			if !purges(n) || len(left(n, "a gnu")) == 0 {
				t.Error("the store is not to give it up, or more was erased")
			}
			for way, text := range shown(n) {
				if strings.Contains(text, "zebra") {
					t.Errorf("it is still in %s: %s", way, text)
				}
			}
			x := newThief(t, id, map[string][]byte{"the text": []byte("a zebra"), "another": []byte("a gnu")})
			copied, with := w.backup(atRest(n))
			if x.backup("the node", copied, with); len(x.found["the text"]) > 0 || len(x.found["another"]) == 0 {
				t.Errorf("in a backup: %v", x.found)
			}
		}
		w.close(1) // what was noted is not forgotten
		b = w.open(1, 0)
		for _, n := range []*Node{a, b} {
			w.eventually(n, 2*purgeAfter, "the store gave it up", func() bool { return !purges(n) })
			var rows api.StoreCheck
			rows, err := n.API().CheckStore(ctx, api.Empty{})
			if err != nil || len(rows.Problems) > 0 {
				t.Errorf("the store has problems: %+v, %v", rows, err)
			}
		}
		if m, err := b.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: zebra.String()}); err != nil || m.Deleted == nil || m.Text != "" {
			t.Errorf("%+v, %v", m, err)
		}
		if why, err := b.API().Why(ctx, api.WhyRequest{Group: id.String(), Subject: zebra.String()}); err != nil || why.State != group.WhyErased {
			t.Errorf("why: %+v, %v", why, err)
		}
	})
}

// A setting is for everybody, and one that cannot be read is refused.
func TestSettings(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		ctx := w.within(10 * time.Minute)
		for key, value := range map[string]string{"expiry": "30d", "unknown.key": "kept"} {
			if g, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: key, Value: value}); err != nil || g.Settings[key] != value {
				t.Errorf("%s: %v, %v", key, g.Settings, err)
			}
		}
		w.eventually(b, time.Minute, "the settings", func() bool {
			g, err := b.API().Group(ctx, api.GroupRequest{Group: id.String()})
			return err == nil && g.Settings["expiry"] == "30d" && g.Settings["unknown.key"] == "kept"
		})
		for _, bad := range []struct{ key, value string }{{"expiry", "soon"}, {"expiry", "1s"}, {"expiry", "-3d"}, {"picture", "x"}, {"direct", "yes"}, {"expiry", "read 1d"}, {"expiry", "99999d"}, {"files.max", "much"}, {"files.max", "0"}, {"files.max", "5GiB"}, {"files.max", "-1MiB"}, {"a b", "x"}, {"k", "two\nlines"}} {
			if _, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: bad.key, Value: bad.value}); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("%q %q: %v", bad.key, bad.value, err)
			}
		}
		if _, err := b.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: "expiry", Value: "1d"}); api.CodeOf(err) != api.CodeNotPermitted {
			t.Errorf("a member sets a setting: %v", err)
		}

		// Messages expire from now on, at both, and before that say when.
		sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "a zebra"})
		if err != nil {
			t.Fatal(err)
		}
		w.eventually(b, time.Minute, "the message", func() bool {
			m, err := b.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
			return err == nil && m.Text == "a zebra" && m.Expires.After(m.Sent.Add(29*24*time.Hour)) && !m.Expired
		})
		if _, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: "expiry", Value: "2m"}); err != nil {
			t.Fatal(err)
		}
		if sent, err = a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "a gnu"}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: strings.Repeat("x", wire.MaxBody)}); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("a text that cannot say when it expires: %v", err)
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, 8*time.Minute, "it expired", func() bool {
				m, err := n.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
				return err == nil && m.Expired && m.Text == ""
			})
		}
	})
}

// History goes back page by page, each message once and in order.
func TestPagesBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		ctx := w.within(10 * time.Minute)
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint("message ", i))
			sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: want[i]})
			if err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 { // events between them, which are none of these
				if _, err := a.API().React(ctx, api.ReactionRequest{Group: id.String(), Message: sent.ID, Text: "x"}); err != nil {
					t.Fatal(err)
				}
			}
		}
		var got []string
		for before, more := uint64(1)<<62, true; more; {
			p, err := a.API().Messages(ctx, api.MessagesRequest{Group: id.String(), Before: before, Limit: 7})
			if err != nil || len(p.Messages) == 0 || len(p.Messages) > 7 {
				t.Fatalf("%d messages, %v", len(p.Messages), err)
			}
			var texts []string
			for _, m := range p.Messages {
				texts = append(texts, m.Text)
			}
			got = append(texts, got...)
			before, more = p.Messages[0].Cursor, p.More
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if p, err := a.API().Messages(ctx, api.MessagesRequest{Group: id.String(), Before: 1}); err != nil || len(p.Messages) > 0 || p.More {
			t.Errorf("before the first: %+v, %v", p, err)
		}
		if _, err := a.API().Messages(ctx, api.MessagesRequest{Group: id.String(), Before: 1, Since: 1}); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("both ways at once: %v", err)
		}
	})
}
