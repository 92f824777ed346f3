package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Catch-up between two members, as node/wire/stream.go lays it down. After the
// proofs both sides do the same: send a vector, answer the other's, then ask for
// what they still want, one Want at a time. A side that wants nothing more says so
// with an empty Want. When each has answered the other's empty Want, both close.

// Limits of one exchange.
const (
	syncTurn      = 3 * time.Minute // after which it sends and asks for no more; the next one goes on from there
	entriesFrame  = 32 << 10        // bytes of entries or seals in a frame, about: what a slow line carries in seconds
	treePart      = 32 << 10
	wantMessages  = 256 // asked for in one Want
	wantTrees     = 4
	maxWantAnswer = 4096 // messages of a peer's Want that are answered
	maxWants      = 1024 // Wants a peer may send in one exchange
	maxTasks      = 8    // answers a peer may have outstanding
)

var (
	errNotMember   = errors.New("the peer is no member of the group")
	errProtocol    = errors.New("the peer broke the protocol")
	errMisbehaved  = errors.New("the peer sent input that it should have refused itself")
	errSyncRefused = errors.New("the peer did not show that it is a member")
	errTreeless    = errors.New("the peer does not have the ratchet tree that this device needs")
)

// syncStats counts the objects and bytes that an exchange moved.
type syncStats struct {
	entriesIn, entriesOut, sealsIn, sealsOut, earlierIn, earlierOut int

	leftIn, leftOut bool // there was more, and its turn was over
	treeless        bool // the other end does not have a ratchet tree that was asked for
	ungiven         int  // earlier messages that were asked for and not given
}

func (s syncStats) left() bool { return s.leftIn || s.leftOut }

// open runs an exchange with a peer from this side.
func (s *scheduler) open(ctx context.Context, p peer.ID) (stats syncStats, err error) {
	g, n := s.g, s.g.n
	ctx, span := n.tracing.begin(ctx, spanCatchUp, g.id, p)
	defer func() { finish(span, err, stats.moved()...) }()
	stream, err := openStream(ctx, n.host, p, wire.ProtocolSync)
	if err != nil {
		return syncStats{}, fmt.Errorf("opening a sync stream: %w", err)
	}
	// A reset ends a read or write that is under way, from the first byte on: a peer that
	// died silently answers nothing until its connection times out.
	defer context.AfterFunc(ctx, func() { _ = stream.Reset() })()
	x := &exchange{g: g, frames: newFrames(n.metrics.stream(stream))}
	defer x.abandon()

	mine := newHello(g.id)
	if err := x.write(mine); err != nil {
		return x.stats, err
	}
	var theirs wire.SyncHello
	if err := x.read(&theirs); err != nil {
		return x.stats, err
	}
	met := time.Now()
	if theirs.Topic != mine.Topic {
		return x.stats, fmt.Errorf("%w: hello of another group", errProtocol)
	}
	ends := proofEnds{mine, theirs, []byte(n.host.ID()), []byte(p)}
	proof, err := prove(ctx, g, wire.KeyID{}, roleOpener, ends)
	if err != nil {
		return x.stats, err
	}
	if proof.Told, err = x.tell(ctx, roleOpener); err != nil {
		return x.stats, err
	}
	if err := x.write(proof); err != nil {
		return x.stats, err
	}
	var answer wire.SyncProof
	if err := x.read(&answer); err != nil {
		return x.stats, fmt.Errorf("%w: %w", errSyncRefused, err)
	}
	if x.device, err = verify(ctx, g, answer, roleAnswerer, ends, p); err != nil {
		return x.stats, err
	}
	n.clock.compare(ctx, g, answer, theirs, met)
	x.key, x.theirs = answer.Key, answer.Told
	if err := x.run(ctx); err != nil {
		return x.stats, err
	}
	x.close()
	return x.stats, nil
}

// openStream opens a stream to a connected peer, over a relay if need be.
func openStream(ctx context.Context, h host.Host, p peer.ID, protocol string) (network.Stream, error) {
	return h.NewStream(network.WithNoDial(network.WithAllowLimitedConn(ctx, protocol), protocol), p, protocolID(protocol))
}

// serveSync answers a sync stream. A peer that does not prove that it may have
// the log sees what a node without the group shows: a hello, and the end.
func serveSync(ctx context.Context, n *Node, s network.Stream, at *admission.Slot) (err error) {
	f := newFrames(n.metrics.stream(s))
	defer f.abandon()
	var theirs wire.SyncHello
	if err := f.read(&theirs); err != nil {
		return err
	}
	met := time.Now()
	mine := wire.SyncHello{V: wire.Version, Topic: theirs.Topic, Now: milliseconds(met)}
	_, _ = rand.Read(mine.Nonce[:])
	if err := f.write(mine); err != nil {
		return err
	}
	var proof wire.SyncProof
	if err := f.read(&proof); err != nil {
		return err
	}
	p := s.Conn().RemotePeer()
	ends := proofEnds{theirs, mine, []byte(p), []byte(n.host.ID())}
	g := n.groups.byTopic(theirs.Topic)
	if g == nil {
		f.close()
		return ErrNoGroup
	}
	device, err := verify(ctx, g, proof, roleOpener, ends, p)
	if err != nil {
		f.close()
		return err
	}
	at.Prove()
	n.clock.compare(ctx, g, proof, theirs, met)
	x := &exchange{g: g, frames: f, device: device, key: proof.Key, theirs: proof.Told}
	answer, err := prove(ctx, g, proof.Key, roleAnswerer, ends)
	if err != nil {
		return err
	}
	if answer.Told, err = x.tell(ctx, roleAnswerer); err != nil {
		return err
	}
	began := g.scheduler.serves(p)
	defer func() {
		g.scheduler.synced(p, began, x.stats, err)
		g.scheduler.served(p, x.stats)
	}()
	ctx, span := n.tracing.begin(ctx, spanCatchUpServe, g.id, p)
	defer func() { finish(span, err, x.stats.moved()...) }()
	if err := x.write(answer); err != nil {
		return err
	}
	if err := x.run(ctx); err != nil {
		return err
	}
	f.close()
	return nil
}

// exchange is the part of a sync after the proofs. One goroutine reads and steps, one
// writes, so that two sides with much to send do not wait for each other. The reader hands
// its writes over through tasks, which never fills unless the peer breaks the protocol.
type exchange struct {
	g *groupSession
	*frames
	device wire.DeviceID // the other end
	key    wire.KeyID    // by which it proved that it may take part
	marks  wire.Marks    // of this device, as of its proof
	told   wire.Hash     // of marks; zeros: it tells none
	theirs wire.Hash     // of the other end's, as it told
	stats  syncStats     // the reader's fields and the writer's are disjoint
	begun  time.Time
	tasks  chan task
}

// task is one thing for the writer; exactly one field is set.
type task struct {
	vector  *wire.SyncVector // answer it
	want    *wire.SyncWant   // answer it
	ask     *wire.SyncWant   // send it
	settled bool             // the peer has answered this side's last Want
}

// silent says that the other end learns nothing yet. It is a stranger whose key somebody
// who was taken out has too: a member of a branch that does not know of that, or who was
// taken out, with another device. A device that was let in shows it by the entries that it sends.
func (x *exchange) silent(m *group.Machine) bool {
	return m.Standing(x.device) == group.Stranger && !m.Transport().Vouches(x.key)
}

// tell settles which marks this side tells, and gives their hash: zeros for a peer that
// learns nothing yet. The opener does not know yet whether it meets such a peer, which learns
// from the hash whether it has all that this device has.
func (x *exchange) tell(ctx context.Context, role byte) (wire.Hash, error) {
	err := x.g.loop.look(ctx, func(m *group.Machine) error {
		if role == roleOpener || !x.silent(m) {
			x.marks, x.told = m.Marks(), m.MarksHash()
		}
		return nil
	})
	return x.told, err
}

// same says that both ends told the same marks in their proofs, so that neither sends them.
func (x *exchange) same() bool { return x.told != wire.Hash{} && x.told == x.theirs }

// over says that this exchange has to end: one that has moved a lot begins anew, so that
// new entries go first and a stream is not held for hours.
func (x *exchange) over() bool { return time.Since(x.begun) > syncTurn }

func isLast(w *wire.SyncWant) bool {
	return len(w.Messages)+len(w.Trees)+len(w.Earlier) == 0
}

// run is both directions of an exchange. The caller, which opened or
// serves the stream, resets it when ctx ends.
func (x *exchange) run(ctx context.Context) error {
	x.begun, x.tasks = time.Now(), make(chan task, maxTasks)
	defer func() { x.g.scheduler.gaveEarlier(x.device, x.stats.ungiven) }()
	both, inner := errgroup.WithContext(ctx)
	for _, half := range []func(context.Context) error{x.writeAll, x.readAll} {
		both.Go(func() error {
			err := half(inner)
			if err != nil {
				_ = x.s.Reset()
			}
			return err
		})
	}
	return both.Wait()
}

func (x *exchange) task(t task) error {
	select {
	case x.tasks <- t:
		return nil
	default:
		return fmt.Errorf("%w: too many requests at once", errProtocol)
	}
}

// writeAll sends this side's vector and carries out the reader's tasks until both
// sides want nothing more.
func (x *exchange) writeAll(ctx context.Context) error {
	var vector wire.SyncVector
	if err := x.g.loop.look(ctx, func(m *group.Machine) error {
		if x.silent(m) {
			return nil
		}
		if vector = m.VectorFor(x.device); x.same() {
			vector.Marks, vector.Same = nil, 1
		}
		return nil
	}); err != nil {
		return err
	}
	for part := range vector.Parts() {
		if err := x.write(wire.SyncMessage{Vector: part}); err != nil {
			return err
		}
	}
	var wants uint64 // of the peer, answered
	for answered, settled := false, false; !answered || !settled; {
		var t task
		select {
		case t = <-x.tasks:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case t.vector != nil:
			if err := x.writeEntries(ctx, t.vector.Marks); err != nil {
				return err
			}
			if err := x.write(wire.SyncMessage{Done: &wire.SyncDone{}}); err != nil {
				return err
			}
		case t.want != nil:
			if err := x.writeWanted(ctx, t.want); err != nil {
				return err
			}
			wants++
			if err := x.write(wire.SyncMessage{Done: &wire.SyncDone{Wants: wants}}); err != nil {
				return err
			}
			answered = isLast(t.want)
		case t.ask != nil:
			if err := x.write(wire.SyncMessage{Want: t.ask}); err != nil {
				return err
			}
		case t.settled:
			settled = true
		}
	}
	return x.s.CloseWrite()
}

// takeVector takes a part of the peer's version vector, and says whether that is whole now.
func (x *exchange) takeVector(ctx context.Context, vector, part *wire.SyncVector) (whole bool, err error) {
	if err := vector.Join(part); err != nil {
		return false, fmt.Errorf("%w: %w", errProtocol, err)
	}
	if vector.More != 0 {
		return false, nil
	}
	in := group.PeerVector{Device: x.device, Vector: vector}
	switch {
	case vector.Same != 0 && !x.same():
		return false, fmt.Errorf("%w: it says that its vector is the same, and its proof told another", errProtocol)
	case vector.Same != 0:
		vector.Marks, in.Same = x.marks, x.told
	}
	if _, err := x.take(ctx, in); err != nil {
		return false, err
	}
	return true, x.task(task{vector: vector})
}

// writeEntries sends the entries that the peer's vector lacks, frame by frame, so that the
// machine is held for one frame at a time.
func (x *exchange) writeEntries(ctx context.Context, theirs []wire.Mark) error {
	var from wire.EntryHash
	for {
		var entries [][]byte
		if err := x.g.loop.look(ctx, func(m *group.Machine) (err error) {
			if !x.silent(m) {
				entries, from, err = m.EntriesAfter(x.device, theirs, from, entriesFrame)
			}
			return err
		}); err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		if err := x.write(wire.SyncMessage{Entries: entries}); err != nil {
			return err
		}
		x.stats.entriesOut += len(entries)
		if from == (wire.EntryHash{}) {
			return nil
		}
		if x.over() {
			x.stats.leftOut = true
			return nil
		}
	}
}

// writeWanted sends the seals and trees that the peer asked for and may have.
func (x *exchange) writeWanted(ctx context.Context, w *wire.SyncWant) error {
	const step = 32 // messages looked up in one turn at the machine
	for messages := range slices.Chunk(w.Messages[:min(len(w.Messages), maxWantAnswer)], step) {
		if x.over() {
			x.stats.leftOut = true
			break
		}
		// It cannot open what it had from us before and asks for again: it lacks the epoch.
		// Of a device that the group does not know nothing is remembered: it makes up others.
		var again []wire.MessageID
		var seals [][]byte
		if err := x.g.loop.look(ctx, func(m *group.Machine) (err error) {
			if m.Standing(x.device) == group.Current {
				again = x.g.scheduler.askedBefore(x.device, messages)
			}
			if !x.silent(m) {
				seals, err = m.SealsFor(x.device, messages)
			}
			return err
		}); err != nil {
			return err
		}
		if len(again) > 0 {
			if _, err := x.take(ctx, group.PeerVector{Device: x.device, Gaps: again}); err != nil {
				return err
			}
		}
		for len(seals) > 0 && !x.over() {
			n := fitting(seals, entriesFrame)
			if err := x.write(wire.SyncMessage{Seals: seals[:n]}); err != nil {
				return err
			}
			x.stats.sealsOut += n
			seals = seals[n:]
		}
		x.stats.leftOut = x.stats.leftOut || len(seals) > 0
	}
	for ids := range slices.Chunk(w.Earlier[:min(len(w.Earlier), maxWantAnswer)], step) {
		if x.over() {
			x.stats.leftOut = true
			break
		}
		var earlier []wire.Earlier
		if err := x.g.loop.look(ctx, func(m *group.Machine) (err error) {
			if m.Standing(x.device) == group.Current {
				earlier, err = m.Journal().EarlierFor(x.g.n.clock.now(), x.device, ids)
			}
			return err
		}); err != nil {
			return err
		}
		for len(earlier) > 0 {
			n, size := 0, 0
			for ; n < len(earlier) && (n == 0 || size+len(earlier[n].Opened) <= entriesFrame); n++ {
				size += len(earlier[n].Opened)
			}
			if err := x.write(wire.SyncMessage{Earlier: earlier[:n]}); err != nil {
				return err
			}
			x.stats.earlierOut += n
			earlier = earlier[n:]
		}
	}
	for _, epoch := range w.Trees[:min(len(w.Trees), wantTrees)] {
		var tree []byte
		if err := x.g.loop.look(ctx, func(m *group.Machine) (err error) {
			if m.Standing(x.device) != group.Removed && !x.silent(m) {
				tree, err = m.TreeOf(epoch)
			}
			return err
		}); err != nil {
			return err
		}
		if err := writeTree(epoch, tree, func(t *wire.SyncTree) error { return x.write(wire.SyncMessage{Tree: t}) }); err != nil {
			return err
		}
	}
	return nil
}

// fitting is how many of the parts, at least one, make up to limit bytes.
func fitting(parts [][]byte, limit int) int {
	size := 0
	for i, p := range parts {
		if size += len(p); size > limit {
			return max(i, 1)
		}
	}
	return len(parts)
}

// writeTree cuts a tree into parts. No tree is no part.
func writeTree(epoch wire.EpochID, tree []byte, write func(*wire.SyncTree) error) error {
	at := uint64(0)
	for part := range slices.Chunk(tree, treePart) {
		if err := write(&wire.SyncTree{Epoch: epoch, Total: uint64(len(tree)), At: at, Part: part}); err != nil {
			return err
		}
		at += uint64(len(part))
	}
	return nil
}

// treeReader puts a tree's parts together.
type treeReader struct {
	epoch wire.EpochID
	total uint64
	bytes []byte
}

// add takes the next part; done says that the tree is complete. Memory grows with
// what has arrived, not with what is announced.
func (t *treeReader) add(p *wire.SyncTree) (done bool, err error) {
	if p.At == 0 {
		*t = treeReader{epoch: p.Epoch, total: p.Total}
	}
	switch have := uint64(len(t.bytes)); {
	case p.Epoch != t.epoch, p.Total != t.total, p.At != have:
		return false, fmt.Errorf("%w: part of a tree out of place", errProtocol)
	}
	t.bytes = append(t.bytes, p.Part...)
	return uint64(len(t.bytes)) == t.total, nil
}

// readAll steps the peer's input, and asks for seals and trees that are still wanted.
func (x *exchange) readAll(ctx context.Context) error {
	var (
		asked    = make(map[[32]byte]bool) // messages and epochs, once per exchange
		sent     uint64                    // Wants of this side
		last     bool                      // this side wants nothing more
		vectors  int
		received uint64 // Wants of the peer
		theirEnd bool   // the peer wants nothing more
		tree     treeReader
		trees    int // asked for and not here
		vector   wire.SyncVector
		earlier  = make(map[wire.MessageID]bool) // asked for and not given yet
	)
	defer func() { x.stats.ungiven = len(earlier) }()
	for {
		var msg wire.SyncMessage
		if err := x.read(&msg); err != nil {
			if errors.Is(err, io.EOF) && last && theirEnd {
				return nil
			}
			return noEOF(err)
		}
		switch {
		case msg.Vector != nil:
			if vectors > 0 {
				return fmt.Errorf("%w: a second vector", errProtocol)
			}
			whole, err := x.takeVector(ctx, &vector, msg.Vector)
			if err != nil {
				return err
			}
			if whole {
				vectors++
			}
		case msg.Entries != nil:
			out, err := x.take(ctx, group.From{Input: group.Entries{Entries: msg.Entries}, Device: x.device})
			if err != nil {
				return err
			}
			x.stats.entriesIn += out.New
		case msg.Seals != nil:
			out, err := x.take(ctx, group.From{Input: group.Seals{Seals: msg.Seals}, Device: x.device})
			if err != nil {
				return err
			}
			x.stats.sealsIn += out.New
		case msg.Earlier != nil:
			if err := x.takeEarlier(ctx, earlier, msg.Earlier); err != nil {
				return err
			}
		case msg.Tree != nil:
			done, err := x.takeTree(ctx, asked, &tree, msg.Tree)
			if err != nil {
				return err
			}
			if done {
				trees--
			}
		case msg.Want != nil:
			if received++; theirEnd || received > maxWants {
				return fmt.Errorf("%w: a Want too many", errProtocol)
			}
			theirEnd = isLast(msg.Want)
			if err := x.task(task{want: msg.Want}); err != nil {
				return err
			}
		case msg.Done != nil:
			if msg.Done.Wants != sent {
				return fmt.Errorf("%w: Done %d after %d Wants", errProtocol, msg.Done.Wants, sent)
			}
			x.stats.treeless = trees > 0
			if last {
				if err := x.task(task{settled: true}); err != nil {
					return err
				}
				continue
			}
			want, err := x.next(ctx, asked)
			if err != nil {
				return err
			}
			sent++
			note(earlier, want.Earlier)
			trees += len(want.Trees)
			if last = isLast(want); !last && x.over() {
				want, last, x.stats.leftIn = &wire.SyncWant{}, true, true
			}
			if err := x.task(task{ask: want}); err != nil {
				return err
			}
		}
	}
}

// takeTree takes a part of a tree, and says whether that is whole now.
func (x *exchange) takeTree(ctx context.Context, asked map[[32]byte]bool, tree *treeReader, part *wire.SyncTree) (done bool, err error) {
	if !asked[part.Epoch] {
		return false, fmt.Errorf("%w: a tree that was not asked for", errProtocol)
	}
	if done, err = tree.add(part); err != nil || !done {
		return false, err
	}
	_, err = x.take(ctx, group.Tree{Epoch: tree.epoch, Bytes: tree.bytes})
	*tree = treeReader{}
	return true, err
}

func note(earlier map[wire.MessageID]bool, asked []wire.MessageID) {
	for _, id := range asked {
		earlier[id] = true
	}
}

// takeEarlier takes messages from before this device came in, each once, of those asked for.
func (x *exchange) takeEarlier(ctx context.Context, asked map[wire.MessageID]bool, messages []wire.Earlier) error {
	for _, e := range messages {
		if !asked[e.Message] {
			return fmt.Errorf("%w: an earlier message that was not asked for", errProtocol)
		}
		delete(asked, e.Message)
	}
	out, err := x.take(ctx, group.Earlier{Device: x.device, Messages: messages})
	x.stats.earlierIn += out.New
	return err
}

// take steps what the peer sent. A rejection ends the exchange: the peer
// should have refused the input as well.
func (x *exchange) take(ctx context.Context, in group.Input) (group.Outcome, error) {
	out, err := x.g.loop.step(ctx, in)
	x.g.refused(sourceSync, x.device.String(), err)
	if err != nil && verdictOf(out, err) == verdict.Reject {
		return out, fmt.Errorf("%w: %w", errMisbehaved, err)
	}
	if undecided(err) || ctx.Err() != nil {
		return out, err
	}
	return out, nil
}

// next returns the seals and trees that this side wants and has not asked for yet.
func (x *exchange) next(ctx context.Context, asked map[[32]byte]bool) (*wire.SyncWant, error) {
	var all wire.SyncWant
	var earlier []wire.MessageID
	if err := x.g.loop.look(ctx, func(m *group.Machine) error {
		if all = m.Wants(x.g.n.clock.now()); x.g.scheduler.givesEarlier(x.device) {
			earlier = m.Journal().EarlierWants(func(id wire.MessageID) bool { return asked[id] }, wantMessages)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	want := &wire.SyncWant{}
	for _, id := range all.Messages {
		if !asked[id] && len(want.Messages) < wantMessages {
			asked[id] = true
			want.Messages = append(want.Messages, id)
		}
	}
	for _, id := range all.Trees {
		if !asked[id] && len(want.Trees) < wantTrees {
			asked[id] = true
			want.Trees = append(want.Trees, id)
		}
	}
	for _, id := range earlier {
		asked[id] = true
	}
	want.Earlier = earlier
	return want, nil
}

// noEOF turns an end in the middle of a conversation into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
