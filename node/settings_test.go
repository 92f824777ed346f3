package node

import (
	"bytes"
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
