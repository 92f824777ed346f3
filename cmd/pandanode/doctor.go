package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

func (a *app) doctorCmd() *cobra.Command {
	var (
		verify  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what keeps the node from working well",
		Long: `Check the configuration, the permissions of files, and the store and its disk. If the node
runs, also check peers, DHT, reachability, clock, groups and their limits. If no node runs,
the store is opened with its passphrase.

The result of each check is ok, warn, fail, or unknown if the node cannot tell. A check that
is not ok says what helps. The exit code is that of the first failure, and 0 if there are
only warnings.`,
		Example: "  pandanode doctor\n  pandanode doctor --json | jq '.findings[] | select(.health != \"ok\")'",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "read and authenticate every record of the store too")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long the node may take to answer; 0: for ever")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		ctx, cancel := waiting(ctx, timeout)
		defer cancel()
		findings := a.diagnose(ctx, verify)
		for i := range findings {
			findings[i].Hint = a.atHome(findings[i].Hint)
		}
		if err := a.show(api.Checkup{Findings: findings}, func() { a.printFindings(findings) }); err != nil {
			return err
		}
		return verdict(findings)
	})
	return cmd
}

// verdict is the error of the first failure.
func verdict(findings []api.Finding) error {
	var failed []string
	var first *api.Error
	for _, f := range findings {
		if f.Health != api.HealthFail {
			continue
		}
		if first == nil {
			first = api.Errorf(f.Code, "")
		}
		failed = append(failed, f.Check)
	}
	if first == nil {
		return nil
	}
	first.Message = "not well: " + strings.Join(failed, ", ")
	return first
}

func (a *app) printFindings(findings []api.Finding) {
	colours := map[api.Health]string{api.HealthOK: dim, api.HealthWarn: bold, api.HealthFail: red, api.HealthUnknown: dim}
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		fmt.Fprintf(a.out, "%s  %-*s  %s\n", a.paint(a.out, colours[f.Health], fmt.Sprintf("%-7s", f.Health)), width, f.Check, clean(f.Detail))
		if f.Hint != "" && f.Health != api.HealthOK {
			fmt.Fprintf(a.out, "%*s  hint: %s\n", len("unknown")+2+width, "", clean(f.Hint))
		}
	}
}

// diagnose runs all checks that can be run.
func (a *app) diagnose(ctx context.Context, verify bool) []api.Finding {
	paths, c, err := a.config(nil)
	if c.DataDir == "" {
		return []api.Finding{api.Failed("configuration", err)}
	}
	conf := api.HealthOK.Found("configuration", paths.File)
	if _, err := os.Stat(paths.File); errors.Is(err, fs.ErrNotExist) {
		conf.Detail = "there is no file; defaults, variables and flags say all"
	}
	if err != nil {
		conf = api.Failed("configuration", err)
	}
	out := []api.Finding{conf}
	if _, err := os.Stat(c.DataDir); err != nil {
		e := api.AsError(explain(err))
		if errors.Is(err, fs.ErrNotExist) {
			e = api.Errorf(api.CodeNotFound, "there is no node in %s", c.DataDir).WithHint("pandanode init")
		}
		return append(out, api.Failed("home", e))
	}
	out = append(out, homeFinding(c.DataDir), permissions(paths, c))
	socket, err := config.FindSocket(c.DataDir)
	if err == nil {
		client := api.NewClient(socket)
		defer client.Close()
		running, err := client.Version(ctx, api.Empty{})
		if err == nil {
			return append(out, a.ofRunning(ctx, client, running, verify)...)
		}
		if api.CodeOf(err) != api.CodeUnavailable {
			return append(out, api.Failed("node", err))
		}
	} else if !errors.Is(err, config.ErrNoSocket) {
		return append(out, api.Failed("node", explain(err)))
	}
	out = append(out, api.Finding{Check: "node", Health: api.HealthWarn, Detail: "it does not run: peers, DHT, reachability, clock and groups are not looked at", Hint: "pandanode run"})
	passphrase, wipe := wiped(a.passphrase(c, false))
	defer wipe()
	return append(out, node.CheckHome(ctx, c.DataDir, passphrase, c.KeyFile, verify)...)
}

// ofRunning returns the findings of a running node about itself, and whether its version
// fits this program.
func (a *app) ofRunning(ctx context.Context, client *api.Client, running api.Version, verify bool) []api.Finding {
	own := thisVersion()
	v := api.HealthOK.Found("version", own.Version)
	if running.Version != own.Version {
		v = api.Finding{Check: "version", Health: api.HealthWarn, Detail: fmt.Sprintf("the node runs %s, this program is %s", running.Version, own.Version), Hint: "pandanode stop, then pandanode run"}
	}
	r, err := client.Checkup(ctx, api.CheckupRequest{Verify: verify})
	if api.CodeOf(err) == api.CodeTimeout {
		err = api.Errorf(api.CodeTimeout, "the node runs but does not answer in time").WithHint("give it more with --timeout; if it still does not answer, start it again")
	}
	if err != nil {
		return []api.Finding{v, api.Failed("node", err)}
	}
	return append([]api.Finding{v}, r.Findings...)
}

// homeFinding says whether the home can be written.
func homeFinding(dir string) api.Finding {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return api.Failed("home", explain(err))
	}
	_ = f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return api.Failed("home", explain(err))
	}
	return api.HealthOK.Found("home", dir)
}

// permissions checks whether other users can read a secret, or write files that this node
// obeys. Other checks report missing files.
func permissions(paths config.Paths, c config.Config) api.Finding {
	const (
		reads  = 0o077 // of a secret: nobody else may read it
		writes = 0o022 // of a file that the node obeys: nobody else may write it
	)
	socket, _ := config.FindSocket(c.DataDir) // "" if no node has run
	var open, fixes []string
	for _, f := range []struct {
		path string
		not  fs.FileMode
	}{
		{c.DataDir, writes},
		{filepath.Join(c.DataDir, "store"), reads},
		{filepath.Join(c.DataDir, "store", "keys"), reads},
		{paths.File, writes},
		{c.KeyFile, reads},
		{c.PassphraseFile, reads},
		{socket, reads},
	} {
		st, err := os.Stat(f.path)
		if f.path == "" || err != nil || st.Mode().Perm()&f.not == 0 || !st.IsDir() && !st.Mode().IsRegular() && st.Mode()&fs.ModeSocket == 0 {
			continue
		}
		mode := "600"
		if st.IsDir() {
			mode = "700"
		}
		open = append(open, fmt.Sprintf("%s (%04o)", f.path, st.Mode().Perm()))
		fixes = append(fixes, fmt.Sprintf("chmod %s %s", mode, f.path))
	}
	if len(open) == 0 {
		return api.HealthOK.Found("permissions", "home, keys and socket are this user's alone")
	}
	slices.Sort(fixes)
	return api.Failed("permissions", api.Errorf(api.CodeNotPermitted, "other users of this machine can use %s", strings.Join(open, ", ")).WithHint("%s", strings.Join(slices.Compact(fixes), "; ")))
}
