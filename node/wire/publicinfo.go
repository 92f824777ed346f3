package wire

import (
	"bytes"
	"fmt"
)

// PublicInfo is what the DHT holds of a public group: GroupPublicInfo. Each part
// is verified from the record alone; package discovery merges and judges it.
type PublicInfo struct {
	V         uint64   `cbor:"1,keyasint"`
	Genesis   Signed   `cbor:"2,keyasint"` // Genesis
	Authority []Signed `cbor:"3,keyasint"` // AuthorityLink, versions 1, 2, …
	Profile   []Signed `cbor:"4,keyasint"` // ProfileItem, ascending by field
	Heads     []Signed `cbor:"5,keyasint"` // Head, ascending by device
}

func (p *PublicInfo) version() uint64 { return p.V }

// Encode gives the bytes of the record.
func (p *PublicInfo) Encode() []byte { return Marshal(p) }

// DecodePublicInfo reads a record of at most MaxPublicInfo bytes.
func DecodePublicInfo(b []byte) (*PublicInfo, error) {
	return decode[PublicInfo](b, MaxPublicInfo)
}

// validate reads every part: the order of the lists is an order of what is in them.
func (p *PublicInfo) validate() error {
	if len(p.Authority) > MaxAuthorityLinks || len(p.Profile) > int(publicFields) || len(p.Heads) > MaxHeads {
		return fmt.Errorf("%w: GroupPublicInfo with %d links, %d profile fields, %d heads", ErrTooLarge, len(p.Authority), len(p.Profile), len(p.Heads))
	}
	for _, list := range [][]Signed{{p.Genesis}, p.Authority, p.Profile, p.Heads} {
		for i := range list {
			if err := list[i].validate(); err != nil {
				return fmt.Errorf("GroupPublicInfo: %w", err)
			}
		}
	}
	if _, err := DecodeGenesis(p.Genesis.Payload); err != nil {
		return fmt.Errorf("GroupPublicInfo: %w", err)
	}
	for i := range p.Authority {
		a, err := DecodeAuthorityLink(p.Authority[i].Payload)
		if err != nil {
			return fmt.Errorf("GroupPublicInfo: %w", err)
		}
		if a.Version != uint64(i)+1 {
			return fmt.Errorf("%w: GroupPublicInfo: authority link %d stands where %d should", ErrMalformed, a.Version, i+1)
		}
	}
	var before ProfileField
	for i := range p.Profile {
		f, err := DecodeProfileItem(p.Profile[i].Payload)
		if err != nil {
			return fmt.Errorf("GroupPublicInfo: %w", err)
		}
		if f.Field > publicFields {
			return fmt.Errorf("%w: GroupPublicInfo: profile field %d is not for the public", ErrMalformed, f.Field)
		}
		if f.Field <= before {
			return fmt.Errorf("%w: GroupPublicInfo: profile fields are not ascending", ErrMalformed)
		}
		before = f.Field
	}
	devices := make([]DeviceID, len(p.Heads))
	for i := range p.Heads {
		h, err := DecodeHead(p.Heads[i].Payload)
		if err != nil {
			return fmt.Errorf("GroupPublicInfo: %w", err)
		}
		c, err := DecodeDeviceCert(h.Cert.Payload)
		if err != nil {
			return fmt.Errorf("GroupPublicInfo: head: %w", err)
		}
		devices[i] = c.ID()
	}
	if !ascending(devices, compareHashes) {
		return fmt.Errorf("%w: GroupPublicInfo: heads are not ascending by device", ErrMalformed)
	}
	return nil
}

// Rank is what a key in the authority may do. Lower numbers may more.
type Rank uint64

// Ranks.
const (
	RankOwner     Rank = 1 // sign links and profile
	RankAdmin     Rank = 2 // sign profile
	RankPublisher Rank = 3 // have devices that sign heads
)

// AuthorityKey is a user with its rank in the authority.
type AuthorityKey struct {
	User []byte `cbor:"1,keyasint"` // user identity key, 32 bytes
	Rank Rank   `cbor:"2,keyasint"`
}

// AuthorityLink names who may speak for the group from this version on. It is
// signed by the user key of an owner of the previous link; the genesis, with the
// founder as its only owner, stands before the first.
type AuthorityLink struct {
	V       uint64         `cbor:"1,keyasint"`
	Version uint64         `cbor:"2,keyasint"` // from 1
	Prev    Hash           `cbor:"3,keyasint"` // HashOf(DomainAuthority, payload of the previous link); zero for the first
	Keys    []AuthorityKey `cbor:"4,keyasint"` // ascending by user, at most MaxAuthorityKeys
	Signer  []byte         `cbor:"5,keyasint"` // user identity key
}

func (a *AuthorityLink) version() uint64 { return a.V }

// Encode gives the payload that the signer signs.
func (a *AuthorityLink) Encode() []byte { return Marshal(a) }

// DecodeAuthorityLink reads a link's payload.
func DecodeAuthorityLink(b []byte) (*AuthorityLink, error) {
	return decode[AuthorityLink](b, MaxPublicInfo)
}

func (a *AuthorityLink) validate() error {
	switch {
	case a.Version == 0, (a.Version == 1) != (a.Prev == Hash{}):
		return fmt.Errorf("%w: authority link: version %d with prev %x", ErrMalformed, a.Version, a.Prev[:4])
	case len(a.Keys) == 0 || len(a.Keys) > MaxAuthorityKeys || len(a.Signer) != 32:
		return fmt.Errorf("%w: authority link with %d keys", ErrMalformed, len(a.Keys))
	}
	for i, k := range a.Keys {
		if len(k.User) != 32 || k.Rank < RankOwner || k.Rank > RankPublisher {
			return fmt.Errorf("%w: authority link: key %d", ErrMalformed, i)
		}
	}
	if !ascending(a.Keys, func(a, b AuthorityKey) int { return bytes.Compare(a.User, b.User) }) {
		return fmt.Errorf("%w: authority link: keys are not ascending", ErrMalformed)
	}
	return nil
}

// ProfileField names a register of the profile.
type ProfileField uint64

// Fields of the profile.
const (
	FieldName        ProfileField = 1 // Text
	FieldDescription ProfileField = 2 // Text
	FieldTags        ProfileField = 3 // Tags
	FieldPolicy      ProfileField = 4 // Policy
	publicFields                  = FieldPolicy
	FieldMailboxes   ProfileField = 5 // Mailboxes; for members alone
)

// ProfileItem is one last-writer-wins register of the profile, signed by the
// user key of an owner or admin.
type ProfileItem struct {
	V      uint64       `cbor:"1,keyasint"`
	Field  ProfileField `cbor:"2,keyasint"`
	HLC    uint64       `cbor:"3,keyasint"`
	Text   string       `cbor:"4,keyasint,omitempty"`
	Tags   []string     `cbor:"5,keyasint,omitempty"`
	Policy Policy       `cbor:"6,keyasint,omitempty"`
	Signer []byte       `cbor:"7,keyasint"` // user identity key

	// Mailboxes are the peers, with addresses, that keep envelopes for the members. Only
	// members can compute the IDs of the group's boxes there.
	Mailboxes []LinkPeer `cbor:"8,keyasint,omitempty"`
}

func (p *ProfileItem) version() uint64 { return p.V }

// Encode gives the payload that the signer signs.
func (p *ProfileItem) Encode() []byte { return Marshal(p) }

// DecodeProfileItem reads a register's payload.
func DecodeProfileItem(b []byte) (*ProfileItem, error) {
	return decode[ProfileItem](b, MaxPublicInfo)
}

func (p *ProfileItem) validate() error {
	if p.V != Version { // inside an OP nobody has looked at it yet
		return fmt.Errorf("profile item: %w", otherVersion(p.V))
	}
	others := func(text, tags, policy, mailboxes bool) bool {
		return (text || p.Text == "") && (tags || p.Tags == nil) && (policy || p.Policy == 0) && (mailboxes || p.Mailboxes == nil)
	}
	fits := len(p.Signer) == 32
	switch p.Field {
	case FieldName:
		if err := checkText("the group's name", p.Text, MaxGroupName, false); err != nil {
			return err
		}
		fits = fits && others(true, false, false, false)
	case FieldDescription:
		if err := checkText("the group's description", p.Text, MaxDescription, true); err != nil {
			return err
		}
		fits = fits && others(true, false, false, false)
	case FieldTags:
		if len(p.Tags) > MaxTags {
			return fmt.Errorf("%w: %d tags, and at most %d are allowed", ErrMalformed, len(p.Tags), MaxTags)
		}
		for _, t := range p.Tags {
			if t == "" {
				return fmt.Errorf("%w: a tag is empty", ErrMalformed)
			}
			if err := checkText("a tag of the group", t, MaxTag, false); err != nil {
				return err
			}
		}
		fits = fits && others(false, true, false, false)
	case FieldPolicy:
		fits = fits && p.Policy >= PolicyOpen && p.Policy <= PolicyInvite && others(false, false, true, false)
	case FieldMailboxes:
		fits = fits && len(p.Mailboxes) <= MaxMailboxes && others(false, false, false, true)
		for i := range p.Mailboxes {
			fits = fits && p.Mailboxes[i].validate() == nil
		}
	default:
		fits = false
	}
	if !fits {
		return fmt.Errorf("%w: profile field %d", ErrMalformed, p.Field)
	}
	return nil
}

// Head is a device's statement of the epoch and size of the group. It is signed by the
// device's log key and published at most hourly.
type Head struct {
	V        uint64  `cbor:"1,keyasint"`
	Cert     Signed  `cbor:"2,keyasint"` // DeviceCert
	HLC      uint64  `cbor:"3,keyasint"`
	Epoch    uint64  `cbor:"4,keyasint"` // MLS epoch number
	EpochID  EpochID `cbor:"5,keyasint"`
	TreeHash Hash    `cbor:"6,keyasint"` // MLS tree hash; of a longer hash the first 32 bytes
	Members  uint64  `cbor:"7,keyasint"` // users, rounded by RoundMembers
}

func (h *Head) version() uint64 { return h.V }

// Encode gives the payload that the log key signs.
func (h *Head) Encode() []byte { return Marshal(h) }

// DecodeHead reads a head's payload.
func DecodeHead(b []byte) (*Head, error) {
	return decode[Head](b, MaxPublicInfo)
}

func (h *Head) validate() error { return h.Cert.validate() }

// RoundMembers rounds a count up to two significant bits, so that heads tell
// roughly how large a group is and not who has just joined.
func RoundMembers(n uint64) uint64 {
	n = min(n, 1<<62) // which is a round number, and more than there are
	step := uint64(1)
	for n/step >= 4 {
		step *= 2
	}
	return (n + step - 1) / step * step
}
