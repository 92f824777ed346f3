package group

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// wrapSuite has the HPKE algorithms that transport keys are wrapped with, whatever the
// cipher suite of the group.
const wrapSuite = mls.X25519_AES128GCM_SHA256_Ed25519

// wrapEnc is how long the encapsulated key in front of a wrap is.
const wrapEnc = 32

// wrapInfo binds a wrap to its group, key and receiver.
func wrapInfo(group wire.GroupID, id wire.KeyID, to wire.DeviceID) []byte {
	return slices.Concat([]byte(wire.DomainTransportKey), []byte{0}, group[:], id[:], to[:])
}

// errNoKey says that a device's key for transport keys is a point of low order, with which
// nobody can agree on anything. The loss is that device's alone.
var errNoKey = errors.New("its HPKE key cannot be used")

// wrap seals a transport key to a device: HPKE, base mode (RFC 9180), enc before
// the ciphertext.
func wrap(rand io.Reader, group wire.GroupID, id wire.KeyID, key []byte, to wire.DeviceID, public [32]byte) (wire.Wrap, error) {
	enc, sealed, err := wrapSuite.HPKESeal(rand, public[:], wrapInfo(group, id, to), nil, key)
	if errors.Is(err, mls.ErrInvalid) {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key for device %v: %w", to, errNoKey)
	}
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	return wire.Wrap{Device: to, Sealed: append(enc, sealed...)}, nil
}

// unwrap opens a wrap for a device with its private key.
func unwrap(private []byte, group wire.GroupID, id wire.KeyID, to wire.DeviceID, w wire.Wrap) ([]byte, error) {
	if len(w.Sealed) < wrapEnc {
		return nil, fmt.Errorf("transport key: %w: wrap of %d bytes", wire.ErrMalformed, len(w.Sealed))
	}
	key, err := wrapSuite.HPKEOpen(private, w.Sealed[:wrapEnc], wrapInfo(group, id, to), nil, w.Sealed[wrapEnc:])
	if errors.Is(err, mls.ErrMalformed) {
		return nil, fmt.Errorf("transport key: %w: %w", verdict.ErrCorrupt, err) // the private key is none
	}
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", verdict.ErrForged, err)
	}
	if len(key) != wire.TransportKeyLen || wire.KeyIDOf(group, key) != id {
		return nil, fmt.Errorf("transport key: %w: the key does not match its ID", verdict.ErrForged)
	}
	return key, nil
}
