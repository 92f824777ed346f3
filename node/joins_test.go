package node

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// TestJoinsAtOnce has nine nodes start and join a group at one moment. They wait for
// nothing that grows with their number: not for a group's record, and little for each other
// where several members let them in at once, so that commits fork.
func TestJoinsAtOnce(t *testing.T) {
	t.Parallel()
	const joiners = 9
	for _, c := range []struct {
		name    string
		policy  wire.Policy
		members int // beside the founder; each joiner reaches one of all these and no other
		most    time.Duration
	}{
		{"by name", wire.PolicyOpen, 0, 6 * time.Second},
		{"by link", wire.PolicyInvite, 0, 6 * time.Second},
		{"of several members", wire.PolicyOpen, 3, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				founder := w.open(0)
				id := w.found(founder, c.policy)
				for i := range c.members {
					w.join(w.open(1+i, 0), id)
				}
				var link *wire.Link
				if c.policy == wire.PolicyInvite {
					_, link = w.invite(founder, id, inviteTerms{Uses: joiners})
				}
				time.Sleep(3 * time.Minute) // virtual
				begun := time.Now()
				var join sync.WaitGroup
				for i := range joiners {
					at := i % (c.members + 1)
					for m := range c.members + 1 {
						if m != at {
							w.net.Cut(m, 10+i)
						}
					}
					n := w.open(10+i, at)
					join.Go(func() {
						var err error
						if link != nil {
							_, err = n.joinByLink(w.Context(), link)
						} else {
							err = n.Join(w.Context(), id)
						}
						if err != nil {
							w.Error(err)
							return
						}
						w.in(n, id)
					})
				}
				join.Wait()
				synced := time.Since(begun)
				for !w.inOneEpoch(id, 1+c.members+joiners) {
					if time.Since(begun) > 5*time.Minute {
						w.Fatal("they are not in one epoch")
					}
					time.Sleep(100 * time.Millisecond) // virtual
				}
				one := time.Since(begun)
				st, err := founder.GroupStatus(w.Context(), id)
				if err != nil {
					w.Fatal(err)
				}
				forks := map[wire.EpochID]bool{}
				for _, n := range w.nodes {
					for _, e := range n.feed.after(0) {
						if e.Event.Kind == group.EventFork {
							forks[e.Event.Epoch] = true
						}
					}
				}
				w.Logf("all are synced after %v, in one epoch after %v; it is the %d., after %d forks", synced, one, st.Epoch, len(forks))
				if one > c.most {
					w.Errorf("they are in one epoch after %v, at most %v is wanted", one, c.most)
				}
			})
		})
	}
}

// inOneEpoch says whether all nodes are members at one position and see so many in the tree.
func (w *world) inOneEpoch(id wire.GroupID, members int) bool {
	w.Helper()
	at := map[wire.EpochID]bool{}
	for _, n := range w.nodes {
		st, err := n.GroupStatus(w.Context(), id)
		all, merr := n.Members(w.Context(), id)
		if err != nil || merr != nil {
			w.Fatal(err, merr)
		}
		if st.State != group.StateMember || len(all) != members || slices.ContainsFunc(all, func(m group.Member) bool { return !m.InTree }) {
			return false
		}
		at[st.Position] = true
	}
	return len(at) == 1
}

// TestTreeIsAskedForElsewhere: a member that does not have the ratchet tree which a joiner
// needs ends no search for it, and if none has it, they are not asked again at once.
func TestTreeIsAskedForElsewhere(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		time.Sleep(20 * time.Minute) // virtual
		w.noRoundSoon(id)
		s := a.groups.get(id).scheduler
		exchanges := func() uint64 { return counted(a.metrics.Syncs.WithLabelValues(resultOf(nil))) }
		for _, c := range []struct {
			first error
			want  uint64
		}{{nil, 0}, {errTreeless, 1}} {
			before := exchanges()
			results := make(chan error, 2)
			results <- c.first
			var begun sync.WaitGroup
			s.withAny(w.Context(), results, 1, []peer.ID{b.host.ID()}, begun.Go)
			begun.Wait()
			if n := exchanges() - before; n != c.want {
				w.Errorf("after an exchange that ended with %v, %d others", c.first, n)
			}
		}
		results := make(chan error, 1)
		results <- errTreeless
		s.withAny(w.Context(), results, 1, nil, func(func()) {})
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.any {
			w.Error("all members are asked again at once")
		}
	})
}
