package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// A public group's link is short. A node that knows nobody joins by it: at the inviter that it
// names, or at any member that it meets, also after a restart in between. The secret is not kept
// then. A private group's link is whole, and so is a public one's that is asked for.
func TestShortLinks(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.found(a, wire.PolicyInvite)
		ctx := w.within(time.Hour)
		invite := func(id wire.GroupID, whole bool) string {
			t.Helper()
			i, err := a.API().CreateInvite(ctx, api.CreateInviteRequest{Group: id.String(), Uses: 1, Expires: api.Duration(time.Hour), Whole: whole})
			if err != nil {
				t.Fatal(err)
			}
			return i.Link
		}
		join := func(n *Node, link string) error {
			return n.API().Join(ctx, api.JoinRequest{Link: link}, func(u api.JoinUpdate) error {
				if u.Group != id.String() {
					return fmt.Errorf("joins %s", u.Group)
				}
				return nil
			})
		}
		short, whole := invite(id, false), invite(id, true)
		hidden, err := a.CreateGroup(ctx, CreateGroup{Name: "hidden", Private: true, Policy: wire.PolicyInvite})
		if err != nil {
			t.Fatal(err)
		}
		private := invite(hidden, false)
		t.Logf("short %d, whole %d, private %d bytes", len(short), len(whole), len(private))
		if len(short) > wire.MaxShortLink || len(whole) <= wire.MaxShortLink || len(private) <= wire.MaxShortLink {
			t.Errorf("short %d, whole %d, private %d bytes", len(short), len(whole), len(private))
		}
		if _, l, err := wire.ParseLink(short); err != nil || l == nil || len(l.Peers) != 1 {
			t.Fatalf("%v, %v", l, err)
		}

		b := w.open(1) // it knows nobody
		if err := join(b, short); err != nil {
			t.Fatal(err)
		}
		w.in(b, id)
		if row, err := b.store.Get([]byte(keyLookup + string(id[:]))); err == nil && len(row) > 0 {
			t.Error("the secret of the link is still in the store")
		}
		if err := join(b, short); err != nil {
			t.Errorf("once more, by a member: %v", err)
		}

		// The inviter is away, and the newcomer meets another member only later.
		next := invite(id, false)
		w.shows(b, id, time.Minute)
		w.eventually(b, time.Minute, "knows of the invite", func() bool {
			all, err := b.groups.get(id).invites(ctx)
			return err == nil && len(all) == 3
		})
		w.close(0)
		w.close(1)
		c := w.open(2)
		if err := join(c, next); err != nil {
			t.Fatal(err)
		}
		if p, err := c.joinProgress(ctx, id); err != nil || p.Stage != stageLookingUp {
			t.Errorf("%+v, %v", p, err)
		}
		w.close(2)
		w.open(1)
		c = w.open(2, 1)
		w.in(c, id)

		d := w.open(3, 1)
		if err := join(d, next); err != nil {
			t.Fatal(err)
		}
		w.eventually(d, time.Minute, "used up", func() bool {
			p, err := d.joinProgress(ctx, id)
			return err == nil && p.Denied && strings.Contains(p.Detail, "used up")
		})
		_, l, err := wire.ParseLink(next)
		if err != nil {
			t.Fatal(err)
		}
		other := *l
		other.Group[0] ^= 1
		if err := join(d, other.Text()); err == nil || !strings.Contains(err.Error(), "the invite is not for the group in the link") {
			t.Errorf("with another group: %v", err)
		}
		other = *l
		other.Uses = 0
		if err := join(d, other.Text()); err == nil || !strings.Contains(err.Error(), "the invite is not for the group in the link") {
			t.Errorf("with more uses: %v", err)
		}
	})
}
