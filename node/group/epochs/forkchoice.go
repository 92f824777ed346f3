package epochs

import (
	"bytes"
	"iter"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// liveness is how far a user's newest entry may lie behind the newest of all for
// the user to count as live in the fork choice, and how old an addition must be
// for its user to be in the electorate of forks before it.
const liveness = 14 * 24 * time.Hour

// fullWeight is a user's weight in the fork choice; it is split over the user's
// devices, and divisible by every number of them up to ten.
const fullWeight = 2520

// Choice is all that the fork choice looks at. It is a function of the set of
// entries: the tree of epochs by structure, the newest vote of each device, the
// roster, and nothing of this device, its clock or its keys.
type Choice struct {
	Group     wire.GroupID
	Root      *Node
	Votes     map[wire.DeviceID]*Ballot
	Roster    Members
	At        func(*Node) Members // as the author of a node knew it
	Newest    map[wire.UserID]crdt.HLC
	Abandoned func(*Node) bool         // roots that are left alone; nil: none
	Skip      func(*Node) bool         // children left out beside the void ones
	Counts    func(*dag.Item) bool     // entries that have an effect; nil: all
	Accused   func(wire.DeviceID) bool // devices that weigh nothing; nil: none

	Without Rules // left out, to measure what each is good for
}

// Members are the users who are in by a set of entries.
type Members interface {
	Users() iter.Seq[*roster.User]
	HasUser(id wire.UserID) bool
	Size() int
}

// Ballot is a device's newest vote.
type Ballot struct {
	Position *Node // nil: an epoch that no entry establishes
	Unheld   []wire.EpochID
}

// Rules names parts of the fork choice that a test leaves out.
type Rules struct{ void, LiveVoter, majority, Electorate, weight, tieBreak bool }

// Choose walks down from the root and takes a child at each fork.
//
//  1. Void nodes are left out (Tree.Commit says which), and roots that nobody took up
//     (Tree.Abandoned).
//  2. The vote of a user who is not live counts, in what follows, only for a child
//     under which a live user's vote lies too.
//  3. A child under which more than half of the electorate votes is taken: the
//     members at the fork, and those added long ago, all of them still members.
//  4. Else the child with the most weight of users who were members at the fork
//     and still are.
//  5. Else the lowest hash of parent and committing user, then of the commit.
func (c *Choice) Choose() *Node {
	c.number()
	var voters []voter // of the first fork on
	at := c.Root
	for {
		children := c.children(at)
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

// children gives the children of a node that can be chosen.
func (c *Choice) children(at *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(at.Children), func(n *Node) bool {
		return !c.Without.void && !n.Stands(c.Counts) || c.Abandoned != nil && c.Abandoned(n) || c.Skip != nil && c.Skip(n)
	})
}

// number gives every node its place in a walk, so that "lies under" is two
// comparisons.
func (c *Choice) number() {
	n := 0
	stack := []*Node{c.Root}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		if at.seen {
			at.last, at.seen = n, false
			stack = stack[:len(stack)-1]
			continue
		}
		n++
		at.first, at.seen = n, true
		stack = append(stack, at.Children...)
	}
}

// under says whether o lies in n's subtree, by the numbers of this choice.
func (n *Node) under(o *Node) bool { return o != nil && n.first <= o.first && o.first <= n.last }

// IsLive says whether a user's newest entry is recent, measured by the newest of all.
func (c *Choice) IsLive(user wire.UserID, newest crdt.HLC) bool {
	return newest.Time().Sub(c.Newest[user].Time()) <= liveness
}

// Now is the newest time of an entry by a user of the roster.
func (c *Choice) Now() crdt.HLC {
	var newest crdt.HLC
	for u := range c.Roster.Users() {
		newest = max(newest, c.Newest[u.ID])
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
	ballots []*Ballot
}

// voters looks everything up once: a choice meets many forks.
func (c *Choice) voters() []voter {
	newest := c.Now()
	out := make([]voter, 0, c.Roster.Size())
	for u := range c.Roster.Users() {
		v := voter{user: u.ID, live: c.IsLive(u.ID, newest), mute: u.Role == wire.RoleReadOnly}
		v.settled = !c.Without.Electorate && u.Since != nil && newest.Time().Sub(u.Since.HLC.Time()) >= liveness
		for _, d := range u.Devices { // none, if all of them are revoked
			v.share = fullWeight / len(u.Devices)
			if c.Accused == nil || !c.Accused(d) {
				v.ballots = append(v.ballots, c.Votes[d])
			}
		}
		out = append(out, v)
	}
	return out
}

// fork picks one of several children.
func (c *Choice) fork(at *Node, children []*Node, voters []voter) *Node {
	members := c.At(at)
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
				liveUnder[i] = liveUnder[i] || b != nil && child.under(b.Position)
				named = named || b != nil && slices.Contains(b.Unheld, child.ID) && !child.under(b.Position)
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
		member := members == c.Roster || members.HasUser(v.user)
		elector := member || v.settled
		for _, b := range v.ballots {
			counted := v.live
			for i, child := range children {
				if b == nil || !child.under(b.Position) {
					continue
				}
				if !v.live && !c.Without.LiveVoter && (!liveUnder[i] || 2*unheld[i] > liveUsers) {
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
	if !c.Without.majority {
		for i, t := range tallies {
			if 2*t.votes > electorate {
				return children[i]
			}
		}
	}
	best := 0
	for i := 1; i < len(children); i++ {
		if c.Without.weight {
			tallies[i].weight, tallies[best].weight = 0, 0
		}
		if tallies[i].weight > tallies[best].weight ||
			tallies[i].weight == tallies[best].weight && !c.Without.tieBreak && c.Before(children[i], children[best]) {
			best = i
		}
	}
	return children[best]
}

// Before is the tie-break: lower hash of parent and committing user, then of the commit.
func (c *Choice) Before(a, b *Node) bool {
	pa, pb := c.prio(a), c.prio(b)
	if r := bytes.Compare(pa[:], pb[:]); r != 0 {
		return r < 0
	}
	return bytes.Compare(a.ID[:], b.ID[:]) < 0
}

// prio is of n's committer.
func (c *Choice) prio(n *Node) wire.Hash {
	user := n.By().User
	return wire.HashOf(wire.DomainPrio, c.Group[:], n.Parent.ID[:], user[:])
}
