package node

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A blob lies in the folder files of the home, below a random name, sealed as it travels. Its
// key is in a row, and in the message that names it. Rows of a file come in the transaction
// that makes the first message which names it readable here, and go in the one that erases
// the last: then nothing on the disk opens the blob, and its bytes are removed after. A crash
// in between leaves a blob without a row, which the next start removes.
//
// Which groups of a blob are here is a row, too, written once they are synced. So a crash
// loses at most what came since the last row, and even that is found again, by its hashes.

// Rows of files. A file is named by content.File.ID.
const (
	keyFile     = "n/file/"     // ‖ ID: fileRow
	keyFileBits = "n/filebits/" // ‖ ID: the groups that are here
	keyFileUse  = "n/fileuse/"  // ‖ ID ‖ group ‖ message: the message names it
)

// fileRow is a file that a message names.
type fileRow struct {
	Root    wire.BlobRoot `cbor:"1,keyasint"`
	Size    uint64        `cbor:"2,keyasint"`
	Key     []byte        `cbor:"3,keyasint"`
	Hash    []byte        `cbor:"4,keyasint"`
	Name    string        `cbor:"5,keyasint"` // as the first message said
	Type    string        `cbor:"6,keyasint"`
	Path    string        `cbor:"7,keyasint"` // in the folder; empty: nothing of it is here
	Own     bool          `cbor:"8,keyasint"` // it was sent from here, and stays
	Want    bool          `cbor:"9,keyasint"`
	Pinned  bool          `cbor:"10,keyasint"`
	Used    uint64        `cbor:"11,keyasint"` // milliseconds since 1970
	Fault   string        `cbor:"12,keyasint"` // why it can never be opened; empty: as far as is known it can
	Created uint64        `cbor:"13,keyasint"` // when its first message came: milliseconds since 1970
}

// fileUse is a message that names a file.
type fileUse struct {
	group   wire.GroupID
	message wire.MessageID
}

// fileOf is a file as this device has it. All but id and length is the table's to change.
type fileOf struct {
	id     wire.Hash
	length int64
	row    fileRow
	bits   blob.Bits
	uses   map[fileUse]bool

	checked bool   // in this run the groups on the disk were compared with their hashes
	busy    int    // fetched or read now: it is not given up to make room
	why     string // it is wanted and does not come: why
	again   time.Time
	tries   int
	bad     map[string]int // peers that served wrong bytes: how often
	fetched int64          // bytes, in this run
}

func (f *fileOf) file() content.File {
	out := content.File{Root: f.row.Root, Size: int64(f.row.Size), Name: f.row.Name, Type: f.row.Type} //nolint:gosec // checked
	copy(out.Key[:], f.row.Key)
	copy(out.Hash[:], f.row.Hash)
	return out
}

func (f *fileOf) whole() bool { return f.row.Path != "" && f.bits.Whole(f.length) }

// FilesConfig bounds what a node keeps of files. Zero values are defaults.
type FilesConfig struct {
	Quota int64 // bytes of all files; 0: 4 GiB
	Max   int64 // bytes of a file that is sent; 0: 100 MiB; at most 4 GiB
	Auto  int64 // files of others of up to so many bytes are fetched unasked; 0: 1 MiB; negative: none
}

func (c FilesConfig) withDefaults() FilesConfig {
	set := func(v *int64, otherwise int64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	set(&c.Quota, 4<<30)
	set(&c.Max, 100<<20)
	set(&c.Auto, 1<<20)
	c.Max = min(c.Max, blob.MaxSize)
	return c
}

var (
	errNoFile = errors.New("there is no such file here")
	errQuota  = errors.New("the files here take as much room as they may")
)

// fileTable is the files of a node.
type fileTable struct {
	cfg     FilesConfig
	dir     string
	store   *storage.Store
	apply   func(storage.Batch) error
	now     func() time.Time
	tell    func(id wire.Hash, use fileUse, kind group.EventKind, what string) // something happened to a file
	room    func(dir string, need int64) error                                 // storage.Room
	write   func(f *os.File, p []byte, off int64) (int, error)
	changed signal

	mu      sync.Mutex
	all     map[wire.Hash]*fileOf
	named   map[fileUse][]wire.Hash
	staged  map[wire.Hash]*stagedFile
	sealing int64 // bytes on the disk of those that are being staged, whole
}

// stagedFile is a sealed file that no message names yet.
type stagedFile struct {
	file content.File
	path string
	at   time.Time
}

// stagedFor is how long a file waits for its message.
const stagedFor = 24 * time.Hour

// loadFiles reads the files of a home. Files of groups that are not here any more go.
func loadFiles(cfg FilesConfig, home string, s *storage.Store, apply func(storage.Batch) error, now func() time.Time) (*fileTable, error) {
	t := &fileTable{
		cfg: cfg.withDefaults(), dir: filepath.Join(home, "files"), store: s, apply: apply, now: now, tell: func(wire.Hash, fileUse, group.EventKind, string) {},
		room: storage.Room, write: (*os.File).WriteAt,
		all: map[wire.Hash]*fileOf{}, named: map[fileUse][]wire.Hash{}, staged: map[wire.Hash]*stagedFile{},
	}
	if err := s.Scan([]byte(keyFile), func(key, value []byte) error {
		f := &fileOf{id: wire.Hash(key[len(keyFile):]), uses: map[fileUse]bool{}}
		if err := wire.Unmarshal(value, &f.row); err != nil {
			return err
		}
		f.length = blob.Length(int64(f.row.Size)) //nolint:gosec // checked when it was written
		f.bits = blob.NewBits(f.length)
		t.all[f.id] = f
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading the files: %w", err)
	}
	if err := s.Scan([]byte(keyFileBits), func(key, value []byte) error {
		if f := t.all[wire.Hash(key[len(keyFileBits):])]; f != nil && blob.Bits(value).Fits(f.length) {
			f.bits = bytes.Clone(value)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading the files: %w", err)
	}
	if err := s.ScanKeys([]byte(keyFileUse), func(key []byte) error {
		rest := key[len(keyFileUse):]
		id, use := wire.Hash(rest[:32]), fileUse{wire.GroupID(rest[32:64]), wire.MessageID(rest[64:])}
		if f := t.all[id]; f != nil {
			f.uses[use] = true
			t.named[use] = append(t.named[use], id)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading the files: %w", err)
	}
	return t, errors.Join(t.compare(), t.forgetAbsent())
}

// compare makes the table fit to the folder: blobs without a row go, and of a file whose
// blob is not there nothing is here, as after a backup was restored.
func (t *fileTable) compare() error {
	found, err := os.ReadDir(t.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the files: %w", err)
	}
	paths := map[string]*fileOf{}
	for _, f := range t.all {
		if f.row.Path != "" {
			paths[f.row.Path] = f
		}
	}
	for _, d := range found {
		if paths[d.Name()] == nil {
			if err := os.Remove(filepath.Join(t.dir, d.Name())); err != nil {
				return fmt.Errorf("removing what a crash left of a file: %w", err)
			}
		}
		delete(paths, d.Name())
	}
	for _, f := range paths {
		row := f.row
		row.Path, row.Own = "", false
		if err := t.put(f, row, nil); err != nil {
			return err
		}
	}
	return nil
}

// forgetAbsent drops the files that only groups name which are not here.
func (t *fileTable) forgetAbsent() error {
	gone := map[wire.GroupID]bool{}
	for use := range t.named {
		var row groupRow
		found, err := getRow(t.store, keyGroups+string(use.group[:]), &row)
		if err != nil {
			return err
		}
		gone[use.group] = !found || row.Forgotten
	}
	for id, is := range gone {
		if is {
			if err := t.forget(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// put writes another row of a file, and with nil bits that nothing of it is here. The caller
// holds mu, or is alone.
func (t *fileTable) put(f *fileOf, row fileRow, bits blob.Bits) error {
	w := storage.Write{Key: append([]byte(keyFileBits), f.id[:]...)}
	if bits != nil {
		w.Value = bits
	}
	value := wire.Marshal(&row)
	defer clear(value)
	if err := t.apply(storage.Batch{Writes: []storage.Write{{Key: append([]byte(keyFile), f.id[:]...), Value: value}, w}}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	f.row = row
	if f.bits = bits; bits == nil {
		f.bits = blob.NewBits(f.length)
	}
	return nil
}

// change changes the row of a file.
func (t *fileTable) change(id wire.Hash, how func(*fileOf, *fileRow)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.all[id]
	if f == nil {
		return errNoFile
	}
	row := f.row
	how(f, &row)
	defer t.changed.wake()
	return t.put(f, row, f.bits)
}

func (t *fileTable) path(name string) string { return filepath.Join(t.dir, name) }

// create makes an empty file in the folder.
func (t *fileTable) create() (*os.File, string, error) { return createIn(t.dir) }

// createIn makes an empty file of a random name in a folder, which it makes if need be.
func createIn(dir string) (*os.File, string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("making the folder of files: %w", err)
	}
	var name [16]byte
	_, _ = rand.Read(name[:])
	text := hex.EncodeToString(name[:])
	f, err := os.OpenFile(filepath.Join(dir, text), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	return f, text, err
}

// discard removes a blob that no row names any more. If that fails, the next start does it.
func (t *fileTable) discard(path string) {
	if path != "" {
		_ = os.Remove(t.path(path))
	}
}

// makeRoom gives up files of others, the least recently used first, until so many bytes fit.
// Own files, pinned ones and those in use stay. Errors: errQuota; storage.ErrNoSpace. The
// caller holds mu.
func (t *fileTable) makeRoom(need int64) error {
	taken := t.sealing
	var others []*fileOf
	for _, f := range t.all {
		if f.row.Path == "" {
			continue
		}
		taken += blob.Room(f.length)
		if !f.row.Own && !f.row.Pinned && f.busy == 0 {
			others = append(others, f)
		}
	}
	for _, s := range t.staged {
		taken += blob.Room(blob.Length(s.file.Size))
	}
	slices.SortFunc(others, func(a, b *fileOf) int {
		if a.row.Used != b.row.Used {
			return int(min(max(int64(a.row.Used)-int64(b.row.Used), -1), 1)) //nolint:gosec // times
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	reclaim := int64(0)
	for _, f := range others {
		reclaim += blob.Room(f.length)
	}
	if taken-reclaim+need > t.cfg.Quota {
		return fmt.Errorf("%w: %d of %d bytes (files.quota), and %d more are needed; files sent from here and pinned ones stay", errQuota, taken-reclaim, t.cfg.Quota, need)
	}
	for _, f := range others {
		if taken+need <= t.cfg.Quota {
			break
		}
		if err := t.giveUp(f); err != nil {
			return err
		}
		taken -= blob.Room(f.length)
	}
	return t.room(t.dirThere(), need)
}

// dirThere is the folder, or the home if there is none yet.
func (t *fileTable) dirThere() string {
	if _, err := os.Stat(t.dir); err != nil {
		return filepath.Dir(t.dir)
	}
	return t.dir
}

// giveUp drops the bytes of a file, which can be fetched again. The caller holds mu.
func (t *fileTable) giveUp(f *fileOf) error {
	row := f.row
	path := row.Path
	row.Path, row.Want, row.Own = "", false, false
	if err := t.put(f, row, nil); err != nil {
		return err
	}
	t.discard(path)
	return nil
}

// forget drops that messages of a group name files.
func (t *fileTable) forget(id wire.GroupID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var c fileChanges
	for use := range t.named {
		if use.group == id {
			t.drop(&c, use)
		}
	}
	if len(c.writes) > 0 {
		if err := t.apply(storage.Batch{Writes: c.writes}); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	c.carryOut()
	return nil
}

// fileChanges is what a transaction changes about files.
type fileChanges struct {
	writes []storage.Write
	then   []func()          // once the writes are durable
	uses   map[wire.Hash]int // messages that name a file, with what this transaction changes
}

// count counts the messages that name a file up or down, and gives how many there are then.
func (c *fileChanges) count(f *fileOf, by int) int {
	if c.uses == nil {
		c.uses = map[wire.Hash]int{}
	}
	if _, ok := c.uses[f.id]; !ok {
		c.uses[f.id] = len(f.uses)
	}
	c.uses[f.id] += by
	return c.uses[f.id]
}

func (c *fileChanges) carryOut() {
	for _, f := range c.then {
		f()
	}
}

func useKey(id wire.Hash, use fileUse) []byte {
	return slices.Concat([]byte(keyFileUse), id[:], use.group[:], use.message[:])
}

// drop drops that a message names files, and files that no other names. The caller holds mu.
func (t *fileTable) drop(c *fileChanges, use fileUse) {
	for _, id := range t.named[use] {
		f := t.all[id]
		c.writes = append(c.writes, storage.Write{Key: useKey(id, use)})
		if c.count(f, -1) > 0 {
			c.then = append(c.then, func() { delete(f.uses, use) })
			continue
		}
		c.writes = append(c.writes, storage.Write{Key: append([]byte(keyFile), id[:]...)}, storage.Write{Key: append([]byte(keyFileBits), id[:]...)})
		c.then = append(c.then, func() {
			delete(t.all, id)
			clear(f.row.Key)
			f.uses = nil
			t.discard(f.row.Path)
		})
	}
	c.then = append(c.then, func() { delete(t.named, use); t.changed.wake() })
}

// plainRow is the kind of the rows of a group that hold messages: see node/group.
const plainRow = "plain/"

// begin says what a transaction of a group changes about files: messages that become
// readable name some, and those that are erased do no more. It has the table to itself until
// end is called, with whether the transaction is durable.
func (t *fileTable) begin(writes []storage.Write) (more []storage.Write, end func(done bool)) {
	none := func(bool) {}
	if t == nil {
		return nil, none
	}
	var came, erased []fileUse
	texts := map[fileUse][]byte{}
	for _, w := range writes {
		id, rest, ok := splitKey(w.Key)
		text, plain := strings.CutPrefix(rest, plainRow)
		if !ok || !plain || w.Value != nil && !bytes.Contains(w.Value, []byte("panda-blob:")) {
			continue
		}
		message, err := hex.DecodeString(text)
		if err != nil || len(message) != len(wire.MessageID{}) {
			continue
		}
		use := fileUse{id, wire.MessageID(message)}
		if w.Value == nil {
			erased = append(erased, use)
		} else {
			came, texts[use] = append(came, use), w.Value
		}
	}
	if len(came)+len(erased) == 0 {
		return nil, none
	}
	var c fileChanges
	t.mu.Lock()
	for _, use := range came {
		for _, f := range content.FilesIn(texts[use]) {
			t.add(&c, use, f)
		}
	}
	for _, use := range erased {
		t.drop(&c, use)
	}
	return c.writes, func(done bool) {
		defer t.mu.Unlock()
		if done {
			c.carryOut()
		}
	}
}

// add notes that a message names a file. The caller holds mu.
func (t *fileTable) add(c *fileChanges, use fileUse, named content.File) {
	id := named.ID()
	f := t.all[id]
	if f != nil && f.uses[use] {
		return
	}
	c.writes = append(c.writes, storage.Write{Key: useKey(id, use), Value: []byte{1}})
	if f != nil {
		c.count(f, 1)
	} else {
		now := uint64(t.now().UnixMilli()) //nolint:gosec // after 1970
		f = &fileOf{id: id, length: blob.Length(named.Size), uses: map[fileUse]bool{}, row: fileRow{
			Root: named.Root, Size: uint64(named.Size), Key: named.Key[:], Hash: named.Hash[:], Name: named.Name, Type: named.Type, //nolint:gosec // not negative
			Want: named.Size <= t.cfg.Auto, Used: now, Created: now,
		}}
		f.bits = blob.NewBits(f.length)
		if s := t.staged[id]; s != nil {
			f.row.Path, f.row.Own, f.row.Want, f.checked = s.path, true, false, true
			f.bits = blob.All(f.length)
			c.writes = append(c.writes, storage.Write{Key: append([]byte(keyFileBits), id[:]...), Value: f.bits})
		}
		c.writes = append(c.writes, storage.Write{Key: append([]byte(keyFile), id[:]...), Value: wire.Marshal(&f.row)})
	}
	c.then = append(c.then, func() {
		if have := t.all[id]; have != nil { // twice in one transaction
			f = have
		}
		t.all[id] = f
		f.uses[use] = true
		if !slices.Contains(t.named[use], id) {
			t.named[use] = append(t.named[use], id)
		}
		delete(t.staged, id)
		t.changed.wake()
	})
}

// names says whether a message of a group names a blob that is here in parts at least, and
// gives it.
func (t *fileTable) names(id wire.GroupID, root wire.BlobRoot) (b heldBlob, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.all {
		if f.row.Root != root || f.row.Path == "" || f.row.Fault != "" {
			continue
		}
		for use := range f.uses {
			if use.group == id && (!ok || f.bits.Count() > b.bits.Count()) {
				b, ok = heldBlob{f.row.Root, f.length, f.row.Path, slices.Clone(f.bits)}, true
			}
		}
	}
	return b, ok
}

// heldBlob is a blob that is here, or parts of it.
type heldBlob struct {
	root   wire.BlobRoot
	length int64
	path   string
	bits   blob.Bits
}
