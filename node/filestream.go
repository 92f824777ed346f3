package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Files travel on streams between members, who prove themselves as for an exchange. A member
// is served what messages of the group name, and nobody else anything.

// Roles in a wire.SyncProof on these streams.
const (
	roleBlobOpener   byte = 3
	roleBlobAnswerer byte = 4
)

// blobIdle is how long a stream may be without a request.
const blobIdle = time.Minute

// maySee says whether a device is a member now, by this device's own branch or by that of
// another one: the same as who hears the group's gossip.
func maySee(ctx context.Context, g *groupSession, d wire.DeviceID, key wire.KeyID) error {
	return g.loop.look(ctx, func(m *group.Machine) error {
		if s := m.Standing(d); s == group.Current || s == group.Stranger && m.Transport().Vouches(key) {
			return nil
		}
		return errNotMember
	})
}

// serveBlobs answers a member.
func serveBlobs(ctx context.Context, n *Node, s network.Stream, at *admission.Slot) error {
	f := newFrames(n.metrics.files(s))
	defer f.abandon()
	var theirs wire.SyncHello
	if err := f.read(&theirs); err != nil {
		return err
	}
	mine := newHello(wire.GroupID{})
	mine.Topic = theirs.Topic
	if err := f.write(mine); err != nil {
		return err
	}
	var proof wire.SyncProof
	if err := f.read(&proof); err != nil {
		return err
	}
	p := s.Conn().RemotePeer()
	g := n.groups.byTopic(theirs.Topic)
	if g == nil {
		f.close()
		return ErrNoGroup
	}
	ends := proofEnds{theirs, mine, []byte(p), []byte(n.host.ID())}
	device, err := verify(ctx, g, proof, roleBlobOpener, ends, p)
	if err == nil {
		err = maySee(ctx, g, device, proof.Key)
	}
	if err != nil {
		f.close()
		return err
	}
	at.Prove()
	answer, err := prove(ctx, g, proof.Key, roleBlobAnswerer, ends)
	if err != nil {
		return err
	}
	if err := f.write(answer); err != nil {
		return err
	}
	for {
		var ask wire.BlobAsk
		if err := f.readWithin(blobIdle, &ask); err != nil {
			if errors.Is(err, io.EOF) {
				f.close()
				return nil
			}
			return err
		}
		// Somebody may be taken out while a stream is open.
		if err := maySee(ctx, g, device, proof.Key); err != nil {
			f.close()
			return err
		}
		if err := answerBlobs(n, g.id, p, f, &ask); err != nil {
			return err
		}
	}
}

func answerBlobs(n *Node, id wire.GroupID, p peer.ID, f *frames, ask *wire.BlobAsk) error {
	if ask.Get == nil {
		var out wire.BlobAnswer
		for _, root := range ask.Have {
			b, _ := n.files.names(id, root)
			out.Have = append(out.Have, wire.BlobHeld{Length: uint64(b.length), Bits: b.bits}) //nolint:gosec // not negative
		}
		return f.write(out)
	}
	held, ok := n.files.names(id, ask.Get.Root)
	from, groups := int(ask.Get.From), int(ask.Get.Groups) //nolint:gosec // bounded by its decoder
	b := blob.Blob{Root: held.root, Length: held.length}
	if ok = ok && b.Has(from, groups); ok {
		for i := range groups {
			ok = ok && held.bits.Has(from+i)
		}
	}
	if !ok {
		return f.write(wire.BlobAnswer{No: &wire.BlobNo{}})
	}
	if wait := n.door.limits.Serving(p, groups*blob.GroupSize); wait > 0 {
		return f.write(wire.BlobAnswer{No: &wire.BlobNo{Wait: uint64(wait.Milliseconds()) + 1}}) //nolint:gosec // positive
	}
	disk, err := os.Open(n.files.path(held.path))
	if err != nil {
		return f.write(wire.BlobAnswer{No: &wire.BlobNo{}}) // it was given up just now
	}
	defer disk.Close()
	b.F = readOnly{disk}
	w := &partWriterTo{write: func(part []byte) error { return f.write(wire.BlobAnswer{Part: part}) }}
	if err := b.Slice(w, from, groups); err != nil {
		return err
	}
	return w.flush()
}

// readOnly is a file that is not written.
type readOnly struct{ io.ReaderAt }

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, os.ErrPermission }

// partWriterTo sends a slice in parts: what is above a group goes with it.
type partWriterTo struct {
	write func(part []byte) error
	part  []byte
}

func (w *partWriterTo) Write(p []byte) (int, error) {
	w.part = append(w.part, p...)
	if len(w.part) < blob.GroupSize {
		return len(p), nil
	}
	return len(p), w.flush()
}

func (w *partWriterTo) flush() error {
	for part := range slices.Chunk(w.part, wire.MaxBlobPart) {
		if err := w.write(part); err != nil {
			return err
		}
	}
	w.part = w.part[:0]
	return nil
}

// blobStream asks one member.
type blobStream struct {
	*frames
	end   func() bool
	began time.Time
}

// openBlobs opens a stream to a connected member.
func (g *groupSession) openBlobs(ctx context.Context, p peer.ID) (_ *blobStream, err error) {
	stream, err := openStream(ctx, g.n.host, p, wire.ProtocolBlob)
	if err != nil {
		return nil, fmt.Errorf("opening a stream for files: %w", err)
	}
	b := &blobStream{newFrames(g.n.metrics.files(stream)), context.AfterFunc(ctx, func() { _ = stream.Reset() }), time.Now()}
	defer func() {
		if err != nil {
			b.drop()
		}
	}()
	mine := newHello(g.id)
	if err := b.write(mine); err != nil {
		return nil, err
	}
	var theirs wire.SyncHello
	if err := b.read(&theirs); err != nil {
		return nil, err
	}
	if theirs.Topic != mine.Topic {
		return nil, fmt.Errorf("%w: hello of another group", errProtocol)
	}
	ends := proofEnds{mine, theirs, []byte(g.n.host.ID()), []byte(p)}
	proof, err := prove(ctx, g, wire.KeyID{}, roleBlobOpener, ends)
	if err != nil {
		return nil, err
	}
	if err := b.write(proof); err != nil {
		return nil, err
	}
	var answer wire.SyncProof
	if err := b.read(&answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errSyncRefused, err)
	}
	_, err = verify(ctx, g, answer, roleBlobAnswerer, ends, p)
	return b, err
}

// drop ends a stream.
func (b *blobStream) drop() {
	b.end()
	b.abandon()
}

// have asks which groups of blobs the member has. An answer that cannot be right counts as nothing.
func (b *blobStream) have(roots []wire.BlobRoot, lengths []int64) ([]blob.Bits, error) {
	if err := b.write(wire.BlobAsk{Have: roots}); err != nil {
		return nil, err
	}
	var answer wire.BlobAnswer
	if err := b.read(&answer); err != nil {
		return nil, noEOF(err)
	}
	if len(answer.Have) != len(roots) {
		return nil, fmt.Errorf("%w: it answered about %d files of %d", errProtocol, len(answer.Have), len(roots))
	}
	out := make([]blob.Bits, len(roots))
	for i, h := range answer.Have {
		out[i] = blob.NewBits(lengths[i])
		if h.Length == uint64(lengths[i]) && blob.Bits(h.Bits).Fits(lengths[i]) { //nolint:gosec // not negative
			out[i] = h.Bits
		}
	}
	return out, nil
}

// waitError says that a member wants to be asked later; zero: it does not have it.
type waitError time.Duration

func (w waitError) Error() string {
	if w == 0 {
		return "the member does not have it any more"
	}
	return fmt.Sprintf("the member wants to be asked again in %v", time.Duration(w))
}

// get asks for groups, and gives each to the blob as it comes. It gives how long the first took
// to come.
func (b *blobStream) get(to blob.Blob, from, groups int, got func(int)) (first time.Duration, err error) {
	began := time.Now()
	if err := b.write(wire.BlobAsk{Get: &wire.BlobGet{Root: to.Root, From: uint64(from), Groups: uint64(groups)}}); err != nil { //nolint:gosec // not negative
		return 0, err
	}
	parts := &partReader{b: b}
	if err := to.Take(parts, from, groups, func(i int) {
		if first == 0 {
			first = time.Since(began)
		}
		got(i)
	}); err != nil {
		return first, noEOF(err)
	}
	if len(parts.rest) > 0 {
		return first, fmt.Errorf("%w: more than was asked for", errProtocol)
	}
	return first, nil
}

// partReader reads a slice out of its parts.
type partReader struct {
	b    *blobStream
	rest []byte
}

func (r *partReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		var answer wire.BlobAnswer
		switch err := r.b.read(&answer); {
		case err != nil:
			return 0, err
		case answer.No != nil:
			return 0, waitError(min(answer.No.Wait, uint64(time.Hour/time.Millisecond))) * waitError(time.Millisecond) //nolint:gosec // bounded
		case len(answer.Part) == 0:
			return 0, fmt.Errorf("%w: not a part of a file", errProtocol)
		}
		r.rest = answer.Part
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
