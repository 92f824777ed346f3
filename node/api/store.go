package api

import (
	"context"
	"time"
)

// Store is the part of API that a device also offers while no node runs: what concerns the
// store.
type Store interface {
	// Backup streams a backup in its parts.
	Backup(ctx context.Context, r BackupRequest, emit func(BackupPart) error) error
	StoreUsage(context.Context, Empty) (StoreUsage, error)
	// CheckStore reads everything. Problems are a result, not an error of the call.
	CheckStore(context.Context, Empty) (StoreCheck, error)
	CompactStore(context.Context, Empty) (Compacted, error)
	Relock(context.Context, RelockRequest) (Empty, error)
}

// BackupRequest says for whom a backup is sealed: for recipients, or under a passphrase.
type BackupRequest struct {
	Recipients []string `json:"recipients,omitempty"` // age or SSH public keys
	Passphrase string   `json:"passphrase,omitempty"` // if there are none
}

// BackupPart is a piece of a backup; the last one has the summary as well.
type BackupPart struct {
	Data   []byte  `json:"data,omitempty"`
	Backup *Backup `json:"backup,omitempty"`
}

// Backup describes the content of a backup.
type Backup struct {
	Created time.Time     `json:"created"`
	User    string        `json:"user"`
	Device  string        `json:"device"`
	Name    string        `json:"name"` // of the device
	Rows    int           `json:"rows"`
	Bytes   int64         `json:"bytes"` // of the rows
	Groups  []BackupGroup `json:"groups"`
}

// BackupGroup is a group in a backup.
type BackupGroup struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"` // as last published
	Entries  int    `json:"entries"`
	Messages int    `json:"messages"`
}

// StoreUsage says how much the store holds, and how much of the disk it takes.
type StoreUsage struct {
	Records uint64      `json:"records"`
	Vaults  int         `json:"vaults"` // sets of keys that are destroyed as one
	Live    int64       `json:"live_bytes"`
	Disk    int64       `json:"disk_bytes"` // beyond live: garbage, indexes and logs
	Kinds   []StoreKind `json:"kinds"`
}

// StoreKind is the part of the store with one kind of records.
type StoreKind struct {
	Kind    string `json:"kind"`
	Records int    `json:"records"`
	Bytes   int64  `json:"bytes"`
}

// StoreCheck is the result of a check of every record.
type StoreCheck struct {
	Records  uint64         `json:"records"` // looked at
	Problems []StoreProblem `json:"problems"`
	More     int            `json:"more,omitempty"` // problems that are left out
}

// StoreProblem is a record that is damaged or missing.
type StoreProblem struct {
	Record string `json:"record,omitempty"` // empty: none in particular
	What   string `json:"what"`
}

// Compacted says how much space compacting freed.
type Compacted struct {
	Before StoreUsage `json:"before"`
	After  StoreUsage `json:"after"`
}

// RelockRequest changes what unlocks the store: the first fields unlock it now, those named
// New will.
type RelockRequest struct {
	Passphrase    string `json:"passphrase,omitempty"`
	KeyFile       string `json:"key_file,omitempty"` // an absolute path
	NewPassphrase string `json:"new_passphrase,omitempty"`
	NewKeyFile    string `json:"new_key_file,omitempty"` // made if it is not there
}
