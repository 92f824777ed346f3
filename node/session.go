package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// groupSession is a group that this node takes part in, or is on its way into: its
// machine's loop and what carries out the machine's messages.
type groupSession struct {
	n         *Node
	id        wire.GroupID
	genesis   *identity.Genesis
	log       *slog.Logger
	life      *life
	loop      *loop
	scheduler *scheduler
	mail      *mailboxClient
	joiner    *joiner
	turns     turns // of members, to serve a limited invite
	tally     *tally
	topics    topics
	fresh     fresh
	changed   *signal

	rules atomic.Pointer[rules]      // of what is sent; nil: to be looked up
	name  atomic.Pointer[string]     // the name of the group; nil: to be looked up
	names atomic.Pointer[groupNames] // of users; nil: to be looked up
	epoch *group.Event               // that the turn being carried out has told of; the loop's alone

	unread   unread        // the loop's alone
	profiles groupProfiles // the same

	profiled signal // woken where the profiles of members may be others

	mu         sync.Mutex
	rendezvous []wire.MeetSecret // of a private group: where its members are found
}

// groupRow says that the node has a group. A joiner's row comes before its
// machine's first row, a founder's after, so that a machine that is new on restart
// is a joiner's.
type groupRow struct {
	Genesis wire.Signed      `cbor:"1,keyasint"`
	Link    *wire.Link       `cbor:"2,keyasint,omitempty"` // to join by, until the machine has asked
	Peers   []wire.LinkPeer  `cbor:"3,keyasint,omitempty"` // members that the link named
	Meet    *wire.MeetSecret `cbor:"4,keyasint,omitempty"` // of a private group, from the link

	Ended     string `cbor:"5,keyasint,omitempty"` // why the join has ended without this device being in; empty: it has not
	Forgotten bool   `cbor:"6,keyasint,omitempty"` // its rows are being deleted
}

// newSession makes the group's parts without starting them.
func (n *Node) newSession(genesis *identity.Genesis) *groupSession {
	g := &groupSession{
		n: n, id: genesis.ID, genesis: genesis, life: n.life.child(), changed: new(signal),
		log: n.log.With("subsystem", "group", "group", api.Short(genesis.ID.String())),
	}
	g.topics.g = g
	device := n.naming.knownAs(genesis.ID, n.log)
	g.scheduler, g.joiner, g.tally, g.mail = newScheduler(g), newJoiner(g), newTally(g), newMailboxClient(g)
	r := rows{store: n.store, prefix: groupPrefix(g.id)}
	var crash func(boundary) bool
	if n.hooks.crash != nil {
		crash = func(b boundary) bool { return n.hooks.crash(g.id, b) }
	}
	g.loop = &loop{
		log: g.log, rows: r, apply: n.apply, outbox: g.mail.outbox, send: g.send, notify: g.notify, clock: n.clock.at, turned: g.turned, changed: g.changed,
		erased: g.n.purger.erased, faulty: n.metrics.Faulty.Inc, files: g.n.files,
		came:  func(entries []wire.EntryHash) { g.fresh.note(time.Now(), entries) },
		crash: crash, fatal: n.fail, done: g.life.done, requests: make(chan request, maxWaiting), ended: make(chan struct{}),
		open: func(now time.Time) (*group.Machine, error) {
			at := n.clock.at()
			incarnation, err := incarnationIn(n.store, n.me, genesis.ID)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrStore, err)
			}
			return group.New(group.Config{
				Genesis: genesis, Device: device, LogKey: n.me.log, Incarnation: incarnation,
				Engine: engine.MLS(genesis.Suite), Rand: rand.Reader, Rows: r, Kept: at.Kept, Ends: at.Ends,
			}, now)
		},
	}
	return g
}

// start lets the group live: its loop first, which may have things to send that a
// crash held back.
func (g *groupSession) start() error {
	if err := g.tally.load(); err != nil {
		return err
	}
	if err := g.scheduler.load(); err != nil {
		return err
	}
	if err := g.mail.load(); err != nil {
		return err
	}
	if err := g.onGossip(); err != nil {
		return err
	}
	for _, run := range []func(context.Context){g.loop.run, g.scheduler.run, g.joiner.run, g.mail.run, g.watch, g.tally.run, g.followProfiles} {
		if !g.life.start(run) {
			return ErrClosed
		}
	}
	for _, p := range g.n.host.Network().Peers() {
		g.scheduler.connected(p)
	}
	return nil
}

// onGossip puts the group on gossip, if it is not. Only the machine knows the topics
// of a private group; watch asks it.
func (g *groupSession) onGossip() error {
	if g.genesis.Private {
		return nil
	}
	_, err := g.topics.get(g.id.Topic())
	return err
}

// stop ends the group's goroutines and takes it off gossip. It may be called again.
func (g *groupSession) stop() {
	g.life.end()
	g.topics.leave()
	g.n.fellows.forget(g.id)
}

// watch passes on that the machine moved, and takes the group off gossip when this
// device is out.
func (g *groupSession) watch(ctx context.Context) {
	type seen struct {
		state   group.State
		profile uint64 // sum of the registers' clocks, each of which only rises
		adopted bool
		places  [32]byte
	}
	var last seen
	var (
		position wire.EpochID
		members  int
		friends  map[peer.ID]bool
	)
	defer func() { g.unfriend(friends) }()
	for {
		changed := g.changed.wait()
		g.n.changed.wake()
		if st, err := g.status(ctx); err == nil {
			now := seen{state: st.State, adopted: g.n.groups.get(g.id) == g}
			for _, item := range st.Profile {
				now.profile += item.HLC
			}
			if now.state != last.state {
				g.log.Debug("state", "state", st.State, "epoch", st.Epoch, "members", st.Members)
			}
			if sum, ok := g.followRendezvous(ctx); ok {
				now.places = sum
			} else {
				now.places = last.places
			}
			if st.Position != position || st.Members != members {
				position, members = st.Position, st.Members
				g.befriend(ctx, &friends)
			}
			if now != last && now.adopted {
				g.publish(ctx)
			}
			if now.profile != last.profile {
				g.mail.wake()
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// befriend has the members' peers dialled first and their connections closed last, and
// lets go of those who are members no longer.
func (g *groupSession) befriend(ctx context.Context, friends *map[peer.ID]bool) {
	now := make(map[peer.ID]bool)
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		for _, member := range m.Members() {
			for _, p := range member.Peers {
				now[peer.ID(p)] = true
			}
		}
		delete(now, g.n.host.ID())
		g.n.fellows.named(g.id, now, func(d wire.DeviceID, key wire.KeyID) bool {
			standing := m.Standing(d)
			return standing == group.Current || standing == group.Stranger && m.Transport().Vouches(key)
		})
		return nil
	}); err != nil {
		return
	}
	tag := "group " + g.id.String()
	for p := range now {
		if !(*friends)[p] {
			g.n.door.members.Joined(p)
		}
		g.n.directory.peers.Member(p, true)
		g.n.host.ConnManager().TagPeer(p, tag, admission.MemberTag)
	}
	gone := maps.Clone(*friends)
	maps.DeleteFunc(gone, func(p peer.ID, _ bool) bool { return now[p] })
	g.unfriend(gone)
	*friends = now
}

// unfriend lets go of peers that are members no longer, or whose group ends here.
func (g *groupSession) unfriend(gone map[peer.ID]bool) {
	for p := range gone {
		g.n.door.members.Left(p)
		g.n.host.ConnManager().UntagPeer(p, "group "+g.id.String())
		g.n.directory.peers.Member(p, g.n.door.members.Has(p)) // another group may have it
	}
}

// followRendezvous listens where the machine says, notes where the members of a private group are
// found, and gives a sum of that, which changes when it does.
func (g *groupSession) followRendezvous(ctx context.Context) (sum [32]byte, ok bool) {
	var topics []string
	var meets []wire.MeetSecret
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		topics, meets = m.Transport().Topics(), m.Transport().Meets()
		return nil
	}); err != nil {
		return sum, false
	}
	g.topics.listenOn(topics)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rendezvous = meets
	h := sha256.New()
	for _, m := range meets {
		h.Write(m[:])
	}
	return [32]byte(h.Sum(nil)), true
}

// send does one thing that the machine wants of the network. It is called by the
// loop and does not wait for anybody.
func (g *groupSession) send(ctx context.Context, out group.Outbound) {
	switch out := out.(type) {
	case group.Publish:
		g.scheduler.passes()
		if !g.n.hooks.mute.Load() {
			if err := g.topics.publish(ctx, out.Topic, out.Envelope); err != nil {
				g.log.Debug("publishing", "err", err)
			}
			g.n.metrics.Published.Inc()
			g.n.metrics.PublishedBytes.Add(float64(len(out.Envelope)))
		}
		g.scheduler.published(g.n.meshes.beside(out.Topic, g.n.fellows.listeners(out.Topic)))
		g.mail.wake()
	case group.Tell:
		g.tell(out)
	case group.Ask:
		g.log.Debug("asking", "why", out.Why)
		g.scheduler.asked()
	case group.RequestJoin:
		g.joiner.requested(out)
	case group.EndRequest:
		g.joiner.end()
	}
}

// notify tells those who watch the node.
func (g *groupSession) notify(e group.Event) {
	if e.Kind != group.EventMessage {
		g.rules.Store(nil)
		g.names.Store(nil)
		g.name.Store(nil) // whatever changes who may set it may change it
	}
	if e.Kind == group.EventChanged {
		g.unread.changed(e.Message)
	}
	spoke := e.Kind == group.EventMessage && e.Device == g.n.me.device.ID && g.n.people.own().Name != ""
	behind := e.Cursor > 0 && e.Cursor%maxProfileEvents == 0
	if spoke || behind || e.Kind == group.EventJoined || e.Kind == group.EventChanged && e.Detail != "reaction" {
		g.profiled.wake()
	}
	g.logEvent(e)
	g.noteEpoch(e)
	g.n.happened(e)
	if said := e.Kind == group.EventMessage || e.Kind == group.EventChanged; !said || !g.n.people.hides(e.User) {
		g.n.feed.add(nodeEvent{Group: g.id, Event: e})
	}
}

// called is the group's name as the profile says; empty: it says none. It is kept until an
// event tells of a change, so that finding a group by its name disturbs no machine.
func (g *groupSession) called(ctx context.Context) (string, error) {
	if name := g.name.Load(); name != nil {
		return *name, nil
	}
	var name string
	err := g.loop.look(ctx, func(m *group.Machine) error { // in the loop's goroutine, as notify is
		for _, item := range m.Status().Profile {
			if item.Field == wire.FieldName {
				name = item.Text
			}
		}
		if name != "" {
			g.name.Store(&name)
		}
		return nil
	})
	return name, err
}

// meetAt lists where members of a private group meet, as its machine says.
func (g *groupSession) meetAt() []wire.MeetSecret {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.rendezvous)
}

func (g *groupSession) status(ctx context.Context) (st group.Status, err error) {
	err = g.loop.look(ctx, func(m *group.Machine) error { st = m.Status(); return nil })
	return st, err
}
