package node

import (
	"context"
	"fmt"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// localRow is what this device keeps of a group for its own people. It is dropped with the
// group.
type localRow struct {
	Muted   bool   `cbor:"1,keyasint,omitempty"`
	Pinned  bool   `cbor:"2,keyasint,omitempty"`
	Draft   string `cbor:"3,keyasint,omitempty"`
	ReplyTo string `cbor:"4,keyasint,omitempty"` // of Draft
}

func (g *groupSession) local() (row localRow, err error) {
	_, err = getRow(g.n.store, keyLocal+string(g.id[:]), &row)
	return row, err
}

// setLocal changes the row, in the loop's goroutine, so that no change of another is lost. The
// store gives up a draft that is none any more as it does a message that was erased.
func (g *groupSession) setLocal(ctx context.Context, change func(*localRow)) (row localRow, err error) {
	erased := false
	err = g.loop.look(ctx, func(*group.Machine) error {
		if row, err = g.local(); err != nil {
			return err
		}
		before := row
		if change(&row); row == before {
			return nil
		}
		b := storage.Batch{Writes: []storage.Write{{Key: []byte(keyLocal + string(g.id[:])), Value: wire.Marshal(&row)}}}
		if erased = before.Draft != "" && row.Draft != before.Draft; erased {
			b.Writes = append(b.Writes, storage.Write{Key: []byte(keyPurge), Value: []byte{1}})
		}
		if err := g.n.apply(b); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		return nil
	})
	if erased && err == nil {
		g.n.purger.erased()
	}
	return row, err
}

// undraft erases the draft of a text that was sent.
func (g *groupSession) undraft(ctx context.Context, text string) error {
	if row, err := g.local(); err != nil || row.Draft == "" || row.Draft != text {
		return err
	}
	_, err := g.setLocal(ctx, func(row *localRow) {
		if row.Draft == text {
			row.Draft, row.ReplyTo = "", ""
		}
	})
	return err
}

func (s readingRoutes) Local(ctx context.Context, r api.GroupRequest) (api.Local, error) {
	return s.SetLocal(ctx, api.LocalRequest{Group: r.Group})
}

func (s readingRoutes) SetLocal(ctx context.Context, r api.LocalRequest) (api.Local, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Local{}, err
	}
	if d := r.Draft; d != nil && (len(d.Text) > wire.MaxBody || len(d.ReplyTo) > maxQuery) {
		return api.Local{}, api.Errorf(api.CodeInvalid, "the draft has %d bytes; at most %d (64 KiB) are kept, and the message that it answers is named by its ID", len(d.Text), wire.MaxBody)
	}
	row, err := g.setLocal(ctx, func(row *localRow) {
		if r.Muted != nil {
			row.Muted = *r.Muted
		}
		if r.Pinned != nil {
			row.Pinned = *r.Pinned
		}
		if d := r.Draft; d != nil {
			if row.Draft, row.ReplyTo = d.Text, d.ReplyTo; d.Text == "" {
				row.ReplyTo = ""
			}
		}
	})
	out := api.Local{Group: g.id.String(), Muted: row.Muted, Pinned: row.Pinned}
	if row.Draft != "" {
		out.Draft = &api.Draft{Text: row.Draft, ReplyTo: row.ReplyTo}
	}
	return out, APIError(err)
}
