package node

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/node/wire"
)

// named are the peers of devices that the genesis or the group's record names: a record is
// signed by the group's authority.
func (j *joiner) named() []peer.ID {
	named := []peer.ID{peer.ID(j.g.genesis.Device.Cert.Peer)}
	if info := j.g.n.directory.known.Get(j.g.id); info != nil {
		for _, h := range info.Heads {
			named = append(named, peer.ID(h.Device.Cert.Peer))
		}
	}
	return named
}

// vouched says whether somebody other than the peer itself says that it is a member: the
// group's record, or the invite link.
func (j *joiner) vouched(p peer.ID) bool {
	return slices.Contains(j.named(), p) ||
		slices.ContainsFunc(j.hinted(), func(h peer.AddrInfo) bool { return h.ID == p })
}

// candidates are peers that are likely to be members, the likeliest first: those that
// an invite link or the public record names and that are connected, those in the link,
// then, as they are found, the rest of those in the record and those that say so in the
// DHT. Of the last, which anybody can be, there are at most maxCandidates.
func (j *joiner) candidates(ctx context.Context) iter.Seq[peer.AddrInfo] {
	named, hints := j.named(), j.hinted()
	return func(yield func(peer.AddrInfo) bool) {
		seen := map[peer.ID]bool{j.g.n.host.ID(): true}
		next := func(p peer.AddrInfo) bool {
			if seen[p.ID] {
				return true
			}
			seen[p.ID] = true
			return yield(p)
		}
		for _, p := range hints {
			if j.g.n.isConnected(p.ID) && !next(p) {
				return
			}
		}
		for _, p := range named {
			if j.g.n.isConnected(p) && !next(peer.AddrInfo{ID: p}) {
				return
			}
		}
		for _, p := range hints {
			if !next(p) {
				return
			}
		}
		// Bounded apart from ctx, since what is found is used between two finds.
		search, cancel := context.WithCancel(ctx)
		found, say, ended := j.search(search, slices.DeleteFunc(named, func(p peer.ID) bool { return seen[p] }))
		defer ended()
		defer cancel()
		for said := 0; found != nil || say != nil; {
			var p peer.AddrInfo
			var ok bool
			select {
			case p, ok = <-found:
				if !ok {
					found = nil
				}
			case p, ok = <-say:
				if !ok || said == maxCandidates {
					say, ok = nil, false
				} else if !seen[p.ID] {
					said++
				}
			}
			if ok && !next(p) {
				return
			}
		}
	}
}

// search looks for the addresses of peers, and for those who say in the DHT that they are
// members. Both channels are closed at the end; ended waits for it, once ctx has ended.
func (j *joiner) search(ctx context.Context, named []peer.ID) (found, say chan peer.AddrInfo, ended func()) {
	found, say = make(chan peer.AddrInfo), make(chan peer.AddrInfo)
	put := func(to chan<- peer.AddrInfo, p peer.AddrInfo) {
		select {
		case to <- p:
		case <-ctx.Done():
		}
	}
	dht := j.g.n.directory.dht
	var names, says, all sync.WaitGroup
	for _, p := range named {
		names.Go(func() {
			find, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			info, err := dht.Kad().FindPeer(find, p)
			if err != nil {
				info = peer.AddrInfo{ID: p} // the peerstore may know better
			}
			put(found, info)
		})
	}
	ask := func(members func() <-chan peer.AddrInfo) {
		says.Go(func() {
			for p := range members() {
				put(say, p)
			}
		})
	}
	if !j.g.genesis.Private {
		ask(func() <-chan peer.AddrInfo { return dht.Members(ctx, j.g.id) })
	}
	for _, secret := range j.rendezvousPoints() {
		ask(func() <-chan peer.AddrInfo { return dht.Meeting(ctx, secret) })
	}
	all.Go(func() { names.Wait(); close(found) })
	all.Go(func() { says.Wait(); close(say) })
	return found, say, all.Wait
}

// rendezvousPoints lists where members of a private group may be found.
func (j *joiner) rendezvousPoints() []wire.MeetSecret {
	out := j.g.meetAt()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.invited != nil && !slices.Contains(out, *j.invited) {
		out = append(out, *j.invited)
	}
	return out
}

// hint takes up the members that a link names, to be asked first.
func (j *joiner) hint(peers []wire.LinkPeer) {
	var out []peer.AddrInfo
	for _, p := range peers {
		info, ok := infoOf(p)
		if !ok || info.ID == j.g.n.host.ID() {
			continue
		}
		// Reached later too, when its connection breaks before a record names it.
		j.g.n.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.RecentlyConnectedAddrTTL)
		out = append(out, info)
	}
	j.mu.Lock()
	j.hints = out
	j.mu.Unlock()
}

// infoOf is a peer that a link names; ok false: its peer ID is none.
func infoOf(p wire.LinkPeer) (info peer.AddrInfo, ok bool) {
	id, err := peer.IDFromBytes(p.Peer)
	if err != nil {
		return info, false
	}
	info.ID = id
	for _, raw := range p.Addrs {
		if a, err := multiaddr.NewMultiaddrBytes(raw); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info, true
}

func (j *joiner) hinted() []peer.AddrInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hints
}

// invitedTo takes the members' addresses from a link.
func (j *joiner) invitedTo(l *wire.Link) {
	j.mu.Lock()
	j.invited = l.Meet
	j.mu.Unlock()
	j.hint(l.Peers)
}
