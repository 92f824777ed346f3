package mls

import (
	"encoding/binary"
	"fmt"
)

// Wire formats, RFC 9420, Section 17.2.
const (
	WirePublic     WireFormat = 1
	WirePrivate    WireFormat = 2
	wireWelcome    WireFormat = 3
	wireGroupInfo  WireFormat = 4
	wireKeyPackage WireFormat = 5
)

type contentType uint8

const (
	contentApplication contentType = 1
	contentProposal    contentType = 2
	contentCommit      contentType = 3
)

type senderType uint8

const (
	senderMember            senderType = 1
	senderExternal          senderType = 2
	senderNewMemberProposal senderType = 3
	senderNewMemberCommit   senderType = 4
)

// sender is Sender of RFC 9420, Section 6. index is a LeafIndex for a member.
type sender struct {
	typ   senderType
	index uint32
}

func (s sender) append(b []byte) []byte {
	b = append(b, uint8(s.typ))
	if s.typ == senderMember || s.typ == senderExternal {
		b = binary.BigEndian.AppendUint32(b, s.index)
	}
	return b
}

func readSender(r *reader) (s sender) {
	switch s.typ = senderType(r.u8()); s.typ {
	case senderMember, senderExternal:
		s.index = r.u32()
	case senderNewMemberProposal, senderNewMemberCommit:
	default:
		r.fail("sender type %d", s.typ)
	}
	return s
}

// authContent is AuthenticatedContent of RFC 9420, Section 6: a FramedContent with
// its signature, whichever message it came in. raw is the FramedContent as it
// arrived; hashes and signatures are over those bytes.
type authContent struct {
	wire            WireFormat
	groupID         []byte
	epoch           uint64
	sender          sender
	authData        []byte
	typ             contentType
	application     []byte
	proposal        Proposal
	commit          *commit
	raw             []byte
	signature       []byte
	confirmationTag []byte // commits only
}

// encodeBody writes what FramedContent has after its content type.
func (a *authContent) encodeBody(w *writer) {
	switch a.typ {
	case contentApplication:
		w.vec(a.application)
	case contentProposal:
		encodeProposal(w, a.proposal)
	case contentCommit:
		a.commit.encode(w)
	}
}

// appendBody is encodeBody to a buffer, and allocates no writer for application data.
func (a *authContent) appendBody(b []byte) []byte {
	if a.typ == contentApplication {
		return appendVec(b, a.application)
	}
	w := writer{b}
	a.encodeBody(&w)
	return w.b
}

func (a *authContent) readBody(r *reader) {
	switch a.typ {
	case contentApplication:
		a.application = r.vec()
	case contentProposal:
		a.proposal = readProposal(r)
	case contentCommit:
		a.commit = readCommit(r)
	default:
		r.fail("content type %d", a.typ)
	}
}

func (a *authContent) encodeHeader(w *writer) { w.b = a.appendHeader(w.b) }

func (a *authContent) appendHeader(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(appendVec(b, a.groupID), a.epoch)
	return append(appendVec(a.sender.append(b), a.authData), uint8(a.typ))
}

// readContent reads a FramedContent.
func readContent(r *reader, wire WireFormat) *authContent {
	start := r.b
	a := &authContent{wire: wire, groupID: r.vec(), epoch: r.u64(), sender: readSender(r)}
	a.authData = r.vec()
	a.typ = contentType(r.u8())
	a.readBody(r)
	a.raw = r.since(start)
	return a
}

// readAuth reads a FramedContentAuthData.
func (a *authContent) readAuth(r *reader) {
	a.signature = r.vec()
	if a.typ == contentCommit {
		a.confirmationTag = r.vec()
	}
}

func (a *authContent) encodeAuth(w *writer) { w.b = a.appendAuth(w.b) }

func (a *authContent) appendAuth(b []byte) []byte {
	b = appendVec(b, a.signature)
	if a.typ == contentCommit {
		b = appendVec(b, a.confirmationTag)
	}
	return b
}

// appendTBS appends FramedContentTBS, RFC 9420, Section 6.1; context is the GroupContext.
func (a *authContent) appendTBS(b, context []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(MLS10))
	b = binary.BigEndian.AppendUint16(b, uint16(a.wire))
	b = append(b, a.raw...)
	if a.sender.typ == senderMember || a.sender.typ == senderNewMemberCommit {
		b = append(b, context...)
	}
	return b
}

// signContent is what the signature covers: [signContent] over FramedContentTBS, put
// together in one buffer.
func (a *authContent) signContent(context []byte) []byte {
	n := 4 + len(a.raw)
	if a.sender.typ == senderMember || a.sender.typ == senderNewMemberCommit {
		n += len(context)
	}
	b := appendLabel(make([]byte, 0, n+32), "FramedContentTBS")
	return a.appendTBS(appendLength(b, n), context)
}

// signedInput is ConfirmedTranscriptHashInput of RFC 9420, Section 8.2.
func (a *authContent) signedInput() []byte {
	b := make([]byte, 0, len(a.raw)+len(a.signature)+8)
	b = binary.BigEndian.AppendUint16(b, uint16(a.wire))
	return appendVec(append(b, a.raw...), a.signature)
}

// bytes is the encoding of AuthenticatedContent, the input of a ProposalRef.
func (a *authContent) bytes() []byte {
	return encode(func(w *writer) {
		w.u16(uint16(a.wire))
		w.raw(a.raw)
		a.encodeAuth(w)
	})
}

// sign fills raw and signature.
func (a *authContent) sign(s *suite, key *SignatureKey, context []byte) (err error) {
	input := a.frame(nil, context)
	if err := s.checkSigner(key); err != nil {
		return err
	}
	a.signature, err = key.sign(input)
	return err
}

// frame sets raw, from a body that has arrived or else (nil) from the fields, and gives
// what signContent does, in one buffer.
func (a *authContent) frame(body, context []byte) []byte {
	const room = 32 // for the label and a length
	b := make([]byte, room, room+96+len(a.groupID)+len(a.authData)+len(a.application)+len(body)+len(context))
	b = binary.BigEndian.AppendUint16(b, uint16(MLS10))
	b = binary.BigEndian.AppendUint16(b, uint16(a.wire))
	start := len(b)
	if b = a.appendHeader(b); body != nil {
		b = append(b, body...)
	} else {
		b = a.appendBody(b)
	}
	end := len(b)
	if a.sender.typ == senderMember || a.sender.typ == senderNewMemberCommit {
		b = append(b, context...)
	}
	a.raw = b[start:end:end]
	var front [room]byte
	prefix := appendLength(appendLabel(front[:0], "FramedContentTBS"), len(b)-room)
	copy(b[room-len(prefix):], prefix)
	return b[room-len(prefix):]
}

// body gives the part of raw that encodeBody writes.
func (a *authContent) body() []byte {
	r := reader{b: a.raw}
	r.vec()
	r.u64()
	readSender(&r)
	r.vec()
	r.u8()
	return r.b
}

func (a *authContent) verify(s *suite, public, context []byte) error {
	if !s.sig.verify(public, a.signContent(context), a.signature) {
		return fmt.Errorf("%w: signature of message", ErrInvalid)
	}
	return nil
}

// membershipTag is RFC 9420, Section 6.2.
func (a *authContent) membershipTag(s *suite, key secret, context []byte) []byte {
	w := writer{b: a.appendTBS(make([]byte, 0, len(a.raw)+len(context)+128), context)}
	a.encodeAuth(&w)
	return s.mac(key, w.b)
}

// publicMessage encodes a as MLSMessage with a PublicMessage, RFC 9420, Section 6.2.
func (a *authContent) publicMessage(s *suite, membership secret, context []byte) []byte {
	var w writer
	w.raw(a.raw)
	a.encodeAuth(&w)
	if a.sender.typ == senderMember {
		w.vec(a.membershipTag(s, membership, context))
	}
	return mlsMessage(WirePublic, w.b)
}

// publicMessage is a PublicMessage as it arrived.
type publicMessage struct {
	*authContent
	membershipTag []byte
}

func readPublicMessage(r *reader) publicMessage {
	m := publicMessage{authContent: readContent(r, WirePublic)}
	m.readAuth(r)
	if m.sender.typ == senderMember {
		m.membershipTag = r.vec()
	}
	if r.err == nil && m.typ == contentApplication {
		r.fail("application data in a PublicMessage")
	}
	return m
}

// mlsMessage frames a payload as MLSMessage, RFC 9420, Section 6.
func mlsMessage(wire WireFormat, payload []byte) []byte {
	w := writer{b: make([]byte, 0, 4+len(payload))}
	w.u16(uint16(MLS10))
	w.u16(uint16(wire))
	w.raw(payload)
	return w.b
}

// openMessage copies b and reads the header of an MLSMessage.
func openMessage(b []byte) (*reader, WireFormat, error) {
	r := &reader{b: clone(b)}
	version := r.u16()
	wire := WireFormat(r.u16())
	switch {
	case r.err != nil:
		return nil, 0, fmt.Errorf("MLSMessage: %w", r.err)
	case version != uint16(MLS10):
		return nil, 0, fmt.Errorf("MLSMessage: %w: protocol version %d", ErrUnsupported, version)
	}
	return r, wire, nil
}

// openMessageAs is openMessage for one wire format only.
func openMessageAs(b []byte, want WireFormat) (*reader, error) {
	r, wire, err := openMessage(b)
	if err == nil && wire != want {
		err = fmt.Errorf("MLSMessage: %w: wire format %d, %d wanted", ErrMalformed, wire, want)
	}
	return r, err
}
