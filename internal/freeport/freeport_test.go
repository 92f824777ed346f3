package freeport

import (
	"slices"
	"testing"
)

// TestDraw: the nodes of a demo have different ports, and none that a client of
// this machine may have been given while its node is down.
func TestDraw(t *testing.T) {
	ports, err := Draw(t.Context(), "127.0.0.1", 100)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if n := len(slices.Compact(ports)); n != 100 || ports[99] >= 32_768 {
		t.Errorf("%d different ports of 100, the highest is %d", n, ports[99])
	}
}
