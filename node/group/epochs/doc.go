// Package epochs is the tree of a group's MLS epochs, known by structure alone, and the
// fork choice in it: parent, computed child and committer of each epoch follow from the
// entries, without keys. The choice is a function of the tree, the newest vote of each
// device and the roster, and of nothing that only one device knows.
package epochs
