// Package endpoint serves the interface of the MLS working group's
// interoperability harness ([mlsclient.MLSClientServer]) with the engine of
// package mls.
//
// It is for tests: it hands out private keys where the interface asks for them,
// trusts every credential, keeps everything in memory until Free, and has no notion
// of who calls it. It decides nothing about MLS; what package mls refuses comes back
// as a gRPC error.
package endpoint
