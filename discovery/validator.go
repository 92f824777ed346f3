package discovery

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/pandanode/pandanode/node/wire"
)

// The DHT key of a group's record is "/panda/group/" and the text form of the
// group's ID in lower case. libp2p reads the first path element, "panda", as the
// namespace that names the validator; the rest is the validator's own.
const (
	// namespace is the namespace of this package's DHT keys.
	namespace = "panda"
	keyPrefix = "/" + namespace + "/group/"
)

// recordKey is the DHT key of a group's record.
func recordKey(g wire.GroupID) string { return keyPrefix + g.String() }

// parseRecordKey is the inverse of recordKey; anything else is errKey.
func parseRecordKey(key string) (wire.GroupID, error) {
	text, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return wire.GroupID{}, fmt.Errorf("%w: it does not begin with %s", errKey, keyPrefix)
	}
	g, err := wire.ParseGroupID(text)
	if err != nil {
		return wire.GroupID{}, fmt.Errorf("%w: %w", errKey, err)
	}
	if text != g.String() {
		return wire.GroupID{}, fmt.Errorf("%w: upper case", errKey)
	}
	return g, nil
}

// Bounds on the cost of judging records: each takes up to 60 signature checks, some 4 ms,
// and a remembered one some tens of kilobytes. Records that others bring have slots of
// their own, so that a flood of them does not delay lookups of this node.
const (
	maxVerifying = 4
	maxBrought   = 2
	maxVerified  = 128
	maxRefused   = 4096
)

// validator judges records for the DHT: a record.Validator for Namespace. Make it
// with newValidator, inside the bubble if there is one.
type validator struct {
	known   *Known
	now     func() time.Time
	intake  *intake
	turns   chan struct{}
	brought chan struct{}               // slots for records that others bring
	done    *lru.Cache[[32]byte, *Info] // recordID → what it verified to
	refused *lru.Cache[[32]byte, error] // recordID → why it never will
}

var _ record.Validator = (*validator)(nil)

// newValidator makes a validator. It refuses a record that adds nothing to known as
// ErrStale, and notes in known one that does; known may be nil. now may be nil for
// time.Now.
func newValidator(known *Known, now func() time.Time) *validator {
	if now == nil {
		now = time.Now
	}
	done, err := lru.New[[32]byte, *Info](maxVerified)
	if err != nil {
		panic(err) // a size of zero, says its documentation
	}
	refused, err := lru.New[[32]byte, error](maxRefused)
	if err != nil {
		panic(err)
	}
	return &validator{
		known: known, now: now, intake: newIntake(), done: done, refused: refused,
		turns: make(chan struct{}, maxVerifying), brought: make(chan struct{}, maxBrought),
	}
}

// Validate accepts a value that is a record of the key's group and that this node
// could use. Refusals are told apart with errors.Is: see errors.go.
func (v *validator) Validate(key string, value []byte) error {
	i, err := v.judge(key, value)
	if err != nil || v.known == nil {
		return err
	}
	if k := v.known.Get(i.Group); k != nil && !k.equal(i) {
		if !adds(k, i) {
			return fmt.Errorf("public record of %v: %w", i.Group, ErrStale)
		}
		v.known.note(i)
	}
	return nil
}

// Select returns the index of the value that ranks highest by compare, the first of equal
// ones. It passes over values that do not verify.
func (v *validator) Select(key string, values [][]byte) (int, error) {
	best, at := (*Info)(nil), -1
	var errs []error
	for n, b := range values {
		i, err := v.judge(key, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if best == nil || compare(i, best) > 0 {
			best, at = i, n
		}
	}
	if best == nil {
		return 0, fmt.Errorf("selecting among %d values: %w", len(values), errors.Join(append(errs, record.ErrInvalidRecordType)...))
	}
	return at, nil
}

func (v *validator) judge(key string, value []byte) (*Info, error) {
	g, err := parseRecordKey(key)
	if err != nil {
		return nil, err
	}
	if len(value) > wire.MaxPublicInfo {
		return nil, fmt.Errorf("%w: record of %d bytes, at most %d", wire.ErrTooLarge, len(value), wire.MaxPublicInfo)
	}
	id := recordID(key, value)
	if i, ok := v.done.Get(id); ok && !i.ahead(v.now()) { // else the clock was ahead, and is put right
		return i, nil
	}
	if err, ok := v.refused.Get(id); ok {
		return nil, err
	}
	by, turns := v.intake.bringerOf(id), v.turns
	if by != (holder{}) {
		turns = v.brought
	}
	turns <- struct{}{}
	defer func() { <-turns }()
	if err := v.intake.admit(time.Now(), by); err != nil {
		return nil, err
	}
	i, err := verify(g, value, v.now())
	v.intake.judged(time.Now(), by, err == nil)
	switch {
	case err == nil:
		v.done.Add(id, i)
	case !errors.Is(err, errFuture): // the only refusal that time mends
		v.refused.Add(id, err)
	}
	return i, err
}

// noClock is later than any date, so that no date lies ahead of it.
var noClock = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// timeless judges a record of an unknown group without regard to dates, for this node
// alone. If the dates lie ahead of this clock, the clock may be behind, and a device has no
// other clock to compare it with before it is in a group. Such a record is never kept for
// others.
func (v *validator) timeless(g wire.GroupID, value []byte) *Info {
	if len(value) > wire.MaxPublicInfo || v.known != nil && v.known.Get(g) != nil {
		return nil
	}
	i, _ := verify(g, value, noClock)
	return i
}

// recordID names a value under a key of the DHT.
func recordID(key string, value []byte) [32]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	h.Write([]byte(key))
	h.Write(value)
	return [32]byte(h.Sum(nil))
}
