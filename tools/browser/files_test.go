package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// kettle is a photo, as far as a program can take one.
func kettle(t *testing.T) []byte {
	t.Helper()
	const w, h = 640, 420
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{uint8(250 - y/3), uint8(214 - y/4), uint8(170 - y/6), 255} //nolint:gosec // small
			if y > 330 {
				c = color.RGBA{108, 74, 52, 255}
			}
			body := math.Hypot(float64(x-320)/150, float64(y-250)/100)
			switch {
			case body < 1:
				c = color.RGBA{uint8(70 - 50*body), uint8(130 - 70*body), uint8(110 - 60*body), 255}
			case math.Hypot(float64(x-320)/16, float64(y-146)/12) < 1:
				c = color.RGBA{40, 40, 36, 255}
			case math.Abs(math.Hypot(float64(x-320)/120, float64(y-170)/100)-1) < 0.08 && y < 170:
				c = color.RGBA{52, 46, 40, 255}
			case x > 440 && x < 545 && math.Abs(float64(y)-(300-1.25*float64(x-440))) < 22:
				c = color.RGBA{30, 74, 62, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 88}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dot(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 90, 60))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// transfer is a DataTransfer with a file, in JavaScript.
func transfer(name, kind string, content []byte) string {
	return fmt.Sprintf(`(() => { const d = new DataTransfer; d.items.add(new File([Uint8Array.from(atob(%q), c => c.charCodeAt(0))], %q, {type: %q})); return d })()`,
		base64.StdEncoding.EncodeToString(content), name, kind)
}

// drops drops a file on the group, as a hand does with a mouse.
func (x *tab) drops(name, kind string, content []byte) {
	x.t.Helper()
	js[any](x, `(() => { const d = `+transfer(name, kind, content)+`, at = document.querySelector('main'); for (const what of ['dragover', 'drop']) at.dispatchEvent(new DragEvent(what, {bubbles: true, cancelable: true, dataTransfer: d})) })()`)
}

// sendsFiles: by the button, by drag and drop, and by pasting; pictures are seen, the rest is saved.
func (p *pair) sendsFiles() {
	dir := p.t.TempDir()
	photo := filepath.Join(dir, "kettle.jpg")
	if err := os.WriteFile(photo, kettle(p.t), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.x.run(chromedp.SetUploadFiles(".write input[type=file]", []string{photo}, chromedp.ByQuery))
	p.x.until(`!!document.querySelector('.write .file img') && !document.querySelector('.write progress')`)
	p.x.axe("a file that waits")
	p.x.write("The kettle, for whoever asks")
	p.y.shows("for whoever asks")
	p.y.until(`[...document.querySelectorAll('.m .pic img')].at(-1)?.naturalWidth === 640`) // all of it, not the preview
	if src := js[string](p.y, `document.querySelector('.m .pic img').src`); !strings.HasPrefix(src, "blob:") {
		p.t.Errorf("the picture is at %s", src)
	}
	p.y.click(".pic", "")
	p.y.until(`document.querySelector('dialog img.large')?.naturalWidth === 640`)
	p.y.axe("a picture, large")
	p.y.look("picture")
	p.y.press("Escape", 27, "")
	p.y.until(`!document.querySelector('dialog')`)

	// Pasted, without words.
	js[any](p.x, `document.querySelector('.write textarea').dispatchEvent(new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData: `+transfer("image.png", "image/png", dot(p.t))+`}))`)
	p.x.shows("image.png")
	p.x.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	p.x.enter()
	p.y.until(`[...document.querySelectorAll('.m .pic img')].some(i => i.naturalWidth === 90)`)

	// A large one: it comes when somebody asks for it, and is saved as it was.
	large := make([]byte, 3<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(large)
	p.x.drops("season 2026.bin", "application/octet-stream", large)
	p.x.shows("season 2026.bin")
	p.x.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	p.x.enter()
	p.y.shows("season 2026.bin")
	p.y.shows("3.1 MB, not here yet")
	p.y.axe("a file that is away")
	p.y.look("files")
	p.y.click(".file button", "Fetch season 2026.bin")
	p.y.until(`!!document.querySelector('button[aria-label="Save season 2026.bin"]')`)
	if got := p.y.saves("season 2026.bin"); !bytes.Equal(got, large) {
		p.t.Errorf("%d bytes were saved, and %d sent", len(got), len(large))
	}

	// One that nobody has any more says why it does not come.
	p.a.do("send", "tea house", "--file", p.write(dir, "lost.bin", large[:2<<20]))
	p.y.shows("lost.bin")
	p.a.do("file", "rm", "lost.bin", "--force")
	p.y.click(".file button", "Fetch lost.bin")
	p.y.shows("It does not come:")

	// About a message says who has its files.
	p.x.click("article.own", "for whoever asks")
	p.x.click("article.own button", "About this message")
	p.x.shows("Held by ben")
	p.x.press("Escape", 27, "")

	// Too large, and called off.
	p.a.do("config", "get", "files.max") // the key that is told exists
	js[any](p.x, `document.querySelector('.write textarea').dispatchEvent(new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData: (() => { const d = new DataTransfer; d.items.add(new File([new Blob([new Uint8Array(101 << 20)])], 'huge.bin')); return d })()}))`)
	p.x.shows("at most 105 MB are sent")
	p.x.click("button", "Do not send huge.bin")
	p.x.lacks("huge.bin")

	// The group bounds them, too.
	p.a.do("group", "set", "tea house", "files.max", "1MiB")
	p.y.shows("lets files have at most 1MiB")
	p.y.drops("over.bin", "application/octet-stream", large)
	p.y.shows("the group takes files of at most 1.0 MB")
	p.y.click("button", "Do not send over.bin")
	p.a.do("group", "set", "tea house", "files.max", "")
}

func (p *pair) write(dir, name string, content []byte) string {
	p.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// saves clicks on what saves a file, and gives what the browser has written.
func (x *tab) saves(name string) []byte {
	x.t.Helper()
	dir := x.t.TempDir()
	x.run(chromedp.ActionFunc(func(ctx context.Context) error {
		return cdpbrowser.SetDownloadBehavior(cdpbrowser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(dir).Do(ctx)
	}))
	x.click(".file button", "Save "+name)
	deadline := time.Now().Add(patience)
	for {
		found, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range found {
			if filepath.Ext(f) != ".crdownload" {
				b, err := os.ReadFile(f) //nolint:gosec // the test's own
				if err != nil {
					x.t.Fatal(err)
				}
				return b
			}
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%s was not saved: %q", name, found)
		}
		time.Sleep(20 * time.Millisecond) // the browser writes it
	}
}

// uploads sends a file by the API alone, with whatever type.
func (x *tab) uploads(group, name, kind, text string, content []byte) {
	x.t.Helper()
	if got := js[string](x, fmt.Sprintf(`(async () => {
		const headers = {Authorization: 'Bearer ' + sessionStorage.getItem('pandanode.token')}
		const r = await fetch('/v1/files?keep_metadata=true&name=' + encodeURIComponent(%q) + '&type=' + encodeURIComponent(%q), {method: 'POST', headers, body: Uint8Array.from(atob(%q), c => c.charCodeAt(0))})
		const s = await fetch('/v1/groups/' + encodeURIComponent(%q) + '/messages', {method: 'POST', headers, body: JSON.stringify({text: %q, files: [(await r.json()).id]})})
		return r.status + ' ' + s.status
	})()`, name, kind, base64.StdEncoding.EncodeToString(content), group, text)); got != "200 200" {
		x.t.Fatalf("%s was not sent: %s", name, got)
	}
}

const evilSVG = `<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60" onload="document.title='owned'"><script>document.title='owned'</script></svg>`

// hugePNG says that it has 60,000 by 60,000 points.
func hugePNG(t *testing.T) []byte {
	b := dot(t)
	copy(b[16:], []byte{0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60})
	return append(b, "no other is as long"...)
}

// Files of a hostile member run nothing: one that is no picture by its bytes is a name and a size,
// whatever its sender calls it, and what is saved has the type of no document.
func (p *pair) runsNoFile() {
	dir := p.t.TempDir()
	js[any](p.x, `window.__drawn = [], window.__was = URL.createObjectURL, URL.createObjectURL = b => (__drawn.push(b.type + ' ' + b.size), __was.call(URL, b)), void 0`)
	page := []byte(`<!doctype html><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`)
	for _, f := range []struct {
		name, kind string
		content    []byte
	}{
		{"drawing.svg", "image/svg+xml", []byte(evilSVG)},
		{"drawing.png", "image/png", []byte(evilSVG)},
		{"page.html", "text/html", page},
		{"page.jpg", "image/jpeg", page},
		{"both.gif", "image/gif", append([]byte("GIF8"), page...)},
		{"huge.png", "image/png", hugePNG(p.t)},
	} {
		p.y.uploads("tea house", f.name, f.kind, "this is "+f.name, f.content)
		p.x.shows("this is " + f.name)
		p.x.until(fmt.Sprintf(`!!document.querySelector('button[aria-label="Save %s"]')`, f.name))
		row := fmt.Sprintf(`[...document.querySelectorAll('.m')].find(m => m.innerText.includes('this is %s'))`, f.name)
		if n := js[int](p.x, row+`.querySelectorAll('img, svg:not(.ic), iframe, object, embed').length`); n != 0 {
			p.t.Errorf("%s is shown in the page", f.name)
		}
	}
	if drawn := js[string](p.x, `__drawn.join()`); strings.Contains(drawn, fmt.Sprintf("image/png %d", len(hugePNG(p.t)))) {
		p.t.Errorf("a picture of 60,000 by 60,000 points was given to the browser: %s", drawn)
	}
	if got := p.x.saves("drawing.svg"); string(got) != evilSVG {
		p.t.Errorf("drawing.svg was saved as %q", got)
	}
	// The page makes no document for a download, and the node answers with none.
	kinds := js[string](p.x, `(async () => {
		const made = [], was = URL.createObjectURL
		URL.createObjectURL = b => (made.push(b.type), was.call(URL, b))
		document.querySelector('button[aria-label="Save page.html"]').click()
		for (let i = 0; i < 100 && !made.length; i++) await new Promise(f => setTimeout(f, 20))
		URL.createObjectURL = was
		const token = sessionStorage.getItem('pandanode.token'), headers = {Authorization: 'Bearer ' + token}
		const {files} = await (await fetch('/v1/files', {headers})).json()
		const r = await fetch('/v1/files/' + files.find(f => f.name === 'drawing.svg').id + '/content', {headers})
		return [...made, r.headers.get('content-type'), r.headers.get('content-disposition'), r.headers.get('x-content-type-options'), r.headers.get('content-security-policy')].join(' | ')
	})()`)
	if want := `application/octet-stream | application/octet-stream | attachment; filename=drawing.svg | nosniff | sandbox; default-src 'none'`; kinds != want {
		p.t.Errorf("downloads are %s", kinds)
	}
	if title := js[string](p.x, `document.title`); strings.Contains(title, "owned") {
		p.t.Error("a file has run")
	}
	// Names are text, and turn nothing around.
	p.b.do("send", "tea house", "--file", p.write(dir, `<img src=x onerror=alert(1)>.txt`, []byte("x")), "by its name")
	p.x.shows(`<img src=x onerror=alert(1)>.txt`)
}
