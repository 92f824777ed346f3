//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/pandanode/pandanode/node/api"
)

// The README's tour, typed as it stands there into two terminals with a shell in each. The
// environment changes only what a test may not do: the nodes listen on loopback and do not
// look for others, and Ben's node knows the address of Anna's, as by the README's
// --bootstrap.
func TestTour(t *testing.T) {
	blocks := readmeBlocks(t, "## Try it", "## What a partition does to a group")
	if len(blocks) != 6 || !slices.Equal(blocks[0], []string{"go build -o pandanode ./cmd/pandanode", "./pandanode"}) {
		t.Fatalf("the README's tour is not what this test knows how to type: %q", blocks)
	}
	dir, err := os.MkdirTemp("", "tour") // with a short name, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	install(t, filepath.Join(dir, "pandanode"))
	picture, err := os.ReadFile("../../docs/three-way.png")
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(dir, "docs"), 0o700), os.WriteFile(filepath.Join(dir, "docs", "three-way.png"), picture, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=dumb", "PS1=[$?]> ", "PS2=",
		"PANDANODE_LISTEN=/ip4/127.0.0.1/udp/0/quic-v1", "PANDANODE_MDNS=false",
	}
	anna := openTerminal(t, dir, env)
	t.Cleanup(func() {
		_ = exec.Command(filepath.Join(dir, "pandanode"), "--home", filepath.Join(dir, "ben"), "stop").Run()
	})
	t.Cleanup(func() {
		stop := exec.Command(filepath.Join(dir, "pandanode"), "stop")
		stop.Env = env
		_ = stop.Run() // the tour has stopped it, unless it was cut short
	})
	for i, line := range blocks[1] {
		if i == len(blocks[1])-1 {
			if !strings.HasSuffix(line, "--follow") {
				t.Fatalf("the first terminal is to follow at its end, not %q", line)
			}
			anna.write(line + "\n") // goes on
			break
		}
		anna.do(line)
	}

	status := exec.Command(filepath.Join(dir, "pandanode"), "status", "--json")
	status.Env = env
	out, err := status.Output()
	var s api.Status
	if err != nil || json.Unmarshal(out, &s) != nil || len(s.Listen) == 0 {
		t.Fatalf("Anna's status: %v: %s", err, out)
	}
	ben := openTerminal(t, dir, append(env, "PANDANODE_BOOTSTRAP="+s.Listen[0]))
	for _, line := range blocks[2] {
		ben.do(line)
	}
	anna.expect(`ben/\w+: Is there any left\?`)
	anna.write("\x03")
	if code := anna.prompt(); code != "130" {
		t.Errorf("Ctrl-C in a tail: exit code %s", code)
	}
	for _, line := range slices.Concat(blocks[3:]...) {
		anna.do(line)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "three-way.png")); err != nil || len(got) == 0 || len(got) > len(picture) {
		t.Errorf("of a picture of %d bytes came %d: %v", len(picture), len(got), err)
	}
	ben.do("./pandanode --home ben stop")
	if r := anna.typed("./pandanode status"); r != "3" {
		t.Errorf("status after the stop: exit code %s", r)
	}
}

// A newcomer's first try, a node in the background of the shell: it is not stopped by the
// shell, but stays up locked until it is unlocked, and a command that waits for a node says
// so.
func TestRunInTheBackgroundOfATerminal(t *testing.T) {
	dir, err := os.MkdirTemp("", "tour")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	install(t, filepath.Join(dir, "pandanode"))
	sh := openTerminal(t, dir, []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=dumb", "PS1=[$?]> ", "PS2=",
		"PANDANODE_LISTEN=/ip4/127.0.0.1/udp/0/quic-v1", "PANDANODE_MDNS=false",
	})

	// A passphrase is asked for again if it cannot be meant. An interrupted init leaves
	// nothing behind and turns the terminal's echo on again.
	sh.write("./pandanode init --name anna\n")
	for _, typed := range []string{"Passphrase: ", "short\n", "at least 8", "", "Passphrase: ", "long enough\n", "Again: ", "longer than that\n", "differ", "", "Passphrase: ", "\x03"} {
		if strings.HasSuffix(typed, "\n") || typed == "\x03" {
			sh.write(typed)
		} else if typed != "" {
			sh.expect(regexp.QuoteMeta(typed))
		}
	}
	if code := sh.prompt(); code != "130" {
		t.Errorf("Ctrl-C in a prompt: exit code %s", code)
	}
	sh.expectAfter("stty -a", `[^-]echo\b`)
	sh.expectAfter("ls -A", `ls -A\r\n(pandanode\r\n)\[0\]> `)
	sh.do("./pandanode init --name anna")

	sh.write("./pandanode run &\n")
	sh.expect(`the node is locked: nobody could be asked for the passphrase; pandanode unlock opens it`)
	sh.write("./pandanode unlock\n")
	sh.expect("Passphrase: ")
	sh.write("not the one\n")
	sh.expect("wrong passphrase")
	sh.expect("Passphrase: ")
	sh.write(passphraseTyped)
	sh.expect(`process +\d+`)
	sh.do("./pandanode stop")
	sh.write("./pandanode status --wait ready\n")
	sh.expect(`waiting: no node is running on \S+`)
	sh.write("\x03")
	if code := sh.prompt(); code != "130" {
		t.Errorf("Ctrl-C in a wait: exit code %s", code)
	}

	// A locked node is told from none, in its own terminal and elsewhere.
	other := openTerminal(t, dir, sh.env)
	sh.write("./pandanode run --detach\n")
	sh.expect("Passphrase: ")
	other.expectAfter("./pandanode status", `the node is locked: process \d+ waits for its passphrase`, `\[6\]> `)
	other.expectAfter("./pandanode run", `waits for its passphrase already`, `\[9\]> `)
	other.expectAfter("./pandanode stop", `waits for its passphrase`, `\[6\]> `)
	other.expectAfter("./pandanode store stat", `the node is locked`, `\[6\]> `)
	other.write("./pandanode status --wait ready\n")
	other.expect(`waiting: the node is locked: process \d+`)
	sh.write("not the one\n")
	sh.expect("wrong passphrase")
	sh.expect("Passphrase: ")
	sh.write("\x03")
	if code := sh.prompt(); code != "130" {
		t.Errorf("Ctrl-C before the node runs: exit code %s", code)
	}
	other.expect(`waiting: no node is running`)
	sh.write("./pandanode run --detach\n")
	sh.expect("Passphrase: ")
	sh.write(passphraseTyped)
	sh.expect(`log +\S+/node.log`)
	if code := sh.prompt(); code != "0" {
		t.Errorf("run --detach: exit code %s", code)
	}
	if code := other.prompt(); code != "0" {
		t.Errorf("a wait begun before the node: exit code %s", code)
	}
	other.expectAfter("./pandanode run --detach", `runs already`, `hint: pandanode status`, `\[9\]> `)
	sh.do("./pandanode stop")
	sh.expectAfter("./pandanode stop", `no node is running`, `\[3\]> `)
	sh.expectAfter("cat .local/share/pandanode/node.log", `anna is running \(process \d+\)`, `others reach it at /ip4/127`)
}

// passphraseTyped is typed wherever a passphrase is asked for.
const passphraseTyped = "a passphrase to type\n"

// readmeBlocks gives the lines of the README's sh blocks between two of its headings.
func readmeBlocks(t *testing.T, from, to string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+from+"\n")
	part, _, ends := strings.Cut(rest, "\n"+to+"\n")
	if !ok || !ends {
		t.Fatalf("the README has no %q before %q", from, to)
	}
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(part, -1) {
		blocks = append(blocks, strings.Split(strings.TrimSpace(m[1]), "\n"))
	}
	if n := strings.Count(part, "```"); n != 2*len(blocks) {
		t.Fatalf("%d fences around %d blocks: a block that is not sh is not typed", n, len(blocks))
	}
	return blocks
}

// install puts this test binary, which is also the command, where the tour builds it.
func install(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("pandanode") // testscript.Main has made it
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(program, path) == nil {
		return
	}
	in, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(path, in, 0o700) //nolint:gosec // it is to be run
	}
	if err != nil {
		t.Fatal(err)
	}
}

// terminal is a pseudo-terminal with an interactive shell, and somebody who types.
type terminal struct {
	t    *testing.T
	env  []string
	file *os.File

	mu   sync.Mutex
	more *sync.Cond
	text []byte // all that came since the last thing that was looked for
	all  []byte
	eof  bool
}

const typingPatience = time.Minute

func openTerminal(t *testing.T, dir string, env []string) *terminal {
	t.Helper()
	shell := exec.Command("bash", "--norc", "--noprofile", "--noediting", "-i")
	shell.Dir, shell.Env = dir, env
	file, err := pty.StartWithSize(shell, &pty.Winsize{Rows: 50, Cols: 500})
	if err != nil {
		t.Fatal(err)
	}
	w := &terminal{t: t, env: env, file: file}
	w.more = sync.NewCond(&w.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := file.Read(b)
			w.mu.Lock()
			w.text, w.all, w.eof = append(w.text, b[:n]...), append(w.all, b[:n]...), err != nil
			w.more.Broadcast()
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
		_ = file.Close()
		<-done
	})
	w.prompt()
	return w
}

func (w *terminal) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.file, text); err != nil {
		w.t.Fatal(err)
	}
}

// until returns what look finds in the output, as soon as it finds something.
func (w *terminal) until(what string, look func([]byte) []int) []string {
	w.t.Helper()
	late := time.AfterFunc(typingPatience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.eof = true
		w.more.Broadcast()
	})
	defer late.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if at := look(w.text); at != nil {
			var found []string
			for i := 0; i < len(at); i += 2 {
				group := ""
				if at[i] >= 0 {
					group = string(w.text[at[i]:at[i+1]])
				}
				found = append(found, group)
			}
			w.text = bytes.Clone(w.text[at[1]:])
			return found
		}
		if w.eof {
			w.t.Fatalf("%s did not come, but this:\n%s", what, w.text)
		}
		w.more.Wait()
	}
}

func (w *terminal) expect(pattern string) []string {
	w.t.Helper()
	return w.until(pattern, regexp.MustCompile(pattern).FindSubmatchIndex)
}

var promptPattern = `\[(\d+)\]> $`

// prompt waits for the shell's prompt and gives the exit code in it.
func (w *terminal) prompt() string {
	w.t.Helper()
	return w.expect(promptPattern)[1]
}

// typed types a command, and a passphrase wherever one is asked for, and gives the exit code.
func (w *terminal) typed(line string) string {
	w.t.Helper()
	w.write(line + "\n")
	for {
		found := w.expect(`(?:` + promptPattern + `)|(?:(?:[Pp]assphrase|Passphrase of the backup|Again): $)`)
		if found[1] != "" {
			return found[1]
		}
		w.write(passphraseTyped)
	}
}

// do types a command that must succeed.
func (w *terminal) do(line string) {
	w.t.Helper()
	if code := w.typed(line); code != "0" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t.Fatalf("%s: exit code %s. The terminal:\n%s", line, code, w.all)
	}
}

// expectAfter types a command and waits for patterns, in order, and then for the prompt.
func (w *terminal) expectAfter(line string, patterns ...string) {
	w.t.Helper()
	w.write(line + "\n")
	last := patterns[len(patterns)-1]
	for _, p := range patterns {
		w.expect(p)
	}
	if !strings.HasSuffix(last, `\]> `) {
		w.prompt()
	}
}
