package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// linkPeers is how many members' devices a link names: this one, and others that are
// connected, since any of them can serve the invite.
const linkPeers = 3

// NewInvite says what an invite gives.
type NewInvite struct {
	Role    wire.Role     // 0: member
	Expires time.Duration // from now; 0: never
	Uses    uint64        // 0: any number
}

// CreateInvite gives out an invite and its link. The link is a secret that this node
// does not keep: whoever has it can join the group with the invite.
func (n *Node) CreateInvite(ctx context.Context, id wire.GroupID, c NewInvite) (wire.InviteID, *wire.Link, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return wire.InviteID{}, nil, err
	}
	if c.Role == 0 {
		c.Role = wire.RoleMember
	}
	if c.Expires < 0 {
		return wire.InviteID{}, nil, fmt.Errorf("%w: an invite that expires %v ago", ErrInvalid, -c.Expires)
	}
	link := &wire.Link{V: wire.Version, Genesis: g.genesis.Raw}
	_, _ = rand.Read(link.Secret[:])
	key, err := identity.KeyFromSeed(link.Secret[:])
	if err != nil {
		return wire.InviteID{}, nil, err
	}
	defer key.Wipe()
	now := n.now()
	invite := wire.Invite{
		V: wire.Version, Key: [32]byte(key.Public()), Role: c.Role, Uses: c.Uses, Signer: n.me.user.Public(),
		Created: uint64(now.UnixMilli()), //nolint:gosec // after 1970
	}
	if c.Expires > 0 {
		invite.Expires = uint64(now.Add(c.Expires).UnixMilli()) //nolint:gosec // after 1970
	}
	link.Invite = n.me.user.Sign(wire.DomainInvite, id, invite.Encode())
	if _, err := g.loop.step(ctx, group.GiveInvite{Invite: link.Invite}); err != nil {
		return wire.InviteID{}, nil, err
	}
	link.Peers = g.linkPeers(ctx)
	if g.genesis.Private {
		if err := g.loop.look(ctx, func(m *group.Machine) error {
			if meets := m.Meets(); len(meets) > 0 {
				link.Meet = &meets[0]
			}
			return nil
		}); err != nil {
			return wire.InviteID{}, nil, err
		}
	}
	return wire.InviteIDOf(id, link.Invite.Payload), link, nil
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

// readLink checks a link: that its genesis is a group's, and that its invite is for
// that group and by the key in the link.
func readLink(l *wire.Link) (*identity.Genesis, *identity.Key, error) {
	genesis, err := identity.VerifyGenesis(l.Genesis)
	if err != nil {
		return nil, nil, fmt.Errorf("invite link: %w", err)
	}
	invite, err := wire.DecodeInvite(l.Invite.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("invite link: %w", err)
	}
	if err := identity.Verify(invite.Signer, wire.DomainInvite, genesis.ID, l.Invite); err != nil {
		return nil, nil, fmt.Errorf("invite link: the invite is not for the group in the link: %w", err)
	}
	key, err := identity.KeyFromSeed(l.Secret[:])
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(key.Public(), invite.Key[:]) {
		key.Wipe()
		return nil, nil, fmt.Errorf("invite link: %w: its secret is another invite's", identity.ErrForged)
	}
	return genesis, key, nil
}

// JoinByLink asks to be let into the group of an invite link, as Join does, and gives
// the group's ID. In a group that this device waits to get into, or is out of, it asks
// with the invite from now on.
func (n *Node) JoinByLink(ctx context.Context, l *wire.Link) (wire.GroupID, error) {
	genesis, key, err := readLink(l)
	if err != nil {
		return wire.GroupID{}, err
	}
	if invite, err := wire.DecodeInvite(l.Invite.Payload); err == nil && invite.Expires != 0 && uint64(time.Now().UnixMilli()) >= invite.Expires { //nolint:gosec // after 1970
		// Refused here, where a person reads it; members judge it by their own clocks.
		return genesis.ID, fmt.Errorf("%w: %w", ErrDenied, group.ErrInviteExpired)
	}
	g, made, err := n.sessionOfJoiner(genesis, l, nil)
	if err != nil {
		return genesis.ID, err
	}
	if made {
		return genesis.ID, g.ask(ctx)
	}
	st, err := g.status(ctx)
	switch {
	case err != nil:
		return genesis.ID, err
	case st.State == group.StateNew:
		if err := n.put(keyGroups+string(genesis.ID[:]), &groupRow{Genesis: genesis.Raw, Link: l}); err != nil {
			return genesis.ID, err
		}
		g.setEnded("")
		g.useLink(l)
		return genesis.ID, g.ask(ctx)
	}
	if err := n.put(keyGroups+string(genesis.ID[:]), &groupRow{Genesis: genesis.Raw, Peers: l.Peers, Meet: l.Meet}); err != nil {
		return genesis.ID, err
	}
	g.mu.Lock()
	g.invited = l.Meet
	g.mu.Unlock()
	g.setEnded("")
	g.hint(l.Peers)
	// A member keeps the invite, since it may be out and not know it. The loop may use the key after ctx.
	if err := g.askAgain(ctx, group.Join{Invite: &l.Invite, Key: key}); err != nil {
		return genesis.ID, err
	}
	g.confirm(ctx)
	return genesis.ID, nil
}

// confirm has this device ask the connected members, now, whether it is still in.
func (g *groupSession) confirm(ctx context.Context) {
	g.mu.Lock()
	g.asked = time.Now()
	hints := g.hints
	g.mu.Unlock()
	for _, p := range hints {
		g.n.peers.Found(p, discovery.SourceDHT)
	}
	members, err := g.connectedMembers(ctx)
	if err != nil {
		return // the scheduler does in time
	}
	for _, p := range members {
		g.scheduler.exchangeWith(p)
	}
	g.n.changed.wake()
}

// unsure is what a join of a member waits for.
const unsure = "asking the members whether this device is still in the group"

// sure says whether a member that asked to join knows that it is in: a connected member
// has told since it asked, all of them if it has an invite that it may need.
func (g *groupSession) sure(ctx context.Context, st group.Status) (bool, error) {
	g.mu.Lock()
	asked := g.asked
	g.mu.Unlock()
	if st.Members == 1 || asked.IsZero() && st.Intents == 0 {
		return true, nil
	}
	members, err := g.connectedMembers(ctx)
	if err != nil {
		return false, err
	}
	return g.scheduler.toldBy(members, asked, st.Intents > 0), nil
}

// hasEnded is why the join has ended; empty: it has not.
func (g *groupSession) hasEnded() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

func (g *groupSession) setEnded(why string) {
	g.mu.Lock()
	g.ended = why
	g.mu.Unlock()
}

// resume takes back that the join has ended.
func (g *groupSession) resume() error {
	if g.hasEnded() == "" {
		return nil
	}
	if err := g.putEnded(""); err != nil {
		return err
	}
	g.setEnded("")
	return nil
}

// putEnded has the group's row say why the join has ended.
func (g *groupSession) putEnded(why string) error {
	g.asking.Lock() // who asks with a link writes the row too
	defer g.asking.Unlock()
	var row groupRow
	found, err := getRow(g.n.store, keyGroups+string(g.id[:]), &row)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if !found || row.Forgotten {
		return nil
	}
	row.Ended = why
	return g.n.put(keyGroups+string(g.id[:]), &row)
}

// askAgain asks once more to be let into a group that this node has, which it may be out of.
func (g *groupSession) askAgain(ctx context.Context, in group.Join) error {
	if err := g.onGossip(); err != nil {
		return err
	}
	_, err := g.loop.step(ctx, in)
	return err
}

// hint takes up the members that a link names, to be asked first.
func (g *groupSession) hint(peers []wire.LinkPeer) {
	var out []peer.AddrInfo
	for _, p := range peers {
		id, err := peer.IDFromBytes(p.Peer)
		if err != nil || id == g.n.host.ID() {
			continue
		}
		info := peer.AddrInfo{ID: id}
		for _, raw := range p.Addrs {
			if a, err := multiaddr.NewMultiaddrBytes(raw); err == nil {
				info.Addrs = append(info.Addrs, a)
			}
		}
		// Reached later too, when its connection breaks before a record names it.
		g.n.host.Peerstore().AddAddrs(id, info.Addrs, peerstore.RecentlyConnectedAddrTTL)
		out = append(out, info)
	}
	g.mu.Lock()
	g.hints = out
	g.mu.Unlock()
}

func (g *groupSession) hinted() []peer.AddrInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hints
}

// firstAsk is what a machine that is new asks with: by the link that its row holds, if
// it holds one. g.asking is held.
func (g *groupSession) firstAsk() (group.Join, error) {
	if g.link == nil {
		return group.Join{}, nil
	}
	_, key, err := readLink(g.link)
	if err != nil {
		return group.Join{}, err
	}
	return group.Join{Invite: &g.link.Invite, Key: key}, nil
}

// useLink has the group be asked by a link, as its row says too.
func (g *groupSession) useLink(l *wire.Link) {
	own := *l // its secret is cleared once it was used
	g.asking.Lock()
	g.link = &own
	g.asking.Unlock()
	g.mu.Lock()
	g.invited = own.Meet
	g.mu.Unlock()
	g.hint(own.Peers)
}

// ask lets a machine that is new ask to be let in, also if the caller does not wait for
// it. If it cannot now, the caller is told, and it is tried again.
func (g *groupSession) ask(ctx context.Context) error {
	done := make(chan error, 1)
	if !g.life.start(func(ctx context.Context) {
		again, err := g.askOnce(ctx)
		done <- err
		if again {
			g.keepAsking(ctx)
		}
	}) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepAsking tries until the machine has asked, once at a time.
func (g *groupSession) keepAsking(ctx context.Context) {
	if !g.trying.CompareAndSwap(false, true) {
		return
	}
	defer g.trying.Store(false)
	for pause := joinRetry; ; pause = min(2*pause, joinRetryMax) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		again, err := g.askOnce(ctx)
		if !again {
			return
		}
		g.log.Warn("the group cannot be asked yet", "err", err)
	}
}

// askOnce lets a machine that is new ask. Once the request is durable the secret of a
// link is needed no more. again says that the machine or the store could not be reached:
// what the machine itself refuses it will refuse again.
func (g *groupSession) askOnce(ctx context.Context) (again bool, err error) {
	g.asking.Lock()
	defer g.asking.Unlock()
	st, err := g.status(ctx)
	if err != nil {
		return true, err
	}
	if st.State == group.StateNew && g.hasEnded() != "" {
		return false, nil // it has asked, and the answer was a final no
	}
	if st.State == group.StateNew || st.State == group.StateJoining && g.link != nil { // a link may come after the first ask
		in, err := g.firstAsk()
		if err != nil {
			return false, err
		}
		if _, err = g.loop.step(ctx, in); err != nil {
			return errors.Is(err, ErrStore), err // the loop may still use the key
		}
		if in.Key != nil {
			in.Key.Wipe()
		}
	}
	if g.link == nil {
		return false, nil
	}
	row := &groupRow{Genesis: g.genesis.Raw, Peers: g.link.Peers, Meet: g.link.Meet}
	if err := g.n.put(keyGroups+string(g.id[:]), row); err != nil {
		return true, errors.Join(ErrStore, err)
	}
	clear(g.link.Secret[:])
	g.link = nil
	return false, nil
}
