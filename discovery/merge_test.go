package discovery

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
	"pgregory.net/rapid"
)

const people = 5

// crowd is the people of the property tests: the first is the founder.
func crowd(t testing.TB) []someone {
	out := make([]someone, people)
	for i := range out {
		out[i] = newSomeone(t, i)
	}
	return out
}

// drawPool makes records of one group as a network would: every step takes some
// record that exists and lets somebody change it, or merges two. Old records are
// taken up again, so authorities fork, also with one and the same signer, and
// people are removed and come back. Times are few, so that ties happen.
func drawPool(rt *rapid.T, who []someone, base *Info) []*Info {
	pool := []*Info{base}
	for range rapid.IntRange(5, 24).Draw(rt, "steps") {
		i := rapid.SampledFrom(pool).Draw(rt, "record")
		k := rapid.SampledFrom(i.Authority).Draw(rt, "by")
		s := who[slices.IndexFunc(who, func(s someone) bool { return bytes.Equal(s.user.Public(), k.User) })]
		when := at(time.Duration(rapid.IntRange(0, 4).Draw(rt, "at")) * time.Second)
		var next *Info
		var err error
		switch rapid.IntRange(0, 5).Draw(rt, "step") {
		case 0, 1:
			var ks []wire.AuthorityKey
			for _, k := range who {
				if r := rapid.SampledFrom([]wire.Rank{0, wire.RankOwner, wire.RankOwner, wire.RankAdmin, wire.RankPublisher}).Draw(rt, "rank"); r > 0 {
					ks = append(ks, wire.AuthorityKey{User: k.user.Public(), Rank: r})
				}
			}
			next, err = i.nextAuthority(s.user, when, ks)
		case 2, 3:
			it := wire.ProfileItem{Field: wire.ProfileField(rapid.IntRange(1, 2).Draw(rt, "field")), Text: rapid.SampledFrom([]string{"red", "lesser", "giant"}).Draw(rt, "text")}
			next, err = i.SetProfile(s.user, when, it)
		case 4:
			next, err = i.SetHead(s.device, s.log, when, wire.Head{Epoch: uint64(rapid.IntRange(0, 3).Draw(rt, "epoch"))})
		case 5:
			next, err = merge(i, rapid.SampledFrom(pool).Draw(rt, "other"))
		}
		if err == nil { // the drawn person may not do this: nothing happens
			pool = append(pool, next)
		}
	}
	return pool
}

func join(t interface{ Fatal(...any) }, a, b *Info) *Info {
	m, err := merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMergeLaws(t *testing.T) {
	who := crowd(t)
	base := newGroup(t, who[0], 1, "")
	forks, carried := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		pool := drawPool(rt, who, base)
		pick := rapid.SampledFrom(pool)
		a, b, c := pick.Draw(rt, "a"), pick.Draw(rt, "b"), pick.Draw(rt, "c")
		same := func(law string, x, y *Info) {
			rt.Helper()
			if !x.equal(y) {
				rt.Fatalf("not %s:\n%x\n%x", law, x.Bytes(), y.Bytes())
			}
		}
		ab := join(rt, a, b)
		same("commutative", ab, join(rt, b, a))
		same("associative", join(rt, ab, c), join(rt, a, join(rt, b, c)))
		same("idempotent", join(rt, a, a), a)
		same("absorbing", join(rt, ab, b), ab)

		if got := oracle(rt, a.Bytes(), b.Bytes()); !bytes.Equal(got, ab.Bytes()) {
			rt.Fatalf("not what the oracle says:\n%x\n%x", ab.Bytes(), got)
		}
		again, err := verify(a.Group, ab.Bytes(), t0)
		if err != nil {
			rt.Fatalf("a merge does not verify: %v", err)
		}
		same("what it decodes to", again, ab)

		// compare is a total order, and a merge is at or above its inputs.
		if compare(ab, a) < 0 || compare(ab, b) < 0 {
			rt.Fatal("a merge is below what went into it")
		}
		if compare(a, b) != -compare(b, a) || (compare(a, b) == 0) != a.equal(b) {
			rt.Fatal("not antisymmetric")
		}
		if compare(a, b) >= 0 && compare(b, c) >= 0 && compare(a, c) < 0 {
			rt.Fatal("not transitive")
		}

		// collect depends on the set alone, is idempotent, and is at or above the merge.
		col, err := collect(a, b, c)
		if err != nil {
			rt.Fatal(err)
		}
		for _, o := range [][]*Info{{b, a, c}, {c, b, a}, {a, c, b, a}, {col, a, b, c}} {
			x, err := collect(o...)
			if err != nil {
				rt.Fatal(err)
			}
			same("independent of order", x, col)
		}
		abc := join(rt, ab, c)
		same("above the merge", join(rt, abc, col), col)
		if compare(col, abc) < 0 {
			rt.Fatal("Compare puts a collection below the merge")
		}
		if _, err := verify(a.Group, col.Bytes(), t0); err != nil {
			rt.Fatalf("a collection does not verify: %v", err)
		}
		if !col.equal(abc) {
			carried++
		}
		for _, p := range [][2]*Info{{a, b}, {b, c}, {a, c}} {
			if n := min(len(p[0].chain.links), len(p[1].chain.links)); n > 0 && p[0].chain.links[n-1].id != p[1].chain.links[n-1].id {
				forks++
			}
		}
	})
	if forks == 0 || carried == 0 {
		t.Fatalf("the generator made %d forks of authority and %d carried fields", forks, carried)
	}
	t.Logf("%d forks, %d carried fields", forks, carried)
}

// oracle merges two encoded records the slow way, from the rules of the
// documentation and from nothing that package discovery decides with.
func oracle(t interface{ Fatal(...any) }, x, y []byte) []byte {
	type rec struct {
		p     *wire.PublicInfo
		links []*wire.AuthorityLink
	}
	read := func(b []byte) rec {
		p, err := wire.DecodePublicInfo(b)
		if err != nil {
			t.Fatal(err)
		}
		r := rec{p: p}
		for _, s := range p.Authority {
			l, err := wire.DecodeAuthorityLink(s.Payload)
			if err != nil {
				t.Fatal(err)
			}
			r.links = append(r.links, l)
		}
		return r
	}
	a, b := read(x), read(y)
	founder, err := wire.DecodeGenesis(a.p.Genesis.Payload)
	if err != nil {
		t.Fatal(err)
	}
	// seniority: the version of the link from which on, up to link n, the user was always an owner.
	seniority := func(r rec, n int, user []byte) int {
		since := n
		for since > 0 && slices.ContainsFunc(r.links[since-1].Keys, func(k wire.AuthorityKey) bool {
			return k.Rank == wire.RankOwner && bytes.Equal(k.User, user)
		}) {
			since--
		}
		if since == 0 && bytes.Equal(user, founder.Founder) {
			return 0
		}
		return since + 1
	}
	lower := func(p, q []byte) bool {
		h, k := sha256.Sum256(p), sha256.Sum256(q)
		return bytes.Compare(h[:], k[:]) < 0
	}
	win := 0 // 1: a has the higher chain, -1: b
	for i := 0; win == 0 && i < min(len(a.links), len(b.links)); i++ {
		p, q := a.p.Authority[i].Payload, b.p.Authority[i].Payload
		if bytes.Equal(p, q) {
			continue
		}
		s, u := seniority(a, i, a.links[i].Signer), seniority(b, i, b.links[i].Signer)
		hp, hq := wire.HashOf(wire.DomainAuthority, p), wire.HashOf(wire.DomainAuthority, q)
		if s < u || s == u && bytes.Compare(hp[:], hq[:]) < 0 {
			win = 1
		} else {
			win = -1
		}
	}
	if win == 0 && len(a.links) != len(b.links) {
		win = 1
		if len(a.links) < len(b.links) {
			win = -1
		}
	}
	switch win {
	case 1:
		return x
	case -1:
		return y
	}
	out := *a.p
	fields := map[wire.ProfileField]wire.Signed{}
	when := func(s wire.Signed) (uint64, wire.ProfileField) {
		it, err := wire.DecodeProfileItem(s.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return it.HLC, it.Field
	}
	for _, s := range slices.Concat(a.p.Profile, b.p.Profile) {
		w, f := when(s)
		old, ok := fields[f]
		if ok {
			if o, _ := when(old); o > w || o == w && lower(wire.Marshal(old), wire.Marshal(s)) {
				continue
			}
		}
		fields[f] = s
	}
	out.Profile = nil
	for f := wire.FieldName; f <= wire.FieldPolicy; f++ {
		if s, ok := fields[f]; ok {
			out.Profile = append(out.Profile, s)
		}
	}
	heads := map[string]wire.Signed{}
	head := func(s wire.Signed) *wire.Head {
		h, err := wire.DecodeHead(s.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	newer := func(s, u wire.Signed) bool {
		x, y := head(s).HLC, head(u).HLC
		return x > y || x == y && lower(wire.Marshal(s), wire.Marshal(u))
	}
	device := func(s wire.Signed) string {
		c, err := wire.DecodeDeviceCert(head(s).Cert.Payload)
		if err != nil {
			t.Fatal(err)
		}
		id := wire.DeviceIDOf(c.User, c.LogKey)
		return string(id[:])
	}
	for _, s := range slices.Concat(a.p.Heads, b.p.Heads) {
		if old, ok := heads[device(s)]; !ok || newer(s, old) {
			heads[device(s)] = s
		}
	}
	out.Heads = nil
	for _, s := range heads {
		out.Heads = append(out.Heads, s)
	}
	sort.Slice(out.Heads, func(i, j int) bool { return newer(out.Heads[i], out.Heads[j]) })
	out.Heads = out.Heads[:min(len(out.Heads), wire.MaxHeads)]
	sort.Slice(out.Heads, func(i, j int) bool { return device(out.Heads[i]) < device(out.Heads[j]) })
	return out.Encode()
}

// More devices than a record holds: cutting to the newest is still a join.
func TestHeadsBeyondTheLimit(t *testing.T) {
	who := crowd(t)
	base := newGroup(t, who[0], 1, "")
	var all []Head
	for d := range 14 {
		s := newSomeone(t, 100+d)
		s.user = who[0].user
		s.device = must(certify(s))(t)
		for v := range 3 {
			i := must(base.SetHead(s.device, s.log, at(time.Duration((7*d+5*v)%11)*time.Second), wire.Head{Epoch: uint64(v)}))(t)
			all = append(all, i.heads...)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		some := func(label string) []Head {
			return mergeHeads(rapid.SliceOfN(rapid.SampledFrom(all), 0, 20).Draw(rt, label), nil)
		}
		a, b, c := some("a"), some("b"), some("c")
		eq := func(x, y []Head) bool {
			return slices.EqualFunc(x, y, func(p, q Head) bool { return p.tie == q.tie })
		}
		ab := mergeHeads(a, b)
		if !eq(ab, mergeHeads(b, a)) || !eq(mergeHeads(ab, c), mergeHeads(a, mergeHeads(b, c))) || !eq(mergeHeads(a, a), a) {
			rt.Fatal("heads do not join")
		}
		above := func(x, y []Head) bool {
			p, q := base.parts(), base.parts()
			p.heads, q.heads = x, y
			return compare(p.info(), q.info()) >= 0
		}
		if !above(ab, a) || !above(ab, b) {
			rt.Fatal("joined heads are below a side")
		}
	})
}

// The corner in which carrying fields over is no fold: X is in A, not in B, and
// again in C, which is above both. Merge gives the same in every order.
func TestRemovedAndBackAgain(t *testing.T) {
	who := crowd(t)
	founder, x := who[0], who[1]
	base := newGroup(t, founder, 1, "base")
	own := ranked(wire.RankOwner, founder)
	a := must(base.nextAuthority(founder.user, at(0), keys(own, ranked(wire.RankAdmin, x))))(t)
	withName := setName(t, a, x, time.Minute, "x was here")
	b := must(a.nextAuthority(founder.user, at(0), own))(t)
	c := must(b.nextAuthority(founder.user, at(0), keys(own, ranked(wire.RankAdmin, x))))(t)
	left := join(t, join(t, withName, b), c)
	right := join(t, withName, join(t, b, c))
	if !left.equal(right) || left.Name != "base" {
		t.Fatalf("%q and %q", left.Name, right.Name)
	}
	all := must(collect(withName, b, c))(t)
	if all.Name != "x was here" || compare(all, left) <= 0 {
		t.Fatalf("a reader of all three has %q", all.Name)
	}
}

// An owner who was removed cannot grind a link that beats the one that removed him.
func TestSeniorOwnerWinsFork(t *testing.T) {
	who := crowd(t)
	founder, late := who[0], who[1]
	base := must(newGroup(t, founder, 1, "").nextAuthority(founder.user, at(0), ranked(wire.RankOwner, founder, late)))(t)
	out := must(base.nextAuthority(founder.user, at(0), ranked(wire.RankOwner, founder)))(t)
	for i := range 64 {
		coup := must(base.nextAuthority(late.user, at(0), keys(ranked(wire.RankOwner, late), ranked(wire.RankPublisher, newSomeone(t, 1000+i)))))(t)
		if compare(coup, out) >= 0 || !join(t, coup, out).equal(out) {
			t.Fatal("the removed owner's fork won")
		}
	}
}

func TestMergeOfTwoGroups(t *testing.T) {
	who := crowd(t)
	if _, err := merge(newGroup(t, who[0], 1, ""), newGroup(t, who[0], 2, "")); err == nil {
		t.Fatal("records of two groups were merged")
	}
}
