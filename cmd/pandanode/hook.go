package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

func (a *app) hookCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Look at the hooks, and mend one that fails",
		Long: `A hook runs a program, or tells an address, at each event of some kinds. Hooks are in the
configuration file alone, each in a section [[hook]] ("config edit"), and a running node takes
them up on SIGHUP:

  [[hook]]
  name = "desktop"
  on = ["message"]                  # or mention, member-added, join-requested ...
  groups = ["tea house"]            # names or IDs; without it all groups
  exec = ["notify-send", "news"]    # or url = "https://ntfy.example/topic"

The event comes as one line of JSON on stdin, or as the body of a POST. A hook succeeds by exit
code 0, or an answer of 200 to 299, within 30 seconds. Else it is tried again after 1 s, 2 s,
4 s and so on up to 1 h, and then it is parked. Nothing is passed over meanwhile, and each event
is run at least once: "id" is the same if one comes again.
`,
	}
	list := &cobra.Command{
		Use: "list", Short: "List the hooks and how they are", Args: cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			all, err := c.Hooks(ctx, api.Empty{})
			if err != nil {
				return err
			}
			if err := list(a, all.Hooks, "NAME STATE ON DOES WHY", func(h api.Hook) []string {
				return []string{h.Name, string(h.State), strings.Join(h.On, ","), h.Does, whyOf(h)}
			}); err != nil || a.json {
				return err
			}
			for _, h := range all.Hooks {
				if h.Hint != "" {
					a.note("%s", a.atHome(h.Hint))
				}
			}
			return nil
		}),
	}
	test := &cobra.Command{
		Use: "test NAME", Short: "Run a hook at an event that did not happen", Args: cobra.ExactArgs(1),
		Long: `Run a hook at an event of the kind "test", with "test": true, and say what became of it. The
exit code is 1 if it failed. What waits for the hook is not touched.`,
		Example:           "  pandanode hook test desktop",
		ValidArgsFunction: first(a.live(hookNames)),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			run, err := c.TestHook(ctx, api.HookRequest{Hook: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				if err := a.line(run); err != nil {
					return err
				}
			}
			if !run.OK {
				return api.Errorf(api.CodeInternal, "the hook %s failed: %s", run.Name, run.Why)
			}
			if !a.json {
				fmt.Fprintf(a.out, "%s succeeded within %v\n", run.Name, time.Duration(run.Took))
			}
			return nil
		}),
	}
	resume := &cobra.Command{
		Use: "resume NAME", Short: "Try a hook again that fails or is parked", Args: cobra.ExactArgs(1),
		Example:           "  pandanode hook resume desktop",
		ValidArgsFunction: first(a.live(hookNames)),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			h, err := c.ResumeHook(ctx, api.HookRequest{Hook: args[0]})
			if err != nil {
				return err
			}
			return a.show(h, func() { fmt.Fprintf(a.out, "%s goes on\n", h.Name) })
		}),
	}
	skip := &cobra.Command{
		Use: "skip NAME", Short: "Give up the event that a hook fails at", Args: cobra.ExactArgs(1),
		Long: `Give up the event that a hook fails at, and go on with the next one. The message stays in the
group; only the hook does not get it.`,
		Example:           "  pandanode hook skip desktop",
		ValidArgsFunction: first(a.live(hookNames)),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			s, err := c.SkipHook(ctx, api.HookRequest{Hook: args[0]})
			if err != nil {
				return err
			}
			return a.show(s, func() {
				fmt.Fprintf(a.out, "%s passes over the event %d of %s\n", s.Name, s.Cursor, clean(s.GroupName))
			})
		}),
	}
	cmd.AddCommand(list, test, resume, skip)
	return cmd
}

func whyOf(h api.Hook) string {
	if h.State == api.HookFailing {
		return fmt.Sprintf("%s; again at %s", h.Why, when(h.Next))
	}
	return h.Why
}

// hookNames are the hooks of the node.
func hookNames(ctx context.Context, c *api.Client, _ []string) (out []string) {
	all, err := c.Hooks(ctx, api.Empty{})
	if err != nil {
		return nil
	}
	for _, h := range all.Hooks {
		out = append(out, h.Name+"\t"+string(h.State))
	}
	return out
}

// hooking hands the hooks of the configuration to a node, also if they change before that is
// open.
type hooking struct {
	mu    sync.Mutex
	node  *node.Node
	hooks []config.Hook
}

// take takes up hooks. A node that has them already does nothing.
func (h *hooking) take(hooks []config.Hook) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks = hooks
	if h.node == nil {
		return nil
	}
	return h.node.SetHooks(hooks)
}

// open says which node it is.
func (h *hooking) open(n *node.Node) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.node = n
	return n.SetHooks(h.hooks)
}
