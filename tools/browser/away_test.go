package browser

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A node hangs, dies and comes back locked. Its page says so each time, says what helps, and
// loses nothing that was typed.
func TestNodeGoesAway(t *testing.T) {
	dir := t.TempDir()
	word := filepath.Join(dir, "word")
	if err := os.WriteFile(word, []byte("tea and biscuits\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	a := &device{t: t, home: filepath.Join(dir, "anna")}
	t.Setenv("PANDANODE_PASSPHRASE_FILE", word) // not a flag, which init would note for later runs
	a.do("init", "--name", "anna", "--mdns=false", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--web-port", port)
	if err := os.Unsetenv("PANDANODE_PASSPHRASE_FILE"); err != nil { // Setenv sets it back
		t.Fatal(err)
	}
	a.begin("anna", "locked")
	if out, err := a.try("web", "--print"); err == nil || !strings.Contains(err.Error(), "is locked") || !strings.Contains(err.Error(), " unlock\n") {
		t.Errorf("the page of a locked node: %s, %v", out, err)
	}
	a.do("unlock", "--passphrase-file", word)
	a.do("group", "create", "tea")
	x := open(chromium(t), t)
	x.size(1280, 800, false)
	x.visit(a.link())
	x.shows("You founded the group")
	x.write("before it goes")
	x.shows("before it goes")

	// It hangs for a while: what is sent meanwhile waits, and goes once.
	_ = a.run.Process.Signal(syscall.SIGSTOP)
	x.write("while it hangs")
	x.until(`!!document.querySelector('.waiting')`)
	_ = a.run.Process.Signal(syscall.SIGCONT)
	x.until(`!document.querySelector('.waiting') && [...document.querySelectorAll('.m.own')].filter(m => m.innerText.includes('while it hangs')).length === 1`)

	// It dies.
	_ = a.run.Process.Kill()
	_ = a.run.Wait()
	x.shows("The node does not answer")
	x.shows("pandanode unlock")
	x.axe("a node that is away")
	x.write("to nobody")
	x.shows("It may have been sent")
	x.keys("half a thought")
	x.look("away")

	// It is back, and locked: there is no page. Then somebody opens it.
	a.begin("anna", "locked")
	x.shows("The node does not answer")
	a.do("unlock", "--passphrase-file", word)
	link := a.link()
	x.shows("This tab was logged in, and is not any more.")
	x.shows("Not sent from this tab")
	x.shows("to nobody")
	x.shows("half a thought")
	x.look("ended")
	x.axe("the door, after a session")
	x.visit("about:blank")
	x.visit(link)
	x.shows("before it goes")
	if n := js[int](x, `[...document.querySelectorAll('.m')].filter(m => m.innerText.includes('while it hangs')).length`); n != 1 {
		t.Errorf("the message of before is there %d times", n)
	}
	x.clean()
}
