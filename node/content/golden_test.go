package content

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// examples are those of the draft, with the message IDs that its repository states.
var examples = map[string]string{
	"attachment":   "0176180c7d19a925021fe446d241134d05c38e0d999cdc0f39c391d2377ed9d1",
	"conferencing": "01496d15a8dba28d7397f9868b70768e4a67f765d5b5b1ae9e03848c5fdeb0ba",
	"delete":       "011d9efc78d04d4dcf4d82b07d5199bbef37011c1f0c7e004b6111c6dda504b4",
	"edit":         "014028c0deddbdea56bec26172f6ede953d11024cb82b8192b5e2aea62d7fb47",
	"expiring":     "01e59db8173939facc2c8a4a0f0ae8d0c7a11a81239626630c9464a8d6717a03",
	"mention-html": "01967ff8e9a66819738ad5cf26d2e0388a3b81d86b0f61d129c077d043ee2a4e",
	"mention":      "018d825adf9f6be00dcafc5704c4102f5022e74219d0b603e4ba7622654042af",
	"multipart-1":  "01da5a515ec5db42cc4dcc19b90c3c31245d8a1cfcce11318f24eb11dce0990e",
	"multipart-2":  "01d65918c6c51c8e76546337276ae6f4bfd873d867d5cb57c76bcdca3d999dd7",
	"multipart-3":  "01cfebeadbdb83c1eefb6403ba4852daf8bbbf9cd53bf5035a74d5d741950c9f",
	"original":     "017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f4",
	"reaction":     "0158c4288911e50a8f6be3f47746b6682f10fd91bc8c05557aa589a3157aff68",
	"reply":        "015354973c2b65ca937bf1e035ae53a5ab80e947afa43d46920d4202e5cc0b27",
	"unlike":       "013aadbb8f313253c8930f4e93c6ca54b2ed06d258185bdcec3870534c8a4ec4",
}

func example(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "mimi", name+".cbor"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of the draft go in and out byte for byte, and their IDs are those it states.
func TestExamplesOfTheDraft(t *testing.T) {
	files, err := filepath.Glob("testdata/mimi/*.cbor")
	if err != nil || len(files) != len(examples)+1 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for name, want := range examples {
		b := example(t, name)
		m, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encoded again: %x (%v), want %x", name, again, err, b)
		}
		if id := DraftID(m.Sender(), m.Room(), b, m.Salt); hex.EncodeToString(id[:]) != want {
			t.Errorf("%s has the ID %x, want %s", name, id, want)
		}
		if m.Room() != "mimi://example.com/r/engineering_team" {
			t.Errorf("%s is of room %q", name, m.Room())
		}
	}
	if _, err := Decode(example(t, "implied-original")); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("an array of seven that is no container: %v", err)
	}
}

// Each example says what the draft says of it.
func TestWhatTheExamplesSay(t *testing.T) {
	get := func(name string) *Message {
		m, err := Decode(example(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, want := range map[string]string{
		"original":     "Hi everyone, we just shipped release 2.0. __Good  work__!",
		"reaction":     "\u2764",
		"delete":       "",
		"multipart-1":  "# Welcome!",
		"multipart-2":  "\u2764\n\U0001F973\n\U0001F91E",
		"multipart-3":  "",
		"attachment":   "2 hours of key signing video (bigfile.mp4, 708234961 bytes)",
		"conferencing": "Join the Foo 118 conference (, 0 bytes)",
	} {
		m := get(name)
		if got := m.Part.Words(); name != "multipart-3" && got != want {
			t.Errorf("%s reads %q, want %q", name, got, want)
		}
	}
	original, _ := hex.DecodeString(examples["original"])
	if m := get("reaction"); m.Part.Disposition != DispositionReaction || !bytes.Equal(m.InReplyTo[:], original) {
		t.Errorf("reaction: %+v", m)
	}
	if text, ok := get("reaction").reaction(); !ok || text != "\u2764" {
		t.Errorf("reaction: %q, %v", text, ok)
	}
	if m := get("expiring"); m.Expires == nil || m.Expires.Relative || m.Expires.Time != 1644390004 {
		t.Errorf("expiring: %+v", m.Expires)
	}
	if m := get("conferencing"); string(m.Topic) != "Foo 118" || m.Part.Disposition != DispositionSession {
		t.Errorf("conferencing: %+v", m)
	}
	n := 0
	p := get("multipart-3").Part
	p.each(func(*Part) { n++ })
	if n != 11 {
		t.Errorf("multipart-3 has %d parts, want 11", n)
	}
}

// whole is a container with something in every field.
func whole() *Message {
	m := &Message{
		Salt: [16]byte{1}, Replaces: wire.MessageID{2}, Topic: []byte("about"), Expires: &Expiry{true, 3}, InReplyTo: wire.MessageID{4},
		Extensions: []Extension{{[]byte{0x03}, []byte{0xa1, 0x61, 'k', 0x82, 0xf9, 0x3e, 0x00, 0xc1, 0x1a, 1, 2, 3, 4}}, {[]byte{0x20}, []byte{0xf6}}, {append([]byte{0x67}, "panda/x"...), []byte{0x01}}},
		Part: Part{Disposition: 1, Language: "en", Cardinality: CardinalityMulti, Semantics: ProcessAll, Parts: []Part{
			Text(Markdown, "_words_"),
			{Disposition: DispositionAttachment, Cardinality: CardinalityExternal, ContentType: "video/mp4", External: External{
				URL: "panda-blob:x", Expires: 1 << 31, Size: 1 << 40, EncAlg: 0xf0da, Key: make([]byte, 32), HashAlg: 1, ContentHash: make([]byte, 32), Filename: "a.mp4",
			}},
			Null(DispositionIcon),
		}},
	}
	return m
}

// A container that is cut off anywhere is refused, and one with a bit turned is refused or
// means what its bytes say.
func TestCutAndTurned(t *testing.T) {
	all := map[string][]byte{}
	for name := range examples {
		all[name] = example(t, name)
	}
	b, err := whole().Encode()
	if err != nil {
		t.Fatal(err)
	}
	all["whole"] = b
	for name, b := range all {
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) {
				t.Fatalf("%s cut after %d bytes: %v", name, n, err)
			}
		}
		for bit := range len(b) * 8 {
			turned := bytes.Clone(b)
			turned[bit/8] ^= 1 << (bit % 8)
			checkDecode(t, turned)
		}
	}
}

func TestRefused(t *testing.T) {
	part := func(n int) Part {
		p := Text(Plain, "x")
		for range n - 1 {
			p = Part{Cardinality: CardinalityMulti, Parts: []Part{p, Null(0)}}
		}
		return p
	}
	many := func(n int, p Part) Part {
		out := Part{Cardinality: CardinalityMulti}
		for range n {
			out.Parts = append(out.Parts, p)
		}
		return out
	}
	file := func(name string) Part {
		return Part{Cardinality: CardinalityExternal, External: External{Filename: name}}
	}
	key := func(n int) []byte { return appendText(nil, strings.Repeat("k", n)) }
	for name, c := range map[string]struct {
		change func(*Message)
		want   string // empty: it is taken
	}{
		"as it is":               {func(*Message) {}, ""},
		"four deep":              {func(m *Message) { m.Part = part(MaxDepth) }, ""},
		"five deep":              {func(m *Message) { m.Part = part(MaxDepth + 1) }, "more than 4 parts lie in one another"},
		"as many as may be":      {func(m *Message) { m.Part = many(MaxParts-1, Null(0)) }, ""},
		"too many":               {func(m *Message) { m.Part = many(MaxParts, Null(0)) }, "more than 32 parts"},
		"two lists":              {func(m *Message) { m.Part = many(2, many(16, Null(0))) }, "more than 32 parts"},
		"sixteen files":          {func(m *Message) { m.Part = many(MaxExternal, file("x")) }, ""},
		"seventeen files":        {func(m *Message) { m.Part = many(MaxExternal+1, file("x")) }, "more than 16 parts"},
		"a list of one":          {func(m *Message) { m.Part = many(1, Null(0)) }, "it has to have 2 to 32"},
		"long text":              {func(m *Message) { m.Part = Text("Text/plain", strings.Repeat("x", MaxText)) }, ""},
		"too long text":          {func(m *Message) { m.Part = Text("Text/plain", strings.Repeat("x", MaxText+1)) }, "at most 61440"},
		"long, but no text":      {func(m *Message) { m.Part = Text("image/gif", strings.Repeat("x", MaxText+1)) }, ""},
		"too long":               {func(m *Message) { m.Part = Text("image/gif", strings.Repeat("x", MaxContainer)) }, "at most 65536"},
		"no UTF-8":               {func(m *Message) { m.Part = Text(Plain, "\xff") }, "not UTF-8"},
		"no UTF-8, and no text":  {func(m *Message) { m.Part = Text("image/gif", "\xff") }, ""},
		"a type with a line":     {func(m *Message) { m.Part = Text("text/plain\n", "x") }, "control characters"},
		"a long type":            {func(m *Message) { m.Part = Text(strings.Repeat("x", MaxContentType+1), "x") }, "at most 128"},
		"a name with a slash":    {func(m *Message) { m.Part = file("../x") }, "separators"},
		"a name with another":    {func(m *Message) { m.Part = file(`a\b`) }, "separators"},
		"a name with an escape":  {func(m *Message) { m.Part = file("a\x1b[2J") }, "control characters"},
		"a name that turns back": {func(m *Message) { m.Part = file("photo\u202egpj.exe") }, "control characters"},
		"a name that isolates":   {func(m *Message) { m.Part = file("photo\u2066gpj.exe") }, "control characters"},
		"the folder":             {func(m *Message) { m.Part = file(".") }, "a folder's"},
		"the folder above":       {func(m *Message) { m.Part = file("..") }, "a folder's"},
		"dots":                   {func(m *Message) { m.Part = file("...") }, ""},
		"no name":                {func(m *Message) { m.Part = file("") }, ""},
		"a long name":            {func(m *Message) { m.Part = file(strings.Repeat("x", MaxFilename+1)) }, "at most 255"},
		"an unknown disposition": {func(m *Message) { m.Part.Disposition = 255 }, ""},
		"unknown semantics":      {func(m *Message) { m.Part.Semantics = 3 }, "it may be 2 at most"},
		"extensions out of turn": {func(m *Message) { m.Extensions[0], m.Extensions[1] = m.Extensions[1], m.Extensions[0] }, "order of their keys"},
		"an extension twice":     {func(m *Message) { m.Extensions[1] = m.Extensions[0] }, "order of their keys"},
		"a long key":             {func(m *Message) { m.Extensions = []Extension{{key(255), []byte{0}}} }, ""},
		"a key too long":         {func(m *Message) { m.Extensions = []Extension{{key(256), []byte{0}}} }, "1 to 255"},
		"an empty key":           {func(m *Message) { m.Extensions = []Extension{{key(0), []byte{0}}} }, "1 to 255"},
		"a key of bytes":         {func(m *Message) { m.Extensions = []Extension{{[]byte{0x41, 0}, []byte{0}}} }, "neither a number nor a text"},
		"a sender of no text":    {func(m *Message) { m.Extensions = []Extension{{[]byte{1}, []byte{0}}} }, "is no text"},
		"many extensions": {func(m *Message) {
			m.Extensions = []Extension{{[]byte{9}, appendBytes(nil, make([]byte, MaxExtensions))}}
		}, "extensions has"},
		"maps out of order": {func(m *Message) { m.Extensions[0].Value = []byte{0xa2, 2, 0, 1, 0} }, "not in their order"},
		"a long zero":       {func(m *Message) { m.Extensions[0].Value = []byte{0x18, 0} }, "longer than it has to be"},
		"a long float":      {func(m *Message) { m.Extensions[0].Value = []byte{0xfa, 0x3f, 0x80, 0, 0} }, "longer than it has to be"},
		"a longer float":    {func(m *Message) { m.Extensions[0].Value = []byte{0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0} }, "longer than it has to be"},
		"floats": {func(m *Message) {
			m.Extensions[0].Value = []byte{0x84, 0xfa, 0x47, 0xc3, 0x50, 0, 0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a, 0xf9, 0x7c, 0, 0xf9, 0x7e, 0}
		}, ""},
		"another NaN":     {func(m *Message) { m.Extensions[0].Value = []byte{0xf9, 0x7e, 1} }, "longer than it has to be"},
		"an open list":    {func(m *Message) { m.Extensions[0].Value = []byte{0x9f, 0xff} }, "no length that is known"},
		"deep nesting":    {func(m *Message) { m.Extensions[0].Value = append(bytes.Repeat([]byte{0x81}, maxNesting), 0) }, "in one another"},
		"nothing follows": {func(m *Message) { m.Extensions[0].Value = []byte{0, 0} }, "extension"},
	} {
		m := whole()
		m.Salt = [16]byte{9}
		c.change(m)
		_, err := m.Encode()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// Each field takes as many bytes as it may have, and not one more.
	bounds := map[string]struct {
		most int
		set  func(*Message, string)
	}{
		"the topic":                  {255, func(m *Message, s string) { m.Topic = []byte(s) }},
		"the language of a part":     {64, func(m *Message, s string) { m.Part.Language = s }},
		"the content type of a part": {128, func(m *Message, s string) { m.Part.Parts[2] = Text(s, "x") }},
		"the address of a file":      {2048, func(m *Message, s string) { m.Part.Parts[1].External.URL = s }},
		"the key of a file":          {64, func(m *Message, s string) { m.Part.Parts[1].External.Key = []byte(s) }},
		"the nonce of a file":        {64, func(m *Message, s string) { m.Part.Parts[1].External.Nonce = []byte(s) }},
		"the additional data":        {1024, func(m *Message, s string) { m.Part.Parts[1].External.AAD = []byte(s) }},
		"the hash of a file":         {64, func(m *Message, s string) { m.Part.Parts[1].External.ContentHash = []byte(s) }},
		"the description of a file":  {1024, func(m *Message, s string) { m.Part.Parts[1].External.Description = s }},
		"the name of a file":         {255, func(m *Message, s string) { m.Part.Parts[1].External.Filename = s }},
	}
	for name, c := range bounds {
		m := whole()
		c.set(m, strings.Repeat("x", c.most))
		if _, err := m.Encode(); err != nil {
			t.Errorf("%s of %d bytes: %v", name, c.most, err)
		}
		c.set(m, strings.Repeat("x", c.most+1))
		want := fmt.Sprintf("has %d bytes, and at most %d are allowed", c.most+1, c.most)
		if _, err := m.Encode(); !errors.Is(err, wire.ErrTooLarge) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %d bytes: %v, want %q", name, c.most+1, err, want)
		}
	}
	unknown := example(t, "delete")
	unknown[len(unknown)-1] = 4
	if _, err := Decode(unknown); err == nil || !strings.Contains(err.Error(), "it may be 3 at most") {
		t.Errorf("an unknown cardinality: %v", err)
	}
	zero, _ := whole().Encode()
	zero = bytes.Replace(zero, append([]byte{0x58, 0x20, 2}, make([]byte, 31)...), append([]byte{0x58, 0x20}, make([]byte, 32)...), 1)
	if _, err := Decode(zero); err == nil || !strings.Contains(err.Error(), "no ID") {
		t.Errorf("an ID of zeros: %v", err)
	}
}

func TestReactions(t *testing.T) {
	for text, want := range map[string]bool{
		"\u2764": true, "\u2764\ufe0f": true, "\U0001F468\u200d\U0001F469\u200d\U0001F467": true, "\U0001F1E9\U0001F1EA": true, "x": true, "e\u0301": true,
		"": false, " ": false, "ok": false, "\n": false, "\r\n": false, "\x1b": false, "\u202e": false, "\u2764\u2764": false, "\u200b": false,
		"x" + strings.Repeat("\u0301", 40): false,
	} {
		if IsReaction(text) != want {
			t.Errorf("%q can be a reaction: %v", text, !want)
		}
	}
}

func TestMentions(t *testing.T) {
	a, b := wire.UserID{1}, wire.UserID{2}
	p := Part{Cardinality: CardinalityMulti, Semantics: ProcessAll, Parts: []Part{
		Text(Markdown, "[Anna]("+UserURI(b)+") and [Ben]("+UserURI(a)+") and [Anna]("+UserURI(b)+"), [x](panda:u/"+strings.Repeat("a", 56)+")"),
		Text(Plain, "[no]("+UserURI(wire.UserID{3})+")"),
		Text(Markdown, "`[code]("+UserURI(wire.UserID{4})+")` and ``[`](x) [code]("+UserURI(wire.UserID{5})+")``\n\n```\n[block]("+UserURI(wire.UserID{6})+")\n```\n\n    [indented]("+UserURI(wire.UserID{7})+")\n"),
		Text(Markdown, strings.Repeat("x", MaxMarkdown)+"[as it stands]("+UserURI(wire.UserID{8})+")"),
	}}
	if got := p.Mentions(); len(got) != 2 || got[0] != b || got[1] != a {
		t.Errorf("mentions: %v", got)
	}
}

// docs/WIRE.md has the bytes of one container.
func TestContainerInTheDocument(t *testing.T) {
	m := Message{Salt: [16]byte{1}, InReplyTo: wire.MessageID{0: 0xa1, 31: 0xa2}, Part: Text(Markdown, "Grüß Gott")}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/WIRE.md")
	if err != nil || !bytes.Contains(doc, []byte("`"+hex.EncodeToString(b)+"`")) {
		t.Errorf("docs/WIRE.md does not have %x (%v)", b, err)
	}
}
