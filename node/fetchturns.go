package node

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/blob"
)

// fetchTurns says who is asked for a file next: each once, and whoever had nothing of what is
// missing again, less and less often, as long as another one gives something. Members who fetch the same
// file have more of it each time, so its sender need not give all of it to each. Members who
// connect meanwhile get a turn, too.
type fetchTurns struct {
	more func(context.Context) []source // those that are there now; nil: each is asked once

	mu      sync.Mutex
	known   map[peer.ID]bool
	waiting []fetchTurn
	taken   int
	looked  time.Time // for more
	change  signal
}

// fetchTurn is one source's.
type fetchTurn struct {
	source
	at      time.Time // not before
	nothing int       // times in a row that it had nothing
}

func newFetchTurns(sources []source, more func(context.Context) []source) *fetchTurns {
	t := &fetchTurns{more: more, known: map[peer.ID]bool{}, looked: time.Now()}
	t.add(sources)
	return t
}

// add gives a turn to each source that had none.
func (t *fetchTurns) add(sources []source) {
	for _, s := range sources {
		if !t.known[s.p] {
			t.known[s.p] = true
			t.waiting = append(t.waiting, fetchTurn{source: s})
		}
	}
}

// next waits for the next turn. There is none once ctx has ended, or nobody is left to ask now
// and nobody gives anything.
func (t *fetchTurns) next(ctx context.Context) (fetchTurn, bool) {
	for ctx.Err() == nil {
		changed := t.change.wait()
		t.look(ctx)
		due, pause, ok := t.take(time.Now())
		if ok || pause == 0 {
			return due, ok
		}
		timer := time.NewTimer(pause)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return fetchTurn{}, false
}

// look gives a turn to members who have connected since it last looked.
func (t *fetchTurns) look(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more != nil && time.Since(t.looked) >= fetchLook {
		t.looked = time.Now()
		t.add(t.more(ctx))
	}
}

// take takes the first turn that is due. If none is, pause says when to look again; zero: never.
func (t *fetchTurns) take(now time.Time) (due fetchTurn, pause time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause = fetchSeldom
	if t.more != nil {
		pause = max(fetchLook-now.Sub(t.looked), time.Second)
	}
	for i, w := range t.waiting {
		wait := w.at.Sub(now)
		if wait <= 0 {
			t.waiting = slices.Delete(t.waiting, i, i+1)
			t.taken++
			return w, 0, true
		}
		pause = min(pause, wait)
	}
	if t.taken == 0 {
		return fetchTurn{}, 0, false
	}
	return fetchTurn{}, pause, false
}

// done ends a turn, in which a source gave something or not. One that failed is let alone for
// longer, and one that served wrong bytes is asked no more.
func (t *fetchTurns) done(of fetchTurn, gave bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	if t.more != nil && !errors.Is(err, blob.ErrWrong) && !errors.Is(err, blob.ErrSize) {
		pause := fetchTurnAgain
		if err != nil {
			pause = fetchLook
		}
		if of.nothing++; gave {
			of.nothing = 0
		}
		of.at = time.Now().Add(min(pause<<min(of.nothing, 10), fetchSeldom))
		t.waiting = append(t.waiting, of)
	}
	t.change.wake()
}

// rarity is how many sources are known to have each group of a file.
type rarity struct {
	have    map[peer.ID]blob.Bits
	holders []uint16 // of each group
}

func newRarity(groups int) *rarity {
	return &rarity{have: map[peer.ID]blob.Bits{}, holders: make([]uint16, groups)}
}

// told notes what a source has now.
func (r *rarity) told(p peer.ID, have blob.Bits) {
	was := r.have[p]
	for i := range r.holders {
		switch {
		case have.Has(i) && !was.Has(i):
			r.holders[i]++
		case !have.Has(i) && was.Has(i):
			r.holders[i]--
		}
	}
	r.have[p] = have
}

// choose gives a run of at most so many free groups that the fewest have: where a run before it
// ended, if that may be, else anywhere. Those who fetch a file at the same time so have what the
// others lack, and all of it together soon. A run crosses no multiple of most: so it leaves no
// single groups between it and the next, each of which would cost a proof of its own.
func (r *rarity) choose(after, most int, free func(group int) bool) (from, groups int) {
	from, groups = r.from(after, most, free)
	if groups > 0 && from != after {
		first := rand.N(len(r.holders)) //nolint:gosec // spreads load, hides nothing
		from, groups = r.from(first-first%most, most, free)
	}
	return from, groups
}

// from gives the first such run from a group on and around.
func (r *rarity) from(first, most int, free func(group int) bool) (from, groups int) {
	all, least := len(r.holders), uint16(math.MaxUint16)
	for k := range all {
		i := (first + k) % all
		if r.holders[i] < least && free(i) {
			from, groups, least = i, 1, r.holders[i]
		}
		if least <= 1 { // whoever is asked has it
			break
		}
	}
	if groups == 0 {
		return 0, 0
	}
	for i := from + 1; i < all && i%most > 0 && r.holders[i] == least && free(i); i++ {
		groups++
	}
	return from, groups
}
