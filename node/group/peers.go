package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// peers holds the statements of other devices about themselves, and when this device asks
// them for more. Nothing of it is durable.
type peers struct {
	tx      *tx
	timers  *timers
	logs    *dag.Logs
	read    reader
	own     wire.DeviceID
	idle    func() time.Duration // how seldom this device asks at most, since it is out; 0: it is in
	changed func()               // there may be something to commit
	reseal  *reseal

	of map[wire.DeviceID]*peerState

	asked     time.Time // when a sync was last asked for
	asks      int       // since there was news
	why       string    // of the ask that waits
	askedPast int       // syncs asked for since an entry was last parked for want of its past
	told      int       // beacons since there was news
	beaconed  crdt.HLC  // date of the last one
}

// peerState is the last statement of another device about itself. It is not durable.
type peerState struct {
	hlc   crdt.HLC
	said  [32]byte // hash of its newest vector
	marks map[wire.LogID]uint64
	same  wire.Hash               // of the marks in the newest vector that this device told, too
	lacks map[wire.MessageID]bool // of the records within marks, those that it cannot read
	more  func(wire.UserID) bool  // it named as many of an author as it may, and may lack others

	transport *[32]byte // its newest key for transport keys; nil: as in its credential

	rejoin *rejoin // it asks to be added again; nil: it does not
}

// at returns the state of a device, a new one if there is none.
func (p *peers) at(d wire.DeviceID) *peerState {
	of := p.of[d]
	if of == nil {
		of = &peerState{marks: map[wire.LogID]uint64{}}
		p.of[d] = of
	}
	return of
}

// holds says whether a device is known to have a record and to read it.
func (p *peerState) holds(it *dag.Item) bool {
	return p != nil && !(p.more != nil && p.more(it.User)) && p.marks[it.Log] >= it.Seq && !p.lacks[it.Hash]
}

// newerRejoin keeps the newest request of a device. One that is dated ahead makes room for any.
func (p *peerState) newerRejoin(now time.Time, r *rejoin) bool {
	if p.rejoin != nil && crdt.HLC(r.HLC) <= crdt.HLC(p.rejoin.HLC) && crdt.HLC(p.rejoin.HLC).Ahead(now) <= dag.MaxAhead {
		return false
	}
	p.rejoin = r
	return true
}

// rejoinOf checks a request of a device to be added again, unless it is the one that is known.
func (p *peers) rejoinOf(ros *roster.Roster, of *peerState, d wire.DeviceID, s wire.Signed) (*rejoin, error) {
	if of.rejoin != nil && bytes.Equal(of.rejoin.raw.Encode(), s.Encode()) {
		return of.rejoin, nil
	}
	r, err := p.read.rejoin(ros, s)
	if err == nil && r.Device != d {
		err = fmt.Errorf("rejoin: %w: it is another device's", verdict.ErrForged)
	}
	return r, err
}

// addAgain notes a device's request to be added again, if it is newer than what is known.
func (p *peers) addAgain(now time.Time, of *peerState, r *rejoin) {
	if r != nil && r != of.rejoin && of.newerRejoin(now, r) {
		p.changed()
	}
}

// wantedAgain lists the requests to be added again by devices of the roster that the chain to
// the position has not satisfied: their KeyPackage is on none of its commits.
func (p *peers) wantedAgain(r *roster.Roster, t *epochs.Tree, position *epochs.Node) []*rejoin {
	var out []*rejoin
	for _, id := range r.DeviceIDs() {
		of := p.of[id]
		if of == nil || of.rejoin == nil || id == p.own {
			continue
		}
		if !position.Used(of.rejoin.KeyPackage) && !foundItsWay(t, position, p.logs.Votes[id], of.rejoin) {
			out = append(out, of.rejoin)
		}
	}
	slices.SortFunc(out, func(a, b *rejoin) int { return bytes.Compare(a.raw.Payload, b.raw.Payload) })
	return out
}

// takeVector replaces what a device said of how far it is; it names so many of the
// messages that it lacks at the most. A device that is lacking something itself says so again
// soon: this one may have it now. same is the hash of its marks if this device has told the
// same ones, else zeros.
func (p *peers) takeVector(now time.Time, of *peerState, v wire.SyncVector, same wire.Hash, most int, lacking bool) {
	said := saidBy(v, same)
	if said == of.said && same == of.same && same != (wire.Hash{}) {
		return // and this device knows no more of it than it did then
	}
	if said != of.said {
		of.said = said
		p.news()
		if lacking {
			p.timers.sooner(timerBeacon, now.Add(gapWait))
		}
	}
	if same == (wire.Hash{}) || same != of.same {
		of.same = same
		p.takeMarks(now, of, v.Marks)
	}
	of.more = untold(v.Lacks, most, func(id wire.MessageID) *wire.UserID {
		if it := p.logs.Items.At(id); it != nil {
			return &it.User
		}
		return nil
	})
	of.lacks = make(map[wire.MessageID]bool, len(v.Lacks))
	for _, id := range v.Lacks {
		of.lacks[id] = true
	}
}

// saidBy is the hash of a vector; same is that of its marks, if it is known.
func saidBy(v wire.SyncVector, same wire.Hash) [32]byte {
	if same == (wire.Hash{}) {
		same = v.Marks.Hash()
	}
	v.Marks, v.Same = nil, 0
	return sha256.Sum256(append(wire.Marshal(&v), same[:]...))
}

// takeMarks takes what a device said that it holds.
func (p *peers) takeMarks(now time.Time, of *peerState, marks []wire.Mark) {
	for _, mark := range marks {
		if len(p.logs.Index[mark.Log]) > 0 {
			p.logs.Covers(mark, func(id wire.LogID, seq uint64) { of.marks[id] = max(of.marks[id], seq) })
		}
	}
	if p.logs.Behind(marks) {
		p.ask(now, "a peer is further")
	}
}

// backOff doubles a wait for each time that it brought no news, up to about an hour.
func backOff(wait time.Duration, times int) time.Duration {
	return min(wait<<min(times, 12), time.Hour)
}

// wait is how long until this device says again what it said, in its beacons.
func (p *peers) wait(first time.Duration) time.Duration { return backOff(first, p.told) }

// news begins all waits anew: something came in, here or at somebody else.
func (p *peers) news() { p.asks, p.told = 0, 0 }

// askEvery is the shortest time between two requests for a sync: entries that do not come
// with one will hardly come with the next.
const askEvery = time.Second

// askWhenOut is how often a device asks that is out of the group: others are further
// than it may follow, and only a cancelled removal would bring it anything.
const askWhenOut = 10 * time.Minute

// askToReturn is how often one asks that is out and has asked to be let in again: until it is,
// each word of the others says that they are further, and nobody may give it that.
const askToReturn = 30 * time.Second

// idleFor is how seldom a device asks at most, by whether it is out and asks to return.
func idleFor(out, returns bool) time.Duration {
	switch {
	case !out:
		return 0
	case returns:
		return askToReturn
	}
	return askWhenOut
}

// ask wants a sync soon.
func (p *peers) ask(now time.Time, why string) {
	every := max(backOff(askEvery, p.asks/8), p.idle())
	if now.Sub(p.asked) < every {
		p.timers.set(timerAsk, p.asked.Add(every))
		p.why = why
		return
	}
	p.asked = now
	p.asks++
	p.timers.stop(timerAsk)
	p.tx.send(Ask{Why: why})
}

// askLater makes the request that came too soon after the last one.
func (p *peers) askLater(now time.Time) {
	if p.timers.due(now, timerAsk) {
		p.ask(now, p.why)
	}
}

// hurry has the next ask not wait for the last one.
func (p *peers) hurry() { p.asked = time.Time{} }

// How long an entry may be parked before this device asks for its past: envelopes that
// overtook each other are all here by then. And how long until it asks again.
const (
	pastGrace = 500 * time.Millisecond
	pastWait  = 2 * time.Second
)

// parked notes that an entry was parked for want of its past.
func (p *peers) parked(now time.Time) {
	p.askedPast = 0
	p.timers.sooner(timerPast, now.Add(pastGrace))
}

// askForPast asks while an entry is parked for want of its past, and on: whoever was asked
// first may lack it as well, and the next one may not. Each time it waits longer, until
// something else is parked.
func (p *peers) askForPast(now time.Time) {
	switch {
	case len(p.logs.Parking.Waiting) == 0:
		p.timers.stop(timerPast)
		p.askedPast = 0
		return
	case !p.timers.due(now, timerPast) && p.timers.running(timerPast):
		return
	}
	since, lacks := p.logs.Parking.LacksPast()
	switch {
	case !lacks:
		p.timers.stop(timerPast)
		p.askedPast = 0
	case now.Sub(since) < pastGrace:
		p.timers.set(timerPast, since.Add(pastGrace))
	default:
		p.ask(now, "an entry's past is missing")
		p.timers.set(timerPast, now.Add(backOff(pastWait, p.askedPast)))
		p.askedPast++
	}
}

// beaconDate is the date of this device's next beacon, next being that of its next entry: it rises from beacon to beacon, as long as dates are believed.
func (p *peers) beaconDate(now time.Time, next crdt.HLC) crdt.HLC {
	if p.beaconed = max(next, p.beaconed+1); p.beaconed.Ahead(now) > dag.MaxAhead {
		p.beaconed = crdt.HLCFromTime(now)
	}
	return p.beaconed
}

// takeBeacons takes the beacons of an envelope, and says how many were newer than what was
// known.
func (p *peers) takeBeacons(now time.Time, r *roster.Roster, raws [][]byte, lacking bool) (news int, worst verdict.Verdict, err error) {
	var errs []error
	for _, raw := range raws {
		newer, err := p.takeBeacon(now, r, raw, lacking)
		if newer {
			news++
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("beacon: %w", err))
			worst = max(worst, verdict.Of(err))
		}
	}
	return news, worst, errors.Join(errs...)
}

// takeBeacon replaces what a device said before and plans to fill its gaps, after
// rank × 4 s, so that one holder usually acts and any can.
func (p *peers) takeBeacon(now time.Time, r *roster.Roster, raw []byte, lacking bool) (newer bool, err error) {
	s, err := wire.DecodeSigned(raw, wire.MaxEnvelope)
	if err != nil {
		return false, err
	}
	b, err := wire.DecodeBeacon(s.Payload)
	if err != nil {
		return false, err
	}
	if b.Log.Device == p.own {
		return false, nil
	}
	d := p.logs.Devices[b.Log.Device]
	if d == nil || !r.Has(d.ID) {
		return false, fmt.Errorf("%w: device %v", verdict.ErrNotMember, b.Log.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainBeacon, p.read.group, s); err != nil {
		return false, fmt.Errorf("%w: %w", verdict.ErrForged, err)
	}
	of := p.at(d.ID)
	switch hlc := crdt.HLC(b.HLC); {
	case hlc.Ahead(now) > dag.MaxAhead:
		return true, nil // by others' clocks it may be a word of now
	case hlc <= of.hlc && of.hlc.Ahead(now) <= dag.MaxAhead:
		return false, nil // an older one than is known
	case p.logs.Outdated(b.Log, b.Vector):
		return false, nil // somebody plays it again: after a restart nothing else tells that it is old
	}
	var again *rejoin
	if b.Rejoin != nil {
		if again, err = p.rejoinOf(r, of, d.ID, *b.Rejoin); err != nil {
			return false, err
		}
	}
	of.hlc = crdt.HLC(b.HLC)
	p.takeVector(now, of, wire.SyncVector{Marks: b.Vector, Lacks: b.Gaps}, wire.Hash{}, maxGapsTold, lacking)
	if len(b.TransportKey) == 32 {
		of.transport = (*[32]byte)(b.TransportKey)
	}
	if again == nil && of.rejoin != nil {
		of.rejoin = nil // it is not to be added again any more
		p.changed()
	}
	p.addAgain(now, of, again)
	// Sealing for the messages that it still lacks is planned already. Such a device
	// repeats its gaps every few seconds while people write, and that puts nothing off.
	p.reseal.keepOnly(d.ID, of.lacks)
	p.reseal.plan(now, gapStep, d.ID, b.Gaps)
	return true, nil
}
