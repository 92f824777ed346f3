package hook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// Journal is what a hook reads of a node, and where the node keeps how far the hook is. All of
// it is for one goroutine.
type Journal interface {
	Groups(ctx context.Context) ([]Group, error)
	// After lists up to limit of what happened in a group after a cursor, and says up to which
	// cursor these are all.
	After(ctx context.Context, group string, after uint64, limit int) (all []api.Happening, upTo uint64, err error)
	// Begin gives the durable cursor of the hook in a group. One that is new lies at the newest event.
	Begin(ctx context.Context, group string) (uint64, error)
	// Acknowledge moves it, durably.
	Acknowledge(group string, cursor uint64) error
	State() (State, error)
	Keep(s State) error
	// Erased has what was kept before go from the disk, too.
	Erased() error
	// Changed gives a channel that closes when something may have happened.
	Changed() <-chan struct{}
}

// Config says how to make a [Runner].
type Config struct {
	Hook    config.Hook
	Me      string // this user
	Home    string // of the node, for programs
	Journal Journal
	Log     *slog.Logger
	Ran     func(ok bool) // called after each run

	act func(context.Context, Event) error // in place of the program or address; for tests
}

// Bounds of a turn.
const (
	page       = 64          // events that are read at once
	patience   = time.Minute // until what could not be read is read again
	saveEvery  = time.Minute // a cursor that moved over events the hook does not want is written so often
	storePause = time.Second // until a cursor that could not be written is written again
)

// Runner runs one hook at the events of its groups: in their order in each group, one at a time.
type Runner struct {
	Config
	filter filter
	act    func(context.Context, Event) error
	hash   []byte

	requests chan request
	quit     chan struct{}
	done     chan struct{}
	stop     func()

	// Of the goroutine of Run alone.
	state State
	at    map[string]position
	owed  string // the group whose cursor could not be written after a run

	mu  sync.Mutex
	now Report
}

// position is how far a hook is in a group.
type position struct {
	at    uint64
	saved uint64    // durable
	when  time.Time // it was made durable
}

// Report is how a hook is.
type Report struct {
	State
	Running time.Time // when the run began that goes on; zero: none does
	Ran     time.Time // when it last did what it is for, since the node began; zero: not yet
}

type request struct {
	do     func(context.Context) error
	result chan<- error
}

// New makes the runner of a hook. Nothing is done before Run.
func New(c Config) (*Runner, error) {
	f, err := newFilter(c.Hook, c.Me)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(c.Hook)
	if err != nil {
		return nil, fmt.Errorf("reading the hook: %w", err)
	}
	sum := sha256.Sum256(b)
	r := &Runner{
		Config: c, filter: f, act: c.act, hash: sum[:], requests: make(chan request), quit: make(chan struct{}), done: make(chan struct{}),
		at: map[string]position{},
	}
	if r.Ran == nil {
		r.Ran = func(bool) {}
	}
	r.stop = sync.OnceFunc(func() { close(r.quit) })
	switch {
	case r.act != nil:
	case c.Hook.URL != "":
		r.act = newWebhook(c.Hook).post
	default:
		r.act = program{argv: c.Hook.Exec, home: c.Home, limit: Limit}.run
	}
	return r, nil
}

// Run runs the hook until ctx ends, which also ends a program that runs, or until Stop.
func (r *Runner) Run(ctx context.Context) {
	defer close(r.done)
	if err := r.load(); err != nil {
		r.Log.Error("the hook is not run: its state cannot be read", "err", err)
		return
	}
	for {
		changed := r.Journal.Changed()
		wait, err := r.turn(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.Log.Warn("the hook waits", "err", err)
		}
		if !r.rest(ctx, changed, wait) {
			return
		}
	}
}

// rest waits until something may have to be done; false: nothing any more. A wait of 0 has no
// end of its own.
func (r *Runner) rest(ctx context.Context, changed <-chan struct{}, wait time.Duration) bool {
	var again <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-changed:
	case <-again:
	case q := <-r.requests:
		q.result <- q.do(ctx)
	case <-ctx.Done():
		return false
	case <-r.quit:
		r.save(true)
		return false
	}
	return true
}

// answer does what somebody asked for meanwhile.
func (r *Runner) answer(ctx context.Context) {
	select {
	case q := <-r.requests:
		q.result <- q.do(ctx)
	default:
	}
}

// Stop ends Run after the event that is being done, and waits for it.
func (r *Runner) Stop() {
	r.stop()
	<-r.done
}

// load reads what is durable. A hook that was configured anew is tried again.
func (r *Runner) load() (err error) {
	if r.state, err = r.Journal.State(); err != nil {
		return err
	}
	if !bytes.Equal(r.state.Config, r.hash) {
		return r.become(State{Config: r.hash})
	}
	r.state = r.state.read(time.Now())
	r.tell(func(is *Report) { is.State = r.state })
	return nil
}

// become makes a state durable.
func (r *Runner) become(s State) error {
	r.state = s
	r.tell(func(is *Report) { is.State = s })
	return r.Journal.Keep(s)
}

func (r *Runner) tell(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.now)
}

// Report says how the hook is.
func (r *Runner) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// turn does all there is to do, and says after which time there is more; 0: when something
// happens.
func (r *Runner) turn(ctx context.Context) (wait time.Duration, err error) {
	if err := r.forget(ctx); err != nil {
		return storePause, err
	}
	if r.state.Parked {
		return 0, nil
	}
	if wait := r.state.wait(time.Now()); wait > 0 {
		return wait, nil
	}
	if r.owed != "" {
		if err := r.finished(r.owed, 0); err != nil {
			return storePause, err
		}
	}
	groups, err := r.Journal.Groups(ctx)
	if err != nil {
		return patience, err
	}
	var mine []Group
	failing := -1
	for _, g := range groups {
		if r.filter.takes(g) {
			if g.ID == r.state.Group {
				failing = len(mine)
			}
			mine = append(mine, g)
		}
	}
	if failing > 0 { // what it fails at comes first, so that it is what is counted
		mine[0], mine[failing] = mine[failing], mine[0]
	}
	if r.state.Failures > 0 && failing < 0 { // the group is gone
		if err := r.become(r.state.works()); err != nil {
			return patience, err
		}
	}
	wait = r.save(false)
	for more := true; more; {
		more = false
		for _, g := range mine {
			is, err := r.group(ctx, g)
			switch {
			case ctx.Err() != nil:
				return 0, ctx.Err()
			case r.quits():
				return 0, nil
			case errors.Is(err, errSave):
				return storePause, err
			case err != nil && r.state.Parked:
				return 0, nil // it was said
			case err != nil && r.state.Failures > 0:
				if wait := r.state.wait(time.Now()); wait > 0 {
					return wait, nil
				}
				return patience, err
			case err != nil:
				r.Log.Debug("a group is not read", "group", g.ID, "err", err)
				wait = shorter(wait, patience)
			}
			more = more || is
		}
	}
	return shorter(wait, r.save(false)), nil
}

// taken is kept in place of what the hook said about a message that was taken away since: that
// may say what the message said.
const taken = "its message was taken away since, and with it what the hook said"

// forget drops what the hook said when it failed, if its message was taken away since.
func (r *Runner) forget(ctx context.Context) error {
	s := r.state
	if s.Failures == 0 || s.Why == taken {
		return nil
	}
	now, _, err := r.Journal.After(ctx, s.Group, s.Cursor-1, 1)
	if err != nil {
		return nil //nolint:nilerr // it is not known; a turn says what is wrong
	}
	if len(now) > 0 && now[0].Cursor == s.Cursor && r.filter.wants(now[0], time.Now()) && (now[0].Message == nil || now[0].Message.Deleted == nil) {
		return nil
	}
	s.Why = taken
	if err := r.become(s); err != nil {
		return err
	}
	return r.Journal.Erased()
}

func (r *Runner) quits() bool {
	select {
	case <-r.quit:
		return true
	default:
		return false
	}
}

// shorter is the shorter of two waits, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// errSave says that a cursor could not be written.
var errSave = errors.New("the cursor could not be written")

// group does what there is in one group, at most a page of it; more: there is more.
func (r *Runner) group(ctx context.Context, g Group) (more bool, err error) {
	p, ok := r.at[g.ID]
	if !ok {
		at, err := r.Journal.Begin(ctx, g.ID)
		if err != nil {
			return false, err
		}
		p = position{at: at, saved: at, when: time.Now()}
		r.at[g.ID] = p
	}
	all, upTo, err := r.Journal.After(ctx, g.ID, p.at, page)
	if err != nil {
		return false, err
	}
	for _, h := range all {
		if r.filter.wants(h, time.Now()) {
			if err := r.one(ctx, g, h.Cursor); err != nil || r.quits() {
				return false, err
			}
			r.answer(ctx)
		}
		r.moved(g.ID, h.Cursor)
	}
	r.moved(g.ID, upTo)
	if r.state.Group == g.ID && r.state.Failures > 0 && r.at[g.ID].at >= r.state.Cursor { // its event is none any more
		return false, r.become(r.state.works())
	}
	return len(all) == page, nil
}

func (r *Runner) moved(group string, to uint64) {
	p := r.at[group]
	p.at = max(p.at, to)
	r.at[group] = p
}

// one runs the hook at an event, as that is now, and acknowledges it. An error means that it is
// not done with, or that this is not durable.
func (r *Runner) one(ctx context.Context, g Group, cursor uint64) error {
	now, _, err := r.Journal.After(ctx, g.ID, cursor-1, 1)
	if err != nil {
		return err
	}
	if len(now) == 0 || now[0].Cursor != cursor || !r.filter.wants(now[0], time.Now()) {
		return nil // it was taken away meanwhile
	}
	attempt := 1
	if r.state.Group == g.ID && r.state.Cursor == cursor {
		attempt += r.state.Failures
	}
	err = r.do(ctx, eventOf(r.Hook.Name, g, now[0], attempt))
	if ctx.Err() != nil {
		return ctx.Err() // it was interrupted, and comes again
	}
	r.Ran(err == nil)
	if err != nil {
		s := r.state.failed(time.Now(), g.ID, cursor, err.Error())
		if s.Parked {
			r.Log.Error("the hook is parked", "failures", s.Failures, "since", s.Since, "err", err)
		} else {
			r.Log.Warn("the hook failed", "failures", s.Failures, "again", s.Next, "err", err)
		}
		return errors.Join(err, r.become(s))
	}
	r.tell(func(is *Report) { is.Ran = time.Now() })
	return r.finished(g.ID, cursor)
}

// finished acknowledges an event that is done with. If that cannot be written, it is not run
// again all the same while this process lives.
func (r *Runner) finished(group string, cursor uint64) error {
	r.moved(group, cursor)
	r.owed = group
	if err := r.acknowledge(group); err != nil {
		return err
	}
	if r.owed = ""; r.state.Failures == 0 {
		return nil
	}
	return r.become(r.state.works())
}

// acknowledge makes the position in a group durable.
func (r *Runner) acknowledge(group string) error {
	p := r.at[group]
	if err := r.Journal.Acknowledge(group, p.at); err != nil {
		return fmt.Errorf("%w: %w", errSave, err)
	}
	p.saved, p.when = p.at, time.Now()
	r.at[group] = p
	return nil
}

// save makes positions durable that moved over events the hook does not want, at most once a
// minute each, and says when there is more to save.
func (r *Runner) save(now bool) (wait time.Duration) {
	for group, p := range r.at {
		if p.saved == p.at {
			continue
		}
		if left := saveEvery - time.Since(p.when); left > 0 && !now {
			wait = shorter(wait, left)
			continue
		}
		if err := r.acknowledge(group); err != nil { // the group may be gone
			p.when = time.Now()
			r.at[group] = p
		}
	}
	return wait
}

// do runs the hook.
func (r *Runner) do(ctx context.Context, e Event) error {
	r.tell(func(is *Report) { is.Running = time.Now() })
	defer r.tell(func(is *Report) { is.Running = time.Time{} })
	return r.act(ctx, e)
}

// ask has the goroutine of Run do something, between two events.
func (r *Runner) ask(ctx context.Context, do func(context.Context) error) error {
	result := make(chan error, 1)
	select {
	case r.requests <- request{do, result}:
	case <-r.done:
		return api.Errorf(api.CodeUnavailable, "the hook %s is not running", r.Hook.Name).WithHint("the log of the node says why")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-result:
		return err
	case <-r.done:
		return api.Errorf(api.CodeUnavailable, "the node stops")
	}
}

// Test runs the hook at an event that did not happen. The first result says how that failed.
func (r *Runner) Test(ctx context.Context, now time.Time) (failed, err error) {
	err = r.ask(ctx, func(ctx context.Context) error {
		failed = r.do(ctx, Event{Version: Version, Hook: r.Hook.Name, ID: fmt.Sprintf("test/%d", now.UnixMilli()), Attempt: 1, Kind: KindTest, At: now, Test: true})
		return nil
	})
	return failed, err
}

// Resume has a hook that fails or is parked tried again at once.
func (r *Runner) Resume(ctx context.Context) error {
	return r.ask(ctx, func(context.Context) error {
		if r.state.Failures == 0 {
			return nil
		}
		s := r.state
		s.Parked, s.Next = false, time.Now()
		if s.Failures = 1; s.Since.IsZero() {
			s.Since = s.Next
		}
		return r.become(s)
	})
}

// Skip gives up the event that the hook fails at, and goes on with the next.
func (r *Runner) Skip(ctx context.Context) (skipped State, err error) {
	err = r.ask(ctx, func(context.Context) error {
		skipped = r.state
		if skipped.Failures == 0 {
			return api.Errorf(api.CodeConflict, "the hook %s does not fail: there is nothing to skip", r.Hook.Name)
		}
		r.moved(skipped.Group, skipped.Cursor)
		if err := r.acknowledge(skipped.Group); err != nil {
			return err
		}
		return r.become(r.state.works())
	})
	return skipped, err
}
