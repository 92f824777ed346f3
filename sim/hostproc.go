package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// hostPort is where every node of the host backend listens, at its own address.
const hostPort = 4001

// cliLimit is how long one command may take that has no --timeout of its own.
const cliLimit = time.Minute

// hostProc is a node of the host backend: a home, and the pandanode binary running
// on it in a namespace. It is driven through its command line alone.
type hostProc struct {
	name   string
	binary string
	home   string
	within []string // words before the command that runs the node
	addr   string   // IP
	seeds  string   // --bootstrap

	user, peer, dev string
	starts          int
	cmd             *exec.Cmd
	done            chan struct{} // closed when the process has ended
}

// exitError is a command that ended with another code than 0.
type exitError struct {
	command string
	code    int
	stderr  string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s", e.command, e.code, strings.TrimSpace(e.stderr))
}

// hostEnv is the environment without variables that would change the nodes.
func hostEnv() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PANDANODE_") && !strings.HasPrefix(v, "XDG_RUNTIME_DIR=") {
			out = append(out, v)
		}
	}
	return out
}

// cli runs a command on the node's home and gives its output.
func (p *hostProc) cli(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cliLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, append([]string{"--home", p.home, "--json"}, args...)...) //nolint:gosec // the binary under test
	cmd.Env = hostEnv()
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		err = &exitError{p.name + ": pandanode " + strings.Join(args, " "), cmd.ProcessState.ExitCode(), diag.String()}
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%s: pandanode %s: %w", p.name, strings.Join(args, " "), ctx.Err())
	}
	return out.Bytes(), err
}

// hostAsk runs a command whose output is one object per line.
func hostAsk[T any](ctx context.Context, p *hostProc, args ...string) ([]T, error) {
	out, err := p.cli(ctx, args...)
	if err != nil {
		return nil, err
	}
	var items []T
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: reading %q: %w", p.name, out, err)
		}
		items = append(items, v)
	}
	return items, nil
}

// hostAskOne is hostAsk of a command that gives one object.
func hostAskOne[T any](ctx context.Context, p *hostProc, args ...string) (v T, err error) {
	items, err := hostAsk[T](ctx, p, args...)
	switch {
	case err != nil:
		return v, err
	case len(items) != 1:
		return v, fmt.Errorf("%s: pandanode %s: %d answers, want one", p.name, strings.Join(args, " "), len(items))
	}
	return items[0], nil
}

func (p *hostProc) init(ctx context.Context) error {
	if err := os.Mkdir(p.home, 0o700); err != nil {
		return err
	}
	listen := fmt.Sprintf("/ip4/%s/udp/%d/quic-v1,/ip4/%s/tcp/%d", p.addr, hostPort, p.addr, hostPort)
	_, err := p.cli(ctx, "init", "--name", p.name, "--key-file", p.home+".key", "--listen", listen, "--mdns=false")
	if err != nil {
		return err
	}
	_, err = p.cli(ctx, "config", "set", "files.auto", fmt.Sprint(maxPieces*pieceSize))
	return err
}

// start runs the node and returns when it is ready. It is called by the goroutine
// that is locked to its thread: the node dies with that thread.
func (p *hostProc) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	args := append(append([]string{}, p.within...), p.binary, "--home", p.home, "run")
	if p.seeds != "" {
		args = append(args, "--bootstrap", p.seeds)
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...) //nolint:gosec // the binary under test
	p.cmd.Env, p.cmd.SysProcAttr = hostEnv(), dieWithParent()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.starts++
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // whether it should have ended is checked elsewhere
		close(done)
	}(p.cmd, p.done)
	st, err := hostAskOne[api.Status](ctx, p, "status", "--wait", string(api.LevelReady), "--timeout", "30s")
	if err != nil {
		return err
	}
	p.user, p.peer, p.dev = st.User, st.Peer, st.Device
	return nil
}

func (p *hostProc) met(ctx context.Context) error {
	_, err := p.cli(ctx, "status", "--wait", string(api.LevelOnline), "--timeout", "50s")
	return err
}

func (p *hostProc) create(ctx context.Context, name, policy string) (string, error) {
	g, err := hostAskOne[api.Group](ctx, p, "group", "create", name, "--policy", policy)
	return g.ID, err
}

func (p *hostProc) join(ctx context.Context, group string) error {
	_, err := p.cli(ctx, "group", "join", group, "--wait", "--timeout", "55s")
	return err
}

func (p *hostProc) send(ctx context.Context, group, text string, file int64) (string, error) {
	args := []string{"send", group, text}
	if file > 0 {
		path := p.home + ".bin"
		defer func() { _ = os.Remove(path) }() // the homes go in the end
		if err := os.WriteFile(path, make([]byte, file), 0o600); err != nil {
			return "", err
		}
		args = append(args, "--file", path)
	}
	s, err := hostAskOne[api.Sent](ctx, p, args...)
	return s.ID, err
}

func (p *hostProc) remove(ctx context.Context, group, user string) error {
	_, err := p.cli(ctx, "group", "remove", group, user)
	return err
}

func (p *hostProc) role(ctx context.Context, group, user, role string) error {
	_, err := p.cli(ctx, "group", "role", group, user, role)
	return err
}

func (p *hostProc) leave(ctx context.Context, group string) error {
	_, err := p.cli(ctx, "group", "leave", group)
	return err
}

func (p *hostProc) status(ctx context.Context, group string) (api.GroupStatus, error) {
	return hostAskOne[api.GroupStatus](ctx, p, "group", "status", group)
}

func (p *hostProc) members(ctx context.Context, group string) ([]api.Member, error) {
	return hostAsk[api.Member](ctx, p, "group", "members", group)
}

func (p *hostProc) messages(ctx context.Context, group string) ([]api.Message, error) {
	lines, err := hostAsk[api.Message](ctx, p, "tail", group)
	return slices.DeleteFunc(lines, func(m api.Message) bool { return m.Kind != api.EventMessage }), err
}

func (p *hostProc) entries(ctx context.Context, group string) ([]api.Entry, error) {
	return hostAsk[api.Entry](ctx, p, "debug", "entries", group)
}

func (p *hostProc) events(ctx context.Context, group string) ([]api.Event, error) {
	return hostAsk[api.Event](ctx, p, "debug", "events", group, "--past")
}

func (p *hostProc) as() string     { return p.user }
func (p *hostProc) device() string { return p.dev }
func (p *hostProc) lives() int     { return p.starts }

// address returns the address that others can use as bootstrap.
func (p *hostProc) address() string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1/p2p/%s", p.addr, hostPort, p.peer)
}

// alive says whether the process still runs.
func (p *hostProc) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a power cut would.
func (p *hostProc) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.done
	p.cmd = nil
}

func (p *hostProc) where() string { return p.home }

func (p *hostProc) logFile() string { return filepath.Join(p.home, "log") }

func (p *hostProc) last() string {
	const lines = 12
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
