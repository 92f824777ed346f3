package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
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

// TestCloseFromABackup: what receives a backup may close the node, or the store at rest, and may
// take its time.
func TestCloseFromABackup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		for range 12 {
			if _, err := a.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: strings.Repeat("a", 60_000)}); err != nil {
				w.Fatal(err)
			}
		}
		ask := api.BackupRequest{Passphrase: "correct horse battery"}
		for _, slow := range []bool{true, false} {
			closed, parts := make(chan error, 1), 0
			err := a.API().Backup(w.Context(), ask, func(api.BackupPart) error {
				if parts++; slow {
					go func() { closed <- a.Close() }()
					return <-closed
				}
				return a.Close()
			})
			if !errors.Is(err, ErrClosed) || parts != 1 {
				w.Errorf("%d parts, %v", parts, err)
			}
			a = w.open(0)
		}
		if err := a.Close(); err != nil {
			w.Fatal(err)
		}
		s, err := OpenAtRest(Config{Home: w.home(0), KeyFile: filepath.Join(w.dir, "0.key")})
		if err != nil {
			w.Fatal(err)
		}
		if err := s.Backup(w.Context(), ask, func(api.BackupPart) error { return s.Close() }); !errors.Is(err, ErrClosed) {
			w.Errorf("at rest: %v", err)
		}
	})
}

// TestStoreCallsEnd: what reads the whole store ends with its context.
func TestStoreCallsEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		for what, call := range map[string]func() error{
			"StoreUsage":   func() error { _, err := a.API().StoreUsage(ctx, api.Empty{}); return err },
			"CheckStore":   func() error { _, err := a.API().CheckStore(ctx, api.Empty{}); return err },
			"CompactStore": func() error { _, err := a.API().CompactStore(ctx, api.Empty{}); return err },
			"Checkup":      func() error { _, err := a.API().Checkup(ctx, api.CheckupRequest{Verify: true}); return err },
		} {
			if err := call(); !errors.Is(err, context.Canceled) {
				w.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestUploadPanics: a panic of what is uploaded reaches the caller, who may recover from it, and
// leaves the node as it was.
func TestUploadPanics(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		for _, size := range []int64{1, 1 << 20} {
			func() {
				defer func() {
					if p := recover(); p != "broken" {
						w.Errorf("%v", p)
					}
				}()
				_, err := a.API().Upload(w.Context(), api.UploadRequest{Name: "a"}, size, broken{})
				w.Errorf("%d bytes: %v", size, err)
			}()
		}
		if f, err := a.API().Upload(w.Context(), api.UploadRequest{Name: "a"}, 1, strings.NewReader("a")); err != nil || f.Size != 1 {
			w.Errorf("afterwards: %+v, %v", f, err)
		}
		if err := a.Close(); err != nil {
			w.Error(err)
		}
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { panic("broken") }

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

// TestErrorsOfAPI compares errors of calls in process in both ways: by codes, and with errors.Is.
func TestErrorsOfAPI(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		s, id := a.API(), w.create(a, "tea").String()
		over, cancel := context.WithCancel(w.Context())
		cancel()
		unknown := wire.GroupID{1}
		if err := a.Join(w.Context(), unknown); err != nil {
			w.Fatal(err)
		}
		huge := strings.Repeat("a", 1<<20)
		for what, c := range map[string]struct {
			err  error
			code api.Code
			is   error
			says string
		}{
			"blank":        {second(s.Send(w.Context(), api.SendRequest{Group: id, Text: " "})), api.CodeInvalid, ErrInvalid, "blank"},
			"wait":         {second(s.Send(w.Context(), api.SendRequest{Group: id, Text: "a", Wait: "never"})), api.CodeInvalid, ErrInvalid, "delivery"},
			"not UTF-8":    {second(s.Send(w.Context(), api.SendRequest{Group: id, Text: "a", Key: "\xff"})), api.CodeInvalid, ErrInvalid, "UTF-8"},
			"limit":        {second(s.Messages(w.Context(), api.MessagesRequest{Group: id, Limit: -1})), api.CodeInvalid, ErrInvalid, "limit"},
			"last":         {s.Timeline(w.Context(), api.TimelineRequest{Group: id, Last: -1}, nil), api.CodeInvalid, ErrInvalid, "last"},
			"no group":     {second(s.Group(w.Context(), api.GroupRequest{Group: "coffee"})), api.CodeNotFound, ErrNoGroup, "coffee"},
			"no ID":        {second(s.Members(w.Context(), api.GroupRequest{Group: wire.GroupID{2}.String()})), api.CodeNotFound, ErrNoGroup, ""},
			"looked for":   {second(s.Send(w.Context(), api.SendRequest{Group: unknown.String(), Text: "a"})), api.CodeConflict, ErrNoGroup, "being joined"},
			"cursor":       {second(s.Acknowledge(w.Context(), api.AcknowledgeRequest{Group: id, Name: "a", Cursor: 1 << 40})), api.CodeConflict, ErrCursor, ""},
			"interrupted":  {second(s.Members(over, api.GroupRequest{Group: id})), api.CodeInterrupted, context.Canceled, ""},
			"shutdown":     {second(s.Shutdown(w.Context(), api.Empty{})), api.CodeConflict, nil, "program"},
			"level":        {a.Wait(w.Context(), "asleep"), api.CodeInvalid, ErrInvalid, ""},
			"bytes":        {second(s.CreateGroup(w.Context(), api.CreateGroupRequest{Name: "caf\xe9"})), api.CodeInvalid, ErrInvalid, "name is not UTF-8"},
			"long":         {second(s.CreateGroup(w.Context(), api.CreateGroupRequest{Name: huge})), api.CodeInvalid, ErrInvalid, "at most 64"},
			"renamed long": {second(s.SetProfile(w.Context(), api.ProfileRequest{Group: id, Name: &huge})), api.CodeInvalid, ErrInvalid, "at most 64"},
			"long query":   {second(s.Group(w.Context(), api.GroupRequest{Group: huge})), api.CodeInvalid, ErrInvalid, "at most 1024"},
		} {
			if api.CodeOf(c.err) != c.code || c.is != nil && !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) || len(c.err.Error()) > 300 {
				w.Errorf("%s: %s: %.300v", what, api.CodeOf(c.err), c.err)
			}
		}
		for _, c := range []Config{{Home: a.cfg.Home, KeyFile: a.cfg.KeyFile}, {Home: w.TempDir(), KeyFile: a.cfg.KeyFile}, {}} {
			_, err := Open(w.Context(), c)
			if code := api.CodeOf(err); code == api.CodeInternal || err == nil {
				w.Errorf("opening %q: %v", c.Home, err)
			}
		}
	})
}

// TestFoundedAndToldSo founds groups under contexts that end at each step of that. There is a
// group if, and only if, its caller is told so.
func TestFoundedAndToldSo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		founded := 0
		for most := range 40 {
			ctx, cancel := context.WithCancel(w.Context())
			turns := 0
			a.hooks.crash = func(wire.GroupID, boundary) bool {
				if turns++; turns == most {
					cancel()
				}
				return false
			}
			if _, err := a.API().CreateGroup(ctx, api.CreateGroupRequest{Name: "tea"}); err == nil {
				founded++
			}
			cancel()
			if have := len(a.Groups()); have != founded {
				w.Errorf("cut off at the %dth step: %d groups, and %d callers know of theirs", most, have, founded)
				founded = have
			}
		}
		if founded == 0 || founded == 40 {
			w.Errorf("%d of 40 were founded", founded)
		}
	})
}

// TestDeliveryByWord follows the newest own message, and one by the beginning of its ID.
func TestDeliveryByWord(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea").String()
		sent, err := a.API().Send(w.Context(), api.SendRequest{Group: id, Text: "a"})
		if err != nil {
			w.Fatal(err)
		}
		for _, word := range []string{"mine", "last", sent.ID[:20], sent.ID} {
			if d, err := a.API().Delivery(w.Context(), api.DeliveryRequest{Group: id, Message: word}); err != nil || d.ID != sent.ID {
				w.Errorf("%s: %+v, %v", word, d, err)
			}
		}
	})
}
