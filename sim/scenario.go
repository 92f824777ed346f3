package sim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// ErrScenario says that a scenario is not well-formed. The error that wraps it names the
// line.
var ErrScenario = errors.New("not a scenario")

// Scenario says what happens in a run: the devices, the links between them, and the actions
// and faults with their times. Together with a seed it fixes the run to the last bit.
// docs/SCENARIOS.md describes the text form.
type Scenario struct {
	Name    string // of the file
	Title   string // the first line of comment
	About   string // the lines of comment after it
	Seed    uint64
	Choice  string // "", or another fork choice, to measure: see [Choices]
	Nodes   []NodeDecl
	Groups  []GroupDecl
	Link    Link       // between any two nodes
	Links   []LinkDecl // between some
	Sync    time.Duration
	Run     time.Duration // from the first to the last moment
	Actions []Action      // by time, those of one time in the order of the file
	Expect  []Expectation

	again string // the command that runs it again, if its name does not do
}

// NodeDecl is a device. Devices with one User are one person's.
type NodeDecl struct{ Name, User string }

// GroupDecl is a group, made by its founder at the first moment.
type GroupDecl struct {
	Name, Founder string
	Policy        wire.Policy
	Retention     time.Duration // 0: the machine's default
}

// Link says how messages travel between two nodes.
type Link struct {
	Latency, Jitter          time.Duration // one way; jitter is added, uniform from 0
	Loss, Duplicate, Reorder float64       // probabilities; a reordered message comes up to 2 s late
	Overtake                 float64       // probability that the next envelope of a sender passes one inside its receiver
}

// LinkDecl is the link between two nodes.
type LinkDecl struct {
	A, B string
	Link Link
}

// Action is one line of a scenario that does something at a time.
type Action struct {
	At    time.Duration // since the first moment
	Group string        // "" for the first group
	Verb  string
	Args  []string // without those of the form key=value
	Opts  []string // those, sorted
}

// opt returns the value of a key among the options, which have the form key=value.
func (a Action) opt(key string) (string, bool) {
	for _, o := range a.Opts {
		if v, ok := strings.CutPrefix(o, key+"="); ok {
			return v, true
		}
	}
	return "", false
}

func (a Action) String() string {
	parts := []string{span(a.At)}
	if a.Group != "" {
		parts = append(parts, "in="+a.Group)
	}
	parts = append(parts, a.Verb)
	return strings.Join(append(append(parts, a.Args...), a.Opts...), " ")
}

// Expectation is a property of the run that the scenario demands beside the invariants.
type Expectation struct {
	What  string   // "members", "out", "role", or the name of a count
	Nodes []string // of members and out, and of role
	Role  wire.Role
	Op    string // of a count: = >= <=
	Count int
}

// met says whether a count is as expected.
func (e Expectation) met(got int) bool {
	switch e.Op {
	case ">=":
		return got >= e.Count
	case "<=":
		return got <= e.Count
	}
	return got == e.Count
}

func (e Expectation) String() string {
	if e.What == "role" {
		return fmt.Sprintf("expect role %s %v", e.Nodes[0], e.Role)
	}
	if e.Op == "" {
		return "expect " + e.What + " " + strings.Join(e.Nodes, " ")
	}
	return fmt.Sprintf("expect %s %s %d", e.What, e.Op, e.Count)
}

// span prints a duration without the zeros that time.Duration appends.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// String is the text form; Parse reads it back.
func (s *Scenario) String() string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSpace(s.Title+"\n"+s.About), "\n") {
		fmt.Fprintln(&b, strings.TrimSpace("# "+l))
	}
	fmt.Fprintf(&b, "seed %d\n", s.Seed)
	if s.Choice != "" {
		fmt.Fprintf(&b, "choice %s\n", s.Choice)
	}
	b.WriteString("nodes")
	for _, n := range s.Nodes {
		b.WriteString(" " + n.Name)
		if n.User != n.Name {
			b.WriteString("=" + n.User)
		}
	}
	b.WriteByte('\n')
	for _, g := range s.Groups {
		fmt.Fprintf(&b, "group %s founder=%s policy=%v", g.Name, g.Founder, g.Policy)
		if g.Retention != 0 {
			fmt.Fprintf(&b, " retention=%s", span(g.Retention))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "link %v\n", s.Link)
	for _, l := range s.Links {
		fmt.Fprintf(&b, "link %s-%s %v\n", l.A, l.B, l.Link)
	}
	fmt.Fprintf(&b, "sync every=%s\nrun %s\n", span(s.Sync), span(s.Run))
	for _, e := range s.Expect {
		fmt.Fprintln(&b, e)
	}
	for _, a := range s.Actions {
		fmt.Fprintln(&b, a)
	}
	return b.String()
}

func (l Link) String() string {
	s := fmt.Sprintf("latency=%s jitter=%s", span(l.Latency), span(l.Jitter))
	for _, p := range []struct {
		name string
		p    float64
	}{{"loss", l.Loss}, {"duplicate", l.Duplicate}, {"reorder", l.Reorder}, {"overtake", l.Overtake}} {
		if p.p != 0 {
			s += fmt.Sprintf(" %s=%s", p.name, strconv.FormatFloat(p.p, 'g', -1, 64))
		}
	}
	return s
}

// DefaultLink is a fair connection over the internet.
var DefaultLink = Link{Latency: 30 * time.Millisecond, Jitter: 40 * time.Millisecond}

// Parse reads a scenario and checks all that can be checked without running it:
// an unknown word, verb, option or node is an error.
func Parse(name string, r io.Reader) (*Scenario, error) {
	p := &parser{sc: &Scenario{Name: name, Link: DefaultLink, Sync: time.Minute, Seed: 1}, seen: map[string]bool{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("%w: %s:%d: %w", ErrScenario, name, n, err)
		}
	}
	if err := errors.Join(lines.Err(), p.finish()); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrScenario, name, err)
	}
	return p.sc, nil
}

type parser struct {
	sc   *Scenario
	last time.Duration
	body bool // something other than a comment was seen
	seen map[string]bool
}

func (p *parser) line(text string) error {
	text = strings.TrimSpace(text)
	if c, ok := strings.CutPrefix(text, "#"); ok {
		if c = strings.TrimSpace(c); !p.body && p.sc.Title == "" {
			p.sc.Title = c
		} else if !p.body {
			p.sc.About += c + "\n"
		}
		return nil
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = text[:i]
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	p.body = true
	if c := words[0][0]; c >= '0' && c <= '9' || c == '+' {
		return p.action(words)
	}
	once := map[string]bool{"seed": true, "choice": true, "nodes": true, "sync": true, "run": true}
	if once[words[0]] && p.seen[words[0]] {
		return fmt.Errorf("%s is there twice", words[0])
	}
	p.seen[words[0]] = true
	switch args := words[1:]; words[0] {
	case "seed":
		return p.one(args, func(s string) (err error) { p.sc.Seed, err = strconv.ParseUint(s, 10, 64); return err })
	case "choice":
		return p.one(args, p.sc.setChoice)
	case "run":
		return p.one(args, func(s string) (err error) { p.sc.Run, err = duration(s); return err })
	case "nodes":
		return p.nodes(args)
	case "group":
		return p.group(args)
	case "link":
		return p.link(args)
	case "sync":
		return options(args, map[string]func(string) error{"every": into(&p.sc.Sync)})
	case "expect":
		return p.expect(args)
	case "every":
		return p.every(args)
	}
	return fmt.Errorf("unknown word %q", words[0])
}

func (p *parser) one(args []string, set func(string) error) error {
	if len(args) != 1 {
		return fmt.Errorf("one value is wanted, not %d", len(args))
	}
	return set(args[0])
}

func duration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 3650 {
			return 0, fmt.Errorf("%q is no duration", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	return d, nil
}

func into(d *time.Duration) func(string) error {
	return func(s string) (err error) { *d, err = duration(s); return err }
}

func probability(p *float64) func(string) error {
	return func(s string) (err error) {
		*p, err = strconv.ParseFloat(s, 64)
		if err != nil || !(*p >= 0 && *p < 1) {
			return fmt.Errorf("%q is no probability below 1", s)
		}
		return nil
	}
}

// options reads key=value words.
func options(words []string, known map[string]func(string) error) error {
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		set := known[k]
		if !ok || set == nil {
			return fmt.Errorf("unknown option %q", w)
		}
		if err := set(v); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	return nil
}

// nodes reads names: anna, n1..n12, and phone=anna for another device of a user.
func (p *parser) nodes(args []string) error {
	for _, a := range args {
		name, user, ok := strings.Cut(a, "=")
		if !ok {
			user = ""
		}
		names := []string{name}
		if from, to, ok := strings.Cut(name, ".."); ok {
			stem := strings.TrimRight(from, "0123456789")
			lo, err1 := strconv.Atoi(from[len(stem):])
			hi, err2 := strconv.Atoi(strings.TrimPrefix(to, stem))
			if err := errors.Join(err1, err2); err != nil || hi < lo || hi-lo > 1<<16 {
				return fmt.Errorf("%q is no range of names", name)
			}
			names = nil
			for i := lo; i <= hi; i++ {
				names = append(names, fmt.Sprint(stem, i))
			}
		}
		for _, n := range names {
			if !isName(n) || p.sc.node(n) >= 0 {
				return fmt.Errorf("%q is no new name", n)
			}
			d := NodeDecl{Name: n, User: n}
			if user != "" {
				if p.sc.node(user) < 0 {
					return fmt.Errorf("%s: there is no node %q whose user it could share", a, user)
				}
				d.User = user
			}
			p.sc.Nodes = append(p.sc.Nodes, d)
		}
	}
	if len(p.sc.Nodes) == 0 {
		return errors.New("no nodes")
	}
	return nil
}

func isName(s string) bool {
	if s == "" || len(s) > 32 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

func (s *Scenario) node(name string) int {
	return slices.IndexFunc(s.Nodes, func(n NodeDecl) bool { return n.Name == name })
}

func (s *Scenario) groupIndex(name string) int {
	if name == "" {
		return 0
	}
	return slices.IndexFunc(s.Groups, func(g GroupDecl) bool { return g.Name == name })
}

func (p *parser) group(args []string) error {
	if len(args) == 0 || !isName(args[0]) || len(p.sc.Groups) > 0 && p.sc.groupIndex(args[0]) >= 0 {
		return errors.New("a group needs a new name")
	}
	g := GroupDecl{Name: args[0], Policy: wire.PolicyOpen}
	err := options(args[1:], map[string]func(string) error{
		"founder":   func(s string) error { g.Founder = s; return p.known(s) },
		"policy":    func(s string) (err error) { g.Policy, err = wire.ParsePolicy(s); return err },
		"retention": into(&g.Retention),
	})
	if err == nil && g.Founder == "" {
		err = errors.New("founder=NODE is missing")
	}
	p.sc.Groups = append(p.sc.Groups, g)
	return err
}

func (p *parser) known(name string) error {
	if p.sc.node(name) < 0 {
		return fmt.Errorf("there is no node %q", name)
	}
	return nil
}

func (p *parser) link(args []string) error {
	l := &p.sc.Link
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		a, b, _ := strings.Cut(args[0], "-")
		if err := errors.Join(p.known(a), p.known(b)); err != nil {
			return err
		}
		p.sc.Links = append(p.sc.Links, LinkDecl{A: a, B: b, Link: p.sc.Link})
		l, args = &p.sc.Links[len(p.sc.Links)-1].Link, args[1:]
	}
	return l.set(args)
}

// set reads what a link is like.
func (l *Link) set(args []string) error {
	return options(args, map[string]func(string) error{
		"latency": into(&l.Latency), "jitter": into(&l.Jitter),
		"loss": probability(&l.Loss), "duplicate": probability(&l.Duplicate), "reorder": probability(&l.Reorder), "overtake": probability(&l.Overtake),
	})
}

// counts lists the counts of group machines that an expectation can name; Report.count
// computes them.
var counts = []string{"records", "held", "owed", "lost", "forks", "epochs", "switches", "commits", "pathless", "removals", "crashes", "refused", "evidence", "twins", "destroyed", "edits", "deletes", "reactions", "expired", "erased", "back", "mailed", "files"}

// realCounts lists the counts of whole nodes; settled is the seconds from the last heal
// until all is at rest.
var realCounts = []string{"records", "lost", "settled"}

func (p *parser) expect(args []string) error {
	if len(args) == 0 {
		return errors.New("expect what?")
	}
	e := Expectation{What: args[0]}
	switch {
	case e.What == "members" || e.What == "out":
		e.Nodes = args[1:]
		for _, n := range e.Nodes {
			if err := p.known(n); err != nil {
				return err
			}
		}
	case e.What == "role":
		if len(args) != 3 || roles[args[2]] == 0 {
			return errors.New("it is: expect role NODE ROLE")
		}
		e.Nodes, e.Role = args[1:2], roles[args[2]]
		if err := p.known(args[1]); err != nil {
			return err
		}
	case (slices.Contains(counts, e.What) || slices.Contains(realCounts, e.What)) && len(args) == 3 && slices.Contains([]string{"=", ">=", "<="}, args[1]):
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		e.Op, e.Count = args[1], n
	default:
		return fmt.Errorf("%q is no expectation", strings.Join(args, " "))
	}
	p.sc.Expect = append(p.sc.Expect, e)
	return nil
}

// every D from A to B ACTION stands for the action at A, A+D … up to B.
func (p *parser) every(args []string) error {
	if len(args) < 6 || args[1] != "from" || args[3] != "to" {
		return errors.New("it is: every D from A to B VERB …")
	}
	var d, from, to time.Duration
	if err := errors.Join(into(&d)(args[0]), into(&from)(args[2]), into(&to)(args[4])); err != nil {
		return err
	}
	if d <= 0 || to < from || (to-from)/d > 10_000 {
		return errors.New("that is never, or too often")
	}
	for at := from; at <= to; at += d {
		if err := p.act(at, args[5:]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) action(words []string) error {
	rel := strings.HasPrefix(words[0], "+")
	at, err := duration(strings.TrimPrefix(words[0], "+"))
	if err != nil {
		return err
	}
	if rel {
		if at > math.MaxInt64-p.last {
			return errors.New("too late")
		}
		at += p.last
	}
	p.last = at
	return p.act(at, words[1:])
}

func (p *parser) act(at time.Duration, words []string) error {
	a := Action{At: at}
	if len(words) > 0 {
		if g, ok := strings.CutPrefix(words[0], "in="); ok {
			if a.Group, words = g, words[1:]; p.sc.groupIndex(g) < 0 {
				return fmt.Errorf("there is no group %q", g)
			}
		}
	}
	if len(words) == 0 {
		return errors.New("no verb")
	}
	a.Verb = words[0]
	for _, w := range words[1:] {
		if strings.Contains(w, "=") {
			a.Opts = append(a.Opts, w)
		} else {
			a.Args = append(a.Args, w)
		}
	}
	slices.Sort(a.Opts)
	v := verbs[a.Verb]
	if v == nil {
		return fmt.Errorf("unknown verb %q", a.Verb)
	}
	for _, o := range a.Opts {
		if k, _, _ := strings.Cut(o, "="); !slices.Contains(v.opts, k) {
			return fmt.Errorf("%s: unknown option %q; it is: %s", a.Verb, o, v.usage)
		}
	}
	if err := v.check(p.sc, a); err != nil {
		return fmt.Errorf("%s: %w; it is: %s", a.Verb, err, v.usage)
	}
	p.sc.Actions = append(p.sc.Actions, a)
	return nil
}

func (p *parser) finish() error {
	sc := p.sc
	slices.SortStableFunc(sc.Actions, func(a, b Action) int { return int(min(1, max(-1, a.At-b.At))) })
	switch {
	case sc.Title == "":
		return errors.New("the first line must be a comment that says what the scenario is about")
	case len(sc.Nodes) == 0, len(sc.Groups) == 0:
		return errors.New("it needs nodes and a group")
	case sc.Run == 0:
		return errors.New("it does not say how long to run")
	case sc.Sync < time.Second:
		return errors.New("sync every: at least 1s")
	case len(sc.Actions) > 0 && sc.Actions[len(sc.Actions)-1].At > sc.Run:
		return errors.New("an action lies after the end of the run")
	}
	return sc.checkInvites()
}

// ParseBytes is Parse of bytes.
func ParseBytes(name string, b []byte) (*Scenario, error) { return Parse(name, bytes.NewReader(b)) }
