package roster

// limit is up to where a log counts in the set that the roster is of.
func (to *Roster) limit(r *Resolver, log int) uint64 { return r.history.Log(log).Len }

// Add takes in an operation that is in the history, judges it in its own past, and gives
// it back. All operations in its past were added before it.
func (r *Resolver) Add(op Op) *Op {
	r.grow()
	x := &op
	view := r.At(x.Ref)
	x.judgement = r.judge(view, x)
	r.take(x)
	return x
}

func (r *Resolver) take(x *Op) {
	r.ofLog[x.Log] = append(r.ofLog[x.Log], x)
	if !x.permitted {
		return
	}
	n := len(r.ops)
	r.ops = append(r.ops, x)
	for ; n > 0 && r.ops[n-1].compare(x) > 0; n-- {
		r.ops[n] = r.ops[n-1]
	}
	r.ops[n] = x
}

// At is the roster of an entry's past.
func (r *Resolver) At(e Ref) *Roster { r.grow(); return r.resolve(r.before(e)) }

// Roster is that of the whole history.
func (r *Resolver) Roster() *Roster { r.grow(); return r.resolve(r.all()) }

// Note takes in an entry that is no operation.
func (r *Resolver) Note(Ref) { r.grow() }
