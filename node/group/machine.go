package group

import (
	"io"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Config is what a machine is made of. All fields are needed.
type Config struct {
	Genesis     *identity.Genesis // checked; its ID is the group's
	Device      *identity.Device  // this device
	LogKey      *identity.Key     // of this device
	Incarnation uint64            // of this device's store
	Engine      Engine            // MLS
	Rand        io.Reader
	Rows        Rows
}

// Machine decides for one group on one device. See the package comment.
type Machine struct{ cfg Config }

// New makes the machine of what is durable; a restart is the same call.
func New(cfg Config, now time.Time) (*Machine, error) { panic("todo") }

// Step takes an input. An error says why it was refused, and then nothing has
// changed; for what came from the network the Outcome's Verdict says whom to blame.
func (m *Machine) Step(now time.Time, in Input) (Outcome, error) { panic("todo") }

// Ready gives what is to be done, and whether there is anything.
func (m *Machine) Ready() (Ready, bool) { panic("todo") }

// Advance says that the last Ready is carried out.
func (m *Machine) Advance() { panic("todo") }

// NextWake is when to Step(Tick) at the latest; zero: not needed.
func (m *Machine) NextWake() time.Time { panic("todo") }

// The queries below change nothing and may be called whenever no Step runs.

func (m *Machine) Status() Status                                      { panic("todo") }
func (m *Machine) Members() []Member                                   { panic("todo") }
func (m *Machine) Standing(wire.DeviceID) Standing                     { panic("todo") }
func (m *Machine) Messages(after uint64, limit int) ([]Message, error) { panic("todo") }
func (m *Machine) Message(wire.MessageID) (Message, bool, error)       { panic("todo") }
func (m *Machine) Events(after uint64, limit int) ([]Event, error)     { panic("todo") }

// Marks is this device's version vector, ascending by log.
func (m *Machine) Marks() []wire.Mark { panic("todo") }

// EntriesAfter gives the entries that a device with this vector lacks and may
// have, in causal order, encoded Signeds, at most max bytes of them (at least
// one); more says that there are others, to be asked for with the vector that
// these lead to. A removed device gets its removal and what lies before it. A
// stranger whose SyncProof holds the transport key is a member of another branch
// and gets everything.
func (m *Machine) EntriesAfter(device wire.DeviceID, marks []wire.Mark, max int) (entries [][]byte, more bool, err error) {
	panic("todo")
}

// Wants names what this device lacks: messages owed to it without plaintext, and trees.
func (m *Machine) Wants() wire.SyncWant { panic("todo") }

// SealsFor gives the seals at hand of messages that the device may read.
func (m *Machine) SealsFor(device wire.DeviceID, messages []wire.MessageID) ([][]byte, error) {
	panic("todo")
}

// TreeOf gives the ratchet tree of an epoch at hand, or nil.
func (m *Machine) TreeOf(wire.EpochID) []byte { panic("todo") }

// JoinStatus tells how far the request with this KeyPackage is.
func (m *Machine) JoinStatus(keyPackage []byte) JoinStatus { panic("todo") }

// TransportKey is the ID of the key this device sends under; false if it has none yet.
func (m *Machine) TransportKey() (wire.KeyID, bool) { panic("todo") }

// SyncMAC is the MAC of wire.SyncProof under one of this device's transport
// keys; false if it does not hold that key.
func (m *Machine) SyncMAC(key wire.KeyID, role byte, opener, answerer wire.SyncHello, openerPeer, answererPeer []byte) ([32]byte, bool) {
	panic("todo")
}

// Envelope of a message: the bundle of its entry and newest seal, sealed anew or as published.
func (m *Machine) EnvelopeOf(wire.MessageID) ([]byte, error) { panic("todo") }
