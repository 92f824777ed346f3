package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refusals are the errors that bytes from outside may lead to.
var refusals = []error{
	ErrMalformed, ErrUnsupported, ErrInvalid, ErrWrongGroup, ErrWrongEpoch, ErrDecrypt, ErrKeyUsed, ErrTooFarAhead,
	ErrOwnMessage, ErrNotForUs, ErrMissingProposal, ErrMissingPSK, ErrMissingTree, ErrUsage, ErrEnded, ErrRemoved,
}

func isRefusal(err error) bool {
	for _, r := range refusals {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// hostile feeds every bit flip in every octet, every truncation and one trailing
// octet of a message that accept takes, and verifies that each is refused with a
// sentinel and that state gives the same bytes after it.
func hostile(t *testing.T, message []byte, state func() []byte, accept func([]byte) error) {
	t.Helper()
	before := state()
	try := func(what string, b []byte) {
		t.Helper()
		err := accept(b)
		if err == nil {
			t.Errorf("%s: accepted", what)
		} else if !isRefusal(err) {
			t.Errorf("%s: not a sentinel: %v", what, err)
		}
		if !bytes.Equal(state(), before) {
			t.Fatalf("%s: state has changed", what)
		}
	}
	for i := range message {
		b := clone(message)
		b[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("bit flipped in octet %d of %d", i, len(message)), b)
		try(fmt.Sprintf("first %d octets of %d", i, len(message)), message[:i])
	}
	try("trailing octet", append(clone(message), 0))
}

// states is the canonical snapshot of a member with its ratchets.
func (c *client) state() []byte {
	out := c.e.MarshalSecret()
	for _, r := range c.r.Rows() {
		out = append(append(out, r.Key...), r.Value...)
	}
	return out
}

func TestHostileMessages(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	process := func(b []byte) error {
		_, err := bob.e.Process(b, ProcessConfig{Ratchets: bob.r, Validator: AcceptAnyCredential})
		return err
	}
	t.Run("public commit", func(t *testing.T) {
		out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}, Remove{carol.e.OwnLeaf()}}})
		hostile(t, out.Commit, bob.state, process)
		must(t, process(out.Commit))
	})
	t.Run("commit without path", func(t *testing.T) {
		out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}}, NoPath: true})
		hostile(t, out.Commit, bob.state, process)
	})
	t.Run("private commit", func(t *testing.T) {
		out := alice.commit(CommitConfig{Wire: WirePrivate, Ratchets: alice.r})
		hostile(t, out.Commit, bob.state, process)
		must(t, process(out.Commit))
	})
	t.Run("application message", func(t *testing.T) {
		m := alice.seal("hello")
		open := func(b []byte) error {
			_, d, err := bob.r.Open(b)
			if err != nil && d != nil {
				return errors.New("a delta beside an error")
			}
			return err
		}
		hostile(t, m, bob.state, open)
		must(t, open(m))
		hostile(t, alice.seal("again"), bob.state, open)
	})
	t.Run("proposal", func(t *testing.T) {
		m, err := carol.e.ProposeRemove(carol.signer, carol.e.OwnLeaf(), nil)
		must(t, err)
		hostile(t, m, bob.state, func(b []byte) error {
			_, err := bob.e.Commit(bob.rand, CommitConfig{Signer: bob.signer, References: [][]byte{b}, Validator: AcceptAnyCredential})
			return err
		})
	})
	t.Run("welcome", func(t *testing.T) {
		out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}}})
		join := func(welcome, tree []byte) error {
			_, err := Join(welcome, JoinConfig{KeyPackage: dave.kp, Secrets: dave.secrets, RatchetTree: tree, Validator: AcceptAnyCredential})
			return err
		}
		secrets := func() []byte { return dave.secrets.MarshalSecret() }
		hostile(t, out.Welcome, secrets, func(b []byte) error { return join(b, out.RatchetTree) })
		hostile(t, out.RatchetTree, secrets, func(b []byte) error { return join(out.Welcome, b) })
		must(t, join(out.Welcome, out.RatchetTree))
	})
	t.Run("group info and external commit", func(t *testing.T) {
		pub, err := alice.e.ExternalPubExtension()
		must(t, err)
		info, err := alice.e.GroupInfo(alice.signer, []Extension{pub}, true)
		must(t, err)
		var out *CommitResult
		join := func(b []byte) (err error) {
			out, err = JoinExternal(newStream("external"), b, ExternalConfig{
				Signer: dave.signer, Credential: BasicCredential([]byte("dave")), Validator: AcceptAnyCredential,
			})
			return err
		}
		hostile(t, info, func() []byte { return nil }, join)
		must(t, join(info))
		hostile(t, out.Commit, bob.state, process)
		must(t, process(out.Commit))
	})
	t.Run("key package", func(t *testing.T) {
		none := func() []byte { return nil }
		parse := func(b []byte) error { _, err := ParseKeyPackage(b); return err }
		hostile(t, dave.kp.Bytes(), none, parse)
		hostile(t, dave.kp.Message(), none, parse)
		must(t, parse(dave.kp.Message()))
	})
	t.Run("another's messages", func(t *testing.T) {
		out := alice.commit(CommitConfig{})
		for _, c := range []struct {
			name string
			err  error
			want error
		}{
			{"own commit", func() error {
				_, err := alice.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
				return err
			}(), ErrOwnMessage},
			{"commit of the next epoch", func() error {
				_, err := out.Epoch.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
				return err
			}(), ErrWrongEpoch},
			{"welcome as commit", process(mlsMessage(wireWelcome, nil)), ErrMalformed},
			{"commit without validator", func() error { _, err := bob.e.Process(out.Commit, ProcessConfig{}); return err }(), ErrUsage},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
			}
		}
		foreign := newClient(t, 1, "mallory")
		foreign.create("another group")
		if err := process(foreign.commit(CommitConfig{}).Commit); !errors.Is(err, ErrWrongGroup) {
			t.Errorf("another group: %v", err)
		}
	})
}

// A member signs what it likes: insiders' commits that only the content betrays.
func TestHostileInsider(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	s := suites[0]
	resign := func(change func(a *authContent)) []byte {
		out := alice.commit(CommitConfig{Proposals: []Proposal{Remove{carol.e.OwnLeaf()}}})
		r, err := openMessageAs(out.Commit, WirePublic)
		must(t, err)
		a := readPublicMessage(r).authContent
		change(a)
		tag := a.confirmationTag
		must(t, a.sign(s, alice.signer, alice.e.context))
		a.confirmationTag = tag
		return a.publicMessage(s, alice.e.secrets.membership, alice.e.context)
	}
	before := bob.state()
	for _, c := range []struct {
		name   string
		change func(a *authContent)
		want   error
	}{
		{"confirmation tag", func(a *authContent) { a.confirmationTag = make([]byte, 32) }, ErrInvalid},
		{"empty confirmation tag", func(a *authContent) { a.confirmationTag = nil }, ErrInvalid},
		{"path gone", func(a *authContent) { a.commit.path = nil }, ErrInvalid},
		{"path node gone", func(a *authContent) { a.commit.path.nodes = nil }, ErrInvalid},
		{"path key of another", func(a *authContent) { a.commit.path.nodes[0].encryptionKey = bob.kp.InitKey }, ErrInvalid},
		{"path secret gone", func(a *authContent) { a.commit.path.nodes[0].sealed = nil }, ErrInvalid},
		{"path secret garbled", func(a *authContent) { a.commit.path.nodes[0].sealed[0].ciphertext[3] ^= 1 }, ErrDecrypt},
		{"old leaf", func(a *authContent) { a.commit.path.leaf = alice.e.tree.leaf(0) }, ErrInvalid},
		{"unknown reference", func(a *authContent) {
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{ref: make([]byte, 32)})
		}, ErrMissingProposal},
		{"remove twice", func(a *authContent) { a.commit.proposals = append(a.commit.proposals, a.commit.proposals[0]) }, ErrInvalid},
		{"remove of itself", func(a *authContent) { a.commit.proposals[0].value = Remove{0} }, ErrInvalid},
		{"own update by value", func(a *authContent) {
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{value: Update{a.commit.path.leaf}})
		}, ErrInvalid},
		{"sender is blank", func(a *authContent) { a.sender.index = 3 }, ErrInvalid},
		{"sender is outside", func(a *authContent) { a.sender.index = 1 << 31 }, ErrInvalid},
		{"sender is external", func(a *authContent) { a.sender.typ = senderExternal }, ErrInvalid},
		{"sender is new", func(a *authContent) { a.sender.typ = senderNewMemberCommit }, ErrInvalid},
	} {
		_, err := bob.e.Process(resign(c.change), ProcessConfig{Validator: AcceptAnyCredential})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if !bytes.Equal(bob.state(), before) {
			t.Fatalf("%s: state has changed", c.name)
		}
	}
	_, err := bob.e.Process(resign(func(*authContent) {}), ProcessConfig{Validator: AcceptAnyCredential})
	must(t, err)
}

func TestHostileSnapshot(t *testing.T) {
	_, bob, _ := trio(t, 1)
	b := bob.e.MarshalSecret()
	e, err := ParseEpoch(b)
	must(t, err)
	equal(t, "snapshot", e.MarshalSecret(), b)
	for i := range b {
		if _, err := ParseEpoch(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("first %d octets: %v", i, err)
		}
		c := clone(b)
		c[i] ^= 1 << (i % 8)
		if e, err := ParseEpoch(c); err == nil && !bytes.Equal(e.MarshalSecret(), c) {
			t.Fatalf("octet %d: accepted, and it encodes differently", i)
		}
	}
	secrets := bob.secrets.MarshalSecret()
	k, err := ParseKeyPackageSecrets(secrets)
	must(t, err)
	equal(t, "KeyPackageSecrets", k.MarshalSecret(), secrets)
	for i := range secrets {
		if _, err := ParseKeyPackageSecrets(secrets[:i]); err == nil {
			t.Fatalf("first %d octets of KeyPackageSecrets", i)
		}
	}
	signer, err := ParseSignatureKey(1, bob.signer.MarshalSecret())
	must(t, err)
	equal(t, "public key", signer.PublicKey(), bob.signer.PublicKey())
}

// A length is a claim: four octets that claim a gigabyte cost nothing.
func TestClaimedLengths(t *testing.T) {
	_, bob, _ := trio(t, 1)
	huge := []byte{0xbf, 0xff, 0xff, 0xff}
	for wire := range WireFormat(8) {
		message := mlsMessage(wire, huge)
		if n := testing.AllocsPerRun(10, func() {
			_, _ = bob.e.Process(message, ProcessConfig{Ratchets: bob.r, Validator: AcceptAnyCredential})
			_, _, _ = bob.r.Open(message)
			_, _ = readRatchetTree(suites[0], huge)
			_, _ = ParseKeyPackage(message)
		}); n > 100 {
			t.Errorf("wire format %d: %v allocations", wire, n)
		}
	}
}

// No verb, no log and no JSON shows a secret, whichever type it is in: one value of every
// type of this package that holds key material is printed, and secretTypes finds those in
// the source, so that none is left out.
func TestSecretsAreNotPrinted(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	bob.opens(alice.seal("x"), alice, "x")
	_, _, err := bob.r.Open(func() []byte { alice.seal("skipped"); return alice.seal("y") }())
	must(t, err)
	rows := bob.r.Rows()
	var hidden [][]byte
	for _, s := range bob.e.secrets.each() {
		hidden = append(hidden, clone(s.bytes()))
	}
	for _, k := range bob.e.keys {
		hidden = append(hidden, clone(k.bytes()))
	}
	for _, r := range rows {
		hidden = append(hidden, r.Value)
	}
	hidden = append(hidden, bob.signer.MarshalSecret(), clone(bob.secrets.initKey.bytes()), clone(bob.secrets.leafKey.bytes()))
	init := bob.e.secrets.init
	thin, err := bob.e.Thin()
	must(t, err)
	g, err := OpenGroup(bob.options(1), bob.e, bob.r)
	must(t, err)
	committed := &CommitResult{Epoch: bob.e, Ratchets: bob.r, Delta: rows}
	chain := ratchetID{alice.e.own, applicationRatchet}
	values := map[string]any{
		"secret":            init,
		"messageKey":        messageKey{init},
		"ratchetState":      bob.r.tree.chains[chain],
		"secretTree":        bob.r.tree,
		"change":            change{nodes: bob.r.tree.nodes, chains: bob.r.tree.chains, skipped: bob.r.tree.skipped, used: []messageKey{{init}}},
		"pathKeys":          bob.e.keys,
		"pendingLeaf":       pendingLeaf{private: init},
		"newPath":           &newPath{secrets: []secret{init}, keys: bob.e.keys, last: init},
		"applied":           &applied{ownKey: init},
		"proposalList":      bob.e.newProposalList(sender{}),
		"epochSecrets":      bob.e.secrets,
		"groupSecrets":      &groupSecrets{joiner: init.bytes(), pathSecret: bob.e.secrets.exporter.bytes()},
		"Epoch":             bob.e,
		"ThinEpoch":         thin,
		"Ratchets":          bob.r,
		"Row":               rows[0],
		"Delta":             Delta(rows),
		"SignatureKey":      bob.signer,
		"KeyPackageSecrets": bob.secrets,
		"Group":             g,
		"Options":           bob.options(1),
		"Joined":            &Joined{Epoch: bob.e, Ratchets: bob.r},
		"CommitResult":      committed,
		"Processed":         &Processed{Epoch: bob.e, Ratchets: bob.r, Delta: rows},
		"Received":          Received{Commit: &Processed{Epoch: bob.e, Delta: rows}},
		"GroupConfig":       GroupConfig{Signer: bob.signer},
		"KeyPackageConfig":  KeyPackageConfig{Signer: bob.signer},
		"SuccessorConfig":   SuccessorConfig{Signer: bob.signer},
		"ExternalConfig":    ExternalConfig{Signer: bob.signer},
		"LeafUpdate":        &LeafUpdate{Signer: bob.signer},
		"CommitOptions":     CommitOptions{Leaf: &LeafUpdate{Signer: bob.signer}},
		"CommitConfig":      CommitConfig{Signer: bob.signer, Ratchets: bob.r, Leaf: &LeafUpdate{Signer: bob.signer}},
		"ProposeConfig":     ProposeConfig{Signer: bob.signer, Ratchets: bob.r},
		"ProcessConfig":     ProcessConfig{Ratchets: bob.r},
		"JoinConfig":        JoinConfig{Secrets: bob.secrets, Parent: bob.e},
	}
	types := secretTypes(t)
	for _, name := range types {
		if values[name] == nil {
			t.Errorf("type %s holds key material and is not printed here", name)
		}
	}
	if len(types) != len(values) || len(types) < 20 {
		t.Errorf("%d types hold key material, %d are printed", len(types), len(values))
	}
	type inside struct {
		e *Epoch
		r *Ratchets
		s *SignatureKey
		k *KeyPackageSecrets
		x secret
		m messageKey
		p pathKeys
	}
	values["in unexported fields"] = inside{bob.e, bob.r, bob.signer, bob.secrets, init, messageKey{init}, bob.e.keys}
	values["in a slice"] = []any{bob.e, bob.secrets, rows}
	values["in a map"] = map[string]any{"k": bob.signer, "r": rows[0]}
	values["by pointer"] = &bob.e.secrets.init
	if len(hidden) < 15 {
		t.Fatalf("%d secrets searched for", len(hidden))
	}
	for name, v := range values {
		printed := everyForm(v)
		if printed == "" {
			t.Errorf("%s: nothing was printed", name)
		}
		for i, h := range hidden {
			for _, form := range formsOf(t, h) {
				if strings.Contains(printed, form) {
					t.Errorf("%s: secret %d is printed", name, i)
					break
				}
			}
		}
	}
	if !strings.Contains(everyForm(init), redacted) {
		t.Error("placeholder missing")
	}
}

// everyForm prints v in all ways that there are.
func everyForm(v any) string {
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb, v)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("secret", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("secret", "v", v)
	if b, err := json.Marshal(v); err == nil {
		out.Write(b)
	}
	return out.String()
}

// formsOf gives the forms in which a secret could show.
func formsOf(t *testing.T, h []byte) []string {
	base64, err := json.Marshal(h)
	must(t, err)
	goSyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", h), "[]byte{"), "}")
	forms := []string{
		string(h), hex.EncodeToString(h), strings.ToUpper(hex.EncodeToString(h)), strings.Trim(fmt.Sprint(h), "[]"),
		goSyntax, strings.Trim(string(base64), `"`),
	}
	for _, form := range forms {
		if len(form) < 16 {
			t.Fatalf("form %q is too short to search for", form)
		}
	}
	return forms
}

// secretTypes finds the types of this package that hold key material: secret, those whose
// fields are secret though they are octets, and all that mention one of them.
func secretTypes(t *testing.T) []string {
	files, err := filepath.Glob("*.go")
	must(t, err)
	mentions := map[string][]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl, *ast.InterfaceType:
				return false
			case *ast.TypeSpec:
				ast.Inspect(n.Type, func(inner ast.Node) bool {
					switch inner := inner.(type) {
					case *ast.FuncType:
						return false
					case *ast.Field:
						ast.Inspect(inner.Type, func(typ ast.Node) bool {
							if id, ok := typ.(*ast.Ident); ok {
								mentions[n.Name.Name] = append(mentions[n.Name.Name], id.Name)
							}
							_, isFunc := typ.(*ast.FuncType)
							return !isFunc
						})
						return false
					case *ast.Ident:
						mentions[n.Name.Name] = append(mentions[n.Name.Name], inner.Name)
					}
					return true
				})
				return false
			}
			return true
		})
	}
	found := []string{"secret", "Row", "groupSecrets"}
	for again := true; again; {
		again = false
		for name, list := range mentions {
			if !slices.Contains(found, name) && slices.ContainsFunc(list, func(m string) bool { return slices.Contains(found, m) }) {
				found, again = append(found, name), true
			}
		}
	}
	slices.Sort(found)
	return found
}

// A used key is gone from the memory that this package holds.
func TestUsedKeysAreWiped(t *testing.T) {
	alice, bob, _ := trio(t, 1)
	root := bob.r.tree.nodes[bob.e.tree.rootIndex()]
	kept := root.bytes()
	bob.opens(alice.seal("x"), alice, "x")
	if !bytes.Equal(kept, make([]byte, 32)) {
		t.Error("encryption_secret is still there")
	}
	chain := bob.r.tree.chains[ratchetID{alice.e.own, applicationRatchet}].secret.bytes()
	bob.opens(alice.seal("y"), alice, "y")
	if !bytes.Equal(chain, make([]byte, 32)) {
		t.Error("ratchet secret is still there")
	}
	init := bob.e.secrets.init.bytes()
	bob.e.Wipe()
	if !bytes.Equal(init, make([]byte, 32)) {
		t.Error("init_secret is still there")
	}
	seed := bob.signer.private.bytes()
	bob.signer.Wipe()
	if !bytes.Equal(seed, make([]byte, 32)) {
		t.Error("signature key is still there")
	}
	if _, err := alice.e.Commit(alice.rand, CommitConfig{Signer: bob.signer, Validator: AcceptAnyCredential}); !errors.Is(err, ErrUsage) {
		t.Errorf("signing with a wiped key: %v", err)
	}
	if _, _, err := bob.r.Seal(bob.rand, bob.signer, nil, nil, 0); !errors.Is(err, ErrUsage) {
		t.Errorf("sealing in a wiped epoch: %v", err)
	}
	if _, err := bob.e.Export("x", nil, 32); !errors.Is(err, ErrUsage) {
		t.Errorf("exporting from a wiped epoch: %v", err)
	}
}
