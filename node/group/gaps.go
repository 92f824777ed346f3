package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// gaps are the messages owed to this device that it cannot read yet, by author. A member can
// write any number of RECORDs without a seal. So what this device tells of its gaps, and what
// it asks for, is bounded for each author, and nobody's messages hide another's.
type gaps struct {
	of map[wire.MessageID]*dag.Item
	by map[wire.UserID][]*dag.Item // ascending

	last map[int][]wire.MessageID // what told gave, by how many, since there was another gap
}

func newGaps() gaps {
	return gaps{of: map[wire.MessageID]*dag.Item{}, by: map[wire.UserID][]*dag.Item{}, last: map[int][]wire.MessageID{}}
}

func (g *gaps) has(id wire.MessageID) bool { return g.of[id] != nil }

func (g *gaps) add(it *dag.Item) {
	if g.has(it.Hash) {
		return
	}
	clear(g.last)
	g.of[it.Hash] = it
	at, _ := slices.BinarySearchFunc(g.by[it.User], it, (*dag.Item).Compare)
	g.by[it.User] = slices.Insert(g.by[it.User], at, it)
}

func (g *gaps) remove(id wire.MessageID) {
	it := g.of[id]
	if it == nil {
		return
	}
	clear(g.last)
	delete(g.of, id)
	of := g.by[it.User]
	if at, found := slices.BinarySearchFunc(of, it, (*dag.Item).Compare); found {
		of = slices.Delete(of, at, at+1)
	}
	if g.by[it.User] = of; len(of) == 0 {
		delete(g.by, it.User)
	}
}

// all lists them, oldest first.
func (g *gaps) all() []wire.MessageID {
	var items []*dag.Item
	for _, of := range g.by {
		items = append(items, of...)
	}
	return inOrder(items)
}

func inOrder(items []*dag.Item) []wire.MessageID {
	slices.SortFunc(items, (*dag.Item).Compare)
	out := make([]wire.MessageID, len(items))
	for i, it := range items {
		out[i] = it.Hash
	}
	return out
}

// toldOf is how many gaps a device tells of each author at most, of so many in all.
func toldOf(most int) int { return max(128, most/16) }

// told lists those that this device tells of, ascending: the oldest of each author, and of
// many authors the oldest of each in turn. Nobody may change the list: it is shared.
func (g *gaps) told(most int) []wire.MessageID {
	if _, known := g.last[most]; !known {
		g.last[most] = slices.Clip(g.oldest(most))
	}
	return g.last[most]
}

func (g *gaps) oldest(most int) []wire.MessageID {
	var items []*dag.Item
	for turn := range toldOf(most) {
		var some []*dag.Item
		for _, of := range g.by {
			if turn < len(of) {
				some = append(some, of[turn])
			}
		}
		slices.SortFunc(some, (*dag.Item).Compare)
		items = append(items, some[:min(len(some), most-len(items))]...)
		if len(some) == 0 || len(items) == most {
			break
		}
	}
	out := inOrder(items)
	slices.SortFunc(out, func(a, b wire.MessageID) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// Of an author with more gaps than askedOf, this device asks for so many of them at a time. It
// begins with the oldest, since seals that come in another order make it skip keys, of which it
// keeps only so many. In every second turnOfGaps it begins elsewhere: the oldest may be in nobody's
// hands. Those that come make room for the ones after them.
const (
	askedOf    = 4096
	turnOfGaps = 10 * time.Second
)

// wanted lists those that this device asks others for, oldest first, but for some.
func (g *gaps) wanted(now time.Time, not func(wire.MessageID) bool) []wire.MessageID {
	var items []*dag.Item
	for _, of := range g.by {
		from := 0
		turn := uint64(now.Unix() / int64(turnOfGaps/time.Second)) //nolint:gosec // after 1970
		if n := len(of); n > askedOf && turn%2 == 1 {
			// Mixed, so that no rhythm of exchanges keeps it at one place.
			mixed := uint32(turn * 0x9e3779b97f4a7c15 >> 32) //nolint:gosec // a number like any
			from = int(uint64(mixed) * uint64(n) >> 32)      //nolint:gosec // below n
		}
		for taken := 0; taken < askedOf && from < len(of); from++ {
			if !not(of[from].Hash) {
				items = append(items, of[from])
				taken++
			}
		}
	}
	return inOrder(items)
}

// untold says of whom a device that tells of these gaps may have others: of authors of whom
// it told as many as it may, where those that are not known here may be anybody's; and of all,
// if there are as many as it may tell in all.
func untold(ids []wire.MessageID, most int, author func(wire.MessageID) *wire.UserID) func(wire.UserID) bool {
	of, unknown := map[wire.UserID]int{}, 0
	for _, id := range ids {
		if user := author(id); user != nil {
			of[*user]++
		} else {
			unknown++
		}
	}
	return func(u wire.UserID) bool { return len(ids) >= most || of[u]+unknown >= toldOf(most) }
}
