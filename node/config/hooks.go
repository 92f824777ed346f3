package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Hook says that something is to be done at each of some events: a program is run, or an
// address is told. It is one [[hook]] of the file, and comes from nowhere else.
type Hook struct {
	// Name is that of its cursor: 1 to 32 letters, digits, "-", "_" and ".".
	Name string `toml:"name"`
	// On is the kinds of events, see [HookKinds]; none: "message".
	On []string `toml:"on"`
	// Groups are IDs of groups, their beginnings as commands show them, or whole names; none: all.
	Groups []string `toml:"groups"`
	// Match is a regular expression that the text of a message has to match; empty: every one does.
	Match string `toml:"match"`
	// Own says whether messages of this user count, too.
	Own bool `toml:"own"`

	// Exec is a program and its arguments. It gets the event on stdin; no shell reads it.
	Exec []string `toml:"exec"`
	// URL is an address that the event is posted to, in place of Exec.
	URL string `toml:"url"`
	// SecretFile is an absolute path of a file whose first line signs what goes to URL.
	SecretFile string `toml:"secret_file"`
	// Proxy is the URL of an HTTP proxy on the way to URL; empty: none, whatever the environment says.
	Proxy string `toml:"proxy"`
	// Cleartext lets URL be http:// to another machine.
	Cleartext bool `toml:"cleartext"`
}

// HookMention is the kind of a message that mentions this device's user. No event of the API
// has it.
const HookMention = "mention"

// HookKinds are the kinds of events that hooks may be run at.
var HookKinds = []string{
	"message", HookMention, "message-changed", "member-added", "member-removed", "member-left", "joined", "out", "role", "profile", "setting",
	"join-requested", "join-denied", "device-revoked", "reboot", "removal-cancelled",
}

// Bounds on hooks.
const (
	maxHooks    = 32
	hookNameMax = 32
)

// hookKeys are the keys of a [[hook]], each with what it expects.
var hookKeys = map[string]string{
	"name": expectsText, "on": expectsList, "groups": expectsList, "match": expectsText, "own": expectsBool,
	"exec": expectsList, "url": expectsText, "secret_file": expectsText, "proxy": expectsText, "cleartext": expectsBool,
}

var hookName = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9._-]{1,%d}$`, hookNameMax))

// ValidateHooks returns everything that cannot be right about hooks in one error, for programs
// that have no configuration file.
func ValidateHooks(hooks []Hook) error { return errors.Join(validateHooks(hooks)...) }

// validateHooks returns all that cannot be right about hooks, each problem with its key.
func validateHooks(hooks []Hook) (errs wrongs) {
	if len(hooks) > maxHooks {
		errs.add("hook", fmt.Errorf("there are %d, and %d are the most", len(hooks), maxHooks))
	}
	names := map[string]bool{}
	for i, h := range hooks {
		who := fmt.Sprintf("hook %q", h.Name)
		switch {
		case h.Name == "":
			who = fmt.Sprintf("hook number %d", i+1)
			errs.inHook(i+1, who, errors.New(`it has no name: add name = "..."`))
		case !hookName.MatchString(h.Name):
			errs.inHook(i+1, who, fmt.Errorf(`a name has 1 to %d letters, digits, "-", "_" and "."`, hookNameMax))
		case names[h.Name]:
			errs.inHook(i+1, who, errors.New("there are two of this name, and each keeps its place under its name"))
		}
		names[h.Name] = true
		for _, err := range h.problems() {
			errs.inHook(i+1, who, err)
		}
	}
	return errs
}

// problems returns all that cannot be right about a hook but its name.
func (h Hook) problems() (errs []error) {
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	for _, k := range h.On {
		if !slices.Contains(HookKinds, k) {
			bad("on", "there is no event %q%s: there are %s", k, meant(k, HookKinds), strings.Join(HookKinds, ", "))
		}
	}
	if slices.Contains(h.Groups, "") {
		bad("groups", "a name is empty")
	}
	if _, err := regexp.Compile(h.Match); err != nil {
		why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		bad("match", "%q is no regular expression: %s", h.Match, why)
	}
	switch {
	case len(h.Exec) == 0 && h.URL == "":
		bad("exec", `it does nothing: give exec = ["program", "argument"], or url = "https://..."`)
	case len(h.Exec) > 0 && h.URL != "":
		bad("url", "exec is there, too: a hook does one of them, so make two hooks")
	case len(h.Exec) > 0:
		errs = append(errs, h.execProblems()...)
	default:
		errs = append(errs, h.urlProblems()...)
	}
	return errs
}

func (h Hook) execProblems() (errs []error) {
	program := h.Exec[0]
	if program == "" || strings.ContainsRune(strings.Join(h.Exec, ""), 0) {
		errs = append(errs, errors.New("exec: the program has no name, or an argument has a zero byte"))
	}
	if strings.ContainsAny(program, `/\`) && !filepath.IsAbs(program) {
		errs = append(errs, fmt.Errorf("exec: %q is neither an absolute path nor the name of a program in PATH", program))
	}
	if strings.ContainsAny(program, " \t") && !filepath.IsAbs(program) {
		errs = append(errs, fmt.Errorf(`exec: %q is one word: each argument stands in quotes of its own, as in ["notify-send", "news"]`, program))
	}
	for key, given := range map[string]bool{"secret_file": h.SecretFile != "", "proxy": h.Proxy != "", "cleartext": h.Cleartext} {
		if given {
			errs = append(errs, fmt.Errorf("%s: it goes with url, and this hook runs a program", key))
		}
	}
	return errs
}

func (h Hook) urlProblems() (errs []error) {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		errs = append(errs, errors.New("url: it is to be an address such as https://ntfy.example/topic"))
	case u.User != nil:
		errs = append(errs, errors.New("url: it has a name or password before the host, which is not sent"))
	case u.Scheme == "http" && !h.Cleartext && !isLoopback(u.Hostname()):
		errs = append(errs, fmt.Errorf("url: http:// shows messages to everybody on the way to %s: use https://, or set cleartext = true", u.Hostname()))
	}
	if h.Proxy != "" {
		if p, err := url.Parse(h.Proxy); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			errs = append(errs, errors.New("proxy: it is to be an address such as http://127.0.0.1:3128"))
		}
	}
	if h.SecretFile != "" && !filepath.IsAbs(h.SecretFile) {
		errs = append(errs, fmt.Errorf("secret_file: %q is not an absolute path", h.SecretFile))
	}
	return errs
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mistypedHook names the first key of a [[hook]] whose value has the wrong type.
func mistypedHook(all map[string]any) string {
	v, ok := all["hook"]
	if !ok {
		return ""
	}
	hooks, ok := v.([]any)
	if one, single := v.(map[string]any); single { // in one bracket it is read, too
		hooks, ok = []any{one}, true
	}
	if !ok {
		return "a hook begins with [[hook]], on a line of its own"
	}
	for i, h := range hooks {
		is, _ := h.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(is)) {
			if expects, known := hookKeys[key]; known && !fitsHook(expects, is[key]) {
				name, _ := is["name"].(string)
				if name == "" {
					name = fmt.Sprintf("number %d", i+1)
				}
				return fmt.Sprintf("%s of the hook %s is to be %s, not %s", key, name, expects, typeName(is[key]))
			}
		}
	}
	return ""
}

func fitsHook(expects string, v any) bool {
	switch expects {
	case expectsText:
		_, ok := v.(string)
		return ok
	case expectsBool:
		_, ok := v.(bool)
		return ok
	}
	items, ok := v.([]any)
	for _, it := range items {
		_, is := it.(string)
		ok = ok && is
	}
	return ok
}

// hookExample is what a new file says of hooks.
const hookExample = `
# A hook runs a program, or tells an address, at each event of some kinds. The event comes as JSON
# on stdin, or as the body of a POST. README.md says more; "pandanode hook test NAME" tries it.
#
# [[hook]]
# name = "desktop"
# on = ["message"]                  # or "mention", "member-added", "join-requested" ...
# groups = ["tea house"]            # names or IDs; without it all groups
# exec = ["notify-send", "news"]    # or url = "https://ntfy.example/topic"
`
