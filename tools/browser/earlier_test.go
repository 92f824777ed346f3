package browser

import (
	"strings"
	"testing"
)

// Messages from before somebody came in stand between lines that say so, on the page as in
// "tail"; they are not new.
func TestEarlierMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := start(t, dir, "anna")
	b := start(t, dir, "ben", a.addr)
	a.do("group", "create", "tea")
	a.do("group", "set", "tea", "history", "all")
	a.send("tea", []string{"old one", "old two"})
	b.do("status", "--wait", "online", "--timeout", "30s")
	b.do("group", "join", "tea", "--wait", "--timeout", "60s")
	b.do("tail", "tea", "--count", "2", "--timeout", "60s", "--json")
	a.do("send", "tea", "live one", "--wait", "held", "--timeout", "60s")
	x := open(chromium(t), t)
	x.visit(b.link())
	x.click("nav button, nav a", "tea")
	x.until(`!!document.querySelector('.log .new')`)
	log := js[string](x, `document.querySelector('.log').innerText`)
	if !inOrder(log, "Earlier messages, given by members", "old one", "old two", "New", "Since you came in", "live one") {
		t.Errorf("the page:\n%s", log)
	}
	x.axe("earlier messages")
	x.clean()
	if out := b.do("tail", "tea", "--all"); !inOrder(out, "--- earlier messages, given by members ---", "old one", "old two", "--- since you came in ---", "live one") {
		t.Errorf("tail:\n%s", out)
	}
	if out := a.do("tail", "tea", "--all"); strings.Contains(out, "---") {
		t.Errorf("tail of whoever was there:\n%s", out)
	}
}

func inOrder(text string, all ...string) bool {
	for _, s := range all {
		at := strings.Index(text, s)
		if at < 0 {
			return false
		}
		text = text[at+len(s):]
	}
	return true
}
