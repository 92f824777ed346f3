package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// Hostile members hold real keys. From `hostile NODE` on, the device's own machine only
// watches: nobody hears it or syncs with it. The others hear only entries that are crafted
// here with the device's log key and the MLS epochs that its spy kept.
var hostileVerbs = map[string]*verb{
	"hostile":    {usage: "hostile NODE", check: nodesAt(1, 1), do: doHostile},
	"late":       {usage: "late NODE [from=EPOCH] [n=COUNT]: a chain of commits from an old epoch", opts: []string{"from", "n"}, check: withCount(nodesAt(1, 1)), do: doLate},
	"equivocate": {usage: "equivocate NODE WHO… | WHO…: a different commit and operation, of one seq, to each side", check: checkEquivocate, do: doEquivocate},
	"swing":      {usage: "swing NODE [for=WHOM]: vote for the branch that is losing, or for where WHOM stood last", opts: []string{"for"}, check: checkSwing, do: doSwing},
	"garbage":    {usage: "garbage NODE [n=COUNT]: seals that open to nothing", opts: []string{"n"}, check: withCount(nodesAt(1, 1)), do: doGarbage},
	"replay":     {usage: "replay NODE: all envelopes it ever got, three times, in reverse", check: nodesAt(1, 1), do: doReplay},
	"broken":     {usage: "broken NODE: a commit that nobody can process", check: nodesAt(1, 1), do: doBroken},
	"claim":      {usage: "claim NODE: a COMMIT that names another commit's child", check: nodesAt(1, 1), do: doClaim},
	"bully":      {usage: "bully NODE WHOM…: operations that remove them, whatever its role", check: nodesAt(2, 64), do: doBully},
}

// puppet crafts entries for a device's log.
type puppet struct {
	s    *seat
	seq  uint64
	prev wire.EntryHash
	hlc  uint64
	mine map[wire.EntryHash]bool // crafted
	via  *cnode                  // who carries what it writes; nil: itself
}

func doHostile(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	if s.m == nil {
		return errDown
	}
	p := &puppet{s: s, mine: map[wire.EntryHash]bool{}}
	for _, m := range s.m.Marks() {
		if m.Log == s.log() {
			p.seq, p.prev = m.Seq, m.Hash
		}
	}
	s.n.hostile, s.puppet = true, p
	for _, x := range w.hist.sent {
		if x.Seat.n == s.n {
			x.Void = true // it may withhold a promised message
		}
	}
	w.hist.mark(w, s.n, "hostile", "")
	return nil
}

func (w *core) puppetOf(a Action) (*puppet, error) {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return nil, err
	}
	if s.puppet == nil || s.m == nil {
		return nil, errors.New("it is not hostile, or does not run")
	}
	return s.puppet, nil
}

// puppetKnowing is puppetOf, with what it knows.
func (w *core) puppetKnowing(a Action) (*puppet, *dag, error) {
	p, err := w.puppetOf(a)
	if err != nil {
		return nil, nil, err
	}
	d, err := p.known()
	return p, d, err
}

// known holds the entries that the device may build on: the public ones.
func (p *puppet) known() (*dag, error) {
	all, _, err := p.s.m.EntriesAfter(p.s.n.dev.ID, nil, wire.EntryHash{}, 64<<20)
	if err != nil {
		return nil, err
	}
	if o := p.honest(); o != nil { // a member that it could have a stream with
		more, _, err := o.m.EntriesAfter(p.s.n.dev.ID, nil, wire.EntryHash{}, 64<<20)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	raws := map[wire.EntryHash][]byte{}
	for _, b := range all {
		signed, err := wire.DecodeSigned(b, wire.MaxEntry+128)
		if err != nil {
			continue
		}
		e, err := wire.DecodeEntry(signed.Payload)
		hash := wire.EntryHashOf(p.s.g.genesis.ID, signed.Payload)
		if err != nil || e.Device == p.s.n.dev.ID && e.Seq > p.from() && !p.mine[hash] {
			continue
		}
		raws[hash] = b
	}
	return readDag(p.s.g.genesis, p.s.g.engine(), raws), nil
}

// from is the last seq of the log that the device's own machine wrote.
func (p *puppet) from() uint64 { return p.seq - uint64(len(p.mine)) }

// craft signs an entry of the device's log, after the entries it knows. It does not advance
// the log, so that two calls in a row equivocate.
func (p *puppet) craft(d *dag, kind wire.Kind, body any) ([]byte, *wire.Entry) {
	e := &wire.Entry{
		V: wire.Version, Group: p.s.g.genesis.ID, Device: p.s.n.dev.ID, Incarnation: p.s.log().Incarnation, Seq: p.seq + 1, Prev: p.prev,
		Kind: kind, HLC: max(uint64(crdt.HLCFromTime(p.s.n.clock())), p.hlc+1), Body: wire.Marshal(body),
	}
	for _, x := range d.entries {
		e.HLC = max(e.HLC, x.entry.HLC+1)
	}
	e.Deps = slices.DeleteFunc(d.heads(), func(h wire.EntryHash) bool { return h == p.prev || d.by[h].entry.Device == e.Device })
	signed := p.s.n.log.Sign(wire.DomainEntry, e.Group, e.Encode())
	return signed.Encode(), e
}

// advance moves the log on, past an entry.
func (p *puppet) advance(e *wire.Entry) {
	p.seq, p.prev, p.hlc = e.Seq, wire.EntryHashOf(e.Group, e.Encode()), e.HLC
	p.mine[p.prev] = true
}

// deliver gives entries to devices as a sync stream does; nil: to all that the device reaches.
func (p *puppet) deliver(to map[*cnode]bool, entries ...[]byte) {
	p.give(to, group.Entries{Entries: entries})
}

// give is deliver of any inputs.
func (p *puppet) give(to map[*cnode]bool, inputs ...group.Input) {
	w := p.s.w()
	from := p.s.n
	if p.via != nil {
		from = p.via
	}
	for _, o := range p.s.g.seats {
		if o == p.s || to != nil && !to[o.n] || from != o.n && !w.net.reaches(from, o.n) {
			continue
		}
		w.after(w.sc.Link.Latency+w.net.jitter(w.sc.Link.Jitter), func() {
			if from == o.n || w.net.reaches(from, o.n) {
				for _, in := range inputs {
					_, _ = o.step(in)
				}
			}
		})
	}
}

// commit makes a commit on an epoch that the device once held.
func (p *puppet) commit(parent *dagEpoch) (*wire.Commit, error) {
	c, _, err := p.commitWith(parent, engine.Change{})
	return c, err
}

// commitWith is commit with a change, and gives the tree that follows.
func (p *puppet) commitWith(parent *dagEpoch, c engine.Change) (*wire.Commit, []byte, error) {
	e := p.s.spy.epochs[string(parent.interim)]
	if e == nil {
		return nil, nil, fmt.Errorf("it never held epoch %d", parent.number)
	}
	c.Now, c.Signer, c.Check = p.s.n.clock(), p.s.spy.signer, func(_, _ []byte) error { return nil }
	if c.JoinSecrets == nil {
		c.JoinSecrets = wire.Marshal(&wire.JoinSecrets{TransportKeys: [][]byte{bytes.Repeat([]byte{1}, 32)}})
	}
	out, err := e.Commit(p.s.n.chance, c)
	if err != nil {
		return nil, nil, err
	}
	child := wire.EpochIDOf(p.s.g.genesis.ID, parent.root, parent.number+1, out.Epoch.Interim())
	return &wire.Commit{Parent: parent.id, Child: child, Commit: out.Commit, Welcome: out.Welcome}, out.Epoch.Tree(), nil
}

// at gives the epoch with a number on the chain to the device's position.
func (p *puppet) at(d *dag, number string) (*dagEpoch, error) {
	n := d.epochs[p.s.position]
	for _, e := range slices.Backward(d.inOrder()) {
		if n == nil && p.s.spy.epochs[string(e.interim)] != nil {
			n = e
		}
	}
	if number != "" {
		want, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, err
		}
		for n != nil && n.number > want {
			n = n.parent
		}
	}
	if n == nil {
		return nil, errors.New("no such epoch")
	}
	return n, nil
}

func doLate(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	from, _ := a.opt("from")
	at, err := p.at(d, from)
	if err != nil {
		return err
	}
	var entries [][]byte
	for range a.count() {
		c, err := p.commit(at)
		if err != nil {
			return err
		}
		raw, e := p.craft(d, wire.KindCommit, c)
		p.advance(e)
		entries = append(entries, raw)
		interim, err := p.s.spy.NextInterim(at.interim, c.Commit)
		if err != nil {
			return err
		}
		at = &dagEpoch{id: c.Child, number: at.number + 1, root: at.root, interim: interim, parent: at}
	}
	p.deliver(nil, entries...)
	return nil
}

func checkEquivocate(sc *Scenario, a Action) error {
	s := sides(a.Args)
	if len(s) != 2 || len(s[0]) < 2 || len(s[1]) < 1 {
		return errors.New("two sides")
	}
	return checkSides(sc, a)
}

func doEquivocate(w *core, a Action) error {
	s := sides(a.Args)
	a.Args = []string{s[0][0]}
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	at, err := p.at(d, "")
	if err != nil {
		return err
	}
	for i, names := range [][]string{s[0][1:], s[1]} {
		to := map[*cnode]bool{}
		for _, n := range names {
			to[w.nodeOf(n)] = true
		}
		c, err := p.commit(at)
		if err != nil {
			return err
		}
		branch := *p
		branch.mine = map[wire.EntryHash]bool{}
		raw, e := branch.craft(d, wire.KindCommit, c)
		branch.advance(e)
		victim := w.nodeOf([][]string{s[1], s[0][1:]}[i][0]).dev.User
		op, e2 := branch.craft(d, wire.KindOp, &wire.Op{Type: wire.OpRemove, User: &victim})
		p.deliver(to, raw, op)
		if i == 1 {
			p.advance(e)
			p.advance(e2)
		}
	}
	return nil
}

// honest returns a member that the device reaches and that knows the chosen epoch. The
// device's own machine, which nobody hears, may be in another epoch by its own commits.
func (p *puppet) honest() *seat {
	for _, o := range p.s.g.seats {
		if !o.n.hostile && o.isIn() && p.s.w().net.reaches(o.n, p.s.n) {
			return o
		}
	}
	return nil
}

func checkSwing(sc *Scenario, a Action) error {
	if whom, ok := a.opt("for"); ok && sc.node(whom) < 0 {
		return fmt.Errorf("there is no node %q", whom)
	}
	return nodesAt(1, 1)(sc, a)
}

func doSwing(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	var loser *dagEpoch
	if whom, ok := a.opt("for"); ok {
		for _, m := range w.hist.moves {
			if m.Seat.n.name == whom && m.Seat.g == p.s.g && d.epochs[m.To] != nil {
				loser = d.epochs[m.To]
			}
		}
	} else if o := p.honest(); o != nil {
		head := d.epochs[o.m.Status().Head]
		for _, e := range d.inOrder() {
			if len(e.children) == 0 && head != nil && !head.under(e) {
				loser = e
			}
		}
	}
	if loser == nil {
		return errors.New("no branch is losing")
	}
	raw, e := p.craft(d, wire.KindVote, &wire.Vote{Position: loser.id})
	p.advance(e)
	p.deliver(nil, append(d.raw(), raw)...)
	return nil
}

func doGarbage(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	var seals [][]byte
	for _, e := range slices.Backward(d.entries) {
		if e.entry.Kind != wire.KindRecord || len(seals) >= a.count() {
			continue
		}
		junk := make([]byte, 300)
		_, _ = p.s.n.chance.Read(junk)
		seals = append(seals, wire.Marshal(&wire.Seal{Message: e.hash, Epoch: p.s.position, Sealer: p.s.n.dev.ID, PrivateMessage: junk}))
	}
	for _, o := range p.s.g.seats {
		if o != p.s && w.net.reaches(p.s.n, o.n) {
			_, _ = o.step(group.Seals{Seals: seals})
		}
	}
	return nil
}

func doReplay(w *core, a Action) error {
	p, err := w.puppetOf(a)
	if err != nil {
		return err
	}
	tape := slices.Clone(p.s.tape)
	slices.Reverse(tape)
	for i, envelope := range slices.Concat(tape, tape, tape) {
		w.after(time.Duration(i)*10*time.Millisecond, func() { w.net.publish(p.s, envelope, nil) })
	}
	return nil
}

func doBroken(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	at, err := p.at(d, "")
	if err != nil {
		return err
	}
	c, err := p.commit(at)
	if err != nil {
		return err
	}
	// The last 33 bytes are the membership_tag and its length, the 33 before them the
	// confirmation_tag and its: no signature covers these bytes (RFC 9420, Section 6.1).
	c.Commit[len(c.Commit)-40] ^= 1
	interim, err := p.s.spy.NextInterim(at.interim, c.Commit)
	if err != nil {
		return err
	}
	c.Child = wire.EpochIDOf(p.s.g.genesis.ID, at.root, at.number+1, interim)
	raw, e := p.craft(d, wire.KindCommit, c)
	p.advance(e)
	p.deliver(nil, raw)
	return nil
}

func doClaim(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	at, err := p.at(d, "")
	if err != nil || at.parent == nil {
		return errors.Join(err, errors.New("nothing to claim"))
	}
	c, err := p.commit(at.parent)
	if err != nil {
		return err
	}
	c.Child = at.id
	raw, _ := p.craft(d, wire.KindCommit, c)
	p.deliver(nil, raw)
	return nil
}

func doBully(w *core, a Action) error {
	p, d, err := w.puppetKnowing(a)
	if err != nil {
		return err
	}
	var entries [][]byte
	for _, whom := range a.Args[1:] {
		victim := w.nodeOf(whom).dev.User
		raw, e := p.craft(d, wire.KindOp, &wire.Op{Type: wire.OpRemove, User: &victim})
		p.advance(e)
		entries = append(entries, raw)
	}
	p.deliver(nil, entries...)
	return nil
}
