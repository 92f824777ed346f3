package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pandanode/pandanode/node/api"
)

// interrupted is the cause of a command that a signal ended before it was done.
type interrupted struct{ signal syscall.Signal }

func (i *interrupted) Error() string {
	switch {
	case i.signal == syscall.SIGTERM:
		return "terminated"
	case i.signal == syscall.SIGHUP:
		return "the terminal was closed"
	}
	return "interrupted"
}

// Unwrap makes it an end of a context like any other.
func (i *interrupted) Unwrap() error { return context.Canceled }

// untilSignalled returns a context that ends, with an [interrupted] as its cause, at the
// first signal that asks the program to end. The second signal ends the program at once. A
// hangup may mean something else.
func untilSignalled(ctx context.Context, h *hangups) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	arrived := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup does
			signal.Notify(arrived, s)
		}
	}
	go func() {
		for {
			select {
			case s := <-arrived:
				if s == syscall.SIGHUP && h.taken() {
					continue
				}
				signal.Stop(arrived)
				number, _ := s.(syscall.Signal)
				cancel(&interrupted{number})
			case <-ctx.Done():
			}
			return
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stdin is the input of a command: to read it ends when somebody asks the command to end.
func (a *app) stdin() io.Reader { return &untilDone{a.in, a.done} }

type untilDone struct {
	in   io.Reader
	done <-chan struct{}
}

// Read goes on behind after an interrupt, until the program has ended: a read of a terminal or
// pipe cannot be broken off.
func (u *untilDone) Read(b []byte) (int, error) {
	type result struct {
		b   []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		own := make([]byte, len(b)) // b is the caller's again after an interrupt
		n, err := u.in.Read(own)
		read <- result{own[:n], err}
	}()
	select {
	case r := <-read:
		defer clear(r.b) // it may be a secret
		return copy(b, r.b), r.err
	case <-u.done:
		return 0, api.Errorf(api.CodeInterrupted, "interrupted")
	}
}

// brokenOff returns the error of a command after ctx has ended: that it was interrupted,
// unless the error is about something else.
func brokenOff(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	switch api.CodeOf(err) {
	case api.CodeTimeout, api.CodeUnavailable, api.CodeInterrupted:
	default:
		if !errors.Is(err, context.Canceled) {
			return err
		}
	}
	if _, said := errors.AsType[*told](err); said {
		return err
	}
	why := "interrupted"
	if i, ok := errors.AsType[*interrupted](context.Cause(ctx)); ok {
		why = i.Error()
	}
	return api.Errorf(api.CodeInterrupted, "%s", why)
}

// exitCode is the exit code of a command that ended with err.
func exitCode(ctx context.Context, err error) int {
	if i, ok := errors.AsType[*interrupted](context.Cause(ctx)); ok && api.CodeOf(err) == api.CodeInterrupted {
		const bySignal = 128
		return bySignal + int(i.signal)
	}
	return simCode(err, api.ExitCode(err))
}
