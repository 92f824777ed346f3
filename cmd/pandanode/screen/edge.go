package screen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pandanode/pandanode/node/api"
)

// edge carries out what the model wants, by the API's client.
type edge struct {
	h    Host
	c    *api.Client
	send func(tea.Msg) // into the program, from a stream
	run  string        // this run of the program: the keys of what it sends begin with it

	mu     sync.Mutex
	watch  context.CancelFunc // ends the stream of the node's events
	follow context.CancelFunc // ends the stream of the group that was open
}

// Times after which a node that is there should have answered.
const (
	answerTime = 15 * time.Second
	findTime   = 8 * time.Second
	joinTime   = 45 * time.Second
)

// do carries out one want, and gives what is to be said to the model: nil if nothing is, or
// if a stream says it.
func (e *edge) do(ctx context.Context, w want) tea.Msg {
	switch w := w.(type) {
	case wantWatch:
		e.stream(ctx, &e.watch, e.watchEvents)
		return nil
	case wantFollow:
		e.stream(ctx, &e.follow, func(ctx context.Context) { e.followGroup(ctx, w) })
		return nil
	case wantStop:
		e.stop()
		return nil
	case wantAfter:
		select {
		case <-time.After(w.wait):
			return ticked{w.tick, e.h.Now()}
		case <-ctx.Done():
			return nil
		}
	case wantJoin, wantMake, wantSlash, wantUnlock, wantSave:
		return e.ask(ctx, w) // they take as long as they take
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return e.ask(ctx, w)
}

// stream begins a stream in the place of the one before.
func (e *edge) stream(ctx context.Context, held *context.CancelFunc, run func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	if *held != nil {
		(*held)()
	}
	*held = cancel
	e.mu.Unlock()
	go run(ctx)
}

// stop ends the streams.
func (e *edge) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, held := range []*context.CancelFunc{&e.watch, &e.follow} {
		if *held != nil {
			(*held)()
			*held = nil
		}
	}
}

// gathered hands over what a stream gives in bunches, so that a burst is drawn once.
func gathered[T any](ctx context.Context, run func(emit func(T) error) error, hand func([]T)) error {
	const moment = 20 * time.Millisecond
	var mu sync.Mutex
	var held []T
	more := make(chan struct{}, 1)
	over := make(chan struct{})
	done := make(chan struct{})
	flush := func() {
		mu.Lock()
		bunch := held
		held = nil
		mu.Unlock()
		if len(bunch) > 0 && ctx.Err() == nil {
			hand(bunch)
		}
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-more:
				flush()
				select {
				case <-time.After(moment):
				case <-over:
				}
			case <-over:
				flush()
				return
			}
		}
	}()
	err := run(func(item T) error {
		mu.Lock()
		held = append(held, item)
		mu.Unlock()
		select {
		case more <- struct{}{}:
		default:
		}
		return ctx.Err()
	})
	close(over)
	<-done
	return err
}

func (e *edge) watchEvents(ctx context.Context) {
	err := gathered(ctx, func(emit func(api.Event) error) error { return e.c.Events(ctx, api.EventsRequest{}, emit) },
		func(all []api.Event) { e.send(happened{all}) })
	if ctx.Err() == nil {
		e.send(unwatched{err})
	}
}

func (e *edge) followGroup(ctx context.Context, w wantFollow) {
	r := api.TimelineRequest{Group: w.at.group, Since: w.since, Follow: true}
	err := gathered(ctx, func(emit func(api.Happening) error) error { return e.c.Timeline(ctx, r, emit) },
		func(all []api.Happening) { e.send(came{w.at, all}) })
	if ctx.Err() == nil {
		e.send(unfollowed{w.at, err})
	}
}

// ask asks the node, once.
func (e *edge) ask(ctx context.Context, w want) tea.Msg {
	switch w := w.(type) {
	case wantStart:
		return e.start(ctx)
	case wantTry:
		s, err := e.c.Status(ctx, api.StatusRequest{})
		if err == nil && s.Locked {
			err = api.ErrLocked()
		}
		return tried{err}
	case wantGroups:
		s, err := e.c.Status(ctx, api.StatusRequest{})
		if err != nil {
			return listed{err: err}
		}
		return listed{groups: s.Groups, status: s}
	case wantOpen:
		return e.open(ctx, w.at, 0)
	case wantAround:
		return e.open(ctx, w.at, w.cursor)
	case wantPeople:
		members, requests := e.people(ctx, w.at.group)
		return met{w.at, members, requests}
	case wantOlder:
		page, err := e.page(ctx, api.TimelineRequest{Group: w.at.group, Last: laterPage, Before: w.before}, 0)
		return older{w.at, page, err}
	case wantNewer:
		page, err := e.page(ctx, api.TimelineRequest{Group: w.at.group, Since: w.since}, laterPage)
		return newer{w.at, page, len(page) < laterPage, err}
	case wantSend:
		s, err := e.c.Send(ctx, e.request(w.group, w.p))
		return sent{w.group, w.p, s, err}
	case wantFlush:
		return e.flush(ctx, w)
	case wantRead:
		mark, err := e.c.Read(ctx, api.ReadRequest{Group: w.group, Cursor: w.cursor})
		if err != nil {
			return nil // it stays unread
		}
		return read{mark}
	case wantDraft:
		_, _ = e.c.SetLocal(ctx, api.LocalRequest{Group: w.group, Draft: &w.draft}) // the line has it still
		return nil
	case wantDeliveries:
		out := delivered{group: w.group}
		for _, id := range w.ids {
			if s, err := e.c.Delivery(ctx, api.DeliveryRequest{Group: w.group, Message: id}); err == nil {
				out.sent = append(out.sent, s)
			}
		}
		return out
	case wantSearch:
		out := found{seq: w.seq}
		out.err = e.c.Search(ctx, api.SearchRequest{Group: w.group, Words: w.words}, func(m api.Message) error {
			out.messages = append(out.messages, m)
			return nil
		})
		return out
	default:
		return e.act(ctx, w)
	}
}

// act does what somebody wants to be done.
func (e *edge) act(ctx context.Context, w want) tea.Msg {
	switch w := w.(type) {
	case wantEdit:
		_, err := e.c.Edit(ctx, api.EditRequest{Group: w.group, Message: w.id, Text: w.text})
		return did{"", err}
	case wantErase:
		_, err := e.c.Delete(ctx, api.MessageRequest{Group: w.group, Message: w.id})
		return did{"", err}
	case wantReact:
		r := api.ReactionRequest{Group: w.group, Message: w.id, Text: w.text}
		if m, err := e.c.Message(ctx, api.MessageRequest{Group: w.group, Message: w.id}); err == nil {
			for _, o := range m.Reactions {
				if o.Text == w.text && o.Mine { // a second time takes it back
					_, err := e.c.Unreact(ctx, r)
					return did{"the reaction is taken back", err}
				}
			}
		}
		_, err := e.c.React(ctx, r)
		return did{"", err}
	case wantWhy:
		return answered{"Why", e.h.Slash(ctx, "/why "+w.id, w.group)}
	case wantSlash:
		return answered{w.line, e.h.Slash(ctx, w.line, w.group)}
	case wantSave:
		path, err := e.h.Save(ctx, w.file)
		return did{"saved " + path, err}
	case wantMessage:
		msg, err := e.c.Message(ctx, api.MessageRequest{Group: w.group, Message: w.id})
		if err != nil {
			return nil // it is shown as it was
		}
		return renewed{w.group, msg}
	case wantPaths:
		return pathsListed{w.seq, pathsFrom(w.path, e.h.Home)}
	case wantFind:
		return e.find(ctx, w)
	case wantJoin:
		return e.join(ctx, w)
	case wantMake:
		g, err := e.c.CreateGroup(ctx, api.CreateGroupRequest{Name: w.name, Policy: w.policy, Private: w.private})
		return joined{g.ID, fmt.Sprintf("you founded %q", w.name), err}
	case wantUnlock:
		_, err := e.c.Unlock(ctx, api.UnlockRequest{Passphrase: string(w.passphrase.text)})
		w.passphrase.wipe()
		return unlocked{err}
	}
	return nil
}

func (e *edge) start(ctx context.Context) tea.Msg {
	s, err := e.c.Status(ctx, api.StatusRequest{})
	if err != nil || s.Locked {
		return started{status: s, err: err}
	}
	return started{me: s.ID, status: s, groups: s.Groups}
}

// page reads items of a timeline; most: no more than that.
func (e *edge) page(ctx context.Context, r api.TimelineRequest, most int) (page []api.Happening, err error) {
	enough := errors.New("enough")
	err = e.c.Timeline(ctx, r, func(h api.Happening) error {
		page = append(page, h)
		if len(page) == most {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return page, err
}

// open reads what a group shows: the newest, or what was up to an item.
func (e *edge) open(ctx context.Context, at place, end uint64) tea.Msg {
	out := opened{at: at, end: end}
	if out.group, out.err = e.c.Group(ctx, api.GroupRequest{Group: at.group}); out.err != nil {
		return out
	}
	const most, beside = 500, 20
	r := api.TimelineRequest{Group: at.group, Last: max(firstPage, min(out.group.Unread+beside, most))}
	if end != 0 {
		r.Before = end + 1
	}
	if out.page, out.err = e.page(ctx, r, 0); out.err != nil {
		return out
	}
	out.members, out.requests = e.people(ctx, at.group)
	if l, err := e.c.Local(ctx, api.GroupRequest{Group: at.group}); err == nil {
		out.draft = l.Draft
	}
	return out
}

// people reads who is in a group, and who waits before it. Of a group that is joined, or
// left, there is nobody to tell of.
func (e *edge) people(ctx context.Context, group string) (members api.Members, requests []api.Request) {
	if m, err := e.c.Members(ctx, api.GroupRequest{Group: group}); err == nil {
		members = m
	}
	for _, m := range members.Members {
		if m.Self && (m.Role == "owner" || m.Role == "admin") {
			if r, err := e.c.Requests(ctx, api.GroupRequest{Group: group}); err == nil {
				for _, o := range r.Requests {
					if o.State == api.RequestWaiting {
						requests = append(requests, o)
					}
				}
			}
		}
	}
	return members, requests
}

// request is how a text is sent. It may come again after a crash or a lost answer: by its key
// it is one message.
func (e *edge) request(group string, p pending) api.SendRequest {
	return api.SendRequest{Group: group, Text: p.text, ReplyTo: p.replyTo, Thread: p.thread, Mention: true, Key: fmt.Sprintf("chat/%s/%d", e.run, p.key)}
}

// flush sends what waited while the node was away, in its order.
func (e *edge) flush(ctx context.Context, w wantFlush) tea.Msg {
	out := flushed{group: w.group, wrong: map[int]error{}}
	for _, p := range w.texts {
		_, err := e.c.Send(ctx, e.request(w.group, p))
		switch {
		case err == nil:
			out.done = append(out.done, p.key)
		case unanswered(err) || ctx.Err() != nil:
			out.err = err
			return out
		default:
			out.wrong[p.key] = err
		}
	}
	return out
}

func (e *edge) find(ctx context.Context, w wantFind) tea.Msg {
	ctx, cancel := context.WithTimeout(ctx, findTime+time.Second)
	defer cancel()
	out := offered{seq: w.seq}
	out.err = e.c.Find(ctx, api.FindRequest{Name: w.words, Ranked: true, Timeout: api.Duration(findTime)}, func(f api.Found) error {
		out.list = append(out.list, f)
		return nil
	})
	return out
}

// join asks to be let in. The node goes on with that when it takes longer.
func (e *edge) join(ctx context.Context, w wantJoin) tea.Msg {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	var last api.JoinUpdate
	err := e.c.Join(ctx, api.JoinRequest{Group: w.group, Link: w.link, Until: api.StageWaiting}, func(u api.JoinUpdate) error {
		last = u
		return nil
	})
	switch {
	case err == nil && last.Stage == api.StageSynced:
		return joined{last.Group, "you are in", nil}
	case last.Group != "" && (err == nil || api.CodeOf(err) == api.CodeTimeout):
		return joined{last.Group, "the node asks to be let in, and goes on until it is", nil}
	}
	return joined{last.Group, "", err}
}

// editing has a program of the user's edit a text.
func (e *edge) editing(text string) tea.Cmd {
	failed := func(err error) tea.Cmd { return func() tea.Msg { return edited{err: err} } }
	f, err := os.CreateTemp("", "pandanode-*.txt")
	if err != nil {
		return failed(err)
	}
	path := f.Name()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return failed(err)
	}
	args := slices.Concat(e.h.Editor[1:], []string{path})
	return tea.ExecProcess(exec.Command(e.h.Editor[0], args...), func(err error) tea.Msg { //nolint:noctx,gosec // the user's own program; it ends when the user ends it
		defer os.Remove(path) //nolint:errcheck // a draft of the user's own
		if err != nil {
			return edited{err: fmt.Errorf("the editor %s: %w", e.h.Editor[0], err)}
		}
		b, err := os.ReadFile(filepath.Clean(path))
		return edited{string(b), err}
	})
}
