package mls

// groupContext is GroupContext of RFC 9420, Section 8.1.
type groupContext struct {
	suite               *suite
	groupID             []byte
	epoch               uint64
	treeHash            []byte
	confirmedTranscript []byte
	extensions          []Extension
}

func (c *groupContext) encode(w *writer) {
	w.u16(uint16(MLS10))
	w.u16(uint16(c.suite.id))
	w.vec(c.groupID)
	w.u64(c.epoch)
	w.vec(c.treeHash)
	w.vec(c.confirmedTranscript)
	encodeExtensions(w, c.extensions)
}

func (c *groupContext) bytes() []byte { return encode(c.encode) }

func readGroupContext(r *reader) *groupContext {
	version, id := r.u16(), CipherSuite(r.u16())
	c := &groupContext{groupID: r.vec(), epoch: r.u64(), treeHash: r.vec(), confirmedTranscript: r.vec()}
	c.extensions = readExtensions(r)
	if r.err != nil {
		return c
	}
	var err error
	if c.suite, err = id.lookup(); err != nil {
		r.err, r.b = err, nil
	} else if version != uint16(MLS10) {
		r.fail("protocol version %d", version)
	}
	return c
}

// epochSecrets are the secrets of RFC 9420, Section 8, Table 4, less the
// encryption secret, which goes to the Ratchets and lives only there.
type epochSecrets struct {
	senderData    secret
	exporter      secret
	external      secret
	confirmation  secret
	membership    secret
	resumption    secret
	authenticator secret
	init          secret
}

func (e *epochSecrets) each() []*secret {
	return []*secret{
		&e.senderData, &e.exporter, &e.external, &e.confirmation,
		&e.membership, &e.resumption, &e.authenticator, &e.init,
	}
}

// heavy gives those that a ThinEpoch does without.
func (e *epochSecrets) heavy() []*secret {
	return []*secret{&e.senderData, &e.exporter, &e.confirmation, &e.authenticator}
}

// joinerSecret is the first half of RFC 9420, Figure 22: from the last epoch's
// init_secret to joiner_secret.
func (s *suite) joinerSecret(init, commitSecret secret, context []byte) secret {
	pre := s.extract(init.bytes(), commitSecret.bytes())
	defer pre.wipe()
	return newSecret(s.expandWithLabel(pre.bytes(), "joiner", context, s.nh))
}

// memberSecret is joiner_secret with the PSKs mixed in; welcome_secret and
// epoch_secret come from it.
func (s *suite) memberSecret(joiner, psk secret) secret {
	return s.extract(joiner.bytes(), psk.bytes())
}

func (s *suite) welcomeSecret(member secret) secret { return s.deriveSecret(member, "welcome") }

// welcomeKey gives key and nonce of encrypted_group_info, RFC 9420, Section 12.4.3.1.
func (s *suite) welcomeKey(welcome secret) (key, nonce []byte) {
	return s.keyAndNonce(welcome.bytes(), nil)
}

// epochSecrets derives an epoch's secrets and its encryption_secret from memberSecret.
func (s *suite) epochSecrets(member secret, context []byte) (epochSecrets, secret) {
	epoch := newSecret(s.expandWithLabel(member.bytes(), "epoch", context, s.nh))
	defer epoch.wipe()
	return s.expandEpoch(epoch)
}

// expandEpoch derives what hangs from epoch_secret: RFC 9420, Table 4.
func (s *suite) expandEpoch(epoch secret) (epochSecrets, secret) {
	return epochSecrets{
		senderData:    s.deriveSecret(epoch, "sender data"),
		exporter:      s.deriveSecret(epoch, "exporter"),
		external:      s.deriveSecret(epoch, "external"),
		confirmation:  s.deriveSecret(epoch, "confirm"),
		membership:    s.deriveSecret(epoch, "membership"),
		resumption:    s.deriveSecret(epoch, "resumption"),
		authenticator: s.deriveSecret(epoch, "authentication"),
		init:          s.deriveSecret(epoch, "init"),
	}, s.deriveSecret(epoch, "encryption")
}

// export is MLS-Exporter of RFC 9420, Section 8.5.
func (s *suite) export(exporter secret, label string, context []byte, length int) []byte {
	derived := s.deriveSecret(exporter, label)
	defer derived.wipe()
	return s.expandWithLabel(derived.bytes(), "exported", s.hash.sum(context), length)
}

// Transcript hashes, RFC 9420, Section 8.2. signed is the encoding of
// ConfirmedTranscriptHashInput: wire format, content and signature as they arrived.

func (s *suite) confirmedTranscript(interim, signed []byte) []byte {
	return s.hash.sum2(interim, signed)
}

func (s *suite) interimTranscript(confirmed, confirmationTag []byte) []byte {
	return s.hash.sum2(confirmed, encode(func(w *writer) { w.vec(confirmationTag) }))
}
