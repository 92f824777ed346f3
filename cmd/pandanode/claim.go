package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pandanode/pandanode/internal/filelock"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// phase says how far a process is in running a node.
type phase string

const (
	phaseNone     phase = ""         // no process does
	phaseLocked   phase = "locked"   // it waits for the passphrase
	phaseStarting phase = "starting" // it opens the store, or starts to listen
	phaseRunning  phase = "running"  // its local API answers
	phaseStopping phase = "stopping" // it writes pending data and ends
)

// runner is the process that runs the node of a data directory.
type runner struct {
	Phase phase  `json:"phase"`
	PID   int    `json:"pid"`
	Log   string `json:"log,omitempty"` // the file that it logs to, if it is in the background
}

// claimName is a file in the data directory. The process that runs the node holds its lock,
// and writes its phase into it. So other commands can tell a node that waits for its
// passphrase, or starts, from none, and a second process stops before it asks for a
// passphrase.
const claimName = "running"

// claim is this process's hold on a data directory.
type claim struct {
	file *os.File
	runner
}

// claimPause is the pause between tries to get a claim that another process has. There are
// at least claimTries, because a process that only looks at a claim has it for a moment.
const (
	claimPause = 20 * time.Millisecond
	claimTries = 5
)

// claimHome makes this process the one that runs the node of a data directory. It waits
// for one that stops. Errors: CodeConflict.
func (a *app) claimHome(ctx context.Context, dir, log string) (*claim, error) {
	path := filepath.Join(dir, claimName)
	tick := time.NewTicker(claimPause)
	defer tick.Stop()
	told := false
	for try := 1; ; try++ {
		f, err := filelock.Lock(path)
		if err == nil {
			c := &claim{f, runner{PID: os.Getpid(), Log: log}}
			return c, c.say(phaseStarting)
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("claiming the home: %w", err)
		}
		switch other := readRunner(path); {
		case other.Phase == phaseStopping:
			if !told {
				a.note("waiting for the node that stops (process %d)", other.PID)
				told = true
			}
		case try >= claimTries:
			return nil, taken(dir, other)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// taken says that another process runs the node.
func taken(dir string, other runner) error {
	switch other.Phase {
	case phaseLocked:
		return api.Errorf(api.CodeConflict, "the node of %s waits for its passphrase already (process %d)", dir, other.PID).
			WithHint("pandanode unlock, or enter the passphrase where it was started")
	case phaseRunning:
		return api.Errorf(api.CodeConflict, "the node of %s runs already (process %d)", dir, other.PID).
			WithHint("pandanode status shows it, pandanode stop ends it")
	case phaseNone, phaseStarting, phaseStopping:
	}
	return api.Errorf(api.CodeConflict, "the node of %s starts already (process %d)", dir, other.PID).WithHint("pandanode status --wait ready")
}

// say writes down how far the process is.
func (c *claim) say(p phase) error {
	c.Phase = p
	text, err := json.Marshal(c.runner)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err = c.file.WriteAt(text, 0); err == nil {
		err = c.file.Truncate(int64(len(text)))
	}
	if err != nil {
		return fmt.Errorf("claiming the home: %w", err)
	}
	return nil
}

// release gives the claim back and empties the file. A file with content is left only by a
// process that was killed.
func (c *claim) release() { _ = errors.Join(c.file.Truncate(0), filelock.Unlock(c.file)) }

// readRunner reads the content of a claim. A process that has written nothing yet is
// starting.
func readRunner(path string) runner {
	r := runner{Phase: phaseStarting}
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return r
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if said := (runner{}); json.Unmarshal([]byte(line), &said) == nil && said.Phase != phaseNone {
		return said
	}
	return r
}

// runnerOf returns the process that runs the node of a data directory. If there is none,
// the phase is phaseNone, and the process is one that was killed while it ran the node, if
// there was one.
func runnerOf(dir string) runner {
	path := filepath.Join(dir, claimName)
	held, err := filelock.Held(path)
	r := readRunner(path)
	if err != nil || !held {
		r.Phase = phaseNone
	}
	return r
}

// told is an error that fully explains why no node answers, or how a wait ended.
type told struct{ e *api.Error }

func (t *told) Error() string { return t.e.Message }
func (t *told) Unwrap() error { return t.e }

// absent explains why no node answers, in place of the client's error about its socket.
func (a *app) absent(err error) error {
	e := api.AsError(err)
	if _, said := errors.AsType[*told](err); said || e == nil || e.Code != api.CodeUnavailable && !errors.Is(err, api.ErrHung) {
		return err
	}
	dir, wrong := a.dataDir()
	if wrong != nil {
		return err
	}
	switch r := runnerOf(dir); r.Phase {
	case phaseLocked:
		return api.Errorf(api.CodeLocked, "the node is locked: process %d waits for its passphrase", r.PID).
			WithHint("enter the passphrase where the node was started")
	case phaseStarting:
		return api.Errorf(api.CodeUnavailable, "the node is starting (process %d)", r.PID).WithHint("pandanode status --wait ready")
	case phaseStopping:
		return api.Errorf(api.CodeUnavailable, "the node is stopping (process %d)", r.PID).WithHint("pandanode run --detach")
	case phaseRunning:
		return e.WithHint("process %d runs the node and does not answer: if that lasts, end it, then pandanode run --detach", r.PID)
	case phaseNone:
		if !strings.HasPrefix(e.Message, nobodyAnswers) {
			if e.Hint == "" {
				return e.WithHint("pandanode run --detach")
			}
			return err
		}
		if !isDir(filepath.Join(dir, "store")) {
			return api.Errorf(api.CodeUnavailable, "there is no device in %s yet", dir).WithHint("pandanode init, then pandanode run --detach")
		}
		out := api.Errorf(api.CodeUnavailable, "no node is running on %s", dir).WithHint("pandanode run --detach")
		if errors.Is(err, config.ErrNoSocket) {
			return out // none has run here: what the claim says came with a copy
		}
		if r.PID != 0 {
			out.Message += fmt.Sprintf(": process %d ended without being stopped", r.PID)
		}
		if r.Log != "" {
			out.Message += "; its log is " + r.Log
		}
		return out
	}
	return err
}

// nobodyAnswers is how the error of the API's client begins when nobody answers.
const nobodyAnswers = "no node is running"

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
