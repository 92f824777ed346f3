package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change the configuration",
		Long: `Show and change the configuration. A value comes from the first of these that has it: a flag
of run, a variable PANDANODE_*, the file, the default.

A node takes up log.level, log.file and the hooks when it gets the signal HUP ("systemctl
reload"). Everything else needs a restart. Hooks are in the file alone: see "hook".`,
	}
	cmd.AddCommand(a.configShowCmd(), a.configGetCmd(), a.configSetCmd(), a.configUnsetCmd(), a.configEditCmd(), a.configValidateCmd(), a.configPathCmd(), a.configKeysCmd())
	return cmd
}

// setting is a key with its value.
type setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"` // a flag, a variable, FILE:LINE, or "default"

	literal string
}

func (a *app) setting(k config.Key, paths config.Paths, c config.Config) setting {
	return setting{Key: k.Path, Value: k.Value(c), Origin: k.Origin(paths, a.environ, nil), literal: k.Literal(c)}
}

func (a *app) configShowCmd() *cobra.Command {
	var origin bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every key with its value",
		Long: `Show every key with the value that a node would have that starts now without flags. With
--origin each also says where its value comes from: a variable, a line of the file, or the
default.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	cmd.RunE = does(func(context.Context, []string) error {
		paths, c, err := a.config(nil)
		if err != nil {
			return err
		}
		var all []setting
		for _, k := range config.Keys() {
			all = append(all, a.setting(k, paths, c))
		}
		if origin || a.json {
			return list(a, all, "KEY VALUE ORIGIN", func(s setting) []string { return []string{s.Key, s.literal, s.Origin} })
		}
		for _, s := range all {
			if _, err := fmt.Fprintf(a.out, "%s = %s\n", s.Key, clean(s.literal)); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

// knownKey finds the key that somebody means.
func knownKey(path string) (config.Key, error) {
	k, err := config.Lookup(path)
	if err != nil {
		return k, api.Errorf(api.CodeInvalid, "%v", err).WithHint("pandanode config keys")
	}
	return k, nil
}

func keyNames(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	for _, k := range config.Keys() {
		names = append(names, k.Path+"\t"+k.Help)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) configGetCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "get KEY",
		Short:             "Print the value of a key",
		Long:              `Print the value of a key as it is, for scripts. Each item of a list has a line of its own.`,
		Example:           "  pandanode config get log.level",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(keyNames),
		RunE: does(func(_ context.Context, args []string) error {
			k, err := knownKey(args[0])
			if err != nil {
				return err
			}
			paths, c, err := a.config(nil)
			if err != nil {
				return err
			}
			s := a.setting(k, paths, c)
			return a.show(s, func() {
				items, ok := s.Value.([]string)
				if !ok {
					items = []string{fmt.Sprint(s.Value)}
				}
				for _, it := range items {
					fmt.Fprintln(a.out, clean(it))
				}
			})
		}),
	}
}

func (a *app) configSetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Write the value of a key into the file",
		Long: `Write the value of a key into the configuration file. Comments and all other keys stay as they
are. Several values, or values with commas between them, are a list; "" is none. A value that
is not valid changes nothing.`,
		Example:           "  pandanode config set log.level debug\n  pandanode config set listen /ip4/0.0.0.0/udp/4001/quic-v1 /ip4/0.0.0.0/tcp/4001",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: first(keyNames),
		RunE: does(func(_ context.Context, args []string) error {
			k, err := knownKey(args[0])
			if err != nil {
				return err
			}
			if len(args) > 2 && !k.IsList() {
				return api.Errorf(api.CodeInvalid, "%s holds one value, not %d", k.Path, len(args)-1)
			}
			paths, err := a.paths()
			if err != nil {
				return err
			}
			if err := config.Set(paths, k, strings.Join(args[1:], ",")); err != nil {
				return a.misconfigured(err)
			}
			return a.configured(paths, k, func(s setting) string {
				if strings.HasPrefix(s.Origin, paths.File) {
					return ""
				}
				return fmt.Sprintf("%s goes before the file, so that a node does not have the new value", s.Origin)
			})
		}),
	}
}

func (a *app) configUnsetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "unset KEY",
		Short: "Take a key out of the file",
		Long: `Take a key out of the configuration file, so that it has its default again, and print its
value. Comments and all other keys stay as they are. A key that is not in the file is none to
take out, which is no error.`,
		Example:           "  pandanode config unset log.level",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(keyNames),
		RunE: does(func(_ context.Context, args []string) error {
			k, err := knownKey(args[0])
			if err != nil {
				return err
			}
			paths, err := a.paths()
			if err != nil {
				return err
			}
			found, err := config.Unset(paths, k)
			if err != nil {
				return a.misconfigured(err)
			}
			return a.configured(paths, k, func(s setting) string {
				switch {
				case !found:
					return fmt.Sprintf("%s is not in %s", k.Path, paths.File)
				case s.Origin != "default":
					return fmt.Sprintf("%s still sets it", s.Origin)
				}
				return ""
			})
		}),
	}
}

// configured shows a key whose line in the file was changed, with a remark about it if there is
// one, and how a running node takes the key up.
func (a *app) configured(paths config.Paths, k config.Key, remark func(setting) string) error {
	_, c, err := a.config(nil)
	if err != nil {
		return err
	}
	s := a.setting(k, paths, c)
	return a.show(s, func() {
		fmt.Fprintf(a.out, "%s = %s\n", s.Key, clean(s.literal))
		if text := remark(s); text != "" {
			a.note("%s", text)
		}
		if r := runnerOf(c.DataDir); r.Phase == phaseRunning {
			a.note("%s", takesUp(k, r.PID))
		}
	})
}

// takesUp says how a running node takes up another value of a key.
func takesUp(k config.Key, pid int) string {
	if k.Reloads() {
		return fmt.Sprintf("the running node takes it up with: kill -HUP %d", pid)
	}
	return "the running node takes it up when it is started again"
}

// paths are the places of this home; its configuration may be wrong.
func (a *app) paths() (config.Paths, error) {
	paths, err := config.Locate(a.home, a.getenv)
	if err != nil {
		return paths, configError(err)
	}
	return paths, explain(config.Trust(paths.File))
}

// misconfigured turns an error about the configuration into one for people, with the line
// that it is about.
func (a *app) misconfigured(err error) error {
	if e, ok := errors.AsType[*config.SyntaxError](err); ok && e.Text != "" {
		a.excerpt = e.Excerpt()
	}
	if errors.Is(err, config.ErrChanged) {
		return api.Errorf(api.CodeConflict, "%v", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return explain(err)
	}
	return configError(err)
}

func (a *app) configEditCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Change the file in an editor",
		Long: `Open a copy of the configuration file in the editor of VISUAL or EDITOR, else in vi. The copy
takes the place of the file when the editor ends, if it is valid. If it is not, the file stays
as it was, the mistake is shown, and the copy is kept.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			paths, err := a.paths()
			if err != nil {
				return err
			}
			was, err := os.ReadFile(paths.File)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("reading the configuration: %w", err)
			}
			copied, err := a.edited(ctx, paths.File, was)
			if err != nil {
				return err
			}
			now, err := os.ReadFile(filepath.Clean(copied))
			if err != nil {
				return fmt.Errorf("reading the copy: %w", err)
			}
			if string(now) == string(was) {
				a.note("nothing was changed")
				return os.Remove(copied)
			}
			if err = config.Check(config.Paths{File: copied, Data: paths.Data}, now); err == nil {
				err = config.Replace(paths, was, now)
			}
			if err != nil {
				a.note("the configuration stays as it was; what was written is in %s", copied)
				return a.misconfigured(err)
			}
			return os.Remove(copied)
		}),
	}
}

// edited has somebody edit a copy of a file, beside the file, and gives the path of the
// copy.
func (a *app) edited(ctx context.Context, path string, text []byte) (string, error) {
	editor := []string{"vi"}
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if words := strings.Fields(a.getenv(name)); len(words) > 0 {
			editor = words
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "config-*.toml") // mode 0600
	if err != nil {
		return "", fmt.Errorf("copying the configuration: %w", err)
	}
	copied := f.Name()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], copied)...) //nolint:gosec // the user's own editor
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = a.in, a.out, a.err, a.environ
		if err = cmd.Run(); err != nil {
			err = fmt.Errorf("the editor %s: %w", editor[0], err)
		}
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(copied))
	}
	return copied, nil
}

func (a *app) configValidateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Look for mistakes",
		Long: `Look for mistakes in the configuration: in the file and the variables, or in another FILE
alone. The exit code is 2 if there is one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: does(func(_ context.Context, args []string) error {
			if len(args) == 0 {
				paths, _, err := a.config(nil)
				if err != nil {
					return err
				}
				return a.valid(paths.File)
			}
			paths, err := config.Locate(a.home, a.getenv)
			if err != nil {
				return configError(err)
			}
			if paths.File, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			text, err := os.ReadFile(paths.File)
			if errors.Is(err, fs.ErrNotExist) {
				return api.Errorf(api.CodeNotFound, "there is no file %s", args[0])
			}
			if err != nil {
				return err
			}
			if err := config.Check(paths, text); err != nil {
				return a.misconfigured(err)
			}
			return a.valid(paths.File)
		}),
	}
}

func (a *app) valid(file string) error {
	return a.show(struct {
		File  string `json:"file"`
		Valid bool   `json:"valid"`
	}{file, true}, func() { fmt.Fprintf(a.out, "%s is valid\n", file) })
}

func (a *app) configPathCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "path",
		Short: "Print where the file is",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			paths, err := config.Locate(a.home, a.getenv)
			if err != nil {
				return configError(err)
			}
			return a.show(struct {
				File   string `json:"file"`
				Exists bool   `json:"exists"`
			}{paths.File, isThere(paths.File)}, func() { fmt.Fprintln(a.out, paths.File) })
		}),
	}
}

func (a *app) configKeysCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: "List the keys and what they mean",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			paths, err := config.Locate(a.home, a.getenv)
			if err != nil {
				return configError(err)
			}
			type known struct {
				Key      string `json:"key"`
				Variable string `json:"variable"`
				Flag     string `json:"flag"`
				Expects  string `json:"expects"`
				Default  any    `json:"default"`
				Reloads  bool   `json:"reloads"` // a running node takes it up
				Meaning  string `json:"meaning"`
			}
			def := config.Default(paths)
			var all []known
			for _, k := range config.Keys() {
				all = append(all, known{k.Path, k.Env(), "--" + k.Flag(), k.Expects(), k.Value(def), k.Reloads(), k.Help})
			}
			return list(a, all, "KEY VARIABLE MEANING", func(k known) []string { return []string{k.Key, k.Variable, k.Meaning} })
		}),
	}
}
