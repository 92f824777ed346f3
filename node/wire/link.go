package wire

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// LinkPrefix is how every invite link begins.
const LinkPrefix = "pandanode:invite/"

// Link is the content of an invite link: all that a joiner needs to find the group, to
// check that it is the right one, and to prove that it holds the invite. The link is a
// secret: anybody who has it can use the invite.
type Link struct {
	V       uint64      `cbor:"1,keyasint"`
	Genesis Signed      `cbor:"2,keyasint"`           // Genesis: names the group and proves it
	Invite  Signed      `cbor:"3,keyasint"`           // Invite
	Secret  LinkSecret  `cbor:"4,keyasint"`           // Ed25519 seed of the invite's key
	Peers   []LinkPeer  `cbor:"5,keyasint"`           // members to dial, the best first: hints
	Meet    *MeetSecret `cbor:"6,keyasint,omitempty"` // of a private group: where its members are found
}

// LinkPeer is a peer, such as a member's device or a mailbox, and where it was reached.
type LinkPeer struct {
	Peer  []byte   `cbor:"1,keyasint"` // libp2p peer ID in binary
	Addrs [][]byte `cbor:"2,keyasint"` // multiaddrs in binary
}

// MeetSecret is the secret under which a private group's members find each other. It prints
// as a placeholder.
type MeetSecret [32]byte

// Format, LogValue and MarshalText keep the secret out of logs and errors.
func (MeetSecret) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "[secret of a private group]")
}

func (MeetSecret) LogValue() slog.Value { return slog.StringValue("[secret of a private group]") }

func (MeetSecret) MarshalText() ([]byte, error) { return []byte("[secret of a private group]"), nil }

func (p *LinkPeer) validate() error {
	if len(p.Peer) == 0 || len(p.Peer) > MaxPeerID || len(p.Addrs) > MaxLinkAddrs {
		return fmt.Errorf("%w: peer with a peer ID of %d bytes and %d addresses", ErrMalformed, len(p.Peer), len(p.Addrs))
	}
	for _, a := range p.Addrs {
		if len(a) == 0 || len(a) > MaxLinkAddr {
			return fmt.Errorf("%w: address of %d bytes", ErrMalformed, len(a))
		}
	}
	return nil
}

// LinkSecret is the secret half of an invite. It prints as a placeholder.
type LinkSecret [32]byte

// Format, LogValue and MarshalText keep the secret out of logs and errors.
func (LinkSecret) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, "[secret of an invite]") }
func (LinkSecret) LogValue() slog.Value         { return slog.StringValue("[secret of an invite]") }
func (LinkSecret) MarshalText() ([]byte, error) { return []byte("[secret of an invite]"), nil }

func (l *Link) version() uint64 { return l.V }

func (l *Link) validate() error {
	if len(l.Peers) > MaxLinkPeers {
		return fmt.Errorf("%w: invite link with %d members, at most %d", ErrTooLarge, len(l.Peers), MaxLinkPeers)
	}
	for i := range l.Peers {
		if err := l.Peers[i].validate(); err != nil {
			return fmt.Errorf("invite link: %w", err)
		}
	}
	if err := l.Genesis.validate(); err != nil {
		return err
	}
	return l.Invite.validate()
}

const linkChecksum = 4

var linkEncoding = base64.RawURLEncoding.Strict()

// Text is the link as people pass it on: the prefix, and in unpadded base64url
// (RFC 4648, Section 5) the encoded Link and a checksum, the first four bytes of
// SHA-256("panda/link/1" ‖ 0 ‖ encoded Link).
func (l *Link) Text() string { return linkText(Marshal(l)) }

func linkText(b []byte) string {
	sum := HashOf(DomainLink, b)
	return LinkPrefix + linkEncoding.EncodeToString(append(b, sum[:linkChecksum]...))
}

// ParseLink reads an invite link: a whole one, or a short one. White space anywhere in it is
// skipped, since mail programs break long lines. Errors are for the person who pasted it. They
// quote nothing of the link, because most of it is secret.
func ParseLink(s string) (*Link, *ShortLink, error) {
	b, err := linkBytes(s)
	if err != nil {
		return nil, nil, err
	}
	if b[0] == shortLink {
		short, err := decodeShortLink(b)
		return nil, short, err
	}
	l, err := decode[Link](b, MaxLink)
	if err != nil {
		return nil, nil, fmt.Errorf("invite link: %w", err)
	}
	return l, nil, nil
}

func linkBytes(s string) ([]byte, error) {
	s = strings.Join(strings.Fields(s), "")
	if s == "" {
		return nil, fmt.Errorf("%w: the invite link is empty", ErrMalformed)
	}
	if len(s) < len(LinkPrefix) || !strings.EqualFold(s[:len(LinkPrefix)], LinkPrefix) {
		return nil, fmt.Errorf("%w: this is no invite link: one begins with %s", ErrMalformed, LinkPrefix)
	}
	text := s[len(LinkPrefix):]
	if len(text) > linkEncoding.EncodedLen(MaxLink+linkChecksum) {
		return nil, fmt.Errorf("%w: an invite link has at most %d characters, this one %d", ErrTooLarge, len(LinkPrefix)+linkEncoding.EncodedLen(MaxLink+linkChecksum), len(s))
	}
	raw, err := linkEncoding.DecodeString(text)
	if err != nil || len(raw) <= linkChecksum {
		return nil, fmt.Errorf("%w: the invite link is cut off, or a character of it was changed: copy it whole", ErrMalformed)
	}
	b, sum := raw[:len(raw)-linkChecksum], raw[len(raw)-linkChecksum:]
	if want := HashOf(DomainLink, b); !bytes.Equal(sum, want[:linkChecksum]) {
		return nil, fmt.Errorf("%w: the checksum of the invite link is wrong: it is cut off, or a character of it was changed: copy it whole", ErrMalformed)
	}
	return b, nil
}
