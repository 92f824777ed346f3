package wire

import "fmt"

// Kind says what an entry's body is.
type Kind uint64

// Kinds. An entry of an unknown kind is kept, passed on and counted in version
// vectors, and has no other effect.
const (
	KindOp       Kind = 1
	KindCommit   Kind = 2
	KindRecord   Kind = 3
	KindVote     Kind = 4
	KindTKey     Kind = 5
	KindTKeyWrap Kind = 6
)

func (k Kind) String() string {
	switch k {
	case KindOp:
		return "OP"
	case KindCommit:
		return "COMMIT"
	case KindRecord:
		return "RECORD"
	case KindVote:
		return "VOTE"
	case KindTKey:
		return "TKEY"
	case KindTKeyWrap:
		return "TKEY-WRAP"
	}
	return fmt.Sprintf("kind(%d)", uint64(k))
}

// Entry is one link of a device's log. It travels as a Signed whose payload is
// this and whose signature is the log key's.
type Entry struct {
	V           uint64      `cbor:"1,keyasint"`
	Group       GroupID     `cbor:"2,keyasint"`
	Device      DeviceID    `cbor:"3,keyasint"`
	Incarnation uint64      `cbor:"4,keyasint"`
	Seq         uint64      `cbor:"5,keyasint"` // from 1
	Prev        EntryHash   `cbor:"6,keyasint"` // zero at seq 1
	Deps        []EntryHash `cbor:"7,keyasint"` // frontier of the other logs, ascending; an OP names all of it
	Kind        Kind        `cbor:"8,keyasint"`
	HLC         uint64      `cbor:"9,keyasint"`
	Body        []byte      `cbor:"10,keyasint"`
}

func (e *Entry) version() uint64 { return e.V }

// Log is the log that e belongs to.
func (e *Entry) Log() LogID { return LogID{Device: e.Device, Incarnation: e.Incarnation} }

// Encode gives the payload that the log key signs.
func (e *Entry) Encode() []byte { return Marshal(e) }

// DecodeEntry reads an entry's payload and checks what can be seen without keys
// and without other entries.
func DecodeEntry(b []byte) (*Entry, error) {
	e := new(Entry)
	if err := decodeVersioned(b, MaxEntry, e); err != nil {
		return nil, err
	}
	switch {
	case e.Seq == 0, (e.Seq == 1) != (e.Prev == EntryHash{}):
		return nil, fmt.Errorf("%w: entry: seq %d with prev %x", ErrMalformed, e.Seq, e.Prev[:4])
	case len(e.Deps) > MaxDeps:
		return nil, fmt.Errorf("%w: entry with %d deps", ErrTooLarge, len(e.Deps))
	}
	for i := 1; i < len(e.Deps); i++ {
		if string(e.Deps[i-1][:]) >= string(e.Deps[i][:]) {
			return nil, fmt.Errorf("%w: entry: deps are not ascending", ErrMalformed)
		}
	}
	return e, nil
}

// EntryHashOf is SHA-256 of the entry's signing input: it does not depend on the
// signature, so that two signatures over one entry are one entry.
func EntryHashOf(group GroupID, payload []byte) EntryHash {
	return EntryHash(HashOf(DomainEntry, group[:], payload))
}

// OpType says what an OP does to the roster.
type OpType uint64

// Operations. Which fields of Op each uses stands beside it.
const (
	OpAdd          OpType = 1 // Cert, Role, KeyPackage, Why, Invite
	OpRemove       OpType = 2 // User
	OpLeave        OpType = 3 // none: the author's user leaves
	OpRole         OpType = 4 // User, Role
	OpProfile      OpType = 5 // Profile
	OpDeviceAdd    OpType = 6 // Cert, KeyPackage: another device of the author's user
	OpDeviceRevoke OpType = 7 // Device
	OpReboot       OpType = 8 // Reboot
)

func (t OpType) String() string {
	names := [...]string{"", "add", "remove", "leave", "role", "profile", "device.add", "device.revoke", "reboot"}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("op(%d)", uint64(t))
	}
	return names[t]
}

// Why says what justifies an addition.
type Why uint64

// Justifications of an addition.
const (
	WhyRole   Why = 1 // the author's role
	WhyInvite Why = 2 // the invite that the operation cites
	WhyOpen   Why = 3 // the group's open policy
)

// Op is the body of an OP.
type Op struct {
	Type       OpType       `cbor:"1,keyasint"`
	User       *UserID      `cbor:"2,keyasint,omitempty"`
	Role       Role         `cbor:"3,keyasint,omitempty"`
	Cert       *Signed      `cbor:"4,keyasint,omitempty"`
	KeyPackage []byte       `cbor:"5,keyasint,omitempty"` // bare KeyPackage, RFC 9420, Section 10
	Why        Why          `cbor:"6,keyasint,omitempty"`
	Invite     *Signed      `cbor:"7,keyasint,omitempty"`
	Device     *DeviceID    `cbor:"8,keyasint,omitempty"`
	Profile    *ProfileItem `cbor:"9,keyasint,omitempty"`
	Reboot     *Reboot      `cbor:"10,keyasint,omitempty"`
}

// Reboot names a root of MLS epochs: the first of the group, or fresh keys for it.
type Reboot struct {
	From       EpochID `cbor:"1,keyasint"` // parent in the tree of epochs; the virtual root for the first
	Generation uint64  `cbor:"2,keyasint"`
	Root       EpochID `cbor:"3,keyasint"` // EpochIDOf(group, Generation, 0, Interim)
	MLSGroup   Hash    `cbor:"4,keyasint"` // MLS group_id
	Interim    []byte  `cbor:"5,keyasint"` // interim_transcript_hash of the root's epoch 0
}

// DecodeOp reads the body of an OP and checks that it has just the fields of its
// type. An unknown type is ErrVersion.
func DecodeOp(b []byte) (*Op, error) {
	o := new(Op)
	if err := Unmarshal(b, o); err != nil {
		return nil, err
	}
	want, ok := map[OpType]string{
		OpAdd: "cert role keypackage why", OpRemove: "user", OpLeave: "", OpRole: "user role", OpProfile: "profile",
		OpDeviceAdd: "cert keypackage", OpDeviceRevoke: "device", OpReboot: "reboot",
	}[o.Type]
	if !ok {
		return nil, fmt.Errorf("%w: %v", ErrVersion, o.Type)
	}
	if o.Type == OpAdd && o.Invite != nil {
		want += " invite"
	}
	if got := o.fields(); got != want {
		return nil, fmt.Errorf("%w: %v has the fields %q, wants %q", ErrMalformed, o.Type, got, want)
	}
	switch {
	case len(o.KeyPackage) > MaxKeyPackage:
		return nil, fmt.Errorf("%w: KeyPackage of %d bytes", ErrTooLarge, len(o.KeyPackage))
	case o.Role > RoleReadOnly:
		return nil, fmt.Errorf("%w: %v", ErrMalformed, o.Role)
	case o.Why > WhyOpen, (o.Why == WhyInvite) != (o.Invite != nil):
		return nil, fmt.Errorf("%w: justification %d does not fit", ErrMalformed, o.Why)
	case o.Reboot != nil && len(o.Reboot.Interim) > 64:
		return nil, fmt.Errorf("%w: interim_transcript_hash of %d bytes", ErrMalformed, len(o.Reboot.Interim))
	case o.Profile != nil:
		return o, o.Profile.validate()
	}
	return o, nil
}

// fields names what o carries, in the order of the keys but for the certificate first.
func (o *Op) fields() string {
	var s string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"cert", o.Cert != nil}, {"user", o.User != nil}, {"role", o.Role != 0}, {"keypackage", o.KeyPackage != nil},
		{"why", o.Why != 0}, {"invite", o.Invite != nil}, {"device", o.Device != nil}, {"profile", o.Profile != nil}, {"reboot", o.Reboot != nil},
	} {
		if f.has {
			if s != "" {
				s += " "
			}
			s += f.name
		}
	}
	return s
}

// Commit is the body of a COMMIT.
type Commit struct {
	Parent  EpochID     `cbor:"1,keyasint"`
	Child   EpochID     `cbor:"2,keyasint"` // what the author says; receivers compute it and compare
	Commit  []byte      `cbor:"3,keyasint"` // MLSMessage holding a PublicMessage
	Welcome []byte      `cbor:"4,keyasint,omitempty"`
	Ops     []EntryHash `cbor:"5,keyasint"` // the OPs that justify it, ascending
}

// DecodeCommit reads the body of a COMMIT.
func DecodeCommit(b []byte) (*Commit, error) {
	c := new(Commit)
	if err := Unmarshal(b, c); err != nil {
		return nil, err
	}
	if len(c.Commit) == 0 {
		return nil, fmt.Errorf("%w: COMMIT without a commit", ErrMalformed)
	}
	return c, nil
}

// Record is the body of a RECORD. Salt and body of the message travel only in seals.
type Record struct {
	Commitment Hash `cbor:"1,keyasint"` // SHA-256(salt ‖ body)
}

// DecodeRecord reads the body of a RECORD.
func DecodeRecord(b []byte) (*Record, error) {
	r := new(Record)
	return r, Unmarshal(b, r)
}

// Vote is the body of a VOTE.
type Vote struct {
	Position EpochID   `cbor:"1,keyasint"`
	Refused  []EpochID `cbor:"2,keyasint"` // children found invalid by a holder of their parent's state
	Unheld   []EpochID `cbor:"3,keyasint"`
}

// DecodeVote reads the body of a VOTE.
func DecodeVote(b []byte) (*Vote, error) {
	v := new(Vote)
	if err := Unmarshal(b, v); err != nil {
		return nil, err
	}
	if len(v.Refused) > MaxRefused || len(v.Unheld) > MaxRefused {
		return nil, fmt.Errorf("%w: VOTE that names %d epochs", ErrTooLarge, len(v.Refused)+len(v.Unheld))
	}
	return v, nil
}

// KeyID names a transport key: the first eight bytes of
// SHA-256("panda/tkey-id/1" ‖ 0 ‖ group ‖ key).
type KeyID [8]byte

// KeyIDOf computes the ID of a transport key of 32 bytes.
func KeyIDOf(group GroupID, key []byte) KeyID {
	h := HashOf(DomainTransportKey, group[:], key)
	return KeyID(h[:8])
}

// TKey is the body of a TKEY: a fresh transport key for all but those removed.
type TKey struct {
	ID         KeyID   `cbor:"1,keyasint"`
	Supersedes []KeyID `cbor:"2,keyasint"`
	Wraps      []Wrap  `cbor:"3,keyasint"`
}

// Wrap is a transport key under one device's transport HPKE key.
type Wrap struct {
	Device DeviceID `cbor:"1,keyasint"`
	Sealed []byte   `cbor:"2,keyasint"` // HPKE enc ‖ ciphertext
}

// TKeyWrap is the body of a TKEY-WRAP: a key for a device that its TKEY left out.
type TKeyWrap struct {
	ID   KeyID `cbor:"1,keyasint"`
	Wrap Wrap  `cbor:"2,keyasint"`
}

// DecodeTKey reads the body of a TKEY.
func DecodeTKey(b []byte) (*TKey, error) {
	k := new(TKey)
	return k, Unmarshal(b, k)
}

// DecodeTKeyWrap reads the body of a TKEY-WRAP.
func DecodeTKeyWrap(b []byte) (*TKeyWrap, error) {
	k := new(TKeyWrap)
	return k, Unmarshal(b, k)
}
