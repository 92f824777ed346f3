package group

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// earlier is about messages from before a device came in. They are not sealed for it, and
// owed to nobody: whether anybody who comes has them depends on who is there and what was
// deleted, so nothing waits for them. By the group's setting a newcomer asks members for
// them, any member gives what it has in plaintext, and each is checked against its RECORD.
//
// A message is given if the setting is not "none" now, and was not when the message was
// written: nobody's words are shown to strangers that were written when none were to come.
// Edits and reactions go with their message. A deletion is given whatever the setting is: a
// device that was out when a message was deleted has to hear of it, and it holds no text.
type earlier struct {
	records

	tx       *tx
	read     reader
	sayings  *sayings
	keep     func(*dag.Item, []byte)           // keepPlain of messages
	again    func(now time.Time, i *dag.Item)  // judges a RECORD again that is about such a message
	windows  map[wire.EntryHash]*window        // by the addition of a device
	wanted   [2][]wire.MessageID               // what this device asks for, oldest first: what is about others, and others
	asks     map[wire.MessageID]bool           // the same
	said     map[wire.MessageID]wire.MessageID // the RECORDs that are about others; nil: they are to be looked up
	computed bool                              // wanted is what it would be now
}

// window is what a device that came in by an addition may have of what was before.
type window struct {
	none bool      // nothing but deletions
	from *dag.Item // the oldest message; nil: there is none that is older than the window
}

// SettingHistory is the setting that says how many messages newcomers are shown of those
// that were written before: historyNone, historyAll, or a number.
const SettingHistory = "history"

// Values of SettingHistory.
const (
	historyNone = "none"
	historyAll  = "all"
)

// MaxHistory is the highest number that SettingHistory can have.
const MaxHistory = 1_000_000

// Bounds of what is looked at, whatever members do.
const (
	maxPolicies = 64  // the newest changes of the setting
	maxGiven    = 512 // messages in one input
)

// HistoryOf reads a value of SettingHistory: how many messages; -1: all.
func HistoryOf(value string) (n int, ok bool) {
	switch value {
	case "", historyNone:
		return 0, true
	case historyAll:
		return -1, true
	}
	n, err := strconv.Atoi(value)
	return n, err == nil && n > 0 && n <= MaxHistory && strconv.Itoa(n) == value
}

func newEarlier(r records, t *tx, s *sayings) *earlier {
	return &earlier{records: r, tx: t, sayings: s, windows: map[wire.EntryHash]*window{}}
}

// changed notes that others may be wanted, or given.
func (e *earlier) changed() {
	e.computed = false
	clear(e.windows)
}

// policies are the changes of the setting that count, in their order.
func (e *earlier) policies() (out []*dag.Item) {
	for _, op := range e.logs.Ops {
		if s := op.Op; s != nil && s.Type == wire.OpSetting && s.Setting.Key == SettingHistory && e.rosters.now.Counts(op) {
			out = append(out, op)
		}
	}
	slices.SortFunc(out, (*dag.Item).Compare)
	return out[max(0, len(out)-maxPolicies):]
}

// open says whether newcomers were to be shown something when a message was written: by the
// setting as its author knew it.
func (e *earlier) open(policies []*dag.Item, it *dag.Item) bool {
	var held []*dag.Item // those that no other has in its past
	for _, p := range slices.Backward(policies) {
		if e.logs.InPast(p, it) && !slices.ContainsFunc(held, func(top *dag.Item) bool { return e.logs.InPast(p, top) }) {
			held = append(held, p)
		}
	}
	if len(held) == 0 {
		return false
	}
	last := slices.MaxFunc(held, func(a, b *dag.Item) int {
		return cmp.Or(cmp.Compare(a.Op.Setting.HLC, b.Op.Setting.HLC), bytes.Compare(a.Hash[:], b.Hash[:]))
	})
	n, ok := HistoryOf(last.Op.Setting.Value)
	return ok && n != 0
}

// windowOf finds what a device that came in by an addition may have; words are the RECORDs
// that are about others.
func (e *earlier) windowOf(by *dag.Item, words map[wire.MessageID]wire.MessageID) *window {
	if w := e.windows[by.Hash]; w != nil {
		return w
	}
	w := &window{}
	n, ok := HistoryOf(e.rosters.now.Setting(SettingHistory))
	w.none = !ok || n == 0
	if n > 0 && ok {
		policies := e.policies()
		var all []*dag.Item
		for it := range e.all() {
			if _, isWord := words[it.Hash]; !isWord && e.given(it, by) && !it.Facts.Has(dag.IsTaken) && e.open(policies, it) {
				all = append(all, it)
			}
		}
		slices.SortFunc(all, (*dag.Item).Compare)
		if len(all) > n {
			w.from = all[len(all)-n]
		}
	}
	e.windows[by.Hash] = w
	return w
}

// has says whether a message that is about no other may be given.
func (w *window) has(it *dag.Item, open func(*dag.Item) bool) bool {
	return !w.none && !it.Facts.Has(dag.IsTaken) && (w.from == nil || it.Compare(w.from) >= 0) && open(it)
}

// given says whether a RECORD is one that a device which came in by an addition could be
// given: it lies before that, and is a message of the group.
func (e *earlier) given(it, by *dag.Item) bool {
	return e.logs.InPast(it, by) && e.logs.Counts(it) && e.maySpeak(it) && e.rosters.now.Stands(it)
}

// words are the RECORDs that say that they are about others, with what they are about.
func (e *earlier) words() map[wire.MessageID]wire.MessageID {
	if e.said != nil {
		return e.said
	}
	e.said = map[wire.MessageID]wire.MessageID{}
	e.tx.fail(e.tx.scanKeys(rowAbout, func(key string) error {
		if !strings.Contains(key, "/"+saysRecord+"/") {
			return nil
		}
		target, err := targetOf(key)
		if err != nil {
			return err
		}
		id, err := lastHex(key)
		e.said[wire.MessageID(id)] = target
		return err
	}))
	return e.said
}

// came takes a RECORD that came into the set. No window changes by it: what lies before an
// addition came before that.
func (e *earlier) came(it *dag.Item, r *wire.Record) {
	if e.said != nil && r != nil && r.About != nil {
		e.said[it.Hash] = *r.About
	}
}

// rootOf follows what a RECORD is about to a message that is about no other; nil: that is not
// here.
func (e *earlier) rootOf(it *dag.Item, words map[wire.MessageID]wire.MessageID) *dag.Item {
	for range mootDepth {
		target, isWord := words[it.Hash]
		if !isWord {
			return it
		}
		if it = e.record(target); it == nil {
			return nil
		}
	}
	return nil
}

// compute finds what this device asks others for, oldest first.
func (e *earlier) compute() {
	if e.computed {
		return
	}
	e.wanted, e.asks, e.computed = [2][]wire.MessageID{}, map[wire.MessageID]bool{}, true
	me := e.rosters.now.Device(e.self.Device)
	if me == nil || me.By == nil {
		return
	}
	words := e.words()
	w, useful := e.windowOf(me.By, words), e.useful(me.By, words)
	ask := func(it *dag.Item) {
		if it == nil || it.Facts.Has(dag.IsDelivered|dag.IsPlain|dag.IsTaken) || !useful(it) {
			return
		}
		list := 1
		if _, isWord := words[it.Hash]; isWord {
			list = 0
		}
		e.wanted[list], e.asks[it.Hash] = append(e.wanted[list], it.Hash), true
	}
	if w.none {
		for id := range words { // what may have become of messages that are shown here
			ask(e.record(id))
		}
	} else {
		for it := range e.all() {
			ask(it)
		}
	}
	for _, list := range e.wanted {
		slices.SortFunc(list, e.byTime)
	}
}

// useful says of messages whether this device, which came in by an addition, may have them and
// has a use for them: what is about a message that is shown here, and what its window has.
func (e *earlier) useful(by *dag.Item, words map[wire.MessageID]wire.MessageID) func(*dag.Item) bool {
	w, policies := e.windowOf(by, words), e.policies()
	open := func(it *dag.Item) bool { return e.open(policies, it) }
	return func(it *dag.Item) bool {
		root := e.rootOf(it, words)
		switch {
		case root == nil, !e.given(it, by), root.Facts.Has(dag.IsTaken):
			return false
		case root.Facts.Has(dag.IsDelivered):
			return true
		}
		return e.given(root, by) && w.has(root, open)
	}
}

// adoptAll adopts what is here from before this device came in, and says whether some is left
// for another turn.
func (e *earlier) adoptAll(now time.Time) (left bool) {
	var here []*dag.Item
	for it := range e.all() {
		if it.Facts.Has(dag.IsPlain) && !it.Facts.Has(dag.IsDelivered|dag.IsTaken) && e.beforeJoinPoint(it) {
			here = append(here, it)
		}
	}
	slices.SortFunc(here, (*dag.Item).Compare)
	return e.adopt(now, here...)
}

// adopt takes messages that this device has in plaintext, from before it came in, as if they
// had been given: it could read them while it was out, or by a key of before. Nobody owes it
// those, and it asks nobody for what is here. A deletion that did not count would leave a
// message that all others erased, and wait for words about that for ever.
func (e *earlier) adopt(now time.Time, here ...*dag.Item) (left bool) {
	me := e.rosters.now.Device(e.self.Device)
	if me == nil || me.By == nil || len(here) == 0 {
		return false
	}
	words := e.words()
	useful := e.useful(me.By, words)
	for _, it := range here {
		if !useful(it) {
			continue
		}
		if e.tx.full() {
			return true
		}
		raw, err := e.tx.get(rowPlain + hexed(it.Hash[:]))
		if err == nil {
			err = e.take(now, it, raw, words)
		}
		if err != nil && !errors.Is(err, verdict.ErrNotPermitted) {
			e.tx.fail(err)
		}
	}
	return false
}

// wants lists messages that this device asks others for, but those to be skipped: the oldest of
// those that are about others, and if there are none, of the others.
func (e *earlier) wants(skip func(wire.MessageID) bool, most int) (out []wire.MessageID) {
	e.compute()
	here := func(id wire.MessageID) bool {
		return e.record(id).Facts.Has(dag.IsDelivered | dag.IsPlain | dag.IsTaken)
	}
	for i := range e.wanted {
		for len(e.wanted[i]) > 0 && here(e.wanted[i][0]) {
			e.wanted[i] = e.wanted[i][1:] // they come in this order
		}
		for _, id := range e.wanted[i] {
			if !here(id) && !skip(id) {
				if out = append(out, id); len(out) == most {
					return out
				}
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return out
}

// giveTo gives messages from before a device came in, of those that it asks for: what it
// may have and is in plaintext here, with all that is said of it.
func (e *earlier) giveTo(now time.Time, device wire.DeviceID, ids []wire.MessageID) (out []wire.Earlier, err error) {
	in := e.rosters.now.Device(device)
	if in == nil || in.By == nil || len(ids) == 0 {
		return nil, nil
	}
	words := e.words()
	w, policies := e.windowOf(in.By, words), e.policies()
	open := func(it *dag.Item) bool { return e.open(policies, it) }
	for _, id := range ids {
		it := e.record(id)
		if it == nil || !it.Facts.Has(dag.IsPlain) || it.Facts.Has(dag.IsTaken) || !e.given(it, in.By) {
			continue
		}
		root := e.rootOf(it, words)
		deletes, err := e.deletes(it, words)
		switch {
		case err != nil:
			return nil, err
		case deletes:
		case root == nil, !e.given(root, in.By), !root.Facts.Has(dag.IsPlain), !w.has(root, open), e.over(now, root), e.unread(root):
			continue
		}
		opened, err := e.tx.get(rowPlain + hexed(id[:]))
		if err == nil && opened == nil {
			err = fmt.Errorf("%w: message %v has no plaintext", verdict.ErrCorrupt, id)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, wire.Earlier{Message: id, Opened: opened})
	}
	return out, nil
}

// over says whether the time of a message has come, though it is not erased yet.
func (e *earlier) over(now time.Time, it *dag.Item) bool {
	at := e.sayings.expiring.at[it.Hash]
	return at != 0 && e.sayings.expiring.over(now, at)
}

// unread says whether something is said of a message that cannot be read here: it may be its
// deletion.
func (e *earlier) unread(it *dag.Item) (unread bool) {
	if !e.sayings.targets[it.Hash] {
		return false
	}
	e.tx.fail(e.tx.scanKeys(aboutKey(it.Hash, saysRecord), func(key string) error {
		id, err := lastHex(key)
		if o := e.record(wire.MessageID(id)); err == nil && o != nil {
			unread = unread || !o.Facts.Has(dag.IsPlain) && !o.Facts.Has(dag.IsTaken) && e.logs.Counts(o) && e.maySpeak(o) && e.rosters.now.Stands(o)
		}
		return err
	}))
	return unread
}

// deletes says whether a message that is in plaintext here deletes another.
func (e *earlier) deletes(it *dag.Item, words map[wire.MessageID]wire.MessageID) (bool, error) {
	if _, isWord := words[it.Hash]; !isWord {
		return false, nil
	}
	r, err := e.sayings.read(it)
	return err == nil && saysOnly(r, saysDelete), err
}

func saysOnly(r readOut, what string) bool {
	all := says(r.said)
	return len(all) == 1 && all[0].what == what
}

// takeAll takes the answer of a device.
func (e *earlier) takeAll(now time.Time, from wire.DeviceID, messages []wire.Earlier, out *Outcome) error {
	if !e.rosters.now.Has(from) {
		return fmt.Errorf("earlier messages: %w", verdict.ErrNotMember)
	}
	e.compute()
	words := e.words()
	var errs []error
	var read []*dag.Item
	for _, piece := range messages[:min(len(messages), maxGiven)] {
		if e.tx.full() {
			break // it asks again
		}
		it := e.record(piece.Message)
		if it == nil || !e.asks[piece.Message] || it.Facts.Has(dag.IsDelivered|dag.IsPlain|dag.IsTaken) {
			continue // not asked for, or here by now
		}
		if err := e.take(now, it, piece.Opened, words); err != nil {
			out.Verdict = max(out.Verdict, verdict.Of(err))
			errs = append(errs, fmt.Errorf("message %v: %w", piece.Message, err))
			continue
		}
		read = append(read, it)
		out.New++
		out.Messages = append(out.Messages, piece.Message)
	}
	e.tx.fail(e.judgeWords(now, read...))
	return errors.Join(errs...)
}

// take takes one message.
func (e *earlier) take(now time.Time, it *dag.Item, raw []byte, words map[wire.MessageID]wire.MessageID) error {
	opened, err := wire.DecodeOpened(raw)
	if err != nil {
		return err
	}
	commitment, err := e.read.commitment(it)
	if err != nil {
		e.tx.fail(err)
		return err
	}
	if !opened.Fits(commitment) {
		return fmt.Errorf("%w: it is not what the record committed to", verdict.ErrForged)
	}
	if _, isWord := words[it.Hash]; isWord {
		r, err := readOpened(raw)
		if err != nil {
			return err
		}
		me, root := e.rosters.now.Device(e.self.Device), e.rootOf(it, words)
		policies := e.policies()
		shown := root != nil && e.given(root, me.By) && e.windowOf(me.By, words).has(root, func(it *dag.Item) bool { return e.open(policies, it) })
		if !saysOnly(r, saysDelete) && !shown {
			return fmt.Errorf("%w: it is not for newcomers", verdict.ErrNotPermitted)
		}
	}
	e.tx.put(rowEarlier+hexed(it.Hash[:]), []byte{1})
	it.Note(dag.IsEarlier)
	e.keep(it, raw)
	it.Note(dag.IsDelivered) // so that it counts
	e.sayings.came(now, it)
	if isErased(it) {
		return nil
	}
	e.sayings.tell(now, it)
	return nil
}

// judgeWords judges words again for which it matters that messages of before this device came
// in can be read here now: those about them, and others about what they are about. They may
// have been moot, so that nobody was asked for them; now they are owed and hold up their
// authors. Many can be about one message, whose words are looked at once.
func (e *earlier) judgeWords(now time.Time, read ...*dag.Item) error {
	judged := map[wire.MessageID]bool{}
	for _, it := range read {
		if target := aboutWhat(e.sayings, it); target != nil {
			it = target
		}
		if judged[it.Hash] {
			continue
		}
		judged[it.Hash] = true
		if err := e.judgeAgain(now, it, mootDepth); err != nil {
			return err
		}
	}
	return nil
}

// judgeAgain judges the words about a message again, and those about them: whether one is moot
// depends on what is shown and read here of what it is about.
func (e *earlier) judgeAgain(now time.Time, about *dag.Item, depth int) error {
	if !e.sayings.targets[about.Hash] {
		return nil // nothing is said of it
	}
	var words []*dag.Item
	err := e.tx.scanKeys(aboutKey(about.Hash, saysRecord), func(key string) error {
		id, err := lastHex(key)
		if o := e.record(wire.MessageID(id)); err == nil && o != nil {
			words = append(words, o)
		}
		return err
	})
	for _, o := range words {
		if !e.beforeJoinPoint(o) && !o.Facts.Has(dag.IsDelivered) {
			e.again(now, o)
		}
		if err == nil && depth > 0 {
			err = e.judgeAgain(now, o, depth-1)
		}
	}
	return err
}
