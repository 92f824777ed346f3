package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// echo is an API that keeps the request it got and answers with something in every field.
type echo struct {
	got any
	err error
}

func answer[Req, Resp any](e *echo, r Req) (Resp, error) {
	e.got = r
	return filled(reflect.TypeFor[Resp]()).Interface().(Resp), e.err
}

func stream2[Req, Item any](e *echo, r Req, emit func(Item) error) error {
	e.got = r
	for range 2 {
		if err := emit(filled(reflect.TypeFor[Item]()).Interface().(Item)); err != nil {
			return err
		}
	}
	return e.err
}

func (e *echo) People(_ context.Context, r Empty) (People, error) { return answer[Empty, People](e, r) }

func (e *echo) Profile(_ context.Context, r Empty) (UserProfile, error) {
	return answer[Empty, UserProfile](e, r)
}

func (e *echo) PutProfile(_ context.Context, r UserProfileRequest) (UserProfile, error) {
	return answer[UserProfileRequest, UserProfile](e, r)
}

func (e *echo) Person(_ context.Context, r PersonRequest) (Person, error) {
	return answer[PersonRequest, Person](e, r)
}

func (e *echo) SetPerson(_ context.Context, r SetPersonRequest) (Person, error) {
	return answer[SetPersonRequest, Person](e, r)
}

func (e *echo) Verify(_ context.Context, r VerifyRequest) (Person, error) {
	return answer[VerifyRequest, Person](e, r)
}

func (e *echo) Unverify(_ context.Context, r PersonRequest) (Person, error) {
	return answer[PersonRequest, Person](e, r)
}

func (e *echo) Status(_ context.Context, r StatusRequest) (Status, error) {
	return answer[StatusRequest, Status](e, r)
}
func (e *echo) ID(_ context.Context, r Empty) (ID, error)       { return answer[Empty, ID](e, r) }
func (e *echo) Peers(_ context.Context, r Empty) (Peers, error) { return answer[Empty, Peers](e, r) }

func (e *echo) Version(_ context.Context, r Empty) (Version, error) {
	return answer[Empty, Version](e, r)
}

func (e *echo) Checkup(_ context.Context, r CheckupRequest) (Checkup, error) {
	return answer[CheckupRequest, Checkup](e, r)
}

func (e *echo) Unlock(_ context.Context, r UnlockRequest) (Empty, error) {
	return answer[UnlockRequest, Empty](e, r)
}

func (e *echo) Shutdown(_ context.Context, r Empty) (Empty, error) { return answer[Empty, Empty](e, r) }

func (e *echo) Events(_ context.Context, r EventsRequest, emit func(Event) error) error {
	return stream2(e, r, emit)
}

func (e *echo) CreateGroup(_ context.Context, r CreateGroupRequest) (Group, error) {
	return answer[CreateGroupRequest, Group](e, r)
}

func (e *echo) Groups(_ context.Context, r Empty) (Groups, error) { return answer[Empty, Groups](e, r) }

func (e *echo) Group(_ context.Context, r GroupRequest) (Group, error) {
	return answer[GroupRequest, Group](e, r)
}

func (e *echo) Find(_ context.Context, r FindRequest, emit func(Found) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Join(_ context.Context, r JoinRequest, emit func(JoinUpdate) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Leave(_ context.Context, r GroupRequest) (Left, error) {
	return answer[GroupRequest, Left](e, r)
}

func (e *echo) Forget(_ context.Context, r ForgetRequest) (Forgotten, error) {
	return answer[ForgetRequest, Forgotten](e, r)
}

func (e *echo) Reboot(_ context.Context, r GroupRequest) (Empty, error) {
	return answer[GroupRequest, Empty](e, r)
}

func (e *echo) Members(_ context.Context, r GroupRequest) (Members, error) {
	return answer[GroupRequest, Members](e, r)
}

func (e *echo) Remove(_ context.Context, r RemoveRequest) (Change, error) {
	return answer[RemoveRequest, Change](e, r)
}

func (e *echo) GroupEvents(_ context.Context, r GroupEventsRequest, emit func(Event) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Entries(_ context.Context, r GroupRequest, emit func(Entry) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Send(_ context.Context, r SendRequest) (Sent, error) {
	return answer[SendRequest, Sent](e, r)
}

func (e *echo) Messages(_ context.Context, r MessagesRequest) (Messages, error) {
	return answer[MessagesRequest, Messages](e, r)
}

func (e *echo) Tail(_ context.Context, r TailRequest, emit func(Message) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Files(_ context.Context, r FilesRequest) (Files, error) {
	return answer[FilesRequest, Files](e, r)
}

func (e *echo) File(_ context.Context, r FileRequest) (File, error) {
	return answer[FileRequest, File](e, r)
}

func (e *echo) FetchFile(_ context.Context, r FetchFileRequest, emit func(File) error) error {
	return stream2(e, r, emit)
}

func (e *echo) RemoveFile(_ context.Context, r RemoveFileRequest) (File, error) {
	return answer[RemoveFileRequest, File](e, r)
}

func (e *echo) PinFile(_ context.Context, r PinFileRequest) (File, error) {
	return answer[PinFileRequest, File](e, r)
}

func (e *echo) Rename(_ context.Context, r RenameRequest) (ID, error) {
	return answer[RenameRequest, ID](e, r)
}

func (e *echo) Set(_ context.Context, r SettingRequest) (Group, error) {
	return answer[SettingRequest, Group](e, r)
}

func (e *echo) SetProfile(_ context.Context, r ProfileRequest) (Group, error) {
	return answer[ProfileRequest, Group](e, r)
}

func (e *echo) MarkSeen(_ context.Context, r SeenRequest) (Empty, error) {
	return answer[SeenRequest, Empty](e, r)
}

func (e *echo) Timeline(_ context.Context, r TimelineRequest, emit func(Happening) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Envelope(_ context.Context, r EnvelopeRequest) (EnvelopeResult, error) {
	return answer[EnvelopeRequest, EnvelopeResult](e, r)
}

func (e *echo) Delivery(_ context.Context, r DeliveryRequest) (Sent, error) {
	return answer[DeliveryRequest, Sent](e, r)
}

func (e *echo) Message(_ context.Context, r MessageRequest) (Message, error) {
	return answer[MessageRequest, Message](e, r)
}

func (e *echo) Edit(_ context.Context, r EditRequest) (Sent, error) {
	return answer[EditRequest, Sent](e, r)
}

func (e *echo) Delete(_ context.Context, r MessageRequest) (Sent, error) {
	return answer[MessageRequest, Sent](e, r)
}

func (e *echo) React(_ context.Context, r ReactionRequest) (Sent, error) {
	return answer[ReactionRequest, Sent](e, r)
}

func (e *echo) Unreact(_ context.Context, r ReactionRequest) (Sent, error) {
	return answer[ReactionRequest, Sent](e, r)
}

func (e *echo) MessageEnvelope(_ context.Context, r MessageEnvelopeRequest) (Envelope, error) {
	return answer[MessageEnvelopeRequest, Envelope](e, r)
}

func (e *echo) Mailboxes(_ context.Context, r MailboxesRequest) (Mailboxes, error) {
	return answer[MailboxesRequest, Mailboxes](e, r)
}

func (e *echo) AddMailbox(_ context.Context, r AddMailboxRequest) (AddedMailbox, error) {
	return answer[AddMailboxRequest, AddedMailbox](e, r)
}

func (e *echo) RemoveMailbox(_ context.Context, r MailboxRequest) (Empty, error) {
	return answer[MailboxRequest, Empty](e, r)
}

func (e *echo) FindMailboxes(_ context.Context, r FindMailboxesRequest, emit func(FoundMailbox) error) error {
	return stream2(e, r, emit)
}

func (e *echo) CreateInvite(_ context.Context, r CreateInviteRequest) (Invite, error) {
	return answer[CreateInviteRequest, Invite](e, r)
}

func (e *echo) Invites(_ context.Context, r GroupRequest) (Invites, error) {
	return answer[GroupRequest, Invites](e, r)
}

func (e *echo) RevokeInvite(_ context.Context, r InviteRequest) (Change, error) {
	return answer[InviteRequest, Change](e, r)
}

func (e *echo) Requests(_ context.Context, r GroupRequest) (Requests, error) {
	return answer[GroupRequest, Requests](e, r)
}

func (e *echo) Approve(_ context.Context, r ApproveRequest) (Change, error) {
	return answer[ApproveRequest, Change](e, r)
}

func (e *echo) Deny(_ context.Context, r UserRequest) (Change, error) {
	return answer[UserRequest, Change](e, r)
}

func (e *echo) SetRole(_ context.Context, r RoleRequest) (Change, error) {
	return answer[RoleRequest, Change](e, r)
}

func (e *echo) Log(_ context.Context, r GroupRequest) (Log, error) {
	return answer[GroupRequest, Log](e, r)
}

func (e *echo) GroupStatus(_ context.Context, r GroupRequest) (GroupStatus, error) {
	return answer[GroupRequest, GroupStatus](e, r)
}

func (e *echo) Incidents(_ context.Context, r GroupRequest) (Incidents, error) {
	return answer[GroupRequest, Incidents](e, r)
}

func (e *echo) Heal(_ context.Context, r GroupRequest) (Healed, error) {
	return answer[GroupRequest, Healed](e, r)
}

func (e *echo) Why(_ context.Context, r WhyRequest) (Explanation, error) {
	return answer[WhyRequest, Explanation](e, r)
}

func (e *echo) Backup(_ context.Context, r BackupRequest, emit func(BackupPart) error) error {
	return stream2(e, r, emit)
}

func (e *echo) StoreUsage(_ context.Context, r Empty) (StoreUsage, error) {
	return answer[Empty, StoreUsage](e, r)
}

func (e *echo) CheckStore(_ context.Context, r Empty) (StoreCheck, error) {
	return answer[Empty, StoreCheck](e, r)
}

func (e *echo) CompactStore(_ context.Context, r Empty) (Compacted, error) {
	return answer[Empty, Compacted](e, r)
}

func (e *echo) Relock(_ context.Context, r RelockRequest) (Empty, error) {
	return answer[RelockRequest, Empty](e, r)
}

// filled gives a value of a type with something in every field.
func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)))
	case t == reflect.TypeFor[[]Span](): // which have spans in them
		v.Set(reflect.ValueOf([]Span{{Kind: SpanStrong, Spans: []Span{{Kind: SpanText, Text: "a/b? ü&%2F"}}}, {
			Kind: SpanLink, Text: "t", URL: "u", User: "v", Name: "w", Level: 1, Ordered: true, Start: 2, Checked: true, Header: true, Language: "x",
		}}))
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(filled(t.Field(i).Type))
		}
	case t.Kind() == reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem()), filled(t.Elem())))
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem()))
	case t.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key()), filled(t.Elem()))
	case t.Kind() == reflect.String:
		v.SetString("a/b? ü&%2F")
	case t.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(77)
	case v.CanUint():
		v.SetUint(200)
	case v.CanFloat():
		v.SetFloat(2.5)
	default:
		panic(fmt.Sprint("a field of type ", t))
	}
	return v
}

// serve gives a client of an API that is served on a unix socket.
func serve(t *testing.T, a API) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Handler(a))
	go func() { _ = s.Serve(l) }()
	c := NewClient(l.Addr().String())
	t.Cleanup(func() { c.Close(); _ = s.Close() })
	return c
}

// Every method of API carries every field of its request there and every field of
// its answer back.
func TestEveryRouteCarriesEverything(t *testing.T) {
	e := &echo{}
	c := serve(t, e)
	methods := reflect.TypeFor[API]()
	if n := methods.NumMethod(); n != len(Routes()) || n < 31 {
		t.Fatalf("API has %d methods, the table %d routes", n, len(Routes()))
	}
	for i := range methods.NumMethod() {
		m := methods.Method(i)
		t.Run(m.Name, func(t *testing.T) {
			req := filled(m.Type.In(1))
			args := []reflect.Value{reflect.ValueOf(t.Context()), req}
			var items []any
			if m.Type.NumIn() == 3 {
				args = append(args, reflect.MakeFunc(m.Type.In(2), func(in []reflect.Value) []reflect.Value {
					items = append(items, in[0].Interface())
					return []reflect.Value{reflect.Zero(reflect.TypeFor[error]())}
				}))
			}
			out := reflect.ValueOf(c).MethodByName(m.Name).Call(args)
			if err, _ := out[len(out)-1].Interface().(error); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(e.got, req.Interface()) {
				t.Errorf("the server got %+v, want %+v", e.got, req.Interface())
			}
			want := []any{out[0].Interface()}
			if m.Type.NumIn() == 3 {
				item := filled(m.Type.In(2).In(0)).Interface()
				want = []any{item, item}
			} else {
				items = []any{filled(m.Type.Out(0)).Interface()}
			}
			if !reflect.DeepEqual(items, want) {
				t.Errorf("the client got %+v, want %+v", items, want)
			}
		})
	}
}

func TestRoutesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Routes() {
		key := r.Method + " " + r.Path
		if seen[key] {
			t.Errorf("%s twice", key)
		}
		seen[key] = true
		if !strings.HasPrefix(r.Path, "/v1/") {
			t.Errorf("%s is not below /v1", key)
		}
		for i := range r.Request.NumField() {
			if p, ok := r.Request.Field(i).Tag.Lookup("path"); ok && !strings.Contains(r.Path, "{"+p+"}") {
				t.Errorf("%s has no {%s}", key, p)
			}
		}
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	want := map[Code]int{
		CodeInternal: 1, CodeInvalid: 2, CodeAmbiguous: 2, CodeUnavailable: 3, CodeNotFound: 4, CodeNotPermitted: 5, CodeLocked: 6,
		CodeTimeout: 7, CodeNoPeers: 8, CodeConflict: 9, CodeVerification: 10, CodeCorrupt: 11, CodeNewer: 11, CodeLimited: 12, CodeInterrupted: 130,
	}
	if len(want) != len(codes) {
		t.Fatalf("%d codes, the test knows %d", len(codes), len(want))
	}
	e := &echo{}
	c := serve(t, e)
	for code, exit := range want {
		sent := Errorf(code, "it went wrong: %s", code).WithHint("try %d", 1)
		sent.Candidates = []Candidate{{ID: "id", Name: "name"}}
		e.err = fmt.Errorf("wrapped: %w", sent)
		_, err := c.Group(t.Context(), GroupRequest{"x"})
		if got := AsError(err); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *sent) {
			t.Errorf("call: got %+v, want %+v", got, sent)
		}
		err = c.Events(t.Context(), EventsRequest{}, func(Event) error { return nil })
		if got := AsError(err); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *sent) {
			t.Errorf("stream: got %+v, want %+v", got, sent)
		}
		if got := ExitCode(fmt.Errorf("wrapped: %w", err)); got != exit {
			t.Errorf("%s: exit code %d, want %d", code, got, exit)
		}
	}
	for err, exit := range map[error]int{nil: 0, io.EOF: 1, context.DeadlineExceeded: 7, &Error{Code: "from the future"}: 1} {
		if got := ExitCode(err); got != exit {
			t.Errorf("%v: exit code %d, want %d", err, got, exit)
		}
	}
}

func TestStreamErrorBeforeFirstItem(t *testing.T) {
	h := Handler(failing{&echo{}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/find?name=x", nil))
	if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s %s", w.Code, w.Header(), w.Body)
	}
}

type failing struct{ API }

func (failing) Find(context.Context, FindRequest, func(Found) error) error {
	return Errorf(CodeNotFound, "nothing")
}

func TestBadRequestsAreRefused(t *testing.T) {
	h := Handler(&echo{})
	long := strings.Repeat("x", maxRequest)
	for _, c := range []struct {
		method, url, body string
		status            int
	}{
		{"GET", "/v1/status?wait=ready&timeout=3s", "", 200},
		{"GET", "/v1/status?wiat=ready", "", 400},
		{"GET", "/v1/status?timeout=-3s", "", 400},
		{"GET", "/v1/status?timeout=soon", "", 400},
		{"GET", "/v1/groups/g/messages?since=-1", "", 400},
		{"GET", "/v1/groups/g/messages?since=99999999999999999999", "", 400},
		{"GET", "/v1/groups/g/messages?limit=-1", "", 400},
		{"GET", "/v1/groups/g/messages?a=%zz", "", 400},
		{"POST", "/v1/groups", `{"name":"n","policy":"open"}`, 200},
		{"POST", "/v1/groups", `{"name":"n","polity":"open"}`, 400},
		{"POST", "/v1/groups", `{"name":"n"} {}`, 400},
		{"POST", "/v1/groups", `{"name":7}`, 400},
		{"POST", "/v1/groups", `{"name":`, 400},
		{"POST", "/v1/groups", ``, 400},
		{"POST", "/v1/groups", `{"name":"` + long + `"}`, 400},
		{"POST", "/v1/groups", "{\"name\":\"caf\xe9\"}", 400},
		{"GET", "/v1/groups/%FF", "", 400},
		{"PUT", "/v1/groups", ``, 404},
		{"GET", "/v2/status", ``, 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.url, strings.NewReader(c.body)))
		if w.Code != c.status {
			t.Errorf("%s %s %.40s: got %d %s, want %d", c.method, c.url, c.body, w.Code, w.Body, c.status)
		}
		var e errorBody
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != 200 && (err != nil || e.Error.Code == "") {
			t.Errorf("%s %s: no error in %s", c.method, c.url, w.Body)
		}
	}
}

func TestClientRefusesWhatHasNoPath(t *testing.T) {
	c := serve(t, &echo{})
	if _, err := c.Group(t.Context(), GroupRequest{""}); CodeOf(err) != CodeInvalid {
		t.Errorf("no group: %v", err)
	}
	big := EnvelopeRequest{Group: "g", Envelope: make([]byte, maxRequest)}
	if _, err := c.Envelope(t.Context(), big); CodeOf(err) != CodeInvalid {
		t.Errorf("oversized: %v", err)
	}
	big.Envelope = big.Envelope[:512<<10]
	if _, err := c.Envelope(t.Context(), big); err != nil {
		t.Errorf("the largest envelope: %v", err)
	}
}

func TestNoNode(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClient(filepath.Join(dir, "none")).ID(t.Context(), Empty{}); CodeOf(err) != CodeUnavailable {
		t.Errorf("no socket: %v", err)
	}
	c := serve(t, hanging{&echo{}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Events(ctx, EventsRequest{}, func(Event) error { return nil }); CodeOf(err) != CodeTimeout {
		t.Errorf("the caller's time was up: %v", err)
	}
}

type hanging struct{ API }

func (hanging) Events(ctx context.Context, _ EventsRequest, emit func(Event) error) error {
	if err := emit(Event{}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A stream that was cut is an error, whatever came before.
func TestCutStreamIsNoEnd(t *testing.T) {
	whole := "data: {}\n\nid: 7\ndata: {\"cursor\":7}\n\nevent: end\ndata: {}\n\n"
	for n := range len(whole) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, whole[:n]) }))
		c := &Client{"test", &http.Client{Transport: to(srv.Listener.Addr().String())}}
		err := c.Events(t.Context(), EventsRequest{}, func(Event) error { return nil })
		srv.Close()
		c.Close()
		if CodeOf(err) != CodeUnavailable {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func to(addr string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}}
}

func TestSSERoundTrip(t *testing.T) {
	events := []sseEvent{{"", "", []byte("{}")}, {"", "7", []byte(`{"a":"b: c"}`)}, {"end", "", []byte("{}")}}
	w := httptest.NewRecorder()
	for _, e := range events {
		if err := writeSSE(w, e); err != nil {
			t.Fatal(err)
		}
	}
	w.Body.WriteString(": comment\n\nretry: 5\n\n")
	r := newSSEReader(w.Body)
	for _, want := range events {
		got, err := r.next()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if _, err := r.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := newSSEReader(bytes.NewReader(make([]byte, 2*maxEvent))).next(); err == nil {
		t.Error("a line without end was accepted")
	}
	if _, err := newSSEReader(strings.NewReader("data: 1\ndata: 2\n\n")).next(); err == nil {
		t.Error("two lines of data were accepted")
	}
}

func TestListen(t *testing.T) {
	if _, err := Listen(""); CodeOf(err) != CodeInvalid {
		t.Errorf("no path: %v", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := Listen(path); CodeOf(err) != CodeConflict {
		t.Errorf("a second node: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	_ = l.Close()
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("after a dead node: %v", err)
	}
	_ = l.Close()
}

func TestResolve(t *testing.T) {
	const one, two, zzz, yyy = "abcdefghijklmnopab", "abcdefghijklmnopxx", "zzzzzzzzzzzzzzzzzz", "yyyyyyyyyyyyyyyyyy"
	all := []Candidate{{ID: one, Name: "one"}, {ID: two, Name: "two"}, {ID: zzz, Name: "two"}, {ID: yyy, Name: zzz[:16]}, {ID: "xxxxxxxxxxxxxxxxxx", Name: yyy}}
	for _, c := range []struct {
		query, id string
		code      Code
		fits      int
	}{
		{one, one, "", 0},
		{one[:17], one, "", 0},
		{strings.ToUpper(one[:17]), one, "", 0},
		{one[:16], "", CodeAmbiguous, 2},
		{one[:15], "", CodeInvalid, 0}, // too short
		{"one", one, "", 0},
		{"two", "", CodeAmbiguous, 2},
		{zzz[:16], "", CodeAmbiguous, 2}, // a name, and the prefix of another's ID
		{yyy, yyy, "", 0},                // a full ID goes before a name
		{"three", "", CodeNotFound, 0},
		{"", "", CodeNotFound, 0},
	} {
		id, err := Resolve("group", c.query, all)
		if id != c.id || CodeOf(err) != c.code {
			t.Errorf("%q: got %q, %v", c.query, id, err)
		}
		if err != nil && len(AsError(err).Candidates) != c.fits {
			t.Errorf("%q: candidates %v", c.query, AsError(err).Candidates)
		}
	}
}

// TestHalfACharacter: a string with half of a surrogate pair is refused, since another one would
// be kept in its place.
func TestHalfACharacter(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":"\ud800"}`: true, `{"a":"\udc00x"}`: true, `{"a":"\uD83D\ud83d\ude00"}`: true, `{"a":"\ud83d \ude00"}`: true, `{"\ud800":1}`: true,
		`{"a":"\ud83d\ude00"}`: false, `{"a":"\\ud800"}`: false, `{"a":"\\\ud800"}`: true, `{"a":"\u00e9\n\ufffd"}`: false, `"\`: false, `"\ud`: false,
	} {
		if halved([]byte(text)) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"text":"a\ud800"}`))
	if _, err := readRequest[SendRequest](httptest.NewRecorder(), r); CodeOf(err) != CodeInvalid || !strings.Contains(fmt.Sprint(err), "half") {
		t.Errorf("%v", err)
	}
}
