package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// When to catch up. Gossip delivers at once and remembers for seconds; the syncer
// brings whatever gossip did not.
const (
	syncEvery    = 30 * time.Second       // with one connected member, ± a third
	syncQuiet    = 10 * time.Minute       // at the most, as the pause doubles while nothing happens in the group
	syncDebounce = 150 * time.Millisecond // from the first reason to the exchange
	syncTimeout  = 5 * time.Minute        // for one exchange, however much is missing
	syncAtOnce   = 4                      // exchanges that a group opens at once
)

// syncer decides with whom a group exchanges, and when:
//
//   - with a member that has just connected;
//   - with a connected member outside the topic's mesh of peers, such as one
//     behind a relay, once this device has published something;
//   - with any connected member when the machine asks, and with another one if
//     that fails;
//   - with a random one every syncEvery, and ever less often while nothing happens.
//     Whoever writes or receives is back at syncEvery, so that what gossip has lost
//     is soon found by somebody who has it.
type syncer struct {
	g *hosted

	mu      sync.Mutex
	due     map[peer.ID]bool      // to exchange with, if they are members
	any     bool                  // the machine asks
	push    bool                  // published since the last round
	quiet   int                   // periodic rounds since anything happened
	running map[peer.ID]bool      // exchanges that this side opened
	last    map[peer.ID]time.Time // end of the last good exchange, either side's
	kick    chan struct{}         // holds one

	wanted map[wire.DeviceID]map[wire.MessageID]bool // asked for on streams; cleared when full
}

// Bounds on what syncer.wanted remembers.
const (
	maxWantedDevices  = 256
	maxWantedMessages = 1024 // of one device
)

func newSyncer(g *hosted) *syncer {
	return &syncer{
		g: g, due: make(map[peer.ID]bool), running: make(map[peer.ID]bool),
		last: make(map[peer.ID]time.Time), kick: make(chan struct{}, 1),
		wanted: make(map[wire.DeviceID]map[wire.MessageID]bool),
	}
}

// stirred says that something happened in the group.
func (s *syncer) stirred() {
	s.mu.Lock()
	was := s.quiet
	s.quiet = 0
	s.mu.Unlock()
	if was > 0 {
		s.want(func() {}) // a pause that has grown begins anew
	}
}

// pause is how long to wait for the next periodic round, before chance makes it up to
// a third shorter or longer.
func (s *syncer) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(syncEvery<<min(s.quiet, 10), syncQuiet)
}

// want notes a reason for a round.
func (s *syncer) want(note func()) {
	s.mu.Lock()
	s.quiet = 0
	note()
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *syncer) connected(p peer.ID) { s.want(func() { s.due[p] = true }) }
func (s *syncer) asked()              { s.want(func() { s.any = true }) }
func (s *syncer) published()          { s.want(func() { s.push = true }) }

// disconnected forgets when p was last exchanged with: it is not in contact.
func (s *syncer) disconnected(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, p)
	delete(s.due, p)
}

// exchanged notes the end of an exchange.
func (s *syncer) exchanged(p peer.ID, err error) {
	s.mu.Lock()
	if err == nil && s.g.n.isConnected(p) {
		s.last[p] = time.Now()
	}
	s.mu.Unlock()
	s.g.n.changed.wake()
}

// askedBefore gives the messages that a device asks for not for the first time,
// and remembers the others.
func (s *syncer) askedBefore(d wire.DeviceID, messages []wire.MessageID) (again []wire.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted[d] == nil {
		if len(s.wanted) >= maxWantedDevices {
			clear(s.wanted)
		}
		s.wanted[d] = make(map[wire.MessageID]bool)
	}
	for _, id := range messages {
		if s.wanted[d][id] {
			again = append(again, id)
			continue
		}
		if len(s.wanted[d]) >= maxWantedMessages {
			clear(s.wanted[d])
		}
		s.wanted[d][id] = true
	}
	return again
}

// inContact says whether an exchange with a member that is still connected has succeeded.
func (s *syncer) inContact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.last) > 0
}

// run makes rounds until ctx ends.
func (s *syncer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var periodic bool
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			periodic = true
		case <-s.kick:
			select {
			case <-ctx.Done():
				return
			case <-time.After(syncDebounce):
			}
		}
		if again := s.round(ctx, periodic); again {
			timer.Reset(syncEvery/10 + rand.N(syncEvery/10)) //nolint:gosec // spreads load, hides nothing
		} else {
			pause := s.pause()
			timer.Reset(pause*2/3 + rand.N(pause*2/3)) //nolint:gosec // spreads load, hides nothing
		}
	}
}

// round exchanges with all that are due; again says that it should be soon again,
// since what the machine asked for could not be had.
func (s *syncer) round(ctx context.Context, periodic bool) (again bool) {
	members, err := s.g.connectedMembers(ctx)
	if err != nil {
		return false
	}
	if periodic && len(members) == 0 {
		s.g.seek(ctx)
	}
	s.mu.Lock()
	if periodic && len(members) > 0 { // alone there is nothing to save, and somebody to look for
		s.quiet++
	}
	chosen := make(map[peer.ID]bool)
	for p := range s.due {
		if slices.Contains(members, p) {
			chosen[p] = true
		}
	}
	if s.push {
		meshed := s.g.topicPeers()
		for _, p := range members {
			if !slices.Contains(meshed, p) {
				chosen[p] = true
			}
		}
	}
	anyOne := (s.any || periodic) && len(chosen) == 0
	clear(s.due)
	s.any, s.push = false, false
	s.mu.Unlock()

	if anyOne {
		//nolint:gosec // which member is asked first is no secret
		rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		for _, p := range members {
			if s.exchange(ctx, p) == nil {
				return false
			}
		}
		return len(members) > 0
	}
	several, ctx := errgroup.WithContext(ctx)
	several.SetLimit(syncAtOnce)
	failed := make(chan peer.ID, len(chosen))
	for p := range chosen {
		several.Go(func() error {
			if s.exchange(ctx, p) != nil {
				failed <- p
			}
			return nil
		})
	}
	_ = several.Wait() // they return nil
	close(failed)
	for p := range failed {
		s.mu.Lock()
		s.due[p] = true // if it is still connected and a member when the timer fires
		s.mu.Unlock()
		again = true
	}
	return again
}

// exchange opens one exchange, unless one with this peer runs already.
func (s *syncer) exchange(ctx context.Context, p peer.ID) error {
	s.mu.Lock()
	busy := s.running[p]
	s.running[p] = true
	s.mu.Unlock()
	if busy {
		return nil
	}
	defer func() {
		s.mu.Lock()
		delete(s.running, p)
		s.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	stats, err := s.g.n.openSync(ctx, s.g, p)
	s.g.synced(p, stats, err)
	return err
}

// connectedMembers are the connected peers that the roster names, and the one that
// welcomed this device, in no order.
func (g *hosted) connectedMembers(ctx context.Context) ([]peer.ID, error) {
	var out []peer.ID
	g.mu.Lock()
	welcomer := g.welcomer
	g.mu.Unlock()
	if welcomer != "" && g.n.isConnected(welcomer) {
		out = append(out, welcomer)
	}
	err := g.loop.look(ctx, func(m *group.Machine) error {
		for _, member := range m.Members() {
			for _, raw := range member.Peers {
				p := peer.ID(raw)
				if p != g.n.host.ID() && p != welcomer && g.n.isConnected(p) {
					out = append(out, p)
				}
			}
		}
		return nil
	})
	return out, err
}

// seek looks for members in the DHT and has them dialled: for a device that is in
// contact with nobody of a group that has others.
func (g *hosted) seek(ctx context.Context) {
	if st, err := g.status(ctx); err != nil || st.Members < 2 || st.State == group.StateOut {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, syncEvery)
	defer cancel()
	for p := range g.candidates(ctx) {
		g.n.peers.Found(p, discovery.SourceDHT)
	}
}

// synced notes the end of an exchange, opened by either side.
func (g *hosted) synced(p peer.ID, stats syncStats, err error) {
	g.n.metrics.Syncs.WithLabelValues(resultOf(err)).Inc()
	g.n.metrics.CatchUpEntries.WithLabelValues(directionIn).Add(float64(stats.entriesIn))
	g.n.metrics.CatchUpEntries.WithLabelValues(directionOut).Add(float64(stats.entriesOut))
	g.log.Debug("exchange ended", "peer", p, "entries_in", stats.entriesIn, "entries_out", stats.entriesOut,
		"seals_in", stats.sealsIn, "seals_out", stats.sealsOut, "err", err)
	g.syncer.exchanged(p, err)
	if stats != (syncStats{}) {
		g.syncer.stirred()
	}
}
