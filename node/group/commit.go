package group

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// How often things are done that nothing else brings about.
const (
	voteEvery      = time.Hour      // when the position moved
	voteAtLeast    = 72 * time.Hour // when it did not
	voteAfterStart = 30 * time.Second
	rankStep       = 2 * time.Second // between devices that could all do one thing
	gapWait        = 3 * time.Second // before a gap is published
	gapStep        = 4 * time.Second // between holders who could fill it
	beaconGap      = 30 * time.Second
)

// jitter draws a duration below most.
func (m *Machine) jitter(most time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(m.cfg.Rand, b[:]); err != nil {
		m.tx.fail(fmt.Errorf("drawing a jitter: %w", err))
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(most)) //nolint:gosec // positive
}

// rank is this device's place in the order in which devices step in at an epoch,
// so that one usually acts and any can.
func (m *Machine) rank() time.Duration {
	mine := m.rankOf(m.log.Device)
	place := 0
	for d := range m.roster.devices {
		if r := m.rankOf(d); bytes.Compare(r[:], mine[:]) < 0 {
			place++
		}
	}
	return time.Duration(place)
}

func (m *Machine) rankOf(d wire.DeviceID) wire.Hash {
	return wire.HashOf(wire.DomainPrio, m.group[:], m.own.Position[:], d[:])
}

// difference is what a commit must do so that the tree equals the roster.
type difference struct {
	removes []uint32
	adds    [][]byte
	ops     []wire.EntryHash
	rejoins []wire.Signed
	gate    bool // somebody who is out of the roster is in the tree: nobody seals
	mine    bool // an operation of this device is among them
	size    int  // of what is added, about, in a COMMIT
	more    bool // not all that is to be added fits into one
}

// maxAdded bounds what one COMMIT adds, in bytes: with the path through a large tree it
// must stay below wire.MaxEntry. The next ones add the others.
const maxAdded = 128 << 10

// fits says whether so much more can be added in the same commit.
func (d *difference) fits(size int) bool {
	if size += 256; d.size > 0 && d.size+size > maxAdded { // its place in the Welcome
		d.more = true
		return false
	}
	d.size += size
	return true
}

func (d difference) empty() bool { return len(d.removes)+len(d.adds) == 0 }

// treeDifference is a difference with what it was computed from.
type treeDifference struct {
	position wire.EpochID
	roster   *roster
	difference
}

// compareTree tells what separates the tree at the position from the roster.
func (m *Machine) compareTree(now time.Time, e Epoch) difference {
	if m.diff == nil || m.diff.position != m.own.Position || m.diff.roster != m.roster {
		m.diff = &treeDifference{position: m.own.Position, roster: m.roster, difference: m.findDifference(now, e)}
	}
	return m.diff.difference
}

func (m *Machine) findDifference(now time.Time, e Epoch) difference {
	var d difference
	in := map[wire.DeviceID]bool{}
	cite := func(op *item) {
		if op != nil {
			d.ops = append(d.ops, op.hash)
			d.mine = d.mine || op.log == m.log
		}
	}
	again, waits := map[wire.DeviceID]*rejoin{}, map[wire.DeviceID]bool{}
	for _, r := range m.wantedAgain() {
		if !m.usable(now, r.KeyPackage, nil) {
			continue
		}
		waits[r.Device] = true
		if !d.fits(2 * len(r.KeyPackage)) { // it is in the request too
			continue
		}
		again[r.Device] = r
		d.adds = append(d.adds, r.KeyPackage)
		d.rejoins = append(d.rejoins, r.raw)
	}
	for _, l := range e.Leaves() {
		device, err := m.deviceOf(l)
		if err != nil {
			m.tx.fail(fmt.Errorf("%w: a leaf at the position: %w", ErrCorrupt, err))
			return d
		}
		if again[device.ID] != nil {
			d.removes = append(d.removes, l.Index) // RFC 9420, Section 12.2: its new leaf comes in the same commit
			continue
		}
		if m.roster.has(device.ID) {
			in[device.ID] = true
			continue
		}
		d.gate = true
		d.removes = append(d.removes, l.Index)
		cite(cmp.Or(m.roster.gone[device.User], m.roster.revoked[device.ID]))
	}
	for _, id := range m.roster.deviceIDs() {
		r := m.roster.devices[id]
		if in[id] || waits[id] || r.keyPackage == nil || m.used(r.keyPackage) || !m.usable(now, r.keyPackage, r.by) || !d.fits(len(r.keyPackage)) {
			continue
		}
		d.adds = append(d.adds, r.keyPackage)
		cite(r.by)
	}
	slices.SortFunc(d.ops, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	d.ops = slices.Compact(d.ops)
	return d
}

// position gives the epoch to act under: this device is in the roster and at the
// epoch that the fork choice picks, and no fork is waiting to be judged.
func (m *Machine) position() (*node, Epoch) {
	n := m.tree.nodes[m.own.Position]
	if n == nil || !m.roster.has(m.log.Device) {
		return nil, nil
	}
	e, err := m.epoch(n.id)
	m.tx.fail(err)
	if e == nil {
		return nil, nil
	}
	return n, e
}

// heal makes the tree equal the roster by one commit: at once for an operation of
// one's own, after rank × 2 s for others', so that one usually acts and any can.
// The same commit renews this device's keys, and is made for that alone when that
// is due; and it is the sibling of a child that this device found invalid.
func (m *Machine) heal(now time.Time) bool {
	n, e := m.position()
	if n == nil || m.target(now) != n {
		m.timers.stop(timerHeal, timerUpdate, timerRatchet)
		m.updateAt = nil
		return false
	}
	m.planUpdate(n)
	d := m.compareTree(now, e)
	sibling := slices.ContainsFunc(n.children, func(c *node) bool { return m.refused.has(c.id) && c.contains(m.choose()) })
	worn := m.wornOut(now)
	alone := m.timers.due(now, timerUpdate) || sibling || worn || m.mustRenew(n)
	if d.empty() && !alone {
		m.timers.stop(timerHeal)
		return false
	}
	if !m.timers.running(timerHeal) {
		m.timers.set(timerHeal, now)
		if !d.mine && !alone && m.unfinished != n.id {
			m.timers.set(timerHeal, now.Add(rankStep+m.rank()*rankStep))
		}
	}
	if worn {
		m.worn.renewed = now
	}
	if worn || m.timers.due(now, timerUpdate) {
		m.timers.set(timerHeal, now)
	}
	if !m.timers.due(now, timerHeal) {
		return false
	}
	err := m.commit(now, n, e, d)
	if errors.Is(err, errLeftOut) {
		err = m.commit(now, n, e, m.compareTree(now, e))
	}
	if err != nil {
		m.timers.set(timerHeal, now.Add(time.Minute)) // others may do better; try again then
		m.timers.set(timerUpdate, m.timers.at(timerHeal))
		m.tx.emit(now, Event{Kind: EventRefused, Epoch: n.id, Detail: err.Error()})
		return false
	}
	return true
}

// planUpdate says when this device must renew its keys: so long after its leaf
// last changed on the chain to its position, or up to an eighth of that earlier.
func (m *Machine) planUpdate(n *node) {
	if m.updateAt == n {
		return
	}
	m.updateAt = n
	at := n
	for ; at.parent != nil && at.parent.parent != nil; at = at.parent {
		if slices.ContainsFunc(at.claims, func(c *item) bool { return c.log.Device == m.log.Device }) || m.addsSelf(at) {
			break
		}
	}
	if by := at.by(); by != nil {
		// Those who came in together do not all renew at one moment.
		spread := wire.HashOf(wire.DomainPrio, m.group[:], by.hash[:], m.log.Device[:])
		early := time.Duration(binary.BigEndian.Uint16(spread[:])) * (m.cfg.UpdateEvery / 8 >> 16)
		m.timers.set(timerUpdate, by.since(m.now).Add(m.cfg.UpdateEvery-early))
	}
	if m.lostUpdate {
		// Its newest keys were on a branch that lost. Spread, for others lost theirs too.
		m.timers.sooner(timerUpdate, m.next(m.now).Time().Add(5*time.Second+m.rank()*gapStep))
	}
}

// addsSelf says whether the commit that makes n adds this device, by a KeyPackage whose
// secrets are here.
func (m *Machine) addsSelf(n *node) bool {
	adds := n.adds()
	return len(adds) > 0 && n.leaves.leafOf(m.log.Device) != n.parent.leaves.leafOf(m.log.Device) && slices.ContainsFunc(adds, func(kp [32]byte) bool {
		return m.keyPkgs[kp] != nil
	})
}

// errLeftOut says that KeyPackages which cannot be used were found, and that the
// commit is to be made without them.
var errLeftOut = errors.New("a KeyPackage cannot be used")

// used says whether the chain to the position has added a KeyPackage before: its
// device was there and asks to be added again, with another one, if it lost its way.
func (m *Machine) used(keyPackage []byte) bool {
	for n := m.tree.nodes[m.own.Position]; n != nil; n = n.parent {
		if slices.Contains(n.adds(), sha256.Sum256(keyPackage)) {
			return true
		}
	}
	return false
}

// usable says whether a KeyPackage that an operation brought may be added now. by: nil of
// one whose device asks with it by itself.
func (m *Machine) usable(now time.Time, keyPackage []byte, by *item) bool {
	return !m.unusable[sha256.Sum256(keyPackage)] && !m.lapsed(by) && m.cfg.Engine.CheckLifetime(keyPackage, now) == nil
}

// lapsed says whether the KeyPackage that an operation brought is past its time: its device
// has destroyed the secrets. It is measured from the operation: the lifetime in it is by the
// clock of somebody who is no member yet and has nobody to compare with.
func (m *Machine) lapsed(by *item) bool {
	return by != nil && m.now.Sub(by.when(m.now)) > keyPackageLifetime
}

// commit makes the child, keeps its keys and appends the COMMIT: all in one
// transaction, before anything is published.
func (m *Machine) commit(now time.Time, n *node, e Epoch, d difference) error {
	change := Change{
		Now: now, Signer: m.own.Signer, Removes: d.removes, JoinSecrets: m.joinSecrets(n.generation), Check: m.checkCredential,
	}
	change.Adds = d.adds
	// The key for transport keys is renewed with the others.
	var transport []byte
	if m.timers.due(now, timerUpdate) {
		transport = make([]byte, len(m.own.Transport))
		if _, err := io.ReadFull(m.cfg.Rand, transport); err != nil {
			return fmt.Errorf("drawing a key for transport keys: %w", err)
		}
		change.Credential = m.credentialWith(transport)
	}
	c, err := e.Commit(m.cfg.Rand, change)
	if err != nil && len(change.Adds) > 0 {
		// One KeyPackage that cannot be used must not keep all others out, nor
		// anybody in: what each of them alone makes impossible is left out from now on.
		change.Adds = nil
		for _, kp := range d.adds {
			one := change
			one.Adds = append(slices.Clone(change.Adds), kp)
			if _, err := e.Commit(m.cfg.Rand, one); err != nil {
				m.unusable[sha256.Sum256(kp)] = true
				continue
			}
			change = one
		}
		m.diff = nil
		return fmt.Errorf("%w: %w", errLeftOut, err)
	}
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	child := wire.EpochIDOf(m.group, n.generation, n.number+1, c.Epoch.Interim())
	it, err := m.append(now, wire.KindCommit, &wire.Commit{Parent: n.id, Child: child, Commit: c.Commit, Welcome: c.Welcome, Ops: d.ops, Rejoins: d.rejoins})
	if err != nil {
		return err
	}
	m.hold(now, child, n.generation, c.Epoch, e)
	if transport != nil {
		m.replaceTransport(now, transport)
	}
	m.lostUpdate = false
	if m.unfinished = (wire.EpochID{}); d.more {
		m.unfinished = child
	}
	m.moved(now, n, m.tree.nodes[it.commit.Child])
	return nil
}

func unhex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: key %q", ErrCorrupt, s)
	}
	return b, nil
}
