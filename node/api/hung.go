package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A process that is stopped, or hangs, still has its socket: the system takes connections and
// requests for it. So when an answer does not come soon, the client asks whether the node
// answers at all, by a request that it answers at once, and gives up if it does not.

// watching is a transport that does so.
type watching struct {
	http.RoundTripper

	after  time.Duration // how long an answer may take before the node is asked
	within time.Duration // how soon it has to answer then
}

// ErrHung is the error of a request to a node that answers nothing. The node still has the
// request.
var ErrHung = Errorf(CodeTimeout, "the node does not answer: its process hangs, or was stopped; once it goes on it may still do what it was asked").
	WithHint("pandanode status; if that does not answer either, end the node's process and start it again")

// RoundTrip is http.RoundTripper's.
func (w watching) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	answered := make(chan struct{})
	go func() {
		for again := time.NewTimer(w.after); ; again.Reset(w.after) {
			select {
			case <-answered:
			case <-ctx.Done():
			case <-again.C:
				if !w.hangs(ctx, r) {
					continue
				}
				select {
				case <-answered:
				default:
					cancel(ErrHung)
				}
			}
			again.Stop()
			return
		}
	}()
	answer, err := w.RoundTripper.RoundTrip(r.WithContext(ctx))
	close(answered)
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrHung) {
			err = ErrHung
		}
		cancel(nil)
		return nil, err
	}
	answer.Body = ending{answer.Body, cancel}
	return answer, nil
}

// hangs says whether the node leaves a request for its version without an answer. One that it
// refuses, or that cannot be made, says nothing of the request that it has.
func (w watching) hangs(ctx context.Context, of *http.Request) bool {
	ctx, cancel := context.WithTimeoutCause(ctx, w.within, ErrHung)
	defer cancel()
	r := of.Clone(ctx)
	r.Method, r.URL, r.Body, r.ContentLength = routeVersion.method, &url.URL{Scheme: of.URL.Scheme, Host: of.URL.Host, Path: routeVersion.path}, nil, 0
	answer, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return context.Cause(ctx) == ErrHung //nolint:errorlint // the cause itself
	}
	_ = answer.Body.Close()
	return false
}

// CloseIdleConnections has the transport drop them, for [http.Client.CloseIdleConnections].
func (w watching) CloseIdleConnections() {
	if t, ok := w.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// ending is the body of an answer, which ends the request when it is closed.
type ending struct {
	io.ReadCloser

	cancel context.CancelCauseFunc
}

func (e ending) Close() error {
	err := e.ReadCloser.Close()
	e.cancel(nil)
	return err
}
