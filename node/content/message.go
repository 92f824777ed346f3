package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/wire"
)

// Message is a container: what one message says.
type Message struct {
	Salt       [16]byte
	Replaces   wire.MessageID // the first version of the message that this one edits or deletes; zero: none
	Topic      []byte         // the MessageID of the thread's first message; empty: none
	Expires    *Expiry        // nil: never
	InReplyTo  wire.MessageID // zero: none
	Extensions []Extension    // ascending by name
	Part       Part
}

// Expiry says when a message is over.
type Expiry struct {
	Relative bool   // Time counts from when it was read
	Time     uint32 // seconds; not Relative: since 1970
}

// Extension is a value and its name, the key of the map, each an encoded item of CBOR.
type Extension struct{ Name, Value []byte }

// Disposition says what a part is for.
type Disposition uint8

// Dispositions. An unknown one is as DispositionRender.
const (
	DispositionUnspecified Disposition = iota
	DispositionRender
	DispositionReaction
	DispositionProfile
	DispositionInline
	DispositionIcon
	DispositionAttachment
	DispositionSession
	DispositionPreview
)

// Cardinality says what is in a part.
type Cardinality uint8

// Cardinalities.
const (
	CardinalityNull     Cardinality = iota // nothing
	CardinalitySingle                      // ContentType, Content
	CardinalityExternal                    // ContentType, External
	CardinalityMulti                       // Semantics, Parts
)

// Semantics says what to do with the parts in a part.
type Semantics uint8

// Semantics.
const (
	ChooseOne Semantics = iota
	SingleUnit
	ProcessAll
)

// Part is a part of a message, which may hold others.
type Part struct {
	Disposition Disposition
	Language    string // a language tag; empty: not said
	Cardinality Cardinality

	ContentType string
	Content     []byte
	External    External
	Semantics   Semantics
	Parts       []Part // two or more
}

// External is content that lies elsewhere.
type External struct {
	URL             string
	Expires         uint32 // seconds since 1970; 0: not said
	Size            uint64 // bytes
	EncAlg          uint16
	Key, Nonce, AAD []byte
	HashAlg         uint8
	ContentHash     []byte
	Description     string
	Filename        string
}

// Names of extensions that the draft fixes.
const (
	nameSender = "\x01"
	nameRoom   = "\x02"
)

// Decode reads a container. Errors say in words what is wrong: ErrMalformed or ErrTooLarge
// of package wire.
func Decode(b []byte) (*Message, error) {
	if len(b) > MaxContainer {
		return nil, fmt.Errorf("%w: the container has %d bytes, and at most %d are allowed", wire.ErrTooLarge, len(b), MaxContainer)
	}
	r := reader{rest: b}
	var m Message
	r.array("the container", 7, 7)
	salt := r.bytes("the salt", len(m.Salt))
	if copy(m.Salt[:], salt) != len(m.Salt) {
		r.fail("the salt has %d bytes, and it has to have %d", len(salt), len(m.Salt))
	}
	m.Replaces = r.id("the replaced message")
	m.Topic = r.bytes("the topic", MaxTopic)
	if !r.simple(cborNull) {
		m.Expires = r.expiry()
	}
	m.InReplyTo = r.id("the message that is answered")
	m.Extensions = r.extensions()
	var n counts
	m.Part = r.part(1, &n)
	if len(r.rest) > 0 {
		r.fail("%d bytes follow the container", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	return &m, nil
}

// id reads a MessageID, or null.
func (r *reader) id(what string) (id wire.MessageID) {
	if r.simple(cborNull) {
		return id
	}
	b := r.bytes(what, len(id))
	if copy(id[:], b) != len(id) || id == (wire.MessageID{}) {
		r.fail("%s is named by no ID of %d bytes", what, len(id))
	}
	return id
}

func (r *reader) expiry() *Expiry {
	r.array("the expiry", 2, 2)
	return &Expiry{r.bool("the kind of the expiry"), uint32(r.uint("the time of the expiry", math.MaxUint32))}
}

func (r *reader) extensions() (out []Extension) {
	size := 0
	for n := r.number("the extensions", majorMap); n > 0 && r.err == nil; n-- {
		key := r.rest
		switch major, _, length := r.head("the key of an extension"); {
		case major == majorText && length > 0 && length <= maxKey:
			if !utf8.Valid(r.take("the key of an extension", length)) {
				r.fail("the key of an extension is not UTF-8")
			}
		case major != majorUint && major != majorNeg:
			r.fail("the key of an extension is neither a number nor a text of 1 to %d bytes", maxKey)
		}
		if r.err != nil {
			return nil
		}
		e := Extension{Name: bytes.Clone(key[:len(key)-len(r.rest)])}
		if len(out) > 0 && bytes.Compare(out[len(out)-1].Name, e.Name) >= 0 {
			r.fail("the extensions are not in the order of their keys")
		}
		if string(e.Name) == nameSender || string(e.Name) == nameRoom {
			if len(r.rest) > 0 && r.rest[0]>>5 != majorText {
				r.fail("the extension that names the sender or the room is no text")
			}
		}
		e.Value = bytes.Clone(r.item("the value of an extension", 1))
		if size += len(e.Name) + len(e.Value); size > MaxExtensions {
			r.tooLarge("the map of extensions", uint64(size), MaxExtensions)
		}
		out = append(out, e)
	}
	return out
}

// counts are the parts read so far.
type counts struct{ parts, external int }

func (r *reader) part(depth int, n *counts) (p Part) {
	n.parts++
	switch {
	case depth > MaxDepth:
		r.fail("more than %d parts lie in one another", MaxDepth)
	case n.parts > MaxParts:
		r.fail("the message has more than %d parts", MaxParts)
	}
	items := r.array("a part", 3, 15)
	p.Disposition = Disposition(r.uint("the disposition of a part", math.MaxUint8))
	p.Language = r.text("the language of a part", MaxLanguage)
	p.Cardinality = Cardinality(r.uint("the cardinality of a part", uint64(CardinalityMulti)))
	if r.err != nil {
		return p
	}
	switch p.Cardinality {
	case CardinalityNull:
		r.items(items, 3)
	case CardinalitySingle:
		r.items(items, 5)
		p.ContentType = r.contentType()
		p.Content = r.bytes("the content of a part", MaxContainer)
		r.checkText(p)
	case CardinalityExternal:
		r.items(items, 15)
		if n.external++; n.external > MaxExternal {
			r.fail("the content of more than %d parts lies elsewhere", MaxExternal)
		}
		p.ContentType = r.contentType()
		p.External = r.external()
	case CardinalityMulti:
		r.items(items, 5)
		p.Semantics = Semantics(r.uint("the semantics of a part", uint64(ProcessAll)))
		for range r.array("the list of parts", 2, MaxParts) {
			if r.err != nil {
				return p
			}
			p.Parts = append(p.Parts, r.part(depth+1, n))
		}
	}
	return p
}

// items says whether a part has as many items as its cardinality wants.
func (r *reader) items(is, want int) {
	if is != want {
		r.fail("a part has %d items, and one of its cardinality has %d", is, want)
	}
}

func (r *reader) contentType() string {
	s := r.text("the content type of a part", MaxContentType)
	if s != "" && !printable(s) {
		r.fail("the content type of a part has control characters")
	}
	return s
}

// checkText refuses text that is too long, or is none.
func (r *reader) checkText(p Part) {
	if !isText(p.ContentType) {
		return
	}
	if len(p.Content) > MaxText {
		r.tooLarge("the text of a part", uint64(len(p.Content)), MaxText)
	}
	if !utf8.Valid(p.Content) {
		r.fail("the text of a part is not UTF-8")
	}
}

// isText says whether content of that type is text.
func isText(contentType string) bool {
	return len(contentType) >= 5 && strings.EqualFold(contentType[:5], "text/")
}

func (r *reader) external() (x External) {
	x.URL = r.text("the address of a file", MaxURL)
	x.Expires = uint32(r.uint("the expiry of a file", math.MaxUint32))
	x.Size = r.uint("the size of a file", math.MaxUint64)
	x.EncAlg = uint16(r.uint("the cipher of a file", math.MaxUint16))
	x.Key = r.bytes("the key of a file", MaxFileKey)
	x.Nonce = r.bytes("the nonce of a file", MaxFileKey)
	x.AAD = r.bytes("the additional data of a file", MaxAAD)
	x.HashAlg = uint8(r.uint("the hash function of a file", math.MaxUint8))
	x.ContentHash = r.bytes("the hash of a file", MaxFileKey)
	x.Description = r.text("the description of a file", MaxDescription)
	x.Filename = r.text("the name of a file", MaxFilename)
	if r.err == nil && !fileNamed(x.Filename) {
		r.fail("the name of a file has separators or control characters, or is a folder's")
	}
	return x
}

// fileNamed says whether a name can be that of a file in any folder, and reads as it is;
// empty: none is said.
func fileNamed(s string) bool {
	return s != "." && s != ".." && !strings.ContainsAny(s, `/\`) && printable(s)
}

// printable says whether a text has neither control characters nor ones that change the
// direction of what follows.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsControl(c) || unicode.In(c, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	})
}

// Encode gives the bytes of a container. Errors are those of Decode, which reads them.
func (m *Message) Encode() ([]byte, error) {
	b := appendHead(nil, majorArray, 7)
	b = appendBytes(b, m.Salt[:])
	b = appendID(b, m.Replaces)
	b = appendBytes(b, m.Topic)
	if m.Expires == nil {
		b = append(b, cborNull)
	} else {
		b = appendHead(b, majorArray, 2)
		if m.Expires.Relative {
			b = append(b, cborTrue)
		} else {
			b = append(b, cborFalse)
		}
		b = appendHead(b, majorUint, uint64(m.Expires.Time))
	}
	b = appendID(b, m.InReplyTo)
	b = appendHead(b, majorMap, uint64(len(m.Extensions)))
	for _, e := range m.Extensions {
		b = slices.Concat(b, e.Name, e.Value)
	}
	b = m.Part.append(b)
	_, err := Decode(b)
	return b, err
}

func appendID(b []byte, id wire.MessageID) []byte {
	if id == (wire.MessageID{}) {
		return append(b, cborNull)
	}
	return appendBytes(b, id[:])
}

func (p *Part) append(b []byte) []byte {
	items := map[Cardinality]uint64{CardinalityNull: 3, CardinalitySingle: 5, CardinalityExternal: 15, CardinalityMulti: 5}
	b = appendHead(b, majorArray, items[p.Cardinality])
	b = appendHead(b, majorUint, uint64(p.Disposition))
	b = appendText(b, p.Language)
	b = appendHead(b, majorUint, uint64(p.Cardinality))
	switch p.Cardinality {
	case CardinalityNull:
	case CardinalitySingle:
		b = appendBytes(appendText(b, p.ContentType), p.Content)
	case CardinalityExternal:
		x := p.External
		b = appendText(appendText(b, p.ContentType), x.URL)
		b = appendHead(b, majorUint, uint64(x.Expires))
		b = appendHead(b, majorUint, x.Size)
		b = appendHead(b, majorUint, uint64(x.EncAlg))
		b = appendBytes(appendBytes(appendBytes(b, x.Key), x.Nonce), x.AAD)
		b = appendHead(b, majorUint, uint64(x.HashAlg))
		b = appendBytes(b, x.ContentHash)
		b = appendText(appendText(b, x.Description), x.Filename)
	case CardinalityMulti:
		b = appendHead(b, majorUint, uint64(p.Semantics))
		b = appendHead(b, majorArray, uint64(len(p.Parts)))
		for i := range p.Parts {
			b = p.Parts[i].append(b)
		}
	}
	return b
}

// Sender and Room are the URIs in the extensions that name them; empty: none.
func (m *Message) Sender() string { return m.uri(nameSender) }

// Room is as Sender.
func (m *Message) Room() string { return m.uri(nameRoom) }

func (m *Message) uri(name string) string {
	for _, e := range m.Extensions {
		if string(e.Name) == name {
			r := reader{rest: e.Value}
			return r.text("a URI", MaxExtensions)
		}
	}
	return ""
}

// UserURI and RoomURI are the URIs of a user and a group, where the draft wants some.
func UserURI(u wire.UserID) string { return UserPrefix + u.String() }

// UserPrefix is how the URI of a user begins.
const UserPrefix = "panda:u/"

// RoomURI is as UserURI.
func RoomURI(g wire.GroupID) string { return "panda:g/" + g.String() }

// DraftID is the message ID of draft-ietf-mimi-content of an encoded container:
// 0x01 ‖ SHA-256(sender ‖ room ‖ container ‖ salt)[:31], each URI after its length in two bytes.
func DraftID(sender, room string, container []byte, salt [16]byte) (id [32]byte) {
	h := sha256.New()
	for _, s := range []string{sender, room} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
		h.Write([]byte(s))
	}
	h.Write(container)
	h.Write(salt[:])
	id[0] = 1
	copy(id[1:], h.Sum(nil))
	return id
}
