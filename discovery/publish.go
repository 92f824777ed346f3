package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/pandanode/pandanode/node/wire"
)

// PublishState says how far the publication of a group is.
type PublishState int

// States.
const (
	queued    PublishState = iota // waits for a first peer, or for its turn
	Published                     // read back from at least one peer
	failing                       // the last attempt failed; Err says why; tried again
)

func (s PublishState) String() string {
	switch s {
	case queued:
		return "queued"
	case Published:
		return "published"
	case failing:
		return "failing"
	}
	return fmt.Sprintf("state(%d)", int(s))
}

// PublishStatus is the state of a group's publication.
type PublishStatus struct {
	State   PublishState
	Holders int       // peers that the record was read back from
	At      time.Time // of the last success
	Err     error     // of the last attempt; ErrNoPeers while queued
}

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	DHT      *DHT          // needed
	Interval time.Duration // between republications; 0 is 6 hours, an eighth of maxRecordAge
}

// Publisher keeps the records of its groups in the DHT, and this node in their lists of
// providers. It publishes at once when something changes, and again with jitter, since the
// DHT forgets: first after firstPause, then after pauses that double up to the interval
// while the record is still found there. If it is not, the pause is firstPause again. A
// node without peers queues its records, and publishes them when the first peer appears.
type Publisher struct {
	dht      *DHT
	interval time.Duration
	cancel   context.CancelFunc
	done     chan struct{}
	kick     chan struct{}

	mu        sync.Mutex
	groups    map[wire.GroupID]*publication
	announced map[cid.Cid]time.Time // keys that several groups may have, as all public ones do
}

type publication struct {
	PublishStatus
	due     time.Time
	busy    bool
	dirty   bool // changed while busy
	retries int
	pause   time.Duration // until it is looked after again
	meets   []cid.Cid     // of a private group, which has no record
	private bool
}

const (
	publishTimeout = 2 * time.Minute
	publishAtOnce  = 4 // groups
	alonePoll      = 2 * time.Second
	firstPause     = 15 * time.Minute
	newsDelay      = 15 * time.Second // others' changes are collected for this long
	maxRetry       = 10 * time.Minute
)

// NewPublisher starts a publisher.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Interval == 0 {
		cfg.Interval = maxRecordAge / 8
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{
		dht: cfg.DHT, interval: cfg.Interval, cancel: cancel,
		done: make(chan struct{}), kick: make(chan struct{}, 1), groups: make(map[wire.GroupID]*publication),
		announced: make(map[cid.Cid]time.Time),
	}
	go p.run(ctx)
	return p
}

// Close stops publishing. Published records stay in the DHT until they expire.
func (p *Publisher) Close() {
	p.cancel()
	<-p.done
}

// Publish adds a group, or news of one. It collects the record into the known one of the
// group, publishes the result at once and returns it.
func (p *Publisher) Publish(i *Info) (*Info, error) {
	best, more, err := p.dht.known.Add(i)
	if err != nil {
		return nil, err
	}
	p.dht.known.keep(i.Group, true)
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.groups[i.Group]
	if !ok {
		e = new(publication)
		p.groups[i.Group] = e
	}
	if !ok || more {
		e.due, e.dirty, e.retries = time.Time{}, true, 0
		p.wake()
	}
	return best, nil
}

// Meet announces this node as a member of a private group under the given secrets, which
// its members alone know, and no longer under others.
func (p *Publisher) Meet(g wire.GroupID, secrets []wire.MeetSecret) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.groups[g]
	if e == nil {
		e = &publication{private: true}
		p.groups[g] = e
	}
	e.meets = nil
	for _, s := range secrets {
		e.meets = append(e.meets, rendezvousCID(s))
	}
	e.due, e.dirty, e.retries = time.Time{}, true, 0
	p.wake()
}

// Withdraw stops publishing a group.
func (p *Publisher) Withdraw(g wire.GroupID) {
	p.mu.Lock()
	delete(p.groups, g)
	p.mu.Unlock()
	p.dht.known.keep(g, false)
}

// Status is the state of a group's publication; false if it is not published here.
func (p *Publisher) Status(g wire.GroupID) (PublishStatus, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.groups[g]
	if !ok {
		return PublishStatus{}, false
	}
	return e.PublishStatus, true
}

// PublicGroups is the records of the groups that are published here: a Catalog.
func (p *Publisher) PublicGroups() []*Info {
	p.mu.Lock()
	groups := slices.SortedFunc(maps.Keys(p.groups), func(a, b wire.GroupID) int { return bytes.Compare(a[:], b[:]) })
	groups = slices.DeleteFunc(groups, func(g wire.GroupID) bool { return p.groups[g].private })
	p.mu.Unlock()
	var out []*Info
	for _, g := range groups {
		if i := p.dht.known.Get(g); i != nil {
			out = append(out, i)
		}
	}
	return out
}

func (p *Publisher) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *Publisher) run(ctx context.Context) {
	var running sync.WaitGroup
	defer close(p.done)
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
		case <-timer.C:
		}
		due, next := p.due(time.Now())
		timer.Reset(next)
		for _, g := range due {
			running.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, publishTimeout)
				defer cancel()
				out, err := p.once(ctx, g)
				p.finish(g, out, err)
			})
		}
	}
}

// due returns the groups whose turn it is, marked busy, and the time until it should be
// called again.
func (p *Publisher) due(now time.Time) ([]wire.GroupID, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := newsDelay
	alone := p.dht.Size() == 0
	busy := 0
	for _, e := range p.groups {
		if e.busy {
			busy++
		}
	}
	var out []wire.GroupID
	for g, e := range p.groups {
		if !e.busy && e.State != failing && p.dht.known.hasNews(g) {
			e.due = minTime(e.due, now) // looked at every newsDelay
		}
		switch wait := e.due.Sub(now); {
		case e.busy:
		case wait > 0:
			next = min(next, wait)
		case alone:
			e.State, e.Err = queued, ErrNoPeers
			next = min(next, alonePoll)
		case busy < publishAtOnce:
			busy++
			e.busy, e.dirty = true, false
			out = append(out, g)
		}
	}
	return out, next
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// once publishes the record and announces this node; of a private group only that.
func (p *Publisher) once(ctx context.Context, g wire.GroupID) (put, error) {
	p.mu.Lock()
	e := p.groups[g]
	private := e != nil && e.private
	var meets []cid.Cid
	if private {
		meets = slices.Clone(e.meets)
	}
	p.mu.Unlock()
	if private {
		var errs []error
		for _, c := range meets {
			errs = append(errs, p.dht.provide(ctx, c))
		}
		return put{}, errors.Join(errs...)
	}
	out, err := p.dht.publish(ctx, g)
	if err != nil {
		return put{}, err
	}
	var errs []error
	always, seldom := out.best.announcements(p.dht.own(1))
	for _, c := range always {
		if p.announces(g, c) {
			errs = append(errs, p.tell(c, p.dht.provide(ctx, c)))
		}
	}
	for _, c := range seldom {
		if p.announces(g, c) {
			errs = append(errs, p.tell(c, p.dht.provideSeldom(ctx, c)))
		}
	}
	return out, errors.Join(errs...)
}

// announces says whether it is a group's turn to announce a key: not if another group of
// this node has just done so. The first time it always is.
func (p *Publisher) announces(g wire.GroupID, c cid.Cid) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(p.announced, func(_ cid.Cid, at time.Time) bool { return now.Sub(at) >= p.interval })
	at, ok := p.announced[c]
	e := p.groups[g]
	return !ok || e == nil || now.Sub(at) >= e.pause/2
}

// tell notes that a key was announced, unless it failed.
func (p *Publisher) tell(c cid.Cid, err error) error {
	if err == nil {
		p.mu.Lock()
		p.announced[c] = time.Now()
		p.mu.Unlock()
	}
	return err
}

func (p *Publisher) finish(g wire.GroupID, out put, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.wake() // another group can go
	e, ok := p.groups[g]
	if !ok {
		return // withdrawn meanwhile
	}
	now := time.Now()
	e.busy, e.Err = false, err
	switch {
	case err == nil:
		if lost := !e.private && out.before == 0; e.pause == 0 || lost {
			e.pause = firstPause
		} else {
			e.pause *= 2
		}
		e.pause = min(e.pause, p.interval)
		e.State, e.Holders, e.At, e.retries = Published, out.holders, now, 0
		e.due = now.Add(jitter(e.pause))
	case errors.Is(err, ErrNoPeers):
		e.State, e.due = queued, now.Add(alonePoll)
	default:
		e.State, e.due = failing, now.Add(jitter(min(alonePoll<<min(e.retries, 10), maxRetry)))
		e.retries++
	}
	if e.dirty {
		e.due = now
	}
}

// jitter returns d, give or take a tenth, so that nodes do not move in step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // not a secret
}
