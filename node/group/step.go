package group

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// New makes the machine from the durable rows; a restart is the same call.
func New(cfg Config, now time.Time) (*Machine, error) {
	cfg.Retention = cmp.Or(cfg.Retention, defaultRetention)
	cfg.UpdateEvery = cmp.Or(cfg.UpdateEvery, defaultUpdateEvery)
	group := cfg.Genesis.ID
	m := &Machine{cfg: cfg, logs: dag.NewLogs(cfg.Genesis.Device), tree: epochs.NewTree(group), tx: newTx(group, cfg.Rows)}
	m.own = &ownState{group: group, log: wire.LogID{Device: cfg.Device.ID, Incarnation: cfg.Incarnation}, tx: m.tx}
	m.rosters = newRosters(cfg.Genesis, m.logs, m.tx)
	m.fork = fork{settling: settling{timers: &m.timers}, refused: newRefusals(m.own, &m.timers, m.tx)}
	m.leaf = &leafKeys{tx: m.tx, timers: &m.timers, cfg: &m.cfg, own: m.own, packages: map[[32]byte]*ownKeyPackage{}}
	m.keys = newKeyring(m.tx, &m.cfg, m.own, m.leaf, m.logs, m.rosters)
	m.epochs = newEpochStore(m.tx, &m.timers, cfg.Engine, group, cfg.Retention)
	m.packs = packs{tx: m.tx, logs: m.logs, group: group, engine: cfg.Engine, insert: m.insert}
	m.differ = differ{engine: cfg.Engine, deviceOf: m.epochs.deviceOf, unusable: map[[32]byte]bool{}, checked: map[[32]byte]time.Time{}}
	read := reader{tx: m.tx, group: group, engine: cfg.Engine}
	m.evidence = &watch{tx: m.tx, group: group, logs: m.logs, rosters: m.rosters, keys: m.keys, read: read}
	m.evidence.meter = &meter{logs: m.logs, rosters: m.rosters, timers: &m.timers, own: m.own.log.Device, of: map[wire.DeviceID]*metered{}, out: map[wire.UserID]outflow{}}
	m.judge = judge{read: read, rosters: m.rosters, deviceOf: m.epochs.deviceOf, checkCredential: m.epochs.checkCredential, rejoins: read.rejoins}
	known := records{logs: m.logs, rosters: m.rosters, self: &m.own.log}
	m.messages = newMessages(known, m.tx, &m.timers, m.tree, m.epochs)
	m.messages.own, m.messages.engine, m.messages.rand, m.messages.read = m.own, cfg.Engine, cfg.Rand, read
	m.messages.owing.earlier.read = read
	m.messages.receipts = newReceipts(known, m.tx, &m.timers, m.keys, cfg.LogKey)
	m.messages.receipts.deliveredTo = m.messages.deliveredTo
	m.messages.reseal.rank = m.rank
	m.peers = &peers{
		tx: m.tx, timers: &m.timers, logs: m.logs, read: read, changed: m.differ.changed, of: map[wire.DeviceID]*peerState{},
		own: m.own.log.Device, idle: func() time.Duration { return idleFor(m.own.Out, m.joining.request != nil) },
		reseal: &m.messages.reseal,
	}
	m.joining = &joining{
		tx: m.tx, timers: &m.timers, group: group, device: cfg.Device, engine: cfg.Engine, trees: map[wire.EpochID]bool{},
		leaf: m.leaf, epochs: m.epochs, peers: m.peers, newRejoin: m.newRejoin, cameBy: cameBy{tx: m.tx},
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("group %v: %w", group, err)
	}
	m.twins = twins{tx: m.tx, logs: m.logs, own: m.own.log.Device, started: now}
	if !cfg.Kept.IsZero() {
		m.Keep(cfg.Kept, earliest(cfg.Ends, cfg.Kept), now)
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
	if err := errors.Join(m.keys.load(), m.leaf.load(), m.epochs.load(), m.joining.load(), m.evidence.load(), m.rosters.load()); err != nil {
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
	m.rosters.loaded()
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
	letIn(m, now)
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
// Messages expire by ends, which is not after it. Without it all three are one.
func (m *Machine) Keep(kept, ends, now time.Time) { m.timers.keep(kept, ends, now) }

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

// act refuses what From holds: Step takes the input out of it.
func (in From) act(*Machine, time.Time, *Outcome) error {
	return fmt.Errorf("%w: input %T", verdict.ErrUnknown, in)
}

func (Tick) act(*Machine, time.Time, *Outcome) error { return nil }
