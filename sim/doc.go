// Package sim runs worlds of many nodes and checks what must hold after each run.
// It takes no part in a node that people run.
//
// The core backend plays a [Scenario] with [Run]: group machines with the real MLS
// engine on one heap of events, in one goroutine. All chance comes from one seed, so
// that a run repeats to the last bit; [Report] holds its digest, what was violated
// of [Invariants], and a page to look at (WriteHTML). Scenarios are files
// (docs/SCENARIOS.md) or drawn by [Generate]; [Shrink] reduces one that fails.
// Beside honest devices, which may crash at each boundary of what a Ready does, there
// are hostile ones with real keys. The engine without cryptography in null.go is for
// very large worlds; a report says which one ran.
//
// The net backend is [World]: whole nodes over simulated QUIC in virtual time, with
// faults by a seeded hand, and the invariants that can be seen from outside
// ([World.Check]). It does not repeat bit for bit: seeds fix identities, topology,
// faults and workload, and the Go scheduler does the rest. It has no scenarios.
//
// With real processes there is one test, which kills them.
package sim
