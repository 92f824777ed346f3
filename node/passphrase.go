package node

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/pandanode/pandanode/storage"
)

// A program's callback may give the same slice each time, and a store wipes what it gets: so
// stores get copies. The slice that a callback gave is the program's to wipe.

// copied gives copies of what ask gives. Nil stays nil.
func copied(ask func() ([]byte, error)) func() ([]byte, error) {
	if ask == nil {
		return nil
	}
	return func() ([]byte, error) {
		p, err := ask()
		return bytes.Clone(p), err
	}
}

// askedAtMostOnce gives each time what ask gave the first time, until wipe is called.
func askedAtMostOnce(ask func() ([]byte, error)) (again func() ([]byte, error), wipe func()) {
	var own []byte
	first := sync.OnceValue(func() error {
		p, err := ask()
		own = bytes.Clone(p)
		return err
	})
	return func() ([]byte, error) { err := first(); return own, err }, func() { clear(own) }
}

// newLock gives what a store that is made is to be locked with. It asks for the passphrase now,
// before anything is made. ErrInvalid: it is empty.
func newLock(cfg InitConfig) (o storage.Options, wipe func(), err error) {
	o, wipe = storeOptions(cfg.Small), func() {}
	o.KeyFile, o.KDF = cfg.KeyFile, cfg.KDF
	if cfg.Passphrase == nil || cfg.KeyFile != "" {
		return o, wipe, nil
	}
	p, err := cfg.Passphrase()
	if err != nil {
		return o, wipe, err
	}
	if len(p) == 0 {
		return o, wipe, fmt.Errorf("%w: the passphrase is empty", ErrInvalid)
	}
	own := bytes.Clone(p)
	o.Passphrase = func() ([]byte, error) { return bytes.Clone(own), nil }
	return o, func() { clear(own) }, nil
}
