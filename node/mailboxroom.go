package node

import (
	"cmp"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A mailbox that is open to all would be full for a month after one hostile peer had come.
// So no opener may have more than a share of it, and when it is full, room is made from
// those that have most: from the network with the most in it, there from the opener with
// the most, the oldest of its largest box first. Peer IDs cost nothing, and addresses in
// many networks do cost something. An opener that has less than that one after the put is
// never refused for lack of room, unless it is in a network that has more. The members of a
// box put again what it loses, when there is room.

// Bounds on the envelopes that are deleted to make room: for one put, and of one box before
// it is asked again who has most.
const (
	evictAtOnce = 512
	evictInARow = 32
)

// openerQuota is how much one opener may have, in bytes: all, where the operator says who
// may open boxes.
func (m *mailboxServer) openerQuota() int64 {
	if len(m.cfg.Allow) > 0 {
		return m.cfg.Quota
	}
	return max(m.cfg.Quota/4, m.cfg.BoxQuota)
}

// weight is what a box takes up.
func (b *mailBoxRow) weight() int64 { return int64(b.Bytes) + mailOverhead } //nolint:gosec // bounded by the quota

// account is on whose account a box is.
type account struct{ network, opener string }

func (b *mailBoxRow) account() account { return account{string(b.Network), string(b.Opener)} }

// openerHas is how much an opener has, wherever it opened its boxes from.
func (m *mailboxServer) openerHas(opener []byte) (sum int64) {
	for _, b := range m.boxes {
		if string(b.Opener) == string(opener) {
			sum += b.weight()
		}
	}
	return sum
}

// eviction is what a put takes from others, until its transaction is durable.
type eviction struct {
	m            *mailboxServer
	own          wire.BoxID                 // that is put into
	rows         map[wire.BoxID]*mailBoxRow // as they will be
	from         map[wire.BoxID]uint64      // the first cursor that is left
	writes       []storage.Write
	freed        int64
	vouchedFreed int64
	count        int
}

func (m *mailboxServer) newEviction(own wire.BoxID) *eviction {
	return &eviction{m: m, own: own, rows: make(map[wire.BoxID]*mailBoxRow), from: make(map[wire.BoxID]uint64)}
}

// fits says whether so much more fits into a box, in bytes. All boxes that were vouched for
// share half of the mailbox, so that who may open boxes has the other half.
func (e *eviction) fits(box *mailBoxRow, bytes int64) bool {
	m := e.m
	return m.bytes-e.freed+bytes <= m.cfg.Quota && (len(box.Voucher) == 0 || m.vouched-e.vouchedFreed+bytes <= m.cfg.Quota/2)
}

// room makes room for so much more in a box, if it may have it, and says whether it is
// there.
func (e *eviction) room(box *mailBoxRow, bytes int64) (bool, error) {
	for !e.fits(box, bytes) {
		id, ok := e.heaviest(box, bytes)
		if !ok {
			return false, nil
		}
		for range evictInARow {
			if more, err := e.drop(id); err != nil || !more {
				return false, err
			}
			if e.fits(box, bytes) {
				break
			}
		}
	}
	return true, nil
}

// heaviest gives the box that is to make room for so much more in another one, if any is.
// Room for a box that was vouched for is made from such.
func (e *eviction) heaviest(box *mailBoxRow, bytes int64) (wire.BoxID, bool) {
	vouchedAlone := e.m.bytes-e.freed+bytes <= e.m.cfg.Quota
	each := func(fn func(id wire.BoxID, b *mailBoxRow)) {
		for id, b := range e.m.boxes {
			if now := e.rows[id]; now != nil {
				b = now
			}
			if !vouchedAlone || len(b.Voucher) > 0 {
				fn(id, b)
			}
		}
	}
	victim, ok := makesRoom(box.account(), bytes, func(fn func(account, int64)) {
		each(func(_ wire.BoxID, b *mailBoxRow) { fn(b.account(), b.weight()) })
	})
	if !ok {
		return wire.BoxID{}, false
	}
	var out wire.BoxID
	var largest int64
	each(func(id wire.BoxID, b *mailBoxRow) {
		if id != e.own && b.account() == victim && b.Count > 0 && b.weight() > largest {
			out, largest = id, b.weight()
		}
	})
	return out, largest > 0
}

// makesRoom gives the account that is to make room for so much more of another one, if any is,
// among those that each tells of.
func makesRoom(mine account, bytes int64, each func(func(a account, has int64))) (victim account, ok bool) {
	networks, accounts := make(map[string]int64), make(map[account]int64)
	each(func(a account, has int64) {
		networks[a.network] += has
		accounts[a] += has
	})
	network := most(networks)
	if network != mine.network && networks[network] <= networks[mine.network]+bytes {
		network = mine.network
	}
	maps.DeleteFunc(accounts, func(a account, _ int64) bool { return a.network != network })
	victim = most(accounts)
	return victim, victim != mine && (network != mine.network || accounts[victim] > accounts[mine]+bytes)
}

// most gives the key with the most.
func most[K comparable](of map[K]int64) (out K) {
	first := true
	for k, n := range of {
		if first || n > of[out] {
			out, first = k, false
		}
	}
	return out
}

// drop takes the oldest envelope out of a box; false: this put has taken enough.
func (e *eviction) drop(id wire.BoxID) (bool, error) {
	if e.count >= evictAtOnce {
		return false, nil
	}
	row := e.rows[id]
	if row == nil {
		copied := *e.m.boxes[id]
		row = &copied
		e.rows[id] = row
	}
	found := false
	err := e.m.heads(id, e.from[id], func(at uint64, head *mailHeadRow) error {
		found = true
		for _, key := range [][]byte{cursorKey(keyBoxHead, id, at), cursorKey(keyBoxMail, id, at), hashKey(id, head.Hash)} {
			e.writes = append(e.writes, storage.Write{Key: key})
		}
		e.from[id] = at + 1
		row.Count--
		row.Bytes -= head.Size + mailOverhead
		e.free(row, int64(head.Size)+mailOverhead) //nolint:gosec // bounded by the quota
		return errEnough
	})
	if err == nil && !found { // the row said more than was there
		e.free(row, int64(row.Bytes)) //nolint:gosec // bounded by the quota
		row.Count, row.Bytes = 0, 0
	}
	e.count++
	return true, err
}

func (e *eviction) free(row *mailBoxRow, bytes int64) {
	e.freed += bytes
	if len(row.Voucher) > 0 {
		e.vouchedFreed += bytes
	}
}

// all gives the writes of the eviction.
func (e *eviction) all() []storage.Write {
	out := e.writes
	for _, id := range slices.SortedFunc(maps.Keys(e.rows), func(a, b wire.BoxID) int { return cmp.Compare(string(a[:]), string(b[:])) }) {
		out = append(out, storage.Write{Key: boxKey(keyBox, id), Value: wire.Marshal(e.rows[id])})
	}
	return out
}

// done notes that the writes are durable.
func (e *eviction) done() {
	for id, row := range e.rows {
		e.m.count(e.m.boxes[id], -1)
		e.m.count(row, 1)
		e.m.boxes[id] = row
	}
}
