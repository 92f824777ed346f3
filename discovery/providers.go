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
	providePublic  byte = 2 // value: a shard's; the whole key has none
	provideWord    byte = 3 // value: a word of words
	provideTag     byte = 4 // value: a tag's words, one space between
	provideMeet    byte = 5 // value: the MeetKey of a private group's secret, 32 bytes
	provideMailbox byte = 6 // value: as for public
	providePair    byte = 7 // value: two words of words, the lesser first, one space between
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

// publicCID is what every node with a public group announces, in its own shard.
func publicCID(s Shard) cid.Cid { return providerCID(providePublic, s.value()) }

// wordCID is what a node announces for each word of the names of its public
// groups; word is one of words.
func wordCID(word string) cid.Cid { return providerCID(provideWord, []byte(word)) }

// pairCIDs are what a node announces for each two of the first words of a name, and what is
// looked for with several words: words that are common one by one are seldom so together.
func pairCIDs(words []string) []cid.Cid {
	var out []cid.Cid
	words = words[:min(len(words), maxPaired)]
	for i, a := range words {
		for _, b := range words[i+1:] {
			out = append(out, providerCID(providePair, []byte(min(a, b)+" "+max(a, b))))
		}
	}
	return out
}

// maxPaired is how many words of a name are paired: four make six pairs.
const maxPaired = 4

// mailboxCID is what every mailbox announces, in its own shard.
func mailboxCID(s Shard) cid.Cid { return providerCID(provideMailbox, s.value()) }

// tagCID is the same for a tag.
func tagCID(tag string) cid.Cid { return providerCID(provideTag, []byte(tagText(tag))) }

// announcements lists what a member with this record announces however many others do, and
// what it announces less often the more others do. Each CID comes once.
func (i *Info) announcements(own Shard) (always, seldom []cid.Cid) {
	names := words(i.Name)
	for _, w := range names {
		seldom = append(seldom, wordCID(w))
	}
	seldom = append(seldom, pairCIDs(names)...)
	for _, t := range i.Tags {
		if tagText(t) != "" && !slices.Contains(seldom, tagCID(t)) {
			seldom = append(seldom, tagCID(t))
		}
	}
	return []cid.Cid{membersCID(i.Group), publicCID(own)}, seldom
}
