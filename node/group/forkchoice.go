package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// liveness is how far a user's newest entry may lie behind the newest of all for
// the user to count as live in the fork choice, and how old an addition must be
// for its user to be in the electorate of forks before it.
const liveness = 14 * 24 * time.Hour

// fullWeight is a user's weight in the fork choice; it is split over the user's
// devices, and divisible by every number of them up to ten.
const fullWeight = 2520

// choice is all that the fork choice looks at. It is a function of the set of
// entries: the tree of epochs by structure, the newest vote of each device, the
// roster, and nothing of this device, its clock or its keys.
type choice struct {
	group   wire.GroupID
	root    *node
	votes   map[wire.DeviceID]*ballot
	roster  *roster
	at      func(*node) *roster // as the author of a node knew it
	newest  map[wire.UserID]crdt.HLC
	skip    func(*node) bool         // children left out beside the void ones
	counts  func(*item) bool         // entries that have an effect; nil: all
	accused func(wire.DeviceID) bool // devices that weigh nothing; nil: none

	without rules // left out, to measure what each is good for
}

// ballot is a device's newest vote.
type ballot struct {
	position *node // nil: an epoch that no entry establishes
	unheld   []wire.EpochID
}

// rules names parts of the fork choice that a test leaves out.
type rules struct{ void, liveVoter, majority, electorate, weight, tieBreak bool }

// choose walks down from the root and takes a child at each fork.
//
//  1. Void nodes are left out (epochTree.commit says which).
//  2. The vote of a user who is not live counts, in what follows, only for a child
//     under which a live user's vote lies too.
//  3. A child under which more than half of the electorate votes is taken: the
//     members at the fork, and those added long ago, all of them still members.
//  4. Else the child with the most weight of users who were members at the fork
//     and still are.
//  5. Else the lowest hash of parent and committing user, then of the commit.
func (c *choice) choose() *node {
	c.number()
	var voters []voter // of the first fork on
	at := c.root
	for {
		children := slices.DeleteFunc(slices.Clone(at.children), func(n *node) bool { return !c.without.void && !n.stands(c.counts) || c.skip != nil && c.skip(n) })
		switch len(children) {
		case 0:
			return at
		case 1:
			at = children[0]
		default:
			if voters == nil {
				voters = c.voters()
			}
			at = c.fork(at, children, voters)
		}
	}
}

// number gives every node its place in a walk, so that "lies under" is two
// comparisons.
func (c *choice) number() {
	n := 0
	stack := []*node{c.root}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		if at.seen {
			at.last, at.seen = n, false
			stack = stack[:len(stack)-1]
			continue
		}
		n++
		at.first, at.seen = n, true
		stack = append(stack, at.children...)
	}
}

// under says whether o lies in n's subtree, by the numbers of this choice.
func (n *node) under(o *node) bool { return o != nil && n.first <= o.first && o.first <= n.last }

// isLive says whether a user's newest entry is recent, measured by the newest of all.
func (c *choice) isLive(user wire.UserID, newest crdt.HLC) bool {
	return newest.Time().Sub(c.newest[user].Time()) <= liveness
}

// now is the newest time of an entry by a user of the roster.
func (c *choice) now() crdt.HLC {
	var newest crdt.HLC
	for u := range c.roster.users {
		newest = max(newest, c.newest[u])
	}
	return newest
}

// voter is a user of the roster with all that the forks of one choice ask of it.
type voter struct {
	user    wire.UserID
	live    bool
	settled bool // its addition is so old that it is in the electorate of forks before it
	mute    bool // it may only read
	share   int  // of each device
	ballots []*ballot
}

// voters looks everything up once: a choice meets many forks.
func (c *choice) voters() []voter {
	newest := c.now()
	out := make([]voter, 0, len(c.roster.users))
	for user, u := range c.roster.users {
		v := voter{user: user, live: c.isLive(user, newest), mute: u.role == wire.RoleReadOnly}
		v.settled = !c.without.electorate && u.since != nil && newest.Time().Sub(u.since.hlc.Time()) >= liveness
		for _, d := range u.devices { // none, if all of them are revoked
			v.share = fullWeight / len(u.devices)
			if c.accused == nil || !c.accused(d) {
				v.ballots = append(v.ballots, c.votes[d])
			}
		}
		out = append(out, v)
	}
	return out
}

// fork picks one of several children.
func (c *choice) fork(at *node, children []*node, voters []voter) *node {
	members := c.at(at)
	type tally struct{ votes, weight int }
	tallies := make([]tally, len(children))
	electorate, liveUsers := 0, 0
	liveUnder := make([]bool, len(children))
	unheld := make([]int, len(children))

	for _, v := range voters {
		if !v.live {
			continue
		}
		liveUsers++
		for i, child := range children {
			named := false
			for _, b := range v.ballots {
				liveUnder[i] = liveUnder[i] || b != nil && child.under(b.position)
				named = named || b != nil && slices.Contains(b.unheld, child.id) && !child.under(b.position)
			}
			if named {
				unheld[i]++
			}
		}
	}
	for _, v := range voters {
		if v.mute {
			continue
		}
		member := members == c.roster || members.users[v.user] != nil
		elector := member || v.settled
		for _, b := range v.ballots {
			counted := v.live
			for i, child := range children {
				if b == nil || !child.under(b.position) {
					continue
				}
				if !v.live && !c.without.liveVoter && (!liveUnder[i] || 2*unheld[i] > liveUsers) {
					continue
				}
				counted = true
				if elector {
					tallies[i].votes += v.share
				}
				if member {
					tallies[i].weight += v.share
				}
			}
			if elector && counted {
				electorate += v.share
			}
		}
	}
	if !c.without.majority {
		for i, t := range tallies {
			if 2*t.votes > electorate {
				return children[i]
			}
		}
	}
	best := 0
	for i := 1; i < len(children); i++ {
		if c.without.weight {
			tallies[i].weight, tallies[best].weight = 0, 0
		}
		if tallies[i].weight > tallies[best].weight ||
			tallies[i].weight == tallies[best].weight && !c.without.tieBreak && c.before(children[i], children[best]) {
			best = i
		}
	}
	return children[best]
}

// before is the tie-break: lower hash of parent and committing user, then of the commit.
func (c *choice) before(a, b *node) bool {
	pa, pb := c.prio(a), c.prio(b)
	if r := bytes.Compare(pa[:], pb[:]); r != 0 {
		return r < 0
	}
	return bytes.Compare(a.id[:], b.id[:]) < 0
}

// prio is of n's committer.
func (c *choice) prio(n *node) wire.Hash {
	user := n.by().user
	return wire.HashOf(wire.DomainPrio, c.group[:], n.parent.id[:], user[:])
}
