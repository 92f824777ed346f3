package mls

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// sentProposal is a proposal with who made it.
type sentProposal struct {
	sender   sender
	proposal Proposal
}

// openReferences verifies proposals that came as messages and keys them by their
// ProposalRef. PrivateMessages take keys of r, on top of c.
func (e *Epoch) openReferences(messages [][]byte, r *Ratchets, c *change) (map[string]sentProposal, error) {
	out := make(map[string]sentProposal, len(messages))
	for k, b := range messages {
		a, err := e.openHandshake(b, r, c)
		if err != nil {
			return nil, fmt.Errorf("proposal message %d: %w", k, err)
		}
		if a.typ != contentProposal {
			return nil, fmt.Errorf("proposal message %d: %w: content type %d", k, ErrUsage, a.typ)
		}
		out[string(e.suite().proposalRef(a.bytes()))] = sentProposal{a.sender, a.proposal}
	}
	return out, nil
}

// openHandshake reads a proposal or commit and verifies what a receiver can before
// it looks inside: RFC 9420, Section 6.1 and 6.2.
func (e *Epoch) openHandshake(message []byte, r *Ratchets, c *change) (*authContent, error) {
	in, wire, err := openMessage(message)
	if err != nil {
		return nil, err
	}
	switch wire {
	case WirePublic:
		m := readPublicMessage(in)
		if err := in.done("PublicMessage"); err != nil {
			return nil, err
		}
		return m.authContent, e.checkPublic(m)
	case WirePrivate:
		if r == nil || !e.same(r.epoch) {
			return nil, fmt.Errorf("%w: a PrivateMessage needs the Ratchets of this epoch", ErrUsage)
		}
		if a, err := r.recall(message); a != nil || err != nil {
			return a, err
		}
		m, err := r.readMessage(message)
		if err != nil {
			return nil, err
		}
		if m.typ == contentApplication {
			return nil, fmt.Errorf("%w: application data where a handshake message belongs", ErrUsage)
		}
		a, _, err := r.openContent(m, c)
		return a, err
	default:
		return nil, fmt.Errorf("%w: wire format %d", ErrMalformed, wire)
	}
}

// checkPublic verifies address, membership tag and signature of a PublicMessage, and that
// its sender may send such content: RFC 9420, Sections 6, 12.1.8, 12.4.2 and 12.4.3.2.
func (e *Epoch) checkPublic(m publicMessage) error {
	if err := e.checkAddress(m.groupID, m.epoch); err != nil {
		return err
	}
	s := e.suite()
	var public []byte
	switch m.sender.typ {
	case senderMember:
		if public = e.tree.signatureKey(LeafIndex(m.sender.index)); public == nil {
			return fmt.Errorf("%w: sender leaf %d is blank", ErrInvalid, m.sender.index)
		}
		if !macEqual(m.authContent.membershipTag(s, e.secrets.membership, e.context), m.membershipTag) {
			return fmt.Errorf("%w: membership tag", ErrInvalid)
		}
	case senderNewMemberCommit:
		if m.typ != contentCommit || m.commit.path == nil {
			return fmt.Errorf("%w: new_member_commit without a commit and path", ErrInvalid)
		}
		public = m.commit.path.leaf.SignatureKey
	case senderNewMemberProposal:
		add, ok := m.proposal.(Add)
		if !ok {
			return fmt.Errorf("%w: new_member_proposal that is not an Add", ErrInvalid)
		}
		public = add.KeyPackage.Leaf.SignatureKey
	case senderExternal:
		if m.typ != contentProposal {
			return fmt.Errorf("%w: commit of an external sender", ErrInvalid)
		}
		var err error
		if public, err = e.ctx.externalSender(m.sender.index); err != nil {
			return err
		}
		switch m.proposal.(type) {
		case Update, ExternalInit: // RFC 9420, Section 12.1.8
			return fmt.Errorf("%w: external sender proposes type %d", ErrInvalid, m.proposal.Type())
		}
	}
	return m.verify(s, public, e.context)
}

// applied is what a commit's proposals make of a group, before its path.
type applied struct {
	tree         *tree
	extensions   []Extension
	added        []LeafIndex // in the order of the Adds
	packages     []*KeyPackage
	psks         []PreSharedKeyID
	external     *ExternalInit
	reinit       *ReInit
	ownRemoved   bool
	ownKey       secret // of an own Update that was taken
	pathRequired bool
}

// addedSorted gives added in ascending order.
func (a *applied) addedSorted() []LeafIndex {
	out := slices.Clone(a.added)
	slices.Sort(out)
	return out
}

// policy is what the application adds to the protocol's own: RFC 9420, Sections 5.3.1
// and 7.3.
type policy struct {
	validator CredentialValidator
	same      SameClient
	lifetime  func(*LeafNode) error // nil: not checked
}

// received is the policy for what another member has committed. It leaves out
// lifetimes: RFC 9420, Section 7.3, has the sender check them, and receivers whose
// clocks differ must come to one tree.
func received(v CredentialValidator, same SameClient) policy {
	return policy{validator: v, same: same}
}

// sent is the policy for what this client commits at now.
func sent(now time.Time, v CredentialValidator, same SameClient) policy {
	return policy{v, same, func(l *LeafNode) error { return l.checkSent(now) }}
}

// apply validates a proposal list as a whole and carries it out on a copy of the
// tree: RFC 9420, Sections 12.2 and 12.3.
func (e *Epoch) apply(list []sentProposal, committer sender, by policy) (*applied, error) {
	if err := e.checkList(list, committer); err != nil {
		return nil, err
	}
	out := &applied{tree: e.tree.edit(), extensions: e.ctx.extensions, pathRequired: len(list) == 0}
	for _, p := range list {
		switch p := p.proposal.(type) {
		case GroupContextExtensions:
			out.extensions = p.Extensions
			out.pathRequired = true
		case PreSharedKey:
			out.psks = append(out.psks, p.ID)
		case ExternalInit:
			out.external = &p
			out.pathRequired = true
		case ReInit:
			out.reinit = &p
		}
	}
	for _, p := range list { // Updates before Removes before Adds: Section 12.3
		u, ok := p.proposal.(Update)
		if !ok {
			continue
		}
		i := LeafIndex(p.sender.index)
		if err := e.checkUpdate(u.Leaf, i, by); err != nil {
			return nil, fmt.Errorf("Update of leaf %d: %w", i, err)
		}
		out.tree.update(i, u.Leaf)
		out.pathRequired = true
		if i == e.own && committer != (sender{senderMember, uint32(e.own)}) {
			for _, pending := range e.pending {
				if bytes.Equal(pending.public, u.Leaf.EncryptionKey) {
					out.ownKey = pending.private.clone()
				}
			}
			if out.ownKey.empty() {
				return nil, fmt.Errorf("%w: private key of the own Update is not in this Epoch", ErrUsage)
			}
		}
	}
	for _, p := range list {
		if r, ok := p.proposal.(Remove); ok {
			out.tree.remove(r.Leaf)
			out.pathRequired = true
			out.ownRemoved = out.ownRemoved || r.Leaf == e.own
		}
	}
	if err := e.checkAdds(list, by); err != nil {
		return nil, fmt.Errorf("Add: %w", err)
	}
	for _, p := range list {
		add, ok := p.proposal.(Add)
		if !ok {
			continue
		}
		i, err := out.tree.add(add.KeyPackage.Leaf)
		if err != nil {
			return nil, err
		}
		out.added = append(out.added, i)
		out.packages = append(out.packages, add.KeyPackage)
	}
	if err := out.checkMembers(list, by.validator); err != nil {
		return nil, err
	}
	return out, nil
}

// checkMembers verifies that everybody supports the new GroupContext extensions: all
// members if they changed, else those who are new.
func (a *applied) checkMembers(list []sentProposal, v CredentialValidator) (err error) {
	if slices.ContainsFunc(list, func(p sentProposal) bool { return p.proposal.Type() == ProposalGroupContextExtensions }) {
		if err := checkContextExtensions(a.extensions, v); err != nil {
			return err
		}
		asked, err := demandsOf(a.extensions)
		if err != nil {
			return err
		}
		a.tree.root.eachLeaf(a.tree.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
			if err = l.meets(asked); err != nil {
				err = fmt.Errorf("leaf %d: %w", i, err)
			}
			return err == nil
		})
		return err
	}
	asked, err := demandsOf(a.extensions)
	if err != nil {
		return err
	}
	for _, p := range list {
		switch p := p.proposal.(type) {
		case Add:
			err = p.KeyPackage.Leaf.meets(asked)
		case Update:
			err = p.Leaf.meets(asked)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkAdds is RFC 9420, Section 12.1.1, for each Add: signatures on all cores, then
// the validator in order.
func (e *Epoch) checkAdds(list []sentProposal, by policy) error {
	var packages []*KeyPackage
	for _, p := range list {
		if add, ok := p.proposal.(Add); ok {
			packages = append(packages, add.KeyPackage)
		}
	}
	if err := inParallel(len(packages), func(k int) error {
		kp := packages[k]
		if kp.Suite != e.Suite() {
			return fmt.Errorf("%w: KeyPackage of ciphersuite %#04x", ErrInvalid, uint16(kp.Suite))
		}
		if err := kp.checkSelf(); err != nil {
			return err
		}
		if by.lifetime == nil {
			return nil
		}
		return by.lifetime(kp.Leaf)
	}); err != nil {
		return err
	}
	for _, kp := range packages {
		if err := by.validator.check(kp.Leaf); err != nil {
			return err
		}
	}
	return nil
}

// checkUpdate is RFC 9420, Sections 7.3 and 12.1.2.
func (e *Epoch) checkUpdate(l *LeafNode, i LeafIndex, by policy) error {
	if l.Source != LeafFromUpdate {
		return fmt.Errorf("%w: leaf_node_source is not update", ErrInvalid)
	}
	return e.checkNewLeaf(l, i, by)
}

// checkNewLeaf verifies a leaf that replaces leaf i, or stands in a blank one: RFC 9420,
// Sections 5.3.1, 7.3, 12.1.2 and 12.4.2.
func (e *Epoch) checkNewLeaf(l *LeafNode, i LeafIndex, by policy) error {
	if err := l.checkSelf(e.suite()); err != nil {
		return err
	}
	old := e.tree.leaf(i)
	if old != nil && bytes.Equal(old.EncryptionKey, l.EncryptionKey) {
		return fmt.Errorf("%w: encryption_key did not change", ErrInvalid)
	}
	if err := l.verifySignature(e.suite(), e.ctx.groupID, i); err != nil {
		return err
	}
	if err := by.validator.check(l); err != nil {
		return err
	}
	return by.checkSuccessor(old, l)
}

// checkSuccessor verifies that the credential of a new leaf continues that of the one it
// replaces; old is nil if it replaces none: RFC 9420, Section 5.3.1.
func (r policy) checkSuccessor(old, l *LeafNode) error {
	if old != nil && !EqualCredentials(old, l) && !r.same.orDefault()(old, l) {
		return fmt.Errorf("%w: it does not continue the credential that it replaces", ErrCredential)
	}
	return nil
}

// checkList is RFC 9420, Section 12.2: what a list may hold.
func (e *Epoch) checkList(list []sentProposal, committer sender) error {
	l := e.newProposalList(committer)
	for _, p := range list {
		if err := l.add(p); err != nil {
			return err
		}
	}
	if l.external() && !l.types[ProposalExternalInit] {
		return fmt.Errorf("%w: external commit without ExternalInit", ErrInvalid)
	}
	return nil
}

// proposalList is a list in the making, as far as Section 12.2 cares.
type proposalList struct {
	epoch     *Epoch
	committer sender
	types     map[ProposalType]bool
	leaves    map[LeafIndex]bool // that an Update or Remove is for
	psks      map[string]bool
}

func (e *Epoch) newProposalList(committer sender) *proposalList {
	return &proposalList{e, committer, map[ProposalType]bool{}, map[LeafIndex]bool{}, map[string]bool{}}
}

func (l *proposalList) external() bool { return l.committer.typ == senderNewMemberCommit }

// add puts p at the end of the list. Where RFC 9420, Section 12.2, forbids that, the list
// stays as it was.
func (l *proposalList) add(p sentProposal) error {
	t, from, again, external := p.proposal.Type(), p.sender, l.types[p.proposal.Type()], l.external()
	if l.types[ProposalReInit] {
		return fmt.Errorf("%w: ReInit beside other proposals", ErrInvalid)
	}
	switch p := p.proposal.(type) {
	case Update:
		if external {
			return fmt.Errorf("%w: Update in an external commit", ErrInvalid)
		}
		if from.typ != senderMember || from == l.committer {
			return fmt.Errorf("%w: Update of the committer or of no member", ErrInvalid)
		}
		if err := l.touch(LeafIndex(from.index)); err != nil {
			return err
		}
	case Remove:
		if !external && l.committer.index == uint32(p.Leaf) {
			return fmt.Errorf("%w: committer removes itself", ErrInvalid)
		}
		if external && again {
			return fmt.Errorf("%w: two Removes in an external commit", ErrInvalid)
		}
		if err := l.touch(p.Leaf); err != nil {
			return err
		}
	case Add:
		if external {
			return fmt.Errorf("%w: Add in an external commit", ErrInvalid)
		}
	case PreSharedKey:
		if err := l.mix(p.ID); err != nil {
			return err
		}
	case GroupContextExtensions:
		if external || again {
			return fmt.Errorf("%w: GroupContextExtensions twice or in an external commit", ErrInvalid)
		}
	case ExternalInit:
		if !external || again {
			return fmt.Errorf("%w: ExternalInit twice or in a member's commit", ErrInvalid)
		}
	case ReInit: // alone, and to no older version: Sections 12.1.5 and 12.2
		if external || len(l.types) > 0 {
			return fmt.Errorf("%w: ReInit beside other proposals", ErrInvalid)
		}
		if p.Version < MLS10 {
			return fmt.Errorf("%w: ReInit to version %d", ErrInvalid, p.Version)
		}
		if err := checkExtensions(p.Extensions); err != nil {
			return err
		}
	}
	l.types[t] = true
	return nil
}

// touch notes that a proposal is for leaf i, the only one.
func (l *proposalList) touch(i LeafIndex) error {
	if l.epoch.tree.signatureKey(i) == nil {
		return fmt.Errorf("%w: leaf %d is blank", ErrInvalid, i)
	}
	if l.leaves[i] {
		return fmt.Errorf("%w: two proposals for leaf %d", ErrInvalid, i)
	}
	l.leaves[i] = true
	return nil
}

// mix notes a PSK, once: RFC 9420, Sections 8.4 and 12.1.4.
func (l *proposalList) mix(psk PreSharedKeyID) error {
	id := string(encode(psk.encode))
	switch {
	case l.psks[id]:
		return fmt.Errorf("%w: PSK twice", ErrInvalid)
	case len(psk.Nonce) != l.epoch.suite().nh:
		return fmt.Errorf("%w: PSK nonce of %d bytes", ErrInvalid, len(psk.Nonce))
	case psk.Type == PSKResumption && psk.Usage != ResumptionApplication && !l.epoch.continues(psk):
		return fmt.Errorf("%w: resumption PSK with usage %d", ErrInvalid, psk.Usage)
	}
	l.psks[id] = true
	return nil
}
