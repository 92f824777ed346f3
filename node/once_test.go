package node

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// A request with a key is carried out once: when several ask at the same time, after a
// restart, when the words "last" and "mine" mean another message by then, and when its
// message is deleted.
func TestSendKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		ctx := w.within(time.Hour)
		send := func(r api.SendRequest) (api.Sent, error) {
			r.Group = "tea"
			return a.API().Send(ctx, r)
		}
		must := func(again bool, r api.SendRequest) string {
			t.Helper()
			s, err := send(r)
			if err != nil || s.Again != again {
				t.Fatalf("%+v: %+v, %v", r, s, err)
			}
			return s.ID
		}
		must(false, api.SendRequest{Text: "first"})
		var wg sync.WaitGroup
		ids, fresh := make([]string, 8), make([]bool, 8)
		for i := range ids {
			wg.Go(func() {
				s, err := send(api.SendRequest{Text: "together", Key: "k"})
				if ids[i], fresh[i] = s.ID, !s.Again; err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		first := 0
		for i := range ids {
			if fresh[i] {
				first++
			}
			if ids[i] != ids[0] {
				t.Errorf("two messages: %v", ids)
			}
		}
		if first != 1 {
			t.Errorf("%d of 8 were told that they sent it", first)
		}
		reply := api.SendRequest{Text: "an answer to @test", ReplyTo: "last", Mention: true, Key: "odd-reply"}
		answer := must(false, reply)
		all := must(false, api.SendRequest{Texts: []string{"x", "y"}, Key: "all"})
		w.close(0)
		a = w.open(0)
		if got := must(true, reply); got != answer {
			t.Errorf("the answer is %s, and then %s", answer, got)
		}
		if got, err := send(api.SendRequest{Texts: []string{"x", "y"}, Key: "all"}); err != nil || got.ID != all || len(got.IDs) != 2 || !got.Again {
			t.Errorf("%+v, %v", got, err)
		}
		for _, other := range []api.SendRequest{{Text: "together!"}, {Text: "together", Markdown: true}, {Text: "together", ReplyTo: "last"}, {Texts: []string{"together"}}} {
			other.Key = "k"
			if s, err := send(other); api.CodeOf(err) != api.CodeConflict {
				t.Errorf("another request of the key: %+v, %v", s, err)
			}
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: "tea", Message: ids[0]}); err != nil {
			t.Fatal(err)
		}
		if got := must(true, api.SendRequest{Text: "together", Key: "k"}); got != ids[0] {
			t.Error("a message that was deleted was sent again")
		}
		f := w.upload(a, "notes.txt", []byte("green tea")).ID
		with := api.SendRequest{Text: "my notes", Files: []string{f}, Key: "with-file"}
		noted := must(false, with)
		if _, err := send(api.SendRequest{Text: "my notes", Key: "with-file"}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("the same without its file: %v", err)
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: "tea", Message: noted}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.files.toSend(with.Files); !errors.Is(err, errNoFile) {
			t.Fatalf("the file is here: %v", err)
		}
		if got := must(true, with); got != noted {
			t.Error("a message whose file is gone was sent again")
		}
		other := with
		other.Text = "your notes"
		if _, err := send(other); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("other words with a file that is gone: %v", err)
		}
		other.Key = "new"
		if _, err := send(other); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("a new message with a file that is gone: %v", err)
		}
		if _, err := send(api.SendRequest{Text: "x", Key: strings.Repeat("k", maxKey+1)}); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("a long key: %v", err)
		}
		messages, err := a.Messages(ctx, id, 0, 100)
		if err != nil || len(messages) != 6 {
			t.Errorf("%d messages, %v", len(messages), err)
		}
		if err := a.store.ScanKeys(nil, func(key []byte) error {
			if strings.Contains(string(key), "odd-reply") {
				t.Errorf("a key of a row tells the key of a request: %q", key)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
