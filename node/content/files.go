package content

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"strings"

	"github.com/pandanode/pandanode/node/wire"
)

// How the part of a file is sealed.
const (
	encFile    = 0xF0DA // package blob
	hashSHA256 = 1
)

// Limits of files.
const (
	MaxFile        = 4 << 30 // bytes
	MaxPreview     = 12 << 10
	maxPreviewSide = 1024 // pixels
)

// File is a file that a message names.
type File struct {
	Root        wire.BlobRoot
	Size        int64
	Key         [32]byte
	Hash        [32]byte // SHA-256 of the blob
	Name        string   // fit for any folder; empty: none is said
	Type        string   // its media type, as its author says
	Description string
	Preview     []byte // a small JPEG; nil: none
}

// Parts gives the parts of a message that name a file: the preview, if there is one, and
// the file.
func (f *File) Parts() []Part {
	d := DispositionAttachment
	if f.IsImage() {
		d = DispositionRender
	}
	x := External{
		URL: f.Root.URL(), Size: uint64(f.Size), EncAlg: encFile, Key: f.Key[:], HashAlg: hashSHA256, ContentHash: f.Hash[:], //nolint:gosec // not negative
		Description: f.Description, Filename: f.Name,
	}
	parts := []Part{{Disposition: d, Cardinality: CardinalityExternal, ContentType: f.Type, External: x}}
	if f.Preview != nil {
		parts = append([]Part{{Disposition: DispositionPreview, Cardinality: CardinalitySingle, ContentType: "image/jpeg", Content: f.Preview}}, parts...)
	}
	return parts
}

// IsImage says whether a file is an image, as its author says.
func (f *File) IsImage() bool { return len(f.Type) > 6 && strings.EqualFold(f.Type[:6], "image/") }

// WithFiles gives a part that says a text, which may be nothing, and names files.
func WithFiles(text *Part, files []File) Part {
	var parts []Part
	if text != nil {
		parts = append(parts, *text)
	}
	for i := range files {
		parts = append(parts, files[i].Parts()...)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return Part{Disposition: DispositionRender, Cardinality: CardinalityMulti, Semantics: ProcessAll, Parts: parts}
}

// file reads the part of a file; false: it is none that can be fetched.
func (p *Part) file() (f File, ok bool) {
	x := p.External
	root, named := wire.ParseBlobURL(x.URL)
	if p.Cardinality != CardinalityExternal || !named || x.EncAlg != encFile || x.HashAlg != hashSHA256 || x.Size > MaxFile ||
		len(x.Key) != len(f.Key) || len(x.ContentHash) != len(f.Hash) || len(x.Nonce)+len(x.AAD) > 0 {
		return f, false
	}
	f = File{Root: root, Size: int64(x.Size), Name: x.Filename, Type: p.ContentType, Description: x.Description}
	copy(f.Key[:], x.Key)
	copy(f.Hash[:], x.ContentHash)
	return f, true
}

// isPreview says whether a part is a small picture that people can be shown: one that says
// that it is huge costs as much as if it were.
func (p *Part) isPreview() bool {
	if p.Disposition != DispositionPreview || p.Cardinality != CardinalitySingle || p.ContentType != "image/jpeg" || len(p.Content) > MaxPreview {
		return false
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(p.Content))
	return err == nil && size.Width <= maxPreviewSide && size.Height <= maxPreviewSide
}

// Files lists the files that a part names, each once.
func (p *Part) Files() (out []File) {
	seen := map[wire.BlobRoot]bool{}
	var preview []byte
	p.each(func(q *Part) {
		f, ok := q.file()
		switch {
		case ok && !seen[f.Root]:
			seen[f.Root] = true
			f.Preview = preview
			out = append(out, f)
		case q.isPreview():
			preview = q.Content
			return
		}
		preview = nil
	})
	return out
}

// FilesIn lists the files that a message names, as it is kept: an encoded wire.Opened. One that
// says nothing in this format names none.
func FilesIn(opened []byte) []File {
	m, err := kept(opened)
	if m == nil || err != nil {
		return nil
	}
	return m.Part.Files()
}

// Malformed says whether a message, as it is kept, says that it is in this format and is not.
func Malformed(opened []byte) bool {
	_, err := kept(opened)
	return err != nil
}

// kept is a message as it is kept; nil: it is in another format. Error: it is in none.
func kept(opened []byte) (*Message, error) {
	o, err := wire.DecodeOpened(opened)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // whoever wrote the row says so
	}
	c, err := wire.DecodeContent(o.Body)
	if err != nil || c.MediaType != MediaType {
		return nil, nil //nolint:nilerr,nilnil // for a newer program
	}
	return Decode(c.Data)
}

// Said is what a part says in words beside its files, and the type of that: of text alone
// the type of the first that has some.
func (p *Part) Said() (text, contentType string) {
	var words []string
	one := func(q *Part) {
		if _, ok := q.file(); ok || q.Disposition == DispositionPreview {
			return
		}
		if w := q.Words(); w != "" {
			words = append(words, w)
		}
		if kind, _, _ := strings.Cut(q.ContentType, ";"); contentType == "" && isText(kind) {
			contentType = kind
		}
	}
	if p.Cardinality == CardinalityMulti && p.Semantics == ProcessAll {
		for i := range p.Parts {
			one(&p.Parts[i])
		}
	} else {
		one(p)
	}
	if contentType == "" {
		contentType = "text/plain"
	}
	return strings.Join(words, "\n"), contentType
}

// CheckFileName says why a name cannot be that of a file.
func CheckFileName(name string) error {
	switch {
	case name == "" || len(name) > MaxFilename:
		return fmt.Errorf("%w: the name of a file has 1 to %d bytes", wire.ErrMalformed, MaxFilename)
	case !fileNamed(name):
		return fmt.Errorf("%w: the name of a file has separators or control characters, or is a folder's", wire.ErrMalformed)
	}
	return nil
}

// ID names what a message says of a file: its blob, and how that opens. Somebody who names a
// blob of others with another key or size names another file.
func (f *File) ID() wire.Hash {
	return wire.HashOf(wire.DomainFile, f.Root[:], wire.U64(uint64(f.Size)), f.Key[:], f.Hash[:]) //nolint:gosec // not negative
}
