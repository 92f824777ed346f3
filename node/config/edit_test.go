package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key is written where it stands, after the comment that shows its default, or at the end
// of its section, and nothing else changes.
func TestSetKeepsTheRest(t *testing.T) {
	const file = "# mine\nmdns = true # at home\nlisten = [\n  \"/ip4/127.0.0.1/tcp/1\", # one\n]\n\n[log]\n# The level.\n# level = \"info\"\n\n[relay]\nfor = \"members\"\n"
	for _, c := range []struct{ was, key, value, want string }{
		{file, "mdns", "false", strings.Replace(file, "mdns = true # at home", "mdns = false # at home", 1)},
		{file, "listen", "/ip4/127.0.0.1/tcp/2,/ip4/127.0.0.1/tcp/3", strings.Replace(file, "listen = [\n  \"/ip4/127.0.0.1/tcp/1\", # one\n]", `listen = ["/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/3"]`, 1)},
		{file, "log.level", "debug", strings.Replace(file, "# level = \"info\"\n", "# level = \"info\"\nlevel = \"debug\"\n", 1)},
		{file, "log.format", "json", strings.Replace(file, "# level = \"info\"\n", "# level = \"info\"\nformat = \"json\"\n", 1)},
		{file, "relay.for", "anyone", strings.Replace(file, `"members"`, `"anyone"`, 1)},
		{file, "limits.connections", "100", file + "\n[limits]\nconnections = 100\n"},
		{file, "mailbox", "true", strings.Replace(file, "]\n\n[log]", "]\nmailbox = true\n\n[log]", 1)},
		{"", "mdns", "false", "mdns = false\n"},
		{"[log]\nlevel = \"warn\"", "mdns", "false", "mdns = false\n[log]\nlevel = \"warn\""},
		{"[log]\nlevel = \"warn\"", "log.format", "json", "[log]\nlevel = \"warn\"\nformat = \"json\"\n"},
		{"log.level = \"warn\"\n", "log.level", "error", "log.level = \"error\"\n"},
		{"mdns = true\r\n", "mdns", "false", "mdns = false\r\n"},
		{"trace.file = \"/a#b\" # c\n", "trace.file", "/d#e", "trace.file = \"/d#e\" # c\n"},
	} {
		p := Paths{File: filepath.Join(t.TempDir(), "config.toml"), Data: "/data"}
		if err := os.WriteFile(p.File, []byte(c.was), 0o640); err != nil {
			t.Fatal(err)
		}
		k, err := Lookup(c.key)
		if err == nil {
			err = Set(p, k, c.value)
		}
		got, _ := os.ReadFile(p.File)
		if err != nil || string(got) != c.want {
			t.Errorf("%s = %s: %v\n--- got\n%s\n--- want\n%s", c.key, c.value, err, got, c.want)
		}
		if st, err := os.Stat(p.File); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("%s: the mode is %v: %v", c.key, st.Mode(), err)
		}
	}
}

// A value that cannot be right, or cannot be written in place, changes nothing.
// A key is taken out with the comment behind it, and nothing else is.
func TestUnset(t *testing.T) {
	const file = "# mine\nmdns = false # at home\nlisten = [\n  \"/ip4/127.0.0.1/tcp/1\", # one\n]\n\n[log]\n# level = \"info\"\nlevel = \"warn\"\n"
	for _, c := range []struct {
		was, key, want string
		found          bool
	}{
		{file, "mdns", strings.Replace(file, "mdns = false # at home\n", "", 1), true},
		{file, "listen", strings.Replace(file, "listen = [\n  \"/ip4/127.0.0.1/tcp/1\", # one\n]\n", "", 1), true},
		{file, "log.level", strings.Replace(file, "level = \"warn\"\n", "", 1), true},
		{file, "log.format", file, false},
		{"log.level = \"warn\"", "log.level", "", true},
		{"\uFEFFmdns = false\r\n# b\r\n", "mdns", "\uFEFF# b\r\n", true},
		{"", "mdns", "", false},
	} {
		p := Paths{File: filepath.Join(t.TempDir(), "config.toml"), Data: "/data"}
		if err := os.WriteFile(p.File, []byte(c.was), 0o640); err != nil {
			t.Fatal(err)
		}
		k, err := Lookup(c.key)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Unset(p, k)
		if got, _ := os.ReadFile(p.File); err != nil || found != c.found || string(got) != c.want {
			t.Errorf("%s: %v, %v\n--- got\n%s\n--- want\n%s", c.key, found, err, got, c.want)
		}
	}
	p := Paths{File: filepath.Join(t.TempDir(), "config.toml"), Data: "/data"}
	k, err := Lookup("log.level")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := Unset(p, k); found || err != nil {
		t.Errorf("without a file: %v, %v", found, err)
	}
	if _, err := os.Stat(p.File); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it makes a file: %v", err)
	}
	const inline = "log = { level = \"warn\" }\n"
	if err := os.WriteFile(p.File, []byte(inline), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Unset(p, k)
	if got, _ := os.ReadFile(p.File); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "editor") || string(got) != inline {
		t.Errorf("in one line: %v; the file has %q", err, got)
	}
}

func TestSetRefuses(t *testing.T) {
	for _, c := range []struct{ was, key, value, why string }{
		{"mdns = true\n", "log.level", "loud", "none of"},
		{"mdns = true\n", "mdns", "perhaps", "neither true nor false"},
		{"mdns = \n", "log.level", "debug", "no value"},
		{"log = { level = \"warn\" }\n", "log.level", "debug", "editor"},
		{"mdns = true\n", "listen", "", "at least one"},
	} {
		p := Paths{File: filepath.Join(t.TempDir(), "config.toml"), Data: "/data"}
		if err := os.WriteFile(p.File, []byte(c.was), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := Lookup(c.key)
		if err != nil {
			t.Fatal(err)
		}
		err = Set(p, k, c.value)
		if got, _ := os.ReadFile(p.File); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.why) || string(got) != c.was {
			t.Errorf("%s = %s: %v; the file has %q", c.key, c.value, err, got)
		}
	}
	if _, err := Lookup("log.lvel"); err == nil || !strings.Contains(err.Error(), "log.level") {
		t.Error(err)
	}
}

// The file stays a link, and is not replaced if somebody else has changed it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	target, p := filepath.Join(dir, "real.toml"), Paths{File: filepath.Join(dir, "config.toml"), Data: "/data"}
	if err := os.WriteFile(target, []byte("mdns = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, p.File); err != nil {
		t.Fatal(err)
	}
	if err := Replace(p, []byte("mdns = true\n"), []byte("mdns = false\n")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(p.File); err != nil || st.Mode().Type() != os.ModeSymlink {
		t.Errorf("%v: %v", st, err)
	}
	if err := Replace(p, []byte("mdns = true\n"), []byte("mdns = false\n")); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if got, _ := os.ReadFile(target); string(got) != "mdns = false\n" {
		t.Errorf("%q", got)
	}
}

func TestOrigin(t *testing.T) {
	p := Paths{File: filepath.Join(t.TempDir(), "config.toml"), Data: "/data"}
	if err := os.WriteFile(p.File, []byte("# a\nmdns = false\n\n[log]\nlevel = \"warn\"\nformat = \"json\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"mdns": p.File + ":2", "log.level": "PANDANODE_LOG_LEVEL", "log.format": "--log-format", "relay.for": "default",
	} {
		k, err := Lookup(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Origin(p, []string{"PANDANODE_LOG_LEVEL=error"}, map[string]string{"log-format": "text"}); got != want {
			t.Errorf("%s: %s, not %s", key, got, want)
		}
	}
}
