// Package api is the local API of a node: HTTP and JSON on a unix socket, under
// /v1. It holds the types of every request and answer, the table of routes, the
// client, and the half of the server that does not depend on a node.
//
// [API] is the contract. A node implements it, [Handler] serves any implementation, and
// [Client] is an implementation that calls a served one: the table in routes.go states
// request and answer of each route once, so client and server cannot drift apart. The field
// tags of a request say where a field travels: `path` and `query` in the URL, everything
// else in the JSON body.
//
// Calls either answer once or stream. A stream is Server-Sent Events: one event per item,
// and an event "end" or "error" last, so that a stream that was cut is not mistaken for one
// that ended. Items with a cursor have it as their SSE id. A client that connects again
// with that id in the header Last-Event-ID gets the items after it. A cursor that is not of
// this run of the node, or of this store, is refused with [CodeConflict].
//
// Errors are [Error]: {code, message, hint, retryable}; [CodeOf] gives the code. Text that is not
// UTF-8 and numbers below 0 are refused with [CodeInvalid] ([Check]). The table in errors.go maps
// each code to its HTTP status and its exit code.
//
// # Names
//
// IDs are text as node/wire prints it. Wherever a request says Group or User, three things
// are accepted: the full ID, a prefix of it of at least 16 characters ([MinPrefix]) that
// only one fits, or a name that only one has. [JoinRequest] alone wants the full ID, as Find
// gives it: the group is not here yet. A name or prefix that fits several is refused with
// [CodeAmbiguous] and the candidates. [Resolve] is that rule.
//
// # What this package does not do
//
// It knows nothing of groups, keys or networks and imports nothing of the project. It does
// not authenticate: a process that may open the socket (mode 0600) acts as the owner.
package api
