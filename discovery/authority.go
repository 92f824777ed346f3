package discovery

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// authority is a checked chain of links from the genesis.
//
// Chains form a tree under the genesis, and compare is a total order on its
// paths: a longer path beats its own prefix; where two part, the link of the
// owner with the higher standing wins, then the link with the lower hash. A chain
// is a maximum under that order, never a mixture, which is what makes merging
// exact (see merge).
type authority struct {
	links []link
	keys  []wire.AuthorityKey // of the last link, ascending by user
	owner map[string]uint64   // owners of the last link → version since which they have been one without a break
}

type link struct {
	raw    wire.Signed
	id     wire.Hash // HashOf(DomainAuthority, payload); what the next link's Prev names
	signer standing  // of the signer in the link before
}

// standing is how much an owner's link weighs where links compete. Every signer
// of a link is an owner, so links are ranked by seniority: who has been an owner for longer. By hash alone an owner who was
// rightly removed could grind a link that beats the one that removed him.
type standing uint64

// founding is the authority that the genesis itself gives.
func founding(g *identity.Genesis) *authority {
	return &authority{
		keys:  []wire.AuthorityKey{{User: g.Founder, Rank: wire.RankOwner}},
		owner: map[string]uint64{string(g.Founder): 0},
	}
}

// next is a with one more link, whose signature is not yet checked.
func (a *authority) next(raw wire.Signed) (*authority, error) {
	l, err := wire.DecodeAuthorityLink(raw.Payload)
	if err != nil {
		return nil, err
	}
	if len(a.links) == wire.MaxAuthorityLinks {
		return nil, errFull
	}
	var prev wire.Hash
	if n := len(a.links); n > 0 {
		prev = a.links[n-1].id
	}
	version := uint64(len(a.links)) + 1
	if l.Version != version || l.Prev != prev {
		return nil, fmt.Errorf("%w: link %d does not follow the one before", errAuthority, version)
	}
	since, ok := a.owner[string(l.Signer)]
	if !ok {
		return nil, fmt.Errorf("%w: the signer of link %d was no owner", errAuthority, version)
	}
	b := &authority{
		links: append(slices.Clip(a.links), link{raw: raw, id: wire.HashOf(wire.DomainAuthority, raw.Payload), signer: standing(since)}),
		keys:  l.Keys,
		owner: make(map[string]uint64),
	}
	for _, k := range l.Keys {
		if k.Rank != wire.RankOwner {
			continue
		}
		if since, ok := a.owner[string(k.User)]; ok {
			b.owner[string(k.User)] = since
		} else {
			b.owner[string(k.User)] = version
		}
	}
	if len(b.owner) == 0 {
		return nil, fmt.Errorf("%w: link %d leaves no owner", errAuthority, version)
	}
	return b, nil
}

// rank is the rank of a user, and whether it has one.
func (a *authority) rank(user []byte) (wire.Rank, bool) {
	i, ok := slices.BinarySearchFunc(a.keys, user, func(k wire.AuthorityKey, u []byte) int { return bytes.Compare(k.User, u) })
	if !ok {
		return 0, false
	}
	return a.keys[i].Rank, true
}

// compare is positive when a stands above b. Chains of the same payloads are equal.
func (a *authority) compare(b *authority) int {
	for i := range min(len(a.links), len(b.links)) {
		x, y := a.links[i], b.links[i]
		if x.id == y.id {
			continue
		}
		return cmp.Or(cmp.Compare(y.signer, x.signer), bytes.Compare(y.id[:], x.id[:]))
	}
	return cmp.Compare(len(a.links), len(b.links))
}

// raw is the chain as it travels.
func (a *authority) raw() []wire.Signed {
	out := make([]wire.Signed, len(a.links))
	for i, l := range a.links {
		out[i] = l.raw
	}
	return out
}

// seal is the hash over all bytes of the chain, signatures included: it tells
// apart two chains that compare as equal.
func (a *authority) seal() [32]byte {
	h := sha256.New()
	for _, l := range a.links {
		h.Write(wire.Marshal(l.raw))
	}
	return [32]byte(h.Sum(nil))
}
