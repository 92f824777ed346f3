package authority

import (
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// carryOut applies operations in order: the losses and grants that stand, and the other
// operations that none of those makes void.
func (s *resolution) carryOut(ops, stand []*Op) *Roster {
	to := founded(s.genesis)
	if s.base != nil {
		*to = *s.base
	}
	s.stand = make(map[*Op]bool, len(stand))
	for _, x := range stand {
		s.stand[x] = true
	}
	// All standing losses and grants are known from the start, because an operation may be
	// hit by one that comes later in the order.
	for _, x := range stand {
		to.noteStanding(x)
	}
	s.took = nil
	for _, x := range ops {
		s.apply(to, x)
	}
	return to
}

// isIn says whether an operation's author is a member by the operations in its past that
// count.
func (s *resolution) isIn(to *Roster, x *Op) bool {
	return s.memberIn(to, x.User, x.Ref) && to.counted.has(x.Device)
}

// mayStill says whether an operation's author has the authority for it by the losses and
// grants that stand.
func (s *resolution) mayStill(to *Roster, x *Op) bool {
	return x.need > wire.RoleAdmin || !to.users.has(x.User) || s.roleBy(to.authority.at(x.User), x.User, x) <= x.need
}

// apply carries out one operation.
func (s *resolution) apply(to *Roster, x *Op) {
	if rivals := s.rivalsOf[x]; len(rivals) > 0 { // the void of others than additions is noted at the end
		if x.Type == wire.OpAdd {
			to.disown(x, x, rivals, append(s.removals(x), s.blockers(to, x, s.isIn(to, x))...))
		} else if x.Type == wire.OpDeviceAdd {
			to.disown(x, x, rivals, s.againstDevice(to, x))
		}
		return
	}
	if x.loss() || x.Type == wire.OpRole {
		s.applyStanding(to, x)
		return
	}
	if x.Type == wire.OpAdd {
		s.add(to, x)
		return
	}
	by := earliest(s.hitting(s.losses, x))
	if by == nil && x.Type == wire.OpDeviceAdd {
		by = earliest(s.revocationsBeside(x))
	}
	if by != nil || !s.isIn(to, x) || !s.mayStill(to, x) || to.fullFor(x) {
		to.void = to.void.with(x.Hash, Void{x, by})
		if x.Type == wire.OpInvite {
			i := to.invites.at(x.Invite.ID)
			i.void = x
			to.invites = to.invites.with(x.Invite.ID, i)
		}
		if x.Type == wire.OpDeviceAdd {
			if host := s.cameDisowned(to, x.Ref); host != nil && !s.isIn(to, x) {
				to.disown(x, host.of, host.rivals, slices.Concat(host.losses, s.hitting(s.losses, x), s.revocationsBeside(x)))
			} else {
				to.lostDevices = to.lostDevices.with(x.Subject, s.againstDevice(to, x))
			}
		}
		return
	}
	switch x.Type {
	case wire.OpDeviceAdd:
		to.countIn(x)
		if u, in := to.users.get(x.User); in {
			to.bringIn(u, x)
		}
	case wire.OpProfile, wire.OpSetting:
		s.setRegister(to, x)
	case wire.OpInvite:
		i := to.invites.at(x.Invite.ID)
		if i.Issued == nil {
			i.Issued = x
		}
		to.invites = to.invites.with(x.Invite.ID, i)
	case wire.OpRevoke:
		i := to.invites.at(x.Revokes)
		i.Revoked = x
		to.invites = to.invites.with(x.Revokes, i)
	case wire.OpRequest:
		s.takeRequest(to, x)
	case wire.OpDeny:
		takeDenial(to, x)
	case wire.OpReboot, wire.OpAdd, wire.OpRemove, wire.OpLeave, wire.OpRole, wire.OpDeviceRevoke: // of the tree of epochs; above
	}
}

// applyStanding carries out a loss or a change of a role, if it stands.
func (s *resolution) applyStanding(to *Roster, x *Op) {
	if !s.stand[x] {
		to.void = to.void.with(x.Hash, Void{x, earliest(s.undermining(s.losses, x))})
		if x.Type == wire.OpRemove {
			to.cancelled = append(slices.Clip(to.cancelled), x)
		}
		return
	}
	if x.Type == wire.OpDeviceRevoke {
		to.revoke(x)
		return
	}
	id, _ := x.whom()
	u, in := to.users.get(id)
	if x.Type != wire.OpRole {
		s.noteTaken(to, id, x)
		to.takeOut(id, x)
	} else if in {
		if x.Role != wire.RoleOwner {
			s.noteTaken(to, id, x)
		}
		u.Role, u.grant = x.Role, x
		to.setUser(u)
	}
}

// revocationsBeside returns concurrent revocations of a device that a user adds to its own.
func (s *resolution) revocationsBeside(x *Op) (out []*Op) {
	for _, l := range s.losses.byDevice[x.Subject] {
		if c := s.concurrentIn(l.ops, l.log, x.Ref); len(c) > 0 {
			out = append(out, c[0]) // of one log the first says most
		}
	}
	return out
}

// againstDevice returns the operations that speak against a device that a user adds to its
// own.
func (s *resolution) againstDevice(to *Roster, x *Op) []*Op {
	out := append(s.hitting(s.losses, x), s.revocationsBeside(x)...)
	if !to.counted.has(x.Device) {
		out = append(out, to.lostDevices.at(x.Device)...)
	}
	if !s.memberIn(to, x.User, x.Ref) {
		out = append(out, to.lost.at(x.User)...)
	}
	slices.SortFunc(out, (*Op).compare)
	return slices.Compact(out)
}

// noteTaken keeps the operation that took an owner from the group.
func (s *resolution) noteTaken(to *Roster, id wire.UserID, by *Op) {
	if to.roleOf(id) == wire.RoleOwner {
		s.took = append(s.took, taken{by, id})
	}
}

type taken struct {
	by   *Op
	user wire.UserID
}

// lastOwner keeps a group from losing its last owner. If there are members and no owner, it
// returns the operation that is not carried out: of those that took an owner away, the one
// whose target has the lowest hash.
func (s *resolution) lastOwner(to *Roster) *Op {
	if to.owners > 0 || to.users.len() == 0 && s.everybodyLeft(to) {
		return nil
	}
	var pick taken
	for _, t := range s.took {
		left := t.by.Type == wire.OpLeave
		u, in := to.users.get(t.user)
		holds := in && t.by.Type == wire.OpRole && u.grant == t.by || to.gone.at(t.user) == t.by && !(left && to.users.len() == 0)
		if holds && (pick.by == nil || s.priority(t.user).less(s.priority(pick.user))) {
			pick = t
		}
	}
	return pick.by
}

func (s *resolution) everybodyLeft(to *Roster) bool {
	all := true
	to.gone.all(func(_ wire.UserID, by *Op) bool {
		all = by.Type == wire.OpLeave
		return all
	})
	return all
}
