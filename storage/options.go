package storage

import (
	"fmt"
	"log/slog"
)

// Options says how to unlock a store and how to run it.
type Options struct {
	// Passphrase returns the passphrase. It is called at most once, and only if the store needs it; the slice is wiped
	// after use. Nil: there is none.
	Passphrase func() ([]byte, error)

	// KeyFile is the path of a file of exactly 32 random bytes that takes the passphrase's place. [Create] makes it, mode
	// 0600, if it does not exist, and prefers it if both are given. Empty: there is none.
	KeyFile string

	// KDF is the cost of one guess at the passphrase, as [Create] sets it. The zero value
	// is [DefaultKDF]. [Open] uses the cost that the store was created with.
	KDF KDF

	// MaxBatch is how many bytes one transaction may hold, keys and sealing included; beyond it [Store.Apply] returns
	// ErrTooLarge, as it does beyond one record per 100 bytes of it, and for a value of 1 MiB or of nine tenths of it. Memory use grows with it: Badger's memory table is
	// seven times as large. Zero means 4 MiB; less than 256 KiB means 256 KiB, more than 64 MiB means 64 MiB.
	MaxBatch int

	// Logger gets Badger's log: errors and warnings as warnings, the rest at debug level.
	// Nil discards it.
	Logger *slog.Logger

	// Still leaves out that Badger looks in the background for tables to merge: 40 times a
	// second, which in virtual time costs more than all else. Tables are then
	// merged by [Store.Compact] alone: for stores of simulators and tests, which hold little.
	Still bool

	keep     uint64 // bytes of the reserve; tests only. 0: derived from MaxBatch
	valueLog bool   // long values go to Badger's value log, as those of earlier programs; tests only
}

const (
	defaultMaxBatch = 4 << 20
	minMaxBatch     = 256 << 10
	maxMaxBatch     = 64 << 20
)

func (o Options) maxBatch() int64 {
	if o.MaxBatch == 0 {
		return defaultMaxBatch
	}
	return int64(min(max(o.MaxBatch, minMaxBatch), maxMaxBatch))
}

// most is how many bytes a stored value may have.
func (o Options) most() int {
	if o.valueLog {
		return int(o.maxBatch())
	}
	return int(o.maxStored()) - 1
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

// KDF is the cost of Argon2id (RFC 9106).
type KDF struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultKDF follows the second recommendation of RFC 9106, Section 4 (64 MiB, 3 passes, 4 lanes): about a tenth of a
// second, once per Open.
var DefaultKDF = KDF{MemoryKiB: 64 << 10, Passes: 3, Lanes: 4}

// validate bounds the cost that a file may claim: at most 256 MiB and 16 passes.
func (k KDF) validate() error {
	if k.Lanes < 1 || k.Lanes > 16 || k.Passes < 1 || k.Passes > 16 || k.MemoryKiB < 8*uint32(k.Lanes) || k.MemoryKiB > 256<<10 {
		return fmt.Errorf("%w: Argon2id parameters out of bounds: %d KiB, %d passes, %d lanes", ErrInvalid, k.MemoryKiB, k.Passes, k.Lanes)
	}
	return nil
}
