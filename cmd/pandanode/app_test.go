package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	testscript.Main(m, map[string]func(){"pandanode": main})
}

// world is a home whose node is a fake.
type world struct {
	t    *testing.T
	node *apitest.Node
	home string
	env  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, node: apitest.New("anna"), home: t.TempDir()}
	if err := os.WriteFile(filepath.Join(w.home, "socket"), []byte(apitest.Serve(t, w.node)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// outcome is the result of a command.
type outcome struct {
	out, err string
	code     int
}

func (w *world) run(stdin string, args ...string) outcome {
	w.t.Helper()
	var out, diag bytes.Buffer
	a := &app{in: strings.NewReader(stdin), out: &out, err: &diag, environ: append([]string{"PANDANODE_HOME=" + w.home}, w.env...)}
	code := a.run(w.t.Context(), args)
	return outcome{out.String(), diag.String(), code}
}

// hint is a hint of commands as they work in any shell.
func (w *world) hint(commands string) string {
	return "hint: " + strings.ReplaceAll(commands, "pandanode ", "pandanode --home "+w.home+" ")
}

// ok runs a command that must succeed and gives its stdout.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.run("", args...)
	if r.code != 0 {
		w.t.Fatalf("pandanode %s: exit code %d: %s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

// golden compares text with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (write it with -update):\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

// A conversation with a fake node, as it looks on the terminal. The script is
// commands; the golden file has their stdout, their stderr behind "! ", and their
// exit code if it is not 0.
func TestTranscript(t *testing.T) {
	w := newWorld(t)
	w.node.Peered = []api.Peer{
		{ID: "12D3KooWben", Source: api.SourceBootstrap, Direction: api.Outbound, Since: time.Unix(0, 0), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}},
		{ID: "12D3KooWcleo", Source: api.SourceMDNS, Direction: api.Inbound, Since: time.Unix(0, 0), Addrs: []string{"/ip4/127.0.0.2/tcp/1"}, Limited: true},
	}
	w.node.Missing = map[api.Level]string{api.LevelSynced: "no member has been caught up with"}
	far := apitest.ID("far")
	w.node.Findable = []api.Found{
		{ID: far, Name: "far tea", Policy: api.PolicyOpen, Members: 8, Source: api.SourceMDNS, Verified: true},
		{ID: far, Name: "far tea", Policy: api.PolicyOpen, Members: 8, Source: api.SourceDHT, Verified: true},
		{ID: apitest.ID("bad"), Name: "bad\x1b[31m tea", Policy: api.PolicyInvite, Source: api.SourceDHT},
	}
	var b strings.Builder
	do := func(stdin string, args ...string) outcome {
		r := w.run(stdin, args...)
		if strings.ContainsAny(r.out, "\x1b\a\u202e") && !slices.Contains(args, "--json") {
			t.Errorf("%v: what somebody else wrote reached the terminal: %q", args, r.out)
		}
		if table := []string{"list", "members", "requests", "invites", "log"}; args[0] == "group" && slices.Contains(table, args[1]) && !slices.Contains(args, "--json") {
			for line := range strings.Lines(r.out) {
				if width := uniseg.StringWidth(strings.TrimSpace(line)); width > 100 {
					t.Errorf("%v: a line of a table has %d columns: %s", args, width, line)
				}
			}
		}
		r.out, r.err = strings.ReplaceAll(r.out, w.home, "/HOME"), strings.ReplaceAll(r.err, w.home, "/HOME")
		fmt.Fprintf(&b, "$ pandanode %s\n%s", strings.Join(args, " "), r.out)
		for l := range strings.Lines(r.err) {
			b.WriteString("! " + l)
		}
		if r.code != 0 {
			fmt.Fprintf(&b, "[exit code %d]\n", r.code)
		}
		b.WriteByte('\n')
		return r
	}
	do("", "id")
	do("", "name", "anna's phone")
	do("", "name", "anna", "--json")
	do("", "status")
	do("", "status", "--wait", "ready", "--timeout", "5s")
	do("", "status", "--wait", "synced", "--timeout", "5s")
	do("", "peers")
	do("", "group", "create", "tea house", "--description", "Leaves and kettles", "--tag", "tea")
	do("", "group", "create", "coffee", "--policy", "invite", "--private")
	tea := apitest.ID("group tea house0")
	w.node.AddMember(tea, "ben", "member")
	w.node.AddMember(tea, "cleo", "member")
	do("", "group", "list")
	do("", "group", "show", api.Short(tea))
	do("", "group", "members", "tea house")
	do("", "send", "tea house", "The kettle", "is on")
	do("two\nlines\n", "send", "tea house", "-")
	do("", "send", "tea house", "-5")
	do("", "send", "tea house", "--gone", "fishing")
	do("", "send", "tee house", "hello")
	do("", "send", "kettle", "hello")
	do("", "send", "tea house", " ")
	w.node.Receive(tea, "ben", "bell \a, escape \x1b[2J, reversed \u202e.\nsecond line")
	do("", "tail", "tea house")
	do("", "tail", "tea house", "-n", "2")
	do("", "tail", "tea house", "-n", "2", "--json")
	do("", "group", "set", "tea house", "expiry", "30d")
	do("", "group", "set", "tea house", "x-later.program", "on", "--json")
	do("", "group", "show", "tea house")
	do("", "group", "set", "tea house", "files.max", "50MiB")
	do("", "group", "set", "tea house", "files.max", "")
	do("", "group", "set", "tea house", "expiry", "")
	do("", "reply", "tea house", "last", "It", "is")
	do("", "react", "tea house", "last", "\u2764")
	do("", "react", "tea house", "last", "\u2764", "--remove")
	do("", "react", "tea house", "last", "\u2764", "--remove")
	do("", "react", "tea house", "last", "\u2764", "--json")
	do("", "edit", "tea house", "mine", "It was")
	do("", "edit", "tea house", apitest.ID("nothing"), "x")
	do("", "edit", "tea house", "mine", " ")
	do("", "show", "tea house", "last")
	do("", "show", "tea house", "last", "--json")
	do("", "delete", "tea house", api.Short(apitest.ID(tea+"0")))
	do("", "tail", "tea house", "--ids")
	do("", "tail", "tea house", "--since", "6", "--count", "9", "--timeout", "50ms", "--json")
	do("", "send", "coffee", "beans")
	do("", "tail")
	do("", "tail", "-n", "2")
	do("", "tail", "TEA HOUSE", "coffee", "--count", "4", "--timeout", "5s")
	do("", "tail", "tea", "--since", "4", "coffee")
	do("", "tail", "tea house", "--since", "4", "--count", "1", "--json")
	do("", "tail", "tea house", "--count", "9", "--timeout", "50ms", "--since", "5")
	do("", "group", "remove", "tea house", "cleo")
	do("", "group", "members", "tea house", "--json")
	do("", "group", "find", "tea")
	do("", "group", "find", "tea", "--json")
	do("", "group", "find", "cocoa")
	do("", "group", "join", "far tea", "--wait")
	do("", "group", "join", far)
	w.node.Stuck = api.StageWaiting
	do("", "group", "join", far, "--wait", "--timeout", "50ms")
	w.node.Denied = true
	do("", "group", "join", far, "--wait")
	w.node.Stuck, w.node.Denied = "", false
	do(apitest.Link+"\n", "group", "join", "-", "--wait")
	do("pandanode:invite/AA", "group", "join", "-")
	do("\n", "group", "join", "-")
	do("", "group", "join", apitest.Link)
	do("", "group", "join", far, "--link-file", "link")
	do("", "group", "join", "--link-file", "not/there")
	do("", "group", "invite", "tea house", "--uses", "3", "--expires", "12h")
	do("", "group", "invite", "tea house", "--expires", "never", "--role", "read-only", "--json")
	do("", "group", "revoke-invite", "tea house", api.Short(apitest.ID("invite 1")))
	do("", "group", "invites", "tea house")
	w.node.AddRequest(tea, "dora")
	w.node.AddRequest(tea, "emil\x1b[31m")
	do("", "group", "requests", "tea house")
	do("", "group", "approve", "tea house", "dora", "--role", "admin")
	do("", "group", "deny", "tea house", api.Short(apitest.ID("user emil\x1b[31m")))
	do("", "group", "deny", "tea house", "fritz")
	do("", "group", "requests", "tea house", "--json")
	do("", "group", "role", "tea house", "ben", "read-only")
	do("", "group", "role", "tea house", "BEN", "admin", "--json")
	do("", "group", "rename", "coffee", "Coffee Bar")
	do("", "group", "describe", "coffee bar", "Beans", "and", "mills")
	do("", "group", "describe", "coffee bar", "")
	do("", "group", "tag", "coffee bar", "beans", "mills", "--json")
	do("", "group", "tag", "coffee bar")
	do("", "tail", "coffee bar")
	do("", "group", "rename", "coffee bar", "coffee")
	do("", "group", "list")
	do("", "group", "log", "tea house")
	do("", "group", "log", "tea house", "--incidents")
	w.node.Seen = api.Incidents{
		Incidents: []api.Event{{At: time.Unix(60, 0), Kind: api.EventEvidence, User: apitest.ID("user ben"), Device: apitest.ID("device ben"), Detail: "two entries with number 7"}},
		Refusals:  []api.Refused{{Source: "gossip", Reason: api.RefusalForged, Count: 12, First: time.Unix(0, 0), Last: time.Unix(120, 0), From: "12D3KooWben", Detail: "forged\x1b[31m"}},
	}
	do("", "group", "log", "tea house", "--incidents")
	do("", "group", "log", "tea house", "--incidents", "--json")
	w.node.Report = api.GroupStatus{
		Gate: true, Adds: 1, Removes: 2, HealAt: time.Unix(600, 0), SettleAt: time.Unix(60, 0), Rejoining: true, Waiting: 3, Lacking: 4, Requests: 1,
		Unsealed: []string{apitest.ID("m")}, SendKey: "0102030405060708", Keys: 2,
		Branches: []api.Branch{
			{Tip: apitest.ID("tip"), Epoch: 7, From: apitest.ID("from"), Length: 2, Chosen: true, Voters: []string{w.node.Self.User, apitest.ID("user ben")}},
			{Tip: apitest.ID("other"), Epoch: 6, From: apitest.ID("from"), Length: 1, Here: true, Held: true, Reason: "found invalid here"},
		},
		Devices: []api.GroupDevice{
			{Device: w.node.Self.Device, User: w.node.Self.User, Name: "anna", Self: true, Last: time.Unix(1, 0), Vote: apitest.ID("other"), Epoch: 6, InTree: true},
			{Device: apitest.ID("device ben"), User: apitest.ID("user ben"), Name: "ben", Heard: true, Lacks: 5, Gaps: 1, Rejoins: true, Vote: apitest.ID("tip"), Epoch: 7, Chosen: true, Refused: 1},
		},
	}
	do("", "group", "status", "tea house")
	w.node.Healed = api.Healed{Did: []string{"a commit: epoch 8, adds 1 device and removes 2"}, Synced: []string{"12D3KooWben"}, Failed: map[string]string{"12D3KooWcleo": "it hung up"}, Found: 4}
	do("", "group", "heal", "tea house")
	do("", "group", "heal", "tea house", "--json")
	w.node.Keeps = api.MailboxStatus{Boxes: 2, Envelopes: 30, Bytes: 3 << 20, Quota: 1 << 30, Lifetime: api.Duration(30 * 24 * time.Hour)}
	do("", "status")
	do("", "group", "mailbox", "add", "tea house", "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWoffice")
	do("", "group", "mailbox", "add", "tea house", "12D3KooWoffice")
	do("", "group", "mailbox", "list", "tea house")
	do("", "group", "mailbox", "list", "tea house", "--json")
	do("", "group", "mailbox", "list", "tea house", "--wait", "--timeout", "1s")
	do("", "group", "mailbox", "remove", "tea house", "12D3KooWoffice")
	do("", "group", "mailbox", "remove", "tea house", "12D3KooWoffice")
	do("", "group", "mailbox", "find")
	w.node.Offices = []api.FoundMailbox{{Peer: "12D3KooWoffice", Addrs: []string{"/ip4/192.0.2.7/udp/4001/quic-v1"}}}
	do("", "group", "mailbox", "find")
	do("", "group", "mailbox", "find", "--json")
	w.node.Reason = api.Explanation{Kind: api.WhyMessage, State: "queued", Facts: []string{"the gate is closed"}, Next: []string{"the next commit opens it"}}
	do("", "why", "tea house", apitest.ID("m"))
	do("", "why", "tea house", "join", "--json")
	do("", "why", "nowhere", "join")
	w.node.Reason = api.Explanation{
		Kind: api.WhyFile, State: "partly",
		Facts: []string{"holiday.mp4, video/mp4, 96 MiB, as its sender says; sealed it has 96 MiB", "1023 of its 1537 parts of 64 KiB are missing on this device: 64 MiB", "ben/abc (peer 12D3KooWben) has 40 % of it"},
		Next:  []string{"members are asked for it again in 4m0s, or once another one connects"},
	}
	do("", "why", "tea house", apitest.ID("f"))
	do("", "why", "tea house", apitest.ID("f"), "--json")
	do("", "why", "nothing.mp4")
	do("", "group", "leave", "coffee")
	do("", "group", "show", "coffee")
	do("", "group", "show", "nowhere")
	do("", "group", "show", "nowhere", "--json")
	do("", "debug", "envelope", "tea house", "m")
	do("Z29vZA==", "debug", "hand", "tea house")
	do("YmFk", "debug", "hand", "tea house")
	do("", "stop")
	select {
	case <-w.node.Stopped():
	default:
		t.Error("the node was not asked to stop")
	}
	do("", "reply", "coffee", "last", "ground", "--json")
	do("", "edit", "coffee", "mine", "roasted", "--json")
	do("", "delete", "coffee", "mine", "--json")
	golden(t, "transcript.txt", b.String())
}

func TestAmbiguousNamesListTheCandidates(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "tea")
	w.ok("group", "create", "tea")
	r := w.run("", "send", "tea", "hello")
	if r.code != api.ExitUsage || strings.Count(r.err, "  tea\n") != 2 {
		t.Errorf("got %d\n%s", r.code, r.err)
	}
	w.node.Findable = []api.Found{{ID: apitest.ID("a"), Name: "x", Verified: true}, {ID: apitest.ID("b"), Name: "X", Verified: true}, {ID: apitest.ID("c"), Name: "x"}}
	r = w.run("", "group", "join", "x")
	if r.code != api.ExitUsage || !strings.Contains(r.err, "2 groups have the name") || strings.Contains(r.err, apitest.ID("c")) {
		t.Errorf("got %d\n%s", r.code, r.err)
	}
}

// Wherever a name could be taken for that of somebody or something else, the display says
// so, or has the ID beside it. A name that fits two is not taken.
func TestLookAlikesAreShown(t *testing.T) {
	const fake, doubt = "\u0430nna", "(name like another's)" // with a Cyrillic а
	w := newWorld(t)
	w.ok("group", "create", "tea house")
	w.ok("group", "create", "te\u0430 house")
	tea := apitest.ID("group tea house0")
	w.node.AddMember(tea, fake, "member")
	w.node.AddMember(tea, "ben", "member")
	w.node.AddRequest(tea, "B\u0435n")
	w.node.Receive(tea, fake, "trust me")
	w.node.Receive(tea, "ben", "hello")
	w.ok("group", "invite", tea)
	w.node.Findable = []api.Found{{ID: apitest.ID("a"), Name: "tea choir", Verified: true}, {ID: apitest.ID("b"), Name: "tea ch\u043eir", Verified: true}}
	for _, c := range []struct {
		args  string
		lines []string // of which each is there
	}{
		{"group list", []string{"tea house " + doubt, "te\u0430 house " + doubt}},
		{"status", []string{"tea house " + doubt}},
		{"group members " + tea, []string{"anna " + doubt + " (you)", fake + " " + doubt, "ben "}},
		{"group requests " + tea, []string{"B\u0435n " + doubt}},
		{"group invites " + tea, []string{"  anna/" + api.Short(w.node.Self.User) + "  "}},
		{"group find tea", []string{"choir " + doubt, "ch\u043eir " + doubt}},
		{"tail " + tea, []string{fake + "/" + api.Short(apitest.ID("user "+fake)) + " " + doubt + ": trust me", "ben/" + api.Short(apitest.ID("user ben")) + ": hello"}},
		{"tail", []string{"[tea house/" + api.Short(tea) + "] ben"}},
	} {
		out := w.ok(strings.Fields(c.args)...)
		for _, line := range c.lines {
			if !strings.Contains(out, line) {
				t.Errorf("%s: no %q in:\n%s", c.args, line, out)
			}
		}
	}
	for _, args := range [][]string{{"send", "tea house", "hello"}, {"group", "remove", tea, "anna"}, {"group", "remove", tea, fake}} {
		if r := w.run("", args...); r.code != api.ExitUsage || !strings.Contains(r.err, "look the same") {
			t.Errorf("%q: %d, %s", args, r.code, r.err)
		}
	}
}

// A name that many groups have means the one that clearly more places tell of, whatever
// sizes the others claim; if no one is, the user chooses.
func TestJoinANameAmongFakes(t *testing.T) {
	w := newWorld(t)
	genuine := apitest.ID("r")
	for i := range 65 {
		w.node.Findable = append(w.node.Findable, api.Found{ID: apitest.ID(fmt.Sprint(i)), Name: "tea house", Verified: true, Members: 1 << 20, Votes: 1. / 65})
	}
	w.node.Findable = append([]api.Found{{ID: genuine, Name: "tea house", Verified: true, Members: 4, Votes: 1}}, w.node.Findable...)
	if r := w.run("", "group", "join", "tea house"); r.code != 0 || r.out != genuine+"\n" {
		t.Errorf("it joins %q, wants %s: code %d\n%.300s", r.out, genuine, r.code, r.err)
	}
	w.node.Findable[1].Votes = 0.6 // somebody else has a network, too
	r := w.run("", "group", "join", "tea house")
	if r.code != api.ExitUsage || r.out != "" || !strings.Contains(r.err, "66 groups have the name") {
		t.Errorf("got %d, joined %q\n%.300s", r.code, r.out, r.err)
	}
	if out := w.ok("group", "find", "tea"); !strings.Contains(out, "SAYS-MEMBERS") {
		t.Errorf("a size is not shown as a claim:\n%.200s", out)
	}
}

// Every code of the API comes out as its exit code, in text and in JSON.
func TestEveryErrorHasItsExitCode(t *testing.T) {
	codes := map[api.Code]int{
		api.CodeInternal: 1, api.CodeInvalid: 2, api.CodeAmbiguous: 2, api.CodeUnavailable: 3, api.CodeNotFound: 4, api.CodeNotPermitted: 5, api.CodeLocked: 6,
		api.CodeTimeout: 7, api.CodeNoPeers: 8, api.CodeConflict: 9, api.CodeVerification: 10, api.CodeCorrupt: 11, api.CodeNewer: 11, api.CodeLimited: 12,
	}
	for code, want := range codes {
		w := newWorld(t)
		w.node.Fail = map[string]error{"Groups": api.Errorf(code, "it is so: because").WithHint("do that")}
		r := w.run("", "group", "list")
		if text := "pandanode: it is so: because\nhint: do that\n"; r.code != want || r.err != text || r.out != "" {
			t.Errorf("%s: exit code %d, want %d; stdout %q, stderr %q", code, r.code, want, r.out, r.err)
		}
		r = w.run("", "--json", "group", "list")
		var e struct{ Error *api.Error }
		if err := json.Unmarshal([]byte(r.err), &e); err != nil || r.code != want || e.Error.Code != code || r.out != "" {
			t.Errorf("%s, JSON: exit code %d, want %d: %q, %v", code, r.code, want, r.err, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"nonsense"},
		{"status", "--nonsense"},
		{"status", "--wait", "happy"},
		{"group", "nonsense"},
		{"group", "create"},
		{"group", "create", "x", "--policy", "free"},
		{"group", "show"},
		{"group", "remove", "x"},
		{"group", "join", "x", "--wait", "--until", "bored"},
		{"group", "join"},
		{"group", "join", "x", "y"},
		{"group", "invite", "x", "--expires", "soon"},
		{"group", "invite", "x", "--expires", "-3h"},
		{"group", "invite", "x", "--expires", "0d"},
		{"group", "invite", "x", "--role", "king"},
		{"group", "invite", "x", "--uses", "-1"},
		{"group", "approve", "x", "y", "--role", "king"},
		{"group", "role", "x", "y"},
		{"group", "role", "x", "y", "king"},
		{"group", "revoke-invite", "x"},
		{"why"},
		{"why", "x", "y", "z"},
		{"send", "x"},
		{"send", "x", ""},
		{"send", "x", " \t"},
		{"send", "x", "-5"},
		{"send", "x", strings.Repeat("y", maxText+1)},
		{"group", "create", ""},
		{"group", "create", "  "},
		{"group", "rename", "x"},
		{"tail", "x", "-n", "-1"},
		{"tail", "x", "-n", "few"},
		{"tail", "x", "-n", "3", "--all"},
		{"send", "x", "\xff"},
		{"send", "x", "y", "--wait", "read"},
		{"tail", "x", "--count", "-1"},
		{"tail", "x", "--timeout", "soon"},
		{"run", "--log-level", "loud"},
		{"init", "--listen", "here"},
		{"init", "--key-file", "a", "--passphrase-file", "b"},
	} {
		if r := w.run("", args...); r.code != api.ExitUsage || r.out != "" || !strings.HasPrefix(r.err, "pandanode: ") {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", args, r.code, r.out, r.err)
		}
	}
	if r := w.run(strings.Repeat("x", maxText+1), "send", "x", "-"); r.code != api.ExitUsage || !strings.Contains(r.err, "65536 bytes (64 KiB)") {
		t.Errorf("a long message: %+v", r)
	}
	w.env = []string{"PANDANODE_LOGLEVEL=debug"}
	if r := w.run("", "id"); r.code != api.ExitUsage || !strings.Contains(r.err, "PANDANODE_LOG_LEVEL") {
		t.Errorf("an unknown variable: %+v", r)
	}
}

func TestNoNode(t *testing.T) {
	w := &world{t: t, home: t.TempDir()}
	r := w.run("", "id")
	if r.code != api.ExitNoNode || !strings.Contains(r.err, w.hint("pandanode init, then pandanode run")) {
		t.Errorf("nothing is there: %+v", r)
	}
	if r := w.run("", "status", "--wait", "ready"); r.code != api.ExitNoNode || !strings.Contains(r.err, w.hint("pandanode init, then pandanode run")) {
		t.Errorf("waiting where nobody can come: %+v", r)
	}
	if err := os.Mkdir(filepath.Join(w.home, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	r = w.run("", "status", "--wait", "ready", "--timeout", "60ms")
	if r.code != api.ExitTimeout || !strings.HasPrefix(r.err, "waiting: no node is running on "+w.home) || !strings.Contains(r.err, "not ready after 60ms") {
		t.Errorf("waiting for nobody: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(w.home, "socket"), []byte(filepath.Join(w.home, "gone")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.run("", "id"); r.code != api.ExitNoNode || !strings.Contains(r.err, w.hint("pandanode run")) {
		t.Errorf("a dead node: %+v", r)
	}
	other := &world{t: t, home: filepath.Join(w.home, "none")}
	if r := other.run("", "run"); r.code != api.ExitNotFound || !strings.Contains(r.err, other.hint("pandanode init")) {
		t.Errorf("run without init: %+v", r)
	}
}

// status --wait starts before the node does.
func TestStatusWaitsForANodeToAppear(t *testing.T) {
	w := &world{t: t, home: t.TempDir(), node: apitest.New("anna")}
	if err := os.Mkdir(filepath.Join(w.home, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	socket := apitest.Serve(t, w.node)
	done := make(chan outcome)
	go func() { done <- w.run("", "status", "--wait", "ready", "--timeout", "10s", "--json") }()
	record := filepath.Join(w.home, "socket") // replaced whole, as MakeSocket does
	if err := errors.Join(os.WriteFile(record+"~", []byte(socket+"\n"), 0o600), os.Rename(record+"~", record)); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != 0 || !strings.Contains(r.out, `"levels"`) {
		t.Errorf("got %+v", r)
	}
}

// TestSendOfLinesThatStops: who sends lines is told which of them cannot be sent, and what became of
// the others.
func TestSendOfLinesThatStops(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "tea")
	for what, bad := range map[string]string{
		"a long line": strings.Repeat("x", maxText+1), "a very long line": strings.Repeat("x", 3*maxText), "no UTF-8": "caf\xe9",
	} {
		r := w.run("one\n\n"+bad+"\nthree\n", "send", "tea", "--stdin")
		if r.code != api.ExitUsage || strings.Count(r.out, "\n") != 1 || !strings.Contains(r.err, "line 3 of stdin") || !strings.Contains(r.err, "those after it are not") {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// TestCopyOfAHome: of a copy of the home of a node that runs nobody says that a process of it ended.
func TestCopyOfAHome(t *testing.T) {
	w := &world{t: t, home: t.TempDir(), node: apitest.New("anna")}
	original := t.TempDir()
	for name, text := range map[string]string{
		"socket": filepath.Join(original, "api.sock") + "\nof the home " + original + "\n", "running": `{"phase":"running","pid":4711}`, "store/keys": "",
	} {
		path := filepath.Join(w.home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := w.run("", "status")
	if r.code != api.ExitNoNode || !strings.Contains(r.err, "no node is running on "+w.home) || strings.Contains(r.err, "4711") {
		t.Errorf("%+v", r)
	}
}

func TestSendThatIsNotDeliveredInTime(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "tea")
	w.node.Delivers = api.DeliveryQueued
	r := w.run("", "send", "tea", "hello", "--wait", "held", "--timeout", "1s")
	if r.code != api.ExitTimeout || len(strings.TrimSpace(r.out)) != idLength || !strings.Contains(r.err, "still queued") || !strings.Contains(r.err, w.hint("pandanode why tea "+r.out)) {
		t.Errorf("got %+v", r)
	}
}

func TestTailFollows(t *testing.T) {
	w := newWorld(t)
	id := strings.TrimSpace(w.ok("group", "create", "tea"))
	for i := range 7 { // more than a page
		w.node.Receive(id, "ben", fmt.Sprint("message ", i))
	}
	if got := strings.Count(w.ok("tail", "tea"), "\n"); got != 7 {
		t.Errorf("%d of 7 messages in several pages", got)
	}
	done := make(chan outcome)
	go func() { done <- w.run("", "tail", "tea", "--count", "9", "--timeout", "10s") }()
	w.node.Receive(id, "ben", "message 7")
	w.node.Receive(id, "ben", "message 8")
	if r := <-done; r.code != 0 || strings.Count(r.out, "message ") != 9 {
		t.Errorf("got %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	a := &app{out: &stopAfter{&out, 9, cancel}, err: &out}
	if code := a.run(ctx, []string{"--home", w.home, "tail", "tea", "--follow"}); code != api.ExitInterrupted {
		t.Errorf("interrupted: exit code %d: %s", code, &out)
	}
}

// stopAfter interrupts after so many writes.
type stopAfter struct {
	*bytes.Buffer
	left   int
	cancel func()
}

func (s *stopAfter) Write(b []byte) (int, error) {
	if s.left--; s.left == 0 {
		s.cancel()
	}
	return s.Buffer.Write(b)
}

// The help of every command is in a golden file, and every example in it is a
// command that exists with flags that exist.
func TestHelp(t *testing.T) {
	a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	var pages []string
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-")
		if c.Name() == "completion" || c.Name() == "help" {
			return
		}
		pages = append(pages, name)
		var out bytes.Buffer
		one := &app{out: &out, err: &out}
		if code := one.run(t.Context(), append(strings.Fields(c.CommandPath())[1:], "--help")); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
		golden(t, filepath.Join("help", name+".txt"), out.String())
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	if len(pages) < 20 {
		t.Errorf("only %d pages: %v", len(pages), pages)
	}
	files, err := os.ReadDir(filepath.Join("testdata", "help"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(pages, strings.TrimSuffix(f.Name(), ".txt")) {
			t.Errorf("testdata/help/%s is of no command", f.Name())
		}
	}
}

// A hint names only flags that its command has: each command that asks for a passphrase
// runs where nobody can be asked.
func TestHintsNameFlagsThatThereAre(t *testing.T) {
	w := &world{t: t, home: t.TempDir()}
	pass := filepath.Join(w.home, "pass")
	if err := os.WriteFile(pass, []byte("long enough\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(w.home, "data")
	if r := (&world{t: t, home: data}).run("", "init", "--passphrase-file", pass, "--mdns=false", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"); r.code != 0 {
		t.Fatalf("init: %+v", r)
	}
	if err := os.Remove(filepath.Join(data, "config.toml")); err != nil { // which names the file
		t.Fatal(err)
	}
	w.home = data
	commands := [][]string{
		{"doctor"},
		{"store", "stat"},
		{"store", "verify"},
		{"store", "compact"},
		{"passphrase", "change"},
		{"passphrase", "change", "--passphrase-file", pass},
		{"backup", "create", filepath.Join(w.home, "b.age")},
		{"backup", "create", filepath.Join(w.home, "b.age"), "--backup-passphrase-file", pass},
		{"--home", filepath.Join(w.home, "new"), "init"},
	}
	flag := regexp.MustCompile(`--([a-z-]+)`)
	for _, args := range commands {
		r := w.run("", args...)
		_, hint, ok := strings.Cut(r.err, "hint: ")
		if !ok {
			_, hint, ok = strings.Cut(r.out, "hint: ")
		}
		if r.code != api.ExitLocked && args[0] != "doctor" || !ok {
			t.Errorf("%v: %+v", args, r)
			continue
		}
		root := (&app{}).root()
		cmd, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range flag.FindAllStringSubmatch(hint, -1) {
			if m[1] != "home" && m[1] != "detach" && cmd.Flags().Lookup(m[1]) == nil {
				t.Errorf("%v has no %s: %q", args, m[0], hint)
			}
		}
	}
	// And the named flags work: the passphrase is changed with files alone.
	next := filepath.Join(filepath.Dir(pass), "next")
	if err := os.WriteFile(next, []byte("another one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.run("", "passphrase", "change", "--passphrase-file", pass, "--new-passphrase-file", next); r.code != 0 {
		t.Errorf("changing it: %+v", r)
	}
	if r := w.run("", "store", "stat", "--passphrase-file", pass); r.code != api.ExitLocked {
		t.Errorf("the old one: %+v", r)
	}
	if r := w.run("", "store", "stat", "--passphrase-file", next); r.code != 0 {
		t.Errorf("the new one: %+v", r)
	}
	if err := os.WriteFile(next, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.run("", "store", "stat", "--passphrase-file", next); r.code != api.ExitUsage {
		t.Errorf("an empty one: %+v", r)
	}
}

// An interrupted wait says so, and its exit code tells the signal. It does not mention a
// timeout that was not given.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "tea")
	far := apitest.ID("far")
	w.node.Findable = []api.Found{{ID: far, Name: "far tea", Policy: api.PolicyOpen, Source: api.SourceDHT, Verified: true}}
	w.node.Stuck = api.StageWaiting
	for _, args := range [][]string{
		{"status", "--wait", "ready"}, {"tail", "tea", "--follow"}, {"tail", "tea", "--count", "1"}, {"group", "join", far, "--wait"}, {"stop"},
	} {
		for _, c := range []struct {
			signal syscall.Signal
			code   int
			says   string
		}{{syscall.SIGINT, 130, "interrupted"}, {syscall.SIGTERM, 143, "terminated"}, {syscall.SIGHUP, 129, "the terminal was closed"}} {
			env := []string{"PANDANODE_HOME=" + w.home}
			if args[0] == "status" || args[0] == "stop" { // where there is none
				home := t.TempDir()
				held, err := new(app).claimHome(t.Context(), home, "")
				if err != nil {
					t.Fatal(err)
				}
				defer held.release()
				env = []string{"PANDANODE_HOME=" + home}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(100*time.Millisecond, func() { cancel(&interrupted{c.signal}) })
			var out, diag bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &diag, environ: env}
			code := a.run(ctx, args)
			if last := diag.String()[strings.LastIndex(strings.TrimSuffix(diag.String(), "\n"), "\n")+1:]; code != c.code || last != "pandanode: "+c.says+"\n" {
				t.Errorf("%v, %v: exit code %d, want %d: %q", args, c.signal, code, c.code, diag.String())
			}
		}
	}
}

// However the wait for a message ends, its ID is told, with what is known of it and how to go
// on: by Ctrl-C, by the time, by a node that ends. It is sent once.
func TestWaitForAMessageEnds(t *testing.T) {
	for _, how := range []struct {
		name, says string
		code       int
		timeout    string
		fail       error
	}{
		{name: "interrupted", code: 130, says: "interrupted: message %s is written down here and not lost; it is queued"},
		{name: "late", code: api.ExitCode(api.Errorf(api.CodeTimeout, "")), timeout: "50ms", says: "still queued after 50ms: message %s is not lost and goes out once it can"},
		{name: "gone", code: api.ExitCode(api.Errorf(api.CodeUnavailable, "")), fail: api.Errorf(api.CodeUnavailable, "broken off"), says: "the node no longer answers: message %s is written down here and not lost; it was queued when last known"},
	} {
		for _, form := range []string{"", "--json"} {
			w := newWorld(t)
			w.ok("group", "create", "tea")
			w.node.Delivers = api.DeliveryQueued
			if how.fail != nil {
				w.node.Fail = map[string]error{"Delivery": how.fail}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			args := []string{"send", "tea", "hello", "--wait", "held"}
			if form != "" {
				args = append(args, form)
			}
			if how.timeout != "" {
				args = append(args, "--timeout", how.timeout)
			} else if how.fail == nil {
				time.AfterFunc(100*time.Millisecond, func() { cancel(&interrupted{syscall.SIGINT}) })
			}
			var out, diag bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &diag, environ: []string{"PANDANODE_HOME=" + w.home}}
			code := a.run(ctx, args)
			cancel(nil)
			all := messagesOf(t, w, "tea")
			if len(all) != 1 {
				t.Fatalf("%s: %d messages were sent", how.name, len(all))
			}
			id := all[0]
			if code != how.code || !strings.Contains(out.String(), id) ||
				!strings.Contains(diag.String(), fmt.Sprintf(how.says, api.Short(id))) || !strings.Contains(diag.String(), "why tea "+id) {
				t.Errorf("%s %s: exit code %d, want %d\n%s%s", how.name, form, code, how.code, out.String(), diag.String())
			}
			if form != "" && !json.Valid(bytes.TrimSpace(diag.Bytes())) {
				t.Errorf("%s: no JSON: %s", how.name, diag.String())
			}
		}
	}
}

// messagesOf gives the IDs of what was sent to a group.
func messagesOf(t *testing.T, w *world, group string) []string {
	t.Helper()
	page, err := w.node.Messages(t.Context(), api.MessagesRequest{Group: group})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range page.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}
