package group

import (
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Found makes the group: the first input of its founder's machine.
type Found struct{}

// Join asks to be let in: the first input of a joiner's machine. It may come again
// with an invite, which then goes with the request.
type Join struct {
	Invite *wire.Signed  // nil: without one
	Key    *identity.Key // of the invite
}

// Send accepts a message. Once its Ready is carried out it cannot be lost.
type Send struct{ Content wire.Content }

// RemoveUser takes a user out of the group.
type RemoveUser struct{ User wire.UserID }

// SetRole changes the role of a user.
type SetRole struct {
	User wire.UserID
	Role wire.Role
}

// Reboot gives the group fresh MLS keys, for when nobody can go on with the old
// ones; members and messages stay.
type Reboot struct{}

// RevokeDevice takes one device of a user out of the group.
type RevokeDevice struct{ Device wire.DeviceID }

// Leave takes this device's user out of the group.
type Leave struct{}

// SetProfile changes the group's name or the like: a wire.ProfileItem signed by
// this device's user, so that any member can publish it.
type SetProfile struct{ Item wire.Signed }

// SetSetting sets a setting of the group; an empty value takes it back. Keys that this
// program does not know are for others.
type SetSetting struct{ Key, Value string }

// Envelope is an envelope from the topic or from a mailbox.
type Envelope struct{ Bytes []byte }

// From is an Envelope, Entries or Seals, with the device that gave them: a device that has
// a message from its author itself is among the first to acknowledge it.
type From struct {
	Input  Input
	Device wire.DeviceID // zero: it does not say which
	Peer   []byte        // nil: the same
}

// Entries are entries from a sync stream, encoded Signeds.
type Entries struct{ Entries [][]byte }

// Seals are seals from a sync stream.
type Seals struct{ Seals [][]byte }

// Earlier is an answer to Journal.EarlierWants, of the device that gave it.
type Earlier struct {
	Device   wire.DeviceID
	Messages []wire.Earlier
}

// Tree is a ratchet tree that Wants asked for.
type Tree struct {
	Epoch wire.EpochID
	Bytes []byte
}

// PeerVector is how far a member's device is, as it said on a sync stream, and
// which messages it asked for there although it had been given the seals at hand.
type PeerVector struct {
	Device wire.DeviceID
	Vector *wire.SyncVector // nil: only Gaps
	Same   wire.Hash        // of the vector's marks, if this device told the same; else zeros
	Gaps   []wire.MessageID
}

// JoinAsked is a joiner's request at this member.
type JoinAsked struct{ Request wire.JoinRequest }

// JoinAnswered is a member's Welcome for this joiner.
type JoinAnswered struct {
	KeyPackage []byte // of the request that is answered; nil: the first one
	Epoch      wire.EpochID
	Welcome    []byte
	Tree       []byte
	Renew      bool // its Welcome is gone: it asks with a fresh KeyPackage; no Welcome is set
}

// Tick is time alone.
type Tick struct{}

// Untold says that a Tell did not get to a device that is connected.
type Untold struct{ Device wire.DeviceID }
