package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// explains fails unless a device gives this state for a message and says all of that.
func (d *device) explains(id wire.MessageID, state string, says ...string) {
	d.w.t.Helper()
	before := d.rows.digest()
	e := d.m.Explain(d.w.now, id, nil)
	all := strings.Join(append(slices.Clone(e.Facts), e.Next...), "\n")
	if e.State != state {
		d.w.t.Errorf("%s: %v: %q, want %q:\n%s", d.name, id, e.State, state, all)
	}
	for _, s := range says {
		if !strings.Contains(all, s) {
			d.w.t.Errorf("%s: %q is not in:\n%s", d.name, s, all)
		}
	}
	if d.rows.digest() != before {
		d.w.t.Error("explaining changed something")
	}
}

func TestExplainMessages(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 640)
	id := a.send("to all")
	a.explains(id, WhySent, "not known to have come to ben, carl")
	w.run(time.Minute)
	w.sync(b, a)
	w.sync(c, a)
	a.explains(id, WhySent, "held by ")
	b.explains(id, WhyRead, "anna wrote it")
	b.explains(wire.MessageID{1}, WhyUnknown, "no entry with this ID")
	b.explains(b.m.logs.Head(b.m.own.log).Hash, WhyUnknown, "no message but a VOTE by ben")

	// A record without its seal, and then the one before it missing.
	w.hold = func(*device, *device, []byte) bool { return true }
	w.cut = func(*device, *device) bool { return true }
	first, second := a.send("first"), a.send("second")
	raw := func(id wire.MessageID) []byte {
		b, err := a.m.tx.get(itemKey(a.record(id)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := b.step(Entries{[][]byte{raw(second)}}); !isErr(err, verdict.ErrIncomplete) {
		t.Fatal(err)
	}
	b.explains(second, WhyParked, "waits for 1 others")
	b.must(Entries{[][]byte{raw(first)}})
	b.explains(first, WhyUnread, "no seal of it is here", "asks the group for it in")
	seals, err := a.m.SealsFor(b.dev.ID, []wire.MessageID{second})
	if err != nil || len(seals) != 1 {
		t.Fatal(len(seals), err)
	}
	b.must(Seals{seals})
	b.explains(second, WhyHeld, "waits for an earlier one of anna's")

	// A joiner is not owed what was said before.
	w.hold, w.cut = nil, nil
	w.syncSomebody(b)
	w.run(time.Minute)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	d.explains(id, WhyNotOwed, "before this device came into the group")
	a.explains(first, WhySent, "held by ben")
}

// A message behind a closed gate says so, and heal opens it.
func TestExplainAndHealAClosedGate(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 641)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(10 * time.Second)
	if out := b.must(Heal{}); !slices.Equal(out.Did, []string{"no commit: the tree of keys equals the roster"}) {
		t.Errorf("nothing is due: %q", out.Did)
	}
	// Ben learns of anna's removal of carl by her operation alone.
	w.hold = func(*device, *device, []byte) bool { return true }
	a.must(RemoveUser{User: c.dev.User})
	var op []byte
	for _, it := range a.m.logs.Ops {
		if it.Op.Type == wire.OpRemove {
			op, _ = a.m.tx.get(itemKey(it))
		}
	}
	a.online = false
	b.must(Entries{[][]byte{op}})
	id := b.send("not for carl")
	b.explains(id, WhyQueued, "the gate is closed", "pandanode group heal GROUP makes it now")
	r := b.m.Report(w.now)
	if !r.Gate || r.Removes != 1 || r.HealAt.IsZero() || !slices.Equal(r.Unsealed, []wire.MessageID{id}) {
		t.Errorf("the report does not show it: %+v", r)
	}
	out := b.must(Heal{})
	if len(out.Did) == 0 || !strings.Contains(out.Did[0], "a commit: epoch") || !strings.Contains(out.Did[0], "removes 1") {
		t.Errorf("heal did %q", out.Did)
	}
	b.explains(id, WhySent)
	if r := b.m.Report(w.now); r.Gate || len(r.Unsealed) != 0 {
		t.Errorf("after heal: %+v", r)
	}
	refusal{"healing, by somebody removed", Heal{}, verdict.ErrOut, verdict.Ignore}.check(t, func() *device { c.must(Entries{[][]byte{op}}); return c }())
}

// A fork is in the report while it lasts, with who voted for what.
func TestReportOfAFork(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 642)
	d, e := w.device("dora"), w.device("emil")
	held := true
	side := map[*device]int{a: 0, d: 0, b: 1, e: 1, c: 2}
	w.cut = func(x, y *device) bool { return held && side[x] != side[y] }
	w.join(d)
	w.join(e)
	held = false
	w.hold = func(*device, *device, []byte) bool { return true }
	toA, _, err := b.m.EntriesAfter(a.dev.ID, a.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	toB, _, err := a.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	a.must(Entries{toA})
	b.must(Entries{toB})
	if r := a.m.Report(w.now); r.Branches[0].Here {
		a, b = b, a // now a is on the side that was not chosen
	}
	r := a.m.Report(w.now)
	if len(r.Branches) != 2 || !r.Branches[0].Chosen || r.Branches[1].Chosen || r.SettleAt.IsZero() {
		t.Fatalf("the fork is not there: %+v", r.Branches)
	}
	here := 0
	for _, br := range r.Branches {
		if len(br.Voters) == 0 || br.Length != 1 || br.From != r.Branches[0].From || br.Number != r.Branches[0].Number {
			t.Errorf("branch %+v", br)
		}
		if br.Here {
			here++
		}
	}
	if here != 1 {
		t.Errorf("anna stands on %d branches", here)
	}
	if len(r.Devices) != 5 {
		t.Errorf("%d devices", len(r.Devices))
	}
	for _, x := range r.Devices {
		if x.Name == b.name && (x.Vote == (wire.EpochID{}) || x.Last.IsZero()) || x.Own != (x.Name == a.name) {
			t.Errorf("%+v", x)
		}
	}
	if out := a.must(Heal{}); len(out.Did) == 0 || !strings.Contains(out.Did[0], "the fork is judged in") {
		t.Errorf("heal in a fork: %q", out.Did)
	}
	w.hold = nil
	for _, x := range w.devices {
		w.syncSomebody(x)
	}
	w.run(2 * time.Minute)
	w.agree(w.devices...)
	if r := a.m.Report(w.now); !r.Branches[0].Here || !r.SettleAt.IsZero() {
		t.Errorf("after the fork: %+v", r.Branches)
	}
}

// The operations of a group in order, with what became of those that do not count.
func TestHistory(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 643, wire.PolicyRequest)
	d := w.device("dora")
	w.join(d)
	w.run(5 * time.Second)
	b.must(Approve{User: d.dev.User})
	w.run(30 * time.Second)
	l := b.mustInvite(nil)
	w.run(time.Second)
	a.must(RevokeInvite{Invite: l.id})
	w.run(time.Second)
	// Ben gives an invite while anna removes him.
	cut := true
	w.cut = func(x, y *device) bool { return cut && (x == a) != (y == a) }
	b.mustInvite(nil)
	a.must(RemoveUser{User: b.dev.User})
	w.run(5 * time.Second)
	cut = false
	for _, x := range w.devices {
		w.syncSomebody(x)
	}
	w.run(time.Minute)
	w.agree(a, c, d)
	want := []string{
		"anna reboot", "anna invite", "anna add ben", "anna invite", "anna add carl",
		"anna request dora", "ben add dora", "ben invite", "anna invite.revoke",
		"ben invite: anna removed its author at the same time", "anna remove ben",
	}
	var got []string
	for _, x := range c.m.History() {
		s := x.Name + " " + x.Type.String()
		if x.Called != "" {
			s += " " + x.Called
		}
		if x.Void != "" {
			s += ": " + x.Void
		}
		got = append(got, s)
	}
	for _, s := range want {
		i := slices.Index(got, s)
		if s == "anna request dora" && i < 0 { // whoever dora reached first
			i = slices.IndexFunc(got, func(g string) bool { return strings.HasSuffix(g, " request dora") })
		}
		if i < 0 {
			t.Errorf("%q is not in %q", s, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d operations, want %d: %q", len(got), len(want), got)
	}
	for _, x := range c.m.History() {
		if x.Type == wire.OpRevoke && x.Invite != l.id {
			t.Error("the revocation names no invite")
		}
		if x.Type == wire.OpAdd && x.Called == "ben" && (x.Role != wire.RoleAdmin || x.Why != wire.WhyInvite || x.Subject != b.dev.User) {
			t.Errorf("%+v", x)
		}
	}
}
