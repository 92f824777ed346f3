package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// process is one of the demo's nodes: a home, and this binary running on it.
type process struct {
	name   string
	home   string
	binary string
	listen string
	seeds  string // its bootstrap nodes
	user   string
	addr   string // that others can take as bootstrap

	cmd  *exec.Cmd
	done chan error // closed when the process has ended, with its error before
}

// environment returns the demo's environment without variables that would change the nodes.
func environment() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PANDANODE_") && !strings.HasPrefix(v, "XDG_RUNTIME_DIR=") {
			out = append(out, v)
		}
	}
	return out
}

// command is one run of the command line on this node's home.
func (p *process) command(ctx context.Context, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.binary, append([]string{"--home", p.home, "--json"}, args...)...)
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = dieWithParent()
	cmd.WaitDelay = time.Second
	return cmd
}

// exit is the error of a command that ended with another code than 0.
type exit struct {
	command string
	code    int
	stderr  string
}

func (e *exit) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s", e.command, e.code, strings.TrimSpace(e.stderr))
}

// exitOf gives the exit code that a command's error stands for; -1: it did not run.
func exitOf(err error) int {
	if err == nil {
		return api.ExitOK
	}
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	return -1
}

// unexpected returns an error where another error, or any error, was expected.
func unexpected(err error) error {
	if err == nil {
		return errors.New("it succeeded")
	}
	return err
}

// cli runs a command and gives its output, also that of one that failed.
func (p *process) cli(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := p.command(ctx, stdin, args...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &exit{p.name + ": pandanode " + strings.Join(args, " "), cmd.ProcessState.ExitCode(), diag.String()}
	}
	return out.Bytes(), err
}

// ask runs a command whose output is one object per line.
func ask[T any](ctx context.Context, p *process, args ...string) ([]T, error) {
	out, err := p.cli(ctx, "", args...)
	if err != nil {
		return nil, err
	}
	return decode[T](out)
}

func decode[T any](out []byte) ([]T, error) {
	var items []T
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("reading %q: %w", out, err)
		}
		items = append(items, v)
	}
	return items, nil
}

func askOne[T any](ctx context.Context, p *process, args ...string) (T, error) {
	items, err := ask[T](ctx, p, args...)
	if err == nil && len(items) != 1 {
		err = fmt.Errorf("%s: pandanode %s: %d answers, want one", p.name, strings.Join(args, " "), len(items))
	}
	if err != nil {
		var none T
		return none, err
	}
	return items[0], nil
}

func (p *process) logFile() string { return filepath.Join(p.home, "log") }

// start runs the node. It does not depend on ctx: stop and kill end it.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	args := []string{"run"}
	if p.seeds != "" {
		args = append(args, "--bootstrap", p.seeds)
	}
	p.cmd = p.command(context.Background(), "", args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) {
		done <- cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	return nil
}

// kill ends the node as a power cut would, with everything it started.
func (p *process) kill() error {
	if p.cmd == nil {
		return nil
	}
	err := killGroup(p.cmd.Process)
	<-p.done //nolint:errcheck // that it was killed
	p.cmd = nil
	return err
}

// stop ends the node in order and expects exit code 0.
func (p *process) stop(limit time.Duration) error {
	if p.cmd == nil {
		return nil
	}
	if err := terminate(p.cmd.Process); err != nil {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-p.done:
		p.cmd = nil
		if err != nil {
			return fmt.Errorf("stopping %s: %w", p.name, err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%s did not stop within %v", p.name, limit)
	}
}

// logTail gives the end of the node's log.
func (p *process) logTail() string {
	const lines = 15
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
