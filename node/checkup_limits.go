package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// nearLimit is the share of a bound from which on a group nears it: there is time to do
// something while it grows to twice its size.
const nearLimit = 0.5

// fullest is the group that uses most of one of its bounds.
type fullest struct {
	title string
	limit group.Limit
}

// checkLimits says whether a group nears a bound.
func checkLimits(ctx context.Context, all []*groupSession) api.Finding {
	var near fullest
	for _, g := range all {
		limits, err := lookAt(ctx, g, group.Limits)
		if err != nil {
			return api.Failed("limits", APIError(err))
		}
		if l := mostUsed(limits); l.Share() > near.limit.Share() || near.title == "" {
			near = fullest{g.titled(ctx), l}
		}
	}
	return near.finding()
}

// mostUsed gives the bound of which most is used.
func mostUsed(limits []group.Limit) group.Limit {
	return slices.MaxFunc(limits, func(a, b group.Limit) int {
		if a.Share() < b.Share() {
			return -1
		}
		return 1
	})
}

// finding says how near that is.
func (f fullest) finding() api.Finding {
	const check = "limits"
	if f.title == "" {
		return api.HealthOK.Found(check, "there is no group that could grow too large")
	}
	used := fmt.Sprintf("%.0f %% of what it can have of logs", 100*f.limit.Share())
	if f.limit.Name == group.LimitPath {
		used = fmt.Sprintf("%.0f %% of what a COMMIT can hold", 100*f.limit.Share())
	}
	if f.limit.Share() < nearLimit {
		return api.HealthOK.Found(check, "no group nears a limit; nearest is "+f.title+", which takes "+used)
	}
	out := api.Finding{Check: check, Health: api.HealthWarn}
	if f.limit.Name == group.LimitPath {
		out.Detail = fmt.Sprintf("%s takes %s: at 100 %% nobody is added until devices have renewed their keys", f.title, used)
		out.Hint = "devices that are online renew them by themselves; remove members and devices that are gone for good"
		return out
	}
	out.Detail = fmt.Sprintf("%s takes %s: %s of %s. Beyond that devices do not tell each other of all they have", f.title, used, humanize.Comma(int64(f.limit.Used)), humanize.Comma(int64(f.limit.Most)))
	out.Hint = "found a second group for a part of the members"
	return out
}
