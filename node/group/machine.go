package group

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Config has the parts of a machine. All fields are needed.
type Config struct {
	Genesis     *identity.Genesis // checked; its ID is the group's
	Device      *identity.Device  // this device
	LogKey      *identity.Key     // of this device
	Incarnation uint64            // of this device's store
	Engine      engine.Engine     // MLS
	Rand        io.Reader
	Rows        Rows

	// Retention is how long the commits on an epoch can be followed after this device has
	// left it; 0: 7 days. Forward secrecy begins there: with the logged commits, a thief of
	// the device can derive the keys of every epoch since. The message keys of the epoch
	// itself are destroyed within 48 h.
	Retention time.Duration
	// UpdateEvery is how often this device renews its keys in the group; 0: 30 days.
	UpdateEvery time.Duration

	// Kept is the time by which New destroys old keys and rows: see Machine.Keep. Zero:
	// now.
	Kept time.Time

	// Alternative is for measurements of fork choices only. No node sets it.
	Alternative epochs.Alternative
}

const (
	defaultRetention   = 7 * 24 * time.Hour
	defaultUpdateEvery = 30 * 24 * time.Hour
)

// Machine decides for one group on one device. See the package comment.
type Machine struct {
	cfg Config
	own *ownState

	logs    *dag.Logs
	rosters *rosters
	tree    *epochs.Tree
	epochs  *epochStore
	fork    fork
	differ  differ
	judge   judge
	plan    plan

	leaf *leafKeys
	keys *keyring

	messages *messages
	packs    packs
	evidence *watch
	timers   timers

	joining *joining
	twins   twins
	peers   *peers
	tx      *tx
}

// New makes the machine from the durable rows; a restart is the same call.
func New(cfg Config, now time.Time) (*Machine, error) {
	cfg.Retention = cmp.Or(cfg.Retention, defaultRetention)
	cfg.UpdateEvery = cmp.Or(cfg.UpdateEvery, defaultUpdateEvery)
	group := cfg.Genesis.ID
	m := &Machine{cfg: cfg, logs: dag.NewLogs(cfg.Genesis.Device), tree: epochs.NewTree(group), tx: newTx(cfg.Rows)}
	m.own = &ownState{group: group, log: wire.LogID{Device: cfg.Device.ID, Incarnation: cfg.Incarnation}, tx: m.tx}
	m.rosters = newRosters(cfg.Genesis, m.logs)
	m.fork = fork{settling: settling{timers: &m.timers}, refused: newRefusals(m.own, &m.timers, m.tx)}
	m.leaf = &leafKeys{tx: m.tx, timers: &m.timers, cfg: &m.cfg, own: m.own, packages: map[[32]byte]*ownKeyPackage{}}
	m.keys = newKeyring(m.tx, &m.cfg, m.own, m.leaf, m.logs, m.rosters)
	m.epochs = newEpochStore(m.tx, &m.timers, cfg.Engine, group, cfg.Retention)
	m.packs = packs{tx: m.tx, logs: m.logs, group: group, engine: cfg.Engine, insert: m.insert}
	m.differ = differ{engine: cfg.Engine, deviceOf: m.epochs.deviceOf, unusable: map[[32]byte]bool{}}
	read := reader{tx: m.tx, group: group, engine: cfg.Engine}
	m.evidence = &watch{tx: m.tx, group: group, logs: m.logs, rosters: m.rosters, keys: m.keys, read: read}
	m.judge = judge{read: read, rosters: m.rosters, deviceOf: m.epochs.deviceOf, checkCredential: m.epochs.checkCredential, rejoins: read.rejoins}
	known := records{logs: m.logs, rosters: m.rosters, self: &m.own.log}
	m.messages = newMessages(known, m.tx, &m.timers, m.tree, m.epochs)
	m.messages.own, m.messages.engine, m.messages.rand, m.messages.read = m.own, cfg.Engine, cfg.Rand, read
	m.messages.receipts = newReceipts(known, m.tx, &m.timers, m.keys, cfg.LogKey)
	m.messages.receipts.deliveredTo = m.messages.deliveredTo
	m.messages.reseal.rank = m.rank
	m.peers = &peers{
		tx: m.tx, timers: &m.timers, logs: m.logs, read: read, changed: m.differ.changed, of: map[wire.DeviceID]*peerState{},
		own: m.own.log.Device, idle: func() bool { return m.own.Out && m.joining.request == nil },
		reseal: &m.messages.reseal,
	}
	m.joining = &joining{
		tx: m.tx, timers: &m.timers, group: group, device: cfg.Device, engine: cfg.Engine, trees: map[wire.EpochID]bool{},
		leaf: m.leaf, epochs: m.epochs, peers: m.peers, newRejoin: m.newRejoin,
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("group %v: %w", group, err)
	}
	m.twins = twins{tx: m.tx, logs: m.logs, own: m.own.log.Device, started: now}
	if !cfg.Kept.IsZero() {
		m.Keep(cfg.Kept, now)
	}
	// If one was due before the restart; it is not cast twice. Not at once: a sync
	// may tell that this device's log went further than it knows.
	m.timers.set(timerVote, now.Add(voteAfterStart))
	if !m.epochs.has(m.own.Position) {
		m.own.restored(now, m.own.log.Device)
	}
	m.settle(now)
	if m.joining.request != nil {
		m.joining.carry()
	}
	return m, m.tx.broken
}

// load reads the rows. Entries were verified before they were written, and the
// store authenticates rows, so signatures are not checked again.
func (m *Machine) load() error {
	known, err := m.own.load()
	if err == nil && !known {
		err = m.leaf.draw()
	}
	if err != nil {
		return err
	}
	m.tx.cursor = m.own.Cursor
	m.fork.refused.load()
	m.own.incarnate(m.cfg.Incarnation, known)
	m.own.log.Incarnation = m.own.Incarnation
	if err := errors.Join(m.keys.load(), m.leaf.load(), m.epochs.load(), m.joining.load(), m.evidence.load()); err != nil {
		return err
	}
	// The two that take long touch nothing of each other's.
	var found durableMessages
	scanned := make(chan error, 1)
	scan := func() {
		var err error
		found, err = scanMessages(m.tx, m.own.log.Device)
		scanned <- err
	}
	if _, ok := m.tx.rows.(RowKeys); ok {
		go scan()
	} else {
		scan()
	}
	if err := errors.Join(m.packs.load(), <-scanned); err != nil {
		return err
	}
	m.messages.load(found)
	m.packs.dropUnsound()
	m.messages.requeue(cmp.Or(m.tree.Nodes[m.own.Position], m.tree.Root))
	return nil
}

// Step takes an input. An error says why it was refused. A refused input changes nothing.
// For input from the network, the Outcome's Verdict says whom to blame. After ErrCorrupt or
// an error of Rows the machine must be made anew from the durable rows.
func (m *Machine) Step(now time.Time, in Input) (Outcome, error) {
	if m.tx.broken != nil {
		return Outcome{Verdict: verdict.Ignore}, m.tx.broken
	}
	in = m.messages.receipts.from(in)
	m.goOn(now)
	m.hearAgain(now)
	if in == nil {
		return Outcome{}, fmt.Errorf("%w: input %T", verdict.ErrUnknown, in)
	}
	var out Outcome
	err := in.act(m, now, &out)
	if out.Verdict == verdict.Accept {
		out.Verdict = verdict.Of(err)
	}
	if out.New > 0 {
		m.peers.news()
	}
	m.settle(now)
	if m.tx.broken != nil {
		return Outcome{Verdict: verdict.Ignore}, m.tx.broken
	}
	return out, err
}

// Keep sets the time by which the machine destroys old keys and rows, as of a time that is
// given to Step. So a wrong clock destroys nothing. It is the later one where the clock is
// behind: what would be noted as of long ago would be too old once the clock is right.
// Without it the two are one.
func (m *Machine) Keep(kept, now time.Time) { m.timers.keep(kept, now) }

// Ready returns the work that is to be done, and whether there is any.
func (m *Machine) Ready() (Ready, bool) {
	r := m.tx.ready
	return r, r.Heard || len(r.Writes)+len(r.Drop)+len(r.Messages)+len(r.Events) > 0
}

// Advance says that the last Ready is carried out.
func (m *Machine) Advance() {
	m.tx.advance()
}

// NextWake is when to Step(Tick) at the latest; zero: not needed.
func (m *Machine) NextWake() time.Time { return m.tx.ready.NextWake }

// append adds an entry to this device's own log: signed, in the set, in the next
// transaction and in the next envelope.
func (m *Machine) append(now time.Time, kind wire.Kind, body any) (*dag.Item, error) {
	most := wire.MaxDeps
	first := m.logs.Head(m.own.log) == nil
	if kind == wire.KindRecord && !first {
		most = 16 // enough to link the logs; the next entries name the rest
	}
	e := &wire.Entry{
		V: wire.Version, Group: m.own.group, Device: m.own.log.Device, Incarnation: m.own.log.Incarnation, Seq: 1,
		Deps: m.logs.Frontier(m.own.log, most), Kind: kind, Body: wire.Marshal(body),
	}
	if head := m.logs.Head(m.own.log); head != nil {
		e.Seq, e.Prev = head.Seq+1, head.Hash
	} else if d := m.rosters.now.Devices[m.own.log.Device]; d != nil && d.By != nil && !slices.Contains(e.Deps, d.By.Hash) {
		e.Deps = append(e.Deps[:min(len(e.Deps), most-1)], d.By.Hash) // see dag.Logs.Check
		slices.SortFunc(e.Deps, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	}
	e.HLC = uint64(dag.DateAfter(now, m.logs.Clock.Last(), m.logs.NewestOf(e)))
	signed := m.cfg.LogKey.Sign(wire.DomainEntry, m.own.group, e.Encode())
	s := &dag.SignedEntry{Raw: signed.Encode(), Signed: signed, Entry: e, Hash: wire.EntryHashOf(m.own.group, signed.Payload)}
	if len(s.Raw) > wire.MaxEntry {
		return nil, fmt.Errorf("%v: %w: %d bytes", kind, wire.ErrTooLarge, len(s.Raw))
	}
	it := m.logs.Item(s, m.cfg.Device)
	var err error
	if kind == wire.KindRecord { // just made: there is nothing to read
		it = m.logs.FillPast(it, e)
	} else {
		it, err = m.logs.Fill(it, e, m.own.group, m.cfg.Engine)
	}
	if err != nil {
		return nil, fmt.Errorf("own %v: %w", kind, err)
	}
	if err := m.insert(it, e); err != nil {
		return nil, fmt.Errorf("own %v: %w", kind, err)
	}
	m.tx.put(itemKey(it), s.Raw)
	m.twins.wrote(it)
	m.packs.note(it, e)
	m.tx.outgoing.Entries = append(m.tx.outgoing.Entries, s.Raw)
	return it, nil
}

// next is the date of an entry that this device would write now.
func (m *Machine) next(now time.Time) crdt.HLC { return dag.DateAfter(now, m.logs.Clock.Last()) }

// insert adds a checked item to the set and to all that is derived from it.
func (m *Machine) insert(it *dag.Item, e *wire.Entry) error {
	var n *epochs.Node
	var err error
	it.Date(crdt.HLC(e.HLC))
	switch {
	case it.Commit != nil:
		n, err = m.tree.Commit(it, m.cfg.Engine, m.logs.InPast)
	case it.Op != nil && it.Op.Type == wire.OpReboot:
		n, err = m.tree.Reboot(it, m.logs.InPast)
	}
	if err != nil {
		delete(it.Author.Dates, it.Hash)
		return err
	}
	if it.Op != nil {
		m.rosters.at(it).Judge(it, m.cfg.Genesis)
	}
	m.logs.Add(it, e)
	if n != nil && (it.Commit != nil || it.Facts.Has(dag.IsPermitted)) {
		m.tree.Add(n)
	}
	m.tree.Stand(it, m.logs.InPast)
	m.rosters.came(it)
	if m.logs.Grew {
		m.evidence.recount()
	}
	m.keys.note(it)
	if it.Commit != nil {
		it.Slim()
	}
	return nil
}
