package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
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
	} else if d := m.rosters.now.Device(m.own.log.Device); d != nil && d.By != nil && !slices.Contains(e.Deps, d.By.Hash) {
		e.Deps = append(e.Deps[:min(len(e.Deps), most-1)], d.By.Hash) // see dag.Logs.Check
		slices.SortFunc(e.Deps, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	}
	e.HLC = uint64(dag.DateAfter(now, m.logs.Clock.Last(), m.logs.Places(e)...))
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
	if it.Op != nil {
		if err := m.rosters.now.May(m.cfg.Device, it, crdt.HLC(e.HLC)); err != nil {
			return nil, err
		}
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
	m.logs.Add(it, e)
	m.rosters.came(it)
	if it.Target != nil && it.Facts.Has(dag.IsPermitted) {
		if m.logs.Introduce(it); len(m.logs.Adders[it.Target.Device.ID]) == 1 {
			m.logs.DropForged(m.own.group, it.Target.Device)
		}
	}
	for _, f := range m.logs.Found() {
		m.evidence.flood(f)
	}
	if n != nil && (it.Commit != nil || it.Facts.Has(dag.IsPermitted)) {
		m.tree.Add(n)
	}
	m.tree.Stand(it, m.logs.InPast)
	if m.logs.Grew {
		m.evidence.recount()
	}
	m.keys.note(it)
	if it.Commit != nil {
		it.Slim()
	}
	return nil
}

// rank is this device's place in the order in which devices step in at an epoch,
// so that one usually acts and any can.
func (m *Machine) rank() time.Duration {
	return time.Duration(m.rosters.rank(m.own.group, m.own.Position, m.own.log.Device))
}

// Input is an event for the machine: a person's request, something that arrived, or time.
// Each carries itself out: it changes nothing if it gives an error.
type Input interface {
	act(m *Machine, now time.Time, out *Outcome) error
}
