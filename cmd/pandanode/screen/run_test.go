//go:build unix

package screen

import (
	"context"
	"errors"
	"io"
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

// terminalText gathers what a terminal was sent.
type terminalText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *terminalText) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *terminalText) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

var errTest = errors.New("ended by a test")

// However the screen ends, by a bug or by a signal, the terminal is as it was before.
func TestTheTerminalIsGivenBack(t *testing.T) {
	for name, broken := range map[string]bool{"by a bug": true, "from outside": false} {
		t.Run(name, func(t *testing.T) {
			node := apitest.New("anna")
			g, err := node.CreateGroup(t.Context(), api.CreateGroupRequest{Name: "tea"})
			if err != nil {
				t.Fatal(err)
			}
			node.AddMember(g.ID, "ben", "member") // an event, which has to be told of
			c := api.NewClient(apitest.Serve(t, node))
			defer c.Close()
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer slave.Close()
			if err := pty.Setsize(master, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
				t.Fatal(err)
			}
			before, err := term.GetState(int(slave.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			out := new(terminalText)
			go func() { _, _ = io.Copy(out, master) }()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			h := host()
			tells := h.Deed
			h.Deed = func(e api.Event, called func(name, id string) string) string {
				if broken {
					panic("a bug")
				}
				return tells(e, called)
			}
			h.Now = time.Now
			ended := make(chan error, 1)
			go func() {
				_, err := Run(ctx, Terminal{In: slave, Out: slave, Environ: []string{"TERM=xterm-256color"}}, h, c, "")
				ended <- err
			}()
			has := func(want string) {
				t.Helper()
				for late := time.After(10 * time.Second); !strings.Contains(out.String(), want); {
					select {
					case <-late:
						t.Fatalf("%q does not come", want)
					case <-time.After(5 * time.Millisecond):
					}
				}
			}
			if !broken {
				has("Write a message")
				cancel(errTest)
			}
			select {
			case err := <-ended:
				if err == nil || !broken && !errors.Is(err, errTest) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if after, err := term.GetState(int(slave.Fd())); err != nil || *after != *before {
				t.Errorf("the terminal is not as it was: %v", err)
			}
			if err := syscall.SetNonblock(int(slave.Fd()), false); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(slave, "the end"); err != nil {
				t.Fatal(err)
			}
			has("the end")
			text := out.String()
			on, off := strings.Index(text, "\x1b[?1049h"), strings.LastIndex(text, "\x1b[?1049l")
			if off < on || !broken && on < 0 {
				t.Errorf("the screen before is not there again: %q", text)
			}
			if strings.LastIndex(text, "\x1b[?25h") < strings.LastIndex(text, "\x1b[?25l") {
				t.Errorf("the cursor is not there again: %q", text)
			}
		})
	}
}

// A line is sent once, in its order, where the node takes messages and dies before it
// answers; and another program's message in the same words is another one.
func TestAnswersAreLost(t *testing.T) {
	node := &apitest.Losing{Node: apitest.New("anna")}
	g, err := node.CreateGroup(t.Context(), api.CreateGroupRequest{Name: "tea"})
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(apitest.Serve(t, node))
	defer c.Close()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	out := new(terminalText)
	go func() { _, _ = io.Copy(out, master) }()
	h := host()
	h.Now = time.Now
	ended := make(chan error, 1)
	var unsent []string
	go func() {
		var err error
		unsent, err = Run(t.Context(), Terminal{In: slave, Out: slave, Environ: []string{"TERM=xterm-256color"}}, h, c, "")
		ended <- err
	}()
	said := func() (texts []string) {
		err := node.Timeline(t.Context(), api.TimelineRequest{Group: g.ID}, func(h api.Happening) error {
			if h.Message != nil {
				texts = append(texts, h.Message.Text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return texts
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for late := time.After(30 * time.Second); !is(); {
			select {
			case <-late:
				t.Fatalf("%s: not in time; %d answers are to be lost, the group has %q; the terminal has %q", what, node.Left.Load(), said(), out)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	await("the line", func() bool { return strings.Contains(out.String(), "Write a message") })
	node.Left.Store(3)
	if _, err := io.WriteString(master, "ok\r"); err != nil {
		t.Fatal(err)
	}
	await("the first", func() bool { return node.Left.Load() < 3 })
	if _, err := node.Node.Send(t.Context(), api.SendRequest{Group: g.ID, Text: "ok"}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(master, "ok\rmore\r"); err != nil {
		t.Fatal(err)
	}
	await("the last", func() bool { return slices.Contains(said(), "more") && node.Left.Load() <= 0 })
	if texts := said(); !slices.Equal(texts, []string{"ok", "ok", "ok", "more"}) {
		t.Errorf("the group has %q", texts)
	}
	if _, err := io.WriteString(master, "\x03"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil || len(unsent) != 0 {
			t.Errorf("it ended with %v, and %q was not sent", err, unsent)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}
