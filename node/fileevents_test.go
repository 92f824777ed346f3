package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// A client that watches the node sees a file come: each tenth of it at most, not sooner than after two
// seconds, and then that it is here. Of one that comes at once only that.
func TestFileProgressIsTold(t *testing.T) {
	t.Parallel()
	if eventFileProgress != group.EventKind(api.EventFileProgress) || eventFile != group.EventKind(api.EventFile) {
		t.Errorf("clients know %q and %q by the names %q and %q", eventFileProgress, eventFile, api.EventFileProgress, api.EventFile)
	}
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		for _, c := range []struct {
			name  string
			each  time.Duration // that a write takes
			least int           // events of progress
			most  int
		}{{"slow.bin", 300 * time.Millisecond, 7, 9}, {"quick.bin", 0, 0, 0}} {
			b.files.write = func(f *os.File, p []byte, off int64) (int, error) {
				time.Sleep(c.each)
				return f.WriteAt(p, off)
			}
			before := b.feed.newest()
			f := w.upload(a, c.name, someBytes(3, 3<<20))
			message := w.sendFile(a, id, "", f)
			w.state(b, f.ID, "known", func(api.File) bool { return true })
			w.fetch(b, f.ID)
			var parts []int64
			last, at := "", time.Time{}
			for _, e := range b.feed.after(before) {
				if e.Event.Kind != eventFileProgress && e.Event.Kind != eventFile {
					continue
				}
				if e.Group != id || e.Event.Message != message {
					t.Errorf("%s: of message %v of group %v", c.name, e.Event.Message, e.Group)
				}
				last = e.Event.Detail
				if e.Event.Kind == eventFile {
					continue
				}
				var here, all int64
				if _, err := fmt.Sscanf(strings.TrimPrefix(e.Event.Detail, f.ID+" "), "%d/%d", &here, &all); err != nil || all != f.Sealed || here >= all {
					t.Errorf("%s: %q, and all is %d", c.name, e.Event.Detail, f.Sealed)
				}
				if n := len(parts); n > 0 && (here*10/all <= parts[n-1] || e.At.Sub(at) < progressEvery) {
					t.Errorf("%s: %d of 10 after %v and %v", c.name, here*10/all, parts, e.At.Sub(at))
				}
				parts, at = append(parts, here*10/all), e.At
			}
			if len(parts) < c.least || len(parts) > c.most || last != f.ID+" here" {
				t.Errorf("%s: told of %v tenths, then %q", c.name, parts, last)
			}

			// A client is told the same.
			told, enough := map[api.EventKind]int{}, errors.New("that is enough")
			if err := b.API().Events(w.within(time.Minute), api.EventsRequest{Since: before}, func(e api.Event) error {
				if e.Message != message.String() || e.Group != id.String() {
					return nil
				}
				if told[e.Kind]++; e.Kind == api.EventFile {
					return enough
				}
				return nil
			}); !errors.Is(err, enough) || told[api.EventFileProgress] != len(parts) {
				t.Errorf("%s: a client is told %v, %v", c.name, told, err)
			}
		}
	})
}
