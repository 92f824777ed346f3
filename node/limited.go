package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// An invite with a limited number of uses lets in one person too many if two members serve
// it before they know of each other. So one device serves it at a time: members pass a
// request on to the first device that they reach in an order which all of them know, and
// tell the joiner what comes of it. The devices of the user who gave the invite out come
// first, then those of the others by a hash, which differs from invite to invite. Nobody
// depends on a device that is gone, silent or hostile: after a few seconds the next one
// in the order is asked, and then the member serves by itself. Members who cannot reach each
// other may still serve at the same time.
const (
	passDials  = 4                // how many devices that come first are dialled, if they are not connected
	passDial   = 2 * time.Second  // to reach them, all at once
	passTurns  = 3                // how many are asked, one after the other
	passAnswer = 4 * time.Second  // to the first word of one
	passProof  = 3 * time.Second  // until the log bears out the refusal of one
	passServe  = 15 * time.Second // from that word to the addition in the log
	passAgain  = 10 * time.Minute // that a device which did not keep its word is left out
	passMeet   = 5 * time.Second  // for a device that was away to catch up before it serves
)

// limitedInvite is the invite of a request if this member would let in who asks and the
// uses of it are limited; nil else: a step tells why it refuses.
func (g *groupSession) limitedInvite(ctx context.Context, r wire.JoinRequest) (in *group.LimitedInvite, err error) {
	if r.Invite == nil {
		return nil, nil
	}
	now := g.n.clock.now()
	err = g.loop.look(ctx, func(m *group.Machine) error {
		in, _ = group.JudgeJoin(m, r, now)
		return nil
	})
	return in, err
}

// precedence lists the devices that serve an invite before this one, the first one first.
func (g *groupSession) precedence(ctx context.Context, in *group.LimitedInvite) (before []peer.ID, err error) {
	type place struct {
		peer peer.ID
		rank []byte
	}
	rank := func(user wire.UserID, device wire.DeviceID) []byte {
		h := sha256.Sum256(append(in.ID[:], device[:]...))
		return append([]byte{map[bool]byte{true: 0, false: 1}[user == in.Signer]}, h[:]...)
	}
	me := g.n.me.device
	own := rank(me.User, me.ID)
	var places []place
	err = g.loop.look(ctx, func(m *group.Machine) error {
		for _, member := range m.Members() {
			for i, d := range member.Devices {
				if r := rank(member.User, d); member.Role <= wire.RoleMember && bytes.Compare(r, own) < 0 {
					places = append(places, place{peer.ID(member.Peers[i]), r})
				}
			}
		}
		return nil
	})
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(a.rank, b.rank) })
	for _, p := range places {
		before = append(before, p.peer)
	}
	return before, err
}

// reached dials the first of these peers, and gives those that are connected, in order.
func (g *groupSession) reached(ctx context.Context, peers []peer.ID) []peer.ID {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "join"), passDial)
	defer cancel()
	var dials sync.WaitGroup
	tried := 0
	for _, p := range peers {
		if g.n.isConnected(p) {
			break // it is asked before those that follow
		}
		if tried++; tried > passDials {
			break
		}
		dials.Go(func() { _ = g.n.host.Connect(ctx, peer.AddrInfo{ID: p}) })
	}
	dials.Wait()
	return slices.DeleteFunc(peers, func(p peer.ID) bool { return !g.n.isConnected(p) })
}

// isIn says whether a device is in the group.
func (g *groupSession) isIn(ctx context.Context, d wire.DeviceID) (is bool) {
	err := g.loop.look(ctx, func(m *group.Machine) error {
		is = slices.ContainsFunc(m.Members(), func(member group.Member) bool { return slices.Contains(member.Devices, d) })
		return nil
	})
	return is && err == nil
}

// passedBy says whether a peer may pass requests on: the device of a member who may let
// others in.
func (g *groupSession) passedBy(ctx context.Context, p peer.ID) (is bool) {
	if !g.n.door.members.Has(p) {
		return false // a stranger's word does not cost a look at every member
	}
	err := g.loop.look(ctx, func(m *group.Machine) error {
		for _, member := range m.Members() {
			is = is || member.Role <= wire.RoleMember && slices.ContainsFunc(member.Peers, func(raw []byte) bool { return peer.ID(raw) == p })
		}
		return nil
	})
	return is && err == nil
}

// turns remembers which members did not serve in their turn, although they said so.
type turns struct {
	mu     sync.Mutex
	missed map[peer.ID]time.Time
}

// miss notes that a member did not serve.
func (t *turns) miss(p peer.ID, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.missed, func(_ peer.ID, at time.Time) bool { return now.Sub(at) > passAgain })
	if t.missed == nil {
		t.missed = map[peer.ID]time.Time{}
	}
	t.missed[p] = now
}

// hasMissed says whether a member did not serve of late.
func (t *turns) hasMissed(p peer.ID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, is := t.missed[p]
	return is && now.Sub(at) <= passAgain
}

// passOn gives a request by a limited invite to the device whose turn it is, and says
// which that is; if it is none, this one is to serve it. say tells the joiner that it waits.
func (g *groupSession) passOn(ctx context.Context, r wire.JoinRequest, say func(reason string) error) (to peer.ID, err error) {
	in, err := g.limitedInvite(ctx, r)
	if in == nil || err != nil {
		return "", err
	}
	before, err := g.precedence(ctx, in)
	if err != nil {
		return "", err
	}
	before = slices.DeleteFunc(before, func(p peer.ID) bool { return g.turns.hasMissed(p, time.Now()) })
	if before = g.reached(ctx, before); len(before) == 0 {
		return "", g.meetFirst(ctx, say)
	}
	if err := say("one member at a time serves an invite with a limited number of uses, and another one's turn is first"); err != nil {
		return "", err
	}
	for _, p := range before[:min(len(before), passTurns)] {
		taken, err := g.passTo(ctx, p, r)
		if taken {
			return p, nil
		}
		g.log.Debug("a member does not serve a limited invite in its turn", "peer", p, "err", err)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !errors.Is(err, errDenied) {
			continue
		}
		g.scheduler.exchangeWith(p)
		if g.turnsAway(ctx, r, passProof) {
			return "", nil // and says so in a step
		}
	}
	return "", nil
}

// passTo asks one member to serve a request.
func (g *groupSession) passTo(ctx context.Context, p peer.ID, r wire.JoinRequest) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, passAnswer)
	defer cancel()
	reply, _, err := askToJoin(ctx, g.n, peer.AddrInfo{ID: p}, r, func(wire.JoinReply) {
		taken = true // its word is enough: the Welcome comes with the log
		cancel()
	})
	switch {
	case taken:
		return true, nil
	case err == nil && reply.Stage == wire.JoinDenied:
		return false, fmt.Errorf("%w: %s", errDenied, reply.Reason)
	}
	return false, err
}

// turnsAway waits until this member's own log refuses a request, and says whether it does.
func (g *groupSession) turnsAway(ctx context.Context, r wire.JoinRequest, most time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		changed := g.changed.wait()
		if err := g.refusesNow(ctx, r); err != nil && ctx.Err() == nil {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// refusesNow says why this member would refuse a request; nil: it would not.
func (g *groupSession) refusesNow(ctx context.Context, r wire.JoinRequest) error {
	now := g.n.clock.now()
	return g.loop.look(ctx, func(m *group.Machine) error {
		_, err := group.JudgeJoin(m, r, now)
		return err
	})
}

// meetFirst lets a device that was away hear from a connected member before it serves a
// limited invite: the last use may be over.
func (g *groupSession) meetFirst(ctx context.Context, say func(reason string) error) error {
	waits, cancel := context.WithTimeout(ctx, passMeet)
	defer cancel()
	for told := false; ; told = true {
		changed := g.n.changed.wait()
		members, err := g.connectedMembers(ctx)
		if err != nil {
			return err
		}
		if len(members) == 0 || g.scheduler.inContact() {
			return nil
		}
		if !told {
			if err := say("this member catches up first"); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-waits.Done():
			return ctx.Err()
		}
	}
}
