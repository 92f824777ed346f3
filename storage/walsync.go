package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// With its option SyncWrites Badger syncs two files for a transaction: the log of the memory
// table, and the newest file of the value log, also when the transaction has no value that
// goes there, which costs the disk as much again. There is no option for one of the two. So
// Badger syncs nothing here, no value is so long that it goes to the value log, and the
// store syncs the logs of the memory tables itself. Their names are all that it has to know:
//
//   - A transaction is in the newest log, or in a table: Badger begins another log, makes a
//     table of the old one, which it syncs, and then removes the log. It may do so at any
//     time, and so the store syncs all logs that are there. One that goes meanwhile is in a table.
//   - Logs are mapped into memory and written there. On Linux the pages of a mapping are the
//     file's own, and to sync the file writes them, whoever opened it. Elsewhere that is
//     not promised, and Badger syncs, as it does in a store that an earlier program wrote, if
//     there is anything in its value log: Badger may move it on its own, and remove the old file.

// maxStored is the length below which values stay out of the value log, sealing included.
// Badger allows no more.
func (o Options) maxStored() int64 { return min(1<<20, o.maxBatch()*9/10) }

// usesValueLog says whether anything is in the value log of the database at path. Badger
// allocates its files in advance: a header, and zeros.
func usesValueLog(path string) (bool, error) {
	names, err := filesOf(path, ".vlog")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return false, fmt.Errorf("storage: %w", err)
		}
		var first [64]byte // of an entry: its lengths and its key are not zero
		n, err := f.ReadAt(first[:], logHeader)
		if err = errors.Join(ended(err), f.Close()); err != nil {
			return false, fmt.Errorf("storage: %w", err)
		}
		if len(bytes.Trim(first[:n], "\x00")) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// syncLogs syncs the logs of the memory tables of the database at path.
func syncLogs(path string) error {
	names, err := filesOf(path, ".mem")
	if err != nil {
		return err
	}
	synced := 0
	for _, name := range names {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			synced++ // it is a table by now
			continue
		}
		if err == nil {
			err = errors.Join(syncData(f), f.Close())
		}
		if err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		synced++
	}
	if synced == 0 {
		return errors.New("storage: the database has no log")
	}
	return nil
}

// filesOf lists the paths of the files of the database at path that have an extension, in no
// order. There are none if there is no database.
func filesOf(path, ext string) (files []string, err error) {
	d, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	for _, name := range names {
		if filepath.Ext(name) == ext {
			files = append(files, filepath.Join(path, name))
		}
	}
	return files, nil
}
