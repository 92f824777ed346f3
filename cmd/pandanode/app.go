package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// app is one run of the command line, with the world it runs in.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string // "NAME=value"

	home string // --home
	json bool   // --json
}

// run carries out a command and gives its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return api.ExitOK
	}
	if _, ours := errors.AsType[*failure](err); !ours { // cobra's, about the arguments
		err = api.Errorf(api.CodeInvalid, "%v", err).WithHint("%s --help", cmd.CommandPath())
	}
	a.complain(err)
	return simCode(err, api.ExitCode(err))
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pandanode",
		Short: "Group messaging without a server",
		Long: `pandanode is a node of a peer-to-peer network for encrypted group messaging.

Start here:
  pandanode init             make this machine a device with an identity of its own
  pandanode run              run its node; the other commands talk to it
  pandanode group create tea found a group
  pandanode demo             watch three nodes do all of it`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	cmd.PersistentFlags().StringVar(&a.home, "home", "", "directory of everything of this node (default: PANDANODE_HOME, else the XDG directories)")
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON: one object per line")
	cmd.AddGroup(&cobra.Group{ID: "node", Title: "The node:"}, &cobra.Group{ID: "talk", Title: "Groups and messages:"}, &cobra.Group{ID: "rest", Title: "What is at rest:"})
	for _, c := range []*cobra.Command{a.initCmd(), a.runCmd(), a.stopCmd(), a.statusCmd(), a.doctorCmd(), a.idCmd(), a.peersCmd()} {
		c.GroupID = "node"
		cmd.AddCommand(c)
	}
	for _, c := range []*cobra.Command{a.backupCmd(), a.storeCmd(), a.passphraseCmd()} {
		c.GroupID = "rest"
		cmd.AddCommand(c)
	}
	for _, c := range []*cobra.Command{a.groupCmd(), a.sendCmd(), a.tailCmd(), a.whyCmd()} {
		c.GroupID = "talk"
		cmd.AddCommand(c)
	}
	cmd.AddCommand(a.demoCmd(), a.versionCmd(), a.debugCmd(), a.simCmd())
	return cmd
}

// failure marks the error of a command, as opposed to one of cobra about its arguments.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// does makes a function the body of a command.
func does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &failure{err}
		}
		return nil
	}
}

// asks makes a function that needs the running node the body of a command.
func (a *app) asks(f func(ctx context.Context, c *api.Client, args []string) error) func(*cobra.Command, []string) error {
	return does(func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return f(ctx, c, args)
	})
}

func (a *app) getenv(name string) string {
	for _, v := range a.environ {
		if k, text, _ := strings.Cut(v, "="); k == name {
			return text
		}
	}
	return ""
}

// config reads the configuration; flags go before the file.
func (a *app) config(flags map[string]string) (config.Paths, config.Config, error) {
	paths, err := config.Locate(a.home, a.getenv)
	if err != nil {
		return paths, config.Config{}, configError(err)
	}
	c, err := config.Load(paths, a.environ, flags)
	if err != nil {
		return paths, c, configError(err)
	}
	return paths, c, nil
}

func configError(err error) error {
	if errors.Is(err, config.ErrInvalid) {
		return api.Errorf(api.CodeInvalid, "%v", err)
	}
	return err
}

// client gives a client of the node that runs on this home.
func (a *app) client() (*api.Client, error) {
	paths, c, err := a.config(nil)
	if err != nil {
		return nil, err
	}
	socket, err := config.FindSocket(c.DataDir)
	if errors.Is(err, config.ErrNoSocket) {
		e := api.Errorf(api.CodeUnavailable, "no node is running: %v", err).WithHint("pandanode run")
		if _, err := os.Stat(paths.File); err != nil {
			e = e.WithHint("pandanode init, then pandanode run")
		}
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return api.NewClient(socket), nil
}

// complain prints an error, for people or as JSON.
func (a *app) complain(err error) {
	e := api.AsError(err)
	if a.json {
		_ = json.NewEncoder(a.err).Encode(struct {
			Error *api.Error `json:"error"`
		}{e})
		return
	}
	fmt.Fprintf(a.err, "%s %s\n", a.paint(a.err, red, "pandanode:"), clean(e.Message))
	for _, c := range e.Candidates {
		fmt.Fprintf(a.err, "  %s  %s\n", c.ID, clean(c.Name))
	}
	if e.Hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", clean(e.Hint))
	}
}

// waiting ends ctx after the time of a --timeout flag; 0 is no limit.
func waiting(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
