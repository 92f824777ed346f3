package authority

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// script writes a history as it goes, and shows a resolver each entry.
type script struct {
	*player
	n     int
	logOf map[string]wire.LogID // by device: its first log
	took  []time.Duration       // of each operation
}

func newScript() *script {
	m := newMemory()
	s := &script{player: &player{all: m, now: m, ops: map[*entry]*Op{}}, logOf: map[string]wire.LogID{}}
	s.r = New(testGenesis, m)
	s.logOf["u0"] = wire.LogID{Device: testGenesis.Device, Incarnation: wire.FoundersIncarnation(testGenesis.ID)}
	return s
}

// write appends an entry of a device's first log, or of another incarnation, and asks for
// the roster after it. Without names it has in its past all that there is.
func (s *script) write(device, user string, incarnation uint64, op *Op, named ...*entry) *entry {
	log, ok := s.logOf[device]
	if !ok {
		log = wire.LogID{Device: id[wire.DeviceID](device)}
	}
	if incarnation != 0 {
		log.Incarnation = incarnation
	}
	if named == nil {
		named = s.heads()
	}
	e := s.all.write(log, id[wire.UserID](user), id[wire.EntryHash](fmt.Sprint("bench ", s.n)), 10, named...)
	s.n++
	if op == nil {
		s.r.Note(e.ref)
		return e
	}
	op.Ref, op.Hash, op.HLC, op.User, op.Device = e.ref, e.hash, e.hlc, id[wire.UserID](user), log.Device
	if op.Profile != nil && op.Profile.HLC == 0 {
		op.Profile.HLC = e.hlc
	}
	e.op = op
	start := time.Now()
	s.ops[e] = s.r.Add(*op)
	s.r.Roster()
	s.took = append(s.took, time.Since(start))
	return e
}

// heads are the newest entries of all logs.
func (s *script) heads() (out []*entry) {
	for _, log := range s.all.entries {
		out = append(out, log[len(log)-1])
	}
	return out
}

// admit lets a user in with a device of the same name, whose first log is known then.
func (s *script) admit(by, name string, role wire.Role, named ...*entry) *entry {
	e := s.write(by, by, 0, addOf(name, role), named...)
	s.logOf[name] = wire.LogID{Device: id[wire.DeviceID](name), Incarnation: wire.FirstIncarnation(e.hash)}
	return e
}

func addOf(name string, role wire.Role) *Op {
	return &Op{Type: wire.OpAdd, Why: wire.WhyRole, Target: id[wire.UserID](name), Subject: id[wire.DeviceID](name), Role: role}
}

func removeOf(name string) *Op { return &Op{Type: wire.OpRemove, Target: id[wire.UserID](name)} }

func roleOf(name string, role wire.Role) *Op {
	return &Op{Type: wire.OpRole, Target: id[wire.UserID](name), Role: role}
}

func deviceOf(user, name string) *Op {
	return &Op{Type: wire.OpDeviceAdd, Target: id[wire.UserID](user), Subject: id[wire.DeviceID](name)}
}

func revokeOf(name string) *Op {
	return &Op{Type: wire.OpDeviceRevoke, Subject: id[wire.DeviceID](name)}
}

// percentile sorts durations.
func percentile(took []time.Duration, p int) time.Duration {
	slices.Sort(took)
	return took[(len(took)-1)*p/100]
}

// honest writes n operations of a group in which 40 devices take turns.
func (s *script) honest(n int) {
	for i := range 20 {
		s.admit("u0", fmt.Sprint("admin", i), wire.RoleAdmin)
		s.admit("u0", fmt.Sprint("member", i), wire.RoleMember)
	}
	for i := 40; i < n; i++ {
		admin := fmt.Sprint("admin", i%20)
		switch guest := fmt.Sprint("guest", i); i % 8 {
		case 0, 1, 2, 3:
			s.admit(admin, guest, wire.RoleMember)
		case 4:
			s.write("u0", "u0", 0, roleOf(fmt.Sprint("guest", i-1), wire.RoleReadOnly))
		case 5:
			s.write(admin, admin, 0, removeOf(fmt.Sprint("guest", i-3)))
		case 6:
			member := fmt.Sprint("member", i%20)
			s.write(member, member, 0, deviceOf(member, guest))
		case 7:
			member := fmt.Sprint("member", (i-1)%20)
			s.write(member, member, 0, revokeOf(fmt.Sprint("guest", i-1)))
		}
		if i%5 == 0 {
			s.write(admin, admin, 0, nil)
		}
	}
}

// An honest operation, one after the other, with 10,000 there.
func BenchmarkHonest(b *testing.B) {
	for b.Loop() {
		s := newScript()
		s.honest(10_000)
		b.ReportMetric(float64(percentile(s.took, 99).Microseconds()), "µs/op-p99")
		b.ReportMetric(float64(percentile(s.took, 50).Microseconds()), "µs/op-p50")
		b.ReportMetric(float64(percentile(s.took, 100).Microseconds()), "µs/op-max")
	}
}

// The same, where three in ten know nothing of the last few seconds: each time up to six people act
// beside each other.
func BenchmarkBeside(b *testing.B) {
	for b.Loop() {
		s := newScript()
		s.honest(500)
		all := s.heads()
		for i := range 9_500 {
			named := s.heads()
			if i%20 < 6 {
				named = all
			} else {
				all = named
			}
			admin := fmt.Sprint("admin", i%20)
			name := fmt.Sprint("late", i)
			switch i % 4 {
			case 0, 1, 2:
				s.admit(admin, name, wire.RoleMember, named...)
			case 3:
				s.write(admin, admin, 0, removeOf(fmt.Sprint("late", i-20)), named...)
			}
		}
		b.ReportMetric(float64(percentile(s.took, 99).Microseconds()), "µs/op-p99")
		b.ReportMetric(float64(percentile(s.took, 50).Microseconds()), "µs/op-p50")
		b.ReportMetric(float64(percentile(s.took, 100).Microseconds()), "µs/op-max")
	}
}

// One operation, dated back by years, in a group with 10,000.
func BenchmarkBackDated(b *testing.B) {
	s := newScript()
	s.honest(10_000)
	old := s.all.order[30]
	n := uint64(1)
	for b.Loop() {
		n++
		s.write("admin3", "admin3", n, removeOf(fmt.Sprint("member", n%20)), old)
	}
}

// A resolve of 10,000 honest operations.
func BenchmarkResolve(b *testing.B) {
	s := newScript()
	s.honest(10_000)
	for b.Loop() {
		s.r.resolve(s.r.all())
	}
}

// 16 logs of removals of the founder by an admin, dated back, against as many additions.
func BenchmarkSixteenLogs(b *testing.B) {
	for _, n := range []int{1000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newScript()
			first := s.admit("u0", "villain", wire.RoleAdmin)
			mine := first
			for i := range n {
				mine = s.admit("u0", fmt.Sprint("x", i), wire.RoleMember, mine)
			}
			target := func(i int) string { return fmt.Sprint("x", i%100) }
			base := mine
			for i := range n {
				s.n++
				e := s.all.write(wire.LogID{Device: id[wire.DeviceID]("villain"), Incarnation: uint64(i%16) + 1}, id[wire.UserID]("villain"), //nolint:gosec // small
					id[wire.EntryHash](fmt.Sprint("bench ", s.n)), 1, first, base)
				op := removeOf(target(i / 16))
				op.Ref, op.Hash, op.HLC, op.User, op.Device = e.ref, e.hash, e.hlc, id[wire.UserID]("villain"), id[wire.DeviceID]("villain")
				s.r.Add(*op)
			}
			for b.Loop() {
				s.r.resolve(s.r.all())
			}
		})
	}
}

// A read-only member adds and revokes devices of its own, again and again.
func BenchmarkDevicePairs(b *testing.B) {
	for b.Loop() {
		s := newScript()
		s.admit("u0", "reader", wire.RoleReadOnly)
		for i := range 5_000 {
			s.write("reader", "reader", 0, deviceOf("reader", fmt.Sprint("d", i)))
			s.write("reader", "reader", 0, revokeOf(fmt.Sprint("d", i)))
		}
		b.ReportMetric(float64(percentile(s.took, 99).Microseconds()), "µs/op-p99")
		b.ReportMetric(float64(percentile(s.took, 100).Microseconds()), "µs/op-max")
	}
}

// Two halves write 2,000 operations each and meet.
func BenchmarkHalves(b *testing.B) {
	for b.Loop() {
		s := newScript()
		s.admit("u0", "left", wire.RoleAdmin)
		a := s.admit("u0", "right", wire.RoleAdmin)
		c := a
		for i := range 2_000 {
			a = s.admit("left", fmt.Sprint("l", i), wire.RoleMember, a)
			s.took = s.took[:len(s.took)-1]
		}
		start := time.Now()
		for i := range 2_000 {
			op := addOf(fmt.Sprint("r", i), wire.RoleMember)
			s.n++
			c = s.all.write(s.logOf["right"], id[wire.UserID]("right"), id[wire.EntryHash](fmt.Sprint("bench ", s.n)), 10, c)
			op.Ref, op.Hash, op.HLC, op.User, op.Device = c.ref, c.hash, c.hlc, id[wire.UserID]("right"), id[wire.DeviceID]("right")
			s.r.Add(*op)
		}
		s.r.Roster()
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/merge")
	}
}
