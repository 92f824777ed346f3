// Package browser tries the page of a node in a real browser: two nodes, each a process, and
// a page of each in Chromium. It is a module of its own, so that nobody who builds pandanode
// needs what it needs; `make web-test` runs it.
package browser
