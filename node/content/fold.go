package content

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Said is a message of the set that is folded.
type Said struct {
	ID      wire.MessageID
	User    wire.UserID
	HLC     uint64    // its place in the order of messages; ties go by ID
	Came    time.Time // here
	Read    time.Time // shown to people here; of an own message: sent. Zero: not yet
	Message *Message  // nil: it is not readable as a container
}

// Compare is the order of messages.
func (s Said) Compare(o Said) int {
	return cmp.Or(cmp.Compare(s.HLC, o.HLC), bytes.Compare(s.ID[:], o.ID[:]))
}

// Judge says whether a user may delete a message of somebody else by this word of its.
type Judge func(by, of Said) bool

// maxUnread is how long a message that is over some time after it was read waits for that.
const maxUnread = 365 * 24 * time.Hour

// Over says whether a message is over.
func (s Said) Over(now time.Time) bool {
	if s.Message == nil || s.Message.Expires == nil {
		return false
	}
	after := time.Duration(s.Message.Expires.Time) * time.Second
	switch {
	case !s.Message.Expires.Relative:
		return !now.Before(time.Unix(int64(s.Message.Expires.Time), 0))
	case s.Read.IsZero():
		return !now.Before(s.Came.Add(maxUnread))
	}
	return !now.Before(s.Read.Add(after))
}

// Kind says what people see of a message.
type Kind uint8

// Kinds. Edits and deletes have none: they change the message that they name.
const (
	KindMessage Kind = iota + 1
	KindReaction
	KindProfile
)

// Shown is a message as people see it.
type Shown struct {
	Said             // its first version
	Kind     Kind    // never changes
	Part     Part    // of the newest version; of one that is deleted or over: nothing
	Versions []Said  // those that are kept, oldest first, the first one included; of one that is deleted or over: none
	Edited   bool    // there are others than the first one
	Deleted  *Delete // nil: not
	Over     bool    // it expired

	ReplyTo   wire.MessageID // the message that it answers, be it here or not; zero: none
	Thread    wire.MessageID // the first message of its thread; zero: it is in none
	Replies   []wire.MessageID
	InThread  []wire.MessageID // of a thread's first message: those in it
	Reactions []Reacted
	Mentions  []wire.UserID
}

// Delete says who deleted a message.
type Delete struct {
	Said
	Own bool // its author's user did
}

// Reacted is one text with which users reacted to a message.
type Reacted struct {
	Text  string
	Users []wire.UserID    // the first one first
	By    []wire.MessageID // the message of each, and further ones with the same text
}

// Picture is what a set of messages comes to.
type Picture struct {
	Shown    map[wire.MessageID]*Shown // each message that is not only a word about another
	Profiles map[wire.UserID]Profile
	About    map[wire.MessageID]wire.MessageID // of each edit and delete the message that it is about, be it here or not
	Without  map[wire.MessageID]string         // of each edit and delete that changes nothing: why
}

// Fold folds a set of messages. Their order in it does not matter, and neither does one that
// is in it twice.
func Fold(set []Said, may Judge, now time.Time) Picture {
	set = slices.Clone(set)
	slices.SortFunc(set, Said.Compare)
	set = slices.CompactFunc(set, func(a, b Said) bool { return a.ID == b.ID })
	f := folding{Picture{map[wire.MessageID]*Shown{}, map[wire.UserID]Profile{}, map[wire.MessageID]wire.MessageID{}, map[wire.MessageID]string{}}}
	for _, s := range set {
		if s.Message == nil || s.Message.Replaces == (wire.MessageID{}) {
			f.Shown[s.ID] = first(s)
		}
	}
	for _, s := range set {
		if s.Message != nil && s.Message.Replaces != (wire.MessageID{}) {
			f.About[s.ID] = s.Message.Replaces
			if why := f.change(s, may); why != "" {
				f.Without[s.ID] = why
			}
		}
	}
	for _, s := range set {
		if m := f.Shown[s.ID]; m != nil {
			m.conclude(now)
		}
	}
	for _, s := range set {
		if m := f.Shown[s.ID]; m != nil && m.Deleted == nil && !m.Over {
			f.relate(m)
		}
	}
	return f.Picture
}

type folding struct{ Picture }

// first shows a message that replaces none.
func first(s Said) *Shown {
	m := &Shown{Said: s, Kind: KindMessage, Versions: []Said{s}}
	if s.Message == nil {
		return m
	}
	m.Kind = KindOf(s.Message)
	m.ReplyTo = s.Message.InReplyTo
	m.Thread = s.Message.Thread()
	return m
}

// Thread is the first message of the thread that a message is in; zero: it is in none.
func (m *Message) Thread() (id wire.MessageID) {
	if len(m.Topic) == len(id) {
		copy(id[:], m.Topic)
	}
	return id
}

// KindOf says what people see of a message that replaces none.
func KindOf(m *Message) Kind {
	if _, ok := m.reaction(); ok {
		return KindReaction
	}
	if _, ok := m.Part.Profile(); ok {
		return KindProfile
	}
	return KindMessage
}

// change has an edit or a delete change its message; why not, if it does not.
func (f *folding) change(s Said, may Judge) string {
	m := f.Shown[s.Message.Replaces]
	own := m != nil && m.User == s.User
	switch deletes := s.Message.Part.Cardinality == CardinalityNull; {
	case m == nil:
		return "the message that it changes is not here, or is itself a change of another"
	case deletes && !own && !may(s, m.Said):
		return "its author may not delete this message of somebody else"
	case deletes:
		if m.Deleted == nil || own && !m.Deleted.Own { // the first, of the author's own if there is one
			m.Deleted = &Delete{s, own}
		}
	case !own:
		return "only its author edits a message"
	case kindAs(s.Message, m.Message) != m.Kind:
		return "it would make something else of the message than it was"
	default:
		m.Versions = append(m.Versions, s)
		m.Edited = true
	}
	return ""
}

// kindAs is the kind of an edit, which answers what the first version did.
func kindAs(edit, first *Message) Kind {
	as := *edit
	if as.InReplyTo = (wire.MessageID{}); first != nil {
		as.InReplyTo = first.InReplyTo
	}
	return KindOf(&as)
}

// conclude shows the newest version, if there is anything to show.
func (m *Shown) conclude(now time.Time) {
	if m.Over = m.Said.Over(now); m.Over || m.Deleted != nil {
		m.Versions, m.Edited = nil, false
		return
	}
	if n := len(m.Versions); n > MaxVersions {
		m.Versions = m.Versions[n-MaxVersions:]
	}
	if newest := m.Versions[len(m.Versions)-1].Message; newest != nil {
		m.Part = newest.Part
	}
	if m.Kind == KindMessage {
		m.Mentions = m.Part.Mentions()
	}
}

// relate notes a message at those that it belongs to.
func (f *folding) relate(m *Shown) {
	switch m.Kind {
	case KindProfile:
		f.Profiles[m.User], _ = m.Part.Profile() // they come in their order
	case KindReaction:
		f.react(m)
	case KindMessage:
		if to := f.Shown[m.ReplyTo]; to != nil {
			to.Replies = append(to.Replies, m.ID)
		}
		if to := f.Shown[m.Thread]; to != nil && m.Thread != m.ID {
			to.InThread = append(to.InThread, m.ID)
		}
	}
}

// react notes a reaction at its message, if its user has not too many there.
func (f *folding) react(m *Shown) {
	to := f.Shown[m.ReplyTo]
	if to == nil || to.Deleted != nil || to.Over || to.Kind != KindMessage {
		return
	}
	text := string(m.Part.Content)
	live, at := 0, -1
	for i, r := range to.Reactions {
		if r.Text == text {
			at = i
		}
		if slices.Contains(r.Users, m.User) {
			live++
		}
	}
	again := at >= 0 && slices.Contains(to.Reactions[at].Users, m.User)
	if live >= MaxReactions && !again {
		return
	}
	if at < 0 {
		at = len(to.Reactions)
		to.Reactions = append(to.Reactions, Reacted{Text: text})
	}
	r := &to.Reactions[at]
	r.By = append(r.By, m.ID)
	if !again {
		r.Users = append(r.Users, m.User)
	}
}
