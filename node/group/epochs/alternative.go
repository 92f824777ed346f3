package epochs

import (
	"bytes"
	"slices"
)

// Alternative is a fork choice other than this package's: one of three that others
// use, or ours with one of its rules left out. It is for measurements only
// (docs/FORKCHOICE.md): all devices of a group must run the same, and no node runs
// any; internal/archtest sees to that.
type Alternative string

// The alternatives.
const (
	LowestHash       Alternative = "lowest hash"            // at each fork, of the child's EpochID
	LongestChain     Alternative = "longest chain"          // the deepest epoch, then the lowest hash
	RewindHorizon    Alternative = "rewind horizon"         // ours, but no device goes back behind rewindMost epochs
	WithoutVoid      Alternative = "without rule 1"         // commits of those who swing, and floods, count
	WithoutLiveVoter Alternative = "without rule 2"         // the votes of the dead count without a live one
	WithoutMajority  Alternative = "without rule 3"         // weight decides at once
	WithoutSettled   Alternative = "rule 3, one electorate" // also of those who came later and are settled: not in it
	WithoutWeight    Alternative = "without rule 4"         // no majority: the tie-break decides at once
	WithoutTieBreak  Alternative = "without rule 5"         // ties go to the child that this device heard of first
	WithoutRefused   Alternative = "without refused"        // nobody stands up for a sibling of what it finds invalid
)

// Alternatives lists them, in the order of the table.
var Alternatives = []Alternative{
	LowestHash, LongestChain, RewindHorizon, WithoutVoid, WithoutLiveVoter, WithoutMajority, WithoutSettled, WithoutWeight, WithoutTieBreak, WithoutRefused,
}

// RewindMost is how many epochs a device leaves behind itself at most under
// RewindHorizon.
const RewindMost = 3

// Rules are those of the fork choice that are left out.
func (a Alternative) Rules() Rules {
	return Rules{
		void: a == WithoutVoid, LiveVoter: a == WithoutLiveVoter, majority: a == WithoutMajority, Electorate: a == WithoutSettled,
		weight: a == WithoutWeight, tieBreak: a == WithoutTieBreak,
	}
}

// ChooseOtherwise is choose under an alternative; position is this device's, or nil.
func (c *Choice) ChooseOtherwise(a Alternative, position *Node) *Node {
	c.Without = a.Rules()
	switch a {
	case LowestHash:
		at := c.Root
		for {
			children := c.plain(at)
			if len(children) == 0 {
				return at
			}
			at = slices.MinFunc(children, ByID)
		}
	case LongestChain:
		return c.deepest()
	case RewindHorizon:
		if position != nil {
			for range RewindMost {
				if position.Parent != nil {
					position = position.Parent
				}
			}
			c.Root = position
		}
		return c.Choose()
	default:
		return c.Choose()
	}
}

// plain lists the children of a node without a look at who made them.
func (c *Choice) plain(at *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(at.Children), func(n *Node) bool { return c.Skip != nil && c.Skip(n) })
}

// ByID orders nodes by their EpochIDs.
func ByID(a, b *Node) int { return bytes.Compare(a.ID[:], b.ID[:]) }

func (c *Choice) deepest() *Node {
	type place struct {
		at    *Node
		depth int
	}
	best := place{at: c.Root}
	for queue := []place{best}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.depth > best.depth || at.depth == best.depth && ByID(at.at, best.at) < 0 {
			best = at
		}
		for _, n := range c.plain(at.at) {
			queue = append(queue, place{n, at.depth + 1})
		}
	}
	return best.at
}
