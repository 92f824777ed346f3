package node

import (
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

const (
	fetchNear = 5 * time.Millisecond
	fetchFew  = 2 // groups that a member is asked for at once who answers sooner than that
)

// pace says for how many groups a member is asked at once. Those under way when this process
// dies come twice, so a member whose answers come soon is asked for few: that costs least there,
// a fifth of the speed on loopback (docs/LIMITS.md).
type pace struct {
	most  int           // to be asked for next
	first time.Duration // the shortest time until the first group of an answer came
}

// gave notes that the first group of an answer came after a time, and the last after another.
func (p *pace) gave(first, last time.Duration) {
	p.first = min(p.first, first)
	switch {
	case last >= fetchQuick:
		p.most = max(p.most/2, 1)
	case p.first < fetchNear:
		p.most = fetchFew
	default:
		p.most = min(2*p.most, wire.MaxBlobGroups)
	}
}
