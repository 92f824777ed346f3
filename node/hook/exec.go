package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/config"
)

// Limit is how long a run of a hook may take.
const Limit = 30 * time.Second

// leftBehind is how long what a program started may keep its pipes after it.
const leftBehind = time.Second

// maxSaid is how much is kept of what a program or a server says, in bytes: the end, or the
// beginning.
const maxSaid = 4096

// program is what a hook with exec runs.
type program struct {
	argv  []string
	home  string
	limit time.Duration
}

// run runs the program with an event on stdin. It fails if the program does not end with code
// 0 within the limit. All that is left of its process group is killed then.
func (p program) run(ctx context.Context, e Event) error {
	line, err := e.encode()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(p.argv[0])
	if err != nil {
		return fmt.Errorf("the program %s cannot be run: %w", p.argv[0], errors.Unwrap(err))
	}
	if path, err = filepath.Abs(path); err == nil {
		err = config.Trust(path)
	}
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	runtime.LockOSThread() // the program dies with the thread that started it, where the system does that
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(limited, path, p.argv[1:]...) //nolint:gosec // of the owner's configuration
	var said tail
	cmd.Stdin, cmd.Stderr, cmd.Dir, cmd.Env = bytes.NewReader(line), &said, string(filepath.Separator), environment(os.Environ(), p.home)
	cmd.WaitDelay = leftBehind
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.argv[0], err)
	}
	err = cmd.Wait()
	_ = killGroup(cmd.Process) // what it left
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("%s did not end within %v and was killed%s", p.argv[0], p.limit, said.quoted())
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // something that it left kept a pipe
		return nil
	}
	return fmt.Errorf("%s ended with %w%s", p.argv[0], err, said.quoted())
}

// environment is that of the node, without what is between the node and who started it.
func environment(environ []string, home string) (out []string) {
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "PANDANODE_"), name == "NOTIFY_SOCKET", name == "CREDENTIALS_DIRECTORY",
			strings.HasPrefix(name, "WATCHDOG_"), strings.HasPrefix(name, "LISTEN_"):
		default:
			out = append(out, v)
		}
	}
	return append(out, "PANDANODE_DATA_DIR="+home)
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - maxSaid; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// quoted gives the last line that was said, for the end of an error.
func (t *tail) quoted() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.b), "\uFFFD"))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if text == "" {
		return ""
	}
	return ": " + cut(text, maxWhy/2)
}

// cut gives the beginning of a text, of at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
