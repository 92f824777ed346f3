package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pandanode/pandanode/storage"
)

// Rows that say that messages were erased, and that the store may still have earlier versions
// of their rows. A message that is erased while the store is compacted waits for the next time.
const (
	keyPurge   = "n/purge"   // it is to be compacted
	keyPurging = "n/purging" // it is being compacted, or was when the process ended
)

// unpurged says whether the store may have such versions.
func unpurged(store *storage.Store) bool {
	for _, key := range []string{keyPurge, keyPurging} {
		if _, err := store.Get([]byte(key)); err == nil {
			return true
		}
	}
	return false
}

// purgeAfter is how long such versions stay in the store while the node runs, if others are
// not erased at the same time: compacting costs as much as the store is large.
const purgeAfter = 10 * time.Minute

// purgeAtStart is how long versions stay that an earlier run left: a node that never runs for
// purgeAfter at a time gives them up, too, and a start has other things to do first.
const purgeAtStart = 30 * time.Second

// purger has the store give up what was erased: a deleted row alone leaves its sealed value
// in files, for somebody who has the data key.
type purger struct {
	due chan struct{} // holds one
}

func newPurger() *purger { return &purger{due: make(chan struct{}, 1)} }

// erased notes that messages were erased.
func (p *purger) erased() {
	select {
	case p.due <- struct{}{}:
	default: // it is known
	}
}

// run compacts the store a while after messages were erased, also by an earlier run.
func (p *purger) run(ctx context.Context, store *storage.Store, log *slog.Logger) {
	pause := purgeAfter
	if unpurged(store) {
		p.erased()
		pause = purgeAtStart
	}
	for {
		select {
		case <-p.due:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = purgeAfter
		select { // whatever came since goes now
		case <-p.due:
		default:
		}
		err := purge(store, store.Compact)
		if err != nil && !errors.Is(err, storage.ErrClosed) {
			log.Warn("what was erased may still be in the store's files", "err", err, "again in", purgeAfter)
			p.erased()
		}
	}
}

// purge has the store give up all that was erased before it was called, by compacting it.
func purge(store *storage.Store, compact func() error) error {
	begin := storage.Batch{Writes: []storage.Write{{Key: []byte(keyPurging), Value: []byte{1}}, {Key: []byte(keyPurge)}}}
	if err := store.Apply(begin); err != nil {
		return err
	}
	if err := compact(); err != nil {
		return err
	}
	return store.Apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPurging)}}})
}
