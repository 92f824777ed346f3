package mls

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "mls.secret(redacted)"

// secret is key material. It cannot be compared with ==, and no verb of fmt, no
// slog handler and no JSON encoder shows its bytes, not even inside the unexported
// field of another type. There fmt follows pointers when the verb does not fit, and
// never asks for methods; a closure is the one thing that it does not look into.
type secret struct {
	held func() *[]byte
}

// newSecret takes ownership of b.
func newSecret(b []byte) secret { return secret{held: func() *[]byte { return &b }} }

// copySecret copies b.
func copySecret(b []byte) secret { return newSecret(append([]byte(nil), b...)) }

// bytes gives the key itself, nil once it was wiped; the caller does not keep or
// change it.
func (s secret) bytes() []byte {
	if s.held == nil {
		return nil
	}
	return *s.held()
}

func (s secret) clone() secret { return copySecret(s.bytes()) }
func (s secret) empty() bool   { return len(s.bytes()) == 0 }

func (s secret) wipe() {
	if s.held != nil {
		b := s.held()
		clear(*b)
		*b = nil
	}
}

func (s secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (s secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// macEqual compares in constant time.
func macEqual(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
