// Package scenario plays conversations of MLS clients over the interface of the
// interoperability harness, each role by any implementation that serves it, and
// verifies what the clients can compare: epoch authenticators, exported secrets and
// each other's messages.
//
// It knows nothing of any implementation but the RPCs. An RPC that an implementation
// answers with codes.Unimplemented is told apart from one that it gets wrong.
package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Peer is an implementation that can play a role.
type Peer struct {
	Name   string
	Client mlsclient.MLSClientClient
	// Complete says that the peer claims all RPCs: Unimplemented is a failure then.
	Complete bool
}

// Setup is what a scenario is varied by.
type Setup struct {
	Suite        uint32
	Encrypt      bool // proposals and commits as PrivateMessages
	ExternalTree bool // the ratchet tree goes beside Welcome and GroupInfo
	Seed         uint64
}

func (s Setup) String() string {
	return fmt.Sprintf("suite %d, encrypt_handshake %t, external_tree %t, seed %d", s.Suite, s.Encrypt, s.ExternalTree, s.Seed)
}

// NotOffered is the error of a scenario that a peer does not offer.
type NotOffered struct{ Peer, RPC, Why string }

func (e *NotOffered) Error() string {
	return fmt.Sprintf("%s does not offer %s: %s", e.Peer, e.RPC, e.Why)
}

// Scenario is one conversation.
type Scenario struct {
	Name string
	What string
	run  func(p *play, creator, joiner Peer)
}

// Run plays s. A nil error means that everything agreed.
func (s Scenario) Run(ctx context.Context, creator, joiner Peer, setup Setup) error {
	p := &play{ctx: ctx, Setup: setup, rand: rand.New(rand.NewPCG(setup.Seed, uint64(setup.Suite)))} //nolint:gosec // a scenario repeats
	s.run(p, creator, joiner)
	if p.err == nil && p.compared == 0 {
		return errors.New("nothing was compared")
	}
	return p.err
}

// play is a scenario under way. After the first error its methods do nothing.
type play struct {
	Setup
	ctx      context.Context //nolint:containedctx // a play is one call of Run
	rand     *rand.Rand
	err      error
	actors   int
	compared int // pairs of members whose secrets were found equal
}

// actor is one client in one group.
type actor struct {
	peer     Peer
	name     string
	identity []byte
	state    uint32 // state_id
	joining  uint32 // transaction_id
	auth     []byte // epoch_authenticator as last told, if it was
}

func (p *play) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// check takes the error of an RPC and says whether the play goes on.
func (p *play) check(a *actor, rpc string, err error) bool {
	switch {
	case p.err != nil:
	case err == nil:
	case status.Code(err) == codes.Unimplemented && !a.peer.Complete:
		p.err = &NotOffered{a.peer.Name, rpc, status.Convert(err).Message()}
	default:
		p.err = fmt.Errorf("%s (%s) %s: %w", a.name, a.peer.Name, rpc, err)
	}
	return p.err == nil
}

// call is one RPC.
func call[In, Out any](p *play, a *actor, rpc string, f func(context.Context, In) (Out, error), in In) (out Out) {
	if p.err != nil {
		return out
	}
	out, err := f(p.ctx, in)
	p.check(a, rpc, err)
	return out
}

// bytes draws n octets.
func (p *play) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(p.rand.Uint32())
	}
	return b
}

// actor casts a role. Identities have the form that core-crypto asks for.
func (p *play) actor(peer Peer, name string) *actor {
	p.actors++
	return &actor{peer: peer, name: name, identity: fmt.Appendf(nil, "%08x-0000-4000-8000-%012x:%x@%s.example", p.actors, p.Seed&0xffffffffffff, p.actors, name)}
}

// create has a create a group.
func (p *play) create(a *actor) {
	out := call(p, a, "CreateGroup", noOptions(a.peer.Client.CreateGroup), &mlsclient.CreateGroupRequest{
		GroupId: p.bytes(16), CipherSuite: p.Suite, EncryptHandshake: p.Encrypt, Identity: a.identity,
	})
	a.state, a.auth = out.GetStateId(), nil
}

// keyPackage has a make a KeyPackage.
func (p *play) keyPackage(a *actor) []byte {
	out := call(p, a, "CreateKeyPackage", noOptions(a.peer.Client.CreateKeyPackage), &mlsclient.CreateKeyPackageRequest{
		CipherSuite: p.Suite, Identity: a.identity,
	})
	a.joining = out.GetTransactionId()
	return out.GetKeyPackage()
}

// join has a take a Welcome.
func (p *play) join(a *actor, welcome, tree []byte) {
	out := call(p, a, "JoinGroup", noOptions(a.peer.Client.JoinGroup), &mlsclient.JoinGroupRequest{
		TransactionId: a.joining, Welcome: welcome, EncryptHandshake: p.Encrypt, Identity: a.identity, RatchetTree: tree,
	})
	a.state, a.auth = out.GetStateId(), out.GetEpochAuthenticator()
}

// change is what a commit is to do.
type change struct {
	values     []*mlsclient.ProposalDescription
	references [][]byte
	joiners    []*actor // in the order of their Adds
	leavers    []*actor
	path       bool
}

// add describes the addition of joiners, by value.
func (p *play) add(joiners ...*actor) change {
	c := change{joiners: joiners}
	for _, j := range joiners {
		c.values = append(c.values, describe("add", &mlsclient.ProposalDescription{KeyPackage: p.keyPackage(j)}))
	}
	return c
}

func remove(a *actor) *mlsclient.ProposalDescription {
	return describe("remove", &mlsclient.ProposalDescription{RemovedId: a.identity})
}

func describe(kind string, d *mlsclient.ProposalDescription) *mlsclient.ProposalDescription {
	d.ProposalType = []byte(kind)
	return d
}

// commit has one member commit and the others follow, and gives who is a member then.
func (p *play) commit(by *actor, members []*actor, c change) []*actor {
	out := call(p, by, "Commit", noOptions(by.peer.Client.Commit), &mlsclient.CommitRequest{
		StateId: by.state, ByReference: c.references, ByValue: c.values, ForcePath: c.path, ExternalTree: p.ExternalTree,
	})
	pending := call(p, by, "HandlePendingCommit", noOptions(by.peer.Client.HandlePendingCommit), &mlsclient.HandlePendingCommitRequest{StateId: by.state})
	by.state, by.auth = pending.GetStateId(), pending.GetEpochAuthenticator()
	stay := p.follow(by, members, out.GetCommit(), c)
	for _, j := range c.joiners {
		p.join(j, out.GetWelcome(), out.GetRatchetTree())
	}
	stay = append(stay, c.joiners...)
	p.agree(stay...)
	return stay
}

// follow has all members but the committer process a commit.
func (p *play) follow(by *actor, members []*actor, commit []byte, c change) (stay []*actor) {
	for _, m := range members {
		in := &mlsclient.HandleCommitRequest{StateId: m.state, Proposal: c.references, Commit: commit}
		switch {
		case m == by:
			stay = append(stay, m)
		case contains(c.leavers, m):
			p.refuses(m, "HandleCommit of its own removal", func() error {
				_, err := m.peer.Client.HandleCommit(p.ctx, in)
				return err
			})
		default:
			next := call(p, m, "HandleCommit", noOptions(m.peer.Client.HandleCommit), in)
			m.state, m.auth = next.GetStateId(), next.GetEpochAuthenticator()
			stay = append(stay, m)
		}
	}
	return stay
}

func contains(list []*actor, a *actor) bool {
	for _, x := range list {
		if x == a {
			return true
		}
	}
	return false
}

// refuses verifies that f fails, and not because it is not offered or the peer died.
func (p *play) refuses(a *actor, what string, f func() error) {
	if p.err != nil {
		return
	}
	switch err := f(); status.Code(err) {
	case codes.OK:
		p.fail("%s (%s) did not refuse: %s", a.name, a.peer.Name, what)
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Unimplemented, codes.Canceled, codes.DeadlineExceeded:
		p.fail("%s (%s) broke instead of refusing: %s: %w", a.name, a.peer.Name, what, err)
	default: // refused
	}
}

// exports are compared wherever both members offer them; the first is the one that
// core-crypto has.
var exports = []*mlsclient.ExportRequest{
	{Label: "exporter", KeyLength: 32},
	{Label: "pandanode", Context: []byte("of the scenario"), KeyLength: 77},
}

// agree verifies that all are in one epoch: equal exporters, and equal epoch
// authenticators where a client tells its own. Between any two, an exporter is
// compared at the least.
func (p *play) agree(members ...*actor) {
	for k, x := range exports {
		var first []byte
		var who *actor
		for _, m := range members {
			if p.err != nil {
				return
			}
			in := &mlsclient.ExportRequest{StateId: m.state, Label: x.Label, Context: x.Context, KeyLength: x.KeyLength}
			out, err := m.peer.Client.Export(p.ctx, in)
			if k > 0 && status.Code(err) == codes.Unimplemented && !m.peer.Complete {
				continue
			}
			if !p.check(m, "Export", err) {
				return
			}
			p.same("exporter", &first, &who, m, out.GetExportedSecret(), int(x.KeyLength))
		}
	}
	var first []byte
	var who *actor
	for _, m := range members {
		if p.err != nil {
			return
		}
		out, err := m.peer.Client.StateAuth(p.ctx, &mlsclient.StateAuthRequest{StateId: m.state})
		if status.Code(err) == codes.Unimplemented && !m.peer.Complete {
			continue
		}
		if !p.check(m, "StateAuth", err) {
			return
		}
		told := out.GetStateAuthSecret()
		if len(m.auth) > 0 && !bytes.Equal(m.auth, told) {
			p.fail("%s (%s) told epoch_authenticator %x, then %x", m.name, m.peer.Name, m.auth, told)
		}
		p.same("epoch_authenticator", &first, &who, m, told, len(told))
	}
}

// same compares got with what the first member gave.
func (p *play) same(what string, first *[]byte, who **actor, m *actor, got []byte, size int) {
	switch {
	case len(got) != size || size == 0:
		p.fail("%s (%s): %s of %d bytes", m.name, m.peer.Name, what, len(got))
	case *who == nil:
		*first, *who = got, m
	case !bytes.Equal(*first, got):
		p.fail("%s of %s (%s) is not that of %s (%s)", what, m.name, m.peer.Name, (*who).name, (*who).peer.Name)
	default:
		p.compared++
	}
}

// say has from send text and gives the ciphertext. Authenticated data goes along
// where the sender offers it.
func (p *play) say(from *actor, text string) (sealed, aad []byte) {
	if p.err != nil {
		return nil, nil
	}
	aad = []byte("about " + text)
	out, err := from.peer.Client.Protect(p.ctx, &mlsclient.ProtectRequest{StateId: from.state, AuthenticatedData: aad, Plaintext: []byte(text)})
	if status.Code(err) == codes.Unimplemented && !from.peer.Complete {
		aad = nil
		out, err = from.peer.Client.Protect(p.ctx, &mlsclient.ProtectRequest{StateId: from.state, Plaintext: []byte(text)})
	}
	p.check(from, "Protect", err)
	return out.GetCiphertext(), aad
}

// hear has to open a ciphertext.
func (p *play) hear(to *actor, sealed, aad []byte, text string) {
	out := call(p, to, "Unprotect", noOptions(to.peer.Client.Unprotect), &mlsclient.UnprotectRequest{StateId: to.state, Ciphertext: sealed})
	if p.err == nil && (string(out.GetPlaintext()) != text || !bytes.Equal(out.GetAuthenticatedData(), aad)) {
		p.fail("%s (%s) opened %q with %q, not %q with %q", to.name, to.peer.Name, out.GetPlaintext(), out.GetAuthenticatedData(), text, aad)
	}
}

// talk has everybody say something to everybody.
func (p *play) talk(members ...*actor) {
	for _, from := range members {
		text := "hello from " + from.name
		sealed, aad := p.say(from, text)
		for _, to := range members {
			if to != from {
				p.hear(to, sealed, aad, text)
			}
		}
	}
}

// groupInfo has a member publish how to join from outside.
func (p *play) groupInfo(a *actor) *mlsclient.GroupInfoResponse {
	return call(p, a, "GroupInfo", noOptions(a.peer.Client.GroupInfo), &mlsclient.GroupInfoRequest{StateId: a.state, ExternalTree: p.ExternalTree})
}
