package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/trace"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// How patient the two ends of a join are.
const (
	joinAnswer   = 45 * time.Second // how long a member works on a request while the joiner listens
	joinContact  = 15 * time.Second // to reach one member
	joinSilent   = 15 * time.Second // from the request to the first word of a member
	joinHedge    = time.Second      // that nobody has answered, before others are asked beside those that were
	joinMore     = joinHedge / 2    // the same, from then on
	joinCalm     = 5 * time.Second  // the same, once somebody has answered whom nobody vouches for
	joinRetry    = 2 * time.Second  // first pause after every member was tried
	joinRetryMax = time.Minute
	joinDenied   = time.Hour // at the most, while every member that is reached says no
)

// joiner brings this device into a group: it lets a machine that is new ask, carries the
// machine's request from member to member until one welcomes it, and knows when the answer
// was final.
type joiner struct {
	g *groupSession

	asking sync.Mutex  // held while a machine that is new is let ask
	link   *wire.Link  // to ask with first, under asking; nil: none
	trying atomic.Bool // to let it ask, again and again

	mu       sync.Mutex
	request  *group.RequestJoin // nil: nothing is asked
	stop     context.CancelFunc // of the try with it; nil: none runs
	progress joinProgress
	kick     chan struct{} // holds one

	invited  *wire.MeetSecret // where members of a private group are found, as an invite link says
	hints    []peer.AddrInfo  // members that an invite link names
	ended    string           // why the join has ended, as the row says
	asked    time.Time        // when this device's user last asked to be let in; zero: not in this run
	welcomer peer.ID          // who welcomed this device in this run: a member, though the log that says so is not here yet
}

func newJoiner(g *groupSession) *joiner { return &joiner{g: g, kick: make(chan struct{}, 1)} }

// requested takes up a request of the machine's. Members that still work on another one are
// listened to no longer.
func (j *joiner) requested(r group.RequestJoin) {
	j.change(&r)
	j.report(stageContacting, "looking for members")
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
		j.report(stageContacting, "asking again")
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

func (j *joiner) report(stage joinStage, detail string) {
	j.tell(joinProgress{Stage: stage, Detail: detail})
}

func (j *joiner) tell(p joinProgress) {
	stage, detail := p.Stage, p.Detail
	p.Since = time.Now()
	j.mu.Lock()
	if j.progress.Stage != stage || j.progress.Detail != detail || j.progress.Denied != p.Denied {
		if j.progress.Stage == stage {
			p.Since = j.progress.Since // only the reason of the wait has changed
		}
		j.progress = p
		j.g.log.Info("joining", "stage", stage, "detail", detail)
		j.g.n.feed.add(nodeEvent{Group: j.g.id, Event: group.Event{Kind: eventJoinStage, Detail: joined(string(stage), detail)}})
	}
	j.mu.Unlock()
	j.g.changed.wake()
}

func (j *joiner) where() joinProgress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

func (j *joiner) wanted() *group.RequestJoin {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.request
}

// begin returns the wanted request, and a context that lasts until another one is wanted.
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

// askedOne is what came of asking one member.
type askedOne struct {
	peer  peer.ID
	reply wire.JoinReply
	tree  []byte
	err   error
}

// ask asks every member it can find, and gives what comes of it until the caller takes no
// more. An honest member answers at once, so they are asked one after the other: two that
// let somebody in at once make a fork. But peers that only say that they are members may be
// silent. While nobody answers, more and more are asked side by side: 1, after a second 2,
// and twice as many every half second. Once a peer has answered that somebody vouches for,
// nobody else is asked until it is done; after the word of any other one, which may stall on
// purpose, it goes on slowly.
func (j *joiner) ask(ctx context.Context, r wire.JoinRequest, begins func(peer.ID), heard func(peer.ID, wire.JoinReply)) iter.Seq[askedOne] {
	return func(yield func(askedOne) bool) {
		ctx, stop := context.WithCancel(ctx)
		gone := make(chan struct{}) // nobody takes answers any more
		var running sync.WaitGroup
		defer running.Wait()
		defer close(gone)
		defer stop()
		next := make(chan peer.AddrInfo)
		running.Go(func() {
			defer close(next)
			for p := range j.candidates(ctx) {
				select {
				case next <- p:
				case <-ctx.Done():
					return
				}
			}
		})
		type word struct {
			from  peer.ID
			reply wire.JoinReply
		}
		words, results := make(chan word), make(chan askedOne)
		open, most, calm := 0, 1, false
		answering := make(map[peer.ID]bool) // by whom somebody vouches, and at work
		hedge := time.NewTimer(joinHedge)
		defer hedge.Stop()
		done := ctx.Done()
		for candidates := next; candidates != nil || open > 0; {
			take := candidates
			if open >= most || len(answering) > 0 {
				take = nil
			}
			select {
			case <-done: // those that were asked say what they have said
				candidates, done = nil, nil
			case p, ok := <-take:
				if !ok {
					candidates = nil
					continue
				}
				open++
				begins(p.ID)
				running.Go(func() {
					out := askedOne{peer: p.ID}
					out.reply, out.tree, out.err = askToJoin(ctx, j.g.n, p, r, func(reply wire.JoinReply) {
						select {
						case words <- word{p.ID, reply}:
						case <-gone:
						}
					})
					select {
					case results <- out:
					case <-gone:
					}
				})
			case w := <-words:
				if j.vouched(w.from) {
					answering[w.from] = true
				}
				calm = true
				hedge.Reset(joinCalm)
				heard(w.from, w.reply)
			case <-hedge.C:
				switch {
				case len(answering) > 0:
					hedge.Reset(joinCalm)
				case calm:
					most++
					hedge.Reset(joinCalm)
				default:
					most *= 2
					hedge.Reset(joinMore)
				}
			case out := <-results:
				open--
				delete(answering, out.peer)
				if !yield(out) {
					return
				}
			}
		}
	}
}

// try asks the members, and says whether this device is in. That a renewal is denied says
// nothing of the request that is next. A member's answer is taken also when ctx ends.
func (j *joiner) try(ctx context.Context, r wire.JoinRequest, renewal bool) bool {
	take := context.WithoutCancel(ctx)
	var asked, reached, waits int
	denied, final := "", false
	ended := "" // why, by somebody who may say so
	begins := func(p peer.ID) {
		asked++
		if at := j.where(); waits == 0 && at.Stage != stageWaiting && !at.Denied {
			j.report(stageContacting, "member "+p.String())
		}
	}
	heard := func(p peer.ID, reply wire.JoinReply) {
		if reply.Stage == wire.JoinWaiting {
			j.report(stageWaiting, joined("member "+p.String()+" has the request", reply.Reason))
		}
	}
	for a := range j.ask(ctx, r, begins, heard) {
		p, reply := a.peer, a.reply
		if a.err != nil {
			j.g.log.Debug("a member could not be asked", "peer", p, "err", a.err)
			continue
		}
		reached++
		switch reply.Stage {
		case wire.JoinWaiting: // another round
			waits++
		case wire.JoinRenew:
			if _, err := j.g.loop.step(take, group.JoinAnswered{KeyPackage: r.KeyPackage, Renew: true}); err != nil {
				j.g.log.Debug("a fresh KeyPackage was asked for", "peer", p, "err", err)
				waits++
				continue
			}
			return false // the machine asks with it
		case wire.JoinDenied:
			if !final {
				denied, final = reply.Reason, reply.Final == 1
			}
			if reply.Final == 1 && (j.g.joiner.mayRefuse(p) || expired(r, j.g.n.clock.ends())) {
				ended = reply.Reason
			}
		case wire.JoinWelcomed:
			_, err := j.g.loop.step(take, group.JoinAnswered{KeyPackage: r.KeyPackage, Epoch: reply.Epoch, Welcome: reply.Welcome, Tree: a.tree})
			if err != nil {
				j.g.log.Warn("a Welcome was refused", "peer", p, "err", err)
				denied = "a member sent a Welcome that does not hold: " + api.Words(err.Error())
				continue
			}
			j.report(stageWelcomed, "by member "+p.String())
			j.mu.Lock()
			j.welcomer = p
			j.mu.Unlock()
			j.g.scheduler.exchangeWith(p)
			return true
		}
	}
	switch {
	case ctx.Err() != nil:
	case denied != "" && waits == 0 && renewal:
	case ended != "" && waits == 0 && !renewal:
		j.conclude(take, &r, ended)
	case denied != "" && waits == 0:
		j.tell(joinProgress{Stage: stageContacting, Detail: "denied: " + denied, Denied: final})
	case asked == 0 && len(j.g.n.host.Network().Peers()) == 0:
		j.report(stageContacting, "no peer is connected")
	case asked == 0:
		j.report(stageContacting, "no member is known yet")
	case reached == 0:
		j.report(stageContacting, fmt.Sprintf("%s %s known, none can be reached", english.Plural(asked, "member", ""), english.PluralWord(asked, "is", "are")))
	default:
		if j.where().Stage != stageWaiting {
			j.report(stageWaiting, "a member has the request")
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
func (j *joiner) mayRefuse(p peer.ID) bool {
	j.mu.Lock()
	gave := len(j.hints) > 0 && j.hints[0].ID == p
	j.mu.Unlock()
	info := j.g.n.directory.known.Get(j.g.id)
	if gave || info == nil {
		return gave || p == peer.ID(j.g.genesis.Device.Cert.Peer)
	}
	may := func(d *identity.Device) bool {
		return peer.ID(d.Cert.Peer) == p &&
			slices.ContainsFunc(info.Authority, func(k wire.AuthorityKey) bool { return wire.UserIDOf(k.User) == d.User })
	}
	return may(j.g.genesis.Device) || slices.ContainsFunc(info.Heads, func(h discovery.Head) bool { return may(h.Device) })
}

// expired says whether a request's invite is over at a time.
func expired(r wire.JoinRequest, now time.Time) bool {
	if r.Invite == nil {
		return false
	}
	i, err := wire.DecodeInvite(r.Invite.Payload)
	return err == nil && i.Expires != 0 && milliseconds(now) >= i.Expires
}

// conclude ends a join that was refused for good. First the row says so: after a crash in
// between it is asked once more, and with what it was asked.
func (j *joiner) conclude(ctx context.Context, r *wire.JoinRequest, why string) {
	g := j.g
	if err := g.joiner.putEnded(why); err != nil {
		g.log.Warn("the end of a join is not kept", "err", err)
		return
	}
	g.joiner.setEnded(why)
	_, err := g.loop.step(ctx, group.EndJoin{Request: r})
	if err != nil || j.wanted() != nil { // its user asks with something else by now, or it has another invite
		g.joiner.setEnded("")
		if err := g.joiner.putEnded(""); err != nil {
			g.log.Warn("that a join goes on is not kept", "err", err)
		}
		return
	}
	j.tell(joinProgress{Stage: stageContacting, Detail: "denied: " + why, Denied: true, Ended: true})
}

// confirm has this device ask the connected members, now, whether it is still in.
func (j *joiner) confirm(ctx context.Context) {
	j.mu.Lock()
	j.asked = time.Now()
	hints := j.hints
	j.mu.Unlock()
	for _, p := range hints {
		j.g.n.directory.peers.Found(p, discovery.SourceDHT)
	}
	members, err := j.g.connectedMembers(ctx)
	if err != nil {
		return // the scheduler does in time
	}
	for _, p := range members {
		j.g.scheduler.exchangeWith(p)
	}
	j.g.n.changed.wake()
}

// sure says whether a member that asked to join knows that it is in: a connected member
// has told since it asked, all of them if it has an invite that it may need.
func (j *joiner) sure(ctx context.Context, st group.Status) (bool, error) {
	j.mu.Lock()
	asked := j.asked
	j.mu.Unlock()
	if st.Members == 1 || asked.IsZero() && st.Intents == 0 {
		return true, nil
	}
	members, err := j.g.connectedMembers(ctx)
	if err != nil {
		return false, err
	}
	return j.g.scheduler.toldBy(members, asked, st.Intents > 0), nil
}

// unsure says what the join of a member waits for.
const unsure = "asking the members whether this device is still in the group"

// hasEnded is why the join has ended; empty: it has not.
func (j *joiner) hasEnded() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended
}

func (j *joiner) setEnded(why string) {
	j.mu.Lock()
	j.ended = why
	j.mu.Unlock()
}

// reopen takes back that the join has ended.
func (j *joiner) reopen() error {
	if j.hasEnded() == "" {
		return nil
	}
	if err := j.putEnded(""); err != nil {
		return err
	}
	j.setEnded("")
	return nil
}

// putEnded has the group's row say why the join has ended.
func (j *joiner) putEnded(why string) error {
	j.asking.Lock() // who asks with a link writes the row too
	defer j.asking.Unlock()
	var row groupRow
	found, err := getRow(j.g.n.store, keyGroups+string(j.g.id[:]), &row)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if !found || row.Forgotten {
		return nil
	}
	row.Ended = why
	return j.g.n.put(keyGroups+string(j.g.id[:]), &row)
}

// askAgain asks once more to be let into a group that this node has, which it may be out of.
func (j *joiner) askAgain(ctx context.Context, in group.Join) error {
	if err := j.g.onGossip(); err != nil {
		return err
	}
	_, err := j.g.loop.step(ctx, in)
	return err
}

// firstAsk is the first request of a new machine: by the link in its row, if there is one.
// The caller holds asking.
func (j *joiner) firstAsk() (group.Join, error) {
	if j.link == nil {
		return group.Join{}, nil
	}
	_, key, err := readLink(j.link)
	if err != nil {
		return group.Join{}, err
	}
	return group.Join{Invite: &j.link.Invite, Key: key}, nil
}

// useLink has the group be asked by a link, as its row says too.
func (j *joiner) useLink(l *wire.Link) {
	own := *l // its secret is cleared once it was used
	j.asking.Lock()
	j.link = &own
	j.asking.Unlock()
	j.mu.Lock()
	j.invited = own.Meet
	j.mu.Unlock()
	j.hint(own.Peers)
}

// askFirst lets a machine that is new ask to be let in, also if the caller does not wait for
// it. If it cannot now, the caller is told, and it is tried again.
func (j *joiner) askFirst(ctx context.Context) error {
	done := make(chan error, 1)
	if !j.g.life.start(func(ctx context.Context) {
		again, err := j.askOnce(ctx)
		done <- err
		if again {
			j.keepAsking(ctx)
		}
	}) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepAsking tries until the machine has asked, once at a time.
func (j *joiner) keepAsking(ctx context.Context) {
	if !j.trying.CompareAndSwap(false, true) {
		return
	}
	defer j.trying.Store(false)
	for pause := joinRetry; ; pause = min(2*pause, joinRetryMax) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		again, err := j.askOnce(ctx)
		if !again {
			return
		}
		j.g.log.Warn("the group cannot be asked yet", "err", err)
	}
}

// askOnce lets a machine that is new ask. Once the request is durable the secret of a
// link is needed no more. again says that the machine or the store could not be reached:
// what the machine itself refuses it will refuse again.
func (j *joiner) askOnce(ctx context.Context) (again bool, err error) {
	j.asking.Lock()
	defer j.asking.Unlock()
	st, err := j.g.status(ctx)
	if err != nil {
		return true, err
	}
	if st.State == group.StateNew && j.hasEnded() != "" {
		return false, nil // it has asked, and the answer was a final no
	}
	if st.State == group.StateNew || st.State == group.StateJoining && j.link != nil { // a link may come after the first ask
		in, err := j.firstAsk()
		if err != nil {
			return false, err
		}
		if _, err = j.g.loop.step(ctx, in); err != nil {
			return errors.Is(err, ErrStore), err // the loop may still use the key
		}
		if in.Key != nil {
			in.Key.Wipe()
		}
	}
	if j.link == nil {
		return false, nil
	}
	row := &groupRow{Genesis: j.g.genesis.Raw, Peers: j.link.Peers, Meet: j.link.Meet}
	if err := j.g.n.put(keyGroups+string(j.g.id[:]), row); err != nil {
		return true, errors.Join(ErrStore, err)
	}
	clear(j.link.Secret[:])
	j.link = nil
	return false, nil
}

// welcomedBy is the member that welcomed this device in this run; empty: none did.
func (j *joiner) welcomedBy() peer.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.welcomer
}
