package mls

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// An Epoch is safe for concurrent use: run with -race.
func TestConcurrentEpoch(t *testing.T) {
	alice, bob, carol := trio(t, 1)
	before := bob.e.MarshalSecret()
	remote := alice.commit(CommitConfig{Proposals: []Proposal{Remove{carol.e.OwnLeaf()}}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			joiner := newClient(t, 1, fmt.Sprint("joiner ", i))
			out, err := bob.e.Commit(newStream(fmt.Sprint(i)), CommitConfig{
				Now:    testNow,
				Signer: bob.signer, Validator: AcceptAnyCredential, Proposals: []Proposal{Add{joiner.kp}},
			})
			if err != nil {
				t.Error(err)
				return
			}
			p, err := bob.e.Process(remote.Commit, ProcessConfig{Validator: AcceptAnyCredential})
			if err != nil || !bytes.Equal(p.Epoch.EpochAuthenticator(), remote.Epoch.EpochAuthenticator()) {
				t.Error("process:", err)
			}
			if _, err := Join(out.Welcome, JoinConfig{
				KeyPackage: joiner.kp, Secrets: joiner.secrets, RatchetTree: out.RatchetTree, Validator: AcceptAnyCredential,
			}); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(bob.e.MarshalSecret(), before) {
				t.Error("the Epoch has changed")
			}
		})
	}
	wg.Wait()
}

// inParallel gives the error of the lowest index, whoever comes first.
func TestInParallel(t *testing.T) {
	for _, n := range []int{0, 1, 7, 64} {
		hit := make([]bool, n)
		err := inParallel(n, func(i int) error {
			hit[i] = true
			if i >= 3 {
				return errors.New(fmt.Sprint(i))
			}
			return nil
		})
		if n <= 3 && err != nil || n > 3 && (err == nil || err.Error() != "3") {
			t.Errorf("n=%d: %v", n, err)
		}
		for i := range min(n, 4) {
			if !hit[i] {
				t.Errorf("n=%d: %d was left out", n, i)
			}
		}
	}
}
