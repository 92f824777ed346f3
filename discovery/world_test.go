package discovery

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// t0 is when the records of these tests are made; it is also when bubbles of testing/synctest start.
var t0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) crdt.HLC { return crdt.HLCFromTime(t0.Add(d)) }

// someone is a user with one device.
type someone struct {
	user, log *identity.Key
	device    *identity.Device
}

func newKey(t testing.TB, kind string, i int) *identity.Key {
	seed := make([]byte, 32)
	copy(seed, kind)
	binary.BigEndian.PutUint32(seed[28:], uint32(i))
	k, err := identity.KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSomeone(t testing.TB, i int) someone {
	s := someone{user: newKey(t, "user", i), log: newKey(t, "log", i)}
	var err error
	s.device, err = identity.Certify(s.user, wire.DeviceCert{LogKey: s.log.Public(), Peer: []byte(fmt.Sprintf("peer-%d", i)), Name: fmt.Sprintf("device %d", i)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newGroup is the record of a fresh group of s, with a name if there is one.
func newGroup(t testing.TB, s someone, salt byte, name string) *Info {
	t.Helper()
	raw, _, err := identity.NewGenesis(bytes.NewReader(bytes.Repeat([]byte{salt}, 32)), t0, s.user, s.device, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(raw, t0)
	if err != nil {
		t.Fatal(err)
	}
	if name != "" {
		return must(i.SetProfile(s.user, at(0), wire.ProfileItem{Field: wire.FieldName, Text: name}))(t)
	}
	return i
}

// must(f())(t) is the value of f, or the end of the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func setName(t testing.TB, i *Info, s someone, d time.Duration, name string) *Info {
	t.Helper()
	return must(i.SetProfile(s.user, at(d), wire.ProfileItem{Field: wire.FieldName, Text: name}))(t)
}

func ranked(r wire.Rank, people ...someone) []wire.AuthorityKey {
	var keys []wire.AuthorityKey
	for _, s := range people {
		keys = append(keys, wire.AuthorityKey{User: s.user.Public(), Rank: r})
	}
	return keys
}

func keys(of ...[]wire.AuthorityKey) []wire.AuthorityKey {
	var all []wire.AuthorityKey
	for _, k := range of {
		all = append(all, k...)
	}
	return all
}

func TestRecordLife(t *testing.T) {
	founder, admin, member := newSomeone(t, 0), newSomeone(t, 1), newSomeone(t, 2)
	i := newGroup(t, founder, 1, "Red Pandas")
	i = must(i.SetProfile(founder.user, at(1), wire.ProfileItem{Field: wire.FieldPolicy, Policy: wire.PolicyRequest}))(t)
	if _, err := i.SetProfile(admin.user, at(2), wire.ProfileItem{Field: wire.FieldName, Text: "x"}); err == nil {
		t.Fatal("a stranger set the name")
	}
	i = must(i.nextAuthority(founder.user, at(3), keys(ranked(wire.RankOwner, founder), ranked(wire.RankAdmin, admin), ranked(wire.RankPublisher, member))))(t)
	i = setName(t, i, admin, time.Second, "Lesser Pandas")
	i = must(i.SetHead(member.device, member.log, at(time.Minute), wire.Head{Epoch: 4, Members: 5}))(t)
	if _, err := i.SetProfile(member.user, at(time.Hour), wire.ProfileItem{Field: wire.FieldName, Text: "x"}); err == nil {
		t.Fatal("a publisher set the name")
	}
	if i.Name != "Lesser Pandas" || i.Policy != wire.PolicyRequest || i.Members() != 6 || i.Version != 1 {
		t.Fatalf("%+v", i)
	}
	got, err := verify(i.Group, i.Bytes(), t0.Add(time.Minute))
	if err != nil || !got.equal(i) {
		t.Fatal(err)
	}
	// The admin goes; the name stays, now under the founder's signature. The member's head goes with it.
	i = must(i.nextAuthority(founder.user, at(2*time.Minute), ranked(wire.RankOwner, founder)))(t)
	if i.Name != "Lesser Pandas" || len(i.Heads) != 0 {
		t.Fatalf("after the admin's removal: %q, %d heads", i.Name, len(i.Heads))
	}
	if _, err := verify(i.Group, i.Bytes(), t0.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// The largest parts that package wire lets through fit their shares, so that a
// merge cannot outgrow the record.
func TestSharesFit(t *testing.T) {
	s := newSomeone(t, 0)
	var err error
	long := wire.DeviceCert{
		LogKey: s.log.Public(), Peer: bytes.Repeat([]byte{1}, 64), Name: strings.Repeat("n", wire.MaxDeviceName),
		Issued: 1<<64 - 1, Expires: 1<<64 - 1,
	}
	if s.device, err = identity.Certify(s.user, long); err != nil {
		t.Fatal(err)
	}
	i := newGroup(t, s, 1, "")
	if n := len(wire.Marshal(i.raw)); n > maxGenesisShare {
		t.Errorf("a genesis can have %d bytes", n)
	}
	tags := make([]string, wire.MaxTags)
	for k := range tags {
		tags[k] = strings.Repeat("t", wire.MaxTag)
	}
	for _, it := range []wire.ProfileItem{
		{Field: wire.FieldName, Text: strings.Repeat("n", wire.MaxGroupName)},
		{Field: wire.FieldDescription, Text: strings.Repeat("d", wire.MaxDescription)},
		{Field: wire.FieldTags, Tags: tags},
		{Field: wire.FieldPolicy, Policy: wire.PolicyInvite},
	} {
		i = must(i.SetProfile(s.user, at(0), it))(t)
	}
	before := len(i.Bytes())
	if n := before - len(newGroup(t, s, 1, "").Bytes()); n > maxProfileShare {
		t.Errorf("a profile can have %d bytes", n)
	}
	i = must(i.SetHead(s.device, s.log, at(time.Minute), wire.Head{Epoch: 1<<64 - 1, Members: 1 << 63}))(t)
	if n := len(i.Bytes()) - before; n > maxHeadShare {
		t.Errorf("a head can have %d bytes", n)
	}
	links := 0
	for {
		var four []wire.AuthorityKey
		for k := range 4 {
			four = append(four, ranked(wire.RankOwner, newSomeone(t, 10*links+k+1))...)
		}
		four[3] = ranked(wire.RankOwner, s)[0]
		next, err := i.nextAuthority(s.user, at(0), four)
		if err != nil {
			break
		}
		i = next
		links++
	}
	if links != wire.MaxAuthorityLinks {
		t.Errorf("a chain of 4 keys a link ends after %d links", links)
	}
	if n := len(i.Bytes()); n > wire.MaxPublicInfo {
		t.Errorf("a record can have %d bytes", n)
	}
	if _, err := verify(i.Group, i.Bytes(), t0); err != nil {
		t.Error(err)
	}
	t.Logf("largest link chain %d of %d bytes, record %d", len(wire.Marshal(i.chain.raw())), maxAuthorityShare, len(i.Bytes()))
}

func certify(s someone) (*identity.Device, error) {
	return identity.Certify(s.user, wire.DeviceCert{LogKey: s.log.Public(), Peer: []byte("peer"), Name: "another"})
}
