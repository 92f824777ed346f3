package mls

import "fmt"

// CommitInfo is what a commit in a PublicMessage says on its face. Nothing in it
// has been verified.
type CommitInfo struct {
	GroupID           []byte
	Epoch             uint64
	Sender            LeafIndex // meaningful unless External
	External          bool      // sent by a new member
	AuthenticatedData []byte
	Proposals         []Proposal // by value
	References        [][]byte   // ProposalRefs
	PathLeaf          *LeafNode  // nil without a path
	ConfirmationTag   []byte
}

// InspectCommit reads a commit (an MLSMessage with a PublicMessage) without any
// state: what a node can tell of a commit whose parent it does not hold.
func InspectCommit(message []byte) (*CommitInfo, error) {
	m, err := readPublicCommit(message)
	if err != nil {
		return nil, err
	}
	info := &CommitInfo{
		GroupID: m.groupID, Epoch: m.epoch, Sender: LeafIndex(m.sender.index),
		External: m.sender.typ == senderNewMemberCommit, AuthenticatedData: m.authData,
		ConfirmationTag: m.confirmationTag,
	}
	for _, p := range m.commit.proposals {
		if p.value != nil {
			info.Proposals = append(info.Proposals, p.value)
		} else {
			info.References = append(info.References, p.ref)
		}
	}
	if m.commit.path != nil {
		info.PathLeaf = m.commit.path.leaf
	}
	return info, nil
}

func readPublicCommit(message []byte) (publicMessage, error) {
	r, err := openMessageAs(message, WirePublic)
	if err != nil {
		return publicMessage{}, err
	}
	m := readPublicMessage(r)
	if err := r.done("PublicMessage"); err != nil {
		return publicMessage{}, err
	}
	if m.typ != contentCommit || m.sender.typ != senderMember && m.sender.typ != senderNewMemberCommit {
		return publicMessage{}, fmt.Errorf("%w: not a commit", ErrMalformed)
	}
	return m, nil
}

// NextInterimTranscriptHash gives the interim transcript hash of the epoch that a
// commit (an MLSMessage with a PublicMessage) leads to, from that of its parent:
// RFC 9420, Section 8.2. It fixes the whole history before it, and needs no key.
func NextInterimTranscriptHash(id CipherSuite, parentInterim, message []byte) ([]byte, error) {
	s, err := id.lookup()
	if err != nil {
		return nil, err
	}
	m, err := readPublicCommit(message)
	if err != nil {
		return nil, err
	}
	confirmed := s.confirmedTranscript(parentInterim, m.signedInput())
	return s.interimTranscript(confirmed, m.confirmationTag), nil
}
