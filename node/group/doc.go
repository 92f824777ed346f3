// Package group is the group machine: it decides everything about one group on one device.
// It keeps the logs of all devices, resolves the roster from them, chooses among MLS epochs
// when members committed concurrently, heals the tree of keys so that it equals the roster,
// and makes sure that every message accepted for sending reaches every member who should
// read it.
//
// The machine is pure. Time is an argument, randomness a reader, and the durable rows an
// interface for reading (Rows). Everything that shall happen comes out of Ready as values:
// Writes first, in one atomic and synced transaction, then Messages, then Events. Package
// node carries them out and then calls Advance. A crash between any two of these steps
// repeats work and loses nothing.
//
// It has no sockets, files or clock, and no goroutine that outlives a call. It is not safe
// for concurrent use: its caller gives each machine one owner.
//
// Begin with step.go and settle.go. The files lie in layers: those call others, and nothing
// calls them. internal/archtest counts what runs the other way.
package group
