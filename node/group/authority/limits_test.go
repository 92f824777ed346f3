package authority

import (
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// A device that begins more logs than it ever names is excessive; one that is restored
// forty times, and names its older logs, is not.
func TestExcessive(t *testing.T) {
	t.Parallel()
	for _, honest := range []bool{true, false} {
		s := newScript()
		added := s.admit("u0", "u1", wire.RoleMember)
		for n := range 40 {
			named := []*entry{added}
			if honest {
				named = s.heads()
			}
			s.write("u1", "u1", uint64(n)+1, nil, named...)
			want := !honest && n+1 > MaxUnnamed
			if got := s.r.Excessive(id[wire.DeviceID]("u1")); got != want {
				t.Fatalf("honest %v: with %d logs %v, wants %v", honest, n+1, got, want)
			}
		}
	}
}

// A user has at most MaxDevices at once, and MaxDevicesIn since it came in.
func TestDevicesOfOneUser(t *testing.T) {
	t.Parallel()
	s := newScript()
	s.admit("u0", "u1", wire.RoleReadOnly)
	many := 0
	for n := range MaxDevicesIn {
		e := s.write("u1", "u1", 0, deviceOf("u1", string(rune('A'+n))))
		if !s.ops[e].Permitted() {
			continue
		}
		if many++; many < MaxDevices-1 {
			continue // they stay
		}
		if e := s.write("u1", "u1", 0, deviceOf("u1", "one too many")); s.ops[e].Permitted() {
			t.Fatalf("device %d at once is permitted", MaxDevices+1)
		}
		s.write("u1", "u1", 0, revokeOf(string(rune('A'+n))))
	}
	if many != MaxDevicesIn-1 {
		t.Fatalf("%d devices were permitted beside the first, wants %d", many, MaxDevicesIn-1)
	}
}
