package api

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A name travels as it is, whatever it means in a path.
func TestEveryNameTravels(t *testing.T) {
	e := &echo{}
	c := serve(t, e)
	for _, name := range []string{"/", "//", "///", ".", "..", "...", "./", "../..", "a/b", "a/", "%2F", "%2E", "%", "?a=b", "#", "a b", "+", `\`, "é", "::"} {
		want := ReactionRequest{Group: name, Message: name, Text: name}
		if _, err := c.React(t.Context(), want); err != nil || e.got != any(want) {
			t.Errorf("%q: got %+v, %v", name, e.got, err)
		}
		if _, err := c.Group(t.Context(), GroupRequest{name}); err != nil || e.got != any(GroupRequest{name}) {
			t.Errorf("%q: got %+v, %v", name, e.got, err)
		}
	}
}

// Text that JSON would replace, and numbers that mean nothing, never leave the client.
func TestClientChecksRequests(t *testing.T) {
	e := &echo{}
	c := serve(t, e)
	const bad = "caf\xe9"
	for what, call := range map[string]func() error{
		"text": func() error { _, err := c.Send(t.Context(), SendRequest{Group: "g", Text: bad}); return err },
		"texts": func() error {
			_, err := c.Send(t.Context(), SendRequest{Group: "g", Texts: []string{"a", bad}})
			return err
		},
		"key": func() error {
			_, err := c.Send(t.Context(), SendRequest{Group: "g", Text: "a", Key: "\xff"})
			return err
		},
		"path": func() error { _, err := c.Group(t.Context(), GroupRequest{bad}); return err },
		"tags": func() error {
			_, err := c.CreateGroup(t.Context(), CreateGroupRequest{Name: "a", Tags: []string{bad}})
			return err
		},
		"query": func() error { return c.Find(t.Context(), FindRequest{Name: bad}, nil) },
		"limit": func() error { _, err := c.Messages(t.Context(), MessagesRequest{Group: "g", Limit: -1}); return err },
		"last":  func() error { return c.Timeline(t.Context(), TimelineRequest{Group: "g", Last: -1}, nil) },
		"wait":  func() error { _, err := c.Status(t.Context(), StatusRequest{Timeout: -1}); return err },
		"upload": func() error {
			_, err := c.Upload(t.Context(), UploadRequest{Name: bad}, 1, strings.NewReader("a"))
			return err
		},
	} {
		if err := call(); CodeOf(err) != CodeInvalid || e.got != nil {
			t.Errorf("%s: %v, and the node got %+v", what, err, e.got)
		}
	}
}

// A file that cannot be read, or is not as long as was said, is no fault of the node.
func TestUploadOfBadFile(t *testing.T) {
	c := serve(t, filesEcho{&echo{}})
	broken := errors.New("the disk is broken")
	for what, f := range map[string]struct {
		body io.Reader
		code Code
	}{
		"broken":         {io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), CodeInternal},
		"broken at once": {iotest.ErrReader(broken), CodeInternal},
		"short":          {strings.NewReader("ab"), CodeInvalid},
		"empty":          {strings.NewReader(""), CodeInvalid},
		"long":           {strings.NewReader(strings.Repeat("a", 11)), CodeInvalid},
	} {
		_, err := c.Upload(t.Context(), UploadRequest{Name: "a"}, 10, f.body)
		if CodeOf(err) != f.code || AsError(err).Retryable || f.code == CodeInternal && !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A text that is longer than any name names nothing: comparing takes time, and errors repeat it.
func TestResolveBoundsNames(t *testing.T) {
	_, err := Resolve("group", strings.Repeat("a", 4<<20), []Candidate{{ID: "a", Name: "b"}})
	if CodeOf(err) != CodeInvalid || len(err.Error()) > 200 {
		t.Errorf("%s, %d bytes", CodeOf(err), len(err.Error()))
	}
}
