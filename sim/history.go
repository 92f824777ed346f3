package sim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// history holds the records of a run, beside the devices themselves.
type history struct {
	marks         []mark
	moves         []move
	sent          []*accepted
	byHex         map[string]*accepted      // by the ID, as the keys of rows have it
	names         map[string]*accepted      // by the name that the scenario gave it
	own           map[ownKey][]ownEntry     // entries that honest devices signed
	twice         map[wire.GroupID][]string // two entries with one (incarnation, seq)
	copied        map[ownKey]bool           // logs, with seq 0, that two write, since one's home was copied
	refused       []string                  // actions that could not be carried out
	verbs         map[string]int            // actions that were
	refusedVerbs  map[string]int
	missed        []string                // expectations at a time that did not come true
	void          map[wire.EntryHash]bool // operations of who had no right for them when they were made
	devices       map[string]wire.DeviceID
	crashes       int
	removals      int
	lostEnvelopes int
	overtaken     int // envelopes that a later one of the same sender passed inside a node
	shownTotal    int
	mailed        int                 // messages that became readable by an envelope from a mailbox
	mailedFiles   int                 // put into a mailbox
	files         map[string]attached // by the message that names it, in hex
	reads         []read
}

// read is a message being shown on a device.
type read struct {
	At   time.Time
	Seat *seat
	ID   wire.MessageID
}

// mark is a sign on a device's line of the page.
type mark struct {
	At   time.Time
	Node *cnode
	Kind string
	Text string
}

// move is a device taking up a new position.
type move struct {
	At   time.Time
	Seat *seat
	To   wire.EpochID
}

// accepted is a message that a device took for sending.
type accepted struct {
	ID    wire.MessageID
	Seat  *seat
	At    time.Time
	Void  bool // the message need not arrive: its author's disk was rolled back behind it, or its author is hostile
	Probe bool

	Unsure bool // its process ended before it said that it took it
	Kind   kind
	Text   string
	About  wire.MessageID // of one that is not shown by itself
	File   bool

	Answers  wire.MessageID // zero: none
	Thread   wire.MessageID // the first message of its thread; zero: none
	Mentions wire.UserID    // zero: nobody
}

type ownKey struct {
	group       wire.GroupID // a device has a log in each group
	device      wire.DeviceID
	incarnation uint64
	seq         uint64
}

type ownEntry struct {
	hash wire.EntryHash
	kind wire.Kind
}

func (h *history) init() {
	h.files = map[string]attached{}
	h.byHex, h.names = map[string]*accepted{}, map[string]*accepted{}
	h.own = map[ownKey][]ownEntry{}
	h.twice = map[wire.GroupID][]string{}
	h.copied = map[ownKey]bool{}
	h.verbs, h.refusedVerbs = map[string]int{}, map[string]int{}
	h.void = map[wire.EntryHash]bool{}
	h.devices = map[string]wire.DeviceID{}
}

func (h *history) mark(w *core, n *cnode, kind, text string) {
	h.marks = append(h.marks, mark{At: w.now, Node: n, Kind: kind, Text: text})
}

func (h *history) shown(s *seat, id wire.MessageID) {
	h.shownTotal++
	h.reads = append(h.reads, read{At: s.w().now, Seat: s, ID: id})
}

// wrote notes own entries of a device that became durable: from here on others may have
// them.
func (h *history) wrote(s *seat, writes []group.Write) {
	prefix := fmt.Sprintf("entry/%x/", s.n.dev.ID[:])
	for _, w := range writes {
		if w.Value == nil || !strings.HasPrefix(w.Key, prefix) {
			continue
		}
		signed, err := wire.DecodeSigned(w.Value, wire.MaxEntry+128)
		if err != nil {
			continue
		}
		e, err := wire.DecodeEntry(signed.Payload)
		if err != nil || e.Log() != s.log() || s.n.hostile {
			continue
		}
		if e.Kind == wire.KindCommit && len(s.chokes) > 0 {
			if c, err := wire.DecodeCommit(e.Body); err == nil {
				for _, o := range s.chokes {
					o.spy.choking[sha256.Sum256(c.Commit)] = true
				}
				s.chokes = nil
			}
		}
		k := ownKey{group: e.Group, device: e.Device, incarnation: e.Incarnation}
		if h.copied[k] {
			continue // no program can know what the other one has written
		}
		k.seq = e.Seq
		hash := wire.EntryHashOf(e.Group, signed.Payload)
		if slices.ContainsFunc(h.own[k], func(old ownEntry) bool { return old.hash == hash }) {
			continue // it came back from somebody
		}
		for _, old := range h.own[k] {
			if s.couldKnow(k, old.hash) {
				h.twice[e.Group] = append(h.twice[e.Group], fmt.Sprintf("%s signed two entries with seq %d of one incarnation: a %v and a %v", s.n.name, e.Seq, old.kind, e.Kind))
			}
		}
		h.own[k] = append(h.own[k], ownEntry{hash: hash, kind: e.Kind})
	}
}

// gone counts the own entries of a group's honest devices that are not in the set.
func (h *history) gone(group wire.GroupID, set *dag) (n int) {
	for k, entries := range h.own {
		for _, e := range entries {
			if k.group == group && set.by[e.hash] == nil {
				n++
			}
		}
	}
	return n
}

// couldKnow says whether a device that its disk was rolled back under, silently, could have
// been told that it signed an entry before: somebody whom it reaches has it. Alone it cannot
// know that what it writes is a second entry of one number.
func (s *seat) couldKnow(k ownKey, hash wire.EntryHash) bool {
	if !s.n.rolled {
		return true
	}
	prefix := fmt.Sprintf("entry/%x/%016x/%016x", k.device[:], k.incarnation, k.seq)
	for _, o := range s.g.seats {
		if o == s || o.n.hostile || o.m == nil || !s.w().net.connected(s.n, o.n) {
			continue
		}
		for _, key := range o.disk.under(prefix) {
			b, _ := o.disk.Get(key)
			if signed, err := wire.DecodeSigned(b, wire.MaxEntry+128); err == nil && wire.EntryHashOf(k.group, signed.Payload) == hash {
				return true
			}
		}
	}
	return false
}

// deviceOf reads the device out of a leaf's credential.
func (h *history) deviceOf(credential []byte) wire.DeviceID {
	if d, ok := h.devices[string(credential)]; ok {
		return d
	}
	var d wire.DeviceID
	if c, err := wire.DecodeCredential(credential); err == nil {
		if cert, err := wire.DecodeDeviceCert(c.Cert.Payload); err == nil {
			d = cert.ID()
		}
	}
	h.devices[string(credential)] = d
	return d
}
