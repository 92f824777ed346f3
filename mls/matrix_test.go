package mls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// The test matrix: 112 cases by intent, each decided by RFC 9420. A row names what
// it tests and the section that decides it; its function fails if the engine decides
// otherwise. After every refusal the member's snapshot is byte-identical, and the
// error is the sentinel that the row asks for.

type matrixCase struct {
	id      string
	area    string
	section string
	what    string
	run     func(m *matrix)
}

// matrixAreas are the areas with the number of their cases, in the order of the table.
var matrixAreas = []struct {
	name  string
	cases []matrixCase
}{
	{"group initialisation", matrixInitialisation},
	{"add", matrixAdd},
	{"update", matrixUpdate},
	{"remove", matrixRemove},
	{"committing", matrixCommitting},
	{"welcome", matrixWelcome},
	{"tree hash", matrixTree},
	{"encryption", matrixEncryption},
	{"authentication", matrixAuthentication},
	{"application messages", matrixApplication},
	{"error handling", matrixErrors},
}

func TestMatrix(t *testing.T) {
	const want = 112
	seen := map[string]bool{}
	ran := 0
	for _, area := range matrixAreas {
		for _, c := range area.cases {
			if seen[c.id] || seen[c.what] || c.area != area.name || c.section == "" {
				t.Errorf("row %s is not one of %s, or repeats another", c.id, area.name)
			}
			seen[c.id], seen[c.what] = true, true
			t.Run(c.id+" "+c.what, func(t *testing.T) {
				ran++
				m := newMatrix(t)
				c.run(m)
				if m.checks == 0 {
					t.Error("the row checked nothing")
				}
			})
		}
	}
	if len(seen) != 2*want {
		t.Errorf("%d rows, want %d", len(seen)/2, want)
	}
	if ran != want {
		t.Logf("%d of %d rows were selected", ran, want)
	}
}

// matrix is the fixture of one row: a group of alice, bob and carol at epoch 1, and
// dave with a KeyPackage.
type matrix struct {
	*testing.T
	alice, bob, carol, dave *client
	checks                  int
}

func newMatrix(t *testing.T) *matrix {
	m := &matrix{T: t, dave: newClient(t, 1, "dave")}
	m.alice, m.bob, m.carol = trio(t, 1)
	return m
}

// ok verifies that something holds.
func (m *matrix) ok(what string, holds bool) {
	m.Helper()
	m.checks++
	if !holds {
		m.Error(what)
	}
}

// is verifies an error's sentinel; nil wants success.
func (m *matrix) is(err, want error) {
	m.Helper()
	m.checks++
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		m.Errorf("got %v, want %v", err, want)
	}
}

// refuses verifies that f fails with want and leaves c as it was. A forged message may
// be wrong in more than one way: why is what the error says of the one that is meant.
func (m *matrix) refuses(c *client, want error, f func() error, why ...string) {
	m.Helper()
	before := c.snapshot()
	err := f()
	m.is(err, want)
	for _, text := range why {
		if err != nil && !strings.Contains(err.Error(), text) {
			m.Errorf("refused for another reason than %q: %v", text, err)
		}
	}
	if !bytes.Equal(c.snapshot(), before) {
		m.Errorf("%s has changed after a refusal", c.name)
	}
}

// snapshot is all that a client would store: in a group its state, before its keys.
func (c *client) snapshot() []byte {
	if c.e == nil {
		return c.secrets.MarshalSecret()
	}
	return c.state()
}

// process, commit, open, join and enter are what a client may refuse.

func (m *matrix) process(c *client, message []byte, references ...[]byte) func() error {
	return func() error {
		_, err := c.e.Process(message, ProcessConfig{References: references, Ratchets: c.r, Validator: AcceptAnyCredential})
		return err
	}
}

func (m *matrix) commit(c *client, cfg CommitConfig) func() error {
	if cfg.Signer == nil {
		cfg.Signer = c.signer
	}
	if cfg.Now.IsZero() {
		cfg.Now = testNow
	}
	cfg.Validator = AcceptAnyCredential
	return func() error { _, err := c.e.Commit(c.rand, cfg); return err }
}

func (m *matrix) propose(c *client, proposals ...Proposal) func() error {
	return m.commit(c, CommitConfig{Proposals: proposals})
}

func (m *matrix) open(c *client, message []byte) func() error {
	return func() error { _, _, err := c.r.Open(message); return err }
}

func (m *matrix) join(c *client, welcome, tree []byte) func() error {
	return func() error {
		_, err := Join(welcome, JoinConfig{KeyPackage: c.kp, Secrets: c.secrets, RatchetTree: tree, Validator: AcceptAnyCredential})
		return err
	}
}

func (m *matrix) enter(c *client, info []byte) func() error {
	return func() error {
		_, err := JoinExternal(c.rand, info, ExternalConfig{
			Signer: c.signer, Credential: BasicCredential([]byte(c.name)), Validator: AcceptAnyCredential,
		})
		return err
	}
}

// keyPackage gives c a KeyPackage of its own making, which nothing has validated.
func (m *matrix) keyPackage(c *client, leaf func(l *LeafNode), pack func(kp *KeyPackage)) *KeyPackage {
	s := suiteOf(m.T, c.suite)
	l := *c.kp.Leaf
	if leaf != nil {
		leaf(&l)
	}
	signed, err := l.signed(s, c.signer, nil, 0)
	must(m, err)
	kp := &KeyPackage{Suite: c.kp.Suite, InitKey: c.kp.InitKey, Leaf: signed, Extensions: c.kp.Extensions, suite: s}
	if pack != nil {
		pack(kp)
	}
	var w writer
	kp.encodeUnsigned(&w)
	kp.tbs = len(w.b)
	kp.Signature, err = s.signWithLabel(c.signer, "KeyPackageTBS", w.b)
	must(m, err)
	w.vec(kp.Signature)
	kp.raw = w.b
	return kp
}

// framed gives a message of c with an arbitrary content, signed as it is.
func (m *matrix) framed(c *client, change func(a *authContent)) []byte {
	a := c.e.newContent(contentProposal, WirePublic, nil)
	a.proposal = Remove{m.carol.e.OwnLeaf()}
	change(a)
	must(m, a.sign(c.e.suite(), c.signer, c.e.context))
	return a.publicMessage(c.e.suite(), c.e.secrets.membership, c.e.context)
}

// suggested gives a proposal of c as a message.
func (m *matrix) suggested(c *client, p Proposal) []byte {
	return m.framed(c, func(a *authContent) { a.proposal = p })
}

// forged gives alice's commit after an insider's edit, signed again.
func (m *matrix) forged(cfg CommitConfig, change func(a *authContent)) []byte {
	out := m.alice.commit(cfg)
	r, err := openMessageAs(out.Commit, WirePublic)
	must(m, err)
	a := readPublicMessage(r).authContent
	change(a)
	tag := a.confirmationTag
	must(m, a.sign(m.alice.e.suite(), m.alice.signer, m.alice.e.context))
	a.confirmationTag = tag
	return a.publicMessage(m.alice.e.suite(), m.alice.e.secrets.membership, m.alice.e.context)
}

// listed gives alice's commit with a path and the given list of proposals.
func (m *matrix) listed(list ...Proposal) []byte {
	return m.forged(CommitConfig{}, func(a *authContent) {
		for _, p := range list {
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{value: p})
		}
	})
}

// adding gives alice's commit without a path and with the given Adds.
func (m *matrix) adding(list ...Proposal) []byte {
	return m.forged(CommitConfig{NoPath: true, Proposals: []Proposal{Add{newClient(m, 1, "erin").kp}}}, func(a *authContent) {
		a.commit.proposals = nil
		for _, p := range list {
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{value: p})
		}
	})
}

// info gives a GroupInfo of alice with an inline tree and external_pub, after an edit.
func (m *matrix) info(change func(g *groupInfo)) []byte {
	e, s := m.alice.e, m.alice.e.suite()
	public, err := e.ExternalPubExtension()
	must(m, err)
	ctx := *e.ctx
	g := &groupInfo{
		ctx: &ctx, confirmationTag: e.confirmationTag, signer: e.own,
		extensions: []Extension{public, {ExtensionRatchetTree, e.tree.encode()}},
	}
	if change != nil {
		change(g)
	}
	var w writer
	g.encodeUnsigned(&w)
	signature, err := s.signWithLabel(m.alice.signer, "GroupInfoTBS", w.b)
	must(m, err)
	w.vec(signature)
	return mlsMessage(wireGroupInfo, w.b)
}

// planted gives a GroupInfo whose tree was changed at leaf i and above it, with the
// tree hash that it then has.
func (m *matrix) planted(i LeafIndex, visit func(x nodeIndex, n *node)) []byte {
	t := m.alice.e.tree.edit()
	t.walk(i, visit)
	return m.info(func(g *groupInfo) {
		g.ctx.treeHash = t.freeze()
		g.extensions[1].Data = t.encode()
	})
}

// leafAt replaces a leaf in planted, and blanks what is above it.
func leafAt(l *LeafNode) func(nodeIndex, *node) {
	return func(_ nodeIndex, n *node) {
		n.parent = nil
		if n.leaf != nil {
			n.leaf = pack(l)
		}
	}
}

// flips feeds every octet with a flipped bit, every truncation and a trailing octet.
func (m *matrix) flips(message []byte, state func() []byte, accept func([]byte) error) {
	m.Helper()
	m.checks++
	hostile(m.T, message, state, accept)
	m.is(accept(message), nil)
}

func nonce() []byte { return make([]byte, 32) }

func externalPSK(id string) PreSharedKey {
	return PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte(id), Nonce: nonce()}}
}

func required(extensions []ExtensionType, proposals []ProposalType, credentials []CredentialType) Extension {
	return Extension{ExtensionRequiredCapabilities, encode(func(w *writer) {
		encodeU16s(w, extensions)
		encodeU16s(w, proposals)
		encodeU16s(w, credentials)
	})}
}

var matrixInitialisation = []matrixCase{
	{"1.1", "group initialisation", "11", "epoch 0 has one member at leaf 0", func(m *matrix) {
		m.dave.create("new")
		m.ok("epoch or members", m.dave.e.Number() == 0 && m.dave.e.MemberCount() == 1 && m.dave.e.OwnLeaf() == 0)
	}},
	{"1.2", "group initialisation", "8.2", "the first confirmed transcript hash is empty", func(m *matrix) {
		m.dave.create("new")
		m.ok("transcript", len(m.dave.e.ConfirmedTranscriptHash()) == 0 && len(m.dave.e.InterimTranscriptHash()) == 32)
	}},
	{"1.3", "group initialisation", "11", "the GroupContext has version, suite, group ID and the given extensions", func(m *matrix) {
		x := required(nil, nil, []CredentialType{CredentialBasic})
		e, _, err := Create(m.dave.rand, GroupConfig{
			Suite: 1, GroupID: []byte("id"), Credential: BasicCredential([]byte("dave")), Signer: m.dave.signer,
			Extensions: []Extension{x}, Validator: AcceptAnyCredential,
		})
		must(m, err)
		got, found := FindExtension(e.Extensions(), x.Type)
		m.ok("context", string(e.GroupID()) == "id" && e.Suite() == 1 && found && bytes.Equal(got, x.Data))
	}},
	{"1.4", "group initialisation", "17.1", "an unknown ciphersuite is not supported", func(m *matrix) {
		_, _, err := Create(m.dave.rand, GroupConfig{
			Suite: 0x0a0a, GroupID: []byte("id"), Credential: BasicCredential(nil), Signer: m.dave.signer, Validator: AcceptAnyCredential,
		})
		m.is(err, ErrUnsupported)
	}},
	{"1.5", "group initialisation", "5.3.1", "no group without a validator of credentials", func(m *matrix) {
		_, _, err := Create(m.dave.rand, GroupConfig{Suite: 1, GroupID: []byte("id"), Credential: BasicCredential(nil), Signer: m.dave.signer})
		m.is(err, ErrUsage)
	}},
	{"1.6", "group initialisation", "5.3.1", "a refused credential founds no group", func(m *matrix) {
		_, _, err := Create(m.dave.rand, GroupConfig{
			Suite: 1, GroupID: []byte("id"), Credential: BasicCredential(nil), Signer: m.dave.signer,
			Validator: func(Credential, []byte) error { return errStranger },
		})
		m.is(err, ErrCredential)
	}},
	{"1.7", "group initialisation", "7.3", "a founder who lacks a required capability", func(m *matrix) {
		_, _, err := Create(m.dave.rand, GroupConfig{
			Suite: 1, GroupID: []byte("id"), Credential: BasicCredential(nil), Signer: m.dave.signer,
			Extensions: []Extension{required([]ExtensionType{0xff01}, nil, nil)}, Validator: AcceptAnyCredential,
		})
		m.is(err, ErrInvalid)
	}},
	{"1.8", "group initialisation", "13.4", "an extension twice in the GroupContext", func(m *matrix) {
		x := required(nil, nil, nil)
		_, _, err := Create(m.dave.rand, GroupConfig{
			Suite: 1, GroupID: []byte("id"), Credential: BasicCredential(nil), Signer: m.dave.signer,
			Extensions: []Extension{x, x}, Validator: AcceptAnyCredential,
		})
		m.is(err, ErrInvalid)
	}},
}

var matrixAdd = []matrixCase{
	{"2.1", "add", "12.1.1", "an added client takes the leftmost blank leaf", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}, Add{m.dave.kp}}})
		m.ok("leaf", len(out.Added) == 1 && out.Added[0] == 1)
	}},
	{"2.2", "add", "7.7", "a full tree doubles", func(m *matrix) {
		erin := newClient(m, 1, "erin")
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}, Add{erin.kp}}})
		m.ok("leaf", out.Added[1] == 4 && out.Epoch.tree.leaves == 8)
	}},
	{"2.3", "add", "12.2", "a client that is a member already", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{m.bob.kp}))
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.adding(Add{m.carol.kp})), "another's")
	}},
	{"2.4", "add", "12.2", "a client twice in one commit", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{m.dave.kp}, Add{m.dave.kp}), "another's")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.adding(Add{m.dave.kp}, Add{m.dave.kp})), "another's")
	}},
	{"2.5", "add", "7.3", "a signature key that a member has", func(m *matrix) {
		kp, _, err := NewKeyPackage(m.dave.rand, KeyPackageConfig{Suite: 1, Credential: BasicCredential([]byte("dave")), Signer: m.bob.signer})
		must(m, err)
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{kp}))
	}},
	{"2.6", "add", "7.3", "an encryption key that a member has", func(m *matrix) {
		kp := m.keyPackage(m.dave, func(l *LeafNode) { l.EncryptionKey = m.bob.e.tree.leaf(1).EncryptionKey }, nil)
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{kp}), "encryption key")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.adding(Add{kp})), "encryption key")
	}},
	{"2.7", "add", "10.1", "a KeyPackage of another ciphersuite", func(m *matrix) {
		other := newClient(m, 2, "other")
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{other.kp}), "ciphersuite")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Add{other.kp})), "ciphersuite")
	}},
	{"2.8", "add", "10.1", "a KeyPackage of another protocol version", func(m *matrix) {
		b := m.dave.kp.Bytes()
		b[1] = 2
		_, err := ParseKeyPackage(b)
		m.is(err, ErrUnsupported)
	}},
	{"2.9", "add", "7.3", "a lifetime that is over or has not begun", func(m *matrix) {
		for _, now := range []time.Time{testNow.Add(2 * time.Hour), testNow.Add(-2 * time.Hour)} {
			m.refuses(m.alice, ErrLifetime, m.commit(m.alice, CommitConfig{Now: now, Proposals: []Proposal{Add{m.dave.kp}}}))
		}
	}},
	{"2.10", "add", "10.1", "an init_key that is the leaf's encryption key", func(m *matrix) {
		kp := m.keyPackage(m.dave, nil, func(kp *KeyPackage) { kp.InitKey = kp.Leaf.EncryptionKey })
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Add{kp})), "init_key equals")
	}},
	{"2.11", "add", "7.3", "a leaf whose source is not key_package", func(m *matrix) {
		kp := m.keyPackage(m.dave, nil, func(kp *KeyPackage) { kp.Leaf = m.bob.e.tree.leaf(0) })
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Add{kp})), "source is not key_package")
	}},
	{"2.12", "add", "7.2", "capabilities that lack the group's version", func(m *matrix) {
		kp := m.keyPackage(m.dave, func(l *LeafNode) { l.Capabilities.Versions = []ProtocolVersion{9} }, nil)
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Add{kp})), "lack version")
	}},
	{"2.13", "add", "7.3", "capabilities that lack a credential type in use", func(m *matrix) {
		kp := m.keyPackage(m.dave, func(l *LeafNode) {
			l.Credential = Credential{Type: CredentialX509, Certificates: [][]byte{{1}}}
			l.Capabilities.Credentials = []CredentialType{CredentialX509}
		}, nil)
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Add{kp}), "credential type")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.adding(Add{kp})), "credential type")
	}},
}

var matrixUpdate = []matrixCase{
	{"3.1", "update", "12.1.2", "a committed Update replaces the leaf and blanks its path", func(m *matrix) {
		update, next, err := m.bob.e.ProposeUpdate(m.bob.rand, m.bob.signer, nil, nil)
		must(m, err)
		m.bob.e = next
		out := m.alice.commit(CommitConfig{References: [][]byte{update}})
		old := m.bob.e.tree.leaf(1).EncryptionKey
		m.bob.process(out.Commit, update)
		m.alice.move(out)
		agree(m, m.alice, m.bob)
		m.ok("same encryption key", !bytes.Equal(old, m.bob.e.tree.leaf(1).EncryptionKey))
	}},
	{"3.2", "update", "12.2", "an Update of the committer itself, by reference", func(m *matrix) {
		update, _, err := m.alice.e.ProposeUpdate(m.alice.rand, m.alice.signer, nil, nil)
		must(m, err)
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{update}}), "Update of the committer")
	}},
	{"3.3", "update", "12.2", "an Update by value", func(m *matrix) {
		leaf, err := m.alice.e.tree.leaf(0).signed(m.alice.e.suite(), m.alice.signer, m.alice.e.ctx.groupID, 0)
		must(m, err)
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Update{leaf}), "Update of the committer")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Update{leaf})), "Update of the committer")
	}},
	{"3.4", "update", "12.1.2", "an Update with the old encryption key", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{m.updated(func(l *LeafNode) {
			l.EncryptionKey = m.bob.e.tree.leaf(1).EncryptionKey
		}, 1)}}), "did not change")
	}},
	{"3.5", "update", "7.2", "an Update signed for another leaf index", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{m.updated(nil, 2)}}), "signature of LeafNode")
	}},
	{"3.6", "update", "7.3", "an Update whose leaf_node_source is commit", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{m.updated(func(l *LeafNode) {
			l.Source, l.ParentHash = LeafFromCommit, nonce()
		}, 1)}}), "source is not update")
	}},
	{"3.7", "update", "7.3", "an Update whose leaf lacks a required capability", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{GroupContextExtensions{[]Extension{required(nil, nil, []CredentialType{CredentialX509})}}}})
		m.bob.process(out.Commit)
		m.alice.move(out)
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{m.updated(func(l *LeafNode) {
			l.Capabilities.Credentials = []CredentialType{CredentialBasic}
		}, 1)}}), "required credential")
	}},
	{"3.8", "update", "12.2", "an Update and a Remove of one leaf", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{References: [][]byte{m.updated(nil, 1)}, Proposals: []Proposal{Remove{1}}}), "two proposals")
	}},
	{"3.9", "update", "12.4.2", "the updater lacks the private key of its Update", func(m *matrix) {
		update, _, err := m.bob.e.ProposeUpdate(m.bob.rand, m.bob.signer, nil, nil)
		must(m, err)
		out := m.alice.commit(CommitConfig{References: [][]byte{update}})
		m.refuses(m.bob, ErrUsage, m.process(m.bob, out.Commit, update))
	}},
}

// updated gives bob's Update, its leaf changed and signed for a leaf index.
func (m *matrix) updated(change func(l *LeafNode), index LeafIndex) []byte {
	e := m.bob.e
	l := *e.tree.leaf(1)
	l.Source, l.ParentHash, l.EncryptionKey = LeafFromUpdate, nil, m.dave.kp.InitKey
	if change != nil {
		change(&l)
	}
	signed, err := l.signed(e.suite(), m.bob.signer, e.ctx.groupID, index)
	must(m, err)
	return m.suggested(m.bob, Update{signed})
}

var matrixRemove = []matrixCase{
	{"4.1", "remove", "12.1.3", "a removed member's leaf and path are blank", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}}})
		_, member := out.Epoch.Member(1)
		m.ok("still a member", !member && out.Epoch.MemberCount() == 2)
	}},
	{"4.2", "remove", "12.4.2", "the removed member learns it and gets no epoch", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}}})
		p := m.bob.process(out.Commit)
		m.ok("removed", p.Removed && p.Epoch == nil && p.Ratchets == nil)
	}},
	{"4.3", "remove", "12.1.3", "a removed member reads nothing that follows", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}}})
		m.bob.process(out.Commit)
		m.alice.move(out)
		m.refuses(m.bob, ErrWrongEpoch, m.open(m.bob, m.alice.seal("after")))
		m.refuses(m.bob, ErrWrongEpoch, m.process(m.bob, m.alice.commit(CommitConfig{}).Commit))
	}},
	{"4.4", "remove", "12.4.2", "a removed member cannot send to the group", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}}})
		m.carol.process(out.Commit)
		m.refuses(m.carol, ErrWrongEpoch, m.open(m.carol, m.bob.seal("still here?")))
		m.refuses(m.carol, ErrWrongEpoch, m.process(m.carol, m.bob.commit(CommitConfig{}).Commit))
	}},
	{"4.5", "remove", "12.2", "a commit that removes its committer", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Remove{0}), "removes itself")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Remove{0})), "removes itself")
	}},
	{"4.6", "remove", "12.1.3", "a blank leaf is removed", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Remove{3}), "is blank")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Remove{3})), "is blank")
	}},
	{"4.7", "remove", "12.1.3", "a leaf beyond the tree is removed", func(m *matrix) {
		for _, i := range []LeafIndex{4, 1 << 31, 1<<32 - 1} {
			m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Remove{i}), "is blank")
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Remove{i})), "is blank")
		}
	}},
	{"4.8", "remove", "12.2", "one leaf is removed twice", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, Remove{2}, Remove{2}), "two proposals")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(Remove{2}, Remove{2})), "two proposals")
	}},
	{"4.9", "remove", "7.7", "the tree shrinks when its right half is blank", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{2}}})
		m.ok("leaves", out.Epoch.tree.leaves == 2)
		m.bob.process(out.Commit)
		m.alice.move(out)
		agree(m, m.alice, m.bob)
	}},
	{"4.10", "remove", "12.2", "a member is removed and comes back in one commit", func(m *matrix) {
		m.bob.fresh()
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}, Add{m.bob.kp}}})
		m.carol.process(out.Commit)
		m.alice.move(out)
		m.bob.join(out)
		agree(m, m.alice, m.bob, m.carol)
		m.checks++
	}},
}
