package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	badgeroptions "github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// openBadger opens the database at path. Sealed values do not compress; without compression
// blocks are read where they are mapped, and a block cache would only cost memory. A
// database that is opened for reading only writes nothing, so that a full disk does not end
// the process. If Badger does not sync, the store does: see syncLogs.
func openBadger(path string, o Options, reading, badgerSyncs bool) (db *badger.DB, err error) {
	defer recovered(&err, "opening")
	opt := badger.DefaultOptions(path)
	opt.SyncWrites = badgerSyncs
	opt.DetectConflicts = false // there is one writer
	logs, err := filesOf(path, ".mem")
	if err != nil {
		return nil, err
	}
	opt.MemTableSize = max(o.memTable(), largestTable(logs))
	opt.NumMemtables = 2
	opt.NumCompactors = 2
	if o.Still {
		opt.NumCompactors = 0
		opt.NumLevelZeroTablesStall = 1 << 10 // nobody would end the wait
	}
	opt.NumGoroutines = 2
	opt.ValueLogFileSize = 64 << 20
	opt.ValueThreshold = o.maxStored()
	if o.valueLog {
		opt.ValueThreshold = o.maxStored() / 2
	}
	opt.Compression = badgeroptions.None
	opt.BlockCacheSize = 0
	opt.ChecksumVerificationMode = badgeroptions.OnBlockRead
	opt.VerifyValueChecksum = true
	opt.MetricsEnabled = false
	opt.Logger = badgerLog{o.logger()}
	opt.BypassLockGuard = true // the store has a lock of its own, and opens the database for writing beside one that is read
	opt.ReadOnly = reading
	if err := checkTables(path, opt); err != nil {
		return nil, err
	}
	if !reading && exists(path, ".") { // of a folder that takes no files Badger says that it is corrupt
		if err := writable(path); err != nil {
			return nil, err
		}
	}
	if reading {
		mend, cut := cutLogs(path)
		if cut != nil {
			return nil, cut
		}
		defer func() { err = errors.Join(err, mend()) }()
	}
	db, err = badger.Open(opt)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("storage: opening the database: %w", err)
		}
		return nil, corrupt("opening the database: %w", err)
	}
	return db, nil
}

// memTable is the size of Badger's memory tables. Badger takes batches of up to 15 percent
// of it.
func (o Options) memTable() int64 { return o.maxBatch() * 100 / 15 }

// reserve is how much space has to be left on the disk for a transaction to begin. Badger
// maps its files into memory and writes there, so on a full disk the kernel ends the
// process. The reserve therefore covers all that a transaction may cause: the log of a
// memory table, its table, and a compaction.
func (o Options) reserve() uint64 {
	if o.keep != 0 {
		return o.keep
	}
	return uint64(6 * o.memTable())
}

// checkSpace returns ErrNoSpace if a file system has less than the reserve left.
func checkSpace(dir string, reserve uint64) error {
	if free, known := freeSpace(dir); known && free < reserve {
		return fmt.Errorf("%w: %d MiB in %s, %d MiB are kept free", ErrNoSpace, free>>20, dir, reserve>>20)
	}
	return nil
}

// lacks says whether a file system is known to have less than so many bytes left.
func lacks(dir string, bytes uint64) bool {
	free, known := freeSpace(dir)
	return known && free < bytes
}

// largestTable is the size of the largest memory table of those whose logs a crash has left. Badger makes a log file twice as
// large as the table, and ends the process if a log does not fit into a table when it replays it.
func largestTable(logs []string) (size int64) {
	for _, l := range logs {
		if info, err := os.Stat(l); err == nil {
			size = max(size, min(info.Size()/2, maxMaxBatch*100/15))
		}
	}
	return size
}

// checkTables checks the footer and all checksums of every table that the manifest names.
// Badger ends the process when a length in a footer points outside of the file; checking
// first turns that into an error. A table that the manifest does not name was being written
// when the process crashed. Badger removes it, so its content does not matter.
func checkTables(path string, o badger.Options) (err error) {
	defer recovered(&err, "reading the manifest")
	f, err := os.Open(filepath.Join(path, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a database to be made, or one that Badger will complain about
	}
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	defer f.Close()
	manifest, end, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err == nil {
		err = checkTorn(f, end)
	}
	if err != nil {
		return corrupt("manifest: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(manifest.Tables)) {
		name := fmt.Sprintf("%06d.sst", id)
		if err := checkTable(filepath.Join(path, name)); err != nil {
			return corrupt("table %s: %w", name, err)
		}
	}
	return nil
}

// checkTorn looks at what follows the last whole record of a manifest: length, checksum,
// both of 4 bytes, payload. Badger takes it for a record that a loss of power tore: it
// forgets the record and all that follows, and removes the tables that they name. If a
// shorter payload fits the checksum, only the length is damaged, and that is an error.
func checkTorn(manifest io.ReaderAt, end int64) error {
	rest, err := io.ReadAll(io.NewSectionReader(manifest, end, 1<<30))
	if err != nil || len(rest) < 8 {
		return err
	}
	want, sum := binary.BigEndian.Uint32(rest[4:]), uint32(0)
	for size := 8; ; size++ {
		if sum == want {
			return fmt.Errorf("the record at byte %d is %d bytes long and says %d", end, size-8, binary.BigEndian.Uint32(rest))
		}
		if size == len(rest) {
			return nil
		}
		sum = crc32.Update(sum, y.CastagnoliCrcTable, rest[size:size+1])
	}
}

// checkTable reads a table's end: index · its length, 4 bytes · checksum · its length, 4 bytes.
func checkTable(path string) (err error) {
	defer recovered(&err, "checking a table")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// last reads the n bytes before end and moves end there.
	last := func(n int64) ([]byte, error) {
		if n > end {
			return nil, fmt.Errorf("a length of %d in a file of %d bytes", n, end)
		}
		end -= n
		b := make([]byte, n)
		_, err := f.ReadAt(b, end)
		return b, err
	}
	prefixed := func() ([]byte, error) {
		size, err := last(4)
		if err != nil {
			return nil, err
		}
		return last(int64(binary.BigEndian.Uint32(size)))
	}
	b, err := prefixed()
	if err != nil {
		return err
	}
	var sum pb.Checksum
	if err := proto.Unmarshal(b, &sum); err != nil {
		return err
	}
	index, err := prefixed()
	if err != nil {
		return err
	}
	if err := y.VerifyChecksum(index, &sum); err != nil {
		return err
	}
	return checkBlocks(path)
}

// checkBlocks checks the checksum of every block of a table. Badger checks a block when it
// reads it, but an iterator that meets a bad block ends or jumps without an error: records
// would be missing or appear twice.
func checkBlocks(path string) (err error) {
	m, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(m, table.Options{ChkMode: badgeroptions.NoVerification, ReadOnly: true})
	if err != nil {
		return errors.Join(err, m.Close(-1))
	}
	return errors.Join(t.VerifyChecksum(), t.Close(-1))
}

// badgerLog passes on what Badger logs. It names files and numbers, never values.
type badgerLog struct{ *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.Warn(fmt.Sprintf("badger: "+format, args...))
}

func (l badgerLog) Warningf(format string, args ...any) {
	l.Warn(fmt.Sprintf("badger: "+format, args...))
}

func (l badgerLog) Infof(format string, args ...any) {
	l.Debug(fmt.Sprintf("badger: "+format, args...))
}

func (l badgerLog) Debugf(format string, args ...any) {
	l.Debug(fmt.Sprintf("badger: "+format, args...))
}
