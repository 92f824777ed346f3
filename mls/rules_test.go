package mls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// rules are the validations that RFC 9420 asks of members and joiners in Sections 5.3.1,
// 7, 12.2 and 12.4, one row per rule: the function that checks it and a test in which
// it is broken. TestRules verifies that each of the two cites the section. A test is the
// name of a function, or the row of the matrix.
var rules = []struct{ section, what, check, test string }{
	{"7.3", "the validator accepts the credential with its signature key", "CredentialValidator.check", "TestValidator"},
	{"7.3", "the signature of a LeafNode, for its group and index", "LeafNode.verifySignature", "7.8"},
	{"7.3", "the leaf supports required_capabilities and the group's extensions", "LeafNode.checkSupports", "TestRequiredCapabilities"},
	{"7.3", "every member supports every credential type in use", "tree.checkCredentialTypes", "TestCredentialTypesInUse"},
	{"7.3", "the leaf's own credential type is among its capabilities", "LeafNode.checkSelf", "2.13"},
	{"7.3", "the lifetime of a leaf from a KeyPackage", "LeafNode.checkLifetime", "2.9"},
	{"7.3", "the leaf's extensions are among its capabilities", "LeafNode.checkSelf", "TestPathRules"},
	{"7.3", "leaf_node_source of an Add is key_package", "KeyPackage.checkSelf", "2.11"},
	{"7.3", "leaf_node_source of an Update is update", "Epoch.checkUpdate", "3.6"},
	{"7.3", "leaf_node_source of a path is commit", "tree.mergePath", "TestPathRules"},
	{"7.3", "whoever sends a KeyPackage knows the time, and that it lies in its lifetime", "LeafNode.checkSent", "TestSentLifetimes"},
	{"7.2", "the own leaf lists the ciphersuite, another's need not", "LeafNode.checkMade", "TestOwnSuiteInCapabilities"},
	{"5.3.1", "a new credential continues the one that it replaces", "policy.checkSuccessor", "TestSuccessorCredential"},
	{"7.3", "signature keys are unique", "tree.checkUnique", "2.5"},
	{"7.3", "encryption keys are unique", "tree.checkUnique", "2.6"},
	{"7.3", "an Update or a path changes the encryption key", "Epoch.checkNewLeaf", "TestPathRules"},
	{"7.9.2", "the parent hash of a path's leaf", "tree.mergePath", "TestPathRules"},
	{"7.9.2", "every parent is parent-hash valid", "tree.checkParentHashes", "7.3"},
	{"7.9.2", "with respect to one child of its resolution", "suite.linked", "7.4"},
	{"12.2", "no Update of the committer", "proposalList.add", "3.2"},
	{"12.2", "no Update by value", "proposalList.add", "3.3"},
	{"12.2", "no Remove of the committer", "proposalList.add", "4.5"},
	{"12.2", "no Update and Remove of one leaf", "proposalList.add", "3.8"},
	{"12.2", "no two Removes of one leaf", "proposalList.add", "4.8"},
	{"12.2", "no two Adds of one client", "tree.checkUnique", "2.4"},
	{"12.2", "no Add of a member, unless it is removed", "tree.checkUnique", "2.3"},
	{"12.2", "a member that is removed may be added", "tree.checkUnique", "4.10"},
	{"12.2", "no PSK twice", "proposalList.add", "5.11"},
	{"12.2", "no two GroupContextExtensions", "proposalList.add", "5.10"},
	{"12.2", "a ReInit stands alone", "proposalList.add", "TestReInitAlone"},
	{"12.2", "no ExternalInit by a member", "proposalList.add", "5.12"},
	{"12.2", "no proposal of a type that is not supported", "readProposal", "TestPathRules"},
	{"12.2", "an external commit has one Remove at most, PSKs, and nothing else", "proposalList.add", "5.13"},
	{"12.2", "an external commit has one ExternalInit", "Epoch.checkList", "5.13"},
	{"12.4", "a path where it is required, of a committer", "Epoch.Commit", "5.2"},
	{"12.4", "a path where it is required, by a receiver", "Epoch.follow", "5.2"},
	{"12.4.2", "the epoch is the receiver's", "Epoch.checkAddress", "5.5"},
	{"12.4.2", "the group is the receiver's", "Epoch.checkAddress", "5.6"},
	{"12.4.2", "the membership tag", "Epoch.checkPublic", "9.2"},
	{"12.4.2", "the signature of the commit", "Epoch.checkPublic", "9.1"},
	{"12.4.2", "a referenced proposal is known, and named once", "Epoch.resolve", "5.8"},
	{"12.4.2", "a referenced proposal is named once", "Epoch.resolve", "5.9"},
	{"12.4.2", "as many nodes as the filtered direct path has", "tree.mergePath", "5.16"},
	{"12.4.2", "as many path secrets as the resolution has", "tree.openPath", "5.16"},
	{"12.4.2", "the path's keys are in no other node", "tree.checkUnique", "TestPathRules"},
	{"12.4.2", "the path's keys are in no node that the path replaces", "tree.checkFresh", "TestPathRules"},
	{"12.4.2", "a path secret gives the keys of the nodes above", "tree.implant", "TestPathRules"},
	{"12.4.2", "the confirmation tag", "Epoch.follow", "9.3"},
	{"12.4.3.1", "the Welcome is for this KeyPackage", "join", "6.2"},
	{"12.4.3.1", "the Welcome's ciphersuite is the KeyPackage's", "join", "6.8"},
	{"12.4.3.1", "the GroupInfo's ciphersuite is the KeyPackage's", "enterJoined", "TestWelcomeRules"},
	{"12.4.3.1", "no PSK twice in GroupSecrets", "groupSecrets.check", "TestWelcomeRules"},
	{"12.4.3.1", "a group continues one other at most", "groupSecrets.origin", "TestWelcomeRules"},
	{"12.4.3.1", "a group that continues another is joined in epoch 1", "Epoch.checkSuccessor", "TestWelcomeRules"},
	{"12.4.3.1", "the signature of the GroupInfo", "groupInfo.verifiedTree", "9.12"},
	{"12.4.3.1", "the signer is a member", "groupInfo.verifiedTree", "TestWelcomeRules"},
	{"12.4.3.1", "the tree hash", "groupInfo.verifiedTree", "7.2"},
	{"12.4.3.1", "unmerged_leaves", "tree.checkStructure", "7.5"},
	{"12.4.3.1", "every leaf of the tree", "tree.checkLeaves", "7.8"},
	{"12.4.3.1", "the own leaf is in the tree", "enterJoined", "TestWelcomeRules"},
	{"12.4.3.1", "the path secret gives the keys above the common ancestor", "Epoch.implantJoined", "TestWelcomeRules"},
	{"12.4.3.1", "the confirmation tag of the GroupInfo", "enterJoined", "TestWelcomeRules"},
	{"12.4.3.2", "an external commit has a path", "Epoch.checkPublic", "9.5"},
	{"12.4.3.2", "an external commit names no proposal by reference", "Epoch.resolve", "5.15"},
	{"12.4.3.2", "an external commit removes nobody but its sender's old self", "Epoch.checkResync", "TestExternalCommitLists"},
	{"12.2", "an external commit brings another encryption key than the leaf it removes", "Epoch.checkResync", "TestResyncBringsAnotherKey"},
	{"12.4.3.3", "the form of a ratchet tree", "readRatchetTree", "7.9"},
}

func TestRules(t *testing.T) {
	comments := map[string]string{} // of each function, by its name with its receiver's type
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		must(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				typ := fn.Recv.List[0].Type
				if star, ok := typ.(*ast.StarExpr); ok {
					typ = star.X
				}
				if id, ok := typ.(*ast.Ident); ok {
					name = id.Name + "." + name
				}
			}
			text := fn.Doc.Text()
			for _, c := range f.Comments {
				if c.Pos() > fn.Pos() && c.End() < fn.End() {
					text += c.Text()
				}
			}
			comments[name] = text
		}
	}
	rows := map[string]string{}
	for _, area := range matrixAreas {
		for _, c := range area.cases {
			rows[c.id] = c.section
		}
	}
	cites := func(text, section string) bool {
		return regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(section) + `($|[^0-9.]|\.($|[^0-9]))`).MatchString(text)
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if seen[r.what] {
			t.Errorf("%s twice", r.what)
		}
		seen[r.what] = true
		if !cites(comments[r.check], r.section) {
			t.Errorf("%s: %s does not cite Section %s", r.what, r.check, r.section)
		}
		test, ok := rows[r.test]
		if strings.HasPrefix(r.test, "Test") {
			test, ok = comments[r.test]
		}
		if !ok || !cites(test, r.section) {
			t.Errorf("%s: test %s does not cite Section %s", r.what, r.test, r.section)
		}
	}
	if len(rules) < 60 {
		t.Errorf("%d rules", len(rules))
	}
}

// unknownProposal is of a type that nobody has: RFC 9420, Section 13.5.
type unknownProposal struct{}

func (unknownProposal) Type() ProposalType { return 0x0a0a }
func (unknownProposal) encode(*writer)     {}

// The paths that a committer may make: RFC 9420, Sections 7.3, 7.9.2, 12.2 and 12.4.2.
func TestPathRules(t *testing.T) {
	m := newMatrix(t)
	e, s := m.alice.e, m.alice.e.suite()
	resigned := func(change func(l *LeafNode)) []byte {
		return m.forged(CommitConfig{}, func(a *authContent) {
			l := *a.commit.path.leaf
			change(&l)
			signed, err := l.signed(s, m.alice.signer, e.ctx.groupID, e.own)
			must(t, err)
			a.commit.path.leaf = signed
		})
	}
	m.is(m.process(m.bob, m.alice.commit(CommitConfig{}).Commit)(), nil)
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, resigned(func(l *LeafNode) { l.Source = LeafFromUpdate })), "path's leaf")
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, resigned(func(l *LeafNode) { l.ParentHash = nonce() })), "parent hash")
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, resigned(func(l *LeafNode) {
		l.Extensions = []Extension{{Type: 0xff09}}
	})), "extension 65289 that its capabilities lack")
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, resigned(func(l *LeafNode) {
		l.EncryptionKey = e.tree.leaf(e.own).EncryptionKey
	})), "did not change")
	m.refuses(m.bob, ErrUnsupported, m.process(m.bob, m.listed(unknownProposal{})), "proposal type 2570")

	// A path that is well-made otherwise, but for one key.
	root := e.tree.rootIndex()
	for _, c := range []struct {
		why    string
		change func(p *updatePath)
	}{
		{"another's too", func(p *updatePath) { p.nodes[1].encryptionKey = p.nodes[0].encryptionKey }},
		{"in the tree already", func(p *updatePath) { p.nodes[1].encryptionKey = e.tree.leaf(2).EncryptionKey }},
		{"in the tree already", func(p *updatePath) { p.nodes[1].encryptionKey = e.tree.at(root).publicKey() }}, // its own of before
		{"in the tree already", func(p *updatePath) { p.nodes[0].encryptionKey = e.tree.at(root).publicKey() }},
		{"in the tree already", func(p *updatePath) { l := *p.leaf; l.EncryptionKey = e.tree.at(root).publicKey(); p.leaf = &l }},
	} {
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) {
			path, tr := a.commit.path, e.tree.edit()
			c.change(path)
			l := *path.leaf
			l.ParentHash = tr.setPath(e.own, tr.filteredPath(e.own), [][]byte{path.nodes[0].encryptionKey, path.nodes[1].encryptionKey})
			signed, err := l.signed(s, m.alice.signer, e.ctx.groupID, e.own)
			must(t, err)
			path.leaf = signed
		})), c.why)
	}

	// A path secret of another key than the tree's.
	tr := e.tree.edit()
	leaf, signer := e.template(nil, m.alice.signer)
	p, err := tr.generatePath(m.alice.rand, e.own, leaf, signer, e.ctx.groupID)
	must(t, err)
	p.secrets[0] = newSecret(nonce())
	next := *e.ctx
	next.epoch, next.treeHash = e.ctx.epoch+1, tr.freeze()
	a := e.newContent(contentCommit, WirePublic, nil)
	a.commit = &commit{}
	a.commit.path, err = tr.sealPath(m.alice.rand, p, nil, next.bytes())
	must(t, err)
	must(t, a.sign(s, m.alice.signer, e.context))
	a.confirmationTag = nonce()
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, a.publicMessage(s, e.secrets.membership, e.context)), "path secret does not give the key of node 1")
}

// The Welcomes that a member may make: RFC 9420, Section 12.4.3.1.
func TestWelcomeRules(t *testing.T) {
	m := newMatrix(t)
	out := m.added()
	s := m.alice.e.suite()
	var mixed []PreSharedKeyID // into the key schedule
	made := func(parent *Epoch, change func(g *groupInfo, x *groupSecrets)) []byte {
		x := &groupSecrets{joiner: nonce(), psks: mixed}
		secret, err := s.pskSecret(mixed, func(PreSharedKeyID) ([]byte, bool) { return m.bob.e.ResumptionPSK(), true })
		must(t, err)
		member := s.memberSecret(newSecret(nonce()), secret)
		ctx := *parent.ctx
		e := &Epoch{ctx: &ctx, context: parent.context, tree: parent.tree, own: parent.own}
		e.begin(member)
		g := &groupInfo{ctx: &ctx, confirmationTag: e.confirmationTag, signer: e.own, extensions: []Extension{{ExtensionRatchetTree, e.tree.encode()}}}
		change(g, x)
		var w writer
		g.encodeUnsigned(&w)
		signature, err := s.signWithLabel(m.alice.signer, "GroupInfoTBS", w.b)
		must(t, err)
		w.vec(signature)
		key, n := s.welcomeKey(s.welcomeSecret(member))
		welcome := &welcome{suite: s.id}
		welcome.groupInfo, err = s.sealKeyed(key, n, nil, w.b)
		must(t, err)
		sealed, err := s.encryptWithLabel(nonce(), m.dave.kp.InitKey, "Welcome", welcome.groupInfo, encode(x.encode))
		must(t, err)
		welcome.secrets = []encryptedSecrets{{m.dave.kp.Ref(), sealed}}
		return mlsMessage(wireWelcome, encode(welcome.encode))
	}
	m.is(m.join(m.dave, made(out.Epoch, func(*groupInfo, *groupSecrets) {}), nil)(), nil)
	refuses := func(want error, why string, change func(g *groupInfo, x *groupSecrets)) {
		t.Helper()
		m.refuses(m.dave, want, m.join(m.dave, made(out.Epoch, change), nil), why)
	}
	refuses(ErrInvalid, "GroupInfo of ciphersuite", func(g *groupInfo, _ *groupSecrets) { g.ctx.suite = suites[2] })
	refuses(ErrInvalid, "signer leaf 7 is blank", func(g *groupInfo, _ *groupSecrets) { g.signer = 7 })
	refuses(ErrInvalid, "confirmation tag", func(g *groupInfo, _ *groupSecrets) { g.confirmationTag = nonce() })
	refuses(ErrInvalid, "path secret does not give", func(_ *groupInfo, x *groupSecrets) { x.hasPath, x.pathSecret = true, nonce() })
	refuses(ErrInvalid, "common ancestor", func(g *groupInfo, x *groupSecrets) {
		// A signer that is the joiner itself shares no node with it.
		g.signer, x.hasPath, x.pathSecret = out.Added[0], true, nonce()
		m.alice.signer, m.dave.signer = m.dave.signer, m.alice.signer
	})
	m.alice.signer, m.dave.signer = m.dave.signer, m.alice.signer
	psk := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, GroupID: []byte("trio"), Epoch: 1, Nonce: nonce()}
	refuses(ErrInvalid, "PSK twice", func(_ *groupInfo, x *groupSecrets) { x.psks = []PreSharedKeyID{psk, psk} })
	refuses(ErrInvalid, "length of a secret", func(_ *groupInfo, x *groupSecrets) { x.joiner = nonce()[1:] })
	refuses(ErrMissingPSK, "continues", func(_ *groupInfo, x *groupSecrets) { x.psks = []PreSharedKeyID{psk} })
	refuses(ErrInvalid, "continues two", func(_ *groupInfo, x *groupSecrets) {
		second := psk
		second.Epoch = 2
		x.psks = []PreSharedKeyID{psk, second}
	})
	mixed = []PreSharedKeyID{psk}
	m.refuses(m.dave, ErrInvalid, func() error {
		_, err := Join(made(out.Epoch, func(*groupInfo, *groupSecrets) {}), JoinConfig{
			KeyPackage: m.dave.kp, Secrets: m.dave.secrets, Parent: m.bob.e, Validator: AcceptAnyCredential,
		})
		return err
	}, "joined in epoch 1, not 2")
	mixed = nil
	m.refuses(m.dave, ErrInvalid, m.join(m.dave, made(m.alice.e, func(*groupInfo, *groupSecrets) {}), nil), "own leaf is not in the tree")
}

// A client that proposes or commits a KeyPackage checks its lifetime, and cannot without
// knowing the time: RFC 9420, Section 7.3. A receiver is given no time.
func TestSentLifetimes(t *testing.T) {
	m := newMatrix(t)
	server := newClient(t, 1, "server")
	allow := ExternalSendersExtension(ExternalSender{server.signer.PublicKey(), BasicCredential([]byte("server"))})
	out := m.alice.commit(CommitConfig{Proposals: []Proposal{GroupContextExtensions{[]Extension{allow}}}})
	m.alice.move(out)
	m.bob.process(out.Commit)
	m.carol.process(out.Commit)
	o, err := Observe(m.info(nil))
	must(t, err)
	for _, c := range []struct {
		now  time.Time
		want error
	}{{time.Time{}, ErrUsage}, {testNow.Add(2 * time.Hour), ErrLifetime}, {testNow.Add(-2 * time.Hour), ErrLifetime}, {testNow, nil}} {
		add := Add{m.dave.kp}
		_, _, err := m.bob.e.Propose(m.bob.rand, add, ProposeConfig{Signer: m.bob.signer, Now: c.now})
		m.is(err, c.want)
		_, err = m.bob.e.ProposeAdd(c.now, m.bob.signer, m.dave.kp, nil)
		m.is(err, c.want)
		_, err = o.ProposeSelf(c.now, m.dave.signer, m.dave.kp, nil)
		m.is(err, c.want)
		_, err = o.ProposeAs(c.now, server.signer, 0, add, nil)
		m.is(err, c.want)
		_, err = m.bob.e.Commit(m.bob.rand, CommitConfig{Signer: m.bob.signer, Now: c.now, Validator: AcceptAnyCredential, Proposals: []Proposal{add}})
		m.is(err, c.want)
		proposed := m.suggested(m.carol, add)
		_, err = m.bob.e.Commit(m.bob.rand, CommitConfig{Signer: m.bob.signer, Now: c.now, Validator: AcceptAnyCredential, References: [][]byte{proposed}})
		m.is(err, c.want)
	}
	// Nothing is added: no time is needed.
	_, err = m.bob.e.Commit(m.bob.rand, CommitConfig{Signer: m.bob.signer, Validator: AcceptAnyCredential})
	m.is(err, nil)

	// A Group that commits what waits leaves out what is not in its lifetime, and goes on.
	g, err := OpenGroup(Options{Rand: m.bob.rand, Signer: m.bob.signer, Validator: AcceptAnyCredential}, m.bob.e, m.bob.r)
	must(t, err)
	_, err = g.Receive(m.suggested(m.carol, Add{m.dave.kp}))
	must(t, err)
	late, err := g.Commit(CommitOptions{Now: testNow.Add(2 * time.Hour)})
	must(t, err)
	m.ok("an Add outside its lifetime was committed", len(late.Added) == 0)
	_, err = g.Commit(CommitOptions{})
	m.is(err, ErrUsage)
	inTime, err := g.Commit(CommitOptions{Now: testNow})
	must(t, err)
	m.ok("an Add in its lifetime was not committed", len(inTime.Added) == 1)
}

// A leaf of this client's own lists its ciphersuite, as RFC 9420, Section 7.2, demands;
// one of another's that does not is taken.
func TestOwnSuiteInCapabilities(t *testing.T) {
	m := newMatrix(t)
	caps := DefaultCapabilities()
	caps.CipherSuites = []CipherSuite{2}
	_, _, err := NewKeyPackage(m.dave.rand, KeyPackageConfig{Suite: 1, Credential: BasicCredential([]byte("dave")), Signer: m.dave.signer, Capabilities: &caps})
	m.is(err, ErrInvalid)
	m.refuses(m.alice, ErrInvalid, m.commit(m.alice, CommitConfig{Leaf: &LeafUpdate{Capabilities: &caps}}), "lack the ciphersuite")

	kp := m.keyPackage(m.dave, func(l *LeafNode) { l.Capabilities = caps }, nil)
	parsed, err := ParseKeyPackage(kp.Bytes())
	must(t, err)
	out := m.alice.commit(CommitConfig{Proposals: []Proposal{Add{parsed}}})
	m.bob.process(out.Commit)
	m.alice.move(out)
	agree(t, m.alice, m.bob)
}

// A credential that takes the place of another continues it, as the application says, or
// is equal to it: RFC 9420, Section 5.3.1.
func TestSuccessorCredential(t *testing.T) {
	m := newMatrix(t)
	mallory, robert := BasicCredential([]byte("mallory")), BasicCredential([]byte("robert"))
	renamed := func(old, l *LeafNode) bool {
		return string(old.Credential.Identity) == "bob" && string(l.Credential.Identity) == "robert"
	}
	with := func(c *client, cfg CommitConfig) func() error { return m.commit(c, cfg) }
	takes := func(c *client, commit []byte, same SameClient, references ...[]byte) func() error {
		return func() error {
			_, err := c.e.Process(commit, ProcessConfig{References: references, Validator: AcceptAnyCredential, SameClient: same})
			return err
		}
	}
	// In a path.
	m.refuses(m.bob, ErrCredential, with(m.bob, CommitConfig{Leaf: &LeafUpdate{Credential: &robert}}), "does not continue")
	m.refuses(m.bob, ErrCredential, with(m.bob, CommitConfig{Leaf: &LeafUpdate{Credential: &mallory}, SameClient: renamed}), "does not continue")
	for _, c := range []struct {
		credential *Credential
		want       error
	}{{&mallory, ErrCredential}, {&robert, nil}} {
		out := m.bob.commit(CommitConfig{Leaf: &LeafUpdate{Credential: c.credential}, SameClient: anyClient})
		m.refuses(m.alice, ErrCredential, takes(m.alice, out.Commit, nil), "does not continue")
		m.refuses(m.alice, c.want, takes(m.alice, out.Commit, renamed))
		thin, err := m.carol.e.Thin()
		must(t, err)
		_, err = thin.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential, SameClient: renamed})
		m.is(err, c.want)
	}
	// In an Update, for whoever commits it and for whoever follows.
	for _, c := range []struct {
		credential *Credential
		want       error
	}{{&mallory, ErrCredential}, {&robert, nil}} {
		update, _, err := m.bob.e.ProposeUpdate(m.bob.rand, m.bob.signer, &LeafUpdate{Credential: c.credential}, nil)
		must(t, err)
		cfg := CommitConfig{References: [][]byte{update}}
		m.refuses(m.alice, ErrCredential, with(m.alice, cfg), "does not continue")
		cfg.SameClient = renamed
		m.refuses(m.alice, c.want, with(m.alice, cfg))
		cfg.SameClient = anyClient
		out := m.alice.commit(cfg)
		m.refuses(m.carol, ErrCredential, takes(m.carol, out.Commit, nil, update), "does not continue")
		m.refuses(m.carol, c.want, takes(m.carol, out.Commit, renamed, update))
	}
}

// A member that comes back by an external commit, at another leaf than the one it removes,
// brings another encryption key: RFC 9420, Sections 12.1.2, 12.2 and 12.4.3.2.
func TestResyncBringsAnotherKey(t *testing.T) {
	m := newMatrix(t)
	out := m.alice.commit(CommitConfig{Proposals: []Proposal{Remove{1}}})
	m.alice.move(out)
	m.carol.process(out.Commit)
	old := m.carol.e.OwnLeaf()
	back, err := JoinExternal(m.carol.rand, m.info(nil), ExternalConfig{
		Signer: m.carol.signer, Credential: BasicCredential([]byte("carol")), Resync: &old, Validator: AcceptAnyCredential,
	})
	must(t, err)
	m.ok("the leaf is the same", back.Epoch.OwnLeaf() != old)
	m.is(m.process(m.alice, back.Commit)(), nil)
	r, err := openMessageAs(back.Commit, WirePublic)
	must(t, err)
	a := readPublicMessage(r).authContent
	l := *a.commit.path.leaf
	l.EncryptionKey = m.alice.e.tree.leaf(old).EncryptionKey
	a.commit.path.leaf, err = l.signed(m.alice.e.suite(), m.carol.signer, m.alice.e.ctx.groupID, back.Epoch.OwnLeaf())
	must(t, err)
	tag := a.confirmationTag
	must(t, a.sign(m.alice.e.suite(), m.carol.signer, m.alice.e.context))
	a.confirmationTag = tag
	m.refuses(m.alice, ErrInvalid, m.process(m.alice, a.publicMessage(m.alice.e.suite(), secret{}, m.alice.e.context)), "did not change")
}
