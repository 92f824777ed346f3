package content

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/pandanode/pandanode/node/wire"
)

// Text is a part that people read.
func Text(contentType, text string) Part {
	return Part{Disposition: DispositionRender, Cardinality: CardinalitySingle, ContentType: contentType, Content: []byte(text)}
}

// Reaction is a part that reacts to the message which its own names as answered.
func Reaction(text string) Part {
	p := Text(Plain, text)
	p.Disposition = DispositionReaction
	return p
}

// Null is the part of a message that deletes another, which had the disposition.
func Null(d Disposition) Part { return Part{Disposition: d} }

// IsReaction says whether a text can be a reaction: one grapheme cluster that people see.
func IsReaction(s string) bool {
	return s != "" && len(s) <= MaxReaction && !wire.Blank(s) && printable(s) && uniseg.GraphemeClusterCount(s) == 1
}

// reaction gives the text of a message that reacts to another, and whether it is one. A
// longer text is an answer.
func (m *Message) reaction() (string, bool) {
	p := m.Part
	ok := p.Disposition == DispositionReaction && m.InReplyTo != (wire.MessageID{}) &&
		p.Cardinality == CardinalitySingle && isText(p.ContentType) && IsReaction(string(p.Content))
	return string(p.Content), ok
}

// Words gives a part as text, for people who see text alone. Of parts to choose from it is
// the first that has some; what is no text is named.
func (p *Part) Words() string {
	switch p.Cardinality {
	case CardinalityNull:
		return ""
	case CardinalitySingle:
		if kind, _, _ := strings.Cut(p.ContentType, ";"); isText(kind) && !strings.EqualFold(kind, "text/html") {
			return string(p.Content)
		}
		return fmt.Sprintf("(%d bytes of %s)", len(p.Content), p.ContentType)
	case CardinalityExternal:
		name := p.External.Filename
		if name == "" {
			name = p.ContentType
		}
		words := fmt.Sprintf("(%s, %d bytes)", name, p.External.Size)
		if p.External.Description != "" {
			words = p.External.Description + " " + words
		}
		return words
	case CardinalityMulti:
		return wordsOf(p.Parts, p.Semantics)
	}
	return ""
}

func wordsOf(parts []Part, semantics Semantics) string {
	var all []string
	for i := range parts {
		words := parts[i].Words()
		if semantics == ChooseOne && !strings.HasPrefix(words, "(") {
			return words
		}
		all = append(all, words)
	}
	if semantics == ChooseOne {
		return all[0]
	}
	return strings.Join(all, "\n")
}

// Searched gives what a part says as text in which words are looked for: its texts, and what
// its files are called.
func (p *Part) Searched() string {
	var all []string
	p.each(func(p *Part) {
		switch kind, _, _ := strings.Cut(p.ContentType, ";"); {
		case p.Cardinality == CardinalitySingle && isText(kind) && !strings.EqualFold(kind, "text/html"):
			all = append(all, string(p.Content))
		case p.Cardinality == CardinalityExternal:
			all = append(all, p.External.Description, p.External.Filename)
		}
	})
	return strings.Join(all, "\n")
}

// each calls f for a part and those in it, depth first: the order in which the draft counts them.
func (p *Part) each(f func(*Part)) {
	f(p)
	for i := range p.Parts {
		p.Parts[i].each(f)
	}
}

// Mentions lists the users that the Markdown of a part links to, each once, in their order.
func (p *Part) Mentions() (out []wire.UserID) {
	p.each(func(p *Part) {
		if kind, _, _ := strings.Cut(p.ContentType, ";"); p.Cardinality != CardinalitySingle || !strings.EqualFold(kind, "text/markdown") {
			return
		}
		for _, u := range mentionsIn(p.Content) {
			if !slices.Contains(out, u) {
				out = append(out, u)
			}
		}
	})
	return out
}

// Profile is what a user says of itself in a group.
type Profile struct {
	Name, About string
	Picture     *Part // nil: none
}

// NewProfile makes the part that says it: the name alone, or three parts with the name, the
// text about the user, and the picture if there is one.
func NewProfile(p Profile) Part {
	name := Text(Plain, p.Name)
	name.Disposition = DispositionProfile
	if p.About == "" && p.Picture == nil {
		return name
	}
	about := name
	about.Content = []byte(p.About)
	out := Part{Disposition: DispositionProfile, Cardinality: CardinalityMulti, Semantics: ProcessAll, Parts: []Part{name, about}}
	if p.Picture != nil {
		out.Parts = append(out.Parts, *p.Picture)
	}
	return out
}

// Profile reads a profile; false: the part is none.
func (p *Part) Profile() (out Profile, ok bool) {
	if p.Disposition != DispositionProfile {
		return out, false
	}
	texts := []*string{&out.Name, &out.About}
	limits := []int{MaxName, MaxAbout}
	parts := []Part{*p}
	if p.Cardinality == CardinalityMulti && p.Semantics == ProcessAll {
		parts = p.Parts
	}
	for i, q := range parts {
		switch {
		case i < len(texts) && q.Cardinality == CardinalitySingle && isText(q.ContentType) && len(q.Content) <= limits[i] && (i > 0 || printable(string(q.Content))):
			*texts[i] = string(q.Content)
		case i == len(texts) && len(parts) == i+1 && q.Disposition == DispositionIcon:
			out.Picture = &parts[i]
		default:
			return Profile{}, false
		}
	}
	return out, !wire.Blank(out.Name)
}
