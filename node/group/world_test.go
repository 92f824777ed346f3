package group

import (
	"bytes"
	"cmp"
	"container/heap"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/internal/signature"
	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// world runs machines in virtual time: an event heap ordered by (time, sequence),
// links with latency, and syncs as package node does them. It replays exactly.
type world struct {
	t       *testing.T
	now     time.Time
	rand    *rand.ChaCha8
	seq     int
	events  eventHeap
	devices []*device
	group   wire.GroupID
	genesis *identity.Genesis
	gossip  bool // envelopes travel; else only syncs do
	mean    bool // nobody gives messages from before somebody came in
	cut     func(a, b *device) bool
	hold    func(from, to *device, env []byte) bool // true: the envelope stays back
	heard   func(d *device, in Input, err error)    // sees each input, after its Step
	watch   func(d *device, r Ready)                // sees each Ready, before it is carried out
}

type event struct {
	at  time.Time
	seq int
	run func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// TestMain remembers good signatures and collects garbage less often, as the simulator does, but
// where costs are measured.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		signature.Remember(1 << 16)
		debug.SetGCPercent(400)
	}
	m.Run()
}

// memRows is Rows in memory: what was durable.
type memRows map[string][]byte

func (r memRows) Get(key string) ([]byte, error) { return bytes.Clone(r[key]), nil }
func (r memRows) Scan(prefix string, fn func(string, []byte) error) error {
	var keys []string
	for k := range r {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := fn(k, r[k]); err != nil {
			return err
		}
	}
	return nil
}

func (r memRows) ScanKeys(prefix string, fn func(string) error) error {
	return r.Scan(prefix, func(key string, _ []byte) error { return fn(key) })
}

// digest is a canonical hash of everything durable.
func (r memRows) digest() [32]byte {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(h, "%d %s %d ", len(k), k, len(r[k]))
		h.Write(r[k])
	}
	return [32]byte(h.Sum(nil))
}

type device struct {
	w      *world
	name   string
	user   *identity.Key
	log    *identity.Key
	dev    *identity.Device
	rows   memRows
	m      *Machine
	inc    uint64
	skew   time.Duration // of its clock
	kept   time.Time     // that it opens with; zero: its clock
	ends   time.Time     // the same; zero: kept
	engine engine.Engine // that it opens with; nil: that of nodes
	online bool
	shown  []wire.MessageID // as notified, in order
	wake   time.Time
	crash  func(boundary string) bool // asked at each boundary; true: crash there
	down   bool
	last   []byte // newest envelope published
	errs   []error
	peak   int // bytes of the largest transaction
	disk   *disk

	carried map[string]time.Time // requests, encoded, and when they are carried next
}

// request is what the device asks to be let in with; nil: it does not ask.
func (d *device) request() *wire.JoinRequest { return d.m.joining.request }

// renewal is what it asks with in turn, to be added again; nil: nothing.
func (d *device) renewal() *wire.JoinRequest { return d.m.joining.renewal }

// asksWith is the one with this KeyPackage; nil: it does not ask with that.
func (d *device) asksWith(keyPackage []byte) *wire.JoinRequest {
	return d.m.joining.asksWith(keyPackage)
}

// knows gives what it has heard of another device.
func (d *device) knows(of *device) *peerState { return d.m.peers.at(of.dev.ID) }

// handedOver says whether another user can read all that it wrote.
func (d *device) handedOver() bool {
	return d.m.messages.handedOver(d.dev.User, !d.m.stranded(d.m.fork.chosen.at))
}

// asked is when it last asked for a sync.
func (d *device) asked() time.Time { return d.m.peers.asked }

// disk is all that a device ever wrote, as somebody has it who copied its files every
// day, with the vaults whose keys are gone today. A nil disk keeps nothing.
type disk struct {
	rows    []Write
	dropped map[Vault]bool
}

func (k *disk) keep(r Ready) {
	if k == nil {
		return
	}
	for _, w := range r.Writes {
		k.rows = append(k.rows, Write{Key: w.Key, Value: bytes.Clone(w.Value), Vault: w.Vault})
	}
	for _, v := range r.Drop {
		k.dropped[v] = true
	}
}

// holds says whether today's keys and all files that ever were give a secret away.
func (k *disk) holds(secret []byte) bool {
	return slices.ContainsFunc(k.rows, func(w Write) bool { return !k.dropped[w.Vault] && bytes.Contains(w.Value, secret) })
}

var errCrash = errors.New("crashed")

func newWorld(t *testing.T, seed uint64) *world {
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	return &world{t: t, now: time.UnixMilli(1_790_000_000_000).UTC(), rand: rand.NewChaCha8(s), gossip: true}
}

func (w *world) device(name string) *device {
	w.t.Helper()
	d := &device{w: w, name: name, rows: memRows{}, online: true}
	var err error
	if d.user, err = identity.NewKey(w.rand); err != nil {
		w.t.Fatal(err)
	}
	if d.log, err = identity.NewKey(w.rand); err != nil {
		w.t.Fatal(err)
	}
	d.dev, err = identity.Certify(d.user, wire.DeviceCert{
		LogKey: d.log.Public(), Peer: []byte("peer of " + name), Name: name, Issued: uint64(w.now.Unix()),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.devices = append(w.devices, d)
	return d
}

// found makes the group, with this device as founder.
func (w *world) found(d *device, policy wire.Policy) {
	w.t.Helper()
	signed, id, err := identity.NewGenesis(w.rand, w.now, d.user, d.dev, identity.Founding{Suite: 1, Policy: policy})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.genesis, err = identity.VerifyGenesis(signed); err != nil {
		w.t.Fatal(err)
	}
	w.group = id
	d.open()
	d.must(Found{})
}

func (d *device) open() {
	d.w.t.Helper()
	m, err := New(Config{
		Genesis: d.w.genesis, Device: d.dev, LogKey: d.log, Incarnation: d.inc, Engine: cmp.Or[engine.Engine](d.engine, engine.MLS(1)), Rand: d.w.rand, Rows: d.rows, Kept: d.kept, Ends: d.ends,
	}, d.clock())
	if err != nil {
		d.w.t.Fatalf("%s: opening: %v", d.name, err)
	}
	d.m, d.down = m, false
	d.carryOut()
	d.plan()
}

// clock is what the device's own clock says.
func (d *device) clock() time.Time { return d.w.now.Add(d.skew) }

// step gives an input to the machine and carries out what follows.
func (d *device) step(in Input) (Outcome, error) {
	if d.down {
		return Outcome{}, errCrash
	}
	out, err := d.m.Step(d.clock(), in)
	_ = d.m.MarksHash() // so that tests which compare vectors see one that is kept too long
	if d.w.heard != nil {
		d.w.heard(d, in, err)
	}
	if cerr := d.carryOut(); cerr != nil {
		return out, cerr
	}
	d.plan()
	return out, err
}

func (d *device) must(in Input) Outcome {
	d.w.t.Helper()
	out, err := d.step(in)
	if err != nil {
		d.w.t.Fatalf("%s: %T: %v", d.name, in, err)
	}
	return out
}

func (d *device) at(boundary string) bool { return d.crash != nil && d.crash(boundary) }

// carryOut does what Ready says, in its order, and may crash at each boundary.
func (d *device) carryOut() error {
	r, ok := d.m.Ready()
	if !ok {
		return nil
	}
	if d.w.watch != nil {
		d.w.watch(d, r)
	}
	if d.at("before writes") {
		d.down = true
		return errCrash
	}
	size := 0
	for _, wr := range r.Writes {
		size += len(wr.Key) + len(wr.Value) + rowOverhead
	}
	d.peak = max(d.peak, size)
	d.disk.keep(r)
	for _, wr := range r.Writes {
		if wr.Value == nil {
			delete(d.rows, wr.Key)
		} else {
			d.rows[wr.Key] = bytes.Clone(wr.Value)
		}
	}
	if d.at("before messages") {
		d.down = true
		return errCrash
	}
	for _, o := range r.Messages {
		switch o := o.(type) {
		case Publish:
			d.last = o.Envelope
			d.w.publish(d, o.Envelope)
		case Tell:
			d.w.tell(d, o)
		case Ask:
			d.w.after(50*time.Millisecond, func() { d.w.syncSomebody(d) })
		case RequestJoin:
			for _, r := range []*wire.JoinRequest{o.Renewal, &o.Request} {
				if r != nil {
					d.w.after(50*time.Millisecond, func() { d.w.carryJoin(d, *r) })
				}
			}
		}
	}
	if d.at("before events") {
		d.down = true
		return errCrash
	}
	for _, e := range r.Events {
		if e.Kind == EventMessage {
			d.shown = append(d.shown, e.Message)
		}
		if e.Kind == EventRefused {
			d.errs = append(d.errs, errors.New(e.Detail))
		}
	}
	if d.at("before advance") {
		d.down = true
		return errCrash
	}
	d.m.Advance()
	return nil
}

// plan makes sure that the machine is woken when it wants.
func (d *device) plan() {
	at := d.m.NextWake()
	if at.IsZero() {
		return
	}
	if at = at.Add(-d.skew); at.Equal(d.wake) {
		return
	}
	d.wake = at
	m := d.m
	d.w.at(at, func() {
		if d.m == m && !d.down {
			d.wake = time.Time{}
			_, _ = d.step(Tick{})
		}
	})
}

func (w *world) at(at time.Time, run func()) {
	w.seq++
	heap.Push(&w.events, event{at: at, seq: w.seq, run: run})
}

func (w *world) after(d time.Duration, run func()) { w.at(w.now.Add(d), run) }

// run lets virtual time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; len(w.events) > 0 && !w.events[0].at.After(end); n++ {
		if n > 200_000 {
			w.t.Fatal("the world does not come to rest")
		}
		e := heap.Pop(&w.events).(event)
		if e.at.After(w.now) {
			w.now = e.at
		}
		e.run()
	}
	w.now = end
}

func (w *world) linked(a, b *device) bool {
	return a != b && a.online && b.online && a.m != nil && b.m != nil && !a.down && !b.down && (w.cut == nil || !w.cut(a, b))
}

func (w *world) publish(from *device, env []byte) {
	if !w.gossip {
		return
	}
	for _, to := range w.devices {
		if !w.linked(from, to) || w.hold != nil && w.hold(from, to, env) {
			continue
		}
		w.after(time.Duration(20+w.rand.Uint64()%30)*time.Millisecond, func() {
			if w.linked(from, to) {
				_, _ = to.step(Envelope{Bytes: env})
			}
		})
	}
}

// tell is what a node does with a Tell.
func (w *world) tell(from *device, o Tell) {
	for _, to := range w.devices {
		if to.dev.ID == o.Device && w.linked(from, to) {
			w.after(20*time.Millisecond, func() {
				if w.linked(from, to) {
					_, _ = to.step(Envelope{Bytes: o.Envelope})
				}
			})
			return
		}
	}
	if o.Gossip {
		w.publish(from, o.Envelope)
	}
}

func (w *world) syncSomebody(d *device) {
	for _, o := range w.devices {
		if w.linked(d, o) && o.m.Standing(d.dev.ID) != Removed {
			w.sync(d, o)
		}
	}
}

// sync is what /panda/sync/2 does: vectors, entries, wants, both ways.
func (w *world) sync(a, b *device) {
	w.t.Helper()
	for range 2 {
		for _, pair := range [][2]*device{{a, b}, {b, a}} {
			from, to := pair[0], pair[1]
			if !w.linked(from, to) {
				return
			}
			if from.m.Status().Position == (wire.EpochID{}) || to.m.Status().Position == (wire.EpochID{}) {
				return // no keys, no proof
			}
			marks, next := to.m.Marks(), wire.EntryHash{}
			for {
				var entries [][]byte
				var err error
				entries, next, err = from.m.EntriesAfter(to.dev.ID, marks, next, 64<<10)
				if err != nil {
					w.t.Fatal(err)
				}
				if len(entries) > 0 {
					_, _ = to.step(Entries{Entries: entries})
				}
				if next == (wire.EntryHash{}) || to.down {
					break
				}
			}
			if to.down {
				return
			}
			want := to.m.Wants(w.now)
			seals, err := from.m.SealsFor(to.dev.ID, want.Messages)
			if err != nil {
				w.t.Fatal(err)
			}
			for some := range slices.Chunk(seals, 8) { // they come in frames
				_, _ = to.step(Seals{Seals: some})
			}
			for _, id := range want.Trees {
				if tree, err := from.m.TreeOf(id); err == nil && tree != nil && !to.down {
					_, _ = to.step(Tree{Epoch: id, Bytes: tree})
				}
			}
			if !to.down {
				w.giveEarlier(from, to)
			}
			if !to.down {
				vector := from.m.VectorFor(to.dev.ID)
				_, _ = to.step(PeerVector{Device: from.dev.ID, Vector: &vector})
			}
		}
	}
}

// giveEarlier gives a device what it asks for of the time before it came in.
func (w *world) giveEarlier(from, to *device) {
	w.t.Helper()
	asked := map[wire.MessageID]bool{}
	for !to.down && !w.mean {
		want := to.m.Journal().EarlierWants(func(id wire.MessageID) bool { return asked[id] }, 16) // they come in frames
		if len(want) == 0 {
			return
		}
		for _, id := range want {
			asked[id] = true
		}
		earlier, err := from.m.Journal().EarlierFor(w.now, to.dev.ID, want)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(earlier) > 0 {
			_, _ = to.step(Earlier{Device: from.dev.ID, Messages: earlier})
		}
	}
}

// carryJoin is what /panda/join/2 does, tried again until it succeeds: by a device
// that is offline for long, now and then.
func (w *world) carryJoin(d *device, r wire.JoinRequest) {
	if d.carried == nil {
		d.carried = map[string]time.Time{}
	}
	// Not beside itself: the machine repeats what it asks.
	if next := d.carried[string(wire.Marshal(&r))]; !next.After(w.now) {
		w.tryJoin(d, r, time.Second)
	}
}

func (w *world) tryJoin(d *device, r wire.JoinRequest, wait time.Duration) {
	next := time.Second
	if !d.online {
		next = min(2*wait, time.Hour)
	}
	again := func() {
		d.carried[string(wire.Marshal(&r))] = w.now.Add(min(wait, next))
		w.after(min(wait, next), func() { w.tryJoin(d, r, next) })
	}
	if d.down || d.asksWith(r.KeyPackage) == nil {
		return // it asks no more, or with another
	}
	for _, o := range w.devices {
		if !w.linked(d, o) || o.m.Status().State != StateMember {
			continue
		}
		if _, err := o.step(JoinAsked{Request: r}); err != nil {
			d.errs = append(d.errs, err)
			continue
		}
		s, err := o.m.JoinStatus(r.KeyPackage, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		if s.Stage == wire.JoinRenew {
			if _, err := d.step(JoinAnswered{KeyPackage: r.KeyPackage, Renew: true}); err == nil {
				return // the machine asks anew
			}
		}
		if s.Stage != wire.JoinWelcomed {
			again()
			return
		}
		if _, err := d.step(JoinAnswered{KeyPackage: r.KeyPackage, Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree}); errors.Is(err, verdict.ErrInvalidWelcome) {
			d.errs = append(d.errs, err)
			again()
		} else if err != nil && !d.down {
			w.t.Fatalf("%s: welcomed: %v", d.name, err)
		}
		return
	}
	again()
}

func (w *world) join(d *device) {
	w.t.Helper()
	d.open()
	d.must(Join{})
	w.run(5 * time.Second)
}

func (d *device) send(text string) wire.MessageID {
	d.w.t.Helper()
	return d.must(Send{Content: wire.Content{MediaType: "text/plain", Data: []byte(text)}}).Entry
}

// texts lists what the device shows, from its rows.
func (d *device) texts() []string {
	d.w.t.Helper()
	messages, err := d.m.Journal().Messages(0, 0)
	if err != nil {
		d.w.t.Fatalf("%s: %v", d.name, err)
	}
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = string(m.Content.Data)
	}
	return out
}

// agree fails unless all these devices stand in one epoch with equal secrets and
// rosters, miss nothing and have nothing to send.
func (w *world) agree(devices ...*device) {
	w.t.Helper()
	first := devices[0].m.Status()
	for _, d := range devices {
		s := d.m.Status()
		if s.State != StateMember || s.Position != s.Head || s.Gaps != 0 || s.Outbox != 0 || s.Parked != 0 {
			w.t.Errorf("%s: %+v, refused: %v", d.name, s, d.errs)
		}
		if s.Position != first.Position || !bytes.Equal(s.Authenticator, first.Authenticator) || s.Members != first.Members {
			w.t.Errorf("%s is in epoch %d at %v, %s in epoch %d at %v", d.name, s.Epoch, s.Position, devices[0].name, first.Epoch, first.Position)
		}
		for _, m := range d.m.Members() {
			if !m.InTree {
				w.t.Errorf("%s: member %s is not in the tree", d.name, m.Name)
			}
		}
	}
}

// closeGate has a device believe, until its roster changes, that somebody who is out is in
// the tree: it seals nothing.
func (d *device) closeGate() {
	d.m.differ.last = &difference{gate: true}
	d.m.differ.position, d.m.differ.roster = d.m.tree.Nodes[d.m.own.Position], d.m.rosters.now
}

// count says how many durable rows have a prefix.
func (d *device) count(prefix string) (n int) {
	for k := range d.rows {
		if strings.HasPrefix(k, prefix) {
			n++
		}
	}
	return n
}

// lacks says whether the device must still read a message and cannot.
func (d *device) lacks(id wire.MessageID) bool { return d.m.messages.gaps.has(id) }

// record is what the device knows of a message.
func (d *device) record(id wire.MessageID) *dag.Item { return d.m.messages.record(id) }

// records are all messages that the device has RECORDs of.
func (d *device) records() iter.Seq[*dag.Item] { return d.m.messages.all() }

// defers counts the branches with messages that the device shows in a later turn.
func (d *device) defers() int { return len(d.m.messages.deferred.branches) }

// planSeal has the device plan to seal a message again, for another that lacks it.
func (d *device) planSeal(o *device, id wire.MessageID, at time.Time) {
	d.m.messages.reseal.planned[o.dev.ID] = map[wire.MessageID]time.Time{id: at}
	d.m.timers.set(timerReseal, at)
}

// plannedSeal is when the device seals a message again for another; zero: it does not.
func (d *device) plannedSeal(o *device, id wire.MessageID) time.Time {
	return d.m.messages.reseal.planned[o.dev.ID][id]
}

// outOfReach counts the senders whose ratchets the device takes to be out of reach.
func (d *device) outOfReach() int { return len(d.m.messages.ratchets.since) }

// renewedForReach has the device believe that it renewed its keys for that.
func (d *device) renewedForReach(at time.Time) { d.m.messages.ratchets.renewed = at }

// receiptsDue counts the branches of which the device is to tell what it has read.
func (d *device) receiptsDue() int { return len(d.m.messages.receipts.due) }

// forgetReceipts has the device forget what it is to tell, and has told.
func (d *device) forgetReceipts() {
	clear(d.m.messages.receipts.due)
	clear(d.m.messages.receipts.last)
	clear(d.m.messages.receipts.tries)
}

// key is a transport key that the device holds; nil: it does not.
func (d *device) key(id wire.KeyID) []byte { return d.m.keys.keys[id] }

// opened gives what is in an envelope, as the device reads it.
func (d *device) opened(envelope []byte) (*wire.Bundle, error) { return d.m.keys.open(envelope) }

// wrapKey is the public key with which transport keys are wrapped for the device.
func (d *device) wrapKey() [32]byte { return d.m.leaf.public() }

// heldEpochs counts the epochs that the device holds, whole or thin.
func (d *device) heldEpochs() int { return len(d.m.epochs.held) }

// keyPackages counts the KeyPackages whose secrets the device has.
func (d *device) keyPackages() int { return len(d.m.leaf.packages) }

// outrun has the device seal so often, to nobody, that others follow its ratchet no more.
func (d *device) outrun() {
	d.w.t.Helper()
	_, e := d.m.position()
	for range mls.MaxForward + 1 {
		_, rows, err := e.Seal(d.w.rand, d.m.own.Signer, nil, []byte("of no use to anybody"))
		if err != nil {
			d.w.t.Fatal(err)
		}
		d.m.epochs.putKeys(d.m.own.Position, rows)
	}
	d.must(Tick{})
}

// renewKeys has the device renew its keys at once.
func (d *device) renewKeys() {
	d.w.t.Helper()
	d.m.timers.set(timerUpdate, d.w.now)
	d.must(Tick{})
}

// takeAll gives the device all entries that another has and it lacks, so many bytes at a
// time.
func (d *device) takeAll(from *device, most int) {
	d.w.t.Helper()
	marks := d.m.Marks()
	for next, more := (wire.EntryHash{}), true; more; more = next != (wire.EntryHash{}) {
		var entries [][]byte
		var err error
		if entries, next, err = from.m.EntriesAfter(d.dev.ID, marks, next, most); err != nil {
			d.w.t.Fatal(err)
		}
		d.must(Entries{Entries: entries})
	}
}

// crowd has a machine think that this device's user added so many users, each with a device.
func (d *device) crowd(m *Machine, n int) (ids []wire.DeviceID) {
	d.w.t.Helper()
	for i := range n {
		head := m.logs.Head(d.m.own.log)
		e := &wire.Entry{
			Device: d.dev.ID, Incarnation: head.Log.Incarnation, Seq: head.Seq + 1, Prev: head.Hash, Kind: wire.KindOp,
			HLC: uint64(dag.DateAfter(d.w.now, m.logs.Clock.Last(), head.HLC)),
		}
		it := m.logs.FillPast(&dag.Item{
			Author: head.Author, Hash: wire.EntryHash(wire.HashOf(wire.DomainEntry, wire.U64(e.HLC))), Seq: e.Seq, HLC: crdt.HLC(e.HLC), List: -1,
			Body: &dag.Body{
				Kind: e.Kind, Op: &wire.Op{Type: wire.OpAdd, Role: wire.RoleMember, Why: wire.WhyRole},
				Target: &dag.Target{Device: &identity.Device{ID: dagtest.TestDevice(i), User: dagtest.TestUser(i)}},
			},
		}, e)
		if err := m.insert(it, e); err != nil {
			d.w.t.Fatal(err)
		}
		ids = append(ids, dagtest.TestDevice(i))
	}
	m.rosters.refresh()
	return ids
}
