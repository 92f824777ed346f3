package hook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/config"
)

// SignatureHeader carries "t=TIME,v1=HEX": the time in seconds since 1970, and the
// HMAC-SHA-256, under the secret, of that time as it is written there, a dot, and the body.
const SignatureHeader = "Pandanode-Signature"

// Bounds on what a server answers.
const (
	maxHeader = 64 << 10
	maxAnswer = 64 << 10
)

// webhook is what a hook with url does.
type webhook struct {
	url, secretFile string
	client          *http.Client
	limit           time.Duration
}

func newWebhook(h config.Hook) webhook {
	t := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeader, IdleConnTimeout: time.Minute, MaxIdleConns: 2,
	}
	if p, err := url.Parse(h.Proxy); err == nil && h.Proxy != "" {
		t.Proxy = http.ProxyURL(p)
	}
	return webhook{url: h.URL, secretFile: h.SecretFile, limit: Limit, client: &http.Client{
		Transport: t,
		// Events that are meant for one address go to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post tells the address of an event. It fails unless the server answers with a code of 200 to
// 299 within the limit.
func (w webhook) post(ctx context.Context, e Event) error {
	body, err := e.encode()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	r, err := http.NewRequestWithContext(limited, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "pandanode")
	if w.secretFile != "" {
		secret, err := readSecret(w.secretFile)
		if err != nil {
			return err
		}
		r.Header.Set(SignatureHeader, sign(secret, time.Now(), body))
		clear(secret)
	}
	res, err := w.client.Do(r)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			return fmt.Errorf("%s did not answer within %v", r.URL.Host, w.limit)
		}
		return withoutURL(err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return fmt.Errorf("%s answered with %d and sends to %q, which is not followed: put the address that it means into the configuration", r.URL.Host, res.StatusCode, origin(res.Header.Get("Location")))
	case res.StatusCode < 200 || res.StatusCode > 299:
		t := tail{said[:min(len(said), maxSaid)]}
		return fmt.Errorf("%s answered with %d%s", r.URL.Host, res.StatusCode, t.quoted())
	case limited.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("%s did not end its answer within %v", r.URL.Host, w.limit)
	case err != nil:
		return withoutURL(err)
	}
	return nil
}

// withoutURL takes the address out of an error: its path may be a secret.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// origin gives scheme and host of an address: the rest may be a secret.
func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "another place"
	}
	return u.Scheme + "://" + u.Host
}

// sign gives the value of SignatureHeader.
func sign(secret []byte, now time.Time, body []byte) string {
	at := fmt.Sprint(now.Unix())
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, at+".")
	h.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// minSecret is how long a secret is at least, in bytes.
const minSecret = 16

// readSecret reads the first line of a file that only this user reads and writes.
func readSecret(path string) ([]byte, error) {
	if err := config.Trust(path); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no secret_file %s: make one, as with \"openssl rand -hex 32\"", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secret: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(err, fmt.Errorf("others can read the secret: chmod 600 %s", path))
	}
	line, err := bufio.NewReader(io.LimitReader(f, 1024)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the secret: %w", err)
	}
	if line = bytes.TrimRight(line, "\r\n"); len(line) < minSecret {
		return nil, fmt.Errorf("the secret in %s is too short: %d bytes or more", path, minSecret)
	}
	return line, nil
}

// Does says what a hook does, without what may be a secret of it.
func Does(h config.Hook) string {
	if h.URL != "" {
		return origin(h.URL)
	}
	return strings.Join(h.Exec[:min(len(h.Exec), 1)], "")
}
