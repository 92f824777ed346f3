package dag

import (
	"testing"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

func numbered(n int) wire.DeviceID { return wire.DeviceID{byte(n), byte(n >> 8), 1} }

// An entry that came last takes the place of the oldest, of the same device or of the one
// with the most bytes.
func TestParkingMakesRoom(t *testing.T) {
	t.Parallel()
	l := NewLogs(&identity.Device{ID: numbered(1)})
	l.Devices[numbered(2)] = &identity.Device{ID: numbered(2)}
	park := func(device, n, size int) *SignedEntry {
		s := &SignedEntry{Raw: make([]byte, size), Hash: wire.EntryHash{byte(n), byte(n >> 8), byte(device)}}
		s.Entry = &wire.Entry{Device: numbered(device), Seq: uint64(n), Deps: []wire.EntryHash{{9, byte(n)}}}
		l.Parking.Park(s, l.Missing(s.Entry))
		return s
	}
	first := park(2, 0, 100)
	for n := range 3 * MaxParked {
		park(1, n, 1)
		park(3+n%50, n, 1) // not known: they share one place
	}
	if len(l.Parking.Entries) != 2*MaxParked+1 || l.Parking.Entries[first.Hash] == nil || len(l.Parking.queues[numbered(1)]) > 3*MaxParked {
		t.Errorf("%d are parked, %d in a queue", len(l.Parking.Entries), len(l.Parking.queues[numbered(1)]))
	}
	for n := range 100 {
		park(1, 10000+n, maxParkedBytes/10)
	}
	last := park(1, 20000, 1)
	if l.Parking.bytes > maxParkedBytes || l.Parking.Entries[first.Hash] == nil || l.Parking.Entries[last.Hash] == nil {
		t.Errorf("%d bytes are parked", l.Parking.bytes)
	}
	for _, s := range l.Parking.Entries {
		l.Parking.drop(s)
	}
	if len(l.Parking.Entries)+len(l.Parking.Waiting)+len(l.Parking.Quota)+len(l.Parking.sizes)+len(l.Parking.queues)+len(l.first)+l.Parking.bytes != 0 {
		t.Error("something is left of what was dropped")
	}
}
