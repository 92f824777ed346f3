package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// searching bounds a search: within a timeout, and to so many results.
func searching(ctx context.Context, timeout api.Duration, limit int) (context.Context, context.CancelFunc, int) {
	ctx, cancel := within(ctx, cmp.Or(timeout, api.Duration(10*time.Second)))
	return ctx, cancel, cmp.Or(limit, 20)
}

func (s groupRoutes) Find(ctx context.Context, r api.FindRequest, emit func(api.Found) error) error {
	return uncut(ctx, s.find(ctx, r, emit))
}

// uncut is what came of a search. One that its caller or the node's end has cut found out
// nothing: neither that nobody is there, nor that there is no more.
func uncut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s groupRoutes) find(ctx context.Context, r api.FindRequest, emit func(api.Found) error) error {
	search, cancel, limit := searching(ctx, r.Timeout, r.Limit)
	defer cancel()
	if id, err := wire.ParseGroupID(r.Name); err == nil {
		return s.findOne(search, id, emit)
	}
	if r.Limit < 0 {
		return api.Errorf(api.CodeInvalid, "a limit of %d", r.Limit)
	}
	q := discovery.Query{Name: r.Name, Tag: r.Tag, MinMembers: r.MinMembers, MaxMembers: r.MaxMembers, After: r.After, Limit: limit}
	shown := make(map[string]bool) // groups; one is told of once for each source
	show := func(f api.Found) error {
		if !shown[f.ID] && len(shown) == limit {
			return nil
		}
		shown[f.ID] = true
		return emit(f)
	}
	for _, i := range s.n.directory.publisher.PublicGroups() {
		if q.Fits(i) {
			if err := show(found(i, api.SourceLocal, "")); err != nil {
				return err
			}
		}
	}
	began := time.Now()
	for pause := searchAgain; ; pause *= 2 {
		// A search tells nothing while nobody can be asked: it is made again.
		asked := s.askable()
		missing, err := s.n.Missing(search, api.LevelOnline)
		if err != nil {
			return APIError(err)
		}
		if err := s.search(search, q, r.Ranked, show); err != nil {
			return err
		}
		if len(shown) > 0 {
			return nil
		}
		if private := s.foundPrivate(ctx, q); private != nil {
			return private
		}
		if missing == "" && time.Since(began) >= freshGroup {
			return nil
		}
		if again, err := s.beforeAnotherSearch(ctx, search, asked, pause); !again {
			return err
		}
	}
}

// search makes one search and shows what it finds.
func (s groupRoutes) search(ctx context.Context, q discovery.Query, ranked bool, show func(api.Found) error) error {
	of := func(r discovery.Result, from discovery.Source) api.Source {
		if from == discovery.SourceConnected {
			return apiSource(s.n.directory.peers.Source(r.From))
		}
		return apiSource(from)
	}
	if ranked {
		all, err := s.n.directory.rank(ctx, q)
		if err != nil {
			return APIError(err)
		}
		for _, r := range all {
			f := found(r.Info, of(r.Result, r.Source), r.From.String())
			f.Votes = r.Votes
			for _, source := range r.Sources {
				f.Sources = append(f.Sources, of(r.Result, source))
			}
			if err := show(f); err != nil {
				return err
			}
		}
		return nil
	}
	results, err := s.n.directory.find(ctx, s.n.life, q)
	if err != nil {
		return APIError(err)
	}
	for r := range results { // closed when the search ends
		if err := show(found(r.Info, of(r, r.Source), r.From.String())); err != nil {
			return err
		}
	}
	return nil
}

// searchAgain is when a search that could ask nobody, or not everybody yet, is made again
// though nothing has changed: who has just connected may not have said what it speaks.
const searchAgain = time.Second

// freshGroup is how long a search goes on that finds nothing: a group that was founded a
// moment ago is on its way to those who are asked.
const freshGroup = 1500 * time.Millisecond

// askable counts the peers that a search can ask.
func (s groupRoutes) askable() [2]int {
	return [2]int{len(s.n.host.Network().Peers()), s.n.directory.dht.Size()}
}

// beforeAnotherSearch waits until others can be asked, or for the pause if somebody can.
// At the end of the search nobody was there: that is an error, or that those who were
// there knew nothing.
func (s groupRoutes) beforeAnotherSearch(ctx, search context.Context, asked [2]int, pause time.Duration) (again bool, err error) {
	over := time.NewTimer(pause)
	defer over.Stop()
	table := time.NewTicker(tablePoll) // the DHT's table tells nobody when it grows
	defer table.Stop()
	for {
		changed := s.n.changed.wait()
		if s.askable() != asked {
			return true, nil
		}
		select {
		case <-changed:
		case <-table.C:
		case <-over.C:
			if asked[0] > 0 {
				return true, nil
			}
		case <-s.n.life.done:
			return false, APIError(ErrClosed)
		case <-search.Done():
			switch {
			case ctx.Err() != nil:
				return false, APIError(ctx.Err())
			case len(s.n.host.Network().Peers()) == 0:
				return false, APIError(fmt.Errorf("%w, so nobody could be asked", errNoPeers))
			}
			return false, nil
		}
	}
}

// foundPrivate explains a search for a private group of this device.
func (s groupRoutes) foundPrivate(ctx context.Context, q discovery.Query) error {
	if q.Name == "" {
		return nil
	}
	for _, g := range s.n.groups.all() {
		if !g.genesis.Private || !g.loop.opened.Load() {
			continue
		}
		one, err := s.group(ctx, g.id)
		if err != nil || !(discovery.Query{Name: q.Name}).Fits(&discovery.Info{Group: g.id, Genesis: g.genesis, Name: one.Name}) {
			continue
		}
		return privateGroup(one)
	}
	return nil
}

func privateGroup(g api.Group) error {
	return api.Errorf(api.CodeNotFound, "no public group was found; the group %q is here and is private: it is in no search, and others find it by an invite link alone", g.Name).
		WithHint("pandanode group invite %s", api.Short(g.ID))
}

func (s groupRoutes) findOne(ctx context.Context, id wire.GroupID, emit func(api.Found) error) error {
	if i := s.n.directory.known.Get(id); i != nil && s.n.groups.get(id) != nil {
		if err := emit(found(i, api.SourceLocal, "")); err != nil {
			return err
		}
		if len(s.n.host.Network().Peers()) == 0 {
			return nil
		}
	}
	if g := s.n.groups.get(id); g != nil && g.genesis.Private {
		one, err := s.group(ctx, id)
		if err != nil {
			return err
		}
		return privateGroup(one)
	}
	if err := s.n.Wait(ctx, api.LevelOnline); err != nil {
		switch {
		case errors.Is(err, ErrClosed):
			return APIError(err)
		case len(s.n.host.Network().Peers()) == 0:
			return APIError(fmt.Errorf("%w, so nobody could be asked", errNoPeers))
		}
		return nil
	}
	i, err := s.n.directory.lookup(ctx, id)
	if err != nil {
		if errors.Is(err, errNotFound) || errors.Is(err, context.DeadlineExceeded) {
			return nil // as a search that finds nothing
		}
		return APIError(err)
	}
	return emit(found(i, api.SourceDHT, ""))
}

func found(i *discovery.Info, source api.Source, from string) api.Found {
	return api.Found{
		ID: i.Group.String(), Name: i.Name, Description: i.Description, Tags: i.Tags, Policy: api.Policy(i.Policy.String()),
		Members: int(i.Members()), Created: time.UnixMilli(int64(i.Genesis.Created)), //nolint:gosec // checked
		Source: source, Peer: from, Verified: true, Claims: []string{"members", "created"},
	}
}
