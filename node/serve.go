package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// closeTimeout is how long answers under way may take when the node stops.
const closeTimeout = 3 * time.Second

// serve serves the local API on the configured socket, and metrics and health there and
// on the configured address; ended gives an error when one of them cannot go on, and
// stopped closes when somebody asks the node to stop.
func serve(n *Node) (ended <-chan error, stopped <-chan struct{}, end func(), err error) {
	failed, stop := make(chan error, 2), make(chan struct{})
	var ends []func()
	endAll := func() {
		for _, e := range ends {
			e()
		}
	}
	if n.cfg.Metrics != "" {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", n.cfg.Metrics)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("serving metrics: %w", err)
		}
		address := l.Addr().String()
		n.metrics.address.Store(&address)
		s := api.NewServer(byItsName(l.Addr(), n.cfg.MetricsNames, observation(n)))
		s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = metricsTimeout, metricsTimeout, metricsIdle
		ends = append(ends, serveHTTP(l, s, "metrics", failed), func() { n.metrics.address.Store(nil) })
		n.log.Info("metrics are served", "subsystem", "metrics", "address", address)
	}
	if n.cfg.Socket != "" {
		l, err := api.Listen(n.cfg.Socket)
		if err != nil {
			endAll() // and the page stays: the node goes on
			return nil, nil, nil, err
		}
		once := sync.OnceFunc(func() { close(stop) })
		ends = append(ends, serveHTTP(l, api.NewServer(localHandler(n, once)), "the local API", failed))
		n.log.Debug("the local API listens", "subsystem", "api", "socket", n.cfg.Socket)
	}
	return failed, stop, func() { n.page.Close(); endAll() }, nil
}

// Strangers may reach the metrics, so that no connection there lasts without a reason.
const (
	metricsTimeout = 30 * time.Second // for a request, and for its answer
	metricsIdle    = 3 * time.Minute  // without a request: Prometheus asks once a minute
)

// errStops is told to those whose calls a node ends since it stops.
var errStops = api.Errorf(api.CodeUnavailable, "the node stops").WithHint("pandanode run").Because(ErrClosed)

// serveHTTP serves until the function that it gives is called.
func serveHTTP(l net.Listener, s *http.Server, what string, failed chan<- error) (end func()) {
	requests, cancel := context.WithCancelCause(context.Background())
	s.BaseContext = func(net.Listener) context.Context { return requests }
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serving %s: %w", what, err)
		}
	}()
	return func() {
		grace, done := context.WithTimeout(context.Background(), closeTimeout)
		defer done()
		time.AfterFunc(closeTimeout/10, func() { cancel(errStops) }) // streams end, answers are written
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
		cancel(errStops)
	}
}

// API is the local API for the program that the node is part of: the same answers as
// on the socket, and files themselves. Its errors wrap those of this package. It refuses
// Shutdown, which is Close. After Close every call gives ErrClosed.
func (n *Node) API() api.WithContents {
	g := localAPI(n, nil)
	g.here = true
	return g
}

// Handler serves the local API, metrics and health over any listener. Nobody can stop the node
// through it.
func (n *Node) Handler() http.Handler { return localHandler(n, nil) }

// localHandler serves all that the socket offers. stop: see localAPI.
func localHandler(n *Node, stop func()) http.Handler {
	mux := observation(n)
	mux.Handle("/", api.Handler(localAPI(n, stop)))
	return mux
}

// streamed runs what emits. An error of emit is returned as it is.
func streamed[T any](emit func(T) error, run func(func(T) error) error) error {
	var broken error
	err := run(func(item T) error { broken = emit(item); return broken })
	if broken != nil {
		return broken
	}
	return APIError(err)
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}
