package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func write(t *testing.T, text string) Paths {
	t.Helper()
	dir := t.TempDir()
	p := Paths{File: filepath.Join(dir, "config.toml"), Data: dir}
	if err := Write(p.File, text); err != nil {
		t.Fatal(err)
	}
	return p
}

const peer = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

func TestErrorsNameTheLineAndTheKey(t *testing.T) {
	for _, c := range []struct{ file, env, flag, want string }{
		{file: "mdns = true\nbootsrap = []\n", want: `config.toml:2:1: there is no key "bootsrap"; did you mean "bootstrap"?`},
		{file: "[log]\nlevell = \"info\"\n", want: `config.toml:2:1: there is no key "log.levell"; did you mean "log.level"?`},
		{file: "[logs]\nlevel = \"info\"\n", want: `there is no key "logs`},
		{file: "xyzzyx = 1\n", want: `there is no key "xyzzyx"`},
		{file: "mdns = \"yes\"\n", want: `config.toml:1:8: mdns is to be true or false, not text in quotes ("yes")`},
		{file: "\n[log]\nlevel = 3\n", want: "config.toml:3:9: log.level is to be text in quotes, not the number 3"},
		{file: "listen = \"/ip4/127.0.0.1/tcp/0\"\n", want: `config.toml:1:10: listen is to be a list of texts in quotes, such as ["one", "two"], not text`},
		{file: "listen = [\n\"/ip4/127.0.0.1/tcp/0\",\n4001]\n", want: "config.toml:3:1: listen is to be a list"},
		{file: "[limits]\nconnections = 8.5\n", want: "config.toml:2:15: limits.connections is to be a whole number, not the number 8.5"},
		{file: "[limits]\nconnections = true\n", want: "is to be a whole number, not true"},
		{file: "log = \"debug\"\n", want: "config.toml:1:7: log is a section, [log], and no key of its own"},
		{file: "[mdns]\non = true\n", want: "mdns is to be true or false, not a section"},
		{file: "data_dir = 2020-01-01\n", want: "data_dir is to be text in quotes, not a date"},
		{file: "mdns = \n", want: `config.toml:1:8: mdns has no value after "="`},
		{file: "mdns = yes\n", want: "config.toml:1:8: mdns is to be true or false, not yes"},
		{file: "mdns = true\nmdns = false\n", want: `config.toml:2:1: the key "mdns" is there twice`},
		{file: "[log]\nlevel = \"info\"\nlevel = \"warn\"\n", want: `config.toml:3:1: the key "level" is there twice`},
		{file: "[log]\n[relay]\n[log]\n", want: "config.toml:3:2: the section [log] is there twice"},
		{file: "log.level = \"info\"\n[log]\n", want: "config.toml:2:2: the section [log] is there twice"},
		{file: "[[log]]\nlevel = \"info\"\n", want: "config.toml:1:3: log is a section, [log]"},
		{file: "[limits]\nconnections = 99999999999999999999\n", want: "config.toml:2:15: the number is too large"},
		{file: "[limits]\nconnections = 12x\n", want: "config.toml:2:17: limits.connections is to be a whole number, not 12x"},
		{file: "[limits]\nconnections = 012\n", want: "limits.connections is to be a whole number, not 012"},
		{file: "[limits]\nconnections = 1_\n", want: "limits.connections is to be a whole number, not 1_"},
		{file: "[limits]\nconnections = 1e\n", want: "limits.connections is to be a whole number, not 1e"},
		{file: "mdns = tru\n", want: "config.toml:1:8: mdns is to be true or false, not tru"},
		{file: "mdns true\n", want: `config.toml:1:6: "=" is missing after the key`},
		{file: "mdns: true\n", want: `config.toml:1:5: there is ":" where "=" belongs`},
		{file: "mdns == true\n", want: "config.toml:1:7: mdns is to be true or false, not = true"},
		{file: "mdns = true false\n", want: "config.toml:1:13: nothing may follow here"},
		{file: "= 3\n", want: `config.toml:1:1: there is no key before "="`},
		{file: "data_dir = \"abc\nmdns = true\n", want: "config.toml:1:16: a quote is missing"},
		{file: "data_dir = 'abc", want: "a quote is missing"},
		{file: "data_dir = \"\"\"abc\n", want: "a quote is missing"},
		{file: "data_dir = /srv/panda\n", want: "data_dir is to be text in quotes, not /srv/panda"},
		{file: "data_dir = \u201c/srv\u201d\n", want: "config.toml:1:12: these quotes are curly"},
		{file: "mailbox_quota = 1GiB\n", want: "mailbox_quota is to be text in quotes, not 1GiB"},
		{file: "data_dir = \"C:\\home\"\n", want: "config.toml:1:15: in double quotes a backslash begins an escape"},
		{file: "data_dir = \"C:\\users\"\n", want: "in double quotes a backslash begins an escape"},
		{file: "data_dir = \"\\uD800\"\n", want: "in double quotes a backslash begins an escape"},
		{file: "# caf\u00e9 \xff\n", want: "config.toml:1:8: this character is not UTF-8"},
		{file: "mdns = true\ndata_dir = \"\xff\"\n", want: "config.toml:2:13: this character is not UTF-8"},
		{file: "data_dir = \"a\x02\"\n", want: "a character that cannot be seen"},
		{file: "listen = [\"a\" \"b\"]\n", want: `config.toml:1:15: in a list, "," or "]" is missing`},
		{file: "listen = [\"a\",\n", want: `the list has no "]"`},
		{file: "[log\nlevel = 1\n", want: `config.toml:1:5: "]" is missing`},
		{file: "log = {level = \"info\"\n", want: `"}" is missing`},
		{file: "data_dir = 2020-13-01\n", want: "data_dir is to be text in quotes, not 2020-13-01"},
		{file: "{\"mdns\": true}\n", want: "config.toml:1:1: no key can begin with this"},
		{file: "mdns.x = true\nmdns = true\n", want: "config.toml:1:6: "},
		{file: "[log]\nlevel = \"loud\"\n", want: `log.level: "loud" is none of debug, info, warn, error`},
		{file: "listen = []\n", want: "listen: at least one"},
		{file: "listen = [\"here\"]\n", want: "listen: "},
		{file: "bootstrap = [\"/ip4/127.0.0.1/tcp/4001\"]\n", want: "does not end in /p2p/"},
		{file: "mailbox_quota = \"1 pound\"\n", want: `mailbox_quota: "1 pound" is no size`},
		{file: "mailbox_box_quota = \"2GiB\"\n", want: `mailbox_box_quota: "2GiB" is more than mailbox_quota, "1GiB"`},
		{file: "[files]\nquota = \"much\"\n", want: `files.quota: "much" is no size`},
		{file: "[files]\nmax = \"5GiB\"\n", want: `files.max: "5GiB" is too large: at most 4.0 GiB`},
		{file: "[files]\nquota = \"1MiB\"\n", want: `files.max: "100MiB" is more than files.quota, "1MiB"`},
		{file: "[files]\nmax = \"0\"\n", want: `files.max: "0" is too small`},
		{file: "mailbox_lifetime = \"3 weeks\"\n", want: `mailbox_lifetime: "3 weeks" is no time`},
		{file: "mailbox_file_quota = \"5EiB\"\n", want: `mailbox_file_quota: "5EiB" is too large: at most 4EiB`},
		{file: "mailbox_quota = \"64KiB\"\n", want: `mailbox_quota: "64KiB" is too small: at least 1MiB is needed`},
		{file: "mailbox_lifetime = \"59m\"\n", want: `mailbox_lifetime: "59m" is too short: at least 1h`},
		{file: "mailbox_lifetime = \"400d\"\n", want: `mailbox_lifetime: "400d" is too long: at most 366d`},
		{file: "mailbox_allow = [\"anna\"]\n", want: `mailbox_allow: "anna" is no peer ID`},
		{file: "passphrase_file = \"a\"\nkey_file = \"b\"\n", want: "a store has one of them"},
		{file: "[metrics]\naddress = \"9464\"\n", want: `metrics.address: "9464" is no address like 127.0.0.1:9464`},
		{file: "[metrics]\naddress = \":9464\"\n", want: `metrics.address: ":9464" can be reached from other machines`},
		{file: "[metrics]\naddress = \"0.0.0.0:9464\"\n", want: "set metrics.public too"},
		{file: "[metrics]\naddress = \"example.org:9464\"\n", want: "set metrics.public too"},
		{file: "[relay]\nthrough = [\"/ip4/127.0.0.1/tcp/4001\"]\n", want: "relay.through: \"/ip4/127.0.0.1/tcp/4001\" does not end in /p2p/"},
		{file: "[relay]\nfor = \"friends\"\n", want: `relay.for: "friends" is none of nobody, members, anyone`},
		{file: "[limits]\nconnections = 7\n", want: "limits.connections: 7 are too few"},
		{file: "[limits]\nconnections = 65537\n", want: "limits.connections: 65537 are too many: at most 65536"},
		{file: "[web]\nport = 70000\n", want: "web.port: 70000 is no port"},
		{file: "[web]\nport = -1\n", want: "web.port: -1 is no port"},
		{file: "[web]\nhosts = [\"http://chat.example\"]\n", want: `web.hosts: "http://chat.example" is no name such as chat.example`},
		{file: "[web]\nhosts = [\"\"]\n", want: `web.hosts: "" is no name`},
		{env: "PANDANODE_LIMITS_CONNECTIONS=many", want: `"many" is no number`},
		{env: "PANDANODE_MDSN=true", want: `there is no variable PANDANODE_MDSN; did you mean "PANDANODE_MDNS"?`},
		{env: "PANDANODE_MDNS=maybe", want: `PANDANODE_MDNS: "maybe" is neither true nor false`},
		{flag: "perhaps", want: `--mdns: "perhaps" is neither`},
	} {
		flags := map[string]string{}
		if c.flag != "" {
			flags["mdns"] = c.flag
		}
		_, err := Load(write(t, c.file), []string{c.env}, flags)
		if err != nil && goWords.MatchString(err.Error()) {
			t.Errorf("%q: words of Go in %q", c.file, err)
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q %q:\ngot  %v\nwant %s", c.file, c.env, c.flag, err, c.want)
		}
	}
}

// goWords are words that a person who has written a configuration has never seen.
var goWords = regexp.MustCompile(`struct|config\.Config|int64|\[\]string|\bbool\b|decode|strconv|[^.]toml:|U\+|unexpected|basic string|keyword|literal`)

// One thing unlocks the store: the passphrase file or key file of the highest source that
// names one.
func TestOneKeyOfTheStore(t *testing.T) {
	for _, c := range []struct {
		file      string
		env       []string
		flags     map[string]string
		pass, key string
	}{
		{"key_file = \"/k\"\n", nil, nil, "", "/k"},
		{"key_file = \"/k\"\n", []string{"PANDANODE_PASSPHRASE_FILE=/p"}, nil, "/p", ""},
		{"key_file = \"/k\"\n", nil, map[string]string{"passphrase-file": "/p"}, "/p", ""},
		{"passphrase_file = \"/p\"\n", []string{"PANDANODE_KEY_FILE=/k"}, nil, "", "/k"},
		{"passphrase_file = \"/p\"\n", []string{"PANDANODE_KEY_FILE=/k"}, map[string]string{"passphrase-file": "/q"}, "/q", ""},
		{"passphrase_file = \"/p\"\n", []string{"PANDANODE_KEY_FILE=/k"}, map[string]string{"passphrase-file": "/p"}, "/p", ""},
		{"", []string{"PANDANODE_PASSPHRASE_FILE=/p"}, map[string]string{"key-file": "/k"}, "", "/k"},
		{"key_file = \"/k\"\n", nil, map[string]string{"key-file": ""}, "", ""}, // to be asked
	} {
		got, err := Load(write(t, c.file), c.env, c.flags)
		if err != nil || got.PassphraseFile != c.pass || got.KeyFile != c.key {
			t.Errorf("%q %q %q: passphrase file %q, key file %q, %v", c.file, c.env, c.flags, got.PassphraseFile, got.KeyFile, err)
		}
	}
	for _, flags := range []map[string]string{{"key-file": "/k", "passphrase-file": "/p"}, {"key-file": "/k", "passphrase-file": "/k"}} {
		if _, err := Load(write(t, "key_file = \"/k\"\n"), nil, flags); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", flags, err)
		}
	}
}

// Metrics stay on this machine unless the configuration says so twice.
func TestMetricsAddress(t *testing.T) {
	for _, file := range []string{
		"", "address = \"127.0.0.1:9464\"\n", "address = \"localhost:9464\"\n", "address = \"[::1]:0\"\n", "address = \":9464\"\npublic = true\n",
	} {
		if _, err := Load(write(t, "[metrics]\n"+file), nil, nil); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	const env, file = "PANDANODE_LOG_LEVEL=warn", "[log]\nlevel = \"error\"\n"
	for _, c := range []struct {
		name, file string
		env        []string
		flags      map[string]string
		want       string
	}{
		{"default", "", nil, nil, "info"},
		{"file", file, nil, nil, "error"},
		{"variable", file, []string{env, "OTHER=1", "PANDANODE_HOME=/x"}, nil, "warn"},
		{"flag", file, []string{env}, map[string]string{"log-level": "debug"}, "debug"},
	} {
		got, err := Load(write(t, c.file), c.env, c.flags)
		if err != nil || got.Log.Level != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got.Log.Level, err, c.want)
		}
	}
	// An empty list of a variable replaces a list of the file.
	got, err := Load(write(t, "bootstrap = [\""+peer+"\"]\n"), []string{"PANDANODE_BOOTSTRAP="}, nil)
	if err != nil || len(got.Bootstrap) != 0 {
		t.Errorf("got %v, %v", got.Bootstrap, err)
	}
	got, err = Load(write(t, ""), []string{"PANDANODE_BOOTSTRAP=" + peer + ", " + peer}, nil)
	if err != nil || !reflect.DeepEqual(got.Bootstrap, []string{peer, peer}) {
		t.Errorf("got %v, %v", got.Bootstrap, err)
	}
}

// The file of init, as it is and with every key switched on, gives the values of Default.
// So no default in it is out of date, and every key is in it.
func TestFileHoldsEveryDefault(t *testing.T) {
	dir := t.TempDir()
	p := Paths{File: filepath.Join(dir, "config.toml"), Data: dir}
	for name, text := range map[string]string{"as it is": File(p, Default(p)), "all on": File(p, Default(p), paths()...)} {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := Write(path, text); err != nil {
			t.Fatal(err)
		}
		got, err := Load(Paths{File: path, Data: dir}, nil, nil)
		if err != nil || !reflect.DeepEqual(got, Default(p)) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for _, k := range Keys() {
		name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !strings.Contains(File(p, Default(p)), "\n# "+name+" = ") {
			t.Errorf("%s is not in the file", k.Path)
		}
	}
	c := Default(p)
	c.Listen = []string{"/ip4/0.0.0.0/tcp/4711"}
	c.PassphraseFile = "/a \"b\"\\c\td"
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := Write(path, File(p, c, "listen", "passphrase_file")); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(Paths{File: path, Data: dir}, nil, nil); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := Write(path, ""); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file was replaced: %v", err)
	}
}

// TestWriteIsWhole: nobody finds a part of a configuration that is being written.
func TestWriteIsWhole(t *testing.T) {
	path, text := filepath.Join(t.TempDir(), "config.toml"), strings.Repeat("# a comment\n", 4<<20)
	seen := make(chan int64)
	go func() {
		for {
			if info, err := os.Stat(path); err == nil {
				seen <- info.Size()
				return
			}
		}
	}()
	if err := Write(path, text); err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n != int64(len(text)) {
		t.Errorf("%d bytes of %d are there", n, len(text))
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// Every field of Config has a key, and each key reaches another field.
func TestEveryFieldHasAKey(t *testing.T) {
	var c Config
	seen := map[any]string{}
	for _, k := range Keys() {
		at := k.at(&c)
		if other, ok := seen[at]; ok {
			t.Errorf("%s and %s are one field", k.Path, other)
		}
		seen[at] = k.Path
	}
	var fields func(v reflect.Value, path string)
	fields = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			name := path + v.Type().Field(i).Tag.Get("toml")
			if f := v.Field(i); name == "hook" { // no flag and no variable says what programs are run
				continue
			} else if f.Kind() == reflect.Struct {
				fields(f, name+".")
			} else if seen[f.Addr().Interface()] != name {
				t.Errorf("the field %s has the key %q", name, seen[f.Addr().Interface()])
			}
		}
	}
	fields(reflect.ValueOf(&c).Elem(), "")
}

func TestRelativePaths(t *testing.T) {
	p := write(t, "key_file = \"key\"\n")
	if got, err := Load(p, nil, nil); err != nil || got.KeyFile != filepath.Join(p.Data, "key") {
		t.Errorf("in the file: got %q, %v", got.KeyFile, err)
	}
	wd := t.TempDir()
	t.Chdir(wd)
	if got, err := Load(p, []string{"PANDANODE_KEY_FILE=key"}, nil); err != nil || got.KeyFile != filepath.Join(wd, "key") {
		t.Errorf("in a variable: got %q, %v", got.KeyFile, err)
	}
}

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		name, home string
		vars       map[string]string
		want       Paths
	}{
		{"flag", "/h", map[string]string{"PANDANODE_HOME": "/e"}, Paths{"/h/config.toml", "/h"}},
		{"variable", "", map[string]string{"PANDANODE_HOME": "/e", "HOME": "/u"}, Paths{"/e/config.toml", "/e"}},
		{"home", "", map[string]string{"HOME": "/u"}, Paths{"/u/.config/pandanode/config.toml", "/u/.local/share/pandanode"}},
		{"xdg", "", map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"}, Paths{"/c/pandanode/config.toml", "/d/pandanode"}},
		{"relative", "", map[string]string{"XDG_CONFIG_HOME": "c", "HOME": "/u"}, Paths{"/u/.config/pandanode/config.toml", "/u/.local/share/pandanode"}},
	} {
		if got, err := Locate(c.home, env(c.vars)); err != nil || got != c.want {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if _, err := Locate("", env(nil)); !errors.Is(err, ErrInvalid) {
		t.Errorf("nothing is set: %v", err)
	}
}

func TestSocket(t *testing.T) {
	run, data := t.TempDir(), t.TempDir()
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, run, data, in string }{
		{"runtime directory", run, data, run},
		{"no runtime directory", "", data, data},
		{"relative runtime directory", "run", data, data},
		{"long runtime directory", long, data, data},
		{"long home", "", long, os.TempDir()},
	} {
		path, err := MakeSocket(c.data, env(map[string]string{"XDG_RUNTIME_DIR": c.run}))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(path) > MaxSocket || !strings.HasPrefix(path, c.in+"/") {
			t.Errorf("%s: %s (%d bytes) is not in %s", c.name, path, len(path), c.in)
		}
		if found, err := FindSocket(c.data); err != nil || found != path {
			t.Errorf("%s: found %q, %v, made %q", c.name, found, err, path)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_ = l.Close()
	}
	// A copy of a home is not the home, and a home that was moved is. A path may have lines.
	lines := t.TempDir() + "/two\n/lines"
	if err := os.MkdirAll(lines, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{data, lines} {
		path, err := MakeSocket(of, env(nil))
		if found, err2 := FindSocket(of); err != nil || err2 != nil || found != path {
			t.Errorf("%q: made %q, %v, found %q, %v", of, path, err, found, err2)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, socketRecord), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := FindSocket(copied); !errors.Is(err, ErrNoSocket) {
		t.Errorf("a copy of a home finds %q (%v), the socket of the original", found, err)
	}
	moved := data + ".moved"
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	if _, err := FindSocket(moved); err != nil {
		t.Errorf("a home that was moved: %v", err)
	}
	// A directory that anybody may write to, or that is not there, is no place for a socket.
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{open, filepath.Join(open, "none")} {
		if path, err := MakeSocket(moved, env(map[string]string{"XDG_RUNTIME_DIR": run})); err != nil || filepath.Dir(path) != moved {
			t.Errorf("with the runtime directory %s: %q, %v", run, path, err)
		}
		if _, err := FindSocket(moved); err != nil {
			t.Errorf("a socket that was made is not found: %v", err)
		}
	}
	again, err := MakeSocket(long, env(nil))
	first, _ := FindSocket(long)
	if err != nil || again != first {
		t.Errorf("a second time: got %q, %v, want %q", again, err, first)
	}
	// A directory that others may write to is not used again.
	if err := os.Chmod(filepath.Dir(again), 0o777); err != nil {
		t.Fatal(err)
	}
	other, err := MakeSocket(long, env(nil))
	if err != nil || other == again {
		t.Errorf("in a directory open to all: got %q, %v", other, err)
	}
	_ = os.RemoveAll(filepath.Dir(again))
	_ = os.RemoveAll(filepath.Dir(other))
	if _, err := FindSocket(t.TempDir()); !errors.Is(err, ErrNoSocket) {
		t.Errorf("no node has run: %v", err)
	}
}

// A person is shown the line, with a caret below the place, also where characters take several
// bytes; a byte order mark is no mistake.
func TestExcerpt(t *testing.T) {
	for text, want := range map[string][2]string{
		"mdns = true\r\n\tmailbox = yes\r\n":     {" mailbox = yes", strings.Repeat(" ", 11) + "^"},
		"data_dir = \"\u00e9\u00e9\n":            {"data_dir = \"\u00e9\u00e9", strings.Repeat(" ", 14) + "^"},
		"# " + strings.Repeat("x", 300) + "\xff": {strings.Repeat("x", 50) + "\uFFFD", strings.Repeat(" ", 50) + "^"},
	} {
		_, err := Load(write(t, text), nil, nil)
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok || !errors.Is(err, ErrInvalid) {
			t.Fatalf("%q: %v", text, err)
		}
		if got := e.Excerpt(); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", text, got, want)
		}
	}
	if _, err := Load(write(t, "\uFEFFmdns = true\n"), nil, nil); err != nil {
		t.Error(err)
	}
}

// TestWrongValueSaysWhereItIsFrom: a line of the file, a variable or a flag. The values are
// there with the error.
func TestWrongValueSaysWhereItIsFrom(t *testing.T) {
	p := write(t, "# mine\ndata_dir = \"/else\"\n[log]\nlevel = \"loud\"\nformat = \"text\"\n")
	c, err := Load(p, []string{"PANDANODE_LOG_FORMAT=song"}, map[string]string{"mailbox-quota": "much"})
	if !errors.Is(err, ErrInvalid) || c.DataDir != "/else" {
		t.Fatalf("%v, data_dir %q", err, c.DataDir)
	}
	for _, text := range []string{
		p.File + `:4: log.level: "loud" is none of`, `PANDANODE_LOG_FORMAT: "song" is none of`, `--mailbox-quota: "much" is no size`,
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in %v", text, err)
		}
	}
}
