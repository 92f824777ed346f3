package node

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// When to catch up. Gossip delivers at once and remembers for seconds; the scheduler brings
// the entries that gossip did not.
const (
	syncEvery    = 30 * time.Second       // with one connected member, ± a third
	syncQuiet    = 10 * time.Minute       // at the most, as the pause doubles while nothing happens in the group
	syncDebounce = 150 * time.Millisecond // from the first reason to the exchange
	syncTimeout  = 5 * time.Minute        // for one exchange, however much is missing
	syncPatience = 30 * time.Second       // with one exchange, before others go on beside it
	syncAtOnce   = 4                      // exchanges that a group opens at once, those that outlast syncPatience apart
	syncYield    = 5 * time.Second        // until the second of two that are both to open an exchange does
	syncRetry    = 3 * time.Second        // first pause after an exchange that failed, up to twice as long by chance
	syncLost     = time.Second            // from a loss of gossip to the exchange that makes up for it
	syncMeshed   = 10 * time.Second       // entries that were passed on shortly before the mesh took a peer in may not have gone to it: heartbeats are a second apart, or late
	syncRetryMax = 2 * time.Minute        // at the most, as it doubles
)

// scheduler decides with whom a group exchanges, and when:
//
//   - with a member that has just connected;
//   - with a connected member outside the topic's mesh of peers, such as one
//     behind a relay, once this device has published something;
//   - with a member that the mesh has just taken in, if gossip passed anything on shortly
//     before;
//   - with any connected member when the machine asks, and with another one if
//     that fails or takes long;
//   - with a random one every syncEvery, and ever less often while nothing happens.
//     A device that writes or receives is back at syncEvery, so that it soon finds a
//     member with the entries that gossip has lost.
//
// Exchanges run beside each other, one at most with each member, whoever opened it: two
// would bring the same over one line. A member that fails is let alone for a while and comes
// last, so that it holds up nobody.
type scheduler struct {
	g *groupSession

	mu      sync.Mutex
	due     map[peer.ID]due       // to exchange with, if they are members
	any     bool                  // the machine asks, or it is time
	finding bool                  // somebody is being found for that
	seeking bool                  // members are looked for, since none is connected
	push    time.Time             // published since the last round; zero: not
	passed  time.Time             // something was last given to gossip, made here or not
	quiet   int                   // periodic rounds since anything happened
	running map[peer.ID]bool      // exchanges that this side opened
	slots   int                   // of syncAtOnce, taken
	serving map[peer.ID]int       // exchanges that the other side opened
	failing map[peer.ID]failing   // whose last exchange that this side opened failed
	last    map[peer.ID]time.Time // end of the last good exchange, either side's
	began   map[peer.ID]time.Time // when that one began
	met     met                   // anybody: how old the news of the group is
	kick    chan struct{}         // holds one
	hurry   chan struct{}         // holds one: the next kick does not wait for others

	wanted map[wire.DeviceID]map[wire.MessageID]bool // asked for on streams, by devices that the group knows
	spent  map[wire.DeviceID]time.Time               // when they did not give all earlier messages that they were asked for
}

// due is why to exchange with somebody: any good exchange that began after since will do.
type due struct {
	since time.Time
	at    time.Time // not to be opened before
}

type failing struct {
	times int
	until time.Time // let alone
}

// Bounds on the memory of scheduler.wanted.
const (
	maxWantedDevices  = 256
	maxWantedMessages = 1024 // of one device
)

func newScheduler(g *groupSession) *scheduler {
	return &scheduler{
		g: g, due: make(map[peer.ID]due), running: make(map[peer.ID]bool), serving: make(map[peer.ID]int),
		failing: make(map[peer.ID]failing), last: make(map[peer.ID]time.Time), began: make(map[peer.ID]time.Time), kick: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		wanted: make(map[wire.DeviceID]map[wire.MessageID]bool), spent: make(map[wire.DeviceID]time.Time),
	}
}

// earlierAgain is how long a device is not asked for earlier messages after it did not give all.
const earlierAgain = time.Hour

// givesEarlier says whether to ask a device for messages from before this one came in.
func (s *scheduler) givesEarlier(d wire.DeviceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, asked := s.spent[d]
	return !asked || time.Since(at) > earlierAgain
}

// gaveEarlier notes how many of them an exchange left out.
func (s *scheduler) gaveEarlier(d wire.DeviceID, ungiven int) {
	if ungiven == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spent) >= maxWantedDevices {
		clear(s.spent)
	}
	s.spent[d] = time.Now()
}

// stirred says that something happened in the group.
func (s *scheduler) stirred() {
	s.mu.Lock()
	was := s.quiet
	s.quiet = 0
	s.mu.Unlock()
	if was > 0 {
		s.poke() // a pause that has grown begins anew
	}
}

// pause is how long to wait for the next periodic round, before chance makes it up to
// a third shorter or longer.
func (s *scheduler) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(syncEvery<<min(s.quiet, 10), syncQuiet)
}

// poke has a round made.
func (s *scheduler) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// want notes a reason for a round.
func (s *scheduler) want(note func(now time.Time)) {
	s.mu.Lock()
	s.quiet = 0
	note(time.Now())
	s.mu.Unlock()
	s.poke()
}

// connected has this device exchange with a peer that is there now. The other side wants
// to as well: the one with the higher peer ID opens an exchange only if it sees none.
func (s *scheduler) connected(p peer.ID) {
	s.want(func(now time.Time) {
		d := due{since: now, at: now}
		if s.g.n.host.ID() > p {
			d.at = now.Add(syncYield)
		}
		s.due[p] = d
	})
}

// exchangeWith has this device open an exchange with a peer at once.
func (s *scheduler) exchangeWith(p peer.ID) {
	s.want(func(now time.Time) { s.due[p] = due{since: now, at: now} })
}

// lost has this device exchange with a peer after a moment: gossip has lost something
// between the two, and may be losing more.
func (s *scheduler) lost(p peer.ID) {
	s.want(func(now time.Time) { s.soon(p, now, now.Add(syncLost)) })
}

// soon notes that p is to be exchanged with, at this time or before. s.mu is held.
func (s *scheduler) soon(p peer.ID, since, at time.Time) {
	d, is := s.due[p]
	if !is || d.at.After(at) {
		d.at = at
	}
	d.since = since
	s.due[p] = d
}

// passes notes that gossip is about to get an envelope whose content the machine has. The
// mesh takes in later than that whoever the envelope does not go to, so that meshed sees it.
func (s *scheduler) passes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed = time.Now()
}

// meshed has this device exchange with a peer that the mesh has taken in, unless it missed
// nothing.
func (s *scheduler) meshed(p peer.ID) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.passed) < syncMeshed && !s.began[p].After(s.passed) {
		s.soon(p, now, now)
		s.poke()
	}
}

func (s *scheduler) asked() { s.want(func(time.Time) { s.any = true }) }

// published has this device exchange with whom gossip does not reach, and at once with those
// whom the mesh will take in a moment.
func (s *scheduler) published(beside []peer.ID) {
	s.want(func(now time.Time) {
		s.push = now
		for _, p := range beside {
			s.soon(p, now, now)
		}
	})
	if len(beside) > 0 {
		select {
		case s.hurry <- struct{}{}:
		default:
		}
	}
}

// disconnected forgets when p was last exchanged with: it is not in contact.
func (s *scheduler) disconnected(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, p)
	delete(s.began, p)
	delete(s.due, p)
	delete(s.failing, p)
}

// serves notes that an exchange which p opened begins, and gives when.
func (s *scheduler) serves(p peer.ID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving[p]++
	return time.Now()
}

// served notes that it is over. The other side asks again for what is left, and if it
// does not, this one brings it.
func (s *scheduler) served(p peer.ID, stats syncStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving[p]--; s.serving[p] == 0 {
		delete(s.serving, p)
	}
	if now := time.Now(); stats.left() {
		s.due[p] = due{since: now, at: now.Add(syncYield)}
	}
	s.pokeFor(p)
}

// pokeFor has a round made if p, which is free again, may be wanted. s.mu is held.
func (s *scheduler) pokeFor(p peer.ID) {
	if _, is := s.due[p]; is || s.any {
		s.poke()
	}
}

// exchanged notes the end of an exchange that either side opened.
func (s *scheduler) exchanged(p peer.ID, began time.Time, err error) {
	s.mu.Lock()
	if err == nil {
		delete(s.failing, p)
		if d, ok := s.due[p]; ok && d.since.Before(began) {
			delete(s.due, p)
		}
		if s.g.n.isConnected(p) {
			s.last[p], s.began[p] = time.Now(), began
		}
	}
	s.mu.Unlock()
	s.g.n.changed.wake()
}

// askedBefore gives the messages that a device asks for not for the first time,
// and remembers the others.
func (s *scheduler) askedBefore(d wire.DeviceID, messages []wire.MessageID) (again []wire.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted[d] == nil {
		for o := range s.wanted { // any: nobody can push out more than one by one more device
			if len(s.wanted) < maxWantedDevices {
				break
			}
			delete(s.wanted, o)
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
func (s *scheduler) inContact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.last) > 0
}

// toldBy says whether these members have told what they know in an exchange that began
// after a time: one of them, or all but those with whom exchanges fail.
func (s *scheduler) toldBy(members []peer.ID, after time.Time, all bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := false
	for _, p := range members {
		_, fails := s.failing[p]
		switch fresh := s.began[p].After(after); {
		case fresh:
			some = true
		case all && !fails:
			return false
		}
	}
	return some
}

// run makes rounds until ctx ends.
func (s *scheduler) run(ctx context.Context) {
	var begun sync.WaitGroup
	defer begun.Wait()
	next := time.Now() // of the periodic round
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.kick:
			select {
			case <-ctx.Done():
				return
			case <-time.After(syncDebounce):
			case <-s.hurry:
			}
		}
		periodic := !time.Now().Before(next)
		opens, again := s.round(ctx, periodic, begun.Go)
		pause := s.pause()
		if most := time.Now().Add(pause * 4 / 3); opens || periodic || next.After(most) {
			next = time.Now().Add(pause*2/3 + rand.N(pause*2/3)) //nolint:gosec // spreads load, hides nothing
		}
		timer.Reset(time.Until(sooner(next, again)))
	}
}

// sooner is the earlier of two times, of which zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// round begins the exchanges that there are reasons for. opens says that there were any,
// again when there will be others; zero: nobody knows.
func (s *scheduler) round(ctx context.Context, periodic bool, begin func(func())) (opens bool, again time.Time) {
	members, err := s.g.connectedMembers(ctx)
	if err != nil {
		return false, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case periodic && len(members) > 0: // alone there is nothing to save, and somebody to look for
		s.quiet++
	case periodic && !s.seeking:
		s.seeking = true
		begin(func() {
			s.seek(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seeking = false
		})
	}
	now := time.Now()
	if !s.push.IsZero() {
		meshed := s.g.topics.peers()
		for _, p := range members {
			if !slices.Contains(meshed, p) {
				d := s.due[p]
				d.since = s.push
				s.due[p] = d
			}
		}
		s.push = time.Time{}
	}
	maps.DeleteFunc(s.due, func(p peer.ID, _ due) bool { return !slices.Contains(members, p) })

	// In the order in which they are tried: by chance, since which of them is first is
	// no secret, but whoever has failed after the others.
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] }) //nolint:gosec // see above
	slices.SortStableFunc(members, func(a, b peer.ID) int { return cmp.Compare(s.failing[a].times, s.failing[b].times) })
	s.any = s.any || periodic && len(members) > 0
	var begun, others []peer.ID
	for _, p := range members {
		if s.running[p] || s.serving[p] > 0 {
			continue // there is another round when that is over
		}
		until := s.failing[p].until
		d, is := s.due[p]
		if is && d.at.After(until) {
			until = d.at
		}
		switch {
		case until.After(now):
			if is || s.any {
				again = sooner(again, until)
			}
		case is && s.slots < syncAtOnce:
			s.running[p] = true
			s.slots++
			begun = append(begun, p)
		default:
			others = append(others, p)
		}
	}
	results := make(chan error, len(begun)+len(others))
	for _, p := range begun {
		begin(func() { results <- s.inSlot(ctx, p) })
	}
	if s.any && !s.finding && len(begun)+len(others) > 0 {
		s.any, s.finding = false, true
		begin(func() { s.withAny(ctx, results, len(begun), others, begin) })
		return true, again
	}
	return len(begun) > 0, again
}

// inSlot exchanges with somebody in one of the slots, which it leaves when it takes long.
func (s *scheduler) inSlot(ctx context.Context, p peer.ID) error {
	leave := sync.OnceFunc(func() {
		s.mu.Lock()
		s.slots--
		waits := len(s.due) > 0
		s.mu.Unlock()
		if waits {
			s.poke()
		}
	})
	defer leave()
	defer time.AfterFunc(syncPatience, leave).Stop()
	return s.exchange(ctx, p)
}

// exchange opens one exchange with somebody who is claimed for it. errTreeless says that it
// was good, and that another one may bring more.
func (s *scheduler) exchange(ctx context.Context, p peer.ID) error {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	stats, err := s.open(within, p)
	s.synced(p, began, stats, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, p)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f := s.failing[p]
		pause := min(syncRetry<<min(f.times, 10), syncRetryMax)
		s.failing[p] = failing{f.times + 1, time.Now().Add(pause + rand.N(pause))} //nolint:gosec // spreads load, hides nothing
	case stats.left():
		s.due[p] = due{since: time.Now()}
	}
	s.pokeFor(p)
	if err == nil && stats.treeless {
		return errTreeless
	}
	return err
}

// claim reserves p for an exchange, unless this side has one open with it.
func (s *scheduler) claim(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[p] {
		return false
	}
	s.running[p] = true
	return true
}

// claimFree is claim of somebody who has none open with this side either.
func (s *scheduler) claimFree(p peer.ID) bool {
	s.mu.Lock()
	free := s.serving[p] == 0
	s.mu.Unlock()
	return free && s.claim(p)
}

// withAny waits until one of the exchanges that were begun is good, and opens one with
// one after another of the others while none is. A device that came in a moment ago has
// no tree of an epoch before that, and others do: it is asked for until one had it, or
// all were asked.
func (s *scheduler) withAny(ctx context.Context, results chan error, running int, others []peer.ID, begin func(func())) {
	good, treeless := false, false
	wait := func(patience time.Duration) {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for running > 0 && !good {
			select {
			case err := <-results:
				running--
				good, treeless = err == nil, treeless || errors.Is(err, errTreeless)
			case <-timer.C:
				return
			case <-ctx.Done():
				return
			}
		}
	}
	for _, p := range others {
		if wait(syncPatience); good || ctx.Err() != nil {
			break
		}
		if s.claimFree(p) {
			running++
			begin(func() { results <- s.exchange(ctx, p) })
		}
	}
	wait(syncTimeout)
	s.mu.Lock()
	s.finding = false
	s.any = s.any || !good && !treeless
	again := s.any
	s.mu.Unlock()
	if again {
		s.poke()
	}
}

// connectedMembers are the connected peers that the roster names, and the one that
// welcomed this device, in no order.
func (g *groupSession) connectedMembers(ctx context.Context) ([]peer.ID, error) {
	var out []peer.ID
	welcomer := g.joiner.welcomedBy()
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
func (s *scheduler) seek(ctx context.Context) {
	if st, err := s.g.status(ctx); err != nil || st.Members < 2 || st.State == group.StateOut {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, syncEvery)
	defer cancel()
	for p := range s.g.joiner.candidates(ctx) {
		s.g.n.directory.peers.Found(p, discovery.SourceDHT)
	}
}

// synced notes the end of an exchange, opened by either side.
func (s *scheduler) synced(p peer.ID, began time.Time, stats syncStats, err error) {
	s.g.n.metrics.Syncs.WithLabelValues(resultOf(err)).Inc()
	s.g.n.metrics.CatchUpEntries.WithLabelValues(directionIn).Add(float64(stats.entriesIn))
	s.g.n.metrics.CatchUpEntries.WithLabelValues(directionOut).Add(float64(stats.entriesOut))
	s.g.log.Debug("exchange ended", "peer", p, "entries_in", stats.entriesIn, "entries_out", stats.entriesOut,
		"seals_in", stats.sealsIn, "seals_out", stats.sealsOut, "err", err)
	if err == nil && !stats.left() {
		s.meets(began)
	}
	s.exchanged(p, began, err)
	if stats.treeless = false; stats != (syncStats{}) {
		s.stirred()
	}
}
