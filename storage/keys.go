package storage

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/argon2"
)

// The file keys, integers big-endian:
//
//	 0   8  "pandakey"
//	 8   1  version of this layout: 1
//	 9   1  how the key-encryption key is derived: 1 Argon2id of a passphrase, 2 HKDF-SHA256 of a key file
//	10   2  zero
//	12   4  schema of the store
//	16  12  Argon2id: memory in KiB, passes, lanes; zero for a key file
//	28  32  salt
//	60      nonce, ciphertext and tag of the payload; all of the above is associated data
//	-32 32  SHA-256 of everything before it
//
// Every version ends with the checksum and starts with the first nine bytes. That tells damage from a wrong passphrase: if the
// checksum fits and the payload does not open, the key is wrong (or someone computed the checksum anew).
//
// Payload: store id 16 · data key 32 · anchor: transaction 8, records 8, set hash 32 · number of vaults 4 · for each, in
// order: id 32, key 32.
const (
	keysName       = "keys"
	keysMagic      = "pandakey"
	keysVersion    = 1
	keysHeaderSize = 60
	maxKeysSize    = 64 << 20 // a million vaults

	kdfArgon2id = 1
	kdfKeyFile  = 2

	keysDomain = "panda/store-keys/1\x00"
	kekDomain  = "panda/store-kek/1"
	sumDomain  = "panda/store-sum/1"
)

// VaultID names a set of records that are sealed under a key of their own and can be made unreadable together, such as
// the secrets of one epoch. The zero VaultID is no vault: the data key.
type VaultID [32]byte

type vault struct {
	opaque
	key    *secret
	sealer *sealer
}

func newVault(key *secret) *vault { return &vault{key: key, sealer: newSealer(key)} }

// lock holds what seals the file keys: the file's header and the key-encryption key. It
// stays in memory while the store is open, so that replacing keys costs no Argon2id.
type lock struct {
	opaque
	kind byte
	kdf  KDF
	salt [32]byte
	kek  *secret
}

// keyring is the content of keys.
type keyring struct {
	opaque
	schema uint32
	store  [16]byte
	data   *secret
	anchor head
	vaults map[VaultID]*vault
}

// newLock makes the lock of a new store.
func newLock(o Options) (*lock, error) {
	l := &lock{kind: kdfArgon2id, kdf: o.KDF}
	if l.kdf == (KDF{}) {
		l.kdf = DefaultKDF
	}
	_, _ = rand.Read(l.salt[:])
	if o.KeyFile != "" {
		l.kind, l.kdf = kdfKeyFile, KDF{}
		if err := makeKeyFile(o.KeyFile); err != nil {
			return nil, err
		}
	} else if err := l.kdf.validate(); err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return l, l.derive(o)
}

// derive computes the key-encryption key from what the options hold for this kind of lock.
func (l *lock) derive(o Options) error {
	switch l.kind {
	case kdfArgon2id:
		if o.Passphrase == nil {
			return fmt.Errorf("%w (passphrase)", ErrLocked)
		}
		passphrase, err := o.Passphrase()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		key := argon2.IDKey(passphrase, l.salt[:], l.kdf.Passes, l.kdf.MemoryKiB, l.kdf.Lanes, 32)
		clear(passphrase)
		l.kek = &secret{b: [32]byte(key)}
		clear(key)
	case kdfKeyFile:
		if o.KeyFile == "" {
			return fmt.Errorf("%w (key file)", ErrLocked)
		}
		file, err := os.ReadFile(o.KeyFile)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		defer clear(file)
		if len(file) != 32 {
			return fmt.Errorf("%w: %s does not hold 32 bytes", ErrWrongPassphrase, o.KeyFile)
		}
		l.kek = derived(file, l.salt[:], kekDomain)
	}
	return nil
}

// derived returns 32 bytes of HKDF-SHA256.
func derived(key, salt []byte, info string) *secret {
	b, err := hkdf.Key(sha256.New, key, salt, info, 32)
	if err != nil {
		panic("storage: " + err.Error()) // only for an output of more than 255 blocks
	}
	defer clear(b)
	return &secret{b: [32]byte(b)}
}

// makeKeyFile writes a new key file, whole or not at all. It leaves an existing one alone.
func makeKeyFile(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // reading it will tell if something is wrong with it
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return fmt.Errorf("storage: making the key file: %w", err)
	}
	s := newSecret()
	defer s.wipe()
	_, err = f.Write(s.b[:])
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = linkNew(f.Name(), path)
	}
	if err := errors.Join(err, os.Remove(f.Name())); err != nil {
		return fmt.Errorf("storage: making the key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// linkNew links a file to a second name, unless another process has created a file of that
// name meanwhile. Where the file system has no hard links, it copies the file.
func linkNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	defer clear(text)
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (l *lock) header(schema uint32) []byte {
	b := append(make([]byte, 0, keysHeaderSize), keysMagic...)
	b = append(b, keysVersion, l.kind, 0, 0)
	for _, n := range []uint32{schema, l.kdf.MemoryKiB, l.kdf.Passes, uint32(l.kdf.Lanes)} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, l.salt[:]...)
}

// encode returns the content of the file keys for r.
func (l *lock) encode(r *keyring) []byte {
	payload := append(make([]byte, 0, 100+64*len(r.vaults)), r.store[:]...)
	payload = append(payload, r.data.b[:]...)
	payload = r.anchor.append(payload)
	payload = binary.BigEndian.AppendUint32(payload, uint32(len(r.vaults)))
	for _, id := range slices.SortedFunc(maps.Keys(r.vaults), func(a, b VaultID) int { return bytes.Compare(a[:], b[:]) }) {
		payload = append(append(payload, id[:]...), r.vaults[id].key.b[:]...)
	}
	defer clear(payload)

	file := l.header(r.schema)
	file = newSealer(l.kek).seal(file, payload, append([]byte(keysDomain), file...))
	return checksummed(file)
}

func checksummed(file []byte) []byte {
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}

// readKeys reads the file and reverses encode. Nothing in the file is believed before the
// checksum fits, and nothing secret before it authenticates.
func readKeys(dir string, o Options) (*lock, *keyring, error) {
	path := filepath.Join(dir, keysName)
	if info, err := os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("storage: %w", err)
	} else if info.Size() > maxKeysSize {
		return nil, nil, corrupt("keys: %d bytes", info.Size())
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("storage: %w", err)
	}
	if len(file) < keysHeaderSize+nonceSize+tagSize+sha256.Size {
		return nil, nil, corrupt("keys: %d bytes", len(file))
	}
	body, sum := file[:len(file)-sha256.Size], file[len(file)-sha256.Size:]
	if sha256.Sum256(body) != [32]byte(sum) {
		return nil, nil, corrupt("keys: checksum")
	}
	if string(body[:8]) != keysMagic {
		return nil, nil, corrupt("keys: not a key file of a store")
	}
	if body[8] > keysVersion {
		return nil, nil, fmt.Errorf("%w: keys has layout %d", ErrSchemaNewer, body[8])
	}
	field := func(at int) uint32 { return binary.BigEndian.Uint32(body[at:]) }
	if s := field(12); s > schema {
		return nil, nil, fmt.Errorf("%w: schema %d, this program knows %d", ErrSchemaNewer, s, schema)
	}
	l := &lock{kind: body[9], kdf: KDF{field(16), field(20), uint8(min(field(24), 255))}, salt: [32]byte(body[28:60])}
	switch {
	case body[8] != keysVersion, field(12) == 0, l.kind != kdfArgon2id && l.kind != kdfKeyFile, !bytes.Equal(body[:keysHeaderSize], l.header(field(12))):
		return nil, nil, corrupt("keys: header")
	case l.kind == kdfArgon2id:
		if err := l.kdf.validate(); err != nil {
			return nil, nil, corrupt("keys: %w", err)
		}
	}
	if err := l.derive(o); err != nil {
		return nil, nil, err
	}
	payload, err := newSealer(l.kek).open(body[keysHeaderSize:], append([]byte(keysDomain), body[:keysHeaderSize]...))
	if err != nil {
		l.kek.wipe()
		return nil, nil, ErrWrongPassphrase
	}
	defer clear(payload)
	r, err := decodeKeyring(payload)
	if err != nil {
		l.kek.wipe()
		return nil, nil, err
	}
	r.schema = field(12)
	return l, r, nil
}

func decodeKeyring(b []byte) (*keyring, error) {
	const fixed = 16 + 32 + headSize + 4
	if len(b) < fixed {
		return nil, corrupt("keys: payload of %d bytes", len(b))
	}
	r := &keyring{store: [16]byte(b), data: &secret{b: [32]byte(b[16:])}, vaults: make(map[VaultID]*vault)}
	r.anchor = decodeHead(b[48:])
	n, list := binary.BigEndian.Uint32(b[fixed-4:]), b[fixed:]
	if uint64(len(list)) != 64*uint64(n) {
		return nil, corrupt("keys: %d vaults in %d bytes", n, len(list))
	}
	for ; len(list) > 0; list = list[64:] {
		r.vaults[VaultID(list)] = newVault(&secret{b: [32]byte(list[32:])})
	}
	return r, nil
}

// writeKeys replaces the file as a whole: after a crash it is the old one or the new one.
func writeKeys(dir string, file []byte, at func(point string)) error {
	path := filepath.Join(dir, keysName)
	at("keys: before the temporary file")
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(file); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	at("keys: before the rename")
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	at("keys: after the rename")
	return syncDir(dir)
}
