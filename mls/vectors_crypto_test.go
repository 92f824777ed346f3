package mls

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

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
