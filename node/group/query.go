package group

import (
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// State says where this device stands in the group.
type State string

// States.
const (
	StateNew     State = "new"     // neither founded nor joined
	StateJoining State = "joining" // asked, not welcomed yet
	StateSyncing State = "syncing" // welcomed, but behind the chosen epoch
	StateMember  State = "member"
	StateOut     State = "out" // removed, or left
)

// Standing is how a device may take part in a sync.
type Standing int

// Standings.
const (
	Stranger Standing = iota
	Removed
	Current
)

// Member is one user of the roster.
type Member struct {
	User    wire.UserID
	Role    wire.Role
	Name    string // of its first device
	Devices []wire.DeviceID
	Peers   [][]byte  // libp2p peer IDs of the devices, in binary, in the order of Devices
	Since   time.Time // of its addition
	InTree  bool      // all devices are in the MLS tree at the position
}

// Status is the machine's state for people.
type Status struct {
	State    State
	Group    wire.GroupID
	Epoch    uint64       // MLS epoch number at the position
	Position wire.EpochID // the epoch this device seals under
	Head     wire.EpochID // the epoch the fork choice picked
	// Authenticator is the epoch_authenticator of RFC 9420, Section 8.7, at Position.
	Authenticator []byte
	TreeHash      []byte
	Members       int
	Entries       int
	Gaps          int // records owed to this device whose plaintext is missing
	Outbox        int // own records not sealed on the chosen chain
	Parked        int
	Intents       int  // invites that are kept, since it does not know yet whether it needs them
	Was           bool // this device has been in the group
	Leaving       bool // it goes once somebody else has all that it wrote
	Left          bool // StateOut: by this user's own word
	Profile       []wire.ProfileItem
}

// Delivery says how far a message is.
type Delivery string

// Deliveries, of own messages.
const (
	DeliveryQueued    Delivery = "queued"    // durable here, not sealed yet
	DeliveryPublished Delivery = "published" // sealed and given to the network
	DeliveryHeld      Delivery = "held"      // at least one other device has said that it can read it
)

// Message is one message for people, in the order in which it was shown here.
type Message struct {
	Cursor   uint64 // of its event
	ID       wire.MessageID
	User     wire.UserID
	Device   wire.DeviceID
	Name     string // of the device
	Sent     time.Time
	Content  wire.Content   // of its first version
	Shown    *content.Shown // what edits, deletes and reactions made of it
	Replies  int            // messages that answer it, or are in its thread
	Fault    string         // it cannot be shown: why
	Expires  time.Time      // when it is erased; zero: never
	Deleted  *Message       // the message that took it away, without its content; nil: none
	ReplyTo  *Message       // the message that it answers, without Shown if it is not here; nil: none
	Own      bool
	Earlier  bool     // another member gave it, from before this device came in
	Delivery Delivery // own messages only
	HeldBy   int      // other devices that have said that they can read it
	Readers  int      // other devices that it is for
}

// JoinStatus is a member's answer to a joiner about its request.
type JoinStatus struct {
	Stage   wire.JoinStage
	Reason  string
	Final   bool // of a denial: other members will say the same
	Epoch   wire.EpochID
	Welcome []byte
	Tree    []byte
}
