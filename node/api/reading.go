package api

import "context"

// ReadRequest says up to where people have read a group: to a cursor that they were shown, so
// that what comes meanwhile stays unread.
type ReadRequest struct {
	Group   string `path:"group"`
	Cursor  uint64 `json:"cursor,omitempty"`  // of the newest item that was shown
	Message string `json:"message,omitempty"` // in place of Cursor: a message; see MessageRequest
}

// ReadMark is the read mark of a group, and what is unread behind it; see [Group].
type ReadMark struct {
	Group    string `json:"group"`
	Cursor   uint64 `json:"cursor"`
	Unread   int    `json:"unread_count"`
	Mentions int    `json:"mention_count"`
}

// Read moves the read mark of a group.
func (c *Client) Read(ctx context.Context, r ReadRequest) (ReadMark, error) {
	return routeRead.do(ctx, c, r)
}
