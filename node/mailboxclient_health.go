package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	multistream "github.com/multiformats/go-multistream"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/wire"
)

// This file says how a group's mailboxes are doing. Nothing is lost while one takes nothing, since what
// it has not taken is on this disk; but who is never online together hears nothing then,
// so that people are told at once: in the log, status, doctor, metrics, and by send.

// Reasons, for people, why a mailbox does not take envelopes, or gives none.
var (
	errMailFull      = errors.New("it is full")
	errMailClosed    = errors.New("it opens boxes only for peers that it lists")
	errMailNone      = errors.New("it is no mailbox: the node runs without --mailbox")
	errMailUnreached = errors.New("it cannot be reached")
	errMailSilent    = errors.New("it does not answer properly: it hangs, hung up, or is busy")
)

// mailboxHealth is how a mailbox is doing, in a word.
type mailboxHealth string

// Values of mailboxHealth.
const (
	mailUntried   mailboxHealth = "untried" // not asked yet, in this run
	mailOK        mailboxHealth = "ok"
	mailFull      mailboxHealth = "full"      // it takes nothing more
	mailClosed    mailboxHealth = "closed"    // it opens no box for this device
	mailNone      mailboxHealth = "none"      // the peer is no mailbox
	mailUnreached mailboxHealth = "unreached" // nobody answers at its address
	mailFailed    mailboxHealth = "failed"    // it answers, and not as it should
)

// mailboxHealths lists them.
var mailboxHealths = []mailboxHealth{mailUntried, mailOK, mailFull, mailClosed, mailNone, mailUnreached, mailFailed}

// mailHealth gives the health that the end of a visit tells of.
func mailHealth(err error) mailboxHealth {
	for _, c := range []struct {
		err error
		is  mailboxHealth
	}{{errMailFull, mailFull}, {errMailClosed, mailClosed}, {errMailNone, mailNone}, {errMailUnreached, mailUnreached}} {
		if errors.Is(err, c.err) {
			return c.is
		}
	}
	if err == nil {
		return mailOK
	}
	return mailFailed
}

// answered says whether a mailbox was there: one that takes nothing is, too.
func (h mailboxHealth) answered() bool { return h == mailOK || h == mailFull || h == mailClosed }

// mailTrouble puts the error of a visit into words for people. The log has what libp2p said.
func mailTrouble(err error) error {
	for _, known := range []error{errMailFull, errMailClosed, errMailNone, errMailUnreached} {
		if errors.Is(err, known) {
			return known
		}
	}
	if err == nil || errors.Is(err, errProtocol) || errors.Is(err, ErrStore) {
		return err
	}
	return errMailSilent
}

// noMailbox says whether an error of opening a stream means that the peer serves none.
func noMailbox(err error) bool {
	_, is := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err)
	return is
}

// hint says what helps a member of the group.
func (h mailboxHealth) hint(group string) string {
	other := fmt.Sprintf("or have the group use another one: pandanode group mailbox add %s ADDRESS", group)
	switch h {
	case mailFull:
		return "whoever runs it can give it more room (mailbox_quota, mailbox_box_quota) or keep envelopes shorter (mailbox_lifetime); what its readers have read goes when that is over; " + other
	case mailClosed:
		return "whoever runs it can list this peer in mailbox_allow; " + other
	case mailNone:
		return "start it with --mailbox, " + other
	case mailUnreached, mailFailed:
		return "does it run, and is its address right? its own doctor says; " + other
	case mailUntried, mailOK:
	}
	return ""
}

// patience is how long a mailbox may take before people are told that it is asked still.
const mailPatience = 3 * time.Second

// trouble says in words what is wrong with the mailbox; empty: nothing, as far as is known.
func (m groupMailbox) trouble() string {
	switch {
	case m.Err != nil && m.Asked > mailPatience:
		return fmt.Sprintf("%v; it is asked again since %v", m.Err, m.Asked.Round(time.Second))
	case m.Err != nil:
		return m.Err.Error()
	case m.Asked > mailPatience:
		return fmt.Sprintf("no answer for %v", m.Asked.Round(time.Second))
	}
	return ""
}

// ended notes how a visit ended. The log tells it when it is another end than that of the
// visit before, not each time.
func (x *mailboxClient) ended(ctx context.Context, p peer.ID, raw error) {
	err := mailTrouble(raw)
	now := mailHealth(err)
	x.mu.Lock()
	st := x.state[p]
	if st == nil { // the group does not use it any more
		x.mu.Unlock()
		return
	}
	was := st.health
	again := now == mailFailed && !st.since.IsZero() && st.gone.After(st.since)
	st.busy, st.err, st.shunned, st.since = false, err, err != nil && !again, time.Time{}
	x.g.n.mailed.kick.wake()
	if ctx.Err() == nil {
		st.health = now
	}
	if now.answered() {
		st.reached, st.visited = time.Now(), time.Now()
	}
	waiting := x.waiting
	x.mu.Unlock()
	if raw != nil {
		x.g.log.Debug("mailbox", "peer", p, "err", raw)
	}
	if ctx.Err() != nil {
		return // this node closes
	}
	switch {
	case again:
		x.wake() // it went in the middle: whether it is still there, the next visit tells
	case now.answered():
		x.noteReached(p)
		fallthrough
	default:
		x.tell(p, was, now, err, waiting)
	}
}

// tell logs a change.
func (x *mailboxClient) tell(p peer.ID, was, now mailboxHealth, err error, waiting int) {
	switch {
	case was == now || was == "" && now == mailOK:
	case now == mailOK:
		x.g.log.Info("a mailbox of the group is well again", "peer", p)
	default:
		x.g.log.Warn("a mailbox of the group does not do its work", "peer", p, "why", err, "waiting", waiting, "help", now.hint(api.Short(x.g.id.String())))
	}
}

// noteEvery is how far what is durable of when a mailbox was reached may be behind.
const noteEvery = 10 * time.Minute

// noteReached has this run's last visit known to the next.
func (x *mailboxClient) noteReached(p peer.ID) {
	x.mu.Lock()
	row, now := x.at[p], milliseconds(time.Now())
	old := row == nil || row.Reached+uint64(noteEvery.Milliseconds()) > now //nolint:gosec // positive
	x.mu.Unlock()
	if old {
		return // without a row, what is published does not wait for it
	}
	if err := x.save(p, func(row *mailingRow) { row.Reached = now }); err != nil {
		x.g.log.Debug("when the mailbox was reached is not written down", "peer", p, "err", err)
	}
}

// disconnected has a mailbox that has gone visited at once, so that it does not look as if
// it were there for minutes, well or full: it comes back if it is there. A visit that goes on
// has another one follow it.
func (x *mailboxClient) disconnected(p peer.ID) {
	x.mu.Lock()
	st := x.state[p]
	visit := st != nil && (mailHealth(st.err) != mailUnreached || st.busy) && time.Since(st.gone) > time.Minute
	if visit {
		st.gone, st.shunned = time.Now(), false
	}
	x.mu.Unlock()
	if visit {
		x.wake()
	}
}

// inContact says whether a mailbox of the group was read lately: who meets nobody is caught
// up as far as the mailbox goes.
func (x *mailboxClient) inContact() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, st := range x.state {
		if !st.visited.IsZero() && time.Since(st.visited) < 3*mailEvery {
			return true
		}
	}
	return false
}

// lastRead is when a mailbox of the group was last read; zero: in this run none was.
func (x *mailboxClient) lastRead() (at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, st := range x.state {
		if st.visited.After(at) {
			at = st.visited
		}
	}
	return at
}

// healths counts the group's mailboxes by health, and the envelopes that wait for one.
func (x *mailboxClient) healths(into map[mailboxHealth]int) (waiting int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, st := range x.state {
		into[cmp.Or(st.health, mailUntried)]++
	}
	return x.waiting
}

func (x *mailboxClient) used() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.assigned
}

// mailTroubled is a mailbox of a group that does not do its work.
type mailTroubled struct {
	group wire.GroupID
	title string
	groupMailbox
}

func (m mailTroubled) String() string {
	return fmt.Sprintf("group %s: the mailbox %v: %s; %s here", m.title, m.Peer, m.trouble(), waits(m.Waiting))
}

// waits says that so many envelopes do.
func waits(n int) string {
	return english.Plural(n, "envelope", "") + " " + english.PluralWord(n, "waits", "wait")
}

// mailTroubles lists them, and how many mailboxes there are. Groups that are being loaded
// are left out.
func mailTroubles(ctx context.Context, groups []*groupSession, self peer.ID) (out []mailTroubled, all int) {
	for _, g := range groups {
		if !g.mail.used() || !g.loop.opened.Load() {
			continue
		}
		boxes, err := g.mailboxes(ctx)
		if err != nil {
			continue // the group's own check tells it
		}
		for _, m := range boxes {
			if m.Peer == self {
				continue
			}
			if all++; m.trouble() != "" {
				out = append(out, mailTroubled{g.id, g.titled(ctx), m})
			}
		}
	}
	slices.SortFunc(out, func(a, b mailTroubled) int { return strings.Compare(a.String(), b.String()) })
	return out, all
}

// mailFindings says which mailboxes of this device's groups do not do their work.
func mailFindings(troubles []mailTroubled, all int) (out []api.Finding) {
	const check = "mailboxes"
	if all > 0 && len(troubles) == 0 {
		return []api.Finding{api.HealthOK.Found(check, fmt.Sprintf("%d of its groups, and nothing is known to be wrong with them", all))}
	}
	for _, m := range troubles {
		out = append(out, api.Finding{Check: check, Health: api.HealthWarn, Detail: m.String(), Hint: m.Health.hint(api.Short(m.group.String()))})
	}
	return out
}

// findings says whether what this node keeps for others has room.
func (m *mailboxServer) findings() []api.Finding {
	status, is := m.status()
	if !is {
		return nil
	}
	out := []api.Finding{keeperFinding(status)}
	if status.FileBytes > status.FileQuota/10*9 {
		out = append(out, api.Finding{Check: "mailbox files", Health: api.HealthWarn, Detail: fmt.Sprintf("it keeps %s of files for others, of %s: it takes little more", size(status.FileBytes), size(status.FileQuota)), Hint: "raise mailbox_file_quota, or lower mailbox_lifetime, in its configuration"})
	}
	return out
}

func keeperFinding(m mailboxStatus) api.Finding {
	const check = "mailbox"
	detail := fmt.Sprintf("it keeps %s in %s for others, %d%% of its room", english.Plural(m.Envelopes, "envelope", ""), english.Plural(m.Boxes, "box", ""), 100*m.Bytes/max(m.Quota, 1))
	switch {
	case m.Bytes > m.Quota/10*9:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: detail + ": it takes little more", Hint: "raise mailbox_quota, or lower mailbox_lifetime, in its configuration"}
	case m.Full > 0:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: fmt.Sprintf("%s; %s %s full", detail, english.Plural(m.Full, "box", ""), english.PluralWord(m.Full, "is", "are")), Hint: "raise mailbox_box_quota, or lower mailbox_lifetime, in its configuration"}
	}
	return api.HealthOK.Found(check, detail)
}

// mailNote says where a message is that no member has yet.
func (g *groupSession) mailNote(ctx context.Context) string {
	if len(g.topics.peers()) > 0 {
		return ""
	}
	if !g.mail.used() {
		st, err := g.status(ctx)
		if err != nil || st.Members < 2 {
			return ""
		}
		return aloneNote(g.n.clock.at())
	}
	all, err := g.mailboxes(ctx)
	if err != nil {
		return ""
	}
	return mailNote(all, g.n.host.ID())
}

// aloneNote is for a message that waits here for a member.
func aloneNote(t clock.Time) string {
	const note = "no member is connected: it goes out as soon as one is"
	if t.Peers > 0 {
		return note
	}
	return note + ", dated by this clock, which was compared with nobody's yet"
}

func mailNote(all []groupMailbox, self peer.ID) string {
	var wrong []string
	for _, m := range all {
		switch {
		case m.Peer == self, m.trouble() == "" && !m.Visited.IsZero():
			return "no member is connected: it is left at a mailbox for them"
		case m.trouble() != "":
			wrong = append(wrong, fmt.Sprintf("%v: %s", m.Peer, m.trouble()))
		default:
			wrong = append(wrong, fmt.Sprintf("%v: it was not reached yet", m.Peer))
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return "no member is connected, and it waits here for a mailbox: " + strings.Join(wrong, "; ")
}
