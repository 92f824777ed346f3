//go:build unix

package node

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// secretsOf are what a message's texts, salts and files are opened by, as a node has it.
func (w *world) secretsOf(n *Node, id wire.GroupID, text string) map[string][]byte {
	w.Helper()
	message, err := wire.ParseEntryHash(text)
	if err != nil {
		w.Fatal(err)
	}
	raw, err := n.store.Get([]byte(groupPrefix(id) + plainRow + hex.EncodeToString(message[:])))
	if err != nil {
		w.Fatal(err)
	}
	o, err := wire.DecodeOpened(raw)
	if err != nil {
		w.Fatal(err)
	}
	c, err := wire.DecodeContent(o.Body)
	if err != nil {
		w.Fatal(err)
	}
	m, err := content.Decode(c.Data)
	if err != nil {
		w.Fatal(err)
	}
	out := map[string][]byte{"salt": o.Salt[:], "salt within": m.Salt[:]}
	for _, f := range m.Part.Files() {
		out["file key"], out["file hash"] = f.Key[:], f.Hash[:]
	}
	return out
}

// A hook that is parked at a message said what that says; a message expires; and a member is away
// while one is deleted and another expires. Once all have had their time, a thief of all homes
// finds nothing of either, whether the member comes back to the others or to the mailbox alone.
func TestThiefFindsNothingLater(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		t.Run(map[bool]string{false: "among members", true: "by the mailbox alone"}[alone], func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) { testThiefLater(t, w, alone) })
		})
	}
}

func testThiefLater(t *testing.T, w *world, alone bool) {
	w.postOffice(0, MailboxConfig{})
	const deletes, expires = "the zebra crosses at dawn", "the okapi crosses at noon"
	hooks := []config.Hook{{Name: "h", Exec: []string{"/bin/sh", "-c", `grep -o "` + deletes + `" >&2; exit 1`}}}
	for i := 2; i <= 3; i++ {
		w.set[i] = func(c *Config) { c.Hooks = hooks }
	}
	a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
	id := w.create(a, "tea")
	w.join(b, id)
	w.join(c, id)
	w.assign(a, id, 0)
	for _, n := range []*Node{b, c} {
		w.uses(n, id)
		w.delivered(n, id)
	}
	ctx := w.within(12 * time.Hour)
	file := w.upload(a, "zebra-plan.bin", someBytes(60, 3000))
	sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: deletes, Files: []string{file.ID}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{b, c} {
		w.state(n, file.ID, "here", here)
		w.eventually(n, 3*time.Hour, "the hook is parked", func() bool {
			time.AfterFunc(time.Minute, n.changed.wake)
			all, err := n.API().Hooks(ctx, api.Empty{})
			return err == nil && len(all.Hooks) == 1 && all.Hooks[0].State == api.HookParked && strings.Contains(all.Hooks[0].Why, deletes)
		})
	}
	if _, err := a.API().Set(ctx, api.SettingRequest{Group: id.String(), Key: "expiry", Value: "20m"}); err != nil {
		t.Fatal(err)
	}
	short, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: expires})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{b, c} {
		w.shows(n, id, 10*time.Minute, deletes+"\n(zebra-plan.bin, 3000 bytes)", expires)
	}
	secrets := map[string][]byte{"the text": []byte(deletes), "what expires": []byte(expires), "the file's name": []byte("zebra-plan.bin")}
	for what, message := range map[string]string{"the deleted one": sent.ID, "the expired one": short.ID} {
		for name, secret := range w.secretsOf(a, id, message) {
			secrets[name+" of "+what] = secret
		}
	}
	before := newThief(t, id, secrets)
	sealed := map[string][][]byte{"a": before.versions("a", a.store), "b": before.versions("b", b.store), "c": before.versions("c", c.store)}
	for name := range secrets {
		for _, whose := range []string{"a: ", "b: ", "c: "} {
			if !strings.Contains(strings.Join(before.found[name], "\n"), whose) {
				t.Errorf("%s is not at %sto be erased: %q", name, whose, before.found[name])
			}
		}
	}
	for _, whose := range []string{"b: n/hook", "c: n/hook"} {
		if !slices.Contains(before.found["the text"], whose) {
			t.Errorf("a hook that fails keeps nothing of what it said at %s", whose)
		}
	}
	w.close(3)

	if _, err := a.API().Delete(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID}); err != nil {
		t.Fatal(err)
	}
	gone := func(n *Node) {
		t.Helper()
		w.eventually(n, time.Hour, "one is deleted, and one expired", func() bool {
			time.AfterFunc(time.Minute, n.changed.wake)
			one, err1 := n.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
			other, err2 := n.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: short.ID})
			return err1 == nil && err2 == nil && one.Deleted != nil && other.Expired
		})
		w.eventually(n, 3*purgeAfter, "the store gave it up", func() bool {
			time.AfterFunc(time.Minute, n.changed.wake)
			return !unpurged(n.store)
		})
	}
	for _, n := range []*Node{a, b} {
		gone(n)
		w.delivered(n, id)
	}
	if alone {
		w.close(1)
		w.close(2)
	}
	c = w.open(3, 0)
	gone(c)
	steal := func(but string) {
		t.Helper()
		x := newThief(t, id, secrets)
		for i, whose := range []string{"office", "a", "b", "c"} {
			if n := w.nodes[i]; n != nil && i > 0 {
				copied, with := w.backup(atRest(n))
				x.backup(whose, copied, with)
			}
		}
		for i, whose := range []string{"office", "a", "b", "c"} {
			if w.nodes[i] != nil {
				w.close(i)
			}
			s, err := OpenAtRest(Config{Home: w.home(i), KeyFile: filepath.Join(w.dir, fmt.Sprint(i, ".key")), Small: true})
			if err != nil {
				t.Fatal(err)
			}
			x.versions(whose, s.store)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			x.files(whose, w.home(i), sealed[whose])
		}
		x.envelopes("office", "a", "b", "c")
		t.Logf("%d versions of rows opened, %d envelopes, %d epochs, %d derived", x.opened, x.bundles, x.epochs, x.derived)
		if x.opened < 200 || x.bundles < 3 || x.epochs < 3 {
			t.Error("that is too little to say anything")
		}
		for name, where := range x.found {
			if where = slices.DeleteFunc(where, func(at string) bool { return but != "" && strings.HasSuffix(at, but) }); len(where) > 0 {
				slices.Sort(where)
				t.Errorf("%s is left in\n%s", name, strings.Join(slices.Compact(where), "\n"))
			}
		}
	}
	// See docs/SECURITY.md: an epoch that can still be followed opens what a mailbox has.
	steal(", derived")

	time.Sleep(8 * 24 * time.Hour) // virtual; nobody runs
	w.postOffice(0, MailboxConfig{})
	for _, n := range []*Node{w.open(1, 0), w.open(2, 0, 1), w.open(3, 0, 1)} {
		w.forgets(n, id)
	}
	steal("")
}
