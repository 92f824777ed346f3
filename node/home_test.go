//go:build unix

package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pandanode/pandanode/internal/filelock"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/storage"
)

// A program that embeds a node is refused a home that others can change, too: to make a
// device there, and to open one that was moved there, or whose store was replaced by a
// link.
func TestHomesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	refused := func(what string, err error) {
		t.Helper()
		if _, ok := errors.AsType[*config.UntrustedError](err); !ok || api.CodeOf(APIError(err)) != api.CodeNotPermitted {
			t.Errorf("%s: %v", what, err)
		}
	}
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	cfg := InitConfig{Home: home, Passphrase: func() ([]byte, error) { return []byte("long enough"), nil }, KDF: storage.KDF{MemoryKiB: 64, Passes: 1, Lanes: 1}}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	refused("init below a directory that is open to all", Init(t.Context(), cfg))
	_, err := Restore(t.Context(), cfg, nil)
	refused("restore there", err)
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Error("a home was made")
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	keyed := cfg
	keyed.KeyFile = filepath.Join(shared, "key")
	refused("a key file that others could have made", Init(t.Context(), keyed))
	if err := Init(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	open := Config{Home: home, Passphrase: cfg.Passphrase}
	if s, err := OpenAtRest(open); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := errors.Join(os.Mkdir(elsewhere, 0o700), os.Chmod(elsewhere, 0o777), os.Rename(storeDir(home), filepath.Join(elsewhere, "store")), os.Symlink(filepath.Join(elsewhere, "store"), storeDir(home))); err != nil {
		t.Fatal(err)
	}
	_, err = OpenAtRest(open)
	refused("a store elsewhere", err)
	_, err = Open(t.Context(), open)
	refused("run", err)
	if err := errors.Join(os.Remove(storeDir(home)), os.Chmod(home, 0o720)); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // else the group may be the user's own
		if err := os.Chown(home, 0, 12345); err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), open)
		refused("a home of a group", err)
	}
}

// TestLockThatWasRemoved: a lock whose file somebody has removed is given back without an error,
// and without the file of the next holder.
func TestLockThatWasRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	take := func() (free func() error) {
		free, err := takeLock(path)
		if err != nil {
			t.Fatal(err)
		}
		return free
	}
	give := func(free func() error) {
		if err := free(); err != nil {
			t.Error(err)
		}
	}
	remove := func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	first := take()
	remove()
	give(first)
	first = take()
	remove()
	second := take()
	give(first)
	if held, err := filelock.Held(path); !held || err != nil {
		t.Errorf("the lock of the next is gone: %v", err)
	}
	give(second)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock that was given back: %v", err)
	}
}
