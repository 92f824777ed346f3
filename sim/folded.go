package sim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// pictureView is a message as a device shows it.
type pictureView struct {
	Text      string
	Gone      bool           // deleted, or expired
	Earlier   bool           // from before the device came in
	By        wire.MessageID // the deletion, if it is known
	Versions  int
	Edited    bool
	Reactions []string // TEXT USER, sorted
	Answers   wire.MessageID
	Thread    wire.MessageID
	Mentions  []wire.UserID
}

func (p pictureView) String() string {
	if p.Gone {
		return "gone"
	}
	return fmt.Sprintf("%q, edited %t, %d versions, reactions %v, answers %.8v, thread %.8v, mentions %.8v", p.Text, p.Edited, p.Versions, p.Reactions, p.Answers, p.Thread, p.Mentions)
}

func pictureOf(m group.Message) (p pictureView) {
	p.Gone, p.Earlier = m.Shown.Over || m.Shown.Deleted != nil, m.Earlier
	if d := m.Shown.Deleted; d != nil {
		p.By = d.ID
	}
	p.Answers, p.Thread, p.Mentions = m.Shown.ReplyTo, m.Shown.Thread, m.Shown.Mentions
	p.Text, p.Versions, p.Edited = pictured(m.Shown.Part), len(m.Shown.Versions), m.Shown.Edited
	for _, r := range m.Shown.Reactions {
		for _, u := range r.Users {
			p.Reactions = append(p.Reactions, fmt.Sprintf("%s %.8v", r.Text, u))
		}
	}
	slices.Sort(p.Reactions)
	return p
}

// pictured is what a part says in words.
func pictured(p content.Part) string {
	text, _ := p.Said()
	return text
}

// said notes what a device has of messages.
func (v *deviceView) said(s *seat) {
	v.Told, v.Erased, v.Plain = idsUnder(s.disk, "index/"), idsUnder(s.disk, "erased/"), idsUnder(s.disk, "plain/")
	v.Erasures, v.Back, v.Ends = s.erasures, s.back, s.n.time().Ends
	v.Allows = s.n.borneOut() + s.n.down + clock.Slack
	for id := range v.Erased {
		for _, row := range []string{"plain/", "seal/", "salt/"} {
			if len(s.disk.under(row+hex.EncodeToString(id[:]))) > 0 {
				v.Left = append(v.Left, fmt.Sprintf("%s: of message %.8v, which it erased, is left: %s", v.Name, id, row))
			}
		}
	}
	slices.Sort(v.Left)
}

func idsUnder(d *disk, prefix string) map[wire.MessageID]bool {
	out := map[wire.MessageID]bool{}
	for _, key := range d.under(prefix) {
		if raw, err := hex.DecodeString(key[len(prefix):]); err == nil && len(raw) == 32 {
			out[wire.MessageID(raw)] = true
		}
	}
	return out
}

// words are what was said of each message.
type words map[wire.MessageID][]*accepted

func (o *observation) words() words {
	out := words{}
	for _, a := range o.Sent {
		if a.Kind != kindMessage {
			out[a.About] = append(out[a.About], a)
		}
	}
	return out
}

func (o *observation) sent() map[wire.MessageID]*accepted {
	out := map[wire.MessageID]*accepted{}
	for _, a := range o.Sent {
		out[a.ID] = a
	}
	return out
}

// what says in words what it is.
func (a *accepted) what() string {
	if a.Kind == kindMessage {
		return "the message"
	}
	return "the " + string(a.Kind)
}

func (a *accepted) mentions() []wire.UserID {
	if a.Mentions == (wire.UserID{}) {
		return nil
	}
	return []wire.UserID{a.Mentions}
}

// userOf is whose a message is.
func (a *accepted) userOf() wire.UserID { return a.Seat.n.dev.User }

// mayDelete says whether one word can take a message away; in doubt it says yes.
func (o *observation) mayDelete(d, target *accepted) bool {
	e := o.Dag.by[d.ID]
	if d.Kind != kindDelete || e == nil || o.Dag.void[d.ID] {
		return false
	}
	return d.userOf() == target.userOf() || o.Dag.everHad(d.userOf(), wire.RoleAdmin, e)
}

// taken says of each message whether it may have been taken away: it expired, or somebody who
// may have been permitted to deleted it. With it goes what is said of it, deletions too but for
// the only one.
func (o *observation) taken() map[wire.MessageID]bool {
	out, words, sent := map[wire.MessageID]bool{}, o.words(), o.sent()
	allows := time.Duration(0)
	for _, d := range o.Devices {
		allows = max(allows, d.Allows)
	}
	var lost func(a, but *accepted) bool
	lost = func(a, but *accepted) bool {
		return a != nil && (o.over(a, o.Now.Add(allows)) || lost(sent[a.About], a) ||
			slices.ContainsFunc(words[a.ID], func(d *accepted) bool { return d != but && o.mayDelete(d, a) }))
	}
	for _, a := range o.Sent {
		if lost(a, nil) {
			out[a.ID] = true
		}
	}
	return out
}

// moot says of what is said of a message that it may be of no use to a device: the message was
// written before the device was added, or added again.
func (o *observation) moot(a *accepted, device wire.DeviceID, sent map[wire.MessageID]*accepted) bool {
	for x := sent[a.About]; a.Kind != kindMessage && x != nil; x = sent[x.About] {
		if e := o.Dag.by[x.ID]; e != nil && o.Dag.before(e, device) {
			return true
		}
	}
	return false
}

// expires is when a message does; zero: never.
func (o *observation) expires(a *accepted) (at time.Time) {
	if r := o.Dag.by[a.ID]; r != nil && r.record != nil && r.record.Expires != 0 {
		at = time.UnixMilli(int64(r.record.Expires)) //nolint:gosec // a date
	}
	return at
}

// over says whether a message has expired at a time.
func (o *observation) over(a *accepted, at time.Time) bool {
	e := o.expires(a)
	return !e.IsZero() && !at.Before(e)
}

// contents checks what devices show of messages that are edited, deleted, reacted to or over.
func contents(o *observation) (bad []string) {
	sent, words := o.sent(), o.words()
	for _, d := range o.Devices {
		if d.Hostile {
			continue
		}
		bad = append(bad, d.Back...)
		bad = append(bad, d.Left...)
		for _, e := range d.Erasures {
			if why := o.erasedInVain(d, e, sent); why != "" && !e.Past {
				bad = append(bad, fmt.Sprintf("%s erased message %.8v at %s: %s", d.Name, e.ID, span(e.At.Sub(epochZero)), why))
			}
		}
	}
	type look struct {
		d *deviceView
		p pictureView
	}
	pictures := map[string]look{} // by message and what was said of it
	for _, d := range o.live() {
		for _, id := range slices.SortedFunc(maps.Keys(d.Pictures), byID) {
			a, p := sent[id], d.Pictures[id]
			if a == nil {
				continue
			}
			if p.Earlier && !o.open(id) {
				bad = append(bad, fmt.Sprintf("%s was given what %s sent at %s, before it came in, when newcomers were to be shown nothing", d.Name, a.Seat.n.name, span(a.At.Sub(epochZero))))
			}
			if d.mayHear(words, a) {
				continue
			}
			about, key := d.heard(words, a)
			for _, why := range o.misfolded(d, a, p, about) {
				bad = append(bad, fmt.Sprintf("%s shows what %s sent at %s as %v: %s", d.Name, a.Seat.n.name, span(a.At.Sub(epochZero)), p, why))
			}
			if other, ok := pictures[key]; !ok {
				pictures[key] = look{d, p}
			} else if other.p.String() != p.String() {
				bad = append(bad, fmt.Sprintf("%s shows what %s sent at %s as %v, %s as %v", d.Name, a.Seat.n.name, span(a.At.Sub(epochZero)), p, other.d.Name, other.p))
			}
		}
	}
	return bad
}

// open says whether a message may be shown to newcomers; in doubt it says yes.
func (o *observation) open(id wire.MessageID) bool {
	return slices.ContainsFunc(o.Dag.ops(wire.OpSetting), func(s *dagEntry) bool {
		n, ok := group.HistoryOf(s.op.Setting.Value)
		return s.op.Setting.Key == group.SettingHistory && ok && n != 0 && o.Dag.inPast(s, o.Dag.by[id])
	})
}

func byID(a, b wire.MessageID) int { return strings.Compare(string(a[:]), string(b[:])) }

// heard lists what a device was told of a message, and of the reactions to it; key names the
// message and that set.
func (v *deviceView) heard(words words, a *accepted) (about []*accepted, key string) {
	for _, x := range words[a.ID] {
		if v.Told[x.ID] {
			about = append(about, x)
		}
		for _, y := range words[x.ID] {
			if v.Told[y.ID] {
				about = append(about, y)
			}
		}
	}
	var ids []string
	for _, x := range about {
		ids = append(ids, string(x.ID[:]))
	}
	slices.Sort(ids)
	return about, fmt.Sprintf("%x %t %x", a.ID, v.Erased[a.ID], strings.Join(ids, ""))
}

// mayHear says whether a device has a word about a message that it is told of once all is there
// that its author wrote before. The picture has it already, and a hostile author may keep the
// rest to itself for ever.
func (v *deviceView) mayHear(words words, a *accepted) bool {
	waits := func(x *accepted) bool { return x.Seat.n.hostile && v.Plain[x.ID] && !v.Told[x.ID] }
	return slices.ContainsFunc(words[a.ID], func(x *accepted) bool {
		return waits(x) || slices.ContainsFunc(words[x.ID], waits)
	})
}

// misfolded says in what a picture differs from what was said.
func (o *observation) misfolded(d *deviceView, a *accepted, p pictureView, about []*accepted) (bad []string) {
	ownDelete, edits, reactions := false, []string{}, []string{}
	for _, x := range about {
		own := x.userOf() == a.userOf()
		switch {
		case x.About != a.ID:
		case x.Kind == kindDelete && own && !x.Void:
			ownDelete = true
		case x.Kind == kindEdit && own:
			edits = append(edits, x.Text)
		case x.Kind == kindReaction:
			back := slices.ContainsFunc(about, func(y *accepted) bool { return y.About == x.ID && y.Kind == kindDelete && y.userOf() == x.userOf() })
			if !back {
				reactions = append(reactions, fmt.Sprintf("%s %.8v", x.Text, x.userOf()))
			}
		}
	}
	if p.By != (wire.MessageID{}) {
		by := slices.IndexFunc(o.Sent, func(x *accepted) bool { return x.ID == p.By && x.About == a.ID })
		if by < 0 || !o.mayDelete(o.Sent[by], a) {
			bad = append(bad, "who deleted it could not")
		}
	}
	if !p.Gone && o.over(a, d.Ends.Add(-grace)) {
		bad = append(bad, "it has expired")
	}
	if p.Gone {
		if p.By == (wire.MessageID{}) && o.expires(a).IsZero() {
			bad = append(bad, "nobody let it expire")
		}
		if ownDelete && !d.Erased[a.ID] {
			bad = append(bad, "its author deleted it, and it is not erased")
		}
		return bad
	}
	slices.Sort(reactions)
	reactions = slices.Compact(reactions)
	switch {
	case ownDelete:
		bad = append(bad, "its author deleted it")
	case p.Edited != (len(edits) > 0) || !p.Edited && p.Text != a.Text || p.Edited && !slices.Contains(edits, p.Text):
		bad = append(bad, fmt.Sprintf("its author wrote %q, and then %q", a.Text, edits))
	case p.Answers != a.Answers:
		bad = append(bad, fmt.Sprintf("its author answered %.8v with it", a.Answers))
	case p.Thread != a.Thread:
		bad = append(bad, fmt.Sprintf("its author wrote it in thread %.8v", a.Thread))
	case !p.Edited && !slices.Equal(p.Mentions, a.mentions()):
		bad = append(bad, fmt.Sprintf("its author mentions %.8v", a.mentions()))
	case !slices.Equal(p.Reactions, reactions):
		bad = append(bad, fmt.Sprintf("there are the reactions %v", reactions))
	}
	return bad
}

// othersAfter is how long a deletion of somebody else's message stands before it erases.
const othersAfter = 7 * 24 * time.Hour

// erasedInVain says why a message should not have been erased; empty: it should.
func (o *observation) erasedInVain(d *deviceView, e erasure, sent map[wire.MessageID]*accepted) string {
	a, by := sent[e.ID], sent[e.By]
	if a == nil || o.Dag.by[e.ID] == nil {
		return "" // of a hostile device, which knows what it was
	}
	for x := a; x != nil; x = sent[x.About] { // it goes with what it is about
		switch {
		case e.By == (wire.MessageID{}):
			if o.over(x, e.At.Add(d.Allows)) {
				return ""
			}
		case by == nil || by.About != x.ID:
		case !o.mayDelete(by, x):
			return "who deleted it could not"
		case by.userOf() != x.userOf() && e.At.Add(d.Allows).Sub(by.At) < othersAfter:
			return "somebody else deleted it less than a week ago"
		default:
			return ""
		}
	}
	if e.By == (wire.MessageID{}) {
		return "it had not expired"
	}
	return "nobody deleted it"
}

// ContentRecords counts what became of messages.
type ContentRecords struct {
	Edits     int `json:"edited"`
	Deletes   int `json:"deleted"`
	Reactions int `json:"reacted"`
	Answers   int `json:"answers"`    // messages that answer another
	Threads   int `json:"in_threads"` // messages in the thread of another
	Mentions  int `json:"mentioning"`
	Profiles  int `json:"profiles"`
	Expired   int `json:"expired"` // messages whose time is over
	Taken     int `json:"taken"`   // messages that are owed to nobody any more
	Erased    int `json:"erased"`  // copies
	Back      int `json:"come_back"`

	Files      int `json:"files"`
	FilesOwed  int `json:"files_owed"`  // copies: of messages that live members can read
	FilesHeld  int `json:"files_held"`  // of those, the whole ones
	FilesGone  int `json:"files_gone"`  // copies that went with their message
	FilesBoxed int `json:"files_boxed"` // put into mailboxes
}

func (c *ContentRecords) add(x ContentRecords) {
	c.Edits += x.Edits
	c.Deletes += x.Deletes
	c.Reactions += x.Reactions
	c.Answers += x.Answers
	c.Threads += x.Threads
	c.Mentions += x.Mentions
	c.Profiles += x.Profiles
	c.Expired += x.Expired
	c.Taken += x.Taken
	c.Erased += x.Erased
	c.Back += x.Back
	c.Files += x.Files
	c.FilesOwed += x.FilesOwed
	c.FilesHeld += x.FilesHeld
	c.FilesGone += x.FilesGone
	c.FilesBoxed += x.FilesBoxed
}

// content counts them.
func (o *observation) content() (c ContentRecords) {
	taken := o.taken()
	for _, a := range o.Sent {
		r := o.Dag.by[a.ID]
		if r == nil || a.Unsure {
			continue
		}
		switch a.Kind {
		case kindEdit:
			c.Edits++
		case kindDelete:
			c.Deletes++
		case kindReaction:
			c.Reactions++
		case kindProfile:
			c.Profiles++
		case kindMessage:
			if a.Answers != (wire.MessageID{}) {
				c.Answers++
			}
			if a.Thread != (wire.MessageID{}) {
				c.Threads++
			}
			if len(a.mentions()) > 0 {
				c.Mentions++
			}
			if a.File {
				c.Files++
			}
			if taken[a.ID] {
				c.Taken++
			}
			if o.over(a, o.Now) {
				c.Expired++
			}
		}
	}
	for _, d := range o.Devices {
		if !d.Hostile {
			c.Erased += len(d.Erasures)
			c.Back += len(d.Back)
			c.FilesGone += d.FilesGone
		}
		if d.Live {
			for _, f := range d.Files {
				if c.FilesOwed++; f.Has == f.Of {
					c.FilesHeld++
				}
			}
		}
	}
	return c
}
