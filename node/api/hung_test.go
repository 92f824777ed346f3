package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
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
