package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A mailbox keeps sealed files beside envelopes, for whoever holds the key of a box. It
// compares each group with the root that names the file before it keeps it, and charges what is
// there, not what a putter says that there will be: a lie about the size of a file costs
// nothing, and makes another file than the true one.

const (
	mailFileOverhead = 4 << 10 // charged for each file beside its bytes
	mailTreeNode     = 64      // charged for each of its groups: what the tree has of it
	maxFilesOf       = 1 << 12 // in the boxes of one opener
	mailFileRate     = 8 << 20 // bytes a second for one peer
	mailFileBurst    = 64 << 20
	mailFileStalls   = 24 * time.Hour // after which a file goes that is not whole and does not get on
	boxPutStep       = time.Hour      // how exactly it is known when a file was last put into a box
)

// keyBoxFile is the kind of the rows of files: ‖ box ‖ root ‖ length: mailFileRow.
const keyBoxFile = keyOfMailbox + "file/"

// mailFiles is the files of a mailbox. The mutex of the mailbox guards the boxes, their files
// and the bytes.
type mailFiles struct {
	m     *mailboxServer
	quota int64
	share int64 // of one opener
	dir   string
	rates *peerRates
	room  func(dir string, need int64) error // storage.Room
	write func(*os.File, []byte, int64) (int, error)
	apply func(storage.Batch) error

	boxes map[wire.BoxID]*boxFiles
	bytes int64
}

// boxFiles is the files in one box.
type boxFiles struct {
	files map[mailFileName]*mailFile
	bytes int64 // charged
}

// mailFileName names a file in a box. A root fits one length only, and it takes all of a file
// to show which.
type mailFileName struct {
	root   wire.BlobRoot
	length int64
}

// mailFileRow is the durable state of a file.
type mailFileRow struct {
	Path string `cbor:"1,keyasint"` // in the folder
	Put  uint64 `cbor:"2,keyasint"` // when the newest group came: milliseconds since 1970
	Bits []byte `cbor:"3,keyasint"` // the groups that are synced
}

// mailFile is a file in a box.
type mailFile struct {
	mailFileName
	box     wire.BoxID
	path    string // in the folder
	row     mailFileRow
	bits    blob.Bits // the groups that are on the disk, synced or not
	put     uint64
	coming  int64 // charged for what is under way
	unsaved int64

	checking sync.Mutex // held while the disk is compared with the root
	checked  bool
}

func (f *mailFile) whole() bool { return blob.Bits(f.row.Bits).Whole(f.length) }

// seen is the groups that others are told of: of a file that is not known to be durable never
// all.
func (f *mailFile) seen() blob.Bits {
	if f.bits.Whole(f.length) && !f.whole() {
		return f.row.Bits
	}
	return f.bits
}

func (f *mailFile) charge() int64 {
	return mailFileOverhead + bytesIn(f.bits, f.length) + mailTreeNode*int64(f.bits.Count()) + f.coming
}

func (f *mailFile) key() []byte {
	return binary.BigEndian.AppendUint64(append(boxKey(keyBoxFile, f.box), f.root[:]...), uint64(f.length)) //nolint:gosec // not negative
}

// loadMailFiles finds the files of a mailbox; nil: it is to keep none.
func loadMailFiles(m *mailboxServer) (*mailFiles, error) {
	x := &mailFiles{
		m: m, quota: m.cfg.FileQuota, share: m.cfg.FileShare, dir: filepath.Join(m.n.cfg.Home, "mailfiles"), rates: newPeerRates(mailFileRate, mailFileBurst),
		room: storage.Room, write: (*os.File).WriteAt, apply: m.n.apply, boxes: make(map[wire.BoxID]*boxFiles),
	}
	if x.quota == 0 {
		x.quota = defaultFileQuota
	}
	if x.share == 0 {
		x.share = min(defaultFileShare, x.quota)
	}
	if len(m.cfg.Allow) > 0 {
		x.share = x.quota
	}
	found, err := os.ReadDir(x.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	there := make(map[string]bool)
	for _, d := range found {
		there[d.Name()] = true
	}
	var gone []storage.Write
	if err := m.n.store.Scan([]byte(keyBoxFile), func(key, value []byte) error {
		f, err := readMailFile(key[len(keyBoxFile):], value)
		if err != nil {
			return err
		}
		if x.quota < 0 || m.boxes[f.box] == nil || !there[f.path] {
			gone = append(gone, storage.Write{Key: bytes.Clone(key)})
			return nil
		}
		delete(there, f.path)
		x.add(f)
		return nil
	}); err != nil {
		return nil, err
	}
	for some := range slices.Chunk(gone, 1024) {
		if err := m.n.apply(storage.Batch{Writes: some}); err != nil {
			return nil, err
		}
	}
	for name := range there {
		if err := os.Remove(filepath.Join(x.dir, name)); err != nil {
			return nil, err
		}
	}
	if x.quota < 0 {
		return nil, nil //nolint:nilnil // it keeps none
	}
	return x, nil
}

func readMailFile(name, value []byte) (*mailFile, error) {
	f := new(mailFile)
	if len(name) != len(f.box)+len(f.root)+8 {
		return nil, fmt.Errorf("%w: a file of %d bytes in its name", ErrStore, len(name))
	}
	if err := wire.Unmarshal(value, &f.row); err != nil {
		return nil, err
	}
	f.box, f.root = wire.BoxID(name), wire.BlobRoot(name[len(f.box):])
	f.length = int64(min(binary.BigEndian.Uint64(name[len(f.box)+len(f.root):]), math.MaxInt64)) //nolint:gosec // bounded
	if f.length > blob.Length(blob.MaxSize) || !blob.Bits(f.row.Bits).Fits(f.length) {
		return nil, fmt.Errorf("%w: a file of %d bytes", ErrStore, f.length)
	}
	f.path, f.bits, f.put, f.checked = f.row.Path, bytes.Clone(f.row.Bits), f.row.Put, f.whole()
	return f, nil
}

// add takes a file up.
func (x *mailFiles) add(f *mailFile) {
	b := x.boxes[f.box]
	if b == nil {
		b = &boxFiles{files: make(map[mailFileName]*mailFile)}
		x.boxes[f.box] = b
	}
	b.files[f.mailFileName] = f
	b.bytes += f.charge()
	x.bytes += f.charge()
}

// changed changes what a file is charged. It may be out already.
func (x *mailFiles) changed(f *mailFile, how func()) {
	before := f.charge()
	how()
	if x.has(f) {
		x.boxes[f.box].bytes += f.charge() - before
		x.bytes += f.charge() - before
	}
}

func (x *mailFiles) has(f *mailFile) bool {
	b := x.boxes[f.box]
	return b != nil && b.files[f.mailFileName] == f
}

// in says whether there are files in a box.
func (x *mailFiles) in(box wire.BoxID) bool { return x != nil && x.boxes[box] != nil }

// drop deletes a file.
func (x *mailFiles) drop(f *mailFile) error {
	if err := x.apply(storage.Batch{Writes: []storage.Write{{Key: f.key()}}}); err != nil {
		return err
	}
	b := x.boxes[f.box]
	b.bytes -= f.charge()
	x.bytes -= f.charge()
	if delete(b.files, f.mailFileName); len(b.files) == 0 {
		delete(x.boxes, f.box)
	}
	_ = os.Remove(x.path(f)) // if that fails, the next start does it
	return nil
}

func (x *mailFiles) path(f *mailFile) string { return filepath.Join(x.dir, f.path) }

// file gives a file in a box; nil: it is not there.
func (x *mailFiles) file(box wire.BoxID, name mailFileName) *mailFile {
	if b := x.boxes[box]; b != nil {
		return b.files[name]
	}
	return nil
}

// named gives the file in a box that has most of what a root names; nil: none has any.
func (x *mailFiles) named(box wire.BoxID, root wire.BlobRoot) (out *mailFile) {
	b := x.boxes[box]
	if b == nil {
		return nil
	}
	for name, f := range b.files {
		if name.root != root {
			continue
		}
		if out == nil || f.seen().Count() > out.seen().Count() || f.seen().Count() == out.seen().Count() && f.length < out.length {
			out = f
		}
	}
	return out
}

// compare finds out, once in a run, what of a file that is not whole is on the disk: after a
// kill that may be more than was noted.
func (x *mailFiles) compare(f *mailFile) {
	f.checking.Lock()
	defer f.checking.Unlock()
	if f.checked {
		return
	}
	f.checked = true
	disk, err := os.OpenFile(x.path(f), os.O_RDWR, 0)
	if err != nil {
		return // it was dropped just now
	}
	defer disk.Close()
	have := blob.Blob{F: readOnly{disk}, Root: f.root, Length: f.length}.Check()
	x.m.mu.Lock()
	x.changed(f, func() { f.bits = have })
	x.m.mu.Unlock()
	if err := x.note(f, disk); err != nil {
		x.m.n.log.Warn("what came of a file for the mailbox is not noted", "err", err)
	}
}

// look gives the file in a box that a root names, compared with the disk.
func (x *mailFiles) look(box wire.BoxID, root wire.BlobRoot) (f *mailFile, have blob.Bits) {
	x.m.mu.Lock()
	f = x.named(box, root)
	x.m.mu.Unlock()
	if f == nil {
		return nil, nil
	}
	x.compare(f)
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return f, slices.Clone(f.seen())
}

// serve answers one stream.
func (x *mailFiles) serve(ctx context.Context, s network.Stream, at *admission.Slot) error {
	f := newFrames(x.m.n.metrics.files(s))
	defer f.abandon()
	c, err := x.m.admit(f)
	if err != nil {
		return err
	}
	for {
		var ask wire.MailBlobAsk
		if err := f.readWithin(blobIdle, &ask); errors.Is(err, io.EOF) {
			f.close()
			return nil
		} else if err != nil {
			return err
		}
		if x.m.known(c) {
			at.Prove()
		}
		cost := mailRequest
		switch {
		case ask.Get != nil:
			cost += int(ask.Get.Groups) * blob.GroupSize //nolint:gosec // bounded by its decoder
		case ask.Put != nil:
			cost += int(ask.Put.Groups) * blob.GroupSize //nolint:gosec // bounded by its decoder
		}
		if err := x.rates.of(c.peer).WaitN(ctx, cost); err != nil {
			return err
		}
		switch {
		case len(ask.Have) > 0:
			var out wire.MailBlobAnswer
			for _, root := range ask.Have {
				held := wire.BlobHeld{}
				if f, have := x.look(c.box, root); f != nil {
					held = wire.BlobHeld{Length: uint64(f.length), Bits: have} //nolint:gosec // not negative
				}
				out.Have = append(out.Have, held)
			}
			err = f.write(out)
		case ask.Get != nil:
			err = x.give(c, f, ask.Get)
		case ask.Put != nil:
			err = x.take(c, f, ask.Put)
		default:
			err = fmt.Errorf("%w: a part of no file", errProtocol)
		}
		if err != nil {
			return err
		}
	}
}

// known notes that a peer holds the key of a box, and says whether the box is here.
func (m *mailboxServer) known(c *mailCaller) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes[c.box] == nil {
		return false
	}
	m.customers.Add(c.peer, struct{}{})
	return true
}

// give answers a Get.
func (x *mailFiles) give(c *mailCaller, f *frames, get *wire.BlobGet) error {
	no := wire.MailBlobAnswer{No: new(wire.BlobNo)}
	file, have := x.look(c.box, get.Root)
	if file == nil {
		return f.write(no)
	}
	b := blob.Blob{Root: file.root, Length: file.length}
	from, groups := int(get.From), int(get.Groups) //nolint:gosec // bounded by its decoder
	if !b.Has(from, groups) {
		return f.write(no)
	}
	for i := range groups {
		if !have.Has(from + i) {
			return f.write(no)
		}
	}
	disk, err := os.Open(x.path(file))
	if err != nil {
		return f.write(no) // it was dropped just now
	}
	defer disk.Close()
	b.F = readOnly{disk}
	w := &partWriterTo{write: func(part []byte) error { return f.write(wire.MailBlobAnswer{Part: part}) }}
	if err := b.Slice(w, from, groups); err != nil {
		return err
	}
	return w.flush()
}

// take answers a Put, and keeps what follows it.
func (x *mailFiles) take(c *mailCaller, f *frames, put *wire.MailBlobPut) error {
	b := blob.Blob{Root: put.Root, Length: int64(min(put.Length, math.MaxInt64))} //nolint:gosec // bounded
	from, groups := int(put.From), int(put.Groups)                                //nolint:gosec // bounded by its decoder
	if b.Length > blob.Length(blob.MaxSize) || !b.Has(from, groups) {
		return fmt.Errorf("%w: %d groups from %d of a file of %d bytes", errProtocol, groups, from, b.Length)
	}
	file, need, code, err := x.begin(x.m.n.clock.kept(), c, b, from, groups)
	if err != nil {
		return err
	}
	if code != wire.MailDone {
		x.m.n.metrics.MailRefused.Add(1)
		return f.write(x.taken(code))
	}
	parts := &mailPartReader{f: f}
	var got []int
	took, err := func() (bool, error) {
		disk, err := os.OpenFile(x.path(file), os.O_RDWR, 0)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errDisk, err) // or it was dropped just now
		}
		defer disk.Close()
		if err := f.write(x.taken(wire.MailDone)); err != nil {
			return true, err
		}
		b.F = diskFile{disk, x.write}
		err = b.Take(parts, from, groups, func(i int) { got = append(got, i) })
		if err == nil && len(parts.rest) > 0 {
			err = fmt.Errorf("%w: more than was said", errProtocol)
		}
		return true, errors.Join(err, x.save(file, disk, got))
	}()
	left, ended := x.end(file, need)
	err = errors.Join(err, ended)
	switch {
	case !took && err != nil, errors.Is(err, errDisk), errors.Is(err, storage.ErrNoSpace):
		x.m.n.log.Warn("the disk does not take a file for the mailbox", "err", err)
		if took { // what is under way has to be read before the answer is
			if _, err := io.CopyN(io.Discard, parts, b.SliceSize(from, groups)-parts.read); err != nil {
				return noEOF(err)
			}
		}
		code = wire.MailFull
	case err != nil:
		if errors.Is(err, blob.ErrWrong) || errors.Is(err, blob.ErrSize) {
			x.m.n.metrics.MailRefused.Add(1)
			x.m.n.log.Debug("a file for the mailbox is not what its name says", "peer", c.peer, "err", err)
		}
		return noEOF(err)
	case !left:
		code = wire.MailFull // it made room for others meanwhile
	}
	return f.write(x.taken(code))
}

func (x *mailFiles) taken(code wire.MailCode) wire.MailBlobAnswer {
	return wire.MailBlobAnswer{Taken: &wire.MailBlobTaken{Code: code, Most: uint64(x.share)}} //nolint:gosec // not negative
}

// mailPartReader reads a slice out of its parts.
type mailPartReader struct {
	f    *frames
	rest []byte
	read int64
}

func (r *mailPartReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		var ask wire.MailBlobAsk
		if err := r.f.read(&ask); err != nil {
			return 0, err
		}
		if len(ask.Part) == 0 {
			return 0, fmt.Errorf("%w: not a part of a file", errProtocol)
		}
		r.rest = ask.Part
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read += int64(n)
	return n, nil
}

// begin makes room for groups of a file, and charges it: need says how much.
func (x *mailFiles) begin(now time.Time, c *mailCaller, b blob.Blob, from, groups int) (f *mailFile, need int64, code wire.MailCode, err error) {
	name := mailFileName{b.Root, b.Length}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if f = x.file(c.box, name); f != nil {
		x.m.mu.Unlock()
		x.compare(f)
		x.m.mu.Lock()
		f = x.file(c.box, name)
	}
	box, code := x.m.open(c)
	if code != wire.MailDone {
		return nil, 0, code, nil
	}
	adopted := x.m.adopt(c, box)
	account := func(id wire.BoxID) *mailBoxRow {
		if id == c.box {
			return box
		}
		return x.m.boxes[id]
	}
	has, count := int64(0), 0
	for id, in := range x.boxes {
		if string(account(id).Opener) == string(box.Opener) {
			has, count = has+in.bytes, count+len(in.files)
		}
	}
	all := mailFileOverhead + b.Length + mailTreeNode*int64(blob.Groups(b.Length))
	left := all
	if f == nil {
		need, count = mailFileOverhead, count+1
	} else {
		left -= f.charge()
	}
	for i := from; i < from+groups; i++ {
		if f == nil || !f.bits.Has(i) {
			need += min(blob.GroupSize, b.Length-int64(i)*blob.GroupSize) + mailTreeNode
		}
	}
	switch {
	case all > x.share:
		return nil, 0, wire.MailLarge, nil
	case has+left > x.share, count > maxFilesOf:
		return nil, 0, wire.MailFull, nil
	}
	if ok, err := x.makeRoom(box, account, f, need); err != nil || !ok {
		return nil, 0, wire.MailFull, err
	}
	if err := x.room(filepath.Dir(x.dir), need); errors.Is(err, storage.ErrNoSpace) {
		x.m.n.log.Warn("the disk does not take a file for the mailbox", "err", err)
		return nil, 0, wire.MailFull, nil
	} else if err != nil {
		return nil, 0, 0, err
	}
	if code, err := x.keepBox(now, c, box, adopted); err != nil || code != wire.MailDone {
		return nil, 0, code, err
	}
	if f == nil {
		if f, err = x.create(c.box, name, milliseconds(now)); errors.Is(err, storage.ErrNoSpace) {
			return nil, 0, wire.MailFull, nil
		} else if err != nil {
			return nil, 0, 0, err
		}
		need -= mailFileOverhead
	}
	x.changed(f, func() { f.coming += need })
	return f, need, wire.MailDone, nil
}

// makeRoom has those who have most give way to so much more of a file, the oldest of theirs
// first, and says whether there is room then.
func (x *mailFiles) makeRoom(box *mailBoxRow, row func(wire.BoxID) *mailBoxRow, own *mailFile, need int64) (bool, error) {
	for {
		vouched := int64(0)
		for id, in := range x.boxes {
			if len(row(id).Voucher) > 0 {
				vouched += in.bytes
			}
		}
		vouchedAlone := x.bytes+need <= x.quota
		if vouchedAlone && (len(box.Voucher) == 0 || vouched+need <= x.quota/2) {
			return true, nil
		}
		victim, ok := makesRoom(box.account(), need, func(fn func(account, int64)) {
			for id, in := range x.boxes {
				if b := row(id); !vouchedAlone || len(b.Voucher) > 0 {
					fn(b.account(), in.bytes)
				}
			}
		})
		if !ok {
			return false, nil
		}
		var oldest *mailFile
		for id, in := range x.boxes {
			if row(id).account() != victim {
				continue
			}
			for _, f := range in.files {
				if f != own && (oldest == nil || f.put < oldest.put || f.put == oldest.put && f.path < oldest.path) {
					oldest = f
				}
			}
		}
		if oldest == nil {
			return false, nil
		}
		if err := x.drop(oldest); err != nil {
			return false, err
		}
	}
}

// keepBox makes durable that a box is there, whose it is, and that something was put into it.
func (x *mailFiles) keepBox(now time.Time, c *mailCaller, box *mailBoxRow, adopted bool) (wire.MailCode, error) {
	was := x.m.boxes[c.box]
	if was != nil && !adopted && box.Put+uint64(boxPutStep.Milliseconds()) > milliseconds(now) { //nolint:gosec // positive
		return wire.MailDone, nil
	}
	others := x.m.newEviction(c.box)
	if was == nil {
		if ok, err := others.room(box, mailOverhead); err != nil || !ok {
			return wire.MailFull, err
		}
	}
	box.Put = max(box.Put, milliseconds(now))
	if err := x.apply(storage.Batch{Writes: append(others.all(), storage.Write{Key: boxKey(keyBox, c.box), Value: wire.Marshal(box)})}); errors.Is(err, storage.ErrNoSpace) {
		return wire.MailFull, nil
	} else if err != nil {
		return 0, err
	}
	others.done()
	if was != nil {
		x.m.count(was, -1)
	}
	x.m.boxes[c.box] = box
	x.m.count(box, 1)
	return wire.MailDone, nil
}

// create makes a file of which nothing is there yet.
func (x *mailFiles) create(box wire.BoxID, name mailFileName, now uint64) (*mailFile, error) {
	disk, path, err := createIn(x.dir)
	if err == nil {
		err = errors.Join(disk.Close(), syncFolder(x.dir))
	}
	f := &mailFile{mailFileName: name, box: box, path: path, row: mailFileRow{path, now, blob.NewBits(name.length)}, bits: blob.NewBits(name.length), put: now, checked: true}
	if err == nil {
		err = x.apply(storage.Batch{Writes: []storage.Write{{Key: f.key(), Value: wire.Marshal(&f.row)}}})
	}
	if err != nil {
		if path != "" {
			_ = os.Remove(x.path(f))
		}
		return nil, diskError(err)
	}
	x.add(f)
	return f, nil
}

// save notes groups that came, and makes them durable if they are many or the last.
func (x *mailFiles) save(f *mailFile, disk *os.File, got []int) error {
	x.m.mu.Lock()
	x.changed(f, func() {
		for _, i := range got {
			if !f.bits.Has(i) {
				f.bits.Set(i)
				f.unsaved += blob.GroupSize
				f.put = max(f.put, milliseconds(x.m.n.clock.kept()))
			}
		}
	})
	due := f.unsaved >= fetchSync || f.bits.Whole(f.length) && !f.whole()
	x.m.mu.Unlock()
	if !due {
		return nil
	}
	return x.note(f, disk)
}

// note makes durable what is here of a file.
func (x *mailFiles) note(f *mailFile, disk *os.File) error {
	x.m.mu.Lock()
	bits := slices.Clone(f.bits)
	x.m.mu.Unlock()
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errDisk, diskError(err))
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if !x.has(f) {
		return nil
	}
	row := mailFileRow{f.path, f.put, bits}
	if err := x.apply(storage.Batch{Writes: []storage.Write{{Key: f.key(), Value: wire.Marshal(&row)}}}); err != nil {
		return err
	}
	f.row, f.unsaved = row, 0
	return nil
}

// end takes back what was charged for groups under way, and says whether the file is still
// there. One of which nothing came is not kept.
func (x *mailFiles) end(f *mailFile, need int64) (bool, error) {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	x.changed(f, func() { f.coming -= need })
	if !x.has(f) {
		return false, nil
	}
	if f.bits.Count() == 0 && f.coming == 0 {
		return false, x.drop(f)
	}
	return true, nil
}

// sweep deletes files that are older than the lifetime, and those that are not whole and do
// not get on.
func (x *mailFiles) sweep(now time.Time) error {
	if x == nil {
		return nil
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	var old []*mailFile
	for _, in := range x.boxes {
		for _, f := range in.files {
			f.put = min(f.put, milliseconds(now))        // the clock was ahead
			age := now.Sub(time.UnixMilli(int64(f.put))) //nolint:gosec // not after now
			if age >= x.m.cfg.Lifetime || !f.whole() && age >= mailFileStalls {
				old = append(old, f)
			}
		}
	}
	for _, f := range old {
		if err := x.drop(f); err != nil {
			return err
		}
	}
	return nil
}
