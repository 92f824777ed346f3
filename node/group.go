package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
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
	tally     *tally
	changed   *signal

	name  atomic.Pointer[string] // what the group is called; nil: to be looked up
	epoch *group.Event           // that the turn being carried out has told of; the loop's alone

	asking sync.Mutex  // held while a machine that is new is let ask
	link   *wire.Link  // to ask with first, under asking; nil: none
	trying atomic.Bool // to let it ask, again and again

	mu         sync.Mutex
	topics     map[string]*topic // by name; none: not on gossip
	rendezvous []wire.MeetSecret // of a private group: where its members are found
	invited    *wire.MeetSecret  // the same, as an invite link says
	hints      []peer.AddrInfo   // members that an invite link names

	ended string    // why the join has ended, as the row says
	asked time.Time // when this device's user last asked to be let in; zero: not in this run

	welcomer peer.ID // who welcomed this device in this run: a member, though the log that says so is not here yet
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
		log: n.log.With("subsystem", "group", "group", genesis.ID.String()[:12]),
	}
	device := n.knownAs(genesis.ID)
	g.scheduler, g.joiner, g.tally, g.mail = newScheduler(g), newJoiner(g), newTally(g), newMailboxClient(g)
	r := rows{store: n.store, prefix: groupPrefix(g.id)}
	var crash func(boundary) bool
	if n.crash != nil {
		crash = func(b boundary) bool { return n.crash(g.id, b) }
	}
	g.loop = &loop{
		log: g.log, rows: r, apply: n.apply, outbox: g.mail.outbox, send: g.send, notify: g.notify, clock: n.clock.at, turned: g.turned, changed: g.changed,
		crash: crash, fatal: n.fail, done: g.life.done, requests: make(chan request, maxWaiting),
		open: func(now time.Time) (*group.Machine, error) {
			incarnation, err := n.incarnationIn(genesis.ID)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrStore, err)
			}
			return group.New(group.Config{
				Genesis: genesis, Device: device, LogKey: n.me.log, Incarnation: incarnation,
				Engine: group.MLS(genesis.Suite), Rand: rand.Reader, Rows: r, Kept: n.kept(),
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
	if err := g.mail.load(); err != nil {
		return err
	}
	if err := g.onGossip(); err != nil {
		return err
	}
	for _, run := range []func(context.Context){g.loop.run, g.scheduler.run, g.joiner.run, g.mail.run, g.watch, g.tally.run} {
		if !g.life.start(run) {
			return ErrClosed
		}
	}
	for _, p := range g.n.host.Network().Peers() {
		g.scheduler.connected(p)
	}
	return nil
}

// onGossip puts the group on gossip, if it is not. What topics a private group has only
// its machine knows, which watch asks.
func (g *groupSession) onGossip() error {
	if g.genesis.Private {
		return nil
	}
	_, err := g.topic(g.id.Topic())
	return err
}

// topic gives a topic of the group, which it joins first if need be.
func (g *groupSession) topic(name string) (*topic, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.topicLocked(name)
}

// topicLocked is topic while g.mu is held.
func (g *groupSession) topicLocked(name string) (*topic, error) {
	if t := g.topics[name]; t != nil {
		return t, nil
	}
	t, err := joinTopic(g.n.pubsub, g.n.host.ID(), g, name)
	if err != nil {
		return nil, err
	}
	if g.topics == nil {
		g.topics = make(map[string]*topic)
	}
	g.topics[name] = t
	return t, nil
}

// listenOn is on these topics of the group from now on, and on no other. A topic that is
// being left cannot be joined: g.mu is held until it is left.
func (g *groupSession) listenOn(names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		if _, err := g.topicLocked(name); err != nil {
			g.log.Warn("a topic of the group cannot be joined", "err", err)
		}
	}
	for name, t := range g.topics {
		if slices.Contains(names, name) {
			continue
		}
		delete(g.topics, name)
		if err := t.close(g.n.pubsub); err != nil {
			g.log.Warn("a topic of the group is not left as it should be", "err", err)
		}
	}
}

// stop ends the group's goroutines and takes it off gossip. It may be called again.
func (g *groupSession) stop() {
	g.life.end()
	g.offGossip()
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
			if sum, ok := g.places(ctx); ok {
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
		return nil
	}); err != nil {
		return
	}
	tag := "group " + g.id.String()
	for p := range now {
		if !(*friends)[p] {
			g.n.members.Joined(p)
		}
		g.n.peers.Member(p, true)
		g.n.host.ConnManager().TagPeer(p, tag, admission.MemberTag)
	}
	for p := range *friends {
		if !now[p] {
			g.n.members.Left(p)
			g.n.host.ConnManager().UntagPeer(p, tag)
			g.n.peers.Member(p, g.n.members.Has(p)) // another group may have it
		}
	}
	*friends = now
}

// places listens where the machine says, notes where the members of a private group are
// found, and gives a sum of that, which changes when it does.
func (g *groupSession) places(ctx context.Context) (sum [32]byte, ok bool) {
	var topics []string
	var meets []wire.MeetSecret
	if err := g.loop.look(ctx, func(m *group.Machine) error { topics, meets = m.Topics(), m.Meets(); return nil }); err != nil {
		return sum, false
	}
	g.listenOn(topics)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rendezvous = meets
	h := sha256.New()
	for _, m := range meets {
		h.Write(m[:])
	}
	return [32]byte(h.Sum(nil)), true
}

// rendezvousPoints lists where members of a private group may be found.
func (g *groupSession) rendezvousPoints() []wire.MeetSecret {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.rendezvous)
	if g.invited != nil && !slices.Contains(out, *g.invited) {
		out = append(out, *g.invited)
	}
	return out
}

func (g *groupSession) offGossip() { g.listenOn(nil) }

// send does one thing that the machine wants of the network. It is called by the
// loop and does not wait for anybody.
func (g *groupSession) send(ctx context.Context, out group.Outbound) {
	switch out := out.(type) {
	case group.Publish:
		g.scheduler.passes()
		if !g.n.mute.Load() {
			t, err := g.topic(out.Topic)
			if err == nil {
				err = t.publish(ctx, out.Envelope)
			}
			if err != nil {
				g.log.Debug("publishing", "err", err)
			}
			g.n.metrics.Published.Inc()
		}
		g.scheduler.published()
		g.mail.wake()
	case group.Tell:
		g.tell(out)
	case group.Ask:
		g.log.Debug("asking", "why", out.Why)
		g.scheduler.asked()
	case group.RequestJoin:
		g.joiner.ask(out)
	case group.EndRequest:
		g.joiner.end()
	}
}

// notify tells those who watch the node.
func (g *groupSession) notify(e group.Event) {
	if e.Kind != group.EventMessage {
		g.name.Store(nil) // whatever changes who may set it may change it
	}
	g.logEvent(e)
	g.noteEpoch(e)
	g.n.happened(e)
	g.n.feed.add(NodeEvent{Group: g.id, Event: e})
}

// topicPeers are the peers that gossip reaches.
func (g *groupSession) topicPeers() []peer.ID {
	if g.n.mute.Load() {
		return nil
	}
	g.mu.Lock()
	topics := slices.Collect(maps.Values(g.topics))
	g.mu.Unlock()
	var out []peer.ID
	for _, t := range topics {
		out = append(out, t.peers()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
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

func (g *groupSession) status(ctx context.Context) (st group.Status, err error) {
	err = g.loop.look(ctx, func(m *group.Machine) error { st = m.Status(); return nil })
	return st, err
}

// CreateGroup says what to found.
type CreateGroup struct {
	Name        string
	Description string
	Tags        []string
	Policy      wire.Policy // 0: open, or by invite if the group is private
	Private     bool        // not published: found by who has an invite link
}

// suite is the MLS ciphersuite of new groups: 0x0001,
// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420, Section 17.1).
const suite = 0x0001

// CreateGroup founds a group with this user as its owner. When it returns, the
// group is durable; it is published as soon as there is somebody to publish it to.
func (n *Node) CreateGroup(ctx context.Context, c CreateGroup) (wire.GroupID, error) {
	if c.Policy == 0 {
		c.Policy = wire.PolicyOpen
		if c.Private {
			c.Policy = wire.PolicyInvite
		}
	}
	if c.Private && c.Policy == wire.PolicyOpen {
		return wire.GroupID{}, fmt.Errorf("%w: a private group with an open door: whoever meets one member would be in; let people in by invite or request", ErrInvalid)
	}
	if wire.Blank(c.Name) {
		return wire.GroupID{}, fmt.Errorf("%w: a group needs a name", ErrInvalid)
	}
	now := n.now()
	profile, err := c.profile(n.me.user.Public(), now)
	if err != nil {
		return wire.GroupID{}, err
	}
	raw, id, err := identity.NewGenesis(rand.Reader, now, n.me.user, n.calledNow(), identity.Founding{Suite: suite, Policy: c.Policy, Private: c.Private})
	if err != nil {
		return wire.GroupID{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	genesis, err := identity.VerifyGenesis(raw)
	if err != nil {
		return wire.GroupID{}, err
	}
	if err := n.comeIn(id); err != nil {
		return wire.GroupID{}, err
	}
	g := n.newSession(genesis)
	if err := g.found(ctx, profile); err != nil {
		g.stop()
		return wire.GroupID{}, fmt.Errorf("creating the group: %w", err)
	}
	n.adopt(g)
	return id, nil
}

// found starts a new group and makes it durable. Until its last write the node
// does not have the group, whatever rows there are.
func (g *groupSession) found(ctx context.Context, profile []wire.ProfileItem) error {
	if err := g.start(); err != nil {
		return err
	}
	if _, err := g.loop.step(ctx, group.Found{}); err != nil {
		return err
	}
	for _, item := range profile {
		signed := g.n.me.user.Sign(wire.DomainProfile, g.id, item.Encode())
		if _, err := g.loop.step(ctx, group.SetProfile{Item: signed}); err != nil {
			return err
		}
	}
	return g.n.put(keyGroups+string(g.id[:]), &groupRow{Genesis: g.genesis.Raw})
}

// profile makes the registers that c sets.
func (c *CreateGroup) profile(signer []byte, now time.Time) ([]wire.ProfileItem, error) {
	base := wire.ProfileItem{V: wire.Version, HLC: uint64(hlcOf(now)), Signer: signer}
	var out []wire.ProfileItem
	add := func(f wire.ProfileField, set func(*wire.ProfileItem)) {
		item := base
		item.Field = f
		set(&item)
		out = append(out, item)
	}
	if c.Name != "" {
		add(wire.FieldName, func(i *wire.ProfileItem) { i.Text = c.Name })
	}
	if c.Description != "" {
		add(wire.FieldDescription, func(i *wire.ProfileItem) { i.Text = c.Description })
	}
	if len(c.Tags) > 0 {
		add(wire.FieldTags, func(i *wire.ProfileItem) { i.Tags = c.Tags })
	}
	for _, item := range out {
		if _, err := wire.DecodeProfileItem(item.Encode()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return out, nil
}

// Send accepts a message. When it returns, the message is durable and cannot be
// lost; who can be reached gets it at once, the others when they can be. Without a
// media type it is "text/plain" if it is UTF-8, else "application/octet-stream".
// ErrInvalid: it is empty, blank, too long, or no text although its type says so.
func (n *Node) Send(ctx context.Context, id wire.GroupID, c wire.Content) (wire.MessageID, error) {
	c, err := checkContent(c)
	if err != nil {
		return wire.MessageID{}, err
	}
	g, err := n.groups.must(id)
	if err != nil {
		return wire.MessageID{}, err
	}
	out, err := g.loop.step(ctx, group.Send{Content: c})
	if err == nil {
		n.metrics.Sent.Inc()
	}
	return out.Entry, err
}

// Bounds of SendAll: what it makes durable fits into one transaction.
const (
	MaxTogether      = 256
	MaxTogetherBytes = 512 << 10
)

// SendAll accepts several messages, in their order and in one transaction: all of them
// or none. It is Send with one wait for the disk. Errors: also ErrInvalid for more than
// MaxTogether, or more than MaxTogetherBytes of content.
func (n *Node) SendAll(ctx context.Context, id wire.GroupID, contents []wire.Content) ([]wire.MessageID, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return nil, err
	}
	contents = slices.Clone(contents)
	size := 0
	for i, c := range contents {
		if contents[i], err = checkContent(c); err != nil {
			return nil, err
		}
		size += len(c.Data)
	}
	switch {
	case len(contents) == 0 || len(contents) > MaxTogether || size > MaxTogetherBytes:
		return nil, fmt.Errorf("%w: %d messages of %d bytes at once; 1 to %d are taken, of %d bytes together", ErrInvalid, len(contents), size, MaxTogether, MaxTogetherBytes)
	case len(contents) == 1: // alone it can be shown as an envelope again
		one, err := n.Send(ctx, id, contents[0])
		return []wire.MessageID{one}, err
	}
	out, err := g.loop.step(ctx, group.SendAll{Contents: contents})
	n.metrics.Sent.Add(float64(len(out.Messages)))
	return out.Messages, err
}

// checkContent gives a message as it is sent.
func checkContent(c wire.Content) (wire.Content, error) {
	if c.MediaType == "" {
		if c.MediaType = "application/octet-stream"; utf8.Valid(c.Data) {
			c.MediaType = "text/plain"
		}
	}
	switch text := strings.HasPrefix(c.MediaType, "text/"); {
	case len(c.Data) > wire.MaxBody:
		return c, fmt.Errorf("%w: a message of %d bytes; at most %d (64 KiB) can be sent", ErrInvalid, len(c.Data), wire.MaxBody)
	case len(c.Data) == 0:
		return c, fmt.Errorf("%w: the message is empty", ErrInvalid)
	case text && !utf8.Valid(c.Data):
		return c, fmt.Errorf("%w: the message is not UTF-8", ErrInvalid)
	case text && wire.Blank(string(c.Data)):
		return c, fmt.Errorf("%w: the message is blank: there is nothing in it that can be seen", ErrInvalid)
	}
	if err := wire.CheckMediaType(c.MediaType); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// Members lists who is in a group.
func (n *Node) Members(ctx context.Context, id wire.GroupID) (out []group.Member, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) error { out = m.Members(); return nil })
	return out, err
}

// Remove takes a user out of a group.
func (n *Node) Remove(ctx context.Context, id wire.GroupID, user wire.UserID) error {
	g, err := n.groups.must(id)
	if err != nil {
		return err
	}
	_, err = g.loop.step(ctx, group.RemoveUser{User: user})
	return err
}

// Leaving says what a Leave did.
type Leaving struct {
	Waits bool // it goes as soon as what it wrote is with a member who stays
	Ended bool // it was not in: the join that waited, or was refused, is over
}

// Leave takes this user out of a group, or ends a join that waits or was refused.
func (n *Node) Leave(ctx context.Context, id wire.GroupID) (Leaving, error) {
	n.joining.Lock()
	ended, err := n.endLookup(id)
	n.joining.Unlock()
	if ended || err != nil {
		return Leaving{Ended: ended}, err
	}
	g, err := n.groups.must(id)
	if err != nil {
		return Leaving{}, err
	}
	st, err := g.status(ctx)
	if err != nil {
		return Leaving{}, err
	}
	if st.State == group.StateJoining || st.State == group.StateNew {
		return Leaving{Ended: true}, n.endJoin(ctx, g, st)
	}
	out, err := g.loop.step(ctx, group.Leave{})
	return Leaving{Waits: err == nil && out.Entry == (wire.EntryHash{})}, err
}

// Reboot gives a group fresh MLS keys. Members and messages stay.
func (n *Node) Reboot(ctx context.Context, id wire.GroupID) error {
	g, err := n.groups.must(id)
	if err != nil {
		return err
	}
	_, err = g.loop.step(ctx, group.Reboot{})
	return err
}

// Message is one message by its ID; ErrNotFound if it is not here.
func (n *Node) Message(ctx context.Context, id wire.GroupID, message wire.MessageID) (out group.Message, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return out, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) (err error) {
		var ok bool
		if out, ok, err = m.Message(message); err == nil && !ok {
			err = fmt.Errorf("%w: message %v", ErrNotFound, message)
		}
		return err
	})
	return out, err
}

// Messages gives up to limit messages after a cursor, in the order in which this
// device showed them: none of a group whose record is still looked for. ErrCursor: the
// cursor lies beyond what has happened in the group.
func (n *Node) Messages(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]group.Message, error) {
	return rowsAfter(ctx, n, id, after, func(m *group.Machine) ([]group.Message, error) { return m.Messages(after, limit) })
}

// Events gives up to limit events after a cursor, as Messages does.
func (n *Node) Events(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]group.Event, error) {
	return rowsAfter(ctx, n, id, after, func(m *group.Machine) ([]group.Event, error) { return m.Events(after, limit) })
}

func rowsAfter[T any](ctx context.Context, n *Node, id wire.GroupID, after uint64, read func(*group.Machine) ([]T, error)) (out []T, err error) {
	beyond := func(newest uint64) error {
		if after <= newest {
			return nil
		}
		return fmt.Errorf("%w: the newest event of this group has cursor %d here, and what comes after %d was asked for", ErrCursor, newest, after)
	}
	if n.groups.looksFor(id) {
		return nil, beyond(0)
	}
	g, err := n.groups.must(id)
	if err != nil {
		return nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) (err error) {
		if err := beyond(m.Cursor()); err != nil {
			return err
		}
		out, err = read(m)
		return err
	})
	return out, err
}

// page is how many rows a subscription reads in one turn at the machine.
const page = 256

// Subscribe calls emit for each message after a cursor, the old ones and then the
// new ones as they come, each once and in order, until ctx ends or emit fails;
// that error is returned. It waits for a group that is being joined. ErrCursor as of
// Messages.
func (n *Node) Subscribe(ctx context.Context, id wire.GroupID, after uint64, emit func(group.Message) error) error {
	return follow(ctx, n, id, after, n.Messages, func(m group.Message) uint64 { return m.Cursor }, emit)
}

// SubscribeEvents is Subscribe for events.
func (n *Node) SubscribeEvents(ctx context.Context, id wire.GroupID, after uint64, emit func(group.Event) error) error {
	return follow(ctx, n, id, after, n.Events, func(e group.Event) uint64 { return e.Cursor }, emit)
}

func follow[T any](
	ctx context.Context, n *Node, id wire.GroupID, after uint64,
	read func(context.Context, wire.GroupID, uint64, int) ([]T, error), cursor func(T) uint64, emit func(T) error,
) error {
	if _, err := read(ctx, id, after, 1); err != nil {
		return err
	}
	g, err := n.groups.await(ctx, id)
	if err != nil {
		return err
	}
	for {
		changed := g.changed.wait()
		for {
			rows, err := read(ctx, id, after, page)
			if errors.Is(err, ErrClosed) && n.groups.get(id) != g {
				return fmt.Errorf("%w: %v was forgotten", ErrNoGroup, id)
			}
			if err != nil {
				return err
			}
			for _, r := range rows {
				if err := emit(r); err != nil {
					return err
				}
				after = cursor(r)
			}
			if len(rows) < page {
				break
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.life.done:
			return ErrClosed
		case <-g.life.done:
			if n.groups.get(id) == g {
				return ErrClosed // the node closes
			}
			return fmt.Errorf("%w: %v was forgotten", ErrNoGroup, id)
		}
	}
}

// EnvelopeOf gives the envelope of a message, as it was published.
func (n *Node) EnvelopeOf(ctx context.Context, id wire.GroupID, message wire.MessageID) (out []byte, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) (err error) { out, err = m.EnvelopeOf(message); return err })
	return out, err
}

// Deliver hands an envelope to a group as if it had come from the network. The
// error is the machine's, and names why it was refused.
func (n *Node) Deliver(ctx context.Context, id wire.GroupID, envelope []byte) (group.Outcome, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return group.Outcome{}, err
	}
	return g.loop.step(ctx, group.Envelope{Bytes: envelope})
}

// GroupStatus is the machine's state for people.
func (n *Node) GroupStatus(ctx context.Context, id wire.GroupID) (group.Status, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return group.Status{}, err
	}
	return g.status(ctx)
}

// adopt makes a started group known to streams and callers.
func (n *Node) adopt(g *groupSession) {
	n.groups.add(g)
	if info := n.known.Get(g.id); info != nil {
		n.saveInfo(g.id, info.Bytes())
	}
	g.changed.wake()
	n.changed.wake()
}

// Groups lists the groups of this node, those it is joining included.
func (n *Node) Groups() []wire.GroupID { return n.groups.ids() }
