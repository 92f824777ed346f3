package group

import "github.com/pandanode/pandanode/node/wire"

// Limit is a bound that a group nears as it grows.
type Limit struct {
	Name LimitName
	Used int
	Most int
}

// LimitName names a bound.
type LimitName string

// The bounds of a group.
const (
	// LimitPath bounds the UpdatePath of a COMMIT, in bytes. At the bound nobody is added until
	// devices have renewed their keys, which they do by themselves; people are removed one by one.
	LimitPath LimitName = "path"
	// LimitLogs bounds the version vectors that devices exchange, in logs: a device has one, and
	// another one for each time that its home was restored.
	LimitLogs LimitName = "logs"
)

// Share is how much of a bound is used: 1 at the bound.
func (l Limit) Share() float64 { return float64(l.Used) / float64(l.Most) }

// Limits gives the bounds of a group, and how much of them is used by what this device knows.
// That of the path is missing while the device stands at no epoch.
func Limits(m *Machine) []Limit {
	out := []Limit{{LimitLogs, len(m.Marks()), wire.MaxVector}}
	if _, e := m.position(); e != nil {
		_, path := e.PathSize(nil)
		out = append(out, Limit{LimitPath, path, maxPath})
	}
	return out
}
