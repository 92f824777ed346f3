package web

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"rsc.io/qr"

	"github.com/pandanode/pandanode/node/api"
)

// Config says how to serve a page.
type Config struct {
	API    api.API          // what the page may use of it is in node/api
	Port   int              // on 127.0.0.1; 0: a free one
	Hosts  []string         // names by which the page may be asked beside those of the loopback, with their port if it is not that of http
	Log    *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
}

// Page is the page of a node. It is closed until OpenWeb, and closes when the last session
// has ended and no login is left.
type Page struct {
	cfg Config

	mu     sync.Mutex
	doors  doors
	at     string // address of the listener; empty: none
	stop   func() // ends it; nil: there is none
	closed bool   // for good
}

var _ api.WebAPI = (*Page)(nil)

// New gives a page that is not served yet.
func New(cfg Config) *Page {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Page{cfg: cfg, doors: newDoors()}
}

// OpenWeb serves the page, if it is not served yet, and makes a login.
func (p *Page) OpenWeb(ctx context.Context, _ api.Empty) (api.WebLogin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return api.WebLogin{}, api.Errorf(api.CodeUnavailable, "the node is closing")
	}
	if err := p.listen(ctx); err != nil {
		return api.WebLogin{}, err
	}
	login, expires, err := p.doors.mint(p.cfg.Now(), p.cfg.Random)
	if err != nil {
		return api.WebLogin{}, fmt.Errorf("drawing a secret: %w", err)
	}
	return api.WebLogin{URL: "http://" + p.at + "/#login=" + login, Expires: expires}, nil
}

// WebSessions lists the sessions.
func (p *Page) WebSessions(context.Context, api.Empty) (api.WebSessions, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doors.expire(p.cfg.Now())
	return api.WebSessions{Address: p.at, Sessions: p.doors.list()}, nil
}

// EndWebSession ends a session.
func (p *Page) EndWebSession(_ context.Context, r api.WebSessionRequest) (api.WebSession, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doors.expire(p.cfg.Now())
	s, ok := p.doors.end(r.Session)
	if !ok {
		return api.WebSession{}, api.Errorf(api.CodeNotFound, "there is no session %q", r.Session).WithHint("pandanode web sessions")
	}
	return s.api(), nil
}

// CloseWeb ends all sessions and logins, and serves the page no more. The answer has the
// sessions that it ended.
func (p *Page) CloseWeb(context.Context, api.Empty) (api.WebSessions, error) {
	p.mu.Lock()
	out := api.WebSessions{Sessions: p.doors.list()}
	stop := p.shut()
	p.mu.Unlock()
	stop()
	return out, nil
}

// Close is CloseWeb for good: the node ends.
func (p *Page) Close() {
	p.mu.Lock()
	p.closed = true
	stop := p.shut()
	p.mu.Unlock()
	stop()
}

// shut drops everybody and gives what ends the listener, which waits for answers under way.
func (p *Page) shut() (stop func()) {
	for name := range p.doors.sessions {
		p.doors.drop(name)
	}
	p.doors, p.at = newDoors(), ""
	stop, p.stop = p.stop, nil
	if stop == nil {
		return func() {}
	}
	return stop
}

// grace is how long answers under way may take when the page closes.
const grace = time.Second

// lookEvery is how often sessions that are over are looked for.
const lookEvery = time.Minute

// listen listens on 127.0.0.1, if nothing does yet.
func (p *Page) listen(ctx context.Context) error {
	if p.stop != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", p.cfg.Port))
	if err != nil {
		return api.Errorf(api.CodeConflict, "the page cannot be served: %v", err).WithHint("another program has the port: set web.port in the configuration")
	}
	p.at = l.Addr().String()
	_, port, _ := net.SplitHostPort(p.at)
	names := map[string]bool{}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
		names[host+":"+port] = true
	}
	for _, host := range p.cfg.Hosts {
		names[strings.ToLower(host)] = true
	}
	server, over := p.server(names), make(chan struct{})
	go func() {
		if err := server.Serve(netutil.LimitListener(l, maxConns)); !errors.Is(err, http.ErrServerClosed) {
			p.cfg.Log.Error("the page is not served any more", "subsystem", "web", "err", err)
		}
	}()
	p.stop = sync.OnceFunc(func() {
		close(over)
		wait, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if server.Shutdown(wait) != nil {
			_ = server.Close()
		}
	})
	go p.look(over)
	p.cfg.Log.Info("the page is served", "subsystem", "web", "address", p.at)
	return nil
}

// server answers under these names.
func (p *Page) server(names map[string]bool) *http.Server {
	s := api.NewServer(guard(names, p.handler()))
	s.IdleTimeout = idleConn
	return s
}

// look ends what is over, and the listener once nobody is left.
func (p *Page) look(over <-chan struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		p.doors.expire(p.cfg.Now())
		var stop func()
		if p.doors.idle() {
			stop = p.shut()
		}
		p.mu.Unlock()
		if stop != nil {
			stop()
			p.cfg.Log.Info("the page is not served any more: nobody is logged in", "subsystem", "web")
			return
		}
	}
}

func (p *Page) admit(token string) (*session, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doors.admit(p.cfg.Now(), token)
}

// handler serves the page's files to everybody, a session for a login, and the rest for a
// token.
func (p *Page) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { serveFile(w, r, "index.html") })
	mux.HandleFunc("GET /{file}", func(w http.ResponseWriter, r *http.Request) { serveFile(w, r, r.PathValue("file")) })
	mux.HandleFunc("POST /login", p.login)
	mux.Handle("POST /logout", p.byToken(http.HandlerFunc(p.logout)))
	mux.Handle("POST /qr", p.byToken(http.HandlerFunc(drawQR)))
	mux.Handle("/v1/", p.byToken(api.PageHandler(p.cfg.API)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

//go:embed dist
var files embed.FS

func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	text, err := files.ReadFile("dist/" + name)
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no %s", r.URL.Path))
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	_, _ = w.Write(text) //nolint:gosec // a file that is built in; an error: the browser has hung up
}

// maxBody bounds what is read of a request that is none of the API.
const maxBody = 4096

// read reads the JSON of such a request.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		api.WriteError(w, api.Errorf(api.CodeInvalid, "body: %v", err))
		return false
	}
	return true
}

// login trades a login for a token.
func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Login string `json:"login"`
	}
	if !read(w, r, &asked) {
		return
	}
	p.mu.Lock()
	token, s, ok, err := p.doors.trade(p.cfg.Now(), p.cfg.Random, asked.Login, r.UserAgent())
	p.mu.Unlock()
	switch {
	case err != nil:
		api.WriteError(w, err)
	case !ok:
		api.WriteError(w, api.Errorf(api.CodeNotPermitted, "the link was used already, or is older than a minute").WithHint("pandanode web"))
	default:
		p.cfg.Log.Info("a browser has logged in", "subsystem", "web", "session", s.id)
		answer(w, struct {
			Token string `json:"token"`
		}{token})
	}
}

// logout ends the session that asks.
func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	if s, ok := r.Context().Value(sessionKey{}).(*session); ok {
		p.mu.Lock()
		p.doors.end(s.id)
		p.mu.Unlock()
	}
	answer(w, struct{}{})
}

// drawQR draws a text as a QR code: rows of 0 and 1.
func drawQR(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Text string `json:"text"`
	}
	if !read(w, r, &asked) {
		return
	}
	code, err := qr.Encode(asked.Text, qr.L)
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeInvalid, "this is too long for a QR code"))
		return
	}
	rows := make([]string, code.Size)
	for y := range rows {
		row := make([]byte, code.Size)
		for x := range row {
			row[x] = '0'
			if code.Black(x, y) {
				row[x] = '1'
			}
		}
		rows[y] = string(row)
	}
	answer(w, struct {
		Rows []string `json:"rows"`
	}{rows})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser has hung up
}
