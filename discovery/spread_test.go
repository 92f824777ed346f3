package discovery

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
)

// answersOf draws what each of five peers answers of so many providers that all of them know.
func answersOf(rng *rand.Rand, providers int) [][]int {
	out := make([][]int, crowdAsked)
	for n := range out {
		out[n] = rng.Perm(providers)
		out[n] = out[n][:min(providers, maxProviders)]
	}
	return out
}

// The estimate is right to a factor of two and a half up to a few thousand, and two liars of
// five change little: neither do they silence a key, nor hide a crowd.
func TestCrowd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 5, 40, 64, 200, 1000, 3000} {
		for range 50 {
			got := Crowd(answersOf(rng, n), maxProviders)
			if n <= maxProviders && got != float64(n) || n > maxProviders && (got < float64(n)/2.5 || got > float64(n)*2.75) {
				t.Errorf("%d providers are taken for %.0f", n, got)
			}
		}
	}
	if got := ShareOfCrowd(Crowd(answersOf(rng, 100000), maxProviders)); got != leastShare {
		t.Errorf("one of 100,000 announces itself with the chance %v", got)
	}
	answers := answersOf(rng, 10)
	for k := range maxProviders {
		answers[0] = append(answers[0], 1000+k)
	}
	if got := ShareOfCrowd(Crowd(answers, maxProviders)); got != 1 {
		t.Errorf("a liar keeps ten providers from announcing themselves: %v", got)
	}
	if got := Crowd[int](nil, maxProviders); got != 0 {
		t.Errorf("nobody says that %v are there", got)
	}
}

func TestNetworkSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 3, 19} {
		if got := NetworkSize(make([]uint64, n)); got != float64(n) {
			t.Errorf("%d peers are taken for %v", n, got)
		}
	}
	for _, n := range []int{1000, 100000} {
		var sum float64
		for range 40 {
			all := make([]uint64, n)
			for k := range all {
				all[k] = rng.Uint64()
			}
			slices.Sort(all)
			sum += NetworkSize(all[:fewPeers]) / 40
		}
		if math.Abs(sum/float64(n)-1) > 0.15 {
			t.Errorf("%d servers are taken for %.0f", n, sum)
		}
	}
}

// Small networks have one shard; in larger ones a reader comes upon every announcer's shard,
// also if it thinks the network half or twice as large.
func TestShards(t *testing.T) {
	for _, n := range []float64{0, 1, 20, 2*shardSize - 1} {
		if got := Shards(Depth(n), 0xffff); len(got) != 1 || got[0] != (Shard{}) {
			t.Errorf("%v servers have the shards %v", n, got)
		}
	}
	if d := Depth(math.MaxFloat64); d != maxDepth {
		t.Errorf("the deepest shard has %d bits", d)
	}
	for depth := range maxDepth + 1 {
		read := make(map[Shard]bool)
		for bits := range 1 << 16 {
			for _, s := range Shards(depth, uint16(bits)) { //nolint:gosec // sixteen bits
				read[s] = true
			}
		}
		for _, announcer := range []int{depth - 1, depth, depth + 1} {
			if announcer < 0 || announcer > maxDepth || depth == 0 && announcer > 0 {
				continue
			}
			for bits := 0; bits < 1<<16; bits += 97 {
				if s := shardOf(announcer, uint16(bits)); !read[s] { //nolint:gosec // sixteen bits
					t.Fatalf("a reader at depth %d never reads %v", depth, s)
				}
			}
		}
	}
	if a, b := publicCID(Shard{}), publicCID(Shard{1, 0}); a.Equals(b) || !bytes.Equal(Shard{3, 5}.value(), []byte{3, 0, 5}) {
		t.Error("a shard is not named by its depth and bits")
	}
}

// In a network that thinks itself large, mailboxes and public groups are found in their
// shards, by a node that thinks it as large and by one that knows nothing of its size.
func TestFindInShards(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		var all []*station
		for i := 1; i <= 6; i++ {
			s := newStation(t, n, i, 1)
			defer s.close(t)
			all = append(all, s)
		}
		for _, s := range all[:5] {
			eventually(t, time.Minute, "it has peers", func() bool { return s.dht.Size() >= 4 })
			for range maxSizes { // as walks in a large network would say
				s.dht.sizes.last = append(s.dht.sizes.last, fewOffer*2*shardSize)
			}
		}
		if d := all[5].dht.depth(1); d != 0 {
			t.Errorf("a node among six, which never walked, thinks of shards of %d bits", d)
		}
		provider := all[1]
		if a, b := provider.dht.own(1), provider.dht.own(fewOffer); a.Depth != 4 || b.Depth != 1 {
			t.Fatalf("its shards are %v and %v", a, b)
		}
		must(struct{}{}, provider.dht.ProvideMailbox(t.Context()))(t)
		group := newGroup(t, newSomeone(t, 0), 1, "Red Panda Keepers")
		provider.publish(t, group)
		eventually(t, time.Minute, "the group is published", provider.published(group.Group))
		for what, key := range map[string]func(Shard) cid.Cid{"mailbox": mailboxCID, "public group": publicCID} {
			found, oneOf := false, 1
			if what == "mailbox" {
				oneOf = fewOffer
			}
			for tries := 0; tries < 300 && !found; tries++ { // each draws one shard of two, or of sixteen
				for p := range all[2].dht.anyOf(t.Context(), key, oneOf) {
					found = found || p.ID == provider.host.ID()
				}
			}
			if !found {
				t.Errorf("the %s is not found", what)
			}
			for p := range all[2].dht.providers(t.Context(), key(Shard{})) {
				t.Errorf("the %s of %v is announced under the whole key", what, p.ID)
			}
		}
	})
}

// Where a crowd has one word and a crowd has another, the one group with both is found by
// the pair.
func TestFindByPair(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		three := newStation(t, n, 3)
		one, two := newStation(t, n, 1, 3), newStation(t, n, 2, 3)
		defer three.close(t)
		defer two.close(t)
		defer one.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "Red Panda Keepers")
		one.publish(t, group)
		eventually(t, time.Minute, "it is published", one.published(group.Group))
		for _, q := range []string{"keepers red", "panda red", "keepers panda"} {
			pairs := pairCIDs(words(q))
			if len(pairs) != 1 {
				t.Fatalf("%d pairs", len(pairs))
			}
			var by []peer.ID
			for p := range two.dht.providers(t.Context(), pairs[0]) {
				by = append(by, p.ID)
			}
			if !slices.Equal(by, []peer.ID{one.host.ID()}) {
				t.Errorf("%q: %v", q, by)
			}
		}
	})
}

// A key that many announce is announced seldom; each of few is announced.
func TestAnnounceSeldom(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one, two, three := newStation(t, n, 1), newStation(t, n, 2, 1), newStation(t, n, 3, 1)
		defer one.close(t)
		defer two.close(t)
		defer three.close(t)
		for _, s := range []*station{one, two, three} {
			eventually(t, time.Minute, "it has peers", func() bool { return s.dht.Size() >= 2 })
		}
		word := wordCID("chat")
		key, self := string(word.Hash()), two.host.ID()
		var tables []*providerTable
		for _, s := range []*station{one, three} {
			table, ok := s.dht.kad.ProviderStore().(*providerTable)
			if !ok {
				t.Fatal("another provider store")
			}
			table.keys[key] = make(map[peer.ID]*provided)
			for k := range 3000 {
				table.keys[key][peer.ID(fmt.Sprint("somebody ", k))] = &provided{network: fmt.Sprint(k), at: time.Now()}
			}
			tables = append(tables, table)
		}
		const tries = 128
		announced := 0
		for range tries {
			if err := two.dht.provideSeldom(t.Context(), word); err != nil {
				t.Fatal(err)
			}
			tables[0].mu.Lock()
			if _, ok := tables[0].keys[key][self]; ok {
				announced++
				tables[0].drop(providedKey{key, self})
			}
			tables[0].mu.Unlock()
			tables[1].mu.Lock()
			tables[1].drop(providedKey{key, self})
			tables[1].mu.Unlock()
		}
		if announced == 0 || announced > tries/3 {
			t.Errorf("among a crowd it announced itself %d times of %d", announced, tries)
		}
		if err := two.dht.provideSeldom(t.Context(), wordCID("rare")); err != nil {
			t.Fatal(err)
		}
		found := false
		for p := range three.dht.providers(t.Context(), wordCID("rare")) {
			found = found || p.ID == two.host.ID()
		}
		if !found {
			t.Error("a rare word was not announced")
		}
	})
}

// A query looks for the keys that a group with that name and tag announces, and no others.
func TestKeysOfQuery(t *testing.T) {
	founder := newSomeone(t, 0)
	i := newGroup(t, founder, 1, "Red Panda Keepers of Nepal and Bhutan")
	i = must(i.SetProfile(founder.user, at(1), wire.ProfileItem{Field: wire.FieldTags, Tags: []string{"Small Bears"}}))(t)
	always, seldom := i.announcements(Shard{})
	if len(always) != 2 || len(seldom) != 7+6+1 {
		t.Errorf("it announces %d and %d keys", len(always), len(seldom))
	}
	for q, want := range map[Query]int{
		{Name: "panda"}:                           1,
		{Name: "keepers panda", Tag: "bears"}:     2 + 1 + 1,
		{Name: "nepal red"}:                       2 + 1,
		{Name: "of keepers RED panda n*"}:         4 + 6,
		{Name: "p*", Tag: "small bears"}:          1,
		{Name: "panda panda", MinMembers: 1}:      1,
		{Name: "red panda keepers of nepal and"}:  6 + 6,
		{Name: "Rêd Pandä", Tag: " small  BEARS"}: 2 + 1 + 1,
	} {
		keys, foreign := q.prepare().keys(), 0
		for _, k := range keys {
			if !slices.Contains(seldom, k) {
				foreign++
			}
		}
		// The fifth word is not paired; neither are two words that the name does not have.
		if len(keys) != want || foreign > 0 && q.Tag != "bears" && q.Name != "nepal red" && q.Name != "of keepers RED panda n*" {
			t.Errorf("%+v looks for %d keys, %d of them not announced", q, len(keys), foreign)
		}
	}
}

// A key that several groups of a node have is announced once for all of them.
func TestAnnounceOnceForAllGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := wire.GroupID{1}, wire.GroupID{2}
		p := &Publisher{interval: maxRecordAge / 8, announced: make(map[cid.Cid]time.Time), groups: map[wire.GroupID]*publication{a: {}, b: {pause: time.Hour}}}
		word := wordCID("panda")
		if !p.announces(a, word) || !p.announces(b, word) {
			t.Error("the first announcement is held back")
		}
		if err := p.tell(word, errFull); err == nil || !p.announces(b, word) {
			t.Error("an announcement that failed holds the next back")
		}
		_ = p.tell(word, nil)
		if p.announces(b, word) || !p.announces(b, wordCID("bear")) || !p.announces(a, word) {
			t.Error("another group of this node announces the key again at once, or not if it is new")
		}
		time.Sleep(29 * time.Minute)
		if p.announces(b, word) {
			t.Error("announced again before half of the pause")
		}
		time.Sleep(time.Minute)
		if !p.announces(b, word) {
			t.Error("not announced again")
		}
	})
}
