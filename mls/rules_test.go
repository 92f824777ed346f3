package mls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rules are the validations that RFC 9420 asks of members and joiners in Sections 7.3,
// 7.9, 12.2 and 12.4, one row per rule: the function that checks it and a test in which
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

// What a committer may put into its path: RFC 9420, Sections 7.3, 7.9.2, 12.2 and 12.4.2.
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

	// A key of another node, in a path that is well-made otherwise.
	m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) {
		path, tr := a.commit.path, e.tree.edit()
		path.nodes[1].encryptionKey = e.tree.leaf(2).EncryptionKey
		l := *path.leaf
		l.ParentHash = tr.setPath(e.own, tr.filteredPath(e.own), [][]byte{path.nodes[0].encryptionKey, path.nodes[1].encryptionKey})
		signed, err := l.signed(s, m.alice.signer, e.ctx.groupID, e.own)
		must(t, err)
		path.leaf = signed
	})), "another's too")

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

// What a member may put into a Welcome that it makes: RFC 9420, Section 12.4.3.1.
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
		// Whoever signs as the joiner itself shares no node with it.
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
