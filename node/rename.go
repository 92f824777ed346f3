package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// naming is what this device is called: by the certificate it was made with, until it gets
// another name, and in each group by the certificate that it came in with.
type naming struct {
	store *storage.Store
	put   func(key string, v any) error // writes a row
	me    *self

	mu  sync.Mutex                      // held while the device gets another name
	now atomic.Pointer[identity.Device] // with that name; nil: it has the first one
}

// rename gives this device another name: a certificate of the same keys that says so. A
// group knows a device by the certificate that it came in with, so the name is seen in
// groups that are founded or joined from now on; those of before keep the old one. When
// it returns, the name is durable.
func (c *naming) rename(ctx context.Context, name string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cert := c.me.device.Cert
	cert.Name = name
	d, err := identity.Certify(c.me.user, cert)
	if err != nil {
		return err
	}
	if err := c.put(keyNamed, &d.Raw); err != nil {
		return err
	}
	c.now.Store(d)
	return nil
}

// current is this device with the name that it has now.
func (c *naming) current() *identity.Device {
	if d := c.now.Load(); d != nil {
		return d
	}
	return c.me.device
}

// load takes up the name that rename gave.
func (c *naming) load() error {
	d, err := c.certIn(keyNamed)
	if err == nil && d != nil {
		c.now.Store(d)
	}
	return err
}

// certIn reads one of this device's certificates; nil if there is none.
func (c *naming) certIn(key string) (*identity.Device, error) {
	var raw wire.Signed
	if ok, err := getRow(c.store, key, &raw); !ok || err != nil {
		return nil, err
	}
	d, err := identity.VerifyDevice(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: a certificate of this device: %w", storage.ErrCorrupt, err)
	}
	if d.ID != c.me.device.ID {
		return nil, fmt.Errorf("%w: a certificate of another device", storage.ErrCorrupt)
	}
	return d, nil
}

// comeIn has this device be known in a group that is new to it by the name it has now,
// also after a restart.
func (c *naming) comeIn(id wire.GroupID) error {
	d := c.now.Load()
	if d == nil {
		return nil
	}
	return c.put(keyCert+string(id[:]), &d.Raw)
}

// knownAs is this device as a group knows it. A certificate that cannot be read stands
// back behind the first one: it differs in the name alone.
func (c *naming) knownAs(id wire.GroupID, log *slog.Logger) *identity.Device {
	d, err := c.certIn(keyCert + string(id[:]))
	if err != nil {
		log.Warn("the name of this device in a group cannot be read", "group", id, "err", err)
	}
	if d == nil {
		return c.me.device
	}
	return d
}
