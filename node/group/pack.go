package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A restart would open and decode every entry there is. Most are RECORDs, of which the set
// needs little. So the needed part of packSize of them is one row, a pack. Packs are a
// cache. They repeat rows that never change and were durable before, what no pack holds is
// read as it was signed, and packs that do not make sense are thrown away.

const (
	packVersion = 3
	packSize    = 512
	packDeps    = 32 // of an entry in a pack, at most: so that no author makes a pack longer than a row may be
	packsAtOnce = 4  // in one transaction
)

// packed is a RECORD with its links.
type packed struct {
	it   *dag.Item
	prev wire.EntryHash
	deps []wire.EntryHash
	date crdt.HLC // of one that was read
}

// packs writes packs of RECORDs, and reads the set when the machine starts.
type packs struct {
	tx     *tx
	logs   *dag.Logs
	group  wire.GroupID
	engine engine.Engine
	insert func(*dag.Item, *wire.Entry) error // puts a checked item into the set

	next    uint64 // number of the next pack
	waiting []packed
	seqs    map[string]map[uint64]bool // by logKey: what the packs that were read hold; only while loading
	unsound []string                   // rows to be deleted
}

// note notes an entry that a pack may hold.
func (p *packs) note(it *dag.Item, e *wire.Entry) {
	if it.Kind == wire.KindRecord && len(e.Deps) <= packDeps && len(p.logs.Evidence) == 0 {
		p.waiting = append(p.waiting, packed{it: it, prev: e.Prev, deps: e.Deps})
	}
}

// write writes the packs that are full. It stops for good once a log has forked.
func (p *packs) write() {
	if len(p.logs.Evidence) > 0 {
		p.waiting = nil
	}
	for range packsAtOnce {
		if len(p.waiting) < packSize || p.tx.full() {
			return
		}
		p.tx.put(rowPack+num(p.next), encodePack(p.waiting[:packSize]))
		p.next++
		p.waiting = p.waiting[packSize:]
	}
	p.waiting = slices.Clip(p.waiting)
}

// encodePack gives: version 1 · number of logs uvarint, each device 32, incarnation 8 ·
// the entries: place of the log uvarint, seq uvarint, hlc 8, by how much its date is before it uvarint, hash 32, prev 32 if seq is
// above 1, number of deps uvarint, each 32.
func encodePack(all []packed) []byte {
	place := map[wire.LogID]uint64{}
	var logs []byte
	for _, p := range all {
		if _, ok := place[p.it.Log]; !ok {
			place[p.it.Log] = uint64(len(place))
			logs = append(logs, p.it.Log.Device[:]...)
			logs = binary.BigEndian.AppendUint64(logs, p.it.Log.Incarnation)
		}
	}
	b := binary.AppendUvarint([]byte{packVersion}, uint64(len(place)))
	b = append(b, logs...)
	for _, p := range all {
		b = binary.AppendUvarint(b, place[p.it.Log])
		b = binary.AppendUvarint(b, p.it.Seq)
		b = binary.BigEndian.AppendUint64(b, uint64(p.it.HLC))
		b = binary.AppendUvarint(b, uint64(p.it.HLC-p.it.Dated()))
		b = append(b, p.it.Hash[:]...)
		if p.it.Seq > 1 {
			b = append(b, p.prev[:]...)
		}
		b = binary.AppendUvarint(b, uint64(len(p.deps)))
		for _, d := range p.deps {
			b = append(b, d[:]...)
		}
	}
	return b
}

var errPack = errors.New("not a pack")

// decodePack is the inverse of encodePack. Users are for the set to know.
func decodePack(b []byte) ([]packed, error) {
	ok := true
	take := func(n int) []byte {
		if n > len(b) {
			ok = false
			return make([]byte, n)
		}
		out := b[:n]
		b = b[n:]
		return out
	}
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			ok = false
			return 0
		}
		b = b[size:]
		return n
	}
	if take(1)[0] != packVersion {
		return nil, errPack
	}
	n := number()
	if n > uint64(len(b)) {
		return nil, errPack
	}
	logs := make([]dag.Author, n)
	for i := range logs {
		logs[i].Log = wire.LogID{Device: wire.DeviceID(take(32)), Incarnation: binary.BigEndian.Uint64(take(8))}
	}
	out := make([]packed, 0, packSize)
	items := make([]dag.Item, packSize)
	for ok && len(b) > 0 && len(out) < packSize {
		it := &items[len(out)]
		log := number()
		if log >= n {
			return nil, errPack
		}
		*it = dag.Item{Author: &logs[log], Body: dag.Unsealed, Seq: number(), HLC: crdt.HLC(binary.BigEndian.Uint64(take(8))), List: -1}
		p := packed{it: it, date: it.HLC - crdt.HLC(number())}
		it.Hash = wire.EntryHash(take(32))
		if it.Seq > 1 {
			p.prev = wire.EntryHash(take(32))
		}
		deps := number()
		if deps > wire.MaxDeps {
			return nil, errPack
		}
		for range deps {
			p.deps = append(p.deps, wire.EntryHash(take(32)))
		}
		out = append(out, p)
	}
	if !ok || len(b) > 0 {
		return nil, errPack
	}
	return out, nil
}

// read reads the packs; none if they make no sense, or if a log has forked, where
// what a pack says need not be the first entry with its number.
func (p *packs) read() (all []packed, err error) {
	var rows []string
	p.seqs = map[string]map[uint64]bool{}
	sound := len(p.logs.Evidence) == 0
	if err := p.tx.scan(rowPack, func(key string, v []byte) error {
		rows = append(rows, key)
		if !sound {
			return nil
		}
		part, err := decodePack(v)
		sound = err == nil && key == rowPack+num(uint64(len(rows)-1))
		all = append(all, part...)
		return nil
	}); err != nil {
		return nil, err
	}
	var log wire.LogID
	var seqs map[uint64]bool
	for _, r := range all {
		if seqs == nil || r.it.Log != log {
			log = r.it.Log
			key := logKey(log)
			if seqs = p.seqs[key]; seqs == nil {
				seqs = map[uint64]bool{}
				p.seqs[key] = seqs
			}
		}
		sound = sound && !seqs[r.it.Seq]
		seqs[r.it.Seq] = true
	}
	if !sound {
		clear(p.seqs)
		p.unsound = rows
		return nil, nil
	}
	p.next = uint64(len(rows))
	return all, nil
}

func (p *packs) dropUnsound() {
	for _, key := range p.unsound {
		p.tx.del(key)
	}
	p.unsound = nil
}

// readOthers reads the entries that no pack holds.
func (p *packs) readOthers() ([]*dag.SignedEntry, error) {
	var all []*dag.SignedEntry
	take := func(key string, v []byte) error {
		s, err := dag.ReadEntry(p.group, v)
		if err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		s.Second = strings.HasSuffix(key, hexed(s.Hash[:]))
		all = append(all, s)
		return nil
	}
	if len(p.seqs) == 0 {
		return all, p.tx.scan(rowEntry, take)
	}
	var keys []string
	found := 0
	var log string
	var seqs map[uint64]bool
	if err := p.tx.scanKeys(rowEntry, func(key string) error {
		rest := key[len(rowEntry):]
		const size = 64 + 1 + 16 // of a logKey
		if len(rest) < size+1 {
			return fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
		}
		if rest[:size] != log {
			log, seqs = rest[:size], p.seqs[rest[:size]]
		}
		if seq, err := strconv.ParseUint(rest[size+1:], 16, 64); err == nil && seqs[seq] { // of a second one it is longer
			found++
			return nil
		}
		keys = append(keys, key)
		return nil
	}); err != nil {
		return nil, err
	}
	for _, seqs := range p.seqs {
		found -= len(seqs)
	}
	if found != 0 {
		return nil, fmt.Errorf("%w: %d entries that were there are gone", verdict.ErrCorrupt, -found)
	}
	for _, key := range keys {
		v, err := p.tx.get(key)
		if err == nil && v == nil {
			err = fmt.Errorf("%w: %q is gone", verdict.ErrCorrupt, key)
		}
		if err == nil {
			err = take(key, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// load reads the set. Entries were verified before they were written.
func (p *packs) load() error {
	all, err := p.read()
	if err != nil {
		return err
	}
	signed, err := p.readOthers()
	if err != nil {
		return err
	}
	p.seqs = nil
	rest := make(map[wire.EntryHash]*dag.SignedEntry, len(signed))
	for _, s := range signed {
		rest[s.Hash] = s
		all = append(all, packed{it: &dag.Item{HLC: crdt.HLC(s.Entry.HLC), Hash: s.Hash}})
	}
	slices.SortFunc(all, func(a, b packed) int { return a.it.Compare(b.it) })
	p.logs.Reserve(len(all))
	// Of an entry that was not packed only the date is known here, and it may be dated
	// before what it builds on: then it waits for that.
	waiting := map[wire.EntryHash][]packed{}
	for _, r := range all {
		for ready := []packed{r}; len(ready) > 0; {
			r, ready = ready[len(ready)-1], ready[:len(ready)-1]
			lacks, err := p.loadEntry(r, rest[r.it.Hash])
			if err != nil {
				return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
			}
			if lacks != nil {
				waiting[*lacks] = append(waiting[*lacks], r)
				continue
			}
			ready = append(ready, waiting[r.it.Hash]...)
			delete(waiting, r.it.Hash)
		}
	}
	for lacks := range waiting {
		return fmt.Errorf("%w: entries lack what they build on, %v", verdict.ErrCorrupt, lacks)
	}
	return nil
}

// loadEntry puts an entry into the set: as it was signed, or, if that is nil, as a pack has
// it. lacks is one that it builds on and that is not in the set yet.
func (p *packs) loadEntry(r packed, s *dag.SignedEntry) (lacks *wire.EntryHash, err error) {
	e := new(wire.Entry)
	if s != nil {
		e = s.Entry
	} else {
		*e = wire.Entry{Device: r.it.Log.Device, Incarnation: r.it.Log.Incarnation, Seq: r.it.Seq, Prev: r.prev, Deps: r.deps, HLC: uint64(r.date)}
	}
	if gone := p.logs.Missing(e); len(gone) > 0 {
		return &gone[0], nil
	}
	if s != nil {
		it, err := p.logs.CheckLoaded(s, p.group, p.engine)
		if err == nil {
			err = p.insert(it, e)
		}
		if err == nil {
			p.note(it, e)
		}
		return nil, err
	}
	d := p.logs.Devices[e.Device]
	if d == nil {
		return nil, fmt.Errorf("entry %v: %w: device %v", r.it.Hash, verdict.ErrNotMember, e.Device)
	}
	r.it.Author = p.logs.Author(e.Log(), d.User)
	return nil, p.insert(p.logs.FillPast(r.it, e), e)
}
