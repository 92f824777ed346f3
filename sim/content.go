package sim

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// People change, delete and answer messages. One that shall be named later is sent with as=NAME.
var contentVerbs = map[string]*verb{
	"edit":    {usage: "edit NODE NAME [anyway=yes]: another text for the message of that name; anyway: whoever wrote it", opts: []string{"anyway"}, check: checkNamed(2), do: doEdit},
	"delete":  {usage: "delete NODE NAME [anyway=yes]: the message of that name; anyway: whether NODE may or not", opts: []string{"anyway"}, check: checkNamed(2), do: doDelete},
	"react":   {usage: "react NODE NAME TEXT: a reaction to the message of that name", check: checkReact, do: doReact},
	"unreact": {usage: "unreact NODE NAME TEXT: takes it back", check: checkReact, do: doUnreact},
	"profile": {usage: "profile NODE NAME: what its user is called in the group from here on", check: checkProfile, do: doProfile},
	"set":     {usage: "set NODE expiry D, or set NODE history none, all or a number: messages sent from here on expire after D, 0s: never; what newcomers are shown of before", check: checkSet, do: doSet},
}

// kind is what a message is for people.
type kind string

const (
	kindMessage  kind = "" // it is shown by itself
	kindEdit     kind = "edit"
	kindDelete   kind = "delete"
	kindReaction kind = "reaction"
	kindProfile  kind = "profile" // what its author's user says of itself
)

func checkNamed(words int) func(*Scenario, Action) error {
	return func(sc *Scenario, a Action) error {
		if v, ok := a.opt("anyway"); ok && v != "yes" {
			return errors.New("anyway=" + v)
		}
		if len(a.Args) != words || sc.node(a.Args[0]) < 0 || !isName(a.Args[1]) {
			return errors.New("a node and the name of a message")
		}
		return nil
	}
}

func checkReact(sc *Scenario, a Action) error {
	if err := checkNamed(3)(sc, a); err != nil {
		return err
	}
	if !content.IsReaction(a.Args[2]) {
		return fmt.Errorf("%q is no reaction: one character", a.Args[2])
	}
	return nil
}

func checkProfile(sc *Scenario, a Action) error {
	if len(a.Args) != 2 || sc.node(a.Args[0]) < 0 || !isName(a.Args[1]) {
		return errors.New("a node and a name")
	}
	return nil
}

func checkSet(sc *Scenario, a Action) error {
	if len(a.Args) == 3 && sc.node(a.Args[0]) >= 0 && a.Args[1] == group.SettingHistory {
		if _, ok := group.HistoryOf(a.Args[2]); !ok {
			return errors.New("none, all or a number")
		}
		return nil
	}
	if len(a.Args) != 3 || sc.node(a.Args[0]) < 0 || a.Args[1] != "expiry" {
		return errors.New("a node, expiry and how long; or a node, history and how much")
	}
	d, err := duration(a.Args[2])
	if err == nil && d != 0 && d < time.Minute {
		err = errors.New("a minute at least")
	}
	return err
}

func checkSend(sc *Scenario, a Action) error {
	if err := withCount(nodesAt(1, 64))(sc, a); err != nil {
		return err
	}
	if d, ok := a.opt("expires"); ok {
		if _, err := duration(d); err != nil {
			return err
		}
	}
	if err := checkPieces(a); err != nil {
		return err
	}
	if name, ok := a.opt("mention"); ok && sc.node(name) < 0 {
		return fmt.Errorf("mention=%s: there is no such node", name)
	}
	for _, o := range []string{"as", "reply", "thread"} {
		if name, ok := a.opt(o); ok && (!isName(name) || o == "as" && len(a.Args)*a.count() > 1) {
			return fmt.Errorf("%s=%s: one message has a name", o, name)
		}
	}
	return nil
}

// say has a device send a container, as package node does.
func (s *seat) say(m content.Message, a accepted) (*accepted, error) {
	_, _ = s.n.chance.Read(m.Salt[:])
	b, err := m.Encode()
	if err != nil {
		return nil, err
	}
	return s.accept(wire.Content{MediaType: content.MediaType, Data: b}, a)
}

// accept has a device send something.
func (s *seat) accept(c wire.Content, a accepted) (*accepted, error) {
	out, err := s.step(group.Send{Content: c})
	a.ID, a.Seat, a.At, a.Void = out.Entry, s, s.w().now, s.n.hostile
	a.Unsure = errors.Is(err, errCrash)
	if err == nil || a.Unsure && a.ID != (wire.MessageID{}) {
		s.w().hist.note(&a)
	}
	return &a, err
}

func (h *history) note(a *accepted) {
	h.sent, h.byHex[hex.EncodeToString(a.ID[:])] = append(h.sent, a), a
}

// expiry is how long messages stay that are sent to the group now; 0: for ever.
func (s *seat) expiry() time.Duration {
	for _, c := range s.m.Journal().Settings() {
		if d, err := duration(c.Value); c.Key == "expiry" && err == nil {
			return d
		}
	}
	return 0
}

// write sends a text: as a container if it has a name, answers something or expires.
func (s *seat) write(a Action, text string) error {
	if s.m == nil {
		return errDown
	}
	name, named := a.opt("as")
	stays := s.expiry()
	if d, ok := a.opt("expires"); ok {
		stays, _ = duration(d)
	}
	to, answers := a.opt("reply")
	first, threads := a.opt("thread")
	whom, mentions := a.opt("mention")
	file := s.attach(a)
	if !named && !answers && !threads && !mentions && stays == 0 && file == nil {
		_, err := s.accept(wire.Content{MediaType: "text/plain", Data: []byte(text)}, accepted{Text: text})
		return err
	}
	m, said := content.Message{Part: content.Text(content.Plain, text)}, accepted{Text: text, File: file != nil}
	if mentions {
		said.Mentions = s.w().nodeOf(whom).dev.User
		said.Text = fmt.Sprintf("%s [%s](%s)", text, whom, content.UserURI(said.Mentions))
		m.Part = content.Text(content.Markdown, said.Text)
	}
	if file != nil {
		m.Part = content.WithFiles(&m.Part, []content.File{*file})
	}
	if stays > 0 {
		m.Expires = &content.Expiry{Time: uint32(s.n.time().Now.Add(stays).Unix())} //nolint:gosec // before 2106
	}
	if answers {
		target, _, err := s.named(to)
		if err != nil {
			return err
		}
		said.Answers, m.InReplyTo = target.ID, target.ID
	}
	if threads {
		target, _, err := s.named(first)
		if err != nil {
			return err
		}
		said.Thread, m.Topic = target.ID, target.ID[:]
	}
	sent, err := s.say(m, said)
	if err == nil && named {
		s.w().hist.names[name] = sent
	}
	return err
}

// named finds the message of a name, as the device shows it.
func (s *seat) named(name string) (*accepted, group.Message, error) {
	a := s.w().hist.names[name]
	switch {
	case s.m == nil:
		return nil, group.Message{}, errDown
	case a == nil || a.Seat.g != s.g:
		return nil, group.Message{}, fmt.Errorf("there is no message %s", name)
	}
	m, ok, err := s.m.Journal().Message(a.ID)
	if err == nil && !ok {
		err = fmt.Errorf("message %s is not shown here", name)
	}
	return a, m, err
}

// change has a device say something of the message of a name, if that is still there.
func (w *core) change(a Action, do func(s *seat, target *accepted, shown group.Message) error) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	target, shown, err := s.named(a.Args[1])
	if err == nil && (shown.Shown.Deleted != nil || shown.Shown.Over) && !a.anyway() {
		err = fmt.Errorf("message %s is gone here", a.Args[1])
	}
	if err != nil {
		return err
	}
	w.hist.mark(w, s.n, a.Verb, a.Args[1])
	if err = do(s, target, shown); errors.Is(err, errCrash) {
		return nil
	}
	return err
}

func (a Action) anyway() bool { v, _ := a.opt("anyway"); return v == "yes" }

func doEdit(w *core, a Action) error {
	return w.change(a, func(s *seat, target *accepted, shown group.Message) error {
		if shown.User != s.n.dev.User && !a.anyway() {
			return fmt.Errorf("%w: it is of somebody else", verdict.ErrNotPermitted)
		}
		s.sent++
		text := fmt.Sprintf("%s by %s %d", target.Text, s.n.name, s.sent)
		_, err := s.say(content.Message{Replaces: target.ID, Part: content.Text(content.Plain, text)}, accepted{Kind: kindEdit, About: target.ID, Text: text})
		return err
	})
}

func doDelete(w *core, a Action) error {
	return w.change(a, func(s *seat, target *accepted, shown group.Message) error {
		if shown.User != s.n.dev.User && !a.anyway() && s.role(s.n.dev.User) > min(wire.RoleAdmin, s.role(shown.User)) {
			return fmt.Errorf("%w: it is of somebody else", verdict.ErrNotPermitted)
		}
		_, err := s.say(content.Message{Replaces: target.ID, Part: content.Null(content.DispositionRender)}, accepted{Kind: kindDelete, About: target.ID})
		return err
	})
}

// role is a user's, as the device shows it.
func (s *seat) role(u wire.UserID) wire.Role {
	for _, m := range s.m.Members() {
		if m.User == u {
			return m.Role
		}
	}
	return wire.RoleReadOnly
}

func doReact(w *core, a Action) error {
	return w.change(a, func(s *seat, target *accepted, _ group.Message) error {
		_, err := s.say(content.Message{InReplyTo: target.ID, Part: content.Reaction(a.Args[2])}, accepted{Kind: kindReaction, About: target.ID, Text: a.Args[2]})
		return err
	})
}

func doUnreact(w *core, a Action) error {
	return w.change(a, func(s *seat, target *accepted, shown group.Message) error {
		back := 0
		for _, r := range shown.Shown.Reactions {
			for _, id := range r.By {
				by := w.hist.byHex[hex.EncodeToString(id[:])]
				if r.Text != a.Args[2] || by == nil || by.Seat.n.dev.User != s.n.dev.User {
					continue
				}
				back++
				null := content.Message{Replaces: id, InReplyTo: target.ID, Part: content.Null(content.DispositionReaction)}
				if _, err := s.say(null, accepted{Kind: kindDelete, About: id}); err != nil {
					return err
				}
			}
		}
		if back == 0 {
			return errors.New("it has not reacted so")
		}
		return nil
	})
}

func doProfile(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	switch {
	case err != nil:
		return err
	case s.m == nil:
		return errDown
	}
	w.hist.mark(w, s.n, "profile", a.Args[1])
	_, err = s.say(content.Message{Part: content.NewProfile(content.Profile{Name: a.Args[1]})}, accepted{Kind: kindProfile, Text: a.Args[1]})
	if errors.Is(err, errCrash) {
		return nil
	}
	return err
}

func doSet(w *core, a Action) error {
	s, err := w.seatOf(a, a.Args[0])
	if err != nil {
		return err
	}
	value := a.Args[2]
	if d, err := duration(value); err == nil && d == 0 {
		value = ""
	}
	w.hist.mark(w, s.n, "set", a.Args[1]+" "+a.Args[2])
	_, err = s.step(group.SetSetting{Key: a.Args[1], Value: value})
	return err
}

// forged makes an edit or a deletion of a message, in a fresh log after what a dag holds, and
// a seal of it under the newest keys that the device has.
func (p *puppet) forged(a Action, n *cnode, then *dag, incarnation uint64, at time.Time) (entry, seal []byte, err error) {
	w, s := p.s.w(), p.s
	target := w.hist.names[a.Args[2]]
	if target == nil {
		return nil, nil, fmt.Errorf("there is no message %s", a.Args[2])
	}
	m := content.Message{Replaces: target.ID, Part: content.Null(content.DispositionRender)}
	x := accepted{Seat: s, At: w.now, Void: true, Kind: kindDelete, About: target.ID}
	if a.Args[1] == "edit" {
		x.Kind, x.Text = kindEdit, target.Text+" by "+n.name
		m.Part = content.Text(content.Plain, x.Text)
	}
	_, _ = s.n.chance.Read(m.Salt[:])
	b, err := m.Encode()
	if err != nil {
		return nil, nil, err
	}
	o := wire.Opened{Body: wire.Marshal(&wire.Content{MediaType: content.MediaType, Data: b})}
	_, _ = s.n.chance.Read(o.Salt[:])
	entry, e := n.first(s.g, then, incarnation, at, wire.KindRecord, &wire.Record{Commitment: o.Commitment(), About: &target.ID})
	x.ID = wire.EntryHashOf(e.Group, e.Encode())
	d, err := p.known()
	if err != nil {
		return nil, nil, err
	}
	under, err := p.at(d, "")
	if err != nil {
		return nil, nil, err
	}
	keys := s.spy.epochs[string(under.interim)]
	if keys == nil {
		return nil, nil, errors.New("it has no keys")
	}
	private, _, err := keys.Epoch.Seal(s.n.chance, s.spy.signer, x.ID[:], wire.Marshal(&o))
	if err != nil {
		return nil, nil, err
	}
	need := &wire.Op{Type: wire.OpAdd, Why: wire.WhyInvite} // any member who may write
	if target.Seat.n.dev.User != n.dev.User {
		need.Why = wire.WhyRole
	}
	if s.g.mayNotAnyMore(n, need) && s.g.agreeOn(n.dev.User) {
		w.hist.void[x.ID] = true
	}
	w.hist.note(&x)
	return entry, wire.Marshal(&wire.Seal{Message: x.ID, Epoch: under.id, Sealer: s.n.dev.ID, PrivateMessage: private}), nil
}

// agreeOn says whether all honest members have a user with one role, or out. Else somebody may
// hear of a deletion before what takes the right for it, and acknowledge it.
func (g *cgroup) agreeOn(u wire.UserID) bool {
	roles := map[wire.Role]bool{}
	for _, s := range g.seats {
		if s.n.hostile || !s.isIn() {
			continue
		}
		role := wire.Role(0)
		for _, m := range s.m.Members() {
			if m.User == u {
				role = m.Role
			}
		}
		roles[role] = true
	}
	return len(roles) <= 1
}

// Of what was erased a seat remembers that, so that it is seen if it comes back.

// erasure is a message that a device erased.
type erasure struct {
	ID, By wire.MessageID // By is zero: it expired
	At     time.Time
	Past   bool // on a disk that is gone, and the deletion maybe with it
}

// recall begins to remember anew, by what the disk says: it is another one.
func (s *seat) recall() {
	s.gone, s.mailing = map[string]bool{}, nil
	s.refind()
	for _, key := range s.disk.under("erased/") {
		s.gone[key[len("erased/"):]] = true
	}
	for i, e := range s.erasures {
		s.erasures[i].Past = e.Past || !s.gone[hex.EncodeToString(e.ID[:])]
	}
}

// watchErased notes what a Ready erases, and what of it comes back.
func (s *seat) watchErased(r group.Ready) {
	for _, e := range r.Events { // of what is erased in this very turn they may be told
		if id := hex.EncodeToString(e.Message[:]); e.Kind == group.EventMessage && s.gone[id] {
			s.cameBack(id, "people are told of it")
		}
	}
	for _, w := range r.Writes {
		row, rest, _ := cutKey(w.Key)
		id := rest[:min(len(rest), 64)]
		switch row {
		case "erased":
			if w.Value == nil {
				s.cameBack(id, "it is erased no more")
				continue
			}
			var gone struct {
				By wire.MessageID `cbor:"1,keyasint"`
				At uint64         `cbor:"2,keyasint"`
			}
			raw, err := hex.DecodeString(id)
			if err = errors.Join(err, wire.Unmarshal(w.Value, &gone)); err != nil {
				s.broke(fmt.Errorf("row %q: %w", w.Key, err))
				continue
			}
			if !s.gone[id] {
				s.erasures = append(s.erasures, erasure{ID: wire.MessageID(raw), By: gone.By, At: s.w().now})
			}
			s.gone[id] = true
		case "plain", "seal", "salt", "shown":
			if w.Value != nil && s.gone[id] {
				s.cameBack(id, "it has its "+row+" again")
			}
		}
	}
}

func (s *seat) cameBack(id, how string) {
	what := fmt.Sprintf("%s: what it erased came back, message %.8s: %s", s.n.name, id, how)
	if !slices.Contains(s.back, what) {
		s.back = append(s.back, what)
	}
}
