package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Paths are the places of configuration and store, as absolute paths.
type Paths struct {
	File string // the configuration file
	Data string // the store, unless data_dir says otherwise
}

// Locate finds the directories. Home (the --home flag, else PANDANODE_HOME)
// collapses them into one; without it they are those of the XDG Base Directory
// Specification: $XDG_CONFIG_HOME/pandanode/config.toml and $XDG_DATA_HOME/pandanode.
func Locate(home string, getenv func(string) string) (Paths, error) {
	if home == "" {
		home = getenv(envHome)
	}
	if home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return Paths{}, err
		}
		if i, err := os.Stat(abs); err == nil && !i.IsDir() {
			return Paths{}, fmt.Errorf("%w: %s is a file, and a home is a directory", ErrInvalid, abs)
		}
		return Paths{File: filepath.Join(abs, "config.toml"), Data: abs}, nil
	}
	conf, err := xdg("XDG_CONFIG_HOME", ".config", getenv)
	if err != nil {
		return Paths{}, err
	}
	data, err := xdg("XDG_DATA_HOME", ".local/share", getenv)
	if err != nil {
		return Paths{}, err
	}
	return Paths{File: filepath.Join(conf, "pandanode", "config.toml"), Data: filepath.Join(data, "pandanode")}, nil
}

// xdg gives a base directory. A relative one is to be ignored, says the specification.
func xdg(name, fallback string, getenv func(string) string) (string, error) {
	if dir := getenv(name); filepath.IsAbs(dir) {
		return dir, nil
	}
	for _, of := range homeVariables {
		if user := getenv(of); filepath.IsAbs(user) {
			return filepath.Join(user, fallback), nil
		}
	}
	return "", fmt.Errorf("%w: neither --home nor %s nor %s says where the node lives, by an absolute path", ErrInvalid, homeVariables[0], name)
}

// MaxSocket is the longest path of a unix socket on this system, in bytes: 107 on Linux.
const MaxSocket = len(syscall.RawSockaddrUnix{}.Path) - 1

// socketRecord is the file in the data directory that says where the socket is, and, so that a copy
// of the directory is not taken for it, where the directory is: the path, and a line of the directory.
const (
	socketRecord = "socket"
	recordOf     = "\nof the home "
)

// ErrNoSocket says that no node has run on the data directory.
var ErrNoSocket = errors.New("no node has run here")

// MakeSocket chooses where the socket of the node on this data directory is, makes
// the directory that holds it (mode 0700), and records the path for [FindSocket].
// The path is $XDG_RUNTIME_DIR/pandanode/<hash>.sock if that directory is there and this user's
// alone, else api.sock in the data directory, else in a fresh temporary directory: the first of at most [MaxSocket] bytes.
// A recorded temporary directory is used again.
func MakeSocket(data string, getenv func(string) string) (string, error) {
	path, err := chooseSocket(data, getenv)
	if err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(data, socketRecord), []byte(path+recordOf+data+"\n")); err != nil {
		return "", fmt.Errorf("recording the socket: %w", err)
	}
	return path, nil
}

func chooseSocket(data string, getenv func(string) string) (string, error) {
	if run := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) && exists(run) && Trust(run) == nil {
		sum := sha256.Sum256([]byte(data))
		dir := filepath.Join(run, "pandanode")
		path := filepath.Join(dir, hex.EncodeToString(sum[:8])+".sock")
		if len(path) <= MaxSocket && os.MkdirAll(dir, 0o700) == nil && private(dir) {
			return path, nil
		}
	}
	if path := filepath.Join(data, "api.sock"); len(path) <= MaxSocket {
		return path, nil
	}
	if old, err := FindSocket(data); err == nil && len(old) <= MaxSocket && private(filepath.Dir(old)) {
		return old, nil
	}
	dir, err := os.MkdirTemp("", "panda")
	if err != nil {
		return "", fmt.Errorf("making a directory for the socket: %w", err)
	}
	path := filepath.Join(dir, "s")
	if len(path) > MaxSocket {
		_ = os.Remove(dir)
		return "", fmt.Errorf("%w: the temporary directory %q is too long for a socket: set TMPDIR or XDG_RUNTIME_DIR", ErrInvalid, filepath.Dir(dir))
	}
	return path, nil
}

// FindSocket gives the recorded path of the socket of the node on this data
// directory, or ErrNoSocket, or an [UntrustedError] if another user could have put the
// record or the socket there.
func FindSocket(data string) (string, error) {
	record := filepath.Join(data, socketRecord)
	if err := Trust(record); err != nil {
		return "", err
	}
	b, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNoSocket, data)
	}
	if err != nil {
		return "", fmt.Errorf("finding the socket: %w", err)
	}
	path := strings.TrimSuffix(string(b), "\n")
	if first, of, two := strings.Cut(path, recordOf); two {
		if path = first; isCopy(data, of) {
			return "", fmt.Errorf("%w: %s is a copy of %s", ErrNoSocket, data, of)
		}
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("finding the socket: %s holds no path", record)
	}
	if err := Trust(path); err != nil {
		return "", err
	}
	return path, nil
}

// isCopy says whether two paths are of different directories.
func isCopy(dir, of string) bool {
	a, err1 := os.Stat(dir)
	b, err2 := os.Stat(of)
	return err1 == nil && err2 == nil && !os.SameFile(a, b)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Write writes a configuration file, mode 0600, and its directory. The file is there whole or not
// at all, also if the machine fails meanwhile. It never replaces one: fs.ErrExist.
func Write(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if exists(path) {
		return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
	}
	tmp, err := writeBeside(path, []byte(text), 0o600)
	if err != nil {
		return err
	}
	err = os.Link(tmp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system that has no links
		err = os.Rename(tmp, path)
	}
	_ = os.Remove(tmp)
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // where the system can
		_ = d.Close()
	}
	return err
}

// writeFile replaces a file whole; mode 0600.
func writeFile(path string, data []byte) error { return replaceFile(path, data, 0o600) }

// replaceFile replaces a file whole, also if the machine fails meanwhile.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := writeBeside(path, data, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

// writeBeside writes a file beside the one that it becomes, and syncs it.
func writeBeside(path string, data []byte, mode fs.FileMode) (name string, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close(), os.Chmod(tmp.Name(), mode)); err != nil {
		_ = os.Remove(tmp.Name())
	}
	return tmp.Name(), err
}
