package node

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// recipients reads whom a backup is sealed to: age public keys or SSH public keys, one
// each; or, without any, a passphrase.
func recipients(keys []string, passphrase []byte) ([]age.Recipient, error) {
	if len(keys) == 0 {
		r, err := age.NewScryptRecipient(string(passphrase))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return []age.Recipient{r}, nil
	}
	var out []age.Recipient
	for _, key := range keys {
		if strings.HasPrefix(key, "ssh-") {
			r, err := agessh.ParseRecipient(key)
			if err != nil {
				return nil, fmt.Errorf("%w: recipient %q: %w", ErrInvalid, key, err)
			}
			out = append(out, r)
			continue
		}
		rs, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil {
			return nil, fmt.Errorf("%w: recipient %q is neither an age nor an SSH public key", ErrInvalid, key)
		}
		out = append(out, rs...)
	}
	return out, nil
}

// Identities reads a file of age secret keys, or an SSH private key without a
// passphrase of its own.
func Identities(file []byte) ([]age.Identity, error) {
	if bytes.Contains(file, []byte("-----BEGIN")) {
		id, err := agessh.ParseIdentity(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errIdentity, err)
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	return ids, nil
}

// PassphraseIdentity opens backups under a passphrase. It asks only if there is one,
// and not twice. The slice stays the caller's.
func PassphraseIdentity(ask func() ([]byte, error)) age.Identity { return askedIdentity(ask) }

// whatOpens says what opens a backup that did not open, from the kinds of its recipients.
func whatOpens(stanzas []string, given []age.Identity) string {
	keys := slices.ContainsFunc(given, func(id age.Identity) bool { _, asked := id.(askedIdentity); return !asked })
	kinds := map[string]string{"X25519": "an age key", "mlkem768x25519": "an age key", "ssh-rsa": "an SSH key", "ssh-ed25519": "an SSH key", "scrypt": "a passphrase"}
	var to []string
	for _, s := range stanzas {
		kind := kinds[s]
		if kind == "" {
			kind = "a key of the kind " + s
		}
		if !slices.Contains(to, kind) {
			to = append(to, kind)
		}
	}
	what := strings.Join(to, " or ")
	switch {
	case what == "a passphrase":
		return "it is under another passphrase"
	case keys:
		return fmt.Sprintf("it is encrypted to %s, and to none of those given", what)
	}
	return fmt.Sprintf("it is encrypted to %s, and none was given: the file with its secret half is needed, such as age-keygen writes", what)
}

type askedIdentity func() ([]byte, error)

// Unwrap is for package age.
func (ask askedIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	passphrase, err := ask()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	return id.Unwrap(stanzas)
}
