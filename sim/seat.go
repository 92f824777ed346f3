package sim

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// errDown says that the process does not run; errCrash that it ended in a Step.
var (
	errDown  = errors.New("the process does not run")
	errCrash = errors.New("the process crashed")
)

// boundaries at which a process can be killed while it carries out a Ready.
var boundaries = []string{"writes", "torn", "messages", "within", "events", "advance"}

// seat is a device in a group: its machine, and its durable rows.
type seat struct {
	n      *cnode
	g      *cgroup
	disk   *disk
	m      *group.Machine // nil while the process does not run, or before the seat is opened
	spy    *spy
	opened bool
	writes wire.LogID // see log
	bad    error      // why the machine cannot be used any more

	steps    uint64 // of the node's clock, that the machine knows of
	wake     time.Time
	ticked   time.Time
	atOnce   int // wakes at ticked
	spins    int // times that it had to be made to wait
	hour     time.Time
	asks     int  // since hour
	insisted int  // asks beyond all patience
	asked    bool // a sync is on its way
	version  int  // rises whenever the machine learns something; a sync of two seats without news is skipped
	synced   map[*seat][2]int
	wanted   map[wire.DeviceID]map[wire.MessageID]bool // asked for before on streams
	given    map[[32]byte]*given                       // seals got on streams
	spent    map[*seat]time.Time                       // when they did not give all earlier messages that they were asked for
	joining  bool
	ended    bool              // the machine took its request back
	via      *cnode            // whom alone it asks; nil: anybody
	request  wire.JoinRequest  // while it is joining
	renewal  *wire.JoinRequest // asked with in turn with it; nil: none
	renewing bool              // it was asked with last
	tries    int               // how often it was asked with
	dropped  int               // Welcomes to lose
	chokes   []*seat           // who cannot process the next commit of this device

	mailing  map[*cnode]*mailing  // by mailbox
	files    map[string]*heldFile // by the message that names it, in hex
	staged   *content.File        // the one that is being sent
	visiting bool

	passing map[*seat]*[]byte // an envelope of each sender that the next one may pass

	puppet *puppet // of a hostile device
	tape   [][]byte

	// Records of the run.
	events    []group.Event // as notified
	position  wire.EpochID
	moves     []move
	shown     int
	sent      int
	switches  int
	twin      bool            // it was told that its device runs twice
	destroyed int             // epochs' keys, KeyPackages' and rejoin secrets, and what was carried for others
	early     []string        // of that, what was destroyed too early
	gone      map[string]bool // messages that were erased, by their IDs in hex
	erasures  []erasure
	back      []string // of those, what came back
	filesGone int
	peaks     peaks
	traffic   traffic
}

type peaks struct{ epochs, parked, bytes, turn, row int }

type traffic struct{ gossip, sync, join int }

func newSeat(n *cnode, g *cgroup) *seat {
	s := &seat{n: n, g: g, disk: newDisk(), synced: map[*seat][2]int{}, passing: map[*seat]*[]byte{}, wanted: map[wire.DeviceID]map[wire.MessageID]bool{}, given: map[[32]byte]*given{}, gone: map[string]bool{}, files: map[string]*heldFile{}, spent: map[*seat]time.Time{}}
	s.spy = newSpy(s)
	return s
}

func (s *seat) w() *core { return s.n.w }

// log is the log that the device writes in the group, as long as its machine runs.
func (s *seat) log() wire.LogID {
	if s.m != nil {
		s.writes = s.m.Journal().Log()
	}
	return s.writes
}

// open makes the machine from the durable rows.
func (s *seat) open() (err error) {
	defer s.caught(&err)
	s.opened = true
	at := s.n.time()
	s.steps = at.Steps
	s.m, err = group.New(group.Config{
		Genesis: s.g.genesis, Device: s.n.dev, LogKey: s.n.log, Incarnation: s.n.inc, Engine: s.spy,
		Rand: s.n.chance, Rows: s.disk, Retention: s.g.decl.Retention, Alternative: s.w().alternative,
		Kept: at.Kept, Ends: at.Ends,
	}, at.Now)
	if err != nil {
		s.m = nil
		return fmt.Errorf("opening: %w", err)
	}
	if all, err := s.m.Journal().Messages(0, 0); err == nil {
		s.shown = len(all)
	}
	if p := s.m.Status().Position; p != s.position {
		s.moved(p, s.n.died) // it was durable before the process ended
	}
	if err := s.carryOut(); err != nil {
		return nil //nolint:nilerr // it crashed again, as planned
	}
	s.plan()
	return nil
}

// caught turns a panic of the machine into an error.
func (s *seat) caught(err *error) {
	if p := recover(); p != nil {
		stack := strings.Split(string(debug.Stack()), "\n")
		*err = fmt.Errorf("panic: %v\n%s", p, strings.Join(stack[min(len(stack), 7):min(len(stack), 23)], "\n"))
		s.broke(*err)
	}
}

// broke notes that the machine failed by itself, which is a violation of its own.
func (s *seat) broke(err error) {
	if s.bad == nil {
		s.bad = err
		s.w().hist.mark(s.w(), s.n, "broken", err.Error())
	}
	s.m = nil
}

// step gives an input to the machine and carries out its Ready.
func (s *seat) step(in group.Input) (out group.Outcome, err error) {
	if s.m == nil {
		return out, errDown
	}
	defer s.caught(&err)
	before := len(s.spy.seals)
	at := s.n.time()
	if s.steps != at.Steps {
		// As in package node: timers of before would wait for the wrong time.
		if err = s.open(); err != nil || s.m == nil {
			return out, errors.Join(err, errCrash)
		}
	}
	s.m.Keep(at.Kept, at.Ends, at.Now)
	out, err = s.m.Step(at.Now, in)
	if errors.Is(err, verdict.ErrCorrupt) || errors.Is(err, errVault) {
		s.broke(err)
		return out, err
	}
	if _, tick := in.(group.Tick); !tick && (out.New > 0 || err == nil) {
		s.version++
	}
	if len(s.spy.seals) > before {
		s.judgeSeals(before)
	}
	s.peaks.parked = max(s.peaks.parked, s.m.Parked())
	if cerr := s.carryOut(); cerr != nil {
		return out, cerr
	}
	s.plan()
	return out, err
}

// at says whether the process dies here.
func (s *seat) at(boundary string) bool {
	p := s.n.crash
	if p == nil || p.at != boundary {
		return false
	}
	if p.nth--; p.nth > 0 {
		return false
	}
	s.n.die("at " + boundary)
	return true
}

// carryOut carries out the Ready in its order, and may crash at each boundary.
func (s *seat) carryOut() error {
	r, ok := s.m.Ready()
	if !ok {
		return nil
	}
	m := s.m
	turn := 0
	for _, w := range r.Writes {
		turn += len(w.Key) + len(w.Value)
		s.peaks.row = max(s.peaks.row, len(w.Value))
	}
	s.peaks.turn = max(s.peaks.turn, turn)
	if s.at("writes") {
		return errCrash
	}
	// A torn transaction is atomic in the store: all of it is durable, or nothing.
	p := s.n.crash
	if torn := p != nil && p.at == "torn" && p.nth <= 1; !torn || s.w().chance.IntN(2) == 0 {
		s.judgeDestroyed(r)
		s.watchErased(r)
		s.watchFiles(r)
		s.post(r)
		for _, rows := range s.disk.apply(s.w().now, r) {
			s.early = append(s.early, fmt.Sprintf("%s destroyed the vault of rows that it keeps: %s", s.n.name, rows))
		}
		if len(r.Writes) > 0 {
			s.version++
			s.w().hist.wrote(s, r.Writes)
		}
	}
	if s.at("torn") || s.at("messages") {
		return errCrash
	}
	for i, o := range r.Messages {
		if i > 0 && s.at("within") {
			return errCrash
		}
		s.send(o)
	}
	if s.at("events") {
		return errCrash
	}
	for _, e := range r.Events {
		s.note(e)
	}
	if s.at("advance") {
		return errCrash
	}
	m.Advance()
	s.peaks.epochs = max(s.peaks.epochs, len(s.disk.under("held/")))
	s.peaks.bytes = max(s.peaks.bytes, s.disk.bytes)
	return nil
}

// send hands something to the network. A hostile device's own machine only watches.
func (s *seat) send(o group.Outbound) {
	if _, asks := o.(group.RequestJoin); s.n.reserve && !asks {
		s.n.hostile = true // it would write now
		s.puppet = &puppet{s: s, mine: map[wire.EntryHash]bool{}}
	}
	if s.n.hostile {
		return
	}
	w := s.w()
	switch o := o.(type) {
	case group.Publish:
		w.net.publish(s, o.Envelope, nil)
	case group.Tell:
		w.net.tell(s, o)
	case group.Ask:
		w.askSync(s)
	case group.RequestJoin:
		s.tries = 0
		s.request, s.renewal = o.Request, o.Renewal // the newest: it may have come by an invite meanwhile
		s.ended = false
		if !s.joining {
			s.joining = true
			w.after(50*time.Millisecond, func() { w.carryJoin(s) })
		}
	case group.EndRequest:
		s.ended = true
	}
}

// has says whether a device is in, as far as this one knows.
func (s *seat) has(n *cnode) bool {
	return slices.ContainsFunc(s.m.Members(), func(m group.Member) bool { return slices.Contains(m.Devices, n.dev.ID) })
}

func (s *seat) note(e group.Event) {
	s.events = append(s.events, e)
	switch e.Kind {
	case group.EventMessage:
		s.shown++
		s.w().hist.shown(s, e.Message)
	case group.EventEpoch, group.EventJoined:
		s.moved(e.Epoch, time.Time{})
	case group.EventSwitch:
		s.switches++
		s.w().hist.mark(s.w(), s.n, "switch", e.Detail)
	case group.EventOut:
		s.w().hist.mark(s.w(), s.n, "out", "")
	case group.EventTwin:
		s.twin = true
		s.w().hist.mark(s.w(), s.n, "twin", e.Detail)
	case group.EventRefused:
		s.w().hist.mark(s.w(), s.n, "refused", e.Detail)
	default:
	}
}

// moved notes a new position, taken up now if at is zero.
func (s *seat) moved(to wire.EpochID, at time.Time) {
	if s.position != to {
		s.position = to
		if at.IsZero() {
			at = s.w().now
		}
		m := move{At: at, Seat: s, To: to}
		s.w().hist.moves, s.moves = append(s.w().hist.moves, m), append(s.moves, m)
	}
}

// patience is how often a machine may ask to be woken at once in one moment.
const patience = 64

// plan schedules the time at which the machine wants to be woken.
func (s *seat) plan() {
	local := s.m.NextWake()
	if local.IsZero() {
		return
	}
	at := s.w().now.Add(local.Sub(s.n.time().Now))
	if now := s.w().now; !at.After(now) {
		if s.ticked.Equal(now) {
			s.atOnce++
		} else {
			s.ticked, s.atOnce = now, 0
		}
		if at = now; s.atOnce > patience {
			// The machine would spin until its time comes. Note that, and let the world go
			// on.
			s.spins++
			at = now.Add(100 * time.Millisecond)
		}
	}
	if at.Equal(s.wake) {
		return
	}
	s.wake = at
	m := s.m
	s.w().at(at, func() {
		if s.m == m && s.wake.Equal(at) {
			s.wake = time.Time{}
			_, _ = s.step(group.Tick{})
		}
	})
}

// status returns the machine's status, or none if the machine does not run.
func (s *seat) status() (st group.Status, ok bool) {
	if s.m == nil {
		return st, false
	}
	return s.m.Status(), true
}

// isIn says whether the device is a member, as far as it knows, that others can ask.
func (s *seat) isIn() bool {
	st, ok := s.status()
	return ok && (st.State == group.StateMember || st.State == group.StateSyncing)
}
