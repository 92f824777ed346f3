package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// Client talks to a node. It may be used by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

var _ API = (*Client)(nil)

// NewClient gives a client for the node on this socket. It connects when it is used, to a
// process of this user or of root.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return connect(ctx, socket)
	}
	return &Client{socket, &http.Client{
		Transport: watching{&http.Transport{DialContext: dial, DisableCompression: true}, 5 * time.Second, 10 * time.Second},
		// The node never redirects: status 300 means an ambiguous name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// unreachable says why a request got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e // the socket is another user's
	}
	switch {
	case ctx.Err() != nil:
		return AsError(context.Cause(ctx))
	case errors.Is(err, fs.ErrPermission):
		return Errorf(CodeNotPermitted, "the socket %s belongs to somebody else", c.socket)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(CodeUnavailable, "no node is running: nobody answers on %s", c.socket).WithHint("pandanode run")
	}
	return broken(ctx, err)
}

// Status gives the node's state, or waits for a level.
func (c *Client) Status(ctx context.Context, r StatusRequest) (Status, error) {
	return routeStatus.do(ctx, c, r)
}

// ID says who the node is.
func (c *Client) ID(ctx context.Context, r Empty) (ID, error) { return routeID.do(ctx, c, r) }

// Rename gives this device another name.
func (c *Client) Rename(ctx context.Context, r RenameRequest) (ID, error) {
	return routeRename.do(ctx, c, r)
}

// Peers lists the connected peers.
func (c *Client) Peers(ctx context.Context, r Empty) (Peers, error) { return routePeers.do(ctx, c, r) }

// Checkup has the node look at itself.
func (c *Client) Checkup(ctx context.Context, r CheckupRequest) (Checkup, error) {
	return routeCheckup.do(ctx, c, r)
}

// Version returns the version of the node.
func (c *Client) Version(ctx context.Context, r Empty) (Version, error) {
	return routeVersion.do(ctx, c, r)
}

// Unlock opens the store of a locked node.
func (c *Client) Unlock(ctx context.Context, r UnlockRequest) (Empty, error) {
	return routeUnlock.do(ctx, c, r)
}

// Shutdown stops the node.
func (c *Client) Shutdown(ctx context.Context, r Empty) (Empty, error) {
	return routeShutdown.do(ctx, c, r)
}

// Events streams the events of the node.
func (c *Client) Events(ctx context.Context, r EventsRequest, emit func(Event) error) error {
	return routeEvents.do(ctx, c, r, emit)
}

// CreateGroup founds a group.
func (c *Client) CreateGroup(ctx context.Context, r CreateGroupRequest) (Group, error) {
	return routeCreateGroup.do(ctx, c, r)
}

// Groups lists the node's groups.
func (c *Client) Groups(ctx context.Context, r Empty) (Groups, error) {
	return routeGroups.do(ctx, c, r)
}

// Group shows one group.
func (c *Client) Group(ctx context.Context, r GroupRequest) (Group, error) {
	return routeGroup.do(ctx, c, r)
}

// Find streams groups that fit a name.
func (c *Client) Find(ctx context.Context, r FindRequest, emit func(Found) error) error {
	return routeFind.do(ctx, c, r, emit)
}

// Join asks to be let into a group and streams the stages.
func (c *Client) Join(ctx context.Context, r JoinRequest, emit func(JoinUpdate) error) error {
	return routeJoin.do(ctx, c, r, emit)
}

// Reboot gives a group fresh MLS keys.
func (c *Client) Reboot(ctx context.Context, r GroupRequest) (Empty, error) {
	return routeReboot.do(ctx, c, r)
}

// Forget removes the data of a group that the node is out of, or ends a join.
func (c *Client) Forget(ctx context.Context, r ForgetRequest) (Forgotten, error) {
	return routeForget.do(ctx, c, r)
}

// Leave takes this user out of a group.
func (c *Client) Leave(ctx context.Context, r GroupRequest) (Left, error) {
	return routeLeave.do(ctx, c, r)
}

// Set sets a setting of a group.
func (c *Client) Set(ctx context.Context, r SettingRequest) (Group, error) {
	return routeSet.do(ctx, c, r)
}

// SetProfile changes the profile of a group.
func (c *Client) SetProfile(ctx context.Context, r ProfileRequest) (Group, error) {
	return routeSetProfile.do(ctx, c, r)
}

// MarkSeen says that people have seen a group's messages.
func (c *Client) MarkSeen(ctx context.Context, r SeenRequest) (Empty, error) {
	return routeSeen.do(ctx, c, r)
}

// Timeline streams what people see of a group.
func (c *Client) Timeline(ctx context.Context, r TimelineRequest, emit func(Happening) error) error {
	return routeTimeline.do(ctx, c, r, emit)
}

// Members lists who is in a group.
func (c *Client) Members(ctx context.Context, r GroupRequest) (Members, error) {
	return routeMembers.do(ctx, c, r)
}

// Remove takes a user out of a group.
func (c *Client) Remove(ctx context.Context, r RemoveRequest) (Change, error) {
	return routeRemove.do(ctx, c, r)
}

// Entries streams the signed objects that the members of a group share.
func (c *Client) Entries(ctx context.Context, r GroupRequest, emit func(Entry) error) error {
	return routeEntries.do(ctx, c, r, emit)
}

// GroupEvents streams the events of a group.
func (c *Client) GroupEvents(ctx context.Context, r GroupEventsRequest, emit func(Event) error) error {
	return routeGroupEvents.do(ctx, c, r, emit)
}

// Send sends a message.
func (c *Client) Send(ctx context.Context, r SendRequest) (Sent, error) {
	return routeSend.do(ctx, c, r)
}

// Delivery says how far an own message is, or waits for it.
func (c *Client) Delivery(ctx context.Context, r DeliveryRequest) (Sent, error) {
	return routeDelivery.do(ctx, c, r)
}

// Messages gives a page of messages.
func (c *Client) Messages(ctx context.Context, r MessagesRequest) (Messages, error) {
	return routeMessages.do(ctx, c, r)
}

// Tail streams messages.
func (c *Client) Tail(ctx context.Context, r TailRequest, emit func(Message) error) error {
	return routeTail.do(ctx, c, r, emit)
}

// Message gives one message, with all its versions.
func (c *Client) Message(ctx context.Context, r MessageRequest) (Message, error) {
	return routeMessage.do(ctx, c, r)
}

// Edit writes an own message anew.
func (c *Client) Edit(ctx context.Context, r EditRequest) (Sent, error) {
	return routeEdit.do(ctx, c, r)
}

// Delete takes a message away.
func (c *Client) Delete(ctx context.Context, r MessageRequest) (Sent, error) {
	return routeDelete.do(ctx, c, r)
}

// React reacts to a message.
func (c *Client) React(ctx context.Context, r ReactionRequest) (Sent, error) {
	return routeReact.do(ctx, c, r)
}

// Unreact takes a reaction back.
func (c *Client) Unreact(ctx context.Context, r ReactionRequest) (Sent, error) {
	return routeUnreact.do(ctx, c, r)
}

// Envelope hands an envelope to a group.
func (c *Client) Envelope(ctx context.Context, r EnvelopeRequest) (EnvelopeResult, error) {
	return routeEnvelope.do(ctx, c, r)
}

// MessageEnvelope gives the envelope of a message.
func (c *Client) MessageEnvelope(ctx context.Context, r MessageEnvelopeRequest) (Envelope, error) {
	return routeMessageEnvelope.do(ctx, c, r)
}

// CreateInvite gives out an invite; the answer has its link.
func (c *Client) CreateInvite(ctx context.Context, r CreateInviteRequest) (Invite, error) {
	return routeCreateInvite.do(ctx, c, r)
}

// Invites lists the invites that a group knows of.
func (c *Client) Invites(ctx context.Context, r GroupRequest) (Invites, error) {
	return routeInvites.do(ctx, c, r)
}

// RevokeInvite ends an invite.
func (c *Client) RevokeInvite(ctx context.Context, r InviteRequest) (Change, error) {
	return routeRevokeInvite.do(ctx, c, r)
}

// Requests lists who asks to be let in.
func (c *Client) Requests(ctx context.Context, r GroupRequest) (Requests, error) {
	return routeRequests.do(ctx, c, r)
}

// Approve lets in a user who asked.
func (c *Client) Approve(ctx context.Context, r ApproveRequest) (Change, error) {
	return routeApprove.do(ctx, c, r)
}

// Deny turns down a user who asked.
func (c *Client) Deny(ctx context.Context, r UserRequest) (Change, error) {
	return routeDeny.do(ctx, c, r)
}

// SetRole changes the role of a member.
func (c *Client) SetRole(ctx context.Context, r RoleRequest) (Change, error) {
	return routeSetRole.do(ctx, c, r)
}

// Log lists the operations of a group.
func (c *Client) Log(ctx context.Context, r GroupRequest) (Log, error) {
	return routeLog.do(ctx, c, r)
}

// GroupStatus tells all of a group's state.
func (c *Client) GroupStatus(ctx context.Context, r GroupRequest) (GroupStatus, error) {
	return routeGroupStatus.do(ctx, c, r)
}

// Incidents returns the events of a group that this device saw beside the operations.
func (c *Client) Incidents(ctx context.Context, r GroupRequest) (Incidents, error) {
	return routeIncidents.do(ctx, c, r)
}

// Heal does at once the work that would be due later.
func (c *Client) Heal(ctx context.Context, r GroupRequest) (Healed, error) {
	return routeHeal.do(ctx, c, r)
}

// Why explains a message, a file or a join.
func (c *Client) Why(ctx context.Context, r WhyRequest) (Explanation, error) {
	return routeWhy.do(ctx, c, r)
}

// Backup streams a backup.
func (c *Client) Backup(ctx context.Context, r BackupRequest, emit func(BackupPart) error) error {
	return routeBackup.do(ctx, c, r, emit)
}

// StoreUsage says how much the store holds.
func (c *Client) StoreUsage(ctx context.Context, r Empty) (StoreUsage, error) {
	return routeStoreUsage.do(ctx, c, r)
}

// CheckStore reads the whole store.
func (c *Client) CheckStore(ctx context.Context, r Empty) (StoreCheck, error) {
	return routeCheckStore.do(ctx, c, r)
}

// CompactStore gives space back.
func (c *Client) CompactStore(ctx context.Context, r Empty) (Compacted, error) {
	return routeCompactStore.do(ctx, c, r)
}

// Relock changes what unlocks the store.
func (c *Client) Relock(ctx context.Context, r RelockRequest) (Empty, error) {
	return routeRelock.do(ctx, c, r)
}

// Mailboxes lists the mailboxes of a group.
func (c *Client) Mailboxes(ctx context.Context, r MailboxesRequest) (Mailboxes, error) {
	return routeMailboxes.do(ctx, c, r)
}

// AddMailbox has a group use a mailbox.
func (c *Client) AddMailbox(ctx context.Context, r AddMailboxRequest) (AddedMailbox, error) {
	return routeAddMailbox.do(ctx, c, r)
}

// RemoveMailbox has a group use a mailbox no more.
func (c *Client) RemoveMailbox(ctx context.Context, r MailboxRequest) (Empty, error) {
	return routeRemoveMailbox.do(ctx, c, r)
}

// FindMailboxes streams peers that say they are mailboxes.
func (c *Client) FindMailboxes(ctx context.Context, r FindMailboxesRequest, emit func(FoundMailbox) error) error {
	return routeFindMailboxes.do(ctx, c, r, emit)
}

// OpenWeb has the node serve its page, and gives a link that logs a browser in.
func (c *Client) OpenWeb(ctx context.Context, r Empty) (WebLogin, error) {
	return routeOpenWeb.do(ctx, c, r)
}

// CloseWeb ends every session of the page, and the page.
func (c *Client) CloseWeb(ctx context.Context, r Empty) (WebSessions, error) {
	return routeCloseWeb.do(ctx, c, r)
}

// WebSessions lists the browsers that are logged in.
func (c *Client) WebSessions(ctx context.Context, r Empty) (WebSessions, error) {
	return routeWebSessions.do(ctx, c, r)
}

// EndWebSession logs a browser out.
func (c *Client) EndWebSession(ctx context.Context, r WebSessionRequest) (WebSession, error) {
	return routeEndWebSession.do(ctx, c, r)
}
