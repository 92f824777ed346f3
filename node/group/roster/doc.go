// Package roster says who is in a group, in terms of the entries of a set and in words.
// Package authority decides; this package shows it the set, gives what it decided as items,
// and says of a refusal what helps.
package roster
