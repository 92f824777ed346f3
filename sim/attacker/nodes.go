//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pandanode/pandanode/internal/freeport"
)

// scene has real nodes of one program on loopback, each a process, until it is closed.
type scene struct {
	program, dir string
	nodes        map[string]*node
}

// node is driven through its command line.
type node struct {
	program, home, name, listen string
	flags                       []string
	seed                        *node
	cmd                         *exec.Cmd
	address, peer               string // as status shows them
}

// commandLimit bounds a command that has no limit of its own.
const commandLimit = 3 * time.Minute

func newScene(program string) (*scene, error) {
	dir, err := os.MkdirTemp("", "attack")
	return &scene{program, dir, make(map[string]*node)}, err
}

func (s *scene) close() {
	for _, n := range s.nodes {
		n.kill()
	}
	_ = os.RemoveAll(s.dir)
}

// node makes a node and starts it. It dials seed first, if that is not nil.
func (s *scene) node(ctx context.Context, name string, seed *node, flags ...string) (*node, error) {
	ports, err := freeport.Draw(ctx, "127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	n := &node{program: s.program, home: filepath.Join(s.dir, name), name: name, flags: flags, seed: seed}
	n.listen = fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", ports[0])
	if err := os.Mkdir(n.home, 0o700); err != nil {
		return nil, err
	}
	s.nodes[name] = n
	if _, err := n.do(ctx, "init", "--name", name, "--key-file", n.home+".key", "--listen", n.listen, "--mdns=false"); err != nil {
		return nil, err
	}
	return n, n.start(ctx)
}

func (n *node) start(ctx context.Context) error {
	log, err := os.OpenFile(n.home+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	args := append([]string{"--home", n.home, "run"}, n.flags...)
	if n.seed != nil {
		args = append(args, "--bootstrap", n.seed.address)
	}
	n.cmd = exec.Command(n.program, args...) //nolint:gosec,noctx // the program under attack; kill ends it
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; pause(ctx, 100*time.Millisecond) {
		st, err := ask[struct {
			Listen []string
			Peer   string
		}](ctx, n, "status", "--wait", "ready", "--timeout", "30s")
		if err == nil && len(st.Listen) > 0 {
			n.address, n.peer = st.Listen[0], st.Peer
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not come up: %w", n.name, err)
		}
	}
}

// kill ends the node as a crash does.
func (n *node) kill() {
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

func (n *node) pid() int { return n.cmd.Process.Pid }

// do runs a command on the node's home and gives its output.
func (n *node) do(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.program, append([]string{"--home", n.home, "--json"}, args...)...) //nolint:gosec // the program under attack
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: pandanode %s: %w: %s", n.name, strings.Join(args, " "), err, strings.TrimSpace(diag.String()))
	}
	return out.Bytes(), nil
}

// code is the exit code behind an error of do; 0 if there is none, -1 if it is another one.
func code(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// ask runs a command that prints one object.
func ask[T any](ctx context.Context, n *node, args ...string) (v T, err error) {
	out, err := n.do(ctx, args...)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(out, &v); err != nil {
		return v, fmt.Errorf("%s: pandanode %s: %w in %q", n.name, strings.Join(args, " "), err, out)
	}
	return v, nil
}

// found founds an open group and gives its ID.
func (n *node) found(ctx context.Context, name string, flags ...string) (string, error) {
	g, err := ask[struct{ ID string }](ctx, n, append([]string{"group", "create", name}, flags...)...)
	return g.ID, err
}

// join joins a group within a limit and gives the time that it took.
func (n *node) join(ctx context.Context, group string, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	_, err := n.do(ctx, "group", "join", group, "--wait", "--timeout", limit.String())
	return time.Since(began), err
}

// showLogs prints the end of each node's log.
func (s *scene) showLogs(w io.Writer) {
	const lines = 30
	logs, _ := filepath.Glob(filepath.Join(s.dir, "*.log")) // the pattern is right
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(w, "--- %s\n%s\n", filepath.Base(path), strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
}

// until calls ok every so often until it holds.
func until(ctx context.Context, what string, limit time.Duration, ok func() bool) error {
	for end := time.Now().Add(limit); !ok(); pause(ctx, 200*time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%s: not within %v", what, limit)
		}
	}
	return nil
}

// published waits until a group's record is in the DHT.
func (n *node) published(ctx context.Context, group string) error {
	return until(ctx, "the record of the group is in the DHT", commandLimit, func() bool {
		g, err := ask[struct{ Published bool }](ctx, n, "group", "show", group)
		return err == nil && g.Published
	})
}

// texts are the messages of a group that the node shows.
func (n *node) texts(ctx context.Context, group string) (out []string) {
	raw, err := n.do(ctx, "tail", group)
	if err != nil {
		return nil
	}
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var m struct{ Kind, Text string }
		if d.Decode(&m) != nil {
			return out
		}
		if m.Kind == "message" {
			out = append(out, m.Text)
		}
	}
	return out
}

// took is a time, or that a command gave up.
func took(d time.Duration, err error) string {
	if err != nil {
		return fmt.Sprintf("not in %.0f s (exit code %d)", d.Seconds(), code(err))
	}
	return fmt.Sprintf("in %.1f s", d.Seconds())
}
