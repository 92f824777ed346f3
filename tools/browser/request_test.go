package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// asks looks for a group on a page, and asks to be let in.
func (x *tab) asks(group string) {
	x.t.Helper()
	x.shows("Welcome")
	x.click("button", "Find or join")
	x.run(chromedp.SendKeys("form input", group, chromedp.ByQuery))
	x.click("form button", "Search")
	x.shows("an admin lets in")
	x.click(".people button", "Join")
	x.shows("You asked to be let in")
}

// A group lets in those whom an admin lets in: their pages say that they wait, the admin's shows
// who asks, lets one in, refuses another, and changes a role.
func TestRequests(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "anna")
	b, c := start(t, dir, "ben", a.addr), start(t, dir, "carl", a.addr)
	x, y, z := open(chromium(t), t), open(chromium(t), t), open(chromium(t), t)
	for i, tab := range []*tab{x, y, z} {
		tab.size(1280, 800, i == 0)
	}
	x.visit(a.link())
	x.shows("Welcome")
	x.click("button", "New group")
	x.run(chromedp.SendKeys("form input", "choir", chromedp.ByQuery))
	x.click("label.choice", "Those whom an admin lets in")
	x.click("button", "Create the group")
	x.shows("You founded the group")

	y.visit(b.link())
	y.asks("choir")
	z.visit(c.link())
	z.asks("choir")
	z.click("button", "Ask no more")
	z.shows("No groups yet.")
	z.asks("choir")
	y.until(`document.querySelector('.group small').textContent === 'joining: waits for a member'`)
	y.until(`document.querySelectorAll('.empty .facts li').length > 0`)
	if js[bool](y, `!!document.querySelector('.write')`) {
		t.Error("there is a line to write in before anybody let them in")
	}
	y.axe("a group that somebody asked to be let in to")
	y.look("asked")

	for _, who := range []string{"ben", "carl"} {
		x.shows(who + " asks to be let in")
	}
	x.click("button", "Members and settings")
	x.until(`document.querySelector('#tab-members .count')?.textContent.startsWith('2')`)
	x.axe("requests")
	x.look("requests")
	answer := func(who, how string) {
		t.Helper()
		row := fmt.Sprintf(`[...document.querySelectorAll('.people li')].find(e => e.innerText.includes(%q) && e.innerText.includes('Refuse'))`, who)
		x.until(`!!` + row)
		js[any](x, `void [...`+row+fmt.Sprintf(`.querySelectorAll('button')].find(b => b.innerText === %q).click()`, how))
		x.until(`!` + row)
	}
	answer("ben", "Let in")
	y.shows("You joined the group")
	answer("carl", "Refuse")
	z.shows("You were not let in")
	z.until(`document.querySelector('.group small').textContent === 'you were not let in'`)
	z.axe("a group that refused")
	z.look("refused")
	z.click("button", "Take it off the list")
	z.shows("No groups yet.")
	x.until(`!document.querySelector('#tab-members .count') && [...document.querySelectorAll('.person')].length === 2`)

	x.click(".person button", "ben")
	x.run(chromedp.SetValue(".person select", "read-only", chromedp.ByQuery))
	js[any](x, `void document.querySelector('.person select').dispatchEvent(new Event('change', {bubbles: true}))`)
	y.shows("You may read in this group, and not write.")
	x.shows("You made ben read-only")
	x.until(`[...document.querySelectorAll('.person .line')].some(e => e.innerText.includes('ben') && e.innerText.includes('read-only'))`)
	x.run(chromedp.SetValue(".person select", "admin", chromedp.ByQuery))
	js[any](x, `void document.querySelector('.person select').dispatchEvent(new Event('change', {bubbles: true}))`)
	y.until(`!!document.querySelector('.write textarea')`)
	y.write("At your service")
	x.shows("At your service")
	y.click("button", "Members and settings")
	y.click("[role=tab]", "Invites") // an admin has them
	y.shows("Make a link")
	for _, tab := range []*tab{x, y, z} {
		tab.clean()
	}
}
