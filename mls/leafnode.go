package mls

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"
)

// Identifiers of RFC 9420, Section 17.
type (
	// ProtocolVersion is mls10 or a later version.
	ProtocolVersion uint16
	// ExtensionType says what an extension is.
	ExtensionType uint16
	// ProposalType says what a proposal does.
	ProposalType uint16
	// CredentialType says of what kind a credential is.
	CredentialType uint16
	// WireFormat says what an MLSMessage holds.
	WireFormat uint16
	// LeafIndex is the position of a member among the leaves of the tree.
	LeafIndex uint32
)

// MLS10 is the one protocol version.
const MLS10 ProtocolVersion = 1

// Credential types, RFC 9420, Section 17.5.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Extension types, RFC 9420, Section 17.3.
const (
	ExtensionApplicationID        ExtensionType = 1
	ExtensionRatchetTree          ExtensionType = 2
	ExtensionRequiredCapabilities ExtensionType = 3
	ExtensionExternalPub          ExtensionType = 4
	ExtensionExternalSenders      ExtensionType = 5
	ExtensionLastResort           ExtensionType = 10
)

// Credential is what binds a signature key to an identity, RFC 9420, Section
// 5.3: Identity for [CredentialBasic], Certificates (DER, leaf first) for
// [CredentialX509]. Types without a known form are refused.
type Credential struct {
	Type         CredentialType
	Identity     []byte
	Certificates [][]byte
}

// BasicCredential is a credential with a bare identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// CredentialValidator decides whether a credential may stand with this signature
// key: RFC 9420's Authentication Service (Section 5.3.1). It is asked wherever a
// leaf can come in. A nil validator is refused; see [AcceptAnyCredential].
type CredentialValidator func(cred Credential, signatureKey []byte) error

// AcceptAnyCredential is a validator for callers that check members elsewhere.
func AcceptAnyCredential(Credential, []byte) error { return nil }

// check asks the validator about a leaf: RFC 9420, Sections 5.3.1 and 7.3.
func (v CredentialValidator) check(l *LeafNode) error {
	if v == nil {
		return fmt.Errorf("%w: no CredentialValidator", ErrUsage)
	}
	if err := v(l.Credential, l.SignatureKey); err != nil {
		return fmt.Errorf("%w: %w", ErrCredential, err)
	}
	return nil
}

func (c Credential) encode(w *writer) {
	w.u16(uint16(c.Type))
	switch c.Type {
	case CredentialX509:
		w.list(func() {
			for _, cert := range c.Certificates {
				w.vec(cert)
			}
		})
	default:
		w.vec(c.Identity)
	}
}

func readCredential(r *reader) (c Credential) {
	c.Type = CredentialType(r.u16())
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.vec()
	case CredentialX509:
		r.list(func(r *reader) { c.Certificates = append(c.Certificates, r.vec()) })
	default:
		r.fail("credential type %d", c.Type)
	}
	return c
}

func (c Credential) known() bool { return c.Type == CredentialBasic || c.Type == CredentialX509 }

// Extension is an extension of a KeyPackage, LeafNode, GroupContext or GroupInfo.
type Extension struct {
	Type ExtensionType
	Data []byte
}

func encodeExtensions(w *writer, list []Extension) {
	w.list(func() {
		for _, x := range list {
			w.u16(uint16(x.Type))
			w.vec(x.Data)
		}
	})
}

func readExtensions(r *reader) (list []Extension) {
	r.list(func(r *reader) { list = append(list, Extension{ExtensionType(r.u16()), r.vec()}) })
	return list
}

// FindExtension gives the data of the extension of type t.
func FindExtension(list []Extension, t ExtensionType) ([]byte, bool) {
	for _, x := range list {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

// checkExtensions refuses two extensions of one type: RFC 9420, Section 13.4.
func checkExtensions(list []Extension) error {
	if len(list) < 2 {
		return nil
	}
	var seen typeSet[ExtensionType]
	for _, x := range list {
		if seen.has(x.Type) {
			return fmt.Errorf("%w: extension %d twice", ErrInvalid, x.Type)
		}
		seen.add(x.Type)
	}
	return nil
}

// typeSet holds any identifiers of 16 bits. Lists of them come from outside and may be as
// long as a message: they are compared by way of a set, not each with each.
type typeSet[T ~uint16] [1 << 16 / 64]uint64

func (s *typeSet[T]) add(t T)      { s[t/64] |= 1 << (t % 64) }
func (s *typeSet[T]) has(t T) bool { return s[t/64]&(1<<(t%64)) != 0 }

// missing gives the first of want that is neither in have nor in the default ones, which
// are 1 to last.
func missing[T ~uint16](want, have []T, last T) (t T, found bool) {
	if len(want)*len(have) <= 256 { // cheaper than a set
		for _, t := range want {
			if (t == 0 || t > last) && !slices.Contains(have, t) {
				return t, true
			}
		}
		return 0, false
	}
	var set typeSet[T]
	for t := T(1); t <= last; t++ {
		set.add(t)
	}
	for _, t := range have {
		set.add(t)
	}
	for _, t := range want {
		if !set.has(t) {
			return t, true
		}
	}
	return 0, false
}

// The types of extensions and proposals that every member supports: RFC 9420, Section 7.2.
const (
	lastDefaultExtension ExtensionType = 5
	lastDefaultProposal  ProposalType  = 7
)

func extensionTypes(list []Extension) []ExtensionType {
	types := make([]ExtensionType, len(list))
	for k, x := range list {
		types[k] = x.Type
	}
	return types
}

// Capabilities says what a client supports, RFC 9420, Section 7.2. The types that
// the RFC defines as default (extensions 1-5, proposals 1-7) are not listed.
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// DefaultCapabilities is what this engine supports: all suites of RFC 9420, both
// credential types, and the given extension types beyond the default ones.
func DefaultCapabilities(extensions ...ExtensionType) Capabilities {
	c := Capabilities{
		Versions:    []ProtocolVersion{MLS10},
		Extensions:  extensions,
		Credentials: []CredentialType{CredentialBasic, CredentialX509},
	}
	for _, s := range suites {
		c.CipherSuites = append(c.CipherSuites, s.id)
	}
	return c
}

func encodeU16s[T ~uint16](w *writer, list []T) {
	w.list(func() {
		for _, v := range list {
			w.u16(uint16(v))
		}
	})
}

// readU16s reads at once what a tree of many leaves has five of for each.
func readU16s[T ~uint16](r *reader) []T {
	b := r.vec()
	if len(b)%2 != 0 {
		r.fail("%d bytes of numbers of two", len(b))
	}
	if r.err != nil || len(b) == 0 {
		return nil
	}
	list := make([]T, len(b)/2)
	for i := range list {
		list[i] = T(binary.BigEndian.Uint16(b[2*i:]))
	}
	return list
}

func (c Capabilities) encode(w *writer) {
	encodeU16s(w, c.Versions)
	encodeU16s(w, c.CipherSuites)
	encodeU16s(w, c.Extensions)
	encodeU16s(w, c.Proposals)
	encodeU16s(w, c.Credentials)
}

func readCapabilities(r *reader) Capabilities {
	return Capabilities{
		Versions:     readU16s[ProtocolVersion](r),
		CipherSuites: readU16s[CipherSuite](r),
		Extensions:   readU16s[ExtensionType](r),
		Proposals:    readU16s[ProposalType](r),
		Credentials:  readU16s[CredentialType](r),
	}
}

// Grease gives c with a value of RFC 9420, Section 13.5 (0x0A0A, 0x1A1A … 0xEAEA) at a
// place drawn from rand among suites, extensions, proposals and credentials: others
// have to pass over what they do not know. It does not change c.
func (c Capabilities) Grease(rand io.Reader) (Capabilities, error) {
	b, err := draw(rand, 8)
	if err != nil {
		return c, err
	}
	c.CipherSuites = greased(c.CipherSuites, b[0], b[1])
	c.Extensions = greased(c.Extensions, b[2], b[3])
	c.Proposals = greased(c.Proposals, b[4], b[5])
	c.Credentials = greased(c.Credentials, b[6], b[7])
	return c, nil
}

func greased[T ~uint16](list []T, value, place byte) []T {
	v := T(value%15)<<12 | 0x0A0A | T(value%15)<<4
	return slices.Insert(slices.Clone(list), int(place)%(len(list)+1), v)
}

// requiredCapabilities is the extension of RFC 9420, Section 11.1.
type requiredCapabilities struct {
	extensions  []ExtensionType
	proposals   []ProposalType
	credentials []CredentialType
}

func readRequired(list []Extension) (req requiredCapabilities, err error) {
	data, ok := FindExtension(list, ExtensionRequiredCapabilities)
	if !ok {
		return req, nil
	}
	r := reader{b: data}
	req.extensions = readU16s[ExtensionType](&r)
	req.proposals = readU16s[ProposalType](&r)
	req.credentials = readU16s[CredentialType](&r)
	return req, r.done("required_capabilities")
}

// LeafNodeSource says how a leaf came to be, RFC 9420, Section 7.2.
type LeafNodeSource uint8

// The sources of a LeafNode.
const (
	LeafFromKeyPackage LeafNodeSource = 1
	LeafFromUpdate     LeafNodeSource = 2
	LeafFromCommit     LeafNodeSource = 3
)

// LeafNode is a member's place in the tree, RFC 9420, Section 7.2. It is
// immutable: decode or build a new one.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	NotBefore     uint64 // seconds since 1970, LeafFromKeyPackage only
	NotAfter      uint64
	ParentHash    []byte // LeafFromCommit only
	Extensions    []Extension
	Signature     []byte

	raw []byte // as it arrived, or as it was signed
	tbs int    // raw[:tbs] is what LeafNodeTBS begins with
}

func (l *LeafNode) encodeUnsigned(w *writer) {
	w.vec(l.EncryptionKey)
	w.vec(l.SignatureKey)
	l.Credential.encode(w)
	l.Capabilities.encode(w)
	w.u8(uint8(l.Source))
	switch l.Source {
	case LeafFromKeyPackage:
		w.u64(l.NotBefore)
		w.u64(l.NotAfter)
	case LeafFromCommit:
		w.vec(l.ParentHash)
	case LeafFromUpdate:
	}
	encodeExtensions(w, l.Extensions)
}

func readLeafNode(r *reader) *LeafNode {
	start := r.b
	l := &LeafNode{EncryptionKey: r.vec(), SignatureKey: r.vec()}
	l.Credential = readCredential(r)
	l.Capabilities = readCapabilities(r)
	switch l.Source = LeafNodeSource(r.u8()); l.Source {
	case LeafFromKeyPackage:
		l.NotBefore, l.NotAfter = r.u64(), r.u64()
	case LeafFromUpdate:
	case LeafFromCommit:
		l.ParentHash = r.vec()
	default:
		r.fail("leaf_node_source %d", l.Source)
	}
	l.Extensions = readExtensions(r)
	l.tbs = len(r.since(start))
	l.Signature = r.vec()
	l.raw = r.since(start)
	return l
}

// tbsBytes is LeafNodeTBS, RFC 9420, Section 7.2.
func (l *LeafNode) tbsBytes(groupID []byte, index LeafIndex) []byte {
	w := writer{b: clone(l.raw[:l.tbs])}
	if l.Source != LeafFromKeyPackage {
		w.vec(groupID)
		w.u32(uint32(index))
	}
	return w.b
}

// signed gives a copy of l with its signature and raw bytes.
func (l LeafNode) signed(s *suite, key *SignatureKey, groupID []byte, index LeafIndex) (*LeafNode, error) {
	var w writer
	l.encodeUnsigned(&w)
	l.raw, l.tbs = w.b, len(w.b)
	sig, err := s.signWithLabel(key, "LeafNodeTBS", l.tbsBytes(groupID, index))
	if err != nil {
		return nil, err
	}
	w.vec(sig)
	l.raw, l.Signature = w.b, sig
	return &l, nil
}

// verifySignature verifies the signature over LeafNodeTBS: RFC 9420, Section 7.3.
func (l *LeafNode) verifySignature(s *suite, groupID []byte, index LeafIndex) error {
	if !s.verifyWithLabel(l.SignatureKey, "LeafNodeTBS", l.tbsBytes(groupID, index), l.Signature) {
		return fmt.Errorf("%w: signature of LeafNode", ErrInvalid)
	}
	return nil
}

// checkSelf is the part of RFC 9420, Section 7.3 that needs no group. A leaf that leaves
// out its own ciphersuite is taken: Section 7.2 binds its maker (see checkMade), and
// clients exist that leave it out.
func (l *LeafNode) checkSelf(s *suite) error {
	if err := s.kem.checkPublic(l.EncryptionKey); err != nil {
		return fmt.Errorf("encryption_key: %w", err)
	}
	switch {
	case !slices.Contains(l.Capabilities.Versions, MLS10):
		return fmt.Errorf("%w: leaf's capabilities lack version mls10", ErrInvalid)
	case !slices.Contains(l.Capabilities.Credentials, l.Credential.Type):
		return fmt.Errorf("%w: leaf's capabilities lack its own credential type", ErrInvalid)
	}
	if err := checkExtensions(l.Extensions); err != nil {
		return err
	}
	if t, lacks := missing(extensionTypes(l.Extensions), l.Capabilities.Extensions, lastDefaultExtension); lacks {
		return fmt.Errorf("%w: leaf has extension %d that its capabilities lack", ErrInvalid, t)
	}
	return nil
}

// checkMade is checkSelf for a leaf of this client's own: it lists its ciphersuite, as RFC
// 9420, Section 7.2, demands.
func (l *LeafNode) checkMade(s *suite) error {
	if !slices.Contains(l.Capabilities.CipherSuites, s.id) {
		return fmt.Errorf("%w: leaf's capabilities lack the ciphersuite", ErrInvalid)
	}
	return l.checkSelf(s)
}

// checkSupports verifies that the leaf can be in a group with these GroupContext
// extensions: RFC 9420, Section 7.3 (required_capabilities) and 12.1.7.
func (l *LeafNode) checkSupports(extensions []Extension) error {
	d, err := demandsOf(extensions)
	if err != nil {
		return err
	}
	return l.meets(d)
}

// demands are what a group asks of every member, each type once.
type demands struct {
	required requiredCapabilities
	used     []ExtensionType // in the GroupContext
}

// demandsOf is for many leaves: what is asked of each is as long as the group made it.
func demandsOf(extensions []Extension) (d demands, err error) {
	if d.required, err = readRequired(extensions); err != nil {
		return d, err
	}
	d.required.extensions = once(d.required.extensions)
	d.required.proposals = once(d.required.proposals)
	d.required.credentials = once(d.required.credentials)
	d.used = once(extensionTypes(extensions))
	return d, nil
}

// once drops what is in list for the second time.
func once[T ~uint16](list []T) []T {
	if len(list) < 2 {
		return list
	}
	var seen typeSet[T]
	return slices.DeleteFunc(list, func(t T) bool {
		again := seen.has(t)
		seen.add(t)
		return again
	})
}

func (l *LeafNode) meets(d demands) error {
	if t, lacks := missing(d.required.extensions, l.Capabilities.Extensions, lastDefaultExtension); lacks {
		return fmt.Errorf("%w: member lacks required extension %d", ErrInvalid, t)
	}
	if t, lacks := missing(d.required.proposals, l.Capabilities.Proposals, lastDefaultProposal); lacks {
		return fmt.Errorf("%w: member lacks required proposal %d", ErrInvalid, t)
	}
	if t, lacks := missing(d.required.credentials, l.Capabilities.Credentials, 0); lacks {
		return fmt.Errorf("%w: member lacks required credential %d", ErrInvalid, t)
	}
	if t, lacks := missing(d.used, l.Capabilities.Extensions, lastDefaultExtension); lacks {
		return fmt.Errorf("%w: member lacks extension %d of the group", ErrInvalid, t)
	}
	return nil
}

// checkLifetime is the lifetime check of RFC 9420, Section 7.3.
func (l *LeafNode) checkLifetime(now time.Time) error {
	t := now.Unix()
	if l.Source == LeafFromKeyPackage && (t < 0 || uint64(t) < l.NotBefore || uint64(t) > l.NotAfter) {
		return fmt.Errorf("%w: valid from %d to %d, now %d", ErrLifetime, l.NotBefore, l.NotAfter, t)
	}
	return nil
}

// checkSent is checkLifetime for a client that proposes or commits the leaf at now: RFC
// 9420, Section 7.3. A client that does not know the time cannot.
func (l *LeafNode) checkSent(now time.Time) error {
	if now.IsZero() {
		return fmt.Errorf("%w: no time to check the lifetime of a KeyPackage at", ErrUsage)
	}
	return l.checkLifetime(now)
}

// Bytes gives a copy of the encoding.
func (l *LeafNode) Bytes() []byte { return clone(l.raw) }

func (l *LeafNode) equal(m *LeafNode) bool { return bytes.Equal(l.raw, m.raw) }

// unixSeconds clamps a time to what a Lifetime can say.
func unixSeconds(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.Unix())
}
