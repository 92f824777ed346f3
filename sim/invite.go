package sim

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// link is the content of an invite link, passed on outside of the network.
type link struct {
	invite wire.Signed
	key    *identity.Key
	id     wire.InviteID
}

// inviteVerbs are the verbs of groups that one does not simply walk into.
var inviteVerbs = map[string]*verb{
	"invite": {
		usage: "invite NODE NAME [uses=N] [expires=D] [role=ROLE]: it gives out an invite", opts: []string{"uses", "expires", "role"},
		check: checkInvite, do: doInvite,
	},
	"uninvite": {usage: "uninvite NODE NAME: it takes the invite back", check: checkUninvite, do: doUninvite},
	"approve":  {usage: "approve NODE WHOM… [role=ROLE]: it lets in who asked", opts: []string{"role"}, check: withRole(nodesAt(2, 64)), do: doApprove},
	"deny":     {usage: "deny NODE WHOM…: it turns down who asked", check: nodesAt(2, 64), do: doDeny},
}

// invites says which invites an action names, and whether it makes them.
func (a Action) invites() (name string, makes bool) {
	switch a.Verb {
	case "invite":
		return a.Args[1], true
	case "uninvite":
		return a.Args[1], false
	case "backdate":
		if a.Args[1] == "invite" || a.Args[1] == "uninvite" {
			return a.Args[2], a.Args[1] == "invite"
		}
	}
	name, _ = a.opt("invite")
	return name, false
}

// checkInvites refuses a scenario that names an invite which nobody gives out.
func (s *Scenario) checkInvites() error {
	type key struct {
		group int
		name  string
	}
	given := map[key]bool{}
	for _, a := range s.Actions {
		if name, makes := a.invites(); makes {
			k := key{s.groupIndex(a.Group), name}
			if given[k] {
				return fmt.Errorf("invite %q is given out twice", name)
			}
			given[k] = true
		}
	}
	for _, a := range s.Actions {
		if name, _ := a.invites(); name != "" && !given[key{s.groupIndex(a.Group), name}] {
			return fmt.Errorf("nobody gives out invite %q", name)
		}
	}
	return nil
}

func checkUninvite(sc *Scenario, a Action) error {
	if len(a.Args) != 2 || sc.node(a.Args[0]) < 0 || !isName(a.Args[1]) {
		return errors.New("a node and the name of an invite")
	}
	return nil
}

func checkInvite(sc *Scenario, a Action) error {
	if s, ok := a.opt("uses"); ok {
		if n, err := strconv.Atoi(s); err != nil || n < 1 {
			return fmt.Errorf("uses=%s", s)
		}
	}
	if s, ok := a.opt("expires"); ok {
		if d, err := duration(s); err != nil || d == 0 {
			return fmt.Errorf("expires=%s", s)
		}
	}
	return withRole(checkUninvite)(sc, a)
}

func withRole(check func(*Scenario, Action) error) func(*Scenario, Action) error {
	return func(sc *Scenario, a Action) error {
		if s, ok := a.opt("role"); ok && roles[s] == 0 {
			return fmt.Errorf("role=%s", s)
		}
		return check(sc, a)
	}
}

func (a Action) role() wire.Role {
	if s, ok := a.opt("role"); ok {
		return roles[s]
	}
	return wire.RoleMember
}

func doInvite(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	key, err := identity.NewKey(s.n.chance)
	if err != nil {
		return err
	}
	now := s.n.clock()
	i := wire.Invite{
		V: wire.Version, Key: [32]byte(key.Public()), Role: a.role(), Created: uint64(now.UnixMilli()), Signer: s.n.user.Public(), //nolint:gosec // after 1970
	}
	if n, ok := a.opt("uses"); ok {
		i.Uses, _ = strconv.ParseUint(n, 10, 64)
	}
	if text, ok := a.opt("expires"); ok {
		d, _ := duration(text)
		i.Expires = uint64(now.Add(d).UnixMilli()) //nolint:gosec // after 1970
	}
	signed := s.n.user.Sign(wire.DomainInvite, s.g.genesis.ID, i.Encode())
	l := link{signed, key, wire.InviteIDOf(s.g.genesis.ID, signed.Payload)}
	w.hist.mark(w, s.n, "invite", a.Args[1])
	if _, err := s.step(group.GiveInvite{Invite: signed}); err != nil {
		return err
	}
	s.g.gave(a.Args[1], l)
	return nil
}

// gave passes on an invite by its name.
func (g *cgroup) gave(name string, l link) {
	if g.links == nil {
		g.links = map[string]link{}
	}
	g.links[name] = l
}

func doUninvite(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	l, ok := s.g.links[a.Args[1]]
	if !ok {
		return fmt.Errorf("invite %s was not given out", a.Args[1])
	}
	w.hist.mark(w, s.n, "uninvite", a.Args[1])
	_, err = s.step(group.RevokeInvite{Invite: l.id})
	return err
}

// invited is the input of a join, with the invite that the action names.
func (a Action) invited(g *cgroup) (group.Join, error) {
	name, ok := a.opt("invite")
	if !ok {
		return group.Join{}, nil
	}
	l, ok := g.links[name]
	if !ok {
		return group.Join{}, fmt.Errorf("invite %s was not given out", name)
	}
	return group.Join{Invite: &l.invite, Key: l.key}, nil
}

// answerEach lets an admin answer those who asked.
func answerEach(w *core, a Action, in func(wire.UserID) group.Input) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	var errs []error
	for _, whom := range a.Args[1:] {
		w.hist.mark(w, s.n, a.Verb, whom)
		if _, err := s.step(in(w.nodeOf(whom).dev.User)); err != nil && !errors.Is(err, errCrash) {
			errs = append(errs, fmt.Errorf("%s: %w", whom, err))
		}
	}
	return errors.Join(errs...)
}

func doApprove(w *core, a Action) error {
	return answerEach(w, a, func(u wire.UserID) group.Input { return group.Approve{User: u, Role: a.role()} })
}

func doDeny(w *core, a Action) error {
	return answerEach(w, a, func(u wire.UserID) group.Input { return group.Deny{User: u} })
}

// via is the member that a join asks, or none in particular.
func (a Action) via() string {
	name, _ := a.opt("via")
	return name
}

func checkJoin(sc *Scenario, a Action) error {
	if via, ok := a.opt("via"); ok && sc.node(via) < 0 {
		return fmt.Errorf("there is no node %q", via)
	}
	if name, ok := a.opt("invite"); ok && !isName(name) {
		return fmt.Errorf("invite=%s", name)
	}
	return nodesAt(1, 64)(sc, a)
}
