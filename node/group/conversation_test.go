package group

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

var updateConversations = flag.Bool("update", false, "write the transcripts in testdata/conversations anew")

// A conversation is a script of verbs with what three devices make of it: what each
// appends to its log, publishes, tells, stores and shows. A line at the margin is a verb
// or, after a #, a remark; the indented lines below it are the transcript, which -update
// writes anew. See conversation.verbs for the verbs.
//
// Names are stable: anna/4 is the fourth entry of anna's log, anna'/1 the first one of
// her second log; E3 is an epoch with the number 3, E3b another one with that number.
func TestConversations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/conversations/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scripts, want five at the least: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := converse(t, string(text))
			if *updateConversations {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // no secret
					t.Fatal(err)
				}
				return
			}
			want, lines := strings.Split(string(text), "\n"), strings.Split(got, "\n")
			for i := range max(len(want), len(lines)) {
				if i >= len(want) || i >= len(lines) || want[i] != lines[i] {
					rest := lines[min(i, len(lines)):]
					t.Fatalf("%s:%d goes otherwise (write it anew with -update). From there on it is:\n%s", file, i+1, strings.Join(rest[:min(12, len(rest))], "\n"))
				}
			}
		})
	}
}

// converse plays a script and gives it back with its transcript.
func converse(t *testing.T, script string) string {
	t.Helper()
	c := &conversation{
		world: newWorld(t, 4711), names: map[string]*device{}, epochs: map[wire.EpochID]string{}, numbers: map[wire.EpochID]uint64{},
		entries: map[wire.EntryHash]string{}, logs: map[wire.LogID]string{}, keys: map[wire.KeyID][]byte{},
		asked: map[string]bool{}, links: map[string]link{}, backups: map[string]memRows{},
	}
	c.world.heard, c.world.watch = c.input, c.ready
	verbs := c.verbs()
	for line := range strings.Lines(script) {
		switch {
		case strings.HasPrefix(line, "    "):
			continue // the transcript of before
		case strings.TrimSpace(line) == "" || line[0] == '#':
			c.out.WriteString(line)
			continue
		}
		c.out.WriteString(line)
		fields := strings.Fields(line)
		verb := verbs[fields[0]]
		if verb == nil {
			t.Fatalf("%q is no verb", fields[0])
		}
		c.said = c.world.now
		verb(fields[1:])
	}
	return c.out.String()
}

type conversation struct {
	world   *world
	out     strings.Builder
	silent  bool      // nothing is written down
	said    time.Time // of the last line
	timer   bool      // the input that is carried out is time alone
	names   map[string]*device
	epochs  map[wire.EpochID]string
	numbers map[wire.EpochID]uint64 // MLS epoch numbers
	entries map[wire.EntryHash]string
	logs    map[wire.LogID]string
	keys    map[wire.KeyID][]byte // transport keys that anybody holds
	asked   map[string]bool
	links   map[string]link
	backups map[string]memRows
}

// verbs are what a line of a script may begin with.
func (c *conversation) verbs() map[string]func(args []string) {
	w := c.world
	of := func(name string) *device {
		d := c.names[name]
		if d == nil {
			w.t.Fatalf("there is no device %q", name)
		}
		return d
	}
	join := func(d *device, l *link) {
		d.open()
		in := Join{}
		if l != nil {
			in = Join{Invite: &l.invite, Key: l.key}
		}
		d.must(in)
	}
	policies := map[string]wire.Policy{"open": wire.PolicyOpen, "invite": wire.PolicyInvite}
	return map[string]func([]string){
		// group POLICY NAME…: the first founds it, the others join, nothing is written down.
		"group": func(a []string) {
			c.silent = true
			for i, name := range a[1:] {
				d := w.device(name)
				c.names[name] = d
				if i == 0 {
					w.found(d, policies[a[0]])
					continue
				}
				var l *link
				if policies[a[0]] == wire.PolicyInvite {
					given := of(a[1]).mustInvite(nil)
					l = &given
				}
				join(d, l)
				w.run(5 * time.Second)
			}
			w.run(time.Minute)
			c.silent, c.said = false, w.now
			c.state()
		},
		// device NAME: it has keys of its own, and is in no group.
		"device": func(a []string) { c.names[a[0]] = w.device(a[0]) },
		// send NAME TEXT…
		"send": func(a []string) { of(a[0]).send(strings.Join(a[1:], " ")) },
		// remove NAME OTHER: the first one takes the second one's user out.
		"remove": func(a []string) { of(a[0]).must(RemoveUser{User: of(a[1]).dev.User}) },
		// role NAME OTHER ROLE: the first one gives the second one's user a role.
		"role": func(a []string) {
			of(a[0]).must(SetRole{User: of(a[1]).dev.User, Role: map[string]wire.Role{"admin": wire.RoleAdmin, "member": wire.RoleMember}[a[2]]})
		},
		// renew NAME: the timer that renews the device's keys runs out.
		"renew": func(a []string) { of(a[0]).update() },
		// invite NAME LINK: the device gives out an invite, and LINK is what others join by.
		"invite": func(a []string) { c.links[a[1]] = of(a[0]).mustInvite(nil) },
		// join NAME [LINK]
		"join": func(a []string) {
			if len(a) == 1 {
				join(of(a[0]), nil)
				return
			}
			l := c.links[a[1]]
			join(of(a[0]), &l)
		},
		// offline NAME, online NAME: the latter syncs with all who are there.
		"offline": func(a []string) { of(a[0]).online = false },
		"online": func(a []string) {
			of(a[0]).online = true
			w.syncSomebody(of(a[0]))
		},
		// cut NAME…: these reach each other alone, and so do the others.
		"cut": func(a []string) {
			w.cut = func(x, y *device) bool { return slices.Contains(a, x.name) != slices.Contains(a, y.name) }
		},
		// mend: all reach each other, and sync.
		"mend": func([]string) {
			w.cut = nil
			for _, d := range w.devices {
				w.syncSomebody(d)
			}
		},
		// backup NAME, restore NAME: the store goes back to what was kept, with a new log.
		"backup": func(a []string) { c.backups[a[0]] = of(a[0]).backup() },
		"restore": func(a []string) {
			of(a[0]).restore(c.backups[a[0]])
		},
		// wait DURATION
		"wait": func(a []string) {
			d, err := time.ParseDuration(a[0])
			if err != nil {
				w.t.Fatal(err)
			}
			w.run(d)
		},
		// sync NAME OTHER: the two sync, whoever is in the group.
		"sync": func(a []string) { w.sync(of(a[0]), of(a[1])) },
		// timers: when each device has to be woken at the latest.
		"timers": func([]string) {
			for _, d := range w.devices {
				c.say(d, "has to be woken in %s", inWords(d.m.NextWake().Sub(d.clock())))
			}
		},
		// state: where each device is, and what it shows.
		"state": func([]string) { c.state() },
	}
}

// say writes down one line of the transcript.
func (c *conversation) say(d *device, format string, args ...any) {
	if c.silent {
		return
	}
	if past := c.world.now.Sub(c.said); past >= 50*time.Millisecond {
		fmt.Fprintf(&c.out, "    (%s later)\n", inWords(past))
	}
	c.said = c.world.now
	fmt.Fprintf(&c.out, "    %-5s %s\n", d.name, fmt.Sprintf(format, args...))
}

// inWords says how long, to two places at the most.
func inWords(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= 2*u.of || u.of == time.Second {
			return strconv.FormatFloat(d.Round(u.of/10).Seconds()/u.of.Seconds(), 'f', -1, 64) + " " + u.name
		}
	}
	return ""
}

func (c *conversation) state() {
	for _, d := range c.world.devices {
		if d.m == nil {
			continue
		}
		s := d.m.Status()
		line := fmt.Sprintf("%s in %s, %s", s.State, c.epoch(s.Position, s.Epoch), counted(s.Members, "member"))
		for _, more := range []struct {
			n    int
			what string
		}{{s.Gaps, "message it cannot read yet"}, {s.Outbox, "message to send"}, {s.Parked, "entry that waits for its past"}} {
			if more.n > 0 {
				line += fmt.Sprintf(", %d × %s", more.n, more.what)
			}
		}
		c.say(d, "is %s; shows %q", line, d.texts())
	}
}

// input writes down what a device was given that no line of another says already.
func (c *conversation) input(d *device, in Input, err error) {
	_, c.timer = in.(Tick)
	switch in := in.(type) {
	case JoinAsked:
		asked := d.name + string(in.Request.KeyPackage)
		if err == nil && !c.asked[asked] { // it comes again every second
			c.say(d, "is asked to add %s", c.deviceOf(in.Request.Cert))
		}
		c.asked[asked] = true
	case JoinAnswered:
		if in.Welcome != nil {
			c.say(d, "gets a Welcome to %s", c.epoch(in.Epoch, 0))
		}
	}
	if err != nil {
		c.say(d, "answers: %s", c.named(err.Error()))
	}
}

// named puts names in place of the IDs in an error's text.
func (c *conversation) named(text string) string {
	for _, d := range c.world.devices {
		text = strings.ReplaceAll(text, d.dev.ID.String(), d.name)
	}
	for hash, name := range c.entries {
		text = strings.NewReplacer("message "+hash.String(), name, hash.String(), name).Replace(text)
	}
	for id, name := range c.epochs {
		text = strings.ReplaceAll(text, id.String(), name)
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// ready writes down what a Ready says, in its order.
func (c *conversation) ready(d *device, r Ready) {
	by := ""
	if c.timer {
		by = ", since its time has come"
	}
	c.timer = false
	took := []string{}
	for _, w := range r.Writes {
		switch kind, rest, _ := strings.Cut(w.Key, "/"); {
		case kind == "tkey" && w.Value != nil:
			c.keys[wire.KeyIDOf(c.world.group, w.Value)] = bytes.Clone(w.Value)
		case kind == "entry" && w.Value != nil:
			e := c.entry(w.Value)
			if hash := wire.EntryHashOf(c.world.group, e.Encode()); slices.Contains(r.Came, hash) {
				took = append(took, c.entries[hash])
				continue
			}
			c.say(d, "appends %s%s%s", c.describe(e), c.after(e), by)
		case kind == "epoch" && w.Value != nil:
			if b, err := hex.DecodeString(rest); err == nil && len(b) == len(wire.EpochID{}) {
				c.say(d, "stores the keys of %s", c.epoch(wire.EpochID(b), 0))
			}
		}
	}
	if len(took) > 0 {
		c.say(d, "stores %s", strings.Join(took, ", "))
	}
	for _, v := range r.Drop {
		if name, ok := c.epochs[wire.EpochID(v)]; ok {
			c.say(d, "destroys the keys of %s", name)
		}
	}
	for _, o := range r.Messages {
		switch o := o.(type) {
		case Publish:
			c.say(d, "publishes %s, to %s", c.inside(o.Envelope), c.reached(d))
		case Tell:
			c.say(d, "tells %s %s", c.device(o.Device), c.inside(o.Envelope))
		case Ask:
			c.say(d, "wants a sync: %s", o.Why)
		case RequestJoin:
			c.say(d, "asks the members to add it")
		case EndRequest:
			c.say(d, "asks no longer to be added")
		}
	}
	for _, e := range r.Events {
		c.event(d, e)
	}
}

func (c *conversation) event(d *device, e Event) {
	switch e.Kind {
	case EventMessage:
		if m, ok, err := d.m.Journal().Message(e.Message); err == nil && ok {
			c.say(d, "shows %s: %q", c.entries[e.Message], m.Content.Data)
		}
	case EventEpoch:
		c.say(d, "notifies epoch: %s", c.epoch(e.Epoch, 0))
	default:
		var more []string
		if e.User != (wire.UserID{}) {
			more = append(more, c.user(e.User))
		}
		if e.Epoch != (wire.EpochID{}) {
			more = append(more, c.epoch(e.Epoch, 0))
		}
		if e.By != (wire.UserID{}) {
			more = append(more, "by "+c.user(e.By))
		}
		c.say(d, "notifies %s", strings.TrimSuffix(fmt.Sprintf("%s: %s", e.Kind, strings.Join(more, ", ")), ": "))
	}
}

// reached says whom an envelope on the topic gets to.
func (c *conversation) reached(from *device) string {
	var to []string
	for _, d := range c.world.devices {
		if c.world.linked(from, d) {
			to = append(to, d.name)
		}
	}
	if to == nil {
		return "nobody"
	}
	return strings.Join(to, " and ")
}

// entry reads an entry and gives it its name.
func (c *conversation) entry(signed []byte) *wire.Entry {
	s, err := wire.DecodeSigned(signed, wire.MaxEntry)
	if err != nil {
		c.world.t.Fatal(err)
	}
	e, err := wire.DecodeEntry(s.Payload)
	if err != nil {
		c.world.t.Fatal(err)
	}
	if c.logs[e.Log()] == "" {
		name := c.device(e.Device)
		for slices.Contains(valuesOf(c.logs), name) {
			name += "'"
		}
		c.logs[e.Log()] = name
	}
	c.entries[wire.EntryHashOf(c.world.group, s.Payload)] = fmt.Sprintf("%v %s/%d", e.Kind, c.logs[e.Log()], e.Seq)
	return e
}

func valuesOf[K comparable](m map[K]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// describe says what an entry says.
func (c *conversation) describe(e *wire.Entry) string {
	name := fmt.Sprintf("%v %s/%d", e.Kind, c.logs[e.Log()], e.Seq)
	fail := func(err error) {
		if err != nil {
			c.world.t.Fatalf("%s: %v", name, err)
		}
	}
	switch e.Kind {
	case wire.KindOp:
		o, err := wire.DecodeOp(e.Body)
		fail(err)
		name += fmt.Sprintf(" (%v", o.Type)
		if o.Cert != nil {
			name += " " + c.deviceOf(*o.Cert)
		}
		if o.User != nil {
			name += " " + c.user(*o.User)
		}
		if o.Role != 0 {
			name += fmt.Sprintf(" as %v", o.Role)
		}
		if o.Why == wire.WhyInvite {
			name += " by an invite"
		}
		if o.Reboot != nil {
			name += " with " + c.epoch(o.Reboot.Root, 0)
		}
		return name + ")"
	case wire.KindCommit:
		k, err := wire.DecodeCommit(e.Body)
		fail(err)
		name += fmt.Sprintf(" (from %s to %s", c.epoch(k.Parent, 0), c.epoch(k.Child, c.numbers[k.Parent]+1))
		for _, op := range k.Ops {
			name += ", for " + c.entries[op]
		}
		for _, r := range k.Rejoins {
			rejoin, err := wire.DecodeRejoin(r.Payload)
			fail(err)
			name += ", adds " + c.device(rejoin.Device) + " again"
		}
		return name + ")"
	case wire.KindVote:
		v, err := wire.DecodeVote(e.Body)
		fail(err)
		name += " (for " + c.epoch(v.Position, 0)
		for _, id := range v.Refused {
			name += ", refuses " + c.epoch(id, 0)
		}
		for _, id := range v.Unheld {
			name += ", cannot get to " + c.epoch(id, 0)
		}
		return name + ")"
	case wire.KindTKey:
		k, err := wire.DecodeTKey(e.Body)
		fail(err)
		var to []string
		for _, wrap := range k.Wraps {
			to = append(to, c.device(wrap.Device))
		}
		slices.Sort(to)
		return name + " (a new transport key for " + strings.Join(to, " and ") + ")"
	case wire.KindTKeyWrap:
		k, err := wire.DecodeTKeyWrap(e.Body)
		fail(err)
		return name + " (the transport key for " + c.device(k.Wrap.Device) + " too)"
	case wire.KindRecord:
	}
	return name
}

// after says on which entries of other logs an entry builds.
func (c *conversation) after(e *wire.Entry) string {
	var deps []string
	for _, h := range e.Deps {
		deps = append(deps, c.entries[h])
	}
	if deps == nil {
		return ""
	}
	slices.Sort(deps)
	return " after " + strings.Join(deps, " and ")
}

// inside says what an envelope holds.
func (c *conversation) inside(envelope []byte) string {
	b, err := wire.OpenEnvelope(c.world.group, func(id wire.KeyID) []byte { return c.keys[id] }, envelope)
	if err != nil {
		c.world.t.Fatal(err)
	}
	var in []string
	for _, raw := range b.Entries {
		s, err := wire.DecodeSigned(raw, wire.MaxEntry)
		if err != nil {
			c.world.t.Fatal(err)
		}
		c.entry(raw)
		in = append(in, c.entries[wire.EntryHashOf(c.world.group, s.Payload)])
	}
	for _, raw := range b.Seals {
		s, err := wire.DecodeSeal(raw)
		if err != nil {
			c.world.t.Fatal(err)
		}
		in = append(in, fmt.Sprintf("a seal of %s under %s", c.entries[s.Message], c.epoch(s.Epoch, 0)))
	}
	for _, raw := range b.Beacons {
		in = append(in, c.beacon(raw))
	}
	for _, raw := range b.Receipts {
		s, err := wire.DecodeSigned(raw, wire.MaxEntry)
		if err != nil {
			c.world.t.Fatal(err)
		}
		r, err := wire.DecodeReceipt(s.Payload)
		if err != nil {
			c.world.t.Fatal(err)
		}
		in = append(in, "a receipt for "+c.entries[r.Read.Hash])
	}
	return strings.Join(in, " and ")
}

func (c *conversation) beacon(raw []byte) string {
	s, err := wire.DecodeSigned(raw, wire.MaxEntry)
	if err != nil {
		c.world.t.Fatal(err)
	}
	b, err := wire.DecodeBeacon(s.Payload)
	if err != nil {
		c.world.t.Fatal(err)
	}
	says := "a beacon (in " + c.epoch(b.Position, 0)
	for _, gap := range b.Gaps {
		says += ", cannot read " + c.entries[gap]
	}
	if b.Rejoin != nil {
		says += ", asks to be added again"
	}
	return says + ")"
}

// epoch gives the name of an epoch; its number is needed where it is seen first.
func (c *conversation) epoch(id wire.EpochID, number uint64) string {
	if id == (wire.EpochID{}) {
		return "no epoch"
	}
	if c.epochs[id] == "" {
		name := fmt.Sprintf("E%d", number)
		for more := 'b'; slices.Contains(valuesOf(c.epochs), name); more++ {
			name = fmt.Sprintf("E%d%c", number, more)
		}
		c.epochs[id], c.numbers[id] = name, number
	}
	return c.epochs[id]
}

func (c *conversation) device(id wire.DeviceID) string {
	for _, d := range c.world.devices {
		if d.dev.ID == id {
			return d.name
		}
	}
	return "a stranger"
}

func (c *conversation) user(id wire.UserID) string {
	for _, d := range c.world.devices {
		if d.dev.User == id {
			return d.name
		}
	}
	return "a stranger"
}

func (c *conversation) deviceOf(cert wire.Signed) string {
	for _, d := range c.world.devices {
		if string(d.dev.Raw.Payload) == string(cert.Payload) {
			return d.name
		}
	}
	return "a stranger"
}
