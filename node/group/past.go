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
		if p.base != nil {
			if n := len(*p.base); n > len(v) {
				v = append(v, make(vector, n-len(v))...)
			}
			for list, seq := range *p.base {
				v[list] = max(v[list], seq)
			}
		}
		for _, o := range p.over {
			v = v.with(o.list, o.seq)
		}
	}
	return v.with(int(it.list), it.seq)
}

// past is what the causal past of an item has of other branches than the item's own.
// There is one for every entry, and most logs say nothing between two of them: so it is
// a vector that many pasts share, and what lies above it.
type past struct {
	base  *vector // shared: never changed; nil: zeros
	over  []above
	spent int // entries of over in those that led from the base to this one, about
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
	if p.base == nil {
		return 0
	}
	return p.base.seq(list)
}

// pastOf gives v without one branch as a past: near, which v covers, if it says the
// same; else one with the base of near, until those that share it have taken as much room
// above it as a base of one's own does.
func pastOf(v vector, own int, near *past) *past {
	var from past
	if near != nil {
		from = *near
	}
	var base vector
	if from.base != nil {
		base = *from.base
	}
	n, same := 0, true
	for list, seq := range v {
		if list != own && seq > base.seq(list) {
			n++
			same = same && near.seq(list) == seq
		}
	}
	switch {
	case same && n == len(from.over):
		return near
	case from.spent+n > len(v):
		base = slices.Clone(v)
		return &past{base: &base}
	}
	p := &past{base: from.base, over: make([]above, 0, n), spent: from.spent + n}
	for list, seq := range v {
		if list != own && seq > base.seq(list) {
			p.over = append(p.over, above{list, seq})
		}
	}
	return p
}
