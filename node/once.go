package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// maxKey is how long the key of a request to send may be, in bytes.
const maxKey = 255

// once names a request. Keys of rows lie on the disk in the clear, and keys of requests may
// tell what is in a message, so they are hashed with a secret of this device.
func (n *Node) once(id wire.GroupID, key string, request *askedOnce, files []askedFile) (*group.Once, error) {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) {
		return nil, fmt.Errorf("%w: a key has 1 to %d bytes of UTF-8", ErrInvalid, maxKey)
	}
	seed := n.me.log.SecretSeed()
	defer clear(seed)
	h := hmac.New(sha256.New, seed)
	h.Write([]byte("panda/send-key/1\x00"))
	h.Write(id[:])
	h.Write([]byte(key))
	b, f := wire.Marshal(request), wire.Marshal(&askedFiles{files})
	defer clear(b)
	return &group.Once{Key: wire.Hash(h.Sum(nil)), Request: sha256.Sum256(b), Files: sha256.Sum256(f)}, nil
}

// askedOnce is what counts of a request: the same again is the same message. Messages are
// named as the caller names them.
type askedOnce struct {
	Text     string   `cbor:"1,keyasint"`
	Texts    []string `cbor:"2,keyasint"`
	ReplyTo  string   `cbor:"3,keyasint"`
	Thread   string   `cbor:"4,keyasint"`
	Markdown bool     `cbor:"5,keyasint"`
	Count    int      `cbor:"6,keyasint"` // of files
	Expire   string   `cbor:"7,keyasint,omitempty"`
}

// askedFiles are the files of a request, by what they are called and how long they are, since
// a caller that was killed has them uploaded again.
type askedFiles struct {
	Files []askedFile `cbor:"1,keyasint"`
}

type askedFile struct {
	Name string `cbor:"1,keyasint"`
	Size int64  `cbor:"2,keyasint"`
}

// onceOf names the request of a caller; nil: it has no key. If it was carried out before,
// sent are its messages.
func (s messageRoutes) onceOf(ctx context.Context, id wire.GroupID, r api.SendRequest) (once *group.Once, sent []wire.MessageID, err error) {
	if r.Key == "" {
		return nil, nil, nil
	}
	asked := askedOnce{Text: r.Text, Texts: r.Texts, ReplyTo: r.ReplyTo, Thread: r.Thread, Markdown: r.Markdown, Count: len(r.Files), Expire: r.Expire}
	var files []askedFile
	named, gone := s.n.files.toSend(r.Files)
	if gone != nil && !errors.Is(gone, errNoFile) {
		return nil, nil, gone
	}
	for _, f := range named {
		files = append(files, askedFile{f.Name, f.Size})
	}
	if once, err = s.n.once(id, r.Key, &asked, files); err != nil {
		return nil, nil, err
	}
	once.Gone = gone != nil // it may have been sent, and its files taken away since
	g, err := s.n.groups.must(id)
	if err != nil {
		return nil, nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) (err error) {
		sent, err = once.Sent(m, g.n.clock.now())
		return err
	})
	if err == nil && sent == nil {
		err = gone
	}
	return once, sent, err
}
