package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// headers go with every answer. The policy lets the page load what this address serves and
// nothing else, run no text as a program, and be framed by nobody.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
	"Cache-Control":                "no-store",
}

// All users of this machine can connect to the page. These bound what they can hold of the node.
const (
	maxConns     = 512              // open at once; some 6 for each tab
	idleConn     = time.Minute      // without a request
	strangerTime = 10 * time.Second // for a request without a token, and its answer
)

// within bounds how long the rest of a request and its answer may take; zero: for ever.
func within(w http.ResponseWriter, until time.Time) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(until) // a connection that is closed already has none
	_ = c.SetWriteDeadline(until)
}

// guard answers only requests under a name of this page, and none that another page of the
// browser began. A page elsewhere can give a name of its own this address (DNS rebinding), so
// the name is compared in full, with its port.
func guard(names map[string]bool, h http.Handler) http.Handler {
	crossing := http.NewCrossOriginProtection()
	crossing.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		api.WriteError(w, api.Errorf(api.CodeNotPermitted, "another page of the browser sent this"))
	}))
	inner := crossing.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		within(w, time.Now().Add(strangerTime))
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if !names[strings.ToLower(r.Host)] {
			http.Error(w, "this address does not serve that name: open the link of `pandanode web`, or put the name into web.hosts of the configuration", http.StatusMisdirectedRequest)
			return
		}
		// The page asks from its own origin. A browser says so of every request; what is none says nothing.
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			api.WriteError(w, api.Errorf(api.CodeNotPermitted, "another page of the browser sent this"))
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// byToken lets requests through that bear the token of a session, until that ends.
func (p *Page) byToken(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		var s *session
		if ok {
			s, ok = p.admit(token)
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":{"code":"not-permitted","message":"this tab is not logged in","hint":"pandanode web","retryable":false}}` + "\n"))
			return
		}
		within(w, time.Time{}) // streams and files take as long as they take
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-s.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		h.ServeHTTP(w, r.WithContext(context.WithValue(ctx, sessionKey{}, s)))
	})
}

type sessionKey struct{}
