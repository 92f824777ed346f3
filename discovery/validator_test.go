package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"pgregory.net/rapid"
)

func recordOf(t testing.TB, i *Info) *wire.PublicInfo {
	t.Helper()
	return must(wire.DecodePublicInfo(i.Bytes()))(t)
}

func TestValidatorRefuses(t *testing.T) {
	founder, admin, stranger := newSomeone(t, 0), newSomeone(t, 1), newSomeone(t, 2)
	base := newGroup(t, founder, 1, "Red Pandas")
	full := must(base.nextAuthority(founder.user, at(0), keys(ranked(wire.RankOwner, founder), ranked(wire.RankAdmin, admin))))(t)
	full = must(full.SetHead(admin.device, admin.log, at(0), wire.Head{Epoch: 1, Members: 2}))(t)
	foreign := newGroup(t, founder, 2, "Red Pandas")

	edit := func(f func(*wire.PublicInfo)) []byte {
		r := recordOf(t, full)
		f(r)
		return r.Encode()
	}
	item := func(s someone, it wire.ProfileItem) wire.Signed {
		it.V, it.Signer = wire.Version, s.user.Public()
		return s.user.Sign(wire.DomainProfile, full.Group, it.Encode())
	}
	link := func(s someone, l wire.AuthorityLink) wire.Signed {
		l.V, l.Signer = wire.Version, s.user.Public()
		return s.user.Sign(wire.DomainAuthority, full.Group, l.Encode())
	}
	head := func(d *identity.Device, log *identity.Key, h wire.Head) wire.Signed {
		h.V, h.Cert = wire.Version, d.Raw
		return log.Sign(wire.DomainHead, full.Group, h.Encode())
	}
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }
	expired := must(identity.Certify(admin.user, wire.DeviceCert{LogKey: admin.log.Public(), Peer: []byte("p"), Name: "old", Expires: uint64(t0.Unix())}))(t)
	newer := setName(t, full, admin, time.Second, "Lesser Pandas")
	tip := full.chain.links[0].id

	for _, c := range []struct {
		name  string
		key   string
		value []byte
		want  error
	}{
		{"empty", "", nil, wire.ErrMalformed},
		{"truncated", "", full.Bytes()[:len(full.Bytes())-1], wire.ErrMalformed},
		{"trailing byte", "", append(bytes.Clone(full.Bytes()), 0), wire.ErrMalformed},
		{"oversized", "", append(bytes.Clone(full.Bytes()), make([]byte, wire.MaxPublicInfo)...), wire.ErrTooLarge},
		{"three megabytes", "", make([]byte, 3<<20), wire.ErrTooLarge},
		{"newer version", "", edit(func(r *wire.PublicInfo) { r.V = wire.Version + 1 }), wire.ErrVersion},
		{"foreign group", "", foreign.Bytes(), errForeignGroup},
		{"foreign genesis", "", edit(func(r *wire.PublicInfo) { r.Genesis = recordOf(t, foreign).Genesis }), errForeignGroup},
		{"foreign profile", "", edit(func(r *wire.PublicInfo) { r.Profile = recordOf(t, foreign).Profile }), identity.ErrForged},
		{"forged genesis", "", edit(func(r *wire.PublicInfo) { r.Genesis.Signature = flip(r.Genesis.Signature) }), identity.ErrForged},
		{"forged link", "", edit(func(r *wire.PublicInfo) { r.Authority[0].Signature = flip(r.Authority[0].Signature) }), identity.ErrForged},
		{"forged profile", "", edit(func(r *wire.PublicInfo) { r.Profile[0].Signature = flip(r.Profile[0].Signature) }), identity.ErrForged},
		{"forged head", "", edit(func(r *wire.PublicInfo) { r.Heads[0].Signature = flip(r.Heads[0].Signature) }), identity.ErrForged},
		{"head by another key", "", edit(func(r *wire.PublicInfo) {
			r.Heads[0] = head(admin.device, stranger.log, wire.Head{HLC: uint64(at(0))})
		}), identity.ErrForged},
		{"link by an admin", "", edit(func(r *wire.PublicInfo) {
			r.Authority = append(r.Authority, link(admin, wire.AuthorityLink{Version: 2, Prev: tip, Keys: ranked(wire.RankOwner, admin)}))
		}), errAuthority},
		{"link beside the chain", "", edit(func(r *wire.PublicInfo) {
			r.Authority = append(r.Authority, link(founder, wire.AuthorityLink{Version: 2, Prev: wire.Hash{1}, Keys: ranked(wire.RankOwner, founder)}))
		}), errAuthority},
		{"link that leaves no owner", "", edit(func(r *wire.PublicInfo) {
			r.Authority = append(r.Authority, link(founder, wire.AuthorityLink{Version: 2, Prev: tip, Keys: ranked(wire.RankAdmin, founder)}))
		}), errAuthority},
		{"profile by a stranger", "", edit(func(r *wire.PublicInfo) {
			r.Profile[0] = item(stranger, wire.ProfileItem{Field: wire.FieldName, HLC: uint64(at(0)), Text: "x"})
		}), errUnauthorised},
		{"head by a stranger", "", edit(func(r *wire.PublicInfo) {
			r.Heads[0] = head(stranger.device, stranger.log, wire.Head{HLC: uint64(at(0))})
		}), errUnauthorised},
		{"name of the future", "", edit(func(r *wire.PublicInfo) {
			r.Profile[0] = item(admin, wire.ProfileItem{Field: wire.FieldName, HLC: uint64(at(maxAhead + time.Second)), Text: "x"})
		}), errFuture},
		{"head of the future", "", edit(func(r *wire.PublicInfo) {
			r.Heads[0] = head(admin.device, admin.log, wire.Head{HLC: uint64(at(maxAhead + time.Second))})
		}), errFuture},
		{"head after the certificate ran out", "", edit(func(r *wire.PublicInfo) {
			r.Heads[0] = head(expired, admin.log, wire.Head{HLC: uint64(at(time.Second))})
		}), identity.ErrExpired},
		{"unrounded members", "", edit(func(r *wire.PublicInfo) {
			r.Heads[0] = head(admin.device, admin.log, wire.Head{HLC: uint64(at(0)), Members: 5})
		}), wire.ErrMalformed},
		{"fields out of order", "", edit(func(r *wire.PublicInfo) { r.Profile = append(r.Profile, r.Profile[0]) }), wire.ErrMalformed},
		{"stale", "", full.Bytes(), ErrStale},
		{"key without a group", "/panda/group/", full.Bytes(), errKey},
		{"key of another kind", "/panda/user/" + full.Group.String(), full.Bytes(), errKey},
		{"key with a wrong checksum", recordKey(full.Group)[:len(recordKey(full.Group))-1] + "1", full.Bytes(), errKey},
		{"key in upper case", keyPrefix + strings.ToUpper(full.Group.String()), full.Bytes(), errKey},
		{"key of another group", recordKey(foreign.Group), full.Bytes(), errForeignGroup},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := NewKnown(nil)
			must(known.Load(newer.Bytes()))(t)
			v := newValidator(known, func() time.Time { return t0 })
			if c.key == "" {
				c.key = recordKey(full.Group)
			}
			err := v.Validate(c.key, c.value)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			for _, other := range []error{wire.ErrMalformed, wire.ErrVersion, wire.ErrTooLarge, errKey, errForeignGroup, errAuthority, errUnauthorised, errFuture, ErrStale, identity.ErrForged, identity.ErrExpired} {
				if !errors.Is(c.want, other) && errors.Is(err, other) && !(errors.Is(c.want, errKey) && errors.Is(other, wire.ErrMalformed)) {
					t.Errorf("%v is also %v", err, other)
				}
			}
			if i, err := v.Select(c.key, [][]byte{c.value, newer.Bytes()}); c.key == recordKey(full.Group) && (err != nil || i != 1) {
				t.Errorf("it is preferred to a good record: %d, %v", i, err)
			}
		})
	}

	v := newValidator(nil, func() time.Time { return t0 })
	for _, good := range []*Info{base, full, newer} {
		if err := v.Validate(recordKey(good.Group), good.Bytes()); err != nil {
			t.Errorf("a good record is refused: %v", err)
		}
	}
	if err := v.Validate(recordKey(full.Group), must(full.SetProfile(admin.user, at(maxAhead), wire.ProfileItem{Field: wire.FieldName, Text: "just in time"}))(t).Bytes()); err != nil {
		t.Errorf("ten minutes ahead: %v", err)
	}
}

// Every prefix and every flipped bit of a record is refused, and none panics.
func TestVerifyDamaged(t *testing.T) {
	founder := newSomeone(t, 0)
	i := must(newGroup(t, founder, 1, "n").SetHead(founder.device, founder.log, at(0), wire.Head{Epoch: 1}))(t)
	b := i.Bytes()
	tried := 0
	for n := range b {
		if _, err := verify(i.Group, b[:n], t0); err == nil {
			t.Fatalf("the first %d bytes are accepted", n)
		}
		for bit := range 8 {
			c := bytes.Clone(b)
			c[n] ^= 1 << bit
			if _, err := verify(i.Group, c, t0); err == nil {
				t.Fatalf("bit %d of byte %d does not matter", bit, n)
			}
			tried++
		}
	}
	if tried < 5000 {
		t.Fatalf("only %d", tried)
	}
}

func FuzzVerify(f *testing.F) {
	founder := newSomeone(f, 0)
	i := must(newGroup(f, founder, 1, "n").SetHead(founder.device, founder.log, at(0), wire.Head{Epoch: 1}))(f)
	i = must(i.nextAuthority(founder.user, at(0), ranked(wire.RankOwner, founder)))(f)
	f.Add(i.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := verifyAny(b, t0)
		if err == nil && !bytes.Equal(i.Bytes(), b) {
			t.Fatal("what was accepted re-encodes to other bytes")
		}
	})
}

// Select and merge pull the same way: the merge of a set is selected from it.
func TestSelectPrefersTheMerge(t *testing.T) {
	who := crowd(t)
	base := newGroup(t, who[0], 1, "")
	rapid.Check(t, func(rt *rapid.T) {
		pool := drawPool(rt, who, base)
		v := newValidator(nil, func() time.Time { return t0 })
		best := must(collect(pool...))(t)
		values := [][]byte{}
		for _, i := range pool {
			values = append(values, i.Bytes())
		}
		n, err := v.Select(recordKey(base.Group), values)
		if err != nil {
			rt.Fatal(err)
		}
		top := slices.MaxFunc(pool, compare)
		if !bytes.Equal(values[n], top.Bytes()) {
			rt.Fatal("not the highest")
		}
		if n, err = v.Select(recordKey(base.Group), append(values, best.Bytes())); err != nil || compare(best, top) > 0 && n != len(values) {
			rt.Fatalf("the collection is not selected: %d of %d, %v", n, len(values), err)
		}
		if n, err = v.Select(recordKey(base.Group), [][]byte{best.Bytes(), best.Bytes()}); err != nil || n != 0 {
			rt.Fatal("of equal values the first is kept")
		}
	})
	if _, err := newValidator(nil, nil).Select(recordKey(base.Group), nil); err == nil {
		t.Fatal("something was selected from nothing")
	}
}

func TestKnownOnlyGrows(t *testing.T) {
	founder := newSomeone(t, 0)
	saved := map[wire.GroupID][]byte{}
	k := NewKnown(func(g wire.GroupID, b []byte) {
		if saved[g] = b; b == nil {
			delete(saved, g)
		}
	})
	old := newGroup(t, founder, 1, "old")
	young := setName(t, old, founder, time.Minute, "young")
	if _, more, err := k.Add(young); err != nil || !more {
		t.Fatal(more, err)
	}
	best, more, err := k.Add(old)
	if err != nil || more || best.Name != "young" || k.Get(old.Group).Name != "young" {
		t.Fatalf("%q, %v, %v", best.Name, more, err)
	}
	if again, err := NewKnown(nil).Load(saved[old.Group]); err != nil || again.Name != "young" {
		t.Fatal(err)
	}
	k.keep(old.Group, true)
	for n := range maxKnown + 10 {
		salt := []byte(fmt.Sprintf("%032d", n))
		raw, _, err := identity.NewGenesis(bytes.NewReader(salt), t0, founder.user, founder.device, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.Add(must(New(raw, t0))(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.all()); n != maxKnown+1 || len(saved) != n {
		t.Fatalf("%d groups are remembered, %d saved", n, len(saved))
	}
	if k.Get(old.Group) == nil {
		t.Fatal("a kept group was dropped")
	}
}

// A founder whose clock was 50 years ahead has a group that others keep and find all the
// same: the date of a genesis outdoes nothing, and nobody could put it right.
func TestFoundedInTheFuture(t *testing.T) {
	s := newSomeone(t, 0)
	raw, _, err := identity.NewGenesis(bytes.NewReader(bytes.Repeat([]byte{1}, 32)), t0.AddDate(50, 0, 0), s.user, s.device, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	i := setName(t, must(New(raw, t0))(t), s, 0, "Red Pandas")
	if err := newValidator(nil, func() time.Time { return t0 }).Validate(recordKey(i.Group), i.Bytes()); err != nil {
		t.Error(err)
	}
}

// A node whose clock is 50 years behind after a restart still has the records that it kept.
func TestLoadWithAClockBehind(t *testing.T) {
	s := newSomeone(t, 0)
	i := setName(t, newGroup(t, s, 1, ""), s, time.Since(t0)+50*365*24*time.Hour, "Red Pandas")
	if got, err := NewKnown(nil).Load(i.Bytes()); err != nil || !got.equal(i) {
		t.Error(err)
	}
}

// A clock was ahead and is put right: the own statements with those dates go, so that new
// ones count, and a value that was valid by that clock no longer is. Others' stay.
func TestTakeBack(t *testing.T) {
	founder, admin := newSomeone(t, 0), newSomeone(t, 1)
	i := newGroup(t, founder, 1, "")
	i = must(i.nextAuthority(founder.user, at(0), keys(ranked(wire.RankOwner, founder), ranked(wire.RankAdmin, admin))))(t)
	i = must(i.SetHead(admin.device, admin.log, at(time.Minute), wire.Head{Members: 2}))(t)
	i = must(i.SetProfile(admin.user, at(time.Minute), wire.ProfileItem{Field: wire.FieldTags, Tags: []string{"asia"}}))(t)
	const years = 50 * 365 * 24 * time.Hour
	wrong := setName(t, must(i.SetHead(founder.device, founder.log, at(years), wire.Head{Members: 3}))(t), founder, years, "Red Pandas")

	now := t0.Add(years)
	saved := make(map[wire.GroupID][]byte)
	k := NewKnown(func(g wire.GroupID, record []byte) { saved[g] = record })
	v := newValidator(nil, func() time.Time { return now })
	if _, _, err := k.Add(wrong); err != nil {
		t.Fatal(err)
	}
	if err := v.Validate(recordKey(i.Group), wrong.Bytes()); err != nil {
		t.Fatal(err)
	}
	now = t0.Add(time.Hour)
	if err := v.Validate(recordKey(i.Group), wrong.Bytes()); !errors.Is(err, errFuture) {
		t.Errorf("once the clock is right: %v", err)
	}
	k.TakeBack(i.Group, admin.user.Public(), now)
	if !k.Get(i.Group).equal(wrong) {
		t.Error("somebody else's statements are taken back")
	}
	k.TakeBack(i.Group, founder.user.Public(), now)
	if got := k.Get(i.Group); !got.equal(i) || !bytes.Equal(saved[i.Group], i.Bytes()) {
		t.Errorf("left: %+v", got)
	}
}
