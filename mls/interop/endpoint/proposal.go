package endpoint

import (
	"context"
	"io"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
)

// describe turns a description into a proposal by value.
func (e *Endpoint) describe(epoch *mls.Epoch, d *mlsclient.ProposalDescription) (mls.Proposal, error) {
	switch kind := string(d.GetProposalType()); kind {
	case "add":
		kp, err := mls.ParseKeyPackage(d.GetKeyPackage())
		if err != nil {
			return nil, err
		}
		return mls.Add{KeyPackage: kp}, nil
	case "remove":
		return removeOf(epoch, d.GetRemovedId())
	case "externalPSK":
		return e.psk(epoch, mls.PreSharedKeyID{Type: mls.PSKExternal, ID: d.GetPskId()})
	case "resumptionPSK":
		return e.psk(epoch, mls.PreSharedKeyID{
			Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: epoch.GroupID(), Epoch: d.GetEpochId(),
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

func removeOf(epoch *mls.Epoch, identity []byte) (mls.Proposal, error) {
	leaf, ok := leafOf(epoch, identity)
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

// psk gives id a fresh nonce, as long as the suite's hash (RFC 9420, Section 8.4),
// which epoch_authenticator is too.
func (e *Endpoint) psk(epoch *mls.Epoch, id mls.PreSharedKeyID) (mls.Proposal, error) {
	id.Nonce = make([]byte, len(epoch.EpochAuthenticator()))
	if _, err := io.ReadFull(e.rand, id.Nonce); err != nil {
		return nil, err
	}
	return mls.PreSharedKey{ID: id}, nil
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
	message, err := e.send(s, p)
	return answer(&mlsclient.ProposalResponse{Proposal: message}, err)
}

// send frames a proposal.
func (e *Endpoint) send(s *state, p mls.Proposal) ([]byte, error) {
	switch p := p.(type) {
	case mls.Add:
		return s.epoch.ProposeAdd(s.signer, p.KeyPackage, nil)
	case mls.Remove:
		return s.epoch.ProposeRemove(s.signer, p.Leaf, nil)
	default:
		return nil, mls.ErrUnsupported
	}
}

// UpdateProposal proposes a new own leaf.
func (e *Endpoint) UpdateProposal(_ context.Context, in *mlsclient.UpdateProposalRequest) (*mlsclient.ProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	message, next, err := s.epoch.ProposeUpdate(e.rand, s.signer, nil, nil)
	if err != nil {
		return answer[*mlsclient.ProposalResponse](nil, err)
	}
	s.epoch = next
	return &mlsclient.ProposalResponse{Proposal: message}, nil
}
