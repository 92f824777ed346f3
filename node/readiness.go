package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// Missing says why a level is not reached, for people; empty: it is. Errors: ErrInvalid for a
// level that is none of api.Levels.
func (n *Node) Missing(ctx context.Context, level api.Level) (string, error) {
	return n.lacks(ctx, level, func(g *groupSession) string { return g.titled(ctx) })
}

// lacks is Missing with what groups are called.
func (n *Node) lacks(ctx context.Context, level api.Level, title func(*groupSession) string) (string, error) {
	select {
	case <-n.life.done:
		return "", ErrClosed
	default:
	}
	if !slices.Contains(api.Levels, level) {
		return "", fmt.Errorf("%w: there is no level %q", ErrInvalid, level)
	}
	if level != api.LevelReady {
		switch {
		case len(n.host.Network().Peers()) == 0:
			return "no peer is connected", nil
		case n.directory.dht.Size() == 0:
			return "no connected peer serves the DHT", nil
		}
	}
	if level != api.LevelSynced {
		return "", nil
	}
	if looking := n.groups.looking(); looking > 0 {
		return fmt.Sprintf("%s to be joined %s not found yet", english.Plural(looking, "group", ""), english.PluralWord(looking, "is", "are")), nil
	}
	for _, g := range n.groups.all() {
		if n.groups.get(g.id) != g {
			continue // it was forgotten
		}
		if !g.loop.opened.Load() {
			return fmt.Sprintf("group %s is being loaded", title(g)), nil
		}
		st, err := g.status(ctx)
		if errors.Is(err, ErrNoGroup) {
			continue
		}
		if err != nil {
			return "", err
		}
		if st.State == group.StateMember {
			if sure, err := g.joiner.sure(ctx, st); err != nil {
				return "", err
			} else if !sure {
				return fmt.Sprintf("group %s: %s", title(g), unsure), nil
			}
		}
		if missing := g.missing(st); missing != "" {
			return fmt.Sprintf("group %s: %s", title(g), missing), nil
		}
	}
	return "", nil
}

// tablePoll is how often Wait looks at the DHT's routing table, which tells nobody
// when it grows. Everything else wakes Wait by itself.
const tablePoll = 500 * time.Millisecond

// Wait returns when a level is reached, or with the error of ctx, which then says what is
// missing. Errors: also ErrInvalid; ErrClosed; all have a code (api.CodeOf).
func (n *Node) Wait(ctx context.Context, level api.Level) error { return APIError(n.wait(ctx, level)) }

func (n *Node) wait(ctx context.Context, level api.Level) error {
	table := time.NewTicker(tablePoll)
	defer table.Stop()
	for {
		changed := n.changed.wait()
		missing, err := n.Missing(ctx, level)
		if err != nil {
			return err
		}
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-table.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", missing, ctx.Err())
		case <-n.life.done:
			return ErrClosed
		}
	}
}

// missing says what keeps a group from being caught up; a group that this device
// has left lacks nothing.
func (g *groupSession) missing(st group.Status) string {
	switch {
	case st.State == group.StateOut || g.joiner.hasEnded() != "" && st.State == group.StateNew:
		return "" // the group is not to be caught up with
	case st.State != group.StateMember:
		return "this device is " + string(st.State)
	case st.Gaps > 0:
		return english.Plural(st.Gaps, "message", "") + " cannot be read yet"
	case st.Outbox > 0:
		return fmt.Sprintf("%s %s not published yet", english.Plural(st.Outbox, "own message", ""), english.PluralWord(st.Outbox, "is", "are"))
	case st.Members > 1 && !g.scheduler.inContact() && !g.mail.inContact():
		return g.unmet()
	}
	return ""
}

// titled is how people are told of a group: by its name, if that is known now, and the first
// characters of its ID, since others may have the same name.
func (g *groupSession) titled(ctx context.Context) string {
	short := api.Short(g.id.String())
	name := ""
	if g.loop.opened.Load() {
		name, _ = g.called(ctx) // without it the ID alone will do
	}
	if info := g.n.directory.known.Get(g.id); info != nil && name == "" {
		name = info.Name
	}
	if name == "" {
		return short
	}
	return fmt.Sprintf("%q (%s)", name, short)
}
