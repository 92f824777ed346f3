package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A file that is wanted is fetched from up to three members at a time, each asked for groups
// that nobody else is asked for. A member who serves wrong bytes is passed over from the
// first wrong group on, and asked last from then on.

// Bounds of fetching.
const (
	fetchAtOnce    = 2 // files
	fetchFrom      = 3 // members, of one file
	fetchSync      = 8 << 20
	fetchQuick     = 2 * time.Second // a member that answers sooner may be asked for twice as much
	fetchAgain     = 2 * time.Second // after nobody had what is missing; twice as long each time
	fetchSeldom    = 5 * time.Minute
	fetchLook      = 10 * time.Second       // from one look for members who have connected to the next, while others give
	fetchTurnAgain = 500 * time.Millisecond // after a member had nothing of what is missing, while others give; twice as long each time
	fetchNoSpace   = time.Minute
	fetchWrong     = 16               // wrong answers in a row of a member who is asked last
	fetchWaits     = 30 * time.Second // that a member may put this device off before it gives anything
	blobTurn       = 3 * time.Minute  // after which a stream is opened anew
)

// fetchFiles fetches what is wanted until ctx ends.
func (n *Node) fetchFiles(ctx context.Context) {
	slots := make(chan struct{}, fetchAtOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := n.files.changed.wait()
		pause := fetchSeldom
		for len(slots) < cap(slots) {
			var f *fileOf
			if f, pause = n.files.next(); f == nil {
				break
			}
			slots <- struct{}{}
			if !n.life.start(func(ctx context.Context) {
				x := &fetch{n: n, t: n.files, f: f, claimed: map[int]bool{}}
				err := errBlocked
				if !n.blockedFile(ctx, f.id) {
					err = x.run(ctx)
				}
				n.files.fetched(f, x.moved, err)
				<-slots
				n.files.changed.wake()
			}) {
				return
			}
		}
		timer.Reset(pause)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// next chooses the file to be fetched next, the smallest first; nil: none, and when to look
// again.
func (t *fileTable) next() (out *fileOf, pause time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause = fetchSeldom
	for _, f := range t.all {
		if !f.row.Want || f.row.Fault != "" || f.busy > 0 || f.whole() && f.checked {
			continue
		}
		if wait := time.Until(f.again); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		if out == nil || f.length < out.length {
			out = f
		}
	}
	if out != nil {
		out.busy++
	}
	return out, pause
}

// fetched notes how a fetch ended.
func (t *fileTable) fetched(f *fileOf, moved int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.busy--
	if f.why = ""; err == nil {
		f.tries = 0
		return
	}
	f.why = inWords(err)
	if moved > 0 {
		f.tries = 0
	}
	pause := min(fetchAgain<<min(f.tries, 10), fetchSeldom)
	if errors.Is(err, errDisk) || errors.Is(err, errQuota) || errors.Is(err, storage.ErrNoSpace) {
		pause = fetchNoSpace
	}
	f.tries++
	f.again = time.Now().Add(pause)
}

// stir has files that are wanted be asked for soon: somebody is connected who may have them.
func (t *fileTable) stir() {
	t.mu.Lock()
	defer t.mu.Unlock()
	soon := time.Now().Add(fetchAgain)
	for _, f := range t.all {
		if f.row.Want && f.again.After(soon) {
			f.again = soon
		}
	}
	t.changed.wake()
}

var (
	errDisk    = errors.New("the disk does not take it")
	errNobody  = errors.New("no member of its group is connected")
	errNoOne   = errors.New("nobody who is connected has what is missing of it")
	errBlocked = errors.New("whoever sent it is blocked")
	errDropped = errors.New("the file is not wanted any more")
)

// fetch is one try to fetch a file.
type fetch struct {
	n *Node
	t *fileTable
	f *fileOf

	path  string
	again bool // a try before did not end well, and something may be here
	to    blob.Blob
	stop  context.CancelCauseFunc
	pulse pulse // when it is told how much is here; under t.mu

	mu      sync.Mutex
	claimed map[int]bool
	rarity  *rarity
	moved   int64 // bytes
	unsaved int64
	wrong   string   // who served wrong bytes
	met     bool     // a member was connected
	mail    []string // why mailboxes did not give what is missing
	skips   map[peer.ID]map[int]bool
}

// source is a member who may have a file, or a mailbox.
type source struct {
	g    *groupSession
	p    peer.ID
	mail []groupMail // not empty: a mailbox, of these groups
}

func (x *fetch) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	x.stop = stop
	disk, err := x.prepare()
	if err != nil {
		return err
	}
	defer disk.Close()
	x.rarity = newRarity(blob.Groups(x.to.Length))
	if err := x.check(); err != nil {
		return err
	}
	if x.again { // if it cannot be noted still what came, no more is asked for
		if err := x.note(disk); err != nil {
			return err
		}
	}
	for !x.whole() {
		before := x.moved
		x.mail = nil
		err := x.pass(ctx)
		if err := x.save(disk, true); err != nil {
			return err
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		if x.moved == before {
			return x.stuck()
		}
	}
	return x.conclude(disk)
}

// stuck says why what is missing does not come.
func (x *fetch) stuck() error {
	err := errNoOne
	if !x.met {
		err = errNobody
	}
	for _, why := range slices.Compact(slices.Sorted(slices.Values(x.mail))) {
		err = fmt.Errorf("%w; %s", err, why)
	}
	if x.wrong != "" {
		err = fmt.Errorf("%w; %s served other bytes", err, x.wrong)
	}
	return err
}

// prepare opens the place on the disk, which it makes if need be.
func (x *fetch) prepare() (*os.File, error) {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	if x.t.all[x.f.id] != x.f || !x.f.row.Want {
		return nil, errDropped
	}
	x.to, x.again = blob.Blob{Root: x.f.row.Root, Length: x.f.length}, x.f.tries > 0 && x.f.row.Path != ""
	if x.path = x.f.row.Path; x.path != "" {
		disk, err := os.OpenFile(x.t.path(x.path), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDisk, err)
		}
		if missing := x.f.length - bytesIn(x.f.bits, x.f.length); missing > 0 { // else it would come, and not be kept
			if err := x.t.room(x.t.dir, missing); err != nil {
				return nil, errors.Join(fmt.Errorf("%w: %w", errDisk, err), disk.Close())
			}
		}
		x.to.F = diskFile{disk, x.t.write}
		return disk, nil
	}
	if err := x.t.makeRoom(blob.Room(x.f.length)); err != nil {
		return nil, fmt.Errorf("%w: %w", errDisk, err)
	}
	disk, name, err := x.t.create()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDisk, diskError(err))
	}
	row := x.f.row
	row.Path = name
	err = errors.Join(disk.Truncate(blob.Room(x.f.length)), syncFolder(x.t.dir))
	if err == nil {
		err = x.t.put(x.f, row, blob.NewBits(x.f.length))
	}
	if err != nil {
		x.t.discard(name)
		return nil, errors.Join(fmt.Errorf("%w: %w", errDisk, diskError(err)), disk.Close())
	}
	x.path, x.f.checked, x.to.F = name, true, diskFile{disk, x.t.write}
	return disk, nil
}

// diskFile names the errors of the disk, so that no member is blamed for them.
type diskFile struct {
	*os.File
	write func(f *os.File, p []byte, off int64) (int, error)
}

func (d diskFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := d.write(d.File, p, off)
	if err != nil {
		err = fmt.Errorf("%w: %w", errDisk, diskError(err))
	}
	return n, err
}

// check compares what the disk has with the tree, once in a run: after a kill more may be
// there than was noted, and the disk may have changed some of it.
func (x *fetch) check() error {
	x.t.mu.Lock()
	checked := x.f.checked
	x.t.mu.Unlock()
	if checked {
		return nil
	}
	have := x.to.Check()
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	if !x.still() {
		return errDropped
	}
	x.f.checked = true
	return x.t.put(x.f, x.f.row, have)
}

// still says whether the file is the same as when the fetch began. The caller holds t.mu.
func (x *fetch) still() bool { return x.t.all[x.f.id] == x.f && x.f.row.Path == x.path }

func (x *fetch) whole() bool {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	return x.f.whole()
}

// sources lists the connected members of the groups that name the file, then the mailboxes of
// these groups, and last those who served wrong bytes.
func (x *fetch) sources(ctx context.Context) (members, mailboxes, bad []source) {
	x.t.mu.Lock()
	groups := map[wire.GroupID]bool{}
	for use := range x.f.uses {
		groups[use.group] = true
	}
	wrong := map[peer.ID]int{}
	for p, n := range x.f.bad {
		wrong[peer.ID(p)] = n
	}
	x.t.mu.Unlock()
	seen := map[peer.ID]bool{}
	for id := range groups {
		g := x.n.groups.get(id)
		if g == nil {
			continue
		}
		connected, err := g.connectedMembers(ctx)
		if err != nil {
			continue
		}
		for _, p := range connected {
			if !seen[p] {
				seen[p] = true
				members = append(members, source{g: g, p: p})
			}
		}
		mail, err := g.mailOfOthers(ctx)
		if err != nil {
			continue
		}
		for _, at := range mail {
			p := peer.ID(at.at.Peer)
			if i := slices.IndexFunc(mailboxes, func(s source) bool { return s.p == p }); i >= 0 {
				mailboxes[i].mail = append(mailboxes[i].mail, at)
			} else if !slices.Contains(connected, p) { // a member is asked as a member
				mailboxes = append(mailboxes, source{p: p, mail: []groupMail{at}})
			}
		}
	}
	for _, some := range []*[]source{&members, &mailboxes} {
		all := *some
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // no secret
		*some = slices.DeleteFunc(all, func(s source) bool {
			if wrong[s.p] > 0 {
				bad = append(bad, s)
			}
			return wrong[s.p] > 0
		})
	}
	slices.SortStableFunc(bad, func(a, b source) int { return wrong[a.p] - wrong[b.p] })
	return members, mailboxes, bad
}

// pass asks each member once, then mailboxes for what is missing still, and those who served
// wrong bytes only if something is missing after all others.
func (x *fetch) pass(ctx context.Context) error {
	members, mailboxes, bad := x.sources(ctx)
	if len(members)+len(mailboxes)+len(bad) == 0 {
		return errNobody
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	x.met = len(members) > 0 || slices.ContainsFunc(bad, func(s source) bool { return len(s.mail) == 0 })
	for i, some := range [][]source{members, mailboxes, bad} {
		patience := i / 2 * fetchWrong
		if len(some) == 0 {
			continue
		}
		var more func(context.Context) []source
		if i == 0 {
			more = func(ctx context.Context) []source {
				now, _, _ := x.sources(ctx)
				return now
			}
		}
		turns := newFetchTurns(some, more)
		var workers sync.WaitGroup
		for range fetchFrom {
			workers.Go(func() {
				for s, ok := turns.next(ctx); ok && !x.whole(); s, ok = turns.next(ctx) {
					if len(s.mail) == 0 {
						gave, err := x.from(ctx, s.p, patience, func(ctx context.Context) (*blobStream, error) { return s.g.openBlobs(ctx, s.p) })
						turns.done(s, gave, err)
					} else {
						x.fromMailbox(ctx, s.source, patience)
						turns.done(s, false, nil)
					}
					if x.whole() {
						stop() // whoever is asked still
					}
				}
			})
		}
		workers.Wait()
		if x.whole() {
			break
		}
	}
	return nil
}

// fromMailbox fetches what a mailbox has in the boxes of a group, and notes what there is to
// say if it has not what is missing.
func (x *fetch) fromMailbox(ctx context.Context, s source, patience int) {
	ways, err := x.n.mailFileWays(ctx, s.mail)
	for _, open := range ways {
		if ctx.Err() != nil || x.whole() {
			return
		}
		if _, err = x.from(ctx, s.p, patience, open); errors.Is(err, blob.ErrWrong) || errors.Is(err, blob.ErrSize) {
			return // x.wrong names it
		}
	}
	if err == nil {
		err = errMailLacks
	}
	if ctx.Err() == nil && !x.whole() {
		x.mu.Lock()
		x.mail = append(x.mail, fmt.Sprintf("the mailbox %v: %v", s.p, mailFileTrouble(err)))
		x.mu.Unlock()
	}
}

// from fetches what a peer has, and goes on after so many wrong answers. gave says that something
// came, the error why the peer is not asked any more.
func (x *fetch) from(ctx context.Context, p peer.ID, patience int, open func(context.Context) (*blobStream, error)) (gave bool, err error) {
	var stream *blobStream
	defer func() {
		if stream != nil {
			stream.drop()
		}
	}()
	pace, skip, waited := pace{most: 1, first: time.Hour}, x.wrongOf(p), time.Duration(0)
	after := rand.N(max(blob.Groups(x.to.Length), 1)) //nolint:gosec // see rarity: where the groups that it gave last end
	for ctx.Err() == nil {
		if stream == nil || time.Since(stream.began) > blobTurn {
			if stream != nil {
				stream.drop()
			}
			if stream, err = open(ctx); err != nil {
				x.n.log.Debug("a peer cannot be asked for files", "peer", p, "err", err)
				return gave, err
			}
		}
		have, err := stream.have([]wire.BlobRoot{x.to.Root}, []int64{x.to.Length})
		if err != nil {
			return gave, err
		}
		x.mu.Lock()
		x.rarity.told(p, have[0])
		x.mu.Unlock()
		for some := true; some && stream != nil && time.Since(stream.began) <= blobTurn; {
			from, groups := x.claim(have[0], skip, after, pace.most)
			if some = groups > 0; !some {
				return gave, nil
			}
			after = from + groups
			began := time.Now()
			first, err := x.get(stream, from, groups)
			var wait waitError
			if err == nil {
				gave, waited = true, 0
			}
			switch {
			case err == nil:
				pace.gave(first, time.Since(began))
				continue
			case errors.As(err, &wait) && wait > 0 && waited+time.Duration(wait) <= fetchWaits:
				waited += time.Duration(wait)
				select {
				case <-time.After(time.Duration(wait)):
				case <-ctx.Done():
				}
				continue
			case errors.Is(err, errDisk), errors.Is(err, ErrStore):
				x.stop(err)
			case errors.Is(err, blob.ErrWrong), errors.Is(err, blob.ErrSize):
				x.blame(p, err)
				if patience--; patience >= 0 && errors.Is(err, blob.ErrWrong) {
					x.skip(skip, from, groups)
					stream.drop()
					stream, pace.most = nil, 1
					some = false
					continue
				}
			}
			if ctx.Err() == nil {
				x.n.log.Debug("a file was not fetched from a peer", "peer", p, "err", err)
			}
			return gave, err
		}
	}
	return gave, ctx.Err()
}

// wrongOf gives the groups that a member has wrong. One worker at a time asks a member.
func (x *fetch) wrongOf(p peer.ID) map[int]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.skips == nil {
		x.skips = map[peer.ID]map[int]bool{}
	}
	if x.skips[p] == nil {
		x.skips[p] = map[int]bool{}
	}
	return x.skips[p]
}

// skip notes the group that a member had wrong: the first that is missing still.
func (x *fetch) skip(skip map[int]bool, from, groups int) {
	x.t.mu.Lock()
	here := slices.Clone(x.f.bits)
	x.t.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := from; i < from+groups; i++ {
		if !here.Has(i) {
			skip[i] = true
			return
		}
	}
}

// claim chooses groups that are missing, that nobody is asked for, and that a member has: those
// that the fewest others have, after those that it gave last if that may be.
func (x *fetch) claim(have blob.Bits, skip map[int]bool, after, most int) (from, groups int) {
	x.t.mu.Lock()
	here := slices.Clone(x.f.bits)
	x.t.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	from, groups = x.rarity.choose(after, most, func(i int) bool {
		return have.Has(i) && !here.Has(i) && !x.claimed[i] && !skip[i]
	})
	for i := range groups {
		x.claimed[from+i] = true
	}
	return from, groups
}

// get fetches groups that were claimed, and gives how long the first took.
func (x *fetch) get(s *blobStream, from, groups int) (time.Duration, error) {
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		for i := range groups {
			delete(x.claimed, from+i)
		}
	}()
	first, err := s.get(x.to, from, groups, func(i int) {
		x.t.mu.Lock()
		still := x.still()
		if still {
			x.f.bits.Set(i)
			x.f.fetched += min(blob.GroupSize, x.to.Length-int64(i)*blob.GroupSize)
		}
		x.t.mu.Unlock()
		if !still {
			x.stop(errDropped)
			return
		}
		x.mu.Lock()
		x.moved += blob.GroupSize
		x.unsaved += blob.GroupSize
		x.mu.Unlock()
	})
	x.t.changed.wake() // for those who watch it come
	x.tellProgress()
	if saved := x.save(x.to.F.(diskFile).File, false); err == nil { //nolint:forcetypeassert // see prepare
		err = saved
	}
	return first, err
}

// blame notes that a member served wrong bytes.
func (x *fetch) blame(p peer.ID, err error) {
	x.n.log.Warn("a peer served other bytes of a file than the message names", "peer", p, "err", err)
	x.t.mu.Lock()
	if x.f.bad == nil {
		x.f.bad = map[string]int{}
	}
	x.f.bad[string(p)]++
	x.t.mu.Unlock()
	x.mu.Lock()
	x.wrong = p.String()
	x.mu.Unlock()
}

// save makes durable what came, if it is much or now.
func (x *fetch) save(disk *os.File, now bool) error {
	x.mu.Lock()
	some := x.unsaved
	due := some >= fetchSync || now && some > 0
	if due {
		x.unsaved = 0
	}
	x.mu.Unlock()
	if !due {
		return nil
	}
	err := x.note(disk)
	if err != nil {
		x.mu.Lock()
		x.unsaved += some
		x.mu.Unlock()
	}
	return err
}

// note makes durable what is here.
func (x *fetch) note(disk *os.File) error {
	x.t.mu.Lock()
	bits := slices.Clone(x.f.bits)
	x.t.mu.Unlock()
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errDisk, diskError(err))
	}
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	if !x.still() {
		return errDropped
	}
	return x.t.keep(x.f, bits)
}

// keep writes which groups are here, of which those are synced. The caller holds mu.
func (t *fileTable) keep(f *fileOf, synced blob.Bits) error {
	now := f.bits
	err := t.put(f, f.row, synced)
	f.bits = now
	return err
}

// conclude looks at a file that is whole: it is what the message says, or can never be.
func (x *fetch) conclude(disk *os.File) error {
	if err := x.save(disk, true); err != nil {
		return err
	}
	fault := ""
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(disk, 0, x.to.Length)); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	if !x.still() {
		return errDropped
	}
	file := x.f.file()
	if [32]byte(sum.Sum(nil)) != file.Hash {
		fault = "its message names two different files"
	} else if _, err := blob.Open(disk, file.Size, blob.Key(file.Key)); err != nil {
		fault = "it does not open with the key in its message, or has another size than that says"
	}
	row := x.f.row
	row.Want, row.Fault, row.Used = false, fault, uint64(x.t.now().UnixMilli()) //nolint:gosec // after 1970
	if err := x.t.put(x.f, row, x.f.bits); err != nil {
		return err
	}
	what := "here"
	if fault != "" {
		what = "faulty"
	}
	for use := range x.f.uses {
		x.t.tell(x.f.id, use, eventFile, what)
	}
	return nil
}
