package node

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// quick is a KDF that tests can wait for.
var quick = storage.KDF{MemoryKiB: 64, Passes: 1, Lanes: 1}

// files lists what is below a directory, or nothing where it is not there.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		out = append(out, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// An Init that fails leaves nothing, and one that is killed at any point can be repeated:
// also with other flags, and without touching what a person has put there.
func TestInitIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	passphrase := func() ([]byte, error) { return []byte("long enough"), nil }
	errNo := errors.New("no")
	for name, spoil := range map[string]func(*InitConfig){
		"no passphrase": func(c *InitConfig) { c.Passphrase = func() ([]byte, error) { return nil, errNo } },
		"no place for the configuration": func(c *InitConfig) {
			c.ConfigFile = filepath.Join(filepath.Dir(c.Home), "..", "..", "file", "config.toml")
		},
		"a bad KDF": func(c *InitConfig) { c.KDF.Passes = 99 },
		"a key file in no directory": func(c *InitConfig) {
			c.Passphrase, c.KeyFile = nil, filepath.Join(filepath.Dir(c.Home), "none", "key")
		},
		"a key file, and then no place": func(c *InitConfig) {
			c.Passphrase, c.KeyFile = nil, filepath.Join(filepath.Dir(c.Home), "key")
			c.ConfigFile = filepath.Join(filepath.Dir(c.Home), "..", "..", "file", "config.toml")
		},
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before := files(t, root)
		c := InitConfig{Home: filepath.Join(root, "a", "b", "home"), KDF: quick, Passphrase: passphrase, ConfigFile: filepath.Join(root, "c", "config.toml"), ConfigText: "one"}
		good := c
		spoil(&c)
		if err := Init(t.Context(), c); err == nil {
			t.Errorf("%s: it succeeded", name)
		}
		if after := files(t, root); !slices.Equal(before, after) {
			t.Errorf("%s: it left %q", name, after)
		}
		if err := Init(t.Context(), good); err != nil {
			t.Errorf("%s, then a good one: %v", name, err)
		}
	}

	folder := filepath.Join(t.TempDir(), "c", "d")
	beside := InitConfig{Home: filepath.Join(t.TempDir(), "home"), KeyFile: filepath.Join(folder, "key"), ConfigFile: filepath.Join(folder, "config.toml")}
	if err := Init(t.Context(), beside); err != nil {
		t.Errorf("a key file beside the configuration, in a folder that is made with it: %v", err)
	}

	points := 0
	for crash := 0; ; crash++ {
		root := t.TempDir()
		c := InitConfig{Home: filepath.Join(root, "home"), KDF: quick, Passphrase: passphrase, ConfigFile: filepath.Join(root, "home", "config.toml"), ConfigText: "one"}
		n, where := 0, ""
		func() {
			defer func() { _ = recover() }()
			killed := c
			_ = initAt(t.Context(), killed, func(point string) {
				if n++; n > crash {
					where = point
					panic(point)
				}
			})
		}()
		if where == "" {
			break // it has come to its end
		}
		points++
		again := c
		again.ConfigText = "two"
		err := Init(t.Context(), again)
		config, _ := os.ReadFile(c.ConfigFile)
		if where == "store in its place" { // the device is there: init says so
			if !errors.Is(err, storage.ErrExists) || string(config) != "one" {
				t.Errorf("killed at %q: %v, configuration %q", where, err, config)
			}
		} else if err != nil || string(config) != "two" {
			t.Errorf("killed at %q: %v, configuration %q", where, err, config)
		}
		s, err := openStore(Config{Home: c.Home, Passphrase: passphrase})
		if err != nil {
			t.Errorf("killed at %q: %v", where, err)
			continue
		}
		if _, err := readIdentity(s); err != nil {
			t.Errorf("killed at %q: %v", where, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left := files(t, c.Home+"/store.making"); len(left) > 0 {
			t.Errorf("killed at %q: it left %q", where, left)
		}
	}
	if points != 3 {
		t.Errorf("%d points", points)
	}

	// A store that is in its place keeps its key, whatever fails then.
	moved := t.TempDir()
	c := InitConfig{Home: filepath.Join(moved, "home"), KeyFile: filepath.Join(moved, "key")}
	if err := initAt(t.Context(), c, func(point string) {
		if point == "store in its place" {
			if err := os.Rename(c.Home, filepath.Join(moved, "elsewhere")); err != nil {
				t.Error(err)
			}
		}
	}); err == nil {
		t.Error("a home was made that cannot be synced")
	}
	if s, err := openStore(Config{Home: filepath.Join(moved, "elsewhere"), KeyFile: c.KeyFile}); err != nil || s.Close() != nil {
		t.Errorf("the store of a home that could not be synced: %v", err)
	}

	// Files that a person has written or changed are kept.
	root := t.TempDir()
	c = InitConfig{Home: root, KDF: quick, Passphrase: passphrase, ConfigFile: filepath.Join(root, "config.toml"), ConfigText: "ours"}
	if err := os.WriteFile(c.ConfigFile, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(c.ConfigFile); string(text) != "theirs" {
		t.Errorf("a configuration was replaced: %q", text)
	}
	// A device that is there is not asked for its passphrase.
	c.Passphrase = func() ([]byte, error) { t.Error("asked for a passphrase"); return nil, errNo }
	if err := Init(t.Context(), c); !errors.Is(err, storage.ErrExists) {
		t.Errorf("a second time: %v", err)
	}
}

// The errors of Init have codes, and are still those of before for errors.Is.
func TestInitErrorsHaveCodes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	passphrase := func(text string) func() ([]byte, error) {
		return func() ([]byte, error) { return []byte(text), nil }
	}
	there := InitConfig{Home: filepath.Join(root, "there"), KDF: quick, Passphrase: passphrase("long enough")}
	if err := Init(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(root, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*InitConfig)
		code   api.Code
		is     error
	}{
		"a device is there":     {func(*InitConfig) {}, api.CodeConflict, ErrExists},
		"a home below a file":   {func(c *InitConfig) { c.Home = filepath.Join(file, "home") }, api.CodeInvalid, syscall.ENOTDIR},
		"a home of everybody":   {func(c *InitConfig) { c.Home = open }, api.CodeNotPermitted, nil},
		"no home":               {func(c *InitConfig) { c.Home = "" }, api.CodeInvalid, ErrInvalid},
		"an empty passphrase":   {func(c *InitConfig) { c.Home, c.Passphrase = filepath.Join(root, "1"), passphrase("") }, api.CodeInvalid, ErrInvalid},
		"nothing that locks it": {func(c *InitConfig) { c.Home, c.Passphrase = filepath.Join(root, "2"), nil }, api.CodeLocked, nil},
		"a name that cannot be": {func(c *InitConfig) { c.Home, c.Name = filepath.Join(root, "3"), " " }, api.CodeInvalid, ErrInvalid},
		"a cost that cannot be": {func(c *InitConfig) { c.Home, c.KDF.Passes = filepath.Join(root, "4"), 99 }, api.CodeInvalid, nil},
		"a configuration below a file": {func(c *InitConfig) {
			c.Home, c.ConfigFile = filepath.Join(root, "5"), filepath.Join(file, "config.toml")
		}, api.CodeInvalid, syscall.ENOTDIR},
		"a key file of another meaning": {func(c *InitConfig) { c.Home, c.KeyFile = filepath.Join(root, "6"), file }, api.CodeLocked, nil},
	} {
		cfg := there
		c.change(&cfg)
		err := Init(t.Context(), cfg)
		if err == nil || api.CodeOf(err) != c.code || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %s, want %s: %v", name, api.CodeOf(err), c.code, err)
		}
	}
}

// A Restore that fails removes the key file that it has made, and none that was there.
func TestFailedRestoreLeavesNoKeyFile(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		root := t.TempDir()
		key := filepath.Join(root, "key")
		want := []byte(nil)
		if before {
			want = bytes.Repeat([]byte{7}, 32)
			if err := os.WriteFile(key, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at := files(t, root)
		_, err := Restore(t.Context(), InitConfig{Home: filepath.Join(root, "home"), KeyFile: key}, strings.NewReader("no backup"))
		if err == nil || api.CodeOf(err) == api.CodeInternal {
			t.Errorf("restoring rubbish: %v", err)
		}
		if after := files(t, root); !slices.Equal(at, after) {
			t.Errorf("it left %q", after)
		}
		if got, _ := os.ReadFile(key); !bytes.Equal(got, want) {
			t.Error("the key file has changed")
		}
	}
}

// A store that is in its place keeps its key file, whatever fails after that: a disk that cannot
// make the move durable, too.
func TestKeyFileOfAStoreInItsPlaceStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	part, place, key := filepath.Join(root, "part"), filepath.Join(root, "store"), filepath.Join(root, "key")
	undo := new(undoing)
	undo.file(key)
	undo.tree(part)
	if err := errors.Join(os.Mkdir(part, 0o700), os.WriteFile(key, []byte("key"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(moveStore(part, place, undo), undo.all()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{place, key} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A home of another version of pandanode says so, and which of the two is older.
func TestHomeOfAnotherVersion(t *testing.T) {
	t.Parallel()
	passphrase := func() ([]byte, error) { return []byte("long enough"), nil }
	for version, says := range map[uint64]string{
		1:                "by an older program, of version 1 of the wire",
		wire.Version + 1: "by a newer program, of version 3 of the wire",
	} {
		home := t.TempDir()
		if err := Init(t.Context(), InitConfig{Home: home, KDF: quick, Passphrase: passphrase, Name: "home"}); err != nil {
			t.Fatal(err)
		}
		s, err := openStore(Config{Home: home, Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		var row identityRow
		if ok, err := getRow(s, keyIdentity, &row); err != nil || !ok {
			t.Fatal(ok, err)
		}
		cert, err := wire.DecodeDeviceCert(row.Cert.Payload)
		if err != nil {
			t.Fatal(err)
		}
		user, err := identity.KeyFromSeed(row.User)
		if err != nil {
			t.Fatal(err)
		}
		cert.V = version
		row.Cert = user.Sign(wire.DomainDeviceCert, wire.GroupID{}, cert.Encode())
		if err := putRow(s, keyIdentity, &row); err != nil {
			t.Fatal(err)
		}
		_, err = readIdentity(s)
		if !errors.Is(err, wire.ErrVersion) || !strings.Contains(err.Error(), "this home was made by another version of pandanode: use it with that one, or make a new home") || !strings.Contains(err.Error(), says) {
			t.Errorf("a home of version %d: %v", version, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
