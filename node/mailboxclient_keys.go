package node

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// Keys of the store's rows for a group's mailboxes.
const (
	keyPendingPut = "n/post/"    // ‖ group ‖ mailKeys.pending: an envelope to put
	keyMailbox    = "n/mailing/" // ‖ group ‖ peer ID: mailingRow
)

// Keys of the store's rows for entries in mailboxes.
const (
	keyLate  = "n/late/"  // ‖ group ‖ entry: when it came, in milliseconds since 1970, and no mailbox is known to have it
	keyBoxed = "n/boxed/" // ‖ group ‖ transport key ‖ entry ‖ mailbox: life of its box ‖ cursor
)

// mailKeys are the keys of the store's rows for the mailboxes of one group.
type mailKeys wire.GroupID

// progress is the key of the row that says how far this device is with a mailbox.
func (k mailKeys) progress(p peer.ID) []byte {
	return append(append([]byte(keyMailbox), k[:]...), p...)
}

func (k mailKeys) pendingPrefix() []byte { return append([]byte(keyPendingPut), k[:]...) }

// pending is the key of an envelope that waits to be put.
func (k mailKeys) pending(p pendingPut) []byte {
	b := binary.BigEndian.AppendUint64(k.pendingPrefix(), p.number)
	return binary.BigEndian.AppendUint32(append(b, p.box[:]...), p.size)
}

func (k mailKeys) latePrefix() []byte { return append([]byte(keyLate), k[:]...) }

// late is the key of an entry that no mailbox is known to have.
func (k mailKeys) late(e wire.EntryHash) []byte { return append(k.latePrefix(), e[:]...) }

func (k mailKeys) boxedPrefix() []byte { return append([]byte(keyBoxed), k[:]...) }

// boxed is the key of an entry that a mailbox has in a box.
func (k mailKeys) boxed(p peer.ID, box wire.KeyID, e wire.EntryHash) []byte {
	return append(append(append(k.boxedPrefix(), box[:]...), e[:]...), p...)
}
