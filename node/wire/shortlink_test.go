package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func sampleShortLink() *ShortLink {
	l := &ShortLink{Group: GroupID{1, 2}, Role: RoleMember, Created: 1764412800000, Expires: 1765017600000, Uses: 1, Signer: [32]byte{3}, Signature: [64]byte{4}}
	copy(l.Secret[:], "hunter2 hunter2!")
	quic := []byte{4, 203, 0, 113, 7, 0x91, 0x02, 0x0f, 0xa1, 0xcc, 0x03} // /ip4/203.0.113.7/udp/4001/quic-v1
	for i := range 3 {
		l.Hint(LinkPeer{Peer: append(bytes.Clone(peerIDOfKey), bytes.Repeat([]byte{byte(i)}, 32)...), Addrs: [][]byte{quic}})
	}
	return l
}

// A short link fits into a QR code of a terminal with a hint at one peer, reads back as it was
// made, and every change of it is noticed.
func TestShortLink(t *testing.T) {
	l := sampleShortLink()
	text := l.Text()
	if len(text) > MaxShortLink || len(l.Peers) != 3 {
		t.Fatalf("%d bytes, %d peers", len(text), len(l.Peers))
	}
	_, got, err := ParseLink(text[:50] + "\n" + text[50:])
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Peers) != 1 {
		t.Errorf("%d hints, in %d bytes", len(got.Peers), len(text))
	}
	want := *l
	want.Peers = l.Peers[:1]
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("reads as %v", got)
	}
	most := *l
	most.Peers, most.Uses, most.Created, most.Expires = nil, 1<<64-1, 1<<48-1, 1<<48-1
	if text := most.Text(); len(text) > MaxShortLink || !most.Fits() {
		t.Errorf("the longest has %d bytes", len(text))
	}
	for i := len(LinkPrefix); i < len(text); i++ {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if _, _, err := ParseLink(text[:i] + string(other) + text[i+1:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("character %d changed: %v", i, err)
		}
		if _, _, err := ParseLink(text[:i]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut off after %d characters: %v", i, err)
		}
	}
	b := l.encode(1)
	for i := range b { // with a checksum that is right
		l, short, err := ParseLink(linkText(b[:i]))
		if err == nil && short != nil && len(short.Peers) == 0 && i == len(bare(short)) {
			continue // without its hint it is whole
		}
		if err == nil {
			t.Errorf("cut off after %d bytes: %v %v", i, l, short)
		}
	}
	if _, _, err := ParseLink(linkText(l.encode(3))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a link with more than fits: %v", err)
	}
	overlong := append(bytes.Clone(b[:62]), append([]byte{0x81, 0x00}, b[63:]...)...)
	if _, _, err := ParseLink(linkText(overlong[:len(bare(&most))-1])); err == nil {
		t.Error("a number in more bytes than it needs is read")
	}
	newer := *l
	newer.Role = 9
	if _, _, err := ParseLink(newer.Text()); !errors.Is(err, ErrMalformed) || newer.Fits() {
		t.Errorf("a role that is none: %v", err)
	}
	for _, s := range []string{fmt.Sprintf("%v", l), fmt.Sprintf("%+v", *l), fmt.Sprintf("%#v", l), fmt.Sprintf("%x", l.Secret)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74657232") || strings.Contains(s, "0x68, 0x75") {
			t.Errorf("the secret is in %s", s)
		}
	}
}

// bare is what a link encodes without hints.
func bare(l *ShortLink) []byte { return l.encode(0) }
