package sim

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Devices catch up as in package node, but without streams.
const (
	syncDelay  = 150 * time.Millisecond // from a reason to the exchange
	entriesAt  = 64 << 10               // bytes of entries or seals in one message
	syncRounds = 4                      // of wants, in one exchange
	settling   = 20 * time.Second       // the time in which a device that meets others catches up
	sealTries  = 4                      // how often one seal may come that cannot be opened yet
	joinRetry  = time.Second

	joinRetryMax = time.Minute
	eagerness    = 3600 // tries to join before it asks less often
	insistence   = 900  // how often within an hour a machine may ask for a sync
)

// exchange counts the cost of a sync, and how much of it was news.
type exchange struct {
	At            time.Duration
	A, B          string
	Vectors       int // bytes
	Entries, News int // bytes of entries sent, and of those that were new
	Seals, Opened int // bytes of seals sent, and messages they made readable
	Wanted        int // bytes of wants
	Trees         int
	SealNews      int // bytes of seals that the device had not been given before, or just now
}

// given is a seal that a device got on streams.
type given struct {
	first time.Time
	times int
}

func (x *exchange) total() int { return x.Vectors + x.Entries + x.Seals + x.Wanted + x.Trees }

// askSync exchanges soon with a random member that can be reached.
func (w *core) askSync(s *seat) {
	if s.asked {
		return
	}
	s.asked = true
	wait := syncDelay + w.net.jitter(100*time.Millisecond)
	if w.now.Sub(s.hour) >= time.Hour {
		s.hour, s.asks = w.now, 0
	}
	if s.asks++; s.asks > insistence {
		// The machine would go on asking. Note it, and let the world go on.
		s.insisted++
		wait += time.Minute
	}
	w.after(wait, func() {
		s.asked = false
		if o := w.somebody(s); o != nil {
			w.sync(s, o)
		}
	})
}

// somebody picks a seat of the group that s can have a stream with.
func (w *core) somebody(s *seat) *seat {
	var all []*seat
	for _, o := range s.g.seats {
		if o.m != nil && s.m != nil && !o.n.hostile && w.net.connected(s.n, o.n) && o.position != (wire.EpochID{}) {
			all = append(all, o)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.chance.IntN(len(all))]
}

// syncAll exchanges each seat now and then with somebody.
func (w *core) syncAll(every time.Duration) {
	for _, g := range w.groups {
		for _, s := range g.seats {
			if s.m != nil {
				w.after(w.net.jitter(every), func() {
					if o := w.somebody(s); o != nil {
						w.sync(s, o)
					}
				})
			}
		}
	}
	w.after(every, func() { w.syncAll(every) })
}

// accepts says whether a has a stream with b: b is or was a member, or it proves
// itself by the transport key.
func (w *core) accepts(a, b *seat) bool {
	if a.m.Standing(b.n.dev.ID) != group.Stranger {
		return true
	}
	key, ok := b.m.Transport().Key()
	if !ok {
		return false
	}
	_, ok = a.m.Transport().MAC(key, 1, wire.SyncHello{}, wire.SyncHello{}, nil, nil)
	return ok
}

// sync is what /panda/sync/2 does: vectors, entries, wants, both ways.
func (w *core) sync(a, b *seat) {
	if a.m == nil || b.m == nil || a == b || !w.net.connected(a.n, b.n) ||
		a.position == (wire.EpochID{}) || b.position == (wire.EpochID{}) || a.n.hostile || b.n.hostile {
		return
	}
	if a.synced[b] == [2]int{a.version, b.version} {
		return // nothing has happened on either side since
	}
	if !w.accepts(a, b) || !w.accepts(b, a) {
		return
	}
	a.n.compare(b.n)
	x := &exchange{At: w.now.Sub(epochZero), A: a.n.name, B: b.n.name}
	toB, n := vector(a, b)
	toA, m := vector(b, a)
	x.Vectors = n + m
	_, _ = b.step(toB)
	if _, _ = a.step(toA); a.m == nil || b.m == nil {
		return
	}
	asked := [2]map[[32]byte]bool{{}, {}}
	for range syncRounds {
		before := x.News + x.Opened + x.Trees
		if !w.half(x, a, b, asked[1]) || !w.half(x, b, a, asked[0]) {
			break
		}
		if x.News+x.Opened+x.Trees == before {
			break
		}
	}
	a.synced[b], b.synced[a] = [2]int{a.version, b.version}, [2]int{b.version, a.version}
	a.traffic.sync += x.total()
	b.traffic.sync += x.total()
	a.g.exchanges = append(a.g.exchanges, x)
}

// vector is what a device tells another one of how far it is, and how many bytes travel: not
// its marks, if the other one has told the same.
func vector(from, to *seat) (in group.PeerVector, bytes int) {
	v := from.m.VectorFor(to.n.dev.ID)
	in = group.PeerVector{Device: from.n.dev.ID, Vector: &v}
	travels := v
	if h := from.m.MarksHash(); h == to.m.MarksHash() {
		in.Same, v.Marks = h, to.m.Marks()
		travels.Marks, travels.Same = nil, 1
	}
	return in, len(wire.Marshal(&travels))
}

// half brings one side what the other has. It returns false if a process ended. Each
// message and tree is asked for once in an exchange.
func (w *core) half(x *exchange, from, to *seat, asked map[[32]byte]bool) bool {
	up := func() bool { return from.m != nil && to.m != nil }
	if !up() {
		return false
	}
	if silent(from, to) {
		return true
	}
	for up() { // a Step may end the process
		entries, next, err := from.m.EntriesAfter(to.n.dev.ID, to.m.Marks(), wire.EntryHash{}, entriesAt)
		if err != nil {
			from.broke(err)
			return false
		}
		if len(entries) == 0 {
			break
		}
		size := 0
		for _, e := range entries {
			size += len(e)
		}
		out, _ := to.step(group.Entries{Entries: entries})
		x.Entries += size
		x.News += size * min(out.New, len(entries)) / len(entries)
		if next == (wire.EntryHash{}) || out.New == 0 {
			break
		}
	}
	if !up() {
		return false
	}
	want := to.m.Wants(to.n.time().Now)
	want.Messages = slices.DeleteFunc(want.Messages, func(id wire.MessageID) bool { return asked[id] })
	want.Trees = slices.DeleteFunc(want.Trees, func(id wire.EpochID) bool { return asked[id] })
	want.Messages = want.Messages[:min(len(want.Messages), wire.MaxWants)]
	for _, id := range want.Messages {
		asked[id] = true
	}
	for _, id := range want.Trees {
		asked[id] = true
	}
	if len(want.Messages)+len(want.Trees) > 0 {
		x.Wanted += len(wire.Marshal(&want))
	}
	if again := from.askedBefore(to.n.dev.ID, want.Messages); len(again) > 0 {
		if _, _ = from.step(group.PeerVector{Device: to.n.dev.ID, Gaps: again}); !up() {
			return false
		}
	}
	seals, err := from.m.SealsFor(to.n.dev.ID, want.Messages)
	if err != nil {
		from.broke(err)
		return false
	}
	for _, b := range seals {
		x.Seals += len(b)
		// Several members that are met at once may each bring the same entries. And what
		// came from another branch cannot be opened before a holder has sealed it anew: in a
		// long backlog that takes minutes, and the device asks again meanwhile.
		g := to.given[sha256.Sum256(b)]
		if g == nil {
			g = &given{first: w.now}
			to.given[sha256.Sum256(b)] = g
		}
		if g.times++; g.times <= sealTries || w.now.Sub(g.first) < settling {
			x.SealNews += len(b)
		}
	}
	for len(seals) > 0 {
		n := 0
		for size := 0; n < len(seals) && size < entriesAt; n++ {
			size += len(seals[n])
		}
		out, _ := to.step(group.Seals{Seals: seals[:n]})
		seals = seals[n:]
		if x.Opened += len(out.Messages); !up() {
			return false
		}
	}
	if w.earlier(x, from, to, asked); !up() {
		return false
	}
	for _, id := range want.Trees {
		if tree, err := from.m.TreeOf(id); err == nil && tree != nil {
			_, _ = to.step(group.Tree{Epoch: id, Bytes: tree})
			if x.Trees += len(tree); !up() {
				return false
			}
		}
	}
	last, _ := vector(from, to)
	_, _ = to.step(last)
	return up()
}

// earlier brings one side what it asks for of the time before it came in.
func (w *core) earlier(x *exchange, from, to *seat, asked map[[32]byte]bool) {
	if at, spent := to.spent[from]; spent && w.now.Sub(at) < time.Hour || from.m.Standing(to.n.dev.ID) != group.Current {
		return
	}
	for to.m != nil && from.m != nil {
		ids := to.m.Journal().EarlierWants(func(id wire.MessageID) bool { return asked[id] }, 64)
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			asked[id] = true
		}
		x.Wanted += 34 * len(ids)
		pieces, err := from.m.Journal().EarlierFor(from.n.time().Now, to.n.dev.ID, ids)
		if err != nil {
			from.broke(err)
			return
		}
		if len(pieces) < len(ids) {
			to.spent[from] = w.now
		}
		for _, p := range pieces {
			x.Seals += len(p.Opened)
			x.SealNews += len(p.Opened)
		}
		if len(pieces) > 0 {
			out, _ := to.step(group.Earlier{Device: from.n.dev.ID, Messages: pieces})
			x.Opened += len(out.Messages)
		}
	}
}

// silent says that from sends to nothing yet. It is a stranger with a key that a removed
// device has too, until its entries show that it was let in.
func silent(from, to *seat) bool {
	if from.m.Standing(to.n.dev.ID) != group.Stranger {
		return false
	}
	key, ok := to.m.Transport().Key()
	return !ok || !from.m.Transport().Vouches(key)
}

// askedBefore returns the messages that a device has asked for before.
func (s *seat) askedBefore(d wire.DeviceID, messages []wire.MessageID) (again []wire.MessageID) {
	if s.wanted[d] == nil {
		s.wanted[d] = map[wire.MessageID]bool{}
	}
	for _, id := range messages {
		if s.wanted[d][id] {
			again = append(again, id)
		}
		s.wanted[d][id] = true
	}
	return again
}

// carryJoin is what /panda/join/2 does, with a random member that can be reached,
// again and again until the device is in.
func (w *core) carryJoin(s *seat) {
	pause := joinRetry
	again := func() { w.after(pause, func() { w.carryJoin(s) }) }
	r := s.request
	if s.renewing = s.renewal != nil && !s.renewing; s.renewing {
		r = *s.renewal
	}
	st, ok := s.status()
	if ok && (s.ended || st.State != group.StateJoining && st.State != group.StateSyncing) {
		s.joining = false // else its Welcome may have led nowhere
		return
	}
	if !ok {
		s.joining = false // its machine asks again when it starts
		return
	}
	var all []*seat
	for _, o := range s.g.seats {
		if o != s && !o.n.hostile && o.isIn() && w.net.connected(s.n, o.n) && (s.via == nil || s.via == o.n) {
			all = append(all, o)
		}
	}
	w.chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, o := range all[:min(len(all), 3)] {
		s.traffic.join += len(wire.Marshal(&r))
		if _, err := o.step(group.JoinAsked{Request: r}); err != nil {
			if verdict.Final(err) {
				pause = joinRetryMax // as node does, when everybody has said no for a while
			}
			continue
		}
		pause = joinRetry
		if o.m == nil {
			continue
		}
		js, err := o.m.JoinStatus(r.KeyPackage, o.n.time().Now)
		if err == nil && js.Stage == wire.JoinRenew {
			s.joining = false
			if _, err := s.step(group.JoinAnswered{KeyPackage: r.KeyPackage, Renew: true}); err == nil {
				w.hist.mark(w, s.n, "renew", "its Welcome is gone")
				return // its machine asks anew
			}
			s.joining = true
		}
		if err != nil || js.Stage != wire.JoinWelcomed {
			break // it is being made; ask again
		}
		if s.dropped > 0 {
			s.dropped--
			w.hist.mark(w, s.n, "lost", "a Welcome")
			break
		}
		s.traffic.join += len(js.Welcome) + len(js.Tree)
		if _, err := s.step(group.JoinAnswered{KeyPackage: r.KeyPackage, Epoch: js.Epoch, Welcome: js.Welcome, Tree: js.Tree}); err == nil && s.m != nil {
			s.joining = false
			s.moved(s.m.Status().Position, time.Time{}) // it may have gone on from where the Welcome leads
			w.sync(s, o)
			return
		}
	}
	if s.tries++; s.tries > eagerness {
		pause = joinRetryMax // it waits for people
	}
	again()
}
