package discovery

import (
	"cmp"
	"context"
	"net"
	"slices"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/node/wire"
)

// Anybody may found a group of any name, give it any date and say that it has a million
// members: a record proves only who says so. A searcher sees by itself which peers
// tell of a group, and from where. So each place has one vote, which it shares among all
// groups of the search that it tells of. A place is a network, as peer IDs cost nothing. On
// a local network it is an address, and on this machine a peer, since all are in one network
// there. One host that makes up 65 groups gives each of them a 65th of a vote.

// Bounds of a ranked search: it keeps groups of eight hostile places at least before others
// find no room.
const (
	rankedGroups = 512
	placeGroups  = 64 // of one place, and of one answer
)

// Ranked is a group that was found, with what speaks for it.
type Ranked struct {
	Result

	Sources []Source
	Votes   float64 // of places that tell of it, each shared among all groups that it tells of
}

// Rank looks for groups as Find does, until all were asked or ctx is done, and gives them
// with the most votes first.
func (f *Finder) Rank(ctx context.Context, q Query) ([]Ranked, error) {
	most := q.Limit
	q.Limit = placeGroups // of one answer
	s, err := f.start(ctx, q, rankedGroups, make(map[string]int))
	if err != nil {
		return nil, err
	}
	from := make(map[wire.GroupID]Result)
	for r := range s.out {
		if _, ok := from[r.Info.Group]; !ok {
			from[r.Info.Group] = r
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shares := make(map[string]int)
	for _, g := range s.groups {
		for p := range g.places {
			shares[p]++
		}
	}
	var out []Ranked
	for id, g := range s.groups {
		r, ok := from[id]
		if !ok || !s.q.matches(g.best) { // not checked in time, or the newest record is another
			continue
		}
		r.Info, r.InDHT = g.best, g.inDHT
		one := Ranked{Result: r, Sources: slices.Clone(g.sources)}
		for p := range g.places {
			one.Votes += 1 / float64(shares[p])
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Ranked) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(string(a.Info.Group[:]), string(b.Info.Group[:])))
	})
	if most > 0 && len(out) > most {
		out = out[:most]
	}
	return out, nil
}

// placeOf names the place of a connected peer.
func placeOf(h host.Host, p peer.ID) string {
	for _, c := range h.Network().ConnsToPeer(p) {
		ip, err := manet.ToIP(c.RemoteMultiaddr())
		switch {
		case err != nil:
		case ip.IsLoopback():
			return string(p)
		case local(ip):
			return string(ip.To16())
		}
	}
	if network := NetworkOf(h, p); network != "" {
		return network
	}
	return string(p)
}

func local(ip net.IP) bool { return ip.IsPrivate() || ip.IsLinkLocalUnicast() }
