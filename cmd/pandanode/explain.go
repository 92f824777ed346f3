package main

import "github.com/pandanode/pandanode/node"

// explain adds hints for people to errors of package node, which have none.
func explain(err error) error { return node.APIError(err) }
