//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

const protocolKad = protocol.ID(wire.ProtocolDHT + "/kad/1.0.0")

// silent deals with a stream by saying nothing.
func silent(s network.Stream) { _, _ = io.Copy(io.Discard, s) }

// mailbox has one peer put envelopes of rubbish into as many boxes as it may open, until
// nothing more is taken, and gives the bytes that were taken.
func mailbox(ctx context.Context, h host.Host, victim peer.ID) (taken, sent int, err error) {
	for range 64 {
		public, secret, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return taken, sent, err
		}
		s, err := h.NewStream(ctx, victim, wire.ProtocolMail)
		if err != nil {
			return taken, sent, err
		}
		var challenge wire.MailChallenge
		if err := errors.Join(wire.WriteFrame(s, wire.MailHello{V: wire.Version, Box: wire.BoxID(public)}), wire.ReadFrame(s, &challenge)); err != nil {
			return taken, sent, err
		}
		payload := wire.MailProofPayload(wire.BoxID(public), challenge.Nonce, []byte(h.ID()), []byte(victim))
		if err := wire.WriteFrame(s, wire.MailProof{Signature: ed25519.Sign(secret, wire.SigningInput(wire.DomainMailbox, wire.GroupID{}, payload))}); err != nil {
			return taken, sent, err
		}
		before := taken
		for full := false; !full; {
			rubbish := make([]byte, 32+256<<10+16) // a salt, a padded length and a tag
			_, _ = rand.Read(rubbish)
			var reply wire.MailReply
			if err := errors.Join(wire.WriteFrame(s, wire.MailRequest{Put: [][]byte{rubbish}}), wire.ReadFrame(s, &reply)); err != nil {
				return taken, sent, err
			}
			sent += len(rubbish)
			if full = reply.Taken == 0; !full {
				taken += len(rubbish)
			}
		}
		_ = s.Close()
		if taken == before {
			break
		}
	}
	return taken, sent, nil
}

// fakes makes valid records of groups of a name, each with a head that claims a million
// members.
func fakes(n int, name string) (out [][]byte, err error) {
	now := time.Now()
	for range n {
		user, err := identity.NewKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		log, err := identity.NewKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		d, err := identity.Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: []byte("peer"), Name: "d"})
		if err != nil {
			return nil, err
		}
		raw, _, err := identity.NewGenesis(rand.Reader, now.AddDate(-3, 0, 0), user, d, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
		if err != nil {
			return nil, err
		}
		info, err := discovery.New(raw, now)
		if err != nil {
			return nil, err
		}
		if info, err = info.SetProfile(user, crdt.HLCFromTime(now), wire.ProfileItem{Field: wire.FieldName, Text: name}); err != nil {
			return nil, err
		}
		if info, err = info.SetHead(d, log, crdt.HLCFromTime(now), wire.Head{Members: 1_000_000}); err != nil {
			return nil, err
		}
		out = append(out, info.Bytes())
	}
	return out, nil
}

// teller tells whoever searches of these records.
func teller(records [][]byte) network.StreamHandler {
	return func(s network.Stream) {
		defer s.Close()
		var r wire.FindRequest
		if wire.ReadFrame(s, &r) != nil {
			return
		}
		for _, raw := range records {
			if wire.WriteFrame(s, &wire.FindReply{PublicInfo: raw}) != nil {
				return
			}
		}
	}
}

// crowd makes peers that listen on loopback, and that deal with a protocol like this.
func crowd(n int, id protocol.ID, deal network.StreamHandler) (out []host.Host, err error) {
	for range n {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics(), libp2p.DisableRelay())
		if err != nil {
			disperse(out)
			return nil, err
		}
		h.SetStreamHandler(id, deal)
		out = append(out, h)
	}
	return out, nil
}

func disperse(all []host.Host) {
	for _, h := range all {
		_ = h.Close()
	}
}

// membersKey is what members of a group announce in the DHT.
func membersKey(group string) ([]byte, error) {
	id, err := wire.ParseGroupID(group)
	if err != nil {
		return nil, err
	}
	h := wire.HashOf(wire.DomainProvider, []byte{1}, id[:])
	return multihash.Encode(h[:], multihash.SHA2_256)
}

// announce has each peer tell a DHT server that it provides a key.
func announce(ctx context.Context, all []host.Host, server peer.AddrInfo, key []byte) error {
	for _, h := range all {
		if err := h.Connect(ctx, server); err != nil {
			return err
		}
		c, err := call(ctx, h, server.ID)
		if err != nil {
			return err
		}
		m := kad.NewMessage(kad.Message_ADD_PROVIDER, key, 0)
		m.ProviderPeers = kad.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: h.ID(), Addrs: h.Addrs()}})
		if err := errors.Join(c.say(m), c.s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// providersAt asks a DHT server who provides a key.
func providersAt(ctx context.Context, h host.Host, server peer.ID, key []byte) (out []peer.ID, err error) {
	c, err := call(ctx, h, server)
	if err != nil {
		return nil, err
	}
	defer c.s.Close()
	if err := c.say(kad.NewMessage(kad.Message_GET_PROVIDERS, key, 0)); err != nil {
		return nil, err
	}
	m, err := hear(bufio.NewReader(c.s))
	if err != nil {
		return nil, err
	}
	for _, p := range m.GetProviderPeers() {
		out = append(out, peer.ID(p.GetId()))
	}
	return out, nil
}

// hear reads a message of the DHT.
func hear(r *bufio.Reader) (*kad.Message, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > 4<<20 {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	m := new(kad.Message)
	return m, proto.Unmarshal(raw, m)
}

// lies serves the DHT: whoever asks for providers is told of these peers.
func lies(peers []peer.AddrInfo) network.StreamHandler {
	return func(s network.Stream) {
		defer s.Close()
		c := &caller{s: s}
		for r := bufio.NewReader(s); ; {
			m, err := hear(r)
			if err != nil {
				return
			}
			reply := kad.NewMessage(m.GetType(), m.GetKey(), 0)
			if m.GetType() == kad.Message_GET_PROVIDERS {
				reply.ProviderPeers = kad.RawPeerInfosToPBPeers(peers)
			}
			if c.say(reply) != nil {
				return
			}
		}
	}
}

// nobody makes up peers at an address where nobody listens.
func nobody(n int) (out []peer.AddrInfo, err error) {
	for range n {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		id, err := peer.IDFromBytes(append([]byte{0, 36, 8, 1, 18, 32}, public...)) // an identity multihash of the key
		if err != nil {
			return nil, err
		}
		out = append(out, peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/udp/9/quic-v1")}})
	}
	return out, nil
}
