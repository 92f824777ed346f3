package main

import "github.com/pandanode/pandanode/node"

// explain gives errors of package node, which has no hints for people, theirs.
func explain(err error) error { return node.APIError(err) }
