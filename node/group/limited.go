package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// LimitedInvite is an invite with a limited number of uses.
type LimitedInvite struct {
	ID     wire.InviteID
	Signer wire.UserID
}

// JudgeJoin says what a [JoinAsked] with a request would come to, and changes nothing: the
// invite by which it lets a device in, if its uses are limited, or why it refuses.
func JudgeJoin(m *Machine, r wire.JoinRequest, now time.Time) (*LimitedInvite, error) {
	a := m.member(now)
	d, err := a.asker(r)
	if err != nil {
		return nil, err
	}
	if m.rosters.now.Has(d.ID) {
		return nil, nil
	}
	op, err := a.admit(r, d)
	if err != nil || op == nil || op.Why != wire.WhyInvite {
		return nil, err
	}
	in, err := dag.ReadInvite(m.own.group, *op.Invite)
	if err != nil || in.Invite.Uses == 0 {
		return nil, err
	}
	return &LimitedInvite{ID: in.ID, Signer: in.Signer}, nil
}
