package wire

import (
	"bytes"
	"fmt"
	"strings"
)

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

func (e *Entry) validate() error {
	switch {
	case e.Seq == 0, (e.Seq == 1) != (e.Prev == EntryHash{}):
		return fmt.Errorf("%w: entry: seq %d with prev %x", ErrMalformed, e.Seq, e.Prev[:4])
	case len(e.Deps) > MaxDeps:
		return fmt.Errorf("%w: entry with %d deps, at most %d", ErrTooLarge, len(e.Deps), MaxDeps)
	case !ascending(e.Deps, compareHashes):
		return fmt.Errorf("%w: entry: deps are not ascending", ErrMalformed)
	}
	return nil
}

// Log is the log that e belongs to.
func (e *Entry) Log() LogID { return LogID{Device: e.Device, Incarnation: e.Incarnation} }

// Encode gives the payload that the log key signs.
func (e *Entry) Encode() []byte { return Marshal(e) }

// DecodeEntry reads an entry's payload and checks what can be seen without keys
// and without other entries.
func DecodeEntry(b []byte) (*Entry, error) { return decode[Entry](b, MaxEntry) }

// EntryHashOf is SHA-256 of the entry's signing input: it does not depend on the
// signature, so that two signatures over one entry are one entry.
func EntryHashOf(group GroupID, payload []byte) EntryHash {
	return EntryHash(HashOf(DomainEntry, group[:], payload))
}

// OpType says what an OP does to the roster.
type OpType uint64

// Operations. Which fields of Op each uses stands beside it.
const (
	OpAdd          OpType = 1 // Cert, Role, KeyPackage, Why, Invite, Claim
	OpRemove       OpType = 2 // User
	OpLeave        OpType = 3 // none: the author's user leaves
	OpRole         OpType = 4 // User, Role
	OpProfile      OpType = 5 // Profile
	OpDeviceAdd    OpType = 6 // Cert, KeyPackage: another device of the author's user
	OpDeviceRevoke OpType = 7 // Device
	OpReboot       OpType = 8 // Reboot

	OpInvite  OpType = 9  // Invite: an invite that was given out
	OpRevoke  OpType = 10 // Revokes: an invite that lets nobody in any more
	OpRequest OpType = 11 // Cert, KeyPackage: somebody asks to be let in
	OpDeny    OpType = 12 // User: whose request was turned down

	OpSetting OpType = 13 // Setting
)

// lastOpType is the newest operation that this program knows.
const lastOpType = OpSetting

func (t OpType) String() string {
	names := [...]string{"", "add", "remove", "leave", "role", "profile", "device.add", "device.revoke", "reboot", "invite", "invite.revoke", "request", "deny", "setting"}
	if t == 0 || t >= OpType(len(names)) {
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
	Type       OpType    `cbor:"1,keyasint"`
	User       *UserID   `cbor:"2,keyasint,omitempty"`
	Role       Role      `cbor:"3,keyasint,omitempty"`
	Cert       *Signed   `cbor:"4,keyasint,omitempty"`
	KeyPackage []byte    `cbor:"5,keyasint,omitempty"` // bare KeyPackage, RFC 9420, Section 10
	Why        Why       `cbor:"6,keyasint,omitempty"`
	Invite     *Signed   `cbor:"7,keyasint,omitempty"`
	Device     *DeviceID `cbor:"8,keyasint,omitempty"`
	Profile    *Signed   `cbor:"9,keyasint,omitempty"` // ProfileItem, signed by the user key so that any member can publish it
	Reboot     *Reboot   `cbor:"10,keyasint,omitempty"`
	Claim      *Signed   `cbor:"11,keyasint,omitempty"` // Claim, signed by the invite's key
	Revokes    *InviteID `cbor:"12,keyasint,omitempty"`
	Setting    *Setting  `cbor:"13,keyasint,omitempty"`
}

// Setting sets a setting of the group. Keys that a program does not know it keeps, so that
// later ones can be added.
type Setting struct {
	Key   string `cbor:"1,keyasint"` // letters, digits, dots and hyphens
	Value string `cbor:"2,keyasint"` // text in one line; empty: as if it had never been set
	HLC   uint64 `cbor:"3,keyasint"` // not above the entry's
}

// CheckSetting says why a setting cannot be one.
func CheckSetting(key, value string) error {
	if key == "" || len(key) > MaxSettingKey || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return fmt.Errorf("%w: the key of a setting has 1 to %d of a-z, 0-9, dots and hyphens", ErrMalformed, MaxSettingKey)
	}
	return checkText("the value of a setting", value, MaxSetting, false)
}

// Reboot names a root of MLS epochs: the first of the group, or fresh keys for it.
type Reboot struct {
	From       EpochID `cbor:"1,keyasint"` // parent in the tree of epochs; the virtual root for the first
	Generation uint64  `cbor:"2,keyasint"`
	Root       EpochID `cbor:"3,keyasint"` // RebootEpochID(group, the entry's device, this)
	MLSGroup   Hash    `cbor:"4,keyasint"` // MLS group_id
	Interim    []byte  `cbor:"5,keyasint"` // interim_transcript_hash of the root's epoch 0
}

// DecodeOp reads the body of an OP and checks that it has just the fields of its
// type. An unknown type is ErrVersion, whatever fields it brings.
func DecodeOp(b []byte) (*Op, error) {
	if len(b) <= MaxEntry {
		if t, err := peek(b); err == nil && t > uint64(lastOpType) {
			return nil, fmt.Errorf("%w: %v", ErrVersion, OpType(t))
		}
	}
	return decode[Op](b, MaxEntry)
}

func (o *Op) validate() error {
	if o.Type == 0 || o.Type > lastOpType {
		return fmt.Errorf("%w: %v", ErrMalformed, o.Type)
	}
	want := [...]string{
		OpAdd: "cert role keypackage why", OpRemove: "user", OpLeave: "", OpRole: "user role", OpProfile: "profile",
		OpDeviceAdd: "cert keypackage", OpDeviceRevoke: "device", OpReboot: "reboot",
		OpInvite: "invite", OpRevoke: "revokes", OpRequest: "cert keypackage", OpDeny: "user", OpSetting: "setting",
	}[o.Type]
	if o.Why == WhyInvite {
		want += " invite claim"
	}
	if got := o.fields(); got != want {
		return fmt.Errorf("%w: %v has the fields %q, wants %q", ErrMalformed, o.Type, got, want)
	}
	switch {
	case len(o.KeyPackage) > MaxKeyPackage:
		return fmt.Errorf("%w: KeyPackage of %d bytes, at most %d", ErrTooLarge, len(o.KeyPackage), MaxKeyPackage)
	case o.Role > RoleReadOnly:
		return fmt.Errorf("%w: %v", ErrMalformed, o.Role)
	case o.Why > WhyOpen:
		return fmt.Errorf("%w: justification %d", ErrMalformed, o.Why)
	case o.Reboot != nil && len(o.Reboot.Interim) > MaxInterim:
		return fmt.Errorf("%w: interim_transcript_hash of %d bytes", ErrMalformed, len(o.Reboot.Interim))
	case o.Setting != nil:
		return CheckSetting(o.Setting.Key, o.Setting.Value)
	}
	for _, s := range []*Signed{o.Cert, o.Invite, o.Claim, o.Profile} {
		if s != nil {
			if err := s.validate(); err != nil {
				return err
			}
		}
	}
	return nil
}

// fields names what o carries, in the order of the keys but for the certificate first.
func (o *Op) fields() string {
	var s string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"cert", o.Cert != nil},
		{"user", o.User != nil},
		{"role", o.Role != 0},
		{"keypackage", o.KeyPackage != nil},
		{"why", o.Why != 0},
		{"invite", o.Invite != nil},
		{"claim", o.Claim != nil},
		{"device", o.Device != nil},
		{"profile", o.Profile != nil},
		{"reboot", o.Reboot != nil},
		{"revokes", o.Revokes != nil},
		{"setting", o.Setting != nil},
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
	Ops     []EntryHash `cbor:"5,keyasint"`           // the OPs that justify it, ascending
	Rejoins []Signed    `cbor:"6,keyasint,omitempty"` // Rejoin, of the devices added again without an OP, ascending by payload
}

// DecodeCommit reads the body of a COMMIT.
func DecodeCommit(b []byte) (*Commit, error) {
	return decode[Commit](b, MaxEntry)
}

func (c *Commit) validate() error {
	switch {
	case len(c.Commit) == 0:
		return fmt.Errorf("%w: COMMIT without a commit", ErrMalformed)
	case len(c.Ops) > MaxOps:
		return fmt.Errorf("%w: COMMIT that cites %d OPs, at most %d", ErrTooLarge, len(c.Ops), MaxOps)
	case !ascending(c.Ops, compareHashes):
		return fmt.Errorf("%w: COMMIT: OPs are not ascending", ErrMalformed)
	case !ascending(c.Rejoins, func(a, b Signed) int { return bytes.Compare(a.Payload, b.Payload) }):
		return fmt.Errorf("%w: COMMIT: rejoins are not ascending", ErrMalformed)
	}
	for _, s := range c.Rejoins {
		if err := s.validate(); err != nil {
			return err
		}
	}
	return nil
}

// maxDate is the end of the year 9999, in milliseconds since 1970: later ones are no dates for people.
const maxDate = 253402300799999

// Record is the body of a RECORD. Salt and body of the message travel only in seals.
type Record struct {
	Commitment Hash       `cbor:"1,keyasint"`           // SHA-256(salt ‖ body)
	About      *MessageID `cbor:"2,keyasint,omitempty"` // the message that it edits, deletes or reacts to; nil: none
	Expires    uint64     `cbor:"3,keyasint,omitempty"` // from when on it is erased, and owed to nobody: milliseconds since 1970; 0: never
}

func (r *Record) validate() error {
	if r.About != nil && *r.About == (MessageID{}) {
		return fmt.Errorf("%w: RECORD about no message", ErrMalformed)
	}
	if r.Expires > maxDate {
		return fmt.Errorf("%w: RECORD that expires after the year 9999", ErrMalformed)
	}
	return nil
}

// DecodeRecord reads the body of a RECORD.
func DecodeRecord(b []byte) (*Record, error) {
	return decode[Record](b, MaxEntry)
}

// Vote is the body of a VOTE.
type Vote struct {
	Position EpochID   `cbor:"1,keyasint"`
	Refused  []EpochID `cbor:"2,keyasint"` // children found invalid by a holder of their parent's state, ascending
	Unheld   []EpochID `cbor:"3,keyasint"` // children whose state nobody serves, ascending
}

// DecodeVote reads the body of a VOTE.
func DecodeVote(b []byte) (*Vote, error) {
	return decode[Vote](b, MaxEntry)
}

func (v *Vote) validate() error {
	switch {
	case len(v.Refused) > MaxRefused || len(v.Unheld) > MaxRefused:
		return fmt.Errorf("%w: VOTE that names %d and %d epochs, at most %d", ErrTooLarge, len(v.Refused), len(v.Unheld), MaxRefused)
	case !ascending(v.Refused, compareHashes) || !ascending(v.Unheld, compareHashes):
		return fmt.Errorf("%w: VOTE: epochs are not ascending", ErrMalformed)
	}
	return nil
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
	Supersedes []KeyID `cbor:"2,keyasint"` // ascending
	Wraps      []Wrap  `cbor:"3,keyasint"` // ascending by device
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
	return decode[TKey](b, MaxEntry)
}

func (k *TKey) validate() error {
	switch {
	case len(k.Supersedes) > MaxSupersedes || len(k.Wraps) > MaxWraps:
		return fmt.Errorf("%w: TKEY that supersedes %d keys for %d devices", ErrTooLarge, len(k.Supersedes), len(k.Wraps))
	case !ascending(k.Supersedes, compareKeyIDs) || !ascending(k.Wraps, compareWraps):
		return fmt.Errorf("%w: TKEY: keys or devices are not ascending", ErrMalformed)
	}
	for i := range k.Wraps {
		if err := k.Wraps[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func (w *Wrap) validate() error {
	if len(w.Sealed) == 0 || len(w.Sealed) > MaxSealed {
		return fmt.Errorf("%w: wrapped transport key of %d bytes", ErrMalformed, len(w.Sealed))
	}
	return nil
}

// DecodeTKeyWrap reads the body of a TKEY-WRAP.
func DecodeTKeyWrap(b []byte) (*TKeyWrap, error) {
	return decode[TKeyWrap](b, MaxEntry)
}

func (k *TKeyWrap) validate() error { return k.Wrap.validate() }
