package endpoint

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
)

// view is a group as a member ([mls.Epoch]) or one outside ([mls.Observer]) sees it.
type view interface {
	Suite() mls.CipherSuite
	GroupID() []byte
	Members() iter.Seq2[mls.LeafIndex, *mls.LeafNode]
}

// describe turns a description into a proposal by value.
func (e *Endpoint) describe(group view, d *mlsclient.ProposalDescription) (mls.Proposal, error) {
	switch kind := string(d.GetProposalType()); kind {
	case "add":
		kp, err := mls.ParseKeyPackage(d.GetKeyPackage())
		if err != nil {
			return nil, err
		}
		return mls.Add{KeyPackage: kp}, nil
	case "remove":
		return removeOf(group, d.GetRemovedId())
	case "externalPSK":
		return e.psk(group, mls.PreSharedKeyID{Type: mls.PSKExternal, ID: d.GetPskId()})
	case "resumptionPSK":
		return e.psk(group, mls.PreSharedKeyID{
			Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: group.GroupID(), Epoch: d.GetEpochId(),
		})
	case "groupContextExtensions":
		list, err := extensions(d.GetExtensions())
		if err != nil {
			return nil, err
		}
		return mls.GroupContextExtensions{Extensions: list}, nil
	case "reinit":
		return reInitOf(d.GetCipherSuite(), d.GetGroupId(), d.GetExtensions())
	default:
		return nil, badRequest("proposal_type %q", kind)
	}
}

func removeOf(group view, identity []byte) (mls.Proposal, error) {
	leaf, ok := leafOf(group, identity)
	if !ok {
		return nil, badRequest("removed_id %q is no member", identity)
	}
	return mls.Remove{Leaf: leaf}, nil
}

func reInitOf(suite uint32, groupID []byte, list []*mlsclient.Extension) (mls.Proposal, error) {
	id, err := suiteOf(suite)
	if err != nil {
		return nil, err
	}
	converted, err := extensions(list)
	if err != nil {
		return nil, err
	}
	return mls.ReInit{GroupID: groupID, Version: mls.MLS10, Suite: id, Extensions: converted}, nil
}

// psk gives id a fresh nonce, as long as the suite's hash: RFC 9420, Section 8.4.
func (e *Endpoint) psk(group view, id mls.PreSharedKeyID) (mls.Proposal, error) {
	id, err := e.named(group.Suite(), id)
	return mls.PreSharedKey{ID: id}, err
}

func (e *Endpoint) named(suite mls.CipherSuite, id mls.PreSharedKeyID) (mls.PreSharedKeyID, error) {
	id.Nonce = make([]byte, hashSize(suite))
	_, err := io.ReadFull(e.rand, id.Nonce)
	return id, err
}

// hashSize is the output length in octets of a suite's hash: RFC 9420, Section 17.1.
func hashSize(suite mls.CipherSuite) int {
	switch suite {
	case mls.X448_AES256GCM_SHA512_Ed448, mls.P521_AES256GCM_SHA512_P521, mls.X448_CHACHA20POLY1305_SHA512_Ed448:
		return 64
	case mls.P384_AES256GCM_SHA384_P384:
		return 48
	default:
		return 32
	}
}

// AddProposal proposes to add a client.
func (e *Endpoint) AddProposal(_ context.Context, in *mlsclient.AddProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{ProposalType: []byte("add"), KeyPackage: in.GetKeyPackage()})
}

// RemoveProposal proposes to remove a member.
func (e *Endpoint) RemoveProposal(_ context.Context, in *mlsclient.RemoveProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{ProposalType: []byte("remove"), RemovedId: in.GetRemovedId()})
}

// ExternalPSKProposal proposes to mix in a PSK that the members hold.
func (e *Endpoint) ExternalPSKProposal(_ context.Context, in *mlsclient.ExternalPSKProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{ProposalType: []byte("externalPSK"), PskId: in.GetPskId()})
}

// ResumptionPSKProposal proposes to mix in the resumption PSK of an earlier epoch.
func (e *Endpoint) ResumptionPSKProposal(_ context.Context, in *mlsclient.ResumptionPSKProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{ProposalType: []byte("resumptionPSK"), EpochId: in.GetEpochId()})
}

// GroupContextExtensionsProposal proposes other extensions for the GroupContext.
func (e *Endpoint) GroupContextExtensionsProposal(_ context.Context, in *mlsclient.GroupContextExtensionsProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{
		ProposalType: []byte("groupContextExtensions"), Extensions: in.GetExtensions(),
	})
}

// ReInitProposal proposes to end the group in favour of a new one.
func (e *Endpoint) ReInitProposal(_ context.Context, in *mlsclient.ReInitProposalRequest) (*mlsclient.ProposalResponse, error) {
	return e.propose(in.GetStateId(), &mlsclient.ProposalDescription{
		ProposalType: []byte("reinit"), CipherSuite: in.GetCipherSuite(), GroupId: in.GetGroupId(), Extensions: in.GetExtensions(),
	})
}

// proposing is how this client sends proposals.
func (s *state) proposing(now time.Time) mls.ProposeConfig {
	return mls.ProposeConfig{Signer: s.signer, Now: now, Wire: s.wire(), Ratchets: s.ratchets}
}

// propose sends a proposal as a member.
func (e *Endpoint) propose(id uint32, d *mlsclient.ProposalDescription) (*mlsclient.ProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", id)
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	p, err := e.describe(s.epoch, d)
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	message, _, err := s.epoch.Propose(e.rand, p, s.proposing(e.now()))
	return answer(&mlsclient.ProposalResponse{Proposal: message}, err)
}

// UpdateProposal proposes a new own leaf.
func (e *Endpoint) UpdateProposal(_ context.Context, in *mlsclient.UpdateProposalRequest) (*mlsclient.ProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	message, next, _, err := s.epoch.ProposeLeaf(e.rand, nil, s.proposing(e.now()))
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	s.epoch = next
	return &mlsclient.ProposalResponse{Proposal: message}, nil
}
