package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// everyCall makes each call of the API with as good as nothing in its request, and gives the
// errors by the names of the calls.
func everyCall(ctx context.Context, a api.API) map[string]error {
	out := map[string]error{}
	v := reflect.ValueOf(a)
	for i := range v.NumMethod() {
		m := v.Method(i)
		var args []reflect.Value
		for j := range m.Type().NumIn() {
			switch t := m.Type().In(j); {
			case t == reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(ctx))
			case t == reflect.TypeFor[io.Reader]():
				args = append(args, reflect.ValueOf(io.Reader(strings.NewReader(""))))
			case t.Kind() == reflect.Func:
				args = append(args, reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value {
					return []reflect.Value{reflect.Zero(reflect.TypeFor[error]())}
				}))
			default:
				args = append(args, reflect.Zero(t))
			}
		}
		answers := m.Call(args)
		err, _ := answers[len(answers)-1].Interface().(error)
		out[v.Type().Method(i).Name] = err
	}
	return out
}

// TestClosedNode asks a closed node for everything: nothing is answered or done.
func TestClosedNode(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		if err := a.Close(); err != nil {
			w.Fatal(err)
		}
		errs := everyCall(w.Context(), a.API())
		if len(errs) < 80 {
			w.Errorf("only %d calls", len(errs))
		}
		for name, err := range errs {
			if api.CodeOf(err) != api.CodeUnavailable || !errors.Is(err, ErrClosed) || api.AsError(err).Retryable {
				w.Errorf("%s: %v", name, err)
			}
		}
		if _, err := a.CreateGroup(w.Context(), CreateGroup{Name: "more"}); !errors.Is(err, ErrClosed) {
			w.Errorf("CreateGroup: %v", err)
		}
		if err := a.Join(w.Context(), id); !errors.Is(err, ErrClosed) {
			w.Errorf("Join: %v", err)
		}
		if err := a.Wait(w.Context(), api.LevelReady); !errors.Is(err, ErrClosed) || api.CodeOf(err) != api.CodeUnavailable {
			w.Errorf("Wait: %v", err)
		}
	})
}

// TestCloseWithCallers closes a node that callers are inside of: their calls end, and Close
// waits for them. A stream's own function may be the one that closes it.
func TestCloseWithCallers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		reader, writer := io.Pipe()
		defer writer.Close()
		uploaded, followed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.API().Upload(w.Context(), api.UploadRequest{Name: "a"}, 1<<20, reader)
			uploaded <- err
		}()
		go func() {
			followed <- a.API().Timeline(w.Context(), api.TimelineRequest{Group: id.String(), Follow: true}, func(h api.Happening) error {
				if h.Message == nil {
					return nil
				}
				return a.Close()
			})
		}()
		synctest.Wait()
		if _, err := a.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "close"}); err != nil && !errors.Is(err, ErrClosed) {
			w.Errorf("Send: %v", err)
		}
		for what, err := range map[string]error{"Upload": <-uploaded, "Timeline": <-followed} {
			if !errors.Is(err, ErrClosed) {
				w.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestUploadGivesUp uploads from where nothing comes.
func TestUploadGivesUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		for _, head := range []string{"", strings.Repeat("a", 100_000)} {
			reader, writer := io.Pipe()
			go func() { _, _ = io.Copy(writer, strings.NewReader(head)) }()
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			_, err := a.API().Upload(ctx, api.UploadRequest{Name: "a"}, 1<<20, reader)
			cancel()
			_ = writer.Close()
			if !errors.Is(err, context.DeadlineExceeded) || api.CodeOf(err) != api.CodeTimeout {
				w.Errorf("after %d bytes: %v", len(head), err)
			}
		}
		b := bytes.Repeat([]byte("content "), 50_000)
		f, err := a.API().Upload(w.Context(), api.UploadRequest{Name: "a"}, int64(len(b)), bytes.NewReader(b))
		if err != nil || f.Size != int64(len(b)) {
			w.Errorf("%+v, %v", f, err)
		}
	})
}
