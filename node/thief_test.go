package node

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// thief has the homes of members and of their mailbox, with all keys that are left in them,
// and looks for what was deleted.
type thief struct {
	t       *testing.T
	secrets map[string][]byte
	found   map[string][]string // secret → where
	id      wire.GroupID
	rows    map[string]map[string][][]byte // whose → key of a row of the group → versions, the newest first
	opened  int                            // sealed values
	bundles int
	seals   map[wire.MessageID]int
	epochs  int
	thin    int // what is left of epochs before
	derived int // epochs that follow from those by commits
	derives map[engine.Epoch]bool
}

func newThief(t *testing.T, id wire.GroupID, secrets map[string][]byte) *thief {
	return &thief{
		t: t, id: id, secrets: secrets, found: map[string][]string{}, rows: map[string]map[string][][]byte{}, seals: map[wire.MessageID]int{}, derives: map[engine.Epoch]bool{},
	}
}

func (x *thief) look(where string, b []byte) (has bool) {
	for name, secret := range x.secrets {
		if bytes.Contains(b, secret) || bytes.Contains(b, []byte(hex.EncodeToString(secret))) { // keys of rows are in hex
			has = true
			x.found[name] = append(x.found[name], where)
		}
	}
	return has
}

// versions opens every version of every record of a store, and gives the sealed bytes of
// those that hold a secret.
func (x *thief) versions(whose string, s *storage.Store) (sealed [][]byte) {
	x.t.Helper()
	rows := map[string][][]byte{}
	if err := s.Versions(func(key, stored, value []byte) error {
		if value == nil {
			return nil
		}
		x.opened++
		kept := slices.Clone(value)
		if x.look(whose+": "+rowKind(key), append(slices.Clone(key), value...)) {
			sealed = append(sealed, slices.Clone(stored[len(stored)-32:])) // with the tag
		}
		if id, rest, ok := splitKey(key); ok && id == x.id {
			rows[rest] = append(rows[rest], kept)
		} else {
			rows[string(key)] = append(rows[string(key)], kept)
		}
		return nil
	}); err != nil {
		x.t.Fatal(err)
	}
	x.rows[whose] = rows
	return sealed
}

// rowKind is the kind of a row.
func rowKind(key []byte) string {
	if _, rest, ok := splitKey(key); ok {
		kind, _, _ := strings.Cut(rest, "/")
		return kind
	}
	return strings.Join(strings.SplitN(string(key), "/", 3)[:2], "/")
}

// files looks into all files of a home for secrets in the clear, and for sealed bytes.
func (x *thief) files(whose, home string, sealed [][]byte) {
	x.t.Helper()
	n := 0
	if err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		x.look(whose+": the file "+d.Name(), b)
		for _, s := range sealed {
			if bytes.Contains(b, s) {
				x.found["a sealed row"] = append(x.found["a sealed row"], whose+": the file "+d.Name())
			}
		}
		n++
		return err
	}); err != nil || n < 5 {
		x.t.Fatalf("%d files in %s, %v", n, home, err)
	}
}

// backup looks into a backup that it can decrypt.
func (x *thief) backup(whose string, b []byte, with age.Identity) {
	x.t.Helper()
	n := 0
	if _, err := readBackup(x.t.Context(), bytes.NewReader(b), []age.Identity{with}, func(rows []backupRow) error {
		for _, r := range rows {
			n++
			x.look(whose+"'s backup: "+rowKind(r.Key), append(slices.Clone(r.Key), r.Value...))
		}
		return nil
	}); err != nil || n < 10 {
		x.t.Fatalf("%d rows in a backup, %v", n, err)
	}
}

// epochKeys loads the epochs of a member with the message keys that are left: of each row the
// newest version, and the oldest one.
func (x *thief) epochKeys(whose string) map[wire.EpochID][]engine.Epoch {
	out := map[wire.EpochID][]engine.Epoch{}
	rows := x.rows[whose]
	page := func(key []byte) ([]byte, error) {
		if all := rows["page/"+hex.EncodeToString(key)]; len(all) > 0 {
			return all[0], nil
		}
		return nil, storage.ErrNotFound
	}
	parents := map[wire.EpochID][]engine.Parent{}
	for key, heads := range rows {
		if text, is := strings.CutPrefix(key, "thin/"); is {
			for _, head := range heads {
				if e, err := engine.MLS(suite).LoadThin(slices.Clone(head), page); err == nil {
					id, _ := hex.DecodeString(text)
					parents[wire.EpochID(id)] = append(parents[wire.EpochID(id)], e)
					x.thin++
				}
			}
		}
		text, is := strings.CutPrefix(key, "epoch/")
		id, err := hex.DecodeString(text)
		if !is || err != nil || len(id) != len(wire.EpochID{}) {
			continue
		}
		for _, head := range heads {
			for _, oldest := range []bool{false, true} {
				var keys []engine.KeyRow
				for k, all := range rows {
					if name, is := strings.CutPrefix(k, "keys/"+text+"/"); is {
						raw, _ := hex.DecodeString(name)
						v := all[0]
						if oldest {
							v = all[len(all)-1]
						}
						keys = append(keys, engine.KeyRow{Key: raw, Value: slices.Clone(v)})
					}
				}
				if e, err := engine.MLS(suite).Load(slices.Clone(head), page, keys); err == nil {
					x.epochs++
					out[wire.EpochID(id)] = append(out[wire.EpochID(id)], e)
					parents[wire.EpochID(id)] = append(parents[wire.EpochID(id)], e)
				}
			}
		}
	}
	for range 4 { // what the logged commits derive from those
		next := map[wire.EpochID][]engine.Parent{}
		for _, c := range x.commits(whose) {
			for _, p := range parents[c.Parent] {
				if e, err := p.Process(c.Commit, anyCredential); err == nil {
					x.derived++
					x.derives[e] = true
					out[c.Child] = append(out[c.Child], e)
					next[c.Child] = append(next[c.Child], e)
				}
			}
		}
		parents = next
	}
	return out
}

// commits lists the commits in the logs that a member has.
func (x *thief) commits(whose string) (out []*wire.Commit) {
	for key, all := range x.rows[whose] {
		if !strings.HasPrefix(key, "entry/") {
			continue
		}
		s, err := wire.DecodeSigned(all[0], wire.MaxEntry*2)
		if err != nil {
			x.t.Fatal(err)
		}
		if e, err := wire.DecodeEntry(s.Payload); err == nil {
			if c, err := wire.DecodeCommit(e.Body); err == nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// envelopes opens what a mailbox keeps with the transport keys of members, and tries the
// message keys that they have left on the seals in it, and on those that they keep themselves.
func (x *thief) envelopes(office string, members ...string) {
	transport := map[wire.KeyID][]byte{}
	epochs := map[string]map[wire.EpochID][]engine.Epoch{}
	for _, whose := range members {
		epochs[whose] = x.epochKeys(whose)
		for key, all := range x.rows[whose] {
			if text, is := strings.CutPrefix(key, "tkey/"); is {
				id, err := hex.DecodeString(text)
				if err != nil || len(id) != len(wire.KeyID{}) {
					x.t.Fatalf("%q", key)
				}
				transport[wire.KeyID(id)] = all[0]
			}
		}
	}
	try := func(where string, raw []byte) {
		s, err := wire.DecodeSeal(raw)
		if err != nil {
			x.t.Fatal(err)
		}
		x.seals[s.Message]++
		for _, whose := range members {
			for _, e := range epochs[whose][s.Epoch] {
				if o, _, err := e.Open(s.PrivateMessage); err == nil {
					by := where + ", opened by what " + whose + " has left"
					if x.derives[e] {
						by += ", derived"
					}
					x.look(by, o.Plaintext)
				}
			}
		}
	}
	for key, all := range x.rows[office] {
		if !strings.HasPrefix(key, keyBoxMail) {
			continue
		}
		for id, secret := range transport {
			b, err := wire.OpenEnvelope(x.id, func(wire.KeyID) []byte { return secret }, wire.Unboxed(x.id.TopicTag(), id, all[0]))
			if err != nil {
				continue
			}
			x.bundles++
			x.look("an envelope of the mailbox", wire.Marshal(b))
			for _, s := range b.Seals {
				try("a seal in the mailbox", s)
			}
		}
	}
	for _, whose := range members {
		for key, all := range x.rows[whose] {
			if strings.HasPrefix(key, "seal/") {
				for _, v := range all {
					try("a seal that "+whose+" keeps", v)
				}
			}
		}
	}
}

// forgets waits until a node holds the present epoch alone.
func (w *world) forgets(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, 2*time.Hour, "the epochs of before are destroyed", func() bool {
		held := 0
		for _, kind := range []string{"epoch/", "thin/"} {
			if err := n.store.ScanKeys([]byte(groupPrefix(id)+kind), func([]byte) error { held++; return nil }); err != nil {
				w.Fatal(err)
			}
		}
		time.AfterFunc(time.Minute, n.changed.wake)
		return held == 1
	})
}

// After a deletion a thief who has the homes of two members and of their mailbox, the keys in
// them and backups made since finds nothing of it in any version of any row, in any file or
// backup, and once epochs of before are not retained any more, in no envelope of the mailbox.
// Before, it finds all of it; and what is sealed and not read yet it can read.
func TestThiefFindsNothingDeleted(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.postOffice(0, MailboxConfig{})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.close(2) // so that a commit is a's, which b follows
		c := w.open(3, 1, 0)
		w.join(c, id)
		w.close(3)
		b = w.open(2, 0, 1)
		w.eventually(b, 10*time.Minute, "three members", func() bool {
			g, err := b.API().Group(w.Context(), api.GroupRequest{Group: id.String()})
			return err == nil && g.Members == 3
		})
		ctx := w.within(4 * time.Hour)
		const text, edited, title, key = "the zebra crosses at dawn", "the okapi crosses at noon", "zebra-plan.bin", "key of the zebra"
		plan := someBytes(50, 3000)
		file := w.upload(a, title, plan)
		// A draft, which is sent; a request with a key; files; an edit.
		if _, err := a.API().SetLocal(ctx, api.LocalRequest{Group: id.String(), Draft: &api.Draft{Text: text}}); err != nil {
			t.Fatal(err)
		}
		sent, err := a.API().Send(ctx, api.SendRequest{Group: id.String(), Text: text, Files: []string{file.ID}, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		change, err := a.API().Edit(ctx, api.EditRequest{Group: id.String(), Message: sent.ID, Text: edited})
		if err != nil {
			t.Fatal(err)
		}
		w.send(a, id, "stays")
		w.eventually(b, 10*time.Minute, "all of it", func() bool {
			m, err := b.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
			return err == nil && m.Edited && strings.Contains(strings.Join(w.texts(b, id), "\n"), "stays")
		})
		w.state(b, file.ID, "here", here)
		for _, n := range []*Node{a, b} {
			w.delivered(n, id)
		}

		secrets := map[string][]byte{"the text": []byte(text), "the edit": []byte(edited), "the file's name": []byte(title), "the request's key": []byte(key), "the file": plan[1000:1064]}
		for what, text := range map[string]string{"message": sent.ID, "edit": change.ID} {
			for name, secret := range w.secretsOf(a, id, text) {
				secrets["the "+name+" of the "+what] = secret
			}
		}

		before := newThief(t, id, secrets)
		sealed := map[string][][]byte{"a": before.versions("a", a.store), "b": before.versions("b", b.store)}
		for name := range secrets {
			where := strings.Join(before.found[name], "\n")
			if name != "the file" && name != "the request's key" && (!strings.Contains(where, "a: ") || !strings.Contains(where, "b: ")) {
				t.Errorf("%s is not there to be erased: %q", name, where)
			}
		}

		message, err := wire.ParseEntryHash(sent.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, 10*time.Minute, "it is deleted", func() bool {
				m, err := n.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: sent.ID})
				return err == nil && m.Deleted != nil
			})
		}
		for _, n := range []*Node{a, b} {
			w.eventually(n, 3*purgeAfter, "the store gave it up", func() bool {
				return !unpurged(n.store)
			})
			w.delivered(n, id)
		}
		steal := func(what string) *thief {
			x := newThief(t, id, secrets)
			for whose, n := range map[string]*Node{"a": a, "b": b} {
				copied, with := w.backup(atRest(n))
				x.backup(whose, copied, with)
			}
			w.close(2)
			x.secrets["what is not read"] = []byte(what)
			w.send(a, id, what)
			w.delivered(a, id)
			w.close(1)
			w.close(0)
			for i, whose := range []string{"office", "a", "b"} {
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
			x.envelopes("office", "a", "b")
			const boxed = "a seal in the mailbox, opened by what b has left"
			if box := x.found["what is not read"]; !slices.Contains(box, boxed) {
				t.Errorf("the thief cannot read what b could: %q", box)
			}
			delete(x.found, "what is not read")
			t.Logf("%d versions of rows opened, %d envelopes, %d epochs, %d derived, %d seals of the message that was deleted", x.opened, x.bundles, x.epochs, x.derived, x.seals[message])
			if x.opened < 100 || x.bundles < 3 || x.epochs < 2 || x.seals[message] == 0 {
				t.Error("that is too little to say anything")
			}
			for i := 1; i <= 2; i++ {
				if blobs := w.blobs(i); len(blobs) > 0 {
					t.Errorf("node %d has %q", i, blobs)
				}
			}
			return x
		}
		nothing := func(x *thief, but string) {
			t.Helper()
			for name, where := range x.found {
				if where = slices.DeleteFunc(where, func(at string) bool { return at == but }); len(where) > 0 {
					slices.Sort(where)
					t.Errorf("%s is left in\n%s", name, strings.Join(slices.Compact(where), "\n"))
				}
			}
		}
		// An epoch that can still be followed, with the commit in the log, gives the keys of the
		// next one anew, and those open what the mailbox has: as long as epochs are retained.
		const retained = "a seal in the mailbox, opened by what b has left, derived"
		soon := steal("a gnu in the box")
		if !slices.Contains(soon.found["the text"], retained) {
			t.Error("no retained epoch opens the envelope: docs/SECURITY.md says that one does for 7 days")
		}
		nothing(soon, retained)

		time.Sleep(8 * 24 * time.Hour) // virtual; nobody runs
		ctx = w.within(4 * time.Hour)
		w.postOffice(0, MailboxConfig{})
		a, b = w.open(1, 0), w.open(2, 0, 1)
		w.shows(b, id, time.Hour, "", "stays", "a gnu in the box")
		for _, n := range []*Node{a, b} {
			w.forgets(n, id)
		}
		nothing(steal("an ibex in the box"), "")
	})
}
