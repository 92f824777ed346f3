package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Ready is the work that a Step made necessary. It is carried out in the order of its
// fields, and then Advance is called. There is no Step in between.
type Ready struct {
	Writes   []Write          // one atomic, synced transaction together with Drop; Advance clears the secrets in them
	Came     []wire.EntryHash // entries in Writes that came from elsewhere
	Drop     []Vault          // vaults whose keys are destroyed after that transaction
	Messages []Outbound       // after the writes are durable
	Erased   bool             // Writes erase messages: what the store still has of them is to go, too
	Events   []Event          // they only notify: the same events are rows in Writes
	Heard    bool             // nothing is to be done: of other devices more is known, or less
	NextWake time.Time        // when to Step(Tick) at the latest; zero: not needed
}

// Vault names the key under which a value is sealed at rest. The zero Vault is the store's
// data key; any other is destroyed with the epoch or the key that it was made for: see VaultOf.
type Vault [32]byte

// Write puts a row, or deletes it where Value is nil. Keys are relative to the group.
type Write struct {
	Key   string
	Value []byte
	Vault Vault
}

// Rows reads the durable rows: the result of all Writes carried out so far. Get returns
// nil, nil for a row that is not there. Scan goes through the rows whose key has a prefix
// in ascending order of keys and stops at the first error.
//
// What Get gives is the caller's, who clears it if it is a secret.
type Rows interface {
	Get(key string) ([]byte, error)
	Scan(prefix string, fn func(key string, value []byte) error) error
}

// RowsFrom is an optional part of Rows: Scan beginning at the first key that is not below
// from.
type RowsFrom interface {
	ScanFrom(prefix, from string, fn func(key string, value []byte) error) error
}

// RowKeys is an optional part of Rows: Scan without the values. New calls them from two
// goroutines at once.
type RowKeys interface {
	ScanKeys(prefix string, fn func(key string) error) error
}

// Outbound is one thing for the network to do.
type Outbound interface{ outbound() }

// Publish sends an envelope on a topic, which is one of Transport.Topics.
type Publish struct {
	Envelope []byte
	Topic    string
	Entries  []wire.EntryHash // in it
}

// Tell gives an envelope to one device alone, by its peer, if it is connected. If it is
// not, the envelope goes on the topic where Gossip says so, else nowhere; if it is and does
// not take it, the same, or an Untold is stepped.
type Tell struct {
	Device   wire.DeviceID
	Peer     []byte
	Envelope []byte
	Topic    string
	Gossip   bool
}

// Ask wants a sync with a member soon: entries, seals or a tree are missing.
type Ask struct{ Why string }

// RequestJoin wants this request carried to any member, in place of an earlier one, again
// and again until a JoinAnswered with a Welcome was stepped. If there is a renewal, the two
// go in turn.
type RequestJoin struct {
	Request wire.JoinRequest
	Renewal *wire.JoinRequest
}

// EndRequest takes a RequestJoin back: this device is in, perhaps without a Welcome, or
// may not come in.
type EndRequest struct{}

func (Publish) outbound()     {}
func (Tell) outbound()        {}
func (Ask) outbound()         {}
func (RequestJoin) outbound() {}
func (EndRequest) outbound()  {}

// EventKind says what happened.
type EventKind string

// Events.
const (
	EventMessage     EventKind = "message"         // Message, User, Device
	EventChanged     EventKind = "message-changed" // User, on Device, said something about Message; Detail says what
	EventAdded       EventKind = "member-added"    // User
	EventRemoved     EventKind = "member-removed"  // User; By
	EventLeft        EventKind = "member-left"     // User
	EventJoined      EventKind = "joined"          // this device is in
	EventOut         EventKind = "out"             // this device was removed
	EventEpoch       EventKind = "epoch"           // Epoch; By and Device made it, unless by founding the group
	EventFork        EventKind = "fork"            // members committed concurrently at Epoch; By and Device, the last of them
	EventSwitch      EventKind = "switch"          // this device moved to another branch
	EventEvidence    EventKind = "evidence"        // Device signed two entries with one sequence number
	EventIncarnation EventKind = "incarnation"     // this device's store went back in time; it began a new log
	EventTwin        EventKind = "twin"            // another node writes as this device while this one runs
	EventRefused     EventKind = "refused"         // a member's entry or commit was refused; Detail says why
	EventProfile     EventKind = "profile"         // By, on Device, set what Detail says: the field, a space and the value
	EventSetting     EventKind = "setting"         // By, on Device, set what Detail says: the key, a space and the value in quotes
	EventRole        EventKind = "role"            // User has the role Detail; By gave it
	// EventAsked: User, called Detail, asks to be let in and waits for an admin.
	EventAsked EventKind = "join-requested"
	// EventDenied: By turned down the request of User.
	EventDenied EventKind = "join-denied"
	// EventCancelled: a removal of User by By does not stand, since By was removed
	// concurrently. Admins may want to repeat it.
	EventCancelled EventKind = "removal-cancelled"
	// EventRevoked: By took Device of User out of the group.
	EventRevoked EventKind = "device-revoked"
	// EventReboot: By, on Device, named fresh keys for the group, with Epoch for a root.
	EventReboot EventKind = "reboot"
)

// EventKinds lists them.
var EventKinds = []EventKind{
	EventMessage, EventChanged, EventAdded, EventRemoved, EventLeft, EventJoined, EventOut, EventEpoch, EventFork, EventSwitch, EventEvidence,
	EventIncarnation, EventTwin, EventRefused, EventProfile, EventSetting, EventRole, EventAsked, EventDenied, EventCancelled, EventRevoked, EventReboot,
}

// Event is one thing that happened in the group, as this device saw it. Cursor
// rises by one per event, so that a gap shows.
type Event struct {
	Cursor  uint64         `cbor:"1,keyasint"`
	Kind    EventKind      `cbor:"2,keyasint"`
	At      uint64         `cbor:"3,keyasint"` // local clock, milliseconds since 1970
	Message wire.MessageID `cbor:"4,keyasint,omitempty"`
	User    wire.UserID    `cbor:"5,keyasint,omitempty"`
	Device  wire.DeviceID  `cbor:"6,keyasint,omitempty"`
	By      wire.UserID    `cbor:"7,keyasint,omitempty"`
	Epoch   wire.EpochID   `cbor:"8,keyasint,omitempty"`
	Detail  string         `cbor:"9,keyasint,omitempty"`
}

// Outcome is the result of a Step.
type Outcome struct {
	Verdict  verdict.Verdict
	Entry    wire.EntryHash   // of a Send: the MessageID; of an operation: its OP
	Entries  []wire.EntryHash // in an envelope
	Messages []wire.MessageID // of an envelope or seals: records whose plaintext is now held, also from before; of a SendAll: its messages
	Again    bool             // of a SendAll with Once: these were sent before, and nothing now
	New      int              // entries and seals that were new
	News     int              // of an envelope: what in it is not known to be old, also beacons, receipts, and seals that this device has no use for
	Did      []string         // of a Heal: what it did and why not more, for people
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
