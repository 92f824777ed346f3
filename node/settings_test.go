package node

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// A group's largest file is refused where it is uploaded, before a byte is read, and where a
// message names it, at every member; a value of another program does not count.
func TestLargestFileOfAGroup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id, other := w.create(a, "tea"), w.create(a, "board")
		w.join(b, id)
		ctx := w.within(10 * time.Minute)
		early := w.upload(b, "early.bin", someBytes(1, 20_000))
		set := func(key, value string) {
			if _, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: key, Value: value}); err != nil {
				t.Fatal(err)
			}
			w.eventually(b, time.Minute, "the setting", func() bool {
				g, err := b.API().Group(ctx, api.GroupRequest{Group: id.String()})
				return err == nil && g.Settings[key] == value
			})
		}
		set("files.max", "10KiB")
		over := func(what string, err error) {
			t.Helper()
			if api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), "the group takes files of at most 10 KiB") {
				t.Errorf("%s: %v", what, err)
			}
		}
		body := bytes.NewReader(someBytes(2, 10<<10+1))
		_, err := fileRoutes{routes{b}}.Upload(ctx, api.UploadRequest{Name: "late.bin", Group: "tea"}, body.Size(), body)
		if over("uploaded", err); body.Len() != int(body.Size()) {
			t.Errorf("%d of %d bytes were read", body.Size()-int64(body.Len()), body.Size())
		}
		_, err = b.API().Send(ctx, api.SendRequest{Group: id.String(), Files: []string{early.ID}})
		over("sent", err)
		if files, err := b.API().Files(ctx, api.FilesRequest{Group: "tea"}); err != nil || files.GroupMax != 10<<10 || files.Max <= files.GroupMax {
			t.Errorf("the limits: %+v, %v", files, err)
		}
		w.sendFile(b, id, "", w.upload(b, "fits.bin", someBytes(3, 10<<10)))
		w.sendFile(a, other, "", w.upload(a, "elsewhere.bin", someBytes(4, 20_000)))
		if files, err := a.API().Files(ctx, api.FilesRequest{Group: "board"}); err != nil || files.GroupMax != 0 {
			t.Errorf("the limits of another group: %+v, %v", files, err)
		}
		set("files.max", "")
		w.sendFile(b, id, "", early)
	})
}

// A sender may have a message go sooner than the group's setting says, not later; another
// time is another request.
func TestExpiryOfOneMessage(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		ctx := w.within(time.Hour)
		send := func(r api.SendRequest) (api.Message, error) {
			r.Group, r.Text = id.String(), "a zebra"
			sent, err := a.API().Send(ctx, r)
			if err != nil {
				return api.Message{}, err
			}
			return a.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
		}
		short, err := send(api.SendRequest{Expire: "10m"})
		if got := short.Expires.Sub(short.Sent); err != nil || got < 9*time.Minute || got > 10*time.Minute {
			t.Errorf("it stays for %v, %v", got, err)
		}
		if _, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: "expiry", Value: "12h"}); err != nil {
			t.Fatal(err)
		}
		if m, err := send(api.SendRequest{Expire: "1h", Key: "one"}); err != nil || m.Expires.Sub(m.Sent) > time.Hour {
			t.Errorf("sooner than the group says: %+v, %v", m, err)
		}
		if m, err := send(api.SendRequest{}); err != nil || m.Expires.Sub(m.Sent) < 11*time.Hour {
			t.Errorf("as the group says: %+v, %v", m, err)
		}
		for expire, words := range map[string]string{"1d": "the messages of the group stay for 12h", "soon": "give a number of days", "read 1h": "counts from when a message is sent"} {
			if _, err := send(api.SendRequest{Expire: expire}); api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v", expire, err)
			}
		}
		found := func() (ids []string) {
			if err := a.API().Search(ctx, api.SearchRequest{Group: id.String(), Words: "zebra"}, func(m api.Message) error {
				ids = append(ids, m.ID)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return ids
		}
		if ids := found(); len(ids) != 3 || !slices.Contains(ids, short.ID) {
			t.Errorf("before its time a search finds %q, and it is %s", ids, short.ID)
		}
		if _, err := send(api.SendRequest{Expire: "2h", Key: "one"}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("the same key with another time: %v", err)
		}
		w.eventually(a, 15*time.Minute, "it expired", func() bool {
			m, err := a.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: short.ID})
			return err == nil && m.Expired && m.Text == ""
		})
		if ids := found(); len(ids) != 2 || slices.Contains(ids, short.ID) {
			t.Errorf("after its time a search finds %q, and it was %s", ids, short.ID)
		}
	})
}

// TestSettingsThatAreFollowed: the list of the API has those that a wrong value is refused of.
func TestSettingsThatAreFollowed(t *testing.T) {
	for _, key := range append([]string{"of.another.program"}, api.Settings...) {
		if err := checkSetting(key, "no value of it"); (err != nil) != slices.Contains(api.Settings, key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
