package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/config"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A server can check that what it got is of who has the secret, and when it was sent.
func TestSigned(t *testing.T) {
	const secret = "0123456789abcdef"
	var got string
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Pandanode-Signature"), "t="), ",v1=")
		h := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(h, "%s.%s", at, body)
		if sum == hex.EncodeToString(h.Sum(nil)) && r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json" {
			got = string(body)
		}
	})
	w := newWebhook(config.Hook{URL: url, SecretFile: secretFile(t, secret+"\nmore", 0o600)})
	if err := w.post(t.Context(), Event{ID: "g/1"}); err != nil || !strings.Contains(got, `"id":"g/1"`) {
		t.Errorf("%q, %v", got, err)
	}
	anybodys := secretFile(t, secret, 0o600)
	if err := os.Chmod(anybodys, 0o622); err != nil { //nolint:gosec // that is what is tried
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, want string
	}{
		"short":     {secretFile(t, "short\n"+secret, 0o600), "too short"},
		"open":      {secretFile(t, secret, 0o644), "chmod 600"},
		"anybody's": {anybodys, "can be written by others"},
		"missing":   {filepath.Join(t.TempDir(), "none"), "there is no secret_file"},
	} {
		got = ""
		w := newWebhook(config.Hook{URL: url, SecretFile: c.path})
		if err := w.post(t.Context(), Event{}); err == nil || !strings.Contains(err.Error(), c.want) || got != "" {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}

// The signature is the one that the README describes.
func TestSignature(t *testing.T) {
	t.Parallel()
	// printf '1764400000.{}\n' | openssl dgst -sha256 -hmac 0123456789abcdef
	const want = "t=1764400000,v1=b32cb370173ce806fe3f96c85deddedc7b8bf6215b4e2e96c484adc8d72e6af7"
	if got := sign([]byte("0123456789abcdef"), time.Unix(1764400000, 0), []byte("{}\n")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// No redirect is followed, not even to the same host; no answer but success counts; the address,
// which may be a secret, is not told.
func TestAnswers(t *testing.T) {
	var elsewhere atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/to/topic":
			http.Redirect(w, r, other+"/topic", http.StatusTemporaryRedirect)
		case "/here/topic":
			http.Redirect(w, r, "/fine", http.StatusPermanentRedirect)
		case "/no/topic":
			http.Error(w, "first\nwhat went wrong", http.StatusForbidden)
		case "/long/topic":
			_, _ = w.Write(make([]byte, 10*maxAnswer))
		case "/fine":
			elsewhere.Add(1)
		}
	})
	for path, want := range map[string]string{
		"/to/topic": "307 and sends to", "/here/topic": "308 and sends to", "/no/topic": "answered with 403: what went wrong", "/long/topic": "", "/topic": "",
	} {
		err := newWebhook(config.Hook{URL: url + path}).post(t.Context(), Event{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topic")) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	if err := newWebhook(config.Hook{URL: closed.URL + "/topic"}).post(t.Context(), Event{}); err == nil || strings.Contains(err.Error(), "topic") {
		t.Errorf("nobody there: %v", err)
	}
}

// Proxies of the environment are not used; one of the configuration is.
func TestProxy(t *testing.T) {
	var through, direct atomic.Int32
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { through.Add(1) })
	url := serve(t, func(http.ResponseWriter, *http.Request) { direct.Add(1) })
	t.Setenv("HTTP_PROXY", proxy)
	if err := newWebhook(config.Hook{URL: url}).post(t.Context(), Event{}); err != nil || direct.Load() != 1 || through.Load() != 0 {
		t.Errorf("%v: %d direct, %d through the proxy", err, direct.Load(), through.Load())
	}
	if through := newWebhook(config.Hook{URL: url}).client.Transport.(*http.Transport).Proxy; through != nil { // which would not be asked for a loopback
		t.Error("it has a proxy")
	}
	if err := newWebhook(config.Hook{URL: "http://far.example/", Proxy: proxy}).post(t.Context(), Event{}); err != nil || through.Load() != 1 {
		t.Errorf("%v: %d through the proxy", err, through.Load())
	}
}

// Of an answer without an end the beginning is read.
func TestAnswerWithoutEnd(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, maxAnswer)); err != nil {
				return
			}
		}
	})
	w := newWebhook(config.Hook{URL: url})
	w.limit = 5 * time.Second
	if err := w.post(t.Context(), Event{}); err != nil {
		t.Error(err)
	}
}

// A server that hangs is given up when the time is over, and so is one when the node ends.
func TestServerHangs(t *testing.T) {
	release := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	})
	t.Cleanup(func() { close(release) })
	for _, path := range []string{"/", "/body"} {
		w := newWebhook(config.Hook{URL: url + path})
		w.limit = 200 * time.Millisecond
		if err := w.post(t.Context(), Event{}); err == nil || !strings.Contains(err.Error(), "within 200ms") {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := newWebhook(config.Hook{URL: url}).post(ctx, Event{}); err == nil || ctx.Err() == nil {
		t.Errorf("the node ends: %v", err)
	}
}
