package group

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// rawSeal is a seal as it arrived: decoded, not opened.
type rawSeal struct {
	*wire.Seal

	raw []byte // its encoding
}

func readSeals(raws [][]byte) ([]rawSeal, error) {
	seals := make([]rawSeal, len(raws))
	for i, raw := range raws {
		s, err := wire.DecodeSeal(raw)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		seals[i] = rawSeal{s, raw}
	}
	return seals, nil
}

// maxSealsPerMsg bounds the seals of one message that this device keeps.
const maxSealsPerMsg = 16

// keptSeals are the seals at hand, to be served: rows, and what the items say of them.
type keptSeals struct {
	records

	tx       *tx
	timers   *timers
	sealings map[sealing]*dag.Body // of messages that this device has sealed
}

func newKeptSeals(r records, t *tx, timers *timers) keptSeals {
	return keptSeals{records: r, tx: t, timers: timers, sealings: map[sealing]*dag.Body{}}
}

// sealing is one more seal that this device makes of a message.
type sealing struct {
	before *dag.Body
	epoch  wire.EpochID
}

// noteSealed notes under which epoch this device has sealed a message. Those that were
// sealed under the same share what says so.
func (k *keptSeals) noteSealed(it *dag.Item, epoch wire.EpochID) {
	s := sealing{it.Body, epoch}
	if k.sealings[s] == nil {
		k.sealings[s] = &dag.Body{Kind: wire.KindRecord, Sealed: append(slices.Clip(it.Sealed), epoch)}
	}
	it.Body = k.sealings[s]
}

// keep keeps a seal, given as its encoding too.
func (k *keptSeals) keep(s *wire.Seal, raw []byte) {
	k.tx.put(sealKey(s), raw)
	it := k.record(s.Message)
	it.Seals = min(it.Seals, math.MaxUint8-1) + 1
}

// of gives the seals at hand of a message.
func (k *keptSeals) of(id wire.MessageID) (seals [][]byte, err error) {
	err = k.tx.scan(rowSeal+hexed(id[:])+"/", func(_ string, v []byte) error {
		seals = append(seals, v)
		return nil
	})
	return seals, err
}

// sealsFor is how long seals of others' messages are kept to be served. A device that
// comes back later tells its gaps, and a holder of the plaintext seals it again.
const sealsFor = 90 * 24 * time.Hour

// retire deletes old ones, by the time kept.
func (k *keptSeals) retire(kept, now time.Time) {
	for it := range k.all() {
		if k.tx.full() {
			k.timers.set(timerDaily, kept) // it goes on with the next turn
			return
		}
		if it.Seals == 0 || it.Log.Device == k.self.Device || kept.Sub(k.logs.NotBefore(it, now)) <= sealsFor {
			continue // one's own tell what is sealed where
		}
		k.tx.fail(k.tx.scanKeys(rowSeal+hexed(it.Hash[:])+"/", func(key string) error {
			k.tx.del(key)
			return nil
		}))
		it.Seals = 0
		it.Body = dag.Unsealed
	}
}

// attempts say how often and when at last a message's seals came in vain. They are not
// durable.
type attempts map[wire.MessageID]attempt

type attempt struct {
	at    time.Time
	times int
}

// inVain notes that a message's seals cannot be opened.
func (a attempts) inVain(now time.Time, id wire.MessageID) {
	if t := a[id]; now.Sub(t.at) >= askEvery {
		a[id] = attempt{at: now, times: t.times + 1}
	}
}

// waits says whether it is too early to ask for a message's seals again.
func (a attempts) waits(now time.Time, id wire.MessageID) bool {
	t := a[id]
	return t.times > 0 && now.Sub(t.at) < backOff(beaconGap/2, t.times-1)
}

// forget begins anew: keys came, and seals that could not be opened may be opened now.
func (a attempts) forget() { clear(a) }

// Bounds of the seals kept for keys that may still come.
const (
	maxWaiting   = 4096
	maxWaitBytes = 16 << 20
)

// waitingSeals are seals under epochs whose keys may still come. They are not durable.
type waitingSeals struct {
	of    map[wire.EpochID][]rawSeal
	count int
	bytes int
}

func newWaitingSeals() waitingSeals { return waitingSeals{of: map[wire.EpochID][]rawSeal{}} }

// keep keeps a seal, once. Few are kept of epochs that no entry names: anybody can make
// those up.
func (w *waitingSeals) keep(s rawSeal, named bool) {
	if w.count >= maxWaiting || w.bytes+len(s.raw) > maxWaitBytes || !named && w.count >= maxWaiting/16 {
		return
	}
	for _, o := range w.of[s.Epoch] {
		if o.Message == s.Message && o.Sealer == s.Sealer {
			return
		}
	}
	w.of[s.Epoch] = append(w.of[s.Epoch], s)
	w.count++
	w.bytes += len(s.raw)
}

// take gives the seals that wait for the keys of an epoch, and keeps them no more.
func (w *waitingSeals) take(id wire.EpochID) []rawSeal {
	seals := w.of[id]
	delete(w.of, id)
	w.count -= len(seals)
	for _, s := range seals {
		w.bytes -= len(s.raw)
	}
	return seals
}
