//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// servicePassphrase is the passphrase of the homes of these tests.
const servicePassphrase = "the passphrase of a service"

// manager plays systemd for one service: it makes the service's home and gives it a socket
// for its notices, a watchdog and credentials.
type manager struct {
	t       *testing.T
	dir     string
	program string
	notices *net.UnixConn
	seen    []string // lines that were read
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "unit") // with a short name, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{t: t, dir: dir, program: filepath.Join(dir, "pandanode")}
	install(t, m.program)
	if m.notices, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.notices.Close() })
	m.file("right", servicePassphrase+"\n")
	m.file("wrong", "not the passphrase\n")
	by := []string{"PANDANODE_PASSPHRASE_FILE=" + filepath.Join(dir, "right")} // which the configuration does not keep
	if out, err := m.command(by, "init", "--name", "anna", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--mdns=false").CombinedOutput(); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	return m
}

func (m *manager) file(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *manager) command(env []string, args ...string) *exec.Cmd {
	c := exec.Command(m.program, args...)
	c.Env = append([]string{"HOME=" + m.dir, "PANDANODE_HOME=" + filepath.Join(m.dir, "home")}, env...)
	return c
}

// start starts the service as systemd does: without a terminal, in a session of its own.
func (m *manager) start(env ...string) *service {
	m.t.Helper()
	s := &service{m: m, cmd: m.command(append([]string{"NOTIFY_SOCKET=" + filepath.Join(m.dir, "notify"), "WATCHDOG_USEC=400000"}, env...), "run"), ended: make(chan error, 1)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	m.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// hears reads notices until one has a line that begins so, and returns that line.
func (m *manager) hears(begin string) string {
	m.t.Helper()
	if err := m.notices.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := m.notices.Read(b)
		if err != nil {
			m.t.Fatalf("no notice began with %q: %v; there were %q", begin, err, m.seen)
		}
		lines := strings.Split(string(b[:n]), "\n")
		if lines[0] != "WATCHDOG=1" {
			m.seen = append(m.seen, lines...)
		}
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, begin) }); i >= 0 {
			return lines[i]
		}
	}
}

// says runs a command of a person, and gives its output and exit code.
func (m *manager) says(stdin string, args ...string) (out, errs string, code int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	var o, e bytes.Buffer
	c := exec.CommandContext(ctx, m.program, args...)
	c.Env, c.Stdin, c.Stdout, c.Stderr = m.command(nil).Env, strings.NewReader(stdin), &o, &e
	err := c.Run()
	if ctx.Err() != nil {
		m.t.Fatalf("pandanode %v took more than a minute: %v: %s", args, err, e.String())
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

func (m *manager) status() (s api.Status, code int) {
	m.t.Helper()
	out, errs, code := m.says("", "status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		m.t.Fatalf("status: %v: %s %s", err, out, errs)
	}
	return s, code
}

// service is a process that the manager has started.
type service struct {
	m     *manager
	cmd   *exec.Cmd
	log   bytes.Buffer // to be read when it has ended
	ended chan error
}

// stops sends SIGTERM and expects an orderly end.
func (s *service) stops() {
	s.m.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.m.t.Fatal(err)
	}
	s.m.hears("STOPPING=1")
	s.ends()
}

func (s *service) ends() {
	s.m.t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			s.m.t.Errorf("the service ended with %v: %s", err, s.log.String())
		}
	case <-time.After(time.Minute):
		s.m.t.Fatal("the service does not end")
	}
}

// A service that crashes, or that the watchdog ends, ends in no way after which its unit keeps it
// down.
func TestServiceThatCrashesIsStartedAgain(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"pandanode.service", "user/pandanode.service"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		var env, stays []string
		for line := range strings.Lines(string(text)) {
			if v, is := strings.CutPrefix(strings.TrimSpace(line), "Environment=GO"); is {
				env = append(env, "GO"+v)
			}
			if v, is := strings.CutPrefix(strings.TrimSpace(line), "RestartPreventExitStatus="); is {
				stays = strings.Fields(v)
			}
		}
		m := newManager(t)
		s := m.start(append(env, "PANDANODE_PASSPHRASE_FILE="+filepath.Join(m.dir, "right"))...)
		m.hears("READY=1")
		for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV} {
			if err := s.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			<-s.ended
			if code := s.cmd.ProcessState.ExitCode(); slices.Contains(stays, strconv.Itoa(code)) || code == 0 || len(stays) == 0 {
				t.Errorf("%s: a node that ends by %v ends with %d, and one that ends with %v stays down", unit, signal, code, stays)
			}
			s = m.start(append(env, "PANDANODE_PASSPHRASE_FILE="+filepath.Join(m.dir, "right"))...)
			m.hears("READY=1")
		}
		s.stops()
	}
}

// A service with its passphrase as a credential is ready without anybody, gives signs of
// life, and says that it stops.
func TestServiceWithACredential(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	creds := filepath.Join(m.dir, "creds")
	if err := os.Mkdir(creds, 0o700); err != nil {
		t.Fatal(err)
	}
	m.file("creds/"+credentialName, servicePassphrase+"\n")
	s := m.start("CREDENTIALS_DIRECTORY=" + creds)
	m.hears("READY=1")
	for range 3 {
		m.hears("WATCHDOG=1")
	}
	if st, code := m.status(); code != 0 || st.Locked || st.Name != "anna" || st.PID != s.cmd.Process.Pid {
		t.Errorf("status: exit code %d, %+v", code, st)
	}
	if _, errs, code := m.says("", "unlock"); code != 0 || !strings.Contains(errs, "was not locked") {
		t.Errorf("unlock of a node that is not locked: exit code %d: %s", code, errs)
	}
	s.stops()
}

// A service that can ask nobody stays up locked, and answers nothing but its status until
// somebody unlocks it.
func TestServiceIsLocked(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	s := m.start()
	m.hears("READY=1")
	if line := m.seen[len(m.seen)-1]; !strings.HasPrefix(line, "STATUS=Locked") {
		t.Errorf("ready: %q", m.seen)
	}
	m.hears("WATCHDOG=1")
	st, code := m.status()
	if code != 6 || !st.Locked || st.PID != s.cmd.Process.Pid || !strings.Contains(st.Why, "nobody could be asked") {
		t.Errorf("status: exit code %d, %+v", code, st)
	}
	for _, c := range [][]string{{"id"}, {"group", "list"}, {"store", "stat"}, {"peers"}} {
		if _, errs, code := m.says("", c...); code != 6 || !strings.Contains(errs, "unlock") {
			t.Errorf("%v: exit code %d: %s", c, code, errs)
		}
	}
	if _, errs, code := m.says("", "run"); code != 9 || !strings.Contains(errs, "unlock") {
		t.Errorf("a second run: exit code %d: %s", code, errs)
	}
	if _, errs, code := m.says("\n", "unlock"); code != 2 || !strings.Contains(errs, "empty") {
		t.Errorf("an empty passphrase: exit code %d: %s", code, errs)
	}
	if _, errs, code := m.says("", "unlock", "--passphrase-file", filepath.Join(m.dir, "wrong")); code != 6 || !strings.Contains(errs, "wrong passphrase") {
		t.Errorf("a wrong passphrase: exit code %d: %s", code, errs)
	}
	if st, code := m.status(); code != 6 || !st.Locked {
		t.Errorf("after a wrong passphrase: exit code %d, %+v", code, st)
	}
	waits := make(chan string, 1)
	go func() {
		_, errs, code := m.says("", "status", "--wait", "ready", "--timeout", "50s")
		waits <- fmt.Sprint(code, " ", errs)
	}()
	if out, errs, code := m.says(servicePassphrase+"\n", "unlock"); code != 0 || !strings.Contains(out, "anna") {
		t.Errorf("unlock: exit code %d: %s %s", code, out, errs)
	}
	if got := <-waits; !strings.HasPrefix(got, "0 ") {
		t.Errorf("a wait for the node: %s", got)
	}
	m.hears("STATUS=Running as anna")
	m.hears("WATCHDOG=1")
	if st, code := m.status(); code != 0 || st.Locked || st.Name != "anna" {
		t.Errorf("unlocked: exit code %d, %+v", code, st)
	}
	if _, errs, code := m.says("", "group", "create", "tea"); code != 0 {
		t.Errorf("unlocked: %s", errs)
	}
	if _, errs, code := m.says("", "stop"); code != 0 {
		t.Errorf("stop: %s", errs)
	}
	s.ends()
}

// A credential that opens the store no more leaves the service locked and says so, and a
// locked service is stopped as any other, by its manager and by `pandanode stop`.
func TestServiceWithAStaleCredential(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	creds := filepath.Join(m.dir, "creds")
	if err := os.Mkdir(creds, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ text, why string }{{"the one of last year\n", "not the passphrase of the store"}, {"\n", "is empty"}} {
		m.file("creds/"+credentialName, one.text)
		s := m.start("CREDENTIALS_DIRECTORY=" + creds)
		m.hears("READY=1")
		if st, code := m.status(); code != 6 || !strings.Contains(st.Why, "credential") || !strings.Contains(st.Why, one.why) {
			t.Errorf("%q: exit code %d, %+v", one.text, code, st)
		}
		if one.text == "\n" {
			if _, errs, code := m.says("", "stop"); code != 0 {
				t.Errorf("stop: exit code %d: %s", code, errs)
			}
			m.hears("STOPPING=1") // what it says before is not the next one's
			s.ends()
			continue
		}
		s.stops()
	}
	s := m.start("CREDENTIALS_DIRECTORY=" + creds)
	m.hears("STATUS=Locked")
	if _, errs, code := m.says("", "unlock", "--passphrase-file", filepath.Join(m.dir, "right")); code != 0 {
		t.Errorf("unlock: exit code %d: %s", code, errs)
	}
	s.stops()
}

// SIGHUP has a node take up the level of its log and open the file of its log anew, says
// which keys wait for a restart, and changes nothing if the configuration has a mistake.
func TestServiceReloads(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	path := filepath.Join(m.dir, "node.txt")
	set := func(args ...string) {
		t.Helper()
		if _, errs, code := m.says("", append([]string{"config", "set"}, args...)...); code != 0 {
			t.Fatalf("config set %v: %d: %s", args, code, errs)
		}
	}
	set("log.file", path)
	hup := make(chan os.Signal, 1) // under nohup the node would be born to ignore it
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
	s := m.start("PANDANODE_PASSPHRASE_FILE=" + filepath.Join(m.dir, "right"))
	m.hears("READY=1")
	reloads := func(want string) {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range 600 {
			if text, _ := os.ReadFile(path); strings.Contains(string(text), want) {
				return
			}
			select {
			case err := <-s.ended:
				t.Fatalf("SIGHUP ended the node: %v: %s", err, s.log.String())
			case <-time.After(50 * time.Millisecond):
			}
		}
		text, _ := os.ReadFile(path)
		t.Fatalf("the log does not say %q: %s", want, text)
	}
	if err := os.Rename(path, path+".1"); err != nil { // as logrotate does
		t.Fatal(err)
	}
	set("limits.connections", "50")
	reloads("restart_needed_for=limits.connections")
	m.file("home/config.toml", "log.level = \"loud\"\nlog.file = \"/nowhere/at/all\"\n")
	reloads("the configuration is not taken up")
	m.file("home/config.toml", "log.file = \""+path+"\"\nlog.level = \"debug\"\n")
	reloads("level=DEBUG")
	s.stops()
}
