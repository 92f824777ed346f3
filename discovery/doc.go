// Package discovery finds groups and peers: the public record of a group
// (GroupPublicInfo), its life in the DHT, provider records, queries to providers,
// mDNS, and the book of remembered peers with its redial loop.
//
// A record is judged from itself alone (publicinfo.go): the genesis fixes the group's ID, a
// chain of links says who may speak for the group, and every field is signed by a user whom
// the chain's last link names. Records merge (merge.go): commutative, associative,
// idempotent. One order over all records never ranks a merge below its inputs, so that the
// DHT's Select and the merge agree.
//
// The record half is pure: time and keys are arguments. The network half ([DHT],
// [Publisher], [Finder], [Peers]) owns goroutines, each ended by its Close, and
// uses only timers that testing/synctest can drive.
//
// The package does not decide who is a member (node/group does), keep anything on
// disk (callers hand in small interfaces), or hide anything: what it publishes is
// public. The keys of private groups are not its business.
package discovery
