package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/pandanode/pandanode/internal/filelock"
)

// Store is an open store. Its methods may be called from any goroutine.
type Store struct {
	dir  string
	lock *lock
	max  int64    // bytes in a transaction
	keep uint64   // bytes that a transaction leaves free on the disk
	most int      // bytes of a stored value
	file *os.File // holds the directory's lock
	tip  *os.File
	db   atomic.Pointer[badger.DB]
	data *sealer
	sums *secret

	ringMu sync.RWMutex // held to read or change ring.vaults
	ring   *keyring     // changed by the writer only

	queueMu sync.Mutex
	queue   []*request

	writeMu sync.Mutex // held by the writer, one at a time
	head    head
	failed  error
	tabled  string // the log of which was seen that the tables of all before it are made
	// reopenBy is not nil while the database is open for reading only: once there is room
	// it is opened for writing by these options.
	reopenBy   *Options
	syncs      bool       // the store syncs the logs itself; else Badger does
	readOnlyDB *badger.DB // the one that was open for reading only, which readers may still use

	lifeMu sync.Mutex
	closed bool
	active sync.WaitGroup

	at func(point string) // called at points where a crash matters; tests only
}

// Format prints the directory and none of the secrets, whatever the verb.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "storage.Store(%s)", s.dir) }

// LogValue is what Format prints.
func (s *Store) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// creating marks a directory in which Create has not finished.
const creating = "creating"

// Create makes a store in dir, which it makes too if need be, and opens it. Options must hold a passphrase or a key file.
// Errors: ErrExists, ErrInUse, ErrLocked. A Create that was interrupted can be repeated.
func Create(dir string, o Options) (*Store, error) { return create(dir, o, nil) }

func create(dir string, o Options, at func(string)) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	file, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, max: o.maxBatch(), most: o.most(), keep: o.reserve(), file: file, at: at}
	tighten(dir, o)
	opened := false
	defer func() {
		if !opened { // also if a callback of the options panics
			err = errors.Join(err, s.release(s.closes()))
		}
	}()
	if err := s.create(o); err != nil {
		return nil, err
	}
	opened = true
	return s, nil
}

func (s *Store) create(o Options) (err error) {
	dir := s.dir
	switch {
	case exists(dir, creating):
		for _, name := range []string{keysName, keysName + ".tmp", tipName, "db"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("storage: %w", err)
			}
		}
	case exists(dir, keysName) || exists(dir, "db"):
		return fmt.Errorf("%w: a store in %s", ErrExists, dir)
	}
	s.ring = &keyring{schema: schema, data: newSecret(), vaults: make(map[VaultID]*vault)}
	_, _ = rand.Read(s.ring.store[:])
	s.derive()
	if s.lock, err = newLock(o); err != nil {
		return err
	}
	if err := checkSpace(dir, s.keep); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, creating), nil, 0o600); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	s.point("create: marked")
	if s.tip, err = openTip(dir); err != nil {
		return err
	}
	db, err := s.openBadger(o, false)
	if err != nil {
		return err
	}
	s.db.Store(db)
	if err := db.Update(func(t *badger.Txn) error {
		return errors.Join(t.Set(keyID, idRecord(s.ring.store)), t.Set(keyHead, s.sealHead(s.head)))
	}); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := s.sync(); err != nil {
		return err
	}
	s.point("create: database written")
	if err := writeKeys(dir, s.lock.encode(s.ring), s.point); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	s.point("create: keys written")
	if err := errors.Join(os.Remove(filepath.Join(dir, creating)), syncDir(dir)); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// Open opens the store in dir. Without the space that writing takes, Open opens the store
// for reading only. [Store.Apply] then returns ErrNoSpace, and opens the store for writing
// as soon as there is room. Errors: ErrNotInitialised, ErrInUse, ErrLocked,
// ErrWrongPassphrase, ErrSchemaNewer, ErrForeign, ErrCorrupt, ErrNoSpace. It checks keys,
// the head and the checksums of the files, not every record: see [Store.Verify].
func Open(dir string, o Options) (*Store, error) { return open(dir, o, nil) }

func open(dir string, o Options, at func(string)) (_ *Store, err error) {
	if !exists(dir, keysName) && !exists(dir, "db") {
		return nil, fmt.Errorf("%w: %s", ErrNotInitialised, dir)
	}
	file, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, max: o.maxBatch(), most: o.most(), keep: o.reserve(), file: file, at: at}
	tighten(dir, o)
	opened := false
	defer func() {
		if !opened { // also if a callback of the options panics
			err = errors.Join(err, s.release(s.closes()))
		}
	}()
	if err := s.open(o); err != nil {
		return nil, err
	}
	opened = true
	return s, nil
}

func (s *Store) open(o Options) (err error) {
	dir := s.dir
	switch {
	case exists(dir, creating):
		return fmt.Errorf("%w: %s: its creation was interrupted", ErrNotInitialised, dir)
	case !exists(dir, keysName):
		return corrupt("keys is missing")
	}
	if s.lock, s.ring, err = readKeys(dir, o); err != nil {
		return err
	}
	if !exists(dir, "db/MANIFEST") {
		return corrupt("the database is missing")
	}
	s.derive()
	full := checkSpace(dir, s.keep)
	if full != nil {
		if s.ring.schema < schema || checkSpace(dir, minFree) != nil {
			return full
		}
		s.reopenBy = &o
	}
	if s.tip, err = openTip(dir); err != nil {
		return err
	}
	db, err := s.openBadger(o, full != nil)
	if err != nil {
		return err
	}
	s.db.Store(db)
	if err := s.checkHead(); err != nil {
		return err
	}
	if full != nil {
		o.logger().Warn("the store is open for reading alone until there is more space", "why", full)
		return nil
	}
	if err := s.sync(); err != nil { // what a killed process wrote counts from now on
		return err
	}
	if err := s.migrate(); err != nil {
		return err
	}
	return s.forgetEmptyVaults()
}

// openBadger opens the store's database, and settles who syncs it.
func (s *Store) openBadger(o Options, reading bool) (*badger.DB, error) {
	path := filepath.Join(s.dir, "db")
	used, err := usesValueLog(path)
	if err != nil {
		return nil, err
	}
	s.syncs = syncsMapped && !used && !o.valueLog
	return openBadger(path, o, reading, !s.syncs)
}

// sync makes the transactions that Badger has taken durable, if it has not done so itself.
func (s *Store) sync() error {
	if !s.syncs {
		return nil
	}
	return syncLogs(filepath.Join(s.dir, "db"))
}

// minFree is the free space, in bytes, without which no store is opened at all. A node
// with less could not even write to its log what is wrong.
const minFree = 1 << 20

// reopenForWriting opens the database for writing if it is open for reading only and there is room by
// now. Readers keep the database that was open before. The caller holds s.writeMu.
func (s *Store) reopenForWriting() error {
	if s.reopenBy == nil {
		return nil
	}
	db, err := s.openBadger(*s.reopenBy, false)
	if err != nil {
		return err
	}
	s.readOnlyDB, s.reopenBy = s.db.Swap(db), nil
	return s.forgetEmptyVaults()
}

// checkHead reads the database's id and head and compares them with keys.
func (s *Store) checkHead() error {
	id, err := s.stored(keyID)
	switch {
	case err != nil:
		return corrupt("store id: %w", err)
	case len(id) != 24 || string(id) != string(idRecord([16]byte(id))):
		return corrupt("store id")
	case [16]byte(id) != s.ring.store:
		return ErrForeign
	}
	sealed, err := s.stored(keyHead)
	if err != nil {
		return corrupt("head: %w", err)
	}
	if s.head, err = s.unsealHead(sealed); err != nil {
		return err
	}
	anchor := s.ring.anchor
	if tip, ok := s.readTip(); ok && tip.seq > anchor.seq {
		anchor = tip
	}
	if s.head.seq < anchor.seq || s.head.seq == anchor.seq && s.head != anchor {
		return corrupt("the database is at transaction %d, behind %d, where it was already", s.head.seq, anchor.seq)
	}
	return nil
}

// forgetEmptyVaults takes vaults without records out of keys. A crash halfway through
// adding or dropping a vault leaves one.
func (s *Store) forgetEmptyVaults() error {
	var empty []VaultID
	for id := range s.ring.vaults {
		used := false
		if err := s.iterate(indexKey(id, nil), nil, func(*badger.Item) error {
			used = true
			return errStop
		}); err != nil {
			return err
		}
		if !used {
			empty = append(empty, id)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	return s.replaceKeys(nil, empty)
}

// Close waits for calls that are under way, writes the anchor, wipes the secrets and closes
// the database. On a full disk, and where the folder takes no files, it leaves the database as a
// process that ends does: all that was applied is there at the next Open. The second call returns
// ErrClosed.
func (s *Store) Close() error {
	s.lifeMu.Lock()
	was := s.closed
	s.closed = true
	s.lifeMu.Unlock()
	if was {
		return ErrClosed
	}
	s.active.Wait()
	var err error
	can, why := s.closes()
	if can && s.failed == nil && s.reopenBy == nil && s.head != s.ring.anchor {
		err = s.replaceKeys(nil, nil)
	}
	return errors.Join(err, s.release(can, why))
}

// release frees all that was acquired. can and why: see closes.
func (s *Store) release(can bool, why error) (err error) {
	if s.readOnlyDB != nil {
		err = closeBadger(s.readOnlyDB)
	}
	resting, closed := s.closeDatabase(can, why)
	err = errors.Join(err, closed)
	if s.tip != nil {
		err = errors.Join(err, s.tip.Close())
	}
	if s.lock != nil && s.lock.kek != nil {
		s.lock.kek.wipe()
	}
	if s.ring != nil {
		s.ring.wipe()
	}
	if s.sums != nil {
		s.sums.wipe()
	}
	if !resting {
		keepLock(s.file)
		return err
	}
	return errors.Join(err, filelock.Unlock(s.file))
}

// enter registers a call; the caller defers s.active.Done.
func (s *Store) enter() error {
	s.lifeMu.Lock()
	defer s.lifeMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.active.Add(1)
	return nil
}

func (s *Store) point(name string) {
	if s.at != nil {
		s.at(name)
	}
}

// derive computes the keys that follow from the data key.
func (s *Store) derive() {
	s.data = newSealer(s.ring.data)
	s.sums = derived(s.ring.data.b[:], nil, sumDomain)
}

func (s *Store) sealHead(h head) []byte {
	header := recordHeader(VaultID{})
	return s.data.seal(header, h.append(nil), associated(header, keyHead))
}

func (s *Store) unsealHead(sealed []byte) (head, error) {
	b, err := s.unseal(keyHead, sealed)
	if err != nil {
		return head{}, corrupt("head: %w", err)
	}
	if len(b) != headSize {
		return head{}, corrupt("head: %d bytes", len(b))
	}
	return decodeHead(b), nil
}

func idRecord(id [16]byte) []byte {
	sum := sha256.Sum256(id[:])
	return append(id[:], sum[:8]...)
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}
