package mls

import (
	"bytes"
	"slices"
)

var matrixEncryption = []matrixCase{
	{"8.1", "encryption", "6.3", "a message opens to what was sent, for every member", func(m *matrix) {
		talk(m, m.alice, m.bob, m.carol)
		m.checks++
	}},
	{"8.2", "encryption", "6.3.2", "flipped bits in every field of a PrivateMessage", func(m *matrix) {
		m.flips(m.alice.seal("x"), m.bob.snapshot, func(b []byte) error { return m.open(m.bob, b)() })
	}},
	{"8.3", "encryption", "6.3.2", "flipped bits in every field of a private commit", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Wire: WirePrivate, Ratchets: m.alice.r})
		m.flips(out.Commit, m.bob.snapshot, func(b []byte) error { return m.process(m.bob, b)() })
	}},
	{"8.4", "encryption", "6.3.1", "padding that is not zero", func(m *matrix) {
		m.refuses(m.bob, ErrMalformed, m.open(m.bob, m.private(nil, func(plain []byte) []byte { return append(plain, 0, 7, 0) })))
		m.is(m.open(m.bob, m.private(nil, func(plain []byte) []byte { return append(plain, 0, 0) }))(), nil)
	}},
	{"8.5", "encryption", "6.3.2", "a sender that is blank, or no leaf", func(m *matrix) {
		for _, i := range []LeafIndex{3, 4, 1 << 31, 1<<32 - 1} {
			m.refuses(m.bob, ErrInvalid, m.open(m.bob, m.private(func(sd *senderData) { sd.leaf = i }, nil)))
		}
	}},
	{"8.6", "encryption", "6.3.2", "a sender that is another member", func(m *matrix) {
		m.refuses(m.bob, ErrDecrypt, m.open(m.bob, m.private(func(sd *senderData) { sd.leaf = 2 }, nil)))
		m.refuses(m.bob, ErrOwnMessage, m.open(m.bob, m.private(func(sd *senderData) { sd.leaf = 1 }, nil)))
	}},
	{"8.7", "encryption", "9.1", "a generation too far ahead", func(m *matrix) {
		for _, g := range []uint32{MaxForward + 2, 1 << 31, 1<<32 - 1} {
			m.refuses(m.bob, ErrTooFarAhead, m.open(m.bob, m.private(func(sd *senderData) { sd.generation = g }, nil)))
		}
	}},
	{"8.8", "encryption", "9.2", "the keys of handshake and application messages are apart", func(m *matrix) {
		sealed := m.alice.seal("x") // generation 0 of the one ratchet
		out := m.alice.commit(CommitConfig{Wire: WirePrivate, Ratchets: m.alice.r})
		m.is(m.process(m.bob, out.Commit)(), nil)
		m.is(m.open(m.bob, sealed)(), nil)
	}},
}

// private gives alice's first application message with the sender data or the
// plaintext of the content changed, sealed under the keys that belong to it.
func (m *matrix) private(data func(sd *senderData), content func(plain []byte) []byte) []byte {
	e, s := m.alice.e, m.alice.e.suite()
	a := e.newContent(contentApplication, WirePrivate, []byte("aad"))
	a.application = []byte("x")
	must(m, a.sign(s, m.alice.signer, e.context))
	var c change // never applied: every call seals generation 0
	key, err := m.alice.r.tree.take(ratchetID{0, applicationRatchet}, 0, &c)
	must(m, err)
	var w writer
	a.encodeBody(&w)
	a.encodeAuth(&w)
	plain := w.b
	if content != nil {
		plain = content(plain)
	}
	sd := senderData{leaf: 0}
	message := &privateMessage{groupID: a.groupID, epoch: a.epoch, typ: a.typ, authData: a.authData}
	senderAAD := encode(func(w *writer) { w.vec(message.groupID); w.u64(message.epoch); w.u8(uint8(message.typ)) })
	contentAAD := appendVec(slices.Clip(senderAAD), message.authData)
	message.ciphertext, err = s.sealKeyed(key.key(s), guarded(key.nonce(s), sd.guard), contentAAD, plain)
	must(m, err)
	if data != nil {
		data(&sd)
	}
	k, n := s.senderDataKey(e.secrets.senderData, message.ciphertext)
	message.senderData, err = s.sealKeyed(k, n, senderAAD, encode(func(w *writer) {
		w.u32(uint32(sd.leaf))
		w.u32(sd.generation)
		w.raw(sd.guard[:])
	}))
	must(m, err)
	return mlsMessage(WirePrivate, encode(message.encode))
}

var matrixAuthentication = []matrixCase{
	{"9.1", "authentication", "6.1, 12.4.2", "a commit signed with another member's key", func(m *matrix) {
		m.refuses(m.alice, ErrUsage, m.commit(m.alice, CommitConfig{Signer: m.bob.signer}))
		out := m.alice.commit(CommitConfig{})
		r, err := openMessageAs(out.Commit, WirePublic)
		must(m, err)
		a := readPublicMessage(r).authContent
		tag := a.confirmationTag
		must(m, a.sign(m.alice.e.suite(), m.bob.signer, m.alice.e.context))
		a.confirmationTag = tag
		m.refuses(m.carol, ErrInvalid, m.process(m.carol, a.publicMessage(m.alice.e.suite(), m.alice.e.secrets.membership, m.alice.e.context)), "signature of message")
	}},
	{"9.2", "authentication", "6.2, 12.4.2", "a membership tag that is wrong or gone", func(m *matrix) {
		b := m.alice.commit(CommitConfig{}).Commit
		wrong := clone(b)
		wrong[len(b)-1] ^= 1
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, wrong), "membership tag")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, append(clone(b[:len(b)-33]), 0)), "membership tag")
		m.refuses(m.bob, ErrMalformed, m.process(m.bob, b[:len(b)-33]))
	}},
	{"9.3", "authentication", "8.1, 12.4.2", "a confirmation tag that is wrong, short or empty", func(m *matrix) {
		for _, tag := range [][]byte{make([]byte, 32), make([]byte, 31), {}} {
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) { a.confirmationTag = tag })), "confirmation tag")
		}
	}},
	{"9.4", "authentication", "6", "a sender that is blank, beyond the tree, or another member", func(m *matrix) {
		for _, i := range []uint32{2, 3, 4, 1 << 31, 1<<32 - 1} {
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) { a.sender.index = i })))
		}
	}},
	{"9.5", "authentication", "6, 12.4.3.2", "a sender type that does not fit the content", func(m *matrix) {
		for _, s := range []sender{{senderExternal, 0}, {senderNewMemberProposal, 0}, {senderNewMemberCommit, 0}} {
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) { a.sender = s })))
		}
		m.refuses(m.bob, ErrInvalid, m.commit(m.bob, CommitConfig{References: [][]byte{m.framed(m.alice, func(a *authContent) {
			a.sender = sender{senderNewMemberProposal, 0}
		})}}))
		m.refuses(m.bob, ErrMalformed, m.process(m.bob, m.framed(m.alice, func(a *authContent) { a.sender.typ = 9 })))
	}},
	{"9.6", "authentication", "12.1.8.1", "an external sender whom the group does not name", func(m *matrix) {
		m.refuses(m.bob, ErrInvalid, m.commit(m.bob, CommitConfig{References: [][]byte{m.framed(m.dave2(), func(a *authContent) {
			a.sender = sender{senderExternal, 0}
		})}}))
	}},
	{"9.7", "authentication", "6.1", "a message signed for another group or epoch", func(m *matrix) {
		for _, change := range []func(ctx *groupContext){
			func(ctx *groupContext) { ctx.groupID = []byte("duo") }, func(ctx *groupContext) { ctx.epoch++ },
			func(ctx *groupContext) { ctx.treeHash = nonce() }, func(ctx *groupContext) { ctx.confirmedTranscript = nonce() },
		} {
			ctx := *m.alice.e.ctx
			change(&ctx)
			a := m.alice.e.newContent(contentProposal, WirePublic, nil)
			a.proposal = Remove{2}
			must(m, a.sign(m.alice.e.suite(), m.alice.signer, ctx.bytes()))
			b := a.publicMessage(m.alice.e.suite(), m.alice.e.secrets.membership, m.alice.e.context)
			m.refuses(m.bob, ErrInvalid, m.commit(m.bob, CommitConfig{References: [][]byte{b}}), "signature of message")
		}
	}},
	{"9.8", "authentication", "6", "flipped bits in every field of a public commit", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}, Remove{2}}})
		m.flips(out.Commit, m.bob.snapshot, func(b []byte) error { return m.process(m.bob, b)() })
	}},
	{"9.9", "authentication", "6", "flipped bits in every field of a proposal", func(m *matrix) {
		b := m.updated(nil, 1)
		m.flips(b, m.alice.snapshot, func(b []byte) error { return m.commit(m.alice, CommitConfig{References: [][]byte{b}})() })
	}},
	{"9.10", "authentication", "10", "flipped bits in every field of a KeyPackage", func(m *matrix) {
		m.flips(m.dave.kp.Message(), m.alice.snapshot, func(b []byte) error { _, err := ParseKeyPackage(b); return err })
	}},
	{"9.11", "authentication", "12.4.3", "flipped bits in every field of a GroupInfo", func(m *matrix) {
		m.flips(m.info(nil), m.dave.snapshot, func(b []byte) error { return m.enter(m.dave, b)() })
	}},
	{"9.12", "authentication", "12.4.3.1", "a GroupInfo signed by one who is not the signer it names", func(m *matrix) {
		for _, i := range []LeafIndex{1, 3, 4, 1<<32 - 1} {
			m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.info(func(g *groupInfo) { g.signer = i })))
		}
	}},
}

// dave2 is dave as if he were where alice is.
func (m *matrix) dave2() *client {
	c := *m.alice
	c.signer = m.dave.signer
	return &c
}

var matrixApplication = []matrixCase{
	{"10.1", "application messages", "9.1", "a message is replayed", func(m *matrix) {
		sealed := m.alice.seal("x")
		m.bob.opens(sealed, m.alice, "x")
		m.refuses(m.bob, ErrKeyUsed, m.open(m.bob, sealed))
	}},
	{"10.2", "application messages", "9.1", "messages out of order, each once", func(m *matrix) {
		one, two, three := m.alice.seal("1"), m.alice.seal("2"), m.alice.seal("3")
		m.bob.opens(three, m.alice, "3")
		m.bob.opens(one, m.alice, "1")
		m.bob.opens(two, m.alice, "2")
		for _, b := range [][]byte{one, two, three} {
			m.refuses(m.bob, ErrKeyUsed, m.open(m.bob, b))
		}
	}},
	{"10.3", "application messages", "6.3", "a message that comes back to its sender", func(m *matrix) {
		m.refuses(m.alice, ErrOwnMessage, m.open(m.alice, m.alice.seal("x")))
	}},
	{"10.4", "application messages", "6.3", "a message of an earlier or later epoch", func(m *matrix) {
		earlier := m.alice.seal("x")
		out := m.alice.commit(CommitConfig{})
		old := m.carol.r
		m.alice.move(out)
		later := m.alice.seal("y")
		m.refuses(m.bob, ErrWrongEpoch, m.open(m.bob, later))
		m.bob.process(out.Commit)
		m.refuses(m.bob, ErrWrongEpoch, m.open(m.bob, earlier))
		m.carol.process(out.Commit)
		m.carol.r = old // the ratchets of the earlier epoch still open it
		m.is(m.open(m.carol, earlier)(), nil)
	}},
	{"10.5", "application messages", "6.3", "a message of another group", func(m *matrix) {
		m.dave.create("another")
		m.refuses(m.bob, ErrWrongGroup, m.open(m.bob, m.dave.seal("x")))
	}},
	{"10.6", "application messages", "6.2", "application data in a PublicMessage", func(m *matrix) {
		b := m.framed(m.alice, func(a *authContent) { a.typ, a.application, a.proposal = contentApplication, []byte("x"), nil })
		m.refuses(m.bob, ErrMalformed, m.process(m.bob, b))
	}},
	{"10.7", "application messages", "6.3", "authenticated data is seen, and bound to the message", func(m *matrix) {
		sealed := m.alice.seal("x")
		at := bytes.Index(sealed, []byte("aad"))
		b := clone(sealed)
		b[at] = 'b'
		m.refuses(m.bob, ErrDecrypt, m.open(m.bob, b))
		m.bob.opens(sealed, m.alice, "x")
	}},
	{"10.8", "application messages", "6.3.1", "an empty message, and a long one with padding", func(m *matrix) {
		for _, text := range []string{"", string(make([]byte, 1<<16))} {
			sealed, _, err := m.alice.r.Seal(m.alice.rand, m.alice.signer, []byte("aad"), []byte(text), 1000)
			must(m, err)
			m.ok("padding", len(sealed) > len(text)+1000)
			m.bob.opens(sealed, m.alice, text)
		}
	}},
	{"10.9", "application messages", "6.1", "a message signed with another member's key", func(m *matrix) {
		m.refuses(m.alice, ErrUsage, func() error {
			_, _, err := m.alice.r.Seal(m.alice.rand, m.bob.signer, nil, []byte("x"), 0)
			return err
		})
		forger := *m.alice
		forger.signer = m.carol.signer
		forged := *m
		forged.alice = &forger
		m.refuses(m.bob, ErrInvalid, m.open(m.bob, forged.private(nil, nil)))
	}},
}
