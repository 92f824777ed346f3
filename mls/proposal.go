package mls

import "fmt"

// Proposal types, RFC 9420, Section 17.4.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPreSharedKey           ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

// Proposal is one of [Add], [Update], [Remove], [PreSharedKey], [ReInit],
// [ExternalInit] and [GroupContextExtensions], RFC 9420, Section 12.1.
type Proposal interface {
	Type() ProposalType
	encode(w *writer)
}

type (
	// Add brings in the client of a KeyPackage.
	Add struct{ KeyPackage *KeyPackage }
	// Update replaces the sender's leaf.
	Update struct{ Leaf *LeafNode }
	// Remove takes a member out.
	Remove struct{ Leaf LeafIndex }
	// PreSharedKey mixes a pre-shared key into the key schedule.
	PreSharedKey struct{ ID PreSharedKeyID }
	// ReInit ends the group in favour of a new one.
	ReInit struct {
		GroupID    []byte
		Version    ProtocolVersion
		Suite      CipherSuite
		Extensions []Extension
	}
	// ExternalInit carries the KEM output of an external commit.
	ExternalInit struct{ KEMOutput []byte }
	// GroupContextExtensions replaces the extensions of the GroupContext.
	GroupContextExtensions struct{ Extensions []Extension }
)

// The types of the proposals.
func (Add) Type() ProposalType                    { return ProposalAdd }
func (Update) Type() ProposalType                 { return ProposalUpdate }
func (Remove) Type() ProposalType                 { return ProposalRemove }
func (PreSharedKey) Type() ProposalType           { return ProposalPreSharedKey }
func (ReInit) Type() ProposalType                 { return ProposalReInit }
func (ExternalInit) Type() ProposalType           { return ProposalExternalInit }
func (GroupContextExtensions) Type() ProposalType { return ProposalGroupContextExtensions }

func (p Add) encode(w *writer)          { w.raw(p.KeyPackage.raw) }
func (p Update) encode(w *writer)       { w.raw(p.Leaf.raw) }
func (p Remove) encode(w *writer)       { w.u32(uint32(p.Leaf)) }
func (p PreSharedKey) encode(w *writer) { p.ID.encode(w) }
func (p ReInit) encode(w *writer) {
	w.vec(p.GroupID)
	w.u16(uint16(p.Version))
	w.u16(uint16(p.Suite))
	encodeExtensions(w, p.Extensions)
}
func (p ExternalInit) encode(w *writer)           { w.vec(p.KEMOutput) }
func (p GroupContextExtensions) encode(w *writer) { encodeExtensions(w, p.Extensions) }

func encodeProposal(w *writer, p Proposal) {
	w.u16(uint16(p.Type()))
	p.encode(w)
}

func readReInit(r *reader) *ReInit {
	return &ReInit{r.vec(), ProtocolVersion(r.u16()), CipherSuite(r.u16()), readExtensions(r)}
}

// readProposal refuses the types that this engine, and so a member, does not support: RFC
// 9420, Section 12.2.
func readProposal(r *reader) Proposal {
	switch t := ProposalType(r.u16()); t {
	case ProposalAdd:
		return Add{readKeyPackage(r)}
	case ProposalUpdate:
		return Update{readLeafNode(r)}
	case ProposalRemove:
		return Remove{LeafIndex(r.u32())}
	case ProposalPreSharedKey:
		return PreSharedKey{readPreSharedKeyID(r)}
	case ProposalReInit:
		return *readReInit(r)
	case ProposalExternalInit:
		return ExternalInit{r.vec()}
	case ProposalGroupContextExtensions:
		return GroupContextExtensions{readExtensions(r)}
	default:
		if r.err == nil {
			r.err, r.b = fmt.Errorf("%w: proposal type %d", ErrUnsupported, t), nil
		}
		return nil
	}
}

// proposalOrRef is ProposalOrRef of RFC 9420, Section 12.4: a proposal by value, or
// the hash of one that was sent before.
type proposalOrRef struct {
	value Proposal // nil for a reference
	ref   []byte
}

// commit is Commit of RFC 9420, Section 12.4.
type commit struct {
	proposals []proposalOrRef
	path      *updatePath
}

func (c *commit) encode(w *writer) {
	w.list(func() {
		for _, p := range c.proposals {
			if p.value != nil {
				w.u8(1)
				encodeProposal(w, p.value)
			} else {
				w.u8(2)
				w.vec(p.ref)
			}
		}
	})
	w.optional(c.path != nil)
	if c.path != nil {
		c.path.encode(w)
	}
}

func readCommit(r *reader) *commit {
	c := &commit{}
	r.list(func(r *reader) {
		switch t := r.u8(); t {
		case 1:
			c.proposals = append(c.proposals, proposalOrRef{value: readProposal(r)})
		case 2:
			c.proposals = append(c.proposals, proposalOrRef{ref: r.vec()})
		default:
			r.fail("ProposalOrRef type %d", t)
		}
	})
	if r.optional() {
		c.path = readUpdatePath(r)
	}
	return c
}

// updatePathNode is UpdatePathNode of RFC 9420, Section 7.6.
type updatePathNode struct {
	encryptionKey []byte
	sealed        []hpkeCiphertext // the path secret, once per node of the copath resolution
}

// updatePath is UpdatePath of RFC 9420, Section 7.6.
type updatePath struct {
	leaf  *LeafNode
	nodes []updatePathNode
}

func (p *updatePath) encode(w *writer) {
	w.raw(p.leaf.raw)
	w.list(func() {
		for _, n := range p.nodes {
			w.vec(n.encryptionKey)
			w.list(func() {
				for _, c := range n.sealed {
					c.encode(w)
				}
			})
		}
	})
}

func readUpdatePath(r *reader) *updatePath {
	p := &updatePath{leaf: readLeafNode(r)}
	r.list(func(r *reader) {
		n := updatePathNode{encryptionKey: r.vec()}
		r.list(func(r *reader) { n.sealed = append(n.sealed, readHPKECiphertext(r)) })
		p.nodes = append(p.nodes, n)
	})
	return p
}
