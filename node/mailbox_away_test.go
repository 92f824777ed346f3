package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// TestMailboxBacklog has what was written before its author knew of the mailbox, what
// a mailbox has lost, and what was too much to wait, get there all the same.
func TestMailboxBacklog(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "late")
		w.join(b, id)
		w.join(c, id)
		w.net.Partition([]int{3}, []int{0, 1, 2})
		w.send(c, id, "alone")
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		w.net.HealAll()
		w.uses(c, id)
		w.delivered(c, id)
		w.close(3)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "alone")
		w.close(2)

		// The mailbox loses its store.
		a = w.open(1, 0)
		w.send(a, id, "kept twice")
		w.delivered(a, id)
		w.wipe(0, a, id)

		// It is away while more is written than may wait.
		w.close(0)
		x := a.groups.get(id).mail
		x.mu.Lock()
		x.maxPending = 4
		x.mu.Unlock()
		want := []string{"alone", "kept twice"}
		for i := range 12 {
			want = append(want, fmt.Sprint("much ", i))
			w.send(a, id, want[len(want)-1])
		}
		time.Sleep(2 * time.Hour) // virtual
		if all, err := a.groups.get(id).mail.pending(); err != nil || len(all) > 4 {
			w.Fatalf("%d wait, %v", len(all), err)
		}
		w.postOffice(0, MailboxConfig{}, 1)
		time.Sleep(10 * time.Minute) // virtual
		w.delivered(a, id)
		for i := range 12 { // more than may wait for one visit
			want = append(want, fmt.Sprint("at once ", i))
			w.send(a, id, want[len(want)-1])
		}
		time.Sleep(2 * time.Hour) // virtual
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
		w.once(b, id)
	})
}

// TestMailboxOutOfOrder brings a message to the mailbox before the one that it builds
// upon, and restarts the reader in between: what it could not use yet it reads again.
func TestMailboxOutOfOrder(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "out of order")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		w.net.Cut(0, 1) // a does not get to the mailbox, c does
		w.net.Cut(1, 2)
		w.send(a, id, "first")
		w.shows(c, id, 10*time.Minute, "first")
		w.send(c, id, "second")
		w.delivered(c, id)
		w.close(3)
		b = w.open(2, 0)
		w.eventually(b, 10*time.Minute, "it waits for the first", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.Parked > 0
		})
		time.Sleep(10 * time.Minute) // virtual: it has read to the end
		if got := w.texts(b, id); len(got) != 0 {
			w.Fatalf("it shows %q", got)
		}
		w.close(2)
		w.net.HealAll()
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "first", "second")
	})
}

// TestMailboxManyOutOfOrder is the same with more than a thousand messages that build on the
// first, and with a reader that is not restarted.
func TestMailboxManyOutOfOrder(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "many out of order")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		w.net.Cut(0, 1)
		w.net.Cut(1, 2)
		want := []string{"first"}
		w.send(a, id, "first")
		w.shows(c, id, 10*time.Minute, want...)
		for i := range 1100 {
			want = append(want, fmt.Sprint("after it ", i))
			w.send(c, id, want[len(want)-1])
		}
		w.delivered(c, id)
		w.close(3)
		b = w.open(2, 0)
		time.Sleep(time.Hour) // virtual: it has read to the end
		if got := w.texts(b, id); len(got) != 0 {
			w.Fatalf("it shows %d messages", len(got))
		}
		w.net.Heal(0, 1)
		w.delivered(a, id)
		w.close(1)
		w.shows(b, id, 3*time.Hour, want...)
	})
}

// TestTwoMailboxes has a group use two, of which one takes streams and says nothing:
// what is published gets to the other at once, however often, and to that one when it
// is itself again, however much is published meanwhile.
func TestTwoMailboxes(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		hangs := w.postOffice(2, MailboxConfig{}, 0)
		a, b := w.open(1, 0), w.open(3, 0)
		id := w.create(a, "two")
		w.join(b, id)
		w.assign(a, id, 0)
		w.assign(a, id, 2)
		w.close(3)
		hangs.host.SetStreamHandler(wire.ProtocolMail, func(s network.Stream) {
			hangs.life.start(func(ctx context.Context) {
				<-ctx.Done()
				_ = s.Reset()
			})
		})
		waiting := func(i int) int {
			all, err := a.groups.get(id).mailboxes(w.Context())
			if err != nil || len(all) != 2 {
				w.Fatal(all, err)
			}
			return all[i].Waiting
		}
		time.Sleep(10 * time.Minute) // virtual: it is noticed
		late := 0
		for range 100 {
			w.send(a, id, "on and on")
			time.Sleep(2 * time.Second) // virtual
			if waiting(0) > 0 {
				late++
			}
		}
		if late > 20 || waiting(1) < 100 {
			w.Fatalf("%d of 100 were late at the one, %d wait for the other", late, waiting(1))
		}
		hangs.serveStreams()
		for range 300 {
			w.send(a, id, "on and on")
			time.Sleep(2 * time.Second) // virtual
			if waiting(1) <= 1 {
				return
			}
		}
		w.Fatalf("%d wait for the one that is itself again", waiting(1))
	})
}

// TestMailboxGivenUpOnTheWay has too much wait while a mailbox that failed before is
// slow: it is not given up in the middle of a visit, after which it would look as if it
// had been put all.
func TestMailboxGivenUpOnTheWay(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "under way")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		x := a.groups.get(id).mail
		x.mu.Lock()
		x.maxPending = 8
		x.mu.Unlock()
		lie(office, func(*wire.MailRequest, *wire.MailReply) *wire.MailReply { return nil })
		w.send(a, id, "0")
		time.Sleep(5 * time.Second) // virtual: the visit fails
		slow := make(chan struct{})
		var once sync.Once
		lie(office, func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if r.Put != nil {
				once.Do(func() { close(slow) })
				time.Sleep(10 * time.Second) // virtual
			}
			return reply
		})
		<-slow
		want := []string{"0"}
		for i := range 6 {
			want = append(want, fmt.Sprint(i+1))
			w.send(a, id, want[i+1])
		}
		time.Sleep(30 * time.Second) // virtual
		office.serveStreams()
		time.Sleep(3 * time.Hour) // virtual
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, want...)
	})
}

// TestMailboxForTheGone has a member give an entry to another by gossip and break before
// it gets to the mailbox: who has the entry puts it there, so that who has the mailbox
// alone lacks neither that nor what builds on it. A restart in between changes nothing.
func TestMailboxForTheGone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "gone")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		w.net.Cut(0, 3) // c does not get to the mailbox
		w.send(c, id, "first")
		w.shows(a, id, 10*time.Minute, "first")
		w.close(3)
		w.send(a, id, "second")
		w.delivered(a, id)
		w.close(1)
		w.open(1, 0)
		w.net.Cut(1, 2)
		b = w.open(2, 0)
		w.shows(b, id, 2*time.Hour, "first", "second")
	})
}

// TestMailboxLostByAll has a mailbox lose its store while the member that chose it is gone:
// another one, whose turn it is, puts what that one wrote too.
func TestMailboxLostByAll(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "chosen by the gone")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		w.send(a, id, "by a")
		w.delivered(a, id)
		w.shows(c, id, 10*time.Minute, "by a")
		w.close(1)
		w.send(c, id, "by c")
		w.delivered(c, id)
		w.wipe(0, c, id)
		w.net.Cut(2, 3)
		b = w.open(2, 0)
		w.shows(b, id, 6*time.Hour, "by a", "by c")
	})
}

// TestMailboxAway has a member be away for longer than its mailbox keeps what comes in:
// what it lacks is put again, by whoever sees that it is gone.
func TestMailboxAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Lifetime: time.Hour})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "away")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		var want []string
		for i := range 4 {
			want = append(want, fmt.Sprint("meanwhile ", i))
			w.send(a, id, want[i])
			time.Sleep(30 * time.Minute) // virtual
		}
		w.delivered(a, id)
		w.net.Cut(1, 2)
		b = w.open(2, 0)
		time.Sleep(10 * time.Minute) // virtual
		w.send(b, id, "I am back")
		want = append(want, "I am back")
		w.shows(b, id, 3*time.Hour, want...)
		w.shows(a, id, time.Hour, want...)

		// Now that all have all, nothing is put again, also after a start.
		w.send(b, id, "thanks")
		w.shows(a, id, time.Hour, append(want, "thanks")...)
		time.Sleep(2 * time.Hour) // virtual: what is there gets old
		before := counted(office.metrics.MailTaken)
		w.close(1)
		w.open(1, 0)
		time.Sleep(2 * time.Hour) // virtual
		if n := counted(office.metrics.MailTaken) - before; n > 4 {
			w.Errorf("%d envelopes were put again", n)
		}
	})
}

// TestMailboxPutsOnce writes for somebody who is away, with restarts: what the mailbox
// holds is not put there again, and what gets old there is, by one member alone.
func TestMailboxPutsOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Lifetime: 2 * time.Hour})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0, 1)
		id := w.create(a, "once")
		w.join(b, id)
		w.join(c, id)
		w.assign(a, id, 0)
		for _, n := range []*Node{b, c} {
			w.uses(n, id)
			w.delivered(n, id)
		}
		w.close(2)
		known := func(n *Node) map[wire.EntryHash]uint64 {
			r, err := (&mailVisit{x: n.groups.get(id).mail, p: office.host.ID()}).newBoxReading(w.boxesOf(n, id, office)[0].Key)
			if err != nil {
				w.Fatal(err)
			}
			return r.has
		}
		var want []string
		const long = 40 << 10
		for i := range 8 {
			want = append(want, fmt.Sprint("by a ", i, strings.Repeat("x", long)), fmt.Sprint("by c ", i, strings.Repeat("x", long)))
			w.send(a, id, want[2*i])
			w.send(c, id, want[2*i+1])
			time.Sleep(30 * time.Minute) // virtual
			before := known(a)
			w.close(1)
			a = w.open(1, 0, 3)
			if after := known(a); len(before) == 0 || len(after) == 0 {
				w.Fatalf("it knew of %d entries in the box, and of %d after a start", len(before), len(after))
			}
		}
		w.delivered(a, id)
		w.delivered(c, id)
		if st, _ := office.mailbox.status(); st.Bytes > 2*long*int64(len(want)) {
			w.Errorf("%+v for %d messages", st, len(want))
		}
		w.close(1)
		w.close(3)
		b = w.open(2, 0)
		w.shows(b, id, time.Hour, want...)
		w.once(b, id)
	})
}

// TestMailboxOverflow writes more than may wait, in bytes, while the mailbox is away: all
// of it gets there, and what is the last of it too.
func TestMailboxOverflow(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "photos")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		w.close(0)
		x := a.groups.get(id).mail
		x.mu.Lock()
		x.maxBytes = 1 << 20
		x.mu.Unlock()
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint(i, strings.Repeat("x", 60<<10)))
			w.send(a, id, want[i])
		}
		if all, err := a.groups.get(id).mailboxes(w.Context()); err != nil || !all[0].Lacks || all[0].Waiting >= 60 {
			w.Fatalf("%+v, %v", all, err)
		}
		w.postOffice(0, MailboxConfig{}, 1)
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, time.Hour, want...)
		w.once(b, id)
	})
}

// TestMailboxOneIsDead has a group use two mailboxes, of which one is gone for good: few
// posts of many bytes do not wait for it for ever.
func TestMailboxOneIsDead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		w.postOffice(3, MailboxConfig{}, 0)
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "one is dead")
		w.join(b, id)
		w.assign(a, id, 0)
		w.assign(a, id, 3)
		w.close(2)
		w.close(3)
		x := a.groups.get(id).mail
		x.mu.Lock()
		x.maxBytes = 1 << 20
		x.mu.Unlock()
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprint(i, strings.Repeat("x", 60<<10)))
			w.send(a, id, want[i])
			time.Sleep(time.Minute) // virtual
		}
		time.Sleep(10 * time.Minute) // virtual
		if waits := w.postsOf(a, id); len(waits) > 0 {
			w.Errorf("%d posts wait for a mailbox that is dead", len(waits))
		}
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, time.Hour, want...)
	})
}

// TestMailingRowOfBefore reads a row from before rows said what a mailbox lacks since when.
func TestMailingRowOfBefore(t *testing.T) {
	type box struct {
		Key    wire.KeyID `cbor:"1,keyasint"`
		Life   uint64     `cbor:"2,keyasint"`
		After  uint64     `cbor:"3,keyasint"`
		Posted uint64     `cbor:"4,keyasint"`
	}
	was := struct {
		Owed  uint64 `cbor:"1,keyasint"`
		Boxes []box  `cbor:"2,keyasint"`
	}{1, []box{{wire.KeyID{1}, 2, 3, 4}}}
	var row mailingRow
	if err := wire.Unmarshal(wire.Marshal(&was), &row); err != nil || row.Owed != 1 || row.Own || len(row.Boxes) != 1 || row.Boxes[0].Posted != 4 || row.Boxes[0].Mark != 0 {
		t.Fatalf("%+v, %v", row, err)
	}
}

// TestMailboxUsedAgain has a mailbox taken away and given back before a round forgets it:
// what was written in between gets there.
func TestMailboxUsedAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "back again")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		w.delivered(a, id)
		if err := a.groups.get(id).removeMailbox(w.Context(), w.net.PeerID(0)); err != nil {
			w.Fatal(err)
		}
		w.send(a, id, "in between")
		if err := a.groups.get(id).addMailbox(w.Context(), w.net.AddrInfo(0)); err != nil {
			w.Fatal(err)
		}
		w.send(a, id, "afterwards")
		time.Sleep(2 * time.Hour) // virtual
		w.delivered(a, id)
		w.close(1)
		b = w.open(2, 0)
		w.shows(b, id, 10*time.Minute, "in between", "afterwards")
	})
}

// TestMailboxGivenUpDurably has a mailbox given up, and one forgotten, while the store
// takes nothing, and then once more: after a restart it is not taken for one that got all.
func TestMailboxGivenUpDurably(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "given up")
		w.join(b, id)
		w.assign(a, id, 0)
		w.close(2)
		p := office.host.ID()
		w.close(0)
		for i := range 5 {
			w.send(a, id, fmt.Sprint(i))
		}
		g := a.groups.get(id)
		var mailboxes []wire.LinkPeer
		held := make(map[wire.KeyID]bool)
		if err := g.loop.look(w.Context(), func(m *group.Machine) error {
			mailboxes = m.Mail().Mailboxes()
			for _, b := range m.Mail().Boxes(nil) {
				held[b.Key] = true
			}
			return nil
		}); err != nil {
			w.Fatal(err)
		}
		full := false
		loaded := func() *mailboxClient {
			x := newMailboxClient(g)
			x.apply = func(b storage.Batch) error {
				if full {
					return storage.ErrNoSpace
				}
				return a.apply(b)
			}
			if err := x.load(); err != nil {
				w.Fatal(err)
			}
			x.maxPending = 4
			x.state[p] = &mailboxState{err: errMailFull}
			return x
		}
		for name, once := range map[string]func(*mailboxClient) error{
			"forgotten": func(x *mailboxClient) error { return x.forget(nil) },
			"given up":  func(x *mailboxClient) error { _, err := x.clean(mailboxes, held); return err },
		} {
			x := loaded()
			if row := x.at[p]; row == nil || row.Owed != 0 {
				w.Fatalf("%s: %+v", name, row)
			}
			full = true
			if err := once(x); !errors.Is(err, storage.ErrNoSpace) {
				w.Fatalf("%s: %v", name, err)
			}
			full = false
			if err := once(x); err != nil {
				w.Fatal(name, err)
			}
			if y := loaded(); y.at[p] != nil {
				w.Errorf("%s: after a restart it lacks nothing: %+v", name, y.at[p])
			}
			if err := a.apply(storage.Batch{Writes: []storage.Write{{Key: g.mail.keys.progress(p), Value: wire.Marshal(new(mailingRow))}}}); err != nil {
				w.Fatal(err)
			}
		}
	})
}

// TestMailboxKeyOnTheWay has a transport key come while a mailbox is visited: what is to
// be put under it is still owed, and still late, until a visit that knows of its box.
func TestMailboxKeyOnTheWay(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "a new key")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.close(2)
		p := office.host.ID()
		w.net.Cut(0, 1)
		entry := w.send(a, id, "nobody has it")
		x := newMailboxClient(a.groups.get(id))
		if err := x.load(); err != nil {
			w.Fatal(err)
		}
		row := new(mailingRow)
		row.owe(time.Now().Add(-100 * backlogTurn))
		x.at[p] = row
		x.late[entry] = time.Now().Add(-100 * lateTurn)
		r := &mailReading{boxes: make(map[wire.KeyID]*boxReading)}
		if err := (&mailVisit{x, p, r}).bring(w.Context(), nil); err != nil { // it knows of no box
			w.Fatal(err)
		}
		if x.at[p].Owed == 0 || x.at[p].Own || !r.tried.IsZero() {
			w.Errorf("nothing is owed: %+v", x.at[p])
		}
		if _, is := x.late[entry]; !is {
			w.Error("all members are said to have it")
		}
	})
}

// TestMailboxBroughtAnew brings an entry to a mailbox that has begun a box anew meanwhile:
// what it is said to hold it holds in that one, where cursors are small.
func TestMailboxBroughtAnew(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		id := w.create(a, "a new box")
		w.assign(a, id, 0)
		w.uses(a, id)
		p := office.host.ID()
		entry := w.send(a, id, "to be brought")
		w.delivered(a, id)
		x := newMailboxClient(a.groups.get(id))
		if err := x.load(); err != nil {
			w.Fatal(err)
		}
		boxes, _, err := (&mailVisit{x: x, p: p}).boxes(w.Context())
		if err != nil || len(boxes) != 1 {
			w.Fatalf("%d boxes: %v", len(boxes), err)
		}
		b := boxes[0]
		x.at[p].box(b.Key).Life++
		box := &boxReading{at: 1000, has: make(map[wire.EntryHash]uint64)}
		r := &mailReading{boxes: map[wire.KeyID]*boxReading{b.Key: box}}
		if err := (&mailVisit{x, p, r}).bringTo(w.Context(), b, boxes, []wire.EntryHash{entry}); err != nil {
			w.Fatal(err)
		}
		if box.has[entry] != 1 {
			w.Errorf("it is said to be at %d, of a box that was just opened", box.has[entry])
		}
	})
}

// TestMailboxClockSetBack notes what is owed, and what is late, while the clock is ahead:
// it is put when the clock is right again, not when it gets there.
func TestMailboxClockSetBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		id := w.create(a, "a clock ahead")
		x := newMailboxClient(a.groups.get(id))
		p, ahead, entry := office.host.ID(), time.Now().Add(1000*time.Hour), wire.EntryHash{1}
		x.at[p] = &mailingRow{Owed: milliseconds(ahead)}
		x.late[entry] = ahead
		if l, err := (&mailVisit{x, p, &mailReading{}}).missing(w.Context()); err != nil || !l.owed || !l.others || !l.late[entry] {
			w.Fatalf("%+v, %v", l, err)
		}
	})
}

// TestMailboxReadInParts has a member on a slow line, that is never up for as long as it
// takes to read what came: it gets to the end, and what it says itself does not wait for that.
func TestMailboxReadInParts(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "in parts")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		const many = 40
		var want []string
		for i := range many {
			want = append(want, fmt.Sprint(i))
			w.send(a, id, want[i])
		}
		w.delivered(a, id)
		w.close(1)
		lie(office, func(r *wire.MailRequest, reply *wire.MailReply) *wire.MailReply {
			if len(reply.Items) > 0 {
				reply.Items = reply.Items[:1]
				time.Sleep(20 * time.Second) // virtual
			}
			return reply
		})
		before, _ := office.mailbox.status()
		for range 10 {
			b = w.open(2, 0)
			if len(want) == many {
				want = append(want, "from b")
				w.send(b, id, "from b")
			}
			time.Sleep(3 * time.Minute) // virtual
			w.close(2)
			if after, _ := office.mailbox.status(); after.Envelopes == before.Envelopes {
				w.Error("what it said is not there")
			}
		}
		b = w.open(2, 0)
		w.shows(b, id, time.Minute, want...)
	})
}
