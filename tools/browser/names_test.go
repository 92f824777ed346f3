package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// spy notes elements that markup in a name would make, wherever and however briefly they are.
const spy = `window.__made = [], new MutationObserver(all => { for (const r of all) for (const n of r.addedNodes) if (n.nodeType === 1) for (const e of [n, ...n.querySelectorAll('*')]) if (e.matches('img[src="x"], bdi :not(bdi), h2 i, h2 b, .mention :not(bdi), option *, script[data-name]')) __made.push(e.outerHTML.slice(0, 120)) }).observe(document, {subtree: true, childList: true}), void 0`

// Names of people, devices and groups are text wherever they are shown: no element comes of them,
// nothing runs, and the browser has nothing to refuse.
func TestNamesWithMarkup(t *testing.T) {
	const (
		anna  = `<b>anna</b> &amp; co`
		ben   = `<img src=x onerror="document.title='owned'">`
		pet   = `<img src=x onerror=__made.push(1)>`
		group = `<i>tea</i><img src=x onerror="document.title='owned'">`
		about = `<script data-name>document.title='owned'</script>`
	)
	dir := t.TempDir()
	a := startAs(t, dir, "anna", anna)
	b := startAs(t, dir, "ben", ben, a.addr)
	x, y := open(chromium(t), t), open(chromium(t), t)
	for _, tab := range []*tab{x, y} {
		tab.size(1280, 800, false)
	}
	x.visit(a.link())
	x.shows("Welcome")
	js[any](x, spy)
	x.shows(anna)
	x.click("button", "New group")
	x.run(chromedp.SendKeys("form input", group, chromedp.ByQuery), chromedp.SendKeys(`form input[placeholder=Optional]`, about, chromedp.ByQuery))
	x.click("button", "Create the group")
	x.shows("You founded the group")
	for _, place := range []string{".group bdi", ".middle h2"} {
		x.until(fmt.Sprintf(`document.querySelector(%q).textContent === %q`, place, group))
	}
	x.until(fmt.Sprintf(`document.title === %q`, group+" – pandanode"))
	y.visit(b.link())
	y.shows("Welcome")
	js[any](y, spy)
	y.click("button", "Find or join")
	y.run(chromedp.SendKeys("form input", "tea", chromedp.ByQuery))
	y.click("form button", "Search")
	y.until(fmt.Sprintf(`document.querySelector('.people bdi')?.textContent === %q && document.querySelector('.people small').textContent === %q`, group, about))
	y.click(".people button", "Join")
	y.shows("You joined the group")

	// In the timeline, and above what somebody writes, in a quotation, a mention, a thread.
	x.shows("You named the group “" + group + "”")
	x.shows("You let " + ben + " in")
	y.write("first words")
	x.until(fmt.Sprintf(`[...document.querySelectorAll('.log article b')].some(e => e.textContent.includes(%q))`, ben))
	x.click("article:not(.own)", "first words")
	x.click("article button", "Reply")
	x.shows("Replying to " + ben)
	x.write("an answer")
	x.until(fmt.Sprintf(`document.querySelector('.quote')?.textContent.includes(%q)`, ben))
	y.until(fmt.Sprintf(`[...document.querySelectorAll('.log article b')].some(e => e.textContent.includes(%q))`, anna))
	y.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	y.keys("@<b")
	y.until(fmt.Sprintf(`document.querySelector('.names [aria-selected=true]')?.textContent === %q`, anna))
	y.enter()
	y.keys("hear, hear")
	y.enter()
	x.until(fmt.Sprintf(`[...document.querySelectorAll('.mention.hot')].at(-1)?.textContent === %q`, "@"+anna))
	x.click("article:not(.own)", "first words")
	x.click("article button", "React")
	x.click(".picks button", "👍")
	y.until(`!!document.querySelector('.own .reactions button')`)
	x.click("article:not(.own)", "first words")
	x.click("article button", "Thread")
	x.until(fmt.Sprintf(`document.querySelector('.thread').textContent.includes(%q)`, ben))
	x.click(".mark", "held by 1 of 1")
	x.until(`document.querySelectorAll('dialog:modal .facts li').length > 0`)
	x.press("Escape", 27, "")
	x.until(`!document.querySelector('dialog')`)

	// Members, with a name that was given here; what asks before somebody is removed.
	x.click("[role=tab]", "Members")
	x.click(".person button", ben)
	x.click(".person button", "Verify…")
	x.until(fmt.Sprintf(`document.querySelector('dialog:modal h2')?.textContent.includes(%q)`, ben))
	x.press("Escape", 27, "")
	x.until(`!document.querySelector('dialog')`)
	x.click(".person button", "Remove from the group")
	x.until(fmt.Sprintf(`document.querySelector('dialog p')?.textContent.includes(%q)`, ben))
	x.click("dialog button", "Cancel")
	x.axe("names with markup")
	x.look("names")
	x.run(chromedp.SendKeys(".person form input", pet, chromedp.ByQuery))
	x.click(".person button", "Keep")
	x.until(fmt.Sprintf(`[...document.querySelectorAll('.person .line')].some(e => e.textContent.includes(%q) && e.textContent.includes(%q))`, pet, "calls itself "+ben))
	x.click("[role=tab]", "Settings")
	x.until(fmt.Sprintf(`document.querySelector('.side form input').value === %q`, group))
	x.click(".side button", "Close")

	// The search, the doctor, and the title of a window that is behind another.
	x.click("button", "Search in all groups")
	x.run(chromedp.SendKeys("form[role=search] input", "words", chromedp.ByQuery))
	x.enter()
	x.shows("1 found")
	x.until(fmt.Sprintf(`document.querySelector('.hit').textContent.includes(%q)`, group))
	x.click("button", "How the node is")
	x.shows("connected peer")
	x.until(fmt.Sprintf(`document.querySelector('.sheet bdi').textContent === %q`, anna))
	b.do("send", group, "while she looks elsewhere")
	x.until(`/^\(\d+\) /.test(document.title)`)
	for _, tab := range []*tab{x, y} {
		if made := js[[]string](tab, `__made`); len(made) != 0 {
			t.Errorf("names made elements: %q", made)
		}
		if title := js[string](tab, `document.title`); strings.Contains(title, "owned") && !strings.Contains(title, "<img") {
			t.Errorf("a name has run: the title is %s", title)
		}
		tab.clean()
	}
}
