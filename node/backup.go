package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A backup is an age file (age-encryption.org/v1), which is authenticated to its end.
// In it are frames, each a length of four bytes and a backupFrame: first the head,
// then rows, at last the end.

// backupFrame is one of its fields.
type backupFrame struct {
	Head *backupHead `cbor:"1,keyasint,omitempty"`
	Rows []backupRow `cbor:"2,keyasint,omitempty"`
	End  *backupEnd  `cbor:"3,keyasint,omitempty"`
}

type backupHead struct {
	V       uint        `cbor:"1,keyasint"` // backupVersion
	Created uint64      `cbor:"2,keyasint"` // milliseconds since 1970
	Cert    wire.Signed `cbor:"3,keyasint"` // DeviceCert
}

type backupRow struct {
	Key   []byte `cbor:"1,keyasint"`
	Value []byte `cbor:"2,keyasint"`
}

type backupEnd struct {
	Rows uint64 `cbor:"1,keyasint"`
}

const (
	backupVersion  = 1
	backupPart     = 256 << 10 // of rows in a frame, about
	maxBackupFrame = 16 << 20
)

// BackupSummary describes the content of a backup.
type BackupSummary struct {
	Created time.Time
	Device  *identity.Device
	Rows    int
	Bytes   int64 // of keys and values
	Groups  []backupGroup
}

// backupGroup is a group in a backup.
type backupGroup struct {
	ID       wire.GroupID
	Name     string // as last published; empty: unknown
	Entries  int    // of all logs
	Messages int    // that can be read
}

// inBackup says whether a row of the store goes into a backup.
func inBackup(key []byte) bool {
	if _, rest, ok := splitKey(key); ok {
		return group.InBackup(rest)
	}
	return bytes.HasPrefix(key, []byte("n/")) && !ofMailbox(key)
}

// ofMailbox says whether a row belongs to the mailbox that this node keeps for others. If
// it were restored, it would give out cursors a second time, for other envelopes. Members
// that had read up to those cursors would miss the new envelopes. A mailbox without its
// boxes opens new ones, and members see that and put again.
func ofMailbox(key []byte) bool { return bytes.HasPrefix(key, []byte(keyOfMailbox)) }

// writeBackup writes a backup of a store as it is at one moment.
func writeBackup(ctx context.Context, s *storage.Store, d *identity.Device, w io.Writer, to []age.Recipient) (BackupSummary, error) {
	sum := newSummary(d, time.Now())
	sealed, err := age.Encrypt(w, to...)
	if err != nil {
		return sum.BackupSummary, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	write := func(f backupFrame) error {
		b := wire.Marshal(&f)
		defer clear(b)
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := sealed.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)) //nolint:gosec // far below
		return err
	}
	err = write(backupFrame{Head: &backupHead{V: backupVersion, Created: uint64(sum.Created.UnixMilli()), Cert: d.Raw}}) //nolint:gosec // after 1970
	var rows []backupRow
	size := 0
	flush := func() error {
		part := backupFrame{Rows: rows}
		rows, size = nil, 0
		if len(part.Rows) == 0 {
			return nil
		}
		return write(part)
	}
	if err == nil {
		err = s.Export(inBackup, func(key, value []byte) error {
			if !inBackup(key) {
				return nil
			}
			sum.add(key, value)
			rows = append(rows, backupRow{key, value})
			if size += len(key) + len(value); size >= backupPart {
				return flush()
			}
			return nil
		})
	}
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = write(backupFrame{End: &backupEnd{Rows: uint64(sum.Rows)}}) //nolint:gosec // a count
	}
	if err == nil {
		err = sealed.Close()
	}
	if err != nil {
		return sum.BackupSummary, fmt.Errorf("writing the backup: %w", err)
	}
	return sum.BackupSummary, nil
}

// VerifyBackup reads a backup to its end and describes its content. Errors: errBackup;
// errIdentity.
func VerifyBackup(ctx context.Context, r io.Reader, with ...age.Identity) (BackupSummary, error) {
	return readBackup(ctx, r, with, func([]backupRow) error { return nil })
}

// readBackup hands the rows to keep as they come. They are authentic, but whether
// they are all shows at the end.
func readBackup(ctx context.Context, r io.Reader, with []age.Identity, keep func([]backupRow) error) (BackupSummary, error) {
	damaged := func(err error) (BackupSummary, error) { return BackupSummary{}, fmt.Errorf("%w: %w", errBackup, err) }
	opened, err := age.Decrypt(bufio.NewReaderSize(r, 1<<16), with...)
	if no, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return BackupSummary{}, fmt.Errorf("%w: %s", errIdentity, whatOpens(no.StanzaTypes, with))
	}
	if errors.Is(err, errIdentity) {
		return BackupSummary{}, err
	}
	if _, unread := errors.AsType[*fs.PathError](err); err != nil && !unread {
		return damaged(errors.New("it does not begin as a file of age does")) // age's own words show what is in the file
	}
	if err != nil {
		return damaged(err)
	}
	head, err := nextFrame(opened)
	switch {
	case err != nil:
		return damaged(err)
	case head.Head == nil:
		return damaged(errors.New("its head is missing"))
	case head.Head.V > backupVersion:
		return BackupSummary{}, fmt.Errorf("backup of format %d: %w", head.Head.V, wire.ErrVersion)
	}
	d, err := identity.VerifyDevice(head.Head.Cert)
	if err != nil {
		return damaged(err)
	}
	sum := newSummary(d, time.UnixMilli(int64(head.Head.Created))) //nolint:gosec // authentic
	whole := false                                                 // the identity is there
	for {
		f, err := nextFrame(opened)
		if err != nil {
			return damaged(err)
		}
		if err := ctx.Err(); err != nil {
			return BackupSummary{}, err
		}
		if f.End != nil {
			if f.End.Rows != uint64(sum.Rows) { //nolint:gosec // a count
				return damaged(fmt.Errorf("%d rows of %d", sum.Rows, f.End.Rows))
			}
			break
		}
		for _, row := range f.Rows {
			if !inBackup(row.Key) && !ofMailbox(row.Key) { // backups of before held these
				return damaged(errors.New("a row that is in no backup"))
			}
			if string(row.Key) == keyIdentity {
				if err := fits(row.Value, d); err != nil {
					return damaged(err)
				}
				whole = true
			}
			sum.add(row.Key, row.Value)
		}
		if err := keep(slices.DeleteFunc(f.Rows, func(row backupRow) bool { return ofMailbox(row.Key) })); err != nil {
			return BackupSummary{}, err
		}
	}
	if n, err := io.Copy(io.Discard, opened); err != nil || n > 0 {
		return damaged(errors.Join(err, errors.New("bytes follow its end")))
	}
	if !whole {
		return damaged(errors.New("it holds no identity"))
	}
	return sum.BackupSummary, nil
}

// fits says whether an identity is the certified device's: anybody can seal a backup to a
// user without having the user's keys.
func fits(value []byte, d *identity.Device) error {
	var row identityRow
	if err := wire.Unmarshal(value, &row); err != nil {
		return err
	}
	defer row.wipe()
	for _, k := range []struct{ seed, public []byte }{{row.User, d.Cert.User}, {row.Log, d.Cert.LogKey}} {
		key, err := identity.KeyFromSeed(k.seed)
		if err != nil {
			return err
		}
		same := bytes.Equal(key.Public(), k.public)
		key.Wipe()
		if !same {
			return errors.New("its keys are not those of its device")
		}
	}
	return nil
}

func nextFrame(r io.Reader) (f backupFrame, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return f, cutShort(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxBackupFrame {
		return f, fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return f, cutShort(err)
	}
	return f, wire.Unmarshal(b, &f)
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut short")
	}
	return err
}

// Restore makes a device of a backup. The home must not hold a store; an interrupted
// Restore leaves none, and can be repeated. Of cfg it needs what [Init] needs but the
// name. The device gets a new incarnation, and asks its groups to be added again: no
// sequence number and no key is used twice. The device that the backup is of must not
// run any more. A Restore that fails removes the files that it has made. Errors: those of
// VerifyBackup and storage.Create. They have a code (api.CodeOf).
func Restore(ctx context.Context, cfg InitConfig, r io.Reader, with ...age.Identity) (sum BackupSummary, err error) {
	defer func() { err = APIError(err) }()
	if err := cfg.validate(); err != nil {
		return sum, err
	}
	if err := checkHome(cfg.Home, cfg.KeyFile); err != nil {
		return sum, err
	}
	if err := noDevice(cfg.Home); err != nil {
		return sum, err
	}
	lock, wipe, err := newLock(cfg)
	if err != nil {
		return sum, err
	}
	defer wipe()
	err = inHome(cfg.Home, cfg.KeyFile, func() error {
		if err := noDevice(cfg.Home); err != nil { // somebody else made it, just now
			return err
		}
		sum, err = restore(ctx, cfg.Home, lock, r, with)
		return err
	})
	return sum, err
}

// restore makes the store of a backup in its home, which is there and locked.
func restore(ctx context.Context, home string, lock storage.Options, r io.Reader, with []age.Identity) (sum BackupSummary, err error) {
	part := storeDir(home) + ".restoring"
	if err := os.RemoveAll(part); err != nil {
		return sum, fmt.Errorf("removing what an interrupted restoration left: %w", err)
	}
	undo := new(undoing)
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.all())
		}
	}()
	undo.tree(part)
	if lock.KeyFile != "" {
		undo.file(lock.KeyFile)
	}
	s, err := storage.Create(part, lock)
	if err != nil {
		return sum, err
	}
	sum, err = readBackup(ctx, r, with, func(rows []backupRow) error {
		b := storage.Batch{Writes: make([]storage.Write, len(rows))}
		for i, row := range rows {
			if string(row.Key) == keyIdentity {
				if row.Value, err = reborn(row.Value); err != nil {
					return err
				}
			}
			b.Writes[i] = storage.Write{Key: row.Key, Value: row.Value, Vault: vaultOf(row.Key)}
		}
		return s.Apply(b)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		return sum, err
	}
	if err := moveStore(part, storeDir(home), undo); err != nil {
		return sum, err
	}
	return sum, syncPlace(storeDir(home))
}

// vaultOf is the vault that a row of the store lies in.
func vaultOf(key []byte) storage.VaultID {
	if id, rest, ok := splitKey(key); ok {
		return storage.VaultID(group.VaultOf(id, rest))
	}
	return storage.VaultID{}
}

// reborn gives an identity a new incarnation.
func reborn(value []byte) ([]byte, error) {
	var row identityRow
	if err := wire.Unmarshal(value, &row); err != nil {
		return nil, err
	}
	defer row.wipe()
	row.Incarnation = newIncarnation()
	return wire.Marshal(&row), nil
}

func newIncarnation() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// summing makes a summary of rows.
type summing struct {
	BackupSummary
	at    map[wire.GroupID]int // places in Groups
	known *discovery.Known
}

func newSummary(d *identity.Device, created time.Time) *summing {
	return &summing{
		BackupSummary: BackupSummary{Created: created, Device: d}, at: make(map[wire.GroupID]int),
		known: discovery.NewKnown(func(wire.GroupID, []byte) {}),
	}
}

func (s *summing) group(g wire.GroupID) *backupGroup {
	if _, ok := s.at[g]; !ok {
		s.at[g] = len(s.Groups)
		s.Groups = append(s.Groups, backupGroup{ID: g})
	}
	return &s.Groups[s.at[g]]
}

func (s *summing) add(key, value []byte) {
	s.Rows++
	s.Bytes += int64(len(key) + len(value))
	if id, rest, ok := splitKey(key); ok {
		switch kind, _, _ := strings.Cut(rest, "/"); kind {
		case "entry":
			s.group(id).Entries++
		case "plain":
			s.group(id).Messages++
		}
	}
	if rest, ok := bytes.CutPrefix(key, []byte(keyInfo)); ok && len(rest) == len(wire.GroupID{}) {
		if info, err := s.known.Load(value); err == nil {
			s.group(wire.GroupID(rest)).Name = info.Name
		}
	}
}
