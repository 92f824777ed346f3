package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A request that a member takes is seen, approved and answered elsewhere: by an admin
// who got it from that member, while nobody else can be reached.
func TestRequestIsSeenByEveryAdmin(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 620, wire.PolicyRequest)
	d := w.device("dora")
	a.online, b.online = false, false
	w.join(d)
	if s, err := c.m.JoinStatus(d.request().KeyPackage, w.now); err != nil || s.Stage != wire.JoinWaiting || s.Reason != "an admin has to approve the request" {
		t.Errorf("carl tells dora %+v, %v", s, err)
	}
	entries := c.m.Status().Entries
	if _, err := c.step(JoinAsked{Request: *d.request()}); err != nil {
		t.Errorf("asking again: %v", err)
	}
	w.run(time.Minute) // dora asks again every second
	if got := c.m.Status().Entries; got != entries {
		t.Errorf("carl's log grew by %d entries while dora asked again", got-entries)
	}
	for _, r := range []refusal{
		{"approving, by a member", Approve{User: d.dev.User}, verdict.ErrNotPermitted, verdict.Ignore},
		{"denying, by a member", Deny{User: d.dev.User}, verdict.ErrNotPermitted, verdict.Ignore},
	} {
		r.check(t, c)
	}

	b.online = true
	d.online = false
	w.sync(b, c)
	w.run(10 * time.Second)
	want := Request{User: d.dev.User, Device: d.dev.ID, Name: "dora", By: c.dev.User}
	got := b.m.Requests(w.now)
	if len(got) != 1 || got[0].Asked.IsZero() {
		t.Fatalf("ben sees %+v", got)
	}
	want.Asked = got[0].Asked
	if got[0] != want {
		t.Errorf("ben sees %+v, want %+v", got[0], want)
	}
	events, err := b.m.Journal().Events(0, 0)
	if err != nil || !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventAsked && e.User == d.dev.User && e.Detail == "dora" }) {
		t.Errorf("ben was not told: %v", err)
	}
	for _, r := range []refusal{
		{"approving nobody", Approve{User: wire.UserID{1}}, verdict.ErrUnknown, verdict.Ignore},
		{"approving a member", Approve{User: c.dev.User}, verdict.ErrState, verdict.Ignore},
		{"denying nobody", Deny{User: wire.UserID{1}}, verdict.ErrUnknown, verdict.Ignore},
		{"giving more than one has", Approve{User: d.dev.User, Role: wire.RoleOwner}, verdict.ErrNotPermitted, verdict.Ignore},
		{"giving what there is not", Approve{User: d.dev.User, Role: 9}, verdict.ErrUnknown, verdict.Ignore},
	} {
		r.check(t, b)
	}
	b.must(Approve{User: d.dev.User, Role: wire.RoleReadOnly})
	d.online, a.online = true, true
	for _, x := range w.devices {
		w.syncSomebody(x)
	}
	w.run(2 * time.Minute)
	w.agree(a, b, c, d)
	if n := len(b.m.Requests(w.now)); n != 0 {
		t.Errorf("%d requests are left", n)
	}
	refusal{"dora may only read", Send{}, verdict.ErrNotPermitted, verdict.Ignore}.check(t, d)
}

func TestDeniedRequest(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 621, wire.PolicyRequest)
	d := w.device("dora")
	w.join(d)
	w.run(5 * time.Second)
	b.must(Deny{User: d.dev.User})
	w.run(5 * time.Second)
	refusal{"denying twice", Deny{User: d.dev.User}, verdict.ErrState, verdict.Ignore}.check(t, a)
	refusal{"asking again", JoinAsked{Request: *d.request()}, verdict.ErrDenied, verdict.Ignore}.check(t, c)
	for _, x := range []*device{a, b, c} {
		if s, err := x.m.JoinStatus(d.request().KeyPackage, w.now); err != nil || s.Stage != wire.JoinDenied || !s.Final {
			t.Errorf("%s tells dora %+v, %v", x.name, s, err)
		}
	}
	if got := a.m.Requests(w.now); len(got) != 1 || got[0].Denied != b.dev.User {
		t.Errorf("anna sees %+v", got)
	}
	// A week later dora is heard again; and an admin may change its mind at any time.
	d.down = true
	w.run(8 * 24 * time.Hour)
	d.open()
	w.run(time.Minute)
	if got := a.m.Requests(w.now); len(got) != 1 || got[0].Denied != (wire.UserID{}) {
		t.Fatalf("anna sees %+v", got)
	}
	b.must(Deny{User: d.dev.User})
	w.run(time.Minute)
	a.must(Approve{User: d.dev.User})
	w.run(time.Minute)
	w.agree(a, b, c, d)
}

// A member that a flood of strangers asks keeps a bounded number of requests.
func TestFloodOfRequests(t *testing.T) {
	t.Parallel()
	w, _, b, c := closed(t, 622, wire.PolicyRequest)
	w.hold = func(from, to *device, _ []byte) bool { return true }
	full := 0
	entries := c.m.Status().Entries
	for range roster.MaxRequests + 20 {
		d := w.device("stranger")
		w.devices = w.devices[:len(w.devices)-1]
		r := d.asks(nil)
		d.down = true
		if _, err := c.step(JoinAsked{Request: r}); isErr(err, verdict.ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got := c.m.Status().Entries - entries; full != 20 || got != roster.MaxRequests {
		t.Errorf("%d were refused, and the log grew by %d entries", full, got)
	}
	w.sync(b, c)
	if got := len(b.m.Requests(w.now)); got != roster.MaxRequests {
		t.Errorf("ben sees %d requests, want %d", got, roster.MaxRequests)
	}
	// Those lapse, and others are heard.
	w.run(roster.RequestFor + time.Hour)
	late := w.device("late")
	w.devices = w.devices[:len(w.devices)-1]
	r := late.asks(nil)
	late.down = true
	if _, err := c.step(JoinAsked{Request: r}); err != nil {
		t.Errorf("two weeks later: %v", err)
	}
	lapsed := 0
	for _, x := range c.m.Requests(w.now) {
		if x.Lapsed {
			lapsed++
		}
	}
	if lapsed != roster.MaxRequests {
		t.Errorf("%d requests have lapsed, want %d", lapsed, roster.MaxRequests)
	}
}

// Requests and denials survive a restart: they are in the log.
func TestRequestsSurviveARestart(t *testing.T) {
	t.Parallel()
	w, a, b, _ := closed(t, 623, wire.PolicyRequest)
	d, e := w.device("dora"), w.device("emil")
	w.join(d)
	w.join(e)
	w.run(5 * time.Second)
	a.must(Deny{User: e.dev.User})
	w.run(5 * time.Second)
	before := b.m.Requests(w.now)
	b.open()
	after := b.m.Requests(w.now)
	if len(before) != 2 || !slices.Equal(before, after) {
		t.Errorf("before the restart %+v, after it %+v", before, after)
	}
}

// A request whose KeyPackage is out of date is not approved; its device asks with a new
// one by itself, and is.
func TestRequestWithAnOldKeyPackage(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 624, wire.PolicyRequest)
	d := w.device("dora")
	w.join(d)
	w.run(5 * time.Second)
	d.down = true
	old := string(d.request().KeyPackage)
	w.run(engine.KeyPackageLifetime + time.Hour)
	refusal{"out of date", Approve{User: d.dev.User}, verdict.ErrInvalidKeyPackage, verdict.Ignore}.check(t, a)
	d.open()
	if string(d.request().KeyPackage) == old || d.m.JoinLapsed(w.now) {
		t.Fatal("the KeyPackage is the old one")
	}
	w.run(time.Minute)
	a.must(Approve{User: d.dev.User})
	w.run(2 * time.Minute)
	w.agree(a, b, c, d)
}

// A stranger tells a joiner whose request waits that it is in. Its second request is not
// written down beside the first, however long it waits, and the approval lets it in.
func TestRequestStandsBesideItsRenewal(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 641, wire.PolicyRequest)
	d := w.device("dora")
	w.join(d)
	d.online = false
	w.run(61 * time.Minute)
	entries := a.m.Status().Entries
	d.must(JoinAnswered{KeyPackage: d.request().KeyPackage, Renew: true})
	for range 5 {
		if _, err := a.step(JoinAsked{Request: *d.renewal()}); !errors.Is(err, verdict.ErrState) || verdict.Final(err) {
			t.Errorf("anna says %v", err)
		}
		a.must(JoinAsked{Request: *d.request()})
		w.run(time.Hour)
	}
	if got := a.m.Status().Entries; got != entries {
		t.Errorf("%d entries were written meanwhile", got-entries)
	}
	b.must(Approve{User: d.dev.User})
	d.online = true
	w.run(2 * time.Hour) // it tries once an hour by now
	w.agree(a, b, c, d)
}

// A stranger that asks again and again with new credentials leaves nothing behind.
func TestStatusOfManyRequests(t *testing.T) {
	t.Parallel()
	w, a, _, _ := three(t, 913)
	before := len(a.m.epochs.verified)
	for range 20 {
		secret, public, err := engine.MLS(1).NewSigner(w.rand)
		if err != nil {
			t.Fatal(err)
		}
		_, op := puppet(t, w, "ben", secret, public, w.now)
		if _, err := a.m.JoinStatus(op.KeyPackage, w.now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.m.epochs.verified) - before; n != 0 {
		t.Errorf("%d credentials are kept of those who asked", n)
	}
}
