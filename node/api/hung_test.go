package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNodeThatHangs: a client gives up on a node whose process takes requests and answers none,
// and waits for one that answers, however long what it was asked for takes.
func TestNodeThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(socket)
	defer client.Close()
	w, ok := client.http.Transport.(watching)
	if !ok {
		t.Fatal("nobody looks whether the node answers")
	}
	w.after, w.within = 50*time.Millisecond, time.Second
	client.http.Transport = w
	began := time.Now()
	_, err = client.Status(t.Context(), StatusRequest{}) // nobody accepts the connection
	if !errors.Is(err, ErrHung) || time.Since(began) < w.within {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("the caller's own"))
	defer cancel()
	if _, err := client.Status(ctx, StatusRequest{}); err == nil || errors.Is(err, ErrHung) {
		t.Errorf("a caller who waits less: %v", err)
	}

	slow := http.NewServeMux()
	slow.HandleFunc(routeVersion.path, func(http.ResponseWriter, *http.Request) {})
	slow.HandleFunc("/", func(out http.ResponseWriter, _ *http.Request) {
		<-time.After(10 * w.after)
		_, _ = out.Write([]byte("{}"))
	})
	server := &http.Server{Handler: slow, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	if _, err := client.Status(t.Context(), StatusRequest{}); err != nil {
		t.Errorf("a node that takes long: %v", err)
	}
}

// TestProbeThatFails: a node that refuses to say its version, or cannot be asked, does not hang:
// a call that it has goes on.
func TestProbeThatFails(t *testing.T) {
	refused := make(chan struct{}, 8)
	w := watching{roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == routeVersion.path {
			refused <- struct{}{}
			return nil, syscall.EMFILE
		}
		for range 2 {
			select {
			case <-refused:
			case <-r.Context().Done():
				return nil, context.Cause(r.Context())
			}
		}
		return &http.Response{Body: http.NoBody}, nil
	}), 10 * time.Millisecond, time.Minute}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestClientCloses: a client that is closed keeps no connection.
func TestClientCloses(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	server := &http.Server{
		Handler:           http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write([]byte("{}")) }),
		ReadHeaderTimeout: time.Minute,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(closed)
			}
		},
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	client := NewClient(socket)
	if _, err := client.Status(t.Context(), StatusRequest{}); err != nil {
		t.Fatal(err)
	}
	client.Close()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("the connection is still there")
	}
}
