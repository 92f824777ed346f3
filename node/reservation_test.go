package node

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
)

// TestPlaceByOwnClock: a relay whose clock is wrong is as good as any, and its places are
// renewed in time.
func TestPlaceByOwnClock(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		relay, err := w.net.Host(0)
		if err != nil {
			w.Fatal(err)
		}
		h, err := w.net.Host(1, libp2p.EnableRelay())
		if err != nil {
			w.Fatal(err)
		}
		var off time.Duration
		refuse := false
		relay.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
			var m pb.HopMessage
			if err := util.NewDelimitedReader(s, maxReservationAnswer).ReadMsg(&m); err != nil {
				w.Error(err)
			}
			expire := uint64(time.Now().Add(time.Hour + off).Unix()) //nolint:gosec // after 1970
			m = pb.HopMessage{Type: pb.HopMessage_STATUS.Enum(), Status: pb.Status_OK.Enum(), Reservation: &pb.Reservation{Expire: &expire}}
			if refuse {
				m = pb.HopMessage{Type: pb.HopMessage_STATUS.Enum(), Status: pb.Status_RESERVATION_REFUSED.Enum()}
			}
			if err := util.NewDelimitedWriter(s).WriteMsg(&m); err != nil {
				w.Error(err)
			}
			_ = s.Close()
		})
		own, ok := h.(identifying)
		if !ok {
			w.Fatal("the host cannot be wrapped")
		}
		at := peer.AddrInfo{ID: relay.ID(), Addrs: relay.Addrs()}
		const year = 365 * 24 * time.Hour
		for _, off = range []time.Duration{0, time.Minute, 59 * time.Minute, -59 * time.Minute, 2 * time.Hour, -2 * time.Hour, 24 * time.Hour, -24 * time.Hour, 20 * year, -20 * year} {
			place, err := client.Reserve(w.within(time.Minute), ownClock{own}, at)
			if err != nil {
				w.Errorf("a relay whose clock is off by %v: %v", off, err)
				continue
			}
			if left := time.Until(place.Expiration); left < reservationLeast-time.Second || left > reservationHeld {
				w.Errorf("a relay whose clock is off by %v: the place is renewed in %v", off, left)
			}
		}
		refuse = true
		if _, err := client.Reserve(w.within(time.Minute), ownClock{own}, at); err == nil {
			w.Error("a refusal is a place")
		}
	})
}
