package content

import (
	"bytes"
	"image"
	"image/jpeg"
	"reflect"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

func testPreview(t *testing.T, width int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, 2)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Files travel in a container and come out as they were, the text beside them.
func TestFilesTravel(t *testing.T) {
	t.Parallel()
	picture := File{Root: wire.BlobRoot{1}, Size: 1 << 20, Key: [32]byte{2}, Hash: [32]byte{3}, Name: "p\u00e4nda.jpg", Type: "image/jpeg", Preview: testPreview(t, 300)}
	paper := File{Root: wire.BlobRoot{4}, Size: 0, Key: [32]byte{5}, Hash: [32]byte{6}, Name: "a.pdf", Type: "application/pdf", Description: "the plan"}
	text := Text(Markdown, "two *files*")
	for _, c := range []struct {
		text  *Part
		files []File
		said  string
		kind  string
	}{
		{&text, []File{picture, paper}, "two *files*", "text/markdown"},
		{nil, []File{picture}, "", "text/plain"},
		{nil, []File{paper}, "", "text/plain"},
		{nil, []File{paper, picture}, "", "text/plain"},
	} {
		m := &Message{Part: WithFiles(c.text, c.files)}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Part.Files(); !reflect.DeepEqual(got, c.files) {
			t.Errorf("came out as %+v", got)
		}
		if said, kind := again.Part.Said(); said != c.said || kind != c.kind {
			t.Errorf("it says %q, of type %s", said, kind)
		}
		if KindOf(again) != KindMessage {
			t.Error("it is no message any more")
		}
	}
}

// A part that is no file of ours is shown and not fetched, and a preview that lies is dropped.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	good := File{Root: wire.BlobRoot{1}, Size: 9, Key: [32]byte{2}, Hash: [32]byte{3}, Name: "a.bin", Type: "application/octet-stream"}
	for name, change := range map[string]func(x *External){
		"another address":                   func(x *External) { x.URL = "https://files.example/a" },
		"upper case":                        func(x *External) { x.URL = strings.ToUpper(x.URL) },
		"a cut address":                     func(x *External) { x.URL = x.URL[:20] },
		"another cipher":                    func(x *External) { x.EncAlg = 1 },
		"another hash":                      func(x *External) { x.HashAlg = 2 },
		"a short key":                       func(x *External) { x.Key = x.Key[1:] },
		"no hash":                           func(x *External) { x.ContentHash = nil },
		"a nonce":                           func(x *External) { x.Nonce = []byte{1} },
		"a size too much":                   func(x *External) { x.Size = MaxFile + 1 },
		"a size that is negative elsewhere": func(x *External) { x.Size = 1 << 63 },
	} {
		p := good.Parts()[0]
		change(&p.External)
		if got := p.Files(); got != nil {
			t.Errorf("%s: it is a file: %+v", name, got)
		}
		if said, _ := p.Said(); !strings.Contains(said, "a.bin") {
			t.Errorf("%s: it is shown as %q", name, said)
		}
	}
	bomb := testPreview(t, 2)
	at := bytes.Index(bomb, []byte{0xff, 0xc0}) + 5
	copy(bomb[at:], []byte{0xff, 0xff, 0xff, 0xff})
	picture := good
	for name, preview := range map[string][]byte{"huge": bomb, "wide": testPreview(t, maxPreviewSide+1), "none": []byte("GIF89a"), "too long": append(testPreview(t, 2), make([]byte, MaxPreview)...)} {
		picture.Preview = preview
		p := WithFiles(nil, []File{picture})
		if got := p.Files(); len(got) != 1 || got[0].Preview != nil {
			t.Errorf("a preview that is %s: %+v", name, got)
		}
	}
	// A preview is of the file right after it.
	picture.Preview = testPreview(t, 2)
	parts := []Part{picture.Parts()[0], Text(Plain, "between"), good.Parts()[0], good.Parts()[0]}
	p := Part{Cardinality: CardinalityMulti, Semantics: ProcessAll, Parts: parts}
	if got := p.Files(); len(got) != 1 || got[0].Preview != nil {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "a\x00b", "a\nb", "a\u202eb", strings.Repeat("x", 256)} {
		if CheckFileName(name) == nil {
			t.Errorf("%q can be the name of a file", name)
		}
	}
	if err := CheckFileName("M\u00e4rz 3.jpg"); err != nil {
		t.Error(err)
	}
}
