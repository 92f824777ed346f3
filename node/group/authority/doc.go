// Package authority decides who may act in a group: who is a member, with which role and
// devices, which operations count, and which messages are owed to the members.
//
// A [History] is the set of signed entries: logs of devices, and for each entry what its
// author had seen. A [Resolver] is given the operations among them, one by one in causal
// order, judges each in its author's own past, and gives a [Roster]. That is a function of
// the set alone: not of the order in which entries came, nor of any clock but those inside
// the entries, nor of the device that computes it. So all members come to the same roster
// by themselves.
//
// Every author chooses which entries its own entries name as their past. A removed admin
// can write today an entry that names only what was there before its removal, and nothing
// in the entry shows that. So a removal voids what its target does concurrently; and since
// that would be a weapon in the hand of a current admin who dates a removal back,
// operations that others had seen before the removal stand. docs/AUTHORITY.md states the
// eight rules, the attack that each stops, and what is left undefended. They are carried
// out in these files:
//
//   - permits.go judges an operation in its own past: may its author make it, and which
//     role does it need for that;
//   - losses.go finds which losses (removals, leaves, revocations, demotions) stand;
//     grants.go what the authority of an operation rests on;
//   - witness.go asks users what they knew, and says who is worth asking;
//   - carry.go applies what counts, in order, and keeps a group its last owner;
//     additions.go has what is special about bringing somebody in;
//   - records.go says which messages are owed;
//   - profile.go and requests.go hold the registers and the requests to be let in;
//   - resolver.go puts these together for a set, in two passes; incremental.go takes the
//     usual way, on top of the roster that there is, where that gives the same;
//   - table.go is the map that rosters share; roster.go is the result, limits.go who writes too many logs.
//
// A word on names. A *loss* takes something from somebody, a *grant* gives authority. A
// loss *hits* a concurrent operation if it takes from the author what the operation needs.
// A *witness* is an entry that shows what its author knew when it wrote it.
//
// The package is pure: it has no clock, no randomness and no I/O. A Resolver is not safe
// for concurrent use; a Roster never changes.
package authority
