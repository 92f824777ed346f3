package admission

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestReservationsOfOneAddress: more than eight devices of one address are relayed for.
func TestReservationsOfOneAddress(t *testing.T) {
	t.Parallel()
	r := RelayForAll()
	if r.MaxReservationsPerIP <= 8 || r.MaxReservationsPerIP >= r.MaxReservations || r.MaxReservationsPerASN < r.MaxReservations {
		t.Errorf("%+v", r)
	}
}

// TestRelayACL: members may hold reservations and be called by anyone; strangers may only
// call.
func TestRelayACL(t *testing.T) {
	t.Parallel()
	var members MemberPeers
	const member, stranger = peer.ID("member"), peer.ID("stranger")
	members.Joined(member)
	for _, anyone := range []bool{false, true} {
		acl := RelayACL{Anyone: anyone, Members: &members}
		if !acl.AllowReserve(member, nil) || !acl.AllowConnect(stranger, nil, member) {
			t.Errorf("anyone %v: a member is refused", anyone)
		}
		if acl.AllowReserve(stranger, nil) != anyone || acl.AllowConnect(member, nil, stranger) != anyone {
			t.Errorf("anyone %v: a stranger", anyone)
		}
	}
	members.Left(member)
	if (RelayACL{Members: &members}).AllowReserve(member, nil) {
		t.Error("a peer that left the last group in common holds a reservation")
	}
}
