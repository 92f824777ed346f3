package node

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// mailStream is an open stream to a mailbox, about one box.
type mailStream struct {
	*frames
	peer peer.ID
	box  group.Box
	stop func() bool
}

func (s *mailStream) ask(r wire.MailRequest) (*wire.MailReply, error) {
	if err := s.write(r); err != nil {
		return nil, err
	}
	reply := new(wire.MailReply)
	if err := s.read(reply); err != nil {
		return nil, noEOF(err)
	}
	return reply, nil
}

func (s *mailStream) abandon() {
	s.stop()
	s.frames.abandon()
}

// open opens a stream and shows that this device holds the box's key.
func (v *mailVisit) open(ctx context.Context, b group.Box, voucher *group.Box) (*mailStream, error) {
	n := v.x.g.n
	stream, err := openStream(ctx, n.host, v.p, wire.ProtocolMail)
	if noMailbox(err) {
		return nil, errMailNone
	}
	if err != nil {
		return nil, fmt.Errorf("opening a stream to the mailbox: %w", err)
	}
	s := &mailStream{frames: newFrames(stream), peer: v.p, box: b, stop: context.AfterFunc(ctx, func() { _ = stream.Reset() })}
	if err := v.x.g.proveBox(ctx, s.frames, v.p, b, voucher); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// proveBox shows a mailbox, at the beginning of a stream, that this device holds the key of a box.
func (g *groupSession) proveBox(ctx context.Context, s *frames, at peer.ID, b group.Box, voucher *group.Box) error {
	if err := s.write(wire.MailHello{V: wire.Version, Box: b.ID}); err != nil {
		return err
	}
	var challenge wire.MailChallenge
	if err := s.read(&challenge); noMailbox(err) { // a stream's protocol may be agreed upon as late as this
		return errMailNone
	} else if err != nil {
		return noEOF(err)
	}
	payload := wire.MailProofPayload(b.ID, challenge.Nonce, []byte(g.n.host.ID()), []byte(at))
	var proof wire.MailProof
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		var ok bool
		if proof.Signature, ok = m.Mail().ProveBox(b.Key, []byte(at), payload); !ok {
			return fmt.Errorf("%w: transport key", errNotFound)
		}
		if voucher != nil {
			proof.Voucher = &wire.MailVoucher{Box: voucher.ID}
			if proof.Voucher.Signature, ok = m.Mail().ProveBox(voucher.Key, []byte(at), payload); !ok {
				return fmt.Errorf("%w: transport key", errNotFound)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return s.write(proof)
}

// dialMailbox connects to a mailbox, by the addresses that the group knows or the DHT finds.
func (n *Node) dialMailbox(ctx context.Context, at wire.LinkPeer) error {
	p := peer.ID(at.Peer)
	if n.isConnected(p) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mailDial)
	defer cancel()
	info := peer.AddrInfo{ID: p}
	for _, a := range at.Addrs {
		if addr, err := multiaddr.NewMultiaddrBytes(a); err == nil {
			info.Addrs = append(info.Addrs, addr)
		}
	}
	err := n.host.Connect(ctx, info)
	if err == nil {
		return nil
	}
	if found, lost := n.directory.dht.Kad().FindPeer(ctx, p); lost == nil {
		err = n.host.Connect(ctx, found)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errMailUnreached, err)
	}
	return nil
}
