package sim

import (
	"context"
	"slices"
)

// Shrink reduces the actions of a failing scenario to few that still violate the
// same invariant, by delta debugging (Zeller and Hildebrandt, "Simplifying and
// Isolating Failure-Inducing Input", 2002): the result fails, and without any one
// of its actions it does not. It plays at most tries runs, and gives nil if the
// scenario does not fail.
func Shrink(ctx context.Context, sc *Scenario, tries int, opt Options) (*Scenario, *Report, error) {
	quiet := opt
	quiet.Progress = nil
	first, err := Run(ctx, sc, quiet)
	if err != nil || first.OK() {
		return nil, first, err
	}
	wanted := map[string]bool{}
	for _, v := range first.Violations {
		wanted[v.Name] = true
	}
	best, report := sc, first
	fails := func(actions []Action) bool {
		if tries--; tries < 0 {
			return false
		}
		c := *sc
		c.Actions, c.Expect = actions, nil
		if len(first.Violations) == 0 {
			c.Expect = sc.Expect // only an expectation failed
		}
		r, err := Run(ctx, &c, quiet)
		if err != nil || r.OK() {
			return false
		}
		if len(wanted) > 0 && !slices.ContainsFunc(r.Violations, func(v Violation) bool { return wanted[v.Name] }) {
			return false
		}
		best, report = &c, r
		if opt.Progress != nil {
			opt.Progress("%d actions, %d runs left: %v", len(actions), tries, r.First())
		}
		return true
	}
	actions := slices.Clone(sc.Actions)
	for n := 2; len(actions) > 0; {
		n = min(n, len(actions))
		size := (len(actions) + n - 1) / n
		reduced := false
		for from := 0; from < len(actions); from += size {
			rest := slices.Concat(actions[:from], actions[min(from+size, len(actions)):])
			if fails(rest) {
				actions, n, reduced = rest, max(n-1, 2), true
				break
			}
		}
		switch {
		case reduced:
		case n >= len(actions) || tries <= 0:
			return best, report, nil
		default:
			n *= 2
		}
	}
	return best, report, nil
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
