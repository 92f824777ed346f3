package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Group is a membership for programs that want one handle on it: it holds the current
// [Epoch] with its [Ratchets], the proposals that are waiting, an own commit until it is
// merged, and a settable number of past epochs. Its methods may be called from many
// goroutines; each holds the group's one lock.
//
// It follows one line of epochs. A program that has to follow forks works with Epoch
// itself.
type Group struct {
	mu       sync.Mutex
	options  Options
	epoch    *Epoch
	ratchets *Ratchets
	past     []*Ratchets // newest first
	waiting  []waiting   // proposals of this epoch, as they came
	pending  *CommitResult
	removed  bool
}

type waiting struct {
	message []byte
	sentProposal
}

// Options are what a [Group] needs for its life. Rand, Signer and Validator are required.
type Options struct {
	Rand       io.Reader // only read under the group's lock
	Signer     *SignatureKey
	Validator  CredentialValidator
	PSKs       PSKSource
	SameClient SameClient // nil: EqualCredentials
	Past       int        // how many past epochs' messages can still be opened
	Handshake  WireFormat // of own proposals and commits; zero: WirePublic
	// Store is called with the changes of an operation before its result is returned: the
	// current epoch, which an own Update changes too, and rows of its Ratchets, all of them
	// when it is new. If it fails, so does the operation, and what it used is used. Waiting
	// proposals, an unmerged commit and past epochs are not stored. Nil: nothing is.
	Store func(e *Epoch, changed Delta) error
}

func (o Options) check() error {
	if o.Rand == nil || o.Signer == nil || o.Validator == nil || o.Past < 0 {
		return fmt.Errorf("%w: a Group needs randomness, a signature key and a validator", ErrUsage)
	}
	return nil
}

// OpenGroup makes a Group of an epoch that was made or restored elsewhere. The Ratchets
// are the group's from then on.
func OpenGroup(o Options, e *Epoch, r *Ratchets) (*Group, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	if r == nil || !e.same(r.epoch) {
		return nil, fmt.Errorf("%w: Ratchets of another epoch", ErrUsage)
	}
	return &Group{options: o, epoch: e, ratchets: r}, nil
}

// CreateGroup is [Create]; Signer and Validator come from o.
func CreateGroup(o Options, cfg GroupConfig) (*Group, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cfg.Signer, cfg.Validator = o.Signer, o.Validator
	e, r, err := Create(o.Rand, cfg)
	if err != nil {
		return nil, err
	}
	return o.begin(e, r)
}

// JoinGroup is [Join]; PSKs, Validator and SameClient come from o. The extensions are
// those of the GroupInfo, less ratchet_tree.
func JoinGroup(o Options, welcome []byte, cfg JoinConfig) (*Group, []Extension, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	cfg.PSKs, cfg.Validator, cfg.SameClient = o.PSKs, o.Validator, o.SameClient
	j, err := Join(welcome, cfg)
	if err != nil {
		return nil, nil, err
	}
	g, err := o.begin(j.Epoch, j.Ratchets)
	return g, j.Extensions, err
}

// JoinGroupExternal is [JoinExternal]; Signer, PSKs, Validator and SameClient come from
// o. The commit goes to the members; should they take another, the Group is of no use.
func JoinGroupExternal(o Options, groupInfo []byte, cfg ExternalConfig) (g *Group, commit []byte, err error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	cfg.Signer, cfg.PSKs, cfg.Validator, cfg.SameClient = o.Signer, o.PSKs, o.Validator, o.SameClient
	out, err := JoinExternal(o.Rand, groupInfo, cfg)
	if err != nil {
		return nil, nil, err
	}
	g, err = o.begin(out.Epoch, out.Ratchets)
	return g, out.Commit, err
}

func (o Options) begin(e *Epoch, r *Ratchets) (*Group, error) {
	g, err := OpenGroup(o, e, r)
	if err != nil {
		return nil, err
	}
	return g, g.store(Delta(r.Rows()))
}

func (g *Group) store(d Delta) error {
	if g.options.Store == nil {
		return nil
	}
	if err := g.options.Store(g.epoch, d); err != nil {
		return fmt.Errorf("mls: store: %w", err)
	}
	return nil
}

func (g *Group) checkMember() error {
	if g.removed {
		return ErrRemoved
	}
	return nil
}

// Epoch gives a copy of the current epoch with secrets of its own, for the caller to
// wipe; the group wipes those that it leaves behind.
func (g *Group) Epoch() *Epoch {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch.clone()
}

// Number is the number of the current epoch.
func (g *Group) Number() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch.Number()
}

// Member is somebody in a group.
type Member struct {
	Leaf LeafIndex
	Node *LeafNode
}

// Members lists the members in the order of their leaves.
func (g *Group) Members() []Member {
	g.mu.Lock()
	t := g.epoch.tree
	g.mu.Unlock()
	list := make([]Member, 0, t.root.members)
	t.root.eachLeaf(t.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
		list = append(list, Member{i, l})
		return true
	})
	return list
}

// Export is [Epoch.Export] of the current epoch.
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch.Export(label, context, length)
}

// Protect is [Ratchets.Seal] in the current epoch.
func (g *Group) Protect(authenticatedData, plaintext []byte, padding int) ([]byte, error) {
	list, err := g.ProtectAll(authenticatedData, [][]byte{plaintext}, padding)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ProtectAll protects several messages in one epoch, one after another and without
// others between them, and stores the change once.
func (g *Group) ProtectAll(authenticatedData []byte, plaintexts [][]byte, padding int) ([][]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkMember(); err != nil {
		return nil, err
	}
	var changed Delta
	out := make([][]byte, len(plaintexts))
	for i, plaintext := range plaintexts {
		m, d, err := g.ratchets.Seal(g.options.Rand, g.options.Signer, authenticatedData, plaintext, padding)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		out[i], changed = m, append(changed, d...)
	}
	return out, g.store(changed)
}

// Unprotect is [Ratchets.Open] in the current epoch or one of the past ones that are
// kept. A message of any other epoch is ErrWrongEpoch.
func (g *Group) Unprotect(message []byte) (*Opened, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unprotect(message)
}

// UnprotectAll gives for each message what Unprotect would.
func (g *Group) UnprotectAll(messages [][]byte) (opened []*Opened, errs []error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	opened, errs = make([]*Opened, len(messages)), make([]error, len(messages))
	for i, m := range messages {
		opened[i], errs[i] = g.unprotect(m)
	}
	return opened, errs
}

func (g *Group) unprotect(message []byte) (*Opened, error) {
	o, d, err := g.ratchets.Open(message)
	if err == nil {
		return o, g.store(d)
	}
	for _, r := range g.past {
		if _, wrong := r.readMessage(message); wrong != nil {
			continue
		}
		o, _, err = r.Open(message) // past epochs are not stored
		break
	}
	return o, err
}

// Propose sends a proposal, which waits for a commit here as it does at the others. The
// lifetime of a KeyPackage is checked at now.
func (g *Group) Propose(now time.Time, p Proposal, authenticatedData []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkMember(); err != nil {
		return nil, err
	}
	m, d, err := g.epoch.Propose(g.options.Rand, p, g.proposing(now, authenticatedData))
	if err != nil {
		return nil, err
	}
	return m, g.proposed(m, d)
}

// ProposeUpdate sends an Update of the own leaf; nil changes its keys alone.
func (g *Group) ProposeUpdate(u *LeafUpdate, authenticatedData []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkMember(); err != nil {
		return nil, err
	}
	m, next, d, err := g.epoch.ProposeLeaf(g.options.Rand, u, g.proposing(time.Time{}, authenticatedData))
	if err != nil {
		return nil, err
	}
	g.epoch = next // the same epoch with one key more
	return m, g.proposed(m, d)
}

func (g *Group) proposing(now time.Time, authenticatedData []byte) ProposeConfig {
	return ProposeConfig{Signer: g.options.Signer, Now: now, Wire: g.options.Handshake, Ratchets: g.ratchets, AuthenticatedData: authenticatedData}
}

func (g *Group) proposed(message []byte, d Delta) error {
	more, err := g.keep(message)
	if err != nil {
		return err
	}
	return g.store(append(d, more...))
}

// maxWaiting bounds the proposals that wait for a commit.
const maxWaiting = 4096

// keep verifies a proposal message and has it wait for a commit.
func (g *Group) keep(message []byte) (Delta, error) {
	if len(g.waiting) >= maxWaiting {
		return nil, fmt.Errorf("%w: more than %d proposals wait", ErrUnsupported, maxWaiting)
	}
	if slices.ContainsFunc(g.waiting, func(w waiting) bool { return bytes.Equal(w.message, message) }) {
		return nil, fmt.Errorf("%w: proposal came before", ErrKeyUsed)
	}
	var c change
	defer c.abandon()
	a, err := g.epoch.openHandshake(message, g.ratchets, &c)
	if err != nil {
		return nil, err
	}
	p := sentProposal{a.sender, a.proposal}
	if _, err := g.epoch.apply([]sentProposal{p}, nobodyCommits, received(g.options.Validator, g.options.SameClient)); err != nil {
		return nil, err
	}
	if a.wire == WirePrivate {
		g.ratchets.remember(message, a, &c)
	}
	g.waiting = append(g.waiting, waiting{clone(message), p})
	return g.ratchets.tree.apply(&c), nil
}

// nobodyCommits is a committer that is none of the members.
var nobodyCommits = sender{senderMember, uint32(nobody)}

// CommitOptions say what goes into a commit beside the proposals that wait; the zero
// value is a commit with fresh keys.
type CommitOptions struct {
	Now                 time.Time // lifetimes of added KeyPackages are checked at this time; needed if there are any
	Proposals           []Proposal
	NoPath              bool
	Leaf                *LeafUpdate
	GroupInfoExtensions []Extension
	InlineTree          bool
	AuthenticatedData   []byte
}

// Committed is a commit to send, and what goes to those it adds.
type Committed struct {
	Commit      []byte      // MLSMessage
	Welcome     []byte      // MLSMessage; nil if nobody was added
	RatchetTree []byte      // of the new epoch; nil if nobody was added
	Added       []LeafIndex // in the order of the Adds
}

// Commit makes a commit of o.Proposals and of those waiting that go with them: RFC 9420,
// Section 12.2, decides, earlier ones first; an own Update does not, nor does an Add
// outside its KeyPackage's lifetime. It takes
// effect with Merge, or with Receive of the very commit. A second Commit takes the
// place of the first.
func (g *Group) Commit(o CommitOptions) (*Committed, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkMember(); err != nil {
		return nil, err
	}
	me := sender{senderMember, uint32(g.epoch.own)}
	list := g.epoch.newProposalList(me)
	for k, p := range o.Proposals {
		if p == nil {
			return nil, fmt.Errorf("%w: empty proposal", ErrUsage)
		}
		if err := list.add(sentProposal{me, p}); err != nil {
			return nil, fmt.Errorf("proposal %d: %w", k, err)
		}
	}
	var references [][]byte
	for _, w := range g.waiting {
		if add, ok := w.proposal.(Add); ok && errors.Is(add.KeyPackage.Leaf.checkSent(o.Now), ErrLifetime) {
			continue // another commit may come in time
		}
		if list.add(w.sentProposal) == nil {
			references = append(references, w.message)
		}
	}
	out, err := g.epoch.Commit(g.options.Rand, CommitConfig{
		Signer: g.options.Signer, Now: o.Now, Proposals: o.Proposals, References: references, NoPath: o.NoPath, Leaf: o.Leaf,
		GroupInfoExtensions: o.GroupInfoExtensions, InlineTree: o.InlineTree, Wire: g.options.Handshake, Ratchets: g.ratchets,
		AuthenticatedData: o.AuthenticatedData, PSKs: g.options.PSKs, Validator: g.options.Validator, SameClient: g.options.SameClient,
	})
	if err != nil {
		return nil, err
	}
	g.discard()
	g.pending = out
	return &Committed{out.Commit, out.Welcome, out.RatchetTree, out.Added}, g.store(out.Delta)
}

// Add commits the addition of clients, all at once.
func (g *Group) Add(now time.Time, packages ...*KeyPackage) (*Committed, error) {
	o := CommitOptions{Now: now}
	for _, kp := range packages {
		if kp == nil {
			return nil, fmt.Errorf("%w: no KeyPackage", ErrUsage)
		}
		o.Proposals = append(o.Proposals, Add{kp})
	}
	return g.Commit(o)
}

// Merge moves on to the epoch of the own commit.
func (g *Group) Merge() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.merge()
}

func (g *Group) merge() error {
	if g.pending == nil {
		return fmt.Errorf("%w: no commit to merge", ErrUsage)
	}
	p := g.pending
	g.pending = nil
	return g.enter(p.Epoch, p.Ratchets)
}

// Discard forgets the own commit, because the group has taken another.
func (g *Group) Discard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard()
}

func (g *Group) discard() {
	if g.pending != nil {
		g.pending.Epoch.Wipe()
		g.pending.Ratchets.Wipe()
		g.pending = nil
	}
}

// enter makes e the current epoch and keeps the last one as past.
func (g *Group) enter(e *Epoch, r *Ratchets) error {
	g.discard()
	g.past = append([]*Ratchets{g.ratchets}, g.past...)
	for _, old := range g.past[min(len(g.past), g.options.Past):] {
		old.epoch.Wipe()
		old.Wipe()
	}
	g.past = slices.Clip(g.past[:min(len(g.past), g.options.Past)])
	if g.epoch != g.past0() {
		g.epoch.Wipe() // the one with the keys of own Updates
	}
	g.epoch, g.ratchets = e, r
	g.waiting = nil
	return g.store(Delta(r.Rows()))
}

// past0 is the newest past epoch, if any is kept.
func (g *Group) past0() *Epoch {
	if len(g.past) == 0 {
		return nil
	}
	return g.past[0].epoch
}

// Received is what a message from the group was: one of the three is set, or it was a
// proposal, which waits.
type Received struct {
	Opened *Opened    // application data
	Commit *Processed // of another member, without Epoch and Ratchets: the group has moved on, unless Removed
	Merged bool       // the own commit, come back
}

// Receive takes any message of the group: application data, a proposal, or a commit.
func (g *Group) Receive(message []byte) (*Received, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	typ, err := contentTypeOf(message)
	if err != nil {
		return nil, err
	}
	if typ == contentApplication {
		o, err := g.unprotect(message)
		if err != nil {
			return nil, err
		}
		return &Received{Opened: o}, nil
	}
	if err := g.checkMember(); err != nil {
		return nil, err
	}
	if typ == contentProposal {
		d, err := g.keep(message)
		if err != nil {
			return nil, err
		}
		return &Received{}, g.store(d)
	}
	if g.pending != nil && bytes.Equal(g.pending.Commit, message) {
		if err := g.merge(); err != nil {
			return nil, err
		}
		return &Received{Merged: true}, nil
	}
	cfg := ProcessConfig{Ratchets: g.ratchets, PSKs: g.options.PSKs, Validator: g.options.Validator, SameClient: g.options.SameClient}
	for _, w := range g.waiting {
		cfg.References = append(cfg.References, w.message)
	}
	p, err := g.epoch.Process(message, cfg)
	if err != nil {
		return nil, err
	}
	if p.Removed {
		g.removed = true
		g.discard()
		return &Received{Commit: p}, g.store(p.Delta)
	}
	if err := g.enter(p.Epoch, p.Ratchets); err != nil {
		return nil, err
	}
	p.Epoch, p.Ratchets, p.Delta = nil, nil, nil
	return &Received{Commit: p}, nil
}

// contentTypeOf tells what is in a PublicMessage or PrivateMessage, unverified.
func contentTypeOf(message []byte) (contentType, error) {
	r, wire, err := openMessage(message)
	if err != nil {
		return 0, err
	}
	switch wire {
	case WirePublic:
		m := readPublicMessage(r)
		return m.typ, r.done("PublicMessage")
	case WirePrivate:
		m := readPrivateMessage(r)
		return m.typ, r.done("PrivateMessage")
	case wireWelcome, wireGroupInfo, wireKeyPackage:
	}
	return 0, fmt.Errorf("MLSMessage: %w: wire format %d is no message of a group", ErrMalformed, wire)
}

// Wipe destroys the secrets of the group and of its past epochs; it is of no use then.
func (g *Group) Wipe() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard()
	for _, r := range append(g.past, g.ratchets) {
		r.epoch.Wipe()
		r.Wipe()
	}
	g.epoch.Wipe()
	g.past = nil
}

// Format prints which group it is, and no secret.
func (g *Group) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, g.describe()) }

// LogValue logs which group it is, and no secret.
func (g *Group) LogValue() slog.Value { return slog.StringValue(g.describe()) }

func (g *Group) describe() string {
	if g == nil {
		return "mls.Group(nil)"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return "mls.Group(" + g.epoch.describe() + ")"
}
