package mls

import (
	"bytes"
	"encoding/json"
	"testing"
)

// wireTypes is every type that is decoded from outside. decode gives a function that
// encodes the decoded value again, field by field.
var wireTypes = []struct {
	name   string
	decode func(r *reader) func(w *writer)
}{
	{"Credential", func(r *reader) func(*writer) { return readCredential(r).encode }},
	{"Capabilities", func(r *reader) func(*writer) { return readCapabilities(r).encode }},
	{"Extensions", func(r *reader) func(*writer) {
		list := readExtensions(r)
		return func(w *writer) { encodeExtensions(w, list) }
	}},
	{"LeafNode", func(r *reader) func(*writer) { return leafFields(readLeafNode(r)) }},
	{"KeyPackage", func(r *reader) func(*writer) {
		kp := readKeyPackage(r)
		return func(w *writer) {
			kp.Leaf.raw = encode(leafFields(kp.Leaf))
			kp.encodeUnsigned(w)
			w.vec(kp.Signature)
		}
	}},
	{"PreSharedKeyID", func(r *reader) func(*writer) { return readPreSharedKeyID(r).encode }},
	{"Proposal", func(r *reader) func(*writer) {
		p := readProposal(r)
		return func(w *writer) { encodeProposal(w, p) }
	}},
	{"UpdatePath", func(r *reader) func(*writer) { return readUpdatePath(r).encode }},
	{"Commit", func(r *reader) func(*writer) { return readCommit(r).encode }},
	{"ParentNode", func(r *reader) func(*writer) { return readParentNode(r).encode }},
	{"GroupContext", func(r *reader) func(*writer) { return readGroupContext(r).encode }},
	{"GroupInfo", func(r *reader) func(*writer) {
		g := readGroupInfo(r)
		return func(w *writer) { g.encodeUnsigned(w); w.vec(g.signature) }
	}},
	{"GroupSecrets", func(r *reader) func(*writer) { return readGroupSecrets(r).encode }},
	{"Welcome", func(r *reader) func(*writer) { return readWelcome(r).encode }},
	{"PublicMessage", func(r *reader) func(*writer) {
		m := readPublicMessage(r)
		return func(w *writer) {
			m.encodeHeader(w)
			m.encodeBody(w)
			m.encodeAuth(w)
			if m.sender.typ == senderMember {
				w.vec(m.membershipTag)
			}
		}
	}},
	{"PrivateMessage", func(r *reader) func(*writer) { return readPrivateMessage(r).encode }},
	{"ExternalSenders", func(r *reader) func(*writer) {
		b := r.b
		r.b = nil
		list, err := ExternalSenders([]Extension{{ExtensionExternalSenders, b}})
		if err != nil {
			r.err = err
			return nil
		}
		return func(w *writer) { w.raw(ExternalSendersExtension(list...).Data) }
	}},
	{"RequiredCapabilities", func(r *reader) func(*writer) {
		b := r.b
		r.b = nil
		req, err := readRequired([]Extension{{ExtensionRequiredCapabilities, b}})
		if err != nil {
			r.err = err
			return nil
		}
		return func(w *writer) {
			encodeU16s(w, req.extensions)
			encodeU16s(w, req.proposals)
			encodeU16s(w, req.credentials)
		}
	}},
	{"RatchetTree", func(r *reader) func(*writer) {
		b := r.b
		r.b = nil
		t, err := readRatchetTree(suites[0], b)
		if err != nil {
			r.err = err
			return nil
		}
		return func(w *writer) { w.raw(t.encode()) }
	}},
}

func leafFields(l *LeafNode) func(w *writer) {
	return func(w *writer) { l.encodeUnsigned(w); w.vec(l.Signature) }
}

// decodeWire decodes b as type k; what is accepted has to encode to the same bytes.
func decodeWire(t testing.TB, k int, b []byte) error {
	t.Helper()
	r := &reader{b: clone(b)}
	again := wireTypes[k].decode(r)
	if err := r.done(wireTypes[k].name); err != nil {
		return err
	}
	if got := encode(again); !bytes.Equal(got, b) {
		t.Fatalf("%s: accepted, and it encodes differently\n got %x\nwant %x", wireTypes[k].name, got, b)
	}
	return nil
}

// wireSamples gives one encoding of every wire type, taken from a small group.
func wireSamples(t testing.TB) map[string][]byte {
	alice, bob, carol := trio(t, 1)
	dave := newClient(t, 1, "dave")
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{dave.kp}, Remove{carol.e.OwnLeaf()}}, InlineTree: true})
	r, err := openMessageAs(out.Commit, WirePublic)
	must(t, err)
	public := readPublicMessage(r)
	info, err := alice.e.GroupInfo(alice.signer, []Extension{{Type: 0xff01, Data: []byte("x")}}, true)
	must(t, err)
	psk := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, GroupID: []byte("g"), Epoch: 7, Nonce: []byte("n")}
	return map[string][]byte{
		"Credential":     encode(Credential{Type: CredentialX509, Certificates: [][]byte{[]byte("leaf"), []byte("ca")}}.encode),
		"Capabilities":   encode(DefaultCapabilities(7, 8).encode),
		"Extensions":     encode(func(w *writer) { encodeExtensions(w, []Extension{{9, []byte("nine")}, {Type: 10}}) }),
		"LeafNode":       public.commit.path.leaf.raw,
		"KeyPackage":     dave.kp.raw,
		"PreSharedKeyID": encode(psk.encode),
		"Proposal":       encode(func(w *writer) { encodeProposal(w, Add{dave.kp}) }),
		"UpdatePath":     encode(public.commit.path.encode),
		"Commit":         encode(public.commit.encode),
		"ParentNode":     encode((&parentNode{dave.kp.InitKey, []byte("hash"), []LeafIndex{1, 5}}).encode),
		"GroupContext":   bob.e.context,
		"GroupInfo":      info[4:],
		"GroupSecrets":   encode((&groupSecrets{[]byte("j"), true, []byte("p"), []PreSharedKeyID{psk}}).encode),
		"Welcome":        out.Welcome[4:],
		"PublicMessage":  out.Commit[4:],
		"PrivateMessage": alice.seal("hello")[4:],
		"RatchetTree":    bob.e.RatchetTree(),
		"ExternalSenders": ExternalSendersExtension(
			ExternalSender{alice.signer.PublicKey(), BasicCredential([]byte("server"))},
			ExternalSender{bob.signer.PublicKey(), Credential{Type: CredentialX509, Certificates: [][]byte{[]byte("der")}}},
		).Data,
		"RequiredCapabilities": encode(func(w *writer) {
			encodeU16s(w, []ExtensionType{1, 0xff01})
			encodeU16s(w, []ProposalType{8})
			encodeU16s(w, []CredentialType{1, 2})
		}),
	}
}

// Every wire type round-trips and is refused at every prefix.
func TestWireTypes(t *testing.T) {
	samples := wireSamples(t)
	if len(samples) != len(wireTypes) {
		t.Fatalf("%d samples for %d types", len(samples), len(wireTypes))
	}
	for k, typ := range wireTypes {
		b, ok := samples[typ.name]
		if !ok {
			t.Fatalf("no sample of %s", typ.name)
		}
		if err := decodeWire(t, k, b); err != nil {
			t.Errorf("%s: %v", typ.name, err)
		}
		for i := range b {
			if err := decodeWire(t, k, b[:i]); err == nil {
				t.Errorf("%s: first %d octets of %d accepted", typ.name, i, len(b))
			}
			c := clone(b)
			c[i] ^= 1 << (i % 8)
			_ = decodeWire(t, k, c) // may be accepted, and then encodes to the same bytes
		}
		if err := decodeWire(t, k, append(clone(b), 0)); err == nil {
			t.Errorf("%s: trailing octet accepted", typ.name)
		}
	}
}

// Vector lengths are minimal: RFC 9420, Section 2.1.2.
func TestVectorLength(t *testing.T) {
	for _, b := range [][]byte{{}, {0x40}, {0x40, 0x3f}, {0x80, 0, 0, 1}, {0x80, 0, 0x3f, 0xff}, {0xc0}, {0xc0, 0, 0, 0, 0, 0, 0, 1}, {0x80, 0, 0}} {
		r := reader{b: b}
		r.length()
		if r.err == nil {
			t.Errorf("length %x accepted", b)
		}
	}
}

// vectorMessages decodes and encodes each message of a case of messages.json.
func vectorMessages(t *testing.T, raw json.RawMessage) {
	v := decode[map[string]hexBytes](t, raw)
	index := func(name string) int {
		for k, typ := range wireTypes {
			if typ.name == name {
				return k
			}
		}
		t.Fatalf("no wire type %s", name)
		return 0
	}
	type field struct {
		name, typ string
		strip     int          // octets of MLSMessage
		wire      WireFormat   // what strip has to say
		prefix    ProposalType // put in front
	}
	fields := []field{
		{"mls_welcome", "Welcome", 4, wireWelcome, 0},
		{"mls_group_info", "GroupInfo", 4, wireGroupInfo, 0},
		{"mls_key_package", "KeyPackage", 4, wireKeyPackage, 0},
		{"public_message_application", "", 4, WirePublic, 0},
		{"public_message_proposal", "PublicMessage", 4, WirePublic, 0},
		{"public_message_commit", "PublicMessage", 4, WirePublic, 0},
		{"private_message", "PrivateMessage", 4, WirePrivate, 0},
		{"ratchet_tree", "RatchetTree", 0, 0, 0},
		{"group_secrets", "GroupSecrets", 0, 0, 0},
		{"commit", "Commit", 0, 0, 0},
		{"add_proposal", "Proposal", 0, 0, ProposalAdd},
		{"update_proposal", "Proposal", 0, 0, ProposalUpdate},
		{"remove_proposal", "Proposal", 0, 0, ProposalRemove},
		{"pre_shared_key_proposal", "Proposal", 0, 0, ProposalPreSharedKey},
		{"re_init_proposal", "Proposal", 0, 0, ProposalReInit},
		{"external_init_proposal", "Proposal", 0, 0, ProposalExternalInit},
		{"group_context_extensions_proposal", "Proposal", 0, 0, ProposalGroupContextExtensions},
	}
	if len(fields) != len(v) {
		t.Fatalf("%d fields, want %d", len(v), len(fields))
	}
	for _, f := range fields {
		b := []byte(v[f.name])
		if f.strip > 0 {
			_, wire, err := openMessage(b)
			must(t, err)
			if wire != f.wire {
				t.Errorf("%s: wire format %d", f.name, wire)
			}
			b = b[f.strip:]
		}
		if f.prefix > 0 {
			b = append([]byte{0, byte(f.prefix)}, b...)
		}
		if f.typ == "" {
			// Application data in a PublicMessage: it has a form, and is never accepted
			// (RFC 9420, Section 6.2).
			if err := decodeWire(t, index("PublicMessage"), b); err == nil {
				t.Errorf("%s: accepted", f.name)
			}
			continue
		}
		if err := decodeWire(t, index(f.typ), b); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}
