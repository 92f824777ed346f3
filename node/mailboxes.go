package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// groupMailbox is a mailbox of a group, as this device sees it.
type groupMailbox struct {
	Peer    peer.ID
	Addrs   []multiaddr.Multiaddr
	Reached time.Time // when it last answered, to some minutes where that was before this run; zero: never
	Visited time.Time // the same, in this run
	Err     error     // of the last visit, in words for people
	Health  mailboxHealth
	Asked   time.Duration // how long it is being asked now; 0: it is not
	Waiting int           // envelopes that it has not taken
	Files   int           // files that it is to have and has not
	FileErr error         // why, as far as is known
	Lacks   bool          // it may lack more of what this device wrote, which is brought from the log
}

// mailboxes lists the mailboxes of the group.
func (g *groupSession) mailboxes(ctx context.Context) ([]groupMailbox, error) {
	assigned, err := lookAt(ctx, g, func(m *group.Machine) []wire.LinkPeer { return m.Mail().Mailboxes() })
	if err != nil {
		return nil, err
	}
	posts, err := g.mail.pending()
	if err != nil {
		return nil, err
	}
	out := make([]groupMailbox, len(assigned))
	for i, a := range assigned {
		out[i] = groupMailbox{Peer: peer.ID(a.Peer), Health: mailUntried}
		out[i].Files, out[i].FileErr = g.n.mailed.waiting(ctx, g.id, out[i].Peer)
	}
	g.mail.mu.Lock()
	defer g.mail.mu.Unlock()
	for i, a := range assigned {
		m := out[i]
		for _, b := range a.Addrs {
			if addr, err := multiaddr.NewMultiaddrBytes(b); err == nil {
				m.Addrs = append(m.Addrs, addr)
			}
		}
		if st := g.mail.state[m.Peer]; st != nil {
			m.Reached, m.Visited, m.Err = st.reached, st.visited, st.err
			if m.Health = mailHealth(st.err); st.err == nil && st.visited.IsZero() {
				m.Health = mailUntried
			}
			if !st.since.IsZero() {
				m.Asked = time.Since(st.since)
			}
		}
		if row := g.mail.at[m.Peer]; row != nil {
			m.Lacks = row.Owed != 0 && !row.Own
			for _, p := range posts {
				if !row.taken(p) {
					m.Waiting++
				}
			}
		}
		out[i] = m
	}
	return out, nil
}

// addMailbox assigns a mailbox to the group: an owner's or admin's word, which every
// member follows. Without addresses they are looked up. Errors: also ErrExists, and
// group.ErrFull where the group has as many as it may.
func (g *groupSession) addMailbox(ctx context.Context, at peer.AddrInfo) error {
	if len(at.Addrs) == 0 {
		at.Addrs = g.n.host.Peerstore().Addrs(at.ID)
	}
	if len(at.Addrs) == 0 {
		find, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		found, err := g.n.directory.dht.Locate(find, at)
		if err != nil {
			return fmt.Errorf("%w: an address of the peer %v: %w", errNotFound, at.ID, err)
		}
		at = found
	}
	return g.setMailboxes(ctx, func(old []wire.LinkPeer) ([]wire.LinkPeer, error) {
		switch {
		case slices.ContainsFunc(old, func(p wire.LinkPeer) bool { return peer.ID(p.Peer) == at.ID }):
			return nil, fmt.Errorf("%w: the group uses the mailbox %v", ErrExists, at.ID)
		case len(old) >= wire.MaxMailboxes:
			return nil, fmt.Errorf("%w: a group has at most %d mailboxes: remove one first", verdict.ErrFull, wire.MaxMailboxes)
		}
		return append(slices.Clone(old), linkPeer(at.ID, at.Addrs)), nil
	})
}

// removeMailbox has the group use a mailbox no more. Its envelopes stay there until
// they are too old.
func (g *groupSession) removeMailbox(ctx context.Context, p peer.ID) error {
	return g.setMailboxes(ctx, func(old []wire.LinkPeer) ([]wire.LinkPeer, error) {
		left := slices.DeleteFunc(slices.Clone(old), func(o wire.LinkPeer) bool { return peer.ID(o.Peer) == p })
		if len(left) == len(old) {
			return nil, fmt.Errorf("%w: the group does not use the mailbox %v", errNotFound, p)
		}
		return left, nil
	})
}

// setMailboxes writes the register anew. Of two admins who do so at once the later
// one's word holds.
func (g *groupSession) setMailboxes(ctx context.Context, change func([]wire.LinkPeer) ([]wire.LinkPeer, error)) error {
	var old []wire.LinkPeer
	var last uint64
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		old = m.Mail().Mailboxes()
		_, last = m.Mail().Set()
		return nil
	}); err != nil {
		return err
	}
	mailboxes, err := change(old)
	if err != nil {
		return err
	}
	item := wire.ProfileItem{
		V: wire.Version, Field: wire.FieldMailboxes, HLC: max(uint64(hlcOf(g.n.clock.now())), last+1), Signer: g.n.me.user.Public(), Mailboxes: mailboxes,
	}
	if _, err := wire.DecodeProfileItem(item.Encode()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	_, err = g.loop.step(ctx, group.SetProfile{Item: g.n.me.user.Sign(wire.DomainProfile, g.id, item.Encode())})
	return err
}

// findMailboxes gives peers that say in the DHT that they are mailboxes, until ctx
// ends or no more are found. Whether one opens a box for this device shows when it is
// used.
func findMailboxes(ctx context.Context, dht *discovery.DHT) (<-chan peer.AddrInfo, error) {
	if dht.Size() == 0 {
		return nil, errNoPeers
	}
	return dht.Mailboxes(ctx), nil
}
