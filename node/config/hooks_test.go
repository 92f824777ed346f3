package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

const hookFile = `
mdns = false

[[hook]]
name = "desktop"
on = ["message", "mention"]
groups = ["tea house"]
match = "(?i)kettle"
exec = ["notify-send", "news"]

# of the door
[[hook]]
name = "door"
on = ["join-requested"]
url = "https://ntfy.example/door"
secret_file = "door.secret"

[log]
level = "debug"
`

func TestHooks(t *testing.T) {
	p := write(t, hookFile)
	c, err := Load(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Hook{
		{Name: "desktop", On: []string{"message", "mention"}, Groups: []string{"tea house"}, Match: "(?i)kettle", Exec: []string{"notify-send", "news"}},
		{Name: "door", On: []string{"join-requested"}, URL: "https://ntfy.example/door", SecretFile: p.Data + "/door.secret"},
	}
	if !reflect.DeepEqual(c.Hooks, want) || c.Log.Level != "debug" {
		t.Errorf("%+v\nwant %+v", c.Hooks, want)
	}
}

// A hook that cannot be right is an error that names the hook, the key and what helps.
func TestHookMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, want string }{
		{`exec = ["x"]`, "hook number 1: it has no name"},
		{"name = \"a b\"\nexec = [\"x\"]", `hook "a b": a name has 1 to 32 letters`},
		{"name = \"a\"\nexec = [\"x\"]\n[[hook]]\nname = \"a\"\nexec = [\"x\"]", `hook "a": there are two of this name`},
		{"name = \"a\"", `hook "a": exec: it does nothing`},
		{"name = \"a\"\nexec = [\"x\"]\nurl = \"https://x.example\"", `hook "a": url: exec is there, too`},
		{"name = \"a\"\nexec = [\"bin/x\"]", `hook "a": exec: "bin/x" is neither an absolute path`},
		{"name = \"a\"\nexec = [\"notify-send news\"]", "each argument stands in quotes of its own"},
		{"name = \"a\"\nexec = [\"x\"]\nsecret_file = \"s\"", "secret_file: it goes with url"},
		{"name = \"a\"\nexec = [\"x\"]\non = [\"mesage\"]", `on: there is no event "mesage"; did you mean "message"?`},
		{"name = \"a\"\nexec = [\"x\"]\nmatch = \"(\"", `match: "(" is no regular expression: missing closing )`},
		{"name = \"a\"\nexec = [\"x\"]\ngroups = [\"\"]", "groups: a name is empty"},
		{"name = \"a\"\nurl = \"ntfy.example/x\"", "url: it is to be an address such as https://"},
		{"name = \"a\"\nurl = \"https://me:pw@ntfy.example/x\"", "url: it has a name or password"},
		{"name = \"a\"\nurl = \"http://ntfy.example/x\"", "url: http:// shows messages to everybody on the way to ntfy.example"},
		{"name = \"a\"\nurl = \"https://ntfy.example\"\nproxy = \"127.0.0.1:3128\"", "proxy: it is to be an address"},
		{"name = \"a\"\nexe = [\"x\"]", `config.toml:3:1: there is no key "exe"; did you mean "exec"?`},
		{"name = \"a\"\nexec = \"x\"", `exec of the hook a is to be a list of texts in quotes, such as ["one", "two"], not text in quotes ("x")`},
		{"name = \"a\"\non = \"message\"", "on of the hook a is to be a list"},
		{"name = 3", "name of the hook number 1 is to be text in quotes, not the number 3"},
		{"name = \"a\"\nown = \"yes\"", "own of the hook a is to be true or false"},
	} {
		p := write(t, "[[hook]]\n"+c.file+"\n")
		if _, err := Load(p, nil, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
		}
	}
	if _, err := Load(write(t, "hook = \"a\"\n"), nil, nil); err == nil || !strings.Contains(err.Error(), "a hook begins with [[hook]]") {
		t.Errorf("a key: %v", err)
	}
	if _, err := Load(write(t, "[hook]\nname = 3\n"), nil, nil); err == nil || !strings.Contains(err.Error(), "name of the hook number 1") {
		t.Errorf("one bracket: %v", err)
	}
	for _, good := range []string{"http://127.0.0.1:80/x", "http://[::1]/x", "http://localhost/x", "http://far.example/x\"\ncleartext = true #\""} {
		if _, err := Load(write(t, "[[hook]]\nname = \"a\"\nurl = \""+good+"\"\n"), nil, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// Keys of hooks are no keys of the file, so that to set one of these leaves hooks alone.
func TestSetKeepsHooks(t *testing.T) {
	p := write(t, hookFile)
	k, err := Lookup("log.level")
	if err != nil {
		t.Fatal(err)
	}
	before, err := Load(p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Set(p, k, "warn"); err != nil {
		t.Fatal(err)
	}
	after, err := Load(p, nil, nil)
	if err != nil || after.Log.Level != "warn" || !reflect.DeepEqual(after.Hooks, before.Hooks) {
		t.Errorf("%v, %+v", err, after)
	}
	if err := Check(Paths{File: p.File, Data: p.Data}, []byte(File(p, after))); err != nil {
		t.Errorf("a new file: %v", err)
	}
}

// The examples of the README are valid.
func TestHooksOfTheReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, block := range strings.Split(string(text), "```toml\n") {
		if block, _, _ = strings.Cut(block, "```"); i == 0 {
			continue
		}
		n++
		if c, err := Load(write(t, block), nil, nil); err != nil || len(c.Hooks) != 1 {
			t.Errorf("%v in\n%s", err, block)
		}
	}
	if n < 2 {
		t.Errorf("%d examples", n)
	}
}
