package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// A sender puts its file, sealed, into the mailboxes of the file's groups, as long as a member is
// not connected who may want it. Each run asks a mailbox anew what it has, since it may have lost
// it: nothing of that is noted here.

const (
	mailedAtOnce = 2                   // files that are put at once
	mailedFor    = 30 * 24 * time.Hour // from its first message on a file is put
	mailedLook   = time.Hour           // between looks whether a mailbox still has a file
	mailedAgain  = 15 * time.Minute    // after a mailbox said that it does not take a file
	mailedPass   = time.Minute         // between looks whether a member has gone
)

var (
	errMailNoFiles = errors.New("it keeps no files")
	errMailLacks   = errors.New("it has not all of it")
)

// mailFileTrouble puts the error of asking a mailbox about files into words for people.
func mailFileTrouble(err error) error {
	for _, known := range []error{errMailNoFiles, errMailLacks, errDisk, errDropped} {
		if errors.Is(err, known) {
			return err
		}
	}
	if _, is := errors.AsType[mailRefusal](err); is {
		return err
	}
	if _, is := errors.AsType[waitError](err); is {
		return errMailLacks // though it said that it has it
	}
	return mailTrouble(err)
}

// mailRefusal is why a mailbox does not take a file.
type mailRefusal struct {
	code wire.MailCode
	most int64
}

func (r mailRefusal) Error() string {
	switch r.code {
	case wire.MailClosed:
		return errMailClosed.Error()
	case wire.MailLarge:
		return fmt.Sprintf("the file is too large for it: it keeps at most %s of files for whoever opened the group's box", size(r.most))
	case wire.MailFull, wire.MailDone:
	}
	return fmt.Sprintf("it has no room for the file: it keeps at most %s of files for whoever opened the group's box, and less if others need it", size(r.most))
}

// groupMail is a mailbox of a group.
type groupMail struct {
	g  *groupSession
	at wire.LinkPeer
}

// mailOfOthers lists the mailboxes of the group, this node left out.
func (g *groupSession) mailOfOthers(ctx context.Context) (out []groupMail, err error) {
	if !g.mail.used() {
		return nil, nil
	}
	all, err := lookAt(ctx, g, func(m *group.Machine) []wire.LinkPeer { return m.Mail().Mailboxes() })
	for _, at := range all {
		if peer.ID(at.Peer) != g.n.host.ID() {
			out = append(out, groupMail{g, at})
		}
	}
	return out, err
}

// boxes lists the group's boxes at the mailbox, the one to put files into first.
func (m groupMail) boxes(ctx context.Context) ([]group.Box, error) {
	boxes, err := lookAt(ctx, m.g, func(g *group.Machine) []group.Box { return g.Mail().Boxes(m.at.Peer) })
	slices.Reverse(boxes)
	return boxes, err
}

// open opens a stream about the files in a box.
func (m groupMail) open(ctx context.Context, b group.Box, voucher *group.Box) (_ *blobStream, err error) {
	n, p := m.g.n, peer.ID(m.at.Peer)
	stream, err := openStream(ctx, n.host, p, wire.ProtocolMailBlob)
	if noMailbox(err) {
		return nil, errMailNoFiles
	}
	if err != nil {
		return nil, fmt.Errorf("opening a stream to the mailbox: %w", err)
	}
	s := &blobStream{newFrames(n.metrics.files(stream)), context.AfterFunc(ctx, func() { _ = stream.Reset() }), time.Now()}
	if err := m.g.proveBox(ctx, s.frames, p, b, voucher); errors.Is(err, errMailNone) {
		s.drop()
		return nil, errMailNoFiles
	} else if err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

// mailFileWays connects to a mailbox, and gives a way to open a stream to each box of some
// groups there.
func (n *Node) mailFileWays(ctx context.Context, mail []groupMail) (out []func(context.Context) (*blobStream, error), err error) {
	if err := n.dialMailbox(ctx, mail[0].at); err != nil {
		return nil, err
	}
	for _, m := range mail {
		boxes, err := m.boxes(ctx)
		if err != nil {
			return out, err
		}
		for _, b := range boxes {
			out = append(out, func(ctx context.Context) (*blobStream, error) { return m.open(ctx, b, nil) })
		}
	}
	return out, nil
}

// put gives groups to a mailbox.
func (b *blobStream) put(from blob.Blob, first, groups int) error {
	ask := wire.MailBlobPut{Root: from.Root, Length: uint64(from.Length), From: uint64(first), Groups: uint64(groups)} //nolint:gosec // not negative
	if err := b.write(wire.MailBlobAsk{Put: &ask}); err != nil {
		return err
	}
	if err := b.taken(); err != nil {
		return err
	}
	w := &partWriterTo{write: func(part []byte) error { return b.write(wire.MailBlobAsk{Part: part}) }}
	if err := errors.Join(from.Slice(w, first, groups), w.flush()); err != nil {
		return err
	}
	return b.taken()
}

func (b *blobStream) taken() error {
	var answer wire.MailBlobAnswer
	if err := b.read(&answer); err != nil {
		return noEOF(err)
	}
	switch {
	case answer.Taken == nil:
		return fmt.Errorf("%w: it does not say whether it takes a file", errProtocol)
	case answer.Taken.Code != wire.MailDone:
		return mailRefusal{answer.Taken.Code, int64(min(answer.Taken.Most, 1<<62))} //nolint:gosec // bounded
	}
	return nil
}

// mailedKey names a file of a group at a mailbox.
type mailedKey struct {
	file  wire.Hash
	group wire.GroupID
	at    peer.ID
}

// mailedFile is what is known in this run of a file at a mailbox.
type mailedFile struct {
	have  int64 // bytes of it, sealed, that the mailbox had when it was asked last
	whole bool
	err   error // why it has not taken it; nil: it has, or was not asked yet
	busy  bool
	again time.Time
	tries int
}

// mailedFiles puts files into mailboxes.
type mailedFiles struct {
	n    *Node
	kick signal

	mu  sync.Mutex
	all map[mailedKey]*mailedFile
}

func newMailedFiles(n *Node) *mailedFiles {
	return &mailedFiles{n: n, all: make(map[mailedKey]*mailedFile)}
}

// run puts what is to be put until ctx ends.
func (x *mailedFiles) run(ctx context.Context) {
	slots := make(chan struct{}, mailedAtOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		kicked, changed := x.kick.wait(), x.n.files.changed.wait()
		pause := mailedPass
		for len(slots) < cap(slots) {
			job, wait := x.next(ctx)
			if job == nil {
				pause = min(pause, wait)
				break
			}
			slots <- struct{}{}
			if !x.n.life.start(func(ctx context.Context) {
				x.ended(ctx, job, job.run(ctx))
				<-slots
				x.kick.wake()
			}) {
				return
			}
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-kicked:
		case <-changed:
		}
		select { // what comes together is looked at once
		case <-ctx.Done():
			return
		case <-time.After(mailDebounce):
		}
	}
}

// connected has a mailbox asked again that could not be reached, or took nothing.
func (x *mailedFiles) connected(p peer.ID) {
	x.mu.Lock()
	for k, st := range x.all {
		if k.at == p && st.err != nil {
			st.again = time.Time{}
		}
	}
	x.mu.Unlock()
	x.kick.wake()
}

// ownFile is a file that was sent from here and is here.
type ownFile struct {
	id     wire.Hash
	name   string
	blob   blob.Blob
	path   string
	groups []wire.GroupID
}

// own lists the files that were sent from here since, the smallest first.
func (t *fileTable) own(since time.Time) (out []ownFile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.all {
		if !f.row.Own || !f.whole() || f.row.Fault != "" || f.row.Created < milliseconds(since) {
			continue
		}
		o := ownFile{id: f.id, name: f.row.Name, blob: blob.Blob{Root: f.row.Root, Length: f.length}, path: f.row.Path}
		for use := range f.uses {
			if !slices.Contains(o.groups, use.group) {
				o.groups = append(o.groups, use.group)
			}
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b ownFile) int {
		if a.blob.Length != b.blob.Length {
			return cmp.Compare(a.blob.Length, b.blob.Length)
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	return out
}

// someoneAway says whether a device of a member is not connected.
func (g *groupSession) someoneAway(ctx context.Context) bool {
	members, err := lookAt(ctx, g, func(m *group.Machine) []group.Member { return m.Members() })
	return err == nil && slices.ContainsFunc(members, func(m group.Member) bool {
		return slices.ContainsFunc(m.Peers, func(raw []byte) bool {
			return peer.ID(raw) != g.n.host.ID() && !g.n.isConnected(peer.ID(raw))
		})
	})
}

// mailedJob is a file that is put into a mailbox.
type mailedJob struct {
	x     *mailedFiles
	key   mailedKey
	file  ownFile
	mail  groupMail
	state *mailedFile
}

// due lists the files that mailboxes are to have, and forgets all others.
func (x *mailedFiles) due(ctx context.Context) (out []*mailedJob) {
	type one struct {
		mail []groupMail
		away bool
	}
	groups := map[wire.GroupID]one{}
	known := map[mailedKey]bool{}
	for _, f := range x.n.files.own(x.n.files.now().Add(-mailedFor)) {
		for _, id := range f.groups {
			o, looked := groups[id]
			if g := x.n.groups.get(id); !looked && g != nil {
				o.mail, _ = g.mailOfOthers(ctx) // as soon as it is loaded
				o.away = len(o.mail) > 0 && g.someoneAway(ctx)
				groups[id] = o
			}
			for _, m := range o.mail {
				key := mailedKey{f.id, id, peer.ID(m.at.Peer)}
				if known[key] = true; o.away {
					out = append(out, &mailedJob{x: x, key: key, file: f, mail: m})
				}
			}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.all, func(k mailedKey, st *mailedFile) bool { return !known[k] && !st.busy })
	for _, j := range out {
		if j.state = x.all[j.key]; j.state == nil {
			j.state = new(mailedFile)
			x.all[j.key] = j.state
		}
	}
	return out
}

// next chooses the file to be put next; nil: none, and when to look again. A mailbox is given
// one at a time.
func (x *mailedFiles) next(ctx context.Context) (*mailedJob, time.Duration) {
	jobs := x.due(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	busy := map[peer.ID]bool{}
	for k, st := range x.all {
		busy[k.at] = busy[k.at] || st.busy
	}
	pause := mailedPass
	for _, j := range jobs {
		wait := time.Until(j.state.again)
		if wait <= 0 && !busy[j.key.at] {
			j.state.busy = true
			return j, 0
		}
		if wait > 0 {
			pause = min(pause, wait)
		}
	}
	return nil, pause
}

// ended notes how putting a file ended.
func (x *mailedFiles) ended(ctx context.Context, j *mailedJob, raw error) {
	err := raw
	if err != nil {
		err = mailFileTrouble(raw)
	}
	x.mu.Lock()
	st := j.state
	before := st.err
	st.busy, st.err, st.whole = false, err, err == nil
	_, refused := errors.AsType[mailRefusal](err)
	switch {
	case err == nil:
		st.have, st.tries, st.again = j.file.blob.Length, 0, time.Now().Add(mailedLook)
	case refused, errors.Is(err, errMailNoFiles), errors.Is(err, errDropped):
		st.tries, st.again = 0, time.Now().Add(mailedAgain)
	default:
		st.again = time.Now().Add(min(fetchAgain<<min(st.tries, 10), mailEvery))
		st.tries++
	}
	x.mu.Unlock()
	if raw != nil {
		x.n.log.Debug("a file for a mailbox", "peer", j.key.at, "err", raw)
	}
	if err != nil && ctx.Err() == nil && (before == nil || before.Error() != err.Error()) {
		j.mail.g.log.Warn("a mailbox of the group has not taken a file", "peer", j.key.at, "file", j.key.file, "why", err)
	}
	x.n.changed.wake()
}

// run puts a file into a mailbox, as far as it is not there.
func (j *mailedJob) run(ctx context.Context) error {
	n := j.x.n
	if n.hiddenFile(ctx, j.file.id) {
		return errDropped
	}
	if err := n.dialMailbox(ctx, j.mail.at); err != nil {
		return err
	}
	boxes, err := j.mail.boxes(ctx)
	if err != nil || len(boxes) == 0 {
		return err
	}
	var have blob.Bits
	for i, b := range boxes {
		bits, err := j.look(ctx, b)
		if err != nil {
			return err
		}
		if bits.Whole(j.file.blob.Length) {
			return nil // whoever may read it has the key of that box
		}
		if i == 0 {
			have = bits
		}
	}
	disk, err := os.Open(n.files.path(j.file.path))
	if err != nil {
		return errDropped // it was given up just now
	}
	defer disk.Close()
	j.file.blob.F = readOnly{disk}
	err = j.put(ctx, boxes[0], nil, have)
	for _, other := range boxes[1:] {
		if r, is := errors.AsType[mailRefusal](err); !is || r.code != wire.MailClosed {
			break
		}
		if j.mail.g.mail.durable(j.key.at, other.Key).Life != 0 {
			err = j.put(ctx, boxes[0], &other, have)
		}
	}
	if err != nil {
		return err
	}
	switch have, err = j.look(ctx, boxes[0]); {
	case err != nil:
		return err
	case !have.Whole(j.file.blob.Length):
		return fmt.Errorf("%w: it said that it took all of it", errMailLacks)
	}
	return nil
}

// look asks what of the file is in a box.
func (j *mailedJob) look(ctx context.Context, b group.Box) (blob.Bits, error) {
	s, err := j.mail.open(ctx, b, nil)
	if err != nil {
		return nil, err
	}
	defer s.drop()
	have, err := s.have([]wire.BlobRoot{j.file.blob.Root}, []int64{j.file.blob.Length})
	if err != nil {
		return nil, err
	}
	j.has(bytesIn(have[0], j.file.blob.Length))
	return have[0], nil
}

// has notes what the mailbox has.
func (j *mailedJob) has(bytes int64) {
	j.x.mu.Lock()
	defer j.x.mu.Unlock()
	j.state.have = bytes
}

// put puts what a box lacks of the file.
func (j *mailedJob) put(ctx context.Context, b group.Box, voucher *group.Box, have blob.Bits) error {
	have = slices.Clone(have)
	var s *blobStream
	defer func() {
		if s != nil {
			s.drop()
		}
	}()
	most, all := 1, blob.Groups(j.file.blob.Length)
	for i := 0; i < all; {
		if have.Has(i) {
			i++
			continue
		}
		groups := 1
		for groups < most && i+groups < all && !have.Has(i+groups) {
			groups++
		}
		if s == nil || time.Since(s.began) > blobTurn {
			if s != nil {
				s.drop()
			}
			var err error
			if s, err = j.mail.open(ctx, b, voucher); err != nil {
				return err
			}
		}
		began := time.Now()
		if err := s.put(j.file.blob, i, groups); err != nil {
			return err
		}
		if most = max(most/2, 1); time.Since(began) < fetchQuick {
			most = min(4*most, wire.MaxBlobGroups)
		}
		for range groups {
			have.Set(i)
			i++
		}
		j.has(bytesIn(have, j.file.blob.Length))
	}
	return nil
}

// at gives what is known of a file at a mailbox, for whichever group it was sent from here.
func (x *mailedFiles) at(file wire.Hash, mailbox string) (out mailedFile, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k, st := range x.all {
		if k.file == file && k.at.String() == mailbox && (!ok || st.again.Before(out.again)) {
			out, ok = *st, true
		}
	}
	return out, ok
}

// waiting counts the files of a group that a mailbox is to have and has not, and says why.
func (x *mailedFiles) waiting(ctx context.Context, in wire.GroupID, at peer.ID) (n int, why error) {
	jobs := x.due(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, j := range jobs {
		if j.key.group == in && j.key.at == at && !j.state.whole {
			n++
			why = cmp.Or(why, j.state.err)
		}
	}
	return n, why
}

// note says which files of a message are not at a mailbox yet, for members who are away; empty:
// none, or nobody is.
func (x *mailedFiles) note(ctx context.Context, use fileUse) string {
	x.n.files.mu.Lock()
	named := slices.Clone(x.n.files.named[use])
	x.n.files.mu.Unlock()
	if len(named) == 0 {
		return ""
	}
	jobs := x.due(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	trouble := map[peer.ID]error{}
	for _, j := range jobs {
		trouble[j.key.at] = cmp.Or(trouble[j.key.at], j.state.err)
	}
	var out []string
	for _, j := range jobs {
		if j.key.group != use.group || !slices.Contains(named, j.key.file) || j.state.whole {
			continue
		}
		text := fmt.Sprintf("the file %s is on its way to the mailbox %v", j.file.name, j.key.at)
		if err := j.state.err; err != nil {
			text = fmt.Sprintf("the mailbox %v has not taken the file %s: %v", j.key.at, j.file.name, err)
		} else if err := trouble[j.key.at]; err != nil {
			text += fmt.Sprintf(", which has not taken another one: %v", err)
		}
		out = append(out, fmt.Sprintf("%s (pandanode file status %s)", text, api.Short(j.key.file.String())))
	}
	return strings.Join(out, "; ")
}
