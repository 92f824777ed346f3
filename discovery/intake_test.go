package discovery

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"google.golang.org/protobuf/proto"
)

// A bad record is verified once, however often it comes, and a peer that goes on with
// others is not heard any more, while others are.
func TestBadRecordsAreMetered(t *testing.T) {
	founder := newSomeone(t, 0)
	good := newGroup(t, founder, 1, "good")
	bad := func(n int) []byte {
		r := recordOf(t, good)
		r.Profile[0].Signature = slices.Clone(r.Profile[0].Signature)
		binary.BigEndian.PutUint64(r.Profile[0].Signature, uint64(n)) //nolint:gosec // a counter
		return r.Encode()
	}
	v := newValidator(nil, func() time.Time { return t0 })
	flooder, honest := holder{"flood", "flooder"}, holder{"home", "honest"}
	comes := func(by holder, value []byte) error {
		v.intake.brought(recordKey(good.Group), value, by)
		return v.Validate(recordKey(good.Group), value)
	}
	for range 100 {
		if err := comes(flooder, bad(0)); !errors.Is(err, identity.ErrForged) {
			t.Fatalf("the same bad record: %v", err)
		}
	}
	judged := 0
	for n := range 1000 {
		switch err := comes(flooder, bad(n+1)); {
		case errors.Is(err, identity.ErrForged):
			judged++
		case !errors.Is(err, errLimited):
			t.Fatal(err)
		}
	}
	if most := peerRecords/badRecord + 1; judged > most || judged < most/2 {
		t.Errorf("%d bad records were judged, at most %d should be", judged, most)
	}
	if err := comes(flooder, good.Bytes()); !errors.Is(err, errLimited) {
		t.Errorf("a good record of the flooder's: %v", err)
	}
	if err := comes(honest, good.Bytes()); err != nil {
		t.Errorf("of somebody else: %v", err)
	}
	// A crowd of one network, and strangers from everywhere, have a bound too. A peer that
	// brought something good is heard all the same, and so is this node itself.
	n := 2000
	flood := func(network func(n int) string) (judged int) {
		for range 2000 {
			n++
			if errors.Is(comes(holder{network(n), peer.ID(binary.BigEndian.AppendUint64(nil, uint64(n)))}, bad(n)), identity.ErrForged) { //nolint:gosec // a counter
				judged++
			}
		}
		return judged
	}
	if got := flood(func(int) string { return "crowd" }); got > networkRecords/badRecord+1 {
		t.Errorf("%d bad records of one network were judged", got)
	}
	if got := flood(func(n int) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }); got > strangerRecords/badRecord+1 { //nolint:gosec // a counter
		t.Errorf("%d bad records of strangers were judged", got)
	}
	news := setName(t, good, founder, time.Second, "news")
	if err := comes(holder{"home", "newcomer"}, news.Bytes()); !errors.Is(err, errLimited) {
		t.Errorf("a newcomer in the flood: %v", err)
	}
	if err := comes(honest, setName(t, good, founder, 2*time.Second, "more news").Bytes()); err != nil {
		t.Errorf("of somebody known in the flood: %v", err)
	}
	if err := v.Validate(recordKey(good.Group), setName(t, good, founder, 3*time.Second, "own").Bytes()); err != nil {
		t.Errorf("what this node found itself: %v", err)
	}
}

// Cheap checks come before that of any signature: all signatures of these records are
// broken, and the first check of one would say so.
func TestCheapChecksComeFirst(t *testing.T) {
	founder := newSomeone(t, 0)
	good := setName(t, newGroup(t, founder, 1, "good"), founder, time.Second, "better")
	broken := func(change func(*wire.PublicInfo)) []byte {
		r := recordOf(t, good)
		for _, list := range [][]wire.Signed{{r.Genesis}, r.Authority, r.Profile, r.Heads} {
			for i := range list {
				clear(list[i].Signature)
			}
		}
		change(r)
		return r.Encode()
	}
	v := newValidator(nil, func() time.Time { return t0 })
	key := recordKey(good.Group)
	record := broken(func(*wire.PublicInfo) {})
	for name, c := range map[string]struct {
		key   string
		value []byte
		want  error
	}{
		"as it is":            {key, record, identity.ErrForged},
		"of another group":    {recordKey(newGroup(t, founder, 2, "other").Group), record, errForeignGroup},
		"under no group":      {keyPrefix + "x", record, errKey},
		"in another place":    {"/panda/user/" + good.Group.String(), record, errKey},
		"too long":            {key, append(slices.Clone(record), make([]byte, wire.MaxPublicInfo)...), wire.ErrTooLarge},
		"with bytes behind":   {key, append(slices.Clone(record), 0), wire.ErrMalformed},
		"of no known version": {key, broken(func(r *wire.PublicInfo) { r.V = 1 }), wire.ErrVersion},
	} {
		v.intake.brought(c.key, c.value, holder{"home", "peer"})
		if err := v.Validate(c.key, c.value); !errors.Is(err, c.want) || errors.Is(err, identity.ErrForged) != errors.Is(c.want, identity.ErrForged) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

// A refusal that time mends is not remembered.
func TestFutureRecordIsJudgedAgain(t *testing.T) {
	founder := newSomeone(t, 0)
	now := t0
	v := newValidator(nil, func() time.Time { return now })
	i := setName(t, newGroup(t, founder, 1, ""), founder, maxAhead+time.Minute, "soon")
	if err := v.Validate(recordKey(i.Group), i.Bytes()); !errors.Is(err, errFuture) {
		t.Fatal(err)
	}
	now = t0.Add(2 * time.Minute)
	if err := v.Validate(recordKey(i.Group), i.Bytes()); err != nil {
		t.Error(err)
	}
}

// A stranger floods a server of the DHT with provider records and with values: those of a group
// stay, and a lookup finds its record.
func TestFloodOfTheDHT(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		server := newStation(t, n, 3)
		founder, other, flooder := newStation(t, n, 1, 3), newStation(t, n, 2, 3), newStation(t, n, 4, 3)
		for _, s := range []*station{server, other, flooder, founder} {
			defer s.close(t)
		}
		group := newGroup(t, newSomeone(t, 0), 1, "Red Panda Keepers")
		founder.publish(t, group)
		eventually(t, time.Minute, "published", founder.published(group.Group))
		table := newProviderTable(server.host, maxProvided)
		members := membersCID(group.Group).Hash()
		if err := table.AddProvider(t.Context(), members, peer.AddrInfo{ID: founder.host.ID()}); err != nil {
			t.Fatal(err)
		}
		for k := range 17_000 {
			key, err := multihash.Sum(binary.BigEndian.AppendUint64(nil, uint64(k)), multihash.SHA2_256, -1) //nolint:gosec // a counter
			if err != nil {
				t.Fatal(err)
			}
			if k < 50 { // by the network, which is slow here; the others straight
				if err := flooder.dht.rpc.PutProviderAddrs(t.Context(), server.host.ID(), key, peer.AddrInfo{ID: flooder.host.ID(), Addrs: flooder.host.Addrs()}); err != nil {
					t.Fatal(err)
				}
			}
			if err := table.AddProvider(t.Context(), key, peer.AddrInfo{ID: flooder.host.ID()}); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := table.GetProviders(t.Context(), members); err != nil || len(list) != 1 || table.shares.len() != maxProvided {
			t.Errorf("%d providers of the group among %d records, %v", len(list), table.shares.len(), err)
		}
		var found []peer.ID
		for m := range other.dht.Members(t.Context(), group.Group) {
			found = append(found, m.ID)
		}
		if !slices.Contains(found, founder.host.ID()) {
			t.Errorf("members %v", found)
		}
		server.dht.values.entries = 100 // straight: it judges few records of a stranger
		for k := range 17_000 {
			key := fmt.Sprint("flood ", k)
			server.dht.val.intake.brought(key, []byte(key), holderOf(server.host, flooder.host.ID()))
			b, err := proto.Marshal(libp2precord.MakePutRecord(key, []byte(key)))
			if err != nil {
				t.Fatal(err)
			}
			if err := server.dht.values.Put(t.Context(), ds32(key), b); err != nil {
				t.Fatal(err)
			}
		}
		if n := server.dht.values.shares.len(); n != 100 {
			t.Errorf("%d values", n)
		}
		if i, _ := other.dht.ask(t.Context(), server.host.ID(), group.Group); i == nil || !i.equal(group) {
			t.Error("the server has lost the record")
		}
		if i, err := other.dht.Lookup(t.Context(), group.Group); err != nil || !i.equal(group) {
			t.Errorf("lookup: %v", err)
		}
	})
}

// A joiner that is connected to a group's founder finds its record there, where the peers
// nearest to its key have lost it.
func TestConnectedPeersAreAsked(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		const size, founder = 8, 1
		nodes := make([]*DHT, size+1) // [size] is the joiner
		for i := range nodes {
			cfg := DHTConfig{Host: must(n.Host(i))(t), Mode: ModeServer, BucketSize: 1} // so that nobody knows all
			if i > 0 {
				cfg.Bootstrap = []peer.AddrInfo{n.AddrInfo(i - 1)}
			}
			if i == size {
				cfg.Mode, cfg.Bootstrap = ModeClient, []peer.AddrInfo{n.AddrInfo(0)}
			}
			nodes[i] = must(NewDHT(cfg))(t)
			defer func() {
				if err := errors.Join(nodes[i].Close(), nodes[i].kad.Host().Close()); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(time.Minute) // virtual: they get to know each other
		joiner := nodes[size]
		if err := joiner.kad.Host().Connect(t.Context(), n.AddrInfo(founder)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // virtual
		var group *Info
		for salt := byte(2); group == nil && salt < 100; salt++ {
			g := newGroup(t, newSomeone(t, 0), salt, "Hidden Pandas")
			rec := libp2precord.MakePutRecord(recordKey(g.Group), g.Bytes())
			if err := nodes[0].rpc.PutValue(t.Context(), n.PeerID(founder), rec); err != nil {
				t.Fatal(err)
			}
			if _, err := joiner.kad.GetValue(t.Context(), recordKey(g.Group)); err != nil { // nobody on the way has it
				group = g
			}
		}
		if group == nil {
			t.Fatal("the founder is on every way")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if i, err := joiner.First(ctx, group.Group); err != nil || !i.equal(group) {
			t.Errorf("first: %v", err)
		}
		joiner.known = NewKnown(nil)
		if i, err := joiner.Lookup(ctx, group.Group); err != nil || !i.equal(group) {
			t.Errorf("lookup: %v", err)
		}
	})
}

// ds32 is the key under which the DHT keeps a value.
func ds32(key string) ds.Key {
	return ds.NewKey(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(key)))
}

// A record that was displaced is published again within firstPause or so, and not after
// hours.
func TestDisplacedRecordIsPublishedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		server := newStation(t, n, 3)
		founder := newStation(t, n, 1, 3)
		defer server.close(t)
		defer founder.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "Red Panda Keepers")
		founder.publish(t, group)
		eventually(t, time.Minute, "published", founder.published(group.Group))
		at := func() time.Time { st, _ := founder.pub.Status(group.Group); return st.At }
		lose := func() {
			key := ds32(recordKey(group.Group))
			if err := errors.Join(server.dht.values.Delete(t.Context(), key), founder.dht.values.Delete(t.Context(), key)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(24 * time.Hour) // virtual: the pauses have grown
		last := at()
		eventually(t, 7*time.Hour, "published again", func() bool { return at().After(last) })
		for range 3 { // each time it is lost, it is back as soon
			lose()
			last = at()
			eventually(t, 7*time.Hour, "the loss is noticed", func() bool { return at().After(last) })
			lose()
			last = at()
			if took := eventually(t, 7*time.Hour, "back", func() bool { return at().After(last) }); took > 2*firstPause {
				t.Errorf("back after %v", took)
			}
		}
		if _, holders, err := server.dht.lookup(t.Context(), group.Group); err != nil || holders == 0 {
			t.Errorf("%d holders, %v", holders, err)
		}
	})
}
