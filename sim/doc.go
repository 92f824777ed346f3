// Package sim runs worlds of many nodes and checks what must hold after each run.
//
// Three backends are planned under one scenario format and one report (DESIGN.md,
// Section 10): core, group machines on an event heap that replay bit for bit; net,
// whole nodes over simulated QUIC in virtual time; host, real processes in network
// namespaces. This is the seed of the net backend: [World] starts, stops, cuts off
// and heals whole nodes, sends, and checks with [World.Check] that the members of a
// group agree and that nothing accepted is lost or shown twice.
//
// What is built is in the code; scenarios, reports, clock skew, hostile members and
// the other two backends are not built yet. The package takes no part in a node
// that people run, and it does not repeat bit for bit: seeds fix identities,
// topology, faults and workload, and the Go scheduler does the rest.
package sim
