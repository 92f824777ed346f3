package authority

import "github.com/pandanode/pandanode/node/wire"

// rests returns the operations that the authority of an operation rests on: the last grant
// to its author that the author knew, if it needs one; the addition of the author's device;
// of a clerk's addition that of its author, and the operation that gave out the invite; and
// the operations that these rest on.
func (s *resolution) rests(x *Op) []*Op {
	if x.grant == nil && x.admitted == nil && !x.clerk() {
		return nil
	}
	if known, ok := s.restsOf[x]; ok {
		return known
	}
	var out []*Op
	seen, todo := map[*Op]bool{}, []*Op{x}
	for len(todo) > 0 {
		y := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		parents := [4]*Op{nil, y.admitted}
		if y.need <= wire.RoleAdmin {
			parents[0] = y.grant
		}
		if y.clerk() {
			parents[2] = y.since
		}
		if y.clerk() && y.Why == wire.WhyInvite {
			parents[3] = s.issue(y)
		}
		for _, g := range parents {
			if g != nil && !seen[g] {
				seen[g] = true
				out, todo = append(out, g), append(todo, g)
			}
		}
	}
	if len(out) <= 8 {
		s.restsOf[x] = out // longer lists are not kept: for a chain of n operations they would take n²
	}
	return out
}

// rooted says whether an operation's author has the authority for it by the grants and
// losses that stand and that the author knew.
func (s *resolution) rooted(x *Op) bool {
	return x.need > wire.RoleAdmin || s.roleBy(s.about(x.User), x.User, x) <= x.need
}

// roleBy returns the role of a user by the grants and losses about that user in an
// operation's past.
func (r *Resolver) roleBy(about []*Op, u wire.UserID, x *Op) wire.Role {
	for i := len(about) - 1; i >= 0; i-- {
		if g := about[i]; g != x && r.knows(x.Ref, g.Ref) {
			if g.grants() {
				return g.Role
			}
			return out
		}
	}
	if u == r.genesis.Founder {
		return wire.RoleOwner
	}
	return out
}

// memberIn says whether a user is a member by the operations in an entry's past that count.
func (r *Resolver) memberIn(to *Roster, u wire.UserID, past Ref) bool {
	added := false
	var last *Op // the last addition that it knows; nil: the genesis
	adds := to.additions.at(u)
	for i := len(adds) - 1; i >= 0 && !added; i-- {
		if adds[i] == nil || r.knows(past, adds[i].Ref) {
			added, last = true, adds[i]
		}
	}
	if !added {
		return false
	}
	about := to.authority.at(u)
	for i := len(about) - 1; i >= 0; i-- {
		q := about[i]
		if last != nil && q.compare(last) < 0 {
			break
		}
		if (q.Type == wire.OpRemove || q.Type == wire.OpLeave) && r.knows(past, q.Ref) {
			return false
		}
	}
	return true
}

// roleIn returns the role of a user by the operations in an entry's past that count, or
// out.
func (r *Resolver) roleIn(to *Roster, u wire.UserID, past Ref) wire.Role {
	if !r.memberIn(to, u, past) {
		return out
	}
	role, by := out, (*Op)(nil)
	if u == r.genesis.Founder {
		role = wire.RoleOwner
	}
	take := func(y *Op, as wire.Role) {
		if r.knows(past, y.Ref) && (by == nil || by.compare(y) < 0) {
			role, by = as, y
		}
	}
	for _, y := range to.additions.at(u) {
		if y != nil && to.adopted.has(y.Hash) {
			take(y, max(y.Role, wire.RoleMember))
		} else if y != nil {
			take(y, y.Role)
		}
	}
	for _, y := range to.authority.at(u) {
		if y.Type == wire.OpRole {
			take(y, y.Role)
		}
	}
	return role
}
