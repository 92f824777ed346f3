package api

import "time"

// Policy says how people get into a group.
type Policy string

// Policies.
const (
	PolicyOpen    Policy = "open"    // any member lets in a user who asks
	PolicyRequest Policy = "request" // an admin approves
	PolicyInvite  Policy = "invite"  // an invite signed by an admin
)

// Policies lists the policies.
var Policies = []Policy{PolicyOpen, PolicyRequest, PolicyInvite}

// GroupState says where this device stands in a group.
type GroupState string

// States of a group on this device.
const (
	StateLoading GroupState = "loading" // the stored state is being loaded; a status alone does not wait for it
	StateJoining GroupState = "joining" // asked, not welcomed yet
	StateSyncing GroupState = "syncing" // welcomed, but behind
	StateMember  GroupState = "member"
	StateOut     GroupState = "out"     // removed, or left
	StateRefused GroupState = "refused" // the join has ended with a no; Missing says why
)

// CreateGroupRequest founds a group with this user as its owner.
type CreateGroupRequest struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Policy      Policy   `json:"policy"`
	Private     bool     `json:"private,omitempty"` // not published: found by invite only
}

// GroupRequest names a group.
type GroupRequest struct {
	Group string `path:"group"`
}

// Groups lists the groups of this node.
type Groups struct {
	Groups []Group `json:"groups"`
}

// Group is a group as this device sees it.
type Group struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Policy      Policy   `json:"policy"`

	Settings map[string]string `json:"settings,omitempty"` // what owners and admins set; some keys may be of newer programs

	Private       bool       `json:"private"`
	Created       time.Time  `json:"created"`
	State         GroupState `json:"state"`
	Missing       string     `json:"missing,omitempty"`    // why it is not synced, for people
	KnownAsOf     time.Time  `json:"known_as_of,omitzero"` // when all that a member, or a mailbox, knew of it was last here; zero: nobody was met, as far as is kept
	Leaving       bool       `json:"leaving,omitempty"`    // this user goes once a member who stays has all that the user wrote
	Left          bool       `json:"left,omitempty"`       // out by this user's own word
	Active        time.Time  `json:"active,omitzero"`      // when something that people see last happened here; if nothing did, when the group was founded
	Unseen        int        `json:"unseen"`               // Unread, at most 100
	Read          uint64     `json:"read"`                 // the read mark: the cursor up to which people have read it
	Unread        int        `json:"unread_count"`         // messages of others after the mark, at most 1000; edits and reactions make none unread
	Mentions      int        `json:"mention_count"`        // of them, those that mention this user
	Muted         bool       `json:"muted,omitempty"`      // its people want to hear of it only where it mentions them; see Local
	Pinned        bool       `json:"pinned,omitempty"`     // its people want it first in lists
	Role          string     `json:"role,omitempty"`       // of this user
	Members       int        `json:"members"`
	Epoch         uint64     `json:"epoch"` // MLS epoch number
	EpochID       string     `json:"epoch_id,omitempty"`
	Authenticator string     `json:"epoch_authenticator,omitempty"` // hex; RFC 9420, Section 8.7
	TreeHash      string     `json:"tree_hash,omitempty"`           // hex
	Topic         string     `json:"topic,omitempty"`
	Published     bool       `json:"published"`   // its record is in the DHT
	TopicPeers    int        `json:"topic_peers"` // connected peers on its topic
	Mailboxes     int        `json:"mailboxes"`   // that keep its envelopes
	Cursor        uint64     `json:"cursor"`      // of its newest event
	Outbox        int        `json:"outbox"`      // own messages not published yet
	Gaps          int        `json:"gaps"`        // messages known but not readable yet
	Parked        int        `json:"parked"`      // entries that wait for entries of their past
	Entries       int        `json:"entries"`
}

// FindRequest looks for groups by name, everywhere at once. The answer is a stream that has
// each result as soon as it is known.
type FindRequest struct {
	Name       string    `query:"name"` // words of the name, with * for any letters; a full group ID finds just that group
	Tag        string    `query:"tag"`  // that the group must have
	MinMembers uint64    `query:"min_members"`
	MaxMembers uint64    `query:"max_members"` // 0: any number
	After      time.Time `query:"after"`       // founded then or later
	Limit      int       `query:"limit"`       // 0: 20
	Timeout    Duration  `query:"timeout"`     // 0: 10 s. When it is over the stream ends without an error
	Ranked     bool      `query:"ranked"`      // wait until all were asked, and give each group once, those with the most votes first
}

// Found is one result of a search. The same group may be found again through
// another source.
type Found struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Tags        []string  `json:"tags,omitempty"`
	Policy      Policy    `json:"policy"`
	Members     int       `json:"members"` // as its owner or an admin says, rounded
	Created     time.Time `json:"created"` // as its founder says
	Source      Source    `json:"source"`
	Peer        string    `json:"peer,omitempty"`   // that answered
	Verified    bool      `json:"verified"`         // every signature of the record holds
	Claims      []string  `json:"claims,omitempty"` // fields that nobody but the group itself vouches for
	Votes       float64   `json:"votes,omitempty"`  // of a ranked search: how many places tell of it; one that tells of several groups shares its vote among them
	Sources     []Source  `json:"sources,omitempty"`
}

// Stage is how far a join has come.
type Stage string

// Stages of a join, in their order; a stuck join repeats one with another Detail.
const (
	StageLookingUp  Stage = "looking-up"         // the group's record and members
	StageContacting Stage = "contacting"         // dialling members
	StageWaiting    Stage = "waiting-for-member" // a member has the request
	StageWelcomed   Stage = "welcomed"           // in the group, catching up
	StageSynced     Stage = "synced"             // caught up with a member
)

// Stages lists the stages in their order.
var Stages = []Stage{StageLookingUp, StageContacting, StageWaiting, StageWelcomed, StageSynced}

// JoinRequest asks to be let into a group. Once the first stage is streamed the
// request is durable and the node keeps trying, also after a restart and when the
// caller has hung up. Joining a group one is in streams StageSynced.
type JoinRequest struct {
	Group string `json:"group,omitempty"` // full ID, or a name or prefix of a group that this node is joining already
	Link  string `json:"link,omitempty"`  // an invite link, in place of Group: a secret
	Until Stage  `json:"until,omitempty"` // the stream ends when it is reached; empty: at once
}

// JoinUpdate is one stage of a join.
type JoinUpdate struct {
	Group  string    `json:"group"` // full ID
	Stage  Stage     `json:"stage"`
	Detail string    `json:"detail,omitempty"` // whom it asks, or why it is stuck
	At     time.Time `json:"at"`
}

// Members lists the users in a group.
type Members struct {
	Members []Member `json:"members"`

	// Known are users of any group who were verified or have a petname, each by all its names: a
	// name that looks like one of these is somebody else's.
	Known []Candidate `json:"known,omitempty"`
}

// Member is one user of a group.
type Member struct {
	User    string    `json:"user"`
	Name    string    `json:"name"` // the petname, or else that of its profile, or of its first device
	Role    string    `json:"role"`
	Self    bool      `json:"self"`
	Devices []string  `json:"devices"`
	Since   time.Time `json:"since"`
	InTree  bool      `json:"in_tree"` // every device can read messages that are sealed now

	OwnName  string   `json:"own_name,omitempty"`    // as it calls itself, if it has a petname
	About    string   `json:"about,omitempty"`       // what its profile says about it
	Verified bool     `json:"verified,omitempty"`    // see [Person]
	Blocked  bool     `json:"blocked,omitempty"`     // its messages are hidden here
	Doubt    string   `json:"doubt,omitempty"`       // why its name could be taken for another's
	New      []string `json:"new_devices,omitempty"` // devices that it got after it was verified
}

// ProfileRequest changes the profile of a group, by an owner or admin. Fields that are nil
// stay as they are.
type ProfileRequest struct {
	Group       string    `path:"group"`
	Name        *string   `json:"name,omitempty"`
	Description *string   `json:"description,omitempty"` // empty: none
	Tags        *[]string `json:"tags,omitempty"`        // in place of those before
}

// Settings of a group that a node follows.
const (
	SettingExpiry   = "expiry"    // how long messages stay
	SettingFilesMax = "files.max" // the largest file that may be sent
	SettingHistory  = "history"   // what newcomers are shown of before
)

// Settings lists them.
var Settings = []string{SettingExpiry, SettingFilesMax, SettingHistory}

// SettingRequest sets a setting of the group, which every member follows: "expiry" is how
// long messages stay, such as "30d"; "files.max" the largest file that may be sent, such as
// "50MiB"; "history" how much newcomers are shown of before: "none", "all" or a number. Of two who speak at once the later one's word holds.
type SettingRequest struct {
	Group string `path:"group"`
	Key   string `path:"key"`
	Value string `json:"value"` // empty: it is not set any more
}

// SeenRequest is ReadRequest as it was called before.
type SeenRequest struct {
	Group  string `path:"group"`
	Cursor uint64 `json:"cursor"`
}

// RemoveRequest takes a user out of a group.
type RemoveRequest struct {
	Group string `path:"group"`
	User  string `path:"user"`
}
