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
		found, say := make(chan peer.AddrInfo), make(chan peer.AddrInfo)
		var names, says sync.WaitGroup
		defer func() {
			cancel()
			names.Wait()
			says.Wait()
		}()
		put := func(to chan<- peer.AddrInfo, p peer.AddrInfo) {
			select {
			case to <- p:
			case <-search.Done():
			}
		}
		for _, p := range named {
			if seen[p] {
				continue
			}
			names.Go(func() {
				find, cancel := context.WithTimeout(search, lookupTimeout)
				defer cancel()
				info, err := j.g.n.directory.dht.Kad().FindPeer(find, p)
				if err != nil {
					info = peer.AddrInfo{ID: p} // the peerstore may know better
				}
				put(found, info)
			})
		}
		if !j.g.genesis.Private {
			says.Go(func() {
				for p := range j.g.n.directory.dht.Members(search, j.g.id) {
					put(say, p)
				}
			})
		}
		for _, secret := range j.rendezvousPoints() {
			says.Go(func() {
				for p := range j.g.n.directory.dht.Meeting(search, secret) {
					put(say, p)
				}
			})
		}
		names.Go(func() {
			says.Wait()
			close(say)
		})
		go func() { // names ends with search
			names.Wait()
			close(found)
		}()
		for said, more := 0, say; ; {
			select {
			case p, ok := <-found:
				if !ok || !next(p) {
					return
				}
			case p, ok := <-more:
				if !ok || said == maxCandidates {
					more = nil
					continue
				}
				if !seen[p.ID] {
					said++
				}
				if !next(p) {
					return
				}
			}
		}
	}
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
		id, err := peer.IDFromBytes(p.Peer)
		if err != nil || id == j.g.n.host.ID() {
			continue
		}
		info := peer.AddrInfo{ID: id}
		for _, raw := range p.Addrs {
			if a, err := multiaddr.NewMultiaddrBytes(raw); err == nil {
				info.Addrs = append(info.Addrs, a)
			}
		}
		// Reached later too, when its connection breaks before a record names it.
		j.g.n.host.Peerstore().AddAddrs(id, info.Addrs, peerstore.RecentlyConnectedAddrTTL)
		out = append(out, info)
	}
	j.mu.Lock()
	j.hints = out
	j.mu.Unlock()
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
