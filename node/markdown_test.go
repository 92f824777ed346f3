package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// outline gives spans on one line.
func outline(all []api.Span) string {
	var out []string
	for _, s := range all {
		one := string(s.Kind)
		for _, field := range []string{s.Text, s.URL, s.User, s.Language} {
			if field != "" {
				one += fmt.Sprintf(" %q", field)
			}
		}
		if s.Level > 0 {
			one += fmt.Sprint(" ", s.Level)
		}
		if s.Ordered {
			one += fmt.Sprint(" from ", s.Start)
		}
		if s.Checked {
			one += " checked"
		}
		if s.Header {
			one += " header"
		}
		if s.Spans != nil {
			one += "(" + outline(s.Spans) + ")"
		}
		out = append(out, one)
	}
	return strings.Join(out, " ")
}

// Markdown is a tree in which nothing is HTML and no address does harm.
func TestSpans(t *testing.T) {
	t.Parallel()
	ben := wire.UserID{7}.String()
	for source, want := range map[string]string{
		"tea":                             `paragraph(text "tea")`,
		"**a** _b_ ~~c~~ `d*`":            `paragraph(strong(text "a") text " " emphasis(text "b") text " " strike(text "c") text " " code "d*")`,
		"one\ntwo  \nthree":               `paragraph(text "one\ntwo" break text "three")`,
		"# h\n\np":                        `heading 1(text "h") paragraph(text "p")`,
		"> q\n\n---":                      `quote(paragraph(text "q")) rule`,
		"3. a\n4. b":                      `list from 3(item(paragraph(text "a")) item(paragraph(text "b")))`,
		"- [x] a\n- [ ] b":                `list(item(paragraph(task checked text "a")) item(paragraph(task text "b")))`,
		"```go\nx <- 1\n```":              `code-block "x <- 1\n" "go"`,
		"    four":                        `code-block "four\n"`,
		"|a|b|\n|-|-|\n|1|2|":             `table(row header(cell(text "a") cell(text "b")) row(cell(text "1") cell(text "2")))`,
		"[t](https://a.example/?b=1&c)":   `paragraph(link "https://a.example/?b=1&c"(text "t"))`,
		"[t](javascript:alert(1))":        `paragraph(text "t")`,
		"[t](JAVASCRIPT:alert(1))":        `paragraph(text "t")`,
		"[t](data:text/html,x)":           `paragraph(text "t")`,
		"[t](file:///etc/passwd)":         `paragraph(text "t")`,
		"[t](//a.example)":                `paragraph(text "t")`,
		"[b](panda:u/" + ben + ")":        `paragraph(mention "` + ben + `"(text "b"))`,
		"![alt](https://a.example/x.png)": `paragraph(link "https://a.example/x.png"(text "alt"))`,
		"https://a.example":               `paragraph(text "https://a.example")`,
		"<https://a.example>":             `paragraph(text "<https://a.example>")`,
		"a <b onclick=x>c</b>":            `paragraph(text "a <b onclick=x>c</b>")`,
		"<script>\nalert(1)\n</script>":   `paragraph(text "<script>\nalert(1)\n</script>")`,
		`\*a\* \&amp; &amp; &#60;`:        `paragraph(text "*a* &amp; & <")`,
		`a\`:                              `paragraph(text "a\\")`,
		"[a]: https://a.example\n\n[a]":   `paragraph(link "https://a.example"(text "a"))`,
	} {
		if got := outline(spans(source)); got != want {
			t.Errorf("%q is\n%s, want\n%s", source, got, want)
		}
	}
}

// Hostile Markdown is parsed in a moment, or shown as it stands.
func TestHostileMarkdown(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{
		"[", "]", "![", "*", "_", "~", "`", "<", "(", ">", "> ", "- ", "1. ", "* a ", "**a ", "[a](", "![a](b", "[a]: b\n", "<!--", "&", "\\", "|a", "|a\n|-\n", "_a *b ", "`a ``b ",
		"a\n", "\t", "[a][b]", "# ", "~~a ", "  - a\n", "<a ", "[x](<", "a*", "*a_", "> - ", "1) ", "\u00a0*", "***a ", "\x00", "\xff", "[[a](b)", "![[]()",
	} {
		source := strings.Repeat(piece, content.MaxMarkdown/len(piece))
		began := time.Now()
		out := spans(source)
		if took := time.Since(began); took > 2*time.Second { // it is some 20 ms
			t.Errorf("%q again and again takes %v", piece, took)
		}
		if len(out) == 0 && strings.TrimSpace(source) != "" && piece != "[a]: b\n" {
			t.Errorf("of %q nothing is shown", piece)
		}
		_ = api.PlainText(out)
	}
	if got := outline(spans(strings.Repeat("a", content.MaxMarkdown+1))); !strings.HasPrefix(got, `text "aaa`) {
		t.Errorf("a long text is %.40s", got)
	}
}

// A name behind an at sign mentions the member whose name it is, if it can be no other's.
func TestMentioned(t *testing.T) {
	t.Parallel()
	members := []api.Candidate{
		{ID: "A", Name: "anna"}, {ID: "B", Name: "Ben"}, {ID: "S", Name: "Ben Smith"}, {ID: "1", Name: "eve"}, {ID: "2", Name: "EVE"}, {ID: "U", Name: "a_b"},
	}
	for source, want := range map[string]string{
		"tea, @ANNA?":         `tea\, [\@ANNA](panda:u/A)\?`,
		"@ben and @Ben Smith": `[\@ben](panda:u/B) and [\@Ben Smith](panda:u/S)`,
		"*@anna*":             `\*[\@anna](panda:u/A)\*`,
		"# @anna\nx\n\ny":     "\\# [\\@anna](panda:u/A)\\\nx\n\ny",
		"@a_b":                `[\@a\_b](panda:u/U)`,
		"@annabel":            "",
		"me@anna":             "",
		"@eve":                "", // two could be meant
		"@@anna":              `\@[\@anna](panda:u/A)`,
		"@":                   "",
		"    @anna":           "", // it would be code
		"nobody":              "",
	} {
		got, is := mentioned(source, false, members)
		if want == "" {
			want = source
		}
		if got != want || is != (want != source) {
			t.Errorf("%q becomes %q, %v, want %q", source, got, is, want)
		}
		if shown := api.PlainText(spans(got)); is && strings.Count(shown, "@") != strings.Count(source, "@") {
			t.Errorf("%q is shown as %q", source, shown)
		}
	}
	if got, is := mentioned("**@anna**", true, members); got != `**[\@anna](panda:u/A)**` || !is {
		t.Errorf("in Markdown it becomes %q, %v", got, is)
	}
}

// A mention is shown under the reader's name for the user, and says whom it is for.
func TestMentions(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		w.eventually(a, time.Minute, "the other", func() bool {
			m, err := a.Members(w.Context(), id)
			return err == nil && len(m) == 2
		})
		ctx := w.within(time.Hour)
		first, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "tea, @Device 1?", Mention: true})
		if err != nil {
			t.Fatal(err)
		}
		lie := "[@device 0](" + content.UserURI(b.me.device.User) + ")"
		second, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: lie, Markdown: true, ReplyTo: first.ID})
		if err != nil {
			t.Fatal(err)
		}
		var m api.Message
		w.eventually(b, time.Minute, "both", func() bool {
			m, err = b.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: second.ID})
			return err == nil
		})
		if got := api.PlainText(m.Spans); got != "@device 1" || !m.MentionsMe || m.Text != lie {
			t.Errorf("%q, %+v", got, m)
		}
		if m.ReplyTo == nil || m.ReplyTo.Excerpt != "tea, @device 1?" {
			t.Errorf("%+v", m.ReplyTo)
		}
		all, err := b.API().Messages(ctx, api.MessagesRequest{Group: id.String(), Before: m.Cursor, Limit: 1})
		if err != nil || len(all.Messages) != 1 || api.PlainText(all.Messages[0].Spans) != "tea, @device 1?" {
			t.Errorf("before it: %+v, %v", all, err)
		}
	})
}

// A mention inside a text is marked as a name is elsewhere: of a user who was verified, and of
// another one who took that name. Plain text has it as it is typed.
func TestMentionsAreMarked(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		if err := c.naming.rename(w.within(time.Minute), "Device 1"); err != nil {
			t.Fatal(err)
		}
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		w.eventually(a, time.Minute, "the others", func() bool {
			m, err := a.Members(w.Context(), id)
			return err == nil && len(m) == 3
		})
		ctx := w.within(time.Hour)
		text := "[x](" + content.UserURI(b.me.device.User) + ") and [x](" + content.UserURI(c.me.device.User) + ")"
		sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: text, Markdown: true})
		if err != nil {
			t.Fatal(err)
		}
		shows := func(what, marked string) {
			t.Helper()
			m, err := a.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
			if got := api.MarkedText(m.Spans); err != nil || got != marked {
				t.Errorf("%s: %q, want %q, %v", what, got, marked, err)
			}
			if got := api.PlainText(m.Spans); got != "@device 1 and @Device 1" {
				t.Errorf("%s: as it is typed: %q", what, got)
			}
		}
		ben, carl := api.Short(b.me.device.User.String()), api.Short(c.me.device.User.String())
		doubtful := "@Device 1/" + carl + " (name like another's)"
		shows("nobody is verified", "@device 1/"+ben+" (name like another's) and "+doubtful)
		p, err := a.API().Person(ctx, api.PersonRequest{User: b.me.device.User.String()})
		if err == nil {
			_, err = a.API().Verify(ctx, api.VerifyRequest{User: p.User, Shown: p.Digits})
		}
		if err != nil {
			t.Fatal(err)
		}
		shows("one is verified", "@"+api.Mark+" device 1/"+ben+" (name like another's) and @Device 1/"+carl+" ("+api.NotVerified+")")
		answer, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "yes", ReplyTo: sent.ID})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := a.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: answer.ID}); err != nil || m.ReplyTo == nil || !strings.HasPrefix(m.ReplyTo.Excerpt, "@"+api.Mark+" device 1") {
			t.Errorf("an excerpt: %+v, %v", m.ReplyTo, err)
		}
		if _, err := a.API().Unverify(ctx, api.PersonRequest{User: p.User}); err != nil {
			t.Fatal(err)
		}
		shows("it is not any more", "@device 1/"+ben+" (name like another's) and "+doubtful)
	})
}
