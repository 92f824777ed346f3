package group

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/hpke"

	"github.com/pandanode/pandanode/node/wire"
)

var wrapSuite = hpke.NewSuite(hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM)

// wrapInfo binds a wrap to its group, key and receiver.
func wrapInfo(group wire.GroupID, id wire.KeyID, to wire.DeviceID) []byte {
	return slices.Concat([]byte(wire.DomainTransportKey), []byte{0}, group[:], id[:], to[:])
}

// errNoKey says that what a device calls its key for transport keys is none: a point of
// low order, with which nobody can agree on anything. It is its loss alone.
var errNoKey = errors.New("nothing can be wrapped for it")

// wrap seals a transport key to a device: HPKE, base mode (RFC 9180), enc before
// the ciphertext.
func wrap(rand io.Reader, group wire.GroupID, id wire.KeyID, key []byte, to wire.DeviceID, public [32]byte) (wire.Wrap, error) {
	pk, err := hpke.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPublicKey(public[:])
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	sender, err := wrapSuite.NewSender(pk, wrapInfo(group, id, to))
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	enc, sealer, err := sender.Setup(rand)
	if errors.Is(err, hpke.ErrInvalidKEMSharedSecret) {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key for device %v: %w", to, errNoKey)
	}
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	sealed, err := sealer.Seal(key, nil)
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	return wire.Wrap{Device: to, Sealed: append(enc, sealed...)}, nil
}

// unwrap opens a wrap for a device with its private key.
func unwrap(private []byte, group wire.GroupID, id wire.KeyID, to wire.DeviceID, w wire.Wrap) ([]byte, error) {
	scheme := hpke.KEM_X25519_HKDF_SHA256.Scheme()
	if len(w.Sealed) < scheme.CiphertextSize() {
		return nil, fmt.Errorf("transport key: %w: wrap of %d bytes", wire.ErrMalformed, len(w.Sealed))
	}
	sk, err := scheme.UnmarshalBinaryPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrCorrupt, err)
	}
	receiver, err := wrapSuite.NewReceiver(sk, wrapInfo(group, id, to))
	if err != nil {
		return nil, fmt.Errorf("transport key: %w", err)
	}
	opener, err := receiver.Setup(w.Sealed[:scheme.CiphertextSize()])
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrForged, err)
	}
	key, err := opener.Open(w.Sealed[scheme.CiphertextSize():], nil)
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrForged, err)
	}
	if len(key) != wire.TransportKeyLen || wire.KeyIDOf(group, key) != id {
		return nil, fmt.Errorf("transport key: %w: it is not the key it is called", ErrForged)
	}
	return key, nil
}
