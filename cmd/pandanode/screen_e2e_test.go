//go:build e2e && linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node/api"
)

// mux is a tmux server of its own, with a window for each person.
type mux struct {
	t      *testing.T
	socket string
	dir    string
}

func newMux(t *testing.T, dir string) *mux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatalf("the chat is tried in tmux, and there is none (apt-get install tmux): %v", err)
	}
	m := &mux{t, filepath.Join(dir, "tmux"), dir}
	t.Cleanup(func() { _, _ = m.tmux("kill-server") })
	return m
}

func (m *mux) tmux(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-u", "-f", "/dev/null", "-S", m.socket}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.dir, "LANG=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *mux) must(args ...string) string {
	m.t.Helper()
	out, err := m.tmux(args...)
	if err != nil {
		m.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return out
}

// pane is a terminal of tmux with a shell in it.
type pane struct {
	*mux
	name string
}

func (m *mux) open(name string, width, height int, env ...string) *pane {
	m.t.Helper()
	args := []string{"new-session", "-d", "-s", name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "-c", m.dir}
	for _, v := range env {
		args = append(args, "-e", v)
	}
	m.must(append(args, "bash --norc --noprofile")...)
	m.must("set-option", "-g", "escape-time", "0")
	m.must("set-option", "-g", "status", "off")
	return &pane{m, name}
}

func (p *pane) text() string {
	p.t.Helper()
	return p.must("capture-pane", "-p", "-t", p.name)
}

// types types text as it is.
func (p *pane) types(text string) {
	p.t.Helper()
	p.must("send-keys", "-l", "-t", p.name, text)
}

// keys presses keys by tmux's names.
func (p *pane) keys(names ...string) {
	p.t.Helper()
	p.must(append([]string{"send-keys", "-t", p.name}, names...)...)
}

// says types a line and sends it.
func (p *pane) says(text string) {
	p.t.Helper()
	p.types(text)
	p.keys("Enter")
}

// until waits until the terminal shows what is looked for, and is not being drawn: two looks in
// a row are the same.
func (p *pane) until(what string, is func(text string) bool) string {
	p.t.Helper()
	const patience, pause = time.Minute, 50 * time.Millisecond
	late := time.After(patience)
	for last := ""; ; {
		text := p.text()
		if text == last && is(text) {
			return text
		}
		last = text
		select {
		case <-late:
			others := ""
			for name := range strings.Lines(p.must("list-sessions", "-F", "#{session_name}")) {
				if name = strings.TrimSpace(name); name != p.name {
					others += "\n" + name + ":\n" + p.must("capture-pane", "-p", "-t", name)
				}
			}
			p.t.Fatalf("%s: %s was not seen, but this:\n%s%s", p.name, what, text, others)
		case <-time.After(pause):
		}
	}
}

func (p *pane) sees(texts ...string) string {
	p.t.Helper()
	var last string
	for _, want := range texts {
		last = p.until(strconv.Quote(want), func(text string) bool { return strings.Contains(text, want) })
	}
	return last
}

func (p *pane) resize(width, height int) {
	p.t.Helper()
	p.must("resize-window", "-t", p.name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
}

// screens is the world of the test: three people, each with a node of its own.
type screens struct {
	*mux
	program string
	env     []string
	ports   map[string]int // as a node's own file has one: after a crash its peers find it at once
}

// envOf is the environment of somebody's commands.
func (s *screens) envOf(who string) []string {
	return append(slices.Clone(s.env), fmt.Sprintf("PANDANODE_LISTEN=/ip4/127.0.0.1/udp/%d/quic-v1", s.ports[who]))
}

// cli runs a command for somebody and gives what it prints.
func (s *screens) cli(who, in string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.program, append([]string{"--home", filepath.Join(s.dir, who)}, args...)...)
	cmd.Env, cmd.Stdin = s.envOf(who), strings.NewReader(in)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %q: %v: %s", who, args, err, diag.String())
	}
	return out.String()
}

// node gives the status of somebody's node.
func (s *screens) node(who string) (out api.Status) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.cli(who, "", "status", "--json")), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// kill ends somebody's node as a crash does, and waits until its process is gone.
func (s *screens) kill(who string) {
	s.t.Helper()
	pid := s.node(who).PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	late := time.After(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		select {
		case <-late:
			s.t.Fatalf("process %d does not end", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const screenPassphrase = "a passphrase to type"

// Four real nodes, and two people in the chat on a whole terminal: from nothing to the first
// message in less than a minute; everything that is said about messages; three sizes; text that
// would act on the terminal; suspended and back; the node killed, away, locked and back; and the
// unread messages of chat, command line and page, which are the same.
func TestScreen(t *testing.T) {
	dir, err := os.MkdirTemp("", "scr") // with a short name, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &screens{mux: newMux(t, dir), program: filepath.Join(dir, "pandanode")}
	install(t, s.program)
	s.env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "PANDANODE_MDNS=false"}
	people := []string{"anna", "ben", "carla", "dora"}
	ports, err := freeport.Draw(t.Context(), "127.0.0.1", len(people))
	if err != nil {
		t.Fatal(err)
	}
	s.ports = map[string]int{}
	for i, who := range people {
		s.ports[who] = ports[i]
		t.Cleanup(func() {
			stop := exec.Command(s.program, "--home", filepath.Join(dir, who), "stop")
			stop.Env = s.env
			_ = stop.Run() // it may not run
		})
	}
	anna, ben := s.begin()
	s.talk(anna, ben)
	s.sizes(anna)
	s.suspend(anna)
	s.away(anna, ben)
	s.locked(anna)
	s.unread(anna)
	s.picture(anna, ben)
	s.hostile(anna)
	anna.keys("C-c")
	anna.until("the shell", func(text string) bool {
		text = strings.TrimSpace(text)
		return strings.HasSuffix(text, "#") || strings.HasSuffix(text, "$")
	})
	anna.says("stty -a | tr ';' '\\n' | grep -c -- ' echo '; echo over")
	text := anna.until("the end of the command", regexp.MustCompile(`(?m)^over$`).MatchString) // and not the command itself
	if !regexp.MustCompile(`(?m)^1$`).MatchString(text) {
		t.Errorf("the terminal is not as it was:\n%s", text)
	}
}

// begin has two people make their devices, each by the program alone, and meet in a group.
func (s *screens) begin() (anna, ben *pane) {
	s.t.Helper()
	begun := time.Now()
	anna = s.open("anna", 80, 24, s.envOf("anna")...)
	anna.says("./pandanode --home anna")
	anna.sees("Your name")
	anna.says("anna")
	anna.sees("Passphrase (")
	anna.says(screenPassphrase)
	anna.sees("Again:")
	anna.says(screenPassphrase)
	anna.sees("Find or found a group")
	anna.says("tea house")
	anna.sees("Found a new group \"tea house\"")
	anna.keys("Down", "Up", "Enter") // chosen before the search is over
	anna.sees("you founded the group", "only you")
	anna.says("Is somebody there?")
	anna.sees("Is somebody there?  ✓")
	if took := time.Since(begun); took > time.Minute {
		s.t.Errorf("from nothing to a first message: %v", took)
	} else {
		s.t.Logf("from nothing to a first message: %v", took.Round(100*time.Millisecond))
	}

	seed := "PANDANODE_BOOTSTRAP=" + s.node("anna").Listen[0]
	s.env = append(s.env, seed)
	ben = s.open("ben", 80, 24, s.envOf("ben")...)
	ben.says("./pandanode --home ben")
	ben.sees("Your name")
	ben.says("ben")
	ben.sees("Passphrase (")
	ben.keys("Enter") // a key file
	ben.sees("Find or found a group")
	ben.says("tea")
	ben.sees("Join tea house")
	ben.keys("Enter")
	ben.sees("Write a message")
	s.cli("carla", "", "init", "--name", "carla", "--key-file", filepath.Join(s.dir, "carla.key"))
	s.cli("carla", "", "run", "--detach")
	s.cli("carla", "", "status", "--wait", "online")
	s.cli("carla", "", "group", "join", strings.TrimSpace(s.id("anna", "tea house")), "--wait")
	anna.sees("ben joined", "carla joined")

	dora := s.open("dora", 120, 24, s.envOf("dora")...)
	dora.says("./pandanode --home dora web --print")
	dora.sees("Your name")
	dora.says("dora")
	dora.sees("Passphrase (")
	dora.keys("Enter")
	dora.sees("the key is in", "http://127.0.0.1:", "this link logs in one browser")
	return anna, ben
}

// id is the ID of a group.
func (s *screens) id(who, name string) string {
	s.t.Helper()
	for _, g := range s.node(who).Groups {
		if g.Name == name {
			return g.ID
		}
	}
	s.t.Fatalf("%s has no group %q", who, name)
	return ""
}

// talk says all that can be said of a message.
func (s *screens) talk(anna, ben *pane) {
	s.t.Helper()
	ben.says("Is there any left?")
	anna.sees("Is there any left?")
	ben.sees("left?  ✓✓")
	anna.keys("Escape")
	anna.sees("▌ Is there any left?")
	anna.types("r")
	anna.sees("answering ben: Is there any left?")
	anna.types("Two tins, @b")
	anna.keys("Tab")
	anna.sees("@ben")
	anna.keys("M-Enter")
	anna.says("and a pot 茶")
	ben.sees("@ Two tins, @ben", "and a pot 茶", "↳ you: Is there any left?")
	ben.keys("Escape")
	ben.sees("▌ @ Two tins")
	ben.types("+")
	ben.sees("React with")
	ben.types("tea")
	ben.keys("Enter")
	anna.sees("🍵 1")
	ben.keys("Up") // in an empty line: the last own message
	ben.sees("writing it anew")
	ben.types(" Please")
	ben.keys("Enter")
	anna.sees("left? Please (edited)")
	ben.says("A word too many")
	anna.sees("A word too many")
	ben.keys("Escape")
	ben.sees("▌ A word too many")
	ben.types("d")
	ben.sees("y/n")
	ben.types("y")
	anna.sees("(deleted)")
	anna.keys("C-f")
	anna.says("tins")
	anna.sees("▌ Two tins, @ben  and a pot")
	anna.keys("Enter")
	anna.sees("older messages", "▌ Two tins")
	anna.keys("End")
	anna.sees("Write a message")
	anna.says("/role carla read-only")
	anna.sees("you made carla a read-only member")
	anna.keys("F2")
	if text := anna.sees("Members of tea house"); !regexp.MustCompile(`carla +read-only`).MatchString(text) {
		s.t.Errorf("it does not show who reads only:\n%s", text)
	}
	anna.keys("Escape")
	anna.sees("Write a message")
	anna.says("/role carla member")
	anna.sees("you made carla a member")
	anna.says("/invite")
	anna.sees("pandanode:invite/", "whoever has this link")
	anna.resize(140, 75)
	anna.sees("█▀▀▀▀▀█")
	anna.resize(80, 24)
	anna.keys("Escape")
	anna.sees("Write a message")
}

// sizes shows the same in every size, and nothing of the size before.
func (s *screens) sizes(anna *pane) {
	s.t.Helper()
	for _, size := range [][2]int{{120, 40}, {40, 12}, {20, 6}, {10, 3}, {80, 24}} {
		anna.resize(size[0], size[1])
		want := "Write a message"
		if size[0] < 20 {
			want = "The termi"
		}
		anna.until(want+" in its size", func(text string) bool {
			lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
			for _, l := range lines {
				if uniseg.StringWidth(l) > size[0] {
					return false
				}
			}
			return len(lines) <= size[1] && strings.Contains(text, want) && strings.Count(text, "Write a message") <= 1
		})
	}
}

// hostile has somebody send what would act on the terminal.
func (s *screens) hostile(anna *pane) {
	s.t.Helper()
	before := anna.must("display-message", "-p", "-t", "anna", "#{pane_title} #{window_name}")
	s.cli("carla", "\x1b[2J\x1b[1;1H\x1b]0;owned\a\x1b]52;c;aGFjaw==\a\x1b[?1049l\x1bc\u202egnp.exe \u0085 done", "send", "tea house", "-")
	text := anna.sees("done")
	if !strings.Contains(text, "tea house") || !strings.Contains(text, "Write a message") || strings.Contains(text, "\u202e") {
		s.t.Errorf("a message has acted on the terminal:\n%s", text)
	}
	if after := anna.must("display-message", "-p", "-t", "anna", "#{pane_title} #{window_name}"); strings.Contains(after, "owned") {
		s.t.Errorf("a message has named the window: %q, before %q", after, before)
	}
	if buffers, err := s.tmux("show-buffer"); err == nil && strings.Contains(buffers, "hack") {
		s.t.Errorf("a message is in the clipboard: %q", buffers)
	}
}

// suspend goes to the shell, and comes back.
func (s *screens) suspend(anna *pane) {
	s.t.Helper()
	anna.types("a draft")
	anna.sees("› a draft")
	anna.keys("C-z")
	anna.sees("Stopped")
	anna.says("stty -a | tr ';' '\\n' | grep -c -- ' echo '; echo shell-is-here")
	anna.until("the end of the command", regexp.MustCompile(`(?m)^shell-is-here$`).MatchString) // and not the command itself
	anna.says("fg")
	anna.sees("› a draft", "tea house")
	anna.keys("C-u")
	anna.sees("Write a message")
}

// away kills the node: what is typed waits, and is sent once when the node is back.
func (s *screens) away(anna, ben *pane) {
	s.t.Helper()
	s.kill("anna")
	anna.sees("the node is away")
	anna.says("Written while away")
	anna.sees("Written while away  waits for the node")
	anna.says("and one more")
	ben.says("Meanwhile")
	file := filepath.Join(s.dir, "passphrase")
	if err := os.WriteFile(file, []byte(screenPassphrase+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.cli("anna", "", "run", "--detach", "--passphrase-file", file)
	anna.sees("Meanwhile", "Written while away  ✓", "and one more  ✓")
	ben.sees("Written while away", "and one more")
	var texts []string
	for l := range strings.Lines(s.cli("ben", "", "tail", "tea house", "--json")) {
		var m api.Message
		if err := json.Unmarshal([]byte(l), &m); err == nil && m.Text != "" {
			texts = append(texts, m.Text)
		}
	}
	all := strings.Join(texts, "\n")
	if strings.Count(all, "Written while away") != 1 || strings.Count(all, "and one more") != 1 || strings.Index(all, "Written") > strings.Index(all, "and one more") {
		s.t.Errorf("not once, in their order: %q", texts)
	}
}

// locked starts the node where nobody can be asked: the chat asks.
func (s *screens) locked(anna *pane) {
	s.t.Helper()
	s.kill("anna")
	anna.sees("the node is away")
	run := exec.Command(s.program, "--home", filepath.Join(s.dir, "anna"), "run")
	run.Env, run.SysProcAttr = s.envOf("anna"), &syscall.SysProcAttr{Setsid: true}
	if err := run.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = run.Wait() }() // it ends with `stop`, or as the next test kills it
	anna.sees("The node is locked")
	anna.says("not the one")
	anna.sees("wrong passphrase")
	anna.types(screenPassphrase)
	if text := anna.sees("••••"); strings.Contains(text, screenPassphrase) {
		s.t.Errorf("the passphrase is shown:\n%s", text)
	}
	anna.keys("Enter")
	anna.sees("Write a message", "and one more")
}

// unread has messages come to a group that is not shown, kills the node, and compares what the
// chat, the command line and the page say is unread.
func (s *screens) unread(anna *pane) {
	s.t.Helper()
	anna.keys("C-t")
	anna.sees("Find or found a group")
	anna.says("board")
	anna.sees("Found a new group \"board\"")
	anna.keys("Down", "Up", "Enter")
	anna.sees("you named the group \"board\"")
	s.cli("carla", "", "group", "join", s.id("anna", "board"), "--wait")
	anna.sees("carla joined")
	anna.keys("M-Down")
	anna.sees("Two tins")
	for _, text := range []string{"one", "two", "three", "@anna four", "five"} {
		s.cli("carla", "", "send", "board", text, "--wait", "held", "--timeout", "60s")
	}
	anna.sees("@1 5")
	s.kill("anna")
	anna.sees("the node is away")
	s.cli("anna", "", "run", "--detach", "--passphrase-file", filepath.Join(s.dir, "passphrase"))
	anna.until("the node again", func(text string) bool {
		return strings.Contains(text, "peer") && !strings.Contains(text, "node away") && strings.Contains(text, "@1 5")
	})
	same := func(unread, mentions int) {
		s.t.Helper()
		for where, groups := range map[string][]api.Group{"command line": s.node("anna").Groups, "page": s.page("anna")} {
			found := false
			for _, g := range groups {
				if g.Name == "board" {
					found = true
					if g.Unread != unread || g.Mentions != mentions {
						s.t.Errorf("%s: %d unread and %d mentions, want %d and %d", where, g.Unread, g.Mentions, unread, mentions)
					}
				}
			}
			if !found {
				s.t.Errorf("%s: there is no group", where)
			}
		}
	}
	same(5, 1)
	anna.keys("M-a") // to what is unread
	anna.sees("─ new ─", "five")
	anna.until("no unread messages", func(text string) bool { return !strings.Contains(text, "@1 5") })
	same(0, 0)
	s.cli("carla", "", "send", "board", "six")
	anna.sees("six")
	anna.keys("M-Down")
	anna.sees("Two tins")
}

// page gives the groups as the page reads them.
func (s *screens) page(who string) []api.Group {
	s.t.Helper()
	at, login, ok := strings.Cut(strings.TrimSpace(s.cli(who, "", "web", "--print")), "/#login=")
	if !ok {
		s.t.Fatal("no link")
	}
	ask := func(method, path, token string, body any, out any) {
		s.t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(s.t.Context(), method, at+path, bytes.NewReader(text))
		if err != nil {
			s.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err = io.ReadAll(answer.Body)
		if err != nil || json.Unmarshal(text, out) != nil {
			s.t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, text, err)
		}
	}
	var session struct {
		Token string `json:"token"`
	}
	ask(http.MethodPost, "/login", "", map[string]string{"login": login}, &session)
	var out api.Groups
	ask(http.MethodGet, "/v1/groups", session.Token, nil, &out)
	return out.Groups
}

// picture draws the terminal as it is, where PANDANODE_PICTURES says so.
func (s *screens) picture(anna, ben *pane) {
	s.t.Helper()
	ben.says("Shall I bring a cake? 🍰")
	anna.sees("bring a cake?")
	s.cli("carla", "", "reply", "tea house", "last", "The one with *cherries*, please", "--markdown")
	anna.sees("The one with cherries")
	s.cli("carla", "", "react", "tea house", "last", "❤")
	anna.says("See you both at five, then")
	s.cli("carla", "", "send", "board", "@anna the minutes are there")
	anna.sees("five, then  ✓✓", "@1", "2 here")
	const width, height = 112, 26
	anna.resize(width, height)
	anna.sees("Members", "The one with cherries")
	anna.until("no remark", func(text string) bool { return strings.Contains(text, "Enter sends") })
	svg := drawn(anna.must("capture-pane", "-e", "-p", "-N", "-t", "anna"), width, height)
	anna.resize(80, 24)
	if !strings.Contains(svg, "tea house") {
		s.t.Errorf("no picture: %.300s", svg)
	}
	if to := os.Getenv("PANDANODE_PICTURES"); to != "" {
		if err := os.WriteFile(filepath.Join(to, "chat.svg"), []byte(svg), 0o644); err != nil { //nolint:gosec // a picture for everybody
			s.t.Fatal(err)
		}
	}
}

// look is how a terminal draws a character.
type look struct {
	fore                      string
	bold, dim, under, inverse bool
}

// drawn makes an SVG of what a terminal shows, with its styles.
func drawn(text string, width, height int) string {
	const w, h, back, fore = 8.4, 19.0, "#1d2129", "#d5dae3"
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">`+"\n", float64(width)*w+24, float64(height)*h+24)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", back)
	for y, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		at, is := 0, look{}
		for len(l) > 0 {
			if strings.HasPrefix(l, "\x1b[") {
				end := strings.IndexByte(l, 'm')
				is = is.styled(l[2:end])
				l = l[end+1:]
				continue
			}
			piece, rest := l, ""
			if i := strings.IndexByte(l, 0x1b); i >= 0 {
				piece, rest = l[:i], l[i:]
			}
			l = rest
			columns := uniseg.StringWidth(piece)
			colour := is.fore
			if colour == "" {
				colour = fore
			}
			x, top := 12+float64(at)*w, 12+float64(y)*h
			if is.inverse {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, top, float64(columns)*w, h, fore)
				colour = back
			}
			if strings.TrimSpace(piece) != "" {
				more := ""
				if is.bold {
					more += ` font-weight="bold"`
				}
				if is.dim {
					more += ` opacity="0.6"`
				}
				if is.under {
					more += ` text-decoration="underline"`
				}
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve"%s>%s</text>`+"\n", x, top+14, colour, float64(columns)*w, more, html.EscapeString(piece))
			}
			at += columns
		}
	}
	return b.String() + "</svg>\n"
}

// styled is a look after parameters of SGR.
func (l look) styled(parameters string) look {
	all := strings.Split(parameters, ";")
	for i := 0; i < len(all); i++ {
		switch all[i] {
		case "", "0":
			l = look{}
		case "1":
			l.bold = true
		case "2":
			l.dim = true
		case "4":
			l.under = true
		case "7":
			l.inverse = true
		case "22":
			l.bold, l.dim = false, false
		case "24":
			l.under = false
		case "27":
			l.inverse = false
		case "39":
			l.fore = ""
		case "38":
			if i+2 < len(all) && all[i+1] == "5" {
				n, _ := strconv.Atoi(all[i+2])
				l.fore = palette(n)
				i += 2
			}
		}
	}
	return l
}

// palette is a colour of the 6 by 6 by 6 cube of terminals.
func palette(n int) string {
	if n < 16 || n > 231 {
		return ""
	}
	steps := []int{0, 95, 135, 175, 215, 255}
	n -= 16
	return fmt.Sprintf("#%02x%02x%02x", steps[n/36], steps[n/6%6], steps[n%6])
}
