package apitest

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// OpenWeb gives a link that leads nowhere.
func (n *Node) OpenWeb(context.Context, api.Empty) (api.WebLogin, error) {
	return api.WebLogin{URL: "http://127.0.0.1:7/#login=secret", Expires: time.Date(2026, 1, 2, 15, 5, 4, 0, time.UTC)}, n.Fail["OpenWeb"]
}

// WebSessions gives Browsers.
func (n *Node) WebSessions(context.Context, api.Empty) (api.WebSessions, error) {
	return api.WebSessions{Address: "127.0.0.1:7", Sessions: n.Browsers}, n.Fail["WebSessions"]
}

// EndWebSession ends one of Browsers.
func (n *Node) EndWebSession(_ context.Context, r api.WebSessionRequest) (api.WebSession, error) {
	for i, s := range n.Browsers {
		if s.ID == r.Session {
			n.Browsers = append(n.Browsers[:i:i], n.Browsers[i+1:]...)
			return s, nil
		}
	}
	return api.WebSession{}, api.Errorf(api.CodeNotFound, "there is no session %q", r.Session)
}

// CloseWeb ends all of Browsers.
func (n *Node) CloseWeb(context.Context, api.Empty) (api.WebSessions, error) {
	ended := n.Browsers
	n.Browsers = nil
	return api.WebSessions{Sessions: ended}, n.Fail["CloseWeb"]
}
