package node

import (
	"context"
	"io"

	"github.com/pandanode/pandanode/node/api"
)

var _ api.WithContents = guarded{}

func (g guarded) Status(ctx context.Context, r api.StatusRequest) (api.Status, error) {
	return once(ctx, g, r, g.in.Status)
}

func (g guarded) ID(ctx context.Context, r api.Empty) (api.ID, error) {
	return once(ctx, g, r, g.in.ID)
}

func (g guarded) Rename(ctx context.Context, r api.RenameRequest) (api.ID, error) {
	return once(ctx, g, r, g.in.Rename)
}

func (g guarded) Peers(ctx context.Context, r api.Empty) (api.Peers, error) {
	return once(ctx, g, r, g.in.Peers)
}

func (g guarded) Version(ctx context.Context, r api.Empty) (api.Version, error) {
	return once(ctx, g, r, g.in.Version)
}

func (g guarded) Checkup(ctx context.Context, r api.CheckupRequest) (api.Checkup, error) {
	return once(ctx, g, r, g.in.Checkup)
}

func (g guarded) Unlock(ctx context.Context, r api.UnlockRequest) (api.Empty, error) {
	return once(ctx, g, r, g.in.Unlock)
}

func (g guarded) Shutdown(ctx context.Context, r api.Empty) (api.Empty, error) {
	return once(ctx, g, r, g.in.Shutdown)
}

func (g guarded) Events(ctx context.Context, r api.EventsRequest, emit func(api.Event) error) error {
	return each(ctx, g, r, emit, g.in.Events)
}

func (g guarded) CreateGroup(ctx context.Context, r api.CreateGroupRequest) (api.Group, error) {
	return once(ctx, g, r, g.in.CreateGroup)
}

func (g guarded) Groups(ctx context.Context, r api.Empty) (api.Groups, error) {
	return once(ctx, g, r, g.in.Groups)
}

func (g guarded) Group(ctx context.Context, r api.GroupRequest) (api.Group, error) {
	return once(ctx, g, r, g.in.Group)
}

func (g guarded) Find(ctx context.Context, r api.FindRequest, emit func(api.Found) error) error {
	return each(ctx, g, r, emit, g.in.Find)
}

func (g guarded) Join(ctx context.Context, r api.JoinRequest, emit func(api.JoinUpdate) error) error {
	return each(ctx, g, r, emit, g.in.Join)
}

func (g guarded) Leave(ctx context.Context, r api.GroupRequest) (api.Left, error) {
	return once(ctx, g, r, g.in.Leave)
}

func (g guarded) Forget(ctx context.Context, r api.ForgetRequest) (api.Forgotten, error) {
	return once(ctx, g, r, g.in.Forget)
}

func (g guarded) Reboot(ctx context.Context, r api.GroupRequest) (api.Empty, error) {
	return once(ctx, g, r, g.in.Reboot)
}

func (g guarded) SetProfile(ctx context.Context, r api.ProfileRequest) (api.Group, error) {
	return once(ctx, g, r, g.in.SetProfile)
}

func (g guarded) Set(ctx context.Context, r api.SettingRequest) (api.Group, error) {
	return once(ctx, g, r, g.in.Set)
}

func (g guarded) MarkSeen(ctx context.Context, r api.SeenRequest) (api.Empty, error) {
	return once(ctx, g, r, g.in.MarkSeen)
}

func (g guarded) Members(ctx context.Context, r api.GroupRequest) (api.Members, error) {
	return once(ctx, g, r, g.in.Members)
}

func (g guarded) Remove(ctx context.Context, r api.RemoveRequest) (api.Change, error) {
	return once(ctx, g, r, g.in.Remove)
}

func (g guarded) GroupEvents(ctx context.Context, r api.GroupEventsRequest, emit func(api.Event) error) error {
	return each(ctx, g, r, emit, g.in.GroupEvents)
}

func (g guarded) Entries(ctx context.Context, r api.GroupRequest, emit func(api.Entry) error) error {
	return each(ctx, g, r, emit, g.in.Entries)
}

func (g guarded) CreateInvite(ctx context.Context, r api.CreateInviteRequest) (api.Invite, error) {
	return once(ctx, g, r, g.in.CreateInvite)
}

func (g guarded) Invites(ctx context.Context, r api.GroupRequest) (api.Invites, error) {
	return once(ctx, g, r, g.in.Invites)
}

func (g guarded) RevokeInvite(ctx context.Context, r api.InviteRequest) (api.Change, error) {
	return once(ctx, g, r, g.in.RevokeInvite)
}

func (g guarded) Requests(ctx context.Context, r api.GroupRequest) (api.Requests, error) {
	return once(ctx, g, r, g.in.Requests)
}

func (g guarded) Approve(ctx context.Context, r api.ApproveRequest) (api.Change, error) {
	return once(ctx, g, r, g.in.Approve)
}

func (g guarded) Deny(ctx context.Context, r api.UserRequest) (api.Change, error) {
	return once(ctx, g, r, g.in.Deny)
}

func (g guarded) SetRole(ctx context.Context, r api.RoleRequest) (api.Change, error) {
	return once(ctx, g, r, g.in.SetRole)
}

func (g guarded) Log(ctx context.Context, r api.GroupRequest) (api.Log, error) {
	return once(ctx, g, r, g.in.Log)
}

func (g guarded) Incidents(ctx context.Context, r api.GroupRequest) (api.Incidents, error) {
	return once(ctx, g, r, g.in.Incidents)
}

func (g guarded) GroupStatus(ctx context.Context, r api.GroupRequest) (api.GroupStatus, error) {
	return once(ctx, g, r, g.in.GroupStatus)
}

func (g guarded) Heal(ctx context.Context, r api.GroupRequest) (api.Healed, error) {
	return once(ctx, g, r, g.in.Heal)
}

func (g guarded) Why(ctx context.Context, r api.WhyRequest) (api.Explanation, error) {
	return once(ctx, g, r, g.in.Why)
}

func (g guarded) Mailboxes(ctx context.Context, r api.MailboxesRequest) (api.Mailboxes, error) {
	return once(ctx, g, r, g.in.Mailboxes)
}

func (g guarded) AddMailbox(ctx context.Context, r api.AddMailboxRequest) (api.AddedMailbox, error) {
	return once(ctx, g, r, g.in.AddMailbox)
}

func (g guarded) RemoveMailbox(ctx context.Context, r api.MailboxRequest) (api.Empty, error) {
	return once(ctx, g, r, g.in.RemoveMailbox)
}

func (g guarded) FindMailboxes(ctx context.Context, r api.FindMailboxesRequest, emit func(api.FoundMailbox) error) error {
	return each(ctx, g, r, emit, g.in.FindMailboxes)
}

func (g guarded) Send(ctx context.Context, r api.SendRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.Send)
}

func (g guarded) Delivery(ctx context.Context, r api.DeliveryRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.Delivery)
}

func (g guarded) Message(ctx context.Context, r api.MessageRequest) (api.Message, error) {
	return once(ctx, g, r, g.in.Message)
}

func (g guarded) Edit(ctx context.Context, r api.EditRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.Edit)
}

func (g guarded) Delete(ctx context.Context, r api.MessageRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.Delete)
}

func (g guarded) React(ctx context.Context, r api.ReactionRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.React)
}

func (g guarded) Unreact(ctx context.Context, r api.ReactionRequest) (api.Sent, error) {
	return once(ctx, g, r, g.in.Unreact)
}

func (g guarded) Messages(ctx context.Context, r api.MessagesRequest) (api.Messages, error) {
	return once(ctx, g, r, g.in.Messages)
}

func (g guarded) Tail(ctx context.Context, r api.TailRequest, emit func(api.Message) error) error {
	return each(ctx, g, r, emit, g.in.Tail)
}

func (g guarded) Timeline(ctx context.Context, r api.TimelineRequest, emit func(api.Happening) error) error {
	return each(ctx, g, r, emit, g.in.Timeline)
}

func (g guarded) Envelope(ctx context.Context, r api.EnvelopeRequest) (api.EnvelopeResult, error) {
	return once(ctx, g, r, g.in.Envelope)
}

func (g guarded) MessageEnvelope(ctx context.Context, r api.MessageEnvelopeRequest) (api.Envelope, error) {
	return once(ctx, g, r, g.in.MessageEnvelope)
}

func (g guarded) Read(ctx context.Context, r api.ReadRequest) (api.ReadMark, error) {
	return once(ctx, g, r, g.in.Read)
}

func (g guarded) Search(ctx context.Context, r api.SearchRequest, emit func(api.Message) error) error {
	return each(ctx, g, r, emit, g.in.Search)
}

func (g guarded) Local(ctx context.Context, r api.GroupRequest) (api.Local, error) {
	return once(ctx, g, r, g.in.Local)
}

func (g guarded) SetLocal(ctx context.Context, r api.LocalRequest) (api.Local, error) {
	return once(ctx, g, r, g.in.SetLocal)
}

func (g guarded) Cursors(ctx context.Context, r api.GroupRequest) (api.Cursors, error) {
	return once(ctx, g, r, g.in.Cursors)
}

func (g guarded) Acknowledge(ctx context.Context, r api.AcknowledgeRequest) (api.DurableCursor, error) {
	return once(ctx, g, r, g.in.Acknowledge)
}

func (g guarded) RemoveCursor(ctx context.Context, r api.CursorRequest) (api.DurableCursor, error) {
	return once(ctx, g, r, g.in.RemoveCursor)
}

func (g guarded) People(ctx context.Context, r api.Empty) (api.People, error) {
	return once(ctx, g, r, g.in.People)
}

func (g guarded) Person(ctx context.Context, r api.PersonRequest) (api.Person, error) {
	return once(ctx, g, r, g.in.Person)
}

func (g guarded) SetPerson(ctx context.Context, r api.SetPersonRequest) (api.Person, error) {
	return once(ctx, g, r, g.in.SetPerson)
}

func (g guarded) Verify(ctx context.Context, r api.VerifyRequest) (api.Person, error) {
	return once(ctx, g, r, g.in.Verify)
}

func (g guarded) Unverify(ctx context.Context, r api.PersonRequest) (api.Person, error) {
	return once(ctx, g, r, g.in.Unverify)
}

func (g guarded) Profile(ctx context.Context, r api.Empty) (api.UserProfile, error) {
	return once(ctx, g, r, g.in.Profile)
}

func (g guarded) PutProfile(ctx context.Context, r api.UserProfileRequest) (api.UserProfile, error) {
	return once(ctx, g, r, g.in.PutProfile)
}

func (g guarded) Files(ctx context.Context, r api.FilesRequest) (api.Files, error) {
	return once(ctx, g, r, g.in.Files)
}

func (g guarded) File(ctx context.Context, r api.FileRequest) (api.File, error) {
	return once(ctx, g, r, g.in.File)
}

func (g guarded) FetchFile(ctx context.Context, r api.FetchFileRequest, emit func(api.File) error) error {
	return each(ctx, g, r, emit, g.in.FetchFile)
}

func (g guarded) RemoveFile(ctx context.Context, r api.RemoveFileRequest) (api.File, error) {
	return once(ctx, g, r, g.in.RemoveFile)
}

func (g guarded) PinFile(ctx context.Context, r api.PinFileRequest) (api.File, error) {
	return once(ctx, g, r, g.in.PinFile)
}

func (g guarded) Hooks(ctx context.Context, r api.Empty) (api.Hooks, error) {
	return once(ctx, g, r, g.in.Hooks)
}

func (g guarded) TestHook(ctx context.Context, r api.HookRequest) (api.HookRun, error) {
	return once(ctx, g, r, g.in.TestHook)
}

func (g guarded) ResumeHook(ctx context.Context, r api.HookRequest) (api.Hook, error) {
	return once(ctx, g, r, g.in.ResumeHook)
}

func (g guarded) SkipHook(ctx context.Context, r api.HookRequest) (api.HookSkipped, error) {
	return once(ctx, g, r, g.in.SkipHook)
}

func (g guarded) Backup(ctx context.Context, r api.BackupRequest, emit func(api.BackupPart) error) error {
	return each(ctx, g, r, emit, g.in.Backup)
}

func (g guarded) StoreUsage(ctx context.Context, r api.Empty) (api.StoreUsage, error) {
	return once(ctx, g, r, g.in.StoreUsage)
}

func (g guarded) CheckStore(ctx context.Context, r api.Empty) (api.StoreCheck, error) {
	return once(ctx, g, r, g.in.CheckStore)
}

func (g guarded) CompactStore(ctx context.Context, r api.Empty) (api.Compacted, error) {
	return once(ctx, g, r, g.in.CompactStore)
}

func (g guarded) Relock(ctx context.Context, r api.RelockRequest) (api.Empty, error) {
	return once(ctx, g, r, g.in.Relock)
}

func (g guarded) OpenWeb(ctx context.Context, r api.Empty) (api.WebLogin, error) {
	return once(ctx, g, r, g.in.OpenWeb)
}

func (g guarded) WebSessions(ctx context.Context, r api.Empty) (api.WebSessions, error) {
	return once(ctx, g, r, g.in.WebSessions)
}

func (g guarded) EndWebSession(ctx context.Context, r api.WebSessionRequest) (api.WebSession, error) {
	return once(ctx, g, r, g.in.EndWebSession)
}

func (g guarded) CloseWeb(ctx context.Context, r api.Empty) (api.WebSessions, error) {
	return once(ctx, g, r, g.in.CloseWeb)
}

func (g guarded) Upload(ctx context.Context, r api.UploadRequest, size int64, body io.Reader) (api.File, error) {
	return once(ctx, g, r, func(ctx context.Context, r api.UploadRequest) (api.File, error) {
		return g.in.Upload(ctx, r, size, body)
	})
}

func (g guarded) OpenFile(ctx context.Context, file string) (api.FileContent, error) {
	return once(ctx, g, file, g.in.OpenFile)
}
