package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// configFlags gives a command a flag for every key of the configuration.
func configFlags(set *pflag.FlagSet) {
	for _, k := range config.Keys() {
		switch {
		case k.Help == "":
		case k.IsList():
			set.StringSlice(k.Flag(), nil, k.Help)
		case k.IsNumber():
			set.Int(k.Flag(), 0, k.Help)
		case k.IsBool():
			set.Bool(k.Flag(), false, k.Help)
			set.Lookup(k.Flag()).DefValue = "false"
		default:
			set.String(k.Flag(), "", k.Help)
		}
	}
}

// givenFlags gives the text of the configuration's flags that were given.
func givenFlags(set *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	for _, k := range config.Keys() {
		f := set.Lookup(k.Flag())
		if f == nil || !f.Changed {
			continue
		}
		given[k.Flag()] = f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[k.Flag()] = strings.Join(list.GetSlice(), ",")
		}
	}
	return given
}

func (a *app) initCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set up this machine as a device with an identity of its own",
		Long: `Set up this machine as a device with an identity of its own: keys, an encrypted store, and a
configuration file that explains every key.

A passphrase locks the store. It is asked for twice, or read from the first line of
--passphrase-file (or PANDANODE_PASSPHRASE_FILE). --key-file uses a file of 32 random bytes
instead, and makes it if it does not exist. If you lose the passphrase or key file, you lose
the store. The given flags are written into the configuration file.`,
		Example: "  pandanode init --name laptop\n  pandanode --home /srv/panda init --key-file /etc/panda.key",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&name, "name", "", "name of this device, for people (default: the host's)")
	configFlags(cmd.Flags())
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if cmd.Flags().Changed("name") && strings.TrimSpace(name) == "" {
			return api.Errorf(api.CodeInvalid, "--name: a device needs a name; without --name it has the host's")
		}
		flags := givenFlags(cmd.Flags())
		paths, c, err := a.config(flags)
		if err != nil {
			return err
		}
		if name == "" {
			name = hostName()
		}
		text, err := a.newConfig(ctx, paths, c, flags)
		if err != nil {
			return err
		}
		if isThere(paths.File) {
			a.note("the configuration that is there is kept: %s", paths.File)
		}
		keepSecrets()
		passphrase, wipe := wiped(a.passphrase(c, true))
		defer wipe()
		if err := node.Init(ctx, node.InitConfig{
			Home: c.DataDir, Name: name, Passphrase: passphrase, KeyFile: c.KeyFile, ConfigFile: paths.File, ConfigText: text,
		}); err != nil {
			if err = explain(err); api.CodeOf(err) == api.CodeConflict {
				err = api.AsError(err).WithHint("pandanode run --detach starts it; with --home DIR init makes another one")
			}
			return err
		}
		return a.show(initialised{Name: name, Data: c.DataDir, Config: paths.File}, func() {
			a.facts("device", name, "data", c.DataDir, "configuration", paths.File)
			a.note("next: %s", a.atHome("pandanode run --detach"))
		})
	})
	return cmd
}

// newConfig returns the configuration of a new home, with the given flags and with
// addresses of its own.
func (a *app) newConfig(ctx context.Context, paths config.Paths, c config.Config, flags map[string]string) (text string, err error) {
	set := []string{"listen"}
	for _, k := range config.Keys() {
		if _, ok := flags[k.Flag()]; ok {
			set = append(set, k.Path)
		}
	}
	if slices.Equal(c.Listen, config.Default(paths).Listen) {
		if c.Listen, err = drawListen(ctx); err != nil {
			return "", err
		}
	}
	return config.File(paths, c, set...), nil
}

// writeConfig writes the configuration of a home that was restored.
func (a *app) writeConfig(ctx context.Context, paths config.Paths, c config.Config, flags map[string]string) error {
	text, err := a.newConfig(ctx, paths, c, flags)
	if err != nil {
		return err
	}
	err = config.Write(paths.File, text)
	if errors.Is(err, fs.ErrExist) {
		a.note("kept the configuration that was there: %s", paths.File)
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// initialised is the output of init.
type initialised struct {
	Name   string `json:"name"`
	Data   string `json:"data"`
	Config string `json:"config"`
}

func hostName() string {
	if h, err := os.Hostname(); err == nil {
		if h, _, _ = strings.Cut(h, "."); h != "" && len(h) <= 64 {
			return h
		}
	}
	return "device"
}

// drawListen gives addresses with a port that is free now for TCP and UDP, so that
// the node has it again after a restart.
func drawListen(ctx context.Context) ([]string, error) {
	ports, err := freeport.Draw(ctx, "", 1)
	if err != nil {
		return nil, err
	}
	port := ports[0]
	return []string{
		fmt.Sprintf("/ip4/0.0.0.0/udp/%d/quic-v1", port), fmt.Sprintf("/ip6/::/udp/%d/quic-v1", port),
		fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", port), fmt.Sprintf("/ip6/::/tcp/%d", port),
	}, nil
}

func (a *app) runCmd() *cobra.Command {
	var detach, detached bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the node",
		Long: `Run the node until it is interrupted, terminated or stopped. Logs go to stderr.

With --detach the node goes to the background. The command asks for the passphrase first,
and ends when the node is ready, or with the reason why it is not. "pandanode stop" ends it.
Its log is node.log in the directory of the node.

Without --detach the passphrase is asked for on the terminal. systemd may give it as the
credential "passphrase". Where nobody can be asked, as in the background, the node stays up
locked, and "pandanode unlock" opens it.

Every flag is also a key of the configuration file and a variable PANDANODE_*; a flag
overrides a variable, and a variable overrides the file.`,
		Example: "  pandanode run --detach\n  pandanode run --bootstrap /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW...",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "go to the background once the node is ready")
	cmd.Flags().BoolVar(&detached, detachedFlag, false, "be what --detach starts")
	_ = cmd.Flags().MarkHidden(detachedFlag) // it is there
	configFlags(cmd.Flags())
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		_, c, err := a.config(givenFlags(cmd.Flags()))
		switch {
		case err != nil && !detached:
			return err
		case detached:
			return a.runDetached(ctx, c, err)
		case detach:
			return a.detach(ctx, c)
		}
		return a.runNode(ctx, c, nil)
	})
	return cmd
}

// nodeConfig returns the node's part of the configuration, without the fields that need the
// process.
func (a *app) nodeConfig(c config.Config) (node.Config, error) {
	socket, err := config.MakeSocket(c.DataDir, a.getenv)
	if err != nil {
		return node.Config{}, err
	}
	var mailbox *node.MailboxConfig // nil: this node keeps nothing for others
	if c.IsMailbox {
		if mailbox, err = mailboxConfig(c); err != nil {
			return node.Config{}, err
		}
	}
	files, err := c.Files.Limits()
	if err != nil {
		return node.Config{}, err
	}
	if files.Auto == 0 {
		files.Auto = -1 // none
	}
	return node.Config{
		Files: node.FilesConfig(files),
		Home:  c.DataDir, KeyFile: c.KeyFile,
		Listen: c.Listen, Bootstrap: c.Bootstrap, Connections: c.Limits.Connections,
		RelayThrough: c.Relay.Through, RelayFor: node.RelayFor(c.Relay.For), MDNS: c.MDNS, Mailbox: mailbox,
		Socket: socket, Metrics: c.Metrics.Address, MetricsNames: c.Metrics.Names, GroupMetrics: c.Metrics.Groups, TraceFile: c.Trace.File, Hooks: c.Hooks, WebPort: c.Web.Port, WebHosts: c.Web.Hosts, Version: version, Logger: a.logger(c.Log),
	}, nil
}

// mailboxConfig returns the mailbox's part of the configuration.
func mailboxConfig(c config.Config) (*node.MailboxConfig, error) {
	limits, err := c.Mailbox()
	if err != nil {
		return nil, err
	}
	out := &node.MailboxConfig{Quota: limits.Quota, BoxQuota: limits.BoxQuota, Lifetime: limits.Lifetime, FileQuota: limits.FileQuota, FileShare: limits.FileShare}
	if out.FileQuota == 0 {
		out.FileQuota = -1 // none
	}
	for _, text := range c.MailboxAllow {
		p, err := peer.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("mailbox_allow: %w", err)
		}
		out.Allow = append(out.Allow, p)
	}
	return out, nil
}

// logger returns the logger for a valid configuration.
func (a *app) logger(c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}
