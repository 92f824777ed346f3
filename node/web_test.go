package node

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// A running node serves its page once somebody asks over the socket, answers it as it
// answers the socket, and ends it with itself.
func TestPageOfANode(t *testing.T) {
	t.Parallel()
	n, a := onLoopback(t)
	ctx := t.Context()
	l, err := a.OpenWeb(ctx, api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	base, login, _ := strings.Cut(l.URL, "/#login=")
	ask := func(method, path, token, body string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(text)
	}
	_, text := ask(http.MethodPost, "/login", "", `{"login":"`+login+`"}`)
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(text, err)
	}
	if status, text := ask(http.MethodGet, "/v1/id", got.Token, ""); status != http.StatusOK || !strings.Contains(text, `"name":"api"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask(http.MethodPost, "/v1/web", got.Token, "{}"); status != http.StatusForbidden {
		t.Errorf("the page opens another: %d %s", status, text)
	}
	if s, err := a.WebSessions(ctx, api.Empty{}); err != nil || len(s.Sessions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if status, text := ask(http.MethodGet, "/", "", ""); status != 0 {
		t.Errorf("a closed node serves its page: %d %s", status, text)
	}
}
