package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// A user says on the page who it is: members see it, a name that no node takes is refused where it
// was typed, and what a command changes is there without a reload.
func TestProfileOnThePage(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir, "anna")
	b := start(t, dir, "ben", a.addr)
	a.do("group", "create", "tea")
	b.do("group", "join", "tea", "--wait")
	x, y := open(chromium(t), t), open(chromium(t), t)
	for tab, d := range map[*tab]*device{x: a, y: b} {
		tab.size(1280, 800, false)
		tab.visit(d.link())
		tab.shows("This is where tea begins.")
	}
	y.click("button", "Members and settings")

	named := func(tab *tab, name string) {
		t.Helper()
		tab.until(fmt.Sprintf(`document.querySelector('.you bdi').textContent === %q`, name))
	}
	set := func(selector, text string) {
		t.Helper()
		js[any](x, fmt.Sprintf(`document.querySelector(%q).select()`, selector))
		x.run(chromedp.SendKeys(selector, text, chromedp.ByQuery))
	}
	named(x, "anna")
	x.click(".you", "anna")
	x.axe("how members see you")
	x.look("profile")
	set("dialog input", "аnna") // of two scripts
	x.click("dialog button", "Save")
	x.until(`!!document.querySelector('dialog .trouble')`)
	if name := js[string](x, `document.querySelector('dialog input').value`); name != "аnna" {
		t.Errorf("what was typed is gone: %q", name)
	}
	set("dialog input", "Anna Kettle")
	set("dialog textarea", "Tea, mostly green")
	x.click("dialog button", "Save")
	x.until(`!document.querySelector('dialog')`)
	named(x, "Anna Kettle")
	y.until(`[...document.querySelectorAll('.people .line')].some(e => e.textContent.includes('Anna Kettle') && e.textContent.includes('Tea, mostly green'))`)
	x.write("the kettle is on")
	y.until(`document.querySelector('.log article b')?.textContent.includes('Anna Kettle')`)

	a.do("profile", "--name", "Anna K")
	named(x, "Anna K")
	x.click(".you", "Anna K")
	if about := js[string](x, `document.querySelector('dialog textarea').value`); about != "Tea, mostly green" {
		t.Errorf("about: %q", about)
	}
	x.clean()
	y.clean()
}
