package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Mailboxes keep envelopes for members who are never online together. Here a node of the
// scenario is one, in the group or not; devices put and take envelopes as package node does,
// without streams, quotas and proofs.
var mailboxVerbs = map[string]*verb{
	"mailbox": {usage: "mailbox NODE BOX…: the group's mailboxes are on those nodes from here on", check: nodesAt(2, 5), do: doMailbox},
}

const (
	mailEvery = 3 * time.Minute // from one visit to the next
	mailSoon  = time.Second     // from something to put to a visit
	mailKeeps = 30 * 24 * time.Hour
	mailLooks = time.Hour // between looks at what a mailbox lacks, and turns of those who look
	mailPart  = 384 << 10 // bytes brought at once, about
	mailOpen  = 1 << 12   // envelopes of no use yet that are tried again
)

// mail is one envelope in a box.
type mail struct {
	at    uint64 // its cursor
	came  time.Time
	boxed []byte
}

// mailing is how far a seat is with one mailbox. It is durable, but not in a backup.
type mailing struct {
	posts   []post
	after   map[wire.KeyID]uint64                  // read up to here
	open    map[wire.KeyID][]mail                  // of no use yet
	has     map[wire.KeyID]map[wire.EntryHash]bool // entries that are there
	files   map[string]bool                        // that were put, by their messages
	looked  time.Time
	reached time.Time // first
}

// post is an envelope that waits to be put.
type post struct {
	key      wire.KeyID
	envelope []byte
	entries  []wire.EntryHash
}

func doMailbox(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	if s.m == nil {
		return errDown
	}
	_, last := s.m.Mail().Set()
	item := wire.ProfileItem{V: wire.Version, Field: wire.FieldMailboxes, HLC: max(uint64(crdt.HLCFromTime(s.n.time().Now)), last+1), Signer: s.n.user.Public()}
	for _, name := range a.Args[1:] {
		item.Mailboxes = append(item.Mailboxes, wire.LinkPeer{Peer: w.nodeOf(name).dev.Cert.Peer})
	}
	w.hist.mark(w, s.n, "mailbox", "")
	_, err = s.step(group.SetProfile{Item: s.n.user.Sign(wire.DomainProfile, s.g.genesis.ID, wire.Marshal(&item))})
	return err
}

// boxOn gives the node of a mailbox.
func (w *core) boxOn(p wire.LinkPeer) *cnode {
	for _, n := range w.nodes {
		if bytes.Equal(n.dev.Cert.Peer, p.Peer) {
			return n
		}
	}
	return nil
}

// post has what a Ready publishes wait for the mailboxes. It is durable with the Ready.
func (s *seat) post(r group.Ready) {
	if s.n.hostile {
		return
	}
	boxes := s.m.Mail().Mailboxes()
	if len(boxes) > 0 && s.mailing == nil {
		s.mailing = map[*cnode]*mailing{}
	}
	if len(boxes) > 0 && !s.visiting {
		s.visiting = true
		s.w().after(s.w().net.jitter(mailEvery), s.visitAll)
	}
	for _, p := range boxes {
		box := s.w().boxOn(p)
		if box == nil || s.mailing[box] == nil {
			continue // never reached: it gets all from the logs
		}
		for _, o := range r.Messages {
			p, ok := o.(group.Publish)
			if !ok {
				continue
			}
			h, err := wire.ParseEnvelopeHeader(p.Envelope)
			if err != nil {
				continue
			}
			m := s.mailing[box]
			if m.posts = append(m.posts, post{h.Key, p.Envelope, p.Entries}); len(m.posts) == 1 {
				s.w().after(mailSoon, func() { s.visit(box) })
			}
		}
	}
}

// visitAll visits all mailboxes of the group, again and again.
func (s *seat) visitAll() {
	if s.m != nil && !s.n.hostile {
		for _, p := range s.m.Mail().Mailboxes() {
			if box := s.w().boxOn(p); box != nil && box != s.n {
				s.visit(box)
			}
		}
	}
	s.w().after(mailEvery*2/3+s.w().net.jitter(mailEvery*2/3), s.visitAll)
}

// visit takes what is in the boxes of a mailbox, and puts what it lacks.
func (s *seat) visit(on *cnode) {
	w := s.w()
	if s.m == nil || s.n.hostile || !w.net.connected(s.n, on) || !on.up || on.lost || s.position == (wire.EpochID{}) {
		return
	}
	m := s.mailing[on]
	if m == nil {
		m = &mailing{after: map[wire.KeyID]uint64{}, open: map[wire.KeyID][]mail{}, has: map[wire.KeyID]map[wire.EntryHash]bool{}, reached: w.now}
		s.mailing[on] = m
	}
	var boxes []group.Box
	for range 8 { // one box may bring the key of another
		before := len(boxes)
		if boxes = s.m.Mail().Boxes(on.dev.Cert.Peer); len(boxes) == before {
			break
		}
		for _, b := range boxes {
			if m.take(s, on, b); s.m == nil {
				return
			}
		}
	}
	held := map[wire.KeyID]group.Box{}
	for _, b := range boxes {
		held[b.Key] = b
	}
	for _, p := range m.posts {
		if b, ok := held[p.key]; ok {
			on.put(w.now, b.ID, p.envelope)
			m.holds(p.key, p.entries)
		}
	}
	m.posts = nil
	if len(boxes) > 0 {
		m.mailFiles(s, on, boxes[len(boxes)-1])
	}
	m.bring(s, on, held)
}

func (m *mailing) holds(key wire.KeyID, entries []wire.EntryHash) {
	if m.has[key] == nil {
		m.has[key] = map[wire.EntryHash]bool{}
	}
	for _, e := range entries {
		m.has[key][e] = true
	}
}

// put keeps an envelope in a box, and drops what is old there.
func (n *cnode) put(now time.Time, box wire.BoxID, envelope []byte) {
	if n.boxes == nil {
		n.boxes = map[wire.BoxID][]mail{}
	}
	all := slices.DeleteFunc(n.boxes[box], func(x mail) bool { return now.Sub(x.came) > mailKeeps })
	n.mails++
	n.boxes[box] = append(all, mail{n.mails, now, bytes.Clone(wire.Boxed(envelope))})
}

// take steps what is new in a box, and what was of no use before.
func (m *mailing) take(s *seat, on *cnode, b group.Box) {
	all := m.open[b.Key]
	for _, x := range on.boxes[b.ID] {
		if x.at > m.after[b.Key] {
			all, m.after[b.Key] = append(all, x), x.at
		}
	}
	for fresh := true; fresh && len(all) > 0 && s.m != nil; {
		fresh = false
		var open []mail
		for _, x := range all {
			out, err := s.step(group.Envelope{Bytes: wire.Unboxed(b.Tag, b.Key, x.boxed)})
			if s.m == nil {
				return // it is read again: what follows was not made durable
			}
			m.holds(b.Key, out.Entries)
			s.w().hist.mailed += len(out.Messages)
			if err == nil {
				fresh = fresh || out.New > 0
			} else if verdict.Waits(err) {
				open = append(open, x)
			}
		}
		all = open
	}
	m.open[b.Key] = all[max(0, len(all)-mailOpen):]
}

// bring puts entries into boxes that members may lack and that are not there: own ones, and
// those of others in turn.
func (m *mailing) bring(s *seat, on *cnode, held map[wire.KeyID]group.Box) {
	w := s.w()
	if !m.looked.IsZero() && w.now.Sub(m.looked) < mailLooks {
		return
	}
	all, err := s.m.Mail().Owing(s.n.time().Now)
	if err != nil {
		return
	}
	others := w.now.Sub(m.reached) >= time.Duration(s.m.Mail().Turn())*mailLooks
	m.looked = w.now
	for _, o := range all {
		var missing []wire.EntryHash
		for _, e := range o.Entries {
			if (e.Own || others) && !m.has[o.Key][e.Hash] {
				missing = append(missing, e.Hash)
			}
		}
		b, ok := held[o.Key]
		if !ok {
			m.looked = time.Time{} // its key came just now
			continue
		}
		for len(missing) > 0 {
			envelopes, taken, err := s.m.Mail().EnvelopesWith(o.Key, missing, mailPart)
			if err != nil || taken == 0 {
				s.broke(errors.Join(err, fmt.Errorf("%d of %d entries for a mailbox", taken, len(missing))))
				return
			}
			for _, e := range envelopes {
				on.put(w.now, b.ID, e)
			}
			m.holds(o.Key, missing[:taken])
			missing = missing[taken:]
		}
	}
}
