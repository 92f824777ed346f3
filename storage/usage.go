package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Usage says how many records a store holds and how many bytes they take on the disk.
type Usage struct {
	Records uint64
	Vaults  int
	Live    int64 // bytes of all records as they are stored, keys included
	Disk    int64 // bytes of the database's files: Live, and garbage, indexes and logs
	Kinds   []KindUsage
}

// KindUsage is a part of Usage.
type KindUsage struct {
	Kind    string
	Records int
	Bytes   int64
}

// Usage counts the records by their kind, which kind tells from a key. It opens none. Errors:
// those of ctx, ErrCorrupt, ErrClosed.
func (s *Store) Usage(ctx context.Context, kind func(key []byte) string) (Usage, error) {
	if err := s.enter(); err != nil {
		return Usage{}, err
	}
	defer s.active.Done()
	var u Usage
	kinds := make(map[string]*KindUsage)
	if err := s.whole(ctx, func(item *badger.Item) error {
		key := item.Key()
		size := int64(len(key)) + item.ValueSize()
		u.Live += size
		if len(key) == 0 || key[0] != classRecord {
			return nil
		}
		u.Records++
		name := kind(key[1:])
		k := kinds[name]
		if k == nil {
			k = &KindUsage{Kind: name}
			kinds[name] = k
		}
		k.Records++
		k.Bytes += size
		return nil
	}); err != nil {
		return Usage{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		u.Kinds = append(u.Kinds, *kinds[name])
	}
	s.ringMu.RLock()
	u.Vaults = len(s.ring.vaults)
	s.ringMu.RUnlock()
	var err error
	u.Disk, err = diskUsage(filepath.Join(s.dir, "db"))
	return u, err
}

// whole iterates over all that the store holds, until ctx ends.
func (s *Store) whole(ctx context.Context, fn func(*badger.Item) error) error {
	return s.iterate(nil, nil, func(item *badger.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(item)
	})
}

// diskUsage returns the bytes that the files below dir take, without their holes.
func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away meanwhile
		}
		if err == nil {
			total += allocated(info)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("storage: %w", err)
	}
	return total, nil
}

// Problem is a defect that Check found.
type Problem struct {
	Key  []byte // of the record; nil: of none in particular
	What string
}

// Check reads the whole store. It reports every record that does not open, and whether
// records are missing, were added or were put back (see the package comment); it can name
// those only if they are in vaults. It sees the store as it is at one moment, and may run
// beside everything else. It returns how many records it looked at. Errors: ErrCorrupt if
// the database cannot be read to its end, ErrClosed, those of ctx.
func (s *Store) Check(ctx context.Context, report func(Problem)) (records uint64, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.active.Done()
	var found, want head
	var seen, unread bool
	indexed := make(map[string]VaultID) // records that are said to be in a vault, and were not met in it
	say := func(key []byte, format string, args ...any) {
		p := Problem{What: fmt.Sprintf(format, args...)}
		if len(key) > 1 && key[0] == classRecord {
			p.Key = bytes.Clone(key[1:])
		}
		report(p)
	}
	inside := make(map[string]VaultID)
	if err := s.whole(ctx, func(item *badger.Item) error {
		key := item.KeyCopy(nil)
		stored, err := item.ValueCopy(nil)
		if err != nil {
			unread = true
			if key[0] == classRecord {
				found.records++
			}
			say(key, "%s: %v", class(key), err)
			return nil
		}
		switch {
		case bytes.Equal(key, keyHead):
			want, err = s.unsealHead(stored)
			if seen = err == nil; !seen {
				say(nil, "%v", err)
			}
			return nil
		case bytes.Equal(key, keyID), string(key) == string(keyFlush):
			return nil
		case len(key) == 0 || key[0] != classRecord && key[0] != classIndex:
			say(nil, "an unknown key")
			return nil
		}
		found.toggle(s.sums, key, stored)
		if key[0] == classIndex {
			if len(key) > 33 {
				indexed[string(key[33:])] = VaultID(key[1:])
			}
			return nil
		}
		found.records++
		if id, _, err := vaultOf(stored); err == nil && id != (VaultID{}) {
			inside[string(key[1:])] = id
		}
		if _, _, err := s.value(item); err != nil {
			say(key, "%s", strings.TrimPrefix(err.Error(), ErrCorrupt.Error()+": "))
		}
		return nil
	}); err != nil {
		return found.records, err
	}
	for _, key := range slices.Sorted(maps.Keys(indexed)) {
		if inside[key] != indexed[key] {
			say(append([]byte{classRecord}, key...), "missing: its vault names it")
		}
	}
	switch {
	case !seen:
		say(nil, "the head is missing: whether records are is not known")
	case found.records < want.records:
		say(nil, "%d records are missing", want.records-found.records)
	case found.records > want.records:
		say(nil, "%d records are too many", found.records-want.records)
	case found.sum != want.sum && !unread:
		say(nil, "the set of records is not the one that was written")
	}
	return found.records, nil
}

// Verify runs Check and returns one error: ErrCorrupt with the first problem and the number
// of problems.
func (s *Store) Verify(ctx context.Context) error {
	var first Problem
	n := 0
	if _, err := s.Check(ctx, func(p Problem) {
		if n++; n == 1 {
			first = p
		}
	}); err != nil {
		return err
	}
	switch n {
	case 0:
		return nil
	case 1:
		return corrupt("%s", first.What)
	}
	return corrupt("%s, and %d problems more", first.What, n-1)
}
