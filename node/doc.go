// Package node is one device: it holds the store, the libp2p host, the topics and
// streams, the timers and the local API, and it carries out what group.Machine
// decides. Other programs embed it with [OpenOrInit]; docs/EMBEDDING.md is for them.
//
// Per group, one goroutine owns the machine (loop.go). After every Step it carries
// out the Ready in the order of the type: the writes in one synced transaction,
// then the messages, then the events, then Advance, and only then is the caller
// answered. Nothing is sent before it is durable, and a machine whose writes failed is
// thrown away and made again of what is durable.
//
// Three paths lead in and out, and none of them is needed for the others: gossip
// (topic.go), catch-up between members on direct streams (exchange.go, scheduler.go), and
// a joiner's request (join.go, joiner.go, joinstream.go). Package admission says which
// peers may use them and how much; package discovery finds groups and peers.
//
// A Node owns a session for each of its groups (session.go; the table of them is
// groups.go). A session has the machine's loop, its topics, the scheduler of exchanges, the
// joiner and the client of the group's mailboxes (mailboxclient.go). The local API is
// answered by one type for each of its areas (routes.go, serve_*.go).
//
// # How it stops
//
// Every goroutine of a node is started by its life (life.go), or by the life of one
// of its groups, and gets that life's context. [Node.Close] ends the lives, which
// waits for all of them, and then closes discovery, the host and the store, in this
// order. A goroutine that serves one stream ends with its stream, whose deadline it
// sets before every frame. GossipSub's own goroutines end with the node's life; the
// local API's server lives within [Node.Run].
//
// # What this package does not do
//
// It decides nothing about groups: neither who is a member nor which epoch counts. It does
// not encode (node/wire), keep keys in memory longer than it needs them, or read a
// configuration file (node/config).
package node
