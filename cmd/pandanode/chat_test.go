package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

// A line of a chat is a command of the command line, with the group filled in; a text goes to
// the end of the line, as it was written.
func TestSlashed(t *testing.T) {
	for line, want := range map[string][]string{
		"/reply last It's -5, \"outside\"  now": {"reply", "--", "G", "last", `It's -5, "outside"  now`},
		"/reply --thread last yes":              {"reply", "--thread", "--", "G", "last", "yes"},
		"/edit mine -":                          {"edit", "--", "G", "mine", "-"},
		"/delete mine":                          {"delete", "G", "mine"},
		"/react last \u2764 --remove":           {"react", "G", "last", "\u2764", "--remove"},
		"/why last":                             {"why", "G", "last"},
		"/send --file a.jpg Look at \"it\"":     {"send", "--file", "a.jpg", "--", "G", `Look at "it"`},
		"/send --file \"~/two tins.jpg\"":       {"send", "--file", "/home/anna/two tins.jpg", "--", "G"},
		"/send --file=b.jpg --markdown *it*":    {"send", "--file=b.jpg", "--markdown", "--", "G", "*it*"},
		"/search green \"two tins\"":            {"search", "--", "G", `green "two tins"`},
		"/members":                              {"group", "members", "G"},
		"/group members":                        {"group", "members", "G"},
		"/groups":                               {"group", "list"},
		"/role \"ben the great\" admin":         {"group", "role", "G", "ben the great", "admin"},
		"/rename Tea House":                     {"group", "rename", "--", "G", "Tea House"},
		"/mailbox list":                         {"group", "mailbox", "list", "G"},
		"/join far":                             {"group", "join", "far"},
		"/status":                               {"status"},
	} {
		got, err := (&app{environ: []string{"HOME=/home/anna"}}).slashed(line, "G")
		if err != nil || !slices.Equal(got.args, want) {
			t.Errorf("%s: got %q, %v, want %q", line, got.args, err, want)
		}
	}
	for _, line := range []string{"/", "/nothing", "/run", "/stop", "/init", "/tail", "/unlock", "/backup create x", "/sim-bubble x", "/debug", "/etc/passwd is a file"} {
		if got, err := new(app).slashed(line, "G"); api.CodeOf(err) != api.CodeInvalid || !strings.Contains(api.AsError(err).Hint, "/"+line) {
			t.Errorf("%s: got %q, %v", line, got.args, err)
		}
	}
}

// output is what a command has printed so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed at the next write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(b)
}

// has waits until the output has a text.
func (o *output) has(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		o.mu.Lock()
		if strings.Contains(o.text.String(), text) {
			o.mu.Unlock()
			return
		}
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("no %q in:\n%s", text, o.String())
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// chatting is a chat that runs.
type chatting struct {
	t      *testing.T
	in     *io.PipeWriter
	out    output // stdout and stderr
	cancel context.CancelCauseFunc
	code   chan int
}

func chat(t *testing.T, home string, args ...string) *chatting {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	c := &chatting{t: t, in: w, cancel: cancel, code: make(chan int, 1)}
	a := &app{in: r, out: &c.out, err: &c.out, environ: []string{"PANDANODE_HOME=" + home}}
	go func() { c.code <- a.run(ctx, append([]string{"chat", "--plain"}, args...)) }()
	t.Cleanup(func() { cancel(nil); _ = w.Close() })
	return c
}

func (c *chatting) says(lines ...string) {
	c.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(c.in, l+"\n"); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *chatting) ends(code int) {
	c.t.Helper()
	select {
	case got := <-c.code:
		if got != code {
			c.t.Errorf("exit code %d, want %d:\n%s", got, code, c.out.String())
		}
	case <-time.After(20 * time.Second):
		c.t.Fatalf("the chat does not end:\n%s", c.out.String())
	}
}

// A chat by lines shows what is there and what comes, sends what is typed, carries out
// commands, and marks as read what it showed, and no more.
func TestChatPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("group", "create", "tea")
	w.ok("group", "create", "coffee")
	tea := apitest.ID("group tea0")
	w.node.AddMember(tea, "ben", "member")
	for range 30 {
		w.node.Receive(tea, "ben", "earlier")
	}
	w.node.Receive(tea, "ben", "bell \a, escape \x1b[2J, reversed \u202e")
	c := chat(t, w.home) // tea: something happened there last
	c.out.has(t, "unread from here:")
	c.out.has(t, "reversed")
	if n := strings.Count(c.out.String(), "earlier"); n != 30 {
		t.Errorf("%d of 30 unread messages are shown", n)
	}
	c.says("hello", "//shrug", "  ", "/reply last -5 and it's cold", "/react last \u2764", "/members", "/nonsense", "/edit "+apitest.ID("nothing")+" x", "/help")
	c.out.has(t, "you: hello\n")
	c.out.has(t, "you: /shrug\n")
	c.out.has(t, "you: -5 and it's cold\n    in answer to anna/")
	c.out.has(t, "* you reacted to your message with \u2764")
	c.out.has(t, "USER")
	c.out.has(t, "there is no command /nonsense here; /help lists them\nhint: a message that begins with \"/\" is written with two: //nonsense")
	c.out.has(t, "no message is called")
	c.out.has(t, "/approve USER")
	w.node.Receive(tea, "ben", "a new one")
	c.out.has(t, ": a new one\n")
	c.says("/chat coffee", "in coffee")
	c.out.has(t, "you: in coffee")
	_ = c.in.Close()
	c.ends(api.ExitUsage) // of /nonsense
	if text := c.out.String(); strings.ContainsAny(text, "\a\x1b\u202e") || strings.Contains(text, apitest.ID(tea+"31")) {
		t.Errorf("what somebody else wrote reached the terminal, or an ID was printed for what was said: %q", text)
	}
	g, err := w.node.Group(t.Context(), api.GroupRequest{Group: tea})
	if err != nil || g.Unread != 0 || g.Read != g.Cursor {
		t.Errorf("read up to %d of %d, %d unread, %v", g.Read, g.Cursor, g.Unread, err)
	}
}

// Each line of a pipe is sent and shown, also the last one without an end. One that cannot be
// sent is shown again, with what helps, and the exit code tells of it.
func TestChatPiped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.run("", "chat", "--plain"); r.code != api.ExitNotFound || !strings.Contains(r.err, "group create") {
		t.Errorf("without a group: %+v", r)
	}
	w.ok("group", "create", "tea")
	if r := w.run("one\r\ntwo", "chat", "tea", "--plain"); r.code != 0 || !strings.Contains(r.out, "you: one\n") || !strings.Contains(r.out, "you: two\n") {
		t.Errorf("piped: %+v", r)
	}
	if r := w.run("/quit\nlost\n", "chat", "tea", "--plain"); r.code != 0 || strings.Contains(r.out, "lost") {
		t.Errorf("quit: %+v", r)
	}
	long := strings.Repeat("x", maxText+100)
	if r := w.run(long+"\nshort\n", "chat", "tea", "--plain"); r.code != api.ExitUsage || !strings.Contains(r.err, "64 KiB") || !strings.Contains(r.out, "you: short\n") {
		t.Errorf("too long: exit code %d, %.300s, %.300s", r.code, r.err, r.out)
	}
	w.node.Fail = map[string]error{"Send": api.Errorf(api.CodeNotPermitted, "this device is out of the group").WithHint("pandanode group join tea")}
	if r := w.run("three\n", "chat", "tea", "--plain"); r.code != api.ExitNotPermitted || !strings.Contains(r.err, "not sent: three\n") || !strings.Contains(r.err, "hint: pandanode --home ") {
		t.Errorf("refused: %+v", r)
	}
	w.node.Fail = map[string]error{"Send": api.Errorf(api.CodeUnavailable, "the node is closing")}
	if r := w.run("four\nfive\n", "chat", "tea", "--plain"); r.code != api.ExitNoNode || !strings.Contains(r.err, "not sent: four\nnot sent: five\n") {
		t.Errorf("away: %+v", r)
	}
}

// While the node is away what is typed waits, and is sent once it is back: in its order, and
// once also where the node had taken it and died before it answered. A message
// of another program in the same words is another one.
func TestChatNodeAway(t *testing.T) {
	t.Parallel()
	home, node := t.TempDir(), &apitest.Losing{Node: apitest.New("anna")}
	socket := filepath.Join(shortDir(t), "s")
	if err := os.WriteFile(filepath.Join(home, "socket"), []byte(socket+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func() func() { return apitest.ServeOn(t, node, socket) }
	stop := serve()
	g, err := node.CreateGroup(t.Context(), api.CreateGroupRequest{Name: "tea", Policy: api.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	c := chat(t, home, "tea")
	c.says("first")
	c.out.has(t, "you: first\n")
	node.Left.Store(2) // as it dies, and as it dies again
	c.says("second")
	c.out.has(t, "kept until the node is back: second")
	c.out.has(t, "the node is away")
	c.out.has(t, "\nthe node is back\n")
	c.out.has(t, "you: second\n")
	stop()
	c.says("third", "fourth")
	c.out.has(t, "kept until the node is back: third")
	if _, err := node.Node.Send(t.Context(), api.SendRequest{Group: g.ID, Text: "third"}); err != nil {
		t.Fatal(err)
	}
	node.Receive(g.ID, "ben", "meanwhile")
	stop = serve()
	defer func() { stop() }()
	c.out.has(t, "meanwhile\n")
	c.out.has(t, "you: fourth\n")
	texts := []string{}
	err = node.Timeline(t.Context(), api.TimelineRequest{Group: g.ID}, func(h api.Happening) error {
		if h.Message != nil {
			texts = append(texts, h.Message.Text)
		}
		return nil
	})
	if err != nil || !slices.Equal(texts, []string{"first", "second", "third", "meanwhile", "third", "fourth"}) {
		t.Errorf("the group has %q, %v", texts, err)
	}
	stop()
	c.out.has(t, "fourth\n")
	c.says("fifth")
	c.out.has(t, "kept until the node is back: fifth")
	c.cancel(&interrupted{syscall.SIGINT})
	c.ends(130)
	c.out.has(t, "not sent: fifth\n")
}

// Ctrl-C ends a chat as it ends every command.
func TestChatInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("group", "create", "tea")
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		c := chat(t, w.home, "tea")
		c.says("hello")
		c.out.has(t, "you: hello")
		c.cancel(&interrupted{signal})
		c.ends(code)
	}
}

// alone runs the program on a terminal, with no arguments, and types what is given once the
// terminal shows the text before it.
func alone(t *testing.T, home string, code int, steps ...[2]string) string {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: 90, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	var out output
	go func() { _, _ = io.Copy(&out, master) }()
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{in: slave, out: slave, err: slave, environ: []string{"PANDANODE_HOME=" + home, "TERM=xterm-256color"}}
	ended := make(chan int, 1)
	go func() { ended <- a.run(t.Context(), nil) }()
	for _, s := range steps {
		out.has(t, s[0])
		if _, err := io.WriteString(master, s[1]); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-ended:
		if got != code {
			t.Errorf("exit code %d, want %d:\n%s", got, code, out.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end:\n%s", out.String())
	}
	if after, err := term.GetState(int(slave.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %v", err)
	}
	if _, err := io.WriteString(slave, "the end"); err != nil {
		t.Fatal(err)
	}
	out.has(t, "the end")
	return out.String()
}

// On a terminal the program alone shows the chat on all of it, asks for a group where there is
// none, and for a device where there is none. The terminal is afterwards as it was. Piped, it
// says how to begin.
func TestAloneOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	none := filepath.Join(t.TempDir(), "none")
	if text := alone(t, none, api.ExitUsage, [2]string{"Your name", "\x04"}); !strings.Contains(text, none) {
		t.Errorf("it does not say where: %s", text)
	}
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("a device was made of nothing: %v", err)
	}
	alone(t, w.home, 0, [2]string{"Find or found a group", "tea\r"}, [2]string{"Found a new group", "\x1b[B\x1b[A\r"}, [2]string{"you founded", "\x03"})
	text := alone(t, w.home, 0, [2]string{"Write a message", "hello\r"}, [2]string{"nobody else yet", "/quit\r"})
	if strings.Count(text, "\x1b[?1049h") != 1 || strings.Count(text, "\x1b[?1049l") != 1 || strings.Contains(text, "Start here:") {
		t.Errorf("the screen before is not there again: %q", text)
	}
	if n := len(messagesOf(t, w, "tea")); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
	if r := w.run(""); r.code != 0 || !strings.Contains(r.out, "Start here:") {
		t.Errorf("piped: %+v", r)
	}
}

// shortDir is a directory with a path short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
