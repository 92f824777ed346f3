package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// rosters holds the roster of the set, as of the last time that it was asked for.
type rosters struct {
	*roster.Resolver

	remembered remembered

	newcomers []newcomer // whom no third user is known to have seen

	now *roster.Roster // of all entries that counted then; nil: none was asked for

	ranked ranked
}

// ranked is the last rank that was asked for. A roster never changes.
type ranked struct {
	of     *roster.Roster
	at     wire.EpochID
	device wire.DeviceID
	place  int
}

// rank counts the devices of the roster that are before a device, in an order of each epoch's
// own.
func (r *rosters) rank(group wire.GroupID, at wire.EpochID, device wire.DeviceID) int {
	if k := r.ranked; k.of == r.now && k.at == at && k.device == device {
		return k.place
	}
	rankOf := func(d wire.DeviceID) wire.Hash { return wire.HashOf(wire.DomainPrio, group[:], at[:], d[:]) }
	mine, place := rankOf(device), 0
	for d := range r.now.Devices() {
		if h := rankOf(d); bytes.Compare(h[:], mine[:]) < 0 {
			place++
		}
	}
	r.ranked = ranked{r.now, at, device, place}
	return place
}

func newRosters(genesis *identity.Genesis, logs *dag.Logs, tx *tx) *rosters {
	return &rosters{Resolver: roster.NewResolver(genesis, logs), remembered: remembered{tx: tx}}
}

// load reads what was found out before, for as long as the machine starts.
func (r *rosters) load() error {
	r.Remembered = r.remembered.of
	return r.remembered.load()
}

// loaded forgets it: the set has it.
func (r *rosters) loaded() { r.Remembered, r.remembered.verdicts = nil, nil }

// wasIn says whether the author of an entry was in as far as it knew.
func (r *rosters) wasIn(it *dag.Item) bool {
	if !it.Facts.Has(dag.Speaks | dag.Mute) {
		v, ok := r.remembered.of(it.Hash)
		if !ok {
			v.Permitted = r.At(it).Has(it.Log.Device)
			r.remembered.note(it, v)
		}
		if it.Note(dag.Mute); v.Permitted {
			it.Drop(dag.Mute)
			it.Note(dag.Speaks)
		}
	}
	return it.Facts.Has(dag.Speaks)
}

// refresh resolves the roster again; old is the one before.
func (r *rosters) refresh() (old *roster.Roster, changed bool) {
	old = r.now
	r.now = r.Now()
	return old, r.now != old
}

// newcomer is an addition that no third user is known to have seen.
type newcomer struct {
	add *dag.Item
	at  time.Time // when this device vouches for it; zero: that is not planned yet
}

// came takes an entry that has come into the set.
func (r *rosters) came(it *dag.Item) {
	r.Came(it)
	if it.Op != nil {
		r.remembered.note(it, r.Verdict(it))
	}
	if it.Facts.Has(dag.IsPermitted) && it.Op.Type == wire.OpAdd {
		r.newcomers = append(r.newcomers, newcomer{add: it})
	}
}

// lookForWitnesses drops the newcomers whom a third user has seen.
func (r *rosters) lookForWitnesses(l *dag.Logs) {
	r.newcomers = slices.DeleteFunc(r.newcomers, func(n newcomer) bool {
		return l.KnownTo(n.add, n.add.User, n.add.Target.Device.User)
	})
}
