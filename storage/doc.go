// Package storage is the encrypted, crash-safe store of one node: a flat, ordered map from keys to values in one
// directory, written in atomic, synced transactions.
//
//	<dir>/keys      the data key, the vault keys and an anchor, sealed under a passphrase or a key file; mode 0600
//	<dir>/db/       Badger
//	<dir>/tip       the newest transaction, for what a crash may have lost
//	<dir>/lock      held (flock) while the store is open, so that a second process gets ErrInUse
//	<dir>/creating  exists only while Create runs: what it left behind is no store
//
// # Durability
//
// [Store.Apply] returns after the transaction is synced. A batch is applied in full or not at all, across a crash
// at any point. Callers that wait at the same time share one sync, of one file (walsync.go). After an error that leaves the disk's state
// unknown the store refuses further writes ([ErrFailed]) until it is opened again.
//
// # Confidentiality and integrity
//
// Every value is sealed with XAES-256-GCM (seal.go argues the choice); its key, its vault and its schema are
// associated data, so that no record can pass for another. Badger's own encryption is not authenticated and is not used. Keys are
// stored in the clear, because a prefix scan needs their order: use opaque identifiers, and put nothing into a key
// that the disk must not show. Number and length of records, and when they change, can be seen as well.
//
// A value may be sealed in a [VaultID]'s vault instead: under a random key of its own that exists only in the file
// keys. That file is replaced before the transaction that first uses a vault, and after the one that drops it. From
// then on the vault's values stay unreadable to someone who has the passphrase, today's keys and every Badger file
// that ever was. Earlier copies of keys are out of scope: do not back that file up without the passphrase's care,
// and know that flash storage may keep an overwritten file for a while.
//
// # What must not vanish
//
// A running set hash over all records (the XOR of a keyed hash of each key and its sealed
// value), with their number and the number of the transaction, is sealed and updated in
// every transaction. [Store.Verify] authenticates each record and computes the hash anew,
// so it detects records that were removed, added, altered, or put back in an earlier
// version, one or many: nobody without the data key can make the hash fit. Two files beside
// the database say how far it was: keys at its last replacement (every clean [Store.Close]
// makes one), and tip after the last transaction, as long as the power did not fail. [Open]
// detects a database that is behind either, such as one that lost the end of its log.
//
// Not detected: the whole directory put back to an earlier state; after a shutdown that was not clean, a database put
// back to what keys has seen, if tip is removed, torn or put back too; and before a Verify, a [Store.Get] or
// [Store.Scan] may take a record that the disk lost for one that never was, or show an earlier version of it. Never do
// they return a value that was not written under that key.
//
// # What this package does not do
//
// It does not encode values, know what they mean, replicate them or write backups
// ([Store.Export] gives the records for one). A changed passphrase ([Store.Relock]) does
// not reach copies of keys made before. It does not hide access patterns, and does not
// protect the memory of a running process: secrets are wiped where Go lets them be, which
// the expanded keys inside crypto/aes are not. It runs on Unix only, because of the lock.
package storage
