package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"
)

// Handler serves a.
func Handler(a API) http.Handler {
	mux := http.NewServeMux()
	for _, r := range table {
		mux.Handle(r.Method+" "+r.Path, r.bind(a))
	}
	if c, ok := a.(Contents); ok {
		serveContents(mux, c)
	}
	mux.HandleFunc(http.MethodGet+" "+pathDescription, serveDescription)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, Errorf(CodeNotFound, "there is no %s %s: client and node may be of different versions", r.Method, r.URL.Path))
	})
	return markSlashes(mux)
}

// NewServer gives an HTTP server, as for a socket of [Listen]. Only the header of a request
// has a time limit, since streams may last.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
}

// Listen makes the unix socket, mode 0600. A socket that a dead node left behind is
// replaced; one that answers is CodeConflict. The path has at most 107 bytes.
func Listen(path string) (net.Listener, error) {
	if path == "" {
		return nil, Errorf(CodeInvalid, "the socket has no path")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, Errorf(CodeConflict, "a node answers on %s already", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replacing the socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protecting the socket: %w", err)
	}
	return l, nil
}
