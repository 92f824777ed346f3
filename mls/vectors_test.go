package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vectorSummary is printed once after all tests, so that a run says what it proved.
var vectorSummary string

func TestMain(m *testing.M) {
	code := m.Run()
	if vectorSummary != "" {
		fmt.Println(vectorSummary)
	}
	os.Exit(code)
}

// hexBytes is a hex string in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	out, err := hex.DecodeString(*s)
	*h = out
	return err
}

// errAbsent: no vectors beside the module, and nobody asked for them.
var errAbsent = errors.New("no official vectors beside the module")

// vectorDir finds the official vectors: MLS_VECTORS, or ../shared/mls-vectors from
// the directory of go.mod. A directory that was asked for must hold vectors.
func vectorDir(env string, set bool, from string) (string, error) {
	dir := env
	if set {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("MLS_VECTORS=%q is not an absolute path", dir)
		}
	} else {
		for {
			if _, err := os.Stat(filepath.Join(from, "go.mod")); err == nil {
				break
			}
			if filepath.Dir(from) == from {
				return "", errors.New("no go.mod above the test")
			}
			from = filepath.Dir(from)
		}
		dir = filepath.Join(filepath.Dir(from), "shared", "mls-vectors")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		if set {
			return "", fmt.Errorf("MLS_VECTORS=%q holds no vectors", dir)
		}
		return "", errAbsent
	}
	return dir, nil
}

func TestVectorDir(t *testing.T) {
	empty := t.TempDir()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, env string
		set, ok   bool
	}{
		{"set to nothing", "", true, false},
		{"relative", "vectors", true, false},
		{"set and empty", empty, true, false},
		{"set and missing", filepath.Join(empty, "none"), true, false},
		{"set and full", full, true, true},
	} {
		if _, err := vectorDir(c.env, c.set, ""); (err == nil) != c.ok || errors.Is(err, errAbsent) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	module := filepath.Join(t.TempDir(), "module")
	if err := os.MkdirAll(filepath.Join(module, "mls"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vectorDir("", false, filepath.Join(module, "mls")); !errors.Is(err, errAbsent) {
		t.Errorf("nothing beside the module: %v", err)
	}
}

// family is one file of official vectors. counts are asserted exactly: per suite, or
// under 0 if the file does not depend on it.
type family struct {
	file   string
	counts map[CipherSuite]int
	run    func(t *testing.T, raw json.RawMessage)
}

func perSuite(n int) map[CipherSuite]int {
	m := map[CipherSuite]int{}
	for _, s := range suites {
		m[s.id] = n
	}
	return m
}

var families = []family{
	{"tree-math", map[CipherSuite]int{0: 10}, vectorTreeMath},
	{"deserialization", map[CipherSuite]int{0: 14}, vectorDeserialization},
	{"messages", map[CipherSuite]int{0: 300}, vectorMessages},
	{"crypto-basics", perSuite(1), vectorCryptoBasics},
	{"key-schedule", perSuite(1), vectorKeySchedule},
	{"psk_secret", perSuite(11), vectorPSKSecret},
	{"secret-tree", perSuite(3), vectorSecretTree},
	{"message-protection", perSuite(1), vectorMessageProtection},
	{"transcript-hashes", perSuite(1), vectorTranscript},
	{"tree-operations", map[CipherSuite]int{1: 5}, vectorTreeOperations},
	{"tree-validation", perSuite(14), vectorTreeValidation},
	{"treekem", perSuite(11), vectorTreeKEM},
	{"welcome", perSuite(1), vectorWelcome},
	{"passive-client-welcome", perSuite(8), vectorPassiveClient},
	{"passive-client-handling-commit", perSuite(13), vectorPassiveClient},
	{"passive-client-random", map[CipherSuite]int{1: 1}, vectorPassiveClient},
}

// TestOfficialVectors runs the vectors of the MLS working group.
func TestOfficialVectors(t *testing.T) {
	env, set := os.LookupEnv("MLS_VECTORS")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := vectorDir(env, set, wd)
	if errors.Is(err, errAbsent) {
		vectorSummary = "official MLS vectors: ABSENT (regression vectors only)"
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, f := range families {
		t.Run(f.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, f.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var cases []json.RawMessage
			if err := json.Unmarshal(b, &cases); err != nil {
				t.Fatal(err)
			}
			got := map[CipherSuite]int{}
			for i, raw := range cases {
				var head struct {
					CipherSuite CipherSuite `json:"cipher_suite"`
				}
				if err := json.Unmarshal(raw, &head); err != nil {
					t.Fatal(err)
				}
				if f.counts[head.CipherSuite] == 0 {
					t.Fatalf("case %d: unexpected suite %d", i, head.CipherSuite)
				}
				t.Run(fmt.Sprintf("suite%d/%d", head.CipherSuite, i), func(t *testing.T) { f.run(t, raw) })
				got[head.CipherSuite]++
				total++
			}
			for id, want := range f.counts {
				if got[id] != want {
					t.Errorf("%s, suite %d: %d cases, want %d", f.file, id, got[id], want)
				}
			}
		})
	}
	vectorSummary = fmt.Sprintf("official MLS vectors: %d cases", total)
}

func decode[T any](t *testing.T, raw json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func suiteOf(t *testing.T, id CipherSuite) *suite {
	t.Helper()
	s, err := id.lookup()
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n got %x\nwant %x", what, got, want)
	}
}

func vectorTreeMath(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		Leaves  uint32    `json:"n_leaves"`
		Nodes   uint32    `json:"n_nodes"`
		Root    uint32    `json:"root"`
		Left    []*uint32 `json:"left"`
		Right   []*uint32 `json:"right"`
		Parent  []*uint32 `json:"parent"`
		Sibling []*uint32 `json:"sibling"`
	}](t, raw)
	root := rootOf(v.Leaves)
	if fullSize(v.Leaves) != v.Leaves || uint32(root)*2+1 != v.Nodes || uint32(root) != v.Root {
		t.Fatalf("root %d of %d nodes, want %d of %d", root, root*2+1, v.Root, v.Nodes)
	}
	check := func(what string, x nodeIndex, want *uint32, has bool, got func() nodeIndex) {
		if has != (want != nil) || has && uint32(got()) != *want {
			t.Errorf("%s of %d", what, x)
		}
	}
	for i := range v.Nodes {
		x := nodeIndex(i)
		check("left", x, v.Left[i], !x.isLeaf(), func() nodeIndex { return x.left() })
		check("right", x, v.Right[i], !x.isLeaf(), func() nodeIndex { return x.right() })
		check("parent", x, v.Parent[i], x != root, func() nodeIndex { return x.parent() })
		check("sibling", x, v.Sibling[i], x != root, func() nodeIndex { return x.sibling() })
	}
}

func vectorDeserialization(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int      `json:"length"`
	}](t, raw)
	r := reader{b: v.Header}
	got := r.length()
	must(t, r.done("header"))
	if got != v.Length {
		t.Errorf("length %d, want %d", got, v.Length)
	}
	var w writer
	w.length(v.Length)
	equal(t, "header", w.b, v.Header)
}

func vectorCryptoBasics(t *testing.T, raw json.RawMessage) {
	type sec struct {
		Secret, Context, Out hexBytes
		Label                string
		Generation           uint32
		Length               int
	}
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		RefHash     struct {
			Label      string
			Value, Out hexBytes
		} `json:"ref_hash"`
		Expand sec `json:"expand_with_label"`
		Derive sec `json:"derive_secret"`
		Tree   sec `json:"derive_tree_secret"`
		Sign   struct {
			Priv, Pub, Content, Signature hexBytes
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hexBytes
			KEMOutput                                 hexBytes `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	equal(t, "ref_hash", s.refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
	equal(t, "expand_with_label", s.expandWithLabel(v.Expand.Secret, v.Expand.Label, v.Expand.Context, v.Expand.Length), v.Expand.Out)
	equal(t, "derive_secret", s.deriveSecret(newSecret(v.Derive.Secret), v.Derive.Label).bytes(), v.Derive.Out)
	equal(t, "derive_tree_secret", s.deriveTreeSecret(newSecret(v.Tree.Secret), v.Tree.Label, v.Tree.Generation, v.Tree.Length), v.Tree.Out)

	if !s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, v.Sign.Signature) {
		t.Error("signature of the vector")
	}
	key, err := ParseSignatureKey(s.id, v.Sign.Priv)
	must(t, err)
	equal(t, "public key", key.PublicKey(), v.Sign.Pub)
	sig, err := s.signWithLabel(key, v.Sign.Label, v.Sign.Content)
	must(t, err)
	if !s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, sig) {
		t.Error("own signature")
	}
	sig[len(sig)-1] ^= 1
	if s.verifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, sig) {
		t.Error("changed signature verifies")
	}

	c := hpkeCiphertext{v.Encrypt.KEMOutput, v.Encrypt.Ciphertext}
	priv := newSecret(v.Encrypt.Priv)
	pub, err := s.kem.public(v.Encrypt.Priv)
	must(t, err)
	equal(t, "HPKE public key", pub, v.Encrypt.Pub)
	plain, err := s.decryptWithLabel(priv, v.Encrypt.Pub, v.Encrypt.Label, v.Encrypt.Context, c)
	must(t, err)
	equal(t, "decrypt_with_label", plain, v.Encrypt.Plaintext)
	c, err = s.encryptWithLabel(bytes.Repeat([]byte{7}, s.kem.privateSize()), v.Encrypt.Pub, v.Encrypt.Label, v.Encrypt.Context, v.Encrypt.Plaintext)
	must(t, err)
	plain, err = s.decryptWithLabel(priv, v.Encrypt.Pub, v.Encrypt.Label, v.Encrypt.Context, c)
	must(t, err)
	equal(t, "encrypt and decrypt", plain, v.Encrypt.Plaintext)
}

func vectorKeySchedule(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		GroupID     hexBytes    `json:"group_id"`
		Init        hexBytes    `json:"initial_init_secret"`
		Epochs      []struct {
			Commit        hexBytes `json:"commit_secret"`
			Confirmation  hexBytes `json:"confirmation_key"`
			Transcript    hexBytes `json:"confirmed_transcript_hash"`
			Encryption    hexBytes `json:"encryption_secret"`
			Authenticator hexBytes `json:"epoch_authenticator"`
			Exporter      struct {
				Context, Secret hexBytes
				Label           string
				Length          int
			}
			ExporterSecret hexBytes `json:"exporter_secret"`
			ExternalPub    hexBytes `json:"external_pub"`
			External       hexBytes `json:"external_secret"`
			Context        hexBytes `json:"group_context"`
			Init           hexBytes `json:"init_secret"`
			Joiner         hexBytes `json:"joiner_secret"`
			Membership     hexBytes `json:"membership_key"`
			PSK            hexBytes `json:"psk_secret"`
			Resumption     hexBytes `json:"resumption_psk"`
			SenderData     hexBytes `json:"sender_data_secret"`
			TreeHash       hexBytes `json:"tree_hash"`
			Welcome        hexBytes `json:"welcome_secret"`
		}
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	init := newSecret(v.Init)
	if len(v.Epochs) == 0 {
		t.Fatal("no epochs")
	}
	for i, e := range v.Epochs {
		ctx := &groupContext{suite: s, groupID: v.GroupID, epoch: uint64(i), treeHash: e.TreeHash, confirmedTranscript: e.Transcript}
		equal(t, "group_context", ctx.bytes(), e.Context)
		r := reader{b: e.Context}
		again := readGroupContext(&r)
		must(t, r.done("GroupContext"))
		equal(t, "group_context again", again.bytes(), e.Context)
		joiner := s.joinerSecret(init, newSecret(e.Commit), e.Context)
		equal(t, "joiner_secret", joiner.bytes(), e.Joiner)
		member := s.memberSecret(joiner, newSecret(e.PSK))
		equal(t, "welcome_secret", s.welcomeSecret(member).bytes(), e.Welcome)
		got, encryption := s.epochSecrets(member, e.Context)
		equal(t, "encryption_secret", encryption.bytes(), e.Encryption)
		equal(t, "sender_data_secret", got.senderData.bytes(), e.SenderData)
		equal(t, "exporter_secret", got.exporter.bytes(), e.ExporterSecret)
		equal(t, "external_secret", got.external.bytes(), e.External)
		equal(t, "confirmation_key", got.confirmation.bytes(), e.Confirmation)
		equal(t, "membership_key", got.membership.bytes(), e.Membership)
		equal(t, "resumption_psk", got.resumption.bytes(), e.Resumption)
		equal(t, "epoch_authenticator", got.authenticator.bytes(), e.Authenticator)
		equal(t, "init_secret", got.init.bytes(), e.Init)
		_, pub, err := s.kem.deriveKeyPair(got.external.bytes())
		must(t, err)
		equal(t, "external_pub", pub, e.ExternalPub)
		equal(t, "exporter", s.export(got.exporter, e.Exporter.Label, e.Exporter.Context, e.Exporter.Length), e.Exporter.Secret)
		init = got.init
	}
}

func vectorPSKSecret(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID    hexBytes `json:"psk_id"`
			PSK   hexBytes `json:"psk"`
			Nonce hexBytes `json:"psk_nonce"`
		}
		Secret hexBytes `json:"psk_secret"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	var ids []PreSharedKeyID
	for _, p := range v.PSKs {
		ids = append(ids, PreSharedKeyID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce})
	}
	next := 0
	got, err := s.pskSecret(ids, func(PreSharedKeyID) ([]byte, bool) {
		next++
		return v.PSKs[next-1].PSK, true
	})
	must(t, err)
	equal(t, "psk_secret", got.bytes(), v.Secret)
}

func vectorSecretTree(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Encryption  hexBytes    `json:"encryption_secret"`
		SenderData  struct {
			Secret     hexBytes `json:"sender_data_secret"`
			Ciphertext hexBytes
			Key, Nonce hexBytes
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation       uint32
			ApplicationKey   hexBytes `json:"application_key"`
			ApplicationNonce hexBytes `json:"application_nonce"`
			HandshakeKey     hexBytes `json:"handshake_key"`
			HandshakeNonce   hexBytes `json:"handshake_nonce"`
		}
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	key, nonce := s.senderDataKey(newSecret(v.SenderData.Secret), v.SenderData.Ciphertext)
	equal(t, "sender data key", key, v.SenderData.Key)
	equal(t, "sender data nonce", nonce, v.SenderData.Nonce)
	// Once in order and once backwards, so that skipped keys are used too.
	for _, backwards := range []bool{false, true} {
		tree := newSecretTree(s, uint32(len(v.Leaves)), copySecret(v.Encryption))
		for leaf, generations := range v.Leaves {
			for k := range generations {
				if backwards {
					k = len(generations) - 1 - k
				}
				g := generations[k]
				for kind, want := range map[ratchetKind][2]hexBytes{
					applicationRatchet: {g.ApplicationKey, g.ApplicationNonce},
					handshakeRatchet:   {g.HandshakeKey, g.HandshakeNonce},
				} {
					var c change
					got, err := tree.take(ratchetID{LeafIndex(leaf), kind}, g.Generation, &c)
					must(t, err)
					equal(t, "key", got.key(s), want[0])
					equal(t, "nonce", got.nonce(s), want[1])
					tree.apply(&c)
					if _, err := tree.take(ratchetID{LeafIndex(leaf), kind}, g.Generation, &change{}); !errors.Is(err, ErrKeyUsed) {
						t.Errorf("used key: %v", err)
					}
				}
			}
		}
	}
}

func vectorMessageProtection(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		GroupID     hexBytes    `json:"group_id"`
		Epoch       uint64
		TreeHash    hexBytes `json:"tree_hash"`
		Transcript  hexBytes `json:"confirmed_transcript_hash"`
		SigPriv     hexBytes `json:"signature_priv"`
		SigPub      hexBytes `json:"signature_pub"`
		Encryption  hexBytes `json:"encryption_secret"`
		SenderData  hexBytes `json:"sender_data_secret"`
		Membership  hexBytes `json:"membership_key"`
		Proposal    hexBytes
		ProposalPub hexBytes `json:"proposal_pub"`
		ProposalPrv hexBytes `json:"proposal_priv"`
		Commit      hexBytes
		CommitPub   hexBytes `json:"commit_pub"`
		CommitPrv   hexBytes `json:"commit_priv"`
		App         hexBytes `json:"application"`
		AppPrv      hexBytes `json:"application_priv"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	key, err := ParseSignatureKey(s.id, padded(v.SigPriv, s.sig.seedSize()))
	must(t, err)
	equal(t, "signature key", key.PublicKey(), v.SigPub)
	ctx := &groupContext{suite: s, groupID: v.GroupID, epoch: v.Epoch, treeHash: v.TreeHash, confirmedTranscript: v.Transcript}
	// A group of two leaves, of which leaf 1 is the sender and leaf 0 the receiver.
	member := func(own LeafIndex) (*Epoch, *Ratchets) {
		tr := newTree(s)
		for i := range 2 {
			leaf := &LeafNode{EncryptionKey: []byte{byte(i)}, SignatureKey: v.SigPub, Credential: BasicCredential(nil), Source: LeafFromUpdate}
			leaf.raw = encode(leafFields(leaf))
			_, err := tr.add(leaf)
			must(t, err)
		}
		tr.freeze()
		e := &Epoch{ctx: ctx, context: ctx.bytes(), tree: tr, own: own}
		e.secrets.init = newSecret([]byte{1}) // anything: an Epoch without it counts as wiped
		e.secrets.senderData, e.secrets.membership = copySecret(v.SenderData), copySecret(v.Membership)
		return e, newRatchets(e, copySecret(v.Encryption))
	}
	open := func(message []byte) *authContent {
		t.Helper()
		e, r := member(0)
		a, err := e.openHandshake(message, r, &change{})
		must(t, err)
		return a
	}
	body := func(a *authContent) []byte { return encode(a.encodeBody) }
	sent := func(typ contentType, wire WireFormat, fill func(*authContent)) []byte {
		e, r := member(1)
		a := e.newContent(typ, wire, []byte("aad"))
		fill(a)
		must(t, e.sign(a, key))
		a.confirmationTag = []byte("tag")
		if wire == WirePublic {
			return a.publicMessage(s, e.secrets.membership, e.context)
		}
		out, err := r.sealContent(bytes.NewReader([]byte{1, 2, 3, 4}), a, 5, &change{})
		must(t, err)
		return out
	}
	pr := reader{b: v.Proposal}
	proposal := readProposal(&pr)
	must(t, pr.done("proposal"))
	cr := reader{b: v.Commit}
	theCommit := readCommit(&cr)
	must(t, cr.done("commit"))
	setProposal := func(a *authContent) { a.proposal = proposal }
	setCommit := func(a *authContent) { a.commit = theCommit }
	// The proposal's encoding in FramedContent has its type in front, as the vector's has.
	equal(t, "proposal_pub", body(open(v.ProposalPub)), v.Proposal)
	equal(t, "proposal_priv", body(open(v.ProposalPrv)), v.Proposal)
	equal(t, "commit_pub", body(open(v.CommitPub)), v.Commit)
	equal(t, "commit_priv", body(open(v.CommitPrv)), v.Commit)
	for _, wire := range []WireFormat{WirePublic, WirePrivate} {
		equal(t, "own proposal", body(open(sent(contentProposal, wire, setProposal))), v.Proposal)
		equal(t, "own commit", body(open(sent(contentCommit, wire, setCommit))), v.Commit)
	}
	_, r := member(0)
	opened, _, err := r.Open(v.AppPrv)
	must(t, err)
	equal(t, "application_priv", opened.Plaintext, v.App)
	_, other := member(1)
	message, _, err := other.Seal(bytes.NewReader([]byte{1, 2, 3, 4}), key, nil, v.App, 10)
	must(t, err)
	_, r = member(0)
	opened, _, err = r.Open(message)
	must(t, err)
	equal(t, "own application data", opened.Plaintext, v.App)
}

func vectorTranscript(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite  CipherSuite `json:"cipher_suite"`
		Confirmation hexBytes    `json:"confirmation_key"`
		Content      hexBytes    `json:"authenticated_content"`
		Before       hexBytes    `json:"interim_transcript_hash_before"`
		Confirmed    hexBytes    `json:"confirmed_transcript_hash_after"`
		After        hexBytes    `json:"interim_transcript_hash_after"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	r := reader{b: v.Content}
	wire := WireFormat(r.u16())
	a := readContent(&r, wire)
	a.readAuth(&r)
	must(t, r.done("AuthenticatedContent"))
	equal(t, "AuthenticatedContent", a.bytes(), v.Content)
	confirmed := s.confirmedTranscript(v.Before, a.signedInput())
	equal(t, "confirmed", confirmed, v.Confirmed)
	equal(t, "confirmation tag", s.mac(newSecret(v.Confirmation), confirmed), a.confirmationTag)
	equal(t, "interim", s.interimTranscript(confirmed, a.confirmationTag), v.After)
	if wire == WirePublic {
		message := mlsMessage(WirePublic, append(clone(v.Content[2:]), 0))
		got, err := NextInterimTranscriptHash(s.id, v.Before, message)
		must(t, err)
		equal(t, "NextInterimTranscriptHash", got, v.After)
	}
}

func vectorTreeOperations(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Proposal    hexBytes
		Sender      LeafIndex `json:"proposal_sender"`
		Before      hexBytes  `json:"tree_before"`
		HashBefore  hexBytes  `json:"tree_hash_before"`
		After       hexBytes  `json:"tree_after"`
		HashAfter   hexBytes  `json:"tree_hash_after"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	before, err := readRatchetTree(s, v.Before)
	must(t, err)
	equal(t, "tree_hash_before", before.freeze(), v.HashBefore)
	equal(t, "tree_before", before.encode(), v.Before)
	r := reader{b: v.Proposal}
	p := readProposal(&r)
	must(t, r.done("proposal"))
	after := before.edit()
	switch p := p.(type) {
	case Add:
		_, err := after.add(p.KeyPackage.Leaf)
		must(t, err)
	case Update:
		after.update(v.Sender, p.Leaf)
	case Remove:
		after.remove(p.Leaf)
	default:
		t.Fatalf("proposal type %d", p.Type())
	}
	equal(t, "tree_hash_after", after.freeze(), v.HashAfter)
	equal(t, "tree_after", after.encode(), v.After)
	equal(t, "the tree it came from", before.encode(), v.Before)
}

func vectorTreeValidation(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Tree        hexBytes
		GroupID     hexBytes      `json:"group_id"`
		TreeHashes  []hexBytes    `json:"tree_hashes"`
		Resolutions [][]nodeIndex `json:"resolutions"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	tr, err := readRatchetTree(s, v.Tree)
	must(t, err)
	tr.freeze()
	if len(v.TreeHashes) != int(tr.leaves)*2-1 {
		t.Fatalf("%d tree hashes, %d leaves", len(v.TreeHashes), tr.leaves)
	}
	for i := range v.TreeHashes {
		x := nodeIndex(i)
		equal(t, fmt.Sprintf("tree hash of node %d", x), tr.at(x).hash, v.TreeHashes[i])
		if got := tr.resolution(x); !slices.Equal(got, v.Resolutions[i]) {
			t.Errorf("resolution of node %d: %v, want %v", x, got, v.Resolutions[i])
		}
	}
	equal(t, "tree", tr.encode(), v.Tree)
	must(t, tr.checkStructure())
	must(t, tr.checkParentHashes())
	must(t, tr.checkUnique())
	for i, l := range (&Epoch{tree: tr}).Members() {
		must(t, l.verifySignature(s, v.GroupID, i))
	}
}

func vectorTreeKEM(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		GroupID     hexBytes    `json:"group_id"`
		Epoch       uint64
		Transcript  hexBytes `json:"confirmed_transcript_hash"`
		Tree        hexBytes `json:"ratchet_tree"`
		Private     []struct {
			Index       LeafIndex
			Encryption  hexBytes `json:"encryption_priv"`
			Signature   hexBytes `json:"signature_priv"`
			PathSecrets []struct {
				Node   nodeIndex
				Secret hexBytes `json:"path_secret"`
			} `json:"path_secrets"`
		} `json:"leaves_private"`
		Paths []struct {
			Sender       LeafIndex
			Path         hexBytes   `json:"update_path"`
			Secrets      []hexBytes `json:"path_secrets"`
			CommitSecret hexBytes   `json:"commit_secret"`
			TreeHash     hexBytes   `json:"tree_hash_after"`
		} `json:"update_paths"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	before, err := readRatchetTree(s, v.Tree)
	must(t, err)
	before.freeze()
	keys := map[LeafIndex]pathKeys{}
	signers := map[LeafIndex]*SignatureKey{}
	for _, p := range v.Private {
		k := pathKeys{p.Index.node(): newSecret(p.Encryption)}
		for _, ps := range p.PathSecrets {
			key, pub, err := s.nodeKey(newSecret(ps.Secret))
			must(t, err)
			equal(t, "key from path secret", before.at(ps.Node).publicKey(), pub)
			k[ps.Node] = key
		}
		keys[p.Index] = k
		signers[p.Index], err = ParseSignatureKey(s.id, padded(p.Signature, s.sig.seedSize()))
		must(t, err)
	}
	context := func(tr *tree) []byte {
		return (&groupContext{suite: s, groupID: v.GroupID, epoch: v.Epoch, treeHash: tr.freeze(), confirmedTranscript: v.Transcript}).bytes()
	}
	for _, p := range v.Paths {
		r := reader{b: p.Path}
		path := readUpdatePath(&r)
		must(t, r.done("UpdatePath"))
		after := before.edit()
		must(t, path.leaf.verifySignature(s, v.GroupID, p.Sender))
		steps, err := after.mergePath(p.Sender, path)
		must(t, err)
		equal(t, "tree_hash_after", after.freeze(), p.TreeHash)
		must(t, after.checkParentHashes())
		for own, k := range keys {
			if own == p.Sender {
				continue
			}
			mine := k.kept(before, before)
			last, err := after.openPath(own, mine, steps, path, nil, context(after))
			must(t, err)
			equal(t, "commit_secret", last.bytes(), p.CommitSecret)
			step := steps[slices.IndexFunc(steps, func(s pathStep) bool { return s.copath.covers(own) })]
			want, _, err := s.nodeKey(newSecret(clone(p.Secrets[own])))
			must(t, err)
			equal(t, "path secret", mine[step.x].bytes(), want.bytes())
		}
		// The other direction: a path of our own from the same sender.
		made := before.edit()
		leaf := *before.leaf(p.Sender)
		rand := newStream("treekem vector")
		own, err := made.generatePath(rand, p.Sender, leaf, signers[p.Sender], v.GroupID)
		must(t, err)
		sealed, err := made.sealPath(rand, own, nil, context(made))
		must(t, err)
		wire := encode(sealed.encode)
		r = reader{b: wire}
		sealed = readUpdatePath(&r)
		must(t, r.done("own UpdatePath"))
		merged := before.edit()
		steps, err = merged.mergePath(p.Sender, sealed)
		must(t, err)
		equal(t, "own path's tree hash", merged.freeze(), made.freeze())
		must(t, merged.checkParentHashes())
		for member, k := range keys {
			if member == p.Sender {
				continue
			}
			last, err := merged.openPath(member, k.kept(before, before), steps, sealed, nil, context(made))
			must(t, err)
			equal(t, "own path's commit_secret", last.bytes(), own.last.bytes())
		}
	}
}

func vectorWelcome(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		InitPriv    hexBytes    `json:"init_priv"`
		KeyPackage  hexBytes    `json:"key_package"`
		SignerPub   hexBytes    `json:"signer_pub"`
		Welcome     hexBytes
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	kr, err := openMessageAs(v.KeyPackage, wireKeyPackage)
	must(t, err)
	kp := readKeyPackage(kr) // not ParseKeyPackage: suite 7's leaf does not list its own suite
	must(t, kr.done("KeyPackage"))
	r, err := openMessageAs(v.Welcome, wireWelcome)
	must(t, err)
	m := readWelcome(r)
	must(t, r.done("Welcome"))
	at := slices.IndexFunc(m.secrets, func(x encryptedSecrets) bool { return bytes.Equal(x.to, kp.Ref()) })
	if at < 0 {
		t.Fatal("KeyPackageRef is not in the Welcome")
	}
	plain, err := s.decryptWithLabel(newSecret(v.InitPriv), kp.InitKey, "Welcome", m.groupInfo, m.secrets[at].sealed)
	must(t, err)
	pr := reader{b: plain}
	secrets := readGroupSecrets(&pr)
	must(t, pr.done("GroupSecrets"))
	equal(t, "GroupSecrets", encode(secrets.encode), plain)
	psk, err := s.pskSecret(nil, nil)
	must(t, err)
	member := s.memberSecret(newSecret(secrets.joiner), psk)
	key, nonce := s.welcomeKey(s.welcomeSecret(member))
	info, err := s.openKeyed(key, nonce, nil, m.groupInfo)
	must(t, err)
	ir := reader{b: info}
	gi := readGroupInfo(&ir)
	must(t, ir.done("GroupInfo"))
	if !s.verifyWithLabel(v.SignerPub, "GroupInfoTBS", gi.tbs, gi.signature) {
		t.Error("signature of GroupInfo")
	}
	epoch, _ := s.epochSecrets(member, gi.ctx.bytes())
	equal(t, "confirmation tag", s.mac(epoch.confirmation, gi.ctx.confirmedTranscript), gi.confirmationTag)
}

// padded brings a P-521 scalar to its size: the vectors leave out leading zeros.
func padded(b []byte, size int) []byte {
	return append(make([]byte, max(0, size-len(b))), b...)
}

func vectorPassiveClient(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID  hexBytes `json:"psk_id"`
			PSK hexBytes `json:"psk"`
		} `json:"external_psks"`
		KeyPackage    hexBytes `json:"key_package"`
		Signature     hexBytes `json:"signature_priv"`
		Encryption    hexBytes `json:"encryption_priv"`
		Init          hexBytes `json:"init_priv"`
		Welcome       hexBytes
		Tree          *hexBytes `json:"ratchet_tree"`
		Authenticator hexBytes  `json:"initial_epoch_authenticator"`
		Epochs        []struct {
			Proposals     []hexBytes
			Commit        hexBytes
			Authenticator hexBytes `json:"epoch_authenticator"`
		}
	}](t, raw)
	kp, err := ParseKeyPackage(v.KeyPackage)
	must(t, err)
	s := suiteOf(t, v.CipherSuite)
	signer, err := ParseSignatureKey(s.id, padded(v.Signature, s.sig.seedSize()))
	must(t, err)
	equal(t, "signature key", signer.PublicKey(), kp.Leaf.SignatureKey)
	resumption := map[uint64][]byte{}
	psks := func(id PreSharedKeyID) ([]byte, bool) {
		if id.Type == PSKResumption {
			psk, ok := resumption[id.Epoch]
			return psk, ok
		}
		for _, p := range v.PSKs {
			if id.Type == PSKExternal && bytes.Equal(p.ID, id.ID) {
				return p.PSK, true
			}
		}
		return nil, false
	}
	cfg := JoinConfig{
		KeyPackage: kp, PSKs: psks, Validator: AcceptAnyCredential,
		Secrets: &KeyPackageSecrets{
			suite:   s.id,
			initKey: newSecret(padded(v.Init, s.kem.privateSize())),
			leafKey: newSecret(padded(v.Encryption, s.kem.privateSize())),
		},
	}
	if v.Tree != nil {
		cfg.RatchetTree = *v.Tree
	}
	joined, err := Join(v.Welcome, cfg)
	must(t, err)
	e, r := joined.Epoch, joined.Ratchets
	equal(t, "initial epoch_authenticator", e.EpochAuthenticator(), v.Authenticator)
	for _, step := range v.Epochs {
		resumption[e.Number()] = e.ResumptionPSK()
		var references [][]byte
		for _, p := range step.Proposals {
			references = append(references, p)
		}
		p, err := e.Process(step.Commit, ProcessConfig{References: references, Ratchets: r, PSKs: psks, Validator: AcceptAnyCredential})
		must(t, err)
		e, r = p.Epoch, p.Ratchets
		equal(t, "epoch_authenticator", e.EpochAuthenticator(), step.Authenticator)
		again, err := ParseEpoch(e.MarshalSecret())
		must(t, err)
		equal(t, "snapshot", again.MarshalSecret(), e.MarshalSecret())
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", e, r), hex.EncodeToString(e.secrets.init.bytes())) {
		t.Error("secret in print")
	}
}
