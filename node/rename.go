package node

import (
	"context"
	"fmt"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Rename gives this device another name: a certificate of the same keys that says so. A
// group knows a device by the certificate that it came in with, so the name is seen in
// groups that are founded or joined from now on; those of before keep the old one. When
// it returns, the name is durable.
func (n *Node) Rename(ctx context.Context, name string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n.naming.Lock()
	defer n.naming.Unlock()
	cert := n.me.device.Cert
	cert.Name = name
	d, err := identity.Certify(n.me.user, cert)
	if err != nil {
		return err
	}
	if err := n.put(keyNamed, &d.Raw); err != nil {
		return err
	}
	n.named.Store(d)
	return nil
}

// calledNow is this device with the name that it has now.
func (n *Node) calledNow() *identity.Device {
	if d := n.named.Load(); d != nil {
		return d
	}
	return n.me.device
}

// loadName takes up the name that Rename gave.
func (n *Node) loadName() error {
	d, err := n.certIn(keyNamed)
	if err == nil && d != nil {
		n.named.Store(d)
	}
	return err
}

// certIn reads one of this device's certificates; nil if there is none.
func (n *Node) certIn(key string) (*identity.Device, error) {
	var raw wire.Signed
	if ok, err := getRow(n.store, key, &raw); !ok || err != nil {
		return nil, err
	}
	d, err := identity.VerifyDevice(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: a certificate of this device: %w", storage.ErrCorrupt, err)
	}
	if d.ID != n.me.device.ID {
		return nil, fmt.Errorf("%w: a certificate of another device", storage.ErrCorrupt)
	}
	return d, nil
}

// comeIn has this device be known in a group that is new to it by the name it has now,
// also after a restart.
func (n *Node) comeIn(id wire.GroupID) error {
	d := n.named.Load()
	if d == nil {
		return nil
	}
	return n.put(keyCert+string(id[:]), &d.Raw)
}

// knownAs is this device as a group knows it. A certificate that cannot be read stands
// back behind the first one: it differs in the name alone.
func (n *Node) knownAs(id wire.GroupID) *identity.Device {
	d, err := n.certIn(keyCert + string(id[:]))
	if err != nil {
		n.log.Warn("the name of this device in a group cannot be read", "group", id, "err", err)
	}
	if d == nil {
		return n.me.device
	}
	return d
}
