package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

// version is set by the Makefile from git describe.
var version = "devel"

func thisVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return v
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  cobra.NoArgs,
		RunE:  does(func(context.Context, []string) error { return a.printVersion() }),
	}
}

func (a *app) printVersion() error {
	v := thisVersion()
	return a.show(v, func() { fmt.Fprintf(a.out, "pandanode %s %s %s/%s\n", v.Version, v.Go, v.OS, v.Arch) })
}

func (a *app) peersCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "List the connected peers",
		Args:  cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			p, err := c.Peers(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return list(a, p.Peers, "PEER SOURCE DIRECTION SINCE ADDRESS", func(p api.Peer) []string {
				addr := strings.Join(p.Addrs, ", ")
				if p.Limited {
					addr += " (relayed)"
				}
				return []string{p.ID, string(p.Source), string(p.Direction), when(p.Since), addr}
			})
		}),
	}
}

// stopPatience is how long a node may take to stop: it finishes answers that are under way,
// writes pending data, and closes the store.
const stopPatience = 30 * time.Second

func (a *app) stopCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the node",
		Long:  `Stop the node, and wait until it has ended.`,
		Args:  cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			switch r := runnerOf(dir); r.Phase {
			case phaseLocked:
				if ended, err := a.endLocked(ctx, dir, r.PID); ended || err != nil {
					return err
				}
				return api.Errorf(api.CodeLocked, "the node does not run yet: process %d waits for its passphrase", r.PID).
					WithHint("press Ctrl-C where it was started, or end process %d", r.PID)
			case phaseStarting:
				a.note("waiting for the node that starts (process %d)", r.PID)
				if err := a.waitWhile(ctx, dir, phaseStarting); err != nil {
					return err
				}
			case phaseNone, phaseRunning, phaseStopping:
			}
			if runnerOf(dir).Phase != phaseStopping {
				if err := a.shutdown(ctx); err != nil {
					return err
				}
			}
			return a.waitWhile(ctx, dir, phaseRunning, phaseStopping)
		}),
	}
}

// endLocked ends a process that waits for its passphrase on its socket. It is false if the
// process waits elsewhere, as on its terminal.
func (a *app) endLocked(ctx context.Context, dir string, pid int) (bool, error) {
	if s, err := a.statusOnce(ctx, api.StatusRequest{}); err != nil || !s.Locked || s.PID != pid {
		return false, nil //nolint:nilerr // it has no socket
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = terminate(p)
	}
	if err != nil {
		return false, fmt.Errorf("ending process %d: %w", pid, err)
	}
	return true, a.waitWhile(ctx, dir, phaseLocked, phaseStarting, phaseStopping)
}

// shutdown asks the node to stop.
func (a *app) shutdown(ctx context.Context) error {
	c, err := a.client()
	if err == nil {
		defer c.Close()
		_, err = c.Shutdown(ctx, api.Empty{})
	}
	if e := api.AsError(a.absent(err)); e != nil && e.Code == api.CodeUnavailable {
		return &told{e.WithHint("")} // nothing needs to be done
	}
	return err
}

// waitWhile waits until the process that runs the node of a data directory is in none of
// some phases.
func (a *app) waitWhile(ctx context.Context, dir string, phases ...phase) error {
	late := time.NewTimer(stopPatience)
	defer late.Stop()
	tick := time.NewTicker(claimPause)
	defer tick.Stop()
	for {
		r := runnerOf(dir)
		if !slices.Contains(phases, r.Phase) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return api.Errorf(api.CodeTimeout, "process %d is still %s after %v", r.PID, r.Phase, stopPatience)
		}
	}
}

func (a *app) statusCmd() *cobra.Command {
	var (
		level   string
		code    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the node's state, or wait for one",
		Long: `Show the node's state: its addresses, peers by the source that found them, groups, and
the level it has reached:

  ready   the store is open and the node listens
  online  a peer is connected and the DHT answers
  synced  every group has caught up with a connected member, or with a mailbox; what others
          have written since is not known, so the state says as of when the groups are known

With --wait the command ends when the level is reached. It also waits for a node that is
starting, locked or does not run yet, and says on stderr what it waits for. If --timeout is
over first, it says what is missing, and the exit code is 7. The state of a locked node is
shown, and the exit code is 6.`,
		Example: "  pandanode run --detach && pandanode status --wait online --timeout 30s",
		Args:    cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			if level != "" && !slices.Contains(api.Levels, api.Level(level)) {
				return api.Errorf(api.CodeInvalid, "--wait must be ready, online or synced, not %q", level)
			}
			s, err := a.status(ctx, api.Level(level), timeout)
			if err != nil {
				return err
			}
			if addr := dialable(s.Listen); code && addr != "" {
				if err := a.showQR(addr); err != nil {
					return err
				}
			}
			if err := a.show(s, func() { a.printStatus(s) }); err != nil || !s.Locked {
				return err
			}
			return api.Errorf(api.CodeLocked, "the node is locked: %s", s.Why).WithHint("pandanode unlock")
		}),
	}
	cmd.Flags().BoolVar(&code, "qr", false, "also draw an address of the node as a QR code, on stderr, for others' --bootstrap")
	cmd.Flags().StringVar(&level, "wait", "", "wait for a level: ready, online or synced")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: for ever")
	return cmd
}

// retryPause is the pause between two looks for a node that is not there yet.
const retryPause = 50 * time.Millisecond

// status asks for the state. With a level it waits for the node to appear and to reach the
// level, and says what it waits for whenever that changes.
func (a *app) status(ctx context.Context, level api.Level, timeout time.Duration) (api.Status, error) {
	if level == "" {
		return a.statusOnce(ctx, api.StatusRequest{})
	}
	dir, err := a.dataDir()
	if err != nil {
		return api.Status{}, err
	}
	start := time.Now()
	waits, cancel := waiting(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(retryPause)
	defer tick.Stop()
	said := ""
	say := func(what string) {
		if what != said {
			a.note("waiting: %s", clean(what))
			said = what
		}
	}
	for {
		left := time.Duration(0)
		if timeout != 0 {
			left = max(timeout-time.Since(start), time.Millisecond)
		}
		s, err := a.statusAt(ctx, level, left, say)
		e := api.AsError(a.absent(err))
		switch {
		case err == nil, ctx.Err() != nil:
			return s, err
		case e.Code != api.CodeUnavailable && e.Code != api.CodeLocked:
			return s, err
		case runnerOf(dir).Phase == phaseNone && !isDir(filepath.Join(dir, "store")):
			return s, e // and none will run
		}
		say(e.Message)
		select {
		case <-tick.C:
		case <-waits.Done():
			if ctx.Err() != nil {
				return s, context.Cause(ctx)
			}
			return s, api.Errorf(api.CodeTimeout, "not %s after %v: %s", level, timeout, e.Message).WithHint("%s", e.Hint)
		}
	}
}

// statusAt asks a running node for its state at a level; 0 is no limit.
func (a *app) statusAt(ctx context.Context, level api.Level, timeout time.Duration, say func(string)) (api.Status, error) {
	s, err := a.statusOnce(ctx, api.StatusRequest{})
	if err != nil {
		return s, err
	}
	missing := lacks(s, level)
	if missing == "" {
		return s, nil
	}
	say(fmt.Sprintf("not %s: %s", level, missing))
	return a.statusOnce(ctx, api.StatusRequest{Wait: level, Timeout: api.Duration(timeout)})
}

// lacks says what a node lacks for a level; empty: the node has reached it.
func lacks(s api.Status, level api.Level) string {
	for _, l := range s.Levels {
		if l.Level == level && !l.Reached {
			return l.Missing
		}
	}
	return ""
}

func (a *app) statusOnce(ctx context.Context, r api.StatusRequest) (api.Status, error) {
	c, err := a.client()
	if err != nil {
		return api.Status{}, err
	}
	defer c.Close()
	return c.Status(ctx, r)
}

func (a *app) printStatus(s api.Status) {
	var sources []string
	for _, k := range slices.Sorted(maps.Keys(s.Sources)) {
		if n := s.Sources[k]; n > 0 {
			sources = append(sources, fmt.Sprintf("%d %s", n, k))
		}
	}
	peers := fmt.Sprint(s.Peers)
	if len(sources) > 0 {
		peers += " (" + strings.Join(sources, ", ") + ")"
	}
	dht := english.Plural(s.DHT, "peer", "") + " in the routing table"
	if s.Peer == "" { // the store is not open, and so there is no node yet
		peers, dht = "", ""
	}
	levels := make([]string, len(s.Levels))
	for i, l := range s.Levels {
		levels[i] = string(l.Level) + " yes"
		switch {
		case !l.Reached:
			levels[i] = fmt.Sprintf("%s no: %s", l.Level, l.Missing)
		case !l.AsOf.IsZero():
			levels[i] += ": the groups are known as of " + when(l.AsOf)
		case l.Level == api.LevelSynced:
			levels[i] += ": no group here has other members that are known"
		}
	}
	pairs := []string{
		"name", s.Name, "user", s.User, "device", s.Device, "peer", s.Peer, "home", s.Home,
		"version", s.Version, "pid", fmt.Sprint(s.PID), "uptime", span(time.Duration(s.Uptime)),
	}
	pairs = append(pairs, column("listen", s.Listen)...)
	pairs = append(pairs, column("not on", s.Unheard)...)
	if s.Locked {
		pairs = append(pairs, "locked", s.Why)
	}
	if s.Clock != "" {
		pairs = append(pairs, "clock", s.Clock)
	}
	pairs = append(pairs, column("relay", s.Relays)...)
	pairs = append(pairs, "relays for", s.RelayFor, "peers", peers, "dht", dht, "metrics", s.Metrics)
	if m := s.Mailbox; m.Quota > 0 {
		each := lifetime(m.Lifetime)
		pairs = append(pairs, "mailbox", fmt.Sprintf("%s in %s, %s of %s, each kept for %v", english.Plural(m.Envelopes, "envelope", ""), english.Plural(m.Boxes, "box", ""),
			humanize.IBytes(uint64(m.Bytes)), humanize.IBytes(uint64(m.Quota)), &each)) //nolint:gosec // not negative
		if m.FileQuota > 0 {
			pairs = append(pairs, "its files", fmt.Sprintf("%s, %s of %s", english.Plural(m.Files, "file", ""), bytesOf(m.FileBytes), bytesOf(m.FileQuota)))
		}
	}
	pairs = append(pairs, column("no mail", s.Mailless)...)
	pairs = append(pairs, column("hooks", s.Hooks)...)
	pairs = append(pairs, column("people", s.Watch)...)
	pairs = append(pairs, "twin", s.Twin)
	pairs = append(pairs, column("level", levels)...)
	a.facts(pairs...)
	if len(s.Groups) > 0 {
		fmt.Fprintln(a.out)
		_ = a.printGroups(s.Groups)
	}
}

// column returns a name for the first value and blanks for the others.
func column(name string, values []string) []string {
	var out []string
	for _, v := range values {
		out = append(out, name, v)
		name = ""
	}
	return out
}
