package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
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
	if err := n.groups.get(id).addMailbox(w.within(time.Minute), w.net.AddrInfo(box)); err != nil {
		w.Fatal(err)
	}
	w.delivered(n, id)
}

// delivered waits until a node has put all that waits.
func (w *world) delivered(n *Node, id wire.GroupID) {
	w.Helper()
	var all []groupMailbox
	defer func() {
		if w.Failed() {
			w.Logf("%s: %+v", n.Device().Cert.Name, all)
		}
	}()
	w.eventually(n, 2*time.Hour, "all is in the mailbox", func() bool {
		var err error
		if all, err = n.groups.get(id).mailboxes(w.Context()); err != nil {
			w.Fatal(err)
		}
		return len(all) > 0 && !slices.ContainsFunc(all, func(m groupMailbox) bool { return m.Waiting > 0 || m.Lacks || m.Visited.IsZero() || m.Err != nil })
	})
}

// uses waits until a node knows that the group has a mailbox.
func (w *world) uses(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, 5*time.Minute, "knows of the mailbox", func() bool {
		all, err := n.groups.get(id).mailboxes(w.Context())
		return err == nil && len(all) == 1
	})
}

// wipe has mailbox i lose its store, and waits until a member has told it again.
func (w *world) wipe(i int, member *Node, id wire.GroupID) {
	w.Helper()
	w.close(i)
	if err := os.RemoveAll(w.home(i)); err != nil {
		w.Fatal(err)
	}
	office := w.postOffice(i, MailboxConfig{})
	w.eventually(member, 2*time.Hour, "it is told again", func() bool {
		time.AfterFunc(time.Second, member.changed.wake)
		st, _ := office.mailbox.status()
		return st.Envelopes > 0
	})
	w.delivered(member, id)
}

// report is all that a node's machine tells.
func (w *world) report(n *Node, id wire.GroupID) group.Report {
	w.Helper()
	r, err := n.groups.get(id).report(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// TestMailbox has two members talk who are never online together: by a mailbox, which
// is no member, and which nobody outside the group learns of.
func TestMailbox(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "never together")
		w.join(b, id)
		w.send(a, id, "together")
		w.shows(b, id, time.Minute, "together")
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		if err := b.groups.get(id).addMailbox(w.Context(), w.net.AddrInfo(1)); !errors.Is(err, verdict.ErrNotPermitted) {
			w.Fatalf("a member chose a mailbox: %v", err)
		}
		if err := a.groups.get(id).addMailbox(w.Context(), w.net.AddrInfo(0)); !errors.Is(err, ErrExists) {
			w.Fatalf("a mailbox was added twice: %v", err)
		}
		w.eventually(a, 10*time.Minute, "the mailbox is found in the DHT", func() bool {
			found, err := findMailboxes(w.within(time.Minute), a.directory.dht)
			if err != nil {
				w.Fatal(err)
			}
			for p := range found {
				if p.ID == office.host.ID() {
					return true
				}
			}
			time.AfterFunc(time.Second, a.changed.wake)
			return false
		})
		w.eventually(a, 5*time.Minute, "published", func() bool {
			st, ok := a.directory.publisher.Status(id)
			time.AfterFunc(time.Second, a.changed.wake)
			return ok && st.State == discovery.Published
		})
		if record := a.directory.known.Get(id).Bytes(); !bytes.Contains(record, []byte("never together")) || bytes.Contains(record, []byte(office.host.ID())) {
			w.Fatalf("the public record tells of the mailbox: %x", record)
		}
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
		w.once(a, id)
		st, ok := office.mailbox.status()
		if !ok || st.Boxes != 1 || st.Envelopes < 6 || st.Bytes <= 0 || len(office.Groups()) != 0 {
			w.Fatalf("%+v, in the groups %v", st, office.Groups())
		}
		// The envelopes that it keeps do not tell to which public group they belong.
		tag, kept := id.TopicTag(), 0
		if err := office.store.Scan([]byte(keyBoxMail), func(_, value []byte) error {
			if kept++; bytes.Contains(value, tag[:]) {
				w.Errorf("an envelope shows its topic")
			}
			return nil
		}); err != nil || kept != st.Envelopes {
			w.Fatalf("%d of %d are kept, %v", kept, st.Envelopes, err)
		}
		if n := counted(office.metrics.MailTaken); n != uint64(st.Envelopes) {
			w.Fatalf("%d taken, %d kept", n, st.Envelopes)
		}

		// Both online: gossip brings it, and nothing is fetched.
		b = w.open(2, 0, 1)
		if err := b.Wait(w.within(10*time.Minute), api.LevelSynced); err != nil {
			w.Fatal(err)
		}
		time.Sleep(5 * time.Minute) // virtual: the first visits
		served := counted(office.metrics.MailServed)
		for range 5 {
			all = append(all, "at once")
			w.send(a, id, "at once")
		}
		w.shows(b, id, time.Minute, all...)
		w.delivered(a, id)
		time.Sleep(10 * time.Minute) // virtual
		if now := counted(office.metrics.MailServed); now != served {
			w.Fatalf("%d envelopes were fetched that gossip had brought", now-served)
		}
	})
}

// TestMailboxCrash kills a sender at each boundary of the Readies that a message makes
// necessary. Every message that it had accepted gets to the other by the mailbox alone.
func TestMailboxCrash(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var f fuse
		w.crash[1] = f.pass
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "crashes")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		crashes := 0
		var acknowledged []string
		for _, at := range boundaries {
			for nth := 1; nth <= 2; nth++ {
				text := fmt.Sprintf("%s %d", at, nth)
				blown := f.light(at, nth)
				sent := make(chan error, 1)
				go func() {
					_, err := a.Send(context.Background(), id, wire.Content{MediaType: "text/plain", Data: []byte(text)})
					sent <- err
				}()
				select {
				case <-blown:
					crashes++
				case <-time.After(time.Minute): // virtual: fewer Readies than that
				}
				w.close(1)
				f.out()
				if err := <-sent; err == nil {
					acknowledged = append(acknowledged, text)
				}
				a = w.open(1, 0)
			}
		}
		if crashes < len(boundaries) || len(acknowledged) == 0 {
			w.Fatalf("%d crashes, %d acknowledged: the test does not test", crashes, len(acknowledged))
		}
		w.delivered(a, id)
		want := w.texts(a, id)
		for _, text := range acknowledged {
			if !contains(want, text) {
				w.Errorf("%q was acknowledged and is lost", text)
			}
		}
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		w.once(b, id)
		w.Logf("%d crashes, %d messages, %d acknowledged", crashes, len(want), len(acknowledged))
	})
}

// boxesOf are a node's boxes of a group at a mailbox.
func (w *world) boxesOf(n *Node, id wire.GroupID, mailbox *Node) (out []group.Box) {
	w.Helper()
	if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
		out = m.Mail().Boxes([]byte(mailbox.host.ID()))
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

// TestMailboxRotation removes two members, one after the other, while another is away:
// it comes back to a mailbox alone, reads the old box, finds the key to the next there,
// and so on. The removed can neither read nor write that. It makes no difference if the
// mailbox has lost its store in between.
func TestMailboxRotation(t *testing.T) {
	t.Run("kept", func(t *testing.T) { testMailboxRotation(t, false) })
	t.Run("lost", func(t *testing.T) { testMailboxRotation(t, true) })
}

func testMailboxRotation(t *testing.T, lost bool) {
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b, c, d := w.open(1, 0), w.open(2, 0), w.open(3, 0), w.open(4, 0)
		id := w.create(a, "rotations")
		for _, n := range []*Node{b, c, d} {
			w.join(n, id)
		}
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c, d} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		keys := map[wire.KeyID]bool{w.report(a, id).SendKey: true}
		for i, gone := range []*Node{c, d} {
			if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: gone.Device().User}); err != nil {
				w.Fatal(err)
			}
			w.eventually(a, 5*time.Minute, "another transport key", func() bool {
				st, err := a.GroupStatus(w.Context(), id)
				return err == nil && st.Members == 3-i && st.State == group.StateMember && !keys[w.report(a, id).SendKey]
			})
			keys[w.report(a, id).SendKey] = true
			w.send(a, id, fmt.Sprint("after removal ", i))
			w.delivered(a, id)
		}
		newest := w.boxesOf(a, id, office)
		box := newest[len(newest)-1]
		if len(newest) != 3 || len(keys) != 3 {
			w.Fatalf("%d boxes, %d keys: the test does not test", len(newest), len(keys))
		}
		w.eventually(c, 10*time.Minute, "out", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		for _, gone := range []*Node{c, d} {
			held := w.boxesOf(gone, id, office)
			if len(held) == 0 || slices.ContainsFunc(held, func(o group.Box) bool { return o.ID == box.ID }) {
				w.Fatalf("a removed member holds %v, the members use %v", held, box)
			}
			// It knows the box's name all the same, and proves with what it has.
			var proof wire.MailProof
			if err := w.knock(gone, office, box.ID, func(payload []byte) *wire.MailProof {
				_ = gone.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
					proof.Signature, _ = m.Mail().ProveBox(held[0].Key, []byte(office.host.ID()), payload)
					return nil
				})
				return &proof
			}); !errors.Is(err, io.EOF) {
				w.Fatalf("a removed member at the new box: %v", err)
			}
		}
		if lost {
			w.close(3)
			w.close(4)
			w.wipe(0, a, id)
		}
		want, st := w.texts(a, id), w.report(a, id)
		for _, i := range []int{1, 3, 4} {
			w.close(i)
		}
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		if got := w.report(b, id); got.SendKey != st.SendKey {
			w.Fatalf("it sends under %x, the others under %x", got.SendKey, st.SendKey)
		}
		w.send(b, id, "I am back")
		w.delivered(b, id)
		w.close(2)
		a = w.open(1, 0)
		w.shows(a, id, 10*time.Minute, append(want, "I am back")...)
	})
}

// TestMailboxLeave leaves a group whose other member is away: the mailbox keeps the
// last word too.
func TestMailboxLeave(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "farewell")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(1)
		if left, err := b.leave(w.within(time.Minute), id); err != nil || left.Waits {
			w.Fatalf("%+v, %v", left, err)
		}
		w.eventually(b, 10*time.Minute, "all is in the mailbox", func() bool {
			all, err := b.groups.get(id).mail.pending()
			return err == nil && len(all) == 0
		})
		w.close(2)
		a = w.open(1, 0)
		w.eventually(a, 10*time.Minute, "alone", func() bool {
			st, err := a.GroupStatus(w.Context(), id)
			return err == nil && st.Members == 1
		})
	})
}

// TestMailboxLateJoiner joins a group whose mailbox is full of what was sealed before: a
// joiner reads that once, not at each news.
func TestMailboxLateJoiner(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "late")
		w.assign(a, id, 0)
		for i := range 100 {
			w.send(a, id, fmt.Sprint(i))
		}
		w.delivered(a, id)
		w.join(b, id)
		time.Sleep(10 * time.Minute) // virtual: it has read the box
		before := counted(office.metrics.MailServed)
		for range 10 {
			w.send(a, id, "new")
			time.Sleep(10 * time.Minute) // virtual
		}
		if n := counted(office.metrics.MailServed) - before; n > 50 {
			w.Fatalf("%d envelopes were fetched for 10 messages that gossip had brought; the first reading took %d", n, before)
		}
	})
}

// TestMailboxRestored replaces a mailbox by a backup of it, to which its members had put
// more since: it gives out no cursor twice, so that nobody skips what comes in after that.
func TestMailboxRestored(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(1, MailboxConfig{})
		a, b := w.open(0, 1), w.open(2, 1)
		id := w.create(a, "restored")
		w.join(b, id)
		w.assign(a, id, 1)
		w.uses(b, id)
		w.delivered(b, id)
		saved, key := w.backup(atRest(office))
		w.net.Cut(0, 2)
		var want []string
		for i := range 5 {
			want = append(want, fmt.Sprint("before ", i))
			w.send(a, id, want[i])
		}
		w.delivered(a, id)
		w.shows(b, id, 10*time.Minute, want...)
		time.Sleep(10 * time.Minute) // virtual: it has read to the end
		w.close(2)
		w.close(1)
		w.restore(1, saved, key)
		w.postOffice(1, MailboxConfig{}, 0)
		for i := range 3 {
			want = append(want, fmt.Sprint("after ", i))
			w.send(a, id, want[len(want)-1])
		}
		w.delivered(a, id)
		b = w.open(2, 1)
		w.shows(b, id, 2*time.Hour, want...)
		w.once(b, id)
	})
}

// counted reads a counter.
func counted(c prometheus.Counter) uint64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return uint64(m.GetCounter().GetValue())
}
