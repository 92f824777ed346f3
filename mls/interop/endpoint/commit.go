package endpoint

import (
	"context"
	"errors"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Commit commits proposals; the client moves on with HandlePendingCommit.
func (e *Endpoint) Commit(_ context.Context, in *mlsclient.CommitRequest) (*mlsclient.CommitResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.commit(in))
}

func (e *Endpoint) commit(in *mlsclient.CommitRequest) (*mlsclient.CommitResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	cfg := mls.CommitConfig{
		Signer: s.signer, Now: e.now(), References: in.GetByReference(), InlineTree: !in.GetExternalTree(),
		Wire: s.wire(), Ratchets: s.ratchets, PSKs: s.psks.find, Validator: mls.AcceptAnyCredential,
		NoPath: !in.GetForcePath(),
	}
	for _, d := range in.GetByValue() {
		p, err := e.describe(s.epoch, d)
		if err != nil {
			return nil, err
		}
		cfg.Proposals = append(cfg.Proposals, p)
	}
	out, err := s.epoch.Commit(e.rand, cfg)
	if cfg.NoPath && errors.Is(err, mls.ErrUsage) { // RFC 9420, Section 12.4: these proposals need a path
		cfg.NoPath = false
		out, err = s.epoch.Commit(e.rand, cfg)
	}
	if err != nil {
		return nil, err
	}
	s.pending = out
	response := &mlsclient.CommitResponse{Commit: out.Commit, Welcome: out.Welcome}
	if in.GetExternalTree() {
		response.RatchetTree = out.Epoch.RatchetTree()
	}
	return response, nil
}

// HandlePendingCommit takes up the client's own last commit.
func (e *Endpoint) HandlePendingCommit(_ context.Context, in *mlsclient.HandlePendingCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.handlePendingCommit(in))
}

func (e *Endpoint) handlePendingCommit(in *mlsclient.HandlePendingCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	out, err := s.takePending()
	if err != nil {
		return nil, err
	}
	return &mlsclient.HandleCommitResponse{
		StateId: e.enter(s, out.Epoch, out.Ratchets), EpochAuthenticator: out.Epoch.EpochAuthenticator(),
	}, nil
}

// takePending gives the client's last commit, once.
func (s *state) takePending() (*mls.CommitResult, error) {
	out := s.pending
	if out == nil {
		return nil, status.Error(codes.FailedPrecondition, "no commit is pending")
	}
	s.pending = nil
	return out, nil
}

// HandleCommit processes another member's commit.
func (e *Endpoint) HandleCommit(_ context.Context, in *mlsclient.HandleCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.handleCommit(in))
}

func (e *Endpoint) handleCommit(in *mlsclient.HandleCommitRequest) (*mlsclient.HandleCommitResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	out, err := s.process(in)
	if err != nil {
		return nil, err
	}
	return &mlsclient.HandleCommitResponse{
		StateId: e.enter(s, out.Epoch, out.Ratchets), EpochAuthenticator: out.Epoch.EpochAuthenticator(),
	}, nil
}

// process verifies a commit; one that removes this client is an error here.
func (s *state) process(in *mlsclient.HandleCommitRequest) (*mls.Processed, error) {
	out, err := s.epoch.Process(in.GetCommit(), mls.ProcessConfig{
		References: in.GetProposal(), Ratchets: s.ratchets, PSKs: s.psks.find, Validator: mls.AcceptAnyCredential,
	})
	if err != nil {
		return nil, err
	}
	if out.Removed {
		return nil, mls.ErrRemoved
	}
	return out, nil
}

func (e *Endpoint) externalJoin(in *mlsclient.ExternalJoinRequest) (*mlsclient.ExternalJoinResponse, error) {
	group, err := mls.Observe(in.GetGroupInfo())
	if err != nil {
		return nil, err
	}
	psks := newPSKStore()
	cfg := mls.ExternalConfig{
		Credential: mls.BasicCredential(in.GetIdentity()), RatchetTree: given(in.GetRatchetTree()),
		PSKs: psks.find, Validator: mls.AcceptAnyCredential,
	}
	if cfg.Signer, err = mls.NewSignatureKey(group.Suite(), e.rand); err != nil {
		return nil, err
	}
	if in.GetRemovePrior() {
		if err := group.Verify(cfg.RatchetTree, cfg.Validator); err != nil {
			return nil, err
		}
		prior, ok := leafOf(group, in.GetIdentity())
		if !ok {
			return nil, badRequest("no prior member %q", in.GetIdentity())
		}
		cfg.Resync = &prior
	}
	for _, p := range in.GetPsks() {
		psks.external[string(p.GetPskId())] = p.GetPskSecret()
		id, err := e.named(group.Suite(), mls.PreSharedKeyID{Type: mls.PSKExternal, ID: p.GetPskId()})
		if err != nil {
			return nil, err
		}
		cfg.PreSharedKeys = append(cfg.PreSharedKeys, id)
	}
	out, err := mls.JoinExternal(e.rand, in.GetGroupInfo(), cfg)
	if err != nil {
		return nil, err
	}
	id := e.enter(&state{signer: cfg.Signer, private: in.GetEncryptHandshake(), psks: psks}, out.Epoch, out.Ratchets)
	return &mlsclient.ExternalJoinResponse{StateId: id, Commit: out.Commit, EpochAuthenticator: out.Epoch.EpochAuthenticator()}, nil
}
