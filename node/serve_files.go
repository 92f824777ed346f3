package node

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

type fileRoutes struct{ routes }

// Upload seals a file for a message that names it.
func (s fileRoutes) Upload(ctx context.Context, r api.UploadRequest, size int64, body io.Reader) (api.File, error) {
	if r.Group != "" {
		id, err := s.resolve(ctx, r.Group)
		if err != nil {
			return api.File{}, err
		}
		rules, err := s.n.rules(ctx, id)
		if err == nil {
			err = rules.checkFile(r.Name, size)
		}
		if err != nil {
			return api.File{}, APIError(err)
		}
	}
	f, err := s.n.files.stage(ctx, newFile{r.Name, r.MediaType, size, r.KeepMetadata}, body)
	if err != nil {
		return api.File{}, APIError(err)
	}
	return s.n.files.api(f), nil
}

// OpenFile opens a file that is here.
func (s fileRoutes) OpenFile(ctx context.Context, file string) (api.FileContent, error) {
	id, err := s.n.files.resolve(file)
	if err != nil {
		return api.FileContent{}, err
	}
	if s.n.hiddenFile(ctx, id) {
		return api.FileContent{}, APIError(errNoFile)
	}
	f, err := s.n.files.open(id)
	if err != nil {
		return api.FileContent{}, APIError(err)
	}
	return api.FileContent{ReadSeeker: f.SectionReader, File: s.n.files.api(f.file), Close: f.close}, nil
}

// hiddenFile says whether all messages that name a file are hidden, since their authors are
// blocked, or somebody deleted them: it is kept as they are, as long as it can turn out that
// nobody had the right to.
func (n *Node) hiddenFile(ctx context.Context, id wire.Hash) bool {
	return n.ofAllUses(ctx, id, func(j group.Journal, m wire.MessageID) bool { return j.Taken(m) })
}

// blockedFile says whether the authors of all messages that name a file are blocked.
func (n *Node) blockedFile(ctx context.Context, id wire.Hash) bool {
	return n.ofAllUses(ctx, id, func(j group.Journal, m wire.MessageID) bool { return n.people.hides(j.By(m)) })
}

// ofAllUses says whether something is so of all messages that name a file, or it is not known.
func (n *Node) ofAllUses(ctx context.Context, id wire.Hash, is func(group.Journal, wire.MessageID) bool) bool {
	var uses []fileUse
	n.files.mu.Lock()
	if f := n.files.all[id]; f != nil {
		uses = slices.Collect(maps.Keys(f.uses))
	}
	n.files.mu.Unlock()
	for _, use := range uses {
		taken := false
		if g := n.groups.get(use.group); g != nil {
			if err := g.loop.look(ctx, func(m *group.Machine) error {
				taken = is(n.groups.journal(m), use.message)
				return nil
			}); err != nil {
				return true // it is not known
			}
		}
		if !taken {
			return false
		}
	}
	return len(uses) > 0
}

// Files lists the files that messages name, the newest first.
func (s fileRoutes) Files(ctx context.Context, r api.FilesRequest) (api.Files, error) {
	t := s.n.files
	out := api.Files{Files: []api.File{}, Quota: t.cfg.Quota, Max: t.cfg.Max}
	var in wire.GroupID
	if r.Group != "" {
		var err error
		if in, err = s.resolve(ctx, r.Group); err != nil {
			return api.Files{}, err
		}
		rules, err := s.n.rules(ctx, in)
		if err != nil {
			return api.Files{}, APIError(err)
		}
		out.GroupMax = rules.fileMax
	}
	for _, id := range t.ids() {
		hidden := s.n.hiddenFile(ctx, id)
		t.mu.Lock()
		f := t.all[id]
		if f == nil {
			t.mu.Unlock()
			continue
		}
		if f.row.Path != "" {
			out.Taken += blob.Room(f.length)
		}
		inGroup := r.Group == ""
		for use := range f.uses {
			inGroup = inGroup || use.group == in
		}
		if inGroup && !hidden {
			out.Files = append(out.Files, t.apiOf(f, true))
		}
		t.mu.Unlock()
	}
	slices.SortFunc(out.Files, func(a, b api.File) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return compareText(a.ID, b.ID)
	})
	return out, nil
}

func (t *fileTable) ids() []wire.Hash {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.all))
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// File tells of one file.
func (s fileRoutes) File(ctx context.Context, r api.FileRequest) (api.File, error) {
	id, err := s.n.files.resolve(r.File)
	if err != nil {
		return api.File{}, err
	}
	if s.n.hiddenFile(ctx, id) {
		return api.File{}, APIError(errNoFile)
	}
	out, err := s.n.files.one(id)
	if err == nil && r.Holders {
		out.Holders = s.n.holders(ctx, id)
	}
	return out, APIError(err)
}

// FetchFile fetches a file, and tells how far that is, at most a few times a second.
func (s fileRoutes) FetchFile(ctx context.Context, r api.FetchFileRequest, emit func(api.File) error) error {
	t := s.n.files
	id, err := t.resolve(r.File)
	if err != nil {
		return err
	}
	if s.n.hiddenFile(ctx, id) {
		return APIError(errNoFile)
	}
	if err := t.want(id); err != nil {
		return APIError(err)
	}
	return streamed(emit, func(emit func(api.File) error) error {
		var last api.File
		for {
			changed := t.changed.wait()
			f, err := t.one(id)
			if err != nil {
				return err
			}
			if f.Have != last.Have || f.State != last.State || f.Why != last.Why || last.ID == "" {
				if err := emit(f); err != nil {
					return err
				}
				last = f
			}
			switch {
			case f.State == api.FileFaulty:
				return fmt.Errorf("%w: %s", blob.ErrSealed, f.Why)
			case f.State == api.FileHere && !f.Wanted:
				return nil
			case !f.Wanted:
				return fmt.Errorf("%w: it was removed meanwhile", errAway)
			}
			const step = 200 * time.Millisecond
			select {
			case <-changed:
				select {
				case <-time.After(step):
				case <-ctx.Done():
					return ctx.Err()
				}
			case <-time.After(2 * time.Second): // why it does not come may change alone
			case <-ctx.Done():
				return ctx.Err()
			case <-s.n.life.done:
				return ErrClosed
			}
		}
	})
}

// want has a file fetched, at once. One that is here is looked at again.
func (t *fileTable) want(id wire.Hash) error {
	return t.change(id, func(f *fileOf, row *fileRow) {
		row.Want = !f.whole() || !f.checked
		f.again, f.tries = time.Time{}, 0
	})
}

// enoughHolders is how many other devices have to have all of a file before its sender may
// drop it unasked.
const enoughHolders = 2

// RemoveFile drops a file from this device.
func (s fileRoutes) RemoveFile(ctx context.Context, r api.RemoveFileRequest) (api.File, error) {
	t := s.n.files
	id, err := t.resolve(r.File)
	if err != nil {
		return api.File{}, err
	}
	f, err := t.one(id)
	if err != nil {
		return api.File{}, APIError(err)
	}
	if f.Own && !r.Force {
		whole := 0
		for _, h := range s.n.holders(ctx, id) {
			if h.Have == f.Sealed && !h.Mailbox { // which keeps it for a time only
				whole++
			}
		}
		if whole < enoughHolders {
			return f, api.Errorf(api.CodeConflict, "you sent this file, and %d of the members who are connected have all of it; %d are needed, or it could be lost", whole, enoughHolders).
				WithHint("pandanode file rm %s --force", api.Short(f.ID))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	have := t.all[id]
	if have == nil {
		return f, APIError(errNoFile)
	}
	if err := t.giveUp(have); err != nil {
		return f, APIError(err)
	}
	t.changed.wake()
	return t.apiOf(have, true), nil
}

// PinFile keeps a file, or does not any more.
func (s fileRoutes) PinFile(_ context.Context, r api.PinFileRequest) (api.File, error) {
	id, err := s.n.files.resolve(r.File)
	if err == nil {
		err = s.n.files.change(id, func(f *fileOf, row *fileRow) {
			row.Pinned = r.Pinned
			row.Want = row.Want || r.Pinned && !f.whole()
			f.again = time.Time{}
		})
	}
	if err != nil {
		return api.File{}, APIError(err)
	}
	f, err := s.n.files.one(id)
	return f, APIError(err)
}

// resolve finds the file that a text names.
func (t *fileTable) resolve(text string) (wire.Hash, error) {
	if id, err := wire.ParseEntryHash(text); err == nil {
		return wire.Hash(id), nil
	}
	t.mu.Lock()
	var candidates []api.Candidate
	for id, f := range t.all {
		candidates = append(candidates, api.Candidate{ID: id.String(), Name: f.row.Name})
	}
	t.mu.Unlock()
	slices.SortFunc(candidates, func(a, b api.Candidate) int { return compareText(a.ID, b.ID) })
	found, err := api.Resolve("file", text, candidates)
	if err != nil {
		return wire.Hash{}, orLook(err, "pandanode file list")
	}
	id, err := wire.ParseEntryHash(found)
	return wire.Hash(id), err
}

// one tells of a file; errNoFile if no message names it.
func (t *fileTable) one(id wire.Hash) (api.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.all[id]
	if f == nil {
		return api.File{}, errNoFile
	}
	return t.apiOf(f, true), nil
}

// api tells of a file that a message names, be it in the table or staged.
func (t *fileTable) api(named content.File) api.File {
	id := named.ID()
	t.mu.Lock()
	defer t.mu.Unlock()
	var out api.File
	if f := t.all[id]; f != nil {
		out = t.apiOf(f, false)
	} else {
		sealed := blob.Length(named.Size)
		out = api.File{ID: id.String(), Size: named.Size, Sealed: sealed, State: api.FileAway}
		if t.staged[id] != nil {
			out.Have, out.State, out.Own = sealed, api.FileHere, true
		}
	}
	out.Name, out.MediaType, out.Description, out.Preview = named.Name, named.Type, named.Description, named.Preview
	return out
}

// bytesIn is how many bytes of a blob some groups have.
func bytesIn(b blob.Bits, length int64) int64 {
	n := int64(b.Count()) * blob.GroupSize
	if last := blob.Groups(length) - 1; b.Has(last) {
		n += length - int64(last+1)*blob.GroupSize
	}
	return n
}

// apiOf tells of a file. The caller holds mu.
func (t *fileTable) apiOf(f *fileOf, messages bool) api.File {
	out := api.File{
		ID: f.id.String(), Name: f.row.Name, MediaType: f.row.Type, Size: int64(f.row.Size), Sealed: f.length, Fetched: f.fetched, //nolint:gosec // checked
		Have: bytesIn(f.bits, f.length), Wanted: f.row.Want, Own: f.row.Own, Pinned: f.row.Pinned, Why: f.why,
		Created: time.UnixMilli(int64(f.row.Created)), //nolint:gosec // this device's
	}
	switch {
	case f.row.Fault != "":
		out.State, out.Why = api.FileFaulty, f.row.Fault
	case f.whole():
		out.State = api.FileHere
	case out.Have > 0:
		out.State = api.FilePartly
	default:
		out.State = api.FileAway
	}
	if messages {
		for use := range f.uses {
			out.Messages = append(out.Messages, api.FileMessage{Group: use.group.String(), Message: use.message.String()})
		}
		slices.SortFunc(out.Messages, func(a, b api.FileMessage) int { return compareText(a.Group+a.Message, b.Group+b.Message) })
	}
	return out
}

// holdersTimeout is how long members have to say what they have of a file.
const holdersTimeout = 5 * time.Second

// holders asks the connected members of a file's groups, and their mailboxes, how much of it
// they have.
func (n *Node) holders(ctx context.Context, id wire.Hash) []api.FileHolder {
	out := []api.FileHolder{}
	all, _ := n.holding(ctx, id)
	for _, h := range all {
		out = append(out, h.FileHolder)
	}
	return out
}

// holding is a connected member who has some of a file, or a mailbox, and what.
type holding struct {
	api.FileHolder
	bits blob.Bits
}

// holding asks the connected members of a file's groups, and their mailboxes, what they have of
// it, and says how many members there are. Mailboxes come last, also those that have nothing.
func (n *Node) holding(ctx context.Context, id wire.Hash) (out []holding, asked int) {
	ctx, cancel := context.WithTimeout(ctx, holdersTimeout)
	defer cancel()
	n.files.mu.Lock()
	f := n.files.all[id]
	if f == nil {
		n.files.mu.Unlock()
		return nil, 0
	}
	x := &fetch{n: n, t: n.files, f: f}
	root, length := f.row.Root, f.length
	n.files.mu.Unlock()
	members, mailboxes, bad := x.sources(ctx)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, s := range slices.Concat(members, mailboxes, bad) {
		asking.Go(func() {
			bits, err := s.has(ctx, n, root, length)
			h := holding{api.FileHolder{Peer: s.p.String(), Have: bytesIn(bits, length), Mailbox: len(s.mail) > 0}, bits}
			switch {
			case h.Mailbox:
				h.Why = n.lacksWhy(id, s, h.Have == length, err)
			case h.Have == 0:
				return
			default:
				if user, ok := s.g.whose(ctx, s.p); ok {
					h.User = user.String()
					h.Name, h.Verified, h.Doubt = n.nameOf(ctx, s.g.id, user)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, h)
		})
	}
	asking.Wait()
	slices.SortFunc(out, func(a, b holding) int {
		if a.Mailbox != b.Mailbox {
			return map[bool]int{false: -1, true: 1}[a.Mailbox]
		}
		return compareText(a.Peer, b.Peer)
	})
	for _, s := range slices.Concat(members, bad) {
		if len(s.mail) == 0 {
			asked++
		}
	}
	return out, asked
}

// has asks what a source has of a file.
func (s source) has(ctx context.Context, n *Node, root wire.BlobRoot, length int64) (blob.Bits, error) {
	ways := []func(context.Context) (*blobStream, error){func(ctx context.Context) (*blobStream, error) { return s.g.openBlobs(ctx, s.p) }}
	best := blob.NewBits(length)
	if len(s.mail) > 0 {
		var err error
		if ways, err = n.mailFileWays(ctx, s.mail); err != nil {
			return best, err
		}
	}
	for _, open := range ways {
		stream, err := open(ctx)
		if err != nil {
			return best, err
		}
		bits, err := stream.have([]wire.BlobRoot{root}, []int64{length})
		stream.drop()
		if err != nil {
			return best, err
		}
		if bits[0].Count() > best.Count() {
			best = bits[0]
		}
	}
	return best, nil
}

// lacksWhy says why a mailbox has not all of a file, as far as is known here.
func (n *Node) lacksWhy(id wire.Hash, s source, whole bool, asked error) string {
	if whole {
		return ""
	}
	if st, ok := n.mailed.at(id, s.p.String()); ok && st.err != nil {
		return st.err.Error()
	}
	if asked != nil {
		return mailFileTrouble(asked).Error()
	}
	return ""
}

// whose says which member a peer is of.
func (g *groupSession) whose(ctx context.Context, p peer.ID) (user wire.UserID, ok bool) {
	_ = g.loop.look(ctx, func(m *group.Machine) error {
		for _, member := range m.Members() {
			if slices.ContainsFunc(member.Peers, func(raw []byte) bool { return peer.ID(raw) == p }) {
				user, ok = member.User, true
			}
		}
		return nil
	})
	return user, ok
}

// apiFiles tells of the files that a part names.
func (n *Node) apiFiles(p *content.Part) (out []api.File) {
	for _, f := range p.Files() {
		out = append(out, n.files.api(f))
	}
	return out
}

// withFiles adds the files of a request to a part.
func (s messageRoutes) withFiles(text *content.Part, ids []string, r rules) (content.Part, error) {
	files, err := s.n.files.toSend(ids)
	if err != nil {
		return content.Part{}, APIError(err)
	}
	for _, f := range files {
		if err := r.checkFile(f.Name, f.Size); err != nil {
			return content.Part{}, APIError(err)
		}
	}
	return content.WithFiles(text, files), nil
}
