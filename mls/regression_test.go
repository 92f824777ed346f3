package mls

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var regenerate = flag.Bool("regenerate", false, "write the project's own regression vectors and fuzz seeds anew")

// regressionCase is the project's own regression vector: a conversation with a fixed
// seed, as this engine made it. It proves that bytes do not change unnoticed, and
// nothing about the RFC.
type regressionCase struct {
	Suite      CipherSuite `json:"cipher_suite"`
	KeyPackage string      `json:"key_package"`
	Secrets    string      `json:"key_package_secrets"`
	Welcome    string      `json:"welcome"`
	Tree       string      `json:"ratchet_tree"`
	Message    string      `json:"application_message"`
	Plaintext  string      `json:"plaintext"`
	Commit     string      `json:"commit"`
	Joined     string      `json:"epoch_after_welcome"`
	Rows       []string    `json:"ratchets_after_message"`
	After      string      `json:"epoch_after_commit"`
}

func makeRegression(t *testing.T, id CipherSuite) regressionCase {
	alice, bob, carol := newClient(t, id, "regression alice"), newClient(t, id, "regression bob"), newClient(t, id, "regression carol")
	alice.create("regression")
	out := alice.commit(CommitConfig{Proposals: []Proposal{Add{bob.kp}, Add{carol.kp}}})
	alice.move(out)
	bob.join(out)
	c := regressionCase{
		Suite: id, KeyPackage: hex.EncodeToString(bob.kp.Bytes()), Secrets: hex.EncodeToString(bob.secrets.MarshalSecret()),
		Welcome: hex.EncodeToString(out.Welcome), Tree: hex.EncodeToString(out.RatchetTree),
		Joined: hex.EncodeToString(bob.e.MarshalSecret()), Plaintext: "said in a fixed voice",
	}
	alice.seal("skipped")
	m := alice.seal(c.Plaintext)
	c.Message = hex.EncodeToString(m)
	bob.opens(m, alice, c.Plaintext)
	c.Rows = hexRows(bob.r.Rows())
	out = alice.commit(CommitConfig{Proposals: []Proposal{Remove{2}}})
	c.Commit = hex.EncodeToString(out.Commit)
	bob.process(out.Commit)
	c.After = hex.EncodeToString(bob.e.MarshalSecret())
	return c
}

func hexRows(rows []Row) (out []string) {
	for _, r := range rows {
		out = append(out, hex.EncodeToString(r.Key)+" "+hex.EncodeToString(r.Value))
	}
	return out
}

func TestRegressionVectors(t *testing.T) {
	ran := 0
	for _, s := range allSuites {
		path := filepath.Join("testdata", "regression", fmt.Sprintf("conversation-suite%d.json", s.id))
		if *regenerate {
			b, err := json.MarshalIndent(makeRegression(t, s.id), "", "\t")
			must(t, err)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, append(b, '\n'), 0o644))
		}
		b, err := os.ReadFile(path)
		must(t, err)
		want := decode[regressionCase](t, b)
		// Made again from the same seed ...
		got, err := json.Marshal(makeRegression(t, s.id))
		must(t, err)
		again, err := json.Marshal(want)
		must(t, err)
		equal(t, path, got, again)
		// ... and followed by a member that has only the file.
		kp, err := ParseKeyPackage(unhex(t, want.KeyPackage))
		must(t, err)
		secrets, err := ParseKeyPackageSecrets(unhex(t, want.Secrets))
		must(t, err)
		j, err := Join(unhex(t, want.Welcome), JoinConfig{
			KeyPackage: kp, Secrets: secrets, RatchetTree: unhex(t, want.Tree), Validator: AcceptAnyCredential,
		})
		must(t, err)
		equal(t, "epoch_after_welcome", j.Epoch.MarshalSecret(), unhex(t, want.Joined))
		o, _, err := j.Ratchets.Open(unhex(t, want.Message))
		must(t, err)
		equal(t, "plaintext", o.Plaintext, []byte(want.Plaintext))
		if rows := hexRows(j.Ratchets.Rows()); fmt.Sprint(rows) != fmt.Sprint(want.Rows) {
			t.Errorf("ratchets_after_message: %v, want %v", rows, want.Rows)
		}
		restored, err := ParseEpoch(unhex(t, want.Joined))
		must(t, err)
		p, err := restored.Process(unhex(t, want.Commit), ProcessConfig{Validator: AcceptAnyCredential})
		must(t, err)
		equal(t, "epoch_after_commit", p.Epoch.MarshalSecret(), unhex(t, want.After))
		ran++
	}
	if ran != 8 {
		t.Errorf("%d regression vectors, want 8", ran)
	}
}
