package browser

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// line is the line to write in.
const line = `document.querySelector('.write textarea')`

// marksUp: Markdown is seen as its author meant it, and loads and runs nothing; "@" finds members.
func (p *pair) marksUp() {
	p.b.do("send", "tea house", "--markdown", "**two** tins, _one_ pot, `1 l` and [the shop](https://shop.example/a?b=c)\n\n"+
		"- black\n- green\n\n```\nboil()\n```\n\n| pot | cups |\n|---|---|\n| red | 4 |\n\n> said the host")
	p.x.until(`(() => { const m = [...document.querySelectorAll('.md')].at(-1); return m?.querySelector('strong')?.textContent === 'two' && m.querySelectorAll('li').length === 2 && m.querySelector('pre code')?.textContent === 'boil()' && !!m.querySelector('td') && !!m.querySelector('blockquote') })()`)
	if link := js[string](p.x, `(a => [a.href, a.target, a.rel, a.nextSibling.textContent].join(' '))([...document.querySelectorAll('.md')].at(-1).querySelector('a'))`); link != "https://shop.example/a?b=c _blank noopener noreferrer  (shop.example)" {
		p.t.Errorf("the link is %s", link)
	}
	p.x.axe("Markdown")
	p.b.do("send", "tea house", "--markdown", "evil: [run](javascript:document.title='owned') [page](data:text/html,<script>alert(1)</script>) [old](vbscript:x) [file](file:///etc/passwd) "+
		"[https://bank.example](https://evil.example/login) [user](https://bank.example@evil.example/) ![picture](https://evil.example/x.png) <img src=x onerror=\"document.title='owned'\"> &lt;b&gt; [a](<blob:http://127.0.0.1/x>)")
	p.x.shows("evil: run")
	if got := js[string](p.x, `(m => [m.querySelectorAll('img, script, iframe, form').length, ...[...m.querySelectorAll('a')].map(a => a.href + a.nextSibling.textContent)].join(' '))([...document.querySelectorAll('.md')].at(-1))`); got !=
		"0 https://evil.example/login (evil.example) https://bank.example@evil.example/ (evil.example) https://evil.example/x.png (evil.example)" {
		p.t.Errorf("Markdown of a hostile member became %s", got)
	}
	if title := js[string](p.x, `document.title`); strings.Contains(title, "owned") {
		p.t.Error("Markdown has run")
	}

	// By the button, with a mention that the page completes.
	p.y.click(".write button", "Markdown")
	p.y.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	p.y.keys("**Welcome** @an")
	p.y.until(`document.querySelector('.names [aria-selected=true]')?.textContent === 'anna'`)
	p.y.axe("names to complete")
	p.y.enter()
	p.y.until(line + `.value === '**Welcome** @anna '`)
	p.y.keys("to the house")
	p.y.enter()
	p.x.until(`[...document.querySelectorAll('.m.hot .mention.hot')].at(-1)?.textContent === '@anna'`)
	p.x.until(`[...document.querySelectorAll('.md strong')].at(-1)?.textContent === 'Welcome'`)
	p.y.click(".write button", "Markdown")
	p.y.write("2 * 3 * 4, and @nobody")
	p.x.shows("2 * 3 * 4, and @nobody")
}

// threads: an answer in a thread is in the group, and beside it.
func (p *pair) threads() {
	p.x.write("Which biscuits?")
	p.y.shows("Which biscuits?")
	p.y.click("article:not(.own)", "Which biscuits?")
	p.y.click("article button", "Thread")
	p.y.shows("Nobody has written in this thread yet.")
	p.y.run(chromedp.Focus(".thread textarea", chromedp.ByQuery))
	p.y.keys("Shortbread")
	p.y.enter()
	p.y.until(`document.querySelectorAll('.thread li').length === 2`)
	p.x.shows("Shortbread")
	p.x.click(".m .mark", "In a thread")
	p.x.until(`document.querySelectorAll('.thread li').length === 2`)
	p.x.axe("a thread")
	p.x.run(chromedp.Focus(".thread textarea", chromedp.ByQuery))
	p.x.keys("With butter")
	p.x.enter()
	p.y.until(`[...document.querySelectorAll('.thread li')].some(m => m.innerText.includes('With butter'))`)
	p.x.look("thread")
	if over := js[string](p.x, `(r => r.right > innerWidth ? 'out of the window' : '')(document.querySelector('.side header > button').getBoundingClientRect())`); over != "" {
		p.t.Errorf("the button that closes the side is %s", over)
	}
	p.x.click(".side button", "Close")
	p.y.click(".side button", "Close")
}

// keeps: what is typed is the node's, and so are mutes and pins.
func (p *pair) keeps() {
	p.x.click("article:not(.own)", "2 * 3 * 4")
	p.x.click("article button", "Reply")
	p.x.shows("Replying to ben")
	p.x.keys("Half a thought")
	p.a.t = p.t
	z := open(p.x.ctx, p.t)
	drafted := func(text string) { z.until(line + fmt.Sprintf(`?.value === %q`, text)) }
	js[any](p.x, `new Promise(f => setTimeout(f, 600))`) // longer than the page waits for more
	z.visit(p.a.link())
	drafted("Half a thought")
	z.shows("Replying to ben")
	p.x.front()
	p.x.run(chromedp.Reload())
	p.x.until(line + `?.value === 'Half a thought'`)
	p.x.shows("Replying to ben")
	p.x.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	p.x.enter()
	p.y.shows("Half a thought")
	z.front()
	drafted("")
	z.clean()
	p.x.front()
	if out := p.a.do("group", "list", "--json"); strings.Contains(out, "Half a thought") {
		p.t.Errorf("the draft is still there: %s", out)
	}

	p.x.click("button", "Members and settings")
	p.x.click("[role=tab]", "Settings")
	for i, what := range []string{"pinned", "muted"} {
		js[any](p.x, fmt.Sprintf(`document.querySelectorAll('.side .choice input')[%d].click()`, i))
		p.x.until(fmt.Sprintf(`document.querySelector('.group').innerText.includes(%q)`, what))
	}
	p.x.axe("settings, muted and pinned")
	p.x.click(".side button", "Close")
}
