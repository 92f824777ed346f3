package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

//go:embed pandanode.7.md
var overview string

func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Long: `Write the manual pages into a directory, which is made if it is not there: one page for each
command in section 1, pandanode.toml(5) about the configuration, and pandanode(7), to begin
with. They are dated by SOURCE_DATE_EPOCH, or else by the commit that this program was built
from, so that the same program writes the same pages.`,
		Example: "  pandanode man man && man man/pandanode.7",
		Args:    cobra.ExactArgs(1),
		RunE: does(func(_ context.Context, args []string) error {
			if args[0] == "" {
				return api.Errorf(api.CodeInvalid, "the directory has an empty name").WithHint("pandanode man man")
			}
			date, err := a.dateOfProgram()
			if err != nil {
				return err
			}
			return a.writeMan(args[0], date)
		}),
	}
}

func (a *app) writeMan(dir string, date time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // manual pages are for everybody
		return err
	}
	root := a.root()
	literally(root)
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Date: &date, Source: "pandanode " + version, Manual: "pandanode"}, dir); err != nil {
		return err
	}
	for _, page := range []struct{ name, section, text string }{{"pandanode.toml", "5", configPage()}, {"pandanode", "7", overview}} {
		head := fmt.Sprintf("%% %q %q %q %q \"pandanode\"\n\n", strings.ToUpper(page.name), page.section, date.Format("Jan 2006"), "pandanode "+version)
		file := filepath.Join(dir, page.name+"."+page.section)
		if err := os.WriteFile(file, md2man.Render([]byte(head+page.text)), 0o644); err != nil { //nolint:gosec // the same
			return err
		}
	}
	return nil
}

// dateOfProgram is the date of the manual pages.
func (a *app) dateOfProgram() (time.Time, error) {
	if epoch := a.getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		var seconds int64
		if _, err := fmt.Sscan(epoch, &seconds); err != nil {
			return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q and no number of seconds", epoch)
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t.UTC(), nil
			}
		}
	}
	return time.Now().UTC(), nil
}

// literally has the texts of all commands come out of Markdown as they are in --help.
func literally(cmd *cobra.Command) {
	cmd.Long = markdown(cmd.Long)
	cmd.DisableAutoGenTag = true
	for _, c := range cmd.Commands() {
		literally(c)
	}
}

var special = regexp.MustCompile("[\\\\`*_<>\\[\\]#|]")

// markdown escapes what Markdown would read otherwise, and keeps lines that stand in.
func markdown(text string) string {
	var b strings.Builder
	in := false
	for line := range strings.Lines(text) {
		if is := strings.HasPrefix(line, "  "); is {
			if !in {
				b.WriteByte('\n')
			}
			b.WriteString("    " + strings.TrimPrefix(line, "  "))
			in = true
			continue
		} else if in && strings.TrimSpace(line) != "" {
			b.WriteByte('\n')
		}
		in = false
		b.WriteString(special.ReplaceAllString(line, `\$0`))
	}
	return b.String()
}

const hookPage = `Each section [[hook]] is a hook. It has these keys, and no variable or flag:

  name         its name, under which the node keeps where it is
  on           kinds of events: message (the default), mention, message-changed, member-added,
               member-removed, member-left, joined, out, role, profile, setting, join-requested,
               join-denied, device-revoked, reboot, removal-cancelled
  groups       names or IDs of groups; without it all of them
  match        a regular expression (RE2) that the text of a message has to match
  own          true: your own messages count, too
  exec         a program and its arguments, without a shell
  url          an address to POST to, in place of exec: https://, or http:// on this machine
  secret_file  a file whose first line, of 16 bytes or more, signs what goes to url
  proxy        an HTTP proxy on the way to url; the environment's is not used
  cleartext    true: url may be http:// to another machine

They are taken up on SIGHUP. "pandanode hook" says what becomes of an event that fails.
`

// configPage is the page about the configuration file.
func configPage() string {
	var b strings.Builder
	b.WriteString(`# NAME
pandanode.toml - the configuration of a node

# DESCRIPTION
` + markdown(`The file is TOML. Each key below can also be given by a variable and by a flag of "pandanode run"; a
flag comes before a variable, a variable before the file, and the file before the default.
"pandanode config path" says where the file is; "config set KEY VALUE", "config unset KEY" and
"config edit" change it and refuse what is not valid, and "config show --origin" says where each value comes from.
`) + "\n# KEYS\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&b, "**%s**\n: %s.\n  %s `%s`, `--%s`\n\n", markdown(k.Path), markdown(k.Help), map[bool]string{true: "It is taken up on SIGHUP.", false: "It needs a restart."}[k.Reloads()], k.Env(), k.Flag())
	}
	b.WriteString("# HOOKS\n" + markdown(hookPage) + "\n")
	b.WriteString("# SEE ALSO\n**pandanode(7)**, **pandanode-config(1)**, **pandanode-hook(1)**, **pandanode-run(1)**\n")
	return b.String()
}
