package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// verb is one kind of action: its form, the check of its arguments, and its effect.
type verb struct {
	usage string
	opts  []string
	check func(*Scenario, Action) error
	do    func(*core, Action) error
}

// verbs lists all of them. docs/SCENARIOS.md explains each, and a test compares the two.
var verbs map[string]*verb

func init() {
	verbs = map[string]*verb{
		"join": {usage: "join NODE… [invite=NAME] [via=X]", opts: []string{"invite", "via"}, check: checkJoin, do: doJoin},
		"send": {
			usage: "send NODE… [n=COUNT] [as=NAME] [reply=NAME] [thread=NAME] [mention=NODE] [expires=D] [file=PIECES]: with a name if it is to be edited, deleted, answered or reacted to; a file has so many pieces of 64 KiB",
			opts:  []string{"n", "as", "reply", "thread", "mention", "expires", "file"}, check: checkSend, do: doSend,
		},
		"remove":    {usage: "remove NODE WHOM…", check: nodesAt(2, 64), do: doRemove},
		"role":      {usage: "role NODE WHOM owner|admin|member|read-only", check: checkRole, do: doRole},
		"revoke":    {usage: "revoke NODE DEVICE", check: nodesAt(2, 2), do: doRevoke},
		"leave":     {usage: "leave NODE…", check: nodesAt(1, 64), do: doLeave},
		"partition": {usage: "partition NODE… | NODE… [| NODE…]; those not named are a side of their own", check: checkSides, do: doPartition},
		"heal":      {usage: "heal", check: nodesAt(0, 0), do: func(w *core, _ Action) error { w.net.heal(); return nil }},
		"cut":       {usage: "cut FROM TO: one way", check: nodesAt(2, 2), do: doCut},
		"mend":      {usage: "mend FROM TO", check: nodesAt(2, 2), do: doCut},
		"line": {
			usage: "line FROM TO [latency=D] [jitter=D] [loss=P] [duplicate=P] [reorder=P] [overtake=P]: how envelopes travel from here on, one way; without more, as in the beginning",
			opts:  []string{"latency", "jitter", "loss", "duplicate", "reorder", "overtake"}, check: checkLine, do: doLine,
		},
		"offline": {usage: "offline NODE…", check: nodesAt(1, 64), do: doOnline},
		"online":  {usage: "online NODE…", check: nodesAt(1, 64), do: doOnline},
		"crash": {
			usage: "crash NODE [at=writes|torn|messages|within|events|advance [nth=N]] [restart=D]",
			opts:  []string{"at", "nth", "restart"}, check: checkCrash, do: doCrash,
		},
		"reboot":   {usage: "reboot NODE…: fresh MLS keys for the same group", check: nodesAt(1, 64), do: doReboot},
		"restart":  {usage: "restart NODE…", check: nodesAt(1, 64), do: doRestart},
		"backup":   {usage: "backup NODE", check: nodesAt(1, 1), do: doBackup},
		"restore":  {usage: "restore NODE [at=TIME]: the backup, or what one of that time would hold, knowing that it is one", opts: []string{"at"}, check: checkRestore, do: doRestore},
		"rollback": {usage: "rollback NODE: the backup, silently", check: nodesAt(1, 1), do: doRestore},
		"clock":    {usage: "clock NODE +D|-D: set it that far off", check: checkClock, do: doClock},
		"gossip":   {usage: "gossip on|off", check: oneOf("on", "off"), do: doGossip},
		"lose":     {usage: "lose NODE [n=COUNT]: the next Welcomes for it", opts: []string{"n"}, check: withCount(nodesAt(1, 1)), do: doLose},
		"choke":    {usage: "choke NODE WHOM…: they cannot process the next commit of NODE", check: nodesAt(2, 64), do: doChoke},
		"scramble": {usage: "scramble NODE FROM: all that FROM has, in reverse, three times", check: nodesAt(2, 2), do: doScramble},
	}
	for _, more := range []map[string]*verb{inviteVerbs, hostileVerbs, copyVerbs, insiderVerbs, backdateVerb, doorVerbs, contentVerbs, mailboxVerbs, expectVerb} {
		for name, v := range more {
			verbs[name] = v
		}
	}
}

func nodesAt(least, most int) func(*Scenario, Action) error {
	return func(sc *Scenario, a Action) error {
		if len(a.Args) < least || len(a.Args) > most {
			return fmt.Errorf("%d arguments", len(a.Args))
		}
		for _, n := range a.Args {
			if sc.node(n) < 0 {
				return fmt.Errorf("there is no node %q", n)
			}
		}
		return nil
	}
}

func withCount(check func(*Scenario, Action) error) func(*Scenario, Action) error {
	return func(sc *Scenario, a Action) error {
		if s, ok := a.opt("n"); ok {
			if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 10_000 {
				return fmt.Errorf("n=%s", s)
			}
		}
		return check(sc, a)
	}
}

func (a Action) count() int {
	if s, ok := a.opt("n"); ok {
		n, _ := strconv.Atoi(s)
		return n
	}
	return 1
}

func oneOf(words ...string) func(*Scenario, Action) error {
	return func(_ *Scenario, a Action) error {
		if len(a.Args) != 1 || !slices.Contains(words, a.Args[0]) {
			return errors.New("one word")
		}
		return nil
	}
}

// act carries out one action of the scenario.
func (w *core) act(a Action) {
	if err := verbs[a.Verb].do(w, a); err != nil {
		w.hist.refused = append(w.hist.refused, fmt.Sprintf("%v: %v", a, err))
		w.hist.refusedVerbs[a.Verb]++
		return
	}
	w.hist.verbs[a.Verb]++
}

func (w *core) nodeOf(name string) *cnode { return w.nodes[w.sc.node(name)] }

func (w *core) groupOf(a Action) *cgroup { return w.groups[w.sc.groupIndex(a.Group)] }

// seatOf returns a node's seat in the group of an action; its machine may be nil.
func (w *core) seatOf(a Action, name string) (*seat, error) {
	n := w.nodeOf(name)
	s := n.seats[w.groupOf(a).index]
	if s == nil {
		return nil, fmt.Errorf("%s never asked to join", name)
	}
	return s, nil
}

// seats returns the seats of the action's arguments.
func (w *core) eachArg(a Action, do func(*seat) error) error {
	var errs []error
	for _, name := range a.Args {
		s, err := w.seatOf(a, name)
		if err == nil {
			err = do(s)
		}
		if err != nil && !errors.Is(err, errCrash) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func doJoin(w *core, a Action) error {
	var errs []error
	for _, name := range a.Args {
		n := w.nodeOf(name)
		in, err := a.invited(w.groupOf(a))
		if err != nil {
			return err
		}
		s := w.sit(n, w.groupOf(a))
		if s.via = nil; a.via() != "" {
			s.via = w.nodeOf(a.via())
		}
		if s.m == nil && n.up && s.bad == nil {
			if err := s.open(); err != nil {
				s.broke(err)
				return err
			}
		}
		_, err = s.step(in)
		w.hist.mark(w, n, "join", "")
		if err != nil && !errors.Is(err, errCrash) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func doSend(w *core, a Action) error {
	return w.eachArg(a, func(s *seat) error {
		for range a.count() {
			s.sent++
			text := fmt.Sprintf("%s %d", s.n.name, s.sent)
			if err := s.write(a, text); err != nil {
				return err
			}
			w.hist.mark(w, s.n, "send", text)
		}
		return nil
	})
}

func doRemove(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	var errs []error
	for _, whom := range a.Args[1:] {
		w.hist.mark(w, s.n, "remove", "removes "+whom)
		_, err := s.step(group.RemoveUser{User: w.nodeOf(whom).dev.User})
		if err == nil {
			w.hist.removals++
		} else if !errors.Is(err, errCrash) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

var roles = map[string]wire.Role{"owner": wire.RoleOwner, "admin": wire.RoleAdmin, "member": wire.RoleMember, "read-only": wire.RoleReadOnly}

func checkRole(sc *Scenario, a Action) error {
	if len(a.Args) != 3 || roles[a.Args[2]] == 0 {
		return errors.New("three words, the last of them a role")
	}
	a.Args = a.Args[:2]
	return nodesAt(2, 2)(sc, a)
}

func doRole(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	w.hist.mark(w, s.n, "role", a.Args[1]+" becomes "+a.Args[2])
	_, err = s.step(group.SetRole{User: w.nodeOf(a.Args[1]).dev.User, Role: roles[a.Args[2]]})
	return err
}

func doReboot(w *core, a Action) error {
	return w.eachArg(a, func(s *seat) error {
		w.hist.mark(w, s.n, "reboot", "")
		_, err := s.step(group.Reboot{})
		return err
	})
}

func doRevoke(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	_, err = s.step(group.RevokeDevice{Device: w.nodeOf(a.Args[1]).dev.ID})
	return err
}

func doLeave(w *core, a Action) error {
	return w.eachArg(a, func(s *seat) error {
		w.hist.mark(w, s.n, "leave", "")
		_, err := s.step(group.Leave{})
		return err
	})
}

// sides splits the arguments at the bars, and at commas within.
func sides(args []string) [][]string {
	var out [][]string
	for _, side := range strings.Split(strings.Join(args, " "), "|") {
		out = append(out, strings.FieldsFunc(side, func(r rune) bool { return r == ' ' || r == ',' }))
	}
	return out
}

func checkSides(sc *Scenario, a Action) error {
	seen := map[string]bool{}
	for _, side := range sides(a.Args) {
		if len(side) == 0 {
			return errors.New("an empty side")
		}
		for _, n := range side {
			if sc.node(n) < 0 || seen[n] {
				return fmt.Errorf("%q is no node, or there twice", n)
			}
			seen[n] = true
		}
	}
	return nil
}

func doPartition(w *core, a Action) error {
	side := make([]int, len(w.nodes))
	for i, names := range sides(a.Args) {
		for _, n := range names {
			side[w.sc.node(n)] = i + 1
		}
	}
	w.net.split(side)
	return nil
}

func doCut(w *core, a Action) error {
	k := [2]int{w.sc.node(a.Args[0]), w.sc.node(a.Args[1])}
	if a.Verb == "cut" {
		w.net.cut[k] = true
	} else {
		delete(w.net.cut, k)
	}
	w.net.changed()
	return nil
}

func checkLine(sc *Scenario, a Action) error {
	l := sc.Link
	if err := l.set(a.Opts); err != nil {
		return err
	}
	return nodesAt(2, 2)(sc, a)
}

// doLine changes the link from one node to another. Its other way stays.
func doLine(w *core, a Action) error {
	from, to := w.sc.node(a.Args[0]), w.sc.node(a.Args[1])
	l := w.sc.Link
	for _, d := range w.sc.Links {
		if d.A == a.Args[0] && d.B == a.Args[1] || d.B == a.Args[0] && d.A == a.Args[1] {
			l = d.Link
		}
	}
	if err := l.set(a.Opts); err != nil {
		return err
	}
	w.net.links[[2]int{from, to}] = l
	return nil
}

func doOnline(w *core, a Action) error {
	for _, name := range a.Args {
		n := w.nodeOf(name)
		if on := a.Verb == "online"; n.online != on {
			n.online = on
			w.hist.mark(w, n, a.Verb, "")
		}
	}
	w.net.changed()
	return nil
}

func checkCrash(sc *Scenario, a Action) error {
	if at, ok := a.opt("at"); ok && !slices.Contains(boundaries, at) {
		return fmt.Errorf("at=%s", at)
	}
	if s, ok := a.opt("nth"); ok {
		if n, err := strconv.Atoi(s); err != nil || n < 1 {
			return fmt.Errorf("nth=%s", s)
		}
	}
	if s, ok := a.opt("restart"); ok {
		if _, err := duration(s); err != nil {
			return err
		}
	}
	return nodesAt(1, 1)(sc, a)
}

func doCrash(w *core, a Action) error {
	n := w.nodeOf(a.Args[0])
	if !n.up {
		return errDown
	}
	p := &crashPlan{nth: 1}
	if s, ok := a.opt("nth"); ok {
		p.nth, _ = strconv.Atoi(s)
	}
	if s, ok := a.opt("restart"); ok {
		p.restart, _ = duration(s)
	}
	n.crash = p
	if at, ok := a.opt("at"); ok {
		p.at = at
		return nil
	}
	n.die("")
	return nil
}

func doRestart(w *core, a Action) error {
	for _, name := range a.Args {
		n := w.nodeOf(name)
		n.crash = nil // a planned crash that did not happen
		if n.lost {
			continue // there is nothing to start
		}
		n.start()
	}
	return nil
}

func doBackup(w *core, a Action) error {
	w.backUp(w.nodeOf(a.Args[0]), "")
	return nil
}

// backUp copies the disk of a node.
func (w *core) backUp(n *cnode, name string) {
	b := map[int]*disk{}
	for _, s := range n.eachSeat() {
		b[s.g.index] = s.disk.clone()
	}
	n.backups[name] = b
	w.hist.mark(w, n, "backup", "")
}

func doRestore(w *core, a Action) error {
	n := w.nodeOf(a.Args[0])
	at, _ := a.opt("at")
	b := n.backups[at]
	if b == nil {
		return errors.New("there is no backup")
	}
	if n.up {
		n.die(a.Verb)
		w.hist.crashes--
	}
	if n.rolled = a.Verb == "rollback"; !n.rolled {
		n.inc = n.chance.Uint64()
	}
	for _, s := range n.eachSeat() {
		s.disk = newDisk()
		if old := b[s.g.index]; old != nil {
			if s.disk = old.clone(); a.Verb == "restore" {
				s.disk = old.backedUp()
			}
		}
		s.synced = map[*seat][2]int{}
		// The disk that held the messages accepted since then is gone.
		for _, x := range w.hist.sent {
			if x.Seat == s && s.disk.rows[fmt.Sprintf("plain/%x", x.ID[:])] == nil {
				x.Void = true
			}
		}
		s.recall()
		s.events = nil // notifications begin anew too
		s.position = wire.EpochID{}
	}
	n.lost = false
	n.start()
	return nil
}

func checkRestore(sc *Scenario, a Action) error {
	if at, ok := a.opt("at"); ok {
		if d, err := duration(at); err != nil || d > a.At {
			return fmt.Errorf("at=%s", at)
		}
	}
	return nodesAt(1, 1)(sc, a)
}

func checkClock(sc *Scenario, a Action) error {
	if len(a.Args) != 2 {
		return errors.New("two words")
	}
	if _, err := time.ParseDuration(a.Args[1]); err != nil {
		return err
	}
	a.Args = a.Args[:1]
	return nodesAt(1, 1)(sc, a)
}

func doClock(w *core, a Action) error {
	n := w.nodeOf(a.Args[0])
	n.skew, _ = time.ParseDuration(a.Args[1])
	n.furthest = max(n.furthest, n.skew)
	w.hist.mark(w, n, "clock", a.Args[1])
	for _, s := range n.eachSeat() {
		if s.m != nil {
			s.wake = time.Time{}
			s.plan()
		}
	}
	return nil
}

func doGossip(w *core, a Action) error {
	w.net.quiet = a.Args[0] == "off"
	return nil
}

func doLose(w *core, a Action) error {
	w.sit(w.nodeOf(a.Args[0]), w.groupOf(a)).dropped = a.count()
	return nil
}

func doChoke(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	for _, whom := range a.Args[1:] {
		o, err := w.seatOf(a, whom)
		if err != nil {
			return err
		}
		s.chokes = append(s.chokes, o)
	}
	return nil
}

func doScramble(w *core, a Action) error {
	to, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	from, err := w.seatOf(a, a.Args[1])
	if err != nil {
		return err
	}
	if from.m == nil {
		return errDown
	}
	all, _, err := from.m.EntriesAfter(from.n.dev.ID, nil, wire.EntryHash{}, 64<<20)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for range 3 {
		for _, e := range all {
			_, _ = to.step(group.Entries{Entries: [][]byte{e}})
		}
	}
	return nil
}
