//go:build e2e && linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// These tests run real processes in network namespaces, for effects that loopback does not
// show. `make e2e` runs them; they need root and iproute2.

// bridge is a switch with hosts on it, each a network namespace.
type bridge struct {
	*testing.T
	prefix string
	hosts  int
}

func newBridge(t *testing.T) *bridge {
	w := &bridge{T: t, prefix: fmt.Sprintf("pn%d", os.Getpid()%100000)}
	w.ip("netns add " + w.prefix + "hub")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", w.prefix+"hub").Run() })
	w.ip("-n " + w.prefix + "hub link add br0 type bridge")
	w.ip("-n " + w.prefix + "hub link set br0 up")
	return w
}

func (w *bridge) ip(command string) {
	w.Helper()
	if out, err := exec.CommandContext(context.Background(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		w.Fatalf("ip %s, which needs root: %v: %s", command, err, out)
	}
}

// host adds a host with these addresses and gives a program that runs another in it.
func (w *bridge) host(addrs ...string) (binary string) {
	w.Helper()
	w.hosts++
	ns, port := fmt.Sprint(w.prefix, "h", w.hosts), fmt.Sprint("p", w.hosts)
	w.ip("netns add " + ns)
	w.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	w.ip("-n " + w.prefix + "hub link add " + port + " type veth peer name eth0 netns " + ns)
	w.ip("-n " + w.prefix + "hub link set " + port + " master br0 up")
	w.ip("-n " + ns + " link set lo up")
	w.ip("-n " + ns + " link set eth0 up")
	for _, a := range addrs {
		words := "-n " + ns + " addr add " + a + " dev eth0"
		if strings.Contains(a, ":") {
			words += " nodad"
		}
		w.ip(words)
	}
	real, err := exec.LookPath("pandanode")
	if err != nil {
		w.Fatal(err)
	}
	binary = filepath.Join(shortDir(w.T), "pandanode")
	if err := os.WriteFile(binary, []byte(fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", ns, real)), 0o700); err != nil {
		w.Fatal(err)
	}
	return binary
}

// newcomer makes a node that runs this binary and listens on this host.
func newcomer(t *testing.T, binary, seeds string, listen ...string) *lone {
	t.Helper()
	home := filepath.Join(shortDir(t), "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &lone{T: t, process: &process{name: "node", home: home, binary: binary, seeds: seeds}}
	args := []string{"init", "--name", "node", "--key-file", filepath.Join(filepath.Dir(home), "key"), "--mdns=false"}
	for _, a := range listen {
		args = append(args, "--listen", a)
	}
	l.must(args...)
	t.Cleanup(func() { _ = l.kill() })
	return l
}

func (l *lone) status() api.Status {
	l.Helper()
	s, err := decode[api.Status](l.must("status"))
	if err != nil || len(s) != 1 {
		l.Fatalf("status: %v, %v", s, err)
	}
	return s[0]
}

// until asks again and again whether something holds, at most for limit.
func until(t *testing.T, limit time.Duration, is func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// meets says whether a node is connected with a peer before the time is over.
func (l *lone) meets(peer string, limit time.Duration) bool {
	l.Helper()
	return until(l.T, limit, func() bool {
		out, err := l.try("peers")
		return err == nil && strings.Contains(string(out), peer)
	})
}

// TestManyBehindOneAddress: an office of 24 devices has one address of IPv4 and one network
// of IPv6. All of them reach a node outside, and all come back after it was away.
func TestManyBehindOneAddress(t *testing.T) {
	w := newBridge(t)
	outside, office := w.host("10.99.0.1/24", "fd99::1/64"), w.host("10.99.0.2/24", "fd99:0:0:1::2/32")
	w.ip("-n " + w.prefix + "h1 addr add fd99:0:0:2::1/32 dev eth0 nodad")
	seed := newcomer(t, outside, "", "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001", "/ip6/::/udp/4001/quic-v1", "/ip6/::/tcp/4001")
	if err := seed.up(); err != nil {
		t.Fatal(err)
	}
	peer := seed.status().Peer
	const size = 24
	devices := make([]*lone, size)
	for i := range devices {
		at := []string{"/ip4/10.99.0.1/udp/4001/quic-v1", "/ip4/10.99.0.1/tcp/4001", "/ip6/fd99:0:0:2::1/udp/4001/quic-v1"}[i%3]
		family := "/ip4/0.0.0.0"
		if i%3 == 2 {
			family = "/ip6/::"
		}
		devices[i] = newcomer(t, office, at+"/p2p/"+peer, fmt.Sprintf("%s/udp/%d/quic-v1", family, 4100+i), fmt.Sprintf("%s/tcp/%d", family, 4100+i))
	}
	all := func(what string, do func(l *lone) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i, l := range devices {
			wg.Go(func() {
				if err := do(l); err != nil {
					t.Errorf("%s: device %d: %v", what, i, err)
				}
			})
		}
		wg.Wait()
	}
	met := func(l *lone) error {
		if !l.meets(peer, time.Minute) {
			return fmt.Errorf("it is not connected after a minute")
		}
		return nil
	}
	all("starting", (*lone).up)
	all("at the start", met)
	if err := seed.kill(); err != nil {
		t.Fatal(err)
	}
	if err := seed.up(); err != nil {
		t.Fatal(err)
	}
	all("after the node outside was away", met)
}

// shifted builds a pandanode whose wall clock is off by as many seconds as the file says
// that SHIFT_FILE names; its monotonic clock is the machine's.
func shifted(t *testing.T) (binary string) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(runtime.GOROOT(), "src", "time", "time.go")
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const head = "\nfunc Now() Time {\n"
	before, after, ok := strings.Cut(string(b), head)
	at := strings.Index(after, "mono -= startNano")
	if !ok || at < 0 {
		t.Fatalf("time.Now of %s is not written as expected", runtime.Version())
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	patched := write("time.go", before+"\n// Shift is for a test.\nvar Shift int64\n"+head+after[:at]+"sec += Shift\n\t"+after[at:])
	reads := write("shift.go", `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	read := func() {
		if b, err := os.ReadFile(os.Getenv("SHIFT_FILE")); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n != time.Shift {
				time.Shift = n
				os.WriteFile(os.Getenv("SHIFT_FILE")+"."+strconv.Itoa(os.Getpid()), b, 0o600)
			}
		}
	}
	read()
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			read()
		}
	}()
}
`)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: patched, filepath.Join(here, "shift_clock.go"): reads}})
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "pandanode")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building with a clock that can be shifted: %v\n%s", err, out)
	}
	return binary
}

// TestClocksApart: nodes whose clocks are up to fifty years apart connect, on QUIC and on
// TCP, and stay so when a clock is put right.
func TestClocksApart(t *testing.T) {
	binary := shifted(t)
	right := newcomer(t, binary, "", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")
	if err := right.up(); err != nil {
		t.Fatal(err)
	}
	st := right.status()
	const day = 86400
	for _, transport := range []string{"/quic-v1", "/tcp/"} {
		seed := ""
		for _, a := range st.Listen {
			if strings.Contains(a, transport) {
				seed = a
			}
		}
		if seed == "" {
			t.Fatalf("the first node does not listen on %s: %v", transport, st.Listen)
		}
		for _, off := range []int{3700, -3700, day, -365 * day, 50 * 365 * day, -50 * 365 * day} {
			file := filepath.Join(t.TempDir(), "shift")
			wrapper := filepath.Join(shortDir(t), "pandanode")
			if err := os.WriteFile(wrapper, []byte(fmt.Sprintf("#!/bin/sh\nexport SHIFT_FILE=%s\nexec %s \"$@\"\n", file, binary)), 0o700); err != nil {
				t.Fatal(err)
			}
			shift := func(n int) {
				if err := os.WriteFile(file, []byte(fmt.Sprint(n)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			shows := func(l *lone, off int) { // the node's clock does
				t.Helper()
				said := fmt.Sprintf("%s.%d", file, l.cmd.Process.Pid)
				if !until(t, 10*time.Second, func() bool { b, err := os.ReadFile(said); return err == nil && string(b) == fmt.Sprint(off) }) {
					t.Fatalf("the node's clock is not off by %d s", off)
				}
			}
			shift(off)
			wrong := newcomer(t, wrapper, seed, "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")
			if err := wrong.up(); err != nil {
				t.Fatal(err)
			}
			shows(wrong, off)
			if !wrong.meets(st.Peer, 20*time.Second) {
				t.Errorf("%s, a clock off by %d s: not connected", transport, off)
			}
			shift(0)
			shows(wrong, 0)
			late := newcomer(t, binary, wrong.status().Listen[0], "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")
			if err := late.up(); err != nil {
				t.Fatal(err)
			}
			if !late.meets(wrong.status().Peer, 20*time.Second) {
				t.Errorf("%s, a clock that was off by %d s and is right now: not connected", transport, off)
			}
			for _, l := range []*lone{wrong, late} {
				if err := l.kill(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
