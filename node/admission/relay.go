package admission

import (
	"github.com/libp2p/go-libp2p/core/peer"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
)

// The most that a relay takes on. Reservations are few: each may carry as much as its holder likes.
const (
	relayReservations   = 64
	relayReservationsIP = 16 // of one address: a household
	relayCircuits       = 32 // connections of one peer
	relayBuffer         = 16 << 10
)

// RelayResources are the resources of a relay without limits on each connection.
func RelayResources() relayv2.Resources {
	r := relayv2.DefaultResources()
	r.Limit = nil
	r.MaxReservations, r.MaxReservationsPerIP, r.MaxReservationsPerASN = relayReservations, relayReservationsIP, relayReservations
	r.MaxCircuits, r.BufferSize = relayCircuits, relayBuffer
	return r
}

// RelayForAll is what a node relays for anyone, so that holes can be punched: libp2p's
// little for each, but not for 8 of one address alone.
func RelayForAll() relayv2.Resources {
	r := relayv2.DefaultResources()
	r.MaxReservationsPerIP, r.MaxReservationsPerASN = r.MaxReservations/2, r.MaxReservations
	r.MaxCircuits = relayCircuits
	return r
}

// RelayACL says who may hold a reservation at a relay without limits, and who may be called
// through it.
type RelayACL struct {
	Anyone  bool // every peer; otherwise the members alone
	Members *MemberPeers
}

// AllowReserve says whether a peer may hold a reservation.
func (a RelayACL) AllowReserve(p peer.ID, _ multiaddr.Multiaddr) bool {
	return a.Anyone || a.Members.Has(p)
}

// AllowConnect says whether a peer may call another. Any peer may call a member: it may be
// one that wants to join.
func (a RelayACL) AllowConnect(_ peer.ID, _ multiaddr.Multiaddr, dest peer.ID) bool {
	return a.Anyone || a.Members.Has(dest)
}
