package mls

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "mls.secret(redacted)"

// secret is key material. It cannot be compared with ==, and no verb of fmt, no
// slog handler and no JSON encoder shows its bytes: they lie behind a pointer,
// because fmt prints unexported fields without asking for their methods.
type secret struct {
	_ [0]func()
	p *secretBytes
}

type secretBytes struct{ b []byte }

// newSecret takes ownership of b.
func newSecret(b []byte) secret { return secret{p: &secretBytes{b: b}} }

// copySecret copies b.
func copySecret(b []byte) secret { return newSecret(append([]byte(nil), b...)) }

// bytes gives the key itself; the caller does not keep or change it.
func (s secret) bytes() []byte {
	if s.p == nil {
		return nil
	}
	return s.p.b
}

func (s secret) clone() secret { return copySecret(s.bytes()) }
func (s secret) empty() bool   { return len(s.bytes()) == 0 }
func (s secret) wipe() {
	if s.p != nil {
		clear(s.p.b)
		s.p.b = nil
	}
}

func (s secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (s secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// macEqual compares in constant time.
func macEqual(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
