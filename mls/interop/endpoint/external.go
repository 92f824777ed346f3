package endpoint

import (
	"context"
	"slices"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
)

// NewMemberAddProposal makes a client that asks to be added.
func (e *Endpoint) NewMemberAddProposal(_ context.Context, in *mlsclient.NewMemberAddProposalRequest) (*mlsclient.NewMemberAddProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.newMemberAddProposal(in))
}

func (e *Endpoint) newMemberAddProposal(in *mlsclient.NewMemberAddProposalRequest) (*mlsclient.NewMemberAddProposalResponse, error) {
	group, err := mls.Observe(in.GetGroupInfo())
	if err != nil {
		return nil, err
	}
	j, err := e.newJoiner(group.Suite(), in.GetIdentity())
	if err != nil {
		return nil, err
	}
	proposal, err := group.ProposeSelf(e.now(), j.signer, j.kp, nil)
	if err != nil {
		return nil, err
	}
	initKey, encryptionKey, err := j.private()
	if err != nil {
		return nil, err
	}
	return &mlsclient.NewMemberAddProposalResponse{
		TransactionId: add(e, e.joiners, j), Proposal: proposal,
		InitPriv: initKey, EncryptionPriv: encryptionKey, SignaturePriv: j.signer.MarshalSecret(),
	}, nil
}

// CreateExternalSigner makes somebody who may propose from outside.
func (e *Endpoint) CreateExternalSigner(_ context.Context, in *mlsclient.CreateExternalSignerRequest) (*mlsclient.CreateExternalSignerResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.createExternalSigner(in))
}

func (e *Endpoint) createExternalSigner(in *mlsclient.CreateExternalSignerRequest) (*mlsclient.CreateExternalSignerResponse, error) {
	suite, err := suiteOf(in.GetCipherSuite())
	if err != nil {
		return nil, err
	}
	signer, err := mls.NewSignatureKey(suite, e.rand)
	if err != nil {
		return nil, err
	}
	list := mls.ExternalSendersExtension(mls.ExternalSender{
		SignatureKey: signer.PublicKey(), Credential: mls.BasicCredential(in.GetIdentity()),
	})
	one, _, err := vector(list.Data)
	if err != nil {
		return nil, err
	}
	return &mlsclient.CreateExternalSignerResponse{SignerId: add(e, e.signers, signer), ExternalSender: one}, nil
}

// AddExternalSigner proposes the group's extensions with one external sender more.
func (e *Endpoint) AddExternalSigner(_ context.Context, in *mlsclient.AddExternalSignerRequest) (*mlsclient.ProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.addExternalSigner(in))
}

func (e *Endpoint) addExternalSigner(in *mlsclient.AddExternalSignerRequest) (*mlsclient.ProposalResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	extensions := s.epoch.Extensions()
	senders, err := mls.ExternalSenders(extensions)
	if err != nil {
		return nil, err
	}
	more, err := mls.ExternalSenders([]mls.Extension{{Type: mls.ExtensionExternalSenders, Data: asVector(in.GetExternalSender())}})
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(extensions), func(x mls.Extension) bool { return x.Type == mls.ExtensionExternalSenders })
	list := slices.Concat(others, []mls.Extension{mls.ExternalSendersExtension(append(senders, more...)...)})
	message, _, err := s.epoch.Propose(e.rand, mls.GroupContextExtensions{Extensions: list}, s.proposing(e.now()))
	if err != nil {
		return nil, err
	}
	return &mlsclient.ProposalResponse{Proposal: message}, nil
}

// ExternalSignerProposal proposes from outside.
func (e *Endpoint) ExternalSignerProposal(_ context.Context, in *mlsclient.ExternalSignerProposalRequest) (*mlsclient.ProposalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.externalSignerProposal(in))
}

func (e *Endpoint) externalSignerProposal(in *mlsclient.ExternalSignerProposalRequest) (*mlsclient.ProposalResponse, error) {
	signer, err := find(e.signers, "signer_id", in.GetSignerId())
	if err != nil {
		return nil, err
	}
	group, err := mls.Observe(in.GetGroupInfo())
	if err != nil {
		return nil, err
	}
	if err := group.Verify(given(in.GetRatchetTree()), mls.AcceptAnyCredential); err != nil {
		return nil, err
	}
	p, err := e.describe(group, in.GetDescription())
	if err != nil {
		return nil, err
	}
	message, err := group.ProposeAs(e.now(), signer, in.GetSignerIndex(), p, nil)
	if err != nil {
		return nil, err
	}
	return &mlsclient.ProposalResponse{Proposal: message}, nil
}
