package discovery

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxAhead is how far a timestamp may lie ahead of the reader's clock.
const maxAhead = 10 * time.Minute

// Shares of wire.MaxPublicInfo, in bytes. Each part has its own, so that a merge
// of two records that fit always fits. Genesis, heads and profile cannot exceed
// theirs by the limits of package wire; a chain of authority can, and then takes
// no further link: 32 links of 4 keys fit, or 12 of 16.
const (
	maxGenesisShare   = 512
	maxHeadShare      = 512 // each of wire.MaxHeads
	maxProfileShare   = 2 << 10
	maxAuthorityShare = wire.MaxPublicInfo - maxGenesisShare - wire.MaxHeads*maxHeadShare - maxProfileShare - 64
)

// fields is the number of profile registers; index 0 is not used.
const fields = int(wire.FieldPolicy)

// Info is a checked record: everything in it is signed by someone entitled to.
// It is immutable; the functions that change it give a new one.
type Info struct {
	Group   wire.GroupID
	Genesis *identity.Genesis

	// The profile, with the genesis' policy where no register overrides it.
	Name        string
	Description string
	Tags        []string
	Policy      wire.Policy

	Authority []wire.AuthorityKey // who may speak for the group now, ascending by user
	Version   uint64              // of the authority; 0 is the genesis alone
	Heads     []Head              // newest first

	raw     wire.Signed // genesis
	chain   *authority
	profile [fields + 1]crdt.LWW[*profileItem]
	heads   []Head // ascending by device, as encoded
	encoded []byte
}

// Head is a device's checked statement of the epoch and size of the group.
type Head struct {
	wire.Head
	Device *identity.Device

	raw wire.Signed
	tie [32]byte
}

type profileItem struct {
	wire.ProfileItem
	raw wire.Signed
}

// Bytes is the record as it travels. It must not be changed.
func (i *Info) Bytes() []byte { return i.encoded }

// equal says whether two records are the same bytes.
func (i *Info) equal(o *Info) bool { return bytes.Equal(i.encoded, o.encoded) }

// Members is the rounded number of users that the newest head tells; 0 if unknown.
func (i *Info) Members() uint64 {
	if len(i.Heads) == 0 {
		return 0
	}
	return i.Heads[0].Members
}

// verify judges a record from its bytes alone. Cheap refusals come first; the most
// expensive record costs some 60 signature checks. A record that is valid once stays valid,
// unless the clock is set back: the clock only rules out profile fields and heads that are
// dated more than maxAhead in the future.
func verify(group wire.GroupID, b []byte, now time.Time) (*Info, error) {
	rec, err := wire.DecodePublicInfo(b)
	if err != nil {
		return nil, err
	}
	if wire.GroupIDOf(rec.Genesis.Payload) != group {
		return nil, fmt.Errorf("%w: wanted %v", errForeignGroup, group)
	}
	p, err := parse(rec, now)
	if err != nil {
		return nil, fmt.Errorf("public record of %v: %w", group, err)
	}
	if err := p.verify(group); err != nil {
		return nil, fmt.Errorf("public record of %v: %w", group, err)
	}
	return p.info(), nil
}

// verifyAny is verify for a record of whatever group it names.
func verifyAny(b []byte, now time.Time) (*Info, error) {
	rec, err := wire.DecodePublicInfo(b)
	if err != nil {
		return nil, err
	}
	return verify(wire.GroupIDOf(rec.Genesis.Payload), b, now)
}

// parts is a record in pieces, before it becomes an Info.
type parts struct {
	genesis *identity.Genesis
	raw     wire.Signed
	chain   *authority
	profile [fields + 1]crdt.LWW[*profileItem]
	heads   []Head // ascending by device
}

// parse checks that each part is by somebody who may sign it, at a time at which it may.
// Decoding the record has checked that the parts are well-formed and in order.
func parse(rec *wire.PublicInfo, now time.Time) (*parts, error) {
	if n := len(wire.Marshal(rec.Genesis)); n > maxGenesisShare {
		return nil, fmt.Errorf("%w: genesis of %d bytes", wire.ErrTooLarge, n)
	}
	g, err := identity.VerifyGenesis(rec.Genesis)
	if err != nil {
		return nil, err
	}
	if g.Private { // its date outdoes nothing, and nobody can put it right: it may be anything
		return nil, ErrPrivate
	}
	p := &parts{genesis: g, raw: rec.Genesis, chain: founding(g)}
	if n := len(wire.Marshal(rec.Authority)); n > maxAuthorityShare {
		return nil, fmt.Errorf("%w: chain of authority of %d bytes", wire.ErrTooLarge, n)
	}
	for _, l := range rec.Authority {
		if p.chain, err = p.chain.next(l); err != nil {
			return nil, err
		}
	}
	for _, s := range rec.Profile {
		it, err := wire.DecodeProfileItem(s.Payload)
		if err != nil {
			return nil, err
		}
		switch {
		case ahead(crdt.HLC(it.HLC), now):
			return nil, fmt.Errorf("profile field %d: %w", it.Field, errFuture)
		case !p.chain.maySetProfile(it.Signer):
			return nil, fmt.Errorf("profile field %d: %w", it.Field, errUnauthorised)
		}
		p.profile[it.Field] = register(it, s)
	}
	for _, s := range rec.Heads {
		h, err := parseHead(s)
		if err != nil {
			return nil, err
		}
		switch {
		case ahead(crdt.HLC(h.HLC), now):
			return nil, fmt.Errorf("head: %w", errFuture)
		case !p.chain.mayHead(h.Device):
			return nil, fmt.Errorf("head: %w", errUnauthorised)
		}
		p.heads = append(p.heads, h)
	}
	return p, nil
}

func ahead(t crdt.HLC, now time.Time) bool { return t.Ahead(now) > maxAhead }

// ahead says whether a part of the record is dated in the future.
func (i *Info) ahead(now time.Time) bool {
	return slices.ContainsFunc(i.profile[:], func(r crdt.LWW[*profileItem]) bool { return r.Value != nil && ahead(r.At, now) }) ||
		slices.ContainsFunc(i.heads, func(h Head) bool { return ahead(crdt.HLC(h.HLC), now) })
}

// without returns the record without the profile fields and heads of a user that are dated
// in the future.
func (i *Info) without(user []byte, now time.Time) *Info {
	p := i.parts()
	for f, r := range p.profile {
		if r.Value != nil && ahead(r.At, now) && bytes.Equal(r.Value.Signer, user) {
			p.profile[f] = crdt.LWW[*profileItem]{}
		}
	}
	p.heads = slices.DeleteFunc(p.heads, func(h Head) bool {
		return ahead(crdt.HLC(h.HLC), now) && bytes.Equal(h.Device.Cert.User, user)
	})
	return p.info()
}

// Says tells whether the record has what a profile item says, whatever their dates.
func (i *Info) Says(item wire.ProfileItem) bool {
	if int(item.Field) > fields { //nolint:gosec // compared, not kept
		return false
	}
	v := i.profile[item.Field].Value
	return v != nil && v.Text == item.Text && slices.Equal(v.Tags, item.Tags) && v.Policy == item.Policy
}

// maySetProfile says whether a profile field of this signer counts.
func (a *authority) maySetProfile(user []byte) bool {
	r, ok := a.rank(user)
	return ok && r <= wire.RankAdmin
}

// mayHead says whether a head of this device counts.
func (a *authority) mayHead(d *identity.Device) bool {
	_, ok := a.rank(d.Cert.User)
	return ok
}

// register makes a last-writer-wins register whose ties go to the lower hash.
func register(it *wire.ProfileItem, raw wire.Signed) crdt.LWW[*profileItem] {
	return crdt.LWW[*profileItem]{Value: &profileItem{ProfileItem: *it, raw: raw}, At: crdt.HLC(it.HLC), Tie: lowWins(raw)}
}

// lowWins inverts the hash of a signed object, so that the lower hash is the higher tie.
func lowWins(s wire.Signed) [32]byte {
	h := sha256.Sum256(wire.Marshal(s))
	for i := range h {
		h[i] = ^h[i]
	}
	return h
}

// parseHead reads a head and checks its device's certificate, not its own signature.
func parseHead(s wire.Signed) (Head, error) {
	if n := len(wire.Marshal(s)); n > maxHeadShare {
		return Head{}, fmt.Errorf("%w: head of %d bytes", wire.ErrTooLarge, n)
	}
	h, err := wire.DecodeHead(s.Payload)
	if err != nil {
		return Head{}, err
	}
	if h.Members != wire.RoundMembers(h.Members) {
		return Head{}, fmt.Errorf("%w: head: %d members is not a rounded number", wire.ErrMalformed, h.Members)
	}
	d, err := identity.VerifyDevice(h.Cert)
	if err != nil {
		return Head{}, fmt.Errorf("head: %w", err)
	}
	// Check against the head's own time, so that the verdict does not change with the
	// clock.
	if err := d.CheckExpiry(crdt.HLC(h.HLC).Time()); err != nil {
		return Head{}, fmt.Errorf("head: %w", err)
	}
	return Head{Head: *h, Device: d, raw: s, tie: lowWins(s)}, nil
}

// verify checks the signatures that parse left out.
func (p *parts) verify(group wire.GroupID) error {
	for i, l := range p.chain.links {
		dec, err := wire.DecodeAuthorityLink(l.raw.Payload)
		if err != nil {
			return err
		}
		if err := identity.Verify(dec.Signer, wire.DomainAuthority, group, l.raw); err != nil {
			return fmt.Errorf("authority link %d: %w", i+1, err)
		}
	}
	for f, r := range p.profile {
		if r.Value == nil {
			continue
		}
		if err := identity.Verify(r.Value.Signer, wire.DomainProfile, group, r.Value.raw); err != nil {
			return fmt.Errorf("profile field %d: %w", f, err)
		}
	}
	for _, h := range p.heads {
		if err := identity.Verify(h.Device.Cert.LogKey, wire.DomainHead, group, h.raw); err != nil {
			return fmt.Errorf("head of device %q: %w", h.Device.Cert.Name, err)
		}
	}
	return nil
}

// info assembles the record.
func (p *parts) info() *Info {
	i := &Info{
		Group: p.genesis.ID, Genesis: p.genesis, Policy: p.genesis.Policy,
		Authority: slices.Clone(p.chain.keys), Version: uint64(len(p.chain.links)),
		raw: p.raw, chain: p.chain, profile: p.profile, heads: p.heads, Heads: slices.Clone(p.heads),
	}
	slices.SortFunc(i.Heads, func(a, b Head) int { return compareHeads(b, a) })
	rec := wire.PublicInfo{V: wire.Version, Genesis: p.raw, Authority: p.chain.raw()}
	for f, r := range p.profile {
		if r.Value == nil {
			continue
		}
		rec.Profile = append(rec.Profile, r.Value.raw)
		switch wire.ProfileField(f) { //nolint:gosec // a small index
		case wire.FieldName:
			i.Name = r.Value.Text
		case wire.FieldDescription:
			i.Description = r.Value.Text
		case wire.FieldTags:
			i.Tags = slices.Clone(r.Value.Tags)
		case wire.FieldPolicy:
			i.Policy = r.Value.Policy
		case wire.FieldMailboxes: // for members alone: no record has it
		}
	}
	for _, h := range p.heads {
		rec.Heads = append(rec.Heads, h.raw)
	}
	i.encoded = rec.Encode()
	return i
}

// parts takes the record to pieces that may be changed.
func (i *Info) parts() *parts {
	return &parts{genesis: i.Genesis, raw: i.raw, chain: i.chain, profile: i.profile, heads: slices.Clone(i.heads)}
}

// New returns the record of a group that has nothing but its genesis.
func New(genesis wire.Signed, now time.Time) (*Info, error) {
	rec := wire.PublicInfo{V: wire.Version, Genesis: genesis}
	return verifyAny(rec.Encode(), now)
}

// SetProfile returns the record with one profile field set, signed by an owner or admin. It
// fills in version, time and signer of the item. If the record holds a newer write of that
// field it returns ErrStale: take a later time.
func (i *Info) SetProfile(signer *identity.Key, at crdt.HLC, item wire.ProfileItem) (*Info, error) {
	item.V, item.HLC, item.Signer = wire.Version, uint64(at), signer.Public()
	if int(item.Field) > fields { //nolint:gosec // compared, not kept
		return nil, fmt.Errorf("setting profile field %d: %w: it is for members alone", item.Field, wire.ErrMalformed)
	}
	if !i.chain.maySetProfile(item.Signer) {
		return nil, fmt.Errorf("setting profile field %d: %w", item.Field, errUnauthorised)
	}
	payload := item.Encode()
	if _, err := wire.DecodeProfileItem(payload); err != nil {
		return nil, fmt.Errorf("setting profile field %d: %w", item.Field, err)
	}
	r := register(&item, signer.Sign(wire.DomainProfile, i.Group, payload))
	p := i.parts()
	if p.profile[item.Field].At >= at {
		return nil, fmt.Errorf("setting profile field %d: %w", item.Field, ErrStale)
	}
	p.profile[item.Field] = r
	return p.info(), nil
}

// nextAuthority returns the record with a new authority, signed by an owner of the current
// one. The owner signs fields again whose signer is no longer entitled, with the time at,
// so that a removed admin does not take the group's name along. If the owner itself steps
// down, those fields are dropped.
func (i *Info) nextAuthority(owner *identity.Key, at crdt.HLC, keys []wire.AuthorityKey) (*Info, error) {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b wire.AuthorityKey) int { return bytes.Compare(a.User, b.User) })
	l := wire.AuthorityLink{V: wire.Version, Version: uint64(len(i.chain.links)) + 1, Keys: keys, Signer: owner.Public()}
	if n := len(i.chain.links); n > 0 {
		l.Prev = i.chain.links[n-1].id
	}
	chain, err := i.chain.next(owner.Sign(wire.DomainAuthority, i.Group, l.Encode()))
	if err != nil {
		return nil, fmt.Errorf("changing the authority: %w", err)
	}
	if len(wire.Marshal(chain.raw())) > maxAuthorityShare {
		return nil, fmt.Errorf("changing the authority: %w", errFull)
	}
	out := i.onto(chain).info()
	if !chain.maySetProfile(l.Signer) {
		return out, nil
	}
	for f, r := range i.profile {
		if r.Value == nil || out.profile[f].Value != nil {
			continue
		}
		if out, err = out.SetProfile(owner, max(at, r.At+1), r.Value.ProfileItem); err != nil {
			return nil, fmt.Errorf("changing the authority: %w", err)
		}
	}
	return out, nil
}

// SetHead returns the record with a newer head of a device, signed by its log key. It fills
// in version, certificate and time, and rounds the number of members. A device should
// publish at most one head an hour. A head that is older than the device's present one, or
// below the top wire.MaxHeads, is ErrStale.
func (i *Info) SetHead(d *identity.Device, log *identity.Key, at crdt.HLC, h wire.Head) (*Info, error) {
	if !bytes.Equal(log.Public(), d.Cert.LogKey) || len(d.Cert.LogKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("setting the head: %w: not the key of device %q", identity.ErrForged, d.Cert.Name)
	}
	h.V, h.Cert, h.HLC, h.Members = wire.Version, d.Raw, uint64(at), wire.RoundMembers(h.Members)
	head, err := parseHead(log.Sign(wire.DomainHead, i.Group, h.Encode()))
	if err != nil {
		return nil, fmt.Errorf("setting the head: %w", err)
	}
	if !i.chain.mayHead(d) {
		return nil, fmt.Errorf("setting the head: %w", errUnauthorised)
	}
	p := i.parts()
	p.heads = mergeHeads(p.heads, []Head{head})
	out := p.info()
	if out.equal(i) {
		return nil, fmt.Errorf("setting the head: %w", ErrStale)
	}
	return out, nil
}
