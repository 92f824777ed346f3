package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// errLookedFor says that a group is being joined, and its record is not found yet.
var errLookedFor error = lookedFor{}

type lookedFor struct{}

func (lookedFor) Error() string {
	return "the group is being joined: nobody was found yet who has its record"
}

func (lookedFor) Is(target error) bool { return target == ErrNoGroup }

// groupTable holds the groups of a node: a session for each that the node takes part in or
// is on its way into, and a lookup for each that it wants to join and whose genesis it does
// not know yet. A group that moves from the second to the first does so in one step, so
// that nobody sees it in neither.
type groupTable struct {
	changed *signal         // woken by every change of the table
	done    <-chan struct{} // closed when the node is

	hides func(wire.UserID) bool // users whose messages people are not shown

	joining sync.Mutex // held while a joiner's group is made

	mu       sync.Mutex
	sessions map[wire.GroupID]*groupSession
	topics   map[wire.Hash]*groupSession // by the hash of the topic, which a sync names
	lookups  map[wire.GroupID]*lookup
}

func newGroupTable(changed *signal, done <-chan struct{}) *groupTable {
	return &groupTable{
		changed: changed, done: done,
		sessions: make(map[wire.GroupID]*groupSession), topics: make(map[wire.Hash]*groupSession), lookups: make(map[wire.GroupID]*lookup),
	}
}

// journal is the journal of a group as people are shown it.
func (t *groupTable) journal(m *group.Machine) group.Journal { return m.Journal().Without(t.hides) }

// get gives a group, or nil.
func (t *groupTable) get(id wire.GroupID) *groupSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[id]
}

// must gives a group, or ErrNoGroup, which errLookedFor is, too.
func (t *groupTable) must(id wire.GroupID) (*groupSession, error) {
	if g := t.get(id); g != nil {
		return g, nil
	}
	if t.looksFor(id) {
		return nil, errLookedFor
	}
	return nil, fmt.Errorf("%w: %v", ErrNoGroup, id)
}

// await gives a group, once a join of it has found its record.
func (t *groupTable) await(ctx context.Context, id wire.GroupID) (*groupSession, error) {
	for {
		changed := t.changed.wait()
		if !t.looksFor(id) {
			return t.must(id)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.done:
			return nil, ErrClosed
		}
	}
}

// all lists the groups that have sessions.
func (t *groupTable) all() []*groupSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*groupSession, 0, len(t.sessions))
	for _, g := range t.sessions {
		out = append(out, g)
	}
	return out
}

// ids lists all groups, those that are looked for included.
func (t *groupTable) ids() []wire.GroupID {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]wire.GroupID, 0, len(t.sessions)+len(t.lookups))
	for id := range t.sessions {
		out = append(out, id)
	}
	for id := range t.lookups {
		out = append(out, id)
	}
	return out
}

// byTopic gives the group whose topic hashes to h, or nil.
func (t *groupTable) byTopic(h wire.Hash) *groupSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.topics[h]
}

// byTag gives the group that an envelope is of, or nil.
func (t *groupTable) byTag(ctx context.Context, envelope []byte) *groupSession {
	h, err := wire.ParseEnvelopeHeader(envelope)
	if err != nil {
		return nil
	}
	for _, g := range t.all() {
		is := g.id.TopicTag() == h.Tag
		if !is && g.genesis.Private {
			_ = g.loop.look(ctx, func(m *group.Machine) error { is = m.Transport().Has(h.Tag); return nil }) // not: the group ends
		}
		if is {
			return g
		}
	}
	return nil
}

// add makes a session known, and ends the lookup that found its group.
func (t *groupTable) add(g *groupSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[g.id] = g
	t.topics[wire.HashOf(wire.DomainTopic, g.id[:])] = g
	delete(t.lookups, g.id)
}

// remove takes a session out, unless another one has its place.
func (t *groupTable) remove(g *groupSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[g.id] == g {
		delete(t.sessions, g.id)
		delete(t.topics, wire.HashOf(wire.DomainTopic, g.id[:]))
	}
}

// addLookup notes that a group is looked for. False: it is already, or it is here.
func (t *groupTable) addLookup(id wire.GroupID, l *lookup) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lookups[id] != nil || t.sessions[id] != nil {
		return false
	}
	t.lookups[id] = l
	return true
}

// lookup gives the lookup of a group, or nil.
func (t *groupTable) lookup(id wire.GroupID) *lookup {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookups[id]
}

// removeLookup takes a lookup out, unless another one has its place.
func (t *groupTable) removeLookup(id wire.GroupID, l *lookup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lookups[id] == l {
		delete(t.lookups, id)
	}
}

// looksFor says whether a join of this group waits for the group's record.
func (t *groupTable) looksFor(id wire.GroupID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookups[id] != nil && t.sessions[id] == nil
}

// looking counts the groups that are looked for.
func (t *groupTable) looking() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lookups)
}

// pokeLookups has the groups that are looked for searched at once.
func (t *groupTable) pokeLookups() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lookups {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}
