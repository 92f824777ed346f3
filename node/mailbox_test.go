package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// postOffice opens node i as a mailbox.
func (w *world) postOffice(i int, cfg MailboxConfig, bootstrap ...int) *Node {
	w.Helper()
	w.set[i] = func(c *Config) { c.Mailbox = &cfg }
	return w.open(i, bootstrap...)
}

// assign has a group use a mailbox, and waits until the node that says so has been there.
func (w *world) assign(n *Node, id wire.GroupID, box int) {
	w.Helper()
	if err := n.AddMailbox(w.within(time.Minute), id, w.net.AddrInfo(box)); err != nil {
		w.Fatal(err)
	}
	w.delivered(n, id)
}

// delivered waits until a node has put all that waits.
func (w *world) delivered(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, 10*time.Minute, "all is in the mailbox", func() bool {
		all, err := n.Mailboxes(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		for _, m := range all {
			if m.Waiting > 0 || m.Reached.IsZero() || m.Err != nil {
				return false
			}
		}
		return len(all) > 0
	})
}

// uses waits until a node knows of as many mailboxes.
func (w *world) uses(n *Node, id wire.GroupID, many int) {
	w.Helper()
	w.eventually(n, 5*time.Minute, fmt.Sprint("knows of mailboxes: ", many), func() bool {
		all, err := n.Mailboxes(w.Context(), id)
		return err == nil && len(all) == many
	})
}

// TestMailbox has two members talk who are never online together: by a mailbox, which
// is no member.
func TestMailbox(t *testing.T) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		b := w.open(2, 0)
		id := w.create(a, "never together")
		w.join(b, id)
		w.send(a, id, "together")
		w.shows(b, id, time.Minute, "together")
		w.assign(a, id, 0)
		w.uses(b, id, 1)
		w.delivered(b, id)
		w.close(2)
		all := []string{"together"}
		for i := range 3 {
			text := fmt.Sprintf("a %d", i)
			w.send(a, id, text)
			all = append(all, text)
			w.delivered(a, id)
			w.close(1)
			b = w.open(2, 0)
			w.shows(b, id, 10*time.Minute, all...)
			text = fmt.Sprintf("b %d", i)
			w.send(b, id, text)
			all = append(all, text)
			w.delivered(b, id)
			w.close(2)
			time.Sleep(time.Hour) // virtual
			a = w.open(1, 0)
			w.shows(a, id, 10*time.Minute, all...)
		}
		st, ok := office.Mailbox()
		if !ok || st.Boxes != 1 || st.Envelopes < 8 {
			w.Fatalf("%+v", st)
		}
		if len(office.Groups()) != 0 {
			w.Fatal("the mailbox is in a group")
		}
	})
}
