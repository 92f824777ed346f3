// Package screen is the chat on a whole terminal: groups, a timeline, a line to write on.
//
// A model holds all that is shown and decides everything: Update takes what happened, a key
// or an answer of the node, and gives what is to be done; View draws. Neither has a clock or
// any input and output of its own, so that a test plays both by values. The file edge.go
// carries out the rest, by the local API's client alone.
//
// Text of other people passes printable.Clean before it is drawn.
package screen
