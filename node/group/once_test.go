package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

func onceOf(key, request string) *Once {
	return &Once{Key: sha256.Sum256([]byte(key)), Request: sha256.Sum256([]byte(request))}
}

func (d *device) sendOnce(key, request string, contents ...wire.Content) (Outcome, error) {
	return d.step(SendAll{Contents: contents, Once: onceOf(key, request)})
}

// A request that comes again sends nothing and gives the same messages: after a crash before
// or after its writes, and by a user who may not write any more. One of the same key that asks
// for something else is refused and changes nothing.
func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 41)
	w.gossip = true
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	one, two := wire.Content{MediaType: "text/plain", Data: []byte("one")}, wire.Content{MediaType: "text/plain", Data: []byte("two")}
	send := func(wantAgain bool, key, request string, contents ...wire.Content) []wire.MessageID {
		t.Helper()
		out, err := b.sendOnce(key, request, contents...)
		if err != nil || out.Again != wantAgain {
			t.Fatalf("%q: %+v, %v", key, out, err)
		}
		return out.Messages
	}
	first := send(false, "k1", "one", one)
	both := send(false, "k2", "both", one, two)
	if again := send(true, "k1", "one", one); !slices.Equal(again, first) {
		t.Errorf("again: %v, not %v", again, first)
	}
	if again := send(true, "k2", "both", one, two); !slices.Equal(again, both) || len(both) != 2 {
		t.Errorf("again: %v, not %v", again, both)
	}
	rows := len(b.rows)
	if out, err := b.sendOnce("k1", "two", two); !errors.Is(err, ErrReused) || len(out.Messages) > 0 || len(b.rows) != rows {
		t.Errorf("another request: %+v, %v, %d rows, before %d", out, err, len(b.rows), rows)
	}
	for _, at := range []string{"before writes", "before messages", "before events", "before advance"} {
		b.crash = func(boundary string) bool { return boundary == at }
		if _, err := b.sendOnce("at "+at, "three", one); !errors.Is(err, errCrash) {
			t.Fatalf("no crash %s: %v", at, err)
		}
		b.crash = nil
		b.open()
		written := at != "before writes"
		sent := send(written, "at "+at, "three", one)
		if again := send(true, "at "+at, "three", one); !slices.Equal(again, sent) {
			t.Errorf("a crash %s: %v, then %v", at, sent, again)
		}
	}
	w.run(time.Minute)
	if texts := a.texts(); len(texts) != 7 {
		t.Errorf("anna has %d messages of 7: %q", len(texts), texts)
	}
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	if again := send(true, "k1", "one", one); !slices.Equal(again, first) {
		t.Errorf("by one who is out: %v", again)
	}
	if _, err := b.sendOnce("k3", "one", one); err == nil || b.count(rowOnce) != 6 {
		t.Errorf("a new one of somebody who is out: %v, %d rows", err, b.count(rowOnce))
	}
}

// After a message was erased, nothing that is remembered of it lets anybody check a guess.
// The same request is known then, and another one is refused. It is forgotten after onceKept, by the time kept: a
// clock that jumps sends nothing twice.
func TestOnceForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 42)
	a := w.device("anna")
	w.found(a, wire.PolicyOpen)
	text := wire.Content{MediaType: "text/plain", Data: []byte("guessable")}
	out, err := a.sendOnce("k", "guessable", text)
	if err != nil {
		t.Fatal(err)
	}
	first := out.Messages
	null := content.Message{Replaces: first[0], Part: content.Null(content.DispositionRender)}
	body, err := null.Encode()
	if err != nil {
		t.Fatal(err)
	}
	salts := a.salts(first...)
	a.must(Send{Content: wire.Content{MediaType: content.MediaType, Data: body}})
	if left := a.leftOf("guessable", salts, first...); len(left) > 0 {
		t.Errorf("left of the message: %q", left)
	}
	request := sha256.Sum256([]byte("guessable"))
	for key, v := range a.rows {
		if bytes.Contains(v, request[:]) {
			t.Errorf("%q has the hash of the request", key)
		}
	}
	if out, err := a.sendOnce("k", "guessable", text); err != nil || !out.Again || !slices.Equal(out.Messages, first) {
		t.Errorf("after it was erased: %+v, %v", out, err)
	}
	if out, err := a.sendOnce("k", "other", text); !errors.Is(err, ErrReused) {
		t.Errorf("another one, after it was erased, is said to be sent: %+v, %v", out, err)
	}
	for i := range 5 {
		if _, err := a.sendOnce("old"+strings.Repeat("i", i), "x", text); err != nil {
			t.Fatal(err)
		}
	}
	w.now = w.now.Add(onceKept - time.Second)
	if out, err := a.sendOnce("old", "x", text); err != nil || !out.Again {
		t.Errorf("within the time: %+v, %v", out, err)
	}
	w.now = w.now.Add(2 * time.Second)
	for i := range 3 {
		if out, err := a.sendOnce("new"+strings.Repeat("i", i), "x", text); err != nil || out.Again {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if out, err := a.sendOnce("old", "y", text); err != nil || out.Again {
		t.Errorf("after the time the key is new: %+v, %v", out, err)
	}
	if rows, at := a.count(rowOnce), a.count(rowOnceAt); rows != 4 || at != 4 {
		t.Errorf("%d and %d rows are left of 4", rows, at)
	}
}
