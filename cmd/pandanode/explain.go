package main

// explain gives errors of package node, which has no hints for people, theirs.
func explain(err error) error { return err }
