package mls

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// welcome is Welcome of RFC 9420, Section 12.4.3.1.
type welcome struct {
	suite     CipherSuite
	secrets   []encryptedSecrets
	groupInfo []byte
}

type encryptedSecrets struct {
	to     []byte // KeyPackageRef
	sealed hpkeCiphertext
}

func (m *welcome) encode(w *writer) {
	w.u16(uint16(m.suite))
	w.list(func() {
		for _, x := range m.secrets {
			w.vec(x.to)
			x.sealed.encode(w)
		}
	})
	w.vec(m.groupInfo)
}

func readWelcome(r *reader) *welcome {
	m := &welcome{suite: CipherSuite(r.u16())}
	r.list(func(r *reader) { m.secrets = append(m.secrets, encryptedSecrets{r.vec(), readHPKECiphertext(r)}) })
	m.groupInfo = r.vec()
	return m
}

// groupSecrets is GroupSecrets of RFC 9420, Section 12.4.3.1.
type groupSecrets struct {
	joiner     []byte
	hasPath    bool
	pathSecret []byte
	psks       []PreSharedKeyID
}

// Format prints a placeholder.
func (g *groupSecrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (g *groupSecrets) encode(w *writer) {
	w.vec(g.joiner)
	w.optional(g.hasPath)
	if g.hasPath {
		w.vec(g.pathSecret)
	}
	w.list(func() {
		for _, id := range g.psks {
			id.encode(w)
		}
	})
}

func readGroupSecrets(r *reader) *groupSecrets {
	g := &groupSecrets{joiner: r.vec(), hasPath: r.optional()}
	if g.hasPath {
		g.pathSecret = r.vec()
	}
	r.list(func(r *reader) { g.psks = append(g.psks, readPreSharedKeyID(r)) })
	return g
}

// groupInfo is GroupInfo of RFC 9420, Section 12.4.3.
type groupInfo struct {
	ctx             *groupContext
	extensions      []Extension
	confirmationTag []byte
	signer          LeafIndex
	signature       []byte
	tbs             []byte // as it arrived
}

func (g *groupInfo) encodeUnsigned(w *writer) {
	g.ctx.encode(w)
	encodeExtensions(w, g.extensions)
	w.vec(g.confirmationTag)
	w.u32(uint32(g.signer))
}

func readGroupInfo(r *reader) *groupInfo {
	start := r.b
	g := &groupInfo{ctx: readGroupContext(r)}
	g.extensions = readExtensions(r)
	g.confirmationTag = r.vec()
	g.signer = LeafIndex(r.u32())
	g.tbs = r.since(start)
	g.signature = r.vec()
	return g
}

// groupInfo signs a GroupInfo of this epoch and gives its encoding.
func (e *Epoch) groupInfo(signer *SignatureKey, extensions []Extension, withTree bool) ([]byte, error) {
	if withTree {
		extensions = append(slices.Clone(extensions), Extension{ExtensionRatchetTree, e.tree.encode()})
	}
	if err := checkExtensions(extensions); err != nil {
		return nil, fmt.Errorf("GroupInfo: %w", err)
	}
	if signer == nil || !macEqual(signer.public, e.tree.signatureKey(e.own)) {
		return nil, fmt.Errorf("GroupInfo: %w: signature key is not the own leaf's", ErrUsage)
	}
	g := &groupInfo{ctx: e.ctx, extensions: extensions, confirmationTag: e.confirmationTag, signer: e.own}
	var w writer
	g.encodeUnsigned(&w)
	signature, err := e.suite().signWithLabel(signer, "GroupInfoTBS", w.b)
	if err != nil {
		return nil, err
	}
	w.vec(signature)
	return w.b, nil
}

// GroupInfo gives a signed GroupInfo (an MLSMessage) with the given extensions, and
// the ratchet tree if withTree.
func (e *Epoch) GroupInfo(signer *SignatureKey, extensions []Extension, withTree bool) ([]byte, error) {
	b, err := e.groupInfo(signer, extensions, withTree)
	if err != nil {
		return nil, err
	}
	return mlsMessage(wireGroupInfo, b), nil
}

// welcome makes the Welcome for those whom a commit added: RFC 9420, Section
// 12.4.3.1. e is the new epoch.
func (e *Epoch) welcome(rand io.Reader, cfg CommitConfig, plan *applied, path *newPath, joiner, member secret) ([]byte, error) {
	s := e.suite()
	_, signer := e.template(cfg.Leaf, cfg.Signer)
	info, err := e.groupInfo(signer, cfg.GroupInfoExtensions, cfg.InlineTree)
	if err != nil {
		return nil, err
	}
	welcomeSecret := s.welcomeSecret(member)
	defer welcomeSecret.wipe()
	key, nonce := s.welcomeKey(welcomeSecret)
	m := &welcome{suite: s.id, secrets: make([]encryptedSecrets, len(plan.added))}
	if m.groupInfo, err = s.sealKeyed(key, nonce, nil, info); err != nil {
		return nil, err
	}
	clear(key)
	seeds := make([][]byte, len(plan.added))
	for k := range seeds {
		if seeds[k], err = draw(rand, s.kem.encapSize()); err != nil {
			return nil, err
		}
	}
	label := s.labelInfo("Welcome", m.groupInfo)
	err = inParallel(len(seeds), func(k int) (err error) {
		g := &groupSecrets{joiner: joiner.bytes(), psks: plan.psks}
		if path != nil {
			// The lowest node of the path above the joiner is the common ancestor.
			at := slices.IndexFunc(path.steps, func(p pathStep) bool { return p.copath.covers(plan.added[k]) })
			if at >= 0 {
				g.hasPath, g.pathSecret = true, path.secrets[at].bytes()
			}
		}
		plain := encode(g.encode)
		defer clear(plain)
		kp := plan.packages[k]
		m.secrets[k].to = kp.Ref()
		m.secrets[k].sealed, err = s.hpkeSeal(seeds[k], kp.InitKey, label, nil, plain)
		clear(seeds[k])
		return err
	})
	if err != nil {
		return nil, err
	}
	return mlsMessage(wireWelcome, encode(m.encode)), nil
}

// JoinConfig is what joining from a Welcome needs. RatchetTree is needed if the
// Welcome carries none; a tree in the Welcome goes first.
type JoinConfig struct {
	KeyPackage  *KeyPackage
	Secrets     *KeyPackageSecrets
	RatchetTree []byte
	PSKs        PSKSource
	Validator   CredentialValidator
	// Parent is for a group that continues another: the epoch it was branched from, or
	// the one that a ReInit's commit began. Such a Welcome needs it, others refuse it.
	Parent     *Epoch
	SameClient SameClient // compares members with the Parent's; nil: EqualCredentials
}

// Joined is the state of a new member.
type Joined struct {
	Epoch      *Epoch
	Ratchets   *Ratchets
	Signer     LeafIndex   // who made the Welcome
	Extensions []Extension // of the GroupInfo, less ratchet_tree
}

// Join verifies a Welcome (an MLSMessage) and gives the state of the new member:
// RFC 9420, Section 12.4.3.1. The secrets are left to the caller to wipe, once the
// result is stored.
func Join(message []byte, cfg JoinConfig) (*Joined, error) {
	j, err := join(message, cfg)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return j, nil
}

// join is RFC 9420, Section 12.4.3.1, up to the GroupInfo; enterJoined is the rest.
func join(message []byte, cfg JoinConfig) (*Joined, error) {
	kp := cfg.KeyPackage
	if kp == nil || kp.suite == nil || cfg.Secrets == nil || cfg.Secrets.suite != kp.Suite {
		return nil, fmt.Errorf("%w: no KeyPackage with its secrets", ErrUsage)
	}
	if err := cfg.Secrets.matches(kp); err != nil {
		return nil, err
	}
	r, err := openMessageAs(message, wireWelcome)
	if err != nil {
		return nil, err
	}
	m := readWelcome(r)
	if err := r.done("Welcome"); err != nil {
		return nil, err
	}
	s := kp.suite
	if m.suite != s.id {
		return nil, fmt.Errorf("%w: Welcome of ciphersuite %#04x", ErrInvalid, uint16(m.suite))
	}
	ref := kp.Ref()
	at := slices.IndexFunc(m.secrets, func(x encryptedSecrets) bool { return bytes.Equal(x.to, ref) })
	if at < 0 {
		return nil, ErrNotForUs
	}
	plain, err := s.decryptWithLabel(cfg.Secrets.initKey, kp.InitKey, "Welcome", m.groupInfo, m.secrets[at].sealed)
	if err != nil {
		return nil, fmt.Errorf("GroupSecrets: %w", err)
	}
	defer clear(plain) // and with it the secrets, which are slices of it
	pr := reader{b: plain}
	secrets := readGroupSecrets(&pr)
	if err := pr.done("GroupSecrets"); err != nil {
		return nil, err
	}
	if err := secrets.check(s); err != nil {
		return nil, err
	}
	origin, err := secrets.checkOrigin(cfg.Parent)
	if err != nil {
		return nil, err
	}
	psks := cfg.PSKs
	if origin != nil {
		psks = cfg.Parent.resumes(*origin, psks)
	}
	psk, err := s.pskSecret(secrets.psks, psks)
	if err != nil {
		return nil, err
	}
	joiner := copySecret(secrets.joiner)
	member := s.memberSecret(joiner, psk)
	defer joiner.wipe()
	defer member.wipe()
	defer psk.wipe()
	welcomeSecret := s.welcomeSecret(member)
	defer welcomeSecret.wipe()
	key, nonce := s.welcomeKey(welcomeSecret)
	info, err := s.openKeyed(key, nonce, nil, m.groupInfo)
	clear(key)
	if err != nil {
		return nil, fmt.Errorf("GroupInfo: %w", err)
	}
	ir := reader{b: info}
	gi := readGroupInfo(&ir)
	if err := ir.done("GroupInfo"); err != nil {
		return nil, err
	}
	return enterJoined(cfg, gi, secrets, origin, member)
}

// check is what RFC 9420, Section 12.4.3.1 and 8.4, ask of GroupSecrets.
func (g *groupSecrets) check(s *suite) error {
	if len(g.joiner) != s.nh || g.hasPath && len(g.pathSecret) != s.nh {
		return fmt.Errorf("%w: length of a secret in GroupSecrets", ErrInvalid)
	}
	seen := map[string]bool{}
	for _, id := range g.psks {
		k := string(encode(id.encode))
		if seen[k] || len(id.Nonce) != s.nh {
			return fmt.Errorf("%w: PSK twice or with a nonce of %d bytes", ErrInvalid, len(id.Nonce))
		}
		seen[k] = true
	}
	return nil
}

// enterJoined verifies GroupInfo and tree and builds the epoch: RFC 9420, Section 12.4.3.1.
func enterJoined(cfg JoinConfig, gi *groupInfo, secrets *groupSecrets, origin *PreSharedKeyID, member secret) (_ *Joined, err error) {
	kp := cfg.KeyPackage
	s := kp.suite
	if gi.ctx.suite != s {
		return nil, fmt.Errorf("%w: GroupInfo of ciphersuite %#04x", ErrInvalid, uint16(gi.ctx.suite.id))
	}
	t, err := gi.verifiedTree(s, cfg.RatchetTree, cfg.Validator)
	if err != nil {
		return nil, err
	}
	if origin != nil {
		if err := cfg.Parent.checkSuccessor(gi.ctx, t, origin.Usage, cfg.SameClient); err != nil {
			return nil, err
		}
	}
	own, found := LeafIndex(0), false
	t.root.eachLeaf(t.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
		own, found = i, l.equal(kp.Leaf)
		return !found
	})
	if !found {
		return nil, fmt.Errorf("%w: own leaf is not in the tree", ErrInvalid)
	}
	e := &Epoch{ctx: gi.ctx, context: gi.ctx.bytes(), tree: t, own: own, keys: pathKeys{own.node(): cfg.Secrets.leafKey.clone()}}
	defer func() {
		if err != nil {
			e.Wipe()
		}
	}()
	if secrets.hasPath {
		if err := e.implantJoined(gi.signer, secrets.pathSecret); err != nil {
			return nil, err
		}
	}
	ratchets := e.begin(member)
	if !macEqual(e.confirmationTag, gi.confirmationTag) {
		return nil, fmt.Errorf("%w: confirmation tag", ErrInvalid)
	}
	out := &Joined{Epoch: e, Ratchets: ratchets, Signer: gi.signer}
	for _, x := range gi.extensions {
		if x.Type != ExtensionRatchetTree {
			out.Extensions = append(out.Extensions, x)
		}
	}
	return out, nil
}

// verifiedTree verifies a GroupInfo and its tree: RFC 9420, Section 12.4.3.1, less
// what needs the joiner's secrets.
func (g *groupInfo) verifiedTree(s *suite, apart []byte, v CredentialValidator) (*tree, error) {
	if err := checkExtensions(g.extensions); err != nil {
		return nil, err
	}
	if err := checkContextExtensions(g.ctx.extensions, v); err != nil {
		return nil, err
	}
	t, err := g.tree(s, apart)
	if err != nil {
		return nil, err
	}
	signer := t.signatureKey(g.signer)
	if signer == nil {
		return nil, fmt.Errorf("%w: signer leaf %d is blank", ErrInvalid, g.signer)
	}
	if !s.verifyWithLabel(signer, "GroupInfoTBS", g.tbs, g.signature) {
		return nil, fmt.Errorf("%w: signature of GroupInfo", ErrInvalid)
	}
	if !macEqual(t.freeze(), g.ctx.treeHash) {
		return nil, fmt.Errorf("%w: tree hash", ErrInvalid)
	}
	if err := t.checkJoined(g.ctx, v); err != nil {
		return nil, fmt.Errorf("ratchet tree: %w", err)
	}
	return t, nil
}

// tree gives the ratchet tree of the GroupInfo, or the one that was given apart.
func (g *groupInfo) tree(s *suite, apart []byte) (*tree, error) {
	if inline, ok := FindExtension(g.extensions, ExtensionRatchetTree); ok {
		return readRatchetTree(s, inline)
	}
	if apart == nil {
		return nil, ErrMissingTree
	}
	return readRatchetTree(s, clone(apart))
}

// implantJoined derives the keys from the common ancestor with the committer up: RFC 9420,
// Section 12.4.3.1.
func (e *Epoch) implantJoined(signer LeafIndex, pathSecret []byte) error {
	steps := e.tree.filteredPath(signer)
	at := slices.IndexFunc(steps, func(p pathStep) bool { return p.copath.covers(e.own) })
	if at < 0 {
		return fmt.Errorf("%w: path secret without a common ancestor", ErrInvalid)
	}
	last, err := e.tree.implant(e.keys, steps[at:], copySecret(pathSecret))
	last.wipe()
	return err
}
