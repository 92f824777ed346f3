package api

import "time"

// MailboxRequest names a mailbox of a group.
type MailboxRequest struct {
	Group string `path:"group"`
	Peer  string `path:"peer"` // libp2p peer ID
}

// AddMailboxRequest has a group use a mailbox.
type AddMailboxRequest struct {
	Group   string `path:"group"`
	Mailbox string `json:"mailbox"` // peer ID, or a multiaddr that ends in /p2p/<peer ID>
}

// AddedMailbox says which mailbox a group uses from now on.
type AddedMailbox struct {
	Peer    string `json:"peer"`
	Warning string `json:"warning,omitempty"` // why it may take nothing, as far as this node sees
}

// MailboxesRequest asks for the mailboxes of a group, or waits until each has taken all
// envelopes that this device has for it.
type MailboxesRequest struct {
	Group   string   `path:"group"`
	Wait    string   `query:"wait"`    // "taken", or empty: answer at once
	Timeout Duration `query:"timeout"` // 0: until the caller hangs up; then CodeTimeout, naming what is missing
}

// Mailboxes lists the mailboxes of a group.
type Mailboxes struct {
	Mailboxes []GroupMailbox `json:"mailboxes"`
}

// GroupMailbox is a mailbox of a group, as this device sees it.
type GroupMailbox struct {
	Peer    string    `json:"peer"`
	Addrs   []string  `json:"addrs"`
	Reached time.Time `json:"reached,omitzero"` // when it last answered; zero: never
	Health  string    `json:"health"`           // untried, ok, full, closed, none (no mailbox), unreached or failed
	Error   string    `json:"error,omitempty"`  // of the last visit, in words
	Waiting int       `json:"waiting"`          // envelopes of this device that it has not taken

	FilesWaiting int    `json:"files_waiting,omitempty"` // files that were sent from here, that a member who is away may want, and that it has not taken
	FileError    string `json:"file_error,omitempty"`    // why, as far as is known, in words
}

// FindMailboxesRequest looks for mailboxes in the DHT.
type FindMailboxesRequest struct {
	Limit   int      `query:"limit"`   // 0: 20
	Timeout Duration `query:"timeout"` // 0: 10 s. When it is over the stream ends without an error
}

// FoundMailbox is a peer that says it is a mailbox.
type FoundMailbox struct {
	Peer  string   `json:"peer"`
	Addrs []string `json:"addrs"`
}

// MailboxStatus says what a node keeps for others as a mailbox.
type MailboxStatus struct {
	Boxes     int      `json:"boxes"`
	Envelopes int      `json:"envelopes"`
	Bytes     int64    `json:"bytes"`
	Quota     int64    `json:"quota"`
	Lifetime  Duration `json:"lifetime"`
	Files     int      `json:"files,omitempty"`      // sealed, whole or in parts
	FileBytes int64    `json:"file_bytes,omitempty"` // that they take
	FileQuota int64    `json:"file_quota,omitempty"` // 0: it keeps none
}
