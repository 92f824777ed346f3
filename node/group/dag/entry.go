package dag

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// MaxAhead is how far something may be dated ahead of the local clock for this device to
// believe the date.
const MaxAhead = 10 * time.Minute

// EndOfTime is the first date that no entry may have (the year 6429): an entry that builds
// on one with the last possible date still finds a place after it.
const EndOfTime crdt.HLC = 1 << 63

// Item is an entry in the set, checked. There is one for each message there ever was, so
// fields that only few items need, or that many share, are behind a pointer.
type Item struct {
	*Author
	*Body // many RECORDs share one

	Hash wire.EntryHash
	Seq  uint64
	HLC  crdt.HLC // its place in the order: the date that its author gave it, or above what it builds on; see Dated
	past *past    // the causal past, without its own branch: see Seen
	List int32    // position of its branch in Logs.Lists; -1 until it is in the set

	Facts facts
	Seals uint8 // of a RECORD: how many are kept, or 255 of more
}

// facts are what this device has found out about an item. Of a RECORD they change.
type facts uint16

// Facts of an item.
const (
	IsSecond    facts = 1 << iota // another entry with its seq came first: its row's key tells them apart
	isLate                        // it is dated before something that it builds on: see Dated
	IsPlain                       // salt and body of the message are durable here
	IsDelivered                   // it was delivered: people were told of it
	Speaks                        // its author could write to the group in its past: this or Mute, once it was judged. Of a TKEY or TKEY-WRAP, that it was in
	Mute
	IsPermitted // an OP that its author could make in its own past
	IsTaken     // of a RECORD: its message was erased, or a deletion that counts is about it; owed to nobody
	IsEarlier   // of a RECORD: another member gave it, from before this device came in
)

func (f facts) Has(fact facts) bool { return f&fact != 0 }

func (it *Item) Note(fact facts) { it.Facts |= fact }

// Drop takes back what was noted.
func (it *Item) Drop(fact facts) { it.Facts &^= fact }

// Author is whose log an entry is in.
type Author struct {
	Log   wire.LogID
	User  wire.UserID                 // of the device, by its certificate
	Dates map[wire.EntryHash]crdt.HLC // of its entries that are dated before what they build on
}

// Dated is the date that its author gave an entry. It is a claim, and orders nothing.
func (it *Item) Dated() crdt.HLC {
	if it.Facts.Has(isLate) {
		return it.Author.Dates[it.Hash]
	}
	return it.HLC
}

// Date notes the date that its author gave an entry that comes into the set.
func (it *Item) Date(at crdt.HLC) {
	if at == it.HLC {
		return
	}
	it.Note(isLate)
	if it.Author.Dates == nil {
		it.Author.Dates = map[wire.EntryHash]crdt.HLC{}
	}
	it.Author.Dates[it.Hash] = at
}

// Body is the decoded body of an entry, with what was found out about it. It never changes
// once the entry is in the set.
type Body struct {
	Kind wire.Kind

	Record *wire.Record   // of one that came in this run and cannot be read yet
	Sealed []wire.EpochID // of a RECORD: under which epochs this device has sealed it

	Op      *wire.Op          // KindOp whose type is known
	Target  *Target           // of an op that adds a device
	Asker   *Target           // of a request
	Invited *Invited          // of an op that gives out an invite, or adds by one
	Profile *wire.ProfileItem // of an op that changes the profile
	Commit  *commitBody       // KindCommit
	Vote    *wire.Vote        // KindVote
	TKey    *wire.TKey        // KindTKey
	Wrap    *wire.TKeyWrap    // KindTKeyWrap
}

// commitBody is a COMMIT, with the fields that it shows without keys.
type commitBody struct {
	*wire.Commit

	Info       engine.CommitInfo
	Adds       [][32]byte // hashes of the KeyPackages that it adds
	HasWelcome bool
}

// Unsealed is the body of RECORDs that need none of their own and that this device has not
// sealed.
var Unsealed = &Body{Kind: wire.KindRecord}

// Seen is up to which seq a branch of a log lies in its causal past, itself included.
func (it *Item) Seen(list int) uint64 {
	if list == int(it.List) {
		return it.Seq
	}
	return it.past.seq(list)
}

// Slim drops the long and seldom needed fields of a COMMIT in the set; package group
// reads them again.
func (it *Item) Slim() {
	c := it.Commit
	c.HasWelcome = c.Welcome != nil
	for _, kp := range c.Info.Adds {
		c.Adds = append(c.Adds, sha256.Sum256(kp))
	}
	c.Commit.Commit, c.Welcome = nil, nil
	c.Info.Adds, c.Info.Added, c.Info.Own = nil, nil, nil
	c.Info.MLSGroup = bytes.Clone(c.Info.MLSGroup) // else it would keep all of the commit
}

// ReadProfile checks a register of the profile: its author signed it as a user.
func ReadProfile(group wire.GroupID, s wire.Signed, author wire.UserID) (*wire.ProfileItem, error) {
	p, err := wire.DecodeProfileItem(s.Payload)
	if err != nil {
		return nil, err
	}
	if wire.UserIDOf(p.Signer) != author {
		return nil, fmt.Errorf("%w: the profile is signed by another user", verdict.ErrForged)
	}
	if err := identity.Verify(p.Signer, wire.DomainProfile, group, s); err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrForged, err)
	}
	return p, nil
}

// Target is the user and device that an addition brings in.
type Target struct {
	Device *identity.Device
}

// Compare is the order in which entries are handled wherever a list is needed. An
// entry's place is above that of all it builds on, so this is a causal order.
func (it *Item) Compare(o *Item) int {
	if c := cmp.Compare(it.HLC, o.HLC); c != 0 {
		return c
	}
	return bytes.Compare(it.Hash[:], o.Hash[:])
}

// SignedEntry is an entry as it arrived: decoded and hashed, not yet verified.
type SignedEntry struct {
	Raw    []byte // encoded Signed
	Signed wire.Signed
	Entry  *wire.Entry
	Hash   wire.EntryHash
	Second bool // see item

	// While it is parked:
	Bucket  wire.DeviceID
	Since   time.Time
	Vouched bool // a member signed it

	newcomer *identity.Device // its author, if only an operation in quarantine would add that
}

// ReadEntry decodes an entry of this group.
func ReadEntry(group wire.GroupID, raw []byte) (*SignedEntry, error) {
	s, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
	if err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	e, err := wire.DecodeEntry(s.Payload)
	if err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	if e.Group != group {
		return nil, fmt.Errorf("entry: %w", verdict.ErrForeign)
	}
	return &SignedEntry{Raw: raw, Signed: s, Entry: e, Hash: wire.EntryHashOf(group, s.Payload)}, nil
}

// readBody decodes the body into it and checks all that one entry shows by itself. Of an
// entry that was verified before it need not check again what an addition or request brings:
// of those there are as many as devices.
func (it *Item) readBody(group wire.GroupID, e *wire.Entry, engine engine.Engine, verified bool) (err error) {
	switch e.Kind {
	case wire.KindOp:
		it.Op, err = wire.DecodeOp(e.Body)
		if errors.Is(err, wire.ErrVersion) {
			return nil // an operation of a later program: kept and passed on, without effect
		}
		if err == nil && (it.Op.Type == wire.OpAdd || it.Op.Type == wire.OpDeviceAdd) {
			it.Target, err = readTarget(group, it.Op, engine, verified)
		}
		if err == nil && it.Op.Type == wire.OpRequest {
			it.Asker, err = readTarget(group, it.Op, engine, verified)
		}
		if err == nil {
			err = it.readInvited(group, verified)
		}
		if err == nil && it.Op.Type == wire.OpProfile {
			it.Profile, err = ReadProfile(group, *it.Op.Profile, it.User)
		}
	case wire.KindCommit:
		it.Commit, err = readCommit(e.Body, engine)
	case wire.KindVote:
		it.Vote, err = wire.DecodeVote(e.Body)
	case wire.KindRecord:
		var r *wire.Record
		r, err = wire.DecodeRecord(e.Body)
		it.Body = &Body{Kind: e.Kind, Record: r}
	case wire.KindTKey:
		it.TKey, err = wire.DecodeTKey(e.Body)
	case wire.KindTKeyWrap:
		it.Wrap, err = wire.DecodeTKeyWrap(e.Body)
	}
	if err != nil {
		return fmt.Errorf("%v of device %v: %w", e.Kind, e.Device, err)
	}
	return nil
}

func readCommit(b []byte, engine engine.Engine) (*commitBody, error) {
	c, err := wire.DecodeCommit(b)
	if err != nil {
		return nil, err
	}
	info, err := engine.InspectCommit(c.Commit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrInvalidCommit, err)
	}
	return &commitBody{Commit: c, Info: info}, nil
}

// readTarget checks the device that an addition brings: its certificate, and a
// KeyPackage whose credential is that device's in this group.
func readTarget(group wire.GroupID, op *wire.Op, engine engine.Engine, verified bool) (*Target, error) {
	if verified {
		d, err := identity.ReadDevice(*op.Cert)
		if err != nil {
			return nil, err
		}
		return &Target{Device: d}, nil
	}
	d, err := identity.VerifyDevice(*op.Cert)
	if err != nil {
		return nil, err
	}
	if err := CheckKeyPackage(group, d, op.KeyPackage, engine); err != nil {
		return nil, err
	}
	return &Target{Device: d}, nil
}

// CheckKeyPackage checks a KeyPackage and that its credential is the device's in this group.
func CheckKeyPackage(group wire.GroupID, d *identity.Device, keyPackage []byte, engine engine.Engine) error {
	kp, err := engine.InspectKeyPackage(keyPackage)
	if err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrInvalidKeyPackage, err)
	}
	owner, err := identity.VerifyCredential(group, engine.Suite(), kp.Credential, kp.SignatureKey)
	if err != nil {
		return fmt.Errorf("%w: %w", verdict.ErrInvalidKeyPackage, err)
	}
	if !bytes.Equal(owner.Raw.Payload, d.Raw.Payload) {
		return fmt.Errorf("%w: its credential holds another certificate", verdict.ErrInvalidKeyPackage)
	}
	return nil
}

// Lapsed says whether the KeyPackage that an operation brought is past its time: its device
// has destroyed the secrets. It is measured from the operation: the lifetime in it is by the
// clock of somebody who is no member yet and has nobody to compare with.
func (it *Item) Lapsed(now time.Time) bool {
	return it != nil && now.Sub(it.When(now)) > engine.KeyPackageLifetime
}
