package group

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxAhead is how far something may be dated ahead of the local clock for this device to
// believe the date.
const maxAhead = 10 * time.Minute

// endOfTime is the first date that no entry may have (the year 6429): what builds on the
// last one that is possible still finds a place after it.
const endOfTime crdt.HLC = 1 << 63

// item is an entry in the set, checked. There is one for each message there ever was:
// what only few of them need, or many share, is behind a pointer.
type item struct {
	*author
	*body // many RECORDs share one

	hash wire.EntryHash
	seq  uint64
	hlc  crdt.HLC // its place in the order: the date that its author gave it, or above what it builds on; see dated
	past *past    // the causal past, without its own branch: see seen
	list int32    // position of its branch in logs.lists; -1 until it is in the set

	facts facts
	seals uint8 // of a RECORD: how many are kept, or 255 of more
}

// facts are what is known of an item beside what it says. Of a RECORD they change.
type facts uint8

const (
	isSecond    facts = 1 << iota // another entry with its seq came first: its row's key tells them apart
	isLate                        // it is dated before something that it builds on: see dated
	isPlain                       // salt and body of the message are durable here
	isDelivered                   // it was delivered: people were told of it
	speaks                        // by maySpeak, once it was judged: this, or mute
	mute
	isPermitted // an OP that its author could make in its own past
	tookOwner   // an OP that takes out an owner
)

func (f facts) has(fact facts) bool { return f&fact != 0 }

func (it *item) note(fact facts) { it.facts |= fact }

// author is whose log an entry is in.
type author struct {
	log   wire.LogID
	user  wire.UserID                 // of the device, by its certificate
	dates map[wire.EntryHash]crdt.HLC // of its entries that are dated before what they build on
}

// dated is the date that its author gave an entry. It is a claim, and orders nothing.
func (it *item) dated() crdt.HLC {
	if it.facts.has(isLate) {
		return it.author.dates[it.hash]
	}
	return it.hlc
}

// date notes the date that its author gave an entry that comes into the set.
func (it *item) date(at crdt.HLC) {
	if at == it.hlc {
		return
	}
	it.note(isLate)
	if it.author.dates == nil {
		it.author.dates = map[wire.EntryHash]crdt.HLC{}
	}
	it.author.dates[it.hash] = at
}

// body is what an entry says and what was found out about that. It never changes once
// the entry is in the set.
type body struct {
	kind wire.Kind

	record *wire.Record   // of one that came in this run and cannot be read yet
	sealed []wire.EpochID // of a RECORD: under which epochs this device has sealed it

	role wire.Role // of the author there

	op      *wire.Op          // KindOp whose type is known
	target  *target           // of an op that adds a device
	asker   *target           // of a request
	invited *invited          // of an op that gives out an invite, or adds by one
	profile *wire.ProfileItem // of an op that changes the profile
	commit  *commitBody       // KindCommit
	vote    *wire.Vote        // KindVote
	tkey    *wire.TKey        // KindTKey
	wrap    *wire.TKeyWrap    // KindTKeyWrap
}

// commitBody is a COMMIT, and what it shows without keys.
type commitBody struct {
	*wire.Commit

	info       CommitInfo
	adds       [][32]byte // hashes of the KeyPackages that it adds
	hasWelcome bool
}

// unsealed is the body of RECORDs that need none of their own and that this device has not
// sealed.
var unsealed = &body{kind: wire.KindRecord}

// seen is up to which seq a branch of a log lies in its causal past, itself included.
func (it *item) seen(list int) uint64 {
	if list == int(it.list) {
		return it.seq
	}
	return it.past.seq(list)
}

// slim drops of a COMMIT in the set what is long and seldom needed: Machine.commitOf
// reads it again.
func (it *item) slim() {
	c := it.commit
	c.hasWelcome = c.Welcome != nil
	for _, kp := range c.info.Adds {
		c.adds = append(c.adds, sha256.Sum256(kp))
	}
	c.Commit.Commit, c.Welcome = nil, nil
	c.info.Adds, c.info.Added, c.info.Own = nil, nil, nil
	c.info.MLSGroup = bytes.Clone(c.info.MLSGroup) // else it would keep all of the commit
}

// readProfile checks a register of the profile: its author signed it as a user.
func readProfile(group wire.GroupID, s wire.Signed, author wire.UserID) (*wire.ProfileItem, error) {
	p, err := wire.DecodeProfileItem(s.Payload)
	if err != nil {
		return nil, err
	}
	if wire.UserIDOf(p.Signer) != author {
		return nil, fmt.Errorf("%w: the profile is signed by another user", ErrForged)
	}
	if err := identity.Verify(p.Signer, wire.DomainProfile, group, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return p, nil
}

// target is whom an addition brings in.
type target struct {
	device *identity.Device
}

// compare is the order in which entries are handled wherever a list is needed. An
// entry's place is above that of all it builds on, so this is a causal order.
func (it *item) compare(o *item) int {
	if c := cmp.Compare(it.hlc, o.hlc); c != 0 {
		return c
	}
	return bytes.Compare(it.hash[:], o.hash[:])
}

// signedEntry is an entry as it arrived: decoded and hashed, not yet verified.
type signedEntry struct {
	raw    []byte // encoded Signed
	signed wire.Signed
	entry  *wire.Entry
	hash   wire.EntryHash
	second bool // see item

	// While it is parked:
	bucket  wire.DeviceID
	since   time.Time
	vouched bool // a member signed it
}

// readEntry decodes an entry of this group.
func readEntry(group wire.GroupID, raw []byte) (*signedEntry, error) {
	s, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
	if err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	e, err := wire.DecodeEntry(s.Payload)
	if err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	if e.Group != group {
		return nil, fmt.Errorf("entry: %w", ErrForeign)
	}
	return &signedEntry{raw: raw, signed: s, entry: e, hash: wire.EntryHashOf(group, s.Payload)}, nil
}

// readBody decodes the body into it and checks all that one entry shows by itself.
func (it *item) readBody(group wire.GroupID, e *wire.Entry, engine Engine) (err error) {
	switch e.Kind {
	case wire.KindOp:
		it.op, err = wire.DecodeOp(e.Body)
		if errors.Is(err, wire.ErrVersion) {
			return nil // an operation of a later program: kept and passed on, without effect
		}
		if err == nil && (it.op.Type == wire.OpAdd || it.op.Type == wire.OpDeviceAdd) {
			it.target, err = readTarget(group, it.op, engine)
		}
		if err == nil && it.op.Type == wire.OpRequest {
			it.asker, err = readTarget(group, it.op, engine)
		}
		if err == nil {
			err = it.readInvited(group)
		}
		if err == nil && it.op.Type == wire.OpProfile {
			it.profile, err = readProfile(group, *it.op.Profile, it.user)
		}
	case wire.KindCommit:
		it.commit, err = readCommit(e.Body, engine)
	case wire.KindVote:
		it.vote, err = wire.DecodeVote(e.Body)
	case wire.KindRecord:
		var r *wire.Record
		r, err = wire.DecodeRecord(e.Body)
		it.body = &body{kind: e.Kind, record: r}
	case wire.KindTKey:
		it.tkey, err = wire.DecodeTKey(e.Body)
	case wire.KindTKeyWrap:
		it.wrap, err = wire.DecodeTKeyWrap(e.Body)
	}
	if err != nil {
		return fmt.Errorf("%v of device %v: %w", e.Kind, e.Device, err)
	}
	return nil
}

func readCommit(b []byte, engine Engine) (*commitBody, error) {
	c, err := wire.DecodeCommit(b)
	if err != nil {
		return nil, err
	}
	info, err := engine.InspectCommit(c.Commit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidCommit, err)
	}
	return &commitBody{Commit: c, info: info}, nil
}

// readTarget checks the device that an addition brings: its certificate, and a
// KeyPackage whose credential is that device's in this group.
func readTarget(group wire.GroupID, op *wire.Op, engine Engine) (*target, error) {
	d, err := identity.VerifyDevice(*op.Cert)
	if err != nil {
		return nil, err
	}
	if err := checkKeyPackage(group, d, op.KeyPackage, engine); err != nil {
		return nil, err
	}
	return &target{device: d}, nil
}

func checkKeyPackage(group wire.GroupID, d *identity.Device, keyPackage []byte, engine Engine) error {
	kp, err := engine.InspectKeyPackage(keyPackage)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidKeyPackage, err)
	}
	owner, err := identity.VerifyCredential(group, engine.Suite(), kp.Credential, kp.SignatureKey)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidKeyPackage, err)
	}
	if !bytes.Equal(owner.Raw.Payload, d.Raw.Payload) {
		return fmt.Errorf("%w: its credential holds another certificate", ErrInvalidKeyPackage)
	}
	return nil
}

// lapsed says whether the KeyPackage that an operation brought is past its time: its device
// has destroyed the secrets. It is measured from the operation: the lifetime in it is by the
// clock of somebody who is no member yet and has nobody to compare with.
func (it *item) lapsed(now time.Time) bool {
	return it != nil && now.Sub(it.when(now)) > keyPackageLifetime
}
