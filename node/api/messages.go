package api

import "time"

// Delivery says how far an own message is.
type Delivery string

// Deliveries, in ascending order.
const (
	DeliveryQueued    Delivery = "queued"    // durable here
	DeliveryPublished Delivery = "published" // sealed, and given to the network
	DeliveryHeld      Delivery = "held"      // at least one other device has it
)

// Deliveries lists the deliveries in ascending order.
var Deliveries = []Delivery{DeliveryQueued, DeliveryPublished, DeliveryHeld}

// SendRequest sends a message. The answer comes after the synced write, so an answered
// message is never lost.
type SendRequest struct {
	Group   string   `path:"group"`
	Text    string   `json:"text"`              // UTF-8, at most 64 KiB
	Texts   []string `json:"texts,omitempty"`   // in place of Text: several messages, all or none; at most 256, and 512 KiB together
	Wait    Delivery `json:"wait,omitempty"`    // answer when this is reached, or at Timeout with the state that is reached then
	Timeout Duration `json:"timeout,omitempty"` // for Wait; 0: until the caller hangs up

	// Key makes the request one that can come again, after a crash or an answer that was lost:
	// with the same key and the same text it gives the same message, which is sent once. A key
	// is of this device and group, has at most 255 bytes and counts for 30 days. The same key
	// with another text is CodeConflict. Of files the names and sizes count.
	Key string `json:"key,omitempty"`

	Files    []string `json:"files,omitempty"`    // IDs of at most 16 files, as Upload gives them, or of other messages; Text may be empty then
	ReplyTo  string   `json:"reply_to,omitempty"` // the message that it answers; see MessageRequest
	Thread   string   `json:"thread,omitempty"`   // the first message of the thread that it is in
	Markdown bool     `json:"markdown,omitempty"` // the text is Markdown: GFM without autolinks, HTML shown as text
	Expire   string   `json:"expire,omitempty"`   // how long it stays after it was sent, such as "30m", "12h" or "7d", and no longer than the group's setting "expiry" says; empty: as that says
	Mention  bool     `json:"mention,omitempty"`  // "@name" mentions the member whose name that is, where it can be no other's; the text is Markdown then
}

// MessageRequest names a message: by its full ID, the beginning of it, the word "last" for
// the newest one that was shown, or "mine" for the newest own one.
type MessageRequest struct {
	Group   string `path:"group"`
	Message string `path:"message"`
}

// EditRequest writes an own message anew. All its versions stay readable for a while.
type EditRequest struct {
	Group    string `path:"group"`
	Message  string `path:"message"`
	Text     string `json:"text"`
	Markdown bool   `json:"markdown,omitempty"`
}

// ReactionRequest reacts to a message with one character as people see it, or takes that back.
type ReactionRequest struct {
	Group   string `path:"group"`
	Message string `path:"message"`
	Text    string `path:"text"`
}

// Sent is a message that was accepted.
type Sent struct {
	ID      string   `json:"id"`            // of several: the last
	IDs     []string `json:"ids,omitempty"` // of several: each, in their order
	Group   string   `json:"group"`
	State   Delivery `json:"state"`
	HeldBy  int      `json:"held_by"`         // other devices known to hold and read it
	Readers int      `json:"readers"`         // other devices that it is for
	Note    string   `json:"note,omitempty"`  // where it waits, if it waits for a mailbox, and which of its files do
	Again   bool     `json:"again,omitempty"` // it was sent before with this key, and nothing now
}

// DeliveryRequest asks how far an own message is, or waits until it is as far as that.
type DeliveryRequest struct {
	Group   string   `path:"group"`
	Message string   `path:"message"`  // see MessageRequest
	Wait    Delivery `query:"wait"`    // answer when this is reached, or at Timeout with what is; empty: at once
	Timeout Duration `query:"timeout"` // for Wait; 0: until the caller hangs up
}

// MessagesRequest asks for messages after a cursor, or for the newest before one, in either
// case oldest first.
type MessagesRequest struct {
	Group  string `path:"group"`
	Since  uint64 `query:"since"`  // cursor of the last message that the caller has; 0: from the first
	Before uint64 `query:"before"` // cursor of the first message that the caller has; 0: Since counts
	Limit  int    `query:"limit"`  // 0: 1000
}

// Messages is a page of messages.
type Messages struct {
	Messages []Message `json:"messages"`
	More     bool      `json:"more"` // ask again since the last cursor, or before the first
}

// TailRequest streams messages after a cursor, oldest first, and goes on with new
// ones as they come.
type TailRequest struct {
	Group string `path:"group"`
	Since uint64 `query:"since"`
}

// TimelineRequest streams what people see of a group, oldest first: its messages, and
// events such as members who came or left (see TimelineKinds).
type TimelineRequest struct {
	Group  string `path:"group"`
	Since  uint64 `query:"since"`  // cursor of the last item that the caller has
	Last   int    `query:"last"`   // not 0: begin with this many of the newest, whatever Since is
	Before uint64 `query:"before"` // not 0, with Last: that many messages before this cursor, and the events between them; without Since and Follow
	As     string `query:"as"`     // not empty: begin after what was acknowledged by the cursor of this name (see Cursors), or Since if that is later; a name that is new begins with what comes from now on
	Follow bool   `query:"follow"` // go on with new ones; else the stream ends after the newest
}

// Happening is one item of a timeline: a message or another event.
type Happening struct {
	Cursor  uint64    `json:"cursor"`
	At      time.Time `json:"at"`             // when this device showed it
	Live    bool      `json:"live,omitempty"` // with Follow: it happened after the stream began; all others were there before
	More    bool      `json:"more,omitempty"` // of the first: there are earlier ones, which are left out
	Message *Message  `json:"message,omitempty"`
	Event   *Event    `json:"event,omitempty"`
}

// Message is one message, in the order in which this device showed it.
type Message struct {
	Cursor    uint64    `json:"cursor"` // rises, but not by one: other events lie between; of EventChanged that of the change
	ID        string    `json:"id"`
	Group     string    `json:"group"`
	User      string    `json:"user"`
	Device    string    `json:"device"`
	Name      string    `json:"name"` // the user's petname, or else that of the device
	Sent      time.Time `json:"sent"` // as its author's clock said
	MediaType string    `json:"media_type"`
	Text      string    `json:"text,omitempty"`  // of a text/* message
	Data      []byte    `json:"data,omitempty"`  // of any other
	Spans     []Span    `json:"spans,omitempty"` // of Text in Markdown
	Own       bool      `json:"own"`
	Verified  bool      `json:"verified,omitempty"` // the user was, by people of this node
	State     Delivery  `json:"state,omitempty"`    // own messages
	HeldBy    int       `json:"held_by,omitempty"`
	Readers   int       `json:"readers,omitempty"`

	MimiID     string           `json:"mimi_id,omitempty"`     // the ID of draft-ietf-mimi-content, in hex
	Edited     bool             `json:"edited,omitempty"`      // Text is that of the newest version
	Versions   []MessageVersion `json:"versions,omitempty"`    // of one that was edited, oldest first; the newest 16
	Deleted    *Deleted         `json:"deleted,omitempty"`     // it was taken away, and has no text any more
	Expires    time.Time        `json:"expires,omitzero"`      // when it is erased; zero: never
	Expired    bool             `json:"expired,omitempty"`     // it was
	ReplyTo    *Reference       `json:"reply_to,omitempty"`    // the message that it answers
	Thread     string           `json:"thread,omitempty"`      // the first message of its thread
	Earlier    bool             `json:"earlier,omitempty"`     // another member gave it, from before this device came in
	Replies    int              `json:"replies,omitempty"`     // messages that answer it or are in its thread
	Reactions  []Reaction       `json:"reactions,omitempty"`   // the first one first
	Files      []File           `json:"files,omitempty"`       // that it names
	MentionsMe bool             `json:"mentions_me,omitempty"` // it links to this device's user
	Fault      string           `json:"cannot_show,omitempty"` // it has no text that can be shown: why

	// Only in a timeline, which has other events as well.
	Kind      EventKind `json:"kind,omitempty"` // EventMessage, or EventChanged
	GroupName string    `json:"group_name,omitempty"`
	Change    *Changed  `json:"change,omitempty"` // of EventChanged
}

// MessageVersion is a version of a message.
type MessageVersion struct {
	ID   string    `json:"id"`
	Sent time.Time `json:"sent"`
	Text string    `json:"text"`
}

// Deleted says who took a message away.
type Deleted struct {
	By   string    `json:"by"`
	Name string    `json:"name"` // of the device
	At   time.Time `json:"at"`
}

// Reference is the message that another one answers, as this device has it.
type Reference struct {
	ID      string `json:"id"`
	User    string `json:"user,omitempty"` // empty: this device does not have it
	Name    string `json:"name,omitempty"`
	Excerpt string `json:"excerpt,omitempty"` // the beginning of its text; empty: it has none any more
}

// Reaction is one text with which users reacted to a message.
type Reaction struct {
	Text  string   `json:"text"`
	Count int      `json:"count"`
	Mine  bool     `json:"mine,omitempty"`
	Users []string `json:"users"`
}

// Changed says what somebody did to a message.
type Changed struct {
	By   string `json:"by"`
	Name string `json:"name"`
	What string `json:"what"` // edit, delete, reaction or profile
}

// EventKind says what happened.
type EventKind string

// Events.
const (
	EventMessage          EventKind = "message"
	EventChanged          EventKind = "message-changed" // By did Detail to Message: edit, delete or reaction; or gave a profile
	EventMemberAdded      EventKind = "member-added"
	EventMemberRemoved    EventKind = "member-removed"
	EventMemberLeft       EventKind = "member-left"
	EventJoined           EventKind = "joined" // this device is in; in a timeline with the Detail founded if by founding the group
	EventOut              EventKind = "out"    // this device is out
	EventEpoch            EventKind = "epoch"
	EventFork             EventKind = "fork"        // members committed concurrently
	EventForkHealed       EventKind = "fork-healed" // this device moved to the chosen branch
	EventEvidence         EventKind = "evidence"    // Device signed two entries with one number; Detail says what that means
	EventIncarnation      EventKind = "incarnation" // this device's store went back in time
	EventTwin             EventKind = "twin"        // another node writes as this device while this one runs
	EventRemovalCancelled EventKind = "removal-cancelled"
	EventRefused          EventKind = "refused"        // something of a member's was refused; Detail says why
	EventProfile          EventKind = "profile"        // By set what Detail says: the field, a space, and the value, a text in quotes
	EventSetting          EventKind = "setting"        // By set what Detail says: the key, a space, and the value in quotes
	EventRole             EventKind = "role"           // Detail is the new one
	EventJoinRequested    EventKind = "join-requested" // somebody waits for an admin; Detail is its name
	EventJoinDenied       EventKind = "join-denied"
	EventDeviceRevoked    EventKind = "device-revoked" // By took Device of User out
	EventReboot           EventKind = "reboot"         // By gave the group fresh keys
	EventRead             EventKind = "read"           // of the node alone: the read mark of Group moved to UpTo
	EventPeople           EventKind = "people"         // of the node alone: something that is kept of User changed; what was hidden may be shown
	EventFile             EventKind = "file"           // a file that Message names is here, or faulty: Detail is its ID, a space, and that
	EventFileProgress     EventKind = "file-progress"  // more of such a file is here: Detail is its ID, a space, the bytes that are, a slash, and all, sealed
	EventJoinStage        EventKind = "join-stage"
	EventPeerConnected    EventKind = "peer-connected"
	EventPeerDisconnected EventKind = "peer-disconnected"
)

// TimelineKinds are the events that a timeline has beside messages. One that goes on has
// EventChanged, too.
var TimelineKinds = []EventKind{
	EventMemberAdded, EventMemberRemoved, EventMemberLeft, EventJoined, EventOut, EventRole, EventProfile, EventSetting, EventJoinRequested, EventJoinDenied,
	EventDeviceRevoked, EventReboot, EventRemovalCancelled,
}

// EventsRequest streams events after a cursor, oldest first, and goes on with new ones.
// A cursor that this run of the node has not given out is CodeConflict: begin again
// without one.
type EventsRequest struct {
	Since uint64 `query:"since"`
	Run   string `query:"run"` // that Since counts in; empty: the present one
}

// GroupEventsRequest streams the events of one group.
type GroupEventsRequest struct {
	Group string `path:"group"`
	Since uint64 `query:"since"`
	Until uint64 `query:"until"` // the stream ends with this cursor; 0: it does not end
}

// Entry is a signed object that all members of a group share: the genesis or a log entry.
type Entry struct {
	Genesis []byte `json:"genesis,omitempty"` // the first in the stream; all others are entries
	Entry   []byte `json:"entry,omitempty"`
}

// Event is one thing that happened. Its cursor rises by one, so that a gap shows:
// in the stream of one group for as long as the group exists, in the stream of the
// node for as long as Run is the same.
type Event struct {
	Cursor  uint64    `json:"cursor"`
	Run     string    `json:"run,omitempty"` // the run of the node that the cursor counts in; empty in a group's stream
	Kind    EventKind `json:"kind"`
	At      time.Time `json:"at"`
	Group   string    `json:"group,omitempty"`
	Message string    `json:"message,omitempty"`
	User    string    `json:"user,omitempty"`
	Device  string    `json:"device,omitempty"`
	By      string    `json:"by,omitempty"` // the user who did it

	// Only in a timeline: the names of the group and of the users.
	GroupName string `json:"group_name,omitempty"`
	UserName  string `json:"user_name,omitempty"`
	ByName    string `json:"by_name,omitempty"`

	EpochID string `json:"epoch_id,omitempty"`
	UpTo    uint64 `json:"up_to,omitempty"` // of EventRead
	Peer    string `json:"peer,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// EnvelopeRequest hands an envelope to a group as if it had come from the network.
type EnvelopeRequest struct {
	Group    string `path:"group"`
	Envelope []byte `json:"envelope"`
}

// Verdict is what a node would tell GossipSub about an envelope.
type Verdict string

// Verdicts.
const (
	VerdictAccept Verdict = "accept"
	VerdictIgnore Verdict = "ignore"
	VerdictReject Verdict = "reject"
)

// Refusal names why something was refused.
type Refusal string

// Refusals.
const (
	RefusalMalformed    Refusal = "malformed"
	RefusalTooLarge     Refusal = "too-large"
	RefusalVersion      Refusal = "unknown-version"
	RefusalUnknownKey   Refusal = "unknown-transport-key"
	RefusalNotAuthentic Refusal = "not-authentic"
	RefusalNotMember    Refusal = "not-a-member"
	RefusalNotPermitted Refusal = "not-permitted"
	RefusalOut          Refusal = "out-of-group"
	RefusalRemoved      Refusal = "removed" // sealed after this device was removed
	RefusalNoEpoch      Refusal = "no-epoch-keys"
	RefusalForged       Refusal = "forged"
	RefusalForeign      Refusal = "foreign-group"
	RefusalEquivocation Refusal = "equivocation"
	RefusalFuture       Refusal = "future"
	RefusalIncomplete   Refusal = "incomplete"
	RefusalCommit       Refusal = "invalid-commit"
	RefusalKeyPackage   Refusal = "invalid-key-package"
	RefusalWelcome      Refusal = "invalid-welcome"
	RefusalUsed         Refusal = "already-opened"
	RefusalFull         Refusal = "too-much-waiting"
	RefusalOther        Refusal = "other"
)

// Refusals lists them.
var Refusals = []Refusal{
	RefusalMalformed, RefusalTooLarge, RefusalVersion, RefusalUnknownKey, RefusalNotAuthentic, RefusalNotMember, RefusalNotPermitted,
	RefusalOut, RefusalRemoved, RefusalNoEpoch, RefusalForged, RefusalForeign, RefusalEquivocation, RefusalFuture, RefusalIncomplete,
	RefusalCommit, RefusalKeyPackage, RefusalWelcome, RefusalUsed, RefusalFull, RefusalOther,
}

// EnvelopeResult says how a node judged an envelope. A refusal is a result, not an error of
// the call.
type EnvelopeResult struct {
	Verdict  Verdict  `json:"verdict"`
	Refusal  Refusal  `json:"refusal,omitempty"` // empty: accepted
	Detail   string   `json:"detail,omitempty"`
	Messages []string `json:"messages"` // whose plaintext is now here, also from before
	New      int      `json:"new"`      // entries and seals that were new
}

// MessageEnvelopeRequest asks for the envelope of a message.
type MessageEnvelopeRequest struct {
	Group   string `path:"group"`
	Message string `path:"message"` // full ID, or a prefix that only one fits
}

// Envelope is an envelope as this node last sent or got it, byte for byte.
type Envelope struct {
	Message  string `json:"message"`
	Envelope []byte `json:"envelope"`
}
