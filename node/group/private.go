package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// maxTopics is on how many topics a private group is heard at the most.
const maxTopics = 16

// topic is where what is sealed under a transport key is published.
func (m *Machine) topic(key []byte) string {
	if m.cfg.Genesis.Private {
		return m.group.PrivateTopic(key)
	}
	return m.group.Topic()
}

// tag is what envelopes under a transport key carry.
func (m *Machine) tag(key []byte) [8]byte {
	if m.cfg.Genesis.Private {
		return m.group.PrivateTopicTag(key)
	}
	return m.group.TopicTag()
}

// Topics lists the topics that this device must listen on, the one it publishes on
// first. A private group has one for each transport key at hand: those who do not know
// of a key's successor yet are on its topic. None, if this device is out.
func (m *Machine) Topics() []string {
	if m.own.Out {
		return nil
	}
	if !m.cfg.Genesis.Private {
		return []string{m.group.Topic()}
	}
	var out []string
	for _, id := range m.keysInUse() {
		out = append(out, m.topic(m.transport[id]))
	}
	return out[:min(len(out), maxTopics)]
}

// Tagged says whether envelopes with a tag are this group's, as far as its keys are here.
func (m *Machine) Tagged(tag [8]byte) bool {
	for _, key := range m.transport {
		if m.tag(key) == tag {
			return true
		}
	}
	return false
}

// Meets lists the secrets under which the members of a private group announce
// themselves: of the keys that nothing has superseded, so that who was removed does not
// find them any more. None, if the group is public or this device is out.
func (m *Machine) Meets() []wire.MeetSecret {
	if m.own.Out || !m.cfg.Genesis.Private {
		return nil
	}
	var out []wire.MeetSecret
	for _, id := range m.keysInUse() {
		if !m.tkeyOf(id).superseded && len(out) < wire.MaxHandedKeys {
			out = append(out, m.group.MeetSecret(m.transport[id]))
		}
	}
	return out
}

// keysInUse lists the transport keys at hand: the one to send under, those that nothing
// has superseded, then the others, those superseded last first.
func (m *Machine) keysInUse() []wire.KeyID {
	current, _ := m.TransportKey()
	rank := func(id wire.KeyID) int {
		switch t := m.tkeyOf(id); {
		case id == current:
			return 0
		case !t.superseded:
			return 1
		}
		return 2
	}
	since := func(id wire.KeyID) int64 {
		if by := m.tkeyOf(id).since; by != nil {
			return by.hlc.Time().UnixMilli()
		}
		return 0
	}
	return slices.SortedFunc(maps.Keys(m.transport), func(a, b wire.KeyID) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(since(b), since(a)), bytes.Compare(a[:], b[:]))
	})
}
