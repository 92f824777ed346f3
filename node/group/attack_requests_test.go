package group

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

func TestBeaconsRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 630)
	stranger := w.device("mallory")
	w.devices = w.devices[:3]
	beacon := func(by, as *device, hlc crdt.HLC) Envelope {
		x := wire.Beacon{V: wire.Version, Log: wire.LogID{Device: as.dev.ID, Incarnation: 1}, HLC: uint64(hlc)}
		return Envelope{Bytes: c.envelope(wire.Bundle{Beacons: [][]byte{by.log.Sign(wire.DomainBeacon, w.group, x.Encode()).Encode()}})}
	}
	now := crdt.HLCFromTime(w.now)
	for _, r := range []refusal{
		{"in another's name", beacon(c, b, now), verdict.ErrForged, verdict.Reject},
		{"by a stranger", beacon(stranger, stranger, now), verdict.ErrNotMember, verdict.Ignore},
		{"from the future", beacon(c, c, crdt.HLCFromTime(w.now.Add(time.Hour))), nil, verdict.Accept},
		{"good", beacon(c, c, now), nil, verdict.Accept},
		{"older", beacon(c, c, now-1), nil, verdict.Accept},
	} {
		r.check(t, a)
	}
	if p := a.knows(c); p.hlc != now {
		t.Errorf("carl's beacon counts as of %+v, want %v", p, now)
	}
}

func TestJoiningRefused(t *testing.T) {
	t.Parallel()
	w, a, _, c := three(t, 640)
	d, e := w.device("dora"), w.device("emil")
	for _, x := range []*device{d, e} {
		x.online = false
		x.open()
		x.must(Join{})
	}
	good := *d.request()
	other := good
	other.Group[0] ^= 1
	forged := good
	forged.Cert.Signature = flipped(forged.Cert.Signature, 0)
	with := func(kp []byte) JoinAsked {
		r := good
		r.KeyPackage = kp
		return JoinAsked{Request: r}
	}
	for _, r := range []refusal{
		{"request for another group", JoinAsked{other}, verdict.ErrForeign, verdict.Reject},
		{"request with a forged certificate", JoinAsked{forged}, identity.ErrForged, verdict.Ignore},
		{"request with a flipped KeyPackage", with(flipped(good.KeyPackage, -1)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"request with another device's KeyPackage", with(c.keyPackage(w.group, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"request with a KeyPackage for another group", with(d.keyPackage(other.Group, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
	} {
		r.check(t, a)
	}
	a.must(JoinAsked{Request: good})
	w.run(time.Second)
	s, err := a.m.JoinStatus(good.KeyPackage, w.now)
	if err != nil || s.Stage != wire.JoinWelcomed {
		t.Fatalf("%+v, %v", s, err)
	}
	elsewhere := s.Epoch
	elsewhere[0] ^= 1
	for _, r := range []refusal{
		{"Welcome of garbage", JoinAnswered{Epoch: s.Epoch, Welcome: []byte{1, 2, 3}, Tree: s.Tree}, verdict.ErrInvalidWelcome, verdict.Ignore},
		{"Welcome with a flipped bit", JoinAnswered{Epoch: s.Epoch, Welcome: flipped(s.Welcome, -1), Tree: s.Tree}, verdict.ErrInvalidWelcome, verdict.Ignore},
		{"Welcome without its tree", JoinAnswered{Epoch: s.Epoch, Welcome: s.Welcome, Tree: nil}, verdict.ErrInvalidWelcome, verdict.Ignore},
		{"Welcome with a flipped tree", JoinAnswered{Epoch: s.Epoch, Welcome: s.Welcome, Tree: flipped(s.Tree, -1)}, verdict.ErrInvalidWelcome, verdict.Ignore},
		{"Welcome to another epoch than announced", JoinAnswered{Epoch: elsewhere, Welcome: s.Welcome, Tree: s.Tree}, verdict.ErrInvalidWelcome, verdict.Ignore},
		{"a tree that nobody asked for", Tree{s.Epoch, s.Tree}, verdict.ErrState, verdict.Ignore},
	} {
		r.check(t, d)
	}
	refusal{"Welcome for another KeyPackage", JoinAnswered{Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree}, verdict.ErrInvalidWelcome, verdict.Ignore}.check(t, e)
	refusal{"Welcome that nobody asked for", JoinAnswered{Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree}, verdict.ErrState, verdict.Ignore}.check(t, a)
	d.must(JoinAnswered{Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree})
}

func TestRequestsOfPeopleRefused(t *testing.T) {
	t.Parallel()
	_, a, b, c := three(t, 650)
	nobody := wire.UserID(sha256.Sum256([]byte("nobody")))
	for _, x := range []struct {
		who *device
		refusal
	}{
		{a, refusal{"found again", Found{}, verdict.ErrState, verdict.Ignore}},
		{b, refusal{"found another's group", Found{}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"join from inside", Join{}, verdict.ErrState, verdict.Ignore}},
		{a, refusal{"too large a message", Send{wire.Content{Data: make([]byte, wire.MaxBody+1)}}, wire.ErrTooLarge, verdict.Reject}},
		{b, refusal{"remove without a role", RemoveUser{c.dev.User}, verdict.ErrNotPermitted, verdict.Ignore}},
		{b, refusal{"remove the owner", RemoveUser{a.dev.User}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"remove oneself", RemoveUser{a.dev.User}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"remove nobody", RemoveUser{nobody}, verdict.ErrUnknown, verdict.Ignore}},
		{a, refusal{"leave as the last owner", Leave{}, verdict.ErrNotPermitted, verdict.Ignore}},
		{b, refusal{"name an owner without being one", SetRole{b.dev.User, wire.RoleOwner}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"step down as the last owner", SetRole{a.dev.User, wire.RoleMember}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"a role that is none", SetRole{b.dev.User, 99}, verdict.ErrUnknown, verdict.Ignore}},
		{b, refusal{"revoke another's device", RevokeDevice{c.dev.ID}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"revoke one's own device", RevokeDevice{a.dev.ID}, verdict.ErrNotPermitted, verdict.Ignore}},
		{b, refusal{"change the profile without a role", SetProfile{b.profile()}, verdict.ErrNotPermitted, verdict.Ignore}},
		{a, refusal{"change the profile in another's name", SetProfile{b.profile()}, verdict.ErrForged, verdict.Reject}},
	} {
		x.check(t, x.who)
	}
}
