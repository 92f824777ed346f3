package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// When a group's mailboxes are visited.
const (
	mailEvery    = 3 * time.Minute  // ± a third
	mailDebounce = time.Second      // from publishing an envelope to the visit that puts it
	mailRetry    = 15 * time.Second // after a visit that failed with envelopes to put; doubles up to mailEvery
	mailTimeout  = 5 * time.Minute  // for one visit
	mailDial     = 30 * time.Second
	mailAtOnce   = 4 // visits of one node
	mailPasses   = 8 // through the boxes of one mailbox, for what builds on what another one holds
)

// mailingRow is how far this device is with one mailbox of a group. Without one the
// mailbox was never reached, and what is published does not wait for it.
type mailingRow struct {
	Owed    uint64        `cbor:"1,keyasint"` // since when it may lack something, in milliseconds since 1970; 0: it lacks nothing
	Boxes   []mailingBoxR `cbor:"2,keyasint"`
	Own     bool          `cbor:"3,keyasint,omitempty"` // while owed: it lacks nothing of this device
	Checked uint64        `cbor:"4,keyasint,omitempty"` // when it lacked nothing at last
	Reached uint64        `cbor:"5,keyasint,omitempty"` // when it answered, to noteEvery
}

// mailingBoxR is the same for one box.
type mailingBoxR struct {
	Key    wire.KeyID `cbor:"1,keyasint"`
	Life   uint64     `cbor:"2,keyasint"` // of the box; cursors are of this one
	After  uint64     `cbor:"3,keyasint"` // cursor up to which all is durable here
	Posted uint64     `cbor:"4,keyasint"` // number of the last envelope that the box took

	// Mark is the cursor after which all is that somebody may lack. While nothing behind it
	// is deleted, the box need not be looked through.
	Mark uint64 `cbor:"5,keyasint,omitempty"`
}

func (r *mailingRow) box(k wire.KeyID) *mailingBoxR {
	for i := range r.Boxes {
		if r.Boxes[i].Key == k {
			return &r.Boxes[i]
		}
	}
	r.Boxes = append(r.Boxes, mailingBoxR{Key: k})
	return &r.Boxes[len(r.Boxes)-1]
}

// taken says whether the mailbox has taken an envelope.
func (r *mailingRow) taken(p pendingPut) bool {
	return slices.ContainsFunc(r.Boxes, func(b mailingBoxR) bool { return b.Key == p.box && b.Posted >= p.number })
}

// mailboxClient puts what this device publishes in a group into the group's mailboxes, until
// each has taken it, and steps what it finds there. Envelopes to put are written in
// the transaction that makes them durable, so that a crash loses none of it.
type mailboxClient struct {
	g          *groupSession
	keys       mailKeys
	apply      func(storage.Batch) error
	kick       chan struct{} // holds one
	maxPending int
	maxBytes   int64

	mu       sync.Mutex
	assigned bool                      // the group has mailboxes, as far as the last look tells
	at       map[peer.ID]*mailingRow   // what is durable
	reading  map[peer.ID]*mailReading  // where reading is
	state    map[peer.ID]*mailboxState // for people
	number   uint64                    // of the last post
	waiting  int                       // about: counted anew in each round
	bytes    int64

	late      map[wire.EntryHash]time.Time // entries that came, and no mailbox is known to have, since when
	overflows int                          // how often something did not fit in what waits

	seen map[wire.Hash][]wire.EntryHash // boxed envelopes that this device made or took in this run, and the entries in them
	ring []wire.Hash                    // the same, the oldest at next once it is full
	next int
}

// mailboxState is the state of one mailbox for people.
type mailboxState struct {
	reached time.Time     // when it last answered, also before this run
	visited time.Time     // the same, in this run
	err     error         // of the last visit
	health  mailboxHealth // as the log was told; empty: not yet
	since   time.Time     // when the visit began that goes on; zero: none does
	gone    time.Time     // when it was last visited since it had gone
	busy    bool          // it is visited now
	shunned bool          // it failed: what is published does not wait for it, the next visit has its time
}

func newMailboxClient(g *groupSession) *mailboxClient {
	return &mailboxClient{
		g: g, keys: mailKeys(g.id), apply: g.n.apply, kick: make(chan struct{}, 1), maxPending: maxPending, maxBytes: maxPendingBytes, at: make(map[peer.ID]*mailingRow), reading: make(map[peer.ID]*mailReading),
		state: make(map[peer.ID]*mailboxState), seen: make(map[wire.Hash][]wire.EntryHash), late: make(map[wire.EntryHash]time.Time),
	}
}

// load reads the durable rows.
func (x *mailboxClient) load() error {
	store := x.g.n.store
	prefix := x.keys.progress("")
	if err := store.Scan(prefix, func(key, value []byte) error {
		row := new(mailingRow)
		if err := wire.Unmarshal(value, row); err != nil {
			return err
		}
		x.at[peer.ID(key[len(prefix):])] = row
		if row.Reached != 0 {
			x.state[peer.ID(key[len(prefix):])] = &mailboxState{reached: time.UnixMilli(int64(row.Reached))} //nolint:gosec // written by this node
		}
		for _, b := range row.Boxes {
			x.number = max(x.number, b.Posted) // a number is given once
		}
		return nil
	}); err != nil {
		return fmt.Errorf("restoring the group's mailboxes: %w", err)
	}
	x.assigned = len(x.at) > 0
	if err := x.loadLate(); err != nil {
		return fmt.Errorf("restoring what mailboxes may lack: %w", err)
	}
	return x.recount()
}

// wake has the mailboxes visited soon, if there are any.
func (x *mailboxClient) wake() {
	x.mu.Lock()
	assigned := x.assigned
	x.mu.Unlock()
	if !assigned {
		return
	}
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// connected has a mailbox visited again that could not be reached.
func (x *mailboxClient) connected(p peer.ID) {
	x.mu.Lock()
	st := x.state[p]
	failed := st != nil && st.err != nil
	if failed {
		st.shunned = false
	}
	x.mu.Unlock()
	if failed {
		x.wake()
	}
}

// run visits the mailboxes until ctx ends.
func (x *mailboxClient) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause, due := mailRetry, time.Now()
	for {
		kicked := false
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-x.kick:
			kicked = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(mailDebounce):
			}
		}
		var wait time.Duration
		if x.round(ctx, kicked) {
			pause = mailRetry
			wait = mailEvery*2/3 + rand.N(mailEvery*2/3) //nolint:gosec // spreads load, hides nothing
		} else {
			wait = pause + rand.N(pause/4) //nolint:gosec // spreads load, hides nothing
			if !kicked {
				pause = min(2*pause, mailEvery)
			}
		}
		// However often it is kicked, the round of all has its time.
		if next := time.Now().Add(wait); !kicked || next.Before(due) {
			due = next
			timer.Reset(wait)
		}
	}
}

// round visits every mailbox; if it is kicked, only those that the last visit found in
// order. False: envelopes wait that one could not be given.
func (x *mailboxClient) round(ctx context.Context, kicked bool) bool {
	var mailboxes []wire.LinkPeer
	var state group.State
	held := make(map[wire.KeyID]bool)
	if err := x.g.loop.look(ctx, func(m *group.Machine) error {
		mailboxes, state = m.Mail().Mailboxes(), m.Status().State
		for _, b := range m.Mail().Boxes(nil) {
			held[b.Key] = true
		}
		return nil
	}); err != nil {
		return true
	}
	if state == group.StateOut {
		waiting, err := x.pending()
		if err != nil {
			return true
		}
		if len(waiting) == 0 {
			mailboxes = nil // its last word, such as that it leaves, is there
		}
	}
	if err := x.forget(mailboxes); err != nil {
		return true
	}
	var visits sync.WaitGroup
	for _, p := range mailboxes {
		if peer.ID(p.Peer) == x.g.n.host.ID() {
			continue // a member is asked as a member: what it keeps for others, it has
		}
		switch x.begin(peer.ID(p.Peer), kicked) {
		case visitNow:
			visits.Go(func() { x.visitOnce(ctx, p) })
		case visitAside:
			x.g.life.start(func(ctx context.Context) {
				x.visitOnce(ctx, p)
				x.wake() // there may be something to clean
			})
		case visitLater:
		}
	}
	visits.Wait()
	waiting, err := x.clean(mailboxes, held)
	x.g.n.changed.wake()
	return err != nil || waiting == 0
}

// How a round visits a mailbox.
type visiting int

const (
	visitNow   visiting = iota // the round waits for it
	visitAside                 // it may hang: nobody waits
	visitLater
)

// begin says how to visit a mailbox, and notes that it is visited.
func (x *mailboxClient) begin(p peer.ID, kicked bool) visiting {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := x.state[p]
	if st == nil {
		st = new(mailboxState)
		x.state[p] = st
	}
	switch {
	case st.busy, st.shunned && kicked:
		return visitLater
	case st.shunned:
		st.busy = true
		return visitAside
	}
	st.busy = true
	return visitNow
}

// asks notes that a visit begins.
func (x *mailboxClient) asks(p peer.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if st := x.state[p]; st != nil {
		st.since = time.Now()
	}
}

// visitOnce visits a mailbox and notes how that went.
func (x *mailboxClient) visitOnce(ctx context.Context, at wire.LinkPeer) {
	err := func() error {
		select {
		case x.g.n.mailing <- struct{}{}:
			defer func() { <-x.g.n.mailing }()
			x.asks(peer.ID(at.Peer))
			return x.visit(ctx, at)
		case <-ctx.Done():
			return ctx.Err()
		}
	}()
	x.ended(ctx, peer.ID(at.Peer), err)
}

// forget drops the rows of mailboxes that the group does not use any more.
func (x *mailboxClient) forget(mailboxes []wire.LinkPeer) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.assigned = len(mailboxes) > 0
	var b storage.Batch
	var gone []peer.ID
	for p := range x.at {
		if !slices.ContainsFunc(mailboxes, func(m wire.LinkPeer) bool { return peer.ID(m.Peer) == p }) {
			b.Writes = append(b.Writes, storage.Write{Key: x.keys.progress(p)})
			gone = append(gone, p)
		}
	}
	if !x.assigned {
		for e := range x.late {
			b.Writes = append(b.Writes, storage.Write{Key: x.keys.late(e)})
		}
	}
	if b.Writes == nil {
		return nil
	}
	if err := x.apply(b); err != nil {
		return err
	}
	for _, p := range gone {
		delete(x.at, p)
		delete(x.reading, p)
		delete(x.state, p)
	}
	if !x.assigned {
		clear(x.late)
	}
	return x.dropBoxed(func(p peer.ID, _ wire.KeyID) bool { return x.at[p] != nil })
}

// save makes durable how far this device is with a mailbox, after change.
func (x *mailboxClient) save(p peer.ID, change func(*mailingRow)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	row := x.at[p]
	if row == nil {
		row = new(mailingRow)
		row.owe(time.Now()) // what was published before does not wait for it
	}
	before := wire.Marshal(row)
	next := new(mailingRow)
	*next = *row
	next.Boxes = slices.Clone(row.Boxes)
	change(next)
	after := wire.Marshal(next)
	if x.at[p] != nil && string(before) == string(after) {
		return nil
	}
	if err := x.apply(storage.Batch{Writes: []storage.Write{{Key: x.keys.progress(p), Value: after}}}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	x.at[p] = next
	return nil
}

// durable is how far this device is with a box.
func (x *mailboxClient) durable(p peer.ID, k wire.KeyID) mailingBoxR {
	x.mu.Lock()
	defer x.mu.Unlock()
	if row := x.at[p]; row != nil {
		copied := mailingRow{Boxes: slices.Clone(row.Boxes)}
		return *copied.box(k)
	}
	return mailingBoxR{Key: k}
}

// mailVisit is one visit of one mailbox. One runs at a time: reading is its alone.
type mailVisit struct {
	x *mailboxClient
	p peer.ID
	r *mailReading
}

// visit reads a mailbox and puts what it has not taken: first, since there may be so much
// to read that no visit gets to its end.
func (x *mailboxClient) visit(ctx context.Context, at wire.LinkPeer) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	v := &mailVisit{x: x, p: peer.ID(at.Peer)}
	if err := x.g.n.dialMailbox(ctx, at); err != nil {
		return err
	}
	x.mu.Lock()
	v.r = x.reading[v.p]
	if v.r == nil {
		v.r = &mailReading{boxes: make(map[wire.KeyID]*boxReading)}
		x.reading[v.p] = v.r
	}
	x.mu.Unlock()
	return v.run(ctx)
}

func (v *mailVisit) run(ctx context.Context) error {
	full := v.putBefore(ctx)
	if full != nil && !errors.Is(full, errMailFull) && !errors.Is(full, errMailClosed) {
		return full
	}
	boxes, err := v.readAll(ctx)
	if err != nil {
		return err
	}
	// From here on published envelopes are kept for this mailbox.
	if err := v.x.save(v.p, func(*mailingRow) {}); err != nil {
		return err
	}
	if errors.Is(full, errMailFull) {
		return full
	}
	if err := v.putAll(ctx, boxes); err != nil {
		return err
	}
	if boxes, err = v.readAgain(ctx, boxes); err != nil {
		return err
	}
	return v.bring(ctx, boxes)
}
