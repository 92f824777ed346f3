package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/storage"
)

// A node that never runs for ten minutes at a time gives up what was deleted soon after its
// next start: nothing of it is left in any version of a row, nor in any file.
func TestPurgeAtStart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		const text = "the zebra crosses at dawn"
		message := w.send(a, id, text)
		w.send(a, id, "stays")
		before := newThief(t, id, map[string][]byte{"the text": []byte(text)})
		sealed := before.versions("a", a.store)
		if _, err := a.API().Delete(w.within(time.Minute), api.MessageRequest{Group: id.String(), Message: message.String()}); err != nil {
			t.Fatal(err)
		}
		w.shows(a, id, time.Minute, "", "stays")
		left := func() *thief {
			t.Helper()
			w.close(0)
			s, err := OpenAtRest(Config{Home: w.home(0), KeyFile: filepath.Join(w.dir, fmt.Sprint(0, ".key")), Small: true})
			if err != nil {
				t.Fatal(err)
			}
			x := newThief(t, id, before.secrets)
			x.versions("a", s.store)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			x.files("a", w.home(0), sealed)
			return x
		}
		if x := left(); len(sealed) == 0 || len(x.found["a sealed row"]) == 0 || len(x.found["the text"]) == 0 {
			t.Fatalf("nothing is left to be given up: %d rows, then %v", len(sealed), x.found)
		}
		a = w.open(0)
		begun := time.Now()
		for time.Since(begun) < 2*time.Minute {
			if !unpurged(a.store) {
				break
			}
			<-time.After(time.Second) // virtual
		}
		took := time.Since(begun)
		if x := left(); len(x.found) > 0 || x.opened == 0 {
			t.Errorf("%v after a start %v is left", took, x.found)
		}
		if took < purgeAtStart || took > 2*time.Minute {
			t.Errorf("the store gave it up %v after a start", took)
		}
	})
}

// A message that is erased while the store is compacted is given up later, also if the process
// ends before: a row of its own says so.
func TestErasedWhileItPurges(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		erased := storage.Batch{Writes: []storage.Write{{Key: []byte(keyPurge), Value: []byte{1}}}}
		if err := errors.Join(a.apply(erased), purge(a.store, func() error { return a.apply(erased) })); err != nil {
			t.Fatal(err)
		}
		if !unpurged(a.store) {
			t.Error("what was erased while it compacted is forgotten")
		}
		if err := purge(a.store, a.store.Compact); err != nil || unpurged(a.store) {
			t.Error("it is never done", err)
		}
		broken := errors.New("the disk is full")
		if err := errors.Join(a.apply(erased), purge(a.store, func() error { return broken })); !errors.Is(err, broken) || !unpurged(a.store) {
			t.Error("what could not be compacted is forgotten", err)
		}
	})
}
