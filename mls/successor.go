package mls

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"
)

// SameClient says whether two leaves, of two groups or of two times, stand for one
// client: the application's part of RFC 9420, Sections 5.3.1, 11.2, 11.3 and 12.4.3.2.
// It is asked wherever one leaf takes the place of another.
type SameClient func(old, new *LeafNode) bool

// EqualCredentials is the SameClient for applications that give each client one
// credential.
func EqualCredentials(old, new *LeafNode) bool {
	return macEqual(encode(old.Credential.encode), encode(new.Credential.encode))
}

func (f SameClient) orDefault() SameClient {
	if f == nil {
		return EqualCredentials
	}
	return f
}

// SuccessorConfig says how to make a group that continues another. Credential, Signer,
// Members and Validator are required.
type SuccessorConfig struct {
	GroupID        []byte      // of a branch; a ReInit has fixed it
	Extensions     []Extension // of a branch's GroupContext; a ReInit has fixed them
	Credential     Credential
	Signer         *SignatureKey // of the new group's ciphersuite
	NotBefore      time.Time
	NotAfter       time.Time
	LeafExtensions []Extension
	Capabilities   *Capabilities
	// Members are the KeyPackages of the others: all of them after a ReInit, those to
	// come along for a branch.
	Members             []*KeyPackage
	Now                 time.Time // required: as in CommitConfig
	NoPath              bool
	GroupInfoExtensions []Extension
	InlineTree          bool
	SameClient          SameClient // nil: EqualCredentials
	Validator           CredentialValidator
}

// Branch makes a group of some of the members, bound to this epoch by its resumption
// PSK: RFC 9420, Section 11.3. The result's Welcome goes to them, who join with this
// epoch as [JoinConfig].Parent; its Commit goes to nobody. From rand are drawn what
// [Create] draws, the PSK's nonce, then what [Epoch.Commit] draws.
func (e *Epoch) Branch(rand io.Reader, cfg SuccessorConfig) (*CommitResult, error) {
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	out, err := e.succeed(rand, cfg, ResumptionBranch, e.Suite(), cfg.GroupID, cfg.Extensions)
	if err != nil {
		return nil, fmt.Errorf("branch: %w", err)
	}
	return out, nil
}

// Continue makes the group that a ReInit has announced: RFC 9420, Section 11.2. e is
// the epoch that the ReInit's commit began. It is [Epoch.Branch] otherwise.
func (e *Epoch) Continue(rand io.Reader, cfg SuccessorConfig) (*CommitResult, error) {
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	if e.reinit == nil || cfg.GroupID != nil || cfg.Extensions != nil {
		return nil, fmt.Errorf("continue: %w: a ReInit decides group ID and extensions, and there has to be one", ErrUsage)
	}
	if e.reinit.Version != MLS10 {
		return nil, fmt.Errorf("continue: %w: protocol version %d", ErrUnsupported, e.reinit.Version)
	}
	out, err := e.succeed(rand, cfg, ResumptionReInit, e.reinit.Suite, e.reinit.GroupID, e.reinit.Extensions)
	if err != nil {
		return nil, fmt.Errorf("continue: %w", err)
	}
	return out, nil
}

func (e *Epoch) succeed(rand io.Reader, cfg SuccessorConfig, usage ResumptionUsage, id CipherSuite, groupID []byte, extensions []Extension) (*CommitResult, error) {
	first, ratchets, err := Create(rand, GroupConfig{
		Suite: id, GroupID: groupID, Credential: cfg.Credential, Signer: cfg.Signer, NotBefore: cfg.NotBefore, NotAfter: cfg.NotAfter,
		Extensions: extensions, LeafExtensions: cfg.LeafExtensions, Capabilities: cfg.Capabilities, Validator: cfg.Validator,
	})
	if err != nil {
		return nil, err
	}
	defer first.Wipe()
	defer ratchets.Wipe()
	nonce, err := draw(rand, first.suite().nh)
	if err != nil {
		return nil, err
	}
	psk := PreSharedKeyID{Type: PSKResumption, Usage: usage, GroupID: e.GroupID(), Epoch: e.Number(), Nonce: nonce}
	first.origin = &psk
	proposals := []Proposal{PreSharedKey{psk}}
	for _, kp := range cfg.Members {
		if kp == nil {
			return nil, fmt.Errorf("%w: no KeyPackage", ErrUsage)
		}
		proposals = append(proposals, Add{kp})
	}
	out, err := first.Commit(rand, CommitConfig{
		Signer: cfg.Signer, Now: cfg.Now, Proposals: proposals, NoPath: cfg.NoPath, GroupInfoExtensions: cfg.GroupInfoExtensions,
		InlineTree: cfg.InlineTree, PSKs: e.resumes(psk, nil), Validator: cfg.Validator, SameClient: cfg.SameClient,
	})
	if err != nil {
		return nil, err
	}
	if err := e.checkSuccessor(out.Epoch.ctx, out.Epoch.tree, usage, cfg.SameClient); err != nil {
		out.Epoch.Wipe()
		out.Ratchets.Wipe()
		return nil, err
	}
	return out, nil
}

// continues says whether id is the PSK by which this group continues another; no other
// resumption PSK may have that usage: RFC 9420, Section 12.1.4.
func (e *Epoch) continues(id PreSharedKeyID) bool {
	return e.origin != nil && macEqual(encode(e.origin.encode), encode(id.encode))
}

// resumes gives e's resumption PSK for id, and asks next for all others.
func (e *Epoch) resumes(id PreSharedKeyID, next PSKSource) PSKSource {
	return func(asked PreSharedKeyID) ([]byte, bool) {
		if macEqual(encode(id.encode), encode(asked.encode)) {
			return e.secrets.resumption.bytes(), true
		}
		if next == nil {
			return nil, false
		}
		return next(asked)
	}
}

// origin finds the PSK that binds a new group to an earlier one: RFC 9420, Sections
// 8.6 and 12.4.3.1.
func (g *groupSecrets) origin() (*PreSharedKeyID, error) {
	var found *PreSharedKeyID
	for _, id := range g.psks {
		if id.Type != PSKResumption || id.Usage == ResumptionApplication {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: Welcome into a group that continues two", ErrInvalid)
		}
		found = &id
	}
	return found, nil
}

// checkOrigin verifies that the group of a Welcome continues parent, or none.
func (g *groupSecrets) checkOrigin(parent *Epoch) (*PreSharedKeyID, error) {
	id, err := g.origin()
	switch {
	case err != nil:
		return nil, err
	case id == nil && parent != nil:
		return nil, fmt.Errorf("%w: the Welcome's group does not continue the parent", ErrInvalid)
	case id == nil:
		return nil, nil
	case parent == nil:
		return nil, fmt.Errorf("%w: the epoch %d of the group that this one continues", ErrMissingPSK, id.Epoch)
	}
	if err := parent.checkAlive(); err != nil {
		return nil, err
	}
	if err := parent.checkAddress(id.GroupID, id.Epoch); err != nil {
		return nil, fmt.Errorf("parent: %w", err)
	}
	if id.Usage == ResumptionReInit && parent.reinit == nil {
		return nil, fmt.Errorf("%w: the parent was not ended by a ReInit", ErrInvalid)
	}
	return id, nil
}

// checkSuccessor verifies that a new group is what e's members agreed to: RFC 9420,
// Section 11.2 for a ReInit and 11.3 for a branch; Section 12.4.3.1 for the epoch.
func (e *Epoch) checkSuccessor(ctx *groupContext, t *tree, usage ResumptionUsage, same SameClient) error {
	if ctx.epoch != 1 {
		return fmt.Errorf("%w: a group that continues another is joined in epoch 1, not %d", ErrInvalid, ctx.epoch)
	}
	if usage == ResumptionBranch {
		if ctx.suite != e.suite() {
			return fmt.Errorf("%w: branch of ciphersuite %#04x", ErrInvalid, uint16(ctx.suite.id))
		}
	} else {
		got := ReInit{ctx.groupID, MLS10, ctx.suite.id, ctx.extensions}
		if !macEqual(encode(got.encode), encode(e.reinit.encode)) {
			return fmt.Errorf("%w: the group is not the one that the ReInit announced", ErrInvalid)
		}
	}
	old := make(map[string][]*LeafNode)
	exact := same == nil
	key := func(l *LeafNode) string {
		if exact {
			return string(encode(l.Credential.encode))
		}
		return ""
	}
	for _, l := range e.Members() {
		old[key(l)] = append(old[key(l)], l)
	}
	left := e.MemberCount()
	same = same.orDefault()
	var err error
	t.root.eachLeaf(t.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
		k := key(l)
		at := slices.IndexFunc(old[k], func(o *LeafNode) bool { return same(o, l) })
		if at < 0 {
			err = fmt.Errorf("%w: leaf %d is no member of the group that this one continues", ErrInvalid, i)
			return false
		}
		old[k] = slices.Delete(old[k], at, at+1)
		left--
		return true
	})
	if err == nil && usage == ResumptionReInit && left > 0 {
		err = fmt.Errorf("%w: %d members of the group that was ended are missing", ErrInvalid, left)
	}
	return err
}

// checkResync verifies that an external commit removes nobody but the joiner's own old
// self (RFC 9420, Section 12.4.3.2), and that the joiner brings another encryption key:
// Section 12.2 wants of its leaf what Section 12.1.2 wants of an Update of the removed one.
func (e *Epoch) checkResync(list []sentProposal, joiner *LeafNode, same SameClient) error {
	for _, p := range list {
		r, ok := p.proposal.(Remove)
		if !ok {
			continue
		}
		old := e.tree.leaf(r.Leaf)
		if !same.orDefault()(old, joiner) {
			return fmt.Errorf("%w: external commit of another client removes leaf %d", ErrInvalid, r.Leaf)
		}
		if bytes.Equal(old.EncryptionKey, joiner.EncryptionKey) {
			return fmt.Errorf("%w: encryption_key did not change", ErrInvalid)
		}
	}
	return nil
}
