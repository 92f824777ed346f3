package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a step may take: far longer than it does, for a busy machine.
const patience = 20 * time.Second

// program is the path of pandanode, which make has built.
func program(t *testing.T) string {
	t.Helper()
	p := os.Getenv("PAGE_PROGRAM")
	if p == "" {
		t.Fatal("PAGE_PROGRAM is to be the path of the program: make web-test")
	}
	return p
}

// device is a node that runs as a process.
type device struct {
	t    *testing.T
	home string
	addr string
	run  *exec.Cmd
}

// start makes a node and runs it until the test ends.
func start(t *testing.T, dir, name string, bootstrap ...string) *device {
	t.Helper()
	return startAs(t, dir, name, name, bootstrap...)
}

// startAs is that of a node with a name that is none for a folder.
func startAs(t *testing.T, dir, folder, name string, bootstrap ...string) *device {
	t.Helper()
	d := &device{t: t, home: filepath.Join(dir, folder)}
	d.do("init", "--name", name, "--key-file", d.home+".key", "--mdns=false", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--bootstrap", strings.Join(bootstrap, ","))
	d.begin(name, "ready")
	return d
}

// begin runs the node until the test ends, and waits until it is ready, or locked.
func (d *device) begin(name, until string) {
	t := d.t
	t.Helper()
	run := exec.Command(program(t), "--home", d.home, "run") //nolint:gosec,noctx // the program of the test
	var log bytes.Buffer
	run.Stderr = &log
	d.run = run
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(os.Interrupt)
		late := time.AfterFunc(patience, func() {
			t.Errorf("%s does not end %v after the signal", name, patience)
			_ = run.Process.Kill()
		})
		_ = run.Wait()
		late.Stop()
		if t.Failed() {
			text := log.String()
			t.Logf("%s:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for {
		args := []string{"status", "--json"}
		if until == "ready" {
			args = append(args, "--wait", "ready", "--timeout", "20s")
		}
		out, err := d.try(args...)
		var s struct {
			Listen []string
			Locked bool
		}
		if json.Unmarshal([]byte(out), &s) == nil && (err == nil && len(s.Listen) > 0 || s.Locked && until == "locked") {
			if len(s.Listen) > 0 {
				d.addr = s.Listen[0]
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not start: %v %s\n%s", name, err, out, log.String())
		}
		time.Sleep(50 * time.Millisecond) // the process comes up
	}
}

func (d *device) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, program(d.t), append([]string{"--home", d.home}, args...)...) //nolint:gosec // the program of the test
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%v: %w: %s", args, err, errs.String())
	}
	return out.String(), nil
}

// both is what a command prints, and what it says beside.
func (d *device) both(args ...string) (out, beside string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program(d.t), append([]string{"--home", d.home}, args...)...) //nolint:gosec // the program of the test
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	if err := c.Run(); err != nil {
		d.t.Fatalf("%v: %v: %s", args, err, e.String())
	}
	return o.String(), e.String()
}

func (d *device) do(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// send sends messages, one a line.
func (d *device) send(group string, lines []string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 3*patience)
	defer cancel()
	c := exec.CommandContext(ctx, program(d.t), "--home", d.home, "send", "--stdin", group) //nolint:gosec // the program of the test
	c.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := c.CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
}

// link is a link that logs a tab in.
func (d *device) link() string { return strings.TrimSpace(d.do("web", "--print")) }

// chromium starts the browser.
func chromium(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("lang", "en-GB"), chromedp.WSURLReadTimeout(time.Minute))
	o = append(o, more...)
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			o = append(o, chromedp.ExecPath(p))
			break
		}
	}
	alloc, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), o...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(alloc, chromedp.WithErrorf(func(format string, args ...any) {
		if !strings.HasPrefix(format, "unhandled ") { // an event newer than chromedp
			t.Logf(format, args...)
		}
	}))
	t.Cleanup(stop)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("no browser: %v", err)
	}
	return ctx
}

// tab is a tab of the browser, with what went wrong in it.
type tab struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // chromedp keeps the tab in it
	patience time.Duration   // of one step
	troubles []string
}

// watch notes violations of the Content-Security-Policy.
const watch = `window.__broken = []; document.addEventListener('securitypolicyviolation', e => __broken.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sourceFile + ':' + e.lineNumber))`

// open opens a tab in a browser.
func open(b context.Context, t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b)
	t.Cleanup(cancel)
	x := &tab{t: t, ctx: ctx, patience: patience}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			x.troubles = append(x.troubles, ev.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError {
				x.troubles = append(x.troubles, fmt.Sprint(ev.Args))
			}
		}
	})
	// The tab lives as long as the context of its first step: that has no deadline.
	if err := chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(watch).Do(ctx)
		return err
	})); err != nil {
		t.Fatalf("no tab: %v", err)
	}
	return x
}

// run takes a step within its time, or says which one it was and what the page shows.
func (x *tab) run(actions ...chromedp.Action) {
	x.t.Helper()
	x.step(fmt.Sprintf("%T", actions[0]), actions...)
}

func (x *tab) step(what string, actions ...chromedp.Action) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, x.patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		ctx, cancel := context.WithTimeout(x.ctx, 5*time.Second)
		defer cancel()
		text := "(it does not answer)"
		_ = chromedp.Run(ctx, chromedp.Evaluate(`document.body ? document.body.innerText.slice(0, 1500) : ''`, &text))
		x.t.Fatalf("the step %.300s: %v; the page shows:\n%s", what, err, text)
	}
}

// js evaluates an expression, and waits if that is a promise.
func js[T any](x *tab, expression string) (out T) {
	x.t.Helper()
	x.step(expression, chromedp.Evaluate(expression, &out, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return out
}

// until waits until an expression is true.
func (x *tab) until(expression string) {
	x.t.Helper()
	var ok bool
	x.step("until "+expression, chromedp.Poll(expression, &ok, chromedp.WithPollingInterval(10*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// visit opens an address.
func (x *tab) visit(link string) {
	x.t.Helper()
	x.step("visit "+link, chromedp.Navigate(link))
}

// front brings the tab before the others of its browser: one behind them is not drawn.
func (x *tab) front() {
	x.t.Helper()
	x.step("bring the tab to the front", page.BringToFront())
}

// shows waits until the page shows a text.
func (x *tab) shows(text string) {
	x.t.Helper()
	x.until(fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
}

// lacks waits until it does not.
func (x *tab) lacks(text string) {
	x.t.Helper()
	x.until(fmt.Sprintf(`!document.body.innerText.includes(%q)`, text))
}

// click clicks what a selector finds first that has a text; empty: any.
func (x *tab) click(selector, text string) {
	x.t.Helper()
	found := fmt.Sprintf(`[...document.querySelectorAll(%q)].find(e => e.offsetParent && (e.innerText + ' ' + (e.ariaLabel || '')).includes(%q))`, selector, text)
	x.until(`!!` + found)
	js[any](x, `void `+found+`.click()`)
}

// write types a message and sends it.
func (x *tab) write(text string) {
	x.t.Helper()
	x.run(chromedp.Focus(".write textarea", chromedp.ByQuery))
	x.keys(text)
	x.enter()
}

// keys types a text where the focus is.
func (x *tab) keys(text string) {
	x.t.Helper()
	x.run(chromedp.ActionFunc(func(ctx context.Context) error { return input.InsertText(text).Do(ctx) }))
}

// enter presses the key, as a keyboard does: what it would write comes only if nobody took it.
func (x *tab) enter() {
	x.t.Helper()
	x.press("Enter", 13, "\r")
}

func (x *tab) press(key string, code int64, text string) {
	x.t.Helper()
	down := input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithCode(key).WithWindowsVirtualKeyCode(code).WithText(text)
	x.run(down, input.DispatchKeyEvent(input.KeyUp).WithKey(key).WithCode(key).WithWindowsVirtualKeyCode(code))
}

func (x *tab) size(width, height int64, dark bool) {
	x.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	x.run(emulation.SetDeviceMetricsOverride(width, height, 1, width < 700), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// shot writes a picture for the README, if PAGE_PICTURES names a folder.
func (x *tab) shot(name string) { x.t.Helper(); x.draw(name, os.Getenv("PAGE_PICTURES")) }

// look writes one for whoever changes the page, if PAGE_LOOKS does.
func (x *tab) look(name string) { x.t.Helper(); x.draw(name, os.Getenv("PAGE_LOOKS")) }

// draw writes a picture of what is seen into a folder; empty: none.
func (x *tab) draw(name, dir string) {
	x.t.Helper()
	if dir == "" {
		return
	}
	var picture []byte
	js[any](x, `new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => f(null))))`) // it is drawn
	x.step("take a picture", chromedp.CaptureScreenshot(&picture))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil { //nolint:gosec // a picture
		x.t.Fatal(err)
	}
}

// clean says that nothing went wrong in the tab.
func (x *tab) clean() {
	x.t.Helper()
	if broken := js[[]string](x, `window.__broken`); len(broken) > 0 {
		x.t.Errorf("violations of the Content-Security-Policy: %q", broken)
	}
	if len(x.troubles) > 0 {
		x.t.Errorf("errors in the console: %q", x.troubles)
	}
}
