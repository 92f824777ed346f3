package node

import (
	"context"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// Streams that a node serves at once, of all peers and of one. What exceeds that is
// reset; whoever wanted it comes again.
const (
	maxStreams     = 128
	maxPeerStreams = 8
)

// standing is what this node knows of the peer at the other end of a stream.
type standing int

const (
	unknown standing = iota
	proven           // it has shown that it holds a group's key, or that of a box here
	fellow           // it shares a group with this device, or may open boxes here
)

// placesFor is how many streams those of a standing and of the lower ones may have
// together: peer IDs cost nothing, and no number of them takes what is kept for others.
var placesFor = [...]int{unknown: maxStreams / 2, proven: maxStreams * 3 / 4, fellow: maxStreams}

// turnstile gives streams their places. If there is none left, the oldest stream of a
// peer that is unknown gives way: it has had its time to prove itself, since how often
// such streams come is bounded too. Of those who have, whoever has many gives way to who
// has few.
type turnstile struct {
	mu    sync.Mutex
	taken [len(placesFor)]int
	peers map[peer.ID]int
	all   []*place // the oldest first
}

// place is what a stream has at the turnstile.
type place struct {
	t    *turnstile
	p    peer.ID
	as   standing
	shut func() // resets the stream
	gone bool
}

// enter gives a stream a place; nil: there is none.
func (t *turnstile) enter(p peer.ID, as standing, shut func()) *place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[p] >= maxPeerStreams {
		return nil
	}
	for !t.room(as) {
		out := t.givesWay(p, as)
		if out == nil {
			return nil
		}
		out.shut()
		t.free(out)
	}
	pl := &place{t: t, p: p, as: as, shut: shut}
	if t.peers == nil {
		t.peers = make(map[peer.ID]int)
	}
	t.peers[p]++
	t.taken[as]++
	t.all = append(t.all, pl)
	return pl
}

// givesWay gives the place that a peer of a standing may have instead; nil: none.
func (t *turnstile) givesWay(p peer.ID, as standing) (out *place) {
	for _, pl := range t.all {
		switch {
		case pl.as == unknown:
			return pl
		case pl.as <= as && t.peers[pl.p] > t.peers[p]+1 && (out == nil || t.peers[pl.p] > t.peers[out.p]):
			out = pl
		}
	}
	return out
}

// room says whether one more stream of a standing fits.
func (t *turnstile) room(as standing) bool {
	taken := 0
	for s, n := range t.taken {
		if taken += n; s >= int(as) && taken >= placesFor[s] {
			return false
		}
	}
	return true
}

// free gives a place back. The caller holds mu.
func (t *turnstile) free(pl *place) {
	if pl.gone {
		return
	}
	pl.gone = true
	t.taken[pl.as]--
	t.all = slices.DeleteFunc(t.all, func(o *place) bool { return o == pl })
	if t.peers[pl.p]--; t.peers[pl.p] == 0 {
		delete(t.peers, pl.p)
	}
}

// prove notes that a stream's peer is not unknown any more.
func (pl *place) prove() {
	pl.t.mu.Lock()
	defer pl.t.mu.Unlock()
	if pl.gone || pl.as != unknown {
		return
	}
	pl.t.taken[unknown]--
	pl.as = proven
	pl.t.taken[proven]++
}

func (pl *place) leave() {
	pl.t.mu.Lock()
	defer pl.t.mu.Unlock()
	pl.t.free(pl)
}

// standing is what this node knows of a peer that opens a stream.
func (n *Node) standing(protocol string, p peer.ID) standing {
	switch {
	case n.fellows.has(p):
		return fellow
	case protocol == wire.ProtocolMail:
		return n.mailbox.standing(p)
	}
	return unknown
}

// serveStreams registers the handlers of this package's protocols.
func (n *Node) serveStreams() {
	protocols := map[string]func(context.Context, network.Stream, *place) error{
		wire.ProtocolSync: n.serveSync,
		wire.ProtocolJoin: n.serveJoin,
		wire.ProtocolTwin: n.serveTwin,
		wire.ProtocolHand: n.serveHand,
	}
	if n.mailbox != nil {
		protocols[wire.ProtocolMail] = n.serveMail
	}
	for protocol, serve := range protocols {
		log := n.log.With("subsystem", "stream", "protocol", protocol)
		n.host.SetStreamHandler(protocolID(protocol), func(s network.Stream) {
			p := s.Conn().RemotePeer()
			shut := func() { _ = s.Reset() }
			as := n.standing(protocol, p)
			if !n.limits.opens(protocol, p, as) {
				shut()
				return
			}
			pl := n.streams.enter(p, as, shut)
			if pl == nil {
				shut()
				return
			}
			started := n.life.start(func(ctx context.Context) {
				defer pl.leave()
				ctx, cancel := context.WithTimeout(ctx, syncTimeout)
				defer cancel()
				defer context.AfterFunc(ctx, shut)()
				if err := serve(ctx, s, pl); err != nil {
					log.Debug("stream ended", "peer", p, "err", err)
				}
			})
			if !started {
				pl.leave()
				shut()
			}
		})
	}
}
