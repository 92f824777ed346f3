package main

import "github.com/pandanode/pandanode/mls/interop/scenario"

// deviations are what the pinned versions of the peers do. Each shows by exactly one
// error; whatever else goes wrong is a failure.
var deviations = []scenario.Deviation{
	{
		Peer: "ts-mls", Scenario: "commit/extensions", Error: "no path where one is required",
		Why: "commits GroupContextExtensions without the path that RFC 9420, Section 12.4, requires, and is refused",
	},
	{
		Peer: "ts-mls", Scenario: "deep_random", Error: "non-blank intermediate node must list leaf node in its unmerged_leaves",
		Why: "wants equal unmerged_leaves in all nodes above an unmerged leaf; RFC 9420, Section 12.4.3.1, wants the leaf in each",
	},
	{
		Peer: "core-crypto", Scenario: "commit/resumption_psk", Error: "bob (core-crypto) HandleCommit",
		Why: "keeps no resumption PSKs of earlier epochs",
	},
}
