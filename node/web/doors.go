package web

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pandanode/pandanode/node/api"
)

// Bounds of logins and sessions.
const (
	loginLife    = 60 * time.Second
	maxLogins    = 16 // that wait; the oldest goes first
	idleLife     = 12 * time.Hour
	sessionLife  = 7 * 24 * time.Hour
	maxSessions  = 64 // the one that was not used for longest goes first
	secretLength = 32 // bytes
)

// digest is the SHA-256 of a secret. The doors keep no secret, and a look-up by its hash
// tells nobody how much of a guess was right.
type digest [sha256.Size]byte

// doors are the logins that wait and the sessions that are open.
type doors struct {
	logins   map[digest]time.Time // until when
	sessions map[digest]*session
}

// session is a browser tab that is logged in.
type session struct {
	id          string
	browser     string
	began, used time.Time
	ended       chan struct{} // closed when it is over
}

func newDoors() doors {
	return doors{logins: map[digest]time.Time{}, sessions: map[digest]*session{}}
}

func (s *session) expires() time.Time {
	if idle := s.used.Add(idleLife); idle.Before(s.began.Add(sessionLife)) {
		return idle
	}
	return s.began.Add(sessionLife)
}

func (s *session) api() api.WebSession {
	return api.WebSession{ID: s.id, Browser: s.browser, Began: s.began, Used: s.used, Expires: s.expires()}
}

// draw draws a secret.
func draw(random io.Reader) (text string, hash digest, err error) {
	b := make([]byte, secretLength)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", digest{}, err
	}
	text = base64.RawURLEncoding.EncodeToString(b)
	clear(b)
	return text, sha256.Sum256([]byte(text)), nil
}

// mint makes a login.
func (d *doors) mint(now time.Time, random io.Reader) (login string, expires time.Time, err error) {
	login, hash, err := draw(random)
	if err != nil {
		return "", time.Time{}, err
	}
	d.expire(now)
	for len(d.logins) >= maxLogins {
		delete(d.logins, slices.MinFunc(slices.Collect(maps.Keys(d.logins)), func(a, b digest) int { return d.logins[a].Compare(d.logins[b]) }))
	}
	expires = now.Add(loginLife)
	d.logins[hash] = expires
	return login, expires, nil
}

// trade takes a login and gives the token of a new session; false: the login is unknown,
// used or over.
func (d *doors) trade(now time.Time, random io.Reader, login, browser string) (token string, s *session, ok bool, err error) {
	d.expire(now)
	hash := digest(sha256.Sum256([]byte(login)))
	if _, ok := d.logins[hash]; !ok {
		return "", nil, false, nil
	}
	delete(d.logins, hash)
	token, name, err := draw(random)
	if err != nil {
		return "", nil, false, err
	}
	for len(d.sessions) >= maxSessions {
		d.drop(slices.MinFunc(slices.Collect(maps.Keys(d.sessions)), func(a, b digest) int { return d.sessions[a].used.Compare(d.sessions[b].used) }))
	}
	id := sha256.Sum256(name[:]) // of the token, so that nobody needs another draw; it leads nowhere back
	s = &session{
		id: strings.ToLower(base32.StdEncoding.EncodeToString(id[:5])), browser: plain(browser),
		began: now, used: now, ended: make(chan struct{}),
	}
	d.sessions[name] = s
	return token, s, true, nil
}

// plain is what a browser calls itself, in printable ASCII and not for ever.
func plain(browser string) string {
	browser = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, browser)
	return browser[:min(len(browser), 200)]
}

// admit finds the session of a token.
func (d *doors) admit(now time.Time, token string) (*session, bool) {
	d.expire(now)
	s, ok := d.sessions[sha256.Sum256([]byte(token))]
	if ok {
		s.used = now
	}
	return s, ok
}

// expire drops what is over.
func (d *doors) expire(now time.Time) {
	maps.DeleteFunc(d.logins, func(_ digest, until time.Time) bool { return !now.Before(until) })
	for name, s := range d.sessions {
		if !now.Before(s.expires()) {
			d.drop(name)
		}
	}
}

func (d *doors) drop(name digest) {
	close(d.sessions[name].ended)
	delete(d.sessions, name)
}

// end ends a session.
func (d *doors) end(id string) (*session, bool) {
	for name, s := range d.sessions {
		if s.id == id {
			d.drop(name)
			return s, true
		}
	}
	return nil, false
}

// list gives the sessions, the oldest first.
func (d *doors) list() []api.WebSession {
	out := []api.WebSession{}
	for _, s := range d.sessions {
		out = append(out, s.api())
	}
	slices.SortFunc(out, func(a, b api.WebSession) int {
		if c := a.Began.Compare(b.Began); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// idle says that nobody is in and nobody is on the way.
func (d *doors) idle() bool { return len(d.logins)+len(d.sessions) == 0 }
