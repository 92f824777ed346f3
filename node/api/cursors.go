package api

import (
	"context"
	"time"
)

// DurableCursor says up to where a program has done with what happened in a group. It has a
// name and outlives the program and the node. Events after it come again until they are
// acknowledged: at least once.
type DurableCursor struct {
	Name   string    `json:"name"`
	Group  string    `json:"group"`
	Cursor uint64    `json:"cursor"` // of the last event that was acknowledged
	At     time.Time `json:"at"`     // when it was moved
}

// Cursors are those of a group, by name.
type Cursors struct {
	Cursors []DurableCursor `json:"cursors"`
	Newest  uint64          `json:"newest"` // the cursor of the group's newest event
}

// CursorRequest names a cursor: 1 to 64 letters, digits, "-", "_" and ".".
type CursorRequest struct {
	Group string `path:"group"`
	Name  string `path:"name"`
}

// AcknowledgeRequest moves a cursor forward: all events up to there are done with. A name that
// is new begins there, so 0 is before the first event. One that is further already stays. A
// group has at most 64 cursors.
type AcknowledgeRequest struct {
	Group  string `path:"group"`
	Name   string `path:"name"`
	Cursor uint64 `json:"cursor"`
}

// Cursors lists the cursors of a group.
func (c *Client) Cursors(ctx context.Context, r GroupRequest) (Cursors, error) {
	return routeCursors.do(ctx, c, r)
}

// Acknowledge moves a cursor, and gives it as it is then.
func (c *Client) Acknowledge(ctx context.Context, r AcknowledgeRequest) (DurableCursor, error) {
	return routeAcknowledge.do(ctx, c, r)
}

// RemoveCursor forgets a cursor, and gives it as it was.
func (c *Client) RemoveCursor(ctx context.Context, r CursorRequest) (DurableCursor, error) {
	return routeRemoveCursor.do(ctx, c, r)
}
