package node

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// copyHome makes node i a copy of node of, which is closed, that runs elsewhere.
func (w *world) copyHome(i, of int) {
	w.Helper()
	if err := os.CopyFS(w.home(i), os.DirFS(w.home(of))); err != nil {
		w.Fatal(err)
	}
	w.runsAs(i, of)
	key, err := os.ReadFile(filepath.Join(w.dir, fmt.Sprint(of, ".key")))
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, fmt.Sprint(i, ".key")), key, 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// runsAs gives node i the peer ID of node of.
func (w *world) runsAs(i, of int) {
	before := w.set[i]
	w.set[i] = func(c *Config) {
		if before != nil {
			before(c)
		}
		c.NewHost = func(opts ...libp2p.Option) (host.Host, error) { return w.net.HostAs(i, of, opts...) }
	}
}

// saysTwin is all that a node says of a twin of its own.
func (w *world) saysTwin(n *Node, id wire.GroupID) {
	w.Helper()
	f := healths(checkup(w.Context(), n, false))["device"]
	if f.Health != api.HealthFail || f.Code != api.CodeConflict || !strings.Contains(f.Detail, "another node runs as this device") || f.Hint == "" {
		w.Errorf("doctor: %+v", f)
	}
	st, err := n.API().Status(w.Context(), api.StatusRequest{})
	if err != nil || !strings.Contains(st.Twin, "another node runs as this device") {
		w.Errorf("status: %q, %v", st.Twin, err)
	}
	why, err := n.API().Why(w.Context(), api.WhyRequest{Group: id.String(), Subject: "join"})
	if err != nil || !slices.ContainsFunc(why.Facts, func(s string) bool { return strings.Contains(s, "another node runs as this device") }) || len(why.Next) == 0 {
		w.Errorf("why: %+v, %v", why, err)
	}
	if got := scrape(w.T, n)["pandanode_twin"]; got != 1 {
		w.Errorf("gauge: %v", got)
	}
}

// TestCopiedHomeSaysSo runs a device twice, from a copy of its home, beside one other
// member: idle, both say so within a minute of being connected; then all three write,
// nothing is lost, and the two do not keep the group busy.
func TestCopiedHomeSaysSo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "copied")
		w.join(b, id)
		w.send(b, id, "before")
		w.shows(a, id, time.Minute, "before")
		w.close(1)
		w.copyHome(2, 1)
		log := new(lockedBuffer)
		w.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		b, c := w.open(1, 0), w.open(2, 0)
		if b.host.ID() != c.host.ID() {
			t.Fatal("they are two peers")
		}
		for i, n := range []*Node{b, c} {
			w.eventually(n, time.Minute, "knows that it runs twice", func() bool { return n.twins.seen().now(time.Now()) })
			w.saysTwin(n, id)
			lines := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(l string) bool {
				return !strings.Contains(l, fmt.Sprint("node=", i+1)) || !strings.Contains(l, "another node runs as this device")
			})
			if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
				t.Errorf("the log of node %d says %q", i+1, lines)
			}
		}
		if a.twins.seen() != (twin{}) {
			t.Errorf("the other member has a twin: %+v", a.twins.seen())
		}
		all := []string{"before"}
		for i := range 5 {
			for j, n := range []*Node{a, b, c} {
				text := fmt.Sprintf("node %d, %d", j, i)
				w.send(n, id, text)
				all = append(all, text)
				time.Sleep(7 * time.Second) // virtual
			}
		}
		w.shows(a, id, 4*time.Hour, slices.Clone(all)...)
		epoch := func() uint64 {
			st, err := a.GroupStatus(w.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return st.Epoch
		}
		time.Sleep(time.Hour) // virtual
		was := epoch()
		time.Sleep(time.Hour) // virtual
		if n := epoch() - was; n > 6 {
			t.Errorf("%d epochs in an hour", n)
		}
		// One of the two goes: the other is well, with all that either accepted.
		w.close(2)
		w.shows(b, id, time.Hour, slices.Clone(all)...)
		if err := b.Wait(w.within(time.Hour), api.LevelSynced); err != nil {
			t.Error(err)
		}
		time.Sleep(twinRecent) // virtual
		if f := healths(checkup(w.Context(), b, false))["device"]; f.Health != api.HealthWarn || !strings.Contains(f.Detail, "was last heard of") {
			t.Errorf("after it has gone: %+v", f)
		}
		w.once(b, id)
	})
}

// TestRestoredBesideTheOriginal restores a backup while the device that it is of goes on.
func TestRestoredBesideTheOriginal(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "restored beside")
		w.join(b, id)
		w.send(b, id, "before")
		w.shows(a, id, time.Minute, "before")
		saved, key := w.backup(atRest(b))
		if _, err := Restore(w.Context(), InitConfig{Home: w.home(2), KeyFile: filepath.Join(w.dir, "2.key")}, bytes.NewReader(saved), key); err != nil {
			t.Fatal(err)
		}
		w.runsAs(2, 1)
		c := w.open(2, 0)
		for _, n := range []*Node{b, c} {
			w.eventually(n, time.Minute, "knows that it runs twice", func() bool { return n.twins.seen().now(time.Now()) })
			w.saysTwin(n, id)
		}
		w.send(b, id, "by the original")
		w.send(c, id, "by the restored")
		w.shows(a, id, time.Hour, "before", "by the original", "by the restored")
	})
}

// TestTwinsThatOnlyWrite has the two never connected to one peer at a time: what each
// writes tells the other, and a store that went back is no twin.
func TestTwinsThatOnlyWrite(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "one after the other")
		w.join(b, id)
		w.close(1)
		w.copyHome(2, 1)
		b = w.open(1, 0)
		w.send(b, id, "lost by the store")
		w.shows(a, id, time.Minute, "lost by the store")
		w.close(1)

		c := w.open(2, 0)
		w.shows(c, id, time.Hour, "lost by the store")
		w.eventually(c, time.Minute, "its store went back", func() bool {
			all, err := incidentsOf(w.Context(), c.groups, id)
			return err == nil && slices.ContainsFunc(all, func(e group.Event) bool {
				return e.Kind == group.EventIncarnation && strings.Contains(e.Detail, "went back in time")
			})
		})
		w.send(c, id, "after that")
		w.shows(a, id, time.Minute, "lost by the store", "after that")
		time.Sleep(time.Minute) // virtual
		if c.twins.seen() != (twin{}) {
			t.Errorf("a store that went back: %+v", c.twins.seen())
		}
		// Now the first one runs too, where the second is not connected.
		w.net.Cut(0, 2)
		b = w.open(1, 0)
		w.send(b, id, "meanwhile")
		w.shows(a, id, time.Hour, "lost by the store", "after that", "meanwhile")
		w.close(1)
		w.net.HealAll()
		w.eventually(c, time.Hour, "knows that it runs twice", func() bool { return c.twins.seen().now(time.Now()) })
		w.saysTwin(c, id)
	})
}

// TestNobodyMakesUpATwin: a word that is an earlier run's, or the node's own, or a
// stranger's, is none.
func TestNobodyMakesUpATwin(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		stranger, err := w.net.Host(9)
		if err != nil {
			t.Fatal(err)
		}
		if err := stranger.Connect(w.within(time.Minute), w.net.AddrInfo(0)); err != nil {
			t.Fatal(err)
		}
		conn := stranger.Network().ConnsToPeer(a.host.ID())[0]
		talk := func(other [32]byte, word func(run [32]byte, own wire.TwinProof) wire.TwinProof) {
			t.Helper()
			r, err := askRun(w.within(time.Minute), conn)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.write(wire.TwinHello{V: wire.Version, Run: other}); err != nil {
				t.Fatal(err)
			}
			var own wire.TwinProof
			if err := r.read(&own); err != nil {
				if other != r.run {
					t.Fatal(err)
				}
				return
			}
			if err := r.write(word(r.run, own)); err != nil {
				t.Fatal(err)
			}
			r.close()
			time.Sleep(time.Second) // virtual
			if a.twins.seen() != (twin{}) {
				t.Fatalf("it believes in a twin: %+v", a.twins.seen())
			}
		}
		r, err := askRun(w.within(time.Minute), conn)
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		echo := func(_ [32]byte, own wire.TwinProof) wire.TwinProof { return own }
		talk([32]byte{1}, echo)
		talk(r.run, echo)
		key, err := identity.NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		talk([32]byte{1}, func(run [32]byte, _ wire.TwinProof) wire.TwinProof {
			return wire.TwinProof{Signature: key.Sign(wire.DomainTwin, wire.GroupID{}, wire.TwinPayload([32]byte{1}, run, []byte(a.host.ID()))).Signature}
		})
		talk([32]byte{1}, func([32]byte, wire.TwinProof) wire.TwinProof { return wire.TwinProof{Signature: make([]byte, 64)} })
		// The word of another run of the same device, for another run than this one.
		talk([32]byte{1}, func(run [32]byte, _ wire.TwinProof) wire.TwinProof {
			return wire.TwinProof{Signature: a.me.log.Sign(wire.DomainTwin, wire.GroupID{}, wire.TwinPayload([32]byte{1}, [32]byte{2}, []byte(a.host.ID()))).Signature}
		})
	})
}
