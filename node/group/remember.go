package group

import (
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// The verdict on an operation in its own past never changes. To find it out takes a
// resolve for each past that no other operation had, and an author can name any. So it is
// written down, and a start resolves the roster once, whatever is in the set. The same holds
// of who was in when it gave the group a transport key. These rows are a cache: what they lack
// is found out again.

// remembered holds the verdicts of before the start, while the machine starts.
type remembered struct {
	tx       *tx
	verdicts map[wire.EntryHash]roster.Verdict
}

func (r *remembered) load() error {
	r.verdicts = map[wire.EntryHash]roster.Verdict{}
	return r.tx.scan(rowJudged, func(key string, b []byte) error {
		hash, err := lastHex(key)
		if v, ok := decodeVerdict(b); err == nil && ok {
			r.verdicts[wire.EntryHash(hash)] = v
		}
		return err
	})
}

// of gives the verdict on an entry, if there is one from before.
func (r *remembered) of(h wire.EntryHash) (roster.Verdict, bool) {
	v, ok := r.verdicts[h]
	return v, ok
}

// note writes down the verdict on an entry of the set. While a machine starts that lacks many,
// it goes on with them at the next start.
func (r *remembered) note(it *dag.Item, v roster.Verdict) {
	if _, known := r.verdicts[it.Hash]; !known && (r.verdicts == nil || !r.tx.full()) {
		r.tx.put(rowJudged+hexed(it.Hash[:]), encodeVerdict(v))
	}
}

// encodeVerdict gives: rules 1 · flags 1 · why 1 · role 1 · need 1 · victim 32, grant 32, admitted 32,
// since 32, issued 32, each if its flag is set.
func encodeVerdict(v roster.Verdict) []byte {
	b := []byte{roster.Rules, 0, byte(v.Why), byte(v.Role), byte(v.Need)} //nolint:gosec // few roles
	for i, is := range []bool{v.Permitted, v.Lowers, v.Alone} {
		if is {
			b[1] |= 1 << i
		}
	}
	for i, h := range []wire.Hash{wire.Hash(v.Victim), wire.Hash(v.Grant), wire.Hash(v.Admitted), wire.Hash(v.Since), wire.Hash(v.Issued)} {
		if h != (wire.Hash{}) {
			b[1] |= 8 << i
			b = append(b, h[:]...)
		}
	}
	return b
}

// decodeVerdict is the inverse of encodeVerdict. False: it was made by other rules.
func decodeVerdict(b []byte) (v roster.Verdict, ok bool) {
	if len(b) < 5 || b[0] != roster.Rules {
		return v, false
	}
	flags, rest := b[1], b[5:]
	v.Why, v.Role, v.Need = roster.Refusal(b[2]), wire.Role(b[3]), wire.Role(b[4])
	v.Permitted, v.Lowers, v.Alone = flags&1 != 0, flags&2 != 0, flags&4 != 0
	var hashes [5]wire.Hash
	for i := range hashes {
		if flags&(8<<i) == 0 {
			continue
		}
		if len(rest) < 32 {
			return v, false
		}
		hashes[i], rest = wire.Hash(rest[:32]), rest[32:]
	}
	v.Victim, v.Grant = wire.UserID(hashes[0]), wire.EntryHash(hashes[1])
	v.Admitted, v.Since, v.Issued = wire.EntryHash(hashes[2]), wire.EntryHash(hashes[3]), wire.EntryHash(hashes[4])
	return v, len(rest) == 0
}
