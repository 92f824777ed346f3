package discovery

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
)

// shelf is a PeerBook in memory.
type shelf struct {
	mu    sync.Mutex
	m     map[string][]byte
	saves []time.Time
	fail  error // of the next SavePeer
}

func (s *shelf) LoadPeers() (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.m), nil
}

func (s *shelf) SavePeer(id string, v []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	s.m[id] = v
	s.saves = append(s.saves, time.Now())
	return nil
}

func (s *shelf) DropPeer(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
	return nil
}

// station is all of this package on one simulated host.
type station struct {
	host   host.Host
	known  *Known
	dht    *DHT
	pub    *Publisher
	finder *Finder
	peers  *Peers
	shelf  *shelf
}

func newStation(t *testing.T, n *simhost.Net, i int, bootstrap ...int) *station {
	t.Helper()
	s := &station{known: NewKnown(nil), shelf: &shelf{m: make(map[string][]byte)}}
	s.host = must(n.Host(i))(t)
	var boot []peer.AddrInfo
	for _, b := range bootstrap {
		boot = append(boot, n.AddrInfo(b))
	}
	s.peers = must(NewPeers(PeersConfig{Host: s.host, Bootstrap: boot, Book: s.shelf}))(t)
	s.dht = must(NewDHT(DHTConfig{Host: s.host, Mode: ModeServer, Bootstrap: boot, Known: s.known}))(t)
	s.pub = NewPublisher(PublisherConfig{DHT: s.dht})
	s.finder = NewFinder(FinderConfig{Host: s.host, DHT: s.dht, Peers: s.peers, Catalog: s.pub})
	return s
}

func (s *station) close(t *testing.T) {
	t.Helper()
	s.finder.Close()
	s.pub.Close()
	if err := errors.Join(s.peers.Close(), s.dht.Close(), s.host.Close()); err != nil {
		t.Error(err)
	}
}

func (s *station) publish(t *testing.T, i *Info) {
	t.Helper()
	must(s.pub.Publish(i))(t)
}

// bubble runs f on a simulated network in virtual time; a goroutine that outlives
// it fails the test, by synctest's own rule.
func bubble(t *testing.T, f func(t *testing.T, n *simhost.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simhost.New(simhost.Config{})
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, n)
	})
}

// eventually waits in virtual time.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(250 * time.Millisecond)
	}
	return time.Since(start)
}

func (s *station) published(g wire.GroupID) func() bool {
	return func() bool {
		st, ok := s.pub.Status(g)
		return ok && st.State == Published && st.Holders > 0
	}
}

func search1(t *testing.T, s *station, q Query) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out []Result
	for r := range must(s.finder.Find(ctx, q))(t) {
		out = append(out, r)
	}
	return out
}

// Node 2 knows only node 3; node 1 makes a group; node 2 finds it by name.
func TestFindByNameOverTheDHT(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		three := newStation(t, n, 3)
		one, two := newStation(t, n, 1, 3), newStation(t, n, 2, 3)
		defer three.close(t)
		defer two.close(t)
		defer one.close(t)
		founder := newSomeone(t, 0)
		group := newGroup(t, founder, 1, "Red Panda Keepers")
		other := newGroup(t, founder, 2, "Giant Panda Keepers")
		one.publish(t, group)
		one.publish(t, other)
		eventually(t, time.Minute, "both groups are published", func() bool {
			return one.published(group.Group)() && one.published(other.Group)()
		})

		got := search1(t, two, Query{Name: "red KEEPERS"})
		dht := slices.IndexFunc(got, func(r Result) bool { return r.Source == SourceDHT })
		if dht < 0 || !got[dht].InDHT || got[dht].From != one.host.ID() || !got[dht].Info.equal(group) {
			t.Fatalf("%+v", got)
		}
		for _, r := range got {
			if r.Info.Group != group.Group {
				t.Errorf("also found %q", r.Info.Name)
			}
		}
		groups := map[wire.GroupID]bool{}
		for _, r := range search1(t, two, Query{}) {
			groups[r.Info.Group] = true
		}
		if len(groups) != 2 {
			t.Errorf("%d public groups", len(groups))
		}
		if got := search1(t, two, Query{Name: "polar bears"}); len(got) != 0 {
			t.Errorf("found %+v", got)
		}
		if got := search1(t, two, Query{Limit: 1}); len(got) == 0 {
			t.Error("a limit of one finds nothing")
		}

		i, err := two.dht.Lookup(t.Context(), group.Group)
		if err != nil || !i.equal(group) {
			t.Fatal(err)
		}
		var members []peer.ID
		for m := range two.dht.Members(t.Context(), group.Group) {
			members = append(members, m.ID)
		}
		if !slices.Equal(members, []peer.ID{one.host.ID()}) {
			t.Errorf("members %v", members)
		}
		if _, err := two.dht.Lookup(t.Context(), wire.GroupID{1}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a group that nobody made: %v", err)
		}
	})
}

// A lone node queues, and publishes as the first peer appears.
func TestLoneNodeQueues(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		defer one.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "lonely")
		one.publish(t, group)
		time.Sleep(3 * time.Hour) // virtual
		st, ok := one.pub.Status(group.Group)
		if !ok || st.State != queued || !errors.Is(st.Err, ErrNoPeers) {
			t.Fatalf("%+v", st)
		}
		if i, err := one.dht.Lookup(t.Context(), group.Group); !errors.Is(err, ErrNoPeers) || !i.equal(group) {
			t.Fatalf("%v", err)
		}
		two := newStation(t, n, 2, 1)
		defer two.close(t)
		took := eventually(t, time.Minute, "published to the first peer", one.published(group.Group))
		t.Logf("published %v after the first peer started", took)
		if i, err := two.dht.Lookup(t.Context(), group.Group); err != nil || !i.equal(group) {
			t.Fatal(err)
		}
	})
}

// The publisher keeps values and providers alive beyond 48 hours; without it they
// are gone, and that is what makes the test able to fail.
func TestRepublishedBeforeExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		two := newStation(t, n, 2, 1)
		three := newStation(t, n, 3, 1)
		defer one.close(t)
		defer three.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "lasting")
		two.publish(t, group)
		eventually(t, time.Minute, "published", two.published(group.Group))

		time.Sleep(maxRecordAge + time.Hour) // virtual
		_, holders, err := three.dht.lookup(t.Context(), group.Group)
		if err != nil || holders == 0 {
			t.Fatalf("%d holders after %v, %v", holders, maxRecordAge, err)
		}
		if len(search1(t, three, Query{Name: "lasting"})) == 0 {
			t.Fatal("not found any more")
		}
		two.close(t)
		time.Sleep(maxRecordAge + 8*time.Hour) // virtual
		_, holders, err = three.dht.lookup(t.Context(), group.Group)
		if err != nil || holders != 0 {
			t.Fatalf("still %d holders, %v", holders, err)
		}
	})
}

// An old record never wins: neither put straight at a peer, nor by a reader, and
// concurrent changes of two admins end merged everywhere.
func TestOldRecordNeverWins(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		two := newStation(t, n, 2, 1)
		three := newStation(t, n, 3, 1)
		defer one.close(t)
		defer two.close(t)
		defer three.close(t)
		founder := newSomeone(t, 0)
		old := newGroup(t, founder, 1, "old")
		young := setName(t, old, founder, time.Minute, "young")
		one.publish(t, young)
		eventually(t, time.Minute, "published", one.published(old.Group))

		rec := libp2precord.MakePutRecord(recordKey(old.Group), old.Bytes())
		if err := three.dht.rpc.PutValue(t.Context(), two.host.ID(), rec); err == nil {
			t.Error("a peer took the old record")
		}
		if err := three.dht.rpc.PutValue(t.Context(), one.host.ID(), rec); err == nil {
			t.Error("the publisher took the old record")
		}
		if _, err := three.pub.Publish(old); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, "three has published", three.published(old.Group))
		if got := three.known.Get(old.Group); !got.equal(young) {
			t.Errorf("the publisher of the old record now knows %q", got.Name)
		}

		// Two admins change different fields at the same time, on nodes that cannot see each other.
		a := setName(t, young, founder, 2*time.Minute, "youngest")
		b := must(young.SetProfile(founder.user, at(3*time.Minute), wire.ProfileItem{Field: wire.FieldDescription, Text: "d"}))(t)
		n.Partition([]int{1, 2}, []int{3})
		time.Sleep(5 * time.Minute) // virtual
		one.publish(t, a)
		three.publish(t, b)
		time.Sleep(5 * time.Minute) // virtual
		n.HealAll()
		want := join(t, a, b)
		eventually(t, 7*time.Hour, "both know both changes", func() bool {
			return one.known.Get(old.Group).equal(want) && three.known.Get(old.Group).equal(want)
		})
		if i, err := two.dht.Lookup(t.Context(), old.Group); err != nil || !i.equal(want) {
			t.Fatal(err)
		}
	})
}

// Two halves that were cut apart for an hour find each other again.
func TestRedialAfterLongCut(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		const size = 6
		var all []*station
		for i := range size {
			var boot []int
			if i > 0 {
				boot = []int{0}
			}
			all = append(all, newStation(t, n, i, boot...))
			defer all[i].close(t)
		}
		left, right := []int{0, 1, 2}, []int{3, 4, 5}
		crossing := func() (c int) {
			for _, l := range left {
				for _, r := range right {
					if all[l].host.Network().Connectedness(n.PeerID(r)) == network.Connected {
						c++
					}
				}
			}
			return c
		}
		time.Sleep(2 * time.Minute) // virtual
		if crossing() == 0 {
			t.Fatal("never connected")
		}
		n.Partition(left, right)
		time.Sleep(time.Hour) // virtual
		if c := crossing(); c != 0 {
			t.Fatalf("%d connections across the cut", c)
		}
		n.HealAll()
		took := eventually(t, 2*time.Minute, "the halves are connected", func() bool { return crossing() > 0 })
		t.Logf("first connection %v after the cut healed", took)
		took = eventually(t, 12*time.Minute, "every node sees every other", func() bool { return crossing() == len(left)*len(right) })
		t.Logf("all connections %v after", took)
		if c := all[3].peers.Counts()[sourceBootstrap]; c.Known != 1 || c.Worked != 1 || c.Connected != 1 {
			t.Errorf("bootstrap counts %+v", c)
		}
		if c := all[0].peers.Counts()[sourceIncoming]; c.Known != size-1 {
			t.Errorf("incoming counts %+v", c)
		}
	})
}

// A node that is killed soon after it has met a peer remembers it, whichever of the two
// called, though its book was never closed. A burst of peers causes few rounds of writes.
func TestPeersAreStoredSoon(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		stored := func(s *station, p *station) bool {
			values := must(s.shelf.LoadPeers())(t)
			v, ok := values[string(p.host.ID())]
			return ok && len(must(decodeEntry(string(p.host.ID()), v))(t).info.Addrs) > 0
		}
		one := newStation(t, n, 1)
		defer one.close(t)
		time.Sleep(20 * time.Second) // virtual
		one.shelf.mu.Lock()
		one.shelf.fail = errors.New("the disk is full for a moment")
		one.shelf.mu.Unlock()
		two := newStation(t, n, 2, 1)
		defer two.close(t)
		eventually(t, 3*time.Second, "the caller has stored the called", func() bool { return stored(two, one) })
		three := newStation(t, n, 3, 1)
		defer three.close(t)
		eventually(t, 7*time.Second, "the called has stored the caller", func() bool { return stored(one, three) })
		eventually(t, 2*time.Minute, "what could not be stored is tried again", func() bool { return stored(one, two) })

		one.shelf.mu.Lock()
		one.shelf.saves = nil
		one.shelf.mu.Unlock()
		var last *station
		for i := range 10 {
			last = newStation(t, n, 10+i, 1)
			defer last.close(t)
			time.Sleep(time.Second) // virtual
		}
		eventually(t, 7*time.Second, "the last is stored", func() bool { return stored(one, last) })
		one.shelf.mu.Lock()
		defer one.shelf.mu.Unlock()
		rounds := 0
		for i, at := range one.shelf.saves {
			if i == 0 || at.Sub(one.shelf.saves[i-1]) > 500*time.Millisecond {
				rounds++
			}
		}
		if rounds > 4 {
			t.Errorf("ten peers in ten seconds make %d rounds of writes", rounds)
		}
	})
}

// A node that restarts without bootstrap peers finds the network from its book.
func TestRememberedPeers(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		defer one.close(t)
		two := newStation(t, n, 2, 1)
		time.Sleep(5 * time.Minute) // virtual
		two.close(t)
		shelf := two.shelf
		if len(shelf.m) == 0 {
			t.Fatal("nothing was stored")
		}
		shelf.m["rubbish"] = []byte{1}
		time.Sleep(24 * time.Hour) // virtual

		h := must(n.Host(2))(t)
		peers := must(NewPeers(PeersConfig{Host: h, Book: shelf}))(t)
		eventually(t, time.Minute, "reconnected from memory", func() bool {
			return h.Network().Connectedness(one.host.ID()) == network.Connected
		})
		time.Sleep(time.Second) // virtual: identify
		if s := peers.Source(one.host.ID()); s != sourceRemembered {
			t.Errorf("the peer came from %q", s)
		}
		if _, ok := shelf.m["rubbish"]; ok {
			t.Error("an unreadable value was kept")
		}
		if err := errors.Join(peers.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Hostile providers: silent, endless, lying, and asking too much. Both the answering and
// the asking side check tag, size and age. A tag alone finds its providers in the DHT.
func TestFindByMore(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		three := newStation(t, n, 3)
		one, two := newStation(t, n, 1, 3), newStation(t, n, 2, 3)
		defer three.close(t)
		defer two.close(t)
		defer one.close(t)
		founder := newSomeone(t, 0)
		group := newGroup(t, founder, 1, "Red Panda Keepers")
		group = must(group.SetProfile(founder.user, at(0), wire.ProfileItem{Field: wire.FieldTags, Tags: []string{"Animal Care", "asia"}}))(t)
		group = must(group.SetHead(founder.device, founder.log, at(0), wire.Head{Members: 40}))(t)
		one.publish(t, group)
		eventually(t, time.Minute, "the group is published", one.published(group.Group))
		founded := time.UnixMilli(int64(group.Genesis.Created))
		for _, c := range []struct {
			q    Query
			fits bool
		}{
			{Query{Tag: "animal care"}, true},
			{Query{Tag: "animal"}, false},
			{Query{Name: "pan*", Tag: "ASIA"}, true},
			{Query{Name: "bear", Tag: "asia"}, false},
			{Query{MinMembers: group.Members()}, true},
			{Query{MinMembers: group.Members() + 1}, false},
			{Query{MaxMembers: group.Members()}, true},
			{Query{Name: "panda", MaxMembers: group.Members() - 1}, false},
			{Query{After: founded}, true},
			{Query{Name: "panda", After: founded.Add(time.Second)}, false},
		} {
			got := search1(t, two, c.q)
			if (len(got) > 0) != c.fits {
				t.Errorf("%+v finds %d", c.q, len(got))
			}
			if c.fits && !slices.ContainsFunc(got, func(r Result) bool { return r.Source == SourceDHT && r.From == one.host.ID() }) {
				t.Errorf("%+v is not found through the DHT: %+v", c.q, got)
			}
		}
	})
}

func TestFindAmongLiars(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		two := newStation(t, n, 2, 1)
		liar := newStation(t, n, 3, 1)
		defer one.close(t)
		defer two.close(t)
		defer liar.close(t)
		founder := newSomeone(t, 0)
		group := newGroup(t, founder, 1, "true name")
		one.publish(t, group)
		eventually(t, time.Minute, "published", one.published(group.Group))
		if err := liar.dht.provide(t.Context(), wordCID("true")); err != nil {
			t.Fatal(err)
		}
		forged := bytes.Clone(group.Bytes())
		forged[len(forged)-2] ^= 1
		unrelated := newGroup(t, founder, 3, "something else")
		for name, answer := range map[string]func(network.Stream){
			"silent":  func(s network.Stream) {},
			"resets":  func(s network.Stream) { _ = s.Reset() },
			"rubbish": func(s network.Stream) { _, _ = s.Write(bytes.Repeat([]byte{0xff}, 1000)); _ = s.Close() },
			"forged": func(s network.Stream) {
				for range 100 {
					_ = wire.WriteFrame(s, &wire.FindReply{PublicInfo: forged})
				}
				_ = s.Close()
			},
			"unrelated": func(s network.Stream) {
				_ = wire.WriteFrame(s, &wire.FindReply{PublicInfo: unrelated.Bytes()})
				_ = s.Close()
			},
			"endless": func(s network.Stream) {
				for wire.WriteFrame(s, &wire.FindReply{PublicInfo: unrelated.Bytes()}) == nil {
				}
			},
		} {
			liar.host.SetStreamHandler(wire.ProtocolFind, answer)
			found := false
			for _, r := range search1(t, two, Query{Name: "true"}) {
				if r.From == liar.host.ID() || !r.Info.equal(group) {
					t.Errorf("%s: the liar was believed: %q", name, r.Info.Name)
				}
				found = true
			}
			if !found {
				t.Errorf("%s: the liar hid the truth", name)
			}
		}
		// The server refuses bytes that are no request, and goes on serving.
		for _, raw := range [][]byte{{}, {0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0}, 4096)} {
			s := must(two.host.NewStream(t.Context(), one.host.ID(), wire.ProtocolFind))(t)
			_, _ = s.Write(raw)
			_ = s.CloseWrite()
			if b := make([]byte, 1); read(s, b) != 0 {
				t.Errorf("%x was answered", raw[:min(len(raw), 4)])
			}
			_ = s.Reset()
		}
		if len(search1(t, two, Query{Name: "true"})) == 0 {
			t.Error("the server stopped serving")
		}
	})
}

// read is the number of bytes that came before the end or an error.
func read(s network.Stream, b []byte) int {
	n, _ := s.Read(b)
	return n
}

// A newcomer whose clock is a year behind finds a group and its record all the same. It
// reads records that lie ahead of its clock, and keeps them for nobody else.
func TestNewcomerWhoseClockIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		three := newStation(t, n, 3)
		one := newStation(t, n, 1, 3)
		late := &station{known: NewKnown(nil), host: must(n.Host(2))(t)}
		late.dht = must(NewDHT(DHTConfig{
			Host: late.host, Mode: ModeServer, Bootstrap: []peer.AddrInfo{n.AddrInfo(3)}, Known: late.known,
			Clock: func() time.Time { return time.Now().Add(-365 * 24 * time.Hour) },
		}))(t)
		late.finder = NewFinder(FinderConfig{Host: late.host, DHT: late.dht})
		defer three.close(t)
		defer one.close(t)
		defer func() {
			late.finder.Close()
			if err := errors.Join(late.dht.Close(), late.host.Close()); err != nil {
				t.Error(err)
			}
		}()
		group := newGroup(t, newSomeone(t, 0), 1, "Red Panda Keepers")
		one.publish(t, group)
		eventually(t, time.Minute, "published", one.published(group.Group))

		if got := search1(t, late, Query{Name: "red keepers"}); len(got) == 0 || !got[0].Info.equal(group) {
			t.Errorf("found %+v", got)
		}
		if i, err := late.dht.First(t.Context(), group.Group); err != nil || !i.equal(group) {
			t.Errorf("first: %v", err)
		}
		if i, err := late.dht.Lookup(t.Context(), group.Group); err != nil || !i.equal(group) {
			t.Errorf("lookup: %v", err)
		}
		if late.known.Get(group.Group) != nil {
			t.Error("it is kept")
		}
		if err := one.dht.rpc.PutValue(t.Context(), late.host.ID(), libp2precord.MakePutRecord(recordKey(group.Group), group.Bytes())); err == nil {
			t.Error("it is kept for others")
		}
	})
}

// Connected DHT servers that each name 64 providers that are not there hide nobody whom
// another one names: each is heard.
func TestProvidersAmongLiars(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		defer one.close(t)
		two := newStation(t, n, 2, 1)
		defer two.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "tea house")
		one.publish(t, group)
		eventually(t, time.Minute, "published", one.published(group.Group))
		const liars = 4
		for i := range liars {
			h := must(n.Host(10 + i))(t)
			defer func() { _ = h.Close() }()
			h.SetStreamHandler(wire.ProtocolDHT+"/kad/1.0.0", func(s network.Stream) { nameNobody(s, maxProviders*i) })
			if err := two.host.Connect(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, time.Minute, "they serve the DHT", func() bool { return len(two.dht.connected(nil)) > liars })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		heard := make(map[int]bool) // who named somebody; -1: the honest one
		for p := range two.dht.Members(ctx, group.Group) {
			by := -1
			for i := range liars * maxProviders {
				if p.ID == madeUp(i) {
					by = i / maxProviders
				}
			}
			heard[by] = true
		}
		if len(heard) != liars+1 {
			t.Errorf("of %d servers, one of them honest, these are heard: %v", liars+1, heard)
		}
	})
}

func madeUp(i int) peer.ID {
	h := wire.HashOf(wire.DomainProvider, wire.U64(uint64(i))) //nolint:gosec // small
	id, _ := multihash.Encode(h[:], multihash.SHA2_256)
	return peer.ID(id)
}

// nameNobody answers whoever asks for providers with 64 peers at an address where nobody is.
func nameNobody(s network.Stream, from int) {
	defer s.Close()
	for r := bufio.NewReader(s); ; {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > 1<<20 {
			return
		}
		raw := make([]byte, size)
		var m pb.Message
		if _, err := io.ReadFull(r, raw); err != nil || proto.Unmarshal(raw, &m) != nil {
			return
		}
		reply := pb.NewMessage(m.GetType(), m.GetKey(), 0)
		if m.GetType() == pb.Message_GET_PROVIDERS {
			var all []peer.AddrInfo
			for i := range maxProviders {
				all = append(all, peer.AddrInfo{ID: madeUp(from + i), Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.1/udp/9/quic-v1")}})
			}
			reply.ProviderPeers = pb.RawPeerInfosToPBPeers(all)
		}
		if raw, err = proto.Marshal(reply); err == nil {
			_, err = s.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
		}
		if err != nil {
			return
		}
	}
}
