package api

import (
	"context"
	"net/http"
	"reflect"
)

// API lists the calls that a node offers on its socket. Errors are or wrap [Error]; others
// reach the caller as CodeInternal. A method that streams calls emit for each item, from
// one goroutine, and returns when the stream ends; an error of emit is returned as it is.
type API interface {
	DeviceAPI
	GroupAPI
	AdminAPI
	MailboxAPI
	MessageAPI
	ReadingAPI
	PeopleAPI
	FileAPI
	HookAPI
	Store
	WebAPI
}

// DeviceAPI is the node itself.
type DeviceAPI interface {
	Status(context.Context, StatusRequest) (Status, error)
	ID(context.Context, Empty) (ID, error)
	Rename(context.Context, RenameRequest) (ID, error)
	Peers(context.Context, Empty) (Peers, error)
	Version(context.Context, Empty) (Version, error)
	Checkup(context.Context, CheckupRequest) (Checkup, error)
	// Unlock opens the store of a locked node with its passphrase, and answers when the store is
	// open. A node that is not locked answers CodeConflict.
	Unlock(context.Context, UnlockRequest) (Empty, error)
	// Shutdown answers and then stops the node.
	Shutdown(context.Context, Empty) (Empty, error)
	Events(ctx context.Context, r EventsRequest, emit func(Event) error) error
}

// GroupAPI is groups as their members use them, and the ways into one and out.
type GroupAPI interface {
	CreateGroup(context.Context, CreateGroupRequest) (Group, error)
	Groups(context.Context, Empty) (Groups, error)
	Group(context.Context, GroupRequest) (Group, error)
	Find(ctx context.Context, r FindRequest, emit func(Found) error) error
	Join(ctx context.Context, r JoinRequest, emit func(JoinUpdate) error) error
	Leave(context.Context, GroupRequest) (Left, error)
	Forget(context.Context, ForgetRequest) (Forgotten, error)
	Reboot(context.Context, GroupRequest) (Empty, error)
	SetProfile(context.Context, ProfileRequest) (Group, error)
	Set(context.Context, SettingRequest) (Group, error)
	MarkSeen(context.Context, SeenRequest) (Empty, error)
	Members(context.Context, GroupRequest) (Members, error)
	Remove(context.Context, RemoveRequest) (Change, error)
	GroupEvents(ctx context.Context, r GroupEventsRequest, emit func(Event) error) error
	// Entries gives the genesis and the entries of a group, in causal order.
	Entries(ctx context.Context, r GroupRequest, emit func(Entry) error) error
}

// AdminAPI has the calls about invites, requests, roles and the state of a group.
type AdminAPI interface {
	CreateInvite(context.Context, CreateInviteRequest) (Invite, error)
	Invites(context.Context, GroupRequest) (Invites, error)
	RevokeInvite(context.Context, InviteRequest) (Change, error)
	Requests(context.Context, GroupRequest) (Requests, error)
	Approve(context.Context, ApproveRequest) (Change, error)
	Deny(context.Context, UserRequest) (Change, error)
	SetRole(context.Context, RoleRequest) (Change, error)
	Log(context.Context, GroupRequest) (Log, error)
	Incidents(context.Context, GroupRequest) (Incidents, error)
	GroupStatus(context.Context, GroupRequest) (GroupStatus, error)
	Heal(context.Context, GroupRequest) (Healed, error)
	Why(context.Context, WhyRequest) (Explanation, error)
}

// MailboxAPI is the mailboxes of groups.
type MailboxAPI interface {
	Mailboxes(context.Context, MailboxesRequest) (Mailboxes, error)
	AddMailbox(context.Context, AddMailboxRequest) (AddedMailbox, error)
	RemoveMailbox(context.Context, MailboxRequest) (Empty, error)
	FindMailboxes(ctx context.Context, r FindMailboxesRequest, emit func(FoundMailbox) error) error
}

// MessageAPI has the calls about messages.
type MessageAPI interface {
	Send(context.Context, SendRequest) (Sent, error)
	Delivery(context.Context, DeliveryRequest) (Sent, error)
	Message(context.Context, MessageRequest) (Message, error)
	Edit(context.Context, EditRequest) (Sent, error)
	Delete(context.Context, MessageRequest) (Sent, error)
	React(context.Context, ReactionRequest) (Sent, error)
	Unreact(context.Context, ReactionRequest) (Sent, error)
	Messages(context.Context, MessagesRequest) (Messages, error)
	Tail(ctx context.Context, r TailRequest, emit func(Message) error) error
	Timeline(ctx context.Context, r TimelineRequest, emit func(Happening) error) error

	Envelope(context.Context, EnvelopeRequest) (EnvelopeResult, error)
	MessageEnvelope(context.Context, MessageEnvelopeRequest) (Envelope, error)
}

// ReadingAPI is what people have read. It stays on this device.
type ReadingAPI interface {
	// Read moves the read mark of a group. It never goes back.
	Read(context.Context, ReadRequest) (ReadMark, error)
	Search(ctx context.Context, r SearchRequest, emit func(Message) error) error
	Local(context.Context, GroupRequest) (Local, error)
	SetLocal(context.Context, LocalRequest) (Local, error)

	Cursors(context.Context, GroupRequest) (Cursors, error)
	Acknowledge(context.Context, AcknowledgeRequest) (DurableCursor, error)
	RemoveCursor(context.Context, CursorRequest) (DurableCursor, error)
}

// HookAPI is the hooks of the configuration. No call changes them: that is for the owner of its
// file.
type HookAPI interface {
	Hooks(context.Context, Empty) (Hooks, error)
	TestHook(context.Context, HookRequest) (HookRun, error)
	ResumeHook(context.Context, HookRequest) (Hook, error)
	SkipHook(context.Context, HookRequest) (HookSkipped, error)
}

// PeopleAPI is what people of this node keep of other users, for themselves alone. Nobody else
// is told, and nothing of it travels.
type PeopleAPI interface {
	// People lists the users of whom something is kept.
	People(context.Context, Empty) (People, error)
	// Person gives one user, with what is compared to verify it.
	Person(context.Context, PersonRequest) (Person, error)
	SetPerson(context.Context, SetPersonRequest) (Person, error)
	// Verify marks a user as verified, if what the other side shows is right: else CodeVerification.
	Verify(context.Context, VerifyRequest) (Person, error)
	Unverify(context.Context, PersonRequest) (Person, error)
	// Profile is what this node's user says of itself.
	Profile(context.Context, Empty) (UserProfile, error)
	PutProfile(context.Context, UserProfileRequest) (UserProfile, error)
}

// Areas is an API of which each area is answered by a value of its own.
type Areas struct {
	DeviceAPI
	GroupAPI
	AdminAPI
	MailboxAPI
	MessageAPI
	ReadingAPI
	PeopleAPI
	FileAPI
	HookAPI
	Contents
	Store
	WebAPI
}

var _ WithContents = Areas{}

// The routes. Each is used by the client and by Handler, and by nothing else.
var (
	routeStatus   = call[StatusRequest, Status]{http.MethodGet, "/v1/status"}
	routeID       = call[Empty, ID]{http.MethodGet, "/v1/id"}
	routeRename   = call[RenameRequest, ID]{http.MethodPost, "/v1/id/name"}
	routePeers    = call[Empty, Peers]{http.MethodGet, "/v1/peers"}
	routeVersion  = call[Empty, Version]{http.MethodGet, "/v1/version"}
	routeCheckup  = call[CheckupRequest, Checkup]{http.MethodGet, "/v1/checkup"}
	routeUnlock   = call[UnlockRequest, Empty]{http.MethodPost, "/v1/unlock"}
	routeShutdown = call[Empty, Empty]{http.MethodPost, "/v1/shutdown"}
	routeEvents   = stream[EventsRequest, Event]{http.MethodGet, "/v1/events"}

	routeCreateGroup = call[CreateGroupRequest, Group]{http.MethodPost, "/v1/groups"}
	routeGroups      = call[Empty, Groups]{http.MethodGet, "/v1/groups"}
	routeGroup       = call[GroupRequest, Group]{http.MethodGet, "/v1/groups/{group}"}
	routeFind        = stream[FindRequest, Found]{http.MethodGet, "/v1/find"}
	routeJoin        = stream[JoinRequest, JoinUpdate]{http.MethodPost, "/v1/join"}
	routeLeave       = call[GroupRequest, Left]{http.MethodPost, "/v1/groups/{group}/leave"}
	routeForget      = call[ForgetRequest, Forgotten]{http.MethodPost, "/v1/groups/{group}/forget"}
	routeReboot      = call[GroupRequest, Empty]{http.MethodPost, "/v1/groups/{group}/reboot"}
	routeSetProfile  = call[ProfileRequest, Group]{http.MethodPost, "/v1/groups/{group}/profile"}
	routeSet         = call[SettingRequest, Group]{http.MethodPut, "/v1/groups/{group}/settings/{key}"}
	routeSeen        = call[SeenRequest, Empty]{http.MethodPost, "/v1/groups/{group}/seen"}
	routeMembers     = call[GroupRequest, Members]{http.MethodGet, "/v1/groups/{group}/members"}
	routeRemove      = call[RemoveRequest, Change]{http.MethodDelete, "/v1/groups/{group}/members/{user}"}
	routeGroupEvents = stream[GroupEventsRequest, Event]{http.MethodGet, "/v1/groups/{group}/events"}
	routeEntries     = stream[GroupRequest, Entry]{http.MethodGet, "/v1/groups/{group}/entries"}

	routeCreateInvite = call[CreateInviteRequest, Invite]{http.MethodPost, "/v1/groups/{group}/invites"}
	routeInvites      = call[GroupRequest, Invites]{http.MethodGet, "/v1/groups/{group}/invites"}
	routeRevokeInvite = call[InviteRequest, Change]{http.MethodDelete, "/v1/groups/{group}/invites/{invite}"}
	routeRequests     = call[GroupRequest, Requests]{http.MethodGet, "/v1/groups/{group}/requests"}
	routeApprove      = call[ApproveRequest, Change]{http.MethodPost, "/v1/groups/{group}/requests/{user}/approve"}
	routeDeny         = call[UserRequest, Change]{http.MethodPost, "/v1/groups/{group}/requests/{user}/deny"}
	routeSetRole      = call[RoleRequest, Change]{http.MethodPost, "/v1/groups/{group}/members/{user}/role"}
	routeLog          = call[GroupRequest, Log]{http.MethodGet, "/v1/groups/{group}/log"}
	routeIncidents    = call[GroupRequest, Incidents]{http.MethodGet, "/v1/groups/{group}/incidents"}
	routeGroupStatus  = call[GroupRequest, GroupStatus]{http.MethodGet, "/v1/groups/{group}/status"}
	routeHeal         = call[GroupRequest, Healed]{http.MethodPost, "/v1/groups/{group}/heal"}
	routeWhy          = call[WhyRequest, Explanation]{http.MethodGet, "/v1/groups/{group}/why/{subject}"}

	routeMailboxes     = call[MailboxesRequest, Mailboxes]{http.MethodGet, "/v1/groups/{group}/mailboxes"}
	routeAddMailbox    = call[AddMailboxRequest, AddedMailbox]{http.MethodPost, "/v1/groups/{group}/mailboxes"}
	routeRemoveMailbox = call[MailboxRequest, Empty]{http.MethodDelete, "/v1/groups/{group}/mailboxes/{peer}"}
	routeFindMailboxes = stream[FindMailboxesRequest, FoundMailbox]{http.MethodGet, "/v1/mailboxes"}

	routeSend     = call[SendRequest, Sent]{http.MethodPost, "/v1/groups/{group}/messages"}
	routeDelivery = call[DeliveryRequest, Sent]{http.MethodGet, "/v1/groups/{group}/messages/{message}/delivery"}
	routeMessage  = call[MessageRequest, Message]{http.MethodGet, "/v1/groups/{group}/messages/{message}"}
	routeEdit     = call[EditRequest, Sent]{http.MethodPut, "/v1/groups/{group}/messages/{message}"}
	routeDelete   = call[MessageRequest, Sent]{http.MethodDelete, "/v1/groups/{group}/messages/{message}"}
	routeReact    = call[ReactionRequest, Sent]{http.MethodPut, "/v1/groups/{group}/messages/{message}/reactions/{text}"}
	routeUnreact  = call[ReactionRequest, Sent]{http.MethodDelete, "/v1/groups/{group}/messages/{message}/reactions/{text}"}
	routeMessages = call[MessagesRequest, Messages]{http.MethodGet, "/v1/groups/{group}/messages"}
	routeTail     = stream[TailRequest, Message]{http.MethodGet, "/v1/groups/{group}/tail"}
	routeTimeline = stream[TimelineRequest, Happening]{http.MethodGet, "/v1/groups/{group}/timeline"}

	routeRead   = call[ReadRequest, ReadMark]{http.MethodPut, "/v1/groups/{group}/read"}
	routeSearch = stream[SearchRequest, Message]{http.MethodGet, "/v1/groups/{group}/search"}

	routeLocal    = call[GroupRequest, Local]{http.MethodGet, "/v1/groups/{group}/local"}
	routeSetLocal = call[LocalRequest, Local]{http.MethodPut, "/v1/groups/{group}/local"}

	routeCursors      = call[GroupRequest, Cursors]{http.MethodGet, "/v1/groups/{group}/cursors"}
	routeAcknowledge  = call[AcknowledgeRequest, DurableCursor]{http.MethodPut, "/v1/groups/{group}/cursors/{name}"}
	routeRemoveCursor = call[CursorRequest, DurableCursor]{http.MethodDelete, "/v1/groups/{group}/cursors/{name}"}

	routeProfile    = call[Empty, UserProfile]{http.MethodGet, "/v1/profile"}
	routePutProfile = call[UserProfileRequest, UserProfile]{http.MethodPut, "/v1/profile"}
	routePeople     = call[Empty, People]{http.MethodGet, "/v1/people"}
	routePerson     = call[PersonRequest, Person]{http.MethodGet, "/v1/people/{user}"}
	routeSetPerson  = call[SetPersonRequest, Person]{http.MethodPut, "/v1/people/{user}"}
	routeVerify     = call[VerifyRequest, Person]{http.MethodPost, "/v1/people/{user}/verified"}
	routeUnverify   = call[PersonRequest, Person]{http.MethodDelete, "/v1/people/{user}/verified"}

	routeEnvelope        = call[EnvelopeRequest, EnvelopeResult]{http.MethodPost, "/v1/groups/{group}/envelopes"}
	routeMessageEnvelope = call[MessageEnvelopeRequest, Envelope]{http.MethodGet, "/v1/groups/{group}/messages/{message}/envelope"}

	routeFiles      = call[FilesRequest, Files]{http.MethodGet, "/v1/files"}
	routeFile       = call[FileRequest, File]{http.MethodGet, "/v1/files/{file}"}
	routeFetchFile  = stream[FetchFileRequest, File]{http.MethodPost, "/v1/files/{file}/fetch"}
	routeRemoveFile = call[RemoveFileRequest, File]{http.MethodDelete, "/v1/files/{file}"}
	routePinFile    = call[PinFileRequest, File]{http.MethodPut, "/v1/files/{file}/pin"}

	routeHooks      = call[Empty, Hooks]{http.MethodGet, "/v1/hooks"}
	routeTestHook   = call[HookRequest, HookRun]{http.MethodPost, "/v1/hooks/{hook}/test"}
	routeResumeHook = call[HookRequest, Hook]{http.MethodPost, "/v1/hooks/{hook}/resume"}
	routeSkipHook   = call[HookRequest, HookSkipped]{http.MethodPost, "/v1/hooks/{hook}/skip"}

	routeBackup       = stream[BackupRequest, BackupPart]{http.MethodPost, "/v1/store/backup"}
	routeStoreUsage   = call[Empty, StoreUsage]{http.MethodGet, "/v1/store"}
	routeCheckStore   = call[Empty, StoreCheck]{http.MethodPost, "/v1/store/check"}
	routeCompactStore = call[Empty, Compacted]{http.MethodPost, "/v1/store/compact"}
	routeRelock       = call[RelockRequest, Empty]{http.MethodPost, "/v1/store/lock"}

	routeOpenWeb       = call[Empty, WebLogin]{http.MethodPost, "/v1/web"}
	routeCloseWeb      = call[Empty, WebSessions]{http.MethodDelete, "/v1/web"}
	routeWebSessions   = call[Empty, WebSessions]{http.MethodGet, "/v1/web/sessions"}
	routeEndWebSession = call[WebSessionRequest, WebSession]{http.MethodDelete, "/v1/web/sessions/{session}"}
)

// Route is one line of the table of routes.
type Route struct {
	Method   string
	Path     string // with {field} for the fields of Request tagged `path`
	Request  reflect.Type
	Response reflect.Type // of each item, if Stream
	Stream   bool
}

type binding struct {
	Route
	bind func(API) http.HandlerFunc
}

// table binds every route to the method that answers it.
var table = []binding{
	routeStatus.with(API.Status),
	routeID.with(API.ID),
	routeRename.with(API.Rename),
	routePeers.with(API.Peers),
	routeVersion.with(API.Version),
	routeCheckup.with(API.Checkup),
	routeUnlock.with(API.Unlock),
	routeShutdown.with(API.Shutdown),
	routeEvents.with(API.Events),
	routeCreateGroup.with(API.CreateGroup),
	routeGroups.with(API.Groups),
	routeGroup.with(API.Group),
	routeFind.with(API.Find),
	routeJoin.with(API.Join),
	routeLeave.with(API.Leave),
	routeForget.with(API.Forget),
	routeReboot.with(API.Reboot),
	routeSetProfile.with(API.SetProfile),
	routeSet.with(API.Set),
	routeSeen.with(API.MarkSeen),
	routeMembers.with(API.Members),
	routeRemove.with(API.Remove),
	routeGroupEvents.with(API.GroupEvents),
	routeEntries.with(API.Entries),
	routeCreateInvite.with(API.CreateInvite),
	routeInvites.with(API.Invites),
	routeRevokeInvite.with(API.RevokeInvite),
	routeRequests.with(API.Requests),
	routeApprove.with(API.Approve),
	routeDeny.with(API.Deny),
	routeSetRole.with(API.SetRole),
	routeLog.with(API.Log),
	routeIncidents.with(API.Incidents),
	routeGroupStatus.with(API.GroupStatus),
	routeHeal.with(API.Heal),
	routeWhy.with(API.Why),
	routeMailboxes.with(API.Mailboxes),
	routeAddMailbox.with(API.AddMailbox),
	routeRemoveMailbox.with(API.RemoveMailbox),
	routeFindMailboxes.with(API.FindMailboxes),
	routeSend.with(API.Send),
	routeDelivery.with(API.Delivery),
	routeMessage.with(API.Message),
	routeEdit.with(API.Edit),
	routeDelete.with(API.Delete),
	routeReact.with(API.React),
	routeUnreact.with(API.Unreact),
	routeMessages.with(API.Messages),
	routeTail.with(API.Tail),
	routeTimeline.with(API.Timeline),
	routeRead.with(API.Read),
	routeSearch.with(API.Search),
	routeLocal.with(API.Local),
	routeSetLocal.with(API.SetLocal),
	routeCursors.with(API.Cursors),
	routeAcknowledge.with(API.Acknowledge),
	routeRemoveCursor.with(API.RemoveCursor),
	routePeople.with(API.People),
	routeProfile.with(API.Profile),
	routePutProfile.with(API.PutProfile),
	routePerson.with(API.Person),
	routeSetPerson.with(API.SetPerson),
	routeVerify.with(API.Verify),
	routeUnverify.with(API.Unverify),
	routeEnvelope.with(API.Envelope),
	routeMessageEnvelope.with(API.MessageEnvelope),
	routeFiles.with(API.Files),
	routeFile.with(API.File),
	routeFetchFile.with(API.FetchFile),
	routeRemoveFile.with(API.RemoveFile),
	routePinFile.with(API.PinFile),
	routeHooks.with(API.Hooks),
	routeTestHook.with(API.TestHook),
	routeResumeHook.with(API.ResumeHook),
	routeSkipHook.with(API.SkipHook),
	routeBackup.with(API.Backup),
	routeStoreUsage.with(API.StoreUsage),
	routeCheckStore.with(API.CheckStore),
	routeCompactStore.with(API.CompactStore),
	routeRelock.with(API.Relock),
	routeOpenWeb.with(API.OpenWeb),
	routeCloseWeb.with(API.CloseWeb),
	routeWebSessions.with(API.WebSessions),
	routeEndWebSession.with(API.EndWebSession),
}

// Routes gives the table of routes.
func Routes() []Route {
	out := make([]Route, len(table))
	for i, r := range table {
		out[i] = r.Route
	}
	return out
}
