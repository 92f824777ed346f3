package mls

import (
	"bytes"
	"errors"
)

var matrixCommitting = []matrixCase{
	{"5.1", "committing", "12.4", "an empty commit has a path and fresh keys", func(m *matrix) {
		out := m.alice.commit(CommitConfig{})
		info, err := InspectCommit(out.Commit)
		must(m, err)
		m.ok("path", info.PathLeaf != nil && !bytes.Equal(info.PathLeaf.EncryptionKey, m.alice.e.tree.leaf(0).EncryptionKey))
	}},
	{"5.2", "committing", "12.4", "a commit that needs a path and lacks it", func(m *matrix) {
		for _, p := range []Proposal{Remove{2}, GroupContextExtensions{}} {
			m.refuses(m.alice, ErrUsage, m.commit(m.alice, CommitConfig{NoPath: true, Proposals: []Proposal{p}}))
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{Proposals: []Proposal{p}}, func(a *authContent) { a.commit.path = nil })), "no path")
		}
		m.refuses(m.alice, ErrUsage, m.commit(m.alice, CommitConfig{NoPath: true}))
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) { a.commit.path = nil })), "no path")
	}},
	{"5.3", "committing", "12.4", "Adds and PSKs do without a path", func(m *matrix) {
		out := m.alice.commit(CommitConfig{NoPath: true, Proposals: []Proposal{Add{m.dave.kp}}})
		m.bob.process(out.Commit)
		m.alice.move(out)
		m.dave.join(out)
		agree(m, m.alice, m.bob, m.dave)
		m.checks++
	}},
	{"5.4", "committing", "12.4.2", "a commit is replayed", func(m *matrix) {
		out := m.alice.commit(CommitConfig{})
		m.bob.process(out.Commit)
		m.refuses(m.bob, ErrWrongEpoch, m.process(m.bob, out.Commit))
	}},
	{"5.5", "committing", "12.4.2", "a commit of an epoch that has not come", func(m *matrix) {
		m.alice.move(m.alice.commit(CommitConfig{}))
		m.refuses(m.bob, ErrWrongEpoch, m.process(m.bob, m.alice.commit(CommitConfig{}).Commit))
	}},
	{"5.6", "committing", "12.4.2", "a commit of another group", func(m *matrix) {
		m.dave.create("another")
		m.refuses(m.bob, ErrWrongGroup, m.process(m.bob, m.dave.commit(CommitConfig{}).Commit))
	}},
	{"5.7", "committing", "12.4", "a commit that comes back to its committer", func(m *matrix) {
		m.refuses(m.alice, ErrOwnMessage, m.process(m.alice, m.alice.commit(CommitConfig{}).Commit))
	}},
	{"5.8", "committing", "12.4.2", "a proposal by reference that was never seen", func(m *matrix) {
		remove, err := m.carol.e.ProposeRemove(m.carol.signer, 2, nil)
		must(m, err)
		out := m.alice.commit(CommitConfig{References: [][]byte{remove}})
		m.refuses(m.bob, ErrMissingProposal, m.process(m.bob, out.Commit))
		m.is(m.process(m.bob, out.Commit, remove)(), nil)
	}},
	{"5.9", "committing", "12.4.2", "one proposal is referred to twice", func(m *matrix) {
		add, err := m.carol.e.ProposeAdd(testNow, m.carol.signer, m.dave.kp, nil)
		must(m, err)
		twice := m.forged(CommitConfig{References: [][]byte{add}}, func(a *authContent) {
			a.commit.proposals = append(a.commit.proposals, a.commit.proposals[0])
		})
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, twice, add), "twice")
	}},
	{"5.10", "committing", "12.2", "two GroupContextExtensions in one commit", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, GroupContextExtensions{}, GroupContextExtensions{}), "twice")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(GroupContextExtensions{}, GroupContextExtensions{})), "twice")
	}},
	{"5.11", "committing", "12.2", "one PSK twice, a nonce of the wrong length, a PSK that is missing", func(m *matrix) {
		short := PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("a"), Nonce: []byte{1}}}
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(externalPSK("a"), externalPSK("a"))), "twice")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(short)), "nonce")
		m.refuses(m.alice, ErrMissingPSK, m.propose(m.alice, externalPSK("a")))
		keys := func(PreSharedKeyID) ([]byte, bool) { return []byte("key"), true }
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{externalPSK("a")}, PSKs: keys})
		m.refuses(m.bob, ErrMissingPSK, m.process(m.bob, out.Commit))
	}},
	{"5.12", "committing", "12.2", "ExternalInit in a member's commit", func(m *matrix) {
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, ExternalInit{nonce()}), "member's commit")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(ExternalInit{nonce()})), "member's commit")
	}},
	{"5.13", "committing", "12.2", "an external commit with Adds, Updates, two Removes or no ExternalInit", func(m *matrix) {
		external := func(change func(c *commit)) []byte {
			out, err := JoinExternal(m.dave.rand, m.info(nil), ExternalConfig{
				Signer: m.dave.signer, Credential: BasicCredential([]byte("dave")), Validator: AcceptAnyCredential,
			})
			must(m, err)
			r, err := openMessageAs(out.Commit, WirePublic)
			must(m, err)
			a := readPublicMessage(r).authContent
			change(a.commit)
			tag := a.confirmationTag
			must(m, a.sign(m.alice.e.suite(), m.dave.signer, m.alice.e.context))
			a.confirmationTag = tag
			return a.publicMessage(m.alice.e.suite(), secret{}, m.alice.e.context)
		}
		with := func(list ...Proposal) func(c *commit) {
			return func(c *commit) {
				for _, p := range list {
					c.proposals = append(c.proposals, proposalOrRef{value: p})
				}
			}
		}
		m.is(m.process(m.bob, external(func(*commit) {}))(), nil)
		for _, c := range []struct {
			why    string
			change func(c *commit)
		}{
			{"Add in", with(Add{m.dave.kp})},
			{"Update in", with(Update{m.bob.e.tree.leaf(1)})},
			{"two Removes", with(Remove{1}, Remove{2})},
			{"ExternalInit twice", with(ExternalInit{nonce()})},
			{"GroupContextExtensions", with(GroupContextExtensions{})},
			{"without ExternalInit", func(c *commit) { c.proposals = nil }},
			{"without a commit and path", func(c *commit) { c.path = nil }},
		} {
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, external(c.change)), c.why)
		}
	}},
	{"5.14", "committing", "12.1.7", "GroupContext extensions that a member does not support", func(m *matrix) {
		x := GroupContextExtensions{[]Extension{{Type: 0xff77}}}
		m.refuses(m.alice, ErrInvalid, m.propose(m.alice, x), "extension 65399")
		m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.listed(x)), "extension 65399")
	}},
	{"5.15", "committing", "12.4.3.2", "an external commit with a proposal by reference", func(m *matrix) {
		add, err := m.carol.e.ProposeAdd(testNow, m.carol.signer, m.dave.kp, nil)
		must(m, err)
		psk := m.suggested(m.carol, externalPSK("a"))
		for _, p := range [][]byte{add, psk} {
			r, err := openMessageAs(p, WirePublic)
			must(m, err)
			ref := m.alice.e.suite().proposalRef(readPublicMessage(r).authContent.bytes())
			out, err := JoinExternal(m.dave.rand, m.info(nil), ExternalConfig{
				Signer: m.dave.signer, Credential: BasicCredential([]byte("dave")), Validator: AcceptAnyCredential,
			})
			must(m, err)
			in, err := openMessageAs(out.Commit, WirePublic)
			must(m, err)
			a := readPublicMessage(in).authContent
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{ref: ref})
			tag := a.confirmationTag
			must(m, a.sign(m.alice.e.suite(), m.dave.signer, m.alice.e.context))
			a.confirmationTag = tag
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, a.publicMessage(m.alice.e.suite(), secret{}, m.alice.e.context), p), "by reference")
		}
	}},
	{"5.16", "committing", "12.4.2", "a path of another shape than the tree", func(m *matrix) {
		for _, c := range []struct {
			why    string
			change func(p *updatePath)
		}{
			{"path of 1 nodes", func(p *updatePath) { p.nodes = p.nodes[:1] }},
			{"path of 3 nodes", func(p *updatePath) { p.nodes = append(p.nodes, p.nodes[0]) }},
			{"2 path secrets", func(p *updatePath) { p.nodes[0].sealed = append(p.nodes[0].sealed, p.nodes[0].sealed[0]) }},
			{"0 path secrets", func(p *updatePath) { p.nodes[0].sealed = nil }},
			{"HPKE public key of 31 bytes", func(p *updatePath) { p.nodes[0].encryptionKey = p.nodes[0].encryptionKey[1:] }},
			{"parent hash", func(p *updatePath) { p.nodes[1].encryptionKey = p.nodes[0].encryptionKey }},
			{"did not change", func(p *updatePath) { p.leaf = m.alice.e.tree.leaf(0) }},
		} {
			m.refuses(m.bob, ErrInvalid, m.process(m.bob, m.forged(CommitConfig{}, func(a *authContent) { c.change(a.commit.path) })), c.why)
		}
	}},
}

var matrixWelcome = []matrixCase{
	{"6.1", "welcome", "12.4.3.1", "a joiner is in the committer's epoch", func(m *matrix) {
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}}, InlineTree: true})
		m.alice.move(out)
		out.RatchetTree = nil
		m.dave.join(out)
		agree(m, m.alice, m.dave)
		talk(m, m.alice, m.dave)
		m.checks++
	}},
	{"6.2", "welcome", "12.4.3.1", "a Welcome for somebody else", func(m *matrix) {
		erin := newClient(m, 1, "erin")
		out := m.added()
		m.refuses(erin, ErrNotForUs, m.join(erin, out.Welcome, out.RatchetTree))
	}},
	{"6.3", "welcome", "12.4.3.1", "a Welcome for an earlier KeyPackage of the same client", func(m *matrix) {
		out := m.added()
		m.dave.fresh()
		m.refuses(m.dave, ErrNotForUs, m.join(m.dave, out.Welcome, out.RatchetTree))
	}},
	{"6.4", "welcome", "12.4.3.1", "the private keys are another KeyPackage's", func(m *matrix) {
		out := m.added()
		kp := m.dave.kp
		m.dave.fresh()
		m.dave.kp = kp
		m.refuses(m.dave, ErrUsage, m.join(m.dave, out.Welcome, out.RatchetTree))
	}},
	{"6.5", "welcome", "12.4.3.3", "no ratchet tree in the Welcome or beside it", func(m *matrix) {
		m.refuses(m.dave, ErrMissingTree, m.join(m.dave, m.added().Welcome, nil))
	}},
	{"6.6", "welcome", "12.4.3.1", "the ratchet tree of another epoch", func(m *matrix) {
		m.refuses(m.dave, ErrInvalid, m.join(m.dave, m.added().Welcome, m.alice.e.RatchetTree()), "tree hash")
	}},
	{"6.7", "welcome", "12.4.3.1", "a Welcome is replayed in a later epoch: it still leads to its own", func(m *matrix) {
		out := m.added()
		m.alice.move(out)
		later := m.alice.commit(CommitConfig{})
		j, err := Join(out.Welcome, JoinConfig{KeyPackage: m.dave.kp, Secrets: m.dave.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential})
		must(m, err)
		m.ok("epoch", j.Epoch.Number() == out.Epoch.Number() && !bytes.Equal(j.Epoch.EpochAuthenticator(), later.Epoch.EpochAuthenticator()))
		again, err := Join(out.Welcome, JoinConfig{KeyPackage: m.dave.kp, Secrets: m.dave.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential})
		must(m, err)
		m.ok("the same state twice", bytes.Equal(again.Epoch.MarshalSecret(), j.Epoch.MarshalSecret()))
		m.dave.secrets.Wipe()
		m.refuses(m.dave, ErrUsage, m.join(m.dave, out.Welcome, out.RatchetTree))
	}},
	{"6.8", "welcome", "12.4.3.1", "a Welcome of another ciphersuite", func(m *matrix) {
		b := clone(m.added().Welcome)
		b[5] = 3
		m.refuses(m.dave, ErrInvalid, m.join(m.dave, b, nil))
	}},
	{"6.9", "welcome", "12.4.3.1", "flipped bits in every field of a Welcome", func(m *matrix) {
		out := m.added()
		m.flips(out.Welcome, m.dave.snapshot, func(b []byte) error { return m.join(m.dave, b, out.RatchetTree)() })
	}},
	{"6.10", "welcome", "8.4", "a Welcome with a PSK that the joiner lacks or has wrong", func(m *matrix) {
		keys := func(PreSharedKeyID) ([]byte, bool) { return []byte("key"), true }
		out := m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}, externalPSK("a")}, PSKs: keys})
		m.refuses(m.dave, ErrMissingPSK, m.join(m.dave, out.Welcome, out.RatchetTree))
		m.refuses(m.dave, ErrDecrypt, func() error {
			_, err := Join(out.Welcome, JoinConfig{
				KeyPackage: m.dave.kp, Secrets: m.dave.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential,
				PSKs: func(PreSharedKeyID) ([]byte, bool) { return []byte("other"), true },
			})
			return err
		})
	}},
	{"6.11", "welcome", "5.3.1", "a member whose credential the joiner refuses", func(m *matrix) {
		out := m.added()
		m.refuses(m.dave, ErrCredential, func() error {
			_, err := Join(out.Welcome, JoinConfig{
				KeyPackage: m.dave.kp, Secrets: m.dave.secrets, RatchetTree: out.RatchetTree,
				Validator: func(c Credential, _ []byte) error {
					if string(c.Identity) == "carol" {
						return errStranger
					}
					return nil
				},
			})
			return err
		})
	}},
}

// added gives alice's commit that adds dave.
func (m *matrix) added() *CommitResult {
	return m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}}})
}

var matrixTree = []matrixCase{
	{"7.1", "tree hash", "7.8", "the tree hash in the GroupContext is the tree's", func(m *matrix) {
		t, err := readRatchetTree(m.bob.e.suite(), m.bob.e.RatchetTree())
		must(m, err)
		m.ok("hash", bytes.Equal(t.freeze(), m.alice.e.TreeHash()))
		m.is(m.enter(m.dave, m.info(nil))(), nil)
	}},
	{"7.2", "tree hash", "12.4.3.1", "a tree hash that is not the tree's", func(m *matrix) {
		m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.info(func(g *groupInfo) { g.ctx.treeHash = nonce() })), "tree hash")
	}},
	{"7.3", "tree hash", "7.9.2", "a parent whose hash no child carries", func(m *matrix) {
		m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(0, func(_ nodeIndex, n *node) {
			if n.parent != nil {
				p := *n.parent
				p.encryptionKey = append([]byte{9}, nonce()[1:]...)
				n.parent = &p
			}
		})), "parent-hash")
	}},
	{"7.4", "tree hash", "7.9.2", "a subtree is put in the place of another", func(m *matrix) {
		m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(2, func(x nodeIndex, n *node) {
			if x == 5 {
				n.parent = m.alice.e.tree.at(1).parent
			}
		})), "parent-hash")
	}},
	{"7.5", "tree hash", "12.4.3.1", "unmerged_leaves that are out of order, blank or not below", func(m *matrix) {
		for _, list := range [][]LeafIndex{{3}, {2, 1}, {1, 1}, {1 << 31}, {1<<31 | 2}} { // the last two are leaves 0 and 2, were indexes to wrap
			m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(0, func(x nodeIndex, n *node) {
				if n.parent != nil && x == 3 {
					p := *n.parent
					p.unmerged = list
					n.parent = &p
				}
			})), "unmerged")
		}
		m.alice.move(m.alice.commit(CommitConfig{Proposals: []Proposal{Add{m.dave.kp}, Add{newClient(m, 1, "erin").kp}}}))
		m.alice.move(m.alice.commit(CommitConfig{NoPath: true, Proposals: []Proposal{Add{newClient(m, 1, "frank").kp}, Add{newClient(m, 1, "grace").kp}}}))
		m.dave = newClient(m, 1, "heidi")
		m.is(m.enter(m.dave, m.info(nil))(), nil)
		for _, c := range []struct {
			list []LeafIndex
			why  string
		}{{[]LeafIndex{6, 5}, "unmerged"}, {[]LeafIndex{5, 5, 6}, "ascending"}} {
			m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(0, func(x nodeIndex, n *node) {
				if x == 7 {
					p := *n.parent
					p.unmerged = c.list
					n.parent = &p
				}
			})), c.why)
		}
	}},
	{"7.6", "tree hash", "7.3", "one signature key in two leaves", func(m *matrix) {
		l := *m.alice.e.tree.leaf(1)
		l.EncryptionKey = m.dave.kp.InitKey
		l.Source, l.ParentHash = LeafFromUpdate, nil
		signed, err := l.signed(m.alice.e.suite(), m.bob.signer, m.alice.e.ctx.groupID, 2)
		must(m, err)
		m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(2, leafAt(signed))), "signature key")
	}},
	{"7.7", "tree hash", "7.3", "one encryption key in two leaves", func(m *matrix) {
		l := *m.alice.e.tree.leaf(2)
		l.EncryptionKey = m.alice.e.tree.leaf(1).EncryptionKey
		l.Source, l.ParentHash = LeafFromUpdate, nil
		signed, err := l.signed(m.alice.e.suite(), m.carol.signer, m.alice.e.ctx.groupID, 2)
		must(m, err)
		m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(2, leafAt(signed))), "encryption key")
	}},
	{"7.8", "tree hash", "7.3, 12.4.3.1", "a leaf whose signature is for another leaf or group", func(m *matrix) {
		for _, at := range []struct {
			group string
			index LeafIndex
		}{{"trio", 1}, {"duo", 2}} {
			l := *m.alice.e.tree.leaf(2)
			l.Source, l.ParentHash = LeafFromUpdate, nil
			signed, err := l.signed(m.alice.e.suite(), m.carol.signer, []byte(at.group), at.index)
			must(m, err)
			m.refuses(m.dave, ErrInvalid, m.enter(m.dave, m.planted(2, leafAt(signed))), "signature of LeafNode")
		}
	}},
	{"7.9", "tree hash", "12.4.3.3", "a ratchet tree that is empty, ends in a blank, or has a node in the wrong place", func(m *matrix) {
		leaf := encode(func(w *writer) { w.u8(1); w.u8(nodeTypeLeaf); w.raw(m.alice.e.tree.leaf(0).raw) })
		for _, nodes := range [][]byte{nil, {0}, append(clone(leaf), 0), append(append(clone(leaf), leaf...), leaf...), {1, 9}, {2}} {
			tree := encode(func(w *writer) { w.vec(nodes) })
			m.refuses(m.dave, ErrMalformed, m.enter(m.dave, m.info(func(g *groupInfo) { g.extensions[1].Data = tree })))
		}
	}},
	{"7.10", "tree hash", "12.4.3.3", "flipped bits in every field of a ratchet tree", func(m *matrix) {
		out := m.added()
		m.flips(out.RatchetTree, m.dave.snapshot, func(b []byte) error { return m.join(m.dave, out.Welcome, b)() })
	}},
}

var matrixErrors = []matrixCase{
	{"11.1", "error handling", "6", "an MLSMessage of an unknown version or wire format", func(m *matrix) {
		b := m.alice.commit(CommitConfig{}).Commit
		version, wire := clone(b), clone(b)
		version[1], wire[3] = 2, 0x7f
		m.refuses(m.bob, ErrUnsupported, m.process(m.bob, version))
		m.refuses(m.bob, ErrMalformed, m.process(m.bob, wire))
	}},
	{"11.2", "error handling", "2.1.2", "lengths that are longer than what is left, or not the shortest", func(m *matrix) {
		for _, b := range [][]byte{{0xbf, 0xff, 0xff, 0xff}, {0x40, 4, 't', 'r', 'i', 'o'}, {0xc0}, {}} {
			for wire := WirePublic; wire <= wireKeyPackage; wire++ {
				m.refuses(m.bob, ErrMalformed, m.process(m.bob, mlsMessage(wire, b)))
			}
			m.refuses(m.bob, ErrMalformed, m.open(m.bob, mlsMessage(WirePrivate, b)))
			m.refuses(m.dave, ErrMalformed, m.join(m.dave, mlsMessage(wireWelcome, b), nil))
		}
	}},
	{"11.3", "error handling", "6", "each kind of message where another belongs", func(m *matrix) {
		out := m.added()
		sealed := m.alice.seal("x")
		for _, b := range [][]byte{out.Welcome, m.dave.kp.Message(), m.info(nil)} {
			m.refuses(m.bob, ErrMalformed, m.process(m.bob, b))
			m.refuses(m.bob, ErrMalformed, m.open(m.bob, b))
		}
		m.refuses(m.bob, ErrUsage, m.process(m.bob, sealed))
		m.refuses(m.bob, ErrUsage, m.process(m.bob, m.suggested(m.alice, Remove{2})))
		m.refuses(m.dave, ErrMalformed, m.join(m.dave, out.Commit, out.RatchetTree))
		m.refuses(m.dave, ErrMalformed, m.enter(m.dave, out.Welcome))
	}},
	{"11.4", "error handling", "12.4", "randomness that runs dry", func(m *matrix) {
		cfg := CommitConfig{Signer: m.alice.signer, Now: testNow, Validator: AcceptAnyCredential, Proposals: []Proposal{Add{m.dave.kp}}}
		for n := 0; ; n++ {
			before := m.alice.snapshot()
			_, err := m.alice.e.Commit(bytes.NewReader(make([]byte, n)), cfg)
			if !bytes.Equal(m.alice.snapshot(), before) {
				m.Fatalf("state has changed with %d octets", n)
			}
			if err == nil {
				m.ok("octets that a commit needs", n >= 3*32)
				return
			}
			if n > 1<<12 {
				m.Fatal(err)
			}
		}
	}},
	{"11.5", "error handling", "16", "a wiped epoch neither sends nor receives", func(m *matrix) {
		out := m.alice.commit(CommitConfig{})
		sealed := m.alice.seal("x")
		m.bob.e.Wipe()
		m.is(m.process(m.bob, out.Commit)(), ErrUsage)
		m.is(m.open(m.bob, sealed)(), ErrUsage)
		m.is(m.commit(m.bob, CommitConfig{})(), ErrUsage)
	}},
	{"11.6", "error handling", "16", "a snapshot that is cut or changed", func(m *matrix) {
		b := m.bob.e.MarshalSecret()
		for i := range b {
			if _, err := ParseEpoch(b[:i]); !errors.Is(err, ErrCorrupt) {
				m.Fatalf("first %d octets: %v", i, err)
			}
		}
		b[0] = 0xff
		_, err := ParseEpoch(b)
		m.is(err, ErrUnsupported)
		rows := m.bob.r.Rows()
		rows[0].Key = []byte("?")
		_, err = NewRatchets(m.bob.e, rows)
		m.is(err, ErrCorrupt)
	}},
}
