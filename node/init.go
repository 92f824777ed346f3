package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// InitConfig says what to make a device of. Home and one of Passphrase and
// KeyFile are needed.
type InitConfig struct {
	Home       string                 // directory of the device; made with mode 0700
	Name       string                 // of the device, for people; empty: "device"
	Passphrase func() ([]byte, error) // that unlocks the store; see storage.Options
	KeyFile    string                 // in its place: a file of 32 random bytes, made if it is not there
	KDF        storage.KDF            // zero: storage.DefaultKDF
	PeerKey    crypto.PrivKey         // libp2p identity; nil: a new one
}

// identityRow is what a device is, in its store.
type identityRow struct {
	User        []byte      `cbor:"1,keyasint"` // seed of the user key
	Log         []byte      `cbor:"2,keyasint"` // seed of the log key
	Peer        []byte      `cbor:"3,keyasint"` // libp2p private key
	Cert        wire.Signed `cbor:"4,keyasint"` // DeviceCert
	Incarnation uint64      `cbor:"5,keyasint"`
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

// Init makes a device: its home, its store, a user, keys and a certificate. Errors:
// those of storage.Create; an interrupted Init can be repeated.
func Init(ctx context.Context, cfg InitConfig) (err error) {
	if cfg.Home == "" {
		return fmt.Errorf("%w: no home directory", ErrInvalid)
	}
	if cfg.Name == "" {
		cfg.Name = "device"
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Home, 0o700); err != nil {
		return fmt.Errorf("making the home: %w", err)
	}
	o := storage.Options{Passphrase: cfg.Passphrase, KeyFile: cfg.KeyFile, KDF: cfg.KDF}
	s, err := storage.Create(storeDir(cfg.Home), o)
	if errors.Is(err, storage.ErrExists) {
		s, err = unfinished(storeDir(cfg.Home), o, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	row, err := newIdentity(cfg, time.Now())
	if err != nil {
		return err
	}
	defer row.wipe()
	return putRow(s, keyIdentity, row)
}

// unfinished opens a store whose Init was cut short before the identity was in it;
// exists is the error otherwise.
func unfinished(dir string, o storage.Options, exists error) (*storage.Store, error) {
	s, err := storage.Open(dir, o)
	if err != nil {
		return nil, exists
	}
	if _, err := s.Get([]byte(keyIdentity)); !errors.Is(err, storage.ErrNotFound) {
		return nil, errors.Join(exists, s.Close())
	}
	return s, nil
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
		Incarnation: newIncarnation(),
	}, nil
}

// openStore opens the store of a device.
func openStore(cfg Config) (*storage.Store, error) {
	o := storage.Options{Passphrase: cfg.Passphrase, KeyFile: cfg.KeyFile}
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
	if me.device, err = identity.VerifyDevice(row.Cert); err != nil {
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
