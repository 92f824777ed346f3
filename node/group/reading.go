package group

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// reader reads entries of the set again, as they were signed: the set itself keeps little
// of them.
type reader struct {
	tx     *tx
	group  wire.GroupID
	engine engine.Engine
}

// raw reads an entry of the set, encoded.
func (r reader) raw(it *dag.Item) ([]byte, error) {
	raw, err := r.tx.get(itemKey(it))
	if err == nil && raw == nil {
		err = fmt.Errorf("%w: entry %v is gone", verdict.ErrCorrupt, it.Hash)
	}
	r.tx.fail(err)
	return raw, err
}

// again reads an entry of the set as it was signed.
func (r reader) again(it *dag.Item) (*dag.SignedEntry, error) {
	raw, err := r.raw(it)
	if err != nil {
		return nil, err
	}
	s, err := dag.ReadEntry(r.group, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	return s, nil
}

// commitment returns the commitment of a RECORD.
func (r reader) commitment(it *dag.Item) (wire.Hash, error) {
	if it.Record != nil {
		return it.Record.Commitment, nil
	}
	raw, err := r.raw(it)
	if err != nil {
		return wire.Hash{}, err
	}
	record, err := storedRecord(raw)
	if err != nil {
		return wire.Hash{}, err
	}
	return record.Commitment, nil
}

// storedRecord reads the body of a RECORD from the entry that was stored. Its signature was
// checked before it was.
func storedRecord(raw []byte) (*wire.Record, error) {
	signed, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	e, err := wire.DecodeEntry(signed.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	record, err := wire.DecodeRecord(e.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	return record, nil
}

// commit reads a COMMIT and what it shows again, whole.
func (r reader) commit(it *dag.Item) (*wire.Commit, engine.CommitInfo, error) {
	s, err := r.again(it)
	if err != nil {
		return nil, engine.CommitInfo{}, err
	}
	c, err := wire.DecodeCommit(s.Entry.Body)
	if err != nil {
		return nil, engine.CommitInfo{}, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	info, err := r.engine.InspectCommit(c.Commit)
	if err != nil {
		return nil, engine.CommitInfo{}, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	return c, info, nil
}

// welcomes lists the different Welcomes that n's committer gave out.
func (r reader) welcomes(n *epochs.Node) (out [][]byte, err error) {
	for _, claim := range n.Claims {
		if claim.Commit == nil || !claim.Commit.HasWelcome {
			continue
		}
		c, _, err := r.commit(claim)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(w []byte) bool { return bytes.Equal(w, c.Welcome) }) {
			out = append(out, c.Welcome)
		}
	}
	return out, nil
}
