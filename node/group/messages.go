package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// messages are the messages as this device has them: which it must still read, which it
// has delivered to people, which of its own it must still seal, and the seals that wait.
type messages struct {
	records

	tx       *tx
	timers   *timers
	tree     *epochs.Tree
	own      *ownState
	engine   engine.Engine
	rand     io.Reader
	read     reader
	epochs   *epochStore
	receipts *receipts

	gaps      gaps
	owing     owing
	delivered map[int]uint64   // by branch: up to this seq nothing is left to deliver; not durable
	outbox    []wire.MessageID // own, not sealed on the chosen chain, by seq
	kept      keptSeals        // at hand, to be served
	tried     attempts         // of messages whose seals came and cannot be opened here
	early     early            // seals whose RECORDs are not in the set
	waiting   waitingSeals     // seals whose epoch's keys may still come
	deferred  deferredMessages
	ratchets  ratchets
	reseal    reseal
	sayings   *sayings
}

// deferredMessages is what waits for a turn with room. It is not durable: others bring
// seals again, and what was to be delivered is found again.
type deferredMessages struct {
	seals    []rawSeal          // the keys of their epoch are here
	branches map[int]bool       // with messages to deliver: there was no room, or what held them up was taken away
	words    map[*dag.Item]bool // what is said of these has to be judged again: they were shown, or words about them were erased
}

// newMessages makes them of what they work on; what is not given here is set before load.
func newMessages(r records, t *tx, timers *timers, tree *epochs.Tree, epochs *epochStore) *messages {
	m := &messages{
		records: r, tx: t, timers: timers, tree: tree, epochs: epochs,
		gaps: newGaps(), owing: newOwing(r.logs), delivered: map[int]uint64{},
		kept: newKeptSeals(r, t, timers), tried: attempts{},
		early: newEarly(), waiting: newWaitingSeals(), deferred: deferredMessages{branches: map[int]bool{}, words: map[*dag.Item]bool{}},
		ratchets: newRatchets(), reseal: newReseal(r, t, timers, tree),
		sayings: newSayings(r, t, timers),
	}
	m.sayings.erased, m.sayings.hidden = forgets(m), func(it *dag.Item) {
		if it.Facts.Has(dag.IsTaken) {
			m.gaps.remove(it.Hash)
			letPass(m, it)
		}
		m.deferred.words[it] = true
	}
	m.owing.earlier = newEarlier(r, t, m.sayings)
	m.owing.earlier.keep, m.owing.earlier.again = m.keepPlain, func(now time.Time, it *dag.Item) {
		waited, owed := m.gaps.has(it.Hash), m.judge(now, it)
		if owed {
			m.delivered[int(it.List)] = min(m.delivered[int(it.List)], it.Seq-1) // it was passed over as moot
		}
		if owed || waited {
			letPass(m, it)
		}
	}
	m.sayings.judged = m.owing.earlier.changed
	epochs.gained = m.tried.forget
	epochs.lost = func(id wire.EpochID) { m.waiting.take(id) } // nothing opens them any more
	return m
}

// forgets has a message forgotten by all that would still seal, open or ask for it. A seal of
// it that waits for keys is not opened any more, and one that this turn made does not go out.
func forgets(m *messages) func(*dag.Item) {
	return func(it *dag.Item) {
		m.gaps.remove(it.Hash)
		letPass(m, it)
		if target := aboutWhat(m.sayings, it); target != nil && !isErased(target) {
			m.deferred.words[target] = true
		}
		delete(m.tried, it.Hash)
		delete(m.owing.unheard, it)
		for _, gaps := range m.reseal.planned {
			delete(gaps, it.Hash)
		}
		m.outbox = slices.DeleteFunc(m.outbox, func(o wire.MessageID) bool { return o == it.Hash })
		m.tx.outgoing.unseal(it.Hash)
	}
}

// letPass has the messages of a log looked at again that one of them holds up no more, since it
// was taken away, or holds up now, since it is owed after all.
func letPass(m *messages, it *dag.Item) {
	for _, i := range m.logs.Index[it.Log] {
		m.deferred.branches[i] = true
	}
}

// load notes what is durable of messages, in their items.
func (m *messages) load(d durableMessages) {
	for _, id := range d.plain {
		if it := m.record(id); it != nil {
			it.Note(dag.IsPlain)
			it.Body = dag.Unsealed
		}
	}
	for _, id := range d.delivered {
		if it := m.record(id); it != nil {
			it.Note(dag.IsDelivered)
		}
	}
	for _, id := range d.earlier {
		if it := m.record(id); it != nil {
			it.Note(dag.IsEarlier)
		}
	}
	m.sayings.load(d)
	for id, n := range d.seals {
		if it := m.record(id); it != nil {
			it.Seals = n
		}
	}
	for id, epochs := range d.sealed {
		if it := m.record(id); it != nil {
			for _, epoch := range epochs {
				m.kept.noteSealed(it, epoch)
			}
		}
	}
}

// accept keeps a message that this device wrote, given as wire.Opened, encoded. It is
// sealed as soon as it may be.
func (m *messages) accept(now time.Time, it *dag.Item, r *wire.Record, opened []byte) {
	m.owing.earlier.came(it, r)
	m.sayings.arrived(now, it, r)
	if isErased(it) {
		return // it is about a message that is no more
	}
	m.keepPlain(it, opened)
	m.outbox = append(m.outbox, it.Hash)
	m.sayings.came(now, it)
	m.deliver(now, it.Log)
}

// keepPlain keeps a message's wire.Opened, encoded.
func (m *messages) keepPlain(it *dag.Item, opened []byte) {
	m.tx.put(rowPlain+hexed(it.Hash[:]), opened)
	it.Note(dag.IsPlain)
	clear(m.sayings.unread)
	it.Body = dag.Unsealed
	m.gaps.remove(it.Hash)
	delete(m.tried, it.Hash)
}

// arrived notes a RECORD that came into the set.
func (m *messages) arrived(now time.Time, it *dag.Item) {
	m.early.arrived(it.Hash)
	m.owing.earlier.came(it, it.Record)
	m.sayings.arrived(now, it, it.Record)
	m.judge(now, it)
	m.deliver(now, it.Log)
}

// judge says whether a message is owed to this device, and notes the gap if it is.
func (m *messages) judge(now time.Time, it *dag.Item) bool {
	switch {
	case !m.couldBeOwed(it) || m.sayings.isMoot(it):
		m.gaps.remove(it.Hash)
	case !m.rosters.now.Stands(it):
		m.gaps.remove(it.Hash)
		m.owing.unheard[it] = true
	default:
		delete(m.owing.unheard, it)
		if !m.gaps.has(it.Hash) && !it.Facts.Has(dag.IsDelivered|dag.IsPlain) {
			m.gap(now, it)
		}
		return true
	}
	return false
}

// gap notes a message owed to this device that it cannot read yet.
func (m *messages) gap(now time.Time, it *dag.Item) {
	m.gaps.add(it)
	m.timers.sooner(timerBeacon, now.Add(gapWait))
}

// refreshOwed goes through all RECORDs after the roster changed, and otherwise through those
// of which an entry may show that they are owed.
func (m *messages) refreshOwed(now time.Time) {
	switch {
	case m.owing.stale:
		m.owing.witnessed = false
		m.owing.earlier.changed()
		m.owing.stale = m.owing.earlier.adoptAll(now)
		m.sayings.judgeAgain(now)
		clear(m.owing.unheard)
		for it := range m.all() {
			if !it.Facts.Has(dag.IsDelivered) {
				m.judge(now, it)
			}
		}
		clear(m.delivered) // this device's join point may lie elsewhere now
		for i := range m.logs.Lists {
			m.deliverBranch(now, i)
		}
	case m.owing.witnessed:
		m.owing.witnessed = false
		m.owing.earlier.changed()
		m.sayings.judgeAgain(now) // a deletion may be owed now
		branches := map[int]bool{}
		for it := range m.owing.unheard {
			if m.judge(now, it) {
				branches[m.logs.Index[it.Log][0]] = true
			}
		}
		for _, i := range slices.Sorted(maps.Keys(branches)) {
			m.deliver(now, m.logs.Lists[i].ID)
		}
	}
}

// deliver tells people of the RECORDs of a log that can be read now, in their
// author's order. A RECORD that is owed and missing holds back those after it. One
// that is not owed now may be later, when more of the roster is known: it is
// passed over and looked at again.
func (m *messages) deliver(now time.Time, log wire.LogID) {
	for _, i := range m.logs.Index[log] {
		m.deliverBranch(now, i)
	}
}

func (m *messages) deliverBranch(now time.Time, i int) {
	list := m.logs.Lists[i]
	for it := range m.logs.Before(list) {
		if it.Seq <= m.delivered[int(it.List)] {
			break
		}
		if _, owed := m.mootOrOwed(it); owed && it.Kind == wire.KindRecord && !it.Facts.Has(dag.IsDelivered) {
			return // in its author's order it comes first
		}
	}
	settled := true
	upTo := max(m.delivered[i], list.From)
	for _, it := range list.Items[upTo-list.From:] {
		if it.Kind == wire.KindRecord && !it.Facts.Has(dag.IsDelivered) {
			moot, owed := m.mootOrOwed(it)
			switch {
			case owed && it.Facts.Has(dag.IsPlain) && m.tx.full():
				m.delivered[i], m.deferred.branches[i] = upTo, true
				return
			case owed && it.Facts.Has(dag.IsPlain):
				it.Note(dag.IsDelivered)
				m.receipts.plan(now, i, it)
				m.sayings.tell(now, it)
				if m.sayings.targets[it.Hash] {
					m.deferred.words[it] = true
				}
			case m.beforeJoinPoint(it), moot, !owed && !m.maySpeak(it):
			case owed:
				m.delivered[i] = upTo
				return
			default:
				settled = false
			}
		}
		if settled {
			upTo = it.Seq
		}
	}
	m.delivered[i] = upTo
}

// mootOrOwed says whether a message has nothing to say any more, and whether it is owed here.
func (m *messages) mootOrOwed(it *dag.Item) (moot, owed bool) {
	moot = !m.beforeJoinPoint(it) && m.sayings.isMoot(it)
	return moot, it.Log == *m.self || m.owed(it) && !moot
}

// deliveredTo gives the last entry of a branch up to which nothing is left to deliver; nil:
// none.
func (m *messages) deliveredTo(branch int) *dag.Item {
	return m.logs.Lists[branch].At(m.delivered[branch])
}

// goOn goes on with what did not fit into the last turn.
func (m *messages) goOn(now time.Time) {
	for len(m.deferred.seals) > 0 && !m.tx.full() {
		s := m.deferred.seals[0]
		m.deferred.seals = m.deferred.seals[1:]
		m.openLate(now, s)
	}
	deliverDeferred(m, now)
}

// deliverDeferred delivers what did not fit into the last turn, what was behind a message that
// was taken away in this one, and what turned out to be owed.
func deliverDeferred(m *messages, now time.Time) {
	for len(m.deferred.branches)+len(m.deferred.words) > 0 { // what is delivered can show that more is owed
		for _, it := range slices.SortedFunc(maps.Keys(m.deferred.words), (*dag.Item).Compare) {
			delete(m.deferred.words, it)
			m.tx.fail(m.owing.earlier.judgeAgain(now, it, mootDepth))
		}
		for _, i := range slices.Sorted(maps.Keys(m.deferred.branches)) {
			if m.tx.full() {
				return
			}
			delete(m.deferred.branches, i)
			m.deliver(now, m.logs.Lists[i].ID)
		}
	}
}

// lacks lists the messages owed to this device without plaintext, oldest first.
func (m *messages) lacks() []wire.MessageID {
	return m.gaps.all()
}

// wants lists those that this device asks others for. Seals that came before and that it
// has no keys for it asks for again after a while, longer each time.
func (m *messages) wants(now time.Time) []wire.MessageID {
	return m.gaps.wanted(now, func(id wire.MessageID) bool { return m.tried.waits(now, id) })
}

// requeue finds the own RECORDs that no seal of this device covers on the chain
// to n: they are sealed again.
func (m *messages) requeue(n *epochs.Node) {
	on := map[wire.EpochID]bool{}
	for a := n; a != nil; a = a.Parent {
		on[a.ID] = true
	}
	m.outbox = m.outbox[:0]
	for it := range m.all() {
		if it.Log.Device != m.self.Device || !it.Facts.Has(dag.IsPlain) || it.Facts.Has(dag.IsEarlier) {
			continue
		}
		if !slices.ContainsFunc(it.Sealed, func(e wire.EpochID) bool { return on[e] }) {
			m.outbox = append(m.outbox, it.Hash)
		}
	}
	slices.SortFunc(m.outbox, m.byTime)
}

// handedOver says whether a device of another user can read all that this device wrote: it
// is sealed on the chosen chain, which this device can get to, and one of them has said so.
func (m *messages) handedOver(user wire.UserID, reachable bool) bool {
	last := map[int32]*dag.Item{} // by branch
	for it := range m.all() {
		if o := last[it.List]; it.Log.Device == m.self.Device && it.Facts.Has(dag.IsPlain) && !it.Facts.Has(dag.IsEarlier) && (o == nil || o.Seq < it.Seq) {
			last[it.List] = it
		}
	}
	if len(last) == 0 || m.rosters.now.Size() == 1 {
		return true
	}
	return len(m.outbox) == 0 && reachable && m.receipts.handedOver(user, slices.Collect(maps.Values(last)))
}

// sealOutbox seals what waits, under the epoch at n.
func (m *messages) sealOutbox(n *epochs.Node, e engine.Epoch) {
	sealed := 0
	for ; sealed < len(m.outbox) && !m.tx.full(); sealed++ {
		m.seal(n, e, m.outbox[sealed])
	}
	m.outbox = slices.Delete(m.outbox, 0, sealed)
}

// seal makes a seal of a message held in plaintext.
func (m *messages) seal(n *epochs.Node, e engine.Epoch, id wire.MessageID) {
	plain, err := m.tx.get(rowPlain + hexed(id[:]))
	if err != nil || plain == nil {
		m.tx.fail(errors.Join(err, fmt.Errorf("%w: message %v has no plaintext", verdict.ErrCorrupt, id)))
		return
	}
	message, rows, err := e.Seal(m.rand, m.own.Signer, id[:], plain)
	if err != nil {
		m.tx.fail(fmt.Errorf("sealing: %w", err))
		return
	}
	s := &wire.Seal{Message: id, Epoch: n.ID, Sealer: m.self.Device, PrivateMessage: message}
	m.epochs.putKeys(n.ID, rows)
	raw := wire.Marshal(s)
	m.kept.keep(s, raw)
	m.tx.outgoing.Seals = append(m.tx.outgoing.Seals, raw)
	m.tx.outgoing.sealed = append(m.tx.outgoing.sealed, id)
	m.kept.noteSealed(m.record(id), n.ID)
}

// takeSeals opens seals; the errors of those refused come joined.
func (m *messages) takeSeals(now time.Time, seals []rawSeal) (Outcome, error) {
	var out Outcome
	var errs []error
	for _, s := range seals {
		fresh, err := m.takeSeal(now, s)
		if fresh {
			out.New++
		}
		if known, e := m.tx.get(sealKey(s.Seal)); fresh || err == nil && e == nil && known == nil && s.Sealer != m.self.Device {
			out.News++ // others may need one that is of no use here
		}
		if m.readable(s.Message) && err == nil {
			out.Messages = append(out.Messages, s.Message)
		}
		if err != nil {
			errs = append(errs, err)
			out.Verdict = max(out.Verdict, verdict.Of(err))
		}
	}
	return out, errors.Join(errs...)
}

// takeSeal opens a seal, keeps it for those who ask later, and delivers what it held.
func (m *messages) takeSeal(now time.Time, s rawSeal) (bool, error) {
	what := func(err error) error { return fmt.Errorf("seal of message %v: %w", s.Message, err) }
	it := m.record(s.Message)
	if it != nil && s.Sealer == m.self.Device {
		return false, nil // one's own; what was sealed is in plaintext here
	}
	if aad, err := m.engine.InspectMessage(s.PrivateMessage); err != nil || !bytes.Equal(aad, s.Message[:]) {
		// Seen before its key is used up: somebody put another label on it.
		return false, what(fmt.Errorf("%w: it was sealed for another message", errors.Join(verdict.ErrForged, err)))
	}
	if it == nil {
		if m.early.take(m.logs.Parking.Entries[s.Message], s) {
			return false, nil
		}
		return false, what(fmt.Errorf("%w: its record", verdict.ErrIncomplete))
	}
	if it.Facts.Has(dag.IsTaken) {
		return false, nil // it was deleted: nobody wants it back
	}
	known, err := m.tx.get(sealKey(s.Seal))
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	switch {
	case known != nil:
		return false, nil
	case it.Seals >= maxSealsPerMsg:
		return false, what(verdict.ErrFull)
	}
	e, err := m.epochs.whole(s.Epoch)
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	if e == nil {
		if it.Facts.Has(dag.IsPlain) || m.beforeJoinPoint(it) {
			return false, nil // nothing that this device lacks, or may have
		}
		m.tried.inVain(now, s.Message)
		return false, what(m.noEpoch(s))
	}
	commitment, err := m.read.commitment(it)
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	o, rows, err := e.Open(s.PrivateMessage)
	if err != nil {
		m.noteOutOfReach(now, s, err)
		return false, what(err)
	}
	// The key is used up from here on, whatever the message turns out to be.
	m.epochs.putKeys(s.Epoch, rows)
	sealer, err := m.checkOpened(e, commitment, s.Epoch, o)
	if err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Message: s.Message, Device: s.Sealer, Detail: err.Error()})
		return false, what(err)
	}
	m.ratchets.inReach(sealer)
	if sealer != s.Sealer { // a wrong label must not cost the message its key
		s.Seal = &wire.Seal{Message: s.Message, Epoch: s.Epoch, Sealer: sealer, PrivateMessage: s.PrivateMessage}
		s.raw = wire.Marshal(s.Seal)
	}
	m.kept.keep(s.Seal, s.raw)
	m.reseal.came(now, s.Message)
	if !it.Facts.Has(dag.IsPlain) {
		m.keepPlain(it, o.Plaintext)
		m.sayings.came(now, it)
		if m.beforeJoinPoint(it) {
			m.owing.earlier.adopt(now, it)
			m.tx.fail(m.owing.earlier.judgeWords(now, it))
		}
		m.delivered[int(it.List)] = min(m.delivered[int(it.List)], it.Seq-1) // it may have been passed over as moot
		m.deliver(now, it.Log)
	}
	return true, nil
}

// checkOpened checks the content of a seal, and returns the sealer that MLS proves,
// whatever the label says.
func (m *messages) checkOpened(e engine.Epoch, commitment wire.Hash, id wire.EpochID, o engine.OpenedMessage) (wire.DeviceID, error) {
	sealer, err := m.epochs.sender(id, e, o.Sender)
	if err != nil {
		return sealer, err
	}
	opened, err := wire.DecodeOpened(o.Plaintext)
	if err != nil {
		return sealer, err
	}
	if !opened.Fits(commitment) {
		return sealer, fmt.Errorf("%w: it is not what the record committed to", verdict.ErrForged)
	}
	return sealer, nil
}

// noEpoch says why a seal cannot be opened and keeps it if it may be later.
func (m *messages) noEpoch(s rawSeal) error {
	if m.own.Out {
		return verdict.ErrRemoved
	}
	if m.epochs.has(s.Epoch) {
		return verdict.ErrNoEpoch // its message keys are destroyed: a gap, if nobody seals it again
	}
	m.waiting.keep(s, m.tree.Nodes[s.Epoch] != nil)
	return verdict.ErrNoEpoch
}

// openWaiting opens the seals that came before the keys of their epoch.
func (m *messages) openWaiting(now time.Time, id wire.EpochID) {
	for _, s := range m.waiting.take(id) {
		m.openLate(now, s)
	}
}

// openLate opens a seal that came before the keys of its epoch, or, in a turn that
// is full, does so later.
func (m *messages) openLate(now time.Time, s rawSeal) {
	if m.tx.full() {
		m.deferred.seals = append(m.deferred.seals, s)
		return
	}
	if _, err := m.takeSeal(now, s); err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Message: s.Message, Device: s.Sealer, Detail: err.Error()})
	}
}

// openEarly opens the seals whose records have come. One that does not open was never
// counted on.
func (m *messages) openEarly(now time.Time) {
	seals := m.early.opened
	m.early.opened = nil
	for _, s := range seals {
		if m.tx.full() {
			m.deferred.seals = append(m.deferred.seals, s)
			continue
		}
		_, _ = m.takeSeal(now, s)
	}
}

// noteOutOfReach notes that a seal of a message owed to this device, under the epoch that
// it is at, did not open for want of the key.
func (m *messages) noteOutOfReach(now time.Time, s rawSeal, err error) {
	if s.Epoch != m.own.Position || !m.gaps.has(s.Message) || !errors.Is(err, verdict.ErrUsed) && !errors.Is(err, verdict.ErrIncomplete) {
		return
	}
	if !m.rosters.now.Has(s.Sealer) {
		return // anybody can make up labels
	}
	m.tried.inVain(now, s.Message)
	m.ratchets.note(now, s.Sealer)
}

// ratchetOutOfReach says whether it is time to renew the keys because of that, and sets the
// timer for when it will be. rank is this device's, as Machine.rank has it.
func (m *messages) ratchetOutOfReach(now time.Time, rank func() time.Duration) bool {
	if len(m.gaps.of) == 0 {
		m.ratchets.restart() // somebody else has filled them
	}
	m.timers.stop(timerRatchet)
	for _, since := range m.ratchets.since {
		// Not all devices that it befalls do so at once: one new epoch helps everybody.
		m.timers.sooner(timerRatchet, since.Add(outOfReachAfter+rank()*rankStep))
	}
	if again := m.ratchets.renewed.Add(renewAgainAfter); m.timers.running(timerRatchet) && m.timers.at(timerRatchet).Before(again) {
		m.timers.set(timerRatchet, again)
	}
	return m.timers.due(now, timerRatchet)
}
