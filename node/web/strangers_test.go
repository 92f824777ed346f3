package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api/apitest"
)

// pipes is a listener in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours
}

// TestStrangersDoNotStay has another user of the machine, who has no token, hold connections to the
// page in each way: each ends. The stream of a browser that is logged in lasts.
func TestStrangersDoNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := New(Config{API: apitest.New("anna")})
		l := make(pipes)
		server := page.server(map[string]bool{"page": true})
		go func() { _ = server.Serve(l) }()
		defer func() {
			close(l)
			_ = server.Close()
		}()
		const host = " HTTP/1.1\r\nHost: page\r\n"
		for what, request := range map[string]string{
			"says nothing":               "",
			"sends a part of the header": "GET / HTTP/1.1\r\nHost: pa",
			"asks, and then nothing":     "GET /index.html" + host + "\r\n",
			"does not send the body":     "POST /login" + host + "Content-Length: 100\r\n\r\n",
			"does not read the answer":   "GET /index.html" + host + "\r\n",
		} {
			c := l.dial()
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if strings.Contains(what, "not read") {
				time.Sleep(2 * time.Minute) // virtual
			}
			if c.SetReadDeadline(time.Now().Add(2*time.Minute)) == nil { // else it was closed
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("somebody who %s still has the connection: %v", what, err)
				}
			}
			_ = c.Close()
		}

		page.mu.Lock()
		login, _, err := page.doors.mint(time.Now(), page.cfg.Random)
		var token string
		if err == nil {
			token, _, _, err = page.doors.trade(time.Now(), page.cfg.Random, login, "test")
		}
		page.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		c := l.dial()
		defer c.Close()
		if _, err := io.WriteString(c, "GET /v1/events"+host+"Authorization: Bearer "+token+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		go func() {
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			answer <- fmt.Errorf("the end: %w", err)
		}()
		time.Sleep(time.Hour) // virtual
		select {
		case err := <-answer:
			t.Errorf("the stream of a session has ended: %v", err)
		default:
		}
	})
}

// TestFewConnections: no more are open at once than a bound, and each that closes makes room.
func TestFewConnections(t *testing.T) {
	w := newWorld(t)
	w.link()
	answered := func(c net.Conn, d time.Duration) bool {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "GET /none HTTP/1.1\r\nHost: %s\r\n\r\n", w.at); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	var all []net.Conn
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.at)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		return c
	}
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	for i := range maxConns {
		if !answered(dial(), 20*time.Second) {
			t.Fatalf("connection %d is not answered", i)
		}
	}
	over := dial()
	if answered(over, time.Second) {
		t.Errorf("more than %d connections are answered", maxConns)
	}
	for _, c := range all[:8] {
		_ = c.Close()
	}
	if !answered(over, 20*time.Second) {
		t.Error("a connection that ended made no room")
	}
}
