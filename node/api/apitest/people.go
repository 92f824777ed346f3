package apitest

import (
	"context"
	"slices"
	"strings"

	"github.com/pandanode/pandanode/node/api"
)

// Digits and Words are what every two users compare in the fake.
const (
	Digits = "00011 00022 00033 00044 00055 00066 00077 00088 00099 00110 00121 00132"
	Words  = "example warm chef speed basket east"
)

// of gives a user to f, as it is known of its first group.
func (n *Node) of(method, query string, f func(p *api.Person) error) (out api.Person, err error) {
	if err := n.enter(method); err != nil {
		return out, err
	}
	defer n.mu.Unlock()
	var all []api.Candidate
	for _, g := range n.groups {
		for _, m := range g.members {
			all = append(all, api.Candidate{ID: m.User, Name: m.Name}, api.Candidate{ID: m.User, Name: m.OwnName})
		}
	}
	id, err := api.Resolve("user", query, all)
	if err != nil {
		return out, err
	}
	if id == n.Self.User {
		return out, api.Errorf(api.CodeInvalid, "this is you: only other users are verified, named or blocked")
	}
	out = n.people()[id]
	if err := f(&out); err != nil {
		return out, err
	}
	for _, g := range n.groups {
		for i := range g.members {
			if m := &g.members[i]; m.User == id {
				m.Verified, m.Blocked, m.OwnName, m.Name = out.Verified, out.Blocked, out.OwnName, out.OwnName
				if out.Petname != "" {
					m.Name = out.Petname
				}
				out.Name = m.Name
			}
		}
		for i := range g.messages {
			if m := &g.messages[i]; m.User == id {
				m.Name, m.Verified = out.Name, out.Verified
			}
		}
	}
	return out, nil
}

// people are the members of all groups.
func (n *Node) people() map[string]api.Person {
	out := map[string]api.Person{}
	for _, g := range n.groups {
		for _, m := range g.members {
			p := api.Person{User: m.User, Name: m.Name, OwnName: m.Name, Verified: m.Verified, Blocked: m.Blocked}
			if m.OwnName != "" && m.OwnName != m.Name {
				p.OwnName, p.Petname = m.OwnName, m.Name
			}
			if p.Verified {
				p.When = n.Now()
			}
			out[m.User] = p
		}
	}
	return out
}

// People lists the members of whom something is kept.
func (n *Node) People(context.Context, api.Empty) (api.People, error) {
	if err := n.enter("People"); err != nil {
		return api.People{}, err
	}
	defer n.mu.Unlock()
	out := api.People{People: []api.Person{}}
	for _, p := range n.people() {
		if p.Verified || p.Blocked || p.Petname != "" {
			out.People = append(out.People, p)
		}
	}
	slices.SortFunc(out.People, func(a, b api.Person) int { return strings.Compare(a.User, b.User) })
	return out, nil
}

// Person gives one member, with what is compared.
func (n *Node) Person(_ context.Context, r api.PersonRequest) (api.Person, error) {
	p, err := n.of("Person", r.User, func(*api.Person) error { return nil })
	if err == nil {
		p.Digits, p.Words, p.Code = Digits, Words, "pandanode:verify/"+n.Self.User+"/"+p.User
	}
	return p, err
}

// SetPerson takes a petname, and whether a member is blocked.
func (n *Node) SetPerson(_ context.Context, r api.SetPersonRequest) (api.Person, error) {
	return n.of("SetPerson", r.User, func(p *api.Person) error {
		if r.Petname != nil {
			p.Petname = *r.Petname
		}
		if r.Blocked != nil {
			p.Blocked = *r.Blocked
		}
		return nil
	})
}

// Verify takes the digits or the words.
func (n *Node) Verify(_ context.Context, r api.VerifyRequest) (api.Person, error) {
	return n.of("Verify", r.User, func(p *api.Person) error {
		if r.Shown != Digits && r.Shown != Words {
			return api.Errorf(api.CodeVerification, "the digits are not those that this device shows, so one of you sees somebody else: do not trust this name")
		}
		p.Verified, p.When = true, n.Now()
		return nil
	})
}

// Unverify takes the mark back.
func (n *Node) Unverify(_ context.Context, r api.PersonRequest) (api.Person, error) {
	return n.of("Unverify", r.User, func(p *api.Person) error { p.Verified = false; return nil })
}

// Profile gives n.Own.
func (n *Node) Profile(context.Context, api.Empty) (api.UserProfile, error) {
	if err := n.enter("Profile"); err != nil {
		return api.UserProfile{}, err
	}
	defer n.mu.Unlock()
	return n.Own, nil
}

// PutProfile changes n.Own.
func (n *Node) PutProfile(_ context.Context, r api.UserProfileRequest) (api.UserProfile, error) {
	if err := n.enter("PutProfile"); err != nil {
		return api.UserProfile{}, err
	}
	defer n.mu.Unlock()
	if r.Name != nil {
		n.Own.Name = *r.Name
	}
	if r.About != nil {
		n.Own.About = *r.About
	}
	return n.Own, nil
}
