//go:build e2e && linux

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// killer stands between a chat and its node, and kills the node with SIGKILL in the middle of a
// message: before the node is asked to send it, or after it has taken it and before it answers.
type killer struct {
	kill   func()
	arm    atomic.Int32 // what happens with the next message
	killed chan struct{}
	proxy  *httputil.ReverseProxy
}

const (
	lets   = iota
	before // it is killed before it is asked
	after  // it is killed when it has answered, and the answer is dropped
)

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sends := r.Method == http.MethodPost && filepath.Base(r.URL.Path) == "messages"
	if sends && k.arm.CompareAndSwap(before, lets) {
		k.kill()
		k.killed <- struct{}{}
		panic(http.ErrAbortHandler)
	}
	if sends && k.arm.CompareAndSwap(after, lets) {
		answer := &answered{header: http.Header{}}
		k.proxy.ServeHTTP(answer, r)
		k.kill()
		if answer.code != http.StatusOK {
			panic(fmt.Sprintf("the node says %d", answer.code))
		}
		k.killed <- struct{}{}
		panic(http.ErrAbortHandler)
	}
	k.proxy.ServeHTTP(w, r)
}

// answered takes an answer that nobody gets.
type answered struct {
	header http.Header
	code   int
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) Write(b []byte) (int, error) { return len(b), nil }
func (a *answered) WriteHeader(code int)        { a.code = code }

// A real node is killed in the middle of messages that a chat sends: before it takes one, and
// after it has taken it and before it answers. Each is in the group once, in its order, and the
// chat shows each once.
func TestChatSendsOnce(t *testing.T) {
	c := newCluster(t, 1, 3*time.Minute)
	group := c.group("tea", 1)
	home := shortDir(t)
	socket := filepath.Join(home, "s")
	if err := os.WriteFile(filepath.Join(home, "socket"), []byte(socket+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	node := func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, err := config.FindSocket(c.procs[0].home)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	k := &killer{
		kill: func() { _ = c.procs[0].kill() }, killed: make(chan struct{}, 1),
		proxy: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host },
			Transport:     &http.Transport{DialContext: node, DisableKeepAlives: true},
			FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), // of the answers that it kills

			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
	}
	listener, err := new(net.ListenConfig).Listen(c.ctx, "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(k)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.CloseClientConnections)

	chatting := chat(t, home, group)
	var want []string
	for n := range 10 {
		text := fmt.Sprint("message ", n)
		want = append(want, text)
		k.arm.Store(int32(n % 3)) //nolint:gosec // below 3
		chatting.says(text)
		if n%3 != lets {
			select {
			case <-k.killed:
			case <-c.ctx.Done():
				t.Fatalf("the chat does not send:\n%s", chatting.out.String())
			}
			c.start(0)
		}
		chatting.out.has(t, "you: "+text+"\n")
	}
	page, err := c.api[0].Messages(c.ctx, api.MessagesRequest{Group: group})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range page.Messages {
		got = append(got, m.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the group has %q", got)
	}
	_ = chatting.in.Close()
	chatting.ends(api.ExitOK)
	for _, text := range want {
		if n := strings.Count(chatting.out.String(), "you: "+text+"\n"); n != 1 {
			t.Errorf("%q is shown %d times", text, n)
		}
	}
}
