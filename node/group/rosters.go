package group

import (
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

	newcomers []newcomer // whom no third user is known to have seen

	now *roster.Roster // of all entries that counted then; nil: none was asked for
}

func newRosters(genesis *identity.Genesis, logs *dag.Logs) *rosters {
	return &rosters{Resolver: roster.NewResolver(genesis, logs)}
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
