package api

import (
	"context"
	"testing"
)

func (e *echo) OpenWeb(_ context.Context, r Empty) (WebLogin, error) {
	return answer[Empty, WebLogin](e, r)
}

func (e *echo) CloseWeb(_ context.Context, r Empty) (WebSessions, error) {
	return answer[Empty, WebSessions](e, r)
}

func (e *echo) WebSessions(_ context.Context, r Empty) (WebSessions, error) {
	return answer[Empty, WebSessions](e, r)
}

func (e *echo) EndWebSession(_ context.Context, r WebSessionRequest) (WebSession, error) {
	return answer[WebSessionRequest, WebSession](e, r)
}

// A new route says in pageMay whether the page may use it.
func TestEveryRouteIsMarkedForThePage(t *testing.T) {
	left := map[string]bool{}
	for name := range pageMay {
		left[name] = true
	}
	for _, r := range Routes() {
		name := r.Method + " " + r.Path
		if _, ok := pageMay[name]; !ok {
			t.Errorf("pageMay (web.go) does not say whether the page may use %s", name)
		}
		delete(left, name)
	}
	for name := range left {
		t.Errorf("pageMay names %s, which is no route", name)
	}
}
