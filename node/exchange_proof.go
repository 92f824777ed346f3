package node

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

func newHello(id wire.GroupID) wire.SyncHello {
	h := wire.SyncHello{V: wire.Version, Topic: wire.HashOf(wire.DomainTopic, id[:]), Now: milliseconds(time.Now())}
	_, _ = rand.Read(h.Nonce[:])
	return h
}

// Roles in a wire.SyncProof.
const (
	roleOpener   byte = 1
	roleAnswerer byte = 2
)

// proofEnds are the nonces and peer IDs that a proof's MAC covers.
type proofEnds struct {
	opener, answerer         wire.SyncHello
	openerPeer, answererPeer []byte
}

// mac is the MAC of one side under a transport key; false if this device does not hold it.
func (e proofEnds) mac(t group.Transport, key wire.KeyID, role byte) ([32]byte, bool) {
	return t.MAC(key, role, e.opener, e.answerer, e.openerPeer, e.answererPeer)
}

// prove makes this device's proof, under the key the other side named if this
// device holds it, else under its own. Without any key the MAC is zeros, and the
// certificate alone must do.
func prove(ctx context.Context, g *groupSession, named wire.KeyID, role byte, e proofEnds) (wire.SyncProof, error) {
	proof := wire.SyncProof{Cert: g.n.me.device.Raw}
	err := g.loop.look(ctx, func(m *group.Machine) error {
		own, has := m.Transport().Key()
		keys := []wire.KeyID{named}
		if has {
			keys = append(keys, own)
		}
		for _, k := range keys {
			if mac, ok := e.mac(m.Transport(), k, role); ok {
				proof.Key, proof.MAC = k, mac
				return nil
			}
		}
		return nil
	})
	return proof, err
}

// verify says which device is at the other end, if it may take part: the
// certificate is that of the stream's remote, and the device is known to the group,
// now or formerly, or holds a transport key, as a member of another branch does. Unless the
// device was taken out, its peer is a fellow on gossip from then on.
func verify(ctx context.Context, g *groupSession, proof wire.SyncProof, role byte, e proofEnds, remote peer.ID) (wire.DeviceID, error) {
	d, err := identity.VerifyDevice(proof.Cert)
	if err != nil {
		return wire.DeviceID{}, err
	}
	if string(d.Cert.Peer) != string(remote) {
		return wire.DeviceID{}, fmt.Errorf("%w: the certificate is another peer's", identity.ErrForged)
	}
	allowed, fellow := false, false
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		mac, held := e.mac(m.Transport(), proof.Key, role)
		holds, standing := held && hmac.Equal(mac[:], proof.MAC[:]), m.Standing(d.ID)
		allowed = holds || standing != group.Stranger
		fellow = standing == group.Current || standing == group.Stranger && holds && m.Transport().Vouches(proof.Key)
		return nil
	}); err != nil {
		return wire.DeviceID{}, err
	}
	if !allowed {
		return wire.DeviceID{}, errNotMember
	}
	if fellow {
		g.n.fellows.proved(g.id, remote, d.ID, proof.Key)
	}
	return d.ID, nil
}
