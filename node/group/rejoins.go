package group

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// rejoinWait is how long a device that cannot get to the chosen epoch by itself
// waits before it asks to be added again.
const rejoinWait = 10 * time.Second

// rejoinRenew is how long one request is asked with, where somebody else may have asked.
const rejoinRenew = 2 * time.Hour

// rejoinUsed is how long a device tries the Welcome for its request to be added again. The
// ratchet tree that the Welcome needs may be kept by nobody any more.
const rejoinUsed = 5 * time.Minute

// rejoin is a checked request to be added again.
type rejoin struct {
	wire.Rejoin
	raw wire.Signed
}

// rejoin checks a request by a device of the roster: its signature, and a
// KeyPackage that is its own.
func (x reader) rejoin(r *roster.Roster, s wire.Signed) (*rejoin, error) {
	w, err := wire.DecodeRejoin(s.Payload)
	if err != nil {
		return nil, err
	}
	d := r.Device(w.Device)
	if d == nil {
		return nil, fmt.Errorf("rejoin: %w: device %v", verdict.ErrNotMember, w.Device)
	}
	if err := identity.Verify(d.Device.Cert.LogKey, wire.DomainRejoin, x.group, s); err != nil {
		return nil, fmt.Errorf("rejoin: %w: %w", verdict.ErrForged, err)
	}
	if err := dag.CheckKeyPackage(x.group, d.Device, w.KeyPackage, x.engine); err != nil {
		return nil, fmt.Errorf("rejoin: %w", err)
	}
	key, err := x.rejoinKey(w.Known)
	if err != nil {
		return nil, err
	}
	// A member without that epoch's key cannot check the MAC, and that is no reason to
	// refuse.
	if key != nil && len(w.MAC) > 0 && !hmac.Equal(w.MAC, rejoinMAC(key, w)) {
		return nil, fmt.Errorf("rejoin: %w: its MAC does not hold", verdict.ErrForged)
	}
	return &rejoin{Rejoin: *w, raw: s}, nil
}

// rejoins checks the requests that a COMMIT cites.
func (x reader) rejoins(r *roster.Roster, it *dag.Item) (map[wire.DeviceID]*rejoin, error) {
	out := map[wire.DeviceID]*rejoin{}
	for _, s := range it.Commit.Rejoins {
		w, err := x.rejoin(r, s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verdict.ErrInvalidCommit, err)
		}
		out[w.Device] = w
	}
	return out, nil
}

func rejoinMAC(key []byte, r *wire.Rejoin) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(wire.DomainRejoin))
	h.Write([]byte{0})
	h.Write(r.Device[:])
	h.Write(r.Known[:])
	h.Write(r.KeyPackage)
	return h.Sum(nil)
}

// foundItsWay says whether a device, by its newest vote, has since it asked to be added again
// voted for an epoch on the chain to the position that lies below the one it was stuck at.
func foundItsWay(t *epochs.Tree, position *epochs.Node, vote *dag.Item, r *rejoin) bool {
	if vote == nil || vote.HLC <= crdt.HLC(r.HLC) {
		return false
	}
	at, known := t.PositionOf(vote), t.Nodes[r.Known]
	if known == nil {
		known = t.Root
	}
	return at != nil && at != known && known.Contains(at) && at.Contains(position)
}
