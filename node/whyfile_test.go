package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/wire"
)

// For a file "why" says who has it, what is missing, and what is done about that, be it
// away, on its way, stuck or here. A text that names both a message and a file means the message.
func TestWhyFile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id, other := w.create(a, "tea"), w.create(a, "choir")
		w.join(b, id)
		w.join(c, id)
		f := w.upload(a, "large.bin", someBytes(30, 4<<20))
		message := w.sendFile(a, id, "", f)
		w.state(b, f.ID, "known", func(api.File) bool { return true })
		ask := func(n *Node, subject string) (e api.Explanation, text string) {
			t.Helper()
			e, err := n.API().Why(w.within(time.Minute), api.WhyRequest{Group: id.String(), Subject: subject})
			if err != nil {
				t.Fatal(err)
			}
			return e, strings.Join(e.Facts, "\n") + "\nnext: " + strings.Join(e.Next, "\nnext: ")
		}
		says := func(n *Node, state api.FileState, all ...string) {
			t.Helper()
			e, text := ask(n, f.ID)
			if e.Subject != f.ID || e.Kind != api.WhyFile || e.State != string(state) {
				t.Errorf("of %+v", e)
			}
			for _, want := range all {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
		}
		ofA := "/" + api.Short(a.me.device.User.String()) + " (peer " + a.host.ID().String() + ") has "
		says(b, api.FileAway, "large.bin, application/octet-stream, 4.0 MiB", "named by message "+api.Short(message.String()),
			"nothing of it is on this device", ofA+"all of it", "at most 1.0 MiB are (files.auto)", "next: pandanode file get "+api.Short(f.ID))
		says(a, api.FileHere, "all of it is on this device", "sent from here", "2 members of its groups are connected, and none has anything of it")
		for _, how := range []string{"large.bin", f.ID, f.ID[:20]} {
			if e, _ := ask(b, how); e.Kind != api.WhyFile || e.Subject != f.ID {
				t.Errorf("by %q: %+v", how, e)
			}
		}
		named := w.upload(a, api.Short(message.String()), someBytes(31, 10))
		w.sendFile(a, id, "", named)
		w.state(b, named.ID, "here", here)
		if e, _ := ask(b, api.Short(message.String())); e.Kind != api.WhyMessage || e.Subject != message.String() {
			t.Errorf("a file is named as a message is: %+v", e)
		}
		if e, _ := ask(b, named.ID); e.Kind != api.WhyFile {
			t.Errorf("that file: %+v", e)
		}
		for group, subject := range map[string]string{id.String(): "none.bin", other.String(): f.ID[:20]} {
			if _, err := a.API().Why(w.within(time.Minute), api.WhyRequest{Group: group, Subject: subject}); api.CodeOf(err) != api.CodeNotFound {
				t.Errorf("%s in %s: %v", subject, group, err)
			}
		}

		// Half of it is all that anybody has.
		groups := blob.Groups(f.Sealed)
		w.spoil(0, a, f.ID, func(i int) (flip, lose bool) { return false, i >= groups/2 })
		if err := b.files.want(wire.Hash(parseFile(t, f.ID))); err != nil {
			t.Fatal(err)
		}
		w.state(b, f.ID, "stuck", func(now api.File) bool { return now.State == api.FilePartly && now.Why != "" })
		says(b, api.FilePartly, "33 of its 65 parts of 64 KiB are missing", ofA+"49 % of it", "33 parts nobody has who is connected",
			"it did not come: nobody who is connected has what is missing of it", "next: members are asked for it again in ")
		w.close(0)
		w.close(2)
		w.eventually(b, 10*time.Minute, "nobody is connected", func() bool {
			_, text := ask(b, f.ID)
			return strings.Contains(text, "no member of its groups is connected")
		})
	})
}
