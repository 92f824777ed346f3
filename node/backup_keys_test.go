package node

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// Backups are sealed to age keys, SSH keys or a passphrase, and open with what belongs
// to it alone.
func TestBackupKeys(t *testing.T) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err1 := ssh.NewPublicKey(public)
	block, err2 := ssh.MarshalPrivateKey(private, "")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	asked := 0
	ways := []struct {
		name       string
		recipients []string
		identity   func() ([]age.Identity, error)
	}{
		{"age", []string{x.Recipient().String()}, func() ([]age.Identity, error) { return Identities([]byte("# a comment\n" + x.String() + "\n")) }},
		{"ssh", []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic)))}, func() ([]age.Identity, error) { return Identities(pem.EncodeToMemory(block)) }},
		{"passphrase", nil, func() ([]age.Identity, error) {
			return []age.Identity{PassphraseIdentity(func() ([]byte, error) { asked++; return []byte("correct horse"), nil })}, nil
		}},
	}
	for i, seal := range ways {
		to, err := recipients(seal.recipients, []byte("correct horse"))
		if err != nil {
			t.Fatalf("%s: %v", seal.name, err)
		}
		if s, ok := to[0].(*age.ScryptRecipient); ok {
			s.SetWorkFactor(10) // a test has no time
		}
		var b bytes.Buffer
		w, err := age.Encrypt(&b, to...)
		if err != nil {
			t.Fatalf("%s: %v", seal.name, err)
		}
		_, _ = io.WriteString(w, "secret")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for j, open := range ways {
			ids, err := open.identity()
			if err != nil {
				t.Fatalf("%s: %v", open.name, err)
			}
			r, err := age.Decrypt(bytes.NewReader(b.Bytes()), ids...)
			if opened := err == nil; opened != (i == j) {
				t.Errorf("sealed with %s, opened with %s: %v", seal.name, open.name, err)
			}
			if err == nil {
				if got, err := io.ReadAll(r); err != nil || string(got) != "secret" {
					t.Errorf("%s: %q, %v", seal.name, got, err)
				}
			}
		}
	}
	if asked != 1 {
		t.Errorf("the passphrase was asked for %d times", asked)
	}
	for _, bad := range []string{"age1nonsense", "ssh-ed25519 nonsense", "word"} {
		if _, err := recipients([]string{bad}, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := recipients(nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no recipient and no passphrase: %v", err)
	}
	if _, err := Identities([]byte("AGE-SECRET-KEY-1NONSENSE")); !errors.Is(err, errIdentity) || strings.Contains(err.Error(), "NONSENSE") {
		t.Errorf("a wrong identity: %v", err)
	}
}

// The error says what opens a backup if none of the given keys does.
func TestBackupSaysWhatOpensIt(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	asks := PassphraseIdentity(func() ([]byte, error) { return []byte("a passphrase"), nil })
	for _, c := range []struct {
		stanzas []string
		given   []age.Identity
		want    string
	}{
		{[]string{"X25519"}, []age.Identity{asks}, "it is encrypted to an age key, and none was given"},
		{[]string{"X25519", "X25519"}, []age.Identity{key, asks}, "it is encrypted to an age key, and to none of those given"},
		{[]string{"ssh-ed25519", "X25519"}, []age.Identity{asks}, "it is encrypted to an SSH key or an age key"},
		{[]string{"scrypt"}, []age.Identity{asks}, "it is under another passphrase"},
		{[]string{"piv-p256"}, []age.Identity{asks}, "a key of the kind piv-p256"},
	} {
		if got := whatOpens(c.stanzas, c.given); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q", c.stanzas, got)
		}
	}
}
