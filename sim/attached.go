package sim

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// A file travels beside the log, as in package node: a message names it and holds its key. A
// device that can read the message wants the file, and takes pieces of it from members that are
// connected and have some, and from the group's mailboxes. A file goes with its message.
// Here a file has no bytes: only which pieces are where.

const (
	pieceSize    = 64 << 10 // a group of the tree of package node/blob
	maxPieces    = 256      // of a file: 16 MiB
	piecesAtOnce = 24       // that a device takes before it rests
	fetchAgain   = 2 * time.Second
	fetchSeldom  = 5 * time.Minute
	fetchFrom    = 3 // members, of one file in one turn
)

// attached is a file of a message.
type attached struct {
	key    [32]byte
	pieces int
}

// pieces says of each piece of a file whether it is here.
type pieces []bool

func (p pieces) count() (n int) {
	for _, has := range p {
		if has {
			n++
		}
	}
	return n
}

func (p pieces) whole() bool { return p.count() == len(p) }

// take copies at most so many pieces that o has and p lacks, and says how many it were.
func (p pieces) take(o pieces, most int) (n int) {
	for i := range p {
		if n < most && !p[i] && i < len(o) && o[i] {
			p[i] = true
			n++
		}
	}
	return n
}

// heldFile is a file of a message as a device has it.
type heldFile struct {
	root  wire.BlobRoot
	has   pieces
	tries int // in vain, in a row
}

func checkPieces(a Action) error {
	text, ok := a.opt("file")
	if n, err := strconv.Atoi(text); ok && (err != nil || n < 1 || n > maxPieces) {
		return fmt.Errorf("file=%s: a file has 1 to %d pieces of 64 KiB", text, maxPieces)
	}
	return nil
}

// fileSize is how many bytes the file that an action sends has; 0: it sends none.
func (a Action) fileSize() int64 {
	text, _ := a.opt("file")
	n, _ := strconv.Atoi(text) // see checkPieces
	return int64(n) * pieceSize
}

// attach makes the file that an action sends; nil: none.
func (s *seat) attach(a Action) *content.File {
	size := a.fileSize()
	if size == 0 {
		return nil
	}
	f := &content.File{Size: size, Name: "f.bin", Type: "application/octet-stream"}
	_, _ = s.n.chance.Read(f.Root[:])
	_, _ = s.n.chance.Read(f.Key[:])
	_, _ = s.n.chance.Read(f.Hash[:])
	s.staged = f
	return f
}

// watchFiles does with a Ready what package node does with files: a message that becomes
// readable names some, and one that is erased names none any more.
func (s *seat) watchFiles(r group.Ready) {
	for _, w := range r.Writes {
		row, rest, _ := cutKey(w.Key)
		if row != "plain" {
			continue
		}
		if w.Value != nil {
			s.wantFiles(rest, w.Value)
		} else if _, ok := s.files[rest]; ok {
			delete(s.files, rest)
			s.filesGone++
		}
	}
}

// wantFiles notes the file that a message names.
func (s *seat) wantFiles(id string, opened []byte) {
	if s.files[id] != nil || !bytes.Contains(opened, []byte("panda-blob:")) {
		return
	}
	for _, f := range content.FilesIn(opened) {
		h := &heldFile{root: f.Root, has: make(pieces, f.Size/pieceSize)}
		s.files[id] = h
		s.w().hist.files[id] = attached{key: f.Key, pieces: len(h.has)}
		if s.staged != nil && s.staged.Root == f.Root {
			for i := range h.has {
				h.has[i] = true
			}
			continue
		}
		s.w().after(fetchAgain, func() { s.fetch(id, h) })
	}
}

// refind begins to remember anew which files there are, by what the disk says: it is another
// one, and backups hold no files.
func (s *seat) refind() {
	s.files = map[string]*heldFile{}
	for _, key := range s.disk.under("plain/") {
		if b, err := s.disk.Get(key); err == nil {
			s.wantFiles(key[len("plain/"):], b)
		}
	}
}

// fetch takes pieces of a file that is wanted, until it is whole or wanted no more.
func (s *seat) fetch(id string, h *heldFile) {
	if s.files[id] != h || h.has.whole() || s.n.hostile {
		return
	}
	if s.take(id, h) > 0 {
		h.tries = 0
	}
	if h.has.whole() {
		return
	}
	pause := min(fetchAgain<<min(h.tries, 10), fetchSeldom)
	h.tries++
	s.w().after(pause, func() { s.fetch(id, h) })
}

// take asks members, and then mailboxes for what is missing still.
func (s *seat) take(id string, h *heldFile) (got int) {
	if s.m == nil {
		return 0
	}
	var from []pieces
	for _, o := range s.g.seats {
		if f := o.files[id]; f != nil && f.has.count() > 0 && o.serves(s) {
			from = append(from, f.has)
		}
	}
	s.w().chance.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	from = from[:min(len(from), fetchFrom)]
	for _, p := range s.m.Mail().Mailboxes() {
		on := s.w().boxOn(p)
		if on == nil || on == s.n || !on.up || on.lost || !s.w().net.connected(s.n, on) {
			continue
		}
		for _, b := range s.m.Mail().Boxes(p.Peer) {
			if kept := on.piecesIn(s.w().now, b.ID, h.root); kept > 0 {
				all := make(pieces, kept)
				for i := range all {
					all[i] = true
				}
				from = append(from, all)
			}
		}
	}
	for _, p := range from {
		got += h.has.take(p, piecesAtOnce-got)
	}
	return got
}

// serves says whether a device gives files to another one: that proves by a key of the group
// that it is a member now, by this device's branch or another.
func (s *seat) serves(to *seat) bool {
	if s == to || s.m == nil || to.m == nil || s.n.hostile || !s.w().net.connected(s.n, to.n) || twins(s.n, to.n) || !to.has(s.n) {
		return false
	}
	switch s.m.Standing(to.n.dev.ID) {
	case group.Current:
		return true
	case group.Stranger:
		key, ok := to.m.Transport().Key()
		return ok && s.m.Transport().Vouches(key)
	default:
		return false
	}
}

// mailFile is a file in a box of a mailbox: whole, since a box takes no part of one for ever.
type mailFile struct {
	came   time.Time
	pieces int
}

// piecesIn is how many pieces of a file are in a box; 0: it is not there.
func (n *cnode) piecesIn(now time.Time, box wire.BoxID, root wire.BlobRoot) int {
	f, ok := n.boxFiles[box][root]
	if !ok || now.Sub(f.came) > mailKeeps {
		return 0
	}
	return f.pieces
}

// mailFiles puts the own files of a device into the newest box of a mailbox, while a member's
// device is not connected.
func (m *mailing) mailFiles(s *seat, on *cnode, newest group.Box) {
	if len(s.files) == 0 || s.allThere() {
		return
	}
	for _, id := range sortedKeys(s.files) {
		h, a := s.files[id], s.w().hist.byHex[id]
		if a == nil || a.Seat != s || !h.has.whole() || m.files[id] {
			continue
		}
		if m.files == nil {
			m.files = map[string]bool{}
		}
		m.files[id] = true
		if on.boxFiles == nil {
			on.boxFiles = map[wire.BoxID]map[wire.BlobRoot]mailFile{}
		}
		if on.boxFiles[newest.ID] == nil {
			on.boxFiles[newest.ID] = map[wire.BlobRoot]mailFile{}
		}
		on.boxFiles[newest.ID][h.root] = mailFile{s.w().now, len(h.has)}
		s.w().hist.mailedFiles++
	}
}

// allThere says whether all devices of the members are connected to this one.
func (s *seat) allThere() bool {
	return !slices.ContainsFunc(s.g.seats, func(o *seat) bool { return o != s && s.has(o.n) && !s.w().net.connected(s.n, o.n) })
}

// fileView is a file of a message on a device.
type fileView struct {
	Has, Of int
	From    []string // members that are connected and have all of it
}

// attachedTo notes what a device has of files. Of one whose message it erased nothing may be
// left: not even the key, in any row.
func (v *deviceView) attachedTo(s *seat) {
	v.Files, v.FilesGone = map[wire.MessageID]fileView{}, s.filesGone
	for _, id := range sortedKeys(s.files) {
		h := s.files[id]
		x := fileView{Has: h.has.count(), Of: len(h.has)}
		for _, o := range s.g.seats {
			if f := o.files[id]; o != s && f != nil && f.has.whole() && o.m != nil && !o.n.hostile && s.w().net.connected(s.n, o.n) {
				x.From = append(x.From, o.n.name)
			}
		}
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != len(wire.MessageID{}) {
			continue
		}
		if v.Files[wire.MessageID(raw)] = x; !v.Plain[wire.MessageID(raw)] {
			v.Left = append(v.Left, fmt.Sprintf("%s has a file of message %.8s, and not the message", v.Name, id))
		}
	}
	for id := range v.Erased {
		a, ok := s.w().hist.files[hex.EncodeToString(id[:])]
		if !ok {
			continue
		}
		for _, b := range sortedKeys(s.disk.index) {
			for _, k := range s.disk.index[b] {
				if bytes.Contains(s.disk.rows[k].value, a.key[:]) {
					row, _, _ := cutKey(k)
					v.Left = append(v.Left, fmt.Sprintf("%s: of message %.8v, which it erased, the key of its file is left in row %s", v.Name, id, row))
				}
			}
		}
	}
	slices.Sort(v.Left)
}

// filesCome checks that a live member who can read a message gets its file, if a live member
// who has it is connected.
func filesCome(o *observation) (bad []string) {
	live := map[string]bool{}
	for _, d := range o.live() {
		live[d.Name] = true
	}
	for _, d := range o.live() {
		for id, f := range d.Files {
			if from := slices.DeleteFunc(slices.Clone(f.From), func(n string) bool { return !live[n] }); f.Has < f.Of && len(from) > 0 {
				bad = append(bad, fmt.Sprintf("%s has %d of %d pieces of the file of message %.8v, and %s has all", d.Name, f.Has, f.Of, id, strings.Join(from, " and ")))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// filesWanted counts the files of messages that live members can read.
func filesWanted(o *observation) (n int) {
	for _, d := range o.live() {
		n += len(d.Files)
	}
	return n
}
