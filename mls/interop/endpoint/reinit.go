package endpoint

import (
	"context"
	"io"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
)

// reinit is a client between a group that a ReInit ended and the one that continues
// it (a reinit_id).
type reinit struct {
	*state         // of the epoch that the ReInit's commit began
	next   *joiner // with a signature key of the new group's suite
}

// ReInitCommit commits a ReInit.
func (e *Endpoint) ReInitCommit(ctx context.Context, in *mlsclient.CommitRequest) (*mlsclient.CommitResponse, error) {
	return e.Commit(ctx, in)
}

// HandlePendingReInitCommit takes up the client's own commit of a ReInit.
func (e *Endpoint) HandlePendingReInitCommit(_ context.Context, in *mlsclient.HandlePendingCommitRequest) (*mlsclient.HandleReInitCommitResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.HandleReInitCommitResponse](nil, err)
	}
	out, err := s.takePending()
	if err != nil {
		return answer[*mlsclient.HandleReInitCommitResponse](nil, err)
	}
	return answer(e.end(s, out.Epoch, out.Ratchets))
}

// HandleReInitCommit processes another member's commit of a ReInit.
func (e *Endpoint) HandleReInitCommit(_ context.Context, in *mlsclient.HandleCommitRequest) (*mlsclient.HandleReInitCommitResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.HandleReInitCommitResponse](nil, err)
	}
	out, err := s.process(in)
	if err != nil {
		return answer[*mlsclient.HandleReInitCommitResponse](nil, err)
	}
	return answer(e.end(s, out.Epoch, out.Ratchets))
}

// end makes the KeyPackage with which a client goes on after a ReInit.
func (e *Endpoint) end(s *state, epoch *mls.Epoch, ratchets *mls.Ratchets) (*mlsclient.HandleReInitCommitResponse, error) {
	r, ok := epoch.ReInit()
	if !ok {
		return nil, badRequest("the commit has no ReInit")
	}
	next, err := e.successor(s, r.Suite)
	if err != nil {
		return nil, err
	}
	next.psks = s.psks
	last := &state{epoch: epoch, ratchets: ratchets, signer: s.signer, private: s.private, psks: s.psks}
	return &mlsclient.HandleReInitCommitResponse{
		ReinitId: add(e, e.reinits, &reinit{last, next}), KeyPackage: next.kp.Message(), EpochAuthenticator: epoch.EpochAuthenticator(),
	}, nil
}

// successor makes a KeyPackage with the credential that the client has in a group.
func (e *Endpoint) successor(s *state, suite mls.CipherSuite) (*joiner, error) {
	own, _ := s.epoch.Member(s.epoch.OwnLeaf())
	return e.newJoiner(suite, own.Credential.Identity)
}

// ReInitWelcome founds the group that a ReInit announced.
func (e *Endpoint) ReInitWelcome(_ context.Context, in *mlsclient.ReInitWelcomeRequest) (*mlsclient.CreateSubgroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := find(e.reinits, "reinit_id", in.GetReinitId())
	if err != nil {
		return answer[*mlsclient.CreateSubgroupResponse](nil, err)
	}
	return answer(e.found(r, r.epoch.Continue, in.GetKeyPackage(), in.GetForcePath(), in.GetExternalTree(), mls.SuccessorConfig{}))
}

// HandleReInitWelcome joins the group that a ReInit announced.
func (e *Endpoint) HandleReInitWelcome(_ context.Context, in *mlsclient.HandleReInitWelcomeRequest) (*mlsclient.JoinGroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := find(e.reinits, "reinit_id", in.GetReinitId())
	if err != nil {
		return answer[*mlsclient.JoinGroupResponse](nil, err)
	}
	id, joined, err := e.follow(r, in.GetWelcome(), in.GetRatchetTree())
	if err != nil {
		return answer[*mlsclient.JoinGroupResponse](nil, err)
	}
	delete(e.reinits, in.GetReinitId())
	return &mlsclient.JoinGroupResponse{StateId: id, EpochAuthenticator: joined.EpochAuthenticator()}, nil
}

// CreateBranch founds a group of some of the members.
func (e *Endpoint) CreateBranch(_ context.Context, in *mlsclient.CreateBranchRequest) (*mlsclient.CreateSubgroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.createBranch(in))
}

func (e *Endpoint) createBranch(in *mlsclient.CreateBranchRequest) (*mlsclient.CreateSubgroupResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	list, err := extensions(in.GetExtensions())
	if err != nil {
		return nil, err
	}
	next, err := e.successor(s, s.epoch.Suite())
	if err != nil {
		return nil, err
	}
	return e.found(&reinit{s, next}, s.epoch.Branch, in.GetKeyPackages(), in.GetForcePath(), in.GetExternalTree(), mls.SuccessorConfig{
		GroupID: in.GetGroupId(), Extensions: list,
	})
}

// HandleBranch joins a branch of a group.
func (e *Endpoint) HandleBranch(_ context.Context, in *mlsclient.HandleBranchRequest) (*mlsclient.HandleBranchResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.handleBranch(in))
}

func (e *Endpoint) handleBranch(in *mlsclient.HandleBranchRequest) (*mlsclient.HandleBranchResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	j, err := find(e.joiners, "transaction_id", in.GetTransactionId())
	if err != nil {
		return nil, err
	}
	id, joined, err := e.follow(&reinit{s, j}, in.GetWelcome(), in.GetRatchetTree())
	if err != nil {
		return nil, err
	}
	delete(e.joiners, in.GetTransactionId())
	return &mlsclient.HandleBranchResponse{StateId: id, EpochAuthenticator: joined.EpochAuthenticator()}, nil
}

// found makes a group that continues r's, by begin.
func (e *Endpoint) found(
	r *reinit, begin func(io.Reader, mls.SuccessorConfig) (*mls.CommitResult, error),
	packages [][]byte, path, externalTree bool, cfg mls.SuccessorConfig,
) (*mlsclient.CreateSubgroupResponse, error) {
	now := e.now()
	cfg.Credential, cfg.Signer = r.next.kp.Leaf.Credential, r.next.signer
	cfg.NotBefore, cfg.NotAfter, cfg.Now = now.Add(-lifetime), now.Add(lifetime), now
	cfg.NoPath, cfg.InlineTree, cfg.Validator = !path, !externalTree, mls.AcceptAnyCredential
	for _, b := range packages {
		kp, err := mls.ParseKeyPackage(b)
		if err != nil {
			return nil, err
		}
		cfg.Members = append(cfg.Members, kp)
	}
	out, err := begin(e.rand, cfg)
	if err != nil {
		return nil, err
	}
	response := &mlsclient.CreateSubgroupResponse{
		StateId: e.enter(&state{signer: cfg.Signer, private: r.private, psks: r.psks}, out.Epoch, out.Ratchets),
		Welcome: out.Welcome, EpochAuthenticator: out.Epoch.EpochAuthenticator(),
	}
	if externalTree {
		response.RatchetTree = out.Epoch.RatchetTree()
	}
	return response, nil
}

// follow joins a group that continues r's.
func (e *Endpoint) follow(r *reinit, welcome, tree []byte) (id uint32, joined *mls.Epoch, err error) {
	cfg := r.next.config(tree)
	cfg.Parent, cfg.PSKs = r.epoch, r.psks.find
	out, err := mls.Join(welcome, cfg)
	if err != nil {
		return 0, nil, err
	}
	return e.enter(&state{signer: r.next.signer, private: r.private, psks: r.psks}, out.Epoch, out.Ratchets), out.Epoch, nil
}
