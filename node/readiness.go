package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group"
)

// Level is how far the node is in taking part; each includes those before it.
type Level int

// Levels.
const (
	LevelReady  Level = iota // the store is open and the node listens; groups may still be loading, and what needs one waits for it
	LevelOnline              // a peer is connected, and the DHT has one
	LevelSynced              // every group is caught up with a connected member, or with a mailbox of the group
)

// Missing says why a level is not reached, for people; empty: it is.
func (n *Node) Missing(ctx context.Context, level Level) (string, error) {
	select {
	case <-n.life.done:
		return "", ErrClosed
	default:
	}
	if level >= LevelOnline {
		switch {
		case len(n.host.Network().Peers()) == 0:
			return "no peer is connected", nil
		case n.directory.dht.Size() == 0:
			return "no connected peer serves the DHT", nil
		}
	}
	if level < LevelSynced {
		return "", nil
	}
	if looking := n.groups.looking(); looking > 0 {
		return fmt.Sprintf("%d groups that are to be joined are not found yet", looking), nil
	}
	for _, g := range n.groups.all() {
		if n.groups.get(g.id) != g {
			continue // it was forgotten
		}
		if !g.loop.opened.Load() {
			return fmt.Sprintf("group %v is being loaded", g.id), nil
		}
		st, err := g.status(ctx)
		if errors.Is(err, ErrClosed) && n.groups.get(g.id) != g {
			continue
		}
		if err != nil {
			return "", err
		}
		if st.State == group.StateMember {
			if sure, err := g.joiner.sure(ctx, st); err != nil {
				return "", err
			} else if !sure {
				return fmt.Sprintf("group %v: %s", g.id, unsure), nil
			}
		}
		if missing := g.missing(st); missing != "" {
			return fmt.Sprintf("group %v: %s", g.id, missing), nil
		}
	}
	return "", nil
}

// tablePoll is how often Wait looks at the DHT's routing table, which tells nobody
// when it grows. Everything else wakes Wait by itself.
const tablePoll = 500 * time.Millisecond

// Wait returns when a level is reached, or with the error of ctx.
func (n *Node) Wait(ctx context.Context, level Level) error {
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
		return fmt.Sprintf("%d messages cannot be read yet", st.Gaps)
	case st.Outbox > 0:
		return fmt.Sprintf("%d own messages are not published yet", st.Outbox)
	case st.Members > 1 && !g.scheduler.inContact() && !g.mail.inContact():
		return g.unmet()
	}
	return ""
}
