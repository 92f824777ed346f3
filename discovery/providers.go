package discovery

import (
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/pandanode/pandanode/node/wire"
)

// Kinds of provider records. Each announces the CID (version 1, raw) of the SHA-256 of
// "panda/provider/1" ‖ 0 ‖ kind ‖ value: kind is one byte, value the rest.
const (
	provideMembers byte = 1 // value: the group's ID, 32 bytes
	providePublic  byte = 2 // no value
	provideWord    byte = 3 // value: a word of words
	provideTag     byte = 4 // value: a tag's words, one space between
	provideMeet    byte = 5 // value: the MeetKey of a private group's secret, 32 bytes
	provideMailbox byte = 6 // no value
)

func providerCID(kind byte, value []byte) cid.Cid {
	h := wire.HashOf(wire.DomainProvider, []byte{kind}, value)
	mh, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // a 32-byte digest of a known function
	}
	return cid.NewCidV1(cid.Raw, mh)
}

// membersCID is what the members of a group announce.
func membersCID(g wire.GroupID) cid.Cid { return providerCID(provideMembers, g[:]) }

// rendezvousCID is what the members of a private group announce. They alone know the
// secret.
func rendezvousCID(s wire.MeetSecret) cid.Cid {
	key := s.MeetKey()
	return providerCID(provideMeet, key[:])
}

// publicCID is what every node with a public group announces.
func publicCID() cid.Cid { return providerCID(providePublic, nil) }

// wordCID is what a node announces for each word of the names of its public
// groups; word is one of words.
func wordCID(word string) cid.Cid { return providerCID(provideWord, []byte(word)) }

// mailboxCID is what every mailbox announces.
func mailboxCID() cid.Cid { return providerCID(provideMailbox, nil) }

// tagCID is the same for a tag.
func tagCID(tag string) cid.Cid { return providerCID(provideTag, []byte(tagText(tag))) }

// announcements lists all that a member with this record announces, each CID once.
func (i *Info) announcements() []cid.Cid {
	out := []cid.Cid{membersCID(i.Group), publicCID()}
	for _, w := range words(i.Name) {
		out = append(out, wordCID(w))
	}
	for _, t := range i.Tags {
		if tagText(t) != "" && !slices.Contains(out, tagCID(t)) {
			out = append(out, tagCID(t))
		}
	}
	return out
}
