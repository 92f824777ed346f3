package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// askToJoin carries a request to one member and listens until it is decided or the
// member's patience ends. heard is called with what the member says first, and with a
// Welcome before its tree has come.
func askToJoin(ctx context.Context, n *Node, p peer.AddrInfo, r wire.JoinRequest, heard func(wire.JoinReply)) (answer wire.JoinReply, tree []byte, err error) {
	ctx, span := n.tracing.begin(ctx, spanJoinAsk, r.Group, p.ID)
	defer func() {
		finish(span, err, attribute.Int("stage", int(answer.Stage)), attribute.Int("tree_bytes", len(tree)))
	}() //nolint:gosec // a small enum
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(joinContact+joinAnswer+frameTimeout, cancel)
	defer limit.Stop()
	dial, stop := context.WithTimeout(ctx, joinContact)
	defer stop()
	dial = network.WithAllowLimitedConn(dial, "join")
	if err := n.host.Connect(dial, p); err != nil {
		return wire.JoinReply{}, nil, fmt.Errorf("dialling: %w", err)
	}
	s, err := n.host.NewStream(dial, p.ID, wire.ProtocolJoin)
	if err != nil {
		return wire.JoinReply{}, nil, fmt.Errorf("opening a join stream: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	f := newFrames(s)
	defer f.abandon()
	if err := f.write(r); err != nil {
		return wire.JoinReply{}, nil, err
	}
	for patience := joinSilent; ; patience = joinAnswer + frameTimeout {
		var reply wire.JoinReply
		if err := f.readWithin(patience, &reply); err != nil {
			if errors.Is(err, io.EOF) { // it had the time it gives
				f.close()
				return wire.JoinReply{Stage: wire.JoinWaiting}, nil, nil
			}
			return reply, nil, err
		}
		switch reply.Stage {
		case wire.JoinWaiting:
			heard(reply)
		case wire.JoinDenied, wire.JoinRenew:
			f.close()
			return reply, nil, nil
		case wire.JoinWelcomed:
			heard(reply)
			limit.Reset(syncTimeout) // the tree of a large group takes its time on a slow line
			tree, err := readTree(f, reply.Epoch)
			if err != nil {
				return reply, nil, err
			}
			f.close()
			return reply, tree, nil
		}
	}
}

// readTree reads the parts that follow a Welcome, until the tree is complete; nil
// if the stream ends without any.
func readTree(f *frames, epoch wire.EpochID) ([]byte, error) {
	var t treeReader
	for {
		var part wire.SyncTree
		if err := f.read(&part); err != nil {
			if errors.Is(err, io.EOF) && t.bytes == nil {
				return nil, nil
			}
			return nil, noEOF(err)
		}
		if part.Epoch != epoch {
			return nil, fmt.Errorf("%w: the tree of another epoch", errProtocol)
		}
		if done, err := t.add(&part); err != nil || done {
			return t.bytes, err
		}
	}
}

// serveJoin answers a joiner: waiting, and then its Welcome or why not.
func serveJoin(ctx context.Context, n *Node, s network.Stream, at *admission.Slot) (err error) {
	f := newFrames(n.door.limits.Joining(s))
	defer f.abandon()
	var r wire.JoinRequest
	if err := f.read(&r); err != nil {
		return err
	}
	n.metrics.Joins.Inc()
	ctx, span := n.tracing.begin(ctx, spanJoinServe, r.Group, s.Conn().RemotePeer())
	defer func() { finish(span, err) }()
	d, err := identity.VerifyDevice(r.Cert)
	if err != nil {
		return errors.Join(err, deny(f, "the device's certificate does not hold", true))
	}
	from, g := s.Conn().RemotePeer(), n.groups.get(r.Group)
	own := string(d.Cert.Peer) == string(from)
	if !own && (g == nil || r.Invite == nil || !g.passedBy(ctx, from)) {
		return errors.Join(identity.ErrForged, deny(f, "the device's certificate is another peer's", false))
	}
	if g == nil {
		return errors.Join(ErrNoGroup, deny(f, ErrNoGroup.Error(), false))
	}
	asked := &askedHere{g: g, f: f, r: r, from: from, own: own}
	passed, err := asked.admit(ctx)
	if err != nil {
		return err
	}
	at.Prove() // it is let in, or waits for an admin
	patience, turn := time.NewTimer(joinAnswer), time.NewTimer(passServe)
	defer patience.Stop()
	defer turn.Stop()
	for {
		changed := g.changed.wait()
		var st group.JoinStatus
		if err := g.loop.look(ctx, func(m *group.Machine) (err error) { st, err = m.JoinStatus(r.KeyPackage, g.n.clock.now()); return err }); err != nil {
			return err
		}
		switch st.Stage {
		case wire.JoinWaiting:
			if passed == "" {
				break
			}
			if err := g.refusesNow(ctx, r); err != nil { // another one was let in meanwhile
				return errors.Join(err, deny(f, denial(err), verdict.Final(err)))
			}
		case wire.JoinRenew:
			err := f.write(&wire.JoinReply{Stage: wire.JoinRenew})
			f.close()
			return err
		case wire.JoinDenied:
			return deny(f, st.Reason, st.Final)
		case wire.JoinWelcomed:
			genesis := g.genesis.Raw
			if err := f.write(&wire.JoinReply{Stage: wire.JoinWelcomed, Welcome: st.Welcome, Epoch: st.Epoch, Genesis: &genesis}); err != nil {
				return err
			}
			if err := writeTree(st.Epoch, st.Tree, func(t *wire.SyncTree) error { return f.write(t) }); err != nil {
				return err
			}
			f.close()
			return nil
		}
		if err := asked.say(st.Reason); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-turn.C:
			if passed == "" || g.isIn(ctx, d.ID) {
				break
			}
			g.turns.miss(passed, time.Now())
			if passed, err = asked.admit(ctx); err != nil {
				return err
			}
			turn.Reset(passServe)
		case <-patience.C:
			f.close() // the joiner asks again, here or elsewhere
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askedHere is a request that this member answers.
type askedHere struct {
	g    *groupSession
	f    *frames
	r    wire.JoinRequest
	from peer.ID
	own  bool // it comes from its own device, and not from a member who passes it on
	told bool // that it waits
}

// say tells once that the request waits.
func (a *askedHere) say(reason string) error {
	if a.told {
		return nil
	}
	a.told = true
	return a.f.write(&wire.JoinReply{Stage: wire.JoinWaiting, Reason: plain(reason)})
}

// admit has the request served: by another member, which it gives, or by this one's machine.
// Before an error because of which that refuses, the other end is told.
func (a *askedHere) admit(ctx context.Context) (to peer.ID, err error) {
	if to, err = a.g.passOn(ctx, a.r, a.say); to != "" || err != nil {
		return to, err
	}
	if _, err = a.g.loop.step(ctx, group.JoinAsked{Request: a.r}); err == nil {
		return "", nil
	}
	if a.own { // else the member who passed it on does not answer for it
		a.g.refused(sourceJoin, a.from.String(), err)
	}
	return "", errors.Join(err, deny(a.f, denial(err), verdict.Final(err)))
}

// denial returns the reason of a refusal, without this node's own context.
func denial(err error) string {
	s := strings.TrimPrefix(api.Words(err.Error()), "request to join: ")
	return strings.TrimPrefix(s, verdict.ErrNotPermitted.Error()+": ")
}

func deny(f *frames, reason string, final bool) error {
	r := &wire.JoinReply{Stage: wire.JoinDenied, Reason: plain(reason)}
	if final {
		r.Final = 1
	}
	if err := f.write(r); err != nil {
		return err
	}
	f.close()
	return nil
}

// plain makes a reason fit into a frame: short, and without control characters.
func plain(s string) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), "")
	if len(s) > wire.MaxReason {
		s = strings.ToValidUTF8(s[:wire.MaxReason], "")
	}
	return s
}
