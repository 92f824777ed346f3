package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// searches finds a message far up in 10,000, opens it in its place, and goes on from there.
func (x *tab) searches(t *testing.T, a *device) {
	t.Helper()
	a.do("group", "create", "other")
	a.do("send", "other", "Émile says: message 4321 is <b>here</b>, too")
	x.press("Escape", 27, "")
	x.click("button", "Search in all groups")
	x.axe("the search")
	x.run(chromedp.SendKeys("form[role=search] input", `"MESSAGE 4321"`, chromedp.ByQuery))
	x.enter()
	x.shows("2 found")
	if marks := js[string](x, `[...document.querySelectorAll('.hit mark')].map(m => m.textContent).join()`); marks != "message,4321,message,4321" {
		t.Errorf("marked are %s", marks)
	}
	x.shows("is <b>here</b>, too")
	x.axe("what was found")
	x.look("search")
	x.click(".hit", "message 4321 of many")
	centred := `(() => { const r = document.querySelector('.m.aimed')?.getBoundingClientRect(), l = document.querySelector('.log').getBoundingClientRect(); return !!r && r.top > l.top && r.bottom < l.bottom })()`
	x.until(centred)
	x.until(`document.activeElement.innerText.includes('message 4321 of many')`)
	for _, near := range []int{4319, 4320, 4322, 4323} {
		x.shows(fmt.Sprintf("message %d of many", near))
	}
	// On from there in both directions, without a gap, and to the end by the button.
	got := js[string](x, `(async () => {
		const log = document.querySelector('.log'), frame = () => new Promise(f => requestAnimationFrame(() => setTimeout(f)))
		let gaps = ''
		const has = n => [...log.querySelectorAll('.m p')].some(p => p.textContent === 'message ' + n + ' of many')
		const look = () => {
			const n = [...log.querySelectorAll('.m p')].map(p => +/\d+/.exec(p.textContent)[0])
			for (let i = 1; i < n.length; i++) if (n[i] !== n[i - 1] + 1) gaps += n[i - 1] + '-' + n[i] + ' '
		}
		let i = 0
		for (; i < 400 && !has(4700); i++) { log.scrollTop += 700; await frame(); look() }
		if (!has(4700)) return 'not down to 4700'
		for (i = 0; i < 400 && !has(4100); i++) { log.scrollTop -= 700; await frame(); look() }
		return has(4100) ? gaps : 'not up to 4100'
	})()`)
	if got != "" {
		t.Errorf("around a message that was found: %s", got)
	}
	x.click(".down", "Newest messages")
	x.until(`(() => { const l = document.querySelector('.log'); return l.innerText.includes('message 10000 of many') && l.scrollHeight - l.scrollTop - l.clientHeight < 2 })()`)
	a.do("send", "long", "and one more")
	x.shows("and one more")

	// In one group, with no hit; and "/" opens the search.
	x.press("Escape", 27, "")
	js[any](x, `document.activeElement.blur()`)
	x.press("/", 191, "/")
	x.until(`document.activeElement.matches('form[role=search] input')`)
	js[any](x, `(() => { const s = document.querySelector('form[role=search] select'); s.value = [...s.options].find(o => o.text === 'other').value; s.dispatchEvent(new Event('change', {bubbles: true})) })()`)
	look := func(words string) {
		js[any](x, `document.querySelector('form[role=search] input').select()`)
		x.keys(words)
		x.enter()
	}
	look("emile")
	x.shows("1 found")
	look("samovar")
	x.shows("Nothing was found")
}
