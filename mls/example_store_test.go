package mls_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/pandanode/pandanode/mls"
)

// A database with one key per row: pages are shared by all epochs, each epoch has its head,
// its own rows of Ratchets, or, once it is past, the head of a ThinEpoch. A real one seals
// heads and rows, and writes all rows of one step in one transaction.
type database map[string][]byte

func (d database) page(key []byte) ([]byte, error) {
	if b, ok := d["page "+string(key)]; ok {
		return b, nil
	}
	return nil, errors.New("no such page")
}

// enter writes a new epoch, whose parent (nil for the first) is stored already.
func (d database) enter(parent, e *mls.Epoch, r *mls.Ratchets) (pages int) {
	head, rows := e.Snapshot(parent)
	for _, p := range rows {
		d["page "+string(p.Key)] = p.Value
	}
	d[fmt.Sprint("head ", e.Number())] = head
	d.apply(e, r.Rows())
	return len(rows)
}

// apply writes what changed in the Ratchets of e, before what they gave is used.
func (d database) apply(e *mls.Epoch, changed mls.Delta) {
	for _, row := range changed {
		key := fmt.Sprint("keys ", e.Number(), " ", string(row.Key))
		if row.Value == nil {
			delete(d, key)
		} else {
			d[key] = row.Value
		}
	}
}

// retire leaves of e what late commits can be followed by, and nothing that opens a message.
func (d database) retire(e *mls.Epoch) {
	thin, err := e.Thin()
	if err != nil {
		log.Fatal(err)
	}
	head, _ := thin.Snapshot(e) // no pages: they are those of e
	d[fmt.Sprint("thin ", e.Number())] = head
	for key := range d {
		if key == fmt.Sprint("head ", e.Number()) || strings.HasPrefix(key, fmt.Sprint("keys ", e.Number(), " ")) {
			delete(d, key)
		}
	}
	thin.Wipe()
	e.Wipe()
}

// sweep deletes the pages that no stored head reaches.
func (d database) sweep() (swept int) {
	wanted := map[string]struct{}{}
	for key, value := range d {
		if strings.HasPrefix(key, "head ") || strings.HasPrefix(key, "thin ") {
			if err := mls.MarkStoredPages(value, d.page, wanted); err != nil {
				log.Fatal(err)
			}
		}
	}
	for key := range d {
		if page, ok := strings.CutPrefix(key, "page "); ok {
			if _, keep := wanted[page]; !keep {
				delete(d, key)
				swept++
			}
		}
	}
	return swept
}

// An epoch change writes a head, the keys, and the pages of the tree that changed. It keeps
// past epochs thin, and deletes the pages that no epoch needs any more.
func ExampleEpoch_Snapshot() {
	const suite = mls.X25519_AES128GCM_SHA256_Ed25519
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	signer, err := mls.NewSignatureKey(suite, rand.Reader)
	check(err)
	commit := func(e *mls.Epoch, proposals ...mls.Proposal) *mls.CommitResult {
		out, err := e.Commit(rand.Reader, mls.CommitConfig{Signer: signer, Now: time.Now(), Validator: mls.AcceptAnyCredential, Proposals: proposals})
		check(err)
		return out
	}
	first, _, err := mls.Create(rand.Reader, mls.GroupConfig{
		Suite: suite, GroupID: []byte("tea"), Credential: mls.BasicCredential([]byte("alice")), Signer: signer,
		Validator: mls.AcceptAnyCredential,
	})
	check(err)
	var add []mls.Proposal
	for range 39 {
		key, err := mls.NewSignatureKey(suite, rand.Reader)
		check(err)
		kp, _, err := mls.NewKeyPackage(rand.Reader, mls.KeyPackageConfig{Suite: suite, Credential: mls.BasicCredential(nil), Signer: key})
		check(err)
		add = append(add, mls.Add{KeyPackage: kp})
	}

	db := database{}
	one := commit(first, add...)
	fmt.Println("pages of 40 members:", db.enter(nil, one.Epoch, one.Ratchets))
	two := commit(one.Epoch)
	fmt.Println("pages that a commit changes:", db.enter(one.Epoch, two.Epoch, two.Ratchets))

	// A message: the keys that it used up are gone before it is sent.
	_, changed, err := two.Ratchets.Seal(rand.Reader, signer, nil, []byte("The kettle is on."), 0)
	check(err)
	db.apply(two.Epoch, changed)

	db.retire(one.Epoch)
	fmt.Println("pages that nobody needs:", db.sweep())
	thin, err := mls.LoadThinEpoch(db["thin 1"], db.page)
	check(err)
	again, err := mls.LoadEpoch(db["head 2"], db.page)
	check(err)
	var rows []mls.Row
	for key, value := range db {
		if name, ok := strings.CutPrefix(key, "keys 2 "); ok {
			rows = append(rows, mls.Row{Key: []byte(name), Value: value})
		}
	}
	_, err = mls.NewRatchets(again, rows)
	check(err)
	fmt.Println("restored: epochs", thin.Number(), "(thin) and", again.Number())

	delete(db, "thin 1") // it is too late for late commits
	fmt.Println("pages that nobody needs:", db.sweep())

	// Output:
	// pages of 40 members: 4
	// pages that a commit changes: 2
	// pages that nobody needs: 0
	// restored: epochs 1 (thin) and 2
	// pages that nobody needs: 2
}
