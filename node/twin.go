package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	multistream "github.com/multiformats/go-multistream"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// One device is to run once. A home that was copied, or a backup that was restored beside
// the original, makes two nodes of one peer ID: they cannot call each other, and each takes
// the group's keys from the other. Any peer that is connected to both sees them. It
// asks each which run it is, and hands each a signature of the other: nobody without the
// device's key can make a node believe that it has a twin, nor can an earlier run's word be
// kept for that. An entry that a twin writes in a group tells too (group.EventTwin).

const (
	twinPause  = time.Second      // from a further connection of a peer to asking: most are gone by then
	twinAgain  = time.Minute      // while a peer runs twice
	twinAsk    = 15 * time.Second // for asking once
	twinConns  = 4                // that are asked, at the most
	twinRecent = 10 * time.Minute // a twin that was heard of so lately is there
)

// twins holds a node's knowledge of devices that run twice: its own, and its peers'.
type twins struct {
	n   *Node
	run [32]byte // this run of this node

	mu     sync.Mutex
	last   time.Time        // of that; zero: none
	how    string           // it showed
	asking map[peer.ID]bool // peers that are being asked; true: once more
}

// twin is another node that runs as this device.
type twin struct {
	Seen time.Time // last; zero: never, in this run
	How  string    // it showed
}

// now says whether it is there, as far as is known.
func (t twin) now(at time.Time) bool { return !t.Seen.IsZero() && at.Sub(t.Seen) < twinRecent }

const (
	twinIs   = "another node runs as this device, with its keys: a copy of this home, or a backup restored beside the original"
	twinHint = "stop one of the two, and take its home away. What it accepted for sending is on its disk: let it meet a member first"
)

func newTwins(n *Node) *twins {
	t := &twins{n: n, asking: make(map[peer.ID]bool)}
	_, _ = rand.Read(t.run[:])
	return t
}

// met takes up a sign that this device runs twice. The log tells it when it begins.
func (t *twins) met(how string) {
	now := time.Now()
	t.mu.Lock()
	known := twin{Seen: t.last}.now(now)
	t.last, t.how = now, how
	t.mu.Unlock()
	if !known {
		t.n.log.Warn(twinIs, "how", how, "help", twinHint)
	}
	t.n.changed.wake()
}

// seen says whether another node was seen that runs as this device.
func (t *twins) seen() twin {
	t.mu.Lock()
	defer t.mu.Unlock()
	return twin{Seen: t.last, How: t.how}
}

// connected has a peer asked that is connected more than once.
func (t *twins) connected(p peer.ID) {
	if len(t.n.host.Network().ConnsToPeer(p)) < 2 {
		return
	}
	t.mu.Lock()
	_, running := t.asking[p]
	t.asking[p] = running
	t.mu.Unlock()
	if !running && !t.n.life.start(func(ctx context.Context) { t.askOn(ctx, p) }) {
		t.mu.Lock()
		delete(t.asking, p)
		t.mu.Unlock()
	}
}

// askOn asks a peer, and again as long as it runs twice or connects once more.
func (t *twins) askOn(ctx context.Context, p peer.ID) {
	for wait := twinPause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		t.mu.Lock()
		t.asking[p] = false
		t.mu.Unlock()
		twice, err := t.ask(ctx, p)
		if err != nil {
			t.n.log.Debug("asking whether a peer runs twice", "peer", p, "err", err)
		}
		if twice {
			t.n.log.Debug("two nodes run as one device", "peer", p)
		}
		wait = twinAgain
		t.mu.Lock()
		if again := t.asking[p]; again && !twice {
			wait = twinPause
		} else if !twice {
			delete(t.asking, p)
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// twinRun is a run that answers over one connection.
type twinRun struct {
	*frames
	run [32]byte
}

// ask finds out whether two runs of a peer are connected, and if so tells both.
func (t *twins) ask(ctx context.Context, p peer.ID) (twice bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, twinAsk)
	defer cancel()
	conns := t.n.host.Network().ConnsToPeer(p)
	if len(conns) < 2 {
		return false, nil
	}
	mathrand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] }) //nolint:gosec // chooses whom to ask, hides nothing
	var first *twinRun
	var errs []error
	for _, c := range conns[:min(len(conns), twinConns)] {
		r, err := askRun(ctx, c)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer context.AfterFunc(ctx, func() { _ = r.s.Reset() })()
		defer r.abandon()
		switch {
		case first == nil:
			first = r
		case first.run != r.run:
			return true, introduce(first, r)
		default:
			r.close()
		}
	}
	if first != nil {
		first.close()
	}
	return false, errors.Join(errs...)
}

// askRun asks which run is at the other end of a connection.
func askRun(ctx context.Context, c network.Conn) (*twinRun, error) {
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "twin"))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	err = s.SetProtocol(wire.ProtocolTwin)
	if err == nil {
		err = multistream.SelectProtoOrFail(protocolID(wire.ProtocolTwin), s)
	}
	r := &twinRun{frames: newFrames(s)}
	var hello wire.TwinHello
	if err == nil {
		err = r.read(&hello)
	}
	if err != nil {
		r.abandon()
		return nil, err
	}
	r.run = hello.Run
	return r, nil
}

// introduce hands each of two runs the other's word.
func introduce(a, b *twinRun) error {
	var proofs [2]wire.TwinProof
	both := [2]*twinRun{a, b}
	for i, r := range both {
		if err := r.write(wire.TwinHello{V: wire.Version, Run: both[1-i].run}); err != nil {
			return err
		}
	}
	for i, r := range both {
		if err := r.read(&proofs[i]); err != nil {
			return err
		}
	}
	var errs []error
	for i, r := range both { // also if the other has gone
		errs = append(errs, r.write(proofs[1-i]))
		r.close()
	}
	return errors.Join(errs...)
}

// serve says which run this is, and hears of another one.
func (t *twins) serve(ctx context.Context, s network.Stream, _ *admission.Slot) error {
	n := t.n
	f := newFrames(s)
	defer f.abandon()
	if err := f.write(wire.TwinHello{V: wire.Version, Run: t.run}); err != nil {
		return err
	}
	var other wire.TwinHello
	if err := f.read(&other); errors.Is(err, io.EOF) {
		f.close() // there is no other
		return nil
	} else if err != nil {
		return err
	}
	if other.Run == t.run {
		return fmt.Errorf("%w: a twin that is this run", errProtocol)
	}
	own := wire.TwinPayload(t.run, other.Run, []byte(n.host.ID()))
	if err := f.write(wire.TwinProof{Signature: n.me.log.Sign(wire.DomainTwin, wire.GroupID{}, own).Signature}); err != nil {
		return err
	}
	var proof wire.TwinProof
	if err := f.read(&proof); err != nil {
		return noEOF(err)
	}
	theirs := wire.Signed{Payload: wire.TwinPayload(other.Run, t.run, []byte(n.host.ID())), Signature: proof.Signature}
	if err := identity.Verify(n.me.log.Public(), wire.DomainTwin, wire.GroupID{}, theirs); err != nil {
		return fmt.Errorf("%w: the proof of a twin: %w", errProtocol, err)
	}
	f.close()
	t.met(fmt.Sprintf("the peer %v is connected to both", s.Conn().RemotePeer()))
	for _, g := range n.groups.all() {
		if _, err := g.loop.step(ctx, group.TwinSeen{}); err != nil {
			g.log.Debug("telling the group of a twin", "err", err)
		}
	}
	return nil
}

func twinFinding(t twin, now time.Time) api.Finding {
	const check = "device"
	switch {
	case t.now(now):
		return api.Failed(check, api.Errorf(api.CodeConflict, "%s (%s)", twinIs, t.How).WithHint("%s", twinHint))
	case !t.Seen.IsZero():
		return api.Finding{
			Check: check, Health: api.HealthWarn, Detail: fmt.Sprintf("another node ran as this device, and was last heard of %v ago (%s)", now.Sub(t.Seen).Round(time.Second), t.How),
			Hint: "if it is not gone for good, " + twinHint,
		}
	}
	return api.HealthOK.Found(check, "no other node was seen that runs as this device")
}

// text is the same for status; empty: there is none.
func (t twin) text() string {
	switch {
	case t.now(time.Now()):
		return fmt.Sprintf("%s (%s; last heard of at %s)", twinIs, t.How, t.Seen.UTC().Format("15:04:05 UTC"))
	case !t.Seen.IsZero():
		return "another node ran as this device, and was last heard of at " + t.Seen.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return ""
}
