package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// AtRest is the store of a device, running or not, as one looks after it. Errors are
// those of the local API.
type AtRest struct {
	home   string
	store  *storage.Store
	device *identity.Device
	calls  *life // under way; of a running node: its callers
}

var _ api.Store = (*AtRest)(nil)

// OpenAtRest opens the store of a device that is not running. It needs the same fields of
// the configuration as [Open] for the store. The caller closes it.
func OpenAtRest(cfg Config) (*AtRest, error) {
	if err := absolute(&cfg.Home, &cfg.KeyFile); err != nil {
		return nil, err
	}
	s, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	me, err := readIdentity(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	me.wipe()
	return &AtRest{cfg.Home, s, me.device, newLife(context.Background())}, nil
}

// atRest is the store of a running node. It is the node's to close.
func atRest(n *Node) *AtRest { return &AtRest{n.cfg.Home, n.store, n.me.device, n.callers} }

// Close ends the calls that are under way and closes the store. The function that receives a
// backup may call it, too.
func (s *AtRest) Close() error {
	s.calls.end()
	return s.store.Close()
}

// bind gives a context for a call that ends with the store, too, and a function that tells its
// error.
func (s *AtRest) bind(caller context.Context) (ctx context.Context, told func(error) error, cancel context.CancelFunc) {
	ctx, cancel = s.calls.bind(caller)
	return ctx, func(err error) error {
		if err != nil && caller.Err() == nil && ctx.Err() != nil {
			err = ErrClosed
		}
		return APIError(err)
	}, cancel
}

// backupPartSize is how much of a backup travels at once.
const backupPartSize = 256 << 10

// partWriter passes on what is written in parts.
type partWriter struct {
	emit func(api.BackupPart) error
	part []byte
}

func (w *partWriter) Write(b []byte) (int, error) {
	if w.part = append(w.part, b...); len(w.part) >= backupPartSize {
		return len(b), w.flush()
	}
	return len(b), nil
}

func (w *partWriter) flush() error {
	part := api.BackupPart{Data: w.part}
	w.part = nil
	return w.emit(part)
}

// Backup streams a backup of the store as it is at one moment.
func (s *AtRest) Backup(ctx context.Context, r api.BackupRequest, emit func(api.BackupPart) error) error {
	to, err := recipients(r.Recipients, []byte(r.Passphrase))
	if err != nil {
		return APIError(err)
	}
	ctx, told, cancel := s.bind(ctx)
	defer cancel()
	var sum BackupSummary
	parts := make(chan api.BackupPart) // emit may take long, or close the store, which waits for its readers
	if !s.calls.start(func(context.Context) {
		defer close(parts)
		w := &partWriter{emit: func(p api.BackupPart) error {
			select {
			case parts <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		if sum, err = writeBackup(ctx, s.store, s.device, w, to); err == nil {
			err = w.flush()
		}
	}) {
		return APIError(ErrClosed)
	}
	for p := range parts {
		if broken := emit(p); broken != nil {
			return broken
		}
	}
	if err != nil {
		return told(err)
	}
	return emit(api.BackupPart{Backup: sum.API()})
}

// API is the summary as the local API gives it.
func (b *BackupSummary) API() *api.Backup {
	out := &api.Backup{
		Created: b.Created.UTC(), User: b.Device.User.String(), Device: b.Device.ID.String(), Name: b.Device.Cert.Name,
		Rows: b.Rows, Bytes: b.Bytes, Groups: []api.BackupGroup{},
	}
	for _, g := range b.Groups {
		out.Groups = append(out.Groups, api.BackupGroup{ID: g.ID.String(), Name: g.Name, Entries: g.Entries, Messages: g.Messages})
	}
	return out
}

// Row kinds, for people.
var rowKinds = map[string]string{
	"own": "state of the group", "entry": "log entries", "evidence": "evidence", "epoch": "epoch keys", "thin": "epoch keys", "keys": "epoch keys",
	"held": "epoch keys", "page": "ratchet trees", "tkey": "transport keys", "signer": "keys of leaves", "wrapkey": "keys of leaves", "kp": "KeyPackages", "plain": "texts of messages", "seal": "seals",
	"salt": "envelopes", "shown": "order of messages", "index": "order of messages", "event": "events", "rejoinkey": "rejoin keys",
	"rejoining": "requests", "join": "requests", "renewal": "requests",
}

// splitKey gives the group that a row is of, if it is of one, and its key there.
func splitKey(key []byte) (id wire.GroupID, rest string, ok bool) {
	if len(key) > len("g/")+len(id) && string(key[:2]) == "g/" && key[2+len(id)] == '/' {
		return wire.GroupID(key[2:]), string(key[3+len(id):]), true
	}
	return id, string(key), false
}

func kindOf(key []byte) string {
	_, rest, ok := splitKey(key)
	if !ok {
		return "the node's own"
	}
	kind, _, _ := strings.Cut(rest, "/")
	if name := rowKinds[kind]; name != "" {
		return name
	}
	return kind
}

// StoreUsage counts the records of the store.
func (s *AtRest) StoreUsage(ctx context.Context, _ api.Empty) (api.StoreUsage, error) {
	ctx, told, cancel := s.bind(ctx)
	defer cancel()
	u, err := s.store.Usage(ctx, kindOf)
	if err != nil {
		return api.StoreUsage{}, told(err)
	}
	out := api.StoreUsage{Records: u.Records, Vaults: u.Vaults, Live: u.Live, Disk: u.Disk, Kinds: []api.StoreKind{}}
	for _, k := range u.Kinds {
		out.Kinds = append(out.Kinds, api.StoreKind(k))
	}
	return out, nil
}

// maxProblems is how many problems are told one by one.
const maxProblems = 1000

// CheckStore opens every record, and looks for those that are missing.
func (s *AtRest) CheckStore(ctx context.Context, _ api.Empty) (api.StoreCheck, error) {
	ctx, told, cancel := s.bind(ctx)
	defer cancel()
	out := api.StoreCheck{Problems: []api.StoreProblem{}}
	tell := func(record, what string) {
		if len(out.Problems) == maxProblems {
			out.More++
			return
		}
		out.Problems = append(out.Problems, api.StoreProblem{Record: record, What: what})
	}
	var err error
	if out.Records, err = s.store.Check(ctx, func(p storage.Problem) { tell(recordName(p.Key), p.What) }); err != nil {
		return out, told(err)
	}
	var at wire.GroupID
	var rows group.RowCheck
	done := func() {
		for _, m := range rows.Missing() {
			tell("group "+at.String(), "missing: "+m)
		}
	}
	if err := s.store.ScanKeys([]byte("g/"), func(key []byte) error {
		id, rest, ok := splitKey(key)
		if !ok {
			return nil
		}
		if id != at {
			done()
			at, rows = id, group.RowCheck{}
		}
		rows.Row(rest)
		return ctx.Err()
	}); err != nil {
		return out, told(err)
	}
	done()
	return out, nil
}

func recordName(key []byte) string {
	if id, rest, ok := splitKey(key); ok {
		return fmt.Sprintf("group %v %s", id, rest)
	}
	if key == nil {
		return ""
	}
	return fmt.Sprintf("%q", key)
}

// CompactStore returns the space of deleted records to the disk. Badger does not break that off
// once it has begun: Close waits for it.
func (s *AtRest) CompactStore(ctx context.Context, r api.Empty) (out api.Compacted, err error) {
	if out.Before, err = s.StoreUsage(ctx, r); err != nil {
		return out, err
	}
	if err := s.store.Compact(); err != nil {
		return out, APIError(err)
	}
	out.After, err = s.StoreUsage(ctx, r)
	return out, err
}

// Relock changes what unlocks the store. The derivation of a key from a passphrase, of which it
// takes two, is not broken off.
func (s *AtRest) Relock(ctx context.Context, r api.RelockRequest) (api.Empty, error) {
	options := func(passphrase, keyFile string) storage.Options {
		o := storage.Options{KeyFile: keyFile}
		if keyFile == "" {
			o.Passphrase = func() ([]byte, error) { return []byte(passphrase), nil }
		}
		return o
	}
	if (r.NewPassphrase == "") == (r.NewKeyFile == "") {
		return api.Empty{}, api.Errorf(api.CodeInvalid, "one of a new passphrase and a new key file is needed")
	}
	if err := s.store.Unlocks(options(r.Passphrase, r.KeyFile)); err != nil {
		return api.Empty{}, APIError(err)
	}
	if err := ctx.Err(); err != nil {
		return api.Empty{}, APIError(err)
	}
	return api.Empty{}, APIError(s.store.Relock(options(r.NewPassphrase, r.NewKeyFile)))
}

// runningStore is the store of a running node: its backups are logged.
type runningStore struct {
	*AtRest
	log *slog.Logger
}

// Backup streams a backup of the store as it is at one moment.
func (s runningStore) Backup(ctx context.Context, r api.BackupRequest, emit func(api.BackupPart) error) error {
	begun := time.Now()
	err := s.AtRest.Backup(ctx, r, emit)
	s.log.Info("backup", "took", time.Since(begun), "err", err)
	return err
}
