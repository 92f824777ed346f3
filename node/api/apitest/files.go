package apitest

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/pandanode/pandanode/node/api"
)

// stored is a file of the fake, which is always here.
type stored struct {
	api.File
	content []byte
}

// Upload keeps a file.
func (n *Node) Upload(_ context.Context, r api.UploadRequest, _ int64, body io.Reader) (api.File, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return api.File{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	size := int64(len(b))
	f := stored{api.File{ID: ID("file " + r.Name), Name: r.Name, MediaType: "application/octet-stream", Size: size, Have: size, Sealed: size, State: api.FileHere, Own: true}, b}
	n.files = append(n.files, f)
	return f.File, n.Fail["Upload"]
}

// find finds a file.
func (n *Node) find(name string) (*stored, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	candidates := make([]api.Candidate, len(n.files))
	for i, f := range n.files {
		candidates[i] = api.Candidate{ID: f.ID, Name: f.Name}
	}
	id, err := api.Resolve("file", name, candidates)
	for i := range n.files {
		if n.files[i].ID == id {
			return &n.files[i], err
		}
	}
	return nil, err
}

// OpenFile opens a file.
func (n *Node) OpenFile(_ context.Context, file string) (api.FileContent, error) {
	f, err := n.find(file)
	if err != nil {
		return api.FileContent{}, err
	}
	var content io.ReadSeeker = bytes.NewReader(f.content)
	if n.Cut > 0 {
		content = &cut{content, n.Cut}
	}
	return api.FileContent{ReadSeeker: content, File: f.File, Close: func() {}}, nil
}

// cut fails after so many bytes.
type cut struct {
	io.ReadSeeker
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errors.New("the disk cannot be read")
	}
	n, err := c.ReadSeeker.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Files lists the files.
func (n *Node) Files(context.Context, api.FilesRequest) (api.Files, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := api.Files{Files: []api.File{}, Quota: 4 << 30, Max: 100 << 20}
	for _, f := range n.files {
		out.Files = append(out.Files, f.File)
		out.Taken += f.Sealed
	}
	return out, n.Fail["Files"]
}

// File tells of a file, which a member called ben has, too.
func (n *Node) File(_ context.Context, r api.FileRequest) (api.File, error) {
	f, err := n.find(r.File)
	if err != nil {
		return api.File{}, err
	}
	out := f.File
	if r.Holders {
		out.Holders = []api.FileHolder{{Peer: "12D3KooWben", User: ID("user ben"), Name: "ben", Have: out.Sealed}}
	}
	return out, n.Fail["File"]
}

// FetchFile says that a file is here, after n.Fetching.
func (n *Node) FetchFile(_ context.Context, r api.FetchFileRequest, emit func(api.File) error) error {
	f, err := n.find(r.File)
	if err != nil {
		return err
	}
	for _, part := range n.Fetching {
		if err := emit(part); err != nil {
			return err
		}
	}
	return emit(f.File)
}

// RemoveFile drops a file.
func (n *Node) RemoveFile(_ context.Context, r api.RemoveFileRequest) (api.File, error) {
	f, err := n.find(r.File)
	if err != nil {
		return api.File{}, err
	}
	f.State, f.Have, f.Own = api.FileAway, 0, false
	return f.File, n.Fail["RemoveFile"]
}

// PinFile pins a file.
func (n *Node) PinFile(_ context.Context, r api.PinFileRequest) (api.File, error) {
	f, err := n.find(r.File)
	if err != nil {
		return api.File{}, err
	}
	f.Pinned = r.Pinned
	return f.File, n.Fail["PinFile"]
}
