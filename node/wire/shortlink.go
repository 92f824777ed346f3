package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
)

// ShortLink is an invite link of a public group: the invite, and the name of the group, whose
// record has the rest. The link is a secret as [Link] is.
type ShortLink struct {
	Group     GroupID
	Secret    ShortSecret
	Role      Role   // of the invite, as are the following
	Created   uint64 // milliseconds since 1970, below 2^48
	Expires   uint64
	Uses      uint64
	Signer    [32]byte
	Signature [64]byte
	Peers     []LinkPeer // hints, as many as there is room for: of Ed25519 peer IDs
}

// ShortSecret is what the secret of an invite is derived from. It prints as a placeholder.
type ShortSecret [16]byte

// Format, LogValue and MarshalText keep the secret out of logs and errors.
func (ShortSecret) Format(s fmt.State, c rune)   { LinkSecret{}.Format(s, c) }
func (ShortSecret) LogValue() slog.Value         { return LinkSecret{}.LogValue() }
func (ShortSecret) MarshalText() ([]byte, error) { return LinkSecret{}.MarshalText() }

// Secret derives the secret of the invite.
func (s *ShortSecret) Secret() LinkSecret { return LinkSecret(HashOf(DomainShortLink, s[:])) }

// maxShortAddr is how many bytes of an address a hint of a short link has: there is no room for more.
const maxShortAddr = 64

// The first byte of what a link encodes: of a Link it is that of a CBOR map.
const shortLink = 0x01

// peerIDOfKey begins a libp2p peer ID that holds an Ed25519 key.
var peerIDOfKey = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// Text is the link as people pass it on; see [Link.Text]. Peers that there is no room for are
// left out.
func (l *ShortLink) Text() string {
	b := l.encode(0)
	for n := 1; n <= len(l.Peers); n++ {
		more := l.encode(n)
		if len(LinkPrefix)+linkEncoding.EncodedLen(len(more)+linkChecksum) > MaxShortLink {
			break
		}
		b = more
	}
	return linkText(b)
}

func (l *ShortLink) encode(peers int) []byte {
	b := append([]byte{shortLink}, l.Group[:]...)
	b = append(append(b, l.Secret[:]...), byte(l.Role))
	b = append(b, binary.BigEndian.AppendUint64(nil, l.Created)[2:]...)
	b = append(b, binary.BigEndian.AppendUint64(nil, l.Expires)[2:]...)
	b = binary.AppendUvarint(b, l.Uses)
	b = append(append(b, l.Signer[:]...), l.Signature[:]...)
	for _, p := range l.Peers[:peers] {
		b = append(b, bytes.TrimPrefix(p.Peer, peerIDOfKey)...)
		b = append(append(b, byte(len(p.Addrs[0]))), p.Addrs[0]...)
	}
	return b
}

// Fits says whether the link can say all of the invite.
func (l *ShortLink) Fits() bool {
	const most = 1 << 48
	return l.Created < most && l.Expires < most && l.Role != 0 && l.Role <= RoleReadOnly
}

// Hint adds a peer with one address, if the link can name it.
func (l *ShortLink) Hint(p LinkPeer) {
	if len(p.Peer) == len(peerIDOfKey)+32 && bytes.HasPrefix(p.Peer, peerIDOfKey) && len(p.Addrs) == 1 && len(p.Addrs[0]) > 0 && len(p.Addrs[0]) <= maxShortAddr {
		l.Peers = append(l.Peers, p)
	}
}

// decodeShortLink reads what a short link encodes. Each link encodes to the bytes that it was read from.
func decodeShortLink(b []byte) (*ShortLink, error) {
	var l ShortLink
	bad := func(what string) error { return fmt.Errorf("%w: invite link: %s", ErrMalformed, what) }
	const fixed = 1 + len(l.Group) + len(l.Secret) + 1 + 6 + 6
	switch {
	case len(LinkPrefix)+linkEncoding.EncodedLen(len(b)+linkChecksum) > MaxShortLink:
		return nil, fmt.Errorf("%w: a short invite link has at most %d characters", ErrTooLarge, MaxShortLink)
	case len(b) < fixed || b[0] != shortLink:
		return nil, bad("it is too short")
	}
	rest := b[1:]
	take := func(n int) (out []byte) { out, rest = rest[:n], rest[n:]; return out }
	copy(l.Group[:], take(len(l.Group)))
	copy(l.Secret[:], take(len(l.Secret)))
	l.Role = Role(take(1)[0])
	when := func() uint64 { return binary.BigEndian.Uint64(append([]byte{0, 0}, take(6)...)) }
	l.Created, l.Expires = when(), when()
	uses, n := binary.Uvarint(rest)
	if n <= 0 || n > 1 && rest[n-1] == 0 || len(rest)-n < len(l.Signer)+len(l.Signature) {
		return nil, bad("it is too short")
	}
	l.Uses = uses
	take(n)
	copy(l.Signer[:], take(len(l.Signer)))
	copy(l.Signature[:], take(len(l.Signature)))
	for len(rest) > 0 {
		if len(rest) < 33 || len(rest) < 33+int(rest[32]) || rest[32] == 0 || int(rest[32]) > maxShortAddr || len(l.Peers) == MaxLinkPeers {
			return nil, bad("a peer in it is cut off")
		}
		p := LinkPeer{Peer: append(bytes.Clone(peerIDOfKey), take(32)...)}
		p.Addrs = [][]byte{bytes.Clone(take(1 + int(rest[0]))[1:])}
		l.Peers = append(l.Peers, p)
	}
	if !l.Fits() {
		return nil, bad("its role is none")
	}
	return &l, nil
}

// Of gives the whole link, once the group's genesis is known. Key is the public half of the
// invite's secret.
func (l *ShortLink) Of(genesis Signed, key [32]byte) *Link {
	return &Link{V: Version, Genesis: genesis, Invite: l.Invite(key), Secret: l.Secret.Secret(), Peers: l.Peers}
}

// Invite gives the signed invite.
func (l *ShortLink) Invite(key [32]byte) Signed {
	i := Invite{V: Version, Key: key, Role: l.Role, Created: l.Created, Expires: l.Expires, Uses: l.Uses, Signer: l.Signer[:]}
	return Signed{Payload: i.Encode(), Signature: l.Signature[:]}
}
