package dag

import (
	"math"
	"slices"
)

// Vector says, for each branch of a log by its position in Logs.Lists, up to which seq
// it goes. Shorter ones stand for zeros.
type Vector []uint64

func (v Vector) seq(list int) uint64 {
	if list < len(v) {
		return v[list]
	}
	return 0
}

// Has says whether an item of the set is at or below a vector.
func (v Vector) Has(it *Item) bool { return v.seq(int(it.List)) >= it.Seq }

// with raises a vector, in place where it is long enough, to a seq of a branch.
func (v Vector) with(list int, seq uint64) Vector {
	if list >= len(v) {
		v = append(v, make(Vector, list+1-len(v))...)
	}
	v[list] = max(v[list], seq)
	return v
}

// Join raises a vector to all that an item of the set has in its causal past, itself
// included.
func (v Vector) Join(it *Item) Vector { return v.joinBut(it, nil) }

// joinBut is Join where some bases are in the vector; it notes the item's.
func (v Vector) joinBut(it *Item, joined map[*base]bool) Vector {
	if p := it.past; p != nil && joined[p.base] {
		for _, o := range p.over {
			v = v.with(int(o.list), o.seq(p.base))
		}
	} else if p != nil {
		if joined != nil {
			joined[p.base] = true
		}
		if n := len(p.base.v); n > len(v) {
			v = append(v, make(Vector, n-len(v))...)
		}
		for list, seq := range p.base.v {
			v[list] = max(v[list], seq)
		}
		for _, o := range p.over {
			v = v.with(int(o.list), o.seq(p.base))
		}
	}
	return v.with(int(it.List), it.Seq)
}

// past holds the part of an item's causal past that lies in other branches than its own.
// There is one for every entry, and most logs say nothing between two of them: so it is a
// vector that many pasts share, and what lies above it.
type past struct {
	base *base
	over []above
}

type base struct {
	v     Vector // never changed
	spent int    // above it in all pasts there are, or were while entries were checked
}

// above is how far a branch goes beyond a base.
type above struct {
	list int32
	by   uint32
}

func (o above) seq(b *base) uint64 { return b.v.seq(int(o.list)) + uint64(o.by) }

// seq is up to which seq a branch lies in a past; of a nil one none does.
func (p *past) seq(list int) uint64 {
	if p == nil {
		return 0
	}
	for _, o := range p.over {
		if int(o.list) == list {
			return o.seq(p.base)
		}
	}
	return p.base.v.seq(list)
}

// pastOf gives v without one branch as a past: near, which v covers, if it says the
// same; else one with the base of near, until those that share it have taken as much room
// above it as a base of one's own does. Every past is made twice: to check the entry, and
// to add it.
func pastOf(v Vector, own int, near *past) *past {
	n, same, far := 0, true, near == nil
	for list, seq := range v {
		if list == own {
			continue
		}
		at := near.seq(list)
		same = same && at == seq
		if near != nil && seq > near.base.v.seq(list) {
			n++
			far = far || seq-near.base.v.seq(list) > math.MaxUint32
		}
	}
	switch {
	case same && (near == nil || n == len(near.over)):
		return near
	case far || near.base.spent+n > 2*len(v):
		return &past{base: &base{v: slices.Clone(v)}}
	}
	p := &past{base: near.base, over: make([]above, 0, n)}
	p.base.spent += n
	for list, seq := range v {
		if at := p.base.v.seq(list); list != own && seq > at {
			p.over = append(p.over, above{int32(list), uint32(seq - at)}) //nolint:gosec // not far
		}
	}
	return p
}
