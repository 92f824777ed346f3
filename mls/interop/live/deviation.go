package main

import "github.com/pandanode/pandanode/mls/interop/scenario"

// deviation names what a peer is known to do against RFC 9420, so that a scenario
// cannot pass with it.
func deviation(scenario.Row, error) (string, bool) { return "", false }
