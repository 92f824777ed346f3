package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// contents describes the routes of files themselves, which are outside the table of routes,
// and whose bodies are no JSON. It gives their number.
func (d *describer) contents(paths object) int {
	errorBodyOf := func(text string) object {
		return object{"description": text, "content": object{"application/json": object{"schema": d.schema(reflect.TypeFor[errorBody]())}}}
	}
	parameter := func(name, in, text string, required bool, schema object) object {
		return object{"name": name, "in": in, "description": text, "required": required, "schema": schema}
	}
	textual := object{"type": "string"}
	header := func(text string, required bool) object {
		return object{"description": text, "required": required, "schema": textual}
	}
	raw := func(kinds ...string) object {
		out := object{}
		for _, k := range kinds {
			out[k] = object{} // of bytes that are no JSON, OpenAPI 3.1 has no schema
		}
		return out
	}
	whole := object{
		"ETag": header("The ID of the file.", true), "Accept-Ranges": header("bytes", true), "Cache-Control": header("no-store", true),
		"Content-Disposition": header("attachment, with the name of the file.", true), "Content-Length": header("Bytes that follow.", true),
		"Content-Security-Policy": header("No browser is to run it.", true), "X-Content-Type-Options": header("nosniff", true),
	}
	some := maps.Clone(whole)
	some["Content-Range"] = header("The bytes that follow, and of how many: bytes 0-1023/2048.", true)
	kinds := append([]string{"application/octet-stream"}, slices.Sorted(maps.Keys(harmless))...)

	paths[pathUpload].(object)["post"] = object{ //nolint:forcetypeassert // GET is there
		"operationId": "upload", "tags": []string{"files"},
		"description": "Seals a file for a message that names it. The request has a Content-Length, and its body is the file.",
		"parameters": []object{
			parameter("name", "query", d.comments["UploadRequest.Name"], true, textual),
			parameter("type", "query", d.comments["UploadRequest.MediaType"], false, textual),
			parameter("keep_metadata", "query", d.comments["UploadRequest.KeepMetadata"], false, object{"type": "boolean"}),
			parameter("group", "query", d.comments["UploadRequest.Group"], false, textual),
		},
		"requestBody": object{"required": true, "content": raw("application/octet-stream")},
		"responses": object{
			"200":     object{"description": "The file, which SendRequest.files takes.", "content": object{"application/json": object{"schema": d.schema(reflect.TypeFor[File]())}}},
			"400":     errorBodyOf("invalid: a name, type or size that cannot be, a picture that cannot be read, or no Content-Length."),
			"429":     errorBodyOf("limited: the disk is full, or files.quota is reached."),
			"default": errorBodyOf("An error."),
		},
	}
	paths[pathContent] = object{"get": object{
		"operationId": "fileContent", "tags": []string{"files"},
		"description": "The bytes of a file that is here, or some of them. HEAD gives the headers alone. The type is what its sender said only if that is of a picture, sound or film that a page may show.",
		"parameters": []object{
			parameter("file", "path", "its ID, the beginning of that, or its name", true, textual),
			parameter("Range", "header", "the bytes that are wanted, such as bytes=0-1023 (RFC 9110, Section 14.2); of several ranges the answer is multipart/byteranges", false, textual),
			parameter("If-Range", "header", "an ETag: all of it, if it is of another file", false, textual),
			parameter("If-None-Match", "header", "an ETag: nothing, if it is of this file", false, textual),
		},
		"responses": object{
			"200":     object{"description": "All of it.", "headers": whole, "content": raw(kinds...)},
			"206":     object{"description": "The bytes of the range.", "headers": some, "content": raw(append(kinds, "multipart/byteranges")...)},
			"304":     object{"description": "It is the file of the ETag."},
			"300":     errorBodyOf("ambiguous: the name fits several files."),
			"404":     errorBodyOf("not-found: no message names such a file."),
			"409":     errorBodyOf("conflict: not all of it is here; fetch it first."),
			"416":     object{"description": "The range is not in the file.", "headers": object{"Content-Range": header("How many bytes it has: bytes */2048.", true)}, "content": raw("text/plain")},
			"default": errorBodyOf("An error."),
		},
	}}
	routes := map[string][]string{
		"POST " + pathUpload: {"answer File", "parameter name", "parameter type", "parameter keep_metadata", "parameter group"},
		"GET " + pathContent: {"parameter file", "parameter Range", "parameter If-Range", "parameter If-None-Match", "status 206", "status 304", "status 416"},
	}
	for route, all := range routes {
		d.promises["route "+route] = true
		for _, p := range all {
			what, of, _ := strings.Cut(p, " ")
			d.promises[what+" "+route+" "+of] = true
		}
	}
	return len(routes)
}

// filesEcho has one file, and fails by the name of another.
type filesEcho struct{ *echo }

func failsBy(name string) error {
	if _, is := codes[Code(name)]; is {
		return Errorf(Code(name), "as wanted")
	}
	return nil
}

func (filesEcho) Upload(_ context.Context, r UploadRequest, size int64, body io.Reader) (File, error) {
	_, err := io.Copy(io.Discard, body)
	return File{ID: "id", Name: r.Name, MediaType: r.MediaType, Size: size}, errors.Join(err, failsBy(r.Name))
}

func (filesEcho) OpenFile(_ context.Context, file string) (FileContent, error) {
	if err := failsBy(file); err != nil {
		return FileContent{}, err
	}
	kind, _, _ := strings.Cut(file, ".")
	f := File{ID: "the-id", Name: file, MediaType: strings.ReplaceAll(kind, "-", "/"), Size: 100}
	return FileContent{ReadSeeker: bytes.NewReader(make([]byte, 100)), File: f, Close: func() {}}, nil
}

// The routes of files themselves answer with the codes, types and headers that the
// description says, and with each of them in some case.
func TestFilesAreServedAsDescribed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string } `json:"parameters"`
			Responses  map[string]struct {
				Headers map[string]any `json:"headers"`
				Content map[string]any `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	c := serve(t, filesEcho{&echo{}})
	seen := map[string]bool{}
	for _, x := range []struct {
		method, path string
		header       string // name: value
		body         io.Reader
		status       int
		kind         string
	}{
		{"POST", "?name=a.txt&type=text/plain&group=tea", "", strings.NewReader("some"), 200, "application/json"},
		{"POST", "?name=a.jpg&keep_metadata=true", "", strings.NewReader("some"), 200, "application/json"},
		{"POST", "?name=a.jpg&keep_metadata=perhaps", "", strings.NewReader("some"), 400, "application/json"},
		{"POST", "?name=a.txt&other=1", "", strings.NewReader("some"), 400, "application/json"},
		{"POST", "?name=a.txt", "", io.MultiReader(strings.NewReader("of a length that is not said")), 400, "application/json"},
		{"POST", "?name=invalid", "", strings.NewReader("some"), 400, "application/json"},
		{"POST", "?name=limited", "", strings.NewReader("some"), 429, "application/json"},
		{"GET", "some.bin", "", nil, 200, "application/octet-stream"},
		{"HEAD", "some.bin", "", nil, 200, "application/octet-stream"},
		{"GET", "text-html.html", "", nil, 200, "application/octet-stream"},
		{"GET", "image-png.png", "", nil, 200, "image/png"},
		{"GET", "image-svg.svg", "", nil, 200, "application/octet-stream"},
		{"GET", "some.bin", "Range: bytes=10-19", nil, 206, "application/octet-stream"},
		{"GET", "video-mp4.mp4", "Range: bytes=-5", nil, 206, "video/mp4"},
		{"GET", "some.bin", "Range: bytes=0-1,5-6", nil, 206, "multipart/byteranges"},
		{"GET", "some.bin", "Range: bytes=100-", nil, 416, "text/plain"},
		{"GET", "some.bin", `If-None-Match: "the-id"`, nil, 304, ""},
		{"GET", "ambiguous", "", nil, 300, "application/json"},
		{"GET", "not-found", "", nil, 404, "application/json"},
		{"GET", "conflict", "", nil, 409, "application/json"},
	} {
		at, path := pathUpload, pathUpload+x.path
		if x.method != "POST" {
			at, path = pathContent, strings.Replace(pathContent, "{file}", x.path, 1)
		}
		req, err := http.NewRequestWithContext(t.Context(), x.method, "http://node"+path, x.body)
		if err != nil {
			t.Fatal(err)
		}
		described := doc.Paths[at][strings.ToLower(strings.Replace(x.method, "HEAD", "GET", 1))]
		if name, value, is := strings.Cut(x.header, ": "); is {
			req.Header.Set(name, value)
			seen[name] = true
		}
		for name := range req.URL.Query() {
			seen[name] = true
		}
		answer, err := c.http.Do(req)
		if err != nil {
			t.Fatal(x.path, err)
		}
		b, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
		if answer.StatusCode != x.status || kind != x.kind || err != nil {
			t.Errorf("%s %s %s: %s of %q, %v", x.method, x.path, x.header, answer.Status, kind, err)
		}
		status := strconv.Itoa(x.status)
		as, is := described.Responses[status]
		if _, has := as.Content[kind]; !is || !has && kind != "" {
			t.Errorf("%s %s %s: %s of %q is not described", x.method, x.path, x.header, answer.Status, kind)
		}
		for name := range as.Headers {
			if answer.Header.Get(name) == "" && kind != "multipart/byteranges" {
				t.Errorf("%s %s %s: there is no %s", x.method, x.path, x.header, name)
			}
		}
		if x.status == http.StatusPartialContent && kind != "multipart/byteranges" && len(b) > 10 {
			t.Errorf("%s %s: %d bytes came", x.path, x.header, len(b))
		}
		seen[at+" "+status] = true
	}
	seen["file"], seen["If-Range"] = true, true // in each path; of net/http
	for _, at := range []string{pathUpload, pathContent} {
		op := doc.Paths[at]["get"]
		if at == pathUpload {
			op = doc.Paths[at]["post"]
		}
		for status := range op.Responses {
			if !seen[at+" "+status] && status != "default" {
				t.Errorf("%s: %s is described, and nothing answers so", at, status)
			}
		}
		for _, p := range op.Parameters {
			if !seen[p.Name] {
				t.Errorf("%s: %s is described, and nothing uses it", at, p.Name)
			}
		}
		if len(op.Responses) < 4 {
			t.Errorf("%s: %d answers are described", at, len(op.Responses))
		}
	}
}
