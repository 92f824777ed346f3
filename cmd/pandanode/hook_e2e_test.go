//go:build e2e && linux

package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/hook"
)

const hookSecret = "a secret of the two ends"

// listener is a server that hooks tell: it answers with 503 while it is broken, and checks
// signatures.
type listener struct {
	mu      sync.Mutex
	broken  bool
	got     []hook.Event
	refused int
	forged  int
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get(hook.SignatureHeader), "t="), ",v1=")
	h := hmac.New(sha256.New, []byte(hookSecret))
	fmt.Fprintf(h, "%s.%s", at, body)
	if sent, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute || sum != hex.EncodeToString(h.Sum(nil)) {
		l.forged++
	}
	if l.broken {
		l.refused++
		http.Error(w, "down for now", http.StatusServiceUnavailable)
		return
	}
	var e hook.Event
	if json.Unmarshal(body, &e) == nil {
		l.got = append(l.got, e)
	}
}

func (l *listener) texts() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.got {
		if e.Message != nil {
			out = append(out, e.Message.Text)
		}
	}
	return out
}

// hooks gives node i these lines of configuration, and has it take them up. It waits until they
// have a cursor in a group.
func (c *cluster) hooks(i int, group, text string) {
	c.Helper()
	path := filepath.Join(c.procs[i].home, "config.toml")
	was, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	before, _, _ := strings.Cut(string(was), "\n# hooks of the test\n")
	if err := os.WriteFile(path, []byte(before+"\n# hooks of the test\n"+text), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := c.procs[i].cmd.Process.Signal(syscall.SIGHUP); err != nil {
		c.Fatal(err)
	}
	want := strings.Count(text, "[[hook]]")
	c.until(time.Minute, "the hooks have begun", func() bool {
		all, err := c.api[i].Cursors(c.ctx, api.GroupRequest{Group: group})
		return err == nil && len(all.Cursors) == want
	})
}

// until waits until something is so, which tells nobody when it changes.
func (c *cluster) until(d time.Duration, what string, is func() bool) {
	c.Helper()
	for deadline := time.Now().Add(d); !is(); {
		select {
		case <-c.ctx.Done():
			c.Fatal(c.ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.Fatalf("not within %v: %s\n%s", d, what, c.procs[1].logTail())
		}
	}
}

func (c *cluster) hook(i int, name string) api.Hook {
	c.Helper()
	all, err := c.api[i].Hooks(c.ctx, api.Empty{})
	if err != nil {
		c.Fatal(err)
	}
	at := slices.IndexFunc(all.Hooks, func(h api.Hook) bool { return h.Name == name })
	if at < 0 {
		c.Fatalf("no hook %s in %+v", name, all)
	}
	return all.Hooks[at]
}

func lines(t *testing.T, path string) (out []string) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		out = append(out, s.Text())
	}
	return out
}

// A program that crashes, one that hangs with children, and an address that is away, on two
// real nodes: nothing is lost, doctor and status say what is wrong, and the hooks go on by
// themselves or when they are told to.
func TestHooksFail(t *testing.T) {
	c := newCluster(t, 2, 8*time.Minute)
	group := c.group("tea", 2)
	dir := t.TempDir()
	l := &listener{}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	elsewhere := 0
	redirects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere++
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirects.Close)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.hooks(1, group, fmt.Sprintf(`
[[hook]]
name = "crashes"
exec = ["/bin/sh", "-c", 'n=$(cat $0/n || echo 0); echo $((n+1)) > $0/n; [ $n -lt 3 ] && kill -SEGV $$; cat >> $0/crashes', %[1]q]
[[hook]]
name = "hangs"
exec = ["/bin/sh", "-c", 'if [ -e $0/hung ]; then cat >> $0/hangs; exit; fi; sleep 1000 & echo $! $$ > $0/hung; wait', %[1]q]
[[hook]]
name = "tells"
url = %[2]q
secret_file = %[3]q
[[hook]]
name = "sent-on"
url = %[4]q
`, dir, server.URL+"/secret/topic", secret, redirects.URL))
	l.mu.Lock()
	l.broken = true
	l.mu.Unlock()
	for i := range 3 {
		if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: group, Text: fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	// The address is away.
	c.until(time.Minute, "three refusals", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.refused > 2 })
	out, err := c.procs[1].cli(c.ctx, "", "doctor")
	if text := string(out); !strings.Contains(text, "hook tells: failing") || !strings.Contains(text, "answered with 503: down for now") || !strings.Contains(text, "hook sent-on: failing") || strings.Contains(text, "secret/topic") {
		t.Errorf("doctor: %s, %v", out, err)
	}
	if st, err := c.api[1].Status(c.ctx, api.StatusRequest{}); err != nil || len(st.Hooks) < 2 {
		t.Errorf("status: %q, %v", st.Hooks, err)
	}
	l.mu.Lock()
	l.broken = false
	l.mu.Unlock()
	if out, err := c.procs[1].cli(c.ctx, "", "hook", "resume", "tells"); err != nil {
		t.Errorf("resume: %s, %v", out, err)
	}
	want := []string{"m0", "m1", "m2"}
	c.until(time.Minute, "all is told", func() bool { return slices.Equal(l.texts(), want) })
	if l.forged > 0 {
		t.Errorf("%d signatures did not hold", l.forged)
	}
	if h := c.hook(1, "sent-on"); elsewhere > 0 || !strings.Contains(h.Why, "not followed") {
		t.Errorf("redirects: %d followed, %+v", elsewhere, h)
	}
	if _, err := c.procs[1].cli(c.ctx, "", "hook", "skip", "sent-on"); err != nil {
		t.Error(err)
	}
	c.until(time.Minute, "it fails at the next", func() bool { h := c.hook(1, "sent-on"); return h.Failures > 0 && h.Cursor > 0 })
	// The crashes end, by themselves.
	texts := func(name string) (out []string) {
		for _, line := range lines(t, filepath.Join(dir, name)) {
			var e hook.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e.Message.Text)
		}
		return out
	}
	c.until(time.Minute, "after the crashes", func() bool { return slices.Equal(texts("crashes"), want) })
	// The program that hangs is killed after 30 seconds, with its child.
	c.until(2*time.Minute, "after the hang", func() bool { return slices.Equal(texts("hangs"), want) })
	for _, pid := range strings.Fields(strings.Join(lines(t, filepath.Join(dir, "hung")), " ")) {
		n, _ := strconv.Atoi(pid)
		c.until(time.Minute, "process "+pid+" is gone", func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
			return err != nil || strings.Contains(string(state), ") Z ")
		})
	}
	if run, err := c.procs[1].cli(c.ctx, "", "hook", "test", "tells"); err != nil || !strings.Contains(string(run), `"ok":true`) {
		t.Errorf("test: %s, %v", run, err)
	}
	if run, err := c.procs[1].cli(c.ctx, "", "hook", "test", "sent-on"); exitOf(err) != 1 || !strings.Contains(string(run), `"ok":false`) {
		t.Errorf("test of one that fails: %s, %v", run, err)
	}
}

// A node is killed between events and their acknowledgements, again and again: each event is run
// at least once, in order, at most once more for each kill, and never beside an earlier run.
func TestHookSurvivesKills(t *testing.T) {
	const messages, kills = 300, 12
	c := newCluster(t, 2, 8*time.Minute)
	group := c.group("tea", 2)
	dir := t.TempDir()
	c.hooks(1, group, fmt.Sprintf(`
[[hook]]
name = "writes"
exec = ["/bin/sh", "-c", 'mkdir $0/running || echo beside >> $0/log; trap "rmdir $0/running" EXIT; cat >> $0/log; sleep 0.01', %q]
`, dir))
	log := filepath.Join(dir, "log")
	c.batches(0, group, messages)
	for i := range kills {
		at := (i + 1) * messages / (kills + 2)
		c.until(2*time.Minute, fmt.Sprint("event ", at), func() bool { return len(lines(t, log)) >= at })
		_ = c.procs[1].kill()
		// A program that was running has died with the node, or ended.
		c.until(time.Minute, "no program", func() bool { out, _ := filepath.Glob("/proc/[0-9]*/cmdline"); return !anyRuns(out, dir) })
		_ = os.Remove(filepath.Join(dir, "running"))
		c.start(1)
	}
	seen := map[string]int{}
	order := []string{}
	c.until(3*time.Minute, "every event", func() bool {
		clear(seen)
		order = order[:0]
		for _, line := range lines(t, log) {
			var e hook.Event
			if json.Unmarshal([]byte(line), &e) != nil {
				continue // it was being written, or says that another ran
			}
			if seen[e.Message.Text]++; seen[e.Message.Text] == 1 {
				order = append(order, e.Message.Text)
			}
		}
		return len(seen) == messages
	})
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	if twice > kills {
		t.Errorf("%d runs too many after %d kills", twice, kills)
	}
	all, err := c.api[1].Messages(c.ctx, api.MessagesRequest{Group: group})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{}
	for _, m := range all.Messages {
		shown = append(shown, m.Text)
	}
	if !slices.Equal(order, shown) {
		t.Errorf("the order is not that of the messages:\n%q\n%q", order, shown)
	}
	if slices.Contains(lines(t, log), "beside") {
		t.Error("two runs went on beside each other")
	}
	t.Logf("%d events, %d kills, %d runs twice", messages, kills, twice)
}

// anyRuns says whether one of these processes has dir among its arguments.
func anyRuns(cmdlines []string, dir string) bool {
	return slices.ContainsFunc(cmdlines, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), dir)
	})
}
