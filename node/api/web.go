package api

import (
	"context"
	"net/http"
	"time"
)

// WebAPI is the page that a node serves to a browser of its own machine. It serves none
// until somebody asks for it.
type WebAPI interface {
	// OpenWeb has the node serve the page, and gives a link that logs one browser in.
	OpenWeb(context.Context, Empty) (WebLogin, error)
	WebSessions(context.Context, Empty) (WebSessions, error)
	// EndWebSession logs a browser out. CodeNotFound: there is no such session.
	EndWebSession(context.Context, WebSessionRequest) (WebSession, error)
	// CloseWeb logs every browser out and serves the page no more.
	CloseWeb(context.Context, Empty) (WebSessions, error)
}

// WebLogin is a link that logs one browser in, once. It is a secret.
type WebLogin struct {
	URL     string    `json:"url"` // the secret is its fragment, which a browser does not send
	Expires time.Time `json:"expires"`
}

// WebSessions is every browser that is logged in.
type WebSessions struct {
	Address  string       `json:"address,omitempty"` // where the page is served; empty: it is not
	Sessions []WebSession `json:"sessions"`
}

// WebSession is one browser tab that is logged in.
type WebSession struct {
	ID      string    `json:"id"`
	Browser string    `json:"browser"` // as it calls itself
	Began   time.Time `json:"began"`
	Used    time.Time `json:"used"`    // when it last asked for something
	Expires time.Time `json:"expires"` // if it asks for nothing until then
}

// WebSessionRequest names a session.
type WebSessionRequest struct {
	Session string `path:"session"` // its ID
}

// pageMay says of each route whether the page in a browser may use it. A fault in the browser
// can do all that the page can: so the page does not end the node, takes no backup, changes no
// lock, hands in no envelopes and lets nobody else in.
var pageMay = map[string]bool{
	"GET /v1/groups/{group}/cursors":           false, // of programs
	"PUT /v1/groups/{group}/cursors/{name}":    false,
	"DELETE /v1/groups/{group}/cursors/{name}": false,

	"GET /v1/status":   true,
	"GET /v1/id":       true,
	"POST /v1/id/name": true,
	"GET /v1/peers":    true,
	"GET /v1/version":  true,
	"GET /v1/checkup":  true,
	"POST /v1/unlock":  false,
	"GET /v1/events":   true,

	"POST /v1/shutdown": false,

	"POST /v1/groups":                          true,
	"GET /v1/groups":                           true,
	"GET /v1/groups/{group}":                   true,
	"GET /v1/find":                             true,
	"POST /v1/join":                            true,
	"POST /v1/groups/{group}/leave":            true,
	"POST /v1/groups/{group}/forget":           true,
	"POST /v1/groups/{group}/reboot":           false,
	"POST /v1/groups/{group}/profile":          true,
	"PUT /v1/groups/{group}/settings/{key}":    true,
	"POST /v1/groups/{group}/seen":             true,
	"PUT /v1/groups/{group}/read":              true,
	"GET /v1/groups/{group}/search":            true,
	"GET /v1/groups/{group}/local":             true,
	"PUT /v1/groups/{group}/local":             true,
	"GET /v1/groups/{group}/members":           true,
	"DELETE /v1/groups/{group}/members/{user}": true,
	"GET /v1/groups/{group}/events":            true,
	"GET /v1/groups/{group}/entries":           false,

	"POST /v1/groups/{group}/invites":                 true,
	"GET /v1/groups/{group}/invites":                  true,
	"DELETE /v1/groups/{group}/invites/{invite}":      true,
	"GET /v1/groups/{group}/requests":                 true,
	"POST /v1/groups/{group}/requests/{user}/approve": true,
	"POST /v1/groups/{group}/requests/{user}/deny":    true,
	"POST /v1/groups/{group}/members/{user}/role":     true,
	"GET /v1/groups/{group}/log":                      true,
	"GET /v1/groups/{group}/incidents":                true,
	"GET /v1/groups/{group}/status":                   true,
	"POST /v1/groups/{group}/heal":                    true,
	"GET /v1/groups/{group}/why/{subject}":            true,

	"GET /v1/groups/{group}/mailboxes":           true,
	"POST /v1/groups/{group}/mailboxes":          false,
	"DELETE /v1/groups/{group}/mailboxes/{peer}": false,
	"GET /v1/mailboxes":                          false,

	"POST /v1/groups/{group}/messages":                              true,
	"GET /v1/groups/{group}/messages":                               true,
	"GET /v1/groups/{group}/messages/{message}":                     true,
	"PUT /v1/groups/{group}/messages/{message}":                     true,
	"DELETE /v1/groups/{group}/messages/{message}":                  true,
	"GET /v1/groups/{group}/messages/{message}/delivery":            true,
	"PUT /v1/groups/{group}/messages/{message}/reactions/{text}":    true,
	"DELETE /v1/groups/{group}/messages/{message}/reactions/{text}": true,
	"GET /v1/groups/{group}/tail":                                   true,
	"GET /v1/groups/{group}/timeline":                               true,
	"POST /v1/groups/{group}/envelopes":                             false,
	"GET /v1/groups/{group}/messages/{message}/envelope":            false,

	"GET /v1/people":                    true,
	"GET /v1/profile":                   true,
	"PUT /v1/profile":                   true,
	"GET /v1/people/{user}":             true,
	"PUT /v1/people/{user}":             true,
	"POST /v1/people/{user}/verified":   true,
	"DELETE /v1/people/{user}/verified": true,

	"GET /v1/files":               true,
	"GET /v1/files/{file}":        true,
	"POST /v1/files/{file}/fetch": true,
	"DELETE /v1/files/{file}":     true,
	"PUT /v1/files/{file}/pin":    true,

	"GET /v1/hooks":                false, // programs of this machine
	"POST /v1/hooks/{hook}/test":   false,
	"POST /v1/hooks/{hook}/resume": false,
	"POST /v1/hooks/{hook}/skip":   false,

	"POST /v1/store/backup":  false,
	"GET /v1/store":          true,
	"POST /v1/store/check":   false,
	"POST /v1/store/compact": false,
	"POST /v1/store/lock":    false,

	"POST /v1/web":                      false,
	"DELETE /v1/web":                    false,
	"GET /v1/web/sessions":              false,
	"DELETE /v1/web/sessions/{session}": false,
}

// PageHandler serves the routes of a that the page may use. Every other is
// CodeNotPermitted.
func PageHandler(a API) http.Handler {
	mux := http.NewServeMux()
	for _, r := range table {
		if pageMay[r.Method+" "+r.Path] {
			mux.Handle(r.Method+" "+r.Path, r.bind(a))
		}
	}
	if c, ok := a.(Contents); ok {
		serveContents(mux, c)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, Errorf(CodeNotPermitted, "the page may not use %s %s: it is for the command line", r.Method, r.URL.Path))
	})
	return markSlashes(mux)
}

// PageMay says whether the page may use a route.
func PageMay(r Route) bool { return pageMay[r.Method+" "+r.Path] }

// WriteError answers a request with an error, as every route does.
func WriteError(w http.ResponseWriter, err error) { writeError(w, err) }
