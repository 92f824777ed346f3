package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/pandanode/pandanode/internal/simhost"
	"google.golang.org/protobuf/proto"
)

// A flood displaces itself: the entries of a hundred others, one each, stay, whether the
// flood comes from one peer or from a crowd in one network.
func TestSharesDisplaceTheHeaviest(t *testing.T) {
	for name, flood := range map[string]func(n int) holder{
		"one peer":    func(int) holder { return holder{"flood", "flooder"} },
		"one network": func(n int) holder { return holder{"flood", peer.ID(fmt.Sprint("flooder ", n))} },
	} {
		const limit, others, own = 1000, 100, 10
		s := newShares[string]()
		put := func(key string, h holder) {
			for s.len() >= limit {
				old, ok := s.heaviest()
				if !ok {
					t.Fatal("nothing can make room")
				}
				s.drop(old)
			}
			s.put(key, 1, h)
		}
		for n := range own {
			put(fmt.Sprint("own ", n), holder{})
		}
		for n := range others {
			put(fmt.Sprint("other ", n), holder{fmt.Sprint("network ", n/2), peer.ID(fmt.Sprint("peer ", n))})
		}
		for n := range 17_000 {
			put(fmt.Sprint("flood ", n), flood(n))
		}
		if s.len() != limit || s.total != limit || len(s.all) != limit-own {
			t.Errorf("%s: %d things that weigh %d", name, s.len(), s.total)
		}
		lost := 0
		for n := range others {
			if s.at[fmt.Sprint("other ", n)] == nil {
				lost++
			}
		}
		for n := range own {
			if s.at[fmt.Sprint("own ", n)] == nil {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%s: %d of %d others were displaced", name, lost, others+own)
		}
		drawn := make(map[string]bool) // at random: nobody can tell which one is next
		for range 20 {
			key, ok := s.heaviest()
			if drawn[key] = true; !ok || !strings.HasPrefix(key, "flood ") {
				t.Errorf("%s: %q is the heaviest", name, key)
			}
		}
		if len(drawn) < 10 {
			t.Errorf("%s: 20 draws gave %d keys", name, len(drawn))
		}
		for key := range s.at {
			s.drop(key)
		}
		if s.total != 0 || len(s.all)+len(s.ofNetwork)+len(s.ofPeer) != 0 {
			t.Errorf("%s: after all is dropped: %+v", name, s)
		}
	}
}

// A record stays when others repeat it and then flood the store: it is on behalf of its
// member too.
func TestValueStoreDisplacesTheHeaviest(t *testing.T) {
	ctx := t.Context()
	by := holder{"home", "member"}
	s := newValueStore(100, 20_000, func(string, []byte) holder { return by })
	put := func(key string, size int) {
		t.Helper()
		b, err := proto.Marshal(libp2precord.MakePutRecord(key, make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, ds.NewKey(key), b); err != nil {
			t.Fatal(err)
		}
	}
	put("record", 100)
	by = holder{"elsewhere", "another flooder"} // that holds nothing yet
	put("record", 100)
	by = holder{"flood", "flooder"}
	for n := range 500 {
		put("record", 100)
		put(fmt.Sprint("flood ", n), 100+n%300)
		if s.shares.len() > 100 || s.shares.total > 20_000 {
			t.Fatalf("%d records of %d bytes", s.shares.len(), s.shares.total)
		}
		if _, err := s.Get(ctx, ds.NewKey("record")); err != nil {
			t.Fatalf("displaced after %d: %v", n, err)
		}
	}
	if err := s.Delete(ctx, ds.NewKey("record")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, ds.NewKey("record")); !errors.Is(err, ds.ErrNotFound) || len(s.ids) != s.shares.len() {
		t.Fatalf("%v, %d identifiers of %d records", err, len(s.ids), s.shares.len())
	}

	// The flood came first: the member's repetition is on the member's behalf.
	put("late", 100)
	by = holder{"home", "member"}
	put("late", 100)
	by = holder{"flood", "flooder"}
	for n := range 500 {
		put(fmt.Sprint("again ", n), 200)
	}
	if _, err := s.Get(ctx, ds.NewKey("late")); err != nil {
		t.Errorf("displaced: %v", err)
	}
}

// Among many providers of one key the networks take turns, and expired ones do not come
// back.
func TestProvidersTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		h := must(n.Host(1))(t)
		defer func() { _ = h.Close() }()
		table, ctx, key := newProviderTable(h, 1000), context.Background(), []byte("key")
		add := func(name string) {
			if err := table.AddProvider(ctx, key, peer.AddrInfo{ID: peer.ID(name)}); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 900 { // none is connected, so they are of one network
			add(fmt.Sprint("crowd ", k))
		}
		table.mu.Lock()
		table.keys["key"]["member"] = &provided{network: "home", at: time.Now()}
		table.mu.Unlock()
		for range 20 {
			list, err := table.GetProviders(ctx, key)
			if err != nil || len(list) != maxOfNetwork+1 {
				t.Fatalf("%d providers, %v", len(list), err)
			}
			found := false
			for _, p := range list {
				found = found || p.ID == "member"
			}
			if !found {
				t.Fatal("the member is not among them")
			}
		}
		time.Sleep(maxRecordAge + time.Hour) // virtual
		if list, err := table.GetProviders(ctx, key); err != nil || len(list) != 0 {
			t.Errorf("%d providers after %v, %v", len(list), maxRecordAge, err)
		}
		add("fresh") // sweeps
		if len(table.keys["key"]) != 1 || table.shares.len() != 1 {
			t.Errorf("%d records of the key, %d in all", len(table.keys["key"]), table.shares.len())
		}
	})
}

// One key takes a quarter of a table at most: records of other keys stay, and so do those of
// one key that other networks brought.
func TestOneKeyTakesAQuarter(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		h := must(n.Host(1))(t)
		defer func() { _ = h.Close() }()
		table, ctx := newProviderTable(h, 1000), context.Background()
		table.ofKey = 250
		add := func(key, name string) {
			if err := table.AddProvider(ctx, []byte(key), peer.AddrInfo{ID: peer.ID(name)}); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 700 {
			add(fmt.Sprint("rare ", k), "somebody")
		}
		k := providedKey{"hot", "member"}
		table.shares.put(k, 1, holder{network: "home", peer: "member"})
		table.keys["hot"] = map[peer.ID]*provided{"member": {network: "home", at: time.Now()}}
		for k := range 2000 {
			add("hot", fmt.Sprint("crowd ", k))
		}
		if got := len(table.keys["hot"]); got != 250 {
			t.Errorf("%d records of the hot key", got)
		}
		if table.keys["hot"]["member"] == nil {
			t.Error("a crowd of one network displaced the member of another")
		}
		if got := len(table.keys); got != 701 {
			t.Errorf("%d keys", got)
		}
	})
}
