package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a page of a node in memory, and a browser's side of it.
type world struct {
	t     *testing.T
	node  *apitest.Node
	page  *Page
	clock *clock
	at    string // host and port
}

func newWorld(t *testing.T, hosts ...string) *world {
	t.Helper()
	w := &world{t: t, node: apitest.New("anna"), clock: &clock{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}}
	w.page = New(Config{API: w.node, Hosts: hosts, Now: w.clock.read})
	t.Cleanup(w.page.Close)
	return w
}

// link opens the page and gives the login of its link.
func (w *world) link() string {
	w.t.Helper()
	l, err := w.page.OpenWeb(w.t.Context(), api.Empty{})
	if err != nil {
		w.t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(l.URL, "http://")
	at, login, found := strings.Cut(rest, "/#login=")
	if !ok || !found || len(login) != 43 {
		w.t.Fatalf("the link is %q", l.URL)
	}
	w.at = at
	return login
}

// try is one request and what it is answered with.
type try struct {
	method, path, body string
	host               string // empty: where the page is
	header             map[string]string
}

func (w *world) do(r try) (status int, body string, header http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), r.method, "http://"+w.at+r.path, strings.NewReader(r.body))
	if err != nil {
		w.t.Fatal(err)
	}
	if r.host != "" {
		req.Host = r.host
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func loginBody(login string) string { return `{"login":"` + login + `"}` }

// token logs a browser in.
func (w *world) token() string {
	w.t.Helper()
	status, body, _ := w.do(try{method: "POST", path: "/login", body: loginBody(w.link()), header: map[string]string{"User-Agent": "Tést/1"}})
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Token) != 43 {
		w.t.Fatalf("login: %d %s %v", status, body, err)
	}
	return got.Token
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// The table of tries and answers.
func TestTriesAndAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "chat.example:8443")
	token := w.token()
	_, port, _ := net.SplitHostPort(w.at)
	with := func(more ...string) map[string]string {
		h := bearer(token)
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	used, over := w.link(), w.link()
	w.do(try{method: "POST", path: "/login", body: loginBody(used)})
	if status, body, _ := w.do(try{method: "POST", path: "/login", body: loginBody(used)}); status != 403 { // within its minute
		t.Errorf("a link is good twice: %d %s", status, body)
	}
	w.clock.pass(loginLife)
	fresh := func() string { return loginBody(w.link()) }
	send := `{"text":"hello"}`
	w.page.cfg.API = w.node
	g, err := w.node.CreateGroup(t.Context(), api.CreateGroupRequest{Name: "tea", Policy: api.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	messages := "/v1/groups/" + g.ID + "/messages"
	for _, c := range []struct {
		name   string
		try    try
		status int
		says   string
	}{
		{"the page itself", try{method: "GET", path: "/"}, 200, "<!doctype html>"},
		{"by localhost", try{method: "GET", path: "/", host: "localhost:" + port}, 200, ""},
		{"by LOCALHOST", try{method: "GET", path: "/", host: "LOCALHOST:" + port}, 200, ""},
		{"by the name of IPv6", try{method: "GET", path: "/", host: "[::1]:" + port}, 200, ""},
		{"by a name of the configuration", try{method: "GET", path: "/", host: "chat.example:8443"}, 200, ""},
		{"by that name with another port", try{method: "GET", path: "/", host: "chat.example:" + port}, 421, "web.hosts"},
		{"by a foreign name (DNS rebinding)", try{method: "GET", path: "/", host: "evil.example:" + port}, 421, "web.hosts"},
		{"by a foreign name, with the token", try{method: "GET", path: "/v1/id", host: "evil.example:" + port, header: with()}, 421, "web.hosts"},
		{"by a name that ends like one", try{method: "GET", path: "/", host: "x.localhost:" + port}, 421, ""},
		{"by a name with a dot at its end", try{method: "GET", path: "/", host: "localhost.:" + port}, 421, ""},
		{"by an address without a port", try{method: "GET", path: "/", host: "127.0.0.1"}, 421, ""},
		{"by another address of the loopback", try{method: "GET", path: "/", host: "127.0.0.2:" + port}, 421, ""},
		{"by another port", try{method: "GET", path: "/", host: "127.0.0.1:1"}, 421, ""},
		{"login under a foreign name", try{method: "POST", path: "/login", host: "evil.example:" + port, body: fresh()}, 421, ""},

		{"the token", try{method: "GET", path: "/v1/id", header: with()}, 200, w.node.Self.User},
		{"no token", try{method: "GET", path: "/v1/id"}, 401, "pandanode web"},
		{"an empty token", try{method: "GET", path: "/v1/id", header: bearer("")}, 401, ""},
		{"a wrong token", try{method: "GET", path: "/v1/id", header: bearer(strings.Repeat("A", 43))}, 401, ""},
		{"the beginning of the token", try{method: "GET", path: "/v1/id", header: bearer(token[:42])}, 401, ""},
		{"the login as a token", try{method: "GET", path: "/v1/id", header: bearer(used)}, 401, ""},
		{"the token in the URL", try{method: "GET", path: "/v1/id?token=" + token}, 401, ""},
		{"the token in a cookie", try{method: "GET", path: "/v1/id", header: map[string]string{"Cookie": "token=" + token}}, 401, ""},
		{"the token by Basic", try{method: "GET", path: "/v1/id", header: map[string]string{"Authorization": "Basic " + token}}, 401, ""},
		{"a stream without a token", try{method: "GET", path: "/v1/events"}, 401, ""},
		{"a QR code without a token", try{method: "POST", path: "/qr", body: `{"text":"x"}`}, 401, ""},
		{"a logout without a token", try{method: "POST", path: "/logout"}, 401, ""},

		{"a used link", try{method: "POST", path: "/login", body: loginBody(used)}, 403, "used already"},
		{"an expired link", try{method: "POST", path: "/login", body: loginBody(over)}, 403, "older than a minute"},
		{"a guessed link", try{method: "POST", path: "/login", body: loginBody(strings.Repeat("A", 43))}, 403, "used already"},
		{"an empty login", try{method: "POST", path: "/login", body: loginBody("")}, 403, ""},
		{"the token as a login", try{method: "POST", path: "/login", body: loginBody(token)}, 403, ""},
		{"a login by GET", try{method: "GET", path: "/login?login=" + over}, 404, ""},
		{"a login of a form", try{method: "POST", path: "/login", body: "login=" + over, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 400, ""},
		{"a login with more", try{method: "POST", path: "/login", body: `{"login":"x","more":1}`}, 400, ""},
		{"a large login", try{method: "POST", path: "/login", body: loginBody(strings.Repeat("A", 1<<20))}, 400, ""},

		{"a form of another page", try{method: "POST", path: messages, body: send, header: with("Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site")}, 403, "another page"},
		{"a form of another page, in an old browser", try{method: "POST", path: messages, body: send, header: with("Origin", "http://evil.example")}, 403, "another page"},
		{"a form of a sandboxed frame", try{method: "POST", path: messages, body: send, header: with("Origin", "null")}, 403, "another page"},
		{"a page of another port of this machine", try{method: "POST", path: messages, body: send, header: with("Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site")}, 403, "another page"},
		{"another page that reads", try{method: "GET", path: "/v1/id", header: with("Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site")}, 403, "another page"},
		{"another page that asks what it may (CORS)", try{method: "OPTIONS", path: messages, header: map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}}, 403, ""},
		{"another page that logs in", try{method: "POST", path: "/login", body: fresh(), header: map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}}, 403, "another page"},
		{"another page that takes the script", try{method: "GET", path: "/app.js", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403, "another page"},
		{"the page sends", try{method: "POST", path: messages, body: send, header: with("Origin", "http://"+w.at, "Sec-Fetch-Site", "same-origin")}, 200, `"state"`},

		{"the page stops the node", try{method: "POST", path: "/v1/shutdown", body: "{}", header: with()}, 403, "command line"},
		{"the page changes the lock", try{method: "POST", path: "/v1/store/lock", body: "{}", header: with()}, 403, "command line"},
		{"the page takes a backup", try{method: "POST", path: "/v1/store/backup", body: "{}", header: with()}, 403, "command line"},
		{"the page hands in an envelope", try{method: "POST", path: "/v1/groups/" + g.ID + "/envelopes", body: `{"envelope":"Z29vZA=="}`, header: with()}, 403, "command line"},
		{"the page takes an envelope", try{method: "GET", path: messages + "/last/envelope", header: with()}, 403, "command line"},
		{"the page makes a login", try{method: "POST", path: "/v1/web", body: "{}", header: with()}, 403, "command line"},
		{"the page lists sessions", try{method: "GET", path: "/v1/web/sessions", header: with()}, 403, "command line"},
		{"the page reads the log entries", try{method: "GET", path: "/v1/groups/" + g.ID + "/entries", header: with()}, 403, "command line"},
		{"a path around the mark", try{method: "POST", path: "/v1//shutdown", body: "{}", header: with()}, 307, ""},
		{"a file that is none", try{method: "GET", path: "/web.go"}, 404, ""},
		{"a path out of the files", try{method: "GET", path: "/..%2fweb.go"}, 404, ""},
		{"metrics", try{method: "GET", path: "/metrics", header: with()}, 404, ""},

		{"a QR code", try{method: "POST", path: "/qr", body: `{"text":"panda"}`, header: with()}, 200, `"rows":["1111111`},
		{"a QR code of too much", try{method: "POST", path: "/qr", body: `{"text":"` + strings.Repeat("x", 3000) + `"}`, header: with()}, 400, "too long"},
	} {
		status, body, header := w.do(c.try)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %.200s; want %d with %q", c.name, status, body, c.status, c.says)
		}
		for name, want := range headers {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s: %q", c.name, name, got)
			}
		}
		for name := range header {
			if name == "Set-Cookie" || strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: the answer has %s", c.name, name)
			}
		}
	}
	select {
	case <-w.node.Stopped():
		t.Error("the page has stopped the node")
	default:
	}
}

// Each route says whether the page may use it, and those that end the node, open the store
// or let others in are not among them.
func TestRoutesAreMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token()
	may := 0
	for _, r := range api.Routes() {
		if api.PageMay(r) {
			may++
			for _, never := range []string{"shutdown", "unlock", "/store/", "envelope", "/web", "entries"} {
				if strings.Contains(r.Path, never) {
					t.Errorf("the page may use %s %s", r.Method, r.Path)
				}
			}
			continue
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(r.Path)
		if status, body, _ := w.do(try{method: r.Method, path: path, body: "{}", header: bearer(token)}); status != 403 || !strings.Contains(body, "command line") {
			t.Errorf("%s %s: %d %s", r.Method, path, status, body)
		}
	}
	if may < 30 {
		t.Errorf("the page may use %d routes", may)
	}
}

// A session ends 12 hours after its last use, 7 days after its first, by a word from the
// socket, or by its own; with it end its streams.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	status := func(token string) int {
		s, _, _ := w.do(try{method: "GET", path: "/v1/id", header: bearer(token)})
		return s
	}
	idle := w.token()
	w.clock.pass(idleLife - time.Second)
	if s := status(idle); s != 200 {
		t.Errorf("before 12 hours: %d", s)
	}
	w.clock.pass(idleLife)
	if s := status(idle); s != 401 {
		t.Errorf("12 hours after the last use: %d", s)
	}
	busy := w.token()
	for range 14 {
		w.clock.pass(idleLife - time.Minute)
		if status(busy) == 401 {
			t.Fatal("a session in use ended")
		}
	}
	w.clock.pass(15 * time.Minute)
	if s := status(busy); s != 401 {
		t.Errorf("after 7 days: %d", s)
	}

	one, two := w.token(), w.token()
	list, err := w.page.WebSessions(t.Context(), api.Empty{})
	if err != nil || len(list.Sessions) != 2 || list.Address != w.at || list.Sessions[0].Browser != "Tst/1" || len(list.Sessions[0].ID) != 8 {
		t.Fatalf("%+v, %v", list, err)
	}
	ended := w.stream(two)
	for _, s := range list.Sessions {
		if _, err := w.page.EndWebSession(t.Context(), api.WebSessionRequest{Session: s.ID}); err != nil {
			t.Error(err)
		}
		if _, err := w.page.EndWebSession(t.Context(), api.WebSessionRequest{Session: s.ID}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("ended twice: %v", err)
		}
	}
	if a, b := status(one), status(two); a != 401 || b != 401 {
		t.Errorf("ended sessions: %d, %d", a, b)
	}
	<-ended // or the test's time is over
	if s, body, _ := w.do(try{method: "POST", path: "/logout", header: bearer(w.token())}); s != 200 {
		t.Errorf("logout: %d %s", s, body)
	}
	if list, _ = w.page.WebSessions(t.Context(), api.Empty{}); len(list.Sessions) != 0 {
		t.Errorf("after the logout: %+v", list)
	}
}

// stream follows the events of the node until the server ends that.
func (w *world) stream(token string) (ended <-chan struct{}) {
	w.t.Helper()
	g, err := w.node.CreateGroup(w.t.Context(), api.CreateGroupRequest{Name: "stream", Policy: api.PolicyOpen})
	if err != nil {
		w.t.Fatal(err)
	}
	w.node.AddMember(g.ID, "ben", "member")
	req, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), http.MethodGet, "http://"+w.at+"/v1/groups/"+g.ID+"/timeline?follow=true", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp, err)
	}
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		w.t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, lines)
	}()
	return over
}

// The page is served only once somebody asks, and no more after CloseWeb: also to streams
// and logins of before.
func TestClosedUntilAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if s, err := w.page.WebSessions(t.Context(), api.Empty{}); err != nil || s.Address != "" {
		t.Errorf("before anybody asked: %+v, %v", s, err)
	}
	token := w.token()
	unused, ended := w.link(), w.stream(token)
	if s, err := w.page.CloseWeb(t.Context(), api.Empty{}); err != nil || len(s.Sessions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	<-ended
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.at); err == nil {
		_ = c.Close()
		t.Error("the page still listens")
	}
	w.link()
	if s, _, _ := w.do(try{method: "POST", path: "/login", body: loginBody(unused)}); s != 403 {
		t.Errorf("a link of before: %d", s)
	}
	if s, _, _ := w.do(try{method: "GET", path: "/v1/id", header: bearer(token)}); s != 401 {
		t.Errorf("a token of before: %d", s)
	}
	w.page.Close()
	if _, err := w.page.OpenWeb(t.Context(), api.Empty{}); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("a node that closes opens its page: %v", err)
	}
}

// The doors keep a bounded number of logins and sessions, and no secret.
func TestDoorsAreBounded(t *testing.T) {
	t.Parallel()
	d, now := newDoors(), time.Unix(1e9, 0)
	random := bytes.NewReader(bytes.Repeat([]byte("all the secrets are of these letters"), 4)) // not used up
	if _, _, err := d.mint(now, random); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.mint(now, strings.NewReader("short")); err == nil {
		t.Error("a login of five bytes was made")
	}
	counter := &counting{}
	var first string
	for i := range maxLogins + 1 {
		login, _, err := d.mint(now.Add(time.Duration(i)*time.Millisecond), counter)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = login
		}
	}
	if len(d.logins) != maxLogins {
		t.Errorf("%d logins wait", len(d.logins))
	}
	if _, _, ok, _ := d.trade(now.Add(time.Second), counter, first, ""); ok {
		t.Error("the oldest login of too many is good")
	}
	for i := range maxSessions + 1 {
		at := now.Add(time.Duration(i) * time.Second)
		login, _, _ := d.mint(at, counter)
		if _, _, ok, err := d.trade(at, counter, login, strings.Repeat("b", 1000)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if len(d.sessions) != maxSessions {
		t.Errorf("%d sessions", len(d.sessions))
	}
	for hash, s := range d.sessions {
		if len(s.browser) != 200 {
			t.Errorf("a browser's name of %d bytes is kept", len(s.browser))
		}
		if bytes.Contains(hash[:], []byte{0, 1, 2, 3}) {
			t.Error("a secret is kept")
		}
	}
}

// counting gives bytes that differ.
type counting struct{ n byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i)
	}
	c.n++
	b[len(b)-1] = c.n
	return len(b), nil
}

// A port that another program has is told, with the key that helps.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := New(Config{API: apitest.New("anna"), Port: l.Addr().(*net.TCPAddr).Port})
	defer p.Close()
	if _, err := p.OpenWeb(t.Context(), api.Empty{}); api.CodeOf(err) != api.CodeConflict || !strings.Contains(api.AsError(err).Hint, "web.port") {
		t.Errorf("%v", err)
	}
}

// The page is small, and all of it is in two files: nothing in them asks for another.
func TestPageIsSmall(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int{"app.js": 40_000, "app.css": 10_000} {
		text, err := files.ReadFile("dist/" + name)
		if err != nil || len(text) < 1000 {
			t.Fatalf("%s: %d bytes, %v", name, len(text), err)
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(text); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		if b.Len() > most {
			t.Errorf("%s has %d bytes in gzip, and may have %d", name, b.Len(), most)
		}
		for _, bad := range []string{"eval(", "new Function", "importScripts", "@import", "url(", "localStorage"} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}
