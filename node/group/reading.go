package group

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// readAgain reads an entry of the set as it was signed.
func (m *Machine) readAgain(it *item) (*signedEntry, error) {
	raw, err := m.tx.get(itemKey(it))
	if err == nil && raw == nil {
		err = fmt.Errorf("%w: entry %v is gone", ErrCorrupt, it.hash)
	}
	if err != nil {
		m.tx.fail(err)
		return nil, err
	}
	s, err := readEntry(m.group, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

// commitment is what a RECORD commits to.
func (m *Machine) commitment(it *item) (wire.Hash, error) {
	if it.record != nil {
		return it.record.Commitment, nil
	}
	s, err := m.readAgain(it)
	if err != nil {
		return wire.Hash{}, err
	}
	r, err := wire.DecodeRecord(s.entry.Body)
	if err != nil {
		return wire.Hash{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return r.Commitment, nil
}

// commitOf reads a COMMIT and what it shows again, whole.
func (m *Machine) commitOf(it *item) (*wire.Commit, CommitInfo, error) {
	s, err := m.readAgain(it)
	if err != nil {
		return nil, CommitInfo{}, err
	}
	c, err := wire.DecodeCommit(s.entry.Body)
	if err != nil {
		return nil, CommitInfo{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	info, err := m.cfg.Engine.InspectCommit(c.Commit)
	if err != nil {
		return nil, CommitInfo{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return c, info, nil
}

// welcomes lists the different Welcomes that n's committer gave out.
func (m *Machine) welcomes(n *node) (out [][]byte, err error) {
	for _, claim := range n.claims {
		if !claim.welcome {
			continue
		}
		c, _, err := m.commitOf(claim)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(w []byte) bool { return bytes.Equal(w, c.Welcome) }) {
			out = append(out, c.Welcome)
		}
	}
	return out, nil
}
