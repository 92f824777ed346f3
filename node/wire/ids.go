package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// Hash is a SHA-256 digest; the identifiers below are digests of what they name.
type Hash [32]byte

type (
	// UserID is SHA-256 of the user's Ed25519 identity key.
	UserID Hash
	// DeviceID is SHA-256("panda/device/1" ‖ 0 ‖ user identity key ‖ log key). With
	// the user in it, a certificate over somebody else's log key names another device.
	DeviceID Hash
	// GroupID is SHA-256 of the genesis payload.
	GroupID Hash
	// EpochID names an MLS epoch together with its whole history; see EpochIDOf.
	EpochID Hash
	// EntryHash is SHA-256 of an entry's signing input. Of a RECORD it is the MessageID.
	EntryHash Hash
	// MessageID is the EntryHash of the RECORD: it covers the header and the commitment.
	MessageID = EntryHash
)

// LogID names one log: a device writes one log per incarnation.
type LogID struct {
	Device      DeviceID `cbor:"1,keyasint"`
	Incarnation uint64   `cbor:"2,keyasint"` // of the first log: see FirstIncarnation; of later ones drawn at random
}

// Compare orders logs by device, then incarnation.
func (l LogID) Compare(o LogID) int {
	if c := bytes.Compare(l.Device[:], o.Device[:]); c != 0 {
		return c
	}
	switch {
	case l.Incarnation < o.Incarnation:
		return -1
	case l.Incarnation > o.Incarnation:
		return 1
	}
	return 0
}

// FirstIncarnation is the incarnation of the first log of a device: the first eight bytes
// of the hash of the operation that added it. So nobody begins one in a past in which the
// device was not there, and a device has one for each time that it came in. After a restore
// a device draws another at random.
func FirstIncarnation(addition EntryHash) uint64 { return binary.BigEndian.Uint64(addition[:8]) }

// FoundersIncarnation is the same for the founder's first device, which the genesis added.
func FoundersIncarnation(g GroupID) uint64 { return binary.BigEndian.Uint64(g[:8]) }

// UserIDOf gives the ID of the user with this Ed25519 identity key (32 bytes).
func UserIDOf(identityKey []byte) UserID { return UserID(sha256.Sum256(identityKey)) }

// DeviceIDOf gives the ID of the user's device with this log key; both keys are
// Ed25519 public keys of 32 bytes.
func DeviceIDOf(identityKey, logKey []byte) DeviceID {
	return DeviceID(HashOf(DomainDevice, identityKey, logKey))
}

// EpochIDOf is SHA-256("panda/epoch/1" ‖ 0 ‖ group ‖ root ‖ epoch ‖
// interim_transcript_hash), the number as u64 big-endian. The root is the one whose keys
// the epoch's descend from: without it, two roots that repeat each other would share
// their children. The genesis, the virtual root of the tree of epochs, has a root of
// zeros, epoch 0 and an empty hash.
func EpochIDOf(group GroupID, root EpochID, epoch uint64, interim []byte) EpochID {
	return EpochID(HashOf(DomainEpoch, group[:], root[:], U64(epoch), interim))
}

// RebootEpochID names a fresh root of MLS epochs: SHA-256("panda/root/1" ‖ 0 ‖ group ‖
// device ‖ from ‖ generation ‖ MLS group_id ‖ interim_transcript_hash), with the device
// that made it and all that its Reboot says, so that nobody else's operation can name it.
func RebootEpochID(group GroupID, device DeviceID, r *Reboot) EpochID {
	return EpochID(HashOf(DomainRoot, group[:], device[:], r.From[:], U64(r.Generation), r.MLSGroup[:], r.Interim))
}

// RootEpochID is the virtual root of a group's tree of epochs.
func RootEpochID(group GroupID) EpochID { return EpochIDOf(group, EpochID{}, 0, nil) }

// Text form: lower-case base32 (RFC 4648 alphabet, no padding) of the 32 bytes
// and a checksum of three: SHA-256(text domain ‖ 0 ‖ id)[:3]. The 35 bytes are
// exactly 56 characters. The domain differs by kind, so that a user's ID pasted
// where a group's is wanted is noticed.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	idChecksum = 3
	// IDTextLen is the length of an ID's text form in characters.
	IDTextLen = (32 + idChecksum) * 8 / 5
)

func idText(d Domain, id Hash) string {
	sum := HashOf(d, id[:])
	return idEncoding.EncodeToString(append(id[:], sum[:idChecksum]...))
}

func parseIDText(d Domain, kind, s string) (Hash, error) {
	if len(s) != IDTextLen {
		return Hash{}, fmt.Errorf("%w: a %s has %d characters, this one %d", ErrMalformed, kind, IDTextLen, len(s))
	}
	// The decoder skips line ends, and lower case can be shorter: both would cost characters.
	raw, err := idEncoding.DecodeString(strings.ToLower(s))
	if err != nil || len(raw) != 32+idChecksum {
		return Hash{}, fmt.Errorf("%w: a %s is made of a-z and 2-7", ErrMalformed, kind)
	}
	id := Hash(raw[:32])
	if sum := HashOf(d, id[:]); !bytes.Equal(sum[:idChecksum], raw[32:]) {
		return Hash{}, fmt.Errorf("%w: the checksum of this %s is wrong: a character was changed, or it names something else", ErrMalformed, kind)
	}
	return id, nil
}

func (id UserID) String() string   { return idText(DomainUserText, Hash(id)) }
func (id DeviceID) String() string { return idText(DomainDeviceText, Hash(id)) }
func (id GroupID) String() string  { return idText(DomainGroupText, Hash(id)) }
func (h EntryHash) String() string { return idText(DomainHashText, Hash(h)) }
func (id EpochID) String() string  { return idText(DomainHashText, Hash(id)) }
func (h Hash) String() string      { return idText(DomainHashText, h) }

// ParseUserID reads the text form of a user's ID.
func ParseUserID(s string) (UserID, error) {
	h, err := parseIDText(DomainUserText, "user ID", s)
	return UserID(h), err
}

// ParseDeviceID reads the text form of a device's ID.
func ParseDeviceID(s string) (DeviceID, error) {
	h, err := parseIDText(DomainDeviceText, "device ID", s)
	return DeviceID(h), err
}

// ParseGroupID reads the text form of a group's ID.
func ParseGroupID(s string) (GroupID, error) {
	h, err := parseIDText(DomainGroupText, "group ID", s)
	return GroupID(h), err
}

// ParseEntryHash reads the text form of an entry's hash or a message's ID.
func ParseEntryHash(s string) (EntryHash, error) {
	h, err := parseIDText(DomainHashText, "message ID", s)
	return EntryHash(h), err
}

// Topic is the name of a public group's GossipSub topic.
func (id GroupID) Topic() string {
	h := HashOf(DomainTopic, id[:])
	return "/panda/topic/2/" + idEncoding.EncodeToString(h[:])
}

// TopicTag stands in an envelope so that a store can sort it: the first eight bytes of the
// hash in the topic's name.
func (id GroupID) TopicTag() [8]byte {
	h := HashOf(DomainTopic, id[:])
	return [8]byte(h[:8])
}

// A private group has a topic for each transport key. Nobody without that key can name the
// topic. The members find each other in the DHT under a secret derived from the key.

// PrivateTopic is the name of the topic of a transport key.
func (id GroupID) PrivateTopic(transportKey []byte) string {
	h := id.privateTopic(transportKey)
	return "/panda/topic/2/" + idEncoding.EncodeToString(h[:])
}

// PrivateTopicTag is TopicTag for that topic.
func (id GroupID) PrivateTopicTag(transportKey []byte) [8]byte {
	h := id.privateTopic(transportKey)
	return [8]byte(h[:8])
}

func (id GroupID) privateTopic(transportKey []byte) Hash {
	return keyed(DomainPrivateTopic, transportKey, id[:])
}

// MeetSecret is the secret under which members of a private group announce themselves. It
// names no topic and opens nothing.
func (id GroupID) MeetSecret(transportKey []byte) MeetSecret {
	return MeetSecret(keyed(DomainMeet, transportKey, id[:]))
}

// MeetKey is the key in the DHT under which they do.
func (s MeetSecret) MeetKey() Hash { return keyed(DomainMeetKey, s[:], nil) }

// keyed returns HMAC-SHA-256 with the domain encoded as in HashOf.
func keyed(d Domain, key, data []byte) Hash {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(d))
	h.Write([]byte{0})
	h.Write(data)
	return Hash(h.Sum(nil))
}
