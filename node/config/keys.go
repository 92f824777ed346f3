package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Key is one key of the configuration.
type Key struct {
	Path string // in the file: "log.level"
	Doc  string // for the file, in lines
	Help string // for the flag, one line; empty: the key has no flag
	at   func(*Config) any
}

// Flag is the name of the key's flag: "log-level".
func (k Key) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.Path) }

// Env is the name of the key's environment variable: "PANDANODE_LOG_LEVEL".
func (k Key) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}

// IsList says whether the key holds a list.
func (k Key) IsList() bool {
	_, ok := k.at(new(Config)).(*[]string)
	return ok
}

// IsNumber says whether the key holds a number.
func (k Key) IsNumber() bool {
	_, ok := k.at(new(Config)).(*int)
	return ok
}

// IsBool says whether the key is true or false.
func (k Key) IsBool() bool {
	_, ok := k.at(new(Config)).(*bool)
	return ok
}

// Reloads says whether a running node takes up another value.
func (k Key) Reloads() bool {
	var c Config
	at := k.at(&c)
	return at == any(&c.Log.Level) || at == any(&c.Log.File)
}

// fits says whether a value of TOML is of the key's kind.
func (k Key) fits(v any) bool {
	var ok bool
	switch k.at(new(Config)).(type) {
	case *string:
		_, ok = v.(string)
	case *bool:
		_, ok = v.(bool)
	case *int:
		_, ok = v.(int64)
	case *[]string:
		var items []any
		items, ok = v.([]any)
		for _, it := range items {
			if _, text := it.(string); !text {
				return false
			}
		}
	}
	return ok
}

// expects says what the key holds, for people.
func (k Key) expects() string {
	switch k.at(new(Config)).(type) {
	case *bool:
		return expectsBool
	case *int:
		return "a whole number"
	case *[]string:
		return expectsList
	}
	return expectsText
}

// Expectations of keys, for people.
const (
	expectsText = "text in quotes"
	expectsBool = "true or false"
	expectsList = `a list of texts in quotes, such as ["one", "two"]`
)

const envPrefix = "PANDANODE_"

// envHome is the variable for --home. It stands for no key of the file, but says where the
// file lies.
const envHome = envPrefix + "HOME"

// keys is the one table of keys, in the order of the file: those of a section
// follow each other.
var keys = []Key{
	{"data_dir", "The directory of the store, as an absolute path.", "directory of the store", func(c *Config) any { return &c.DataDir }},
	{"listen", "Addresses to listen on, as multiaddrs. `pandanode init` draws a port, so that the\n" +
		"addresses that other nodes remember stay true.", "addresses to listen on (multiaddrs)", func(c *Config) any { return &c.Listen }},
	{"bootstrap", "Nodes to dial at the start, as multiaddrs that end in /p2p/<peer ID>: the addresses\n" +
		"that `pandanode status` shows there. One that answers is enough.", "nodes to dial at the start (multiaddrs with /p2p/ID)", func(c *Config) any { return &c.Bootstrap }},
	{"mdns", "Whether to look for nodes on the local network by multicast DNS.", "look for nodes on the local network", func(c *Config) any { return &c.MDNS }},
	{"passphrase_file", "A file whose first line is the passphrase of the store. Without it, and without\n" +
		"key_file, `pandanode run` asks on the terminal.", "file whose first line is the passphrase", func(c *Config) any { return &c.PassphraseFile }},
	{"key_file", "A file of 32 random bytes that takes the passphrase's place: for machines that\n" +
		"start alone. Keep it on another disk than the store.", "file of 32 random bytes in place of a passphrase", func(c *Config) any { return &c.KeyFile }},
	{"mailbox", "Whether to keep envelopes for groups of which this node is no member, so that members who\n" +
		"are never online together can talk. It cannot open them. The node then says so in the DHT.", "keep envelopes for groups that this node is no member of", func(c *Config) any { return &c.IsMailbox }},
	{"mailbox_quota", "How many bytes a mailbox keeps for all peers together.", "most bytes kept for all peers together (default 1GiB)", func(c *Config) any { return &c.MailboxQuota }},
	{"mailbox_box_quota", "How many bytes it keeps in one box, which is for one group between two removals of members.", "most bytes kept in one box (default 64MiB)", func(c *Config) any { return &c.MailboxBoxQuota }},
	{"mailbox_lifetime", "How long it keeps an envelope, and a sealed file, such as 12h or 30d.", "how long an envelope or a file is kept (default 30d)", func(c *Config) any { return &c.MailboxLifetime }},
	{"mailbox_file_quota", "How many bytes of sealed files a mailbox keeps for all peers together, in the folder mailfiles.\n" +
		"0: it keeps no files.", "most bytes of files kept for all peers together (default 1GiB; 0: none)", func(c *Config) any { return &c.MailboxFileQuota }},
	{"mailbox_file_share", "How many bytes of that may be in the boxes of one peer. A larger file is not taken. Where\n" +
		"mailbox_allow names peers, each may have all.", "most bytes of files kept for one peer (default 256MiB)", func(c *Config) any { return &c.MailboxFileShare }},
	{"mailbox_allow", "Peer IDs that may open boxes, as `pandanode id` shows them. Other members of their groups\n" +
		"may use these boxes, and open the boxes that follow a removal. Empty: every peer may.", "peer IDs that may open boxes; empty: every peer may", func(c *Config) any { return &c.MailboxAllow }},
	{"log.level", "The least severe level to log: debug, info, warn or error.", "least level to log: debug, info, warn, error", func(c *Config) any { return &c.Log.Level }},
	{"log.format", "The format of the log: text or json.", "format of the log: text or json", func(c *Config) any { return &c.Log.Format }},
	{"log.file", "A file to which the log is appended. Without it the log goes to stderr. The node opens it\n" +
		"anew when it gets the signal HUP, and then takes up log.level, too.", "file that the log is appended to (default: stderr)", func(c *Config) any { return &c.Log.File }},
	{"metrics.address", "A TCP address, like 127.0.0.1:9464, that serves /metrics for Prometheus, /healthz and\n" +
		"/readyz. The socket of the local API always serves them.", "TCP address for metrics and health (default: none)", func(c *Config) any { return &c.Metrics.Address }},
	{"metrics.public", "Whether that address may be reachable from other machines. Anybody who reaches it sees how\n" +
		"much this node is used, though not by whom or for what.", "let the metrics be reachable from other machines", func(c *Config) any { return &c.Metrics.Public }},
	{"metrics.names", "Host names by which that address is asked, besides localhost and IP addresses, such as\n" +
		"[\"node.example\"]. Requests by another name are refused, since a page in somebody's browser\n" +
		"could make them.", "host names by which the metrics are asked, besides localhost", func(c *Config) any { return &c.Metrics.Names }},
	{"metrics.groups", "Whether there are metrics of each group, labelled with its ID.", "add metrics of each group, labelled with its ID", func(c *Config) any { return &c.Metrics.Groups }},
	{"trace.file", "A file to which spans of OpenTelemetry are appended, as lines of JSON: how long joins, commits\n" +
		"and catch-up take. No content, no names, IDs cut short.", "file for spans of joins, commits, catch-up (default: none)", func(c *Config) any { return &c.Trace.File }},
	{"relay.through", "Relays through which others call this node if they cannot dial it directly, as multiaddrs that\n" +
		"end in /p2p/<peer ID>. Without any, connected peers that relay are used.", "relays to be called through (multiaddrs with /p2p/ID)", func(c *Config) any { return &c.Relay.Through }},
	{"relay.for", "For whom this node relays, without limits: nobody, members (of its groups; any peer may\n" +
		"call them) or anyone. For a machine that others can reach.", "for whom to relay: nobody, members, anyone", func(c *Config) any { return &c.Relay.For }},
	{"files.quota", "How many bytes files may take on the disk, such as 4GiB. Above it, files of others that nobody\n" +
		"used for the longest time are given up; they can be fetched again. Files sent from here stay.", "most bytes of files on the disk (default 4GiB)", func(c *Config) any { return &c.Files.Quota }},
	{"files.max", "How large a file may be that is sent from here, at most 4GiB.", "largest file that is sent (default 100MiB)", func(c *Config) any { return &c.Files.Max }},
	{"files.auto", "Files of others up to this size are fetched unasked. 0: none are.", "largest file that is fetched unasked (default 1MiB)", func(c *Config) any { return &c.Files.Auto }},
	{"limits.connections", "How many connections to keep, at least 8. Above it the least useful ones are closed until\n" +
		"half of them are left; those with members of this device's groups are kept as long as possible.", "how many connections to keep", func(c *Config) any { return &c.Limits.Connections }},
	{"web.port", "The TCP port on 127.0.0.1 that `pandanode web` serves the page on; 0: a free one.", "port of the page on 127.0.0.1 (0: a free one)", func(c *Config) any { return &c.Web.Port }},
	{"web.hosts", "Names by which the page is asked, besides those of 127.0.0.1, with their port: of a proxy on\n" +
		"this machine, such as [\"chat.example:8443\"]. Whoever has a link of `pandanode web` and reaches\n" +
		"the proxy acts as you.", "names by which the page is asked, besides 127.0.0.1", func(c *Config) any { return &c.Web.Hosts }},
}

// Keys gives the table of keys.
func Keys() []Key { return append([]Key(nil), keys...) }

// set assigns text, as a flag or a variable holds it. Lists are separated by commas.
func (k Key) set(c *Config, text string) error {
	switch p := k.at(c).(type) {
	case *string:
		*p = text
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = v
	case *int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		*p = v
	case *[]string:
		*p = []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	default:
		return errors.ErrUnsupported
	}
	return nil
}

// literal gives the key's value in TOML.
func (k Key) literal(c *Config) string {
	switch p := k.at(c).(type) {
	case *string:
		return quote(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *[]string:
		items := make([]string, len(*p))
		for i, s := range *p {
			items[i] = quote(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return ""
}

// quote gives a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// File gives the text of a configuration file: every key with its meaning, as a comment
// with its default, except the keys in set (by path), which get the values of c.
func File(p Paths, c Config, set ...string) string {
	var b strings.Builder
	b.WriteString("# Configuration of pandanode. Every key is shown with its default; remove the \"#\" to\n" +
		"# change one. Flags and PANDANODE_* variables go before this file.\n")
	def := Default(p)
	section := ""
	for _, k := range keys {
		name := k.Path
		if s, rest, ok := strings.Cut(k.Path, "."); ok {
			name = rest
			if s != section {
				fmt.Fprintf(&b, "\n[%s]\n", s)
				section = s
			}
		}
		if k.Doc != "" {
			fmt.Fprintf(&b, "\n# %s\n", strings.ReplaceAll(k.Doc, "\n", "\n# "))
		}
		mark, value := "# ", k.literal(&def)
		for _, s := range set {
			if s == k.Path {
				mark, value = "", k.literal(&c)
			}
		}
		fmt.Fprintf(&b, "%s%s = %s\n", mark, name, value)
	}
	b.WriteString(hookExample)
	return b.String()
}

// nearest gives the candidate that is closest to a mistyped name; empty if none is
// closer than half of its length.
func nearest(name string, candidates []string) string {
	best, distance := "", len(name)/2+1
	for _, c := range candidates {
		if d := levenshtein(name, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// levenshtein is the Levenshtein distance in bytes.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
