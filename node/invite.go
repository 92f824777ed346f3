package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// linkPeers is how many members' devices a link names: this one, and others that are
// connected, since any of them can serve the invite.
const linkPeers = 3

// inviteTerms says what an invite gives.
type inviteTerms struct {
	Role    wire.Role     // 0: member
	Expires time.Duration // from now; 0: never
	Uses    uint64        // 0: any number
}

// createInvite gives out an invite and its link, whole and, of a public group, short. The link
// is a secret that this node does not keep: anybody who has it can join the group with the
// invite.
func (g *groupSession) createInvite(ctx context.Context, c inviteTerms) (wire.InviteID, *wire.Link, *wire.ShortLink, error) {
	if c.Role == 0 {
		c.Role = wire.RoleMember
	}
	if c.Expires < 0 {
		return wire.InviteID{}, nil, nil, fmt.Errorf("%w: an invite that expires %v ago", ErrInvalid, -c.Expires)
	}
	link := &wire.Link{V: wire.Version, Genesis: g.genesis.Raw}
	short := &wire.ShortLink{Group: g.id, Role: c.Role, Uses: c.Uses}
	_, _ = rand.Read(short.Secret[:])
	link.Secret = short.Secret.Secret()
	key, err := identity.KeyFromSeed(link.Secret[:])
	if err != nil {
		return wire.InviteID{}, nil, nil, err
	}
	defer key.Wipe()
	now := g.n.clock.now()
	invite := wire.Invite{
		V: wire.Version, Key: [32]byte(key.Public()), Role: c.Role, Uses: c.Uses, Signer: g.n.me.user.Public(),
		Created: uint64(now.UnixMilli()), //nolint:gosec // after 1970
	}
	if c.Expires > 0 {
		invite.Expires = uint64(now.Add(c.Expires).UnixMilli()) //nolint:gosec // after 1970
	}
	link.Invite = g.n.me.user.Sign(wire.DomainInvite, g.id, invite.Encode())
	if _, err := g.loop.step(ctx, group.GiveInvite{Invite: link.Invite}); err != nil {
		return wire.InviteID{}, nil, nil, err
	}
	link.Peers = g.linkPeers(ctx)
	short.Created, short.Expires = invite.Created, invite.Expires
	copy(short.Signer[:], invite.Signer)
	copy(short.Signature[:], link.Invite.Signature)
	for _, p := range link.Peers {
		if len(p.Addrs) > 0 {
			short.Hint(wire.LinkPeer{Peer: p.Peer, Addrs: p.Addrs[:1]})
		}
	}
	if g.genesis.Private || !short.Fits() {
		short = nil
	}
	if g.genesis.Private {
		if err := g.loop.look(ctx, func(m *group.Machine) error {
			if meets := m.Transport().Meets(); len(meets) > 0 {
				link.Meet = &meets[0]
			}
			return nil
		}); err != nil {
			return wire.InviteID{}, nil, nil, err
		}
	}
	return wire.InviteIDOf(g.id, link.Invite.Payload), link, short, nil
}

// linkPeers names this device and members that are connected, with their addresses.
func (g *groupSession) linkPeers(ctx context.Context) []wire.LinkPeer {
	out := []wire.LinkPeer{linkPeer(g.n.host.ID(), g.n.host.Addrs())}
	members, err := g.connectedMembers(ctx)
	if err != nil {
		return out
	}
	slices.Sort(members)
	for _, p := range slices.Compact(members) {
		one := linkPeer(p, g.n.host.Peerstore().Addrs(p))
		if len(one.Addrs) > 0 && len(out) < linkPeers {
			out = append(out, one)
		}
	}
	return out
}

// linkPeer is a peer with at most wire.MaxLinkAddrs of its addresses; those that only
// mean something on its own machine are left out where there are others.
func linkPeer(id peer.ID, addrs []multiaddr.Multiaddr) wire.LinkPeer {
	p := wire.LinkPeer{Peer: []byte(id), Addrs: [][]byte{}}
	wide := slices.DeleteFunc(slices.Clone(addrs), manet.IsIPLoopback)
	if len(wide) == 0 {
		wide = addrs
	}
	slices.SortStableFunc(wide, func(a, b multiaddr.Multiaddr) int { return bytes.Compare(publicFirst(a), publicFirst(b)) })
	for _, a := range wide {
		if b := a.Bytes(); len(b) > 0 && len(b) <= wire.MaxLinkAddr && len(p.Addrs) < wire.MaxLinkAddrs {
			p.Addrs = append(p.Addrs, b)
		}
	}
	return p
}

func publicFirst(a multiaddr.Multiaddr) []byte {
	if manet.IsPublicAddr(a) {
		return []byte{0}
	}
	return []byte{1}
}
