package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Two people ask with one link in the same second, each at another member, and neither can
// reach another: an invite for one lets in one, whoever of the members is there.
func TestLastUseOfAnInvite(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		gone  []int
		apart [][2]int
		at    [2]int // whom each asks
	}{
		"all are there":       {at: [2]int{1, 2}},
		"the inviter is gone": {gone: []int{0}, at: [2]int{1, 2}},
		"two of them reach each other by a third alone": {apart: [][2]int{{0, 1}}, at: [2]int{0, 1}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inNet(t, simhost.Config{Latency: 200 * time.Millisecond}, func(w *world) {
				nodes := []*Node{w.open(0), w.open(1, 0), w.open(2, 0, 1), w.open(3, c.at[0]), w.open(4, c.at[1])}
				id := w.found(nodes[0], wire.PolicyInvite)
				for _, n := range nodes[1:3] {
					_, link := w.invite(nodes[0], id, inviteTerms{Uses: 1})
					w.joinByLink(n, link)
				}
				invite, link := w.invite(nodes[0], id, inviteTerms{Uses: 1})
				for {
					before, err := nodes[1].groups.get(id).precedence(w.Context(), &group.LimitedInvite{ID: invite, Signer: nodes[0].Device().User})
					if err != nil {
						w.Fatal(err)
					}
					if len(before) == 1 {
						break // the third member comes last: the second has only the inviter before it
					}
					invite, link = w.invite(nodes[0], id, inviteTerms{Uses: 1})
				}
				for _, n := range nodes[:3] {
					w.eventually(n, 5*time.Minute, "three members", func() bool {
						m, err := n.Members(w.Context(), id)
						return err == nil && len(m) == 3
					})
				}
				for _, i := range c.gone {
					w.close(i)
				}
				for _, cut := range c.apart {
					w.net.Cut(cut[0], cut[1])
				}
				w.net.Cut(3, 4)
				for i := range 3 {
					for j, at := range c.at {
						if i != at {
							w.net.Cut(3+j, i)
						}
					}
				}
				if len(c.apart) > 0 {
					time.Sleep(2 * time.Minute) // virtual: until connections across the cut are given up
				}
				var asks sync.WaitGroup
				for i, n := range nodes[3:] {
					l := *link // which names the member that is there for this one
					l.Peers = []wire.LinkPeer{{Peer: []byte(nodes[c.at[i]].host.ID())}}
					asks.Go(func() {
						if _, err := n.joinByLink(w.within(time.Minute), &l); err != nil {
							w.Error(err)
						}
					})
				}
				asks.Wait()
				used := func(n *Node) int {
					all, err := n.groups.get(id).invites(w.Context())
					if err != nil {
						w.Fatal(err)
					}
					for _, i := range all {
						if i.ID == invite {
							return i.Used
						}
					}
					return 0
				}
				began := time.Now()
				w.eventually(nodes[1], 5*time.Minute, "one of them is in", func() bool { return used(nodes[1]) > 0 && used(nodes[2]) > 0 })
				t.Logf("after %v", time.Since(began))
				time.Sleep(5 * time.Minute) // virtual: the other one asks again and again
				for i, n := range nodes[1:3] {
					if uses := used(n); uses != 1 {
						w.Errorf("member %d: the invite for one let in %d", i+1, uses)
					}
					if m, err := n.Members(w.Context(), id); err != nil || len(m) != 4 {
						w.Errorf("member %d: %d members, %v", i+1, len(m), err)
					}
				}
			})
		})
	}
}

// A device whose turn it is to serve an invite, and that is silent, refuses for no reason,
// or says that it serves and does not, keeps nobody out for more than some seconds.
func TestTurnOfAHostileMember(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		answer func(f *frames, over chan struct{})
		most   time.Duration
	}{
		"silent":  {func(_ *frames, over chan struct{}) { <-over }, 15 * time.Second},
		"refuses": {func(f *frames, _ chan struct{}) { _ = deny(f, "the invite is used up", true) }, 15 * time.Second},
		"stalls": {func(f *frames, over chan struct{}) {
			_ = f.write(&wire.JoinReply{Stage: wire.JoinWaiting, Reason: "soon"})
			<-over
		}, 30 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				over := make(chan struct{})
				defer close(over)
				a, b, c2 := w.open(0), w.open(1, 0), w.open(2, 1)
				id := w.found(a, wire.PolicyInvite)
				_, link := w.invite(a, id, inviteTerms{Uses: 2})
				w.joinByLink(b, link)
				a.host.SetStreamHandler(wire.ProtocolJoin, func(s network.Stream) {
					f := newFrames(s)
					defer f.abandon()
					var r wire.JoinRequest
					if f.read(&r) == nil {
						c.answer(f, over)
					}
				})
				w.net.Cut(2, 0)
				link.Peers = []wire.LinkPeer{{Peer: []byte(b.host.ID())}}
				began := time.Now()
				w.joinByLink(c2, link)
				if took := time.Since(began); took > c.most {
					w.Errorf("the join took %v, at most %v", took, c.most)
				}
			})
		})
	}
}

// A request is served from its own device, and from a member's who passes it on. Nobody else
// passes any on: not a stranger, nor one without an invite.
func TestOnlyMembersPassRequestsOn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c, stranger := w.open(0), w.open(1, 0), w.open(2, 3), w.open(3, 0, 1)
		id := w.found(a, wire.PolicyInvite)
		_, link := w.invite(a, id, inviteTerms{})
		w.joinByLink(b, link)
		w.net.Cut(2, 0)
		w.net.Cut(2, 1)
		if _, err := c.joinByLink(w.within(time.Minute), link); err != nil {
			w.Fatal(err)
		}
		asked := c.groups.get(id).joiner.wanted()
		if asked == nil {
			w.Fatal("the joiner asks nothing")
		}
		bare := asked.Request
		bare.Invite, bare.Claim = nil, nil
		pass := func(by *Node, r wire.JoinRequest) string {
			t.Helper()
			said := wire.JoinReply{}
			ctx, cancel := context.WithCancel(w.within(time.Minute))
			defer cancel()
			reply, _, err := askToJoin(ctx, by, w.net.AddrInfo(0), r, func(r wire.JoinReply) { said = r; cancel() })
			if said.Stage != 0 {
				return "has it"
			}
			if err != nil {
				w.Error(err)
			}
			return reply.Reason
		}
		const refused = "the device's certificate is another peer's"
		if got := pass(stranger, asked.Request); got != refused {
			t.Errorf("a stranger passes a request on: %s", got)
		}
		if got := pass(b, bare); got != refused {
			t.Errorf("a member passes one on without an invite: %s", got)
		}
		if m, err := a.Members(w.Context(), id); err != nil || len(m) != 2 {
			t.Errorf("%+v, %v", m, err)
		}
		if got := pass(b, asked.Request); got != "has it" {
			t.Errorf("a member passes one on: %s", got)
		}
	})
}
