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
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// joining holds the requests of this device until it is in the group, or in it again:
// requests to be let in, which a member answers on a stream, the invites that it keeps for
// later, and a request to be added again, which travels in its beacons.
//
// A member who is given an invite may be out of the group already without knowing it: it
// was removed a moment ago, or while it was off. So a Join with an invite is an intent,
// which is kept until it shows whether it is needed:
//
//   - this device learns that it is out: it asks with the invite;
//   - this device is in by its logs, and they hold the operation that gave the invite
//     out: whatever the invite was given out after lies in their past too, so it is in by
//     all that its signer knew. The invite is not spent. An invite lets back in after no
//     removal that is not in the past of its operation, so nothing is lost.
//
// The claim is signed when the intent is made, so that the invite's secret is not kept.
type joining struct {
	tx     *tx
	timers *timers
	group  wire.GroupID
	device *identity.Device
	engine engine.Engine
	leaf   *leafKeys
	epochs *epochStore
	peers  *peers

	// newRejoin makes a request to be added again with this KeyPackage; nil: a fresh one.
	newRejoin func(now time.Time, keyPackage []byte) (wire.Signed, *wire.Rejoin, error)

	request    *wire.JoinRequest     // to be let in; nil: this device does not ask
	renewal    *wire.JoinRequest     // asked with in turn with request; see renew
	badWelcome []byte                // KeyPackage of the last Welcome, if that did not hold; not durable
	trees      map[wire.EpochID]bool // ratchet trees that it wants for Welcomes from the log
	used       time.Time             // since when its request to be added again is seen to be used; not durable
	intents    []intent              // the newest first
	cameBy     cameBy
	rejoin     *wire.Signed // to be added again; nil: this device does not ask
	retract    bool         // the others may hold a rejoin that is out of date
}

// maxIntents is how many invites are kept; of more, the oldest goes.
const maxIntents = 4

// joinAgain is how long a Welcome may take to be borne out by the logs before this
// device asks another member.
const joinAgain = 30 * time.Second

// dateEvery is how often a request to be added again is dated anew.
const dateEvery = 5 * time.Minute

// intent is a request to be let in by an invite that is not made yet.
type intent struct {
	id      wire.InviteID
	request wire.JoinRequest
}

// intentsRow holds encoded JoinRequests.
type intentsRow struct {
	Requests [][]byte `cbor:"1,keyasint"`
}

func (j *joining) load() error {
	v, err := j.tx.get(rowRejoining)
	if err != nil {
		return err
	}
	if v != nil {
		s, err := wire.DecodeSigned(v, wire.MaxEntry)
		if err != nil {
			return err
		}
		j.rejoin = &s
	}
	if j.request, err = loadRequest(j.tx, rowJoin); err != nil {
		return err
	}
	if j.renewal, err = loadRequest(j.tx, rowRenewal); err != nil {
		return err
	}
	return errors.Join(j.loadIntents(), j.cameBy.load())
}

func loadRequest(t *tx, row string) (*wire.JoinRequest, error) {
	v, err := t.get(row)
	if v == nil || err != nil {
		return nil, err
	}
	return wire.DecodeJoinRequest(v)
}

func (j *joining) loadIntents() error {
	v, err := j.tx.get(rowIntents)
	if v == nil || err != nil {
		return err
	}
	var row intentsRow
	if err := wire.Unmarshal(v, &row); err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	for _, b := range row.Requests {
		r, err := wire.DecodeJoinRequest(b)
		if err != nil || r.Invite == nil {
			return fmt.Errorf("%w: the invite of a join: %w", verdict.ErrCorrupt, err)
		}
		j.intents = append(j.intents, intent{wire.InviteIDOf(j.group, r.Invite.Payload), *r})
	}
	return nil
}

// newRequest is a request to be let in, without an invite.
func (j *joining) newRequest(keyPackage []byte) *wire.JoinRequest {
	return &wire.JoinRequest{V: wire.Version, Group: j.group, Cert: j.device.Raw, KeyPackage: keyPackage}
}

// claimed is a request with the claim to an invite.
func (j *joining) claimed(r wire.JoinRequest, in Join) *wire.JoinRequest {
	claim := wire.Claim{
		V: wire.Version, Invite: wire.InviteIDOf(j.group, in.Invite.Payload), Device: j.device.ID, KeyPackage: sha256.Sum256(r.KeyPackage),
	}
	signed := in.Key.Sign(wire.DomainJoin, j.group, claim.Encode())
	r.Invite, r.Claim = in.Invite, &signed
	return &r
}

// carry has the requests of this device carried to members.
func (j *joining) carry() { j.tx.send(RequestJoin{Request: *j.request, Renewal: j.renewal}) }

// setRequest changes the request of this device; nil: it asks no more.
func (j *joining) setRequest(r *wire.JoinRequest) {
	putRequest(j.tx, rowJoin, j.request, r)
	if r == nil && j.request != nil {
		j.tx.send(EndRequest{})
	}
	j.request = r
}

func (j *joining) setRenewal(r *wire.JoinRequest) {
	putRequest(j.tx, rowRenewal, j.renewal, r)
	j.renewal = r
}

func putRequest(t *tx, row string, old, r *wire.JoinRequest) {
	switch {
	case r != nil:
		t.put(row, wire.Marshal(r))
	case old != nil:
		t.del(row)
	}
}

// asksWith gives the request with this KeyPackage if this device asks with it; nil is
// the first one's.
func (j *joining) asksWith(keyPackage []byte) *wire.JoinRequest {
	switch {
	case j.request != nil && (keyPackage == nil || bytes.Equal(j.request.KeyPackage, keyPackage)):
		return j.request
	case j.renewal != nil && bytes.Equal(j.renewal.KeyPackage, keyPackage):
		return j.renewal
	}
	return nil
}

// lapsed says whether this device asks with a KeyPackage whose time is over.
func (j *joining) lapsed(now time.Time) bool {
	if j.request == nil {
		return false
	}
	age, here := j.leaf.age(now, j.request.KeyPackage)
	return !here || age >= engine.KeyPackageLifetime
}

// renew asks also with a fresh KeyPackage and a request to be added again: this device is
// in the roster, but nobody can serve the Welcome for the KeyPackage of r any more. The
// peer that says so may be no member at all, so this device does not give up its first
// request: an invite in it is claimed for its KeyPackage alone. At most once an hour,
// whatever members say.
func (j *joining) renew(now time.Time, r *wire.JoinRequest) error {
	if j.renewal != nil && r != j.renewal {
		return fmt.Errorf("request to join: %w: it asks with another KeyPackage already", verdict.ErrState)
	}
	if age, here := j.leaf.age(now, r.KeyPackage); here && age < time.Hour {
		return fmt.Errorf("request to join: %w: its KeyPackage is fresh", verdict.ErrState)
	}
	again, err := j.requestAgain(now)
	if err != nil {
		return err
	}
	if r.Rejoin != nil {
		j.leaf.spend(now, r.KeyPackage)
	}
	if r == j.request && r.Rejoin != nil {
		j.setRequest(again)
	} else {
		j.setRenewal(again)
	}
	j.carry()
	return nil
}

// requestAgain makes a request to join by which any member adds this device again: without
// keys it can tell nobody by a beacon.
func (j *joining) requestAgain(now time.Time) (*wire.JoinRequest, error) {
	s, r, err := j.newRejoin(now, nil)
	if err != nil {
		return nil, err
	}
	again := j.newRequest(r.KeyPackage)
	again.Rejoin = &s
	return again, nil
}

// dateAnew dates the requests to be added again anew while nobody adds this device. To a
// member, a request that is older than the device's last vote is one that has become needless.
// The device may have voted before its store was restored, and with a date ahead of its own
// clock, if another member's is fast.
func (j *joining) dateAnew(now time.Time) {
	if j.request.Rejoin == nil && j.renewal == nil {
		j.timers.stop(timerDate)
		return
	}
	if !j.timers.running(timerDate) {
		j.timers.set(timerDate, now.Add(dateEvery))
	}
	if !j.timers.due(now, timerDate) {
		return
	}
	j.timers.set(timerDate, now.Add(dateEvery))
	for _, ask := range []struct {
		r   *wire.JoinRequest
		set func(*wire.JoinRequest)
	}{{j.request, j.setRequest}, {j.renewal, j.setRenewal}} {
		if ask.r == nil || ask.r.Rejoin == nil {
			continue
		}
		s, _, err := j.newRejoin(now, ask.r.KeyPackage)
		if err != nil {
			j.tx.fail(err)
			return
		}
		again := *ask.r
		again.Rejoin = &s
		ask.set(&again)
	}
	j.carry()
}

// repeat asks again when a Welcome led nowhere.
func (j *joining) repeat(now time.Time) {
	if j.request == nil {
		j.timers.stop(timerJoin, timerDate)
		return
	}
	j.dateAnew(now)
	if j.timers.due(now, timerJoin) {
		j.timers.set(timerJoin, now.Add(joinAgain))
		if r := j.asksWith(j.badWelcome); j.badWelcome != nil && r != nil && j.renew(now, r) == nil {
			j.badWelcome = nil
			return
		}
		j.carry()
	}
}

// welcomeFailed notes that the Welcome for a KeyPackage does not hold. Perhaps its
// committer made it so, and nobody has a better one.
func (j *joining) welcomeFailed(now time.Time, keyPackage []byte) {
	j.badWelcome = keyPackage
	j.timers.sooner(timerJoin, now.Add(joinAgain))
}

// fromLog gets this device onto a chain that none of its keys lead to, by the Welcome of the
// newest commit on it that adds one of its KeyPackages: it asks for the ratchet tree, and Tree
// goes on. False: it is not there yet.
func (j *joining) fromLog(now time.Time, chosen *epochs.Node) bool {
	for n := chosen; n != nil; n = n.Parent {
		if !n.HasWelcome() {
			continue
		}
		for _, hash := range n.Adds() {
			if !j.leaf.holds(hash) || j.epochs.has(n.ID) {
				continue // a held one leads nowhere new: this device was taken out after it
			}
			if !j.trees[n.ID] {
				j.trees[n.ID] = true
				j.peers.ask(now, "a Welcome needs its ratchet tree")
			}
			return false
		}
	}
	return false
}

// end ends asking to be let in, and goes on with the next invite that is kept. It keeps the
// request that has ended: an admin can let this device in by it all the same, and if its
// user joins again then, that KeyPackage has the Welcome.
func (j *joining) end(now time.Time) {
	if j.request != nil {
		j.tx.put(rowEnded, wire.Marshal(j.request))
		j.setRequest(nil)
	}
	j.setRenewal(nil)
	j.askWithIntent(now)
}

// takeEnded gives a request to ask with again, without an invite; nil: there is none
// whose KeyPackage can be used.
func (j *joining) takeEnded(now time.Time) (*wire.JoinRequest, error) {
	v, err := j.tx.get(rowEnded)
	if v == nil || err != nil {
		return nil, err
	}
	j.tx.del(rowEnded)
	r, err := wire.DecodeJoinRequest(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	_, here := j.leaf.age(now, r.KeyPackage)
	if usable := here && j.engine.CheckLifetime(r.KeyPackage, now) == nil && r.Rejoin == nil; !usable {
		return nil, nil
	}
	r.Invite, r.Claim = nil, nil
	return r, nil
}

// done ends all that this device asked with: it is in the group.
func (j *joining) done(now time.Time) {
	ended, err := j.takeEnded(now)
	j.tx.fail(err)
	for _, r := range []*wire.JoinRequest{j.request, j.renewal, ended} {
		if r != nil {
			j.leaf.spend(now, r.KeyPackage)
		}
	}
	j.setRequest(nil)
	j.setRenewal(nil)
}

// removed goes on after this device was taken out while it asked to be added again: only
// the invite that it asks with, if there is one, still stands.
func (j *joining) removed() {
	if r := j.request; r != nil && r.Invite != nil { // the invite of before is over, not this one
		again := *r
		again.Rejoin = nil
		j.setRequest(&again)
		j.carry()
	} else {
		j.setRequest(nil)
	}
	j.setRenewal(nil)
}

// wants says whether an invite is kept.
func (j *joining) wants(id wire.InviteID) bool {
	return slices.ContainsFunc(j.intents, func(i intent) bool { return i.id == id })
}

// keep keeps an invite for later.
func (j *joining) keep(now time.Time, id wire.InviteID, r *wire.JoinRequest) {
	all := append([]intent{{id, *r}}, j.intents...)
	j.setIntents(now, all[:min(len(all), maxIntents)])
}

// settleIntents drops the invites that a member does not need, or asks with the newest once
// this device is out.
func (j *joining) settleIntents(now time.Time, l *dag.Logs, member, out bool) {
	switch {
	case len(j.intents) == 0:
	case member:
		left := slices.DeleteFunc(slices.Clone(j.intents), func(i intent) bool { return l.Issued(i.id) })
		if len(left) < len(j.intents) {
			j.setIntents(now, left)
		}
	case out && (j.request == nil || j.request.Invite == nil):
		j.askWithIntent(now)
	}
}

func (j *joining) setIntents(now time.Time, intents []intent) {
	for _, old := range j.intents {
		kept := func(i intent) bool { return bytes.Equal(i.request.KeyPackage, old.request.KeyPackage) }
		asks := j.request != nil && bytes.Equal(j.request.KeyPackage, old.request.KeyPackage)
		if !asks && !slices.ContainsFunc(intents, kept) {
			j.leaf.spend(now, old.request.KeyPackage)
		}
	}
	j.intents = intents
	if len(intents) == 0 {
		j.tx.del(rowIntents)
		return
	}
	var row intentsRow
	for _, i := range intents {
		row.Requests = append(row.Requests, wire.Marshal(&i.request))
	}
	j.tx.put(rowIntents, wire.Marshal(&row))
}

// askWithIntent asks with the newest invite that is kept, if there is one.
func (j *joining) askWithIntent(now time.Time) {
	for len(j.intents) > 0 {
		next := j.intents[0].request
		usable := j.engine.CheckLifetime(next.KeyPackage, now) == nil
		if usable {
			j.setRequest(&next)
			j.setRenewal(nil)
		}
		j.setIntents(now, j.intents[1:])
		if usable {
			j.carry()
			return
		}
	}
}

// lost forgets what this device asks with by a KeyPackage, given by its hash, whose secrets
// are destroyed. True: its request is gone, and it has to make another one. An invite was
// claimed for this KeyPackage alone, so that its link has to be given again.
func (j *joining) lost(hash [32]byte) bool {
	if j.rejoin != nil {
		if r, err := wire.DecodeRejoin(j.rejoin.Payload); err != nil || sha256.Sum256(r.KeyPackage) == hash {
			j.rejoin = nil // the next one asks with a fresh one
			j.tx.del(rowRejoining)
		}
	}
	if j.renewal != nil && sha256.Sum256(j.renewal.KeyPackage) == hash {
		j.setRenewal(nil)
	}
	again := j.request != nil && j.request.Claim == nil && sha256.Sum256(j.request.KeyPackage) == hash
	if again {
		j.request = nil
	}
	return again
}

// stopRejoin ends asking to be added again once this device, at n, is where it wanted to be.
// If it was not added there, it tells the others, who otherwise would do so whenever their
// branch changes.
func (j *joining) stopRejoin(now time.Time, n *epochs.Node) {
	if j.rejoin == nil {
		return
	}
	if r, err := wire.DecodeRejoin(j.rejoin.Payload); err == nil {
		j.leaf.spend(now, r.KeyPackage) // a commit on another branch may have used it
		if n != nil && !n.Used(r.KeyPackage) {
			j.retract = true
			j.timers.set(timerBeacon, now)
		}
	}
	j.rejoin = nil
	j.tx.del(rowRejoining)
}

// askAgain asks, in this device's beacon, to be added again on the chosen branch: after wait,
// and then every so often, with one KeyPackage for as long as life.
func (j *joining) askAgain(now time.Time, chosen *epochs.Node, every, life time.Duration, wait func(time.Time) time.Duration) {
	if !j.timers.running(timerRejoin) {
		j.timers.set(timerRejoin, now.Add(wait(now)))
	}
	if !j.timers.due(now, timerRejoin) {
		return
	}
	j.timers.set(timerRejoin, now.Add(min(every, life)))
	if j.rejoin == nil || j.rejoinLapsed(now, j.rejoinLife(now, chosen, life)) {
		s, _, err := j.newRejoin(now, nil)
		if err != nil {
			j.tx.fail(err)
			return
		}
		j.rejoin = &s
		j.tx.put(rowRejoining, s.Encode())
	}
	j.timers.set(timerBeacon, now)
}

// rejoinLife is how long the request to be added again is asked with: no longer if it was used
// on the chosen chain a while ago, and this device did not get there by its Welcome.
func (j *joining) rejoinLife(now time.Time, chosen *epochs.Node, life time.Duration) time.Duration {
	r, err := wire.DecodeRejoin(j.rejoin.Payload)
	switch {
	case err != nil || !chosen.Used(r.KeyPackage):
		j.used = time.Time{}
	case j.used.IsZero():
		j.used = now
	case now.Sub(j.used) >= rejoinUsed:
		j.used = time.Time{}
		return 0
	}
	return life
}

// rejoinLapsed says whether the request to be added again is to be made anew.
func (j *joining) rejoinLapsed(now time.Time, life time.Duration) bool {
	r, err := wire.DecodeRejoin(j.rejoin.Payload)
	if err == nil && now.Sub(crdt.HLC(r.HLC).Time()) < life {
		return false
	}
	if err == nil {
		j.leaf.spend(now, r.KeyPackage)
	}
	return true
}
