package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// hangups decides what SIGHUP means. It ends a program whose terminal was closed. A node
// takes it as a request to read its configuration anew, unless it had a terminal that is
// gone.
type hangups struct {
	mu       sync.Mutex
	reload   func() // nil: this program has nothing to reload; does not block
	terminal bool   // it had one when it began
}

// meanReload has later hangups reload.
func (h *hangups) meanReload(reload func()) {
	if h == nil { // in a test
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reload, h.terminal = reload, reload != nil && hasTerminal()
}

// taken says whether a hangup was a request to reload.
func (h *hangups) taken() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reload == nil || h.terminal && !hasTerminal() {
		return false
	}
	h.reload()
	return true
}

// nodeLog is the log of a node, whose level and file change while the node runs.
type nodeLog struct {
	logger *slog.Logger
	level  slog.LevelVar

	mu   sync.Mutex
	file *os.File  // nil: stderr
	errs io.Writer // stderr
}

// Write writes to the file of the log, or to stderr. A file that takes no more, as on a full
// disk, loses nothing that stderr can show.
func (l *nodeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if n, err := l.file.Write(b); err == nil {
			return n, nil
		}
	}
	return l.errs.Write(b)
}

// newNodeLog opens the log of a node by a valid configuration.
func (a *app) newNodeLog(c config.Log) (*nodeLog, error) {
	l := &nodeLog{errs: a.err}
	if err := l.use(c); err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: &l.level}
	l.logger = slog.New(slog.NewTextHandler(l, o))
	if c.Format == "json" {
		l.logger = slog.New(slog.NewJSONHandler(l, o))
	}
	return l, nil
}

// use has the log go on with another level and file. The file is opened anew even if its
// name is the same, since somebody may have put the old one aside. After an error the log is
// as before.
func (l *nodeLog) use(c config.Log) error {
	var file *os.File
	if c.File != "" {
		var err error
		if file, err = os.OpenFile(filepath.Clean(c.File), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return fmt.Errorf("opening the log: %w", err)
		}
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // it is valid
	l.level.Set(level)
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	if l.file = file; old != nil {
		return old.Close()
	}
	return nil
}

// close ends the log. Later lines go to stderr.
func (l *nodeLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// reload reads the configuration anew, has the log and the hooks follow it, and says which of
// the other keys wait for a restart. A configuration with a mistake changes nothing.
func (a *app) reload(l *nodeLog, hooks *hooking, runs config.Config) {
	_, c, err := a.config(nil)
	if err == nil {
		err = l.use(c.Log)
	}
	if err == nil {
		err = hooks.take(c.Hooks)
	}
	if err != nil {
		l.logger.Error("the configuration is not taken up; the node goes on as before", "err", strings.ReplaceAll(api.AsError(err).Message, "\n", "; "))
		return
	}
	l.logger.Debug("the log goes on", "level", c.Log.Level, "file", c.Log.File)
	l.logger.Info("the configuration is taken up", "restart_needed_for", strings.Join(needRestart(runs, c), ", "))
}

// needRestart lists the keys that differ between two configurations and are taken up by a
// restart alone.
func needRestart(runs, c config.Config) (out []string) {
	for _, k := range config.Keys() {
		if !k.Reloads() && k.Literal(runs) != k.Literal(c) {
			out = append(out, k.Path)
		}
	}
	return out
}

// reloads has hangups reload, until the function that it gives is called.
func (a *app) reloads(ctx context.Context, l *nodeLog, hooks *hooking, runs config.Config) (end func()) {
	asked, done := make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for {
			select {
			case <-asked:
				a.reload(l, hooks, runs)
			case <-ctx.Done():
				return
			}
		}
	}()
	a.hangups.meanReload(func() {
		select {
		case asked <- struct{}{}:
		default: // it will be read after this
		}
	})
	return func() { cancel(); <-done }
}
