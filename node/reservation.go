package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

// A relay says until when it holds a place, by its own clock, and libp2p believes it: by a
// clock that is an hour ahead every place has ended already, and by one that is a day
// behind it need not be renewed for a day. So a node renews its places by its own clock.

// How long a place is taken to be held: half of what relays give, and what a relay says
// if that is shorter and can be true.
const (
	reservationHeld  = 30 * time.Minute
	reservationLeast = 5 * time.Minute
)

// reservationEnds is when a place is to be renewed that a relay says to hold until then.
func reservationEnds(says, now time.Time) time.Time {
	if left := says.Sub(now); left >= reservationLeast && left <= reservationHeld {
		return says
	}
	return now.Add(reservationHeld)
}

// holdReservations has a host hold places at relays, as these options say. Close the result
// before the host.
func holdReservations(h host.Host, options libp2p.Option) (io.Closer, error) {
	var c libp2p.Config
	if err := options(&c); err != nil {
		return nil, fmt.Errorf("holding places at relays: %w", err)
	}
	own, ok := h.(identifying)
	if !ok {
		return nil, fmt.Errorf("%w: the host does not identify its peers: no relay can be found", ErrInvalid)
	}
	r, err := autorelay.NewAutoRelay(ownClock{own}, c.AutoRelayOpts...)
	if err != nil {
		return nil, fmt.Errorf("holding places at relays: %w", err)
	}
	r.Start()
	return r, nil
}

// identifying is a host that says who its peers are; libp2p's hosts do.
type identifying interface {
	host.Host
	IDService() identify.IDService
}

// ownClock is a host whose places at relays end by its own clock.
type ownClock struct{ identifying }

// NewStream opens a stream; one to a relay has its answer changed.
func (h ownClock) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := h.identifying.NewStream(ctx, p, ids...)
	if err != nil || s.Protocol() != proto.ProtoIDv2Hop {
		return s, err
	}
	return &reservationStream{Stream: s}, nil
}

// reservationStream is a stream to a relay.
type reservationStream struct {
	network.Stream
	read   bool // the relay's answer, which is the first message
	answer bytes.Buffer
}

// maxReservationAnswer is what libp2p takes of a relay.
const maxReservationAnswer = 4096

// Read gives the relay's answer with the end that this node's clock gives it, then what follows.
func (s *reservationStream) Read(b []byte) (int, error) {
	if !s.read {
		s.read = true
		r := util.NewDelimitedReader(s.Stream, maxReservationAnswer)
		defer r.Close()
		var m pb.HopMessage
		if err := r.ReadMsg(&m); err != nil {
			return 0, err
		}
		if r := m.GetReservation(); r != nil {
			now := time.Now()
			end := uint64(max(reservationEnds(time.Unix(int64(min(r.GetExpire(), math.MaxInt32<<8)), 0), now).Unix(), 0)) //nolint:gosec // bounded
			r.Expire = &end
		}
		if err := util.NewDelimitedWriter(&s.answer).WriteMsg(&m); err != nil {
			return 0, err
		}
	}
	n, err := s.answer.Read(b)
	if errors.Is(err, io.EOF) {
		return s.Stream.Read(b)
	}
	return n, err
}
