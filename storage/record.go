package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// The entries of Badger, by the first byte of their keys:
//
//	0 "i"            the store's id and eight bytes of its SHA-256, in the clear
//	0 "h"            the head, sealed
//	0 "f"            nothing, while Compact runs: see flush
//	1 ‖ key          a record, sealed
//	2 ‖ vault ‖ key  nothing: says that the record is in the vault, so that dropping it need not read the others
//
// A sealed value is: schema 1 · where its key is: 0 data key, 1 vault · with 1, the vault's id 32 · nonce, ciphertext
// and tag. The associated data is a domain string, all before the nonce, and the key in Badger.
const (
	recordDomain = "panda/record/1\x00"

	classInternal = 0
	classRecord   = 1
	classIndex    = 2

	inData  = 0
	inVault = 1
)

var (
	keyID   = []byte{classInternal, 'i'}
	keyHead = []byte{classInternal, 'h'}

	keyFlush = []byte{classInternal, 'f'}
)

func recordKey(key []byte) []byte { return append([]byte{classRecord}, key...) }

func indexKey(id VaultID, key []byte) []byte {
	return append(append([]byte{classIndex}, id[:]...), key...)
}

// head sums up the store after a transaction.
type head struct {
	seq     uint64   // transactions so far
	records uint64   // records in the store
	sum     [32]byte // XOR of the elements of all records and index entries
}

const headSize = 8 + 8 + 32

func (h head) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint64(b, h.records)
	return append(b, h.sum[:]...)
}

// decodeHead reads the first headSize bytes of b.
func decodeHead(b []byte) head {
	return head{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), [32]byte(b[16:headSize])}
}

// toggle adds an entry to the set that sum stands for, or takes it out again. Keys are unique, so the entries are a
// set and XOR is enough: MSet-XOR-Hash of Clarke, Devadas, van Dijk, Gassend, Suh, Incremental Multiset Hash
// Functions and Their Application to Memory Integrity Checking, ASIACRYPT 2003. The elements are secret because their
// key is; so nobody else can pick entries that cancel out.
func (h *head) toggle(sumKey *secret, key, stored []byte) {
	mac := hmac.New(sha256.New, sumKey.b[:])
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(key)))
	mac.Write(size[:])
	mac.Write(key)
	mac.Write(stored)
	var element [32]byte
	mac.Sum(element[:0])
	subtle.XORBytes(h.sum[:], h.sum[:], element[:])
}

// recordHeader is what precedes the nonce.
func recordHeader(id VaultID) []byte {
	if id == (VaultID{}) {
		return []byte{schema, inData}
	}
	return append([]byte{schema, inVault}, id[:]...)
}

func associated(header, key []byte) []byte {
	ad := make([]byte, 0, len(recordDomain)+len(header)+len(key))
	return append(append(append(ad, recordDomain...), header...), key...)
}

// vaultOf returns the vault that a stored value names, and the length of its header.
func vaultOf(stored []byte) (VaultID, int, error) {
	switch {
	case len(stored) >= 2 && stored[1] == inData:
		return VaultID{}, 2, nil
	case len(stored) >= 34 && stored[1] == inVault:
		return VaultID(stored[2:34]), 34, nil
	}
	return VaultID{}, 0, errors.New("malformed")
}

// unseal opens a stored value. key is the key in Badger.
func (s *Store) unseal(key, stored []byte) ([]byte, error) {
	id, n, err := vaultOf(stored)
	if err != nil {
		return nil, err
	}
	if stored[0] == 0 || stored[0] > schema {
		return nil, fmt.Errorf("schema %d", stored[0])
	}
	opener := s.data
	if id != (VaultID{}) {
		s.ringMu.RLock()
		defer s.ringMu.RUnlock()
		v := s.ring.vaults[id]
		if v == nil {
			return nil, errors.New("its vault is gone")
		}
		opener = v.sealer
	}
	return opener.open(stored[n:], associated(stored[:n], key))
}

// class names the kind of a key in Badger, for error messages.
func class(key []byte) string {
	switch {
	case len(key) > 1 && key[0] == classRecord:
		return fmt.Sprintf("record of class %#02x", key[1])
	case len(key) > 0 && key[0] == classIndex:
		return "vault index"
	}
	return "internal record"
}
