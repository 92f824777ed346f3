package main

import (
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

func (a *app) webCmd() *cobra.Command {
	var open, only bool
	link := a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
		l, err := c.OpenWeb(ctx, api.Empty{})
		if err != nil {
			return err
		}
		if open || !only && !a.json && a.hasScreen() {
			if err := a.browse(ctx, l); err != nil {
				if open {
					return err
				}
				a.note("no browser could be started: %v", err)
			}
		}
		return a.show(l, func() {
			fmt.Fprintln(a.out, l.URL)
			a.note("this link logs in one browser, once, until %s", l.Expires.Local().Format("15:04:05"))
		})
	})
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Use the node in a browser of this machine",
		Long: `Have the node serve its page on 127.0.0.1, and print a link that opens it. The link logs in one
tab of one browser, once, within a minute. Give it to nobody: whoever opens it acts as you.

Where a browser can be started, it is started with the link, and the link is printed, too.
--open starts one in any case, and then fails if there is none; --print starts none. On a
terminal, a node that does not run is started, and a device that is not there is made, as
"pandanode" alone does.

The tab stays logged in while it is used: 12 hours after the last use, 7 days after the first,
or when the node ends, it is over. "pandanode web sessions" lists the tabs that are logged in,
"pandanode web end" logs one out. Nothing is served once nobody is logged in.`,
		Example: "  pandanode web\n  ssh -L 8300:127.0.0.1:8300 host   # with web.port = 8300; then, on host: pandanode web --print",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.wholeTerminal() {
				if err := does(func(ctx context.Context, _ []string) error { return a.haveNode(ctx) })(cmd, nil); err != nil {
					return err
				}
			}
			return link(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&open, "open", false, "start a browser in any case")
	cmd.Flags().BoolVar(&only, "print", false, "start no browser")
	cmd.MarkFlagsMutuallyExclusive("open", "print")
	cmd.AddCommand(a.webSessionsCmd(), a.webEndCmd())
	return cmd
}

func (a *app) webSessionsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "sessions",
		Short: "List the browsers that are logged in",
		Args:  cobra.NoArgs,
		RunE: a.asks(func(ctx context.Context, c *api.Client, _ []string) error {
			s, err := c.WebSessions(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return list(a, s.Sessions, "SESSION BEGAN USED UNTIL BROWSER", func(s api.WebSession) []string {
				return []string{s.ID, when(s.Began), when(s.Used), when(s.Expires), s.Browser}
			})
		}),
	}
}

func (a *app) webEndCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "end [SESSION]",
		Short: "Log a browser out",
		Long: `Log a browser out: "pandanode web sessions" shows the sessions. With --all every browser is
logged out, links that nobody opened yet are void, and the page is served no more.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			if all == (len(args) == 1) {
				return api.Errorf(api.CodeInvalid, "give a session or --all, one of the two").WithHint("pandanode web sessions")
			}
			if all {
				s, err := c.CloseWeb(ctx, api.Empty{})
				if err != nil {
					return err
				}
				return a.show(s, func() { fmt.Fprintf(a.out, "%d logged out; the page is served no more\n", len(s.Sessions)) })
			}
			s, err := c.EndWebSession(ctx, api.WebSessionRequest{Session: args[0]})
			if err != nil {
				return err
			}
			return a.show(s, func() { fmt.Fprintf(a.out, "%s is logged out\n", s.ID) })
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "log out every browser")
	return cmd
}

// hasScreen says whether a browser that is started would be seen by whoever typed the
// command.
func (a *app) hasScreen() bool {
	if !isTerminal(a.out) || a.getenv("SSH_CONNECTION") != "" {
		return false
	}
	return runtime.GOOS == "darwin" || runtime.GOOS == "windows" || a.getenv("DISPLAY")+a.getenv("WAYLAND_DISPLAY") != ""
}

// browse starts a browser with a link. Other users can read the arguments of a process, so the
// browser gets a file of this user alone that leads there.
func (a *app) browse(ctx context.Context, l api.WebLogin) error {
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "web.html")
	text := fmt.Sprintf("<!doctype html><meta charset=utf-8><meta name=referrer content=no-referrer><meta http-equiv=refresh content=\"0; url=%s\"><title>pandanode</title>\n", html.EscapeString(l.URL))
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("replacing the file with the link: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the link for the browser: %w", err)
	}
	starts := map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}[runtime.GOOS]
	if starts == nil {
		starts = []string{"xdg-open"}
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(wait, starts[0], append(starts[1:], path)...).CombinedOutput(); err != nil { //nolint:gosec // the three above
		return api.Errorf(api.CodeNotFound, "%s started no browser: %v: %.100s", starts[0], err, clean(string(out))).WithHint("pandanode web --print")
	}
	return nil
}
