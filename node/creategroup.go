package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// CreateGroup describes the group to found.
type CreateGroup struct {
	Name        string
	Description string
	Tags        []string
	Policy      wire.Policy // 0: open, or by invite if the group is private
	Private     bool        // not published: found by who has an invite link
}

// suite is the MLS ciphersuite of new groups: 0x0001,
// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420, Section 17.1).
const suite = 0x0001

// CreateGroup founds a group with this user as its owner. When it returns, the
// group is durable; it is published as soon as there is somebody to publish it to.
func (n *Node) CreateGroup(ctx context.Context, c CreateGroup) (wire.GroupID, error) {
	if !n.callers.enter() {
		return wire.GroupID{}, ErrClosed
	}
	defer n.callers.leave()
	if c.Policy == 0 {
		c.Policy = wire.PolicyOpen
		if c.Private {
			c.Policy = wire.PolicyInvite
		}
	}
	if c.Private && c.Policy == wire.PolicyOpen {
		return wire.GroupID{}, fmt.Errorf("%w: a private group cannot have the policy open: anybody who reaches a member would get in; take invite or request", ErrInvalid)
	}
	if wire.Blank(c.Name) {
		return wire.GroupID{}, fmt.Errorf("%w: a group needs a name", ErrInvalid)
	}
	if err := checkNewName(c.Name); err != nil {
		return wire.GroupID{}, err
	}
	now := n.clock.now()
	profile, err := c.profile(n.me.user.Public(), now)
	if err != nil {
		return wire.GroupID{}, err
	}
	raw, id, err := identity.NewGenesis(rand.Reader, now, n.me.user, n.naming.current(), identity.Founding{Suite: suite, Policy: c.Policy, Private: c.Private})
	if err != nil {
		return wire.GroupID{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	genesis, err := identity.VerifyGenesis(raw)
	if err != nil {
		return wire.GroupID{}, err
	}
	if err := n.naming.comeIn(id); err != nil {
		return wire.GroupID{}, err
	}
	g := n.newSession(genesis)
	if err := g.found(ctx, profile); err != nil {
		g.stop()
		return wire.GroupID{}, fmt.Errorf("creating the group: %w", err)
	}
	n.adopt(g)
	return id, nil
}

// found starts a new group and makes it durable. Until its last write the node
// does not have the group, whatever rows there are.
func (g *groupSession) found(ctx context.Context, profile []wire.ProfileItem) error {
	if err := g.start(); err != nil {
		return err
	}
	if _, err := g.loop.step(ctx, group.Found{}); err != nil {
		return err
	}
	for _, item := range profile {
		signed := g.n.me.user.Sign(wire.DomainProfile, g.id, item.Encode())
		if _, err := g.loop.step(ctx, group.SetProfile{Item: signed}); err != nil {
			return err
		}
	}
	return g.n.put(keyGroups+string(g.id[:]), &groupRow{Genesis: g.genesis.Raw})
}

// profile makes the registers that c sets.
func (c *CreateGroup) profile(signer []byte, now time.Time) ([]wire.ProfileItem, error) {
	base := wire.ProfileItem{V: wire.Version, HLC: uint64(hlcOf(now)), Signer: signer}
	var out []wire.ProfileItem
	add := func(f wire.ProfileField, set func(*wire.ProfileItem)) {
		item := base
		item.Field = f
		set(&item)
		out = append(out, item)
	}
	if c.Name != "" {
		add(wire.FieldName, func(i *wire.ProfileItem) { i.Text = c.Name })
	}
	if c.Description != "" {
		add(wire.FieldDescription, func(i *wire.ProfileItem) { i.Text = c.Description })
	}
	if len(c.Tags) > 0 {
		add(wire.FieldTags, func(i *wire.ProfileItem) { i.Tags = c.Tags })
	}
	for _, item := range out {
		if err := checkProfileItem(item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkProfileItem says in words what is wrong with a register, before it is encoded: one that is
// far too large, or no UTF-8, would be refused as an object of the wire.
func checkProfileItem(i wire.ProfileItem) error {
	what, most, texts := "the group's name", wire.MaxGroupName, []string{i.Text}
	if i.Field == wire.FieldDescription {
		what, most = "the group's description", wire.MaxDescription
	}
	if i.Field == wire.FieldTags {
		what, most, texts = "a tag of the group", wire.MaxTag, i.Tags
	}
	if len(texts) > wire.MaxTags {
		return fmt.Errorf("%w: %d tags, and at most %d are allowed", ErrInvalid, len(texts), wire.MaxTags)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, what)
		}
		if len(text) > most {
			return fmt.Errorf("%w: %s has %d bytes, and at most %d are allowed", ErrInvalid, what, len(text), most)
		}
	}
	if _, err := wire.DecodeProfileItem(i.Encode()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
