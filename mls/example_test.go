package mls_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/pandanode/pandanode/mls"
)

// Two members talk: Alice makes a group, adds Bob by his KeyPackage, and sends.
func Example() {
	const suite = mls.X25519_AES128GCM_SHA256_Ed25519
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	aliceKey, err := mls.NewSignatureKey(suite, rand.Reader)
	check(err)
	bobKey, err := mls.NewSignatureKey(suite, rand.Reader)
	check(err)

	// The application decides who may stand behind a credential.
	known := func(c mls.Credential, _ []byte) error {
		switch string(c.Identity) {
		case "alice", "bob":
			return nil
		}
		return fmt.Errorf("who is %q?", c.Identity)
	}

	bobPackage, bobSecrets, err := mls.NewKeyPackage(rand.Reader, mls.KeyPackageConfig{
		Suite: suite, Credential: mls.BasicCredential([]byte("bob")), Signer: bobKey,
	})
	check(err)

	epoch, _, err := mls.Create(rand.Reader, mls.GroupConfig{
		Suite: suite, GroupID: []byte("tea"), Credential: mls.BasicCredential([]byte("alice")),
		Signer: aliceKey, Validator: known,
	})
	check(err)
	added, err := epoch.Commit(rand.Reader, mls.CommitConfig{
		Signer: aliceKey, Now: time.Now(), Validator: known, InlineTree: true,
		Proposals: []mls.Proposal{mls.Add{KeyPackage: bobPackage}},
	})
	check(err)
	alice := added.Ratchets

	joined, err := mls.Join(added.Welcome, mls.JoinConfig{KeyPackage: bobPackage, Secrets: bobSecrets, Validator: known})
	check(err)
	bobSecrets.Wipe()
	bob := joined.Ratchets

	// Each operation gives a delta; a program that restarts stores it first.
	message, _, err := alice.Seal(rand.Reader, aliceKey, nil, []byte("The kettle is on."), 0)
	check(err)
	opened, _, err := bob.Open(message)
	check(err)
	fmt.Printf("leaf %d says: %s\n", opened.Sender, opened.Plaintext)

	message, _, err = bob.Seal(rand.Reader, bobKey, nil, []byte("Coming."), 0)
	check(err)
	opened, _, err = alice.Open(message)
	check(err)
	fmt.Printf("leaf %d says: %s\n", opened.Sender, opened.Plaintext)

	// Output:
	// leaf 0 says: The kettle is on.
	// leaf 1 says: Coming.
}
