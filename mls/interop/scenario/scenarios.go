package scenario

import (
	"context"
	"fmt"

	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc"
)

// All are the scenarios. The first implementation creates the group and plays every
// role that a scenario gives to neither; the second joins.
var All = []Scenario{
	{"welcome_join", "create, add by value, join from the Welcome", welcomeJoin},
	{"application", "messages both ways, out of order, replayed", application},
	{"commit/update", "every member of three commits an update", commitUpdate},
	{"commit/add_remove", "add and remove by value, both ways; the removed one is out", commitAddRemove},
	{"commit/by_reference", "Adds and Removes that the joiner proposes, committed by the creator and by itself", commitByReference},
	{"commit/update_proposal", "Updates that joiners propose and the creator commits", commitUpdateProposal},
	{"commit/external_psk", "an external PSK, for members and a joiner, by value and by reference", commitExternalPSK},
	{"commit/resumption_psk", "the resumption PSK of an earlier epoch", commitResumptionPSK},
	{"commit/extensions", "GroupContext extensions that the joiner commits, by value and by reference", commitExtensions},
	{"external_join", "join by an external commit", externalJoin},
	{"external_join/resync", "an external commit that removes the joiner's former leaf", externalResync},
	{"external_join/psk", "an external commit with a PSK", externalPSK},
	{"external_proposals/new_member", "a new member proposes its own Add", newMemberAdd},
	{"external_proposals/signer", "an external sender adds, removes, and asks for a PSK and extensions", externalSender},
	{"reinit", "the group ends and goes on as another, of another suite", reinit},
	{"branch", "some members found a subgroup", branch},
	{"deep_random", "many members commit at random", deepRandom},
}

// noOptions fits a client's method to call.
func noOptions[In, Out any](f func(context.Context, In, ...grpc.CallOption) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) { return f(ctx, in) }
}

// pair is a group of the two.
func (p *play) pair(creator, joiner Peer) (alice, bob *actor) {
	alice, bob = p.actor(creator, "alice"), p.actor(joiner, "bob")
	p.create(alice)
	p.commit(alice, []*actor{alice}, p.add(bob))
	return alice, bob
}

// trio is a group of the two and one more of the joiner's kind.
func (p *play) trio(creator, joiner Peer) (alice, bob, carol *actor) {
	alice, bob, carol = p.actor(creator, "alice"), p.actor(joiner, "bob"), p.actor(joiner, "carol")
	p.create(alice)
	p.commit(alice, []*actor{alice}, p.add(bob, carol))
	return alice, bob, carol
}

func welcomeJoin(p *play, creator, joiner Peer) {
	p.pair(creator, joiner)
}

func application(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	p.talk(alice, bob)
	for _, turn := range [][2]*actor{{alice, bob}, {bob, alice}} {
		from, to := turn[0], turn[1]
		first, firstAAD := p.say(from, "one")
		second, secondAAD := p.say(from, "two")
		p.hear(to, second, secondAAD, "two")
		p.hear(to, first, firstAAD, "one")
		p.refuses(to, "a replayed message", func() error {
			_, err := to.peer.Client.Unprotect(p.ctx, &mlsclient.UnprotectRequest{StateId: to.state, Ciphertext: first})
			return err
		})
	}
}

func commitUpdate(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	all := []*actor{alice, bob, carol}
	for round := range 2 {
		for _, m := range all {
			p.commit(m, all, change{path: round == 0})
			p.talk(all...)
		}
	}
}

func commitAddRemove(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	carol, dave := p.actor(creator, "carol"), p.actor(joiner, "dave")
	all := p.commit(bob, []*actor{alice, bob}, p.add(carol))
	all = p.commit(alice, all, p.add(dave))
	p.talk(all...)
	all = p.commit(bob, all, change{values: []*mlsclient.ProposalDescription{remove(carol)}, leavers: []*actor{carol}})
	p.talk(all...)
	erin := p.actor(joiner, "erin") // takes carol's leaf
	all = p.commit(alice, all, p.add(erin))
	all = p.commit(alice, all, change{values: []*mlsclient.ProposalDescription{remove(dave)}, leavers: []*actor{dave}})
	p.talk(all...)
	sealed, _ := p.say(alice, "without dave")
	p.refuses(dave, "a message of an epoch it is not in", func() error {
		_, err := dave.peer.Client.Unprotect(p.ctx, &mlsclient.UnprotectRequest{StateId: dave.state, Ciphertext: sealed})
		return err
	})
}

func commitByReference(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	all := []*actor{alice, bob, carol}
	for _, committer := range []*actor{alice, bob} {
		by := bob
		dave := p.actor(joiner, fmt.Sprintf("dave%d", p.actors))
		proposal := call(p, by, "AddProposal", noOptions(by.peer.Client.AddProposal), &mlsclient.AddProposalRequest{
			StateId: by.state, KeyPackage: p.keyPackage(dave),
		})
		all = p.commit(committer, all, change{references: [][]byte{proposal.GetProposal()}, joiners: []*actor{dave}})
		p.talk(all...)
		proposal = call(p, by, "RemoveProposal", noOptions(by.peer.Client.RemoveProposal), &mlsclient.RemoveProposalRequest{
			StateId: by.state, RemovedId: dave.identity,
		})
		all = p.commit(committer, all, change{references: [][]byte{proposal.GetProposal()}, leavers: []*actor{dave}})
		p.talk(all...)
	}
}

func commitUpdateProposal(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	all := []*actor{alice, bob, carol}
	for _, by := range [][]*actor{{bob}, {carol}, {bob, carol}} {
		var references [][]byte
		for _, m := range by {
			out := call(p, m, "UpdateProposal", noOptions(m.peer.Client.UpdateProposal), &mlsclient.UpdateProposalRequest{StateId: m.state})
			references = append(references, out.GetProposal())
		}
		p.commit(alice, all, change{references: references})
		p.talk(all...)
	}
}

// storePSK gives everybody a PSK, members and those who are about to join.
func (p *play) storePSK(id, secret []byte, owners ...*actor) {
	for _, a := range owners {
		at := a.state
		if a.joining != 0 && a.state == 0 {
			at = a.joining
		}
		call(p, a, "StorePSK", noOptions(a.peer.Client.StorePSK), &mlsclient.StorePSKRequest{StateOrTransactionId: at, PskId: id, PskSecret: secret})
	}
}

func commitExternalPSK(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	carol := p.actor(joiner, "carol")
	id, secret := []byte("shared"), p.bytes(32)
	c := p.add(carol)
	p.storePSK(id, secret, alice, bob, carol)
	psk := describe("externalPSK", &mlsclient.ProposalDescription{PskId: id})
	c.values = append(c.values, psk)
	all := p.commit(alice, []*actor{alice, bob}, c)
	p.talk(all...)
	p.commit(bob, all, change{values: []*mlsclient.ProposalDescription{psk}})
	for _, turn := range [][2]*actor{{alice, bob}, {bob, alice}} {
		by, committer := turn[0], turn[1]
		proposal := call(p, by, "ExternalPSKProposal", noOptions(by.peer.Client.ExternalPSKProposal), &mlsclient.ExternalPSKProposalRequest{
			StateId: by.state, PskId: id,
		})
		p.commit(committer, all, change{references: [][]byte{proposal.GetProposal()}})
	}
	p.talk(all...)
}

func commitResumptionPSK(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner) // epoch 1
	all := []*actor{alice, bob}
	p.commit(alice, all, change{})
	p.commit(bob, all, change{})
	for _, m := range all {
		p.commit(m, all, change{values: []*mlsclient.ProposalDescription{describe("resumptionPSK", &mlsclient.ProposalDescription{EpochId: 1})}})
	}
	for _, turn := range [][2]*actor{{alice, bob}, {bob, alice}} {
		by, committer := turn[0], turn[1]
		proposal := call(p, by, "ResumptionPSKProposal", noOptions(by.peer.Client.ResumptionPSKProposal), &mlsclient.ResumptionPSKProposalRequest{
			StateId: by.state, EpochId: 3,
		})
		p.commit(committer, all, change{references: [][]byte{proposal.GetProposal()}})
	}
	p.talk(all...)
}

// requireBasic is required_capabilities (RFC 9420, Section 7.2) with no extension, no
// proposal and the Basic credential.
var requireBasic = &mlsclient.Extension{ExtensionType: 3, ExtensionData: []byte{0, 0, 2, 0, 1}}

func commitExtensions(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	all := []*actor{alice, bob, carol}
	list := []*mlsclient.Extension{requireBasic}
	p.commit(bob, all, change{values: []*mlsclient.ProposalDescription{describe("groupContextExtensions", &mlsclient.ProposalDescription{Extensions: list})}})
	for _, by := range []*actor{bob, alice} {
		proposal := call(p, by, "GroupContextExtensionsProposal", noOptions(by.peer.Client.GroupContextExtensionsProposal),
			&mlsclient.GroupContextExtensionsProposalRequest{StateId: by.state, Extensions: list})
		p.commit(bob, all, change{references: [][]byte{proposal.GetProposal()}})
	}
	dave := p.actor(joiner, "dave")
	all = p.commit(alice, all, p.add(dave))
	p.talk(all...)
}

// enterFrom has a join by an external commit to what via publishes.
func (p *play) enterFrom(via, a *actor, members []*actor, in *mlsclient.ExternalJoinRequest) []*actor {
	info := p.groupInfo(via)
	in.GroupInfo, in.RatchetTree = info.GetGroupInfo(), info.GetRatchetTree()
	in.EncryptHandshake, in.Identity = p.Encrypt, a.identity
	out := call(p, a, "ExternalJoin", noOptions(a.peer.Client.ExternalJoin), in)
	var stay []*actor
	var leavers []*actor
	if in.RemovePrior {
		for _, m := range members {
			if bytesEqual(m.identity, a.identity) {
				leavers = append(leavers, m)
			}
		}
	}
	stay = p.follow(nil, members, out.GetCommit(), change{leavers: leavers})
	a.state, a.auth = out.GetStateId(), out.GetEpochAuthenticator()
	stay = append(stay, a)
	p.agree(stay...)
	return stay
}

func bytesEqual(a, b []byte) bool { return string(a) == string(b) }

func externalJoin(p *play, creator, joiner Peer) {
	alice, bob, carol := p.actor(creator, "alice"), p.actor(joiner, "bob"), p.actor(joiner, "carol")
	p.create(alice)
	all := p.commit(alice, []*actor{alice}, change{}) // core-crypto gives a GroupInfo only after an own commit
	all = p.enterFrom(alice, bob, all, &mlsclient.ExternalJoinRequest{})
	p.talk(all...)
	p.commit(bob, all, change{})
	all = p.enterFrom(bob, carol, all, &mlsclient.ExternalJoinRequest{})
	p.talk(all...)
	for _, m := range all {
		p.commit(m, all, change{})
	}
	p.talk(all...)
}

func externalResync(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	again := &actor{peer: bob.peer, name: "bob again", identity: bob.identity}
	all := p.enterFrom(alice, again, []*actor{alice, bob, carol}, &mlsclient.ExternalJoinRequest{RemovePrior: true})
	if p.err == nil && len(all) != 3 {
		p.fail("%d members after the resync", len(all))
	}
	p.talk(all...)
	p.commit(again, all, change{})
}

func externalPSK(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	carol := p.actor(joiner, "carol")
	id, secret := []byte("shared"), p.bytes(32)
	p.storePSK(id, secret, alice, bob)
	all := p.enterFrom(alice, carol, []*actor{alice, bob}, &mlsclient.ExternalJoinRequest{
		Psks: []*mlsclient.PreSharedKey{{PskId: id, PskSecret: secret}},
	})
	p.talk(all...)
}

func newMemberAdd(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	all := []*actor{alice, bob}
	for _, committer := range []*actor{alice, bob} {
		p.commit(alice, all, change{})
		carol := p.actor(joiner, fmt.Sprintf("carol%d", p.actors))
		out := call(p, carol, "NewMemberAddProposal", noOptions(carol.peer.Client.NewMemberAddProposal), &mlsclient.NewMemberAddProposalRequest{
			GroupInfo: p.groupInfo(alice).GetGroupInfo(), Identity: carol.identity,
		})
		carol.joining = out.GetTransactionId()
		all = p.commit(committer, all, change{references: [][]byte{out.GetProposal()}, joiners: []*actor{carol}})
		p.talk(all...)
	}
}

// externalSender has the joiner's implementation be the external sender, too.
func externalSender(p *play, creator, joiner Peer) {
	alice, bob := p.pair(creator, joiner)
	all := []*actor{alice, bob}
	server := p.actor(joiner, "server")
	signer := call(p, server, "CreateExternalSigner", noOptions(server.peer.Client.CreateExternalSigner), &mlsclient.CreateExternalSignerRequest{
		CipherSuite: p.Suite, Identity: server.identity,
	})
	proposal := call(p, alice, "AddExternalSigner", noOptions(alice.peer.Client.AddExternalSigner), &mlsclient.AddExternalSignerRequest{
		StateId: alice.state, ExternalSender: signer.GetExternalSender(),
	})
	p.commit(bob, all, change{references: [][]byte{proposal.GetProposal()}})

	propose := func(d *mlsclient.ProposalDescription) [][]byte {
		info := p.groupInfo(alice)
		out := call(p, server, "ExternalSignerProposal", noOptions(server.peer.Client.ExternalSignerProposal), &mlsclient.ExternalSignerProposalRequest{
			SignerId: signer.GetSignerId(), SignerIndex: 0, GroupInfo: info.GetGroupInfo(), RatchetTree: info.GetRatchetTree(), Description: d,
		})
		return [][]byte{out.GetProposal()}
	}
	carol := p.actor(joiner, "carol")
	c := change{references: propose(describe("add", &mlsclient.ProposalDescription{KeyPackage: p.keyPackage(carol)})), joiners: []*actor{carol}}
	all = p.commit(alice, all, c)
	p.talk(all...)
	all = p.commit(bob, all, change{references: propose(remove(carol)), leavers: []*actor{carol}})
	id, secret := []byte("shared"), p.bytes(32)
	p.storePSK(id, secret, all...)
	p.commit(alice, all, change{references: propose(describe("externalPSK", &mlsclient.ProposalDescription{PskId: id}))})
	p.commit(bob, all, change{references: propose(describe("groupContextExtensions", &mlsclient.ProposalDescription{
		Extensions: []*mlsclient.Extension{requireBasic},
	}))})
	p.talk(all...)
}

// successor is a suite to reinitialise to: the next of those that both offer.
func (p *play) successor(peers ...Peer) uint32 {
	offered := map[uint32]int{}
	for _, peer := range peers {
		a := &actor{peer: peer, name: peer.Name}
		for _, s := range call(p, a, "SupportedCiphersuites", noOptions(peer.Client.SupportedCiphersuites), &mlsclient.SupportedCiphersuitesRequest{}).GetCiphersuites() {
			offered[s]++
		}
	}
	for k := uint32(1); k < 7; k++ {
		if s := (p.Suite-1+k)%7 + 1; offered[s] == len(peers) {
			return s
		}
	}
	return p.Suite
}

func reinit(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	all := []*actor{alice, bob, carol}
	suite := p.successor(creator, joiner)
	for _, turn := range [][2]*actor{{alice, bob}, {bob, alice}} { // who ends the group, who founds the next
		ender, founder := turn[0], turn[1]
		proposal := call(p, founder, "ReInitProposal", noOptions(founder.peer.Client.ReInitProposal), &mlsclient.ReInitProposalRequest{
			StateId: founder.state, CipherSuite: suite, GroupId: p.bytes(16), Extensions: []*mlsclient.Extension{requireBasic},
		})
		references := [][]byte{proposal.GetProposal()}
		commit := call(p, ender, "ReInitCommit", noOptions(ender.peer.Client.ReInitCommit), &mlsclient.CommitRequest{
			StateId: ender.state, ByReference: references, ExternalTree: p.ExternalTree,
		})
		ids, packages := map[*actor]uint32{}, map[*actor][]byte{}
		for _, m := range all {
			var out *mlsclient.HandleReInitCommitResponse
			if m == ender {
				out = call(p, m, "HandlePendingReInitCommit", noOptions(m.peer.Client.HandlePendingReInitCommit), &mlsclient.HandlePendingCommitRequest{StateId: m.state})
			} else {
				out = call(p, m, "HandleReInitCommit", noOptions(m.peer.Client.HandleReInitCommit), &mlsclient.HandleCommitRequest{
					StateId: m.state, Proposal: references, Commit: commit.GetCommit(),
				})
			}
			ids[m], packages[m] = out.GetReinitId(), out.GetKeyPackage()
		}
		var others [][]byte
		for _, m := range all {
			if m != founder {
				others = append(others, packages[m])
			}
		}
		welcome := call(p, founder, "ReInitWelcome", noOptions(founder.peer.Client.ReInitWelcome), &mlsclient.ReInitWelcomeRequest{
			ReinitId: ids[founder], KeyPackage: others, ExternalTree: p.ExternalTree,
		})
		founder.state, founder.auth = welcome.GetStateId(), welcome.GetEpochAuthenticator()
		for _, m := range all {
			if m == founder {
				continue
			}
			out := call(p, m, "HandleReInitWelcome", noOptions(m.peer.Client.HandleReInitWelcome), &mlsclient.HandleReInitWelcomeRequest{
				ReinitId: ids[m], Welcome: welcome.GetWelcome(), RatchetTree: welcome.GetRatchetTree(),
			})
			m.state, m.auth = out.GetStateId(), out.GetEpochAuthenticator()
		}
		p.agree(all...)
		p.talk(all...)
		p.Suite = suite
	}
}

func branch(p *play, creator, joiner Peer) {
	alice, bob, carol := p.trio(creator, joiner)
	for _, founder := range []*actor{alice, bob} {
		other := bob
		if founder == bob {
			other = alice
		}
		parent := other.state
		kp := p.keyPackage(other)
		out := call(p, founder, "CreateBranch", noOptions(founder.peer.Client.CreateBranch), &mlsclient.CreateBranchRequest{
			StateId: founder.state, GroupId: p.bytes(16), KeyPackages: [][]byte{kp}, ExternalTree: p.ExternalTree,
		})
		joined := call(p, other, "HandleBranch", noOptions(other.peer.Client.HandleBranch), &mlsclient.HandleBranchRequest{
			StateId: parent, TransactionId: other.joining, Welcome: out.GetWelcome(), RatchetTree: out.GetRatchetTree(),
		})
		sub := []*actor{
			{peer: founder.peer, name: founder.name, state: out.GetStateId(), auth: out.GetEpochAuthenticator()},
			{peer: other.peer, name: other.name, state: joined.GetStateId(), auth: joined.GetEpochAuthenticator()},
		}
		p.agree(sub...)
		p.talk(sub...)
	}
	p.talk(alice, bob, carol) // the main group goes on
}

func deepRandom(p *play, creator, joiner Peer) {
	peers := []Peer{creator, joiner}
	first := p.actor(creator, "m0")
	p.create(first)
	all := []*actor{first}
	for step := range 24 {
		if p.err != nil {
			p.err = fmt.Errorf("step %d: %w", step, p.err)
			return
		}
		by := all[p.rand.IntN(len(all))]
		newcomer := p.actor(peers[p.rand.IntN(2)], fmt.Sprintf("m%d", step+1))
		switch n := p.rand.IntN(10); {
		case len(all) < 3 || n < 3 && len(all) < 8:
			c := p.add(newcomer)
			c.path = by.peer.Complete && p.rand.IntN(2) == 0
			all = p.commit(by, all, c)
		case n < 5 && len(all) > 3:
			leaver := all[p.rand.IntN(len(all))]
			if leaver == by {
				continue
			}
			all = p.commit(by, all, change{values: []*mlsclient.ProposalDescription{remove(leaver)}, leavers: []*actor{leaver}})
		case n < 6:
			p.commit(by, all, change{})
			all = p.enterFrom(by, newcomer, all, &mlsclient.ExternalJoinRequest{})
		default:
			p.commit(by, all, change{})
		}
		sealed, aad := p.say(by, "step")
		for _, to := range all {
			if to != by {
				p.hear(to, sealed, aad, "step")
			}
		}
	}
}
