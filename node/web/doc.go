// Package web serves the page of a node: the local API and a small program for a browser of
// the same machine, on 127.0.0.1 and only after somebody with the node's socket asked for it.
//
// A page in a browser is not alone there. So it gets in by a link that is good once and for
// a minute, and gives a token with every request; there is no cookie, which a browser would
// send by itself. guard.go says which requests are answered at all, doors.go who is in. The
// routes that the page may use are marked in node/api.
//
// The program is in page, and what esbuild makes of it in dist: `make page` builds it anew,
// and `make check` compares.
//
// # What this package does not do
//
// It knows nothing of groups and messages, and keeps nothing on disk: when the node ends, so
// do all sessions.
package web
