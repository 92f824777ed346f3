package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// compares opens the dialog to verify somebody in a tab, and tells the digits and words it shows.
func (x *tab) compares(name string) (digits, words string) {
	x.t.Helper()
	x.click("button", "Members and settings")
	x.click(".person button", name)
	x.click(".person button", "Verify…")
	x.until(`document.querySelectorAll('dialog:modal .digits').length === 2 && !!document.querySelector('dialog svg.qr path')`)
	x.axe("the verification of " + name)
	shown := js[[]string](x, `[...document.querySelectorAll('dialog .digits')].map(e => e.innerText.trim())`)
	return shown[0], shown[1]
}

// verifies: both pages show the same digits, words and, as a picture, codes that a phone reads.
// A user who was verified has a mark before the name, in the list and in the timeline.
func (p *pair) verifies() {
	digits, words := p.x.compares("ben")
	other, others := p.y.compares("anna")
	if len(strings.Join(strings.Fields(digits), "")) != 60 || !regexp.MustCompile(`^[0-9 ]+$`).MatchString(digits) || digits != other {
		p.t.Errorf("one page shows the digits %q, the other %q", digits, other)
	}
	if len(strings.Fields(words)) != 6 || words != others {
		p.t.Errorf("one page shows the words %q, the other %q", words, others)
	}
	for _, c := range []struct {
		by   *device
		tab  *tab
		whom string
	}{{p.a, p.x, "ben"}, {p.b, p.y, "anna"}} {
		var person struct{ Code string }
		if err := json.Unmarshal([]byte(c.by.do("verify", c.whom, "--json")), &person); err != nil || person.Code == "" {
			p.t.Fatalf("%v: %+v", err, person)
		}
		if read := decode(p.t, c.tab.picture("dialog svg.qr")); read != person.Code {
			p.t.Errorf("a reader takes the code of %s for %q; it is %q", c.whom, read, person.Code)
		}
	}

	marked := `[...document.querySelectorAll('%s')].filter(e => e.querySelector('.verified[role=img][aria-label=verified]')?.nextElementSibling?.textContent === 'ben').length`
	p.x.run(chromedp.SendKeys("dialog form input", "12345", chromedp.ByQuery))
	p.x.click("dialog button", "It is the same")
	p.x.until(`!document.querySelector('dialog') && !!document.querySelector('.trouble')`)
	p.x.axe("a verification that failed")
	if n := js[int](p.x, fmt.Sprintf(marked, ".person .line")); n != 0 {
		p.t.Error("wrong digits verify somebody")
	}
	p.x.click(".trouble button", "Dismiss")
	p.x.click(".person button", "Verify…")
	p.x.run(chromedp.SendKeys("dialog form input", others, chromedp.ByQuery))
	p.x.click("dialog button", "It is the same")
	p.x.until(fmt.Sprintf(marked, ".person .line") + ` === 1`)
	p.x.until(fmt.Sprintf(marked, ".log article b") + ` > 0`)
	p.x.axe("a member who was verified")
	p.x.look("verified")
	p.x.click(".side button", "Close")

	p.y.press("Escape", 27, "")
	p.y.until(`!document.querySelector('dialog')`)
	p.y.click(".side button", "Close")
	if out := p.a.do("people"); !strings.Contains(out, "ben") || !strings.Contains(out, "verified") {
		p.t.Errorf("the command knows nothing of it: %s", out)
	}
}

// picture is what is seen of the first element that a selector finds.
func (x *tab) picture(selector string) image.Image {
	x.t.Helper()
	var drawn []byte
	x.step("take a picture of "+selector, chromedp.Screenshot(selector, &drawn, chromedp.ByQuery))
	picture, err := png.Decode(bytes.NewReader(drawn))
	if err != nil {
		x.t.Fatal(err)
	}
	return picture
}

// decode reads a picture of nothing but a QR code. A reader that has to find the code first takes
// data for a corner in about one of a hundred; a phone then takes its next picture.
func decode(t *testing.T, picture image.Image) string {
	t.Helper()
	b := picture.Bounds()
	inner := b.Inset(b.Dx() / 25) // the page rounds the corners of the margin, and is dark beside them
	code := image.NewGray(image.Rect(0, 0, inner.Dx(), inner.Dy()))
	draw.Draw(code, code.Bounds(), picture, inner.Min, draw.Src)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(code)
	if err != nil {
		t.Fatal(err)
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Errorf("no reader reads the code: %v", err)
		return ""
	}
	return read.GetText()
}

// A QR code of the terminal is read, too: its light blocks on a dark ground, as a screen shows it
// inverted, or as a reader takes it.
func TestTerminalCodes(t *testing.T) {
	a := start(t, t.TempDir(), "anna")
	a.do("group", "create", "tea")
	for _, args := range [][]string{{"status", "--qr"}, {"group", "invite", "tea", "--qr"}} {
		out, drawn := a.both(args...)
		lines := strings.FieldsFunc(drawn, func(r rune) bool { return r == '\n' })
		picture := blocks(lines)
		if picture.Bounds().Dx() < 100 {
			t.Fatalf("%v draws no code: %q", args, drawn)
		}
		read := decode(t, picture)
		if read == "" || !strings.Contains(out, read) {
			t.Errorf("a reader takes the code of %v for %q; it printed %s", args, read, out)
		}
	}
}

// blocks draws the lines of half blocks, 4 pixels a module. Without colours a block is light.
func blocks(lines []string) image.Image {
	const scale = 4
	wide := 0
	var code []string
	for _, l := range lines {
		if strings.Trim(l, "█▀▄ ") == "" {
			code, wide = append(code, l), max(wide, len([]rune(l)))
		}
	}
	picture := image.NewGray(image.Rect(0, 0, wide*scale, 2*len(code)*scale))
	for row, l := range code {
		for column, r := range []rune(l) {
			for half, light := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
				if !light {
					continue
				}
				for i := range scale * scale {
					picture.SetGray(column*scale+i%scale, (2*row+half)*scale+i/scale, color.Gray{Y: 255})
				}
			}
		}
	}
	return picture
}
