// Package config is the configuration of a node: a commented TOML file, its
// defaults, its validation, and where things lie on disk.
//
// A value comes from the first of these that has it: a flag, an environment
// variable PANDANODE_*, the file, the default. One table (keys.go) names every key
// with its meaning; flags, variables, the file that `pandanode init` writes and
// the check for unknown keys are made of it. Unknown keys and variables are errors
// that name the line and the nearest known key.
//
// The package imports nothing of the project and opens no store and no connection. It never
// reads a passphrase, only the path of a file that holds one.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
)

// Config is everything that can be configured. The zero value is not useful: start
// from [Default].
type Config struct {
	// DataDir is where the store lies; an absolute path. Default: see [Locate].
	DataDir string `toml:"data_dir"`
	// Listen is the multiaddrs to listen on; at least one.
	Listen []string `toml:"listen"`
	// Bootstrap is multiaddrs, with /p2p/<peer ID>, of nodes to dial at the start.
	Bootstrap []string `toml:"bootstrap"`
	// MDNS says whether to look for nodes on the local network.
	MDNS bool `toml:"mdns"`
	// PassphraseFile is a file whose first line is the passphrase of the store.
	// Empty: `run` asks on the terminal.
	PassphraseFile string `toml:"passphrase_file"`
	// KeyFile is a file of 32 random bytes that takes the passphrase's place.
	KeyFile string `toml:"key_file"`

	// IsMailbox says whether this node keeps envelopes for groups of which it is no member.
	IsMailbox bool `toml:"mailbox"`
	// MailboxQuota, MailboxBoxQuota and MailboxLifetime bound it: see [Config.Mailbox].
	MailboxQuota    string `toml:"mailbox_quota"`
	MailboxBoxQuota string `toml:"mailbox_box_quota"`
	MailboxLifetime string `toml:"mailbox_lifetime"`
	// MailboxFileQuota and MailboxFileShare bound the sealed files that it keeps.
	MailboxFileQuota string `toml:"mailbox_file_quota"`
	MailboxFileShare string `toml:"mailbox_file_share"`
	// MailboxAllow lists the peer IDs that may open boxes; empty: every peer may.
	MailboxAllow []string `toml:"mailbox_allow"`

	Log     Log     `toml:"log"`
	Metrics Metrics `toml:"metrics"`
	Trace   Trace   `toml:"trace"`
	Relay   Relay   `toml:"relay"`
	Files   Files   `toml:"files"`
	Limits  Limits  `toml:"limits"`
	Web     Web     `toml:"web"`

	// Hooks are those of the file, in its order.
	Hooks []Hook `toml:"hook"`
}

// Web says where the page is served, once `pandanode web` asks for it: on 127.0.0.1 alone.
type Web struct {
	// Port is its TCP port; 0: a free one.
	Port int `toml:"port"`
	// Hosts are names by which the page is asked, besides those of the loopback, each with its
	// port if that is not the usual one: of a proxy on this machine, which others can reach.
	Hosts []string `toml:"hosts"`
}

// Validate refuses what cannot be right, and names the key of the file that has it.
func (w Web) Validate() (key string, err error) {
	if w.Port < 0 || w.Port > 65535 {
		return "web.port", fmt.Errorf("%d is no port: 0 to 65535", w.Port)
	}
	for _, h := range w.Hosts {
		if u, err := url.Parse("http://" + h); err != nil || u.Host != h || u.Hostname() == "" {
			return "web.hosts", fmt.Errorf("%q is no name such as chat.example or chat.example:8443", h)
		}
	}
	return "", nil
}

// Trace says what is traced.
type Trace struct {
	// File is where spans go; an absolute path. Empty: nothing is traced.
	File string `toml:"file"`
}

// Relay says how relays are used, and whether to be one.
type Relay struct {
	// Through is multiaddrs, with /p2p/<peer ID>, of relays to be called through.
	Through []string `toml:"through"`
	// For says for whom this node relays without limits.
	For string `toml:"for"` // nobody, members, anyone
}

// Limits says what the node may use.
type Limits struct {
	Connections int `toml:"connections"` // that are kept
}

// minConnections is the least that [Limits] may ask for.
const minConnections = 8

// maxConnections is the most that [Limits] may ask for, as in a node.
const maxConnections = 1 << 16

// Metrics says where the node's metrics are served beside its local API.
type Metrics struct {
	// Address is the TCP address that serves /metrics, /healthz and /readyz; empty: the
	// API's socket alone serves them. On loopback, unless Public.
	Address string `toml:"address"`
	// Public lets Address be reachable from other machines.
	Public bool `toml:"public"`
	// Names are the host names by which Address is asked, besides localhost. A request under
	// another name is refused, one by an IP address is not.
	Names []string `toml:"names"`
	// Groups adds metrics of each group, which tell the groups' IDs.
	Groups bool `toml:"groups"`
}

func (m Metrics) validate() error {
	if m.Address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		return fmt.Errorf("%q is no address like 127.0.0.1:9464", m.Address)
	}
	if ip := net.ParseIP(host); !m.Public && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q can be reached from other machines, and whoever reaches it sees how this node is used: take 127.0.0.1, or set metrics.public too", m.Address)
	}
	return nil
}

// Log says what is logged, and where.
type Log struct {
	File   string `toml:"file"`   // an absolute path; empty: stderr
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// Default gives the configuration without file, variables and flags.
func Default(p Paths) Config {
	return Config{
		DataDir:   p.Data,
		Listen:    []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"},
		Bootstrap: []string{},
		MDNS:      true,

		MailboxQuota: "1GiB", MailboxBoxQuota: "64MiB", MailboxLifetime: "30d", MailboxAllow: []string{},
		MailboxFileQuota: "1GiB", MailboxFileShare: "256MiB",

		Log:     Log{Level: "info", Format: "text"},
		Metrics: Metrics{Names: []string{}},
		Relay:   Relay{Through: []string{}, For: relayFor[0]},
		Files:   Files{Quota: "4GiB", Max: "100MiB", Auto: "1MiB"},
		Limits:  Limits{Connections: 60},
		Web:     Web{Hosts: []string{}},
	}
}

// Validate returns everything that cannot be right in one error, each problem with its key.
func (c Config) Validate() error {
	var errs wrongs
	bad := func(key, format string, args ...any) { errs.add(key, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(c.DataDir) {
		bad("data_dir", "%q is not an absolute path", c.DataDir)
	}
	if len(c.Listen) == 0 {
		bad("listen", "at least one address is needed")
	}
	for _, a := range c.Listen {
		if _, err := ma.NewMultiaddr(a); err != nil {
			bad("listen", "%q is no address such as /ip4/0.0.0.0/udp/4001/quic-v1: %w", a, err)
		}
	}
	for _, peers := range []struct {
		key   string
		addrs []string
	}{{"bootstrap", c.Bootstrap}, {"relay.through", c.Relay.Through}} {
		for _, a := range peers.addrs {
			m, err := ma.NewMultiaddr(a)
			if err != nil {
				bad(peers.key, "%q is no address such as /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW...: %w", a, err)
			} else if _, err := m.ValueForProtocol(ma.P_P2P); err != nil {
				bad(peers.key, "%q does not end in /p2p/<peer ID>: `pandanode status` on that node shows its addresses", a)
			}
		}
	}
	if !slices.Contains(relayFor, c.Relay.For) {
		bad("relay.for", "%q is none of %s", c.Relay.For, strings.Join(relayFor, ", "))
	}
	if c.PassphraseFile != "" && c.KeyFile != "" {
		bad("key_file", "passphrase_file is set too: a store has one of them")
	}
	if err := c.Metrics.validate(); err != nil {
		bad("metrics.address", "%w", err)
	}
	if key, err := c.Web.Validate(); err != nil {
		bad(key, "%w", err)
	}
	if _, err := c.Mailbox(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.Files.Limits(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, validateHooks(c.Hooks)...)
	if c.Limits.Connections < minConnections {
		bad("limits.connections", "%d are too few for gossip and the DHT: at least %d", c.Limits.Connections, minConnections)
	}
	if c.Limits.Connections > maxConnections {
		bad("limits.connections", "%d are too many: at most %d", c.Limits.Connections, maxConnections)
	}
	if !slices.Contains(logLevels, c.Log.Level) {
		bad("log.level", "%q is none of %s", c.Log.Level, strings.Join(logLevels, ", "))
	}
	if !slices.Contains(logFormats, c.Log.Format) {
		bad("log.format", "%q is none of %s", c.Log.Format, strings.Join(logFormats, ", "))
	}
	return errors.Join(errs...)
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
	relayFor   = []string{"nobody", "members", "anyone"}
)
