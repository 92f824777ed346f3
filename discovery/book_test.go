package discovery

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

func peerInfo(t testing.TB, n int) peer.AddrInfo {
	_, pub, err := crypto.GenerateEd25519Key(bytes.NewReader([]byte(fmt.Sprintf("%032d", n))))
	if err != nil {
		t.Fatal(err)
	}
	return peer.AddrInfo{
		ID:    must(peer.IDFromPublicKey(pub))(t),
		Addrs: []multiaddr.Multiaddr{multiaddr.StringCast(fmt.Sprintf("/ip4/42.0.%d.%d/udp/1/quic-v1", n/250, n%250+1))},
	}
}

func nobody(peer.ID) bool { return false }

func newBook() *book { return &book{peers: make(map[peer.ID]*entry)} }

func TestBookPrefersMembersThenRecent(t *testing.T) {
	b := newBook()
	for n := range 10 {
		b.connected(peerInfo(t, n), SourceConnected, t0.Add(time.Duration(n)*time.Minute))
	}
	b.peers[peerInfo(t, 2).ID].member = true
	b.note(peerInfo(t, 10), sourceBootstrap, t0)
	now := t0.Add(time.Hour)
	got := b.next(dialBudget{most: dialsPerRound, strangers: dialsPerRound}, now, func(p peer.ID) bool { return p == peerInfo(t, 9).ID })
	for k, want := range []int{2, 10, 8, 7} {
		if len(got) != 4 || got[k].ID != peerInfo(t, want).ID {
			t.Fatalf("%d: %v", k, got)
		}
	}
}

// After a cut, the first peer that answers lets all members be dialled again, and no other
// peers. A peer that answers the first dial changes nothing.
func TestBookAfterCut(t *testing.T) {
	b := newBook()
	for n := range 6 {
		b.connected(peerInfo(t, n), SourceConnected, t0)
		b.peers[peerInfo(t, n).ID].member = n < 4
	}
	now := t0.Add(time.Hour)
	for range 3 {
		for n := range 6 {
			b.failed(peerInfo(t, n).ID, now, false)
		}
	}
	now = now.Add(time.Second)
	if due := b.next(dialBudget{most: 6, strangers: 6}, now, nobody); len(due) != 0 {
		t.Fatalf("%d peers are not at rest", len(due))
	}
	back := peerInfo(t, 1).ID
	if !b.connected(peerInfo(t, 1), sourceIncoming, now) {
		t.Error("that a peer is back is no news")
	}
	due := b.next(dialBudget{most: 6, strangers: 6}, now, func(p peer.ID) bool { return p == back })
	if len(due) != 3 {
		t.Errorf("%d peers are dialled, want the three other members", len(due))
	}
	b.failed(due[0].ID, now, false)
	b.peers[due[1].ID].fails = 1
	if b.connected(due[1], SourceConnected, now) {
		t.Error("an answer to the first dial is news")
	}
}

// A thousand dead peers do not keep a living one waiting for long, and a dead
// member is tried at least once in backoffMember and a redial round.
func TestBookTriesEverybodyForEver(t *testing.T) {
	b := newBook()
	const size = 40
	for n := range size {
		b.connected(peerInfo(t, n), SourceConnected, t0.Add(time.Duration(n)*time.Second))
	}
	member := peerInfo(t, 0).ID
	b.peers[member].member = true
	last := make(map[peer.ID]time.Time)
	var worstMember, worst time.Duration
	now := t0.Add(time.Hour)
	for n := range size {
		last[peerInfo(t, n).ID] = now
	}
	for range 24 * 60 * 4 { // a day of rounds
		now = now.Add(redialEvery)
		for _, p := range b.next(dialBudget{most: dialsPerRound, strangers: dialsPerRound}, now, nobody) {
			gap := now.Sub(last[p.ID])
			last[p.ID] = now
			b.failed(p.ID, now, false)
			if p.ID == member {
				worstMember = max(worstMember, gap)
			} else {
				worst = max(worst, gap)
			}
		}
	}
	for _, at := range last {
		worst = max(worst, now.Sub(at))
	}
	if worstMember > backoffMember*11/10+redialEvery || worst > backoffStranger+5*time.Minute {
		t.Fatalf("a member waited %v, another %v", worstMember, worst)
	}
}

func TestBookForgets(t *testing.T) {
	b := newBook()
	b.note(peerInfo(t, 5000), sourceBootstrap, t0)
	b.connected(peerInfo(t, 5001), sourceIncoming, t0)
	b.connected(peerInfo(t, 5002), sourceIncoming, t0)
	for n := range maxPeers + 50 {
		b.connected(peerInfo(t, n), SourceDHT, t0.Add(time.Duration(n)*time.Second))
	}
	b.peers[peerInfo(t, 0).ID].member = true // seen before all others of the thousand
	held := peerInfo(t, 5001).ID
	dropped := b.prune(func(p peer.ID) bool { return p == held })
	if len(b.peers) != maxPeers || len(dropped) != 53 {
		t.Fatalf("%d kept, %d dropped", len(b.peers), len(dropped))
	}
	for _, n := range []int{0, 5000, 5001, maxPeers + 49} {
		if b.peers[peerInfo(t, n).ID] == nil {
			t.Errorf("peer %d was dropped", n)
		}
	}
	// A clock that is years ahead makes nobody forgotten, nor does one that is put right.
	for _, now := range []time.Time{t0.AddDate(50, 0, 0), t0} {
		b.connected(peerInfo(t, 5001), sourceIncoming, now)
		if dropped := b.prune(nobody); len(dropped) != 0 {
			t.Errorf("%d peers are forgotten at %v", len(dropped), now)
		}
	}
}

func TestBookKeepsNewestAddresses(t *testing.T) {
	b := newBook()
	p := peerInfo(t, 1)
	for n := range 2 * maxAddrs {
		b.note(peer.AddrInfo{ID: p.ID, Addrs: peerInfo(t, n).Addrs}, SourceDHT, t0)
	}
	e := b.peers[p.ID]
	if len(e.info.Addrs) != maxAddrs || !e.info.Addrs[0].Equal(peerInfo(t, 2*maxAddrs-1).Addrs[0]) {
		t.Fatalf("%v", e.info.Addrs)
	}
	got, err := decodeEntry(string(p.ID), e.encode())
	if err != nil || len(got.info.Addrs) != maxAddrs || !got.found.Equal(t0) || got.source != sourceRemembered {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range e.encode() {
		if _, err := decodeEntry(string(p.ID), e.encode()[:n]); err == nil {
			t.Fatalf("the first %d bytes are a peer", n)
		}
	}
	if _, err := decodeEntry("no peer", e.encode()); err == nil {
		t.Fatal("no peer ID")
	}
}

// With connections enough, one member is dialled, and in time every member: those seen
// last do not keep the others waiting.
func TestBookWithEnough(t *testing.T) {
	b := newBook()
	now := t0
	const members = 40
	for i := range members {
		b.note(peerInfo(t, i), SourceDHT, now).member = true
	}
	b.note(peerInfo(t, members), SourceDHT, now) // a stranger
	dialled := make(map[peer.ID]bool)
	for range 40 * members {
		due := b.randomMember(now, nobody)
		if len(due) > 1 {
			t.Fatalf("%d at once", len(due))
		}
		for _, p := range due {
			dialled[p.ID] = true
			b.connected(p, SourceConnected, now) // and trimmed again
			b.gone(p.ID, now)
		}
		now = now.Add(redialEvery)
	}
	if len(dialled) != members || dialled[peerInfo(t, members).ID] {
		t.Fatalf("%d of %d members were dialled, a stranger: %v", len(dialled), members, dialled[peerInfo(t, members).ID])
	}
}

// The peers that answered last are dialled first. With nobody connected, or no member, much
// is tried at once, and nobody waits for ever behind others.
func TestBookWhenLonely(t *testing.T) {
	b := newBook()
	const members = 60
	for n := range members {
		b.connected(peerInfo(t, n), SourceConnected, t0.Add(-time.Duration(n)*time.Hour))
		b.peers[peerInfo(t, n).ID].member = true
	}
	for n := range 40 {
		b.connected(peerInfo(t, 100+n), SourceDHT, t0)
	}
	now := t0.Add(time.Hour)
	a := b.budget(now, nobody)
	got := b.next(a, now, nobody)
	if len(got) != lonelyDialsPerRound || a.every != lonelyEvery {
		t.Fatalf("%d at once, again after %v", len(got), a.every)
	}
	for n := range lonelyDialsPerRound / 2 {
		if got[n].ID != peerInfo(t, n).ID {
			t.Errorf("place %d is not of who answered %d hours ago", n, n)
		}
	}
	tried := make(map[peer.ID]int)
	for range 12 { // a minute
		for _, p := range b.next(b.budget(now, nobody), now, nobody) {
			tried[p.ID]++
			b.failed(p.ID, now, true)
		}
		now = now.Add(lonelyEvery)
	}
	for n := range members {
		if tried[peerInfo(t, n).ID] == 0 {
			t.Errorf("member %d was not tried in a minute", n)
		}
	}

	// A stranger is there and no member: strangers get no more than ever.
	now = now.Add(time.Hour)
	stranger := func(p peer.ID) bool { return p == peerInfo(t, 100).ID }
	a = b.budget(now, stranger)
	strangers := 0
	for _, p := range b.next(a, now, stranger) {
		if !b.peers[p.ID].member {
			strangers++
		}
	}
	if a.most != lonelyDialsPerRound || a.strangers != dialsPerRound || strangers > dialsPerRound {
		t.Errorf("%+v, %d strangers", a, strangers)
	}
	// One member is there, and all others did not answer: no hurry.
	isTheMember := func(p peer.ID) bool { return p == peerInfo(t, 0).ID }
	if a := b.budget(now, isTheMember); a.most != dialsPerRound || a.every != redialEvery {
		t.Errorf("%+v with a member there", a)
	}
}
