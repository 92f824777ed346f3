package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// When a group's mailboxes are visited.
const (
	mailEvery    = 3 * time.Minute  // ± a third
	mailDebounce = time.Second      // from what is published to the visit that brings it
	mailRetry    = 15 * time.Second // after a visit that failed with envelopes to put; doubles up to mailEvery
	mailTimeout  = 5 * time.Minute  // for one visit
	mailDial     = 30 * time.Second
	mailAtOnce   = 4 // visits of one node
	mailPasses   = 8 // through the boxes of one mailbox, for what builds on what another one holds
	backlogEvery = time.Hour
)

// Bounds of what waits to be put, of one group. What exceeds them is not lost: it is
// in the log, and a Backlog brings it.
const (
	maxPosts     = 1 << 14
	maxPostBytes = 64 << 20
	maxOpenMail  = 1 << 10 // cursors of one box, of envelopes that could not be used yet
	maxSeenMail  = 1 << 13 // hashes of envelopes
)

// Keys of the store's rows for a group's mailboxes.
const (
	keyPost    = "n/post/"    // ‖ group ‖ postKey: an envelope to put
	keyMailbox = "n/mailing/" // ‖ group ‖ peer ID: mailingRow
)

// mailingRow is how far this device is with one mailbox of a group. Without one the
// mailbox was never reached, and what is published waits for a Backlog.
type mailingRow struct {
	Owed  uint64        `cbor:"1,keyasint"` // 1: a Backlog, whatever was put
	Boxes []mailingBoxR `cbor:"2,keyasint"`
}

// mailingBoxR is the same for one box.
type mailingBoxR struct {
	Key    wire.KeyID `cbor:"1,keyasint"`
	Life   uint64     `cbor:"2,keyasint"` // of the box; cursors are of this one
	After  uint64     `cbor:"3,keyasint"` // cursor up to which all is durable here
	Posted uint64     `cbor:"4,keyasint"` // number of the last envelope that the box took
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
func (r *mailingRow) taken(p post) bool {
	return slices.ContainsFunc(r.Boxes, func(b mailingBoxR) bool { return b.Key == p.box && b.Posted >= p.number })
}

// post is an envelope that waits to be put, as its row's key tells.
type post struct {
	number uint64
	box    wire.KeyID // transport key it is under
	size   uint32
}

func (g *hosted) postPrefix() []byte { return append([]byte(keyPost), g.id[:]...) }

func (g *hosted) postKey(p post) []byte {
	b := binary.BigEndian.AppendUint64(g.postPrefix(), p.number)
	return binary.BigEndian.AppendUint32(append(b, p.box[:]...), p.size)
}

func (g *hosted) mailingKey(p peer.ID) []byte {
	return append(append([]byte(keyMailbox), g.id[:]...), p...)
}

// mailer puts what this device publishes in a group into the group's mailboxes, until
// each has taken it, and steps what it finds there. What is to be put is written in
// the transaction that makes it durable, so that a crash loses none of it.
type mailer struct {
	g        *hosted
	kick     chan struct{} // holds one
	maxPosts int

	mu       sync.Mutex
	assigned bool                      // the group has mailboxes, as far as the last look tells
	at       map[peer.ID]*mailingRow   // what is durable
	reading  map[peer.ID]*mailReading  // where reading is
	state    map[peer.ID]*mailboxState // for people
	number   uint64                    // of the last post
	posts    int                       // about: counted anew in each round
	bytes    int64

	seen map[wire.Hash]bool // boxed envelopes that this device made or took in this run
	ring []wire.Hash        // the same, the oldest at next once it is full
	next int
}

// mailReading is where reading is in one mailbox, beyond what is durable.
type mailReading struct {
	boxes   map[wire.KeyID]*boxReading
	backlog time.Time // when one was last posted
}

// boxReading is the same for one box.
type boxReading struct {
	at      uint64   // cursor up to which it was read
	open    []uint64 // cursors before it of envelopes that could not be used yet, ascending
	entries int      // the group had when they were tried
	missed  bool     // there are more than open holds
}

// mailboxState is what people are told of one mailbox.
type mailboxState struct {
	reached time.Time
	err     error // of the last visit
	busy    bool  // it is visited now
	shunned bool  // it failed: what is published does not wait for it, the next visit has its time
}

func newMailer(g *hosted) *mailer {
	return &mailer{
		g: g, kick: make(chan struct{}, 1), maxPosts: maxPosts, at: make(map[peer.ID]*mailingRow), reading: make(map[peer.ID]*mailReading),
		state: make(map[peer.ID]*mailboxState), seen: make(map[wire.Hash]bool),
	}
}

// load reads what is durable.
func (x *mailer) load() error {
	store := x.g.n.store
	prefix := x.g.mailingKey("")
	if err := store.Scan(prefix, func(key, value []byte) error {
		row := new(mailingRow)
		if err := wire.Unmarshal(value, row); err != nil {
			return err
		}
		x.at[peer.ID(key[len(prefix):])] = row
		for _, b := range row.Boxes {
			x.number = max(x.number, b.Posted) // a number is given once
		}
		return nil
	}); err != nil {
		return fmt.Errorf("restoring the group's mailboxes: %w", err)
	}
	x.assigned = len(x.at) > 0
	return x.recount()
}

// posted lists what waits to be put, in its order.
func (x *mailer) posted() (out []post, err error) {
	prefix := x.g.postPrefix()
	err = x.g.n.store.ScanKeys(prefix, func(key []byte) error {
		if b := key[len(prefix):]; len(b) == 8+8+4 {
			out = append(out, post{binary.BigEndian.Uint64(b), wire.KeyID(b[8:]), binary.BigEndian.Uint32(b[16:])})
		}
		return nil
	})
	return out, err
}

func (x *mailer) recount() error {
	all, err := x.posted()
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.posts, x.bytes = len(all), 0
	for _, p := range all {
		x.bytes += int64(p.size)
		x.number = max(x.number, p.number)
	}
	return nil
}

// outbox gives the writes that keep what a Ready sends until the mailboxes have taken
// it. The loop calls it, for the transaction that is to be durable before.
func (x *mailer) outbox(m *group.Machine, messages []group.Outbound) []storage.Write {
	mailboxes := m.Mailboxes()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.assigned = len(mailboxes) > 0
	if !x.assigned {
		return nil
	}
	reached := slices.ContainsFunc(mailboxes, func(p wire.LinkPeer) bool { return x.at[peer.ID(p.Peer)] != nil })
	var out []storage.Write
	for _, msg := range messages {
		var envelope []byte
		switch msg := msg.(type) {
		case group.Publish:
			if !reached {
				continue
			}
			envelope = msg.Envelope
		case group.Post:
			envelope = msg.Envelope
		default:
			continue
		}
		h, err := wire.ParseEnvelopeHeader(envelope)
		if err != nil {
			continue // the machine makes none
		}
		size := uint32(len(envelope)) //nolint:gosec // bounded by MaxEnvelope
		if x.posts >= x.maxPosts || x.bytes+int64(size) > maxPostBytes {
			return append(out, x.owe()...)
		}
		x.number++
		x.posts++
		x.bytes += int64(size)
		x.remember(sha256.Sum256(wire.Boxed(envelope)))
		out = append(out, storage.Write{Key: x.g.postKey(post{x.number, h.Key, size}), Value: envelope})
	}
	return out
}

// owe has a Backlog posted to every mailbox once there is room: too much waits. The
// caller holds mu.
func (x *mailer) owe() (out []storage.Write) {
	for p, row := range x.at {
		if row.Owed == 0 {
			row.Owed = 1
			out = append(out, storage.Write{Key: x.g.mailingKey(p), Value: wire.Marshal(row)})
		}
	}
	return out
}

// saw notes an envelope that gossip brought, so that it is not fetched.
func (x *mailer) saw(envelope []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.assigned {
		x.remember(sha256.Sum256(wire.Boxed(envelope)))
	}
}

// remember is saw with mu held.
func (x *mailer) remember(h wire.Hash) {
	switch {
	case x.seen[h]:
		return
	case len(x.ring) < maxSeenMail:
		x.ring = append(x.ring, h)
	default:
		delete(x.seen, x.ring[x.next])
		x.ring[x.next] = h
		x.next = (x.next + 1) % maxSeenMail
	}
	x.seen[h] = true
}

// wake has the mailboxes visited soon, if there are any.
func (x *mailer) wake() {
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
func (x *mailer) connected(p peer.ID) {
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
func (x *mailer) run(ctx context.Context) {
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
func (x *mailer) round(ctx context.Context, kicked bool) bool {
	var mailboxes []wire.LinkPeer
	var state group.State
	held := make(map[wire.KeyID]bool)
	if err := x.g.loop.look(ctx, func(m *group.Machine) error {
		mailboxes, state = m.Mailboxes(), m.Status().State
		for _, b := range m.Boxes(nil) {
			held[b.Key] = true
		}
		return nil
	}); err != nil {
		return true
	}
	if state == group.StateOut {
		waiting, err := x.posted()
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
func (x *mailer) begin(p peer.ID, kicked bool) visiting {
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

// visitOnce visits a mailbox and notes how that went.
func (x *mailer) visitOnce(ctx context.Context, at wire.LinkPeer) {
	err := func() error {
		select {
		case x.g.n.mailing <- struct{}{}:
			defer func() { <-x.g.n.mailing }()
			return x.visit(ctx, at)
		case <-ctx.Done():
			return ctx.Err()
		}
	}()
	p := peer.ID(at.Peer)
	x.mu.Lock()
	defer x.mu.Unlock()
	if st := x.state[p]; st != nil { // nil: the group does not use it any more
		st.busy, st.err, st.shunned = false, err, err != nil
		if err == nil {
			st.reached = time.Now()
		}
	}
	if err != nil {
		x.g.log.Debug("mailbox", "peer", p, "err", err)
	}
}

// forget drops what is kept of mailboxes that the group does not use any more.
func (x *mailer) forget(mailboxes []wire.LinkPeer) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.assigned = len(mailboxes) > 0
	var b storage.Batch
	for p := range x.at {
		if !slices.ContainsFunc(mailboxes, func(m wire.LinkPeer) bool { return peer.ID(m.Peer) == p }) {
			b.Writes = append(b.Writes, storage.Write{Key: x.g.mailingKey(p)})
			delete(x.at, p)
			delete(x.reading, p)
			delete(x.state, p)
		}
	}
	if b.Writes == nil {
		return nil
	}
	return x.g.n.apply(b)
}

// clean deletes what every mailbox has taken, and says how much waits. Where too much
// does, a mailbox that cannot be reached holds up nothing: it is owed a Backlog.
func (x *mailer) clean(mailboxes []wire.LinkPeer, held map[wire.KeyID]bool) (waiting int, err error) {
	all, err := x.posted()
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	var b storage.Batch
	for _, m := range mailboxes {
		if p := peer.ID(m.Peer); len(all) > x.maxPosts/2 && x.at[p] != nil && x.state[p] != nil && x.state[p].err != nil {
			delete(x.at, p)
			b.Writes = append(b.Writes, storage.Write{Key: x.g.mailingKey(p)})
		}
	}
	for _, p := range all {
		wanted := false
		for _, row := range x.at {
			wanted = wanted || !row.taken(p)
		}
		if wanted && held[p.box] {
			waiting++
		} else {
			b.Writes = append(b.Writes, storage.Write{Key: x.g.postKey(p)})
		}
	}
	x.mu.Unlock()
	if len(b.Writes) == 0 {
		return waiting, nil
	}
	for some := range slices.Chunk(b.Writes, 1024) {
		if err := x.g.n.apply(storage.Batch{Writes: some}); err != nil {
			return waiting, err
		}
	}
	return waiting, x.recount()
}

// save makes durable how far this device is with a mailbox, after change.
func (x *mailer) save(p peer.ID, change func(*mailingRow)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	row := x.at[p]
	if row == nil {
		row = new(mailingRow)
	}
	before := wire.Marshal(row)
	next := &mailingRow{Owed: row.Owed, Boxes: slices.Clone(row.Boxes)}
	change(next)
	after := wire.Marshal(next)
	if x.at[p] != nil && string(before) == string(after) {
		return nil
	}
	if err := x.g.n.apply(storage.Batch{Writes: []storage.Write{{Key: x.g.mailingKey(p), Value: after}}}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	x.at[p] = next
	return nil
}

// durable is how far this device is with a box.
func (x *mailer) durable(p peer.ID, k wire.KeyID) mailingBoxR {
	x.mu.Lock()
	defer x.mu.Unlock()
	if row := x.at[p]; row != nil {
		copied := mailingRow{Boxes: slices.Clone(row.Boxes)}
		return *copied.box(k)
	}
	return mailingBoxR{Key: k}
}

// errMailFull and errMailClosed say why a mailbox does not take envelopes.
var (
	errMailFull   = errors.New("the mailbox has no more room")
	errMailClosed = errors.New("the mailbox opens boxes only for peers that it lists")
)

// visit reads a mailbox and puts what it has not taken.
func (x *mailer) visit(ctx context.Context, at wire.LinkPeer) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	p := peer.ID(at.Peer)
	if err := x.dial(ctx, at); err != nil {
		return err
	}
	x.mu.Lock()
	r := x.reading[p]
	if r == nil {
		r = &mailReading{boxes: make(map[wire.KeyID]*boxReading)}
		x.reading[p] = r
	}
	fresh := x.at[p] == nil
	x.mu.Unlock()
	boxes, err := x.readAll(ctx, p, r)
	if err != nil {
		return err
	}
	if fresh {
		// From here on what is published is kept for this mailbox.
		if err := x.save(p, func(row *mailingRow) { row.Owed = 1 }); err != nil {
			return err
		}
	}
	if err := x.putAll(ctx, p, boxes); err != nil {
		return err
	}
	x.mu.Lock()
	owed := x.at[p] != nil && x.at[p].Owed == 1 && x.posts < x.maxPosts/2 && time.Since(r.backlog) >= backlogEvery
	x.mu.Unlock()
	if !owed {
		return nil
	}
	r.backlog = time.Now()
	own := false
	if err := x.g.loop.look(ctx, func(m *group.Machine) error { own, _ = m.MailboxesSet(); return nil }); err != nil {
		return err
	}
	if _, err := x.g.loop.step(ctx, group.Backlog{All: own}); err != nil {
		return err
	}
	if err := x.save(p, func(row *mailingRow) { row.Owed = 0 }); err != nil {
		return err
	}
	return x.putAll(ctx, p, boxes)
}

// dial connects to a mailbox, by the addresses that the group knows or the DHT finds.
func (x *mailer) dial(ctx context.Context, at wire.LinkPeer) error {
	n, p := x.g.n, peer.ID(at.Peer)
	if n.isConnected(p) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mailDial)
	defer cancel()
	info := peer.AddrInfo{ID: p}
	for _, a := range at.Addrs {
		if addr, err := multiaddr.NewMultiaddrBytes(a); err == nil {
			info.Addrs = append(info.Addrs, addr)
		}
	}
	err := n.host.Connect(ctx, info)
	if err == nil {
		return nil
	}
	found, lost := n.dht.Kad().FindPeer(ctx, p)
	if lost != nil {
		return fmt.Errorf("reaching the mailbox: %w", err)
	}
	if err := n.host.Connect(ctx, found); err != nil {
		return fmt.Errorf("reaching the mailbox: %w", err)
	}
	return nil
}

// readAll reads the boxes of all transport keys, those that the reading brings too.
func (x *mailer) readAll(ctx context.Context, p peer.ID, r *mailReading) ([]group.Box, error) {
	var boxes []group.Box
	entries := func() (n int, err error) {
		err = x.g.loop.look(ctx, func(m *group.Machine) error { boxes, n = m.Boxes([]byte(p)), m.Status().Entries; return nil })
		return n, err
	}
	had, err := entries()
	if err != nil {
		return nil, err
	}
	for range mailPasses {
		known := len(boxes)
		for _, b := range boxes {
			if r.boxes[b.Key] == nil {
				r.boxes[b.Key] = &boxReading{at: x.durable(p, b.Key).After}
			}
			if err := x.read(ctx, p, b, r.boxes[b.Key], had); err != nil {
				return nil, err
			}
		}
		has, err := entries()
		if err != nil {
			return nil, err
		}
		again := slices.ContainsFunc(slices.Collect(maps.Values(r.boxes)), func(b *boxReading) bool { return len(b.open) > 0 && b.entries != has })
		if had = has; !again && len(boxes) == known {
			break
		}
	}
	return boxes, nil
}

// read steps what is new in a box, and what was of no use before if there has been
// news since.
func (x *mailer) read(ctx context.Context, p peer.ID, b group.Box, r *boxReading, entries int) error {
	s, err := x.open(ctx, p, b, nil)
	if err != nil {
		return err
	}
	defer s.abandon()
	if r.missed && len(r.open) == 0 {
		r.at, r.missed = x.durable(p, b.Key).After, false // what did not fit into open is read again
	}
	if len(r.open) > 0 && r.entries != entries {
		tried := r.open
		r.open = nil
		if err := x.take(ctx, s, r, tried); err != nil {
			r.open = tried
			return err
		}
	}
	r.entries = entries
	other := false
	for {
		reply, err := s.ask(wire.MailRequest{List: &wire.MailList{After: r.at}})
		if err != nil {
			return err
		}
		if known := x.durable(p, b.Key); reply.Life != known.Life {
			// Another box than before, or none: cursors begin anew, and what was put is gone.
			if other {
				return fmt.Errorf("%w: the mailbox names two lives of one box", errProtocol)
			}
			other = true
			r.at, r.open = 0, nil
			if err := x.save(p, func(row *mailingRow) {
				box := row.box(b.Key)
				if box.Life != 0 {
					row.Owed = 1
				}
				box.Life, box.After = reply.Life, 0
			}); err != nil {
				return err
			}
			if reply.Life == 0 {
				break
			}
			continue
		}
		if len(reply.Heads) == 0 {
			break
		}
		if reply.Heads[0].At <= r.at {
			return fmt.Errorf("%w: the mailbox lists what came before", errProtocol)
		}
		var wanted []uint64
		x.mu.Lock()
		for _, h := range reply.Heads {
			if !x.seen[h.Hash] {
				wanted = append(wanted, h.At)
			}
		}
		x.mu.Unlock()
		if err := x.take(ctx, s, r, wanted); err != nil {
			r.open = slices.DeleteFunc(r.open, func(at uint64) bool { return at > r.at }) // they are listed again
			return err
		}
		r.at = reply.Heads[len(reply.Heads)-1].At
	}
	s.close()
	if r.missed {
		return nil
	}
	after := r.at
	if len(r.open) > 0 {
		after = r.open[0] - 1
	}
	return x.save(p, func(row *mailingRow) { row.box(b.Key).After = after })
}

// take fetches envelopes and steps them. Those that are of no use yet, since what
// they build on is not here, are open.
func (x *mailer) take(ctx context.Context, s *mailStream, r *boxReading, cursors []uint64) error {
	for len(cursors) > 0 {
		some := cursors[:min(len(cursors), wire.MaxMailFetch)]
		reply, err := s.ask(wire.MailRequest{Fetch: some})
		if err != nil {
			return err
		}
		for _, item := range reply.Items {
			if !slices.Contains(some, item.At) {
				return fmt.Errorf("%w: the mailbox gave what was not asked for", errProtocol)
			}
			x.g.n.metrics.MailGot.Add(1)
			envelope := wire.Unboxed(s.box.Tag, s.box.Key, item.Boxed)
			out, err := x.g.loop.step(ctx, group.Envelope{Bytes: envelope})
			switch verdict := verdictOf(out, err); {
			case errors.Is(err, ErrStore), errors.Is(err, ErrClosed), errors.Is(err, errCrashed), ctx.Err() != nil:
				return err // it is read again
			case err == nil:
				x.saw(envelope)
			case verdict == group.Reject:
				x.g.log.Debug("an envelope from a mailbox is no good", "peer", s.peer, "err", err)
			default:
				if r.open = append(r.open, item.At); len(r.open) > maxOpenMail {
					r.open, r.missed = r.open[1:], true
				}
			}
		}
		if len(reply.Items) == 0 {
			cursors = cursors[len(some):] // gone
			continue
		}
		last := reply.Items[len(reply.Items)-1].At
		cursors = cursors[slices.Index(cursors, last)+1:]
	}
	return nil
}

// putAll puts what a mailbox has not taken into the boxes that it is for.
func (x *mailer) putAll(ctx context.Context, p peer.ID, boxes []group.Box) error {
	var errs []error
	for _, b := range boxes {
		// One that is full, maybe of what somebody who is out wrote, holds up no other.
		if err := x.put(ctx, p, b, boxes); errors.Is(err, errMailFull) || errors.Is(err, errMailClosed) {
			errs = append(errs, err)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// put is putAll for one box. If the mailbox opens none for this device, the boxes that
// it has already vouch.
func (x *mailer) put(ctx context.Context, p peer.ID, b group.Box, boxes []group.Box) error {
	all, err := x.posted()
	if err != nil {
		return err
	}
	posted := x.durable(p, b.Key).Posted
	all = slices.DeleteFunc(all, func(o post) bool { return o.box != b.Key || o.number <= posted })
	if len(all) == 0 {
		return nil
	}
	err = x.putThrough(ctx, p, b, nil, all)
	for _, v := range boxes {
		if !errors.Is(err, errMailClosed) {
			break
		}
		if v.Key != b.Key && x.durable(p, v.Key).Life != 0 {
			err = x.putThrough(ctx, p, b, &v, all)
		}
	}
	return err
}

func (x *mailer) putThrough(ctx context.Context, p peer.ID, b group.Box, voucher *group.Box, all []post) error {
	s, err := x.open(ctx, p, b, voucher)
	if err != nil {
		return err
	}
	defer s.abandon()
	for len(all) > 0 {
		var r wire.MailRequest
		size := 0
		for _, o := range all[:min(len(all), wire.MaxMailPut)] {
			if size += int(o.size); size > mailReplyBytes && len(r.Put) > 0 {
				break
			}
			e, err := x.g.n.store.Get(x.g.postKey(o))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrStore, err)
			}
			r.Put = append(r.Put, wire.Boxed(e))
		}
		reply, err := s.ask(r)
		if err != nil {
			return err
		}
		taken := min(int(reply.Taken), len(r.Put)) //nolint:gosec // bounded by MaxMailPut
		if taken > 0 {
			if err := x.save(p, func(row *mailingRow) {
				box := row.box(b.Key)
				if box.Life != reply.Life {
					if box.Life != 0 {
						row.Owed = 1
					}
					box.Life, box.After = reply.Life, 0
				}
				box.Posted = all[taken-1].number
			}); err != nil {
				return err
			}
			x.g.n.metrics.MailPut.Add(float64(taken)) //nolint:gosec // a count
			all = all[taken:]
		}
		switch {
		case reply.Code == wire.MailFull:
			return errMailFull
		case reply.Code == wire.MailClosed:
			return errMailClosed
		case taken == 0:
			return fmt.Errorf("%w: the mailbox takes nothing and does not say why", errProtocol)
		}
	}
	s.close()
	return nil
}

// mailStream is an open stream to a mailbox, about one box.
type mailStream struct {
	*frames
	peer peer.ID
	box  group.Box
	stop func() bool
}

func (s *mailStream) ask(r wire.MailRequest) (*wire.MailReply, error) {
	if err := s.write(r); err != nil {
		return nil, err
	}
	reply := new(wire.MailReply)
	if err := s.read(reply); err != nil {
		return nil, noEOF(err)
	}
	return reply, nil
}

func (s *mailStream) abandon() {
	s.stop()
	s.frames.abandon()
}

// open opens a stream and shows that this device holds the box's key.
func (x *mailer) open(ctx context.Context, p peer.ID, b group.Box, voucher *group.Box) (*mailStream, error) {
	n := x.g.n
	stream, err := n.openStream(ctx, p, wire.ProtocolMail)
	if err != nil {
		return nil, fmt.Errorf("opening a stream to the mailbox: %w", err)
	}
	s := &mailStream{frames: newFrames(stream), peer: p, box: b, stop: context.AfterFunc(ctx, func() { _ = stream.Reset() })}
	if err := x.prove(ctx, s, p, b, voucher); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (x *mailer) prove(ctx context.Context, s *mailStream, p peer.ID, b group.Box, voucher *group.Box) error {
	if err := s.write(wire.MailHello{V: wire.Version, Box: b.ID}); err != nil {
		return err
	}
	var challenge wire.MailChallenge
	if err := s.read(&challenge); err != nil {
		return noEOF(err)
	}
	payload := wire.MailProofPayload(b.ID, challenge.Nonce, []byte(x.g.n.host.ID()), []byte(p))
	var proof wire.MailProof
	if err := x.g.loop.look(ctx, func(m *group.Machine) error {
		var ok bool
		if proof.Signature, ok = m.ProveBox(b.Key, []byte(p), payload); !ok {
			return fmt.Errorf("%w: transport key", ErrNotFound)
		}
		if voucher != nil {
			proof.Voucher = &wire.MailVoucher{Box: voucher.ID}
			if proof.Voucher.Signature, ok = m.ProveBox(voucher.Key, []byte(p), payload); !ok {
				return fmt.Errorf("%w: transport key", ErrNotFound)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return s.write(proof)
}
