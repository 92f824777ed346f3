package node

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/node/wire"
)

// GossipSub tells every peer all topics of a node, and so the groups that it is in. This
// node tells a peer nothing of a group unless the two are fellows there: the roster names
// the peer, or the peer has proven in an exchange that it may take part, as a newcomer or a
// member of another branch does. A connection proves the peer's ID.
//
// The rule holds at one place in each direction. A gossipStream cuts what is not for the
// peer at its other end out of everything that GossipSub writes, and adds what is for it
// later, when the two have become fellows. fellows.inspect cuts what a peer says of a topic
// that it has no part in, before GossipSub acts on it. What a peer says it listens to is
// kept all the same, within bounds: it may be a fellow whose proof is on its way.

// fellows knows, for each group and topic of this node, which peers take part.
type fellows struct {
	wasted func(peer.ID)              // counts an envelope of a peer that is none
	there  func(peer.ID) bool         // a peer is connected
	meshed func(peer.ID, string) bool // GossipSub has a peer in its mesh of a topic

	mu      sync.RWMutex
	groups  map[wire.GroupID]map[peer.ID]proof
	topics  map[string]wire.GroupID
	streams map[peer.ID]map[*gossipStream]bool // to the peer
	heard   map[peer.ID]map[string]bool        // topics that the peer says it listens to
}

// proof says why a peer is a fellow.
type proof struct {
	roster bool          // the roster names it
	device wire.DeviceID // that proved in an exchange, while connected, that it may take part; zero: none did
	key    wire.KeyID    // by which it did
}

// Topics that a peer may say it listens to: some, since its groups may not be known to be
// this node's too, and as many as a private group has keys for each one that is.
const (
	topicsHeard      = 64
	topicsHeardGroup = 32
	maxTopic         = 128 // bytes of a topic's name
)

func newFellows(wasted func(peer.ID), there func(peer.ID) bool, meshed func(peer.ID, string) bool) *fellows {
	return &fellows{
		wasted: wasted, there: there, meshed: meshed, groups: make(map[wire.GroupID]map[peer.ID]proof), topics: make(map[string]wire.GroupID),
		streams: make(map[peer.ID]map[*gossipStream]bool), heard: make(map[peer.ID]map[string]bool),
	}
}

// may says whether a peer and this device are fellows in the group of a topic.
func (f *fellows) may(p peer.ID, topic string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	id, ok := f.topics[topic]
	if !ok {
		return false
	}
	_, ok = f.groups[id][p]
	return ok
}

// listeners are the fellows that say they listen to a topic.
func (f *fellows) listeners(topic string) (out []peer.ID) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	in := f.groups[f.topics[topic]]
	for p, heard := range f.heard {
		if _, is := in[p]; is && heard[topic] {
			out = append(out, p)
		}
	}
	return out
}

// on notes that a topic is a group's.
func (f *fellows) on(topic string, id wire.GroupID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.topics[topic] = id
}

// off notes that this device has left a topic.
func (f *fellows) off(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.topics, topic)
}

// named takes the peers that a group's roster names. stays says of a device that proved
// itself by a key in an exchange whether that still counts: not if it was taken out, or if
// somebody was who has the key too.
func (f *fellows) named(id wire.GroupID, peers map[peer.ID]bool, stays func(wire.DeviceID, wire.KeyID) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := make(map[peer.ID]proof, len(peers))
	for p := range peers {
		now[p] = proof{roster: true}
	}
	for p, why := range f.groups[id] {
		if !now[p].roster && why.device != (wire.DeviceID{}) && stays(why.device, why.key) {
			now[p] = why
		}
	}
	before := f.groups[id]
	f.groups[id] = now
	for p := range before {
		if _, is := now[p]; !is {
			f.refreshLocked(p)
		}
	}
	for p := range now {
		if _, was := before[p]; !was {
			f.refreshLocked(p)
		}
	}
}

// forget has no fellows in a group any more.
func (f *fellows) forget(id wire.GroupID) {
	f.named(id, nil, func(wire.DeviceID, wire.KeyID) bool { return false })
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.groups, id)
}

// proved notes that a peer has proven in an exchange that its device may take part in a
// group. That counts as long as it is connected.
func (f *fellows) proved(id wire.GroupID, p peer.ID, d wire.DeviceID, key wire.KeyID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups[id] == nil {
		f.groups[id] = make(map[peer.ID]proof)
	}
	was, is := f.groups[id][p]
	if was.roster {
		return
	}
	f.groups[id][p] = proof{device: d, key: key}
	if !is {
		f.refreshLocked(p)
	}
}

// disconnected drops what a peer has proven: it does so again when it comes back.
func (f *fellows) disconnected(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		if why, is := g[p]; is && !why.roster {
			delete(g, p)
		}
	}
	delete(f.heard, p)
}

func (f *fellows) refreshLocked(p peer.ID) {
	for s := range f.streams[p] {
		s.refresh()
	}
}

// CanSubscribe implements pubsub.SubscriptionFilter.
func (f *fellows) CanSubscribe(string) bool { return true }

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter: it bounds what a peer
// says that it listens to.
func (f *fellows) FilterIncomingSubscriptions(p peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := topicsHeard
	for _, g := range f.groups {
		if _, is := g[p]; is {
			most += topicsHeardGroup
		}
	}
	heard := f.heard[p]
	if heard == nil && !f.there(p) {
		return nil, nil // GossipSub may come to it after disconnected, and nobody would forget it
	}
	if heard == nil {
		heard = make(map[string]bool)
		f.heard[p] = heard
	}
	var out []*pb.RPC_SubOpts
	for _, s := range subs {
		switch topic := s.GetTopicid(); {
		case len(topic) > maxTopic:
			continue
		case !s.GetSubscribe():
			delete(heard, topic)
		case heard[topic]:
		case len(heard) >= most:
			continue
		default:
			heard[topic] = true
		}
		out = append(out, s)
	}
	return out, nil
}

// inspect cuts out of an RPC what a peer says of topics in which it has no part. Its
// envelopes are counted against it and not looked at. Somebody who was taken out may leave the
// mesh: it would fill a place there, and get nothing.
func (f *fellows) inspect(p peer.ID, r *pubsub.RPC) {
	cut := func(topic string) bool { return !f.may(p, topic) }
	before := len(r.Publish)
	trim(&r.RPC, cut, func(topic string) bool { return cut(topic) && !f.meshed(p, topic) })
	for range before - len(r.Publish) {
		f.wasted(p)
	}
}

// trim cuts out of an RPC the envelopes and the control messages of topics; of PRUNE, those
// of other ones.
func trim(r *pb.RPC, cut, pruned func(topic string) bool) {
	r.Publish = slices.DeleteFunc(r.Publish, func(m *pb.Message) bool { return cut(m.GetTopic()) })
	if c := r.Control; c != nil {
		c.Graft = slices.DeleteFunc(c.Graft, func(m *pb.ControlGraft) bool { return cut(m.GetTopicID()) })
		c.Prune = slices.DeleteFunc(c.Prune, func(m *pb.ControlPrune) bool { return pruned(m.GetTopicID()) })
		c.Ihave = slices.DeleteFunc(c.Ihave, func(m *pb.ControlIHave) bool { return cut(m.GetTopicID()) })
	}
}

// gossipHost is the host as GossipSub sees it: its streams go through fellows.
type gossipHost struct {
	host.Host
	fellows *fellows
}

// NewStream opens a stream that says to its peer what the peer may know.
func (h gossipHost) NewStream(ctx context.Context, p peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, protocols...)
	if err != nil {
		return nil, err
	}
	g := &gossipStream{
		Stream: s, peer: p, fellows: h.fellows,
		turn: make(chan struct{}, 1), wants: make(map[string]*pb.RPC_SubOpts), told: make(map[string]bool),
	}
	h.fellows.mu.Lock()
	defer h.fellows.mu.Unlock()
	if h.fellows.streams[p] == nil {
		h.fellows.streams[p] = make(map[*gossipStream]bool)
	}
	h.fellows.streams[p][g] = true
	return g, nil
}

// gossipStream is a stream on which GossipSub writes to a peer. What it reads of it is
// only whether it ends.
type gossipStream struct {
	network.Stream
	peer    peer.ID
	fellows *fellows

	refreshes atomic.Bool // one is on its way

	turn  chan struct{}              // holds one while somebody writes, and has what follows
	rest  []byte                     // of an RPC that is not whole
	wants map[string]*pb.RPC_SubOpts // topics that GossipSub announces
	told  map[string]bool            // topics that the peer was told of: true, or was and is no more: false
}

const (
	gossipWrite = 30 * time.Second // for what refresh adds
	maxRPC      = 4 << 20          // that GossipSub writes; it splits what is larger than an envelope
)

var errRPC = errors.New("GossipSub wrote something other than an RPC")

// Write takes RPCs, each behind its length, and passes on what is for the peer.
func (s *gossipStream) Write(b []byte) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	in := b
	if len(s.rest) > 0 {
		in = slices.Concat(s.rest, b)
	}
	var out []byte
	for len(in) > 0 {
		size, n := binary.Uvarint(in)
		if n < 0 || size > maxRPC {
			return 0, errRPC
		}
		if n == 0 || uint64(len(in)-n) < size {
			break
		}
		var err error
		if out, err = s.cut(out, in[n:n+int(size)]); err != nil { //nolint:gosec // at most maxRPC
			return 0, err
		}
		in = in[n+int(size):] //nolint:gosec // at most maxRPC
	}
	s.rest = append([]byte(nil), in...)
	if len(out) == 0 {
		return len(b), nil
	}
	if _, err := s.Stream.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// cut appends an RPC without what is not for the peer. The caller has the turn.
func (s *gossipStream) cut(out, raw []byte) ([]byte, error) {
	var r pb.RPC
	if err := proto.Unmarshal(raw, &r); err != nil {
		return nil, errors.Join(errRPC, err)
	}
	not := func(topic string) bool { return !s.fellows.may(s.peer, topic) }
	r.Subscriptions = s.announce(r.Subscriptions)
	trim(&r, not, func(topic string) bool { // as a topic is left, it may be off already
		_, knows := s.told[topic]
		return !knows && not(topic)
	})
	return appendRPC(out, &r)
}

// announce notes what GossipSub announces, and gives what of it the peer is told. The caller has
// the turn.
func (s *gossipStream) announce(subs []*pb.RPC_SubOpts) []*pb.RPC_SubOpts {
	out := subs[:0]
	for _, sub := range subs {
		topic := sub.GetTopicid()
		if !sub.GetSubscribe() {
			delete(s.wants, topic)
			if s.told[topic] {
				s.told[topic] = false
				out = append(out, sub)
			}
			continue
		}
		s.wants[topic] = sub
		if s.fellows.may(s.peer, topic) {
			s.told[topic] = true
			out = append(out, sub)
		}
	}
	return out
}

func appendRPC(out []byte, r *pb.RPC) ([]byte, error) {
	size := proto.Size(r)
	if size == 0 {
		return out, nil
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(binary.AppendUvarint(out, uint64(size)), r) //nolint:gosec // a size
	if err != nil {
		return nil, errors.Join(errRPC, err)
	}
	return out, nil
}

// refresh tells the peer, soon, what it may know since it became a fellow or is one no
// more. It does not wait.
func (s *gossipStream) refresh() {
	if s.refreshes.Swap(true) {
		return
	}
	go func() { // ends with its one write: at the latest after gossipWrite, or as the stream ends
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
		s.refreshes.Store(false)
		var r pb.RPC
		for topic, sub := range s.wants {
			switch may := s.fellows.may(s.peer, topic); {
			case may && !s.told[topic]:
				s.told[topic] = true
				r.Subscriptions = append(r.Subscriptions, sub)
			case !may && s.told[topic]:
				s.told[topic] = false
				r.Subscriptions = append(r.Subscriptions, &pb.RPC_SubOpts{Topicid: proto.String(topic), Subscribe: proto.Bool(false)})
			}
		}
		out, err := appendRPC(nil, &r)
		if err == nil && len(out) > 0 {
			if err = s.SetWriteDeadline(time.Now().Add(gossipWrite)); err == nil {
				_, err = s.Stream.Write(out)
			}
		}
		if err != nil {
			_ = s.Reset() // GossipSub opens another
		}
	}()
}

// gone has fellows forget the stream.
func (s *gossipStream) gone() {
	s.fellows.mu.Lock()
	defer s.fellows.mu.Unlock()
	delete(s.fellows.streams[s.peer], s)
	if len(s.fellows.streams[s.peer]) == 0 {
		delete(s.fellows.streams, s.peer)
	}
}

// Close closes the stream.
func (s *gossipStream) Close() error { s.gone(); return s.Stream.Close() }

// Reset resets the stream.
func (s *gossipStream) Reset() error { s.gone(); return s.Stream.Reset() }

// ResetWithError resets the stream and says why.
func (s *gossipStream) ResetWithError(code network.StreamErrorCode) error {
	s.gone()
	return s.Stream.ResetWithError(code)
}
