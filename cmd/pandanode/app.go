package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// app is one run of the command line, with its environment.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string // "NAME=value"

	program string // as it is typed; empty: pandanode

	home string // --home
	json bool   // --json

	clock func() time.Time // of progress; nil: time.Now

	hangups *hangups // nil: SIGHUP is not looked at

	firstPassphrase []byte // of a device that is made now: nobody is asked for it again

	args    []string        // all of them
	flags   *pflag.FlagSet  // of the command that runs
	excerpt [2]string       // of a configuration that is wrong: the line, and what points at the place
	done    <-chan struct{} // closed when somebody asks the command to end
}

// run carries out a command and gives its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	err := a.attempt(ctx, args)
	if err == nil {
		return api.ExitOK
	}
	a.complain(a.helping(err))
	return exitCode(ctx, err)
}

// attempt carries out a command. Nothing says its error yet.
func (a *app) attempt(ctx context.Context, args []string) error {
	a.args, a.done = args, ctx.Done()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*failure](err); !ours { // cobra's, about the arguments
		a.json = a.json || wantsJSON(args) // it may have looked at no flag yet
		err = api.Errorf(api.CodeInvalid, "%s", usage(cmd, err)).WithHint("%s --help", cmd.CommandPath())
	}
	return brokenOff(ctx, a.absent(err))
}

// wantsJSON says whether the arguments ask for JSON, of whatever command.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}

// usage turns cobra's error about the arguments of a command into words for people.
func usage(cmd *cobra.Command, err error) string {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		flag, value := "--"+bad.GetFlag().Name, bad.GetValue()
		switch bad.GetFlag().Value.Type() {
		case "duration":
			return fmt.Sprintf("%s: %q is no time such as 30s, 5m or 2h", flag, value)
		case "int", "int64", "uint64", "uint":
			return fmt.Sprintf("%s: %q is no whole number", flag, value)
		case "bool":
			return fmt.Sprintf("%s: %q is neither true nor false", flag, value)
		}
		return fmt.Sprintf("%s: %v", flag, bad.Unwrap())
	}
	text := err.Error()
	if word, ok := unknownWord(text); ok && cmd.HasSubCommands() {
		return fmt.Sprintf("%s has no command %q%s", cmd.CommandPath(), word, meant(cmd, word))
	}
	for _, count := range []string{"accepts ", "requires at ", unknownCommand} { // cobra's words on how many arguments there are
		if strings.HasPrefix(text, count) {
			return "that is not what the command wants: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
		}
	}
	if _, set, ok := strings.Cut(text, "none of the others can be; ["); ok { // cobra's words on flags that exclude each other
		set, _, _ = strings.Cut(set, "]")
		return "--" + strings.Join(strings.Fields(set), " and --") + " do not go together"
	}
	return text
}

// unknownCommand begins cobra's words on an argument where none, or a command, is wanted.
const unknownCommand = "unknown command "

// unknownWord is the argument that cobra says so of.
func unknownWord(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, unknownCommand)
	if !ok {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", false
	}
	word, err := strconv.Unquote(quoted)
	return word, err == nil
}

// meant asks for the commands that are called much like what was typed.
func meant(cmd *cobra.Command, typed string) string {
	cmd.SuggestionsMinimumDistance = 1
	if len(typed) > 4 {
		cmd.SuggestionsMinimumDistance = 2 // as of two letters that changed places
	}
	names := cmd.SuggestionsFor(typed)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", strings.Join(names, " or "))
}

// notNegative looks at the times among the flags that were given.
func notNegative(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if d, wrong := flags.GetDuration(f.Name); wrong == nil && d < 0 {
			err = fmt.Errorf("--%s: %v is less than no time", f.Name, d)
		}
	})
	return err
}

// needsCommand has each command that is there for others say so of an argument that is
// none of them. Left to itself, cobra shows the help and has the exit code be 0.
func needsCommand(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() && !c.Runnable() {
			c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		needsCommand(c)
	}
}

// helpsWithCommands has "help" say so of a command that there is not, as the command itself
// would. Left to itself, cobra shows the help of another one and has the exit code be 0.
func helpsWithCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.Run, help.RunE = nil, func(_ *cobra.Command, args []string) error {
		about, rest, _ := root.Find(args)
		if len(rest) > 0 {
			return &failure{api.Errorf(api.CodeInvalid, "%s has no command %q%s", about.CommandPath(), rest[0], meant(about, rest[0])).
				WithHint("%s --help", about.CommandPath())}
		}
		about.InitDefaultHelpFlag()
		return about.Help()
	}
}

func (a *app) root() *cobra.Command {
	var asked bool // for the version
	cmd := &cobra.Command{
		Use:   "pandanode",
		Short: "Group messaging without a server",
		Long: `pandanode is a node of a peer-to-peer network for encrypted group messaging.

Start here:
  pandanode                  on a terminal: set up this machine, start its node, read and write
  pandanode demo             watch three nodes find each other and talk

Or step by step:
  pandanode init             set up this machine as a device with an identity of its own
  pandanode run              run its node; the other commands talk to it
  pandanode group create tea found a group`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.flags = cmd.Flags()
			if a.home == "" && a.flags.Changed("home") {
				return errors.New("--home: it is empty: leave it out for the usual home")
			}
			return notNegative(a.flags)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked {
				return a.printVersion()
			}
			if a.wholeTerminal() {
				return does(func(ctx context.Context, _ []string) error { return a.begin(ctx) })(cmd, nil)
			}
			return cmd.Help()
		},
	}
	cmd.Flags().BoolVar(&asked, "version", false, "say which version this is")
	cmd.PersistentFlags().StringVar(&a.home, "home", "", "directory of everything of this node (default: PANDANODE_HOME, else the XDG directories)")
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON: one object per line")
	cmd.AddGroup(&cobra.Group{ID: "node", Title: "The node:"}, &cobra.Group{ID: "talk", Title: "Groups and messages:"}, &cobra.Group{ID: "rest", Title: "Configuration, store and backups:"})
	for _, c := range []*cobra.Command{a.initCmd(), a.runCmd(), a.unlockCmd(), a.stopCmd(), a.statusCmd(), a.doctorCmd(), a.idCmd(), a.nameCmd(), a.profileCmd(), a.peersCmd()} {
		c.GroupID = "node"
		cmd.AddCommand(c)
	}
	for _, c := range []*cobra.Command{a.configCmd(), a.backupCmd(), a.storeCmd(), a.passphraseCmd()} {
		c.GroupID = "rest"
		cmd.AddCommand(c)
	}
	for _, c := range append([]*cobra.Command{a.groupCmd(), a.chatCmd(), a.sendCmd(), a.tailCmd(), a.cursorCmd(), a.hookCmd(), a.mcpCmd(), a.readCmd(), a.searchCmd(), a.fileCmd(), a.whyCmd()}, append(a.sayingCmds(), a.peopleCmds()...)...) {
		c.GroupID = "talk"
		cmd.AddCommand(c)
	}
	web := a.webCmd()
	web.GroupID = "talk"
	cmd.AddCommand(web, a.demoCmd(), a.versionCmd(), a.manCmd(), a.debugCmd(), a.simCmd())
	for _, opens := range [][]string{{"doctor"}, {"backup", "create"}, {"store", "stat"}, {"store", "verify"}, {"store", "compact"}, {"passphrase", "change"}} {
		if c, _, err := cmd.Find(opens); err == nil { // always: they are constants
			unlockFlags(c.Flags())
		}
	}
	cmd.InitDefaultCompletionCmd()
	needsCommand(cmd)
	helpsWithCommands(cmd)
	a.completes(cmd)
	return cmd
}

// failure marks the error of a command, as opposed to one of cobra about its arguments.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// does turns a function into the body of a command.
func does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &failure{named(cmd, args, err)}
		}
		return nil
	}
}

// named replaces GROUP in the hint of an error by the group that the command was given, so
// that the hint can be typed as it is.
func named(cmd *cobra.Command, args []string, err error) error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || !strings.HasPrefix(e.Hint, "pandanode ") || !strings.Contains(e.Hint, "GROUP") { // else it may be about a group of that name
		return err
	}
	at := slices.Index(strings.Fields(cmd.Use), "GROUP") - 1
	if at < 0 || at >= len(args) {
		return err
	}
	return e.WithHint("%s", strings.ReplaceAll(e.Hint, "GROUP", word(args[at])))
}

// asks turns a function that needs the running node into the body of a command.
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

// config reads the configuration. Flags override the file; nil: the flags of the command. One
// that can be read and has a wrong value is returned with the error about it.
func (a *app) config(flags map[string]string) (config.Paths, config.Config, error) {
	if flags == nil && a.flags != nil {
		flags = givenFlags(a.flags)
	}
	paths, err := config.Locate(a.home, a.getenv)
	if err != nil {
		return paths, config.Config{}, configError(err)
	}
	if err := config.Trust(paths.File); err != nil {
		return paths, config.Config{}, explain(err)
	}
	c, wrong := config.Load(paths, a.environ, flags)
	if e, ok := errors.AsType[*config.SyntaxError](wrong); ok && e.Text != "" {
		a.excerpt = e.Excerpt()
	}
	if c.DataDir == "" {
		return paths, c, configError(wrong)
	}
	for _, path := range []string{c.DataDir, c.KeyFile, c.PassphraseFile, c.Log.File} {
		if path == "" {
			continue
		}
		if path, err = filepath.Abs(path); err == nil {
			err = config.Trust(path)
		}
		if err != nil {
			return paths, config.Config{}, explain(err)
		}
	}
	return paths, c, configError(wrong)
}

func configError(err error) error {
	if errors.Is(err, config.ErrInvalid) {
		return api.Errorf(api.CodeInvalid, "%v", err)
	}
	return err
}

// dataDir is where the store of the node is, for commands that talk to it: a running node took
// its configuration up before, so a wrong value in the file does not keep them from it.
func (a *app) dataDir() (string, error) {
	_, c, err := a.config(nil)
	if c.DataDir == "" {
		return "", err
	}
	return c.DataDir, nil
}

// client returns a client of the node that runs on this home.
func (a *app) client() (*api.Client, error) {
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	socket, err := config.FindSocket(dir)
	if errors.Is(err, config.ErrNoSocket) {
		return nil, api.Errorf(api.CodeUnavailable, "%s: %v", nobodyAnswers, err).Because(err)
	}
	if err != nil {
		return nil, explain(err)
	}
	return api.NewClient(socket), nil
}

// atHome rewrites commands in a text so that they work for this home when they are typed,
// also in a shell that does not have this one's PANDANODE_HOME.
func (a *app) atHome(commands string) string {
	home := a.home
	if home == "" {
		home = a.getenv("PANDANODE_HOME")
		if full, err := filepath.Abs(home); home != "" && err == nil {
			home = full
		}
	}
	program := word(cmp.Or(a.program, "pandanode"))
	if home != "" {
		program += " --home " + word(home)
	}
	return strings.ReplaceAll(commands, "pandanode ", program+" ")
}

// helping adds the home of this command to the hint of an error.
func (a *app) helping(err error) error {
	e := *api.AsError(err)
	e.Hint = a.atHome(e.Hint)
	return &e
}

// complain prints an error, for people or as JSON.
func (a *app) complain(err error) {
	e := api.AsError(err)
	if a.json {
		_ = lineTo(a.err, struct {
			Error *api.Error `json:"error"`
		}{e})
		return
	}
	fmt.Fprintf(a.err, "%s %s\n", a.paint(a.err, red, "pandanode:"), clean(e.Message))
	if e.Code == api.CodeInvalid && a.excerpt[0] != "" {
		fmt.Fprintf(a.err, "  %s\n  %s\n", clean(a.excerpt[0]), a.excerpt[1])
	}
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
	if w, ok := stream.(*written); ok {
		stream = w.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
