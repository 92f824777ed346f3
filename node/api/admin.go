package api

import "time"

// CreateInviteRequest gives out an invite, by an owner or admin.
type CreateInviteRequest struct {
	Group   string   `path:"group"`
	Role    string   `json:"role,omitempty"`    // of the users it lets in: owner, admin, member or read-only; empty: member
	Expires Duration `json:"expires,omitempty"` // from now; 0: never
	Uses    uint64   `json:"uses,omitempty"`    // how many it lets in; 0: any number
	Whole   bool     `json:"whole,omitempty"`   // the link holds all that a joiner needs, and is long; of a public group one of at most 300 bytes needs the group's record, too
}

// Invites is every invite that a group knows of.
type Invites struct {
	Invites []Invite `json:"invites"`
}

// Invite is an invite to a group. Only the answer to CreateInvite has the Link. It is a
// secret that no node keeps: anybody who has it can join.
type Invite struct {
	ID      string    `json:"id"`
	Link    string    `json:"link,omitempty"`
	By      string    `json:"by"`      // user who gave it out
	ByName  string    `json:"by_name"` // of that user's first device; empty: no member now
	Role    string    `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Uses    uint64    `json:"uses"`             // 0: any number
	Used    int       `json:"used"`
	Revoked string    `json:"revoked_by,omitempty"` // user
	Valid   bool      `json:"valid"`
	Void    string    `json:"void,omitempty"` // why it lets nobody in
}

// InviteRequest names an invite.
type InviteRequest struct {
	Group  string `path:"group"`
	Invite string `path:"invite"` // full ID, or a prefix that only one fits
}

// Requests lists the users who ask to be let into a group.
type Requests struct {
	Requests []Request `json:"requests"`
}

// RequestState says how a request stands.
type RequestState string

// States of a request.
const (
	RequestWaiting RequestState = "waiting"
	RequestDenied  RequestState = "denied"
	RequestLapsed  RequestState = "lapsed" // nobody answered in time; the user may ask again
)

// Request is a user who asks to be let in.
type Request struct {
	User    string       `json:"user"`
	Device  string       `json:"device"`
	Name    string       `json:"name"` // of the device, as it calls itself: anybody may use any name
	Asked   time.Time    `json:"asked"`
	By      string       `json:"by"` // the member that was asked
	State   RequestState `json:"state"`
	Denied  string       `json:"denied_by,omitempty"`
	Removed bool         `json:"removed"` // it was in the group and was taken out
}

// ApproveRequest lets in a user who asked.
type ApproveRequest struct {
	Group string `path:"group"`
	User  string `path:"user"`           // full ID, a prefix or a name that only one request fits
	Role  string `json:"role,omitempty"` // empty: member
}

// Deed is a kind of change that an owner or admin makes.
type Deed string

// Deeds. A deed that is an event as well has the event's name.
const (
	DeedAdded         Deed = Deed(EventMemberAdded)
	DeedRemoved       Deed = Deed(EventMemberRemoved)
	DeedDenied        Deed = Deed(EventJoinDenied)
	DeedRole          Deed = Deed(EventRole)
	DeedInviteRevoked Deed = "invite-revoked"
)

// Change says what an owner or admin has changed, so that they can check it.
type Change struct {
	Did       Deed   `json:"did"`
	Group     string `json:"group"` // full ID
	GroupName string `json:"group_name"`
	User      string `json:"user,omitempty"` // full ID
	UserName  string `json:"user_name,omitempty"`
	Verified  bool   `json:"verified,omitempty"` // User was verified
	Doubt     string `json:"doubt,omitempty"`    // why UserName could be taken for another's, as of Member
	Role      string `json:"role,omitempty"`     // that the user has now
	Was       string `json:"was,omitempty"`      // the role it had
	Invite    string `json:"invite,omitempty"`   // full ID
}

// UserRequest names a user who is in a group or asks to be let in.
type UserRequest struct {
	Group string `path:"group"`
	User  string `path:"user"`
}

// RoleRequest changes what a member may do.
type RoleRequest struct {
	Group string `path:"group"`
	User  string `path:"user"`
	Role  string `json:"role"` // owner, admin, member or read-only
}

// Log is the operations of a group in causal order.
type Log struct {
	Operations []Operation `json:"operations"`
}

// Operation is one operation of a group: its author, its time, its effect, and whether it
// counts.
type Operation struct {
	Hash    string    `json:"hash"`
	At      time.Time `json:"at"` // as its author's clock said
	User    string    `json:"user"`
	Device  string    `json:"device"`
	Name    string    `json:"name"`                     // of the device
	Kind    string    `json:"kind"`                     // add, remove, leave, role, profile, device.add, device.revoke, reboot, invite, invite.revoke, request or deny
	Subject string    `json:"subject,omitempty"`        // the user it is about
	About   string    `json:"subject_device,omitempty"` // the device it is about
	Called  string    `json:"subject_name,omitempty"`
	Role    string    `json:"role,omitempty"`
	Why     string    `json:"why,omitempty"`    // of an addition: role, invite or open
	Invite  string    `json:"invite,omitempty"` // ID
	Detail  string    `json:"detail,omitempty"` // of a profile: what it sets
	Void    string    `json:"void,omitempty"`   // why it does not count
}

// Incidents are the events of a group that this device saw and that are no operations.
// Other members may have seen others.
type Incidents struct {
	Incidents []Event   `json:"incidents"` // oldest first
	Refusals  []Refused `json:"refusals"`  // of input from others, by source and reason
}

// Refused is how often something was refused for a reason.
type Refused struct {
	Source string    `json:"source"` // gossip, sync or join
	Reason Refusal   `json:"reason"`
	Count  uint64    `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	From   string    `json:"from"`   // the peer or device that sent the last one
	Detail string    `json:"detail"` // why the last one was refused
}

// GroupStatus is all that a device knows of a group's state.
type GroupStatus struct {
	Group
	Branches  []Branch      `json:"branches"` // the chosen one first
	Devices   []GroupDevice `json:"devices"`
	Gate      bool          `json:"gate_closed"` // nobody seals: somebody who was removed is in the tree
	Adds      int           `json:"adds_due"`    // devices that the next commit adds
	Removes   int           `json:"removes_due"` // leaves that it removes
	HealAt    time.Time     `json:"heal_at,omitzero"`
	SettleAt  time.Time     `json:"settle_at,omitzero"` // when a new fork is judged
	Rejoining bool          `json:"rejoining"`          // this device asks to be added again
	Waiting   int           `json:"seals_waiting"`      // for keys
	Lacking   int           `json:"entries_lacking"`    // that others name
	Requests  int           `json:"requests"`           // that wait for an admin
	Unsealed  []string      `json:"unsealed"`           // own messages
	Unread    []string      `json:"unread"`             // messages owed to this device
	Suggest   []Suggestion  `json:"suggestions"`
	SendKey   string        `json:"transport_key"` // hex, ID
	Keys      int           `json:"transport_keys"`
}

// Branch is one line of MLS epochs from a fork to its newest.
type Branch struct {
	Tip    string   `json:"tip"`
	Epoch  uint64   `json:"epoch"`
	From   string   `json:"from"`
	Length int      `json:"length"`
	By     string   `json:"by,omitempty"` // user who made its first epoch
	Chosen bool     `json:"chosen"`
	Here   bool     `json:"here"`
	Held   bool     `json:"held"` // its keys are here
	Reason string   `json:"reason,omitempty"`
	Voters []string `json:"voters"` // users
}

// Suggestion names a user whom the admins should consider removing, and says why.
type Suggestion struct {
	User   string    `json:"user"`
	Silent time.Time `json:"silent_since,omitzero"` // if that is 90 days ago
	Broken int       `json:"invalid,omitempty"`     // epochs of its making that members found invalid, if they are many
}

// GroupDevice says how far a member's device is, as far as this device knows.
type GroupDevice struct {
	Device  string    `json:"device"`
	User    string    `json:"user"`
	Name    string    `json:"name"`
	Self    bool      `json:"self"`
	Last    time.Time `json:"last,omitzero"` // its newest entry here, by its clock
	Vote    string    `json:"vote,omitempty"`
	Epoch   uint64    `json:"vote_epoch"`
	VotedAt time.Time `json:"voted_at,omitzero"`
	Chosen  bool      `json:"vote_on_chosen"`
	Refused int       `json:"refuses"`
	Unheld  int       `json:"cannot_get"`
	Heard   bool      `json:"heard"` // it has said how far it is since this node started
	Lacks   int       `json:"lacks"` // entries that it was not known to have
	Gaps    int       `json:"gaps"`  // messages that it cannot read
	Rejoins bool      `json:"rejoins"`
	InTree  bool      `json:"in_tree"`
}

// Left says how far a leave is.
type Left struct {
	// Waits says that this user goes as soon as a member who stays has all that the user
	// wrote.
	Waits     bool   `json:"waits"`
	Group     string `json:"group"` // full ID
	GroupName string `json:"group_name"`
	// Ended: it was not in the group, and its join is over.
	Ended bool `json:"ended,omitempty"`
}

// ForgetRequest removes the data of a group that this node is out of.
type ForgetRequest struct {
	Group string `path:"group"`
	// DiscardUnsent forgets the group even if own messages are lost that nobody else is
	// known to have.
	DiscardUnsent bool `json:"discard_unsent,omitempty"`
}

// Forgotten counts what is not on this device any more.
type Forgotten struct {
	Group    string `json:"group"`
	Messages int    `json:"messages"`         // that it could show
	Unsent   int    `json:"unsent,omitempty"` // of them, own ones that nobody else is known to have
}

// Healed is the result of a heal.
type Healed struct {
	Did    []string          `json:"did"` // and why not more
	Synced []string          `json:"synced"`
	Failed map[string]string `json:"failed"`          // peer → why
	Found  int               `json:"found"`           // entries that came
	Alone  bool              `json:"alone,omitempty"` // there are other members, and none is connected
}

// WhyRequest asks why something is as it is.
type WhyRequest struct {
	Group   string `path:"group"`
	Subject string `path:"subject"` // "join"; a message: full ID, or a prefix that only one fits; or a file, by that or its name
}

// WhyKind says what an Explanation is about.
type WhyKind string

// Kinds of what is explained.
const (
	WhyJoin    WhyKind = "join"
	WhyMessage WhyKind = "message"
	WhyFile    WhyKind = "file"
)

// Explanation is an answer from the node's own state; of a file also from what connected
// members say that they have.
type Explanation struct {
	Subject string   `json:"subject"` // "join", or the ID of a message or file
	Kind    WhyKind  `json:"kind"`
	State   string   `json:"state"` // of a file a FileState
	Facts   []string `json:"facts"`
	Next    []string `json:"next"` // what will happen by itself, and what helps
}
