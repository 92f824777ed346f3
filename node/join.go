package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// How patient the two ends of a join are.
const (
	joinAnswer   = 45 * time.Second // how long a member works on a request while the joiner listens
	joinContact  = 15 * time.Second // to reach one member
	joinRetry    = 2 * time.Second  // first pause after every member was tried
	joinRetryMax = time.Minute
	joinDenied   = time.Hour // at the most, while every member that is reached says no
)

// JoinStage says how far this device's way into a group is.
type JoinStage string

// Stages, in their order; a stuck join repeats one with another Detail.
const (
	StageLookingUp  JoinStage = "looking-up"         // the group's public record is not found yet
	StageContacting JoinStage = "contacting"         // members are looked for and dialled
	StageWaiting    JoinStage = "waiting-for-member" // one has the request; its commit, or an admin's approval, is not there yet
	StageWelcomed   JoinStage = "welcomed"           // in, but behind the group
	StageSynced     JoinStage = "synced"             // in
)

// JoinProgress is where a join stands and why.
type JoinProgress struct {
	Stage  JoinStage
	Detail string // what is stuck, for people
	Denied bool   // every member that was reached says no, and others will too
	Ended  bool   // and this device asks no more: somebody said so who may
	Since  time.Time
}

// joiner carries a machine's join request to members until one welcomes it.
type joiner struct {
	g *groupSession

	mu       sync.Mutex
	request  *group.RequestJoin // nil: nothing is asked
	stop     context.CancelFunc // of the try with it; nil: none runs
	progress JoinProgress
	kick     chan struct{} // holds one
}

func newJoiner(g *groupSession) *joiner { return &joiner{g: g, kick: make(chan struct{}, 1)} }

// ask takes up a request of the machine's. Members that still work on another one are
// listened to no longer.
func (j *joiner) ask(r group.RequestJoin) {
	j.change(&r)
	j.report(StageContacting, "looking for members")
	j.poke()
}

// end asks no more.
func (j *joiner) end() { j.change(nil) }

func (j *joiner) change(r *group.RequestJoin) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stop != nil && !reflect.DeepEqual(j.request, r) {
		j.stop()
	}
	j.request = r
}

// again asks at once, whatever the last answer was.
func (j *joiner) again() {
	if j.wanted() == nil {
		return
	}
	if at := j.where(); at.Denied {
		j.report(StageContacting, "asking again")
	}
	j.poke()
}

// poke ends a pause between two tries.
func (j *joiner) poke() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

func (j *joiner) report(stage JoinStage, detail string) {
	j.tell(JoinProgress{Stage: stage, Detail: detail})
}

func (j *joiner) tell(p JoinProgress) {
	stage, detail := p.Stage, p.Detail
	p.Since = time.Now()
	j.mu.Lock()
	if j.progress.Stage != stage || j.progress.Detail != detail || j.progress.Denied != p.Denied {
		if j.progress.Stage == stage {
			p.Since = j.progress.Since // only what it waits for is told anew
		}
		j.progress = p
		j.g.log.Info("joining", "stage", stage, "detail", detail)
		j.g.n.feed.add(NodeEvent{Group: j.g.id, Event: group.Event{Kind: EventJoinStage, Detail: joined(string(stage), detail)}})
	}
	j.mu.Unlock()
	j.g.changed.wake()
}

func (j *joiner) where() JoinProgress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

func (j *joiner) wanted() *group.RequestJoin {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.request
}

// begin gives what is wanted, and a context that lasts until something else is.
func (j *joiner) begin(ctx context.Context) (*group.RequestJoin, context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stop = stop
	return j.request, ctx, stop
}

// run asks member after member, with growing pauses, until one has let us in.
func (j *joiner) run(ctx context.Context) {
	pause := joinRetry
	renewing := false   // the renewal was asked with last
	var span trace.Span // nil: nothing is asked
	defer func() {
		if span != nil {
			finish(span, ctx.Err())
		}
	}()
	for ctx.Err() == nil {
		r, asking, stop := j.begin(ctx)
		if r == nil {
			stop()
			if span != nil { // it is in, without having been told
				finish(span, nil)
				span = nil
			}
			select {
			case <-ctx.Done():
				return
			case <-j.kick:
				pause = joinRetry
				continue
			}
		}
		if span == nil {
			_, span = j.g.n.tracing.begin(ctx, spanJoin, j.g.id, "")
		}
		turn := r.Request
		if renewing = r.Renewal != nil && !renewing; renewing {
			turn = *r.Renewal
		}
		in := j.try(trace.ContextWithSpan(asking, span), turn, renewing)
		stop()
		if in {
			finish(span, nil)
			span = nil
			j.mu.Lock()
			if j.request == r {
				j.request = nil
			}
			j.mu.Unlock()
			continue
		}
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // spreads load, hides nothing
		select {
		case <-ctx.Done():
		case <-timer.C:
			most := joinRetryMax
			if j.where().Denied {
				most = joinDenied
			}
			pause = min(2*pause, most)
		case <-j.kick: // a peer has connected, and may not have told yet what it serves
			if !j.where().Denied {
				pause = joinRetry
			}
		}
		timer.Stop()
	}
}

// try asks every member it can find, one after the other, and says whether this
// device is in. That a renewal is denied says nothing of the request that is next.
// What a member has answered is taken also when ctx ends.
func (j *joiner) try(ctx context.Context, r wire.JoinRequest, renewal bool) bool {
	take := context.WithoutCancel(ctx)
	var asked, reached, waits int
	denied, final := "", false
	ended := "" // why, by somebody who may say so
	for p := range j.g.candidates(ctx) {
		asked++
		if at := j.where(); waits == 0 && at.Stage != StageWaiting && !at.Denied {
			j.report(StageContacting, "member "+p.ID.String())
		}
		reply, tree, err := j.g.n.askToJoin(ctx, p, r, func(reason string) {
			j.report(StageWaiting, joined("member "+p.ID.String()+" has the request", reason))
		})
		if err != nil {
			j.g.log.Debug("a member could not be asked", "peer", p.ID, "err", err)
			continue
		}
		reached++
		switch reply.Stage {
		case wire.JoinWaiting: // another round
			waits++
		case wire.JoinRenew:
			if _, err := j.g.loop.step(take, group.JoinAnswered{KeyPackage: r.KeyPackage, Renew: true}); err != nil {
				j.g.log.Debug("a fresh KeyPackage was asked for", "peer", p.ID, "err", err)
				waits++
				continue
			}
			return false // the machine asks with it
		case wire.JoinDenied:
			if !final {
				denied, final = reply.Reason, reply.Final == 1
			}
			if reply.Final == 1 && (j.g.mayRefuse(p.ID) || expired(r)) {
				ended = reply.Reason
			}
		case wire.JoinWelcomed:
			_, err := j.g.loop.step(take, group.JoinAnswered{KeyPackage: r.KeyPackage, Epoch: reply.Epoch, Welcome: reply.Welcome, Tree: tree})
			if err != nil {
				j.g.log.Warn("a Welcome was refused", "peer", p.ID, "err", err)
				denied = "a member sent a Welcome that does not hold: " + api.Words(err.Error())
				continue
			}
			j.report(StageWelcomed, "by member "+p.ID.String())
			j.g.mu.Lock()
			j.g.welcomer = p.ID
			j.g.mu.Unlock()
			j.g.scheduler.exchangeWith(p.ID)
			return true
		}
	}
	switch {
	case ctx.Err() != nil:
	case denied != "" && waits == 0 && renewal:
	case ended != "" && waits == 0 && !renewal:
		j.conclude(take, &r, ended)
	case denied != "" && waits == 0:
		j.tell(JoinProgress{Stage: StageContacting, Detail: "denied: " + denied, Denied: final})
	case asked == 0 && len(j.g.n.host.Network().Peers()) == 0:
		j.report(StageContacting, "no peer is connected")
	case asked == 0:
		j.report(StageContacting, "no member is known yet")
	case reached == 0:
		j.report(StageContacting, fmt.Sprintf("%d members are known, none can be reached", asked))
	default:
		if j.where().Stage != StageWaiting {
			j.report(StageWaiting, "a member has the request")
		}
	}
	return false
}

// A member's no ends nothing by itself: it may be hostile, or no member at all, and others
// would serve. Nobody can show a joiner, who has no log, that an invite is used up or a
// request denied. So a join ends by the word of a device whose user may refuse it anyway,
// as an admin could remove whom others let in: of the group's authority, as its public
// record or, without one, its genesis says; or of the device that the invite link names
// first, which gave it out. Even then all others that can be found are asked before, in
// the same round, and a Welcome of one of them, or its taking the request, counts more. An
// invite's end this device can see itself.

// mayRefuse says whether a peer is the device of somebody who may end a join.
func (g *groupSession) mayRefuse(p peer.ID) bool {
	g.mu.Lock()
	gave := len(g.hints) > 0 && g.hints[0].ID == p
	g.mu.Unlock()
	info := g.n.known.Get(g.id)
	if gave || info == nil {
		return gave || p == peer.ID(g.genesis.Device.Cert.Peer)
	}
	may := func(d *identity.Device) bool {
		return peer.ID(d.Cert.Peer) == p &&
			slices.ContainsFunc(info.Authority, func(k wire.AuthorityKey) bool { return wire.UserIDOf(k.User) == d.User })
	}
	return may(g.genesis.Device) || slices.ContainsFunc(info.Heads, func(h discovery.Head) bool { return may(h.Device) })
}

// expired says whether a request's invite is over by this device's own clock.
func expired(r wire.JoinRequest) bool {
	if r.Invite == nil {
		return false
	}
	i, err := wire.DecodeInvite(r.Invite.Payload)
	return err == nil && i.Expires != 0 && uint64(time.Now().UnixMilli()) >= i.Expires //nolint:gosec // after 1970
}

// conclude ends a join that was refused for good. First the row says so: after a crash in
// between it is asked once more, and with what it was asked.
func (j *joiner) conclude(ctx context.Context, r *wire.JoinRequest, why string) {
	g := j.g
	if err := g.putEnded(why); err != nil {
		g.log.Warn("the end of a join is not kept", "err", err)
		return
	}
	g.setEnded(why)
	_, err := g.loop.step(ctx, group.EndJoin{Request: r})
	if err != nil || j.wanted() != nil { // its user asks with something else by now, or it has another invite
		g.setEnded("")
		if err := g.putEnded(""); err != nil {
			g.log.Warn("that a join goes on is not kept", "err", err)
		}
		return
	}
	j.tell(JoinProgress{Stage: StageContacting, Detail: "denied: " + why, Denied: true, Ended: true})
}

// askToJoin carries a request to one member and listens until it is decided or the
// member's patience ends. waiting is called when the member has taken it.
func (n *Node) askToJoin(ctx context.Context, p peer.AddrInfo, r wire.JoinRequest, waiting func(reason string)) (answer wire.JoinReply, tree []byte, err error) {
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
	for {
		var reply wire.JoinReply
		if err := f.readWithin(joinAnswer+frameTimeout, &reply); err != nil {
			if errors.Is(err, io.EOF) { // it had the time it gives
				f.close()
				return wire.JoinReply{Stage: wire.JoinWaiting}, nil, nil
			}
			return reply, nil, err
		}
		switch reply.Stage {
		case wire.JoinWaiting:
			waiting(reply.Reason)
		case wire.JoinDenied, wire.JoinRenew:
			f.close()
			return reply, nil, nil
		case wire.JoinWelcomed:
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
func (n *Node) serveJoin(ctx context.Context, s network.Stream, at *admission.Slot) (err error) {
	f := newFrames(n.limits.Joining(s))
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
	if string(d.Cert.Peer) != string(s.Conn().RemotePeer()) {
		return errors.Join(identity.ErrForged, deny(f, "the device's certificate is another peer's", false))
	}
	g := n.groups.get(r.Group)
	if g == nil {
		return errors.Join(ErrNoGroup, deny(f, ErrNoGroup.Error(), false))
	}
	if _, err := g.loop.step(ctx, group.JoinAsked{Request: r}); err != nil {
		g.refused(sourceJoin, s.Conn().RemotePeer().String(), err)
		return errors.Join(err, deny(f, denial(err), group.Final(err)))
	}
	at.Prove() // it is let in, or waits for an admin
	patience := time.NewTimer(joinAnswer)
	defer patience.Stop()
	for told := false; ; {
		changed := g.changed.wait()
		var st group.JoinStatus
		if err := g.loop.look(ctx, func(m *group.Machine) (err error) { st, err = m.JoinStatus(r.KeyPackage); return err }); err != nil {
			return err
		}
		switch st.Stage {
		case wire.JoinWaiting:
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
		if !told {
			if err := f.write(&wire.JoinReply{Stage: wire.JoinWaiting, Reason: plain(st.Reason)}); err != nil {
				return err
			}
			told = true
		}
		select {
		case <-changed:
		case <-patience.C:
			f.close() // the joiner asks again, here or elsewhere
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// denial is why a request is refused, without what this node was doing.
func denial(err error) string {
	s := strings.TrimPrefix(api.Words(err.Error()), "request to join: ")
	return strings.TrimPrefix(s, group.ErrNotPermitted.Error()+": ")
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

func (s groupRoutes) Join(ctx context.Context, r api.JoinRequest, emit func(api.JoinUpdate) error) error {
	until := -1
	if r.Until != "" {
		if until = slices.Index(api.Stages, r.Until); until < 0 {
			return api.Errorf(api.CodeInvalid, "there is no stage %q", r.Until)
		}
	}
	id, err := s.startJoin(ctx, r)
	if err != nil {
		return err
	}
	var last JoinProgress
	for {
		changed := s.n.changed.wait()
		p, err := s.n.JoinProgress(ctx, id)
		if err != nil {
			return APIError(err)
		}
		if p.Stage != last.Stage || p.Detail != last.Detail || p.Denied != last.Denied {
			last = p
			if err := emit(api.JoinUpdate{Group: id.String(), Stage: api.Stage(p.Stage), Detail: p.Detail, At: p.Since}); err != nil {
				return err
			}
		}
		switch {
		case slices.Index(api.Stages, api.Stage(p.Stage)) >= until:
			return nil
		case p.Denied:
			why := strings.TrimPrefix(p.Detail, "denied: ")
			if !p.Ended {
				why += "; so says the member that was asked, and the node goes on asking others"
			}
			return api.Errorf(api.CodeNotPermitted, "not let in: %s", why).
				WithHint("ask an owner or admin for an invite link, then pandanode group join -")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return APIError(ctx.Err())
		case <-s.n.life.done:
			return APIError(ErrClosed)
		}
	}
}

// startJoin makes a request to join durable and gives the group's ID.
func (s groupRoutes) startJoin(ctx context.Context, r api.JoinRequest) (wire.GroupID, error) {
	switch {
	case (r.Group == "") == (r.Link == ""):
		return wire.GroupID{}, api.Errorf(api.CodeInvalid, "name a group or give an invite link, one of the two")
	case r.Link != "":
		link, err := wire.ParseLink(r.Link)
		if err != nil {
			return wire.GroupID{}, APIError(err)
		}
		defer clear(link.Secret[:])
		id, err := s.n.JoinByLink(ctx, link)
		return id, APIError(err)
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return id, err
	}
	return id, APIError(s.n.Join(ctx, id))
}
