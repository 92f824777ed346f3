package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// MailboxConfig lets a node keep envelopes of groups that it is no member of and
// cannot open. Every zero value is a default.
type MailboxConfig struct {
	Quota     int64         // bytes, of everybody together; 0: 1 GiB
	BoxQuota  int64         // bytes of one box; 0: 64 MiB
	Lifetime  time.Duration // of an envelope, and of a sealed file; 0: 30 days
	Allow     []peer.ID     // who may open boxes; none: anybody
	FileQuota int64         // bytes of sealed files, of everybody together; 0: 1 GiB; negative: it keeps none
	FileShare int64         // bytes of sealed files in the boxes of one opener, where anybody may open boxes; 0: 256 MiB
}

// Bounds of a mailbox that nobody sets.
const (
	defaultMailQuota    = 1 << 30
	defaultBoxQuota     = 64 << 20
	defaultMailLifetime = 30 * 24 * time.Hour
	defaultFileQuota    = 1 << 30
	defaultFileShare    = 256 << 20
	maxBoxesOf          = 64      // opened by one peer
	maxVouched          = 16      // opened on the word of one box
	maxInBox            = 1 << 16 // envelopes
	mailOverhead        = 512     // charged for each envelope and box beside its bytes
	mailReplyBytes      = 512 << 10
	mailRate            = 1 << 20 // bytes a second for one peer, a request counts as mailRequest
	mailBurst           = 8 << 20
	mailRequest         = 1 << 10
	maxMailRates        = 4096 // peers whose rate is remembered
	maxCustomers        = 4096
	sweepEvery          = 10 * time.Minute
	sweepAtOnce         = 256
	mailboxProvideEvery = 12 * time.Hour
	mailboxProvideRetry = 10 * time.Second // doubles up to mailboxProvideEvery
)

// mailboxServer keeps the boxes. Durable of one are its row, and for each envelope
// the head, the bytes, and the cursor by hash; all change in one transaction.
type mailboxServer struct {
	n   *Node
	cfg MailboxConfig

	mu        sync.Mutex
	boxes     map[wire.BoxID]*mailBoxRow
	envelopes int
	bytes     int64
	vouched   int64 // bytes of boxes that were vouched for
	rates     *peerRates
	files     *mailFiles                        // nil: it keeps none
	customers *simplelru.LRU[peer.ID, struct{}] // who has held the key of a box, in this run
}

// mailBoxRow is the durable state of a box.
type mailBoxRow struct {
	Life   uint64 `cbor:"1,keyasint"` // drawn at random when the box is opened
	Next   uint64 `cbor:"2,keyasint"` // cursor of the next envelope
	Count  uint64 `cbor:"3,keyasint"`
	Bytes  uint64 `cbor:"4,keyasint"` // with mailOverhead for each
	Oldest uint64 `cbor:"5,keyasint"` // when the oldest came: milliseconds since 1970
	Opener []byte `cbor:"6,keyasint"` // peer ID on whose account it is
	Put    uint64 `cbor:"7,keyasint"` // when the newest came

	// Voucher is the box whose key, in somebody's hands, had this one opened; empty: its
	// opener opened it. Of a box that was vouched for too, it is the first in the row.
	Voucher []byte `cbor:"8,keyasint,omitempty"`

	// The clock was ahead when it took some envelopes: those before Below came by By.
	Below uint64 `cbor:"9,keyasint,omitempty"`
	By    uint64 `cbor:"10,keyasint,omitempty"`

	Network []byte `cbor:"11,keyasint,omitempty"` // of the opener, as it opened the box: an IPv4 /24 or IPv6 /48
}

// mailHeadRow is the durable state of an envelope beside its bytes.
type mailHeadRow struct {
	Hash wire.Hash `cbor:"1,keyasint"`
	Size uint64    `cbor:"2,keyasint"`
	Came uint64    `cbor:"3,keyasint"` // milliseconds since 1970
}

// Keys of a mailbox's rows.
const (
	keyOfMailbox = "n/mailbox/"           // all of them
	keyBox       = keyOfMailbox + "box/"  // ‖ box: mailBoxRow
	keyBoxHead   = keyOfMailbox + "head/" // ‖ box ‖ cursor: mailHeadRow
	keyBoxMail   = keyOfMailbox + "mail/" // ‖ box ‖ cursor: boxed envelope
	keyBoxByHash = keyOfMailbox + "hash/" // ‖ box ‖ hash: cursor
)

func boxKey(prefix string, box wire.BoxID) []byte { return append([]byte(prefix), box[:]...) }

func cursorKey(prefix string, box wire.BoxID, at uint64) []byte {
	return binary.BigEndian.AppendUint64(boxKey(prefix, box), at)
}

func hashKey(box wire.BoxID, h wire.Hash) []byte { return append(boxKey(keyBoxByHash, box), h[:]...) }

// newMailboxServer finds the boxes of the store.
func newMailboxServer(n *Node, cfg MailboxConfig) (*mailboxServer, error) {
	if cfg.Quota == 0 {
		cfg.Quota = defaultMailQuota
	}
	if cfg.BoxQuota == 0 {
		cfg.BoxQuota = min(defaultBoxQuota, cfg.Quota)
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = defaultMailLifetime
	}
	m := &mailboxServer{n: n, cfg: cfg, boxes: make(map[wire.BoxID]*mailBoxRow), rates: newPeerRates(mailRate, mailBurst)}
	m.customers, _ = simplelru.NewLRU[peer.ID, struct{}](maxCustomers, nil) // the size is positive
	if err := n.store.Scan([]byte(keyBox), func(key, value []byte) error {
		row := new(mailBoxRow)
		if err := wire.Unmarshal(value, row); err != nil {
			return err
		}
		m.boxes[wire.BoxID(key[len(keyBox):])] = row
		m.count(row, 1)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("restoring the mailbox: %w", err)
	}
	var err error
	if m.files, err = loadMailFiles(m); err != nil {
		return nil, fmt.Errorf("restoring the files of the mailbox: %w", err)
	}
	return m, nil
}

// count adds a box to the counts, or with times -1 takes it out.
func (m *mailboxServer) count(box *mailBoxRow, times int) {
	bytes := int64(times) * (int64(box.Bytes) + mailOverhead) //nolint:gosec // bounded by the quota
	m.envelopes += times * int(box.Count)                     //nolint:gosec // bounded by maxInBox
	m.bytes += bytes
	if len(box.Voucher) > 0 {
		m.vouched += bytes
	}
}

// run deletes old envelopes and boxes and announces the mailbox, until ctx ends.
func (m *mailboxServer) run(ctx context.Context) {
	sweep := time.NewTicker(min(sweepEvery, m.cfg.Lifetime))
	defer sweep.Stop()
	announce := time.NewTimer(0)
	defer announce.Stop()
	pause := mailboxProvideRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			now := m.n.clock.kept()
			if err := errors.Join(m.sweep(now), m.files.sweep(now)); err != nil {
				m.n.log.Warn("old envelopes or files stay in the mailbox", "err", err)
			}
		case <-announce.C:
			if err := m.n.directory.dht.ProvideMailbox(ctx); err != nil {
				pause = min(2*pause, mailboxProvideEvery)
			} else {
				pause = mailboxProvideEvery
			}
			announce.Reset(pause + mathrand.N(pause/10)) //nolint:gosec // spreads load, hides nothing
		}
	}
}

var errNoBoxKey = errors.New("the peer did not show that it holds the box's key")

// admit has whoever opened a stream show that it holds the key of a box.
func (m *mailboxServer) admit(f *frames) (*mailCaller, error) {
	var hello wire.MailHello
	if err := f.read(&hello); err != nil {
		return nil, err
	}
	var challenge wire.MailChallenge
	_, _ = rand.Read(challenge.Nonce[:])
	if err := f.write(challenge); err != nil {
		return nil, err
	}
	var proof wire.MailProof
	if err := f.read(&proof); err != nil {
		return nil, err
	}
	p := f.s.Conn().RemotePeer()
	payload := wire.MailProofPayload(hello.Box, challenge.Nonce, []byte(p), []byte(m.n.host.ID()))
	holds := func(box wire.BoxID, signature []byte) bool {
		return identity.Verify(box[:], wire.DomainMailbox, wire.GroupID{}, wire.Signed{Payload: payload, Signature: signature}) == nil
	}
	if !holds(hello.Box, proof.Signature) || proof.Voucher != nil && !holds(proof.Voucher.Box, proof.Voucher.Signature) {
		m.n.metrics.MailRefused.Add(1)
		f.close()
		return nil, errNoBoxKey
	}
	c := &mailCaller{peer: p, network: discovery.NetworkOf(m.n.host, p), box: hello.Box}
	if proof.Voucher != nil {
		c.voucher = &proof.Voucher.Box
	}
	return c, nil
}

// serve answers one stream to the mailbox.
func (m *mailboxServer) serve(ctx context.Context, s network.Stream, at *admission.Slot) error {
	f := newFrames(s)
	defer f.abandon()
	c, err := m.admit(f)
	if err != nil {
		return err
	}
	for {
		var r wire.MailRequest
		if err := f.read(&r); errors.Is(err, io.EOF) {
			f.close()
			return nil
		} else if err != nil {
			return err
		}
		reply, cost, err := m.answer(m.n.clock.kept(), c, &r)
		if err != nil {
			return err
		}
		if reply.Life != 0 {
			m.proved(c.peer)
			at.Prove()
		}
		// A client that asks for much waits before the next answer. It costs this node a stream.
		if err := m.rates.of(c.peer).WaitN(ctx, min(cost, mailBurst)); err != nil {
			return err
		}
		if err := f.write(reply); err != nil {
			return err
		}
	}
}

// mailCaller is who has shown that it holds the key of a box, and maybe of another.
type mailCaller struct {
	peer    peer.ID
	network string
	box     wire.BoxID
	voucher *wire.BoxID
}

// trust says what a peer has proven to the mailbox.
func (m *mailboxServer) trust(p peer.ID) admission.Trust {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.cfg.Allow) > 0 && m.mayOpen(p):
		return admission.Member
	case m.customers.Contains(p):
		return admission.Proven
	}
	return admission.Unknown
}

// proved notes that a peer holds the key of a box that is here.
func (m *mailboxServer) proved(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.customers.Add(p, struct{}{})
}

// peerRates is each peer's share of some work.
type peerRates struct {
	limit rate.Limit // bytes a second
	burst int

	mu    sync.Mutex
	peers map[peer.ID]*rate.Limiter
}

func newPeerRates(limit rate.Limit, burst int) *peerRates {
	return &peerRates{limit: limit, burst: burst, peers: make(map[peer.ID]*rate.Limiter)}
}

func (r *peerRates) of(p peer.ID) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.peers[p]
	if l == nil {
		if len(r.peers) >= maxMailRates {
			maps.DeleteFunc(r.peers, func(_ peer.ID, l *rate.Limiter) bool { return l.Tokens() >= float64(r.burst) })
		}
		if len(r.peers) >= maxMailRates {
			clear(r.peers)
		}
		l = rate.NewLimiter(r.limit, r.burst)
		r.peers[p] = l
	}
	return l
}

// answer carries out one request; cost is the number of bytes that it moved.
func (m *mailboxServer) answer(now time.Time, c *mailCaller, r *wire.MailRequest) (reply *wire.MailReply, cost int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reply = new(wire.MailReply)
	cost = mailRequest
	switch {
	case r.Put != nil:
		for _, e := range r.Put {
			cost += len(e)
			if err := wire.CheckBoxed(e); err != nil {
				return nil, cost, fmt.Errorf("%w: %w", errProtocol, err)
			}
		}
		reply.Code, reply.Taken, err = m.put(now, c, r.Put)
	case r.List != nil:
		reply.Heads, err = m.list(c.box, r.List.After)
		cost += 64 * len(reply.Heads)
	default:
		reply.Items, err = m.fetch(c.box, r.Fetch)
		for _, i := range reply.Items {
			cost += len(i.Boxed)
		}
	}
	if box := m.boxes[c.box]; box != nil {
		reply.Life = box.Life
	}
	return reply, cost, err
}

// open gives the box of a caller, a new one if need be and if it may have one. The
// new one is not in boxes yet.
func (m *mailboxServer) open(c *mailCaller) (*mailBoxRow, wire.MailCode) {
	if box := m.boxes[c.box]; box != nil {
		copied := *box
		return &copied, wire.MailDone
	}
	row := &mailBoxRow{Life: mathrand.Uint64N(math.MaxUint64) + 1, Next: 1, Opener: []byte(c.peer), Network: []byte(c.network)} //nolint:gosec // tells lives apart, hides nothing
	limit := maxBoxesOf
	if !m.mayOpen(c.peer) {
		if c.voucher == nil || m.boxes[*c.voucher] == nil {
			return nil, wire.MailClosed
		}
		voucher := m.boxes[*c.voucher]
		row.Opener, row.Network, row.Voucher = voucher.Opener, voucher.Network, voucher.Voucher
		if len(row.Voucher) == 0 {
			row.Voucher = c.voucher[:]
		}
		limit = maxVouched
	}
	if m.alike(row) >= limit {
		return nil, wire.MailFull
	}
	return row, wire.MailDone
}

// alike is how many boxes count against the same bound: those of one opener, or those for
// which one box vouched. A holder of a box's key may be out of the group, and hostile to
// the peer that opened the box. It must not use up the boxes that this peer may open.
func (m *mailboxServer) alike(row *mailBoxRow) (n int) {
	for _, b := range m.boxes {
		if string(b.Opener) == string(row.Opener) && string(b.Voucher) == string(row.Voucher) {
			n++
		}
	}
	return n
}

// adopt makes a box that was vouched for a caller's own, if the caller may open boxes and
// have one more: who puts something into it belongs to its group.
func (m *mailboxServer) adopt(c *mailCaller, box *mailBoxRow) (adopted bool) {
	own := *box
	own.Opener, own.Network, own.Voucher = []byte(c.peer), []byte(c.network), nil
	if len(box.Voucher) == 0 || !m.mayOpen(c.peer) || m.alike(&own) >= maxBoxesOf {
		return false
	}
	*box = own
	return true
}

func (m *mailboxServer) mayOpen(p peer.ID) bool {
	return len(m.cfg.Allow) == 0 || slices.Contains(m.cfg.Allow, p)
}

// put keeps envelopes, in their order, as far as there is room: taken says how many.
// Those that are there already are taken, and kept once.
func (m *mailboxServer) put(now time.Time, c *mailCaller, envelopes [][]byte) (code wire.MailCode, taken uint64, err error) {
	box, code := m.open(c)
	if code != wire.MailDone {
		m.n.metrics.MailRefused.Add(float64(len(envelopes)))
		return code, 0, nil
	}
	adopted := m.adopt(c, box)
	others, has := m.newEviction(c.box), m.openerHas(box.Opener)
	extra := int64(0) // of a box that is new
	if m.boxes[c.box] == nil {
		extra = mailOverhead
	}
	var b storage.Batch
	set := func(key, value []byte) { b.Writes = append(b.Writes, storage.Write{Key: key, Value: value}) }
	fresh, added := make(map[wire.Hash]bool), int64(0)
	for _, e := range envelopes {
		h := wire.Hash(sha256.Sum256(e))
		if _, err := m.n.store.Get(hashKey(c.box, h)); err == nil || fresh[h] {
			taken++
			continue
		} else if !errors.Is(err, storage.ErrNotFound) {
			return 0, 0, err
		}
		charge := int64(len(e)) + mailOverhead
		room := int64(box.Bytes)+charge <= m.cfg.BoxQuota && box.Count < maxInBox && has+extra+added+charge <= m.openerQuota() //nolint:gosec // bounded by the quota
		if room {
			if room, err = others.room(box, extra+added+charge); err != nil {
				return 0, 0, err
			}
		}
		if !room {
			code = wire.MailFull
			break
		}
		if box.Count == 0 {
			box.Oldest = uint64(now.UnixMilli()) //nolint:gosec // after 1970
		}
		at := box.Next
		set(cursorKey(keyBoxHead, c.box, at), wire.Marshal(&mailHeadRow{Hash: h, Size: uint64(len(e)), Came: uint64(now.UnixMilli())})) //nolint:gosec // after 1970
		set(cursorKey(keyBoxMail, c.box, at), e)
		set(hashKey(c.box, h), wire.U64(at))
		fresh[h] = true
		box.Put = uint64(now.UnixMilli())                                            //nolint:gosec // after 1970
		box.Next, box.Count, box.Bytes = at+1, box.Count+1, box.Bytes+uint64(charge) //nolint:gosec // a length
		added += charge
		taken++
	}
	if len(fresh) > 0 || adopted {
		set(boxKey(keyBox, c.box), wire.Marshal(box))
		b.Writes = append(b.Writes, others.all()...)
		if err := m.n.apply(b); errors.Is(err, storage.ErrNoSpace) {
			return wire.MailFull, 0, nil
		} else if err != nil {
			return 0, 0, err
		}
		others.done()
		if was := m.boxes[c.box]; was != nil {
			m.count(was, -1)
		}
		m.boxes[c.box] = box
		m.count(box, 1)
	}
	m.n.metrics.MailTaken.Add(float64(len(fresh)))
	m.n.metrics.MailRefused.Add(float64(uint64(len(envelopes)) - taken))
	return code, taken, nil
}

// list returns the envelopes of a box after a cursor, the oldest first.
func (m *mailboxServer) list(box wire.BoxID, after uint64) ([]wire.MailHead, error) {
	var out []wire.MailHead
	if after == math.MaxUint64 || m.boxes[box] == nil {
		return nil, nil
	}
	err := m.heads(box, after+1, func(at uint64, row *mailHeadRow) error {
		out = append(out, wire.MailHead{At: at, Hash: row.Hash})
		if len(out) == wire.MaxMailHeads {
			return errEnough
		}
		return nil
	})
	return out, err
}

// heads goes through the envelopes of a box from a cursor on, until fn returns errEnough.
func (m *mailboxServer) heads(box wire.BoxID, from uint64, fn func(at uint64, row *mailHeadRow) error) error {
	prefix := boxKey(keyBoxHead, box)
	err := m.n.store.ScanFrom(prefix, cursorKey(keyBoxHead, box, from), func(key, value []byte) error {
		row := new(mailHeadRow)
		if err := wire.Unmarshal(value, row); err != nil {
			return err
		}
		return fn(binary.BigEndian.Uint64(key[len(prefix):]), row)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// fetch gives the envelopes at these cursors that are still there, as many as fit a
// reply.
func (m *mailboxServer) fetch(box wire.BoxID, cursors []uint64) ([]wire.MailItem, error) {
	var out []wire.MailItem
	size := 0
	for _, at := range cursors {
		e, err := m.n.store.Get(cursorKey(keyBoxMail, box, at))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if size += len(e); size > mailReplyBytes && len(out) > 0 {
			break
		}
		out = append(out, wire.MailItem{At: at, Boxed: e})
	}
	m.n.metrics.MailServed.Add(float64(len(out)))
	return out, nil
}

// sweep deletes envelopes that are older than the lifetime, and boxes into which none came
// for two lifetimes. A box outlives its content: clients upload again when a box has been
// replaced, which must not happen merely because its content expired.
func (m *mailboxServer) sweep(now time.Time) error {
	m.mu.Lock()
	boxes := slices.Collect(maps.Keys(m.boxes))
	m.mu.Unlock()
	for _, id := range boxes {
		for more := true; more; { // who asks for something has a turn between
			var err error
			if more, err = m.sweepBox(id, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepBox is sweep of one box, by parts.
func (m *mailboxServer) sweepBox(id wire.BoxID, now time.Time) (more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	box := m.boxes[id]
	if box == nil {
		return false, nil
	}
	limit := now.Add(-m.cfg.Lifetime)
	var b storage.Batch
	next, at := *box, milliseconds(now)
	switch {
	case box.Oldest > at || box.Put > at:
		next.Below, next.By = box.Next, at
		next.Oldest, next.Put = min(box.Oldest, at), min(box.Put, at)
	case box.Count > 0 && !time.UnixMilli(int64(box.Oldest)).After(limit): //nolint:gosec // not after now
		if b.Writes, err = m.dropOld(id, &next, limit); err != nil {
			return false, err
		}
	case box.Count == 0 && !m.files.in(id) && time.UnixMilli(int64(box.Put)).Before(limit.Add(-m.cfg.Lifetime)): //nolint:gosec // not after now
		if err := m.n.apply(storage.Batch{Writes: []storage.Write{{Key: boxKey(keyBox, id)}}}); err != nil {
			return false, err
		}
		delete(m.boxes, id)
		m.count(box, -1)
		return false, nil
	default:
		return false, nil
	}
	b.Writes = append(b.Writes, storage.Write{Key: boxKey(keyBox, id), Value: wire.Marshal(&next)})
	if err := m.n.apply(b); err != nil {
		return false, err
	}
	m.count(box, -1)
	m.count(&next, 1)
	m.boxes[id] = &next
	return true, nil
}

// dropOld gives the writes that delete up to sweepAtOnce envelopes of a box that came by
// limit, and takes them out of its row.
func (m *mailboxServer) dropOld(id wire.BoxID, box *mailBoxRow, limit time.Time) (writes []storage.Write, err error) {
	drop := func(key []byte) { writes = append(writes, storage.Write{Key: key}) }
	gone, seen := 0, false
	err = m.heads(id, 0, func(at uint64, row *mailHeadRow) error {
		seen = true
		came := row.Came
		if at < box.Below {
			came = min(came, box.By)
		}
		if gone == sweepAtOnce || time.UnixMilli(int64(min(came, math.MaxInt64))).After(limit) { //nolint:gosec // bounded
			box.Oldest = came
			return errEnough
		}
		gone++
		drop(cursorKey(keyBoxHead, id, at))
		drop(cursorKey(keyBoxMail, id, at))
		drop(hashKey(id, row.Hash))
		box.Count--
		box.Bytes -= row.Size + mailOverhead
		return nil
	})
	if !seen {
		box.Count, box.Bytes = 0, 0 // the row said more than was there
	}
	return writes, err
}

// mailboxStatus is what this node keeps for others.
type mailboxStatus struct {
	Boxes     int
	Full      int // of them: boxes that take nothing more
	Envelopes int
	Bytes     int64
	Quota     int64
	Lifetime  time.Duration

	Files     int   // sealed files, whole or in parts
	FileBytes int64 // that they are charged
	FileQuota int64 // 0: it keeps none
}

// status says what this node keeps for others; false: it is no mailbox.
func (m *mailboxServer) status() (mailboxStatus, bool) {
	if m == nil {
		return mailboxStatus{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	full := 0
	for _, b := range m.boxes {
		if int64(b.Bytes) > m.cfg.BoxQuota/10*9 || b.Count >= maxInBox { //nolint:gosec // bounded by the quota
			full++
		}
	}
	out := mailboxStatus{Boxes: len(m.boxes), Full: full, Envelopes: m.envelopes, Bytes: m.bytes, Quota: m.cfg.Quota, Lifetime: m.cfg.Lifetime}
	if m.files != nil {
		for _, in := range m.files.boxes {
			out.Files += len(in.files)
		}
		out.FileBytes, out.FileQuota = m.files.bytes, m.files.quota
	}
	return out, true
}
