package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// maxRequest bounds the body of a request: an envelope of 512 KiB in base64, or a
// message of 64 KiB of which every byte is escaped.
const maxRequest = 1 << 20

// call is a route that answers once. Its client side and its server side stand side by
// side.
type call[Req, Resp any] struct{ method, path string }

func (c call[Req, Resp]) with(m func(API, context.Context, Req) (Resp, error)) binding {
	return binding{
		Route: Route{c.method, c.path, reflect.TypeFor[Req](), reflect.TypeFor[Resp](), false},
		bind: func(a API) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				req, err := readRequest[Req](w, r)
				if err != nil {
					writeError(w, err)
					return
				}
				resp, err := m(a, r.Context(), req)
				if err != nil {
					writeError(w, err)
					return
				}
				writeJSON(w, http.StatusOK, resp)
			}
		},
	}
}

func (c call[Req, Resp]) do(ctx context.Context, client *Client, req Req) (Resp, error) {
	var resp Resp
	answer, err := send(ctx, client, c.method, c.path, "application/json", req)
	if err != nil {
		return resp, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&resp); err != nil {
		return resp, broken(ctx, fmt.Errorf("reading the answer to %s %s: %w", c.method, c.path, err))
	}
	return resp, nil
}

// stream is a route that answers with Server-Sent Events.
type stream[Req, Item any] struct{ method, path string }

// Names of the events that end a stream. Items have no event name.
const (
	sseEnd   = "end"
	sseError = "error"
)

func (s stream[Req, Item]) with(m func(API, context.Context, Req, func(Item) error) error) binding {
	return binding{
		Route: Route{s.method, s.path, reflect.TypeFor[Req](), reflect.TypeFor[Item](), true},
		bind: func(a API) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				req, err := readRequest[Req](w, r)
				if err == nil {
					err = resume(&req, r.Header.Get("Last-Event-ID"))
				}
				if err != nil {
					writeError(w, err)
					return
				}
				started := false
				emit := func(e sseEvent) error {
					if !started {
						w.Header().Set("Content-Type", "text/event-stream")
						w.Header().Set("Cache-Control", "no-store")
						w.WriteHeader(http.StatusOK)
						started = true
					}
					return writeSSE(w, e)
				}
				err = m(a, r.Context(), req, func(item Item) error {
					data, err := json.Marshal(item)
					if err != nil {
						return err
					}
					return emit(sseEvent{ID: cursorOf(item), Data: data})
				})
				switch {
				case r.Context().Err() != nil: // the caller has hung up
				case err == nil:
					_ = emit(sseEvent{Name: sseEnd, Data: []byte("{}")})
				case !started:
					writeError(w, err)
				default:
					data, _ := json.Marshal(errorBody{AsError(err)})
					_ = emit(sseEvent{Name: sseError, Data: data})
				}
			}
		},
	}
}

// resumable is a request whose stream goes on after a cursor.
type resumable interface {
	resumeAt(run string, cursor uint64)
}

func (r *EventsRequest) resumeAt(run string, cursor uint64)    { r.Run, r.Since = run, cursor }
func (r *GroupEventsRequest) resumeAt(_ string, cursor uint64) { r.Since = cursor }
func (r *TailRequest) resumeAt(_ string, cursor uint64)        { r.Since = cursor }
func (r *TimelineRequest) resumeAt(_ string, cursor uint64)    { r.Since, r.Last = cursor, 0 }

// resume has a stream go on after the event with an SSE id, which a client that reconnects
// sends in Last-Event-ID. That id overrides the cursor in the URL, which is still that of
// the first connection.
func resume(req any, id string) error {
	r, ok := req.(resumable)
	if !ok || id == "" {
		return nil
	}
	run, number, ok := strings.Cut(id, "-")
	if !ok {
		run, number = "", id
	}
	cursor, err := strconv.ParseUint(number, 10, 64)
	if err != nil || ok && run == "" {
		return Errorf(CodeInvalid, "Last-Event-ID %q is no id of an event of this stream", id)
	}
	r.resumeAt(run, cursor)
	return nil
}

// cursorOf returns the SSE id of a stream's item: its cursor, preceded by the run of the
// node if cursors count in a run.
func cursorOf(item any) string {
	switch v := item.(type) {
	case Event:
		if v.Run != "" {
			return fmt.Sprintf("%s-%d", v.Run, v.Cursor)
		}
		return fmt.Sprint(v.Cursor)
	case Message:
		return fmt.Sprint(v.Cursor)
	case Happening:
		return fmt.Sprint(v.Cursor)
	}
	return ""
}

func (s stream[Req, Item]) do(ctx context.Context, client *Client, req Req, emit func(Item) error) error {
	answer, err := send(ctx, client, s.method, s.path, "text/event-stream", req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	events := newSSEReader(answer.Body)
	for {
		e, err := events.next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return broken(ctx, fmt.Errorf("the stream of %s was cut: %w", s.path, err))
		}
		switch e.Name {
		case "":
			var item Item
			if err := json.Unmarshal(e.Data, &item); err != nil {
				return fmt.Errorf("reading an item of %s: %w", s.path, err)
			}
			if err := emit(item); err != nil {
				return err
			}
		case sseEnd:
			return nil
		case sseError:
			return parseError(e.Data, http.StatusInternalServerError)
		}
	}
}

// send makes the request; an answer other than 200 becomes an error.
func send(ctx context.Context, client *Client, method, path, accept string, req any) (*http.Response, error) {
	url, body, err := encodeRequest(method, path, req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://node"+url, bytes.NewReader(body))
	if err != nil {
		return nil, Errorf(CodeInvalid, "%v", err)
	}
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.http.Do(r)
	if err != nil {
		return nil, client.unreachable(ctx, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRequest))
	if err != nil {
		return nil, broken(ctx, fmt.Errorf("reading the error of %s %s: %w", method, path, err))
	}
	return nil, parseError(text, answer.StatusCode)
}

// broken says that the node went away in the middle of a stream, unless the caller ended
// it.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return AsError(context.Cause(ctx))
	}
	return Errorf(CodeUnavailable, "the node went away: %v", err)
}

func parseError(text []byte, status int) *Error {
	var e errorBody
	if json.Unmarshal(text, &e) == nil && e.Error != nil && e.Error.Code != "" {
		return e.Error
	}
	return Errorf(CodeInternal, "the node answered %d %s: %.200q", status, http.StatusText(status), text)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		writeError(w, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the caller has hung up
}

func writeError(w http.ResponseWriter, err error) {
	e := AsError(err)
	status := http.StatusInternalServerError
	if c, ok := codes[e.Code]; ok {
		status = c.status
	}
	writeJSON(w, status, errorBody{e})
}

type errorBody struct {
	Error *Error `json:"error"`
}
