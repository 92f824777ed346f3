package group

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxTopics is on how many topics a private group is heard at the most.
const maxTopics = 16

// topic is where envelopes under a transport key are published.
func (k *keyring) topic(id wire.KeyID) string {
	if k.cfg.Genesis.Private {
		return k.group.PrivateTopic(k.keys[id])
	}
	return k.group.Topic()
}

// tagOf is the tag that a group's envelopes under a transport key carry.
func tagOf(g *identity.Genesis, key []byte) [8]byte {
	if g.Private {
		return g.ID.PrivateTopicTag(key)
	}
	return g.ID.TopicTag()
}

// topics lists the topics that this device must listen on, the one it publishes on
// first. A private group has one for each transport key at hand: those who do not know
// of a key's successor yet are on its topic. None, if this device is out.
func (k *keyring) topics() []string {
	if k.own.Out {
		return nil
	}
	if !k.cfg.Genesis.Private {
		return []string{k.group.Topic()}
	}
	var out []string
	for _, id := range k.inUse() {
		out = append(out, k.topic(id))
	}
	return out[:min(len(out), maxTopics)]
}

// tagged says whether envelopes with a tag are this group's, as far as its keys are here.
func (k *keyring) tagged(tag [8]byte) bool {
	for _, key := range k.keys {
		if tagOf(k.cfg.Genesis, key) == tag {
			return true
		}
	}
	return false
}

// meets lists the secrets under which the members of a private group announce
// themselves: of the keys that nothing has superseded, so that who was removed does not
// find them any more. None, if the group is public or this device is out.
func (k *keyring) meets() []wire.MeetSecret {
	if k.own.Out || !k.cfg.Genesis.Private {
		return nil
	}
	var out []wire.MeetSecret
	for _, id := range k.inUse() {
		if !k.of(id).superseded && len(out) < wire.MaxHandedKeys {
			out = append(out, k.group.MeetSecret(k.keys[id]))
		}
	}
	return out
}

// inUse lists the transport keys at hand: the one to send under, those that nothing
// has superseded, then the others, those superseded last first. Those that the logs do not
// know are among them only until the logs know one.
func (k *keyring) inUse() []wire.KeyID {
	current, _ := k.current()
	rank := func(id wire.KeyID) int {
		switch t := k.of(id); {
		case id == current:
			return 0
		case !t.superseded:
			return 1
		}
		return 2
	}
	since := func(id wire.KeyID) int64 {
		if by := k.of(id).since; by != nil {
			return by.HLC.Time().UnixMilli()
		}
		return 0
	}
	held := maps.Clone(k.keys)
	if made := k.unnamed(); len(made) < len(held) {
		for _, id := range made {
			delete(held, id)
		}
	}
	return slices.SortedFunc(maps.Keys(held), func(a, b wire.KeyID) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(since(b), since(a)), bytes.Compare(a[:], b[:]))
	})
}

// newEnvelope seals a bundle under a transport key held here, with a fresh salt.
func (k *keyring) newEnvelope(key wire.KeyID, u wire.Bundle) (envelope []byte, salt [32]byte, err error) {
	if _, err := io.ReadFull(k.cfg.Rand, salt[:]); err != nil {
		return nil, salt, fmt.Errorf("drawing an envelope's salt: %w", err)
	}
	envelope, err = k.sealBundle(salt, key, u)
	return envelope, salt, err
}

// sealBundle seals a bundle, as the group's envelopes are, with a salt that is given: the
// same envelope can be made again.
func (k *keyring) sealBundle(salt [32]byte, key wire.KeyID, u wire.Bundle) ([]byte, error) {
	if k.cfg.Genesis.Private {
		return wire.SealPrivateEnvelope(bytes.NewReader(salt[:]), k.group, k.keys[key], &u)
	}
	return wire.SealEnvelope(bytes.NewReader(salt[:]), k.group, k.keys[key], &u)
}

// open opens an envelope of the group under any key that is held.
func (k *keyring) open(envelope []byte) (*wire.Bundle, error) {
	return wire.OpenEnvelope(k.group, func(id wire.KeyID) []byte { return k.keys[id] }, envelope)
}

// boxes lists the group's boxes at a mailbox, that under the key to send under last.
func (k *keyring) boxes(mailbox []byte) []Box {
	keys := k.inUse()
	slices.Reverse(keys)
	out := make([]Box, len(keys))
	for i, id := range keys {
		secret, err := boxKey(k.group, k.keys[id], mailbox)
		k.tx.fail(err)
		out[i] = Box{Key: id, Tag: tagOf(k.cfg.Genesis, k.keys[id]), ID: wire.BoxID(secret[ed25519.SeedSize:])}
		clear(secret)
	}
	return out
}

// proveBox signs what shows a mailbox that this device may use a box. False: the key is
// not here.
func (k *keyring) proveBox(id wire.KeyID, mailbox, payload []byte) ([]byte, bool) {
	if !k.has(id) {
		return nil, false
	}
	secret, err := boxKey(k.group, k.keys[id], mailbox)
	k.tx.fail(err)
	defer clear(secret)
	return ed25519.Sign(secret, wire.SigningInput(wire.DomainMailbox, wire.GroupID{}, payload)), true
}

// boxKey derives a box's key pair: seed ‖ public key.
func boxKey(group wire.GroupID, key, mailbox []byte) (ed25519.PrivateKey, error) {
	seed, err := wire.BoxSeed(group, key, mailbox)
	if err != nil {
		return make([]byte, ed25519.PrivateKeySize), fmt.Errorf("%w: transport key: %w", verdict.ErrCorrupt, err)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}

// syncMAC is the MAC of wire.SyncProof under a key; false if it is not here.
func (k *keyring) syncMAC(id wire.KeyID, role byte, opener, answerer wire.SyncHello, openerPeer, answererPeer []byte) ([32]byte, bool) {
	key := k.keys[id]
	if key == nil {
		return [32]byte{}, false
	}
	h := hmac.New(sha256.New, key)
	for _, b := range [][]byte{
		[]byte(wire.DomainSync),
		{0},
		k.group[:],
		{role},
		opener.Nonce[:], answerer.Nonce[:],
		wire.U64(uint64(len(openerPeer))), openerPeer, wire.U64(uint64(len(answererPeer))), answererPeer,
	} {
		h.Write(b)
	}
	return [32]byte(h.Sum(nil)), true
}

// Box is the group's place at a mailbox under one transport key.
type Box struct {
	Key wire.KeyID
	Tag [8]byte // of the envelopes in it
	ID  wire.BoxID
}
