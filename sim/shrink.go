package sim

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Shrink reduces a failing scenario to a small one that fails in the same way: fewer
// actions, fewer nodes, fewer messages. It works by delta debugging (Zeller and Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input", 2002). The same way means that the
// first violation is of the same invariant and says the same, but for numbers and IDs; or
// that the first expectation that failed misses on the same side. A repair stays as long as
// the fault that it ends: else every failure shrinks to a cut that is never healed. Shrink
// plays at most tries runs, and gives nil if the scenario does not fail.
func Shrink(ctx context.Context, sc *Scenario, tries int, opt Options) (*Scenario, *Report, error) {
	quiet := opt
	quiet.Progress = nil
	first, err := Run(ctx, sc, quiet)
	if err != nil || first.OK() {
		return nil, first, err
	}
	s := &shrinker{ctx: ctx, opt: quiet, tell: opt.Progress, tries: tries, best: sc, report: first, wanted: first.failure()}
	for before := ""; before != s.best.String() && s.tries > 0; {
		before = s.best.String()
		s.actions()
		s.nodes()
		s.counts()
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	return s.best, s.report, nil
}

type shrinker struct {
	ctx    context.Context //nolint:containedctx // of one call
	opt    Options
	tell   func(format string, args ...any)
	tries  int
	wanted string
	best   *Scenario
	report *Report
}

// fails plays a smaller scenario, and takes it if it fails in the same way. One that nobody
// could read from a file is none: a join may be by an invite that was dropped.
func (s *shrinker) fails(c Scenario) bool {
	if len(s.report.Violations) > 0 {
		c.Expect = nil
	}
	if _, err := ParseBytes(c.Name, []byte(c.String())); err != nil {
		return false
	}
	if s.tries--; s.tries < 0 {
		return false
	}
	r, err := Run(s.ctx, &c, s.opt)
	if err != nil || r.failure() != s.wanted {
		return false
	}
	s.best, s.report = &c, r
	if s.tell != nil {
		s.tell("%d actions, %d nodes, %d runs left: %v", len(c.Actions), len(c.Nodes), s.tries, r.First())
	}
	return true
}

// with is the best scenario with other actions, without repairs of what is not broken.
func (s *shrinker) with(actions []Action) Scenario {
	c := *s.best
	c.Actions = needed(actions)
	return c
}

func (s *shrinker) actions() {
	if !s.fails(s.with(s.best.Actions)) {
		// It matters that somebody repairs what is whole: then all of that stays.
		s.reduce(func(actions []Action) Scenario {
			c := *s.best
			c.Actions = actions
			return c
		})
		return
	}
	s.reduce(s.with)
}

// reduce drops actions that are no repairs, many at once and then fewer.
func (s *shrinker) reduce(with func([]Action) Scenario) {
	for n := 2; s.tries > 0; {
		all := s.best.Actions
		var can []int // be dropped
		for i, a := range all {
			if !a.repairs() {
				can = append(can, i)
			}
		}
		if len(can) == 0 {
			return
		}
		n = min(n, len(can))
		size := (len(can) + n - 1) / n
		reduced := false
		for from := 0; from < len(can) && !reduced; from += size {
			out := can[from:min(from+size, len(can))]
			var rest []Action
			for i, a := range all {
				if !slices.Contains(out, i) {
					rest = append(rest, a)
				}
			}
			reduced = s.fails(with(rest))
		}
		switch {
		case reduced:
			n = max(n-1, 2)
		case n >= len(can):
			return
		default:
			n *= 2
		}
	}
}

// nodes drops nodes with all that is done to them.
func (s *shrinker) nodes() {
	for _, n := range slices.Backward(slices.Clone(s.best.Nodes)) {
		if c, ok := s.best.without(n.Name); ok && s.tries > 0 {
			s.fails(c)
		}
	}
}

// counts drops nodes from actions that name several, and sends less.
func (s *shrinker) counts() {
	for i := len(s.best.Actions) - 1; i >= 0; i-- {
		if i >= len(s.best.Actions) {
			continue
		}
		for j := len(s.best.Actions[i].Args) - 1; j >= 0 && len(s.best.Actions[i].Args) > 1; j-- {
			a := s.best.Actions[i]
			if a.repairs() || a.Args[j] == "|" {
				continue
			}
			a.Args = slices.Delete(slices.Clone(a.Args), j, j+1)
			if verbs[a.Verb].check(s.best, a) == nil {
				s.fails(s.with(replaced(s.best.Actions, i, a)))
			}
			if i >= len(s.best.Actions) {
				break
			}
		}
	}
	for i := range s.best.Actions {
		for n := s.best.Actions[i].count() / 2; n > 0; n /= 2 {
			a := s.best.Actions[i]
			a.Opts = slices.Clone(a.Opts)
			for j, o := range a.Opts {
				if strings.HasPrefix(o, "n=") {
					a.Opts[j] = fmt.Sprint("n=", n)
				}
			}
			c := *s.best
			c.Actions = replaced(s.best.Actions, i, a)
			if !s.fails(c) {
				break
			}
		}
	}
}

func replaced(actions []Action, i int, a Action) []Action {
	actions = slices.Clone(actions)
	actions[i] = a
	return actions
}

// without gives the scenario without a node; not if a group or a user needs it.
func (s *Scenario) without(name string) (Scenario, bool) {
	c := *s
	c.Nodes, c.Links, c.Actions, c.Expect = nil, nil, nil, nil
	for _, n := range s.Nodes {
		if n.Name != name {
			c.Nodes = append(c.Nodes, n)
		}
		if n.Name != name && n.User == name {
			return c, false
		}
	}
	if slices.ContainsFunc(s.Groups, func(g GroupDecl) bool { return g.Founder == name }) {
		return c, false
	}
	for _, l := range s.Links {
		if l.A != name && l.B != name {
			c.Links = append(c.Links, l)
		}
	}
	for _, e := range s.Expect {
		e.Nodes = slices.DeleteFunc(slices.Clone(e.Nodes), func(n string) bool { return n == name })
		c.Expect = append(c.Expect, e)
	}
	for _, a := range s.Actions {
		if slices.Contains(a.Args, name) {
			a.Args = dropped(a.Args, name)
		}
		if verbs[a.Verb].check(&c, a) == nil {
			c.Actions = append(c.Actions, a)
		}
	}
	return c, c.checkInvites() == nil
}

// dropped removes a word, and bars that then stand beside nothing.
func dropped(args []string, name string) (out []string) {
	for _, a := range args {
		if a == name || a == "|" && (len(out) == 0 || out[len(out)-1] == "|") {
			continue
		}
		out = append(out, a)
	}
	if n := len(out); n > 0 && out[n-1] == "|" {
		out = out[:n-1]
	}
	return out
}

// repairs says whether an action ends a fault.
func (a Action) repairs() bool {
	switch a.Verb {
	case "heal", "mend", "online", "restart":
		return true
	case "gossip":
		return a.Args[0] == "on"
	case "line":
		return len(a.Opts) == 0
	case "clock":
		return strings.Trim(a.Args[1], "+-") == "0s"
	}
	return false
}

// needed leaves out repairs of what is whole.
func needed(actions []Action) (out []Action) {
	type fault struct{ verb, who string }
	open := map[fault]bool{}
	// These take the nodes that they help one by one.
	ends := map[string]string{"online": "offline", "restart": "crash", "heal": "partition", "mend": "cut", "gossip": "gossip", "clock": "clock", "line": "line"}
	for _, a := range actions {
		who := a.Args
		switch a.Verb {
		case "heal", "partition", "gossip":
			who = []string{""}
		case "cut", "mend", "line":
			who = []string{strings.Join(a.Args, " ")}
		case "clock", "crash":
			who = a.Args[:1]
		}
		if !a.repairs() {
			for _, n := range who {
				open[fault{a.Verb, n}] = true
			}
			out = append(out, a)
			continue
		}
		var helped []string
		for _, n := range who {
			if f := (fault{ends[a.Verb], n}); open[f] {
				helped = append(helped, n)
				delete(open, f)
			}
		}
		if len(helped) == 0 {
			continue
		}
		if a.Verb == "online" || a.Verb == "restart" {
			a.Args = helped
		}
		out = append(out, a)
	}
	return out
}

// failure says in which way a run failed: two runs with one failure fail in the same way.
func (r *Report) failure() string {
	if len(r.Violations) > 0 {
		v := r.Violations[0]
		return fmt.Sprintf("%d %s: %s", v.Invariant, v.Group, kindOf(v.Detail))
	}
	if len(r.Unexpected) > 0 {
		return r.missed[0]
	}
	return ""
}

var (
	aNumber = regexp.MustCompile(`\b\d[\w.]*`)
	anID    = regexp.MustCompile(`\b(epoch N|at N|chose|chooses|shows|told of|user|vault) [0-9a-z]{8}\b`)
)

// kindOf is the detail of a violation without numbers, times and IDs. That something is
// none at all stays.
func kindOf(detail string) string {
	detail, _, _ = strings.Cut(detail, "\n") // of a panic, the stack may differ
	detail = aNumber.ReplaceAllStringFunc(detail, func(n string) string {
		if n == "0" {
			return n
		}
		return "N"
	})
	return anID.ReplaceAllString(detail, "$1 ID")
}

// First returns the first violation or failed expectation.
func (r *Report) First() string {
	if len(r.Violations) > 0 {
		return r.Violations[0].String()
	}
	if len(r.Unexpected) > 0 {
		return r.Unexpected[0]
	}
	return ""
}
