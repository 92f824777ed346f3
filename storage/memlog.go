package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"

	"github.com/dgraph-io/badger/v4/y"
)

// A killed process leaves the log of a memory table. Badger allocates that file in advance,
// so its last whole transaction is followed by zeros or by a torn one. Badger cuts this
// rest off when it opens a database for writing, and refuses to open such a database for
// reading only. Cutting takes no space, so this file does it first.

// The layout of Badger's logs (v4, structs.go and value.go): a header, then entries, each of meta, user meta, lengths of key
// and value and an expiry as varints, key, value, CRC-32C over all of that. The entries of a transaction have one version, at
// the end of their keys, and another that says so follows them.
const (
	logHeader  = 20
	logInTxn   = 1 << 6
	logEndsTxn = 1 << 7
	logMaxKey  = 1 << 16
)

// logEnd returns the offset at which the last whole transaction of a log ends.
func logEnd(b []byte) int {
	end, at := logHeader, logHeader
	var open uint64 // the transaction that has begun; 0: none has
	for at < len(b) {
		rest := b[at:]
		size := 2
		var lengths [3]uint64
		for i := range lengths {
			v, n := binary.Uvarint(rest[min(size, len(rest)):])
			if n <= 0 {
				return end
			}
			lengths[i] = v
			size += n
		}
		left := uint64(len(rest) - size)
		if lengths[0] == 0 || lengths[0] > logMaxKey || lengths[1] > left || lengths[0]+lengths[1]+crc32.Size > left {
			return end
		}
		key, body := rest[size:size+int(lengths[0])], size+int(lengths[0]+lengths[1]) //nolint:gosec // not beyond the log
		if binary.BigEndian.Uint32(rest[body:]) != crc32.Checksum(rest[:body], y.CastagnoliCrcTable) {
			return end
		}
		at += body + crc32.Size
		switch meta := rest[0]; {
		case meta&logInTxn != 0:
			if len(key) < 8 {
				return end
			}
			version := y.ParseTs(key)
			if open == 0 {
				open = version
			}
			if open != version {
				return end
			}
		case meta&logEndsTxn != 0:
			if version, err := strconv.ParseUint(string(rest[size+len(key):body]), 10, 64); err != nil || version != open {
				return end
			}
			open, end = 0, at
		case open != 0:
			return end
		default:
			end = at
		}
	}
	return end
}

// cutLogs cuts the logs of all memory tables. mend restores the lengths of the files, with
// holes, because the lengths tell how large the tables were.
func cutLogs(path string) (mend func() error, err error) {
	logs, err := filesOf(path, ".mem")
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	mend = func() (err error) {
		for name, size := range sizes {
			err = errors.Join(err, os.Truncate(name, size))
		}
		return err
	}
	for _, name := range logs {
		b, err := os.ReadFile(name)
		if err == nil && len(b) > logHeader {
			if err = os.Truncate(name, int64(logEnd(b))); err == nil {
				sizes[name] = int64(len(b))
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("storage: %w", err), mend())
		}
	}
	return mend, nil
}
