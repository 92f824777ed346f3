package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// FileAPI has the calls about files.
type FileAPI interface {
	Files(context.Context, FilesRequest) (Files, error)
	File(context.Context, FileRequest) (File, error)
	// FetchFile fetches a file, streams how much of it is here, and ends when all is.
	FetchFile(ctx context.Context, r FetchFileRequest, emit func(File) error) error
	RemoveFile(context.Context, RemoveFileRequest) (File, error)
	PinFile(context.Context, PinFileRequest) (File, error)
}

// Contents are files themselves. They travel as they are, beside the table of routes.
type Contents interface {
	// Upload seals a file of a size for a message that names it in SendRequest.Files. When ctx
	// ends it returns, though a Read of body may last; it reads nothing after that one.
	Upload(ctx context.Context, r UploadRequest, size int64, body io.Reader) (File, error)
	// OpenFile opens a file that is here. The caller closes it.
	OpenFile(ctx context.Context, file string) (FileContent, error)
}

// WithContents is an API that has the files themselves, as a node in process has. A [Client] has
// Upload, and ReadFile in the place of OpenFile.
type WithContents interface {
	API
	Contents
}

// FilesRequest asks for the files that messages name.
type FilesRequest struct {
	Group string `query:"group"` // empty: of all groups
}

// FileRequest names a file by its ID, the beginning of that, or its name.
type FileRequest struct {
	File    string `path:"file"`
	Holders bool   `query:"holders"` // ask the connected members and the mailboxes how much of it they have
}

// FetchFileRequest is as FileRequest.
type FetchFileRequest struct {
	File string `path:"file"`
}

// RemoveFileRequest drops a file from this device. Its messages still name it.
type RemoveFileRequest struct {
	File  string `path:"file"`
	Force bool   `query:"force"` // even if no two other devices are known to have all of it
}

// PinFileRequest keeps a file from being given up to make room, and has it fetched.
type PinFileRequest struct {
	File   string `path:"file"`
	Pinned bool   `json:"pinned"`
}

// UploadRequest describes a file; all of it travels in the URL.
type UploadRequest struct {
	Name         string // its last part only
	MediaType    string // empty: as its first bytes say
	KeepMetadata bool   // of a JPEG, PNG or WebP, where and by whom it was taken
	Group        string // it is for: a file that the group does not take is refused before it comes; empty: as only this node says
}

// FileState says how much of a file is on this device.
type FileState string

// States of a file.
const (
	FileHere   FileState = "here"
	FilePartly FileState = "partly"
	FileAway   FileState = "away"
	FileFaulty FileState = "faulty" // it can never be opened; Why says why
)

// Files is a list of files, the newest first, and the room that they take.
type Files struct {
	Files    []File `json:"files"`
	Taken    int64  `json:"taken"` // bytes on the disk
	Quota    int64  `json:"quota"`
	Max      int64  `json:"max"`                 // bytes of a file that is sent
	GroupMax int64  `json:"group_max,omitempty"` // bytes of a file that the group takes which was asked for; 0: its setting "files.max" is not set
}

// File is a file that a message names, or will.
type File struct {
	ID          string    `json:"id"`
	Name        string    `json:"name,omitempty"` // as its sender says; fit for any folder
	MediaType   string    `json:"media_type"`     // the same; do not trust it
	Size        int64     `json:"size"`           // bytes
	Description string    `json:"description,omitempty"`
	Preview     []byte    `json:"preview,omitempty"` // a JPEG of at most 12 KiB and 1024 pixels a side
	State       FileState `json:"state"`
	Have        int64     `json:"have"`             // bytes of it that are here, sealed
	Sealed      int64     `json:"sealed"`           // bytes that it has sealed
	Fetched     int64     `json:"fetched"`          // bytes of that which came from others in this run
	Wanted      bool      `json:"wanted,omitempty"` // it is fetched
	Own         bool      `json:"own,omitempty"`    // it was sent from here
	Pinned      bool      `json:"pinned,omitempty"`
	Why         string    `json:"why,omitempty"` // it is wanted and does not come, or is faulty: why

	Messages []FileMessage `json:"messages,omitempty"` // that name it; not in a Message
	Holders  []FileHolder  `json:"holders,omitempty"`  // if they were asked for
	Created  time.Time     `json:"created,omitzero"`   // when the first of its messages came here
}

// FileMessage is a message that names a file.
type FileMessage struct {
	Group   string `json:"group"`
	Message string `json:"message"`
}

// FileHolder is a connected member who has some of a file, or a mailbox of one of its groups.
type FileHolder struct {
	Peer     string `json:"peer"`
	User     string `json:"user,omitempty"`
	Name     string `json:"name,omitempty"`
	Verified bool   `json:"verified,omitempty"` // User was verified
	Doubt    string `json:"doubt,omitempty"`    // why Name could be taken for another's, as of Member
	Have     int64  `json:"have"`               // bytes, sealed
	Mailbox  bool   `json:"mailbox,omitempty"`  // it is a mailbox, and keeps the file for a time
	Why      string `json:"why,omitempty"`      // of a mailbox that has not all of it: why, as far as is known
}

// FileContent is an open file.
type FileContent struct {
	io.ReadSeeker
	File  File
	Close func()
}

// Paths of files themselves.
const (
	pathUpload  = "/v1/files"
	pathContent = "/v1/files/{file}/content"
)

// serveContents binds the routes of files themselves.
func serveContents(mux *http.ServeMux, c Contents) {
	mux.HandleFunc(http.MethodPost+" "+pathUpload, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		var kept bool
		var err error
		if text := query.Get("keep_metadata"); text != "" {
			if kept, err = strconv.ParseBool(text); err != nil {
				err = fmt.Errorf("keep_metadata %q is neither true nor false", text)
			}
		}
		for name := range query {
			if name != "name" && name != "type" && name != "keep_metadata" && name != "group" {
				err = fmt.Errorf("there is no parameter %q", name)
			}
		}
		if err != nil {
			writeError(w, Errorf(CodeInvalid, "%v", err))
			return
		}
		if r.ContentLength < 0 {
			writeError(w, Errorf(CodeInvalid, "the length of the file is not known: give Content-Length"))
			return
		}
		f, err := c.Upload(r.Context(), UploadRequest{query.Get("name"), query.Get("type"), kept, query.Get("group")}, r.ContentLength, r.Body)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, f)
	})
	mux.HandleFunc(http.MethodGet+" "+pathContent, func(w http.ResponseWriter, r *http.Request) {
		f, err := c.OpenFile(r.Context(), pathValue(r, "file"))
		if err != nil {
			writeError(w, err)
			return
		}
		defer f.Close()
		// Its sender chose name and type: no browser is to run it.
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		if kind, _, err := mime.ParseMediaType(f.File.MediaType); err == nil && harmless[kind] {
			h.Set("Content-Type", kind)
		}
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.File.Name}))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("ETag", `"`+f.File.ID+`"`)
		http.ServeContent(w, r, "", time.Time{}, f)
	})
}

// harmless are the types that a page may show in itself.
var harmless = map[string]bool{
	"image/jpeg": true, "image/png": true, "image/webp": true, "image/gif": true, "audio/mpeg": true, "audio/ogg": true, "video/mp4": true, "video/webm": true,
}

// source is what a client uploads. It remembers how reading it failed, and never closes it.
type source struct {
	r     io.Reader
	wants int64

	mu     sync.Mutex // the connection reads in its own goroutine
	had    int64
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.had += int64(n); err != nil {
		s.failed = err
	}
	return n, err
}

// fault says what is wrong with the file itself; nil: nothing is known to be.
func (s *source) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil && !errors.Is(s.failed, io.EOF):
		return Errorf(CodeInternal, "reading the file: %v", s.failed).Because(s.failed)
	case s.failed != nil && s.had < s.wants:
		return Errorf(CodeInvalid, "the file is not as long as was said: it has %d bytes, and not %d", s.had, s.wants)
	case s.had > s.wants:
		return Errorf(CodeInvalid, "the file is not as long as was said: it has more than %d bytes", s.wants)
	}
	return nil
}

// Upload seals a file of a size for a message. An error of body is not retryable.
func (c *Client) Upload(ctx context.Context, r UploadRequest, size int64, body io.Reader) (File, error) {
	if err := Check(r); err != nil {
		return File{}, err
	}
	if size < 0 {
		return File{}, Errorf(CodeInvalid, "a file of %d bytes", size)
	}
	query := url.Values{"name": {r.Name}}
	if r.MediaType != "" {
		query.Set("type", r.MediaType)
	}
	if r.KeepMetadata {
		query.Set("keep_metadata", "true")
	}
	if r.Group != "" {
		query.Set("group", r.Group)
	}
	var out File
	from := &source{r: body, wants: size}
	if body = from; size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node"+pathUpload+"?"+query.Encode(), body)
	if err != nil {
		return out, Errorf(CodeInvalid, "%v", err)
	}
	req.ContentLength = size
	answer, err := c.http.Do(req)
	if err != nil {
		if fault := from.fault(); fault != nil && ctx.Err() == nil {
			return out, fault
		}
		return out, c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRequest))
	if err != nil {
		return out, broken(ctx, err)
	}
	if answer.StatusCode != http.StatusOK {
		return out, parseError(text, answer.StatusCode)
	}
	return out, json.Unmarshal(text, &out)
}

// ReadFile gives a file that is on the node's device, from its first byte. The caller closes it.
func (c *Client) ReadFile(ctx context.Context, id string) (io.ReadCloser, error) {
	answer, err := send(ctx, c, http.MethodGet, pathContent, "*/*", FetchFileRequest{id})
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// Files lists the files that messages name.
func (c *Client) Files(ctx context.Context, r FilesRequest) (Files, error) {
	return routeFiles.do(ctx, c, r)
}

// File tells of one file.
func (c *Client) File(ctx context.Context, r FileRequest) (File, error) {
	return routeFile.do(ctx, c, r)
}

// FetchFile fetches a file.
func (c *Client) FetchFile(ctx context.Context, r FetchFileRequest, emit func(File) error) error {
	return routeFetchFile.do(ctx, c, r, emit)
}

// RemoveFile drops a file from the node's device.
func (c *Client) RemoveFile(ctx context.Context, r RemoveFileRequest) (File, error) {
	return routeRemoveFile.do(ctx, c, r)
}

// PinFile keeps a file.
func (c *Client) PinFile(ctx context.Context, r PinFileRequest) (File, error) {
	return routePinFile.do(ctx, c, r)
}
