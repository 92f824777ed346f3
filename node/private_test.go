package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// rendezvous lists where a node announces itself for a private group.
func (w *world) meets(n *Node, id wire.GroupID) (out []wire.MeetSecret) {
	w.Helper()
	if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error { out = m.Transport().Meets(); return nil }); err != nil {
		w.Fatal(err)
	}
	return out
}

// providers counts who can be found by a secret.
func (w *world) providers(n *Node, s wire.MeetSecret) (out []peer.ID) {
	ctx := w.within(30 * time.Second)
	for p := range n.directory.dht.Meeting(ctx, s) {
		out = append(out, p.ID)
	}
	return out
}

// dhtSays waits until what the DHT says is so; nothing wakes whoever waits for that.
func (w *world) dhtSays(d time.Duration, what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(d); !is(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			w.Fatalf("not within %v: %s", d, what)
		}
	}
}

// A private group is in no search and under no name that its ID gives. A device with a link
// finds the members by the secret in it alone. All of them talk on topics that only the
// members can name, and after a removal topics and secret are new.
func TestPrivateGroup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		stranger, a := w.open(0), w.open(1, 0)
		id, err := a.CreateGroup(w.within(time.Minute), CreateGroup{Name: "hidden tea", Policy: wire.PolicyInvite, Private: true})
		if err != nil {
			w.Fatal(err)
		}
		joiners := []*Node{w.open(2, 0), w.open(3, 0)}
		for _, n := range joiners {
			_, link := w.invite(a, id, inviteTerms{})
			if link.Meet == nil {
				w.Fatal("the link says nowhere to meet")
			}
			link.Peers = []wire.LinkPeer{} // only the secret is left
			w.dhtSays(time.Minute, "somebody can be found", func() bool { return len(w.providers(n, *link.Meet)) > 0 })
			w.joinByLink(n, link)
		}
		b, c := joiners[0], joiners[1]
		w.send(a, id, "psst")
		w.shows(b, id, time.Minute, "psst")
		w.shows(c, id, time.Minute, "psst")

		if _, err := stranger.directory.lookup(w.within(time.Minute), id); !errors.Is(err, errNotFound) {
			w.Errorf("its record: %v", err)
		}
		for p := range stranger.directory.dht.Members(w.within(30*time.Second), id) {
			w.Errorf("by the ID alone %v is found", p.ID)
		}
		results, err := stranger.directory.find(w.within(30*time.Second), stranger.life, discovery.Query{})
		if err != nil {
			w.Fatal(err)
		}
		for r := range results {
			w.Errorf("a search finds %q", r.Info.Name)
		}
		if topics := stranger.pubsub.GetTopics(); len(topics) != 0 {
			w.Errorf("the stranger is on %v", topics)
		}
		before, old := a.pubsub.GetTopics(), w.meets(a, id)
		if slices.Contains(before, id.Topic()) || len(before) != 1 || len(old) != 1 {
			w.Fatalf("topics %v, %d secrets", before, len(old))
		}

		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 2*time.Minute, "a new key", func() bool {
			m := w.meets(b, id)
			return len(m) == 1 && m[0] != old[0] && slices.Equal(m, w.meets(a, id))
		})
		w.dhtSays(10*time.Minute, "members are found by the new secret", func() bool {
			return slices.Contains(w.providers(stranger, w.meets(b, id)[0]), a.host.ID())
		})
		w.send(b, id, "after")
		w.shows(a, id, time.Minute, "psst", "after")
		if topics := a.pubsub.GetTopics(); !slices.ContainsFunc(topics, func(n string) bool { return !slices.Contains(before, n) }) {
			w.Errorf("topics are %v as before", topics)
		}
		w.eventually(c, 5*time.Minute, "carl is out and off gossip", func() bool {
			st, err := c.groups.get(id).status(w.Context())
			return err == nil && st.State == group.StateOut && len(c.pubsub.GetTopics()) == 0
		})

		// All of it is there again after a restart.
		w.close(2)
		b = w.open(2, 0)
		w.eventually(b, time.Minute, "on its topics again", func() bool { return len(b.pubsub.GetTopics()) > 0 })
		w.send(a, id, "again")
		w.shows(b, id, 2*time.Minute, "psst", "after", "again")
	})
}

// A record of a private group is refused, whoever makes one.
func TestPrivateGroupHasNoRecord(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(1)
		id, err := a.CreateGroup(w.within(time.Minute), CreateGroup{Name: "hidden", Policy: wire.PolicyInvite, Private: true})
		if err != nil {
			w.Fatal(err)
		}
		if _, err := discovery.New(a.groups.get(id).genesis.Raw, time.Now()); !errors.Is(err, discovery.ErrPrivate) {
			w.Errorf("a record: %v", err)
		}
	})
}

// Members of a private group who are never online together talk through a mailbox, which
// sees another box and no tag of theirs.
func TestPrivateGroupWithAMailbox(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id, err := a.CreateGroup(w.within(time.Minute), CreateGroup{Name: "hidden", Policy: wire.PolicyInvite, Private: true})
		if err != nil {
			w.Fatal(err)
		}
		_, link := w.invite(a, id, inviteTerms{})
		w.joinByLink(b, link)
		w.send(a, id, "together")
		w.shows(b, id, time.Minute, "together")
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		w.send(a, id, "alone")
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "together", "alone")
	})
}
