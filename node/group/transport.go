package group

import "github.com/pandanode/pandanode/node/wire"

// Transport answers what a node needs to know to carry the group's envelopes: the topics
// and tags of its transport keys, and proofs that this device holds them.
type Transport struct{ keys *keyring }

// Transport gives the transport keys' public side. It is as the machine is: see the queries.
func (m *Machine) Transport() Transport { return Transport{m.keys} }

// Vouches says whether to hold a transport key shows a stranger to be a member of
// another branch: nobody who was taken out has it, and could come with another device.
func (t Transport) Vouches(key wire.KeyID) bool {
	return t.keys.has(key) && t.keys.clean(t.keys.of(key)) // not one that a Welcome brought and no log names
}

// MAC is the MAC of wire.SyncProof under one of this device's transport
// keys; false if it does not hold that key.
func (t Transport) MAC(key wire.KeyID, role byte, opener, answerer wire.SyncHello, openerPeer, answererPeer []byte) ([32]byte, bool) {
	return t.keys.syncMAC(key, role, opener, answerer, openerPeer, answererPeer)
}

// Key is the ID of the key that this device sends under. False: it holds none.
func (t Transport) Key() (wire.KeyID, bool) { return t.keys.current() }

// Topics lists the topics that this device must listen on, the one it publishes on first.
// None, if this device is out.
func (t Transport) Topics() []string { return t.keys.topics() }

// Has says whether envelopes with a tag are this group's, as far as its keys are here.
func (t Transport) Has(tag [8]byte) bool { return t.keys.tagged(tag) }

// Meets lists the secrets under which the members of a private group announce
// themselves. None, if the group is public or this device is out.
func (t Transport) Meets() []wire.MeetSecret { return t.keys.meets() }
