package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Forgetting a group takes many transactions, since it may have many rows. The first one
// marks the group's row, and from then on the node does not have the group; the last one
// deletes that row. A node that starts finishes what a crash has interrupted.
//
// A row of 16 random bytes stays: a device that joins that group again has forgotten its
// own log, which the others hold, and must not write the same sequence numbers again. So
// it begins a log of another incarnation.

// errUnsent says that a group holds own messages that nobody else is known to have.
var errUnsent = errors.New("messages would be lost")

// forgotRow is the row that is left of a forgotten group.
type forgotRow struct {
	Salt []byte `cbor:"1,keyasint"`
}

// forgetChunk is how many rows one transaction deletes.
const forgetChunk = 500

// forgotten says what was forgotten.
type forgotten struct {
	Messages int // that this device could show
	Unsent   int // of them, own ones that nobody else is known to have
}

// forget removes a group that this device is out of, or waits to get into: its messages,
// its log, its keys. Own messages that nobody else is known to have are lost too; if there
// are any, discard has to say that this is wanted. Errors: ErrNoGroup; errUnsent;
// group.ErrState for a group that this device is in.
func (n *Node) forget(ctx context.Context, id wire.GroupID, discard bool) (forgotten, error) {
	n.groups.joining.Lock() // nobody joins it meanwhile
	defer n.groups.joining.Unlock()
	if ended, err := n.endLookup(id); ended || err != nil {
		return forgotten{}, err
	}
	g, err := n.groups.must(id)
	if err != nil {
		return forgotten{}, err
	}
	var out forgotten
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		if m.In() {
			return fmt.Errorf("forgetting a group: %w: this device is in it; leave it first", verdict.ErrState)
		}
		out.Messages, out.Unsent = m.OnlyHere()
		return nil
	}); err != nil {
		return forgotten{}, err
	}
	if out.Unsent > 0 && !discard {
		return out, fmt.Errorf("forgetting a group: %w: %d of your messages there are with nobody else, as far as this device knows", errUnsent, out.Unsent)
	}
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	if err := n.apply(storage.Batch{Writes: []storage.Write{
		{Key: []byte(keyGroups + string(id[:])), Value: wire.Marshal(&groupRow{Genesis: g.genesis.Raw, Forgotten: true})},
		{Key: []byte(keyForgot + string(id[:])), Value: wire.Marshal(&forgotRow{Salt: salt[:]})},
	}}); err != nil {
		return out, fmt.Errorf("%w: %w", ErrStore, err)
	}
	n.drop(g)
	if err := n.files.forget(id); err != nil {
		n.log.Error("files of a forgotten group are left until the next start", "group", id, "err", err)
	}
	if err := erase(n.store, n.apply, id); err != nil {
		// It is forgotten all the same: the next start goes on with it.
		n.log.Error("rows of a forgotten group are left until the next start", "group", id, "err", err)
	}
	return out, nil
}

// drop has this node host a group no more.
func (n *Node) drop(g *groupSession) {
	n.groups.remove(g)
	g.loop.gone.Store(true)
	g.stop()
	n.directory.publisher.Withdraw(g.id)
	n.changed.wake()
}

// erase deletes all rows of a group, the one that says that it is forgotten last.
func erase(s *storage.Store, apply func(storage.Batch) error, id wire.GroupID) error {
	var b storage.Batch
	flush := func() error {
		if len(b.Writes)+len(b.Drop) == 0 {
			return nil
		}
		err := apply(b)
		b = storage.Batch{}
		return err
	}
	var keys [][]byte
	collect := func(prefix string) error {
		return s.ScanKeys([]byte(prefix), func(key []byte) error {
			keys = append(keys, append([]byte(nil), key...))
			return nil
		})
	}
	own := groupPrefix(id)
	if err := errors.Join(collect(own), collect(keyPendingPut+string(id[:])), collect(keyMailbox+string(id[:])), collect(keyLate+string(id[:])),
		collect(keyBoxed+string(id[:])), collect(keyRefused+string(id[:])), collect(keySeen+string(id[:])), collect(keyLocal+string(id[:])), collect(keyCursor+string(id[:])), collect(keyMet+string(id[:])), collect(keyProfiles+string(id[:])), collect(keyInfo+string(id[:])), collect(keyLookup+string(id[:]))); err != nil {
		return err
	}
	dropped := map[storage.VaultID]bool{{}: true}
	for _, key := range keys { // the vaults first, so that no key is left after a crash to open the rest
		if vault := vaultOf(key); !dropped[vault] {
			dropped[vault] = true
			b.Drop = append(b.Drop, vault)
		}
	}
	if err := flush(); err != nil {
		return err
	}
	for _, key := range keys {
		b.Writes = append(b.Writes, storage.Write{Key: key})
		if len(b.Writes) == forgetChunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	b.Writes = append(b.Writes, storage.Write{Key: []byte(keyGroups + string(id[:]))})
	return flush()
}

// incarnationIn is the incarnation of this device's log in a group: the store's, or
// another one where the group was forgotten.
func incarnationIn(s *storage.Store, me *self, id wire.GroupID) (uint64, error) {
	var row forgotRow
	found, err := getRow(s, keyForgot+string(id[:]), &row)
	if err != nil || !found {
		return me.incarnation, err
	}
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, me.incarnation), row.Salt...))
	return binary.BigEndian.Uint64(sum[:8]), nil
}
