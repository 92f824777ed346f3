package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/storage"
)

// together runs a function several times at the same time.
func together(times int, f func() error) []error {
	errs := make([]error, times)
	var begin, end sync.WaitGroup
	begin.Add(times)
	for i := range times {
		end.Go(func() {
			begin.Done()
			begin.Wait()
			errs[i] = f()
		})
	}
	end.Wait()
	return errs
}

// Of several Inits at the same time one makes the device, and the others leave it alone. So it
// is with Restore, and with OpenOrInit.
func TestFirstTogether(t *testing.T) {
	t.Parallel()
	for range 5 {
		dir := t.TempDir()
		cfg := InitConfig{Home: filepath.Join(dir, "a", "home"), KeyFile: filepath.Join(dir, "key"), ConfigFile: filepath.Join(dir, "c", "config.toml")}
		made := 0
		for _, err := range together(8, func() error { return Init(t.Context(), cfg) }) {
			switch {
			case err == nil:
				made++
			case !errors.Is(err, ErrInUse) && !errors.Is(err, storage.ErrExists):
				t.Error(err)
			}
		}
		if made != 1 {
			t.Errorf("%d devices were made", made)
		}
		if s, err := OpenAtRest(Config{Home: cfg.Home, KeyFile: cfg.KeyFile}); err != nil {
			t.Error(err)
		} else if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := names(t, cfg.Home); !slices.Equal(got, []string{"store"}) {
			t.Errorf("in the home are %q", got)
		}
	}
}

func TestOpenOrInitTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key"), Listen: loopback}
	var mu sync.Mutex
	var opened []*Node
	for _, err := range together(8, func() error {
		n, err := OpenOrInit(t.Context(), cfg, "anna")
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, n)
		}
		return err
	}) {
		if err != nil && !errors.Is(err, ErrInUse) {
			t.Error(err)
		}
	}
	for _, n := range opened {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(opened) > 1 {
		t.Errorf("%d nodes have the home", len(opened))
	}
	n, err := OpenOrInit(t.Context(), cfg, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// names lists what is in a folder.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

// An Init leaves alone what another one is making, and a lock that a killed one left holds up
// nobody.
func TestInitBesideAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := InitConfig{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key")}
	if err := initAt(t.Context(), cfg, func(point string) {
		if point != "identity written" {
			return
		}
		before := files(t, dir)
		if err := Init(t.Context(), cfg); !errors.Is(err, ErrInUse) {
			t.Errorf("another Init: %v", err)
		}
		if _, err := Restore(t.Context(), cfg, strings.NewReader("")); !errors.Is(err, ErrInUse) {
			t.Errorf("a Restore: %v", err)
		}
		if after := files(t, dir); !slices.Equal(before, after) {
			t.Errorf("they left %q of %q", after, before)
		}
	}); err != nil {
		t.Fatal(err)
	}
	stale := InitConfig{Home: filepath.Join(dir, "stale"), KeyFile: cfg.KeyFile}
	if err := errors.Join(os.Mkdir(stale.Home, 0o700), os.WriteFile(filepath.Join(stale.Home, "store.lock"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), stale); err != nil {
		t.Errorf("after a killed one: %v", err)
	}
}

// A program is asked for the passphrase once, and what it gave stays as it was.
func TestPassphraseIsTheCallers(t *testing.T) {
	t.Parallel()
	shared, asked := []byte("correct horse"), 0
	ask := func() ([]byte, error) { asked++; return shared, nil }
	for i := range 2 {
		cfg := Config{Home: filepath.Join(t.TempDir(), "home"), Passphrase: ask, Listen: loopback}
		asked = 0
		n, err := OpenOrInit(t.Context(), cfg, "anna")
		if err != nil {
			t.Fatalf("device %d: %v", i, err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		if s, err := OpenAtRest(cfg); err != nil {
			t.Error(err)
		} else if err := s.Close(); err != nil {
			t.Error(err)
		}
		if found := CheckHome(t.Context(), cfg.Home, ask, "", false); found[0].Health != api.HealthOK {
			t.Error(found)
		}
		if _, err := PassphraseIdentity(ask).Unwrap(nil); err == nil {
			t.Error("no stanza opens")
		}
		if string(shared) != "correct horse" {
			t.Fatalf("the slice of the program has become %q", shared)
		}
	}
}

// An empty passphrase locks nothing, and nothing is made under one.
func TestEmptyPassphrase(t *testing.T) {
	t.Parallel()
	for what, p := range map[string][]byte{"empty": {}, "nil": nil} {
		dir := t.TempDir()
		ask := func() ([]byte, error) { return p, nil }
		cfg := InitConfig{Home: filepath.Join(dir, "home"), Passphrase: ask, KDF: quick}
		_, opened := OpenOrInit(t.Context(), Config{Home: cfg.Home, Passphrase: ask, Listen: loopback}, "anna")
		_, restored := Restore(t.Context(), cfg, strings.NewReader(""))
		for call, err := range map[string]error{"Init": Init(t.Context(), cfg), "OpenOrInit": opened, "Restore": restored} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "the passphrase is empty") {
				t.Errorf("%s, %s: %v", what, call, err)
			}
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s: %q were made", what, left)
		}
	}
}

// A node stays where it was opened when the program changes its directory.
func TestRelativePaths(t *testing.T) { //nolint:paralleltest // it changes the directory of the process
	dir := t.TempDir()
	t.Chdir(dir)
	cfg := Config{Home: "home", KeyFile: "key", Socket: "socket", TraceFile: "trace", Listen: loopback}
	n, err := OpenOrInit(t.Context(), cfg, "anna")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	n.cfg.Serving = func(yes bool) {
		if yes {
			cancel()
			if _, err := os.Stat(filepath.Join(dir, "socket")); err != nil {
				t.Error(err)
			}
		}
	}
	if f, _, err := n.files.create(); err != nil {
		t.Error(err)
	} else if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	if here := names(t, "."); len(here) > 0 {
		t.Errorf("%q were made in another directory", here)
	}
}

// A value that cannot be right is refused by its name, before anything is made.
func TestConfigurationsThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hook := func(h config.Hook) func(*Config) { return func(c *Config) { c.Hooks = []config.Hook{h} } }
	for field, wrong := range map[string][]func(*Config){
		"Listen": {
			func(c *Config) { c.Listen = []string{"nonsense"} },
			func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0/ws"} },
			func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1"} },
		},
		"Bootstrap":    {func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} }},
		"RelayThrough": {func(c *Config) { c.RelayThrough = []string{"x"} }},
		"RelayFor":     {func(c *Config) { c.RelayFor = "friends" }},
		"DHT":          {func(c *Config) { c.DHT = 7 }},
		"Connections":  {func(c *Config) { c.Connections = -1 }, func(c *Config) { c.Connections = 7 }, func(c *Config) { c.Connections = 1 << 30 }},
		"BucketSize":   {func(c *Config) { c.BucketSize = -1 }, func(c *Config) { c.BucketSize = 100_000_000 }},
		"WebPort":      {func(c *Config) { c.WebPort = -1 }, func(c *Config) { c.WebPort = 70_000 }},
		"WebHosts":     {func(c *Config) { c.WebHosts = []string{"http://x"} }},
		"Socket":       {func(c *Config) { c.Socket = "/tmp/" + strings.Repeat("s", 103) }},
		"Metrics":      {func(c *Config) { c.Metrics = "127.0.0.1" }, func(c *Config) { c.Metrics = "127.0.0.1:70000" }},
		"Files.Quota":  {func(c *Config) { c.Files.Quota = -1 }, func(c *Config) { c.Files.Quota = 1<<63 - 1 }},
		"Files.Max":    {func(c *Config) { c.Files.Max = -1 }},
		"Mailbox.Lifetime": {
			func(c *Config) { c.Mailbox = &MailboxConfig{Lifetime: -1} }, func(c *Config) { c.Mailbox = &MailboxConfig{Lifetime: 1} },
			func(c *Config) { c.Mailbox = &MailboxConfig{Lifetime: 1 << 62} },
		},
		"Mailbox.Quota":     {func(c *Config) { c.Mailbox = &MailboxConfig{Quota: -1} }},
		"Mailbox.BoxQuota":  {func(c *Config) { c.Mailbox = &MailboxConfig{BoxQuota: -1} }},
		"Mailbox.FileShare": {func(c *Config) { c.Mailbox = &MailboxConfig{FileShare: -1} }},
		"Hooks": {
			hook(config.Hook{}), hook(config.Hook{Name: "x", On: []string{"message"}}), hook(config.Hook{Name: "x", On: []string{"nonsense"}, Exec: []string{"true"}}),
			func(c *Config) {
				c.Hooks = []config.Hook{{Name: "x", Exec: []string{"true"}}, {Name: "x", Exec: []string{"true"}}}
			},
		},
	} {
		for i, change := range wrong {
			cfg := Config{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key"), Listen: loopback}
			change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			n, err := OpenOrInit(ctx, cfg, "anna")
			if err == nil {
				_ = n.Close()
			}
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), field+": ") {
				t.Errorf("%s, %d: %v", field, i, err)
			}
			if left := names(t, dir); len(left) > 0 {
				t.Fatalf("%s, %d: %q were made", field, i, left)
			}
			cancel()
		}
	}
}

// A context that has ended opens nothing, and one that ends meanwhile stops the opening.
func TestOpenWithoutTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key"), Listen: loopback}
	n, err := OpenOrInit(t.Context(), cfg, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	refused := func(ctx context.Context, what string) {
		t.Helper()
		n, err := Open(ctx, cfg)
		if err == nil {
			_ = n.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused(ended, "it had ended before")
	ctx, cancel := context.WithCancel(t.Context())
	cfg.NewHost = func(...libp2p.Option) (host.Host, error) {
		cancel()
		return libp2p.New(libp2p.Identity(n.me.peer), libp2p.NoListenAddrs)
	}
	refused(ctx, "it ended meanwhile")
}
