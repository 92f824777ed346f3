package discovery

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// merge is the join of two records of one group.
//
// The chain of authority is a maximum of a total order, and the fields live
// *under* their chain: of two records with different chains the result has the
// fields of the higher one alone; under the same chain, fields and heads join
// register by register (last writer, then lower hash; newest head per device, then
// the newest wire.MaxHeads). This lexicographic product is a semilattice, exactly:
// commutative, associative, idempotent, for all records that verify accepts.
//
// Filtering the other record's fields by the winning chain instead would carry more over,
// and would not be associative: a field of X, who is in chain A, not in B and again in C
// above both, would survive A ⊔ (B ⊔ C) and not (A ⊔ B) ⊔ C. Readers that hold all values
// at once carry fields over with collect.
func merge(a, b *Info) (*Info, error) {
	if a.Group != b.Group {
		return nil, fmt.Errorf("merging: %w", errForeignGroup)
	}
	return mergeParts(a, b).info(), nil
}

func mergeParts(a, b *Info) *parts {
	p := a.parts()
	switch c := a.chain.compare(b.chain); {
	case c < 0:
		p = b.parts()
	case c == 0:
		if s, t := a.chain.seal(), b.chain.seal(); bytes.Compare(t[:], s[:]) < 0 {
			p.chain = b.chain
		}
		for f := range p.profile {
			p.profile[f] = a.profile[f].Merge(b.profile[f])
		}
		p.heads = mergeHeads(a.heads, b.heads)
	}
	// The founder can sign one genesis twice; the payload, and with it the group, is the same.
	if bytes.Compare(b.raw.Signature, a.raw.Signature) < 0 {
		p.raw, p.genesis = b.raw, b.Genesis
	} else {
		p.raw, p.genesis = a.raw, a.Genesis
	}
	return p
}

// mergeHeads keeps the newest head of each device, and of those the newest wire.MaxHeads. A
// head that falls off never comes back, because the heads that displaced it only get newer.
// So it does not matter when the list is cut.
func mergeHeads(a, b []Head) []Head {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y Head) int { return compareHeads(y, x) })
	seen := make(map[wire.DeviceID]bool, len(all))
	out := make([]Head, 0, wire.MaxHeads)
	for _, h := range all {
		if len(out) == wire.MaxHeads {
			break
		}
		if !seen[h.Device.ID] {
			seen[h.Device.ID] = true
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(x, y Head) int { return bytes.Compare(x.Device.ID[:], y.Device.ID[:]) })
	return out
}

// compareHeads orders heads by time, then by lower hash.
func compareHeads(a, b Head) int {
	return cmp.Or(cmp.Compare(a.HLC, b.HLC), bytes.Compare(a.tie[:], b.tie[:]))
}

// onto is the record under another chain: the fields and heads that count there.
func (i *Info) onto(chain *authority) *parts {
	p := i.parts()
	p.chain = chain
	for f, r := range p.profile {
		if r.Value != nil && !chain.maySetProfile(r.Value.Signer) {
			p.profile[f] = crdt.LWW[*profileItem]{}
		}
	}
	p.heads = slices.DeleteFunc(p.heads, func(h Head) bool { return !chain.mayHead(h.Device) })
	return p
}

// collect is the merge of all values at hand, together with those fields of lower chains
// that count under the highest one. It depends on the set of values only, not on their
// order, and stands at or above the merge of them. Readers put its result back, so that a
// name that an admin set while an owner changed the authority survives if one reader sees
// both. It is no fold of merge: in the case that merge describes, the fields that are
// carried over depend on which values a reader saw together. Readers that then exchange
// their results still agree.
func collect(values ...*Info) (*Info, error) {
	if len(values) == 0 {
		return nil, fmt.Errorf("collecting: %w: no record", wire.ErrMalformed)
	}
	out := values[0]
	for _, v := range values[1:] {
		var err error
		if out, err = merge(out, v); err != nil {
			return nil, err
		}
	}
	for _, v := range values {
		if v.chain.compare(out.chain) < 0 {
			out = mergeParts(out, v.onto(out.chain).info()).info()
		}
	}
	return out, nil
}

// compare is a total order on records: negative when a stands below b, and zero
// only for equal bytes. Higher authority first, then the newer name, description,
// tags and policy, then the newer heads, then lower hashes. It extends the order of
// merge: merge(a, b) is never below a or b, so a record that dominates another is
// always preferred to it.
func compare(a, b *Info) int {
	if c := cmp.Or(bytes.Compare(b.Group[:], a.Group[:]), a.chain.compare(b.chain)); c != 0 {
		return c
	}
	for f := range a.profile {
		if c := a.profile[f].Compare(b.profile[f]); c != 0 {
			return c
		}
	}
	// The i-th newest head of a join is never older than the i-th newest of a side,
	// so comparing the sorted lists element by element respects the join.
	if c := slices.CompareFunc(a.Heads, b.Heads, compareHeads); c != 0 {
		return c
	}
	s, t := a.chain.seal(), b.chain.seal()
	return cmp.Or(bytes.Compare(t[:], s[:]), bytes.Compare(b.raw.Signature, a.raw.Signature))
}

// adds says whether b holds anything that a lacks, fields that only collect would carry
// over included.
func adds(a, b *Info) bool {
	c, err := collect(a, b)
	return err == nil && !c.equal(a)
}
