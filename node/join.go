package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// joinStage says how far this device's way into a group is.
type joinStage string

// Stages, in their order; a stuck join repeats one with another Detail.
const (
	stageLookingUp  joinStage = "looking-up"         // the group's public record is not found yet
	stageContacting joinStage = "contacting"         // members are looked for and dialled
	stageWaiting    joinStage = "waiting-for-member" // one has the request; its commit, or an admin's approval, is not there yet
	stageWelcomed   joinStage = "welcomed"           // in, but behind the group
	stageSynced     joinStage = "synced"             // in
)

// joinProgress is where a join stands and why.
type joinProgress struct {
	Stage  joinStage
	Detail string // what is stuck, for people
	Denied bool   // every member that was reached says no, and others will too
	Ended  bool   // and this device asks no more: somebody said so who may
	Since  time.Time
}

// Join asks to be let into a group. When it returns, the request is durable: the
// node goes on trying, also after a restart, until a member has answered. joinProgress
// tells how far it is. Joining a group that one is in calls off a leave
// that waits, and else asks the members whether one still is; one that this device is out of, or waits to get
// into, is asked again at once.
func (n *Node) Join(ctx context.Context, id wire.GroupID) error {
	if !n.callers.enter() {
		return ErrClosed
	}
	defer n.callers.leave()
	if g := n.groups.get(id); g != nil {
		st, err := g.status(ctx)
		switch {
		case err != nil:
			return err
		case st.State == group.StateOut || st.Leaving:
			if err := g.joiner.reopen(); err != nil {
				return err
			}
			return g.joiner.askAgain(ctx, group.Join{})
		case st.State == group.StateNew:
			if err := g.joiner.reopen(); err != nil {
				return err
			}
			return g.joiner.askFirst(ctx)
		case st.State != group.StateJoining:
			g.joiner.confirm(ctx)
			return nil
		}
		lapsed, err := lookAt(ctx, g, func(m *group.Machine) bool { return m.JoinLapsed(n.clock.now()) })
		if err != nil {
			return err
		}
		if lapsed {
			return g.joiner.askAgain(ctx, group.Join{})
		}
		g.joiner.again()
		return nil
	}
	if info := n.directory.known.Get(id); info != nil {
		return n.join(ctx, info.Genesis, nil, nil)
	}
	if n.groups.lookup(id) != nil {
		return nil
	}
	if err := n.put(keyLookup+string(id[:]), &lookupRow{Since: uint64(time.Now().UnixMilli())}); err != nil { //nolint:gosec // after 1970
		return err
	}
	return n.lookUp(id)
}

// joinByLink asks to be let into the group of an invite link, as Join does, and gives
// the group's ID. In a group that this device waits to get into, or is out of, it asks
// with the invite from now on.
func (n *Node) joinByLink(ctx context.Context, l *wire.Link) (wire.GroupID, error) {
	genesis, key, err := readLink(l)
	if err != nil {
		return wire.GroupID{}, err
	}
	if invite, err := wire.DecodeInvite(l.Invite.Payload); err == nil && invite.Expires != 0 && milliseconds(n.clock.ends()) >= invite.Expires {
		// refusedCount here, where a person reads it; members judge it by their own clocks.
		return genesis.ID, fmt.Errorf("%w: %w", errDenied, verdict.ErrInviteExpired)
	}
	g, made, err := n.sessionOfJoiner(genesis, l, nil)
	if err != nil {
		return genesis.ID, err
	}
	if made {
		return genesis.ID, g.joiner.askFirst(ctx)
	}
	st, err := g.status(ctx)
	switch {
	case err != nil:
		return genesis.ID, err
	case st.State == group.StateNew:
		if err := n.put(keyGroups+string(genesis.ID[:]), &groupRow{Genesis: genesis.Raw, Link: l}); err != nil {
			return genesis.ID, err
		}
		g.joiner.setEnded("")
		g.joiner.useLink(l)
		return genesis.ID, g.joiner.askFirst(ctx)
	}
	if err := n.put(keyGroups+string(genesis.ID[:]), &groupRow{Genesis: genesis.Raw, Peers: l.Peers, Meet: l.Meet}); err != nil {
		return genesis.ID, err
	}
	g.joiner.setEnded("")
	g.joiner.invitedTo(l)
	// A member keeps the invite, since it may be out and not know it. The loop may use the key after ctx.
	if err := g.joiner.askAgain(ctx, group.Join{Invite: &l.Invite, Key: key}); err != nil {
		return genesis.ID, err
	}
	g.joiner.confirm(ctx)
	return genesis.ID, nil
}

// readLink checks a link: that its genesis is a group's, and that its invite is for
// that group and by the key in the link.
func readLink(l *wire.Link) (*identity.Genesis, *identity.Key, error) {
	genesis, err := identity.VerifyGenesis(l.Genesis)
	if err != nil {
		return nil, nil, fmt.Errorf("invite link: %w", err)
	}
	invite, err := wire.DecodeInvite(l.Invite.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("invite link: %w", err)
	}
	if err := identity.Verify(invite.Signer, wire.DomainInvite, genesis.ID, l.Invite); err != nil {
		return nil, nil, fmt.Errorf("invite link: the invite is not for the group in the link: %w", err)
	}
	key, err := identity.KeyFromSeed(l.Secret[:])
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(key.Public(), invite.Key[:]) {
		key.Wipe()
		return nil, nil, fmt.Errorf("invite link: %w: its secret is another invite's", identity.ErrForged)
	}
	return genesis, key, nil
}

// joinProgress tells how far the way into a group is.
func (n *Node) joinProgress(ctx context.Context, id wire.GroupID) (joinProgress, error) {
	if l := n.groups.lookup(id); l != nil {
		return l.at(), nil
	}
	g, err := n.groups.must(id)
	if err != nil {
		return joinProgress{}, err
	}
	st, err := g.status(ctx)
	if err != nil {
		return joinProgress{}, err
	}
	p := g.joiner.where()
	ended := g.joiner.hasEnded()
	switch st.State {
	case group.StateMember, group.StateSyncing, group.StateJoining:
	case group.StateNew, group.StateOut:
		if ended != "" {
			return joinProgress{Stage: stageContacting, Detail: "denied: " + ended, Denied: true, Ended: true, Since: p.Since}, nil
		}
	}
	switch st.State {
	case group.StateMember:
		sure, err := g.joiner.sure(ctx, st)
		if err != nil {
			return joinProgress{}, err
		}
		if !sure {
			return joinProgress{Stage: stageContacting, Detail: unsure, Since: p.Since}, nil
		}
		if missing := g.missing(st); missing != "" {
			return joinProgress{Stage: stageWelcomed, Detail: missing, Since: p.Since}, nil
		}
		return joinProgress{Stage: stageSynced, Since: p.Since}, nil
	case group.StateSyncing:
		return joinProgress{Stage: stageWelcomed, Detail: g.missing(st), Since: p.Since}, nil
	case group.StateOut:
		return joinProgress{}, fmt.Errorf("%w: this device was removed from the group, or left it", errDenied)
	case group.StateNew, group.StateJoining:
	}
	if p.Stage == "" {
		p = joinProgress{Stage: stageContacting, Since: n.opened}
	}
	return p, nil
}

// leaving says what a Leave did.
type leaving struct {
	Waits bool // it goes as soon as a member who stays has all that it wrote
	Ended bool // it was not in: the join that waited, or was refused, is over
}

// leave takes this user out of a group, or ends a join that waits or was refused.
func (n *Node) leave(ctx context.Context, id wire.GroupID) (leaving, error) {
	n.groups.joining.Lock()
	ended, err := n.endLookup(id)
	n.groups.joining.Unlock()
	if ended || err != nil {
		return leaving{Ended: ended}, err
	}
	g, err := n.groups.must(id)
	if err != nil {
		return leaving{}, err
	}
	st, err := g.status(ctx)
	if err != nil {
		return leaving{}, err
	}
	if st.State == group.StateJoining || st.State == group.StateNew {
		return leaving{Ended: true}, n.endJoin(ctx, g, st)
	}
	out, err := g.loop.step(ctx, group.Leave{})
	return leaving{Waits: err == nil && out.Entry == (wire.EntryHash{})}, err
}

// lookup is a join whose group's genesis is not known yet.
type lookup struct {
	kick chan struct{} // holds one
	stop chan struct{} // closed when it is called off

	mu       sync.Mutex
	progress joinProgress
}

// at is where the join stands.
func (l *lookup) at() joinProgress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progress
}

// fails notes why the group was not found.
func (l *lookup) fails(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.Detail = why
}

// lookupRow says that a group is to be joined as soon as its record is found.
type lookupRow struct {
	Since uint64 `cbor:"1,keyasint"`           // milliseconds since 1970
	Link  string `cbor:"2,keyasint,omitempty"` // a short invite link to join by, as text
}

// lookUp searches for a group's record until it is found, and joins the group then.
func (n *Node) lookUp(id wire.GroupID) error {
	l := &lookup{kick: make(chan struct{}, 1), stop: make(chan struct{}), progress: joinProgress{Stage: stageLookingUp, Since: time.Now()}}
	if !n.groups.addLookup(id, l) {
		return nil
	}
	if !n.life.start(func(ctx context.Context) {
		for pause := lookupRetry; ctx.Err() == nil; {
			err := n.lookUpOnce(ctx, id, l)
			if err == nil {
				return
			}
			l.fails(api.Words(err.Error()))
			n.changed.wake()
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
				pause = min(2*pause, lookupMax)
			case <-l.kick: // a peer that has connected since may not have said yet what it serves
				pause = lookupRetry
			case <-l.stop:
				timer.Stop()
				return
			}
			timer.Stop()
		}
	}) {
		return ErrClosed
	}
	return nil
}

func (n *Node) lookUpOnce(ctx context.Context, id wire.GroupID, l *lookup) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var row lookupRow
	if _, err := getRow(n.store, keyLookup+string(id[:]), &row); err != nil {
		return err
	}
	var short *wire.ShortLink
	if row.Link != "" {
		var err error
		if _, short, err = wire.ParseLink(row.Link); err != nil {
			return fmt.Errorf("%w: the link of a join: %w", ErrStore, err)
		}
		defer clear(short.Secret[:])
		n.dialHints(ctx, short.Peers)
	}
	info, err := looked(n.directory.dht.First(ctx, id))
	if err != nil {
		return err
	}
	if short != nil {
		link, err := wholeLink(info.Genesis, short)
		if err != nil {
			return err
		}
		return n.join(ctx, info.Genesis, link, l)
	}
	return n.join(ctx, info.Genesis, nil, l)
}

// dialHints connects to peers that a link names: they may serve the group's record.
func (n *Node) dialHints(ctx context.Context, peers []wire.LinkPeer) {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	var dialling sync.WaitGroup
	for _, p := range peers {
		info, ok := infoOf(p)
		if !ok || info.ID == n.host.ID() {
			continue
		}
		dialling.Go(func() { _ = n.host.Connect(ctx, info) }) // others may have the record
	}
	dialling.Wait()
}

// hintTimeout is how long a search waits for peers that a link names.
const hintTimeout = 5 * time.Second

// keyOfShort gives the key of a short link's invite, if that is of the group.
func keyOfShort(s *wire.ShortLink) (*identity.Key, error) {
	seed := s.Secret.Secret()
	defer clear(seed[:])
	key, err := identity.KeyFromSeed(seed[:])
	if err != nil {
		return nil, err
	}
	if err := identity.Verify(s.Signer[:], wire.DomainInvite, s.Group, s.Invite([32]byte(key.Public()))); err != nil {
		key.Wipe()
		return nil, fmt.Errorf("invite link: the invite is not for the group in the link: %w", err)
	}
	return key, nil
}

// wholeLink is a short link with the group's genesis.
func wholeLink(genesis *identity.Genesis, s *wire.ShortLink) (*wire.Link, error) {
	key, err := keyOfShort(s)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	return s.Of(genesis.Raw, [32]byte(key.Public())), nil
}

// joinByShortLink is joinByLink with a link that does not have the group's genesis: it is looked
// for first, where this node does not know it.
func (n *Node) joinByShortLink(ctx context.Context, s *wire.ShortLink) (wire.GroupID, error) {
	key, err := keyOfShort(s)
	if err != nil {
		return s.Group, err
	}
	key.Wipe()
	if s.Expires != 0 && milliseconds(n.clock.ends()) >= s.Expires {
		return s.Group, fmt.Errorf("%w: %w", errDenied, verdict.ErrInviteExpired)
	}
	var genesis *identity.Genesis
	if g := n.groups.get(s.Group); g != nil {
		genesis = g.genesis
	} else if info := n.directory.known.Get(s.Group); info != nil {
		genesis = info.Genesis
	}
	if genesis != nil {
		link, err := wholeLink(genesis, s)
		if err != nil {
			return s.Group, err
		}
		defer clear(link.Secret[:])
		return n.joinByLink(ctx, link)
	}
	row := lookupRow{Since: uint64(time.Now().UnixMilli()), Link: s.Text()} //nolint:gosec // after 1970
	if err := n.put(keyLookup+string(s.Group[:]), &row); err != nil {
		return s.Group, err
	}
	if l := n.groups.lookup(s.Group); l != nil {
		select {
		case l.kick <- struct{}{}:
		default: // it is about to look
		}
	}
	return s.Group, n.lookUp(s.Group)
}

// join has a group that this device is not in be asked, unless the lookup that found it
// was called off; nil: there was none. The link is nil for one who has none.
func (n *Node) join(ctx context.Context, genesis *identity.Genesis, link *wire.Link, l *lookup) error {
	g, _, err := n.sessionOfJoiner(genesis, link, l)
	if g == nil || err != nil {
		return err
	}
	return g.joiner.askFirst(ctx)
}

// sessionOfJoiner gives the group of a joiner. If this node does not have it, it makes it: its
// row first, so that a crash repeats the rest. The link is nil for one who has none, and
// so is the lookup; it gives nil if that was called off.
func (n *Node) sessionOfJoiner(genesis *identity.Genesis, link *wire.Link, l *lookup) (g *groupSession, made bool, err error) {
	n.groups.joining.Lock() // of two at once the second finds the first's group
	defer n.groups.joining.Unlock()
	if l != nil && n.groups.lookup(genesis.ID) != l {
		return n.groups.get(genesis.ID), false, nil
	}
	if g := n.groups.get(genesis.ID); g != nil {
		return g, false, nil
	}
	if err := n.naming.comeIn(genesis.ID); err != nil {
		return nil, false, err
	}
	b := storage.Batch{Writes: []storage.Write{
		{Key: []byte(keyGroups + string(genesis.ID[:])), Value: wire.Marshal(&groupRow{Genesis: genesis.Raw, Link: link})},
		{Key: []byte(keyLookup + string(genesis.ID[:]))},
	}}
	if err := n.apply(b); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	g = n.newSession(genesis)
	if link != nil {
		g.joiner.useLink(link)
	}
	if err := g.start(); err != nil {
		g.stop()
		return nil, false, err
	}
	n.adopt(g)
	return g, true, nil
}

// resumeJoins goes on with joins that were accepted before a restart.
func (n *Node) resumeJoins(groups []*groupSession) error {
	for _, g := range groups {
		g.life.start(func(ctx context.Context) {
			if err := g.joiner.askFirst(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("the join is not taken up again yet", "err", err)
			}
		})
	}
	var ids []wire.GroupID
	if err := n.store.ScanKeys([]byte(keyLookup), func(key []byte) error {
		if raw := key[len(keyLookup):]; len(raw) == len(wire.GroupID{}) {
			ids = append(ids, wire.GroupID(raw))
		}
		return nil
	}); err != nil {
		return fmt.Errorf("restoring the joins: %w", err)
	}
	for _, id := range ids {
		if err := n.lookUp(id); err != nil {
			return err
		}
	}
	return nil
}

// endLookup calls off a join whose group was not found yet, and says whether there was one.
func (n *Node) endLookup(id wire.GroupID) (bool, error) {
	l := n.groups.lookup(id)
	if l == nil {
		return false, nil
	}
	if err := n.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyLookup + string(id[:]))}}}); err != nil {
		return false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	n.groups.removeLookup(id, l)
	close(l.stop)
	n.changed.wake()
	return true, nil
}

// endJoin ends this device's asking to be let into a group, as its user wants.
func (n *Node) endJoin(ctx context.Context, g *groupSession, st group.Status) error {
	if !st.Was {
		_, err := n.forget(ctx, g.id, false)
		return err
	}
	_, err := g.loop.step(ctx, group.EndJoin{})
	return err
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
	var last joinProgress
	for {
		changed := s.n.changed.wait()
		p, err := s.n.joinProgress(ctx, id)
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
		link, short, err := wire.ParseLink(r.Link)
		if err != nil {
			return wire.GroupID{}, APIError(err)
		}
		if short != nil {
			defer clear(short.Secret[:])
			id, err := s.n.joinByShortLink(ctx, short)
			return id, APIError(err)
		}
		defer clear(link.Secret[:])
		id, err := s.n.joinByLink(ctx, link)
		return id, APIError(err)
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return id, err
	}
	return id, APIError(s.n.Join(ctx, id))
}

// explainJoin says why a join is not further than it is.
func (n *Node) explainJoin(ctx context.Context, id wire.GroupID) (group.Explanation, error) {
	p, err := n.joinProgress(ctx, id)
	if err != nil {
		return group.Explanation{}, err
	}
	e := group.Explanation{State: string(p.Stage)}
	if p.Denied && p.Ended { // the list of groups says so too
		e.State = string(api.StateRefused)
	}
	say := func(format string, args ...any) { e.Facts = append(e.Facts, fmt.Sprintf(format, args...)) }
	then := func(what string) { e.Next = append(e.Next, what) }
	if !p.Since.IsZero() {
		say("so since %s", p.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if p.Detail != "" {
		say("%s", p.Detail)
	}
	peers := len(n.host.Network().Peers())
	if p.Stage != stageSynced {
		say("%s %s connected, and the DHT's table has %d", english.Plural(peers, "peer", ""), english.PluralWord(peers, "is", "are"), n.directory.dht.Size())
	}
	g := n.groups.get(id)
	if g != nil && p.Stage != stageSynced {
		hints, connected := g.joiner.hinted(), 0
		for _, h := range hints {
			if n.isConnected(h.ID) {
				connected++
			}
		}
		if len(hints) > 0 {
			say("the invite link names %s, of whom %d %s connected", english.Plural(len(hints), "member", ""), connected, english.PluralWord(connected, "is", "are"))
		}
		if r := g.joiner.wanted(); r != nil {
			with := "without an invite"
			if r.Request.Invite != nil {
				with = "with an invite"
			}
			say("the request, %s, is durable and goes to every member that can be reached", with)
		}
	}
	switch {
	case p.Denied:
		then("an invite from an owner or admin, or their approval, lets this device in: pandanode group join - reads an invite link")
	case p.Stage == stageLookingUp:
		then("the group's record is looked for again, with pauses of up to a minute; a whole invite link (group invite --whole) needs no record")
	case p.Stage == stageContacting:
		then("members are looked for again, with pauses of up to a minute, and at once when a peer connects")
	case p.Stage == stageWaiting:
		then("the node goes on asking; it hears of an answer from any member")
	case p.Stage == stageWelcomed:
		then("a sync with any member brings the rest: pandanode group heal GROUP")
	case p.Stage == stageSynced:
		say("this device is in, and has caught up with a member")
	}
	if peers == 0 && p.Stage != stageSynced {
		then("this node is alone: pandanode status shows what it lacks")
	}
	return e, nil
}
