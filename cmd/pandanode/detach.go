package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// `run --detach` starts this program again, in a session of its own, as `run --detached`.
// That process runs the node. It writes reports to its stdout, each a line of JSON. The
// process in front answers each report that asks, with the passphrase and a line end on the
// other's stdin, and ends when the other is ready or has said why it is not. So the node's
// process decides whether a passphrase is needed at all, and whether it was the right one.
type report struct {
	Ask   int        `json:"ask,omitempty"` // the passphrase is needed: the number of this try
	Ready *started   `json:"ready,omitempty"`
	Error *api.Error `json:"error,omitempty"`
}

// started is a node that runs in the background.
type started struct {
	Name   string   `json:"name"`
	PID    int      `json:"pid"`
	Home   string   `json:"home"`
	Listen []string `json:"listen"`
	Log    string   `json:"log"`
}

const (
	detachedFlag = "detached" // hidden: this process runs in the background
	logName      = "node.log"
	maxLog       = 8 << 20 // a longer log is put aside at the start
)

// detach starts a node in the background and waits until it is ready.
func (a *app) detach(ctx context.Context, c config.Config) error {
	if err := homeIsThere(c.DataDir); err != nil {
		return err
	}
	if r := runnerOf(c.DataDir); r.Phase != phaseNone && r.Phase != phaseStopping {
		return taken(c.DataDir, r)
	}
	path := filepath.Join(c.DataDir, logName)
	log, err := openLog(path)
	if err != nil {
		return explain(err)
	}
	defer log.Close() // the child has its own
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(program, append(a.args, "--"+detachedFlag)...) //nolint:gosec,noctx // this program; it outlives ctx
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = a.environ, log, ownSession()
	secrets, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer secrets.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	reports := make(chan report)
	go func() {
		defer close(reports)
		for d := json.NewDecoder(out); ; {
			var r report
			if d.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}()
	up, err := a.attend(ctx, c, reports, secrets)
	if err != nil {
		_ = secrets.Close() // nobody answers any more
		endChild(cmd, reports)
		return err
	}
	if up == nil {
		return endedEarly(cmd.Wait(), path)
	}
	if err := cmd.Process.Release(); err != nil {
		return err
	}
	return a.show(up, func() {
		a.facts(append(append([]string{"name", up.Name, "process", fmt.Sprint(up.PID), "home", up.Home}, column("listen", up.Listen)...), "log", up.Log)...)
		a.note("the node runs in the background; %s ends it", a.atHome("pandanode stop"))
	})
}

// attend answers the node's process until it is ready. It returns nil without an error if
// the process ended.
func (a *app) attend(ctx context.Context, c config.Config, reports <-chan report, secrets io.Writer) (*started, error) {
	for {
		select {
		case r, ok := <-reports:
			switch {
			case !ok:
				return nil, nil //nolint:nilnil // it has ended and does not say why
			case r.Error != nil:
				return nil, r.Error
			case r.Ready != nil:
				return r.Ready, nil
			}
			if r.Ask > 1 {
				a.note("wrong passphrase")
			}
			p, err := a.passphrase(c, false)()
			if err != nil {
				return nil, err
			}
			_, err = secrets.Write(append(p, '\n'))
			clear(p)
			if err != nil {
				return nil, fmt.Errorf("handing over the passphrase: %w", err)
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// childPatience is how long a node that is not ready yet may take to end, before it is
// killed.
const childPatience = 10 * time.Second

// endChild ends a node's process whose start was given up.
func endChild(cmd *exec.Cmd, reports <-chan report) {
	_ = terminate(cmd.Process) // it may have ended by itself
	late := time.AfterFunc(childPatience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for range reports { // until its stdout is closed, so that it does not block on it
	}
	_ = cmd.Wait() // that it was ended
}

// endedEarly says that a node's process ended without a report, for example because it was
// killed.
func endedEarly(err error, log string) error {
	why := "it ended before it was ready"
	if err != nil {
		why += ": " + err.Error()
	}
	return api.Errorf(api.CodeInternal, "the node does not run: %s; its log is %s", why, log)
}

// openLog opens the log of a node in the background.
func openLog(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, fmt.Errorf("putting the old log aside: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return f, nil
}

// front is the node's end of the conversation with the process in front.
type front struct {
	in    *bufio.Reader
	out   io.Writer
	asked int
}

// report sends a report to the process in front.
func (f *front) report(r report) error { return json.NewEncoder(f.out).Encode(r) }

// passphrase asks the process in front for the passphrase.
func (f *front) passphrase() ([]byte, error) {
	f.asked++
	if err := f.report(report{Ask: f.asked}); err != nil {
		return nil, err
	}
	line, err := f.in.ReadBytes('\n')
	if err != nil {
		clear(line)
		return nil, api.Errorf(api.CodeLocked, "no passphrase was given")
	}
	return line[:len(line)-1], nil
}

// homeIsThere checks that init has made the data directory.
func homeIsThere(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "store")); errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeNotFound, "there is no device in %s yet", dir).WithHint("pandanode init")
	}
	return nil
}

// runDetached runs the node in the process that --detach started. wrong is the error of the
// configuration, if it has one.
func (a *app) runDetached(ctx context.Context, c config.Config, wrong error) error {
	behind := &front{in: bufio.NewReader(a.in), out: a.out}
	err := wrong
	if err == nil {
		err = a.runNode(ctx, c, behind)
	}
	if err != nil {
		_ = behind.report(report{Error: api.AsError(err)}) // the process in front may have ended
	}
	return err
}

// runNode runs the node until ctx ends or somebody stops it. behind is nil for a node in
// the foreground.
func (a *app) runNode(ctx context.Context, c config.Config, behind *front) error {
	log := ""
	if behind != nil {
		log = filepath.Join(c.DataDir, logName)
	}
	if err := homeIsThere(c.DataDir); err != nil {
		return err
	}
	held, err := a.claimHome(ctx, c.DataDir, log)
	if err != nil {
		return explain(err)
	}
	defer held.release()
	cfg, err := a.nodeConfig(c)
	if err != nil {
		return explain(configError(err))
	}
	logs, err := a.newNodeLog(c.Log)
	if err != nil {
		return explain(err)
	}
	defer logs.close()
	cfg.Logger = logs.logger
	hooks := &hooking{hooks: c.Hooks}
	defer a.reloads(ctx, logs, hooks, c)()
	sup := a.supervisor()
	sup.say(telling("Opening the store"))
	var n *node.Node
	serves := make(chan error, 1) // an error while announcing that the node serves
	cfg.Passphrase = a.unlocking(c, held, behind)
	cfg.Serving = func(yes bool) {
		if !yes {
			sup.say("STOPPING=1", telling("Stopping"))
			_ = held.say(phaseStopping) // the end of the process says it too
			return
		}
		sup.say("READY=1", telling("Running as %s", n.Device().Cert.Name))
		serves <- a.announce(started{Name: n.Device().Cert.Name, PID: os.Getpid(), Home: c.DataDir, Listen: n.Addrs(), Log: log}, c.Log, held, behind)
	}
	if a.isUnattended(c, behind) {
		hideSecrets()
		n, err = a.openUnattended(ctx, cfg, held, sup)
	} else {
		n, err = a.openNode(ctx, cfg, c)
	}
	if n == nil || err != nil {
		return explain(err)
	}
	if err := hooks.open(n); err != nil {
		return explain(errors.Join(err, n.Close()))
	}
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go sup.watch(watch, func(ctx context.Context) bool { return answers(ctx, cfg.Socket) })
	err = n.Run(ctx)
	if wrong := n.Close(); err == nil { // a Run that could not begin leaves the node open
		err = wrong
	}
	select {
	case wrong := <-serves:
		err = errors.Join(err, wrong)
	default: // it never served
	}
	return explain(err)
}

// announce says that the node serves: to other processes, to the process in front, and in
// the log.
func (a *app) announce(s started, log config.Log, held *claim, behind *front) error {
	err := held.say(phaseRunning)
	if log.Format == "text" {
		fmt.Fprintf(a.err, "%s\n", a.paint(a.err, bold, fmt.Sprintf("%s is running (process %d) on %s", clean(s.Name), s.PID, s.Home)))
		for _, l := range s.Listen {
			fmt.Fprintf(a.err, "  others reach it at %s\n", l)
		}
		if behind == nil {
			fmt.Fprintf(a.err, "next, in another terminal: %s. Ctrl-C stops the node.\n", a.atHome("pandanode group create NAME, or pandanode group find WORD"))
		}
	} else {
		a.logger(config.Log{Level: "info", Format: log.Format}).Info("running", "name", s.Name, "pid", s.PID, "home", s.Home, "listen", s.Listen)
	}
	if behind == nil {
		return err
	}
	err = errors.Join(err, behind.report(report{Ready: &s}))
	a.out, behind.out = io.Discard, io.Discard // nobody reads them any more, and to write would end the process
	return err
}

// unlocking returns a function that gets the passphrase for a node, and marks the node as
// locked meanwhile. It returns nil if there is a key file instead.
func (a *app) unlocking(c config.Config, held *claim, behind *front) func() ([]byte, error) {
	ask := a.passphrase(c, false)
	if ask == nil {
		return nil
	}
	if behind != nil && (c.PassphraseFile != "" || a.credential() == "") {
		ask = behind.passphrase
	}
	return func() ([]byte, error) {
		if err := held.say(phaseLocked); err != nil {
			return nil, err
		}
		p, err := ask()
		if err != nil {
			return nil, err
		}
		return p, held.say(phaseStarting)
	}
}

// garbage is GOGC: the garbage, in percent of the live heap, that starts a collection. A
// node waits for its disk and its peers, and so has time to collect more often: with Go's
// 100, a burst of 100,000 messages takes half as much memory again (docs/LIMITS.md).
const garbage = 40

// hideSecrets prepares this process for the secrets and the memory of a node.
func hideSecrets() {
	keepSecrets()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

// openNode opens a node. It tries again if a person may have mistyped the passphrase.
func (a *app) openNode(ctx context.Context, cfg node.Config, c config.Config) (*node.Node, error) {
	hideSecrets()
	var wipe func()
	cfg.Passphrase, wipe = wiped(cfg.Passphrase)
	defer wipe()
	for try := 1; ; try++ {
		n, err := node.Open(ctx, cfg)
		if try == passphraseTries || !errors.Is(err, node.ErrWrongPassphrase) || c.PassphraseFile != "" || c.KeyFile != "" {
			return n, err
		}
		a.note("wrong passphrase")
	}
}
