package mls

import (
	"fmt"
	"math"
)

// PSKType says where a pre-shared key is from, RFC 9420, Section 8.4.
type PSKType uint8

// The types of pre-shared keys.
const (
	PSKExternal   PSKType = 1
	PSKResumption PSKType = 2
)

// ResumptionUsage says what a resumption PSK is for, RFC 9420, Section 8.4.
type ResumptionUsage uint8

// The usages of a resumption PSK.
const (
	ResumptionApplication ResumptionUsage = 1
	ResumptionReInit      ResumptionUsage = 2
	ResumptionBranch      ResumptionUsage = 3
)

// PreSharedKeyID names a pre-shared key: ID for [PSKExternal]; Usage, GroupID and
// Epoch for [PSKResumption].
type PreSharedKeyID struct {
	Type    PSKType
	ID      []byte
	Usage   ResumptionUsage
	GroupID []byte
	Epoch   uint64
	Nonce   []byte // fresh, as long as the suite's hash
}

// PSKSource finds a pre-shared key; ok is false if there is none. The key is only
// read during the call that asked for it.
type PSKSource func(id PreSharedKeyID) (key []byte, ok bool)

func (id PreSharedKeyID) encode(w *writer) {
	w.u8(uint8(id.Type))
	switch id.Type {
	case PSKExternal:
		w.vec(id.ID)
	default:
		w.u8(uint8(id.Usage))
		w.vec(id.GroupID)
		w.u64(id.Epoch)
	}
	w.vec(id.Nonce)
}

func readPreSharedKeyID(r *reader) (id PreSharedKeyID) {
	switch id.Type = PSKType(r.u8()); id.Type {
	case PSKExternal:
		id.ID = r.vec()
	case PSKResumption:
		id.Usage = ResumptionUsage(r.u8())
		if id.Usage < ResumptionApplication || id.Usage > ResumptionBranch {
			r.fail("resumption PSK usage %d", id.Usage)
		}
		id.GroupID = r.vec()
		id.Epoch = r.u64()
	default:
		r.fail("PSK type %d", id.Type)
	}
	id.Nonce = r.vec()
	return id
}

// pskSecret is psk_secret of RFC 9420, Section 8.4; all zero without PSKs.
func (s *suite) pskSecret(ids []PreSharedKeyID, source PSKSource) (secret, error) {
	if len(ids) > math.MaxUint16 { // what PSKLabel can count
		return secret{}, fmt.Errorf("%w: %d PSKs", ErrInvalid, len(ids))
	}
	out := newSecret(make([]byte, s.nh))
	for i, id := range ids {
		if source == nil {
			out.wipe()
			return secret{}, fmt.Errorf("%w: no PSKSource", ErrMissingPSK)
		}
		psk, ok := source(id)
		if !ok {
			out.wipe()
			return secret{}, fmt.Errorf("%w: type %d", ErrMissingPSK, id.Type)
		}
		extracted := s.extract(nil, psk)
		label := encode(func(w *writer) {
			id.encode(w)
			w.u16(uint16(i))
			w.u16(uint16(len(ids)))
		})
		input := s.expandWithLabel(extracted.bytes(), "derived psk", label, s.nh)
		next := s.extract(input, out.bytes())
		extracted.wipe()
		out.wipe()
		clear(input)
		out = next
	}
	return out, nil
}
