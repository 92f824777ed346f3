package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/pandanode/pandanode/internal/signature"
	"github.com/pandanode/pandanode/node/wire"
)

// Key is a secret Ed25519 key of a user or of a device's log. It cannot be
// compared or printed. Its methods may be called from any goroutine.
type Key struct {
	_      [0]func()
	public [ed25519.PublicKeySize]byte
	lock   *sync.RWMutex // of secret
	// secret is seed ‖ public; nil when wiped. In an unexported field of another struct fmt
	// calls no methods, and follows one pointer for a verb that does not fit: so there are
	// two pointers.
	secret **[ed25519.PrivateKeySize]byte
}

// NewKey draws a key: 32 bytes of rand.
func NewKey(rand io.Reader) (*Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	defer clear(seed)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	return KeyFromSeed(seed)
}

// KeyFromSeed restores a key from the result of SecretSeed. It keeps its own copy.
func KeyFromSeed(seed []byte) (*Key, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("a key's seed has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	secret := (*[ed25519.PrivateKeySize]byte)(ed25519.NewKeyFromSeed(seed))
	k := &Key{lock: new(sync.RWMutex), secret: &secret}
	copy(k.public[:], secret[ed25519.SeedSize:])
	return k, nil
}

// SecretSeed returns the 32 bytes to be sealed at rest, nil if the key is wiped. The caller
// wipes them.
func (k *Key) SecretSeed() []byte {
	k.lock.RLock()
	defer k.lock.RUnlock()
	if k.secret == nil {
		return nil
	}
	return append([]byte(nil), (*k.secret)[:ed25519.SeedSize]...)
}

// Public gives the 32-byte public key.
func (k *Key) Public() []byte { return append([]byte(nil), k.public[:]...) }

// Sign signs a payload in a domain and group. A wiped key returns an empty signature, which
// no receiver accepts.
func (k *Key) Sign(d wire.Domain, group wire.GroupID, payload []byte) wire.Signed {
	k.lock.RLock()
	defer k.lock.RUnlock()
	if k.secret == nil {
		return wire.Signed{Payload: payload}
	}
	return wire.Signed{Payload: payload, Signature: ed25519.Sign((*k.secret)[:], wire.SigningInput(d, group, payload))}
}

// Wipe clears the key. The expanded copy that crypto/ed25519 keeps for repeated
// signing goes when the garbage collector takes the key's memory.
func (k *Key) Wipe() {
	k.lock.Lock()
	defer k.lock.Unlock()
	if k.secret != nil {
		clear((*k.secret)[:])
		k.secret = nil
	}
}

const placeholder = "[secret key]"

// A Key prints as a placeholder whatever the verb and the logger, as a value and
// through a pointer.
func (Key) String() string               { return placeholder }
func (Key) GoString() string             { return placeholder }
func (Key) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, placeholder) }
func (Key) LogValue() slog.Value         { return slog.StringValue(placeholder) }
func (Key) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// Verify checks a signature by an Ed25519 public key. Every node must judge alike,
// so the rule is fixed (docs/WIRE.md): RFC 8032 without the cofactor, S below the
// group order, R compared by its bytes (all this is crypto/ed25519), and a public
// key in its canonical encoding that is not of small order. Under a key of small
// order one signature fits many payloads, so that its owner could sign nothing and
// anyone everything.
func Verify(public []byte, d wire.Domain, group wire.GroupID, s wire.Signed) error {
	if !validPublic(public) || !signature.Verify(public, wire.SigningInput(d, group, s.Payload), s.Signature) {
		return fmt.Errorf("%w: %s", ErrForged, d)
	}
	return nil
}

// validPublic says whether b may be somebody's public key, as far as its bytes
// tell: 32 of them, y below p = 2²⁵⁵ − 19, and none of the y of the eight points
// whose order divides 8.
func validPublic(b []byte) bool {
	if len(b) != ed25519.PublicKeySize {
		return false
	}
	var y [4]uint64 // little-endian words, without the sign of x
	for i := range y {
		y[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	y[3] &^= 1 << 63
	if y[3] == 1<<63-1 && y[2] == 1<<64-1 && y[1] == 1<<64-1 && y[0] >= 1<<64-19 {
		return false
	}
	for _, small := range smallOrder {
		if y == small {
			return false
		}
	}
	return true
}

// smallOrder are the y of the points of order 4, 1, 2 and 8 (twice).
var smallOrder = [...][4]uint64{
	{},
	{1},
	{1<<64 - 20, 1<<64 - 1, 1<<64 - 1, 1<<63 - 1},
	{0xb027b2c28f95e826, 0xf098eff289f4c345, 0x3933c6d305acdfd5, 0x05fc536d880238b1},
	{0x4fd84d3d706a17c7, 0x0f67100d760b3cba, 0xc6cc392cfa53202a, 0x7a03ac9277fdc74e},
}
