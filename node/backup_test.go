package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// backup gives a backup of a store, sealed to a new identity.
func (w *world) backup(s *AtRest) ([]byte, *age.X25519Identity) {
	w.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		w.Fatal(err)
	}
	var b bytes.Buffer
	var sum *api.Backup
	if err := s.Backup(w.Context(), api.BackupRequest{Recipients: []string{id.Recipient().String()}}, func(p api.BackupPart) error {
		b.Write(p.Data)
		sum = p.Backup
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	if sum == nil || sum.Rows == 0 || sum.Device != s.device.ID.String() {
		w.Fatalf("summary %+v", sum)
	}
	return b.Bytes(), id
}

// restore replaces the home of a node, which is closed, by what a backup holds.
func (w *world) restore(i int, backup []byte, id age.Identity) BackupSummary {
	w.Helper()
	if err := os.RemoveAll(w.home(i)); err != nil {
		w.Fatal(err)
	}
	sum, err := Restore(w.Context(), InitConfig{Home: w.home(i), KeyFile: filepath.Join(w.dir, "other.key")}, bytes.NewReader(backup), id)
	if err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, "other.key"), filepath.Join(w.dir, fmt.Sprint(i, ".key"))); err != nil {
		w.Fatal(err)
	}
	return sum
}

// TestBackupAndRestore backs up a running node, talks on, and restores it elsewhere:
// it ends with all messages once and takes part again. Then the same with a backup of
// a node that does not run, which was away while the group changed.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.join(c, id)
		w.send(a, id, "a 1")
		w.send(b, id, "b 1")
		all := []string{"a 1", "b 1"}
		w.shows(b, id, time.Minute, all...)
		saved, key := w.backup(atRest(b))

		w.send(a, id, "a 2")
		w.send(b, id, "b 2")
		w.shows(c, id, time.Minute, "a 1", "b 1", "a 2", "b 2")
		was := b.me.incarnation
		w.close(1)
		w.send(c, id, "c 1")
		sum := w.restore(1, saved, key)
		if len(sum.Groups) != 1 || sum.Groups[0].ID != id || sum.Groups[0].Messages != 2 || sum.Groups[0].Name != "tea house" {
			t.Errorf("%+v", sum.Groups)
		}
		b = w.open(1, 0)
		if b.me.incarnation == was {
			t.Error("the restored device has its old incarnation")
		}
		if st, err := b.store.Stat(); err != nil || st.Vaults < 3 { // the keys of its leaf, and a transport key
			t.Errorf("what was restored is in %d vaults, %v", st.Vaults, err)
		}
		if got := w.texts(b, id); len(got) < 2 {
			t.Fatalf("at once: %q", got)
		}
		w.send(b, id, "b 3")
		all = append(all, "a 2", "b 2", "c 1", "b 3")
		for _, n := range []*Node{a, b, c} {
			w.shows(n, id, 10*time.Minute, all...)
			if err := n.Wait(w.within(10*time.Minute), api.LevelSynced); err != nil {
				t.Fatal(err)
			}
			w.once(n, id)
		}

		w.close(1)
		s, err := OpenAtRest(Config{Home: w.home(1), KeyFile: filepath.Join(w.dir, "1.key")})
		if err != nil {
			t.Fatal(err)
		}
		saved, key = w.backup(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		w.join(w.open(3, 0), id)
		w.send(a, id, "a 3")
		time.Sleep(time.Hour) // virtual
		w.restore(1, saved, key)
		b = w.open(1, 0)
		w.send(b, id, "b 4")
		for _, n := range []*Node{a, b, c} {
			w.shows(n, id, 10*time.Minute, append(all, "a 3", "b 4")...)
			w.once(n, id)
		}
		if found, err := b.API().CheckStore(w.Context(), api.Empty{}); err != nil || len(found.Problems) != 0 || found.Records == 0 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// TestBackupIsWholeOrNothing cuts, flips and swaps: verify and restore notice, and no
// store is left behind. A home with a store is not touched.
func TestBackupIsWholeOrNothing(t *testing.T) {
	w := &world{T: t, dir: t.TempDir()}
	ctx := t.Context()
	home := filepath.Join(w.dir, "0")
	cfg := Config{Home: home, KeyFile: filepath.Join(w.dir, "key")}
	if err := Init(ctx, InitConfig{Home: home, Name: "anna", KeyFile: cfg.KeyFile}); err != nil {
		t.Fatal(err)
	}
	s, err := OpenAtRest(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // several chunks of age's
		if err := s.store.Apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeers + string(rune('a'+i))), Value: make([]byte, 100<<10)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.store.Apply(storage.Batch{Writes: []storage.Write{{Key: []byte(groupPrefix(wire.GroupID{1}) + "keys/x"), Value: []byte("epoch"), Vault: storage.VaultID{1}}}}); err != nil {
		t.Fatal(err)
	}
	whole, key := w.backup(s)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	sum, err := VerifyBackup(ctx, bytes.NewReader(whole), key)
	if err != nil || sum.Rows != 4 || sum.Device.Cert.Name != "anna" || sum.Bytes < 300<<10 {
		t.Fatalf("%+v, %v", sum, err)
	}
	dir := filepath.Join(w.dir, "1")
	try := func(name string, b []byte, id age.Identity, want error) {
		t.Helper()
		if _, err := VerifyBackup(ctx, bytes.NewReader(b), id); !errors.Is(err, want) {
			t.Errorf("%s: verify: %v", name, err)
		}
		_, err := Restore(ctx, InitConfig{Home: dir, KeyFile: filepath.Join(w.dir, "key1")}, bytes.NewReader(b), id)
		if !errors.Is(err, want) {
			t.Errorf("%s: restore: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	for _, n := range []int{0, 10, len(whole) / 3, len(whole) - 1, len(whole) - 64<<10} {
		try("cut short", whole[:n], key, errBackup)
	}
	for _, at := range []int{len(whole) / 5, len(whole) / 2, len(whole) - 1} {
		b := bytes.Clone(whole)
		b[at] ^= 1
		try("flipped", b, key, errBackup)
	}
	try("followed", append(bytes.Clone(whole), 0), key, errBackup)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	try("another identity", whole, other, errIdentity)

	// Somebody who knows the recipient makes a backup that says it is Anna's.
	forged := func(frames ...backupFrame) []byte {
		var b bytes.Buffer
		enc, err := age.Encrypt(&b, key.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			raw := wire.Marshal(&f)
			_, _ = enc.Write(append([]byte{0, byte(len(raw) >> 16), byte(len(raw) >> 8), byte(len(raw))}, raw...))
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	stranger, err := newIdentity(InitConfig{Name: "anna"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	head := backupFrame{Head: &backupHead{V: 1, Cert: s.device.Raw}}
	rows := backupFrame{Rows: []backupRow{{[]byte(keyIdentity), wire.Marshal(stranger)}}}
	try("other keys", forged(head, rows, backupFrame{End: &backupEnd{Rows: 1}}), key, errBackup)
	try("no identity", forged(head, backupFrame{End: &backupEnd{}}), key, errBackup)
	try("no head", forged(rows), key, errBackup)
	own := backupFrame{Head: &backupHead{V: 1, Cert: stranger.Cert}}
	try("too few rows", forged(own, rows, backupFrame{End: &backupEnd{Rows: 2}}), key, errBackup)
	try("a row too many", forged(own, rows, backupFrame{Rows: []backupRow{{[]byte(groupPrefix(wire.GroupID{1}) + "keys/x"), nil}}}, backupFrame{End: &backupEnd{Rows: 2}}), key, errBackup)
	try("newer", forged(backupFrame{Head: &backupHead{V: 2, Cert: stranger.Cert}}), key, wire.ErrVersion)

	if _, err := Restore(ctx, InitConfig{Home: home, KeyFile: cfg.KeyFile}, bytes.NewReader(whole), key); !errors.Is(err, storage.ErrExists) {
		t.Errorf("over a store: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := VerifyBackup(canceled, bytes.NewReader(whole), key); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
