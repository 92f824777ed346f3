// Package verdict has the errors of a group machine, one for each decision that a caller
// takes, and the table that says of an error how a gossip validator answers the network.
package verdict
