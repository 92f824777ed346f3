// Package sim runs worlds of many nodes and checks invariants after each run. A node that
// people run does not use it.
//
// The core backend plays a [Scenario] with [Run]: group machines with the real MLS engine
// on one heap of events, in one goroutine. All chance comes from one seed, so that a run
// repeats to the last bit; [Report] holds its digest, the violations of [Invariants], and a
// page to look at (WriteHTML). Scenarios are files (docs/SCENARIOS.md) or drawn by
// [Generate]; [Shrink] reduces one that fails. Beside honest devices, which may crash at
// each boundary of carrying out a Ready, there are hostile ones with real keys.
//
// The net backend, [RunNet], plays a scenario with whole nodes over simulated QUIC in
// virtual time, and the host backend, [RunHost], with real processes in network namespaces.
// Both check the invariants that can be seen from outside. They do not repeat bit for bit:
// seeds fix identities, topology, faults and workload, and the Go scheduler does the rest.
// [World] is an older net backend without scenarios; one test uses it.
package sim
