package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// axe says what axe-core finds of serious or critical faults for people with disabilities.
func (x *tab) axe(where string) {
	x.t.Helper()
	script, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		x.t.Fatal(err)
	}
	js[any](x, string(script)+"\n;void 0")
	found := js[string](x, `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify({passes: r.passes.length, bad: r.violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.target + ' ' + n.failureSummary).join(' | '))}))`)
	var r struct {
		Passes int
		Bad    []string
	}
	if err := json.Unmarshal([]byte(found), &r); err != nil || r.Passes < 5 {
		x.t.Errorf("axe on %s: %v, %s", where, err, found)
	}
	for _, b := range r.Bad {
		x.t.Errorf("axe on %s: %s", where, b)
	}
}

// pair is two people with a node and a page each.
type pair struct {
	t    *testing.T
	a, b *device
	x, y *tab
	link string
}

// Two people talk by two pages of two nodes. Each step builds on the one before.
func TestTwoPages(t *testing.T) {
	dir := t.TempDir()
	p := &pair{a: start(t, dir, "anna")}
	p.b = start(t, dir, "ben", p.a.addr)
	p.x, p.y = open(chromium(t), t), open(chromium(t), t)
	p.x.size(1280, 800, false)
	p.y.size(1280, 800, true)
	for _, step := range []struct {
		what string
		do   func(*pair)
	}{
		{"log in", (*pair).logsIn},
		{"found a group, join it", (*pair).foundsAndJoins},
		{"talk", (*pair).talks},
		{"pictures", (*pair).pictures},
		{"edit and delete", (*pair).edits},
		{"text is text", (*pair).showsTextAsText},
		{"files", (*pair).sendsFiles},
		{"files run nothing", (*pair).runsNoFile},
		{"Markdown and mentions", (*pair).marksUp},
		{"a thread", (*pair).threads},
		{"drafts, mutes and pins", (*pair).keeps},
		{"members, invites, settings, doctor", (*pair).administers},
		{"verify", (*pair).verifies},
		{"a reload, another tab", (*pair).keepsOthersOut},
		{"a narrow window", (*pair).isNarrow},
		{"end the sessions", (*pair).ends},
	} {
		if !t.Run(step.what, func(t *testing.T) {
			p.t, p.a.t, p.b.t, p.x.t, p.y.t = t, t, t, t, t
			step.do(p)
		}) {
			break
		}
	}
	p.x.t, p.y.t = t, t
	p.x.clean()
	p.y.clean()
}

func (p *pair) logsIn() {
	p.link = p.a.link()
	p.x.visit(p.link)
	p.x.shows("Welcome")
	if hash := js[string](p.x, `location.href`); strings.Contains(hash, "login") {
		p.t.Errorf("the link's secret is still in the address: %s", hash)
	}
	if c := js[string](p.x, `document.cookie + JSON.stringify(Object.keys(localStorage))`); c != "[]" {
		p.t.Errorf("the page keeps %s", c)
	}
	p.x.axe("the first run")
}

func (p *pair) foundsAndJoins() {
	p.x.click("button", "New group")
	p.x.axe("a new group")
	p.x.run(chromedp.SendKeys("form input", "tea house", chromedp.ByQuery), chromedp.SendKeys(`form input[placeholder=Optional]`, "Leaves and kettles", chromedp.ByQuery))
	p.x.click("button", "Create the group")
	p.x.shows("You founded the group")

	p.y.visit(p.b.link())
	p.y.shows("Welcome")
	p.y.click("button", "Find or join")
	p.y.run(chromedp.SendKeys("form input", "tea", chromedp.ByQuery))
	p.y.click("form button", "Search")
	p.y.click(".people button", "Join")
	p.y.shows("You joined the group")
	p.y.axe("a group, dark")
}

func (p *pair) talks() {
	p.x.write("Is the kettle on?")
	p.y.shows("Is the kettle on?")
	p.y.write("Yes, with milk 🐼 https://example.org/biscuits")
	p.x.shows("with milk")
	p.x.click("article:not(.own)", "with milk")
	p.x.click("article button", "Reply")
	p.x.shows("Replying to ben")
	p.x.write("Coming right up")
	p.y.shows("Coming right up")
	p.y.until(`!!document.querySelector('.quote')?.innerText.includes('with milk')`)
	p.y.click("article:not(.own)", "Coming right up")
	p.y.click("article button", "React")
	p.y.axe("the choice of a reaction")
	p.y.click(".picks button", "👍")
	p.x.until(`!!document.querySelector('.own .reactions button')?.innerText.includes('👍')`)
	p.x.until(`[...document.querySelectorAll('.own .mark')].some(e => e.innerText.includes('held by 1 of 1'))`)
	p.x.click(".mark", "held by 1 of 1")
	p.x.until(`document.querySelectorAll('dialog .facts li').length > 0`)
	p.x.axe("why")
	p.x.press("Escape", 27, "")
	p.x.until(`!document.querySelector('dialog')`)
}

// pictures are those of the README.
func (p *pair) pictures() {
	for _, c := range []struct {
		by, to *tab
		text   string
	}{
		{p.y, p.x, "The sencha or the oolong?"},
		{p.x, p.y, "Oolong. And the good cups, not the ones from the office"},
		{p.y, p.x, "Those are all in the dishwasher"},
		{p.x, p.y, "Then the office ones it is 🍵"},
	} {
		c.by.write(c.text)
		c.to.shows(c.text)
	}
	p.a.do("send", "tea house", "--file", p.write(p.t.TempDir(), "kettle.jpg", kettle(p.t)), "It boils")
	for _, tab := range []*tab{p.x, p.y} {
		tab.until(`document.querySelector('.m .pic img')?.naturalWidth === 640`)
	}
	p.y.write("Be there in five")
	p.x.shows("Be there in five")
	p.x.until(`[...document.querySelectorAll('.own .mark')].at(-1)?.innerText.includes('held by 1 of 1')`)
	p.y.size(390, 844, true)
	for _, tab := range []*tab{p.x, p.y} {
		tab.run(chromedp.Focus(".log", chromedp.ByQuery))
		tab.press("Escape", 27, "") // no message is chosen
		js[any](tab, `document.activeElement.blur(), document.querySelector('.log').scrollTop = 1e9, void 0`)
	}
	p.x.shot("page")
	p.y.shot("page-small")
	p.y.size(1280, 800, true)
	p.x.write("Coming right up!")
	p.y.shows("Coming right up!")
}

func (p *pair) edits() {
	p.x.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	p.x.press("ArrowUp", 38, "")
	p.x.shows("Editing")
	js[any](p.x, `document.querySelector('.write textarea').select()`)
	p.x.keys("Coming, with milk for ben")
	p.x.enter()
	p.y.shows("Coming, with milk for ben")
	p.y.shows("edited")
	p.y.click("article.own", "biscuits")
	p.y.click("article button", "Delete")
	p.y.click("dialog button", "Delete")
	p.x.shows("ben deleted this message")
	p.x.lacks("🐼 https")
}

func (p *pair) showsTextAsText() {
	// Text is text.
	bad := `<img src=x onerror="document.title='owned'"><script>alert(1)</script> javascript:alert(1) ![x](http://127.0.0.1/x.png)`
	p.y.write(bad)
	p.x.shows(bad)
	if n := js[int](p.x, `document.querySelectorAll('main img:not([src^="blob:"]), main script, main iframe, main a[href^="javascript"]').length`); n != 0 {
		p.t.Errorf("the text of a message made %d elements", n)
	}
	p.b.do("send", "tea house", "left \u202eright\u202c and \u2067hidden")
	p.x.shows("left \ufffdright\ufffd and \ufffdhidden")
}

func (p *pair) administers() {
	p.x.click("button", "Members and settings")
	p.x.shows("2 members")
	p.x.click(".person button", "ben")
	p.x.axe("members")
	p.x.click("[role=tab]", "Invites")
	p.x.click("button", "Make a link")
	p.x.until(`!!document.querySelector('dialog svg.qr path')`)
	p.x.axe("an invite")
	p.x.press("Escape", 27, "")
	p.x.click("[role=tab]", "Settings")
	p.x.shows("Leave the group")
	p.x.axe("settings")
	p.x.click(".side button", "Close")
	js[any](p.x, `window.__log = document.querySelector('.log'), void 0`)
	p.x.click("button", "How the node is")
	p.x.shows("connected peer")
	js[any](p.x, `__log.dispatchEvent(new Event('scroll'))`) // one that was on its way
	p.x.clean()
	p.x.axe("doctor")
	p.x.click(".group", "tea house")
}

func (p *pair) keepsOthersOut() {
	// A reload stays in; another tab does not come in, nor does the link of before.
	p.x.run(chromedp.Reload())
	p.x.shows("Coming, with milk for ben")
	z := open(p.x.ctx, p.t)
	z.visit(strings.Split(p.link, "#")[0])
	z.shows("This tab is not logged in")
	z.axe("the door")
	z.visit("about:blank")
	z.visit(p.link)
	z.shows("used already")
	z.clean()
	p.x.front()
}

func (p *pair) isNarrow() {
	p.x.size(390, 844, false)
	p.y.size(390, 844, true)
	p.x.axe("a group, narrow")
	if wide := js[int](p.x, `document.documentElement.scrollWidth`); wide > 390 {
		p.t.Errorf("a page of 390 pixels is %d wide", wide)
	}
	small := js[string](p.x, `[...document.querySelectorAll('button, input, select, textarea')].filter(e => e.offsetParent && !e.matches('.mark, .reactions button') && (e.offsetHeight < 44 || e.offsetWidth < 44) && !e.matches('[type=radio], [type=checkbox]')).map(e => e.outerHTML.slice(0, 80)).join('; ')`)
	if small != "" {
		p.t.Errorf("targets of less than 44 pixels: %s", small)
	}
	p.x.click("button", "Back to the groups")
	p.x.until(`!!document.querySelector('.group')?.offsetParent`)
	p.x.axe("the groups, narrow")
}

func (p *pair) ends() {
	p.a.do("web", "end", "--all")
	p.y.write("still here")
	p.x.until(`document.body.innerText.includes('not logged in') || document.body.innerText.includes('does not answer')`)
}

// Other pages of the browser get nothing from the page and do nothing by it.
func TestHostilePages(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "anna")
	a.do("group", "create", "tea")
	b := chromium(t, chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"))
	x := open(b, t)
	link := a.link()
	x.visit(link)
	x.shows("tea")
	base := strings.TrimSuffix(strings.Split(link, "#")[0], "/")
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	id := js[string](x, `location.hash.replace('#/g/', '')`)

	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>evil</title><form method=post enctype="text/plain" action="%[1]s/v1/groups/%[2]s/messages" target=f><input name='{"text":"by a form","x":"' value='"}'></form><iframe name=f></iframe><iframe id=page src="%[1]s/"></iframe>`, base, id)
	}))
	t.Cleanup(evil.Close)
	y := open(x.ctx, t)
	y.visit(evil.URL)
	for _, c := range []struct{ what, try string }{
		{"a fetch that reads", `fetch(BASE + '/v1/id').then(r => 'got ' + r.status, () => 'no')`},
		{"a fetch that reads the page", `fetch(BASE + '/').then(r => 'got ' + r.status, () => 'no')`},
		{"a fetch with a guessed token", `fetch(BASE + '/v1/id', {headers: {Authorization: 'Bearer x'}}).then(r => 'got ' + r.status, () => 'no')`},
		{"a fetch that sends", `fetch(BASE + MESSAGES, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"text":"by fetch"}'}).then(r => 'got ' + r.status, () => 'no')`},
		{"a simple fetch that sends", `fetch(BASE + MESSAGES, {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"text":"by fetch"}'}).then(r => r.status ? 'got ' + r.status : 'no', () => 'no')`},
		{"its script", `new Promise(f => { const s = document.createElement('script'); s.onload = () => f('got it'); s.onerror = () => f('no'); s.src = BASE + '/app.js'; document.head.append(s) })`},
		{"its picture", `new Promise(f => { const s = new Image; s.onload = () => f('got it'); s.onerror = () => f('no'); s.src = BASE + '/icon.svg' })`},
		{"a form", `new Promise(f => { const fr = document.querySelector('iframe'); fr.onload = () => f('no'); document.forms[0].submit(); setTimeout(f, 3000, 'no') })`},
		{"a frame", `(() => { try { return document.getElementById('page').contentDocument ? 'blank' : 'no' } catch { return 'no' } })()`},
		{"a window", `(() => { const w = open(BASE + '/', 'w'); try { return w && w.document.title === 'pandanode' ? 'got it' : 'no' } catch { return 'no' } })()`},
	} {
		got := js[string](y, strings.NewReplacer("BASE", "'"+base+"'", "MESSAGES", "'/v1/groups/"+id+"/messages'").Replace(c.try))
		if got != "no" {
			t.Errorf("%s: %s", c.what, got)
		}
	}
	// By a name of its own that leads here.
	y.visit("http://evil.example:" + port + "/")
	y.shows("does not serve that name")
	if got := js[string](y, `fetch('/v1/id').then(r => '' + r.status)`); got != "421" {
		t.Errorf("by a foreign name: %s", got)
	}
	if out := a.do("tail", "tea", "--json"); strings.Contains(out, "by fetch") || strings.Contains(out, "by a form") {
		t.Errorf("another page has sent: %s", out)
	}
	if out := a.do("web", "sessions", "--json"); strings.Count(out, "\n") != 1 {
		t.Errorf("sessions: %s", out)
	}
	x.clean()
}

// A history of 10,000 messages scrolls from its end to its beginning and back, with few
// elements in the document.
func TestTenThousandMessages(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "anna")
	a.do("group", "create", "long")
	lines := make([]string, 10_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("message %d of many", i+1)
	}
	a.send("long", lines)
	x := open(chromium(t), t)
	x.size(1280, 800, false)
	x.visit(a.link())
	x.shows("message 10000 of many")
	x.patience = time.Minute // the scrolling is one step
	begun := time.Now()
	var r struct {
		Most, Steps int
		Back        bool
		Gaps        string
	}
	text := js[string](x, `(async () => {
		const log = document.querySelector('.log'), frame = () => new Promise(f => requestAnimationFrame(() => setTimeout(f)))
		let most = 0, steps = 0, gaps = ''
		const look = () => {
			most = Math.max(most, log.querySelectorAll('*').length)
			const n = [...log.querySelectorAll('.m p')].map(p => +/\d+/.exec(p.textContent)[0])
			for (let i = 1; i < n.length; i++) if (n[i] !== n[i - 1] + 1) gaps += n[i - 1] + '-' + n[i] + ' '
		}
		for (; steps < 8000 && !log.querySelector('.begin'); steps++) { log.scrollTop -= 700; await frame(); look() }
		const first = log.innerText.includes('message 1 of many')
		document.querySelector('.down').click()
		for (let i = 0; i < 20; i++) { await frame(); look() }
		return JSON.stringify({most, steps, gaps: gaps.slice(0, 200), back: first && log.innerText.includes('message 10000 of many') && log.scrollHeight - log.scrollTop - log.clientHeight < 2})
	})()`)
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err, text)
	}
	t.Logf("%d steps in %.1f s, at most %d elements", r.Steps, time.Since(begun).Seconds(), r.Most)
	if r.Most > 300 || r.Most < 30 || !r.Back || r.Gaps != "" {
		t.Errorf("%s; the page shows:\n%.500s", text, js[string](x, `document.querySelector('.log').innerText`))
	}
	x.searches(t, a)
	x.clean()
}
