package epochs

import (
	"bytes"
	"crypto/sha256"
	"iter"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// poll is a tree of epochs with votes, all made by hand.
type poll struct {
	Choice
	users map[wire.UserID]*roster.User
	nodes []*Node
}

// members are users, made by hand.
type members struct{ in map[wire.UserID]*roster.User }

func (m *members) Users() iter.Seq[*roster.User] { return maps.Values(m.in) }
func (m *members) HasUser(id wire.UserID) bool   { return m.in[id] != nil }
func (m *members) Size() int                     { return len(m.in) }

func newPoll(users int) *poll {
	p := &poll{users: map[wire.UserID]*roster.User{}, Choice: Choice{
		Root: &Node{ID: wire.EpochID{0xff}}, Votes: map[wire.DeviceID]*Ballot{}, Newest: map[wire.UserID]crdt.HLC{},
	}}
	all := &members{p.users}
	p.Roster, p.At = all, func(*Node) Members { return all }
	p.nodes = []*Node{p.Root}
	for i := range users {
		p.users[dagtest.TestUser(i)] = &roster.User{ID: dagtest.TestUser(i), Role: wire.RoleMember, Devices: []wire.DeviceID{dagtest.TestDevice(i)}}
		p.Newest[dagtest.TestUser(i)] = day(100)
	}
	return p
}

func day(n int) crdt.HLC { return crdt.HLCFromTime(time.Unix(int64(n)*86400, 0)) }

func (p *poll) child(parent *Node, by int) *Node {
	hash := sha256.Sum256([]byte{byte(len(p.nodes)), byte(len(p.nodes) >> 8)})
	n := &Node{ID: wire.EpochID(hash), Parent: parent, Claims: []*dag.Item{{Author: &dag.Author{User: dagtest.TestUser(by)}, Body: dag.Unsealed, Hash: wire.EntryHash(hash)}}}
	parent.Children = append(parent.Children, n)
	p.nodes = append(p.nodes, n)
	return n
}

func (p *poll) vote(user int, n *Node) {
	p.Votes[dagtest.TestDevice(user)] = &Ballot{Position: n}
}

func (p *poll) expect(t *testing.T, what string, want *Node) {
	t.Helper()
	if got := p.Choose(); got != want {
		t.Errorf("%s: chosen %v, want %v", what, got.ID, want.ID)
	}
}

// docs/ARCHITECTURE.md, Fork choice, rule by rule.
func TestForkChoiceRules(t *testing.T) {
	// fork is two children of a chain of one; loser is what the tie-break leaves.
	fork := func(users int) (p *poll, winner, loser *Node) {
		p = newPoll(users)
		at := p.child(p.Root, 0)
		winner, loser = p.child(at, 1), p.child(at, 2)
		if !p.Before(winner, loser) {
			winner, loser = loser, winner
		}
		return p, winner, loser
	}

	p, winner, loser := fork(4)
	p.expect(t, "5: without votes the tie-break", winner)
	p.vote(0, winner)
	p.vote(1, loser)
	p.expect(t, "5: equal weight", winner)
	p.vote(2, loser)
	p.expect(t, "4: more weight", loser)
	tip := p.child(p.child(winner, 3), 3)
	p.vote(0, tip)
	p.expect(t, "4: length is no weight", loser)
	p.vote(3, tip)
	p.expect(t, "4: weight counts in the whole subtree", tip)

	p, winner, loser = fork(4)
	loser.Void = true
	p.vote(0, loser)
	p.vote(1, loser)
	p.expect(t, "1: a void node is left out", winner)

	p, winner, loser = fork(4)
	p.vote(0, loser)
	p.users[dagtest.TestUser(0)].Role = wire.RoleReadOnly
	p.expect(t, "4: who may only read weighs nothing", winner)

	p, winner, loser = fork(4)
	p.users[dagtest.TestUser(0)].Devices = append(p.users[dagtest.TestUser(0)].Devices, dagtest.TestDevice(20), dagtest.TestDevice(21))
	p.vote(0, loser)
	p.vote(20, loser)
	p.vote(1, winner)
	p.expect(t, "4: a user's weight is split over its devices", winner)
	p.vote(21, loser)
	p.users[dagtest.TestUser(0)].Devices = nil
	p.expect(t, "4: a user without devices weighs nothing", winner)

	// Seven of ten are dead and stand on one branch, three live ones on the other.
	p, winner, loser = fork(10)
	for i := range 10 {
		p.vote(i, winner)
		if i >= 7 {
			p.vote(i, loser)
		} else {
			p.Newest[dagtest.TestUser(i)] = day(80)
		}
	}
	p.expect(t, "2: a dead majority does not count without a live vote", loser)
	p.Without = Rules{LiveVoter: true}
	p.expect(t, "2 left out", winner)
	p.Without = Rules{}
	p.vote(9, winner)
	p.expect(t, "2: with a live vote it does", winner)
	for i := 7; i < 10; i++ {
		p.Votes[dagtest.TestDevice(i)].Unheld = []wire.EpochID{winner.ID}
	}
	p.expect(t, "2: unless more than half of the live name it unheld", loser)
	p.vote(9, winner)
	p.Votes[dagtest.TestDevice(9)].Unheld = []wire.EpochID{winner.ID}
	p.Votes[dagtest.TestDevice(8)].Unheld = nil
	p.expect(t, "2: who stands under it cannot name it", winner)

	// Puppets, invited after the fork, vote for the founder's branch; a majority of
	// old members stands on the other.
	p, winner, loser = fork(6)
	founder := &members{map[wire.UserID]*roster.User{dagtest.TestUser(0): p.users[dagtest.TestUser(0)]}}
	p.At = func(n *Node) Members {
		if n == winner.Parent {
			return founder // only the founder was a member there
		}
		return p.Roster
	}
	p.vote(0, winner)
	for i := 1; i < 6; i++ {
		p.users[dagtest.TestUser(i)].Since = &dag.Item{HLC: day(50)}
		p.vote(i, loser)
	}
	p.expect(t, "3: the electorate counts those added long ago", loser)
	p.Without = Rules{Electorate: true}
	p.expect(t, "3 without its electorate", winner)
	p.Without = Rules{}
	for i := 1; i < 6; i++ {
		p.users[dagtest.TestUser(i)].Since = &dag.Item{HLC: day(95)}
	}
	p.expect(t, "3: not those added lately", winner)
}

// shuffled is the same set in another order of arrival.
func (p *poll) shuffled(r *rand.Rand) {
	for _, n := range p.nodes {
		r.Shuffle(len(n.Children), func(i, j int) { n.Children[i], n.Children[j] = n.Children[j], n.Children[i] })
	}
}

// The choice depends on no order; it is a leaf, or nothing hangs below it; and one
// more vote for it never unseats it.
func TestForkChoiceIsAFunctionOfTheSet(t *testing.T) {
	forks := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := newPoll(2 + r.IntN(8))
		for range 25 {
			p.child(p.nodes[max(0, len(p.nodes)-1-r.IntN(6))], r.IntN(len(p.users))).Void = r.IntN(10) == 0
		}
		for i := range len(p.users) {
			if r.IntN(5) > 0 {
				p.vote(i, p.nodes[r.IntN(len(p.nodes))])
			}
			p.Newest[dagtest.TestUser(i)] = day(100 - r.IntN(20))
		}
		for _, n := range p.nodes {
			if len(n.Children) > 1 {
				forks++
			}
		}
		want := p.Choose()
		for _, c := range want.Children {
			if !c.Void {
				t.Fatalf("seed %d: the chosen epoch has a child", seed)
			}
		}
		for n := want; n != p.Root; n = n.Parent {
			if n.Void {
				t.Fatalf("seed %d: a void epoch is chosen", seed)
			}
		}
		for range 5 {
			p.shuffled(r)
			if got := p.Choose(); got != want {
				t.Fatalf("seed %d: %v in one order, %v in another", seed, bytes.Clone(want.ID[:2]), bytes.Clone(got.ID[:2]))
			}
		}
		for i := range len(p.users) {
			before := p.Votes[dagtest.TestDevice(i)]
			p.vote(i, want)
			if got := p.Choose(); got != want {
				t.Fatalf("seed %d: a vote for the chosen epoch unseats it", seed)
			}
			p.Votes[dagtest.TestDevice(i)] = before
			if before == nil {
				delete(p.Votes, dagtest.TestDevice(i))
			}
		}
	}
	if forks < 1000 {
		t.Errorf("%d forks", forks)
	}
}

// A choice over 64 epochs, 4 branches and 1,000 votes takes at most 1 ms.
func BenchmarkForkChoice(b *testing.B) {
	p := newPoll(1000)
	at := p.Root
	var tips []*Node
	for range 16 {
		at = p.child(at, 0)
	}
	for i := range 4 {
		n := at
		for range 12 {
			n = p.child(n, i)
		}
		tips = append(tips, n)
	}
	for i := range 1000 {
		p.vote(i, tips[i%4])
	}
	for b.Loop() {
		p.Choose()
	}
	if each := b.Elapsed() / time.Duration(b.N); b.N >= 100 && each > time.Millisecond {
		b.Errorf("a choice takes %v", each)
	}
}

// Each alternative that docs/FORKCHOICE.md measures chooses otherwise than we do
// where it should, and nowhere does it change ours.
func TestAlternatives(t *testing.T) {
	var p *poll
	var at, winner, loser *Node
	fork := func(users int) {
		p = newPoll(users)
		at = p.child(p.Root, 0)
		winner, loser = p.child(at, 1), p.child(at, 2)
		if !p.Before(winner, loser) {
			winner, loser = loser, winner
		}
	}
	down := func(n *Node, epochs int) *Node {
		for range epochs {
			n = p.child(n, 3)
		}
		return n
	}
	seen := 0
	expect := func(a Alternative, position, own, other *Node) {
		t.Helper()
		seen++
		p.expect(t, "ours, beside "+string(a), own)
		p.Without = a.Rules()
		if got := p.ChooseOtherwise(a, position); got != other {
			t.Errorf("%s: chosen %v, want %v", a, got.ID, other.ID)
		}
	}

	fork(4)
	lowest := winner
	if ByID(loser, winner) < 0 {
		lowest = loser
	}
	higher := map[*Node]*Node{winner: loser, loser: winner}[lowest]
	for i := range 4 {
		p.vote(i, higher)
	}
	expect(LowestHash, nil, higher, lowest)

	fork(4)
	p.vote(0, loser)
	expect(LongestChain, nil, loser, down(winner, 5))

	fork(4)
	for i := range 4 {
		p.vote(i, loser)
	}
	tip := down(winner, RewindMost)
	expect(RewindHorizon, tip, loser, tip)
	fork(4)
	p.vote(0, loser)
	expect(RewindHorizon, down(winner, RewindMost-2), loser, loser)

	fork(4)
	winner.Void = true
	expect(WithoutVoid, nil, loser, winner)

	fork(5)
	for i := range 5 {
		p.vote(i, winner)
		if i < 3 {
			p.Newest[dagtest.TestUser(i)] = day(80)
		} else {
			p.vote(i, loser)
		}
	}
	expect(WithoutLiveVoter, nil, loser, winner)

	puppets := func() {
		fork(6)
		founder := &members{map[wire.UserID]*roster.User{dagtest.TestUser(0): p.users[dagtest.TestUser(0)]}}
		p.At = func(*Node) Members { return founder }
		p.vote(0, winner)
		for i := 1; i < 6; i++ {
			p.users[dagtest.TestUser(i)].Since = &dag.Item{HLC: day(50)}
			p.vote(i, loser)
		}
	}
	puppets()
	expect(WithoutMajority, nil, loser, winner)
	puppets()
	expect(WithoutSettled, nil, loser, winner)

	fork(4)
	p.vote(0, loser)
	expect(WithoutWeight, nil, loser, winner)

	fork(4)
	at.Children = []*Node{loser, winner}
	expect(WithoutTieBreak, nil, winner, loser)

	if seen != len(Alternatives) { // WithoutRefused is the machine's, not the choice's; RewindHorizon was twice
		t.Errorf("%d alternatives were tried, of %d", seen, len(Alternatives))
	}
}
