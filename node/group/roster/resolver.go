package roster

import (
	"crypto/sha256"

	"github.com/pandanode/pandanode/node/group/authority"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Resolver resolves the rosters of a set of entries that grows.
type Resolver struct {
	genesis *identity.Genesis
	logs    *dag.Logs
	by      *authority.Resolver
	ops     map[*dag.Item]*authority.Op
	of      map[*authority.Roster]*Roster // those asked for lately
	now     *Roster

	// Remembered gives the verdict on an operation that was taken before; nil while none is.
	Remembered func(wire.EntryHash) (Verdict, bool)
}

// Verdict is what an operation was found to be in its own past.
type Verdict = authority.Verdict

// Refusal is why an operation may not be made.
type Refusal = authority.Refusal

// Rules is the version of the rules by which verdicts are made.
const Rules = authority.Rules

// NewResolver makes the resolver of a set that has no entries yet.
func NewResolver(genesis *identity.Genesis, logs *dag.Logs) *Resolver {
	g := authority.Genesis{ID: genesis.ID, Founder: genesis.Device.User, Device: genesis.Device.ID, Policy: genesis.Policy}
	return &Resolver{
		genesis: genesis, logs: logs, by: authority.New(g, set{logs}),
		ops: map[*dag.Item]*authority.Op{}, of: map[*authority.Roster]*Roster{},
	}
}

// set is a set of entries as package authority sees it.
type set struct{ logs *dag.Logs }

func (s set) Logs() int { return len(s.logs.Lists) }

func (s set) Log(i int) authority.Log {
	l := s.logs.Lists[i]
	return authority.Log{LogID: l.ID, User: l.Items[0].User, From: l.From, Len: s.logs.CountsUpTo(i)}
}

func (s set) Seen(e authority.Ref, log int) uint64 { return s.logs.Lists[e.Log].At(e.Seq).Seen(log) }

func ref(it *dag.Item) authority.Ref { return authority.Ref{Log: int(it.List), Seq: it.Seq} }

// Came takes an entry that has come into the set, after all that it builds on.
func (s *Resolver) Came(it *dag.Item) {
	if it.Op == nil {
		s.by.Note(ref(it))
		return
	}
	var op *authority.Op
	if v, ok := s.remembered(it); ok {
		op = s.by.AddJudged(s.read(it), v)
	} else {
		op = s.by.Add(s.read(it))
	}
	if s.ops[it] = op; op.Permitted() {
		it.Note(dag.IsPermitted)
	}
}

func (s *Resolver) remembered(it *dag.Item) (v Verdict, ok bool) {
	if s.Remembered == nil {
		return v, false
	}
	return s.Remembered(it.Hash)
}

// Verdict gives what an operation of the set was found to be in its own past.
func (s *Resolver) Verdict(it *dag.Item) Verdict { return s.ops[it].Verdict() }

// Resolves says how often a set was resolved from scratch.
func (s *Resolver) Resolves() int { return s.by.Resolves() }

// Recount notes that other entries of the set count.
func (s *Resolver) Recount() { s.by.Recount() }

// Now gives the roster of all entries that count: the same pointer as before, if nothing
// has changed.
func (s *Resolver) Now() *Roster {
	if r := s.by.Roster(); s.now == nil || s.now.by != r {
		s.now = s.show(r)
	}
	return s.now
}

// At gives the roster as the author of an entry of the set knew it.
func (s *Resolver) At(it *dag.Item) *Roster { return s.show(s.by.At(ref(it))) }

// Founded gives the roster of a group in which nothing has happened.
func (s *Resolver) Founded() *Roster { return s.show(s.by.Founded()) }

// maxShown bounds the rosters that are kept so that the same is the same pointer.
const maxShown = 64

func (s *Resolver) show(r *authority.Roster) *Roster {
	if s.of[r] == nil {
		if len(s.of) >= maxShown {
			clear(s.of)
		}
		s.of[r] = &Roster{s: s, by: r}
	}
	return s.of[r]
}

// Speaks says whether the author of a RECORD of the set could write to the group as far as
// it knew. It never changes.
func (s *Resolver) Speaks(it *dag.Item) bool { return s.by.Speaks(s.by.At(ref(it)), ref(it)) }

// read gives an operation in the terms of package authority.
func (s *Resolver) read(it *dag.Item) authority.Op {
	return s.as(it, authority.Op{
		Ref: ref(it), Hash: it.Hash, HLC: it.HLC, Dated: it.Dated(), User: it.User, Device: it.Log.Device,
	})
}

// as adds what an operation says to who says it.
func (s *Resolver) as(it *dag.Item, op authority.Op) authority.Op {
	o := it.Op
	op.Type, op.Role, op.Why = o.Type, o.Role, o.Why
	if o.User != nil {
		op.Target = *o.User
	}
	if o.Device != nil {
		op.Subject = *o.Device
	}
	for _, t := range []*dag.Target{it.Target, it.Asker} {
		if t != nil {
			op.Target, op.Subject = t.Device.User, t.Device.ID
		}
	}
	if o.Revokes != nil {
		op.Revokes = *o.Revokes
	}
	if in := it.Invited; in != nil {
		op.Invite, op.Claim = invite(in), in.Claim
	}
	if p := it.Profile; p != nil {
		op.Profile = &authority.Register{Field: p.Field, HLC: hlc(p.HLC), Policy: p.Policy}
	}
	if c := o.Setting; c != nil {
		op.Profile = &authority.Register{Key: c.Key, HLC: hlc(c.HLC)}
	}
	if it.Asker != nil {
		op.KeyPackage = sha256.Sum256(o.KeyPackage)
	}
	if o.Reboot != nil {
		op.First = o.Reboot.From == wire.RootEpochID(s.genesis.ID)
	}
	return op
}

func invite(in *dag.Invited) *authority.Invite {
	return &authority.Invite{ID: in.ID, Signer: in.Signer, Role: in.Invite.Role, Uses: in.Invite.Uses, Expires: in.Invite.Expires}
}
