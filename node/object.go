package node

import (
	"fmt"
	"strings"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// ShowObject gives one object of the wire as JSON, secrets included; name is its type,
// or empty where only one fits. It needs no node. Errors are for APIError, and those of
// package api.
func ShowObject(name string, b []byte) (json []byte, err error) {
	if name == "" {
		names := wire.Recognise(b)
		switch len(names) {
		case 0:
			return nil, fmt.Errorf("%w: %d bytes are no object that this program knows; name its type to hear why: %s", wire.ErrMalformed, len(b), strings.Join(wire.Types(), ", "))
		case 1:
			name = names[0]
		default:
			e := api.Errorf(api.CodeAmbiguous, "the bytes can be of %d types: name one", len(names))
			for _, n := range names {
				e.Candidates = append(e.Candidates, api.Candidate{ID: n})
			}
			return nil, e
		}
	}
	return wire.ToJSON(name, b)
}

// ReadObject gives the bytes of an object that ShowObject showed.
func ReadObject(json []byte) ([]byte, error) { return wire.FromJSON(json) }
