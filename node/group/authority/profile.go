package authority

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// field is a field of the profile as a key of a table.
type field [32]byte

// fieldKey puts the number first, so that the table is not as deep as a hash is long.
func fieldKey(f wire.ProfileField) (k field) {
	binary.BigEndian.PutUint64(k[:], uint64(f)<<56|uint64(f)>>8)
	return k
}

// settingKey is the same of a setting. No field of the profile has such a number.
func settingKey(key string) field {
	k := field(sha256.Sum256([]byte(key)))
	k[0] |= 0x80
	return k
}

func (g *Register) key() field {
	if g.Key != "" {
		return settingKey(g.Key)
	}
	return fieldKey(g.Field)
}

// setRegister adds a register of the profile. For each field it keeps all registers that no
// other one has in its past. So a causally later register wins whatever the clocks say, and
// the next one replaces a register that a wrong clock dated far ahead.
func (r *Resolver) setRegister(to *Roster, op *Op) {
	k := op.Profile.key()
	tops := slices.DeleteFunc(slices.Clone(to.profile.at(k)), func(old *Op) bool { return r.knows(op.Ref, old.Ref) })
	to.profile = to.profile.with(k, append(tops, op))
}

// lastSet picks among registers that do not know each other: the highest clock, then the
// higher hash of their entries.
func lastSet(tops []*Op) *Op {
	if len(tops) == 0 {
		return nil
	}
	return slices.MaxFunc(tops, func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.Profile.HLC, b.Profile.HLC), bytes.Compare(a.Hash[:], b.Hash[:]))
	})
}
