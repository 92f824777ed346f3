package discovery

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// maxKnown is how many groups a Known holds, apart from those it is told to keep.
const maxKnown = 1024

// Known remembers the best record that this node has seen of each group. Each record only
// ever grows: whatever the DHT or a peer says later, a reader never gets less than it got
// before. Safe for concurrent use.
type Known struct {
	save func(group wire.GroupID, record []byte)

	mu     sync.Mutex
	groups map[wire.GroupID]*known
	clock  uint64 // of use, to drop the group that was not used for longest
}

type known struct {
	info *Info
	news *Info // stored with us by others, and more than info; nil if there is none
	kept bool
	used uint64
}

// NewKnown makes an empty Known. It hands every record that changes to save, and a nil
// record for a group that had to make room for another. save may be nil, and must not call
// back. Load takes the records back after a restart.
func NewKnown(save func(group wire.GroupID, record []byte)) *Known {
	if save == nil {
		save = func(wire.GroupID, []byte) {}
	}
	return &Known{save: save, groups: make(map[wire.GroupID]*known)}
}

// Load takes up a record that save was given. It is verified again, without regard to its
// dates: they were checked when it came, and this clock may be behind by now.
func (k *Known) Load(record []byte) (*Info, error) {
	i, err := verifyAny(record, noClock)
	if err != nil {
		return nil, fmt.Errorf("loading a remembered record: %w", err)
	}
	m, _, err := k.add(false, i)
	return m, err
}

// Get is the best record of a group, nil if none is known.
func (k *Known) Get(g wire.GroupID) *Info {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.groups[g]
	if e == nil {
		return nil
	}
	k.touch(e)
	return e.info
}

// all is every record, in the order of the group IDs.
func (k *Known) all() []*Info {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*Info, 0, len(k.groups))
	for _, e := range k.groups {
		out = append(out, e.info)
	}
	slices.SortFunc(out, func(a, b *Info) int { return slices.Compare(a.Group[:], b.Group[:]) })
	return out
}

// Add collects records of one group into the known one. It returns the result, and whether
// that is more than before.
func (k *Known) Add(records ...*Info) (best *Info, more bool, err error) {
	return k.add(true, records...)
}

func (k *Known) add(save bool, records ...*Info) (*Info, bool, error) {
	if len(records) == 0 {
		return nil, false, fmt.Errorf("%w: no record", wire.ErrMalformed)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g := records[0].Group
	e := k.groups[g]
	if e != nil {
		records = append([]*Info{e.info}, records...)
		if e.news != nil {
			records = append(records, e.news)
		}
	}
	best, err := collect(records...)
	if err != nil {
		return nil, false, err
	}
	if e == nil {
		k.makeRoom()
		e = new(known)
		k.groups[g] = e
	}
	k.touch(e)
	more := e.info == nil || !best.equal(e.info)
	e.info, e.news = best, nil
	if more && save {
		k.save(g, best.Bytes())
	}
	return best, more, nil
}

// TakeBack removes from a group's record what a user said of it with a date in the future.
// It is for this node's own user, whose clock was ahead: the others refuse the record until
// that date, and nothing that the user says now would be newer.
func (k *Known) TakeBack(g wire.GroupID, user []byte, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.groups[g]
	if e == nil {
		return
	}
	if e.news != nil {
		e.news = e.news.without(user, now)
	}
	if i := e.info.without(user, now); !i.equal(e.info) {
		e.info = i
		k.save(g, i.Bytes())
	}
}

// keep protects a group from being dropped, or ends that protection.
func (k *Known) keep(g wire.GroupID, kept bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.groups[g]; e != nil {
		e.kept = kept
	}
}

// note remembers, until the next Add, what a passing record adds to a kept group. It keeps
// that apart from the known record: the DHT's store judges its own old record against the
// known one, and must not find it stale before the new one is put.
func (k *Known) note(i *Info) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.groups[i.Group]
	if e == nil || !e.kept || !adds(e.info, i) {
		return
	}
	if e.news != nil {
		if c, err := collect(e.news, i); err == nil {
			i = c
		}
	}
	e.news = i
}

// hasNews says whether others have stored something new about a group with us.
func (k *Known) hasNews(g wire.GroupID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.groups[g]
	return e != nil && e.news != nil
}

func (k *Known) touch(e *known) {
	k.clock++
	e.used = k.clock
}

func (k *Known) makeRoom() {
	loose := 0
	var oldest wire.GroupID
	var e *known
	for g, x := range k.groups {
		if x.kept {
			continue
		}
		loose++
		if e == nil || x.used < e.used {
			oldest, e = g, x
		}
	}
	if loose >= maxKnown {
		delete(k.groups, oldest)
		k.save(oldest, nil)
	}
}
