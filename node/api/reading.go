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

// LocalRequest changes what a node keeps of a group for its own people. Fields that are nil
// stay as they are.
type LocalRequest struct {
	Group  string `path:"group"`
	Muted  *bool  `json:"muted,omitempty"`
	Pinned *bool  `json:"pinned,omitempty"`
	Draft  *Draft `json:"draft,omitempty"` // without text: there is none any more
}

// Local is what a node keeps of a group for its own people. Nobody else is told.
type Local struct {
	Group  string `json:"group"`
	Muted  bool   `json:"muted"`
	Pinned bool   `json:"pinned"`
	Draft  *Draft `json:"draft,omitempty"`
}

// Draft is a message that somebody has begun. It is erased when a message with its text is sent.
type Draft struct {
	Text    string `json:"text"`
	ReplyTo string `json:"reply_to,omitempty"`
}

// Local gives what the node keeps of a group for its own people.
func (c *Client) Local(ctx context.Context, r GroupRequest) (Local, error) {
	return routeLocal.do(ctx, c, r)
}

// SetLocal changes it.
func (c *Client) SetLocal(ctx context.Context, r LocalRequest) (Local, error) {
	return routeSetLocal.do(ctx, c, r)
}

// SearchRequest looks for words in the messages of a group as they are now. The answer is a
// stream that has the newest first, each as soon as it is found. Case and accents do not
// matter. A message has to have all words, each at least as the beginning of one of its own;
// words in double quotes are found whole, and in that order.
type SearchRequest struct {
	Group  string `path:"group"`
	Words  string `query:"words"`
	Before uint64 `query:"before"` // cursor of the last message that was found; 0: from the newest
	Limit  int    `query:"limit"`  // 0: 50. Then the stream ends
}

// Search streams messages that have words.
func (c *Client) Search(ctx context.Context, r SearchRequest, emit func(Message) error) error {
	return routeSearch.do(ctx, c, r, emit)
}

// Read moves the read mark of a group.
func (c *Client) Read(ctx context.Context, r ReadRequest) (ReadMark, error) {
	return routeRead.do(ctx, c, r)
}
