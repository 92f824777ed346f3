package group

import (
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/identity"
)

// rosters holds the roster of the set, as of the last time that it was asked for.
type rosters struct {
	*roster.Resolver

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
