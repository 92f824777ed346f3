//go:build unix

package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(t *testing.T, script string) (program, string) {
	t.Helper()
	dir := t.TempDir()
	return program{argv: []string{"/bin/sh", "-c", script, "hook", dir}, home: "/home/of/node", limit: Limit}, dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ended waits until a process is gone.
func ended(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		state, _ := os.ReadFile("/proc/" + strconv.Itoa(n) + "/stat")
		if errors.Is(syscall.Kill(n, 0), syscall.ESRCH) || strings.Contains(string(state), ") Z ") { // nobody reaps it here
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d goes on", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A program gets the event on stdin, the arguments as they are, and an environment without
// what is the node's own.
func TestProgram(t *testing.T) {
	t.Setenv("PANDANODE_PASSPHRASE_FILE", "/secret")
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("LANG", "C.UTF-8")
	p, dir := sh(t, `cat > "$1/in"; env > "$1/env"; pwd > "$1/pwd"; echo "$2" > "$1/arg"`)
	p.argv = append(p.argv, "$(id) `id` ; id")
	if err := p.run(t.Context(), Event{ID: "g/1"}); err != nil {
		t.Fatal(err)
	}
	env := read(t, filepath.Join(dir, "env"))
	if in := read(t, filepath.Join(dir, "in")); !strings.Contains(in, `"id":"g/1"`) {
		t.Errorf("stdin: %q", in)
	}
	if arg := read(t, filepath.Join(dir, "arg")); arg != "$(id) `id` ; id\n" || read(t, filepath.Join(dir, "pwd")) != "/\n" {
		t.Errorf("argument %q", arg)
	}
	if !strings.Contains(env, "LANG=C.UTF-8") || !strings.Contains(env, "PANDANODE_DATA_DIR=/home/of/node") || strings.Contains(env, "secret") || strings.Contains(env, "NOTIFY_SOCKET") || strings.Contains(env, "WATCHDOG") {
		t.Errorf("environment: %s", env)
	}
	p, _ = sh(t, "exit 0") // reads nothing
	if err := p.run(t.Context(), Event{Hook: strings.Repeat("x", 1<<20)}); err != nil {
		t.Errorf("without reading: %v", err)
	}
}

func TestProgramFails(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"echo first >&2; echo no bus >&2; exit 3": "ended with exit status 3: no bus",
		"kill -SEGV $$": "signal: segmentation fault",
		"exit 1":        "ended with exit status 1",
	} {
		p, _ := sh(t, script)
		if err := p.run(t.Context(), Event{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	for _, name := range []string{"no-such-program-anywhere", "/no/such/program"} {
		err := program{argv: []string{name}, limit: Limit}.run(t.Context(), Event{})
		if err == nil || !strings.Contains(err.Error(), "the program "+name+" cannot be run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A program that others can change is not run.
func TestProgramOfOthers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := (program{argv: []string{path}, limit: Limit}).run(t.Context(), Event{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // that is what is tried
		t.Fatal(err)
	}
	if err := (program{argv: []string{path}, limit: Limit}).run(t.Context(), Event{}); err == nil || !strings.Contains(err.Error(), "can be written by others") {
		t.Errorf("%v", err)
	}
}

// A program that hangs is killed with all that it started, and so is what a program leaves.
func TestProgramHangs(t *testing.T) {
	t.Parallel()
	p, dir := sh(t, `sleep 1000 & echo $! > "$1/child"; (trap "" TERM; sleep 1000) & echo $$ > "$1/self"; wait`)
	p.limit = 500 * time.Millisecond
	began := time.Now()
	if err := p.run(t.Context(), Event{}); err == nil || !strings.Contains(err.Error(), "did not end within 500ms and was killed") || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	ended(t, read(t, filepath.Join(dir, "child")))
	ended(t, read(t, filepath.Join(dir, "self")))

	p, dir = sh(t, `sleep 1000 & echo $! > "$1/child"; exit 0`) // which keeps stderr
	if err := p.run(t.Context(), Event{}); err != nil {
		t.Errorf("what is left: %v", err)
	}
	ended(t, read(t, filepath.Join(dir, "child")))

	p, dir = sh(t, `echo $$ > "$1/self.part"; mv "$1/self.part" "$1/self"; sleep 1000`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "self")); err == nil {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := p.run(ctx, Event{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the node ends: %v", err)
	}
	ended(t, read(t, filepath.Join(dir, "self")))
}
