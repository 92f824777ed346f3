package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// InitConfig configures a new device. Home and one of Passphrase and KeyFile are needed. Relative
// paths are made absolute at once.
type InitConfig struct {
	Home string // directory of the device; made with mode 0700
	Name string // of the device, for people; empty: "device"
	// Passphrase gives what is to unlock the store. It is called at most once, and not if there
	// is a KeyFile. ErrInvalid: it is empty. The slice stays the caller's: the node wipes its own
	// copies alone.
	Passphrase func() ([]byte, error)
	// KeyFile takes the passphrase's place: a file of 32 random bytes, made if it is not there.
	// If both are given, this one counts. Homes that are made at the same time need files of
	// their own: an Init that fails removes the file that it has made.
	KeyFile    string
	KDF        storage.KDF    // zero: storage.DefaultKDF
	ConfigFile string         // a file that Init makes with the device, unless it is there; empty: none
	ConfigText string         // what is in it
	PeerKey    crypto.PrivKey // libp2p identity; nil: a new one
	Small      bool           // one of many in a process, in virtual time: see storeOptions
}

// identityRow is the identity of a device in its store.
type identityRow struct {
	User        []byte      `cbor:"1,keyasint"` // seed of the user key
	Log         []byte      `cbor:"2,keyasint"` // seed of the log key
	Peer        []byte      `cbor:"3,keyasint"` // libp2p private key
	Cert        wire.Signed `cbor:"4,keyasint"` // DeviceCert
	Incarnation uint64      `cbor:"5,keyasint"` // drawn when the device is restored; 0: it never was
}

func (r *identityRow) wipe() {
	clear(r.User)
	clear(r.Log)
	clear(r.Peer)
}

// self is a device's identity in memory.
type self struct {
	device      *identity.Device
	user, log   *identity.Key
	peer        crypto.PrivKey
	incarnation uint64
}

// storeDir is where the store of a home lies.
func storeDir(home string) string { return filepath.Join(home, "store") }

// checkHome refuses a home in which another user of the machine could change what a node
// reads, or put a socket in the place of the node's, and a key file, if there is one, that
// another user could have made.
func checkHome(home, keyFile string) error {
	abs, err := filepath.Abs(home)
	if err != nil {
		return fmt.Errorf("%w: the home: %w", ErrInvalid, err)
	}
	if err := config.TrustHome(abs); err != nil {
		return err
	}
	for _, path := range []string{storeDir(abs), keyFile} {
		if path == "" {
			continue
		}
		if path, err = filepath.Abs(path); err == nil {
			err = config.Trust(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Init makes a device: its home, its store, a user, keys and a certificate, and its
// configuration. It is there whole or not at all: the store is made beside its place, and
// moved there at the end. An Init that fails removes the files that it has made; one that
// is interrupted can be repeated. Of several at the same time one makes the device, and the
// others get ErrInUse or ErrExists. Errors: those of storage.Create and of Passphrase; ErrInvalid.
// They have a code (api.CodeOf).
func Init(ctx context.Context, cfg InitConfig) error {
	return APIError(initAt(ctx, cfg, func(string) {}))
}

// initAt is Init with points at which a test lets it crash.
func initAt(ctx context.Context, cfg InitConfig, at func(point string)) (err error) {
	if err := cfg.validate(); err != nil {
		return err
	}
	if err := checkHome(cfg.Home, cfg.KeyFile); err != nil {
		return err
	}
	if err := noDevice(cfg.Home); err != nil {
		return err
	}
	lock, wipe, err := newLock(cfg)
	if err != nil {
		return err
	}
	defer wipe()
	if err := ctx.Err(); err != nil {
		return err
	}
	return inHome(cfg.Home, cfg.KeyFile, func() error {
		if err := noDevice(cfg.Home); err != nil { // somebody else made it, just now
			return err
		}
		return makeDevice(cfg, lock, at)
	})
}

// validate puts defaults in place of zero values, and absolute paths in place of relative ones.
func (c *InitConfig) validate() error {
	if c.Home == "" {
		return fmt.Errorf("%w: no home directory", ErrInvalid)
	}
	if c.Name == "" {
		c.Name = "device"
	}
	if err := checkDeviceName(c.Name); err != nil {
		return err
	}
	return absolute(&c.Home, &c.KeyFile, &c.ConfigFile)
}

// noDevice refuses a home that has a device.
func noDevice(home string) error {
	if isStore(storeDir(home)) {
		return fmt.Errorf("a device %w in %s", storage.ErrExists, home)
	}
	return nil
}

// makeDevice makes the device in its home, which is there and locked.
func makeDevice(cfg InitConfig, lock storage.Options, at func(point string)) (err error) {
	undo := new(undoing)
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.all())
		}
	}()
	if cfg.ConfigFile != "" { // now, since the key file may lie beside it
		undo.dirs(filepath.Dir(cfg.ConfigFile))
		if err := os.MkdirAll(filepath.Dir(cfg.ConfigFile), 0o700); err != nil {
			return fmt.Errorf("making the folder of the configuration: %w", err)
		}
	}
	if cfg.KeyFile != "" {
		undo.file(cfg.KeyFile)
	}
	part := storeDir(cfg.Home) + ".making"
	s, err := createAnew(part, lock)
	if err != nil {
		return err
	}
	undo.tree(part)
	row, err := newIdentity(cfg, time.Now())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	err = putRow(s, keyIdentity, row)
	row.wipe()
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	at("identity written")
	if err := writeConfig(cfg, part, undo); err != nil {
		return err
	}
	at("configuration written")
	if err := moveStore(part, storeDir(cfg.Home), undo); err != nil {
		return err
	}
	at("store in its place")
	_ = os.Remove(filepath.Join(storeDir(cfg.Home), madeName)) // it has served
	return syncPlace(storeDir(cfg.Home))
}

func checkDeviceName(name string) error {
	if wire.Blank(name) {
		return fmt.Errorf("%w: the name of the device is blank", ErrInvalid)
	}
	if err := wire.CheckDeviceName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return checkNewName(name)
}

// checkNewName refuses a name of a device or group that could be taken for another, since
// it is given here: names of others are shown with a doubt instead.
func checkNewName(name string) error {
	if err := api.CheckName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// isStore says whether Init or Restore has made a store. Files that an earlier version left
// from a failed Init are none.
func isStore(dir string) bool {
	is := func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return !errors.Is(err, fs.ErrNotExist)
	}
	return (is("keys") || is("db")) && !is("creating")
}

// createAnew makes a store, in the place of one that an interrupted Init has left.
func createAnew(dir string, o storage.Options) (*storage.Store, error) {
	if err := forgetMade(dir); err != nil {
		return nil, err
	}
	s, err := storage.Create(dir, o)
	if errors.Is(err, storage.ErrExists) { // and nobody has its lock
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("removing what an interrupted init left: %w", err)
		}
		s, err = storage.Create(dir, o)
	}
	if err != nil && !errors.Is(err, storage.ErrInUse) {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return s, err
}

// madeName is a file beside a store that is being made. It says which configuration Init
// makes with it, and its hash, so that a repeated Init makes it anew, and keeps one that a
// person has written.
const madeName = "made"

func writeConfig(cfg InitConfig, part string, undo *undoing) error {
	if cfg.ConfigFile == "" {
		return nil
	}
	if _, err := os.Lstat(cfg.ConfigFile); err == nil {
		return nil
	}
	made := fmt.Sprintf("%x %s", sha256.Sum256([]byte(cfg.ConfigText)), cfg.ConfigFile)
	if err := os.WriteFile(filepath.Join(part, madeName), []byte(made), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	undo.file(cfg.ConfigFile)
	if err := config.Write(cfg.ConfigFile, cfg.ConfigText); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// forgetMade removes the configuration that an interrupted Init has made.
func forgetMade(part string) error {
	made, err := os.ReadFile(filepath.Join(part, madeName))
	if err != nil {
		return nil //nolint:nilerr // it has made none
	}
	sum, path, _ := strings.Cut(string(made), " ")
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(text)) != sum {
		return nil //nolint:nilerr // it is gone, or a person's
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing what an interrupted init left: %w", err)
	}
	return nil
}

// moveStore moves a store to its place, where there is none. From then on nothing is undone,
// whatever fails: the store needs its key file.
func moveStore(from, to string, undo *undoing) error {
	if err := os.RemoveAll(to); err != nil { // what an earlier version left: see isStore
		return fmt.Errorf("putting the store in its place: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("putting the store in its place: %w", err)
	}
	undo.nothing()
	return nil
}

// syncPlace makes it durable that a store is in its place.
func syncPlace(store string) error {
	if err := storage.SyncDir(filepath.Dir(store)); err != nil {
		return fmt.Errorf("putting the store in its place: %w", err)
	}
	return nil
}

// undoing removes the files that a failing Init has made, and nothing that was there
// before.
type undoing struct{ steps []func() error }

// dirs is for a directory that may be made, with those above it: each that is not there
// now and is empty goes.
func (u *undoing) dirs(dir string) {
	var steps []func() error
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		steps = append(steps, func() error { _ = os.Remove(at); return nil }) // others may have filled it
	}
	slices.Reverse(steps)
	u.steps = append(u.steps, steps...)
}

// file is for a file that may be made.
func (u *undoing) file(path string) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	u.steps = append(u.steps, func() error {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// tree is for a directory that was made.
func (u *undoing) tree(dir string) {
	u.steps = append(u.steps, func() error { return os.RemoveAll(dir) })
}

func (u *undoing) nothing() { u.steps = nil }

// all undoes, the last step first.
func (u *undoing) all() error {
	var errs []error
	for _, step := range slices.Backward(u.steps) {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}

func newIdentity(cfg InitConfig, now time.Time) (*identityRow, error) {
	user, err := identity.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	defer user.Wipe()
	log, err := identity.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	defer log.Wipe()
	if cfg.PeerKey == nil {
		if cfg.PeerKey, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			return nil, fmt.Errorf("drawing the peer key: %w", err)
		}
	}
	id, err := peer.IDFromPrivateKey(cfg.PeerKey)
	if err != nil {
		return nil, fmt.Errorf("naming the peer: %w", err)
	}
	d, err := identity.Certify(user, wire.DeviceCert{
		LogKey: log.Public(), Peer: []byte(id), Name: cfg.Name, Issued: uint64(now.Unix()), //nolint:gosec // after 1970
	})
	if err != nil {
		return nil, err
	}
	peerKey, err := crypto.MarshalPrivateKey(cfg.PeerKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the peer key: %w", err)
	}
	return &identityRow{
		User: user.SecretSeed(), Log: log.SecretSeed(), Peer: peerKey, Cert: d.Raw,
	}, nil
}

// storeOptions are a store's where one process has one device. A simulator has many, with
// little in each: their stores make do with a quarter of the memory, and do nothing by
// themselves.
func storeOptions(small bool) storage.Options {
	if !small {
		return storage.Options{}
	}
	return storage.Options{MaxBatch: 1 << 20, Still: true}
}

// openStore opens the store of a device.
func openStore(cfg Config) (*storage.Store, error) {
	if err := checkHome(cfg.Home, cfg.KeyFile); err != nil {
		return nil, err
	}
	o := storeOptions(cfg.Small)
	o.Passphrase, o.KeyFile = copied(cfg.Passphrase), cfg.KeyFile
	if cfg.Logger != nil {
		o.Logger = cfg.Logger.With("subsystem", "storage")
	}
	return storage.Open(storeDir(cfg.Home), o)
}

// readIdentity restores the device that a store belongs to.
func readIdentity(s *storage.Store) (*self, error) {
	var row identityRow
	ok, err := getRow(s, keyIdentity, &row)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: its initialisation was interrupted", storage.ErrNotInitialised)
	}
	defer row.wipe()
	me := &self{incarnation: row.Incarnation}
	me.device, err = identity.VerifyDevice(row.Cert)
	if errors.Is(err, wire.ErrVersion) {
		return nil, fmt.Errorf("this home was made by another version of pandanode: use it with that one, or make a new home with \"pandanode init\": %w", err)
	}
	if err != nil {
		return nil, err
	}
	if me.user, err = identity.KeyFromSeed(row.User); err != nil {
		return nil, err
	}
	if me.log, err = identity.KeyFromSeed(row.Log); err != nil {
		return nil, err
	}
	if me.peer, err = crypto.UnmarshalPrivateKey(row.Peer); err != nil {
		return nil, fmt.Errorf("decoding the peer key: %w", err)
	}
	return me, nil
}

func (m *self) wipe() {
	m.user.Wipe()
	m.log.Wipe()
}
