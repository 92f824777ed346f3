package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// maxCursors is how many cursors a group may have. Those of hooks are made all the same.
const maxCursors = 64

// cursors are the durable cursors of programs. Each says up to where of a group its program
// has done with what happened. It never goes back, so what is not acknowledged comes again.
type cursors struct {
	store *storage.Store
	put   func(key string, v any) error

	mu sync.Mutex // held from the look at a row to its write
}

// cursorRow is a cursor. It is dropped with its group.
type cursorRow struct {
	Cursor uint64 `cbor:"1,keyasint"`
	At     uint64 `cbor:"2,keyasint"` // when it was moved: milliseconds since 1970
}

func namedCursorKey(id wire.GroupID, name string) string { return keyCursor + string(id[:]) + name }

// checkCursorName refuses a name that is none: rows are found by it.
func checkCursorName(name string) error {
	ok := len(name) >= 1 && len(name) <= 64
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if !ok {
		return fmt.Errorf("%w: %q names no cursor: a name has 1 to 64 letters, digits, \"-\", \"_\" and \".\"", ErrInvalid, name)
	}
	return nil
}

// reach gives the cursor of a name, which was checked; one that is new is written first, and lies at fresh.
func (c *cursors) reach(id wire.GroupID, name string, fresh func() (uint64, error)) (row cursorRow, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := getRow(c.store, namedCursorKey(id, name), &row)
	if found || err != nil {
		return row, err
	}
	if all, err := c.all(id); err != nil || len(all) >= maxCursors && !strings.HasPrefix(name, hookCursors) {
		return row, errors.Join(err, fmt.Errorf("%w: the group has %d cursors already: remove one", verdict.ErrFull, maxCursors))
	}
	at, err := fresh()
	if err != nil {
		return row, err
	}
	return c.write(id, name, at)
}

// move moves a cursor forward, and writes one that is new.
func (c *cursors) move(id wire.GroupID, name string, to uint64) (cursorRow, error) {
	row, err := c.reach(id, name, func() (uint64, error) { return to, nil })
	if err != nil || row.Cursor >= to {
		return row, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := getRow(c.store, namedCursorKey(id, name), &row)
	if err != nil || found && row.Cursor >= to {
		return row, err
	}
	return c.write(id, name, to)
}

func (c *cursors) write(id wire.GroupID, name string, to uint64) (cursorRow, error) {
	row := cursorRow{Cursor: to, At: uint64(time.Now().UnixMilli())} //nolint:gosec // after 1970
	return row, c.put(namedCursorKey(id, name), &row)
}

// all lists the cursors of a group by name.
func (c *cursors) all(id wire.GroupID) (map[string]cursorRow, error) {
	out := map[string]cursorRow{}
	prefix := namedCursorKey(id, "")
	err := c.store.Scan([]byte(prefix), func(key, value []byte) error {
		var row cursorRow
		if err := wire.Unmarshal(value, &row); err != nil {
			return err
		}
		out[string(key[len(prefix):])] = row
		return nil
	})
	return out, err
}

// remove forgets a cursor, and gives it as it was. errNotFound if there is none.
func (c *cursors) remove(apply func(storage.Batch) error, id wire.GroupID, name string) (row cursorRow, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := getRow(c.store, namedCursorKey(id, name), &row)
	if err != nil {
		return row, err
	}
	if !found {
		return row, fmt.Errorf("%w: the group has no cursor %q", errNotFound, name)
	}
	if err := apply(storage.Batch{Writes: []storage.Write{{Key: []byte(namedCursorKey(id, name))}}}); err != nil {
		return row, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return row, nil
}

// newest is the cursor of a group's newest event; 0 while the group is looked for.
func (n *Node) newest(ctx context.Context, id wire.GroupID) (newest uint64, err error) {
	if n.groups.looksFor(id) {
		return 0, nil
	}
	g, err := n.groups.must(id)
	if err != nil {
		return 0, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) error { newest = m.Journal().Cursor(); return nil })
	return newest, err
}

// begins says after which cursor a stream begins that is read under a name, and which is the
// newest event now: those up to it were there before.
func (n *Node) begins(ctx context.Context, id wire.GroupID, r api.TimelineRequest) (after, newest uint64, err error) {
	if newest, err = n.newest(ctx, id); err != nil || r.As == "" {
		return r.Since, newest, err
	}
	if err := checkCursorName(r.As); err != nil {
		return 0, 0, err
	}
	row, err := n.cursors.reach(id, r.As, func() (uint64, error) { return newest, nil })
	return max(row.Cursor, r.Since), newest, err
}

func apiCursor(id wire.GroupID, name string, row cursorRow) api.DurableCursor {
	return api.DurableCursor{Name: name, Group: id.String(), Cursor: row.Cursor, At: time.UnixMilli(int64(row.At))} //nolint:gosec // a date
}

func (s readingRoutes) Cursors(ctx context.Context, r api.GroupRequest) (api.Cursors, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Cursors{}, err
	}
	out := api.Cursors{Cursors: []api.DurableCursor{}}
	if out.Newest, err = s.n.newest(ctx, id); err != nil {
		return out, APIError(err)
	}
	all, err := s.n.cursors.all(id)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Cursors = append(out.Cursors, apiCursor(id, name, all[name]))
	}
	return out, APIError(err)
}

func (s readingRoutes) Acknowledge(ctx context.Context, r api.AcknowledgeRequest) (api.DurableCursor, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.DurableCursor{}, err
	}
	if err := checkCursorName(r.Name); err != nil {
		return api.DurableCursor{}, APIError(err)
	}
	newest, err := s.n.newest(ctx, id)
	if err == nil && r.Cursor > newest {
		err = fmt.Errorf("%w: the newest event of this group here has cursor %d, but %d was acknowledged", ErrCursor, newest, r.Cursor)
	}
	if err != nil {
		return api.DurableCursor{}, APIError(err)
	}
	row, err := s.n.cursors.move(id, r.Name, r.Cursor)
	return apiCursor(id, r.Name, row), APIError(err)
}

func (s readingRoutes) RemoveCursor(ctx context.Context, r api.CursorRequest) (api.DurableCursor, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.DurableCursor{}, err
	}
	if err := checkCursorName(r.Name); err != nil {
		return api.DurableCursor{}, APIError(err)
	}
	row, err := s.n.cursors.remove(s.n.apply, id, r.Name)
	return apiCursor(id, r.Name, row), APIError(err)
}
