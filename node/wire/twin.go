package wire

import (
	"fmt"
	"slices"
)

// TwinHello names the run of a node that sent it. The opener of the stream also names
// another run of the same peer that it is connected to. A device must run only once.
type TwinHello struct {
	V   uint64   `cbor:"1,keyasint"`
	Run [32]byte `cbor:"2,keyasint"` // drawn at random at each start
}

func (h *TwinHello) version() uint64 { return h.V }

// TwinProof is a run's signature over TwinPayload, which the opener hands on to the
// other run: it shows that somebody else has the device's key and answers now.
type TwinProof struct {
	Signature []byte `cbor:"1,keyasint"`
}

func (p *TwinProof) validate() error {
	if len(p.Signature) != 64 {
		return fmt.Errorf("%w: twin proof: signature of %d bytes", ErrMalformed, len(p.Signature))
	}
	return nil
}

// TwinPayload is what a run signs with its device's log key, in the domain
// "panda/twin/1", of no group: its own run ‖ the other run ‖ the peer ID of both, preceded by its length as u64. A
// device signs it with its own run in front alone, so that none can be shown its own.
func TwinPayload(own, other [32]byte, peer []byte) []byte {
	b := slices.Concat(own[:], other[:])
	return append(append(b, U64(uint64(len(peer)))...), peer...)
}
