package wire

import (
	"crypto/sha256"
	"encoding/binary"
)

// Version is the version of every object of this package.
const Version = 2

// A Domain separates the purposes that one hash or signature key serves. Each is
// followed by a zero byte wherever it is used, so that none is a prefix of another.
type Domain string

// Domains, one a purpose.
const (
	DomainEntry        Domain = "panda/entry/1"
	DomainGenesis      Domain = "panda/genesis/1"
	DomainDeviceCert   Domain = "panda/device-cert/1"
	DomainDevice       Domain = "panda/device/1"
	DomainLeaf         Domain = "panda/leaf/1"
	DomainEpoch        Domain = "panda/epoch/1"
	DomainPrivateTopic Domain = "panda/private-topic/1"
	DomainMeet         Domain = "panda/meet/1"
	DomainMeetKey      Domain = "panda/meet-key/1"
	DomainRoot         Domain = "panda/root/1"
	DomainPrio         Domain = "panda/prio/1"
	DomainTopic        Domain = "panda/topic/1"
	DomainEnvelope     Domain = "panda/envelope/1"
	DomainTransportKey Domain = "panda/tkey-id/1"
	DomainBeacon       Domain = "panda/beacon/1"
	DomainRejoin       Domain = "panda/rejoin/1"
	DomainReceipt      Domain = "panda/receipt/1"
	DomainAuthority    Domain = "panda/authority/1"
	DomainProfile      Domain = "panda/profile/1"
	DomainHead         Domain = "panda/head/1"
	DomainInvite       Domain = "panda/invite/1"
	DomainJoin         Domain = "panda/join/1"
	DomainLink         Domain = "panda/link/1"
	DomainShortLink    Domain = "panda/short-link/1"
	DomainSync         Domain = "panda/sync/1"
	DomainMailbox      Domain = "panda/mailbox/1"
	DomainBox          Domain = "panda/box/1"
	DomainTwin         Domain = "panda/twin/1"
	DomainMarks        Domain = "panda/marks/1"
	DomainFile         Domain = "panda/file/1"
	DomainVerify       Domain = "panda/verify/1"
	DomainVerifyWords  Domain = "panda/verify-words/1"
	DomainProvider     Domain = "panda/provider/1"
	DomainUserText     Domain = "panda/user-text/1"
	DomainDeviceText   Domain = "panda/device-text/1"
	DomainGroupText    Domain = "panda/group-text/1"
	DomainHashText     Domain = "panda/hash-text/1"
)

// SigningInput is what a signature covers: domain ‖ 0 ‖ group ‖ payload, where
// payload is the exact bytes that travel. Objects of no group (a device
// certificate, a genesis) use the zero GroupID.
func SigningInput(d Domain, group GroupID, payload []byte) []byte {
	b := make([]byte, 0, len(d)+1+len(group)+len(payload))
	b = append(b, d...)
	b = append(b, 0)
	b = append(b, group[:]...)
	return append(b, payload...)
}

// HashOf is SHA-256(domain ‖ 0 ‖ parts…). Callers pass parts of fixed length, or
// at most one of variable length, last.
func HashOf(d Domain, parts ...[]byte) Hash {
	h := sha256.New()
	h.Write([]byte(d))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(p)
	}
	return Hash(h.Sum(nil))
}

// U64 is v in eight bytes, big-endian, as hashes and signatures take it.
func U64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
