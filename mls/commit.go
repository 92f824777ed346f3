package mls

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// CommitConfig says what to commit and how. Signer and Validator are required.
type CommitConfig struct {
	Signer     *SignatureKey
	Now        time.Time  // lifetimes of added KeyPackages are checked at this time; needed if there are any
	Proposals  []Proposal // by value
	References [][]byte   // MLSMessages with proposals, committed by reference
	// NoPath leaves the path out where RFC 9420, Section 12.4, allows it. Otherwise
	// a commit has a path, and with it fresh keys.
	NoPath              bool
	Leaf                *LeafUpdate // changes of the own leaf; needs a path
	GroupInfoExtensions []Extension // only in the Welcome's GroupInfo, never published
	InlineTree          bool        // the Welcome carries the ratchet tree
	Wire                WireFormat  // zero: WirePublic
	Ratchets            *Ratchets   // of this epoch; for WirePrivate and private References
	AuthenticatedData   []byte
	Padding             int // zero bytes appended to a WirePrivate commit
	PSKs                PSKSource
	Validator           CredentialValidator
	SameClient          SameClient // asked when a leaf changes its credential; nil: EqualCredentials
}

// CommitResult is a commit and the epoch it leads to.
type CommitResult struct {
	Commit      []byte // MLSMessage
	Welcome     []byte // MLSMessage; nil if nobody was added
	RatchetTree []byte // of the new epoch; nil if nobody was added
	Epoch       *Epoch
	Ratchets    *Ratchets
	Added       []LeafIndex // in the order of the Adds
	Delta       Delta       // of the Ratchets given, if they were used
}

// Format prints which epoch the commit leads to, and no secret.
func (r *CommitResult) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.describe()) }

// LogValue logs which epoch the commit leads to, and no secret.
func (r *CommitResult) LogValue() slog.Value { return slog.StringValue(r.describe()) }

func (r *CommitResult) describe() string {
	if r == nil {
		return "mls.CommitResult(nil)"
	}
	return fmt.Sprintf("mls.CommitResult(%s, %d added)", r.Epoch.describe(), len(r.Added))
}

// Commit makes a commit: RFC 9420, Section 12.4.1. It leaves e as it is; the
// committer moves on by using the Epoch in the result. From rand are drawn, in
// this order: leaf key, first path secret, one ephemeral key per recipient of the
// path, one per joiner, and the reuse guard of a private commit.
func (e *Epoch) Commit(rand io.Reader, cfg CommitConfig) (_ *CommitResult, err error) {
	if err := e.checkActive(); err != nil {
		return nil, err
	}
	var c change
	defer c.abandon()
	wire := cfg.Wire
	if wire == 0 {
		wire = WirePublic
	}
	if err := e.checkWire(wire, cfg.Ratchets); err != nil {
		return nil, err
	}
	me := sender{senderMember, uint32(e.own)}
	body, list, err := e.gather(cfg, me, &c)
	if err != nil {
		return nil, err
	}
	by := sent(cfg.Now, cfg.Validator, cfg.SameClient)
	plan, err := e.apply(list, me, by)
	if err != nil {
		return nil, err
	}
	if cfg.NoPath && (plan.pathRequired || cfg.Leaf != nil) { // RFC 9420, Section 12.4
		return nil, fmt.Errorf("%w: this commit needs a path", ErrUsage)
	}
	s := e.suite()
	next := &groupContext{
		suite: s, groupID: e.ctx.groupID, epoch: e.ctx.epoch + 1,
		confirmedTranscript: e.ctx.confirmedTranscript, extensions: plan.extensions,
	}
	keys := e.keys.kept(e.tree, plan.tree)
	commitSecret := newSecret(make([]byte, s.nh))
	var path *newPath
	defer func() {
		path.wipe()
		if err != nil {
			keys.wipe()
		}
	}()
	if !cfg.NoPath {
		leaf, signer := e.template(cfg.Leaf, cfg.Signer)
		if path, err = plan.tree.generatePath(rand, e.own, leaf, signer, e.ctx.groupID); err != nil {
			return nil, err
		}
		if err := e.checkOwnLeaf(path.leaf, plan.extensions, by); err != nil {
			return nil, err
		}
		for x, k := range path.keys {
			keys.put(x, k)
		}
		commitSecret = path.last
	}
	next.treeHash = plan.tree.freeze()
	if err := plan.tree.reindex(e.tree); err != nil {
		return nil, err
	}
	if path != nil {
		if body.path, err = plan.tree.sealPath(rand, path, plan.addedSorted(), next.bytes()); err != nil {
			return nil, err
		}
	}
	a := e.newContent(contentCommit, wire, cfg.AuthenticatedData)
	a.commit = body
	if err := e.sign(a, cfg.Signer); err != nil {
		return nil, err
	}
	psk, err := s.pskSecret(plan.psks, cfg.PSKs)
	if err != nil {
		return nil, err
	}
	child := &Epoch{ctx: next, tree: plan.tree, own: e.own, keys: keys, reinit: plan.reinit}
	ratchets, joiner, member := child.enter(a, e.interim, e.secrets.init, commitSecret, psk)
	defer joiner.wipe()
	defer member.wipe()
	defer func() {
		if err != nil {
			child.Wipe()
			ratchets.Wipe()
		}
	}()
	a.confirmationTag = child.confirmationTag

	out := &CommitResult{Epoch: child, Ratchets: ratchets, Added: plan.added}
	if len(plan.added) > 0 {
		if out.Welcome, err = child.welcome(rand, cfg, plan, path, joiner, member); err != nil {
			return nil, err
		}
		out.RatchetTree = plan.tree.encode()
	}
	if wire == WirePublic {
		out.Commit = a.publicMessage(s, e.secrets.membership, e.context)
	} else if out.Commit, err = cfg.Ratchets.sealContent(rand, a, cfg.Padding, &c); err != nil {
		return nil, err
	}
	if cfg.Ratchets != nil {
		out.Delta = cfg.Ratchets.tree.apply(&c)
	}
	return out, nil
}

// gather lists what is to be committed, references first.
func (e *Epoch) gather(cfg CommitConfig, me sender, c *change) (*commit, []sentProposal, error) {
	body := &commit{}
	var list []sentProposal
	for k, message := range cfg.References {
		one, err := e.openReferences([][]byte{message}, cfg.Ratchets, c)
		if err != nil {
			return nil, nil, fmt.Errorf("reference %d: %w", k, err)
		}
		for ref, p := range one {
			body.proposals = append(body.proposals, proposalOrRef{ref: []byte(ref)})
			list = append(list, p)
		}
	}
	for _, p := range cfg.Proposals {
		if add, ok := p.(Add); p == nil || ok && add.KeyPackage == nil {
			return nil, nil, fmt.Errorf("%w: empty proposal", ErrUsage)
		}
		if up, ok := p.(Update); ok && up.Leaf == nil {
			return nil, nil, fmt.Errorf("%w: empty proposal", ErrUsage)
		}
		body.proposals = append(body.proposals, proposalOrRef{value: p})
		list = append(list, sentProposal{me, p})
	}
	return body, list, nil
}

// checkOwnLeaf refuses to commit a leaf that others would refuse.
func (e *Epoch) checkOwnLeaf(l *LeafNode, extensions []Extension, by policy) error {
	if err := l.checkMade(e.suite()); err != nil {
		return fmt.Errorf("own leaf: %w", err)
	}
	if err := l.checkSupports(extensions); err != nil {
		return fmt.Errorf("own leaf: %w", err)
	}
	if err := by.validator.check(l); err != nil {
		return err
	}
	if e.own == nobody {
		return nil
	}
	if err := by.checkSuccessor(e.tree.leaf(e.own), l); err != nil {
		return fmt.Errorf("own leaf: %w", err)
	}
	return nil
}

// enter completes a child epoch whose context lacks the transcript: RFC 9420,
// Sections 8 and 8.2. a is the signed commit, interim the parent's. It gives the
// secrets that a Welcome is made of; the caller wipes them.
func (e *Epoch) enter(a *authContent, interim []byte, init, commitSecret, psk secret) (r *Ratchets, joiner, member secret) {
	s := e.suite()
	e.ctx.confirmedTranscript = s.confirmedTranscript(interim, a.signedInput())
	e.context = e.ctx.bytes()
	joiner = s.joinerSecret(init, commitSecret, e.context)
	member = s.memberSecret(joiner, psk)
	r = e.begin(member)
	commitSecret.wipe()
	psk.wipe()
	return r, joiner, member
}

// begin derives the epoch's secrets, confirmation tag and interim transcript hash.
func (e *Epoch) begin(member secret) *Ratchets {
	s := e.suite()
	var encryption secret
	e.secrets, encryption = s.epochSecrets(member, e.context)
	e.confirmationTag = s.mac(e.secrets.confirmation, e.ctx.confirmedTranscript)
	e.interim = s.interimTranscript(e.ctx.confirmedTranscript, e.confirmationTag)
	return newRatchets(e, encryption)
}

// ProcessConfig is what processing a commit may need. Validator is required.
type ProcessConfig struct {
	References [][]byte  // MLSMessages with proposals that the commit may name; each has to be valid
	Ratchets   *Ratchets // of this epoch; for PrivateMessages
	PSKs       PSKSource
	Validator  CredentialValidator
	SameClient SameClient // asked when a leaf takes the place of one with another credential; nil: EqualCredentials
}

// AppliedProposal is a proposal that a commit carried out. Sender is meaningful if
// ByMember, else it came from outside the group.
type AppliedProposal struct {
	Sender   LeafIndex
	ByMember bool
	Proposal Proposal
}

// Processed is what a commit led to.
type Processed struct {
	Epoch             *Epoch    // nil if Removed
	Ratchets          *Ratchets // nil if Removed
	Committer         LeafIndex // in the new tree, also for an external commit
	External          bool      // an external commit: the committer is new
	AuthenticatedData []byte
	Proposals         []AppliedProposal
	Added             []LeafIndex // in the order of the Adds
	Removed           bool        // this member was removed
	Ended             bool        // a ReInit ended the group: see [Epoch.Continue]
	Delta             Delta       // of the Ratchets given, if they were used
}

// Format prints which epoch the commit led to, and no secret.
func (p *Processed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.describe()) }

// LogValue logs which epoch the commit led to, and no secret.
func (p *Processed) LogValue() slog.Value { return slog.StringValue(p.describe()) }

func (p *Processed) describe() string {
	if p == nil {
		return "mls.Processed(nil)"
	}
	return fmt.Sprintf("mls.Processed(%s, committer %d, %d proposals)", p.Epoch.describe(), p.Committer, len(p.Proposals))
}

// Process verifies a commit (an MLSMessage) and derives the epoch it leads to: RFC
// 9420, Section 12.4.2. It leaves e as it is. A commit that removes this member
// gives Removed and no Epoch. Lifetimes are not checked: the committer did.
func (e *Epoch) Process(message []byte, cfg ProcessConfig) (*Processed, error) {
	if err := e.checkActive(); err != nil {
		return nil, err
	}
	var c change
	defer c.abandon()
	a, err := e.openHandshake(message, cfg.Ratchets, &c)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if a.typ != contentCommit {
		return nil, fmt.Errorf("commit: %w: content type %d", ErrUsage, a.typ)
	}
	if a.sender == (sender{senderMember, uint32(e.own)}) {
		return nil, fmt.Errorf("commit: %w", ErrOwnMessage)
	}
	list, err := e.resolve(a, cfg, &c)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	out, err := e.follow(a, list, cfg)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if cfg.Ratchets != nil {
		out.Delta = cfg.Ratchets.tree.apply(&c)
	}
	return out, nil
}

// resolve lists the proposals of a commit with their senders: RFC 9420, Section 12.4.2.
func (e *Epoch) resolve(a *authContent, cfg ProcessConfig, c *change) ([]sentProposal, error) {
	var known map[string]sentProposal
	var list []sentProposal
	seen := map[string]bool{}
	for _, p := range a.commit.proposals {
		if p.value != nil {
			list = append(list, sentProposal{a.sender, p.value})
			continue
		}
		if a.sender.typ == senderNewMemberCommit { // RFC 9420, Section 12.4.3.2
			return nil, fmt.Errorf("%w: external commit with a proposal by reference", ErrInvalid)
		}
		if known == nil {
			var err error
			if known, err = e.openReferences(cfg.References, cfg.Ratchets, c); err != nil {
				return nil, err
			}
		}
		sent, ok := known[string(p.ref)]
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %x", ErrMissingProposal, p.ref)
		case seen[string(p.ref)]:
			return nil, fmt.Errorf("%w: proposal %x twice", ErrInvalid, p.ref)
		}
		seen[string(p.ref)] = true
		list = append(list, sent)
	}
	return list, nil
}

// follow carries a verified commit out: RFC 9420, Section 12.4.2 from the proposals on.
func (e *Epoch) follow(a *authContent, list []sentProposal, cfg ProcessConfig) (_ *Processed, err error) {
	by := received(cfg.Validator, cfg.SameClient)
	plan, err := e.apply(list, a.sender, by)
	if err != nil {
		return nil, err
	}
	out := &Processed{
		Committer: LeafIndex(a.sender.index), External: a.sender.typ == senderNewMemberCommit,
		AuthenticatedData: a.authData, Added: plan.added, Removed: plan.ownRemoved, Ended: plan.reinit != nil,
	}
	for _, p := range list {
		out.Proposals = append(out.Proposals, AppliedProposal{LeafIndex(p.sender.index), p.sender.typ == senderMember, p.proposal})
	}
	s, path := e.suite(), a.commit.path
	if path == nil && plan.pathRequired { // RFC 9420, Section 12.4
		return nil, fmt.Errorf("%w: no path where one is required", ErrInvalid)
	}
	initSecret := e.secrets.init
	if plan.external != nil {
		if err := e.checkResync(list, path.leaf, cfg.SameClient); err != nil {
			return nil, err
		}
		if initSecret, err = e.externalInit(plan.external.KEMOutput); err != nil {
			return nil, err
		}
		defer initSecret.wipe()
		if out.Committer, err = plan.tree.add(path.leaf); err != nil {
			return nil, err
		}
	}
	keys := e.keys.kept(e.tree, plan.tree)
	defer func() {
		if err != nil || plan.ownRemoved {
			keys.wipe()
		}
	}()
	if !plan.ownKey.empty() {
		keys.put(e.own.node(), plan.ownKey)
	}
	var steps []pathStep
	if path != nil {
		if err := e.checkNewLeaf(path.leaf, out.Committer, by); err != nil {
			return nil, fmt.Errorf("path leaf: %w", err)
		}
		if err := plan.tree.checkFresh(e.tree.index, path); err != nil {
			return nil, err
		}
		if err := path.leaf.checkSupports(plan.extensions); err != nil {
			return nil, fmt.Errorf("path leaf: %w", err)
		}
		if steps, err = plan.tree.mergePath(out.Committer, path); err != nil {
			return nil, err
		}
	}
	next := &groupContext{
		suite: s, groupID: e.ctx.groupID, epoch: e.ctx.epoch + 1, treeHash: plan.tree.freeze(),
		confirmedTranscript: e.ctx.confirmedTranscript, extensions: plan.extensions,
	}
	if err := plan.tree.reindex(e.tree); err != nil {
		return nil, err
	}
	if plan.ownRemoved {
		return out, nil // what follows needs secrets that a removed member does not get
	}
	commitSecret := newSecret(make([]byte, s.nh))
	if path != nil {
		if commitSecret, err = plan.tree.openPath(e.own, keys, steps, path, plan.addedSorted(), next.bytes()); err != nil {
			return nil, err
		}
	}
	psk, err := s.pskSecret(plan.psks, cfg.PSKs)
	if err != nil {
		commitSecret.wipe()
		return nil, err
	}
	child := &Epoch{ctx: next, tree: plan.tree, own: e.own, keys: keys, reinit: plan.reinit}
	ratchets, joiner, member := child.enter(a, e.interim, initSecret, commitSecret, psk)
	joiner.wipe()
	member.wipe()
	if !macEqual(child.confirmationTag, a.confirmationTag) {
		child.Wipe()
		ratchets.Wipe()
		return nil, fmt.Errorf("%w: confirmation tag", ErrInvalid)
	}
	out.Epoch, out.Ratchets = child, ratchets
	return out, nil
}

const externalInitLabel = "MLS 1.0 external init secret" // RFC 9420, Section 8.3

// externalInit gives the init_secret of an external commit: RFC 9420, Section 8.3.
func (e *Epoch) externalInit(kemOutput []byte) (secret, error) {
	s := e.suite()
	private, public, err := s.kem.deriveKeyPair(e.secrets.external.bytes())
	if err != nil {
		return secret{}, err
	}
	defer private.wipe()
	shared, err := s.kem.decap(private, public, kemOutput)
	if err != nil {
		return secret{}, err
	}
	defer shared.wipe()
	return s.hpkeExport(shared, nil, []byte(externalInitLabel), s.nh), nil
}

// ExternalPub gives external_pub of this epoch, RFC 9420, Section 8.3.
func (e *Epoch) ExternalPub() ([]byte, error) {
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	private, public, err := e.suite().kem.deriveKeyPair(e.secrets.external.bytes())
	private.wipe()
	return slices.Clip(public), err
}
