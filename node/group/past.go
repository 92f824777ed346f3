package group

import "slices"

// vector says, for each branch of a log by its position in logs.lists, up to which seq
// it goes. Shorter ones stand for zeros.
type vector []uint64

func (v vector) seq(list int) uint64 {
	if list < len(v) {
		return v[list]
	}
	return 0
}

// with raises a vector, in place where it is long enough, to a seq of a branch.
func (v vector) with(list int, seq uint64) vector {
	if list >= len(v) {
		v = append(v, make(vector, list+1-len(v))...)
	}
	v[list] = max(v[list], seq)
	return v
}

// join raises a vector to all that an item of the set has in its causal past, itself
// included.
func (v vector) join(it *item) vector {
	if p := it.past; p != nil {
		if len(p.base) > len(v) {
			v = append(v, make(vector, len(p.base)-len(v))...)
		}
		for list, seq := range p.base {
			v[list] = max(v[list], seq)
		}
		for _, o := range p.over {
			v = v.with(o.list, o.seq)
		}
	}
	return v.with(it.list, it.seq)
}

// past is what the causal past of an item has of other branches than the item's own.
// There is one for every entry, and most logs say nothing between two of them: so it is
// a vector that many pasts share, and what lies above it.
type past struct {
	base vector // shared: never changed
	over []above
}

type above struct {
	list int
	seq  uint64
}

// seq is up to which seq a branch lies in a past; of a nil one none does.
func (p *past) seq(list int) uint64 {
	if p == nil {
		return 0
	}
	for _, o := range p.over {
		if o.list == list {
			return o.seq
		}
	}
	return p.base.seq(list)
}

// pastOf gives v without one branch as a past: near, which v covers, if it says the
// same; else one that shares the base of near, until what lies above it takes as much
// room as a base of one's own, shared by those that follow, would.
func pastOf(v vector, own int, near *past) *past {
	var base vector
	if near != nil {
		base = near.base
	}
	n, same := 0, near != nil
	for list, seq := range v {
		if list != own && seq > base.seq(list) {
			n++
			same = same && near.seq(list) == seq
		}
	}
	switch {
	case same && n == len(near.over):
		return near
	case n == 0 && base == nil:
		return nil
	case n*n > len(v):
		return &past{base: slices.Clone(v)}
	}
	p := &past{base: base, over: make([]above, 0, n)}
	for list, seq := range v {
		if list != own && seq > base.seq(list) {
			p.over = append(p.over, above{list, seq})
		}
	}
	return p
}
