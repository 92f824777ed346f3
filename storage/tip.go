package storage

import (
	"fmt"
	"os"
	"path/filepath"
)

// The file tip holds the head as it was after the last transaction, sealed. It is
// overwritten after each transaction and never synced: it is up to date after the process
// dies, and may be older or torn after a loss of power. A tip that does not open is
// ignored. So tip is never ahead of the database, unless the database has lost the end of
// its log.
const (
	tipName   = "tip"
	tipDomain = "panda/store-tip/1\x00"
	tipSize   = nonceSize + headSize + tagSize
)

func openTip(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, tipName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return f, nil
}

func (s *Store) readTip() (head, bool) {
	var sealed [tipSize]byte
	if _, err := s.tip.ReadAt(sealed[:], 0); err != nil {
		return head{}, false
	}
	b, err := s.data.open(sealed[:], []byte(tipDomain))
	if err != nil {
		return head{}, false
	}
	return decodeHead(b), true
}

// writeTip ignores errors: the transaction is on the disk already, and without a new tip
// only less is detected.
func (s *Store) writeTip() {
	_, _ = s.tip.WriteAt(s.data.seal(nil, s.head.append(nil), []byte(tipDomain)), 0)
}
