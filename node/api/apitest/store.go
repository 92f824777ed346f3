package apitest

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Backup gives a text in two parts and a summary.
func (n *Node) Backup(_ context.Context, _ api.BackupRequest, emit func(api.BackupPart) error) error {
	if err := n.Fail["Backup"]; err != nil {
		return err
	}
	sum := &api.Backup{Created: time.Unix(0, 0).UTC(), User: n.Self.User, Device: n.Self.Device, Name: n.Self.Name, Rows: 3, Bytes: 99, Groups: []api.BackupGroup{}}
	for _, p := range []api.BackupPart{{Data: []byte("half a ")}, {Data: []byte("backup")}, {Backup: sum}} {
		if err := emit(p); err != nil {
			return err
		}
	}
	return nil
}

// StoreUsage gives Usage.
func (n *Node) StoreUsage(context.Context, api.Empty) (api.StoreUsage, error) {
	return n.Usage, n.Fail["StoreUsage"]
}

// CheckStore gives Checked.
func (n *Node) CheckStore(context.Context, api.Empty) (api.StoreCheck, error) {
	return n.Checked, n.Fail["CheckStore"]
}

// CompactStore changes nothing.
func (n *Node) CompactStore(context.Context, api.Empty) (api.Compacted, error) {
	return api.Compacted{Before: n.Usage, After: n.Usage}, n.Fail["CompactStore"]
}

// Relock keeps the request in Relocked.
func (n *Node) Relock(_ context.Context, r api.RelockRequest) (api.Empty, error) {
	n.Relocked = r
	return api.Empty{}, n.Fail["Relock"]
}
