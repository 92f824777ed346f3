// Package dag is the set of entries of one group: the log of each device, signed and linked
// by hash, with the causal past of each entry.
//
// [Logs] grows in causal order only. An entry that comes before what it builds on is parked;
// one that counts for nothing until somebody references it is in quarantine. A device that
// signs two entries with one sequence number splits its log into branches: both signatures
// are evidence, and from then on an entry of that log counts only if a log without evidence
// has it in its past. All of that is a function of the set, whatever the order of arrival.
//
// Dates are claims: an entry's place in the order is its date, or above all that it builds
// on. The package checks signatures and the form of what an entry says. It knows nothing of
// who may say it (package roster) or which epoch wins (package epochs).
package dag
