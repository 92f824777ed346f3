package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// Each end of a visit has a health, words without libp2p's, and a hint.
func TestMailTroubleInWords(t *testing.T) {
	for _, c := range []struct {
		err   error
		is    mailboxHealth
		words string
	}{
		{nil, mailOK, ""},
		{errors.Join(errMailFull, errMailFull), mailFull, "it is full"},
		{fmt.Errorf("putting: %w", errMailClosed), mailClosed, "it opens boxes only for peers that it lists"},
		{errMailNone, mailNone, "it is no mailbox: the node runs without --mailbox"},
		{fmt.Errorf("%w: failed to dial 12D3: all dials failed", errMailUnreached), mailUnreached, "it cannot be reached"},
		{fmt.Errorf("opening a stream: %w", context.DeadlineExceeded), mailFailed, errMailSilent.Error()},
		{io.ErrUnexpectedEOF, mailFailed, errMailSilent.Error()},
		{os.ErrDeadlineExceeded, mailFailed, errMailSilent.Error()},
	} {
		err := mailTrouble(c.err)
		got := ""
		if err != nil {
			got = err.Error()
		}
		h := mailHealth(err)
		if h != c.is || got != c.words {
			t.Errorf("%v: %s, %q", c.err, h, got)
		}
		if (h.hint("tea") == "") != (h == mailOK) {
			t.Errorf("%s: hint %q", h, h.hint("tea"))
		}
	}
	if got := (groupMailbox{Asked: 12 * time.Second}).trouble(); got != "no answer for 12s" {
		t.Errorf("a mailbox that is asked: %q", got)
	}
	if got := (groupMailbox{Asked: time.Second}).trouble(); got != "" {
		t.Errorf("a mailbox that is asked since a second: %q", got)
	}
}

func TestKeeperFinding(t *testing.T) {
	for _, c := range []struct {
		of     mailboxStatus
		health api.Health
		detail string
	}{
		{mailboxStatus{Quota: 100}, api.HealthOK, "0 envelopes in 0 boxes for others, 0% of its room"},
		{mailboxStatus{Quota: 100, Bytes: 95, Boxes: 1, Envelopes: 3}, api.HealthWarn, "95% of its room: it takes little more"},
		{mailboxStatus{Quota: 100, Bytes: 20, Boxes: 3, Full: 2}, api.HealthWarn, "2 boxes are full"},
	} {
		if f := keeperFinding(c.of); f.Health != c.health || !strings.Contains(f.Detail, c.detail) || f.Health == api.HealthWarn && f.Hint == "" {
			t.Errorf("%+v: %+v", c.of, f)
		}
	}
}

func TestMailNote(t *testing.T) {
	at := time.Unix(1, 0)
	box := func(err error, visited time.Time) groupMailbox {
		return groupMailbox{Peer: "box", Err: err, Visited: visited}
	}
	for _, c := range []struct {
		all  []groupMailbox
		want string
	}{
		{nil, ""},
		{[]groupMailbox{box(nil, at)}, "it is left at a mailbox for them"},
		{[]groupMailbox{box(errMailFull, at), box(nil, at)}, "it is left at a mailbox for them"},
		{[]groupMailbox{box(errMailFull, at)}, "it waits here for a mailbox: " + peer.ID("box").String() + ": it is full"},
		{[]groupMailbox{box(nil, time.Time{})}, "it was not reached yet"},
	} {
		if got := mailNote(c.all, "self"); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v: %q, wants %q", c.all, got, c.want)
		}
	}
}

// mailSays is what each way to look at a node tells of its mailbox's trouble.
func (w *world) mailSays(n *Node, id wire.GroupID, health mailboxHealth, words string) {
	w.Helper()
	f := healths(checkup(w.Context(), n, false))["mailboxes"]
	if f.Health != api.HealthWarn || !strings.Contains(f.Detail, words) || f.Hint == "" {
		w.Errorf("doctor: %+v", f)
	}
	st, err := n.API().Status(w.Context(), api.StatusRequest{})
	if err != nil || len(st.Mailless) != 1 || !strings.Contains(st.Mailless[0], words) {
		w.Errorf("status: %q, %v", st.Mailless, err)
	}
	all, err := n.API().Mailboxes(w.Context(), api.MailboxesRequest{Group: id.String()})
	if err != nil || len(all.Mailboxes) != 1 || all.Mailboxes[0].Health != string(health) || all.Mailboxes[0].Reached.IsZero() {
		w.Errorf("list: %+v, %v", all, err)
	}
	sent, err := n.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "one more"})
	if err != nil || !strings.Contains(sent.Note, "no member is connected, and it waits here for a mailbox") || !strings.Contains(sent.Note, words) {
		w.Errorf("send: %+v, %v", sent, err)
	}
	series := scrape(w.T, n)
	if series[fmt.Sprintf("pandanode_mailboxes{state=%s}", health)] != 1 || series["pandanode_mail_waiting_envelopes"] == 0 {
		w.Errorf("gauges: %v of %s, %v waiting", series[fmt.Sprintf("pandanode_mailboxes{state=%s}", health)], health, series["pandanode_mail_waiting_envelopes"])
	}
}

// warned counts the warnings of a node's log that have all of these.
func warned(log *lockedBuffer, of ...string) int {
	n := 0
	for l := range strings.SplitSeq(log.String(), "\n") {
		if strings.Contains(l, "level=WARN") && !slices.ContainsFunc(of, func(s string) bool { return !strings.Contains(l, s) }) {
			n++
		}
	}
	return n
}

// TestMailboxGoesMidVisit has the connection to a mailbox break while it is visited, and be
// said to have broken before or after the visit ends: it is visited again at once.
func TestMailboxGoesMidVisit(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		x := newMailboxClient(a.groups.get(w.create(a, "boxed")))
		x.assigned = true
		p := office.host.ID()
		for _, before := range []error{nil, errMailFull, errMailUnreached} {
			for _, said := range []string{"before", "after", "not at all"} {
				x.state[p] = &mailboxState{err: before}
				if how := x.begin(p, false); how != visitNow {
					w.Fatalf("%v: visited %v", before, how)
				}
				x.asks(p)
				time.Sleep(time.Second) // virtual: the visit goes on
				if said == "before" {
					x.disconnected(p)
				}
				x.ended(w.Context(), p, io.ErrUnexpectedEOF)
				if said == "after" {
					x.disconnected(p)
				}
				kicked := len(x.kick) > 0
				for len(x.kick) > 0 {
					<-x.kick
				}
				want := visitNow
				if said == "not at all" {
					want = visitLater
				}
				if how := x.begin(p, true); how != want || kicked != (want == visitNow) {
					w.Errorf("%v, said %s: kicked %v, visited %v", before, said, kicked, how)
				}
			}
		}
	})
}

// TestMailboxTroubleIsSaid fills a mailbox, and then takes it away: everything that people
// look at says so, and the log once a change. A member that reads by mailbox alone catches
// up as long as the mailbox answers. A restart forgets neither what waits nor when it last
// answered.
func TestMailboxTroubleIsSaid(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		log := new(lockedBuffer)
		w.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		office := w.postOffice(0, MailboxConfig{BoxQuota: 1 << 20})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "boxed")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		if err := a.Wait(w.within(10*time.Minute), api.LevelSynced); err != nil {
			t.Errorf("with the mailbox alone: %v", err)
		}
		if f := healths(checkup(w.Context(), a, false)); f["mailboxes"].Health != api.HealthOK || f["groups"].Health != api.HealthOK {
			t.Errorf("doctor: %+v, %+v", f["mailboxes"], f["groups"])
		}
		sent, err := a.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "for later"})
		if err != nil || sent.Note != "no member is connected: it is left at a mailbox for them" {
			t.Errorf("send: %+v, %v", sent, err)
		}
		w.delivered(a, id)
		for i := range 40 {
			w.send(a, id, fmt.Sprint("message ", i, strings.Repeat(" and so on", 6000)))
		}
		w.eventually(a, 10*time.Minute, "it is full", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			return err == nil && errors.Is(all[0].Err, errMailFull)
		})
		w.mailSays(a, id, mailFull, "it is full")
		if f := healths(checkup(w.Context(), office, false))["mailbox"]; f.Health != api.HealthWarn || !strings.Contains(f.Detail, "1 box is full") {
			t.Errorf("doctor of the mailbox: %+v", f)
		}
		time.Sleep(time.Hour) // virtual: many visits
		if err := a.Wait(w.within(10*time.Minute), api.LevelSynced); err != nil {
			t.Errorf("with a full mailbox: %v", err)
		}
		if n := warned(log, "node=1", "a mailbox of the group does not do its work", "it is full"); n != 1 {
			t.Errorf("the log says %d times that it is full:\n%s", n, log.String())
		}
		w.close(0)
		w.eventually(a, time.Minute, "it is gone", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			time.AfterFunc(time.Second, a.changed.wake)
			return err == nil && (all[0].Health == mailUnreached || strings.Contains(all[0].trouble(), "it is asked again"))
		})
		w.eventually(a, 5*time.Minute, "it cannot be reached", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			return err == nil && all[0].Health == mailUnreached
		})
		w.mailSays(a, id, mailUnreached, "it cannot be reached")
		time.Sleep(time.Hour) // virtual
		if n := warned(log, "node=1", "does not do its work", "it cannot be reached"); n != 1 {
			t.Errorf("the log says %d times that it is gone", n)
		}
		w.close(1)
		a = w.open(1, 0)
		all, err := a.groups.get(id).mailboxes(w.Context())
		if err != nil || all[0].Reached.IsZero() || !all[0].Visited.IsZero() || all[0].Waiting == 0 {
			t.Errorf("after a restart: %+v, %v", all, err)
		}
	})
}

// TestDeadMailboxDoesNotLookWell takes a mailbox away whose visits went well.
func TestDeadMailboxDoesNotLookWell(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		id := w.create(a, "boxed")
		w.assign(a, id, 0)
		w.net.Cut(0, 1) // as a machine that loses its power
		w.send(a, id, "anybody?")
		time.Sleep(10 * time.Second) // virtual
		all, err := a.groups.get(id).mailboxes(w.Context())
		if err != nil || !strings.HasPrefix(all[0].trouble(), "no answer for ") {
			t.Errorf("after 10 s: %+v, %v", all, err)
		}
		w.eventually(a, 2*time.Minute, "it does not answer", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			return err == nil && all[0].Err != nil
		})
	})
}

// TestAddWhatIsNoMailbox: it is added, and what is wrong with it is said at once.
func TestAddWhatIsNoMailbox(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a := w.open(1, 0)
		w.open(2, 0)
		id := w.create(a, "boxed")
		for i, want := range []string{0: "", 2: "is there and is no mailbox", 3: "was not reached: "} {
			if i == 1 {
				continue
			}
			m, err := a.API().AddMailbox(w.Context(), api.AddMailboxRequest{Group: id.String(), Mailbox: fmt.Sprintf("%v/p2p/%v", w.net.Addr(i), w.net.PeerID(i))})
			if err != nil || m.Peer != w.net.PeerID(i).String() || !strings.Contains(m.Warning, want) || want == "" && m.Warning != "" {
				t.Errorf("node %d: %+v, %v", i, m, err)
			}
		}
		w.eventually(a, 5*time.Minute, "it is no mailbox", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			return err == nil && slices.ContainsFunc(all, func(m groupMailbox) bool { return m.Health == mailNone })
		})
	})
}

// A send while nobody is connected says so, and whether the clock that dates the message
// was compared with another.
func TestSendAloneSaysSo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea house")
		says := func(n *Node) string {
			w.Helper()
			sent, err := n.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "is anybody there?"})
			if err != nil {
				w.Fatal(err)
			}
			return sent.Note
		}
		if note := says(a); note != "" {
			t.Errorf("the only member: %q", note)
		}
		w.join(b, id)
		w.send(b, id, "here")
		w.shows(a, id, time.Minute, "is anybody there?", "here")
		if note := says(a); note != "" {
			t.Errorf("while a member is connected: %q", note)
		}
		w.close(1)
		time.Sleep(time.Minute) // virtual: it is noticed
		if note := says(a); note != "no member is connected: it goes out as soon as one is" {
			t.Errorf("after it went: %q", note)
		}
		w.close(0)
		a = w.open(0)
		if note := says(a); !strings.HasSuffix(note, "it goes out as soon as one is, dated by this clock, which was compared with nobody's yet") {
			t.Errorf("after a restart: %q", note)
		}
	})
}
