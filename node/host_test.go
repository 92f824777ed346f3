package node

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multiaddr"
)

// loopback are addresses of this machine alone.
var loopback = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}

// A host that cannot be made leaves nothing behind in the process.
func TestNoHostLeavesNothing(t *testing.T) { //nolint:paralleltest // it counts goroutines
	dir := t.TempDir()
	cfg := Config{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key"), Listen: loopback}
	n, err := OpenOrInit(t.Context(), cfg, "anna")
	if err != nil {
		t.Fatal(err)
	}
	me := &self{device: n.me.device, peer: n.me.peer}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	errNo := errors.New("no host today")
	before := runtime.NumGoroutine()
	for range 5 {
		bad := cfg
		bad.NewHost = func(...libp2p.Option) (host.Host, error) { return nil, errNo }
		if _, err := Open(t.Context(), bad); !errors.Is(err, errNo) {
			t.Fatal(err)
		}
		whole := cfg
		if err := whole.validate(); err != nil {
			t.Fatal(err)
		}
		if _, err := newHost(whole, []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/0/ws")}, me); err == nil {
			t.Fatal("it listens on websockets")
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// unheardEnv has a process of this test try to listen where it cannot.
const unheardEnv = "PANDANODE_TEST_UNHEARD"

// A failed start of libp2p is in the error, not also on stderr. (Its swarm may still log,
// by itself, that a listener closed: Config.Logger.)
func TestFailedStartIsNotLogged(t *testing.T) {
	t.Parallel()
	if os.Getenv(unheardEnv) == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailedStartIsNotLogged$")
		c.Env = append(os.Environ(), unheardEnv+"=1")
		out, err := c.CombinedOutput()
		if err != nil || strings.Contains(string(out), "start") || strings.Contains(string(out), "failed to listen") {
			t.Errorf("%v, %s", err, out)
		}
		return
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Home: t.TempDir()}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	_, err = newHost(cfg, []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/0/ws")}, &self{peer: key})
	if err == nil || !strings.Contains(err.Error(), "failed to listen") {
		t.Error(err)
	}
}
