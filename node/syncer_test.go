package node

import (
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// However many messages a device has asked for, the next one that it asks for twice is
// known to have been asked for.
func TestAskedBefore(t *testing.T) {
	s := newSyncer(nil)
	ask := func(d, i int) bool {
		id := wire.MessageID{byte(i), byte(i >> 8), byte(i >> 16)}
		return len(s.askedBefore(wire.DeviceID{byte(d), byte(d >> 8)}, []wire.MessageID{id})) == 1
	}
	for i := range 5 * maxWantedMessages / 2 {
		if ask(0, i) {
			t.Fatalf("message %d was asked for once", i)
		}
		if !ask(0, i) {
			t.Fatalf("message %d was asked for twice", i)
		}
	}
	for d := range 2 * maxWantedDevices {
		if ask(d+1, 1) || !ask(d+1, 1) {
			t.Fatalf("device %d", d)
		}
	}
	if n := len(s.wanted); n > maxWantedDevices {
		t.Errorf("it remembers %d devices", n)
	}
	if n := len(s.wanted[wire.DeviceID{}]); n > maxWantedMessages {
		t.Errorf("it remembers %d messages of one", n)
	}
}
